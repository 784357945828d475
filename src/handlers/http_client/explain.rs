//! What a guest is told of an exchange that failed: which step, of what, and which limit or key would change it.

use std::fmt;
use std::io::ErrorKind;

use ureq::{Error, Timeout};

use super::target::Target;
use super::{Bounds, TIMED_OUT};

/// An error that is in words already, on its way through ureq.
#[derive(Debug)]
pub(super) struct Explained(String);

impl Explained {
    pub(super) fn error(why: String) -> Error {
        Error::Other(Box::new(Self(why)))
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Explained {}

/// `Error` may grow: what it may yet say is passed on in its own words.
pub(super) fn explain(error: Error, target: &Target, bounds: &Bounds) -> String {
    let place = target.place();
    match error {
        Error::Other(explained) => explained.to_string(),
        Error::Timeout(Timeout::Connect) => {
            format!(
                "connect timed out: {place} did not accept within connect_timeout_ms = {}",
                bounds.connect.as_millis()
            )
        }
        Error::Timeout(_) => timed_out(bounds),
        Error::Tls(why) => format!("TLS failed: {place}: {why}"),
        Error::Rustls(why) => format!("TLS failed: {place}: {why}"),
        // What rustls finds wrong in a handshake comes as an error of reading.
        Error::Io(why) if target.https && why.kind() == ErrorKind::InvalidData => format!("TLS failed: {place}: {why}"),
        Error::Io(why) => match why.kind() {
            ErrorKind::ConnectionRefused => format!("connection refused: nothing listens on {place}"),
            ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted => {
                format!("connection lost: {place} ended it before the response was complete")
            }
            _ => format!("connection failed: {place}: {why}"),
        },
        Error::LargeResponseHeader(..) => too_large("head", "http_head_bytes", bounds.head_bytes),
        Error::Protocol(ureq_says) => format!("not an HTTP response: {place}: {ureq_says}"),
        error => format!("{place}: {error}"),
    }
}

pub(super) fn timed_out(bounds: &Bounds) -> String {
    format!("{TIMED_OUT} {}", bounds.whole.as_millis())
}

pub(super) fn too_large(part: &str, limit: &str, bytes: u64) -> String {
    format!("the {part} of the response is larger than the limit {limit} = {bytes}")
}
