//! The traits an actor implements, one for each interface it can export.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::json;
use crate::{ChildEvent, HttpRequest, HttpResponse, WebSocketMessage};

/// An actor. The value is its state: it is made from the state's bytes before each call and turned
/// back into bytes after it.
///
/// The bytes are recorded, so they must be the same whenever the state is: `BTreeMap` and `Vec` are,
/// a `HashMap` writes its entries in any order and is not. Statics do not outlive a call.
pub trait Actor: Serialize + DeserializeOwned {
    /// Makes the first state. `state` is the manifest's `init_state`, if it names one, and `id` the
    /// actor's own id.
    ///
    /// # Errors
    /// Says why this actor cannot be. It then fails.
    fn init(state: Option<Self>, id: &str) -> Result<Self, String>;

    /// The state that the bytes stand for: JSON, unless the actor says otherwise.
    ///
    /// # Errors
    /// The bytes are no such state.
    fn load(state: Option<Vec<u8>>) -> Result<Option<Self>, String> {
        state.map(|bytes| json::read("state", &bytes)).transpose()
    }

    /// The bytes that [`load`](Self::load) makes this state of.
    ///
    /// # Errors
    /// There is no way to write this state.
    fn save(&self) -> Result<Option<Vec<u8>>, String> {
        json::write("state", self).map(Some)
    }
}

/// An actor that takes messages. Export it as `messages`.
///
/// In any method an `Err` leaves the state as it was, whatever was done to `self` before.
pub trait MessageHandler: Actor {
    /// What others send.
    type Message: DeserializeOwned;
    /// What a request is answered with.
    type Reply: Serialize;

    /// Handles a message whose sender waits for the reply.
    ///
    /// # Errors
    /// The sender receives the text instead of a reply.
    fn handle_request(&mut self, message: Self::Message) -> Result<Self::Reply, String>;

    /// Handles a message that nobody waits for: as a request, unless the actor says otherwise.
    ///
    /// # Errors
    /// The text is recorded; the sender does not hear of it.
    fn handle_send(&mut self, message: Self::Message) -> Result<(), String> {
        self.handle_request(message).map(drop)
    }
}

/// An actor that answers HTTP. Export it as `http`.
pub trait HttpHandler: Actor {
    /// Answers one request.
    ///
    /// # Errors
    /// The client gets status 500, and the state stays as it was.
    fn handle(&mut self, request: HttpRequest) -> Result<HttpResponse, String>;
}

/// An actor that speaks WebSocket. Export it as `websocket`.
pub trait WebSocketHandler: Actor {
    /// Handles one message of a client, and answers with those to send back to it.
    ///
    /// # Errors
    /// The connection is closed, and the state stays as it was.
    fn handle_message(&mut self, message: WebSocketMessage) -> Result<Vec<WebSocketMessage>, String>;
}

/// An actor that hears of its children. Export it as `children`.
pub trait ChildHandler: Actor {
    /// Hears that a child started, stopped, failed or restarted.
    ///
    /// # Errors
    /// The state stays as it was.
    fn handle_child_event(&mut self, event: ChildEvent) -> Result<(), String>;
}
