//! A model test of promises: random interleavings of requests, sends, answers that come later, monitors, streams, deadlines, stops,
//! restarts, spawns and failures of two to five actors, with a crash at every prefix of the journal, and recovery. It checks that each promise has
//! exactly one fate. It uses no threads.
//!
//! The actors are a model (`runtime.rs`) that writes real events into real chains, in the order in which threads would
//! enqueue them, under the real graph of waits. `stored.rs` has what a prefix of the journal contains. The code under
//! test is the real decision, [`decide`](super::decide), and the protocol by which waits end. `THEATER_INTERLEAVINGS`
//! sets the number of runs, and `THEATER_SEED` the seed of the first:
//!
//! ```text
//! THEATER_INTERLEAVINGS=1000000 cargo test --locked --lib promise::model
//! ```

mod actors;
mod calls;
mod ends;
mod later;
mod runtime;
mod stored;

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::sync::Arc;

use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, HostCall, Intent};
use crate::chain::{ChainEvent, EventKind, Function, Link, StateChain};
use crate::journal::Cause;
use crate::promise::{
    DEFER, Decided, Fate, HANDLE_CHILD_EVENT, HANDLE_DOWN, HANDLE_REPLY, HANDLE_REQUEST, HANDLE_SEND,
    HANDLE_STREAM_CLOSED, HANDLE_STREAM_REQUEST, OpenMonitor, OpenRequest, REQUEST, RESTART_CHILD, SPAWN, STOP_CHILD,
    Through, is_what_was_answered, is_what_was_replied, is_what_was_sent, recorded_end,
};
use crate::system::{Answer, Awaited, Lane, Outcome, WaitId, Waits, Watches};
use actors::{AskedLater, At, Given, INIT, Mail, ModelActor, OpenCall, Work, words};
use runtime::ModelRuntime;
use stored::{ModelChain, ModelEntry, Stored};

/// A generator of pseudorandom numbers (SplitMix64).
#[derive(Clone, Debug)]
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("small")
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

impl ModelRuntime {
    fn new(rng: Rng, roots: usize, ends_waits_early: bool) -> Self {
        let mut runtime = Self::empty(rng, Vec::new(), ends_waits_early);
        runtime.roots = roots;
        runtime.begin_roots();
        runtime
    }

    /// Begins the roots that a manifest names and that have no chain yet.
    fn begin_roots(&mut self) {
        for root in 0..self.roots {
            let id = ActorId::of_child(ActorId::of_nobody(), root as u64);
            if self.actors.iter().all(|actor| actor.id != id) {
                let at = At::Begin { resumes: false, then: Box::new(At::InitDue) };
                self.actors.push(actor(id, None, StateChain::new(id), at));
            }
        }
    }

    fn empty(rng: Rng, journal: Vec<ModelEntry>, ends_waits_early: bool) -> Self {
        let (actors, replies) = (Vec::new(), Vec::new());
        let (waits, watches) = (Waits::default(), Watches::default());
        Self { rng, actors, replies, waits, watches, journal, ends_waits_early, budget: 0, roots: 0 }
    }
}

fn actor(id: ActorId, parent: Option<usize>, chain: StateChain, at: At) -> ModelActor {
    ModelActor {
        id,
        parent,
        chain,
        at,
        work: None,
        notices: VecDeque::new(),
        mail: VecDeque::new(),
        order: None,
        starters: Vec::new(),
        stoppers: Vec::new(),
        spawned_by: None,
        was_up: false,
        has_begun: false,
        ended: None,
        asked: Vec::new(),
        putting_off: None,
        deferred: BTreeMap::new(),
        streams: Vec::new(),
    }
}

/// The start after a crash: the same steps as in `theater/recovery.rs` and `theater/in_flight.rs`.
struct Recovery {
    runtime: ModelRuntime,
    stored: Stored,
    by_id: BTreeMap<ActorId, usize>,
    /// By actor: the reply that goes with the delivery which the actor waits for.
    waiting: BTreeMap<ActorId, usize>,
    /// By the event that asked: the reply that goes with the delivery.
    asked: BTreeMap<(ActorId, u64), usize>,
}

impl Recovery {
    fn run(crashed: ModelRuntime, mut stored: Stored, early: bool) -> (ModelRuntime, Stored) {
        let ModelRuntime { rng, mut journal, roots, .. } = crashed;
        for end in stored.ends() {
            stored.push(&end);
            journal.push(end);
        }
        let Decided { mut fates, due, monitors, requests, deferred, .. } = stored.decide(early);
        let mut order: Vec<ActorId> = stored.chains.keys().copied().collect();
        order.sort_by_key(|id| stored.chains[id].begun());
        let runtime = ModelRuntime::empty(rng, journal, early);
        let by_id = order.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let mut recovery = Self { runtime, stored, by_id, waiting: BTreeMap::new(), asked: BTreeMap::new() };
        order.iter().for_each(|id| recovery.bring_back(*id));
        for Cause { actor, sequence } in deferred {
            recovery.runtime.actors[recovery.by_id[&actor]].deferred.insert(sequence, None);
        }
        requests.into_iter().for_each(|request| recovery.ask_on(request));
        for id in &order {
            if let Some((intent, fate)) = fates.remove(id) {
                recovery.go_on(*id, intent, fate);
            }
        }
        for OpenMonitor { watcher, reference, watched, end } in monitors {
            recovery.runtime.watches.begin(watcher, reference, watched, end.map(Arc::new));
        }
        for due in due {
            let reply = due.awaited_by.and_then(|waiter| recovery.waiting.remove(&waiter));
            let asked = |by: Cause| recovery.asked.remove(&(by.actor, by.sequence));
            let reply = reply.or_else(|| due.asked_by.and_then(asked));
            let cause = due.delivery.cause.expect("a cause");
            let mail = Mail { function: due.delivery.function.full, params: due.delivery.params, cause, reply };
            let to = &mut recovery.runtime.actors[recovery.by_id[&due.to]];
            if due.lane == Lane::Notice { to.notices.push_back(mail) } else { to.mail.push_back(mail) }
        }
        assert!(recovery.waiting.is_empty() && recovery.asked.is_empty(), "whoever awaits a delivery is given it");
        recovery.runtime.roots = roots;
        recovery.runtime.begin_roots();
        (recovery.runtime, recovery.stored)
    }

    fn bring_back(&mut self, id: ActorId) {
        let chain = &self.stored.chains[&id];
        let parent = chain.parent.map(|parent| self.by_id[&parent]);
        let grown = StateChain::after(id, chain.head());
        let mut actor = actor(id, parent, grown, At::Ended);
        (actor.was_up, actor.has_begun) = (chain.was_up, chain.alive);
        actor.ended = if chain.alive { None } else { recorded_end(id, chain.last()).map(Arc::new) };
        if chain.alive {
            let open = chain.open();
            let up = if chain.was_up { At::Idle } else { At::InitDue };
            let then = if open.is_empty() { up } else { At::Working };
            let put_off = open.iter().find(|event| event.event_type == DEFER.host_call);
            actor.putting_off = put_off.map(|event| event.sequence);
            actor.work = open.first().map(|call| Work { function: function_of(call).full, reply: None });
            actor.at = At::Begin { resumes: !open.is_empty(), then: Box::new(then) };
        }
        self.runtime.actors.push(actor);
    }

    fn go_on(&mut self, id: ActorId, intent: Link, fate: Fate) {
        let at = self.by_id[&id];
        let event = self.stored.chains[&id].open_intent().expect("an open intent").clone();
        let function = function_of(&event);
        let then = match fate {
            Fate::Again => {
                let intended = Intent::from_cbor(&event.data).expect("an intent");
                let address = <(String,)>::from_cbor(&intended.params.0).map(|(address,)| address);
                let child = intended.to.or_else(|| address.ok()?.parse().ok()).unwrap_or(id);
                At::Again { function, intent, child }
            }
            Fate::Answered(awaited) => {
                let (result, answer) = words(given(awaited));
                // Nobody waits for it.
                let reply = self.reply(id, id);
                self.runtime.waits.end(self.wait_of(reply));
                At::Decided { open: OpenCall { function, intent, reply }, result, answer }
            }
            Fate::Await { on, through } => {
                let reply = self.reply(id, on);
                let other = &mut self.runtime.actors[self.by_id[&on]];
                match through {
                    Through::Init => {
                        other.starters.push(reply);
                        other.spawned_by = other.work.is_none().then(|| intent.clone());
                    }
                    Through::Restart => other.starters.push(reply),
                    Through::Transition => {
                        other.work.as_mut().expect("an open transition").reply = Some(reply);
                        self.runtime.replies[reply].claimed = true;
                    }
                    Through::Delivery => _ = self.waiting.insert(id, reply),
                    Through::Deferred(token) => {
                        other.deferred.insert(token, Some(reply));
                        self.runtime.replies[reply].claimed = true;
                    }
                }
                At::Awaiting(OpenCall { function, intent, reply })
            }
        };
        self.runtime.actors[at].at = At::Begin { resumes: true, then: Box::new(then) };
    }

    fn ask_on(&mut self, OpenRequest { asker, token, to, fate, .. }: OpenRequest) {
        let reply = self.runtime.new_later_reply(asker);
        self.runtime.actors[self.by_id[&asker]].asked.push(AskedLater { token, to, reply });
        match fate {
            Fate::Answered(awaited) => {
                let unknown = |why: String| Answer { outcome: Outcome::Refused(why), closing: None };
                let answer = match awaited {
                    Awaited::Answer { answer, .. } => answer,
                    Awaited::Unknown(why) => unknown(why),
                    other => unreachable!("no answer to a message: {other:?}"),
                };
                self.runtime.replies[reply].given = Some(Given::Answer(answer));
            }
            Fate::Await { on, through } => {
                let other = &mut self.runtime.actors[self.by_id[&on]];
                match through {
                    Through::Transition => other.work.as_mut().expect("an open transition").reply = Some(reply),
                    Through::Deferred(token) => _ = other.deferred.insert(token, Some(reply)),
                    Through::Delivery => _ = self.asked.insert((asker, token), reply),
                    Through::Init | Through::Restart => unreachable!("a message is awaited"),
                }
                self.runtime.replies[reply].claimed = through != Through::Delivery;
            }
            Fate::Again => unreachable!("what became of a message is decided"),
        }
    }

    fn reply(&mut self, from: ActorId, on: ActorId) -> usize {
        let wait = self.runtime.waits.begin_anyway(from, on);
        self.runtime.new_reply(wait)
    }

    fn wait_of(&self, reply: usize) -> WaitId {
        self.runtime.replies[reply].wait
    }
}

fn given(awaited: Awaited) -> Given {
    match awaited {
        Awaited::Answer { answer, .. } => Given::Answer(answer),
        Awaited::Spawned(over) => Given::Child(over),
        Awaited::Done(event) => Given::Changed(Some(event)),
        Awaited::Unknown(_) => Given::Unknown,
        Awaited::Reply { .. } | Awaited::Child(_) => unreachable!("what is decided holds no channel"),
    }
}

fn function_of(event: &ChainEvent) -> &'static Function {
    function_called(event.function())
}

/// The function with this full name.
fn function_called(name: &str) -> &'static Function {
    let all = [
        INIT,
        HANDLE_SEND,
        HANDLE_REQUEST,
        HANDLE_CHILD_EVENT,
        HANDLE_DOWN,
        HANDLE_REPLY,
        HANDLE_STREAM_REQUEST,
        HANDLE_STREAM_CLOSED,
        REQUEST,
        SPAWN,
        STOP_CHILD,
        RESTART_CHILD,
    ];
    all.into_iter().find(|function| function.full == name).expect("one of these")
}

/// One run: the model's runtime is started three times and crashes each time; then it runs until no step is left.
/// Returns how many circles were broken.
fn interleaving(seed: u64, early: bool) -> usize {
    let mut rng = Rng(seed);
    let (roots, mut broken) = (2 + rng.below(2), 0);
    let mut runtime = ModelRuntime::new(rng, roots, early);
    let mut stored = Stored::default();
    for life in 0..3 {
        let (begun, length) = (runtime.journal.len(), 20 + runtime.rng.below(100));
        runtime.budget = 4 + runtime.rng.below(16);
        // The events that recovery wrote are in both.
        let known = if life == 0 { 0 } else { begun };
        for _ in 0..length {
            runtime.step();
        }
        let crash = known + runtime.rng.below(runtime.journal.len() - known + 1);
        let mut at_crash = (crash == known).then(|| stored.clone());
        for (at, entry) in runtime.journal.iter().enumerate().skip(known) {
            if std::env::var_os("THEATER_TRACE").is_some() {
                let _ = writeln!(std::io::stderr(), "{at} {}", entry.told());
            }
            stored.push(entry);
            broken += start_at(&stored, early);
            if at + 1 == crash {
                at_crash = Some(stored.clone());
            }
        }
        runtime.journal.truncate(crash);
        let at_crash = at_crash.expect("the crash is at a prefix");
        (runtime, stored) = Recovery::run(runtime, at_crash, early);
    }
    let known = runtime.journal.len();
    runtime.budget = 0;
    while runtime.step() {}
    runtime.journal.iter().skip(known).for_each(|entry| stored.push(entry));
    check_at_rest(&runtime, &stored);
    quotes_are_right(&stored);
    broken
}

/// Decides as a start would, and returns how many circles it would break.
fn start_at(stored: &Stored, early: bool) -> usize {
    let ends = stored.ends();
    if ends.is_empty() {
        return stored.decide(early).given_up.len();
    }
    let mut ended = stored.clone();
    ends.iter().for_each(|end| ended.push(end));
    ended.decide(early).given_up.len()
}

fn check_at_rest(runtime: &ModelRuntime, stored: &Stored) {
    for actor in &runtime.actors {
        assert!(matches!(actor.at, At::Idle | At::Ended), "{actor:?} does nothing any more");
        assert!(actor.mail.is_empty() && actor.notices.is_empty(), "{actor:?} has mail");
        assert!(actor.asked.is_empty(), "{actor:?} was told of each answer");
        assert!(actor.starters.is_empty() && actor.stoppers.is_empty(), "somebody waits for {actor:?}");
    }
    assert!(runtime.waits.is_empty(), "no wait is leaked: {:?}", runtime.waits);
    stored.check_nothing_is_owed_but_ends_to_come();
    assert_eq!(start_at(stored, false), 0);
}

/// Checks that each quote agrees with the quoted event.
fn quotes_are_right(stored: &Stored) {
    let quoted = |link: &Link| {
        let event = &stored.chains[&link.actor].events[usize::try_from(link.sequence).expect("small")];
        assert_eq!(event.hash, link.hash, "the quoted event is there");
        event
    };
    for (actor, ModelChain { events, .. }) in &stored.chains {
        for event in events {
            match event.kind() {
                Some(EventKind::Call) => {
                    let call = Call::from_cbor(&event.data).expect("a call");
                    if event.function() == HANDLE_REPLY.full {
                        assert!(
                            is_what_was_replied(&call, call.cause.as_ref().map(quoted)),
                            "{event:?} tells what was given"
                        );
                        continue;
                    }
                    let right = |cause| is_what_was_sent(*actor, event, &call, quoted(cause));
                    assert!(call.cause.as_ref().is_none_or(right), "{event:?} took what was sent");
                    if event.event_type == HANDLE_STREAM_CLOSED.call {
                        let (id,) = <(u64,)>::from_cbor(&call.params.0).expect("an id");
                        let opened = &events[usize::try_from(id).expect("small")];
                        assert_eq!(
                            opened.event_type, HANDLE_STREAM_REQUEST.call,
                            "{event:?} names a stream by its call"
                        );
                    }
                }
                Some(EventKind::HostCall) => {
                    let host_call = HostCall::from_cbor(&event.data).expect("a host call");
                    let right = |answer| is_what_was_answered(event, &host_call, quoted(answer));
                    assert!(host_call.answer.as_ref().is_none_or(right), "{event:?} got what was answered");
                }
                _ => {}
            }
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Makes `runs` runs on all cores, and returns how many circles were broken.
fn run(runs: u64, early: bool) -> usize {
    let first = number("THEATER_SEED", 1);
    let broken = |seed: u64| {
        let caught = std::panic::catch_unwind(|| interleaving(seed, early));
        caught.unwrap_or_else(|_| panic!("interleaving {seed} goes wrong: THEATER_SEED={seed} THEATER_INTERLEAVINGS=1"))
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores)
            .map(|core| {
                scope.spawn(move || (core..runs).step_by(cores as usize).map(|run| broken(first + run)).sum::<usize>())
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no interleaving goes wrong")).sum()
    })
}

#[test]
fn in_random_interleavings_with_a_crash_at_every_prefix_each_promise_has_one_fate_and_no_wait_is_in_a_circle() {
    run(number("THEATER_INTERLEAVINGS", 2_000), false);
}

#[test]
fn journals_of_versions_that_ended_waits_too_early_have_circles_and_every_start_breaks_them() {
    let broken = run(number("THEATER_INTERLEAVINGS", 2_000), true);
    assert!(broken > 0, "the model finds what earlier versions wrote");
}
