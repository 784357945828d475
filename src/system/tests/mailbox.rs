//! What a mailbox promises: places, bounds, order, and what becomes of deliveries when it closes.

use std::thread;
use std::time::Duration;

use crate::base::id::ActorId;
use crate::chain::data::Caller;
use crate::chain::function;
use crate::system::mailbox::{Lane, Mailbox};
use crate::system::{Delivery, NoAnswer, Refusal, Reply};

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

/// A channel that was used keeps memory for 31 deliveries.
#[test]
fn what_comes_after_an_idle_mailbox_has_let_go_of_its_lanes_is_found() {
    let (mailbox, owner) = Mailbox::new(10, 100);
    for bytes in 1..=3 {
        let reserved = mailbox.clone().reserve(ActorId::random(), Lane::Mail, 7).expect("a place");
        owner.let_go_of_empty_lanes();
        reserved.fill(delivery(7));
        assert_eq!(put(&mailbox, Lane::Notice, bytes), Ok(()));
        owner.let_go_of_empty_lanes();
        let taken = [owner.next(), owner.next(), owner.next()];
        assert_eq!(taken.map(|it| it.map(|it| it.params.len())), [Some(bytes), Some(7), None]);
        owner.let_go_of_empty_lanes();
    }
    assert!(owner.is_empty());
}

#[test]
fn a_paused_mailbox_takes_deliveries_within_its_bounds_and_lets_nobody_be_roused() {
    let (mailbox, owner) = Mailbox::new(1, 100);
    mailbox.pause();
    assert_eq!(put(&mailbox, Lane::Mail, 1), Ok(()));
    assert!(owner.fall_asleep(), "whatever waits");
    assert_eq!(put(&mailbox, Lane::Mail, 1), Err(Refusal::Full));
    assert_eq!(put(&mailbox, Lane::Notice, 1), Ok(()));
    assert!(!mailbox.rouse() && !mailbox.ring() && mailbox.is_asleep());
    let resting = owner.rest();
    assert!(mailbox.resume(), "it is woken by who resumes it");
    assert!(!resting.is_asleep() && !mailbox.is_paused() && !mailbox.resume());
    let owner = resting.rise();
    assert_eq!((owner.next().is_some(), owner.next().is_some(), owner.next().is_some()), (true, true, false));
    assert!(owner.fall_asleep());
    assert_eq!(put(&mailbox, Lane::Mail, 1), Err(Refusal::Asleep));
}
