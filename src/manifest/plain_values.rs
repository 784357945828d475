//! `[config]`: plain values that the guest may read, each as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::init_state::beyond_json;
use super::{ManifestError, ManifestSource};
use crate::base::limits::{CONFIG_KEY_BYTES, CONFIG_TABLE_BYTES};

/// The values of `[config]` by key, each as JSON.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlainValues(Arc<BTreeMap<String, Box<[u8]>>>);

impl PlainValues {
    /// The JSON of a key's value.
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(|json| &**json)
    }

    /// All values by key, each as JSON.
    pub(crate) fn all(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.iter().map(|(key, json)| (key.clone(), json.to_vec())).collect()
    }

    /// Reads the section of a manifest, if it has one.
    pub(super) fn read(source: &ManifestSource, table: &DeTable<'_>) -> Result<Self, ManifestError> {
        let Some(section) = table.get("config") else { return Ok(Self::default()) };
        let whole = section.span().start;
        let DeValue::Table(values) = section.get_ref() else {
            return Err(source.error(Some(whole), "\"config\" is a table: [config]"));
        };
        // The braces of the whole table as JSON.
        let (mut read, mut size) = (BTreeMap::new(), 2);
        for (key, value) in values {
            let (name, at): (&str, _) = (key.get_ref(), Some(key.span().start));
            if name.len() > CONFIG_KEY_BYTES {
                let why = format!("a key of [config] has {} bytes; the most is {CONFIG_KEY_BYTES}", name.len());
                return Err(source.error(at, why));
            }
            let value = toml::Value::deserialize(ValueDeserializer::from(value.clone()))
                .map_err(|error| source.value_error(" of [config]", &error))?;
            if let Some((what, _)) = beyond_json(&value) {
                let why = format!("\"{name}\" of [config] has {what}, which JSON has not: write it as text");
                return Err(source.error(at, why));
            }
            let unwritable =
                |error| source.error(at, format!("\"{name}\" of [config] cannot be written as JSON: {error}"));
            let json = serde_json::to_vec(&value).map_err(unwritable)?;
            let key = serde_json::to_vec(name).map_err(unwritable)?;
            // The colon after the key, and the comma before it.
            size += key.len() + 1 + json.len() + usize::from(!read.is_empty());
            read.insert(name.to_owned(), json.into_boxed_slice());
        }
        if size > CONFIG_TABLE_BYTES {
            let why = format!("[config] has {size} bytes as JSON; the most is {CONFIG_TABLE_BYTES}");
            return Err(source.error(Some(whole), why));
        }
        Ok(Self(Arc::new(read)))
    }
}
