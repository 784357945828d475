//! All about one actor, for whoever operates a runtime: what it was started from, what it may do, where it stands, and what went
//! wrong lately.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::history::ReadError;
use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::chain::StateOnChain;
use crate::chain::data::{Failed, NamedState, Started};
use crate::journal::{ActorKey, JournalReader};
use crate::manifest::Supervision;
use crate::system::TheaterHandle;

/// So many of the newest failures are described.
const FAILURES: u64 = 5;
/// So many children, and so many deliveries, are listed; the others are counted.
const LISTED: usize = 100;

/// All about one actor, beside what every listing says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ActorDescription {
    /// The SHA-256 of the component that it runs, in hex.
    pub component: String,
    /// The text of its manifest, as it was read.
    pub manifest_text: String,
    /// The limits that are not the usual ones: the value, and the usual one.
    pub limits: BTreeMap<String, [u64; 2]>,
    /// The handlers that its manifest grants it, in order.
    pub handlers: Vec<GrantedHandler>,
    /// How it is restarted, and how its children are.
    pub restart: RestartRules,
    /// The hash of its last event on disk, in hex.
    pub head: Option<String>,
    /// How many events its chain has.
    pub chain_length: u64,
    /// Bytes of its newest state; none if it has none, or if no event names it because data was dropped.
    pub state_bytes: Option<u64>,
    /// Its children, in the order in which they were spawned: at most 100.
    pub children: Vec<ChildBrief>,
    /// How many children it has.
    pub children_count: u64,
    /// Its newest failures, the newest first: at most 5.
    pub failures: Vec<PastFailure>,
    /// What it is still to be called for, in the order in which that was promised: at most 100.
    pub owed: Vec<OwedCall>,
    /// How many of these there are.
    pub owed_count: u64,
}

/// A handler that a manifest grants.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GrantedHandler {
    /// Its type, such as `http-server`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its `config`, as the manifest has it; null if it has none.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub config: Json,
}

/// The restart settings of a manifest, in its words.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestartRules {
    /// `temporary`, `transient` or `permanent`.
    pub restart: String,
    /// The state that it begins with then: `last` or `initial`.
    pub restart_state: String,
    /// The wait before the first restart, in milliseconds.
    pub restart_backoff_ms: u64,
    /// Which of its children are restarted with a failed one.
    pub strategy: String,
    /// How many restarts of its children are allowed.
    pub max_restarts: u32,
    /// The window in which these are counted, in milliseconds.
    pub within_ms: u64,
}

/// A child of an actor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChildBrief {
    /// Its id, as text.
    pub id: String,
    /// Its label, or else its name.
    pub name: String,
    /// What it is doing.
    pub status: String,
}

/// A failure that an actor's chain has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PastFailure {
    /// The event.
    pub sequence: u64,
    /// When it happened.
    pub unix_ms: u64,
    /// Why: `trap`, `limit` and so on.
    pub reason: String,
    /// What is known of it: of a panic, its message first. None if the data was dropped.
    pub detail: Option<String>,
}

/// A delivery, or a call of another kind, that the actor is still to get.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OwedCall {
    /// `message`, or the word for a notice, a timer, a monitor, an answer or an end.
    pub what: String,
    /// The actor whose event has promised it.
    pub actor: String,
    /// That event.
    pub sequence: u64,
}

impl TheaterHandle {
    /// All about one actor, as far as it is on disk.
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::state`].
    pub fn describe(&self, id: ActorId) -> Result<ActorDescription, ReadError> {
        let (actor, reader) = self.opened(id)?;
        let entry = self.registry.entry(id, |entry| (std::sync::Arc::clone(&entry.limits), entry.supervision));
        let (limits, supervision) = entry.ok_or(ReadError::NoSuchActor(id))?;
        let started = reader.newest_started(actor)?.and_then(|event| event.read::<Started>().ok());
        let (component, manifest_text) =
            started.map(|started| (started.component.to_string(), started.manifest)).unwrap_or_default();
        let head = reader.head(actor)?;
        let children = self.children(id);
        let brief = |child: &ActorId| {
            let info = self.actor(*child)?;
            let status = info.status.word().to_owned();
            Some(ChildBrief { id: child.to_string(), name: info.label.unwrap_or(info.name), status })
        };
        let owed: Vec<_> = reader.pending()?.into_iter().filter(|pending| pending.receiver == id).collect();
        let owed_call = |pending: &crate::journal::Pending| OwedCall {
            what: pending.notice.as_deref().map_or("message", first_word).to_owned(),
            actor: pending.cause.actor.to_string(),
            sequence: pending.cause.sequence,
        };
        Ok(ActorDescription {
            component,
            handlers: handlers_of(&manifest_text),
            manifest_text,
            limits: unusual(&limits),
            restart: RestartRules::of(&supervision),
            head: head.map(|head| head.hash.to_string()),
            chain_length: head.map_or(0, |head| head.sequence + 1),
            state_bytes: state_bytes(&reader, actor)?,
            children_count: children.len() as u64,
            children: children.iter().take(LISTED).filter_map(brief).collect(),
            failures: failures(&reader, actor)?,
            owed_count: owed.len() as u64,
            owed: owed.iter().take(LISTED).map(owed_call).collect(),
        })
    }
}

fn first_word(notice: &str) -> &str {
    notice.split(' ').next().unwrap_or(notice)
}

fn unusual(limits: &Limits) -> BTreeMap<String, [u64; 2]> {
    let pairs = limits.entries().into_iter().zip(Limits::default().entries());
    let unusual = pairs.filter(|((_, value), (_, usual))| value != usual);
    unusual.map(|((name, value), (_, usual))| (name.to_owned(), [value, usual])).collect()
}

/// The handlers in the text of a manifest that was accepted once.
fn handlers_of(manifest: &str) -> Vec<GrantedHandler> {
    let table: toml::Table = manifest.parse().unwrap_or_default();
    let entries = table.get("handlers").and_then(toml::Value::as_array);
    let granted = entries.into_iter().flatten().filter_map(|entry| {
        let kind = entry.get("type")?.as_str()?.to_owned();
        let config = entry.get("config").and_then(|config| serde_json::to_value(config).ok());
        Some(GrantedHandler { kind, config: config.unwrap_or_default() })
    });
    granted.collect()
}

impl RestartRules {
    fn of(supervision: &Supervision) -> Self {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            restart: supervision.restart.word().to_owned(),
            restart_state: supervision.restart_state.word().to_owned(),
            restart_backoff_ms: ms(supervision.backoff),
            strategy: supervision.strategy.word().to_owned(),
            max_restarts: supervision.max_restarts,
            within_ms: ms(supervision.within),
        }
    }
}

/// The length of the newest state, as an event names it.
fn state_bytes(reader: &JournalReader, actor: ActorKey) -> Result<Option<u64>, ReadError> {
    Ok(match reader.vouched_at(actor, u64::MAX)? {
        StateOnChain::Named(NamedState::Inline(state)) => Some(state.len() as u64),
        StateOnChain::Named(NamedState::Digest { len, .. }) => Some(len),
        StateOnChain::Named(NamedState::None) | StateOnChain::Lost(_) => None,
    })
}

fn failures(reader: &JournalReader, actor: ActorKey) -> Result<Vec<PastFailure>, ReadError> {
    let newest = reader.newest_failures(actor, FAILURES)?;
    let past = newest.into_iter().map(|event| {
        let failed = event.read::<Failed>().ok();
        PastFailure {
            sequence: event.sequence,
            unix_ms: event.timestamp,
            reason: failed.as_ref().map_or("unknown", |failed| failed.reason.word()).to_owned(),
            detail: failed.map(|failed| failed.detail),
        }
    });
    Ok(past.collect())
}
