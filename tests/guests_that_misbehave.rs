//! Tests of misbehaving guests: the caller, the chain and the log say clearly what the guest did, and other actors
//! continue.

mod support;

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use support::{
    HTTP, Http, Management, Stage, Theater, data_of, eventually, replay, text, theater, verifies_and_replays, verify,
};

const MIB: usize = 1024 * 1024;

/// A runtime with a probe and a counter; the counter must not be affected.
struct Scene {
    stage: Stage,
    running: Theater,
}

impl Scene {
    fn new(more: &str) -> Self {
        let stage = Stage::new();
        let (probe, counter) =
            (stage.http_manifest("probe", "probe", more), stage.http_manifest("counter", "counter", ""));
        let running = stage.run(&[&probe, &counter]);
        Self { stage, running }
    }

    fn http(&self) -> Http {
        Http::connect(self.running.http("probe"))
    }

    /// Checks that the counter still counts, so that the runtime and the other actor continue.
    fn the_others_go_on(&self) {
        let counted = Http::connect(self.running.http("counter")).ask("POST", "/increment", None);
        assert_eq!(counted.status, 200, "{}", counted.body);
        assert_eq!(self.running.status("counter"), "running");
    }

    /// Checks that the probe failed, that its chain and its status say so, and that its history verifies and replays.
    fn the_probe_failed(&self, reason: &str, detail: &str) {
        self.running.until("probe", "failed");
        let last = self.running.last_event("probe");
        assert_eq!((&last["event_type"], &last["data"]["reason"]), (&json!("failed"), &json!(reason)), "{last}");
        let said = last["data"]["detail"].as_str().expect("text");
        assert!(said.contains(detail), "{said}");
        let status = self.running.json(&["status", "probe"]);
        assert_eq!(status["failure"], json!(format!("{reason}: {said}")));
        let on_a_line = said.lines().map(str::trim_end).collect::<Vec<_>>().join(" | ");
        assert!(self.running.say(&["list"]).contains(&format!("{reason}: {on_a_line}")), "the list names the reason");
        self.the_others_go_on();
        verifies_and_replays(&self.running.export(&self.stage, "probe"));
    }

    /// Waits until the log has a line about the probe with these words.
    fn the_log_says(&self, what: &str) {
        eventually(&format!("the log says {what:?} of the probe"), || {
            self.stage.log().lines().any(|line| line.contains("probe") && line.contains(what)).then_some(())
        });
    }
}

#[test]
fn a_trap_fails_the_actor_and_nobody_else() {
    let scene = Scene::new("");
    let answer = scene.http().op(&json!("trap"));
    assert_eq!((answer.status, answer.body.as_str()), (500, "the actor failed\n"));
    scene.the_probe_failed("trap", "UnreachableCodeReached");
    scene.the_log_says("trap");
    let why = scene.running.refused(&["request", "probe", "\"count\""]);
    assert!(why.contains("is failed"), "{why}");
}

#[test]
fn a_panic_is_logged_and_is_a_trap() {
    let scene = Scene::new("");
    let answer = scene.http().op(&json!({ "op": "panic", "message": "my own fault" }));
    assert_eq!(answer.status, 500);
    assert!(!answer.body.contains("my own fault"), "nothing of the guest's leaks: {}", answer.body);
    scene.the_probe_failed("trap", "UnreachableCodeReached");
    scene.the_log_says("my own fault");
    let events = scene.running.events("probe");
    let logged = data_of(&events, "host-call ntwk:theater/runtime.log");
    assert!(logged[0].to_string().contains("my own fault"), "{logged:?}");
}

#[test]
fn a_guest_that_spins_uses_up_its_cpu_time() {
    let scene = Scene::new("[limits]\ncpu_ms_per_call = 50\n");
    let begun = Instant::now();
    assert_eq!(scene.http().op(&json!("spin")).status, 500);
    assert!(begun.elapsed().as_millis() >= 50);
    scene.the_probe_failed("deadline", "cpu_ms_per_call is 50");
    scene.the_log_says("cpu_ms_per_call");
}

#[test]
fn a_stack_overflow_is_a_trap_of_the_guest_and_not_of_the_process() {
    let scene = Scene::new("");
    assert_eq!(scene.http().op(&json!("recurse")).status, 500);
    scene.the_probe_failed("trap", "StackOverflow");
    scene.the_log_says("StackOverflow");
}

#[test]
fn memory_beyond_the_limit_fails_the_actor_by_the_limits_name() {
    let scene = Scene::new("");
    assert_eq!(scene.http().op(&json!({ "op": "grow", "mib": 100 })).status, 500);
    scene.the_probe_failed("limit", "memory_bytes is 67108864");
    scene.the_log_says("memory_bytes");
}

#[test]
fn memory_within_a_raised_limit_is_there() {
    let scene = Scene::new("[limits]\nmemory_bytes = 268435456\n");
    for _ in 0..3 {
        assert_eq!(scene.http().op(&json!({ "op": "grow", "mib": 200 })).json(), json!(200));
    }
    assert_eq!(scene.http().op(&json!({ "op": "grow", "mib": 300 })).status, 500);
    scene.the_probe_failed("limit", "memory_bytes is 268435456");
}

#[test]
fn an_error_of_the_guest_is_500_without_its_words_and_leaves_the_state() {
    let scene = Scene::new("");
    let mut http = scene.http();
    assert_eq!(http.op(&json!("count")).json(), json!(1));
    let both = json!({ "op": "many", "ops": ["count", { "op": "refuse", "message": "the secret word" }] });
    let answer = http.op(&both);
    assert_eq!(answer.status, 500);
    assert!(!format!("{}{}", answer.head, answer.body).contains("secret"), "{answer:?}");
    let last = scene.running.last_event("probe");
    assert_eq!(last["event_type"], "refused ntwk:theater/http-server.handle-request");
    assert_eq!(last["data"], json!({ "message": "the secret word" }));
    assert_eq!(http.op(&json!("count")).json(), json!(2), "the state is as it was, and the connection too");
    let why = scene.running.refused(&["request", "probe", &both.to_string()]);
    assert!(why.contains("refused: the secret word"), "{why}");
    assert_eq!(scene.running.status("probe"), "running");
    verifies_and_replays(&scene.running.export(&scene.stage, "probe"));
}

#[test]
fn a_reply_of_100_mib_finds_the_memory_too_small() {
    let scene = Scene::new("");
    let why = scene.running.request("probe", &json!({ "op": "reply-bytes", "n": 100 * MIB })).expect_err("too much");
    assert!(why.contains("memory_bytes"), "{why}");
    scene.the_probe_failed("limit", "memory_bytes is 67108864");
}

#[test]
fn a_reply_of_100_mib_finds_the_message_limit_too_small() {
    let scene = Scene::new("[limits]\nmemory_bytes = 1073741824\n");
    let why = scene.running.request("probe", &json!({ "op": "reply-bytes", "n": 100 * MIB })).expect_err("too much");
    assert!(why.contains("message_bytes is 1048576"), "the limit is named: {why}");
    scene.the_probe_failed("limit", "message_bytes");
}

#[test]
fn an_http_answer_of_100_mib_finds_the_body_limit_too_small() {
    let scene = Scene::new("[limits]\nmemory_bytes = 1073741824\n");
    assert_eq!(scene.http().op(&json!({ "op": "reply-bytes", "n": 100 * MIB })).status, 500);
    scene.the_probe_failed("limit", "http_body_bytes");
}

#[test]
fn an_http_answer_of_100_mib_is_sent_where_the_limits_allow_it() {
    let scene = Scene::new("[limits]\nmemory_bytes = 1073741824\nhttp_body_bytes = 134217728\n");
    let answer = scene.http().op(&json!({ "op": "reply-bytes", "n": 100 * MIB }));
    assert_eq!((answer.status, answer.body.len()), (200, 100 * MIB));
    assert_eq!(scene.running.status("probe"), "running");
    scene.the_others_go_on();
    // Export directly from the journal, because an event of this size takes long through the server.
    let (file, dir) = (scene.stage.path().join("probe.chain"), scene.stage.data_dir());
    let (to, from) = (file.to_str().expect("a path"), dir.to_str().expect("a path"));
    let exported = theater(&["export", "probe", "-o", to, "--data-dir", from], None);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    verifies_and_replays(&file);
}

#[test]
fn a_reply_that_no_frame_can_carry_is_an_error_by_the_frames_limit() {
    let scene = Scene::new("[limits]\nmemory_bytes = 1073741824\nmessage_bytes = 67108864\n");
    let reply = scene.running.request("probe", &json!({ "op": "reply-bytes", "n": 5 * MIB })).expect("it fits");
    assert_eq!(reply.as_str().map(str::len), Some(5 * MIB - 2));
    let mut management = Management::connect(scene.running.management());
    let id = scene.running.id("probe");
    let why = management.request(&id, &json!({ "op": "reply-bytes", "n": 20 * MIB })).expect_err("it does not fit");
    assert!(why.contains("8388608"), "{why}");
    assert_eq!(management.request(&id, &json!("count")), Ok(json!(1)), "the connection goes on");
}

#[test]
fn a_large_refusal_is_bounded_like_a_reply() {
    let scene = Scene::new("");
    let long = "x".repeat(4 * MIB);
    let answer = scene.http().op(&json!({ "op": "refuse", "message": long }));
    assert_eq!(answer.status, 500);
    // The result must be an answer that tools can read, and of limited size.
    let last = scene.running.last_event("probe");
    assert!(last["data"].to_string().len() < 2 * MIB, "a refusal is bounded by message_bytes, as a reply is");
    scene.the_others_go_on();
    verifies_and_replays(&scene.running.export(&scene.stage, "probe"));
}

#[test]
fn a_message_that_is_too_large_to_be_sent_is_not_kept_whole() {
    let scene = Scene::new("");
    let (to, msg) = (scene.running.id("counter"), "x".repeat(6 * MIB));
    let answer = scene.http().op(&json!({ "op": "send", "to": to, "msg": msg })).json();
    let why = answer["err"].as_str().expect("an error");
    assert!(why.contains("message_bytes is 1048576"), "{why}");
    let recorded = scene.running.events("probe");
    let sent = data_of(&recorded, "host-call ntwk:theater/message-server-host.send");
    assert!(sent[0].to_string().len() < 2 * MIB, "what the limit refuses does not fill the chain either");
}

#[test]
fn a_state_beyond_its_limit_fails_the_actor_by_the_limits_name() {
    let scene = Scene::new("[limits]\nmemory_bytes = 268435456\n");
    let mut http = scene.http();
    assert_eq!(http.op(&json!("count")).json(), json!(1));
    assert_eq!(http.op(&json!({ "op": "state-bytes", "n": 17 * MIB })).status, 500);
    scene.the_probe_failed("limit", "state_bytes is 16777216");
    let state = scene.running.json(&["state", "probe"]);
    assert_eq!(state["state"]["count"], 1, "the state is the one before");
}

#[test]
fn a_large_state_within_its_limit_is_kept_and_shown_and_survives() {
    let scene = Scene::new("[limits]\nmemory_bytes = 1073741824\n");
    let mut http = scene.http();
    assert_eq!(http.op(&json!({ "op": "state-bytes", "n": 15 * MIB })).json(), json!(15 * MIB));
    assert_eq!(http.op(&json!("count")).json(), json!(1));
    assert_eq!(scene.running.say(&["state", "probe"]).len(), 15 * MIB);
    verifies_and_replays(&scene.running.export(&scene.stage, "probe"));
    let Scene { stage, running } = scene;
    running.kill();
    let running = stage.run(&[]);
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(2)));
    let replayed = verifies_and_replays(&running.export(&stage, "probe"));
    assert_eq!(replayed["transitions"], 4, "init, two of HTTP, one message");
}

#[test]
fn a_state_that_is_not_what_the_guest_expects_is_its_own_affair() {
    let scene = Scene::new("");
    let mut http = scene.http();
    assert_eq!(http.op(&json!({ "op": "raw-state", "text": "no json at all" })).status, 200);
    assert_eq!(scene.running.say(&["state", "probe"]), "no json at all");
    assert_eq!(http.op(&json!("count")).status, 500);
    let last = scene.running.last_event("probe");
    assert!(last["data"]["message"].as_str().is_some_and(|why| why.contains("not a probe's")), "{last}");
    assert_eq!(scene.running.status("probe"), "running");
    scene.the_others_go_on();
    verifies_and_replays(&scene.running.export(&scene.stage, "probe"));
}

#[test]
fn a_state_can_be_dropped() {
    let scene = Scene::new("");
    let mut http = scene.http();
    http.op(&json!("count"));
    http.op(&json!("drop-state"));
    assert_eq!(scene.running.json(&["state", "probe"]), json!({ "state": null }));
    assert_eq!(http.op(&json!("count")).json(), json!(1));
    verifies_and_replays(&scene.running.export(&scene.stage, "probe"));
}

#[test]
fn what_a_guest_keeps_outside_its_state_lasts_as_long_as_its_manifest_says() {
    for (more, expected) in [("", [1, 1, 1, 1]), ("reuse = 3\n", [1, 2, 3, 1])] {
        let scene = Scene::new(more);
        // `init` is the first transition of the first instance.
        let global = json!("global");
        let answers: Vec<Value> = (0..6).map(|_| scene.http().op(&global).json()).collect();
        let from = if more.is_empty() { 0 } else { 2 };
        assert_eq!(answers[from..from + 4], expected.map(|count: u64| json!(count)), "{more}");
        let events = scene.running.events("probe");
        let fresh: Vec<bool> = data_of(&events, "call ntwk:theater/http-server.handle-request")
            .iter()
            .map(|call| call["fresh"].as_bool().expect("a flag"))
            .collect();
        assert_eq!(fresh[from..from + 4], expected.map(|count: u64| count == 1), "{more}");
        verifies_and_replays(&scene.running.export(&scene.stage, "probe"));
    }
}

#[test]
fn not_a_number_has_the_same_bits_when_replayed() {
    let scene = Scene::new("");
    assert_eq!(scene.http().op(&json!({ "op": "float", "x": 1.5 })).status, 200);
    verifies_and_replays(&scene.running.export(&scene.stage, "probe"));
}

#[test]
fn a_flood_of_log_lines_is_cut_counted_and_stays_on_lines_of_its_own() {
    let scene = Scene::new("[limits]\nlog_lines_per_second = 5\nlog_line_bytes = 100\n");
    let forged = "first\nERROR forged \u{1b}[31m";
    assert_eq!(scene.http().op(&json!({ "op": "log", "text": forged, "times": 1 })).status, 200);
    scene.the_log_says("first");
    let log = scene.stage.log();
    assert!(!log.lines().any(|line| line.starts_with("ERROR")), "a guest cannot forge a line: {log}");
    let long = "ä".repeat(200);
    assert_eq!(scene.http().op(&json!({ "op": "log", "text": long, "times": 3000 })).status, 200);
    let lines = scene.stage.log().lines().filter(|line| line.contains("ääää")).count();
    assert!((1..200).contains(&lines), "{lines} lines of 3000 were logged");
    let log = scene.stage.log();
    let longest = log.lines().filter(|line| line.contains('ä')).map(|line| line.matches('ä').count()).max();
    assert_eq!(longest, Some(50), "a line is cut at 100 bytes");
    eventually("the log says how many were dropped", || {
        scene.http().op(&json!({ "op": "log", "text": "afterwards", "times": 1 }));
        scene.stage.log().contains("lines dropped").then_some(())
    });
    scene.the_others_go_on();
    verifies_and_replays(&scene.running.export(&scene.stage, "probe"));
}

#[test]
fn an_answer_that_http_cannot_carry_is_502() {
    let scene = Scene::new("");
    let mut http = scene.http();
    for response in [
        json!({ "status": 42 }),
        json!({ "status": 100 }),
        json!({ "status": 600 }),
        json!({ "status": 200, "headers": [["a b", "c"]] }),
        json!({ "status": 200, "headers": [["", "c"]] }),
        json!({ "status": 200, "headers": [["a", "b\r\nset-cookie: c"]] }),
        json!({ "status": 200, "headers": [["a", "b\u{0}"]] }),
    ] {
        let answer = http.ask("POST", "/respond", Some(&response.to_string()));
        assert_eq!(answer.status, 502, "{response} gave {answer:?}");
        assert!(!answer.head.contains("set-cookie"), "{answer:?}");
    }
    assert_eq!(http.op(&json!("count")).json(), json!(1), "the actor and the connection go on");
    scene.the_log_says("cannot be sent");
}

#[test]
fn a_guests_own_framing_headers_do_not_break_the_wire() {
    let scene = Scene::new("");
    let mut http = scene.http();
    let headers = json!([["content-length", "3"], ["transfer-encoding", "chunked"], ["x-kept", "yes"]]);
    let response = json!({ "status": 200, "headers": headers, "body": "hello" });
    let answer = http.ask("POST", "/respond", Some(&response.to_string()));
    assert!(answer.status == 502 || answer.body == "hello", "{answer:?}");
    assert_eq!(http.op(&json!("count")).json(), json!(1), "the next answer is where it should be");
}

#[test]
fn an_actor_that_does_not_answer_in_time_is_504_and_goes_on() {
    let scene = Scene::new("[limits]\nrequest_deadline_ms = 1000\ncpu_ms_per_call = 60000\nstop_grace_ms = 0\n");
    let mut slow = scene.http();
    let answer = slow.op(&json!("spin"));
    assert_eq!(answer.status, 504, "{answer:?}");
    // A request that waits in the mailbox is withdrawn at its own deadline, and is never handled.
    assert_eq!(scene.http().op(&json!("count")).status, 504);
    scene.the_others_go_on();
    scene.running.say(&["restart", "probe"]);
    assert_eq!(scene.running.request("probe", &json!("count")), Ok(json!(1)), "the one withdrawn did not count");
}

#[test]
fn a_full_mailbox_is_503_with_a_time_to_come_back() {
    let scene = Scene::new("[limits]\nmailbox_deliveries = 1\ncpu_ms_per_call = 60000\nstop_grace_ms = 0\n");
    let (mut busy, mut waiting) = (scene.http(), scene.http());
    busy.send("POST", "/op", Some("\"spin\""));
    let depth = || scene.running.json(&["status", "probe"])["mailbox_depth"].as_u64().expect("a number");
    eventually("it has taken the first", || {
        scene.running.event_types("probe").last().is_some_and(|last| last.starts_with("call ")).then_some(())
    });
    waiting.send("POST", "/op", Some("\"count\""));
    eventually("the second waits", || (depth() == 1).then_some(()));
    let refused = scene.http().op(&json!("count"));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.head.to_lowercase().contains("\r\nretry-after: "), "{refused:?}");
    let why = scene.running.refused(&["request", "probe", "\"count\""]);
    assert!(why.contains("mailbox full"), "{why}");
    scene.the_others_go_on();

    let begun = Instant::now();
    scene.running.say(&["stop", "probe"]);
    assert!(begun.elapsed().as_millis() < 1_000, "{:?}", begun.elapsed());
    let dropped = waiting.receive().expect("an answer");
    assert_eq!(dropped.status, 503, "{dropped:?}");
    assert!(dropped.head.to_lowercase().contains("\r\nretry-after: "), "{dropped:?}");
    assert!(busy.receive().is_some_and(|answer| answer.status >= 500), "whoever it worked for is told");
    let last = scene.running.last_event("probe");
    assert_eq!((&last["event_type"], &last["data"]["by"]), (&json!("stopped"), &json!("operator")));
    assert_eq!(last["data"]["dropped"], json!([null]), "one was waiting, and no actor had sent it");
    verifies_and_replays(&scene.running.export(&scene.stage, "probe"));
}

#[test]
fn a_spinning_guest_that_is_stopped_without_grace_ends_within_100_ms() {
    let stage = Stage::new();
    let limits = "[limits]\ncpu_ms_per_call = 60000\nstop_grace_ms = 0\n";
    let manifest = stage.http_manifest("probe", "probe", limits);
    let running = stage.run(&[]);
    let mut management = Management::connect(running.management());
    let fastest = (0..5)
        .map(|_| {
            let id = management.start(&manifest);
            let mut other = Management::connect(running.management());
            other.send_request(&id, &json!("spin"));
            eventually("it spins", || {
                running.event_types(&id).last().is_some_and(|last| last.starts_with("call ")).then_some(())
            });
            let begun = Instant::now();
            assert_eq!(management.ask(&json!({ "StopActor": { "id": id } })), json!({ "ActorStopped": { "id": id } }));
            let took = begun.elapsed();
            other.receive_reply().expect_err("it was stopped");
            took
        })
        .min();
    assert!(fastest.is_some_and(|fastest| fastest.as_millis() < 100), "{fastest:?}");
}

#[test]
fn a_body_that_is_too_large_is_413_and_never_reaches_the_actor() {
    let scene = Scene::new("[limits]\nhttp_body_bytes = 1000\n");
    let answer = scene.http().ask("POST", "/echo", Some(&"x".repeat(1001)));
    assert_eq!(answer.status, 413, "{answer:?}");
    let mut unannounced = scene.http();
    let chunks = format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n",
        "x".repeat(1001)
    );
    unannounced.send_raw(chunks.as_bytes()).expect("sent");
    assert_eq!(unannounced.receive().map(|answer| answer.status), Some(413));
    assert_eq!(scene.running.events("probe").len(), 3, "started, and init");
    assert_eq!(scene.http().ask("POST", "/echo", Some(&"x".repeat(1000))).status, 200);
    scene.the_others_go_on();
}

/// Starts a component under `manifest`, which must be refused; returns the error, which `start` and `check` word alike.
fn refusal(stage: &Stage, running: &Theater, manifest: &Path) -> String {
    let by_start = running.start(manifest).expect_err("it cannot run");
    let checked = theater(&["check", manifest.to_str().expect("a path")], None);
    assert_eq!(checked.status.code(), Some(1));
    assert_eq!(text(&checked.stderr).trim(), by_start, "check and start say the same");
    assert!(by_start.contains(manifest.to_str().expect("a path")), "the manifest is named: {by_start}");
    let other = Stage::new();
    let by_run = other.run_with(&[manifest], &[]).err().expect("it cannot run");
    assert!(by_run.contains(&by_start), "run says {by_run}, start says {by_start}");
    assert!(by_run.starts_with("exit status: 1"), "{by_run}");
    assert_eq!(running.json(&["list"]).as_array().map(Vec::len), Some(1), "nothing of it is listed");
    let _ = stage;
    by_start
}

#[test]
fn a_component_that_cannot_run_is_refused_in_so_many_words() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("counter", "counter", "")]);
    let wat = |name: &str, text: &str, more: &str| stage.manifest_at(name, &stage.wat(name, text), more);
    let file = |name: &str, bytes: &[u8]| stage.manifest_at(name, &stage.file(&format!("{name}.wasm"), bytes), "");
    for (manifest, expected) in [
        (
            stage.manifest("no-http", "outside", HTTP),
            // The runtime may name any missing import first; one of them is an import that no handler provides.
            "imports \"ntwk:theater/",
        ),
        (
            stage.manifest("ungranted", "nursery", ""),
            "imports \"ntwk:theater/supervisor\", which the handler \"supervisor\" grants; add to the manifest",
        ),
        (
            stage.manifest("no-export", "parrot", HTTP),
            "the handler \"http-server\" delivers to \"ntwk:theater/http-server.handle-request\", which the component does not export",
        ),
        (
            wat("stranger", r#"(component (import "acme:magic/wand" (instance (export "wave" (func)))))"#, ""),
            "imports \"acme:magic/wand\", which no handler of this runtime provides",
        ),
        (
            wat("stranger-func", r#"(component (import "wave" (func)))"#, ""),
            "imports \"wave\", which no handler of this runtime provides",
        ),
        (
            wat("wasi", r#"(component (import "wasi:cli/environment@0.2.0" (instance (export "get" (func)))))"#, ""),
            "imports \"wasi:cli/environment@0.2.0\"",
        ),
        (
            wat("versioned", r#"(component (instance $i) (export "ntwk:theater/actor@1.0.0" (instance $i)))"#, ""),
            "it exports \"ntwk:theater/actor@1.0.0\": the packages of wit/ have no version",
        ),
        (
            wat("fixed-list", "(component (type (list u8 4)))", ""),
            "uses a part of the component model that this runtime does not know: ",
        ),
        (wat("nothing", "(component)", ""), "\"ntwk:theater/actor.init\", which the component does not export"),
        (
            wat(
                "wrong-log",
                r#"(component (import "ntwk:theater/runtime" (instance (export "log" (func (param "msg" u32))))))"#,
                "",
            ),
            "log",
        ),
        (wat("module", "(module)", ""), "not a WebAssembly component"),
        (file("garbage", b"\0\x01\x02 this is not wasm"), "not a WebAssembly component"),
        (file("empty", b""), "not a WebAssembly component"),
        (
            file("cut", &std::fs::read(support::component("counter")).expect("built")[..50_000]),
            "not a WebAssembly component",
        ),
        (stage.manifest_at("absent", &stage.path().join("nowhere.wasm"), ""), "is the component built?"),
        (stage.manifest_at("directory", stage.path(), ""), "not a regular file"),
    ] {
        let why = refusal(&stage, &running, &manifest);
        assert!(why.contains(expected), "{}: {why}", manifest.display());
        assert!(!why.contains("panicked") && why.len() < 1_000, "{why}");
    }
    assert_eq!(running.status("counter"), "running");
}

#[test]
fn a_start_function_that_spins_or_traps_is_bounded_like_any_call() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("counter", "counter", "")]);
    for (name, body, expected) in
        [("spinner", "(loop $again br $again)", "cpu_ms_per_call is 100"), ("trapper", "unreachable", "trap: ")]
    {
        let text = format!(
            r#"(component
            (core module $m
                (memory (export "memory") 1)
                (func $start {body})
                (start $start)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
                (func (export "init") (param i32 i32 i32 i32 i32) (result i32) unreachable))
            (core instance $i (instantiate $m))
            (type $state (option (list u8)))
            (func $init (param "state" $state) (param "params" (tuple string)) (result (result (tuple $state) (error string)))
                (canon lift (core func $i "init") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            (instance $actor (export "init" (func $init)))
            (export "ntwk:theater/actor" (instance $actor)))"#
        );
        let manifest = stage.manifest_at(name, &stage.wat(name, &text), "[limits]\ncpu_ms_per_call = 100\n");
        let why = running.start(&manifest).expect_err("its start function does not end");
        assert!(why.contains(expected), "{why}");
        assert_eq!(running.status(name), "failed");
        assert_eq!(running.event_types(name), ["started", "call ntwk:theater/actor.init", "failed"]);
        verifies_and_replays(&running.export(&stage, name));
    }
    assert_eq!(running.status("counter"), "running");
}

#[test]
fn an_init_that_goes_wrong_is_an_answer_to_whoever_starts_the_actor() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("counter", "counter", "")]);
    let init = |name: &str, op: &Value| {
        let state = json!({ "init": op }).to_string();
        stage.manifest(name, "probe", &format!("init_state = '{state}'\n[limits]\ncpu_ms_per_call = 50\n"))
    };
    for (name, op, said, reason, last_but_one) in [
        ("refuser", json!({ "op": "refuse", "message": "not today" }), "not today", "init", "refused"),
        ("trapper", json!("trap"), "UnreachableCodeReached", "trap", "call"),
        ("spinner", json!("spin"), "cpu_ms_per_call is 50", "deadline", "call"),
        ("recurser", json!("recurse"), "StackOverflow", "trap", "call"),
        ("hog", json!({ "op": "grow", "mib": 100 }), "memory_bytes is 67108864", "limit", "call"),
    ] {
        let why = running.start(&init(name, &op)).expect_err("init goes wrong");
        assert!(why.contains(said), "{name}: {why}");
        assert_eq!(running.status(name), "failed");
        let events = running.events(name);
        let last = &events[events.len() - 1];
        assert_eq!((&last["event_type"], &last["data"]["reason"]), (&json!("failed"), &json!(reason)), "{name}");
        assert!(last["data"]["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{last}");
        let before = events[events.len() - 2]["event_type"].as_str().expect("a type");
        assert!(before.starts_with(last_but_one), "{name}: {before}");
        verifies_and_replays(&running.export(&stage, name));
        let why = running.refused(&["request", name, "\"count\""]);
        assert!(why.contains("is failed"), "{why}");
    }
    assert_eq!(running.status("counter"), "running");
}

#[test]
fn a_run_whose_init_fails_says_so_and_the_next_run_begins_with_init_again() {
    let stage = Stage::new();
    let state = |op: Value| format!("init_state = '{}'\n", json!({ "init": op }));
    let manifest = stage.manifest("probe", "probe", &state(json!({ "op": "refuse", "message": "not today" })));
    let why = stage.run_with(&[&manifest], &[]).err().expect("init refuses");
    assert!(why.starts_with("exit status: 1") && why.contains("\"probe\"") && why.contains("not today"), "{why}");

    // In another run, the actor has never been up, so there is no state to continue with, and `init` decides again.
    match stage.run_with(&[&manifest], &[]) {
        Err(why) => assert!(why.contains("not today"), "{why}"),
        Ok(running) => {
            let types = running.event_types("probe");
            panic!("an actor whose init has never succeeded is {}: {types:?}", running.status("probe"));
        }
    }
}

#[test]
fn an_init_that_has_failed_is_run_again_by_a_restart() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    let state = json!({ "init": { "op": "refuse", "message": "not today" } });
    let manifest = stage.manifest("probe", "probe", &format!("init_state = '{state}'\n"));
    running.start(&manifest).expect_err("init refuses");
    for incarnation in 2..=3 {
        let why = running.refused(&["restart", "probe"]);
        assert!(why.contains("not today"), "{why}");
        let types = running.event_types("probe");
        let inits = types.iter().filter(|it| *it == "call ntwk:theater/actor.init").count();
        assert_eq!(inits, incarnation, "{types:?}");
    }
    verifies_and_replays(&running.export(&stage, "probe"));
    assert_eq!(running.json(&["status", "probe"])["incarnation"], 3);
}

#[test]
fn a_chain_that_ends_in_a_failure_is_told_from_one_that_was_altered() {
    let scene = Scene::new("");
    scene.http().op(&json!("trap"));
    scene.running.until("probe", "failed");
    let chain = scene.running.export(&scene.stage, "probe");
    verify(&chain).expect("honest");
    let cut = std::fs::read_to_string(&chain).expect("text");
    let cut = scene.stage.file("cut.chain", cut.trim_end());
    let why = verify(&cut).expect_err("the last line feed is missing");
    assert!(why.contains("truncated"), "{why}");
    replay(&cut, &[]).expect_err("what does not verify does not replay");
}

/// An actor that refuses every call, for instance because a new build cannot read the old state, runs and never fails.
#[test]
fn the_first_refusals_of_an_export_are_in_the_log_with_their_text_and_all_are_counted() {
    let stage = Stage::new();
    let probe = stage.http_manifest("probe", "probe", "");
    let running = stage.run_with(&[&probe], &["--metrics-listen", "127.0.0.1:0"]).expect("it starts");
    let mut http = Http::connect(running.http("probe"));
    let refuse = json!({ "op": "refuse", "message": "the state is not of type New: missing field\n`x`" });
    for _ in 0..20 {
        assert_eq!(http.op(&refuse).status, 500);
    }
    running.request("probe", &refuse).expect_err("it refuses");
    let told = |export: &str| {
        let line = format!("actor probe refused ntwk:theater/{export}: the state is not of type New");
        stage.log().lines().filter(|logged| logged.contains(&line)).count()
    };
    assert_eq!(told("http-server.handle-request"), 3, "{}", stage.log());
    assert_eq!(told("message-server-client.handle-request"), 1, "another export is told of for itself");
    assert!(stage.log().contains("its further refusals are only counted"));
    running.say(&["restart", "probe"]);
    assert_eq!(http.op(&refuse).status, 500);
    assert_eq!(told("http-server.handle-request"), 4, "a new incarnation is told of anew");
    let top = running.say(&["top"]);
    assert!(top.contains("refused 22") && top.contains("REFUSED/S"), "{top}");
    let metrics = Http::connect(running.metrics()).ask("GET", "/metrics", None).body;
    let line = metrics.lines().find(|line| line.starts_with("theater_actor_refusals_total{actor=\"probe\""));
    assert!(line.is_some_and(|line| line.ends_with(" 22")), "{line:?}");
}
