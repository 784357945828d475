//! An answer as the service gives it. One that would break the protocol cannot be built.

use std::net::TcpStream;
use std::sync::Arc;

use crate::net::{ClientQueue, ClientWriterHandle, TlsSession};

/// An answer for the client. The server itself frames it (`Content-Length`, `Transfer-Encoding`, `Connection`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireResponse {
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// What a service answers: all of it, or a head whose body is sent piece by piece.
pub(crate) struct WireAnswer {
    pub(crate) response: WireResponse,
    /// What the body is sent through, if it comes later. The body of the response is only the first piece of it then.
    pub(crate) stream: Option<StreamBody>,
}

impl From<WireResponse> for WireAnswer {
    fn from(response: WireResponse) -> Self {
        Self { response, stream: None }
    }
}

impl WireAnswer {
    /// The same answer with another head.
    pub(crate) fn map(self, change: impl FnOnce(WireResponse) -> WireResponse) -> Self {
        Self { response: change(self.response), ..self }
    }
}

/// The body of an answer that is sent piece by piece. If it is dropped before it begins, it is over.
pub(crate) struct StreamBody {
    queue: Arc<ClientQueue>,
    /// Called once when it is over.
    over: Option<Box<dyn FnOnce() + Send>>,
}

impl StreamBody {
    /// A body that is put into `queue`; `over` is called once when nothing more can be sent.
    pub(crate) fn new(queue: Arc<ClientQueue>, over: impl FnOnce() + Send + 'static) -> Self {
        Self { queue, over: Some(Box::new(over)) }
    }

    /// A piece of the body, as it is sent.
    pub(super) fn framed(&self, piece: Option<&[u8]>) -> Arc<[u8]> {
        piece.filter(|piece| !piece.is_empty()).map_or_else(|| Arc::from([]), |piece| self.queue.framed(piece))
    }

    /// The head was sent: what is put into the queue goes to `socket` from now on.
    pub(super) fn begin(mut self, socket: Arc<TcpStream>, tls: Option<Box<TlsSession>>, writer: ClientWriterHandle) {
        self.queue.connect(socket, tls, writer, self.over.take());
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        if let Some(over) = self.over.take() {
            self.queue.cut();
            over();
        }
    }
}

/// Why such an answer cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidResponse {
    #[error("status {0} is not one of an answer: it must lie within 200 and 599")]
    Status(u16),
    #[error("header name {0:?} is not a token")]
    HeaderName(String),
    #[error("the value of header {name} has the character {character:?}")]
    HeaderValue { name: String, character: char },
}

impl WireResponse {
    /// An answer of these parts. A status below 200 is refused: it is interim, and ends no exchange.
    pub(crate) fn new(
        status: u16,
        headers: Vec<(String, String)>,
        body: Option<Vec<u8>>,
    ) -> Result<Self, InvalidResponse> {
        if !(200..=599).contains(&status) {
            return Err(InvalidResponse::Status(status));
        }
        headers.iter().try_for_each(|(name, value)| check_header(name, value))?;
        Ok(Self { status, headers, body })
    }

    /// An answer of the runtime's own: a line of text, with headers that are valid.
    pub(crate) fn text(status: u16, line: &str, more: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut headers = vec![owned(&("Content-Type", "text/plain; charset=utf-8"))];
        headers.extend(more.iter().map(owned));
        Self::new(status, headers, Some(format!("{line}\n").into_bytes())).expect("our own answers are valid")
    }

    /// The same answer with this header, in place of any of that name. The header is a valid one.
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        debug_assert_eq!(check_header(name, value), Ok(()), "it is our own");
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same answer with one more header, which is a valid one.
    pub(crate) fn and_header(mut self, name: &str, value: &str) -> Self {
        debug_assert_eq!(check_header(name, value), Ok(()), "it is our own");
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same answer without the headers of this name.
    pub(crate) fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// The same answer with another body.
    pub(crate) fn with_body(self, body: Vec<u8>) -> Self {
        Self { body: Some(body), ..self }
    }

    /// The value of the first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// About how many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        headers + self.body.as_ref().map_or(0, Vec::len)
    }

    pub(crate) fn body(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }
}

fn check_header(name: &str, value: &str) -> Result<(), InvalidResponse> {
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        return Err(InvalidResponse::HeaderName(name.to_owned()));
    }
    match value.chars().find(|character| character.is_ascii_control() && *character != '\t') {
        Some(character) => Err(InvalidResponse::HeaderValue { name: name.to_owned(), character }),
        None => Ok(()),
    }
}

/// Whether a name of a header or a method may contain this byte: RFC 9110 §5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_header(name: &str, value: &str) -> Result<WireResponse, InvalidResponse> {
        WireResponse::new(200, vec![(name.to_owned(), value.to_owned())], None)
    }

    #[test]
    fn an_interim_or_impossible_status_makes_no_answer() {
        for status in [0, 99, 100, 101, 199, 600, 1000] {
            assert_eq!(WireResponse::new(status, Vec::new(), None), Err(InvalidResponse::Status(status)));
        }
        assert!(WireResponse::new(599, Vec::new(), None).is_ok());
    }

    #[test]
    fn a_header_that_would_split_the_answer_makes_none() {
        for value in ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b", "\x7f"] {
            assert!(matches!(with_header("X", value), Err(InvalidResponse::HeaderValue { .. })), "{value:?}");
        }
        for name in ["", "a b", "a:", "a\r\n", "ä"] {
            assert_eq!(with_header(name, "v"), Err(InvalidResponse::HeaderName(name.to_owned())));
        }
    }

    #[test]
    fn tabs_and_letters_of_other_languages_may_stand_in_a_value() {
        assert!(with_header("X-Note", "ein\tÄpfelchen").is_ok());
    }
}
