//! The traits that an actor implements, one for each interface it can export.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::json;
use crate::{ChildEvent, Down, HttpAnswer, HttpRequest, HttpResponse, WebSocketMessage};

/// An actor. The value is its state: it is decoded from the state's bytes before each call and encoded again after it.
///
/// The bytes are recorded, so equal states must have equal bytes. `BTreeMap` and `Vec` ensure this; a `HashMap` writes
/// its entries in any order and does not. Statics do not survive a call.
pub trait Actor: Serialize + DeserializeOwned {
    /// Returns the first state. `state` is the manifest's `init_state`, if it names one; `id` is the actor's own id.
    ///
    /// # Errors
    /// The text says why this actor cannot exist. The actor then fails.
    fn init(state: Option<Self>, id: &str) -> Result<Self, String>;

    /// Decodes a state: from JSON, unless the actor overrides this.
    ///
    /// # Errors
    /// The bytes are not a valid state.
    fn load(state: Option<Vec<u8>>) -> Result<Option<Self>, String> {
        state.map(|bytes| json::read("state", &bytes)).transpose()
    }

    /// Encodes the state into bytes that [`load`](Self::load) can decode.
    ///
    /// # Errors
    /// The state cannot be encoded.
    fn save(&self) -> Result<Option<Vec<u8>>, String> {
        json::write("state", self).map(Some)
    }
}

/// An actor whose state has another form than in an earlier build. Export it as `migration`.
///
/// After an upgrade to another component, the runtime calls it once, before any other call.
pub trait Migration: Actor {
    /// The state of the earlier build. If several builds have gone before, an `enum` with `#[serde(untagged)]` takes the
    /// states of all of them.
    type Before: DeserializeOwned;

    /// Makes a state of this build of an earlier build's. `from` is the SHA-256 of the component that made it, in hex.
    ///
    /// # Errors
    /// The upgrade is taken back: the actor goes on with the earlier build and its state. Whoever asked for the upgrade gets
    /// the text.
    fn migrate(before: Self::Before, from: &str) -> Result<Self, String>;

    /// Decodes the state of the earlier build: from JSON, unless the actor overrides this.
    ///
    /// # Errors
    /// The bytes are not a state of that build.
    fn load_before(state: Option<Vec<u8>>) -> Result<Self::Before, String> {
        json::read("state of the build before", &state.ok_or("there is no state to migrate")?)
    }
}

/// An actor that receives messages. Export it as `messages`.
///
/// In every method, `Err` leaves the state as it was, even if `self` was changed before.
pub trait MessageHandler: Actor {
    /// The type of messages from others.
    type Message: DeserializeOwned;
    /// The type of the answer to a request.
    type Reply: Serialize;

    /// Handles a message whose sender waits for the reply.
    ///
    /// # Errors
    /// The sender receives the text instead of a reply.
    fn handle_request(&mut self, message: Self::Message) -> Result<Self::Reply, String>;

    /// Handles a message whose sender does not wait: as a request, unless the actor overrides this.
    ///
    /// # Errors
    /// The text is recorded; the sender is not told.
    fn handle_send(&mut self, message: Self::Message) -> Result<(), String> {
        self.handle_request(message).map(drop)
    }
}

/// An actor that answers HTTP requests. Export it as `http`.
pub trait HttpHandler: Actor {
    /// Answers one request.
    ///
    /// # Errors
    /// The client gets status 500, and the state stays as it was.
    fn handle(&mut self, request: HttpRequest) -> Result<HttpResponse, String>;
}

/// An actor that answers WebSocket clients. Export it as `websocket`.
pub trait WebSocketHandler: Actor {
    /// Handles one message of a client, and returns the messages to send back to it.
    ///
    /// # Errors
    /// The connection is closed, and the state stays as it was.
    fn handle_message(&mut self, message: WebSocketMessage) -> Result<Vec<WebSocketMessage>, String>;
}

/// An actor that knows its WebSocket clients by their ids, and sends to them at any time with
/// [`connections`](crate::connections). Export it as `connections`.
pub trait ConnectionHandler: Actor {
    /// Handles one message of the client with this id, and returns the messages to send back to it. The first message of a
    /// connection is of the type `Connect`, and the last one of the type `Close`.
    ///
    /// # Errors
    /// The connection is closed, and the state stays as it was. After the error of a `Connect` no `Close` follows.
    fn handle_connection_message(
        &mut self,
        connection: u64,
        message: WebSocketMessage,
    ) -> Result<Vec<WebSocketMessage>, String>;
}

/// An actor that can answer HTTP requests by streams, with [`streams`](crate::streams). Export it as `streams`.
pub trait StreamHandler: Actor {
    /// Answers one request. If the answer is a stream, it has the id `stream`.
    ///
    /// # Errors
    /// The client gets status 500, and the state stays as it was.
    fn handle_stream_request(&mut self, stream: u64, request: HttpRequest) -> Result<HttpAnswer, String>;

    /// Receives the end of a stream that the actor has not ended itself.
    ///
    /// # Errors
    /// The state stays as it was; the stream is over all the same.
    fn handle_stream_closed(&mut self, stream: u64) -> Result<(), String>;
}

/// An actor that sets timers, with [`timer`](crate::timer). Export it as `timers`.
pub trait TimerHandler: Actor {
    /// The type of the messages of its timers.
    type TimerMessage: DeserializeOwned;

    /// Handles a timer that is due. `due` is the time at which it was due, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// The state stays as it was; the timer counts as handled.
    fn handle_timer(&mut self, key: &str, due: u64, message: Self::TimerMessage) -> Result<(), String>;
}

/// An actor that monitors other actors, with [`monitors`](crate::monitors). Export it as `monitors`.
pub trait MonitorHandler: Actor {
    /// Receives the end of an actor that this actor monitored. The monitor is over.
    ///
    /// # Errors
    /// The state stays as it was; the monitor is over all the same.
    fn handle_down(&mut self, down: Down) -> Result<(), String>;
}

/// An actor that asks others with [`messages::request_async`](crate::messages::request_async). Export it as `replies`.
pub trait ReplyHandler: Actor {
    /// The type of the answers.
    type Answer: DeserializeOwned;

    /// Receives the answer to one request, whose token `request_async` has returned; an `Err` is what
    /// [`messages::request`](crate::messages::request) would have returned. The request is over.
    ///
    /// # Errors
    /// The state stays as it was; the request is over all the same.
    fn handle_reply(&mut self, token: u64, answer: Result<Self::Answer, String>) -> Result<(), String>;
}

/// An actor that is told about its children. Export it as `children`.
pub trait ChildHandler: Actor {
    /// Receives the notice that a child started, stopped, failed or restarted.
    ///
    /// # Errors
    /// The state stays as it was.
    fn handle_child_event(&mut self, event: ChildEvent) -> Result<(), String>;
}
