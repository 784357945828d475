//! A chat room with history and presence: it pushes what one client says to all others, over WebSockets and as server-sent
//! events. As a message, or as the body of `POST /op`, it takes commands, so that a test can have it do anything.

mod command;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use theater_actor::{
    Actor, ConnectionHandler, HttpAnswer, HttpRequest, HttpResponse, MessageHandler, MessageType, ServerSentEvent,
    StreamHandler, StreamHead, WebSocketMessage, connections, replies, streams,
};

/// How many of the last things said a newcomer is told.
const HISTORY: usize = 20;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Lounge {
    /// Who is there, by connection.
    present: BTreeMap<u64, String>,
    /// Who reads along.
    readers: BTreeSet<u64>,
    history: Vec<Value>,
    /// How many things were said.
    said: u64,
    /// The connections and the streams whose ends were told, in their order.
    left: Vec<u64>,
    unread: Vec<u64>,
    /// The answers that were put off.
    promised: Vec<u64>,
    /// The answer to the last push that some did not get.
    missed: Vec<Value>,
}

impl Actor for Lounge {
    fn init(state: Option<Self>, _id: &str) -> Result<Self, String> {
        Ok(state.unwrap_or_default())
    }

    fn load(state: Option<Vec<u8>>) -> Result<Option<Self>, String> {
        let Some(bytes) = state else { return Ok(Some(Self::default())) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| error.to_string())
    }
}

impl Lounge {
    /// Notes something for those who come later, and tells it to all who are there.
    fn tell(&mut self, what: Value) -> Result<(), String> {
        self.said += 1;
        self.history.push(what.clone());
        let surplus = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..surplus);
        let text = what.to_string();
        let everybody: Vec<u64> = self.present.keys().copied().collect();
        let missed = connections::push(&everybody, &WebSocketMessage::text(text.as_str()))?;
        self.missed.extend(missed.iter().map(|it| json!([it.connection, format!("{:?}", it.reason)])));
        let id = self.said.to_string();
        for reader in &self.readers {
            let event = ServerSentEvent { id: Some(&id), ..ServerSentEvent::of(&text) };
            if let Err(why) = streams::push_event(*reader, &event) {
                self.missed.push(json!([reader, format!("{why:?}")]));
            }
        }
        Ok(())
    }

    fn heard(&mut self, connection: u64, text: &str) -> Result<Vec<WebSocketMessage>, String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "/name" => _ = self.present.insert(connection, rest.to_owned()),
            "/echo" => return Ok(vec![WebSocketMessage::text(rest)]),
            "/both" => {
                connections::push(&[connection], &WebSocketMessage::text("pushed"))?;
                return Ok(vec![WebSocketMessage::text("answered")]);
            }
            "/bye" => return Ok(vec![WebSocketMessage::text("bye"), WebSocketMessage::close()]),
            "/leave" => {
                connections::push(&[connection], &WebSocketMessage::text("leaving"))?;
                connections::close(connection, rest.parse().map_err(|_| "no code")?)?;
            }
            "/refuse" => return Err("refused".into()),
            "/trap" => panic!("as asked"),
            _ => {
                let from = self.present.get(&connection).cloned();
                self.tell(json!({ "from": from, "text": text }))?;
            }
        }
        Ok(Vec::new())
    }
}

impl ConnectionHandler for Lounge {
    fn handle_connection_message(
        &mut self,
        connection: u64,
        message: WebSocketMessage,
    ) -> Result<Vec<WebSocketMessage>, String> {
        match message.ty {
            MessageType::Connect => {
                let welcome = json!({ "you": connection, "present": self.present.len(), "history": self.history });
                self.present.insert(connection, format!("guest-{connection}"));
                Ok(vec![WebSocketMessage::text(welcome.to_string())])
            }
            MessageType::Close => {
                let name = self.present.remove(&connection);
                self.left.push(connection);
                if name.is_some_and(|name| !name.starts_with("guest-")) {
                    self.tell(json!({ "left": connection }))?;
                }
                Ok(Vec::new())
            }
            MessageType::Text => self.heard(connection, &message.text.unwrap_or_default()),
            MessageType::Binary | MessageType::Ping | MessageType::Pong | MessageType::Other(_) => Ok(Vec::new()),
        }
    }
}

impl StreamHandler for Lounge {
    fn handle_stream_request(&mut self, stream: u64, request: HttpRequest) -> Result<HttpAnswer, String> {
        let head = |status: u16, headers: &[(&str, &str)], first: Option<&str>| {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            HttpAnswer::Stream(StreamHead { status, headers, first: first.map(|first| first.as_bytes().to_vec()) })
        };
        Ok(match request.path() {
            "/events" => {
                self.readers.insert(stream);
                let id = stream.to_string();
                HttpAnswer::event_stream(&[ServerSentEvent { event: Some("hello"), ..ServerSentEvent::of(&id) }])
            }
            "/raw" => head(200, &[("x-stream", &stream.to_string())], None),
            "/early" => {
                let early = streams::push_chunk(stream, b"early").is_err();
                head(200, &[("x-refused", &early.to_string()), ("x-stream", &stream.to_string())], Some("first "))
            }
            "/empty" => head(204, &[("x-stream", &stream.to_string())], None),
            "/forbidden" => head(99, &[], None),
            "/refuse" => return Err("refused".into()),
            // What it returns then means nothing.
            "/later" => {
                self.promised.push(replies::defer()?);
                head(200, &[], None)
            }
            "/op" => {
                let answer = self.obey(request.json()?)?;
                HttpAnswer::Response(HttpResponse::json(200, &answer)?)
            }
            _ => HttpAnswer::Response(HttpResponse::text(404, "nothing here")),
        })
    }

    fn handle_stream_closed(&mut self, stream: u64) -> Result<(), String> {
        self.readers.remove(&stream);
        self.unread.push(stream);
        Ok(())
    }
}

impl MessageHandler for Lounge {
    type Message = Value;
    type Reply = Value;

    fn handle_request(&mut self, command: Value) -> Result<Value, String> {
        self.obey(command)
    }
}

theater_actor::export!(Lounge: messages, connections, streams);
