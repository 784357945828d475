//! A collector of telemetry for tests: it records what it is sent, and answers as it is told. And the decoder that reads what
//! was recorded, which knows nothing of Theater.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;

use super::support::{eventually, skipped, text};

/// The version whose protocol the decoder has.
const PROTOCOL: &str = "opentelemetry-proto==1.45.2";

/// How the collector behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It answers with this status.
    Answers(u16),
    /// It takes a request and says nothing.
    Hangs,
}

/// A request that it was sent.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub path: String,
    pub head: String,
    pub body: Value,
}

pub struct Collector {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    requests: Arc<Mutex<Vec<Recorded>>>,
}

impl Collector {
    pub fn new(mood: Mood) -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"), mood)
    }

    /// A collector at an address where perhaps another one was.
    pub fn at(address: SocketAddr, mood: Mood) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (mood, requests) = (Arc::new(Mutex::new(mood)), Arc::<Mutex<Vec<Recorded>>>::default());
        let (told, recorded) = (Arc::clone(&mood), Arc::clone(&requests));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (told, recorded) = (Arc::clone(&told), Arc::clone(&recorded));
                std::thread::spawn(move || serve(socket, &told, &recorded));
            }
        });
        Self { address, mood, requests }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn becomes(&self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
    }

    pub fn requests(&self) -> Vec<Recorded> {
        self.requests.lock().expect("no panic").clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Value> {
        let of = |request: Recorded| {
            let spans = &request.body["resourceSpans"][0]["scopeSpans"][0]["spans"];
            spans.as_array().expect("a list").clone()
        };
        self.requests().into_iter().filter(|request| request.path == "/v1/traces").flat_map(of).collect()
    }

    /// Waits for a span of this name of the actor that has this id.
    pub fn span(&self, name: &str, actor: &str) -> Value {
        eventually(&format!("the span {name} of {actor}"), || {
            let fits = |span: &Value| span["name"] == name && attribute(span, "theater.actor.id") == Some(actor.into());
            self.spans().into_iter().find(fits)
        })
    }

    /// Waits for a metric of this name, and returns its newest form.
    pub fn metric(&self, name: &str) -> Value {
        eventually(&format!("the metric {name}"), || {
            let metrics = self.requests().into_iter().filter(|request| request.path == "/v1/metrics");
            let mut all = metrics.flat_map(|request| {
                let metrics = &request.body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
                metrics.as_array().expect("a list").clone()
            });
            all.rfind(|metric| metric["name"] == name)
        })
    }
}

/// The value of an attribute, as a text.
pub fn attribute(of: &Value, key: &str) -> Option<String> {
    let found = of["attributes"].as_array()?.iter().find(|attribute| attribute["key"] == key)?;
    let value = found["value"].as_object()?.values().next()?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn serve(socket: TcpStream, mood: &Mutex<Mood>, requests: &Mutex<Vec<Recorded>>) -> Option<()> {
    let mut reader = BufReader::new(socket);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length?];
    reader.read_exact(&mut body).ok()?;
    let path = head.split(' ').nth(1)?.to_owned();
    let now = *mood.lock().expect("no panic");
    let status = match now {
        Mood::Answers(status) => status,
        Mood::Hangs => {
            // Until the other side gives up.
            let _ = reader.read(&mut [0]);
            return None;
        }
    };
    if status == 200 {
        let body = serde_json::from_slice(&body).expect("JSON");
        requests.lock().expect("no panic").push(Recorded { path, head, body });
    }
    let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
    reader.get_mut().write_all(answer.as_bytes()).ok()
}

/// A document as the published protocol understands it; `None` if this machine cannot get that.
pub fn decoded(kind: &str, document: &Value) -> Option<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/decode_otlp.py");
    let mut command = Command::new(python()?);
    let mut child = command.arg(script).arg(kind).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python");
    child.stdin.take().expect("piped").write_all(document.to_string().as_bytes()).expect("written");
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success(), "the protocol does not understand {document}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// A Python that has the protocol. It is installed once.
fn python() -> Option<PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON.get_or_init(installed).clone()
}

fn installed() -> Option<PathBuf> {
    let what = "the decoder of OpenTelemetry's own protocol";
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PROTOCOL.replace("==", "-"));
    let python = place.join("bin/python");
    // It has its name once it is whole.
    if !python.exists() {
        let beside = place.with_extension(std::process::id().to_string());
        let at = |path: &str| beside.join(path);
        let steps: [(PathBuf, Vec<std::ffi::OsString>); 2] = [
            ("python3".into(), vec!["-m".into(), "venv".into(), beside.clone().into()]),
            (at("bin/python"), ["-m", "pip", "install", "--quiet", PROTOCOL].map(Into::into).to_vec()),
        ];
        for (program, args) in steps {
            match Command::new(&program).args(args).output() {
                Ok(output) if output.status.success() => {}
                Ok(output) => {
                    skipped(what, &format!("it cannot be installed: {}", text(&output.stderr)));
                    return None;
                }
                Err(error) => {
                    skipped(what, &format!("{}: {error}", program.display()));
                    return None;
                }
            }
        }
        // Another test may have been quicker.
        if std::fs::rename(&beside, &place).is_err() {
            let _ = std::fs::remove_dir_all(&beside);
        }
    }
    Some(python)
}
