//! TLS for every listener: the certificate, which is read again when its files change, and the session of one connection.
//!
//! A session knows bytes and no socket: the connection's own reads and writes, with their deadlines, carry what it has
//! encrypted.

mod certificate;
mod session;

pub(crate) use certificate::{CertificateError, ServerCertificate, doubt_key, explain_pem};
pub(crate) use session::TlsSession;
