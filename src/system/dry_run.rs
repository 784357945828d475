//! What an upgrade would change, as a dry run has found it.

use serde_json::Value as Json;

/// What a dry run of an upgrade has found: the newest recorded calls were made again under the new build, and nothing else was
/// touched.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct DryRun {
    /// How many recorded calls were made again.
    pub transitions: u64,
    /// How many of them come out otherwise.
    pub changed: u64,
    /// What comes out otherwise, in the order of the events; of many changes, the first ones.
    pub changes: Vec<OutcomeChange>,
}

/// A part of a recorded call that comes out otherwise under another build.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OutcomeChange {
    /// The sequence of the call.
    pub sequence: u64,
    /// The function that was called.
    pub export: String,
    /// What differs: `answer`, `state`, `effect`, `end`, `export` or `migrate`.
    pub what: &'static str,
    /// What was recorded; null if nothing was.
    pub recorded: Json,
    /// What the new build does; null if it does nothing.
    pub actual: Json,
}

impl OutcomeChange {
    pub(crate) fn new(sequence: u64, export: &str, what: &'static str, recorded: Json, actual: Json) -> Self {
        Self { sequence, export: export.to_owned(), what, recorded: shortened(recorded), actual: shortened(actual) }
    }
}

/// A value that is too long to be shown is shown by its beginning.
fn shortened(value: Json) -> Json {
    const SHOWN: usize = 1_000;
    let text = value.to_string();
    if text.len() <= SHOWN { value } else { format!("{}…", &text[..text.floor_char_boundary(SHOWN)]).into() }
}
