//! A span: one transition of an actor, from its `call` to the event that closed it.

use super::ids::{SpanId, TraceId, TransitionId};
use crate::chain::data::Caller;

/// A finished transition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) transition: TransitionId,
    pub(super) place: PlaceInTrace,
    pub(super) actor_name: String,
    /// The path of an actor that has a label.
    pub(super) actor_path: Option<String>,
    /// The exported function that was called.
    pub(super) export: String,
    pub(super) caller: Caller,
    /// The event that has caused the call.
    pub(super) cause: Option<TransitionId>,
    /// The request, if the call was for one of HTTP.
    pub(super) http: Option<HttpSpan>,
    /// Both in milliseconds since the Unix epoch.
    pub(super) began_ms: u64,
    pub(super) ended_ms: u64,
    pub(super) end: SpanEnd,
}

/// Where a span stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlaceInTrace {
    pub(super) trace: TraceId,
    pub(super) parent: Option<SpanId>,
    /// The span of another trace that has led to this one.
    pub(super) link: Option<(TraceId, SpanId)>,
    /// How many spans stand above this one.
    pub(super) depth: u32,
}

/// A request over HTTP, and the status of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HttpSpan {
    pub(super) method: String,
    /// Without the query, which may hold what is nobody's business.
    pub(super) path: String,
    pub(super) status: Option<u64>,
}

/// How a transition has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SpanEnd {
    Returned,
    /// It returned, and its answer comes later.
    Deferred,
    Refused(String),
    /// The reason, and a text.
    Failed(&'static str, String),
    Stopped,
}

impl Span {
    /// The name: the method and the path of a request, or else the export.
    pub(super) fn name(&self) -> String {
        self.http.as_ref().map_or_else(|| self.export.clone(), |http| format!("{} {}", http.method, http.path))
    }
}
