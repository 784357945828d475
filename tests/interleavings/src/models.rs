//! The models: each is run in every interleaving of its threads.

use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use crate::base::clock;
use crate::base::id::ActorId;
use crate::base::one_shot::{OneReceiver, SenderGone, one_shot};
use crate::base::sync::Mutex;
use crate::base::wait;
use crate::chain::Function;
use crate::chain::data::{Caller, StoppedBy};
use crate::system::answer::NoAnswer;
use crate::system::answer::{Answer, Outcome};
use crate::system::delivery::Delivery;
use crate::system::mailbox::{Lane, Mailbox, MailboxOwner, RestingOwner};
use crate::system::refusal::Refusal;
use crate::system::reply::{AwaitedReply, Reply};
use crate::system::signal::{Order, OrderKind, StopSignal, Waited};

static FUNCTION: Function = Function;
const RECEIVER: ActorId = ActorId(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Tries all interleavings in which threads are interrupted, where they could go on, at most so often.
fn all(interruptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(interruptions);
    builder.check(model);
}

fn delivery(bytes: usize, reply: Reply) -> Delivery {
    Delivery { function: &FUNCTION, params: vec![0; bytes], caller: Caller::Actor, cause: None, reply }
}

fn put(mailbox: &Mailbox, lane: Lane, bytes: usize) -> Result<(), Refusal> {
    mailbox.clone().reserve(RECEIVER, lane, bytes).map(|slot| slot.fill(delivery(bytes, Reply::Nobody)))
}

/// Serves the mailbox as an actor does that gives back its lanes whenever it is idle.
fn take(owner: &MailboxOwner, count: usize) -> Vec<usize> {
    let mut taken = Vec::new();
    while taken.len() < count {
        match owner.next() {
            Some(delivery) => taken.push(delivery.params.len()),
            None => {
                owner.let_go_of_empty_lanes();
                wait::park();
            }
        }
    }
    taken
}

fn answer() -> Answer {
    Answer { outcome: Outcome::Stopped, closing: None }
}

fn give(reply: Reply) {
    let Reply::Outside { to, .. } = reply else { unreachable!("it was made for the outside") };
    to.give(answer());
}

fn stop(kind: OrderKind) -> Order {
    Order { kind, by: StoppedBy::Operator, cause: None }
}

#[test]
fn a_mailbox_wakes_its_owner_for_each_delivery_of_two_senders() {
    all(3, || {
        let (mailbox, owner) = Mailbox::new(10, 100);
        let other = mailbox.clone();
        let senders = [
            thread::spawn(move || put(&mailbox, Lane::Mail, 1).expect("a place")),
            thread::spawn(move || put(&other, Lane::Notice, 2).expect("a place")),
        ];
        owner.serve_here();
        let mut taken = take(&owner, 2);
        taken.sort_unstable();
        assert_eq!((taken, owner.is_empty()), (vec![1, 2], true));
        senders.into_iter().for_each(|sender| sender.join().expect("it sends"));
    });
}

/// Whoever rings has put something elsewhere before, under a lock that the owner takes to look.
#[test]
fn a_ring_for_something_that_is_no_delivery_is_never_lost() {
    all(3, || {
        let (mailbox, owner) = Mailbox::new(10, 100);
        let there = Arc::new(Mutex::new(0));
        let rings: Vec<_> = (0..2)
            .map(|_| {
                let (mailbox, there) = (mailbox.clone(), Arc::clone(&there));
                thread::spawn(move || {
                    *there.lock() += 1;
                    let _ = mailbox.ring();
                })
            })
            .collect();
        owner.serve_here();
        loop {
            if !owner.is_rung() {
                wait::park();
                continue;
            }
            owner.hush();
            if *there.lock() == 2 {
                break;
            }
        }
        rings.into_iter().for_each(|ring| ring.join().expect("it rings"));
    });
}

#[test]
fn deliveries_of_one_sender_come_in_their_order_and_none_is_lost_when_lanes_are_let_go() {
    all(4, || {
        let (mailbox, owner) = Mailbox::new(10, 100);
        let sender = thread::spawn(move || {
            for bytes in 1..=3 {
                put(&mailbox, Lane::Mail, bytes).expect("a place");
            }
        });
        owner.serve_here();
        assert_eq!(take(&owner, 3), [1, 2, 3]);
        sender.join().expect("it sends");
    });
}

#[test]
fn a_mailbox_that_was_made_before_its_thread_wakes_that_thread() {
    all(4, || {
        let (mailbox, owner) = Mailbox::new(10, 100);
        let served = thread::spawn(move || {
            owner.serve_here();
            take(&owner, 1)
        });
        put(&mailbox, Lane::Mail, 1).expect("a place");
        assert_eq!(served.join().expect("it serves"), [1]);
    });
}

#[test]
fn of_two_senders_that_want_the_last_place_one_gets_it() {
    for (deliveries, bytes) in [(2, 100), (1, 1_000)] {
        all(4, move || {
            let (mailbox, _owner) = Mailbox::new(deliveries, bytes);
            let other = mailbox.clone();
            let racer = thread::spawn(move || put(&other, Lane::Mail, 60).is_ok());
            let first = put(&mailbox, Lane::Mail, 60).is_ok();
            let second = racer.join().expect("a racer");
            assert!(first != second && mailbox.depth() == 1);
        });
    }
}

#[test]
fn closing_waits_for_a_place_that_is_filled_and_for_one_that_is_given_back() {
    for fills in [true, false] {
        all(4, move || {
            let (mailbox, owner) = Mailbox::new(10, 100);
            let sender = thread::spawn(move || {
                let slot = mailbox.reserve(RECEIVER, Lane::Mail, 1);
                let is_accepted = slot.is_ok();
                if let Ok(slot) = slot.inspect_err(|refusal| assert_eq!(*refusal, Refusal::Closed))
                    && fills
                {
                    slot.fill(delivery(1, Reply::Nobody));
                }
                is_accepted
            });
            owner.serve_here();
            owner.close();
            let drained = owner.drain().len();
            let is_accepted = sender.join().expect("it sends");
            assert_eq!(drained, usize::from(is_accepted && fills));
        });
    }
}

#[test]
fn who_waits_for_a_delivery_to_an_owner_that_panics_hears_that_no_answer_will_come() {
    all(4, || {
        let (mailbox, owner) = Mailbox::new(10, 100);
        let slot = mailbox.reserve(RECEIVER, Lane::Mail, 1).expect("a place");
        let panicked = thread::spawn(move || drop(owner));
        let (reply, awaited) = Reply::outside();
        slot.fill(delivery(1, reply));
        assert_eq!(awaited.within(HOUR), Err(NoAnswer::Gone));
        panicked.join().expect("it goes");
    });
}

/// Falls asleep as soon as there is nothing to take, as an actor does that has been idle for long; what is left of it goes to
/// bed, unless somebody has roused it meanwhile. Returns how many deliveries it has taken.
fn take_or_sleep(mut owner: MailboxOwner, bed: &Mutex<Option<RestingOwner>>) -> usize {
    loop {
        owner.serve_here();
        if !owner.is_paused() && owner.next().is_some() {
            return 1;
        }
        if !owner.fall_asleep() {
            wait::park();
            continue;
        }
        let resting = owner.rest();
        let mut bed = bed.lock();
        if resting.is_asleep() {
            *bed = Some(resting);
            return 0;
        }
        drop(bed);
        owner = resting.rise();
    }
}

/// The supervisor is one thread, so that it looks into the bed and puts somebody there one after the other: here by a lock.
#[test]
fn an_actor_that_falls_asleep_while_a_delivery_comes_takes_it_or_is_woken_for_it() {
    all(3, || {
        let (mailbox, owner) = Mailbox::new(10, 100);
        let bed = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&bed);
        let sender = thread::spawn(move || {
            let mut has_roused = false;
            while put(&mailbox, Lane::Mail, 1) == Err(Refusal::Asleep) {
                has_roused |= mailbox.rouse();
            }
            if has_roused { seen.lock().take() } else { None }
        });
        let taken = take_or_sleep(owner, &bed);
        let woken: Option<RestingOwner> = sender.join().expect("it sends");
        assert_ne!(taken == 1, woken.is_some(), "one of the two");
        if let Some(woken) = woken {
            let owner = woken.rise();
            owner.serve_here();
            assert_eq!(take(&owner, 1), [1]);
        }
    });
}

/// What comes for a paused actor waits, and wakes nobody; the resumption does.
#[test]
fn a_paused_actor_that_falls_asleep_while_it_is_resumed_takes_what_waits_or_is_woken_for_it() {
    all(3, || {
        let (mailbox, owner) = Mailbox::new(10, 100);
        mailbox.pause();
        let bed = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&bed);
        let operator = thread::spawn(move || {
            assert_eq!(put(&mailbox, Lane::Mail, 1), Ok(()), "nobody has to be roused for it");
            assert!(!mailbox.rouse(), "nor is anybody");
            if mailbox.resume() { seen.lock().take() } else { None }
        });
        let taken = take_or_sleep(owner, &bed);
        let woken: Option<RestingOwner> = operator.join().expect("it resumes");
        assert_ne!(taken == 1, woken.is_some(), "one of the two");
        if let Some(woken) = woken {
            let owner = woken.rise();
            owner.serve_here();
            assert_eq!(take(&owner, 1), [1]);
        }
    });
}

/// A ring is something that is no delivery, such as a timer that is due.
#[test]
fn an_actor_that_falls_asleep_while_it_is_rung_for_sees_it_or_is_woken() {
    all(3, || {
        let (mailbox, owner) = Mailbox::new(10, 100);
        owner.serve_here();
        owner.hush();
        let ring = thread::spawn(move || mailbox.ring());
        let mut stays = !owner.fall_asleep();
        if owner.is_rung() {
            owner.stay_awake();
            stays = true;
        }
        let wakes = ring.join().expect("it rings");
        assert!(stays || wakes, "nobody looks");
    });
}

#[test]
fn a_one_shot_channel_wakes_its_receiver_for_the_value_and_for_the_end_of_the_sender() {
    for gives in [true, false] {
        all(5, move || {
            let (sender, receiver): (_, OneReceiver<u8>) = one_shot();
            let other = thread::spawn(move || if gives { sender.give(7) } else { drop(sender) });
            assert_eq!(receiver.receive(), if gives { Ok(7) } else { Err(SenderGone) });
            other.join().expect("it ends");
        });
    }
}

#[test]
fn a_delivery_is_taken_or_withdrawn_and_never_both() {
    all(5, || {
        let (reply, awaited) = Reply::outside();
        let other = thread::spawn(move || {
            let is_taken = reply.claim();
            if is_taken {
                give(reply);
            }
            is_taken
        });
        let withdrawn = awaited.withdraw();
        let is_taken = other.join().expect("it answers");
        assert_eq!(withdrawn, if is_taken { NoAnswer::OutcomeUnknown } else { NoAnswer::NotDelivered });
    });
}

#[test]
fn an_order_and_an_answer_both_end_the_wait_for_the_answer() {
    all(3, || {
        let signal = Arc::new(StopSignal::new(wait::unparker()));
        let (reply, awaited): (Reply, AwaitedReply) = Reply::outside();
        let (supervisor, receiver) = (Arc::clone(&signal), thread::spawn(move || give(reply)));
        let supervisor = thread::spawn(move || supervisor.give(stop(OrderKind::Stop), Duration::ZERO));
        match signal.wait(&awaited, clock::now() + HOUR) {
            Waited::Came(came) => assert_eq!(came, answer()),
            other => assert_eq!(other, Waited::Overdue(OrderKind::Stop)),
        }
        receiver.join().expect("it answers");
        supervisor.join().expect("it orders");
    });
}

#[test]
fn an_order_ends_a_wait_for_which_nothing_else_comes() {
    all(5, || {
        let signal = Arc::new(StopSignal::new(wait::unparker()));
        let (_never, awaited): (_, OneReceiver<u8>) = one_shot();
        let supervisor = Arc::clone(&signal);
        let supervisor = thread::spawn(move || supervisor.give(stop(OrderKind::Cycle), Duration::ZERO));
        assert_eq!(signal.wait(&awaited, clock::now() + HOUR), Waited::Overdue(OrderKind::Cycle));
        supervisor.join().expect("it orders");
    });
}

#[test]
fn a_second_order_that_hastens_the_first_wakes_as_well() {
    all(3, || {
        let signal = Arc::new(StopSignal::new(wait::unparker()));
        let (_never, awaited): (_, OneReceiver<u8>) = one_shot();
        let supervisor = Arc::clone(&signal);
        let supervisor = thread::spawn(move || {
            supervisor.give(stop(OrderKind::Stop), HOUR / 2);
            supervisor.give(stop(OrderKind::Suspend), Duration::ZERO);
        });
        assert_eq!(signal.wait(&awaited, clock::now() + HOUR), Waited::Overdue(OrderKind::Stop));
        supervisor.join().expect("it orders");
    });
}

/// The token that the delivery left may be taken by the wait for the answer.
#[test]
fn a_delivery_that_comes_while_its_receiver_waits_for_an_answer_is_found_afterwards() {
    all(3, || {
        let (mailbox, owner) = Mailbox::new(10, 100);
        let signal = StopSignal::new(owner.unparker());
        let (reply, awaited) = Reply::outside();
        let sender = thread::spawn(move || put(&mailbox, Lane::Mail, 1).expect("a place"));
        let receiver = thread::spawn(move || give(reply));
        owner.serve_here();
        assert_eq!(signal.wait(&awaited, clock::now() + HOUR), Waited::Came(answer()));
        assert_eq!(take(&owner, 1), [1]);
        sender.join().expect("it sends");
        receiver.join().expect("it answers");
    });
}
