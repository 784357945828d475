//! The host functions outside of a component, with the signatures of the bindings: the test host of this thread answers them.

use serde_json::{Value, json};

use crate::testing::{Bytes, Json, ask};

type Outcome<T> = Result<T, String>;

/// A guest's bytes as a test sees them: as JSON if they hold it, else as text.
fn shown(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into())
}

pub mod runtime {
    use super::{ask, json};
    use crate::bindings::host::ntwk::theater::types::Chain;

    pub fn log(line: &str) {
        ask("runtime.log", vec![json!(line)])
    }

    pub fn get_chain() -> Chain {
        ask("runtime.get-chain", vec![])
    }
}

pub mod config {
    use super::{Json, ask, json};

    pub fn get(key: &str) -> Option<Vec<u8>> {
        let value: Option<Json> = ask("config.get", vec![json!(key)]);
        value.map(|Json(bytes)| bytes)
    }
}

pub mod message_server_host {
    use super::{Json, Outcome, ask, json, shown};

    pub fn send(actor: &str, message: &[u8]) -> Outcome<()> {
        ask("message-server-host.send", vec![json!(actor), shown(message)])
    }

    pub fn request(actor: &str, message: &[u8]) -> Outcome<Vec<u8>> {
        let answer: Outcome<Json> = ask("message-server-host.request", vec![json!(actor), shown(message)]);
        answer.map(|Json(bytes)| bytes)
    }
}

pub mod async_requests {
    use super::{Outcome, ask, json, shown};

    pub fn request_async(actor: &str, message: &[u8], deadline_ms: Option<u64>) -> Outcome<u64> {
        ask("async-requests.request-async", vec![json!(actor), shown(message), json!(deadline_ms)])
    }
}

pub mod deferred_replies {
    use super::{Outcome, ask, json, shown};
    use crate::HttpResponse;
    use crate::testing::http_response;

    pub fn defer() -> Outcome<u64> {
        ask("deferred-replies.defer", vec![])
    }

    pub fn reply(token: u64, answer: Result<&[u8], &str>) -> Outcome<()> {
        let answer = match answer {
            Ok(message) => json!({ "ok": shown(message) }),
            Err(why) => json!({ "err": why }),
        };
        ask("deferred-replies.reply", vec![json!(token), answer])
    }

    pub fn reply_http(token: u64, response: &HttpResponse) -> Outcome<()> {
        ask("deferred-replies.reply-http", vec![json!(token), http_response(response)])
    }
}

pub mod supervisor {
    pub use crate::bindings::host::ntwk::theater::supervisor::ChainEvent;

    use super::{Bytes, Outcome, ask, json};

    pub fn spawn(manifest: &str) -> Outcome<String> {
        ask("supervisor.spawn", vec![json!(manifest)])
    }

    pub fn list_children() -> Vec<String> {
        ask("supervisor.list-children", vec![])
    }

    pub fn stop_child(child: &str) -> Outcome<()> {
        ask("supervisor.stop-child", vec![json!(child)])
    }

    pub fn restart_child(child: &str) -> Outcome<()> {
        ask("supervisor.restart-child", vec![json!(child)])
    }

    pub fn get_child_state(child: &str) -> Outcome<Vec<u8>> {
        let state: Outcome<Bytes> = ask("supervisor.get-child-state", vec![json!(child)]);
        state.map(|Bytes(bytes)| bytes)
    }

    pub fn get_child_events(child: &str) -> Outcome<Vec<ChainEvent>> {
        ask("supervisor.get-child-events", vec![json!(child)])
    }
}

pub mod labels {
    use super::{Outcome, ask, json, shown};

    pub fn spawn_as(manifest: &str, label: &str, state: Option<&[u8]>) -> Outcome<String> {
        ask("labels.spawn-as", vec![json!(manifest), json!(label), json!(state.map(shown))])
    }

    pub fn get_or_spawn(manifest: &str, label: &str, state: Option<&[u8]>) -> Outcome<String> {
        ask("labels.get-or-spawn", vec![json!(manifest), json!(label), json!(state.map(shown))])
    }
}

pub mod http_client {
    use super::{Outcome, ask, json, shown};
    use crate::{HttpRequest, HttpResponse};

    pub fn send_http(request: &HttpRequest) -> Outcome<HttpResponse> {
        let HttpRequest { method, uri, headers, body } = request;
        let body = body.as_deref().map(shown);
        let request = json!({ "method": method, "uri": uri, "headers": headers, "body": body });
        ask("http-client.send-http", vec![request])
    }
}

pub mod filesystem {
    use super::{Bytes, Outcome, ask, json};

    pub fn read_file(path: &str) -> Outcome<Vec<u8>> {
        let content: Outcome<Bytes> = ask("filesystem.read-file", vec![json!(path)]);
        content.map(|Bytes(bytes)| bytes)
    }

    pub fn write_file(path: &str, content: &str) -> Outcome<()> {
        ask("filesystem.write-file", vec![json!(path), json!(content)])
    }

    pub fn list_files(path: &str) -> Outcome<Vec<String>> {
        ask("filesystem.list-files", vec![json!(path)])
    }

    pub fn delete_file(path: &str) -> Outcome<()> {
        ask("filesystem.delete-file", vec![json!(path)])
    }

    pub fn create_dir(path: &str) -> Outcome<()> {
        ask("filesystem.create-dir", vec![json!(path)])
    }

    pub fn delete_dir(path: &str) -> Outcome<()> {
        ask("filesystem.delete-dir", vec![json!(path)])
    }

    pub fn path_exists(path: &str) -> Outcome<bool> {
        ask("filesystem.path-exists", vec![json!(path)])
    }
}

pub mod clock {
    use super::ask;

    pub fn now() -> u64 {
        ask("clock.now", vec![])
    }
}

pub mod random {
    use super::{Bytes, ask, json};

    pub fn bytes(n: u32) -> Vec<u8> {
        let Bytes(bytes) = ask("random.bytes", vec![json!(n)]);
        bytes
    }
}

pub mod timer {
    pub use crate::bindings::host::ntwk::theater::timer::PendingTimer;

    use super::{Outcome, ask, json, shown};

    pub fn set(key: &str, after_ms: u64, message: &[u8]) -> Outcome<u64> {
        ask("timer.set", vec![json!(key), json!(after_ms), shown(message)])
    }

    pub fn set_at(key: &str, unix_ms: u64, message: &[u8]) -> Outcome<u64> {
        ask("timer.set-at", vec![json!(key), json!(unix_ms), shown(message)])
    }

    pub fn every(key: &str, ms: u64, message: &[u8]) -> Outcome<u64> {
        ask("timer.every", vec![json!(key), json!(ms), shown(message)])
    }

    pub fn cron(key: &str, expression: &str, zone: &str, message: &[u8]) -> Outcome<u64> {
        ask("timer.cron", vec![json!(key), json!(expression), json!(zone), shown(message)])
    }

    pub fn cancel(key: &str) -> bool {
        ask("timer.cancel", vec![json!(key)])
    }

    pub fn list() -> Vec<PendingTimer> {
        ask("timer.list", vec![])
    }
}

pub mod table {
    pub use crate::bindings::host::ntwk::theater::table::{Page, Row};

    use super::Outcome;
    use crate::testing::with_table;

    pub fn get(key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(with_table(|rows| rows.get(key).cloned()))
    }

    pub fn put(key: &[u8], value: &[u8]) -> Outcome<()> {
        with_table(|rows| rows.insert(key.to_vec(), value.to_vec()));
        Ok(())
    }

    pub fn delete(key: &[u8]) -> Outcome<bool> {
        Ok(with_table(|rows| rows.remove(key).is_some()))
    }

    pub fn scan(prefix: &[u8], limit: u32, cursor: Option<&[u8]>) -> Outcome<Page> {
        if limit == 0 {
            return Err("the limit of a scan is at least 1".to_owned());
        }
        Ok(with_table(|rows| {
            let within = rows.iter().filter(|(key, _)| key.starts_with(prefix));
            let mut after = within.filter(|(key, _)| cursor.is_none_or(|cursor| key.as_slice() > cursor));
            let row = |(key, value): (&Vec<u8>, &Vec<u8>)| Row { key: key.clone(), value: value.clone() };
            let page: Vec<Row> = after.by_ref().take(limit as usize).map(row).collect();
            let cursor = after.next().and_then(|_| page.last().map(|row| row.key.clone()));
            Page { rows: page, cursor }
        }))
    }

    pub fn count() -> u64 {
        with_table(|rows| rows.len() as u64)
    }
}

pub mod monitors {
    use super::{Outcome, ask, json};

    pub fn monitor(actor: &str) -> Outcome<u64> {
        ask("monitors.monitor", vec![json!(actor)])
    }

    pub fn demonitor(reference: u64) -> bool {
        ask("monitors.demonitor", vec![json!(reference)])
    }
}

pub mod connections {
    pub use crate::bindings::host::ntwk::theater::connections::{NotQueued, NotQueuedReason};

    use super::{Outcome, ask, json, shown};
    use crate::WebSocketMessage;

    pub fn push(to: &[u64], message: &WebSocketMessage) -> Outcome<Vec<NotQueued>> {
        let message = match (&message.text, &message.data) {
            (Some(text), _) => shown(text.as_bytes()),
            (None, data) => json!(data.as_deref().map(shown)),
        };
        ask("connections.push", vec![json!(to), message])
    }

    pub fn close(connection: u64, code: u16) -> Outcome<bool> {
        ask("connections.close", vec![json!(connection), json!(code)])
    }

    pub fn connections() -> Vec<u64> {
        ask("connections.connections", vec![])
    }
}

pub mod streams {
    pub use crate::bindings::host::ntwk::theater::streams::NotPushed;

    use super::{ask, json, shown};

    pub fn push_chunk(stream: u64, bytes: &[u8]) -> Result<(), NotPushed> {
        let pushed: Result<(), String> = ask("streams.push-chunk", vec![json!(stream), shown(bytes)]);
        pushed.map_err(|why| match why.as_str() {
            "gone" => NotPushed::Gone,
            "full" => NotPushed::Full,
            _ => NotPushed::Refused(why),
        })
    }

    pub fn end(stream: u64) -> bool {
        ask("streams.end", vec![json!(stream)])
    }

    pub fn streams() -> Vec<u64> {
        ask("streams.streams", vec![])
    }
}
