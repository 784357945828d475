//! Repair of a journal that has lost its end or its mark and cannot be restored from a backup: what is left is
//! accepted. Every chain whose last events may be lost records that.
//!
//! ```text
//!   a journal that every start refuses ─▶ what is left is verified ─▶ `failed`, reason `interrupted`, on the chain of
//!   each actor that was to be resumed ─▶ a new mark ─▶ the next start restarts them, each from its last state there
//! ```
//!
//! If a chain ends within a transition, that transition may have been finished before the loss, with effects outside.
//! So it is closed and not executed again.

use std::path::Path;

use crossbeam_channel::bounded;

use crate::actor::audit;
use crate::base::clock;
use crate::base::limits::RuntimeLimits;
use crate::base::wait;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Failed, FailureReason};
use crate::chain::{ChainEvent, EventKind, Head, StateChain};
use crate::journal::{
    ActorRow, Attached, Cause, DataDir, Journal, JournalDown, JournalError, JournalReader, Listener, Loss, ReadResult,
    Record, UnsoundEnd,
};

/// What is lost, and the actors that it concerns.
#[derive(Debug)]
pub(crate) struct Damage {
    pub(crate) loss: Loss,
    /// What stands at the end of the log, does not check, and is given up too.
    pub(crate) unsound: Option<UnsoundEnd>,
    /// The actors whose chains may have gone on.
    pub(crate) concerned: Vec<Concerned>,
}

/// An actor whose chain may have gone on.
#[derive(Debug)]
pub(crate) struct Concerned {
    pub(crate) name: String,
    pub(crate) id: String,
    /// The sequence of its last event that is left.
    pub(crate) last: u64,
    /// The call that its chain ends within.
    pub(crate) open: Option<String>,
}

/// Why a loss cannot be accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepairError {
    #[error("{0}")]
    Journal(#[from] JournalError),
    #[error(
        "more than its end is lost or altered: {first}{more}. Restore the directory from a backup; nothing was changed"
    )]
    More { first: String, more: String },
    #[error("the loss could not be recorded: {0}")]
    Unrecorded(String),
}

/// What the journal in `dir` has lost of what was acknowledged; nothing if it has everything. Fails if what is left is
/// damaged too.
pub(crate) fn assess(dir: &Path) -> Result<Option<Damage>, RepairError> {
    let Some(loss) = Loss::of(dir)? else { return Ok(None) };
    // A finding about the mark is the loss itself, so it does not count. The name of an actor may contain the words
    // that are looked for, so findings about actors do count.
    let is_of_the_mark = |finding: &String| finding.contains("journal.mark") && !finding.starts_with("actor ");
    let mut findings = audit(dir)?.findings.into_iter().filter(|finding| !is_of_the_mark(finding));
    if let Some(first) = findings.next() {
        let more = match findings.count() {
            0 => String::new(),
            more => format!(" (and {more} more: `theater verify --journal` names them)"),
        };
        return Err(RepairError::More { first, more });
    }
    let reader = crate::journal::open_to_read(dir)?;
    let unreadable = |error| JournalError::Read { path: dir.to_owned(), error };
    let concerned = chains(&reader).map_err(unreadable)?.into_iter().map(|chain| Concerned {
        name: chain.row.name,
        id: chain.row.actor.id.to_string(),
        last: chain.last.sequence,
        open: chain.open.first().map(|call| call.function().to_owned()),
    });
    Ok(Some(Damage { loss, unsound: crate::journal::unsound_end(dir)?, concerned: concerned.collect() }))
}

/// Accepts the loss, and records it on the chains. Until that is done, every start still refuses the journal.
pub(crate) fn accept(dir: &Path, loss: Loss) -> Result<(), RepairError> {
    let (failed, journal_failed) = bounded(1);
    let listener =
        Listener { committed: Box::new(|_| ()), failed: Box::new(move |error| _ = failed.send(error.to_string())) };
    let queue_bytes = RuntimeLimits::default().journal_queue_bytes;
    let journal = Journal::open_despite_loss(DataDir::open(dir)?, queue_bytes, listener)?;
    let unreadable = |error| JournalError::Read { path: dir.to_owned(), error };
    let reader = journal.handle().reader()?;
    // The writer says why as soon as it has ended.
    let unrecorded = |down: JournalDown| {
        RepairError::Unrecorded(wait::receive(&journal_failed).unwrap_or_else(|_| down.to_string()))
    };
    for chain in chains(&reader).map_err(unreadable)? {
        journal.handle().enqueue(chain.closed_by(loss)).map_err(unrecorded)?;
    }
    journal.handle().flush().map_err(unrecorded)?;
    drop(reader);
    journal.close();
    match Loss::of(dir)? {
        None => Ok(()),
        Some(_) => Err(RepairError::Unrecorded("the journal's mark could not be written".into())),
    }
}

/// The end of a chain that may have gone on.
struct LeftChain {
    row: ActorRow,
    last: ChainEvent,
    open: Vec<ChainEvent>,
}

fn chains(reader: &JournalReader) -> ReadResult<Vec<LeftChain>> {
    let mut chains = Vec::new();
    for row in reader.actors()?.into_iter().filter(|row| row.alive) {
        if let Some(last) = reader.last_event(row.actor)? {
            let open = reader.open_transition(row.actor)?;
            chains.push(LeftChain { row, last, open });
        }
    }
    Ok(chains)
}

impl LeftChain {
    fn closed_by(&self, loss: Loss) -> Record {
        let actor = self.row.actor;
        let detail = format!("lost, and accepted by the operator: {loss}");
        let failed = Failed { detail, reason: FailureReason::Interrupted, dropped: Vec::new() };
        let head = Head { sequence: self.last.sequence, hash: self.last.hash };
        let event = StateChain::after(actor.id, head).append("failed", failed.to_cbor(), clock::unix_ms());
        // If the chain ends with a request, nobody waits for the answer any more, so the request is settled.
        let last = self.open.iter().rfind(|event| event.kind() != Some(EventKind::Started));
        let intent = last.filter(|event| event.kind() == Some(EventKind::Intent));
        let settles = intent.map(|intent| Cause { actor: actor.id, sequence: intent.sequence }).into_iter().collect();
        Record::Event(actor, event, Attached { settles, ..Attached::default() })
    }
}
