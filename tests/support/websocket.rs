//! A WebSocket client for tests, written without Theater's code.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::{SocketAddr, TcpStream};

use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket};

use crate::support::PATIENCE;

/// A connection that has completed the handshake.
pub struct Client(pub WebSocket<TcpStream>);

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let config = WebSocketConfig::default();
        let (socket, _) =
            tungstenite::client::client_with_config(format!("ws://{address}/"), stream, Some(config)).expect("a hand");
        Self(socket)
    }

    pub fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).expect("sent");
    }

    pub fn hear(&mut self) -> Message {
        self.0.read().expect("a message")
    }

    pub fn ask(&mut self, text: &str) -> String {
        self.say(text);
        self.hear().into_text().expect("text").as_str().to_owned()
    }

    /// Reads the next close frame; returns its code and its text.
    pub fn hear_the_end(&mut self) -> (u16, String) {
        loop {
            match self.0.read() {
                Ok(Message::Close(Some(frame))) => return (frame.code.into(), frame.reason.as_str().to_owned()),
                Ok(_) => {}
                Err(error) => panic!("it ended without a close frame: {error}"),
            }
        }
    }

    pub fn is_over(&mut self) -> bool {
        matches!(self.0.read(), Err(Error::ConnectionClosed | Error::AlreadyClosed))
    }
}
