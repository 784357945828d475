//! Reads and writes chain files by the rules of docs/chain-format.md, without the crate, for tests of forgery: a forger
//! can change anything and compute every hash again.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use sha1::{Digest, Sha1};
use sha2::Sha256;

pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    Sha1::digest(bytes).into()
}

/// A CBOR item of a type that occurs in events.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Null,
    Bool(bool),
    Uint(u64),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Item>),
    Map(Vec<(String, Item)>),
}

impl Item {
    pub fn read(data: &[u8]) -> Self {
        let mut at = 0;
        let item = Self::read_at(data, &mut at);
        assert_eq!(at, data.len(), "one item");
        item
    }

    fn read_at(data: &[u8], at: &mut usize) -> Self {
        let (major, info) = (data[*at] >> 5, data[*at] & 31);
        *at += 1;
        let size = if info < 24 { 0 } else { 1 << (info - 24) };
        let argument = if size == 0 {
            u64::from(info)
        } else {
            data[*at..*at + size].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        *at += size;
        let length = argument as usize;
        let bytes = |at: &mut usize| {
            *at += length;
            data[*at - length..*at].to_vec()
        };
        match major {
            0 => Self::Uint(argument),
            2 => Self::Bytes(bytes(at)),
            3 => Self::Text(String::from_utf8(bytes(at)).expect("UTF-8")),
            4 => Self::Array((0..length).map(|_| Self::read_at(data, at)).collect()),
            5 => {
                let entry = |at: &mut usize| match (Self::read_at(data, at), Self::read_at(data, at)) {
                    (Self::Text(key), item) => (key, item),
                    (other, _) => panic!("{other:?} is no key"),
                };
                Self::Map((0..length).map(|_| entry(at)).collect())
            }
            _ => match argument {
                20 | 21 => Self::Bool(argument == 21),
                _ => Self::Null,
            },
        }
    }

    pub fn write(&self) -> Vec<u8> {
        match self {
            Self::Null => vec![0xf6],
            Self::Bool(true) => vec![0xf5],
            Self::Bool(false) => vec![0xf4],
            Self::Uint(number) => head(0, *number),
            Self::Text(text) => [head(3, text.len() as u64), text.as_bytes().to_vec()].concat(),
            Self::Bytes(bytes) => [head(2, bytes.len() as u64), bytes.clone()].concat(),
            Self::Array(items) => {
                let items: Vec<u8> = items.iter().flat_map(Self::write).collect();
                [head(4, self.len()), items].concat()
            }
            Self::Map(entries) => {
                let entries: Vec<u8> = entries
                    .iter()
                    .flat_map(|(key, item)| [Self::Text(key.clone()).write(), item.write()].concat())
                    .collect();
                [head(5, self.len()), entries].concat()
            }
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Array(items) => items.len() as u64,
            Self::Map(entries) => entries.len() as u64,
            _ => 0,
        }
    }

    pub fn get(&mut self, key: &str) -> &mut Self {
        match self {
            Self::Map(entries) => &mut entries.iter_mut().find(|(other, _)| other == key).expect(key).1,
            other => panic!("{other:?} has no {key}"),
        }
    }

    /// The item that names this state in an event: in full, or by its digest.
    pub fn state(state: Option<&[u8]>) -> Self {
        match state {
            None => Self::Null,
            Some(bytes) if bytes.len() <= 4096 => Self::Bytes(bytes.to_vec()),
            Some(bytes) => Self::Map(vec![
                ("len".into(), Self::Uint(bytes.len() as u64)),
                ("sha1".into(), Self::Bytes(sha1(bytes).to_vec())),
            ]),
        }
    }
}

fn head(major: u8, argument: u64) -> Vec<u8> {
    let bytes = argument.to_be_bytes();
    match argument {
        0..24 => vec![major << 5 | argument as u8],
        24..0x100 => vec![major << 5 | 24, bytes[7]],
        0x100..0x1_0000 => [&[major << 5 | 25], &bytes[6..]].concat(),
        0x1_0000..0x1_0000_0000 => [&[major << 5 | 26], &bytes[4..]].concat(),
        _ => [&[major << 5 | 27], &bytes[..]].concat(),
    }
}

#[derive(Clone, Debug)]
pub struct Event {
    pub event_type: String,
    /// The data; `None` if it was dropped.
    pub data: Option<Vec<u8>>,
    /// The salt of an event of version 3 whose data is there.
    pub salt: Option<[u8; 16]>,
    /// Length and digest of data that was dropped: a SHA-1 in version 1, a SHA-256 in version 3.
    pub dropped: (u64, Vec<u8>),
    pub timestamp: u64,
    pub hash: [u8; 20],
}

impl Event {
    /// An event of version 3.
    pub fn new(event_type: &str, data: Vec<u8>) -> Self {
        let (event_type, data, salt) = (event_type.into(), Some(data), Some([7; 16]));
        Self { event_type, data, salt, dropped: (0, Vec::new()), timestamp: 1_700_000_000_000, hash: [0; 20] }
    }

    pub fn is_salted(&self) -> bool {
        self.salt.is_some() || self.dropped.1.len() == 32
    }

    pub fn kind(&self) -> &str {
        self.event_type.split(' ').next().expect("a word")
    }

    pub fn item(&self) -> Item {
        Item::read(self.data.as_deref().expect("its data is there"))
    }

    pub fn edit(&mut self, change: impl FnOnce(&mut Item)) {
        let mut item = self.item();
        change(&mut item);
        self.data = Some(item.write());
    }

    /// Drops the data, as a prune or a redaction does.
    pub fn drop_data(&mut self) {
        self.dropped = self.digest();
        (self.data, self.salt) = (None, None);
    }

    /// Length and digest of the data.
    pub fn digest(&self) -> (u64, Vec<u8>) {
        let Some(data) = &self.data else { return self.dropped.clone() };
        let digest = match &self.salt {
            Some(salt) => Sha256::new().chain_update(salt).chain_update(data).finalize().to_vec(),
            None => sha1(data).to_vec(),
        };
        (data.len() as u64, digest)
    }

    pub fn hash_behind(&self, sequence: u64, parent: Option<[u8; 20]>) -> [u8; 20] {
        let mut hasher = Sha1::new();
        hasher.update(if self.is_salted() { b"theater-chain-event-v3\0" } else { b"theater-chain-event-v1\0" });
        hasher.update(sequence.to_be_bytes());
        match parent {
            None => hasher.update([0]),
            Some(parent) => hasher.update([&[1][..], &parent].concat()),
        }
        hasher.update(self.timestamp.to_be_bytes());
        hasher.update((self.event_type.len() as u32).to_be_bytes());
        hasher.update(self.event_type.as_bytes());
        let (length, digest) = self.digest();
        hasher.update(length.to_be_bytes());
        hasher.update(digest);
        hasher.finalize().into()
    }
}

#[derive(Clone)]
pub struct Chain {
    pub actor: String,
    pub component: String,
    /// The lines of components and blobs.
    pub attachments: Vec<String>,
    pub states: Vec<(u64, Option<Vec<u8>>)>,
    pub events: Vec<Event>,
}

impl Chain {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a chain file");
        let mut lines = text.lines();
        let header: Value = serde_json::from_str(lines.next().expect("a header")).expect("JSON");
        let word = |value: &Value| value.as_str().expect("text").to_owned();
        let (attachments, states, events) = (Vec::new(), Vec::new(), Vec::new());
        let (actor, component) = (word(&header["actor"]), word(&header["component"]));
        let mut chain = Self { actor, component, attachments, states, events };
        let bytes = |value: &Value| BASE64.decode(value.as_str().expect("base64")).expect("base64");
        for line in lines {
            let row: Value = serde_json::from_str(line).expect("JSON");
            if let Some(at) = row["state"].as_u64() {
                chain.states.push((at, row["data"].is_string().then(|| bytes(&row["data"]))));
            } else if row["sequence"].is_null() {
                chain.attachments.push(line.to_owned());
            } else {
                let hash = |key: &str| hex::decode(word(&row[key])).expect("hex").try_into().expect("20 bytes");
                let digest = ["data_sha1", "data_sha256"].into_iter().find_map(|key| row[key].as_str());
                let digest = digest.map(|digest| hex::decode(digest).expect("hex"));
                let dropped = row["data_length"].as_u64().map(|length| (length, digest.expect("a digest")));
                let salt = |salt: &str| hex::decode(salt).expect("hex").try_into().expect("16 bytes");
                chain.events.push(Event {
                    event_type: word(&row["event_type"]),
                    data: dropped.is_none().then(|| bytes(&row["data"])),
                    salt: row["salt"].as_str().map(salt),
                    dropped: dropped.unwrap_or_default(),
                    timestamp: row["timestamp"].as_u64().expect("a number"),
                    hash: hash("hash"),
                });
            }
        }
        chain
    }

    /// Writes the file, with every hash computed again.
    pub fn seal(&mut self) {
        let mut parent = None;
        for (sequence, event) in self.events.iter_mut().enumerate() {
            event.hash = event.hash_behind(sequence as u64, parent);
            parent = Some(event.hash);
        }
    }

    pub fn lines(&self) -> Vec<String> {
        let has = |what: fn(&Event) -> bool| self.events.iter().any(what);
        let version = match (has(Event::is_salted), has(|event| event.data.is_none())) {
            (true, _) => 3,
            (false, true) => 2,
            (false, false) => 1,
        };
        let (actor, component) = (&self.actor, &self.component);
        let (attachments, events) = (self.attachments.len() + self.states.len(), self.events.len());
        let head = hex::encode(self.events.last().expect("an event").hash);
        let mut lines = vec![format!(
            "{{\"format\":\"theater-chain\",\"version\":{version},\"actor\":\"{actor}\",\"component\":\"{component}\",\
             \"attachments\":{attachments},\"events\":{events},\"head\":\"{head}\"}}"
        )];
        lines.extend(self.attachments.iter().cloned());
        lines.extend(self.states.iter().map(|(at, state)| {
            let data = state.as_ref().map_or("null".into(), |bytes| format!("\"{}\"", BASE64.encode(bytes)));
            format!("{{\"state\":{at},\"data\":{data}}}")
        }));
        let mut parent = "null".to_owned();
        for (sequence, event) in self.events.iter().enumerate() {
            let Event { event_type, timestamp, .. } = event;
            let hash = hex::encode(event.hash);
            let data = match &event.data {
                Some(data) => {
                    let salt = event.salt.map(|salt| format!("\"salt\":\"{}\",", hex::encode(salt)));
                    format!("{}\"data\":\"{}\"", salt.unwrap_or_default(), BASE64.encode(data))
                }
                None => {
                    let (length, digest) = &event.dropped;
                    let key = if event.is_salted() { "data_sha256" } else { "data_sha1" };
                    format!("\"data_length\":{length},\"{key}\":\"{}\"", hex::encode(digest))
                }
            };
            lines.push(format!(
                "{{\"sequence\":{sequence},\"hash\":\"{hash}\",\"parent_hash\":{parent},\"event_type\":\"{event_type}\",\
                 {data},\"timestamp\":{timestamp}}}"
            ));
            parent = format!("\"{hash}\"");
        }
        lines
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.lines().join("\n") + "\n").expect("written");
    }

    /// The sequences of the events of a kind.
    pub fn of_kind(&self, kind: &str) -> Vec<usize> {
        (0..self.events.len()).filter(|at| self.events[*at].kind() == kind).collect()
    }
}
