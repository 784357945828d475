//! The management server: binding its address and its Unix socket, reading its certificate, and serving until it is
//! dropped.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::admission::{MOST_THREADS, ManagementAdmission, ManagementListener};
use super::answer_charge::ManagementBudget;
use super::auth::{Guard, WrongTokens};
use super::shared::ManagementShared;
use super::{ServerError, ServerOptions, TlsFiles};
use crate::base::limits::ManagementLimits;
use crate::net::{self, Acceptor, AcceptorHandle, CertificateError, ListenerClosing, ServerCertificate, ThreadNames};
use crate::system::TheaterHandle;

/// A listening management server. When it is dropped it closes every connection and joins every thread.
pub struct TheaterServer {
    address: Option<SocketAddr>,
    /// Dropped before the socket's file is removed.
    _acceptor: AcceptorHandle,
    socket: Option<SocketFile>,
}

/// A management server that has its address, its socket and its certificate, and accepts nobody yet.
pub struct BoundServer {
    tcp: Option<TcpListener>,
    unix: Option<(UnixListener, SocketFile)>,
    guard: Guard,
    tls: Option<Arc<ServerCertificate>>,
    limits: ManagementLimits,
}

impl BoundServer {
    /// Binds what `options` name, or says why that cannot be done. Port 0 stands for any free port.
    pub fn bind(options: ServerOptions) -> Result<Self, ServerError> {
        let ServerOptions { listen, socket, tls, control_token: control, read_token: read, limits } = options;
        let guard = Guard { control, read };
        let tls = tls.as_ref().map(certificate).transpose()?;
        let bind = |address: SocketAddr| {
            let open_to_all = guard.control.is_none() && guard.read.is_none();
            if !address.ip().is_loopback() && open_to_all {
                return Err(ServerError::Exposed(address));
            }
            if !address.ip().is_loopback() && tls.is_none() {
                log::warn!("the management server at {address} has no TLS: whoever sees the traffic sees the token");
            }
            net::bind(address).map_err(|error| ServerError::Bind { address, error })
        };
        let tcp = listen.map(bind).transpose()?;
        let unix = socket.as_deref().map(unix).transpose()?;
        Ok(Self { tcp, unix, guard, tls, limits })
    }

    /// Serves clients of `theater` from now on. Clients that have connected before have waited.
    pub fn serve(self, theater: TheaterHandle) -> Result<TheaterServer, ServerError> {
        let Self { tcp, unix, guard, tls, limits } = self;
        let address = tcp.as_ref().and_then(|listener| listener.local_addr().ok());
        let (unix, socket) = unix.unzip();
        let listeners = [tcp.map(ManagementListener::Tcp), unix.map(ManagementListener::Unix)];
        let shared = Arc::new(ManagementShared {
            theater: theater.clone(),
            guard,
            wrong_tokens: WrongTokens::default(),
            shortages: Mutex::default(),
            tls,
            answers: ManagementBudget::new(limits.answers_bytes),
            limits,
        });
        let (names, admission) = (ThreadNames { acceptor: "mgmt", suffix: "r" }, ManagementAdmission::new(shared));
        let listeners = listeners.into_iter().flatten().collect();
        let acceptor = Acceptor::new(&names, listeners, MOST_THREADS, ListenerClosing::default(), admission);
        let told = move |panicked| theater.thread_failed(panicked);
        let acceptor = acceptor.and_then(|acceptor| acceptor.start_vital(told)).map_err(ServerError::Thread)?;
        Ok(TheaterServer { address, _acceptor: acceptor, socket })
    }
}

impl TheaterServer {
    /// Binds, and serves at once.
    pub fn start(options: ServerOptions, theater: TheaterHandle) -> Result<Self, ServerError> {
        BoundServer::bind(options)?.serve(theater)
    }

    /// The address at which it listens over TCP, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The path of the Unix socket on which it listens, if it does.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_ref().map(|file| &*file.0)
    }
}

/// The file of the Unix socket, which is removed when this is dropped.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A socket at `path` that only this user may open. It is made under another name, and is given its own name once its
/// permissions are set, so that no other user can open it at any moment.
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

fn certificate(files: &TlsFiles) -> Result<Arc<ServerCertificate>, ServerError> {
    let read = ServerCertificate::read_or_receive(&files.certificate, &files.key);
    let read = read.map_err(|CertificateError { path, why }| ServerError::Tls { path, why })?;
    read.doubt().iter().for_each(|doubt| log::warn!("{doubt}"));
    Ok(Arc::new(read))
}
