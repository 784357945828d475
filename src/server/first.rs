//! Commands of the first protocol: that of the project `colinrozzi/theater` of February 2025, in its
//! `src/theater_server.rs`, `src/messages.rs` and `src/metrics.rs`. Bytes are arrays of numbers, and a whole history is
//! one answer.

use serde_json::{Value, json};

use super::lookup::known;
use super::metrics::{self, DistributionView};
use super::protocol::{EventsAnswer, PushedEvent, Response, StatusAnswer};
use crate::base::clock;
use crate::base::limits::FRAME_BYTES;
use crate::base::metrics::Distribution;
use crate::system::TheaterHandle;

/// How many events are read at a time.
const PAGE_EVENTS: u64 = 1_000;

pub(super) fn status(theater: &TheaterHandle, id: String) -> Result<Response, String> {
    let info = theater.actor(known(theater, &id)?.id).ok_or_else(|| format!("no such actor: {id}"))?;
    Ok(Response::ActorStatus(StatusAnswer::Word { id, status: (&info.status).into() }))
}

pub(super) fn send(theater: &TheaterHandle, id: String, data: Vec<u8>) -> Result<Response, String> {
    theater.send(known(theater, &id)?.id, data).map_err(|error| error.to_string())?;
    Ok(Response::SentMessage { id })
}

pub(super) fn request(theater: &TheaterHandle, id: String, data: Vec<u8>) -> Result<Response, String> {
    let message = theater.request(known(theater, &id)?.id, data).map_err(|error| error.to_string())?;
    Ok(Response::RequestedMessage { id, message })
}

/// The whole history, or at most `limit` events of its beginning.
pub(super) fn events(theater: &TheaterHandle, id: String, limit: Option<u64>) -> Result<Response, String> {
    let actor = known(theater, &id)?.id;
    let limit = limit.unwrap_or(u64::MAX);
    let (mut events, mut bytes) = (Vec::new(), 0);
    while (events.len() as u64) < limit {
        let (from, most) = (events.len() as u64, PAGE_EVENTS.min(limit - events.len() as u64));
        let page = theater.events(actor, from, most).map_err(|error| error.to_string())?;
        if page.is_empty() {
            break;
        }
        for event in page.into_iter().map(PushedEvent::from) {
            // In JSON each byte of its data has at least two characters.
            bytes += 2 * event.data.len();
            events.push(event);
        }
        if bytes > FRAME_BYTES {
            return Err(format!("the events of {id} do not fit one frame of {FRAME_BYTES} bytes; {BY_PAGES}"));
        }
    }
    Ok(Response::ActorEvents(EventsAnswer::All { id, events }))
}

pub(super) const BY_PAGES: &str = "give \"from\" and \"limit\", and they are given by pages";

/// The metrics of an actor that those clients show, and beside these everything else that is measured.
pub(super) fn metrics(theater: &TheaterHandle, id: String) -> Result<Response, String> {
    let info = theater.actor(known(theater, &id)?.id).ok_or_else(|| format!("no such actor: {id}"))?;
    let since_ms = info.since_ms;
    let reader = theater.journal.reader().ok();
    let measured = metrics::of_actor(theater, reader.as_ref(), info);
    let (view, calls) = measured.ok_or_else(|| format!("no such actor: {id}"))?;
    let counts = &view.counts;
    let mut metrics = serde_json::to_value(&view).map_err(|error| error.to_string())?;
    metrics["operation_metrics"] = json!({
        "total_operations": counts.calls,
        "failed_operations": counts.refusals + counts.failures,
        "total_processing_time": counts.latency_us.sum * NANOS,
        "max_processing_time": longest(&counts.latency_us) * NANOS,
        "min_processing_time": shortest(&calls).map(|micros| micros * NANOS),
    });
    metrics["resource_metrics"] =
        json!({ "memory_usage": counts.memory_bytes, "operation_queue_size": counts.mailbox_depth });
    metrics["start_time"] = json!(since_ms / 1_000);
    metrics["uptime_secs"] = json!(clock::unix_ms().saturating_sub(since_ms) / 1_000);
    metrics["last_update"] = Value::Null;
    Ok(Response::ActorMetrics { id, metrics })
}

/// How many nanoseconds a microsecond has.
const NANOS: u64 = 1_000;

/// A bound that no latency exceeds, as a power of two.
fn longest(latency: &DistributionView) -> u64 {
    latency.buckets.len().checked_sub(1).map_or(0, Distribution::upper)
}

/// A bound that no latency is below, as a power of two.
fn shortest(calls: &Distribution) -> Option<u64> {
    let first = calls.counts.iter().position(|count| *count > 0)?;
    Some(first.checked_sub(1).map_or(0, |before| Distribution::upper(before) + 1))
}
