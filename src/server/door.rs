//! The listeners' thread: it lets clients in, has those go who have said nothing where others need the room, and joins
//! those who have left.
//!
//! The Unix socket has room of its own, so that whoever runs the runtime gets in however many come over TCP.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::auth::{Guard, WrongTokens};
use super::budget::Budget;
use super::connection::{Connection, House};
use super::frame;
use super::transport::Socket;
use super::{ServerError, ServerOptions, TlsFiles, read_at_most};
use crate::base::fail;
use crate::base::limits::{ManagementLimits, PEM_BYTES};
use crate::base::seldom::Seldom;
use crate::base::thread::{self, JoinHandle};
use crate::system::TheaterHandle;

/// Connections that the system holds until they are let in.
const BACKLOG: i32 = 1_024;
/// Connections let in before those who left are joined.
const ADMITTED_AT_ONCE: usize = 64;

/// A listening management server. Dropping it closes every connection and joins every thread.
pub struct TheaterServer {
    address: Option<SocketAddr>,
    socket: Option<SocketFile>,
    bell: Arc<OwnedFd>,
    door: Option<JoinHandle>,
}

/// A server that has its address, its socket and its certificate, and takes nobody in yet.
pub struct BoundServer {
    tcp: Option<TcpListener>,
    unix: Option<(UnixListener, SocketFile)>,
    guard: Guard,
    tls: Option<Arc<rustls::ServerConfig>>,
    limits: ManagementLimits,
}

impl BoundServer {
    /// Takes what `options` say, or says what is in the way. Port 0 takes any free one.
    pub fn bind(options: ServerOptions) -> Result<Self, ServerError> {
        let ServerOptions { listen, socket, tls, control_token: control, read_token: read, limits } = options;
        let guard = Guard { control, read };
        let tls = tls.as_ref().map(server_config).transpose()?;
        let bind = |address: SocketAddr| {
            let open_to_all = guard.control.is_none() && guard.read.is_none();
            if !address.ip().is_loopback() && open_to_all {
                return Err(ServerError::Exposed(address));
            }
            if !address.ip().is_loopback() && tls.is_none() {
                log::warn!("the management server at {address} has no TLS: whoever sees the traffic sees the token");
            }
            tcp(address).map_err(|error| ServerError::Bind { address, error })
        };
        let tcp = listen.map(bind).transpose()?;
        let unix = socket.as_deref().map(unix).transpose()?;
        Ok(Self { tcp, unix, guard, tls, limits })
    }

    /// Takes in clients of `theater` from now on; those who came meanwhile have waited.
    pub fn serve(self, theater: TheaterHandle) -> Result<TheaterServer, ServerError> {
        let Self { tcp, unix, guard, tls, limits } = self;
        let address = tcp.as_ref().and_then(|listener| listener.local_addr().ok());
        let (unix, socket) = unix.unzip();
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| ServerError::Thread(error.into()))?);
        let (leave, left) = unbounded();
        let rooms = [tcp.map(Listener::Tcp), unix.map(Listener::Unix)];
        let rooms = rooms.into_iter().flatten().map(|listener| Room { listener, connections: BTreeMap::new() });
        let door = Door {
            house: Arc::new(House {
                theater,
                guard,
                wrong_tokens: WrongTokens::default(),
                shortages: Mutex::default(),
                tls,
                answers: Budget::new(limits.answers_bytes),
                limits,
            }),
            rooms: rooms.collect(),
            leaving: BTreeMap::new(),
            number: 0,
            shortages: Seldom::default(),
            bell: Arc::clone(&bell),
            leave,
            left,
        };
        let handle = door.house.theater.clone();
        let told = move |panicked| handle.thread_failed(panicked);
        let door = thread::spawn_vital("mgmt", move || door.run(), told).map_err(ServerError::Thread)?;
        Ok(TheaterServer { address, socket, bell, door: Some(door) })
    }
}

impl TheaterServer {
    /// Binds and serves at once.
    pub fn start(options: ServerOptions, theater: TheaterHandle) -> Result<Self, ServerError> {
        BoundServer::bind(options)?.serve(theater)
    }

    /// Where it listens over TCP, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The Unix socket it listens on, if it does.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_ref().map(|file| &*file.0)
    }
}

impl Drop for TheaterServer {
    fn drop(&mut self) {
        ring(&self.bell, CLOSE);
        if let Some(door) = self.door.take() {
            // Its panic was logged.
            let _ = door.join();
        }
    }
}

/// The socket's file, removed at the end.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed by someone else.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What the bell counts: one for someone who left, many for the end.
pub(super) const LEFT: u64 = 1;
const CLOSE: u64 = 1 << 40;

pub(super) fn ring(bell: &OwnedFd, count: u64) {
    // It can only fail where the count would overflow, and then it rings already.
    let _ = rustix::io::write(bell, &count.to_ne_bytes());
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => listener.accept().map(|(stream, _)| Socket::Tcp(stream)),
            Self::Unix(listener) => listener.accept().map(|(stream, _)| Socket::Unix(stream)),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// One listener and those it let in, oldest first.
struct Room {
    listener: Listener,
    connections: BTreeMap<u64, Connection>,
}

struct Door {
    house: Arc<House>,
    rooms: Vec<Room>,
    /// Cut off, and not ended yet.
    leaving: BTreeMap<u64, Connection>,
    number: u64,
    /// The system gives no more sockets or threads.
    shortages: Seldom,
    bell: Arc<OwnedFd>,
    leave: Sender<u64>,
    left: Receiver<u64>,
}

impl Door {
    fn run(mut self) {
        while !self.wait() {
            fail::point("admitting");
            self.join_who_left();
            for at in 0..self.rooms.len() {
                self.admit(at);
            }
        }
        let rooms = std::mem::take(&mut self.rooms);
        let all = rooms.into_iter().flat_map(|room| room.connections.into_values());
        let all: Vec<Connection> = all.chain(std::mem::take(&mut self.leaving).into_values()).collect();
        // All are cut off before any is waited for.
        all.iter().for_each(Connection::hang_up);
        all.into_iter().for_each(Connection::close);
    }

    /// Waits until there is something to do; `true` where that is to end.
    fn wait(&self) -> bool {
        let mut fds = vec![PollFd::new(&*self.bell, PollFlags::IN)];
        fds.extend(self.rooms.iter().map(|room| PollFd::from_borrowed_fd(room.listener.fd(), PollFlags::IN)));
        // An interrupted wait is as good as one that is over.
        let _ = poll(&mut fds, None);
        if !fds[0].revents().contains(PollFlags::IN) {
            return false;
        }
        let mut count = [0; 8];
        let _ = rustix::io::read(&*self.bell, &mut count);
        u64::from_ne_bytes(count) >= CLOSE
    }

    fn join_who_left(&mut self) {
        while let Ok(number) = self.left.try_recv() {
            let found = self.rooms.iter_mut().find_map(|room| room.connections.remove(&number));
            found.or_else(|| self.leaving.remove(&number)).into_iter().for_each(Connection::close);
        }
    }

    fn admit(&mut self, at: usize) {
        for _ in 0..ADMITTED_AT_ONCE {
            let socket = match self.rooms[at].listener.accept() {
                Ok(socket) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.shortages.warn(format_args!("cannot accept a management connection: {error}"));
                    // The usual cause is that no more files may be open: trying again at once would find the same.
                    std::thread::sleep(Duration::from_millis(50));
                    return;
                }
            };
            let limit = self.house.limits.connections;
            if self.rooms[at].connections.len() >= limit && !self.make_room(at) {
                refuse(socket, limit);
                continue;
            }
            self.number += 1;
            let farewell = (self.leave.clone(), Arc::clone(&self.bell));
            match Connection::start(self.number, socket, Arc::clone(&self.house), farewell) {
                Ok(connection) => _ = self.rooms[at].connections.insert(self.number, connection),
                Err(error) => {
                    self.shortages.warn(format_args!("cannot serve a management connection: {error}"));
                }
            }
        }
    }

    /// Whoever has been there longest without a word goes.
    fn make_room(&mut self, at: usize) -> bool {
        let room = &mut self.rooms[at];
        let silent = room.connections.iter().find(|(_, connection)| !connection.was_heard());
        let Some(number) = silent.map(|(number, _)| *number) else { return false };
        let connection = room.connections.remove(&number).expect("just found");
        connection.hang_up();
        self.leaving.insert(number, connection);
        true
    }
}

fn refuse(socket: Socket, limit: usize) {
    let message = format!("too many connections: the limit management_connections is {limit}");
    let frame = frame::encode_error(&message);
    // It fits the socket's empty buffer; the client may be gone already.
    socket.say_and_close(&frame);
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A socket at `path` that this user alone may open. It is made under another name and given its own once that is so.
fn unix(path: &Path) -> Result<(UnixListener, SocketFile), ServerError> {
    let refused = |why: String| ServerError::Socket { path: path.to_owned(), why };
    let failed = |error: io::Error| refused(error.to_string());
    if let Ok(there) = std::fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            return Err(refused("there is something else at this path".into()));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(refused("another runtime listens on it".into()));
        }
    }
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    let new = PathBuf::from(new);
    let _ = std::fs::remove_file(&new);
    let listener = UnixListener::bind(&new).map_err(failed)?;
    let made = std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&new, path))
        .and_then(|()| listener.set_nonblocking(true));
    if let Err(error) = made {
        let _ = std::fs::remove_file(&new);
        return Err(failed(error));
    }
    Ok((listener, SocketFile(path.to_owned())))
}

fn server_config(files: &TlsFiles) -> Result<Arc<rustls::ServerConfig>, ServerError> {
    let TlsFiles { certificate, key } = files;
    let refused = |path: &Path, why: String| ServerError::Tls { path: path.to_owned(), why };
    let read = |path: &Path| read_at_most(PEM_BYTES, path).map_err(|why| refused(path, why));
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&read(certificate)?).collect();
    let chain = chain.map_err(|error| refused(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(refused(certificate, "there is no certificate in it".into()));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| match error {
        pem::Error::NoItemsFound => refused(key, "there is no private key in it".into()),
        other => refused(key, other.to_string()),
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| refused(certificate, error.to_string()))?;
    Ok(Arc::new(config))
}
