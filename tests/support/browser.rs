//! A headless Chromium, driven by chromedriver over the WebDriver protocol (W3C). Both come from Debian's packages.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::{Http, eventually};

/// A browser with one page; it is ended when this is dropped.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: tempfile::TempDir,
}

/// Whether this machine has what a browser test needs.
pub fn is_there() -> bool {
    let runs = |program: &str| {
        let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    runs("chromedriver") && runs("chromium")
}

/// A chromedriver, what it says, and its port; none if it has ended.
fn begun() -> Option<(Child, BufReader<ChildStdout>, u16)> {
    let mut driver = Command::new("chromedriver")
        .args(["--port=0", "--log-level=SEVERE"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver");
    let mut said = BufReader::new(driver.stdout.take().expect("its output"));
    let port_in = |line: String| {
        let (_, port) = line.split_once("successfully on port ")?;
        Some(port.trim().trim_end_matches('.').parse().expect("a port"))
    };
    match (&mut said).lines().find_map(|line| port_in(line.expect("a line"))) {
        Some(port) => Some((driver, said, port)),
        None => {
            driver.wait().expect("it has ended");
            None
        }
    }
}

impl Browser {
    pub fn open() -> Self {
        // It draws a port for one protocol of the internet, and ends if somebody else has the same port of the other one.
        let (driver, mut said, port) = (0..10).find_map(|_| begun()).expect("chromedriver ended, ten times");
        // Somebody must go on reading, or chromedriver would stop at a full pipe.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let profile = tempfile::tempdir().expect("a directory");
        let mut browser = Self { driver, address, session: String::new(), _profile: profile };
        let data = format!("--user-data-dir={}", browser._profile.path().display());
        let options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1280,800",
            &data,
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": options, "binary": "/usr/bin/chromium" },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session = browser.command("POST", "/session", &wanted);
        browser.session = format!("/session/{}", session["sessionId"].as_str().expect("a session"));
        browser
    }

    fn command(&mut self, method: &str, path: &str, body: &Value) -> Value {
        self.try_command(method, path, body).unwrap_or_else(|why| panic!("{method} {path} {body}: {why}"))
    }

    fn try_command(&mut self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // The driver ends connections that are idle for a while.
        let mut http = Http::connect(self.address);
        http.send_raw(head.as_bytes()).expect("sent");
        let answer = http.receive().unwrap_or_else(|| panic!("chromedriver gives no answer to {method} {path} {body}"));
        let value = answer.json()["value"].take();
        if answer.status == 200 { Ok(value) } else { Err(value) }
    }

    fn here(&mut self, method: &str, what: &str, body: &Value) -> Value {
        let path = format!("{}{what}", self.session);
        self.command(method, &path, body)
    }

    /// Opens an address.
    pub fn go(&mut self, url: &str) {
        self.here("POST", "/url", &json!({ "url": url }));
    }

    /// What an expression of JavaScript is in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        self.run(&format!("return ({expression});"))
    }

    /// Runs statements in the page, and gives what they return.
    pub fn run(&mut self, script: &str) -> Value {
        self.here("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs statements that may `await`, and gives what they return.
    pub fn run_async(&mut self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[0]; (async () => {{ {script} }})().then(done, (error) => done(String(error)));"
        );
        self.here("POST", "/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true in the page; shows the page's text if it never is.
    pub fn until(&mut self, expression: &str) -> Value {
        let wanted = format!("(() => {{ try {{ return {expression}; }} catch {{ return null; }} }})()");
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(expression, || {
                let value = self.value(&wanted);
                (!matches!(value, Value::Null | Value::Bool(false))).then_some(value)
            })
        }));
        found.unwrap_or_else(|_| {
            let shown = self.value("document.body.innerText");
            panic!("never in the page: {expression}\nthe page says: {}", shown.as_str().unwrap_or_default())
        })
    }

    /// What a selector finds first, as the driver addresses it.
    fn element(&mut self, selector: &str) -> String {
        self.until(&format!("document.querySelector({}) !== null", json!(selector)));
        let found = self.here("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        let id = found.as_object().expect("an element").values().next().expect("its id");
        format!("/element/{}", id.as_str().expect("a text"))
    }

    /// Presses what a selector finds first.
    pub fn click(&mut self, selector: &str) {
        let element = self.element(selector);
        self.here("POST", &format!("{element}/click"), &json!({}));
    }

    /// Types into what a selector finds first.
    pub fn write(&mut self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.here("POST", &format!("{element}/value"), &json!({ "text": text }));
    }

    /// Makes the window so large.
    pub fn resize(&mut self, width: u32, height: u32) {
        self.here("POST", "/window/rect", &json!({ "width": width, "height": height }));
    }

    /// Opens another tab, and goes on in it.
    pub fn new_tab(&mut self) {
        let tab = self.here("POST", "/window/new", &json!({ "type": "tab" }));
        self.here("POST", "/window", &json!({ "handle": tab["handle"] }));
    }

    /// A picture of the page, as a PNG file.
    pub fn picture(&mut self, file: &Path) {
        let picture = self.here("GET", "/screenshot", &Value::Null);
        let bytes = BASE64.decode(picture.as_str().expect("base64")).expect("base64");
        std::fs::write(file, bytes).expect("written");
    }

    /// What the page has written to the browser's console at the level of an error, since this was last asked.
    pub fn errors(&mut self) -> Vec<String> {
        let log = self.here("POST", "/se/log", &json!({ "type": "browser" }));
        let severe = log.as_array().expect("entries").iter().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.session);
        if !path.is_empty() {
            // The driver ends the browser with the session.
            let mut http = Http::connect(self.address);
            _ = http.send_raw(format!("DELETE {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
            _ = http.receive();
        }
        _ = self.driver.kill();
        _ = self.driver.wait();
    }
}
