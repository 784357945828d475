//! The authority of a request, `host` or `host:port`: whom the request is for. It is written as RFC 3986 §3.2 says, and
//! appears in `Host`, in the target of a CONNECT, and in an absolute target.
//!
//! This is stricter than the RFC in one point: a name has no comma here. The RFC permits one, but in practice it means
//! that two `Host` lines were folded into one.

use std::net::Ipv6Addr;

/// An authority without user information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    /// A name, an IPv4 address, or an IP literal in its brackets; never empty.
    pub(crate) host: &'a str,
    /// `None` also where no number comes after the colon, which RFC 3986 permits.
    pub(crate) port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads all of `text` as one authority; `None` if it is not a valid one.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = split(text)?;
        let is_host = match host.strip_prefix('[') {
            Some(literal) => literal.strip_suffix(']').is_some_and(is_ip_literal),
            None => !host.is_empty() && is_registered_name(host.as_bytes()),
        };
        let port = match port {
            None | Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
        };
        is_host.then_some(Self { host, port })
    }
}

/// Splits host and port. The colons of an IP literal are inside its brackets; a name has no colon.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    match &text[end..] {
        "" => Some((text, None)),
        rest => Some((&text[..end], Some(rest.strip_prefix(':')?))),
    }
}

/// Whether this is an IPv6 address without a zone, or an address of a future version: `v1.x`.
fn is_ip_literal(text: &str) -> bool {
    let Some(future) = text.strip_prefix(['v', 'V']) else { return text.parse::<Ipv6Addr>().is_ok() };
    future.split_once('.').is_some_and(|(version, address)| {
        let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_address = |byte: u8| is_name_byte(byte) || byte == b':';
        is_version && !address.is_empty() && address.bytes().all(is_address)
    })
}

/// Whether this is a name. An IPv4 address counts as one. A name consists of unreserved characters, sub-delimiters, and
/// `%` before two hexadecimal digits.
fn is_registered_name(mut name: &[u8]) -> bool {
    loop {
        name = match name {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if is_name_byte(*byte) => rest,
            _ => return false,
        }
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_an_ipv4_address_or_an_ip_literal_with_or_without_a_port() {
        for (text, host, port) in [
            ("h", "h", None),
            ("h:80", "h", Some(80)),
            ("h:", "h", None),
            ("h:0", "h", Some(0)),
            ("h:65535", "h", Some(65_535)),
            ("h:00080", "h", Some(80)),
            ("a-b.example.", "a-b.example.", None),
            ("a_b~c!$&'()*+;=", "a_b~c!$&'()*+;=", None),
            ("a%41%c3%A4", "a%41%c3%A4", None),
            ("192.0.2.1:8080", "192.0.2.1", Some(8080)),
            ("[::1]", "[::1]", None),
            ("[2001:db8::192.0.2.1]:443", "[2001:db8::192.0.2.1]", Some(443)),
            ("[v1.a:b]", "[v1.a:b]", None),
        ] {
            assert_eq!(Authority::parse(text), Some(Authority { host, port }), "{text:?}");
        }
    }

    #[test]
    fn a_host_made_of_the_right_characters_in_a_wrong_order_is_no_host() {
        for text in [
            "",
            ":",
            ":80",
            "a:80:80",
            "a:b",
            "a:-1",
            "a:+1",
            "a: 80",
            "a:65536",
            "a:99999999999999999999",
            "a%zz",
            "a%4",
            "a%",
            "[::1",
            "::1",
            "::1]",
            "[::1]x",
            "[::1]80",
            "[::1]:80:80",
            "[]",
            "[:::]",
            "[1.2.3.4]",
            "[g::1]",
            "[::1%25eth0]",
            "[fe80::1%eth0]",
            "[v.a]",
            "[v1.]",
            "[vx.a]",
            "[::1][::1]",
            "a[::1]",
            "a b",
            "a/b",
            "a,b",
            "a, b",
            "u@h",
            "h?x",
            "h#x",
            "ä",
            "a\"b",
            "a\\b",
            "<h>",
            "a|b",
            "a{b}",
            "a^b",
            "a`b",
            "a\tb",
        ] {
            assert_eq!(Authority::parse(text), None, "{text:?}");
        }
    }
}
