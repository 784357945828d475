//! The handle of a running theater, which the management server, the handlers and embedders hold to ask it for anything.

use std::sync::{Arc, OnceLock};

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use super::answer::Answer;
use super::async_requests::AsyncRequests;
use super::clients::Clients;
use super::control::Control;
use super::deferrals::Deferrals;
use super::delivery::Delivery;
use super::keyed::KeyedRequests;
use super::mailbox::Lane;
use super::refusal::Refusal;
use super::registry::{ActorInfo, Registry};
use super::reply::{AwaitedReply, Reply};
use super::secrets::Secrets;
use super::subscribers::Subscribers;
use super::timers::Timers;
use crate::base::id::ActorId;
use crate::base::limits::RuntimeLimits;
use crate::base::metrics::TelemetryMetrics;
use crate::base::places::Places;
use crate::base::thread::ThreadPanicked;
use crate::chain::Function;
use crate::chain::data::Caller;
use crate::journal::{ActorKey, JournalHandle};
use crate::proofs::Proofs;

/// The handle of a running theater, through which callers ask it for anything. Cheap to clone; it does not keep the
/// theater running. After the theater has ended, a handle refuses every change and message, and still reads what is on
/// disk, if the data directory was not temporary.
#[derive(Clone)]
pub struct TheaterHandle {
    pub(crate) registry: Arc<Registry>,
    pub(crate) journal: JournalHandle,
    pub(crate) subscribers: Arc<Subscribers>,
    pub(crate) control: Arc<dyn Control>,
    /// Held while an actor is paused, resumed or forgotten, so that the journal has these in the order in which they are done.
    pub(crate) pauses: Arc<Mutex<()>>,
    pub(crate) limits: RuntimeLimits,
    pub(crate) timers: Arc<Timers>,
    pub(crate) async_requests: Arc<AsyncRequests>,
    pub(crate) deferrals: Arc<Deferrals>,
    /// The clients that actors can send to at any time.
    pub(crate) clients: Arc<Clients>,
    /// The HTTP exchanges that all actors have under way.
    pub(crate) http_exchanges: Places,
    pub(crate) secrets: Secrets,
    /// The requests with an idempotency key that are under way.
    pub(crate) keyed: KeyedRequests,
    /// The tree over all events, if there is a key to sign it with.
    pub(crate) proofs: Arc<OnceLock<Arc<Proofs>>>,
    /// What is counted of the telemetry, if any is sent.
    pub(crate) telemetry: Arc<TelemetryMetrics>,
    /// The channel by which a thread that the runtime cannot do without reports that it has panicked.
    pub(crate) failed: Sender<String>,
}

impl TheaterHandle {
    /// At most `most` actors from the number `from` on, each with its number.
    pub(crate) fn actors_from(&self, from: u64, most: usize) -> Vec<(u64, ActorInfo)> {
        self.registry.page(from, most)
    }

    /// A thread that the runtime cannot do without has panicked: the runtime is to end, and to say why.
    pub(crate) fn thread_failed(&self, panicked: Option<ThreadPanicked>) {
        // The channel has room for one item. If it is full, another thread has reported a panic before, and one report
        // is enough.
        panicked.into_iter().for_each(|panicked| _ = self.failed.try_send(panicked.to_string()));
    }

    pub(crate) fn key(&self, id: ActorId) -> Option<ActorKey> {
        self.registry.entry(id, |entry| entry.actor)
    }

    /// Delivers a call of an export of `to` for a caller outside the runtime. The answer comes after the events that it
    /// depends on are on disk. If the disk is nearly full, the call is refused.
    pub(crate) fn deliver(
        &self,
        to: ActorId,
        function: &'static Function,
        params: Vec<u8>,
        caller: Caller,
    ) -> Result<AwaitedReply, Refusal> {
        self.journal.has_room()?;
        let slot = self.registry.reserve(to, Lane::Mail, function, params.len())?;
        let (reply, answer) = Reply::outside();
        slot.fill(Delivery { function, params, caller, cause: None, reply });
        Ok(answer)
    }

    /// Gives an answer that rests on a recorded event: to an actor at once, to a sender outside the runtime after the commit
    /// that holds the event.
    pub(crate) fn give(&self, reply: Reply, answer: Answer) {
        match reply {
            Reply::Nobody => {}
            Reply::Actor { wait, to } => self.registry.answer(wait, to, answer),
            Reply::Later { to } => to.give(answer),
            // The error of a journal that is down is ignored: an answer that rests on an event which was never committed must
            // not leave.
            Reply::Outside { to, key } => {
                let _ = self.journal.release(move || {
                    key.into_iter().for_each(|request| request.end());
                    to.give(answer);
                });
            }
        }
    }

    /// Delivers a call of an export of `to` that the actor must get however full its mailbox is, and whose answer
    /// nobody waits for. The caller must bound the number of such notices.
    pub(crate) fn notify(&self, to: ActorId, notice: Delivery) -> Result<(), Refusal> {
        let slot = self.registry.reserve(to, Lane::Notice, notice.function, notice.params.len())?;
        slot.fill(notice);
        Ok(())
    }
}
