//! Errors in a manifest: the file, the line, the key, and the remedy.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::plain_errors::in_plain_words;
use super::similar::nearest;

/// A mistake in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    path: PathBuf,
    line: Option<usize>,
    message: String,
}

impl std::error::Error for ManifestError {}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl ManifestError {
    pub(crate) fn new(path: &Path, line: Option<usize>, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

/// A manifest's text and path; converts offsets in the text into line numbers.
#[derive(Debug, Clone)]
pub(crate) struct ManifestSource {
    pub(crate) path: PathBuf,
    pub(crate) text: std::sync::Arc<str>,
}

impl ManifestSource {
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    pub(crate) fn error(&self, offset: Option<usize>, message: impl Into<String>) -> ManifestError {
        ManifestError::new(&self.path, offset.map(|offset| self.line_of(offset)), message)
    }

    pub(crate) fn toml_error(&self, error: &toml::de::Error) -> ManifestError {
        let span = error.span();
        let key = span.clone().and_then(|span| self.text.get(span)).unwrap_or_default().trim_matches('"');
        let message = error.message().trim_end().replace('\n', "; ");
        let named = if message == "duplicate key" { format!("the key \"{key}\" stands there twice") } else { message };
        self.error(span.map(|span| span.start), named)
    }

    /// Like [`ManifestSource::toml_error`], for an error in the value of a key; adds the key, which the error's message lacks.
    pub(crate) fn value_error(&self, section: &str, error: &toml::de::Error) -> ManifestError {
        let at = error.span().map(|span| span.start);
        let key =
            at.and_then(|at| self.key_on_line_of(at)).map(|key| format!("\"{key}\"{section}: ")).unwrap_or_default();
        self.error(at, format!("{key}{}", in_plain_words(&error.message().trim_end().replace('\n', "; "))))
    }

    /// The key whose value begins at `offset`.
    fn key_on_line_of(&self, offset: usize) -> Option<&str> {
        let key = self.text[..offset].trim_end().strip_suffix('=')?.trim_end();
        key.rsplit([' ', '\t', '\n', '{', ',']).next().map(|key| key.trim_matches('"'))
    }

    /// Refuses a key of `table` that is not in `known`, and names the most similar known key.
    pub(crate) fn check_keys(&self, table: &DeTable<'_>, known: &[&str], section: &str) -> Result<(), ManifestError> {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let hint = match nearest(name, known) {
                    Some(nearest) => format!("did you mean \"{nearest}\"?"),
                    None if known.is_empty() => "there are no keys here".to_owned(),
                    None => format!("the keys here are: {}", known.join(", ")),
                };
                return Err(self.error(Some(key.span().start), format!("unknown key \"{name}\"{section}; {hint}")));
            }
        }
        Ok(())
    }
}
