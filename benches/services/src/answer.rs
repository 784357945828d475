//! Reads the answers of the systems: HTTP/1.1 with a length or in chunks, and a count as JSON.

/// A whole answer, and how many bytes of the input it took.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub length: usize,
    /// Whether the server closes the connection after it.
    pub is_last: bool,
}

/// The first answer of the input; `None` if the rest of it has not come yet.
pub fn read(input: &[u8]) -> Result<Option<Answer>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let begin = match head.parse(input).map_err(|why| format!("no HTTP: {why}"))? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let status = head.code.expect("a whole head has a status");
    let value = |name: &str| {
        let header = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    let is_last = value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if value("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        let Some((body, taken)) = chunks(&input[begin..])? else { return Ok(None) };
        return Ok(Some(Answer { status, body, length: begin + taken, is_last }));
    }
    let length: usize = match value("content-length") {
        Some(text) => text.parse().map_err(|_| format!("no length: {text:?}"))?,
        None if status == 204 || status == 304 => 0,
        None => return Err("an answer without a length".into()),
    };
    let body = input.get(begin..begin + length);
    Ok(body.map(|body| Answer { status, body: body.to_vec(), length: begin + length, is_last }))
}

/// A body in chunks without trailers, and how many bytes it took.
fn chunks(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let (begin, size) = match httparse::parse_chunk_size(&input[at..]) {
            Ok(httparse::Status::Complete((length, size))) => (at + length, size as usize),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("no size of a chunk".into()),
        };
        let Some(chunk) = input.get(begin..begin + size + 2) else { return Ok(None) };
        body.extend(&chunk[..size]);
        at = begin + size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

/// The number in `{"count":7}`.
pub fn count(body: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(body).ok()?.trim();
    text.strip_prefix("{\"count\":")?.strip_suffix('}')?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_all_of_it_has_come() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"count\":7}HTTP/1.1";
        for end in 0..text.len() - 8 {
            assert_eq!(read(&text[..end]), Ok(None), "{end}");
        }
        let answer = read(text).unwrap().unwrap();
        assert_eq!((answer.status, answer.length, answer.is_last), (200, text.len() - 8, false));
        assert_eq!(count(&answer.body), Some(7));
    }

    #[test]
    fn chunks_are_put_together() {
        let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\n{\"co\r\n7\r\nunt\":7}\r\n0\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(read(&text[..end]), Ok(None), "{end}");
        }
        let answer = read(text).unwrap().unwrap();
        assert_eq!((answer.length, answer.is_last), (text.len(), true));
        assert_eq!(count(&answer.body), Some(7));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(read(b"nonsense\r\n\r\n").is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").is_err());
        assert_eq!(count(b"{\"count\":-1}"), None);
        assert_eq!(count(b"{\"error\":\"no\"}"), None);
    }
}
