//! The state that a new actor begins with: the key `init_state`, or its older name `init_data`.

use std::path::PathBuf;

use super::{Keys, ManifestError, ManifestSource, beside};

/// The initial state, as the manifest gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InitState {
    None,
    /// JSON given as text, or a TOML value converted to JSON.
    Json(Vec<u8>),
    /// The path of a file that holds the state.
    File {
        path: PathBuf,
        key: &'static str,
        at: usize,
    },
}

impl InitState {
    pub(super) fn of(source: &ManifestSource, keys: &Keys) -> Result<Self, ManifestError> {
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

/// A warning about a value, at any depth, that JSON cannot express, so that `init` receives something else.
pub(super) fn doubt(keys: &Keys) -> Option<String> {
    let (key, value) = match (&keys.init_state, &keys.init_data) {
        (Some(value), _) => ("init_state", value),
        (None, Some(value)) => ("init_data", value),
        (None, None) => return None,
    };
    let (what, instead) = beyond_json(value.get_ref())?;
    Some(format!("\"{key}\" has {what}, which JSON has not: `init` receives {instead}; write it as text"))
}

pub(super) fn beyond_json(value: &toml::Value) -> Option<(&'static str, &'static str)> {
    match value {
        toml::Value::Datetime(_) => Some(("a date or time", "a table made for it")),
        toml::Value::Float(number) if !number.is_finite() => Some(("nan or inf", "null")),
        toml::Value::Array(values) => values.iter().find_map(beyond_json),
        toml::Value::Table(table) => table.values().find_map(beyond_json),
        _ => None,
    }
}
