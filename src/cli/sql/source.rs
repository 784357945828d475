//! The journal as the tables read it: everything as it was at one moment, whatever a runtime writes meanwhile.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::super::Failure;
use super::super::sandbox::engine;
use crate::actor::newest_state;
use crate::base::id::ActorId;
use crate::chain::ChainEvent;
use crate::journal::{self, ActorKey, ActorRow, JournalReader, Newest};

pub(super) struct SqlSource {
    /// SQLite wants to be given something that threads could share. One thread alone reads.
    reader: Mutex<JournalReader>,
    /// In the order of their first starts. The tables name an actor by its place in here.
    pub(super) actors: Vec<ActorRow>,
    by_id: HashMap<ActorId, usize>,
    by_name: HashMap<String, BTreeSet<usize>>,
    /// The position behind the last event.
    pub(super) end: u64,
    /// Whether data was asked for that a prune or a redaction has dropped.
    lacks_data: AtomicBool,
}

impl SqlSource {
    pub(super) fn open(dir: &Path) -> Result<Self, Failure> {
        let reader = journal::open_to_read(dir).map_err(Failure::no)?;
        let actors = reader.actors().map_err(Failure::no)?;
        let end = reader.end().map_err(Failure::no)?;
        let by_id = actors.iter().enumerate().map(|(at, row)| (row.actor.id, at)).collect();
        let mut by_name: HashMap<String, BTreeSet<usize>> = HashMap::new();
        for (at, row) in actors.iter().enumerate() {
            by_name.entry(row.name.clone()).or_default().insert(at);
        }
        Ok(Self { reader: Mutex::new(reader), actors, by_id, by_name, end, lacks_data: AtomicBool::new(false) })
    }

    /// Reads the journal. What it says if it cannot be read becomes the error of the statement, here alone.
    pub(super) fn read<T, E: Display>(&self, ask: impl FnOnce(&JournalReader) -> Result<T, E>) -> rusqlite::Result<T> {
        ask(&self.reader.lock()).map_err(|error| rusqlite::Error::ModuleError(error.to_string()))
    }

    /// An actor's newest state. If it is not stored, it is computed.
    pub(super) fn newest_state(&self, actor: ActorKey) -> rusqlite::Result<Option<Vec<u8>>> {
        match self.read(|reader| reader.newest_state(actor))? {
            Newest::Is(state) => Ok(state),
            Newest::Behind(_) => self.read(|reader| {
                let engine = engine(Some(reader.dir())).map_err(|failure| failure.message)?;
                newest_state(&engine, reader, actor)
            }),
        }
    }

    /// The actor of this id, which is in no other spelling.
    pub(super) fn of_id(&self, id: &str) -> Option<usize> {
        self.place_of(id.parse().ok()?)
    }

    pub(super) fn place_of(&self, id: ActorId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn of_name(&self, name: &str) -> BTreeSet<usize> {
        self.by_name.get(name).cloned().unwrap_or_default()
    }

    /// The name of an actor that is in this journal.
    pub(super) fn name_of(&self, id: ActorId) -> Option<&str> {
        self.place_of(id).map(|at| self.actors[at].name.as_str())
    }

    pub(super) fn event(&self, actor: usize, sequence: u64) -> rusqlite::Result<Option<ChainEvent>> {
        let page = self.read(|reader| reader.events(self.actors[actor].actor, sequence, 1, usize::MAX))?;
        Ok(page.into_iter().next().filter(|event| event.sequence == sequence))
    }

    /// Where an event stands in the order of all.
    pub(super) fn position(&self, actor: usize, sequence: u64) -> rusqlite::Result<Option<u64>> {
        self.read(|reader| reader.position(self.actors[actor].actor, sequence))
    }

    /// The event, unless its data was dropped: then the operator is told that what it said is NULL.
    pub(super) fn with_data<'e>(&self, event: &'e ChainEvent) -> Option<&'e ChainEvent> {
        if event.dropped.is_some() {
            self.lacks_data.store(true, Ordering::Relaxed);
            return None;
        }
        Some(event)
    }

    pub(super) fn lacks_data(&self) -> bool {
        self.lacks_data.load(Ordering::Relaxed)
    }
}
