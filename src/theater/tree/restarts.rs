//! Restart policy and restart intensity: what follows a failure. That is the backoff, the count of restarts within the
//! window, the group that restarts together, and, beyond the limit, the end of the actor and the failure of its parent.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Action, Count, GivenUp, Goal, Group, Phase, Tree};
use crate::base::id::ActorId;
use crate::chain::data::StoppedBy;
use crate::manifest::{RestartPolicy, RestartState, Strategy};
use crate::system::OrderKind;

/// The longest backoff before a restart.
const BACKOFF_CEILING: Duration = Duration::from_secs(30);

impl Tree {
    pub(super) fn failed(&mut self, now: u64, id: ActorId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let goal_was_to_run = node.goal == Goal::Run;
        (node.phase, node.failing) = (Phase::Down, false);
        for group in self.groups.iter_mut().filter(|group| group.members.front() == Some(&id)) {
            group.first_is_starting = false;
        }
        let node = &self.nodes[&id];
        if !goal_was_to_run {
            self.settle(id);
        } else if node.supervision.restart == RestartPolicy::Temporary {
            self.give_up(id, GivenUp::Temporary);
        } else if !node.was_up {
            self.give_up(id, GivenUp::NeverUp);
        } else if self.parent_is_failing(id) {
            self.give_up(id, GivenUp::ParentFails);
        } else {
            self.restart_by_policy(now, id);
        }
    }

    /// Gives up an actor that is not restarted. The actors below it end first.
    pub(super) fn give_up(&mut self, id: ActorId, why: GivenUp) {
        let node = self.nodes.get_mut(&id).expect("the caller has looked");
        node.goal = Goal::End { by: StoppedBy::Supervisor, cause: None };
        node.given_up = Some(why);
        self.actions.push(Action::GaveUp { id, why });
        self.end_children(id);
        self.settle(id);
    }

    fn restart_by_policy(&mut self, now: u64, id: ActorId) {
        let parent = self.nodes[&id].parent;
        // A root is its own supervisor, because no actor is above it that could fail.
        let is_root = parent.is_none();
        let supervisor = self.nodes.get_mut(&parent.unwrap_or(id)).expect("a parent outlives its children");
        let (within, allowed) = (supervisor.supervision.within, supervisor.supervision.max_restarts);
        let is_recent = |at: &u64| now.saturating_sub(*at) <= millis(within);
        supervisor.restarts.retain(is_recent);
        supervisor.restarts.push_back(now);
        let count = Count { used: supervisor.restarts.len(), allowed, within };
        let strategy = if is_root { Strategy::OneForOne } else { supervisor.supervision.strategy };
        self.counted(parent.unwrap_or(id));
        if count.used > allowed as usize {
            self.give_up(id, GivenUp::TooMany { allowed, within, is_root });
            if let Some(parent) = parent {
                self.fail_parent(parent);
            }
            return;
        }
        let node = self.nodes.get_mut(&id).expect("the caller has looked");
        node.own_restarts.retain(is_recent);
        node.own_restarts.push_back(now);
        // The backoff doubles with each restart of this actor that still counts.
        let doublings = (node.own_restarts.len() - 1).min(20);
        let backoff = node.supervision.backoff.saturating_mul(1 << doublings).min(BACKOFF_CEILING);
        let at = now.saturating_add(millis(backoff));
        node.due = Some(at);
        self.restart_group(id, parent, strategy);
        self.actions.push(Action::Timer { id, at, after: backoff, count });
    }

    /// Handles a timer of `id` that has run out. There may be older timers of the same actor, so this one means
    /// something only if the restart is due.
    pub(super) fn rang(&mut self, now: u64, id: ActorId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.due.is_some_and(|due| due <= now) {
            node.due = None;
            self.settle(id);
        }
    }

    /// Reports how often `supervisor` has restarted its children by policy lately.
    pub(super) fn counted(&mut self, supervisor: ActorId) {
        if let Some(node) = self.nodes.get(&supervisor) {
            let at = node.restarts.iter().copied().collect();
            self.actions.push(Action::Counted { supervisor, at });
        }
    }

    fn fail_parent(&mut self, parent: ActorId) {
        let node = self.nodes.get_mut(&parent).expect("a parent outlives its children");
        // The parent's thread will report a failure of its own, and then the policy of the parent's supervisor follows.
        if matches!(node.phase, Phase::Starting | Phase::Up) && !node.failing {
            node.restarts.clear();
            node.failing = true;
            let (kind, by) = (OrderKind::Fail, StoppedBy::Supervisor);
            self.actions.push(Action::Order { id: parent, kind, by, cause: None });
            self.counted(parent);
        }
    }

    fn parent_is_failing(&self, id: ActorId) -> bool {
        let parent = self.nodes[&id].parent.and_then(|parent| self.nodes.get(&parent));
        parent.is_some_and(|parent| parent.failing)
    }

    fn restart_group(&mut self, id: ActorId, parent: Option<ActorId>, strategy: Strategy) {
        let members = self.members(id, parent, strategy);
        for sibling in members.iter().rev().filter(|sibling| **sibling != id) {
            self.end_for_group(*sibling);
        }
        let node = self.nodes.get_mut(&id).expect("the caller has looked");
        let from = node.supervision.restart_state;
        node.goal = Goal::Restart(from);
        if from == RestartState::Initial {
            self.end_children(id);
        }
        let members = members.into_iter().filter(|member| self.is_to_restart(*member)).collect();
        self.add_group(parent, members);
    }

    /// Adds a group. Groups that share a sibling are merged, so that each sibling comes back once, and after the
    /// siblings older than it.
    fn add_group(&mut self, parent: Option<ActorId>, mut members: Vec<ActorId>) {
        let (shared, others) = std::mem::take(&mut self.groups)
            .into_iter()
            .partition(|group| group.parent == parent && group.members.iter().any(|id| members.contains(id)));
        self.groups = others;
        members.extend(shared.into_iter().flat_map(|group: Group| group.members));
        // A root has no siblings.
        let siblings = parent.map_or_else(|| members[..1].to_vec(), |parent| self.children(parent));
        // A member that is starting already goes on by itself.
        let is_member = |id: &ActorId| members.contains(id) && self.is_to_restart(*id);
        let members: VecDeque<ActorId> = siblings.into_iter().filter(is_member).collect();
        self.groups.push(Group { parent, members, first_is_starting: false });
    }

    fn is_to_restart(&self, id: ActorId) -> bool {
        matches!(self.nodes[&id].goal, Goal::Restart(_))
    }

    /// The actors that restart together with `id`, the oldest first.
    fn members(&self, id: ActorId, parent: Option<ActorId>, strategy: Strategy) -> Vec<ActorId> {
        let siblings = parent.map_or_else(|| vec![id], |parent| self.children(parent));
        let living = siblings.into_iter().filter(|sibling| self.phase(*sibling) != Phase::Dead);
        match strategy {
            Strategy::OneForOne => vec![id],
            Strategy::OneForAll => living.collect(),
            Strategy::RestForOne => living.skip_while(|sibling| *sibling != id).collect(),
        }
    }

    /// Ends a sibling because its group restarts. It restarts with the group, unless it is temporary or was ordered to
    /// end already.
    fn end_for_group(&mut self, sibling: ActorId) {
        let node = &self.nodes[&sibling];
        let (policy, from) = (node.supervision.restart, node.restarts_from());
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

    /// Ends or restarts an actor that is down, once nothing keeps it from that.
    pub(super) fn settle(&mut self, id: ActorId) {
        let Some(node) = self.nodes.get(&id) else { return };
        if node.phase != Phase::Down {
            return;
        }
        match node.goal.clone() {
            Goal::End { .. } if self.has_living_children(id) => {}
            Goal::End { by, cause } if node.has_thread => {
                let given_up = node.given_up;
                self.set_phase(id, Phase::Ending);
                let cause = cause.map(|cause| *cause);
                self.actions.push(Action::End { id, by, cause, given_up });
            }
            Goal::End { .. } => {
                self.actions.push(Action::Gone(id));
                self.ended(id);
            }
            Goal::Run => {}
            Goal::Restart(_) => self.advance(),
        }
    }

    /// Restarts the next member of each group whose members are all down.
    pub(super) fn advance(&mut self) {
        self.groups.retain(|group| !group.members.is_empty());
        for at in 0..self.groups.len() {
            let group = &self.groups[at];
            let held = group.first_is_starting || self.parent_is_failing(group.members[0]);
            if held || !group.members.iter().all(|member| self.is_ready(*member)) {
                continue;
            }
            let first = group.members[0];
            let node = &self.nodes[&first];
            let Goal::Restart(from) = node.goal else { continue };
            self.groups[at].first_is_starting = true;
            self.start_again(first, from);
        }
    }

    /// Starts an actor again, on its waiting thread or on a new one.
    fn start_again(&mut self, id: ActorId, from: RestartState) {
        let node = self.nodes.get_mut(&id).expect("the caller has looked");
        if !node.has_thread {
            return self.begin(id, from);
        }
        (node.phase, node.goal, node.again) = (Phase::Starting, Goal::Run, None);
        self.actions.push(Action::Restart { id, from });
    }

    fn is_ready(&self, id: ActorId) -> bool {
        let node = &self.nodes[&id];
        let childless = node.goal != Goal::Restart(RestartState::Initial) || !self.has_living_children(id);
        node.phase == Phase::Down && node.due.is_none() && childless
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
