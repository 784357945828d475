//! Tests of forged chains and journals whose hashes and seals were computed again, as anyone can do. Only what an event
//! under the hash says is trusted, and everything that replay can compute is compared.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::forge::{self, Chain, Event, Item};
use support::log_file::{LogRecord, Payload, forge_log};
use support::{
    Management, Stage, Theater, copy_journal, eventually, replay, text, theater, verifies_and_replays, verify,
};

/// The result of `docs/verify_chain.py`; `None` without Python.
fn python(chain: &Path) -> Option<Result<String, String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify_chain.py");
    let output = Command::new("python3").arg(script).arg(chain).output().ok()?;
    Some(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
}

/// Checks that both verifiers refuse a chain, the program with these words.
fn both_refuse(chain: &Path, why: &str) {
    let said = verify(chain).expect_err("it is forged");
    assert!(said.contains(why), "{said}");
    if let Some(said) = python(chain) {
        said.expect_err("Python too");
    }
}

fn both_accept(chain: &Path) {
    verify(chain).expect("it verifies");
    if let Some(said) = python(chain) {
        said.expect("for Python too");
    }
}

fn written(stage: &Stage, name: &str, chain: &Chain) -> PathBuf {
    let path = stage.path().join(format!("{name}.chain"));
    chain.write(&path);
    path
}

/// The chain of a counting probe over several lives of the runtime; each life sends it these commands in turn.
fn lived(stage: &Stage, more: &str, lives: &[&[Value]]) -> PathBuf {
    let manifest = stage.manifest("probe", "probe", more);
    let mut chain = None;
    for life in lives {
        let running = stage.run(&[&manifest]);
        for command in *life {
            // Some commands are refused, as intended.
            let _ = running.request("probe", command);
        }
        chain = Some(running.export(stage, "probe"));
        running.kill();
    }
    chain.expect("a life")
}

fn state_of(chain: &Chain, at: usize) -> Option<Vec<u8>> {
    let named = chain.events[..=at].iter().rev().find_map(|event| match event.kind() {
        "started" | "return" => match event.item().get("state") {
            Item::Text(_) => None,
            state => Some(state.clone()),
        },
        _ => None,
    });
    match named.expect("the first start names one") {
        Item::Bytes(bytes) => Some(bytes),
        Item::Null => None,
        other => panic!("{other:?} is large"),
    }
}

const FORGED: &[u8] = b"{\"count\":1000000}";

#[test]
fn an_attached_state_behind_a_refused_or_an_unchanged_is_the_one_that_was_named_before() {
    let stage = Stage::new();
    let (get, refuse) = (json!("get"), json!({ "op": "refuse", "message": "no" }));
    let file = lived(&stage, "", &[&[json!("count"), get.clone(), refuse.clone(), json!("count"), get, refuse]]);
    let honest = Chain::read(&file);
    let unchanged = |at: &usize| *honest.events[*at].item().get("state") == Item::Text("unchanged".into());
    let returns = honest.of_kind("return");
    let last_unchanged = *returns.iter().rfind(|at| unchanged(at)).expect("a get");
    let last_refused = *honest.of_kind("refused").last().expect("a refusal");
    // The data of the first call is dropped, so that states may be attached.
    let call = honest.of_kind("call")[0];
    for at in [last_unchanged, last_refused, *returns.last().expect("a return")] {
        let mut chain = honest.clone();
        chain.events[call].drop_data();
        let state = state_of(&honest, at);
        assert!(state.is_some());
        chain.states = vec![(at as u64, state)];
        let file = written(&stage, "honest", &chain);
        both_accept(&file);
        let until = (chain.events.len() - 1).to_string();
        let replayed = replay(&file, &["--until", &until]).expect("the state there is named");
        assert_eq!(replayed["state"]["count"], 2);
        for forged in [Some(FORGED.to_vec()), Some(vec![b'x'; 5000]), Some(Vec::new()), None] {
            chain.states = vec![(at as u64, forged)];
            both_refuse(&written(&stage, "forged", &chain), &format!("attachment state {at}"));
        }
    }
}

#[test]
fn an_attached_state_that_no_event_names_any_more_is_not_built_upon() {
    let stage = Stage::new();
    let refuse = json!({ "op": "refuse", "message": "no" });
    let commands = [json!("count"), json!("count"), json!("get"), refuse, json!("get")];
    let honest = Chain::read(&lived(&stage, "", &[&commands]));
    let counted = honest.of_kind("return")[2];
    let behind = honest.of_kind("return")[3];
    let refused = honest.of_kind("refused")[0];
    for at in [counted, behind, refused] {
        for state in [state_of(&honest, at), Some(FORGED.to_vec())] {
            let mut chain = honest.clone();
            // The event that set the state has lost its data, so nobody can tell whether the state is true or forged.
            chain.events[counted].drop_data();
            chain.states = vec![(at as u64, state)];
            let file = written(&stage, "unnamed", &chain);
            both_accept(&file);
            let verified = verify(&file).expect("its hashes are right");
            assert_eq!(verified["unvouched_states"], json!([at]));
            let said = theater(&["verify", file.to_str().expect("a path")], None);
            assert!(text(&said.stdout).contains("is named by no event"), "{}", text(&said.stdout));
            for until in [at, chain.events.len() - 1] {
                let why = replay(&file, &["--until", &until.to_string()]).expect_err("no event names it");
                assert!(why.contains("cannot be had") && !why.contains("1000000"), "{why}");
            }
            let why = replay(&file, &[]).expect_err("its end cannot be reached");
            assert!(why.contains("no state is kept that an event names"), "{why}");
            // Earlier events are not affected.
            let before = replay(&file, &["--until", &(counted - 1).to_string()]).expect("it lies before");
            assert_eq!(before["state"]["count"], 1);
        }
    }
}

/// Forges the state that `started` number `n` names, and removes the rest of its incarnation.
fn begun_with(honest: &Chain, n: usize, state: &[u8]) -> Chain {
    let mut chain = honest.clone();
    let at = chain.of_kind("started")[n];
    chain.events.truncate(at + 1);
    chain.events[at].edit(|started| *started.get("state") = Item::state(Some(state)));
    chain.seal();
    chain
}

#[test]
fn a_restart_or_recovery_that_begins_with_another_state_than_the_chain_came_to_is_named() {
    let stage = Stage::new();
    let lives: &[&[Value]] = &[&[json!("count"), json!("count")], &[json!("trap")], &[json!("count")]];
    let honest = Chain::read(&lived(&stage, "restart = \"permanent\"\nmax_restarts = 9\n", lives));
    let starts = honest.of_kind("started");
    assert!(starts.len() >= 3, "spawn, recovery, restart");
    for (n, start) in starts.iter().enumerate().skip(1) {
        let file = written(&stage, "forged", &begun_with(&honest, n, FORGED));
        both_refuse(&file, &format!("event {start}: it begins with the state {{\"count\":1000000}}"));
        // Going back to an earlier state that is not the first one is refused too.
        let early = state_of(&honest, honest.of_kind("return")[1]).expect("a state");
        both_refuse(&written(&stage, "forged", &begun_with(&honest, n, &early)), "but the chain has come to");
    }
    // If the event that set the state has lost its data, nobody can tell.
    let mut lost = begun_with(&honest, 1, FORGED);
    let last = *lost.of_kind("return").last().expect("a return");
    lost.events[last].drop_data();
    both_accept(&written(&stage, "lost", &lost));
}

/// Changes events in the journal of a stage, and computes whatever follows from them again.
fn forge_in_journal(stage: &Stage, actor: &str, forge: impl FnOnce(&mut Vec<Event>)) {
    forge_log(&stage.data_dir(), |log| log.forge_chain(log.key_of(actor), forge));
}

/// Has what the last promise of `from` owes be owed to `to`.
fn owe_to(stage: &Stage, from: &str, to: &str) {
    forge_log(&stage.data_dir(), |log| {
        let (from, to) = (log.key_of_id(from), log.id_of(log.key_of_id(to)));
        let promise = log.chain(from).filter_map(|event| event.owes.as_mut()).last().expect("a promise");
        promise.0 = to;
    });
}

fn of_journal(stage: &Stage, args: &[&str]) -> (Option<i32>, String) {
    let dir = stage.data_dir();
    let output = theater(&[&[args[0], "--journal", dir.to_str().expect("a path")], &args[1..]].concat(), None);
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn an_end_that_did_not_happen_so_or_that_nobody_asked_for_is_named_by_the_audit() {
    let honest = Stage::new();
    let grant = "[[handlers]]\ntype = \"monitor\"\n[[handlers]]\ntype = \"supervisor\"\n";
    let manifests = [honest.manifest("sentry", "sentry", grant), honest.manifest("watched", "probe", "")];
    let running = honest.run(&[&manifests[0], &manifests[1], &honest.manifest("other", "probe", "")]);
    let watch = |actor: &str| json!({ "op": "monitor", "actor": running.id(actor) });
    running.request("sentry", &json!({ "op": "many", "ops": [watch("watched"), watch("other")] })).expect("an answer");
    running.say(&["stop", "watched"]);
    eventually("it was told", || {
        running.json(&["state", "sentry"])["state"]["downs"].as_array().map(|downs| downs.len() == 1)
    });
    running.shut_down();
    assert_eq!(of_journal(&honest, &["verify"]).0, Some(0));
    let why = |forge: &dyn Fn(&mut Event)| {
        let stage = Stage::new();
        copy_journal(&honest.data_dir(), &stage.data_dir());
        forge_in_journal(&stage, "sentry", |events| {
            let told = events.iter().position(|event| event.event_type.ends_with("handle-down")).expect("a call");
            forge(&mut events[told]);
        });
        let (code, said) = of_journal(&stage, &["verify"]);
        assert_eq!(code, Some(1), "{said}");
        said
    };
    let said = why(&|call| {
        call.edit(|call| {
            let Item::Array(params) = call.get("params") else { panic!("the parameters") };
            *params[0].get("reason") = Item::Map(vec![("failed".into(), Item::Text("trap: nothing".into()))]);
        });
    });
    assert!(said.contains("it tells of an end that event"), "{said}");
    // The monitor of the other actor, which has not ended.
    let said = why(&|call| {
        call.edit(|call| {
            let Item::Uint(reference) = call.get("of") else { panic!("the reference") };
            *reference += 1;
            let reference = *reference;
            let Item::Array(params) = call.get("params") else { panic!("the parameters") };
            *params[0].get("reference") = Item::Uint(reference);
        });
    });
    assert!(said.contains("it tells of the end of actor"), "{said}");
    assert!(said.contains("is owed: but actor sentry"), "the row of that monitor is still there: {said}");
}

#[test]
fn replay_compares_what_an_incarnation_begins_with_to_what_the_one_before_ended_with() {
    let stage = Stage::new();
    lived(&stage, "", &[&[json!("count"), json!("count")], &[]]);
    forge_in_journal(&stage, "probe", |events| {
        let started = events.iter().rposition(|event| event.kind() == "started").expect("a start");
        events[started].edit(|started| *started.get("state") = Item::state(Some(FORGED)));
    });
    let (code, said) = of_journal(&stage, &["replay"]);
    assert!(code == Some(1) && said.contains("data.state was recorded as {\"count\":1000000"), "{said}");
    let (code, said) = of_journal(&stage, &["verify"]);
    assert!(code == Some(1) && said.contains("it begins with the state"), "{said}");
}

#[test]
fn a_call_for_a_timer_that_nothing_promised_is_found() {
    let call = "call ntwk:theater/timer-handlers.handle-timer";
    // What is changed in the second of two calls, and what is found.
    type Change = fn(&mut Item, Item);
    let changes: [(Change, &str); 4] = [
        (|call, _| *call.get("cause") = Item::Null, "it was called for a timer, and no event promised that"),
        (|call, _| *call.get("round") = Item::Uint(2), "it was called for a timer that event"),
        (|call, _| *call.get("of") = Item::Uint(0), "it was called for a timer that event"),
        (|call, first| *call = first, "it was called twice for what event"),
    ];
    for (change, expected) in changes {
        let stage = Stage::new();
        let running = stage.run(&[&stage.manifest("alarm", "alarm", "[[handlers]]\ntype = \"timer\"\n")]);
        let set = |key: &str, at: u64| json!({ "op": "set-at", "key": key, "at": at });
        running.request("alarm", &json!({ "op": "many", "ops": [set("a", 0), set("b", 1)] })).expect("an answer");
        support::eventually("both have called", || {
            let types = running.event_types("alarm");
            (types.iter().filter(|it| *it == call).count() == 2 && types.last()?.starts_with("return")).then_some(())
        });
        running.kill();
        let (code, said) = of_journal(&stage, &["verify"]);
        assert_eq!(code, Some(0), "{said}");
        forge_in_journal(&stage, "alarm", |events| {
            let calls: Vec<usize> = (0..events.len()).filter(|at| events[*at].event_type == call).collect();
            let first = events[calls[0]].item();
            events[calls[1]].edit(|second| change(second, first));
        });
        let (code, said) = of_journal(&stage, &["verify"]);
        assert!(code == Some(1) && said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn a_restart_from_the_first_state_is_believed_only_where_the_manifest_says_so() {
    let more = "restart = \"permanent\"\nmax_restarts = 9\n";
    for (policy, honest) in [("initial", true), ("last", false)] {
        let stage = Stage::new();
        let more = format!("{more}restart_state = \"{policy}\"\ninit_state = {{ count = 7 }}\n");
        let manifest = stage.manifest("probe", "probe", &more);
        let running = stage.run(&[&manifest]);
        let _ = running.request("probe", &json!("count"));
        running.say(&["restart", "probe"]);
        let _ = running.request("probe", &json!("get"));
        let file = running.export(&stage, "probe");
        running.kill();
        if honest {
            let chain = Chain::read(&file);
            let second = chain.of_kind("started")[1];
            assert_eq!(state_of(&chain, second), state_of(&chain, 0), "it began anew");
            both_accept(&file);
            verifies_and_replays(&file);
            continue;
        }
        // A verifier that does not execute anything does not read manifests; replay does.
        let chain = Chain::read(&file);
        let first = state_of(&chain, 0).expect("a state");
        let forged = written(&stage, "forged", &begun_with(&chain, 1, &first));
        both_accept(&forged);
        let why = replay(&forged, &[]).expect_err("its manifest keeps the state");
        assert!(why.contains("data.state was recorded as {\"count\":7}"), "{why}");
    }
}

#[test]
fn a_first_start_is_a_spawn_or_a_fork_and_no_later_one_is() {
    let stage = Stage::new();
    let honest = Chain::read(&lived(&stage, "", &[&[json!("count")], &[json!("count")]]));
    let mut jump = begun_with(&honest, 1, FORGED);
    let at = jump.events.len() - 1;
    jump.events[at].edit(|started| *started.get("reason") = Item::Text("spawn".into()));
    jump.seal();
    both_refuse(&written(&stage, "jump", &jump), "is not the first start of its chain");
    let mut first = honest.clone();
    first.events[0].edit(|started| *started.get("reason") = Item::Text("recovery".into()));
    first.seal();
    both_refuse(&written(&stage, "first", &first), "it is the first start of its chain, but its reason is recovery");
    let mut resumes = begun_with(&honest, 1, &state_of(&honest, at - 1).expect("a state"));
    resumes.events[at].edit(|started| *started.get("resumes") = Item::Bool(true));
    resumes.seal();
    let why = replay(&written(&stage, "resumes", &resumes), &[]).expect_err("nothing is open there");
    assert!(why.contains("it goes on with a transition, but none is open"), "{why}");
}

#[test]
fn behind_an_end_that_reads_as_one_comes_another_start_or_replay_says_so() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", "");
    let running = stage.run(&[&manifest]);
    running.request("probe", &json!("count")).expect("an answer");
    let _ = running.request("probe", &json!({ "op": "refuse", "message": "no" }));
    for _ in 0..2 {
        running.say(&["restart", "probe"]);
        let _ = running.request("probe", &json!("trap"));
    }
    let file = running.export(&stage, "probe");
    running.kill();
    verifies_and_replays(&file);
    let honest = Chain::read(&file);
    let refused = honest.of_kind("refused")[0];
    let ends = [honest.of_kind("stopped")[0], honest.of_kind("failed")[0]];
    let why = |what: &str, forge: &dyn Fn(&mut Vec<Event>)| {
        let mut chain = honest.clone();
        forge(&mut chain.events);
        chain.seal();
        let forged = written(&stage, what, &chain);
        both_accept(&forged);
        replay(&forged, &[]).expect_err(what)
    };
    for at in ends {
        let said = why("swapped", &|events| events.swap(at, at + 1));
        assert!(said.contains(&format!("event {}: \"call ", at + 2)), "{said}");
        assert!(said.contains("stands after the end of its incarnation, where only another start can"), "{said}");
        for data in [&b""[..], &[0x81; 100_000]] {
            let said = why("nonsense", &|events| events[at].data = Some(data.to_vec()));
            assert!(said.contains(&format!("event {at}: ")), "{said}");
        }
        let said = why("a list of another kind", &|events| {
            events[at].edit(|end| *end.get("dropped") = Item::Array(vec![Item::Uint(7)]));
        });
        assert!(said.contains(&format!("event {at}: ")), "{said}");
    }
    let said = why("by nobody", &|events| {
        events[ends[0]].edit(|end| *end.get("by") = Item::Text("nobody".into()));
    });
    assert!(said.contains(&format!("event {}: ", ends[0])), "{said}");
    // A transition that was recorded as stopped: the next call needs a `started` before it.
    let stopped = honest.events[ends[0]].data.clone();
    for (data, is_one) in [(honest.events[refused].data.clone(), false), (stopped, true)] {
        let said = why("stopped within", &|events| {
            let stopped = Event { event_type: "stopped".into(), data: data.clone(), ..events[refused].clone() };
            // The same call once more after it.
            let again = [stopped, events[refused - 1].clone(), events[refused].clone()];
            events.splice(refused..=refused, again);
        });
        let at = if is_one { refused + 1 } else { refused };
        assert!(said.contains(&format!("event {at}: ")), "{said}");
    }
    // Nothing is reported about data that was dropped.
    let mut chain = honest.clone();
    chain.events[ends[0]].drop_data();
    let dropped = written(&stage, "dropped", &chain);
    both_accept(&dropped);
    replay(&dropped, &[]).expect("what is there replays");
}

#[test]
fn an_index_that_leads_back_is_made_anew_by_every_command_that_reads_it_and_misleads_none() {
    let ways = [
        "state_position = 5, state_sequence = 4",
        "position = 5, sequence = 4",
        "position = 5, sequence = 4, state_position = 5, state_sequence = 4",
    ];
    for way in ways {
        let stage = Stage::new();
        let manifest = stage.manifest("probe", "probe", "");
        let running = stage.run(&[&manifest]);
        for _ in 0..4 {
            running.request("probe", &json!("count")).expect("an answer");
        }
        let events = running.events("probe").len();
        running.shut_down();
        let dir = stage.data_dir();
        let index = rusqlite::Connection::open(dir.join("index.db")).expect("an index");
        assert_eq!(index.execute(&format!("UPDATE heads SET {way}"), []).expect("changed"), 1);
        drop(index);
        for args in [&["verify"][..], &["replay"], &["replay", "probe"]] {
            let (code, said) = of_journal(&stage, args);
            assert_eq!(code, Some(0), "{way}: {args:?}: {said}");
        }
        let of_dir = |args: &[&str]| {
            let output = theater(&[args, &["--data-dir", dir.to_str().expect("a path")]].concat(), None);
            assert!(output.status.success(), "{way}: {args:?}: {}", text(&output.stderr));
            text(&output.stdout)
        };
        assert!(of_dir(&["state", "probe"]).contains("\"count\":4"), "{way}: {}", of_dir(&["state", "probe"]));
        assert_eq!(of_dir(&["events", "probe", "--json"]).lines().count(), events, "{way}");
        assert!(of_dir(&["export", "probe", "-o", "-"]).lines().count() > events, "{way}");
        let running = stage.run(&[]);
        assert_eq!(running.request("probe", &json!("count")), Ok(json!(5)), "{way}");
    }
}

fn forked(stage: &Stage) -> Theater {
    let manifest = stage.manifest("probe", "probe", "");
    let running = stage.run(&[&manifest]);
    for _ in 0..3 {
        running.request("probe", &json!("count")).expect("an answer");
    }
    running.say(&["fork", "probe", "--at", "5", "--name", "fork"]);
    running.request("fork", &json!("count")).expect("an answer");
    running
}

#[test]
fn a_fork_that_begins_with_another_state_than_its_origin_had_is_named_where_the_origin_is_at_hand() {
    let stage = Stage::new();
    forked(&stage).shut_down();
    let (code, said) = of_journal(&stage, &["replay"]);
    assert_eq!(code, Some(0), "{said}");
    forge_in_journal(&stage, "fork", |events| {
        events[0].edit(|started| *started.get("state") = Item::state(Some(FORGED)));
    });
    let (code, said) = of_journal(&stage, &["replay", "fork"]);
    assert!(code == Some(1) && said.contains("event 0: data.state was recorded as {\"count\":1000000"), "{said}");
    let (code, said) = of_journal(&stage, &["verify"]);
    assert!(code == Some(1) && said.contains("which it is a fork of, came to"), "{said}");
}

#[test]
fn a_kept_state_of_a_journal_behind_a_refused_or_an_unchanged_is_the_one_that_was_named_before() {
    let stage = Stage::new();
    let refuse = json!({ "op": "refuse", "message": "no" });
    let chain = Chain::read(&lived(&stage, "", &[&[json!("count"), json!("get"), refuse]]));
    let refused = chain.of_kind("refused")[0] as u64;
    let unchanged = *chain.of_kind("return").last().expect("a return") as u64;
    for (at, state, honest) in
        [(refused, "{\"count\":1000000}", false), (unchanged, "{\"count\":1000000}", false), (unchanged, "", true)]
    {
        let true_state = state_of(&chain, at as usize).expect("a state");
        let state = if honest { true_state } else { state.into() };
        forge_log(&stage.data_dir(), |log| {
            let actor = log.key_of("probe");
            log.events_mut().for_each(|event| event.keeps = false);
            log.retain(|record| !matches!(record, LogRecord::State { .. }));
            let name = Some(forge::sha1(&state));
            log.append(vec![LogRecord::State {
                actor,
                sequence: at,
                name,
                is_salted: false,
                state: Payload::Kept(state),
            }]);
        });
        let (code, said) = of_journal(&stage, &["verify"]);
        assert_eq!(code, Some(i32::from(!honest)), "{said}");
        assert!(honest || said.contains("is not the one that the chain names"), "{said}");
        let until = at.to_string();
        let (code, said) = of_journal(&stage, &["replay", "probe", "--until", &until]);
        assert!(!said.contains("1000000"), "{said}");
        assert_eq!(code, Some(i32::from(!honest)), "{said}");
        assert!(honest || said.contains(&format!("the state behind event {at} is not the one that event")), "{said}");
        let (code, said) = of_journal(&stage, &["replay", "--verify-snapshots"]);
        assert_eq!(code, Some(i32::from(!honest)), "{said}");
    }
}

/// Changes every number, word and byte string of an event's data, one at a time; returns the place and the changed
/// event.
fn changes(event: &Event) -> Vec<(String, Event)> {
    fn walk(item: &Item, path: String, rebuild: &dyn Fn(Item) -> Item, found: &mut Vec<(String, Item)>) {
        let mut other = |item: Item| found.push((path.clone(), rebuild(item)));
        match item {
            Item::Null => other(Item::Uint(7)),
            Item::Bool(word) => other(Item::Bool(!word)),
            Item::Uint(number) => other(Item::Uint(number + 1)),
            Item::Text(text) => other(Item::Text(format!("{text}x"))),
            Item::Bytes(bytes) => {
                let mut bytes = bytes.clone();
                match bytes.iter().rposition(u8::is_ascii_digit) {
                    Some(at) => bytes[at] = if bytes[at] == b'9' { b'8' } else { bytes[at] + 1 },
                    None => bytes.push(b' '),
                }
                other(Item::Bytes(bytes));
            }
            Item::Array(items) => {
                for (at, inner) in items.iter().enumerate() {
                    let rebuild = |inner| {
                        let mut items = items.clone();
                        items[at] = inner;
                        rebuild(Item::Array(items))
                    };
                    walk(inner, format!("{path}[]"), &rebuild, found);
                }
            }
            Item::Map(entries) => {
                for (at, (key, inner)) in entries.iter().enumerate() {
                    let rebuild = |inner| {
                        let mut entries = entries.clone();
                        entries[at].1 = inner;
                        rebuild(Item::Map(entries))
                    };
                    walk(inner, format!("{path}.{key}"), &rebuild, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(&event.item(), event.event_type.clone(), &|item| item, &mut found);
    let event = |item: Item| Event { data: Some(item.write()), ..event.clone() };
    found.into_iter().map(|(path, item)| (path, event(item))).collect()
}

#[test]
fn whatever_field_a_forger_changes_is_an_input_or_shows() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", "");
    let running = stage.run(&[&manifest]);
    for command in [json!("count"), json!({ "op": "many", "ops": ["chain", { "op": "log", "text": "a line" }] })] {
        running.request("probe", &command).expect("an answer");
    }
    let _ = running.request("probe", &json!({ "op": "refuse", "message": "no" }));
    running.say(&["restart", "probe"]);
    running.request("probe", &json!("count")).expect("an answer");
    let _ = running.request("probe", &json!("trap"));
    let file = running.export(&stage, "probe");
    running.kill();
    verifies_and_replays(&file);
    let honest = Chain::read(&file);
    let variants = honest
        .events
        .iter()
        .enumerate()
        .flat_map(|(at, event)| changes(event).into_iter().map(move |(path, event)| (at, path, event)));
    // One limit stands for all of them.
    let wanted = |path: &str| !path.contains(".limits.") || path.ends_with(".memory_bytes");
    let variants: Vec<_> = variants.filter(|(_, path, _)| wanted(path)).collect();
    let halves: Vec<_> = variants.chunks(variants.len().div_ceil(2)).collect();
    let unseen = |half: &[(usize, String, Event)]| {
        let mut unseen = std::collections::BTreeSet::new();
        for (n, (at, path, event)) in half.iter().enumerate() {
            let mut chain = honest.clone();
            chain.events[*at] = event.clone();
            chain.seal();
            let forged = written(&stage, &format!("{at}-{n}-{}", half.len()), &chain);
            // Replay takes longer, so it runs only for chains that verify.
            if verify(&forged).is_ok() && replay(&forged, &[]).is_ok() {
                unseen.insert(path.clone());
            }
        }
        unseen
    };
    let unseen: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
        let halves: Vec<_> = halves.iter().map(|half| scope.spawn(|| unseen(half))).collect();
        halves.into_iter().flat_map(|half| half.join().expect("replayed")).collect()
    });
    // Inputs from outside, and the operator's settings, determine the rest of the chain or do not affect it: they
    // cannot be checked.
    let inputs = ["started.limits.memory_bytes", "started.manifest", "started.name"];
    let is_input = |path: &String| {
        inputs.contains(&path.as_str())
            || path.starts_with("call ") && (path.ends_with(".fresh") || path.ends_with(".params[]"))
    };
    let believed: Vec<_> = unseen.iter().filter(|path| !is_input(path)).collect();
    assert!(believed.is_empty(), "{believed:?}");
    assert!(unseen.len() >= 3, "{unseen:?}");
}

/// Earlier versions could write such a journal: two requests that lead to each other, both open.
#[test]
fn a_start_survives_requests_in_a_circle_and_tells_the_newest_that_its_outcome_is_unknown() {
    let stage = Stage::new();
    let patient = "[limits]\ncpu_ms_per_call = 600000\nrequest_deadline_ms = 600000\n";
    let names = ["first", "second", "busy"];
    let manifests = names.map(|name| stage.manifest(name, "probe", patient));
    let running = stage.run(&[&manifests[0], &manifests[1], &manifests[2]]);
    let ids = names.map(|name| running.id(name));
    let mut clients = names.map(|_| Management::connect(running.management()));
    let comes_to = |id: &str, kind: &str| {
        eventually(kind, || running.event_types(id).last()?.starts_with(kind).then_some(()));
    };
    clients[2].send_request(&ids[2], &json!({ "op": "work", "rounds": 30_000_000_000_u64 }));
    comes_to(&ids[2], "call ");
    for (client, id) in clients.iter_mut().zip(&ids[..2]) {
        let ask = json!({ "op": "request", "to": ids[2], "msg": "count" });
        client.send_request(id, &json!({ "op": "many", "ops": [ask, "count"] }));
        comes_to(id, "intent ");
    }
    running.kill();
    for (at, other) in [(0, 1), (1, 0)] {
        forge_in_journal(&stage, names[at], |events| {
            // The call says whom to ask, and the intent who was asked.
            for event in events.iter_mut().rev().take(2) {
                let data = event.data.as_mut().expect("its data is there");
                let at = data.windows(36).position(|it| it == ids[2].as_bytes()).expect("it names the busy one");
                data[at..at + 36].copy_from_slice(ids[other].as_bytes());
            }
        });
        owe_to(&stage, &ids[at], &ids[other]);
    }
    let running = stage.run(&[]);
    for id in &ids[..2] {
        // Its own count, and the one that the other asks for.
        eventually("both go on", || (running.json(&["state", id])["state"]["count"] == 2).then_some(()));
    }
    let answer = |id: &str| {
        let events = running.events(id);
        support::data_of(&events, "host-call ntwk:theater/message-server-host.request")[0]["result"].clone()
    };
    let unknown = "outcome unknown: the actors waited for each other in a circle when the process ended";
    assert_eq!(answer(&ids[1]), json!({ "err": unknown }), "the newest");
    assert_eq!(answer(&ids[0]), json!({ "ok": 2 }), "the other had counted by then");
    for id in &ids[..2] {
        verifies_and_replays(&running.export(&stage, id));
    }
}
