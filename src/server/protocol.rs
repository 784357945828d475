//! The wire's own types. The first rows of each enum are what existing clients speak; their shapes are fixed.

use serde::{Deserialize, Deserializer, Serialize};

pub(crate) use super::metrics::{
    ActorMetricsView, DistributionView, JournalMetricsView, MetricsView, ProcessView, Totals,
};
pub(crate) use super::views::{ActorView, EventView, PushedEvent, RestartsView, StatusWord};

/// What a client asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(clippy::enum_variant_names, reason = "the wire names them")]
pub(crate) enum Request {
    StartActor {
        manifest: String,
        /// What clients of the first protocol may say; it is refused, so that nobody takes it for heard.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        initial_state: Option<serde_json::Value>,
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

    SendActorMessage {
        id: String,
        data: Vec<u8>,
    },
    RequestActorMessage {
        id: String,
        data: Vec<u8>,
    },
    GetActorStatus {
        id: String,
    },
    GetActorMetrics {
        id: String,
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
    /// A page of what `ActorTree` gives, from the place `from` on.
    GetActors {
        #[serde(default, deserialize_with = "or_left_out")]
        from: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
    /// The actor that a text names: an id, a name, or the beginning of either.
    FindActor {
        text: String,
    },
    ActorStatus {
        id: String,
    },
    GetActorState {
        id: String,
    },
    /// With `from` a page; without, all events in the shape of the first protocol.
    GetActorEvents {
        id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
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
        /// Also what a `get-chain` has shown the actor, and what a replay would have to show it again.
        #[serde(default, deserialize_with = "or_left_out", skip_serializing_if = "std::ops::Not::not")]
        despite_get_chain: bool,
    },
    /// Drops the data of one event.
    RedactEvent {
        id: String,
        sequence: u64,
        #[serde(default, deserialize_with = "or_left_out", skip_serializing_if = "std::ops::Not::not")]
        despite_get_chain: bool,
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
    /// A page of the actors of `Metrics`, from the place `from` on.
    GetMetrics {
        #[serde(default, deserialize_with = "or_left_out")]
        from: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
    Status,
    Shutdown,
}

/// A field that may be left out may be null as well: so a client writes it that has no value for it.
fn or_left_out<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(source: D) -> Result<T, D::Error> {
    Option::deserialize(source).map(Option::unwrap_or_default)
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
    SentMessage {
        id: String,
    },
    RequestedMessage {
        id: String,
        message: Vec<u8>,
    },
    ActorMetrics {
        id: String,
        metrics: serde_json::Value,
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
    /// A page of actors; `next` is the place where the next one begins, null behind the last.
    Actors {
        actors: Vec<ActorView>,
        next: Option<u64>,
    },
    ActorStatus(StatusAnswer),
    /// `state` in base64; null where it has none, and where it is too long for a frame (`GetStateBytes` has it then).
    /// `length` is null where it has none. `lost` is the event that led to it, where its data was dropped: then no event
    /// names the state.
    ActorState {
        id: String,
        state: Option<String>,
        length: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<u64>,
    },
    ActorEvents(EventsAnswer),
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
        #[serde(default, skip_serializing_if = "Option::is_none")]
        journal: Option<Box<JournalMetricsView>>,
    },
    Metrics(Box<MetricsView>),
    /// A page of the actors of `Metrics`; `next` as in `Actors`.
    MetricsPage {
        actors: Vec<ActorMetricsView>,
        next: Option<u64>,
    },
    ShuttingDown,
}

/// What a server meant that did not say it.
const fn yes() -> bool {
    true
}

/// The answer to `ActorStatus` and `FindActor`, and the one that clients of the first protocol know to `GetActorStatus`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum StatusAnswer {
    Actor { actor: Box<ActorView> },
    Word { id: String, status: StatusWord },
}

/// The answer to `GetActorEvents`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum EventsAnswer {
    /// To one with `from`. `next` is where the next page begins; null where the page is empty.
    Page { id: String, events: Vec<EventView>, next: Option<u64> },
    /// To one without.
    All { id: String, events: Vec<PushedEvent> },
}
