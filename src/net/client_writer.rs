//! The thread that sends what is queued for the clients of one listener, when others should not, or when a client's socket
//! was full. It is one thread for all clients of the listener, however many there are.
//!
//! ```text
//!   after a commit ── orders ──▶ writer ──▶ each queue: put, flush
//!                                  │ ▲
//!                                  └─┴── poll: sockets that were full, and clients that nobody reads from
//! ```

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rustix::event::{PollFd, PollFlags};

use super::client_orders::{ClientOrders, WriterOrder};
use super::client_queue::{ClientQueue, ClientWriterHandle, Flushed};
use super::deadline::Deadline;
use super::readiness::wait_until_ready;
use super::wakeup::Wakeup;
use crate::base::clock;
use crate::base::thread::{self, JoinHandle};

/// The writer of a listener. When it is dropped it ends the answers that it still sends, and its thread is joined.
pub(crate) struct ClientWriter {
    handle: ClientWriterHandle,
    /// `None` only while it is being dropped.
    thread: Option<JoinHandle>,
}

impl ClientWriter {
    /// Starts the thread. A client that takes nothing of what waits for it for `stall` is disconnected; `drain` is how long
    /// the clients have, when the writer ends, to take what waits.
    pub(crate) fn start(name: &str, stall: Duration, drain: Duration) -> io::Result<Self> {
        let wakeup = Wakeup::new()?;
        let (handle, orders) = ClientOrders::new(&wakeup);
        let writer = Writer { orders, wakeup, watched: Vec::new(), stall, drain };
        let thread = Some(thread::spawn(name, move || writer.run())?);
        Ok(Self { handle, thread })
    }

    pub(crate) fn handle(&self) -> ClientWriterHandle {
        self.handle.clone()
    }
}

impl Drop for ClientWriter {
    fn drop(&mut self) {
        self.handle.end();
        if let Some(thread) = self.thread.take() {
            // A panic was logged by the thread itself.
            let _ = thread.join();
        }
    }
}

struct Writer {
    orders: Receiver<WriterOrder<ClientQueue>>,
    wakeup: Arc<Wakeup>,
    watched: Vec<Watched>,
    stall: Duration,
    drain: Duration,
}

/// A client that the writer watches: its socket was full, or nobody else reads from it.
struct Watched {
    queue: Arc<ClientQueue>,
    socket: Arc<TcpStream>,
    is_blocked: bool,
    /// Since when.
    since: Instant,
    /// Whether its end is to be noticed here.
    is_written_only: bool,
}

impl Watched {
    /// Since when its client has taken nothing of what waits, if something waits.
    fn waits_since(&self) -> Option<Instant> {
        self.is_blocked.then(|| self.queue.moved().map_or(self.since, |moved| moved.max(self.since)))
    }
}

impl Writer {
    fn run(mut self) {
        while self.carry_out() {
            self.wait(self.next_look());
        }
        self.end();
    }

    /// Carries out the orders that were given; `false` if nothing follows.
    fn carry_out(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                WriterOrder::Flush(queues) => queues.into_iter().for_each(|queue| self.send(queue)),
                WriterOrder::End => return false,
            }
        }
        true
    }

    /// Sends what waits in a queue, and watches it if that was not all, or if nobody else would notice its end.
    fn send(&mut self, queue: Arc<ClientQueue>) {
        let flushed = queue.send_what_waits();
        let at = self.watched.iter().position(|watched| Arc::ptr_eq(&watched.queue, &queue));
        match (flushed, at) {
            (Flushed::Over, _) => {
                at.into_iter().for_each(|at| _ = self.watched.swap_remove(at));
                queue.tell_over();
            }
            (flushed, Some(at)) => self.settle(at, flushed),
            (flushed, None) => {
                let is_blocked = flushed == Flushed::Blocked;
                if let Some((socket, is_written_only)) = queue.socket().filter(|(_, it)| is_blocked || *it) {
                    let (socket, since) = (Arc::clone(socket), clock::now());
                    self.watched.push(Watched { queue, socket, is_blocked, since, is_written_only });
                }
            }
        }
    }

    /// Goes on watching a queue, or not, after something of it was sent.
    fn settle(&mut self, at: usize, flushed: Flushed) {
        let watched = &mut self.watched[at];
        let is_blocked = flushed == Flushed::Blocked;
        if is_blocked && !watched.is_blocked {
            watched.since = clock::now();
        }
        watched.is_blocked = is_blocked;
        if flushed == Flushed::Over {
            self.watched.swap_remove(at).queue.tell_over();
        } else if !watched.is_blocked && !watched.is_written_only {
            self.watched.swap_remove(at);
        }
    }

    /// How long the writer may wait: until the first client has taken nothing for too long.
    fn next_look(&self) -> Option<Duration> {
        let until = self.watched.iter().filter_map(Watched::waits_since).min()? + self.stall;
        Some(Deadline::at(until).left().unwrap_or_default())
    }

    /// Waits until there are orders, a client can take more, or one is gone, and does what is due then.
    fn wait(&mut self, at_most: Option<Duration>) {
        let interest = |watched: &Watched| {
            let room = if watched.is_blocked { PollFlags::OUT } else { PollFlags::empty() };
            let gone = if watched.is_written_only { PollFlags::RDHUP } else { PollFlags::empty() };
            room | gone
        };
        let mut sources = Vec::with_capacity(1 + self.watched.len());
        sources.push(PollFd::new(&*self.wakeup, PollFlags::IN));
        sources.extend(self.watched.iter().map(|watched| PollFd::new(&*watched.socket, interest(watched))));
        if let Err(error) = wait_until_ready(&mut sources, at_most) {
            log::error!("clients cannot be waited for: {error}");
        }
        let ready: Vec<PollFlags> = sources.iter().map(PollFd::revents).collect();
        if !ready[0].is_empty() {
            self.wakeup.reset();
        }
        let lost = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        // From the last one on: what is not watched any more leaves its place to the last one.
        for at in (0..self.watched.len()).rev() {
            let Watched { queue, is_written_only, .. } = &self.watched[at];
            let is_lost = *is_written_only && ready[at + 1].intersects(lost);
            let is_stalled = self.watched[at].waits_since().is_some_and(|since| clock::since(since) >= self.stall);
            if is_lost {
                self.watched.swap_remove(at).queue.cut();
            } else if !ready[at + 1].is_empty() {
                let flushed = queue.send_what_waits();
                self.settle(at, flushed);
            } else if is_stalled {
                self.watched.swap_remove(at).queue.cut();
            }
        }
    }

    /// Ends the answers that are still being sent, in an orderly way as far as their clients take what waits.
    fn end(mut self) {
        let deadline = Deadline::after(self.drain);
        let open: Vec<_> =
            self.watched.iter().filter(|it| it.is_written_only).map(|it| Arc::clone(&it.queue)).collect();
        for queue in open {
            queue.finish();
            self.send(queue);
        }
        while !self.watched.is_empty()
            && let Ok(left) = deadline.left()
        {
            self.wait(Some(self.next_look().map_or(left, |look| look.min(left))));
        }
        self.watched.drain(..).for_each(|watched| watched.queue.cut());
    }
}
