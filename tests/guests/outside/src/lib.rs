//! Calls the world outside on command: HTTP, files, the clock and randomness.

use commanded::{Commanded, More, outcome};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use theater_actor::{HttpRequest, HttpResponse, clock, filesystem, http_client, random};

/// Commands for each function. All but the last two answer with `{"ok": …}` or `{"err": text}`.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
enum Call {
    /// With `{"status", "headers", "body"}`.
    Http {
        method: String,
        uri: String,
        #[serde(default)]
        headers: Vec<(String, String)>,
        body: Option<String>,
    },
    /// With the text of the file.
    ReadFile {
        path: String,
    },
    /// With null, as all that change something.
    WriteFile {
        path: String,
        content: String,
    },
    /// With the names.
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
    /// With true or false.
    PathExists {
        path: String,
    },
    /// The milliseconds.
    Now,
    /// The bytes, in hexadecimal.
    Random {
        n: u32,
    },
}

#[derive(Serialize)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

impl More for Call {
    fn obey(self) -> Result<Value, String> {
        Ok(match self {
            Call::Http { method, uri, headers, body } => {
                let request = HttpRequest { method, uri, headers, body: body.map(String::into_bytes) };
                outcome(http_client::send(&request).map(readable))
            }
            Call::ReadFile { path } => outcome(filesystem::read_file(&path).map(text)),
            Call::WriteFile { path, content } => outcome(filesystem::write_file(&path, &content)),
            Call::ListFiles { path } => outcome(filesystem::list_files(&path)),
            Call::DeleteFile { path } => outcome(filesystem::delete_file(&path)),
            Call::CreateDir { path } => outcome(filesystem::create_dir(&path)),
            Call::DeleteDir { path } => outcome(filesystem::delete_dir(&path)),
            Call::PathExists { path } => outcome(filesystem::path_exists(&path)),
            Call::Now => json!(clock::now()),
            Call::Random { n } => json!(random::bytes(n).iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        })
    }
}

fn readable(response: HttpResponse) -> Response {
    Response { status: response.status, headers: response.headers, body: response.body.map(text) }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

type Outside = Commanded<Call>;

theater_actor::export!(Outside: messages);
