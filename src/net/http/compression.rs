//! Compression of answers by gzip (RFC 9110 §8.4), for clients that wish it. The service's answer stays as it was.

use std::io::Write;

use flate2::write::GzEncoder;

use super::{WireAnswer, WireRequest, WireResponse};

/// An answer with a smaller body is not compressed: it fits a packet or two as it is.
const LEAST_BYTES: usize = 1024;
/// Of 9 levels; higher ones take far more time for little less.
const LEVEL: u32 = 5;
/// Types, besides those of text, that compress well.
const TYPES: [&str; 8] = [
    "application/javascript",
    "application/json",
    "application/manifest+json",
    "application/wasm",
    "application/x-ndjson",
    "application/xml",
    "image/svg+xml",
    "image/x-icon",
];

/// What the client of one request wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compression {
    takes_gzip: bool,
    is_head: bool,
    /// The client has an answer whose bytes were compressed.
    has_weak: bool,
}

impl Compression {
    pub(crate) fn wished_by(request: &WireRequest) -> Self {
        let lines = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("accept-encoding"));
        let takes_gzip = prefers_gzip(lines.map(|(_, value)| value.as_str()));
        let known = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("if-none-match"));
        let has_weak = known.into_iter().any(|(_, tags)| tags.contains("W/"));
        Self { takes_gzip, is_head: request.method == "HEAD", has_weak }
    }

    /// Compresses an answer that is whole, if the client wishes it and the answer is worth it.
    pub(crate) fn apply_to(self, answer: WireAnswer) -> WireAnswer {
        if answer.stream.is_some() { answer } else { answer.map(|response| self.apply(response)) }
    }

    /// Compresses an answer, if the client wishes it and the answer is worth it.
    fn apply(self, response: WireResponse) -> WireResponse {
        match response.status() {
            206 => return vary(response),
            // It says of the answer that the client has what that one said.
            304 => return vary(if self.has_weak { weakened(response) } else { response }),
            _ if !may_vary(&response) => return response,
            _ => {}
        }
        // Caches must know it of the uncompressed answer, too.
        let response = vary(response);
        if !self.takes_gzip {
            return response;
        }
        match response.body() {
            Some(body) if body.len() >= LEAST_BYTES => match gzip(body) {
                Some(smaller) => weakened(response.with_body(smaller)).with_header("Content-Encoding", "gzip"),
                None => response,
            },
            // The length of the answer to a GET, which would be compressed, is not known.
            None if self.is_head => weakened(response.without_header("content-length")),
            Some(_) | None => response,
        }
    }
}

/// Whether the client takes gzip, and likes it no less than the answer as it is.
fn prefers_gzip<'a>(lines: impl Iterator<Item = &'a str>) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, None);
    for element in lines.flat_map(|line| line.split(',')) {
        let mut parts = element.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('='));
        // A weight that is none makes nothing acceptable.
        let weight = weight.map_or(1.0, |weight| weight.trim().parse::<f32>().unwrap_or(0.0));
        match coding.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "*" => any = Some(weight),
            "identity" => identity = Some(weight),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0.0);
    gzip > 0.0 && gzip >= identity.unwrap_or(0.0)
}

/// Whether the form of an answer may depend on what the client takes.
fn may_vary(response: &WireResponse) -> bool {
    let has = |name: &str| response.header(name).is_some();
    let is_whole = !matches!(response.status(), 204 | 205 | 206 | 304) && !has("content-range");
    let may_change = !response
        .header("cache-control")
        .is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case("no-transform")));
    is_whole && may_change && !has("content-encoding") && response.header("content-type").is_some_and(compresses_well)
}

fn compresses_well(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_text = kind.starts_with("text/") && kind != "text/event-stream";
    is_text || kind.ends_with("+json") || kind.ends_with("+xml") || TYPES.contains(&kind.as_str())
}

fn vary(response: WireResponse) -> WireResponse {
    const NAME: &str = "Accept-Encoding";
    match response.header("vary") {
        None => response.with_header("Vary", NAME),
        Some(names) if names.split(',').map(str::trim).any(|name| name == "*" || name.eq_ignore_ascii_case(NAME)) => {
            response
        }
        Some(_) => response.and_header("Vary", NAME),
    }
}

/// The bytes are others than those that a strong validator was given for.
fn weakened(response: WireResponse) -> WireResponse {
    match response.header("etag").filter(|tag| tag.starts_with('"')).map(|tag| format!("W/{tag}")) {
        Some(weak) => response.with_header("ETag", &weak),
        None => response,
    }
}

/// The body, compressed; none if it becomes no smaller.
fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    const TO_MEMORY: &str = "memory takes everything";
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), flate2::Compression::new(LEVEL));
    encoder.write_all(body).expect(TO_MEMORY);
    let smaller = encoder.finish().expect(TO_MEMORY);
    (smaller.len() < body.len()).then_some(smaller)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use sha1::Digest;

    use super::*;

    const GZIP: Compression = Compression { takes_gzip: true, is_head: false, has_weak: false };

    fn response(status: u16, headers: &[(&str, &str)], body: Option<Vec<u8>>) -> WireResponse {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        WireResponse::new(status, headers.iter().map(owned).collect(), body).expect("valid")
    }

    fn text(bytes: usize) -> Vec<u8> {
        b"0123456789 and so on. ".iter().copied().cycle().take(bytes).collect()
    }

    #[test]
    fn a_client_gets_what_it_likes_best() {
        for (lines, wanted) in [
            (&["gzip"][..], true),
            (&["GZIP;q=1.0"], true),
            (&["x-gzip"], true),
            (&["deflate, br, gzip"], true),
            (&["deflate", "gzip; q = 0.5"], true),
            (&["*"], true),
            (&["*;q=0.1, br"], true),
            (&["gzip;q=0.5, identity;q=0.5"], true),
            (&["identity;q=0, gzip;q=0.001"], true),
            (&[], false),
            (&[""], false),
            (&["br"], false),
            (&["gzip;q=0"], false),
            (&["gzip;q=0.000"], false),
            (&["gzip;q=x"], false),
            (&["*, gzip;q=0"], false),
            (&["*;q=0"], false),
            (&["identity, gzip;q=0.5"], false),
            (&["gzipped"], false),
        ] {
            assert_eq!(prefers_gzip(lines.iter().copied()), wanted, "{lines:?}");
        }
    }

    #[test]
    fn a_compressed_answer_is_the_same_answer_and_says_what_it_is() {
        let whole = text(LEAST_BYTES);
        let sent = GZIP.apply(response(
            200,
            &[("Content-Type", "text/html; charset=utf-8"), ("ETag", "\"a\""), ("Vary", "Cookie")],
            Some(whole.clone()),
        ));
        assert_eq!((sent.header("content-encoding"), sent.header("etag")), (Some("gzip"), Some("W/\"a\"")));
        let vary: Vec<_> =
            sent.headers().iter().filter(|(name, _)| name == "Vary").map(|(_, value)| value.as_str()).collect();
        assert_eq!(vary, ["Cookie", "Accept-Encoding"]);
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(sent.body().expect("a body")).read_to_end(&mut back).expect("gzip");
        assert!(back == whole && sent.body().expect("a body").len() < whole.len());
    }

    #[test]
    fn an_answer_that_is_not_worth_it_or_is_not_ours_to_change_stays_as_it_is() {
        let json = ("Content-Type", "application/json");
        let range = ("Content-Range", "bytes 0-9/10");
        for (why, before) in [
            ("small", response(200, &[json], Some(text(LEAST_BYTES - 1)))),
            ("coded", response(200, &[json, ("Content-Encoding", "br")], Some(text(5000)))),
            ("a picture", response(200, &[("Content-Type", "image/png")], Some(text(5000)))),
            ("of no type", response(200, &[], Some(text(5000)))),
            ("a stream of events", response(200, &[("Content-Type", "text/event-stream")], Some(text(5000)))),
            ("a part", response(206, &[json, range], Some(text(5000)))),
            ("not to be changed", response(200, &[json, ("Cache-Control", "public, no-transform")], Some(text(5000)))),
        ] {
            let after = GZIP.apply(before.clone());
            assert_eq!((after.body(), after.header("etag")), (before.body(), None), "{why}");
            assert_eq!(after.header("content-encoding"), before.header("content-encoding"), "{why}");
            assert_eq!(after.header("vary").is_some(), ["small", "a part"].contains(&why), "{why}");
        }
        let known = response(304, &[("ETag", "\"1\"")], None);
        let after = Compression { has_weak: true, ..GZIP }.apply(known.clone());
        assert_eq!((after.header("etag"), after.header("vary").is_some()), (Some("W/\"1\""), true));
        assert_eq!(GZIP.apply(known).header("etag"), Some("\"1\""));
        let noise: Vec<u8> =
            (0..4000_u32).flat_map(|at| <[u8; 20]>::from(sha1::Sha1::digest(at.to_be_bytes()))).collect();
        assert_eq!(
            GZIP.apply(response(200, &[json], Some(noise))).header("content-encoding"),
            None,
            "it became no smaller"
        );
    }

    #[test]
    fn a_head_says_nothing_of_a_length_that_a_get_would_not_have() {
        let claimed = [("Content-Type", "text/plain"), ("Content-Length", "5000"), ("ETag", "\"a\"")];
        let head = Compression { is_head: true, ..GZIP };
        let sent = head.apply(response(200, &claimed, None));
        assert_eq!((sent.header("content-length"), sent.header("etag")), (None, Some("W/\"a\"")));
        let plain = Compression { takes_gzip: false, ..head };
        let sent = plain.apply(response(200, &claimed, None));
        assert_eq!((sent.header("content-length"), sent.header("vary")), (Some("5000"), Some("Accept-Encoding")));
    }
}
