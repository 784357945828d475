//! What was under way between actors when an earlier process ended, put back together: mailboxes, replies, waits. What
//! each promise is after a crash is decided in `promise/`, from the chains and from what is owed; here that is done.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::actor::SpawnReply;
use crate::base::id::ActorId;
use crate::base::one_shot::one_shot;
use crate::chain::{ChainEvent, Link};
use crate::journal::{ActorKey, JournalReader, Pending};
use crate::promise::{Chains, Decided, Due, Fate, Read, Through, decide};
use crate::system::{Awaited, Delivery, Lane, Registry, Reply, Wait};

/// What each of the actors that go on needs of the others.
#[derive(Default)]
pub(super) struct InFlight {
    /// What became of the host call that a chain ends with, and the actor's wait where it goes on waiting.
    pub(super) awaited: HashMap<ActorId, (Awaited, Option<Wait>)>,
    /// Who waits for the end of an open transition.
    pub(super) replies: HashMap<ActorId, Reply>,
    /// Who waits until an actor is up; and the event that asked for its `init`, where that is its first.
    pub(super) starts: HashMap<ActorId, (SpawnReply, Option<Link>)>,
    /// What is owed, in the order in which it was promised.
    pub(super) owed: Vec<(ActorId, Lane, Delivery)>,
}

/// Who there is.
pub(super) struct Cast<'a> {
    pub(super) reader: &'a JournalReader,
    pub(super) registry: &'a Arc<Registry>,
    /// Every actor that has a chain: what is owed does not depend on whether its sender is still listed.
    pub(super) keys: &'a HashMap<ActorId, ActorKey>,
    /// The actors that go on.
    pub(super) alive: HashSet<ActorId>,
    /// Their open transitions.
    pub(super) open: HashMap<ActorId, Vec<ChainEvent>>,
}

impl Chains for Cast<'_> {
    fn is_known(&self, actor: ActorId) -> bool {
        self.keys.contains_key(&actor)
    }

    fn goes_on(&self, actor: ActorId) -> bool {
        self.alive.contains(&actor)
    }

    fn open(&self, actor: ActorId) -> &[ChainEvent] {
        self.open.get(&actor).map_or(&[], |open| open)
    }

    fn position(&self, actor: ActorId, sequence: u64) -> Read<u64> {
        let Some(key) = self.keys.get(&actor) else { return Ok(0) };
        Ok(self.reader.position(*key, sequence)?.unwrap_or(0))
    }

    fn events_behind(&self, actor: ActorId, position: u64) -> Read<Vec<ChainEvent>> {
        self.keys.get(&actor).map_or(Ok(Vec::new()), |key| self.reader.events_behind(*key, position))
    }

    fn page(&self, actor: ActorId, from: u64) -> Read<Vec<ChainEvent>> {
        self.keys.get(&actor).map_or(Ok(Vec::new()), |key| self.reader.events(*key, from, 1_000, 16 << 20))
    }

    fn promise(&self, row: &Pending) -> Read<Option<ChainEvent>> {
        self.keys.get(&row.cause.actor).map(|key| self.reader.promise(*key, row)).transpose()
    }
}

impl Cast<'_> {
    pub(super) fn in_flight(&self) -> Read<InFlight> {
        let mut actors: Vec<ActorId> = self.open.keys().copied().collect();
        actors.sort();
        let Decided { fates, due, unreadable, given_up } = decide(self, &actors, &self.reader.pending()?)?;
        unreadable.iter().for_each(|why| log::warn!("{why}"));
        for actor in given_up {
            log::warn!(
                "actor {actor} waited in a circle of requests: it is told that the outcome of its own is unknown"
            );
        }
        let mut found = InFlight::default();
        let mut waiting = HashMap::new();
        for (actor, (intent, fate)) in fates {
            match fate {
                Fate::Again => {}
                Fate::Answered(awaited) => _ = found.awaited.insert(actor, (awaited, None)),
                Fate::Await { on, through } => self.go_on_waiting(&mut found, &mut waiting, intent, (on, through)),
            }
        }
        for Due { to, lane, delivery, awaited_by, .. } in due {
            let reply = awaited_by.and_then(|waiter| waiting.remove(&waiter)).unwrap_or(Reply::Nobody);
            found.owed.push((to, lane, Delivery { reply, ..delivery }));
        }
        Ok(found)
    }

    /// The actor whose intent this is goes on waiting.
    fn go_on_waiting(
        &self,
        found: &mut InFlight,
        waiting: &mut HashMap<ActorId, Reply>,
        intent: Link,
        (on, through): (ActorId, Through),
    ) {
        let waiter = intent.actor;
        let wait = self.registry.resume_wait(waiter, on);
        let awaited = if matches!(through, Through::Init | Through::Restart) {
            let (to, up) = one_shot();
            let cause = (through == Through::Init).then_some(intent);
            found.starts.insert(on, (SpawnReply::new(to, Some(wait.id())), cause));
            Awaited::Child(up)
        } else {
            let (reply, answer) = Reply::actor(wait.id());
            if through == Through::Transition {
                reply.claim();
                found.replies.insert(on, reply);
            } else {
                waiting.insert(waiter, reply);
            }
            Awaited::Reply { to: on, reply: answer }
        };
        found.awaited.insert(waiter, (awaited, Some(wait)));
    }
}
