//! Tests of the tree's decisions, without a thread.

use std::time::Duration;

use super::*;
use crate::manifest::{RestartPolicy, Strategy};

fn supervision(restart: RestartPolicy) -> Supervision {
    Supervision {
        restart,
        restart_state: RestartState::Last,
        backoff: Duration::from_millis(100),
        strategy: Strategy::OneForOne,
        max_restarts: 1,
        within: Duration::from_millis(5_000),
    }
}

/// A tree with a root and three children, all up.
struct Family {
    tree: Tree,
    root: ActorId,
    children: Vec<ActorId>,
}

impl Family {
    fn new(strategy: Strategy, policies: [RestartPolicy; 3]) -> Self {
        let mut tree = Tree::default();
        let root = ActorId::random();
        let of_root = Supervision { strategy, ..supervision(RestartPolicy::Temporary) };
        tree.apply(0, Input::Spawned { id: root, parent: None, supervision: of_root, was_up: false });
        tree.apply(0, Input::Up(root));
        let children = policies.map(|policy| {
            let id = ActorId::random();
            tree.apply(0, Input::Spawned { id, parent: Some(root), supervision: supervision(policy), was_up: false });
            tree.apply(0, Input::Up(id));
            id
        });
        Self { tree, root, children: children.to_vec() }
    }

    fn apply(&mut self, now: u64, input: Input) -> Vec<Action> {
        self.tree.apply(now, input)
    }

    fn fail(&mut self, now: u64, id: ActorId) -> Vec<Action> {
        self.apply(now, Input::Failed(id))
    }

    /// The actor failed at these times before the runtime was started.
    fn remember(&mut self, id: ActorId, failures: &[u64]) {
        let lately = Lately { failures: failures.to_vec(), by_children_at: None };
        let actions = self.apply(0, Input::Remembered { id, lately });
        assert_eq!(self.short(&actions), [""; 0]);
    }

    fn index(&self, id: ActorId) -> usize {
        self.children.iter().position(|child| *child == id).unwrap_or(9)
    }

    /// The actions in short: `order 2`, `restart 0`, `end 1`, …; the root is 9.
    fn short(&self, actions: &[Action]) -> Vec<String> {
        let short = |action: &Action| {
            Some(match action {
                Action::Order { id, kind, .. } => format!("{kind:?} {}", self.index(*id)).to_lowercase(),
                Action::Restart { id, .. } => format!("restart {}", self.index(*id)),
                Action::End { id, .. } => format!("end {}", self.index(*id)),
                Action::Begin { id, .. } => format!("begin {}", self.index(*id)),
                Action::Timer { id, at, .. } => format!("timer {} {at}", self.index(*id)),
                Action::Gone(id) => format!("gone {}", self.index(*id)),
                Action::AlreadyStopped(id) => format!("already stopped {}", self.index(*id)),
                Action::NotRestarted { id, .. } => format!("not restarted {}", self.index(*id)),
                // These actions only report something.
                Action::GaveUp { .. } | Action::Counted { .. } => return None,
            })
        };
        actions.iter().filter_map(short).collect()
    }

    /// How much of the limit a failure uses up, as reported; or why there is no restart.
    fn said(actions: &[Action]) -> (Option<usize>, Option<String>) {
        let used = actions.iter().find_map(|action| match action {
            Action::Timer { count, .. } => Some(count.used),
            _ => None,
        });
        let given_up = actions.iter().find_map(|action| match action {
            Action::GaveUp { why, .. } => Some(why.to_string()),
            _ => None,
        });
        (used, given_up)
    }
}

use RestartPolicy::{Permanent, Temporary, Transient};

#[test]
fn a_temporary_child_that_fails_is_not_restarted() {
    let mut family = Family::new(Strategy::OneForOne, [Temporary; 3]);
    let actions = family.fail(0, family.children[1]);
    assert_eq!(family.short(&actions), ["end 1"]);
}

#[test]
fn a_transient_child_is_restarted_after_its_backoff() {
    let mut family = Family::new(Strategy::OneForOne, [Transient; 3]);
    let child = family.children[1];
    let actions = family.fail(0, child);
    assert_eq!(family.short(&actions), ["timer 1 100"]);
    let actions = family.apply(100, Input::Timer(child));
    assert_eq!(family.short(&actions), ["restart 1"]);
    assert_eq!(family.apply(101, Input::Up(child)), []);
}

#[test]
fn a_restart_that_meets_a_start_comes_once_the_child_is_up() {
    let mut family = Family::new(Strategy::OneForOne, [Transient; 3]);
    let child = family.children[1];
    let restart = |cause| Input::Restart { id: child, by: StoppedBy::Parent, cause };
    family.fail(0, child);
    assert_eq!(family.apply(100, Input::Timer(child)).len(), 1, "it starts again");
    assert_eq!(family.apply(101, restart(None)), []);
    assert_eq!(family.apply(102, restart(None)), [], "two that meet the same start are one");
    let actions = family.apply(103, Input::Up(child));
    assert_eq!(family.short(&actions), ["cycle 1"]);
    let actions = family.apply(104, Input::Down(child));
    assert_eq!(family.short(&actions), ["restart 1"]);
    assert_eq!(family.apply(105, Input::Up(child)), []);
}

#[test]
fn a_restart_that_meets_a_start_comes_also_if_the_start_fails_and_not_if_a_stop_follows() {
    let restart = |id| Input::Restart { id, by: StoppedBy::Operator, cause: None };
    for (policy, then) in [(Temporary, ["end 1", "begin 1"]), (Transient, ["timer 1 2201", "restart 1"])] {
        let mut family = Family::new(Strategy::OneForOne, [policy; 3]);
        let child = family.children[1];
        family.apply(0, Input::Stop { id: child, by: StoppedBy::Operator, cause: None });
        family.apply(0, Input::Down(child));
        family.apply(0, Input::Ended(child));
        assert_eq!(family.apply(1, restart(child)).len(), 1);
        family.apply(2, restart(child));
        let actions = family.fail(2_101, child);
        assert_eq!(family.short(&actions), [then[0]]);
        let next = if policy == Temporary { Input::Ended(child) } else { Input::Timer(child) };
        let actions = family.apply(2_201, next);
        assert_eq!(family.short(&actions), [then[1]]);
        assert_eq!(family.apply(2_300, Input::Up(child)), [], "one restart answers it");
    }
    let mut family = Family::new(Strategy::OneForOne, [Transient; 3]);
    let child = family.children[1];
    family.fail(0, child);
    family.apply(100, Input::Timer(child));
    family.apply(101, restart(child));
    let actions = family.apply(102, Input::Stop { id: child, by: StoppedBy::Operator, cause: None });
    assert_eq!(family.short(&actions), ["stop 1"]);
    let actions = family.apply(103, Input::Down(child));
    assert_eq!(family.short(&actions), ["end 1"]);
    assert_eq!(family.apply(104, Input::Ended(child)), []);
}

#[test]
fn a_child_whose_first_init_failed_is_not_restarted() {
    let mut family = Family::new(Strategy::OneForOne, [Permanent; 3]);
    let id = ActorId::random();
    let parent = Some(family.root);
    family.apply(0, Input::Spawned { id, parent, supervision: supervision(Permanent), was_up: false });
    family.children.push(id);
    let actions = family.apply(0, Input::Failed(id));
    assert_eq!(family.short(&actions), ["end 3"]);
}

#[test]
fn one_restart_too_many_within_the_window_fails_the_parent() {
    let mut family = Family::new(Strategy::OneForOne, [Permanent; 3]);
    let child = family.children[0];
    family.fail(0, child);
    family.apply(100, Input::Timer(child));
    family.apply(101, Input::Up(child));
    let actions = family.fail(5_000, child);
    assert_eq!(family.short(&actions), ["end 0", "fail 9"]);
}

#[test]
fn restarts_further_apart_than_the_window_are_not_too_many() {
    let mut family = Family::new(Strategy::OneForOne, [Permanent; 3]);
    let child = family.children[0];
    for round in 0..5 {
        let now = round * 5_001;
        let actions = family.fail(now, child);
        assert_eq!(family.short(&actions), [format!("timer 0 {}", now + 100)], "round {round}");
        family.apply(now + 100, Input::Timer(child));
        family.apply(now + 101, Input::Up(child));
    }
}

#[test]
fn failures_before_a_new_start_of_the_runtime_count_as_if_it_had_gone_on() {
    let mut family = Family::new(Strategy::OneForOne, [Permanent; 3]);
    let [a, b, _] = family.children[..] else { panic!("three children") };
    family.remember(a, &[1_000]);
    let actions = family.fail(7_000, b);
    assert_eq!(family.short(&actions), ["timer 1 7100"], "out of the window");
    family.apply(7_100, Input::Timer(b));
    family.apply(7_101, Input::Up(b));
    family.remember(a, &[7_150]);
    let actions = family.fail(7_300, a);
    assert_eq!(family.short(&actions), ["end 0", "fail 9"]);
}

#[test]
fn what_led_to_a_failure_of_the_parent_is_not_remembered_against_it() {
    let mut family = Family::new(Strategy::OneForOne, [Permanent; 3]);
    let (parent, child) = (family.children[0], ActorId::random());
    let supervision = supervision(Permanent);
    family.apply(0, Input::Spawned { id: child, parent: Some(parent), supervision, was_up: true });
    let by_children = Lately { failures: Vec::new(), by_children_at: Some(2_000) };
    family.apply(0, Input::Remembered { id: parent, lately: by_children });
    family.remember(child, &[1_000, 1_900]);
    family.children.push(child);
    let actions = family.fail(2_100, child);
    assert_eq!(family.short(&actions), ["timer 3 2500"], "but the child waits longer each time");
}

#[test]
fn one_for_all_ends_the_others_newest_first_and_starts_all_oldest_first() {
    let mut family = Family::new(Strategy::OneForAll, [Permanent, Transient, Permanent]);
    let [a, b, c] = family.children[..] else { panic!("three children") };
    let actions = family.fail(0, b);
    assert_eq!(family.short(&actions), ["cycle 2", "cycle 0", "timer 1 100"]);
    assert_eq!(family.apply(1, Input::Down(c)), []);
    assert_eq!(family.apply(100, Input::Timer(b)), []);
    let actions = family.apply(103, Input::Down(a));
    assert_eq!(family.short(&actions), ["restart 0"]);
    let actions = family.apply(104, Input::Up(a));
    assert_eq!(family.short(&actions), ["restart 1"]);
    let actions = family.apply(105, Input::Up(b));
    assert_eq!(family.short(&actions), ["restart 2"]);
}

#[test]
fn rest_for_one_takes_only_those_started_later_and_temporary_ones_do_not_come_back() {
    let mut family = Family::new(Strategy::RestForOne, [Permanent, Permanent, Temporary]);
    let [_, b, c] = family.children[..] else { panic!("three children") };
    let actions = family.fail(0, b);
    assert_eq!(family.short(&actions), ["stop 2", "timer 1 100"]);
    let actions = family.apply(1, Input::Down(c));
    assert_eq!(family.short(&actions), ["end 2"]);
    family.apply(2, Input::Ended(c));
    let actions = family.apply(100, Input::Timer(b));
    assert_eq!(family.short(&actions), ["restart 1"]);
}

#[test]
fn a_parent_ends_after_all_its_children_which_are_told_at_once_newest_first() {
    let mut family = Family::new(Strategy::OneForOne, [Temporary; 3]);
    let [a, b, c] = family.children[..] else { panic!("three children") };
    let root = family.root;
    let actions = family.apply(0, Input::Stop { id: root, by: StoppedBy::Operator, cause: None });
    assert_eq!(family.short(&actions), ["stop 2", "stop 1", "stop 0", "stop 9"]);
    assert_eq!(family.apply(1, Input::Down(root)), []);
    for child in [b, a, c] {
        let actions = family.apply(2, Input::Down(child));
        assert_eq!(family.short(&actions), [format!("end {}", family.index(child))]);
    }
    assert_eq!(family.apply(3, Input::Ended(a)), []);
    assert_eq!(family.apply(3, Input::Ended(b)), []);
    let actions = family.apply(3, Input::Ended(c));
    assert_eq!(family.short(&actions), ["end 9"]);
    family.apply(4, Input::Ended(root));
    assert!(family.tree.is_quiet());
}

#[test]
fn a_stop_overtakes_a_restart_that_waits() {
    let mut family = Family::new(Strategy::OneForOne, [Permanent; 3]);
    let child = family.children[1];
    family.fail(0, child);
    let actions = family.apply(1, Input::Stop { id: child, by: StoppedBy::Parent, cause: None });
    assert_eq!(family.short(&actions), ["end 1"]);
    assert_eq!(Family::said(&actions).1.as_deref(), Some("it was stopped before its restart"));
    assert_eq!(family.apply(100, Input::Timer(child)), []);
}

#[test]
fn a_stopped_child_can_be_restarted_and_a_running_one_is_ended_first() {
    let mut family = Family::new(Strategy::OneForOne, [Temporary; 3]);
    let child = family.children[1];
    let restart = || Input::Restart { id: child, by: StoppedBy::Parent, cause: None };
    let actions = family.apply(0, restart());
    assert_eq!(family.short(&actions), ["cycle 1"]);
    let actions = family.apply(1, Input::Down(child));
    assert_eq!(family.short(&actions), ["restart 1"]);
    family.apply(3, Input::Up(child));
    family.apply(4, Input::Stop { id: child, by: StoppedBy::Parent, cause: None });
    family.apply(5, Input::Down(child));
    family.apply(6, Input::Ended(child));
    let actions = family.apply(7, restart());
    assert_eq!(family.short(&actions), ["begin 1"]);
    let actions = family.apply(8, Input::Stop { id: ActorId::random(), by: StoppedBy::Parent, cause: None });
    assert_eq!(family.short(&actions), ["already stopped 9"]);
}

#[test]
fn a_stale_backoff_timer_does_not_restart_early() {
    // The actor fails, is stopped and restarted, and fails again within its first backoff, whose timer has not run out
    // yet.
    let mut family = Family::new(Strategy::OneForOne, [Permanent; 3]);
    let child = family.children[1];
    let node = family.tree.nodes.get_mut(&family.root).expect("the root");
    std::sync::Arc::make_mut(&mut node.supervision).max_restarts = 9;
    let actions = family.fail(0, child);
    assert_eq!(family.short(&actions), ["timer 1 100"]);
    let actions = family.apply(10, Input::Stop { id: child, by: StoppedBy::Operator, cause: None });
    assert_eq!(family.short(&actions), ["end 1"]);
    family.apply(11, Input::Ended(child));
    let actions = family.apply(20, Input::Restart { id: child, by: StoppedBy::Operator, cause: None });
    assert_eq!(family.short(&actions), ["begin 1"], "whoever asks for it need not wait");
    family.apply(21, Input::Up(child));
    let actions = family.fail(30, child);
    assert_eq!(family.short(&actions), ["timer 1 230"], "the second backoff is twice as long");
    for stale in [30, 100, 229] {
        assert_eq!(family.apply(stale, Input::Timer(child)), [], "at {stale}");
    }
    let actions = family.apply(230, Input::Timer(child));
    assert_eq!(family.short(&actions), ["restart 1"]);
}

#[test]
fn a_sibling_that_fails_does_not_shorten_a_backoff() {
    let mut family = Family::new(Strategy::OneForAll, [Permanent; 3]);
    let [a, b, c] = family.children[..] else { panic!("three children") };
    let node = family.tree.nodes.get_mut(&family.root).expect("the root");
    std::sync::Arc::make_mut(&mut node.supervision).max_restarts = 9;
    let node = family.tree.nodes.get_mut(&a).expect("a child");
    std::sync::Arc::make_mut(&mut node.supervision).backoff = Duration::from_secs(16);
    family.fail(0, a);
    family.apply(1, Input::Down(c));
    let actions = family.apply(2, Input::Failed(b));
    assert_eq!(family.short(&actions), [""; 0], "it was to go down anyway");
    assert_eq!(family.apply(100, Input::Timer(a)), []);
    let actions = family.apply(16_000, Input::Timer(a));
    assert_eq!(family.short(&actions), ["restart 0"]);
}

#[test]
fn the_children_of_an_actor_whose_thread_died_end_and_a_stop_of_it_waits_for_them() {
    let mut family = Family::new(Strategy::OneForOne, [Permanent; 3]);
    let [a, b, c] = family.children[..] else { panic!("three children") };
    let root = family.root;
    let actions = family.apply(0, Input::Died(root));
    assert_eq!(family.short(&actions), ["stop 2", "stop 1", "stop 0"]);
    let actions = family.apply(1, Input::Stop { id: root, by: StoppedBy::Operator, cause: None });
    assert_eq!(family.short(&actions), [""; 0], "not yet: its children live");
    for child in [a, b, c] {
        family.apply(2, Input::Down(child));
    }
    family.apply(3, Input::Ended(a));
    family.apply(3, Input::Ended(b));
    let actions = family.apply(3, Input::Ended(c));
    assert_eq!(family.short(&actions), ["gone 9"]);
    assert!(family.tree.is_quiet());
    let actions = family.apply(4, Input::Stop { id: root, by: StoppedBy::Operator, cause: None });
    assert_eq!(family.short(&actions), ["already stopped 9"]);
}

#[test]
fn a_thread_that_ends_unasked_leaves_no_living_child() {
    let mut family = Family::new(Strategy::OneForOne, [Temporary; 3]);
    let (root, children) = (family.root, family.children.clone());
    let actions = family.apply(0, Input::Ended(root));
    assert_eq!(family.short(&actions), ["stop 2", "stop 1", "stop 0"]);
    for child in &children {
        family.apply(1, Input::Down(*child));
        family.apply(1, Input::Ended(*child));
    }
    assert!(family.tree.is_quiet());
}

#[test]
fn an_actor_whose_thread_died_is_begun_on_another_by_its_policy() {
    let mut family = Family::new(Strategy::OneForAll, [Permanent, Transient, Temporary]);
    let [a, b, c] = family.children[..] else { panic!("three children") };
    let actions = family.apply(0, Input::Died(b));
    assert_eq!(family.short(&actions), ["stop 2", "cycle 0", "timer 1 100"]);
    family.apply(1, Input::Down(c));
    family.apply(1, Input::Ended(c));
    // The thread of another member dies while it waits for the group.
    family.apply(2, Input::Down(a));
    assert_eq!(family.apply(3, Input::Died(a)), []);
    let actions = family.apply(100, Input::Timer(b));
    assert_eq!(family.short(&actions), ["begin 0"]);
    let actions = family.apply(101, Input::Up(a));
    assert_eq!(family.short(&actions), ["begin 1"]);
    assert_eq!(family.apply(102, Input::Up(b)), []);
    let actions = family.apply(200, Input::Died(a));
    assert_eq!(
        Family::said(&actions).1.as_deref(),
        Some("more than max_restarts = 1 within within_ms = 5000 of its parent")
    );
    assert_eq!(family.short(&actions), ["gone 0", "fail 9"]);
}

#[test]
fn a_member_of_a_group_that_is_stopped_while_it_starts_does_not_hold_the_others() {
    let mut family = Family::new(Strategy::OneForAll, [Permanent; 3]);
    let [a, b, c] = family.children[..] else { panic!("three children") };
    family.fail(0, a);
    family.apply(1, Input::Down(b));
    family.apply(1, Input::Down(c));
    let actions = family.apply(100, Input::Timer(a));
    assert_eq!(family.short(&actions), ["restart 0"]);
    family.apply(101, Input::Stop { id: a, by: StoppedBy::Operator, cause: None });
    family.apply(102, Input::Down(a));
    let actions = family.apply(103, Input::Ended(a));
    assert_eq!(family.short(&actions), ["restart 1"]);
}

#[test]
fn a_member_of_a_group_is_not_lost_when_a_younger_sibling_fails_meanwhile() {
    let mut family = Family::new(Strategy::RestForOne, [Permanent; 3]);
    let [a, b, c] = family.children[..] else { panic!("three children") };
    let node = family.tree.nodes.get_mut(&family.root).expect("the root");
    std::sync::Arc::make_mut(&mut node.supervision).max_restarts = 9;
    // `b` is dead when `a` fails, and fails by itself before `a` has come back.
    family.apply(0, Input::Stop { id: b, by: StoppedBy::Operator, cause: None });
    family.apply(0, Input::Down(b));
    family.apply(0, Input::Ended(b));
    let actions = family.fail(1, a);
    assert_eq!(family.short(&actions), ["cycle 2", "timer 0 101"]);
    family.apply(2, Input::Down(c));
    family.apply(3, Input::Restart { id: b, by: StoppedBy::Operator, cause: None });
    family.apply(4, Input::Up(b));
    family.fail(5, b);
    assert_eq!(family.apply(101, Input::Timer(a)), [], "they come back as one group");
    let actions = family.apply(105, Input::Timer(b));
    assert_eq!(family.short(&actions), ["restart 0"]);
    let actions = family.apply(106, Input::Up(a));
    assert_eq!(family.short(&actions), ["restart 1"]);
    let actions = family.apply(107, Input::Up(b));
    assert_eq!(family.short(&actions), ["restart 2"]);
}

#[test]
fn who_has_heard_of_an_end_can_have_it_restarted_at_once() {
    let mut family = Family::new(Strategy::OneForOne, [Temporary; 3]);
    let child = family.children[1];
    let restart = || Input::Restart { id: child, by: StoppedBy::Parent, cause: None };
    let actions = family.fail(0, child);
    assert_eq!(family.short(&actions), ["end 1"]);
    assert_eq!(family.apply(1, restart()), [], "its thread is about to end");
    let actions = family.apply(2, Input::Ended(child));
    assert_eq!(family.short(&actions), ["begin 1"]);
    family.apply(3, Input::Up(child));
    family.apply(4, Input::Stop { id: child, by: StoppedBy::Parent, cause: None });
    family.apply(5, Input::Down(child));
    assert_eq!(family.apply(6, restart()), []);
    family.apply(7, Input::Stop { id: child, by: StoppedBy::Parent, cause: None });
    assert_eq!(family.apply(8, Input::Ended(child)), [], "the later word counts");
}

#[test]
fn a_failure_says_how_much_of_the_limit_is_used_and_the_last_one_why_there_is_no_restart() {
    let mut tree = Tree::default();
    let id = ActorId::random();
    let supervision = Supervision { max_restarts: 2, ..supervision(Permanent) };
    tree.apply(0, Input::Spawned { id, parent: None, supervision, was_up: false });
    tree.apply(0, Input::Up(id));
    for (now, used) in [(0, 1), (1_000, 2)] {
        let actions = tree.apply(now, Input::Failed(id));
        assert_eq!(Family::said(&actions), (Some(used), None));
        assert!(actions.contains(&Action::Counted { supervisor: id, at: [0, 1_000][..used].to_vec() }), "{actions:?}");
        tree.apply(now + 500, Input::Timer(id));
        tree.apply(now + 500, Input::Up(id));
    }
    let actions = tree.apply(2_000, Input::Failed(id));
    let limit = "more than max_restarts = 2 within within_ms = 5000";
    assert_eq!(Family::said(&actions), (None, Some(limit.to_owned())));
    let ends = |action: &Action| matches!(action, Action::End { given_up: Some(why), .. } if why.to_string() == limit);
    assert!(actions.iter().any(ends), "its thread is told so: {actions:?}");
}

/// The manifest that the documents show for a service: `restart = "permanent"`, `max_restarts = 10`, everything else by
/// default.
#[test]
fn a_service_that_fails_at_once_each_time_is_restarted_for_ever() {
    let mut tree = Tree::default();
    let id = ActorId::random();
    let supervision = Supervision { max_restarts: 10, ..supervision(Permanent) };
    tree.apply(0, Input::Spawned { id, parent: None, supervision, was_up: false });
    tree.apply(0, Input::Up(id));
    let (mut now, mut longest, mut most) = (0, 0, 0);
    for round in 0..10_000 {
        let actions = tree.apply(now, Input::Failed(id));
        let timer = actions.iter().find_map(|action| match action {
            Action::Timer { at, count, .. } => Some((*at, count.used)),
            _ => None,
        });
        let (at, used) = timer.unwrap_or_else(|| panic!("round {round}: {actions:?}"));
        (longest, most) = (longest.max(at - now), most.max(used));
        now = at;
        tree.apply(now, Input::Timer(id));
        tree.apply(now, Input::Up(id));
    }
    assert_eq!((longest, most), (3_200, 6));
}
