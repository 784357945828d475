//! A test actor that serves files of its own below `/own`, and those of its granted directory below `/files`. It answers any
//! other request with what it has seen of it.

use serde::{Deserialize, Serialize};
use serde_json::json;
use theater_actor::static_files::StaticFiles;
use theater_actor::{Actor, HttpHandler, HttpRequest, HttpResponse};

const OWN: StaticFiles<'_> =
    StaticFiles::embedded(&[("index.html", b"<h1>pages</h1>"), ("digits.txt", b"0123456789")]).below("/own");
const FILES: StaticFiles<'_> = StaticFiles::directory(".").below("/files").cached("no-cache");

/// How many requests it has answered that were for no file.
#[derive(Default, Serialize, Deserialize)]
struct Pages {
    others: u64,
}

impl Actor for Pages {
    fn init(state: Option<Self>, _id: &str) -> Result<Self, String> {
        Ok(state.unwrap_or_default())
    }
}

impl HttpHandler for Pages {
    fn handle(&mut self, request: HttpRequest) -> Result<HttpResponse, String> {
        match request.path() {
            path if path.starts_with("/own") => Ok(OWN.serve(&request)),
            path if path.starts_with("/files") => Ok(FILES.serve(&request)),
            _ => {
                self.others += 1;
                let body = request.body.as_deref().map(String::from_utf8_lossy);
                HttpResponse::json(200, &json!({ "headers": request.headers, "body": body, "others": self.others }))
            }
        }
    }
}

theater_actor::export!(Pages: http);
