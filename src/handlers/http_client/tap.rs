//! The heads of an exchange as they go over the wire. ureq keeps headers in a map, which lower-cases their names and puts
//! those of one name together; a guest's are sent as it gave them, and it is shown those of the response as they were
//! sent.

use crossbeam_channel::{Receiver, Sender};
use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::outgoing::Given;
use crate::base::limits::HTTP_RESPONSE_HEADERS;

pub(super) type Headers = Vec<(String, String)>;

/// Stands at the end of the chain of connectors, behind TLS.
#[derive(Debug)]
pub(super) struct Tap {
    /// The guest's headers of the request that is to be sent next.
    pub(super) given: Receiver<Given>,
    pub(super) heads: Sender<Headers>,
}

impl<In: Transport> Connector<In> for Tap {
    type Out = Tapped<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Tapped<In>>, Error> {
        Ok(chained.map(|inner| Tapped { inner, given: self.given.try_recv().ok(), heads: Some(self.heads.clone()) }))
    }
}

/// One connection, which serves one request.
#[derive(Debug)]
pub(super) struct Tapped<In> {
    inner: In,
    /// Taken with the first bytes that are sent: ureq's buffer has room for the whole head.
    given: Option<Given>,
    /// Taken with the head it was for.
    heads: Option<Sender<Headers>>,
}

impl<In: Transport> Transport for Tapped<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if let Some(given) = self.given.take() {
            write_as_given(&mut self.inner.buffers().output()[..amount], &given);
        }
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

/// Writes into a head the guest's headers as they were given: behind those that this end adds, in their order, each name
/// in its own letters. They are the same bytes in another order, so that the head keeps its length.
fn write_as_given(head: &mut [u8], given: &Given) {
    let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return };
    let is_given = |line: &[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        given.iter().any(|(given, _)| given.as_bytes().eq_ignore_ascii_case(name))
    };
    let mut lines = head[..end + 2].split_inclusive(|byte| *byte == b'\n');
    let mut again: Vec<u8> = lines.next().unwrap_or_default().to_vec();
    lines.filter(|line| !is_given(line)).for_each(|line| again.extend_from_slice(line));
    for (name, value) in given {
        again.extend_from_slice(name.as_bytes());
        again.extend_from_slice(b": ");
        again.extend_from_slice(value.as_bytes());
        again.extend_from_slice(b"\r\n");
    }
    if again.len() == end + 2 {
        head[..end + 2].copy_from_slice(&again);
    }
}

/// The headers of the first head that is not an interim one, once it is complete.
fn final_head(mut input: &[u8]) -> Option<Headers> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HTTP_RESPONSE_HEADERS];
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
    fn a_guests_headers_are_sent_as_it_gave_them_behind_what_this_end_adds() {
        let given = [("X-B", "1"), ("Accept", "a"), ("x-b", "2"), ("ACCEPT", "b")];
        let given: Given =
            given.map(|(name, value)| (name.to_owned(), ureq::http::HeaderValue::from_static(value))).to_vec();
        let mut head =
            *b"GET / HTTP/1.1\r\nhost: h\r\nx-b: 1\r\nx-b: 2\r\naccept: a\r\naccept: b\r\nuser-agent: t\r\n\r\nX-B: body";
        write_as_given(&mut head, &given);
        let sent =
            "GET / HTTP/1.1\r\nhost: h\r\nuser-agent: t\r\nX-B: 1\r\nAccept: a\r\nx-b: 2\r\nACCEPT: b\r\n\r\nX-B: body";
        assert_eq!(std::str::from_utf8(&head), Ok(sent));
    }

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
