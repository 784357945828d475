//! Deliveries for clients that an actor can send to at any time: the client gets its id with the call, and is open once the
//! `return` has promised the actor to tell it of the client's end.
//!
//! What the actor answers to a connection goes the way of what it pushes: it is put into the client's queue after the commit,
//! in the order of the events. If the connection's own thread sent it, it could come after what a later transition pushed.

use super::context::ActorContext;
use super::down::{Down, close};
use super::executor::{Executor, Job, Transition};
use crate::base::fail;
use crate::chain::Link;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::guest::wit::WebSocketResponse;
use crate::handlers::send_answer;
use crate::promise::{ClientCall, HANDLE_CONNECTION_MESSAGE, client_id, renumbered};
use crate::system::{ClientKind, Delivery, Outcome, StopSignal};

/// Whether a delivery comes from a listener's client. What comes from actors is told by one comparison.
pub(super) fn is_of_a_client(delivery: &Delivery) -> bool {
    match delivery.caller {
        Caller::WebSocket | Caller::Http => true,
        Caller::Runtime | Caller::Actor | Caller::Management | Caller::Timer => false,
    }
}

/// Executes a delivery of a client.
#[inline(never)]
pub(super) fn handle_client(
    context: &ActorContext,
    stop: &StopSignal,
    executor: &mut Executor,
    delivery: Delivery,
) -> Result<(), Down> {
    let mut client = ClientCall::of_delivery(&delivery);
    let Delivery { function, mut params, caller, cause, reply } = delivery;
    let (actor, clients) = (context.actor.id, &context.theater.clients);
    if let Some((_, ticket)) = client.and_then(ClientCall::client) {
        let id = executor.recorder().next_sequence();
        params = renumbered(&params, id).expect("it begins with the ticket");
        client = client.map(|client| client.with_id(id));
        clients.called(ticket, actor, id);
    }
    let is_message = function.full == HANDLE_CONNECTION_MESSAGE.full;
    let id = if is_message { client_id(&params) } else { None };
    let promised = |result: &[u8]| client.and_then(|client| client.promises(result));
    let key = reply.key().map(str::to_owned);
    let job = Job { key, ..Job::new(function, params, caller, cause) };
    let end = executor.transition(job, &mut |result| promised(result)?.owed(actor));
    match &end {
        Transition::Closed { outcome: Outcome::Returned(result), closing, deferred, .. } => {
            if let Some(client) = client {
                let is_promised = deferred.is_none() && client.promises(result).is_some();
                settle(context, client, is_promised.then(|| closing.clone()));
            }
            if let Some(id) = id {
                answer(context, id, result);
            }
        }
        Transition::Closed { .. } | Transition::Failed { .. } | Transition::Interrupted(_) => {
            client.into_iter().for_each(|client| settle(context, client, None));
        }
    }
    close(context, stop, end, reply)
}

/// After the call for a new client: the client is open if `promised_by` has promised to tell of its end.
fn settle(context: &ActorContext, client: ClientCall, promised_by: Option<Link>) {
    let Some((_, id)) = client.client() else { return };
    let (actor, theater) = (context.actor.id, &context.theater);
    let Some(promised_by) = promised_by else { return theater.clients.not_opened(actor, id) };
    fail::point("client-promised");
    fail::point_after("client-promised-committed", || _ = theater.journal.flush());
    if !theater.clients.opened(actor, id, promised_by.clone()) {
        // The client is gone already. If this is refused, the actor is ending: it needs no more notices, or gets this one at
        // its next start.
        let _ = theater.notify(actor, client.told_of_its_end(promised_by));
    }
}

/// Sends the answer to a message of a connection, after the commit that holds it.
fn answer(context: &ActorContext, id: u64, result: &[u8]) {
    let Some(queue) = context.theater.clients.find(context.actor.id, ClientKind::Connection, id) else { return };
    // The connection's thread finds the same error, and ends the connection for it.
    let Ok(response) = WebSocketResponse::from_cbor(result) else { return };
    send_answer(&context.theater.journal, queue, response);
}
