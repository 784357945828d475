//! One exchange: a request, the redirects that it leads to, and the response at the end. It runs on a thread of its
//! own.

use std::sync::Arc;

use rustls::ClientConfig;

use super::HttpClient;
use super::bounds::Bounds;
use super::connection::{OutboundConnection, Route};
use super::explain::{ExchangeFailure, explain};
use super::outgoing_request::OutgoingRequest;
use super::reach::Reach;
use super::response::{IncomingResponse, ResponseHead};
use super::revealed::Revealed;
use super::secret_headers::SecretHeaders;
use crate::guest::wit::HttpResponse;
use crate::net::{Deadline, Wakeup};
use crate::system::Secrets;

/// Makes one exchange. It keeps no connection: for each hop (the request, and each redirect) the name is resolved,
/// checked and connected to anew.
pub(super) struct HttpExchange {
    bounds: Bounds,
    reach: Arc<Reach>,
    tls: Arc<ClientConfig>,
    headers: Arc<SecretHeaders>,
    secrets: Secrets,
    /// Wakes the exchange when it is given up.
    give_up: Arc<Wakeup>,
    until: Deadline,
}

impl HttpExchange {
    pub(super) fn new(client: &HttpClient, bounds: Bounds, secrets: Secrets) -> std::io::Result<Self> {
        Ok(Self::woken_by(client, bounds, secrets, Wakeup::new()?))
    }

    /// Like [`HttpExchange::new`], for whoever has a wakeup that gives up every exchange of its own.
    pub(super) fn woken_by(client: &HttpClient, bounds: Bounds, secrets: Secrets, give_up: Arc<Wakeup>) -> Self {
        let (reach, tls, headers) = (Arc::clone(&client.reach), Arc::clone(&client.tls), Arc::clone(&client.headers));
        Self { bounds, reach, tls, headers, secrets, give_up, until: Deadline::after(bounds.whole) }
    }

    /// Gives the exchange up, from another thread: its connection is closed. The exchange never resets this wakeup, so
    /// that all its later waits end at once, too.
    pub(super) fn give_up(&self) -> Arc<Wakeup> {
        Arc::clone(&self.give_up)
    }

    pub(super) fn until(&self) -> Deadline {
        self.until
    }

    /// Makes the exchange. What is returned holds no secret, although a server may have sent one back.
    pub(super) fn run(self, outgoing: OutgoingRequest) -> Result<HttpResponse, String> {
        let secrets = self.headers.reveal(&outgoing.target, &self.secrets).map_err(|why| why.to_string())?;
        let (asked, mut repeated) = (outgoing.target.place(), None);
        let answered = self.follow(outgoing, &secrets, &mut repeated);
        match (answered, repeated) {
            // A URL in such a text may have other letters than the server sent, and a text may be cut within the secret.
            (Err(_), Some(header)) => Err(format!(
                "failed after a secret came back: a server, {asked} or one that it redirects to, repeats the secret in the \
                 header {header}; what failed is not told, because that text would be made from the header"
            )),
            (answered, _) => secrets.masked(answered),
        }
    }

    /// Sets `repeated` to the name of a header that a server has used to send a secret back, if the texts of errors are made
    /// from that header.
    fn follow(
        &self,
        mut outgoing: OutgoingRequest,
        revealed: &Revealed,
        repeated: &mut Option<&'static str>,
    ) -> Result<HttpResponse, String> {
        let (asked, nothing) = (outgoing.target.clone(), Revealed::default());
        // A server that redirects elsewhere chooses what is asked from there on. It must not choose with secrets of others,
        // nor with those of the first server when it leads back there.
        let mut was_elsewhere = false;
        for redirects in 0.. {
            was_elsewhere |= !outgoing.target.is_same_origin(&asked);
            let secrets = if was_elsewhere { &nothing } else { revealed };
            let mut answer = IncomingResponse::new(outgoing.method == "HEAD", &self.bounds);
            let ended = self.hop(&outgoing, secrets, &mut answer);
            *repeated = repeated.or(answer.head().and_then(|head| repeats(head, revealed)));
            ended.map_err(|failure| explain(failure, &outgoing.target, &self.bounds))?;
            let Some((status, location)) = answer.head().and_then(|head| self.followed(head)) else {
                let (ResponseHead { status, headers, .. }, body) = answer.into_parts();
                return Ok(HttpResponse { status, headers, body });
            };
            if answer.head().is_some_and(|head| head.values("location").any(|other| other != location)) {
                let place = outgoing.target.place();
                return Err(format!("not an HTTP response: {place}: it redirects to several places"));
            }
            if redirects == self.bounds.redirects {
                return Err(format!("too many redirects: max_redirects is {redirects}"));
            }
            redirect(&mut outgoing, &self.reach, status, &location)
                .map_err(|why| format!("redirected by {}: {why}", outgoing.target.place()))?;
        }
        unreachable!("redirects are bounded")
    }

    /// Where a response redirects to, if that is followed.
    fn followed(&self, head: &ResponseHead) -> Option<(u16, String)> {
        let location = head.values("location").next().filter(|_| self.bounds.redirects > 0)?;
        is_redirect(head.status).then(|| (head.status, location.to_owned()))
    }

    /// One request and its response: the whole response, or its head alone if that is a redirect to be followed.
    fn hop(
        &self,
        outgoing: &OutgoingRequest,
        secrets: &Revealed,
        answer: &mut IncomingResponse,
    ) -> Result<(), ExchangeFailure> {
        let target = &outgoing.target;
        let addresses = self.reach.resolve(target).map_err(ExchangeFailure::Said)?;
        let route = Route {
            host: &target.host,
            tls: target.https.then(|| Arc::clone(&self.tls)),
            connect_until: Deadline::after(self.bounds.connect),
            until: self.until,
            give_up: &self.give_up,
        };
        let mut connection = OutboundConnection::open(&addresses, route)?;
        let (head, body) = (outgoing.head(secrets), outgoing.body.as_deref().unwrap_or_default());
        let ended = connection.converse(&[&head, body], |came| {
            answer.push(came)?;
            Ok(answer.is_complete() || answer.head().is_some_and(|head| self.followed(head).is_some()))
        })?;
        if answer.is_complete() || answer.head().is_some_and(|head| self.followed(head).is_some()) {
            return Ok(());
        }
        // A server that refuses a body without reading it resets the connection after its response. In all other cases
        // a reset may have cut the response off.
        let is_cut = ended.by_reset && (ended.sent || !answer.is_until_end());
        if !is_cut && answer.end() {
            return Ok(());
        }
        Err(ExchangeFailure::Lost(answer.head().map(|head| head.status).filter(|_| !ended.sent)))
    }
}

/// The header of a response, among those that the texts of errors are made from, that repeats a secret.
fn repeats(head: &ResponseHead, secrets: &Revealed) -> Option<&'static str> {
    QUOTED.into_iter().find(|name| head.values(name).any(|value| secrets.are_in(value)))
}

/// The headers of a response that the texts of errors are made from.
const QUOTED: [&str; 3] = ["location", "content-length", "transfer-encoding"];

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Headers that describe a body.
const OF_THE_BODY: [&str; 4] = ["content-encoding", "content-language", "content-location", "content-type"];
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// Turns a request into the one that a redirect asks for.
fn redirect(outgoing: &mut OutgoingRequest, reach: &Reach, status: u16, location: &str) -> Result<(), String> {
    let target = outgoing.target.join(location)?;
    if outgoing.target.https && !target.https {
        // The body, or a key in a header, would be sent unencrypted.
        return Err("from https to http: what was asked in confidence is not asked in the open".to_owned());
    }
    reach.check(&target)?;
    let becomes_get = match status {
        301 | 302 => outgoing.method == "POST",
        303 => outgoing.method != "HEAD",
        _ => false,
    };
    if becomes_get {
        outgoing.method = "GET".to_owned();
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

    fn outgoing(method: &str, uri: &str) -> OutgoingRequest {
        let headers = ["Authorization", "Content-Type", "COOKIE", "X"].map(|name| (name.to_owned(), "v".to_owned()));
        let request = HttpRequest { method: method.into(), uri: uri.into(), headers: headers.to_vec(), body: None };
        OutgoingRequest::new(&request, &Reach::Public).expect("it may leave")
    }

    fn names(outgoing: &OutgoingRequest) -> Vec<&str> {
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
