//! Proofs, checkpoints and witnesses with the real binary: what a stranger with a public key can tell, and what an operator with all
//! rights cannot do unseen. Go's own implementation of the formats, and a client in Python, check what Theater writes.

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::{Http, Stage, THEATER, Theater, copy_journal, eventually, text, theater};

const ORIGIN: &str = "example.com/bank";

/// A stage whose runtime signs, with an actor that counts.
struct Signing {
    stage: Stage,
    counter: PathBuf,
    public: String,
}

impl Signing {
    fn new() -> Self {
        Self::with("")
    }

    /// With more lines in `[proofs]`.
    fn with(more: &str) -> Self {
        let stage = Stage::new();
        let public = new_key(&stage.path().join("bank.key"), ORIGIN, false);
        stage.file("theater.toml", format!("[proofs]\nkey_file = \"bank.key\"\n{more}"));
        let counter = stage.http_manifest("counter", "counter", "");
        Self { stage, counter, public }
    }

    fn run(&self) -> Theater {
        self.stage.run(&[&self.counter])
    }

    /// Runs on another data directory and without a key, as somebody does who forges.
    fn forge(&self, dir: &Path, increments: u64) {
        let forger = Stage::new();
        let runtime =
            forger.command(&[&self.counter], &[]).arg("--data-dir").arg(dir).launch(&forger).expect("it starts");
        count(&runtime, increments);
        runtime.shut_down();
    }

    /// A copy of the data directory, without what was signed.
    fn copy(&self, name: &str) -> PathBuf {
        let copy = self.stage.path().join(name);
        std::fs::create_dir(&copy).expect("a directory");
        copy_journal(&self.stage.data_dir(), &copy);
        std::fs::remove_dir_all(copy.join("proofs")).expect("it was signed");
        copy
    }

    /// The newest checkpoint, as somebody keeps it elsewhere.
    fn checkpoint(&self, name: &str) -> PathBuf {
        let kept = self.stage.path().join(name);
        std::fs::copy(self.shelf().join("checkpoint"), &kept).expect("a checkpoint");
        kept
    }

    fn shelf(&self) -> PathBuf {
        self.stage.data_dir().join("proofs")
    }

    fn since(&self, dir: &Path, checkpoint: &Path) -> Result<String, String> {
        said(&["verify", "--journal", path(dir), "--since", path(checkpoint), "--key", &self.public])
    }

    fn verify(&self, proof: &Path, more: &[&str]) -> Result<Value, String> {
        let said = said(&[&["verify", "--proof", path(proof), "--key", &self.public, "--json"], more].concat())?;
        Ok(serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}")))
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path")
}

/// What a command prints, or why it refuses.
fn said(args: &[&str]) -> Result<String, String> {
    let output = theater(args, None);
    let printed = text(&output.stdout) + &text(&output.stderr);
    if output.status.success() { Ok(printed.trim_end().to_owned()) } else { Err(printed) }
}

/// Makes a key; returns the public one.
fn new_key(file: &Path, name: &str, witness: bool) -> String {
    let more: &[&str] = if witness { &["--witness"] } else { &[] };
    said(&[&["key", "new", path(file), "--name", name], more].concat()).expect("a key")
}

fn count(runtime: &Theater, increments: u64) {
    let mut http = Http::connect(runtime.http("counter"));
    for _ in 0..increments {
        assert_eq!(http.ask("POST", "/increment", None).status, 200);
    }
}

/// The size in a checkpoint.
fn size(checkpoint: &Path) -> u64 {
    let note = std::fs::read_to_string(checkpoint).expect("a checkpoint");
    note.lines().nth(1).expect("a size").parse().expect("a number")
}

#[test]
fn an_event_is_proved_by_a_runtime_and_from_its_directory_also_after_its_data_was_redacted() {
    let signing = Signing::new();
    let running = signing.run();
    count(&running, 200);
    let [live, dead, redacted] = ["live", "dead", "redacted"].map(|name| signing.stage.path().join(name));
    running.say(&["prove", "counter", "--event", "7", "-o", path(&live)]);
    let proven = signing.verify(&live, &["--origin", ORIGIN]).expect("it holds");
    let event = running.events("counter").into_iter().find(|event| event["sequence"] == 7).expect("event 7");
    assert_eq!((&proven["hash"], &proven["has_data"], &proven["index"]), (&event["hash"], &true.into(), &7.into()));
    assert_eq!(proven["actor"], *running.id("counter"));
    running.say(&["redact", "counter", "--event", "7"]);
    running.say(&["prove", "counter", "--event", "7", "-o", path(&redacted)]);
    running.shut_down();

    let dir = signing.stage.data_dir();
    said(&["prove", "counter", "--event", "7", "--data-dir", path(&dir), "-o", path(&dead)]).expect("a proof");
    for proof in [redacted, dead] {
        let bare = signing.verify(&proof, &[]).expect("it holds");
        assert_eq!((&bare["hash"], &bare["has_data"]), (&event["hash"], &false.into()));
    }
    signing.verify(&live, &[]).expect("a proof from before holds for ever");
    let since = signing.since(&dir, &signing.checkpoint("kept")).expect("it goes on");
    assert!(since.contains("goes on from the checkpoint of example.com/bank over"), "{since}");
    let missing = said(&["prove", "counter", "--event", "7000", "--data-dir", path(&dir)]).expect_err("no event");
    assert!(missing.contains("event 7000 is not on the chain"), "{missing}");
}

#[test]
fn one_proof_covers_the_whole_chain_before_its_event() {
    let signing = Signing::new();
    let running = signing.run();
    count(&running, 20);
    let proof = signing.stage.path().join("proof");
    running.say(&["prove", "counter", "-o", path(&proof)]);
    let newest = signing.verify(&proof, &[]).expect("it holds")["sequence"].as_u64().expect("a number");
    assert_eq!(newest, 42, "two events for each request, behind the start");
    count(&running, 3);
    let chain = running.export(&signing.stage, "counter");
    let covered = signing.verify(&proof, &[path(&chain)]).expect("it holds");
    assert_eq!(covered["chain_events"], 49);
    let other = signing.stage.http_manifest("other", "counter", "");
    running.start(&other).expect("it starts");
    let stranger = running.export(&signing.stage, "other");
    let refused = signing.verify(&proof, &[path(&stranger)]).expect_err("another chain");
    assert!(refused.contains("it is the chain of actor"), "{refused}");

    // Another history of the same actor, in which every hash is right.
    running.say(&["prove", "counter", "-o", path(&proof)]);
    let forged = signing.copy("forged");
    count(&running, 1);
    running.say(&["prove", "counter", "-o", path(&proof)]);
    running.shut_down();
    signing.forge(&forged, 5);
    let chain = signing.stage.path().join("forged.chain");
    said(&["export", "counter", "--data-dir", path(&forged), "-o", path(&chain)]).expect("it is whole");
    let refused = signing.verify(&proof, &[path(&chain)]).expect_err("another history");
    assert!(refused.contains("is not the one that was signed"), "{refused}");
}

#[test]
fn a_proof_of_another_key_or_origin_or_for_another_key_is_refused() {
    let signing = Signing::new();
    let running = signing.run();
    let proof = signing.stage.path().join("proof");
    running.say(&["prove", "counter", "--event", "0", "-o", path(&proof)]);
    running.shut_down();
    let other = new_key(&signing.stage.path().join("other.key"), ORIGIN, false);
    let refused = said(&["verify", "--proof", path(&proof), "--key", &other]).expect_err("another key");
    assert!(refused.contains("example.com/bank has not signed it"), "{refused}");
    let refused = signing.verify(&proof, &["--origin", "example.com/other"]).expect_err("another origin");
    assert!(refused.contains("\"example.com/other\" was asked for"), "{refused}");
    let checkpoint = signing.checkpoint("kept");
    let dir = signing.stage.data_dir();
    let refused = said(&["verify", "--journal", path(&dir), "--since", path(&checkpoint), "--key", &other]);
    assert!(refused.expect_err("another key").contains("has not signed it"));

    signing.stage.file("theater.toml", "[proofs]\nkey_file = \"other.key\"\n");
    let refused = signing.stage.run_with(&[&signing.counter], &[]).err().expect("another key");
    assert!(refused.contains("has not signed it. Name the key that has signed it"), "{refused}");
    signing.stage.file("theater.toml", "[proofs]\nkey_file = \"bank.key\"\norigin = \"example.com/moved\"\n");
    signing.stage.run_with(&[&signing.counter], &[]).err().expect("another origin");
    let log = signing.stage.log();
    assert!(log.contains("the origin of this one is \"example.com/moved\""), "{log}");
}

#[test]
fn a_directory_that_was_put_back_is_told_from_the_honest_one_and_a_start_refuses_it() {
    let signing = Signing::new();
    let running = signing.run();
    count(&running, 5);
    running.say(&["prove", "counter", "--event", "0", "-o", "-"]);
    let older = signing.copy("older");
    let first = signing.checkpoint("first");
    count(&running, 300);
    running.shut_down();
    let newest = signing.checkpoint("newest");
    let dir = signing.stage.data_dir();
    for checkpoint in [&first, &newest] {
        signing.since(&dir, checkpoint).expect("the honest one goes on from both");
    }
    signing.since(&older, &first).expect("it was honest then");
    let rolled = signing.since(&older, &newest).expect_err("it lacks events");
    assert!(rolled.contains("the journal was rolled back") && rolled.contains("1 thing is wrong"), "{rolled}");

    // Somebody who puts the journal back and leaves what was signed.
    let kept = signing.stage.path().join("kept");
    std::fs::rename(signing.shelf(), &kept).expect("moved");
    std::fs::remove_dir_all(&dir).expect("removed");
    std::fs::rename(&older, &dir).expect("put back");
    std::fs::rename(&kept, signing.shelf()).expect("moved");
    signing.stage.run_with(&[&signing.counter], &[]).err().expect("a rollback");
    let log = signing.stage.log();
    assert!(log.contains("theater: the journal was rolled back: it has"), "{log}");
    let wrong = said(&["verify", "--journal", path(&dir)]).expect_err("it is wrong without a key, too");
    assert!(wrong.contains("rolled back"), "{wrong}");
}

#[test]
fn histories_that_were_computed_anew_with_all_their_hashes_are_named_by_where_they_part() {
    let signing = Signing::new();
    let running = signing.run();
    count(&running, 5);
    running.say(&["prove", "counter", "--event", "0", "-o", "-"]);
    let parting = size(&signing.shelf().join("checkpoint")) + 1;
    let forged = ["short", "long"].map(|name| signing.copy(name));
    count(&running, 300);
    running.shut_down();
    let newest = signing.checkpoint("newest");
    let [short, long] = &forged;
    signing.forge(short, 3);
    signing.forge(long, 700);
    for dir in &forged {
        let honest = said(&["verify", "--journal", path(dir)]).expect("every hash in it is right");
        assert!(honest.starts_with("verified: 1 actors"), "{honest}");
        let unsigned =
            said(&["verify", "--journal", path(dir), "--key", &signing.public]).expect_err("nothing is signed");
        assert!(unsigned.contains("it has no checkpoint that the key could have signed"), "{unsigned}");
        // With the tiles beside it, the place is known.
        std::fs::create_dir(dir.join("proofs")).expect("a directory");
        copy_journal(&signing.shelf(), &dir.join("proofs"));
    }
    let tail = signing.since(short, &newest).expect_err("the tail is another");
    assert!(
        tail.contains("the tail was cut off and rewritten") && tail.contains(&format!("from position {parting} on")),
        "{tail}"
    );
    let forked = signing.since(long, &newest).expect_err("it is another history");
    assert!(forked.contains(&format!("the history was forked: from position {parting} on")), "{forked}");
    std::fs::remove_dir_all(long.join("proofs/tile")).expect("removed");
    let somewhere = signing.since(long, &newest).expect_err("it is another history");
    assert!(somewhere.contains("the history was rewritten: its first"), "{somewhere}");

    // A start on each of them, with what was signed, refuses.
    for (dir, why) in [(short, "the journal was rolled back"), (long, "the history was rewritten")] {
        let started = signing.stage.command(&[&signing.counter], &[]).arg("--data-dir").arg(dir).launch(&signing.stage);
        started.err().expect("a forged history");
        let log = signing.stage.log();
        assert!(log.lines().last().expect("a line").contains(why), "{log}");
    }
}

#[test]
fn a_component_that_was_replaced_is_found() {
    let signing = Signing::new();
    let running = signing.run();
    running.shut_down();
    let dir = signing.stage.data_dir();
    let component =
        std::fs::read_dir(dir.join("components")).expect("components").next().expect("one").expect("an entry");
    let mut bytes = std::fs::read(component.path()).expect("a component");
    bytes.push(0);
    std::fs::write(component.path(), bytes).expect("replaced");
    let wrong = signing.since(&dir, &signing.checkpoint("kept")).expect_err("it is another");
    assert!(wrong.contains("component"), "{wrong}");
}

#[test]
fn a_tree_goes_on_across_kills_and_is_made_anew_where_its_tiles_are_torn() {
    let signing = Signing::new();
    let mut kept = Vec::new();
    for round in 0..4 {
        let running = signing.run();
        count(&running, 150);
        running.say(&["prove", "counter", "--event", "0", "-o", "-"]);
        kept.push(signing.checkpoint(&format!("kept-{round}")));
        count(&running, 20);
        running.kill();
        match round {
            // As a power loss leaves files that were not synced.
            1 => {
                std::fs::write(signing.shelf().join("tile/0/000"), [0; 100]).expect("torn");
                std::fs::write(signing.shelf().join("state"), "boot another\n").expect("a state");
            }
            2 => std::fs::remove_dir_all(signing.shelf().join("tile")).expect("removed"),
            _ => {}
        }
    }
    let running = signing.run();
    let proof = signing.stage.path().join("proof");
    running.say(&["prove", "counter", "--event", "30", "-o", path(&proof)]);
    signing.verify(&proof, &[]).expect("it holds");
    running.shut_down();
    let dir = signing.stage.data_dir();
    for checkpoint in &kept {
        signing.since(&dir, checkpoint).expect("each checkpoint is one of the same tree");
    }
    assert!(signing.stage.log().contains("the tree of the proofs is made anew"), "{}", signing.stage.log());
    let kept: Vec<&str> = kept.iter().map(|checkpoint| path(checkpoint)).collect();
    let proof_file = signing.stage.path().join("event.tlog-proof");
    std::fs::rename(proof, &proof_file).expect("renamed");
    check_by_go(&signing, &[&kept[..], &[path(&proof_file)]].concat());
}

#[test]
fn tiles_that_were_damaged_are_made_anew_and_the_journal_is_not_accused() {
    let signing = Signing::new();
    let running = signing.run();
    count(&running, 300);
    running.say(&["prove", "counter", "--event", "0", "-o", "-"]);
    running.shut_down();
    let flip = |tile: &str, from_the_end: usize| {
        let file = signing.shelf().join("tile").join(tile);
        let mut bytes = std::fs::read(&file).expect("a tile");
        let at = bytes.len() - from_the_end;
        bytes[at] ^= 1;
        std::fs::write(&file, bytes).expect("written");
    };
    // The last whole tile is compared with the log at a start.
    flip("0/001", 1);
    let running = signing.run();
    running.say(&["prove", "counter", "--event", "300", "-o", "-"]);
    assert!(signing.stage.log().contains("tiles of the proofs are damaged"), "{}", signing.stage.log());
    // An older one is met by who wants a proof from it.
    flip("0/000", 256 * 32);
    let refused = running.refused(&["prove", "counter", "--event", "1", "-o", "-"]);
    assert!(refused.contains("made anew at the next start"), "{refused}");
    running.shut_down();
    let running = signing.run();
    running.say(&["prove", "counter", "--event", "1", "-o", "-"]);
}

/// Has Go's own implementation of the formats check what lies in the directory.
fn check_by_go(signing: &Signing, more: &[&str]) {
    const GOCODE: &str = "/usr/share/gocode";
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/go/check_log.go");
    if !Path::new(GOCODE).join("src/golang.org/x/mod/sumdb/tlog").is_dir()
        || Command::new("go").arg("version").output().is_err()
    {
        support::skipped(
            "Go's own implementation of the formats",
            "golang-go or golang-golang-x-mod-dev is not installed",
        );
        return;
    }
    let mut go = Command::new("go");
    go.arg("run").arg(script).args([path(&signing.shelf()), &signing.public]).args(more);
    let cache = signing.stage.path().join("go-cache");
    let output = go.env("GO111MODULE", "off").env("GOPATH", GOCODE).env("GOCACHE", cache).output().expect("go");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let checked = format!("checked: {} events\n", size(&signing.shelf().join("checkpoint")));
    assert_eq!(text(&output.stdout), checked);
}

#[test]
fn a_key_lies_in_a_file_of_its_owner_or_comes_from_a_descriptor_or_a_command() {
    use std::os::unix::fs::PermissionsExt;
    let signing = Signing::new();
    let key = signing.stage.path().join("bank.key");
    assert_eq!(std::fs::metadata(&key).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(said(&["key", "show", path(&key)]), Ok(signing.public.clone()));
    let again = said(&["key", "new", path(&key), "--name", ORIGIN]).expect_err("it is there");
    assert!(again.contains("File exists"), "{again}");
    let secret = std::fs::read_to_string(&key).expect("a key");

    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o640)).expect("a mode");
    let refused = said(&["key", "show", path(&key)]).expect_err("others can open it");
    assert!(refused.contains("the file has mode 0640") && !refused.contains(secret.trim()), "{refused}");
    signing.stage.run_with(&[&signing.counter], &[]).err().expect("others can open it");

    let signs = |runtime: &Theater| {
        let line = format!("proofs      {ORIGIN} {}", signing.public);
        assert!(runtime.said().contains(&line), "{:?}", runtime.said());
    };
    let keys = "[proofs]\nkey_secret = \"bank\"\n[secrets]\nbank = { command = [\"cat\", \"bank.key\"] }\n";
    signing.stage.file("theater.toml", keys);
    let running = signing.run();
    signs(&running);
    running.shut_down();

    signing.stage.file("theater.toml", "[proofs]\nkey_fd = 0\n");
    assert!(signing.stage.run_with(&[&signing.counter], &[]).is_err(), "descriptors of the process itself hold no key");
    signing.stage.file("theater.toml", "[proofs]\nkey_fd = 5\n");
    let shell = format!("exec 5<{}; exec \"$0\" \"$@\"", path(&key));
    let running = signing.stage.command(&[&signing.counter], &[]).arg("--data-dir").arg(signing.stage.data_dir());
    let running = running.through("sh", &["-c", &shell], Stdio::inherit()).launch(&signing.stage).expect("it starts");
    signs(&running);
    running.shut_down();

    signing.stage.file("theater.toml", "[proofs]\norigin = \"example.com/x\"\n");
    signing.stage.run_with(&[&signing.counter], &[]).err().expect("no key");
    assert!(signing.stage.log().contains("there is no key to sign with"), "{}", signing.stage.log());
}

/// A witness; it is ended when this is dropped.
struct Witness {
    process: Child,
    url: String,
    public: String,
}

impl Drop for Witness {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Witness {
    fn start(stage: &Stage, name: &str, listen: &str) -> Self {
        let key = stage.path().join(format!("{name}.key"));
        if !key.exists() {
            new_key(&key, &format!("{name}.example"), true);
        }
        let (logs, dir) = (stage.path().join("logs"), stage.path().join(name));
        let mut process = Command::new(THEATER)
            .args([
                "witness",
                "--json",
                "--listen",
                listen,
                "--key-file",
                path(&key),
                "--logs",
                path(&logs),
                "--dir",
                path(&dir),
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("theater");
        let mut line = String::new();
        let mut said = BufReader::new(process.stdout.take().expect("its output"));
        said.read_line(&mut line).expect("a line");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |key: &str| said[key].as_str().expect("a text").to_owned();
        Self { process, url: text("url"), public: text("public") }
    }

    fn line(&self) -> String {
        format!("witness {} {}\n", self.public, self.url)
    }

    fn address(&self) -> std::net::SocketAddr {
        self.url.strip_prefix("http://").expect("a URL").parse().expect("an address")
    }
}

#[test]
fn witnesses_cosign_one_history_and_a_proof_demands_their_cosignatures() {
    let signing = Signing::with("witnesses = \"witnesses\"\nquorum = 2\n");
    let stage = &signing.stage;
    stage.file("logs", format!("log {}\n", signing.public));
    let [first, second] = ["first", "second"].map(|name| Witness::start(stage, name, "127.0.0.1:0"));
    // A third one is never reached.
    let third = new_key(&stage.path().join("third.key"), "third.example", true);
    let unreachable = format!("witness {third} http://127.0.0.1:1\n");
    let witnesses = stage.file("witnesses", format!("{}{}{unreachable}", first.line(), second.line()));
    let running = signing.run();
    count(&running, 10);
    let proof = stage.path().join("proof");
    let prove =
        || running.cli(&["prove", "counter", "--event", "5", "-o", path(&proof)]).status.success().then_some(());
    eventually("two of three have cosigned", prove);
    let demand = |k: &str| signing.verify(&proof, &["--witnesses", path(&witnesses), "-k", k]);
    let proven = demand("2").expect("two have cosigned");
    let names: Vec<&str> =
        proven["witnesses"].as_array().expect("a list").iter().map(|it| it["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["first.example", "second.example"]);
    let refused = demand("3").expect_err("the third has not");
    assert!(refused.contains("2 of the named witnesses have cosigned the checkpoint, and 3 are demanded"), "{refused}");
    let older = signing.copy("older");
    count(&running, 30);
    eventually("the newest is cosigned", || {
        let cosigned = size(&signing.shelf().join("checkpoint.witnessed"));
        (cosigned > 50).then_some(())
    });
    running.shut_down();

    // The directory is put back, without what was signed. The tree is another one from then on, and longer at last.
    let dir = stage.data_dir();
    std::fs::remove_dir_all(&dir).expect("removed");
    std::fs::rename(&older, &dir).expect("put back");
    let running = signing.run();
    eventually("the rollback is noticed", || {
        stage.log().contains("the journal was rolled back, or another one").then_some(())
    });
    count(&running, 100);
    let unwitnessed = running.refused(&["prove", "counter", "--event", "5"]);
    assert!(unwitnessed.contains("waits for the cosignatures of witnesses"), "{unwitnessed}");
    running.shut_down();
}

#[test]
fn a_witness_answers_as_the_protocol_has_it_and_remembers_across_a_start() {
    let signing = Signing::new();
    let stage = &signing.stage;
    stage.file("logs", format!("log {}\n", signing.public));
    let running = signing.run();
    running.shut_down();
    let note = std::fs::read_to_string(signing.shelf().join("checkpoint")).expect("a checkpoint");
    let ask = |witness: &Witness, body: &str| {
        let answer = Http::connect(witness.address()).ask("POST", "/add-checkpoint", Some(body));
        (answer.status, answer.body.trim_end().to_owned())
    };
    let witness = Witness::start(stage, "one", "127.0.0.1:0");
    let (status, line) = ask(&witness, &format!("old 0\n\n{note}"));
    assert_eq!((status, line.starts_with("— one.example ")), (200, true), "{line}");
    let has = size(&signing.shelf().join("checkpoint")).to_string();
    drop(witness);
    let witness = Witness::start(stage, "one", "127.0.0.1:0");
    assert_eq!(ask(&witness, &format!("old 0\n\n{note}")), (409, has.clone()));
    assert_eq!(ask(&witness, &format!("old {has}\n\n{note}")).0, 200);
    assert_eq!(ask(&witness, &format!("old 1000\n\n{note}")).0, 400);
    assert_eq!(ask(&witness, "nonsense").0, 400);
    assert_eq!(ask(&witness, &format!("old {has}\n\n{}", note.replace(&format!("\n{has}\n"), "\n7\n"))).0, 403);
    assert_eq!(ask(&witness, &format!("old {has}\n\n{}", note.replacen(ORIGIN, "example.com/other", 1))).0, 404);
    let get = Http::connect(witness.address()).ask("GET", "/add-checkpoint", None);
    assert_eq!(get.status, 405);
}

#[test]
fn an_answer_names_its_place_and_a_client_of_the_standard_library_checks_it() {
    let signing = Signing::new();
    let hello = signing.stage.manifest(
        "hello",
        "hello",
        "[[handlers]]\ntype = \"http-server\"\nconfig = { port = 0, proofs = true }\n",
    );
    let proving = "[[handlers]]\ntype = \"http-server\"\nconfig = { port = 0, proofs = true }\n";
    let counter = signing.stage.manifest("counter", "counter", proving);
    let running = signing.stage.run(&[&hello, &counter]);
    let mut http = Http::connect(running.http("hello"));
    http.send("GET", "/", None);
    let head = http.receive_head();
    let header = head.lines().find_map(|line| line.strip_prefix("Theater-Proof: ")).expect("the header").to_owned();
    let value = |name: &str| {
        let rest = header.split(", ").find_map(|part| part.strip_prefix(&format!("{name}="))).expect("a part");
        rest.trim_matches('"').to_owned()
    };
    assert_eq!(value("origin"), ORIGIN);
    let (index, token) = (value("index"), value("token"));
    let at = |index: &str, token: &str| {
        let path = format!("/.well-known/theater/proof/{index}?token={token}");
        Http::connect(running.http("hello")).ask("GET", &path, None)
    };
    let proof = eventually("a checkpoint covers it", || {
        let answer = at(&index, &token);
        assert!([200, 425].contains(&answer.status), "{answer:?}");
        (answer.status == 200).then_some(answer)
    });
    let file = signing.stage.file("proof", &proof.body);
    let proven = signing.verify(&file, &[]).expect("it holds");
    assert_eq!((proven["hash"].as_str(), &proven["has_data"]), (Some(&*value("event")), &true.into()));

    // What others got, and what the actor's chain has beside it, is not shown.
    let other: u64 = index.parse().expect("a number");
    assert_eq!(at(&(other - 1).to_string(), &token).status, 404);
    assert_eq!(at(&index, &token.replace(|c: char| c.is_ascii_digit(), "a")).status, 404);
    assert_eq!(at("1000000", &token).status, 404);
    assert_eq!(at("x", &token).status, 400);
    let counter = Http::connect(running.http("counter"));
    drop(counter);
    assert_eq!(Http::connect(running.http("counter")).ask("GET", "/.well-known/theater/proof/0", None).status, 400);

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/check_answer.py");
    let by_python = |url: &str, body: &[&str]| {
        let mut python = Command::new("python3");
        python.arg("-B").arg(&script).args([&signing.public, url]).args(body);
        let output = python.output().expect("python3");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    if Command::new("python3").arg("--version").output().is_err() {
        return support::skipped("the client in Python", "there is no python3");
    }
    let said = by_python(&format!("http://{}/", running.http("hello")), &[]);
    assert!(said.ends_with("of example.com/bank holds the answer\n"), "{said}");
    // The state of the counter stands in the event, and is nobody's business.
    let said = by_python(&format!("http://{}/increment", running.http("counter")), &["x"]);
    assert!(said.ends_with("is in the tree; its data was not shown\n"), "{said}");
}

#[test]
fn files_that_were_kept_when_the_formats_were_made_still_verify() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/proofs");
    let key = std::fs::read_to_string(kept.join("bank.pub")).expect("a key");
    for (name, has_data) in [("event.tlog-proof", true), ("redacted.tlog-proof", false)] {
        let printed = said(&["verify", "--proof", path(&kept.join(name)), "--key", key.trim(), "--json"]).expect(name);
        let proven: Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!((proven["origin"].as_str(), &proven["has_data"]), (Some(ORIGIN), &has_data.into()), "{name}");
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let script = "import sys, check_answer; print(check_answer.check(open(sys.argv[1]).read(), sys.argv[2])[1])";
        match Command::new("python3")
            .args(["-B", "-c", script, path(&kept.join(name)), key.trim()])
            .env("PYTHONPATH", document)
            .output()
        {
            Ok(output) => {
                assert_eq!(text(&output.stdout).trim(), proven["index"].to_string(), "{}", text(&output.stderr))
            }
            Err(_) => support::skipped("the reader in Python", "there is no python3"),
        }
    }
    let witnesses = kept.join("witnesses");
    let cosigned = kept.join("cosigned.tlog-proof");
    let printed =
        said(&["verify", "--proof", path(&cosigned), "--key", key.trim(), "--witnesses", path(&witnesses), "-k", "1"]);
    assert!(printed.expect("it holds").contains("cosigned by witness.example at 2026-"));
}
