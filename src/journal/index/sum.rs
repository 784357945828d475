//! The standing sum: 128 bits over the rows that the index must hold. Each batch of the log says what it is after that
//! batch, so that an index that lies is found out.
//!
//! Each row adds the first 16 bytes of a SHA-1, as a big-endian number, to a sum modulo 2^128; a row that goes subtracts
//! them, in whatever order. `docs/journal.md` ("The standing sum") says which rows there are, and their columns byte by byte.
//! Milestones are not summed up: whoever walks from one sees whether it is the event that it should be.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use sha1::{Digest, Sha1};

use super::delta::Layer;
use super::fact::{Cause, ChainEnd, EventFact, EventPlace, Fact, Kept, Landmark, Promised, Unsaid};
use super::{Index, IndexError, tables};
use crate::chain::{EventHash, KeyDigest};

/// Rows of a kind that are remembered, about 150 bytes each; in the unit tests so few that all are looked up now and then.
const REMEMBERED: usize = if cfg!(test) { 2 } else { 100_000 };

/// A row as it is summed up, but for its key.
trait Summand<K> {
    fn part(&self, key: &K) -> u128;
}

fn part_of(table: u8, fill: impl FnOnce(&mut Sha1)) -> u128 {
    let mut hasher = Sha1::new();
    hasher.update([table]);
    fill(&mut hasher);
    let digest: [u8; 20] = hasher.finalize().into();
    u128::from_be_bytes(*digest.first_chunk().expect("20 bytes begin with 16"))
}

/// The end of a chain, as it is summed up.
#[derive(Clone, Copy, Debug)]
struct End {
    last: EventPlace,
    hash: EventHash,
    state: Option<u64>,
}

impl From<ChainEnd> for End {
    fn from(end: ChainEnd) -> Self {
        Self { last: end.last, hash: end.hash, state: end.state.map(|state| state.position) }
    }
}

impl Summand<i64> for End {
    fn part(&self, actor: &i64) -> u128 {
        // In one piece, which is one block of SHA-1: this is the row that nearly every batch changes.
        let mut bytes = [0; 53];
        bytes[0] = 1;
        bytes[1..9].copy_from_slice(&actor.to_be_bytes());
        bytes[9..17].copy_from_slice(&self.last.position.to_be_bytes());
        bytes[17..25].copy_from_slice(&self.last.sequence.to_be_bytes());
        bytes[25..45].copy_from_slice(&self.hash.0);
        bytes[45..].copy_from_slice(&self.state.unwrap_or(u64::MAX).to_be_bytes());
        let digest = crate::chain::sha1(&bytes);
        u128::from_be_bytes(*digest.first_chunk().expect("20 bytes begin with 16"))
    }
}

impl Summand<i64> for Unsaid {
    fn part(&self, actor: &i64) -> u128 {
        part_of(2, |hasher| {
            hasher.update(actor.to_be_bytes());
            hasher.update([u8::from(self.alive)]);
            hasher.update(self.attempts.to_be_bytes());
            hasher.update([u8::from(self.listed)]);
            hasher.update(self.started.to_be_bytes());
            hasher.update(&self.manifest_path);
        })
    }
}

impl Summand<Cause> for Promised {
    fn part(&self, cause: &Cause) -> u128 {
        part_of(3, |hasher| {
            hasher.update(cause.sequence.to_be_bytes());
            hasher.update(self.position.to_be_bytes());
            hasher.update(cause.actor.to_string());
            hasher.update(self.receiver.to_string());
            hasher.update(self.notice.as_deref().unwrap_or("-"));
        })
    }
}

fn landmark_part(actor: i64, landmark: u8, place: EventPlace) -> u128 {
    part_of(4, |hasher| {
        hasher.update(actor.to_be_bytes());
        hasher.update([landmark]);
        hasher.update(place.sequence.to_be_bytes());
        hasher.update(place.position.to_be_bytes());
    })
}

fn kept_part(actor: i64, sequence: u64, kept: Kept) -> u128 {
    let segment = match kept {
        Kept::InEvent => u64::MAX,
        Kept::InSegment(segment) => segment.into(),
    };
    part_of(5, |hasher| {
        hasher.update(actor.to_be_bytes());
        hasher.update(sequence.to_be_bytes());
        hasher.update(segment.to_be_bytes());
    })
}

fn keyed_part(key: KeyDigest, actor: i64, place: EventPlace) -> u128 {
    part_of(6, |hasher| {
        hasher.update(key.0);
        hasher.update(actor.to_be_bytes());
        hasher.update(place.sequence.to_be_bytes());
        hasher.update(place.position.to_be_bytes());
    })
}

fn paused_part(actor: i64) -> u128 {
    part_of(7, |hasher| hasher.update(actor.to_be_bytes()))
}

/// The sum over the tables, with a layer laid over them.
pub(super) fn sum_of(connection: &rusqlite::Connection, layer: &Layer) -> rusqlite::Result<[u8; 16]> {
    let mut sum = 0u128;
    let mut seen = HashSet::new();
    tables::heads(connection, |actor, below| {
        let above = layer.heads.get(&actor);
        seen.extend(above.map(|_| actor));
        let end = above.map_or(Some(below), |patch| patch.over(Some(below)));
        sum = sum.wrapping_add(end.map_or(0, |end| End::from(end).part(&actor)));
    })?;
    for (actor, patch) in layer.heads.iter().filter(|(actor, _)| !seen.contains(*actor)) {
        sum = sum.wrapping_add(patch.over(None).map_or(0, |end| End::from(end).part(actor)));
    }
    tables::all_unsaid(connection, |actor, mut below| {
        let above = layer.actors.get(&actor);
        if above.is_some_and(|patch| patch.begun.is_some()) {
            return;
        }
        if let Some(patch) = above {
            patch.change(&mut below.alive, &mut below.attempts, &mut below.listed);
        }
        sum = sum.wrapping_add(below.part(&actor));
    })?;
    for (actor, patch) in layer.actors.iter().filter(|(_, patch)| patch.begun.is_some()) {
        sum = sum.wrapping_add(patch.over(None).map_or(0, |listing| listing.unsaid().part(actor)));
    }
    tables::owed(connection, |cause, below| {
        if !layer.owed.rows.contains_key(&cause) && !layer.owed.is_ended(&below) {
            sum = sum.wrapping_add(below.part(&cause));
        }
    })?;
    for (cause, row) in &layer.owed.rows {
        sum = sum.wrapping_add(row.as_ref().map_or(0, |promised| promised.part(cause)));
    }
    sum_of_places(connection, layer, &mut sum)?;
    Ok(sum.to_be_bytes())
}

fn sum_of_places(connection: &rusqlite::Connection, layer: &Layer, sum: &mut u128) -> rusqlite::Result<()> {
    let above: HashSet<(i64, u8, u64)> =
        layer.landmarks.keys().map(|(actor, landmark, sequence)| (*actor, landmark.code(), *sequence)).collect();
    tables::landmarks(connection, |actor, landmark, place| {
        if !above.contains(&(actor, landmark, place.sequence)) {
            *sum = sum.wrapping_add(landmark_part(actor, landmark, place));
        }
    })?;
    for ((actor, landmark, sequence), position) in &layer.landmarks {
        let place = EventPlace { sequence: *sequence, position: *position };
        *sum = sum.wrapping_add(landmark_part(*actor, landmark.code(), place));
    }
    tables::all_keyed(connection, |key, actor, place| {
        if !layer.keyed.contains_key(&(key, actor, place.sequence)) {
            *sum = sum.wrapping_add(keyed_part(key, actor, place));
        }
    })?;
    for ((key, actor, sequence), position) in &layer.keyed {
        let place = EventPlace { sequence: *sequence, position: *position };
        *sum = sum.wrapping_add(keyed_part(*key, *actor, place));
    }
    tables::all_kept(connection, |actor, sequence, kept| {
        let is_gone = layer.kept.gone.iter().any(|(of, events)| *of == actor && events.contains(&sequence));
        if !is_gone && !layer.kept.rows.contains_key(&(actor, sequence)) {
            *sum = sum.wrapping_add(kept_part(actor, sequence, kept));
        }
    })?;
    for ((actor, sequence), kept) in &layer.kept.rows {
        *sum = sum.wrapping_add(kept_part(*actor, *sequence, *kept));
    }
    let mut paused = tables::all_paused(connection)?;
    layer.lay_over_paused(&mut paused);
    paused.into_iter().for_each(|actor| *sum = sum.wrapping_add(paused_part(actor)));
    Ok(())
}

/// Rows of one table that are remembered, each with what it has added to the sum.
struct Remembered<K, R> {
    rows: HashMap<K, Entry<R>>,
    /// Rows that may have changed since the sum was last asked for.
    touched: Vec<K>,
    /// Rows that went, and that the index may still have.
    gone: Vec<K>,
}

struct Entry<R> {
    row: Option<R>,
    counted: Option<u128>,
    is_touched: bool,
}

impl<K, R> Default for Remembered<K, R> {
    fn default() -> Self {
        Self { rows: HashMap::new(), touched: Vec::new(), gone: Vec::new() }
    }
}

impl<K: Copy + Eq + Hash, R: Summand<K>> Remembered<K, R> {
    fn is_unknown(&self, key: &K) -> bool {
        !self.rows.contains_key(key)
    }

    /// The row is counted already.
    fn learn(&mut self, key: K, row: Option<R>) {
        let counted = row.as_ref().map(|row| row.part(&key));
        self.rows.entry(key).or_insert(Entry { row, counted, is_touched: false });
    }

    /// The row, to be changed. One that is not remembered is not there.
    fn change(&mut self, key: K) -> &mut Option<R> {
        let entry = self.rows.entry(key).or_insert(Entry { row: None, counted: None, is_touched: false });
        if !entry.is_touched {
            entry.is_touched = true;
            self.touched.push(key);
        }
        &mut entry.row
    }

    fn settle(&mut self, sum: &mut u128) {
        for key in self.touched.drain(..) {
            let Some(entry) = self.rows.get_mut(&key) else { continue };
            entry.is_touched = false;
            let part = entry.row.as_ref().map(|row| row.part(&key));
            *sum = sum.wrapping_sub(entry.counted.unwrap_or(0)).wrapping_add(part.unwrap_or(0));
            entry.counted = part;
            if part.is_none() {
                self.gone.push(key);
            }
        }
    }

    /// Forgets the rows that went, and, where an index has all that was settled, others if they are many.
    fn forget_told(&mut self, has_index: bool) {
        for key in self.gone.drain(..) {
            if self.rows.get(&key).is_some_and(|entry| entry.row.is_none() && !entry.is_touched) {
                self.rows.remove(&key);
            }
        }
        if has_index && self.rows.len() > REMEMBERED {
            self.rows.retain(|_, entry| entry.is_touched);
        }
    }
}

/// The standing sum as batches go by. It is told of a batch before the index is: what a batch changes is taken off the sum
/// first, and looked up in the index where it is not remembered.
pub(in crate::journal) struct Standing {
    /// None where everything is remembered.
    index: Option<Arc<Index>>,
    sum: u128,
    heads: Remembered<i64, End>,
    actors: Remembered<i64, Unsaid>,
    owed: Remembered<Cause, Promised>,
    /// By which causes an actor has promised itself something since the index was last told. Without an index, the owed
    /// rows say it.
    own: HashMap<i64, Vec<Cause>>,
    /// States kept, or kept no longer, since the index was last told.
    kept: BTreeMap<(i64, u64), Option<Kept>>,
    /// Actors that were paused, or resumed, since the index was last told.
    paused: HashMap<i64, bool>,
}

impl Standing {
    /// The sum of a log from its beginning on, without an index: the rows of actors, owed deliveries and kept states stay in
    /// memory.
    pub(in crate::journal) fn of_nothing() -> Self {
        Self::begin(None, [0; 16])
    }

    /// The sum goes on from `sum`, which is that of `index` as it is.
    pub(in crate::journal) fn new(index: Arc<Index>, sum: [u8; 16]) -> Self {
        Self::begin(Some(index), sum)
    }

    fn begin(index: Option<Arc<Index>>, sum: [u8; 16]) -> Self {
        Self {
            index,
            sum: u128::from_be_bytes(sum),
            heads: Remembered::default(),
            actors: Remembered::default(),
            owed: Remembered::default(),
            own: HashMap::new(),
            kept: BTreeMap::new(),
            paused: HashMap::new(),
        }
    }

    /// Where a chain ends, with what was applied.
    pub(in crate::journal) fn last(&mut self, actor: i64) -> Result<Option<(EventPlace, EventHash)>, IndexError> {
        self.learn_head(actor)?;
        let end = self.heads.rows.get(&actor).and_then(|entry| entry.row);
        Ok(end.map(|end| (end.last, end.hash)))
    }

    /// Adds what a fact changes. After an error nothing is changed: once the index is rebuilt, the fact can be applied again.
    pub(in crate::journal) fn apply(&mut self, fact: &Fact) -> Result<(), IndexError> {
        match fact {
            Fact::Event(event) => self.event(event)?,
            Fact::Ended(actor) => {
                self.learn_actor(*actor)?;
                self.learn_owed_to_itself(*actor)?;
                self.end(*actor);
            }
            Fact::Survived(actor) => self.change_actor(*actor, |unsaid| unsaid.attempts = 0)?,
            Fact::Forgotten(actor) => {
                let was_paused = self.was_paused(*actor)?;
                self.change_actor(*actor, |unsaid| unsaid.listed = false)?;
                self.pause(*actor, was_paused, false);
            }
            Fact::Paused { actor, is_paused } => {
                let was_paused = self.was_paused(*actor)?;
                self.pause(*actor, was_paused, *is_paused);
            }
            Fact::State { actor, sequence, segment } => {
                let before = match self.kept.get(&(*actor, *sequence)) {
                    Some(kept) => *kept,
                    None => self.ask(|index| index.kept(*actor, *sequence))?,
                };
                self.keep((*actor, *sequence), before, Some(Kept::InSegment(*segment)));
            }
            // The last event of which anything was dropped is not summed up.
            // No row of a table is summed up: to take one out of the sum, one would have to look it up.
            Fact::Dropped { .. } | Fact::Rows { .. } | Fact::Carried { .. } => (),
            Fact::StatesDropped { actor, events } => {
                let mut found = self.ask(|index| index.kept_within(*actor, events.clone()))?;
                let within = (*actor, events.start)..(*actor, events.end.max(events.start));
                for ((_, sequence), kept) in self.kept.range(within) {
                    match kept {
                        Some(kept) => _ = found.insert(*sequence, *kept),
                        None => _ = found.remove(sequence),
                    }
                }
                for (sequence, kept) in found {
                    self.keep((*actor, sequence), Some(kept), None);
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, event: &EventFact) -> Result<(), IndexError> {
        let (actor, place) = (event.actor.key, event.place());
        if place.sequence > 0 {
            self.learn_head(actor)?;
        }
        if event.ends || (event.begins.is_some() && place.sequence > 0) {
            self.learn_actor(actor)?;
        }
        for cause in &event.settles {
            if self.owed.is_unknown(cause) {
                let promised = self.ask(|index| index.promised(*cause))?;
                self.owed.learn(*cause, promised);
            }
        }
        if event.ends {
            self.learn_owed_to_itself(actor)?;
        }

        let end = self.heads.change(actor);
        let state = if event.names_state { Some(place.position) } else { end.and_then(|end| end.state) };
        *end = Some(End { last: place, hash: event.hash, state });
        if let Some(listing) = event.listing() {
            *self.actors.change(actor) = Some(listing.unsaid());
        }
        if let Some(landmark) = event.landmark {
            self.landmark(actor, landmark, place);
        }
        if let Some(key) = event.key {
            self.sum = self.sum.wrapping_add(keyed_part(key, actor, place));
        }
        if event.keeps {
            self.keep((actor, place.sequence), None, Some(Kept::InEvent));
        }
        for cause in &event.settles {
            *self.owed.change(*cause) = None;
        }
        if let Some((cause, promised)) = event.promise() {
            if promised.own.is_some() {
                self.own.entry(actor).or_default().push(cause);
            }
            *self.owed.change(cause) = Some(promised);
        }
        if event.ends {
            self.end(actor);
        }
        Ok(())
    }

    fn learn_head(&mut self, actor: i64) -> Result<(), IndexError> {
        if self.heads.is_unknown(&actor) {
            let end = self.ask(|index| index.head(actor))?;
            self.heads.learn(actor, end.map(End::from));
        }
        Ok(())
    }

    fn learn_actor(&mut self, actor: i64) -> Result<(), IndexError> {
        if self.actors.is_unknown(&actor) {
            let unsaid = self.ask(|index| index.unsaid(actor))?;
            self.actors.learn(actor, unsaid);
        }
        Ok(())
    }

    fn change_actor(&mut self, actor: i64, change: impl FnOnce(&mut Unsaid)) -> Result<(), IndexError> {
        self.learn_actor(actor)?;
        self.actors.change(actor).as_mut().map(change);
        Ok(())
    }

    fn learn_owed_to_itself(&mut self, actor: i64) -> Result<(), IndexError> {
        let Some(index) = &self.index else {
            let is_own = |entry: &Entry<Promised>| entry.row.as_ref().is_some_and(|row| row.own == Some(actor));
            let own = self.owed.rows.iter().filter(|(_, entry)| is_own(entry)).map(|(cause, _)| *cause);
            self.own.insert(actor, own.collect());
            return Ok(());
        };
        let own = index.owed_to_itself(actor)?;
        let causes = self.own.entry(actor).or_default();
        for (cause, promised) in own {
            self.owed.learn(cause, Some(promised));
            causes.push(cause);
        }
        Ok(())
    }

    fn end(&mut self, actor: i64) {
        if let Some(unsaid) = self.actors.change(actor) {
            unsaid.alive = false;
        }
        let own = self.own.remove(&actor).unwrap_or_default();
        own.into_iter().for_each(|cause| *self.owed.change(cause) = None);
    }

    fn landmark(&mut self, actor: i64, landmark: Landmark, place: EventPlace) {
        self.sum = self.sum.wrapping_add(landmark_part(actor, landmark.code(), place));
    }

    fn was_paused(&self, actor: i64) -> Result<bool, IndexError> {
        self.paused.get(&actor).map_or_else(|| self.ask(|index| index.is_paused(actor)), |paused| Ok(*paused))
    }

    fn pause(&mut self, actor: i64, was_paused: bool, is_paused: bool) {
        let part = |is_paused| if is_paused { paused_part(actor) } else { 0 };
        self.sum = self.sum.wrapping_sub(part(was_paused)).wrapping_add(part(is_paused));
        self.paused.insert(actor, is_paused);
    }

    fn keep(&mut self, (actor, sequence): (i64, u64), before: Option<Kept>, now: Option<Kept>) {
        let part = |kept: Option<Kept>| kept.map_or(0, |kept| kept_part(actor, sequence, kept));
        self.sum = self.sum.wrapping_sub(part(before)).wrapping_add(part(now));
        if self.index.is_some() || now.is_some() {
            self.kept.insert((actor, sequence), now);
        } else {
            self.kept.remove(&(actor, sequence));
        }
    }

    /// What the index says of what is not remembered.
    fn ask<T: Default>(&self, ask: impl FnOnce(&Index) -> Result<T, IndexError>) -> Result<T, IndexError> {
        self.index.as_deref().map_or(Ok(T::default()), ask)
    }

    /// The sum after all that was applied.
    pub(in crate::journal) fn sum(&mut self) -> [u8; 16] {
        self.heads.settle(&mut self.sum);
        self.actors.settle(&mut self.sum);
        self.owed.settle(&mut self.sum);
        self.sum.to_be_bytes()
    }

    /// The index has been told all that was applied: it can be asked for what is forgotten here. To be called after each
    /// batch.
    pub(in crate::journal) fn forget_told(&mut self) {
        let has_index = self.index.is_some();
        self.heads.forget_told(has_index);
        self.actors.forget_told(has_index);
        self.owed.forget_told(has_index);
        self.own.clear();
        if has_index {
            self.kept.clear();
            self.paused.clear();
        }
    }
}
