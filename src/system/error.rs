//! The errors of a [`super::TheaterHandle`]: why a message has no answer, why an actor was not started or changed.
//!
//! Their texts are part of the command line and of the management protocol: clients and tests compare them.

use std::time::Duration;

use super::answer::{NoAnswer, Outcome};
use super::failure::ActorFailure;
use super::key_refusal::KeyRefusal;
use super::refusal::Refusal;
use crate::base::id::ActorId;
use crate::chain::data::FailureReason;
use crate::journal::{DiskLow, JournalDown};
use crate::manifest::ManifestError;

/// Why a message from outside has no answer. The variant says whether the actor can have worked on the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No actor has this id. The message was not delivered.
    #[error("no such actor: {0}")]
    NoSuchActor(ActorId),
    /// The actor never worked on the message, and never will: it is safe to send the message again.
    #[error(transparent)]
    NotDelivered(#[from] NotDelivered),
    /// The actor's export returned an error, which is the text. Its state is what it was before.
    #[error("refused: {0}")]
    Refused(String),
    /// The actor failed while it worked on the message. Its state is what it was before.
    #[error("failed: {0}")]
    Failed(ActorFailure),
    /// The actor began to work on the message, and the outcome is not known.
    #[error(transparent)]
    OutcomeUnknown(#[from] OutcomeUnknown),
    /// The actor answered with bytes that are no answer: a defect of Theater.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
}

/// Why a message was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotDelivered {
    /// The actor takes no messages now; `status` is the word for what it is doing ([`crate::ActorStatus::word`]).
    #[error("actor {actor} is {status}")]
    NotRunning {
        /// The receiver.
        actor: ActorId,
        /// What it is doing.
        status: &'static str,
    },
    /// The actor's component does not export the function that takes messages.
    #[error("actor {actor} does not export {function}")]
    NotExported {
        /// The receiver.
        actor: ActorId,
        /// The function, as `interface.function`.
        function: &'static str,
    },
    /// The receiver's mailbox has no room now: its limits `mailbox_deliveries` and `mailbox_bytes`.
    #[error("mailbox full")]
    MailboxFull,
    /// The message is longer than the whole mailbox.
    #[error("{size} bytes can never fit: the receiver's limit mailbox_bytes is {limit}")]
    NeverFits {
        /// Bytes of the message.
        size: u64,
        /// The receiver's limit, in bytes.
        limit: u64,
    },
    /// The message is longer than one message may be.
    #[error("message of {size} bytes: the limit message_bytes is {limit}")]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// The receiver's limit, in bytes.
        limit: u64,
    },
    /// The actor is ending.
    #[error("the actor is ending")]
    Ending,
    /// The actor's manifest does not let it take messages from the sender.
    #[error("actor {actor} does not take messages from this actor: its manifest says reachable = {reachable}")]
    NotReachable {
        /// The actor.
        actor: ActorId,
        /// What its manifest says.
        reachable: String,
    },
    /// Waiting for the answer would close a circle of actors that wait for each other; the text names these actors.
    #[error("would deadlock: {0}")]
    Deadlock(String),
    /// The actor did not take the message within the deadline; the message was withdrawn.
    #[error("not delivered: the actor did not come to it within {} ms", within.as_millis())]
    Deadline {
        /// The deadline.
        within: Duration,
    },
    /// The actor ended before it took the message; the text says how.
    #[error("not delivered: the actor {0}")]
    Dropped(String),
    /// The disk is nearly full: the limit `min_free_bytes` of the runtime.
    #[error(transparent)]
    DiskLow(#[from] DiskLow),
    /// The runtime is ending: all actors are being suspended.
    #[error("the runtime is shutting down")]
    ShuttingDown,
    /// The id of the message is none.
    #[error("an id of a message is 1 to 255 visible ASCII characters: {0:?}")]
    NotAnId(String),
    /// The message of this id is being worked on, or was when the runtime ended.
    #[error("not delivered: the message with this id is at work; ask again later")]
    AtWork,
    /// The id was given to another message of this actor before.
    #[error("not delivered: this id was given to another message; give each message an id of its own")]
    IdOfAnother,
    /// The message of this id was answered, and the recorded answer was dropped by a prune or a redaction.
    #[error(
        "not delivered: the message with this id was answered, and the recorded answer was dropped by a prune or a redaction"
    )]
    AnswerDropped,
    /// There is no such dead letter, or it was sent again.
    #[error("{0} is no dead letter, or was sent again; theater dead-letters lists them")]
    NotDead(String),
    /// The message of a dead letter was dropped by a prune or a redaction.
    #[error("the message of the dead letter {0} was dropped by a prune or a redaction")]
    MessageDropped(String),
    /// The journal cannot be read, so that nobody knows whether the message was delivered before.
    #[error("not delivered: the journal cannot be read: {0}")]
    Unreadable(String),
}

/// Why the outcome of a message is not known that an actor had begun to work on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutcomeUnknown {
    /// The actor was stopped while it worked on the message.
    #[error("outcome unknown: the actor was stopped while it worked on it")]
    Stopped,
    /// The actor was not done within the deadline. It goes on working on the message.
    #[error("outcome unknown: no answer within {} ms", within.as_millis())]
    Deadline {
        /// The deadline.
        within: Duration,
    },
    /// The actor's thread ended without an answer.
    #[error("outcome unknown: the actor has ended without an answer")]
    Gone,
    /// The runtime is ending, and the actor may have been suspended in the middle of the message. The next start goes
    /// on with the message.
    #[error("outcome unknown: the runtime is shutting down")]
    ShuttingDown,
}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> Self {
        Self::NotDelivered(match refusal {
            Refusal::Unknown(actor) => return Self::NoSuchActor(actor),
            Refusal::NotRunning(actor, status) => NotDelivered::NotRunning { actor, status },
            Refusal::NotExported(actor, function) => NotDelivered::NotExported { actor, function },
            Refusal::NotReachable(actor, reachable) => NotDelivered::NotReachable { actor, reachable },
            Refusal::Full => NotDelivered::MailboxFull,
            Refusal::NeverFits { size, limit } => NotDelivered::NeverFits { size, limit },
            Refusal::Closed | Refusal::Asleep => NotDelivered::Ending,
            Refusal::TooLarge { size, limit } => NotDelivered::TooLarge { size, limit },
            Refusal::Deadlock(circle) => NotDelivered::Deadlock(circle),
            Refusal::DiskLow(low) => NotDelivered::DiskLow(low),
            Refusal::Suspending => NotDelivered::ShuttingDown,
        })
    }
}

impl From<KeyRefusal> for RequestError {
    fn from(refusal: KeyRefusal) -> Self {
        Self::NotDelivered(match refusal {
            KeyRefusal::NotTaken(refusal) => return refusal.into(),
            KeyRefusal::UnderWay => NotDelivered::AtWork,
            KeyRefusal::OfAnother => NotDelivered::IdOfAnother,
            KeyRefusal::AnswerDropped => NotDelivered::AnswerDropped,
            KeyRefusal::Unreadable(why) => NotDelivered::Unreadable(why),
        })
    }
}

impl RequestError {
    /// The error for a caller outside the runtime who waited for `within` and got no answer.
    pub(crate) fn of_no_answer(none: NoAnswer, within: Duration) -> Self {
        match none {
            NoAnswer::NotDelivered => NotDelivered::Deadline { within }.into(),
            NoAnswer::OutcomeUnknown => OutcomeUnknown::Deadline { within }.into(),
            NoAnswer::Gone => OutcomeUnknown::Gone.into(),
        }
    }

    /// The result of an export that was called for someone outside, as one CBOR item.
    pub(crate) fn or_result(outcome: Outcome) -> Result<Vec<u8>, Self> {
        Err(match outcome {
            Outcome::Returned(result) => return Ok(result),
            Outcome::Refused(message) => Self::Refused(message),
            Outcome::Failed(failure) => Self::Failed(failure),
            Outcome::Stopped => OutcomeUnknown::Stopped.into(),
            Outcome::Dropped(why) => NotDelivered::Dropped(why).into(),
        })
    }
}

/// Why an actor was not started, forked, stopped, restarted or forgotten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LifecycleError {
    /// No actor has this id.
    #[error("no such actor: {0}")]
    NoSuchActor(ActorId),
    /// The manifest is wrong, or its component cannot run with what the manifest grants. Nothing was started.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The actor did not come up: its `init` refused or failed, or a listener could not be started.
    #[error("{}", as_its_starter_hears(.0))]
    Failed(ActorFailure),
    /// The supervisor refused the change, or the state that a fork would begin with is not available. The text says
    /// why, and what to do.
    #[error("{0}")]
    Refused(String),
    /// The change was begun, and its outcome is not known. The text begins with `outcome unknown`.
    #[error("{0}")]
    OutcomeUnknown(String),
    /// The disk is nearly full: the limit `min_free_bytes` of the runtime. Nothing was started.
    #[error(transparent)]
    DiskLow(#[from] DiskLow),
    /// The runtime is ending, or has ended: all actors are suspended.
    #[error("the runtime is shutting down")]
    ShuttingDown,
    /// The journal cannot write any more, so nothing can be acknowledged.
    #[error(transparent)]
    JournalDown(#[from] JournalDown),
}

/// If `init` refused, its own text is the message. For every other failure the message begins with the reason.
fn as_its_starter_hears(failure: &ActorFailure) -> String {
    match failure.reason {
        FailureReason::Init => failure.detail.clone(),
        _ => failure.to_string(),
    }
}

/// A refusal in the supervisor's own words.
impl From<String> for LifecycleError {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
}

/// A refusal in the supervisor's own words.
impl From<&str> for LifecycleError {
    fn from(why: &str) -> Self {
        Self::Refused(why.to_owned())
    }
}
