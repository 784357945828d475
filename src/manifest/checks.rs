//! The checks of a manifest that its types cannot express: known keys, and the range of values.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::plain_errors::number_meant;
use super::similar::nearest;
use super::{ManifestError, ManifestSource};
use crate::base::limits::{ActorLimits, Limits, REUSE_CEILING, SLEEP_AFTER_MS};

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
    "config",
    "logging",
    "event_server",
    "limits",
    "reuse",
    "sleep_after_ms",
    "reads",
    "reachable",
    "restart",
    "restart_state",
    "restart_backoff_ms",
    "strategy",
    "max_restarts",
    "within_ms",
    "on_upgrade_failure",
];

pub(super) fn check_top_level(source: &ManifestSource, table: &DeTable<'_>) -> Result<(), ManifestError> {
    for (key, _) in table {
        if Limits::NAMES.contains(&&**key.get_ref()) {
            let why = format!("\"{}\" is a limit: it belongs under [limits]", key.get_ref());
            return Err(source.error(Some(key.span().start), why));
        }
        if let Some(why) = misplaced(key.get_ref()) {
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

/// Where a key belongs that is none of the top level.
fn misplaced(key: &str) -> Option<String> {
    if KEYS.contains(&key) || nearest(key, KEYS).is_some() {
        return None;
    }
    if let Some(limit) = nearest(key, Limits::NAMES) {
        return Some(format!("unknown key \"{key}\"; did you mean \"{limit}\" of [limits]?"));
    }
    // What else newcomers write there.
    let example = match key {
        "port" | "host" => "[[handlers]] type = \"http-server\" config = { port = 8080 }",
        "allow" => "[[handlers]] type = \"http-client\" config = { allow = [\"https://example.com\"] }",
        _ => return None,
    };
    Some(format!("unknown key \"{key}\"; it is told to a handler: {example}"))
}

pub(super) fn check_name(source: &ManifestSource, name: &Spanned<String>) -> Result<String, ManifestError> {
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

pub(super) fn check_reuse(source: &ManifestSource, reuse: Option<&Spanned<u32>>) -> Result<u32, ManifestError> {
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

pub(super) fn check_sleep(source: &ManifestSource, after: Option<&Spanned<u64>>) -> Result<Option<u64>, ManifestError> {
    match after.filter(|after| *after.get_ref() > SLEEP_AFTER_MS) {
        None => Ok(after.map(|after| *after.get_ref())),
        Some(after) => {
            let why = format!(
                "\"sleep_after_ms\" is {}; it can be from 1 to {SLEEP_AFTER_MS} (thirty days), or 0 for an actor that never \
                 sleeps",
                after.get_ref()
            );
            Err(source.error(Some(after.span().start), why))
        }
    }
}

/// A function that reads an actor's limits from its manifest, or supplies them from elsewhere.
pub(super) type ReadLimits<'a> = dyn Fn(&ManifestSource, &DeTable<'_>) -> Result<Limits, ManifestError> + 'a;

pub(super) fn read_limits(
    source: &ManifestSource,
    table: &DeTable<'_>,
    allowed: &ActorLimits,
) -> Result<Limits, ManifestError> {
    let mut limits = allowed.defaults().clone();
    let Some(section) = table.get("limits") else { return Ok(limits) };
    let DeValue::Table(section) = section.get_ref() else {
        return Err(source.error(Some(section.span().start), "\"limits\" is a table: [limits]"));
    };
    if let Some(key) = section.keys().find(|key| KEYS.contains(&&**key.get_ref())) {
        let why = format!(
            "\"{}\" is no limit: it stands at the top of the manifest, before the first [table]",
            key.get_ref()
        );
        return Err(source.error(Some(key.span().start), why));
    }
    source.check_keys(section, Limits::NAMES, " of [limits]")?;
    for (key, value) in section {
        let (name, at) = (key.get_ref(), Some(value.span().start));
        let number = value.get_ref().as_integer().map(|number| u64::from_str_radix(number.as_str(), number.radix()));
        let Some(Ok(number)) = number else {
            let meant = value.get_ref().as_str().and_then(|text| number_meant(name, text));
            let hint = meant.map(|number| format!(": {name} = {number}")).unwrap_or_default();
            return Err(
                source.error(at, format!("\"{name}\" of [limits] is a whole number, in the unit it ends in{hint}"))
            );
        };
        allowed
            .check(name, number)
            .map_err(|why| source.error(at, format!("\"{name}\" of [limits] is {number}; {why}")))?;
        *limits.named(name).expect("the keys were checked against the same list") = number;
    }
    Ok(limits)
}

/// Warnings about keys that are accepted and have no effect.
pub(super) fn warnings(source: &ManifestSource, table: &DeTable<'_>) -> Vec<String> {
    let no_effect = [
        ("logging", "the runtime's own logging decides (RUST_LOG)"),
        ("event_server", "events are read through the management server"),
    ];
    let present = no_effect.into_iter().filter(|(key, _)| table.contains_key(*key));
    let sections = present.map(|(key, instead)| format!("[{key}] has no effect here: {instead}"));
    sections.chain(interfaces(source, table)).collect()
}

/// Warnings about a handler's key `interface`, which older manifests have beside `type`.
fn interfaces<'a>(source: &'a ManifestSource, table: &'a DeTable<'_>) -> impl Iterator<Item = String> + 'a {
    let handlers = table.get("handlers").and_then(|handlers| handlers.get_ref().as_array());
    let entries = handlers.into_iter().flatten().filter_map(|entry| entry.get_ref().as_table());
    entries.filter_map(|entry| {
        let (key, _) = entry.get_key_value("interface")?;
        let kind = entry.get("type").and_then(|kind| kind.get_ref().as_str()).unwrap_or_default();
        let line = source.line_of(key.span().start);
        Some(format!(
            "line {line}: \"interface\" of the handler \"{kind}\" has no effect here: its type says which interfaces it has"
        ))
    })
}
