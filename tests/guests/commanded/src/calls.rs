//! Commands for host functions, one set for each handler. A component imports only the functions of the sets it uses,
//! so that an actor can be granted one handler alone. All answers, except those of [`Chance`], are `{"ok": …}` or
//! `{"err": text}`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use theater_actor::{
    HttpRequest, HttpResponse, clock, filesystem, http_client, messages, monitors, random, replies, supervisor, table,
    timer,
};

use crate::{More, outcome};

/// Commands that send HTTP requests.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Fetch {
    /// Answers with `{"status", "headers", "body"}`.
    Http {
        method: String,
        uri: String,
        #[serde(default)]
        headers: Vec<(String, String)>,
        body: Option<String>,
        /// Sends a body of this many bytes instead.
        body_bytes: Option<usize>,
    },
}

#[derive(Serialize)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

impl More for Fetch {
    fn obey(self) -> Result<Value, String> {
        let Self::Http { method, uri, headers, body, body_bytes } = self;
        let body = body_bytes.map(|bytes| vec![b'x'; bytes]).or(body.map(String::into_bytes));
        Ok(outcome(http_client::send(&HttpRequest { method, uri, headers, body }).map(readable)))
    }
}

fn readable(HttpResponse { status, headers, body }: HttpResponse) -> Response {
    Response { status, headers, body: body.map(text) }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A command for each function of `filesystem`.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
#[allow(clippy::enum_variant_names, reason = "the operations have the names of the functions")]
pub enum Files {
    /// Answers with the text of the file.
    ReadFile {
        path: String,
    },
    /// Answers with null, like all commands that change something.
    WriteFile {
        path: String,
        content: String,
    },
    /// Writes this many bytes.
    WriteBytes {
        path: String,
        n: usize,
    },
    /// Answers with the names.
    ListFiles {
        path: String,
    },
    DeleteFile {
        path: String,
    },
    CreateDir {
        path: String,
    },
    DeleteDir {
        path: String,
    },
    /// Answers with true or false.
    PathExists {
        path: String,
    },
    /// Asks whether a path of this many bytes exists.
    LongPathExists {
        n: usize,
    },
}

impl More for Files {
    fn obey(self) -> Result<Value, String> {
        Ok(match self {
            Self::ReadFile { path } => outcome(filesystem::read_file(&path).map(text)),
            Self::WriteFile { path, content } => outcome(filesystem::write_file(&path, &content)),
            Self::WriteBytes { path, n } => outcome(filesystem::write_file(&path, &"x".repeat(n)).map(|()| json!(n))),
            Self::ListFiles { path } => outcome(filesystem::list_files(&path)),
            Self::DeleteFile { path } => outcome(filesystem::delete_file(&path)),
            Self::CreateDir { path } => outcome(filesystem::create_dir(&path)),
            Self::DeleteDir { path } => outcome(filesystem::delete_dir(&path)),
            Self::PathExists { path } => outcome(filesystem::path_exists(&path)),
            Self::LongPathExists { n } => outcome(filesystem::path_exists(&"x".repeat(n))),
        })
    }
}

/// Commands for the clock and for random bytes.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Chance {
    /// Answers with the milliseconds.
    Now,
    /// Answers with the bytes in hexadecimal.
    Random { n: u32 },
}

impl More for Chance {
    fn obey(self) -> Result<Value, String> {
        Ok(match self {
            Self::Now => json!(clock::now()),
            Self::Random { n } => json!(random::bytes(n).iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        })
    }
}

/// Commands for timers. `msg` is a command for the time when the timer is due; without one, the timer is noted in the state.
/// What sets a timer answers with `{"ok": due}` or `{"err": text}`.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Timing {
    Set {
        key: String,
        after: u64,
        #[serde(default)]
        msg: Value,
    },
    SetAt {
        key: String,
        at: u64,
        #[serde(default)]
        msg: Value,
    },
    Every {
        key: String,
        ms: u64,
        #[serde(default)]
        msg: Value,
    },
    Cron {
        key: String,
        expression: String,
        zone: String,
        #[serde(default)]
        msg: Value,
    },
    /// Answers with true or false.
    Cancel { key: String },
    /// Answers with the pending timers, each as `[key, due, round]`.
    Timers,
    /// Answers with the number of pending timers.
    CountTimers,
    /// Sets timers with the keys `PREFIX0`, `PREFIX1`, …, the first at a time and each next one `apart` microseconds later.
    /// Answers with their number, or refuses with the first error.
    SetMany {
        prefix: String,
        n: u64,
        at: u64,
        apart: u64,
        #[serde(default)]
        msg: Value,
    },
}

impl More for Timing {
    fn obey(self) -> Result<Value, String> {
        Ok(match self {
            Self::Set { key, after, msg } => outcome(timer::set(&key, after, &msg)),
            Self::SetAt { key, at, msg } => outcome(timer::set_at(&key, at, &msg)),
            Self::Every { key, ms, msg } => outcome(timer::every(&key, ms, &msg)),
            Self::Cron { key, expression, zone, msg } => outcome(timer::cron(&key, &expression, &zone, &msg)),
            Self::Cancel { key } => json!(timer::cancel(&key)),
            Self::Timers => timer::list().iter().map(|it| json!([it.key, it.due, it.round])).collect(),
            Self::CountTimers => json!(timer::list().len()),
            Self::SetMany { prefix, n, at, apart, msg } => {
                for i in 0..n {
                    timer::set_at(&format!("{prefix}{i}"), at + i * apart / 1_000, &msg)?;
                }
                json!(n)
            }
        })
    }
}

/// Commands for the table. Keys and values are text. Answers are `{"ok": …}` or `{"err": text}`.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Rows {
    Put {
        key: String,
        value: String,
    },
    /// Writes a value of this many bytes.
    PutBytes {
        key: String,
        n: usize,
    },
    /// Writes rows with the keys `PREFIX00000000`, `PREFIX00000001`, … and values of `n` bytes. Answers with their number, or
    /// refuses with the first error.
    PutMany {
        prefix: String,
        from: u64,
        upto: u64,
        n: usize,
    },
    /// Answers with the value, or null.
    RowOf {
        key: String,
    },
    Delete {
        key: String,
    },
    /// Answers with the rows, each as `[key, value]`, and the cursor: `[rows, cursor]`.
    Scan {
        prefix: String,
        limit: u32,
        #[serde(default)]
        cursor: Option<String>,
    },
    /// Answers with a number.
    CountRows,
    /// Reads with a key of this many bytes.
    LongKey {
        n: usize,
    },
    /// Writes and deletes rows chosen by a generator that begins with `seed`, and reads in between. Answers with a digest of
    /// all that was read.
    Churn {
        seed: u64,
        rounds: u64,
    },
}

impl More for Rows {
    fn obey(self) -> Result<Value, String> {
        Ok(match self {
            Self::Put { key, value } => outcome(table::put_bytes(key, value)),
            Self::PutBytes { key, n } => outcome(table::put_bytes(key, vec![b'x'; n])),
            Self::PutMany { prefix, from, upto, n } => {
                for i in from..upto {
                    table::put_bytes(format!("{prefix}{i:08}"), vec![b'x'; n])?;
                }
                json!(upto - from)
            }
            Self::RowOf { key } => outcome(table::get_bytes(key).map(|value| value.map(text))),
            Self::Delete { key } => outcome(table::delete(key)),
            Self::Scan { prefix, limit, cursor } => {
                outcome(table::scan(prefix, limit, cursor.as_ref().map(String::as_bytes)).map(|page| {
                    let rows: Vec<_> = page.rows.into_iter().map(|row| [text(row.key), text(row.value)]).collect();
                    json!([rows, page.cursor.map(text)])
                }))
            }
            Self::CountRows => json!(table::count()),
            Self::LongKey { n } => outcome(table::get_bytes(vec![b'k'; n]).map(|value| value.map(text))),
            Self::Churn { seed, rounds } => json!(format!("{:016x}", churn(seed, rounds)?)),
        })
    }
}

fn churn(seed: u64, rounds: u64) -> Result<u64, String> {
    let (mut dice, mut seen) = (seed | 1, 0xcbf2_9ce4_8422_2325_u64);
    let mut note = |bytes: &[u8]| {
        for byte in bytes {
            seen = (seen ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for _ in 0..rounds {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (what, key) = ((dice >> 33) % 8, format!("c/{:03}", (dice >> 40) % 97));
        match what {
            0..=3 => table::put_bytes(&key, format!("{dice:x}"))?,
            4 => note(&[u8::from(table::delete(&key)?)]),
            5 => note(&table::get_bytes(&key)?.unwrap_or_default()),
            6 => {
                for row in table::scan("c/", 5, Some(key.as_bytes()))?.rows {
                    note(&row.key);
                    note(&row.value);
                }
            }
            _ => note(&table::count().to_le_bytes()),
        }
    }
    Ok(seen)
}

/// Commands that monitor actors, and that spawn children to be monitored.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Watching {
    /// Answers with `{"ok": reference}` or `{"err": text}`.
    Monitor { actor: String },
    /// Monitors the actor so many times. Answers with the last reference, or refuses with the first error.
    MonitorMany { actor: String, n: u64 },
    /// Answers with true or false.
    Demonitor { reference: u64 },
    /// Answers with `{"ok": id}` or `{"err": text}`.
    Spawn { manifest: String },
    /// Answers as [`Self::Spawn`].
    SpawnAs { manifest: String, label: String },
    /// Answers with `{"ok": null}` or `{"err": text}`.
    StopChild { child: String },
    /// Answers as [`Self::StopChild`].
    RestartChild { child: String },
}

impl More for Watching {
    fn obey(self) -> Result<Value, String> {
        Ok(match self {
            Self::Monitor { actor } => outcome(monitors::monitor(&actor)),
            Self::MonitorMany { actor, n } => {
                let mut last = 0;
                for _ in 0..n {
                    last = monitors::monitor(&actor)?;
                }
                json!(last)
            }
            Self::Demonitor { reference } => json!(monitors::demonitor(reference)),
            Self::Spawn { manifest } => outcome(supervisor::spawn(&manifest)),
            Self::SpawnAs { manifest, label } => outcome(supervisor::spawn_as(&manifest, &label, None::<&()>)),
            Self::StopChild { child } => outcome(supervisor::stop_child(&child)),
            Self::RestartChild { child } => outcome(supervisor::restart_child(&child)),
        })
    }
}

/// Commands that ask other actors without waiting, that put off answers, and that spawn.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Gathering {
    /// Answers with `{"ok": token}` or `{"err": text}`.
    Ask {
        to: String,
        msg: Value,
        within: Option<u64>,
    },
    /// Asks so many times. Answers with the last token, or refuses with the first error.
    AskMany {
        to: String,
        msg: Value,
        n: u64,
    },
    /// Answers with `{"ok": token}` or `{"err": text}`.
    Defer,
    /// Gives the answer `value`. Answers with `{"ok": null}` or `{"err": text}`, as the next two do.
    Reply {
        token: u64,
        value: Value,
    },
    /// Gives an error as the answer.
    ReplyError {
        token: u64,
        message: String,
    },
    ReplyHttp {
        token: u64,
        status: u16,
        body: String,
    },
    /// Gives an answer of so many bytes.
    ReplyLong {
        token: u64,
        n: usize,
    },
    /// Answers with `{"ok": id}` or `{"err": text}`.
    SpawnAs {
        manifest: String,
        label: String,
    },
}

impl More for Gathering {
    fn obey(self) -> Result<Value, String> {
        Ok(match self {
            Self::Ask { to, msg, within: None } => outcome(messages::request_async(&to, &msg)),
            Self::Ask { to, msg, within: Some(ms) } => outcome(messages::request_async_within(&to, &msg, ms)),
            Self::AskMany { to, msg, n } => {
                let mut last = 0;
                for _ in 0..n {
                    last = messages::request_async(&to, &msg)?;
                }
                json!(last)
            }
            Self::Defer => outcome(replies::defer()),
            Self::Reply { token, value } => outcome(replies::reply(token, Ok(&value))),
            Self::ReplyError { token, message } => outcome(replies::reply::<()>(token, Err(message))),
            Self::ReplyHttp { token, status, body } => {
                let body = Some(body.into_bytes());
                outcome(replies::reply_http(token, &HttpResponse { status, headers: Vec::new(), body }))
            }
            Self::ReplyLong { token, n } => outcome(replies::reply(token, Ok(&"x".repeat(n)))),
            Self::SpawnAs { manifest, label } => outcome(supervisor::spawn_as(&manifest, &label, None::<&()>)),
        })
    }
}
