//! Tests of the runtime's own HTTP listeners: one port for many actors, which routes lead to.

mod support;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Http, Stage, Theater, eventually, theater, verifies_and_replays};

const ROUTED: &str = "[[handlers]]\ntype = \"http-server\"\nconfig = { listen = false }\n";
const SUPERVISOR: &str = "[[handlers]]\ntype = \"supervisor\"\n";

/// A nursery called `shop`, whose children are reached by routes alone.
struct Shop {
    stage: Stage,
    manifest: PathBuf,
}

impl Shop {
    fn new(listeners: &str) -> Self {
        let stage = Stage::new();
        for name in ["probe", "nursery"] {
            stage.copy_component(name, name);
        }
        stage.manifest_at("cart", "probe.wasm".as_ref(), ROUTED);
        let manifest = stage.manifest_at("shop", "nursery.wasm".as_ref(), &format!("{SUPERVISOR}{ROUTED}"));
        stage.file("theater.toml", listeners);
        Self { stage, manifest }
    }

    fn run(&self) -> Theater {
        let toml = self.stage.path().join("theater.toml");
        let more = ["--config", toml.to_str().expect("a path")];
        self.stage.run_with(&[&self.manifest], &more).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Why a runtime with these listeners does not start.
    fn refused(listeners: &str) -> String {
        let shop = Self::new(listeners);
        let toml = shop.stage.path().join("theater.toml");
        let more = ["--config", toml.to_str().expect("a path")];
        shop.stage.run_with(&[&shop.manifest], &more).err().unwrap_or_else(|| panic!("it starts: {listeners}"))
    }
}

/// Where the listener of this number is reached.
fn listener(running: &Theater, number: usize) -> SocketAddr {
    let mut said = running.said().iter().filter_map(|line| line.strip_prefix("listener    http://"));
    let line = said.nth(number).unwrap_or_else(|| panic!("{:?}", running.said()));
    line.trim_end_matches('/').parse().expect("an address")
}

fn spawn(running: &Theater, label: &str) -> String {
    let command = json!({ "op": "spawn-as", "manifest": "cart.toml", "label": label });
    let spawned = running.request("shop", &command).expect("an answer");
    spawned["ok"].as_str().unwrap_or_else(|| panic!("{spawned}")).to_owned()
}

const CARTS: &str = r#"
[[listeners]]
listen = "127.0.0.1:0"
routes = [
    { path = "/carts/{cart}/*", to = "shop/{cart}" },
    { path = "/only", host = "shop.example.org", to = "shop" },
    { path = "/lost", to = "nobody" },
]
"#;

#[test]
fn one_port_serves_each_actor_that_its_routes_lead_to() {
    let shop = Shop::new(CARTS);
    let running = shop.run();
    let alice = spawn(&running, "alice");
    spawn(&running, "bob@example.org");
    let mut client = Http::connect(listener(&running, 0));
    let mut count = |path: &str| client.ask("POST", path, Some("\"count\""));
    for (path, expected) in [
        ("/carts/alice/op", json!(1)),
        ("/carts/bob@example.org/op", json!(1)),
        ("/carts/bob%40example.org/op?x=1", json!(2)),
        ("/carts/alice/some/where/op", json!(2)),
    ] {
        let answer = count(path);
        assert_eq!((answer.status, answer.json()), (200, expected), "{path}");
    }
    for path in ["/carts/carol/op", "/carts/", "/carts", "/", "/lost", "/carts/a%2Fb/op", "/only"] {
        let answer = count(path);
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
    }
    let mut client = Http::connect(listener(&running, 0));
    client
        .send_raw(b"POST /only HTTP/1.1\r\nHost: Shop.Example.org:81\r\nContent-Length: 7\r\n\r\n\"count\"")
        .expect("sent");
    let answer = client.receive().expect("an answer");
    assert_eq!(answer.json(), json!({ "error": "nothing at /only" }), "the actor itself answers");
    running.say(&["stop", &alice]);
    assert_eq!(client.ask("POST", "/carts/alice/op", Some("\"count\"")).status, 503, "it has ended");
    spawn(&running, "alice");
    assert_eq!(client.ask("POST", "/carts/alice/op", Some("\"count\"")).json(), json!(1), "the new one of that name");
    verifies_and_replays(&running.export(&shop.stage, &alice));
}

#[test]
fn routes_lead_to_the_same_actors_after_a_crash() {
    let shop = Shop::new(CARTS);
    let running = shop.run();
    spawn(&running, "alice");
    let count = |running: &Theater| {
        Http::connect(listener(running, 0)).ask("POST", "/carts/alice/op", Some("\"count\"")).json()
    };
    assert_eq!(count(&running), json!(1));
    running.kill();
    let running = shop.run();
    assert_eq!(count(&running), json!(2));
}

#[test]
fn a_request_has_an_id_that_the_actor_the_answer_and_the_access_log_show() {
    let shop = Shop::new(&CARTS.replace("listen =", "access_log = true\nlisten ="));
    let running = shop.run();
    spawn(&running, "alice");
    let mut client = Http::connect(listener(&running, 0));
    let mut ask = |id: &str| {
        let request = format!("GET /carts/alice/echo HTTP/1.1\r\nHost: h\r\n{id}\r\n");
        client.send_raw(request.as_bytes()).expect("sent");
        let answer = client.receive().expect("an answer");
        let lines = answer.head.lines().filter_map(|line| line.strip_prefix("x-request-id: "));
        let ids: Vec<String> = lines.map(str::to_owned).collect();
        assert_eq!(ids.len(), 1, "{}", answer.head);
        let seen: Vec<Value> = answer.json()["headers"].as_array().expect("headers").clone();
        let is_id = |header: &Value| header[0].as_str().is_some_and(|name| name.eq_ignore_ascii_case("x-request-id"));
        let seen: Vec<&Value> = seen.iter().filter(|header| is_id(header)).collect();
        assert_eq!((seen.len(), seen[0][1].as_str()), (1, Some(ids[0].as_str())), "the actor sees it");
        ids[0].clone()
    };
    assert_eq!(ask("X-Request-Id: order-17\r\n"), "order-17", "the client's own");
    let made = [ask(""), ask("X-Request-Id: two words\r\n"), ask("X-Request-Id: a\r\nX-Request-Id: b\r\n")];
    assert!(made.iter().all(|id| id.len() == 36), "{made:?}");
    assert_ne!(made[0], made[1]);
    eventually("the log has it", || {
        let log = shop.stage.log();
        let line = log.lines().find(|line| line.contains("order-17"))?;
        let parts = ["GET /carts/alice/echo", " 200 ", "shop/alice"];
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
        Some(())
    });
}

#[test]
fn what_no_route_sees_is_logged_and_has_an_id_too() {
    let shop = Shop::new(&CARTS.replace("listen =", "access_log = true\nlisten ="));
    let running = shop.run();
    let mut client = Http::connect(listener(&running, 0));
    client.send_raw(b"this is no request\r\n\r\n").expect("sent");
    let answer = client.receive().expect("an answer");
    assert_eq!(answer.status, 400);
    let id = answer
        .head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("x-request-id: ").map(str::to_owned));
    let id = id.unwrap_or_else(|| panic!("{}", answer.head));
    eventually("the log has it", || {
        shop.stage.log().lines().any(|line| line.contains(&id) && line.contains(" 400 ")).then_some(())
    });
}

#[test]
fn an_actor_that_has_ended_is_not_to_be_asked_again_and_one_without_http_is_named_in_the_log() {
    let more = "[[listeners]]\nlisten = \"127.0.0.1:0\"\nroutes = [{ path = \"/*\", to = \"mute\" }]\n";
    let shop = Shop::new(&format!("{CARTS}{more}"));
    let running = shop.run();
    let alice = spawn(&running, "alice");
    running.say(&["stop", &alice]);
    running.until(&alice, "stopped");
    let ended = Http::connect(listener(&running, 0)).ask("POST", "/carts/alice/op", Some("\"count\""));
    assert_eq!((ended.status, ended.head.to_ascii_lowercase().contains("retry-after")), (503, false), "{}", ended.head);
    running.start(&shop.stage.manifest("mute", "mute", "[[handlers]]\ntype = \"timer\"\n")).expect("it starts");
    let mut client = Http::connect(listener(&running, 1));
    assert_eq!(client.ask("GET", "/", None).status, 500);
    let named = || shop.stage.log().contains("leads to the actor mute, and that takes no HTTP requests");
    eventually("the log names it", || named().then_some(()));
}

#[test]
fn several_listeners_have_routes_of_their_own() {
    let second = "[[listeners]]\nlisten = \"127.0.0.1:0\"\nroutes = [{ path = \"/*\", to = \"shop\" }]\n";
    let shop = Shop::new(&format!("{CARTS}{second}"));
    let running = shop.run();
    let (first, second) = (listener(&running, 0), listener(&running, 1));
    assert_eq!(Http::connect(first).ask("POST", "/op", Some("\"count\"")).status, 404);
    assert_eq!(Http::connect(second).ask("POST", "/op", Some("\"count\"")).json(), json!(1));
    let listed = running.json(&["list"]);
    assert_eq!(listed[0]["addresses"], json!([]), "an actor that routes lead to does not listen itself");
}

#[test]
fn an_answer_is_given_once_its_events_are_on_disk_and_a_body_that_the_actor_does_not_take_is_413() {
    let shop = Shop::new(CARTS);
    shop.stage.manifest_at("cart", "probe.wasm".as_ref(), &format!("[limits]\nhttp_body_bytes = 100\n{ROUTED}"));
    let running = shop.run();
    let alice = spawn(&running, "alice");
    let mut client = Http::connect(listener(&running, 0));
    let long = json!({ "op": "echo", "value": "x".repeat(200) }).to_string();
    assert_eq!(client.ask("POST", "/carts/alice/op", Some(&long)).status, 413);
    assert_eq!(client.ask("POST", "/carts/alice/op", Some("\"count\"")).json(), json!(1));
    running.kill();
    let running = shop.run();
    assert_eq!(running.json(&["state", &alice])["state"]["count"], 1);
}

#[test]
fn a_listener_that_is_written_wrongly_is_refused_by_its_line() {
    for (listeners, why) in [
        ("[[listeners]]\nroutes = []\n", "needs an address"),
        ("[[listeners]]\nlisten = \"8080\"\nroutes = []\n", "an IP address and a port"),
        ("[[listeners]]\nlisten = \"127.0.0.1:0\"\n", "needs routes"),
        ("[listeners]\nlisten = \"127.0.0.1:0\"\n", "[[listeners]]"),
        ("[[listeners]]\nlisten = \"127.0.0.1:0\"\nroute = []\n", "did you mean \"routes\"?"),
        ("[[listeners]]\nlisten = \"127.0.0.1:0\"\naccess_log = \"yes\"\nroutes = []\n", "true or false"),
        ("[[listeners]]\nlisten = \"127.0.0.1:0\"\nroutes = [{ path = \"/a\" }]\n", "needs \"to\""),
        ("[[listeners]]\nlisten = \"127.0.0.1:0\"\nroutes = [{ path = \"a\", to = \"b\" }]\n", "slash"),
        ("[[listeners]]\nlisten = \"127.0.0.1:0\"\nroutes = []\n", "answers nobody"),
        (
            "[[listeners]]\nlisten = \"127.0.0.1:0\"\nroutes = [{ path = \"/*\", to = \"a b/c d\" }]\n",
            "address of an actor",
        ),
        (
            "[[listeners]]\nlisten = \"127.0.0.1:0\"\nroutes = [{ path = \"/*\", host = \"*.a\", to = \"b\" }]\n",
            "has no *",
        ),
        (
            "[[listeners]]\nlisten = \"127.0.0.1:0\"\nroutes = [{ path = \"/*\", host = \"ä.de\", to = \"b\" }]\n",
            "xn--",
        ),
        (
            "[[listeners]]\nlisten = \"127.0.0.1:0\"\nroutes = [{ path = \"/*\", to = \"a\" }, { path = \"/b\", to = \"b\" }]\n",
            "no request comes to this route",
        ),
        ("[[listeners]]\nlisten = \"127.0.0.1:0\"\ntls = { cert = \"no.pem\" }\nroutes = []\n", "both files"),
        (
            "[[listeners]]\nlisten = \"127.0.0.1:0\"\ntls = { cert = \"no.pem\", key = \"no.pem\" }\nroutes = [{ path = \"/*\", to = \"b\" }]\n",
            "no.pem",
        ),
    ] {
        let refused = Shop::refused(listeners);
        assert!(refused.contains(why), "{listeners}: {refused}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let refused =
        Shop::refused(&format!("[[listeners]]\nlisten = \"{address}\"\nroutes = [{{ path = \"/*\", to = \"b\" }}]\n"));
    assert!(refused.contains(&address.to_string()) && refused.contains("another address"), "{refused}");
}

#[test]
fn a_handler_that_does_not_listen_names_no_port() {
    let stage = Stage::new();
    for (config, why) in [
        ("{ listen = false, port = 80 }", "listen = false"),
        ("{ listen = false, host = \"::1\" }", "listen = false"),
        ("{ listen = true }", "the key \"port\""),
        ("{}", "the key \"port\""),
    ] {
        let more = format!("[[handlers]]\ntype = \"http-server\"\nconfig = {config}\n");
        let manifest = stage.manifest("wrong", "probe", &more);
        let checked = theater(&["check", manifest.to_str().expect("a path")], None);
        let said = support::text(&checked.stderr);
        assert!(!checked.status.success() && said.contains(why), "{config}: {said}");
    }
}

/// A runtime with one routed probe, whose route has these settings.
fn routed(manifest: &str, route: &str) -> (Stage, PathBuf, Theater) {
    let stage = Stage::new();
    let manifest = stage.manifest("web", "probe", &format!("{manifest}\n{ROUTED}"));
    let routes = format!(
        "[[listeners]]\nlisten = \"127.0.0.1:0\"\ncompress = true\nroutes = [{{ path = \"/*\", to = \"web\", {route} }}]\n"
    );
    let toml = stage.file("theater.toml", routes);
    let more = ["--config", toml.to_str().expect("a path")];
    let running = stage.run_with(&[&manifest], &more).unwrap_or_else(|why| panic!("{why}"));
    (stage, manifest, running)
}

#[test]
fn a_route_lets_through_so_many_requests_in_a_time_and_says_when_there_is_room_again() {
    let (_stage, _, running) = routed("", "rate = { per_second = 0.01, burst = 3 }");
    let mut client = Http::connect(listener(&running, 0));
    let statuses: Vec<u16> = (0..4).map(|_| client.ask("POST", "/op", Some("\"count\"")).status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    let refused = client.ask("POST", "/op", Some("\"count\""));
    let seconds = refused.head.lines().find_map(|line| line.strip_prefix("Retry-After: ")?.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (90..=100).contains(&seconds)), "{}", refused.head);
    assert_eq!(running.json(&["state", "web"])["state"]["count"], 3);
}

#[test]
fn a_route_has_so_many_requests_under_way_and_the_next_wait_for_their_turn() {
    let limits = "[limits]\ncpu_ms_per_call = 60000\nstop_grace_ms = 0\n";
    let (_stage, _, running) = routed(limits, "concurrency = { at_most = 1, wait_ms = 100 }");
    let address = listener(&running, 0);
    let mut busy = Http::connect(address);
    busy.send("POST", "/op", Some("\"spin\""));
    eventually("it is busy", || running.event_types("web").last()?.starts_with("call ").then_some(()));
    let refused = Http::connect(address).ask("POST", "/op", Some("\"count\""));
    assert_eq!((refused.status, refused.body.as_str()), (503, "too many requests are under way\n"));
    let patient = std::thread::spawn(move || {
        eventually("its turn comes", || {
            let answer = Http::connect(address).ask("GET", "/echo", None);
            (answer.body != "too many requests are under way\n").then_some(answer.status)
        })
    });
    running.say(&["stop", "web"]);
    assert_eq!(busy.receive().expect("an answer").status, 503);
    assert_eq!(patient.join().expect("an answer"), 503, "it got through to the actor, which has ended");
}

#[test]
fn a_route_asks_again_where_an_actor_gave_no_answer_and_the_request_may_be_repeated() {
    let restarts = "restart = \"permanent\"\nrestart_backoff_ms = 1\nmax_restarts = 50\n";
    let (_stage, _, running) = routed(restarts, "idempotency = true, retry = { attempts = 3, backoff_ms = 1 }");
    let address = listener(&running, 0);
    let failures = || running.event_types("web").iter().filter(|it| *it == "failed").count();
    let ask = |key: &str, command: &str| {
        let mut client = Http::connect(address);
        let length = command.len();
        let request = format!("POST /op HTTP/1.1\r\nHost: h\r\n{key}Content-Length: {length}\r\n\r\n{command}");
        client.send_raw(request.as_bytes()).expect("sent");
        client.receive().expect("an answer")
    };
    assert_eq!((ask("", "\"trap\"").status, failures()), (500, 1), "a POST without a key is made once");
    assert_eq!((ask("Idempotency-Key: k\r\n", "\"trap\"").status, failures()), (500, 4));
    let counted = ["a", "a", "b"].map(|key| ask(&format!("Idempotency-Key: {key}\r\n"), "\"count\"").json());
    assert_eq!(counted, [json!(1), json!(1), json!(2)]);
    assert_eq!(ask("Idempotency-Key: two words\r\n", "\"count\"").status, 400);
}

#[test]
fn answers_are_compressed_for_clients_that_wish_it_and_recorded_as_they_were() {
    let (stage, _, running) = routed("", "idempotency = true");
    let long = "and so on ".repeat(500);
    let ask = |accepts: &str, method: &str| {
        let respond =
            json!({ "status": 200, "headers": [["Content-Type", "text/plain"], ["ETag", "\"v1\""]], "body": long });
        let respond = respond.to_string();
        let length = respond.len();
        let request = format!(
            "{method} /respond HTTP/1.1\r\nHost: h\r\n{accepts}Connection: close\r\nContent-Length: {length}\r\n\r\n{respond}"
        );
        let mut stream = std::net::TcpStream::connect(listener(&running, 0)).expect("a connection");
        std::io::Write::write_all(&mut stream, request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut answer).expect("an answer");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let body = answer.split_off(end);
        (String::from_utf8(answer).expect("a head"), body)
    };
    let (head, body) = ask("Accept-Encoding: br, gzip;q=0.8\r\n", "POST");
    assert!(head.contains("Content-Encoding: gzip\r\n") && head.contains("Vary: Accept-Encoding\r\n"), "{head}");
    assert!(
        head.contains("ETag: W/\"v1\"\r\n") && head.contains(&format!("Content-Length: {}\r\n", body.len())),
        "{head}"
    );
    assert!(body.starts_with(&[0x1f, 0x8b]) && body.len() < long.len() / 4, "{} bytes", body.len());
    for accepts in ["", "Accept-Encoding: identity\r\n", "Accept-Encoding: gzip;q=0, *\r\n"] {
        let (head, body) = ask(accepts, "POST");
        assert!(!head.contains("Content-Encoding") && head.contains("Vary: Accept-Encoding\r\n"), "{head}");
        assert!(head.contains("ETag: \"v1\"\r\n") && body == long.as_bytes(), "{head}");
    }
    let events = running.events("web");
    let returned = support::data_of(&events, "return ntwk:theater/http-server.handle-request");
    assert!(returned.iter().all(|returned| returned.to_string().contains(&long)), "the recorded answers are whole");
    verifies_and_replays(&running.export(&stage, "web"));
}

#[test]
fn a_wrong_setting_of_a_route_is_refused_with_what_it_should_be() {
    for (setting, why) in [
        ("rate = 10", "\"rate\" is a table"),
        ("rate = { burst = 3 }", "\"rate\" is a table"),
        ("rate = { per_second = 0 }", "\"per_second\" of \"rate\" is a number from"),
        ("rate = { per_second = 1, by = \"actor\" }", "\"client\" or \"route\""),
        ("rate = { per_second = 1, brust = 2 }", "did you mean \"burst\""),
        ("concurrency = 0", "\"concurrency\" is a number from 1"),
        ("concurrency = { at_most = 1.5 }", "whole number"),
        ("concurrency = \"many\"", "\"concurrency\" is a number, or a table"),
        ("retry = { attempts = 11 }", "\"attempts\" of \"retry\" is a number from 1 to 10"),
        ("retry = true", "\"retry\" is a table"),
        ("idempotency = 1", "\"idempotency\" is true or false"),
    ] {
        let listeners = format!(
            "[[listeners]]\nlisten = \"127.0.0.1:0\"\nroutes = [{{ path = \"/\", to = \"shop\", {setting} }}]\n"
        );
        let refused = Shop::refused(&listeners);
        assert!(refused.contains(why), "{setting}: {refused}");
    }
}
