//! The request target: which of its four forms it has (RFC 9112 §3.2), and what the service sees of it.
//!
//! The service sees one form, also when a proxy sent the request: a path with its query, or `*`. The authority of an
//! absolute target is not lost: it replaces `Host`, as RFC 9112 §3.2.2 demands.

use super::authority::Authority;
use super::refusal::HttpRefusal;

/// A target as the service sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestTarget<'a> {
    /// The path with its query, `*` for OPTIONS of the server as a whole, or the authority of a CONNECT.
    pub(crate) uri: String,
    /// The authority of an absolute target.
    pub(crate) authority: Option<&'a str>,
}

impl<'a> RequestTarget<'a> {
    /// Reads the target of a request with this method, on a connection over which targets of the scheme `own` are asked
    /// for. Characters that every browser percent-encodes are refused. Those that browsers send as they are (`|`, `{`,
    /// `^` and the like) are accepted.
    pub(crate) fn parse(method: &str, target: &'a str, own: &str) -> Result<Self, HttpRefusal> {
        if !target.is_ascii() || target.contains('#') {
            return Err(HttpRefusal::malformed("the request target has a character that must be percent-encoded"));
        }
        let is_as_it_is = match method {
            "CONNECT" => is_authority_with_port(target),
            "OPTIONS" if target == "*" => true,
            _ => target.starts_with('/'),
        };
        match absolute(target) {
            _ if is_as_it_is => Ok(Self { uri: target.to_owned(), authority: None }),
            Some((scheme, rest)) if method != "CONNECT" => {
                if !scheme.eq_ignore_ascii_case(own) {
                    let why = format!("only targets of the scheme {own} are answered on this connection");
                    return Err(HttpRefusal::new(421, why));
                }
                Self::of_absolute(method, rest)
            }
            Some(_) | None => Err(HttpRefusal::malformed("the request target is not of a form that fits the method")),
        }
    }

    fn of_absolute(method: &str, rest: &'a str) -> Result<Self, HttpRefusal> {
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(HttpRefusal::malformed("the request target has user information"));
        }
        if Authority::parse(authority).is_none() {
            return Err(HttpRefusal::malformed("the authority of the request target is no host"));
        }
        let uri = match path {
            "" if method == "OPTIONS" => "*".to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            query => format!("/{query}"),
        };
        Ok(Self { uri, authority: Some(authority) })
    }
}

/// Whether this is an authority that names a port, and one that can be connected to.
fn is_authority_with_port(target: &str) -> bool {
    Authority::parse(target).is_some_and(|authority| authority.port.is_some_and(|port| port != 0))
}

/// The scheme, and what comes after `://`, if `target` begins with a scheme.
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
        RequestTarget::parse(method, target, "http").map_or_else(|refusal| refusal.status, |_| 200)
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
            let expected = RequestTarget { uri: uri.to_owned(), authority: Some(authority) };
            assert_eq!(RequestTarget::parse(method, target, "http"), Ok(expected), "{target:?}");
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
            let expected = RequestTarget { uri: target.to_owned(), authority: None };
            assert_eq!(RequestTarget::parse(method, target, "http"), Ok(expected), "{target:?}");
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
        let over_tls = |target| RequestTarget::parse("GET", target, "https").map_err(|refusal| refusal.status);
        assert_eq!(over_tls("https://h/x").map(|target| target.uri), Ok("/x".to_owned()));
        assert_eq!(over_tls("http://h/x").map(|target| target.uri), Err(421));
    }
}
