//! The JSON lines of a chain file. Texts without escapes are borrowed from the line.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

/// A text in a line, borrowed unless it has escapes. (serde would copy a bare `Cow` inside an `Option`.)
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderLine<'a> {
    #[serde(borrow)]
    pub(super) format: Text<'a>,
    pub(super) version: u32,
    #[serde(borrow)]
    pub(super) actor: Text<'a>,
    #[serde(borrow)]
    pub(super) component: Text<'a>,
    pub(super) attachments: u64,
    pub(super) events: u64,
    #[serde(borrow)]
    pub(super) head: Text<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ComponentLine<'a> {
    #[serde(borrow)]
    pub(super) component: Text<'a>,
    #[serde(borrow)]
    pub(super) data: Text<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlobLine<'a> {
    #[serde(borrow)]
    pub(super) blob: Text<'a>,
    #[serde(borrow)]
    pub(super) data: Text<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventLine<'a> {
    pub(super) sequence: u64,
    #[serde(borrow)]
    pub(super) hash: Text<'a>,
    #[serde(borrow)]
    pub(super) parent_hash: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) event_type: Text<'a>,
    #[serde(borrow)]
    pub(super) data: Text<'a>,
    pub(super) timestamp: u64,
}

/// The line of an event of version 3.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SaltedLine<'a> {
    pub(super) sequence: u64,
    #[serde(borrow)]
    pub(super) hash: Text<'a>,
    #[serde(borrow)]
    pub(super) parent_hash: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) event_type: Text<'a>,
    #[serde(borrow)]
    pub(super) salt: Text<'a>,
    #[serde(borrow)]
    pub(super) data: Text<'a>,
    pub(super) timestamp: u64,
}

/// The line of an event of version 1 whose data was dropped. From version 2 on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DroppedLine<'a> {
    pub(super) sequence: u64,
    #[serde(borrow)]
    pub(super) hash: Text<'a>,
    #[serde(borrow)]
    pub(super) parent_hash: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) event_type: Text<'a>,
    pub(super) data_length: u64,
    #[serde(borrow)]
    pub(super) data_sha1: Text<'a>,
    pub(super) timestamp: u64,
}

/// The line of an event of version 3 whose data was dropped.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SaltedDroppedLine<'a> {
    pub(super) sequence: u64,
    #[serde(borrow)]
    pub(super) hash: Text<'a>,
    #[serde(borrow)]
    pub(super) parent_hash: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) event_type: Text<'a>,
    pub(super) data_length: u64,
    #[serde(borrow)]
    pub(super) data_sha256: Text<'a>,
    pub(super) timestamp: u64,
}

/// The line of an attached state that a replay can begin with. From version 2 on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateLine<'a> {
    pub(super) state: u64,
    #[serde(borrow)]
    pub(super) data: Option<Text<'a>>,
}

/// The line of a row that the actor's table has after an event from which a replay can begin. In version 3.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowLine<'a> {
    pub(super) row: u64,
    #[serde(borrow)]
    pub(super) key: Text<'a>,
    #[serde(borrow)]
    pub(super) hash: Text<'a>,
    #[serde(borrow)]
    pub(super) data: Text<'a>,
}

/// Parses a line. The line must be spelled exactly as this program would write it.
pub(super) fn parse_line<'a, T: Serialize + Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    let line: T = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut rest = Expected(text.as_bytes());
    let same = serde_json::to_writer(&mut rest, &line).is_ok() && rest.0.is_empty();
    if same { Ok(line) } else { Err("not in canonical form".into()) }
}

/// A sink that compares instead of writing: it holds the text still expected and refuses anything else.
struct Expected<'a>(&'a [u8]);

impl Write for Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn decode(data: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(data).map_err(|error| format!("\"data\" is not base64: {error}"))
}
