//! The acceptor: the thread of a listener. It accepts connections, backs off where the system has no descriptors left,
//! joins the threads of connections that have ended, and ends all connections when it closes.
//!
//! HTTP, WebSocket and management each decide by an [`Admission`] who is let in, who is refused, and who is
//! disconnected for others. Everything else is the same for all three, and is here.
//!
//! ```text
//!   clients ──> backlog (the system's) ──> acceptor ──> admission ──> a thread for the connection
//!                                             ^                                    │
//!                                             └────────── it has ended ────────────┘
//!   closing: admission ends what it can at once, waits for the rest until the drain deadline, then uses force
//! ```

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use crate::base::seldom::Seldom;
use crate::base::thread::{self, JoinHandle, ThreadPanicked};

use super::connection_threads::ConnectionThreads;
use super::deadline::Deadline;
use super::listener::BACKLOG;
use super::readiness::wait_until_ready;
use super::wakeup::Wakeup;

/// How long the acceptor pauses before it accepts again after the system had no descriptors left. It is also the least
/// time between two attempts to end the last connections by force.
const PAUSE: Duration = Duration::from_millis(100);
/// How many clients are accepted in a row before the acceptor does its other work again.
const ACCEPTED_AT_ONCE: usize = 64;

/// A socket on which clients connect.
pub(crate) trait Listen: AsFd + Send + 'static {
    /// What accepting gives.
    type Client;

    /// Accepts one client; an error of the kind [`ErrorKind::WouldBlock`] where there is none.
    fn accept_one(&self) -> io::Result<Self::Client>;

    /// Whether somebody else accepts clients on it after this listener has closed.
    fn is_handed_over(&self) -> bool {
        false
    }
}

/// Two listeners share a socket while the first hands it over to the second.
impl Listen for Arc<TcpListener> {
    type Client = (TcpStream, SocketAddr);

    fn accept_one(&self) -> io::Result<Self::Client> {
        self.accept()
    }

    fn is_handed_over(&self) -> bool {
        Arc::strong_count(self) > 1
    }
}

/// What is kept of a connection that has a thread, by its listener's admission.
type ThreadsOf<A> = ConnectionThreads<<A as Admission>::Connection>;
type ClientOf<A> = <<A as Admission>::Listener as Listen>::Client;

/// Decides who is let in, who is refused, and who is disconnected for others. Only the acceptor's thread calls it.
pub(crate) trait Admission: Send + 'static {
    type Listener: Listen;
    /// What is kept of a connection that has a thread.
    type Connection: Send;

    /// How long a closing listener waits for its connections before it ends them by force.
    fn drain_time(&self) -> Duration;

    /// Does the work that is due now, and returns what the acceptor waits for next. Called whenever the acceptor is
    /// awake, also while it closes.
    fn look_after(&mut self, threads: &mut ThreadsOf<Self>) -> Attention;

    /// How many clients of the listener numbered `at` the acceptor is to accept now. Called only if at least one client
    /// waits to be accepted there.
    fn clients_wanted(&mut self, at: usize, threads: &mut ThreadsOf<Self>) -> usize;

    /// Takes a client of the listener numbered `at`: starts its thread, has it wait, or refuses it.
    fn admit(&mut self, client: ClientOf<Self>, at: usize, threads: &mut ThreadsOf<Self>);

    /// The sockets of clients without a thread that have said nothing; the acceptor wakes when one of them does.
    fn silent(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// The clients at these places of [`silent`](Self::silent) have said something.
    fn clients_spoke(&mut self, _places: &[usize]) {}

    /// The thread of this connection has ended.
    fn connection_ended(&mut self, _connection: Self::Connection) {}

    /// The system has no descriptors left: asks a connection that is of little use to end. By default no connection is
    /// asked.
    fn free_a_descriptor(&mut self, _threads: &mut ThreadsOf<Self>) {}

    /// Ends what can be ended at once, because the listener closes.
    fn close(&mut self, threads: &mut ThreadsOf<Self>);

    /// Refuses a client that had connected when the listener closed. By default its connection is dropped.
    fn refuse_at_close(&mut self, _client: ClientOf<Self>) {}

    /// Ends everything that can be ended, because the drain deadline has passed.
    fn close_by_force(&mut self, threads: &mut ThreadsOf<Self>);

    /// Whether clients without a thread wait.
    fn has_waiting_clients(&self) -> bool {
        false
    }
}

/// What the acceptor waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention {
    /// Whether clients are to be accepted. While they are not, they wait in the backlog.
    pub(crate) takes_clients: bool,
    /// The longest time to wait, if some work is due after that time even if nothing happens.
    pub(crate) at_most: Option<Duration>,
}

/// Tells all threads of a listener that it closes. A clone is the same flag.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenerClosing(Arc<AtomicBool>);

impl ListenerClosing {
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What the threads of a listener are called.
pub(crate) struct ThreadNames<'a> {
    /// The acceptor's name, and how the names of its connections' threads begin.
    pub(crate) acceptor: &'a str,
    /// How the names of the connections' threads end, after a number.
    pub(crate) suffix: &'static str,
}

/// An acceptor that is ready to be started.
pub(crate) struct Acceptor<A: Admission> {
    name: String,
    listeners: Vec<A::Listener>,
    admission: A,
    threads: ThreadsOf<A>,
    closing: ListenerClosing,
    wakeup: Arc<Wakeup>,
    /// Limits how often the log says that the system has no descriptors left.
    shortages: Seldom,
}

/// A listener whose acceptor runs. When it is dropped it accepts no more clients, ends its connections, and joins every
/// thread. A thread of one of these connections must not drop it.
pub(crate) struct AcceptorHandle {
    closing: ListenerClosing,
    wakeup: Arc<Wakeup>,
    /// `None` only while it is being dropped.
    thread: Option<JoinHandle>,
}

impl Drop for AcceptorHandle {
    fn drop(&mut self) {
        self.closing.begin();
        self.wakeup.wake();
        if let Some(thread) = self.thread.take() {
            // A panic was logged by the thread itself.
            let _ = thread.join();
        }
    }
}

impl<A: Admission> Acceptor<A> {
    /// An acceptor of `listeners`, whose connections have at most `most_threads` threads. `closing` is the flag that
    /// the connections look at.
    pub(crate) fn new(
        names: &ThreadNames<'_>,
        listeners: Vec<A::Listener>,
        most_threads: usize,
        closing: ListenerClosing,
        admission: A,
    ) -> io::Result<Self> {
        let wakeup = Wakeup::new()?;
        let threads = ConnectionThreads::new(names.acceptor, names.suffix, most_threads, Arc::clone(&wakeup));
        let (name, shortages) = (names.acceptor.to_owned(), Seldom::default());
        Ok(Self { name, listeners, admission, threads, closing, wakeup, shortages })
    }

    /// Starts the acceptor's thread.
    pub(crate) fn start(self) -> io::Result<AcceptorHandle> {
        self.start_by(thread::spawn)
    }

    /// Starts the acceptor's thread, one that the process cannot do without: `told` is called when that thread ends.
    pub(crate) fn start_vital(
        self,
        told: impl FnOnce(Option<ThreadPanicked>) + Send + 'static,
    ) -> io::Result<AcceptorHandle> {
        self.start_by(|name, body| thread::spawn_vital(name, body, told))
    }

    fn start_by(
        self,
        spawn: impl FnOnce(&str, Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle>,
    ) -> io::Result<AcceptorHandle> {
        let (closing, wakeup, name) = (self.closing.clone(), Arc::clone(&self.wakeup), self.name.clone());
        let thread = spawn(&name, Box::new(move || self.run()))?;
        Ok(AcceptorHandle { closing, wakeup, thread: Some(thread) })
    }

    fn run(mut self) {
        while !self.closing.has_begun() {
            self.collect_ended();
            let attention = self.admission.look_after(&mut self.threads);
            for at in self.wait(attention) {
                self.accept(at);
            }
        }
        self.drain();
    }

    fn collect_ended(&mut self) {
        let admission = &mut self.admission;
        self.threads.collect_ended(|connection| admission.connection_ended(connection));
    }

    /// Waits until the acceptor is woken, a waiting client says something, or clients connect, if they are to be
    /// accepted. Returns the numbers of the listeners at which clients are.
    fn wait(&mut self, Attention { takes_clients, at_most }: Attention) -> Vec<usize> {
        let silent = self.admission.silent();
        let for_clients = if takes_clients { PollFlags::IN } else { PollFlags::empty() };
        let mut sources = Vec::with_capacity(1 + self.listeners.len() + silent.len());
        sources.push(PollFd::new(&*self.wakeup, PollFlags::IN));
        sources.extend(self.listeners.iter().map(|listener| PollFd::new(listener, for_clients)));
        sources.extend(silent.iter().map(|socket| PollFd::from_borrowed_fd(*socket, PollFlags::IN)));
        if wait_until_ready(&mut sources, at_most).is_err() {
            return Vec::new();
        }
        let ready: Vec<bool> = sources.iter().map(|source| !source.revents().is_empty()).collect();
        let (of_listeners, of_silent) = ready[1..].split_at(self.listeners.len());
        let places =
            |ready: &[bool]| ready.iter().enumerate().filter(|(_, is)| **is).map(|(at, _)| at).collect::<Vec<_>>();
        let spoken = places(of_silent);
        if !spoken.is_empty() {
            self.admission.clients_spoke(&spoken);
        }
        if ready[0] {
            self.wakeup.reset();
        }
        places(of_listeners)
    }

    fn accept(&mut self, at: usize) {
        let wanted = self.admission.clients_wanted(at, &mut self.threads);
        for _ in 0..wanted.min(ACCEPTED_AT_ONCE) {
            match self.listeners[at].accept_one() {
                Ok(client) => self.admission.admit(client, at, &mut self.threads),
                Err(error) if is_no_trouble(&error) => return,
                Err(error) => return self.back_off(&error),
            }
        }
    }

    /// The process or the system has no descriptors left. The usual cause is the bound on open files, so that trying
    /// again at once would fail again. A connection that ends frees one.
    fn back_off(&mut self, error: &io::Error) {
        self.shortages.warn(format_args!("{} cannot let clients in for now: {error}", self.name));
        self.admission.free_a_descriptor(&mut self.threads);
        self.wait(Attention { takes_clients: false, at_most: Some(PAUSE) });
    }

    /// Ends all connections: those that can be ended at once, and the others when they are done, or by force after the
    /// drain deadline. What no force ends (a request that an actor works on) is waited for.
    fn drain(mut self) {
        self.admission.close(&mut self.threads);
        for listener in self.listeners.iter().filter(|listener| !listener.is_handed_over()) {
            let late = (0..BACKLOG).map_while(|_| listener.accept_one().ok());
            late.for_each(|client| self.admission.refuse_at_close(client));
        }
        let deadline = Deadline::after(self.admission.drain_time());
        self.collect_ended();
        loop {
            let Attention { at_most, .. } = self.admission.look_after(&mut self.threads);
            if self.threads.is_empty() && !self.admission.has_waiting_clients() {
                return;
            }
            let left = deadline.left().unwrap_or_else(|_| {
                self.admission.close_by_force(&mut self.threads);
                PAUSE
            });
            self.wait(Attention {
                takes_clients: false,
                at_most: Some(at_most.map_or(left, |at_most| at_most.min(left))),
            });
            self.collect_ended();
        }
    }
}

/// Whether accepting failed for a reason that passes by itself: the client has gone already, a signal came, or there is
/// no client.
fn is_no_trouble(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::sync::atomic::AtomicUsize;

    use super::super::listener::bind;
    use super::*;

    /// Sends each client the number of its thread, and ends when the client does. Clients beyond the bound wait in the
    /// backlog.
    #[derive(Default)]
    struct Greeting {
        ended: Arc<AtomicUsize>,
    }

    impl Admission for Greeting {
        type Listener = Arc<TcpListener>;
        type Connection = Arc<TcpStream>;

        fn drain_time(&self) -> Duration {
            Duration::ZERO
        }

        fn look_after(&mut self, threads: &mut ThreadsOf<Self>) -> Attention {
            Attention { takes_clients: threads.room() > 0, at_most: None }
        }

        fn clients_wanted(&mut self, _at: usize, threads: &mut ThreadsOf<Self>) -> usize {
            threads.room()
        }

        fn admit(&mut self, (socket, peer): (TcpStream, SocketAddr), _at: usize, threads: &mut ThreadsOf<Self>) {
            let socket = Arc::new(socket);
            let greeting = move |socket: Arc<TcpStream>, number: usize| {
                (&*socket).write_all(&[number as u8]).expect("an open socket");
                let _ = (&*socket).read(&mut [0]);
            };
            let own = Arc::clone(&socket);
            threads.start(peer, socket, move |number| greeting(own, number)).expect("a thread");
        }

        fn connection_ended(&mut self, _connection: Arc<TcpStream>) {
            self.ended.fetch_add(1, Ordering::SeqCst);
        }

        fn close(&mut self, _threads: &mut ThreadsOf<Self>) {}

        fn refuse_at_close(&mut self, (mut socket, _): (TcpStream, SocketAddr)) {
            socket.write_all(b"!").expect("an open socket");
        }

        fn close_by_force(&mut self, threads: &mut ThreadsOf<Self>) {
            // This fails for a client that has gone already.
            threads.iter().for_each(|(_, socket)| _ = socket.shutdown(Shutdown::Both));
        }
    }

    fn said(client: &mut TcpStream) -> u8 {
        let mut said = [0];
        client.read_exact(&mut said).expect("a byte");
        said[0]
    }

    #[test]
    fn clients_beyond_the_bound_wait_for_a_thread_and_the_last_ones_are_refused_when_the_listener_closes() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (greeting, names) = (Greeting::default(), ThreadNames { acceptor: "greeting", suffix: "" });
        let ended = Arc::clone(&greeting.ended);
        let acceptor = Acceptor::new(&names, vec![Arc::new(listener)], 2, ListenerClosing::default(), greeting);
        let handle = acceptor.and_then(Acceptor::start).expect("a thread");
        let mut clients: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(address).expect("it listens")).collect();
        assert_eq!((said(&mut clients[0]), said(&mut clients[1])), (1, 2));
        clients.remove(0).shutdown(Shutdown::Both).expect("an open socket");
        assert_eq!(said(&mut clients[1]), 1, "the third client has the number of the first");
        drop(handle);
        assert_eq!(said(&mut clients[2]), b'!');
        assert_eq!(ended.load(Ordering::SeqCst), 3, "every thread was joined");
    }
}
