//! The main loop of an actor: it takes one delivery after the other from its mailbox, and executes each as a transition.

use std::thread;
use std::time::Duration;

use super::context::ActorContext;
use super::down::{Down, close};
use super::executor::{Executor, Job};
use crate::base::clock;
use crate::base::fail;
use crate::base::stack::Stack;
use crate::guest::THREAD_STACK_BYTES;
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
    let stack = Stack::of_this_thread(THREAD_STACK_BYTES);
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
            wait_for_delivery_or_order(mailbox, stop, &stack);
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
fn wait_for_delivery_or_order(mailbox: &MailboxOwner, stop: &StopSignal, stack: &Stack) {
    if stop.order().is_some() {
        return thread::park_timeout(Duration::from_millis(1));
    }
    let begun = clock::now();
    thread::park_timeout(IDLE);
    if clock::since(begun) >= IDLE && mailbox.is_empty() && stop.order().is_none() {
        stack.give_back();
        mailbox.shrink();
        // No wake-up is lost: if a delivery or an order has come since the check above, its sender has unparked this
        // thread, and `park` returns at once.
        thread::park();
    }
}
