//! Carrying out each command of management: by asking a [`TheaterHandle`], and putting its answer into the protocol's shape.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::metrics::{self, MetricsView};
use super::paging::{PIECE_BYTES, Paging, Piece, Whole};
use super::protocol::{
    ActorView, DeadLetterView, EventView, EventsAnswer, OutcomeChangeView, Request, Response, StatusAnswer,
};
use super::{first, listing};
use super::{lookup::known, rows};
use crate::base::limits::SMALL_ANSWER_BYTES;
use crate::chain::{ComponentDigest, EventHash};
use crate::journal::{DataDropped, DataToDrop, Shown};
use crate::manifest::{ActorSource, ManifestChanges};
use crate::system::{ChangedOutcome, DryRun, TheaterHandle};
use crate::theater::{ActorState, ReadError};

/// Carries out one command. The caller handles those about the connection itself: subscriptions, roles, its end.
pub(super) fn answer(theater: &TheaterHandle, paging: &mut Paging, request: Request) -> Result<Response, String> {
    match request {
        Request::GetStateBytes { .. }
        | Request::GetEventData { .. }
        | Request::GetComponent { .. }
        | Request::GetBlob { .. }
        | Request::GetRow { .. }
        | Request::GetKeptState { .. } => piece(theater, paging, request),
        Request::GetActorState { id } => actor_state(theater, paging, id),
        other => {
            paging.end();
            answer_whole(theater, other)
        }
    }
}

/// The newest state. If it does not fit into one answer, the answer gives only its length, and the client reads the
/// state piece by piece.
fn actor_state(theater: &TheaterHandle, paging: &mut Paging, id: String) -> Result<Response, String> {
    paging.end();
    let ActorState { bytes: state, lost_at: lost } = theater.state(known(theater, &id)?.id).map_err(text)?;
    let length = state.as_ref().map(|state| state.len() as u64);
    let state = match state {
        Some(large) if large.len() > PIECE_BYTES => {
            paging.begin(Whole::State(id.clone()), large);
            None
        }
        state => state.map(|state| BASE64.encode(state)),
    };
    Ok(Response::ActorState { id, state, length, lost })
}

/// A piece of something that may be larger than a frame.
fn piece(theater: &TheaterHandle, paging: &mut Paging, request: Request) -> Result<Response, String> {
    let whole = |bytes: Option<Vec<u8>>| Ok(bytes.map(|bytes| (None, bytes)));
    let kept = |bytes: Result<Vec<u8>, ReadError>| match bytes {
        Ok(bytes) => whole(Some(bytes)),
        Err(ReadError::NotKept(_)) => whole(None),
        Err(error) => Err(error.to_string()),
    };
    let (named, offset, piece) = match request {
        Request::GetStateBytes { id, offset, at: Some(at) } => return past_state(theater, paging, id, at, offset),
        Request::GetStateBytes { id, offset, at: None } => {
            let actor = known(theater, &id)?.id;
            let read = || whole(theater.state(actor).map_err(text)?.bytes);
            (id.clone(), offset, paging.piece(Whole::State(id), offset, read)?)
        }
        Request::GetEventData { id, sequence, offset } => {
            let actor = known(theater, &id)?.id;
            let read = || {
                let event = theater.events(actor, sequence, 1).map_err(text)?.pop();
                whole(event.filter(|event| event.sequence == sequence).map(|event| event.data))
            };
            let piece = paging.piece(Whole::EventData(id.clone(), sequence), offset, read)?;
            let not_there = || format!("event {sequence} is not on the chain of actor {id}");
            (id.clone(), offset, Some(piece.ok_or_else(not_there)?))
        }
        Request::GetComponent { digest, offset } => {
            let wanted = ComponentDigest::parse(&digest).ok_or("not a SHA-256 in hex")?;
            let read = || kept(theater.component(wanted));
            (digest.clone(), offset, paging.piece(Whole::Component(digest), offset, read)?)
        }
        Request::GetBlob { digest, offset } => {
            let wanted = EventHash::parse(&digest).ok_or("not a SHA-1 in hex")?;
            let read = || kept(theater.large_state(&wanted.0));
            (digest.clone(), offset, paging.piece(Whole::Blob(digest), offset, read)?)
        }
        Request::GetKeptState { id, behind, offset } => return kept_state(theater, paging, id, behind, offset),
        Request::GetRow { id, key, offset, at } => return rows::row(theater, paging, id, key, offset, at),
        _ => unreachable!("the caller has looked"),
    };
    let Piece { size, bytes, .. } = piece.ok_or_else(|| format!("nothing is kept as {named}"))?;
    Ok(Response::Bytes { digest: named, size, offset, data: BASE64.encode(bytes), at: None, no_state: false })
}

/// The state after event `at`, piece by piece. A state that has no bytes has no pieces.
fn past_state(
    theater: &TheaterHandle,
    paging: &mut Paging,
    id: String,
    at: u64,
    offset: u64,
) -> Result<Response, String> {
    let actor = known(theater, &id)?.id;
    let read = || Ok(theater.state_at(actor, at).map_err(text)?.map(|bytes| (None, bytes)));
    let piece = paging.piece(Whole::StateAt(id.clone(), at), offset, read)?;
    let no_state = piece.is_none();
    let (size, bytes) = piece.map(|Piece { size, bytes, .. }| (size, bytes)).unwrap_or_default();
    Ok(Response::Bytes { digest: id, size, offset, data: BASE64.encode(bytes), at: Some(at), no_state })
}

fn answer_whole(theater: &TheaterHandle, request: Request) -> Result<Response, String> {
    match request {
        Request::StartActor { initial_state: Some(_), .. } => {
            Err("\"initial_state\" cannot be given: what an actor begins with is \"init_state\" of its manifest".into())
        }
        Request::StartActor { manifest, initial_state: None } => {
            let started = theater.start(PathBuf::from(manifest));
            started.map(|id| Response::ActorStarted { id: id.to_string() }).map_err(text)
        }
        Request::StopActor { id } => {
            theater.stop(known(theater, &id)?.id).map(|()| Response::ActorStopped { id }).map_err(text)
        }
        Request::RestartActor { id } => {
            theater.restart(known(theater, &id)?.id).map(|()| Response::ActorRestarted { id }).map_err(text)
        }
        Request::PauseActor { id } => {
            let paused = theater.pause(known(theater, &id)?.id);
            paused.map(|is_new| Response::ActorPaused { id, already: !is_new }).map_err(text)
        }
        Request::ResumeActor { id } => {
            let resumed = theater.resume(known(theater, &id)?.id);
            resumed.map(|was_paused| Response::ActorResumed { id, already: !was_paused }).map_err(text)
        }
        Request::ForgetActor { id } => {
            theater.forget(known(theater, &id)?.id).map(|()| Response::ActorForgotten { id }).map_err(text)
        }
        Request::ForkActor { id, at, name, manifest } => {
            let forked = theater.fork(known(theater, &id)?.id, at, &name, manifest.map(ActorSource::file));
            forked.map(|id| Response::ActorForked { id: id.to_string() }).map_err(text)
        }
        Request::ForkChangedActor { id, at, name, manifest, port, set } => {
            let (actor, changes) = (known(theater, &id)?.id, ManifestChanges { port, values: set });
            let forked = theater.fork_changed(actor, at, &name, manifest.map(ActorSource::file), changes);
            forked.map(|id| Response::ActorForked { id: id.to_string() }).map_err(text)
        }
        Request::UpgradeActor { id, manifest } => {
            let upgraded = theater.upgrade(known(theater, &id)?.id, manifest.map(ActorSource::file));
            upgraded.map(|()| Response::ActorUpgraded { id }).map_err(text)
        }
        Request::DryRunUpgrade { id, manifest, last } => {
            let last = last.unwrap_or(DRY_RUN_CALLS);
            let DryRun { transitions, changed, changes, .. } =
                theater.dry_run(known(theater, &id)?.id, manifest.map(ActorSource::file), last).map_err(text)?;
            let view = |change: ChangedOutcome| {
                let ChangedOutcome { sequence, export, what, pointer, recorded, actual } = change;
                OutcomeChangeView { sequence, export, what: what.to_owned(), pointer, recorded, actual }
            };
            Ok(Response::UpgradeDryRun { id, transitions, changed, changes: changes.into_iter().map(view).collect() })
        }
        Request::ListActors => {
            listing::fits_one_answer(theater, BY_ACTORS_PAGES)?;
            let alive = theater.actors().into_iter().filter(|actor| actor.status.is_alive());
            Ok(Response::ActorList { actors: alive.map(|actor| actor.id.to_string()).collect() })
        }
        Request::ActorTree => {
            listing::fits_one_answer(theater, BY_ACTORS_PAGES)?;
            Ok(Response::ActorTree { actors: theater.actors().into_iter().map(ActorView::from).collect() })
        }
        Request::GetActors { from, limit } => Ok(listing::actors(theater, from, limit)),
        Request::FindActor { text } => listing::find(theater, &text),
        Request::GetActorStatus { id } => first::status(theater, id),
        Request::GetActorMetrics { id } => first::metrics(theater, id),
        Request::SendActorMessage { id, data } => first::send(theater, id, data),
        Request::RequestActorMessage { id, data } => first::request(theater, id, data),
        Request::ActorStatus { id } => {
            let info = theater.actor(known(theater, &id)?.id).ok_or_else(|| format!("no such actor: {id}"))?;
            Ok(Response::ActorStatus(StatusAnswer::Actor { actor: Box::new(info.into()) }))
        }
        Request::DescribeActor { id } => {
            let actor = known(theater, &id)?.id;
            let info = theater.actor(actor).ok_or_else(|| format!("no such actor: {id}"))?;
            let description = Box::new(theater.describe(actor).map_err(text)?);
            Ok(Response::ActorDescription { actor: Box::new(info.into()), description })
        }
        Request::GetActorEvents { id, from: Some(from), limit } => events(theater, id, from, limit),
        Request::GetActorEvents { id, from: None, limit } => first::events(theater, id, limit),
        Request::PruneActor { id, before, despite_get_chain } => {
            let pruned = theater.prune(known(theater, &id)?.id, before, Shown::goes_if(despite_get_chain));
            pruned.map(|dropped| forgotten(id, dropped)).map_err(text)
        }
        Request::RedactEvent { id, sequence, despite_get_chain } => {
            let redacted = theater.redact(known(theater, &id)?.id, sequence, Shown::goes_if(despite_get_chain));
            redacted.map(|dropped| forgotten(id, dropped)).map_err(text)
        }
        Request::ForeseePrune { id, before, despite_get_chain } => {
            let foreseen = theater.foresee_prune(known(theater, &id)?.id, before, Shown::goes_if(despite_get_chain));
            foreseen.map(|to_drop| would_forget(id, to_drop)).map_err(text)
        }
        Request::ForeseeRedaction { id, sequence, despite_get_chain } => {
            let shown = Shown::goes_if(despite_get_chain);
            let foreseen = theater.foresee_redaction(known(theater, &id)?.id, sequence, shown);
            foreseen.map(|to_drop| would_forget(id, to_drop)).map_err(text)
        }
        Request::GetRows { id, prefix, behind, limit, at } => rows::page(theater, id, (&prefix, behind), limit, at),
        Request::CountRows { id, at } => {
            let count = theater.table_count(known(theater, &id)?.id, at).map_err(text)?;
            Ok(Response::RowCount { id, count })
        }
        Request::SendMessage { id, message, message_id } => {
            let (actor, message) = (known(theater, &id)?.id, decode(&message)?);
            let sent = match message_id {
                None => theater.send(actor, message),
                Some(message_id) => theater.send_once(actor, &message_id, message),
            };
            sent.map(|()| Response::Sent { id }).map_err(text)
        }
        Request::RequestMessage { id, message, message_id } => {
            let (actor, message) = (known(theater, &id)?.id, decode(&message)?);
            let reply = match message_id {
                None => theater.request(actor, message),
                Some(message_id) => theater.request_once(actor, &message_id, message),
            };
            reply.map(|reply| Response::Answer { id, message: BASE64.encode(reply) }).map_err(text)
        }
        Request::ProveEvent { id, sequence } => {
            let (index, path, checkpoint) = theater.prove(known(theater, &id)?.id, sequence).map_err(text)?;
            Ok(Response::EventProof { id, sequence, index, path, checkpoint })
        }
        Request::GetDeadLetters { id, from, limit } => dead_letters(theater, id.as_deref(), from, limit),
        Request::SendDeadLetter { letter, to } => {
            let to = to.map(|to| known(theater, &to)).transpose()?.map(|to| to.id);
            let sent = theater.send_dead_letter(letter.parse()?, to).map_err(text)?;
            Ok(Response::DeadLetterSent { letter, id: sent.to_string() })
        }
        Request::Status => {
            let MetricsView { total, process, journal, .. } = metrics::gather(theater, |_| ());
            Ok(Response::Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                data_dir: theater.data_dir().display().to_string(),
                actors: total.actors,
                alive: total.alive,
                total: Box::new(total),
                process,
                journal: Some(Box::new(journal)),
            })
        }
        Request::Metrics => {
            listing::fits_one_answer(theater, BY_METRICS_PAGES)?;
            Ok(Response::Metrics(Box::new(theater.metrics())))
        }
        Request::GetMetrics { from, limit } => Ok(listing::metrics(theater, from, limit)),
        Request::SubscribeToActor { .. }
        | Request::UnsubscribeFromActor { .. }
        | Request::Subscribe { .. }
        | Request::Unsubscribe { .. }
        | Request::Authenticate { .. }
        | Request::GetActorState { .. }
        | Request::GetStateBytes { .. }
        | Request::GetEventData { .. }
        | Request::GetComponent { .. }
        | Request::GetBlob { .. }
        | Request::GetKeptState { .. }
        | Request::GetRow { .. }
        | Request::Shutdown => unreachable!("the caller has taken these"),
    }
}

/// So many calls a dry run makes again, if it is not told how many.
const DRY_RUN_CALLS: u64 = 100;

const BY_ACTORS_PAGES: &str = "GetActors gives them by pages";
const BY_METRICS_PAGES: &str = "GetMetrics gives them by pages, and Status the totals";

/// What is known about the size of an answer before the answer is built.
pub(super) struct AnswerSize {
    /// It may be long, and has to be read first: so room for it is taken from the budget before it is read.
    pub(super) is_long: bool,
    /// What to do if it does not fit a frame.
    pub(super) remedy: &'static str,
}

/// About how many bytes of an answer are about one actor.
const ABOUT_AN_ACTOR: usize = 1024;

impl Request {
    pub(super) fn answer_size(&self, theater: &TheaterHandle) -> AnswerSize {
        let are_many = || theater.registry.count() * ABOUT_AN_ACTOR > SMALL_ANSWER_BYTES;
        let (is_long, remedy) = match self {
            Self::ListActors | Self::ActorTree => (are_many(), BY_ACTORS_PAGES),
            Self::Metrics => (are_many(), BY_METRICS_PAGES),
            Self::GetActors { .. } | Self::GetMetrics { .. } => (are_many(), "ask for fewer, with \"limit\""),
            Self::GetDeadLetters { .. } => (true, "ask for fewer, with \"limit\""),
            Self::GetActorEvents { from: None, .. } => (true, first::BY_PAGES),
            Self::GetActorEvents { .. }
            | Self::DescribeActor { .. }
            | Self::GetActorState { .. }
            | Self::GetStateBytes { .. }
            | Self::GetEventData { .. }
            | Self::GetComponent { .. }
            | Self::GetBlob { .. }
            | Self::GetRow { .. }
            | Self::GetRows { .. }
            | Self::GetKeptState { .. } => (true, "`theater export --data-dir` reads it from the data directory"),
            Self::RequestMessage { .. } | Self::RequestActorMessage { .. } => {
                (false, "the actor has answered: its last event holds the answer (`theater events`)")
            }
            _ => (false, "`theater events --data-dir` reads the data directory itself"),
        };
        AnswerSize { is_long, remedy }
    }
}

/// A page has so many dead letters at most, so that it fits a frame.
const DEAD_LETTERS_PAGE: u64 = 500;

fn dead_letters(theater: &TheaterHandle, to: Option<&str>, from: u64, limit: Option<u64>) -> Result<Response, String> {
    let to = to.map(|to| known(theater, to)).transpose()?.map(|to| to.id);
    let all = theater.dead_letters(to).map_err(text)?;
    let (most, count) = (limit.unwrap_or(u64::MAX).min(DEAD_LETTERS_PAGE), all.len() as u64);
    let (skipped, taken) = (usize::try_from(from).unwrap_or(usize::MAX), usize::try_from(most).unwrap_or(usize::MAX));
    let letters: Vec<DeadLetterView> = all.into_iter().skip(skipped).take(taken).map(DeadLetterView::from).collect();
    let next = from.saturating_add(letters.len() as u64);
    Ok(Response::DeadLetters { next: (next < count && !letters.is_empty()).then_some(next), letters })
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn forgotten(id: String, DataDropped { events, replays_from, is_gone: gone }: DataDropped) -> Response {
    Response::Forgotten { id, events, replays_from, gone }
}

fn would_forget(id: String, DataToDrop { events, bytes, replays_from }: DataToDrop) -> Response {
    Response::WouldForget { id, events, bytes, replays_from }
}

fn events(theater: &TheaterHandle, id: String, from: u64, limit: Option<u64>) -> Result<Response, String> {
    let actor = known(theater, &id)?.id;
    let events = theater.events(actor, from, limit.unwrap_or(u64::MAX)).map_err(text)?;
    let next = events.last().map(|event| event.sequence + 1);
    let events = events.into_iter().map(EventView::from).collect();
    Ok(Response::ActorEvents(EventsAnswer::Page { id, events, next }))
}

fn kept_state(
    theater: &TheaterHandle,
    paging: &mut Paging,
    id: String,
    behind: u64,
    offset: u64,
) -> Result<Response, String> {
    let actor = known(theater, &id)?.id;
    // A state that has no bytes has no pieces.
    let mut without_bytes = None;
    let piece = paging.piece(Whole::KeptState(id.clone(), behind), offset, || {
        let Some((sequence, state)) = theater.kept_state_after(actor, behind).map_err(text)? else { return Ok(None) };
        without_bytes = state.is_none().then_some(sequence);
        Ok(state.map(|bytes| (Some(sequence), bytes)))
    })?;
    let Some(Piece { size, sequence, bytes }) = piece else {
        return Ok(Response::KeptState { id, sequence: without_bytes, size: None, offset, data: String::new() });
    };
    Ok(Response::KeptState { id, sequence, size: Some(size), offset, data: BASE64.encode(bytes) })
}

fn decode(message: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(message).map_err(|error| format!("the message is not base64: {error}"))
}
