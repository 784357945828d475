//! TLS for tests: the certificates of `tests/tls`, and clients that trust them.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{PATIENCE, Stage};

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

pub fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)).expect(name)
}

/// Puts a certificate and its key where the manifests name them.
pub fn certify(stage: &Stage, name: &str) {
    for (from, to) in [(format!("{name}.pem"), "cert.pem"), (format!("{name}.key"), "key.pem")] {
        let new = stage.file(&format!("{to}.new"), file(&from));
        std::fs::rename(new, stage.path().join(to)).expect("renamed");
    }
}

/// A session that has sent nothing yet, with a server that has to be certified as `localhost` by the authority in this file.
pub fn session(address: SocketAddr, roots: &str) -> std::io::Result<Tls> {
    let mut store = RootCertStore::empty();
    let pem = file(roots);
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).map(|it| it.expect("a certificate")));
    let config = ClientConfig::builder().with_root_certificates(store).with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(StreamOwned::new(session, socket))
}

pub fn shake_hands(mut stream: Tls) -> std::io::Result<Tls> {
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

pub fn connect(address: SocketAddr, roots: &str) -> std::io::Result<Tls> {
    shake_hands(session(address, roots)?)
}
