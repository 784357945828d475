//! The bounds of one exchange of an HTTP client: times, redirects and bytes.

use std::time::Duration;

use crate::base::limits::{HTTP_CONNECT_TIMEOUT_MS, HTTP_REDIRECTS, HTTP_TIMEOUT_MS, Limits};

/// The bounds of one exchange.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// How long connecting may take, TLS included.
    pub(super) connect: Duration,
    /// How long the whole exchange may take, redirects included.
    pub(super) whole: Duration,
    /// How many redirects are followed.
    pub(super) redirects: u32,
    /// The most bytes of the head of a response.
    pub(super) head_bytes: u64,
    /// The most bytes of the body of a response.
    pub(super) body_bytes: u64,
}

impl Bounds {
    /// The bounds where the manifest gives none.
    pub(super) fn of_defaults() -> Self {
        let limits = Limits::default();
        Self {
            connect: Duration::from_millis(HTTP_CONNECT_TIMEOUT_MS),
            whole: Duration::from_millis(HTTP_TIMEOUT_MS),
            redirects: HTTP_REDIRECTS,
            head_bytes: limits.http_head_bytes,
            body_bytes: limits.http_body_bytes,
        }
    }
}
