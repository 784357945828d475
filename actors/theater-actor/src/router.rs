//! A router: which function of an actor answers which HTTP method and path.

use std::ops::Deref;

use serde::de::DeserializeOwned;

use crate::json;
use crate::{HttpRequest, HttpResponse};

/// Which function answers which method and path.
///
/// ```
/// use theater_actor::{Actor, HttpHandler, HttpRequest, HttpResponse, Problem, Routed, Router};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Shop {
///     items: std::collections::BTreeMap<String, u64>,
/// }
///
/// impl Shop {
///     fn price(&mut self, request: &Routed<'_>) -> Result<HttpResponse, Problem> {
///         match self.items.get(request.param("item")) {
///             Some(price) => Ok(HttpResponse::json(200, price)?),
///             None => Ok(HttpResponse::error(404, "no such item")),
///         }
///     }
///
///     fn set(&mut self, request: &Routed<'_>) -> Result<HttpResponse, Problem> {
///         self.items.insert(request.param("item").to_owned(), request.json()?);
///         Ok(HttpResponse::text(200, "set"))
///     }
/// }
///
/// impl HttpHandler for Shop {
///     fn handle(&mut self, request: HttpRequest) -> Result<HttpResponse, String> {
///         Router::new().get("/items/{item}", Self::price).put("/items/{item}", Self::set).answer(self, &request)
///     }
/// }
/// # impl Actor for Shop {
/// #     fn init(_: Option<Self>, _: &str) -> Result<Self, String> { Ok(Self { items: Default::default() }) }
/// # }
/// # let mut shop = Shop::init(None, "").unwrap();
/// # let mut ask = |method: &str, uri: &str, body: &str| {
/// #     let request = HttpRequest { method: method.into(), uri: uri.into(), headers: vec![], body: Some(body.into()) };
/// #     shop.handle(request).unwrap()
/// # };
/// # assert_eq!(ask("PUT", "/items/red%20tea", "250").status, 200);
/// # assert_eq!(ask("GET", "/items/red%20tea", "").body.unwrap(), b"250");
/// # assert_eq!(ask("PUT", "/items/tea", "no number").status, 400);
/// # assert_eq!(ask("POST", "/items/tea", "").status, 405);
/// # assert_eq!(ask("GET", "/", "").status, 404);
/// ```
///
/// In a pattern, `{name}` stands for one part of a path, decoded, and `*` at the end for all that follows, as `rest`. Of two
/// patterns that fit, the one that was added first counts. A path that no pattern fits is answered with 404, a method that a path
/// does not have with 405, and a body that is not understood with 400. HEAD is answered as GET, without the body.
pub struct Router<A> {
    routes: Vec<Route<A>>,
}

struct Route<A> {
    method: &'static str,
    pattern: &'static str,
    answer: Answer<A>,
}

/// A function that answers requests.
pub type Answer<A> = fn(&mut A, &Routed<'_>) -> Result<HttpResponse, Problem>;

/// Why a function of a router gives no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The request is not understood: the client gets status 400, with the text.
    Bad(String),
    /// The call is refused, as [`HttpHandler::handle`](crate::HttpHandler::handle) does it with an `Err`: the state stays as it was,
    /// and the client gets status 500 without the text. Any `String` becomes this.
    Refused(String),
}

impl From<String> for Problem {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
}

impl From<&str> for Problem {
    fn from(why: &str) -> Self {
        Self::Refused(why.into())
    }
}

/// A request whose path fits a pattern. It is an [`HttpRequest`], with the parameters of the path.
pub struct Routed<'a> {
    request: &'a HttpRequest,
    params: Vec<(&'static str, String)>,
}

impl Deref for Routed<'_> {
    type Target = HttpRequest;

    fn deref(&self) -> &HttpRequest {
        self.request
    }
}

impl Routed<'_> {
    /// What stands in the path in place of `{name}`.
    ///
    /// # Panics
    /// The pattern has no such name.
    pub fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(it, _)| *it == name);
        found.map_or_else(|| panic!("the pattern has no {{{name}}}"), |(_, value)| value)
    }

    /// Decodes the body from JSON.
    ///
    /// # Errors
    /// It is not a `T`; the client gets status 400.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        json::read("body", self.body.as_deref().unwrap_or_default()).map_err(Problem::Bad)
    }
}

impl<A> Default for Router<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> Router<A> {
    pub const fn new() -> Self {
        Self { routes: Vec::new() }
    }

    /// Has a function answer requests with this method, whose path fits the pattern.
    #[must_use]
    pub fn on(mut self, method: &'static str, pattern: &'static str, answer: Answer<A>) -> Self {
        debug_assert!(pattern.starts_with('/'), "the pattern {pattern} does not begin with a slash");
        self.routes.push(Route { method, pattern, answer });
        self
    }

    #[must_use]
    pub fn get(self, pattern: &'static str, answer: Answer<A>) -> Self {
        self.on("GET", pattern, answer)
    }

    #[must_use]
    pub fn post(self, pattern: &'static str, answer: Answer<A>) -> Self {
        self.on("POST", pattern, answer)
    }

    #[must_use]
    pub fn put(self, pattern: &'static str, answer: Answer<A>) -> Self {
        self.on("PUT", pattern, answer)
    }

    #[must_use]
    pub fn patch(self, pattern: &'static str, answer: Answer<A>) -> Self {
        self.on("PATCH", pattern, answer)
    }

    #[must_use]
    pub fn delete(self, pattern: &'static str, answer: Answer<A>) -> Self {
        self.on("DELETE", pattern, answer)
    }

    /// Answers a request.
    ///
    /// # Errors
    /// The function of the route has refused the call.
    pub fn answer(&self, actor: &mut A, request: &HttpRequest) -> Result<HttpResponse, String> {
        let is_head = request.method == "HEAD";
        let mut allowed: Vec<&str> = Vec::new();
        for Route { method, pattern, answer } in &self.routes {
            let Some(params) = fitting(pattern, request.path()) else { continue };
            if *method != request.method && !(is_head && *method == "GET") {
                if !allowed.contains(method) {
                    allowed.push(method);
                }
                continue;
            }
            return match answer(actor, &Routed { request, params }) {
                Ok(response) if is_head => Ok(HttpResponse { body: None, ..response }),
                Ok(response) => Ok(response),
                Err(Problem::Bad(why)) => Ok(HttpResponse::error(400, &why)),
                Err(Problem::Refused(why)) => Err(why),
            };
        }
        if allowed.is_empty() {
            return Ok(HttpResponse::error(404, &format!("nothing at {}", request.path())));
        }
        Ok(HttpResponse::method_not_allowed(&allowed.join(", ")))
    }
}

/// The parameters of a path that fits a pattern. A part that decodes to no text fits nothing.
fn fitting(pattern: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
    let mut params = Vec::new();
    let mut rest = Some(path.strip_prefix('/')?);
    let mut wanted = pattern.strip_prefix('/')?.split('/').peekable();
    while let Some(part) = wanted.next() {
        let left = rest?;
        if part == "*" && wanted.peek().is_none() {
            params.push(("rest", decoded(left, false)?));
            return Some(params);
        }
        let (first, after) = left.split_once('/').map_or((left, None), |(first, after)| (first, Some(after)));
        rest = after;
        let first = decoded(first, false)?;
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(_) if first.is_empty() => return None,
            Some(name) => params.push((name, first)),
            None if part == first => {}
            None => return None,
        }
    }
    rest.is_none().then_some(params)
}

/// Decodes what is percent-encoded, and in a query the plus signs; `None` if it is no text then.
pub(crate) fn decoded(text: &str, is_query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.bytes();
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(left.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if is_query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pattern: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
        fitting(pattern, path)
    }

    fn given(pairs: &[(&'static str, &str)]) -> Option<Vec<(&'static str, String)>> {
        Some(pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    }

    #[test]
    fn a_name_stands_for_one_part_of_a_path_that_is_not_empty() {
        assert_eq!(params("/a/{b}/c", "/a/%C3%A4%20/c"), given(&[("b", "ä ")]));
        assert_eq!(params("/a/{b}/c", "/a//c"), None);
        assert_eq!(params("/a/{b}", "/a/b/c"), None);
        assert_eq!(params("/a/{b}/c", "/a/b"), None);
        assert_eq!(params("/", "/"), given(&[]));
        assert_eq!(params("/a", "/a/"), None);
    }

    #[test]
    fn a_star_stands_for_all_that_follows() {
        assert_eq!(params("/files/*", "/files/a/b%20c"), given(&[("rest", "a/b c")]));
        assert_eq!(params("/files/*", "/files/"), given(&[("rest", "")]));
        assert_eq!(params("/files/*", "/other"), None);
    }

    #[test]
    fn what_decodes_to_no_text_fits_nothing() {
        for path in ["/%FF", "/%", "/%4", "/%zz"] {
            assert_eq!(params("/{a}", path), None, "{path}");
        }
    }

    #[test]
    fn head_is_answered_as_get_without_the_body() {
        let router = Router::<()>::new().get("/", |(), _| Ok(HttpResponse::text(200, "hello")));
        let request = HttpRequest { method: "HEAD".into(), uri: "/".into(), headers: vec![], body: None };
        let response = router.answer(&mut (), &request).unwrap();
        assert_eq!((response.status, response.body), (200, None));
    }

    #[test]
    fn a_refusal_is_passed_on() {
        let router = Router::<()>::new().get("/", |(), _| Err("no".into()));
        let request = HttpRequest { method: "GET".into(), uri: "/".into(), headers: vec![], body: None };
        assert_eq!(router.answer(&mut (), &request), Err("no".into()));
    }
}
