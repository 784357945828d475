//! The values of the model: an actor, its mailbox, the reply that somebody waits for, and the next step of an actor's
//! thread.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::StoppedBy;
use crate::chain::{Function, Link, StateChain, function};
use crate::journal::Cause;
use crate::system::{Answer, LifecycleError, Outcome, RecordedEnd, Spawned, WaitId};

pub(super) const INIT: &Function = function!("ntwk:theater/actor", "init");

/// A delivery that waits in a mailbox.
#[derive(Clone, Debug)]
pub(super) struct Mail {
    pub(super) function: &'static str,
    pub(super) params: Vec<u8>,
    pub(super) cause: Link,
    pub(super) reply: Option<usize>,
}

/// The reply to one delivery.
#[derive(Clone, Debug)]
pub(super) struct ModelReply {
    pub(super) wait: WaitId,
    pub(super) claimed: bool,
    pub(super) withdrawn: bool,
    /// The receiver had taken the delivery, and the sender has given up on it.
    pub(super) is_given_up: bool,
    /// Whether the sender does not wait.
    pub(super) is_later: bool,
    pub(super) given: Option<Given>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) enum Given {
    Answer(Answer),
    Child(Result<Spawned, LifecycleError>),
    Changed(Option<Link>),
    Unknown,
}

/// The transition in progress.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) function: &'static str,
    pub(super) reply: Option<usize>,
}

/// The host call in progress.
#[derive(Clone, Debug)]
pub(super) struct OpenCall {
    pub(super) function: &'static Function,
    pub(super) intent: Link,
    pub(super) reply: usize,
}

/// The next step of an actor's thread.
#[derive(Clone, Debug)]
pub(super) enum At {
    /// The `started` is to be written next.
    Begin {
        resumes: bool,
        then: Box<At>,
    },
    InitDue,
    Idle,
    Working,
    /// The registry has begun a watch, and its event is not enqueued yet.
    Watching {
        watched: ActorId,
    },
    /// A crash left the host call with this intent open. It is made again now.
    Again {
        function: &'static Function,
        intent: Link,
        child: ActorId,
    },
    Awaiting(OpenCall),
    /// The host call has its result. The event `host-call` is not enqueued yet.
    Decided {
        open: OpenCall,
        result: Vec<u8>,
        answer: Option<Link>,
    },
    /// The `host-call` is enqueued. The wait is still held.
    Recorded {
        wait: WaitId,
    },
    /// The sender is to be answered. If the event that gives the answer is enqueued, the sender's wait is ended first.
    Closed {
        reply: Option<usize>,
        answer: Given,
        is_enqueued: bool,
        then: Box<At>,
    },
    /// The incarnation is over, and another one follows.
    Down,
    /// The actors below this one end before it does.
    Ending {
        by: StoppedBy,
        cause: Option<Link>,
        held: Option<WaitId>,
        promised: Option<Cause>,
    },
    Ended,
}

/// A request of an actor that it does not wait for.
#[derive(Clone, Debug)]
pub(super) struct AskedLater {
    pub(super) token: u64,
    pub(super) to: ActorId,
    pub(super) reply: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Ordered {
    pub(super) cycle: bool,
    pub(super) by: StoppedBy,
    pub(super) cause: Option<Link>,
}

#[derive(Clone, Debug)]
pub(super) struct ModelActor {
    pub(super) id: ActorId,
    pub(super) parent: Option<usize>,
    pub(super) chain: StateChain,
    pub(super) at: At,
    pub(super) work: Option<Work>,
    pub(super) notices: VecDeque<Mail>,
    pub(super) mail: VecDeque<Mail>,
    pub(super) order: Option<Ordered>,
    /// The replies to those who wait for the actor to be up, and below to those who wait for its end.
    pub(super) starters: Vec<usize>,
    pub(super) stoppers: Vec<usize>,
    pub(super) spawned_by: Option<Link>,
    pub(super) was_up: bool,
    /// The actor's chain says that the actor is alive.
    pub(super) has_begun: bool,
    /// The open streams, each by its id and the event that promised to tell of its end.
    pub(super) streams: Vec<(u64, Link)>,
    /// How the actor has ended for good, if it has.
    pub(super) ended: Option<Arc<RecordedEnd>>,
    /// The requests that it has made and does not wait for.
    pub(super) asked: Vec<AskedLater>,
    /// The token by which the transition in progress has put off its answer.
    pub(super) putting_off: Option<u64>,
    /// The answers that it has put off, and the replies of who waits for them.
    pub(super) deferred: BTreeMap<u64, Option<usize>>,
}

impl ModelActor {
    pub(super) fn takes(&self) -> bool {
        let mut at = &self.at;
        while let At::Closed { then, .. } = at {
            at = then;
        }
        !matches!(at, At::Ended | At::Ending { .. })
    }

    /// Whether the actor takes messages of other actors: not before its chain says that it is alive.
    pub(super) fn takes_messages(&self) -> bool {
        self.takes() && self.has_begun
    }
}

/// The result that a guest gets, and the event that gave it.
pub(super) fn words(given: Given) -> (Vec<u8>, Option<Link>) {
    match given {
        Given::Answer(Answer { outcome: Outcome::Returned(result), closing }) => {
            let result: Result<Vec<u8>, String> = Vec::from_cbor(&result).map_err(|error| error.to_string());
            (result.to_cbor(), closing)
        }
        Given::Answer(Answer { outcome: Outcome::Refused(why), closing }) => {
            (Err::<Vec<u8>, String>(why).to_cbor(), closing)
        }
        Given::Answer(Answer { closing, .. }) => (failed_result(), closing),
        Given::Child(Ok(Spawned { id, closing })) => (Ok::<String, String>(id.to_string()).to_cbor(), closing),
        Given::Changed(closing) => (Ok::<(), String>(()).to_cbor(), closing),
        Given::Child(Err(_)) | Given::Unknown => (failed_result(), None),
    }
}

pub(super) fn failed_result() -> Vec<u8> {
    Err::<Vec<u8>, String>("no answer".into()).to_cbor()
}
