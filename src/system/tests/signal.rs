//! What a stop signal promises: it ends every wait once its grace is over, and the first order counts.

use std::time::Duration;

use crate::base::clock;
use crate::base::one_shot::one_shot;
use crate::base::wait;
use crate::chain::data::StoppedBy;
use crate::system::{Order, OrderKind, StopSignal, Waited};

fn signal() -> StopSignal {
    StopSignal::new(wait::unparker())
}

fn order(kind: OrderKind) -> Order {
    Order { kind, by: StoppedBy::Operator, cause: None }
}

#[test]
fn an_order_with_no_grace_is_overdue_at_once_and_wakes() {
    let signal = signal();
    assert_eq!((signal.order(), signal.overdue()), (None, None));
    signal.give(order(OrderKind::Stop), Duration::ZERO);
    wait::park();
    assert_eq!(signal.overdue().map(|order| order.kind), Some(OrderKind::Stop));
}

#[test]
fn an_order_ends_a_wait_and_an_answer_in_time_is_taken_first() {
    let signal = signal();
    let (send, receive) = one_shot();
    let far = clock::now() + Duration::from_secs(600);
    assert_eq!(signal.wait(&receive, clock::now()), Waited::Deadline);
    signal.give(order(OrderKind::Stop), Duration::ZERO);
    assert_eq!(signal.wait(&receive, far), Waited::Overdue(OrderKind::Stop));
    send.give(7);
    assert_eq!(signal.wait(&receive, far), Waited::Came(7));
}

#[test]
fn a_second_order_hastens_the_first_but_does_not_change_it() {
    let signal = signal();
    signal.give(order(OrderKind::Stop), Duration::from_secs(600));
    assert_eq!(signal.overdue(), None);
    signal.give(order(OrderKind::Suspend), Duration::ZERO);
    assert_eq!(signal.overdue().map(|order| order.kind), Some(OrderKind::Stop));
}
