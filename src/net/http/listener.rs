//! An HTTP listener as its owner holds it: first bound, then serving until it is dropped.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use crate::net::{Acceptor, AcceptorHandle, ClientWriter, ServerCertificate, ThreadNames, bind};

use super::admission::HttpAdmission;
use super::limits::HttpLimits;
use super::refusal::OnRefusal;
use super::shared::{HttpShared, Service};
use super::upload::UploadPlace;

/// A listener that serves. When it is dropped it closes: first the connections that have a thread end, then the answers that
/// are sent piece by piece.
pub(crate) struct ServingHttp {
    /// Dropped first: as long as somebody holds the socket, clients can connect.
    socket: Arc<TcpListener>,
    _acceptor: AcceptorHandle,
    _writer: Option<ClientWriter>,
}

/// A bound address. Clients may connect already; they wait, because nobody accepts them yet.
pub(crate) struct HttpListener {
    socket: Arc<TcpListener>,
    tls: Option<ServerCertificate>,
    uploads: Option<Arc<dyn UploadPlace>>,
    on_refusal: Option<OnRefusal>,
}

impl ServingHttp {
    /// The socket, for a listener that takes it over.
    pub(crate) fn socket(&self) -> Arc<TcpListener> {
        Arc::clone(&self.socket)
    }
}

impl HttpListener {
    /// Binds `address`; port 0 stands for any free port.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        bind(address).map(|socket| Self::on(Arc::new(socket)))
    }

    /// Takes over the socket of another listener, which closes.
    pub(crate) fn on(socket: Arc<TcpListener>) -> Self {
        Self { socket, tls: None, uploads: None, on_refusal: None }
    }

    /// Speaks TLS with its clients, if there is a certificate.
    pub(crate) fn secured(self, tls: Option<ServerCertificate>) -> Self {
        Self { tls, ..self }
    }

    /// Takes bodies that are too large for memory to files, if there is a place for them.
    pub(crate) fn uploading(self, uploads: Option<Arc<dyn UploadPlace>>) -> Self {
        Self { uploads, ..self }
    }

    /// Tells of each request that does not reach the service.
    pub(crate) fn telling_of_refusals(self, on_refusal: OnRefusal) -> Self {
        Self { on_refusal: Some(on_refusal), ..self }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers requests by `service` from now on. The acceptor's thread is called `thread_name`; the threads of the
    /// connections have the same name with a number after it. What is returned must not be dropped by the service
    /// itself.
    /// `streams` says whether the service may give answers that are sent piece by piece.
    pub(crate) fn serve(
        self,
        thread_name: &str,
        limits: HttpLimits,
        service: Service,
        streams: bool,
    ) -> io::Result<ServingHttp> {
        let most_threads = limits.connections.max(1);
        let (name, stall, drain) = (format!("{thread_name}-w"), limits.write_timeout, limits.drain_timeout);
        let writer = streams.then(|| ClientWriter::start(&name, stall, drain)).transpose()?;
        let handle = writer.as_ref().map(ClientWriter::handle);
        let mut shared = HttpShared::new(limits, self.tls, self.uploads, service, handle);
        shared.on_refusal = self.on_refusal;
        let shared = Arc::new(shared);
        let (names, closing) = (ThreadNames { acceptor: thread_name, suffix: "" }, shared.closing.clone());
        let socket = Arc::clone(&self.socket);
        let acceptor = Acceptor::new(&names, vec![self.socket], most_threads, closing, HttpAdmission::new(shared))?;
        Ok(ServingHttp { socket, _acceptor: acceptor.start()?, _writer: writer })
    }
}
