//! The URL of a request: an absolute http or https URL, and what a `Location` means relative to it.
//!
//! The crate `url` parses it as the WHATWG URL standard says. This decides to which host an actor may connect, so a URL
//! that other readers understand differently than that standard is refused: one with a user name, a backslash, a
//! control character, another number of slashes after the scheme, or an IPv4 address that is not written as four
//! decimal numbers.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, ParseError, SyntaxViolation, Url};

/// An http or https URL. Its host is in one form: lower case, punycode, without brackets, and without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HttpUrl {
    url: Url,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) https: bool,
}

const ODD_IPV4: &str = "an IPv4 address is written as four decimal numbers, such as 192.0.2.1";
const BAD_PORT: &str = "its port is not 1 to 65535";
const NO_HOST: &str = "it names no host";
const NOT_ABSOLUTE: &str = "it must begin with http:// or https://";

impl HttpUrl {
    /// Reads an absolute URL.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Self::read(text, None)?.ok_or_else(|| bad(text, NOT_ABSOLUTE))
    }

    /// What `location` means in a response to a request for this URL.
    pub(super) fn join(&self, location: &str) -> Result<Self, String> {
        if let Some(absolute) = Self::read(location, None)? {
            return Ok(absolute);
        }
        Self::read(location, Some(&self.url))?.ok_or_else(|| bad(location, NOT_ABSOLUTE))
    }

    /// Reads a URL that is absolute, or relative to `base`; nothing if it is relative and there is no base.
    fn read(text: &str, base: Option<&Url>) -> Result<Option<Self>, String> {
        if text.contains(|c: char| c.is_ascii_control()) {
            return Err(bad(text, "it contains a control character"));
        }
        let violation = Cell::new(None);
        let note = |found| {
            let first = violation.take().or_else(|| refused(found));
            violation.set(first);
        };
        let parsed = Url::options().base_url(base).syntax_violation_callback(Some(&note)).parse(text);
        let url = match parsed {
            Ok(url) => url,
            Err(ParseError::RelativeUrlWithoutBase) if base.is_none() => return Ok(None),
            Err(error) => return Err(bad(text, &explain(error))),
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad(text, "only http and https are spoken"));
        }
        let after_scheme = if base.is_some() { text } else { text.split_once(':').map_or(text, |(_, rest)| rest) };
        match violation.take() {
            Some(NOT_ABSOLUTE) if after_scheme.starts_with("///") => return Err(bad(text, NO_HOST)),
            Some(why) => return Err(bad(text, why)),
            None => {}
        }
        if let Some(Host::Ipv4(address)) = url.host()
            && let Some(authority) = after_scheme.strip_prefix("//")
            && !begins_with_address(authority, address)
        {
            return Err(bad(text, ODD_IPV4));
        }
        Self::of(url).map(Some).map_err(|why| bad(text, why))
    }

    fn of(mut url: Url) -> Result<Self, &'static str> {
        url.set_fragment(None);
        let https = url.scheme() == "https";
        let port = url.port_or_known_default().filter(|port| *port > 0).ok_or(BAD_PORT)?;
        let host = match url.host().ok_or(NO_HOST)? {
            Host::Domain(name) => without_last_dot(name).to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        if host.is_empty() { Err(NO_HOST) } else { Ok(Self { url, host, port, https }) }
    }

    /// What the request line contains: the path and the query, percent-encoded.
    pub(super) fn path_and_query(&self) -> String {
        let query = self.url.query().map(|query| format!("?{query}"));
        format!("{}{}", self.url.path(), query.unwrap_or_default())
    }

    /// What the header `Host` contains: the host, and the port if it is not the one that the scheme has anyway.
    pub(super) fn authority(&self) -> String {
        if self.url.port().is_some() { self.place() } else { self.bracketed() }
    }

    pub(super) fn is_same_origin(&self, other: &Self) -> bool {
        (self.https, &self.host, self.port) == (other.https, &other.host, other.port)
    }

    /// The host, if it is an address.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// `HOST:PORT`, as a person would write it.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    #[cfg(test)]
    pub(super) fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The same URL, read again from its text.
    pub(super) fn again(&self) -> Result<Self, String> {
        Self::parse(self.url.as_str())
    }
}

fn bad(text: &str, why: &str) -> String {
    format!("bad URL {:?}: {why}", shortened(text))
}

/// Why a URL with this violation of the syntax is refused, although the standard accepts it; `None` if all readers
/// understand such a URL in the same way.
fn refused(violation: SyntaxViolation) -> Option<&'static str> {
    match violation {
        SyntaxViolation::Backslash => Some("it contains a backslash; a URL is written with slashes"),
        SyntaxViolation::EmbeddedCredentials | SyntaxViolation::UnencodedAtSign => {
            Some("user and password do not belong there; send the header authorization")
        }
        SyntaxViolation::ExpectedDoubleSlash => Some(NOT_ABSOLUTE),
        SyntaxViolation::C0SpaceIgnored => Some("it begins or ends with a space"),
        SyntaxViolation::TabOrNewlineIgnored | SyntaxViolation::NullInFragment => {
            Some("it contains a control character")
        }
        // Characters that are percent-encoded in the path or the query, and what concerns `file` alone.
        _ => None,
    }
}

/// Whether the host of an authority is written as `address`, in four decimal numbers; a dot may come after them.
fn begins_with_address(authority: &str, address: Ipv4Addr) -> bool {
    let Some(rest) = authority.strip_prefix(&address.to_string()) else { return false };
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    rest.is_empty() || rest.starts_with([':', '/', '?', '#'])
}

/// The one form of a host in which two hosts are compared. A name in another script is its punycode.
pub(super) fn host_in_one_form(host: &str) -> Result<String, String> {
    match Host::parse(host) {
        Ok(Host::Domain(name)) => match without_last_dot(&name) {
            "" => Err(NO_HOST.to_owned()),
            name => Ok(name.to_owned()),
        },
        Ok(Host::Ipv4(address)) if address.to_string() == without_last_dot(host) => Ok(address.to_string()),
        Ok(Host::Ipv4(_)) => Err(ODD_IPV4.to_owned()),
        Ok(Host::Ipv6(address)) => Ok(address.to_string()),
        // An allow-list may contain an IPv6 address without brackets.
        Err(error) => host.parse::<Ipv6Addr>().map(|address| address.to_string()).map_err(|_| explain(error)),
    }
}

fn without_last_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn explain(error: ParseError) -> String {
    match error {
        ParseError::EmptyHost => NO_HOST.to_owned(),
        ParseError::InvalidIpv4Address => ODD_IPV4.to_owned(),
        ParseError::InvalidPort => BAD_PORT.to_owned(),
        other => other.to_string(),
    }
}

/// The part of a guest's text that an error quotes.
pub(super) fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(200)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> HttpUrl {
        HttpUrl::parse(text).unwrap_or_else(|why| panic!("{why}"))
    }

    #[test]
    fn a_url_is_taken_apart_into_host_port_and_scheme() {
        for (url, host, port, https) in [
            ("http://Example.ORG", "example.org", 80, false),
            ("HTTPS://example.org./a?b#c", "example.org", 443, true),
            ("http://127.0.0.1:8080/", "127.0.0.1", 8080, false),
            ("http://127.0.0.1./", "127.0.0.1", 80, false),
            ("http://[::1]/", "::1", 80, false),
            ("http://[0:0:0:0:0:0:0:1]:81/", "::1", 81, false),
            ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1", 80, false),
            ("http://h:/", "h", 80, false),
        ] {
            let target = target(url);
            assert_eq!((target.host.as_str(), target.port, target.https), (host, port, https), "{url}");
        }
    }

    #[test]
    fn what_is_no_absolute_http_url_is_refused_with_the_reason() {
        for (url, why) in [
            ("", "it must begin with http:// or https://"),
            ("/path", "it must begin with http:// or https://"),
            ("example.org", "it must begin with http:// or https://"),
            ("http:/h/", "it must begin with http:// or https://"),
            ("http:h", "it must begin with http:// or https://"),
            ("http:\\\\h/", "it must begin with http:// or https://"),
            ("ftp://example.org/", "only http and https are spoken"),
            ("file:///etc/passwd", "only http and https are spoken"),
            ("javascript:alert(1)", "only http and https are spoken"),
            ("http://", "it names no host"),
            ("http:///h/", "it names no host"),
            ("http://./", "it names no host"),
            ("http://:80/", "it names no host"),
            ("http://a b/", "invalid international domain name"),
            ("http://h/\r\nx: y", "it contains a control character"),
            ("http://h\t/", "it contains a control character"),
            ("\u{0}http://h/", "it contains a control character"),
            ("http://h:0/", "its port is not 1 to 65535"),
            ("http://h:65536/", "its port is not 1 to 65535"),
            ("http://h:+80/", "its port is not 1 to 65535"),
            ("http://h:8x/", "its port is not 1 to 65535"),
            ("http://me:secret@h/", "user and password do not belong there; send the header authorization"),
            ("http://public.example\\@127.0.0.1/", "it contains a backslash"),
            ("http://127.0.0.1\\.public.example/", "it contains a backslash"),
            ("http://h/a\\..\\b", "it contains a backslash"),
            (" http://h/", "it begins or ends with a space"),
            ("http://h/ ", "it begins or ends with a space"),
            ("http://@h/", "user and password do not belong there"),
            ("http:////h/", "it names no host"),
            ("http://[::1%25lo]/", "invalid IPv6 address"),
            ("http://[::1/", "invalid"),
            ("http://::1/", "it names no host"),
            ("http://xn--a/", "invalid international domain name"),
        ] {
            let refused = HttpUrl::parse(url).expect_err(url);
            assert!(refused.starts_with(&format!("bad URL {url:?}: {why}")), "{url}: {refused}");
        }
    }

    #[test]
    fn an_ipv4_address_in_another_than_the_dotted_form_is_refused() {
        for host in [
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "127.1",
            "0177.0.0.1",
            "127.0.0.01",
            "1.2.3.4.5",
            "256.1.1.1",
            "127%2e0.0.1",
            "%31%32%37.0.0.1",
            "\u{ff11}27.0.0.1",
            "127.0.0.1\u{3002}",
            "127\u{3002}0.0.1",
            "\u{2460}27.0.0.1",
        ] {
            let refused = HttpUrl::parse(&format!("http://{host}/")).expect_err(host);
            assert!(refused.ends_with("written as four decimal numbers, such as 192.0.2.1"), "{refused}");
        }
        assert_eq!(target("http://a1.b2/").host, "a1.b2");
        assert_eq!(target("http://0xyz/").host, "0xyz");
    }

    #[test]
    fn what_is_not_ascii_in_a_path_or_a_query_is_percent_encoded_and_what_is_encoded_stays() {
        for (url, sent) in [
            ("http://h/é", "/%C3%A9"),
            ("http://h/日本?q=ü&r=€", "/%E6%97%A5%E6%9C%AC?q=%C3%BC&r=%E2%82%AC"),
            ("http://h/a b?c d", "/a%20b?c%20d"),
            ("http://h/%C3%A9?%20%", "/%C3%A9?%20%"),
            ("http://h/\"<>`{}?\"<>'", "/%22%3C%3E%60%7B%7D?%22%3C%3E%27"),
            ("http://h/a/../b/./c", "/b/c"),
            ("http://h?q", "/?q"),
            ("http://h/?", "/?"),
            ("http://h/\u{80}\u{feff}", "/%C2%80%EF%BB%BF"),
        ] {
            assert_eq!(target(url).path_and_query(), sent, "{url}");
            assert!(target(url).as_str().is_ascii());
        }
    }

    #[test]
    fn a_host_in_another_script_is_its_punycode() {
        for (url, host) in [
            ("http://Bücher.example/", "xn--bcher-kva.example"),
            ("http://xn--bcher-kva.example/", "xn--bcher-kva.example"),
            ("http://日本.example:81/", "xn--wgv71a.example"),
            ("http://ex\u{ff41}mple.org/", "example.org"),
            ("http://example\u{3002}org/", "example.org"),
            ("http://ex%61mple.org/", "example.org"),
        ] {
            assert_eq!(target(url).host, host, "{url}");
        }
        assert_eq!(target("http://日本.example:81/").authority(), "xn--wgv71a.example:81");
    }

    #[test]
    fn the_host_header_names_a_port_only_where_it_is_not_the_schemes_own() {
        for (url, authority) in [
            ("http://h/", "h"),
            ("http://h:80/", "h"),
            ("https://h:80/", "h:80"),
            ("https://h.:443/", "h"),
            ("http://[::1]:81/", "[::1]:81"),
            ("http://[::1]/", "[::1]"),
        ] {
            assert_eq!(target(url).authority(), authority, "{url}");
        }
    }

    #[test]
    fn a_location_is_read_relative_to_the_url_it_came_from() {
        let base = target("http://h:81/a/b?q=1");
        for (location, url) in [
            ("https://x/y", "https://x/y"),
            ("//x/y", "http://x/y"),
            ("/c?d", "http://h:81/c?d"),
            ("c", "http://h:81/a/c"),
            ("../c/./d", "http://h:81/c/d"),
            ("../../../c", "http://h:81/c"),
            ("..", "http://h:81/"),
            ("?r=2", "http://h:81/a/b?r=2"),
            ("c?u=http://x/", "http://h:81/a/c?u=http://x/"),
            ("#top", "http://h:81/a/b?q=1"),
            ("", "http://h:81/a/b?q=1"),
            ("/é", "http://h:81/%C3%A9"),
        ] {
            assert_eq!(base.join(location), HttpUrl::parse(url), "{location}");
        }
        let address = target("http://127.0.0.1/a");
        assert_eq!(address.join("c?u=http://x/"), HttpUrl::parse("http://127.0.0.1/c?u=http://x/"));
        for bad in [
            "ftp://x/",
            "http:c",
            "/\\x/",
            "\\\\x/",
            "\\/x/",
            "//x\\@y/",
            "http:///x",
            "/a\tb",
            "//me@x/",
            "//127.1/",
            "///x/",
            "a\\b",
        ] {
            assert!(base.join(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let base = target("http://h/a");
        assert!(base.is_same_origin(&target("http://H:80/b")));
        for other in ["https://h/a", "http://h:81/a", "http://g/a"] {
            assert!(!base.is_same_origin(&target(other)), "{other}");
        }
    }
}
