//! Encodes deterministic CBOR item by item, with `minicbor`.

use minicbor::Encoder;

use super::{Cbor, CborReader};

/// Writes items. The caller must write map keys in order; tests check this.
pub struct CborWriter(Encoder<Vec<u8>>);

impl Default for CborWriter {
    fn default() -> Self {
        Self(Encoder::new(Vec::with_capacity(128)))
    }
}

const INFALLIBLE: &str = "writing to memory cannot fail";

impl CborWriter {
    /// A writer with room for this many bytes.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self(Encoder::new(Vec::with_capacity(bytes)))
    }

    /// Begins a map with `entries` entries; each entry is a [`CborWriter::key`] followed by an item.
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

    /// Appends an item that is already encoded.
    pub(crate) fn encoded(&mut self, item: &[u8]) -> &mut Self {
        self.0.writer_mut().extend_from_slice(item);
        self
    }

    pub(crate) fn item(&mut self, item: &impl Cbor) -> &mut Self {
        item.write(self);
        self
    }

    /// An entry of a map that is left out if there is no item.
    pub(crate) fn item_if_there(&mut self, key: &str, item: Option<&impl Cbor>) -> &mut Self {
        match item {
            Some(item) => self.key(key).item(item),
            None => self,
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let bytes = self.0.into_writer();
        if cfg!(test) {
            assert!(
                CborReader::only(&bytes, |from| from.item().map(drop)).is_ok(),
                "not deterministic CBOR: {}",
                hex::encode(&bytes)
            );
        }
        bytes
    }
}
