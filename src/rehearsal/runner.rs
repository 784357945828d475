//! Runs the tests of a file, one after the other, each with a new actor.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::expectation::{StepDone, logs};
use super::format::{ScriptedTest, TestFile, TestStep};
use super::scripted::{ScriptedAnswer, SharedScript, TestScript};
use super::simulated::Simulated;
use crate::actor::{RehearsalStart, RehearsedActor, RehearsedEnd, Spec};
use crate::base::clock;
use crate::base::id::{ActorId, Incarnation};
use crate::base::limits::ActorLimits;
use crate::chain::EventHash;
use crate::chain::cbor::{Cbor, bytes_to_json};
use crate::chain::data::{NamedLimits, NamedState, StartReason, Started};
use crate::guest::values::short_name;
use crate::guest::{Cell, GuestEngine, Past, Table, TableBase};
use crate::manifest::Manifest;

/// The id of every actor that is rehearsed.
const ACTOR: [u8; 16] = [0, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1];

/// Runs tests, and keeps the programs of their manifests.
pub(crate) struct Rehearser<'a> {
    engine: &'a GuestEngine,
    allowed: &'a ActorLimits,
    specs: HashMap<PathBuf, Result<Arc<Spec>, String>>,
}

/// What came of one test.
#[derive(Debug)]
pub(crate) struct TestedScript {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) took: Duration,
    /// What is wrong, each a text of some lines; the test has passed if nothing is.
    pub(crate) failures: Vec<String>,
    /// The lines that the actor has logged.
    pub(crate) logs: Vec<String>,
}

impl<'a> Rehearser<'a> {
    pub(crate) fn new(engine: &'a GuestEngine, allowed: &'a ActorLimits) -> Self {
        Self { engine, allowed, specs: HashMap::new() }
    }

    /// Runs the tests of a file whose names `is_wanted` accepts. `manifest` is that of tests that name none; the error text
    /// says why there is none.
    pub(crate) fn run(
        &mut self,
        file: &TestFile,
        manifest: &Result<PathBuf, String>,
        is_wanted: &dyn Fn(&str) -> bool,
        done: &mut dyn FnMut(TestedScript),
    ) {
        for test in file.tests.iter().filter(|test| is_wanted(&test.name)) {
            let begun = clock::now();
            let beside = file.path.parent().unwrap_or(Path::new(""));
            let path = test.manifest.as_ref().map_or_else(|| manifest.clone(), |named| Ok(beside.join(named)));
            let spec = path.and_then(|path| self.spec(&path));
            let (failures, logs) = match spec {
                Ok(spec) => Rehearsing::of(&spec, test).map_or_else(|why| (vec![why], Vec::new()), Rehearsing::run),
                Err(why) => (vec![why], Vec::new()),
            };
            let (name, line, took) = (test.name.clone(), test.line, clock::since(begun));
            done(TestedScript { name, line, took, failures, logs });
        }
    }

    fn spec(&mut self, path: &Path) -> Result<Arc<Spec>, String> {
        let load = || {
            let manifest = Manifest::load(path, self.allowed).map_err(|error| error.to_string())?;
            Spec::load(self.engine, manifest).map(Arc::new).map_err(|error| error.to_string())
        };
        self.specs.entry(path.to_owned()).or_insert_with(load).clone()
    }
}

/// One test under way.
struct Rehearsing<'a> {
    spec: &'a Spec,
    test: &'a ScriptedTest,
    actor: RehearsedActor,
    script: Arc<Mutex<TestScript>>,
    id: ActorId,
    next_sequence: u64,
    failures: Vec<String>,
    logs: Vec<String>,
}

impl<'a> Rehearsing<'a> {
    fn of(spec: &'a Spec, test: &'a ScriptedTest) -> Result<Self, String> {
        let manifest = &spec.manifest;
        let id = ActorId::from_bytes(ACTOR);
        let state = match (&test.state, &test.init_state) {
            (Some(state), _) => Some(Arc::from(state.as_slice())),
            (None, Some(init)) => {
                let bounded = manifest.bounded_init_state(init.clone()).map_err(|error| error.to_string())?;
                Some(Arc::from(bounded))
            }
            (None, None) => spec.init_state.clone(),
        };
        let mut config = manifest.plain_values.all();
        config.extend(test.config.clone());
        let simulated = Simulated::new(test.unix_ms, test.seed, config);
        let script = Arc::new(Mutex::new(TestScript::new(simulated, &test.answers)));
        let rows = test.table.iter().map(|(key, value)| {
            let cell = Cell { value: value.as_slice().into(), hash: EventHash([0; 20]) };
            (Arc::from(key.as_bytes()), cell)
        });
        let table = Box::new(Table::new(TableBase::Given(Arc::new(rows.collect())), false));
        let started = Started {
            id,
            fork: None,
            name: manifest.name.clone(),
            rows: None,
            ended: false,
            label: None,
            state: NamedState::of(state.as_deref()),
            limits: NamedLimits::of(manifest.limits.entries()),
            parent: None,
            reason: StartReason::Spawn,
            resumes: false,
            manifest: manifest.text().to_string(),
            component: spec.digest(),
            incarnation: Incarnation::FIRST,
        };
        let start = RehearsalStart { actor: id, head: None, past: Past::default(), state, table };
        let answers = Box::new(SharedScript(Arc::clone(&script)));
        let limits = Arc::clone(&manifest.limits);
        let mut actor = RehearsedActor::new(Arc::clone(&spec.program), manifest.reuse, limits, start, answers);
        actor.record("started", started.to_cbor());
        let (failures, logs) = (Vec::new(), Vec::new());
        Ok(Self { spec, test, actor, script, id, next_sequence: 1, failures, logs })
    }

    /// Runs the steps until one goes wrong, and returns what went wrong and what the actor logged.
    fn run(mut self) -> (Vec<String>, Vec<String>) {
        let test = self.test;
        let mut is_alive = true;
        if test.state.is_none() {
            is_alive = self.step("init", &test.init);
        }
        for (at, step) in test.steps.iter().enumerate() {
            if !self.failures.is_empty() {
                break;
            }
            let name = format!("step {}", at + 1);
            if !is_alive {
                let why = "the actor has failed before, so nothing can happen to it";
                self.failures.push(format!("{name}, line {}: {why}", step.line));
                break;
            }
            is_alive = self.step(&name, step);
        }
        if self.failures.is_empty() {
            self.failures.extend(self.script.lock().left_of_test());
        }
        (self.failures, self.logs)
    }

    /// Makes one step, and says whether the actor lives.
    fn step(&mut self, name: &str, step: &TestStep) -> bool {
        let is_init = name == "init";
        let wrong = |why: &str| {
            let indented = why.replace('\n', "\n  ");
            format!("{name}, line {}: {}\n  {indented}", step.line, step.stimulus.described())
        };
        let expected: Vec<ScriptedAnswer> = step.expected.answers();
        let call = {
            let mut script = self.script.lock();
            script.begin_step(&step.answers, &expected, is_init);
            script.simulated.unix_ms = script.simulated.unix_ms.saturating_add(step.after_ms);
            let id = self.id.to_string();
            step.stimulus.call(&self.spec.program, &mut script.simulated, &id, self.next_sequence)
        };
        let call = match call {
            Ok(call) => call,
            Err(why) => {
                self.failures.push(wrong(&why));
                return true;
            }
        };
        let Some(function) = self.spec.program.function(&call.export) else {
            let (export, manifest) = (short_name(&call.export), self.spec.manifest.path());
            let why = format!(
                "the component does not export {export}, or the manifest {} grants no handler that calls it",
                manifest.display()
            );
            self.failures.push(wrong(&why));
            return true;
        };
        let made = self.actor.call(function, call.params, call.caller, call.timer);
        self.actor.settle(&made);
        self.next_sequence += made.events.len() as u64;
        self.logs.extend(logs(&made.events));
        let table = self.rows();
        let state = self.actor.state();
        let done = StepDone { export: &call.export, call: &made, state: state.as_deref(), table };
        let mut found = step.expected.judge(&done);
        if found.is_empty() {
            found.extend(self.script.lock().left_of_step());
        }
        let lives = match &made.end {
            RehearsedEnd::Failed(..) => false,
            // A refused `init` fails the actor.
            RehearsedEnd::Refused(_) => !is_init,
            RehearsedEnd::Returned { .. } | RehearsedEnd::Unanswered(_) | RehearsedEnd::NotExecuted(_) => true,
        };
        self.failures.extend(found.iter().map(|why| wrong(why)));
        lives
    }

    /// All rows of the actor's table, by their keys.
    fn rows(&mut self) -> BTreeMap<String, serde_json::Value> {
        let page = self.actor.table().scan(&[], None, usize::MAX - 1, u64::MAX);
        let cells = page.map(|page| page.cells).unwrap_or_default();
        let row =
            |(key, cell): (Arc<[u8]>, Cell)| (String::from_utf8_lossy(&key).into_owned(), bytes_to_json(&cell.value));
        cells.into_iter().map(row).collect()
    }
}
