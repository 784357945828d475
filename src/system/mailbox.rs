//! An actor's mailbox: two lanes, the mail's bounded in deliveries and bytes.
//!
//! A place is reserved before anything is recorded about a delivery, and filled or given back afterwards: so what a
//! chain says was sent has a place, and a full mailbox is an answer. Lifecycle notices have a lane of their own which
//! no amount of mail can fill. Closing waits until every reserved place is filled or given back, so that each delivery
//! is either worked on or named as dropped.
//!
//! The counts are apart from the lanes, since places are reserved under the registry's lock, and no two are held at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::Mutex;

use super::delivery::Delivery;
use super::registry::Refusal;
use crate::base::id::ActorId;

/// Which of the two lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Notice,
    Mail,
}

/// The side that delivers; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox(Arc<Shared>);

/// The side that receives: one thread.
#[derive(Debug)]
pub(crate) struct MailboxOwner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lanes: Mutex<Lanes>,
    notices: Held,
    mail: Held,
    max_deliveries: u64,
    max_bytes: u64,
    closed: AtomicBool,
    /// The thread that serves it, once it does.
    owner: OnceLock<Thread>,
}

/// What of one lane is reserved or waiting.
#[derive(Debug, Default)]
struct Held {
    deliveries: AtomicU64,
    bytes: AtomicU64,
}

impl Held {
    /// Counts one more; how much it is then.
    fn add(&self, bytes: u64) -> (u64, u64) {
        (self.deliveries.fetch_add(1, Ordering::SeqCst) + 1, self.bytes.fetch_add(bytes, Ordering::SeqCst) + bytes)
    }

    fn free(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.deliveries.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug, Default)]
struct Lanes {
    notices: VecDeque<Delivery>,
    mail: VecDeque<Delivery>,
    /// Nobody will take anything out any more.
    abandoned: bool,
}

impl Lanes {
    fn of(&mut self, lane: Lane) -> &mut VecDeque<Delivery> {
        match lane {
            Lane::Notice => &mut self.notices,
            Lane::Mail => &mut self.mail,
        }
    }
}

/// A reserved place. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot {
    mailbox: Mailbox,
    /// Whose mailbox it is.
    pub(crate) receiver: ActorId,
    bytes: u64,
    lane: Lane,
    filled: bool,
}

impl Mailbox {
    pub(crate) fn new(max_deliveries: u64, max_bytes: u64) -> (Self, MailboxOwner) {
        let shared = Arc::new(Shared {
            lanes: Mutex::default(),
            notices: Held::default(),
            mail: Held::default(),
            max_deliveries,
            max_bytes,
            closed: AtomicBool::new(false),
            owner: OnceLock::new(),
        });
        (Self(Arc::clone(&shared)), MailboxOwner(shared))
    }

    /// Reserves a place for a delivery of `bytes` bytes of parameters.
    pub(crate) fn reserve(&self, receiver: ActorId, lane: Lane, bytes: usize) -> Result<Slot, Refusal> {
        let (size, limit) = (bytes as u64, self.0.max_bytes);
        if lane == Lane::Mail && size > limit {
            return Err(Refusal::NeverFits { size, limit });
        }
        let slot = Slot { mailbox: self.clone(), receiver, bytes: bytes as u64, lane, filled: false };
        let (deliveries, bytes) = self.0.held(lane).add(slot.bytes);
        // Counted first and looked at afterwards: whoever closes sees either the count or a refusal. Dropping the
        // slot takes the count back.
        if self.0.closed.load(Ordering::SeqCst) {
            return Err(Refusal::Closed);
        }
        let full = deliveries > self.0.max_deliveries || bytes > self.0.max_bytes;
        if lane == Lane::Mail && full { Err(Refusal::Full) } else { Ok(slot) }
    }

    /// Puts back what was promised before the runtime was started, whether or not there would be room for it now.
    pub(crate) fn restore(&self, lane: Lane, delivery: Delivery) {
        self.0.held(lane).add(delivery.params.len() as u64);
        self.0.put(lane, delivery);
    }

    /// Deliveries that wait.
    pub(crate) fn depth(&self) -> u64 {
        self.0.deliveries()
    }
}

impl Slot {
    /// Puts the delivery in its place. The owner closes before it goes, and closing waits for this place.
    pub(crate) fn fill(mut self, delivery: Delivery) {
        self.filled = true;
        self.mailbox.0.put(self.lane, delivery);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.filled {
            self.mailbox.0.held(self.lane).free(self.bytes);
            // Only who drains a closed mailbox waits for places to come back.
            if self.mailbox.0.closed.load(Ordering::SeqCst) {
                self.mailbox.0.wake_owner();
            }
        }
    }
}

impl Shared {
    fn put(&self, lane: Lane, delivery: Delivery) {
        let mut lanes = self.lanes.lock();
        if lanes.abandoned {
            drop(lanes);
            // Whoever waits for what comes of it hears that nothing will.
            return drop(delivery);
        }
        lanes.of(lane).push_back(delivery);
        drop(lanes);
        self.wake_owner();
    }

    /// The owner names itself before it looks into the lanes: it has seen what was put there before, or is found here.
    fn wake_owner(&self) {
        if let Some(owner) = self.owner.get() {
            owner.unpark();
        }
    }

    fn held(&self, lane: Lane) -> &Held {
        match lane {
            Lane::Notice => &self.notices,
            Lane::Mail => &self.mail,
        }
    }

    fn deliveries(&self) -> u64 {
        [&self.notices, &self.mail].map(|held| held.deliveries.load(Ordering::SeqCst)).iter().sum()
    }
}

impl MailboxOwner {
    /// From here on the calling thread is unparked when something comes.
    pub(crate) fn is_served_here(&self) {
        self.0.owner.get_or_init(thread::current);
    }

    /// The next notice, else the next delivery, if there is one; its place is free.
    pub(crate) fn next(&self) -> Option<Delivery> {
        let mut lanes = self.0.lanes.lock();
        let notice = lanes.notices.pop_front().map(|notice| (Lane::Notice, notice));
        let next = notice.or_else(|| lanes.mail.pop_front().map(|mail| (Lane::Mail, mail)));
        drop(lanes);
        let (lane, delivery) = next?;
        self.0.held(lane).free(delivery.params.len() as u64);
        Some(delivery)
    }

    /// Gives back the room that a burst of deliveries took.
    pub(crate) fn shrink(&self) {
        let mut lanes = self.0.lanes.lock();
        lanes.notices.shrink_to_fit();
        lanes.mail.shrink_to_fit();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.deliveries() == 0
    }

    /// Takes no more deliveries from here on.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
    }

    /// What waits now, notices left alone; the mailbox stays open.
    pub(crate) fn take_waiting(&self) -> Vec<Delivery> {
        let waiting = std::mem::take(&mut self.0.lanes.lock().mail);
        waiting.into_iter().inspect(|delivery| self.0.mail.free(delivery.params.len() as u64)).collect()
    }

    /// After [`MailboxOwner::close`]: what was still waiting, notices first, each in its order.
    pub(crate) fn drain(&self) -> Vec<Delivery> {
        /// To fill a place or to give it back wakes the owner; this is for one that drains on another thread.
        const LOOK_AGAIN: Duration = Duration::from_millis(1);
        let mut drained = Vec::new();
        loop {
            while let Some(delivery) = self.next() {
                drained.push(delivery);
            }
            // A reserved place is filled or given back within an enqueue.
            if self.is_empty() {
                return drained;
            }
            thread::park_timeout(LOOK_AGAIN);
        }
    }
}

/// The owner closes the mailbox and drains it before it goes; one that panics does not, and what waits goes with it.
impl Drop for MailboxOwner {
    fn drop(&mut self) {
        self.close();
        let left = std::mem::replace(&mut *self.0.lanes.lock(), Lanes { abandoned: true, ..Lanes::default() });
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::data::Caller;
    use crate::chain::function;
    use crate::system::{NoAnswer, Reply};

    fn delivery(bytes: usize) -> Delivery {
        Delivery {
            function: function!("ntwk:theater/message-server-client", "handle-send"),
            params: vec![0; bytes],
            caller: Caller::Actor,
            cause: None,
            reply: Reply::Nobody,
        }
    }

    fn put(mailbox: &Mailbox, lane: Lane, bytes: usize) -> Result<(), Refusal> {
        mailbox.reserve(ActorId::random(), lane, bytes).map(|slot| slot.fill(delivery(bytes)))
    }

    #[test]
    fn a_full_mailbox_refuses_by_number_and_by_bytes_but_never_a_notice() {
        let (mailbox, owner) = Mailbox::new(2, 100);
        assert_eq!(put(&mailbox, Lane::Mail, 60), Ok(()));
        assert_eq!(put(&mailbox, Lane::Mail, 60), Err(Refusal::Full));
        assert_eq!(put(&mailbox, Lane::Mail, 40), Ok(()));
        assert_eq!(put(&mailbox, Lane::Mail, 0), Err(Refusal::Full));
        assert_eq!(put(&mailbox, Lane::Notice, 1_000), Ok(()));
        owner.close();
        assert_eq!(owner.drain().len(), 3);
        assert!(owner.is_empty());
    }

    #[test]
    fn notices_take_no_room_of_the_mails() {
        let (mailbox, owner) = Mailbox::new(1, 100);
        assert_eq!(put(&mailbox, Lane::Notice, 1_000), Ok(()));
        assert_eq!(put(&mailbox, Lane::Mail, 100), Ok(()));
        assert_eq!((mailbox.depth(), owner.next().map(|first| first.params.len())), (2, Some(1_000)));
        assert_eq!(put(&mailbox, Lane::Mail, 0), Err(Refusal::Full));
    }

    #[test]
    fn a_place_that_is_not_used_is_given_back() {
        let (mailbox, _owner) = Mailbox::new(1, 100);
        drop(mailbox.reserve(ActorId::random(), Lane::Mail, 50).expect("a place"));
        assert_eq!(put(&mailbox, Lane::Mail, 100), Ok(()));
    }

    #[test]
    fn what_waits_in_an_abandoned_mailbox_is_known_to_be_lost() {
        let (mailbox, owner) = Mailbox::new(10, 100);
        let slot = mailbox.reserve(ActorId::random(), Lane::Mail, 1).expect("a place");
        let (reply, waiting) = Reply::outside();
        mailbox.restore(Lane::Mail, Delivery { reply, ..delivery(1) });
        drop(owner);
        let (reply, late) = Reply::outside();
        slot.fill(Delivery { reply, ..delivery(1) });
        for awaited in [waiting, late] {
            assert_eq!(awaited.within(Duration::from_secs(600)), Err(NoAnswer::Gone));
        }
        assert_eq!(put(&mailbox, Lane::Mail, 1), Err(Refusal::Closed));
    }

    #[test]
    fn closing_waits_for_every_reserved_place() {
        let (mailbox, owner) = Mailbox::new(10, 100);
        let slot = mailbox.reserve(ActorId::random(), Lane::Mail, 1).expect("a place");
        owner.close();
        assert_eq!(put(&mailbox, Lane::Mail, 1), Err(Refusal::Closed));
        let sender = std::thread::spawn(move || slot.fill(delivery(1)));
        assert_eq!(owner.drain().len(), 1);
        sender.join().expect("the sender");
    }
}
