//! What the acceptor and the connections of one HTTP listener share: flags, budgets, and what never changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::base::clock;
use crate::net::{AnswerBudget, ClientWriterHandle, ListenerClosing, ServerCertificate};

use super::body_budget::BodyBudget;
use super::limits::HttpLimits;
use super::refusal::OnRefusal;
use super::upload::UploadPlace;
use super::{WireAnswer, WireRequest};

/// Answers requests, many at a time, each on the thread of the connection that it came by. It has to return, because a
/// listener that closes waits for it.
pub(crate) type Service = Arc<dyn Fn(WireRequest) -> WireAnswer + Send + Sync>;

/// What the threads of one HTTP listener share.
pub(crate) struct HttpShared {
    pub(crate) limits: HttpLimits,
    pub(crate) service: Service,
    /// The certificate, if TLS is spoken.
    pub(crate) tls: Option<ServerCertificate>,
    /// Where bodies go that are too large for memory.
    pub(crate) uploads: Option<Arc<dyn UploadPlace>>,
    /// For the bodies that are being received.
    pub(crate) bodies: Arc<BodyBudget>,
    pub(crate) answers: Arc<AnswerBudget>,
    /// The moment from which every [`ClientWait`](super::client_wait::ClientWait) counts.
    pub(crate) epoch: Instant,
    pub(crate) closing: ListenerClosing,
    /// Is told of the requests that do not reach the service.
    pub(crate) on_refusal: Option<OnRefusal>,
    /// Who sends the answers that come piece by piece; none if the service gives none.
    pub(crate) writer: Option<ClientWriterHandle>,
    /// Whether a request waits for a thread.
    thread_wanted: AtomicBool,
}

impl HttpShared {
    pub(crate) fn new(
        limits: HttpLimits,
        tls: Option<ServerCertificate>,
        uploads: Option<Arc<dyn UploadPlace>>,
        service: Service,
        writer: Option<ClientWriterHandle>,
    ) -> Self {
        Self {
            bodies: Arc::new(BodyBudget::new(limits.bodies_bytes.max(limits.body_bytes))),
            answers: AnswerBudget::new(limits.answers_bytes.max(limits.body_bytes.saturating_add(limits.head_bytes))),
            limits,
            service,
            tls,
            uploads,
            epoch: clock::now(),
            closing: ListenerClosing::default(),
            on_refusal: None,
            writer,
            thread_wanted: AtomicBool::new(false),
        }
    }

    /// Whether the listener closes. The flag and [`ClientWait`](super::client_wait::ClientWait) are both sequentially
    /// consistent. So when a connection begins to wait, one of two things happens: the connection sees that the
    /// listener closes, or the acceptor sees that the connection waits, and dismisses it.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.has_begun()
    }

    /// Says whether a request waits for a thread. Then the next connection that has answered its client should leave.
    pub(crate) fn want_thread(&self, wanted: bool) {
        self.thread_wanted.store(wanted, Ordering::Relaxed);
    }

    /// Whether a request waits for a thread.
    pub(crate) fn is_thread_wanted(&self) -> bool {
        self.thread_wanted.load(Ordering::Relaxed)
    }

    /// Whether the caller's connection should end so that its thread is free for a waiting request. If so, this also
    /// withdraws the wish, so that only one connection ends for it.
    pub(crate) fn take_wish_to_leave(&self) -> bool {
        self.thread_wanted.load(Ordering::Relaxed) && self.thread_wanted.swap(false, Ordering::Relaxed)
    }
}
