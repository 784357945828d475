//! The wait of a connection for its client: whether it waits, from when on the wait is too long, and whether the
//! acceptor has disconnected it because of that. Two threads share this: the connection's and the acceptor's.
//!
//! ```text
//!     Engaged <──────────> Awaiting(what, overdue from)      set by the connection's thread
//!                              │
//!                              └──> Dismissed                set by the acceptor, once and for good
//! ```
//!
//! All of it is one atomic word. So when a request comes at the moment at which the acceptor dismisses the connection,
//! exactly one of the two comes first, and both threads see the same one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::base::clock;

/// What a connection waits for its client to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaiting {
    /// Send a request. A client that is dismissed here loses nothing: it can send its request again.
    Request,
    /// Send the rest of a body.
    Body,
    /// Take the rest of the answer.
    Taking,
}

impl Awaiting {
    pub(crate) const ANY: [Self; 3] = [Self::Request, Self::Body, Self::Taking];
}

/// The acceptor has disconnected this connection for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dismissed;

/// Whether one connection waits for its client.
#[derive(Debug)]
pub(crate) struct ClientWait {
    word: AtomicU64,
    epoch: Instant,
}

const ENGAGED: u64 = 0;
const DISMISSED: u64 = u64::MAX;
/// The lower bits say what the connection waits for, as a number from 1 to 3. The upper bits say how many milliseconds
/// after `epoch` the wait is overdue.
const KIND_BITS: u32 = 2;
const KIND_MASK: u64 = (1 << KIND_BITS) - 1;

impl ClientWait {
    /// For a connection that waits for nothing yet. All connections of a listener have the same `epoch`, so that the
    /// acceptor can compare them.
    pub(crate) fn new(epoch: Instant) -> Self {
        Self { word: AtomicU64::new(ENGAGED), epoch }
    }

    /// The connection waits for its client from now on. After `patience` it may be dismissed for that.
    pub(crate) fn wait(&self, what: Awaiting, patience: Duration) -> Result<(), Dismissed> {
        let overdue = (clock::since(self.epoch) + patience).as_millis() as u64;
        self.advance(overdue << KIND_BITS | kind_bits(what))
    }

    /// The client has done its part: the connection cannot be dismissed until it waits again.
    pub(crate) fn engage(&self) -> Result<(), Dismissed> {
        self.advance(ENGAGED)
    }

    /// Only the connection's own thread calls this. So if the word changes between the two steps, that was a dismissal.
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

    /// The moment from which on the acceptor may dismiss the connection; `None` if the connection does not wait for its
    /// client.
    pub(crate) fn overdue_from(&self) -> Option<Instant> {
        let (_, overdue) = decode(self.word.load(Ordering::SeqCst))?;
        Some(self.epoch + overdue)
    }

    /// Dismisses the connection if it waits for one of `what`, and returns which; `None` if it does not wait for any of
    /// them, or no longer does.
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
        let client_wait = ClientWait::new(clock::now());
        assert_eq!(client_wait.dismiss(&Awaiting::ANY), None);
        assert_eq!(client_wait.overdue_from(), None);
    }

    #[test]
    fn a_dismissed_connection_can_neither_wait_nor_engage() {
        let client_wait = ClientWait::new(clock::now());
        client_wait.wait(Awaiting::Body, Duration::ZERO).expect("not dismissed yet");
        assert_eq!(client_wait.dismiss(&Awaiting::ANY), Some(Awaiting::Body));
        assert_eq!(client_wait.engage(), Err(Dismissed));
        assert_eq!(client_wait.wait(Awaiting::Request, Duration::ZERO), Err(Dismissed));
        assert_eq!(client_wait.dismiss(&Awaiting::ANY), None);
    }

    #[test]
    fn a_dismissal_may_be_limited_to_what_is_awaited() {
        let client_wait = ClientWait::new(clock::now());
        client_wait.wait(Awaiting::Taking, Duration::ZERO).expect("not dismissed yet");
        assert_eq!(client_wait.dismiss(&[Awaiting::Request]), None);
        client_wait.wait(Awaiting::Request, Duration::ZERO).expect("not dismissed yet");
        assert_eq!(client_wait.dismiss(&[Awaiting::Request]), Some(Awaiting::Request));
    }

    #[test]
    fn it_is_overdue_after_the_patience_it_was_given() {
        let epoch = clock::now();
        let client_wait = ClientWait::new(epoch);
        client_wait.wait(Awaiting::Request, Duration::from_secs(5)).expect("not dismissed yet");
        let overdue = client_wait.overdue_from().expect("it waits") - epoch;
        assert!(overdue >= Duration::from_millis(4_999) && overdue < Duration::from_secs(60), "{overdue:?}");
    }
}
