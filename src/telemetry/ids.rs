//! The ids of traces and spans. They follow from the chains: nothing is drawn, so whoever reads a chain can name its spans, and
//! a runtime that was started again goes on with the same traces.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::base::id::ActorId;

/// A transition, by its `call`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TransitionId {
    pub(super) actor: ActorId,
    /// The sequence of the `call`.
    pub(super) sequence: u64,
}

/// Names a trace: what a transition that nothing of the trace has caused has led to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TraceId([u8; 16]);

/// Names a span: one transition.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SpanId([u8; 8]);

impl TransitionId {
    fn digest(self, what: &str) -> [u8; 32] {
        let text = format!("{what} {} {}", self.actor, self.sequence);
        Sha256::digest(text).into()
    }

    /// The trace that begins with this transition: the first 16 bytes of the SHA-256 of `theater trace ACTOR SEQUENCE`.
    pub(super) fn trace(self) -> TraceId {
        let digest = self.digest("theater trace");
        TraceId(*digest.first_chunk().expect("it is longer"))
    }

    /// The span of this transition: the first 8 bytes of the SHA-256 of `theater span ACTOR SEQUENCE`.
    pub(super) fn span(self) -> SpanId {
        let digest = self.digest("theater span");
        SpanId(*digest.first_chunk().expect("it is longer"))
    }
}

impl TraceId {
    /// Whether this trace is among the `share` of all traces that are sent. Every span of a trace, and every runtime, comes to
    /// the same decision.
    pub(super) fn is_sampled(self, share: f64) -> bool {
        let drawn = u64::from_be_bytes(*self.0.last_chunk().expect("it is longer"));
        // The largest number that a share may be is 1, and that takes all.
        share >= 1.0 || (drawn as f64) < share * (u64::MAX as f64)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_from_the_actor_and_the_sequence_alone() {
        let actor: ActorId = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().expect("an id");
        let transition = TransitionId { actor, sequence: 7 };
        // printf 'theater trace 67e55044-10b1-426f-9247-bb680e5fe0c8 7' | sha256sum
        assert_eq!(transition.trace().to_string(), "e63c30f22b5da7cdb0ebc1bfdddd423a");
        assert_eq!(transition.span().to_string(), "599e2326b7ebbe7a");
    }

    #[test]
    fn about_the_share_of_traces_is_sampled_that_was_asked_for() {
        let actor = ActorId::random();
        let sampled = |share: f64| {
            let traces = (0..10_000).map(|sequence| TransitionId { actor, sequence }.trace());
            traces.filter(|trace| trace.is_sampled(share)).count()
        };
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 10_000));
        assert!((800..1_200).contains(&sampled(0.1)), "{}", sampled(0.1));
        let trace = TransitionId { actor, sequence: 1 }.trace();
        assert!(!trace.is_sampled(0.3) || trace.is_sampled(0.6), "a larger share has the smaller one in it");
    }
}
