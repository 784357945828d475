//! The HTTP interface of the chat: pages, assets, and an API.

use serde_json::{Value, json};

use crate::ntwk::theater::filesystem::{path_exists, read_file};
use crate::ntwk::theater::http_types::{HttpRequest, HttpResponse};
use crate::ntwk::theater::runtime::get_chain;
use crate::ntwk::theater::supervisor::{get_child_events, get_child_state, list_children};
use crate::parse;
use crate::room::Room;

pub fn route(room: &Room, request: &HttpRequest) -> Result<HttpResponse, String> {
    let (path, query) = request.uri.split_once('?').unwrap_or((&request.uri, ""));
    match (request.method.as_str(), path) {
        ("GET" | "HEAD", "/" | "/index.html") => Ok(file("index.html")),
        ("GET" | "HEAD", asset) if asset.starts_with("/assets/") => Ok(file(&asset["/assets/".len()..])),
        ("GET", "/api/messages") => {
            let since = query.strip_prefix("since=").and_then(|since| since.parse().ok()).unwrap_or(0);
            Ok(json_response(200, &room.heard_since(since, "messages")?))
        }
        ("POST", "/api/messages") => {
            let said: Value = match parse(request.body.as_deref().unwrap_or_default()) {
                Ok(said) => said,
                Err(why) => return Ok(json_response(400, &json!({ "error": why }))),
            };
            let posted = room.post(said["name"].as_str().unwrap_or("nobody"), said["text"].as_str().unwrap_or(""))?;
            Ok(json_response(201, &posted))
        }
        ("GET", "/api/status") => Ok(json_response(200, &status(room)?)),
        _ => Ok(json_response(404, &json!({ "error": "not found" }))),
    }
}

fn status(room: &Room) -> Result<Value, String> {
    let stored: Value = parse(&get_child_state(&room.store_id)?)?;
    let events = get_child_events(&room.store_id)?;
    let linked = events.windows(2).all(|pair| pair[1].parent_hash.as_ref() == Some(&pair[0].hash));
    let chain = get_chain().events;
    let own_linked = chain.windows(2).all(|pair| pair[1].event.parent == Some(pair[0].hash));
    Ok(json!({
        "children": list_children(),
        "stored": stored["messages"].as_array().map(Vec::len),
        "store_chain_linked": linked && events[0].event_type == "started",
        "own_chain_linked": own_linked && chain[0].event.event_type == "started",
    }))
}

fn file(name: &str) -> HttpResponse {
    match path_exists(name) {
        Ok(true) => {}
        Ok(false) => return json_response(404, &json!({ "error": "no such asset" })),
        Err(why) => return json_response(403, &json!({ "error": why })),
    }
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "application/javascript",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    };
    match read_file(name) {
        Ok(content) => response(200, kind, content),
        Err(why) => json_response(500, &json!({ "error": why })),
    }
}

fn json_response(status: u16, body: &Value) -> HttpResponse {
    response(status, "application/json", body.to_string().into_bytes())
}

fn response(status: u16, kind: &str, body: Vec<u8>) -> HttpResponse {
    HttpResponse { status, headers: vec![("Content-Type".to_string(), kind.to_string())], body: Some(body) }
}
