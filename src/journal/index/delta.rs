//! What is committed and not in the tables yet, in memory.
//!
//! ```text
//!   facts ──▶ active layer ──▶ moving layer ──▶ tables
//! ```
//!
//! A layer says what the rows below it are to become, and says it so that it may be laid over them once or twice: a lookup
//! that still finds the moving layer, while the tables hold it already, finds the same. Whatever came and went within a
//! layer, a delivery that was promised and settled, is not in it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::fact::{
    ChainEnd, EventFact, EventPlace, Fact, IndexedTo, Kept, Landmark, Listing, Promised, is_milestone,
    milestone_at_or_after,
};
use super::row_layer::{RowVersion, RowsPatch};
use crate::base::id::ActorId;
use crate::chain::{EventHash, KeyDigest};
use crate::journal::record::Cause;
use crate::journal::rows::{KeyRange, TableAt};

/// What is to become of the rows below.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    /// Up to where the rows hold what the log does, once this is laid over them; none where nothing was added.
    pub(super) upto: Option<IndexedTo>,
    pub(super) heads: HashMap<i64, HeadPatch>,
    pub(super) actors: HashMap<i64, ActorPatch>,
    ids: HashMap<ActorId, i64>,
    pub(super) owed: OwedPatch,
    /// By actor and sequence, the position.
    pub(super) milestones: BTreeMap<(i64, u64), u64>,
    pub(super) landmarks: BTreeMap<(i64, Landmark, u64), u64>,
    /// By idempotency key, actor and sequence, the position.
    pub(super) keyed: BTreeMap<(KeyDigest, i64, u64), u64>,
    pub(super) kept: KeptPatch,
    /// Actors that were paused, or resumed, or forgotten.
    paused: BTreeMap<i64, bool>,
    pub(super) rows: RowsPatch,
}

/// What is new at a chain's end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeadPatch {
    pub(super) last: Option<(EventPlace, EventHash)>,
    pub(super) state: Option<EventPlace>,
    pub(super) dropped: Option<u64>,
    /// The chain begins here: there is no row below.
    whole: bool,
}

impl HeadPatch {
    fn absorb(&mut self, newer: Self) {
        self.last = newer.last.or(self.last);
        self.state = newer.state.or(self.state);
        self.dropped = newer.dropped.max(self.dropped);
        self.whole |= newer.whole;
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    pub(super) fn over(&self, below: Option<ChainEnd>) -> Option<ChainEnd> {
        let (last, hash) = self.last.or(below.map(|end| (end.last, end.hash)))?;
        let state = self.state.or(below.and_then(|end| end.state));
        let dropped = self.dropped.max(below.and_then(|end| end.dropped));
        Some(ChainEnd { last, hash, state, dropped })
    }
}

/// What is new in an actor's row.
#[derive(Clone, Debug, Default)]
pub(super) struct ActorPatch {
    /// An incarnation has begun, which says everything anew.
    pub(super) begun: Option<Box<Listing>>,
    pub(super) alive: Option<bool>,
    pub(super) attempts: Option<u64>,
    pub(super) listed: Option<bool>,
}

impl ActorPatch {
    fn absorb(&mut self, newer: Self) {
        if newer.begun.is_some() {
            *self = newer;
            return;
        }
        self.alive = newer.alive.or(self.alive);
        self.attempts = newer.attempts.or(self.attempts);
        self.listed = newer.listed.or(self.listed);
    }

    pub(super) fn over(&self, below: Option<Listing>) -> Option<Listing> {
        let mut listing = self.begun.as_deref().cloned().or(below)?;
        self.change(&mut listing.row.alive, &mut listing.attempts, &mut listing.listed);
        Some(listing)
    }

    /// Changes the columns that change within an incarnation.
    pub(super) fn change(&self, alive: &mut bool, attempts: &mut u64, listed: &mut bool) {
        *alive = self.alive.unwrap_or(*alive);
        *attempts = self.attempts.unwrap_or(*attempts);
        *listed = self.listed.unwrap_or(*listed);
    }
}

/// What is new among the owed deliveries.
#[derive(Clone, Debug, Default)]
pub(super) struct OwedPatch {
    /// Actors that have ended: what they owe themselves, by rows below, is owed no more.
    pub(super) ended: HashSet<i64>,
    /// What is owed since, and what is settled of the rows below.
    pub(super) rows: HashMap<Cause, Option<Promised>>,
    /// The causes among these by which an actor owes itself something.
    own: HashMap<i64, Vec<Cause>>,
}

impl OwedPatch {
    fn promise(&mut self, cause: Cause, promised: Promised) {
        if let Some(actor) = promised.own {
            self.own.entry(actor).or_default().push(cause);
        }
        self.rows.insert(cause, Some(promised));
    }

    fn settle(&mut self, cause: Cause) {
        // What was promised in this layer is in no row below.
        if !matches!(self.rows.remove(&cause), Some(Some(_))) {
            self.rows.insert(cause, None);
        }
    }

    fn end(&mut self, actor: i64) {
        for cause in self.own.remove(&actor).unwrap_or_default() {
            if matches!(self.rows.get(&cause), Some(Some(_))) {
                self.rows.remove(&cause);
            }
        }
        self.ended.insert(actor);
    }

    fn absorb(&mut self, newer: &Self) {
        newer.ended.iter().for_each(|actor| self.end(*actor));
        for (cause, row) in &newer.rows {
            match row {
                Some(promised) => self.promise(*cause, promised.clone()),
                // What the older layer promised may have come into the tables since.
                None => _ = self.rows.insert(*cause, None),
            }
        }
    }

    /// Whether a row below is there no longer.
    pub(super) fn is_ended(&self, below: &Promised) -> bool {
        below.own.is_some_and(|actor| self.ended.contains(&actor))
    }
}

/// What is new among the kept states.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptPatch {
    /// Of rows below, none is there any more that lies within these.
    pub(super) gone: Vec<(i64, Range<u64>)>,
    pub(super) rows: BTreeMap<(i64, u64), Kept>,
}

impl KeptPatch {
    fn drop_states(&mut self, actor: i64, events: Range<u64>) {
        if events.is_empty() {
            return;
        }
        let within = (actor, events.start)..(actor, events.end);
        let gone: Vec<(i64, u64)> = self.rows.range(within).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| _ = self.rows.remove(key));
        self.gone.push((actor, events));
    }

    fn absorb(&mut self, newer: &Self) {
        newer.gone.iter().for_each(|(actor, events)| self.drop_states(*actor, events.clone()));
        self.rows.extend(newer.rows.iter().map(|(key, kept)| (*key, *kept)));
    }
}

/// What is new among the kept states of one actor.
#[derive(Debug, Default)]
pub(super) struct KeptOfActor {
    gone: Vec<Range<u64>>,
    pub(super) rows: BTreeMap<u64, Kept>,
}

impl KeptOfActor {
    fn absorb(&mut self, actor: i64, newer: &KeptPatch) {
        for (_, events) in newer.gone.iter().filter(|(of, _)| *of == actor) {
            self.rows.retain(|sequence, _| !events.contains(sequence));
            self.gone.push(events.clone());
        }
        let all = (actor, 0)..=(actor, u64::MAX);
        self.rows.extend(newer.rows.range(all).map(|((_, sequence), kept)| (*sequence, *kept)));
    }

    /// The events around this one of which no row below is there any more.
    pub(super) fn gone_around(&self, sequence: u64) -> Option<&Range<u64>> {
        self.gone.iter().find(|events| events.contains(&sequence))
    }
}

impl Layer {
    pub(super) fn take_in(&mut self, facts: Vec<Fact>, upto: IndexedTo) {
        facts.into_iter().for_each(|fact| self.add(fact));
        self.upto = Some(upto);
    }

    fn add(&mut self, fact: Fact) {
        match fact {
            Fact::Event(event) => self.event(event),
            Fact::Ended(actor) => self.end(actor),
            Fact::Survived(actor) => self.actors.entry(actor).or_default().attempts = Some(0),
            Fact::Forgotten(actor) => {
                self.actors.entry(actor).or_default().listed = Some(false);
                self.paused.insert(actor, false);
            }
            Fact::Paused { actor, is_paused } => _ = self.paused.insert(actor, is_paused),
            Fact::State { actor, sequence, segment } => {
                self.kept.rows.insert((actor, sequence), Kept::InSegment(segment));
            }
            Fact::Dropped { actor, last } => {
                let head = self.heads.entry(actor).or_default();
                head.dropped = head.dropped.max(Some(last));
            }
            Fact::StatesDropped { actor, events } => {
                if events.start == 0 {
                    self.rows.prune(actor, events.end);
                } else {
                    self.rows.redact(actor, events.clone());
                }
                self.kept.drop_states(actor, events);
            }
            Fact::Rows { actor, closed, writes } => self.rows.take_in(actor, closed, writes, false),
            Fact::Carried { actor, row } => self.rows.take_in(actor, row.closed, vec![row.write], true),
        }
    }

    fn event(&mut self, event: EventFact) {
        let (place, actor) = (event.place(), event.actor.key);
        let EventPlace { sequence, position } = place;
        let head = self.heads.entry(actor).or_default();
        head.last = Some((place, event.hash));
        head.whole |= sequence == 0;
        if event.names_state {
            head.state = Some(place);
        }
        if is_milestone(sequence) {
            self.milestones.insert((actor, sequence), position);
        }
        if let Some(landmark) = event.landmark {
            self.landmarks.insert((actor, landmark, sequence), position);
        }
        if let Some(key) = event.key {
            self.keyed.insert((key, actor, sequence), position);
        }
        if event.keeps {
            self.kept.rows.insert((actor, sequence), Kept::InEvent);
        }
        if let Some(listing) = event.listing() {
            self.ids.insert(event.actor.id, actor);
            self.actors.insert(actor, ActorPatch { begun: Some(Box::new(listing)), ..ActorPatch::default() });
        }
        event.settles.iter().for_each(|cause| self.owed.settle(*cause));
        if let Some((cause, promised)) = event.promise() {
            self.owed.promise(cause, promised);
        }
        if event.ends {
            self.end(actor);
        }
    }

    fn end(&mut self, actor: i64) {
        self.actors.entry(actor).or_default().alive = Some(false);
        self.owed.end(actor);
    }

    fn absorb(&mut self, newer: &Self) {
        self.upto = newer.upto.or(self.upto);
        for (actor, head) in &newer.heads {
            self.heads.entry(*actor).or_default().absorb(*head);
        }
        for (actor, patch) in &newer.actors {
            self.actors.entry(*actor).or_default().absorb(patch.clone());
        }
        self.ids.extend(&newer.ids);
        self.owed.absorb(&newer.owed);
        self.milestones.extend(&newer.milestones);
        self.landmarks.extend(&newer.landmarks);
        self.keyed.extend(&newer.keyed);
        self.kept.absorb(&newer.kept);
        self.paused.extend(&newer.paused);
        // Rows are not summed up, and are looked up in each layer.
    }

    /// Which actors were paused, or not, by key.
    pub(super) fn paused(&self) -> &BTreeMap<i64, bool> {
        &self.paused
    }

    /// Makes of the keys of the actors that are paused in the rows below those that are paused.
    pub(super) fn lay_over_paused(&self, below: &mut BTreeSet<i64>) {
        for (actor, is_paused) in &self.paused {
            if *is_paused {
                below.insert(*actor)
            } else {
                below.remove(actor)
            };
        }
    }

    /// How many rows it is about, or nearly.
    pub(super) fn rows(&self) -> usize {
        let owed = self.owed.rows.len() + self.owed.ended.len();
        let places = self.milestones.len() + self.landmarks.len() + self.keyed.len();
        self.heads.len()
            + self.actors.len()
            + owed
            + places
            + self.kept.rows.len()
            + self.kept.gone.len()
            + self.paused.len()
            + self.rows.weight()
    }
}

/// The two layers, and what is known of the tables below them.
#[derive(Debug)]
pub(super) struct Delta {
    pub(super) active: Layer,
    /// What is being written into the tables.
    pub(super) moving: Option<Arc<Layer>>,
    pub(super) health: Health,
}

/// Whether the index can answer.
#[derive(Debug)]
pub(super) enum Health {
    Sound,
    /// It does not hold what was written, and is to be rebuilt. What is committed meanwhile is in the log.
    Damaged(String),
    /// It is being rebuilt; this was committed meanwhile.
    Rebuilding(Vec<(Vec<Fact>, IndexedTo)>),
}

impl Delta {
    pub(super) fn become_damaged(&mut self, why: String) {
        (self.active, self.moving) = (Layer::default(), None);
        self.health = Health::Damaged(why);
    }

    /// Whether there is anything to be rebuilt.
    pub(super) fn begin_rebuilding(&mut self) -> bool {
        let is_damaged = !matches!(self.health, Health::Sound);
        if is_damaged {
            (self.active, self.moving) = (Layer::default(), None);
            self.health = Health::Rebuilding(Vec::new());
        }
        is_damaged
    }

    /// The layers, the older one first.
    fn layers(&self) -> impl DoubleEndedIterator<Item = &Layer> {
        self.moving.as_deref().into_iter().chain([&self.active])
    }

    pub(super) fn whole(&self) -> Layer {
        let mut whole = self.moving.as_deref().cloned().unwrap_or_default();
        whole.absorb(&self.active);
        whole
    }

    pub(super) fn head(&self, actor: i64) -> HeadPatch {
        let mut head = HeadPatch::default();
        self.layers().filter_map(|layer| layer.heads.get(&actor)).for_each(|newer| head.absorb(*newer));
        head
    }

    pub(super) fn actor(&self, actor: i64) -> ActorPatch {
        let mut patch = ActorPatch::default();
        self.layers().filter_map(|layer| layer.actors.get(&actor)).for_each(|newer| patch.absorb(newer.clone()));
        patch
    }

    pub(super) fn actors(&self) -> BTreeMap<i64, ActorPatch> {
        let mut all = BTreeMap::<i64, ActorPatch>::new();
        for (actor, patch) in self.layers().flat_map(|layer| &layer.actors) {
            all.entry(*actor).or_default().absorb(patch.clone());
        }
        all
    }

    pub(super) fn key_of(&self, id: ActorId) -> Option<i64> {
        self.layers().find_map(|layer| layer.ids.get(&id).copied())
    }

    pub(super) fn owed(&self) -> OwedPatch {
        let mut owed = self.moving.as_deref().map(|layer| layer.owed.clone()).unwrap_or_default();
        owed.absorb(&self.active.owed);
        owed
    }

    /// What is owed by this cause, if the layers say; none within it: nothing is.
    pub(super) fn promised(&self, cause: &Cause) -> Option<Option<Promised>> {
        let newest = self.active.owed.rows.get(cause);
        let moving = self.moving.as_deref().and_then(|layer| layer.owed.rows.get(cause));
        let moving = moving.map(|row| row.clone().filter(|promised| !self.active.owed.is_ended(promised)));
        newest.cloned().or(moving)
    }

    /// Whether a row below is owed no more, since its actor owed it to itself and has ended.
    pub(super) fn is_ended(&self, below: &Promised) -> bool {
        self.layers().any(|layer| layer.owed.is_ended(below))
    }

    /// The causes in the layers by which an actor may owe itself something.
    pub(super) fn owed_to_itself(&self, actor: i64) -> HashSet<Cause> {
        let causes = self.layers().filter_map(|layer| layer.owed.own.get(&actor)).flatten();
        causes.copied().collect()
    }

    /// Whether the layers say that an actor is paused, or that it is not.
    pub(super) fn paused(&self, actor: i64) -> Option<bool> {
        self.layers().rev().find_map(|layer| layer.paused.get(&actor).copied())
    }

    pub(super) fn kept(&self, actor: i64) -> KeptOfActor {
        let mut kept = KeptOfActor::default();
        self.layers().for_each(|layer| kept.absorb(actor, &layer.kept));
        kept
    }

    /// The first milestone from event `sequence` on.
    pub(super) fn milestone_from(&self, actor: i64, sequence: u64) -> Option<EventPlace> {
        let from = (actor, milestone_at_or_after(sequence))..=(actor, u64::MAX);
        let found = self.layers().find_map(|layer| layer.milestones.range(from.clone()).next());
        found.map(|((_, sequence), position)| EventPlace { sequence: *sequence, position: *position })
    }

    /// The last landmark up to event `upto`; on a chain, what stands in the layers is behind what stands below.
    pub(super) fn landmark(&self, actor: i64, landmark: Landmark, upto: u64) -> Option<EventPlace> {
        let upto = (actor, landmark, 0)..=(actor, landmark, upto);
        let found = self.layers().rev().find_map(|layer| layer.landmarks.range(upto.clone()).next_back());
        found.map(|((_, _, sequence), position)| EventPlace { sequence: *sequence, position: *position })
    }

    /// The first landmark in the layers from event `from` on.
    pub(super) fn next_landmark(&self, actor: i64, landmark: Landmark, from: u64) -> Option<EventPlace> {
        let from = (actor, landmark, from)..=(actor, landmark, u64::MAX);
        let found = self.layers().find_map(|layer| layer.landmarks.range(from.clone()).next());
        found.map(|((_, _, sequence), position)| EventPlace { sequence: *sequence, position: *position })
    }

    /// The last call of an actor with this idempotency key; what stands in the layers is behind what stands below.
    pub(super) fn keyed(&self, key: KeyDigest, actor: i64) -> Option<EventPlace> {
        let of_actor = (key, actor, 0)..=(key, actor, u64::MAX);
        let found = self.layers().rev().find_map(|layer| layer.keyed.range(of_actor.clone()).next_back());
        found.map(|((.., sequence), position)| EventPlace { sequence: *sequence, position: *position })
    }

    /// An actor in the layers with a call of this key.
    pub(super) fn holder(&self, key: KeyDigest) -> Option<i64> {
        let of_key = (key, i64::MIN, 0)..=(key, i64::MAX, u64::MAX);
        self.layers().find_map(|layer| layer.keyed.range(of_key.clone()).next()).map(|((_, actor, _), _)| *actor)
    }

    /// The highest key of an actor in the layers.
    pub(super) fn last_key(&self) -> Option<i64> {
        let actors = self.layers().flat_map(|layer| layer.actors.keys()).max();
        actors.max(self.layers().flat_map(|layer| layer.rows.written.keys()).max()).copied()
    }

    /// The last version of a row in the layers, among those of its table; with whether one of them came late.
    pub(super) fn last_version(&self, at: &TableAt, key: &[u8]) -> Option<(&RowVersion, bool)> {
        let versions = || self.layers().flat_map(|layer| layer.rows.versions(at.actor, key));
        let within = versions().filter(|version| (at.era..=at.upto).contains(&version.closed));
        let last = within.max_by_key(|version| version.closed)?;
        Some((last, last.is_carried))
    }

    /// Whether a transition of the actor that wrote closed behind event `upto`.
    pub(super) fn writes_behind(&self, actor: i64, upto: u64) -> bool {
        let rows = self.layers().filter_map(|layer| layer.rows.written.get(&actor));
        upto != u64::MAX && rows.flat_map(|rows| rows.values().flatten()).any(|version| version.closed > upto)
    }

    /// The keys of an actor's rows in the layers within a range, in order.
    pub(super) fn row_keys<'a>(&'a self, actor: i64, range: KeyRange<'a>) -> impl Iterator<Item = &'a Arc<[u8]>> {
        let moving = self.moving.as_deref().into_iter().flat_map(move |layer| layer.rows.keys(actor, range));
        let active = self.active.rows.keys(actor, range);
        merged(moving, active)
    }
}

/// Two ascending sequences as one, in which what both have stands once.
fn merged<'a>(
    one: impl Iterator<Item = &'a Arc<[u8]>>,
    other: impl Iterator<Item = &'a Arc<[u8]>>,
) -> impl Iterator<Item = &'a Arc<[u8]>> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(first), Some(second)) if first == second => {
            other.next();
            one.next()
        }
        (Some(first), Some(second)) if first > second => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    })
}
