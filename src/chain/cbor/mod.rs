//! Deterministic CBOR (RFC 8949 §4.2.1), limited to the types that events use.
//!
//! These types are null, booleans, unsigned integers, text, bytes, arrays, and maps with text keys in the bytewise
//! order of their encodings (for keys under 24 bytes: shorter first, then alphabetical). Nothing else is written or
//! read. So a value has one encoding, and the [`CborReader`] accepts only that one.
//!
//! `minicbor` encodes and decodes; this room adds what makes an encoding the only one.

mod read;
mod types;
mod value;
mod write;

pub(crate) use read::{CborReader, Type};
pub(crate) use types::{list, record};
pub(crate) use value::{Value, bytes_to_json};
pub(crate) use write::CborWriter;

/// The deepest nesting that is accepted; events nest five deep.
const DEPTH: usize = 32;

/// Why bytes are not deterministic CBOR of the expected type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    #[error("not CBOR: {0}")]
    Malformed(&'static str),
    #[error("{0}, which does not occur in event data")]
    UnexpectedType(&'static str),
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
    #[error("it says what only an event of version 3 can say, and has no salt")]
    TooNew,
}

/// A type that events can carry; each value has exactly one encoding.
pub trait Cbor: Sized {
    fn write(&self, to: &mut CborWriter);
    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError>;

    fn to_cbor(&self) -> Vec<u8> {
        let mut to = CborWriter::default();
        self.write(&mut to);
        to.finish()
    }

    /// Decodes exactly one item; no bytes may follow it.
    fn from_cbor(bytes: &[u8]) -> Result<Self, CborError> {
        CborReader::only(bytes, Self::read)
    }
}

/// A key by which keys sort in the bytewise order of their encodings: an encoding begins with the length, so shorter
/// first.
fn key_order(key: &str) -> (usize, &str) {
    (key.len(), key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let item: (Option<Vec<u8>>, Result<String, String>) = (Some(vec![0, 255]), Err("no".into()));
        assert_eq!(Cbor::from_cbor(&item.to_cbor()), Ok(item));
    }

    #[test]
    fn only_the_deterministic_encoding_is_read() {
        let keys_out_of_order = [0xa2, 0x61, b'b', 0x01, 0x61, b'a', 0x01];
        let key_twice = [0xa2, 0x61, b'a', 0x01, 0x61, b'a', 0x01];
        let two_items = [0x01, 0x01];
        for bytes in [
            &[0x18, 0x17][..],
            &[0x19, 0x00, 0xff],
            &[0x1a, 0x00, 0x00, 0xff, 0xff],
            &[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            &[0x78, 0x01, b'a'],
            &[0x9f, 0x01, 0xff],
            &[0x5f, 0x41, 0x01, 0xff],
            &keys_out_of_order,
            &key_twice,
            &two_items,
        ] {
            assert_eq!(Value::parse(bytes), Err(CborError::NotDeterministic), "{bytes:02x?}");
        }
        for number in [0, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            assert_eq!(u64::from_cbor(&number.to_cbor()), Ok(number));
        }
    }

    #[test]
    fn hostile_bytes_are_an_error_and_cost_nothing() {
        let array_of_2_to_the_60 = [0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0];
        let bytes_of_2_to_the_60 = [0x5b, 0x10, 0, 0, 0, 0, 0, 0, 0];
        for bytes in [&array_of_2_to_the_60[..], &bytes_of_2_to_the_60, &[], &[0x19, 0x01], &[0x61, 0xff], &[0x1c]] {
            assert!(matches!(Value::parse(bytes), Err(CborError::Malformed(_))), "{bytes:02x?}");
        }
        assert_eq!(Value::parse(&[0x81; 100_000]), Err(CborError::TooDeep));
        for bytes in [&[0xf9, 0x7e, 0x00][..], &[0x20], &[0xc0, 0x01], &[0xf7], &[0xff], &[0xf8, 0x20]] {
            assert!(matches!(Value::parse(bytes), Err(CborError::UnexpectedType(_))), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_record_with_a_key_too_few_or_too_many_says_which() {
        let link = |keys: &[&'static str]| {
            let mut to = CborWriter::default();
            to.map(keys.len());
            keys.iter().for_each(|key| _ = to.key(key).null());
            <Pair as Cbor>::from_cbor(&to.finish()).expect_err("not a pair").to_string()
        };
        assert_eq!(link(&["one"]), "the key \"three\" is missing");
        assert_eq!(link(&["three"]), "the key \"one\" is missing");
        assert_eq!(link(&["one", "zzzzz"]), "the key \"three\" is missing");
        assert_eq!(link(&["one", "two", "three"]), "the key \"two\" does not belong here");
        assert_eq!(link(&["one", "three", "zzzzz"]), "the key \"zzzzz\" does not belong here");
    }

    #[derive(Debug)]
    struct Pair {
        one: Option<u64>,
        three: Option<u64>,
    }
    record!(Pair { "one": one, "three": three });

    #[test]
    fn guest_bytes_are_shown_as_what_they_hold() {
        assert_eq!(bytes_to_json(br#"{"count":1}"#), serde_json::json!({ "count": 1 }));
        assert_eq!(bytes_to_json(b"plain"), serde_json::json!("plain"));
        assert_eq!(bytes_to_json(&[0xff]), serde_json::json!({ "base64": "/w==" }));
    }

    /// Random bytes that are often valid CBOR.
    fn nearly_cbor() -> impl Strategy<Value = Vec<u8>> {
        let head =
            prop_oneof![0x00..=0x1b_u8, 0x40..=0x45_u8, 0x60..=0x63_u8, 0x80..=0x83_u8, 0xa0..=0xa2_u8, 0xf4..=0xf7_u8];
        prop::collection::vec(prop_oneof![8 => head, 1 => any::<u8>(), 1 => b'a'..=b'c'], 0..12)
    }

    proptest! {
        #[test]
        fn what_is_read_at_all_has_this_one_encoding(bytes in nearly_cbor()) {
            if let Ok(value) = Value::parse(&bytes) {
                prop_assert_eq!(value.to_bytes(), bytes.clone());
            }
            let whole = CborReader::only(&bytes, |from| from.item().map(<[u8]>::to_vec));
            prop_assert_eq!(whole.clone().ok(), Value::parse(&bytes).ok().map(|_| bytes.clone()));
            prop_assert_eq!(whole.err(), Value::parse(&bytes).err());
        }
    }
}
