//! Orders to the thread that sends what is queued for clients.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::wakeup::Wakeup;

/// What the writer is to do. `Q` is a client's queue.
pub(super) enum WriterOrder<Q> {
    /// Send what waits in these queues, and go on when more can be sent.
    Flush(Vec<Arc<Q>>),
    /// Nothing follows.
    End,
}

/// Gives orders to the writer of a listener. Giving one blocks on nothing.
pub(crate) struct ClientOrders<Q> {
    orders: Sender<WriterOrder<Q>>,
    wakeup: Arc<Wakeup>,
}

impl<Q> Clone for ClientOrders<Q> {
    fn clone(&self) -> Self {
        Self { orders: self.orders.clone(), wakeup: Arc::clone(&self.wakeup) }
    }
}

impl<Q> ClientOrders<Q> {
    /// Orders to the thread that `wakeup` wakes, and where that thread takes them.
    pub(super) fn new(wakeup: &Arc<Wakeup>) -> (Self, Receiver<WriterOrder<Q>>) {
        let (orders, taken) = unbounded();
        (Self { orders, wakeup: Arc::clone(wakeup) }, taken)
    }

    fn order(&self, order: WriterOrder<Q>) {
        // This fails only if the writer has ended, and then it has ended all connections that it wrote to.
        let _ = self.orders.send(order);
        self.wakeup.wake();
    }

    /// Sends what waits in these queues, as their clients take it.
    pub(crate) fn flush(&self, queues: Vec<Arc<Q>>) {
        self.order(WriterOrder::Flush(queues));
    }

    /// Ends the writer.
    pub(super) fn end(&self) {
        self.order(WriterOrder::End);
    }
}
