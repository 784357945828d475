//! The state of the room, and its requests to the store (messages) and to the oracle (answers).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ntwk::theater::http_client::send_http;
use crate::ntwk::theater::http_types::HttpRequest;
use crate::ntwk::theater::message_server_host::request;
use crate::parse;

#[derive(Serialize, Deserialize)]
pub struct Room {
    /// The manifest of the store.
    pub store: String,
    /// The address of the oracle.
    pub oracle: String,
    #[serde(default)]
    pub store_id: String,
    #[serde(default)]
    pub connected: i64,
    #[serde(default)]
    pub requests: u64,
}

impl Room {
    pub fn load(data: Option<Vec<u8>>) -> Result<Self, String> {
        parse(&data.ok_or("no state")?)
    }

    pub fn save(&self) -> Result<Option<Vec<u8>>, String> {
        serde_json::to_vec(self).map(Some).map_err(|error| error.to_string())
    }

    fn ask_store(&self, action: &Value) -> Result<Value, String> {
        parse(&request(&self.store_id, action.to_string().as_bytes())?)
    }

    pub fn post(&self, name: &str, text: &str) -> Result<Value, String> {
        self.ask_store(&json!({ "action": "post", "name": name, "text": text }))
    }

    pub fn heard_since(&self, seq: u64, ty: &str) -> Result<Value, String> {
        let mut answer = self.ask_store(&json!({ "action": "since", "seq": seq }))?;
        answer["type"] = json!(ty);
        Ok(answer)
    }

    pub fn ask_oracle(&self, question: &str) -> Result<String, String> {
        let asked = HttpRequest {
            method: "POST".to_string(),
            uri: self.oracle.clone(),
            headers: vec![
                ("Content-Type".to_string(), "application/json".to_string()),
                ("X-Api-Key".to_string(), "a key".to_string()),
                ("Accept".to_string(), "application/json".to_string()),
            ],
            body: Some(json!({ "question": question }).to_string().into_bytes()),
        };
        let response = send_http(&asked)?;
        let body: Value = parse(&response.body.unwrap_or_default())?;
        match body["answer"].as_str() {
            Some(answer) if response.status == 200 => Ok(answer.to_string()),
            _ => Err(format!("status {}", response.status)),
        }
    }
}
