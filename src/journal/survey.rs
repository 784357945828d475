//! Every event of the journal, once, in the order in which they were committed: how a whole journal is checked.
//!
//! To read the rows as they lie costs a fraction of reading chain by chain, each row by itself. And rolled over them in
//! this order, the digest comes to what the database and the mark hold, or they are not what was written. Everyone else
//! goes by where rows and `heads` say that a chain's events stand, and by an index, so those are checked too.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use rusqlite::params;

use super::error::JournalError;
use super::integrity::stored_tip;
use super::mark::{MarkFile, Marked, Tip};
use super::reader::JournalReader;
use super::schema::{LANDMARKS, MILESTONES};
use crate::chain::ChainEvent;

const PAGE: i64 = 4_096;
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// An event as its row has it.
pub(crate) struct Surveyed {
    /// The key of its actor.
    pub(crate) actor: i64,
    /// Whoever knows the chain knows its parent; here it has none.
    pub(crate) event: ChainEvent,
}

/// A walk over all events of a journal, as it is at one moment.
pub(crate) struct Survey {
    reader: JournalReader,
    /// The position of the last row that was read.
    after: i64,
    stored: Tip,
    order: Order,
}

impl Survey {
    /// Opens the journal in `dir` for a walk, with or without a runtime at work on it.
    pub(crate) fn begin(dir: &Path) -> Result<Self, JournalError> {
        // Read first: while a runtime is at work the rows are never behind it.
        let marked = MarkFile::read(dir).map_err(|error| JournalError::directory(dir, error))?;
        let mut found = Vec::new();
        let marked = match marked {
            Some(Ok(marked)) => Some(marked),
            Some(Err(why)) => {
                found.push(format!("journal.mark: {why}"));
                None
            }
            None => {
                found.push("journal.mark is missing".to_owned());
                None
            }
        };
        let reader = super::open_to_read(dir)?;
        let stored = reader.freeze().and_then(|()| stored_tip(reader.rows()));
        let stored = stored.map_err(|error| JournalError::read(dir, error))?;
        let order = Order { marked, tip: Tip::EMPTY, has_gap: false, chains: Chains::default(), found };
        // A row may stand before the first that was ever written.
        Ok(Self { reader, after: i64::MIN, stored, order })
    }

    /// Whether the journal's rows have seals: the mark says so.
    pub(crate) fn is_sealed(&self) -> bool {
        self.order.marked.as_ref().is_some_and(|marked| marked.sealed)
    }

    /// Sees what the walk sees.
    pub(crate) fn reader(&self) -> &JournalReader {
        &self.reader
    }

    /// The next events; none where the journal ends.
    pub(crate) fn page(&mut self) -> rusqlite::Result<Vec<Surveyed>> {
        let mut select = self.reader.rows().prepare_cached(&format!(
            "SELECT sequence, timestamp, event_type, hash, data, dropped, position, actor, previous,
                 {MILESTONES}, {LANDMARKS} FROM events WHERE position > ?1 ORDER BY position LIMIT ?2"
        ))?;
        let mut rows = select.query(params![self.after, PAGE])?;
        let mut page = Vec::new();
        let mut bytes = 0usize;
        while bytes < PAGE_BYTES
            && let Some(row) = rows.next()?
        {
            let event = self.reader.event(row, None)?;
            bytes = bytes.saturating_add(event.data.len());
            let (position, actor) = (row.get(6)?, row.get(7)?);
            self.order.chains.event(&Listed {
                actor,
                sequence: row.get(0)?,
                position,
                previous: row.get(8)?,
                is_dropped: event.dropped.is_some(),
                is_milestone: row.get(9)?,
                is_landmark: row.get(10)?,
            });
            self.order.roll(position, &event.hash.0);
            self.after = position;
            page.push(Surveyed { actor, event });
        }
        Ok(page)
    }

    /// What is wrong with the journal as a whole. What could not be read by pages counts with its hash alone.
    pub(crate) fn findings(mut self) -> Vec<String> {
        if let Err(error) = roll_on(&self.reader, self.after, &mut self.order) {
            self.order.found.push(format!("the table of events cannot be read: {error}"));
            return self.order.found;
        }
        let chains = std::mem::take(&mut self.order.chains);
        match chains.findings(&self.reader) {
            Ok(found) => self.order.found.extend(found),
            Err(error) => self.order.found.push(format!("where chains end and lead cannot be read: {error}")),
        }
        match self.reader.wrong_uses() {
            Ok(found) => self.order.found.extend(found),
            Err(error) => self.order.found.push(format!("the table of uses cannot be read: {error}")),
        }
        self.order.findings(&self.stored)
    }
}

fn roll_on(reader: &JournalReader, after: i64, order: &mut Order) -> rusqlite::Result<()> {
    let mut select = reader.rows().prepare(&format!(
        "SELECT position, hash, actor, sequence, previous, dropped IS NOT NULL, {MILESTONES}, {LANDMARKS} FROM events
         WHERE position > ?1 ORDER BY position"
    ))?;
    let mut rows = select.query([after])?;
    while let Some(row) = rows.next()? {
        let position = row.get(0)?;
        order.chains.event(&Listed {
            actor: row.get(2)?,
            sequence: row.get(3)?,
            position,
            previous: row.get(4)?,
            is_dropped: row.get(5)?,
            is_milestone: row.get(6)?,
            is_landmark: row.get(7)?,
        });
        order.roll(position, &row.get(1)?);
    }
    Ok(())
}

/// What a row says of its place.
struct Listed {
    actor: i64,
    sequence: i64,
    position: i64,
    previous: Option<i64>,
    is_dropped: bool,
    is_milestone: bool,
    is_landmark: bool,
}

/// Where the rows say that the events of each chain stand.
#[derive(Default)]
struct Chains {
    ends: HashMap<i64, End>,
    /// By actor: the first row of which the one before on the chain is another than it says.
    astray: BTreeMap<i64, i64>,
    milestones: KeyedSum,
    landmarks: KeyedSum,
}

/// Of one chain: the position of the last event, and the last of which data was dropped.
#[derive(Default, PartialEq, Eq)]
struct End {
    last: Option<i64>,
    dropped: Option<i64>,
}

impl Chains {
    fn event(&mut self, listed: &Listed) {
        let Listed { actor, sequence, position, previous, .. } = *listed;
        let end = self.ends.entry(actor).or_default();
        if end.last.replace(position) != previous {
            self.astray.entry(actor).or_insert(position);
        }
        if listed.is_dropped {
            end.dropped = Some(sequence);
        }
        if listed.is_milestone {
            self.milestones.add((actor, sequence, position));
        }
        if listed.is_landmark {
            self.landmarks.add((actor, sequence, position));
        }
    }

    fn findings(self, reader: &JournalReader) -> rusqlite::Result<Vec<String>> {
        let mut found = Vec::new();
        for position in self.astray.values() {
            let what = "does not say where the one before it on its chain stands";
            found.push(format!("the event at position {position} {what}"));
        }
        for (index, sum) in indexes(reader.version, &self.milestones, &self.landmarks) {
            if !sum.is_of(reader, index)? {
                found.push(format!("the index {} is not that of the table of events", index.name));
            }
        }
        let mut select =
            reader.rows().prepare("SELECT actor, position, dropped FROM heads WHERE position IS NOT NULL")?;
        let heads = select.query_map([], |row| Ok((row.get(0)?, End { last: row.get(1)?, dropped: row.get(2)? })))?;
        let heads: HashMap<i64, End> = heads.collect::<rusqlite::Result<_>>()?;
        // An older version does not say there what was dropped.
        let is_same = |actor, end: &End| {
            self.ends.get(actor).is_some_and(|it| it == end || (reader.version < 4 && it.last == end.last))
        };
        let astray = heads.iter().filter(|(actor, end)| !is_same(actor, end)).map(|(actor, _)| *actor);
        let missing = self.ends.keys().filter(|actor| !heads.contains_key(actor)).copied();
        let mut astray: Vec<i64> = astray.chain(missing).collect();
        astray.sort_unstable();
        for actor in astray {
            let who = reader.who(actor)?;
            found.push(format!(
                "{who}: its row in the table of heads does not say where its chain ends, or what of it was dropped"
            ));
        }
        let mut select = reader.rows().prepare(STALE_STATES)?;
        let stale: Vec<i64> = select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        for actor in stale {
            found.push(format!("{}: its newest state in the table of states is of another event", reader.who(actor)?));
        }
        Ok(found)
    }
}

/// Newest states of which `heads` says that another event led to them.
const STALE_STATES: &str = "
    SELECT DISTINCT states.actor FROM states LEFT JOIN heads USING (actor)
    LEFT JOIN events AS led ON led.position = heads.state AND led.actor = heads.actor
    WHERE slot = 0 AND states.sequence IS NOT led.sequence";

/// An index that others go by.
#[derive(Clone, Copy)]
struct Index {
    name: &'static str,
    of: &'static str,
}

fn indexes<'s>(version: i64, milestones: &'s KeyedSum, landmarks: &'s KeyedSum) -> Vec<(Index, &'s KeyedSum)> {
    match version {
        ..4 => vec![(Index { name: "events_by_actor", of: MILESTONES }, milestones)],
        _ => vec![
            (Index { name: "milestones", of: MILESTONES }, milestones),
            (Index { name: "landmarks", of: LANDMARKS }, landmarks),
        ],
    }
}

/// Which events stand where, in whatever order they are told: a sum that nobody who does not know its key can make come
/// out right.
#[derive(Default)]
struct KeyedSum {
    sum: u64,
    key: RandomState,
}

impl KeyedSum {
    /// Whether the index says the same, without a look at the table.
    fn is_of(&self, reader: &JournalReader, index: Index) -> rusqlite::Result<bool> {
        let mut indexed = Self { sum: 0, key: self.key.clone() };
        let Index { name, of } = index;
        let mut select = reader
            .rows()
            .prepare(&format!("SELECT actor, sequence, position FROM main.events INDEXED BY {name} WHERE {of}"))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            indexed.add((row.get(0)?, row.get(1)?, row.get(2)?));
        }
        Ok(indexed.sum == self.sum)
    }

    fn add(&mut self, event: (i64, i64, i64)) {
        self.sum = self.sum.wrapping_add(self.key.hash_one(event));
    }
}

/// What the rows come to, one after the other.
struct Order {
    marked: Option<Marked>,
    tip: Tip,
    /// Found once; behind it nothing can be said.
    has_gap: bool,
    chains: Chains,
    found: Vec<String>,
}

impl Order {
    fn roll(&mut self, position: i64, hash: &[u8; 20]) {
        let expected = self.tip.position + 1;
        if self.has_gap {
            return;
        }
        if u64::try_from(position) != Ok(expected) {
            self.has_gap = true;
            return self.found.push(format!("the event at position {expected} is missing"));
        }
        self.tip.push(hash);
        if self.marked.as_ref().is_some_and(|it| it.tip.position == expected && it.tip != self.tip) {
            let what = "are not those that journal.mark vouches for";
            self.found.push(format!("the events up to position {position} {what}"));
        }
    }

    /// Behind the last row.
    fn findings(self, stored: &Tip) -> Vec<String> {
        let Self { marked, tip, has_gap, mut found, .. } = self;
        if has_gap {
            return found;
        }
        if let Some(marked) = marked.filter(|marked| marked.tip.position > tip.position) {
            found.push(format!(
                "the journal ends at position {}, but journal.mark says that {} was acknowledged",
                tip.position, marked.tip.position
            ));
        }
        if stored.digest != tip.digest {
            found.push("the events are not those that the journal's own digest vouches for".to_owned());
        }
        found
    }
}
