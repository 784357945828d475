//! What a reply promises: a delivery is taken or withdrawn, and the waiting side gets the answer, or is told that none
//! will come.

use std::thread;
use std::time::Duration;

use crate::system::{Answer, AwaitedReply, NoAnswer, Outcome, Reply};

fn pair() -> (Reply, AwaitedReply) {
    Reply::outside()
}

fn give(reply: Reply, answer: Answer) {
    let Reply::Outside { to, .. } = reply else { unreachable!("it was made for the outside") };
    to.give(answer);
}

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
        let other = thread::spawn(move || give(to, answer()));
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
    give(to, answer());
}
