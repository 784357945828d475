//! One WebSocket connection, on its client's thread: it receives a message, has the actor handle it, sends the actor's
//! answer, and so on.
//!
//! ```text
//!   handshake ──▶ connect ──▶ answer ──▶ said ──▶ heard ──▶ answer ──▶ … ──▶ ending: close frame, `close` to the actor
//! ```
//!
//! Nothing is read while the actor works. So what a client sends faster than the actor handles it waits in the socket.
//!
//! If the actor knows its connections by their ids, all that is sent goes through the connection's queue, into which the
//! actor's own thread has put the answer already; this thread then sends pongs, pings and the close frame alone.

use std::convert::Infallible;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::ending::Ending;
use super::frame_stream::{FrameStream, Patience};
use super::handshake::{NoHandshake, shake_hands, write_refusal};
use super::origin::Origins;
use super::outgoing::outgoing;
use crate::base::limits::Limits;
use crate::chain::Link;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::guest::wit::{MessageType, WebSocketMessage, WebSocketResponse};
use crate::handlers::ActorRef;
use crate::net::http::HttpRefusal;
use crate::net::{
    AnswerBudget, ClientQueue, ClientWriterHandle, ListenerClosing, NoRoom, PieceFraming, ServerCertificate,
};
use crate::promise::{HANDLE_CONNECTION_MESSAGE, HANDLE_MESSAGE, bare, close};
use crate::system::{Answer, AwaitedReply, ClientKind, NoAnswer, Outcome, Refusal};

const READ_BUFFER_BYTES: usize = 8 * 1024;
/// How long a refused client has to take the answer.
const REFUSED: Duration = Duration::from_secs(1);
/// What the pings of this server carry. The actor does not get the pongs that answer them.
const STILL_THERE: &[u8] = b"theater: still there?";

/// What all connections of a listener share.
#[derive(Clone)]
pub(super) struct WebSocketShared {
    pub(super) actor: ActorRef,
    pub(super) origins: Arc<Origins>,
    /// The certificate, if TLS is spoken.
    pub(super) tls: Option<Arc<ServerCertificate>>,
    pub(super) answers: Arc<AnswerBudget>,
    /// For messages that have come in part.
    pub(super) messages: Arc<AnswerBudget>,
    /// Whether the listener closes.
    pub(super) closing: ListenerClosing,
    /// Who sends what the actor pushes, if it knows its connections by their ids.
    pub(super) writer: Option<ClientWriterHandle>,
}

/// A connection whose client has shaken hands.
pub(super) struct WebSocketConnection {
    socket: WebSocket<FrameStream>,
    shared: WebSocketShared,
    /// The event that answered the `connect`; none before the actor has answered it.
    connected: Option<Link>,
    /// What the actor sends to it, if the actor knows it by an id; with the ticket that stands for the id before the first
    /// call.
    pushed: Option<(Arc<ClientQueue>, u64)>,
    /// Whether a ping of this server is unanswered.
    asked: bool,
}

impl WebSocketConnection {
    /// Shakes hands with the client. A client whose handshake is wrong is refused, and then there is no connection.
    pub(super) fn accept(socket: &Arc<TcpStream>, shared: WebSocketShared) -> Option<Self> {
        let patience = Patience::of(&shared.actor.limits);
        let tls = match shared.tls.as_ref().map(|certificate| certificate.session()).transpose() {
            Ok(tls) => tls,
            Err(error) => {
                log::warn!("no TLS session with a client of actor {}: {error}", shared.actor.name);
                return None;
            }
        };
        let mut stream = FrameStream::new(Arc::clone(socket), tls, shared.closing.clone(), patience);
        match shake_hands(&mut stream, &shared.origins) {
            Ok(mut first) => {
                first.truncate(stream.begin_frames(&first, &shared.messages));
                let pushed = shared.writer.clone().map(|writer| {
                    let most = usize::try_from(shared.actor.limits.push_bytes).unwrap_or(usize::MAX);
                    let queue = ClientQueue::new(PieceFraming::Bare, most);
                    stream.send_through(&queue, writer);
                    let ticket = shared.actor.theater.clients.expect(ClientKind::Connection, &queue);
                    (queue, ticket)
                });
                let config = Some(config(&shared.actor.limits));
                let socket = WebSocket::from_partially_read(stream, first, Role::Server, config);
                Some(Self { socket, shared, connected: None, pushed, asked: false })
            }
            Err(NoHandshake::Refused { refusal, is_head }) => {
                refuse(stream, &refusal, is_head);
                None
            }
            Err(NoHandshake::Gone) => None,
        }
    }

    pub(super) fn run(mut self) {
        let Err(ending) = self.converse();
        self.end(ending);
    }

    fn converse(&mut self) -> Result<Infallible, Ending> {
        let mut heard = bare(MessageType::Connect);
        loop {
            let is_control = matches!(heard.ty, MessageType::Ping | MessageType::Pong);
            let answer = self.ask(heard)?;
            self.say(answer)?;
            if !is_control {
                self.socket.get_mut().begin_reading();
            }
            heard = self.hear()?;
        }
    }

    /// Has the actor handle a message, and returns the answer once that is on disk.
    fn ask(&mut self, message: WebSocketMessage) -> Result<WebSocketResponse, Ending> {
        let answer = self.deliver(message).map_err(|refusal| Ending::of_refusal(&refusal))?;
        match answer.within(self.shared.actor.limits.request_deadline()) {
            Ok(Answer { outcome, closing }) => {
                if let Outcome::Returned(_) = outcome
                    && self.pushed.is_none()
                {
                    self.connected = self.connected.take().or(closing);
                }
                self.understand(&outcome)
            }
            Err(NoAnswer::Gone) => Err(Ending::ActorEnds),
            Err(NoAnswer::NotDelivered) => Err(Ending::NotTaken),
            Err(NoAnswer::OutcomeUnknown) => Err(Ending::Unanswered),
        }
    }

    fn deliver(&self, message: WebSocketMessage) -> Result<AwaitedReply, Refusal> {
        let ActorRef { id, theater, .. } = &self.shared.actor;
        match &self.pushed {
            None => theater.deliver(*id, HANDLE_MESSAGE, (message,).to_cbor(), Caller::WebSocket),
            Some((queue, ticket)) => {
                let params = (queue.id().unwrap_or(*ticket), message).to_cbor();
                theater.deliver(*id, HANDLE_CONNECTION_MESSAGE, params, Caller::WebSocket)
            }
        }
    }

    fn understand(&self, outcome: &Outcome) -> Result<WebSocketResponse, Ending> {
        let Outcome::Returned(result) = outcome else { return Err(Ending::of_outcome(outcome)) };
        WebSocketResponse::from_cbor(result).map_err(|error| self.unsendable(&error.to_string()))
    }

    fn say(&mut self, response: WebSocketResponse) -> Result<(), Ending> {
        if self.pushed.is_some() {
            return self.look_at_what_was_said(response);
        }
        let stream = self.socket.get_mut();
        let under_way = self.shared.answers.admit(stream.socket(), bytes_of(&response));
        stream.begin_answer(under_way.map_err(|NoRoom| Ending::NoRoom)?);
        for message in response.messages {
            match outgoing(message) {
                Ok(Some(message)) => self.socket.write(message).map_err(|error| Ending::of_error(&error))?,
                Ok(None) => return Err(Ending::ActorCloses),
                Err(why) => return Err(self.unsendable(&why)),
            }
        }
        let sent = self.socket.flush().map_err(|error| Ending::of_error(&error));
        self.socket.get_mut().end_answer();
        sent
    }

    /// The actor's thread has sent the answer, up to a message that ends the connection.
    fn look_at_what_was_said(&self, response: WebSocketResponse) -> Result<(), Ending> {
        for message in response.messages {
            match outgoing(message) {
                Ok(Some(_)) => {}
                Ok(None) => return Err(Ending::ActorCloses),
                Err(why) => return Err(self.unsendable(&why)),
            }
        }
        Ok(())
    }

    /// The ending that the actor has asked for, if it has.
    fn asked_to_end(&self) -> Option<Ending> {
        self.pushed.as_ref().and_then(|(queue, _)| queue.close_code()).map(Ending::ActorClosesWith)
    }

    fn unsendable(&self, why: &str) -> Ending {
        log::warn!("actor {} gave an answer that cannot be sent: {why}", self.shared.actor.name);
        Ending::Unsendable
    }

    /// Waits for the next message that is for the actor.
    fn hear(&mut self) -> Result<WebSocketMessage, Ending> {
        self.await_next();
        loop {
            if self.shared.closing.has_begun() {
                return Err(Ending::ActorEnds);
            }
            if let Some(ending) = self.asked_to_end() {
                return Err(ending);
            }
            self.socket.get_mut().begin_writing();
            match self.socket.read() {
                Ok(message) => {
                    self.heard_something();
                    // The pong to a ping was queued, and is sent now.
                    self.socket.flush().or_else(only_closed).map_err(|error| Ending::of_error(&error))?;
                    if let Some(message) = incoming(message)? {
                        return Ok(message);
                    }
                }
                Err(_) if self.shared.closing.has_begun() => return Err(Ending::ActorEnds),
                Err(error) => {
                    if let Some(ending) = self.asked_to_end() {
                        return Err(ending);
                    }
                    match error {
                        Error::Io(error) if error.kind() == ErrorKind::TimedOut => self.nothing_heard()?,
                        error => return Err(Ending::of_error(&error)),
                    }
                }
            }
        }
    }

    fn heard_something(&mut self) {
        self.asked = false;
        self.await_next();
    }

    /// Nothing has come for too long. An idle client is asked once, by a ping, whether it is still there.
    fn nothing_heard(&mut self) -> Result<(), Ending> {
        if self.asked || self.socket.get_ref().is_in_the_middle() {
            return Err(Ending::Silent);
        }
        self.asked = true;
        self.socket.send(Message::Ping(STILL_THERE.into())).map_err(|error| Ending::of_error(&error))?;
        self.await_next();
        Ok(())
    }

    fn await_next(&mut self) {
        let patience = Duration::from_millis(self.shared.actor.limits.websocket_idle_ms);
        self.socket.get_mut().await_next(patience);
    }

    fn end(&mut self, ending: Ending) {
        self.socket.get_mut().begin_writing();
        if let Some(frame) = ending.frame() {
            // The client may be gone, or may not take it.
            let _ = self.socket.close(Some(frame)).and_then(|()| self.socket.flush());
        }
        self.tell_the_actor();
        self.socket.get_mut().end_queue();
        match ending {
            Ending::Gone => self.socket.get_mut().drop_client(),
            _ => self.socket.get_mut().linger(),
        }
    }
}

impl WebSocketConnection {
    /// Tells the actor that the connection has ended, if it was promised that.
    fn tell_the_actor(&mut self) {
        let ActorRef { id, theater, .. } = &self.shared.actor;
        let due = match &self.pushed {
            None => self.connected.take().map(|answered| close(answered, None)),
            Some((queue, _)) => theater.clients.over(*id, queue).map(|answered| close(answered, queue.id())),
        };
        // If this is refused, the actor is ending: it needs no more notices, or gets this one at its next start.
        due.into_iter().for_each(|due| _ = theater.notify(*id, due));
    }
}

fn config(limits: &Limits) -> WebSocketConfig {
    let most = usize::try_from(limits.websocket_message_bytes).unwrap_or(usize::MAX);
    // Messages are written when they are flushed, or when there are many bytes of them.
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(most))
        .max_frame_size(Some(most))
}

/// Flushing reports an error when it has sent the close frame that answers the client's own. That is no failure.
fn only_closed(error: Error) -> Result<(), Error> {
    match error {
        Error::ConnectionClosed => Ok(()),
        other => Err(other),
    }
}

/// A message as the actor gets it; nothing if it is not for the actor.
fn incoming(message: Message) -> Result<Option<WebSocketMessage>, Ending> {
    let (ty, data, text) = match message {
        Message::Text(text) => (MessageType::Text, None, Some(text.as_str().to_owned())),
        Message::Binary(data) => (MessageType::Binary, Some(data.to_vec()), None),
        Message::Ping(data) => (MessageType::Ping, Some(data.to_vec()), None),
        Message::Pong(data) if data == STILL_THERE => return Ok(None),
        Message::Pong(data) => (MessageType::Pong, Some(data.to_vec()), None),
        Message::Close(_) => return Err(Ending::Closed),
        Message::Frame(_) => return Ok(None),
    };
    Ok(Some(WebSocketMessage { ty, data, text }))
}

fn bytes_of(response: &WebSocketResponse) -> usize {
    let bytes = |message: &WebSocketMessage| {
        message.data.as_ref().map_or(0, Vec::len) + message.text.as_ref().map_or(0, String::len)
    };
    response.messages.iter().map(bytes).sum()
}

/// Refuses a client that asked for something else than a WebSocket.
fn refuse(mut stream: FrameStream, refusal: &HttpRefusal, is_head: bool) {
    stream.begin_refusal(REFUSED);
    let mut text = Vec::new();
    write_refusal(&mut text, refusal, is_head);
    // The client may be gone.
    let _ = stream.write_all(&text);
    stream.linger();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ty: MessageType, data: Option<&[u8]>, text: Option<&str>) -> WebSocketMessage {
        WebSocketMessage { ty, data: data.map(<[u8]>::to_vec), text: text.map(str::to_owned) }
    }

    #[test]
    fn the_answer_to_our_own_ping_is_not_for_the_actor() {
        assert_eq!(incoming(Message::Pong(STILL_THERE.into())), Ok(None));
        let theirs = incoming(Message::Pong(b"theirs".as_slice().into())).expect("open").expect("for the actor");
        assert_eq!(theirs, message(MessageType::Pong, Some(b"theirs"), None));
    }
}
