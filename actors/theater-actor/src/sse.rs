//! Server-sent events: pieces of a stream that a browser reads by `EventSource`.

use std::fmt;

use crate::{HttpAnswer, StreamHead};

/// One server-sent event, written by its `Display`.
///
/// ```
/// use theater_actor::ServerSentEvent;
///
/// let event = ServerSentEvent { event: Some("price"), id: Some("7"), ..ServerSentEvent::of("250\nEUR") };
/// assert_eq!(event.to_string(), "event: price\nid: 7\ndata: 250\ndata: EUR\n\n");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerSentEvent<'a> {
    /// The type of the event; `message` if there is none.
    pub event: Option<&'a str>,
    /// The client names the last id that it has got when it connects again (`Last-Event-ID`).
    pub id: Option<&'a str>,
    /// After how many milliseconds the client is to connect again, from now on.
    pub retry: Option<u64>,
    /// What the event says. Each line of it is a line of data.
    pub data: &'a str,
}

impl<'a> ServerSentEvent<'a> {
    /// An event with only data.
    pub fn of(data: &'a str) -> Self {
        Self { data, ..Self::default() }
    }

    /// A comment, which clients ignore: it shows proxies that the stream is alive.
    pub fn comment(text: &str) -> String {
        let mut written = String::new();
        for line in lines(text) {
            written.push_str(": ");
            written.push_str(line);
            written.push('\n');
        }
        written.push('\n');
        written
    }
}

impl fmt::Display for ServerSentEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (field, value) in [("event", self.event), ("id", self.id)] {
            // A field is one line: what comes after it would be another field.
            if let Some(value) = value {
                writeln!(f, "{field}: {}", lines(value).next().unwrap_or_default())?;
            }
        }
        if let Some(retry) = self.retry {
            writeln!(f, "retry: {retry}")?;
        }
        for line in lines(self.data) {
            writeln!(f, "data: {line}")?;
        }
        writeln!(f)
    }
}

/// The lines of a text, whichever of the three ends they have. An empty text is one empty line.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

impl HttpAnswer {
    /// The head of a stream of server-sent events, which begins with `first`: events that the client gets at once.
    pub fn event_stream(first: &[ServerSentEvent<'_>]) -> Self {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![header("content-type", "text/event-stream"), header("cache-control", "no-store")];
        let first: String = first.iter().map(ToString::to_string).collect();
        Self::Stream(StreamHead { status: 200, headers, first: Some(first.into_bytes()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_ends_a_line_begins_a_line_of_data() {
        assert_eq!(ServerSentEvent::of("a\r\nb\rc\nd").to_string(), "data: a\ndata: b\ndata: c\ndata: d\n\n");
        assert_eq!(ServerSentEvent::of("").to_string(), "data: \n\n");
        assert_eq!(ServerSentEvent::comment("x\ny"), ": x\n: y\n\n");
    }

    #[test]
    fn a_field_of_one_line_makes_no_other_field() {
        let event = ServerSentEvent { event: Some("a\ndata: forged"), retry: Some(5), ..ServerSentEvent::of("b") };
        assert_eq!(event.to_string(), "event: a\nretry: 5\ndata: b\n\n");
    }
}
