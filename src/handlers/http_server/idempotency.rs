//! The header `Idempotency-Key`: the name that a client gives a request, so that it can repeat the request.
//!
//! The header is as in the IETF's draft "The Idempotency-Key HTTP Header Field". The draft has the key in quotes; without
//! them it is the same key.

use crate::chain::idempotency::is_key;
use crate::net::http::WireRequest;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header of an answer that was recorded before.
pub(super) const REPLAYED: &str = "Idempotency-Replayed";
/// The methods whose requests do something each time. Of the others, each may be made again as it is.
const METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];
/// The methods of which RFC 9110 §9.2.2 says that a request may be repeated.
const REPEATABLE: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

/// The key of a request, if it has one; the inner error is for the client.
pub(super) fn key_of(request: &WireRequest) -> Option<Result<String, &'static str>> {
    if !METHODS.contains(&request.method.as_str()) {
        return None;
    }
    let mut given = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(IDEMPOTENCY_KEY));
    let (_, value) = given.next()?;
    if given.next().is_some() {
        return Some(Err("a request has one Idempotency-Key"));
    }
    let key = value.trim();
    let quoted = key.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let key = quoted.unwrap_or(key);
    let is_right = is_key(key) && !key.contains(['"', '\\']);
    Some(if is_right { Ok(key.to_owned()) } else { Err("an Idempotency-Key is 1 to 255 visible ASCII characters") })
}

/// Whether a request may be made again if it was not answered.
pub(crate) fn is_repeatable(request: &WireRequest, heeds_keys: bool) -> bool {
    REPEATABLE.contains(&request.method.as_str()) || (heeds_keys && key_of(request).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::PieceFraming;

    fn request(method: &str, keys: &[&str]) -> WireRequest {
        let headers = keys.iter().map(|key| ("Idempotency-KEY".to_owned(), (*key).to_owned())).collect();
        let peer = ([127, 0, 0, 1], 1).into();
        WireRequest {
            method: method.to_owned(),
            uri: "/".to_owned(),
            headers,
            body: None,
            upload: None,
            peer,
            framing: PieceFraming::Chunked,
        }
    }

    #[test]
    fn a_key_is_the_same_with_and_without_quotes_and_of_a_method_that_does_something() {
        for value in ["order-17", "\"order-17\"", "  order-17 "] {
            assert_eq!(key_of(&request("POST", &[value])), Some(Ok("order-17".to_owned())), "{value}");
        }
        assert_eq!(key_of(&request("GET", &["order-17"])), None);
        assert_eq!(key_of(&request("POST", &[])), None);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "k".repeat(256);
        for value in ["", "\"\"", "\"", "two words", "a\"b", "\"a\\\"b\"", "ä", &long] {
            assert!(matches!(key_of(&request("POST", &[value])), Some(Err(_))), "{value}");
        }
        assert!(matches!(key_of(&request("POST", &["a", "a"])), Some(Err(_))));
        assert_eq!(key_of(&request("PUT", &[&long[1..]])), Some(Ok(long[1..].to_owned())));
    }

    #[test]
    fn a_post_may_be_made_again_with_a_key_where_keys_are_heeded() {
        assert!(is_repeatable(&request("GET", &[]), false) && is_repeatable(&request("PUT", &[]), false));
        assert!(!is_repeatable(&request("POST", &[]), true) && !is_repeatable(&request("POST", &["k"]), false));
        assert!(is_repeatable(&request("POST", &["k"]), true) && !is_repeatable(&request("get", &[]), true));
    }
}
