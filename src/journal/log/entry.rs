//! One record of the log: what it says for good, and the bytes that may be dropped.
//!
//! ```text
//!   kind (1) · length of the essence · essence · length of the payload, twice, and 1 if it was dropped · payload
//! ```
//!
//! The rolling digest covers kind and essence. It does not cover the payload: that may be dropped, and what remains then
//! is its length and its digest. The essence of an event holds the event's hash, which covers the payload; those of the
//! other kinds hold the payload's SHA-1.

use super::bytes::{Bytes, Malformed, put_number, put_text};

/// The bytes of a record that may be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) enum Payload<'a> {
    Kept(&'a [u8]),
    /// The length of the data, and what vouches for it.
    Dropped {
        length: u64,
        digest: &'a [u8],
    },
}

impl Payload<'_> {
    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }
}

/// What begins with an event: the actor's row of this incarnation, as far as the event's data does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::journal) struct BeginsEntry<'a> {
    pub(in crate::journal) id: [u8; 16],
    pub(in crate::journal) attempts: u64,
    pub(in crate::journal) manifest_path: &'a str,
}

/// A delivery that an event promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::journal) struct OwesEntry<'a> {
    pub(in crate::journal) receiver: [u8; 16],
    /// Empty for a message.
    pub(in crate::journal) notice: &'a str,
}

/// One event of a chain, and what is written with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) struct EventEntry<'a> {
    pub(in crate::journal) actor: u64,
    pub(in crate::journal) sequence: u64,
    /// How many positions before it the preceding event of its chain stands; 0 for the first.
    pub(in crate::journal) back: u64,
    pub(in crate::journal) timestamp: u64,
    pub(in crate::journal) event_type: &'a str,
    pub(in crate::journal) hash: [u8; 20],
    /// The event names the state that the actor has from here on.
    pub(in crate::journal) names_state: bool,
    /// A replay can begin behind it, and it holds the state itself.
    pub(in crate::journal) keeps: bool,
    /// The actor ends with it, and is not to be resumed.
    pub(in crate::journal) ends: bool,
    /// The data begins with 16 bytes of salt, which are dropped with it.
    pub(in crate::journal) is_salted: bool,
    pub(in crate::journal) begins: Option<BeginsEntry<'a>>,
    pub(in crate::journal) owes: Option<OwesEntry<'a>>,
    /// The digest of the idempotency key of a call.
    pub(in crate::journal) key: Option<[u8; 16]>,
    /// The deliveries that it settles: the actor and the sequence of the event that promised each.
    pub(in crate::journal) settles: Vec<([u8; 16], u64)>,
    pub(in crate::journal) data: Payload<'a>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) enum Entry<'a> {
    Event(EventEntry<'a>),
    /// From here on, in this segment, `code` stands for the type `text`.
    Name {
        code: u64,
        text: &'a str,
    },
    /// A large part of events of this segment, or a state that a `started` names (`is_state`).
    Blob {
        name: [u8; 20],
        is_state: bool,
        bytes: Payload<'a>,
    },
    /// The state behind an event of a chain; without bytes for no state.
    State {
        actor: u64,
        sequence: u64,
        name: Option<[u8; 20]>,
        /// The payload begins with 16 bytes of salt.
        is_salted: bool,
        state: Payload<'a>,
    },
    /// The actor has ended and is not to be resumed.
    Ended(u64),
    /// The transition that the actor resumed was still open at an orderly end.
    Survived(u64),
    /// The actor is listed no longer.
    Forgotten(u64),
    /// From here on an operator has the actor paused, or not.
    Paused {
        actor: u64,
        is_paused: bool,
    },
    /// A row of an actor's table: what event `written` of a transition that closed with event `closed` has written.
    Row {
        actor: u64,
        written: u64,
        closed: u64,
        /// Of the event that wrote it.
        hash: [u8; 20],
        /// The SHA-1 of the payload: a salt of 16 bytes, and then key and value.
        name: [u8; 20],
        row: Payload<'a>,
    },
    /// Data of an actor's events is about to be dropped, from one sequence to before another, and so are the states stored
    /// behind them. The last whose data goes is `last`.
    Dropped {
        actor: u64,
        from: u64,
        upto: u64,
        last: u64,
    },
}

const EVENT: u8 = 1;
const NAME: u8 = 2;
const BLOB: u8 = 3;
const STATE: u8 = 4;
const ENDED: u8 = 5;
const SURVIVED: u8 = 6;
const FORGOTTEN: u8 = 7;
const DROPPED: u8 = 8;
const ROW: u8 = 9;
const PAUSED: u8 = 10;

const NAMES_STATE: u64 = 1;
const KEEPS: u64 = 2;
const ENDS: u64 = 4;
const BEGINS: u64 = 8;
const OWES: u64 = 16;
const SETTLES: u64 = 32;
const SALTED: u64 = 64;
const KEYED: u64 = 128;

impl Entry<'_> {
    /// Writes kind and essence; `code` stands for the event's type. The essence is put together in `room`.
    pub(super) fn put_essence(&self, to: &mut Vec<u8>, room: &mut Vec<u8>, code: u64) {
        room.clear();
        let kind = match self {
            Self::Event(event) => {
                put_event(room, event, code);
                EVENT
            }
            Self::Name { code, text } => {
                put_number(room, *code);
                room.extend_from_slice(text.as_bytes());
                NAME
            }
            Self::Blob { name, is_state, .. } => {
                room.extend_from_slice(name);
                room.push(u8::from(*is_state));
                BLOB
            }
            Self::State { actor, sequence, name, is_salted, .. } => {
                put_number(room, *actor);
                put_number(room, *sequence);
                if let Some(name) = name {
                    room.extend_from_slice(name);
                    room.extend(is_salted.then_some(1));
                }
                STATE
            }
            Self::Ended(actor) => put_actor(room, *actor, ENDED),
            Self::Survived(actor) => put_actor(room, *actor, SURVIVED),
            Self::Forgotten(actor) => put_actor(room, *actor, FORGOTTEN),
            Self::Paused { actor, is_paused } => {
                put_number(room, *actor);
                room.push(u8::from(*is_paused));
                PAUSED
            }
            Self::Row { actor, written, closed, hash, name, .. } => {
                [actor, written, closed].into_iter().for_each(|number| put_number(room, *number));
                room.extend_from_slice(hash);
                room.extend_from_slice(name);
                ROW
            }
            Self::Dropped { actor, from, upto, last } => {
                [actor, from, upto, last].into_iter().for_each(|number| put_number(room, *number));
                DROPPED
            }
        };
        to.push(kind);
        put_number(to, room.len() as u64);
        to.extend_from_slice(room);
    }

    pub(in crate::journal) fn payload(&self) -> Payload<'_> {
        match self {
            Self::Event(EventEntry { data: payload, .. })
            | Self::Blob { bytes: payload, .. }
            | Self::State { state: payload, .. }
            | Self::Row { row: payload, .. } => payload.clone(),
            Self::Name { .. }
            | Self::Ended(_)
            | Self::Survived(_)
            | Self::Forgotten(_)
            | Self::Paused { .. }
            | Self::Dropped { .. } => Payload::Kept(&[]),
        }
    }
}

/// Writes the payload, which stands behind the essence.
pub(super) fn put_payload(payload: &Payload<'_>, to: &mut Vec<u8>) {
    match payload {
        Payload::Kept(bytes) => {
            put_number(to, (bytes.len() as u64) << 1);
            to.extend_from_slice(bytes);
        }
        Payload::Dropped { length, digest } => {
            put_number(to, length << 1 | 1);
            to.push(u8::try_from(digest.len()).expect("a digest is short"));
            to.extend_from_slice(digest);
        }
    }
}

fn put_actor(to: &mut Vec<u8>, actor: u64, kind: u8) -> u8 {
    put_number(to, actor);
    kind
}

fn put_event(to: &mut Vec<u8>, event: &EventEntry<'_>, code: u64) {
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    let flags = flag(event.names_state, NAMES_STATE)
        | flag(event.keeps, KEEPS)
        | flag(event.ends, ENDS)
        | flag(event.begins.is_some(), BEGINS)
        | flag(event.owes.is_some(), OWES)
        | flag(!event.settles.is_empty(), SETTLES)
        | flag(event.is_salted, SALTED)
        | flag(event.key.is_some(), KEYED);
    for number in [event.actor, event.sequence, event.back, event.timestamp, code, flags] {
        put_number(to, number);
    }
    to.extend_from_slice(&event.hash);
    if let Some(begins) = &event.begins {
        to.extend_from_slice(&begins.id);
        put_number(to, begins.attempts);
        put_text(to, begins.manifest_path);
    }
    if let Some(owes) = &event.owes {
        to.extend_from_slice(&owes.receiver);
        put_text(to, owes.notice);
    }
    if !event.settles.is_empty() {
        put_number(to, event.settles.len() as u64);
        for (actor, sequence) in &event.settles {
            to.extend_from_slice(actor);
            put_number(to, *sequence);
        }
    }
    to.extend_from_slice(event.key.as_ref().map_or(&[], |key| &key[..]));
}

/// A record as it lies in a file, not yet understood.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawEntry<'a> {
    kind: u8,
    essence: &'a [u8],
    payload: RawPayload<'a>,
    /// Kind, length of the essence, and essence: what the digest covers.
    pub(super) covered: &'a [u8],
    /// All of its bytes.
    pub(super) length: usize,
}

#[derive(Clone, Copy, Debug)]
enum RawPayload<'a> {
    Kept(&'a [u8]),
    Dropped(u64, &'a [u8]),
}

impl<'a> RawEntry<'a> {
    /// The record at the front of `bytes`.
    pub(super) fn first(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut read = Bytes { rest: bytes };
        let kind = read.byte()?;
        let length = read.length()?;
        let essence = read.take(length)?;
        let covered = &bytes[..bytes.len() - read.rest.len()];
        let length = read.number()?;
        let payload = if length & 1 == 1 {
            let digest = read.byte()?;
            RawPayload::Dropped(length >> 1, read.take(digest.into())?)
        } else {
            let length = usize::try_from(length >> 1).map_err(|_| Malformed("a payload is too long"))?;
            RawPayload::Kept(read.take(length)?)
        };
        Ok(Self { kind, essence, payload, covered, length: bytes.len() - read.rest.len() })
    }

    pub(super) fn is_event(&self) -> bool {
        self.kind == EVENT
    }

    /// Code and text, where the record names a type.
    pub(super) fn name_of_type(&self) -> Result<Option<(u64, &'a str)>, Malformed> {
        if self.kind != NAME {
            return Ok(None);
        }
        let mut read = Bytes { rest: self.essence };
        let code = read.number()?;
        let text = std::str::from_utf8(read.rest).map_err(|_| Malformed("the name of a type is not UTF-8"))?;
        Ok(Some((code, text)))
    }

    /// What the record says. `names` are the texts of types in the order of their codes, as far as they are known.
    pub(super) fn understand(&self, names: &'a [String]) -> Result<Entry<'a>, Malformed> {
        let mut read = Bytes { rest: self.essence };
        let payload = match self.payload {
            RawPayload::Kept(bytes) => Payload::Kept(bytes),
            RawPayload::Dropped(length, digest) => Payload::Dropped { length, digest },
        };
        let has_payload = payload != Payload::Kept(&[]);
        let entry = match self.kind {
            EVENT => Entry::Event(read_event(&mut read, payload, names)?),
            NAME => {
                let (code, text) = self.name_of_type()?.expect("it is of that kind");
                read.rest = &[];
                Entry::Name { code, text }
            }
            BLOB => Entry::Blob { name: read.array()?, is_state: read.flag()?, bytes: payload },
            STATE => {
                let (actor, sequence) = (read.number()?, read.number()?);
                let name = if read.rest.is_empty() { None } else { Some(read.array()?) };
                let is_salted = !read.rest.is_empty();
                if is_salted && !read.flag()? {
                    return Err(Malformed("a state without a salt says so"));
                }
                Entry::State { actor, sequence, name, is_salted, state: payload }
            }
            ENDED => Entry::Ended(read.number()?),
            SURVIVED => Entry::Survived(read.number()?),
            FORGOTTEN => Entry::Forgotten(read.number()?),
            PAUSED => Entry::Paused { actor: read.number()?, is_paused: read.flag()? },
            ROW => Entry::Row {
                actor: read.number()?,
                written: read.number()?,
                closed: read.number()?,
                hash: read.array()?,
                name: read.array()?,
                row: payload,
            },
            DROPPED => Entry::Dropped {
                actor: read.number()?,
                from: read.number()?,
                upto: read.number()?,
                last: read.number()?,
            },
            _ => return Err(Malformed("a record is of no known kind")),
        };
        if has_payload && matches!(self.kind, NAME | ENDED | SURVIVED | FORGOTTEN | PAUSED | DROPPED) {
            return Err(Malformed("a record has a payload, and its kind has none"));
        }
        if read.rest.is_empty() { Ok(entry) } else { Err(Malformed("a record says more than its kind has")) }
    }
}

fn read_event<'a>(read: &mut Bytes<'a>, data: Payload<'a>, names: &'a [String]) -> Result<EventEntry<'a>, Malformed> {
    let (actor, sequence, back, timestamp) = (read.number()?, read.number()?, read.number()?, read.number()?);
    let name = usize::try_from(read.number()?).ok().and_then(|code| names.get(code));
    let event_type = name.ok_or(Malformed("the type of an event has no name"))?;
    let flags = read.number()?;
    if flags >= KEYED << 1 {
        return Err(Malformed("an event has a flag of no known meaning"));
    }
    let has = |flag| flags & flag != 0;
    let hash = read.array()?;
    let begins = if has(BEGINS) {
        Some(BeginsEntry { id: read.array()?, attempts: read.number()?, manifest_path: read.text()? })
    } else {
        None
    };
    let owes = if has(OWES) { Some(OwesEntry { receiver: read.array()?, notice: read.text()? }) } else { None };
    let mut settles = Vec::new();
    if has(SETTLES) {
        for _ in 0..read.number()? {
            settles.push((read.array()?, read.number()?));
        }
    }
    let key = if has(KEYED) { Some(read.array()?) } else { None };
    let (names_state, keeps, ends, is_salted) = (has(NAMES_STATE), has(KEEPS), has(ENDS), has(SALTED));
    Ok(EventEntry {
        actor,
        sequence,
        back,
        timestamp,
        event_type,
        hash,
        names_state,
        keeps,
        ends,
        is_salted,
        begins,
        owes,
        settles,
        key,
        data,
    })
}
