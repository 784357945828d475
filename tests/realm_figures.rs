//! Figures of realms, for docs/performance.md: rates, takeovers, moves. `make bench-realms` runs them; each is ignored elsewhere.

#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/realm.rs"]
mod realm;
mod support;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postgres::{Three, database};
use realm::{Node, Realm};
use serde_json::{Value, json};
use support::{Http, Management, Over, Stage, eventually};

/// Actors that work at the same time, and clients of each.
const ACTORS: usize = 16;
const CLIENTS: usize = 4;

/// A number that the environment may change.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// CPU seconds that a process has used, with the children that it has waited for or has.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields.get(11..15).into_iter().flatten().filter_map(|field| field.parse::<f64>().ok()).sum();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    ticks / 100.0 + children.split_whitespace().filter_map(|child| child.parse().ok()).map(cpu).sum::<f64>()
}

struct Rate {
    requests_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Requests that change a state, by many clients at once.
fn rate(addresses: &[SocketAddr], time: Duration) -> Rate {
    let (over, mut took) = (AtomicBool::new(false), Vec::new());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let stop = Over(&over);
        let client = |address: SocketAddr| {
            let over = &over;
            move || {
                let (mut http, mut took) = (Http::connect(address), Vec::new());
                while !over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    assert_eq!(http.op(&json!("count")).status, 200);
                    took.push(begun.elapsed());
                }
                took
            }
        };
        let clients: Vec<_> = addresses
            .iter()
            .flat_map(|address| [*address; CLIENTS])
            .map(|address| scope.spawn(client(address)))
            .collect();
        std::thread::sleep(time);
        drop(stop);
        took = clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect();
    });
    let seconds = begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    Rate { requests_per_second: took.len() as f64 / seconds, p50_ms: at(0.5), p99_ms: at(0.99) }
}

fn probes(stage: &Stage) -> Vec<PathBuf> {
    (0..ACTORS).map(|number| stage.http_manifest(&format!("probe-{number}"), "probe", "")).collect()
}

#[test]
#[ignore = "a figure"]
fn the_rate_of_a_realm_beside_that_of_a_local_log() {
    let time = Duration::from_secs(setting("SECONDS", 10));
    let stage = Stage::new();
    let manifests = probes(&stage);
    let paths: Vec<&std::path::Path> = manifests.iter().map(PathBuf::as_path).collect();
    let running = stage.run(&paths);
    let addresses: Vec<SocketAddr> = (0..ACTORS).map(|number| running.http(&format!("probe-{number}"))).collect();
    rate(&addresses, Duration::from_secs(2));
    let before = cpu(running.pid());
    let local = rate(&addresses, time);
    let used = cpu(running.pid()) - before;
    let line = |what: &str, rate: &Rate, node: f64, servers: f64| {
        let share = rate.requests_per_second / local.requests_per_second;
        let Rate { requests_per_second, p50_ms, p99_ms } = rate;
        println!(
            "| {what} | {requests_per_second:.0} | {share:.2} | {p50_ms:.1} | {p99_ms:.1} | {node:.1} | {servers:.1} |"
        );
    };
    println!(
        "| log | requests/s | of the local | p50, ms | p99, ms | node, CPU s | servers, CPU s |\n|---|--:|--:|--:|--:|--:|--:|"
    );
    line("local", &local, used, 0.0);
    running.shut_down();

    let measured = |url: String, servers: &[u32], followers: usize, what: &str| {
        let mut realm = Realm::of_probe(url);
        realm.init();
        let manifests = probes(&realm.stage);
        realm.manifest = manifests[0].clone();
        realm.more.extend(manifests[1..].iter().map(|path| path.display().to_string()));
        let node = realm.node("first").owns(&realm);
        let followers: Vec<Node> =
            (0..followers).map(|number| realm.node(&format!("follower-{number}")).follows(&realm)).collect();
        let addresses = node.all_http();
        assert_eq!(addresses.len(), ACTORS);
        rate(&addresses, Duration::from_secs(2));
        let of_servers = || servers.iter().map(|pid| cpu(*pid)).sum::<f64>();
        let before = (cpu(node.pid()), of_servers());
        let rate = rate(&addresses, time);
        line(what, &rate, cpu(node.pid()) - before.0, of_servers() - before.1);
        drop(followers);
    };
    let Some(one) = database("one server") else { return };
    measured(one.url(), &[one.server.pid()], 0, "a realm, one server");
    measured(
        database("one server").expect("it is installed").url(),
        &[one.server.pid()],
        1,
        "the same, and a follower",
    );
    let Some(three) = Three::start("three servers") else { return };
    let servers: Vec<u32> = three.servers.iter().map(|server| server.pid()).collect();
    measured(three.url(), &servers, 0, "a realm, a server and two synchronous standbys");
}

/// A realm of a hatchery and so many children, with so many events.
fn populated(url: String, actors: u64, events: u64) -> (Realm, Node) {
    let mut realm = Realm::of_probe(url);
    realm.init();
    for name in ["counter", "hatchery", "probe"] {
        realm.stage.copy_component(name, name);
    }
    let child = "[[handlers]]\ntype = \"http-server\"\nconfig = { listen = false }\n";
    realm.stage.manifest_at("child", "counter.wasm".as_ref(), child);
    let more = "[[handlers]]\ntype = \"supervisor\"\n[limits]\nchildren = 100_000\nrequest_deadline_ms = 3_600_000\ncpu_ms_per_call = 600_000\n";
    let home = realm.stage.manifest_at("home", "hatchery.wasm".as_ref(), more);
    realm.more.push(home.display().to_string());
    let node = realm.node("first").owns(&realm);
    let mut management = Management::connect(node.management());
    let id = |name: &str| {
        let status: Value = serde_json::from_str(&node.cli(&["status", name, "--json"])).expect("JSON");
        status["id"].as_str().expect("an id").to_owned()
    };
    let home = id("home");
    for from in (0..actors).step_by(500) {
        let upto = (from + 500).min(actors);
        assert_eq!(management.request(&home, &json!({ "from": from, "upto": upto })), Ok(json!(upto - from)));
    }
    let (over, address) = (AtomicBool::new(false), node.http());
    let position = || realm.realms()["position"].as_u64().expect("a number");
    let begun = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let stop = Over(&over);
        for _ in 0..16 {
            scope.spawn(|| {
                let mut http = Http::connect(address);
                let many = json!({ "op": "many", "ops": vec![json!({ "op": "log", "text": "x", "times": 10 }); 10] });
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(http.op(&many).status, 200);
                    begun.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while position() < events {
            std::thread::sleep(Duration::from_millis(200));
        }
        drop(stop);
    });
    (realm, node)
}

#[test]
#[ignore = "a figure"]
fn the_time_from_a_kill_to_the_first_answer_elsewhere() {
    println!("| actors | events | from the kill to the first answer, ms | beyond the lease, ms |\n|--:|--:|--:|--:|");
    let most = setting("EVENTS", 1_000_000);
    for (actors, events) in [(10, 10_000), (1_000, 10_000), (1_000, most)] {
        let Some(database) = database("a takeover") else { return };
        let (realm, first) = populated(database.url(), actors, events);
        let second = realm.node("second").follows(&realm);
        let has_all = || {
            let found = realm.realms();
            let nodes = found["nodes"].as_array()?.clone();
            nodes.iter().any(|node| node["node"] == "second" && node["behind"] == 0).then_some(())
        };
        eventually("the follower has all", has_all);
        let position = realm.realms()["position"].as_u64().expect("a number");
        let begun = Instant::now();
        first.kill();
        while second.http_if_any().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(Http::connect(second.http()).op(&json!("count")).status, 200);
        let took = begun.elapsed().as_millis() as u64;
        println!("| {actors} | {position} | {took} | {} |", took.saturating_sub(realm.lease_ms()));
    }
}

#[test]
#[ignore = "a figure"]
fn the_longest_gap_that_a_client_sees_when_a_realm_is_moved() {
    println!("| actors | longest gap, ms |\n|--:|--:|");
    for actors in [10, 1_000] {
        let Some(database) = database("a move") else { return };
        let (realm, mut first) = populated(database.url(), actors, 0);
        let mut second = realm.node("second").follows(&realm);
        for _ in 0..3 {
            let (over, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
            let mut gap = Duration::ZERO;
            std::thread::scope(|scope| {
                let stop = Over(&over);
                scope.spawn(|| realm::count_until(&[&first, &second], &over, &acknowledged));
                eventually("it counts", || (acknowledged.load(Ordering::Relaxed) > 20).then_some(()));
                let moving = scope.spawn(|| {
                    let args = ["realm", "move", "bank", &second.name, "--cluster", &realm.url];
                    assert!(support::theater(&args, None).status.success());
                });
                let (mut last, mut since) = (0, Instant::now());
                while !moving.is_finished() || acknowledged.load(Ordering::Relaxed) == last {
                    let now = acknowledged.load(Ordering::Relaxed);
                    if now != last {
                        gap = gap.max(since.elapsed());
                        (last, since) = (now, Instant::now());
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
                gap = gap.max(since.elapsed());
                drop(stop);
            });
            println!("| {actors} | {} |", gap.as_millis());
            (second, first) = (first.follows(&realm), second);
        }
    }
}
