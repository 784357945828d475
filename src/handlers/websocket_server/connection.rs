//! One client's thread: hears a message, has the actor handle it, says what the actor answers, and again.
//!
//! ```text
//!   handshake ──▶ connect ──▶ answer ──▶ said ──▶ heard ──▶ answer ──▶ … ──▶ ending: close frame, `close` to the actor
//! ```
//!
//! While the actor works nothing is read, so a client that sends faster than the actor handles waits in its own socket.

use std::convert::Infallible;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::ending::Ending;
use super::handshake::{NoHandshake, shake_hands, write_refusal};
use super::origin::Origins;
use super::wire::{Patience, Wire};
use crate::base::limits::Limits;
use crate::chain::Link;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::guest::wit::{MessageType, WebSocketMessage, WebSocketResponse};
use crate::handlers::answers::{AnswerBudget, NoRoom};
use crate::handlers::{self, ActorRef};
use crate::promise::{HANDLE_MESSAGE, bare, close};
use crate::system::{Answer, AwaitedReply, NoAnswer, Outcome, Refusal};

const READ_BUFFER_BYTES: usize = 8 * 1024;
/// Most that a ping or a pong may carry.
const CONTROL_BYTES: usize = 125;
/// For a client that is refused to take the answer.
const REFUSED: Duration = Duration::from_secs(1);
/// What our own pings carry: the pong to one is not the actor's concern.
const STILL_THERE: &[u8] = b"theater: still there?";

/// What all connections of a listener share.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) actor: ActorRef,
    pub(super) origins: Arc<Origins>,
    pub(super) answers: Arc<AnswerBudget>,
    /// For what comes in and is not whole.
    pub(super) messages: Arc<AnswerBudget>,
    /// The listener is ending.
    pub(super) closing: Arc<AtomicBool>,
}

pub(super) struct Connection {
    socket: WebSocket<Wire>,
    host: Host,
    /// The event that answered the `connect`, once the actor knows of the client.
    connected: Option<Link>,
    /// Whether a ping of ours is unanswered.
    asked: bool,
}

impl Connection {
    /// Shakes hands; a client that does it wrong is answered, and that was it.
    pub(super) fn accept(socket: &Arc<TcpStream>, host: Host) -> Option<Self> {
        let patience = Patience::of(&host.actor.limits);
        let mut wire = Wire::new(Arc::clone(socket), Arc::clone(&host.closing), patience);
        match shake_hands(&mut wire, &host.origins) {
            Ok(mut first) => {
                first.truncate(wire.begin_frames(&first, &host.messages));
                let config = Some(config(&host.actor.limits));
                let socket = WebSocket::from_partially_read(wire, first, Role::Server, config);
                Some(Self { socket, host, connected: None, asked: false })
            }
            Err(NoHandshake::Refused { refusal, is_head }) => {
                refuse(socket, &refusal, is_head);
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

    /// Has the actor handle a message: its answer, once it is on disk.
    fn ask(&mut self, message: WebSocketMessage) -> Result<WebSocketResponse, Ending> {
        let answer = self.deliver(message).map_err(|refusal| Ending::of_refusal(&refusal))?;
        match answer.within(self.host.actor.limits.request_deadline()) {
            Ok(Answer { outcome, closing }) => {
                if let Outcome::Returned(_) = outcome {
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
        let ActorRef { id, theater, .. } = &self.host.actor;
        theater.deliver(*id, HANDLE_MESSAGE, (message,).to_cbor(), Caller::WebSocket)
    }

    fn understand(&self, outcome: &Outcome) -> Result<WebSocketResponse, Ending> {
        let Outcome::Returned(result) = outcome else { return Err(Ending::of_outcome(outcome)) };
        WebSocketResponse::from_cbor(result).map_err(|error| self.unsendable(&error.to_string()))
    }

    fn say(&mut self, response: WebSocketResponse) -> Result<(), Ending> {
        let wire = self.socket.get_mut();
        let under_way = self.host.answers.admit(wire.socket(), bytes_of(&response));
        wire.begin_answer(under_way.map_err(|NoRoom| Ending::NoRoom)?);
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

    fn unsendable(&self, why: &str) -> Ending {
        log::warn!("actor {} gave an answer that cannot be sent: {why}", self.host.actor.name);
        Ending::Unsendable
    }

    /// The next message for the actor.
    fn hear(&mut self) -> Result<WebSocketMessage, Ending> {
        self.await_next();
        loop {
            if self.host.closing.load(Ordering::SeqCst) {
                return Err(Ending::ActorEnds);
            }
            self.socket.get_mut().begin_writing();
            match self.socket.read() {
                Ok(message) => {
                    self.heard_something();
                    // Pongs to pings have been queued, and leave now.
                    self.socket.flush().or_else(only_closed).map_err(|error| Ending::of_error(&error))?;
                    if let Some(message) = incoming(message)? {
                        return Ok(message);
                    }
                }
                Err(_) if self.host.closing.load(Ordering::SeqCst) => return Err(Ending::ActorEnds),
                Err(Error::Io(error)) if error.kind() == ErrorKind::TimedOut => self.nothing_heard()?,
                Err(error) => return Err(Ending::of_error(&error)),
            }
        }
    }

    fn heard_something(&mut self) {
        self.asked = false;
        self.await_next();
    }

    /// An idle client is asked once whether it is still there.
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
        let patience = Duration::from_millis(self.host.actor.limits.websocket_idle_ms);
        self.socket.get_mut().await_next(patience);
    }

    fn end(&mut self, ending: Ending) {
        self.socket.get_mut().begin_writing();
        if let Some(frame) = ending.frame() {
            // It may be gone, or not take it.
            let _ = self.socket.close(Some(frame)).and_then(|()| self.socket.flush());
        }
        if let Some(answered) = self.connected.take() {
            let ActorRef { id, theater, .. } = &self.host.actor;
            // Refused, the actor is ending and needs to hear of nobody, or hears of it at the next start.
            let _ = theater.notify(*id, close(answered));
        }
        match ending {
            Ending::Gone => self.socket.get_mut().drop_client(),
            _ => self.socket.get_mut().linger(),
        }
    }
}

fn config(limits: &Limits) -> WebSocketConfig {
    let most = usize::try_from(limits.websocket_message_bytes).unwrap_or(usize::MAX);
    // Written when it is flushed, or when there is much of it.
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(most))
        .max_frame_size(Some(most))
}

/// The close that answers the client's own is on its way, and that is all that flushing says.
fn only_closed(error: Error) -> Result<(), Error> {
    match error {
        Error::ConnectionClosed => Ok(()),
        other => Err(other),
    }
}

/// A message as the actor gets it; nothing where it is not for the actor.
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

/// A message as the client gets it; nothing where the actor closes. Payload that stands in the other field is taken.
fn outgoing(WebSocketMessage { ty, data, text }: WebSocketMessage) -> Result<Option<Message>, String> {
    let bytes = |data: Option<Vec<u8>>, text: Option<String>| data.or(text.map(String::into_bytes)).unwrap_or_default();
    match ty {
        MessageType::Text => {
            let text = text.map_or_else(|| String::from_utf8(data.unwrap_or_default()), Ok);
            text.map(|text| Some(Message::text(text))).map_err(|_| "a text message that is not UTF-8".to_owned())
        }
        MessageType::Binary => Ok(Some(Message::binary(bytes(data, text)))),
        MessageType::Ping => control(bytes(data, text)).map(|data| Some(Message::Ping(data.into()))),
        MessageType::Pong => control(bytes(data, text)).map(|data| Some(Message::Pong(data.into()))),
        MessageType::Close => Ok(None),
        MessageType::Connect => Err("a \"connect\", which only comes in".to_owned()),
        MessageType::Other(_) => Err("a message of no known type".to_owned()),
    }
}

fn control(data: Vec<u8>) -> Result<Vec<u8>, String> {
    if data.len() > CONTROL_BYTES {
        return Err(format!("a ping or pong of {} bytes: the most is {CONTROL_BYTES}", data.len()));
    }
    Ok(data)
}

fn bytes_of(response: &WebSocketResponse) -> usize {
    let bytes = |message: &WebSocketMessage| {
        message.data.as_ref().map_or(0, Vec::len) + message.text.as_ref().map_or(0, String::len)
    };
    response.messages.iter().map(bytes).sum()
}

/// Answers a client that asked for something else than a WebSocket.
fn refuse(socket: &Arc<TcpStream>, refusal: &handlers::wire::Refusal, is_head: bool) {
    let mut wire = Wire::new(Arc::clone(socket), Arc::default(), Patience::within(REFUSED));
    let mut text = Vec::new();
    write_refusal(&mut text, refusal, is_head);
    // It may be gone.
    let _ = wire.write_all(&text);
    wire.linger();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ty: MessageType, data: Option<&[u8]>, text: Option<&str>) -> WebSocketMessage {
        WebSocketMessage { ty, data: data.map(<[u8]>::to_vec), text: text.map(str::to_owned) }
    }

    #[test]
    fn what_an_actor_says_is_sent_as_it_meant_it() {
        let say = |ty, data, text| outgoing(message(ty, data, text));
        assert_eq!(say(MessageType::Text, None, Some("a")), Ok(Some(Message::text("a"))));
        assert_eq!(say(MessageType::Text, Some(b"a"), None), Ok(Some(Message::text("a"))));
        assert_eq!(say(MessageType::Binary, Some(&[0xff]), None), Ok(Some(Message::binary(vec![0xff]))));
        assert_eq!(say(MessageType::Ping, None, None), Ok(Some(Message::Ping(Vec::new().into()))));
        assert_eq!(say(MessageType::Close, None, None), Ok(None));
    }

    #[test]
    fn what_cannot_be_sent_is_named() {
        for (ty, data) in [
            (MessageType::Text, &[0xff][..]),
            (MessageType::Ping, &[0; 126]),
            (MessageType::Connect, &[]),
            (MessageType::Other("x".into()), &[]),
        ] {
            outgoing(message(ty, Some(data), None)).expect_err("it cannot be sent");
        }
    }

    #[test]
    fn the_answer_to_our_own_ping_is_not_for_the_actor() {
        assert_eq!(incoming(Message::Pong(STILL_THERE.into())), Ok(None));
        let theirs = incoming(Message::Pong(b"theirs".as_slice().into())).expect("open").expect("for the actor");
        assert_eq!(theirs, message(MessageType::Pong, Some(b"theirs"), None));
    }
}
