//! Helpers for HTTP requests and responses that actors often need.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::json;
use crate::router::decoded;
use crate::{HttpRequest, HttpResponse};

impl HttpRequest {
    /// The path of the request, without the query.
    pub fn path(&self) -> &str {
        self.uri.split_once('?').map_or(&self.uri, |(path, _)| path)
    }

    /// The parameters of the query, decoded, in their order.
    pub fn query(&self) -> Vec<(String, String)> {
        let query = self.uri.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        // What decodes to no text stays as it is.
        let plain = |part: &str| decoded(part, true).unwrap_or_else(|| part.to_owned());
        let split =
            |pair: &str| pair.split_once('=').map_or((plain(pair), String::new()), |(k, v)| (plain(k), plain(v)));
        pairs.map(split).collect()
    }

    /// The parameter of the query with this name; the last one if there are several.
    pub fn query_param(&self, name: &str) -> Option<String> {
        self.query().into_iter().rfind(|(it, _)| it == name).map(|(_, value)| value)
    }

    /// The value of a header, whatever the case of its name; the first one if there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let values = self.headers.iter().filter(|(it, _)| it.eq_ignore_ascii_case("cookie"));
        let pairs = values.flat_map(|(_, value)| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(|(it, _)| *it == name).map(|(_, value)| value).next_back()
    }

    /// Decodes the body from JSON.
    ///
    /// # Errors
    /// There is no body, or it is not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        json::read("body", self.body.as_deref().unwrap_or_default())
    }
}

impl HttpResponse {
    /// A response with a value as JSON.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(status: u16, value: &T) -> Result<Self, String> {
        let body = json::write("response", value)?;
        Ok(Self::new(status, "application/json", body))
    }

    /// A response with plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.into().into_bytes())
    }

    /// A response with a page.
    pub fn html(status: u16, page: impl Into<String>) -> Self {
        Self::new(status, "text/html; charset=utf-8", page.into().into_bytes())
    }

    /// Status 303, which sends the client to another address.
    pub fn redirect(location: &str) -> Self {
        Self { status: 303, headers: vec![("location".into(), location.into())], body: None }
    }

    /// A response with an error message, as `{"error": …}`.
    pub fn error(status: u16, message: &str) -> Self {
        let body = serde_json::json!({ "error": message }).to_string();
        Self::new(status, "application/json", body.into_bytes())
    }

    /// Status 405, with the methods that are allowed, such as `"GET, POST"`.
    pub fn method_not_allowed(allow: &str) -> Self {
        Self::error(405, "method not allowed").with_header("allow", allow)
    }

    /// The response with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The response, which also sets a cookie for the path `/`, out of reach of scripts. `more` is the rest of the header, such as
    /// `"Max-Age=3600; Secure"`.
    #[must_use]
    pub fn with_cookie(self, name: &str, value: &str, more: &str) -> Self {
        let more = if more.is_empty() { String::new() } else { format!("; {more}") };
        self.with_header("set-cookie", &format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{more}"))
    }

    fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![("content-type".into(), content_type.into())];
        Self { status, headers, body: Some(body) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_ends_where_the_query_begins() {
        let path = |uri: &str| {
            let request = HttpRequest { method: "GET".into(), uri: uri.into(), headers: vec![], body: None };
            request.path().to_owned()
        };
        assert_eq!(path("/items?page=2?"), "/items");
        assert_eq!(path("/"), "/");
    }

    #[test]
    fn queries_and_cookies_are_taken_apart() {
        let headers = vec![("Cookie".into(), "a=1; b=x=y".into())];
        let request =
            HttpRequest { method: "GET".into(), uri: "/?q=a+b%26c&q=2&flag&%FF=1".into(), headers, body: None };
        assert_eq!(request.query()[0], ("q".into(), "a b&c".into()));
        assert_eq!(request.query_param("q").as_deref(), Some("2"));
        assert_eq!(request.query_param("flag").as_deref(), Some(""));
        assert_eq!((request.query_param("%FF").as_deref(), request.query_param("none")), (Some("1"), None));
        assert_eq!((request.cookie("a"), request.cookie("b"), request.cookie("c")), (Some("1"), Some("x=y"), None));
        let set = HttpResponse::redirect("/home").with_cookie("s", "1", "Secure");
        assert_eq!(set.headers[1].1, "s=1; Path=/; HttpOnly; SameSite=Lax; Secure");
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let response = HttpResponse::method_not_allowed("GET, POST");
        assert_eq!(response.status, 405);
        assert_eq!(response.headers.last(), Some(&("allow".into(), "GET, POST".into())));
        assert_eq!(response.body.as_deref(), Some(&br#"{"error":"method not allowed"}"#[..]));
    }
}
