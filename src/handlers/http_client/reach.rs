//! Reach: to which hosts an actor may connect. These are the hosts with public addresses or, if it has an allow-list,
//! the hosts on that list and no others.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use super::address::not_public;
use super::http_url::{HttpUrl, host_in_one_form};

/// How many addresses of one name are tried.
const MOST_ADDRESSES: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Any host that resolves to public addresses.
    Public,
    /// Only these hosts; the addresses that they resolve to do not matter.
    Only(Vec<AllowedHost>),
}

/// An entry of an allow-list: `host`, `*.host`, or either with `:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AllowedHost {
    host: String,
    /// Whether the entry means all hosts below this one, and not this host itself (`*.host`).
    below: bool,
    port: Option<u16>,
}

impl AllowedHost {
    /// Reads an entry of the key `key`.
    pub(super) fn parse(text: &str, key: &str) -> Result<Self, String> {
        let bad =
            |why: &str| format!("{text:?} in \"{key}\" {why}; expected example.org, *.example.org or 127.0.0.1:8080");
        if text.contains('/') {
            return Err(bad("is not a host"));
        }
        let (host, port) = split_port(text);
        let port = port.map(str::parse).transpose().map_err(|_| bad("has a port that is not 1 to 65535"))?;
        if port == Some(0) {
            return Err(bad("has a port that is not 1 to 65535"));
        }
        let (host, below) = host.strip_prefix("*.").map_or((host, false), |host| (host, true));
        let host = host_in_one_form(host).map_err(|_| bad("is not a host"))?;
        if !host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c)) {
            return Err(bad("is not a host"));
        }
        Ok(Self { host, below, port })
    }

    fn holds(&self, target: &HttpUrl) -> bool {
        self.holds_host(target) && self.port.is_none_or(|port| port == target.port)
    }

    /// Like [`AllowedHost::holds`], but an entry without a port means only the port that the target's scheme has anyway.
    pub(super) fn holds_with_default_port(&self, target: &HttpUrl) -> bool {
        let port = self.port.unwrap_or(if target.https { 443 } else { 80 });
        self.holds_host(target) && port == target.port
    }

    /// Whether the target's host is meant, on whatever port.
    pub(super) fn holds_host(&self, target: &HttpUrl) -> bool {
        if self.below { lies_below(&target.host, &self.host) } else { target.host == self.host }
    }

    /// Whether there is a host and a port that both entries hold.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let contains = |one: &Self, other: &Self| one.below && lies_below(&other.host, &one.host);
        let same = self.below == other.below && self.host == other.host;
        let port = self.port.is_none() || other.port.is_none() || self.port == other.port;
        port && (same || contains(self, other) || contains(other, self))
    }
}

fn lies_below(host: &str, upper: &str) -> bool {
    host.strip_suffix(upper).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// Splits host and port. The port comes after the last colon, unless there are several colons outside of brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, Some(port)),
        Some(_) | None => (text, None),
    }
}

impl Reach {
    /// Refuses a URL that can be refused before its name is resolved.
    pub(super) fn check(&self, target: &HttpUrl) -> Result<(), String> {
        match self {
            Self::Public => match target.address().and_then(not_public) {
                Some(what) => Err(refused(&target.host, None, &what)),
                None => Ok(()),
            },
            Self::Only(allowed) if allowed.iter().any(|allowed| allowed.holds(target)) => Ok(()),
            Self::Only(_) => Err(format!(
                "refused: {} is not in the allow-list; the http-client handler's config = {{ allow = [{:?}] }} would add it",
                target.place(),
                target.host,
            )),
        }
    }

    /// The addresses of a URL that may be connected to, in the order of the resolver. Exactly the addresses that were
    /// checked are connected to. This takes as long as the system's resolver takes; the actor that waits for the
    /// exchange does not have to wait for this.
    pub(super) fn resolve(&self, target: &HttpUrl) -> Result<Vec<SocketAddr>, String> {
        self.check(target)?;
        let found = (target.host.as_str(), target.port).to_socket_addrs();
        let found = found.map_err(|error| format!("name not found: {}: {error}", target.host))?;
        let mut chosen = self.choose(&target.host, found)?;
        chosen.truncate(MOST_ADDRESSES);
        Ok(chosen)
    }

    /// Chooses the addresses of a host that may be connected to.
    fn choose(&self, host: &str, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, String> {
        let mut chosen = Vec::new();
        let mut why = format!("name not found: {host} has no address");
        for address in found {
            match (self, not_public(address.ip())) {
                (Self::Only(_), _) | (Self::Public, None) => chosen.push(address),
                (Self::Public, Some(what)) => why = refused(host, Some(address.ip()), &what),
            }
        }
        if chosen.is_empty() { Err(why) } else { Ok(chosen) }
    }
}

fn refused(host: &str, resolved: Option<IpAddr>, what: &str) -> String {
    let what = match resolved {
        Some(address) if address.to_string() != host => format!("{address}, {what}"),
        Some(_) | None => what.to_owned(),
    };
    format!("refused: {host} is {what}; without an allow-list only public addresses are reached")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(entries: &[&str]) -> Reach {
        Reach::Only(entries.iter().map(|entry| AllowedHost::parse(entry, "allow").expect(entry)).collect())
    }

    fn reaches(reach: &Reach, url: &str) -> bool {
        reach.check(&HttpUrl::parse(url).expect(url)).is_ok()
    }

    #[test]
    fn an_allow_list_names_hosts_the_hosts_below_one_and_ports() {
        let reach = only(&["Example.org", "*.example.net", "127.0.0.1:8080", "[::1]:81", "fe80::1"]);
        for url in [
            "http://example.org/",
            "https://EXAMPLE.ORG.:444/",
            "http://a.example.net/",
            "http://a.b.example.net/",
            "http://127.0.0.1:8080/",
            "http://[0::1]:81/",
            "http://[fe80::1]:7/",
        ] {
            assert!(reaches(&reach, url), "{url}");
        }
        for url in [
            "http://www.example.org/",
            "http://example.net/",
            "http://evilexample.net/",
            "http://example.org.evil/",
            "http://127.0.0.1/",
            "http://127.0.0.2:8080/",
            "http://[::1]/",
            "http://1.1.1.1/",
        ] {
            assert!(!reaches(&reach, url), "{url}");
        }
        assert!(!reaches(&only(&[]), "http://example.org/"));
        let other_script = only(&["Bücher.example", "*.日本.example"]);
        for url in ["http://bücher.example/", "http://xn--bcher-kva.example/", "http://a.xn--wgv71a.example/"] {
            assert!(reaches(&other_script, url), "{url}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused_in_an_allow_list() {
        for entry in [
            "",
            "*",
            "*.",
            "http://example.org",
            "example.org/path",
            "h:0",
            "h:x",
            "h:65536",
            "a b",
            "127.1",
            "::g",
            "0x7f.1",
            "h*",
            "u@h",
            "h\\g",
            "xn--a",
        ] {
            assert!(AllowedHost::parse(entry, "allow").is_err(), "{entry}");
        }
    }

    #[test]
    fn entries_overlap_if_a_host_and_a_port_fit_both() {
        let parse = |text: &str| AllowedHost::parse(text, "allow").expect(text);
        for (one, other, overlap) in [
            ("h", "h", true),
            ("h", "h:1", true),
            ("h:1", "h:2", false),
            ("*.h", "h", false),
            ("*.h", "a.h", true),
            ("*.h", "a.h:1", true),
            ("*.h", "*.a.h", true),
            ("*.h", "*.h", true),
            ("*.h", "ah", false),
            ("*.a.h", "b.h", false),
        ] {
            assert_eq!(parse(one).overlaps(&parse(other)), overlap, "{one} {other}");
            assert_eq!(parse(other).overlaps(&parse(one)), overlap, "{other} {one}");
        }
    }

    #[test]
    fn without_an_allow_list_an_address_that_is_not_public_is_refused_before_anything_leaves() {
        let refused = Reach::Public.check(&HttpUrl::parse("http://[::ffff:10.0.0.1]:80/").expect("a URL"));
        let why = "refused: ::ffff:10.0.0.1 is the IPv4-mapped form of a private address; \
                   without an allow-list only public addresses are reached";
        assert_eq!(refused, Err(why.to_owned()));
        assert!(reaches(&Reach::Public, "http://localhost/"), "a name is judged by what it resolves to");
    }

    #[test]
    fn of_what_a_name_resolves_to_only_public_addresses_are_taken() {
        let found =
            |texts: &[&str]| -> Vec<SocketAddr> { texts.iter().map(|text| text.parse().expect("address")).collect() };
        let mixed = found(&["10.0.0.1:80", "1.1.1.1:80"]);
        assert_eq!(Reach::Public.choose("h", mixed.clone().into_iter()), Ok(found(&["1.1.1.1:80"])));
        assert_eq!(only(&["h"]).choose("h", mixed.clone().into_iter()), Ok(mixed));
        let refused = Reach::Public.choose("h", found(&["127.0.0.1:80"]).into_iter()).expect_err("refused");
        assert!(refused.starts_with("refused: h is 127.0.0.1, a loopback address; "), "{refused}");
        assert!(Reach::Public.choose("h", std::iter::empty()).is_err());
    }
}
