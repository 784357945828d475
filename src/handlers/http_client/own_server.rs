//! A server that the operator names, and that the runtime itself sends something to: by the same exchange as an actor's
//! requests, but wherever the server is, and without anything recorded.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::bounds::Bounds;
use super::hops::HttpExchange;
use super::http_url::HttpUrl;
use super::outgoing_request::OutgoingRequest;
use super::reach::{AllowedHost, Reach};
use super::{Config, HttpClient, trusting_mozilla};
use crate::guest::wit::HttpRequest;
use crate::net::Wakeup;
use crate::system::Secrets;

/// The bytes of an answer's head, and of its body.
const ANSWER_BYTES: u64 = 64 * 1024;

/// Where something is sent.
pub(crate) struct OwnServer {
    /// The URL, without a slash at its end.
    base: String,
    url: HttpUrl,
    client: HttpClient,
    bounds: Bounds,
}

/// What the server has answered.
pub(crate) struct OwnAnswer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl OwnServer {
    /// The server at `url`; each request takes at most `within`. The error says what is wrong with the URL.
    pub(crate) fn new(url: &str, within: Duration) -> Result<Self, String> {
        let base = url.trim_end_matches('/').to_owned();
        let url = HttpUrl::parse(&base)?;
        if url.path_and_query().contains('?') || base.contains('#') {
            return Err(format!("{base:?} has a query or a fragment: what is asked for is added to its path"));
        }
        let mut client = HttpClient::new(&Config::default(), trusting_mozilla())?;
        client.reach = Arc::new(Reach::Only(vec![AllowedHost::parse(&url.place(), "endpoint")?]));
        let bounds =
            Bounds { connect: within, whole: within, redirects: 0, head_bytes: ANSWER_BYTES, body_bytes: ANSWER_BYTES };
        Ok(Self { base, url, client, bounds })
    }

    /// Whether what is sent can be read on its way: by http, to another machine.
    pub(crate) fn is_in_the_open(&self) -> bool {
        let is_here = self.url.address().map_or(self.url.host == "localhost", |address: IpAddr| address.is_loopback());
        !self.url.https && !is_here
    }

    /// Sends `body` to `path` below the URL. Waking `give_up` ends it, unless it is still resolving the name.
    pub(crate) fn post(
        &self,
        path: &str,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
        give_up: &Arc<Wakeup>,
    ) -> Result<OwnAnswer, String> {
        let uri = format!("{}{path}", self.base);
        let request = HttpRequest { method: "POST".into(), uri, headers, body: Some(body) };
        let outgoing = OutgoingRequest::new(&request, &self.client.reach)?;
        let exchange = HttpExchange::woken_by(&self.client, self.bounds, Secrets::default(), Arc::clone(give_up));
        let answer = exchange.run(outgoing).map_err(|why| self.without_keys(why))?;
        Ok(OwnAnswer { status: answer.status, body: answer.body.unwrap_or_default() })
    }

    /// What went wrong, without the keys of a manifest: nobody can set these bounds.
    fn without_keys(&self, why: String) -> String {
        let within = self.bounds.whole.as_secs();
        if why.starts_with("connect timed out") {
            format!("it has not taken a connection within {within} s")
        } else if why.starts_with("timed out") {
            format!("it has not answered within {within} s")
        } else if why.contains("of the response is larger than") {
            format!("its answer is longer than {ANSWER_BYTES} bytes")
        } else {
            why
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_a_url_without_a_query() {
        let made = |url: &str| OwnServer::new(url, Duration::from_secs(1)).map(|server| server.is_in_the_open());
        for url in ["http://127.0.0.1:4318", "http://localhost:4318/", "http://[::1]:4318", "https://example.org/otlp/"]
        {
            assert_eq!(made(url), Ok(false), "{url}");
        }
        assert_eq!(made("http://example.org:4318"), Ok(true));
        for bad in ["", "localhost:4318", "ftp://x", "http://x/?a=b", "http://x/#a", "http://u:p@x/", "http://x:0"] {
            assert!(made(bad).is_err(), "{bad}");
        }
    }
}
