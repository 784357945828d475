//! A manifest: the TOML file that says which component an actor runs, what it may do, and within which bounds.
//!
//! Here it is read and checked as far as it can be without knowing any handler: what stands under a handler's `config`
//! stays raw until the handler itself reads it, by [`HandlerEntry::config`]. Every key is described in
//! `docs/manifest.md`.

mod error;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use error::ManifestError;
pub(crate) use error::Source;
pub(crate) use error::nearest;

use crate::base::limits::{ActorLimits, COMPONENT_BYTES, Limits, MANIFEST_BYTES, REUSE_CEILING};

const NAME_BYTES: usize = 128;

const KEYS: &[&str] = &[
    "name",
    "version",
    "description",
    "component_path",
    "init_state",
    "init_data",
    "interface",
    "handlers",
    "logging",
    "event_server",
    "limits",
    "reuse",
    "restart",
    "restart_state",
    "restart_backoff_ms",
    "strategy",
    "max_restarts",
    "within_ms",
];

/// When the supervisor starts a child again by itself. As in OTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RestartPolicy {
    /// Never: its parent decides.
    #[default]
    Temporary,
    /// After a failure.
    Transient,
    /// After any end.
    Permanent,
}

/// What a restarted actor begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RestartState {
    /// The newest state; `init` is not run.
    #[default]
    Last,
    /// The state of its first start; `init` is run.
    Initial,
}

/// Who is restarted beside a child that failed. As in OTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Strategy {
    #[default]
    OneForOne,
    OneForAll,
    RestForOne,
}

/// How an actor is restarted, and how it has its children restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Supervision {
    pub(crate) restart: RestartPolicy,
    pub(crate) restart_state: RestartState,
    /// Before the first restart; doubled for each further one within `within`.
    pub(crate) backoff: Duration,
    pub(crate) strategy: Strategy,
    /// Of its children, within `within`; one more and the actor itself fails.
    pub(crate) max_restarts: u32,
    pub(crate) within: Duration,
}

/// A checked manifest.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    source: Source,
    pub(crate) name: String,
    pub(crate) component_path: PathBuf,
    init_state: InitState,
    pub(crate) handlers: Vec<HandlerEntry>,
    pub(crate) limits: Limits,
    /// Transitions one instance serves.
    pub(crate) reuse: u32,
    pub(crate) supervision: Supervision,
    /// What was accepted and has no effect.
    pub(crate) warnings: Vec<String>,
}

/// One `[[handlers]]` entry.
#[derive(Clone, Debug)]
pub(crate) struct HandlerEntry {
    source: Source,
    index: usize,
    at: usize,
    pub(crate) kind: String,
}

#[derive(Deserialize)]
struct Keys {
    name: Spanned<String>,
    component_path: Spanned<String>,
    init_state: Option<Spanned<toml::Value>>,
    init_data: Option<Spanned<toml::Value>>,
    reuse: Option<Spanned<u32>>,
    #[serde(default)]
    restart: RestartPolicy,
    #[serde(default)]
    restart_state: RestartState,
    restart_backoff_ms: Option<u32>,
    #[serde(default)]
    strategy: Strategy,
    max_restarts: Option<u32>,
    within_ms: Option<Spanned<u32>>,
    #[serde(default, rename = "version")]
    _version: Option<String>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
}

impl Manifest {
    /// Reads and checks the manifest at `path`, of an actor of a runtime that allows `allowed`. The component is not read
    /// yet.
    pub(crate) fn load(path: &Path, allowed: &ActorLimits) -> Result<Self, ManifestError> {
        let text = read_bounded(path, MANIFEST_BYTES)
            .map_err(|why| ManifestError::new(path, None, format!("cannot read the manifest: {why}")))?;
        let text = String::from_utf8(text)
            .map_err(|error| ManifestError::new(path, None, format!("the manifest is not UTF-8 text: {error}")))?;
        Self::parse(path, text.into(), allowed)
    }

    /// Checks a manifest's text; `path` is where it lies, for relative paths and for errors.
    pub(crate) fn parse(path: &Path, text: Arc<str>, allowed: &ActorLimits) -> Result<Self, ManifestError> {
        Self::understand(path, text, &|source, table| read_limits(source, table, allowed))
    }

    /// The manifest of an actor that was started before, under `limits`: they hold whatever is allowed by now.
    pub(crate) fn recorded(path: &Path, text: Arc<str>, limits: &Limits) -> Result<Self, ManifestError> {
        Self::understand(path, text, &|_, _| Ok(limits.clone()))
    }

    fn understand(path: &Path, text: Arc<str>, limits: &ReadLimits<'_>) -> Result<Self, ManifestError> {
        let source = Source { path: path.to_owned(), text: Arc::clone(&text) };
        let table = DeTable::parse(&text).map_err(|error| source.toml_error(&error))?;
        check_top_level(&source, table.get_ref())?;
        let handlers = read_handlers(&source, table.get_ref())?;
        let warnings = warnings(table.get_ref());
        let limits = limits(&source, table.get_ref())?;
        let keys =
            Keys::deserialize(toml::Deserializer::from(table)).map_err(|error| source.value_error("", &error))?;
        Ok(Self {
            name: check_name(&source, &keys.name)?,
            component_path: beside(path, keys.component_path.get_ref()),
            init_state: InitState::of(&source, &keys)?,
            handlers,
            reuse: check_reuse(&source, keys.reuse.as_ref())?,
            supervision: Supervision {
                restart: keys.restart,
                restart_state: keys.restart_state,
                backoff: Duration::from_millis(keys.restart_backoff_ms.unwrap_or(100).into()),
                strategy: keys.strategy,
                max_restarts: keys.max_restarts.unwrap_or(1),
                within: Duration::from_millis(keys.within_ms.map_or(5_000, |within| *within.get_ref()).into()),
            },
            limits,
            warnings,
            source,
        })
    }

    /// The same manifest for an actor of another name: in its text, too, which is what is read again at the next start.
    pub(crate) fn renamed(&self, name: &str) -> Result<Self, ManifestError> {
        let table = DeTable::parse(self.text()).map_err(|error| self.source.toml_error(&error))?;
        let value = table.get_ref().get("name").ok_or_else(|| self.error("it has no \"name\""))?;
        let mut text = self.text().to_string();
        text.replace_range(value.span(), &toml::Value::from(name).to_string());
        Self::recorded(&self.source.path, text.into(), &self.limits)
    }

    /// The text as it was read.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.source.text
    }

    /// Where it lies, as an absolute path.
    pub(crate) fn path(&self) -> PathBuf {
        absolute(&self.source.path)
    }

    /// The state a new actor begins with, read from its file where it stands in one.
    pub(crate) fn read_init_state(&self) -> Result<Option<Vec<u8>>, ManifestError> {
        let limit = self.limits.state_bytes;
        let bytes = match &self.init_state {
            InitState::None => return Ok(None),
            InitState::Json(bytes) => bytes.clone(),
            InitState::File { path, key, at } => read_bounded(path, limit).map_err(|why| {
                let path = path.display();
                let why = format!("\"{key}\": neither JSON nor the path of a file that can be read ({path}: {why})");
                self.source.error(Some(*at), why)
            })?,
        };
        if bytes.len() as u64 > limit {
            return Err(
                self.error(format!("\"init_state\" has {} bytes; the limit state_bytes is {limit}", bytes.len()))
            );
        }
        Ok(Some(bytes))
    }

    /// The file `init_state` names, where it names one.
    pub(crate) fn init_state_path(&self) -> Option<&Path> {
        match &self.init_state {
            InitState::File { path, .. } => Some(path),
            InitState::None | InitState::Json(_) => None,
        }
    }

    /// Reads the component's bytes.
    pub(crate) fn read_component(&self) -> Result<Vec<u8>, ManifestError> {
        read_bounded(&self.component_path, COMPONENT_BYTES).map_err(|why| {
            let path = self.component_path.display();
            self.error(format!("\"component_path\": cannot read {path}: {why}; is the component built?"))
        })
    }

    /// A mistake in what the manifest says of the handler `kind`.
    pub(crate) fn handler_error(&self, kind: &str, message: String) -> ManifestError {
        match self.handlers.iter().find(|entry| entry.kind == kind) {
            Some(entry) => entry.error(message),
            None => self.error(message),
        }
    }

    /// A mistake that shows only later, such as a component that cannot do what the manifest asks.
    pub(crate) fn error(&self, message: impl Into<String>) -> ManifestError {
        self.source.error(None, message)
    }
}

impl HandlerEntry {
    /// Reads the entry's `config` as the handler's own type, refusing keys it does not know. An absent `config` is
    /// like an empty one.
    pub(crate) fn config<T: DeserializeOwned>(&self, known: &[&str]) -> Result<T, ManifestError> {
        let section = format!(" of handler \"{}\"", self.kind);
        let mut table = DeTable::parse(&self.source.text).map_err(|error| self.source.toml_error(&error))?.into_inner();
        let config = take_config(&mut table, self.index)
            .unwrap_or_else(|| Spanned::new(self.at..self.at, DeValue::Table(DeTable::default())));
        let at = config.span();
        match config.get_ref() {
            DeValue::Table(table) => self.source.check_keys(table, known, &section)?,
            other => {
                let why = format!("\"config\"{section} is a {}, not a table", other.type_str());
                return Err(self.source.error(Some(at.start), why));
            }
        }
        T::deserialize(toml::de::ValueDeserializer::from(config))
            .map_err(|error| self.source.value_error(&section, &error))
    }

    /// A mistake in this entry.
    pub(crate) fn error(&self, message: impl Into<String>) -> ManifestError {
        self.source.error(Some(self.at), message)
    }

    /// A path of the entry's config, as it is meant: relative to the manifest.
    pub(crate) fn beside(&self, path: &str) -> PathBuf {
        beside(&self.source.path, path)
    }
}

/// What a manifest's path means: relative to the manifest, and the same from wherever the runtime is started next.
fn beside(manifest: &Path, path: &str) -> PathBuf {
    absolute(manifest).parent().unwrap_or(Path::new("/")).join(path)
}

/// Without following links; an unreadable working directory leaves the path as it is.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn take_config<'a>(table: &mut DeTable<'a>, index: usize) -> Option<Spanned<DeValue<'a>>> {
    let handlers = table.remove("handlers")?;
    let DeValue::Array(entries) = handlers.into_inner() else { return None };
    let DeValue::Table(mut entry) = entries.into_iter().nth(index)?.into_inner() else { return None };
    entry.remove("config")
}

fn check_top_level(source: &Source, table: &DeTable<'_>) -> Result<(), ManifestError> {
    for (key, _) in table {
        if Limits::NAMES.contains(&&**key.get_ref()) {
            let why = format!("\"{}\" is a limit: it belongs under [limits]", key.get_ref());
            return Err(source.error(Some(key.span().start), why));
        }
    }
    source.check_keys(table, KEYS, "")?;
    for (required, what) in [("name", "the actor's name"), ("component_path", "the file of the component it runs")] {
        if !table.contains_key(required) {
            return Err(source.error(None, format!("the key \"{required}\" is missing: {what}")));
        }
    }
    if let Some(DeValue::Table(interface)) = table.get("interface").map(Spanned::get_ref) {
        source.check_keys(interface, &["implements", "requires"], " of [interface]")?;
    }
    Ok(())
}

fn check_name(source: &Source, name: &Spanned<String>) -> Result<String, ManifestError> {
    let text = name.get_ref();
    let why = if text.trim().is_empty() {
        "\"name\" is empty: give the actor a name".to_owned()
    } else if text.len() > NAME_BYTES {
        format!("\"name\" has {} bytes; the most is {NAME_BYTES}", text.len())
    } else if text.chars().any(char::is_control) {
        "\"name\" contains a control character".to_owned()
    } else {
        return Ok(text.clone());
    };
    Err(source.error(Some(name.span().start), why))
}

fn check_reuse(source: &Source, reuse: Option<&Spanned<u32>>) -> Result<u32, ManifestError> {
    match reuse {
        None => Ok(1),
        Some(reuse) if (1..=REUSE_CEILING).contains(reuse.get_ref()) => Ok(*reuse.get_ref()),
        Some(reuse) => {
            let why = format!(
                "\"reuse\" is {}; it counts transitions of one instance, from 1 to {REUSE_CEILING}",
                reuse.get_ref()
            );
            Err(source.error(Some(reuse.span().start), why))
        }
    }
}

fn read_handlers(source: &Source, table: &DeTable<'_>) -> Result<Vec<HandlerEntry>, ManifestError> {
    let Some(handlers) = table.get("handlers") else { return Ok(Vec::new()) };
    let refused = |at: usize, why: &str| Err(source.error(Some(at), why));
    let DeValue::Array(entries) = handlers.get_ref() else {
        return refused(handlers.span().start, "\"handlers\" is written as [[handlers]], once for each handler");
    };
    let mut read = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let at = entry.span().start;
        let DeValue::Table(keys) = entry.get_ref() else {
            return refused(at, "a handler is a table with \"type\" and \"config\"");
        };
        source.check_keys(keys, &["type", "config"], " of [[handlers]]")?;
        let Some(kind) = keys.get("type").and_then(|kind| kind.get_ref().as_str()) else {
            return refused(at, "[[handlers]] needs a \"type\", as text");
        };
        read.push(HandlerEntry { source: source.clone(), index, at, kind: kind.to_owned() });
    }
    Ok(read)
}

type ReadLimits<'a> = dyn Fn(&Source, &DeTable<'_>) -> Result<Limits, ManifestError> + 'a;

fn read_limits(source: &Source, table: &DeTable<'_>, allowed: &ActorLimits) -> Result<Limits, ManifestError> {
    let mut limits = allowed.defaults().clone();
    let Some(section) = table.get("limits") else { return Ok(limits) };
    let DeValue::Table(section) = section.get_ref() else {
        return Err(source.error(Some(section.span().start), "\"limits\" is a table: [limits]"));
    };
    source.check_keys(section, Limits::NAMES, " of [limits]")?;
    for (key, value) in section {
        let (name, at) = (key.get_ref(), Some(value.span().start));
        let number = value.get_ref().as_integer().map(|number| u64::from_str_radix(number.as_str(), number.radix()));
        let Some(Ok(number)) = number else {
            return Err(source.error(at, format!("\"{name}\" of [limits] is a whole number, in the unit it ends in")));
        };
        allowed
            .check(name, number)
            .map_err(|why| source.error(at, format!("\"{name}\" of [limits] is {number}; {why}")))?;
        *limits.named(name).expect("the keys were checked against the same list") = number;
    }
    Ok(limits)
}

/// What a new actor begins with, as the manifest gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum InitState {
    None,
    /// JSON as text, or a TOML value that stands for it.
    Json(Vec<u8>),
    /// The path of a file that holds it.
    File {
        path: PathBuf,
        key: &'static str,
        at: usize,
    },
}

impl InitState {
    fn of(source: &Source, keys: &Keys) -> Result<Self, ManifestError> {
        let (key, value) = match (&keys.init_state, &keys.init_data) {
            (None, None) => return Ok(Self::None),
            (Some(value), None) => ("init_state", value),
            (None, Some(value)) => ("init_data", value),
            (Some(_), Some(data)) => {
                let why = "\"init_data\" is the older name of \"init_state\": give one of them";
                return Err(source.error(Some(data.span().start), why));
            }
        };
        let at = value.span().start;
        match value.get_ref() {
            toml::Value::String(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
                Ok(Self::Json(text.clone().into_bytes()))
            }
            toml::Value::String(text) => Ok(Self::File { path: beside(&source.path, text), key, at }),
            other => serde_json::to_vec(other)
                .map(Self::Json)
                .map_err(|error| source.error(Some(at), format!("\"{key}\" cannot be written as JSON: {error}"))),
        }
    }
}

fn warnings(table: &DeTable<'_>) -> Vec<String> {
    let no_effect = [
        ("logging", "the runtime's own logging decides (RUST_LOG)"),
        ("event_server", "events are read through the management server"),
    ];
    let present = no_effect.into_iter().filter(|(key, _)| table.contains_key(*key));
    present.map(|(key, instead)| format!("[{key}] has no effect here: {instead}")).collect()
}

pub(crate) fn read_bounded(path: &Path, at_most: u64) -> Result<Vec<u8>, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a regular file".into());
    }
    let mut bytes = Vec::new();
    file.take(at_most + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > at_most {
        return Err(format!("larger than {at_most} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Manifest, String> {
        Manifest::parse(Path::new("dir/actor.toml"), text.into(), &ActorLimits::default())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_manifest_for_another_name_differs_in_nothing_else() {
        let before =
            parse("# name = \"x\"\ncomponent_path = \"c.wasm\"\nname = 'a' # mine\nreuse = 3\n").expect("valid");
        for name in ["fork", "say \"hi\"", "a \\ b"] {
            let renamed = before.renamed(name).expect("a name");
            assert_eq!((renamed.name.as_str(), renamed.reuse), (name, 3));
            assert!(renamed.text().ends_with(" # mine\nreuse = 3\n"), "{}", renamed.text());
        }
        assert!(before.renamed("").expect_err("no name").to_string().contains("\"name\" is empty"));
    }

    const LEAST: &str = "name = \"counter\"\ncomponent_path = \"counter.wasm\"\n";

    fn with(more: &str) -> Result<Manifest, String> {
        parse(&format!("{LEAST}{more}"))
    }

    #[test]
    fn the_least_manifest_names_an_actor_and_its_component() {
        let manifest = parse(LEAST).expect("a manifest");
        assert_eq!(manifest.component_path, absolute(Path::new("dir/counter.wasm")));
        assert_eq!((manifest.reuse, manifest.read_init_state()), (1, Ok(None)));
        assert_eq!(manifest.limits, Limits::default());
    }

    #[test]
    fn every_key_of_older_manifests_is_accepted() {
        let manifest = with(
            "version = \"0.1.0\"\ndescription = \"counts\"\ninit_data = \"[1]\"\n[interface]\nimplements = \"a\"\n\
             requires = [\"b\"]\n[logging]\nlevel = \"debug\"\n[event_server]\nport = 3030\n[[handlers]]\ntype = \
             \"message-server\"\nconfig = {}\n",
        )
        .expect("a manifest");
        assert_eq!(manifest.read_init_state(), Ok(Some(b"[1]".to_vec())));
        assert_eq!(manifest.warnings.len(), 2);
    }

    #[test]
    fn init_state_is_json_or_a_value_or_a_file() {
        let state = |text: &str| with(text).expect("a manifest").read_init_state().map_err(|error| error.to_string());
        assert_eq!(state("init_state = '{\"count\": 41}'"), Ok(Some(br#"{"count": 41}"#.to_vec())));
        assert_eq!(state("init_state = { count = 41 }"), Ok(Some(br#"{"count":41}"#.to_vec())));
        let missing = state("init_state = \"nowhere.json\"").expect_err("no such file");
        assert!(missing.starts_with("dir/actor.toml:3: \"init_state\": neither JSON nor the path"), "{missing}");
    }

    #[test]
    fn each_mistake_is_named_with_its_line_and_a_remedy() {
        for (more, expected) in [
            ("nmae = \"x\"", "dir/actor.toml:3: unknown key \"nmae\"; did you mean \"name\"?"),
            ("reuse = \"often\"", "dir/actor.toml:3: \"reuse\": invalid type: string \"often\""),
            ("reuse = 0", "dir/actor.toml:3: \"reuse\" is 0; it counts transitions"),
            ("reuse = 1001", "dir/actor.toml:3: \"reuse\" is 1001"),
            ("memory_bytes = 1", "dir/actor.toml:3: \"memory_bytes\" is a limit: it belongs under [limits]"),
            ("[limits]\nmemory = 1", "dir/actor.toml:4: unknown key \"memory\" of [limits]"),
            ("[limits]\nmemory_bytes = -1", "dir/actor.toml:4: \"memory_bytes\" of [limits] is a whole number"),
            (
                "[limits]\nmemory_bytes = 99999999999",
                "dir/actor.toml:4: \"memory_bytes\" of [limits] is 99999999999; this",
            ),
            ("[[handlers]]\nkind = \"x\"", "dir/actor.toml:4: unknown key \"kind\" of [[handlers]]"),
            ("[[handlers]]\n", "dir/actor.toml:3: [[handlers]] needs a \"type\""),
            ("handlers = 3", "dir/actor.toml:3: \"handlers\" is written as [[handlers]]"),
            ("restart = \"sometimes\"", "dir/actor.toml:3: \"restart\": unknown variant `sometimes`"),
            ("x = ", "dir/actor.toml:3: "),
        ] {
            let error = with(more).expect_err(more);
            assert!(error.starts_with(expected), "{more:?} gave {error}");
        }
        let nameless = parse("component_path = \"x\"").expect_err("no name");
        assert!(nameless.contains("the key \"name\" is missing"), "{nameless}");
    }

    #[derive(Debug, Deserialize)]
    struct Port {
        #[allow(dead_code)]
        port: Option<u16>,
    }

    #[test]
    fn a_handlers_config_is_read_as_its_own_type_with_lines() {
        let config = |text: &str| {
            let manifest = with(text).expect("a manifest");
            manifest.handlers[0].config::<Port>(&["port"]).map_err(|error| error.to_string())
        };
        assert_eq!(config("[[handlers]]\ntype = \"x\"").expect("a config").port, None);
        assert_eq!(config("[[handlers]]\ntype = \"x\"\nconfig = { port = 80 }").expect("a config").port, Some(80));
        assert_eq!(
            config("[[handlers]]\ntype = \"x\"\n[handlers.config]\nport = 80").expect("a config").port,
            Some(80)
        );
        let typo = config("[[handlers]]\ntype = \"x\"\nconfig = { prot = 80 }").expect_err("a typo");
        assert_eq!(typo, "dir/actor.toml:5: unknown key \"prot\" of handler \"x\"; did you mean \"port\"?");
        let range = config("[[handlers]]\ntype = \"x\"\nconfig = { port = 70000 }").expect_err("out of range");
        assert!(range.starts_with("dir/actor.toml:5: \"port\" of handler \"x\": "), "{range}");
    }
}
