//! The head of a response as it came over the wire. ureq keeps headers in a map, which lower-cases their names and
//! puts those of one name together; a guest is shown them as they were sent.

use crossbeam_channel::Sender;
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// As many headers as ureq takes.
const MOST_HEADERS: usize = 128;

pub(super) type Headers = Vec<(String, String)>;

/// Stands at the end of the chain of connectors, behind TLS.
#[derive(Debug)]
pub(super) struct Tap(pub(super) Sender<Headers>);

impl<In: Transport> Connector<In> for Tap {
    type Out = Tapped<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Tapped<In>>, Error> {
        Ok(chained.map(|inner| Tapped { inner, heads: Some(self.0.clone()) }))
    }
}

/// One connection, which serves one request.
#[derive(Debug)]
pub(super) struct Tapped<In> {
    inner: In,
    /// Taken with the head it was for.
    heads: Option<Sender<Headers>>,
}

impl<In: Transport> Transport for Tapped<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let came = self.inner.await_input(timeout)?;
        // ureq takes a head out of the buffer as a whole, so that the buffer begins with one.
        if self.heads.is_some()
            && let Some(headers) = final_head(self.inner.buffers().input())
            && let Some(heads) = self.heads.take()
        {
            // Nobody waits for it after the exchange was given up.
            let _ = heads.send(headers);
        }
        Ok(came)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// The headers of the first head that is not an interim one, once it is complete.
fn final_head(mut input: &[u8]) -> Option<Headers> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(input) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) | Err(_) => return None,
        };
        if response.code.is_some_and(|code| code < 200) {
            input = &input[length..];
            continue;
        }
        let text = |header: &httparse::Header<'_>| (header.name.to_owned(), value(header.value));
        return Some(response.headers.iter().map(text).collect());
    }
}

/// A value that is not UTF-8 is read as Latin-1.
pub(super) fn value(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_keep_their_order_their_duplicates_and_their_case() {
        let head =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: a\r\nX: y\r\nSet-Cookie: \xe9\r\n\r\nbody";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![pair("Set-Cookie", "a"), pair("X", "y"), pair("Set-Cookie", "\u{e9}")];
        assert_eq!(final_head(head), Some(headers));
        assert_eq!(final_head(b"HTTP/1.1 200 OK\r\nX: y\r\n"), None);
    }
}
