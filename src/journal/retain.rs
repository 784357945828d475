//! Retention: the data of old events is dropped behind kept states, of all actors together, so that each segment is written
//! anew once.

use std::collections::HashMap;

use super::JournalHandle;
use super::error::{ReadFault, unfit};
use super::forget::{self, Doomed, DropError, Needs, Shown};
use super::record::ActorRow;

/// So many events of the journal are looked at together, so that what is remembered of them stays small; in the unit tests
/// so few that one pass takes several steps.
const TOGETHER: u64 = if cfg!(test) { 16 } else { 1024 * 1024 };

/// What was dropped, and what could not be.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    /// Events that have lost their data.
    pub(crate) events: u64,
    /// The actors of which nothing more could be dropped, by their names, and why.
    pub(crate) refused: Vec<(String, DropError)>,
}

/// Why a pass did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfinished {
    /// The runtime is ending.
    #[error("the runtime is ending")]
    Over,
    #[error(transparent)]
    Failed(#[from] DropError),
}

impl From<ReadFault> for Unfinished {
    fn from(fault: ReadFault) -> Self {
        Self::Failed(fault.into())
    }
}

/// Drops what is older than something else, time and again. `is_over` breaks it off; the next pass goes on.
pub(crate) struct Pruner {
    journal: JournalHandle,
    is_over: Box<dyn Fn() -> bool + Send>,
    /// All events up to this position were found to be old.
    old: u64,
    /// Up to this position everything was dropped that could be.
    reached: u64,
    /// The first event of each actor that was not dropped yet, by the actor's key.
    left: HashMap<i64, u64>,
}

impl Pruner {
    pub(crate) fn new(journal: JournalHandle, is_over: impl Fn() -> bool + Send + 'static) -> Self {
        Self { journal, is_over: Box::new(is_over), old: 0, reached: 0, left: HashMap::new() }
    }

    /// Bytes of the log.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.journal.reader.log.bytes()
    }

    /// The position of the last event that is in a sealed segment.
    pub(crate) fn sealed_upto(&self) -> u64 {
        self.journal.reader.log.sealed().last().map_or(0, |span| span.last)
    }

    /// The segments, oldest first: the position of the last event in each, and its bytes.
    pub(crate) fn segments(&self) -> Vec<(u64, u64)> {
        let log = &self.journal.reader.log;
        let size = |number| std::fs::metadata(log.file(number)).map_or(0, |file| file.len());
        let mut segments: Vec<_> = log.sealed().iter().map(|span| (span.last, size(span.number))).collect();
        let sealed: u64 = segments.iter().map(|(_, bytes)| bytes).sum();
        segments.push((log.tip().position, log.bytes().saturating_sub(sealed)));
        segments
    }

    /// The position up to which all events are from before `time`, in milliseconds since the Unix epoch. An event that is
    /// later than `now` was dated by a clock that was wrong, and says nothing.
    pub(crate) fn older_than(&mut self, time: u64, now: u64) -> Result<u64, Unfinished> {
        let log = &self.journal.reader.log;
        let tip = log.tip().position;
        while self.old < tip {
            if (self.is_over)() {
                return Err(Unfinished::Over);
            }
            let next = self.old + 1;
            let event = log.event(next).map_err(ReadFault::from)?;
            let event = event.ok_or_else(|| unfit(format!("the event at position {next} is not there")))?;
            if (time..=now).contains(&event.timestamp) {
                break;
            }
            self.old = next;
        }
        Ok(self.old)
    }

    /// Drops the data that lies before the last kept state of each actor up to a position, except what a start after a crash
    /// might read and what a `get-chain` has shown.
    pub(crate) fn drop_upto(&mut self, position: u64) -> Result<Retained, Unfinished> {
        let mut retained = Retained::default();
        loop {
            let upto = position.min(self.reached.saturating_add(TOGETHER));
            retained.refused.clear();
            let doomed = self.doomed(upto, &mut retained)?;
            self.drop_all(doomed, &mut retained)?;
            self.reached = self.reached.max(upto);
            if upto == position {
                return Ok(retained);
            }
        }
    }

    /// What is to be dropped up to a position, each with the name of its actor.
    fn doomed(&mut self, position: u64, retained: &mut Retained) -> Result<Vec<(String, Doomed)>, Unfinished> {
        let needs = Needs::of(&self.journal.reader)?;
        let mut doomed = Vec::new();
        for row in self.journal.reader.actors()? {
            if (self.is_over)() {
                return Err(Unfinished::Over);
            }
            match self.doomed_of(&row, position, &needs) {
                Ok(None) => {}
                Ok(Some(found)) => doomed.push((row.name, found)),
                Err(why) => retained.refused.push((row.name, why)),
            }
        }
        Ok(doomed)
    }

    fn doomed_of(&mut self, row: &ActorRow, position: u64, needs: &Needs) -> Result<Option<Doomed>, DropError> {
        let (reader, actor) = (&self.journal.reader, row.actor);
        let from = self.left.get(&actor.key).copied().unwrap_or(0);
        let before = reader.first_behind(actor, position)?.min(needs.first(reader, actor)?.sequence);
        let kept = forget::last_named_before(reader, actor, before)?;
        let Some((kept, upto)) = kept.filter(|(kept, _)| *kept > 0) else { return Ok(None) };
        let doomed = Doomed::of(reader, actor, from..upto.max(from), &needs.of_own_promises(reader, actor)?)?;
        if doomed.places.is_empty() {
            self.left.insert(actor.key, doomed.stays.unwrap_or(doomed.events.end));
            // Of an actor whose state never changes, somebody has to be told.
            return if upto < kept { Err(DropError::Unchanged { kept, named: upto }) } else { Ok(None) };
        }
        forget::was_not_shown(reader, actor, from..upto, reader.next_start(actor, upto)?, Shown::Stays)?;
        Ok(Some(doomed))
    }

    fn drop_all(&mut self, doomed: Vec<(String, Doomed)>, retained: &mut Retained) -> Result<(), Unfinished> {
        if doomed.is_empty() {
            return Ok(());
        }
        let (journal, is_over) = (&self.journal, &self.is_over);
        let (names, doomed): (Vec<_>, Vec<_>) = doomed.into_iter().unzip();
        let segments = forget::set_apart(journal, &doomed)?;
        for span in &segments {
            if is_over() {
                return Err(Unfinished::Over);
            }
            forget::archive(journal, span)?;
        }
        let mut condemned = Vec::new();
        for (name, chain) in names.into_iter().zip(doomed) {
            match forget::condemn(journal, &chain) {
                Ok(()) => condemned.push(chain),
                Err(DropError::Down(down)) => return Err(DropError::Down(down).into()),
                Err(why) => retained.refused.push((name, why)),
            }
        }
        journal.flush().map_err(DropError::from)?;
        let alone = journal.rewriting.lock();
        let is_done = journal.reader.write_anew(&segments, &condemned, is_over)?;
        drop(alone);
        if !is_done {
            return Err(Unfinished::Over);
        }
        for chain in &condemned {
            if journal.reader.ask(|index| index.has_rows(chain.actor.key))? {
                journal.reader.index.settle_and_cut();
            }
        }
        for Doomed { actor, events, places, stays, is_prune: _ } in condemned {
            self.left.insert(actor.key, stays.unwrap_or(events.end));
            retained.events += places.len() as u64;
        }
        Ok(())
    }
}
