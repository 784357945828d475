//! The handle of a running theater, which the management server, the handlers and embedders hold to ask it for anything.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::control::{Asked, Control};
use super::delivery::Delivery;
use super::mailbox::Lane;
use super::refusal::Refusal;
use super::registry::{ActorInfo, Registry};
use super::reply::{AwaitedReply, Reply};
use super::requests::{ForkRequest, SpawnRequest};
use super::subscribers::Subscribers;
use crate::base::id::ActorId;
use crate::base::limits::RuntimeLimits;
use crate::base::places::Places;
use crate::base::thread::ThreadPanicked;
use crate::chain::Function;
use crate::chain::data::Caller;
use crate::journal::{ActorKey, JournalHandle, Record};

/// A running theater, to be asked. Cheap to clone; it does not keep the theater running.
#[derive(Clone)]
pub struct TheaterHandle {
    pub(crate) registry: Arc<Registry>,
    pub(crate) journal: JournalHandle,
    pub(crate) subscribers: Arc<Subscribers>,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) limits: RuntimeLimits,
    /// The HTTP exchanges that all actors have under way.
    pub(crate) http_exchanges: Places,
    /// Where a thread that the runtime cannot do without says that it has panicked.
    pub(crate) failed: Sender<String>,
}

/// The answer where the supervisor is gone: the runtime has ended or is ending.
const ENDED: &str = "the runtime is shutting down";

impl TheaterHandle {
    /// Starts the actor of a manifest and waits for its `init`. The text of the error names what is wrong and where.
    pub fn start(&self, manifest: PathBuf) -> Result<ActorId, String> {
        let answer = self.control.spawn(SpawnRequest { manifest, parentage: None });
        let spawned = answer.receive().unwrap_or_else(|_| Err(ENDED.into()));
        self.once_on_disk(spawned.map(|spawned| spawned.id))
    }

    /// Starts a new root called `name` from the state that an actor had at its event `at`, and waits until it is up.
    /// It runs what that actor ran there, or what `manifest` says.
    pub fn fork(&self, id: ActorId, at: u64, name: &str, manifest: Option<PathBuf>) -> Result<ActorId, String> {
        let actor = self.key(id).ok_or_else(|| format!("no such actor: {id}"))?;
        let answer = self.control.fork(ForkRequest { actor, at, name: name.to_owned(), manifest });
        let spawned = answer.receive().unwrap_or_else(|_| Err(ENDED.into()));
        self.once_on_disk(spawned.map(|spawned| spawned.id))
    }

    /// Stops an actor and everything below it, and waits for the end.
    pub fn stop(&self, id: ActorId) -> Result<(), String> {
        let answer = self.control.stop(id, Asked::BY_OPERATOR);
        self.once_on_disk(answer.receive().unwrap_or_else(|_| Err(ENDED.into())).map(drop))
    }

    /// Starts an actor again, stopping it first if it runs, and waits until it is there.
    pub fn restart(&self, id: ActorId) -> Result<(), String> {
        let answer = self.control.restart(id, Asked::BY_OPERATOR);
        self.once_on_disk(answer.receive().unwrap_or_else(|_| Err(ENDED.into())).map(drop))
    }

    /// Lists an actor that has ended, and all below it, no longer, at later starts either. Their histories stay.
    pub fn forget(&self, id: ActorId) -> Result<(), String> {
        let answer = self.control.forget(id).receive().unwrap_or_else(|_| Err(ENDED.into()));
        // The lowest come first: so, wherever a crash cuts this off, an actor that is still listed has its parent.
        for actor in answer?.into_iter().rev() {
            // The next start would try an actor again that has failed before it was up again: it is marked as ended first.
            for record in [Record::Ended(actor), Record::Forgotten(actor)] {
                self.journal.enqueue(record).map_err(|error| error.to_string())?;
            }
        }
        self.once_on_disk(Ok(()))
    }

    /// Every actor that lives or is listed, in the order in which they came.
    pub fn actors(&self) -> Vec<ActorInfo> {
        self.registry.list()
    }

    /// At most `most` actors from the number `from` on, each with its number.
    pub(crate) fn actors_from(&self, from: u64, most: usize) -> Vec<(u64, ActorInfo)> {
        self.registry.page(from, most)
    }

    /// One actor.
    pub fn actor(&self, id: ActorId) -> Option<ActorInfo> {
        self.registry.info(id)
    }

    /// Ends the runtime: every actor is suspended where it is, and goes on at the next start.
    pub fn shutdown(&self) {
        self.control.shutdown();
    }

    /// A thread that the runtime cannot do without has panicked: the runtime is to end, and to say why.
    pub(crate) fn thread_failed(&self, panicked: Option<ThreadPanicked>) {
        // There is room for one. If another thread has said so before, that is enough.
        panicked.into_iter().for_each(|panicked| _ = self.failed.try_send(panicked.to_string()));
    }

    /// Gives the answer after what it acknowledges is on disk.
    fn once_on_disk<T>(&self, answer: Result<T, String>) -> Result<T, String> {
        self.journal.flush().map_err(|error| error.to_string())?;
        answer
    }

    pub(crate) fn key(&self, id: ActorId) -> Option<ActorKey> {
        self.registry.entry(id, |entry| entry.actor)
    }

    /// Has an export of `to` called for someone outside the runtime; the answer comes after what it depends on is on disk.
    pub(crate) fn deliver(
        &self,
        to: ActorId,
        function: &'static Function,
        params: Vec<u8>,
        caller: Caller,
    ) -> Result<AwaitedReply, Refusal> {
        let slot = self.registry.reserve(to, Lane::Mail, function, params.len())?;
        let (reply, answer) = Reply::outside();
        slot.fill(Delivery { function, params, caller, cause: None, reply });
        Ok(answer)
    }

    /// Has an export of `to` called, for something that the actor must hear of however full its mailbox is, and that nobody
    /// waits for. The caller sees to it that the number of such notices is bounded.
    pub(crate) fn notify(&self, to: ActorId, notice: Delivery) -> Result<(), Refusal> {
        let slot = self.registry.reserve(to, Lane::Notice, notice.function, notice.params.len())?;
        slot.fill(notice);
        Ok(())
    }
}
