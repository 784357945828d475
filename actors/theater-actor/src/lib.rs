//! A library for writing Theater actors in Rust.
//!
//! An actor is a type that implements [`Actor`] and one trait for each way in which it can be called. The value is the
//! state, which is stored as JSON between two calls. Messages and replies are JSON of the types that the actor names.
//! An error is a `String`. [`export!`] builds the component:
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
//! A handler is a plain method, so tests call it natively, as above. The host functions that it calls ([`messages`],
//! [`supervisor`], [`http_client`], …) are answered by a `testing::Host` there.
//!
//! A call that returns `Err` leaves the state as it was. A panic is a trap: its message is logged, and the actor fails with it.
//!
//! A component exports the interfaces that [`export!`] names, and imports the functions that its code calls. The crate
//! needs `crate-type = ["cdylib"]` and the target `wasm32-unknown-unknown`.
//!
//! The feature `heap`, which is on by default, brings an allocator whose first 64 KiB are there when an instance begins, so
//! that a small call need not ask for memory. A component with an allocator of its own turns the feature off.

mod actor;
#[doc(hidden)]
pub mod bindings;
mod export;
#[cfg(any(all(target_family = "wasm", feature = "heap"), test))]
mod heap;
mod host;
mod http;
mod json;
mod router;
#[cfg(not(target_family = "wasm"))]
mod native;
mod sse;
pub mod static_files;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod websocket;

/// The host functions: those of the runtime in a component, and those of the test host outside of one.
mod wit {
    #[cfg(target_family = "wasm")]
    pub use crate::bindings::host::ntwk::theater::*;
    #[cfg(not(target_family = "wasm"))]
    pub use crate::native::*;
}

pub use actor::{
    Actor, ChildHandler, ConnectionHandler, HttpHandler, MessageHandler, Migration, MonitorHandler, ReplyHandler,
    StreamHandler, TimerHandler, WebSocketHandler,
};
pub use bindings::children::exports::ntwk::theater::supervisor_handlers::{ChildEvent, ChildEventKind};
pub use bindings::host::ntwk::theater::http_types::{HttpRequest, HttpResponse};
pub use bindings::monitors::exports::ntwk::theater::monitor_handlers::{Down, EndReason};
pub use bindings::streams::exports::ntwk::theater::stream_handlers::{HttpAnswer, StreamHead};
pub use bindings::websocket::exports::ntwk::theater::websocket_server::{
    MessageType, WebsocketMessage as WebSocketMessage, WebsocketResponse as WebSocketResponse,
};
pub use host::{
    clock, config, connections, filesystem, http_client, messages, monitors, random, replies, runtime, streams,
    supervisor, table, timer,
};
pub use router::{Answer, Problem, Routed, Router};
pub use sse::ServerSentEvent;

/// Writes a line to the runtime's log, with the arguments of `format!`. The standard library's own `println!` has
/// nowhere to print in a component: it prints nothing and reports no error.
#[macro_export]
macro_rules! log {
    ($($arg:tt)*) => { $crate::runtime::print(::core::format_args!($($arg)*)) };
}

/// [`log!`] under the name `println!`, for existing code: `use theater_actor::println;`.
#[macro_export]
macro_rules! println {
    () => { $crate::runtime::print(::core::format_args!("")) };
    ($($arg:tt)*) => { $crate::runtime::print(::core::format_args!($($arg)*)) };
}

/// [`log!`] under the name `eprintln!`, for existing code: `use theater_actor::eprintln;`.
#[macro_export]
macro_rules! eprintln {
    () => { $crate::runtime::print(::core::format_args!("")) };
    ($($arg:tt)*) => { $crate::runtime::print(::core::format_args!($($arg)*)) };
}

/// Turns a crate into the component of one actor, with the interfaces by which the actor can be called.
///
/// | name | trait | exports |
/// |---|---|---|
/// | (always) | [`Actor`] | `ntwk:theater/actor` |
/// | `messages` | [`MessageHandler`] | `ntwk:theater/message-server-client` |
/// | `http` | [`HttpHandler`] | `ntwk:theater/http-server` |
/// | `websocket` | [`WebSocketHandler`] | `ntwk:theater/websocket-server` |
/// | `connections` | [`ConnectionHandler`] | `ntwk:theater/connection-handlers` |
/// | `streams` | [`StreamHandler`] | `ntwk:theater/stream-handlers` |
/// | `children` | [`ChildHandler`] | `ntwk:theater/supervisor-handlers` |
/// | `timers` | [`TimerHandler`] | `ntwk:theater/timer-handlers` |
/// | `monitors` | [`MonitorHandler`] | `ntwk:theater/monitor-handlers` |
/// | `replies` | [`ReplyHandler`] | `ntwk:theater/reply-handlers` |
/// | `migration` | [`Migration`] | `ntwk:theater/migration` |
///
/// `export!(Counter: messages, http);` or, for an actor that only starts, `export!(Counter);`.
#[macro_export]
macro_rules! export {
    ($actor:ident $(: $($interface:ident),+ $(,)?)?) => {
        $crate::__export!(actor $actor);
        $($($crate::__export!($interface $actor);)+)?
    };
}

/// Exports one interface of an actor, for [`export!`]. Outside a component it exports nothing, because linkers refuse
/// the names; it then only checks that the trait is implemented.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    (actor $actor:ident) => { $crate::__export!(actor: Actor for $actor); };
    (messages $actor:ident) => { $crate::__export!(messages: MessageHandler for $actor); };
    (http $actor:ident) => { $crate::__export!(http: HttpHandler for $actor); };
    (websocket $actor:ident) => { $crate::__export!(websocket: WebSocketHandler for $actor); };
    (connections $actor:ident) => { $crate::__export!(connections: ConnectionHandler for $actor); };
    (streams $actor:ident) => { $crate::__export!(streams: StreamHandler for $actor); };
    (children $actor:ident) => { $crate::__export!(children: ChildHandler for $actor); };
    (timers $actor:ident) => { $crate::__export!(timers: TimerHandler for $actor); };
    (monitors $actor:ident) => { $crate::__export!(monitors: MonitorHandler for $actor); };
    (replies $actor:ident) => { $crate::__export!(replies: ReplyHandler for $actor); };
    (migration $actor:ident) => { $crate::__export!(migration: Migration for $actor); };
    ($other:ident $actor:ident) => {
        compile_error!(concat!(
            "no interface `",
            stringify!($other),
            "`: there are messages, http, websocket, connections, streams, children, timers, monitors, replies and migration"
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
