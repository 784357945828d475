//! The start of a runtime on a data directory that has been used: every actor comes back as it was.
//!
//! ```text
//!   a chain ends with        the actor
//!   return, refused          goes on with its newest state
//!   call, intent, host-call  resumes the transition, on the component that began it
//!   failed, stopped          was to be restarted, and is
//!   started                  goes on from there; its `init` is run where that was due and has not begun
//! ```
//!
//! Whose parent has ended, or begins anew, is ended itself: its parent would have seen to it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::control::load_spec;
use super::in_flight::{Cast, InFlight};
use super::recorded_ends::write_ends;
use super::supervisor::{Before, Newborn, Return};
use super::tree::Lately;
use super::whereabouts::{Moves, renamed};
use crate::actor::{Open, Spec, grounds, recorded_limits};
use crate::base::clock;
use crate::base::id::{ActorId, Incarnation};
use crate::base::limits::Limits;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Failed, FailureReason, NamedState, StartReason, Started};
use crate::chain::{ChainEvent, ComponentDigest, EventHash, EventKind, Head, check_link};
use crate::guest::GuestEngine;
use crate::guest::wit::ChildEventKind;
use crate::handlers::INIT;
use crate::journal::{ActorKey, ActorRow, JournalError, JournalReader, unfit};
use crate::manifest::{Manifest, RestartPolicy, RestartState, Supervision};
use crate::promise::REQUEST;
use crate::system::{ActorStatus, Awaited, Delivery, Lane, LifecycleError, Reply, TheaterHandle, Wait};

/// What is to be started.
pub(super) struct Recovered {
    /// Who was there, parents before their children.
    pub(super) before: Vec<(Newborn, Return)>,
    /// What they are owed, in the order in which it was promised.
    pub(super) owed: Vec<(ActorId, Lane, Delivery)>,
    /// Those of them that the manifests name.
    pub(super) asked_for: Vec<ActorId>,
    /// Manifests to be run whose root is not there yet, each with what is to be said of it.
    pub(super) new: Vec<(Spec, Option<String>)>,
}

/// One actor from before, as its chain leaves it.
pub(super) struct Past {
    pub(super) row: ActorRow,
    /// What it runs; the component the chain's last incarnation ran, unless `successor` is it.
    spec: Arc<Spec>,
    /// What it is to run once its open transition is over.
    successor: Option<Arc<Spec>>,
    asked_for: bool,
    pub(super) last: ChainEvent,
    pub(super) open: Vec<ChainEvent>,
    /// Whether its `init` has ever returned.
    was_up: bool,
    /// It has an end that is not on its chain yet.
    pub(super) ends: bool,
}

/// Reads who there was. A root that one of `manifests` names goes on with that manifest and the component it names now.
pub(super) fn recover(
    engine: &GuestEngine,
    theater: &TheaterHandle,
    manifests: Vec<Manifest>,
) -> Result<Recovered, LifecycleError> {
    let unreadable = |error| JournalError::Read { path: theater.journal.dir().to_owned(), error }.to_string();
    let mut wanted = Wanted::load(engine, manifests)?;
    let mut moves = Moves::default();
    let reader = theater.journal.reader().map_err(|error| error.to_string())?;
    let begun = clock::now();
    are_sound(theater.journal.dir(), &grounds(&reader, true).map_err(unreadable)?)?;
    log::debug!("what the actors go on from was compared with their chains in {:?}", clock::since(begun));
    let (mut pasts, mut keys) = (Vec::new(), HashMap::new());
    for mut row in reader.actors().map_err(unreadable)? {
        keys.insert(row.actor.id, row.actor);
        if reader.is_forgotten(row.actor).map_err(unreadable)? {
            continue;
        }
        let last =
            reader.last_event(row.actor).map_err(|error| damaged(theater.journal.dir(), &row, &error.to_string()))?;
        let Some(last) = last else { return Err(damaged(theater.journal.dir(), &row, "it has no events").into()) };
        let asked_for = if row.parent.is_none() { wanted.take(&row.name) } else { None };
        moves.follow(&mut row, asked_for.as_ref().map(|spec| &spec.manifest));
        pasts.push(Past::read(engine, &reader, theater.journal.dir(), row, last, asked_for)?);
    }
    end_whoever_has_no_parent(&mut pasts);
    write_ends(theater, &reader, &mut pasts, &keys)?;
    drop(reader);
    let reader = theater.journal.reader().map_err(|error| error.to_string())?;
    let in_flight = cast(&reader, theater, &pasts, &keys).in_flight().map_err(unreadable)?;
    let resumed = pasts.iter().filter(|past| past.runs()).count();
    if resumed > 0 {
        let open = pasts.iter().filter(|past| past.runs() && !past.open.is_empty()).count();
        let owed = in_flight.owed.len();
        log::info!("resuming {resumed} actors, {open} of them within a transition; {owed} deliveries wait");
    }
    let roots = || pasts.iter().filter(|past| past.runs() && past.row.parent.is_none()).map(|past| &past.row);
    let new = wanted.rest().into_iter().map(|spec| {
        let note = renamed(&spec.manifest, roots());
        (spec, note)
    });
    let new = new.collect();
    let asked_for = pasts.iter().filter(|past| past.asked_for).map(|past| past.row.actor.id).collect();
    let InFlight { mut awaited, mut replies, mut starts, owed } = in_flight;
    let windows: HashMap<_, _> =
        pasts.iter().map(|past| (past.row.actor.id, past.manifest().supervision.within)).collect();
    let mut before = Vec::new();
    for past in pasts {
        let id = past.row.actor.id;
        let window = windows.get(&past.row.parent.unwrap_or(id)).copied().unwrap_or_default();
        let (reply, cause) = starts.remove(&id).unzip();
        let (awaited, wait) = awaited.remove(&id).map_or((None, None), |(awaited, wait)| (Some(awaited), wait));
        let open = Opening { awaited, wait, reply: replies.remove(&id).unwrap_or(Reply::Nobody) };
        let (mut newborn, how) = past.back(&reader, open, window).map_err(unreadable)?;
        (newborn.reply, newborn.cause) = (reply, cause.flatten());
        before.push((newborn, how));
    }
    Ok(Recovered { before, owed, asked_for, new })
}

/// The manifests of the command line.
struct Wanted {
    specs: HashMap<String, Spec>,
    order: Vec<String>,
}

impl Wanted {
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

    fn rest(mut self) -> Vec<Spec> {
        self.order.into_iter().filter_map(|name| self.specs.remove(&name)).collect()
    }
}

/// What the others have to say of an open transition.
struct Opening {
    awaited: Option<Awaited>,
    wait: Option<Wait>,
    reply: Reply,
}

impl Past {
    fn read(
        engine: &GuestEngine,
        reader: &JournalReader,
        dir: &Path,
        row: ActorRow,
        last: ChainEvent,
        asked_for: Option<Spec>,
    ) -> Result<Self, String> {
        let unreadable = |error| JournalError::Read { path: dir.to_owned(), error }.to_string();
        let actor = row.actor;
        let open = if row.alive { reader.open_transition(actor).map_err(unreadable)? } else { Vec::new() };
        let started = reader.newest_started(actor).map_err(unreadable)?;
        for event in open.iter().chain([&last]).chain(&started) {
            is_intact(event).map_err(|why| damaged(dir, &row, &why))?;
        }
        let started = is_row_of(&row, started.as_ref(), &last).map_err(|why| damaged(dir, &row, &why))?;
        let limits = recorded_limits(&started);
        let was_up = is_fork(reader, actor).map_err(unreadable)?
            || reader.has_begun(actor, INIT.returned).map_err(unreadable)?;
        let is_asked_for = asked_for.is_some();
        let named = asked_for.map(|spec| keep_initial_state(reader, &row, spec)).transpose().map_err(unreadable)?;
        let (spec, successor) = match named {
            // What is open is finished on what began it, and within the limits it began with.
            Some(named) if !open.is_empty() && !is_same(&named, &row, &limits) => {
                (stored_spec(engine, reader, dir, &row, &limits)?, Some(Arc::new(named)))
            }
            Some(named) => (named, None),
            None => (stored_spec(engine, reader, dir, &row, &limits)?, None),
        };
        let refused_init = row.alive && last.kind() == Some(EventKind::Refused) && last.function() == INIT.full;
        let ends = refused_init && !is_asked_for;
        Ok(Self { row, spec: Arc::new(spec), successor, asked_for: is_asked_for, last, open, was_up, ends })
    }

    pub(super) fn runs(&self) -> bool {
        (self.row.alive && !self.ends) || self.asked_for
    }

    fn manifest(&self) -> &Manifest {
        &self.successor.as_ref().unwrap_or(&self.spec).manifest
    }

    /// Whether an ended incarnation is to be followed by one that begins from the initial state.
    fn begins_anew(&self) -> bool {
        let ended = matches!(self.last.kind(), Some(EventKind::Failed | EventKind::Stopped));
        ended && self.manifest().supervision.restart_state == RestartState::Initial
    }

    /// How it goes on: why, from which state, and what its parent is told of it.
    fn course(&self, reader: &JournalReader) -> rusqlite::Result<(StartReason, RestartState, Option<ChildEventKind>)> {
        let told = if self.was_up { ChildEventKind::Restarted } else { ChildEventKind::Started };
        let policy = if self.was_up { self.manifest().supervision.restart_state } else { RestartState::Initial };
        if !self.row.alive {
            let from = if self.was_up { RestartState::Last } else { RestartState::Initial };
            return Ok((StartReason::Restart, from, None));
        }
        if !self.open.is_empty() {
            let told = is_init(&self.open).then_some(told);
            return Ok((StartReason::Recovery, RestartState::Last, told));
        }
        Ok(match self.last.kind() {
            Some(EventKind::Failed | EventKind::Stopped) => (StartReason::Restart, policy, Some(told)),
            Some(EventKind::Started) if !self.was_up || self.init_is_due(reader)? => {
                (StartReason::Recovery, RestartState::Initial, Some(told))
            }
            _ if !self.was_up => (StartReason::Recovery, RestartState::Initial, Some(told)),
            _ => (StartReason::Recovery, RestartState::Last, None),
        })
    }

    /// The chain ends with a `started` whose `init` has not begun, perhaps several in a row.
    fn init_is_due(&self, reader: &JournalReader) -> rusqlite::Result<bool> {
        let mut at = self.last.sequence;
        while let Some(event) = reader.events(self.row.actor, at, 1, usize::MAX)?.pop() {
            let Some(started) =
                Started::from_cbor(&event.data).ok().filter(|_| event.kind() == Some(EventKind::Started))
            else {
                return Ok(false);
            };
            match started.reason {
                StartReason::Spawn => return Ok(true),
                StartReason::Restart => return Ok(self.manifest().supervision.restart_state == RestartState::Initial),
                StartReason::Fork => return Ok(false),
                StartReason::Recovery if at > 0 => at -= 1,
                StartReason::Recovery => return Ok(false),
            }
        }
        Ok(false)
    }

    fn back(self, reader: &JournalReader, opening: Opening, window: Duration) -> rusqlite::Result<(Newborn, Return)> {
        let lately = self.lately(reader, window)?;
        let (reason, from, notice) = self.course(reader)?;
        let (runs, actor, parent) = (self.runs(), self.row.actor, self.row.parent);
        let how = if runs { Return::Runs } else { Return::Listed(status_after(&self.last)) };
        let open = if self.open.is_empty() || !runs { None } else { Some(Box::new(self.opened(reader, opening)?)) };
        let (incarnation, was_up, was_alive) = (self.row.incarnation, self.was_up, self.row.alive);
        let again = Some(Before { reason, from, incarnation, was_up, was_alive, notice, lately, open });
        Ok((Newborn { actor, spec: self.spec, parent, cause: None, is_fork: false, again, reply: None }, how))
    }

    /// How it has failed within the time in which its supervisor, or it for its children, counts that.
    fn lately(&self, reader: &JournalReader, window: Duration) -> rusqlite::Result<Lately> {
        let Supervision { within, restart, .. } = self.manifest().supervision;
        if self.row.incarnation == Incarnation::FIRST && self.last.kind() != Some(EventKind::Failed) {
            return Ok(Lately::default());
        }
        let now = clock::unix_ms();
        let before = |time: Duration| now.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let mut failed = reader.failures(self.row.actor, before(window.max(within))..=now)?;
        // One that follows at once is the same end, said again with what else was lost, or why there is no restart.
        let mut end = None;
        failed.retain(|event| end.replace(event.sequence + 1) != Some(event.sequence));
        let by_children = |event: &&ChainEvent| {
            Failed::from_cbor(&event.data).is_ok_and(|failed| failed.reason == FailureReason::Restarts)
        };
        let by_children_at = failed.iter().rev().find(by_children).map(|event| event.timestamp);
        // What never was up, or is left to its parent, was not restarted by policy; and the last is, if it is to go on.
        let by_policy = self.was_up && restart != RestartPolicy::Temporary;
        let is_restarted = |event: &&ChainEvent| event.sequence < self.last.sequence || self.row.alive;
        let counted = failed.iter().filter(|event| by_policy && event.timestamp >= before(window)).filter(is_restarted);
        Ok(Lately { failures: counted.map(|event| event.timestamp).collect(), by_children_at })
    }

    /// The transition that is to be resumed, from the last call that began on a new instance.
    fn opened(&self, reader: &JournalReader, Opening { awaited, wait, reply }: Opening) -> rusqlite::Result<Open> {
        let actor = self.row.actor;
        let fresh = self.open.first().is_some_and(|call| Call::from_cbor(&call.data).is_ok_and(|call| call.fresh));
        let (base, mut script) = if fresh {
            (reader.newest_state(actor)?, self.open.clone())
        } else {
            // Kept states lie where a new instance begins.
            if let Some(why) = reader.wrong_kept_state(actor, self.open[0].sequence)? {
                return Err(unfit(format!("actor {} ({}): {why}", self.row.name, actor.id)));
            }
            let (kept, state) = reader.kept_state(actor, self.open[0].sequence)?.unwrap_or_default();
            (state, reader.events(actor, kept + 1, u64::MAX, usize::MAX)?)
        };
        script.retain(|event| event.kind() != Some(EventKind::Started));
        // A transition that got further since it was resumed last has survived that.
        let got_further = self.last.kind() != Some(EventKind::Started);
        // One that waits for another's answer is not what ended the process.
        let waits = script.last().is_some_and(|event| event.event_type == REQUEST.intent);
        let attempts = if got_further || waits { 0 } else { reader.attempts(actor)? };
        Ok(Open {
            script,
            base: base.map(Arc::from),
            reply,
            awaited,
            wait,
            attempts,
            asked_for: self.asked_for,
            successor: self.successor.clone(),
        })
    }
}

fn is_same(spec: &Spec, row: &ActorRow, limits: &Limits) -> bool {
    let text = spec.manifest.text();
    spec.digest() == row.component && **text == *row.manifest && spec.manifest.limits == *limits
}

/// Rows come parents first.
fn end_whoever_has_no_parent(pasts: &mut [Past]) {
    let mut parents = HashSet::new();
    for past in pasts.iter_mut() {
        if past.row.alive && past.row.parent.is_some_and(|parent| !parents.contains(&parent)) {
            past.ends = true;
        }
        if past.runs() && !past.begins_anew() && !past.ends {
            parents.insert(past.row.actor.id);
        }
    }
}

fn cast<'a>(
    reader: &'a JournalReader,
    theater: &'a TheaterHandle,
    pasts: &[Past],
    keys: &'a HashMap<ActorId, ActorKey>,
) -> Cast<'a> {
    let running = || pasts.iter().filter(|past| past.runs());
    Cast {
        reader,
        registry: &theater.registry,
        keys,
        alive: running().map(|past| past.row.actor.id).collect(),
        open: running()
            .filter(|past| !past.open.is_empty())
            .map(|past| (past.row.actor.id, past.open.clone()))
            .collect(),
    }
}

/// Whether an open transition is an `init`.
fn is_init(open: &[ChainEvent]) -> bool {
    open.first().is_some_and(|call| call.function() == INIT.full)
}

fn damaged(dir: &Path, row: &ActorRow, what: &str) -> String {
    let why = format!("actor {} ({}): {what}", row.name, row.actor.id);
    JournalError::Damaged { path: dir.to_owned(), why }.to_string()
}

/// Nothing is wrong with what a start builds upon.
fn are_sound(dir: &Path, findings: &[String]) -> Result<(), String> {
    let Some(first) = findings.first() else { return Ok(()) };
    let more = match findings.len() {
        1 => String::new(),
        all => format!(" (and {} more: `theater verify --journal` names them)", all - 1),
    };
    Err(JournalError::Damaged { path: dir.to_owned(), why: format!("{first}{more}") }.to_string())
}

/// What a start builds upon is what was written: its hash says so.
fn is_intact(event: &ChainEvent) -> Result<(), String> {
    let before = event.parent_hash.map(|hash| Head { sequence: event.sequence.saturating_sub(1), hash });
    check_link(before.as_ref(), event).map(|_| ()).map_err(|broken| broken.to_string())
}

/// The row says again what the chain says of the last start, which is that.
fn is_row_of(row: &ActorRow, started: Option<&ChainEvent>, last: &ChainEvent) -> Result<Started, String> {
    let started = started.and_then(|event| Started::from_cbor(&event.data).ok());
    let started = started.ok_or("its last start is not on its chain")?;
    if let Some(what) = row.differs_from(&started) {
        return Err(format!("its {what} in the table of actors is not what its last start says"));
    }
    let has_ended = matches!(last.kind(), Some(EventKind::Failed | EventKind::Stopped));
    if row.alive || has_ended {
        Ok(started)
    } else {
        Err("it is said to have ended, but its chain does not end so".into())
    }
}

/// What an actor ran is in the journal: manifest, limits, component, and the state it first began with.
fn stored_spec(
    engine: &GuestEngine,
    reader: &JournalReader,
    dir: &Path,
    row: &ActorRow,
    limits: &Limits,
) -> Result<Spec, String> {
    let missing = |what: &str| damaged(dir, row, what);
    let unreadable = |error| JournalError::Read { path: dir.to_owned(), error }.to_string();
    let manifest = Manifest::recorded(Path::new(&row.manifest_path), row.manifest.as_str().into(), limits)
        .map_err(|error| missing(&format!("its stored manifest is not understood: {error}")))?;
    let component = reader.component(row.component).map_err(unreadable)?;
    let component = component.ok_or_else(|| missing("its component is not in the journal"))?;
    if ComponentDigest::of(&component) != row.component {
        return Err(missing("its component was altered"));
    }
    let init_state = first_state(reader, row.actor).map_err(unreadable)?;
    let spec = Spec::assemble(engine, manifest, component, init_state).map_err(|error| error.to_string())?;
    if let Err(error) = spec.check_exports() {
        // An earlier version has started it, and it may never be called so.
        log::warn!("actor {} goes on, and fails when it is called so: {error}", row.name);
    }
    Ok(spec)
}

/// A changed manifest does not change what the actor began with; what has changed is said.
fn keep_initial_state(reader: &JournalReader, row: &ActorRow, mut spec: Spec) -> rusqlite::Result<Spec> {
    let first = first_state(reader, row.actor)?;
    let path = spec.manifest.path();
    let path = path.display();
    if spec.init_state != first && !is_fork(reader, row.actor)? {
        log::warn!(
            "{path}: \"init_state\" has changed since the actor {} first began, and it keeps its state: only an actor that \
             is not there yet begins with it (\"theater stop\" and \"theater forget\" this one, or give another name)",
            row.name
        );
    }
    if spec.digest() != row.component {
        log::info!("{path}: the actor {} goes on with another component, {}", row.name, spec.digest());
    }
    spec.init_state = first;
    Ok(spec)
}

fn first_started(reader: &JournalReader, actor: ActorKey) -> rusqlite::Result<Option<Started>> {
    let first = reader.first_started(actor)?;
    if first.as_ref().is_some_and(|event| EventHash::of(event) != event.hash) {
        return Err(unfit("event 0 is not what was written".to_owned()));
    }
    Ok(first.and_then(|event| Started::from_cbor(&event.data).ok()))
}

/// A fork begins where another actor was: no `init` of its own comes before.
fn is_fork(reader: &JournalReader, actor: ActorKey) -> rusqlite::Result<bool> {
    Ok(first_started(reader, actor)?.is_some_and(|started| started.reason == StartReason::Fork))
}

fn first_state(reader: &JournalReader, actor: ActorKey) -> rusqlite::Result<Option<Arc<[u8]>>> {
    Ok(match first_started(reader, actor)?.map(|started| started.state) {
        None | Some(NamedState::None) => None,
        Some(NamedState::Inline(bytes)) => Some(bytes.into()),
        Some(NamedState::Digest { sha1, .. }) => reader.sound_blob(&sha1)?.map(Arc::from),
    })
}

fn status_after(last: &ChainEvent) -> ActorStatus {
    match Failed::from_cbor(&last.data).ok().filter(|_| last.kind() == Some(EventKind::Failed)) {
        Some(Failed { reason, detail, .. }) => ActorStatus::Failed { reason, detail },
        None => ActorStatus::Stopped,
    }
}
