//! Events and actors as the management protocol shows them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::base::limits::PUSHED_DATA_BYTES;
use crate::chain::{ChainEvent, DataDigest, DroppedData, Salt};
use crate::system::{ActorInfo, ActorStatus, Restarts};
use crate::theater::DeadLetter;

/// A longer message of a dead letter is not shown; the event that sent it has it.
const SHOWN_MESSAGE_BYTES: usize = 4 * 1024;

/// A dead letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DeadLetterView {
    /// By which it is sent again.
    pub(crate) letter: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) sent_ms: Option<u64>,
    pub(crate) dropped_ms: u64,
    pub(crate) why: String,
    /// How long the message is; null if it was dropped by a prune or a redaction.
    pub(crate) bytes: Option<u64>,
    /// The message in base64, if it has at most 4 KiB.
    pub(crate) message: Option<String>,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        let DeadLetter { id, to, sent_ms, dropped_ms, why, message, .. } = letter;
        Self {
            letter: id.to_string(),
            from: id.sender.to_string(),
            to: to.to_string(),
            sent_ms,
            dropped_ms,
            why,
            bytes: message.as_ref().map(|message| message.len() as u64),
            message: message
                .filter(|message| message.len() <= SHOWN_MESSAGE_BYTES)
                .map(|message| BASE64.encode(message)),
        }
    }
}

/// An event in the shape that existing clients know: its bytes are arrays of numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PushedEvent {
    pub(crate) hash: Vec<u8>,
    pub(crate) parent_hash: Option<Vec<u8>>,
    pub(crate) event_type: String,
    pub(crate) data: Vec<u8>,
    pub(crate) timestamp: u64,
    pub(crate) sequence: u64,
    /// The true length of `data`, which is cut at 1 MiB.
    pub(crate) data_length: u64,
    /// The salt of the data, if the event is of version 3 of the chain format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) salt: Option<Vec<u8>>,
}

impl From<ChainEvent> for PushedEvent {
    fn from(event: ChainEvent) -> Self {
        let data_length = event.dropped.map_or(event.data.len() as u64, |dropped| dropped.length);
        let mut data = event.data;
        data.truncate(PUSHED_DATA_BYTES);
        Self {
            hash: event.hash.0.to_vec(),
            parent_hash: event.parent_hash.map(|hash| hash.0.to_vec()),
            event_type: event.event_type.into_owned(),
            data,
            timestamp: event.timestamp,
            sequence: event.sequence,
            data_length,
            salt: event.salt.map(|salt| salt.0.to_vec()),
        }
    }
}

impl PushedEvent {
    /// The event again, with its data cut as it was pushed; or why the view is wrong.
    pub(crate) fn into_event(self) -> Result<ChainEvent, String> {
        let hash = |bytes: Vec<u8>| {
            <[u8; 20]>::try_from(bytes).map(crate::chain::EventHash).map_err(|_| "a hash of another length".to_owned())
        };
        let salt =
            |bytes: Vec<u8>| <[u8; 16]>::try_from(bytes).map(Salt).map_err(|_| "a salt of another length".to_owned());
        Ok(ChainEvent {
            sequence: self.sequence,
            hash: hash(self.hash)?,
            parent_hash: self.parent_hash.map(hash).transpose()?,
            event_type: self.event_type.into(),
            data: self.data,
            salt: self.salt.map(salt).transpose()?,
            dropped: None,
            timestamp: self.timestamp,
        })
    }
}

/// An event in a page: hashes in hex, data in base64.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EventView {
    pub(crate) sequence: u64,
    pub(crate) hash: String,
    pub(crate) parent_hash: Option<String>,
    pub(crate) event_type: String,
    /// Null if it is too long for a frame; then `GetEventData` gives it.
    pub(crate) data: Option<String>,
    pub(crate) timestamp: u64,
    /// The salt of the data in hex, if the event is of version 3 of the chain format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) salt: Option<String>,
    /// If the data was dropped: its length, and its digest in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dropped: Option<(u64, String)>,
}

/// Data with more bytes than this is not put into a page.
const PAGED_DATA_BYTES: usize = 4 * 1024 * 1024;

impl From<ChainEvent> for EventView {
    fn from(event: ChainEvent) -> Self {
        Self {
            sequence: event.sequence,
            hash: event.hash.to_string(),
            parent_hash: event.parent_hash.map(|hash| hash.to_string()),
            event_type: event.event_type.into_owned(),
            data: (event.data.len() <= PAGED_DATA_BYTES).then(|| BASE64.encode(event.data)),
            timestamp: event.timestamp,
            salt: event.salt.map(|salt| salt.to_string()),
            dropped: event.dropped.map(|dropped| (dropped.length, dropped.digest.to_string())),
        }
    }
}

impl EventView {
    /// The event again, or why the view is wrong.
    ///
    /// `fetch` gets the data of the event with this sequence, if that was too long for the page.
    pub(crate) fn into_event(self, fetch: impl FnOnce(u64) -> Result<Vec<u8>, String>) -> Result<ChainEvent, String> {
        let hash = |text: &str| crate::chain::EventHash::parse(text).ok_or_else(|| format!("not a hash: {text}"));
        Ok(ChainEvent {
            sequence: self.sequence,
            hash: hash(&self.hash)?,
            parent_hash: self.parent_hash.as_deref().map(hash).transpose()?,
            event_type: self.event_type.into(),
            data: match self.data {
                Some(data) => BASE64.decode(data).map_err(|error| format!("data is not base64: {error}"))?,
                None => fetch(self.sequence)?,
            },
            salt: self.salt.map(|text| Salt::parse(&text).ok_or(format!("not a salt: {text}"))).transpose()?,
            dropped: match self.dropped {
                Some((length, text)) => {
                    let digest = DataDigest::parse(&text).ok_or(format!("not a digest: {text}"))?;
                    Some(DroppedData { length, digest })
                }
                None => None,
            },
            timestamp: self.timestamp,
        })
    }
}

/// One actor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ActorView {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The name that its parent has given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// The name of its root and the labels down to it, if each actor on the way has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    pub(crate) parent: Option<String>,
    pub(crate) status: String,
    /// Whether it is running and sleeps: it has no thread until something is there for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) asleep: bool,
    /// Whether an operator has paused it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) paused: bool,
    /// Why it failed, if it has failed.
    pub(crate) failure: Option<String>,
    pub(crate) incarnation: u64,
    pub(crate) mailbox_depth: u64,
    pub(crate) addresses: Vec<String>,
    /// The same with the protocol of each address.
    #[serde(default)]
    pub(crate) urls: Vec<String>,
    pub(crate) manifest: String,
    /// When this incarnation began, in milliseconds since the Unix epoch.
    pub(crate) since_ms: u64,
    /// For an actor that its policy restarts: how many of the permitted restarts are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restarts: Option<RestartsView>,
    /// Why it is not restarted, if it has failed and is not restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) given_up: Option<String>,
}

/// How many restarts there were within the last `within_ms`. More than `allowed` are too many.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RestartsView {
    pub(crate) used: u64,
    pub(crate) allowed: u32,
    pub(crate) within_ms: u64,
}

impl ActorView {
    /// The path of an actor that has a label, or else its name.
    pub(crate) fn shown_name(&self) -> &str {
        self.path.as_deref().filter(|_| self.label.is_some()).unwrap_or(&self.name)
    }

    /// The status as people read it.
    pub(crate) fn shown_status(&self) -> &str {
        shown_status(&self.status, self.asleep, self.paused)
    }

    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.status.as_str(), "stopped" | "failed")
    }
}

/// The status of an actor as people read it: of one that is paused or sleeps, that it is or does.
pub(crate) fn shown_status(status: &str, asleep: bool, paused: bool) -> &str {
    match status {
        "running" | "suspended" if paused => "paused",
        "running" if asleep => "asleep",
        other => other,
    }
}

impl From<ActorInfo> for ActorView {
    fn from(info: ActorInfo) -> Self {
        let failure = match &info.status {
            ActorStatus::Failed { reason, detail } => Some(format!("{reason}: {detail}")),
            _ => None,
        };
        Self {
            id: info.id.to_string(),
            name: info.name,
            label: info.label,
            path: info.path,
            parent: info.parent.map(|parent| parent.to_string()),
            status: info.status.word().to_owned(),
            asleep: info.asleep,
            paused: info.paused,
            failure,
            incarnation: info.incarnation.0,
            mailbox_depth: info.mailbox_depth,
            addresses: info.addresses.iter().map(|address| address.socket.to_string()).collect(),
            urls: info.addresses.iter().map(ToString::to_string).collect(),
            manifest: info.manifest_path,
            since_ms: info.since_ms,
            restarts: info.restarts.map(|Restarts { used, allowed, within_ms }| RestartsView {
                used,
                allowed,
                within_ms,
            }),
            given_up: info.given_up,
        }
    }
}

/// The status of an actor in the words of the first protocol.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum StatusWord {
    Running,
    Stopped,
    Failed,
}

impl From<&ActorStatus> for StatusWord {
    /// An actor that starts, that ends, or that is between two incarnations counts as running, because it takes or
    /// keeps deliveries.
    fn from(status: &ActorStatus) -> Self {
        match status {
            ActorStatus::Starting | ActorStatus::Running | ActorStatus::Stopping | ActorStatus::Restarting => {
                Self::Running
            }
            ActorStatus::Stopped => Self::Stopped,
            ActorStatus::Failed { .. } => Self::Failed,
        }
    }
}
