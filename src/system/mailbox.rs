//! An actor's mailbox: two lanes, the mail's bounded in deliveries and bytes.
//!
//! A place is reserved before anything is recorded about a delivery, and filled or given back afterwards: so what a
//! chain says was sent has a place, and a full mailbox is an answer. Lifecycle notices have a lane of their own which
//! no amount of mail can fill. Closing waits until every reserved place is filled or given back, so that each delivery
//! is either worked on or named as dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

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
pub(crate) struct Mailbox {
    shared: Arc<Shared>,
    notices: Sender<Delivery>,
    mail: Sender<Delivery>,
}

/// The side that receives: one thread.
#[derive(Debug)]
pub(crate) struct MailboxOwner {
    shared: Arc<Shared>,
    notices: Receiver<Delivery>,
    mail: Receiver<Delivery>,
}

#[derive(Debug)]
struct Shared {
    deliveries: AtomicU64,
    bytes: AtomicU64,
    max_deliveries: u64,
    max_bytes: u64,
    closed: AtomicBool,
    /// The thread that serves it, once it does.
    owner: OnceLock<Thread>,
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
            deliveries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            max_deliveries,
            max_bytes,
            closed: AtomicBool::new(false),
            owner: OnceLock::new(),
        });
        let (notices, notices_owner) = unbounded();
        let (mail, mail_owner) = unbounded();
        let owner = MailboxOwner { shared: Arc::clone(&shared), notices: notices_owner, mail: mail_owner };
        (Self { shared, notices, mail }, owner)
    }

    /// Reserves a place for a delivery of `bytes` bytes of parameters.
    pub(crate) fn reserve(&self, receiver: ActorId, lane: Lane, bytes: usize) -> Result<Slot, Refusal> {
        let (size, limit) = (bytes as u64, self.shared.max_bytes);
        if lane == Lane::Mail && size > limit {
            return Err(Refusal::NeverFits { size, limit });
        }
        let slot = Slot { mailbox: self.clone(), receiver, bytes: bytes as u64, lane, filled: false };
        let deliveries = self.shared.deliveries.fetch_add(1, Ordering::SeqCst) + 1;
        let bytes = self.shared.bytes.fetch_add(slot.bytes, Ordering::SeqCst) + slot.bytes;
        // Counted first and looked at afterwards: whoever closes sees either the count or a refusal. Dropping the
        // slot takes the count back.
        if self.shared.closed.load(Ordering::SeqCst) {
            return Err(Refusal::Closed);
        }
        let full = deliveries > self.shared.max_deliveries || bytes > self.shared.max_bytes;
        if lane == Lane::Mail && full { Err(Refusal::Full) } else { Ok(slot) }
    }

    /// Puts back what was promised before the runtime was started, whether or not there would be room for it now.
    pub(crate) fn restore(&self, lane: Lane, delivery: Delivery) {
        self.shared.deliveries.fetch_add(1, Ordering::SeqCst);
        self.shared.bytes.fetch_add(delivery.params.len() as u64, Ordering::SeqCst);
        // The owner is kept by whoever starts the actor's thread.
        let _ = self.lane(lane).send(delivery);
        self.shared.wake_owner();
    }

    fn lane(&self, lane: Lane) -> &Sender<Delivery> {
        match lane {
            Lane::Notice => &self.notices,
            Lane::Mail => &self.mail,
        }
    }

    /// Deliveries that wait.
    pub(crate) fn depth(&self) -> u64 {
        self.shared.deliveries.load(Ordering::Relaxed)
    }
}

impl Slot {
    /// Puts the delivery in its place; it cannot fail while the owner lives, and is dropped with the owner otherwise.
    pub(crate) fn fill(mut self, delivery: Delivery) {
        self.filled = true;
        // The owner closes before it goes, and closing waits for this place.
        let _ = self.mailbox.lane(self.lane).send(delivery);
        self.mailbox.shared.wake_owner();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.filled {
            self.mailbox.shared.free(self.bytes);
        }
    }
}

impl Shared {
    /// The owner names itself before it looks into the lanes: it has seen what was put there before, or is found here.
    fn wake_owner(&self) {
        if let Some(owner) = self.owner.get() {
            owner.unpark();
        }
    }

    fn free(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.deliveries.fetch_sub(1, Ordering::SeqCst);
    }
}

impl MailboxOwner {
    /// From here on the calling thread is unparked when something comes.
    pub(crate) fn is_served_here(&self) {
        self.shared.owner.get_or_init(thread::current);
    }

    /// The next notice, else the next delivery, if there is one; its place is free.
    pub(crate) fn next(&self) -> Option<Delivery> {
        let next = self.notices.try_recv().or_else(|_| self.mail.try_recv()).ok()?;
        self.taken(&next);
        Some(next)
    }

    /// A delivery was taken out of a lane: its place is free.
    fn taken(&self, delivery: &Delivery) {
        self.shared.free(delivery.params.len() as u64);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shared.deliveries.load(Ordering::SeqCst) == 0
    }

    /// Takes no more deliveries from here on.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
    }

    /// What waits now, notices left alone; the mailbox stays open.
    pub(crate) fn take_waiting(&self) -> Vec<Delivery> {
        self.mail.try_iter().inspect(|delivery| self.taken(delivery)).collect()
    }

    /// After [`MailboxOwner::close`]: what was still waiting, notices first, each in its order.
    pub(crate) fn drain(&self) -> Vec<Delivery> {
        let mut drained: Vec<Delivery> = self.notices.try_iter().inspect(|delivery| self.taken(delivery)).collect();
        while !self.is_empty() {
            // A reserved place is filled or given back within an enqueue; giving back does not wake us.
            if let Ok(delivery) = self.mail.recv_timeout(Duration::from_millis(1)) {
                self.taken(&delivery);
                drained.push(delivery);
            }
            drained.extend(self.notices.try_iter().inspect(|delivery| self.taken(delivery)));
        }
        drained
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::data::Caller;
    use crate::chain::function;
    use crate::system::Reply;

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
    fn a_place_that_is_not_used_is_given_back() {
        let (mailbox, _owner) = Mailbox::new(1, 100);
        drop(mailbox.reserve(ActorId::random(), Lane::Mail, 50).expect("a place"));
        assert_eq!(put(&mailbox, Lane::Mail, 100), Ok(()));
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
