//! A test actor that echoes WebSocket messages and counts them. `bye` makes it close the connection, `refuse` return
//! `Err`, `trap` trap, `flood` send a mebibyte seven times, `nonsense` send an invalid message, `count` send its
//! counts.

use serde::{Deserialize, Serialize};
use theater_actor::{Actor, MessageType, WebSocketHandler, WebSocketMessage};

/// How many messages of each type it has received.
#[derive(Default, Serialize, Deserialize)]
struct Parrot {
    connects: u64,
    closes: u64,
    messages: u64,
    others: u64,
}

impl Actor for Parrot {
    fn init(state: Option<Self>, _id: &str) -> Result<Self, String> {
        Ok(state.unwrap_or_default())
    }
}

impl WebSocketHandler for Parrot {
    fn handle_message(&mut self, message: WebSocketMessage) -> Result<Vec<WebSocketMessage>, String> {
        let count = match message.ty {
            MessageType::Connect => &mut self.connects,
            MessageType::Close => &mut self.closes,
            MessageType::Text | MessageType::Binary => &mut self.messages,
            MessageType::Ping | MessageType::Pong | MessageType::Other(_) => &mut self.others,
        };
        *count += 1;
        Ok(match (&message.ty, message.text.as_deref()) {
            (MessageType::Text, Some("bye")) => vec![text("bye"), close()],
            (MessageType::Text, Some("refuse")) => return Err("a secret reason".into()),
            (MessageType::Text, Some("trap")) => std::process::abort(), // on this target, `unreachable`
            (MessageType::Text, Some("flood")) => vec![text(&"x".repeat(1 << 20)); 7],
            (MessageType::Text, Some("nonsense")) => vec![of_type(MessageType::Connect)],
            (MessageType::Text, Some("count")) => {
                vec![text(&format!("{} {} {} {}", self.connects, self.closes, self.messages, self.others))]
            }
            (MessageType::Text | MessageType::Binary, _) => vec![message],
            _ => Vec::new(),
        })
    }
}

fn of_type(ty: MessageType) -> WebSocketMessage {
    WebSocketMessage { ty, data: None, text: None }
}

fn close() -> WebSocketMessage {
    of_type(MessageType::Close)
}

fn text(text: &str) -> WebSocketMessage {
    WebSocketMessage { text: Some(text.into()), ..of_type(MessageType::Text) }
}

theater_actor::export!(Parrot: websocket);
