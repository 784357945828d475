//! The thread `journal`: takes what waits, appends it to the log as one batch, and then lets go what waited for that.
//!
//! ```text
//!   gather ─▶ encode ─▶ append: one write, one sync, the mark ─▶ tell the index ─▶ release, wake subscribers
//! ```
//!
//! It waits for nobody but the disk. What it cannot write ends it: appends fail from then on, nothing that waited is
//! released, and the layer above is told why.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use super::Listener;
use super::components;
use super::error::{JournalError, ReadFault, unfit};
use super::facts::make_anew;
use super::index::{EventFact, Fact, Index, IndexError, IndexedTo, Landmark, Standing};
use super::log::{
    BatchBuilding, BatchLog, BeginsEntry, Entry, EventEntry, LogError, OwesEntry, Payload, RemoteLog, Tip,
};
use super::newest::NewestStates;
use super::presence::FileWatch;
use super::queue::Queue;
use super::record::{ActorKey, Attached, Record, StateWrite};
use super::rows::CarriedRow;
use crate::base::clock;
use crate::base::fail;
use crate::base::id::ActorId;
use crate::base::limits::INLINE_STATE_BYTES;
use crate::base::metrics::JournalMetrics;
use crate::base::thread;
use crate::chain::{ChainEvent, ComponentDigest, DataDigest, EventKind, Salt, sha1};

/// One commit takes at most this much, so that a release never waits for an endless batch.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) log: Arc<dyn BatchLog>,
    /// The shared log of the realm, if there is one: it keeps the components, too.
    pub(super) remote: Option<Arc<dyn RemoteLog>>,
    pub(super) index: Arc<Index>,
    pub(super) standing: Standing,
    pub(super) newest: Arc<NewestStates>,
    pub(super) queue: Arc<Queue>,
    pub(super) listener: Listener,
    pub(super) watch: Arc<FileWatch>,
    pub(super) metrics: Arc<JournalMetrics>,
}

/// The writer at work.
struct Desk {
    path: PathBuf,
    log: Arc<dyn BatchLog>,
    remote: Option<Arc<dyn RemoteLog>>,
    index: Arc<Index>,
    standing: Standing,
    newest: Arc<NewestStates>,
    queue: Arc<Queue>,
    /// What was taken from the queue and is not written yet.
    taken: VecDeque<Record>,
    /// Components that are stored already: actors begin far more often than components change.
    components: HashSet<ComponentDigest>,
    watch: Arc<FileWatch>,
    metrics: Arc<JournalMetrics>,
}

/// What one commit holds.
#[derive(Default)]
struct Batch {
    weight: usize,
    /// The records, as they are appended; none where nothing is.
    building: Option<BatchBuilding>,
    /// What they mean to the index.
    facts: Vec<Fact>,
    releases: Vec<Box<dyn FnOnce() + Send>>,
    touched: Vec<ActorId>,
    /// The newest states that are stored later; none for an actor whose newest state is stored with this batch.
    newest: BTreeMap<i64, Option<(u64, Arc<[u8]>)>>,
    /// The segment is sealed behind it.
    seals: bool,
    close: bool,
}

/// Why a batch cannot be put together or appended.
enum Refused {
    Log(LogError),
    Read(ReadFault),
}

impl From<LogError> for Refused {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl<E: Into<ReadFault>> From<E> for Refused
where
    E: NotLog,
{
    fn from(error: E) -> Self {
        Self::Read(error.into())
    }
}

/// Faults of what is read, other than the log's.
trait NotLog {}
impl NotLog for ReadFault {}
impl NotLog for super::index::IndexError {}

impl Writer {
    pub(super) fn run(self) {
        let Self { path, log, remote, index, standing, newest, queue, listener, watch, metrics } = self;
        // However it ends, nobody is left waiting for it.
        let closing = Closing(&queue);
        let (taken, components) = (VecDeque::new(), HashSet::new());
        let queue = Arc::clone(&queue);
        let desk = Desk { path, log, remote, index, standing, newest, queue, taken, components, watch, metrics };
        let result = catch_unwind(AssertUnwindSafe(|| desk.commit_until_closed(&listener)))
            .unwrap_or_else(|panic| Err(JournalError::Panicked(thread::panic_message(&*panic))));
        drop(closing);
        if let Err(error) = result {
            // Nobody may read what it prints any more: it acts first.
            (listener.failed)(&error);
            log::error!("{error}");
        }
    }
}

struct Closing<'a>(&'a Queue);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Desk {
    fn commit_until_closed(mut self, listener: &Listener) -> Result<(), JournalError> {
        loop {
            if self.taken.is_empty() {
                self.queue.take_all(&mut self.taken);
            }
            if self.taken.is_empty() {
                self.check_still_there()?;
                continue;
            }
            self.metrics.commit_began.set(clock::boot_ms().max(1));
            let (begun, before) = (clock::now(), self.log.tip().position);
            let batch = self.commit()?;
            let events = self.log.tip().position - before;
            if events > 0 {
                self.metrics.commits.observe_time(clock::since(begun));
                self.metrics.commit_bytes.observe(batch.weight as u64);
                self.metrics.events.add(events);
            }
            self.check_still_there()?;
            self.queue.free(batch.weight);
            for release in batch.releases {
                release();
            }
            if !batch.touched.is_empty() {
                (listener.committed)(&batch.touched);
            }
            self.metrics.commit_began.set(0);
            if batch.close {
                return self.log.close().map_err(JournalError::of_append);
            }
        }
    }

    /// Nothing is acknowledged that nobody will find.
    fn check_still_there(&self) -> Result<(), JournalError> {
        match self.watch.gone() {
            Some(what) => Err(JournalError::Gone { path: self.path.clone(), what: what.to_owned() }),
            None => Ok(()),
        }
    }

    /// Writes what was taken, and what came meanwhile, as one batch.
    fn commit(&mut self) -> Result<Batch, JournalError> {
        let refused = |path: &PathBuf, refused| match refused {
            Refused::Log(error) => JournalError::of_append(error),
            Refused::Read(error) => JournalError::Read { path: path.clone(), error },
        };
        let mut batch = Batch::default();
        while let Some(record) = self.next(&batch) {
            batch.weight += record.weight();
            self.apply(&mut batch, record).map_err(|why| refused(&self.path, why))?;
        }
        if batch.close {
            self.store_all(&mut batch).map_err(|why| refused(&self.path, why))?;
        }
        if let Some(building) = batch.building.take() {
            let (before, upto) = (self.log.tip(), building.next_position() - 1);
            let tip = self.log.append(building, self.standing.sum()).map_err(JournalError::of_append)?;
            if (tip.batch, tip.position) != (before.batch + 1, upto) {
                return Err(JournalError::Answered { batch: before.batch + 1, found: tip.batch });
            }
            fail::point("marked");
            self.publish(&mut batch, tip);
        }
        if batch.seals {
            self.log.seal().map_err(JournalError::of_append)?;
        }
        Ok(batch)
    }

    /// Readers see from here on what was appended.
    fn publish(&mut self, batch: &mut Batch, tip: Tip) {
        let newest = std::mem::take(&mut batch.newest);
        // Before the index says which state is the newest; and taken away after it says where else that stands.
        for (actor, newest) in &newest {
            if let Some((sequence, state)) = newest {
                self.newest.put(*actor, *sequence, Arc::clone(state));
            }
        }
        let facts = std::mem::take(&mut batch.facts);
        self.index.apply(facts, IndexedTo { batch: tip.batch, position: tip.position });
        newest.iter().filter(|(_, newest)| newest.is_none()).for_each(|(actor, _)| self.newest.take(*actor));
        self.standing.forget_told();
    }

    fn next(&mut self, batch: &Batch) -> Option<Record> {
        if batch.weight >= BATCH_BYTES || batch.close || batch.seals {
            return None;
        }
        if self.taken.is_empty() {
            self.queue.take_more(&mut self.taken);
        }
        self.taken.pop_front()
    }

    fn apply(&mut self, batch: &mut Batch, record: Record) -> Result<(), Refused> {
        match record {
            Record::Event(actor, event, attached) => self.event(batch, actor, &event, attached)?,
            Record::Ended(actor) => self.entry(batch, &Entry::Ended(unsigned(actor.key)), Fact::Ended(actor.key))?,
            Record::Survived(actor) => {
                self.entry(batch, &Entry::Survived(unsigned(actor.key)), Fact::Survived(actor.key))?;
            }
            Record::Forgotten(actor) => {
                self.entry(batch, &Entry::Forgotten(unsigned(actor.key)), Fact::Forgotten(actor.key))?;
            }
            Record::Paused { actor, is_paused } => {
                let entry = Entry::Paused { actor: unsigned(actor.key), is_paused };
                self.entry(batch, &entry, Fact::Paused { actor: actor.key, is_paused })?;
            }
            Record::Store(actor) => self.store(batch, actor.key)?,
            Record::State(actor, sequence, state) => {
                self.store_state(batch, actor.key, sequence, state.as_deref())?;
            }
            Record::Drop { actor, from, upto, last } => {
                let actor = actor.key;
                let entry = Entry::Dropped { actor: unsigned(actor), from, upto, last };
                self.entry(batch, &entry, Fact::StatesDropped { actor, events: from..upto })?;
                self.fact(batch, Fact::Dropped { actor, last })?;
            }
            Record::Row(actor, row) => self.row(batch, actor.key, row)?,
            Record::Seal => batch.seals = true,
            Record::Component(digest, bytes) => {
                if self.components.insert(digest) {
                    if let Some(remote) = &self.remote {
                        remote.store_component(digest, &bytes).map_err(LogError::Remote)?;
                    }
                    let stored = components::store(&self.path, digest, &bytes);
                    stored.map_err(|error| LogError::Io { path: self.path.clone(), error })?;
                    self.watch.remember(digest, bytes.len());
                }
            }
            Record::Release(release) => batch.releases.push(release),
            Record::Close => batch.close = true,
        }
        Ok(())
    }

    fn event(
        &mut self,
        batch: &mut Batch,
        actor: ActorKey,
        event: &ChainEvent,
        attached: Attached,
    ) -> Result<(), Refused> {
        let Attached { begins, state, owes, settles, ends, key, parts, begins_with, rows } = attached;
        if batch.touched.last() != Some(&actor.id) {
            batch.touched.push(actor.id);
        }
        for (name, part) in &parts {
            self.push(batch, &Entry::Blob { name: *name, is_state: false, bytes: Payload::Kept(part) })?;
        }
        if let Some((name, state)) = &begins_with {
            self.push(batch, &Entry::Blob { name: *name, is_state: true, bytes: Payload::Kept(state) })?;
        }
        let StateOf { names_state, keeps, stored_behind } = self.state_of(batch, actor.key, event, state)?;
        let position = self.building(batch)?.next_position();
        let back = match self.sound(|standing| standing.last(actor.key))? {
            Some((last, _)) if last.sequence + 1 == event.sequence => position - last.position,
            None if event.sequence == 0 => 0,
            Some(_) | None => {
                let what = "does not follow the last on its chain";
                return Err(unfit(format!("event {} of actor {} {what}", event.sequence, actor.id)).into());
            }
        };
        let (dropped, digest) = (event.dropped.as_ref(), event.dropped.map(|dropped| digest_bytes(dropped.digest)));
        let salted = event.salt.map(|salt| [&salt.0[..], &event.data].concat());
        let owed_as = owes.and_then(|owes| owes.text()).unwrap_or_default();
        let entry = EventEntry {
            actor: unsigned(actor.key),
            sequence: event.sequence,
            back,
            timestamp: event.timestamp,
            event_type: &event.event_type,
            hash: event.hash.0,
            names_state,
            keeps,
            ends,
            is_salted: event.is_salted(),
            begins: begins.as_ref().map(|begins| BeginsEntry {
                id: *actor.id.as_bytes(),
                attempts: begins.attempts,
                manifest_path: &begins.manifest_path,
            }),
            owes: owes.map(|owes| OwesEntry { receiver: *owes.receiver.as_bytes(), notice: &owed_as }),
            settles: settles.iter().map(|cause| (*cause.actor.as_bytes(), cause.sequence)).collect(),
            key: key.as_ref().map(|key| key.0),
            data: match dropped {
                Some(dropped) => {
                    Payload::Dropped { length: dropped.length, digest: digest.as_deref().unwrap_or_default() }
                }
                None => Payload::Kept(salted.as_deref().unwrap_or(&event.data)),
            },
        };
        let fact = EventFact {
            actor,
            sequence: event.sequence,
            position,
            hash: event.hash,
            landmark: Landmark::of(&event.event_type),
            names_state,
            keeps,
            begins: None,
            owes,
            settles,
            key: key.map(|key| *key),
            ends,
        };
        self.push(batch, &Entry::Event(entry))?;
        self.fact(batch, Fact::Event(EventFact { begins, ..fact }))?;
        if !rows.is_empty() {
            self.fact(batch, Fact::Rows { actor: actor.key, closed: event.sequence, writes: rows })?;
        }
        if dropped.is_some() {
            self.fact(batch, Fact::Dropped { actor: actor.key, last: event.sequence })?;
        }
        if let Some(state) = stored_behind {
            self.store_state(batch, actor.key, event.sequence, state.as_deref())?;
        }
        if ends || matches!(event.kind(), Some(EventKind::Failed | EventKind::Stopped)) {
            self.store(batch, actor.key)?;
        }
        Ok(())
    }

    /// What becomes of the state that an event leads to, or is to be kept behind.
    fn state_of(
        &mut self,
        batch: &mut Batch,
        actor: i64,
        event: &ChainEvent,
        write: Option<StateWrite>,
    ) -> Result<StateOf, Refused> {
        let Some(StateWrite { state, named, keep }) = write else { return Ok(StateOf::default()) };
        // An event of an older journal may have lost the state that it named.
        if !named || event.dropped.is_some() {
            let stored_behind = (keep || named).then_some(state);
            return Ok(StateOf { names_state: named, keeps: false, stored_behind });
        }
        let large = state.filter(|state| state.len() > INLINE_STATE_BYTES);
        match &large {
            // What a `started` says is never dropped, so its state may be stored under its own digest.
            Some(state) if keep && event.kind() == Some(EventKind::Started) => {
                let entry = Entry::Blob { name: sha1(state), is_state: true, bytes: Payload::Kept(state) };
                self.push(batch, &entry)?;
            }
            Some(_) if keep => {
                batch.newest.insert(actor, None);
                return Ok(StateOf { names_state: true, keeps: false, stored_behind: Some(large) });
            }
            Some(_) | None => {}
        }
        batch.newest.insert(actor, large.filter(|_| !keep).map(|state| (event.sequence, state)));
        Ok(StateOf { names_state: true, keeps: keep, stored_behind: None })
    }

    /// Stores the actor's newest state, if it is not stored yet.
    fn store(&mut self, batch: &mut Batch, actor: i64) -> Result<(), Refused> {
        let newest = match batch.newest.get(&actor) {
            Some(newest) => newest.clone(),
            None => self.newest.newest(actor),
        };
        let Some((sequence, state)) = newest else { return Ok(()) };
        self.store_state(batch, actor, sequence, Some(&state))?;
        batch.newest.insert(actor, None);
        Ok(())
    }

    fn store_all(&mut self, batch: &mut Batch) -> Result<(), Refused> {
        let waiting = self.newest.actors();
        let of_batch = batch.newest.keys().copied().filter(|actor| !waiting.contains(actor));
        let actors: Vec<i64> = waiting.iter().copied().chain(of_batch).collect();
        actors.into_iter().try_for_each(|actor| self.store(batch, actor))
    }

    fn store_state(
        &mut self,
        batch: &mut Batch,
        actor: i64,
        sequence: u64,
        state: Option<&[u8]>,
    ) -> Result<(), Refused> {
        // The name stays when the state is dropped, so it must not be the digest of the state alone.
        let salted = state.map(|state| [&Salt::random().as_bytes()[..], state].concat());
        let (name, payload) = (salted.as_deref().map(sha1), Payload::Kept(salted.as_deref().unwrap_or_default()));
        let segment = self.building(batch)?.segment();
        let is_salted = salted.is_some();
        let entry = Entry::State { actor: unsigned(actor), sequence, name, is_salted, state: payload };
        self.entry(batch, &entry, Fact::State { actor, sequence, segment })
    }

    fn row(&mut self, batch: &mut Batch, actor: i64, row: Box<CarriedRow>) -> Result<(), Refused> {
        let payload = row.payload(&Salt::random());
        let entry = Entry::Row {
            actor: unsigned(actor),
            written: row.write.written,
            closed: row.closed,
            hash: row.write.hash.0,
            name: sha1(&payload),
            row: Payload::Kept(&payload),
        };
        self.entry(batch, &entry, Fact::Carried { actor, row })
    }

    fn entry(&mut self, batch: &mut Batch, entry: &Entry<'_>, fact: Fact) -> Result<(), Refused> {
        self.push(batch, entry)?;
        self.fact(batch, fact)
    }

    fn push(&mut self, batch: &mut Batch, entry: &Entry<'_>) -> Result<(), Refused> {
        self.building(batch)?.push(entry);
        Ok(())
    }

    fn fact(&mut self, batch: &mut Batch, fact: Fact) -> Result<(), Refused> {
        self.sound(|standing| standing.apply(&fact))?;
        batch.facts.push(fact);
        Ok(())
    }

    /// Asks the standing sum, which may have to ask the index. If that is found damaged, it is made anew from the log.
    fn sound<T>(&mut self, mut ask: impl FnMut(&mut Standing) -> Result<T, IndexError>) -> Result<T, Refused> {
        match ask(&mut self.standing) {
            Err(error) if error.is_damage() => {
                make_anew(&*self.log, &self.index)?;
                Ok(ask(&mut self.standing)?)
            }
            answer => Ok(answer?),
        }
    }

    /// The batch that is being put together.
    fn building<'b>(&self, batch: &'b mut Batch) -> Result<&'b mut BatchBuilding, LogError> {
        match &mut batch.building {
            Some(building) => Ok(building),
            none => Ok(none.insert(self.log.begin()?)),
        }
    }
}

/// What is written of a state with its event.
#[derive(Default)]
struct StateOf {
    names_state: bool,
    keeps: bool,
    /// The state is the one of an earlier event, and is stored behind this one.
    stored_behind: Option<Option<Arc<[u8]>>>,
}

/// The digest that is left of data.
pub(super) fn digest_bytes(digest: DataDigest) -> Vec<u8> {
    match digest {
        DataDigest::Plain(sha1) => sha1.to_vec(),
        DataDigest::Salted(sha256) => sha256.to_vec(),
    }
}

/// Keys are counted from 1.
fn unsigned(key: i64) -> u64 {
    key.unsigned_abs()
}
