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
//! again oldest first, each after the one before is up.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::base::id::ActorId;
use crate::chain::Link;
use crate::chain::data::StoppedBy;
use crate::manifest::{RestartPolicy, RestartState, Strategy, Supervision};
use crate::system::OrderKind;

/// A restart never waits longer than this.
const BACKOFF_CEILING: Duration = Duration::from_secs(30);

/// What happened.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// An actor has a thread; `was_up` where an earlier incarnation of it was.
    Spawned {
        id: ActorId,
        parent: Option<ActorId>,
        supervision: Supervision,
        was_up: bool,
    },
    /// An actor from before, which does not run.
    Listed {
        id: ActorId,
        parent: Option<ActorId>,
        supervision: Supervision,
        was_up: bool,
    },
    /// How an actor from before has failed lately.
    Remembered {
        id: ActorId,
        lately: Lately,
    },
    Stop {
        id: ActorId,
        by: StoppedBy,
        cause: Option<Link>,
    },
    Restart {
        id: ActorId,
        by: StoppedBy,
        cause: Option<Link>,
    },
    Up(ActorId),
    Failed {
        id: ActorId,
        by_init: bool,
    },
    Down(ActorId),
    Ended(ActorId),
    Timer(ActorId),
}

/// How an actor has failed before the runtime was started.
#[derive(Clone, Debug, Default)]
pub(super) struct Lately {
    /// When it was restarted for that by policy, oldest first.
    pub(super) failures: Vec<u64>,
    /// When it failed because of its children: what led to that is done with.
    pub(super) by_children_at: Option<u64>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Give its thread an order.
    Order { id: ActorId, kind: OrderKind, by: StoppedBy, cause: Option<Link> },
    /// Have its thread, which waits, begin another incarnation.
    Restart { id: ActorId, from: RestartState },
    /// Have its thread, which waits, end.
    End { id: ActorId, by: StoppedBy, cause: Option<Link> },
    /// Start a thread for an actor that has none.
    Begin { id: ActorId, from: RestartState },
    /// Say `Timer` again after this long.
    Timer { id: ActorId, after: Duration },
    /// It was stopped already.
    AlreadyStopped(ActorId),
    /// It cannot be restarted now.
    NotRestarted { id: ActorId, why: &'static str },
}

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
    was_up: bool,
    /// When its children were restarted by policy; a root's own restarts count here too.
    restarts: VecDeque<u64>,
    /// When it was itself restarted by policy, within its parent's window: what its backoff doubles with.
    own_restarts: VecDeque<u64>,
    /// When it last failed because of its children, before the runtime was started.
    failed_by_children_at: Option<u64>,
    /// The backoff before its restart has not passed.
    backing_off: bool,
    /// It was told to fail because of its children, and has not said so yet: nothing below it starts meanwhile.
    failing: bool,
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
            Input::Failed { id, by_init } => self.failed(now, id, by_init),
            Input::Down(id) => {
                self.set_phase(id, Phase::Down);
                self.settle(id);
            }
            Input::Ended(id) => self.ended(id),
            Input::Timer(id) => {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.backing_off = false;
                }
                self.settle(id);
            }
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
            was_up,
            restarts: VecDeque::new(),
            own_restarts: VecDeque::new(),
            failed_by_children_at: None,
            backing_off: false,
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
    }

    fn stop(&mut self, id: ActorId, by: StoppedBy, cause: Option<Link>) {
        if self.phase(id) == Phase::Dead {
            self.actions.push(Action::AlreadyStopped(id));
            return;
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
        node.goal = goal;
        node.backing_off = false;
        if matches!(node.phase, Phase::Starting | Phase::Up) {
            node.phase = Phase::Ordered;
            self.actions.push(Action::Order { id, kind, by, cause });
        }
    }

    fn restart(&mut self, id: ActorId, by: StoppedBy, cause: Option<Link>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let from = if node.was_up { node.supervision.restart_state } else { RestartState::Initial };
        let parent = node.parent;
        match node.phase {
            Phase::Dead => {
                if parent.is_some_and(|parent| !self.takes_children(parent)) {
                    self.actions.push(Action::NotRestarted { id, why: "its parent is not running" });
                    return;
                }
                self.begin(id, from);
            }
            Phase::Up => {
                self.order(id, OrderKind::Cycle, Goal::Restart(from), by, cause);
                self.groups.push(Group { parent, members: [id].into(), first_is_starting: false });
                if from == RestartState::Initial {
                    self.end_children(id);
                }
            }
            Phase::Starting | Phase::Ordered | Phase::Down | Phase::Ending => {
                self.actions.push(Action::NotRestarted { id, why: "it is starting or ending already" });
            }
        }
    }

    fn begin(&mut self, id: ActorId, from: RestartState) {
        let node = self.nodes.get_mut(&id).expect("the caller has looked");
        (node.phase, node.goal) = (Phase::Starting, Goal::Run);
        self.actions.push(Action::Begin { id, from });
    }

    fn up(&mut self, id: ActorId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.was_up = true;
        if node.phase == Phase::Starting {
            node.phase = Phase::Up;
        }
        for group in &mut self.groups {
            if group.first_is_starting && group.members.front() == Some(&id) {
                group.members.pop_front();
                group.first_is_starting = false;
            }
        }
        self.advance();
    }

    fn failed(&mut self, now: u64, id: ActorId, by_init: bool) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let goal_was_to_run = node.goal == Goal::Run;
        (node.phase, node.failing) = (Phase::Down, false);
        for group in self.groups.iter_mut().filter(|group| group.members.front() == Some(&id)) {
            group.first_is_starting = false;
        }
        let node = &self.nodes[&id];
        let policy = node.supervision.restart;
        if !goal_was_to_run {
            self.settle(id);
        } else if policy == RestartPolicy::Temporary || (by_init && !node.was_up) || self.parent_is_failing(id) {
            self.give_up(id);
        } else {
            self.restart_by_policy(now, id);
        }
    }

    /// It is not restarted: what is below it ends first.
    fn give_up(&mut self, id: ActorId) {
        let node = self.nodes.get_mut(&id).expect("the caller has looked");
        node.goal = Goal::End { by: StoppedBy::Supervisor, cause: None };
        self.end_children(id);
        self.settle(id);
    }

    fn restart_by_policy(&mut self, now: u64, id: ActorId) {
        let parent = self.nodes[&id].parent;
        // A root is its own supervisor: there is nobody above to fail.
        let supervisor = self.nodes.get_mut(&parent.unwrap_or(id)).expect("a parent outlives its children");
        let within = u64::try_from(supervision_within(supervisor)).unwrap_or(u64::MAX);
        supervisor.restarts.retain(|at| now.saturating_sub(*at) <= within);
        supervisor.restarts.push_back(now);
        let count = supervisor.restarts.len();
        if count > supervisor.supervision.max_restarts as usize {
            self.give_up(id);
            if let Some(parent) = parent {
                self.fail_parent(parent);
            }
            return;
        }
        let strategy = if parent.is_some() { supervisor.supervision.strategy } else { Strategy::OneForOne };
        let own = &mut self.nodes.get_mut(&id).expect("the caller has looked").own_restarts;
        own.retain(|at| now.saturating_sub(*at) <= within);
        own.push_back(now);
        let count = own.len();
        self.restart_group(id, parent, strategy, count);
    }

    fn fail_parent(&mut self, parent: ActorId) {
        let node = self.nodes.get_mut(&parent).expect("a parent outlives its children");
        // Its thread reports a failure of its own, and its own supervisor's policy follows.
        if matches!(node.phase, Phase::Starting | Phase::Up) && !node.failing {
            node.restarts.clear();
            node.failing = true;
            let (kind, by) = (OrderKind::Fail, StoppedBy::Supervisor);
            self.actions.push(Action::Order { id: parent, kind, by, cause: None });
        }
    }

    fn parent_is_failing(&self, id: ActorId) -> bool {
        let parent = self.nodes[&id].parent.and_then(|parent| self.nodes.get(&parent));
        parent.is_some_and(|parent| parent.failing)
    }

    fn restart_group(&mut self, id: ActorId, parent: Option<ActorId>, strategy: Strategy, count: usize) {
        let members = self.members(id, parent, strategy);
        for sibling in members.iter().rev().filter(|sibling| **sibling != id) {
            self.end_for_group(*sibling);
        }
        let node = self.nodes.get_mut(&id).expect("the caller has looked");
        let from = node.supervision.restart_state;
        node.goal = Goal::Restart(from);
        node.backing_off = true;
        let doubled = node.supervision.backoff.saturating_mul(1 << (count - 1).min(20));
        self.actions.push(Action::Timer { id, after: doubled.min(BACKOFF_CEILING) });
        if from == RestartState::Initial {
            self.end_children(id);
        }
        let members: VecDeque<ActorId> =
            members.into_iter().filter(|member| matches!(self.nodes[member].goal, Goal::Restart(_))).collect();
        // A new group of the same siblings takes the place of the one before.
        self.groups.retain(|group| group.parent != parent || !group.members.iter().any(|id| members.contains(id)));
        self.groups.push(Group { parent, members, first_is_starting: false });
    }

    /// Who restarts with `id`, oldest first.
    fn members(&self, id: ActorId, parent: Option<ActorId>, strategy: Strategy) -> Vec<ActorId> {
        let siblings = parent.map_or_else(|| vec![id], |parent| self.children(parent));
        let living = siblings.into_iter().filter(|sibling| self.phase(*sibling) != Phase::Dead);
        match strategy {
            Strategy::OneForOne => vec![id],
            Strategy::OneForAll => living.collect(),
            Strategy::RestForOne => living.skip_while(|sibling| *sibling != id).collect(),
        }
    }

    /// A sibling goes down with the group: to come back, unless it is temporary or was to end anyway.
    fn end_for_group(&mut self, sibling: ActorId) {
        let node = &self.nodes[&sibling];
        let (policy, from) = (node.supervision.restart, node.supervision.restart_state);
        if matches!(node.goal, Goal::End { .. }) {
            return;
        }
        let by = StoppedBy::Supervisor;
        if policy == RestartPolicy::Temporary {
            self.stop(sibling, by, None);
            return;
        }
        if from == RestartState::Initial {
            self.end_children(sibling);
        }
        self.order(sibling, OrderKind::Cycle, Goal::Restart(from), by, None);
    }

    fn ended(&mut self, id: ActorId) {
        self.set_phase(id, Phase::Dead);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.goal = Goal::Run;
        }
        for group in &mut self.groups {
            group.members.retain(|member| *member != id);
        }
        if let Some(parent) = self.nodes.get(&id).and_then(|node| node.parent) {
            self.settle(parent);
        }
        self.advance();
    }

    /// An actor that is down ends, or restarts, once nothing is in the way.
    fn settle(&mut self, id: ActorId) {
        let Some(node) = self.nodes.get(&id) else { return };
        if node.phase != Phase::Down {
            return;
        }
        match node.goal.clone() {
            Goal::End { by, cause } if !self.has_living_children(id) => {
                self.set_phase(id, Phase::Ending);
                self.actions.push(Action::End { id, by, cause });
            }
            Goal::End { .. } | Goal::Run => {}
            Goal::Restart(_) => self.advance(),
        }
    }

    /// Restarts the next of each group, once all of the group are down.
    fn advance(&mut self) {
        self.groups.retain(|group| !group.members.is_empty());
        for at in 0..self.groups.len() {
            let group = &self.groups[at];
            let held = group.first_is_starting || self.parent_is_failing(group.members[0]);
            if held || !group.members.iter().all(|member| self.is_ready(*member)) {
                continue;
            }
            let first = group.members[0];
            let node = self.nodes.get_mut(&first).expect("a group's members are there");
            let Goal::Restart(from) = node.goal else { continue };
            (node.phase, node.goal) = (Phase::Starting, Goal::Run);
            self.groups[at].first_is_starting = true;
            self.actions.push(Action::Restart { id: first, from });
        }
    }

    fn is_ready(&self, id: ActorId) -> bool {
        let node = &self.nodes[&id];
        let childless = node.goal != Goal::Restart(RestartState::Initial) || !self.has_living_children(id);
        node.phase == Phase::Down && !node.backing_off && childless
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

fn supervision_within(node: &Node) -> u128 {
    node.supervision.within.as_millis()
}

#[cfg(test)]
mod otp;
#[cfg(test)]
mod tests;
