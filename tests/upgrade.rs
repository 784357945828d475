//! Tests of upgrades: a running actor goes on with another build, with its id, its history, its state and its clients; whatever
//! is refused or fails, it goes on as before.

mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use support::{
    HTTP, Http, Management, Over, Stage, Theater, component, data_of, eventually, replay, theater, theater_says,
    verifies_and_replays, verify_by_document,
};

const ROLLBACK: &str = "on_upgrade_failure = \"rollback\"\n";

/// A counter at this number, which is to be upgraded to `tally`, whose state has another form.
struct Counter {
    stage: Stage,
    manifest: PathBuf,
    running: Theater,
}

impl Counter {
    fn at(count: u64) -> Self {
        Self::with(count, "")
    }

    fn with(count: u64, more: &str) -> Self {
        let stage = Stage::new();
        let manifest = stage.manifest("counter", "counter", &format!("{more}\n{HTTP}"));
        let running = stage.run(&[&manifest]);
        let counter = Self { stage, manifest, running };
        assert_eq!(counter.ask(&json!({ "add": count })), Ok(json!({ "count": count })));
        counter
    }

    /// Writes the manifest anew, for another component.
    fn writes(&self, component_name: &str, more: &str) {
        self.stage.manifest("counter", component_name, &format!("{more}\n{HTTP}"));
    }

    fn ask(&self, message: &Value) -> Result<Value, String> {
        self.running.request("counter", message)
    }

    fn upgrades(&self) -> String {
        self.running.say(&["upgrade", "counter"])
    }

    fn starts(&self) -> Vec<(String, String)> {
        let events = self.running.events("counter");
        let starts = data_of(&events, "started").into_iter().map(|data| {
            let text = |key: &str| data[key].as_str().map_or_else(|| data[key].to_string(), str::to_owned);
            (text("reason"), text("state"))
        });
        starts.collect()
    }

    fn reasons(&self) -> Vec<String> {
        self.starts().into_iter().map(|(reason, _)| reason).collect()
    }

    /// Checks the journal and the exported chain in every way.
    fn ends_sound(self) {
        let chain = self.running.export(&self.stage, "counter");
        verifies_and_replays(&chain);
        verify_by_document(&chain);
        self.running.shut_down();
        audit(&self.stage);
        replays(&self.stage);
    }

    fn again(self, manifests: bool) -> Self {
        let Self { stage, manifest, running } = self;
        drop(running);
        let given = if manifests { vec![manifest.as_path()] } else { Vec::new() };
        let running = stage.run(&given);
        Self { stage, manifest, running }
    }
}

/// The answer of `theater verify --journal`, which must find no fault.
fn audit(stage: &Stage) -> Value {
    let output = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path"), "--json"], None);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{found}");
    found
}

fn replays(stage: &Stage) {
    theater_says(&["replay", "--journal", stage.data_dir().to_str().expect("a path")]);
}

#[test]
fn an_actor_goes_on_with_a_new_build_its_id_its_history_and_its_migrated_state() {
    let counter = Counter::at(7);
    let (id, address) = (counter.running.id("counter"), counter.running.http("counter"));
    let mut client = Http::connect(address);
    assert_eq!(client.ask("GET", "/", None).json(), json!({ "count": 7 }));
    counter.writes("tally", "");
    assert_eq!(counter.upgrades(), format!("upgraded {id}"));
    assert_eq!(client.ask("POST", "/increment", None).json(), json!({ "total": 8 }), "the connection stays");
    assert_eq!(counter.ask(&json!("get")), Ok(json!({ "total": 8 })));
    assert_eq!(counter.running.id("counter"), id);
    let events = counter.running.events("counter");
    let types = counter.running.event_types("counter");
    let at = types.iter().rposition(|it| it == "started").expect("it was upgraded");
    assert_eq!(events[at]["data"]["reason"], "upgrade");
    assert_eq!(events[at]["data"]["state"], json!({ "count": 7 }));
    assert_eq!(types[at + 1..at + 3], ["call ntwk:theater/migration.migrate", "return ntwk:theater/migration.migrate"]);
    let from = events[at + 1]["data"]["params"][0].as_str().expect("a digest").to_owned();
    let stored = counter.stage.data_dir().join("components").join(format!("{from}.wasm"));
    assert_eq!(
        std::fs::read(stored).expect("it is stored"),
        std::fs::read(component("counter")).expect("it was built")
    );
    let address_now = counter.running.json(&["status", "counter"])["addresses"][0].as_str().map(str::to_owned);
    assert!(address_now.is_none_or(|now| now.contains(&address.to_string())), "the address stays");
    counter.ends_sound();
}

#[test]
fn an_upgrade_without_migrate_and_of_the_manifest_alone_keeps_the_state() {
    let counter = Counter::at(3);
    counter.writes("counter", "[limits]\nmailbox_deliveries = 7");
    counter.upgrades();
    assert_eq!(counter.ask(&json!({ "add": 1 })), Ok(json!({ "count": 4 })));
    assert_eq!(counter.reasons(), ["spawn", "upgrade"]);
    assert!(!counter.running.event_types("counter").iter().any(|it| it.contains("migrate")));
    // The command line may name another manifest, of the same name.
    let text = std::fs::read_to_string(&counter.manifest).expect("a manifest");
    let other = counter.stage.file("other.toml", text.replace("= 7", "= 9"));
    counter.running.say(&["upgrade", "counter", other.to_str().expect("a path")]);
    counter.running.say(&["upgrade", "counter"]);
    assert_eq!(counter.ask(&json!("get")), Ok(json!({ "count": 4 })));
    assert_eq!(counter.reasons(), ["spawn", "upgrade", "upgrade", "upgrade"]);
    counter.ends_sound();
}

#[test]
fn what_is_refused_leaves_the_old_build_at_work() {
    let counter = Counter::at(1);
    let refused = |why: &str| {
        let said = counter.running.refused(&["upgrade", "counter"]);
        assert!(said.contains(why), "{said}");
        assert_eq!(counter.ask(&json!("get")), Ok(json!({ "count": 1 })));
    };
    counter.stage.file("counter.toml", "name = ");
    refused("counter.toml");
    counter.stage.manifest("counter", "counter", "strategy = \"best\"");
    refused("strategy");
    counter.stage.manifest_at("counter", &counter.stage.file("no.wasm", "no"), "");
    refused("no.wasm");
    counter
        .stage
        .file("counter.toml", format!("name = \"other\"\ncomponent_path = {:?}\n{HTTP}", component("counter")));
    refused("an upgrade keeps the name \"counter\"");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let listens = |port: u16| format!("[[handlers]]\ntype = \"http-server\"\nconfig = {{ port = {port} }}\n");
    counter.stage.manifest("counter", "tally", &listens(port));
    refused("cannot listen on");
    assert_eq!(counter.reasons(), ["spawn"], "nothing was recorded");
    // Once the port is free, it is bound, and the old one is not served any more.
    drop(taken);
    let before = counter.running.http("counter");
    counter.upgrades();
    let mut client = Http::connect(([127, 0, 0, 1], port).into());
    assert_eq!(client.ask("GET", "/", None).json(), json!({ "total": 1 }));
    eventually("the old address is closed", || std::net::TcpStream::connect(before).err());
    let said = counter.running.refused(&["upgrade", "nobody"]);
    assert!(said.contains("nobody"), "{said}");
    counter.ends_sound();
}

#[test]
fn a_migration_that_is_refused_or_traps_is_taken_back() {
    for (count, why) in [(13, "13 is no number to go on with"), (14, "trap")] {
        let counter = Counter::at(count);
        counter.writes("tally", "");
        let said = counter.running.refused(&["upgrade", "counter"]);
        assert!(said.contains("the upgrade was taken back") && said.contains(why), "{said}");
        assert_eq!(counter.ask(&json!({ "add": 1 })), Ok(json!({ "count": count + 1 })));
        let state = json!({ "count": count }).to_string();
        let starts = counter.starts();
        assert_eq!(starts[1..], [("upgrade".to_owned(), state.clone()), ("upgrade".to_owned(), state)]);
        let events = counter.running.events("counter");
        let components: Vec<_> = data_of(&events, "started").iter().map(|it| it["component"].clone()).collect();
        assert_eq!(components[0], components[2]);
        assert_ne!(components[0], components[1]);
        // Another number is one to go on with.
        assert_eq!(counter.ask(&json!({ "add": 10 })), Ok(json!({ "count": count + 11 })));
        counter.upgrades();
        assert_eq!(counter.ask(&json!("get")), Ok(json!({ "total": count + 11 })));
        counter.ends_sound();
    }
}

#[test]
fn a_first_call_that_fails_goes_back_to_the_old_build_if_the_manifest_says_so() {
    let counter = Counter::at(5);
    counter.writes("tally", ROLLBACK);
    counter.upgrades();
    let failed = counter.ask(&json!("panic")).expect_err("it traps");
    assert!(failed.contains("failed"), "{failed}");
    assert_eq!(counter.ask(&json!({ "add": 1 })), Ok(json!({ "count": 6 })), "old build, old state");
    assert_eq!(counter.reasons(), ["spawn", "upgrade", "upgrade"]);
    // Once a call has returned, there is no way back: the policy decides, which says that it is not restarted.
    counter.upgrades();
    assert_eq!(counter.ask(&json!({ "add": 1 })), Ok(json!({ "total": 7 })));
    counter.ask(&json!("panic")).expect_err("it traps");
    counter.running.until("counter", "failed");
    // One that has failed begins again with an upgrade.
    counter.writes("tally", "restart = \"permanent\"\nrestart_backoff_ms = 0\n");
    counter.upgrades();
    assert_eq!(counter.ask(&json!("get")), Ok(json!({ "total": 7 })));
    counter.ask(&json!("panic")).expect_err("it traps");
    assert_eq!(eventually("it is back", || counter.ask(&json!("get")).ok()), json!({ "total": 7 }));
    counter.ends_sound();
}

#[test]
fn without_that_key_a_first_call_that_fails_is_a_failure_like_any_other() {
    let counter = Counter::with(5, "restart = \"permanent\"\nrestart_backoff_ms = 0\nmax_restarts = 5\n");
    counter.writes("tally", "restart = \"permanent\"\nrestart_backoff_ms = 0\nmax_restarts = 5\n");
    counter.upgrades();
    counter.ask(&json!("panic")).expect_err("it traps");
    assert_eq!(eventually("it is back", || counter.ask(&json!("get")).ok()), json!({ "total": 5 }));
    assert_eq!(counter.reasons(), ["spawn", "upgrade", "restart"]);
    counter.ends_sound();
}

#[test]
fn a_refusal_is_an_answer_and_keeps_the_new_build() {
    let counter = Counter::at(5);
    counter.writes("tally", ROLLBACK);
    counter.upgrades();
    counter.ask(&json!("refuse")).expect_err("it is refused");
    counter.ask(&json!("panic")).expect_err("it traps");
    counter.running.until("counter", "failed");
    assert_eq!(counter.reasons(), ["spawn", "upgrade"]);
    counter.ends_sound();
}

#[test]
fn a_start_of_the_runtime_goes_on_with_the_newest_build() {
    let counter = Counter::at(2);
    counter.writes("tally", "");
    counter.upgrades();
    counter.ask(&json!({ "add": 1 })).expect("an answer");
    let counter = counter.again(false);
    assert_eq!(counter.ask(&json!({ "add": 1 })), Ok(json!({ "total": 4 })));
    counter.running.say(&["restart", "counter"]);
    assert_eq!(counter.ask(&json!({ "add": 1 })), Ok(json!({ "total": 5 })));
    let counter = counter.again(true);
    assert_eq!(counter.ask(&json!({ "add": 1 })), Ok(json!({ "total": 6 })));
    assert_eq!(counter.reasons(), ["spawn", "upgrade", "recovery", "restart", "recovery"]);
    counter.ends_sound();
}

#[test]
fn a_start_with_a_changed_manifest_is_an_upgrade_too() {
    let counter = Counter::at(2);
    counter.writes("tally", "");
    let counter = counter.again(true);
    assert_eq!(counter.ask(&json!({ "add": 1 })), Ok(json!({ "total": 3 })));
    assert_eq!(counter.reasons(), ["spawn", "upgrade"]);
    counter.ends_sound();

    let counter = Counter::at(13);
    counter.writes("tally", "");
    let Counter { stage, manifest, running } = counter;
    drop(running);
    let refused = stage.run_with(&[&manifest], &[]).err().expect("it does not start");
    assert!(refused.contains("13 is no number to go on with"), "{refused}");
    // Without the manifest, the actor goes on with what it had.
    let running = stage.run(&[]);
    let counter = Counter { stage, manifest, running };
    assert_eq!(counter.ask(&json!({ "add": 1 })), Ok(json!({ "count": 14 })));
    counter.ends_sound();
}

#[test]
fn under_load_no_message_is_lost_and_none_is_worked_on_twice() {
    const CLIENTS: u64 = 4;
    // The tally migrates no 13, and the counter may have come to any number by the time of the upgrade.
    const FIRST: u64 = 14;
    let counter = Counter::at(FIRST);
    let (address, over, answered) = (counter.running.http("counter"), AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Http::connect(address);
                while !over.load(Ordering::Relaxed) {
                    let answer = client.ask("POST", "/increment", None);
                    assert_eq!(answer.status, 200, "{}", answer.body);
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for round in 0..3 {
            let before = answered.load(Ordering::SeqCst);
            counter.writes(if round == 0 { "tally" } else { "counter" }, &format!("description = \"{round}\"\n"));
            if round == 0 {
                counter.upgrades();
            } else {
                // The counter cannot read the state of the tally: this is refused by every call, and so only the manifest changes.
                counter.writes("tally", &format!("description = \"{round}\"\n"));
                counter.upgrades();
            }
            eventually("the clients go on", || (answered.load(Ordering::SeqCst) > before + 20).then_some(()));
        }
    });
    let total = counter.ask(&json!("get")).expect("an answer");
    assert_eq!(total, json!({ "total": FIRST + answered.load(Ordering::SeqCst) }));
    assert_eq!(counter.reasons(), ["spawn", "upgrade", "upgrade", "upgrade"]);
    counter.ends_sound();
}

#[test]
fn a_fork_begins_before_or_after_an_upgrade_with_the_build_of_then() {
    let counter = Counter::at(4);
    let before = counter.running.events("counter").len() - 1;
    counter.writes("tally", "");
    counter.upgrades();
    counter.ask(&json!({ "add": 1 })).expect("an answer");
    let after = counter.running.events("counter").len() - 1;
    for (name, at, answer) in [("old", before, json!({ "count": 4 })), ("new", after, json!({ "total": 5 }))] {
        let manifest = counter.stage.manifest(name, if name == "old" { "counter" } else { "tally" }, "");
        let manifest = manifest.to_str().expect("a path");
        counter.running.say(&["fork", "counter", "--at", &at.to_string(), "--name", name, "--manifest", manifest]);
        assert_eq!(counter.running.request(name, &json!("get")), Ok(answer), "{name}");
    }
    let chain = counter.running.export(&counter.stage, "counter");
    let replayed = replay(&chain, &["--until", &before.to_string()]).expect("it replays");
    assert_eq!(replayed["state"], json!({ "count": 4 }));
    counter.ends_sound();
}

#[test]
fn a_fork_from_before_the_end_of_migrate_has_the_build_of_its_state() {
    let counter = Counter::at(4);
    counter.writes("tally", "");
    counter.upgrades();
    let types = counter.running.event_types("counter");
    let started = types.iter().rposition(|it| it == "started").expect("it was upgraded");
    let migrated = types.iter().rposition(|it| it.starts_with("return ")).expect("it was migrated");
    assert!(migrated > started);
    // The fork has the recorded manifest, whose port may be another's by then: any port is free.
    for (at, answer) in
        [(started, json!({ "count": 4 })), (started + 1, json!({ "count": 4 })), (migrated, json!({ "total": 4 }))]
    {
        let name = format!("fork-{at}");
        counter.running.say(&["fork", "counter", "--at", &at.to_string(), "--name", &name]);
        assert_eq!(counter.running.request(&name, &json!("get")), Ok(answer), "{name}");
    }
    counter.ends_sound();
}

#[test]
fn an_actor_that_was_stopped_stays_so_if_its_upgrade_is_taken_back() {
    let counter = Counter::at(13);
    counter.running.say(&["stop", "counter"]);
    counter.writes("tally", "");
    let said = counter.running.refused(&["upgrade", "counter"]);
    assert!(said.contains("13 is no number to go on with"), "{said}");
    assert_eq!(counter.running.status("counter"), "stopped");
    counter.ends_sound();
}

#[test]
fn a_dry_run_of_an_actor_at_work_looks_at_what_was_there_when_it_began() {
    let counter = Counter::at(4);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Http::connect(counter.running.http("counter"));
            while !is_over.load(Ordering::Relaxed) {
                client.ask("POST", "/increment", None);
            }
        });
        for last in ["1", "3", "10"] {
            let said = counter.running.say(&["upgrade", "counter", "--dry-run", "--last", last]);
            let compared: u64 = said.split(' ').nth(2).and_then(|it| it.parse().ok()).expect("a number");
            assert!(compared <= last.parse().expect("a number"), "{said}");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    counter.ends_sound();
}

#[test]
fn an_export_has_both_components_and_replays_elsewhere() {
    let counter = Counter::at(4);
    counter.writes("tally", "");
    counter.upgrades();
    counter.ask(&json!({ "add": 1 })).expect("an answer");
    let chain = counter.running.export(&counter.stage, "counter");
    let text = std::fs::read_to_string(&chain).expect("a chain");
    assert_eq!(text.lines().filter(|line| line.starts_with("{\"component\":")).count(), 2);
    let elsewhere = Stage::new();
    let copy = elsewhere.file("counter.chain", text);
    let replayed = replay(&copy, &[]).expect("it replays");
    assert_eq!(replayed["transitions"], 4, "init, add, migrate, add: {replayed}");
    counter.ends_sound();
}

#[test]
fn an_actor_that_sleeps_is_woken_for_its_upgrade_and_sleeps_again() {
    let stage = Stage::new();
    let manifest = stage.manifest("counter", "counter", "sleep_after_ms = 20\n");
    let running = stage.run(&[&manifest]);
    let counter = Counter { stage, manifest, running };
    counter.ask(&json!({ "add": 2 })).expect("an answer");
    let sleeps = || (!counter.running.thread_names().contains(&"a-counter".to_owned())).then_some(());
    eventually("it sleeps", sleeps);
    counter.stage.manifest("counter", "tally", &format!("sleep_after_ms = 20\n{ROLLBACK}"));
    counter.upgrades();
    eventually("it sleeps again", sleeps);
    counter.ask(&json!("panic")).expect_err("it traps");
    assert_eq!(counter.ask(&json!("get")), Ok(json!({ "count": 2 })), "the trial outlives a sleep");
    counter.ends_sound();
}

#[test]
fn an_actor_whose_instance_is_kept_gets_a_new_one_of_the_new_build() {
    let counter = Counter::with(1, "reuse = 100\nreads = \"early\"\n");
    (0..3).for_each(|_| _ = counter.ask(&json!({ "add": 1 })));
    counter.writes("tally", "reuse = 100\nreads = \"early\"\n");
    counter.upgrades();
    (0..3).for_each(|_| _ = counter.ask(&json!({ "add": 1 })));
    assert_eq!(counter.ask(&json!("get")), Ok(json!({ "total": 7 })));
    let counter = counter.again(false);
    assert_eq!(counter.ask(&json!("get")), Ok(json!({ "total": 7 })));
    counter.ends_sound();
}

#[test]
fn the_management_protocol_has_the_command() {
    let counter = Counter::at(1);
    let mut management = Management::connect(counter.running.management());
    let id = counter.running.id("counter");
    counter.writes("tally", "");
    let answer = management.ask(&json!({ "UpgradeActor": { "id": id } }));
    assert_eq!(answer, json!({ "ActorUpgraded": { "id": id } }));
    let error = management.error(&json!({ "UpgradeActor": { "id": id, "manifest": "/no/such.toml" } }));
    assert!(error.contains("/no/such.toml"), "{error}");
    counter.ends_sound();
}

#[test]
fn a_dry_run_lists_what_would_change_and_touches_nothing() {
    let counter = Counter::at(4);
    (0..3).for_each(|_| _ = counter.ask(&json!({ "add": 1 })));
    counter.ask(&json!("get")).expect("an answer");
    let before = counter.running.events("counter").len();
    assert_eq!(
        counter.running.say(&["upgrade", "counter", "--dry-run"]),
        "none of 5 transitions changes",
        "the same build"
    );
    counter.writes("tally", "");
    let output = counter.running.cli(&["upgrade", "counter", "--dry-run", "--last", "2"]);
    let (said, why) = (support::text(&output.stdout), support::text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}{why}");
    assert!(why.contains("2 of 2 transitions change"), "{why}");
    // The state of each call is migrated and compared with what was recorded, migrated too: only the answers differ.
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines.iter().all(|line| line.contains(": answer")), "{said}");
    assert_eq!(counter.running.events("counter").len(), before, "nothing was recorded");
    assert_eq!(counter.ask(&json!("get")), Ok(json!({ "count": 7 })));
    counter.ends_sound();
}

/// The stored components.
fn components(stage: &Stage) -> usize {
    let stored = std::fs::read_dir(stage.data_dir().join("components")).expect("a directory");
    stored.filter(|entry| entry.as_ref().expect("an entry").path().extension().is_some_and(|it| it == "wasm")).count()
}

#[test]
fn a_build_that_nothing_needs_goes_at_the_next_start() {
    let counter = Counter::at(4);
    counter.writes("tally", "");
    counter.upgrades();
    counter.ask(&json!({ "add": 1 })).expect("an answer");
    counter.running.say(&["restart", "counter"]);
    counter.ask(&json!({ "add": 1 })).expect("an answer");
    let counter = counter.again(false);
    assert_eq!(components(&counter.stage), 2, "the history is there still");
    counter.running.say(&["prune", "counter", "--before", "9999"]);
    counter.ask(&json!("get")).expect("an answer");
    let counter = counter.again(false);
    assert_eq!(components(&counter.stage), 1);
    let chain = counter.running.export(&counter.stage, "counter");
    verify_by_document(&chain);
    replay(&chain, &[]).expect("it replays from the kept state");
    assert_eq!(counter.ask(&json!("get")), Ok(json!({ "total": 6 })));
    counter.running.shut_down();
    audit(&counter.stage);
    replays(&counter.stage);
}
