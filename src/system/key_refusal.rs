//! Why a request with an idempotency key is neither delivered nor answered from the chain.

use super::refusal::Refusal;

/// Why a keyed request is neither delivered nor answered from the chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyRefusal {
    #[error("a request with this key is at work; ask again later")]
    UnderWay,
    #[error("this key was used for another request; give each request a key of its own")]
    OfAnother,
    #[error("this key was used, and the recorded answer was dropped by a prune or a redaction")]
    AnswerDropped,
    #[error("the journal cannot be read: {0}")]
    Unreadable(String),
    #[error(transparent)]
    NotTaken(#[from] Refusal),
}
