//! Changes of outcomes, as people and programs read them.

use serde_json::{Value as Json, json};

use crate::actor::{ChangedPart, OutcomeChange};

/// The change of one transition, in some lines.
pub(super) fn described(change: &OutcomeChange) -> String {
    let OutcomeChange { sequence, export, parts } = change;
    let mut text = format!("event {sequence} {export}");
    for ChangedPart { what, pointer, before, after } in parts {
        let at = if pointer.is_empty() { String::new() } else { format!(" at {pointer}") };
        text += &format!("\n  {what} differs{at}\n    before  {before}\n    after   {after}");
    }
    text
}

/// The same as JSON.
pub(super) fn as_json(change: &OutcomeChange) -> Json {
    let OutcomeChange { sequence, export, parts } = change;
    let part = |ChangedPart { what, pointer, before, after }: &ChangedPart| json!({ "what": what, "pointer": pointer, "before": before, "after": after });
    json!({ "sequence": sequence, "export": export, "parts": parts.iter().map(part).collect::<Vec<_>>() })
}

/// At most so many changes are told one by one in a report of tests.
const TOLD: usize = 20;

/// The changes of one chain, for a report of tests.
pub(super) fn each_change(mut changes: Vec<String>, transitions: u64) -> Vec<String> {
    let count = changes.len();
    if count > TOLD {
        changes.truncate(TOLD);
        changes.push(format!("and {} more of {transitions} transitions", count - TOLD));
    }
    changes
}
