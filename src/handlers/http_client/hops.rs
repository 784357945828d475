//! One exchange: a request, the redirects that follow it, and the response at the end. Runs on a thread of its own.

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;
use ureq::config::AutoHeaderValue;
use ureq::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, LOCATION, PROXY_AUTHORIZATION};
use ureq::http::{Method, Request, Response};
use ureq::tls::TlsConfig;
use ureq::unversioned::transport::{Connector, RustlsConnector, TcpConnector};
use ureq::{Agent, AsSendBody, Body, Error};

use super::explain::{explain, timed_out, too_large};
use super::outgoing::Outgoing;
use super::reach::{Gate, Reach};
use super::tap::{Headers, Tap, value};
use super::{Bounds, Client};
use crate::guest::wit::HttpResponse;

/// What makes one exchange. Its agent keeps no connection: each hop is resolved, checked and connected anew.
pub(super) struct Exchange {
    agent: Agent,
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
        let (tap, heads) = crossbeam_channel::unbounded();
        let connector = ().chain(TcpConnector::default()).chain(RustlsConnector::default()).chain(Tap(tap));
        let agent = Agent::with_parts(config, connector, Gate(client.reach.clone()));
        Self { agent, heads, bounds, reach: client.reach.clone(), until: Instant::now() + bounds.whole }
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
            self.redirect(&mut outgoing, response.status().as_u16(), &location)
                .map_err(|why| format!("redirected by {}: {why}", outgoing.target.place()))?;
        }
        unreachable!("redirects are bounded")
    }

    fn hop(&self, outgoing: &Outgoing) -> Result<(Response<Body>, Option<Headers>), String> {
        let mut request = Request::new(());
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = outgoing.target.uri.clone();
        *request.headers_mut() = outgoing.headers.clone();
        let response = match outgoing.body.as_deref() {
            Some(body) => self.send(request.map(|()| body)),
            None => self.send(request),
        };
        let response = response.map_err(|error| explain(error, &outgoing.target, &self.bounds))?;
        Ok((response, self.heads.try_recv().ok()))
    }

    fn send<B: AsSendBody>(&self, request: Request<B>) -> Result<Response<Body>, Error> {
        let left = self.until.saturating_duration_since(Instant::now());
        self.agent.run(self.agent.configure_request(request).timeout_global(Some(left)).build())
    }

    /// Turns a request into the one that a redirect asks for.
    fn redirect(&self, outgoing: &mut Outgoing, status: u16, location: &str) -> Result<(), String> {
        let target = outgoing.target.join(location)?;
        if outgoing.target.https && !target.https {
            // A body, or a key in a header, would go out in the clear.
            return Err("from https to http: what was asked in confidence is not asked in the open".to_owned());
        }
        self.reach.check(&target)?;
        let becomes_get = match status {
            301 | 302 => outgoing.method == Method::POST,
            303 => outgoing.method != Method::HEAD,
            _ => false,
        };
        if becomes_get {
            outgoing.method = Method::GET;
            outgoing.body = None;
            outgoing.headers.remove(CONTENT_TYPE);
            outgoing.headers.remove(CONTENT_ENCODING);
        }
        if !target.is_same_origin(&outgoing.target) {
            for credential in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                outgoing.headers.remove(credential);
            }
        }
        outgoing.target = target;
        Ok(())
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
