//! The index against a simple model of it, whatever is where at the moment, and whatever befalls its file.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use super::fact::{ActorKey, ActorStarted, Cause, ChainEnd, EventPlace, Owed, Pending};
use super::*;
use crate::base::id::{ActorId, Incarnation};
use crate::chain::{ComponentDigest, EventHash, KeyDigest, sha1};

/// Random numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let digest = sha1(&self.0.to_be_bytes());
        u64::from_be_bytes(*digest.first_chunk().expect("8 bytes")) % below
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.roll(times) == 0
    }
}

/// What an index is to know, as plainly as can be said.
#[derive(Clone, Default)]
struct Model {
    actors: BTreeMap<i64, Actor>,
    owed: Vec<Pending>,
    position: u64,
}

#[derive(Clone)]
struct Actor {
    id: ActorId,
    started: ActorStarted,
    alive: bool,
    attempts: u64,
    listed: bool,
    paused: bool,
    events: Vec<EventFact>,
    dropped: Option<u64>,
    kept: BTreeMap<u64, Kept>,
}

impl Model {
    fn take_in(&mut self, fact: &Fact) {
        match fact {
            Fact::Event(event) => self.event(event),
            Fact::Ended(actor) => self.end(*actor),
            Fact::Survived(actor) => self.of(*actor).attempts = 0,
            Fact::Forgotten(actor) => {
                let actor = self.of(*actor);
                (actor.listed, actor.paused) = (false, false);
            }
            Fact::Paused { actor, is_paused } => self.of(*actor).paused = *is_paused,
            Fact::State { actor, sequence, segment } => {
                self.of(*actor).kept.insert(*sequence, Kept::InSegment(*segment));
            }
            Fact::Rows { .. } | Fact::Carried { .. } => {}
            Fact::Dropped { actor, last } => {
                let actor = self.of(*actor);
                actor.dropped = actor.dropped.max(Some(*last));
            }
            Fact::StatesDropped { actor, events } => {
                self.of(*actor).kept.retain(|sequence, _| !events.contains(sequence));
            }
        }
    }

    fn has_paused(&self) -> bool {
        self.actors.values().any(|actor| actor.paused)
    }

    fn of(&mut self, actor: i64) -> &mut Actor {
        self.actors.get_mut(&actor).expect("an actor that was started")
    }

    fn event(&mut self, event: &EventFact) {
        let EventFact { sequence, position, .. } = *event;
        self.position = position;
        if let Some(started) = event.begins.as_deref() {
            let actor = self.actors.entry(event.actor.key).or_insert(Actor {
                id: event.actor.id,
                started: started.clone(),
                alive: true,
                attempts: 0,
                listed: true,
                paused: false,
                events: Vec::new(),
                dropped: None,
                kept: BTreeMap::new(),
            });
            (actor.started, actor.alive, actor.listed) = (started.clone(), true, true);
            actor.attempts = started.attempts;
        }
        let actor = self.of(event.actor.key);
        actor.events.push(event.clone());
        if event.keeps {
            actor.kept.insert(sequence, Kept::InEvent);
        }
        self.owed.retain(|pending| !event.settles.contains(&pending.cause));
        if let Some(Owed { receiver, notice, .. }) = event.owes {
            let cause = Cause { actor: event.actor.id, sequence };
            self.owed.push(Pending { cause, receiver, position, notice: notice.map(str::to_owned) });
        }
        if event.ends {
            self.end(event.actor.key);
        }
    }

    fn end(&mut self, actor: i64) {
        let actor = self.of(actor);
        actor.alive = false;
        let id = actor.id;
        self.owed.retain(|pending| pending.cause.actor != id || pending.receiver != id);
    }

    /// Something that may happen now.
    fn next(&self, dice: &mut Dice) -> Fact {
        if self.actors.is_empty() || (self.actors.len() < 5 && dice.once_in(40)) {
            let actor = ActorKey { key: self.actors.len() as i64 + 1, id: ActorId::random() };
            return Fact::Event(self.event_of(actor, 0, dice));
        }
        let (key, actor) = self.actors.iter().nth(dice.roll(self.actors.len() as u64) as usize).expect("an actor");
        let (key, last) = (*key, actor.events.len() as u64 - 1);
        match dice.roll(62) {
            0 => Fact::Ended(key),
            1 => Fact::Survived(key),
            2 if !actor.alive => Fact::Forgotten(key),
            3 | 4 => Fact::State { actor: key, sequence: dice.roll(last + 1), segment: dice.roll(9) as u32 },
            60 | 61 => Fact::Paused { actor: key, is_paused: dice.once_in(2) },
            5 => Fact::Dropped { actor: key, last: dice.roll(last + 1) },
            6 | 7 => {
                let from = dice.roll(last + 1);
                Fact::StatesDropped { actor: key, events: from..from + dice.roll(20) }
            }
            _ => Fact::Event(self.event_of(ActorKey { key, id: actor.id }, last + 1, dice)),
        }
    }

    fn event_of(&self, actor: ActorKey, sequence: u64, dice: &mut Dice) -> EventFact {
        let position = self.position + 1;
        let others: Vec<ActorId> = self.actors.values().map(|actor| actor.id).chain([actor.id]).collect();
        let receiver = others[dice.roll(others.len() as u64) as usize];
        let notice = dice.once_in(4).then_some("child-failed");
        let owes = dice.once_in(3).then_some(Owed { receiver, notice, boot: None });
        let mut settles = Vec::new();
        for pending in &self.owed {
            if dice.once_in(4) {
                settles.push(pending.cause);
            }
        }
        if dice.once_in(20) {
            settles.push(Cause { actor: receiver, sequence: u64::MAX >> 1 });
        }
        let begins = (sequence == 0 || dice.once_in(30)).then(|| {
            Box::new(ActorStarted {
                name: format!("actor-{}", actor.key),
                parent: (actor.key > 1).then(|| others[0]),
                incarnation: Incarnation(sequence + 1),
                component: ComponentDigest([actor.key as u8; 32]),
                manifest: format!("manifest of {sequence}").into(),
                manifest_path: format!("/manifests/{}.toml", dice.roll(3)),
                attempts: dice.roll(3),
            })
        });
        let other = [None, None, Some(Landmark::Failed), Some(Landmark::InitReturned)][dice.roll(4) as usize];
        EventFact {
            actor,
            sequence,
            position,
            hash: EventHash(sha1(&position.to_be_bytes())),
            landmark: if begins.is_some() { Some(Landmark::Started) } else { other },
            names_state: begins.is_some() || dice.once_in(3),
            keeps: dice.once_in(9),
            ends: begins.is_none() && dice.once_in(50),
            key: dice.once_in(5).then(|| KeyDigest([1 + dice.roll(4) as u8; 16])),
            begins,
            owes,
            settles,
        }
    }

    /// The index answers every question as the model does.
    fn agrees_with(&self, index: &Index, dice: &mut Dice) {
        let rows = index.actors().expect("an answer");
        assert_eq!(
            rows.iter().map(|row| row.actor.key).collect::<Vec<_>>(),
            self.actors.keys().copied().collect::<Vec<_>>()
        );
        for (row, (key, actor)) in rows.iter().zip(&self.actors) {
            let Actor { id, started, alive, .. } = actor;
            assert_eq!((row.actor.id, row.alive, &row.name), (*id, *alive, &started.name));
            assert_eq!(
                (row.parent, row.incarnation, &*row.manifest),
                (started.parent, started.incarnation, &*started.manifest)
            );
            assert_eq!((row.component, &row.manifest_path), (started.component, &started.manifest_path));
            let alone = index.actor(*key).expect("an answer").expect("an actor");
            assert_eq!(format!("{alone:?}"), format!("{row:?}"));
            let by_id = index.actor_by_id(*id).expect("an answer").expect("an actor");
            assert_eq!(format!("{by_id:?}"), format!("{row:?}"));
            assert_eq!(index.parent(*id).expect("an answer"), started.parent);
            self.agrees_on(index, *key, actor, dice);
        }
        for digest in (0..6).map(|byte| KeyDigest([byte; 16])) {
            let has = |actor: &Actor| actor.events.iter().any(|event| event.key == Some(digest));
            let holder = index.holder(digest).expect("an answer");
            let is_right = holder.map_or(!self.actors.values().any(has), |holder| has(&self.actors[&holder]));
            assert!(is_right, "{digest:?}: {holder:?}");
        }
        let owed = index.owed().expect("an answer");
        assert_eq!(owed, self.owed);
        assert_eq!(index.next_key().expect("an answer"), self.actors.len() as i64 + 1);
        assert!(index.actor(77).expect("an answer").is_none() && index.head(77).expect("an answer").is_none());
        assert!(index.actor_by_id(ActorId::of_nobody()).expect("an answer").is_none());
    }

    fn agrees_on(&self, index: &Index, key: i64, actor: &Actor, dice: &mut Dice) {
        let Actor { events, dropped, kept, attempts, listed, paused, .. } = actor;
        assert_eq!((index.attempts(key).expect("one"), index.is_listed(key).expect("one")), (*attempts, *listed));
        assert_eq!(index.is_paused(key).expect("one"), *paused);
        let last = events.last().expect("a first event");
        let end = ChainEnd {
            last: last.place(),
            hash: last.hash,
            state: events.iter().rfind(|event| event.names_state).map(EventFact::place),
            dropped: *dropped,
        };
        assert_eq!(index.head(key).expect("an answer"), Some(end));
        assert_eq!(index.kept_sequences(key).expect("an answer"), kept.keys().copied().collect::<Vec<_>>());
        let places =
            |wanted: Landmark| events.iter().filter(move |event| event.landmark == Some(wanted)).map(EventFact::place);
        for digest in (0..6).map(|byte| KeyDigest([byte; 16])) {
            let keyed = events.iter().rfind(|event| event.key == Some(digest)).map(EventFact::place);
            assert_eq!(index.keyed(digest, key).expect("an answer"), keyed, "{digest:?}");
        }
        let mut asked = vec![0, last.sequence, last.sequence + 1, u64::MAX];
        asked.extend((0..6).map(|_| dice.roll(last.sequence + 2)));
        for at in asked {
            let milestone = events.iter().find(|event| event.sequence >= at && event.sequence % 64 == 63);
            assert_eq!(index.milestone_from(key, at).expect("an answer"), milestone.map(EventFact::place), "from {at}");
            for landmark in [Landmark::Started, Landmark::Failed, Landmark::InitReturned] {
                let upto = places(landmark).rfind(|place| place.sequence <= at);
                assert_eq!(index.landmark(key, landmark, at).expect("an answer"), upto, "{landmark:?} up to {at}");
                let from = places(landmark).find(|place| place.sequence >= at);
                assert_eq!(index.next_landmark(key, landmark, at).expect("an answer"), from, "{landmark:?} from {at}");
            }
            let before = kept.range(..at).next_back().map(|(sequence, _)| *sequence);
            assert_eq!(index.kept_before(key, at).expect("an answer"), before, "before {at}");
            let behind = kept.keys().find(|sequence| **sequence > at).copied();
            assert_eq!(index.kept_behind(key, at).expect("an answer"), behind, "behind {at}");
            assert_eq!(index.kept(key, at).expect("an answer"), kept.get(&at).copied(), "at {at}");
        }
    }
}

/// A log of batches, with what is true after each.
struct Past {
    batches: Vec<(Vec<Fact>, IndexedTo)>,
    models: Vec<Model>,
}

fn past(seed: u64, batches: u64) -> Past {
    let (mut dice, mut model) = (Dice(seed << 32), Model::default());
    let mut past = Past { batches: Vec::new(), models: Vec::new() };
    for batch in 1..=batches {
        let facts = (0..=dice.roll(12)).map(|_| {
            let fact = model.next(&mut dice);
            model.take_in(&fact);
            fact
        });
        let facts: Vec<Fact> = facts.collect();
        past.batches.push((facts, IndexedTo { batch, position: model.position }));
        past.models.push(model.clone());
    }
    past
}

impl Past {
    /// What follows `held`, to the end or to batch `upto`.
    fn feed(&self, index: &Index, held: Option<IndexedTo>, upto: u64) {
        let from = held.map_or(0, |held| held.batch);
        let lacking = |(_, to): &&(Vec<Fact>, IndexedTo)| to.batch > from && to.batch <= upto;
        for (facts, to) in self.batches.iter().filter(lacking) {
            index.feed(facts.clone(), *to);
        }
    }

    fn last(&self) -> &Model {
        self.models.last().expect("a batch")
    }

    fn sum(&self) -> [u8; 16] {
        let index = in_memory();
        self.feed(&index, None, u64::MAX);
        index.sum().expect("a sum")
    }
}

/// An index without tables.
fn in_memory() -> Arc<Index> {
    let dir = tempfile::tempdir().expect("a directory");
    Index::open_to_read(dir.path()).expect("an index").index
}

fn open(dir: &Path) -> OpenedIndex {
    Index::open(dir).expect("an index")
}

/// An index of all of a past, written and closed.
fn written(dir: &Path, past: &Past) {
    let OpenedIndex { index, indexed_to, .. } = open(dir);
    let thread = index.start_thread().expect("a thread");
    past.feed(&index, indexed_to, u64::MAX);
    thread.close();
}

fn tamper(dir: &Path, statement: &str) {
    let connection = Connection::open(dir.join("index.db")).expect("a database");
    assert!(connection.execute(statement, []).expect("a statement") > 0, "{statement}");
}

#[test]
fn every_lookup_sees_what_is_committed_wherever_it_stands_and_the_sum_is_the_same_in_every_way() {
    for seed in 0..12 {
        let (dir, past, mut dice) = (tempfile::tempdir().expect("a directory"), past(seed, 120), Dice(seed));
        let OpenedIndex { index, indexed_to, .. } = open(dir.path());
        assert_eq!(indexed_to, None);
        let mut standing = Standing::new(Arc::clone(&index), index.sum().expect("a sum"));
        for ((facts, upto), model) in past.batches.iter().zip(&past.models) {
            facts.iter().for_each(|fact| standing.apply(fact).expect("a sound index"));
            let sum = dice.once_in(2).then(|| standing.sum());
            index.apply(facts.clone(), *upto);
            standing.forget_told();
            if dice.once_in(6) {
                index.fill();
            }
            if dice.once_in(6) {
                // As it is while the thread writes: what moves is in the tables and in memory.
                let layer = {
                    let mut delta = index.delta.lock();
                    let whole = delta.whole();
                    delta.active = Layer::default();
                    delta.moving.insert(Arc::new(whole)).clone()
                };
                tables::write(index.writing.lock().connection(), &layer).expect("written");
            }
            if dice.once_in(8) {
                model.agrees_with(&index, &mut dice);
                let all = sum.unwrap_or_else(|| standing.sum());
                assert_eq!(index.sum().expect("a sum"), all, "seed {seed}, batch {}", upto.batch);
            }
        }
        past.last().agrees_with(&index, &mut dice);
        assert_eq!(standing.sum(), past.sum(), "seed {seed}");
    }
}

#[test]
fn an_index_that_is_opened_again_at_any_moment_is_fed_what_it_lacks() {
    let (dir, past, mut dice) = (tempfile::tempdir().expect("a directory"), past(99, 150), Dice(3));
    let mut upto = 0;
    while upto < 150 {
        let OpenedIndex { index, indexed_to, .. } = open(dir.path());
        assert!(indexed_to.map_or(0, |held| held.batch) <= upto);
        if let Some(held) = indexed_to {
            let model = &past.models[held.batch as usize - 1];
            assert_eq!(held.position, model.position);
            model.agrees_with(&index, &mut dice);
        }
        upto = (upto + dice.roll(30)).min(150);
        past.feed(&index, indexed_to, upto);
        if upto > 0 {
            past.models[upto as usize - 1].agrees_with(&index, &mut dice);
        }
        if dice.once_in(2) {
            index.fill();
        }
    }
}

#[test]
fn closing_writes_everything_and_leaves_no_log() {
    let (dir, past) = (tempfile::tempdir().expect("a directory"), past(5, 60));
    written(dir.path(), &past);
    assert!(fs::metadata(dir.path().join("index.db-wal")).map_or(0, |log| log.len()) == 0);
    let OpenedIndex { index, indexed_to, why_empty } = open(dir.path());
    assert_eq!((indexed_to.map(|held| held.batch), why_empty), (Some(60), None));
    past.last().agrees_with(&index, &mut Dice(1));
    assert_eq!(index.sum().expect("a sum"), past.sum());
}

#[test]
fn what_came_and_went_in_memory_is_never_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let index = open(dir.path()).index;
    let (mut dice, mut model) = (Dice(1), Model::default());
    let first = model.next(&mut dice);
    model.take_in(&first);
    let Fact::Event(first) = first else { unreachable!("an actor begins with an event") };
    let receiver = ActorId::random();
    let owing = |sequence| EventFact {
        sequence,
        position: sequence + 1,
        owes: Some(Owed { receiver, notice: None, boot: None }),
        settles: Vec::new(),
        begins: None,
        ..first.clone()
    };
    let cause = Cause { actor: first.actor.id, sequence: 1 };
    let settling = EventFact { owes: None, settles: vec![cause], ..owing(2) };
    index.apply(vec![Fact::Event(owing(1)), Fact::Event(settling)], IndexedTo { batch: 1, position: 3 });
    assert!(index.delta.lock().active.owed.rows.is_empty());
}

/// Each row by itself, and each column: see the columns in `sum.rs`.
#[test]
fn no_row_of_what_is_summed_up_can_be_altered_added_or_taken_away_unseen() {
    let columns = [
        ("heads", &["actor", "sequence", "position", "hash", "state_position"][..]),
        ("keyed", &["key", "actor", "sequence", "position"][..]),
        ("actors", &["actor", "alive", "attempts", "listed", "started", "manifest_path"]),
        ("owed", &["cause_actor", "cause_sequence", "receiver", "position", "notice"]),
        ("landmarks", &["actor", "landmark", "sequence", "position"]),
        ("kept", &["actor", "sequence", "segment"]),
        ("paused", &["actor"]),
    ];
    // One that ends with something of every kind.
    let past = (0..)
        .map(|seed| past(seed, 40))
        .find(|past| past.last().owed.len() > 1 && past.last().actors.len() > 1 && past.last().has_paused());
    let (dir, past) = (tempfile::tempdir().expect("a directory"), past.expect("a past"));
    written(dir.path(), &past);
    let sound = fs::read(dir.path().join("index.db")).expect("a file");
    let differs = |statement: &str| {
        fs::write(dir.path().join("index.db"), &sound).expect("written");
        tamper(dir.path(), statement);
        let OpenedIndex { index, indexed_to, .. } = open(dir.path());
        assert!(indexed_to.is_some());
        match index.sum() {
            Ok(sum) => assert_ne!(sum, past.sum(), "{statement}"),
            Err(error) => assert!(error.is_damage(), "{statement}: {error}"),
        }
    };
    for (table, columns) in columns {
        let one = match table {
            "heads" | "actors" => "actor = 1".to_owned(),
            "paused" => "actor IN (SELECT actor FROM paused LIMIT 1)".to_owned(),
            "owed" => format!("cause_sequence = {}", past.last().owed[0].cause.sequence),
            _ => format!("(actor, sequence) IN (SELECT actor, sequence FROM {table} LIMIT 1)"),
        };
        differs(&format!("DELETE FROM {table} WHERE {one}"));
        for column in columns {
            let other = match *column {
                "hash" => "zeroblob(20)",
                "key" => "zeroblob(16)",
                "cause_actor" | "receiver" => "'67e55044-10b1-426f-9247-bb680e5fe0c8'",
                "manifest_path" | "notice" => "'other'",
                "actor" => "77",
                "alive" | "listed" => "1 - alive",
                "segment" | "state_position" => "ifnull(segment, 7) + 1",
                _ => "sequence + 1",
            };
            let other = other.replace("alive", column).replace("segment", column).replace("sequence", column);
            differs(&format!("UPDATE {table} SET {column} = {other} WHERE {one}"));
        }
        let all = match table {
            "heads" => "SELECT 77, sequence, position, hash, state_sequence, state_position, dropped",
            "actors" => {
                "SELECT 77, '67e55044-10b1-426f-9247-bb680e5fe0c8', name, parent, incarnation, component, manifest,
                 manifest_path, alive, attempts, listed, started"
            }
            "owed" => "SELECT '67e55044-10b1-426f-9247-bb680e5fe0c8', cause_sequence, receiver, position, notice",
            "landmarks" => "SELECT 77, landmark, sequence, position",
            "keyed" => "SELECT key, 77, sequence, position",
            "paused" => "SELECT 77",
            _ => "SELECT 77, sequence, segment",
        };
        differs(&format!("INSERT INTO {table} {all} FROM {table} WHERE {one} LIMIT 1"));
    }
}

#[test]
fn an_index_that_cannot_be_used_is_made_anew_and_says_why() {
    let past = past(7, 40);
    let file = |dir: &Path| dir.join("index.db");
    type Harm = Box<dyn Fn(&Path)>;
    let harms: [(&str, Harm); 8] = [
        ("there is none", Box::new(move |dir| fs::remove_file(file(dir)).expect("removed"))),
        ("not a database", Box::new(move |dir| fs::write(file(dir), "no index at all, but a text").expect("written"))),
        ("not a database", Box::new(move |dir| fs::write(file(dir), vec![0; 65_536]).expect("written"))),
        ("not an index", Box::new(move |dir| fs::write(file(dir), "").expect("written"))),
        (
            "its version is 77",
            Box::new(|dir| {
                let database = Connection::open(dir.join("index.db")).expect("a database");
                database.pragma_update(None, "user_version", 77).expect("set");
            }),
        ),
        (
            "not an index",
            Box::new(|dir| {
                let database = Connection::open(dir.join("index.db")).expect("a database");
                database.pragma_update(None, "application_id", 77).expect("set");
            }),
        ),
        (
            "no such table",
            Box::new(|dir| {
                Connection::open(dir.join("index.db"))
                    .expect("a database")
                    .execute_batch("DROP TABLE held")
                    .expect("dropped")
            }),
        ),
        (
            "nothing was written",
            Box::new(|dir| {
                Connection::open(dir.join("index.db"))
                    .expect("a database")
                    .execute_batch("DELETE FROM held")
                    .expect("deleted")
            }),
        ),
    ];
    for (expected, harm) in harms {
        let dir = tempfile::tempdir().expect("a directory");
        written(dir.path(), &past);
        harm(dir.path());
        let read = Index::open_to_read(dir.path()).expect("an index");
        assert_eq!(read.indexed_to, None);
        let why = read.why_empty.expect("a reason");
        assert!(why.contains(expected), "{expected}: {why}");
        past.feed(&read.index, None, u64::MAX);
        past.last().agrees_with(&read.index, &mut Dice(1));

        let OpenedIndex { index, indexed_to, why_empty } = open(dir.path());
        assert_eq!(indexed_to, None);
        let why = why_empty.expect("a reason");
        assert!(why.contains(expected), "{expected}: {why}");
        past.feed(&index, None, u64::MAX);
        index.fill();
        past.last().agrees_with(&index, &mut Dice(1));
        assert_eq!(index.sum().expect("a sum"), past.sum());
        drop(index);
        assert_eq!(open(dir.path()).why_empty, None, "{expected}: it was made anew");
    }
}

#[test]
fn a_directory_in_the_place_of_the_file_leaves_everything_in_memory_until_it_is_gone() {
    let (dir, past) = (tempfile::tempdir().expect("a directory"), past(8, 40));
    fs::create_dir(dir.path().join("index.db")).expect("a directory");
    let OpenedIndex { index, why_empty, .. } = open(dir.path());
    assert_eq!(why_empty.as_deref(), Some("it is not a file"));
    past.feed(&index, None, 30);
    index.look();
    index.fill();
    past.models[29].agrees_with(&index, &mut Dice(1));
    fs::remove_dir(dir.path().join("index.db")).expect("removed");
    index.look();
    past.feed(&index, Some(past.batches[29].1), 40);
    index.fill();
    past.last().agrees_with(&index, &mut Dice(1));
    drop(index);
    let OpenedIndex { index, indexed_to, .. } = open(dir.path());
    assert_eq!(indexed_to, Some(past.batches[39].1));
    past.last().agrees_with(&index, &mut Dice(1));
}

/// Whatever byte is wrong: an answer may be wrong until the sums are compared, but nothing panics, and a rebuilt index is right.
#[test]
fn bytes_that_were_flipped_or_cut_off_are_an_error_or_a_wrong_sum_and_the_index_can_be_rebuilt() {
    let (dir, past, mut dice) = (tempfile::tempdir().expect("a directory"), past(9, 60), Dice(4));
    written(dir.path(), &past);
    let path = dir.path().join("index.db");
    let sound = fs::read(&path).expect("a file");
    for round in 0..120 {
        let mut bytes = sound.clone();
        let at = dice.roll(bytes.len() as u64) as usize;
        match round % 4 {
            0 => bytes.truncate(at),
            1 => bytes[at..(at / 4096 + 1) * 4096].fill(0),
            // The beginning of a page says what the rest is.
            2 => bytes[at / 4096 * 4096 + at % 64] ^= 1 << dice.roll(8),
            _ => bytes[at] ^= 1 << dice.roll(8),
        }
        fs::write(&path, bytes).expect("written");
        let OpenedIndex { index, .. } = open(dir.path());
        for actor in 0..6 {
            let answers =
                [index.head(actor).map(drop), index.actor(actor).map(drop), index.kept_sequences(actor).map(drop)];
            assert!(answers.iter().all(|answer| answer.as_ref().err().is_none_or(IndexError::is_damage)));
            let _ = (index.milestone_from(actor, 0), index.landmark(actor, Landmark::Started, 9), index.owed());
        }
        index.distrust("a test says so");
        assert!(index.head(1).expect_err("it is damaged").is_damage());
        rebuild(&index, &past).expect("rebuilt");
        past.last().agrees_with(&index, &mut dice);
        assert_eq!(index.sum().expect("a sum"), past.sum());
    }
}

fn rebuild(index: &Index, past: &Past) -> Result<(), IndexError> {
    index.rebuild(|feed| {
        past.batches.iter().for_each(|(facts, upto)| feed(facts.clone(), *upto));
        Ok(())
    })
}

#[test]
fn what_is_committed_while_the_index_is_rebuilt_is_taken_in_once() {
    let (dir, past) = (tempfile::tempdir().expect("a directory"), past(10, 60));
    let OpenedIndex { index, .. } = open(dir.path());
    past.feed(&index, None, 20);
    index.distrust("a test says so");
    let failed = index.rebuild(|_| Err(IndexError::Damaged { why: "the log cannot be read".into() }));
    assert!(failed.is_err() && index.owed().is_err(), "it stays damaged");
    let rebuilt: Result<(), IndexError> = index.rebuild(|feed| {
        for (facts, upto) in &past.batches[..30] {
            feed(facts.clone(), *upto);
            assert!(index.owed().is_err(), "nobody sees half of it");
        }
        // Batches 26 to 30 were committed before the log was read up to there.
        past.batches[25..40].iter().for_each(|(facts, upto)| index.apply(facts.clone(), *upto));
        Ok(())
    });
    rebuilt.expect("rebuilt");
    past.models[39].agrees_with(&index, &mut Dice(1));
    past.feed(&index, Some(past.batches[39].1), 60);
    past.last().agrees_with(&index, &mut Dice(1));
    let sound: Result<(), IndexError> = index.rebuild(|_| panic!("it is sound"));
    sound.expect("nothing to do");
}

#[test]
fn a_file_that_is_removed_or_replaced_is_written_anew_and_no_lookup_is_wrong_meanwhile() {
    let other = tempfile::tempdir().expect("a directory");
    written(other.path(), &past(12, 30));
    for replaced in [false, true] {
        let (dir, past, mut dice) = (tempfile::tempdir().expect("a directory"), past(11, 90), Dice(6));
        let OpenedIndex { index, .. } = open(dir.path());
        past.feed(&index, None, 30);
        index.fill();
        let path = dir.path().join("index.db");
        if replaced {
            fs::copy(other.path().join("index.db"), dir.path().join("other")).expect("copied");
            fs::rename(dir.path().join("other"), &path).expect("replaced");
        } else {
            fs::remove_file(&path).expect("removed");
        }
        past.models[29].agrees_with(&index, &mut dice);
        past.feed(&index, Some(past.batches[29].1), 60);
        index.fill();
        past.models[59].agrees_with(&index, &mut dice);
        index.look();
        past.models[59].agrees_with(&index, &mut dice);
        past.feed(&index, Some(past.batches[59].1), 90);
        index.fill();
        past.last().agrees_with(&index, &mut dice);
        drop(index);
        let OpenedIndex { index, indexed_to, .. } = open(dir.path());
        assert_eq!(indexed_to, Some(past.batches[89].1));
        past.last().agrees_with(&index, &mut dice);
        assert_eq!(index.sum().expect("a sum"), past.sum());
    }
}

#[test]
fn a_reader_in_another_process_sees_one_moment_and_adds_what_it_reads_itself() {
    let (dir, past, mut dice) = (tempfile::tempdir().expect("a directory"), past(13, 90), Dice(6));
    let OpenedIndex { index, .. } = open(dir.path());
    past.feed(&index, None, 30);
    index.fill();
    let read = Index::open_to_read(dir.path()).expect("an index");
    assert_eq!(read.indexed_to, Some(past.batches[29].1));
    past.feed(&index, Some(past.batches[29].1), 90);
    index.fill();
    past.models[29].agrees_with(&read.index, &mut dice);
    past.feed(&read.index, read.indexed_to, 60);
    past.models[59].agrees_with(&read.index, &mut dice);
    past.last().agrees_with(&index, &mut dice);
}

#[test]
fn where_nothing_may_be_written_a_closed_index_is_read_as_it_is_and_one_with_a_log_is_not() {
    let (dir, past) = (tempfile::tempdir().expect("a directory"), past(14, 60));
    let path = dir.path().join("100% of #1?.db");
    written(dir.path(), &past);
    fs::rename(dir.path().join("index.db"), &path).expect("renamed");
    let connection = tables::open_unwritable(&path).expect("an index");
    assert_eq!(tables::held(&connection).expect("a row"), Some(past.batches[59].1));
    drop(connection);
    fs::write(dir.path().join("100% of #1?.db-wal"), "a log").expect("written");
    let why = tables::open_unwritable(&path).expect_err("its log cannot be read");
    assert!(why.contains("write-ahead log"), "{why}");
}

/// Each batch promises one delivery and settles the one before.
#[test]
fn while_the_thread_writes_every_lookup_shows_what_is_committed_at_one_moment() {
    const BATCHES: u64 = 4_000;
    let dir = tempfile::tempdir().expect("a directory");
    let index = open(dir.path()).index;
    let thread = index.start_thread().expect("a thread");
    let first = past(1, 1).batches.swap_remove(0).0.swap_remove(0);
    let Fact::Event(first) = first else { unreachable!("an actor begins with an event") };
    let committed = Arc::new(AtomicU64::new(0));
    let reader = {
        let (index, committed, actor) = (Arc::clone(&index), Arc::clone(&committed), first.actor);
        std::thread::spawn(move || {
            loop {
                let least = committed.load(Ordering::Acquire);
                if least == 0 {
                    continue;
                }
                let head = index.head(actor.key).expect("an answer").expect("a head");
                assert!(head.last.sequence + 1 >= least, "{head:?} after {least}");
                let owed = index.owed().expect("an answer");
                assert_eq!(owed.len(), 1, "after {least}: {owed:?}");
                assert!(owed[0].cause.sequence + 1 >= least);
                let milestone = index.milestone_from(actor.key, least.saturating_sub(64)).expect("an answer");
                assert!(least < 64 || milestone.is_some(), "after {least}");
                if least == BATCHES {
                    return;
                }
            }
        })
    };
    for sequence in 0..BATCHES {
        let before = sequence.checked_sub(1).map(|sequence| Cause { actor: first.actor.id, sequence });
        let event = EventFact {
            sequence,
            position: sequence + 1,
            owes: Some(Owed { receiver: ActorId::of_nobody(), notice: None, boot: None }),
            settles: before.into_iter().collect(),
            begins: first.begins.clone().filter(|_| sequence == 0),
            ends: false,
            ..first.clone()
        };
        index.apply(vec![Fact::Event(event)], IndexedTo { batch: sequence + 1, position: sequence + 1 });
        committed.store(sequence + 1, Ordering::Release);
        if sequence % 16 == 0 {
            let _ = index.ring.try_send(());
        }
    }
    reader.join().expect("every answer was right");
    thread.close();
    assert_eq!(open(dir.path()).indexed_to, Some(IndexedTo { batch: BATCHES, position: BATCHES }));
}

#[test]
fn the_places_of_chain_ends_are_told_without_the_index_where_they_are_remembered() {
    let index = in_memory();
    let past = past(2, 30);
    let mut standing = Standing::new(Arc::clone(&index), index.sum().expect("a sum"));
    for (facts, upto) in &past.batches {
        facts.iter().for_each(|fact| standing.apply(fact).expect("a sound index"));
        for (key, actor) in &past.models[upto.batch as usize - 1].actors {
            let last = actor.events.last().map(|event| (EventPlace { ..event.place() }, event.hash));
            assert_eq!(standing.last(*key).expect("an answer"), last);
        }
        standing.sum();
        index.apply(facts.clone(), *upto);
        standing.forget_told();
    }
}
