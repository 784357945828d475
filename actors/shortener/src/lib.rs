//! An actor that shortens links. The links are rows of its table, so ten million of them cost a request no more than ten.
//!
//! | HTTP | does |
//! |---|---|
//! | `PUT /NAME`, the URL as the body | remembers the link; 409 if there is one of this name with another URL |
//! | `GET /NAME` | leads to the URL |
//! | `DELETE /NAME` | forgets the link |
//! | `GET /?after=NAME` | lists links in the order of their names, 100 at a time, those behind NAME |
//!
//! Its state is empty: all that it knows is in the table.

use serde::{Deserialize, Serialize};
use theater_actor::{Actor, HttpHandler, HttpRequest, HttpResponse, table};

#[derive(Serialize, Deserialize)]
struct Shortener {}

/// The row of a link.
#[derive(Serialize, Deserialize)]
struct Link {
    url: String,
}

/// What a page of the list shows.
#[derive(Serialize)]
struct Listed {
    count: u64,
    links: Vec<(String, String)>,
}

/// The prefix of the keys of links: other things may have other prefixes.
const LINKS: &str = "link/";

fn key(name: &str) -> String {
    format!("{LINKS}{name}")
}

impl Actor for Shortener {
    fn init(_state: Option<Self>, _id: &str) -> Result<Self, String> {
        Ok(Self {})
    }
}

impl HttpHandler for Shortener {
    fn handle(&mut self, request: HttpRequest) -> Result<HttpResponse, String> {
        let name = request.path().trim_start_matches('/').to_owned();
        match (request.method.as_str(), name.as_str()) {
            ("GET", "") => list(request.uri.split_once("?after=").map(|(_, after)| after)),
            ("GET", name) => Ok(match table::get::<Link>(key(name))? {
                Some(Link { url }) => HttpResponse { status: 302, headers: vec![("Location".into(), url)], body: None },
                None => HttpResponse::error(404, &format!("there is no link {name}")),
            }),
            ("PUT", name) if !name.is_empty() => {
                let url = String::from_utf8(request.body.unwrap_or_default()).map_err(|_| "the URL is not UTF-8")?;
                if table::get::<Link>(key(name))?.is_some_and(|link| link.url != url) {
                    return Ok(HttpResponse::error(409, &format!("the link {name} leads somewhere else")));
                }
                let link = Link { url };
                table::put(key(name), &link)?;
                HttpResponse::json(201, &link)
            }
            ("DELETE", name) if table::delete(key(name))? => {
                Ok(HttpResponse { status: 204, headers: vec![], body: None })
            }
            ("DELETE", name) => Ok(HttpResponse::error(404, &format!("there is no link {name}"))),
            _ => Ok(HttpResponse::method_not_allowed("GET, PUT, DELETE")),
        }
    }
}

fn list(after: Option<&str>) -> Result<HttpResponse, String> {
    let behind = after.map(key);
    let page = table::scan(LINKS, 100, behind.as_ref().map(String::as_bytes))?;
    let links = page.rows.into_iter().map(|row| {
        let name = String::from_utf8_lossy(&row.key[LINKS.len()..]).into_owned();
        let link: Link = serde_json::from_slice(&row.value).map_err(|error| error.to_string())?;
        Ok((name, link.url))
    });
    HttpResponse::json(200, &Listed { count: table::count(), links: links.collect::<Result<_, String>>()? })
}

theater_actor::export!(Shortener: http);
