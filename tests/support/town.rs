//! A load for tests, called a town: a bank with four customers, three counters, and a record of what clients were told.
//! However the runtime ends in between, nothing acknowledged may be lost, and nothing may happen twice.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use serde_json::{Value, json};

use super::{Http, HttpAnswer, Stage, Theater, component, eventually, replay, signal, theater, verify};

/// Pseudo-random numbers, the same for the same seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

pub fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The bank and three counters, with the knowledge of their customers.
pub struct Town {
    pub stage: Stage,
    manifests: Vec<PathBuf>,
    /// The transfers that were acknowledged: sender and number.
    pub transfers: Mutex<BTreeSet<(String, u64)>>,
    /// How many rounds of counting were acknowledged.
    pub counted: AtomicU64,
    /// How many rounds of counting were requested.
    asked: AtomicU64,
    /// The ids of the two counters that count by messages.
    ids: OnceLock<[String; 2]>,
}

const PEOPLE: [&str; 4] = ["ann", "bob", "cyd", "dan"];
const EACH: u64 = 1_000_000;

impl Town {
    pub fn new() -> Self {
        let stage = Stage::new();
        let dist = component("ledger").parent().expect("a directory").display().to_string();
        let shipped = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(name);
            let text = std::fs::read_to_string(path).expect("a manifest");
            stage.file(name, text.replace("../actors/dist", &dist).replace("port = 8082", "port = 0"))
        };
        shipped("account.toml");
        let ledger = shipped("ledger.toml");
        let counters = ["asker", "asked", "told"].map(|name| match name {
            "asker" => stage.http_manifest(name, "probe", "restart = \"permanent\"\n"),
            // Instances serve many calls, so a resumed execution begins before the open transition.
            _ => stage.manifest(name, "probe", "reuse = 7\n"),
        });
        let manifests = [&[ledger][..], &counters].concat();
        let (transfers, counted, asked) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        Self { stage, manifests, transfers, counted, asked, ids: OnceLock::new() }
    }

    /// Starts the runtime with these environment variables added to its own.
    pub fn start(&self, environment: &[(&str, String)]) -> Result<Theater, String> {
        let paths: Vec<_> = self.manifests.iter().map(PathBuf::as_path).collect();
        let launch = self.stage.command(&paths, &[]).arg("--data-dir").arg(self.stage.data_dir());
        environment.iter().fold(launch, |launch, (key, value)| launch.env(key, value)).launch(&self.stage)
    }

    pub fn open_accounts(&self) {
        let running = self.start(&[]).expect("it starts");
        self.ids.get_or_init(|| ["asked", "told"].map(|name| running.id(name)));
        let mut http = Http::connect(running.http("ledger"));
        for name in PEOPLE {
            assert_eq!(http.ask("POST", "/accounts", Some(&json!({ "name": name }).to_string())).status, 201);
            let deposit = json!({ "cents": EACH }).to_string();
            assert_eq!(http.ask("POST", &format!("/accounts/{name}/deposit"), Some(&deposit)).status, 200);
        }
        running.shut_down();
    }

    /// Runs the customers until the process dies; `end` decides when it is killed.
    pub fn live_until(&self, mut running: Theater, moment: u64) -> std::process::ExitStatus {
        let over = AtomicBool::new(false);
        let (ledger, asker) = (running.http("ledger"), running.http("asker"));
        let ids = self.ids.get_or_init(|| ["asked", "told"].map(|name| running.id(name)));
        let answers = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for at in 0..3_u64 {
                let (over, answers) = (&over, &answers);
                scope.spawn(move || self.customer(ledger, at, over, answers));
            }
            let (over, answers) = (&over, &answers);
            (0..2).for_each(|_| _ = scope.spawn(|| self.counting(asker, ids, over, answers)));
            eventually("the moment comes", || {
                let dead = !Path::new(&format!("/proc/{}/exe", running.pid())).exists() || is_over(&mut running);
                (dead || answers.load(Ordering::SeqCst) >= moment).then_some(())
            });
            signal_if_alive(&running);
            let status = running.wait();
            over.store(true, Ordering::SeqCst);
            status
        })
    }

    fn customer(&self, ledger: SocketAddr, at: u64, over: &AtomicBool, answers: &AtomicU64) {
        let Some(mut http) = try_connect(ledger) else { return };
        let mut dice = Dice(at * 7_919 + answers.load(Ordering::SeqCst) + 1);
        while !over.load(Ordering::SeqCst) {
            let from = dice.roll(4);
            let (from, to) = (PEOPLE[from as usize], PEOPLE[(from + 1 + dice.roll(3)) as usize % 4]);
            let body = json!({ "from": from, "to": to, "cents": 1 + dice.roll(9) }).to_string();
            let Some(answer) = post(&mut http, "/transfers", &body) else { return };
            if answer.status == 201 {
                let number = answer.json()["number"].as_u64().expect("a number");
                let new = self.transfers.lock().expect("customers").insert((from.to_owned(), number));
                assert!(new, "transfer {number} of {from} was acknowledged twice");
            }
            answers.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Counts at three actors at once: directly, by a request, by a send.
    fn counting(&self, asker: SocketAddr, ids: &[String; 2], over: &AtomicBool, answers: &AtomicU64) {
        let Some(mut http) = try_connect(asker) else { return };
        let request = json!({ "op": "request", "to": ids[0], "msg": "count" });
        let send = json!({ "op": "send", "to": ids[1], "msg": "count" });
        let body = json!({ "op": "many", "ops": ["count", request, send] }).to_string();
        while !over.load(Ordering::SeqCst) {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let Some(answer) = post(&mut http, "/op", &body) else { return };
            if answer.status == 200 {
                assert!(answer.body.contains("\"ok\""), "{}", answer.body);
                self.counted.fetch_add(1, Ordering::SeqCst);
            }
            answers.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Checks the totals after everything in progress has ended.
    pub fn holds(&self, round: u64) {
        let running = self.start(&[]).expect("it starts");
        let mut http = Http::connect(running.http("ledger"));
        let overview = eventually("no transfer is half done", || {
            let overview = http.ask("GET", "/", None).json();
            overview["unfinished"].as_array()?.is_empty().then_some(overview)
        });
        assert_eq!(overview["total"], EACH * PEOPLE.len() as u64, "round {round}: {overview}");
        let accounts = self.accounts(&running);
        for name in PEOPLE {
            let status = &accounts[name];
            let sent = find(status, "sent").and_then(Value::as_u64).unwrap_or_else(|| panic!("{status}"));
            let transfers = self.transfers.lock().expect("customers");
            let highest = transfers.iter().filter(|(from, _)| from == name).map(|(_, number)| *number).max();
            assert!(highest.unwrap_or(0) <= sent, "round {round}: {name} has forgotten a transfer: {status}");
        }
        let count = |actor: &str| running.json(&["state", actor])["state"]["count"].as_u64().unwrap_or(0);
        let counts = || ["asker", "asked", "told"].map(count);
        let counts = eventually("the three agree", || {
            let counts = counts();
            (counts[0] == counts[1] && counts[1] == counts[2]).then_some(counts)
        });
        let (counted, asked) = (self.counted.load(Ordering::SeqCst), self.asked.load(Ordering::SeqCst));
        assert!(counted <= counts[0] && counts[0] <= asked, "round {round}: {counted} <= {} <= {asked}", counts[0]);
        running.shut_down();
        let audit = audit(&self.stage);
        assert_eq!(audit["in_flight"], 0, "round {round}: {audit}");
    }

    /// The state of each account, by its owner.
    fn accounts(&self, running: &Theater) -> HashMap<String, Value> {
        let listed = running.json(&["list"]);
        let accounts = listed.as_array().expect("actors").iter().filter(|actor| actor["name"] == "account");
        let states =
            accounts.map(|actor| running.json(&["state", actor["id"].as_str().expect("an id")])["state"].clone());
        states
            .map(|state| (find(&state, "owner").and_then(Value::as_str).expect("an owner").to_owned(), state))
            .collect()
    }

    /// Checks that every chain verifies and replays to its head.
    pub fn replays(&self) {
        let running = self.start(&[]).expect("it starts");
        let actors: Vec<String> = running
            .json(&["list"])
            .as_array()
            .expect("actors")
            .iter()
            .map(|it| it["id"].as_str().expect("an id").to_owned())
            .collect();
        for actor in actors {
            let chain = running.export(&self.stage, &actor);
            let verified = verify(&chain).expect("it verifies");
            let replayed = replay(&chain, &[]).unwrap_or_else(|why| panic!("{actor}: {why}"));
            assert_eq!(verified["head"], replayed["head"]);
            let failed = running.event_types(&actor).iter().filter(|it| *it == "failed").count();
            assert_eq!(failed, 0, "{actor} never failed");
        }
    }
}

/// The first value under `key`, at any depth.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let fields = value.as_object()?;
    fields.get(key).or_else(|| fields.values().find_map(|inner| find(inner, key)))
}

fn is_over(running: &mut Theater) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", running.pid())).map_or(true, |stat| stat.contains(") Z "))
}

fn signal_if_alive(running: &Theater) {
    // Until the process is waited for, no other process can get its id.
    signal(running.pid(), "KILL");
}

fn try_connect(address: SocketAddr) -> Option<Http> {
    std::net::TcpStream::connect(address).ok().map(|_| ())?;
    std::panic::catch_unwind(|| Http::connect(address)).ok()
}

fn post(http: &mut Http, path: &str, body: &str) -> Option<HttpAnswer> {
    let length = body.len();
    let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    http.send_raw(request.as_bytes()).ok()?;
    http.receive()
}

fn audit(stage: &Stage) -> Value {
    let output = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path"), "--json"], None);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{found}");
    found
}
