//! The types of the management protocol: commands, answers and events as JSON. Existing clients use the first rows of
//! each enum, whose shapes must not change.

use serde::{Deserialize, Deserializer, Serialize};

pub(crate) use super::metrics::{
    ActorMetricsView, DistributionView, JournalMetricsView, MetricsView, ProcessView, Totals,
};
pub(crate) use super::views::{
    ActorView, DeadLetterView, EventView, PushedEvent, RestartsView, StatusWord, shown_status,
};
pub(crate) use crate::theater::ActorDescription;

/// A command of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(clippy::enum_variant_names, reason = "the wire names them")]
pub(crate) enum Request {
    StartActor {
        manifest: String,
        /// Clients of the first protocol may send this. It is refused, so that no client believes that it was used.
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
        /// The kinds of events that are wanted; all kinds if it is left out.
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
    /// Subscribes to the events of several actors in the order of the journal, from position `from` on.
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
    /// Has an actor take nothing more until it is resumed: what comes for it waits.
    PauseActor {
        id: String,
    },
    ResumeActor {
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
    /// `ForkActor` with changes of the manifest: another port for its listener, and other values by their keys. (Fields of that
    /// command would mean nothing to an earlier version, which would fork without them.)
    ForkChangedActor {
        id: String,
        at: u64,
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manifest: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        #[serde(default, deserialize_with = "or_left_out", skip_serializing_if = "Vec::is_empty")]
        set: Vec<(String, String)>,
    },
    /// Lets an actor go on with this manifest and its component; without one, with the manifest file that it was started from.
    UpgradeActor {
        id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manifest: Option<String>,
    },
    /// What such an upgrade would change, by the newest `last` recorded calls; 100 if it is left out.
    DryRunUpgrade {
        id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manifest: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<u64>,
    },
    ActorTree,
    /// A page of the actors of `ActorTree`, from the place `from` on.
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
    /// All about one actor.
    DescribeActor {
        id: String,
    },
    GetActorState {
        id: String,
    },
    /// With `from` a page of events; without it all events, in the shape of the first protocol.
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
    /// The newest state, from byte `offset` on; with `at`, the state after this event.
    GetStateBytes {
        id: String,
        offset: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<u64>,
    },
    /// One event's data, from byte `offset` on.
    GetEventData {
        id: String,
        sequence: u64,
        offset: u64,
    },
    /// The first kept state at an event after event `behind`, from byte `offset` on.
    GetKeptState {
        id: String,
        behind: u64,
        offset: u64,
    },
    /// Rows of an actor's table in the order of their keys, a page of them; `prefix` and `behind`, keys in base64. With `at`, as
    /// they were after this event.
    GetRows {
        id: String,
        #[serde(default)]
        prefix: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        behind: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<u64>,
    },
    /// One row, its value from byte `offset` on; `key` in base64.
    GetRow {
        id: String,
        key: String,
        #[serde(default)]
        offset: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<u64>,
    },
    /// How many rows there are.
    CountRows {
        id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<u64>,
    },
    /// Drops the data of the events before the last kept state that lies before event `before`.
    PruneActor {
        id: String,
        before: u64,
        /// Whether to drop also data that `get-chain` has shown the actor, and that a replay would have to show it
        /// again.
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
    /// What `PruneActor` would drop. (A field of that command would mean nothing to an earlier version, which would drop it.)
    ForeseePrune {
        id: String,
        before: u64,
        #[serde(default, deserialize_with = "or_left_out", skip_serializing_if = "std::ops::Not::not")]
        despite_get_chain: bool,
    },
    /// What `RedactEvent` would drop.
    ForeseeRedaction {
        id: String,
        sequence: u64,
        #[serde(default, deserialize_with = "or_left_out", skip_serializing_if = "std::ops::Not::not")]
        despite_get_chain: bool,
    },
    /// With `message_id`, the message may be sent again, and the actor works on it once.
    SendMessage {
        id: String,
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
    },
    RequestMessage {
        id: String,
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
    },
    /// A page of the dead letters to an actor, or to all, from the place `from` on.
    GetDeadLetters {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        #[serde(default, deserialize_with = "or_left_out")]
        from: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
    },
    /// Sends a dead letter again: to its receiver, or to the actor `to`.
    SendDeadLetter {
        letter: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// The path from an event to the root of the newest checkpoint that covers it. If none does, one is signed first.
    ProveEvent {
        id: String,
        sequence: u64,
    },
    /// Takes an actor that has ended off the lists; its history stays.
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

/// Reads a field that may be left out: it may be null as well, because some clients write null where they have no value.
fn or_left_out<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(source: D) -> Result<T, D::Error> {
    Option::deserialize(source).map(Option::unwrap_or_default)
}

/// The actors to whose events a [`Request::Subscribe`] subscribes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Scope {
    All,
    /// An actor, and all actors that are below it now or later.
    Tree(String),
}

/// An answer of the server, or an event that it pushes.
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
    /// An event for a `Subscribe`, with its position in the journal.
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
    ActorUpgraded {
        id: String,
    },
    /// `already`: it was paused before.
    ActorPaused {
        id: String,
        already: bool,
    },
    /// `already`: it was not paused.
    ActorResumed {
        id: String,
        already: bool,
    },
    /// `changed` of `transitions` calls come out otherwise; `changes` has what differs, at most 200 of that.
    UpgradeDryRun {
        id: String,
        transitions: u64,
        changed: u64,
        changes: Vec<OutcomeChangeView>,
    },
    /// `id` is the id of the new actor.
    ActorForked {
        id: String,
    },
    ActorTree {
        actors: Vec<ActorView>,
    },
    /// A page of actors. `next` is the place where the next page begins; null after the last page.
    Actors {
        actors: Vec<ActorView>,
        next: Option<u64>,
    },
    ActorStatus(StatusAnswer),
    ActorDescription {
        actor: Box<ActorView>,
        description: Box<ActorDescription>,
    },
    /// `state` is in base64. It is null if the actor has none, and if it is too long for a frame (then `GetStateBytes`
    /// gives it). `length` is null if the actor has no state. `lost` is the event that led to the state, if the data of
    /// that event was dropped: then no event names the state.
    ActorState {
        id: String,
        state: Option<String>,
        length: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<u64>,
    },
    ActorEvents(EventsAnswer),
    /// A piece of something that has `size` bytes, in base64. Of a past state also the event, and whether there was none.
    Bytes {
        digest: String,
        size: u64,
        offset: u64,
        data: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<u64>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        no_state: bool,
    },
    /// `sequence` is null if no state is kept there. `size` is null if the actor had no state there.
    KeptState {
        id: String,
        sequence: Option<u64>,
        size: Option<u64>,
        offset: u64,
        data: String,
    },
    /// `next` is the last key, in base64, if more rows may follow: `behind` of the next page.
    Rows {
        id: String,
        rows: Vec<RowView>,
        next: Option<String>,
    },
    /// `size` is null if there is no such row.
    Row {
        id: String,
        size: Option<u64>,
        written: Option<u64>,
        hash: Option<String>,
        offset: u64,
        data: String,
    },
    RowCount {
        id: String,
        count: u64,
    },
    /// `index` is the event's place among all events, `path` the hashes from its leaf to the root, in base64, and `checkpoint` a
    /// signed note.
    EventProof {
        id: String,
        sequence: u64,
        index: u64,
        path: Vec<String>,
        checkpoint: String,
    },
    /// `replays_from` is the event with whose kept state a replay can begin; null if there is none. `gone` is false
    /// while the dropped data is still in the journal's log because somebody reads the journal.
    Forgotten {
        id: String,
        events: u64,
        replays_from: Option<u64>,
        #[serde(default = "yes")]
        gone: bool,
    },
    /// What would be dropped; `replays_from` as in `Forgotten`.
    WouldForget {
        id: String,
        events: u64,
        bytes: u64,
        replays_from: Option<u64>,
    },
    Sent {
        id: String,
    },
    /// A page of dead letters; `next` as in `Actors`.
    DeadLetters {
        letters: Vec<DeadLetterView>,
        next: Option<u64>,
    },
    /// `id` is the actor that took it.
    DeadLetterSent {
        letter: String,
        id: String,
    },
    /// The answer of an actor, in base64.
    Answer {
        id: String,
        message: String,
    },
    Status {
        version: String,
        data_dir: String,
        actors: u64,
        alive: u64,
        /// The counts of all actors together.
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

/// A part of a recorded call that comes out otherwise under another build: what was recorded, and what it does now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OutcomeChangeView {
    pub(crate) sequence: u64,
    pub(crate) export: String,
    pub(crate) what: String,
    /// Where in that: empty for the whole of it, or a JSON pointer.
    pub(crate) pointer: String,
    pub(crate) recorded: serde_json::Value,
    pub(crate) actual: serde_json::Value,
}

/// The value of `gone` in the answers of servers that do not send it.
const fn yes() -> bool {
    true
}

/// The answer to `ActorStatus` and `FindActor`, or the answer to `GetActorStatus` in the shape of the first protocol.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum StatusAnswer {
    Actor { actor: Box<ActorView> },
    Word { id: String, status: StatusWord },
}

/// A row of an actor's table. The value is left out if it has more than 64 KiB: `GetRow` gives it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RowView {
    pub(crate) key: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// The sequence and the hash of the event that wrote it.
    pub(crate) written: u64,
    pub(crate) hash: String,
}

/// The answer to `GetActorEvents`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum EventsAnswer {
    /// To a command with `from`. `next` is where the next page begins; null if this page is empty.
    Page { id: String, events: Vec<EventView>, next: Option<u64> },
    /// To a command without `from`.
    All { id: String, events: Vec<PushedEvent> },
}
