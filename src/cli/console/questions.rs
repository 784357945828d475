//! What the page asks about one actor: its events, decoded, and its states.
//!
//! | question | parameters |
//! |---|---|
//! | `/api/events` | `actor`, `from`, `limit`: a page of the chain, in order |
//! | `/api/event` | `actor`, `sequence`: one event, whole |
//! | `/api/search` | `actor`, `before`, `kind`, `text`, `since`, `until`: the events that fit, the newest first, in steps |
//! | `/api/state` | `actor`, `at`: the state after an event, or the newest |
//! | `/api/diff` | `actor`, `from`, `to`: what differs between the states after two events |
//! | `/api/describe` | `actor`: its manifest, limits, handlers, component |
//! | `/api/trace` | `actor`, `event`: all that came of the call that led to an event, across actors |

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::answer::ConsoleAnswer;
use super::runtime::Runtime;
use crate::base::json_difference::{JsonDifference, all_differences};
use crate::chain::{ChainEvent, EventKind};
use crate::cli::Failure;
use crate::cli::past::{ActorHistory, fetch};
use crate::cli::show::event_json;
use crate::cli::trace::trace;
use crate::server::protocol::{EventView, EventsAnswer, Request, Response};
use crate::server::{Client, ClientError, unexpected};

/// The most events of an answer.
const PAGE: u64 = 200;
/// An event whose data is longer is shown without it in a list.
const LISTED_DATA_BYTES: usize = 16 * 1024;
/// So many events are looked at in one step of a search.
const SEARCHED: u64 = 5_000;
/// The events that end a call.
const CLOSING: [EventKind; 4] = [EventKind::Return, EventKind::Refused, EventKind::Failed, EventKind::Stopped];
/// A longer state is shown in part.
const SHOWN_STATE_BYTES: usize = 256 * 1024;
/// So many differences of two states are listed; the others are counted.
const LISTED_CHANGES: usize = 500;
/// A longer value of them is cut.
const LISTED_VALUE_BYTES: usize = 2_000;

type Params = HashMap<String, String>;

pub(super) fn answer(runtime: &Runtime, path: &str, query: &str) -> ConsoleAnswer {
    let params: Params = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let question = match path {
        "/api/events" => events,
        "/api/event" => event,
        "/api/search" => search,
        "/api/state" => state,
        "/api/diff" => diff,
        "/api/trace" => causes,
        "/api/describe" => describe,
        _ => return ConsoleAnswer::error(404, format!("there is nothing at {path}")),
    };
    let is_work = !["/api/events", "/api/event", "/api/describe"].contains(&path);
    let _passed = match is_work.then(|| runtime.gate.pass()) {
        Some(None) => return ConsoleAnswer::error(503, "too many questions at once: ask again in a moment"),
        passed => passed,
    };
    question(runtime, &params).map_or_else(|refused| refused, ConsoleAnswer::ok)
}

fn text<'a>(params: &'a Params, name: &str) -> Result<&'a str, ConsoleAnswer> {
    params
        .get(name)
        .map(String::as_str)
        .ok_or_else(|| ConsoleAnswer::error(400, format!("the parameter {name} is missing")))
}

fn number(params: &Params, name: &str) -> Result<Option<u64>, ConsoleAnswer> {
    let Some(text) = params.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| ConsoleAnswer::error(400, format!("{name} is a number, and {text:?} is none")))
}

/// Events from `from` on, without the data that is too long for a page of the protocol.
fn page_of(client: &mut Client, id: &str, from: u64, limit: u64) -> Result<Vec<EventView>, ClientError> {
    match client.ask(&Request::GetActorEvents { id: id.to_owned(), from: Some(from), limit: Some(limit) })? {
        Response::ActorEvents(EventsAnswer::Page { events, .. }) => Ok(events),
        other => Err(unexpected(&other)),
    }
}

/// An event as a list shows it: with its data, unless that is long.
fn listed(view: EventView) -> Result<(ChainEvent, Json), ClientError> {
    let is_long = view.data.is_none();
    let event = view.into_event(|_| Ok(Vec::new())).map_err(ClientError::Unexpected)?;
    let mut json = event_json(&event, None);
    if is_long || event.data.len() > LISTED_DATA_BYTES {
        json["data"] = Json::Null;
        json["long"] = json!(true);
    }
    if let Some(dropped) = event.dropped {
        json["data"] = Json::Null;
        json["dropped"] = json!(dropped.length);
    }
    Ok((event, json))
}

fn events(runtime: &Runtime, params: &Params) -> Result<Json, ConsoleAnswer> {
    let actor = text(params, "actor")?;
    let from = number(params, "from")?.unwrap_or(0);
    let limit = number(params, "limit")?.unwrap_or(PAGE).clamp(1, PAGE);
    let views =
        runtime.read(|client| page_of(client, actor, from, limit)).map_err(|why| ConsoleAnswer::refused(&why))?;
    let events: Result<Vec<Json>, ClientError> = views.into_iter().map(|view| Ok(listed(view)?.1)).collect();
    events.map(|events| json!({ "events": events })).map_err(|why| ConsoleAnswer::refused(&why))
}

fn event(runtime: &Runtime, params: &Params) -> Result<Json, ConsoleAnswer> {
    let (actor, sequence) = (text(params, "actor")?, number(params, "sequence")?);
    let sequence = sequence.ok_or_else(|| ConsoleAnswer::error(400, "the parameter sequence is missing"))?;
    let view =
        runtime.read(|client| page_of(client, actor, sequence, 1)).map_err(|why| ConsoleAnswer::refused(&why))?;
    let Some(view) = view.into_iter().find(|view| view.sequence == sequence) else {
        return Err(ConsoleAnswer::error(404, format!("the chain has no event {sequence} yet")));
    };
    let whole = |sequence| {
        let bytes = |offset| Request::GetEventData { id: actor.to_owned(), sequence, offset };
        let mut client = runtime.connect().map_err(|why| why.to_string())?;
        fetch(&mut client, bytes).map_err(|why| why.to_string())
    };
    let event = view.into_event(whole).map_err(|why| ConsoleAnswer::error(502, why))?;
    let mut json = event_json(&event, None);
    if let Some(dropped) = event.dropped {
        json["data"] = Json::Null;
        json["dropped"] = json!(dropped.length);
    }
    Ok(json)
}

/// One step of a search backwards from event `before`. `next` is where the next step begins; null at the beginning of the chain.
fn search(runtime: &Runtime, params: &Params) -> Result<Json, ConsoleAnswer> {
    let actor = text(params, "actor")?;
    let before =
        number(params, "before")?.ok_or_else(|| ConsoleAnswer::error(400, "the parameter before is missing"))?;
    let (since, until) = (number(params, "since")?.unwrap_or(0), number(params, "until")?.unwrap_or(u64::MAX));
    let kinds: Vec<&str> =
        params.get("kind").map(|kinds| kinds.split(',').filter(|kind| !kind.is_empty()).collect()).unwrap_or_default();
    let wanted = params.get("text").map(|text| text.to_lowercase()).filter(|text| !text.is_empty());
    let fits = |event: &ChainEvent, json: &Json| {
        let kind = event.kind().map(|kind| kind.word()).unwrap_or_default();
        let says = |wanted: &String| {
            let said = |json: &Json| json["data"].to_string().to_lowercase().contains(wanted);
            // A list leaves long data out; a search does not.
            event.event_type.to_lowercase().contains(wanted) || said(&event_json(event, None)) || said(&json["closing"])
        };
        let is_then = (since..=until).contains(&event.timestamp);
        (kinds.is_empty() || kinds.contains(&kind)) && is_then && wanted.as_ref().is_none_or(says)
    };
    let lowest = before.saturating_sub(SEARCHED);
    let found = runtime.read(|client| {
        let mut found: Vec<Json> = Vec::new();
        let mut end = before;
        while end > lowest && (found.len() as u64) < PAGE {
            let begin = end.saturating_sub(1_000).max(lowest);
            // The event that ends a call may lie beyond: it is shown with the call, and searched with it.
            let mut from = begin;
            let mut events: Vec<(ChainEvent, Json)> = Vec::new();
            let mut open: Option<usize> = None;
            while from < end || (open.is_some() && from < end + PAGE) {
                let views = page_of(client, actor, from, if from < end { end - from } else { PAGE })?;
                let Some(last) = views.last().map(|view| view.sequence) else { break };
                from = last + 1;
                for view in views {
                    let (event, json) = listed(view)?;
                    let is_closing = event.kind().is_some_and(|kind| CLOSING.contains(&kind));
                    if let Some(at) = open.take_if(|_| is_closing) {
                        events[at].1["closing"] = json.clone();
                    }
                    if event.sequence < end {
                        open = if event.kind() == Some(EventKind::Call) { Some(events.len()) } else { open };
                        events.push((event, json));
                    }
                }
            }
            found.extend(events.into_iter().rev().filter(|(event, json)| fits(event, json)).map(|(_, json)| json));
            end = begin;
        }
        Ok((found, end))
    });
    let (found, end) = found.map_err(|why| ConsoleAnswer::refused(&why))?;
    Ok(json!({ "events": found, "next": (end > 0).then_some(end) }))
}

/// A connection of its own for what asks several commands in a row.
fn history(runtime: &Runtime, actor: &str) -> Result<ActorHistory, ConsoleAnswer> {
    let client = runtime.connect().map_err(|why| ConsoleAnswer::refused(&why))?;
    Ok(ActorHistory::Running { client, id: actor.to_owned() })
}

fn said_no(failure: Failure) -> ConsoleAnswer {
    ConsoleAnswer::error(409, failure)
}

fn state(runtime: &Runtime, params: &Params) -> Result<Json, ConsoleAnswer> {
    let (actor, at) = (text(params, "actor")?, number(params, "at")?);
    let mut history = history(runtime, actor)?;
    let state = match at {
        Some(at) => history.state_at(at),
        None => history.newest_state().map(|(state, _)| state),
    };
    let Some(bytes) = state.map_err(said_no)? else { return Ok(json!({ "at": at, "size": null })) };
    // The text as it is: the page shows JSON in the order in which the actor has written it.
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_STATE_BYTES)]);
    Ok(json!({ "at": at, "size": bytes.len(), "text": shown, "is_cut": bytes.len() > SHOWN_STATE_BYTES }))
}

/// A value of a list of differences: a long one is cut, as text.
fn in_a_list(value: Option<Json>) -> Option<Json> {
    let text = value.as_ref()?.to_string();
    if text.len() <= LISTED_VALUE_BYTES {
        return value;
    }
    Some(format!("{}… ({} bytes)", &text[..text.floor_char_boundary(LISTED_VALUE_BYTES)], text.len()).into())
}

fn diff(runtime: &Runtime, params: &Params) -> Result<Json, ConsoleAnswer> {
    let actor = text(params, "actor")?;
    let event = |name| {
        number(params, name)?.ok_or_else(|| ConsoleAnswer::error(400, format!("the parameter {name} is missing")))
    };
    let (from, to) = (event("from")?, event("to")?);
    let mut history = history(runtime, actor)?;
    let (before, after) = (history.state_at(from).map_err(said_no)?, history.state_at(to).map_err(said_no)?);
    let json = |state: &Option<Vec<u8>>| state.as_deref().map(serde_json::from_slice::<Json>).transpose();
    let (Ok(one), Ok(other)) = (json(&before), json(&after)) else {
        let length = |state: &Option<Vec<u8>>| state.as_ref().map_or(0, Vec::len);
        let how = if before == after { "are the same" } else { "differ" };
        let note = format!("The states are not JSON, and {how}: {} and {} bytes.", length(&before), length(&after));
        return Ok(json!({ "changes": [], "left_out": 0, "note": note }));
    };
    let (changes, left_out) = all_differences(one.as_ref(), other.as_ref(), LISTED_CHANGES);
    let change = |it: JsonDifference| json!({ "pointer": it.pointer, "before": in_a_list(it.before), "after": in_a_list(it.after) });
    Ok(json!({ "changes": changes.into_iter().map(change).collect::<Vec<_>>(), "left_out": left_out }))
}

fn causes(runtime: &Runtime, params: &Params) -> Result<Json, ConsoleAnswer> {
    let (actor, sequence) = (text(params, "actor")?, number(params, "event")?);
    let sequence = sequence.ok_or_else(|| ConsoleAnswer::error(400, "the parameter event is missing"))?;
    let actor = actor.parse().map_err(|_| ConsoleAnswer::error(400, format!("{actor:?} is not the id of an actor")))?;
    let mut client = runtime.connect().map_err(|why| ConsoleAnswer::refused(&why))?;
    let tree = trace(&mut client, actor, sequence).map_err(said_no)?;
    Ok(serde_json::to_value(tree).expect("a trace serialises"))
}

fn describe(runtime: &Runtime, params: &Params) -> Result<Json, ConsoleAnswer> {
    let request = Request::DescribeActor { id: text(params, "actor")?.to_owned() };
    let answer = runtime.ask(&request).map_err(|why| ConsoleAnswer::refused(&why))?;
    let Response::ActorDescription { description, .. } = answer else {
        return Err(ConsoleAnswer::refused(&unexpected(&answer)));
    };
    Ok(serde_json::to_value(description).expect("a description serialises"))
}
