//! Decoding the `chunked` transfer coding, piece by piece: RFC 9112 §7.1, read strictly. Servers and clients use it.
//!
//! Extensions and trailers are checked, bounded and dropped. The decoder has no socket, so that tests can cut its input
//! anywhere.

use crate::base::limits::{HTTP_EXTENSION_BYTES, HTTP_TRAILER_BYTES, HTTP_TRAILERS};

use super::extension::Extension;
use super::refusal::HttpRefusal;

/// The most hexadecimal digits of a size: as many as fit a `u64`.
const SIZE_DIGITS: u32 = 16;

/// Decodes one body.
#[derive(Debug)]
pub(crate) struct ChunkedDecoder {
    state: ChunkState,
    /// How many bytes of the body may still come.
    room: u64,
    extension_bytes: usize,
    trailer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    Size { digits: u32, size: u64 },
    Extension { at: Extension, size: u64 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataCarriageReturn,
    DataLineFeed,
    Trailer,
    Done,
}

impl ChunkedDecoder {
    /// A decoder for a body that may have up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { state: ChunkState::START, room: limit as u64, extension_bytes: 0, trailer: Vec::new() }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// Decodes `input`, appends what it carries to `body`, and returns how many bytes of `input` it used: all, unless
    /// the body ends before. The error has the status 413 where the body is larger than the limit.
    pub(crate) fn decode(&mut self, input: &[u8], body: &mut Vec<u8>, limit: usize) -> Result<usize, HttpRefusal> {
        let mut rest = input;
        while let Some(&byte) = rest.first().filter(|_| !self.is_done()) {
            if let ChunkState::Data { left } = self.state {
                let piece = &rest[..rest.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
                body.extend_from_slice(piece);
                rest = &rest[piece.len()..];
                self.state = ChunkState::data(left - piece.len() as u64);
                continue;
            }
            rest = &rest[1..];
            self.state = self.step(byte, limit)?;
        }
        Ok(input.len() - rest.len())
    }

    fn step(&mut self, byte: u8, limit: usize) -> Result<ChunkState, HttpRefusal> {
        match (self.state, byte) {
            (ChunkState::Size { digits, size }, _) if byte.is_ascii_hexdigit() => add_digit(digits, size, byte),
            (ChunkState::Size { digits: 0, .. }, _) => Err(malformed("a chunk has no size")),
            (ChunkState::Size { size, .. }, b'\r') => Ok(ChunkState::SizeEnd { size }),
            (ChunkState::Size { size, .. }, _) => {
                self.extend(size, Extension::Gap { after_name: false }.next(byte), "the size of a chunk is malformed")
            }
            (ChunkState::Extension { at, size }, b'\r') if at.may_end() => Ok(ChunkState::SizeEnd { size }),
            (ChunkState::Extension { at, size }, _) => {
                self.extend(size, at.next(byte), "a chunk extension is malformed")
            }
            (ChunkState::SizeEnd { size: 0 }, b'\n') => Ok(ChunkState::Trailer),
            (ChunkState::SizeEnd { size }, b'\n') => self.begin_data(size, limit),
            (ChunkState::DataCarriageReturn, b'\r') => Ok(ChunkState::DataLineFeed),
            (ChunkState::DataLineFeed, b'\n') => Ok(ChunkState::START),
            (ChunkState::Trailer, _) => self.add_to_trailer(byte),
            (ChunkState::SizeEnd { .. }, _) => Err(malformed("the size of a chunk is malformed")),
            (ChunkState::DataCarriageReturn | ChunkState::DataLineFeed, _) => {
                Err(malformed("a chunk does not end where its size says"))
            }
            (ChunkState::Data { .. } | ChunkState::Done, _) => unreachable!("these states are left before a step"),
        }
    }

    /// Counts one more byte of an extension; an error if the byte is not allowed at this place.
    fn extend(&mut self, size: u64, at: Option<Extension>, otherwise: &str) -> Result<ChunkState, HttpRefusal> {
        self.extension_bytes += 1;
        if self.extension_bytes > HTTP_EXTENSION_BYTES {
            return Err(malformed("there are too many chunk extensions"));
        }
        at.map(|at| ChunkState::Extension { at, size }).ok_or_else(|| malformed(otherwise))
    }

    fn begin_data(&mut self, size: u64, limit: usize) -> Result<ChunkState, HttpRefusal> {
        self.room = self.room.checked_sub(size).ok_or_else(|| HttpRefusal::body_too_large(limit))?;
        Ok(ChunkState::data(size))
    }

    fn add_to_trailer(&mut self, byte: u8) -> Result<ChunkState, HttpRefusal> {
        if byte == b'\n' && self.trailer.last() != Some(&b'\r') {
            return Err(malformed("a line of the trailer ends in a bare line feed"));
        }
        self.trailer.push(byte);
        if self.trailer == b"\r\n" || self.trailer.ends_with(b"\r\n\r\n") {
            let mut lines = [httparse::EMPTY_HEADER; HTTP_TRAILERS];
            return match httparse::parse_headers(&self.trailer, &mut lines) {
                Ok(_) => Ok(ChunkState::Done),
                Err(error) => Err(malformed(&format!("the trailer is malformed: {error}"))),
            };
        }
        if self.trailer.len() >= HTTP_TRAILER_BYTES {
            return Err(HttpRefusal::new(431, format!("the trailer is larger than {HTTP_TRAILER_BYTES} bytes")));
        }
        Ok(ChunkState::Trailer)
    }
}

impl ChunkState {
    const START: Self = Self::Size { digits: 0, size: 0 };

    fn data(left: u64) -> Self {
        if left == 0 { Self::DataCarriageReturn } else { Self::Data { left } }
    }
}

fn add_digit(digits: u32, size: u64, byte: u8) -> Result<ChunkState, HttpRefusal> {
    if digits == SIZE_DIGITS {
        return Err(malformed("the size of a chunk has too many digits"));
    }
    let digit = char::from(byte).to_digit(16).expect("only hexadecimal digits come here");
    Ok(ChunkState::Size { digits: digits + 1, size: size << 4 | u64::from(digit) })
}

fn malformed(why: &str) -> HttpRefusal {
    HttpRefusal::malformed(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 100;

    /// The body of `input`, which must be one whole coded body with nothing after it.
    fn decode(input: &str) -> Result<String, HttpRefusal> {
        let (mut decoder, mut body) = (ChunkedDecoder::new(LIMIT), Vec::new());
        let used = decoder.decode(input.as_bytes(), &mut body, LIMIT)?;
        assert!(decoder.is_done() && used == input.len(), "{input:?} is not a whole body");
        Ok(String::from_utf8(body).expect("the tests send text"))
    }

    fn status_of(input: &str) -> u16 {
        let mut decoder = ChunkedDecoder::new(LIMIT);
        decoder.decode(input.as_bytes(), &mut Vec::new(), LIMIT).expect_err(input).status
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(decode("0\r\n\r\n"), Ok(String::new()));
        assert_eq!(decode("3\r\nabc\r\nA\r\n0123456789\r\n000\r\n\r\n"), Ok("abc0123456789".to_owned()));
    }

    #[test]
    fn extensions_and_trailers_are_dropped() {
        assert_eq!(
            decode("3;a\r\nabc\r\n0 ; b=\"c d\"\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n"),
            Ok("abc".to_owned())
        );
    }

    #[test]
    fn what_follows_the_body_is_left_alone() {
        let (mut decoder, mut body) = (ChunkedDecoder::new(LIMIT), Vec::new());
        assert_eq!(decoder.decode(b"1\r\na\r\n0\r\n\r\nGET", &mut body, LIMIT), Ok(11));
        assert!(decoder.is_done());
        assert_eq!(decoder.decode(b"GET", &mut body, LIMIT), Ok(0));
    }

    #[test]
    fn a_body_cut_anywhere_is_the_same_body() {
        let input = b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n";
        for cut in 0..input.len() {
            let (mut decoder, mut body) = (ChunkedDecoder::new(LIMIT), Vec::new());
            for piece in [&input[..cut], &input[cut..]] {
                assert_eq!(decoder.decode(piece, &mut body, LIMIT), Ok(piece.len()));
            }
            assert!(decoder.is_done() && body == b"abcde", "cut at {cut}");
        }
    }

    #[test]
    fn a_size_is_hexadecimal_digits_and_nothing_else() {
        for input in [
            "\r\n",
            "g\r\n",
            "0x3\r\n",
            "+3\r\n",
            "-3\r\n",
            " 3\r\n",
            "3 \r\n",
            "3_0\r\n",
            "3\n",
            "3\rx",
            "3,4\r\n",
            "00000000000000003\r\n",
        ] {
            assert_eq!(status_of(input), 400, "{input:?}");
        }
    }

    #[test]
    fn an_extension_is_a_name_with_or_without_a_value_and_nothing_else() {
        for extension in [
            ";a",
            " ; a",
            ";a=b",
            ";a = b",
            ";a=\"b\"",
            ";a=\"\"",
            ";a=\"b ; c = d\"",
            ";a=\"\\\"\\\\\"",
            ";a;b=c\t; d=\"e\"",
            ";a=\"\u{e4}\"",
        ] {
            assert_eq!(
                decode(&format!("3{extension}\r\nabc\r\n0{extension}\r\n\r\n")),
                Ok("abc".to_owned()),
                "{extension:?}"
            );
        }
        for extension in [
            ";",
            "; ",
            ";a\0",
            ";a\rb",
            " a",
            ";=b",
            ";a=",
            ";a= ",
            ";a b",
            ";a=b c",
            ";a=b=c",
            ";a;",
            ";;a",
            ";a ",
            ";a=b ",
            " ",
            ";a=\"b",
            ";a=\"b\"c",
            ";a=\"b\" ",
            ";a=\"\\",
            ";a=\"\x7f\"",
            ";a=\"\r\"",
            ";a=\"\\\0\"",
            ";a@",
            ";\"a\"",
            ";a='b' c",
            ";\u{e4}",
            ";a,b",
            "=a",
        ] {
            assert_eq!(status_of(&format!("3{extension}\r\nabc\r\n")), 400, "{extension:?}");
        }
    }

    #[test]
    fn extensions_are_bounded_and_end_with_their_line() {
        for input in ["3;a\n", "3;a=\"\n\"\r\n", "3;a\r\r\n"] {
            assert_eq!(status_of(input), 400, "{input:?}");
        }
        assert_eq!(status_of(&format!("3;{}", "a".repeat(HTTP_EXTENSION_BYTES + 1))), 400);
        assert_eq!(status_of(&format!("1;{0}\r\na\r\n1;{0}", "a".repeat(HTTP_EXTENSION_BYTES / 2 + 1))), 400);
    }

    #[test]
    fn a_chunk_must_end_where_its_size_says() {
        for input in ["3\r\nabcd\r\n", "3\r\nab\r\n0\r\n\r\n", "3\r\nabc\n", "3\r\nabc0\r\n", "3\r\nabc\r0"] {
            assert_eq!(status_of(input), 400, "{input:?}");
        }
    }

    #[test]
    fn a_body_beyond_the_limit_is_refused_before_its_bytes_are_read() {
        assert_eq!(decode(&format!("64\r\n{}\r\n0\r\n\r\n", "a".repeat(100))).map(|body| body.len()), Ok(100));
        assert_eq!(status_of("65\r\n"), 413);
        assert_eq!(status_of(&format!("64\r\n{}\r\n1\r\n", "a".repeat(100))), 413);
        assert_eq!(status_of("ffffffffffffffff\r\n"), 413);
    }

    #[test]
    fn a_trailer_is_bounded_and_well_formed() {
        for trailer in ["A\r\n\r\n", "A : b\r\n\r\n", "A: b\n\r\n", "A: b\r\n c\r\n\r\n", "A: \0\r\n\r\n", "\n"] {
            assert_eq!(status_of(&format!("0\r\n{trailer}")), 400, "{trailer:?}");
        }
        assert_eq!(status_of(&format!("0\r\nA: {}\r\n\r\n", "b".repeat(HTTP_TRAILER_BYTES))), 431);
        assert_eq!(status_of(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(HTTP_TRAILERS + 1))), 400);
    }
}
