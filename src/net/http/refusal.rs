//! Refusals: the answers that this server gives by itself, to a request that it does not pass on to the service.
//!
//! A refusal is always the last answer of its connection, because nobody knows where the next request would begin.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

/// Why a request is refused, as its client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpRefusal {
    pub(crate) status: u16,
    pub(crate) why: Cow<'static, str>,
}

/// What the owner of a listener calls a refusal, so that its client can ask about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefusalId {
    pub(crate) header: &'static str,
    pub(crate) id: String,
}

/// Is told of each refusal, and gives it an id. The client's address is there if the thread of a connection refuses; without one, it
/// is the acceptor's thread, which must not wait.
pub(crate) type OnRefusal = Arc<dyn Fn(Option<SocketAddr>, &HttpRefusal) -> RefusalId + Send + Sync>;

impl HttpRefusal {
    pub(crate) fn new(status: u16, why: impl Into<Cow<'static, str>>) -> Self {
        Self { status, why: why.into() }
    }

    /// 400: it is not HTTP, or two readers might understand it differently.
    pub(crate) fn malformed(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, why)
    }

    /// 503: it cannot be answered now; [`retry_after`](Self::retry_after) says when to ask again.
    pub(crate) fn busy(why: &'static str) -> Self {
        Self::new(503, why)
    }

    /// 413: the body is larger than `limit`, or announces that it will be.
    pub(crate) fn body_too_large(limit: usize) -> Self {
        Self::new(413, format!("the body is larger than {limit} bytes"))
    }

    /// After how many seconds the client should try again; nothing if that would not help.
    pub(crate) fn retry_after(&self) -> Option<&'static str> {
        (self.status == 503).then_some("1")
    }
}
