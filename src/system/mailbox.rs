//! An actor's mailbox: two lanes, the mail's bounded in deliveries and bytes.
//!
//! A place is reserved before anything is recorded about a delivery, and filled or given back afterwards: so what a
//! chain says was sent has a place, and a full mailbox is an answer. Lifecycle notices have a lane of their own which
//! no amount of mail can fill. Closing waits until every reserved place is filled or given back, so that each delivery
//! is either worked on or named as dropped.
//!
//! What is reserved is counted under the lock of the lanes, so two that race for the last place do not refuse each other.

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
    /// Deliveries that wait in both lanes, and places that are reserved; what is kept aside is not among them. Written
    /// under the lock of the lanes.
    depth: AtomicU64,
    max_deliveries: u64,
    max_bytes: u64,
    /// Written under the lock of the lanes.
    closed: AtomicBool,
    /// The thread that serves it, once it does.
    owner: OnceLock<Thread>,
}

#[derive(Debug, Default)]
struct Lanes {
    notices: VecDeque<Delivery>,
    mail: VecDeque<Delivery>,
    /// What was promised before the runtime was started, and the actor has no export for.
    aside: Vec<Delivery>,
    /// What of the mail is reserved or waiting.
    deliveries: u64,
    bytes: u64,
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
            depth: AtomicU64::new(0),
            max_deliveries,
            max_bytes,
            closed: AtomicBool::new(false),
            owner: OnceLock::new(),
        });
        (Self(Arc::clone(&shared)), MailboxOwner(shared))
    }

    /// Reserves a place for a delivery of `bytes` bytes of parameters.
    pub(crate) fn reserve(self, receiver: ActorId, lane: Lane, bytes: usize) -> Result<Slot, Refusal> {
        let (bytes, limit) = (bytes as u64, self.0.max_bytes);
        if lane == Lane::Mail && bytes > limit {
            return Err(Refusal::NeverFits { size: bytes, limit });
        }
        let mut lanes = self.0.lanes.lock();
        if self.0.closed.load(Ordering::Relaxed) {
            return Err(Refusal::Closed);
        }
        let full = lanes.deliveries >= self.0.max_deliveries || lanes.bytes.saturating_add(bytes) > limit;
        if lane == Lane::Mail && full {
            return Err(Refusal::Full);
        }
        self.0.count(&mut lanes, lane, bytes);
        drop(lanes);
        Ok(Slot { mailbox: self, receiver, bytes, lane, filled: false })
    }

    /// Puts back what was promised before the runtime was started, whether or not there would be room for it now.
    pub(crate) fn restore(&self, lane: Lane, delivery: Delivery) {
        self.0.count(&mut self.0.lanes.lock(), lane, delivery.params.len() as u64);
        self.0.put(lane, delivery);
    }

    /// Keeps what the actor has no export for until it ends, which names it as dropped.
    pub(crate) fn keep_aside(&self, delivery: Delivery) {
        self.0.lanes.lock().aside.push(delivery);
    }

    /// Deliveries that wait.
    pub(crate) fn depth(&self) -> u64 {
        self.0.depth.load(Ordering::SeqCst)
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
            let shared = &self.mailbox.0;
            shared.free(&mut shared.lanes.lock(), self.lane, self.bytes);
            // Only who drains a closed mailbox waits for places to come back.
            if shared.closed.load(Ordering::SeqCst) {
                shared.wake_owner();
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

    fn count(&self, lanes: &mut Lanes, lane: Lane, bytes: u64) {
        if lane == Lane::Mail {
            lanes.deliveries += 1;
            lanes.bytes += bytes;
        }
        // Under the lock nobody else writes it.
        self.depth.store(self.depth.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    fn free(&self, lanes: &mut Lanes, lane: Lane, bytes: u64) {
        if lane == Lane::Mail {
            lanes.deliveries -= 1;
            lanes.bytes -= bytes;
        }
        self.depth.store(self.depth.load(Ordering::Relaxed) - 1, Ordering::Release);
    }

    /// No wakeup is lost: the owner publishes its thread before it looks into the lanes. Either it sees the delivery just
    /// put there, or it is found here and unparked.
    fn wake_owner(&self) {
        if let Some(owner) = self.owner.get() {
            owner.unpark();
        }
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
        let (lane, delivery) = notice.or_else(|| lanes.mail.pop_front().map(|mail| (Lane::Mail, mail)))?;
        self.0.free(&mut lanes, lane, delivery.params.len() as u64);
        Some(delivery)
    }

    /// Gives back the room that a burst of deliveries took.
    pub(crate) fn shrink(&self) {
        let mut lanes = self.0.lanes.lock();
        lanes.notices.shrink_to_fit();
        lanes.mail.shrink_to_fit();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.depth.load(Ordering::SeqCst) == 0
    }

    /// Takes no more deliveries from here on.
    pub(crate) fn close(&self) {
        let _lanes = self.0.lanes.lock();
        self.0.closed.store(true, Ordering::SeqCst);
    }

    /// Takes deliveries again.
    pub(crate) fn open(&self) {
        self.0.closed.store(false, Ordering::SeqCst);
    }

    /// What waits now, and what is kept aside, notices left alone; the mailbox stays open.
    pub(crate) fn take_waiting(&self) -> Vec<Delivery> {
        let mut lanes = self.0.lanes.lock();
        let mut waiting: Vec<Delivery> = std::mem::take(&mut lanes.aside);
        for delivery in std::mem::take(&mut lanes.mail) {
            self.0.free(&mut lanes, Lane::Mail, delivery.params.len() as u64);
            waiting.push(delivery);
        }
        waiting
    }

    /// After [`MailboxOwner::close`]: what is kept aside, then what was still waiting, notices first, each in its order.
    pub(crate) fn drain(&self) -> Vec<Delivery> {
        /// To fill a place or to give it back wakes the owner; this is for one that drains on another thread.
        const LOOK_AGAIN: Duration = Duration::from_millis(1);
        let mut drained = std::mem::take(&mut self.0.lanes.lock().aside);
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
        let left = {
            let mut lanes = self.0.lanes.lock();
            let Lanes { deliveries, bytes, .. } = *lanes;
            std::mem::replace(&mut *lanes, Lanes { abandoned: true, deliveries, bytes, ..Lanes::default() })
        };
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
        mailbox.clone().reserve(ActorId::random(), lane, bytes).map(|slot| slot.fill(delivery(bytes)))
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
        drop(mailbox.clone().reserve(ActorId::random(), Lane::Mail, 50).expect("a place"));
        assert_eq!(put(&mailbox, Lane::Mail, 100), Ok(()));
    }

    #[test]
    fn what_waits_in_an_abandoned_mailbox_is_known_to_be_lost() {
        let (mailbox, owner) = Mailbox::new(10, 100);
        let slot = mailbox.clone().reserve(ActorId::random(), Lane::Mail, 1).expect("a place");
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
        let slot = mailbox.clone().reserve(ActorId::random(), Lane::Mail, 1).expect("a place");
        owner.close();
        assert_eq!(put(&mailbox, Lane::Mail, 1), Err(Refusal::Closed));
        let sender = std::thread::spawn(move || slot.fill(delivery(1)));
        assert_eq!(owner.drain().len(), 1);
        sender.join().expect("the sender");
    }

    /// Both would see a place that the other one has counted and is about to give back.
    #[test]
    fn of_two_that_race_for_the_last_place_one_gets_it() {
        for round in 0..2_000 {
            // There is room for either by bytes, and for both by number; or the other way round.
            let (mailbox, owner) = if round % 2 == 0 { Mailbox::new(2, 100) } else { Mailbox::new(1, 1_000) };
            let race = std::sync::Barrier::new(2);
            let taken = thread::scope(|scope| {
                let racers = [0, 1].map(|_| {
                    scope.spawn(|| {
                        race.wait();
                        put(&mailbox, Lane::Mail, 60).is_ok()
                    })
                });
                racers.map(|racer| racer.join().expect("a racer")).into_iter().filter(|taken| *taken).count()
            });
            assert_eq!((taken, mailbox.depth()), (1, 1));
            drop(owner);
        }
    }

    #[test]
    fn what_no_export_takes_is_kept_aside_until_the_end_and_counts_nowhere() {
        let (mailbox, owner) = Mailbox::new(1, 100);
        mailbox.keep_aside(delivery(90));
        assert!(owner.is_empty() && owner.next().is_none());
        assert_eq!(put(&mailbox, Lane::Mail, 100), Ok(()));
        owner.close();
        assert_eq!(owner.drain().iter().map(|it| it.params.len()).collect::<Vec<_>>(), [90, 100]);
    }
}
