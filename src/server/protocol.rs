//! The wire's own types. The first rows of each enum are what existing clients speak; their shapes are fixed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

pub(crate) use super::metrics::{ActorMetricsView, DistributionView, MetricsView, ProcessView, Totals};
use crate::base::limits::PUSHED_DATA_BYTES;
use crate::chain::{ChainEvent, DroppedData};
use crate::system::{ActorInfo, ActorStatus, Restarts};

/// What a client asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(clippy::enum_variant_names, reason = "the wire names them")]
pub(crate) enum Request {
    StartActor {
        manifest: String,
    },
    StopActor {
        id: String,
    },
    ListActors,
    SubscribeToActor {
        id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        /// The kinds of events wanted; all where it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kinds: Option<Vec<String>>,
    },
    UnsubscribeFromActor {
        id: String,
        subscription_id: String,
    },

    Authenticate {
        token: String,
    },
    /// The events of several actors in the order of the journal, from position `from` on.
    Subscribe {
        scope: Scope,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kinds: Option<Vec<String>>,
    },
    Unsubscribe {
        subscription_id: String,
    },

    RestartActor {
        id: String,
    },
    /// Starts a new root from the state at event `at` of an actor.
    ForkActor {
        id: String,
        at: u64,
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manifest: Option<String>,
    },
    ActorTree,
    ActorStatus {
        id: String,
    },
    GetActorState {
        id: String,
    },
    GetActorEvents {
        id: String,
        from: u64,
        limit: u64,
    },
    /// A component by its SHA-256, from byte `offset` on.
    GetComponent {
        digest: String,
        offset: u64,
    },
    /// A large state by its SHA-1, from byte `offset` on.
    GetBlob {
        digest: String,
        offset: u64,
    },
    /// The newest state, from byte `offset` on.
    GetStateBytes {
        id: String,
        offset: u64,
    },
    /// One event's data, from byte `offset` on.
    GetEventData {
        id: String,
        sequence: u64,
        offset: u64,
    },
    /// The first kept state at an event behind `behind`, from byte `offset` on.
    GetKeptState {
        id: String,
        behind: u64,
        offset: u64,
    },
    /// Drops the data of what lies before the last kept state before event `before`.
    PruneActor {
        id: String,
        before: u64,
    },
    /// Drops the data of one event.
    RedactEvent {
        id: String,
        sequence: u64,
    },
    SendMessage {
        id: String,
        message: String,
    },
    RequestMessage {
        id: String,
        message: String,
    },
    /// An actor that has ended is listed no longer; its history stays.
    ForgetActor {
        id: String,
    },
    Metrics,
    Status,
    Shutdown,
}

/// Whose events a [`Request::Subscribe`] is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Scope {
    All,
    /// An actor, and all that are or come below it.
    Tree(String),
}

/// What the server answers, and pushes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Response {
    ActorStarted {
        id: String,
    },
    ActorStopped {
        id: String,
    },
    ActorList {
        actors: Vec<String>,
    },
    Subscribed {
        id: String,
        subscription_id: String,
    },
    ActorEvent {
        id: String,
        event: PushedEvent,
    },
    Unsubscribed {
        id: String,
    },
    Error {
        message: String,
    },

    /// `role` is `read` or `control`.
    Authenticated {
        role: String,
    },
    /// The answer to `Subscribe`: `from` is the first position that will be looked at.
    SubscribedFrom {
        subscription_id: String,
        from: u64,
    },
    /// An event of a `Subscribe`, with its place in the journal.
    Event {
        subscription_id: String,
        position: u64,
        id: String,
        event: EventView,
    },
    UnsubscribedFrom {
        subscription_id: String,
    },
    ActorForgotten {
        id: String,
    },
    ActorRestarted {
        id: String,
    },
    /// `id` is the new actor's.
    ActorForked {
        id: String,
    },
    ActorTree {
        actors: Vec<ActorView>,
    },
    ActorStatus {
        actor: ActorView,
    },
    /// `state` in base64; null where it has none, and where it is too long for a frame (`GetStateBytes` has it then).
    /// `length` is null where it has none.
    ActorState {
        id: String,
        state: Option<String>,
        length: Option<u64>,
    },
    /// `next` is where the next page begins; null where the page is empty.
    ActorEvents {
        id: String,
        events: Vec<EventView>,
        next: Option<u64>,
    },
    /// A stretch of `size` bytes, in base64.
    Bytes {
        digest: String,
        size: u64,
        offset: u64,
        data: String,
    },
    /// `sequence` is null where no state is kept there, `size` where the state is none.
    KeptState {
        id: String,
        sequence: Option<u64>,
        size: Option<u64>,
        offset: u64,
        data: String,
    },
    /// `replays_from` is the event whose kept state a replay can begin with; null where there is none. `gone` is false while
    /// somebody who reads the journal holds what was dropped in its log.
    Forgotten {
        id: String,
        events: u64,
        replays_from: Option<u64>,
        #[serde(default = "yes")]
        gone: bool,
    },
    Sent {
        id: String,
    },
    /// The answer in base64.
    Answer {
        id: String,
        message: String,
    },
    Status {
        version: String,
        data_dir: String,
        actors: u64,
        alive: u64,
        /// All actors together, and the process.
        #[serde(default)]
        total: Box<Totals>,
        #[serde(default)]
        process: ProcessView,
    },
    Metrics(Box<MetricsView>),
    ShuttingDown,
}

/// An event as existing clients know it: bytes as arrays of numbers.
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
        }
    }
}

impl PushedEvent {
    /// The event again, its data cut as it was pushed; or what is wrong with it.
    pub(crate) fn into_event(self) -> Result<ChainEvent, String> {
        let hash = |bytes: Vec<u8>| {
            <[u8; 20]>::try_from(bytes).map(crate::chain::EventHash).map_err(|_| "a hash of another length".to_owned())
        };
        Ok(ChainEvent {
            sequence: self.sequence,
            hash: hash(self.hash)?,
            parent_hash: self.parent_hash.map(hash).transpose()?,
            event_type: self.event_type.into(),
            data: self.data,
            dropped: None,
            timestamp: self.timestamp,
        })
    }
}

/// What a server meant that did not say it.
const fn yes() -> bool {
    true
}

/// An event in a page: hashes in hex, data in base64.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct EventView {
    pub(crate) sequence: u64,
    pub(crate) hash: String,
    pub(crate) parent_hash: Option<String>,
    pub(crate) event_type: String,
    /// Null where it is too long for a frame; `GetEventData` has it then.
    pub(crate) data: Option<String>,
    pub(crate) timestamp: u64,
    /// Where the data was dropped: its length and its SHA-1 in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dropped: Option<(u64, String)>,
}

/// Data beyond this is not put into a page.
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
            dropped: event.dropped.map(|dropped| (dropped.length, hex::encode(dropped.sha1))),
        }
    }
}

impl EventView {
    /// The event again, or what is wrong with the view of it.
    ///
    /// `fetch` gets data that was too long for the page.
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
            dropped: match self.dropped {
                Some((length, sha1)) => Some(DroppedData { length, sha1: hash(&sha1)?.0 }),
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
    pub(crate) parent: Option<String>,
    pub(crate) status: String,
    /// Why it failed, where it did.
    pub(crate) failure: Option<String>,
    pub(crate) incarnation: u64,
    pub(crate) mailbox_depth: u64,
    pub(crate) addresses: Vec<String>,
    /// The same with what is spoken there.
    #[serde(default)]
    pub(crate) urls: Vec<String>,
    pub(crate) manifest: String,
    /// When this incarnation began, in milliseconds since the Unix epoch.
    pub(crate) since_ms: u64,
    /// Of one that its policy restarts: how much of the limit is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restarts: Option<RestartsView>,
    /// Why it is not restarted, where it failed and is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) given_up: Option<String>,
}

/// Restarts within the last `within_ms`; one more than `allowed` is too many.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RestartsView {
    pub(crate) used: u64,
    pub(crate) allowed: u32,
    pub(crate) within_ms: u64,
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
            parent: info.parent.map(|parent| parent.to_string()),
            status: info.status.word().to_owned(),
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
