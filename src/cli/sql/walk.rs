//! Goes through events, page by page: through the journal in its own order, or through one chain after the other;
//! forwards or backwards. One page is in memory at a time.

use std::collections::VecDeque;

use super::source::SqlSource;
use super::wanted::{NumberSpan, WantedRows};
use crate::chain::{ChainEvent, EventKind};
use crate::journal::StretchBounds;

/// Events in one page.
const PAGE: u64 = 512;
/// Bytes of data in one page, beyond its first event.
const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// An event that a walk has come to.
pub(super) struct WalkedEvent {
    /// The place of its actor among the journal's actors.
    pub(super) actor: usize,
    /// Its place in the order of all, where the walk has seen it.
    pub(super) position: Option<u64>,
    pub(super) event: ChainEvent,
}

impl WalkedEvent {
    /// Its place in the order of all, which is looked up if it is not known.
    pub(super) fn position(&self, source: &SqlSource) -> rusqlite::Result<Option<u64>> {
        match self.position {
            Some(position) => Ok(Some(position)),
            None => source.position(self.actor, self.event.sequence),
        }
    }
}

/// What is left of a walk, beside the page that was read.
enum Rest {
    /// From this position on; backwards, before this position.
    Journal(u64),
    /// The chains to come, and how far the walk has come on the first: forwards from this event on; backwards, before this
    /// event, where one is known.
    Chains(VecDeque<usize>, Option<u64>),
}

pub(super) struct EventWalk {
    wanted: WantedRows,
    rest: Rest,
    page: VecDeque<WalkedEvent>,
}

impl EventWalk {
    pub(super) fn new(source: &SqlSource, wanted: WantedRows) -> Self {
        let rest = if wanted.is_by_chain || wanted.is_nothing() {
            Rest::Chains(wanted.places(source).into(), None)
        } else if wanted.is_backwards {
            Rest::Journal(source.end.min(wanted.positions.last.saturating_add(1)))
        } else {
            Rest::Journal(wanted.positions.first)
        };
        Self { wanted, rest, page: VecDeque::new() }
    }

    /// The next event that lies in the wanted ranges. In the journal's own order, events of which `picks` does not pick the
    /// actor and the type are passed over, and their data is not read.
    pub(super) fn next(
        &mut self,
        source: &SqlSource,
        picks: impl Fn(usize, &str) -> bool,
    ) -> rusqlite::Result<Option<WalkedEvent>> {
        loop {
            if let Some(walked) = self.page.pop_front() {
                let position = walked.position.unwrap_or(self.wanted.positions.first);
                if self.wanted.sequences.has(walked.event.sequence) && self.wanted.positions.has(position) {
                    return Ok(Some(walked));
                }
                continue;
            }
            let goes_on = match (&self.rest, self.wanted.is_backwards) {
                (Rest::Journal(next), false) => self.journal_forwards(source, *next, &picks)?,
                (Rest::Journal(before), true) => self.journal_backwards(source, *before, &picks)?,
                (Rest::Chains(..), _) => self.chains(source)?,
            };
            if !goes_on {
                return Ok(None);
            }
        }
    }

    fn journal_forwards(
        &mut self,
        source: &SqlSource,
        next: u64,
        picks: &impl Fn(usize, &str) -> bool,
    ) -> rusqlite::Result<bool> {
        let last = self.wanted.positions.last;
        if next > last || next >= source.end {
            return Ok(false);
        }
        let (found, then) = self.stretch(source, next, PAGE.min((last - next).saturating_add(1)), picks)?;
        self.page.extend(found);
        // Where nothing was looked at, nothing follows.
        self.rest = Rest::Journal(then);
        Ok(then > next)
    }

    fn journal_backwards(
        &mut self,
        source: &SqlSource,
        before: u64,
        picks: &impl Fn(usize, &str) -> bool,
    ) -> rusqlite::Result<bool> {
        let first = self.wanted.positions.first;
        if before <= first {
            return Ok(false);
        }
        let mut width = PAGE.min(before - first);
        loop {
            let from = before - width;
            let (found, then) = self.stretch(source, from, width, picks)?;
            // A page that was full before its last event: the last events come first, so a shorter one is read.
            if then < before && then > from && width > 1 {
                width /= 2;
                continue;
            }
            let is_before = |walked: &WalkedEvent| walked.position.is_some_and(|position| position < before);
            self.page.extend(found.into_iter().filter(is_before).rev());
            self.rest = Rest::Journal(from);
            return Ok(true);
        }
    }

    fn chains(&mut self, source: &SqlSource) -> rusqlite::Result<bool> {
        let Rest::Chains(chains, at) = &mut self.rest else { return Ok(false) };
        let Some(&actor) = chains.front() else { return Ok(false) };
        let wanted = self.wanted.sequences;
        let backwards = self.wanted.is_backwards;
        let page = if backwards {
            let before = match *at {
                Some(before) => before,
                None => {
                    let head = source.read(|reader| reader.head(source.actors[actor].actor))?;
                    head.map_or(0, |head| head.sequence.saturating_add(1)).min(wanted.last.saturating_add(1))
                }
            };
            let mut width = PAGE.min(before.saturating_sub(wanted.first));
            loop {
                let from = before - width;
                *at = Some(from);
                if width == 0 {
                    break Vec::new();
                }
                let page = events(source, actor, from, width)?;
                if page.last().is_some_and(|last| last.sequence + 1 < before) && width > 1 {
                    width /= 2;
                    continue;
                }
                break page.into_iter().rev().collect();
            }
        } else {
            let from = at.unwrap_or(wanted.first);
            let page = if from > wanted.last {
                Vec::new()
            } else {
                events(source, actor, from, PAGE.min((wanted.last - from).saturating_add(1)))?
            };
            *at = page.last().map(|last| last.sequence.saturating_add(1));
            page
        };
        if page.is_empty() {
            chains.pop_front();
            *at = None;
        }
        self.page.extend(page.into_iter().map(|event| WalkedEvent { actor, position: None, event }));
        Ok(true)
    }

    /// The picked ones among at most `count` events from a position on, and the position where to go on.
    fn stretch(
        &self,
        source: &SqlSource,
        from: u64,
        count: u64,
        picks: &impl Fn(usize, &str) -> bool,
    ) -> rusqlite::Result<(Vec<WalkedEvent>, u64)> {
        let bounds = StretchBounds { looked_at: count, bytes: PAGE_BYTES };
        let is_picked = |actor: usize, event_type: &str| self.wanted.has_actor(actor) && picks(actor, event_type);
        let found = source.read(|reader| {
            reader.stretch(from, &bounds, |actor, event_type| {
                Ok(source.place_of(actor.id).is_some_and(|actor| is_picked(actor, event_type)))
            })
        })?;
        let walked = found.events.into_iter().filter_map(|placed| {
            let actor = source.place_of(placed.actor)?;
            Some(WalkedEvent { actor, position: Some(placed.position), event: placed.event })
        });
        Ok((walked.collect(), found.next))
    }

    /// Goes on behind the last of the wanted positions, to the end of the journal.
    pub(super) fn go_on(&mut self) {
        self.wanted.positions.last = u64::MAX;
    }
}

fn events(source: &SqlSource, actor: usize, from: u64, limit: u64) -> rusqlite::Result<Vec<ChainEvent>> {
    source.read(|reader| reader.events(source.actors[actor].actor, from, limit, PAGE_BYTES))
}

/// The event that ended the transition of a `call`, as far as the chain has come.
pub(super) fn closing_of(source: &SqlSource, actor: usize, call: u64) -> rusqlite::Result<Option<ChainEvent>> {
    let Some(first) = call.checked_add(1) else { return Ok(None) };
    let (actors, sequences) = (Some([actor].into()), NumberSpan { first, last: u64::MAX });
    let mut walk = EventWalk::new(source, WantedRows { actors, sequences, ..WantedRows::everything(true, false) });
    while let Some(WalkedEvent { event, .. }) = walk.next(source, |_, _| true)? {
        match event.kind() {
            Some(EventKind::Return | EventKind::Refused | EventKind::Failed | EventKind::Stopped) => {
                return Ok(Some(event));
            }
            // A start goes on with the transition that the chain ended within.
            Some(EventKind::Intent | EventKind::HostCall | EventKind::Started) => {}
            Some(EventKind::Call) | None => break,
        }
    }
    Ok(None)
}
