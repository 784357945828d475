//! What a trace gives: a call and everything that came of it, as a tree across actors.

use serde::Serialize;
use serde_json::Value as Json;

/// What came of the outermost call that led to an event.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct CausalTree {
    /// The actor and the event that was asked about.
    pub(in crate::cli) actor: String,
    pub(in crate::cli) sequence: u64,
    pub(in crate::cli) root: CausalNode,
    /// How many nodes the tree has.
    pub(in crate::cli) nodes: u64,
    /// How many further nodes were found and left out. What came of these is not counted.
    pub(in crate::cli) left_out: u64,
    /// What else a reader should know: what was left out, and what could not be read.
    pub(in crate::cli) notes: Vec<String>,
}

/// A call of an actor, a host call of it, or the beginning or end of one of its incarnations.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct CausalNode {
    pub(in crate::cli) kind: CausalKind,
    /// The actor's id, and its name or path.
    pub(in crate::cli) actor: String,
    pub(in crate::cli) name: String,
    /// The event with which it begins, and the one with which it ends.
    pub(in crate::cli) sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) closing: Option<u64>,
    /// The exported function, the host function, or the kind of the event.
    pub(in crate::cli) function: String,
    pub(in crate::cli) began_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) took_ms: Option<u64>,
    pub(in crate::cli) outcome: CausalOutcome,
    /// The text of a refusal, an error or a failure; or where a message has stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) detail: Option<String>,
    /// Of a call: who called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) caller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) http: Option<TracedRequest>,
    /// The actor that a host call is about: its id, and its name or path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) to_name: Option<String>,
    /// The parameters and the result, as JSON for people; long ones are cut.
    #[serde(skip_serializing_if = "Json::is_null")]
    pub(in crate::cli) message: Json,
    #[serde(skip_serializing_if = "Json::is_null")]
    pub(in crate::cli) answer: Json,
    /// Whether the event that was asked about is one of this node.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::cli) asked: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::cli) children: Vec<CausalNode>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum CausalKind {
    Call,
    HostCall,
    /// A `started`, `failed` or `stopped` that is no part of a call.
    Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum CausalOutcome {
    /// It has returned, or was answered, or simply happened.
    Done,
    /// The actor returned an error.
    Refused,
    Failed,
    Stopped,
    /// The host function answered with an error.
    Error,
    /// It is not over yet, as far as the chain has come.
    Open,
    /// The message was lost, because its receiver ended before it took it.
    Dropped,
    /// The data that would tell was dropped, or was not found.
    Unknown,
}

/// An HTTP request, to an actor or of one.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct TracedRequest {
    pub(in crate::cli) method: String,
    pub(in crate::cli) path: String,
    /// None as long as there is no answer.
    pub(in crate::cli) status: Option<u64>,
}

impl CausalNode {
    /// Whether it is what went wrong: the outcome of what it led to may be none of its own.
    pub(in crate::cli) fn is_bad(&self) -> bool {
        let is_good = matches!(self.outcome, CausalOutcome::Done | CausalOutcome::Open | CausalOutcome::Unknown);
        !is_good || self.http.as_ref().and_then(|http| http.status).is_some_and(|status| status >= 400)
    }
}
