//! The `[[handlers]]` entries of a manifest. Each handler reads its own table `config`.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ManifestError, ManifestSource, beside, nearest};

/// One `[[handlers]]` entry of a manifest: by it the actor is granted a handler.
#[derive(Clone, Debug)]
pub struct HandlerEntry {
    source: ManifestSource,
    index: usize,
    at: usize,
    pub(crate) kind: String,
}

/// The keys that an entry itself may have.
const ENTRY: &[&str] = &["type", "config", "interface"];

pub(super) fn read_handlers(source: &ManifestSource, table: &DeTable<'_>) -> Result<Vec<HandlerEntry>, ManifestError> {
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
        let is_misplaced = |name: &str| !ENTRY.contains(&name) && nearest(name, ENTRY).is_none();
        if let Some(key) = keys.keys().find(|key| is_misplaced(key.get_ref())) {
            let (name, at) = (key.get_ref(), key.span().start);
            let why = format!(
                "unknown key \"{name}\" of [[handlers]]; what a handler is told stands in its config: config = {{ {name} \
                 = … }}"
            );
            return refused(at, &why);
        }
        source.check_keys(keys, ENTRY, " of [[handlers]]")?;
        let Some(kind) = keys.get("type").and_then(|kind| kind.get_ref().as_str()) else {
            return refused(at, "[[handlers]] needs a \"type\", as text");
        };
        read.push(HandlerEntry { source: source.clone(), index, at, kind: kind.to_owned() });
    }
    Ok(read)
}

impl HandlerEntry {
    /// Deserialises the entry's `config` into the handler's own type. A missing `config` counts as an empty one.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] names the file and the line of a key that is not among `known`, and of a value that does not fit.
    pub fn config<T: DeserializeOwned>(&self, known: &[&str]) -> Result<T, ManifestError> {
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
        T::deserialize(toml::de::ValueDeserializer::from(config)).map_err(|error| {
            match error.message().strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
                Some(key) => self.missing_key(key),
                None => self.source.value_error(&section, &error),
            }
        })
    }

    /// The entry's `config` as a value, for a comparison with another; relative paths in it start from the manifest's directory.
    pub(crate) fn settings(&self) -> Option<toml::Value> {
        let manifest: toml::Table = self.source.text.parse().ok()?;
        manifest.get("handlers")?.get(self.index)?.get("config").cloned()
    }

    /// The error for a key that the config needs and does not have.
    pub(crate) fn missing_key(&self, key: &str) -> ManifestError {
        self.error(format!("the key \"{key}\" of handler \"{}\" is missing: config = {{ {key} = … }}", self.kind))
    }

    /// An error about this entry, with its file and line.
    pub fn error(&self, message: impl Into<String>) -> ManifestError {
        self.source.error(Some(self.at), message)
    }

    /// Resolves a path from the entry's config against the directory of the manifest; the result is absolute.
    pub fn beside(&self, path: &str) -> PathBuf {
        beside(&self.source.path, path)
    }
}

fn take_config<'a>(table: &mut DeTable<'a>, index: usize) -> Option<Spanned<DeValue<'a>>> {
    let handlers = table.remove("handlers")?;
    let DeValue::Array(entries) = handlers.into_inner() else { return None };
    let DeValue::Table(mut entry) = entries.into_iter().nth(index)?.into_inner() else { return None };
    entry.remove("config")
}
