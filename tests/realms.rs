//! Tests of realms on real PostgreSQL servers: a node that dies, freezes or is cut off, the one that goes on, and what nobody may
//! lose.

#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/realm.rs"]
mod realm;
#[path = "support/relay.rs"]
mod relay;
mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use postgres::{Three, database};
use realm::{Realm, count, count_until, realm_of_probe};
use relay::Relay;
use serde_json::{Value, json};
use support::{Http, Over, Stage, THEATER, eventually, text, theater};

#[test]
fn a_node_takes_a_new_realm_and_another_goes_on_with_it_after_an_orderly_end() {
    let Some((_database, realm)) = realm_of_probe("an orderly end") else { return };
    let first = realm.node("first").owns(&realm);
    assert_eq!(count(&first), 1);
    first.signal("INT");
    assert_eq!(first.ends(), Some(0));
    let second = realm.node("second").owns(&realm);
    assert_eq!(count(&second), 2);
    assert_eq!(realm.realms()["owner"], json!("second"));
    realm.verify();
    realm.replay();
}

#[test]
fn a_follower_goes_on_after_the_owner_was_killed() {
    let Some((_database, realm)) = realm_of_probe("a kill") else { return };
    let first = realm.node("first").owns(&realm);
    let second = realm.node("second").follows(&realm);
    for expected in 1..=10 {
        assert_eq!(count(&first), expected);
    }
    first.kill();
    let second = second.owns(&realm);
    assert_eq!(count(&second), 11);
    // The one that was killed comes back and follows.
    let first = realm.node("first").follows(&realm);
    second.kill();
    assert_eq!(count(&first.owns(&realm)), 12);
    realm.verify();
    realm.replay();
}

#[test]
fn an_owner_that_was_frozen_answers_nobody_and_follows() {
    let Some((_database, realm)) = realm_of_probe("a frozen owner") else { return };
    let first = realm.node("first").owns(&realm);
    let second = realm.node("second").follows(&realm);
    count(&first);
    let (old, management) = (first.http(), first.management());
    first.signal("STOP");
    // Asked while it is frozen: it would have to answer once it goes on.
    let waiting = std::thread::spawn(move || {
        let mut http = Http::connect(old);
        http.try_op(&json!("count")).map(|answer| answer.status)
    });
    let second = second.owns(&realm);
    assert_eq!(count(&second), 2);
    first.signal("CONT");
    let first = first.follows(&realm);
    assert_eq!(waiting.join().expect("no panic"), None, "the former owner answered");
    assert!(theater(&["list"], Some(management)).status.code() != Some(0), "its management server is gone");
    assert!(realm.log("first").contains("another node owns the realm bank now"), "{}", realm.log("first"));
    assert!(realm.log("first").contains("this node follows the realm bank again"), "{}", realm.log("first"));
    second.kill();
    assert_eq!(count(&first.owns(&realm)), 3);
    realm.verify();
}

#[test]
fn a_follower_says_whom_to_ask_and_ends_in_order_when_it_is_asked() {
    let Some((_database, mut realm)) = realm_of_probe("a follower that is asked") else { return };
    let first = realm.node("first").owns(&realm);
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    realm.more.extend(["--metrics-listen".into(), port.to_string()]);
    let second = realm.node("second").follows(&realm);
    let answer = |path: &str| Http::connect(port).ask("GET", path, None);
    let ready = eventually("it follows", || Some(answer("/readyz")).filter(|ready| ready.body.contains("first")));
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("node first owns the realm bank: ask it, at 127.0.0.1:0"), "{}", ready.body);
    assert_eq!(answer("/livez").status, 200, "it is well");

    let realms = || theater(&["realms", "--cluster", &realm.url], None);
    let shown = eventually("it is listed", || {
        Some(text(&realms().stdout)).filter(|shown| shown.contains("follows, 0 batches behind"))
    });
    assert!(shown.starts_with("bank  owner first, epoch "), "{shown}");
    assert!(shown.contains("owns it, management at 127.0.0.1:0"), "{shown}");
    second.signal("TERM");
    assert_eq!(second.ends(), Some(0));
    assert!(!text(&realms().stdout).contains("second"), "it takes no part any more");
    assert_eq!(count(&first), 1);
}

#[test]
fn an_operator_sees_what_the_servers_keep() {
    let Some(database) = database("a look at the servers") else { return };
    let look = |more: &[&str]| {
        let output = theater(&[&["doctor", "--cluster", &database.url()], more].concat(), None);
        (output.status.code(), text(&output.stdout))
    };
    let (code, shown) = look(&[]);
    assert_eq!(code, Some(1), "no standby, and no tables");
    for line in
        ["fsync                        on", "synchronous_standby_names    (empty)", "tables of Theater            none"]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(shown.contains("theater cluster init"), "{shown}");
    for made in ["the tables are made", "the tables are there already"] {
        let output = theater(&["cluster", "init", "--cluster", &database.url()], None);
        assert!(text(&output.stdout).contains(made), "{}", text(&output.stdout));
    }
    let found: Value = serde_json::from_str(&look(&["--json"]).1).expect("JSON");
    let tables = found["checks"].as_array().expect("a list").iter().find(|check| check["what"] == "tables of Theater");
    assert_eq!((&found["well"], &tables.expect("it is there")["is_well"]), (&json!(false), &json!(true)));
}

#[test]
fn a_takeover_waits_for_a_batch_from_which_data_is_being_dropped() {
    let Some((database, realm)) = realm_of_probe("an owner that drops data") else { return };
    let first = realm.node("first").owns(&realm);
    first.request(&json!({ "op": "echo", "value": "a secret that must go" }));
    let second = realm.node("second").follows(&realm);
    let events = first.cli(&["events", "probe", "--json"]);
    let event = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
    let telling = events.lines().map(event).find(|event| event.to_string().contains("a secret that must go"));
    let sequence = telling.expect("it is recorded")["sequence"].to_string();
    // The rewrite waits for a row that somebody holds.
    let hold = "begin; select 1 from theater.log where number = 2 for update; select pg_sleep(4)";
    std::thread::scope(|scope| {
        let held = scope.spawn(|| database.ask(hold));
        let is_held = || {
            let holding = "select count(*) from pg_stat_activity where query like '%pg_sleep(4)' and state = 'active'";
            database.ask(holding) != "0"
        };
        eventually("the row is held", || is_held().then_some(()));
        let management = first.management();
        let redact = scope.spawn(move || theater(&["redact", "probe", "--event", &sequence], Some(management)));
        let waits = "select count(*) from pg_stat_activity where query like '%update theater.log%' and wait_event_type = 'Lock'";
        eventually("the rewrite waits", || (database.ask(waits) != "0").then_some(()));
        database.ask("update theater.realms set owner = null, node = null, epoch = epoch + 1");
        assert!(!is_held(), "the realm had another owner while the former one wrote");
        held.join().expect("no panic");
        redact.join().expect("no panic");
    });
    let first = first.until("following", &realm);
    assert_eq!(count(&second.owns(&realm)), 1);
    drop(first);
    realm.verify();
}

#[test]
fn an_owner_that_is_cut_off_says_that_it_is_not_ready() {
    let Some(database) = database("a cut-off owner") else { return };
    let mut realm = Realm::of_probe(database.url());
    realm.init();
    let link = Relay::to(database.server.port);
    realm.url = format!("postgres://postgres@{}/{}", link.address, database.name);
    realm.more.extend(["--metrics-listen".into(), "127.0.0.1:0".into()]);
    let node = realm.node("first").owns(&realm);
    let ready = || Http::connect(node.metrics()).ask("GET", "/readyz", None);
    eventually("it is ready", || (ready().status == 200).then_some(()));
    link.hold(true);
    let answer = eventually("it is not ready", || Some(ready()).filter(|answer| answer.status == 503));
    assert!(answer.body.contains("another node may own the realm"), "{}", answer.body);
    link.hold(false);
    eventually("it is ready again", || (ready().status == 200).then_some(()));
}

#[test]
fn a_node_that_could_not_run_the_actors_does_not_follow() {
    let Some((_database, mut realm)) = realm_of_probe("an unfit node") else { return };
    let first = realm.node("first").owns(&realm);
    realm.manifest = realm.stage.manifest_at("probe", "elsewhere.wasm".as_ref(), "");
    let refused = realm.refused("second");
    assert!(refused.contains("elsewhere.wasm"), "{refused}");
    assert_eq!(count(&first), 1);
}

#[test]
fn a_realm_is_moved_by_an_operator_and_back() {
    let Some((_database, realm)) = realm_of_probe("a move") else { return };
    let mut first = realm.node("first").owns(&realm);
    let mut second = realm.node("second").follows(&realm);
    for round in 1..=4_u64 {
        assert_eq!(count(&first), round);
        // A node that begins anew takes no part for a moment.
        eventually("the realm is moved", || {
            let moved = theater(&["realm", "move", "bank", &second.name, "--cluster", &realm.url], None);
            moved.status.success().then_some(())
        });
        second = second.owns(&realm);
        first = first.follows(&realm);
        std::mem::swap(&mut first, &mut second);
    }
    for (node, why) in [(first.name.clone(), "owns the realm bank already"), ("third".into(), "no node third")] {
        let refused = theater(&["realm", "move", "bank", &node, "--cluster", &realm.url], None);
        assert!(text(&refused.stderr).contains(why), "{}", text(&refused.stderr));
    }
    realm.verify();
}

#[test]
fn a_server_that_restarts_delays_the_realm_and_loses_nothing() {
    let Some(programs) = postgres::programs("a server that restarts") else { return };
    let mut server = postgres::single(&programs);
    let realm = Realm::of_probe(format!("postgres://postgres@127.0.0.1:{}/postgres", server.port));
    realm.init();
    let node = realm.node("first").owns(&realm);
    count(&node);
    server.kill();
    let (management, over) = (node.management(), Arc::new(AtomicBool::new(false)));
    let waiting = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            let answer = theater(&["request", "probe", "\"count\"", "--json"], Some(management));
            over.store(true, Ordering::Relaxed);
            answer
        })
    };
    eventually("the outage is said", || realm.log("first").contains("tried again").then_some(()));
    assert!(!over.load(Ordering::Relaxed), "nothing is acknowledged meanwhile");
    server.start(&[]);
    let answer = waiting.join().expect("no panic");
    assert!(answer.status.success(), "{}", text(&answer.stderr));
    assert_eq!(count(&node), 3);
    realm.verify();
}

#[test]
fn a_server_that_says_nothing_for_a_while_has_done_each_thing_once() {
    let Some(programs) = postgres::programs("a frozen server") else { return };
    let server = postgres::single(&programs);
    let realm = Realm::of_probe(format!("postgres://postgres@127.0.0.1:{}/postgres", server.port));
    realm.init();
    let node = realm.node("first").owns(&realm);
    assert_eq!(count(&node), 1);
    server.freeze();
    let mut http = Http::connect(node.http());
    let waiting = std::thread::spawn(move || http.try_op(&json!("count")).map(|answer| answer.json()));
    // Longer than the owner waits for one answer.
    eventually("the outage is said", || realm.log("first").contains("tried again").then_some(()));
    server.thaw();
    assert_eq!(waiting.join().expect("no panic"), Some(json!(2)));
    assert_eq!(count(&node), 3);
    realm.verify();
}

/// A relay to a server that cuts each connection after so many bytes in one direction or the other; later ones live longer, and
/// the last ones for ever.
fn relay_that_cuts(port: u16, cuts: &'static [usize]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
            let Ok(server) = std::net::TcpStream::connect(("127.0.0.1", port)) else { continue };
            let budget = cuts.get(number / 2).copied().unwrap_or(usize::MAX);
            let budgets = if number % 2 == 0 { (budget, usize::MAX) } else { (usize::MAX, budget) };
            let pair = |socket: &std::net::TcpStream| socket.try_clone().expect("a descriptor");
            let (to, back) = ((pair(&client), pair(&server)), (server, client));
            std::thread::spawn(move || forward(to.0, to.1, budgets.0));
            std::thread::spawn(move || forward(back.0, back.1, budgets.1));
        }
    });
    address
}

fn forward(mut from: std::net::TcpStream, mut to: std::net::TcpStream, mut budget: usize) {
    let mut room = [0; 4096];
    loop {
        let read = from.read(&mut room).unwrap_or(0);
        let passed = read.min(budget);
        if read == 0 || to.write_all(&room[..passed]).is_err() || passed < read {
            break;
        }
        budget -= passed;
    }
    // Whoever has gone is gone for both.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn each_thing_is_done_once_wherever_a_connection_breaks() {
    let Some(database) = database("connections that break") else { return };
    let mut realm = Realm::of_probe(database.url());
    realm.init();
    static CUTS: LazyLock<Vec<usize>> = LazyLock::new(|| (0..120).map(|step| 700 + step * 61).collect());
    let direct = std::mem::take(&mut realm.url);
    let relay = relay_that_cuts(database.server.port, &CUTS);
    realm.url = format!("postgres://postgres@{relay}/{}", database.name);
    let node = eventually("it starts between two cuts", || {
        let node = realm.node("first");
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && !node.has_said("ready") && node.is_running() {
            std::thread::sleep(Duration::from_millis(5));
        }
        node.has_said("ready").then_some(node)
    });
    let mut http = Http::connect(node.http());
    for expected in 1..=150 {
        assert_eq!(http.op(&json!("count")).json(), json!(expected), "{}", realm.log("first"));
    }
    assert!(
        realm.log("first").contains("tried again") || database.ask("select epoch from theater.realms") > "20".into()
    );
    realm.url = direct;
    realm.verify();
    realm.replay();
}

#[test]
fn a_connection_beyond_the_machine_is_encrypted_and_checked_on_both_sides() {
    let Some(programs) = postgres::programs("TLS and SCRAM") else { return };
    let mut server = postgres::single_with_tls(&programs, "correct horse");
    let authority = server.authority();
    let url = format!("postgres://postgres@localhost:{}/postgres", server.port);
    let init = |url: &str, password: Option<&str>| {
        let mut command = Command::new(THEATER);
        command.args(["cluster", "init", "--cluster", url]).env_remove("THEATER_CLUSTER_PASSWORD");
        password.into_iter().for_each(|password| _ = command.env("THEATER_CLUSTER_PASSWORD", password));
        let output = command.output().expect("the binary");
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    };
    let trusted = format!("{url}?sslmode=verify-full&sslrootcert={}", authority.display());
    eventually("the server is up", || init(&trusted, None).1.contains("THEATER_CLUSTER_PASSWORD").then_some(()));
    for (url, password, why) in [
        (&trusted[..], Some("wrong"), "password authentication failed"),
        (&format!("{url}?sslmode=verify-full"), Some("correct horse"), "invalid peer certificate"),
        (&trusted.replace("localhost", "127.0.0.1"), Some("correct horse"), "certificate"),
        (&format!("{url}?sslmode=disable"), Some("correct horse"), "no pg_hba.conf entry"),
        (&format!("{url}?sslmode=require"), Some("correct horse"), "verify-full"),
    ] {
        let (is_done, said) = init(url, password);
        assert!(!is_done && said.contains(why), "{url}: {said}");
    }
    let (is_done, said) = init(&trusted, Some("correct horse"));
    assert!(is_done, "{said}");
    let file = tempfile::tempdir().expect("a directory");
    let password = file.path().join("password");
    std::fs::write(&password, "correct horse\n").expect("written");
    let with_file = || {
        let mut command = Command::new(THEATER);
        command.args(["realms", "--cluster", &trusted]).env("THEATER_CLUSTER_PASSWORD_FILE", &password);
        command.output().expect("the binary")
    };
    assert!(with_file().status.success(), "{}", text(&with_file().stderr));
    std::fs::remove_file(&password).expect("removed");
    assert!(text(&with_file().stderr).contains("cannot read the password in"), "{}", text(&with_file().stderr));
    server.kill();
}

#[test]
fn what_is_dropped_from_the_owner_is_dropped_from_the_shared_log_and_the_followers() {
    let Some((database, realm)) = realm_of_probe("a redaction") else { return };
    let first = realm.node("first").owns(&realm);
    let second = realm.node("second").follows(&realm);
    first.request(&json!({ "op": "echo", "value": "a secret that must go" }));
    let events = first.cli(&["events", "probe", "--json"]);
    let event = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
    let telling = events.lines().map(event).filter(|event| event.to_string().contains("a secret that must go"));
    let sequences: Vec<String> = telling.map(|event| event["sequence"].to_string()).collect();
    assert!(!sequences.is_empty(), "it is recorded");
    let mentions = |dir: &Path| {
        let files =
            std::fs::read_dir(dir.join("log")).expect("a directory").map(|entry| entry.expect("an entry").path());
        files.filter(|path| contains(&std::fs::read(path).unwrap_or_default(), b"a secret that must go")).count()
    };
    eventually("the follower has it", || (mentions(&realm.dir("second")) == 1).then_some(()));
    for sequence in &sequences {
        first.cli(&["redact", "probe", "--event", sequence]);
    }
    assert_eq!(mentions(&realm.dir("first")), 0);
    eventually("the follower drops it", || (mentions(&realm.dir("second")) == 0).then_some(()));
    let sql = "select count(*) from theater.log where position('a secret that must go'::bytea in batch) > 0";
    assert_eq!(database.ask(sql), "0");
    first.kill();
    assert_eq!(count(&second.owns(&realm)), 1);
    realm.verify();
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn a_copy_that_is_damaged_or_went_another_way_is_set_aside_and_made_anew() {
    let Some((database, realm)) = realm_of_probe("a damaged copy") else { return };
    let first = realm.node("first").owns(&realm);
    let second = realm.node("second").follows(&realm);
    for _ in 0..5 {
        count(&first);
    }
    let head = || database.ask("select head from theater.realms").parse::<u64>().expect("a number");
    let row =
        |node: &str| realm.realms()["nodes"].as_array().expect("nodes").iter().find(|row| row["node"] == node).cloned();
    eventually("the follower has all", || (row("second")?["batch"].as_u64() == Some(head())).then_some(()));
    second.kill();
    let segment = realm.dir("second").join("log/00000001.log");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    bytes[200] ^= 1;
    std::fs::write(&segment, bytes).expect("written");
    let second = realm.node("second").follows(&realm);
    assert!(realm.dir("second").join("set-aside-1").exists());
    eventually("it has all again", || (row("second")?["batch"].as_u64() == Some(head())).then_some(()));
    first.kill();
    assert_eq!(count(&second.owns(&realm)), 6);
}

#[test]
fn a_log_that_lost_what_a_node_knows_to_be_acknowledged_is_refused() {
    let Some((database, realm)) = realm_of_probe("a lost log") else { return };
    let first = realm.node("first").owns(&realm);
    count(&first);
    first.signal("INT");
    first.ends();
    database.ask("delete from theater.log where number = (select head from theater.realms); update theater.realms set head = head - 1");
    let refused = realm.refused("first");
    assert!(refused.contains("has lost what was acknowledged"), "{refused}");
}

#[test]
fn directories_and_servers_that_do_not_fit_are_refused_with_the_remedy() {
    let Some(database) = database("refusals") else { return };
    let mut realm = Realm::of_probe(database.url());
    let refused = realm.refused("first");
    assert!(refused.contains("theater cluster init"), "{refused}");
    realm.init();
    let enough = std::mem::take(&mut realm.more);
    let refused = realm.refused("first");
    assert!(refused.contains("no synchronous standby") && refused.contains("--single-server"), "{refused}");
    realm.more = enough;

    // A journal of its own is no copy of a realm, and the other way round.
    let alone = realm.stage.run(&[&realm.manifest]);
    alone.shut_down();
    std::fs::rename(realm.stage.data_dir(), realm.dir("first")).expect("moved");
    let refused = realm.refused("first");
    assert!(refused.contains("holds a journal of its own"), "{refused}");
    let node = realm.node("second").owns(&realm);
    node.signal("INT");
    node.ends();
    std::fs::rename(realm.dir("second"), realm.stage.data_dir()).expect("moved");
    let refused = realm.stage.run_with(&[&realm.manifest], &[]).err().expect("it is a realm's");
    assert!(refused.contains("copy of the realm bank") && refused.contains("--cluster"), "{refused}");

    let of = |args: &[&str]| {
        let output = theater(args, None);
        assert!(!output.status.success(), "{args:?}");
        text(&output.stderr)
    };
    let manifest = realm.manifest.to_str().expect("a path");
    for (args, why) in [
        (&["run", manifest, "--cluster", "mysql://a@b/c"][..], "postgres://user@host"),
        (&["run", manifest, "--cluster", &realm.url], "--realm"),
        (&["run", manifest, "--cluster", &realm.url, "--realm", "A B"], "lower-case letters"),
        (&["run", manifest, "--realm", "bank"], "cluster.url"),
        (&["run", manifest, "--cluster", &realm.url, "--realm", "bank", "--node", "a b"], "the name of a node"),
        (&["run", manifest, "--cluster", &realm.url, "--realm", "bank", "--ephemeral"], "--ephemeral"),
        (&["realms", "--cluster", "postgres://postgres@127.0.0.1:1/x"], "refused"),
        (&["verify", "--journal", &realm.url], "which realm"),
        (&["verify", "--journal", &format!("{}#", realm.url)], "which realm"),
        (&["run", manifest, "--cluster", &format!("{}#bank", realm.url), "--realm", "bank"], "--realm"),
        (&["run", manifest, "--data-dir", &format!("{}#bank", realm.url)], "is no directory"),
        (&["verify", "--journal", &format!("{}#other", realm.url)], "no realm other"),
    ] {
        let refused = of(args);
        assert!(refused.contains(why), "{args:?}: {refused}");
    }
    assert_eq!(database.ask("select count(*) from theater.realms"), "1");
}

#[test]
fn a_data_directory_becomes_a_realm_and_a_copy_of_it() {
    let Some(database) = database("an import") else { return };
    let realm = Realm::of_probe(database.url());
    realm.init();
    let alone = realm.stage.run(&[&realm.manifest]);
    for expected in 1..=3 {
        assert_eq!(alone.request("probe", &json!("count")), Ok(json!(expected)));
    }
    let id = alone.id("probe");
    let dir = realm.stage.data_dir();
    let import = |name: &str| {
        let dir = dir.to_str().expect("a path");
        theater(&["cluster", "import", dir, "--realm", name, "--cluster", &realm.url], None)
    };
    assert!(text(&import("bank").stderr).contains("in use by another runtime"), "while it runs");
    alone.shut_down();
    let done = import("bank");
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&import("bank").stderr).contains("copy of the realm bank"));
    assert_eq!(database.ask("select count(*) from theater.realms"), "1");
    realm.verify();
    realm.replay();

    std::fs::rename(&dir, realm.dir("first")).expect("moved");
    let first = realm.node("first").owns(&realm);
    assert!(!realm.dir("first").join("set-aside-1").exists(), "it goes on with what it has");
    assert_eq!(count(&first), 4);
    let second = realm.node("second").follows(&realm);
    first.kill();
    let second = second.owns(&realm);
    assert_eq!(count(&second), 5);
    let status: Value = serde_json::from_str(&second.cli(&["status", "probe", "--json"])).expect("JSON");
    assert_eq!(status["id"], json!(id));
    realm.verify();
}

#[test]
fn a_second_node_of_the_same_name_is_refused_and_one_that_was_killed_comes_back() {
    let Some((_database, realm)) = realm_of_probe("a namesake") else { return };
    let first = realm.node("first").owns(&realm);
    // On another machine, with a data directory of its own.
    let elsewhere = Realm::in_stage(std::sync::Arc::new(Stage::new()), realm.url.clone(), realm.manifest.clone());
    let mut other = elsewhere.command("first");
    let refused = other.arg("--single-server").stderr(std::process::Stdio::piped()).output().expect("the binary");
    assert!(text(&refused.stderr).contains("a node of the name first is at work"), "{}", text(&refused.stderr));
    first.kill();
    let first = realm.node("first").owns(&realm);
    assert_eq!(count(&first), 1);
}

#[test]
fn files_that_only_one_machine_has_are_refused_in_a_realm() {
    let Some(database) = database("a filesystem") else { return };
    let mut realm = Realm::of_probe(database.url());
    realm.init();
    let files = realm.stage.path().join("files");
    let of = |shared: &str| format!("[[handlers]]\ntype = \"filesystem\"\nconfig = {{ path = {files:?}{shared} }}\n");
    realm.manifest = realm.stage.manifest("files", "files", &of(""));
    let refused = realm.refused("first");
    assert!(refused.contains("shared = true"), "{refused}");
    realm.manifest = realm.stage.manifest("files", "files", &of(", shared = true"));
    realm.node("first").owns(&realm);
}

#[test]
fn nothing_acknowledged_is_lost_when_owners_and_the_primary_die_under_load() {
    let Some(mut three) = Three::start("three servers") else { return };
    let mut realm = Realm::of_probe(three.url());
    realm.more.clear();
    realm.init();
    let first = realm.node("first").owns(&realm);
    let second = realm.node("second").follows(&realm);
    assert!(first.has_said("promise     what is acknowledged survives the loss of this node and of a database server"));
    let (over, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let nodes = [&first, &second];
    let more = |than: u64| {
        eventually("the realm goes on", || (acknowledged.load(Ordering::Relaxed) > than).then_some(()));
        acknowledged.load(Ordering::Relaxed)
    };
    let answers = std::thread::scope(|scope| {
        let stop = Over(&over);
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| count_until(&nodes, &over, &acknowledged))).collect();
        more(20);
        three.fail_over();
        more(acknowledged.load(Ordering::Relaxed) + 20);
        first.signal("STOP");
        more(acknowledged.load(Ordering::Relaxed) + 20);
        first.signal("CONT");
        more(acknowledged.load(Ordering::Relaxed) + 20);
        drop(stop);
        clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect::<Vec<u64>>()
    });
    let mut once = answers.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), answers.len(), "no two clients were told of the same addition");
    let owner = if second.has_said("ready") { second } else { first };
    let total = count(&owner);
    assert!(total > answers.len() as u64, "{total} of {}", answers.len());
    realm.verify();
    realm.replay();
    assert!(three.primary().port > 0);
}
