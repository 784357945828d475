//! Why a WebSocket connection ends, and what its client is told about that.

use tungstenite::Error;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::system::{Outcome, Refusal};

/// Why a connection ends. No error text of a guest reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client has closed the connection, and was answered.
    Closed,
    /// The client is gone, or takes nothing any more.
    Gone,
    /// The client sent nothing for too long, not even a pong; or it began a message and did not end it.
    Silent,
    /// The actor closes the connection.
    ActorCloses,
    /// The actor has asked for the end, with this status code.
    ActorClosesWith(u16),
    Protocol,
    NotText,
    TooLarge,
    NeverFits,
    MailboxFull,
    DiskLow,
    NotTaken,
    /// The answer budget has no room for this answer.
    NoRoom,
    /// The budget for messages that come in has no room for this one.
    NoRoomToHear,
    Unanswered,
    Refused,
    Failed,
    Unsendable,
    /// The actor or the listener is ending.
    ActorEnds,
}

impl Ending {
    /// The close frame that the client gets; none if no client is there to get one.
    pub(super) fn frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Closed | Self::Gone => return None,
            Self::Silent => (CloseCode::Policy, "nothing was heard for too long"),
            Self::ActorCloses => (CloseCode::Normal, ""),
            Self::ActorClosesWith(code) => (CloseCode::from(code), ""),
            Self::Protocol => (CloseCode::Protocol, "not the WebSocket protocol"),
            Self::NotText => (CloseCode::Invalid, "a text message that is not UTF-8"),
            Self::TooLarge => (CloseCode::Size, "the message is too large"),
            Self::NeverFits => (CloseCode::Size, "the message is larger than the actor's whole mailbox"),
            Self::MailboxFull => (CloseCode::Again, "the actor has no room for more messages"),
            Self::DiskLow => (CloseCode::Again, "the server's disk is nearly full"),
            Self::NotTaken => (CloseCode::Again, "the actor did not come to it in time"),
            Self::NoRoom => (CloseCode::Again, "too many answers are under way; the message was handled"),
            Self::NoRoomToHear => (CloseCode::Again, "too many messages are coming in"),
            Self::Unanswered => (CloseCode::Error, "the actor did not answer in time"),
            Self::Refused => (CloseCode::Error, "the actor refused the message"),
            Self::Failed => (CloseCode::Error, "the actor failed"),
            Self::Unsendable => (CloseCode::Error, "the actor gave an answer that cannot be sent"),
            Self::ActorEnds => (CloseCode::Away, "the actor is ending"),
        };
        Some(CloseFrame { code, reason: reason.into() })
    }

    pub(super) fn of_refusal(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::MailboxFull,
            Refusal::DiskLow(_) => Self::DiskLow,
            Refusal::NeverFits { .. } => Self::NeverFits,
            Refusal::NotRunning(..) | Refusal::Closed | Refusal::Asleep | Refusal::Suspending | Refusal::Unknown(_) => {
                Self::ActorEnds
            }
            Refusal::NotExported(..) | Refusal::NotReachable(..) | Refusal::TooLarge { .. } | Refusal::Deadlock(_) => {
                Self::Failed
            }
        }
    }

    /// The reason to end the connection if `outcome` is not an answer that can be sent.
    pub(super) fn of_outcome(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Returned(_) => Self::Unsendable,
            Outcome::Refused(_) => Self::Refused,
            Outcome::Failed(_) => Self::Failed,
            Outcome::Stopped | Outcome::Dropped(_) => Self::ActorEnds,
        }
    }

    /// What an error of tungstenite means. The caller has handled a wait that timed out.
    pub(super) fn of_error(error: &Error) -> Self {
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => Self::Closed,
            Error::Capacity(_) => Self::TooLarge,
            Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => Self::Gone,
            Error::Protocol(_) => Self::Protocol,
            Error::Utf8(_) => Self::NotText,
            // A forbidden frame: reading stopped before it.
            Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => Self::Protocol,
            // The budget for messages that come in has no room.
            Error::Io(error) if error.kind() == std::io::ErrorKind::QuotaExceeded => Self::NoRoomToHear,
            Error::Io(_) => Self::Gone,
            Error::WriteBufferFull(_) | Error::AttackAttempt | Error::Tls(_) => Self::Gone,
            Error::Url(_) | Error::Http(_) | Error::HttpFormat(_) => Self::Protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::data::FailureReason;
    use crate::system::ActorFailure;

    #[test]
    fn each_way_of_ending_has_the_code_that_says_what_a_client_may_do_about_it() {
        let code = |ending: Ending| ending.frame().map(|frame| u16::from(frame.code));
        assert_eq!(code(Ending::Closed), None);
        assert_eq!(code(Ending::ActorCloses), Some(1000));
        assert_eq!(code(Ending::ActorEnds), Some(1001));
        assert_eq!(code(Ending::TooLarge), Some(1009));
        assert_eq!(code(Ending::of_outcome(&Outcome::Refused("secret".into()))), Some(1011));
        assert_eq!(
            code(Ending::of_outcome(&Outcome::Failed(ActorFailure::new(FailureReason::Trap, "secret")))),
            Some(1011)
        );
        assert_eq!(code(Ending::of_refusal(&Refusal::Full)), Some(1013));
    }
}
