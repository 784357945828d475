//! Recovery: the start of a runtime on a data directory that was used before. Every actor is put back where its chain ends.
//!
//! ```text
//!   the chain ends with      the actor
//!   return, refused          goes on with its newest state
//!   call, intent, host-call  resumes that transition, on the component that began it
//!   failed, stopped          was to be restarted, and is restarted
//!   started                  goes on from there; runs `init` first if `init` was due and has not begun
//! ```
//!
//! An actor whose parent has ended, or begins anew, ends too: the parent would have ended it if the process had lived on.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::command::{Comeback, Newborn};
use super::control::load_spec;
use super::former::{FormerActor, Opening};
use super::in_flight::{InFlight, InFlightReader};
use super::recorded_ends::write_ends;
use super::stored_spec::damaged;
use super::whereabouts::{Moves, renamed};
use crate::actor::{SharedSpecs, Spec, grounds};
use crate::base::clock;
use crate::base::id::ActorId;
use crate::guest::GuestEngine;
use crate::handlers::ActorRef;
use crate::journal::{ActorKey, JournalError, JournalReader};
use crate::manifest::Manifest;
use crate::promise::OpenMonitor;
use crate::system::{Delivery, Lane, LifecycleError, Reply, TheaterHandle};

/// What a start of the runtime begins with.
pub(super) struct Recovered {
    /// The actors from an earlier runtime, parents before their children.
    pub(super) before: Vec<(Newborn, Comeback)>,
    /// The deliveries that they are owed, in the order in which these were promised.
    pub(super) owed: Vec<(ActorId, Lane, Delivery)>,
    /// The actors from an earlier runtime that the command line's manifests name.
    pub(super) asked_for: Vec<ActorId>,
    /// The manifests of the command line that no actor from an earlier runtime belongs to, each with a note for the
    /// user if it seems to have changed its name.
    pub(super) new: Vec<(Spec, Option<String>)>,
}

/// Reads the actors from an earlier runtime. A root actor that one of `manifests` names goes on with that manifest, and
/// with the component that the manifest names now.
pub(super) fn recover(
    engine: &GuestEngine,
    theater: &TheaterHandle,
    specs: &SharedSpecs,
    manifests: Vec<Manifest>,
) -> Result<Recovered, LifecycleError> {
    let unreadable = |error| JournalError::Read { path: theater.journal.dir().to_owned(), error }.to_string();
    let mut wanted = WantedManifests::load(engine, manifests)?;
    let mut moves = Moves::default();
    let reader = theater.journal.reader().map_err(|error| error.to_string())?;
    let begun = clock::now();
    let still = reader.keep_still();
    refuse_findings(theater.journal.dir(), &grounds(&reader).map_err(unreadable)?)?;
    log::debug!("what the actors go on from was compared with their chains in {:?}", clock::since(begun));
    let (mut former, mut keys) = (Vec::new(), HashMap::new());
    for mut row in reader.actors().map_err(unreadable)? {
        keys.insert(row.actor.id, row.actor);
        if reader.is_forgotten(row.actor).map_err(unreadable)? {
            continue;
        }
        let last =
            reader.last_event(row.actor).map_err(|error| damaged(theater.journal.dir(), &row, &error.to_string()))?;
        let Some(last) = last else { return Err(damaged(theater.journal.dir(), &row, "it has no events").into()) };
        let asked_for = if row.parent.is_none() { wanted.take(&row.name) } else { None };
        let before = row.manifest_path.clone();
        moves.follow(&mut row, asked_for.as_ref().map(|spec| &spec.manifest));
        let has_moved = row.manifest_path != before;
        let (dir, made) = (theater.journal.dir(), (engine, specs));
        former.push(FormerActor::read(made, &reader, dir, (row, has_moved), last, asked_for)?);
    }
    end_orphans(&mut former);
    write_ends(theater, &reader, &mut former, &keys)?;
    drop(reader);
    // A new reader sees the ends that were just written.
    let reader = theater.journal.reader().map_err(|error| error.to_string())?;
    let in_flight = in_flight_reader(&reader, theater, &former, &keys).in_flight().map_err(unreadable)?;
    let resumed = former.iter().filter(|actor| actor.runs()).count();
    if resumed > 0 {
        let open = former.iter().filter(|actor| actor.runs() && !actor.open.is_empty()).count();
        let owed = in_flight.owed.len();
        let (timers, monitors) = (in_flight.timers.len(), in_flight.monitors.len());
        log::info!(
            "resuming {resumed} actors, {open} of them within a transition; {owed} deliveries wait, {timers} timers are \
             pending, and {monitors} monitors are open"
        );
    }
    // A fork came from no file.
    let is_named_by_a_file = |actor: &&FormerActor| actor.runs() && actor.row.parent.is_none() && !actor.is_fork;
    let roots = || former.iter().filter(is_named_by_a_file).map(|actor| &actor.row);
    let new = wanted.rest().into_iter().map(|spec| {
        let note = renamed(&spec.manifest, roots());
        (spec, note)
    });
    let new = new.collect();
    let asked_for = former.iter().filter(|actor| actor.asked_for).map(|actor| actor.row.actor.id).collect();
    let InFlight { mut awaited, mut replies, mut starts, owed, monitors, timers, deferred } = in_flight;
    for OpenMonitor { watcher, reference, watched, end } in monitors {
        theater.registry.restore_watch((watcher, reference), watched, end);
    }
    for ((actor, token), reply) in deferred {
        // No row says that an HTTP client waits: it went with the process.
        theater.deferrals.put(actor, token, reply, false);
    }
    for (actor, key, timer) in timers {
        theater.timers.restore(actor, key, timer);
    }
    let windows: HashMap<_, _> =
        former.iter().map(|actor| (actor.row.actor.id, actor.manifest().supervision.within)).collect();
    let mut before = Vec::new();
    for actor in former {
        let id = actor.row.actor.id;
        let window = windows.get(&actor.row.parent.unwrap_or(id)).copied().unwrap_or_default();
        let (reply, cause) = starts.remove(&id).unzip();
        let (awaited, wait) = awaited.remove(&id).map_or((None, None), |(awaited, wait)| (Some(awaited), wait));
        let rests = reply.is_none() && may_rest(theater, id, actor.spec());
        let open = Opening { awaited, wait, reply: replies.remove(&id).unwrap_or(Reply::Nobody), rests };
        let (mut newborn, comeback) = actor.back(&reader, open, window).map_err(unreadable)?;
        (newborn.reply, newborn.cause) = (reply, cause.flatten());
        before.push((newborn, comeback));
    }
    drop(still);
    Ok(Recovered { before, owed, asked_for, new })
}

/// Whether an actor may sleep, and neither an end that it is to be told of, nor a request that it has made, nor a handler keeps
/// it from that. A handler that cannot be started is for the actor's own start to find out.
fn may_rest(theater: &TheaterHandle, id: ActorId, spec: &Spec) -> bool {
    let is_told = || spec.takes_ends() && theater.registry.first_due_watch(id).is_some();
    let (limits, name) = (Arc::clone(&spec.manifest.limits), spec.manifest.name.as_str().into());
    let exports = Arc::clone(spec.program.export_names());
    let actor = || ActorRef { id, name, limits, exports, has_lived: true, theater: theater.clone() };
    let asks = || !theater.async_requests.open(id).is_empty();
    spec.sleeps_after(&theater.limits).is_some() && !is_told() && !asks() && {
        let actor = actor();
        spec.handlers.iter().all(|handler| handler.start(&actor, None).is_ok())
    }
}

/// The manifests that the command line names, loaded, by the names of their actors.
struct WantedManifests {
    specs: HashMap<String, Spec>,
    order: Vec<String>,
}

impl WantedManifests {
    fn load(engine: &GuestEngine, manifests: Vec<Manifest>) -> Result<Self, LifecycleError> {
        let mut wanted = Self { specs: HashMap::new(), order: Vec::new() };
        for manifest in manifests {
            let name = manifest.name.clone();
            wanted.order.push(name.clone());
            if wanted.specs.insert(name.clone(), load_spec(engine, manifest, &|_| Ok(()))?).is_some() {
                return Err(format!("two of the manifests have the name \"{name}\"; give each actor its own").into());
            }
        }
        Ok(wanted)
    }

    fn take(&mut self, name: &str) -> Option<Spec> {
        self.specs.remove(name)
    }

    /// The manifests that no actor has taken, in the order of the command line.
    fn rest(mut self) -> Vec<Spec> {
        self.order.into_iter().filter_map(|name| self.specs.remove(&name)).collect()
    }
}

/// Marks each actor as ending whose parent does not go on. Parents come before their children in `former`.
fn end_orphans(former: &mut [FormerActor]) {
    let mut parents = HashSet::new();
    for actor in former.iter_mut() {
        if actor.row.alive && actor.row.parent.is_some_and(|parent| !parents.contains(&parent)) {
            actor.ends = true;
        }
        if actor.runs() && !actor.begins_anew() && !actor.ends {
            parents.insert(actor.row.actor.id);
        }
    }
}

fn in_flight_reader<'a>(
    reader: &'a JournalReader,
    theater: &'a TheaterHandle,
    former: &[FormerActor],
    keys: &'a HashMap<ActorId, ActorKey>,
) -> InFlightReader<'a> {
    let running = || former.iter().filter(|actor| actor.runs());
    InFlightReader {
        reader,
        registry: &theater.registry,
        async_requests: &theater.async_requests,
        keys,
        unended: former.iter().filter(|actor| actor.row.alive).map(|actor| actor.row.actor.id).collect(),
        alive: running().map(|actor| actor.row.actor.id).collect(),
        open: running()
            .filter(|actor| !actor.open.is_empty())
            .map(|actor| (actor.row.actor.id, actor.open.clone()))
            .collect(),
    }
}

/// Refuses the start if the audit of what it builds on has found anything wrong.
fn refuse_findings(dir: &Path, findings: &[String]) -> Result<(), String> {
    let Some(first) = findings.first() else { return Ok(()) };
    let more = match findings.len() {
        1 => String::new(),
        all => format!(" (and {} more: `theater verify --journal` names them)", all - 1),
    };
    Err(JournalError::Damaged { path: dir.to_owned(), why: format!("{first}{more}") }.to_string())
}
