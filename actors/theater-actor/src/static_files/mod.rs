//! Serving files over HTTP: from bytes in the component, or from a directory that the manifest grants.
//!
//! ```
//! use theater_actor::{HttpRequest, static_files::StaticFiles};
//!
//! const PAGES: StaticFiles = StaticFiles::embedded(&[
//!     ("index.html", b"<h1>Hello</h1>"),
//!     ("style/main.css", b"h1 { color: teal }"),
//! ]);
//!
//! let get = |uri: &str| HttpRequest { method: "GET".into(), uri: uri.into(), headers: vec![], body: None };
//! assert_eq!(PAGES.serve(&get("/")).body.unwrap(), b"<h1>Hello</h1>");
//! assert_eq!(PAGES.serve(&get("/style/main.css")).status, 200);
//! assert_eq!(PAGES.serve(&get("/style/../../etc/passwd")).status, 404);
//! ```
//!
//! `GET` and `HEAD` are answered, with `Content-Type` by the ending of the name, `ETag` by the content, and `Accept-Ranges`.
//! `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`, `Range` and `If-Range` are heeded as RFC 9110 says;
//! of several ranges the whole file is sent, as it permits. A request for a directory is answered with its `index.html`.
//!
//! No path leads elsewhere: a part of a path that is empty, begins with a dot, or has a slash, a backslash or a control
//! character in it after decoding, names nothing.

mod conditions;
mod date;

use conditions::{Conditions, Verdict};

use crate::{HttpRequest, HttpResponse, filesystem};

/// The file that stands for its directory.
const INDEX: &str = "index.html";

/// Files, and how they are served.
#[derive(Clone, Copy, Debug)]
pub struct StaticFiles<'a> {
    source: FileSource<'a>,
    below: &'a str,
    cache_control: Option<&'a str>,
    modified: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum FileSource<'a> {
    Embedded(&'a [(&'a str, &'a [u8])]),
    Directory(&'a str),
}

/// What came of looking for a file.
enum Found<'a> {
    File(std::borrow::Cow<'a, [u8]>),
    Nothing,
    Unreadable,
}

impl<'a> StaticFiles<'a> {
    /// Files of the component itself, each by its path, such as `"style/main.css"`; the bytes usually come from
    /// `include_bytes!`.
    pub const fn embedded(files: &'a [(&'a str, &'a [u8])]) -> Self {
        Self { source: FileSource::Embedded(files), below: "", cache_control: None, modified: None }
    }

    /// Files in a directory of the granted one; `"."` is the granted one itself. Needs the handler `filesystem`.
    ///
    /// Each request reads its file whole, and the chain records what was read, also if only a range of it is sent.
    pub const fn directory(path: &'a str) -> Self {
        Self { source: FileSource::Directory(path), below: "", cache_control: None, modified: None }
    }

    /// The same files below a path of the site, such as `"/assets"`. Other paths are answered with 404.
    #[must_use]
    pub const fn below(self, path: &'a str) -> Self {
        Self { below: path, ..self }
    }

    /// The same with this `Cache-Control` in each answer that has a file, such as `"public, max-age=3600"`.
    #[must_use]
    pub const fn cached(self, cache_control: &'a str) -> Self {
        Self { cache_control: Some(cache_control), ..self }
    }

    /// The same with this `Last-Modified`, in seconds since the Unix epoch: when the component was built, or when the actor
    /// last wrote the files. An actor cannot see when a file was written.
    #[must_use]
    pub const fn modified_at(self, unix_seconds: u64) -> Self {
        Self { modified: Some(unix_seconds), ..self }
    }

    /// Answers a request.
    pub fn serve(&self, request: &HttpRequest) -> HttpResponse {
        let is_head = match request.method.as_str() {
            "GET" => false,
            "HEAD" => true,
            _ => return HttpResponse::method_not_allowed("GET, HEAD"),
        };
        let response = self.answer(request, is_head);
        if is_head { without_body(response) } else { response }
    }

    fn answer(&self, request: &HttpRequest, is_head: bool) -> HttpResponse {
        let path = request.path().strip_prefix(self.below).and_then(file_path);
        let Some(path) = path else { return not_found() };
        let content = match self.find(&path) {
            Found::File(content) => content,
            Found::Nothing => return not_found(),
            Found::Unreadable => return HttpResponse::error(500, "the file cannot be read"),
        };
        let etag = etag(&content);
        let conditions = Conditions { etag: &etag, modified: self.modified, length: content.len() };
        let verdict = conditions.judge(request, !is_head);
        let response = match verdict {
            Verdict::Failed => return HttpResponse::error(412, "the file is another than the request says"),
            Verdict::Unsatisfiable => {
                let response = HttpResponse::error(416, "the file has no such range");
                return response.with_header("content-range", &format!("bytes */{}", content.len()));
            }
            Verdict::NotModified => HttpResponse { status: 304, headers: Vec::new(), body: None },
            Verdict::Whole => of_type(200, &path, content.into_owned()),
            Verdict::Part { first, last } => {
                let range = format!("bytes {first}-{last}/{}", content.len());
                of_type(206, &path, content[first..=last].to_vec()).with_header("content-range", &range)
            }
        };
        let mut response = response.with_header("etag", &etag).with_header("accept-ranges", "bytes");
        if let Some(modified) = self.modified {
            response = response.with_header("last-modified", &date::written(modified));
        }
        if let Some(cache_control) = self.cache_control {
            response = response.with_header("cache-control", cache_control);
        }
        response
    }

    fn find(&self, path: &str) -> Found<'a> {
        match self.source {
            FileSource::Embedded(files) => match files.iter().find(|(name, _)| *name == path) {
                Some((_, bytes)) => Found::File((*bytes).into()),
                None => Found::Nothing,
            },
            FileSource::Directory(directory) => {
                let path = format!("{directory}/{path}");
                match filesystem::read_file(&path) {
                    Ok(bytes) => Found::File(bytes.into()),
                    // A directory, a pipe, or a device.
                    Err(why) if why.contains("not a regular file") => Found::Nothing,
                    Err(_) if filesystem::path_exists(&path) == Ok(true) => Found::Unreadable,
                    Err(_) => Found::Nothing,
                }
            }
        }
    }
}

/// The path of the file that the rest of a URL's path names; none if it can name no file.
fn file_path(rest: &str) -> Option<String> {
    let rest = match rest {
        "" => "",
        rest => rest.strip_prefix('/')?,
    };
    let mut parts: Vec<String> = rest.split('/').map(decoded).collect::<Option<_>>()?;
    let last = parts.pop()?;
    parts.push(if last.is_empty() { INDEX.into() } else { last });
    let is_name = |part: &String| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.chars().any(|character| character == '/' || character == '\\' || character.is_control())
    };
    parts.iter().all(is_name).then(|| parts.join("/"))
}

fn decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |at: usize| char::from(*tail.get(at)?).to_digit(16);
        bytes.push(u8::try_from(digit(0)? * 16 + digit(1)?).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

/// A strong validator: the length, and the FNV-1a of the content.
fn etag(content: &[u8]) -> String {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = content.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    format!("\"{:x}-{hash:016x}\"", content.len())
}

fn of_type(status: u16, path: &str, body: Vec<u8>) -> HttpResponse {
    HttpResponse { status, headers: vec![("content-type".into(), content_type(path).into())], body: Some(body) }
}

fn not_found() -> HttpResponse {
    HttpResponse::text(404, "not found\n")
}

/// The answer to a HEAD: as to a GET, and without the body. The length is that of the body.
fn without_body(response: HttpResponse) -> HttpResponse {
    match response.body {
        Some(body) => HttpResponse { body: None, ..response }.with_header("content-length", &body.len().to_string()),
        None => response,
    }
}

fn content_type(path: &str) -> &'static str {
    let ending = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, ending)| ending);
    match ending.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        "md" => "text/markdown; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: StaticFiles<'_> = StaticFiles::embedded(&[
        ("index.html", b"<h1>Hello</h1>"),
        ("docs/index.html", b"docs"),
        ("a b.txt", b"0123456789"),
        ("empty.bin", b""),
    ]);
    const BUILT: u64 = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT

    fn ask(files: StaticFiles<'_>, method: &str, uri: &str, headers: &[(&str, &str)]) -> HttpResponse {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        files.serve(&HttpRequest { method: method.into(), uri: uri.into(), headers, body: None })
    }

    fn get(uri: &str, headers: &[(&str, &str)]) -> HttpResponse {
        ask(FILES.modified_at(BUILT), "GET", uri, headers)
    }

    fn header<'r>(response: &'r HttpResponse, name: &str) -> Option<&'r str> {
        response.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_file_is_found_by_its_path_and_a_directory_by_its_index() {
        for (uri, body, kind) in [
            ("/", "<h1>Hello</h1>", "text/html; charset=utf-8"),
            ("/index.html?v=1", "<h1>Hello</h1>", "text/html; charset=utf-8"),
            ("/docs/", "docs", "text/html; charset=utf-8"),
            ("/a%20b.txt", "0123456789", "text/plain; charset=utf-8"),
            ("/empty.bin", "", "application/octet-stream"),
        ] {
            let response = get(uri, &[]);
            assert_eq!((response.status, response.body.as_deref()), (200, Some(body.as_bytes())), "{uri}");
            assert_eq!(header(&response, "content-type"), Some(kind), "{uri}");
        }
        assert_eq!(get("/docs", &[]).status, 404);
        assert_eq!(ask(FILES.below("/site"), "GET", "/site/", &[]).status, 200);
        assert_eq!(ask(FILES.below("/site"), "GET", "/site", &[]).status, 200);
        assert_eq!(ask(FILES.below("/site"), "GET", "/sites/", &[]).status, 404);
        assert_eq!(ask(FILES.below("/site"), "GET", "/", &[]).status, 404);
    }

    #[test]
    fn what_names_no_file_of_ours_is_not_found() {
        for uri in [
            "/..",
            "/../index.html",
            "/docs/../index.html",
            "/%2e%2e/index.html",
            "/docs%2findex.html",
            "/docs%5cindex.html",
            "/./index.html",
            "//index.html",
            "/docs//index.html",
            "/.git/config",
            "/a%00",
            "/%",
            "/%4",
            "/%zz",
            "/%ff",
            "/INDEX.html",
            "*",
        ] {
            assert_eq!(get(uri, &[]).status, 404, "{uri}");
        }
    }

    #[test]
    fn a_head_is_a_get_without_the_body_and_other_methods_are_refused() {
        let head = ask(FILES, "HEAD", "/a%20b.txt", &[("Range", "bytes=0-1")]);
        assert_eq!((head.status, &head.body), (200, &None), "a range is for a GET");
        assert_eq!(header(&head, "content-length"), Some("10"));
        assert_eq!(header(&head, "etag"), header(&get("/a%20b.txt", &[]), "etag"));
        assert_eq!(ask(FILES, "HEAD", "/none", &[]).body, None);
        let post = ask(FILES, "POST", "/", &[]);
        assert_eq!((post.status, header(&post, "allow")), (405, Some("GET, HEAD")));
    }

    #[test]
    fn a_range_is_sent_if_it_is_one_and_lies_in_the_file() {
        for (range, status, body, content_range) in [
            ("bytes=0-3", 206, "0123", Some("bytes 0-3/10")),
            ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
            ("bytes=7-99", 206, "789", Some("bytes 7-9/10")),
            ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
            ("bytes=-99", 206, "0123456789", Some("bytes 0-9/10")),
            ("Bytes = 0-0", 206, "0", Some("bytes 0-0/10")),
            ("bytes=0-1,3-4", 200, "0123456789", None),
            ("bytes=3-1", 200, "0123456789", None),
            ("bytes=a-b", 200, "0123456789", None),
            ("bytes=", 200, "0123456789", None),
            ("bytes=-", 200, "0123456789", None),
            ("lines=0-1", 200, "0123456789", None),
            ("bytes=+0-1", 200, "0123456789", None),
        ] {
            let response = get("/a%20b.txt", &[("Range", range)]);
            assert_eq!((response.status, response.body.as_deref()), (status, Some(body.as_bytes())), "{range}");
            assert_eq!(header(&response, "content-range"), content_range, "{range}");
        }
        for (uri, range, length) in
            [("/a%20b.txt", "bytes=10-", 10), ("/a%20b.txt", "bytes=-0", 10), ("/empty.bin", "bytes=0-", 0)]
        {
            let response = get(uri, &[("Range", range)]);
            assert_eq!(
                (response.status, header(&response, "content-range")),
                (416, Some(&*format!("bytes */{length}"))),
                "{range}"
            );
        }
        let far = "bytes=99999999999999999999-";
        assert_eq!(get("/a%20b.txt", &[("Range", far)]).status, 416, "more than any number of ours");
    }

    #[test]
    fn a_range_is_sent_only_of_the_file_that_the_client_has_the_rest_of() {
        let etag = header(&get("/a%20b.txt", &[]), "etag").expect("one").to_owned();
        let weak = format!("W/{etag}");
        for (if_range, status) in [
            (etag.as_str(), 206),
            (weak.as_str(), 200),
            ("\"other\"", 200),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 206),
            ("Sun, 06 Nov 1994 08:49:38 GMT", 200),
            ("nonsense", 200),
        ] {
            let response = get("/a%20b.txt", &[("Range", "bytes=0-1"), ("If-Range", if_range)]);
            assert_eq!(response.status, status, "{if_range}");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let etag = header(&get("/", &[]), "etag").expect("one").to_owned();
        let weak = format!("\"x\", W/{etag}");
        let (then, before) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:36 GMT");
        for (name, value, status) in [
            ("If-None-Match", etag.as_str(), 304),
            ("If-None-Match", weak.as_str(), 304),
            ("if-none-match", "*", 304),
            ("If-None-Match", "\"x\"", 200),
            ("If-Modified-Since", then, 304),
            ("If-Modified-Since", before, 200),
            ("If-Modified-Since", "yesterday", 200),
            ("If-Match", etag.as_str(), 200),
            ("If-Match", "*", 200),
            ("If-Match", "\"x\"", 412),
            ("If-Match", &weak[5..], 412),
            ("If-Unmodified-Since", then, 200),
            ("If-Unmodified-Since", before, 412),
        ] {
            let response = get("/", &[(name, value)]);
            assert_eq!(response.status, status, "{name}: {value}");
            if status == 304 {
                assert_eq!((response.body, response.headers.iter().any(|(name, _)| name == "etag")), (None, true));
            }
        }
        let both = [("If-None-Match", "\"x\""), ("If-Modified-Since", then)];
        assert_eq!(get("/", &both).status, 200, "a date counts only without a tag");
        let both = [("If-None-Match", etag.as_str()), ("Range", "bytes=99-")];
        assert_eq!(get("/", &both).status, 304, "a condition comes before a range");
    }

    #[test]
    fn an_answer_says_how_long_it_may_be_kept() {
        let response = ask(FILES.cached("public, max-age=60").modified_at(BUILT), "GET", "/", &[]);
        assert_eq!(header(&response, "cache-control"), Some("public, max-age=60"));
        assert_eq!(header(&response, "last-modified"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(header(&ask(FILES, "GET", "/", &[]), "last-modified"), None);
    }
}
