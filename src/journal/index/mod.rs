//! The index: where things stand in the log, who the actors are, and what is owed. It is derived from the log, in SQLite,
//! and is rebuilt from there where it is missing, damaged or of another version.
//!
//! ```text
//!   writer ── facts of a committed batch ──▶ layers in memory ──▶ thread `index` ──▶ index.db
//!                                                 │                                     │
//!   anyone ── lookup ─────────────────────────────┴── what is not there is asked of ────┘
//! ```
//!
//! The writer tells of each batch before anything in it is acknowledged, and waits for no disk here. A lookup looks at the
//! layers (`delta.rs`) first, and then at the tables as they are at that moment (`tables.rs`), so that it sees all
//! that is committed, wherever that is just then. The thread (`fill.rs`) writes layers in large transactions that nobody
//! syncs. What the index must hold is summed up in each batch of the log (`sum.rs`): one that lies is found at a start.
//!
//! Locks are taken in this order: `rebuilding`, `writing`, `reading`, `delta`.

mod delta;
mod error;
mod fact;
mod fill;
mod lookups;
mod row_layer;
mod row_lookups;
mod row_tables;
mod sql;
mod sum;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Mutex, MutexGuard};
use rusqlite::Connection;

pub(in crate::journal) use error::IndexError;
pub(in crate::journal) use fact::{EventFact, Fact, IndexedTo, Kept, Landmark};
#[allow(unused_imports, reason = "whoever starts the thread keeps it")]
pub(in crate::journal) use fill::IndexThread;
pub(in crate::journal) use row_tables::StoredRow;
pub(in crate::journal) use sum::Standing;

pub(in crate::journal) use tables::{make_stub, write_stub};

use delta::{Delta, Health, Layer};
use fill::Writing;

/// The layers are written when they are about so many rows, and after a second in any case.
const MANY_ROWS: usize = if cfg!(test) { 500 } else { 50_000 };

pub(in crate::journal) struct Index {
    /// The file; none where the index is only read.
    path: Option<PathBuf>,
    rebuilding: Mutex<()>,
    writing: Mutex<Writing>,
    reading: Mutex<Reading>,
    delta: Mutex<Delta>,
    /// Wakes the thread.
    ring: Sender<()>,
    rung: Receiver<()>,
    is_closing: AtomicBool,
    /// The thread writes no layers. Written with `writing` locked.
    is_still: AtomicBool,
}

/// The connection by which lookups read.
struct Reading {
    connection: Connection,
    /// It shows for good what was there when it was opened.
    is_frozen: bool,
    /// It shows what was there when [`Still`] began.
    is_held: bool,
}

/// An index, and what it lacks.
pub(in crate::journal) struct OpenedIndex {
    pub(in crate::journal) index: Arc<Index>,
    /// Up to where it holds what the log does, so that it is to be fed what follows; none where it holds nothing.
    pub(in crate::journal) indexed_to: Option<IndexedTo>,
    /// Why it holds nothing.
    pub(in crate::journal) why_empty: Option<String>,
}

impl Index {
    /// Opens the index in `dir`, or makes it anew where it cannot be used.
    pub(in crate::journal) fn open(dir: &Path) -> Result<OpenedIndex, IndexError> {
        let path = dir.join("index.db");
        let opened = tables::open(&path).and_then(|writing| {
            let held = tables::held(&writing).map_err(|error| error.to_string())?;
            let held = held.ok_or("nothing was written to it")?;
            let reading = tables::open_beside(&path).map_err(|error| error.to_string())?;
            Ok((Writing::of(&path, writing)?, reading, held))
        });
        let (writing, reading, indexed_to, why_empty) = match opened {
            Ok((writing, reading, held)) => (writing, Some(reading), Some(held), None),
            Err(why) => (Writing::default(), None, None, Some(why)),
        };
        let is_to_be_made = reading.is_none();
        let reading = reading.map_or_else(tables::nothing, Ok).map_err(IndexError::of_reading)?;
        let index = Self::new(Some(path), writing, Reading { connection: reading, is_frozen: false, is_held: false });
        if is_to_be_made {
            index.begin_anew()?;
        }
        Ok(OpenedIndex { index: Arc::new(index), indexed_to, why_empty })
    }

    /// Opens the index in `dir` for reading alone, as it is at this moment, with or without a runtime at work on it. What it
    /// is fed stays in memory. While it is open, the write-ahead log of that runtime's index grows.
    pub(in crate::journal) fn open_to_read(dir: &Path) -> Result<OpenedIndex, IndexError> {
        let opened = tables::open_as_it_is(&dir.join("index.db")).and_then(|reading| {
            let held = tables::held(&reading).map_err(|error| error.to_string())?;
            let held = held.ok_or("nothing was written to it")?;
            Ok((Reading { connection: reading, is_frozen: true, is_held: false }, held))
        });
        let (reading, indexed_to, why_empty) = match opened {
            Ok((reading, held)) => (reading, Some(held), None),
            Err(why) => {
                let connection = tables::nothing().map_err(IndexError::of_reading)?;
                (Reading { connection, is_frozen: false, is_held: false }, None, Some(why))
            }
        };
        let index = Self::new(None, Writing::default(), reading);
        Ok(OpenedIndex { index: Arc::new(index), indexed_to, why_empty })
    }

    fn new(path: Option<PathBuf>, writing: Writing, reading: Reading) -> Self {
        let (ring, rung) = bounded(1);
        Self {
            path,
            rebuilding: Mutex::new(()),
            writing: Mutex::new(writing),
            reading: Mutex::new(reading),
            delta: Mutex::new(Delta { active: Layer::default(), moving: None, health: Health::Sound }),
            ring,
            rung,
            is_closing: AtomicBool::new(false),
            is_still: AtomicBool::new(false),
        }
    }

    /// Takes in what was committed, up to `upto`, behind all that was taken in before. Lookups see it at once.
    pub(in crate::journal) fn apply(&self, facts: Vec<Fact>, upto: IndexedTo) {
        let rows = {
            let mut delta = self.delta.lock();
            match &mut delta.health {
                Health::Sound => delta.active.take_in(facts, upto),
                Health::Rebuilding(meanwhile) => return meanwhile.push((facts, upto)),
                // Whoever rebuilds it finds this in the log.
                Health::Damaged(_) => return,
            }
            delta.active.rows()
        };
        if rows >= MANY_ROWS {
            // A ring that is not heard yet is as good as two.
            let _ = self.ring.try_send(());
        }
    }

    /// The same for what comes from the log in haste: where the layers are large, it writes them first.
    pub(in crate::journal) fn feed(&self, facts: Vec<Fact>, upto: IndexedTo) {
        self.apply(facts, upto);
        self.fill_if_large();
    }

    fn fill_if_large(&self) {
        if self.delta.lock().active.rows() >= MANY_ROWS {
            self.fill();
        }
    }

    /// The sum over all rows, to be compared with what the log says.
    pub(in crate::journal) fn sum(&self) -> Result<[u8; 16], IndexError> {
        self.ask(Delta::whole, |connection, layer| sum::sum_of(connection, &layer))
    }

    /// The index is not what was written: it answers nobody until it is rebuilt.
    pub(in crate::journal) fn distrust(&self, why: &str) {
        let mut delta = self.delta.lock();
        if !matches!(delta.health, Health::Damaged(_)) {
            log::warn!("the journal's index, index.db, is damaged, and is to be rebuilt: {why}");
            delta.become_damaged(why.to_owned());
        }
    }

    /// The index does not hold what the log does, and is to be rebuilt: without a warning, since nothing is lost by it.
    pub(in crate::journal) fn begin_again(&self) {
        self.delta.lock().become_damaged("it does not hold what the log does".to_owned());
    }

    /// Rebuilds the index if it is damaged. `feed` reads the log from its beginning to its end as it is by then, and hands on
    /// the facts of each batch. Until it is through, lookups fail; what is applied meanwhile is taken in behind it.
    pub(in crate::journal) fn rebuild<E: From<IndexError>>(
        &self,
        feed: impl FnOnce(&mut dyn FnMut(Vec<Fact>, IndexedTo)) -> Result<(), E>,
    ) -> Result<(), E> {
        let _alone = self.rebuilding.lock();
        if !self.delta.lock().begin_rebuilding() {
            return Ok(());
        }
        let mut fed = None;
        let result = self.begin_anew().map_err(E::from).and_then(|()| {
            feed(&mut |facts, upto| {
                self.delta.lock().active.take_in(facts, upto);
                fed = Some(upto);
                self.fill_if_large();
            })
        });
        let mut delta = self.delta.lock();
        match (result, std::mem::replace(&mut delta.health, Health::Sound)) {
            (Ok(()), Health::Rebuilding(meanwhile)) => {
                let is_new = |upto: &IndexedTo| fed.is_none_or(|fed| upto.batch > fed.batch);
                for (facts, upto) in meanwhile.into_iter().filter(|(_, upto)| is_new(upto)) {
                    delta.active.take_in(facts, upto);
                }
                Ok(())
            }
            // It was found damaged again while it was fed.
            (Ok(()), Health::Damaged(why)) => {
                delta.become_damaged(why.clone());
                Err(IndexError::Damaged { why }.into())
            }
            (Ok(()), Health::Sound) => Ok(()),
            (Err(error), _) => {
                delta.become_damaged("it could not be rebuilt".into());
                Err(error)
            }
        }
    }

    /// The layers, if the index can answer.
    fn sound(&self) -> Result<MutexGuard<'_, Delta>, IndexError> {
        let delta = self.delta.lock();
        match &delta.health {
            Health::Sound => Ok(delta),
            Health::Damaged(why) => Err(IndexError::Damaged { why: why.clone() }),
            Health::Rebuilding(_) => Err(IndexError::Damaged { why: "it is being rebuilt".into() }),
        }
    }

    /// Asks the tables, as they are at the moment at which `peek` looks at the layers.
    fn ask<P, T>(
        &self,
        peek: impl FnOnce(&Delta) -> P,
        ask: impl FnOnce(&Connection, P) -> rusqlite::Result<T>,
    ) -> Result<T, IndexError> {
        let reading = self.reading.lock();
        let (above, moment) = {
            let delta = self.sound()?;
            (peek(&delta), reading.begin_moment())
        };
        let answer = moment.and_then(|moment| {
            let answer = ask(&reading.connection, above)?;
            moment.end()?;
            Ok(answer)
        });
        answer.map_err(|error| self.failed(error))
    }

    /// The same, with the layers held as they are meanwhile too: for a short question that goes back and forth.
    fn ask_both<T>(&self, ask: impl FnOnce(&Connection, &Delta) -> rusqlite::Result<T>) -> Result<T, IndexError> {
        let reading = self.reading.lock();
        let delta = self.sound()?;
        let answer = reading.begin_moment().and_then(|moment| {
            let answer = ask(&reading.connection, &delta)?;
            moment.end()?;
            Ok(answer)
        });
        drop(delta);
        answer.map_err(|error| self.failed(error))
    }

    /// The same, without a moment: for a short question of the writer's.
    fn ask_beneath<T>(&self, ask: impl FnOnce(&Connection, &Delta) -> rusqlite::Result<T>) -> Result<T, IndexError> {
        let reading = self.reading.lock();
        let answer = ask(&reading.connection, &*self.sound()?);
        answer.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rusqlite::Error) -> IndexError {
        let error = IndexError::of_reading(error);
        if let IndexError::Damaged { why } = &error {
            self.distrust(why);
        }
        error
    }

    /// The same where the layers may know it all.
    fn look_up<P, T>(
        &self,
        peek: impl Fn(&Delta) -> Peek<P, T>,
        ask: impl FnOnce(&Connection, P) -> rusqlite::Result<T>,
    ) -> Result<T, IndexError> {
        if let Peek::Answer(answer) = peek(&*self.sound()?) {
            return Ok(answer);
        }
        self.ask(peek, |connection, peeked| match peeked {
            Peek::Answer(answer) => Ok(answer),
            Peek::Ask(above) => ask(connection, above),
        })
    }
}

/// What the layers say.
enum Peek<P, T> {
    Answer(T),
    /// The tables are to be asked, and this is to be laid over what they say.
    Ask(P),
}

/// The time during which the tables stay as they are for a lookup.
struct Moment<'r>(Option<&'r Connection>);

impl Reading {
    fn begin_moment(&self) -> rusqlite::Result<Moment<'_>> {
        if self.is_frozen || self.is_held {
            return Ok(Moment(None));
        }
        // A moment that failed may not have ended.
        if !self.connection.is_autocommit() {
            tables::end(&self.connection)?;
        }
        tables::begin(&self.connection)?;
        Ok(Moment(Some(&self.connection)))
    }
}

/// A time during which the thread writes no layers, so that many lookups need no moment each: to begin one and to end it takes
/// longer than what is looked up. What is committed meanwhile is in the layers.
#[must_use = "the thread writes layers again when it is dropped"]
pub(crate) struct Still(Arc<Index>);

impl Index {
    pub(in crate::journal) fn keep_still(self: &Arc<Self>) -> Still {
        let writing = self.writing.lock();
        let mut reading = self.reading.lock();
        if reading.begin_moment().is_ok() {
            self.is_still.store(true, Ordering::SeqCst);
            reading.is_held = true;
        }
        drop((reading, writing));
        Still(Arc::clone(self))
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        let mut reading = self.0.reading.lock();
        reading.is_held = false;
        // The next moment ends what is left of this one, if it must.
        if !reading.is_frozen && !reading.connection.is_autocommit() {
            let _ = tables::end(&reading.connection);
        }
        drop(reading);
        self.0.is_still.store(false, Ordering::SeqCst);
        let _ = self.0.ring.try_send(());
    }
}

impl Moment<'_> {
    fn end(self) -> rusqlite::Result<()> {
        self.0.map_or(Ok(()), tables::end)
    }
}

#[cfg(test)]
mod row_tests;
#[cfg(test)]
mod tests;
