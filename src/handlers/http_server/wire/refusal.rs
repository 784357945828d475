//! The answers that the engine gives by itself: a request it will not pass on, or a moment it cannot.
//!
//! After a refusal the connection is closed, always: where the next request would begin is not known any more.

use std::borrow::Cow;

/// Why a request gets no further, as the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) why: Cow<'static, str>,
}

impl Refusal {
    pub(crate) fn new(status: u16, why: impl Into<Cow<'static, str>>) -> Self {
        Self { status, why: why.into() }
    }

    /// 400: not HTTP, or such that two readers might understand it differently.
    pub(crate) fn malformed(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, why)
    }

    /// 503: not now; [`retry_after`](Self::retry_after) says when.
    pub(crate) fn busy(why: &'static str) -> Self {
        Self::new(503, why)
    }

    /// 413: the body is, or says it is, larger than `limit`.
    pub(crate) fn body_too_large(limit: usize) -> Self {
        Self::new(413, format!("the body is larger than {limit} bytes"))
    }

    /// The seconds after which to try again, where that may help.
    pub(crate) fn retry_after(&self) -> Option<&'static str> {
        (self.status == 503).then_some("1")
    }
}
