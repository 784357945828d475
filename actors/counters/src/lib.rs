//! An actor that has others count: it makes a child for each label that it is told, and a listener of the runtime leads the
//! requests of a label to its child. `benches/services/theater` has the manifests and the routes.
//!
//! | HTTP | body | does |
//! |---|---|---|
//! | `POST /counters` | `["alice","bob"]` | sees that each label has a counter, and returns how many labels these were |
//!
//! If a counter cannot be made, the answer has the status 503 and the error. The counters before it in the list are there then.

use serde::{Deserialize, Serialize};
use theater_actor::{Actor, HttpHandler, HttpRequest, HttpResponse, supervisor};

/// The manifest of a counter, which lies beside that of this actor.
const COUNTER: &str = "counter.toml";

/// Nothing to keep: the runtime knows the children by their labels.
#[derive(Default, Serialize, Deserialize)]
struct Counters {}

#[derive(Serialize)]
struct Made {
    counters: usize,
}

impl Actor for Counters {
    fn init(state: Option<Self>, _id: &str) -> Result<Self, String> {
        Ok(state.unwrap_or_default())
    }
}

impl HttpHandler for Counters {
    fn handle(&mut self, request: HttpRequest) -> Result<HttpResponse, String> {
        if request.method != "POST" {
            return Ok(HttpResponse::method_not_allowed("POST"));
        }
        let labels: Vec<String> = match request.json() {
            Ok(labels) => labels,
            Err(why) => return Ok(HttpResponse::error(400, &why)),
        };
        for label in &labels {
            if let Err(why) = supervisor::get_or_spawn(COUNTER, label, None::<&()>) {
                return Ok(HttpResponse::error(503, &why));
            }
        }
        HttpResponse::json(200, &Made { counters: labels.len() })
    }
}

theater_actor::export!(Counters: http);

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(method: &str, body: &str) -> HttpResponse {
        let body = Some(body.as_bytes().to_vec());
        let request = HttpRequest { method: method.into(), uri: "/counters".into(), headers: Vec::new(), body };
        Counters {}.handle(request).unwrap()
    }

    #[test]
    fn labels_are_posted_as_a_list_of_text() {
        assert_eq!(answer("POST", "[]").body.as_deref(), Some(&br#"{"counters":0}"#[..]));
        assert_eq!(answer("POST", r#"{"label": "alice"}"#).status, 400);
        assert_eq!(answer("POST", "").status, 400);
        assert_eq!(answer("GET", "").status, 405);
    }
}
