//! Telemetry for a collector of OpenTelemetry: what it is sent, and that nobody waits for it.

mod support;
#[path = "support/collector.rs"]
mod collector;

use std::path::Path;
use std::time::{Duration, Instant};

use collector::{Collector, Mood, attribute, decoded};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::{Http, Stage, Theater, eventually, text};

/// Everything is sent, and soon.
fn settings(collector: &Collector, more: &str) -> String {
    format!("[telemetry]\nendpoint = {:?}\nsample = 1.0\ninterval_ms = 1000\n{more}", collector.url())
}

fn run(stage: &Stage, manifests: &[&Path], settings: &str) -> Theater {
    stage.file("theater.toml", settings);
    stage.run_with(manifests, &["--metrics-listen", "127.0.0.1:0"]).unwrap_or_else(|why| panic!("{why}"))
}

/// The beginning of the SHA-256 of a text, as docs/observing.md says.
fn digest(what: &str, actor: &str, sequence: &str, bytes: usize) -> String {
    hex::encode(&Sha256::digest(format!("theater {what} {actor} {sequence}"))[..bytes])
}

const REQUEST: &str = "ntwk:theater/message-server-client.handle-request";

#[test]
fn a_request_and_what_it_leads_to_in_other_actors_is_one_trace() {
    let (stage, collector) = (Stage::new(), Collector::new(Mood::Answers(200)));
    let manifests = [stage.http_manifest("asker", "probe", ""), stage.manifest("asked", "probe", "")];
    let running = run(&stage, &[&manifests[0], &manifests[1]], &settings(&collector, "service = \"shop\"\n"));
    let (asker, asked) = (running.id("asker"), running.id("asked"));
    let ask = json!({ "op": "request", "to": asked, "msg": "count" });
    let answer = Http::connect(running.http("asker")).ask("POST", "/op?secret=hunter2", Some(&ask.to_string()));
    assert_eq!((answer.status, answer.json()), (200, json!({ "ok": 1 })));

    let outer = collector.span("POST /op", &asker);
    let inner = collector.span(REQUEST, &asked);
    assert_eq!((&inner["traceId"], &inner["parentSpanId"]), (&outer["traceId"], &outer["spanId"]));
    assert!(outer.get("parentSpanId").is_none(), "nothing in the runtime has caused it: {outer}");
    for (key, value) in [
        ("http.request.method", "POST"),
        ("url.path", "/op"),
        ("http.response.status_code", "200"),
        ("theater.actor.name", "asker"),
        ("theater.export", "ntwk:theater/http-server.handle-request"),
        ("theater.caller", "http"),
    ] {
        assert_eq!(attribute(&outer, key).as_deref(), Some(value), "{outer}");
    }
    assert_eq!(attribute(&inner, "theater.cause.actor.id"), Some(asker.clone()));
    // Whoever reads the chains comes to the same ids.
    let sequence = |span| attribute(span, "theater.event.sequence").expect("a sequence");
    assert_eq!(outer["traceId"], digest("trace", &asker, &sequence(&outer), 16));
    assert_eq!(outer["spanId"], digest("span", &asker, &sequence(&outer), 8));
    assert_eq!(inner["spanId"], digest("span", &asked, &sequence(&inner), 8));
    let call = &running.events("asked")[sequence(&inner).parse::<usize>().expect("a number")];
    assert_eq!(call["event_type"], format!("call {REQUEST}"));
    let sent = text(
        &serde_json::to_vec(&collector.requests().iter().map(|it| it.body.clone()).collect::<Vec<_>>()).expect("JSON"),
    );
    assert!(!sent.contains("hunter2"), "a query is nobody's business");

    let first = &collector.requests()[0];
    let resource = &first.body["resourceSpans"][0]["resource"];
    assert_eq!(attribute(resource, "service.name").as_deref(), Some("shop"));
    assert_eq!(attribute(resource, "service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert!(first.head.to_lowercase().contains("content-type: application/json\r\n"), "{}", first.head);
    running.shut_down();
}

#[test]
fn what_is_sent_is_understood_by_a_decoder_of_the_published_protocol() {
    let (stage, collector) = (Stage::new(), Collector::new(Mood::Answers(200)));
    let name = "pro\"be\u{1b}\u{1f600}";
    let manifest = stage.file(
        "probe.toml",
        format!(
            "name = {:?}\ncomponent_path = {:?}\nrestart = \"temporary\"\n{}",
            "probe",
            support::component("probe"),
            support::HTTP
        ),
    );
    let running = run(&stage, &[&manifest], &settings(&collector, &format!("service = {}\n", json!(name))));
    let id = running.id("probe");
    let mut http = Http::connect(running.http("probe"));
    assert_eq!(http.op(&json!({ "op": "refuse", "message": "not\n\"today\" \u{1b}[31m" })).status, 500);
    running.request("probe", &json!({ "op": "trap" })).expect_err("it fails");
    let refused = collector.span("POST /op", &id);
    let failed = collector.span(REQUEST, &id);
    assert_eq!(refused["status"], json!({ "code": 2, "message": "not\n\"today\" \u{1b}[31m" }));
    assert_eq!(attribute(&refused, "error.type").as_deref(), Some("refused"));
    assert_eq!(failed["status"]["code"], 2);
    let why = failed["status"]["message"].as_str().expect("a text");
    assert!(why.starts_with("trap: ") && attribute(&failed, "error.type").as_deref() == Some("trap"), "{failed}");
    collector.metric("theater_journal_commit_bytes");
    running.shut_down();

    let mut kinds = std::collections::BTreeSet::new();
    for request in collector.requests() {
        let kind = request.path.trim_start_matches("/v1/");
        let Some(read) = decoded(kind, &request.body) else { return };
        let whole = if kind == "traces" { &read["resourceSpans"][0] } else { &read["resourceMetrics"][0] };
        assert_eq!(attribute(&whole["resource"], "service.name").as_deref(), Some(name));
        for span in whole["scopeSpans"][0]["spans"].as_array().into_iter().flatten() {
            kinds.extend(span["kind"].as_str().map(str::to_owned));
            let sent =
                collector.spans().into_iter().find(|sent| sent["spanId"] == span["spanId"]).expect("it was sent");
            assert_eq!((&span["traceId"], &span["attributes"]), (&sent["traceId"], &sent["attributes"]));
            if sent["status"]["code"] == 2 {
                assert_eq!(span["status"]["code"], "STATUS_CODE_ERROR");
            }
        }
        for metric in whole["scopeMetrics"][0]["metrics"].as_array().into_iter().flatten() {
            let data =
                ["sum", "gauge", "histogram"].into_iter().filter_map(|kind| metric.get(kind)).collect::<Vec<_>>();
            assert_eq!(data.len(), 1, "{metric}");
            for point in data[0]["dataPoints"].as_array().expect("points") {
                let Some(buckets) = point["bucketCounts"].as_array() else { continue };
                let count = |count: &Value| count.as_str().expect("a text").parse::<u64>().expect("a number");
                assert_eq!(buckets.len(), point["explicitBounds"].as_array().expect("bounds").len() + 1, "{point}");
                assert_eq!(buckets.iter().map(count).sum::<u64>(), count(&point["count"]), "{point}");
            }
        }
    }
    assert!(kinds.contains("SPAN_KIND_SERVER") && kinds.contains("SPAN_KIND_INTERNAL"), "{kinds:?}");
}

#[test]
fn the_metrics_are_those_that_prometheus_is_shown() {
    let (stage, collector) = (Stage::new(), Collector::new(Mood::Answers(200)));
    let running = run(&stage, &[&stage.manifest("probe", "probe", "")], &settings(&collector, ""));
    (0..3).for_each(|_| _ = running.request("probe", &json!("count")).expect("an answer"));
    let calls = eventually("all calls are counted", || {
        let point = collector.metric("theater_actor_calls_total")["sum"]["dataPoints"][0].clone();
        (point["asInt"] == "4").then_some(point)
    });
    assert_eq!(
        (attribute(&calls, "actor").as_deref(), attribute(&calls, "id")),
        (Some("probe"), Some(running.id("probe")))
    );
    let shown = Http::connect(running.metrics()).ask("GET", "/metrics", None).body;
    let named = shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    for (name, kind) in named {
        let metric = collector.metric(name);
        let key = match kind {
            "counter" => "sum",
            other => other,
        };
        assert!(
            metric[key]["dataPoints"].as_array().is_some_and(|points| !points.is_empty()),
            "{name} {kind}: {metric}"
        );
    }
    running.shut_down();
}

#[test]
fn without_a_setting_there_is_no_telemetry_and_with_a_share_of_0_there_are_metrics_alone() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", "");
    let running = stage.run(&[&manifest]);
    let threads = running.thread_names();
    assert!(!threads.iter().any(|name| name == "telemetry" || name == "otlp"), "{threads:?}");
    running.shut_down();
    let collector = Collector::new(Mood::Answers(200));
    let none = settings(&collector, "").replace("sample = 1.0", "sample = 0");
    let running = run(&stage, &[&manifest], &none);
    running.request("probe", &json!("count")).expect("an answer");
    collector.metric("theater_threads");
    running.shut_down();
    assert!(collector.requests().iter().all(|request| request.path == "/v1/metrics"));
}

fn dropped(running: &Theater) -> u64 {
    let shown = Http::connect(running.metrics()).ask("GET", "/metrics", None).body;
    let line = shown.lines().find_map(|line| line.strip_prefix("theater_telemetry_dropped_total "));
    line.expect("it is counted").parse().expect("a number")
}

/// A runtime works and ends as if there was no collector.
#[test]
fn nobody_waits_for_a_collector_that_hangs_refuses_or_is_not_there() {
    for mood in [Some(Mood::Hangs), Some(Mood::Answers(500)), Some(Mood::Answers(503)), None] {
        let stage = Stage::new();
        let collector = Collector::new(mood.unwrap_or(Mood::Answers(200)));
        let mut settings = settings(&collector, "");
        if mood.is_none() {
            let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("free");
            settings = settings.replace(&collector.url(), &format!("http://{nobody}"));
        }
        let running = run(&stage, &[&stage.http_manifest("probe", "probe", "")], &settings);
        let mut http = Http::connect(running.http("probe"));
        let begun = Instant::now();
        (0..100).for_each(|_| assert_eq!(http.op(&json!("count")).status, 200));
        assert!(begun.elapsed() < Duration::from_secs(20), "{mood:?}: {:?}", begun.elapsed());
        if mood != Some(Mood::Hangs) {
            eventually("spans are dropped and counted", || (dropped(&running) > 0).then_some(()));
            eventually("it is said", || stage.log().contains("spans are dropped: http://").then_some(()));
            assert!(stage.log().matches("spans are dropped").count() < 5, "{}", stage.log());
        }
        let begun = Instant::now();
        running.shut_down();
        assert!(begun.elapsed() < Duration::from_secs(20), "{mood:?}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_collector_that_is_there_again_is_sent_what_happens_then() {
    let (stage, collector) = (Stage::new(), Collector::new(Mood::Answers(500)));
    let running = run(&stage, &[&stage.manifest("probe", "probe", "")], &settings(&collector, ""));
    eventually("it is said", || stage.log().contains("it answers 500").then_some(()));
    collector.becomes(Mood::Answers(200));
    let id = running.id("probe");
    running.request("probe", &json!("count")).expect("an answer");
    collector.span(REQUEST, &id);
    eventually("it is said", || stage.log().contains("takes what it is sent again").then_some(()));
    running.shut_down();
}

#[test]
fn a_span_of_the_last_moment_is_sent_before_the_runtime_ends() {
    let (stage, collector) = (Stage::new(), Collector::new(Mood::Answers(200)));
    let manifest = stage.manifest("probe", "probe", "");
    stage.file("theater.toml", settings(&collector, ""));
    let launch = stage.command(&[&manifest], &["--ephemeral"]);
    let running = launch.launch(&stage).expect("it starts");
    let id = running.id("probe");
    running.request("probe", &json!("count")).expect("an answer");
    running.shut_down();
    collector.span(REQUEST, &id);
}

#[test]
fn the_headers_come_from_a_file_and_a_new_file_is_used_from_then_on() {
    let (stage, collector) = (Stage::new(), Collector::new(Mood::Answers(200)));
    stage.file("headers", "Authorization: Bearer first\n");
    let settings = settings(&collector, "headers_file = \"headers\"\n");
    let running = run(&stage, &[&stage.manifest("probe", "probe", "")], &settings);
    let sent = |what: &'static str| {
        eventually(what, || collector.requests().iter().any(|request| request.head.contains(what)).then_some(()))
    };
    sent("Authorization: Bearer first\r\n");
    std::fs::rename(stage.file("new", "Authorization: Bearer second\n"), stage.path().join("headers"))
        .expect("renamed");
    sent("Authorization: Bearer second\r\n");
    running.shut_down();
    assert!(!stage.log().contains("Bearer"), "{}", stage.log());
}

#[test]
fn what_is_wrong_with_the_settings_is_named_with_its_key_and_a_remedy_before_any_actor_begins() {
    let endpoint = "endpoint = \"http://127.0.0.1:4318\"\n";
    for (settings, words) in [
        (
            "endpoint = \"127.0.0.1:4318\"\n".to_owned(),
            &["theater.toml:2: \"telemetry.endpoint\"", "http://127.0.0.1:4318"][..],
        ),
        ("endpoint = \"http://h/?a=b\"\n".to_owned(), &["\"telemetry.endpoint\"", "a query"]),
        (
            "endpoint = \"http://user:hunter2@h/\"\n".to_owned(),
            &["\"telemetry.endpoint\"", "user and password do not belong there"],
        ),
        (
            "sample = 0.5\n".to_owned(),
            &["theater.toml:2: \"telemetry.sample\" is set", "set \"telemetry.endpoint\" too"],
        ),
        (format!("{endpoint}sample = 1.5\n"), &["theater.toml:3: \"telemetry.sample\" is a number from 0 to 1"]),
        (
            format!("{endpoint}sample = \"half\"\n"),
            &["theater.toml:3: \"telemetry.sample\" is a number from 0 to 1, without quotes"],
        ),
        (
            format!("{endpoint}interval_ms = 10\n"),
            &["\"telemetry.interval_ms\" is a whole number from 1000 to 3600000"],
        ),
        (
            format!("{endpoint}intervall_ms = 10\n"),
            &["unknown key \"intervall_ms\" of [telemetry]; did you mean \"interval_ms\"?"],
        ),
        (
            format!("{endpoint}headers_file = \"nowhere\"\n"),
            &["\"telemetry.headers_file\": cannot read the headers in", "nowhere"],
        ),
        (
            format!("{endpoint}headers_file = \"bad\"\n"),
            &["\"telemetry.headers_file\"", "bad:1: there is no colon", "NAME: VALUE"],
        ),
    ] {
        let stage = Stage::new();
        stage.file("bad", "hunter2");
        stage.file("theater.toml", format!("[telemetry]\n{settings}"));
        let why = stage.run_with(&[&stage.manifest("probe", "probe", "")], &[]).err().expect("refused");
        assert!(words.iter().all(|words| why.contains(words)), "{settings}: {why}");
        assert!(!stage.data_dir().join("log").exists(), "nothing was begun");
        assert!(settings.contains("hunter2") || !why.contains("hunter2"), "{why}");
    }
    // Who turns it off for once need not take the rest away.
    let stage = Stage::new();
    stage.file("theater.toml", format!("[telemetry]\n{endpoint}sample = 0.5\n"));
    let running = stage.run_with(&[], &["--telemetry-endpoint", "off"]).expect("it starts");
    running.shut_down();
    assert!(!stage.log().contains("telemetry is sent"), "{}", stage.log());
}

#[test]
fn a_request_of_a_traced_client_is_linked_to_the_span_of_the_client() {
    let (stage, collector) = (Stage::new(), Collector::new(Mood::Answers(200)));
    let running = run(&stage, &[&stage.http_manifest("counter", "counter", "")], &settings(&collector, ""));
    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let mut http = Http::connect(running.http("counter"));
    for (path, traceparent) in [("/linked", format!("00-{trace}-{span}-01")), ("/hostile", "00-\"}-x-01".to_owned())] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nTraceParent: {traceparent}\r\n\r\n");
        http.send_raw(request.as_bytes()).expect("sent");
        http.receive().expect("an answer");
    }
    let id = running.id("counter");
    let linked = collector.span("GET /linked", &id);
    assert_eq!(linked["links"], json!([{ "traceId": trace, "spanId": span }]));
    assert!(linked["traceId"] != trace && linked.get("parentSpanId").is_none(), "{linked}");
    assert!(collector.span("GET /hostile", &id).get("links").is_none());
    running.shut_down();
}

#[test]
fn a_timer_begins_a_trace_that_is_linked_to_who_set_it() {
    let (stage, collector) = (Stage::new(), Collector::new(Mood::Answers(200)));
    let more = "[[handlers]]\ntype = \"timer\"\n";
    let running = run(&stage, &[&stage.manifest("alarm", "alarm", more)], &settings(&collector, ""));
    let id = running.id("alarm");
    let set = json!({ "op": "set", "key": "k", "after": 1, "msg": "count" });
    running.request("alarm", &set).expect("an answer");
    let fired = collector.span("ntwk:theater/timer-handlers.handle-timer", &id);
    let asked = collector.span(REQUEST, &id);
    assert!(fired.get("parentSpanId").is_none() && fired["traceId"] != asked["traceId"], "{fired}");
    assert_eq!((&fired["links"][0]["traceId"], &fired["links"][0]["spanId"]), (&asked["traceId"], &asked["spanId"]));
    running.shut_down();
}
