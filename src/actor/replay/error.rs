//! The errors of replay: why a replay stopped before the end of the chain.

use crate::base::id::ActorId;
use crate::guest::Divergence;

/// Why a replay stopped before the end of the chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The first event that came out otherwise than it was recorded.
    #[error("{0}")]
    Diverged(Box<Divergence>),
    /// The component that ran is not available.
    #[error(
        "the component {digest} is neither in the chain file nor given; give it with --component FILE, or compare the outcomes \
         of another build: --compare --outcomes --manifest MANIFEST"
    )]
    NoComponent {
        /// The SHA-256 of the component.
        digest: String,
    },
    /// The data of an event does not fit the kind of the event, or the event cannot occur at its place in the chain.
    #[error("event {sequence}: {why}")]
    Data {
        /// The event.
        sequence: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The state that an incarnation began with is not available.
    #[error("event {sequence}: the state it begins with ({len} bytes) is not in the chain file")]
    NoState {
        /// The event.
        sequence: u64,
        /// Bytes of the state.
        len: u64,
    },
    /// A state that the journal keeps is not the one that replay computes.
    #[error("the kept state at event {sequence} is not the one that replay comes to: {what}")]
    Snapshot {
        /// The event.
        sequence: u64,
        /// What differs, or what was lacking.
        what: String,
    },
    /// An event came out otherwise, and before it a `get-chain` has shown the actor an event whose data was dropped. Whether
    /// the one comes from the other, nobody knows.
    #[error(
        "{diverged}; event {}, a get-chain, is shown event {} without its data, which was dropped: {}. Whether the divergence \
         comes from that is not known",
        shown.0, shown.1, seen(*was_seen)
    )]
    Unseen {
        /// The divergence.
        diverged: Box<Divergence>,
        /// The `get-chain`, and the event that it shows.
        shown: (u64, u64),
        /// Whether the chain says that the actor saw the data when it ran. Older records do not say it.
        was_seen: bool,
    },
    /// Data was dropped, and no later state is available from which the replay could go on.
    #[error(
        "the data of event {sequence} was dropped, and after it no state is kept that an event names: nothing from there on \
         can be replayed until the actor is started again; {before}"
    )]
    Dropped {
        /// The event.
        sequence: u64,
        /// What was replayed before that event.
        before: String,
    },
    /// The state at the event asked for cannot be computed, because data before it was dropped.
    #[error("the state at event {until} cannot be had: the data of event {dropped} was dropped {}", there(*next))]
    Gone {
        /// The event asked for.
        until: u64,
        /// What was dropped.
        dropped: u64,
        /// The next event after which a state is kept, if there is one.
        next: Option<u64>,
    },
    /// The chain has no such event.
    #[error("event {sequence} is not on the chain: its last is event {last}")]
    NoSuchEvent {
        /// The event.
        sequence: u64,
        /// The last event of the chain.
        last: u64,
    },
    /// Data was dropped that every call needs.
    #[error(
        "nothing was replayed: the data of {dropped} was dropped, and there is no call that could be executed without it"
    )]
    NothingExecuted {
        /// What was dropped.
        dropped: String,
    },
    /// The machine lacked what the guest needs to run, so the rest was not compared.
    #[error(
        "event {sequence} cannot be executed here, so nothing from there on was compared: the machine gave no more: {what}; see \"theater doctor\""
    )]
    NotExecuted {
        /// The event.
        sequence: u64,
        /// What differs, or what was lacking.
        what: String,
    },
    /// No listed actor has this id.
    #[error("no such actor: {0}")]
    NoSuchActor(ActorId),
    /// The recording cannot be read; the text says why.
    #[error("{0}")]
    Unreadable(String),
    /// The replay itself panicked: a defect of Theater.
    #[error("its replay panicked: {0}; this is a defect of Theater")]
    Panicked(String),
    /// The component cannot be run here; the text says why.
    #[error("{0}")]
    Sandbox(String),
}

/// What is known of the data that a `get-chain` does not show.
fn seen(was_seen: bool) -> &'static str {
    if was_seen {
        "the chain says that the actor saw the data when it ran, and what it made of it cannot be replayed"
    } else {
        "the chain does not say whether the actor saw the data when it ran"
    }
}

/// The place from which the state is known again.
fn there(next: Option<u64>) -> String {
    match next {
        Some(next) => format!(
            "before event {next}, after which the next state is kept: from there on it can; an export or a backup from before \
             the drop has it still"
        ),
        None => "and no state is kept after it: the next is at the actor's next start; an export or a backup from before the \
                 drop has it still"
            .into(),
    }
}
