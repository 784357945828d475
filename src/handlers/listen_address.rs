//! Where a listener of an actor listens: host, port and certificate from the handler's configuration, and what to tell the person
//! who started the actor when that address cannot be used.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ActorRef;
use crate::manifest::{HandlerEntry, ManifestError};
use crate::net::{CertificateError, ServerCertificate, doubt_key};
use crate::system::{ActorInfo, Registry};

/// `host` and `port` of a handler's configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListenAddress {
    kind: &'static str,
    host: String,
    port: u16,
}

impl ListenAddress {
    /// The address of the handler `kind`. Without a host, only clients on this machine can connect.
    pub(super) fn new(kind: &'static str, host: Option<String>, port: u16) -> Self {
        Self { kind, host: host.unwrap_or_else(|| "127.0.0.1".to_owned()), port }
    }

    /// Has `serve` listen on the first address of the host. The error is for the person who started the actor.
    pub(super) fn listen<T>(
        &self,
        actor: &ActorRef,
        serve: impl FnOnce(SocketAddr) -> io::Result<T>,
    ) -> Result<T, String> {
        let address = self.resolve().map_err(|error| self.explain(&error, None))?;
        serve(address).map_err(|error| self.explain(&error, who_listens(&actor.theater.registry, address)))
    }

    fn resolve(&self) -> io::Result<SocketAddr> {
        let first = (self.host.as_str(), self.port).to_socket_addrs()?.next();
        first.ok_or_else(|| io::Error::other("the host has no address"))
    }

    fn explain(&self, error: &io::Error, neighbour: Option<String>) -> String {
        let Self { kind, host, port } = self;
        let remedy = match (error.kind(), neighbour) {
            (io::ErrorKind::AddrInUse, Some(neighbour)) => {
                format!("; {neighbour} listens there: stop it, or give another port (0 takes any free one)")
            }
            (io::ErrorKind::AddrInUse, None) => {
                "; stop what listens there, or give another port (0 takes any free one)".to_owned()
            }
            (io::ErrorKind::PermissionDenied, _) => "; ports below 1024 take a privilege: give a higher one".to_owned(),
            (io::ErrorKind::AddrNotAvailable, _) => {
                "; that is no address of this machine: leave out \"host\" for this machine alone, or \"0.0.0.0\" lets \
                 others in"
                    .to_owned()
            }
            // Of the last, the error itself says what to do: see `net::bind`.
            (io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory | io::ErrorKind::ResourceBusy, _) => String::new(),
            _ if host.parse::<std::net::IpAddr>().is_err() && host != "localhost" => {
                "; is \"host\" the name of this machine?".to_owned()
            }
            _ => String::new(),
        };
        let host = if host.is_empty() { "\"\"" } else { host };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("{kind} cannot listen on {host}:{port}: {error}{remedy}")
    }
}

/// `tls` of a handler's configuration, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of both files: { cert = \"cert.pem\", key = \"key.pem\" }")]
pub(super) struct TlsKeys {
    cert: Option<String>,
    key: Option<String>,
}

/// The files of a certificate and of its key, in PEM.
#[derive(Debug)]
pub(super) struct ListenerTls {
    cert: PathBuf,
    key: PathBuf,
}

impl ListenerTls {
    /// The files that the configuration names, from where the manifest lies.
    pub(super) fn of(entry: &HandlerEntry, keys: Option<TlsKeys>) -> Result<Option<Self>, ManifestError> {
        match keys {
            None => Ok(None),
            Some(TlsKeys { cert: Some(cert), key: Some(key) }) => {
                Ok(Some(Self { cert: entry.beside(&cert), key: entry.beside(&key) }))
            }
            Some(_) => {
                let why = "\"tls\" needs both files: tls = { cert = \"cert.pem\", key = \"key.pem\" }";
                Err(entry.error(why))
            }
        }
    }

    /// A warning about the key, if others can open it.
    pub(super) fn doubts(files: Option<&Self>) -> Vec<String> {
        files.and_then(|Self { key, .. }| doubt_key(key)).into_iter().collect()
    }

    /// Reads the files of the handler `kind`, if it speaks TLS. The error is for the person who started the actor.
    pub(super) fn read(files: Option<&Self>, kind: &str) -> Result<Option<ServerCertificate>, String> {
        let Some(Self { cert, key }) = files else { return Ok(None) };
        let refused = |path: &Path, why: &str| format!("{kind} cannot use {} for TLS: {why}", path.display());
        let read = ServerCertificate::read(cert, key);
        read.map(Some).map_err(|CertificateError { path, why }| refused(&path, &why))
    }
}

/// The actor of this runtime that listens at `address` already, if an actor does.
fn who_listens(registry: &Registry, address: SocketAddr) -> Option<String> {
    let is_in_the_way = |other: SocketAddr| {
        let (one, other_ip) = (address.ip(), other.ip());
        other.port() == address.port() && (one == other_ip || one.is_unspecified() || other_ip.is_unspecified())
    };
    let listens = |actor: &ActorInfo| actor.addresses.iter().any(|address| is_in_the_way(address.socket));
    registry.list().into_iter().find(listens).map(|actor| format!("actor \"{}\" ({})", actor.name, actor.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::bind;

    #[test]
    fn an_address_that_is_taken_is_named_with_what_to_do() {
        let taken = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        let address = ListenAddress::new("http-server", None, port);
        let why = address.resolve().and_then(bind).map_err(|error| address.explain(&error, None));
        let why = why.expect_err("it is taken");
        assert!(why.starts_with(&format!("http-server cannot listen on 127.0.0.1:{port}: ")), "{why}");
        assert!(why.contains("another port"), "{why}");
        let address = ListenAddress::new("http-server", Some("::1".into()), 80);
        let why = address.explain(&io::ErrorKind::PermissionDenied.into(), None);
        assert!(why.starts_with("http-server cannot listen on [::1]:80: "), "{why}");
        let why = address.explain(&io::ErrorKind::AddrNotAvailable.into(), None);
        assert!(why.contains("no address of this machine"), "{why}");
        let address = ListenAddress::new("http-server", Some(String::new()), 80);
        let why = address.explain(&io::Error::other("no such name"), None);
        assert!(why.contains("\"\":80: no such name; is \"host\" the name of this machine?"), "{why}");
    }
}
