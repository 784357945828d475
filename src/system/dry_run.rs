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
    pub changes: Vec<ChangedOutcome>,
}

/// A part of a recorded call that comes out otherwise under another build.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ChangedOutcome {
    /// The sequence of the call.
    pub sequence: u64,
    /// The function that was called.
    pub export: String,
    /// What differs: `end`, `state`, `answer`, `rows`, `effects`, `host call` if one had no answer, or `migrate` if that failed.
    pub what: &'static str,
    /// Where in that: empty for the whole of it, or a JSON pointer.
    pub pointer: String,
    /// What was recorded there; null if nothing was.
    pub recorded: Json,
    /// What the new build does; null if it does nothing.
    pub actual: Json,
}

impl ChangedOutcome {
    /// A change in the call at this sequence of this export: what differs and where, and the recorded and the actual value.
    pub(crate) fn new(
        (sequence, export): (u64, &str),
        (what, pointer): (&'static str, String),
        (recorded, actual): (Json, Json),
    ) -> Self {
        let (export, recorded, actual) = (export.to_owned(), shortened(recorded), shortened(actual));
        Self { sequence, export, what, pointer, recorded, actual }
    }
}

/// A value that is too long to be shown is shown by its beginning.
fn shortened(value: Json) -> Json {
    const SHOWN: usize = 1_000;
    let text = value.to_string();
    if text.len() <= SHOWN { value } else { format!("{}…", &text[..text.floor_char_boundary(SHOWN)]).into() }
}
