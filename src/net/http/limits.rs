//! The limits of one HTTP listener: for one client, and for all of them together.

use std::time::Duration;

use crate::base::limits::{HTTP_ADMISSION, HTTP_DRAIN, Limits};

/// The limits of one listener. Each time is for the whole of what it names, in however many pieces the bytes come.
#[derive(Clone, Debug)]
pub(crate) struct HttpLimits {
    /// Bytes of the request line and the headers. A larger head is refused with 431, or with 414 where the request line
    /// alone is larger.
    pub(crate) head_bytes: usize,
    /// Bytes of one body. A larger one is refused with 413.
    pub(crate) body_bytes: usize,
    /// Bytes of the bodies of all requests under way; room for one body at least. Beyond it requests are refused with
    /// 503.
    pub(crate) bodies_bytes: usize,
    /// Bytes of the answers that their clients have not taken yet; room for one answer at least. Beyond it the slowest
    /// clients are disconnected; if that frees no room, the request is answered with 503.
    pub(crate) answers_bytes: usize,
    /// Connections that have a thread. Four times as many may wait without a thread, each with a socket.
    pub(crate) connections: usize,
    /// The time from the first byte of a request to the end of its head; after it 408. A new connection has the same
    /// time for that first byte.
    pub(crate) head_timeout: Duration,
    /// The time from the end of the head to the end of the body; after it 408.
    pub(crate) body_timeout: Duration,
    /// The time from an answer to the first byte of the next request; after it the connection is closed.
    pub(crate) idle_timeout: Duration,
    /// The time in which a client has to take a whole answer; after it the connection is closed.
    pub(crate) write_timeout: Duration,
    /// How long a new connection waits for a thread when none is free; after it 503.
    pub(crate) admission_timeout: Duration,
    /// How long a closing listener waits for requests that have not reached the service yet, and for answers that are
    /// being sent.
    pub(crate) drain_timeout: Duration,
}

impl HttpLimits {
    /// The limits of a listener of the actor that has `limits`.
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

impl Default for HttpLimits {
    fn default() -> Self {
        Self::of(&Limits::default())
    }
}
