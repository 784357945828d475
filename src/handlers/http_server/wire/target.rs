//! The request target: which of its four forms it has (RFC 9112 §3.2), and what of it reaches the service.
//!
//! The service sees one form, whoever sent the request and through whatever proxy: a path with its query, or `*`. The
//! authority of an absolute target is not lost: it takes the place of `Host`, as RFC 9112 §3.2.2 demands.

use super::authority::Authority;
use super::refusal::Refusal;

/// A target as the service is to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// The path with its query, `*` for OPTIONS of the server as a whole, or the authority of a CONNECT.
    pub(crate) uri: String,
    /// Whom an absolute target names.
    pub(crate) authority: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Reads the target of a request with this method. Characters that every browser percent-encodes are refused; those
    /// that browsers send as they are (`|`, `{`, `^` and the like) are not.
    pub(crate) fn parse(method: &str, target: &'a str) -> Result<Self, Refusal> {
        if !target.is_ascii() || target.contains('#') {
            return Err(Refusal::malformed("the request target has a character that must be percent-encoded"));
        }
        let is_as_it_is = match method {
            "CONNECT" => is_authority_with_port(target),
            "OPTIONS" if target == "*" => true,
            _ => target.starts_with('/'),
        };
        match absolute(target) {
            _ if is_as_it_is => Ok(Self { uri: target.to_owned(), authority: None }),
            Some((scheme, rest)) if method != "CONNECT" => Self::of_absolute(method, scheme, rest),
            Some(_) | None => Err(Refusal::malformed("the request target is not of a form that fits the method")),
        }
    }

    fn of_absolute(method: &str, scheme: &str, rest: &'a str) -> Result<Self, Refusal> {
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(Refusal::new(421, "only targets of the scheme http are answered on this connection"));
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(Refusal::malformed("the request target has user information"));
        }
        if Authority::parse(authority).is_none() {
            return Err(Refusal::malformed("the authority of the request target is no host"));
        }
        let uri = match path {
            "" if method == "OPTIONS" => "*".to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            query => format!("/{query}"),
        };
        Ok(Self { uri, authority: Some(authority) })
    }
}

/// A port must be named, and be one that can be connected to.
fn is_authority_with_port(target: &str) -> bool {
    Authority::parse(target).is_some_and(|authority| authority.port.is_some_and(|port| port != 0))
}

/// Scheme and what follows `://`, where `target` begins with one.
fn absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    let is_scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(is_scheme_byte);
    is_scheme.then_some((scheme, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(method: &str, target: &str) -> u16 {
        Target::parse(method, target).map_or_else(|refusal| refusal.status, |_| 200)
    }

    #[test]
    fn an_absolute_target_is_seen_in_origin_form_and_its_authority_once() {
        for (method, target, uri, authority) in [
            ("GET", "http://h/x", "/x", "h"),
            ("POST", "HTTP://h:8080/a/b?c=d", "/a/b?c=d", "h:8080"),
            ("GET", "http://h", "/", "h"),
            ("GET", "http://h?c", "/?c", "h"),
            ("GET", "http://h?c=a@b:1/", "/?c=a@b:1/", "h"),
            ("GET", "http://[::1]:80/", "/", "[::1]:80"),
            ("GET", "http://h//x://y", "//x://y", "h"),
            ("OPTIONS", "http://h", "*", "h"),
            ("OPTIONS", "http://h/", "/", "h"),
        ] {
            let expected = Target { uri: uri.to_owned(), authority: Some(authority) };
            assert_eq!(Target::parse(method, target), Ok(expected), "{target:?}");
        }
    }

    #[test]
    fn other_forms_are_seen_as_they_were_sent() {
        for (method, target) in [
            ("GET", "/"),
            ("GET", "//h/x"),
            ("GET", "/x?http://h/"),
            ("PURGE", "/a|b?{c}^"),
            ("OPTIONS", "*"),
            ("OPTIONS", "/"),
            ("CONNECT", "h:443"),
            ("CONNECT", "[::1]:1"),
        ] {
            let expected = Target { uri: target.to_owned(), authority: None };
            assert_eq!(Target::parse(method, target), Ok(expected), "{target:?}");
        }
    }

    #[test]
    fn a_target_must_fit_its_method() {
        for (method, target) in [
            ("GET", "*"),
            ("GET", "x"),
            ("GET", "h:80"),
            ("GET", "://h"),
            ("GET", "1http://h/"),
            ("OPTIONS", "**"),
            ("CONNECT", "/"),
            ("CONNECT", "h"),
            ("CONNECT", "h:"),
            ("CONNECT", "h:0"),
            ("CONNECT", "h:65536"),
            ("CONNECT", "u@h:80"),
            ("CONNECT", "http://h:80/"),
            ("CONNECT", "*"),
        ] {
            assert_eq!(status_of(method, target), 400, "{method} {target}");
        }
        for target in ["/a#b", "/ä", "http://h/#b"] {
            assert_eq!(status_of("GET", target), 400, "{target}");
        }
    }

    #[test]
    fn an_absolute_target_without_a_proper_authority_is_refused() {
        for target in [
            "http://",
            "http:///x",
            "http://?x",
            "http://u@h/",
            "http://u:p@h/",
            "http://h:x/",
            "http://[::1/",
            "http://a%zz/",
        ] {
            assert_eq!(status_of("GET", target), 400, "{target}");
        }
    }

    #[test]
    fn a_target_of_another_scheme_is_misdirected() {
        for target in ["https://h/", "ftp://h/x", "ws://h/"] {
            assert_eq!(status_of("GET", target), 421, "{target}");
        }
    }
}
