//! A decoded CBOR item of any type, for code that does not know the type in advance.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value as Json;

use super::{CborError, Reader, Type, Writer};

/// A decoded item; its texts and bytes are borrowed from the encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Uint(u64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Array(Vec<Value<'a>>),
    Map(Vec<(&'a str, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// Decodes exactly one item in the deterministic encoding; no bytes may follow it.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, CborError> {
        Reader::only(bytes, Self::read)
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, CborError> {
        Ok(match from.next()? {
            Type::Null => {
                from.null()?;
                Self::Null
            }
            Type::Bool => Self::Bool(from.bool()?),
            Type::Uint => Self::Uint(from.uint()?),
            Type::Text => Self::Text(from.text()?),
            Type::Bytes => Self::Bytes(from.bytes()?),
            Type::Array => {
                from.array(|from, length| (0..length).map(|_| Self::read(from)).collect()).map(Self::Array)?
            }
            Type::Map => from.map(|entries| {
                let mut map = Vec::new();
                while let Some(key) = entries.key() {
                    map.push((key, entries.value(Self::read)?));
                }
                Ok(Self::Map(map))
            })?,
        })
    }

    /// Encodes the value.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::default();
        self.write(&mut to);
        to.finish()
    }

    fn write(&self, to: &mut Writer) {
        match self {
            Self::Null => _ = to.null(),
            Self::Bool(value) => _ = to.bool(*value),
            Self::Uint(value) => _ = to.uint(*value),
            Self::Text(text) => _ = to.text(text),
            Self::Bytes(bytes) => _ = to.bytes(bytes),
            Self::Array(items) => {
                to.array(items.len());
                items.iter().for_each(|item| item.write(to));
            }
            Self::Map(entries) => {
                to.map(entries.len());
                entries.iter().for_each(|(key, value)| value.write(to.key(key)));
            }
        }
    }

    /// JSON for people: bytes that hold JSON become that JSON, other text becomes text, other bytes become `{"base64":
    /// …}`.
    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => (*value).into(),
            Self::Uint(value) => (*value).into(),
            Self::Text(text) => (*text).into(),
            Self::Bytes(bytes) => bytes_to_json(bytes),
            Self::Array(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(entries) => entries.iter().map(|(key, value)| ((*key).to_owned(), value.to_json())).collect(),
        }
    }
}

/// A guest's bytes as JSON for people: see [`Value::to_json`].
pub(crate) fn bytes_to_json(bytes: &[u8]) -> Json {
    if let Ok(json) = serde_json::from_slice(bytes) {
        return json;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => serde_json::json!({ "base64": BASE64.encode(bytes) }),
    }
}
