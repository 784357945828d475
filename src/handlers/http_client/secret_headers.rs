//! Headers with secrets: what the manifest adds to requests, for which hosts, and from which secrets of the runtime.
//!
//! A guest never sees a value, and no event holds one: the headers are added on the thread of the exchange, after the
//! guest's request was recorded. They go to the hosts that the manifest names and to no others, and over http only if
//! the manifest says so. They follow a redirect only within the scheme, host and port that the guest asked for. If a server
//! sends a value back, the value is masked before the response is recorded.

use serde::Deserialize;
use toml::Table;

use super::http_url::HttpUrl;
use super::outgoing_request::{OutgoingRequest, is_connection_header};
use super::reach::{AllowedHost, Reach};
use super::revealed::{Revealed, RevealedHeader};
use crate::net::http::is_token_byte;
use crate::system::{SecretUnavailable, Secrets};

/// The key `hosts` of the handler's configuration, checked.
#[derive(Debug, Default)]
pub(super) struct SecretHeaders(Vec<HeadersOfHost>);

/// One entry of `hosts`.
#[derive(Debug)]
struct HeadersOfHost {
    /// The entry's key, as it is written.
    text: String,
    host: AllowedHost,
    insecure_http: bool,
    headers: Vec<SecretHeader>,
}

/// A header whose value is a prefix and then a secret.
#[derive(Debug)]
struct SecretHeader {
    name: String,
    prefix: String,
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostKeys {
    #[serde(default)]
    insecure_http: bool,
    #[serde(default)]
    headers: Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderKeys {
    secret: String,
    #[serde(default)]
    prefix: String,
}

impl SecretHeaders {
    /// Checks the table `hosts`; the error says which entry is wrong.
    pub(super) fn of(hosts: &Table, reach: &Reach) -> Result<Self, String> {
        let entries = hosts.iter().map(|(text, keys)| HeadersOfHost::of(text, keys, reach));
        let entries: Vec<HeadersOfHost> = entries.collect::<Result<_, _>>()?;
        for (at, entry) in entries.iter().enumerate() {
            for other in entries[..at].iter().filter(|other| other.host.overlaps(&entry.host)) {
                let twice = |header: &&SecretHeader| other.headers.iter().any(|it| it.is_called(&header.name));
                if let Some(SecretHeader { name, .. }) = entry.headers.iter().find(twice) {
                    return Err(format!(
                        "\"hosts\" gives {name} twice to one host: by {:?} and by {:?}",
                        other.text, entry.text
                    ));
                }
            }
        }
        Ok(Self(entries))
    }

    /// The names of the secrets that are used.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|entry| entry.headers.iter().map(|header| header.secret.as_str()))
    }

    /// The entries that are for this target.
    fn for_target<'a>(&'a self, target: &'a HttpUrl) -> impl Iterator<Item = &'a HeadersOfHost> {
        self.0.iter().filter(move |entry| entry.host.holds_with_default_port(target))
    }

    /// Refuses a request that must not be sent with the secrets that it would get. This is before anything is sent.
    pub(super) fn check(&self, outgoing: &OutgoingRequest) -> Result<(), String> {
        let target = &outgoing.target;
        if self.for_target(target).next().is_none()
            && let Some(named) = self.0.iter().find(|entry| entry.host.holds_host(target))
        {
            return Err(format!(
                "refused: \"hosts\" of the http-client handler names {:?}, which does not mean the port of {}; name \
                 that too, without headers if it is to get none: hosts = {{ {:?} = {{}} }}",
                named.text,
                target.place(),
                target.place(),
            ));
        }
        for entry in self.for_target(target).filter(|entry| !entry.headers.is_empty()) {
            if !target.https && !entry.insecure_http {
                return Err(format!(
                    "refused: requests to {} carry a secret, which is not sent over http; ask by https, or allow it in \
                     \"hosts\" of the http-client handler: insecure_http = true",
                    target.place()
                ));
            }
            if outgoing.method.eq_ignore_ascii_case("TRACE") {
                return Err(format!(
                    "refused: requests to {} carry a secret, and TRACE asks for it back",
                    target.place()
                ));
            }
            let own = |header: &&SecretHeader| outgoing.headers.iter().any(|(name, _)| header.is_called(name));
            if let Some(SecretHeader { name, .. }) = entry.headers.iter().find(own) {
                return Err(format!(
                    "refused: the manifest gives the header {name} to requests to {}; leave it out",
                    target.place()
                ));
            }
        }
        Ok(())
    }

    /// The headers for a request to `target`, with the values that the secrets have now.
    pub(super) fn reveal(&self, target: &HttpUrl, secrets: &Secrets) -> Result<Revealed, SecretUnavailable> {
        let headers = self.for_target(target).flat_map(|entry| &entry.headers);
        let revealed = headers.map(|SecretHeader { name, prefix, secret }| {
            Ok(RevealedHeader { name: name.clone(), prefix: prefix.clone(), value: secrets.get(secret)? })
        });
        revealed.collect::<Result<_, _>>().map(Revealed)
    }
}

impl SecretHeader {
    fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn of(host: &str, name: &str, keys: &toml::Value) -> Result<Self, String> {
        let bad = |why: &str| format!("the header {name:?} of {host:?} in \"hosts\" {why}");
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(bad("has a name that is not a token"));
        }
        if is_connection_header(name) {
            return Err(bad("is written by the runtime itself"));
        }
        if !keys.is_table() {
            return Err(bad("names a secret, and never holds a value: { secret = \"NAME\", prefix = \"Bearer \" }"));
        }
        let HeaderKeys { secret, prefix } =
            keys.clone().try_into().map_err(|error: toml::de::Error| bad(&format!("is wrong: {}", error.message())))?;
        if secret.is_empty() {
            return Err(bad("has an empty \"secret\": name one of theater.toml"));
        }
        if !prefix.bytes().all(|byte| matches!(byte, b' '..=b'~')) || prefix.starts_with(' ') {
            return Err(bad("has a \"prefix\" that no header can begin with: it is printable ASCII"));
        }
        Ok(Self { name: name.to_owned(), prefix, secret })
    }
}

impl HeadersOfHost {
    fn of(text: &str, keys: &toml::Value, reach: &Reach) -> Result<Self, String> {
        let host = AllowedHost::parse(text, "hosts")?;
        if let Reach::Only(allowed) = reach
            && !allowed.iter().any(|allowed| allowed.overlaps(&host))
        {
            return Err(format!("{text:?} in \"hosts\" is not in \"allow\", so it cannot be reached"));
        }
        let bad = |why: &str| format!("{text:?} in \"hosts\" {why}");
        if !keys.is_table() {
            return Err(bad("is a table: { headers = { … } }"));
        }
        let HostKeys { insecure_http, headers } =
            keys.clone().try_into().map_err(|error: toml::de::Error| bad(&format!("is wrong: {}", error.message())))?;
        let headers: Vec<SecretHeader> =
            headers.iter().map(|(name, keys)| SecretHeader::of(text, name, keys)).collect::<Result<_, _>>()?;
        let twice = headers
            .iter()
            .enumerate()
            .find(|(at, header)| headers[..*at].iter().any(|earlier| earlier.is_called(&header.name)));
        if let Some((_, SecretHeader { name, .. })) = twice {
            return Err(bad(&format!("has the header {name} twice")));
        }
        Ok(Self { text: text.to_owned(), host, insecure_http, headers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::wit::HttpRequest;

    fn reach(allow: &[&str]) -> Reach {
        Reach::Only(allow.iter().map(|entry| AllowedHost::parse(entry, "allow").expect(entry)).collect())
    }

    fn headers(hosts: &str) -> Result<SecretHeaders, String> {
        SecretHeaders::of(&hosts.parse().expect("TOML"), &Reach::Public)
    }

    const TWO: &str = "
        [\"api.example.org\"]
        headers = { Authorization = { secret = \"key\", prefix = \"Bearer \" } }
        [\"*.example.net:8443\"]
        insecure_http = true
        headers = { X-Key = { secret = \"other\" } }
        [\"plain.example.org\"]
    ";

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> OutgoingRequest {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers = headers.iter().map(owned).collect();
        let request = HttpRequest { method: method.into(), uri: uri.into(), headers, body: None };
        OutgoingRequest::new(&request, &Reach::Public).expect(uri)
    }

    fn added(headers: &SecretHeaders, uri: &str) -> Vec<String> {
        let target = HttpUrl::parse(uri).expect(uri);
        headers.for_target(&target).flat_map(|entry| &entry.headers).map(|header| header.name.clone()).collect()
    }

    #[test]
    fn a_header_goes_to_the_host_that_is_named_on_its_own_port_and_to_no_other() {
        let headers = headers(TWO).expect("it is right");
        for uri in ["https://api.example.org/", "https://API.example.org.:443/x"] {
            assert_eq!(added(&headers, uri), ["Authorization"], "{uri}");
        }
        for uri in ["https://a.example.net:8443/", "http://a.b.example.net:8443/"] {
            assert_eq!(added(&headers, uri), ["X-Key"], "{uri}");
        }
        for uri in [
            "https://example.org/",
            "https://api.example.org.evil/",
            "https://www.api.example.org/",
            "https://xapi.example.org/",
            "https://api.example.org:8443/",
            "https://example.net:8443/",
            "https://a.example.net/",
            "https://plain.example.org/",
        ] {
            assert_eq!(added(&headers, uri), [""; 0], "{uri}");
        }
    }

    #[test]
    fn a_request_that_would_give_a_secret_away_is_refused_before_it_is_sent() {
        let headers = headers(TWO).expect("it is right");
        let check = |method, uri, with: &[_]| headers.check(&request(method, uri, with));
        for (method, uri, with, why) in [
            ("GET", "http://api.example.org/", &[][..], "requests to api.example.org:80 carry a secret, which is not"),
            ("TRACE", "https://api.example.org/", &[], "requests to api.example.org:443 carry a secret, and TRACE"),
            ("trace", "https://api.example.org/", &[], "requests to api.example.org:443 carry a secret, and TRACE"),
            (
                "GET",
                "https://api.example.org/",
                &[("AUTHORIZATION", "mine")],
                "the manifest gives the header Authorization to requests to api.example.org:443; leave it out",
            ),
            (
                "GET",
                "https://api.example.org:444/",
                &[],
                "\"hosts\" of the http-client handler names \"api.example.org\"",
            ),
            ("GET", "https://a.example.net/", &[], "\"hosts\" of the http-client handler names \"*.example.net:8443\""),
        ] {
            let refused = check(method, uri, with).expect_err(uri);
            assert!(refused.starts_with(&format!("refused: {why}")), "{refused}");
        }
        for (uri, with) in [
            ("https://api.example.org/", &[("X-Key", "mine")][..]),
            ("http://a.example.net:8443/", &[("Authorization", "mine")]),
            ("http://plain.example.org/", &[("Authorization", "mine")]),
            ("http://example.com/", &[("Authorization", "mine")]),
        ] {
            assert_eq!(check("GET", uri, with), Ok(()), "{uri}");
        }
    }

    #[test]
    fn what_hosts_cannot_be_is_refused_by_what_is_wrong_in_it() {
        for (hosts, why) in [
            ("\"http://h\" = {}", "\"http://h\" in \"hosts\" is not a host"),
            ("h = 1", "\"h\" in \"hosts\" is a table"),
            ("h = { header = {} }", "\"h\" in \"hosts\" is wrong: unknown field `header`, expected `insecure_http` or"),
            (
                "h = { headers = { \"a b\" = { secret = \"s\" } } }",
                "the header \"a b\" of \"h\" in \"hosts\" has a name",
            ),
            (
                "h = { headers = { Host = { secret = \"s\" } } }",
                "the header \"Host\" of \"h\" in \"hosts\" is written by",
            ),
            (
                "h = { headers = { A = \"hunter2\" } }",
                "the header \"A\" of \"h\" in \"hosts\" names a secret, and never",
            ),
            ("h = { headers = { A = {} } }", "the header \"A\" of \"h\" in \"hosts\" is wrong: missing field `secret`"),
            ("h = { headers = { A = { secret = \"\" } } }", "the header \"A\" of \"h\" in \"hosts\" has an empty"),
            (
                "h = { headers = { A = { secret = \"s\", prefix = \"x\\r\\ny: \" } } }",
                "the header \"A\" of \"h\" in \"hosts\" has a \"prefix\" that no header can begin with",
            ),
            (
                "h = { headers = { A = { secret = \"s\" }, a = { secret = \"s\" } } }",
                "\"h\" in \"hosts\" has the header a",
            ),
            (
                "\"*.h\" = { headers = { A = { secret = \"s\" } } }\n\"b.h\" = { headers = { a = { secret = \"t\" } } }",
                "\"hosts\" gives a twice to one host: by \"*.h\" and by \"b.h\"",
            ),
        ] {
            let refused = headers(hosts).expect_err(hosts);
            assert!(refused.starts_with(why) && !refused.contains("hunter2"), "{hosts}: {refused}");
        }
        let refused = SecretHeaders::of(&"\"a.h\" = {}".parse().expect("TOML"), &reach(&["h", "*.b"]));
        assert_eq!(
            refused.expect_err("not allowed"),
            "\"a.h\" in \"hosts\" is not in \"allow\", so it cannot be reached"
        );
        SecretHeaders::of(&"\"a.h\" = {}".parse().expect("TOML"), &reach(&["*.h:1"])).expect("it may be meant so");
    }
}
