//! Helpers for HTTP requests and responses that actors often need.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::json;
use crate::{HttpRequest, HttpResponse};

impl HttpRequest {
    /// The path of the request, without the query.
    pub fn path(&self) -> &str {
        self.uri.split_once('?').map_or(&self.uri, |(path, _)| path)
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
    fn a_wrong_method_is_told_the_right_ones() {
        let response = HttpResponse::method_not_allowed("GET, POST");
        assert_eq!(response.status, 405);
        assert_eq!(response.headers.last(), Some(&("allow".into(), "GET, POST".into())));
        assert_eq!(response.body.as_deref(), Some(&br#"{"error":"method not allowed"}"#[..]));
    }
}
