//! Decodes deterministic CBOR item by item, with `minicbor`. Texts and byte strings are borrowed from the input.

use minicbor::{Decoder, decode};

use super::{Cbor, CborError, DEPTH, key_order};

type Result<T> = std::result::Result<T, CborError>;

/// The type of a CBOR item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Null,
    Bool,
    Uint,
    Text,
    Bytes,
    Array,
    Map,
}

impl Type {
    pub(crate) fn mismatch(self, expected: &'static str) -> CborError {
        let name = match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Uint => "a number",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Array => "an array",
            Self::Map => "a map",
        };
        CborError::Mismatch(name, expected)
    }
}

const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;

const ENDS_WITHIN: CborError = CborError::Malformed("it ends within an item");

pub struct CborReader<'a> {
    decoder: Decoder<'a>,
    depth: usize,
}

impl<'a> CborReader<'a> {
    /// Decodes `bytes` with `read`, which must consume all of them.
    pub(crate) fn only<T>(bytes: &'a [u8], read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let mut reader = Self { decoder: Decoder::new(bytes), depth: 0 };
        let item = read(&mut reader)?;
        if reader.rest().is_empty() { Ok(item) } else { Err(CborError::NotDeterministic) }
    }

    /// The bytes that are not read yet.
    fn rest(&self) -> &'a [u8] {
        &self.decoder.input()[self.decoder.position()..]
    }

    /// The type of the next item, which is not consumed.
    pub(crate) fn next(&self) -> Result<Type> {
        if self.depth > DEPTH {
            return Err(CborError::TooDeep);
        }
        let first = *self.rest().first().ok_or(CborError::Malformed("it ends where an item should begin"))?;
        match first >> 5 {
            0 => Ok(Type::Uint),
            1 => Err(CborError::UnexpectedType("a negative number")),
            2 => Ok(Type::Bytes),
            3 => Ok(Type::Text),
            4 => Ok(Type::Array),
            5 => Ok(Type::Map),
            6 => Err(CborError::UnexpectedType("a tag")),
            _ => match first {
                FALSE | TRUE => Ok(Type::Bool),
                NULL => Ok(Type::Null),
                0xf9..=0xfb => Err(CborError::UnexpectedType("a floating-point number")),
                _ => Err(CborError::UnexpectedType("a simple value")),
            },
        }
    }

    fn expect(&self, wanted: Type, called: &'static str) -> Result<()> {
        match self.next()? {
            found if found == wanted => Ok(()),
            other => Err(other.mismatch(called)),
        }
    }

    /// Checks that the next item has the shortest head, and so the only one that is accepted. The head holds the number,
    /// or the length of what follows; `minicbor` accepts longer heads of the same number.
    fn expect_shortest_head(&self) -> Result<()> {
        let (first, rest) = self.rest().split_first().ok_or(ENDS_WITHIN)?;
        let is_shortest = match first & 0x1f {
            0..24 => true,
            24 => *rest.first().ok_or(ENDS_WITHIN)? >= 24,
            // A head of this length is the shortest one only if the first half of its number is not 0.
            25 => *rest.first_chunk::<2>().ok_or(ENDS_WITHIN)? > [0, u8::MAX],
            26 => *rest.first_chunk::<4>().ok_or(ENDS_WITHIN)? > [0, 0, u8::MAX, u8::MAX],
            27 => *rest.first_chunk::<8>().ok_or(ENDS_WITHIN)? > [0, 0, 0, 0, u8::MAX, u8::MAX, u8::MAX, u8::MAX],
            28..31 => return Err(CborError::Malformed("a head that is reserved")),
            // An item of indefinite length.
            _ => false,
        };
        if is_shortest { Ok(()) } else { Err(CborError::NotDeterministic) }
    }

    /// Decodes the next item, which is of the type `wanted`.
    fn decode<T>(
        &mut self,
        (wanted, called): (Type, &'static str),
        decode: impl FnOnce(&mut Decoder<'a>) -> std::result::Result<T, decode::Error>,
    ) -> Result<T> {
        self.expect(wanted, called)?;
        self.expect_shortest_head()?;
        // The type and the head are right, so the item is cut off, or it is text that is not UTF-8.
        decode(&mut self.decoder).map_err(|error| match error.is_end_of_input() {
            true => ENDS_WITHIN,
            false => CborError::Malformed("text that is not UTF-8"),
        })
    }

    /// Decodes the head of an array or a map: how many items or entries follow.
    fn decode_length(
        &mut self,
        expected: (Type, &'static str),
        decode: impl FnOnce(&mut Decoder<'a>) -> std::result::Result<Option<u64>, decode::Error>,
    ) -> Result<u64> {
        // The head is the shortest one, so the length is definite.
        self.decode(expected, decode)?.ok_or(CborError::NotDeterministic)
    }

    /// Whether the next item is null; if so, it is consumed.
    pub(crate) fn null(&mut self) -> Result<bool> {
        let is_null = self.next()? == Type::Null;
        if is_null {
            self.decode((Type::Null, "null"), Decoder::null)?;
        }
        Ok(is_null)
    }

    pub(crate) fn bool(&mut self) -> Result<bool> {
        self.decode((Type::Bool, "a boolean"), Decoder::bool)
    }

    pub(crate) fn uint(&mut self) -> Result<u64> {
        self.decode((Type::Uint, "a number"), Decoder::u64)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        self.decode((Type::Text, "text"), Decoder::str)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        self.decode((Type::Bytes, "bytes"), Decoder::bytes)
    }

    /// Reads an array; `read` gets the number of its items, and reads all of them. That number is only claimed by the
    /// input, so no memory is reserved for it.
    pub(crate) fn array<T>(&mut self, read: impl FnOnce(&mut Self, u64) -> Result<T>) -> Result<T> {
        let length = self.decode_length((Type::Array, "an array"), Decoder::array)?;
        self.depth += 1;
        let items = read(self, length)?;
        self.depth -= 1;
        Ok(items)
    }

    /// Reads a map; `read` must read all its entries.
    pub(crate) fn map<T>(&mut self, read: impl FnOnce(&mut Entries<'_, 'a>) -> Result<T>) -> Result<T> {
        let left = self.decode_length((Type::Map, "a map"), Decoder::map)?;
        self.depth += 1;
        let mut entries = Entries { from: self, left, key: None };
        entries.advance()?;
        let map = read(&mut entries)?;
        if let Some(key) = entries.key {
            return Err(CborError::UnknownKey(key.to_owned()));
        }
        self.depth -= 1;
        Ok(map)
    }

    /// Reads the next item of any type, and returns its encoding.
    pub(crate) fn item(&mut self) -> Result<&'a [u8]> {
        let all = self.rest();
        self.skip()?;
        Ok(&all[..all.len() - self.rest().len()])
    }

    fn skip(&mut self) -> Result<()> {
        match self.next()? {
            Type::Null => self.null().map(drop),
            Type::Bool => self.bool().map(drop),
            Type::Uint => self.uint().map(drop),
            Type::Text => self.text().map(drop),
            Type::Bytes => self.bytes().map(drop),
            Type::Array => self.array(|from, length| (0..length).try_for_each(|_| from.skip())),
            Type::Map => self.map(|entries| {
                while entries.key.is_some() {
                    entries.value(Self::skip)?;
                }
                Ok(())
            }),
        }
    }
}

/// The entries of a map, read in order.
pub(crate) struct Entries<'r, 'a> {
    from: &'r mut CborReader<'a>,
    left: u64,
    /// The key of the next entry, already decoded.
    key: Option<&'a str>,
}

impl<'a> Entries<'_, 'a> {
    /// The key of the next entry; `None` after the last.
    pub(crate) fn key(&self) -> Option<&'a str> {
        self.key
    }

    /// Decodes the value of the next entry.
    pub(crate) fn value<T>(&mut self, read: impl FnOnce(&mut CborReader<'a>) -> Result<T>) -> Result<T> {
        let value = read(self.from)?;
        self.advance()?;
        Ok(value)
    }

    /// Decodes the value of `key`, which must be the next entry.
    pub(crate) fn read<T: Cbor>(&mut self, key: &'static str) -> Result<T> {
        match self.key {
            Some(found) if found == key => self.value(T::read),
            Some(other) if key_order(other) < key_order(key) => Err(CborError::UnknownKey(other.to_owned())),
            Some(_) | None => Err(CborError::MissingKey(key)),
        }
    }

    /// Decodes the value of `key` if that is the next entry.
    pub(crate) fn read_if_there<T: Cbor>(&mut self, key: &'static str) -> Result<Option<T>> {
        if self.key == Some(key) { self.value(T::read).map(Some) } else { Ok(None) }
    }

    fn advance(&mut self) -> Result<()> {
        let last = self.key.take();
        let Some(left) = self.left.checked_sub(1) else { return Ok(()) };
        self.left = left;
        let key = self.from.decode((Type::Text, "a text key"), Decoder::str)?;
        if last.is_some_and(|last| key_order(last) >= key_order(key)) {
            return Err(CborError::NotDeterministic);
        }
        self.key = Some(key);
        Ok(())
    }
}
