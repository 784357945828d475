//! The place of one answer, shared by whoever works on a delivery and whoever waits for what comes of it.
//!
//! ```text
//!   claim:   waiting ── the receiver takes the delivery ──▶ taken
//!               └────── the sender gives up ──────────────▶ withdrawn
//!   answer:  none ──▶ given
//!              └────▶ gone: whoever was to give it has ended
//! ```
//!
//! One allocation a request, and one wake-up: the thread that waits parks itself, and is unparked by name.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::Mutex;

use super::delivery::Answer;
use super::registry::Registry;
use super::waits::WaitId;

use crate::base::clock;

/// Who hears what became of a delivery.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A send, a notice.
    Nobody,
    /// An actor that waits: it is answered at once.
    Actor { wait: WaitId, to: ReplyTo },
    /// Someone outside the runtime: answered after the commit the answer depends on.
    Outside { to: ReplyTo },
}

impl Reply {
    /// A reply for someone outside, and where to wait for it.
    pub(crate) fn outside() -> (Self, AwaitedReply) {
        let (to, awaited) = pair();
        (Self::Outside { to }, awaited)
    }

    /// A reply for the actor whose wait this is, and where it waits.
    pub(crate) fn actor(wait: WaitId) -> (Self, AwaitedReply) {
        let (to, awaited) = pair();
        (Self::Actor { wait, to }, awaited)
    }

    /// The receiver takes the delivery; `false` where its sender has given up on it.
    pub(crate) fn claim(&self) -> bool {
        match self {
            Self::Nobody => true,
            Self::Actor { to, .. } | Self::Outside { to } => to.claim(),
        }
    }
}

/// The side that answers. Dropped without an answer, it tells whoever waits that none will come.
#[derive(Debug)]
pub(crate) struct ReplyTo(Arc<Place>);

/// The side that waits: one thread at a time.
#[derive(Debug)]
pub(crate) struct AwaitedReply(Arc<Place>);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Whoever was to answer has ended.
    Gone,
    /// It did not come to the delivery in time, and never will.
    NotDelivered,
    /// It had taken the delivery, and was not through with it in time.
    OutcomeUnknown,
}

#[derive(Debug)]
struct Place {
    claim: AtomicU8,
    answer: Mutex<Given>,
    waiter: OnceLock<Thread>,
}

#[derive(Debug)]
enum Given {
    Nothing,
    Answer(Answer),
    Gone,
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

fn pair() -> (ReplyTo, AwaitedReply) {
    let answer = Mutex::new(Given::Nothing);
    let place = Arc::new(Place { claim: AtomicU8::new(WAITING), answer, waiter: OnceLock::new() });
    (ReplyTo(Arc::clone(&place)), AwaitedReply(place))
}

impl ReplyTo {
    /// Answers an actor. Where an event that is enqueued already gives the answer, the wait is ended first: else the next
    /// request of whoever answers could look like a circle. Where none does, the waiter's own next event settles it, and
    /// its recorder ends the wait.
    pub(crate) fn give_to_actor(self, registry: &Registry, wait: WaitId, answer: Answer) {
        if answer.closing.is_some() {
            registry.end_wait(wait);
        }
        self.give(answer);
    }

    pub(crate) fn give(self, answer: Answer) {
        *self.0.answer.lock() = Given::Answer(answer);
    }

    pub(crate) fn claim(&self) -> bool {
        self.0.claim.compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        let mut answer = self.0.answer.lock();
        if matches!(*answer, Given::Nothing) {
            *answer = Given::Gone;
        }
        drop(answer);
        // It registers itself before it looks: it has either seen the answer, or is found here.
        if let Some(waiter) = self.0.waiter.get() {
            waiter.unpark();
        }
    }
}

impl AwaitedReply {
    /// Waits for the answer for at most `limit`; then the delivery is withdrawn.
    pub(crate) fn within(&self, limit: Duration) -> Result<Answer, NoAnswer> {
        let deadline = clock::now() + limit;
        self.is_awaited_here();
        loop {
            if let Some(answer) = self.take() {
                return answer;
            }
            let left = clock::until(deadline);
            if left.is_zero() {
                return Err(self.withdraw());
            }
            thread::park_timeout(left);
        }
    }

    /// This thread is to be unparked when there is an answer. It has to be called before [`AwaitedReply::take`] is.
    pub(super) fn is_awaited_here(&self) {
        self.0.waiter.get_or_init(thread::current);
    }

    /// The answer, once; nothing where there is none yet.
    pub(super) fn take(&self) -> Option<Result<Answer, NoAnswer>> {
        match std::mem::replace(&mut *self.0.answer.lock(), Given::Nothing) {
            Given::Nothing => None,
            Given::Answer(answer) => Some(Ok(answer)),
            Given::Gone => Some(Err(NoAnswer::Gone)),
        }
    }

    /// Gives up on it.
    pub(crate) fn withdraw(&self) -> NoAnswer {
        match self.0.claim.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => NoAnswer::NotDelivered,
            Err(_) => NoAnswer::OutcomeUnknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Outcome;

    fn answer() -> Answer {
        Answer { outcome: Outcome::Stopped, closing: None }
    }

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn a_delivery_is_taken_or_withdrawn_but_never_both() {
        let (taken, waits) = pair();
        assert!(taken.claim());
        assert_eq!(waits.withdraw(), NoAnswer::OutcomeUnknown);
        let (late, waits) = pair();
        assert_eq!(waits.withdraw(), NoAnswer::NotDelivered);
        assert!(!late.claim());
    }

    #[test]
    fn an_answer_comes_from_another_thread_and_so_does_the_news_that_none_will() {
        for _ in 0..200 {
            let (to, awaited) = pair();
            let other = thread::spawn(move || to.give(answer()));
            assert_eq!(awaited.within(LONG), Ok(answer()));
            other.join().expect("it answers");
            let (to, awaited) = pair();
            let other = thread::spawn(move || drop(to));
            assert_eq!(awaited.within(LONG), Err(NoAnswer::Gone));
            other.join().expect("it ends");
        }
    }

    #[test]
    fn nobody_waits_longer_than_told() {
        let (to, awaited) = pair();
        assert_eq!(awaited.within(Duration::ZERO), Err(NoAnswer::NotDelivered));
        to.give(answer());
    }
}
