//! Admission of management clients: who gets a thread, who is disconnected for others, and who is refused.
//!
//! The Unix socket has a bound of its own. So the user who runs the runtime gets in, however many clients come over
//! TCP.

use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::connection::{no_thread, serve};
use super::frame;
use super::shared::ManagementShared;
use super::transport::Socket;
use crate::base::fail;
use crate::net::{Admission, Attention, ConnectionThreads, Listen};

/// A socket on which management clients connect.
pub(super) enum ManagementListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl AsFd for ManagementListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl Listen for ManagementListener {
    type Client = Socket;

    fn accept_one(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => listener.accept().map(|(stream, _)| Socket::Tcp(stream)),
            Self::Unix(listener) => listener.accept().map(|(stream, _)| Socket::Unix(stream)),
        }
    }
}

/// Decides about the clients of the management server.
pub(super) struct ManagementAdmission {
    shared: Arc<ManagementShared>,
    /// How many clients were let in so far.
    admitted: u64,
}

/// A management connection, as the acceptor knows it.
pub(super) struct ManagementConnection {
    /// A second handle of its socket, to disconnect it.
    control: Socket,
    /// The number of the listener by which it came.
    listener: usize,
    /// How many clients were let in before it.
    order: u64,
    /// Whether it has sent a command that it may send.
    was_heard: Arc<AtomicBool>,
    /// Whether it was disconnected for another, so that it does not count any more.
    is_dismissed: bool,
}

type ManagementThreads = ConnectionThreads<ManagementConnection>;

/// Enough for the clients of both listeners, and for those that were disconnected and whose threads have not ended yet.
pub(super) const MOST_THREADS: usize = usize::MAX;

impl ManagementAdmission {
    pub(super) fn new(shared: Arc<ManagementShared>) -> Self {
        Self { shared, admitted: 0 }
    }

    /// Starts the thread of a client. Over TCP it has to give a token, if there is one; who may open the Unix socket
    /// may do everything.
    fn start(&mut self, socket: Socket, listener: usize, threads: &mut ManagementThreads) -> io::Result<()> {
        socket.prepare()?;
        let was_heard = Arc::new(AtomicBool::new(false));
        let connection = ManagementConnection {
            control: socket.duplicate()?,
            listener,
            order: self.admitted,
            was_heard: Arc::clone(&was_heard),
            is_dismissed: false,
        };
        self.admitted += 1;
        let shared = Arc::clone(&self.shared);
        let served = threads.start(socket.peer(), connection, move |number| serve(number, socket, &shared, &was_heard));
        served.map_err(|(error, connection)| {
            connection.control.say_and_close(&no_thread(&error));
            error
        })
    }
}

impl Admission for ManagementAdmission {
    type Listener = ManagementListener;
    type Connection = ManagementConnection;

    /// All connections are cut off at once; then there is nothing to wait for before force.
    fn drain_time(&self) -> Duration {
        Duration::ZERO
    }

    fn look_after(&mut self, _threads: &mut ManagementThreads) -> Attention {
        Attention { takes_clients: true, at_most: None }
    }

    fn clients_wanted(&mut self, _at: usize, _threads: &mut ManagementThreads) -> usize {
        usize::MAX
    }

    fn admit(&mut self, socket: Socket, at: usize, threads: &mut ManagementThreads) {
        fail::point("admitting");
        let limit = self.shared.limits.connections;
        let count = threads.iter().filter(|(_, connection)| connection.counts_at(at)).count();
        if count >= limit && !dismiss_silent(at, threads) {
            return refuse(socket, limit);
        }
        if let Err(error) = self.start(socket, at, threads) {
            log::debug!("a management connection cannot be served: {error}");
        }
    }

    fn close(&mut self, threads: &mut ManagementThreads) {
        threads.iter().for_each(|(_, connection)| connection.hang_up());
    }

    /// If an actor works on a command, the server waits for that, because nothing here can stop the actor.
    fn close_by_force(&mut self, _threads: &mut ManagementThreads) {}
}

impl ManagementConnection {
    /// Whether it counts among the connections of the listener numbered `at`.
    fn counts_at(&self, at: usize) -> bool {
        self.listener == at && !self.is_dismissed
    }

    /// Shuts the connection down, which ends its threads.
    fn hang_up(&self) {
        self.control.shut(Shutdown::Both);
    }
}

/// Disconnects the client that has been connected for the longest time without sending a command. Returns false if
/// every client has sent one.
fn dismiss_silent(at: usize, threads: &mut ManagementThreads) -> bool {
    let silent = |connection: &&mut ManagementConnection| {
        connection.counts_at(at) && !connection.was_heard.load(Ordering::Relaxed)
    };
    let Some(oldest) = threads.iter_mut().filter(silent).min_by_key(|connection| connection.order) else {
        return false;
    };
    oldest.hang_up();
    oldest.is_dismissed = true;
    true
}

fn refuse(socket: Socket, limit: usize) {
    let message = format!("too many connections: the limit management_connections is {limit}");
    // The frame fits the socket's empty buffer. The client may be gone already.
    socket.say_and_close(&frame::encode_error(&message));
}
