//! The supervision tree as a plain value: what happened goes in, what is to be done comes out.
//!
//! ```text
//!   Starting ── up ──▶ Up ── ordered ──▶ Ordered ──┐
//!       │               │                          ▼
//!       └── failed ─────┴── failed ─────────────▶ Down ── End ──▶ Ending ── ended ──▶ Dead
//!       ▲                                          │                                   │
//!       └──────────────── Restart ─────────────────┴────────────── Begin ──────────────┘
//! ```
//!
//! The semantics are OTP's. Where a whole group restarts, those of it that run are ended newest first, and all start
//! again oldest first, each after the one before is up. `restarts.rs` has what follows a failure.
//!
//! An actor whose thread is gone (it panicked, or could not be started) has failed like any other: what is below it ends
//! or waits with it, its policy decides, and where it is to run again it is begun on another thread. Nothing lives below
//! an actor that is dead.

mod exchange;
mod restarts;

use std::collections::{HashMap, VecDeque};

use crate::base::id::ActorId;
use crate::chain::Link;
use crate::chain::data::StoppedBy;
use crate::manifest::{RestartState, Supervision};
use crate::system::OrderKind;
pub(super) use exchange::{Action, Count, GivenUp, Input, Lately};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Up,
    Ordered,
    Down,
    Ending,
    Dead,
}

/// What its next end leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Goal {
    Run,
    Restart(RestartState),
    End { by: StoppedBy, cause: Option<Link> },
}

#[derive(Debug)]
struct Node {
    parent: Option<ActorId>,
    children: Vec<ActorId>,
    supervision: Supervision,
    phase: Phase,
    goal: Goal,
    /// A thread is behind it. Between two incarnations that thread waits, or there is none and one is to be begun.
    has_thread: bool,
    was_up: bool,
    /// When its children were restarted by policy; a root's own restarts count here too.
    restarts: VecDeque<u64>,
    /// When it was itself restarted by policy, within its parent's window: what its backoff doubles with.
    own_restarts: VecDeque<u64>,
    /// When it last failed because of its children, before the runtime was started.
    failed_by_children_at: Option<u64>,
    /// The backoff before its restart has not passed: when it will have, by the tree's clock.
    due: Option<u64>,
    /// It was asked to restart while it was starting or ending: it does so once it is up, or once it has ended.
    again: Option<Again>,
    given_up: Option<GivenUp>,
    /// It was told to fail because of its children, and has not said so yet: nothing below it starts meanwhile.
    failing: bool,
}

/// A restart that waits for its time: who asked for it, and with which event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Again {
    by: StoppedBy,
    cause: Option<Link>,
}

/// Siblings that restart together, oldest first.
#[derive(Debug)]
struct Group {
    parent: Option<ActorId>,
    members: VecDeque<ActorId>,
    /// The first of them is on its way up.
    first_is_starting: bool,
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: HashMap<ActorId, Node>,
    groups: Vec<Group>,
    actions: Vec<Action>,
}

impl Tree {
    /// Takes in what happened at `now` (milliseconds, of any one clock that is steady while the tree lives).
    pub(super) fn apply(&mut self, now: u64, input: Input) -> Vec<Action> {
        match input {
            Input::Spawned { id, parent, supervision, was_up } => {
                self.add(id, parent, supervision, (Phase::Starting, was_up));
            }
            Input::Listed { id, parent, supervision, was_up } => {
                self.add(id, parent, supervision, (Phase::Dead, was_up));
            }
            Input::Remembered { id, lately } => self.remember(id, &lately),
            Input::Stop { id, by, cause } => self.stop(id, by, cause),
            Input::Restart { id, by, cause } => self.restart(id, by, cause),
            Input::Up(id) => self.up(id),
            Input::Failed(id) => self.failed(now, id),
            Input::Down(id) => {
                self.set_phase(id, Phase::Down);
                self.settle(id);
            }
            Input::Ended(id) => self.thread_ended(id),
            Input::Died(id) => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.has_thread = false;
                }
                self.failed(now, id);
            }
            Input::Timer(id) => self.rang(now, id),
        }
        std::mem::take(&mut self.actions)
    }

    /// Whether no actor has a thread any more.
    #[cfg(test)]
    fn is_quiet(&self) -> bool {
        self.nodes.values().all(|node| node.phase == Phase::Dead)
    }

    /// Whether a child may be added below `id`.
    pub(super) fn takes_children(&self, id: ActorId) -> bool {
        self.nodes.get(&id).is_some_and(|node| {
            matches!(node.phase, Phase::Starting | Phase::Up) && !matches!(node.goal, Goal::End { .. })
        })
    }

    /// Whether its thread was told to end, and nothing below it lives.
    pub(super) fn is_ending(&self, id: ActorId) -> bool {
        self.phase(id) == Phase::Ending
    }

    pub(super) fn is_dead(&self, id: ActorId) -> bool {
        self.phase(id) == Phase::Dead
    }

    /// Takes `id` and all below it out, if all have ended; otherwise one that has not.
    pub(super) fn forget(&mut self, id: ActorId) -> Result<Vec<ActorId>, ActorId> {
        let mut all = vec![id];
        let mut at = 0;
        while let Some(one) = all.get(at).copied() {
            if self.phase(one) != Phase::Dead {
                return Err(one);
            }
            all.extend(self.children(one));
            at += 1;
        }
        if let Some(parent) = self.nodes.get(&id).and_then(|node| node.parent) {
            self.nodes.get_mut(&parent).expect("a parent outlives its children").children.retain(|child| *child != id);
        }
        all.iter().for_each(|one| _ = self.nodes.remove(one));
        Ok(all)
    }

    fn add(&mut self, id: ActorId, parent: Option<ActorId>, supervision: Supervision, (phase, was_up): (Phase, bool)) {
        let node = Node {
            parent,
            children: Vec::new(),
            supervision,
            phase,
            goal: Goal::Run,
            has_thread: phase != Phase::Dead,
            was_up,
            restarts: VecDeque::new(),
            own_restarts: VecDeque::new(),
            failed_by_children_at: None,
            due: None,
            again: None,
            given_up: None,
            failing: false,
        };
        self.nodes.insert(id, node);
        if let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(&parent)) {
            parent.children.push(id);
        }
    }

    /// A runtime that ends forgets nothing by it: an actor that fails again and again uses up its restarts all the same.
    /// Parents come before their children.
    fn remember(&mut self, id: ActorId, Lately { failures, by_children_at }: &Lately) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.own_restarts = failures.iter().copied().collect();
        node.failed_by_children_at = *by_children_at;
        let parent = node.parent;
        let Some(supervisor) = self.nodes.get_mut(&parent.unwrap_or(id)) else { return };
        let since = supervisor.failed_by_children_at.filter(|_| parent.is_some());
        supervisor.restarts.extend(failures.iter().filter(|at| since.is_none_or(|since| **at > since)));
        supervisor.restarts.make_contiguous().sort_unstable();
        if !failures.is_empty() {
            self.counted(parent.unwrap_or(id));
        }
    }

    fn stop(&mut self, id: ActorId, by: StoppedBy, cause: Option<Link>) {
        if self.phase(id) == Phase::Dead {
            self.actions.push(Action::AlreadyStopped(id));
            return;
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.again = None;
        }
        self.end_children(id);
        self.order(id, OrderKind::Stop, Goal::End { by, cause: cause.clone() }, by, cause);
        self.settle(id);
    }

    /// Orders everything below `id` to end, newest first, deepest first.
    fn end_children(&mut self, id: ActorId) {
        for child in self.children(id).into_iter().rev() {
            if self.phase(child) == Phase::Dead || matches!(self.nodes[&child].goal, Goal::End { .. }) {
                continue;
            }
            self.end_children(child);
            let by = StoppedBy::Supervisor;
            self.order(child, OrderKind::Stop, Goal::End { by, cause: None }, by, None);
            self.settle(child);
        }
    }

    /// Sets what is to become of `id`, and tells its thread if that is running a guest.
    fn order(&mut self, id: ActorId, kind: OrderKind, goal: Goal, by: StoppedBy, cause: Option<Link>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let waited = node.phase == Phase::Down && matches!(node.goal, Goal::Restart(_));
        if waited && matches!(goal, Goal::End { .. }) {
            node.given_up = Some(GivenUp::Stopped);
            self.actions.push(Action::GaveUp { id, why: GivenUp::Stopped });
        }
        node.goal = goal;
        if matches!(node.phase, Phase::Starting | Phase::Up) {
            node.phase = Phase::Ordered;
            self.actions.push(Action::Order { id, kind, by, cause });
        }
    }

    fn restart(&mut self, id: ActorId, by: StoppedBy, cause: Option<Link>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let (from, parent) = (node.restarts_from(), node.parent);
        let why = match (node.phase, &node.goal) {
            (Phase::Dead, _) => return self.begin_if_parent_runs(id),
            (Phase::Up, _) => {
                self.order(id, OrderKind::Cycle, Goal::Restart(from), by, cause);
                self.groups.push(Group { parent, members: [id].into(), first_is_starting: false });
                if from == RestartState::Initial {
                    self.end_children(id);
                }
                return;
            }
            // A restart that a crash cut off is asked for anew while the runtime is still starting the actor. And whoever
            // has heard that it failed, or was stopped, may ask before all of it is over.
            (Phase::Starting, _) | (Phase::Down | Phase::Ending, Goal::End { .. }) => {
                node.again.get_or_insert(Again { by, cause });
                return;
            }
            (Phase::Ordered, Goal::End { .. }) => "it is ending: it was asked to stop",
            (Phase::Ordered | Phase::Down | Phase::Ending, _) => "it is being restarted already",
        };
        self.actions.push(Action::NotRestarted { id, why });
    }

    fn begin_if_parent_runs(&mut self, id: ActorId) {
        let node = &self.nodes[&id];
        if node.parent.is_some_and(|parent| !self.takes_children(parent)) {
            return self.actions.push(Action::NotRestarted { id, why: "its parent is not running" });
        }
        self.begin(id, node.restarts_from());
    }

    /// On a thread of its own, as it has none.
    fn begin(&mut self, id: ActorId, from: RestartState) {
        let node = self.nodes.get_mut(&id).expect("the caller has looked");
        (node.phase, node.goal, node.has_thread) = (Phase::Starting, Goal::Run, true);
        (node.due, node.given_up, node.again) = (None, None, None);
        self.actions.push(Action::Begin { id, from });
    }

    fn up(&mut self, id: ActorId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.was_up = true;
        let mut again = None;
        if node.phase == Phase::Starting {
            node.phase = Phase::Up;
            again = node.again.take();
        }
        for group in &mut self.groups {
            if group.first_is_starting && group.members.front() == Some(&id) {
                group.members.pop_front();
                group.first_is_starting = false;
            }
        }
        if let Some(Again { by, cause }) = again {
            self.restart(id, by, cause);
        }
        self.advance();
    }

    /// A thread that ends without having been told to ends what is below its actor, too.
    fn thread_ended(&mut self, id: ActorId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.has_thread = false;
        if matches!(node.phase, Phase::Ending | Phase::Dead) {
            return self.ended(id);
        }
        self.set_phase(id, Phase::Down);
        self.give_up(id, GivenUp::ThreadEnded);
    }

    /// It is over, and nothing lives below it.
    fn ended(&mut self, id: ActorId) {
        self.set_phase(id, Phase::Dead);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        (node.goal, node.due) = (Goal::Run, None);
        let (parent, again) = (node.parent, std::mem::take(&mut node.again));
        for group in &mut self.groups {
            if group.members.front() == Some(&id) {
                group.first_is_starting = false;
            }
            group.members.retain(|member| *member != id);
        }
        if again.is_some() {
            self.begin_if_parent_runs(id);
        }
        if let Some(parent) = parent {
            self.settle(parent);
        }
        self.advance();
    }

    fn has_living_children(&self, id: ActorId) -> bool {
        self.nodes[&id].children.iter().any(|child| self.phase(*child) != Phase::Dead)
    }

    fn children(&self, id: ActorId) -> Vec<ActorId> {
        self.nodes.get(&id).map(|node| node.children.clone()).unwrap_or_default()
    }

    fn phase(&self, id: ActorId) -> Phase {
        self.nodes.get(&id).map_or(Phase::Dead, |node| node.phase)
    }

    fn set_phase(&mut self, id: ActorId, phase: Phase) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.phase = phase;
            // Whatever it was told, it has ended now: it fails no more.
            node.failing = node.failing && !matches!(phase, Phase::Down | Phase::Ending | Phase::Dead);
        }
    }
}

impl Node {
    /// What it begins with when it is started again.
    fn restarts_from(&self) -> RestartState {
        if self.was_up { self.supervision.restart_state } else { RestartState::Initial }
    }
}

#[cfg(test)]
mod otp;
#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
