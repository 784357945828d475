//! Where a request goes: an absolute URL, taken apart once, and what a `Location` means beside it.

use std::net::IpAddr;

use ureq::http::Uri;

/// An http or https URL whose host is in one form: lower case, no brackets, no dot at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) uri: Uri,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) https: bool,
}

impl Target {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("bad URL {:?}: {why}", shortened(text));
        let uri: Uri = without_fragment(text).parse().map_err(|error| bad(&format!("{error}")))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) => return Err(bad("only http and https are spoken")),
            None => return Err(bad("it must begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("user and password do not belong there; send the header authorization"));
        }
        let host = host_in_one_form(authority.host());
        if host.is_empty() {
            return Err(bad("it names no host"));
        }
        if is_odd_ipv4(&host) {
            return Err(bad("an IPv4 address is written as four decimal numbers, such as 192.0.2.1"));
        }
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => {
                port.parse().ok().filter(|port| *port > 0).ok_or_else(|| bad("its port is not 1 to 65535"))?
            }
            Some(_) | None => default_port(https),
        };
        Ok(Self { https, host, port, uri })
    }

    /// What `location` means in a response from here.
    pub(super) fn join(&self, location: &str) -> Result<Self, String> {
        let location = without_fragment(location);
        let scheme = if self.https { "https" } else { "http" };
        let origin = format!("{scheme}://{}", self.uri.authority().expect("a target has a host"));
        let (path, query) = (self.uri.path(), self.uri.query().map(|query| format!("?{query}")));
        if has_scheme(location) {
            Self::parse(location)
        } else if location.starts_with("//") {
            Self::parse(&format!("{scheme}:{location}"))
        } else if location.is_empty() {
            Self::parse(&format!("{origin}{path}{}", query.unwrap_or_default()))
        } else if location.starts_with('?') {
            Self::parse(&format!("{origin}{path}{location}"))
        } else {
            let (to, query) = location.split_at(location.find('?').unwrap_or(location.len()));
            let base = if to.starts_with('/') { "" } else { &path[..path.rfind('/').map_or(0, |at| at + 1)] };
            Self::parse(&format!("{origin}{}{query}", without_dots(&format!("{base}{to}"))))
        }
    }

    pub(super) fn is_same_origin(&self, other: &Self) -> bool {
        (self.https, &self.host, self.port) == (other.https, &other.host, other.port)
    }

    /// The host, where it is an address.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// `HOST:PORT`, as a person would write it.
    pub(super) fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The one form of a host in which two are compared.
pub(super) fn host_in_one_form(host: &str) -> String {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let bare = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    bare.parse::<IpAddr>().map_or(bare, |address| address.to_string())
}

/// Whether a resolver may read it as an IPv4 address though it is not written like one: `2130706433`, `0x7f.1`, `010.0.0.1`.
pub(super) fn is_odd_ipv4(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    let hex = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let decimal = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    (hex || decimal) && host.parse::<IpAddr>().is_err()
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

fn without_fragment(text: &str) -> &str {
    text.split_once('#').map_or(text, |(url, _)| url)
}

fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// RFC 3986, 5.2.4, for a path that begins with a slash.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// As much of a guest's text as an error quotes.
pub(super) fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(200)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Target::parse(text).unwrap_or_else(|why| panic!("{why}"))
    }

    #[test]
    fn a_url_is_taken_apart_into_host_port_and_scheme() {
        for (url, host, port, https) in [
            ("http://Example.ORG", "example.org", 80, false),
            ("https://example.org./a?b#c", "example.org", 443, true),
            ("http://127.0.0.1:8080/", "127.0.0.1", 8080, false),
            ("http://[::1]/", "::1", 80, false),
            ("http://[0:0:0:0:0:0:0:1]:81/", "::1", 81, false),
            ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1", 80, false),
        ] {
            let target = target(url);
            assert_eq!((target.host.as_str(), target.port, target.https), (host, port, https), "{url}");
        }
    }

    #[test]
    fn what_is_no_absolute_http_url_is_refused_with_the_reason() {
        for (url, why) in [
            ("", "bad URL \"\": empty string"),
            ("/path", "bad URL \"/path\": it must begin with http:// or https://"),
            ("example.org", "bad URL \"example.org\": it must begin with http:// or https://"),
            ("ftp://example.org/", "bad URL \"ftp://example.org/\": only http and https are spoken"),
            ("file:///etc/passwd", "bad URL \"file:///etc/passwd\": "),
            ("http://", "bad URL \"http://\": "),
            ("http://a b/", "bad URL \"http://a b/\": invalid uri character"),
            ("http://h/\r\nx: y", "bad URL \"http://h/\\r\\nx: y\": invalid uri character"),
            ("http://h:0/", "bad URL \"http://h:0/\": its port is not 1 to 65535"),
            ("http://h:65536/", "bad URL \"http://h:65536/\": "),
            ("http://me:secret@h/", "bad URL \"http://me:secret@h/\": user and password do not belong there"),
        ] {
            let refused = Target::parse(url).expect_err(url);
            assert!(refused.starts_with(why), "{url}: {refused}");
        }
    }

    #[test]
    fn an_ipv4_address_in_another_than_the_dotted_form_is_refused() {
        for host in
            ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.01", "1.2.3.4.5", "256.1.1.1"]
        {
            let refused = Target::parse(&format!("http://{host}/")).expect_err(host);
            assert!(refused.ends_with("written as four decimal numbers, such as 192.0.2.1"), "{refused}");
        }
        assert_eq!(target("http://a1.b2/").host, "a1.b2");
        assert_eq!(target("http://0xyz/").host, "0xyz");
    }

    #[test]
    fn a_location_is_read_beside_the_url_it_came_from() {
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
        ] {
            assert_eq!(base.join(location), Target::parse(url), "{location}");
        }
        assert!(base.join("ftp://x/").is_err());
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
