//! Tests of verification: both verifiers agree on honest and on tampered chain files, and replay names the first
//! difference.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::{Http, Management, Stage, component, eventually, replay, text, theater, verifies_and_replays, verify};

#[test]
fn a_journal_that_was_pruned_up_to_a_start_that_resumed_a_transition_is_whole() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", "");
    let running = stage.run(&[&manifest]);
    let dir = stage.data_dir();
    let journal = dir.to_str().expect("a path");
    let mut client = Management::connect(running.management());
    // A state is kept every 1,000 events.
    let mut count = || client.request(&running.id("probe"), &json!("count")).expect("an answer");
    (0..510).for_each(|_| _ = count());
    let counted = count().as_u64().expect("a number");
    let work = json!({ "op": "many", "ops": [{ "op": "work", "rounds": 300_000_000_u64 }, "count"] });
    client.send_request(&running.id("probe"), &work);
    eventually("it is under way", || running.event_types("probe").last()?.starts_with("call").then_some(()));
    running.kill();

    let running = stage.run(&[]);
    assert_eq!(
        running.events("probe").iter().rfind(|event| event["event_type"] == "started").expect("a start")["data"]["resumes"],
        true
    );
    eventually("it has come to its end", || running.event_types("probe").last()?.starts_with("return").then_some(()));
    running.say(&["prune", "probe", "--before", "1000000"]);
    let whole = || support::theater_says(&["verify", "--journal", journal]);
    whole();
    running.kill();
    whole();
    assert_eq!(stage.run(&[]).request("probe", &json!("count")), Ok(json!(counted + 2)));
}

/// Runs a script of tests/vectors; returns `None` without Python.
fn python(script: &str, args: &[&Path]) -> Option<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(script);
    match Command::new("python3").arg(&script).args(args).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}: {}", script.display(), text(&output.stderr));
            Some(text(&output.stdout))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            support::skipped("the verifier written from the document", "there is no python3");
            None
        }
        Err(error) => panic!("python3: {error}"),
    }
}

/// The result of `docs/verify_chain.py` for each file in a directory: whether it verifies, and the message.
fn by_python(dir: &Path) -> Option<BTreeMap<String, (bool, String)>> {
    let said = python("verify_all.py", &[dir])?;
    let row = |line: &str| {
        let mut words = line.splitn(3, '\t').map(str::to_owned);
        let mut next = || words.next().expect("three words");
        (next(), (next() == "0", next()))
    };
    Some(said.split('\n').filter(|line| line.matches('\t').count() >= 2).map(row).collect())
}

/// The result of `theater verify` for each file in a directory.
fn by_theater(dir: &Path) -> BTreeMap<String, (bool, String)> {
    let files: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("a directory")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "chain"))
        .collect();
    let one = |path: &PathBuf| {
        let output = theater(&["verify", path.to_str().expect("a path")], None);
        let code = output.status.code();
        assert!(code == Some(0) || code == Some(1), "{}: {:?}", path.display(), output.status);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(!said.contains("panicked") && said.len() < 2_000, "{}: {said}", path.display());
        (path.file_name().expect("a name").to_str().expect("text").to_owned(), (code == Some(0), said))
    };
    // Run on two threads, because starting a process takes longer than verifying.
    let halves: Vec<_> = files.chunks(files.len().div_ceil(2)).collect();
    std::thread::scope(|scope| {
        let halves: Vec<_> =
            halves.iter().map(|half| scope.spawn(move || half.iter().map(one).collect::<Vec<_>>())).collect();
        halves.into_iter().flat_map(|half| half.join().expect("verified")).collect()
    })
}

/// Checks that both verifiers refuse every tampered variant of an honest chain.
fn every_tampering_shows(honest: &Path) {
    let stage = Stage::new();
    let dir = stage.path().join("tampered");
    let Some(_) = python("tamper.py", &[honest, &dir]) else { return };
    let Some(python) = by_python(&dir) else { return };
    let theater = by_theater(&dir);
    assert!(theater.len() > 100, "{} variants", theater.len());
    let unseen = |said: &BTreeMap<String, (bool, String)>| -> Vec<String> {
        said.iter().filter(|(_, (verifies, _))| *verifies).map(|(name, _)| name.clone()).collect()
    };
    let (by_theater, by_python) = (unseen(&theater), unseen(&python));
    assert!(
        by_theater.is_empty() && by_python.is_empty(),
        "accepted by theater: {by_theater:?}; by Python: {by_python:?}"
    );
    assert!(theater.keys().eq(python.keys()), "both looked at the same files");
}

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

#[test]
fn both_verifiers_accept_the_honest_vectors() {
    let dir = vector("");
    let theater = by_theater(&dir);
    assert!(theater.len() >= 7 && theater.values().all(|(verifies, _)| *verifies), "{theater:?}");
    if let Some(python) = by_python(&dir) {
        assert!(python.keys().eq(theater.keys()) && python.values().all(|(verifies, _)| *verifies), "{python:?}");
    }
}

#[test]
fn every_tampering_with_the_shortest_chain_shows() {
    every_tampering_shows(&vector("one.chain"));
}

#[test]
fn every_tampering_with_a_chain_without_attachments_shows() {
    every_tampering_shows(&vector("bare.chain"));
}

#[test]
fn every_tampering_with_a_chain_with_attachments_shows() {
    every_tampering_shows(&vector("counter.chain"));
}

#[test]
fn every_tampering_with_a_chain_of_version_3_shows() {
    every_tampering_shows(&vector("salted.chain"));
}

#[test]
fn every_tampering_with_a_chain_that_began_as_version_1_and_went_on_as_version_3_shows() {
    every_tampering_shows(&vector("mixed.chain"));
}

#[test]
fn both_verifiers_refuse_a_chain_without_some_of_its_data_wherever_a_byte_is_changed_or_the_end_is_cut_off() {
    let stage = Stage::new();
    let honest = std::fs::read(vector("dropped.chain")).expect("a chain");
    let dir = stage.path().join("changed");
    std::fs::create_dir(&dir).expect("a directory");
    let write = |name: String, bytes: &[u8]| std::fs::write(dir.join(name), bytes).expect("a file");
    for at in (0..honest.len()).step_by(3) {
        let mut changed = honest.clone();
        changed[at] ^= 1 << (at % 8);
        write(format!("{at}-flipped.chain"), &changed);
        write(format!("{at}-cut.chain"), &honest[..at]);
    }
    for entry in std::fs::read_dir(&dir).expect("a directory") {
        let changed = std::fs::read(entry.expect("a file").path()).expect("a file");
        let verified = theater::UnverifiedChain::read(&changed[..]).and_then(theater::UnverifiedChain::verify);
        assert!(verified.is_err(), "{}", text(&changed));
    }
    for (name, (verifies, said)) in by_python(&dir).into_iter().flatten() {
        assert!(!verifies, "{name}: {said}");
    }
}

/// A chain of two incarnations with a large state, a refusal and a failure, as the runtime exports it.
fn exported(more: &[&str]) -> (Stage, PathBuf) {
    let stage = Stage::new();
    let manifest = stage.http_manifest("probe", "probe", "");
    let running = stage.run(&[&manifest]);
    let mut http = Http::connect(running.http("probe"));
    for command in
        [json!("count"), json!({ "op": "refuse", "message": "no" }), json!({ "op": "state-bytes", "n": 5000 })]
    {
        http.op(&command);
    }
    running.kill();
    let running = stage.run(&[&manifest]);
    Http::connect(running.http("probe")).op(&json!("count"));
    Http::connect(running.http("probe")).op(&json!("trap"));
    running.until("probe", "failed");
    let file = stage.path().join("probe.chain");
    running.say(&[&["export", "probe", "-o", file.to_str().expect("a path")], more].concat());
    (stage, file)
}

#[test]
fn every_tampering_with_an_exported_chain_shows() {
    let (_stage, chain) = exported(&["--no-component"]);
    verify(&chain).expect("it is honest");
    every_tampering_shows(&chain);
}

#[test]
fn both_verifiers_accept_an_exported_chain_and_it_replays() {
    let (stage, chain) = exported(&[]);
    verifies_and_replays(&chain);
    if let Some(python) = by_python(stage.path()) {
        assert!(python["probe.chain"].0, "{}", python["probe.chain"].1);
    }
}

#[test]
fn no_byte_of_a_chain_can_be_changed() {
    for name in ["one.chain", "bare.chain", "dropped.chain"] {
        let honest = std::fs::read(vector(name)).expect("a chain");
        // A state that no event names any more is reported, and proves nothing: its bytes may be any.
        let unvouched: &[u8] = b"{\"state\":9,\"data\":\"";
        let from = honest.windows(unvouched.len()).position(|here| here == unvouched).map(|at| at + unvouched.len());
        let is_proved = |at: &usize| from.is_none_or(|from| !(from..from + 4).contains(at));
        for at in (0..honest.len()).filter(is_proved) {
            for bit in [0, 5] {
                let mut changed = honest.clone();
                changed[at] ^= 1 << bit;
                let verified = theater::UnverifiedChain::read(&changed[..]).and_then(theater::UnverifiedChain::verify);
                assert!(verified.is_err(), "{name}: bit {bit} of byte {at} can be flipped");
            }
        }
        for cut in 0..honest.len() {
            let verified = theater::UnverifiedChain::read(&honest[..cut]).and_then(theater::UnverifiedChain::verify);
            assert!(verified.is_err(), "{name}: it can be cut at {cut}");
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_the_event() {
    let stage = Stage::new();
    let honest = std::fs::read_to_string(vector("bare.chain")).expect("a chain");
    let lines: Vec<&str> = honest.lines().collect();
    let first = lines.iter().position(|line| line.starts_with("{\"sequence\":0,")).expect("an event");
    let said = |name: &str, lines: &[&str]| {
        let file = stage.file(&format!("{name}.chain"), format!("{}\n", lines.join("\n")));
        verify(&file).expect_err(name)
    };
    let mut dropped = lines.clone();
    dropped.remove(first + 2);
    let why = said("dropped", &dropped);
    assert!(why.contains("event 2") || why.contains("event 3"), "{why}");
    let mut doubled = lines.clone();
    doubled.insert(first + 2, lines[first + 2]);
    let why = said("doubled", &doubled);
    assert!(why.contains("event 2") || why.contains("event 3"), "{why}");
    let mut swapped = lines.clone();
    swapped.swap(first + 1, first + 2);
    let why = said("swapped", &swapped);
    assert!(why.contains("event 1") || why.contains("event 2"), "{why}");
    for (key, from, to) in [("timestamp", "}", "0}"), ("event_type", "\"event_type\":\"", "\"event_type\":\"x")] {
        let altered = lines[first + 1].replacen(from, to, 1);
        let mut changed = lines.clone();
        changed[first + 1] = &altered;
        let why = said(key, &changed);
        assert!(why.contains("event 1"), "{key}: {why}");
    }
    let cut = stage.file("cut.chain", &honest[..honest.len() - 20]);
    let why = verify(&cut).expect_err("it is cut");
    assert!(why.contains("truncated"), "{why}");
    let why = verify(Path::new("/nowhere.chain")).expect_err("it is not there");
    assert!(why.contains("/nowhere.chain"), "{why}");
}

/// The counter's chain: two increments, and a message.
fn counted() -> (Stage, PathBuf) {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    let mut http = Http::connect(running.http("counter"));
    http.ask("GET", "/", None);
    http.ask("POST", "/increment", None);
    http.ask("POST", "/increment", None);
    running.request("counter", &json!({ "add": 3 })).expect("an answer");
    let chain = running.export(&stage, "counter");
    (stage, chain)
}

fn diverged(why: &str) -> Value {
    let line = why.lines().next().expect("a line");
    serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {why}"))["diverged"].clone()
}

#[test]
fn replay_with_another_component_names_the_first_difference() {
    let (_stage, chain) = counted();
    let variant = component("variant");
    let why = replay(&chain, &["--component", variant.to_str().expect("a path")]).expect_err("it counts wrong");
    let at = diverged(&why);
    // Both builds agree on events 3 and 4, the GET; event 5 is the call of the first increment.
    assert_eq!(at["sequence"], 6, "{why}");
    assert!(at["field"].as_str().is_some_and(|field| field.starts_with("data.")), "{why}");
    let shown = format!("{}{}", at["recorded"], at["actual"]);
    assert!(shown.contains('1') && shown.contains('2'), "{why}");
    assert!(why.contains("event 6: data."), "for people, too: {why}");
    let probe = component("probe");
    let why = replay(&chain, &["--component", probe.to_str().expect("a path")]).expect_err("it is no counter");
    assert!(diverged(&why)["sequence"].is_u64(), "{why}");
}

#[test]
fn replay_with_a_component_that_cannot_is_an_error_that_says_so() {
    let (stage, chain) = counted();
    let empty = stage.wat("empty", "(component)");
    let garbage = stage.file("garbage.wasm", "garbage");
    for (component, expected) in [
        (empty, "does not export"),
        (garbage, "not a WebAssembly component"),
        (stage.path().join("nowhere.wasm"), "nowhere.wasm"),
    ] {
        let why = replay(&chain, &["--component", component.to_str().expect("a path")]).expect_err("it cannot");
        assert!(why.contains(expected), "{why}");
    }
}

#[test]
fn a_chain_without_its_component_replays_with_it_given() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    Http::connect(running.http("counter")).ask("POST", "/increment", None);
    let chain = stage.path().join("bare.chain");
    running.say(&["export", "counter", "--no-component", "-o", chain.to_str().expect("a path")]);
    let why = replay(&chain, &[]).expect_err("the component is missing");
    assert!(why.contains("--component"), "{why}");
    let counter = component("counter");
    let replayed = replay(&chain, &["--component", counter.to_str().expect("a path")]).expect("it replays");
    assert_eq!(replayed["head"], verify(&chain).expect("it verifies")["head"]);
}

#[test]
fn replay_until_an_event_shows_the_state_there() {
    let (_stage, chain) = counted();
    for (until, count) in
        [(2, json!(0)), (4, json!(0)), (5, json!(0)), (6, json!(1)), (8, json!(2)), (10, json!(5)), (999, json!(5))]
    {
        let replayed = replay(&chain, &["--until", &until.to_string()]).expect("it replays");
        assert_eq!(replayed["state"], json!({ "count": count }), "at event {until}");
    }
    assert_eq!(replay(&chain, &["--until", "0"]).expect("it replays")["state"], Value::Null);
}

#[test]
fn a_consistently_forged_answer_shows_in_replay() {
    // A forger who computes all hashes again gets a chain that verifies. But replay computes what the guest really
    // does.
    let (stage, chain) = counted();
    let forged = stage.path().join("forged.chain");
    let script = stage.file(
        "forge.py",
        format!(
            "import sys, pathlib\nsys.dont_write_bytecode = True\nsys.path.insert(0, {:?})\nfrom tamper import Chain\n\
             chain = Chain(pathlib.Path(sys.argv[1]).read_bytes())\nevent = chain.events[6]\n\
             assert b'{{\"count\":1}}' in event['data']\n\
             event['data'] = event['data'].replace(b'{{\"count\":1}}', b'{{\"count\":7}}')\nchain.seal(6)\n\
             pathlib.Path(sys.argv[2]).write_bytes(chain.render())\n",
            vector("").to_str().expect("a path")
        ),
    );
    match Command::new("python3").args([&script, &chain, &forged]).output() {
        Ok(output) => assert!(output.status.success(), "{}", text(&output.stderr)),
        Err(_) => return support::skipped("the verifier written from the document", "there is no python3"),
    }
    verify(&forged).expect("its hashes are consistent");
    let at = diverged(&replay(&forged, &[]).expect_err("no counter says so"));
    assert_eq!(at["sequence"], 6, "{at}");
}

/// The largest memory use of `theater ARGS…` in KiB, and its output; `None` without Python.
fn measured(args: &[&str]) -> Option<(u64, String)> {
    let script = "import resource, subprocess, sys\n\
                  done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n\
                  sys.stderr.write(done.stderr)\n\
                  print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.returncode, done.stdout)";
    let output = Command::new("python3").args(["-c", script, support::THEATER]).args(args).output().ok()?;
    let said = text(&output.stdout);
    let mut words = said.splitn(3, ' ');
    let peak = words.next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{}", text(&output.stderr)));
    assert_eq!(words.next(), Some("0"), "{}", text(&output.stderr));
    Some((peak, words.next().unwrap_or_default().to_owned()))
}

#[test]
fn a_long_chain_is_verified_and_replayed_in_the_memory_that_a_short_one_takes() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    let long = json!({ "op": "reply-bytes", "n": 1_000_000 });
    running.request("probe", &long).expect("an answer");
    let short = running.export(&stage, "probe");
    let short = {
        let to = stage.path().join("short.chain");
        std::fs::rename(&short, &to).expect("renamed");
        to
    };
    (0..40).for_each(|_| _ = running.request("probe", &long).expect("an answer"));
    let long = running.export(&stage, "probe");
    running.shut_down();
    assert!(std::fs::metadata(&long).expect("a file").len() > 50_000_000);
    for command in ["verify", "replay"] {
        let Some((least, _)) = measured(&[command, short.to_str().expect("a path")]) else { return };
        let Some((peak, said)) = measured(&[command, long.to_str().expect("a path")]) else { return };
        println!("{command}: {least} KiB, {peak} KiB");
        assert!(peak < least + 32 * 1024, "{command}: {peak} KiB, where a short chain takes {least}: {said}");
    }
}

/// Writes honest and forged variants of the golden chain in which a given-up transition has used a number.
const GAPS: &str = r#"
import base64, hashlib, pathlib, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[3])
from tamper import Chain, cbor, read_pairs, write_pairs
raw, out = pathlib.Path(sys.argv[1]).read_bytes(), pathlib.Path(sys.argv[2])

def put(event, key, value):
    event["data"] = write_pairs([(k, cbor(value) if k == cbor(key) else v) for k, v in read_pairs(event["data"])])

def insert(chain, at, like):
    chain.events.insert(at, dict(chain.events[like]))
    for sequence, event in enumerate(chain.events):
        event["sequence"] = sequence

def write(name, change):
    chain = Chain(raw)
    change(chain)
    chain.seal()
    (out / f"{name}.chain").write_bytes(chain.render())

number = lambda at, to: lambda chain: put(chain.events[at], "incarnation", to)
write("honest-gap", lambda chain: None)
write("honest-no-gap", number(5, 4))
write("honest-stopped-between", lambda chain: insert(chain, 5, 7))
write("wrong-two-are-missing", number(5, 6))
write("wrong-the-same-again", number(5, 3))
write("wrong-backwards", number(5, 2))
write("wrong-first-is-two", number(0, 2))
write("wrong-gap-with-nothing-given-up", number(3, 4))
write("wrong-a-trap", lambda chain: put(chain.events[4], "reason", "trap"))
write("wrong-not-resumed", lambda chain: put(chain.events[3], "resumes", False))
write("wrong-a-call-between", lambda chain: insert(chain, 5, 6))
write("wrong-a-call-before", lambda chain: insert(chain, 4, 6))
write("wrong-stopped-before", lambda chain: insert(chain, 4, 7))
write("wrong-no-failure", lambda chain: chain.events[4].update(event_type="stopped", data=chain.events[7]["data"]))
write("wrong-failed-with-another-key",
      lambda chain: chain.events[4].update(data=write_pairs(read_pairs(chain.events[4]["data"]) + [(cbor("further"), cbor(1))])))
write("wrong-failed-of-no-map", lambda chain: chain.events[4].update(data=cbor("interrupted")))
write("wrong-failed-of-no-cbor", lambda chain: chain.events[4].update(data=b"\xff"))

def dropped(name, source):
    text = (out / f"{source}.chain").read_text()
    data = base64.b64decode(next(line for line in text.split("\n") if line.startswith('{"sequence":4,')).split('"data":"')[1].split('"')[0])
    there, gone = f'"data":"{base64.b64encode(data).decode()}"', f'"data_length":{len(data)},"data_sha1":"{hashlib.sha1(data).hexdigest()}"'
    assert text.count(there) == 1
    (out / f"{name}.chain").write_text(text.replace(there, gone).replace('"version":1', '"version":2'))

dropped("honest-failed-was-dropped", "honest-gap")
dropped("wrong-failed-was-dropped-and-two-are-missing", "wrong-two-are-missing")
"#;

#[test]
fn a_number_that_a_given_up_transition_used_up_is_accepted_by_every_verifier_and_no_other_gap_is() {
    let stage = Stage::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/given-up.chain");
    let (script, out) = (stage.file("gaps.py", GAPS), stage.path().join("gaps"));
    std::fs::create_dir(&out).expect("a directory");
    match Command::new("python3").arg(script).args([&golden, &out, &vector("")]).output() {
        Ok(output) => assert!(output.status.success(), "{}", text(&output.stderr)),
        Err(_) => return println!("skipped: there is no python3"),
    }
    let (theater, python) = (by_theater(&out), by_python(&out).expect("there is python3"));
    assert_eq!((theater.len(), python.len()), (19, 19));
    for (name, (verifies, said)) in theater.iter().chain(&python) {
        assert_eq!(*verifies, name.starts_with("honest-"), "{name}: {said}");
        assert!(*verifies || said.contains("incarnation"), "{name}: {said}");
    }
    for name in ["honest-gap", "honest-no-gap", "honest-stopped-between"] {
        verifies_and_replays(&out.join(format!("{name}.chain")));
    }
    let why = replay(&out.join("wrong-two-are-missing.chain"), &[]).expect_err("it lacks two");
    assert!(why.contains("event 5: it is incarnation 6, but 4 is the next"), "{why}");
}
