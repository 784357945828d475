//! The inputs and actions of the supervision tree, and the reasons why an actor that failed is given up.

use std::fmt;
use std::time::Duration;

use crate::base::id::ActorId;
use crate::chain::Link;
use crate::chain::data::StoppedBy;
use crate::manifest::{RestartState, Supervision};
use crate::system::OrderKind;

/// An input: what happened.
#[derive(Clone, Debug)]
pub(in crate::theater) enum Input {
    /// A new actor, which has a thread. `was_up` says that an incarnation of it was up before.
    Spawned {
        id: ActorId,
        parent: Option<ActorId>,
        supervision: Supervision,
        was_up: bool,
    },
    /// An actor from an earlier runtime that does not run.
    Listed {
        id: ActorId,
        parent: Option<ActorId>,
        supervision: Supervision,
        was_up: bool,
    },
    /// This new or listed actor is a fork: it first begins with the state of another actor, which its own `init` must not
    /// change.
    Forked(ActorId),
    /// The actor goes on with another manifest.
    Upgraded {
        id: ActorId,
        supervision: Supervision,
    },
    /// The recent failures of an actor from an earlier runtime.
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
    /// The actor's incarnation failed, and its thread waits.
    Failed(ActorId),
    Down(ActorId),
    /// The actor's thread has ended in order.
    Ended(ActorId),
    /// The actor has lost its thread, or got none, without an order: it has failed.
    Died(ActorId),
    /// A timer of the actor has run out. Older timers are not taken back, so the input does not mean that the restart
    /// is due; the tree looks.
    Timer(ActorId),
}

/// How an actor failed before the runtime was started.
#[derive(Clone, Debug, Default)]
pub(in crate::theater) struct Lately {
    /// The times of its failures that led to a restart by policy, the oldest first.
    pub(in crate::theater) failures: Vec<u64>,
    /// When it failed because of its children. Failures of its children before that do not count any more.
    pub(in crate::theater) by_children_at: Option<u64>,
}

/// An action: what the supervisor is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::theater) enum Action {
    /// Give the actor's thread an order.
    Order { id: ActorId, kind: OrderKind, by: StoppedBy, cause: Option<Link> },
    /// Let the actor's thread, which waits, begin another incarnation.
    Restart { id: ActorId, from: RestartState },
    /// Let the actor's thread, which waits, end. `given_up` is set if the actor failed and is not restarted.
    End { id: ActorId, by: StoppedBy, cause: Option<Link>, given_up: Option<GivenUp> },
    /// Start a thread for an actor that has none.
    Begin { id: ActorId, from: RestartState },
    /// The actor failed and will be restarted after this backoff: give the input `Timer` at this time of the tree's
    /// clock.
    Timer { id: ActorId, at: u64, after: Duration, count: Count },
    /// The actor failed and is not restarted. The actors below it end first.
    GaveUp { id: ActorId, why: GivenUp },
    /// The actor has ended, and has no thread that could be told to end.
    Gone(ActorId),
    /// The times of the recent restarts by policy of a supervisor's children, as they are now counted. A root counts
    /// its own restarts too.
    Counted { supervisor: ActorId, at: Vec<u64> },
    /// The actor was stopped already.
    AlreadyStopped(ActorId),
    /// The actor cannot be restarted now.
    NotRestarted { id: ActorId, why: &'static str },
}

/// How many restarts by policy are used up, of how many allowed ones.
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
    /// One more restart would exceed the limit: the parent's limit or, for a root, the actor's own.
    TooMany {
        allowed: u32,
        within: Duration,
        is_root: bool,
    },
    ParentFails,
    /// It was stopped before its restart was due.
    Stopped,
    /// Its thread ended, and has reported why.
    ThreadEnded,
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Temporary => f.write_str("restart = \"temporary\""),
            Self::NeverUp => f.write_str("it has never been up"),
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
