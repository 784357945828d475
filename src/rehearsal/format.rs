//! The format of test files, `tests/*.toml`: what is read, what is refused, and where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::expectation::Expectation;
use super::scripted::{ScriptedAnswer, WrittenCall};
use super::stimulus::Stimulus;
use super::written::WrittenValue;
use crate::base::limits::MANIFEST_BYTES;
use crate::manifest::{ManifestError, ManifestSource, read_bounded};

/// A test file.
pub(crate) struct TestFile {
    pub(super) path: PathBuf,
    pub(super) tests: Vec<ScriptedTest>,
}

/// One `[[test]]`.
pub(super) struct ScriptedTest {
    pub(super) name: String,
    pub(super) line: usize,
    /// The manifest, relative to the directory of the file; none if it is that of the project.
    pub(super) manifest: Option<String>,
    pub(super) init_state: Option<Vec<u8>>,
    /// The state that the actor begins in, without `init`.
    pub(super) state: Option<Vec<u8>>,
    pub(super) table: BTreeMap<String, Vec<u8>>,
    pub(super) config: BTreeMap<String, Vec<u8>>,
    pub(super) unix_ms: Option<u64>,
    pub(super) seed: u64,
    pub(super) answers: Vec<ScriptedAnswer>,
    pub(super) init: TestStep,
    pub(super) steps: Vec<TestStep>,
}

/// One `[[test.step]]`, or `[test.init]`.
pub(super) struct TestStep {
    pub(super) line: usize,
    pub(super) stimulus: Stimulus,
    /// How far the clock moves before it.
    pub(super) after_ms: u64,
    pub(super) answers: Vec<ScriptedAnswer>,
    pub(super) expected: Expectation,
}

const FILE_KEYS: &[&str] = &["manifest", "test"];
const TEST_KEYS: &[&str] =
    &["name", "manifest", "init_state", "state", "table", "config", "now", "seed", "host", "init", "step"];
const HOST_KEYS: &[&str] = &["call", "params", "returns", "fails", "always"];
/// What every step may say, besides what happens and what is expected.
const STEP_KEYS: &[&str] = &["after_ms", "host"];

#[derive(Deserialize)]
struct TestKeys {
    name: Spanned<String>,
    manifest: Option<String>,
    init_state: Option<WrittenValue>,
    state: Option<WrittenValue>,
    #[serde(default)]
    table: BTreeMap<String, WrittenValue>,
    #[serde(default)]
    config: BTreeMap<String, WrittenValue>,
    now: Option<Spanned<WrittenValue>>,
    #[serde(default)]
    seed: u64,
}

#[derive(Deserialize)]
struct HostAnswerKeys {
    call: Spanned<String>,
    params: Option<Vec<WrittenValue>>,
    returns: Option<WrittenValue>,
    fails: Option<WrittenValue>,
    #[serde(default)]
    always: bool,
}

impl TestFile {
    /// Reads a file, and checks everything in it that can be checked without running it.
    pub(crate) fn read(path: &Path) -> Result<Self, ManifestError> {
        let unreadable = |why: String| ManifestError::new(path, None, format!("cannot read the test file: {why}"));
        let text = read_bounded(path, MANIFEST_BYTES).map_err(unreadable)?;
        let text = String::from_utf8(text).map_err(|error| unreadable(error.to_string()))?;
        Self::parse(path, text.into())
    }

    fn parse(path: &Path, text: Arc<str>) -> Result<Self, ManifestError> {
        let source = ManifestSource { path: path.to_owned(), text: Arc::clone(&text) };
        let table = DeTable::parse(&text).map_err(|error| source.toml_error(&error))?;
        let table = table.get_ref();
        source.check_keys(table, FILE_KEYS, " of a test file")?;
        let reader = TestReader { source: &source };
        let manifest = match table.get("manifest") {
            Some(value) => Some(reader.keys::<String>(value, " of a test file")?),
            None => None,
        };
        let tests = reader.tables(table, "test")?;
        if tests.is_empty() {
            return Err(source.error(None, "there is no test in it: begin one with [[test]] and its name"));
        }
        let read = tests.into_iter().map(|(value, table)| reader.test(value, table, manifest.as_ref()));
        Ok(Self { path: path.to_owned(), tests: read.collect::<Result<_, _>>()? })
    }
}

type SpannedValue<'a> = Spanned<DeValue<'a>>;

struct TestReader<'a> {
    source: &'a ManifestSource,
}

impl TestReader<'_> {
    fn keys<T: for<'de> Deserialize<'de>>(&self, value: &SpannedValue<'_>, section: &str) -> Result<T, ManifestError> {
        T::deserialize(ValueDeserializer::from(value.clone())).map_err(|error| self.source.value_error(section, &error))
    }

    /// The tables of `[[key]]`.
    fn tables<'v, 'de>(
        &self,
        table: &'v DeTable<'de>,
        key: &str,
    ) -> Result<Vec<(&'v SpannedValue<'de>, &'v DeTable<'de>)>, ManifestError> {
        let Some(value) = table.get(key) else { return Ok(Vec::new()) };
        let wrong = |at: usize| self.source.error(Some(at), format!("\"{key}\" is a list of tables: write [[…{key}]]"));
        let DeValue::Array(items) = value.get_ref() else { return Err(wrong(value.span().start)) };
        let tables = items.iter().map(|item| match item.get_ref() {
            DeValue::Table(table) => Ok((item, table)),
            _ => Err(wrong(item.span().start)),
        });
        tables.collect()
    }

    fn test(
        &self,
        value: &SpannedValue<'_>,
        table: &DeTable<'_>,
        manifest: Option<&String>,
    ) -> Result<ScriptedTest, ManifestError> {
        self.source.check_keys(table, TEST_KEYS, " of [[test]]")?;
        let keys: TestKeys = self.keys(&bare(value, &["host", "init", "step"]), " of [[test]]")?;
        let line = self.source.line_of(keys.name.span().start);
        let wrong = |why: String| self.source.error(Some(keys.name.span().start), why);
        if keys.state.is_some() && (keys.init_state.is_some() || table.contains_key("init")) {
            let why = "\"state\" begins the test without init: it cannot stand beside \"init_state\" or [test.init]";
            return Err(wrong(why.to_owned()));
        }
        if keys.state.is_none() && !keys.table.is_empty() {
            let why = "\"table\" needs \"state\": init begins with an empty table, and fills it itself";
            return Err(wrong(why.to_owned()));
        }
        let bytes = |value: &WrittenValue| value.bytes().map_err(wrong);
        let init = match table.get("init") {
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => {
                    let known = [STEP_KEYS, Expectation::KEYS].concat();
                    self.source.check_keys(table, &known, " of [test.init]")?;
                    self.step(value, table, Stimulus::Init, " of [test.init]")?
                }
                _ => return Err(self.source.error(Some(value.span().start), "\"init\" is a table: [test.init]")),
            },
            None => TestStep::init(line),
        };
        let steps = self.tables(table, "step")?.into_iter().map(|(value, table)| {
            let known = [Stimulus::KEYS, STEP_KEYS, Expectation::KEYS].concat();
            self.source.check_keys(table, &known, " of [[test.step]]")?;
            let stimulus = Stimulus::of(self.keys(value, " of [[test.step]]")?);
            let stimulus = stimulus.map_err(|why| self.source.error(Some(value.span().start), why))?;
            self.step(value, table, stimulus, " of [[test.step]]")
        });
        Ok(ScriptedTest {
            line,
            manifest: keys.manifest.clone().or_else(|| manifest.cloned()),
            init_state: keys.init_state.as_ref().map(bytes).transpose()?,
            state: keys.state.as_ref().map(bytes).transpose()?,
            table: all(&keys.table, bytes)?,
            config: all(&keys.config, bytes)?,
            unix_ms: keys.now.as_ref().map(|now| self.time(now)).transpose()?,
            seed: keys.seed,
            answers: self.answers(table)?,
            init,
            steps: steps.collect::<Result<_, _>>()?,
            name: keys.name.into_inner(),
        })
    }

    fn step(
        &self,
        value: &SpannedValue<'_>,
        table: &DeTable<'_>,
        stimulus: Stimulus,
        section: &str,
    ) -> Result<TestStep, ManifestError> {
        let after_ms = table.get("after_ms").map(|value| self.keys::<u64>(value, section)).transpose()?;
        let (at, after_ms) = (value.span().start, after_ms.unwrap_or(0));
        let expected = Expectation::of(self.keys(value, section)?);
        let mut expected = expected.map_err(|why| self.source.error(Some(at), why))?;
        if let Some(why) = expected.does_not_fit(&stimulus) {
            return Err(self.source.error(Some(at), why));
        }
        expected.calls_expected = self.calls(table, section)?;
        Ok(TestStep { line: self.source.line_of(at), stimulus, after_ms, answers: self.answers(table)?, expected })
    }

    /// The host calls under `effects`.
    fn calls(&self, table: &DeTable<'_>, section: &str) -> Result<Option<Vec<WrittenCall>>, ManifestError> {
        let Some(value) = table.get("effects") else { return Ok(None) };
        let wrong = |at: usize| {
            self.source.error(Some(at), "\"effects\" is a list of host calls: [\"timer.set\", { call = … }]")
        };
        let DeValue::Array(items) = value.get_ref() else { return Err(wrong(value.span().start)) };
        let calls = items.iter().map(|item| match item.get_ref() {
            DeValue::String(name) => {
                WrittenCall::named(name).map_err(|why| self.source.error(Some(item.span().start), why))
            }
            DeValue::Table(table) => {
                self.source.check_keys(table, &["call", "params", "returns", "fails"], " of \"effects\"")?;
                let keys: HostAnswerKeys = self.keys(item, section)?;
                let answer = self.answer(&keys)?;
                WrittenCall::with_answer(answer).map_err(|why| self.source.error(Some(item.span().start), why))
            }
            _ => Err(wrong(item.span().start)),
        });
        calls.collect::<Result<_, _>>().map(Some)
    }

    fn answers(&self, table: &DeTable<'_>) -> Result<Vec<ScriptedAnswer>, ManifestError> {
        let answers = self.tables(table, "host")?.into_iter().map(|(value, table)| {
            self.source.check_keys(table, HOST_KEYS, " of \"host\"")?;
            let answer = self.answer(&self.keys(value, " of \"host\"")?)?;
            match answer.bytes {
                Some(_) => Ok(answer),
                None => {
                    let why = format!("what does {} return? Add \"returns\" or \"fails\"", answer.short_name());
                    Err(self.source.error(Some(value.span().start), why))
                }
            }
        });
        answers.collect()
    }

    fn answer(&self, keys: &HostAnswerKeys) -> Result<ScriptedAnswer, ManifestError> {
        let at = keys.call.span().start;
        let params = keys.params.as_ref().map(|params| params.iter().map(WrittenValue::shown).collect::<Vec<Json>>());
        let (returns, fails) = (keys.returns.as_ref().map(|it| &it.0), keys.fails.as_ref().map(|it| &it.0));
        ScriptedAnswer::of(keys.call.get_ref(), params, returns, fails, keys.always, self.source.line_of(at))
            .map_err(|why| self.source.error(Some(at), why))
    }

    /// A time: milliseconds since the Unix epoch, or a date and a time.
    fn time(&self, now: &Spanned<WrittenValue>) -> Result<u64, ManifestError> {
        let ms = match &now.get_ref().0 {
            Json::Number(number) => number.as_u64(),
            Json::String(text) => {
                text.parse::<jiff::Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok())
            }
            _ => None,
        };
        ms.ok_or_else(|| {
            let why = "\"now\" is a time, as 2026-01-01T00:00:00Z, or milliseconds since the Unix epoch";
            self.source.error(Some(now.span().start), why)
        })
    }
}

impl TestStep {
    fn init(line: usize) -> Self {
        let (stimulus, answers, expected) = (Stimulus::Init, Vec::new(), Expectation::default());
        Self { line, stimulus, after_ms: 0, answers, expected }
    }
}

fn all<E>(
    values: &BTreeMap<String, WrittenValue>,
    bytes: impl Fn(&WrittenValue) -> Result<Vec<u8>, E>,
) -> Result<BTreeMap<String, Vec<u8>>, E> {
    values.iter().map(|(key, value)| bytes(value).map(|bytes| (key.clone(), bytes))).collect()
}

/// The value without some keys, which are read one by one.
fn bare<'de>(value: &SpannedValue<'de>, without: &[&str]) -> SpannedValue<'de> {
    let mut value = value.clone();
    if let DeValue::Table(table) = value.get_mut() {
        without.iter().for_each(|key| _ = table.remove(*key));
    }
    value
}
