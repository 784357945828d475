//! Changes of a manifest for a fork: another port for its listener, other values in `[config]` and in the `config` of handlers.

use super::{Manifest, ManifestError, nearest};

/// What is to be other than the manifest says.
#[derive(Clone, Debug, Default)]
pub(crate) struct ManifestChanges {
    /// The port of the one listener.
    pub(crate) port: Option<u16>,
    /// By key, each as it is written on the command line: a key of `[config]`, or `handlers.TYPE.KEY`.
    pub(crate) values: Vec<(String, String)>,
}

impl ManifestChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.port.is_none() && self.values.is_empty()
    }
}

impl Manifest {
    /// The same manifest with these changes, also in its text, because the next start reads the text again. The text loses its
    /// comments.
    pub(crate) fn changed(&self, changes: &ManifestChanges) -> Result<Self, ManifestError> {
        if changes.is_empty() {
            return Ok(self.clone());
        }
        let mut table: toml::Table =
            self.text().parse().map_err(|error| self.error(format!("it cannot be changed: {error}")))?;
        for (key, value) in &changes.values {
            change(&mut table, key, value).map_err(|why| self.error(format!("{key} cannot be set: {why}")))?;
        }
        if let Some(port) = changes.port {
            change_port(&mut table, port).map_err(|why| self.error(format!("the port cannot be set: {why}")))?;
        }
        let text = toml::to_string(&table).map_err(|error| self.error(format!("it cannot be changed: {error}")))?;
        let changed = Self::recorded(&self.source.path, text.into(), &self.limits)?;
        Ok(Self { in_memory: self.in_memory.clone(), ..changed })
    }
}

fn change(manifest: &mut toml::Table, key: &str, value: &str) -> Result<(), String> {
    if let Some((kind, key)) = key.strip_prefix("handlers.").and_then(|rest| rest.split_once('.')) {
        let kinds: Vec<String> = handlers(manifest).map(|handler| kind_of(handler).to_owned()).collect();
        let handler = handlers(manifest).find(|handler| kind_of(handler) == kind);
        let handler = handler.ok_or_else(|| match &kinds[..] {
            [] => format!("the manifest has no handler \"{kind}\", nor any other"),
            kinds => format!("the manifest has no handler \"{kind}\"; it has {}", kinds.join(", ")),
        })?;
        let config = config_of(handler).ok_or("\"config\" of this handler is not a table")?;
        let value = value_of(value, config.get(key))?;
        config.insert(key.to_owned(), value);
        return Ok(());
    }
    let config = manifest.get_mut("config").and_then(toml::Value::as_table_mut);
    let config = config.ok_or("the manifest has no [config]; a key of a handler is written handlers.TYPE.KEY")?;
    let Some(before) = config.get(key) else {
        let keys: Vec<&str> = config.keys().map(String::as_str).collect();
        let meant = nearest(key, &keys).map(|near| format!("did you mean \"{near}\"?"));
        return Err(format!(
            "[config] has no such key: {}",
            meant.unwrap_or_else(|| format!("it has {}", keys.join(", ")))
        ));
    };
    let value = value_of(value, Some(before))?;
    config.insert(key.to_owned(), value);
    Ok(())
}

fn change_port(manifest: &mut toml::Table, port: u16) -> Result<(), String> {
    let has_port = |handler: &&mut toml::Table| {
        let config = handler.get("config").and_then(toml::Value::as_table);
        config.is_some_and(|config| config.contains_key("port"))
    };
    let mut listening: Vec<&mut toml::Table> = handlers(manifest).filter(has_port).collect();
    match &mut listening[..] {
        [] => Err("the manifest has no handler with a \"port\"".into()),
        [one] => {
            let config = config_of(one).ok_or("its handler has no config")?;
            config.insert("port".to_owned(), i64::from(port).into());
            Ok(())
        }
        several => {
            let keys: Vec<_> = several.iter().map(|handler| format!("handlers.{}.port", kind_of(handler))).collect();
            Err(format!("the manifest has several listeners: set {}, one by one", keys.join(" and ")))
        }
    }
}

fn handlers(manifest: &mut toml::Table) -> impl Iterator<Item = &mut toml::Table> {
    let entries = manifest.get_mut("handlers").and_then(toml::Value::as_array_mut);
    entries.into_iter().flatten().filter_map(toml::Value::as_table_mut)
}

fn kind_of(handler: &toml::Table) -> &str {
    handler.get("type").and_then(toml::Value::as_str).unwrap_or_default()
}

fn config_of(handler: &mut toml::Table) -> Option<&mut toml::Table> {
    handler.entry("config").or_insert_with(|| toml::Table::new().into()).as_table_mut()
}

/// A value as it is written on the command line. Where a text stood before, it needs no quotes.
fn value_of(text: &str, before: Option<&toml::Value>) -> Result<toml::Value, String> {
    let written = format!("value = {text}").parse::<toml::Table>().ok();
    let written = written.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    match (written, before) {
        (Some(value), Some(toml::Value::String(_))) if !value.is_str() => Ok(text.into()),
        (Some(value), _) => Ok(value),
        (None, None | Some(toml::Value::String(_))) => Ok(text.into()),
        (None, Some(before)) => Err(format!(
            "{text:?} is no value as TOML writes one, and a value of the type {} stands there",
            before.type_str()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::limits::ActorLimits;

    const TEXT: &str = "# A comment.\nname = \"a\"\ncomponent_path = \"a.wasm\"\n\n[[handlers]]\ntype = \"http-server\"\n\
        config = { port = 8080 }\n\n[config]\nregion = \"eu\"\nmost = 7\n\n[limits]\nrequest_deadline_ms = 5000\n";

    fn changed(text: &str, port: Option<u16>, values: &[(&str, &str)]) -> Result<Manifest, String> {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let manifest =
            Manifest::parse(Path::new("/a.toml"), text.into(), &ActorLimits::default()).expect("it is right");
        manifest.changed(&ManifestChanges { port, values }).map_err(|why| why.to_string())
    }

    #[test]
    fn values_of_config_and_keys_of_handlers_are_changed_and_the_rest_stays() {
        let values = [("region", "us"), ("most", "9"), ("handlers.http-server.host", "127.0.0.1")];
        let manifest = changed(TEXT, Some(0), &values).expect("it is changed");
        assert_eq!(manifest.plain_values.get("region"), Some(&b"\"us\""[..]));
        assert_eq!(manifest.plain_values.get("most"), Some(&b"9"[..]));
        let config = manifest.handlers[0].settings().expect("a config");
        assert_eq!((config["port"].as_integer(), config["host"].as_str()), (Some(0), Some("127.0.0.1")));
        assert_eq!((&*manifest.name, manifest.limits.request_deadline_ms), ("a", 5_000));
    }

    #[test]
    fn where_a_text_stood_a_text_stays() {
        let manifest = changed(TEXT, None, &[("region", "7")]).expect("it is changed");
        assert_eq!(manifest.plain_values.get("region"), Some(&b"\"7\""[..]));
        let manifest = changed(TEXT, None, &[("region", "\"7\"")]).expect("it is changed");
        assert_eq!(manifest.plain_values.get("region"), Some(&b"\"7\""[..]));
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is() {
        let why = |port, values: &[(&str, &str)]| changed(TEXT, port, values).expect_err("it cannot be");
        assert!(why(None, &[("regoin", "us")]).contains("did you mean \"region\"?"));
        assert!(why(None, &[("most", "no number")]).contains("of the type integer"));
        assert!(why(None, &[("handlers.websocket-server.port", "0")]).contains("it has http-server"));
        let two = TEXT.to_owned() + "[[handlers]]\ntype = \"websocket-server\"\nconfig = { port = 1 }\n";
        let why = changed(&two, Some(0), &[]).expect_err("which?");
        assert!(why.contains("handlers.http-server.port and handlers.websocket-server.port"), "{why}");
        let none = "name = \"a\"\ncomponent_path = \"a.wasm\"\n";
        assert!(changed(none, Some(0), &[]).expect_err("no listener").contains("no handler with a \"port\""));
        assert!(changed(none, None, &[("a", "1")]).expect_err("no section").contains("no [config]"));
    }
}
