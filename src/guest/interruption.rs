//! Interruptions: why a guest was stopped in the middle of a call, other than by a trap of its own.

use super::script::Divergence;

/// The reason. It travels as a host error through the guest's stack frames to the place where the call was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interruption {
    /// The actor was ordered to end, and its grace is over.
    #[error("the actor was stopped")]
    Ordered,
    /// The runtime is shutting down. The transition stays open.
    #[error("the runtime is shutting down")]
    Suspending,
    #[error("used up its CPU time: the limit cpu_ms_per_call is {0}")]
    CpuTime(u64),
    #[error("wanted more memory: the limit memory_bytes is {0}")]
    Memory(u64),
    #[error("{0}")]
    TooLarge(String),
    /// The operating system refused something that a running guest needs. The guest did nothing wrong, and would have
    /// gone on on another machine. The text is what was refused.
    #[error("the machine could not give what it needs to run: {0}")]
    Shortage(String),
    /// Replay needs rows of the actor's table that are not there, or cannot be read.
    #[error("{0}")]
    NoTable(String),
    #[error("the journal takes no more records")]
    JournalDown,
    /// Replay has reached the place where the incarnation was ended from outside.
    #[error("ended here when it was recorded")]
    RecordedEnd,
    /// In a rehearsal: nobody has said how a host call is answered.
    #[error("{0}")]
    Unanswered(String),
    #[error("{0}")]
    Diverged(Box<Divergence>),
}
