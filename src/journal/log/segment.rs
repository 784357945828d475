//! One file of the log: a header, batches, and, once it is sealed, a footer.
//!
//! ```text
//!   header (84) · batch · batch · … · directory · trailer (72)
//! ```

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::batch::{self, BatchHeader, RawBatch, Tip, TypeNames};
use super::bytes::{Bytes, Malformed};
use super::directory::SegmentDirectory;
use super::entry::{Entry, Payload, RawEntry, put_payload};
use crate::base::pool;
use crate::journal::named::open_file;

/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 84;
const TRAILER_BYTES: usize = 72;
const MAGIC: [u8; 7] = *b"THEALOG";
/// The format of new segments, as a digit. Format 5 has the same bytes, but no salts; format 6 has fewer kinds of promises and
/// of records.
pub(super) const FORMAT: u8 = b'7';
const OLDEST: u8 = b'5';
const END: [u8; 4] = *b"TEnd";
/// What one read takes: most records are shorter.
const GLANCE: usize = 1_024;
/// About so many bytes of batches are checked together, on all cores. Fewer than a share are not worth another core.
const RUN_BYTES: usize = 512 * 1024;
const SHARE_BYTES: usize = 64 * 1024;
/// So much of a file is read by one core at a time.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// A digit.
    pub(super) format: u8,
    pub(super) number: u32,
    /// The journal that it belongs to: drawn at random when the journal was made.
    pub(super) journal: [u8; 16],
    /// How far the log had come before it.
    pub(super) before: Tip,
}

impl SegmentHeader {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(self.format);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.journal);
        put_tip(&mut bytes, &self.before);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut read = Bytes { rest: bytes };
        if read.array()? != MAGIC {
            return Err(Malformed("it is no segment of a log"));
        }
        let format = read.byte()?;
        if !(OLDEST..=FORMAT).contains(&format) {
            return Err(Malformed("it is a segment of a format that this program does not know (it knows 5 to 7)"));
        }
        let header = Self { format, number: read.u32()?, journal: read.array()?, before: read_tip(&mut read)? };
        let crc = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
        if read.u32()? == crc { Ok(header) } else { Err(Malformed("the checksum of its header does not fit")) }
    }

    /// What batches know their journal by.
    pub(super) fn tag(&self) -> u64 {
        tag_of(self.journal)
    }
}

pub(super) fn tag_of(journal: [u8; 16]) -> u64 {
    u64::from_le_bytes(*journal.first_chunk().expect("16 bytes begin with 8"))
}

fn put_tip(to: &mut Vec<u8>, tip: &Tip) {
    to.extend_from_slice(&tip.batch.to_le_bytes());
    to.extend_from_slice(&tip.position.to_le_bytes());
    to.extend_from_slice(&tip.digest);
    to.extend_from_slice(&tip.sum);
}

fn read_tip(read: &mut Bytes<'_>) -> Result<Tip, Malformed> {
    Ok(Tip { batch: read.u64()?, position: read.u64()?, digest: read.array()?, sum: read.array()? })
}

/// What a sealed segment ends with: where its directory is, and how far the log had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    directory_bytes: u32,
    directory_crc: u32,
    /// Counts how often the segment was written anew, with less in it.
    pub(super) generation: u32,
    pub(super) after: Tip,
}

impl Trailer {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut read = Bytes { rest: bytes };
        let trailer = Self {
            directory_bytes: read.u32()?,
            directory_crc: read.u32()?,
            generation: read.u32()?,
            after: read_tip(&mut read)?,
        };
        let crc = crc32c::crc32c(&bytes[..TRAILER_BYTES - 8]);
        let is_whole = read.u32()? == crc && read.array()? == END;
        if is_whole { Ok(trailer) } else { Err(Malformed("it does not end as a sealed segment does")) }
    }

    fn directory(&self, bytes: &[u8]) -> Result<SegmentDirectory, Malformed> {
        if crc32c::crc32c(bytes) != self.directory_crc {
            return Err(Malformed("the checksum of its directory does not fit"));
        }
        SegmentDirectory::read(bytes)
    }

    /// The trailer at the end of a file, if it has one.
    pub(super) fn of(file: &File) -> io::Result<Option<Self>> {
        let length = file.metadata()?.len();
        let Some(at) = length.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
        let mut bytes = [0; TRAILER_BYTES];
        file.read_exact_at(&mut bytes, at)?;
        Ok(Self::read(&bytes).ok())
    }
}

/// How far the log has come behind the sealed segment in this file; none where that is no sealed segment.
pub(in crate::journal) fn end_of(path: &Path) -> io::Result<Option<Tip>> {
    Ok(Trailer::of(&open_file(path)?)?.map(|trailer| trailer.after))
}

/// The footer of a segment: its directory, and the trailer.
pub(super) fn footer(directory: &SegmentDirectory, generation: u32, after: Tip) -> Vec<u8> {
    let mut bytes = Vec::new();
    directory.put(&mut bytes);
    let (length, crc) = (bytes.len(), crc32c::crc32c(&bytes));
    bytes.extend_from_slice(&u32::try_from(length).expect("a directory is smaller than its segment").to_le_bytes());
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&generation.to_le_bytes());
    put_tip(&mut bytes, &after);
    let crc = crc32c::crc32c(&bytes[length..]);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&END);
    bytes
}

/// The directory of a sealed segment, as its footer has it.
pub(super) fn directory(file: &File, trailer: &Trailer) -> io::Result<Result<SegmentDirectory, Malformed>> {
    let length = file.metadata()?.len();
    let footer = u64::from(trailer.directory_bytes) + TRAILER_BYTES as u64;
    let Some(at) = length.checked_sub(footer) else { return Ok(Err(Malformed("its directory is cut off"))) };
    let mut bytes = vec![0; trailer.directory_bytes as usize];
    file.read_exact_at(&mut bytes, at)?;
    Ok(trailer.directory(&bytes))
}

/// The bytes of a segment, read at once.
pub(super) struct SegmentBytes {
    pub(super) header: SegmentHeader,
    bytes: Vec<u8>,
    /// The batches before this place were checked.
    checked: usize,
}

/// Where a walk over the batches of a segment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walked {
    /// Behind the last good batch.
    pub(super) end: usize,
    pub(super) tip: Tip,
    pub(super) rest: Rest,
}

/// What follows the last good batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing, or room that was not written to yet.
    Nothing,
    /// The footer of a sealed segment, as its trailer has it.
    Footer(Trailer),
    /// Something that is not what was written.
    Fault(Malformed),
}

impl SegmentBytes {
    pub(super) fn read(path: &Path) -> io::Result<Result<Self, Malformed>> {
        whole(&open_file(path)?)
    }

    pub(super) fn of(bytes: Vec<u8>) -> Result<Self, Malformed> {
        SegmentHeader::read(&bytes).map(|header| Self { header, bytes, checked: 0 })
    }

    /// What was checked once is not checked again.
    pub(super) fn were_checked_upto(&mut self, end: usize) {
        self.checked = end;
    }

    /// The good batches from a place in the file on, behind `before`, one at least and a few megabytes at most; else what
    /// is there. They are checked on all cores: each says itself what the next one has to go on from.
    pub(super) fn run(&self, at: usize, before: &Tip) -> Result<Vec<RawBatch<'_>>, Rest> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let (mut batches, mut length, mut tip) = (Vec::new(), 0, *before);
        let mut fault = Malformed("no batch begins here");
        while length < RUN_BYTES {
            match RawBatch::first(&rest[length..]) {
                Ok(batch) => {
                    batches.push((tip, batch));
                    (length, tip) = (length + batch.length(), batch.header.tip());
                }
                Err(malformed) => {
                    fault = malformed;
                    break;
                }
            }
        }
        if at + length <= self.checked {
            return Ok(batches.into_iter().map(|(_, batch)| batch).collect());
        }
        let check =
            |(before, batch): &(Tip, RawBatch<'_>)| batch.check(before, self.header.number, self.header.tag()).err();
        let mut checked = pool::map(&batches, length / SHARE_BYTES, check);
        let good = checked.iter().position(Option::is_some).unwrap_or(batches.len());
        if good > 0 {
            return Ok(batches[..good].iter().map(|(_, batch)| *batch).collect());
        }
        // A footer is asked for where no batch is: data of an event may look like one, and end the file.
        Err(Rest::of(rest, before, checked.first_mut().and_then(Option::take).unwrap_or(fault)))
    }

    /// Shows each good batch with its place in the file, up to the footer or the first that does not check.
    pub(super) fn walk<E>(&self, mut show: impl FnMut(usize, &RawBatch<'_>) -> Result<(), E>) -> Result<Walked, E> {
        let (mut at, mut tip) = (HEADER_BYTES, self.header.before);
        loop {
            let run = match self.run(at, &tip) {
                Ok(run) => run,
                Err(rest) => return Ok(Walked { end: at, tip, rest }),
            };
            for batch in run {
                show(at, &batch)?;
                (at, tip) = (at + batch.length(), batch.header.tip());
            }
        }
    }

    /// What was shown to be a batch before.
    pub(super) fn known(&self, at: usize) -> Result<RawBatch<'_>, Malformed> {
        RawBatch::first(self.bytes.get(at..).unwrap_or_default())
    }

    /// The record at a place in the file.
    pub(super) fn record(&self, at: u32) -> Result<RawEntry<'_>, Malformed> {
        RawEntry::first(self.bytes.get(at as usize..).unwrap_or_default())
    }

    /// How far the log had come behind batch `number`, if that is in this segment or the last one before it.
    pub(super) fn tip_behind(&self, number: u64) -> Option<Tip> {
        let mut found = Some(self.header.before).filter(|tip| tip.batch == number);
        let Ok(_) = self.walk(|_, batch| {
            let tip = batch.header.tip();
            found = found.or(Some(tip).filter(|tip| tip.batch == number));
            Ok::<_, Infallible>(())
        });
        found
    }

    /// The directory as the records have it, and where they end.
    pub(super) fn directory(&self) -> Result<(SegmentDirectory, Walked), Malformed> {
        let mut directory = SegmentDirectory::begin(self.header.before.position + 1);
        let walked = self.walk(|at, batch| note_batch(&mut directory, at, batch))?;
        Ok((directory, walked))
    }

    /// The directory as a footer that begins at `end` has it.
    pub(super) fn stated_directory(&self, end: usize, trailer: &Trailer) -> Result<SegmentDirectory, Malformed> {
        trailer.directory(&self.bytes[end..self.bytes.len() - TRAILER_BYTES])
    }

    /// How often the segment was written anew, as its trailer has it.
    pub(super) fn generation(&self) -> Option<u32> {
        let at = self.bytes.len().checked_sub(TRAILER_BYTES)?;
        Trailer::read(&self.bytes[at..]).ok().map(|trailer| trailer.generation)
    }

    /// Bytes from `end` to the last that was ever written to.
    pub(super) fn written_behind(&self, end: usize) -> usize {
        self.bytes[end..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    }
}

impl Rest {
    /// Why no batch is there.
    pub(super) fn why(self) -> Malformed {
        match self {
            Self::Fault(fault) => fault,
            Self::Nothing | Self::Footer(_) => Malformed("it ends too early"),
        }
    }

    /// What `rest` is, where it does not begin with a batch because of `fault`.
    fn of(rest: &[u8], tip: &Tip, fault: Malformed) -> Self {
        if rest.iter().all(|byte| *byte == 0) {
            return Self::Nothing;
        }
        let trailer = rest.len().checked_sub(TRAILER_BYTES).map(|at| (at, Trailer::read(&rest[at..])));
        match trailer {
            Some((at, Ok(trailer))) if (trailer.directory_bytes as usize, trailer.after) == (at, *tip) => {
                Self::Footer(trailer)
            }
            _ => Self::Fault(fault),
        }
    }
}

/// A segment that is open already: it may have another's place by now.
pub(super) fn whole(file: &File) -> io::Result<Result<SegmentBytes, Malformed>> {
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    // What is cut off meanwhile is room that was not written to, and zeros stand for it.
    pool::fill(&mut bytes, PIECE_BYTES, |at, piece| read_upto(file, piece, at as u64).map(drop))?;
    Ok(SegmentBytes::of(bytes))
}

/// Notes all records of a batch that lies at `at`.
pub(super) fn note_batch(directory: &mut SegmentDirectory, at: usize, batch: &RawBatch<'_>) -> Result<(), Malformed> {
    for entry in batch.entries() {
        let (within, raw) = entry?;
        let place = u32::try_from(at + within).map_err(|_| Malformed("a segment is too long"))?;
        if raw.is_event() {
            // Most are, and where they stand is all that is noted of them.
            directory.events.push(place);
        } else {
            directory.note(&raw.understand(&[])?, place)?;
        }
    }
    Ok(())
}

/// Reads the record at `at`, and shows it to `show`.
pub(super) fn read_entry<T>(
    file: &File,
    at: u32,
    show: impl FnOnce(RawEntry<'_>) -> Result<T, Malformed>,
) -> io::Result<Result<T, Malformed>> {
    let mut room = [0; GLANCE];
    let read = read_upto(file, &mut room, at.into())?;
    if let Ok(entry) = RawEntry::first(&room[..read]) {
        return Ok(show(entry));
    }
    let mut bytes = room[..read].to_vec();
    loop {
        let before = bytes.len();
        bytes.resize(before * 8, 0);
        let read = read_upto(file, &mut bytes[before..], u64::from(at) + before as u64)?;
        bytes.truncate(before + read);
        match RawEntry::first(&bytes) {
            Ok(entry) => return Ok(show(entry)),
            Err(error) if read == 0 => return Ok(Err(error)),
            Err(_) => {}
        }
    }
}

pub(super) fn read_upto(file: &File, room: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < room.len() {
        match file.read_at(&mut room[done..], at + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes a segment anew with other records in it, beside the old one; then it takes the old one's place.
pub(super) fn write_anew(
    path: &Path,
    header: SegmentHeader,
    batches: &[(BatchHeader, Vec<u8>)],
    generation: u32,
) -> Result<(), io::Error> {
    let beside = beside(path);
    let written = write_beside(&beside, header, batches, generation);
    // On a disk that is full, it would take the room that somebody has to make.
    written.inspect_err(|_| _ = std::fs::remove_file(&beside))?;
    std::fs::rename(&beside, path)?;
    sync_dir(path)
}

fn write_beside(
    beside: &Path,
    header: SegmentHeader,
    batches: &[(BatchHeader, Vec<u8>)],
    generation: u32,
) -> Result<(), io::Error> {
    let mut file = File::create(beside)?;
    let mut directory = SegmentDirectory::begin(header.before.position + 1);
    let (mut at, mut tip) = (HEADER_BYTES, header.before);
    file.write_all(&header.to_bytes())?;
    for (head, bytes) in batches {
        let noted = RawBatch::first(bytes).and_then(|batch| note_batch(&mut directory, at, &batch));
        noted.map_err(|Malformed(why)| io::Error::other(why))?;
        file.write_all(bytes)?;
        at += bytes.len();
        tip = head.tip();
    }
    file.write_all(&footer(&directory, generation, tip))?;
    file.sync_all()
}

/// Where a segment is written before it takes its place.
pub(super) fn beside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// The name of a file, too, has to outlive a power loss.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Records of a batch, edited: with other payloads, under the same header but for length and checksum.
pub(super) fn edited(
    batch: &RawBatch<'_>,
    names: &mut TypeNames,
    edit: &mut dyn FnMut(&Entry<'_>) -> Option<(u64, Vec<u8>)>,
) -> Result<(BatchHeader, Vec<u8>), Malformed> {
    let mut bytes = vec![0; batch::HEADER_BYTES];
    for entry in batch.entries() {
        let (_, raw) = entry?;
        if let Some(name) = raw.name_of_type()? {
            names.learn(name)?;
        }
        let entry = raw.understand(names.texts())?;
        bytes.extend_from_slice(raw.covered);
        let payload = entry.payload();
        // What was dropped before stays as it is: its digest is that of the whole.
        let remains = if payload.is_kept() { edit(&entry) } else { None };
        match &remains {
            None => put_payload(&payload, &mut bytes),
            Some((length, digest)) => put_payload(&Payload::Dropped { length: *length, digest }, &mut bytes),
        }
    }
    let mut header = batch.header;
    header.length =
        u32::try_from(bytes.len() - batch::HEADER_BYTES).expect("little is put in the place of what is dropped");
    header.seal(&mut bytes);
    Ok((header, bytes))
}
