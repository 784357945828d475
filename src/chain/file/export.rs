//! Exporting a chain: a portable chain file of an actor's whole history, wherever that history is read from.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::{ChainFileWriter, FileRow, Header, States};
use crate::chain::data::{NamedState, Started};
use crate::chain::table::may_write;
use crate::chain::{ChainEvent, ComponentDigest, DroppedEvents, EventHash, EventKind, StateOnChain, vouched_after};

/// A kept state: the event that it was the state after, and its bytes; none for an actor without a state.
pub(crate) type KeptState = (u64, Option<Vec<u8>>);

/// An actor's history, as it can be read somewhere: in a journal, or through a management server.
pub(crate) trait History {
    type Error;

    /// The events from `from` on, a page of them; none at the end.
    fn page(&mut self, from: u64) -> Result<Vec<ChainEvent>, Self::Error>;

    /// A component that the actor ran.
    fn component(&mut self, digest: ComponentDigest) -> Result<Vec<u8>, Self::Error>;

    /// A large state, by its SHA-1.
    fn blob(&mut self, sha1: &[u8; 20]) -> Result<Vec<u8>, Self::Error>;

    /// The first state that is kept of an event after `sequence`.
    fn kept_after(&mut self, sequence: u64) -> Result<Option<KeptState>, Self::Error>;

    /// The rows that the actor's table has after event `sequence`, in the order of their keys: a page of them, those behind
    /// a key; none at the end.
    fn rows(&mut self, sequence: u64, behind: Option<&[u8]>) -> Result<Vec<FileRow>, Self::Error>;
}

/// What was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// How many events the file holds.
    pub events: u64,
    /// The hash of the last of them.
    pub head: EventHash,
}

/// Why a history was not exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError<E> {
    /// The history cannot be read.
    #[error("{0}")]
    History(E),
    /// The actor has no events yet.
    #[error("the actor has no history yet")]
    Empty,
    /// The data of an event is not valid.
    #[error("event {sequence}: {why}")]
    Event {
        /// The event.
        sequence: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A stored state is not the one that the chain names.
    #[error("the state kept after event {sequence} is not the one that the chain names")]
    State {
        /// The event that the state was kept of.
        sequence: u64,
    },
    /// An event that was there when the export began is gone.
    #[error("event {sequence} is not there any more")]
    Gone {
        /// The event.
        sequence: u64,
    },
    /// The file cannot be written.
    #[error("cannot write the chain: {0}")]
    Write(io::Error),
}

/// Writes the history to a sink. `open` makes the sink, and is called only when the history was read once without an
/// error. A chain may grow meanwhile; the export ends with the event that was the last when it began.
pub(crate) fn export<H: History, W: Write>(
    history: &mut H,
    with_components: bool,
    open: impl FnOnce() -> io::Result<W>,
) -> Result<(Exported, W), ExportError<H::Error>> {
    let survey = ChainSurvey::of(history)?;
    let (Some((last, head)), Some(newest)) = (survey.last, survey.starts.last()) else {
        return Err(ExportError::Empty);
    };
    let (mut components, mut blobs) = (BTreeMap::new(), BTreeMap::new());
    if with_components {
        for digest in survey.needed_components() {
            components.insert(digest, history.component(digest).map_err(ExportError::History)?);
        }
    }
    for started in &survey.starts {
        if let NamedState::Digest { sha1, .. } = &started.state {
            blobs.insert(*sha1, history.blob(sha1).map_err(ExportError::History)?);
        }
    }
    let states = states(history, &survey, last)?;
    let with_rows = survey.with_rows(&states);
    let mut rows = 0;
    for after in &with_rows {
        each_row(history, *after, |_| {
            rows += 1;
            Ok(())
        })?;
    }
    let attachments = (components.len() + blobs.len() + states.len()) as u64 + rows;
    let version = match (survey.salted, survey.dropped.is_empty()) {
        (true, _) => 3,
        (false, false) => 2,
        (false, true) => 1,
    };
    let header = Header { actor: newest.id, component: newest.component, attachments, events: last + 1, head, version };
    let begun = open().and_then(|sink| ChainFileWriter::begin(sink, &header, &components, &blobs, &states));
    let mut file = begun.map_err(ExportError::Write)?;
    for after in &with_rows {
        each_row(history, *after, |row| file.row(*after, row).map_err(ExportError::Write))?;
    }
    let mut next = 0;
    while next <= last {
        let page = history.page(next).map_err(ExportError::History)?;
        if page.is_empty() {
            return Err(ExportError::Gone { sequence: next });
        }
        for event in page.into_iter().take_while(|event| event.sequence <= last) {
            next = event.sequence + 1;
            file.event(&event).map_err(ExportError::Write)?;
        }
    }
    let sink = file.finish().map_err(ExportError::Write)?;
    Ok((Exported { events: header.events, head }, sink))
}

/// Visits the rows that the actor's table has after an event.
fn each_row<H: History>(
    history: &mut H,
    after: u64,
    mut visit: impl FnMut(&FileRow) -> Result<(), ExportError<H::Error>>,
) -> Result<(), ExportError<H::Error>> {
    let mut behind: Option<Vec<u8>> = None;
    loop {
        let page = history.rows(after, behind.as_deref()).map_err(ExportError::History)?;
        let Some(last) = page.last() else { return Ok(()) };
        page.iter().try_for_each(&mut visit)?;
        behind = Some(last.key.clone());
    }
}

/// What a first pass over a chain finds. The header and the attachments are made from it.
struct ChainSurvey {
    starts: Vec<Started>,
    /// By their places among the starts: the incarnations that have a call whose data is there.
    called: BTreeSet<usize>,
    last: Option<(u64, EventHash)>,
    dropped: DroppedEvents,
    /// Whether the last event is of version 3.
    salted: bool,
    now: StateOnChain,
    /// The first event that may have written to the actor's table.
    first_write: Option<u64>,
    /// What the events say of the state after each stretch whose data was dropped.
    after_dropped: Vec<(u64, StateOnChain)>,
}

impl ChainSurvey {
    fn of<H: History>(history: &mut H) -> Result<Self, ExportError<H::Error>> {
        let (starts, dropped, after_dropped) = (Vec::new(), DroppedEvents::default(), Vec::new());
        let now = StateOnChain::Lost(0);
        let called = BTreeSet::new();
        let mut survey =
            Self { starts, called, last: None, dropped, salted: false, now, first_write: None, after_dropped };
        loop {
            let next = survey.last.map_or(0, |(last, _)| last + 1);
            let page = history.page(next).map_err(ExportError::History)?;
            if page.is_empty() {
                return Ok(survey);
            }
            page.iter().try_for_each(|event| survey.take(event))?;
        }
    }

    fn take<E>(&mut self, event: &ChainEvent) -> Result<(), ExportError<E>> {
        self.last = Some((event.sequence, event.hash));
        self.salted = event.is_salted();
        if self.first_write.is_none() && may_write(&event.event_type) {
            self.first_write = Some(event.sequence);
        }
        if event.kind() == Some(EventKind::Started) {
            let started = event.read::<Started>();
            let wrong = |why: String| ExportError::Event { sequence: event.sequence, why };
            self.starts.push(started.map_err(|error| wrong(error.to_string()))?);
        }
        if event.kind() == Some(EventKind::Call) && event.dropped.is_none() {
            self.called.extend(self.starts.len().checked_sub(1));
        }
        self.now = vouched_after(self.now.clone(), event);
        if event.dropped.is_some() {
            self.dropped.add(event.sequence);
            self.after_dropped.pop_if(|(before, _)| before.checked_add(1) == Some(event.sequence));
            self.after_dropped.push((event.sequence, self.now.clone()));
        }
        Ok(())
    }
}

impl ChainSurvey {
    /// The components that a replay needs. Of what was dropped, none is needed, and it may not be there any more.
    fn needed_components(&self) -> BTreeSet<ComponentDigest> {
        let is_needed = |at: usize| self.dropped.is_empty() || self.called.contains(&at);
        let starts = self.starts.iter().enumerate().filter(|(at, _)| is_needed(*at));
        starts.map(|(_, started)| started.component).collect()
    }

    /// The events after which rows are attached: where a replay begins, unless the table is empty there in any case.
    fn with_rows(&self, states: &States) -> Vec<u64> {
        let is_fork_with_rows = self.starts.first().is_some_and(|first| first.rows.is_some());
        // After a prune, the rows that a fork began with may not be there any more, and no replay begins with them.
        let begins_there = self.dropped.first_from(1) != Some(1);
        let first = (is_fork_with_rows && begins_there).then_some(0);
        let may_have_rows =
            |at: &u64| *at > 0 && (is_fork_with_rows || self.first_write.is_some_and(|first| first < *at));
        first.into_iter().chain(states.keys().copied().filter(may_have_rows)).collect()
    }
}

/// After each stretch whose data was dropped, the first kept state that an event names: a replay begins with it.
fn states<H: History>(history: &mut H, survey: &ChainSurvey, last: u64) -> Result<States, ExportError<H::Error>> {
    let mut states = States::new();
    for (gap, after) in &survey.after_dropped {
        let (mut at, mut now) = (*gap, after.clone());
        loop {
            let kept = history.kept_after(at).map_err(ExportError::History)?;
            let Some((sequence, state)) = kept.filter(|(sequence, _)| *sequence <= last) else { break };
            now = named_after(history, now, at + 1, sequence)?;
            if let StateOnChain::Named(named) = &now {
                if *named != NamedState::of(state.as_deref()) {
                    return Err(ExportError::State { sequence });
                }
                states.insert(sequence, state);
                break;
            }
            at = sequence;
        }
    }
    Ok(states)
}

/// What a chain says of the state after event `last`, if it says `now` of the state before event `from`.
fn named_after<H: History>(
    history: &mut H,
    mut now: StateOnChain,
    from: u64,
    last: u64,
) -> Result<StateOnChain, ExportError<H::Error>> {
    let mut next = from;
    while next <= last {
        let page = history.page(next).map_err(ExportError::History)?;
        let Some(newest) = page.last() else { break };
        next = newest.sequence + 1;
        for event in page.iter().filter(|event| event.sequence <= last) {
            now = vouched_after(now, event);
        }
    }
    Ok(now)
}
