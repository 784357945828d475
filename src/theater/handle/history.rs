//! An actor's history through a handle: its state, events, kept states and components; exporting, replaying, and dropping
//! data.

use std::any::Any;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::actor::{self, PastState, Recording, ReplayError, Replayed};
use crate::base::gate::Gate;
use crate::base::id::ActorId;
use crate::base::thread;
use crate::chain::{ChainEvent, ComponentDigest, ExportError, Exported, FileRow, History, KeptState, export};
use crate::guest::{GuestEngine, THREAD_STACK_BYTES};
use crate::journal::{
    self, ActorKey, DataDropped, DataToDrop, DropError, JournalError, JournalReader, Newest, ReadFault, ReadResult,
    Shown,
};
use crate::system::TheaterHandle;
use crate::theater::control::LifecycleControl;

/// Events of one page, at most.
const PAGE_EVENTS: u64 = 1_000;
/// Bytes of event data of one page, beyond its first event.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A past state that is not stored is computed again, which takes a core: one at a time, in the whole process.
static COMPUTED: Gate = Gate::new(1, 64);

/// Why something of an actor's history was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No listed actor has this id.
    #[error("no such actor: {0}")]
    NoSuchActor(ActorId),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal cannot be read there; the text is SQLite's.
    #[error("{0}")]
    Unreadable(String),
    /// The journal does not hold this component or state.
    #[error("nothing is kept as {0}")]
    NotKept(String),
    /// The state of the past cannot be had: there is no such event, or data was dropped that the state is to be computed from.
    #[error(transparent)]
    PastState(#[from] ReplayError),
    /// Too many past states are being computed at the moment.
    #[error("too many past states are being computed: ask again in a moment")]
    Busy,
    /// Data was dropped that the table of the past was made from.
    #[error("{}", crate::journal::gone_table(*at, *dropped))]
    TableIsGone {
        /// The event after which the table was asked for.
        at: u64,
        /// The last event before it whose data was dropped.
        dropped: u64,
    },
}

impl From<ReadFault> for ReadError {
    fn from(error: ReadFault) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// An actor's newest state on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActorState {
    /// The state; none for an actor that has none.
    pub bytes: Option<Vec<u8>>,
    /// The event that led to the state, if that event's data was dropped: no event names the state then, and nobody can
    /// verify that it is the right one.
    pub lost_at: Option<u64>,
}

impl TheaterHandle {
    /// An actor's newest state on disk.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if no listed actor has this id, or if the journal cannot be read.
    pub fn state(&self, id: ActorId) -> Result<ActorState, ReadError> {
        let (actor, reader) = self.opened(id)?;
        let bytes = match reader.newest_state(actor)? {
            Newest::Is(state) => state,
            Newest::Behind(_) => {
                let _turn = COMPUTED.pass().ok_or(ReadError::Busy)?;
                let reader = reader.clone();
                self.on_a_large_stack("state", move |engine| {
                    actor::newest_state(&engine, &reader, actor).map_err(ReplayError::Unreadable)
                })?
            }
        };
        let lost_at = reader.newest_state_is_lost_at(actor)?;
        Ok(ActorState { bytes, lost_at })
    }

    /// The state that an actor had after event `at`; none if it had none. If `at` lies within a transition, that is the state
    /// before the transition. A large state that the journal does not hold any more is computed again, from the nearest one
    /// that it holds; the calling thread waits.
    ///
    /// # Errors
    ///
    /// [`ReadError::PastState`] if there is no such event, or if the state is gone with data that was dropped.
    pub fn state_at(&self, id: ActorId, at: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let (actor, reader) = self.opened(id)?;
        let recording = Recording::of_journal(reader, actor);
        match actor::past_state(&recording, at)? {
            PastState::Is(state) => Ok(state),
            PastState::Behind(led) => {
                let _turn = COMPUTED.pass().ok_or(ReadError::Busy)?;
                Ok(self.on_a_large_stack("state-at", move |engine| actor::computed_state(&engine, &recording, led))?)
            }
        }
    }

    /// The events of an actor from sequence `from` on that are on disk, in order: at most `limit`, at most 1,000, and
    /// at most 4 MiB of data beyond the first. An empty page means that there are no further events at the moment.
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::state`].
    pub fn events(&self, id: ActorId, from: u64, limit: u64) -> Result<Vec<ChainEvent>, ReadError> {
        let (actor, reader) = self.opened(id)?;
        Ok(reader.events(actor, from, limit.min(PAGE_EVENTS), PAGE_BYTES)?)
    }

    /// The bytes of a component that an actor of this journal ran.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotKept`] if no actor of this journal ran the component.
    pub fn component(&self, digest: ComponentDigest) -> Result<Vec<u8>, ReadError> {
        let kept = self.journal.reader()?.component(digest)?;
        kept.ok_or_else(|| ReadError::NotKept(digest.to_string()))
    }

    /// The bytes of a state of more than 4 KiB that an event of this journal names by its SHA-1.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotKept`] if no event names such a state.
    pub fn large_state(&self, sha1: &[u8; 20]) -> Result<Vec<u8>, ReadError> {
        let kept = self.journal.reader()?.blob(sha1)?;
        kept.ok_or_else(|| ReadError::NotKept(hex::encode(sha1)))
    }

    /// The first state that the journal keeps of an event after `sequence`, with that event; a replay can begin there.
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::state`].
    pub fn kept_state_after(&self, id: ActorId, sequence: u64) -> Result<Option<KeptState>, ReadError> {
        let (actor, reader) = self.opened(id)?;
        Ok(kept_after(&reader, actor, sequence)?)
    }

    /// Writes an actor's whole history to `sink`, as the portable chain file that [`crate::UnverifiedChain::read`] reads.
    /// Components that the actor ran are part of it.
    ///
    /// # Errors
    ///
    /// [`ExportError::Empty`] for an actor without events; [`ExportError::Write`] if `sink` refuses.
    pub fn export(&self, id: ActorId, sink: impl Write) -> Result<Exported, ExportError<ReadError>> {
        let (actor, reader) = self.opened(id).map_err(ExportError::History)?;
        export(&mut Journaled { actor, reader }, true, || Ok(sink)).map(|(exported, _)| exported)
    }

    /// Executes an actor's history again, as far as it is on disk, and compares every event. No effect of a host call
    /// happens again. The calling thread waits.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Diverged`] names the first event that comes out otherwise.
    pub fn replay(&self, id: ActorId) -> Result<Replayed, ReplayError> {
        let unreadable = |error: &dyn ToString| ReplayError::Unreadable(error.to_string());
        let actor = self.key(id).ok_or(ReplayError::NoSuchActor(id))?;
        if self.journal.flush().is_err() {
            log::debug!("the journal takes no more records: what is on disk of actor {id} is all that is replayed");
        }
        let reader = self.journal.reader().map_err(|error| unreadable(&error))?;
        self.on_a_large_stack("replay", move |engine| {
            let recording = Recording::of_journal(reader, actor);
            actor::replay(&engine, &recording, None, &mut |_| Ok(()))
        })
    }

    /// Executes recorded calls on a thread of its own, because guest code needs a large stack. The calling thread waits.
    fn on_a_large_stack<T: Send + 'static>(
        &self,
        name: &str,
        replay: impl FnOnce(Arc<GuestEngine>) -> Result<T, ReplayError> + Send + 'static,
    ) -> Result<T, ReplayError> {
        let control: &dyn Any = &*self.control;
        let control = control.downcast_ref::<LifecycleControl>();
        let lacking = || ReplayError::Unreadable("this handle has no sandbox".to_owned());
        let engine = Arc::clone(&control.ok_or_else(lacking)?.engine);
        let (to, replayed) = crossbeam_channel::bounded(1);
        let thread = thread::spawn_sized(name, THREAD_STACK_BYTES, move || _ = to.send(replay(engine)));
        let thread = thread.map_err(|error| ReplayError::Sandbox(format!("no thread to replay on: {error}")))?;
        thread.join().map_err(|panicked| ReplayError::Panicked(panicked.to_string()))?;
        replayed.try_recv().unwrap_or_else(|_| Err(ReplayError::Panicked("it has no outcome".into())))
    }

    /// Drops the data of an actor's events before the last kept state before event `before`. The hashes stay, so the
    /// chain still verifies; from that kept state on, it can still be replayed. With [`Shown::Stays`] nothing is dropped
    /// that a `get-chain` of the actor has shown it.
    ///
    /// # Errors
    ///
    /// [`DropError`] says why the data cannot be dropped; then nothing was dropped.
    pub fn prune(&self, id: ActorId, before: u64, shown: Shown) -> Result<DataDropped, DropError> {
        let (actor, reader) = self.opened(id).map_err(not_opened)?;
        journal::prune(&self.journal, &reader, actor, before, shown)
    }

    /// Drops the data of one event. Its hash stays, so the chain still verifies; from that event up to the next kept
    /// state, the chain cannot be replayed any more.
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::prune`].
    pub fn redact(&self, id: ActorId, sequence: u64, shown: Shown) -> Result<DataDropped, DropError> {
        let (actor, reader) = self.opened(id).map_err(not_opened)?;
        journal::redact(&self.journal, &reader, actor, sequence, shown)
    }

    /// What [`TheaterHandle::prune`] would drop. Nothing is changed.
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::prune`].
    pub fn foresee_prune(&self, id: ActorId, before: u64, shown: Shown) -> Result<DataToDrop, DropError> {
        let (actor, reader) = self.opened(id).map_err(not_opened)?;
        journal::foresee_prune(&reader, actor, before, shown)
    }

    /// What [`TheaterHandle::redact`] would drop. Nothing is changed.
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::prune`].
    pub fn foresee_redaction(&self, id: ActorId, sequence: u64, shown: Shown) -> Result<DataToDrop, DropError> {
        let (actor, reader) = self.opened(id).map_err(not_opened)?;
        journal::foresee_redaction(&reader, actor, sequence, shown)
    }

    /// The data directory: where the journal lies.
    pub fn data_dir(&self) -> &Path {
        self.journal.dir()
    }

    pub(super) fn opened(&self, id: ActorId) -> Result<(ActorKey, JournalReader), ReadError> {
        let actor = self.key(id).ok_or(ReadError::NoSuchActor(id))?;
        Ok((actor, self.journal.reader()?))
    }
}

/// Why nothing was dropped of a history that was not opened.
fn not_opened(error: ReadError) -> DropError {
    match error {
        ReadError::NoSuchActor(id) => DropError::NoSuchActor(id),
        other => DropError::Closed(other.to_string()),
    }
}

/// One actor's history in the journal.
struct Journaled {
    actor: ActorKey,
    reader: JournalReader,
}

impl History for Journaled {
    type Error = ReadError;

    fn page(&mut self, from: u64) -> Result<Vec<ChainEvent>, ReadError> {
        Ok(self.reader.events(self.actor, from, PAGE_EVENTS, PAGE_BYTES)?)
    }

    fn component(&mut self, digest: ComponentDigest) -> Result<Vec<u8>, ReadError> {
        self.reader.component(digest)?.ok_or_else(|| ReadError::NotKept(digest.to_string()))
    }

    fn blob(&mut self, sha1: &[u8; 20]) -> Result<Vec<u8>, ReadError> {
        self.reader.blob(sha1)?.ok_or_else(|| ReadError::NotKept(hex::encode(sha1)))
    }

    fn kept_after(&mut self, sequence: u64) -> Result<Option<KeptState>, ReadError> {
        Ok(kept_after(&self.reader, self.actor, sequence)?)
    }

    fn rows(&mut self, sequence: u64, behind: Option<&[u8]>) -> Result<Vec<FileRow>, ReadError> {
        Ok(self.reader.file_rows(self.actor, sequence, behind)?)
    }
}

fn kept_after(reader: &JournalReader, actor: ActorKey, sequence: u64) -> ReadResult<Option<KeptState>> {
    match reader.first_kept_behind(actor, sequence)? {
        Some(first) => reader.kept_state(actor, first + 1),
        None => Ok(None),
    }
}
