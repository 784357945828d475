//! The lines of a chain file, as they are spelled.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderLine {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) actor: String,
    pub(super) component: String,
    pub(super) attachments: u64,
    pub(super) events: u64,
    pub(super) head: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ComponentLine {
    pub(super) component: String,
    pub(super) data: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlobLine {
    pub(super) blob: String,
    pub(super) data: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventLine {
    pub(super) sequence: u64,
    pub(super) hash: String,
    pub(super) parent_hash: Option<String>,
    pub(super) event_type: String,
    pub(super) data: String,
    pub(super) timestamp: u64,
}

/// An event whose data was dropped. Version 2 only.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DroppedLine {
    pub(super) sequence: u64,
    pub(super) hash: String,
    pub(super) parent_hash: Option<String>,
    pub(super) event_type: String,
    pub(super) data_length: u64,
    pub(super) data_sha1: String,
    pub(super) timestamp: u64,
}

/// A state that replay can begin with. Version 2 only.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateLine {
    pub(super) state: u64,
    pub(super) data: Option<String>,
}

/// Parses a line and insists that it is spelled exactly as it would be written.
pub(super) fn parse_line<T: Serialize + DeserializeOwned>(text: &str) -> Result<T, String> {
    let line: T = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let again = serde_json::to_string(&line).map_err(|error| error.to_string())?;
    if again == text { Ok(line) } else { Err("not in canonical form".into()) }
}

pub(super) fn decode(data: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(data).map_err(|error| format!("\"data\" is not base64: {error}"))
}
