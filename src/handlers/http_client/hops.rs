//! One exchange: a request, the redirects that follow it, and the response at the end. Runs on a thread of its own.

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use ureq::config::AutoHeaderValue;
use ureq::http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, LOCATION,
    PROXY_AUTHORIZATION,
};
use ureq::http::{HeaderName, Method, Request, Response};
use ureq::tls::TlsConfig;
use ureq::unversioned::transport::{Connector, RustlsConnector, TcpConnector};
use ureq::{Agent, AsSendBody, Body, Error};

use super::explain::{explain, timed_out, too_large};
use super::outgoing::{Given, Outgoing};
use super::reach::{Gate, Reach};
use super::tap::{Headers, Tap, value};
use super::{Bounds, Client};
use crate::guest::wit::HttpResponse;

/// What makes one exchange. Its agent keeps no connection: each hop is resolved, checked and connected anew.
pub(super) struct Exchange {
    agent: Agent,
    given: Sender<Given>,
    heads: Receiver<Headers>,
    bounds: Bounds,
    reach: Arc<Reach>,
    until: Instant,
}

/// Room in ureq's buffers beside a head.
const BUFFER_SLACK: u64 = 16 * 1024;

impl Exchange {
    pub(super) fn new(client: &Client, bounds: Bounds) -> Self {
        let buffer = usize::try_from(bounds.head_bytes + BUFFER_SLACK).unwrap_or(usize::MAX);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .proxy(None)
            .max_redirects(0)
            .max_idle_connections(0)
            .accept(AutoHeaderValue::None)
            .accept_encoding(AutoHeaderValue::None)
            .user_agent(concat!("theater/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(bounds.connect))
            .max_response_header_size(usize::try_from(bounds.head_bytes).unwrap_or(usize::MAX))
            .input_buffer_size(buffer)
            .output_buffer_size(buffer)
            .tls_config(TlsConfig::builder().root_certs(client.roots.clone()).build())
            .build();
        let (given, to_send) = crossbeam_channel::unbounded();
        let (tapped, heads) = crossbeam_channel::unbounded();
        let tap = Tap { given: to_send, heads: tapped };
        let connector = ().chain(TcpConnector::default()).chain(RustlsConnector::default()).chain(tap);
        let agent = Agent::with_parts(config, connector, Gate(client.reach.clone()));
        Self { agent, given, heads, bounds, reach: client.reach.clone(), until: Instant::now() + bounds.whole }
    }

    /// Ends it from another thread: its connection is closed.
    pub(super) fn stopper(&self) -> Agent {
        self.agent.clone()
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    pub(super) fn run(self, mut outgoing: Outgoing) -> Result<HttpResponse, String> {
        for redirects in 0.. {
            let (response, headers) = self.hop(&outgoing)?;
            let location = response.headers().get(LOCATION).filter(|_| self.bounds.redirects > 0);
            let Some(location) = location.filter(|_| is_redirect(response.status().as_u16())) else {
                return self.read(&outgoing, response, headers);
            };
            if redirects == self.bounds.redirects {
                return Err(format!("too many redirects: max_redirects is {redirects}"));
            }
            let location = value(location.as_bytes());
            redirect(&mut outgoing, &self.reach, response.status().as_u16(), &location)
                .map_err(|why| format!("redirected by {}: {why}", outgoing.target.place()))?;
        }
        unreachable!("redirects are bounded")
    }

    fn hop(&self, outgoing: &Outgoing) -> Result<(Response<Body>, Option<Headers>), String> {
        let mut request = Request::new(());
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = outgoing.target.uri.clone();
        *request.headers_mut() = outgoing.map();
        self.given.send(outgoing.headers.clone()).expect("the agent holds the other end");
        let response = match outgoing.body.as_deref() {
            Some(body) => self.send(request.map(|()| body)),
            None => self.send(request),
        };
        let response = response.map_err(|error| explain(error, &outgoing.target, &self.bounds))?;
        if response.status().is_informational() {
            // ureq passes the other interim responses over.
            let place = outgoing.target.place();
            return Err(format!(
                "not an HTTP response: {place}: it switches to another protocol, which nobody asked for"
            ));
        }
        Ok((response, self.heads.try_recv().ok()))
    }

    fn send<B: AsSendBody>(&self, request: Request<B>) -> Result<Response<Body>, Error> {
        let left = self.until.saturating_duration_since(Instant::now());
        self.agent.run(self.agent.configure_request(request).timeout_global(Some(left)).build())
    }

    fn read(&self, from: &Outgoing, response: Response<Body>, wire: Option<Headers>) -> Result<HttpResponse, String> {
        let (parts, body) = response.into_parts();
        let kept = || parts.headers.iter().map(|(name, text)| (name.as_str().to_owned(), value(text.as_bytes())));
        let headers = wire.unwrap_or_else(|| kept().collect());
        let status = parts.status.as_u16();
        let has_none = from.method == Method::HEAD || matches!(status, 204 | 304);
        let body = if has_none { None } else { Some(self.body(from, body)?) };
        Ok(HttpResponse { status, headers, body })
    }

    fn body(&self, from: &Outgoing, body: Body) -> Result<Vec<u8>, String> {
        let limit = self.bounds.body_bytes;
        let refused = || too_large("body", "http_body_bytes", limit);
        if body.content_length().is_some_and(|length| length > limit) {
            return Err(refused());
        }
        let mut bytes = Vec::new();
        let read = body.into_reader().take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| explain(error.into(), &from.target, &self.bounds))?;
        if Instant::now() >= self.until {
            return Err(timed_out(&self.bounds));
        }
        if bytes.len() as u64 > limit { Err(refused()) } else { Ok(bytes) }
    }
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// What says something of a body.
const OF_THE_BODY: [HeaderName; 4] = [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE];
const CREDENTIALS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// Turns a request into the one that a redirect asks for.
fn redirect(outgoing: &mut Outgoing, reach: &Reach, status: u16, location: &str) -> Result<(), String> {
    let target = outgoing.target.join(location)?;
    if outgoing.target.https && !target.https {
        // A body, or a key in a header, would go out in the clear.
        return Err("from https to http: what was asked in confidence is not asked in the open".to_owned());
    }
    reach.check(&target)?;
    let becomes_get = match status {
        301 | 302 => outgoing.method == Method::POST,
        303 => outgoing.method != Method::HEAD,
        _ => false,
    };
    if becomes_get {
        outgoing.method = Method::GET;
        outgoing.body = None;
        outgoing.drop_headers(&OF_THE_BODY);
    }
    if !target.is_same_origin(&outgoing.target) {
        outgoing.drop_headers(&CREDENTIALS);
    }
    outgoing.target = target;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::wit::HttpRequest;

    fn outgoing(method: &str, uri: &str) -> Outgoing {
        let headers = ["Authorization", "Content-Type", "COOKIE", "X"].map(|name| (name.to_owned(), "v".to_owned()));
        let request = HttpRequest { method: method.into(), uri: uri.into(), headers: headers.to_vec(), body: None };
        Outgoing::new(&request, &Reach::Public).expect("it may leave")
    }

    fn names(outgoing: &Outgoing) -> Vec<&str> {
        outgoing.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_redirect_from_a_public_host_to_an_address_that_is_not_public_is_refused() {
        for (location, what) in [
            ("http://169.254.169.254/latest/meta-data/", "169.254.169.254 is a metadata address"),
            ("//127.0.0.1/", "127.0.0.1 is a loopback address"),
            ("http://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1 is the IPv4-mapped form of a private address"),
            ("http://[::ffff:7f00:1]/", "::ffff:127.0.0.1 is the IPv4-mapped form of a loopback address"),
        ] {
            let why = redirect(&mut outgoing("GET", "http://example.org/"), &Reach::Public, 302, location);
            let why = why.expect_err(location);
            assert_eq!(why, format!("refused: {what}; without an allow-list only public addresses are reached"));
        }
        for odd in ["http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/"] {
            redirect(&mut outgoing("GET", "http://example.org/"), &Reach::Public, 302, odd).expect_err(odd);
        }
    }

    #[test]
    fn a_redirect_from_https_to_http_is_refused_and_the_other_way_is_not() {
        let why = redirect(&mut outgoing("GET", "https://example.org/"), &Reach::Public, 307, "http://example.org/");
        assert!(why.expect_err("it would be in the open").starts_with("from https to http: "));
        redirect(&mut outgoing("GET", "http://example.org/"), &Reach::Public, 307, "https://example.org/")
            .expect("from the open to a secret");
    }

    #[test]
    fn what_a_redirect_has_no_use_for_does_not_follow_it() {
        let mut same = outgoing("POST", "http://example.org/");
        redirect(&mut same, &Reach::Public, 303, "/next").expect("it may be followed");
        assert_eq!((same.method.as_str(), names(&same)), ("GET", vec!["Authorization", "COOKIE", "X"]));
        let mut away = outgoing("POST", "http://example.org/");
        redirect(&mut away, &Reach::Public, 307, "http://example.net/").expect("it may be followed");
        assert_eq!((away.method.as_str(), names(&away)), ("POST", vec!["Content-Type", "X"]));
    }
}
