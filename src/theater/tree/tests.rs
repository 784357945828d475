//! The tree's decisions, without a thread.

use super::*;

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
        self.apply(now, Input::Failed { id, by_init: false })
    }

    /// It failed at these times before the runtime was started.
    fn remember(&mut self, id: ActorId, failures: &[u64]) {
        let lately = Lately { failures: failures.to_vec(), by_children_at: None };
        assert_eq!(self.apply(0, Input::Remembered { id, lately }), []);
    }

    fn index(&self, id: ActorId) -> usize {
        self.children.iter().position(|child| *child == id).unwrap_or(9)
    }

    /// The actions in short: `order 2`, `restart 0`, `end 1`, …; the root is 9.
    fn short(&self, actions: &[Action]) -> Vec<String> {
        let short = |action: &Action| match action {
            Action::Order { id, kind, .. } => format!("{kind:?} {}", self.index(*id)).to_lowercase(),
            Action::Restart { id, .. } => format!("restart {}", self.index(*id)),
            Action::End { id, .. } => format!("end {}", self.index(*id)),
            Action::Begin { id, .. } => format!("begin {}", self.index(*id)),
            Action::Timer { id, after } => format!("timer {} {}", self.index(*id), after.as_millis()),
            Action::AlreadyStopped(id) => format!("already stopped {}", self.index(*id)),
            Action::NotRestarted { id, .. } => format!("not restarted {}", self.index(*id)),
        };
        actions.iter().map(short).collect()
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
fn a_child_whose_first_init_failed_is_not_restarted() {
    let mut family = Family::new(Strategy::OneForOne, [Permanent; 3]);
    let id = ActorId::random();
    let parent = Some(family.root);
    family.apply(0, Input::Spawned { id, parent, supervision: supervision(Permanent), was_up: false });
    family.children.push(id);
    let actions = family.apply(0, Input::Failed { id, by_init: true });
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
        assert_eq!(family.fail(now, child).len(), 1, "round {round}");
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
    assert_eq!(family.short(&actions), ["timer 1 100"], "out of the window");
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
    assert_eq!(family.short(&actions), ["timer 3 400"], "but the child waits longer each time");
}

#[test]
fn one_for_all_ends_the_others_newest_first_and_starts_all_oldest_first() {
    let mut family = Family::new(Strategy::OneForAll, [Permanent, Transient, Permanent]);
    let [a, b, c] = family.children[..] else { panic!("three children") };
    let actions = family.fail(0, b);
    assert_eq!(family.short(&actions), ["cycle 2", "cycle 0", "timer 1 100"]);
    assert_eq!(family.apply(1, Input::Down(c)), []);
    assert_eq!(family.apply(2, Input::Timer(b)), []);
    let actions = family.apply(3, Input::Down(a));
    assert_eq!(family.short(&actions), ["restart 0"]);
    let actions = family.apply(4, Input::Up(a));
    assert_eq!(family.short(&actions), ["restart 1"]);
    let actions = family.apply(5, Input::Up(b));
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
    let actions = family.apply(2, restart());
    assert_eq!(family.short(&actions), ["not restarted 1"]);
    family.apply(3, Input::Up(child));
    family.apply(4, Input::Stop { id: child, by: StoppedBy::Parent, cause: None });
    family.apply(5, Input::Down(child));
    family.apply(6, Input::Ended(child));
    let actions = family.apply(7, restart());
    assert_eq!(family.short(&actions), ["begin 1"]);
    let actions = family.apply(8, Input::Stop { id: ActorId::random(), by: StoppedBy::Parent, cause: None });
    assert_eq!(family.short(&actions), ["already stopped 9"]);
}
