//! Where replay has a chain from: a verified file, or a journal, whose hashes are checked as it is read.

use std::path::Path;
use std::sync::Arc;

use super::{ReplayError, read};
use crate::base::id::ActorId;
use crate::base::limits::GUEST_CHAIN_EVENTS;
use crate::chain::data::Started;
use crate::chain::{ChainEvent, ComponentDigest, EventKind, Head, Incarnations, VerifiedChain, check_link};
use crate::guest::Pages;
use crate::journal::{self, ActorKey, JournalReader};

const PAGE_EVENTS: u64 = 512;
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// One chain to be replayed.
pub(crate) struct Tape {
    pub(crate) actor: ActorId,
    /// Where it begins, if not at the beginning.
    pub(crate) start: Option<Snapshot>,
    pub(crate) pages: Pages,
    pub(crate) store: Store,
}

type Fetch<K> = Box<dyn Fn(K) -> Result<Option<Vec<u8>>, String>>;

/// What a chain names and does not hold.
pub(crate) struct Store {
    pub(crate) component: Fetch<ComponentDigest>,
    pub(crate) blob: Fetch<[u8; 20]>,
}

/// A kept state: replay can begin behind its event.
pub(crate) struct Snapshot {
    pub(crate) head: Head,
    /// What a guest that reads its chain is shown from there, up to and including that event.
    pub(crate) past: Vec<ChainEvent>,
    pub(crate) state: Option<Vec<u8>>,
    /// The incarnation it lies in.
    pub(crate) started: Started,
}

impl Tape {
    /// A chain file, up to and including event `until`. What was dropped is left out, with what lies before it.
    pub(crate) fn of_file(chain: &Arc<VerifiedChain>, until: Option<u64>) -> Result<Self, ReplayError> {
        let events = chain.events();
        let upto =
            until.map_or(events.len(), |until| events.len().min(usize::try_from(until).unwrap_or(usize::MAX) + 1));
        let dropped = events[..upto].iter().rfind(|event| event.dropped.is_some());
        let start = dropped.map(|dropped| {
            let sequence = dropped.sequence;
            let kept = chain.states().range(sequence..).next().filter(|(at, _)| (**at as usize) < upto);
            let (at, state) = kept.ok_or(ReplayError::Dropped { sequence })?;
            let upto = &events[..=usize::try_from(*at).expect("it is on the chain")];
            let past = upto[upto.len().saturating_sub(GUEST_CHAIN_EVENTS as usize)..].to_vec();
            let started = upto.iter().rev();
            let started = started.filter(|event| event.kind() == Some(EventKind::Started)).map(read::<Started>).next();
            let head = Head { sequence: *at, hash: upto[upto.len() - 1].hash };
            let started = started.unwrap_or(Err(ReplayError::Dropped { sequence }))?;
            Ok(Snapshot { head, past, state: state.clone(), started })
        });
        let start = start.transpose()?;
        let (paged, stored, blobs) = (Arc::clone(chain), Arc::clone(chain), Arc::clone(chain));
        let pages = move |from: u64| {
            let from = usize::try_from(from).unwrap_or(usize::MAX).min(upto);
            let to = upto.min(from + PAGE_EVENTS as usize);
            Ok(paged.events()[from..to].to_vec())
        };
        let store = Store {
            component: Box::new(move |digest| Ok(stored.components().get(&digest).cloned())),
            blob: Box::new(move |sha1| Ok(blobs.blob(&sha1).cloned())),
        };
        Ok(Self { actor: chain.actor(), start, pages: Box::new(pages), store })
    }

    /// An actor's chain in the journal in `dir`, from the kept state nearest before `from` (or where it must begin,
    /// since data was dropped), up to and including event `until`.
    pub(crate) fn of_journal(
        dir: &Path,
        actor: ActorKey,
        from: Option<u64>,
        until: Option<u64>,
    ) -> Result<Self, ReplayError> {
        let open = || journal::open_to_read(dir).map_err(|error| ReplayError::Unreadable(error.to_string()));
        let (reader, paged, stored, blobs) = (open()?, open()?, open()?, open()?);
        let start = snapshot(&reader, actor, from)?;
        if let (Some(start), Some(until)) = (&start, until)
            && start.head.sequence > until
        {
            return Err(ReplayError::Gone { until, kept: start.head.sequence });
        }
        let mut head = start.as_ref().map(|snapshot| snapshot.head);
        let begun = start.as_ref().map(|snapshot| Incarnations::within(&snapshot.started));
        let mut incarnations = begun.unwrap_or_else(Incarnations::none);
        // Shared between threads by nobody; the lock only says so.
        let paged = parking_lot::Mutex::new(paged);
        let pages = move |from: u64| {
            let limit = until.map_or(PAGE_EVENTS, |until| PAGE_EVENTS.min((until + 1).saturating_sub(from)));
            let page = paged.lock().events(actor, from, limit, PAGE_BYTES).map_err(|error| error.to_string())?;
            for event in &page {
                head = Some(check_link(head.as_ref(), event).map_err(|broken| broken.to_string())?);
                let counted = incarnations.follow(event);
                counted.map_err(|why| format!("event {}: {why}", event.sequence))?;
            }
            Ok(page)
        };
        let store = Store {
            component: Box::new(move |digest| stored.component(digest).map_err(|error| error.to_string())),
            blob: Box::new(move |sha1| blobs.blob(&sha1).map_err(|error| error.to_string())),
        };
        Ok(Self { actor: actor.id, start, pages: Box::new(pages), store })
    }
}

fn snapshot(reader: &JournalReader, actor: ActorKey, from: Option<u64>) -> Result<Option<Snapshot>, ReplayError> {
    let unreadable = |error: rusqlite::Error| ReplayError::Unreadable(error.to_string());
    let dropped = reader.last_dropped(actor).map_err(unreadable)?;
    let kept = match (from, dropped) {
        (None, None) => return Ok(None),
        (Some(from), None) => reader.kept_state(actor, from.saturating_add(1)).map_err(unreadable)?,
        (from, Some(dropped)) => {
            let first = reader.first_kept_behind(actor, dropped).map_err(unreadable)?;
            let first = first.ok_or(ReplayError::Dropped { sequence: dropped })?;
            let at = from.filter(|from| *from >= first).unwrap_or(first);
            reader.kept_state(actor, at + 1).map_err(unreadable)?
        }
    };
    let Some((sequence, state)) = kept else { return Ok(None) };
    let from = (sequence + 1).saturating_sub(GUEST_CHAIN_EVENTS);
    let past = reader.events(actor, from, sequence + 1 - from, usize::MAX).map_err(unreadable)?;
    let started = reader.started_before(actor, sequence).map_err(unreadable)?;
    let event = past.last().filter(|event| event.sequence == sequence);
    let (Some(event), Some(started)) = (event, started) else { return Ok(None) };
    let head = Head { sequence, hash: event.hash };
    Ok(Some(Snapshot { head, past, state, started: read(&started)? }))
}
