//! A batch: what one commit holds. The unit in which the log grows, and in which a realm is replicated.
//!
//! `docs/journal.md` describes header and records byte by byte. Nobody is told of anything in a batch before the whole
//! batch is on disk; a batch that does not check was never told of, or was damaged: the mark tells which.

use std::collections::HashMap;

use sha1::{Digest, Sha1};

use super::bytes::{Bytes, Malformed};
use super::entry::{Entry, RawEntry, put_payload};

/// Bytes of a header.
pub(in crate::journal) const HEADER_BYTES: usize = 88;
const MAGIC: [u8; 4] = *b"TBat";

/// How far the log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::journal) struct Tip {
    /// The number of the last batch; 0 before the first.
    pub(in crate::journal) batch: u64,
    /// The position of the last event; 0 before the first.
    pub(in crate::journal) position: u64,
    /// The rolling digest over everything that the log has said.
    pub(in crate::journal) digest: [u8; 20],
    /// The standing sum: what an index of the log has to come to.
    pub(in crate::journal) sum: [u8; 16],
}

impl Tip {
    pub(in crate::journal) const EMPTY: Self = Self { batch: 0, position: 0, digest: [0; 20], sum: [0; 16] };
}

/// The head of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::journal) struct BatchHeader {
    /// Bytes of the records.
    pub(super) length: u32,
    /// The segment that the batch lies in, and what the journal is known by: stale bytes of another are told by these.
    pub(super) segment: u32,
    pub(super) journal: u64,
    /// Counts the owners of a realm; 0 in a journal that belongs to none.
    pub(super) epoch: u32,
    pub(super) number: u64,
    /// The position of the first event in it, or of the next one where it has none.
    pub(super) first: u64,
    pub(super) events: u32,
    pub(super) records: u32,
    pub(super) sum: [u8; 16],
    /// The rolling digest behind it.
    pub(super) digest: [u8; 20],
    /// CRC-32C of the header before it, then of the records.
    pub(super) crc: u32,
}

impl BatchHeader {
    /// The tip behind the batch. The header need not have been checked yet.
    pub(in crate::journal) fn tip(&self) -> Tip {
        let position = self.first.wrapping_add(self.events.into()).wrapping_sub(1);
        Tip { batch: self.number, position, digest: self.digest, sum: self.sum }
    }

    fn put(&self, to: &mut [u8]) {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&self.length.to_le_bytes());
        header.extend_from_slice(&self.segment.to_le_bytes());
        header.extend_from_slice(&self.journal.to_le_bytes());
        header.extend_from_slice(&self.epoch.to_le_bytes());
        header.extend_from_slice(&self.number.to_le_bytes());
        header.extend_from_slice(&self.first.to_le_bytes());
        header.extend_from_slice(&self.events.to_le_bytes());
        header.extend_from_slice(&self.records.to_le_bytes());
        header.extend_from_slice(&self.sum);
        header.extend_from_slice(&self.digest);
        header.extend_from_slice(&self.crc.to_le_bytes());
        to.copy_from_slice(&header);
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut read = Bytes { rest: bytes };
        if read.array()? != MAGIC {
            return Err(Malformed("no batch begins here"));
        }
        Ok(Self {
            length: read.u32()?,
            segment: read.u32()?,
            journal: read.u64()?,
            epoch: read.u32()?,
            number: read.u64()?,
            first: read.u64()?,
            events: read.u32()?,
            records: read.u32()?,
            sum: read.array()?,
            digest: read.array()?,
            crc: read.u32()?,
        })
    }
}

/// A batch that is being put together, in the room of the ones before.
pub(in crate::journal) struct BatchBuilder {
    /// The header's place, then the records.
    bytes: Vec<u8>,
    essence: Vec<u8>,
    digest: Sha1,
    before: Tip,
    events: u32,
    records: u32,
}

impl BatchBuilder {
    pub(super) fn begin(mut room: Vec<u8>, before: Tip) -> Self {
        room.clear();
        room.resize(HEADER_BYTES, 0);
        let mut digest = Sha1::new();
        digest.update(before.digest);
        Self { bytes: room, essence: Vec::new(), digest, before, events: 0, records: 0 }
    }

    /// The position of the next event.
    pub(in crate::journal) fn next_position(&self) -> u64 {
        self.before.position + 1 + u64::from(self.events)
    }

    /// Where in the batch the entry begins.
    pub(super) fn push(&mut self, entry: &Entry<'_>, code: u64) -> usize {
        let at = self.bytes.len();
        entry.put_essence(&mut self.bytes, &mut self.essence, code);
        self.digest.update(&self.bytes[at..]);
        put_payload(&entry.payload(), &mut self.bytes);
        self.records += 1;
        self.events += u32::from(matches!(entry, Entry::Event(_)));
        at
    }

    /// The batch, whole: what is written, and its header.
    pub(super) fn finish(mut self, segment: u32, journal: u64, epoch: u32, sum: [u8; 16]) -> (Vec<u8>, BatchHeader) {
        let mut header = BatchHeader {
            length: u32::try_from(self.bytes.len() - HEADER_BYTES).expect("a commit is far below 4 GiB"),
            segment,
            journal,
            epoch,
            number: self.before.batch + 1,
            first: self.before.position + 1,
            events: self.events,
            records: self.records,
            sum,
            digest: self.digest.finalize().into(),
            crc: 0,
        };
        header.seal(&mut self.bytes);
        (self.bytes, header)
    }
}

impl BatchHeader {
    /// Writes itself to the front of `batch`, with the checksum of header and records.
    pub(super) fn seal(&mut self, batch: &mut [u8]) {
        self.put(&mut batch[..HEADER_BYTES]);
        self.crc = checksum(batch);
        batch[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&self.crc.to_le_bytes());
    }
}

fn checksum(batch: &[u8]) -> u32 {
    let (header, records) = batch.split_at(HEADER_BYTES);
    crc32c::crc32c_append(crc32c::crc32c(&header[..HEADER_BYTES - 4]), records)
}

/// How far the log has come behind the batch that these bytes say they are.
pub(in crate::journal) fn tip_of(bytes: &[u8]) -> Option<Tip> {
    RawBatch::first(bytes).ok().map(|batch| batch.header.tip())
}

/// A batch as it lies in a file.
#[derive(Clone, Copy)]
pub(in crate::journal) struct RawBatch<'a> {
    pub(in crate::journal) header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> RawBatch<'a> {
    /// What has the form of a batch at the front of `bytes`. Whether it is one, [`Self::check`] says.
    pub(super) fn first(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let header = BatchHeader::read(bytes)?;
        let bytes = bytes.get(..HEADER_BYTES + header.length as usize).ok_or(Malformed("a batch ends too early"))?;
        Ok(Self { header, bytes })
    }

    /// How long the batch is whose header is at the front of `bytes`; none where no header is.
    pub(super) fn length_of_first(bytes: &[u8]) -> Option<usize> {
        let header = BatchHeader::read(bytes).ok()?;
        Some(HEADER_BYTES + header.length as usize)
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes it has.
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Its records, each with its place in the batch.
    pub(super) fn entries(&self) -> RawEntries<'a> {
        RawEntries { records: &self.bytes[HEADER_BYTES..], at: 0 }
    }

    /// Whether it is what was written, in that segment of that journal, and goes on from `before`.
    pub(super) fn check(&self, before: &Tip, segment: u32, journal: u64) -> Result<(), Malformed> {
        let header = &self.header;
        if checksum(self.bytes) != header.crc {
            return Err(Malformed("the checksum of a batch does not fit"));
        }
        if (header.segment, header.journal) != (segment, journal) {
            return Err(Malformed("a batch is of another segment or journal"));
        }
        if (header.number, header.first) != (before.batch.wrapping_add(1), before.position.wrapping_add(1)) {
            return Err(Malformed("a batch does not follow the one before it"));
        }
        let mut digest = Sha1::new();
        digest.update(before.digest);
        let (mut events, mut records) = (0, 0);
        for entry in self.entries() {
            let (_, entry) = entry?;
            digest.update(entry.covered);
            records += 1;
            events += u32::from(entry.is_event());
        }
        let found: [u8; 20] = digest.finalize().into();
        if (found, events, records) != (self.header.digest, self.header.events, self.header.records) {
            return Err(Malformed("the records of a batch are not those that its digest vouches for"));
        }
        Ok(())
    }
}

pub(super) struct RawEntries<'a> {
    records: &'a [u8],
    at: usize,
}

impl<'a> Iterator for RawEntries<'a> {
    type Item = Result<(usize, RawEntry<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.records.get(self.at..).filter(|rest| !rest.is_empty())?;
        let entry = RawEntry::first(rest);
        let at = HEADER_BYTES + self.at;
        self.at = entry.as_ref().map_or(self.records.len(), |entry| self.at + entry.length);
        Some(entry.map(|entry| (at, entry)))
    }
}

/// The names of types in one segment: a type is named once, and then stands by a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::journal) struct TypeNames {
    texts: Vec<String>,
    codes: HashMap<String, u64>,
}

impl TypeNames {
    pub(super) fn code(&self, text: &str) -> Option<u64> {
        self.codes.get(text).copied()
    }

    /// Adds a name as a record has it: each text gets the next code.
    pub(super) fn learn(&mut self, (code, text): (u64, &str)) -> Result<(), Malformed> {
        if code == self.add(text) { Ok(()) } else { Err(Malformed("the names of types are not in order")) }
    }

    /// Gives a text the next code.
    pub(super) fn add(&mut self, text: &str) -> u64 {
        let code = self.texts.len() as u64;
        self.texts.push(text.to_owned());
        self.codes.insert(text.to_owned(), code);
        code
    }

    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }
}
