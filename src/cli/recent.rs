//! Where in a history to begin, if only what is recent is wanted: the last so many events of those that count, or those since a
//! time.

use super::Failure;
use super::past::ActorHistory;
use crate::chain::{ChainEvent, History};

/// So many events are read at once, from the end backwards.
const PAGE: u64 = 1_000;

/// What of a history is wanted.
#[derive(Clone, Copy, Default)]
pub(super) struct Recent {
    pub(super) last: Option<u64>,
    /// The earliest time, in milliseconds since the Unix epoch.
    pub(super) since_ms: Option<u64>,
}

impl Recent {
    /// The first event to show: of those that `counts` accepts, no more than the last ones, and none that is too old. Where
    /// nothing is to be shown, the end of the chain.
    pub(super) fn first(
        self,
        history: &mut ActorHistory,
        counts: impl Fn(&ChainEvent) -> bool,
    ) -> Result<u64, Failure> {
        if self.last.is_none() && self.since_ms.is_none() {
            return Ok(0);
        }
        let length = history.length()?;
        let (mut upto, mut first, mut found) = (length, length, 0);
        while upto > 0 && self.last.is_none_or(|last| found < last) {
            let from = upto.saturating_sub(PAGE);
            for event in stretch(history, from, upto)?.iter().rev() {
                if self.since_ms.is_some_and(|since| event.timestamp < since) {
                    return Ok(first);
                }
                if counts(event) {
                    (first, found) = (event.sequence, found + 1);
                }
                if self.last.is_some_and(|last| found >= last) {
                    return Ok(first);
                }
            }
            upto = from;
        }
        Ok(first)
    }
}

fn stretch(history: &mut ActorHistory, from: u64, upto: u64) -> Result<Vec<ChainEvent>, Failure> {
    let mut events = Vec::new();
    let mut next = from;
    while next < upto {
        let page = history.page(next)?;
        let Some(last) = page.last() else { break };
        let behind = last.sequence + 1;
        events.extend(page.into_iter().filter(|event| event.sequence < upto));
        next = behind;
    }
    Ok(events)
}
