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

/// The trace and the span of another program that a header `traceparent` names, as the W3C's recommendation Trace Context writes
/// them.
pub(super) fn parsed_traceparent(text: &str) -> Option<(TraceId, SpanId)> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // A later version may have more parts. None has upper-case digits.
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let is_well =
        is_hex(version, 2) && version != "ff" && is_hex(flags, 2) && (version != "00" || parts.next().is_none());
    if !is_well || !is_hex(trace, 32) || !is_hex(span, 16) {
        return None;
    }
    let (mut trace_id, mut span_id) = ([0; 16], [0; 8]);
    hex::decode_to_slice(trace, &mut trace_id).ok()?;
    hex::decode_to_slice(span, &mut span_id).ok()?;
    (trace_id != [0; 16] && span_id != [0; 8]).then_some((TraceId(trace_id), SpanId(span_id)))
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
    fn a_traceparent_is_read_as_its_recommendation_says() {
        let read = |text: &str| parsed_traceparent(text).map(|(trace, span)| format!("{trace} {span}"));
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        for good in
            [format!("00-{trace}-{span}-01"), format!("00-{trace}-{span}-00"), format!("01-{trace}-{span}-01-x")]
        {
            assert_eq!(read(&good), Some(format!("{trace} {span}")), "{good}");
        }
        for bad in [
            String::new(),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-{span}-01-x"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{trace}-{span}-0g"),
            format!("00-{trace}é-{span}-01"),
        ] {
            assert_eq!(read(&bad), None, "{bad}");
        }
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
