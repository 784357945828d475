//! An actor's mailbox: two lanes, one for mail and one for lifecycle notices, bounded in deliveries and in bytes.
//!
//! Each lane is an unbounded channel of `crossbeam_channel`. The bounds are kept beside the channels: a sender first
//! reserves a place, then records on its own chain what it is about to send, and then fills the place or gives it
//! back. So a delivery that a chain says was sent always has a place, and a full mailbox is an answer that the sender gets
//! before it records anything. The lane for notices has no bound, so no amount of mail can keep a notice out.
//!
//! Closing a mailbox waits until every reserved place is filled or given back. So the actor that ends works on each
//! delivery, or names it as dropped; a sender that withdraws its delivery has given the place back.
//!
//! **Places are counted under one lock** ([`MailboxCounts`]). Of two senders that want the last place, the one that takes the
//! lock first gets it, because it counts the place before it lets go of the lock. Counters without a lock would have both
//! add first and look afterwards: each could then see the other's place, and both would be refused.
//!
//! **A lane is made when its first place is reserved, and let go when the actor is idle**
//! ([`MailboxOwner::let_go_of_empty_lanes`]), because a channel keeps memory for 31 deliveries once it was used. No
//! delivery is lost by that: each reserved place holds the sending side of the channel that its delivery goes into, and a
//! lane is let go only under the lock, and only when no place in it is reserved and no delivery waits in it. A sender that
//! reserves a place afterwards makes a new lane, and the actor, which holds none then, finds that one.
//!
//! **No wakeup is lost.** Take the actor A that owns the mailbox, and a sender S. The mailbox is made with A's
//! `Unparker`, so S knows it from the beginning. S puts its delivery into the lane, and then unparks A. A parks only
//! after it has looked into both lanes and found nothing; then it looks again. By the park protocol ([`wait`]) A
//! therefore sees the delivery: if S put it there before A looked, A found it; if S put it there afterwards, S unparks
//! A after A has looked, and A looks again. A's look cannot miss a lane that S has just made: S counts its place
//! ([`Shared::taken`]) before it unparks A, and A looks for a lane that it does not hold yet whenever the number of
//! taken places in that lane is not zero.
//!
//! The same holds for an actor that drains a closed mailbox and waits for places to come back: a thread that gives back
//! a place first counts it, and then unparks A if the mailbox is closed. A closes the mailbox before it waits. Both
//! count and close under the lock: if the place came back before A closed, A sees that when it counts; if it came back
//! afterwards, the thread that gave it back sees that the mailbox is closed.
//!
//! **No wakeup is lost when an actor falls asleep**, that is, gives back its thread. A marks the mailbox as asleep under the lock,
//! and only while no place is taken ([`MailboxOwner::fall_asleep`]). A sender takes its place under the same lock. If it
//! did so before, A sees the place, and stays awake. If it comes afterwards, it sees the mark: it gets no place until it has
//! taken the mark away ([`Mailbox::rouse`]), and whoever takes a mark away has the actor woken. A ring that is no delivery is
//! there before the ringer takes the lock to look for the mark; A looks for rings once more after it has set the mark. So
//! either the ringer finds the mark, or A finds the ring. A thread gives the actor up only if the mark is still there then; if
//! somebody has taken it away, the actor is started again at once.
//!
//! **A paused actor takes nothing.** An operator's pause is a second mark beside that. While it is there, senders get places as
//! ever, up to the bounds, and take away no mark that the actor is asleep; an actor falls asleep whatever waits for it. The
//! resumption takes both marks away under the lock. So either it finds the actor asleep, and has it woken, or the actor, which
//! looks for the pause again after it has marked itself as asleep, sees that there is none, and looks for what has come.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use super::delivery::Delivery;
use super::refusal::Refusal;
use crate::base::clock;
use crate::base::id::ActorId;
use crate::base::sync::{Arc, AtomicBool, AtomicU8, AtomicU64, Mutex, Ordering, Receiver, Sender, unbounded};
use crate::base::wait::{self, Parker, Unparker};

/// The mailbox takes deliveries, and a thread serves it or will.
const OPEN: u8 = 0;
/// It takes no deliveries.
const CLOSED: u8 = 1;
/// It takes deliveries, and no thread serves it: whoever wants to put something there has the actor woken.
const ASLEEP: u8 = 2;

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
pub(crate) struct MailboxOwner {
    shared: Arc<Shared>,
    /// The receiving sides of the lanes, as far as this side has found them; by [`Lane`].
    lanes: [RefCell<Option<Receiver<Delivery>>>; 2],
    /// For the thread that will serve the mailbox, until there is one.
    parker: RefCell<Option<Parker>>,
    /// Another owner has taken its place.
    is_handed_on: Cell<bool>,
}

#[derive(Debug)]
struct Shared {
    counts: Mutex<MailboxCounts>,
    /// How many places of each lane are taken: reserved, or filled with a delivery that waits. Written under the lock.
    taken: [AtomicU64; 2],
    /// The bounds change with an upgrade of the actor.
    max_deliveries: AtomicU64,
    max_bytes: AtomicU64,
    /// One of [`OPEN`], [`CLOSED`], [`ASLEEP`]. Written under the lock.
    gate: AtomicU8,
    /// An operator has paused the actor: nobody rouses it for what comes. Written under the lock.
    is_paused: AtomicBool,
    /// Something that is no delivery may have come for the owner; it looks for it elsewhere.
    is_rung: AtomicBool,
    /// Wakes the thread that serves the mailbox.
    owner: Unparker,
}

/// What the lock guards.
#[derive(Debug, Default)]
struct MailboxCounts {
    /// The lanes that there are at the moment; by [`Lane`].
    lanes: [Option<LaneChannel>; 2],
    /// Bytes of mail, reserved or waiting.
    bytes: u64,
    /// Deliveries that were promised before the runtime was started, and that the actor has no export for.
    aside: Vec<Delivery>,
    /// The owner was dropped: no delivery will be taken out any more.
    abandoned: bool,
}

/// Both sides of one lane's channel.
#[derive(Debug)]
struct LaneChannel {
    sender: Sender<Delivery>,
    receiver: Receiver<Delivery>,
}

/// A reserved place. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot {
    mailbox: Mailbox,
    /// Whose mailbox it is.
    pub(crate) receiver: ActorId,
    bytes: u64,
    lane: Lane,
    /// Where the delivery goes; `None` once it went there.
    sender: Option<Sender<Delivery>>,
}

impl Mailbox {
    pub(crate) fn new(max_deliveries: u64, max_bytes: u64) -> (Self, MailboxOwner) {
        let parker = Parker::new();
        let shared = Arc::new(Shared {
            counts: Mutex::new(MailboxCounts::default()),
            taken: [AtomicU64::new(0), AtomicU64::new(0)],
            max_deliveries: AtomicU64::new(max_deliveries),
            max_bytes: AtomicU64::new(max_bytes),
            gate: AtomicU8::new(OPEN),
            is_paused: AtomicBool::new(false),
            // Nobody has looked yet.
            is_rung: AtomicBool::new(true),
            owner: parker.unparker().clone(),
        });
        let owner = MailboxOwner::of(Arc::clone(&shared), parker);
        (Self(shared), owner)
    }

    /// Reserves a place for a delivery of `bytes` bytes of parameters. [`Refusal::Asleep`] if the actor has to be roused first.
    pub(crate) fn reserve(self, receiver: ActorId, lane: Lane, bytes: usize) -> Result<Slot, Refusal> {
        let (bytes, limit) = (bytes as u64, self.0.max_bytes.load(Ordering::Relaxed));
        if lane == Lane::Mail && bytes > limit {
            return Err(Refusal::NeverFits { size: bytes, limit });
        }
        let mut counts = self.0.counts.lock();
        match self.0.gate.load(Ordering::Relaxed) {
            OPEN => {}
            ASLEEP if self.is_paused() => {}
            ASLEEP => return Err(Refusal::Asleep),
            _ => return Err(Refusal::Closed),
        }
        if lane == Lane::Mail {
            let deliveries = self.0.taken[lane as usize].load(Ordering::Relaxed);
            if deliveries >= self.0.max_deliveries.load(Ordering::Relaxed) || counts.bytes.saturating_add(bytes) > limit
            {
                return Err(Refusal::Full);
            }
        }
        let sender = Some(self.0.take_place(&mut counts, lane, bytes));
        drop(counts);
        Ok(Slot { mailbox: self, receiver, bytes, lane, sender })
    }

    /// Takes away the mark that the actor is asleep, unless the actor is paused. `true` if it was there: then the caller has the
    /// actor woken.
    #[must_use = "an actor that was roused is woken by nobody else"]
    pub(crate) fn rouse(&self) -> bool {
        let _counts = self.0.counts.lock();
        !self.is_paused() && self.0.rouse()
    }

    /// From here on the actor takes nothing out of the mailbox, until it is resumed.
    pub(crate) fn pause(&self) {
        let counts = self.0.counts.lock();
        self.0.is_paused.store(true, Ordering::SeqCst);
        drop(counts);
        self.0.owner.unpark();
    }

    /// The actor goes on with what waits. `true` if it was asleep: then the caller has it woken.
    #[must_use = "an actor that was roused is woken by nobody else"]
    pub(crate) fn resume(&self) -> bool {
        let counts = self.0.counts.lock();
        self.0.is_paused.store(false, Ordering::SeqCst);
        let was_asleep = self.0.rouse();
        drop(counts);
        self.0.owner.unpark();
        was_asleep
    }

    /// Whether an operator has paused the actor.
    pub(crate) fn is_paused(&self) -> bool {
        self.0.is_paused.load(Ordering::SeqCst)
    }

    /// Whether no thread serves the mailbox, and nobody has roused the actor.
    pub(crate) fn is_asleep(&self) -> bool {
        self.0.gate.load(Ordering::SeqCst) == ASLEEP
    }

    /// Puts back a delivery that was promised before the runtime was started, whether or not there is room for it. The
    /// caller rouses an actor that is asleep first.
    pub(crate) fn restore(&self, lane: Lane, delivery: Delivery) {
        let mut counts = self.0.counts.lock();
        if counts.abandoned {
            drop(counts);
            // Dropping the delivery tells the thread that waits for its answer that none will come.
            return drop(delivery);
        }
        let sender = self.0.take_place(&mut counts, lane, delivery.params.len() as u64);
        drop(counts);
        self.0.put(&sender, delivery);
    }

    /// Keeps a delivery that the actor has no export for, until the actor ends and names it as dropped.
    pub(crate) fn keep_aside(&self, delivery: Delivery) {
        self.0.counts.lock().aside.push(delivery);
    }

    /// Wakes the owner for something that is no delivery. It must be there before, under a lock that the owner takes to look:
    /// so whoever rings before the owner forgets its rings has put it there before the owner looks. `true` if the actor was
    /// asleep: then the caller has it woken.
    #[must_use = "an actor that was roused is woken by nobody else"]
    pub(crate) fn ring(&self) -> bool {
        self.0.is_rung.store(true, Ordering::SeqCst);
        self.knock()
    }

    /// Wakes the owner, which looks elsewhere whether something is there. `true` as for [`Mailbox::ring`].
    #[must_use = "an actor that was roused is woken by nobody else"]
    pub(crate) fn knock(&self) -> bool {
        self.0.owner.unpark();
        self.rouse()
    }

    /// How many places are taken: deliveries that wait, and reserved places. Deliveries that are kept aside do not
    /// count.
    pub(crate) fn depth(&self) -> u64 {
        self.0.taken.iter().map(|taken| taken.load(Ordering::SeqCst)).sum()
    }
}

impl Slot {
    /// Puts the delivery in its place. The mailbox still exists then, because the owner closes it before it is dropped,
    /// and closing waits for this place. If the owner has panicked, the delivery is dropped.
    pub(crate) fn fill(mut self, delivery: Delivery) {
        if let Some(sender) = self.sender.take() {
            self.mailbox.0.put(&sender, delivery);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.sender.is_some() {
            let shared = &self.mailbox.0;
            shared.free_place(self.lane, self.bytes);
            // Only an owner that drains a closed mailbox waits for places to come back.
            if shared.gate.load(Ordering::SeqCst) == CLOSED {
                shared.owner.unpark();
            }
        }
    }
}

impl Shared {
    /// With the lock: takes away the mark that the actor is asleep.
    fn rouse(&self) -> bool {
        let is_asleep = self.gate.load(Ordering::SeqCst) == ASLEEP;
        if is_asleep {
            self.gate.store(OPEN, Ordering::SeqCst);
        }
        is_asleep
    }

    /// Counts one more place as taken, and returns the channel that its delivery goes into.
    fn take_place(&self, counts: &mut MailboxCounts, lane: Lane, bytes: u64) -> Sender<Delivery> {
        if lane == Lane::Mail {
            counts.bytes += bytes;
        }
        let taken = &self.taken[lane as usize];
        // Nobody else writes it while this thread has the lock.
        taken.store(taken.load(Ordering::Relaxed) + 1, Ordering::Release);
        let channel = counts.lanes[lane as usize].get_or_insert_with(|| {
            let (sender, receiver) = unbounded();
            LaneChannel { sender, receiver }
        });
        channel.sender.clone()
    }

    /// Counts one place less as taken.
    fn free_place(&self, lane: Lane, bytes: u64) {
        let mut counts = self.counts.lock();
        if lane == Lane::Mail {
            counts.bytes -= bytes;
        }
        let taken = &self.taken[lane as usize];
        taken.store(taken.load(Ordering::Relaxed) - 1, Ordering::Release);
    }

    fn put(&self, sender: &Sender<Delivery>, delivery: Delivery) {
        // This fails if the owner has panicked. The delivery is then dropped here, which tells the thread that waits
        // for its answer that none will come.
        let _ = sender.send(delivery);
        self.owner.unpark();
    }
}

/// The receiving side of a mailbox that nobody serves, and in which no place was taken when its owner fell asleep, unless the
/// owner was paused.
#[derive(Debug)]
pub(crate) struct RestingOwner(Option<(Arc<Shared>, Parker)>);

impl RestingOwner {
    /// The receiving side as a thread serves it.
    pub(crate) fn rise(mut self) -> MailboxOwner {
        let (shared, parker) = self.0.take().expect("it is taken once, here or when it is dropped");
        MailboxOwner::of(shared, parker)
    }

    fn shared(&self) -> &Shared {
        &self.0.as_ref().expect("it was not taken").0
    }

    /// Whether nobody has roused the actor since it fell asleep.
    pub(crate) fn is_asleep(&self) -> bool {
        self.shared().gate.load(Ordering::SeqCst) == ASLEEP
    }

    /// Takes the mark away that the actor is asleep.
    pub(crate) fn rouse(&self) {
        let _counts = self.shared().counts.lock();
        let _ = self.shared().rouse();
    }

    /// What wakes the thread that will serve the mailbox.
    pub(crate) fn unparker(&self) -> Unparker {
        self.shared().owner.clone()
    }
}

impl Drop for RestingOwner {
    fn drop(&mut self) {
        if let Some((shared, parker)) = self.0.take() {
            drop(MailboxOwner::of(shared, parker));
        }
    }
}

impl MailboxOwner {
    fn of(shared: Arc<Shared>, parker: Parker) -> Self {
        let lanes = [RefCell::new(None), RefCell::new(None)];
        Self { shared, lanes, parker: RefCell::new(Some(parker)), is_handed_on: Cell::new(false) }
    }

    /// From here on the calling thread serves the mailbox: it is unparked when something comes.
    pub(crate) fn serve_here(&self) {
        if let Some(parker) = self.parker.take() {
            wait::adopt(parker);
        }
    }

    /// Marks the actor as asleep, unless a place in the mailbox is taken, and the actor is not paused, or somebody has closed the
    /// mailbox. From here on the calling thread looks once more for what is no delivery; it then either stays awake or
    /// [rests](MailboxOwner::rest).
    pub(crate) fn fall_asleep(&self) -> bool {
        let _counts = self.shared.counts.lock();
        let falls = (self.is_empty() || self.is_paused()) && self.shared.gate.load(Ordering::SeqCst) == OPEN;
        if falls {
            self.shared.gate.store(ASLEEP, Ordering::SeqCst);
        }
        falls
    }

    /// Takes the mark away again. If somebody else has done so meanwhile, the supervisor is told to wake an actor that is awake,
    /// and does nothing.
    pub(crate) fn stay_awake(&self) {
        let _counts = self.shared.counts.lock();
        let _ = self.shared.rouse();
    }

    /// The calling thread serves the mailbox no longer; the next one adopts what wakes it.
    pub(crate) fn rest(self) -> RestingOwner {
        self.is_handed_on.set(true);
        RestingOwner(Some((Arc::clone(&self.shared), self.parker.take().unwrap_or_else(wait::abandon))))
    }

    /// The side that delivers.
    pub(crate) fn mailbox(&self) -> Mailbox {
        Mailbox(Arc::clone(&self.shared))
    }

    /// What wakes the thread that serves the mailbox.
    pub(crate) fn unparker(&self) -> Unparker {
        self.shared.owner.clone()
    }

    /// Whether an operator has paused the actor.
    pub(crate) fn is_paused(&self) -> bool {
        self.shared.is_paused.load(Ordering::SeqCst)
    }

    /// Whether something that is no delivery may have come.
    pub(crate) fn is_rung(&self) -> bool {
        self.shared.is_rung.load(Ordering::SeqCst)
    }

    /// Has the owner look once more for something that is no delivery.
    pub(crate) fn ring(&self) {
        self.shared.is_rung.store(true, Ordering::SeqCst);
    }

    /// Forgets that it was rung for, before the owner looks. So a ring that comes while it looks leads to another look.
    pub(crate) fn hush(&self) {
        self.shared.is_rung.store(false, Ordering::SeqCst);
    }

    /// The next notice, else the next delivery of mail, if there is one; its place is free then.
    pub(crate) fn next(&self) -> Option<Delivery> {
        self.take_from(Lane::Notice).or_else(|| self.take_from(Lane::Mail))
    }

    fn take_from(&self, lane: Lane) -> Option<Delivery> {
        if self.shared.taken[lane as usize].load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut own = self.lanes[lane as usize].borrow_mut();
        if own.is_none() {
            let counts = self.shared.counts.lock();
            *own = counts.lanes[lane as usize].as_ref().map(|channel| channel.receiver.clone());
        }
        // Where there is none, the place is reserved and not filled yet.
        let delivery = own.as_ref()?.try_recv().ok()?;
        self.shared.free_place(lane, delivery.params.len() as u64);
        Some(delivery)
    }

    /// Gives back the memory of the lanes in which no place is taken.
    pub(crate) fn let_go_of_empty_lanes(&self) {
        let mut counts = self.shared.counts.lock();
        for lane in [Lane::Notice, Lane::Mail] {
            if self.shared.taken[lane as usize].load(Ordering::Relaxed) == 0 {
                counts.lanes[lane as usize] = None;
                self.lanes[lane as usize].replace(None);
            }
        }
    }

    /// Whether no delivery waits and no place is reserved.
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.taken.iter().all(|taken| taken.load(Ordering::SeqCst) == 0)
    }

    /// Takes no more deliveries from here on.
    pub(crate) fn close(&self) {
        let _counts = self.shared.counts.lock();
        self.shared.gate.store(CLOSED, Ordering::SeqCst);
    }

    /// Takes deliveries again.
    pub(crate) fn open(&self) {
        let _counts = self.shared.counts.lock();
        self.shared.gate.store(OPEN, Ordering::SeqCst);
    }

    /// From here on the mailbox has these bounds. What waits in it stays.
    pub(crate) fn bound(&self, max_deliveries: u64, max_bytes: u64) {
        self.shared.max_deliveries.store(max_deliveries, Ordering::Relaxed);
        self.shared.max_bytes.store(max_bytes, Ordering::Relaxed);
    }

    /// Takes the deliveries that are kept aside.
    pub(crate) fn take_aside(&self) -> Vec<Delivery> {
        std::mem::take(&mut self.shared.counts.lock().aside)
    }

    /// Takes the deliveries that are kept aside, and the mail that waits now. Notices stay in the mailbox, and the
    /// mailbox stays open.
    pub(crate) fn take_waiting(&self) -> Vec<Delivery> {
        let mut waiting: Vec<Delivery> = std::mem::take(&mut self.shared.counts.lock().aside);
        let most = self.shared.taken[Lane::Mail as usize].load(Ordering::Acquire);
        waiting.extend((0..most).map_while(|_| self.take_from(Lane::Mail)));
        waiting
    }

    /// After [`MailboxOwner::close`]: takes the deliveries that are kept aside, then the waiting notices, then the
    /// waiting mail, each in order.
    pub(crate) fn drain(&self) -> Vec<Delivery> {
        /// A thread that fills a place or gives it back unparks the thread that serves the mailbox. If the mailbox has
        /// no thread of its own yet, another thread may drain it; that one is not unparked, and looks again after a
        /// while.
        const LOOK_AGAIN: Duration = Duration::from_millis(1);
        let mut drained = std::mem::take(&mut self.shared.counts.lock().aside);
        loop {
            while let Some(delivery) = self.next() {
                drained.push(delivery);
            }
            // A sender holds a reserved place only while it enqueues one record.
            if self.is_empty() {
                return drained;
            }
            wait::park_until(clock::now() + LOOK_AGAIN);
        }
    }
}

/// An owner closes and drains the mailbox before it is dropped. An owner that panics does not: then the waiting
/// deliveries are dropped with it.
impl Drop for MailboxOwner {
    fn drop(&mut self) {
        if self.is_handed_on.get() {
            return;
        }
        self.close();
        let mut counts = self.shared.counts.lock();
        counts.abandoned = true;
        let left = (std::mem::take(&mut counts.lanes), std::mem::take(&mut counts.aside));
        drop(counts);
        // The channels go with their last receiving sides: these, and the ones that this side holds.
        drop(left);
    }
}
