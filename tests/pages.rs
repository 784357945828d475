//! Tests of files over HTTP: those that an actor serves by the guests' library, and bodies that go to its directory.

mod support;

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use serde_json::json;
use sha2::{Digest, Sha256};
use support::{Http, HttpAnswer, Stage, Theater, data_of, eventually, verifies_and_replays};

const FILES: &str = "[[handlers]]\ntype = \"filesystem\"\nconfig = { path = \"kept\" }\n";
const CALL: &str = "call ntwk:theater/http-server.handle-request";

/// A runtime with one actor `pages`, which is granted the directory `kept`.
struct Pages {
    stage: Stage,
    manifest: PathBuf,
    running: Theater,
}

impl Pages {
    /// `http` is the configuration of the handler `http-server`.
    fn with(http: &str, limits: &str) -> Self {
        let stage = Stage::new();
        std::fs::create_dir(stage.path().join("kept")).expect("a directory");
        let http = format!("[[handlers]]\ntype = \"http-server\"\nconfig = {{ port = 0, {http} }}\n");
        let manifest = stage.manifest("pages", "pages", &format!("{limits}{FILES}{http}"));
        let running = stage.run(&[&manifest]);
        Self { stage, manifest, running }
    }

    fn uploading() -> Self {
        let limits = "[limits]\nhttp_body_bytes = 1000\nfilesystem_bytes = 1_000_000\n";
        Self::with("uploads = { dir = \"in/box\", max_bytes = 300_000 }, idempotency = true", limits)
    }

    fn address(&self) -> SocketAddr {
        self.running.http("pages")
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> HttpAnswer {
        let mut client = Http::connect(self.address());
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{headers}{length}\r\n");
        client.send_raw(&[head.as_bytes(), body].concat()).expect("sent");
        client.receive().unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    /// The names in the directory of uploads.
    fn uploaded(&self) -> Vec<String> {
        let dir = self.stage.path().join("kept/in/box");
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Waits until there are so many files in the directory of uploads.
    fn until_uploaded(&self, count: usize) {
        eventually("as many files", || (self.uploaded().len() == count).then_some(()));
    }
}

fn header(answer: &HttpAnswer, name: &str) -> Option<String> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines.clone().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
}

/// The values of the headers of this name that the actor has seen.
fn seen(answer: &HttpAnswer, name: &str) -> Vec<String> {
    let seen = answer.json();
    let headers = seen["headers"].as_array().expect("headers").clone();
    let named = headers.iter().filter(|header| header[0].as_str().is_some_and(|it| it.eq_ignore_ascii_case(name)));
    named.map(|header| header[1].as_str().expect("text").to_owned()).collect()
}

#[test]
fn an_actor_serves_its_own_files_and_those_of_its_directory_with_ranges_and_conditions() {
    let pages = Pages::with("compress = true", "");
    std::fs::create_dir(pages.stage.path().join("kept/sub")).expect("a directory");
    std::fs::write(pages.stage.path().join("kept/sub/digits.txt"), "0123456789").expect("a file");
    std::fs::write(pages.stage.path().join("kept/.hidden"), "secret").expect("a file");
    std::fs::write(pages.stage.path().join("outside.txt"), "secret").expect("a file");
    std::os::unix::fs::symlink("../outside.txt", pages.stage.path().join("kept/link.txt")).expect("a link");
    std::fs::write(pages.stage.path().join("kept/long.css"), "a { color: teal }\n".repeat(200)).expect("a file");
    assert_eq!(pages.ask("GET", "/own/", "", b"").body, "<h1>pages</h1>");
    for path in ["/own/digits.txt", "/files/sub/digits.txt"] {
        let whole = pages.ask("GET", path, "", b"");
        assert_eq!((whole.status, whole.body.as_str()), (200, "0123456789"), "{path}");
        let etag = header(&whole, "etag").expect("a tag");
        let part = pages.ask("GET", path, &format!("Range: bytes=2-4\r\nIf-Range: {etag}\r\n"), b"");
        assert_eq!((part.status, part.body.as_str()), (206, "234"), "{path}");
        assert_eq!(header(&part, "content-range").as_deref(), Some("bytes 2-4/10"));
        assert_eq!(pages.ask("GET", path, "Range: bytes=10-\r\n", b"").status, 416);
        let same = pages.ask("GET", path, &format!("If-None-Match: {etag}\r\n"), b"");
        assert_eq!((same.status, same.body.as_str(), header(&same, "etag")), (304, "", Some(etag)));
    }
    let mut head = Http::connect(pages.address());
    head.send("HEAD", "/files/sub/digits.txt", None);
    assert!(head.receive_head().to_lowercase().contains("content-length: 10"));
    for path in [
        "/files/none",
        "/files/sub",
        "/files/.hidden",
        "/files/link.txt",
        "/files/..%2foutside.txt",
        "/files/../outside.txt",
    ] {
        let answer = pages.ask("GET", path, "", b"");
        assert_eq!((answer.status, answer.body.contains("secret")), (404, false), "{path}: {}", answer.body);
    }
    let etag = header(&pages.ask("GET", "/files/long.css", "", b""), "etag").expect("a tag");
    let weak = format!("If-None-Match: W/{etag}\r\nAccept-Encoding: gzip\r\n");
    assert_eq!(pages.ask("GET", "/files/long.css", &weak, b"").status, 304, "what was compressed is the same file");
    verifies_and_replays(&pages.running.export(&pages.stage, "pages"));
}

#[test]
fn a_body_beyond_the_limit_goes_to_a_file_that_the_request_names() {
    let pages = Pages::uploading();
    let small = pages.ask("POST", "/up", "", &[b'x'; 1000]);
    assert_eq!((small.json()["body"].as_str().map(str::len), pages.uploaded().len()), (Some(1000), 0));
    let body: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    let chunked: Vec<u8> = body.chunks(7_000).flat_map(chunk).chain(*b"0\r\n\r\n").collect();
    let mut client = Http::connect(pages.address());
    client.send_raw(b"POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").expect("sent");
    client.send_raw(&chunked).expect("sent");
    for large in [
        pages.ask("POST", "/up", "Theater-Upload-Path: ../../etc/passwd\r\n", &body),
        client.receive().expect("an answer"),
    ] {
        assert_eq!((large.status, &large.json()["body"]), (200, &json!("")), "{}", large.body);
        let path = seen(&large, "theater-upload-path");
        assert_eq!(path.len(), 1, "a client cannot give one: {path:?}");
        assert!(path[0].starts_with("in/box/"), "{path:?}");
        let stored = std::fs::read(pages.stage.path().join("kept").join(&path[0])).expect("the file");
        assert!(stored == body, "{} bytes", stored.len());
        assert_eq!(seen(&large, "theater-upload-bytes"), ["200000"]);
        let digest: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(seen(&large, "theater-upload-sha256"), [digest]);
    }
    assert_eq!(pages.uploaded().len(), 2);
    let events = pages.running.events("pages");
    assert!(data_of(&events, CALL).iter().all(|call| call.to_string().len() < 3000), "the bodies are not on the chain");
    let Pages { stage, running, .. } = pages;
    let chain = running.export(&stage, "pages");
    running.shut_down();
    std::fs::remove_dir_all(stage.path().join("kept")).expect("removed");
    verifies_and_replays(&chain);
}

#[test]
fn an_upload_that_fails_or_is_broken_off_leaves_no_file() {
    let pages = Pages::uploading();
    let refused = pages.ask("POST", "/up", "", &vec![0; 300_001]);
    assert_eq!((refused.status, pages.uploaded().len()), (413, 0));
    let mut broken = TcpStream::connect(pages.address()).expect("a connection");
    let head = b"POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";
    std::io::Write::write_all(&mut broken, &[&head[..], &[0; 50_000]].concat()).expect("sent");
    pages.until_uploaded(1);
    assert!(pages.uploaded()[0].ends_with(".part"));
    drop(broken);
    pages.until_uploaded(0);
    let mut wrong = Http::connect(pages.address());
    wrong.send_raw(b"POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").expect("sent");
    wrong.send_raw(format!("7d0\r\n{}\r\nno size\r\n", "x".repeat(2000)).as_bytes()).expect("sent");
    assert_eq!(wrong.receive().expect("an answer").status, 400);
    pages.until_uploaded(0);
    pages.running.say(&["stop", "pages"]);
    assert_eq!(pages.uploaded(), Vec::<String>::new());
}

#[test]
fn uploads_keep_to_the_quota_of_the_directory() {
    let pages = Pages::uploading();
    let upload = |bytes: usize| pages.ask("POST", "/up", "", &vec![7; bytes]).status;
    assert_eq!([upload(300_000), upload(300_000), upload(300_000), upload(300_000)], [200, 200, 200, 507]);
    assert_eq!(upload(90_000), 200, "there is room for a smaller one");
    assert_eq!(pages.uploaded().len(), 4);
    std::fs::remove_file(pages.stage.path().join("kept/in/box").join(&pages.uploaded()[0])).expect("removed");
    assert_eq!(pages.uploaded().len(), 3);
}

#[test]
fn a_repeated_upload_is_answered_as_before_and_its_file_is_removed() {
    let pages = Pages::uploading();
    let body = vec![1; 20_000];
    let first = pages.ask("POST", "/up", "Idempotency-Key: k\r\n", &body);
    let again = pages.ask("POST", "/up", "Idempotency-Key: k\r\n", &body);
    assert_eq!(
        (first.status, &again.body, header(&again, "idempotency-replayed")),
        (200, &first.body, Some("true".into()))
    );
    pages.until_uploaded(1);
    let other = pages.ask("POST", "/up", "Idempotency-Key: k\r\n", &[2; 20_000]);
    assert_eq!(other.status, 422, "the contents are others");
    pages.until_uploaded(1);
    assert_eq!(pages.ask("GET", "/", "", b"").json()["others"], 2);
}

#[test]
fn what_a_killed_process_was_receiving_is_removed_with_the_next_upload() {
    let pages = Pages::uploading();
    let mut client = TcpStream::connect(pages.address()).expect("a connection");
    let head = b"POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";
    std::io::Write::write_all(&mut client, &[&head[..], &[0; 50_000]].concat()).expect("sent");
    pages.until_uploaded(1);
    let Pages { stage, manifest, running } = pages;
    running.kill();
    let running = stage.run(&[&manifest]);
    let pages = Pages { stage, manifest, running };
    assert_eq!(pages.ask("POST", "/up", "", &[0; 2_000]).status, 200);
    let left = pages.uploaded();
    assert!(left.len() == 1 && !left[0].ends_with(".part"), "{left:?}");
}

#[test]
fn uploads_that_cannot_be_are_refused_with_the_remedy() {
    let stage = Stage::new();
    let refused = |more: &str| {
        let manifest = stage.manifest("pages", "pages", more);
        stage.run_with(&[&manifest], &[]).err().unwrap_or_else(|| panic!("it starts: {more}"))
    };
    let uploads = |uploads: &str| {
        format!("{FILES}[[handlers]]\ntype = \"http-server\"\nconfig = {{ port = 0, uploads = {uploads} }}\n")
    };
    for (wrong, why) in [
        ("{ dir = \"../up\", max_bytes = 1 }", "is a path in the granted directory"),
        ("{ dir = \"/up\", max_bytes = 1 }", "is a path in the granted directory"),
        ("{ dir = \"\", max_bytes = 1 }", "is a path in the granted directory"),
        ("{ dir = \"up\", max_bytes = 0 }", "at least 1"),
        ("{ dir = \"up\" }", "max_bytes"),
        ("true", "a table"),
    ] {
        let said = refused(&uploads(wrong));
        assert!(said.contains(why), "{wrong}: {said}");
    }
    let alone = uploads("{ dir = \"up\", max_bytes = 1 }");
    let read_only = alone.replace("path = \"kept\"", "path = \"kept\", mode = \"read-only\"");
    std::fs::create_dir_all(stage.path().join("kept")).expect("a directory");
    let said = refused(&read_only);
    assert!(said.contains("grant the handler \"filesystem\""), "{said}");
}
