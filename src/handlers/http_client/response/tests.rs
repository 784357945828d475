//! Responses, right and wrong, in pieces of every size.

use super::*;

type Understood = Result<Option<(u16, Headers, Option<Vec<u8>>)>, ExchangeFailure>;

/// How `bytes`, and the end of the connection after them, are understood: in the same way, however the bytes are cut.
fn understood_of(bytes: &[u8], to_head: bool) -> Understood {
    let understand = |piece: usize| -> Understood {
        let mut answer =
            IncomingResponse::new(to_head, &Bounds { body_bytes: 100, head_bytes: 400, ..Bounds::of_defaults() });
        bytes.chunks(piece).try_for_each(|piece| answer.push(piece))?;
        if !answer.end() {
            return Ok(None);
        }
        let (head, body) = answer.into_parts();
        Ok(Some((head.status, head.headers, body)))
    };
    let whole = understand(bytes.len().max(1));
    for piece in 1..=7 {
        assert_eq!(format!("{:?}", understand(piece)), format!("{whole:?}"), "in pieces of {piece}");
    }
    whole
}

fn understood(text: &str) -> Understood {
    understood_of(text.as_bytes(), false)
}

fn body(text: &str) -> Vec<u8> {
    let answer = understood(text).unwrap_or_else(|why| panic!("{text:?}: {why:?}"));
    answer.unwrap_or_else(|| panic!("{text:?} is not complete")).2.expect("a body")
}

fn refused(text: &str) -> String {
    match understood(text) {
        Err(ExchangeFailure::NotHttp(why)) => why,
        other => panic!("{text:?} gave {other:?}"),
    }
}

fn chunked(chunks: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
}

#[test]
fn a_body_ends_where_its_framing_says() {
    assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), b"hi");
    assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more"), b"hi");
    assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-length:\t02 \r\n\r\nhi"), b"hi");
    assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), b"");
    assert_eq!(body("HTTP/1.1 200 OK\r\n\r\nuntil the end"), b"until the end");
    assert_eq!(body("HTTP/1.0 200 OK\n\nbare line feeds"), b"bare line feeds");
    assert_eq!(body(&chunked("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")), b"abcde");
    assert_eq!(body(&chunked("A;x=\"y;\"\r\n0123456789\r\n000\r\nTrailer: dropped\r\n\r\nbehind")), b"0123456789");
    assert_eq!(body("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n"), b"");
}

#[test]
fn head_204_and_304_have_no_body_whatever_they_announce() {
    for text in ["HTTP/1.1 204 X\r\nContent-Length: 9\r\n\r\n", "HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\n\r\n"]
    {
        assert_eq!(understood(text).expect("HTTP").expect("complete").2, None, "{text:?}");
    }
    let length = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n";
    assert_eq!(understood_of(length, true).expect("HTTP").expect("complete").2, None);
}

#[test]
fn a_response_that_ends_before_its_end_is_not_complete() {
    for cut in [
        "",
        "HTT",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        assert!(matches!(understood(cut), Ok(None)), "{cut:?}");
    }
    for cut in ["", "3", "3\r\n", "3\r\nab", "3\r\nabc", "3\r\nabc\r\n", "3\r\nabc\r\n0", "3\r\nabc\r\n0\r\n"] {
        assert!(matches!(understood(&chunked(cut)), Ok(None)), "{cut:?}");
    }
    for cut in ["3\r\nabc\r\n0\r\n\r", "3\r\nabc\r\n0\r\nX: y\r\n", "0\r\nX"] {
        assert!(matches!(understood(&chunked(cut)), Ok(None)), "{cut:?}");
    }
}

#[test]
fn a_chunk_size_is_hexadecimal_digits_and_nothing_else() {
    for size in ["+3", "-3", "0x3", " 3", "3 4", "3,", "3h", "", "3_0", "\u{663}", "ffffffffffffffff0", "3\0", "3\r"] {
        let why = refused(&chunked(&format!("{size}\r\nabc\r\n0\r\n\r\n")));
        assert!(why.contains("chunk"), "{size:?}: {why}");
    }
    for broken in ["3\nabc\r\n0\r\n\r\n", "3\r\nabc0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "3\r\nabc\n0\r\n\r\n"] {
        assert!(refused(&chunked(broken)).contains("chunk"), "{broken:?}");
    }
    assert!(refused(&chunked("0\r\nno trailer\r\n\r\n")).contains("trailer"));
}

#[test]
fn a_response_with_two_framings_is_refused() {
    let with = |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    for (headers, why) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", "both Content-Length and Transfer-Encoding"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 13", "both Content-Length and Transfer-Encoding"),
        ("Transfer-Encoding: identity\r\nContent-Length: 3", "both Content-Length and Transfer-Encoding"),
        ("Content-Length: 3\r\nContent-Length: 4", "several lengths"),
        ("Content-Length: 3, 4", "several lengths"),
        ("Content-Length: +3", "its Content-Length is \"+3\""),
        ("Content-Length: -3", "its Content-Length is \"-3\""),
        ("Content-Length: 0x3", "its Content-Length is \"0x3\""),
        ("Content-Length: 3 3", "its Content-Length is \"3 3\""),
        ("Content-Length: ", "its Content-Length is \"\""),
        ("Content-Length: 3,", "its Content-Length is \"3,\""),
        ("Content-Length: 3.0", "its Content-Length is \"3.0\""),
        ("Content-Length: 18446744073709551616", "its Content-Length is \"18446744073709551616\""),
        ("Transfer-Encoding: gzip", "only \"chunked\" is understood"),
        ("Transfer-Encoding: gzip, chunked", "only \"chunked\" is understood"),
        ("Transfer-Encoding: chunked, chunked", "only \"chunked\" is understood"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "only \"chunked\" is understood"),
        ("Transfer-Encoding: chunked,", "only \"chunked\" is understood"),
        ("Transfer-Encoding: \"chunked\"", "only \"chunked\" is understood"),
        ("Transfer-Encoding: xchunked", "only \"chunked\" is understood"),
        ("Transfer-Encoding: ", "only \"chunked\" is understood"),
    ] {
        let refused = refused(&with(headers));
        assert!(refused.contains(why), "{headers:?}: {refused}");
    }
    assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\nhi"), b"hi", "they agree");
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(refused(old).contains("HTTP/1.0 has no Transfer-Encoding"));
}

#[test]
fn what_is_no_http_is_refused_by_its_first_bytes() {
    for text in
        ["SSH-2.0-OpenSSH\r\n", "HTTP/2 200 OK\r\n\r\n", "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "http/1.1 200 OK\r\n\r\n"]
    {
        refused(text);
    }
    for head in [
        "HTTP/1.1 099 X\r\n\r\n",
        "HTTP/1.1 2000 X\r\n\r\n",
        "HTTP/1.1 +20 X\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length\0: 2\r\n\r\nhi",
    ] {
        refused(head);
    }
}

#[test]
fn interim_responses_are_passed_over_and_counted() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\n\r\nhi";
    let answer =
        understood(&format!("{}{last}", interim.repeat(HTTP_INTERIM_RESPONSES))).expect("HTTP").expect("whole");
    assert_eq!(answer.1, [("X".to_owned(), "y".to_owned()), ("Content-Length".to_owned(), "2".to_owned())]);
    let why = refused(&format!("{}{last}", interim.repeat(HTTP_INTERIM_RESPONSES + 1)));
    assert!(why.contains("interim responses"), "{why}");
    assert!(refused("HTTP/1.1 101 X\r\n\r\n").contains("another protocol"));
}

#[test]
fn each_part_is_bounded_as_soon_as_it_says_or_shows_its_size() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(400));
    for text in [&long, &format!("{long}\r\n\r\n")] {
        assert!(matches!(understood(text), Err(ExchangeFailure::HeadTooLarge)), "{text}");
    }
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
        &chunked("65\r\n"),
        &chunked("64\r\n"),
        &chunked("ffffffffffffffff\r\n"),
        &format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(101)),
    ][..]
        .iter()
        .filter(|text| !text.ends_with("64\r\n"))
    {
        assert!(matches!(understood(text), Err(ExchangeFailure::BodyTooLarge)), "{text}");
    }
    assert_eq!(body(&chunked(&format!("64\r\n{}\r\n0\r\n\r\n", "x".repeat(100)))).len(), 100);
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A:\r\n".repeat(HTTP_RESPONSE_HEADERS));
    let mut answer = IncomingResponse::new(false, &Bounds::of_defaults());
    answer.push(many.as_bytes()).expect("so many headers are taken");
    let more = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A:\r\n".repeat(HTTP_RESPONSE_HEADERS + 1));
    let why = IncomingResponse::new(false, &Bounds::of_defaults()).push(more.as_bytes());
    assert!(matches!(why, Err(ExchangeFailure::NotHttp(why)) if why == "it has more than 128 headers"));
}

#[test]
fn headers_keep_their_order_their_duplicates_and_their_case() {
    let head = b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nX: y\r\nSet-Cookie: \xe9\r\nContent-Length: 0\r\n\r\n";
    let headers = understood_of(head, false).expect("HTTP").expect("complete").1;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [pair("Set-Cookie", "a"), pair("X", "y"), pair("Set-Cookie", "\u{e9}"), pair("Content-Length", "0")];
    assert_eq!(headers, expected);
}
