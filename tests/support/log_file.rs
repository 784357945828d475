//! Reads and writes the log of a journal by the rules of docs/journal.md, without the crate. So it is a second opinion on
//! the format, and a forger: it changes anything, and computes every digest, sum and checksum again.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use super::forge::{self, Item, sha1};

pub const SEGMENT_HEADER: usize = 84;
pub const BATCH_HEADER: usize = 88;
const TRAILER: usize = 72;
const SLOT: usize = 256;

/// The data of a record, or what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Kept(Vec<u8>),
    Dropped { length: u64, digest: Vec<u8> },
}

impl Payload {
    pub fn kept(&self) -> Option<&Vec<u8>> {
        match self {
            Self::Kept(bytes) => Some(bytes),
            Self::Dropped { .. } => None,
        }
    }

    /// Bytes that are stored.
    pub fn len(&self) -> usize {
        self.kept().map_or(0, Vec::len)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begins {
    pub id: [u8; 16],
    pub attempts: u64,
    pub manifest_path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    pub actor: u64,
    pub sequence: u64,
    pub back: u64,
    pub timestamp: u64,
    pub event_type: String,
    pub hash: [u8; 20],
    pub names_state: bool,
    pub keeps: bool,
    pub ends: bool,
    pub begins: Option<Begins>,
    /// The receiver, and the word of a notice.
    pub owes: Option<([u8; 16], String)>,
    pub settles: Vec<([u8; 16], u64)>,
    /// The data begins with 16 bytes of salt.
    pub is_salted: bool,
    /// The digest of the idempotency key of a call.
    pub key: Option<[u8; 16]>,
    pub data: Payload,
}

impl LogEvent {
    pub fn kind(&self) -> &str {
        self.event_type.split(' ').next().expect("a word")
    }

    /// Its data, without the salt.
    pub fn said(&self) -> &[u8] {
        &self.data.kept().expect("its data is there")[if self.is_salted { 16 } else { 0 }..]
    }

    /// Changes the data, and leaves the salt as it is.
    pub fn says(&mut self, data: &[u8]) {
        let payload = self.data.kept().expect("its data is there");
        let salt = if self.is_salted { &payload[..16] } else { &[] };
        self.data = Payload::Kept([salt, data].concat());
    }
}

/// A record. The names of types are not among them: they are written where an event of the segment first needs one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogRecord {
    Event(LogEvent),
    Blob {
        name: [u8; 20],
        is_state: bool,
        bytes: Payload,
    },
    /// The payload of a salted one begins with 16 bytes of salt.
    State {
        actor: u64,
        sequence: u64,
        name: Option<[u8; 20]>,
        is_salted: bool,
        state: Payload,
    },
    Ended(u64),
    Survived(u64),
    Forgotten(u64),
    Paused {
        actor: u64,
        is_paused: bool,
    },
    Dropped {
        actor: u64,
        from: u64,
        upto: u64,
        last: u64,
    },
    /// A row of an actor's table; the payload begins with 16 bytes of salt.
    Row {
        actor: u64,
        written: u64,
        closed: u64,
        hash: [u8; 20],
        name: [u8; 20],
        row: Payload,
    },
}

impl LogRecord {
    pub fn payload(&self) -> Option<&Payload> {
        match self {
            Self::Event(event) => Some(&event.data),
            Self::Blob { bytes: payload, .. } | Self::State { state: payload, .. } | Self::Row { row: payload, .. } => {
                Some(payload)
            }
            Self::Ended(_) | Self::Survived(_) | Self::Forgotten(_) | Self::Paused { .. } | Self::Dropped { .. } => {
                None
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBatch {
    /// The standing sum behind it.
    pub sum: [u8; 16],
    pub records: Vec<LogRecord>,
}

/// What a segment ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Footer {
    Absent,
    Right {
        generation: u32,
    },
    /// The places that it names are wrong by so many bytes.
    Lying {
        generation: u32,
        off_by: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSegment {
    /// The digit of its format.
    pub format: u8,
    pub number: u32,
    pub footer: Footer,
    pub batches: Vec<LogBatch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogTip {
    pub batch: u64,
    pub position: u64,
    pub digest: [u8; 20],
    pub sum: [u8; 16],
}

/// The log of a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    pub journal: [u8; 16],
    /// How far the log had come before its first segment.
    pub before: LogTip,
    pub segments: Vec<LogSegment>,
}

/// The files of the log's segments, in order.
pub fn segment_files(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data.join("log")).expect("a log").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    files.sort();
    files
}

/// Where each batch of a segment begins, and where the last one ends.
pub fn batch_places(segment: &[u8]) -> Vec<usize> {
    let mut places = vec![SEGMENT_HEADER];
    let mut at = SEGMENT_HEADER;
    while segment.get(at..at + 4) == Some(b"TBat") {
        at += BATCH_HEADER + u32::from_le_bytes(*segment[at + 4..].first_chunk().expect("a length")) as usize;
        places.push(at);
    }
    places
}

/// How much of a segment's file was written; behind that is room that was reserved.
pub fn written(segment: &[u8]) -> usize {
    *batch_places(segment).last().expect("a segment has a header")
}

/// Changes the log, and writes it with a mark that fits, so that only what the chains say can tell.
pub fn forge_log(data: &Path, change: impl FnOnce(&mut LogFile)) {
    alter_log(data, change);
    LogFile::read(data).mark(data);
}

/// Changes the log, and leaves the mark as it is.
pub fn alter_log(data: &Path, change: impl FnOnce(&mut LogFile)) {
    let mut log = LogFile::read(data);
    change(&mut log);
    log.sum_up();
    log.write(data);
}

/// Changes the data of an event, and only what every checksum says.
pub fn alter_data(data: &Path, actor: &str, sequence: u64, altered: &[u8]) {
    alter_log(data, |log| {
        let key = log.key_of(actor);
        log.event(key, sequence).says(altered);
    });
}

impl LogFile {
    /// Reads all segments, and insists that everything is as it is to be, but for what the chains say.
    pub fn read(data: &Path) -> Self {
        let (mut log, mut tip) = (None::<Self>, None);
        for path in segment_files(data) {
            let bytes = std::fs::read(&path).expect("a segment");
            let mut read = Bytes { bytes: &bytes, at: 0 };
            assert_eq!(read.take(7), b"THEALOG");
            let format = read.take(1)[0];
            let number = read.u32();
            assert_eq!(path.file_stem().and_then(|it| it.to_str()), Some(&*format!("{number:08}")));
            let (journal, before) = (read.array(), read.tip());
            assert_eq!(crc32c::crc32c(&bytes[..read.at]), read.u32(), "the header's checksum");
            assert_eq!(read.at, SEGMENT_HEADER);
            assert!(tip.is_none_or(|tip| tip == before), "it goes on where the one before it ends");
            let log = log.get_or_insert_with(|| Self { journal, before, segments: Vec::new() });
            assert_eq!(journal, log.journal);
            let mut segment = LogSegment { format, number, footer: Footer::Absent, batches: Vec::new() };
            let (mut here, mut names, mut directory) = (before, Vec::new(), Directory::at(before.position + 1));
            while bytes.get(read.at..read.at + 4) == Some(b"TBat") {
                segment.batches.push(batch(&mut read, &journal, number, &mut here, &mut names, &mut directory));
            }
            // Zeros are room that was not written to yet.
            if bytes[read.at..].iter().any(|byte| *byte != 0) {
                let ending = directory.put(0);
                assert_eq!(read.take(ending.len()), ending, "the directory is what the records say");
                let at = read.at;
                assert_eq!((read.u32() as usize, read.u32()), (ending.len(), crc32c::crc32c(&ending)));
                let generation = read.u32();
                assert_eq!(read.tip(), here, "how far it had come");
                assert_eq!(crc32c::crc32c(&bytes[at..read.at]), read.u32(), "the trailer's checksum");
                assert_eq!((read.take(4), read.at), (&b"TEnd"[..], bytes.len()));
                segment.footer = Footer::Right { generation };
            }
            tip = Some(here);
            log.segments.push(segment);
        }
        log.expect("a segment")
    }

    /// Writes all segments, with digests, counts, checksums and directories computed again. The sums are those given.
    pub fn write(&self, data: &Path) {
        segment_files(data).iter().for_each(|path| std::fs::remove_file(path).expect("removed"));
        for (segment, bytes) in self.segments.iter().zip(self.encoded().0) {
            std::fs::write(data.join("log").join(format!("{:08}.log", segment.number)), bytes).expect("written");
        }
    }

    /// How far it has come.
    pub fn tip(&self) -> LogTip {
        self.encoded().1
    }

    /// The bytes of each segment, and how far the log has come.
    pub fn encoded(&self) -> (Vec<Vec<u8>>, LogTip) {
        let mut tip = self.before;
        let files = self.segments.iter().map(|segment| segment.encoded(&self.journal, &mut tip)).collect();
        (files, tip)
    }

    /// Writes both lines of the mark to fit, with the durability and the boot that it has.
    pub fn mark(&self, data: &Path) {
        let tip = self.tip();
        change_mark(data, |words| {
            words[2] = hex::encode(self.journal);
            (words[3], words[4]) = (tip.batch.to_string(), tip.position.to_string());
            words[5] = hex::encode(tip.digest);
        });
    }

    pub fn records(&self) -> impl Iterator<Item = &LogRecord> {
        self.segments.iter().flat_map(|segment| &segment.batches).flat_map(|batch| &batch.records)
    }

    pub fn records_mut(&mut self) -> impl Iterator<Item = &mut LogRecord> {
        let batches = self.segments.iter_mut().flat_map(|segment| &mut segment.batches);
        batches.flat_map(|batch| &mut batch.records)
    }

    /// All events in order, so that the first one stands at position 1.
    pub fn events(&self) -> impl Iterator<Item = &LogEvent> {
        self.records().filter_map(|record| match record {
            LogRecord::Event(event) => Some(event),
            _ => None,
        })
    }

    pub fn events_mut(&mut self) -> impl Iterator<Item = &mut LogEvent> {
        self.records_mut().filter_map(|record| match record {
            LogRecord::Event(event) => Some(event),
            _ => None,
        })
    }

    /// The events of one actor.
    pub fn chain(&mut self, key: u64) -> impl Iterator<Item = &mut LogEvent> {
        self.events_mut().filter(move |event| event.actor == key)
    }

    pub fn event(&mut self, key: u64, sequence: u64) -> &mut LogEvent {
        self.chain(key).find(|event| event.sequence == sequence).expect("an event")
    }

    /// Where an event stands.
    pub fn position(&self, key: u64, sequence: u64) -> u64 {
        let at = self.events().position(|event| (event.actor, event.sequence) == (key, sequence));
        self.before.position + 1 + at.expect("an event") as u64
    }

    /// Keeps only these records.
    pub fn retain(&mut self, mut keep: impl FnMut(&LogRecord) -> bool) {
        let batches = self.segments.iter_mut().flat_map(|segment| &mut segment.batches);
        batches.for_each(|batch| batch.records.retain(&mut keep));
    }

    /// Appends a batch.
    pub fn append(&mut self, records: Vec<LogRecord>) {
        let sum = self.tip().sum;
        self.segments.last_mut().expect("a segment").batches.push(LogBatch { sum, records });
    }

    /// The key of the actor that was last started with this name.
    pub fn key_of(&self, name: &str) -> u64 {
        let name = Item::Text(name.to_owned());
        let is_so = |event: &&LogEvent| event.begins.is_some() && *Item::read(event.said()).get("name") == name;
        self.events().filter(is_so).last().unwrap_or_else(|| panic!("no actor is called {name:?}")).actor
    }

    pub fn key_of_id(&self, id: &str) -> u64 {
        let id = uuid::Uuid::parse_str(id).expect("an id").into_bytes();
        let is_so = |event: &&LogEvent| event.begins.as_ref().is_some_and(|begins| begins.id == id);
        self.events().find(is_so).expect("an actor").actor
    }

    pub fn id_of(&self, key: u64) -> [u8; 16] {
        let first = self.events().find(|event| event.actor == key && event.begins.is_some());
        first.and_then(|event| event.begins.as_ref()).expect("an actor").id
    }

    /// Changes the events of a chain, and computes their hashes again.
    pub fn forge_chain(&mut self, key: u64, forge: impl FnOnce(&mut Vec<forge::Event>)) {
        let mut events: Vec<_> = self.chain(key).map(|event| forged_from(event)).collect();
        forge(&mut events);
        let mut parent = None;
        for (sequence, (stored, event)) in self.chain(key).zip(&events).enumerate() {
            stored.hash = event.hash_behind(sequence as u64, parent);
            stored.event_type.clone_from(&event.event_type);
            stored.timestamp = event.timestamp;
            stored.is_salted = event.is_salted();
            stored.data = match &event.data {
                Some(data) => Payload::Kept([event.salt.as_ref().map_or(&[][..], |salt| salt), data].concat()),
                None => Payload::Dropped { length: event.dropped.0, digest: event.dropped.1.clone() },
            };
            parent = Some(stored.hash);
        }
    }

    /// Has each event say where the one before it on its chain stands now.
    pub fn link(&mut self) {
        let mut last = HashMap::new();
        let first = self.before.position + 1;
        for (position, event) in (first..).zip(self.events_mut()) {
            event.back = last.insert(event.actor, position).map_or(0, |before| position - before);
        }
    }

    /// Computes the standing sum behind each batch.
    pub fn sum_up(&mut self) {
        let mut sums = Sums { next: self.before.position + 1, ..Sums::default() };
        for segment in &mut self.segments {
            for batch in &mut segment.batches {
                batch.records.iter().for_each(|record| sums.take_in(record, segment.number));
                batch.sum = sums.sum();
            }
        }
    }
}

fn forged_from(event: &LogEvent) -> forge::Event {
    let (data, dropped) = match &event.data {
        Payload::Kept(data) => (Some(data.clone()), (0, Vec::new())),
        Payload::Dropped { length, digest } => (None, (*length, digest.clone())),
    };
    let (salt, data) = match data {
        Some(data) if event.is_salted => {
            let (salt, data) = data.split_first_chunk().expect("a salt");
            (Some(*salt), Some(data.to_vec()))
        }
        data => (None, data),
    };
    let (event_type, timestamp, hash) = (event.event_type.clone(), event.timestamp, event.hash);
    forge::Event { event_type, data, salt, dropped, timestamp, hash }
}

/// Changes the words of the mark's newest line, and writes it twice.
pub fn change_mark(data: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let path = data.join("journal.mark");
    let text = std::fs::read_to_string(&path).expect("the mark");
    let line = text.lines().max_by_key(|line| line.split(' ').nth(3)?.parse::<u64>().ok()).expect("a line");
    let mut words: Vec<String> = line.trim_end().split(' ').map(str::to_owned).collect();
    assert_eq!((words.len(), &*words[0], &*words[1]), (9, "theater-mark", "2"), "{line}");
    let said = words.pop().expect("nine");
    assert_eq!(said, hex::encode(Sha1::digest(words.join(" "))), "the line's checksum");
    change(&mut words);
    let body = words.join(" ");
    let line = format!("{body} {}", hex::encode(Sha1::digest(body.as_bytes())));
    let slot = format!("{line:<width$}\n", width = SLOT - 1);
    std::fs::write(path, slot.repeat(2)).expect("written");
}

impl LogSegment {
    fn encoded(&self, journal: &[u8; 16], tip: &mut LogTip) -> Vec<u8> {
        let mut bytes = b"THEALOG".to_vec();
        bytes.push(self.format);
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(journal);
        put_tip(&mut bytes, tip);
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        let (mut names, mut directory) = (Vec::new(), Directory::at(tip.position + 1));
        for batch in &self.batches {
            put_batch(&mut bytes, batch, journal, self.number, tip, &mut names, &mut directory);
        }
        let (generation, off_by) = match self.footer {
            Footer::Absent => return bytes,
            Footer::Right { generation } => (generation, 0),
            Footer::Lying { generation, off_by } => (generation, off_by),
        };
        let ending = directory.put(off_by);
        bytes.extend(&ending);
        let mut trailer = (ending.len() as u32).to_le_bytes().to_vec();
        trailer.extend(crc32c::crc32c(&ending).to_le_bytes());
        trailer.extend(generation.to_le_bytes());
        put_tip(&mut trailer, tip);
        trailer.extend(crc32c::crc32c(&trailer).to_le_bytes());
        trailer.extend(b"TEnd");
        assert_eq!(trailer.len(), TRAILER);
        bytes.extend(trailer);
        bytes
    }
}

#[derive(Default)]
struct Directory {
    first: u64,
    events: Vec<u32>,
    names: Vec<String>,
    blobs: BTreeMap<[u8; 20], u32>,
    states: BTreeMap<(u64, u64), u32>,
}

impl Directory {
    fn at(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    fn note(&mut self, record: &LogRecord, at: usize) {
        let at = at as u32;
        match record {
            LogRecord::Event(_) => self.events.push(at),
            LogRecord::Blob { name, .. } => _ = self.blobs.insert(*name, at),
            LogRecord::State { actor, sequence, .. } => _ = self.states.insert((*actor, *sequence), at),
            _ => {}
        }
    }

    fn put(&self, off_by: u32) -> Vec<u8> {
        let place = |at: &u32| (at + off_by).to_le_bytes();
        let mut bytes = self.first.to_le_bytes().to_vec();
        put_number(&mut bytes, self.events.len() as u64);
        self.events.iter().for_each(|at| bytes.extend(place(at)));
        put_number(&mut bytes, self.names.len() as u64);
        self.names.iter().for_each(|name| put_text(&mut bytes, name));
        put_number(&mut bytes, self.blobs.len() as u64);
        for (name, at) in &self.blobs {
            bytes.extend(name);
            bytes.extend(place(at));
        }
        put_number(&mut bytes, self.states.len() as u64);
        for ((actor, sequence), at) in &self.states {
            put_number(&mut bytes, *actor);
            put_number(&mut bytes, *sequence);
            bytes.extend(place(at));
        }
        bytes
    }
}

fn put_tip(to: &mut Vec<u8>, tip: &LogTip) {
    to.extend(tip.batch.to_le_bytes());
    to.extend(tip.position.to_le_bytes());
    to.extend(tip.digest);
    to.extend(tip.sum);
}

fn put_number(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    put_number(to, text.len() as u64);
    to.extend(text.as_bytes());
}

fn put_batch(
    to: &mut Vec<u8>,
    batch: &LogBatch,
    journal: &[u8; 16],
    segment: u32,
    tip: &mut LogTip,
    names: &mut Vec<String>,
    directory: &mut Directory,
) {
    let start = to.len() + BATCH_HEADER;
    let (mut records, mut covered, mut count, mut events) = (Vec::new(), tip.digest.to_vec(), 0_u32, 0_u32);
    for record in &batch.records {
        let mut code = 0;
        if let LogRecord::Event(event) = record {
            code = names.iter().position(|name| *name == event.event_type).unwrap_or_else(|| {
                let mut named = Vec::new();
                put_number(&mut named, names.len() as u64);
                named.extend(event.event_type.as_bytes());
                put_record(&mut records, &mut covered, 2, &named, &Payload::Kept(Vec::new()));
                count += 1;
                names.push(event.event_type.clone());
                directory.names.push(event.event_type.clone());
                names.len() - 1
            });
            events += 1;
        }
        directory.note(record, start + records.len());
        let (kind, essence) = essence_of(record, code as u64);
        let nothing = Payload::Kept(Vec::new());
        put_record(&mut records, &mut covered, kind, &essence, record.payload().unwrap_or(&nothing));
        count += 1;
    }
    let mut header = b"TBat".to_vec();
    header.extend((records.len() as u32).to_le_bytes());
    header.extend(segment.to_le_bytes());
    header.extend(&journal[..8]);
    header.extend([0; 4]);
    header.extend((tip.batch + 1).to_le_bytes());
    header.extend((tip.position + 1).to_le_bytes());
    header.extend(events.to_le_bytes());
    header.extend(count.to_le_bytes());
    header.extend(batch.sum);
    let digest = sha1(&covered);
    header.extend(digest);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header), &records);
    header.extend(crc.to_le_bytes());
    assert_eq!(header.len(), BATCH_HEADER);
    to.extend(header);
    to.extend(records);
    *tip = LogTip { batch: tip.batch + 1, position: tip.position + u64::from(events), digest, sum: batch.sum };
}

fn put_record(to: &mut Vec<u8>, covered: &mut Vec<u8>, kind: u8, essence: &[u8], payload: &Payload) {
    let at = to.len();
    to.push(kind);
    put_number(to, essence.len() as u64);
    to.extend(essence);
    covered.extend(&to[at..]);
    match payload {
        Payload::Kept(bytes) => {
            put_number(to, (bytes.len() as u64) << 1);
            to.extend(bytes);
        }
        Payload::Dropped { length, digest } => {
            put_number(to, length << 1 | 1);
            to.push(digest.len() as u8);
            to.extend(digest);
        }
    }
}

fn essence_of(record: &LogRecord, code: u64) -> (u8, Vec<u8>) {
    let mut essence = Vec::new();
    let to = &mut essence;
    let kind = match record {
        LogRecord::Event(event) => {
            put_event(to, event, code);
            1
        }
        LogRecord::Blob { name, is_state, .. } => {
            to.extend(name);
            to.push(u8::from(*is_state));
            3
        }
        LogRecord::State { actor, sequence, name, is_salted, .. } => {
            put_number(to, *actor);
            put_number(to, *sequence);
            to.extend(name.iter().flatten());
            to.extend(is_salted.then_some(1));
            4
        }
        LogRecord::Ended(actor) | LogRecord::Survived(actor) | LogRecord::Forgotten(actor) => {
            put_number(to, *actor);
            match record {
                LogRecord::Ended(_) => 5,
                LogRecord::Survived(_) => 6,
                _ => 7,
            }
        }
        LogRecord::Paused { actor, is_paused } => {
            put_number(to, *actor);
            to.push(u8::from(*is_paused));
            10
        }
        LogRecord::Dropped { actor, from, upto, last } => {
            [actor, from, upto, last].into_iter().for_each(|number| put_number(to, *number));
            8
        }
        LogRecord::Row { actor, written, closed, hash, name, .. } => {
            [actor, written, closed].into_iter().for_each(|number| put_number(to, *number));
            to.extend(hash);
            to.extend(name);
            9
        }
    };
    (kind, essence)
}

fn put_event(to: &mut Vec<u8>, event: &LogEvent, code: u64) {
    let flags = [
        event.names_state,
        event.keeps,
        event.ends,
        event.begins.is_some(),
        event.owes.is_some(),
        !event.settles.is_empty(),
        event.is_salted,
        event.key.is_some(),
    ];
    let flags = (0..).zip(flags).fold(0, |bits, (at, is_set)| bits | u64::from(is_set) << at);
    for number in [event.actor, event.sequence, event.back, event.timestamp, code, flags] {
        put_number(to, number);
    }
    to.extend(event.hash);
    if let Some(begins) = &event.begins {
        to.extend(begins.id);
        put_number(to, begins.attempts);
        put_text(to, &begins.manifest_path);
    }
    if let Some((receiver, notice)) = &event.owes {
        to.extend(receiver);
        put_text(to, notice);
    }
    if !event.settles.is_empty() {
        put_number(to, event.settles.len() as u64);
        for (actor, sequence) in &event.settles {
            to.extend(actor);
            put_number(to, *sequence);
        }
    }
    to.extend(event.key.into_iter().flatten());
}

struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        self.at += length;
        &self.bytes[self.at - length..self.at]
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        *self.take(N).first_chunk().expect("so many bytes")
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let [byte] = self.array();
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }

    fn text(&mut self) -> String {
        let length = self.number() as usize;
        String::from_utf8(self.take(length).to_vec()).expect("UTF-8")
    }

    fn tip(&mut self) -> LogTip {
        LogTip { batch: self.u64(), position: self.u64(), digest: self.array(), sum: self.array() }
    }
}

fn batch(
    read: &mut Bytes<'_>,
    journal: &[u8; 16],
    segment: u32,
    tip: &mut LogTip,
    names: &mut Vec<String>,
    directory: &mut Directory,
) -> LogBatch {
    let start = read.at;
    read.take(4);
    let length = read.u32() as usize;
    assert_eq!((read.u32(), read.take(8), read.u32()), (segment, &journal[..8], 0), "segment, journal and epoch");
    assert_eq!((read.u64(), read.u64()), (tip.batch + 1, tip.position + 1), "it follows the one before it");
    let (events, count) = (read.u32(), read.u32());
    let (sum, digest) = (read.array(), read.array());
    let header = &read.bytes[start..read.at];
    let crc = read.u32();
    let end = read.at + length;
    let records = &read.bytes[read.at..end];
    assert_eq!(crc32c::crc32c_append(crc32c::crc32c(header), records), crc, "the batch's checksum");
    let (mut found, mut covered) = (Vec::new(), tip.digest.to_vec());
    let mut counted = (0, 0);
    while read.at < end {
        let at = read.at;
        let [kind] = read.array();
        let essence_length = read.number() as usize;
        let essence = read.take(essence_length);
        covered.extend(&read.bytes[at..read.at]);
        let length = read.number();
        let payload = if length & 1 == 1 {
            let [digest] = read.array();
            Payload::Dropped { length: length >> 1, digest: read.take(digest.into()).to_vec() }
        } else {
            Payload::Kept(read.take((length >> 1) as usize).to_vec())
        };
        counted.1 += 1;
        let mut essence = Bytes { bytes: essence, at: 0 };
        if kind == 2 {
            assert_eq!(essence.number(), names.len() as u64, "names are numbered in order");
            let name = String::from_utf8(essence.bytes[essence.at..].to_vec()).expect("UTF-8");
            names.push(name.clone());
            directory.names.push(name);
            continue;
        }
        let record = record(kind, &mut essence, payload, names);
        assert_eq!(essence.at, essence.bytes.len(), "nothing follows");
        counted.0 += u32::from(matches!(record, LogRecord::Event(_)));
        directory.note(&record, at);
        found.push(record);
    }
    assert_eq!(read.at, end);
    assert_eq!((counted, sha1(&covered)), ((events, count), digest), "the counts and the digest of the records");
    *tip = LogTip { batch: tip.batch + 1, position: tip.position + u64::from(events), digest, sum };
    LogBatch { sum, records: found }
}

fn record(kind: u8, read: &mut Bytes<'_>, payload: Payload, names: &[String]) -> LogRecord {
    match kind {
        1 => LogRecord::Event(event(read, payload, names)),
        3 => LogRecord::Blob { name: read.array(), is_state: read.array() == [1], bytes: payload },
        4 => LogRecord::State {
            actor: read.number(),
            sequence: read.number(),
            name: (read.at < read.bytes.len()).then(|| read.array()),
            is_salted: read.at < read.bytes.len() && read.array() == [1],
            state: payload,
        },
        5 => LogRecord::Ended(read.number()),
        6 => LogRecord::Survived(read.number()),
        7 => LogRecord::Forgotten(read.number()),
        8 => LogRecord::Dropped { actor: read.number(), from: read.number(), upto: read.number(), last: read.number() },
        9 => LogRecord::Row {
            actor: read.number(),
            written: read.number(),
            closed: read.number(),
            hash: read.array(),
            name: read.array(),
            row: payload,
        },
        10 => LogRecord::Paused { actor: read.number(), is_paused: read.array() == [1] },
        other => panic!("no record is of kind {other}"),
    }
}

fn event(read: &mut Bytes<'_>, data: Payload, names: &[String]) -> LogEvent {
    let (actor, sequence, back, timestamp) = (read.number(), read.number(), read.number(), read.number());
    let event_type = names[read.number() as usize].clone();
    let flags = read.number();
    assert!(flags < 256, "eight flags");
    let has = |at: u64| flags >> at & 1 == 1;
    let hash = read.array();
    let begins = has(3).then(|| Begins { id: read.array(), attempts: read.number(), manifest_path: read.text() });
    let owes = has(4).then(|| (read.array(), read.text()));
    let settles = if has(5) { (0..read.number()).map(|_| (read.array(), read.number())).collect() } else { Vec::new() };
    let key = has(7).then(|| read.array());
    let (names_state, keeps, ends, is_salted) = (has(0), has(1), has(2), has(6));
    LogEvent {
        actor,
        sequence,
        back,
        timestamp,
        event_type,
        hash,
        names_state,
        keeps,
        ends,
        begins,
        owes,
        settles,
        is_salted,
        key,
        data,
    }
}

/// The rows that an index must hold, and their sum.
#[derive(Default)]
struct Sums {
    /// The position of the next event.
    next: u64,
    ids: HashMap<u64, [u8; 16]>,
    /// Each row by its table and its key, with what is summed up of it.
    heads: BTreeMap<u64, Head>,
    actors: BTreeMap<u64, Row>,
    owed: BTreeMap<([u8; 16], u64), Promise>,
    landmarks: u128,
    kept: BTreeMap<(u64, u64), u64>,
    paused: BTreeSet<u64>,
}

struct Head {
    position: u64,
    sequence: u64,
    hash: [u8; 20],
    state: u64,
}

struct Row {
    alive: bool,
    attempts: u64,
    listed: bool,
    started: u64,
    manifest_path: String,
}

struct Promise {
    position: u64,
    receiver: [u8; 16],
    notice: String,
}

/// The first 16 bytes of the SHA-1 over a table's number and columns.
fn part(table: u8, columns: &[&[u8]]) -> u128 {
    let digest = sha1(&[&[table][..], &columns.concat()].concat());
    u128::from_be_bytes(*digest.first_chunk().expect("16 bytes"))
}

fn text_of(id: &[u8; 16]) -> String {
    uuid::Uuid::from_bytes(*id).to_string()
}

impl Sums {
    fn take_in(&mut self, record: &LogRecord, segment: u32) {
        match record {
            LogRecord::Event(event) => self.event(event),
            LogRecord::State { actor, sequence, .. } => {
                self.kept.insert((*actor, *sequence), segment.into());
            }
            LogRecord::Ended(actor) => self.end(*actor),
            LogRecord::Survived(actor) => self.actors.get_mut(actor).into_iter().for_each(|row| row.attempts = 0),
            LogRecord::Forgotten(actor) => {
                self.actors.get_mut(actor).into_iter().for_each(|row| row.listed = false);
                self.paused.remove(actor);
            }
            LogRecord::Paused { actor, is_paused: true } => _ = self.paused.insert(*actor),
            LogRecord::Paused { actor, is_paused: false } => _ = self.paused.remove(actor),
            LogRecord::Dropped { actor, from, upto, .. } => {
                self.kept.retain(|(of, sequence), _| of != actor || !(from..upto).contains(&sequence));
            }
            LogRecord::Blob { .. } | LogRecord::Row { .. } => {}
        }
    }

    fn event(&mut self, event: &LogEvent) {
        let (position, actor, sequence) = (self.next, event.actor, event.sequence);
        self.next += 1;
        let before = self.heads.get(&actor).map_or(u64::MAX, |head| head.state);
        let state = if event.names_state { position } else { before };
        self.heads.insert(actor, Head { position, sequence, hash: event.hash, state });
        if let Some(begins) = &event.begins {
            self.ids.insert(actor, begins.id);
            let (attempts, manifest_path) = (begins.attempts, begins.manifest_path.clone());
            self.actors.insert(actor, Row { alive: true, attempts, listed: true, started: position, manifest_path });
        }
        let landmark = match &*event.event_type {
            "started" => Some(0),
            "failed" => Some(1),
            "return ntwk:theater/actor.init" => Some(2),
            _ => None,
        };
        if let Some(landmark) = landmark {
            let columns = [&actor.to_be_bytes()[..], &[landmark], &sequence.to_be_bytes(), &position.to_be_bytes()];
            self.landmarks = self.landmarks.wrapping_add(part(4, &columns));
        }
        if let Some(key) = &event.key {
            let numbers = [actor, sequence, position].map(u64::to_be_bytes).concat();
            self.landmarks = self.landmarks.wrapping_add(part(6, &[key, &numbers]));
        }
        if event.keeps {
            self.kept.insert((actor, sequence), u64::MAX);
        }
        event.settles.iter().for_each(|cause| _ = self.owed.remove(cause));
        if let Some((receiver, notice)) = &event.owes {
            let notice = if notice.is_empty() { "-".to_owned() } else { notice.clone() };
            self.owed.insert((self.ids[&actor], sequence), Promise { position, receiver: *receiver, notice });
        }
        if event.ends {
            self.end(actor);
        }
    }

    /// What an actor owes itself ends with it.
    fn end(&mut self, actor: u64) {
        self.actors.get_mut(&actor).into_iter().for_each(|row| row.alive = false);
        let id = self.ids.get(&actor).copied();
        self.owed.retain(|(of, _), promise| Some(*of) != id || Some(promise.receiver) != id);
    }

    fn sum(&self) -> [u8; 16] {
        let heads = self.heads.iter().map(|(actor, head)| {
            let numbers = [*actor, head.position, head.sequence].map(u64::to_be_bytes).concat();
            part(1, &[&numbers, &head.hash, &head.state.to_be_bytes()])
        });
        let actors = self.actors.iter().map(|(actor, row)| {
            let (alive, listed) = ([u8::from(row.alive)], [u8::from(row.listed)]);
            let (actor, attempts, started) =
                (actor.to_be_bytes(), row.attempts.to_be_bytes(), row.started.to_be_bytes());
            part(2, &[&actor, &alive, &attempts, &listed, &started, row.manifest_path.as_bytes()])
        });
        let owed = self.owed.iter().map(|((actor, sequence), promise)| {
            let (actor, receiver) = (text_of(actor), text_of(&promise.receiver));
            let numbers = [*sequence, promise.position].map(u64::to_be_bytes).concat();
            part(3, &[&numbers, actor.as_bytes(), receiver.as_bytes(), promise.notice.as_bytes()])
        });
        let kept = self.kept.iter().map(|((actor, sequence), segment)| {
            part(5, &[&[*actor, *sequence, *segment].map(u64::to_be_bytes).concat()])
        });
        let paused = self.paused.iter().map(|actor| part(7, &[&actor.to_be_bytes()]));
        let parts = heads.chain(actors).chain(owed).chain(kept).chain(paused);
        parts.fold(self.landmarks, u128::wrapping_add).to_be_bytes()
    }
}
