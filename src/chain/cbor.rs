//! Deterministic CBOR (RFC 8949 §4.2.1), in the small part that events use.
//!
//! Null, booleans, unsigned integers, text, bytes, arrays, and maps with text keys in the bytewise order of their
//! encodings (for keys under 24 bytes: shorter first, then alphabetical). Nothing else is written, and nothing else
//! is read: one value has one encoding, and [`Value::parse`] accepts only that.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use minicbor::data::Type;
use minicbor::encode::{self, Write};
use minicbor::{Decoder, Encoder};
use serde_json::Value as Json;

/// Deeper nesting is refused; events nest five deep.
const DEPTH: usize = 32;

/// A decoded item; its texts and bytes are those of the encoding.
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

/// The bytes are not what this file writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CborError {
    #[error("not CBOR: {0}")]
    Malformed(String),
    #[error("CBOR type {0} does not occur in event data")]
    UnexpectedType(String),
    #[error("nested deeper than {DEPTH}")]
    TooDeep,
    #[error("not the deterministic encoding")]
    NotDeterministic,
    #[error("{0} where {1} was expected")]
    Mismatch(&'static str, &'static str),
    #[error("the key \"{0}\" is missing")]
    MissingKey(&'static str),
    #[error("the key \"{0}\" does not belong here")]
    UnknownKey(String),
}

/// What events carry: anything with one encoding.
pub(crate) trait Cbor: Sized {
    fn write(&self, to: &mut Writer);
    fn read(value: Value<'_>) -> Result<Self, CborError>;

    fn to_cbor(&self) -> Vec<u8> {
        let mut to = Writer::default();
        self.write(&mut to);
        to.finish()
    }

    fn from_cbor(bytes: &[u8]) -> Result<Self, CborError> {
        Self::read(Value::parse(bytes)?)
    }
}

/// Writes one item after the other. Map keys are the caller's to order; tests check.
pub(crate) struct Writer(Encoder<Vec<u8>>);

impl Default for Writer {
    fn default() -> Self {
        Self(Encoder::new(Vec::with_capacity(128)))
    }
}

const INFALLIBLE: &str = "writing to memory cannot fail";

impl Writer {
    /// Begins a map of `entries` entries; each is a [`Writer::key`] and an item.
    pub(crate) fn map(&mut self, entries: usize) -> &mut Self {
        self.0.map(entries as u64).expect(INFALLIBLE);
        self
    }

    pub(crate) fn array(&mut self, items: usize) -> &mut Self {
        self.0.array(items as u64).expect(INFALLIBLE);
        self
    }

    pub(crate) fn key(&mut self, key: &str) -> &mut Self {
        self.text(key)
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.0.str(text).expect(INFALLIBLE);
        self
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.bytes(bytes).expect(INFALLIBLE);
        self
    }

    pub(crate) fn uint(&mut self, value: u64) -> &mut Self {
        self.0.u64(value).expect(INFALLIBLE);
        self
    }

    pub(crate) fn bool(&mut self, value: bool) -> &mut Self {
        self.0.bool(value).expect(INFALLIBLE);
        self
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.0.null().expect(INFALLIBLE);
        self
    }

    /// An item that was encoded before.
    pub(crate) fn encoded(&mut self, item: &[u8]) -> &mut Self {
        self.0.writer_mut().extend_from_slice(item);
        self
    }

    pub(crate) fn item(&mut self, item: &impl Cbor) -> &mut Self {
        item.write(self);
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let bytes = self.0.into_writer();
        if cfg!(test) {
            assert!(Value::parse(&bytes).is_ok(), "not deterministic CBOR: {}", hex::encode(&bytes));
        }
        bytes
    }
}

impl<'a> Value<'a> {
    /// Reads exactly one item and nothing behind it, in the deterministic encoding only.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, CborError> {
        let mut decoder = Decoder::new(bytes);
        let value = read_item(&mut decoder, 0)?;
        // Encoding again settles every question of shortest forms, key order and doubled keys at once.
        let mut again = Encoder::new(Expected(bytes));
        let same = write_item(&mut again, &value).is_ok() && again.into_writer().0.is_empty();
        if same { Ok(value) } else { Err(CborError::NotDeterministic) }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Uint(_) => "a number",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
        }
    }

    pub(crate) fn mismatch(&self, expected: &'static str) -> CborError {
        CborError::Mismatch(self.type_name(), expected)
    }

    /// The map's entries, to be taken out one by one.
    pub(crate) fn into_fields(self) -> Result<Fields<'a>, CborError> {
        match self {
            Self::Map(entries) => Ok(Fields(entries)),
            other => Err(other.mismatch("a map")),
        }
    }

    pub(crate) fn into_array(self) -> Result<Vec<Self>, CborError> {
        match self {
            Self::Array(items) => Ok(items),
            other => Err(other.mismatch("an array")),
        }
    }

    /// Encodes the value again.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::with_capacity(64));
        write_item(&mut encoder, self).expect(INFALLIBLE);
        encoder.into_writer()
    }

    /// For people: bytes that hold JSON as that JSON, other text as text, the rest as `{"base64": …}`.
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

/// Guest bytes for people: see [`Value::to_json`].
pub(crate) fn bytes_to_json(bytes: &[u8]) -> Json {
    if let Ok(json) = serde_json::from_slice(bytes) {
        return json;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => serde_json::json!({ "base64": BASE64.encode(bytes) }),
    }
}

/// The entries of a map, taken out by key.
pub(crate) struct Fields<'a>(Vec<(&'a str, Value<'a>)>);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, key: &'static str) -> Result<Value<'a>, CborError> {
        self.take_if_there(key).ok_or(CborError::MissingKey(key))
    }

    pub(crate) fn take_if_there(&mut self, key: &str) -> Option<Value<'a>> {
        let at = self.0.iter().position(|(name, _)| *name == key)?;
        Some(self.0.swap_remove(at).1)
    }

    pub(crate) fn read<T: Cbor>(&mut self, key: &'static str) -> Result<T, CborError> {
        T::read(self.take(key)?)
    }

    /// Nothing is left over.
    pub(crate) fn end(self) -> Result<(), CborError> {
        self.0.into_iter().next().map_or(Ok(()), |(key, _)| Err(CborError::UnknownKey(key.to_owned())))
    }
}

fn read_item<'a>(decoder: &mut Decoder<'a>, depth: usize) -> Result<Value<'a>, CborError> {
    if depth > DEPTH {
        return Err(CborError::TooDeep);
    }
    let malformed = |error: minicbor::decode::Error| CborError::Malformed(error.to_string());
    Ok(match decoder.datatype().map_err(malformed)? {
        Type::Null => {
            decoder.null().map_err(malformed)?;
            Value::Null
        }
        Type::Bool => Value::Bool(decoder.bool().map_err(malformed)?),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Value::Uint(decoder.u64().map_err(malformed)?),
        Type::String => Value::Text(decoder.str().map_err(malformed)?),
        Type::Bytes => Value::Bytes(decoder.bytes().map_err(malformed)?),
        Type::Array => {
            let length = decoder.array().map_err(malformed)?.ok_or(CborError::NotDeterministic)?;
            // The length is a claim: what it announces is read item by item, never reserved.
            let mut items = Vec::new();
            for _ in 0..length {
                items.push(read_item(decoder, depth + 1)?);
            }
            Value::Array(items)
        }
        Type::Map => {
            let length = decoder.map().map_err(malformed)?.ok_or(CborError::NotDeterministic)?;
            Value::Map(read_entries(decoder, length, depth)?)
        }
        other => return Err(CborError::UnexpectedType(other.to_string())),
    })
}

fn read_entries<'a>(
    decoder: &mut Decoder<'a>,
    length: u64,
    depth: usize,
) -> Result<Vec<(&'a str, Value<'a>)>, CborError> {
    let mut entries: Vec<(&'a str, Value<'a>)> = Vec::new();
    for _ in 0..length {
        let key = match read_item(decoder, depth + 1)? {
            Value::Text(key) => key,
            other => return Err(other.mismatch("a text key")),
        };
        if entries.last().is_some_and(|(last, _)| key_order(last) >= key_order(key)) {
            return Err(CborError::NotDeterministic);
        }
        entries.push((key, read_item(decoder, depth + 1)?));
    }
    Ok(entries)
}

/// The bytewise order of encodings: the head carries the length, so shorter keys come first.
fn key_order(key: &str) -> (usize, &str) {
    (key.len(), key)
}

fn write_item<W: Write>(to: &mut Encoder<W>, value: &Value<'_>) -> Result<(), encode::Error<W::Error>> {
    match value {
        Value::Null => to.null()?,
        Value::Bool(value) => to.bool(*value)?,
        Value::Uint(value) => to.u64(*value)?,
        Value::Text(text) => to.str(text)?,
        Value::Bytes(bytes) => to.bytes(bytes)?,
        Value::Array(items) => {
            to.array(items.len() as u64)?;
            return items.iter().try_for_each(|item| write_item(to, item));
        }
        Value::Map(entries) => {
            to.map(entries.len() as u64)?;
            return entries.iter().try_for_each(|(key, value)| {
                to.str(key)?;
                write_item(to, value)
            });
        }
    };
    Ok(())
}

/// What is still to be written; anything else is refused.
struct Expected<'a>(&'a [u8]);

/// Something else was written.
struct Differs;

impl Write for Expected<'_> {
    type Error = Differs;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Differs> {
        self.0 = self.0.strip_prefix(bytes).ok_or(Differs)?;
        Ok(())
    }
}

macro_rules! scalar {
    ($type:ty, $variant:ident, $expected:literal, |$value:ident, $to:ident| $write:expr) => {
        impl Cbor for $type {
            fn write(&self, $to: &mut Writer) {
                let $value = self;
                $write;
            }

            fn read(value: Value<'_>) -> Result<Self, CborError> {
                match value {
                    Value::$variant(value) => Ok(value.into()),
                    other => Err(other.mismatch($expected)),
                }
            }
        }
    };
}

scalar!(bool, Bool, "a boolean", |value, to| to.bool(*value));
scalar!(u64, Uint, "a number", |value, to| to.uint(*value));
scalar!(String, Text, "text", |value, to| to.text(value));
scalar!(Vec<u8>, Bytes, "bytes", |value, to| to.bytes(value));

macro_rules! small_uint {
    ($($type:ty),*) => {$(
        impl Cbor for $type {
            fn write(&self, to: &mut Writer) {
                to.uint(u64::from(*self));
            }

            fn read(value: Value<'_>) -> Result<Self, CborError> {
                let number = u64::read(value)?;
                <$type>::try_from(number).map_err(|_| CborError::Mismatch("a larger number", stringify!($type)))
            }
        }
    )*};
}

small_uint!(u16, u32);

impl Cbor for () {
    fn write(&self, to: &mut Writer) {
        to.null();
    }

    fn read(value: Value<'_>) -> Result<Self, CborError> {
        match value {
            Value::Null => Ok(()),
            other => Err(other.mismatch("null")),
        }
    }
}

impl<T: Cbor> Cbor for Option<T> {
    fn write(&self, to: &mut Writer) {
        match self {
            None => to.null(),
            Some(item) => to.item(item),
        };
    }

    fn read(value: Value<'_>) -> Result<Self, CborError> {
        match value {
            Value::Null => Ok(None),
            value => T::read(value).map(Some),
        }
    }
}

/// `{"ok": …}` or `{"err": "…"}`.
impl<T: Cbor> Cbor for Result<T, String> {
    fn write(&self, to: &mut Writer) {
        match self {
            Ok(item) => to.map(1).key("ok").item(item),
            Err(message) => to.map(1).key("err").text(message),
        };
    }

    fn read(value: Value<'_>) -> Result<Self, CborError> {
        let mut fields = value.into_fields()?;
        match fields.take_if_there("err") {
            Some(message) => Ok(Err(String::read(message)?)),
            None => Ok(Ok(fields.read("ok")?)),
        }
    }
}

/// A list. (`Vec<u8>` is a byte string, so there is no `Cbor` for `u8`.)
macro_rules! list {
    ($($type:ty),*) => {$(
        impl $crate::chain::cbor::Cbor for Vec<$type> {
            fn write(&self, to: &mut $crate::chain::cbor::Writer) {
                to.array(self.len());
                self.iter().for_each(|item| $crate::chain::cbor::Cbor::write(item, to));
            }

            fn read(value: $crate::chain::cbor::Value<'_>) -> Result<Self, $crate::chain::cbor::CborError> {
                value.into_array()?.into_iter().map($crate::chain::cbor::Cbor::read).collect()
            }
        }
    )*};
}
pub(crate) use list;

list!(String, (String, String));

macro_rules! tuple {
    ($count:literal: $($type:ident $at:tt),+) => {
        impl<$($type: Cbor),+> Cbor for ($($type,)+) {
            fn write(&self, to: &mut Writer) {
                to.array($count)$(.item(&self.$at))+;
            }

            fn read(value: Value<'_>) -> Result<Self, CborError> {
                let items = <[Value<'_>; $count]>::try_from(value.into_array()?);
                let mut items = items.map_err(|_| CborError::Mismatch("an array", concat!($count, " items")))?.into_iter();
                Ok(($($type::read(items.next().expect("the array has as many items as the tuple"))?,)+))
            }
        }
    };
}

tuple!(1: A 0);
tuple!(2: A 0, B 1);

/// A record: a map whose keys are named here in their canonical order.
macro_rules! record {
    ($type:ty { $($key:literal: $field:ident),+ $(,)? }) => {
        impl $crate::chain::cbor::Cbor for $type {
            fn write(&self, to: &mut $crate::chain::cbor::Writer) {
                to.map([$($key),+].len())$(.key($key).item(&self.$field))+;
            }

            fn read(value: $crate::chain::cbor::Value<'_>) -> Result<Self, $crate::chain::cbor::CborError> {
                let mut fields = value.into_fields()?;
                let record = Self { $($field: fields.read($key)?),+ };
                fields.end()?;
                Ok(record)
            }
        }
    };
}
pub(crate) use record;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let item: (Option<Vec<u8>>, Result<String, String>) = (Some(vec![0, 255]), Err("no".into()));
        assert_eq!(Cbor::from_cbor(&item.to_cbor()), Ok(item));
    }

    #[test]
    fn only_the_deterministic_encoding_is_read() {
        let long_form_of_one = [0x18, 0x01];
        let indefinite_array = [0x9f, 0x01, 0xff];
        let keys_out_of_order = [0xa2, 0x61, b'b', 0x01, 0x61, b'a', 0x01];
        let key_twice = [0xa2, 0x61, b'a', 0x01, 0x61, b'a', 0x01];
        let two_items = [0x01, 0x01];
        for bytes in [&long_form_of_one[..], &indefinite_array, &keys_out_of_order, &key_twice, &two_items] {
            assert!(Value::parse(bytes).is_err(), "{bytes:02x?}");
        }
    }

    #[test]
    fn hostile_bytes_are_an_error_and_cost_nothing() {
        let array_of_2_to_the_60 = [0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0];
        assert!(matches!(Value::parse(&array_of_2_to_the_60), Err(CborError::Malformed(_))));
        assert_eq!(Value::parse(&[0x81; 100_000]), Err(CborError::TooDeep));
        assert!(matches!(Value::parse(&[0xf9, 0x7e, 0x00]), Err(CborError::UnexpectedType(_))));
        assert!(matches!(Value::parse(&[]), Err(CborError::Malformed(_))));
    }

    #[test]
    fn guest_bytes_are_shown_as_what_they_hold() {
        assert_eq!(bytes_to_json(br#"{"count":1}"#), serde_json::json!({ "count": 1 }));
        assert_eq!(bytes_to_json(b"plain"), serde_json::json!("plain"));
        assert_eq!(bytes_to_json(&[0xff]), serde_json::json!({ "base64": "/w==" }));
    }
}
