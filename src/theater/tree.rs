//! The supervision tree as a plain value: inputs say what happened, and the tree returns the actions to be done. It
//! starts no thread and reads no clock.
//!
//! ```text
//!   Starting ── up ──▶ Up ── ordered ──▶ Ordered ──┐
//!       │               │                          ▼
//!       └── failed ─────┴── failed ─────────────▶ Down ── End ──▶ Ending ── ended ──▶ Dead
//!       ▲                                          │                                   │
//!       └──────────────── Restart ─────────────────┴────────────── Begin ──────────────┘
//! ```
//!
//! The semantics are those of OTP. When a whole group restarts, its running members are ended first, the newest first.
//! Then all members start again, the oldest first, each after the previous one is up. `restarts.rs` has what follows a
//! failure.
//!
//! An actor whose thread is gone (it panicked, or could not be started) has failed like any other actor. The actors
//! below it end with it or wait for its restart. Its policy decides about a restart, for which it gets another thread.
//! No actor lives below a dead one.

mod exchange;
mod restarts;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::base::id::ActorId;
use crate::base::rare::Rare;
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

/// What follows when the actor's incarnation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Goal {
    Run,
    Restart(RestartState),
    End { by: StoppedBy, cause: Option<Box<Link>> },
}

#[derive(Debug)]
struct Node {
    parent: Option<ActorId>,
    children: Vec<ActorId>,
    /// Shared with the actors that were added before, if it is the same.
    supervision: Arc<Supervision>,
    phase: Phase,
    goal: Goal,
    /// The actor has a thread. Between two incarnations, an actor either has a thread that waits, or has none and will
    /// get a new one.
    has_thread: bool,
    was_up: bool,
    /// The actor first begins with the state of another one, and without an `init`.
    is_fork: bool,
    /// The times at which the actor's children were restarted by policy. A root's own restarts count here too.
    restarts: Rare<VecDeque<u64>>,
    /// The times at which the actor itself was restarted by policy, within its parent's window. Its backoff doubles
    /// with each of them.
    own_restarts: Rare<VecDeque<u64>>,
    /// When the actor last failed because of its children, before the runtime was started.
    failed_by_children_at: Option<u64>,
    /// When the backoff before the actor's restart is over, by the tree's clock; none once it is over.
    due: Option<u64>,
    /// A restart that was asked for while the actor was starting or ending. It is done once the actor is up, or has
    /// ended.
    again: Option<Box<DelayedRestart>>,
    given_up: Option<GivenUp>,
    /// The actor was ordered to fail because of its children, and has not reported that yet. Until then no actor below
    /// it starts.
    failing: bool,
}

/// A restart that has to wait: who asked for it, and with which event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DelayedRestart {
    by: StoppedBy,
    cause: Option<Link>,
}

/// Siblings that restart together, the oldest first.
#[derive(Debug)]
struct Group {
    parent: Option<ActorId>,
    members: VecDeque<ActorId>,
    /// The first member is starting.
    first_is_starting: bool,
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Boxed, because a hash map keeps room for more than it holds.
    nodes: HashMap<ActorId, Box<Node>>,
    groups: Vec<Group>,
    /// The supervision of the actor that was added last.
    last_supervision: Option<Arc<Supervision>>,
    actions: Vec<Action>,
}

impl Tree {
    /// Applies an input that happened at `now`, and returns the actions that follow. `now` is in milliseconds, of any
    /// clock that runs steadily while the tree lives.
    pub(super) fn apply(&mut self, now: u64, input: Input) -> Vec<Action> {
        match input {
            Input::Spawned { id, parent, supervision, was_up } => {
                self.add(id, parent, supervision, (Phase::Starting, was_up));
            }
            Input::Listed { id, parent, supervision, was_up } => {
                self.add(id, parent, supervision, (Phase::Dead, was_up));
            }
            Input::Forked(id) => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.is_fork = true;
                }
            }
            Input::Upgraded { id, supervision } => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.supervision = Arc::new(supervision);
                }
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

    /// Whether every actor is dead.
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

    /// Whether an incarnation of the actor has ever been up.
    pub(super) fn was_up(&self, id: ActorId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.was_up)
    }

    /// Whether the actor began with the state of another one.
    pub(super) fn is_fork(&self, id: ActorId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.is_fork)
    }

    /// Whether the actor's thread was told to end, and no actor below it lives.
    pub(super) fn is_ending(&self, id: ActorId) -> bool {
        self.phase(id) == Phase::Ending
    }

    /// Whether the actor ends for good, or is being ended so.
    pub(super) fn is_to_end(&self, id: ActorId) -> bool {
        let ends = |node: &Node| node.phase != Phase::Dead && matches!(node.goal, Goal::End { .. });
        self.nodes.get(&id).is_some_and(|node| ends(node))
    }

    pub(super) fn is_dead(&self, id: ActorId) -> bool {
        self.phase(id) == Phase::Dead
    }

    /// Removes `id` and all actors below it, if all of them have ended; otherwise returns one that has not.
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
        let last = self.last_supervision.take().filter(|last| **last == supervision);
        let supervision = last.unwrap_or_else(|| Arc::new(supervision));
        self.last_supervision = Some(Arc::clone(&supervision));
        let node = Node {
            parent,
            children: Vec::new(),
            supervision,
            phase,
            goal: Goal::Run,
            has_thread: phase != Phase::Dead,
            was_up,
            is_fork: false,
            restarts: Rare::default(),
            own_restarts: Rare::default(),
            failed_by_children_at: None,
            due: None,
            again: None,
            given_up: None,
            failing: false,
        };
        self.nodes.insert(id, Box::new(node));
        if let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(&parent)) {
            parent.children.push(id);
        }
    }

    /// Takes over the failures from before the runtime was started, so that an actor which fails again and again uses
    /// up its restarts although the runtime ends in between. Parents come before their children.
    fn remember(&mut self, id: ActorId, Lately { failures, by_children_at }: &Lately) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.own_restarts = failures.iter().copied().collect::<VecDeque<_>>().into();
        node.failed_by_children_at = *by_children_at;
        let parent = node.parent;
        let Some(supervisor) = self.nodes.get_mut(&parent.unwrap_or(id)).filter(|_| !failures.is_empty()) else {
            return;
        };
        let since = supervisor.failed_by_children_at.filter(|_| parent.is_some());
        supervisor.restarts.extend(failures.iter().filter(|at| since.is_none_or(|since| **at > since)));
        supervisor.restarts.make_contiguous().sort_unstable();
        self.counted(parent.unwrap_or(id));
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
        self.order(id, OrderKind::Stop, Goal::End { by, cause: cause.clone().map(Box::new) }, by, cause);
        self.settle(id);
    }

    /// Orders all actors below `id` to end, the deepest first, and the newest first among siblings.
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

    /// Sets what follows the end of `id`, and orders its thread to end the incarnation if one is running.
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
            // These restarts are done later. Two cases lead here. A parent whose request for a restart was cut off by a
            // crash repeats it while the runtime is still starting the child. And a caller that has heard that an actor
            // failed or was stopped may ask before its end is complete.
            (Phase::Starting, _) | (Phase::Down | Phase::Ending, Goal::End { .. }) => {
                node.again.get_or_insert(Box::new(DelayedRestart { by, cause }));
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

    /// Starts the actor on a new thread; it has none.
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
        if let Some(DelayedRestart { by, cause }) = again.map(|again| *again) {
            self.restart(id, by, cause);
        }
        self.advance();
    }

    /// Handles the end of a thread. If nobody ordered it, the actors below end too.
    fn thread_ended(&mut self, id: ActorId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.has_thread = false;
        if matches!(node.phase, Phase::Ending | Phase::Dead) {
            return self.ended(id);
        }
        self.set_phase(id, Phase::Down);
        self.give_up(id, GivenUp::ThreadEnded);
    }

    /// Marks an actor as dead. No actor lives below it.
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
            // The actor's incarnation has ended, so the order to fail has nothing to do any more.
            node.failing = node.failing && !matches!(phase, Phase::Down | Phase::Ending | Phase::Dead);
        }
    }
}

impl Node {
    /// The state that the actor begins with when it is started again.
    fn restarts_from(&self) -> RestartState {
        match self.was_up {
            true => self.supervision.restart_state,
            // It has no other state than the one that it was given.
            false if self.is_fork => RestartState::Last,
            false => RestartState::Initial,
        }
    }
}

#[cfg(test)]
mod otp;
#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
