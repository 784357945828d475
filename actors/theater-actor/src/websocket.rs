//! Helpers for WebSocket messages that actors often need.

use crate::{MessageType, WebSocketMessage};

impl WebSocketMessage {
    /// A text message.
    pub fn text(text: impl Into<String>) -> Self {
        Self { ty: MessageType::Text, data: None, text: Some(text.into()) }
    }

    /// A binary message.
    pub fn binary(data: impl Into<Vec<u8>>) -> Self {
        Self { ty: MessageType::Binary, data: Some(data.into()), text: None }
    }

    /// As an answer: closes the connection, after the messages before it.
    pub fn close() -> Self {
        Self { ty: MessageType::Close, data: None, text: None }
    }
}
