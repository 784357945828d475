//! Why a replay did not come to its end.

use crate::guest::Divergence;

/// Why a replay did not come to its end.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
#[non_exhaustive]
pub enum ReplayError {
    #[error("{0}")]
    Diverged(Box<Divergence>),
    #[error("the component {digest} is neither in the chain file nor given; give it with --component FILE")]
    NoComponent { digest: String },
    #[error("event {sequence}: {why}")]
    Data { sequence: u64, why: String },
    #[error("event {sequence}: the state it begins with ({len} bytes) is not in the chain file")]
    NoState { sequence: u64, len: u64 },
    #[error("the kept state at event {sequence} is not the one that replay comes to: {what}")]
    Snapshot { sequence: u64, what: String },
    #[error(
        "{diverged}; event {}, a get-chain, is shown event {} without its data, which was dropped: perhaps the actor saw it \
         when it lived, and then what it made of it cannot be replayed",
        shown.0, shown.1
    )]
    Unseen { diverged: Box<Divergence>, shown: (u64, u64) },
    #[error(
        "the data of event {sequence} was dropped, and behind it no state is kept that an event names: nothing from there on \
         can be replayed until the actor is started again; {before}"
    )]
    Dropped { sequence: u64, before: String },
    #[error("the state at event {until} cannot be had: the data of event {dropped} was dropped {}", there(*next))]
    Gone { until: u64, dropped: u64, next: Option<u64> },
    #[error(
        "nothing was replayed: the data of {dropped} was dropped, and there is no call that could be executed without it"
    )]
    NothingExecuted { dropped: String },
    #[error(
        "event {sequence} cannot be executed here, so nothing from there on was compared: the machine gave no more: {what}; see \"theater doctor\""
    )]
    NotExecuted { sequence: u64, what: String },
    #[error("{0}")]
    Unreadable(String),
    #[error("its replay panicked: {0}; this is a defect of Theater")]
    Panicked(String),
    #[error("{0}")]
    Sandbox(String),
}

/// Where the state can be had again.
fn there(next: Option<u64>) -> String {
    match next {
        Some(next) => format!("before event {next}, behind which the next state is kept: from there on it can"),
        None => "and no state is kept behind it: the next is at the actor's next start".into(),
    }
}
