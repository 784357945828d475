//! Spans from events: which transition each `call` begins and each closing event ends, and which transition has caused it.
//!
//! The parent of a span is the transition in which the event lies that has caused the call. So whoever reads the events has to
//! know the transitions of the near past: the newest [`REMEMBERED`] are kept. A call whose cause is further back begins a trace
//! of its own, and so does the call of a timer, and one that has [`DEPTH`] others above it: a timer that comes every second, or
//! two actors that send each other messages for ever, would make a trace without an end. These are linked to what has led to them,
//! as far as that is known.

use std::collections::{HashMap, VecDeque};

use super::ids::{TransitionId, parsed_traceparent};
use super::span::{HttpSpan, PlaceInTrace, Span, SpanEnd};
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Caller, Failed, Refused, Return};
use crate::chain::{ChainEvent, EventKind};
use crate::handlers::http_events::{header_of_request, is_request, status_of_response, text_of_request};

/// How many finished transitions are kept, of all actors together.
const REMEMBERED: usize = 65_536;
/// How many unfinished ones.
const OPEN: usize = 65_536;
/// How many spans may stand above each other.
const DEPTH: u32 = 1_000;
/// The longest path, and the longest text of a failure, in characters.
const TEXT_CHARS: usize = 1_024;

/// The name of an actor, and its path if it has a label.
pub(super) type ActorNaming = (String, Option<String>);

/// The transitions of the near past.
pub(super) struct Transitions {
    share: f64,
    open: HashMap<ActorId, OpenTransition>,
    /// Of each actor the oldest first.
    finished: HashMap<ActorId, VecDeque<FinishedTransition>>,
    /// Whose they are, the oldest first.
    order: VecDeque<ActorId>,
}

/// A transition that has not ended. What is sent of it is there if its trace is sampled.
struct OpenTransition {
    sequence: u64,
    place: PlaceInTrace,
    begun: Option<Box<Span>>,
}

struct FinishedTransition {
    first: u64,
    last: u64,
    place: PlaceInTrace,
}

/// What an event has led to.
pub(super) enum Seen {
    Nothing,
    Ended(Box<Span>),
    /// There were too many open transitions, and this one is not among them.
    Overlooked,
}

impl Transitions {
    /// Looks at the spans of this share of all traces.
    pub(super) fn new(share: f64) -> Self {
        Self { share, open: HashMap::new(), finished: HashMap::new(), order: VecDeque::new() }
    }

    /// Takes the next event of the journal. `named` tells what an actor is called.
    pub(super) fn take(&mut self, actor: ActorId, event: &ChainEvent, named: impl FnOnce() -> ActorNaming) -> Seen {
        match event.kind() {
            Some(EventKind::Call) => self.begin(actor, event, named),
            Some(EventKind::Return | EventKind::Refused | EventKind::Failed | EventKind::Stopped) => {
                self.end(actor, event)
            }
            Some(EventKind::Started | EventKind::Intent | EventKind::HostCall) | None => Seen::Nothing,
        }
    }

    /// Forgets which transitions are open: some of their events were not seen. Returns how many spans go with that.
    pub(super) fn lose_track(&mut self) -> u64 {
        let lost = self.open.values().filter(|open| open.begun.is_some()).count();
        self.open.clear();
        lost as u64
    }

    fn begin(&mut self, actor: ActorId, event: &ChainEvent, named: impl FnOnce() -> ActorNaming) -> Seen {
        // Without its data nobody knows what has caused it.
        let Ok(call) = Call::from_cbor(&event.data) else { return Seen::Nothing };
        let transition = TransitionId { actor, sequence: event.sequence };
        let cause = call.cause.as_ref().map(|cause| TransitionId { actor: cause.actor, sequence: cause.sequence });
        let mut place = self.place_of(transition, cause, call.caller);
        if self.open.len() >= OPEN && !self.open.contains_key(&actor) {
            return if place.trace.is_sampled(self.share) { Seen::Overlooked } else { Seen::Nothing };
        }
        let begun = place.trace.is_sampled(self.share).then(|| {
            let (actor_name, actor_path) = named();
            let http = is_request(&event.event_type).then(|| http_of(event));
            if http.is_some() && place.link.is_none() {
                place.link = header_of_request(event, "traceparent").and_then(|text| parsed_traceparent(&text));
            }
            Box::new(Span {
                transition,
                place,
                actor_name,
                actor_path,
                export: event.function().to_owned(),
                caller: call.caller,
                cause,
                http,
                began_ms: event.timestamp,
                ended_ms: event.timestamp,
                end: SpanEnd::Returned,
            })
        });
        self.open.insert(actor, OpenTransition { sequence: event.sequence, place, begun });
        Seen::Nothing
    }

    fn place_of(&self, transition: TransitionId, cause: Option<TransitionId>, caller: Caller) -> PlaceInTrace {
        let root = |link| PlaceInTrace { trace: transition.trace(), parent: None, link, depth: 0 };
        let Some((parent, place)) = cause.and_then(|cause| self.find(cause)) else { return root(None) };
        if caller == Caller::Timer || place.depth + 1 >= DEPTH {
            return root(Some((place.trace, parent.span())));
        }
        PlaceInTrace { trace: place.trace, parent: Some(parent.span()), link: None, depth: place.depth + 1 }
    }

    /// The transition in which an event lies, and its place.
    fn find(&self, event: TransitionId) -> Option<(TransitionId, PlaceInTrace)> {
        let named = |sequence, place| (TransitionId { actor: event.actor, sequence }, place);
        if let Some(open) = self.open.get(&event.actor).filter(|open| open.sequence <= event.sequence) {
            return Some(named(open.sequence, open.place));
        }
        let finished = self.finished.get(&event.actor)?;
        let behind = finished.partition_point(|one| one.first <= event.sequence);
        let one = finished.get(behind.checked_sub(1)?).filter(|one| event.sequence <= one.last)?;
        Some(named(one.first, one.place))
    }

    fn end(&mut self, actor: ActorId, event: &ChainEvent) -> Seen {
        let Some(OpenTransition { sequence, place, begun }) = self.open.remove(&actor) else { return Seen::Nothing };
        self.remember(actor, FinishedTransition { first: sequence, last: event.sequence, place });
        let Some(mut span) = begun else { return Seen::Nothing };
        span.ended_ms = event.timestamp.max(span.began_ms);
        span.end = end_of(event);
        if let Some(http) = &mut span.http {
            http.status = status_of_response(event);
        }
        Seen::Ended(span)
    }

    fn remember(&mut self, actor: ActorId, transition: FinishedTransition) {
        self.finished.entry(actor).or_default().push_back(transition);
        self.order.push_back(actor);
        while self.order.len() > REMEMBERED {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(finished) = self.finished.get_mut(&oldest) {
                finished.pop_front();
                if finished.is_empty() {
                    self.finished.remove(&oldest);
                }
            }
        }
    }
}

fn http_of(call: &ChainEvent) -> HttpSpan {
    let text = |key| text_of_request(call, key).unwrap_or_default();
    let target = text("uri");
    let path = target.split('?').next().unwrap_or_default();
    HttpSpan { method: cut(&text("method")), path: cut(path), status: None }
}

fn end_of(closing: &ChainEvent) -> SpanEnd {
    match closing.kind() {
        Some(EventKind::Refused) => {
            let message = Refused::from_cbor(&closing.data).map(|refused| refused.message).unwrap_or_default();
            SpanEnd::Refused(cut(&message))
        }
        Some(EventKind::Failed) => match Failed::from_cbor(&closing.data) {
            Ok(Failed { reason, detail, .. }) => SpanEnd::Failed(reason.word(), cut(&format!("{reason}: {detail}"))),
            Err(_) => SpanEnd::Failed("failed", String::new()),
        },
        Some(EventKind::Stopped) => SpanEnd::Stopped,
        _ if Return::from_cbor(&closing.data).is_ok_and(|returned| returned.deferred.is_some()) => SpanEnd::Deferred,
        _ => SpanEnd::Returned,
    }
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::data::Encoded;
    use crate::chain::{Link, StateChain};

    const ASKED: &str = "call ntwk:theater/message-server-client.handle-request";
    const ANSWERED: &str = "return ntwk:theater/message-server-client.handle-request";

    /// An actor whose events are made up.
    struct Chained(StateChain);

    impl Chained {
        fn new() -> Self {
            Self(StateChain::new(ActorId::random()))
        }

        fn id(&self) -> ActorId {
            self.0.actor()
        }

        fn call(&mut self, cause: Option<Link>, caller: Caller) -> ChainEvent {
            let round = (caller == Caller::Timer).then_some(1);
            let call = Call { round, ..Call::new(cause, true, caller, Encoded(().to_cbor())) };
            self.0.append_salted(ASKED, call.to_cbor(), 1_000, None)
        }

        fn event(&mut self, event_type: &'static str) -> ChainEvent {
            self.0.append_salted(event_type, Vec::new(), 1_002, None)
        }

        fn link(&self, event: &ChainEvent) -> Option<Link> {
            Some(Link { actor: self.id(), sequence: event.sequence, hash: event.hash })
        }
    }

    fn named() -> ActorNaming {
        ("name".to_owned(), None)
    }

    fn ended(seen: Seen) -> Span {
        match seen {
            Seen::Ended(span) => *span,
            Seen::Nothing | Seen::Overlooked => panic!("a span has ended"),
        }
    }

    #[test]
    fn the_parent_of_a_span_is_the_transition_of_the_event_that_caused_it() {
        let (mut a, mut b, mut seen) = (Chained::new(), Chained::new(), Transitions::new(1.0));
        let (a_id, b_id) = (a.id(), b.id());
        let outer = a.call(None, Caller::Management);
        seen.take(a_id, &outer, named);
        let intent = a.event("intent ntwk:theater/message-server-host.request");
        let inner = b.call(a.link(&intent), Caller::Actor);
        seen.take(b_id, &inner, named);
        let inner = ended(seen.take(b_id, &b.event(ANSWERED), named));
        let closing = a.event(ANSWERED);
        let outer = ended(seen.take(a_id, &closing, named));
        assert_eq!((inner.place.trace, inner.place.parent), (outer.place.trace, Some(outer.transition.span())));
        assert_eq!((outer.place.parent, outer.place.depth, inner.place.depth), (None, 0, 1));
        assert_eq!((outer.place.trace, inner.cause.map(|it| it.sequence)), (outer.transition.trace(), Some(1)));
        assert_eq!((inner.began_ms, inner.ended_ms), (1_000, 1_002));
        // Also after it has ended, by any of its events.
        let later = b.call(a.link(&closing), Caller::Actor);
        seen.take(b_id, &later, named);
        let later = ended(seen.take(b_id, &b.event(ANSWERED), named));
        assert_eq!(later.place.parent, Some(outer.transition.span()));
    }

    #[test]
    fn a_timer_and_what_is_too_deep_begin_a_trace_that_is_linked_to_what_led_to_it() {
        let (mut a, mut seen) = (Chained::new(), Transitions::new(1.0));
        let id = a.id();
        let mut link = None;
        let mut roots = 0;
        for _ in 0..=DEPTH {
            let call = a.call(link, Caller::Actor);
            link = a.link(&call);
            seen.take(id, &call, named);
            let span = ended(seen.take(id, &a.event(ANSWERED), named));
            assert!(span.place.depth < DEPTH);
            roots += usize::from(span.place.parent.is_none());
        }
        assert_eq!(roots, 2);
        let fired = a.call(link, Caller::Timer);
        seen.take(id, &fired, named);
        let fired = ended(seen.take(id, &a.event("stopped"), named));
        assert_eq!((fired.place.parent, fired.place.trace), (None, fired.transition.trace()));
        assert!(fired.place.link.is_some() && fired.end == SpanEnd::Stopped);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_a_cause_beyond_that_begins_a_trace() {
        let (mut a, mut b, mut seen) = (Chained::new(), Chained::new(), Transitions::new(0.0));
        let (a_id, b_id) = (a.id(), b.id());
        let first = b.call(None, Caller::Actor);
        seen.take(b_id, &first, named);
        seen.take(b_id, &b.event(ANSWERED), named);
        assert!(seen.find(TransitionId { actor: b_id, sequence: 1 }).is_some());
        for _ in 0..REMEMBERED {
            let call = a.call(None, Caller::Actor);
            seen.take(a_id, &call, named);
            assert!(matches!(seen.take(a_id, &a.event(ANSWERED), named), Seen::Nothing), "it is not sampled");
        }
        assert_eq!((seen.order.len(), seen.finished.len()), (REMEMBERED, 1));
        assert!(seen.find(TransitionId { actor: b_id, sequence: 1 }).is_none());
    }

    #[test]
    fn an_end_without_a_beginning_is_no_span_and_lost_track_is_counted() {
        let (mut a, mut seen) = (Chained::new(), Transitions::new(1.0));
        let id = a.id();
        let before = a.event(ANSWERED);
        assert!(matches!(seen.take(id, &before, named), Seen::Nothing));
        let call = a.call(None, Caller::Actor);
        seen.take(id, &call, named);
        assert_eq!(seen.lose_track(), 1);
        assert!(matches!(seen.take(id, &a.event(ANSWERED), named), Seen::Nothing));
    }
}
