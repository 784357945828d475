//! Says over WebSocket what it heard, and keeps count. `bye` makes it close the connection.

use serde::{Deserialize, Serialize};
use theater_actor::{Actor, MessageType, WebSocketHandler, WebSocketMessage};

/// How many of each it has heard.
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
            (MessageType::Text, Some("bye")) => vec![close()],
            (MessageType::Text | MessageType::Binary, _) => vec![message],
            _ => Vec::new(),
        })
    }
}

fn close() -> WebSocketMessage {
    WebSocketMessage { ty: MessageType::Close, data: None, text: None }
}

theater_actor::export!(Parrot: websocket);
