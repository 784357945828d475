//! A test of the tree against a real OTP supervisor: the same scripts lead to the same outcomes.
//!
//! `tests/otp/matrix.escript` describes the table and wrote it. Intended differences stand in `expected` and
//! `expected_below_a_supervisor`, and nowhere else. One case has no counterpart here and is not in the table: a child
//! that ends in order by itself (`normal`, `shutdown`). OTP then restarts a permanent child and not a transient one.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;

use super::*;
use crate::manifest::{RestartPolicy, Strategy};

#[derive(Deserialize)]
struct Matrix {
    /// Cases in which the supervisor is a root.
    flat: Vec<Case>,
    /// Cases in which the supervisor is itself a child.
    nested: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    /// The supervisor's own policy.
    own: Option<char>,
    strategy: Strategy,
    policies: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    max_restarts: u32,
    script: String,
    alive: String,
    gone: String,
    started: String,
    ended: String,
    supervisor: String,
}

/// How a script ended. Each child is a digit, the oldest 0.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    alive: String,
    gone: String,
    /// The script ended the child in an orderly way.
    started: String,
    /// The child was told to end, and ended in an orderly way.
    ended: String,
    supervisor: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backoff {
    /// Timers run out before anything else happens, as if there were no backoff. OTP has no backoff.
    Passes,
    /// Everything else happens before a timer runs out.
    Lasts,
}

fn matrix() -> Matrix {
    serde_json::from_str(include_str!("../../../tests/otp/matrix.json")).expect("the table is as it was written")
}

fn policy(letter: char) -> RestartPolicy {
    match letter {
        't' => RestartPolicy::Temporary,
        's' => RestartPolicy::Transient,
        'p' => RestartPolicy::Permanent,
        _ => panic!("no policy is called {letter}"),
    }
}

fn without(digits: &str, gone: impl Fn(char) -> bool) -> String {
    digits.chars().filter(|digit| !gone(*digit)).collect()
}

/// A supervisor, its children, and the threads of all of them, which do at once what they are told.
struct Family {
    tree: Tree,
    now: u64,
    above: Option<ActorId>,
    supervisor: ActorId,
    children: Vec<ActorId>,
    running: Vec<ActorId>,
    /// The children whose next start fails.
    refused: Vec<ActorId>,
    backoff: Backoff,
    /// Inputs that answer the actions of the tree.
    answers: VecDeque<Input>,
    /// Failures that the tree was not told of yet.
    failures: VecDeque<ActorId>,
    /// When each timer runs out. Timers are never taken back, so old ones run out too.
    timers: BTreeSet<(u64, ActorId)>,
    started: String,
    ended: String,
    supervisor_was_restarted: bool,
}

impl Family {
    fn new(case: &Case, max_restarts: u32, from: RestartState, backoff: Backoff) -> Self {
        let supervision = |restart| Supervision {
            restart,
            restart_state: from,
            backoff: Duration::from_millis(100),
            strategy: case.strategy,
            max_restarts,
            within: Duration::from_secs(3_600),
        };
        let supervisor = ActorId::random();
        let mut family = Self {
            tree: Tree::default(),
            now: 0,
            above: case.own.map(|_| ActorId::random()),
            supervisor,
            children: Vec::new(),
            running: Vec::new(),
            refused: Vec::new(),
            backoff,
            answers: VecDeque::new(),
            failures: VecDeque::new(),
            timers: BTreeSet::new(),
            started: String::new(),
            ended: String::new(),
            supervisor_was_restarted: false,
        };
        if let Some(above) = family.above {
            let supervision = Supervision { max_restarts: 9, ..supervision(RestartPolicy::Temporary) };
            family.spawn(above, None, Supervision { strategy: Strategy::OneForOne, ..supervision });
        }
        // A temporary supervisor fails for good, as one without a supervisor does in OTP.
        let own = case.own.map_or(RestartPolicy::Temporary, policy);
        family.spawn(supervisor, family.above, supervision(own));
        for letter in case.policies.chars() {
            let id = ActorId::random();
            family.children.push(id);
            family.spawn(id, Some(supervisor), supervision(policy(letter)));
        }
        family
    }

    fn spawn(&mut self, id: ActorId, parent: Option<ActorId>, supervision: Supervision) {
        self.running.push(id);
        self.answers.push_back(Input::Spawned { id, parent, supervision, was_up: false });
        self.answers.push_back(Input::Up(id));
        self.settle();
    }

    fn runs(&self, id: ActorId) -> bool {
        self.running.contains(&id)
    }

    fn step(&mut self, step: &str) {
        if !self.runs(self.supervisor) {
            return;
        }
        let words: Vec<&str> = step.split(' ').collect();
        let child = |word: &str| self.children[word.parse::<usize>().expect("children are numbered")];
        match words[..] {
            ["crash", one] => self.crash(&[child(one)]),
            ["crash", one, "with", other] => self.crash(&[child(one), child(other)]),
            ["terminate", one] => {
                let id = child(one);
                self.answers.push_back(Input::Stop { id, by: StoppedBy::Parent, cause: None });
            }
            ["restart", one] => {
                let id = child(one);
                self.answers.push_back(Input::Restart { id, by: StoppedBy::Parent, cause: None });
            }
            ["refuse", one] => self.refused.push(child(one)),
            _ => panic!("no step is called {step}"),
        }
        self.settle();
    }

    fn crash(&mut self, ids: &[ActorId]) {
        for id in ids {
            if self.runs(*id) {
                self.running.retain(|running| running != id);
                self.failures.push_back(*id);
            }
        }
    }

    /// Runs until nothing is left to happen.
    fn settle(&mut self) {
        while let Some(input) = self.next() {
            for action in self.tree.apply(self.now, input) {
                self.carry_out(action);
            }
        }
        assert!(self.tree.groups.iter().all(|group| group.members.is_empty()), "a group never came up");
    }

    /// The next input: first the answers of threads, then failures and timers in the order that `backoff` says.
    fn next(&mut self) -> Option<Input> {
        self.now += 1;
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        let first = if self.backoff == Backoff::Lasts { self.failures.pop_front() } else { None };
        if let Some(id) = first {
            return Some(Input::Failed(id));
        }
        if let Some((at, id)) = self.timers.pop_first() {
            self.now = self.now.max(at);
            return Some(Input::Timer(id));
        }
        self.failures.pop_front().map(Input::Failed)
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Order { id, kind, .. } => self.ordered(id, kind),
            Action::Restart { id, .. } | Action::Begin { id, .. } => self.start(id),
            Action::End { id, .. } => {
                assert!(!self.runs(id), "it was told to end while it ran");
                self.answers.push_back(Input::Ended(id));
            }
            Action::Timer { id, at, .. } => _ = self.timers.insert((at, id)),
            Action::AlreadyStopped(_) | Action::GaveUp { .. } | Action::Counted { .. } => {}
            Action::Gone(_) => panic!("every thread is there until it is told to end"),
            Action::NotRestarted { why, .. } => panic!("{why}"),
        }
    }

    fn ordered(&mut self, id: ActorId, kind: OrderKind) {
        if !self.runs(id) {
            // The thread failed before it was told to end, so its report comes first.
            if let Some(at) = self.failures.iter().position(|failed| *failed == id) {
                self.failures.remove(at);
                self.answers.push_back(Input::Failed(id));
            }
            return;
        }
        self.running.retain(|running| *running != id);
        if kind == OrderKind::Fail {
            self.answers.push_back(Input::Failed(id));
            return;
        }
        if let Some(digit) = self.digit(id) {
            self.ended.push(digit);
        }
        self.answers.push_back(Input::Down(id));
    }

    fn start(&mut self, id: ActorId) {
        assert!(!self.runs(id), "it was started while it ran");
        if let Some(at) = self.refused.iter().position(|refused| *refused == id) {
            self.refused.remove(at);
            self.answers.push_back(Input::Failed(id));
            return;
        }
        self.running.push(id);
        self.supervisor_was_restarted |= id == self.supervisor;
        if let Some(digit) = self.digit(id) {
            self.started.push(digit);
        }
        self.answers.push_back(Input::Up(id));
    }

    fn digit(&self, id: ActorId) -> Option<char> {
        self.children.iter().position(|child| *child == id).map(digit)
    }

    fn outcome(&self) -> Outcome {
        for id in self.children.iter().chain([&self.supervisor]) {
            let phase = if self.runs(*id) { Phase::Up } else { Phase::Dead };
            assert_eq!(self.tree.phase(*id), phase, "the tree is wrong about child {:?}", self.digit(*id));
        }
        let alive: String =
            self.children.iter().filter(|id| self.runs(**id)).filter_map(|id| self.digit(*id)).collect();
        let all = (0..self.children.len()).map(digit).collect::<String>();
        let supervisor = match self.runs(self.supervisor) {
            false => "died",
            true if self.supervisor_was_restarted => "restarted",
            true => "up",
        };
        Outcome {
            gone: without(&all, |child| alive.contains(child)),
            alive,
            started: self.started.clone(),
            ended: self.ended.clone(),
            supervisor: supervisor.into(),
        }
    }
}

fn digit(index: usize) -> char {
    char::from_digit(u32::try_from(index).expect("a few children"), 10).expect("fewer than ten children")
}

/// The expected outcome of a script, given the outcome in OTP.
fn expected(case: &Case, row: &Row) -> Outcome {
    let mut outcome = Outcome {
        alive: row.alive.clone(),
        gone: row.gone.clone(),
        started: row.started.clone(),
        ended: row.ended.clone(),
        supervisor: row.supervisor.clone(),
    };
    let Some(stopped) = row.script.strip_prefix("terminate ").and_then(|rest| rest.chars().next()) else {
        return outcome;
    };
    let index = stopped.to_digit(10).expect("children are numbered") as usize;
    let is_temporary = case.policies.chars().nth(index) == Some('t');
    if !row.script.contains("restart") {
        // DIFFERENT: a child that was stopped on request stays stopped. OTP starts it again with its group.
        let is_it = |child| child == stopped;
        outcome.alive = without(&outcome.alive, is_it);
        outcome.started = without(&outcome.started, is_it);
        if !outcome.gone.contains(stopped) {
            let mut gone: Vec<char> = outcome.gone.chars().chain([stopped]).collect();
            gone.sort_unstable();
            outcome.gone = gone.into_iter().collect();
        }
    } else if is_temporary {
        // DIFFERENT: a temporary child that was stopped is still listed, and can be restarted. OTP has forgotten it.
        outcome.started.insert(0, stopped);
        if !row.script.contains("crash") {
            outcome.gone = without(&outcome.gone, |child| child == stopped);
            let mut alive: Vec<char> = outcome.alive.chars().chain([stopped]).collect();
            alive.sort_unstable();
            outcome.alive = alive.into_iter().collect();
        }
    }
    outcome
}

fn run(family: &mut Family, row: &Row) -> Outcome {
    row.script.split(", ").for_each(|step| family.step(step));
    family.outcome()
}

fn name(case: &Case, row: &Row) -> String {
    let (strategy, policies) = (case.strategy, &case.policies);
    format!("{strategy:?} {policies} max_restarts {} own {:?}: {}", row.max_restarts, case.own, row.script)
}

/// Runs every script, and reports all differences at once.
fn check(cases: &[Case], mut differs: impl FnMut(&Case, &Row) -> Option<String>) {
    let scripts = cases.iter().flat_map(|case| case.rows.iter().map(move |row| (case, row)));
    let wrong: Vec<String> = scripts.filter_map(|(case, row)| differs(case, row)).collect();
    let (count, first) = (wrong.len(), wrong.iter().take(20).map(String::as_str).collect::<Vec<_>>());
    assert!(wrong.is_empty(), "{count} scripts end otherwise than in OTP:\n{}", first.join("\n"));
}

fn difference(case: &Case, row: &Row, ours: &Outcome, theirs: &Outcome) -> Option<String> {
    (ours != theirs).then(|| format!("{}\n  ours {ours:?}\n  OTP  {theirs:?}", name(case, row)))
}

const FROM: [RestartState; 2] = [RestartState::Last, RestartState::Initial];

#[test]
fn every_script_ends_as_under_an_otp_supervisor() {
    for from in FROM {
        check(&matrix().flat, |case, row| {
            let ours = run(&mut Family::new(case, row.max_restarts, from, Backoff::Passes), row);
            difference(case, row, &ours, &expected(case, row))
        });
    }
}

#[test]
fn a_backoff_changes_no_outcome() {
    for from in FROM {
        check(&matrix().flat, |case, row| {
            let ours = run(&mut Family::new(case, row.max_restarts, from, Backoff::Lasts), row);
            let mut theirs = expected(case, row);
            if row.script.contains("with") {
                // DIFFERENT: the second failure comes before the first one's restart, so that a child of both groups
                // is started once, and a child that has not come back need not be ended.
                theirs.started.clone_from(&ours.started);
                theirs.ended.clone_from(&ours.ended);
            }
            difference(case, row, &ours, &theirs)
        });
    }
}

/// The expected outcome of a script whose last step may be one failure too many, given the outcome in OTP.
fn expected_below_a_supervisor(case: &Case, row: &Row, from: RestartState, before: &Outcome) -> Outcome {
    let theirs = expected(case, row);
    if theirs.supervisor == "up" || case.own == Some('t') {
        return theirs;
    }
    // DIFFERENT: a supervisor whose children failed too often has failed, and a transient one is restarted. In OTP it
    // exits with `shutdown`, after which a transient one is not.
    let supervisor = "restarted".to_owned();
    match from {
        // DIFFERENT: its other children live on, and the one that failed stays failed. In OTP all end and start again.
        RestartState::Last => {
            let failed = row.script.chars().last().expect("a script has steps");
            let all = (0..case.policies.len()).map(digit).collect::<String>();
            let alive = without(&before.alive, |child| child == failed);
            let gone = without(&all, |child| alive.contains(child));
            Outcome { alive, gone, supervisor, ..before.clone() }
        }
        // DIFFERENT: all end as in OTP, but it is up to `init` to spawn others. In OTP it is up to the supervisor.
        RestartState::Initial => {
            let gone = (0..case.policies.len()).map(digit).collect();
            Outcome { alive: String::new(), gone, started: before.started.clone(), ended: theirs.ended, supervisor }
        }
    }
}

#[test]
fn a_supervisor_whose_children_fail_too_often_fails_below_its_own() {
    for (from, backoff) in FROM.into_iter().flat_map(|from| [(from, Backoff::Passes), (from, Backoff::Lasts)]) {
        check(&matrix().nested, |case, row| {
            let mut family = Family::new(case, row.max_restarts, from, backoff);
            let steps: Vec<&str> = row.script.split(", ").collect();
            let (last, first) = steps.split_last().expect("a script has steps");
            first.iter().for_each(|step| family.step(step));
            let before = family.outcome();
            family.step(last);
            difference(case, row, &family.outcome(), &expected_below_a_supervisor(case, row, from, &before))
        });
    }
}

#[test]
fn the_table_holds_the_whole_matrix() {
    let matrix = matrix();
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let of_three = matrix.flat.iter().filter(|case| case.strategy == strategy && case.policies.len() == 3);
        let mut policies: Vec<&str> = of_three.map(|case| case.policies.as_str()).collect();
        policies.sort_unstable();
        policies.dedup();
        assert_eq!(policies.len(), 27);
    }
    // If the supervisor died, none of its children is left.
    for row in matrix.flat.iter().chain(&matrix.nested).flat_map(|case| &case.rows) {
        assert!(row.supervisor != "died" || row.alive.is_empty());
    }
}
