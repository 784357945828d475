//! The thread `journal`: takes what waits, commits it once, then lets go what waited for the commit.
//!
//! It waits for nobody but the disk. What it cannot write ends it: appends fail from then on, nothing that waited is
//! released, and the layer above is told why.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::Listener;
use super::chains::Place;
use super::checkpoint::Checkpointer;
use super::ends::Ends;
use super::error::JournalError;
use super::mark::{MarkFile, Tip};
use super::queue::Queue;
use super::record::{ActorKey, Attached, Cause, Owed, Record, StateWrite};
use super::rows::Rows;
use crate::base::clock;
use crate::base::fail;
use crate::base::id::ActorId;
use crate::base::limits::INLINE_STATE_BYTES;
use crate::base::metrics::JournalMetrics;
use crate::base::thread;
use crate::chain::{ChainEvent, ComponentDigest};

/// One commit takes at most this much, so that a release never waits for an endless batch.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How long the end of a journal waits for those who read it, so that `journal.db` is whole by itself.
const AT_THE_END: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) mark: MarkFile,
    pub(super) tip: Tip,
    pub(super) queue: Arc<Queue>,
    pub(super) listener: Listener,
    pub(super) bell: Checkpointer,
    pub(super) metrics: Arc<JournalMetrics>,
}

/// The writer at work.
struct Desk<'a> {
    path: PathBuf,
    rows: Rows<'a>,
    mark: MarkFile,
    tip: Tip,
    queue: &'a Queue,
    /// What was taken from the queue and is not written yet.
    taken: VecDeque<Record>,
    ends: Ends,
    /// Components that are in the journal already: actors begin far more often than components change.
    components: HashSet<ComponentDigest>,
    bell: Checkpointer,
    /// Told once what was dropped is gone from the log too.
    when_gone: Vec<Box<dyn FnOnce() + Send>>,
    metrics: Arc<JournalMetrics>,
}

/// What one commit holds, beside the rows.
#[derive(Default)]
struct Batch {
    weight: usize,
    releases: Vec<Box<dyn FnOnce() + Send>>,
    when_gone: Vec<Box<dyn FnOnce() + Send>>,
    touched: Vec<ActorId>,
    /// The chains that it goes on with; where they end is written once.
    chains: BTreeSet<i64>,
    /// The newest state of each actor in the batch whose events do not hold theirs; `None` where it did not and does now.
    states: BTreeMap<i64, Option<(u64, Arc<[u8]>)>>,
    /// Deliveries promised and not settled within the batch, with the position of their cause. Most are settled in the
    /// batch that promised them, and cost nothing.
    owed: HashMap<Cause, (Owed, u64)>,
    /// Deliveries settled that an earlier batch promised.
    settled: Vec<Cause>,
    /// Something is to be gone: not only from the rows, but from the pages and the log too.
    drops: bool,
    close: bool,
}

impl Writer {
    pub(super) fn run(self) {
        let Self { path, connection, mark, tip, queue, listener, bell, metrics } = self;
        // However it ends, nobody is left waiting for it.
        let closing = Closing(&queue);
        let work = || {
            Rows::prepare(&connection).map_err(JournalError::Write).and_then(|rows| {
                let (taken, ends, components, when_gone) =
                    (VecDeque::new(), Ends::default(), HashSet::new(), Vec::new());
                Desk { path, rows, mark, tip, queue: &queue, taken, ends, components, bell, when_gone, metrics }
                    .commit_until_closed(&listener)
            })
        };
        let result = catch_unwind(AssertUnwindSafe(work))
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

impl Desk<'_> {
    fn commit_until_closed(mut self, listener: &Listener) -> Result<(), JournalError> {
        loop {
            if self.taken.is_empty() {
                self.queue.take_all(&mut self.taken);
            }
            if self.taken.is_empty() {
                self.is_still_there()?;
                self.tend_the_log(false);
                continue;
            }
            let (begun, before) = (clock::now(), self.tip.position);
            let batch = self.commit()?;
            if self.tip.position > before {
                self.metrics.commits.observe_time(clock::since(begun));
                self.metrics.commit_bytes.observe(batch.weight as u64);
                self.metrics.events.add(self.tip.position - before);
            }
            self.is_still_there()?;
            self.queue.free(batch.weight);
            let is_behind = self.bell.written(batch.weight);
            if batch.drops || !batch.when_gone.is_empty() {
                self.bell.have_it_cut();
            }
            self.when_gone.extend(batch.when_gone);
            for release in batch.releases {
                release();
            }
            if !batch.touched.is_empty() {
                (listener.committed)(&batch.touched);
            }
            self.tend_the_log(is_behind);
            if batch.close {
                self.mark.let_go(&self.tip).map_err(JournalError::WriteMark)?;
                self.cut_off_the_log("at the end", AT_THE_END);
                return Ok(());
            }
        }
    }

    /// Nothing is acknowledged that nobody will find.
    fn is_still_there(&self) -> Result<(), JournalError> {
        if self.bell.is_gone() { Err(JournalError::Gone { path: self.path.clone() }) } else { Ok(()) }
    }

    fn tend_the_log(&mut self, is_behind: bool) {
        if !self.bell.is_rest_due() && !is_behind {
            return;
        }
        if self.bell.is_to_be_cut() {
            // Readers are not waited for.
            self.cut_off_the_log("yet", Duration::ZERO);
        } else {
            self.rows.carry_over_the_rest();
        }
    }

    /// What is not done here is tried again, at the next start too.
    fn cut_off_the_log(&mut self, when: &str, patience: Duration) {
        match self.rows.cut_off_the_log(patience) {
            Ok(true) => {
                self.bell.was_cut();
                self.when_gone.drain(..).for_each(|tell| tell());
            }
            Ok(false) => log::debug!("the journal's write-ahead log is not cut off {when}: somebody reads it"),
            Err(error) => log::warn!("the journal's write-ahead log is not cut off {when}: {error}"),
        }
    }

    /// Writes what was taken, and what came meanwhile, in one transaction.
    fn commit(&mut self) -> Result<Batch, JournalError> {
        let mut batch = Batch::default();
        let before = self.tip;
        self.rows.begin().map_err(JournalError::Write)?;
        while let Some(record) = self.next(&batch) {
            batch.weight += record.weight();
            self.apply(&mut batch, record).map_err(JournalError::Write)?;
        }
        self.write_rest(&mut batch).map_err(JournalError::Write)?;
        if self.tip != before {
            self.rows.digest(&self.tip.digest).map_err(JournalError::Write)?;
        }
        fail::point("before-commit");
        self.rows.commit().map_err(JournalError::Write)?;
        fail::point("committed");
        if self.tip != before {
            self.mark.write(&self.tip).map_err(JournalError::WriteMark)?;
        }
        fail::point("marked");
        Ok(batch)
    }

    fn next(&mut self, batch: &Batch) -> Option<Record> {
        if batch.weight >= BATCH_BYTES || batch.close || batch.drops {
            return None;
        }
        if self.taken.is_empty() {
            self.queue.take_more(&mut self.taken);
        }
        self.taken.pop_front()
    }

    fn apply(&mut self, batch: &mut Batch, record: Record) -> rusqlite::Result<()> {
        match record {
            Record::Event(actor, event, attached) => self.event(batch, actor, &event, attached)?,
            Record::Ended(actor) => self.end(batch, actor)?,
            Record::Survived(actor) => self.rows.survived(actor)?,
            Record::Forgotten(actor) => self.rows.forgotten(actor)?,
            Record::Drop { actor, from, upto } => {
                batch.drops = true;
                self.keep_state_apart(batch, actor.key, &(from..upto))?;
                if let Some(last) = self.rows.drop_payloads(actor, from..upto)? {
                    self.ends.dropped(&self.rows, actor.key, last)?;
                    batch.chains.insert(actor.key);
                }
            }
            Record::Component(digest, bytes) => {
                if self.components.insert(digest) {
                    self.rows.component(digest, &bytes)?;
                }
            }
            Record::Blob(name, bytes) => self.rows.blob_for_good(&name, &bytes)?,
            Record::Release(release) => batch.releases.push(release),
            Record::WhenGone(tell) => batch.when_gone.push(tell),
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
    ) -> rusqlite::Result<()> {
        let Attached { begins, state, owes, settles, ends, parts } = attached;
        if batch.touched.last() != Some(&actor.id) {
            batch.touched.push(actor.id);
        }
        self.tip.push(&event.hash.0);
        let (sequence, position) = (event.sequence, self.tip.position);
        let previous = self.ends.go_on(&self.rows, actor, event, position)?;
        self.rows.event(position, previous, actor, event, &parts)?;
        batch.chains.insert(actor.key);
        if let Some(row) = begins {
            self.rows.actor(actor, &row, sequence)?;
        }
        if let Some(write) = state {
            self.state(batch, actor.key, Place { sequence, position }, write)?;
        }
        for cause in settles {
            if batch.owed.remove(&cause).is_none() {
                batch.settled.push(cause);
            }
        }
        if let Some(owed) = owes {
            batch.owed.insert(Cause { actor: actor.id, sequence }, (owed, position));
        }
        if ends { self.end(batch, actor) } else { Ok(()) }
    }

    /// The state that the event at `place` led to, or is to be kept behind.
    fn state(&mut self, batch: &mut Batch, actor: i64, place: Place, write: StateWrite) -> rusqlite::Result<()> {
        let StateWrite { state, named, keep } = write;
        if keep {
            self.rows.kept_state(actor, place, state.as_deref())?;
        }
        if named {
            let apart = state.filter(|state| state.len() > INLINE_STATE_BYTES);
            let was_apart = self.ends.leads_to_state(actor, apart.is_some());
            if was_apart || apart.is_some() {
                batch.states.insert(actor, apart.map(|state| (place.sequence, state)));
            }
        }
        Ok(())
    }

    /// The newest state outlives the data of the event that holds it.
    fn keep_state_apart(&mut self, batch: &mut Batch, actor: i64, dropped: &Range<u64>) -> rusqlite::Result<()> {
        if let Some(place) = self.ends.take_state_apart(&self.rows, actor, dropped)? {
            let state = self.rows.state_in_event(place)?;
            self.rows.newest_state(actor, place.sequence, state.as_deref())?;
            batch.states.remove(&actor);
        }
        Ok(())
    }

    /// The actor is not to be resumed, and what it owes itself ends with it.
    fn end(&mut self, batch: &mut Batch, actor: ActorKey) -> rusqlite::Result<()> {
        batch.owed.retain(|cause, (owed, _)| cause.actor != actor.id || owed.receiver != actor.id);
        self.rows.end(actor)
    }

    /// What is written once a batch, not once a record.
    fn write_rest(&mut self, batch: &mut Batch) -> rusqlite::Result<()> {
        for actor in std::mem::take(&mut batch.chains) {
            self.rows.head(actor, self.ends.of(actor))?;
        }
        for (actor, apart) in std::mem::take(&mut batch.states) {
            match apart {
                Some((sequence, state)) => self.rows.newest_state(actor, sequence, Some(&state))?,
                None => self.rows.no_newest_state(actor)?,
            }
        }
        batch.settled.drain(..).try_for_each(|cause| self.rows.settled(cause))?;
        batch.owed.drain().try_for_each(|(cause, (owed, position))| self.rows.owed(cause, owed, position))?;
        self.rows.seal_what_is_owed()?;
        self.ends.are_written();
        Ok(())
    }
}
