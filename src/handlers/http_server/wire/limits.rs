//! What one listener will put up with, from one client and from all of them together.

use std::time::Duration;

use crate::base::limits::{HTTP_ADMISSION, HTTP_DRAIN, Limits};

/// The bounds of one listener. A deadline is for the whole of what it names, however the bytes trickle in.
#[derive(Clone, Debug)]
pub(crate) struct WireLimits {
    /// Request line and headers; beyond it 431, or 414 where not even the request line ended.
    pub(crate) head_bytes: usize,
    /// One body; beyond it 413.
    pub(crate) body_bytes: usize,
    /// The bodies of all requests under way, and never less than one; beyond it 503.
    pub(crate) bodies_bytes: usize,
    /// The answers under way that their clients have not taken yet, and never less than one; beyond it the slowest clients
    /// are disconnected, else 503.
    pub(crate) answers_bytes: usize,
    /// Connections with a thread. Four times as many may wait without one, with a socket each.
    pub(crate) connections: usize,
    /// From the first byte of a request to the end of its head; then 408. A new connection has as long for that byte.
    pub(crate) head_timeout: Duration,
    /// From the end of the head to the end of the body; then 408.
    pub(crate) body_timeout: Duration,
    /// From an answer to the first byte of the next request; then the connection is closed.
    pub(crate) idle_timeout: Duration,
    /// For the client to take a whole answer; then the connection is closed.
    pub(crate) write_timeout: Duration,
    /// How long a new connection waits for a place where all are taken; then 503.
    pub(crate) admission_timeout: Duration,
    /// How long a closing listener lets requests finish that have not reached the service yet, or whose answers leave.
    pub(crate) drain_timeout: Duration,
}

impl WireLimits {
    /// What an actor's limits make of them.
    pub(crate) fn of(limits: &Limits) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            head_bytes: size(limits.http_head_bytes),
            body_bytes: size(limits.http_body_bytes),
            bodies_bytes: size(limits.http_bodies_bytes),
            answers_bytes: size(limits.http_answers_bytes),
            connections: size(limits.http_connections),
            head_timeout: Duration::from_millis(limits.http_head_ms),
            body_timeout: Duration::from_millis(limits.http_body_ms),
            idle_timeout: Duration::from_millis(limits.http_idle_ms),
            write_timeout: Duration::from_millis(limits.http_answer_ms),
            admission_timeout: HTTP_ADMISSION,
            drain_timeout: HTTP_DRAIN,
        }
    }
}

impl Default for WireLimits {
    fn default() -> Self {
        Self::of(&Limits::default())
    }
}
