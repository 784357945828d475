//! What the door may know of a connection: whether it waits for its client, and from when on it may be dismissed.
//!
//! ```text
//!     Engaged <──────────> Awaiting(what, overdue from)      moved by the connection's thread
//!                              │
//!                              └──> Dismissed                moved by the door, once and for good
//! ```
//!
//! One atomic word, so that of a request arriving and a dismissal exactly one comes first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::base::clock;

/// What a connection waits for its client to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaiting {
    /// Send a request; nothing is lost to a client that has to send it again.
    Request,
    /// Send the rest of a body.
    Body,
    /// Take the answer, or what is left of it.
    Taking,
}

impl Awaiting {
    pub(crate) const ANY: [Self; 3] = [Self::Request, Self::Body, Self::Taking];
}

/// The door has given this connection's place away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dismissed;

#[derive(Debug)]
pub(crate) struct Presence {
    word: AtomicU64,
    epoch: Instant,
}

const ENGAGED: u64 = 0;
const DISMISSED: u64 = u64::MAX;
/// The lower bits say what is awaited, 1 to 3; the upper ones from which millisecond after `epoch` it is overdue.
const KIND_BITS: u32 = 2;
const KIND_MASK: u64 = (1 << KIND_BITS) - 1;

impl Presence {
    /// A connection that has yet to say what it waits for. The door compares presences of one epoch.
    pub(crate) fn new(epoch: Instant) -> Self {
        Self { word: AtomicU64::new(ENGAGED), epoch }
    }

    /// The connection waits for its client, and may be dismissed for it after `patience`.
    pub(crate) fn wait(&self, what: Awaiting, patience: Duration) -> Result<(), Dismissed> {
        let overdue = (clock::since(self.epoch) + patience).as_millis() as u64;
        self.advance(overdue << KIND_BITS | kind_bits(what))
    }

    /// The client has done its part; the connection cannot be dismissed now.
    pub(crate) fn engage(&self) -> Result<(), Dismissed> {
        self.advance(ENGAGED)
    }

    /// Only this connection's thread comes here, so the word can have changed under it only by a dismissal.
    fn advance(&self, next: u64) -> Result<(), Dismissed> {
        let now = self.word.load(Ordering::SeqCst);
        if now == DISMISSED {
            return Err(Dismissed);
        }
        self.word.compare_exchange(now, next, Ordering::SeqCst, Ordering::SeqCst).map_err(|_| Dismissed)?;
        Ok(())
    }

    pub(crate) fn is_dismissed(&self) -> bool {
        self.word.load(Ordering::SeqCst) == DISMISSED
    }

    /// From when on the door may dismiss it, if it waits for its client at all.
    pub(crate) fn overdue_from(&self) -> Option<Instant> {
        let (_, overdue) = decode(self.word.load(Ordering::SeqCst))?;
        Some(self.epoch + overdue)
    }

    /// Takes the place away from a connection that waits for one of `what`. `None` where it does not (any more).
    pub(crate) fn dismiss(&self, what: &[Awaiting]) -> Option<Awaiting> {
        let word = self.word.load(Ordering::SeqCst);
        let (awaiting, _) = decode(word)?;
        let taken = what.contains(&awaiting)
            && self.word.compare_exchange(word, DISMISSED, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        taken.then_some(awaiting)
    }
}

fn kind_bits(what: Awaiting) -> u64 {
    match what {
        Awaiting::Request => 1,
        Awaiting::Body => 2,
        Awaiting::Taking => 3,
    }
}

fn decode(word: u64) -> Option<(Awaiting, Duration)> {
    let what = match word {
        ENGAGED | DISMISSED => return None,
        _ => Awaiting::ANY.into_iter().find(|what| kind_bits(*what) == word & KIND_MASK)?,
    };
    Some((what, Duration::from_millis(word >> KIND_BITS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engaged_connection_cannot_be_dismissed() {
        let presence = Presence::new(clock::now());
        assert_eq!(presence.dismiss(&Awaiting::ANY), None);
        assert_eq!(presence.overdue_from(), None);
    }

    #[test]
    fn a_dismissed_connection_can_neither_wait_nor_engage() {
        let presence = Presence::new(clock::now());
        presence.wait(Awaiting::Body, Duration::ZERO).expect("not dismissed yet");
        assert_eq!(presence.dismiss(&Awaiting::ANY), Some(Awaiting::Body));
        assert_eq!(presence.engage(), Err(Dismissed));
        assert_eq!(presence.wait(Awaiting::Request, Duration::ZERO), Err(Dismissed));
        assert_eq!(presence.dismiss(&Awaiting::ANY), None);
    }

    #[test]
    fn a_dismissal_may_be_limited_to_what_is_awaited() {
        let presence = Presence::new(clock::now());
        presence.wait(Awaiting::Taking, Duration::ZERO).expect("not dismissed yet");
        assert_eq!(presence.dismiss(&[Awaiting::Request]), None);
        presence.wait(Awaiting::Request, Duration::ZERO).expect("not dismissed yet");
        assert_eq!(presence.dismiss(&[Awaiting::Request]), Some(Awaiting::Request));
    }

    #[test]
    fn it_is_overdue_after_the_patience_it_was_given() {
        let epoch = clock::now();
        let presence = Presence::new(epoch);
        presence.wait(Awaiting::Request, Duration::from_secs(5)).expect("not dismissed yet");
        let overdue = presence.overdue_from().expect("it waits") - epoch;
        assert!(overdue >= Duration::from_millis(4_999) && overdue < Duration::from_secs(60), "{overdue:?}");
    }
}
