//! The HTTP requests that actors answer, a line each as they end: time, actor, method and path, status, how long it took.

use std::collections::HashMap;
use std::time::Duration;

use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Refused, Return};
use crate::chain::{ChainEvent, EventKind};
use crate::cli::show::{line, visible};
use crate::cli::times::time;
use crate::handlers::http_events::{is_ending, is_request, status_of_response, text_of_request};
use crate::system::TheaterHandle;
use crate::theater::{EventsOf, ReadError};

/// The kinds of events that begin and end a request.
const KINDS: [EventKind; 5] =
    [EventKind::Call, EventKind::Return, EventKind::Refused, EventKind::Failed, EventKind::Stopped];

/// How long one wait for the next event lasts; then there is another.
const AT_A_TIME: Duration = Duration::from_secs(60);

/// What shows the requests of a runtime from now on, until the process ends.
pub(super) fn show(theater: &TheaterHandle) -> Result<impl FnOnce() + Send + 'static, ReadError> {
    let mut events = theater.subscribe(EventsOf::Everybody, None, &KINDS)?;
    let theater = theater.clone();
    Ok(move || {
        let mut open: HashMap<ActorId, ChainEvent> = HashMap::new();
        loop {
            match events.next_within(AT_A_TIME) {
                Ok(Some(followed)) if is_request(&followed.event.event_type) => {
                    open.insert(followed.actor, followed.event);
                }
                Ok(Some(followed)) if is_ending(&followed.event.event_type) => {
                    let name = || theater.actor(followed.actor).map(|actor| actor.name).unwrap_or_default();
                    if let Some(call) = open.remove(&followed.actor) {
                        line(&request(&name(), &call, &followed.event));
                    }
                }
                Ok(_) => {}
                Err(why) => {
                    log::warn!("requests are not shown any more: {why}");
                    return;
                }
            }
        }
    })
}

/// `12:00:00.000Z  till  GET /items  200  3 ms`.
fn request(name: &str, call: &ChainEvent, closing: &ChainEvent) -> String {
    let text = |key| text_of_request(call, key).unwrap_or_default();
    let (method, target) = (text("method"), text("uri"));
    let took = closing.timestamp.saturating_sub(call.timestamp);
    let became = match closing.kind() {
        Some(EventKind::Refused) => {
            let why = Refused::from_cbor(&closing.data).map(|refused| refused.message).unwrap_or_default();
            format!("500  {took} ms  refused: {why}")
        }
        Some(EventKind::Failed) => format!("500  {took} ms  the actor failed"),
        Some(EventKind::Stopped) => format!("---  {took} ms  the actor was stopped"),
        _ if Return::from_cbor(&closing.data).is_ok_and(|returned| returned.deferred.is_some()) => {
            format!("---  {took} ms  answered later")
        }
        _ => format!("{}  {took} ms", status_of_response(closing).map_or("---".into(), |status| status.to_string())),
    };
    visible(&format!("{}  {name:<12} {method} {target}  {became}", time(call.timestamp)))
}
