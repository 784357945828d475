//! The script of a test: how it answers host calls.
//!
//! A host call is answered by the first of these that fits: an entry `host` of the step, one of the test, an entry of
//! `effects` or `sent`, what is simulated. If none fits, the call is unanswered, and the test fails.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value as Json;

use super::simulated::Simulated;
use super::written::{inline_toml, without_nulls};
use crate::chain::cbor::Value;
use crate::guest::values::{self, example, full_name, has_plain_success, is_function, short_name};
use crate::guest::{AskedHost, HostAnswers, Interruption};
use crate::handlers::is_noticed;

/// How one host call, or each of several, is answered.
#[derive(Clone, Debug)]
pub(super) struct ScriptedAnswer {
    /// The function's full name.
    pub(super) function: String,
    /// The parameters that the call must have; none if any fit.
    pub(super) params: Option<Vec<Json>>,
    /// The encoded answer.
    pub(super) bytes: Option<Vec<u8>>,
    is_for_all: bool,
    pub(super) line: usize,
}

impl ScriptedAnswer {
    pub(super) fn of(
        call: &str,
        params: Option<Vec<Json>>,
        returns: Option<&Json>,
        fails: Option<&Json>,
        is_for_all: bool,
        line: usize,
    ) -> Result<Self, String> {
        let function = known(call)?;
        let bytes = match (returns, fails) {
            (Some(_), Some(_)) => return Err("\"returns\" and \"fails\" exclude each other".to_owned()),
            (None, Some(error)) => Some(values::failed(&function, error)?),
            (Some(value), None) => Some(values::returned(&function, Some(value))?),
            (None, None) if has_plain_success(&function) => Some(values::returned(&function, None)?),
            (None, None) => None,
        };
        Ok(Self { function, params, bytes, is_for_all, line })
    }

    pub(super) fn short_name(&self) -> &str {
        short_name(&self.function)
    }
}

/// The full name of a host function that a test names.
fn known(call: &str) -> Result<String, String> {
    let full = full_name(call);
    if is_function(&full) {
        return Ok(full);
    }
    Err(format!("no host function is called \"{call}\": it is named as INTERFACE.FUNCTION, such as timer.set"))
}

/// A host call that a test expects, under `effects`.
#[derive(Clone, Debug)]
pub(super) struct WrittenCall(pub(super) ScriptedAnswer);

impl WrittenCall {
    pub(super) fn named(call: &str) -> Result<Self, String> {
        Self::with_answer(ScriptedAnswer::of(call, None, None, None, false, 0)?)
    }

    pub(super) fn with_answer(answer: ScriptedAnswer) -> Result<Self, String> {
        if is_noticed(&answer.function) {
            return Ok(Self(answer));
        }
        let name = answer.short_name();
        Err(format!("{name} is no effect, since nobody outside of the actor notices it: answer it by [[…host]]"))
    }
}

fn is_same(wanted: &[Json], params: &[Json]) -> bool {
    wanted.len() == params.len()
        && wanted.iter().zip(params).all(|(one, other)| without_nulls(one) == without_nulls(other))
}

/// What the script of a test knows while a step runs.
#[derive(Debug)]
pub(super) struct TestScript {
    pub(super) simulated: Simulated,
    of_test: Answers,
    of_step: Answers,
    expected: Answers,
    /// What is to be said of the host call that had no answer.
    pub(super) unanswered: Option<String>,
    /// Whether the step is `init`, which has another section in the file.
    is_init: bool,
}

/// Answers, each with how often it was given.
#[derive(Debug, Default)]
struct Answers(Vec<(ScriptedAnswer, u64)>);

impl Answers {
    fn of(answers: &[ScriptedAnswer]) -> Self {
        Self(answers.iter().map(|answer| (answer.clone(), 0)).collect())
    }

    fn take(&mut self, function: &str, params: &[Json], must_fit: bool) -> Option<Option<Vec<u8>>> {
        let fits = |(answer, given): &&mut (ScriptedAnswer, u64)| {
            let is_left = *given == 0 || answer.is_for_all;
            let params_fit = !must_fit || answer.params.as_deref().is_none_or(|wanted| is_same(wanted, params));
            answer.function == function && is_left && params_fit
        };
        let (answer, given) = self.0.iter_mut().find(fits)?;
        *given += 1;
        Some(answer.bytes.clone())
    }

    /// The answers that nobody asked for, and that were not for all calls.
    fn left(&self) -> Vec<String> {
        let left = self.0.iter().filter(|(answer, given)| *given == 0 && !answer.is_for_all);
        left.map(|(answer, _)| {
            format!("{} was not called (its answer stands in line {})", answer.short_name(), answer.line)
        })
        .collect()
    }
}

impl TestScript {
    pub(super) fn new(simulated: Simulated, answers: &[ScriptedAnswer]) -> Self {
        let (of_step, expected) = (Answers::default(), Answers::default());
        Self { simulated, of_test: Answers::of(answers), of_step, expected, unanswered: None, is_init: false }
    }

    /// A step begins. `expected` are the host calls that it expects, which need no other answer if they can only succeed.
    pub(super) fn begin_step(&mut self, answers: &[ScriptedAnswer], expected: &[ScriptedAnswer], is_init: bool) {
        (self.of_step, self.expected) = (Answers::of(answers), Answers::of(expected));
        (self.unanswered, self.is_init) = (None, is_init);
    }

    /// What the step has scripted and nobody asked for.
    pub(super) fn left_of_step(&self) -> Vec<String> {
        self.of_step.left()
    }

    pub(super) fn left_of_test(&self) -> Vec<String> {
        self.of_test.left()
    }

    fn answered(&mut self, call: &AskedHost<'_>) -> Option<Vec<u8>> {
        let (name, params) = (call.function.full, shown_params(call.params));
        let scripted = self.of_step.take(name, &params, true).or_else(|| self.of_test.take(name, &params, true));
        if let Some(Some(bytes)) = scripted {
            return Some(bytes);
        }
        // The parameters of an expected call are compared afterwards.
        if let Some(bytes) = self.expected.take(name, &params, false) {
            let simulated = bytes.or_else(|| self.simulated.answer(call));
            return simulated.or_else(|| Simulated::success(call));
        }
        self.simulated.answer(call)
    }

    fn advice(&self, call: &AskedHost<'_>) -> String {
        let (name, params) = (short_name(call.function.full), shown_params(call.params));
        let section = if self.is_init { "test.init" } else { "test.step" };
        let shown = Json::Array(params.clone());
        let params = params.iter().map(inline_toml).collect::<Vec<_>>().join(", ");
        let example = example(call.function.full);
        let returns = example.as_ref().map(inline_toml);
        let mut said = format!("the host call {name} has no answer\n  call    {name}\n  params  {shown}\n");
        said += "answer it by these lines of the test:\n";
        said += &format!("  [[{section}.host]]\n  call = \"{name}\"\n");
        if let Some(returns) = &returns {
            said += &format!("  returns = {returns}\n");
        }
        if is_noticed(call.function.full) {
            let returns = returns.map(|it| format!(", returns = {it}")).unwrap_or_default();
            said += &format!("or expect it:\n  effects = [{{ call = \"{name}\", params = [{params}]{returns} }}]\n");
        }
        said.trim_end().to_owned()
    }
}

/// The parameters of a host call, as JSON for people.
pub(super) fn shown_params(params: &[u8]) -> Vec<Json> {
    match Value::parse(params).map(|value| value.to_json()) {
        Ok(Json::Array(params)) => params,
        Ok(Json::Null) | Err(_) => Vec::new(),
        Ok(other) => vec![other],
    }
}

/// The script, shared by the recorder, which asks, and the runner, which looks at it between two calls.
#[derive(Clone)]
pub(super) struct SharedScript(pub(super) Arc<Mutex<TestScript>>);

impl HostAnswers for SharedScript {
    fn answer(&mut self, call: &AskedHost<'_>) -> Result<Vec<u8>, Interruption> {
        let mut script = self.0.lock();
        match script.answered(call) {
            Some(bytes) => {
                script.simulated.note(call, &bytes);
                Ok(bytes)
            }
            None => {
                let advice = script.advice(call);
                script.unanswered = Some(advice.clone());
                Err(Interruption::Unanswered(advice))
            }
        }
    }

    fn unix_ms(&self) -> u64 {
        self.0.lock().simulated.unix_ms
    }
}
