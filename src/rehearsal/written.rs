//! Values as a test file writes them: TOML to JSON, and JSON to one line of TOML.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::{Map, Value as Json};

use crate::chain::cbor::bytes_to_json;
use crate::guest::values::json_bytes;

/// A value of a test file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WrittenValue(pub(super) Json);

impl<'de> Deserialize<'de> for WrittenValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        json_of(toml::Value::deserialize(from)?).map(Self).map_err(D::Error::custom)
    }
}

impl WrittenValue {
    /// The value as it is compared: `{"$text": …}` and the like are what they stand for.
    pub(super) fn shown(&self) -> Json {
        shown(&self.0)
    }

    /// The JSON that the value stands for, as bytes.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, String> {
        json_bytes(&self.0)
    }
}

fn json_of(value: toml::Value) -> Result<Json, String> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Float(number) => {
            serde_json::Number::from_f64(number).map(Json::Number).ok_or(format!("JSON has no {number}"))?
        }
        toml::Value::Array(items) => items.into_iter().map(json_of).collect::<Result<_, _>>()?,
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| json_of(value).map(|value| (key, value)));
            Json::Object(entries.collect::<Result<_, _>>()?)
        }
    })
}

fn shown(value: &Json) -> Json {
    match value {
        Json::Object(object) if object.len() == 1 && object.keys().all(|key| key.starts_with('$')) => {
            json_bytes(value).map_or_else(|_| value.clone(), |bytes| bytes_to_json(&bytes))
        }
        Json::Object(object) => object.iter().map(|(key, value)| (key.clone(), shown(value))).collect(),
        Json::Array(items) => items.iter().map(shown).collect(),
        other => other.clone(),
    }
}

/// A value without the entries of objects that are null: TOML has no null, so a test says as much by leaving an entry away.
pub(super) fn without_nulls(value: &Json) -> Json {
    match value {
        Json::Object(object) => {
            let entries = object.iter().filter(|(_, value)| !value.is_null());
            entries.map(|(key, value)| (key.clone(), without_nulls(value))).collect()
        }
        Json::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// A value in one line of TOML. What is null in an object is left away.
pub(super) fn inline_toml(value: &Json) -> String {
    match value {
        _ if has_null(value) => format!("{{ \"$json\" = {} }}", toml::Value::String(value.to_string())),
        Json::Array(items) => format!("[{}]", items.iter().map(inline_toml).collect::<Vec<_>>().join(", ")),
        Json::Object(object) if object.is_empty() => "{}".to_owned(),
        Json::Object(object) => format!("{{ {} }}", inline_entries(object).join(", ")),
        Json::String(text) => toml::Value::String(text.clone()).to_string(),
        other => other.to_string(),
    }
}

fn inline_entries(object: &Map<String, Json>) -> Vec<String> {
    let is_bare =
        |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let key = |key: &str| if is_bare(key) { key.to_owned() } else { toml::Value::String(key.to_owned()).to_string() };
    let entries = object.iter().filter(|(_, value)| !value.is_null());
    entries.map(|(name, value)| format!("{} = {}", key(name), inline_toml(value))).collect()
}

fn has_null(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Array(items) => items.iter().any(Json::is_null),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_written_in_one_line_that_toml_reads_back() {
        for value in [json!({ "a b": [1, true, "x\"y"], "c": { "d-e": 1.5 } }), json!([]), json!({}), json!("x\ny")] {
            let text = format!("value = {}", inline_toml(&value));
            let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(json_of(table["value"].clone()), Ok(value));
        }
        assert_eq!(inline_toml(&json!({ "a": null, "b": 1 })), "{ b = 1 }");
        assert_eq!(inline_toml(&json!([null])), "{ \"$json\" = \"[null]\" }");
        assert_eq!(without_nulls(&json!([{ "a": null, "b": { "c": null } }])), json!([{ "b": {} }]));
    }

    #[test]
    fn a_mark_is_compared_as_what_it_stands_for() {
        assert_eq!(WrittenValue(json!({ "$json": "{\"a\":null}" })).shown(), json!({ "a": null }));
        assert_eq!(WrittenValue(json!([{ "$text": "x" }])).shown(), json!(["x"]));
        assert_eq!(WrittenValue(json!({ "$other": "x" })).shown(), json!({ "$other": "x" }));
    }
}
