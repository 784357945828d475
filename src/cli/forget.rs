//! `theater prune` and `theater redact`: the commands that drop event data of an actor's history, either through a running
//! runtime, or in a data directory that no runtime uses.

use std::path::PathBuf;

use clap::Args;
use crossbeam_channel::bounded;

use super::connect::{answered, ask, connect, find};
use super::realm_copy::{check_is_directory, readable_dir};
use super::show::{print_json, say};
use super::{Done, Failure, Remote};
use crate::base::limits::RuntimeLimits;
use crate::journal::{
    self, ActorKey, DataDir, DataDropped, DataToDrop, Durability, Journal, JournalHandle, JournalReader, Listener,
    Newest, Record, Shown,
};
use crate::server::protocol::{Request, Response};

#[derive(Args)]
pub(super) struct PruneArgs {
    /// Names of actors, ids, the beginning of either; or patterns of paths, as for stop
    #[arg(required = true)]
    pub(super) actor: Vec<String>,
    /// The data of older events is dropped, up to the last kept state before this event
    #[arg(long, value_name = "SEQUENCE")]
    pub(super) before: u64,
    /// Drop also data that a get-chain has shown to the actor; a replay of that call may then come out otherwise
    #[arg(long)]
    pub(super) despite_get_chain: bool,
    /// Change nothing: say how many events and bytes would go, and from where a replay could begin
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do it without asking, however many actors are meant
    #[arg(long, short)]
    pub(super) yes: bool,
    /// Work on the data directory itself; no runtime may be running on it, but for --dry-run
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

#[derive(Args)]
pub(super) struct RedactArgs {
    /// The actor's name, its id, or the beginning of either
    actor: String,
    /// The event whose data is dropped
    #[arg(long, value_name = "SEQUENCE")]
    event: u64,
    /// Drop also data that a get-chain has shown to the actor; a replay of that call may then come out otherwise
    #[arg(long)]
    despite_get_chain: bool,
    /// Change nothing: say how many events and bytes would go, and from where a replay could begin
    #[arg(long)]
    dry_run: bool,
    /// Work on the data directory itself; no runtime may be running on it, but for --dry-run
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

/// Prunes the one actor that `actor` names.
pub(super) fn prune(args: &PruneArgs, actor: &str) -> Done {
    let PruneArgs { before, despite_get_chain, dry_run, data_dir, remote, .. } = args;
    let shown = Shown::goes_if(*despite_get_chain);
    if *dry_run {
        let to_drop = match data_dir {
            Some(dir) => {
                foreseen_in(dir, actor, |reader, actor| journal::foresee_prune(reader, actor, *before, shown))?
            }
            None => foreseen_by_a_runtime(remote, actor, |id| Request::ForeseePrune {
                id,
                before: *before,
                despite_get_chain: *despite_get_chain,
            })?,
        };
        report_foreseen(to_drop, remote.json);
        return Ok(());
    }
    let forgotten = match data_dir {
        Some(dir) => {
            in_directory(dir, actor, |journal, reader, actor| journal::prune(journal, reader, actor, *before, shown))?
        }
        None => through_a_runtime(remote, actor, |id| Request::PruneActor {
            id,
            before: *before,
            despite_get_chain: *despite_get_chain,
        })?,
    };
    report(forgotten, None, remote.json)
}

pub(super) fn redact(args: &RedactArgs) -> Done {
    let RedactArgs { actor, event, despite_get_chain, dry_run, data_dir, remote } = args;
    let shown = Shown::goes_if(*despite_get_chain);
    if *dry_run {
        let to_drop = match data_dir {
            Some(dir) => {
                foreseen_in(dir, actor, |reader, actor| journal::foresee_redaction(reader, actor, *event, shown))?
            }
            None => foreseen_by_a_runtime(remote, actor, |id| Request::ForeseeRedaction {
                id,
                sequence: *event,
                despite_get_chain: *despite_get_chain,
            })?,
        };
        report_foreseen(to_drop, remote.json);
        return Ok(());
    }
    let forgotten = match data_dir {
        Some(dir) => {
            in_directory(dir, actor, |journal, reader, actor| journal::redact(journal, reader, actor, *event, shown))?
        }
        None => through_a_runtime(remote, actor, |id| Request::RedactEvent {
            id,
            sequence: *event,
            despite_get_chain: *despite_get_chain,
        })?,
    };
    report(forgotten, Some(*event), remote.json)
}

fn through_a_runtime(
    remote: &Remote,
    actor: &str,
    request: impl FnOnce(String) -> Request,
) -> Result<DataDropped, Failure> {
    let mut client = connect(remote)?;
    let id = find(&mut client, actor)?.id;
    let forgotten = answered!(
        ask(&mut client, &request(id)),
        Response::Forgotten { events, replays_from, gone, .. } => DataDropped { events, replays_from, is_gone: gone }
    );
    Ok(forgotten)
}

fn foreseen_by_a_runtime(
    remote: &Remote,
    actor: &str,
    request: impl FnOnce(String) -> Request,
) -> Result<DataToDrop, Failure> {
    let mut client = connect(remote)?;
    let id = find(&mut client, actor)?.id;
    let to_drop = answered!(
        ask(&mut client, &request(id)),
        Response::WouldForget { events, bytes, replays_from, .. } => DataToDrop { events, bytes, replays_from }
    );
    Ok(to_drop)
}

fn foreseen_in(
    dir: &std::path::Path,
    actor: &str,
    foresee: impl FnOnce(&JournalReader, ActorKey) -> Result<DataToDrop, journal::DropError>,
) -> Result<DataToDrop, Failure> {
    let dir = &*readable_dir(dir)?;
    let reader = journal::open_to_read(dir).map_err(Failure::no)?;
    let row = super::past::find_row(&reader, actor, dir)?;
    foresee(&reader, row.actor).map_err(Failure::no)
}

fn report_foreseen(DataToDrop { events, bytes, replays_from }: DataToDrop, json: bool) {
    if json {
        print_json(&serde_json::json!({ "events": events, "bytes": bytes, "replays_from": replays_from }));
        return;
    }
    say!("the data of {events} events would be dropped, {bytes} bytes; nothing was changed");
    match replays_from {
        Some(from) => say!("the events after event {from} could be replayed then, from the state there"),
        None => say!("no state is kept after that: nothing could be replayed until the actor is started again"),
    }
}

fn in_directory(
    dir: &std::path::Path,
    actor: &str,
    forget: impl FnOnce(&JournalHandle, &JournalReader, ActorKey) -> Result<DataDropped, journal::DropError>,
) -> Result<DataDropped, Failure> {
    check_is_directory(dir)?;
    // Opening a journal makes one if there is none; a new journal holds nothing to drop, so an existing one is required.
    drop(journal::open_to_read(dir).map_err(Failure::no)?);
    crate::theater::upgrade(dir).map_err(Failure::no)?;
    let (to, failed) = bounded(1);
    let listener =
        Listener { committed: Box::new(|_| ()), failed: Box::new(move |error| _ = to.send(error.to_string())) };
    let dir = DataDir::open(dir).map_err(Failure::no)?;
    let queue_bytes = RuntimeLimits::default().journal_queue_bytes;
    let journal = Journal::open(dir, Durability::Commit, queue_bytes, listener).map_err(Failure::no)?;
    let forgotten = journal.handle().reader().map_err(Failure::no).and_then(|reader| {
        let row = super::past::find_row(&reader, actor, journal.handle().dir())?;
        if let Newest::Behind(event) = reader.newest_state(row.actor).map_err(Failure::no)? {
            // What it is to be computed from may be dropped.
            let engine = super::sandbox::engine(Some(journal.handle().dir()))?;
            let state = crate::actor::newest_state(&engine, &reader, row.actor).map_err(Failure::no)?;
            let stored = Record::State(row.actor, event, state.map(Into::into));
            journal.handle().enqueue(stored).and_then(|()| journal.handle().flush()).map_err(Failure::no)?;
        }
        forget(journal.handle(), &reader, row.actor).map_err(Failure::no)
    });
    // The writer has ended by then, and has said why if it failed.
    journal.close();
    failed.try_recv().map_or(forgotten, |why| Err(Failure::no(why)))
}

/// Prints what was dropped, and from which event on the history can be replayed now. `redacted` is the event of a redact.
fn report(DataDropped { events, replays_from, is_gone }: DataDropped, redacted: Option<u64>, json: bool) -> Done {
    if json {
        print_json(&serde_json::json!({ "events": events, "replays_from": replays_from, "gone": is_gone }));
        return Ok(());
    }
    say!("dropped the data of {events} events; all hashes are kept");
    match (replays_from, redacted) {
        (Some(from), None) => {
            say!("the events after event {from} can be replayed, from the state there; the dropped ones cannot");
        }
        (Some(from), Some(event)) => {
            say!(
                "the events after event {from} can be replayed, from the state there; events {event} to {from} cannot"
            );
        }
        (None, event) => {
            let event = event.map_or_else(|| "what was dropped".to_owned(), |event| format!("event {event}"));
            say!(
                "no state is kept after {event}: from there on nothing can be replayed until the actor is started again"
            );
        }
    }
    Ok(())
}
