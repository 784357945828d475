//! Tests of replay: whole journals, up to an event, with another build, and after data was dropped.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::forge::sha1;
use support::log_file::{LogRecord, Payload, alter_log, segment_files};
use support::{
    Management, Stage, Theater, component, data_of, eventually, text, theater, verifies_and_replays, verify,
};

fn said(args: &[&str]) -> Value {
    let output = theater(args, None);
    assert!(output.status.success(), "theater {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

fn refused(args: &[&str]) -> String {
    let output = theater(args, None);
    assert_eq!(output.status.code(), Some(1), "theater {args:?}: {}", text(&output.stdout));
    text(&output.stdout) + &text(&output.stderr)
}

fn dir(stage: &Stage) -> String {
    stage.data_dir().to_str().expect("a path").to_owned()
}

/// A probe that has counted to `n` over two incarnations, and a second probe that it asked.
fn counted(stage: &Stage, n: u64, more: &str) -> (Theater, std::path::PathBuf) {
    let manifest = stage.manifest("probe", "probe", more);
    let other = stage.manifest("other", "probe", "");
    let running = stage.run(&[&manifest, &other]);
    for expected in 1..=n / 2 {
        assert_eq!(running.request("probe", &json!("count")), Ok(json!(expected)));
    }
    let ask = json!({ "op": "request", "to": running.id("other"), "msg": "count" });
    assert_eq!(running.request("probe", &ask), Ok(json!({ "ok": 1 })));
    running.kill();
    let running = stage.run(&[&manifest, &other]);
    for expected in n / 2 + 1..=n {
        assert_eq!(running.request("probe", &json!("count")), Ok(json!(expected)));
    }
    (running, manifest)
}

#[test]
fn a_whole_journal_replays_and_every_kept_state_is_the_one_that_replay_comes_to() {
    let stage = Stage::new();
    let (running, _) = counted(&stage, 6, "");
    let events = running.events("probe").len() + running.events("other").len();
    running.shut_down();
    let replayed = said(&["replay", "--journal", &dir(&stage), "--verify-snapshots", "--json"]);
    assert_eq!((&replayed["actors"], &replayed["events"]), (&json!(2), &json!(events)));
    let one = said(&["replay", "--journal", &dir(&stage), "probe", "--verify-snapshots", "--json"]);
    assert_eq!(one["transitions"], json!(8));
}

#[test]
fn a_kept_state_that_was_altered_is_named() {
    let stage = Stage::new();
    let (running, _) = counted(&stage, 2, "");
    running.shut_down();
    // The state is kept behind an event that names it, but stands in a record of its own, and is another.
    alter_log(&stage.data_dir(), |log| {
        let actor = log.key_of("probe");
        let kept = log.chain(actor).filter(|event| event.kind() == "return").last().expect("a return").sequence;
        let (name, state) = (Some(sha1(b"{\"count\":7}")), Payload::Kept(b"{\"count\":7}".to_vec()));
        log.append(vec![LogRecord::State { actor, sequence: kept, name, is_salted: false, state }]);
    });
    let why = refused(&["replay", "--journal", &dir(&stage), "--verify-snapshots"]);
    assert!(why.contains("actor probe") && why.contains("is not the one that the event names"), "{why}");
    said(&["replay", "--journal", &dir(&stage), "--json"]);
}

#[test]
fn the_state_at_any_event_is_the_one_the_actor_had_there() {
    for more in ["", "reuse = 3\n"] {
        let stage = Stage::new();
        let (running, _) = counted(&stage, 6, more);
        let events = running.events("probe");
        let chain = running.export(&stage, "probe");
        running.shut_down();
        let mut count = Value::Null;
        for event in &events {
            if let Some(state) = event["data"]["state"].as_object() {
                count = state["count"].clone();
            }
            let until = event["sequence"].to_string();
            let from_journal = said(&["replay", "--journal", &dir(&stage), "probe", "--until", &until, "--json"]);
            assert_eq!(from_journal["state"]["count"], count, "event {until}");
            // A replay reads the whole file, so not each event is tried.
            if event["sequence"].as_u64().expect("a number") % 7 == 3 {
                let from_file = said(&["replay", chain.to_str().expect("a path"), "--until", &until, "--json"]);
                assert_eq!(from_journal["state"], from_file["state"], "event {until}");
            }
        }
        assert_eq!(count, json!(6));
    }
}

#[test]
fn another_build_is_compared_transition_by_transition() {
    let stage = Stage::new();
    let (running, _) = counted(&stage, 4, "");
    let chain = running.export(&stage, "probe");
    running.shut_down();
    let same = component("probe");
    let compare = |build: &Path| {
        let args =
            ["replay", chain.to_str().expect("a path"), "--component", build.to_str().expect("a path"), "--compare"];
        theater(&args, None)
    };
    let unchanged = compare(&same);
    assert!(unchanged.status.success(), "{}", text(&unchanged.stderr));
    assert!(text(&unchanged.stdout).contains("none of 6 transitions changes"), "{}", text(&unchanged.stdout));
    let changed = compare(&component("variant"));
    assert_eq!(changed.status.code(), Some(1));
    let lines = text(&changed.stdout);
    assert!(lines.lines().all(|line| line.starts_with("event ")) && lines.contains(" -> "), "{lines}");
    assert!(text(&changed.stderr).contains("of 6 transitions change"), "{}", text(&changed.stderr));
}

#[test]
fn pruned_data_is_gone_and_the_chain_still_verifies_and_replays_from_the_kept_state() {
    let stage = Stage::new();
    let (running, manifest) = counted(&stage, 6, "");
    let events = running.events("probe");
    let second = events.iter().rfind(|event| event["event_type"] == "started").expect("a start");
    let (head, kept) = (running.last_event("probe")["hash"].clone(), second["sequence"].as_u64().expect("a number"));
    let pruned = running.json(&["prune", "probe", "--before", "1000000"]);
    assert_eq!(pruned["replays_from"], kept);
    assert_eq!(pruned["events"], kept - 1, "all but the first start");
    let again = running.events("probe");
    assert_eq!(again.len(), events.len());
    assert_eq!(running.last_event("probe")["hash"], head, "no hash has changed");
    let chain = running.export(&stage, "probe");
    let replayed = verifies_and_replays(&chain);
    assert_eq!(replayed["from"], kept + 1);
    let until = (kept - 1).to_string();
    assert!(refused(&["replay", chain.to_str().expect("a path"), "--until", &until]).contains("was dropped"));
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(7)), "the actor has not noticed");
    running.kill();
    assert_eq!(stage.run(&[&manifest]).request("probe", &json!("count")), Ok(json!(8)));
    let audit = said(&["verify", "--journal", &dir(&stage), "--json"]);
    assert_eq!((&audit["findings"], &audit["dropped"]), (&json!([]), &json!(kept - 1)));
    said(&["replay", "--journal", &dir(&stage), "--verify-snapshots", "--json"]);
}

#[test]
fn one_event_can_be_redacted_and_its_words_are_nowhere_any_more() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", "");
    let running = stage.run(&[&manifest]);
    let secret = "correct horse battery staple";
    assert_eq!(running.request("probe", &json!({ "op": "log", "text": secret })), Ok(Value::Null));
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(1)));
    let holding = |event: &&Value| event["data"].to_string().contains(secret);
    let sequences: Vec<u64> =
        running.events("probe").iter().filter(holding).map(|it| it["sequence"].as_u64().expect("a number")).collect();
    assert_eq!(sequences.len(), 2, "the call, and the log");
    for sequence in &sequences {
        assert_eq!(running.json(&["redact", "probe", "--event", &sequence.to_string()])["events"], 1);
    }
    assert!(running.refused(&["redact", "probe", "--event", "0"]).contains("`started`"));
    let twice = running.refused(&["redact", "probe", "--event", &sequences[0].to_string()]);
    assert!(twice.contains("was dropped before"), "{twice}");
    assert!(running.refused(&["redact", "probe", "--event", "4711"]).contains("is not on the chain"));
    let chain = running.export(&stage, "probe");
    verify(&chain).expect("it verifies");
    running.shut_down();
    for file in segment_files(&stage.data_dir()) {
        let bytes = std::fs::read(&file).expect("a segment");
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{file:?} still has it");
    }
    assert_eq!(said(&["verify", "--journal", &dir(&stage), "--json"])["dropped"], 2);
    // After a new incarnation has begun, and without a runtime, the rest can be replayed again.
    stage.run(&[&manifest]).shut_down();
    said(&["replay", "--journal", &dir(&stage), "--json"]);
}

#[test]
fn all_of_the_last_transition_can_be_redacted_the_call_first() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    running.request("probe", &json!({ "op": "log", "text": "secret" })).expect("an answer");
    let last = running.last_event("probe")["sequence"].as_u64().expect("a number");
    for sequence in [last - 2, last - 1, last] {
        assert_eq!(running.json(&["redact", "probe", "--event", &sequence.to_string()])["events"], 1, "{sequence}");
    }
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(1)), "it goes on");
}

#[test]
fn a_directory_without_a_runtime_is_pruned_in_place() {
    let stage = Stage::new();
    let (running, _) = counted(&stage, 4, "");
    let why = theater(&["prune", "probe", "--before", "99", "--data-dir", &dir(&stage)], None);
    assert!(text(&why.stderr).contains("in use by another runtime"), "{}", text(&why.stderr));
    running.shut_down();
    let pruned = said(&["prune", "probe", "--before", "99", "--data-dir", &dir(&stage), "--json"]);
    assert!(pruned["events"].as_u64().expect("a number") > 0);
    assert_eq!(said(&["verify", "--journal", &dir(&stage), "--json"])["findings"], json!([]));
    let why = refused(&["prune", "probe", "--before", "1", "--data-dir", &dir(&stage)]);
    assert!(why.contains("no kept state lies before event 1") && why.contains("`theater restart ACTOR`"), "{why}");
}

#[test]
fn what_no_state_is_kept_behind_can_be_pruned_once_the_actor_was_restarted() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    (0..3).for_each(|_| _ = running.request("probe", &json!("count")).expect("an answer"));
    let why = running.refused(&["prune", "probe", "--before", "999"]);
    assert!(why.contains("no kept state lies before event 999") && why.contains("`theater restart ACTOR`"), "{why}");
    running.json(&["restart", "probe"]);
    running.request("probe", &json!("count")).expect("an answer");
    assert!(running.json(&["prune", "probe", "--before", "999"])["events"].as_u64().is_some_and(|events| events > 4));
    verifies_and_replays(&running.export(&stage, "probe"));
}

#[test]
fn what_an_instance_serves_under_reuse_can_be_pruned_once_another_instance_has_begun() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "reuse = 7\n")]);
    // The third call is not the instance's first, so it stands on those before it.
    (0..3).for_each(|_| _ = running.request("probe", &json!("count")).expect("an answer"));
    let last = running.last_event("probe")["sequence"].to_string();
    let why = running.refused(&["redact", "probe", "--event", &last]);
    assert!(why.contains("`reuse`") && why.contains("`theater restart ACTOR`"), "{why}");
    assert!(!why.contains("under way"), "{why}");
    running.json(&["restart", "probe"]);
    let pruned = running.json(&["prune", "probe", "--before", "999"]);
    assert!(pruned["events"].as_u64().is_some_and(|events| events > 4), "{pruned}");
    // Likewise when the new instance has served some calls, and without a runtime.
    for calls in 1..=3 {
        running.json(&["restart", "probe"]);
        (0..calls).for_each(|_| _ = running.request("probe", &json!("count")).expect("an answer"));
        assert!(running.json(&["prune", "probe", "--before", "999"])["events"].as_u64() > Some(0), "{calls}");
    }
    running.json(&["restart", "probe"]);
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(10)));
    running.kill();
    assert!(
        said(&["prune", "probe", "--before", "999", "--data-dir", &dir(&stage), "--json"])["events"].as_u64() > Some(0)
    );
    assert_eq!(said(&["verify", "--journal", &dir(&stage), "--json"])["findings"], json!([]));
    let again = stage.run(&[]);
    assert_eq!(again.request("probe", &json!("count")), Ok(json!(11)), "the actor has not noticed");
    verifies_and_replays(&again.export(&stage, "probe"));
}

#[test]
fn a_prune_that_has_to_wait_for_what_is_under_way_says_so_and_not_that_no_state_is_kept() {
    let stage = Stage::new();
    let patient = "[limits]\ncpu_ms_per_call = 600_000\n";
    let running = stage.run(&[&stage.manifest("probe", "probe", ""), &stage.manifest("asked", "probe", patient)]);
    running.request("probe", &json!("count")).expect("an answer");
    let mut begun = Management::connect(running.management());
    begun.send_request(&running.id("asked"), &json!({ "op": "work", "rounds": 100_000_000_000_u64 }));
    eventually("it is under way", || running.event_types("asked").last()?.starts_with("call").then_some(()));
    running.json(&["restart", "probe"]);
    running.request("probe", &json!("count")).expect("an answer");
    let why = running.refused(&["prune", "probe", "--before", "999"]);
    assert!(
        why.contains("is needed by a transition, a delivery, a request or a timer that is under way, or by a monitor that is open; try again later"),
        "{why}"
    );
    running.kill();
}

#[test]
fn a_divergence_is_named_by_event_and_field_whichever_way_the_chain_is_read() {
    let stage = Stage::new();
    let (running, _) = counted(&stage, 2, "");
    let events = running.events("probe");
    running.shut_down();
    let variant = component("variant");
    let why =
        refused(&["replay", "--journal", &dir(&stage), "probe", "--component", variant.to_str().expect("a path")]);
    assert!(why.contains("event ") && why.contains("was recorded as") && why.contains("replay gives"), "{why}");
    assert!(!data_of(&events, "started").is_empty());
}

/// Commands that add many events, or much data, to an actor's chain.
fn fill(running: &Theater, events: u64, bytes: usize) {
    let log = json!({ "op": "log", "text": "x", "times": events });
    running.request("probe", &log).expect("logged");
    if bytes > 0 {
        let long = json!({ "op": "reply-bytes", "n": bytes });
        (0..4).for_each(|_| _ = running.request("probe", &long).expect("an answer"));
    }
}

#[test]
fn get_chain_shows_in_replay_what_it_showed_live_whatever_the_length_of_the_chain() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", "");
    let running = stage.run(&[&manifest]);
    let mut shown = Vec::new();
    // Up to the limit on their number, one less, one more, far beyond; then up to the limit on their bytes.
    for (events, bytes) in [(1012, 0), (0, 0), (0, 0), (0, 0), (900, 0), (0, 100_000), (0, 100_000), (0, 170_000)] {
        fill(&running, events, bytes);
        let many = json!({ "op": "many", "ops": ["chain", "chain-data"] });
        let answer = running.request("probe", &many).expect("an answer");
        shown.push(answer[0]["types"].as_array().expect("types").len());
    }
    assert!(shown.contains(&1024) && shown.iter().any(|shown| *shown < 1000), "{shown:?}");
    let last = running.last_event("probe")["sequence"].as_u64().expect("a number");
    running.json(&["fork", "probe", "--at", &last.to_string(), "--name", "fork"]);
    let chain = running.export(&stage, "probe");
    running.shut_down();
    verifies_and_replays(&chain);
    let chain = chain.to_str().expect("a path");
    for until in [last / 2, last] {
        said(&["replay", chain, "--until", &until.to_string(), "--json"]);
        said(&["replay", "--journal", &dir(&stage), "probe", "--until", &until.to_string(), "--json"]);
    }
    said(&["replay", "--journal", &dir(&stage), "--verify-snapshots", "--json"]);
    let same = component("probe");
    let compared = said(&["replay", chain, "--component", same.to_str().expect("a path"), "--compare", "--json"]);
    assert_eq!(compared["changes"], 0);
}

#[test]
fn what_get_chain_has_shown_is_dropped_only_where_that_is_asked_for_and_replay_says_why_it_differs() {
    for (op, differs) in [("chain", false), ("chain-data", true)] {
        let stage = Stage::new();
        let manifest = stage.manifest("probe", "probe", "");
        let running = stage.run(&[&manifest]);
        running.request("probe", &json!("count")).expect("an answer");
        running.kill();
        let running = stage.run(&[&manifest]);
        running.request("probe", &json!("count")).expect("an answer");
        running.request("probe", &json!(op)).expect("an answer");
        for args in [&["prune", "probe", "--before", "999"][..], &["redact", "probe", "--event", "3"]] {
            let why = running.refused(args);
            assert!(why.contains("is a get-chain that has shown the actor event"), "{why}");
            assert!(why.contains("--despite-get-chain"), "{why}");
        }
        running.json(&["prune", "probe", "--before", "999", "--despite-get-chain"]);
        // From here on the actor is shown no more than a replay can show it.
        running.request("probe", &json!(op)).expect("an answer");
        running.kill();
        let running = stage.run(&[&manifest]);
        running.request("probe", &json!(op)).expect("an answer");
        running.shut_down();
        let output = theater(&["replay", "--journal", &dir(&stage), "probe"], None);
        let why = text(&output.stderr);
        assert_eq!(output.status.code(), Some(i32::from(differs)), "{op}: {why}");
        assert!(!differs || why.contains("a get-chain, is shown event 1 without its data, which was dropped: the chain says that the actor saw the data"), "{why}");
    }
}

#[test]
fn a_get_chain_of_an_open_transition_keeps_what_a_start_would_show_it_again() {
    let stage = Stage::new();
    let (manifest, other) = (stage.manifest("probe", "probe", ""), stage.manifest("other", "probe", ""));
    let running = stage.run(&[&manifest]);
    running.request("probe", &json!("count")).expect("an answer");
    running.kill();
    let running = stage.run(&[&manifest, &other]);
    let spin = json!({ "op": "request", "to": running.id("other"), "msg": "spin" });
    running.say(&["send", "other", "\"count\""]);
    let address = running.management();
    let asks = json!({ "op": "many", "ops": ["chain-data", spin] }).to_string();
    let waiter = std::thread::spawn(move || theater(&["request", "probe", &asks], Some(address)));
    support::eventually("it waits", || {
        let types = running.event_types("probe");
        types.last().is_some_and(|last| last.starts_with("intent ")).then_some(())
    });
    let why = running.refused(&["prune", "probe", "--before", "999", "--despite-get-chain"]);
    assert!(why.contains("is needed by a transition"), "{why}");
    running.kill();
    waiter.join().expect("the client ended");
}

/// The state at each event, according to both the journal and the chain file exported from it.
fn states_by_both(stage: &Stage, running: Theater) -> Vec<Result<Value, String>> {
    let chain = running.export(stage, "probe");
    let count = running.events("probe").len();
    running.shut_down();
    let journal = dir(stage);
    let one = |source: &[&str], until: usize| {
        let output = theater(&[&["replay"], source, &["--until", &until.to_string(), "--json"]].concat(), None);
        if output.status.success() {
            let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            Ok(printed["state"]["count"].clone())
        } else {
            Err(text(&output.stderr))
        }
    };
    let states = (0..count).map(|until| {
        let by_journal = one(&["--journal", &journal, "probe"], until);
        assert_eq!(by_journal, one(&[chain.to_str().expect("a path")], until), "event {until}");
        by_journal
    });
    states.collect()
}

#[test]
fn one_redaction_takes_away_no_time_travel_before_it_nor_between_it_and_a_prune() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", "");
    for _ in 0..3 {
        let running = stage.run(&[&manifest]);
        (0..2).for_each(|_| _ = running.request("probe", &json!("count")).expect("an answer"));
        running.kill();
    }
    let running = stage.run(&[&manifest]);
    let events = running.events("probe");
    let starts: Vec<usize> = (0..events.len()).filter(|at| events[*at]["event_type"] == "started").collect();
    // A prune before the second start, and a redaction in the incarnation that begins with the third.
    let pruned = running.json(&["prune", "probe", "--before", &(starts[1] + 1).to_string()]);
    assert_eq!(pruned["replays_from"], starts[1]);
    let redacted = starts[2] + 3;
    let said_of_it = running.json(&["redact", "probe", "--event", &redacted.to_string()]);
    assert_eq!(said_of_it["replays_from"], starts[3]);
    let states = states_by_both(&stage, running);
    for (at, state) in states.iter().enumerate() {
        let lost = (1..starts[1]).contains(&at) || (redacted..starts[3]).contains(&at);
        assert_eq!(state.is_err(), lost, "event {at}: {state:?}");
        if let Err(why) = state {
            let next = if at < starts[1] { starts[1] } else { starts[3] };
            assert!(why.contains(&format!("before event {next}, after which the next state is kept")), "{why}");
        }
    }
    assert_eq!(states[redacted - 1], Ok(json!(5)));
    let replayed = said(&["replay", "--journal", &dir(&stage), "probe", "--json"]);
    assert_eq!(replayed["skipped"], json!([[1, starts[1]], [redacted, starts[3]]]));
}

#[test]
fn a_redaction_with_no_state_behind_it_says_from_where_on_nothing_can_be_replayed() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    (0..3).for_each(|_| _ = running.request("probe", &json!("count")).expect("an answer"));
    let said_of_it = running.say(&["redact", "probe", "--event", "5"]);
    assert!(
        said_of_it.contains("no state is kept after event 5: from there on nothing can be replayed"),
        "{said_of_it}"
    );
    let states = states_by_both(&stage, running);
    assert!(states[..5].iter().all(Result::is_ok) && states[5..].iter().all(Result::is_err), "{states:?}");
    let why = refused(&["replay", "--journal", &dir(&stage), "probe"]);
    assert!(why.contains("the data of event 5 was dropped") && why.contains("came out as it was recorded"), "{why}");
}

#[test]
fn what_was_dropped_is_said_and_a_replay_that_executed_nothing_is_no_success() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", "");
    let running = stage.run(&[&manifest]);
    (0..3).for_each(|_| _ = running.request("probe", &json!("count")).expect("an answer"));
    running.kill();
    let running = stage.run(&[&manifest]);
    let before = running.export(&stage, "probe");
    assert_eq!(verify(&before).expect("it verifies")["dropped"], 0);
    let last = running.last_event("probe")["sequence"].as_u64().expect("a number");
    running.json(&["prune", "probe", "--before", "1000"]);
    let chain = running.export(&stage, "probe");
    running.shut_down();
    let dropped = last - 1;
    let verified = verify(&chain).expect("it verifies");
    assert_eq!((&verified["dropped"], &verified["dropped_events"]), (&json!(dropped), &json!([[1, dropped]])));
    let path = chain.to_str().expect("a path");
    let said_of_it = text(&theater(&["verify", path], None).stdout);
    let words = format!("the data of {dropped} of {} events (1 to {dropped}) was dropped", last + 1);
    assert!(said_of_it.contains(&words), "{said_of_it}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify_chain.py");
    if let Ok(output) = std::process::Command::new("python3").arg(script).arg(&chain).output() {
        assert!(text(&output.stdout).contains(&words), "{}", text(&output.stdout));
    }
    for args in [&["replay", path][..], &["replay", "--journal", &dir(&stage), "probe"]] {
        let why = refused(args);
        assert!(why.contains("nothing was replayed: the data of") && why.contains("(1 to"), "{why}");
    }
    let why = refused(&["replay", "--journal", &dir(&stage)]);
    assert!(why.contains("nothing was executed"), "{why}");
    // The state there is nevertheless named.
    let state = said(&["replay", path, "--until", &last.to_string(), "--json"]);
    assert_eq!(state["state"]["count"], 3);
}

#[test]
fn what_names_the_kept_state_is_not_pruned_away() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", "");
    let running = stage.run(&[&manifest]);
    running.request("probe", &json!("count")).expect("an answer");
    let named = running.last_event("probe")["sequence"].as_u64().expect("a number");
    // So many events that a state is kept, after a transition that has changed nothing.
    running.request("probe", &json!({ "op": "log", "text": "x", "times": 1_000 })).expect("logged");
    let kept = running.last_event("probe")["sequence"].as_u64().expect("a number");
    running.request("probe", &json!("get")).expect("an answer");
    let pruned = running.json(&["prune", "probe", "--before", "100000"]);
    assert_eq!((&pruned["events"], &pruned["replays_from"]), (&json!(named - 1), &json!(kept)));
    let why = running.refused(&["prune", "probe", "--before", "100000"]);
    assert!(why.contains(&format!("the one that event {named} names")) && why.contains("theater restart"), "{why}");
    let chain = running.export(&stage, "probe");
    running.shut_down();
    verifies_and_replays(&chain);
    let audit = said(&["verify", "--journal", &dir(&stage), "--json"]);
    assert_eq!((&audit["findings"], &audit["unvouched_states"]), (&json!([]), &json!(0)));
}
