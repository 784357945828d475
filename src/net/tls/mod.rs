//! TLS for every listener: the certificate, which is read again when its files change, and the session of one connection. And for
//! every client: whose certificates it accepts.
//!
//! A session knows bytes and no socket: the connection's own reads and writes, with their deadlines, carry what it has
//! encrypted.

mod certificate;
mod client;
mod session;

pub(crate) use certificate::{CertificateError, ServerCertificate, doubt_key};
pub(crate) use client::{client_config, roots_in, well_known_roots};
pub(crate) use session::TlsSession;
