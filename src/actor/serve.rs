//! The main loop of an actor: it takes one delivery after the other from its mailbox, and executes each as a transition.

use std::time::Duration;

use super::context::ActorContext;
use super::down::{Down, close};
use super::executor::{Executor, Job};
use crate::base::clock;
use crate::base::fail;
use crate::base::stack;
use crate::base::wait;
use crate::promise::Promise;
use crate::system::{Delivery, MailboxOwner, OrderKind, Reply, StopSignal};

/// An actor that has waited this long gives its stack's unused pages back to the system.
const IDLE: Duration = Duration::from_secs(1);

/// Takes deliveries until something ends the incarnation.
pub(super) fn serve(
    context: &ActorContext,
    mailbox: &MailboxOwner,
    stop: &StopSignal,
    executor: &mut Executor,
) -> Down {
    loop {
        if let Some(order) = stop.order() {
            match order.kind {
                OrderKind::Stop | OrderKind::Cycle => {
                    return Down::Ordered { order: order.clone(), reply: Reply::Nobody };
                }
                OrderKind::Fail => return Down::failed_by_children(context, Reply::Nobody),
                // Deliveries that actors sent each other before the shutdown are still worked on until the grace is over.
                OrderKind::Suspend if mailbox.is_empty() || stop.overdue().is_some() => return Down::Suspended,
                OrderKind::Suspend => {}
            }
        }
        let Some(delivery) = mailbox.next() else {
            wait_for_delivery_or_order(mailbox, stop);
            continue;
        };
        if !delivery.reply.claim() {
            continue;
        }
        fail::point("taken");
        let Delivery { function, params, caller, cause, reply } = delivery;
        let promised = Promise::of_call(function.full, &params);
        let owed = promised.and_then(|promised| promised.owed(context.actor.id));
        let end = executor.transition(Job { function, params, caller, cause }, &mut || owed);
        if let Err(down) = close(context, stop, end, reply) {
            return down;
        }
    }
}

/// Parks the thread. A new delivery and a new order both unpark it. A thread that is being suspended wakes by itself every
/// millisecond, to see whether its grace is over.
fn wait_for_delivery_or_order(mailbox: &MailboxOwner, stop: &StopSignal) {
    if stop.order().is_some() {
        return wait::park_until(clock::now() + Duration::from_millis(1));
    }
    let idle_at = clock::now() + IDLE;
    wait::park_until(idle_at);
    if clock::now() >= idle_at && mailbox.is_empty() && stop.order().is_none() {
        stack::give_back();
        mailbox.let_go_of_empty_lanes();
        // No wake-up is lost: if a delivery or an order has come since the check above, its sender has unparked this
        // thread, and `park` returns at once.
        wait::park();
    }
}
