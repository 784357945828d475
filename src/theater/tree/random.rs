//! A test of the tree against threads that do anything at any time: they crash, panic, cannot be started, report late.
//! Timers run out late, and old timers run out too.
//!
//! Whatever happens, these rules hold: no actor restarts before its time; no actor lives below a dead one; no thread
//! gets a verdict that it does not wait for. And once nothing happens any more, every actor is up or dead, every
//! request is answered, and no group is left that never came up.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::time::Duration;

use super::*;
use crate::manifest::{RestartPolicy, Strategy};

/// A generator of pseudorandom numbers: the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Nowhere,
    Init,
    Work,
    Verdict,
}

/// An actor, as the supervisor knows it.
#[derive(Debug)]
struct Actor {
    parent: Option<usize>,
    at: At,
    order: Option<OrderKind>,
    /// Reports that are sent and not received yet.
    reports: VecDeque<Input>,
    due: Option<u64>,
    stops: usize,
    restarts: usize,
}

impl Actor {
    /// Whether the supervisor believes that the actor's thread waits for a verdict. The thread may have died in the
    /// meantime.
    fn hears_a_verdict(&self) -> bool {
        let has_died = self.reports.iter().any(|report| matches!(report, Input::Died(_)));
        assert!(self.at == At::Verdict || has_died, "it does not wait for a verdict");
        self.at == At::Verdict
    }
}

struct World {
    tree: Tree,
    now: u64,
    dice: Dice,
    ids: Vec<ActorId>,
    actors: BTreeMap<ActorId, Actor>,
    timers: Vec<(u64, ActorId)>,
    /// Whether the system refuses to start threads at the moment.
    scarce: bool,
    inputs: VecDeque<Input>,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            tree: Tree::default(),
            now: 1_000,
            dice: Dice(seed),
            ids: Vec::new(),
            actors: BTreeMap::new(),
            timers: Vec::new(),
            scarce: false,
            inputs: VecDeque::new(),
            trace: vec![format!("seed {seed}")],
        };
        world.scarce = world.dice.below(2) == 0;
        world.spawn(None);
        world
    }

    fn spawn(&mut self, parent: Option<usize>) {
        let supervision = Supervision {
            restart: self.dice.one(&[
                RestartPolicy::Temporary,
                RestartPolicy::Transient,
                RestartPolicy::Permanent,
                RestartPolicy::Permanent,
            ]),
            restart_state: self.dice.one(&[RestartState::Last, RestartState::Initial]),
            backoff: Duration::from_millis(self.dice.one(&[0, 10, 100, 1_000])),
            strategy: self.dice.one(&[Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]),
            max_restarts: self.dice.one(&[0, 1, 3, 100, 100]),
            within: Duration::from_millis(self.dice.one(&[100, 5_000])),
        };
        let id = ActorId::random();
        let actor =
            Actor { parent, at: At::Nowhere, order: None, reports: VecDeque::new(), due: None, stops: 0, restarts: 0 };
        self.ids.push(id);
        self.actors.insert(id, actor);
        let parent = parent.map(|parent| self.ids[parent]);
        self.apply(Input::Spawned { id, parent, supervision, was_up: false });
        self.thread(id);
    }

    fn actor(&mut self, id: ActorId) -> &mut Actor {
        self.actors.get_mut(&id).expect("an actor")
    }

    fn thread(&mut self, id: ActorId) {
        assert_eq!(self.actor(id).at, At::Nowhere, "a second thread for one actor");
        if self.scarce && self.dice.below(5) == 0 {
            return self.apply(Input::Died(id));
        }
        let actor = self.actor(id);
        (actor.at, actor.order) = (At::Init, None);
    }

    /// All actions of one input are carried out before the next input.
    fn apply(&mut self, input: Input) {
        self.inputs.push_back(input);
        if self.inputs.len() > 1 {
            return;
        }
        while let Some(input) = self.inputs.front().cloned() {
            let ended = match &input {
                Input::Ended(id) => Some(*id),
                _ => None,
            };
            let actions = self.tree.apply(self.now, input.clone());
            self.trace.push(format!("{} {input:?} -> {actions:?}", self.now));
            actions.into_iter().for_each(|action| self.carry_out(action));
            if let Some(id) = ended {
                self.end_thread(id);
            }
            self.nothing_lives_below_the_dead();
            self.inputs.pop_front();
        }
    }

    fn carry_out(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::Order { id, kind, .. } => _ = self.actor(id).order.get_or_insert(kind),
            Action::Restart { id, .. } => {
                let actor = self.actor(id);
                assert!(actor.due.take().is_none_or(|due| due <= now), "restarted early");
                actor.restarts = 0;
                if actor.hears_a_verdict() {
                    (actor.at, actor.order) = (At::Init, None);
                }
            }
            Action::End { id, .. } => {
                let actor = self.actor(id);
                actor.due = None;
                if actor.hears_a_verdict() {
                    actor.at = At::Nowhere;
                    actor.reports.push_back(Input::Ended(id));
                }
            }
            Action::Begin { id, .. } => {
                let actor = self.actor(id);
                assert!(actor.due.take().is_none_or(|due| due <= now), "begun early");
                actor.restarts = 0;
                self.thread(id);
            }
            Action::Timer { id, at, .. } => {
                self.actor(id).due = Some(at);
                self.timers.push((at, id));
            }
            Action::Gone(id) => {
                assert_eq!(self.actor(id).at, At::Nowhere);
                self.actor(id).due = None;
                self.end_thread(id);
            }
            Action::AlreadyStopped(id) => {
                assert!(self.tree.phase(id) == Phase::Dead);
                self.actor(id).stops = 0;
            }
            Action::NotRestarted { id, .. } => {
                let actor = self.actor(id);
                actor.restarts = actor.restarts.saturating_sub(1);
            }
            Action::GaveUp { .. } | Action::Counted { .. } => {}
        }
    }

    fn end_thread(&mut self, id: ActorId) {
        if self.tree.phase(id) == Phase::Dead {
            let actor = self.actor(id);
            (actor.due, actor.restarts) = (None, 0);
        }
        self.actor(id).stops = 0;
    }

    fn nothing_lives_below_the_dead(&self) {
        for actor in self.actors.iter().filter(|(id, _)| self.tree.phase(**id) != Phase::Dead) {
            let parent = actor.1.parent.map(|parent| self.ids[parent]);
            assert!(parent.is_none_or(|parent| self.tree.phase(parent) != Phase::Dead), "{:?} lives on", actor.0);
        }
    }

    /// Lets one thread take a step; if `in_order`, the step that a thread without failures takes.
    fn act(&mut self, id: ActorId, in_order: bool) {
        let chance = if in_order { 0 } else { self.dice.below(40) };
        let actor = self.actor(id);
        let (at, order) = (actor.at, actor.order);
        let (next, report) = match (at, order, chance) {
            (At::Nowhere, ..) => return,
            (_, _, 39) => (At::Nowhere, Input::Died(id)),
            (At::Verdict, ..) => return,
            // For example, its journal cannot be read.
            (_, _, 38) => (At::Nowhere, Input::Ended(id)),
            (_, Some(OrderKind::Fail), 0..20) => (At::Verdict, Input::Failed(id)),
            (_, Some(_), 0..20) => (At::Verdict, Input::Down(id)),
            (_, _, 33..38) => (At::Verdict, Input::Failed(id)),
            (At::Init, ..) => (At::Work, Input::Up(id)),
            (At::Work, ..) => return,
        };
        actor.at = next;
        actor.reports.push_back(report);
    }

    fn hear(&mut self, id: ActorId) {
        if let Some(report) = self.actor(id).reports.pop_front() {
            self.apply(report);
        }
    }

    fn ring(&mut self, at: usize) {
        let (when, id) = self.timers.swap_remove(at);
        self.now = self.now.max(when);
        self.apply(Input::Timer(id));
    }

    fn something_happens(&mut self) {
        self.now += self.dice.one(&[0, 1, 5, 50]);
        let at = self.dice.below(self.ids.len());
        let id = self.ids[at];
        let by = StoppedBy::Operator;
        match self.dice.below(20) {
            0..7 => self.act(id, false),
            7..14 => self.hear(id),
            14 | 15 => {
                let due: Vec<usize> =
                    (0..self.timers.len()).filter(|at| self.timers[*at].0 <= self.now + 200).collect();
                if !due.is_empty() {
                    let at = self.dice.one(&due);
                    self.ring(at);
                }
            }
            16 => self.apply(Input::Timer(id)),
            // A few actors have many children, which restart in groups.
            17 if self.ids.len() < 10 && self.tree.takes_children(self.ids[at / 3]) => self.spawn(Some(at / 3)),
            18 => {
                self.actor(id).stops += 1;
                self.apply(Input::Stop { id, by, cause: None });
            }
            19 => {
                self.actor(id).restarts += 1;
                self.apply(Input::Restart { id, by, cause: None });
            }
            _ => {}
        }
    }

    /// From here on everything goes well. Runs until nothing is left to happen.
    fn comes_to_rest(&mut self) {
        self.scarce = false;
        loop {
            let before = self.trace.len();
            for id in self.ids.clone() {
                self.act(id, true);
                while !self.actor(id).reports.is_empty() {
                    self.hear(id);
                }
            }
            if self.trace.len() == before {
                let first = (0..self.timers.len()).min_by_key(|at| self.timers[*at].0);
                match first {
                    Some(at) => self.ring(at),
                    None => break,
                }
            }
        }
        assert!(self.tree.groups.iter().all(|group| group.members.is_empty()), "a group never came up");
        for (id, actor) in &self.actors {
            let expected = if actor.at == At::Work { Phase::Up } else { Phase::Dead };
            assert_eq!(self.tree.phase(*id), expected, "{id} is {:?}", actor.at);
            assert_eq!((actor.stops, actor.restarts), (0, 0), "{id}: whoever waits is never answered");
        }
    }

    fn a_stop_ends_all_below(&mut self) {
        let root = self.ids[0];
        self.actor(root).stops += 1;
        self.apply(Input::Stop { id: root, by: StoppedBy::Operator, cause: None });
        self.comes_to_rest();
        assert!(self.tree.is_quiet(), "a stop has left something");
        assert_eq!(self.tree.forget(root).map(|gone| gone.len()), Ok(self.ids.len()), "one was lost");
    }
}

#[test]
fn whatever_threads_and_timers_do_nothing_restarts_early_and_nothing_lives_below_the_dead() {
    for seed in 0..4_000 {
        let mut world = World::new(seed);
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..400 {
                world.something_happens();
            }
            world.comes_to_rest();
            world.a_stop_ends_all_below();
        }));
        if let Err(panic) = done {
            let _ = writeln!(std::io::stderr(), "{}", world.trace.join("\n"));
            std::panic::resume_unwind(panic);
        }
    }
}
