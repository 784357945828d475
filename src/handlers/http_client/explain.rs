//! The text that a guest gets when its exchange failed: which step failed, with which server, and which limit or which
//! key of the configuration would change that.

use std::io::{self, ErrorKind};

use super::bounds::Bounds;
use super::http_url::HttpUrl;

/// Why an exchange has no response.
#[derive(Debug)]
pub(super) enum ExchangeFailure {
    /// The text gives the reason.
    Said(String),
    ConnectTimeout,
    Timeout,
    /// Nobody waits for the response any more.
    GivenUp,
    Tls(rustls::Error),
    Io(io::Error),
    /// The connection ended before the response did. The status is given if it had come before all of the request was
    /// sent.
    Lost(Option<u16>),
    HeadTooLarge,
    BodyTooLarge,
    NotHttp(String),
}

impl From<io::Error> for ExchangeFailure {
    fn from(error: io::Error) -> Self {
        // An error that rustls finds comes as an error of reading.
        match error.downcast::<rustls::Error>() {
            Ok(wrong) => Self::Tls(wrong),
            Err(error) => Self::Io(error),
        }
    }
}

pub(super) fn explain(failure: ExchangeFailure, target: &HttpUrl, bounds: &Bounds) -> String {
    let place = target.place();
    match failure {
        ExchangeFailure::Said(why) => why,
        ExchangeFailure::ConnectTimeout => {
            let ms = bounds.connect.as_millis();
            format!("connect timed out: {place} did not accept within connect_timeout_ms = {ms}")
        }
        ExchangeFailure::Timeout | ExchangeFailure::GivenUp => timed_out(bounds),
        ExchangeFailure::Tls(why) => format!("TLS failed: {place}: {why}"),
        ExchangeFailure::Io(why) => match why.kind() {
            ErrorKind::ConnectionRefused => format!("connection refused: nothing listens on {place}"),
            kind if is_lost(kind) => lost(&place),
            _ => format!("connection failed: {place}: {why}"),
        },
        ExchangeFailure::Lost(None) => lost(&place),
        ExchangeFailure::Lost(Some(status)) => {
            format!("{}; before it had taken the request, it had answered with status {status}", lost(&place))
        }
        ExchangeFailure::HeadTooLarge => too_large("head", "http_head_bytes", bounds.head_bytes),
        ExchangeFailure::BodyTooLarge => too_large("body", "http_body_bytes", bounds.body_bytes),
        ExchangeFailure::NotHttp(why) => format!("not an HTTP response: {place}: {why}"),
    }
}

/// Whether this error means that the other side has ended the connection.
pub(super) fn is_lost(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, UnexpectedEof | ConnectionReset | BrokenPipe | ConnectionAborted)
}

const TIMED_OUT: &str = "timed out: no complete response within timeout_ms =";

fn lost(place: &str) -> String {
    format!("connection lost: {place} ended it before the response was complete")
}

pub(super) fn timed_out(bounds: &Bounds) -> String {
    format!("{TIMED_OUT} {}", bounds.whole.as_millis())
}

fn too_large(part: &str, limit: &str, bytes: u64) -> String {
    format!("the {part} of the response is larger than the limit {limit} = {bytes}")
}
