//! The front of a chat application, written from the interfaces alone: pages and assets, a WebSocket room, a store that
//! it spawns, and an oracle that it asks over HTTP.
//!
//! A WebSocket answer goes only to the client that sent the message. So clients hear others by sending: each message
//! says up to which message its sender has heard, and the answer has all later messages.

mod room;
mod web;

use exports::ntwk::theater::actor::Guest as ActorGuest;
use exports::ntwk::theater::http_server::Guest as HttpGuest;
use exports::ntwk::theater::message_server_client::Guest as MessageServerClient;
use exports::ntwk::theater::websocket_server::{
    Guest as WebSocketGuest, MessageType, WebsocketMessage, WebsocketResponse,
};
use ntwk::theater::filesystem::list_files;
use ntwk::theater::http_types::{HttpRequest, HttpResponse};
use ntwk::theater::runtime::log;
use ntwk::theater::supervisor::spawn;
use ntwk::theater::types::State as Data;
use room::Room;
use serde_json::{Value, json};

wit_bindgen::generate!({ path: "wit", world: "chatroom" });

struct Component;

impl ActorGuest for Component {
    fn init(data: Data, params: (String,)) -> Result<(Data,), String> {
        log(&format!("chat {} initializing", params.0));
        let mut room: Room = parse(&data.ok_or("the manifest's init_state names the store and the oracle")?)?;
        log(&format!("serving {:?}", list_files(".")?));
        room.store_id = spawn(&room.store)?;
        room.post("room", "open")?;
        Ok((room.save()?,))
    }
}

impl HttpGuest for Component {
    fn handle_request(data: Data, params: (HttpRequest,)) -> Result<(Data, (HttpResponse,)), String> {
        let mut room = Room::load(data)?;
        room.requests += 1;
        let response = web::route(&room, &params.0)?;
        Ok((room.save()?, (response,)))
    }
}

impl WebSocketGuest for Component {
    fn handle_message(data: Data, params: (WebsocketMessage,)) -> Result<(Data, (WebsocketResponse,)), String> {
        let mut room = Room::load(data)?;
        let message = params.0;
        let messages = match message.ty {
            MessageType::Connect => {
                room.connected += 1;
                vec![text(&room.heard_since(0, "welcome")?)]
            }
            MessageType::Close => {
                room.connected -= 1;
                Vec::new()
            }
            MessageType::Text => vec![text(&said(&room, &message.text.unwrap_or_default())?)],
            MessageType::Binary | MessageType::Ping | MessageType::Pong | MessageType::Other(_) => Vec::new(),
        };
        Ok((room.save()?, (WebsocketResponse { messages },)))
    }
}

impl MessageServerClient for Component {
    fn handle_send(data: Data, params: (Vec<u8>,)) -> Result<(Data,), String> {
        log(&format!("heard {} bytes", params.0.len()));
        Ok((data,))
    }

    fn handle_request(data: Data, params: (Vec<u8>,)) -> Result<(Data, (Vec<u8>,)), String> {
        let room = Room::load(data)?;
        let asked: Value = parse(&params.0)?;
        if asked != "summary" {
            return Err(format!("asked for {asked}"));
        }
        let summary = json!({ "connected": room.connected, "requests": room.requests, "store": room.store_id });
        Ok((room.save()?, (summary.to_string().into_bytes(),)))
    }
}

/// A message of a client: `{"type": "say", "name", "text", "since"}`, or `{"type": "poll", "since"}`. A text that
/// begins with `/ask ` is sent to the oracle, whose answer becomes a message too.
fn said(room: &Room, text: &str) -> Result<Value, String> {
    let said: Value = match serde_json::from_str(text) {
        Ok(said) => said,
        Err(error) => return Ok(json!({ "type": "error", "why": error.to_string() })),
    };
    let since = said["since"].as_u64().unwrap_or(0);
    if said["type"] == "say" {
        let (name, text) = (said["name"].as_str().unwrap_or("nobody"), said["text"].as_str().unwrap_or_default());
        room.post(name, text)?;
        if let Some(question) = text.strip_prefix("/ask ") {
            room.post("oracle", &room.ask_oracle(question).unwrap_or_else(|why| format!("(no answer: {why})")))?;
        }
    }
    room.heard_since(since, "messages")
}

fn text(value: &Value) -> WebsocketMessage {
    WebsocketMessage { ty: MessageType::Text, data: None, text: Some(value.to_string()) }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

export!(Component);
