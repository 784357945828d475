//! The commands of the lounge: JSON, one word or `{"word": …}`.

use serde::Deserialize;
use serde_json::{Value, json};
use theater_actor::{HttpResponse, MessageType, WebSocketMessage, connections, replies, streams};

use crate::Lounge;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Command {
    /// The whole state.
    State,
    Connections,
    Streams,
    /// Something is said by nobody.
    Say(String),
    /// A text to these connections.
    Push(Vec<u64>, String),
    /// A text of so many bytes, to these connections, so many times.
    Flood(Vec<u64>, usize, usize),
    /// A message of another type.
    PushTyped(Vec<u64>, String, Vec<u8>),
    Close(u64, u16),
    Chunk(u64, String),
    /// A piece of so many bytes, so many times.
    FloodStream(u64, usize, usize),
    End(u64),
    /// The oldest answer that was put off.
    Answer(String),
    Trap,
}

impl Lounge {
    pub(crate) fn obey(&mut self, command: Value) -> Result<Value, String> {
        let command: Command = serde_json::from_value(command).map_err(|error| error.to_string())?;
        let pushed = |to: &[u64], message: &WebSocketMessage| match connections::push(to, message) {
            Ok(missed) => {
                let missed = missed.iter().map(|it| json!([it.connection, format!("{:?}", it.reason)]));
                json!({ "ok": missed.collect::<Vec<_>>() })
            }
            Err(why) => json!({ "err": why }),
        };
        Ok(match command {
            Command::State => serde_json::to_value(&*self).map_err(|error| error.to_string())?,
            Command::Connections => json!(connections::connections()),
            Command::Streams => json!(streams::streams()),
            Command::Answer(text) => {
                let token = if self.promised.is_empty() { 0 } else { self.promised.remove(0) };
                json!(replies::reply_http(token, &HttpResponse::text(200, &text)).err())
            }
            Command::Say(text) => {
                self.tell(json!({ "text": text }))?;
                Value::Null
            }
            Command::Push(to, text) => pushed(&to, &WebSocketMessage::text(text)),
            Command::Flood(to, bytes, times) => {
                let message = WebSocketMessage::text("x".repeat(bytes));
                (0..times).fold(Value::Null, |_, _| pushed(&to, &message))
            }
            Command::PushTyped(to, ty, data) => {
                let ty = match ty.as_str() {
                    "binary" => MessageType::Binary,
                    "text" => MessageType::Text,
                    "ping" => MessageType::Ping,
                    "close" => MessageType::Close,
                    "connect" => MessageType::Connect,
                    other => MessageType::Other(other.to_owned()),
                };
                pushed(&to, &WebSocketMessage { ty, data: Some(data), text: None })
            }
            Command::Close(connection, code) => match connections::close(connection, code) {
                Ok(was_open) => json!(was_open),
                Err(why) => json!({ "err": why }),
            },
            Command::Chunk(stream, text) => json!(format!("{:?}", streams::push_chunk(stream, text.as_bytes()))),
            Command::FloodStream(stream, bytes, times) => {
                let piece = vec![b'x'; bytes];
                (0..times).fold(Value::Null, |_, _| json!(format!("{:?}", streams::push_chunk(stream, &piece))))
            }
            Command::End(stream) => json!(streams::end(stream)),
            Command::Trap => panic!("as asked"),
        })
    }
}
