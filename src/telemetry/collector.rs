//! The collector, as it is sent to: one request at a time, with headers from a file, and what its answer means.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::base::text::one_line;
use crate::handlers::{OwnAnswer, OwnServer};
use crate::net::Wakeup;
use crate::server::{open_to_others, read_secret};

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(10);
/// How much of what a collector answers is told in the log.
const ANSWER_CHARS: usize = 300;
/// What OTLP says may be sent again.
const AGAIN: [u16; 4] = [429, 502, 503, 504];

/// A collector of OpenTelemetry, by OTLP over HTTP.
pub(super) struct Collector {
    endpoint: String,
    server: OwnServer,
    headers: Option<PathBuf>,
    give_up: Arc<Wakeup>,
}

/// Why a request was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// It may be sent again.
    ForNow(String),
    Never(String),
}

impl Collector {
    /// The collector at `endpoint`. Waking `give_up` ends every request.
    pub(super) fn new(endpoint: &str, headers: Option<PathBuf>, give_up: Arc<Wakeup>) -> Result<Self, String> {
        let server = OwnServer::new(endpoint, REQUEST).map_err(|why| format!("\"telemetry.endpoint\": {why}"))?;
        let collector = Self { endpoint: endpoint.trim_end_matches('/').to_owned(), server, headers, give_up };
        let has_secrets = collector.headers.is_some();
        collector.headers().map_err(|why| format!("\"telemetry.headers_file\": {why}"))?;
        let doubt = collector.headers.as_deref().and_then(|file| Some((file, open_to_others(file)?)));
        if let Some((file, doubt)) = doubt {
            log::warn!("the headers in {} {doubt}", file.display());
        }
        if has_secrets && collector.server.is_in_the_open() {
            log::warn!("the headers for {endpoint} can be read on their way: \"telemetry.endpoint\" is not https");
        }
        Ok(collector)
    }

    /// Sends a document to `path`. Returns how many of its parts were not taken, if the collector says so.
    pub(super) fn send(&self, path: &str, document: Vec<u8>) -> Result<u64, NotTaken> {
        let named = |why: String| format!("{}{path}: {why}", self.endpoint);
        // They may have been replaced meanwhile.
        let mut headers = self.headers().map_err(|why| NotTaken::ForNow(named(why)))?;
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        let answer = self.server.post(path, headers, document, &self.give_up);
        let OwnAnswer { status, body } = answer.map_err(|why| NotTaken::ForNow(named(why)))?;
        match status {
            200..300 => Ok(rejected(&body)),
            _ => {
                let said = one_line(String::from_utf8_lossy(&body).trim(), ANSWER_CHARS);
                let why = named(format!("it answers {status}{}{said}", if said.is_empty() { "" } else { ": " }));
                Err(if AGAIN.contains(&status) { NotTaken::ForNow(why) } else { NotTaken::Never(why) })
            }
        }
    }

    fn headers(&self) -> Result<Vec<(String, String)>, String> {
        self.headers.as_deref().map_or(Ok(Vec::new()), read_headers)
    }
}

/// The headers in a file: `NAME: VALUE`, one a line. No error quotes a value.
fn read_headers(path: &Path) -> Result<Vec<(String, String)>, String> {
    let text = read_secret(path).map_err(|why| format!("cannot read the headers in {}: {why}", path.display()))?;
    let mut headers = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let bad = |what: &str| {
            let mut why = format!("{}:{number}: {what}; ", path.display());
            let _ = write!(why, "a line is \"NAME: VALUE\", such as \"Authorization: Bearer …\"");
            why
        };
        let (name, value) = line.split_once(':').ok_or_else(|| bad("there is no colon"))?;
        let (name, value) = (name.trim(), value.trim());
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(bad("the name of a header has letters, digits and hyphens"));
        }
        if value.is_empty() || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(bad("its value has printable ASCII characters"));
        }
        if ["content-type", "content-length", "host"].contains(&name.to_ascii_lowercase().as_str()) {
            return Err(bad("Theater sends this header itself"));
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    if headers.is_empty() { Err(format!("{}: it has no header", path.display())) } else { Ok(headers) }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    partial_success: Partial,
}

/// What a collector has not taken of a request that it has taken. A number of 64 bits is a text, and some write a number.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Partial {
    rejected_spans: serde_json::Value,
    rejected_data_points: serde_json::Value,
}

fn rejected(body: &[u8]) -> u64 {
    let Partial { rejected_spans, rejected_data_points } =
        serde_json::from_slice::<Answer>(body).unwrap_or_default().partial_success;
    let number = |value: &serde_json::Value| value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0);
    number(&rejected_spans).max(number(&rejected_data_points))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_collector_has_not_taken_is_understood_in_either_form() {
        for (body, count) in [
            (r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}}"#, 3),
            (r#"{"partialSuccess":{"rejectedDataPoints":4}}"#, 4),
            (r#"{"partialSuccess":{}}"#, 0),
            ("{}", 0),
            ("", 0),
            ("not JSON", 0),
            (r#"{"partialSuccess":{"rejectedSpans":"-3"}}"#, 0),
        ] {
            assert_eq!(rejected(body.as_bytes()), count, "{body}");
        }
    }

    #[test]
    fn headers_are_read_from_a_file_and_a_mistake_is_named_without_the_value() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let read = |text: &str| {
            std::fs::write(file.path(), text).expect("written");
            read_headers(file.path())
        };
        let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let two = read("Authorization: Bearer a:b\n\nx-tenant:7\n").expect("two headers");
        assert_eq!(two, [owned("Authorization", "Bearer a:b"), owned("x-tenant", "7")]);
        for bad in ["hunter2", "a b: hunter2", "a:", "a: hunter2\u{1}", "", "content-type: hunter2", ": hunter2"] {
            let why = read(bad).expect_err(bad);
            assert!(!why.contains("hunter2") && why.contains(&file.path().display().to_string()), "{why}");
        }
    }
}
