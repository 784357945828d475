//! The script of a replay: the recorded events in order, and the comparison of what the replay does with what was
//! recorded.

use std::collections::VecDeque;
use std::fmt;

use serde_json::Value as Json;

use super::past::{Past, resumes};
use super::shortage::{STACK_OVERFLOW, was_recorded_as_a_trap};
use crate::chain::cbor::{Value, bytes_to_json};
use crate::chain::data::{Failed, FailureReason};
use crate::chain::{ChainEvent, EventKind};

/// The first difference between a recorded chain and its replay.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Divergence {
    /// The sequence of the event that differs.
    pub sequence: u64,
    /// The part that differs: `event_type`, or `data` with the path of keys into it.
    pub field: String,
    /// What the chain says there.
    pub recorded: Json,
    /// What the replay did there.
    pub actual: Json,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequence, field, recorded, actual } = self;
        if recorded == actual {
            return write!(
                f,
                "event {sequence}: {field} was recorded as {recorded}, but replay gives that in another form (text for bytes, \
                 or another encoding)"
            );
        }
        write!(f, "event {sequence}: {field} was recorded as {recorded}, but replay gives {actual}")
    }
}

/// Reads the events from a sequence on, one page at a time; an empty page at the end, and an error if the chain cannot
/// be followed further.
pub(crate) type EventPages = Box<dyn FnMut(u64) -> Result<Vec<ChainEvent>, String> + Send + Sync>;

/// The recorded events, and how far the replay has come. However long the chain is, only one page of it is in memory,
/// together with the past events that a guest may be shown.
pub(crate) struct Script {
    upcoming: VecDeque<ChainEvent>,
    past: Past,
    more: Option<EventPages>,
    broken: Option<String>,
    /// The last event that was replayed is a `started` that goes on with the open transition.
    is_resumed: bool,
}

impl Script {
    pub(crate) fn new(events: Vec<ChainEvent>) -> Self {
        Self::after(Past::default(), events)
    }

    /// The script of `events`; `past` holds the events before them that a guest may be shown.
    pub(crate) fn after(past: Past, events: Vec<ChainEvent>) -> Self {
        Self { upcoming: events.into(), past, more: None, broken: None, is_resumed: false }
    }

    /// The script of the events that `pages` reads after `past`.
    pub(crate) fn of_pages(past: Past, pages: EventPages) -> Self {
        let next = past.last().map_or(0, |last| last + 1);
        let mut script = Self { upcoming: VecDeque::new(), past, more: Some(pages), broken: None, is_resumed: false };
        script.turn(next);
        script
    }

    /// The event that should come next.
    pub(crate) fn peek(&self) -> Option<&ChainEvent> {
        self.upcoming.front()
    }

    /// The last event in memory.
    pub(crate) fn last(&self) -> Option<&ChainEvent> {
        self.upcoming.back()
    }

    pub(crate) fn advance(&mut self) {
        let Some(event) = self.upcoming.pop_front() else { return };
        let next = event.sequence + 1;
        self.is_resumed = resumes(&event);
        self.past.push(event);
        if self.upcoming.is_empty() {
            self.turn(next);
        }
    }

    fn turn(&mut self, next: u64) {
        match self.more.as_mut().map(|more| more(next)) {
            Some(Ok(page)) => self.upcoming = page.into(),
            Some(Err(why)) => self.broken = Some(why),
            None => {}
        }
    }

    /// Why the script could not be read to its end.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// The events that were replayed last; they are equal to the recorded ones.
    pub(crate) fn past(&self) -> &Past {
        &self.past
    }

    /// Whether the next event is a start that goes on with the open transition.
    pub(crate) fn at_a_resumption(&self) -> bool {
        self.peek().is_some_and(resumes)
    }

    /// Whether the next event ended the transition from outside. Such an end is an input, which replay applies. The end
    /// of the chain counts as such an end too: after it there is nothing to compare, even if the guest would run on.
    pub(crate) fn ends_from_outside(&self) -> bool {
        let Some(event) = self.peek() else { return true };
        match event.kind() {
            Some(EventKind::Stopped | EventKind::Started) => true,
            Some(EventKind::Failed) => {
                let Ok(failed) = event.read::<Failed>() else { return false };
                match failed.reason {
                    // How deep a guest gets depends on the processor, and on the stack that this version gives.
                    FailureReason::Trap => failed.detail == STACK_OVERFLOW || was_recorded_as_a_trap(&failed.detail),
                    // The start before it was to go on with the transition, and could not, for instance because its port was taken.
                    FailureReason::Init => self.is_resumed,
                    FailureReason::Limit
                    | FailureReason::Deadline
                    | FailureReason::Panic
                    | FailureReason::Interrupted
                    | FailureReason::Restarts => true,
                }
            }
            Some(
                EventKind::Call | EventKind::Intent | EventKind::HostCall | EventKind::Return | EventKind::Refused,
            )
            | None => false,
        }
    }
}

/// Compares an event of the replay with the recorded one, and returns the first difference, if there is one.
pub(crate) fn compare(recorded: &ChainEvent, event_type: &str, data: &[u8]) -> Option<Divergence> {
    let differs = |field: &str, recorded_value: Json, actual: Json| {
        Some(Divergence { sequence: recorded.sequence, field: field.into(), recorded: recorded_value, actual })
    };
    if recorded.event_type != event_type {
        return differs("event_type", recorded.event_type.as_ref().into(), event_type.into());
    }
    if recorded.data == data {
        return None;
    }
    match (Value::parse(&recorded.data), Value::parse(data)) {
        (Ok(before), Ok(now)) => {
            let (path, before, now) = first_difference("data".into(), &before, &now);
            differs(&path, before, now)
        }
        _ => differs("data", bytes_to_json(&recorded.data), bytes_to_json(data)),
    }
}

/// Descends into the data to the first map key or array item that differs.
fn first_difference(path: String, before: &Value, now: &Value) -> (String, Json, Json) {
    match (before, now) {
        (Value::Map(before_entries), Value::Map(now_entries))
            if before_entries.iter().map(|(key, _)| key).eq(now_entries.iter().map(|(key, _)| key)) =>
        {
            let mut pairs = before_entries.iter().zip(now_entries);
            match pairs.find(|((_, before), (_, now))| before != now) {
                Some(((key, before), (_, now))) => first_difference(format!("{path}.{key}"), before, now),
                None => (path, before.to_json(), now.to_json()),
            }
        }
        (Value::Array(before_items), Value::Array(now_items)) if before_items.len() == now_items.len() => {
            let mut pairs = before_items.iter().zip(now_items).enumerate();
            match pairs.find(|(_, (before, now))| before != now) {
                Some((at, (before, now))) => first_difference(format!("{path}[{at}]"), before, now),
                None => (path, before.to_json(), now.to_json()),
            }
        }
        _ => (path, before.to_json(), now.to_json()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::cbor::Cbor;
    use crate::chain::data::{Encoded, NamedState, Return, StateAfter};
    use crate::chain::{EventHash, StateChain};

    fn returned(count: u64) -> Vec<u8> {
        let result = Encoded((format!("{{\"count\":{count}}}").into_bytes(),).to_cbor());
        Return::new(StateAfter::Now(NamedState::None), result).to_cbor()
    }

    #[test]
    fn what_differs_in_its_form_alone_is_not_said_to_be_two_equal_things() {
        let mut chain = StateChain::new(crate::base::id::ActorId::random());
        let recorded = chain.append("refused x.y", b"\xa1\x61m\x62no".to_vec(), 0);
        let said = compare(&recorded, "refused x.y", b"\xa1\x61m\x42no").expect("bytes for text").to_string();
        assert!(said.contains("data.m was recorded as \"no\", but replay gives that in another form"), "{said}");
    }

    #[test]
    fn the_first_difference_is_named_by_its_path_and_decoded() {
        let mut chain = StateChain::new(crate::base::id::ActorId::random());
        let recorded = chain.append("return x.y", returned(1), 0);
        assert_eq!(compare(&recorded, "return x.y", &returned(1)), None);
        let difference = compare(&recorded, "return x.y", &returned(2)).expect("another count");
        assert_eq!(difference.field, "data.result[0]");
        assert_eq!(difference.recorded, serde_json::json!({ "count": 1 }));
        assert_eq!(difference.actual, serde_json::json!({ "count": 2 }));
        let other = compare(&recorded, "refused x.y", &[]).expect("another type");
        assert_eq!((other.field.as_str(), other.sequence), ("event_type", 0));
        assert_ne!(recorded.hash, EventHash([0; 20]));
    }
}
