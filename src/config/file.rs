//! Reading `theater.toml`: every value with its line, and every mistake named by its line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::listeners;
use super::secrets::{self, NamedSecret};
use super::setting::{Kind, SETTINGS, Setting};
use crate::base::limits::CONFIG_BYTES;
use crate::manifest::{ManifestError, ManifestSource, read_bounded};
use crate::server::RoutedListener;

/// A file's values by key, each with its line.
pub(super) struct Read {
    pub(super) path: PathBuf,
    pub(super) values: HashMap<&'static str, (String, usize)>,
    pub(super) secrets: Vec<NamedSecret>,
    pub(super) listeners: Vec<RoutedListener>,
}

pub(super) fn read(path: &Path) -> Result<Read, ManifestError> {
    let refused = |why: String| ManifestError::new(path, None, why);
    let text = read_bounded(path, CONFIG_BYTES).map_err(|why| refused(format!("cannot read it: {why}")))?;
    let text = String::from_utf8(text).map_err(|error| refused(format!("it is not UTF-8 text: {error}")))?;
    let source = ManifestSource { path: path.to_owned(), text: text.into() };
    let table = DeTable::parse(&source.text).map_err(|error| source.toml_error(&error))?;
    let mut values = HashMap::new();
    section(&source, table.get_ref(), "", &mut values)?;
    for (key, value) in table.get_ref() {
        let name: &str = key.get_ref();
        if sections().any(|section| section == name) {
            let DeValue::Table(inner) = value.get_ref() else {
                return Err(source.error(Some(value.span().start), format!("\"{name}\" is a section: [{name}]")));
            };
            section(&source, inner, name, &mut values)?;
        }
    }
    let secrets = table.get_ref().get(secrets::SECTION).map(|section| secrets::read(&source, section));
    let secrets = secrets.transpose()?.unwrap_or_default();
    let listeners = table.get_ref().get(listeners::SECTION).map(|section| listeners::read(&source, section));
    let listeners = listeners.transpose()?.unwrap_or_default();
    Ok(Read { path: path.to_owned(), values, secrets, listeners })
}

fn sections() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter_map(|setting| setting.key.split_once('.').map(|(section, _)| section))
}

/// The settings of a section, by their name in it.
fn settings_of(section: &str) -> impl Iterator<Item = (&'static str, &'static Setting)> {
    SETTINGS.iter().filter_map(move |setting| match setting.key.split_once('.') {
        Some((own, name)) => (own == section).then_some((name, setting)),
        None => section.is_empty().then_some((setting.key, setting)),
    })
}

fn section(
    source: &ManifestSource,
    table: &DeTable<'_>,
    name: &str,
    values: &mut HashMap<&'static str, (String, usize)>,
) -> Result<(), ManifestError> {
    let mut known: Vec<&str> = settings_of(name).map(|(key, _)| key).collect();
    if name.is_empty() {
        known.extend(sections());
        known.dedup();
        known.extend([secrets::SECTION, listeners::SECTION]);
    }
    let of = if name.is_empty() { String::new() } else { format!(" of [{name}]") };
    for key in table.keys() {
        if let Some((section, _)) = elsewhere(key.get_ref(), name).filter(|_| !known.contains(&&**key.get_ref())) {
            let (key, at) = (key.get_ref(), key.span().start);
            let belongs = if section.is_empty() {
                "stands before all sections".into()
            } else {
                format!("belongs under [{section}]")
            };
            return Err(source.error(Some(at), format!("\"{key}\" {belongs}")));
        }
    }
    source.check_keys(table, &known, &of)?;
    for (key, setting) in settings_of(name) {
        let Some(value) = table.get(key) else { continue };
        let line = source.line_of(value.span().start);
        values.insert(setting.key, (text_of(source, setting, value)?, line));
    }
    Ok(())
}

/// The section that knows a key which the section `here` does not know.
fn elsewhere(key: &str, here: &str) -> Option<(&'static str, &'static str)> {
    let place = |setting: &Setting| setting.key.split_once('.').unwrap_or(("", setting.key));
    SETTINGS.iter().map(place).find(|(section, name)| *name == key && *section != here)
}

fn text_of(source: &ManifestSource, setting: &Setting, value: &Spanned<DeValue<'_>>) -> Result<String, ManifestError> {
    let at = Some(value.span().start);
    let wrong = |why: String| Err(source.error(at, why));
    let key = setting.key;
    let text = match (setting.kind, value.get_ref()) {
        (Kind::Secret, _) => {
            return wrong(format!(
                "\"{key}\" does not belong in a file that many read: name a file with \"{key}_file\""
            ));
        }
        (Kind::Number { .. }, DeValue::Integer(number)) => u64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()),
        // Where a number is left out, or turned off.
        (Kind::Number { .. }, DeValue::String(text)) if text.is_empty() || setting.is_turned_off_by(text) => {
            text.to_string()
        }
        (Kind::Number { least, most }, _) => return wrong(setting.bounds(least, most)),
        (Kind::Share, DeValue::Float(share)) => share.as_str().to_owned(),
        (Kind::Share, DeValue::Integer(number)) => number.as_str().to_owned(),
        (Kind::Share, DeValue::String(text)) if text.is_empty() => String::new(),
        (Kind::Share, other) => {
            return wrong(format!("\"{key}\" is a number from 0 to 1, without quotes; it is a {}", other.type_str()));
        }
        (Kind::Switch, DeValue::Boolean(on)) => on.to_string(),
        // Where a switch is left out.
        (Kind::Switch, DeValue::String(text)) if text.is_empty() => String::new(),
        (Kind::Switch, other) => {
            return wrong(format!("\"{key}\" is true or false, without quotes; it is a {}", other.type_str()));
        }
        (_, DeValue::String(text)) => text.to_string(),
        (_, other) => return wrong(format!("\"{key}\" is text, in quotes; it is a {}", other.type_str())),
    };
    if !(text.is_empty() || setting.is_turned_off_by(&text)) {
        setting.check(&text).map_err(|why| source.error(at, why))?;
    }
    Ok(text)
}
