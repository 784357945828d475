//! An event, which is one link of a hash chain, and the kinds of events.

use std::borrow::Cow;
use std::fmt;

use super::hash::{EventHash, lower_hex};
use super::salt::Salt;

/// One event of an actor's chain. Its hash covers all its other fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChainEvent {
    /// Position in the chain, from 0.
    pub sequence: u64,
    /// SHA-1 over the fields below, as `docs/chain-format.md` specifies.
    pub hash: EventHash,
    /// The hash of the event before it; none at sequence 0.
    pub parent_hash: Option<EventHash>,
    /// The kind, and for boundary kinds also the function: see [`EventType`].
    pub event_type: Cow<'static, str>,
    /// Deterministic CBOR: a map with text keys. Empty if the data was dropped.
    pub data: Vec<u8>,
    /// The salt of an event of version 3 whose data is there. It is dropped with the data.
    pub salt: Option<Salt>,
    /// Length and digest of the data, if the data was dropped: enough to compute the hash.
    pub dropped: Option<DroppedData>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: u64,
}

/// What remains of an event's data after it was dropped (to save room, or so that nobody can read it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DroppedData {
    /// The length of the data in bytes.
    pub length: u64,
    /// The digest of the data.
    pub digest: DataDigest,
}

impl DroppedData {
    /// What remains of an event's data when it is dropped, or has remained of it.
    pub fn of(event: &ChainEvent) -> Self {
        let there = || Self { length: event.data.len() as u64, digest: DataDigest::of(&event.data, event.salt) };
        event.dropped.unwrap_or_else(there)
    }

    /// The same of data that stands behind its salt, if it has one.
    pub(crate) fn of_salted(is_salted: bool, stored: &[u8]) -> Self {
        let length = stored.len() as u64;
        match is_salted {
            false => Self { length, digest: DataDigest::of(stored, None) },
            true => Self { length: length.saturating_sub(16), digest: DataDigest::of_both(stored) },
        }
    }
}

/// The digest of an event's data. The event's hash covers the digest in place of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataDigest {
    /// Version 1: the SHA-1 of the data. Data of few possible values can be found again from it.
    Plain([u8; 20]),
    /// Version 3: the SHA-256 of the salt and the data. Once the salt is dropped, it says nothing about the data.
    Salted([u8; 32]),
}

impl DataDigest {
    /// The digest that 40 or 64 lower-case hexadecimal digits stand for; none for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        lower_hex(text).map(Self::Plain).or_else(|| lower_hex(text).map(Self::Salted))
    }
}

impl fmt::Display for DataDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(sha1) => f.write_str(&hex::encode(sha1)),
            Self::Salted(sha256) => f.write_str(&hex::encode(sha256)),
        }
    }
}

impl ChainEvent {
    /// The kind of this event, or `None` if its type is not one of the specified kinds.
    pub fn kind(&self) -> Option<EventKind> {
        EventType::parse(&self.event_type).map(|event_type| event_type.kind)
    }

    /// Whether this is an event of version 3: its data is, or was, hashed behind a salt.
    pub fn is_salted(&self) -> bool {
        match self.dropped {
            Some(dropped) => matches!(dropped.digest, DataDigest::Salted(_)),
            None => self.salt.is_some(),
        }
    }

    /// The function of a boundary event; empty for other events.
    pub(crate) fn function(&self) -> &str {
        self.event_type.split_once(' ').map_or("", |(_, function)| function)
    }
}

/// The kinds of events. There are no other kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// An incarnation begins.
    Started,
    /// The guest is about to run an exported function.
    Call,
    /// A host call with an effect that others can see is about to be made.
    Intent,
    /// A host call was answered.
    HostCall,
    /// The exported function returned, with a new state.
    Return,
    /// The exported function returned an error; the state stays as it was.
    Refused,
    /// The incarnation ended because the actor failed.
    Failed,
    /// The incarnation ended because someone stopped the actor.
    Stopped,
}

impl EventKind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Started,
        Self::Call,
        Self::Intent,
        Self::HostCall,
        Self::Return,
        Self::Refused,
        Self::Failed,
        Self::Stopped,
    ];

    /// The first word of event types of this kind.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Call => "call",
            Self::Intent => "intent",
            Self::HostCall => "host-call",
            Self::Return => "return",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "started" => Self::Started,
            "call" => Self::Call,
            "intent" => Self::Intent,
            "host-call" => Self::HostCall,
            "return" => Self::Return,
            "refused" => Self::Refused,
            "failed" => Self::Failed,
            "stopped" => Self::Stopped,
            _ => return None,
        })
    }

    /// Whether a function name follows the word.
    const fn names_a_function(self) -> bool {
        match self {
            Self::Call | Self::Intent | Self::HostCall | Self::Return | Self::Refused => true,
            Self::Started | Self::Failed | Self::Stopped => false,
        }
    }
}

/// An event type split into its parts: `call ntwk:theater/actor.init` is a [`EventKind::Call`] of
/// `ntwk:theater/actor.init`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType<'a> {
    /// The kind.
    pub kind: EventKind,
    /// The function of a boundary kind, as `package/interface.function`.
    pub function: Option<&'a str>,
}

impl<'a> EventType<'a> {
    /// Parses the text form; `None` for anything that is not one of the specified kinds.
    pub fn parse(text: &'a str) -> Option<Self> {
        // A word is short, and this is asked of every event, several times.
        let (word, function) = match text.bytes().position(|byte| byte == b' ') {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let kind = EventKind::of(word)?;
        let fits = match function {
            Some(function) => kind.names_a_function() && is_function_name(function),
            None => !kind.names_a_function(),
        };
        fits.then_some(Self { kind, function })
    }
}

/// Whether a text may be a function name: printable ASCII that JSON writes without escaping (no space, quote or
/// backslash).
fn is_function_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() & (byte != b'"') & (byte != b'\\');
    // Without a branch for each byte, for the same reason.
    !text.is_empty() & text.bytes().fold(true, |all_fit, byte| all_fit & fits(byte))
}

impl fmt::Display for EventType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.function {
            Some(function) => write!(f, "{} {function}", self.kind.word()),
            None => f.write_str(self.kind.word()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_type_is_a_kind_and_for_boundary_kinds_a_function() {
        let call = EventType::parse("call ntwk:theater/actor.init").expect("a call");
        assert_eq!((call.kind, call.function), (EventKind::Call, Some("ntwk:theater/actor.init")));
        assert_eq!(call.to_string(), "call ntwk:theater/actor.init");
        for kind in EventKind::ALL {
            assert_eq!(EventKind::of(kind.word()), Some(kind));
        }
        for wrong in
            ["", "call", "call ", "started x", "call a b", "Call x", "calls x", "paused", "call a\"b", "call ä"]
        {
            assert_eq!(EventType::parse(wrong), None, "{wrong:?}");
        }
    }
}
