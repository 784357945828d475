//! `[secrets]` of `theater.toml`: the name of each secret, and the source of its value. No error quotes what stands there
//! in place of a source, because it may be the value.

use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Origin, Settings};
use crate::manifest::{ManifestError, ManifestSource};
use crate::system::{SecretSource, Secrets, check_secret};

/// The section's name.
pub(super) const SECTION: &str = "secrets";

const KEYS: &[&str] = &["file", "environment", "command", "timeout_ms", "keep_ms"];

/// A secret as the file names it.
#[derive(Clone, Debug)]
pub(crate) struct NamedSecret {
    pub(crate) name: String,
    pub(crate) source: SecretSource,
    pub(crate) origin: Origin,
}

impl Settings {
    /// The secrets that manifests may use.
    pub(crate) fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::new();
        self.named_secrets().iter().for_each(|named| secrets.add(&*named.name, named.source.clone()));
        secrets
    }
}

/// Reads the section; paths in it are relative to the directory of the file.
pub(super) fn read(source: &ManifestSource, section: &Spanned<DeValue<'_>>) -> Result<Vec<NamedSecret>, ManifestError> {
    let DeValue::Table(table) = section.get_ref() else {
        return Err(source.error(Some(section.span().start), "\"secrets\" is a section: [secrets]"));
    };
    // An error names the place, and the reader may stand elsewhere than where the runtime was started.
    let path = std::path::absolute(&source.path).unwrap_or_else(|_| source.path.clone());
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut named = Vec::new();
    for (name, value) in table {
        let at = name.span().start;
        let name: &str = name.get_ref();
        let refused = |why: String| source.error(Some(at), why);
        let DeValue::Table(keys) = value.get_ref() else {
            return Err(refused(format!(
                "the secret {name:?} names the source of its value, and never holds the value: {{ file = \"…\" }}, \
                 {{ environment = \"…\" }} or {{ command = [\"…\"] }}"
            )));
        };
        source.check_keys(keys, KEYS, &format!(" of the secret {name:?}"))?;
        let found = source_of(keys, directory).map_err(|why| refused(format!("the secret {name:?}: {why}")))?;
        check_secret(name, &found).map_err(refused)?;
        let origin = Origin::File { path: source.path.clone(), line: source.line_of(at) };
        named.push(NamedSecret { name: name.to_owned(), source: found, origin });
    }
    Ok(named)
}

fn source_of(keys: &DeTable<'_>, directory: &Path) -> Result<SecretSource, String> {
    let text = |key: &str| match keys.get(key).map(Spanned::get_ref) {
        None => Ok(None),
        Some(DeValue::String(text)) => Ok(Some(text.to_string())),
        Some(_) => Err(format!("its \"{key}\" is text, in quotes")),
    };
    let ms = |key: &str| match keys.get(key).map(Spanned::get_ref) {
        None => Ok(None),
        Some(DeValue::Integer(number)) => u64::from_str_radix(number.as_str(), number.radix())
            .map(|ms| Some(Duration::from_millis(ms)))
            .map_err(|_| format!("its \"{key}\" is a whole number of milliseconds")),
        Some(_) => Err(format!("its \"{key}\" is a whole number of milliseconds")),
    };
    let (timeout, keep) = (ms("timeout_ms")?, ms("keep_ms")?);
    match (text("file")?, text("environment")?, keys.get("command").map(Spanned::get_ref)) {
        (None, None, Some(command)) => {
            let mut source = of_command(command, directory)?;
            if let Some(timeout) = timeout {
                source = source.within(timeout);
            }
            Ok(keep.map_or(source.clone(), |keep| source.kept(keep)))
        }
        (Some(_), None, None) | (None, Some(_), None) if timeout.is_some() || keep.is_some() => {
            Err("\"timeout_ms\" and \"keep_ms\" are of a command".into())
        }
        (Some(file), None, None) if file.is_empty() => Ok(SecretSource::file("")),
        (Some(file), None, None) => Ok(SecretSource::file(directory.join(file))),
        (None, Some(variable), None) => Ok(SecretSource::environment(variable)),
        (..) => Err("it has one source: \"file\", \"environment\" or \"command\"".into()),
    }
}

/// A program whose name has a slash is looked for from the directory of the file, and another one in `PATH`.
fn of_command(command: &DeValue<'_>, directory: &Path) -> Result<SecretSource, String> {
    const LIST: &str = "its \"command\" is a list of texts, the program and its arguments";
    let words = command.as_array().ok_or(LIST)?;
    let words = words.iter().map(|word| word.get_ref().as_str().map(str::to_owned));
    let mut words = words.collect::<Option<Vec<String>>>().ok_or(LIST)?.into_iter();
    let program = words.next().unwrap_or_default();
    let program = if program.contains('/') { directory.join(program) } else { program.into() };
    Ok(SecretSource::command(program, words))
}
