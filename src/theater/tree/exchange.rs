//! What goes into the supervision tree, and what comes out: inputs, actions, and why an actor that failed is given up.

use std::fmt;
use std::time::Duration;

use crate::base::id::ActorId;
use crate::chain::Link;
use crate::chain::data::StoppedBy;
use crate::manifest::{RestartState, Supervision};
use crate::system::OrderKind;

/// What happened.
#[derive(Clone, Debug)]
pub(in crate::theater) enum Input {
    /// An actor has a thread; `was_up` where an earlier incarnation of it was.
    Spawned {
        id: ActorId,
        parent: Option<ActorId>,
        supervision: Supervision,
        was_up: bool,
    },
    /// An actor from before, which does not run.
    Listed {
        id: ActorId,
        parent: Option<ActorId>,
        supervision: Supervision,
        was_up: bool,
    },
    /// How an actor from before has failed lately.
    Remembered {
        id: ActorId,
        lately: Lately,
    },
    Stop {
        id: ActorId,
        by: StoppedBy,
        cause: Option<Link>,
    },
    Restart {
        id: ActorId,
        by: StoppedBy,
        cause: Option<Link>,
    },
    Up(ActorId),
    /// Its incarnation failed; its thread waits.
    Failed(ActorId),
    Down(ActorId),
    /// Its thread has ended in order.
    Ended(ActorId),
    /// It has no thread any more, and nobody said that it should have none: it failed with it.
    Died(ActorId),
    /// A timer that was set for it has rung. It may be one from before: what counts is whether its restart is due.
    Timer(ActorId),
}

/// How an actor has failed before the runtime was started.
#[derive(Clone, Debug, Default)]
pub(in crate::theater) struct Lately {
    /// When it was restarted for that by policy, oldest first.
    pub(in crate::theater) failures: Vec<u64>,
    /// When it failed because of its children: what led to that is done with.
    pub(in crate::theater) by_children_at: Option<u64>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::theater) enum Action {
    /// Give its thread an order.
    Order { id: ActorId, kind: OrderKind, by: StoppedBy, cause: Option<Link> },
    /// Have its thread, which waits, begin another incarnation.
    Restart { id: ActorId, from: RestartState },
    /// Have its thread, which waits, end. `given_up` where that is because it failed and is not restarted.
    End { id: ActorId, by: StoppedBy, cause: Option<Link>, given_up: Option<GivenUp> },
    /// Start a thread for an actor that has none.
    Begin { id: ActorId, from: RestartState },
    /// It failed and is to be restarted after so long: say `Timer` at this time of the tree's clock.
    Timer { id: ActorId, at: u64, after: Duration, count: Count },
    /// It failed and is not restarted. What is below it ends first.
    GaveUp { id: ActorId, why: GivenUp },
    /// It has ended without a thread that could be told to.
    Gone(ActorId),
    /// When it restarted its children by policy lately (a root: itself, too), as it stands now.
    Counted { supervisor: ActorId, at: Vec<u64> },
    /// It was stopped already.
    AlreadyStopped(ActorId),
    /// It cannot be restarted now.
    NotRestarted { id: ActorId, why: &'static str },
}

/// How many restarts by policy are used of those that are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::theater) struct Count {
    pub(in crate::theater) used: usize,
    pub(in crate::theater) allowed: u32,
    pub(in crate::theater) within: Duration,
}

/// Why an actor that failed is not restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::theater) enum GivenUp {
    Temporary,
    NeverUp,
    /// More than so many restarts: its parent's limit, or, of a root, its own.
    TooMany {
        allowed: u32,
        within: Duration,
        is_root: bool,
    },
    ParentFails,
    /// Before its restart was due.
    Stopped,
    /// Its thread ended, and has said why.
    ThreadEnded,
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Temporary => f.write_str("restart = \"temporary\""),
            Self::NeverUp => f.write_str("its init has never returned"),
            Self::TooMany { allowed, within, is_root } => {
                let whose = if *is_root { "" } else { " of its parent" };
                write!(f, "more than max_restarts = {allowed} within within_ms = {}{whose}", within.as_millis())
            }
            Self::ParentFails => f.write_str("its parent fails"),
            Self::Stopped => f.write_str("it was stopped before its restart"),
            Self::ThreadEnded => f.write_str("its thread has ended"),
        }
    }
}
