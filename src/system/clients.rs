//! The clients of all actors that an actor can send to at any time: WebSocket connections and streams of HTTP answers, by their
//! ids.
//!
//! The id of a client is the sequence of the event by which its actor was called for it. That event does not exist yet when
//! the call is delivered, so the delivery has a *ticket* in the place of the id. The actor's own thread replaces it when it
//! makes the call. In a replay and after a crash the id is a parameter of a recorded call like any other.
//!
//! ```text
//!   expect ── the call is made ──▶ called ── its `return` promises to tell of the end ──▶ open ──▶ over
//!      │                             └────────── nothing is promised, or the end comes first ───────┘
//!      └──── the delivery is withdrawn ──▶ over
//! ```
//!
//! **The end is told once.** The entry of an open client has the event that promised to tell. Who takes the entry out tells
//! the actor, or settles the promise; the other side finds nothing. If the client's end comes before the promise, the
//! actor's thread finds no entry when it has recorded the promise, and tells the actor itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::id::ActorId;
use crate::chain::Link;
use crate::net::ClientQueue;

/// What a client is to its actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientKind {
    Connection,
    Stream,
}

/// The clients of all actors of a runtime.
#[derive(Default)]
pub(crate) struct Clients(Mutex<KnownClients>);

#[derive(Default)]
struct KnownClients {
    /// By ticket: those for which no call was made yet.
    expected: HashMap<u64, (ClientKind, Arc<ClientQueue>)>,
    last_ticket: u64,
    actors: HashMap<ActorId, BTreeMap<u64, KnownClient>>,
}

struct KnownClient {
    kind: ClientKind,
    queue: Arc<ClientQueue>,
    /// The event that promised to tell the actor of the end.
    promised_by: Option<Link>,
}

impl KnownClients {
    fn of(&self, actor: ActorId) -> impl Iterator<Item = (u64, &KnownClient)> {
        self.actors.get(&actor).into_iter().flatten().map(|(id, client)| (*id, client))
    }

    fn remove(&mut self, actor: ActorId, id: u64) -> Option<KnownClient> {
        let own = self.actors.get_mut(&actor)?;
        let client = own.remove(&id);
        if own.is_empty() {
            self.actors.remove(&actor);
        }
        client
    }
}

impl Clients {
    /// A client for which the actor is to be called. Returns its ticket.
    pub(crate) fn expect(&self, kind: ClientKind, queue: &Arc<ClientQueue>) -> u64 {
        let mut known = self.0.lock();
        known.last_ticket += 1;
        let ticket = known.last_ticket;
        known.expected.insert(ticket, (kind, Arc::clone(queue)));
        ticket
    }

    /// The actor is called for the client with this ticket, by the event with the sequence `id`.
    pub(crate) fn called(&self, ticket: u64, actor: ActorId, id: u64) {
        let mut known = self.0.lock();
        if let Some((kind, queue)) = known.expected.remove(&ticket) {
            queue.name(id);
            known.actors.entry(actor).or_default().insert(id, KnownClient { kind, queue, promised_by: None });
        }
    }

    /// The event `promised_by` promises to tell the actor of the end of a client. `false` if the client is over already, so
    /// that the caller has to tell.
    #[must_use]
    pub(crate) fn opened(&self, actor: ActorId, id: u64, promised_by: Link) -> bool {
        let mut known = self.0.lock();
        let client = known.actors.get_mut(&actor).and_then(|own| own.get_mut(&id));
        let is_there = client.is_some();
        client.into_iter().for_each(|client| client.promised_by = Some(promised_by.clone()));
        is_there
    }

    /// The actor's call for a client has promised nothing: the actor does not know the client.
    pub(crate) fn not_opened(&self, actor: ActorId, id: u64) {
        self.0.lock().remove(actor, id);
    }

    /// A client is over. Returns the event that promised to tell the actor, if the caller has to tell.
    pub(crate) fn over(&self, actor: ActorId, queue: &Arc<ClientQueue>) -> Option<Link> {
        let mut known = self.0.lock();
        // The delivery of one that has an id was taken; that of another one was withdrawn, or is being taken now.
        known.expected.retain(|_, (_, expected)| !Arc::ptr_eq(expected, queue));
        queue.id().and_then(|id| known.remove(actor, id)?.promised_by)
    }

    /// The queue of a client that the actor may send to. An actor sends to a connection from its `connect` on, and to a
    /// stream once it has returned its head.
    pub(crate) fn find(&self, actor: ActorId, kind: ClientKind, id: u64) -> Option<Arc<ClientQueue>> {
        let known = self.0.lock();
        let client = known.actors.get(&actor)?.get(&id)?;
        is_open(client, kind).then(|| Arc::clone(&client.queue))
    }

    /// The ids of an actor's open clients, in ascending order.
    pub(crate) fn open(&self, actor: ActorId, kind: ClientKind) -> Vec<u64> {
        let known = self.0.lock();
        known.of(actor).filter(|(_, client)| is_open(client, kind)).map(|(id, _)| id).collect()
    }

    /// How many of the actor's clients are open.
    pub(crate) fn count(&self, actor: ActorId, kind: ClientKind) -> usize {
        self.0.lock().of(actor).filter(|(_, client)| is_open(client, kind)).count()
    }

    /// The queues of all clients of an actor that ends.
    pub(crate) fn all(&self, actor: ActorId) -> Vec<Arc<ClientQueue>> {
        self.0.lock().of(actor).map(|(_, client)| Arc::clone(&client.queue)).collect()
    }
}

fn is_open(client: &KnownClient, kind: ClientKind) -> bool {
    let is_promised = kind == ClientKind::Connection || client.promised_by.is_some();
    client.kind == kind && is_promised && !client.queue.is_closing()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::EventHash;
    use crate::net::PieceFraming;

    fn called(kind: ClientKind) -> (Clients, ActorId, Arc<ClientQueue>) {
        let (clients, actor, queue) = (Clients::default(), ActorId::random(), ClientQueue::new(PieceFraming::Bare, 8));
        let ticket = clients.expect(kind, &queue);
        assert_eq!((clients.open(actor, kind), queue.id()), (vec![], None));
        clients.called(ticket, actor, 7);
        assert_eq!(queue.id(), Some(7));
        (clients, actor, queue)
    }

    fn promise(actor: ActorId) -> Link {
        Link { actor, sequence: 8, hash: EventHash([0; 20]) }
    }

    #[test]
    fn a_connection_is_sent_to_from_its_connect_on_and_a_stream_once_it_is_promised() {
        let (clients, actor, _) = called(ClientKind::Connection);
        assert!(clients.find(actor, ClientKind::Connection, 7).is_some());
        assert!(clients.find(actor, ClientKind::Stream, 7).is_none(), "it is no stream");
        let (clients, actor, _) = called(ClientKind::Stream);
        assert!(clients.find(actor, ClientKind::Stream, 7).is_none());
        assert!(clients.opened(actor, 7, promise(actor)));
        assert_eq!(clients.open(actor, ClientKind::Stream), [7]);
    }

    #[test]
    fn the_end_is_told_by_who_takes_the_entry_and_by_nobody_else() {
        let (clients, actor, queue) = called(ClientKind::Stream);
        assert!(clients.opened(actor, 7, promise(actor)));
        assert_eq!(clients.over(actor, &queue), Some(promise(actor)));
        assert_eq!(clients.over(actor, &queue), None);
    }

    #[test]
    fn an_end_before_the_promise_is_told_by_who_makes_the_promise() {
        let (clients, actor, queue) = called(ClientKind::Stream);
        assert_eq!(clients.over(actor, &queue), None);
        assert!(!clients.opened(actor, 7, promise(actor)));
    }

    #[test]
    fn a_delivery_that_is_withdrawn_leaves_nothing() {
        let (clients, actor, queue) = (Clients::default(), ActorId::random(), ClientQueue::new(PieceFraming::Bare, 8));
        let ticket = clients.expect(ClientKind::Stream, &queue);
        assert_eq!(clients.over(actor, &queue), None);
        clients.called(ticket, actor, 7);
        assert_eq!((queue.id(), clients.count(actor, ClientKind::Stream)), (None, 0));
    }
}
