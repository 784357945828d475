//! Write Theater actors in Rust.
//!
//! An actor is a type that implements [`Actor`] and a trait for each way of reaching it. The value is
//! the state, JSON between two calls; messages and replies are JSON of whatever types the actor names;
//! an error is a `String`. [`export!`] makes the component:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use theater_actor::{Actor, MessageHandler};
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Till {
//!     cents: u64,
//! }
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "kebab-case")]
//! enum Order {
//!     Total,       // "total"
//!     Charge(u64), // {"charge":250}
//! }
//!
//! impl Actor for Till {
//!     fn init(state: Option<Self>, _id: &str) -> Result<Self, String> {
//!         Ok(state.unwrap_or_default())
//!     }
//! }
//!
//! impl MessageHandler for Till {
//!     type Message = Order;
//!     type Reply = u64;
//!
//!     fn handle_request(&mut self, order: Order) -> Result<u64, String> {
//!         if let Order::Charge(cents) = order {
//!             self.cents = self.cents.checked_add(cents).ok_or("the till is full")?;
//!         }
//!         Ok(self.cents)
//!     }
//! }
//!
//! theater_actor::export!(Till: messages);
//!
//! let mut till = Till::init(None, "an id").unwrap();
//! assert_eq!(till.handle_request(Order::Charge(250)), Ok(250));
//! assert_eq!(till.handle_request(Order::Charge(u64::MAX)), Err("the till is full".into()));
//! ```
//!
//! Since a handler is a plain method, tests call it natively, as above. What it calls of the host
//! ([`messages`], [`supervisor`], [`http_client`], …) exists only inside the runtime.
//!
//! A call that ends in `Err` leaves the state as it was. A panic is a trap, which makes the actor
//! fail; its message is logged first.
//!
//! A component exports what [`export!`] names and imports what its code calls, nothing else. The
//! crate needs `crate-type = ["cdylib"]` and the target `wasm32-unknown-unknown`.

mod actor;
#[doc(hidden)]
pub mod bindings;
mod export;
mod host;
mod http;
mod json;

pub use actor::{Actor, ChildHandler, HttpHandler, MessageHandler, WebSocketHandler};
pub use bindings::children::exports::ntwk::theater::supervisor_handlers::{ChildEvent, ChildEventKind};
pub use bindings::host::ntwk::theater::http_types::{HttpRequest, HttpResponse};
pub use bindings::websocket::exports::ntwk::theater::websocket_server::{
    MessageType, WebsocketMessage as WebSocketMessage, WebsocketResponse as WebSocketResponse,
};
pub use host::{clock, filesystem, http_client, messages, random, runtime, supervisor};

/// Writes a line to the runtime's log, formatted as by `format!`. Where the standard library has nowhere to print to, as
/// in a component, its own `println!` says nothing and fails at nothing; these are heard.
#[macro_export]
macro_rules! log {
    ($($arg:tt)*) => { $crate::runtime::print(::core::format_args!($($arg)*)) };
}

/// [`log!`] by the name that code may use already: `use theater_actor::println;`.
#[macro_export]
macro_rules! println {
    () => { $crate::runtime::print(::core::format_args!("")) };
    ($($arg:tt)*) => { $crate::runtime::print(::core::format_args!($($arg)*)) };
}

/// [`log!`] by the name that code may use already: `use theater_actor::eprintln;`.
#[macro_export]
macro_rules! eprintln {
    () => { $crate::runtime::print(::core::format_args!("")) };
    ($($arg:tt)*) => { $crate::runtime::print(::core::format_args!($($arg)*)) };
}

/// Makes a crate the component of one actor, with the interfaces by which it can be reached.
///
/// | name | trait | exports |
/// |---|---|---|
/// | always | [`Actor`] | `ntwk:theater/actor` |
/// | `messages` | [`MessageHandler`] | `ntwk:theater/message-server-client` |
/// | `http` | [`HttpHandler`] | `ntwk:theater/http-server` |
/// | `websocket` | [`WebSocketHandler`] | `ntwk:theater/websocket-server` |
/// | `children` | [`ChildHandler`] | `ntwk:theater/supervisor-handlers` |
///
/// `export!(Counter: messages, http);` or, for an actor that only starts, `export!(Counter);`.
#[macro_export]
macro_rules! export {
    ($actor:ident $(: $($interface:ident),+ $(,)?)?) => {
        $crate::__export!(actor $actor);
        $($($crate::__export!($interface $actor);)+)?
    };
}

/// One interface of one actor, for [`export!`]. Elsewhere than in a component there is nothing to export, and linkers
/// object to the names; there it only checks the trait.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    (actor $actor:ident) => { $crate::__export!(actor: Actor for $actor); };
    (messages $actor:ident) => { $crate::__export!(messages: MessageHandler for $actor); };
    (http $actor:ident) => { $crate::__export!(http: HttpHandler for $actor); };
    (websocket $actor:ident) => { $crate::__export!(websocket: WebSocketHandler for $actor); };
    (children $actor:ident) => { $crate::__export!(children: ChildHandler for $actor); };
    ($other:ident $actor:ident) => {
        compile_error!(concat!(
            "no interface `",
            stringify!($other),
            "`: there are messages, http, websocket and children"
        ));
    };
    ($interface:ident: $handler:ident for $actor:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::$interface::export!($actor with_types_in $crate::bindings::$interface);
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = || {
            fn check<A: $crate::$handler>() {}
            check::<$actor>();
        };
    };
}
