//! Decodes deterministic CBOR item by item. Texts and byte strings are borrowed from the input.

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

pub struct Reader<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Decodes `bytes` with `read`, which must consume all of them.
    pub(crate) fn only<T>(bytes: &'a [u8], read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let mut reader = Self { rest: bytes, depth: 0 };
        let item = read(&mut reader)?;
        if reader.rest.is_empty() { Ok(item) } else { Err(CborError::NotDeterministic) }
    }

    /// The type of the next item, which is not consumed.
    pub(crate) fn next(&self) -> Result<Type> {
        if self.depth > DEPTH {
            return Err(CborError::TooDeep);
        }
        let first = *self.rest.first().ok_or(CborError::Malformed("it ends where an item should begin"))?;
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

    /// Reads the number in the head of the next item. The number must be in its shortest form.
    fn argument(&mut self) -> Result<u64> {
        let info = self.chunk::<1>()?[0] & 0x1f;
        let (argument, least) = match info {
            0..24 => (u64::from(info), 0),
            24 => (u64::from(u8::from_be_bytes(self.chunk()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.chunk()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.chunk()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.chunk()?), 1 << 32),
            28..31 => return Err(CborError::Malformed("a head that is reserved")),
            // An item of indefinite length.
            _ => return Err(CborError::NotDeterministic),
        };
        if argument >= least { Ok(argument) } else { Err(CborError::NotDeterministic) }
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (chunk, rest) = self.rest.split_first_chunk().ok_or(CborError::Malformed("it ends within an item"))?;
        self.rest = rest;
        Ok(*chunk)
    }

    fn take(&mut self, bytes: u64) -> Result<&'a [u8]> {
        let taken = usize::try_from(bytes).ok().and_then(|bytes| self.rest.split_at_checked(bytes));
        let (taken, rest) = taken.ok_or(CborError::Malformed("it ends within an item"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Whether the next item is null; if so, it is consumed.
    pub(crate) fn null(&mut self) -> Result<bool> {
        let is_null = self.next()? == Type::Null;
        if is_null {
            self.rest = &self.rest[1..];
        }
        Ok(is_null)
    }

    pub(crate) fn bool(&mut self) -> Result<bool> {
        self.expect(Type::Bool, "a boolean")?;
        Ok(self.chunk()? == [TRUE])
    }

    pub(crate) fn uint(&mut self) -> Result<u64> {
        self.expect(Type::Uint, "a number")?;
        self.argument()
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        self.expect(Type::Text, "text")?;
        let length = self.argument()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| CborError::Malformed("text that is not UTF-8"))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        self.expect(Type::Bytes, "bytes")?;
        let length = self.argument()?;
        self.take(length)
    }

    /// Reads the head of an array and then its items with `read`. The length is only a claim: no memory is reserved for
    /// it.
    pub(crate) fn array<T>(&mut self, read: impl FnOnce(&mut Self, u64) -> Result<T>) -> Result<T> {
        self.expect(Type::Array, "an array")?;
        let length = self.argument()?;
        self.depth += 1;
        let items = read(self, length)?;
        self.depth -= 1;
        Ok(items)
    }

    /// Reads a map; `read` must read all its entries.
    pub(crate) fn map<T>(&mut self, read: impl FnOnce(&mut Entries<'_, 'a>) -> Result<T>) -> Result<T> {
        self.expect(Type::Map, "a map")?;
        let left = self.argument()?;
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
        let all = self.rest;
        self.skip()?;
        Ok(&all[..all.len() - self.rest.len()])
    }

    fn skip(&mut self) -> Result<()> {
        match self.next()? {
            Type::Null | Type::Bool => self.chunk::<1>().map(drop),
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
    from: &'r mut Reader<'a>,
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
    pub(crate) fn value<T>(&mut self, read: impl FnOnce(&mut Reader<'a>) -> Result<T>) -> Result<T> {
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
        self.from.expect(Type::Text, "a text key")?;
        let key = self.from.text()?;
        if last.is_some_and(|last| key_order(last) >= key_order(key)) {
            return Err(CborError::NotDeterministic);
        }
        self.key = Some(key);
        Ok(())
    }
}
