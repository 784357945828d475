//! What a guest is told of an exchange that failed: which step, of what, and which limit or key would change it.

use std::io::{self, ErrorKind};

use super::target::Target;
use super::{Bounds, TIMED_OUT};

/// Why an exchange came to no response.
#[derive(Debug)]
pub(super) enum Failure {
    /// In words already.
    Said(String),
    ConnectTimeout,
    Timeout,
    /// Nobody waits for it any more.
    GivenUp,
    Tls(rustls::Error),
    Io(io::Error),
    /// The connection ended before the response did; the status, where that had come before the request was sent.
    Lost(Option<u16>),
    HeadTooLarge,
    BodyTooLarge,
    NotHttp(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // What rustls finds wrong comes as an error of reading.
        match error.downcast::<rustls::Error>() {
            Ok(wrong) => Self::Tls(wrong),
            Err(error) => Self::Io(error),
        }
    }
}

pub(super) fn explain(failure: Failure, target: &Target, bounds: &Bounds) -> String {
    let place = target.place();
    match failure {
        Failure::Said(why) => why,
        Failure::ConnectTimeout => {
            let ms = bounds.connect.as_millis();
            format!("connect timed out: {place} did not accept within connect_timeout_ms = {ms}")
        }
        Failure::Timeout | Failure::GivenUp => timed_out(bounds),
        Failure::Tls(why) => format!("TLS failed: {place}: {why}"),
        Failure::Io(why) => match why.kind() {
            ErrorKind::ConnectionRefused => format!("connection refused: nothing listens on {place}"),
            kind if is_lost(kind) => lost(&place),
            _ => format!("connection failed: {place}: {why}"),
        },
        Failure::Lost(None) => lost(&place),
        Failure::Lost(Some(status)) => {
            format!("{}; before it had taken the request, it had answered with status {status}", lost(&place))
        }
        Failure::HeadTooLarge => too_large("head", "http_head_bytes", bounds.head_bytes),
        Failure::BodyTooLarge => too_large("body", "http_body_bytes", bounds.body_bytes),
        Failure::NotHttp(why) => format!("not an HTTP response: {place}: {why}"),
    }
}

/// Whether the other side has gone away.
pub(super) fn is_lost(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, UnexpectedEof | ConnectionReset | BrokenPipe | ConnectionAborted)
}

fn lost(place: &str) -> String {
    format!("connection lost: {place} ended it before the response was complete")
}

pub(super) fn timed_out(bounds: &Bounds) -> String {
    format!("{TIMED_OUT} {}", bounds.whole.as_millis())
}

fn too_large(part: &str, limit: &str, bytes: u64) -> String {
    format!("the {part} of the response is larger than the limit {limit} = {bytes}")
}
