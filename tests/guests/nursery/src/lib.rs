//! A test actor that carries out commands and has children.

use commanded::{Commanded, More, outcome};
use serde::Deserialize;
use serde_json::{Value, json};
use theater_actor::supervisor;

/// Commands for each function of `supervisor`. All answers are `{"ok": …}` or `{"err": text}`.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
enum Care {
    /// Answers with the child's id.
    Spawn { manifest: String },
    /// Answers with the child's id.
    SpawnAs { manifest: String, label: String, state: Option<Value> },
    /// Answers with the child's id.
    GetOrSpawn { manifest: String, label: String, state: Option<Value> },
    /// Answers with the ids.
    ListChildren,
    /// Answers with null.
    StopChild { child: String },
    /// Answers with null.
    RestartChild { child: String },
    /// Answers with the state, which must be JSON, or with null if there is none.
    ChildState { child: String },
    /// Answers with a list of `{"type", "hash", "parent", "timestamp", "length"}`.
    ChildEvents { child: String },
}

impl More for Care {
    fn obey(self) -> Result<Value, String> {
        Ok(match self {
            Care::Spawn { manifest } => outcome(supervisor::spawn(&manifest)),
            Care::SpawnAs { manifest, label, state } => {
                outcome(supervisor::spawn_as(&manifest, &label, state.as_ref()))
            }
            Care::GetOrSpawn { manifest, label, state } => {
                outcome(supervisor::get_or_spawn(&manifest, &label, state.as_ref()))
            }
            Care::ListChildren => outcome(Ok(supervisor::list_children())),
            Care::StopChild { child } => outcome(supervisor::stop_child(&child)),
            Care::RestartChild { child } => outcome(supervisor::restart_child(&child)),
            Care::ChildState { child } => outcome(supervisor::child_state::<Value>(&child)),
            Care::ChildEvents { child } => {
                let events = supervisor::child_events(&child);
                outcome(events.map(|events| events.iter().map(describe).collect::<Vec<_>>()))
            }
        })
    }
}

fn describe(event: &supervisor::ChainEvent) -> Value {
    json!({
        "type": event.event_type,
        "hash": hex(&event.hash),
        "parent": event.parent_hash.as_deref().map(hex),
        "timestamp": event.timestamp,
        "length": event.data.len(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

type Nursery = Commanded<Care>;

theater_actor::export!(Nursery: messages, http, children);
