//! Routes: which actor answers which HTTP request of a listener of the runtime.
//!
//! ```text
//!   host  "shop.example.org"       path  "/carts/{cart}/*"       to  "shop/{cart}"
//! ```
//!
//! A segment `{name}` of the path stands for any one segment, and the same `{name}` in the target is replaced by it. `*` at the end
//! stands for any further segments, or for none. The first route of a listener that fits a request is taken.

use crate::net::http::Authority;
use crate::system::Label;

/// One route of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestRoute {
    /// In lower case and without a port; none for any host.
    host: Option<String>,
    path: PathPattern,
    target: Vec<TargetPart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PathPattern {
    segments: Vec<Segment>,
    /// Whether further segments may follow.
    is_open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Is(String),
    Named(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TargetPart {
    Text(String),
    Named(String),
}

/// The path of a request: its segments, decoded.
pub(crate) struct RequestPath(Vec<String>);

impl RequestPath {
    /// `None` if the request target is no path, or not one whose percent-encoding makes UTF-8.
    pub(crate) fn read(uri: &str) -> Option<Self> {
        let path = uri.split('?').next()?.strip_prefix('/')?;
        path.split('/').map(decoded).collect::<Option<_>>().map(Self)
    }
}

fn decoded(segment: &str) -> Option<String> {
    if !segment.contains('%') {
        return Some(segment.to_owned());
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let byte = tail.get(..2).and_then(|digits| hex::decode(digits).ok())?;
            bytes.extend(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

impl RequestRoute {
    /// Reads a route as `theater.toml` has it. The error says what is wrong with it.
    pub(crate) fn read(host: Option<&str>, path: &str, to: &str) -> Result<Self, String> {
        let host = host.map(|host| match Authority::parse(host) {
            _ if host.contains('*') => {
                Err(format!("\"host\" has no *; a route without \"host\" takes all hosts: {host:?}"))
            }
            _ if !host.is_ascii() => Err(format!("\"host\" is written in ASCII, such as xn--mnchen-3ya.de: {host:?}")),
            Some(authority) if authority.host == host => Ok(host.to_ascii_lowercase()),
            Some(_) => Err(format!("\"host\" has no port: {host:?}")),
            None => Err(format!("\"host\" is no name of a host: {host:?}")),
        });
        let path = PathPattern::read(path)?;
        let target = target(to)?;
        for part in &target {
            if let TargetPart::Named(name) = part
                && !path.names().any(|known| known == name)
            {
                return Err(format!("\"to\" has {{{name}}}, and \"path\" has no such segment"));
            }
        }
        Ok(Self { host: host.transpose()?, path, target })
    }

    /// Whether each request that `other` fits is taken by this route, which comes before it.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let is_wider = |(own, of_other): (&Segment, &Segment)| match (own, of_other) {
            (Segment::Named(_), _) => true,
            (Segment::Is(own), Segment::Is(of_other)) => own == of_other,
            (Segment::Is(_), Segment::Named(_)) => false,
        };
        let (own, of_other) = (&self.path, &other.path);
        let lengths = match own.is_open {
            true => own.segments.len() <= of_other.segments.len(),
            false => own.segments.len() == of_other.segments.len() && !of_other.is_open,
        };
        (self.host.is_none() || self.host == other.host)
            && lengths
            && own.segments.iter().zip(&of_other.segments).all(is_wider)
            // A named segment is not empty, and a fixed one may be.
            && own.segments.iter().zip(&of_other.segments).all(|(own, of_other)| {
                !matches!((own, of_other), (Segment::Named(_), Segment::Is(text)) if text.is_empty())
            })
    }

    /// The address of the actor that answers a request to this host and path; `None` if the route does not fit it.
    pub(crate) fn address(&self, host: Option<&str>, path: &RequestPath) -> Option<String> {
        if let Some(wanted) = &self.host
            && !host.and_then(Authority::parse).is_some_and(|given| given.host.eq_ignore_ascii_case(wanted))
        {
            return None;
        }
        let given = self.path.fit(&path.0)?;
        let part = |part: &TargetPart| match part {
            TargetPart::Text(text) => Some(text.clone()),
            // What cannot be a label names no actor. So a segment with a slash in it leads nowhere else, either.
            TargetPart::Named(name) => {
                let (_, segment) = given.iter().find(|(known, _)| *known == name)?;
                segment.parse::<Label>().ok().map(|label| label.as_str().to_owned())
            }
        };
        self.target.iter().map(part).collect()
    }
}

impl PathPattern {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("\"path\" {why}: {text:?}");
        let Some(path) = text.strip_prefix('/') else { return Err(wrong("begins with a slash")) };
        if text.contains(['?', '#', '%']) {
            return Err(wrong("is a path as people read it, without %, ? and #"));
        }
        let mut segments: Vec<Segment> = Vec::new();
        let mut is_open = false;
        for part in path.split('/') {
            if is_open {
                return Err(wrong("has its * at the end"));
            }
            let name = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            match (part, name) {
                ("*", _) => is_open = true,
                (_, Some(name)) => {
                    let is_name =
                        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                    if !is_name || segments.contains(&Segment::Named(name.to_owned())) {
                        return Err(wrong("names each {segment} once, in letters, digits and _"));
                    }
                    segments.push(Segment::Named(name.to_owned()));
                }
                (_, None) if part.contains(['{', '}', '*']) => {
                    return Err(wrong("has { } and * only for whole segments"));
                }
                (_, None) => segments.push(Segment::Is(part.to_owned())),
            }
        }
        Ok(Self { segments, is_open })
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Named(name) => Some(name),
            Segment::Is(_) => None,
        })
    }

    /// The segments that the names stand for, if the path fits.
    fn fit<'a>(&'a self, path: &'a [String]) -> Option<Vec<(&'a String, &'a str)>> {
        if path.len() < self.segments.len() || (path.len() > self.segments.len() && !self.is_open) {
            return None;
        }
        let mut given = Vec::new();
        for (segment, part) in self.segments.iter().zip(path) {
            match segment {
                Segment::Is(text) if text == part => {}
                Segment::Named(name) if !part.is_empty() => given.push((name, part.as_str())),
                Segment::Is(_) | Segment::Named(_) => return None,
            }
        }
        Some(given)
    }
}

fn target(text: &str) -> Result<Vec<TargetPart>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or_else(|| format!("\"to\" has a {{ without a }}: {text:?}"))?;
        parts.extend([TargetPart::Text(before.to_owned()), TargetPart::Named(name.to_owned())]);
        rest = after;
    }
    parts.push(TargetPart::Text(rest.to_owned()));
    let is_label = |part: &str| part.contains('{') || part.parse::<Label>().is_ok();
    let is_address = !text.is_empty()
        && !text.split('/').next().unwrap_or_default().trim().is_empty()
        && text.split('/').skip(1).all(is_label);
    if is_address {
        Ok(parts)
    } else {
        Err(format!("\"to\" is the address of an actor, such as \"shop/{{cart}}\": {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(route: &(Option<&str>, &str, &str), host: Option<&str>, uri: &str) -> Option<String> {
        let (only, path, to) = route;
        RequestRoute::read(*only, path, to).expect("a route").address(host, &RequestPath::read(uri)?)
    }

    #[test]
    fn a_path_leads_to_the_actor_that_its_segments_name() {
        let carts = (None, "/carts/{cart}/*", "shop/{cart}");
        for (uri, to) in [
            ("/carts/alice", Some("shop/alice")),
            ("/carts/alice/", Some("shop/alice")),
            ("/carts/alice/items/7?full=1", Some("shop/alice")),
            ("/carts/alice%40example.org/items", Some("shop/alice@example.org")),
            ("/c%61rts/alice", Some("shop/alice")),
            ("/carts", None),
            ("/carts/", None),
            ("/Carts/alice", None),
            ("/carts/a%2Fb", None),
            ("/carts/a b", None),
            ("/carts/..", None),
            ("/carts/%ff", None),
            ("/carts/%4", None),
            ("*", None),
        ] {
            assert_eq!(led(&carts, None, uri).as_deref(), to, "{uri}");
        }
        let whole = (None, "/health", "watch");
        assert_eq!(led(&whole, None, "/health?x").as_deref(), Some("watch"));
        assert_eq!(led(&whole, None, "/health/x"), None);
        assert_eq!(led(&(None, "/*", "web"), None, "/").as_deref(), Some("web"));
        let two = (None, "/{region}/{shop}/*", "root/{shop}/{region}");
        assert_eq!(led(&two, None, "/eu/books/1").as_deref(), Some("root/books/eu"));
    }

    #[test]
    fn a_route_with_a_host_is_for_that_host_alone() {
        let route = (Some("Shop.example.org"), "/*", "shop");
        for (host, fits) in [
            (Some("shop.example.org"), true),
            (Some("SHOP.example.org:8080"), true),
            (Some("shop.example.org."), false),
            (Some("example.org"), false),
            (None, false),
        ] {
            assert_eq!(led(&route, host, "/").is_some(), fits, "{host:?}");
        }
        assert!(led(&(Some("[::1]"), "/*", "shop"), Some("[::1]:80"), "/").is_some());
    }

    #[test]
    fn what_is_no_route_is_refused_with_the_reason() {
        for (host, path, to, why) in [
            (None, "carts", "shop", "begins with a slash"),
            (None, "/a*", "shop", "whole segments"),
            (None, "/*/a", "shop", "at the end"),
            (None, "/{a}/{a}", "shop/{a}", "once"),
            (None, "/{}", "shop", "once"),
            (None, "/a%20b", "shop", "without %"),
            (None, "/{a}", "shop/{b}", "has {b}"),
            (None, "/a", "", "address"),
            (None, "/a", "shop//x", "address"),
            (None, "/a", "shop/{a", "without a }"),
            (Some(""), "/a", "shop", "host"),
            (Some("a/b"), "/a", "shop", "host"),
            (Some("a:80"), "/a", "shop", "no port"),
        ] {
            let refused = RequestRoute::read(host, path, to).expect_err(path);
            assert!(refused.contains(why), "{path} {to}: {refused}");
        }
    }
}
