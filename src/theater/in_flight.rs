//! Messages and waits that were under way between actors when an earlier process ended, put back: deliveries into
//! mailboxes, replies to the actors that wait for them, waits into the registry. `promise/` decides from the chains and
//! from the owed deliveries what each promise is after the crash; this file does what was decided.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::actor::SpawnReply;
use crate::base::id::ActorId;
use crate::base::one_shot::one_shot;
use crate::chain::data::Started;
use crate::chain::{ChainEvent, Link};
use crate::journal::{ActorKey, Cause, JournalReader, Pending};
use crate::promise::{Chains, Decided, Due, Fate, OpenMonitor, OpenRequest, ReadResult, Through, decide, decided};
use crate::system::{AsyncRequests, Awaited, Delivery, Lane, Registry, Reply, Timer, Wait};

/// What the actors that go on have yet to get from each other: outcomes, replies and owed deliveries.
#[derive(Default)]
pub(super) struct InFlight {
    /// By actor: the outcome of the host call that its chain ends with, and its registered wait if it goes on waiting.
    pub(super) awaited: HashMap<ActorId, (Awaited, Option<Wait>)>,
    /// By actor: the reply to the sender that waits for the end of its open transition.
    pub(super) replies: HashMap<ActorId, Reply>,
    /// By actor: the reply to the parent that waits until the actor is up; and the parent's event that asked for the actor,
    /// if it waits for the `init` of a new child and not for a restart.
    pub(super) starts: HashMap<ActorId, (SpawnReply, Option<Link>)>,
    /// The deliveries that are owed, in the order in which they were promised.
    pub(super) owed: Vec<(ActorId, Lane, Delivery)>,
    /// The monitors that are open.
    pub(super) monitors: Vec<OpenMonitor>,
    /// The timers that are pending, each actor's own.
    pub(super) timers: Vec<(ActorId, Arc<str>, Timer)>,
    /// By actor and token: the answers that actors have put off, and the replies of who waits for them.
    pub(super) deferred: BTreeMap<(ActorId, u64), Reply>,
}

/// Reads the chains of all actors for the decision about their promises.
pub(super) struct InFlightReader<'a> {
    pub(super) reader: &'a JournalReader,
    pub(super) registry: &'a Arc<Registry>,
    pub(super) async_requests: &'a AsyncRequests,
    /// Every actor that has a chain, including those that are not listed any more: a delivery is owed whether or not its
    /// sender is still listed.
    pub(super) keys: &'a HashMap<ActorId, ActorKey>,
    /// The actors whose chains say that they have not ended for good.
    pub(super) unended: HashSet<ActorId>,
    /// The actors that go on.
    pub(super) alive: HashSet<ActorId>,
    /// The events of their open transitions.
    pub(super) open: HashMap<ActorId, Vec<ChainEvent>>,
}

impl Chains for InFlightReader<'_> {
    fn is_known(&self, actor: ActorId) -> bool {
        self.keys.contains_key(&actor)
    }

    fn goes_on(&self, actor: ActorId) -> bool {
        self.alive.contains(&actor)
    }

    fn open(&self, actor: ActorId) -> &[ChainEvent] {
        self.open.get(&actor).map_or(&[], |open| open)
    }

    fn position(&self, actor: ActorId, sequence: u64) -> ReadResult<u64> {
        let Some(key) = self.keys.get(&actor) else { return Ok(0) };
        Ok(self.reader.position(*key, sequence)?.unwrap_or(0))
    }

    fn events_after(&self, actor: ActorId, position: u64) -> ReadResult<Vec<ChainEvent>> {
        self.keys.get(&actor).map_or(Ok(Vec::new()), |key| self.reader.events_after(*key, position))
    }

    fn event(&self, actor: ActorId, sequence: u64) -> ReadResult<Option<ChainEvent>> {
        let Some(key) = self.keys.get(&actor) else { return Ok(None) };
        let event = self.reader.events(*key, sequence, 1, usize::MAX)?.pop();
        Ok(event.filter(|event| event.sequence == sequence))
    }

    fn page(&self, actor: ActorId, from: u64) -> ReadResult<Vec<ChainEvent>> {
        self.keys.get(&actor).map_or(Ok(Vec::new()), |key| self.reader.events(*key, from, 1_000, 16 << 20))
    }

    fn end_since(&self, actor: ActorId, position: u64) -> ReadResult<Option<ChainEvent>> {
        let Some(key) = self.keys.get(&actor) else { return Ok(None) };
        // The first start since then that says that the actor had ended for good before it.
        let (mut before, mut again) = (u64::MAX, None);
        while let Some(started) = self.reader.started_before(*key, before)?
            && self.reader.position(*key, started.sequence)?.is_some_and(|at| at > position)
        {
            let Some(earlier) = started.sequence.checked_sub(1) else { break };
            if started.read::<Started>().is_ok_and(|started| started.ended) {
                again = Some(earlier);
            }
            before = earlier;
        }
        match again {
            Some(end) => self.event(actor, end),
            None if !self.unended.contains(&actor) => self.reader.last_event(*key),
            None => Ok(None),
        }
    }

    fn promise(&self, row: &Pending) -> ReadResult<Option<ChainEvent>> {
        self.keys.get(&row.cause.actor).map(|key| self.reader.promise(*key, row)).transpose()
    }
}

impl InFlightReader<'_> {
    pub(super) fn in_flight(&self) -> ReadResult<InFlight> {
        let mut actors: Vec<ActorId> = self.open.keys().copied().collect();
        actors.sort();
        let Decided { fates, due, monitors, requests, deferred, timers, unreadable, given_up } =
            decide(self, &actors, &self.reader.pending()?)?;
        unreadable.iter().for_each(|why| log::warn!("{why}"));
        for actor in given_up {
            log::warn!(
                "actor {actor} waited in a circle of requests: it is told that the outcome of its own is unknown"
            );
        }
        let mut found = InFlight { monitors, timers, ..InFlight::default() };
        found.deferred =
            deferred.iter().map(|Cause { actor, sequence }| ((*actor, *sequence), Reply::Nobody)).collect();
        // By waiting actor: the reply that goes with the delivery which the actor waits for.
        let mut waiting = HashMap::new();
        // By the event that asked: the reply that goes with the delivery of an asynchronous request.
        let mut asked = HashMap::new();
        for request in requests {
            self.ask_on(&mut found, &mut asked, request);
        }
        for (actor, (intent, fate)) in fates {
            match fate {
                Fate::Again => {}
                Fate::Answered(awaited) => _ = found.awaited.insert(actor, (awaited, None)),
                Fate::Await { on, through } => self.go_on_waiting(&mut found, &mut waiting, intent, (on, through)),
            }
        }
        for Due { to, lane, delivery, awaited_by, asked_by, .. } in due {
            let reply = awaited_by.and_then(|waiter| waiting.remove(&waiter));
            let reply = reply.or_else(|| asked.remove(&asked_by?)).unwrap_or(Reply::Nobody);
            found.owed.push((to, lane, Delivery { reply, ..delivery }));
        }
        Ok(found)
    }

    /// Lets the actor that recorded `intent` go on waiting for the actor `on`: for the `init` of a new child, until a
    /// restarted child is up, for the end of the transition that `on` has open, or for a delivery that `on` has not taken
    /// yet.
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
            if let Some(reply) = taken_before(found, reply, (on, through)) {
                waiting.insert(waiter, reply);
            }
            Awaited::Reply { to: on, reply: answer }
        };
        found.awaited.insert(waiter, (awaited, Some(wait)));
    }

    /// Opens an asynchronous request again: its answer is told of, or it is awaited, until its deadline.
    fn ask_on(&self, found: &mut InFlight, asked: &mut HashMap<Cause, Reply>, request: OpenRequest) {
        let OpenRequest { asker, token, to, within_ms, due, fate } = request;
        let to = self.async_requests.of(asker).open(token, to, within_ms, due);
        match fate {
            Fate::Await { on, through } => {
                if let Some(reply) = taken_before(found, Reply::Later { to }, (on, through)) {
                    asked.insert(Cause { actor: asker, sequence: token }, reply);
                }
            }
            fate => _ = decided(fate).map(|answer| to.give(answer)),
        }
    }
}

/// Gives a reply to the receiver that took the delivery before the crash, so that the sender cannot withdraw it any more.
/// Returns the reply of a delivery that is to be made again.
fn taken_before(found: &mut InFlight, reply: Reply, (on, through): (ActorId, Through)) -> Option<Reply> {
    match through {
        Through::Transition => {
            reply.claim();
            found.replies.insert(on, reply);
        }
        Through::Deferred(token) => {
            reply.claim();
            found.deferred.insert((on, token), reply);
        }
        Through::Delivery | Through::Init | Through::Restart => return Some(reply),
    }
    None
}
