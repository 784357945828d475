//! The events of HTTP requests as lines for people: `POST /transfers → 201, 3 ms`.

use std::collections::HashMap;

use super::show::{cut, visible};
use crate::chain::cbor::Cbor;
use crate::chain::data::Return;
use crate::chain::{ChainEvent, EventKind};
use crate::handlers::http_events::{body_of_request, is_ending, is_request, status_of_response, text_of_request};

/// A call with more events than this is shown without its end.
const HELD: usize = 1_000;

/// Events that are shown together, since what begins with them is told with how it ends: the text in place of the data of some
/// of them.
#[derive(Default)]
pub(super) struct HeldEvents {
    held: Vec<ChainEvent>,
}

impl HeldEvents {
    /// Takes the next event of a chain. Returns those that can be shown now, each with the text for its line.
    pub(super) fn take(&mut self, event: ChainEvent) -> Vec<(ChainEvent, Option<String>)> {
        let begins = is_request(&event.event_type) && event.dropped.is_none();
        let mut ready = if begins { self.end(None) } else { Vec::new() };
        if !begins && self.held.is_empty() {
            ready.push((event, None));
            return ready;
        }
        let ending = is_ending(&event.event_type).then(|| event.clone());
        self.held.push(event);
        if ending.is_some() || self.held.len() >= HELD {
            ready.extend(self.end(ending.as_ref()));
        }
        ready
    }

    /// What is left at the end of the chain, or of a call that has ended.
    pub(super) fn end(&mut self, closing: Option<&ChainEvent>) -> Vec<(ChainEvent, Option<String>)> {
        let held = std::mem::take(&mut self.held);
        let told = |(at, event): (usize, ChainEvent)| {
            let text = (at == 0).then(|| asked(&event, closing));
            (event, text)
        };
        held.into_iter().enumerate().map(told).collect()
    }
}

/// The requests that are open while events are followed: how one ends is told with its end.
#[derive(Default)]
pub(super) struct OpenRequests(HashMap<String, ChainEvent>);

impl OpenRequests {
    /// The text for the line of an event, if the event begins or ends a request. `actor` tells actors apart.
    pub(super) fn text(&mut self, event: &ChainEvent, actor: &str) -> Option<String> {
        if is_request(&event.event_type) && event.dropped.is_none() {
            self.0.insert(actor.to_owned(), event.clone());
            return Some(asked(event, None));
        }
        let call = self.0.get(actor)?;
        if !is_ending(&event.event_type) {
            return None;
        }
        let text = format!("{}{}", target(call), answered(call, event));
        self.0.remove(actor);
        // Why an actor fails is the better text.
        Some(text).filter(|_| event.kind() != Some(EventKind::Failed))
    }
}

fn target(call: &ChainEvent) -> String {
    let text = |key| text_of_request(call, key).unwrap_or_default();
    visible(&format!("{} {}", text("method"), text("uri")))
}

/// The line of a call: method and path, how it ended, and the body.
fn asked(call: &ChainEvent, closing: Option<&ChainEvent>) -> String {
    let answered = closing.map(|closing| answered(call, closing)).unwrap_or_default();
    let body = body_of_request(call).map(|body| format!("  {}", cut(&body.to_string()))).unwrap_or_default();
    format!("{}{answered}{body}", target(call))
}

fn answered(call: &ChainEvent, closing: &ChainEvent) -> String {
    let took = closing.timestamp.saturating_sub(call.timestamp);
    let status = match closing.kind() {
        Some(EventKind::Refused) => "500 (refused)".to_owned(),
        Some(EventKind::Failed) => "500 (failed)".to_owned(),
        Some(EventKind::Stopped) => "no answer: stopped".to_owned(),
        _ if Return::from_cbor(&closing.data).is_ok_and(|returned| returned.deferred.is_some()) => {
            "answered later".to_owned()
        }
        _ => status_of_response(closing).map_or("?".to_owned(), |status| status.to_string()),
    };
    format!(" → {status}, {took} ms")
}
