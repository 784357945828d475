//! The rows of what is on disk: verification, replay, and how much room a transition takes; and of spawns.

use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use theater::{Durability, TheaterRuntime, UnverifiedChain};
use wasmtime::component::Component;

use crate::log_file::LogFile;
use crate::floor::guest::{FloorGuest, engine};
use crate::floor::parts::{self, Commits, checked_sha1};
use crate::floor::system::{Layers, System};
use crate::load::{Effort, Pair};
use crate::process::theater;
use crate::product::{self, Actor, Stage, command, echo, start};
use crate::report::{Report, Row, Target, Unit, median};
use crate::rows::{Actors, MESSAGE};

/// A journal that one actor for each client has lived, and how many transitions a second that was.
struct Life {
    stage: Stage,
    transitions: usize,
    seconds: f64,
}

fn live(actors: usize, each: usize, state_bytes: usize, reuse: u32) -> Life {
    let running = Actors::start(actors, state_bytes, reuse, Durability::Commit);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for actor in 0..actors {
            let running = &running;
            scope.spawn(move || (0..each).for_each(|_| _ = running.request(actor, &echo(MESSAGE))));
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    let Actors { theater, stage, .. } = running;
    theater.shutdown();
    Life { stage, transitions: actors * each, seconds }
}

/// Seconds that `theater ARGS…` takes; it must succeed.
fn cli(args: &[&str]) -> f64 {
    let begun = Instant::now();
    let status =
        Command::new(theater()).args(args).stdout(Stdio::null()).stderr(Stdio::null()).env("RUST_LOG", "warn").status();
    assert!(status.expect("the binary is built beside this one").success(), "theater {args:?}");
    begun.elapsed().as_secs_f64()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// What an event's hash covers.
struct Hashed {
    preimage: Vec<u8>,
    /// With its salt in front, where it has one.
    data: Vec<u8>,
    is_salted: bool,
}

fn hashed(data_dir: &Path) -> Vec<Hashed> {
    let log = LogFile::read(data_dir);
    let hashed = log.events().map(|event| {
        // The domain, two numbers, the parent, two lengths and the digest of the data.
        let digest = if event.is_salted { 32 } else { 20 };
        let preimage = vec![7; 23 + 8 + 21 + 8 + 4 + event.event_type.len() + 8 + digest];
        let data = event.data.kept().expect("nothing was dropped").clone();
        Hashed { preimage, data, is_salted: event.is_salted }
    });
    hashed.collect()
}

/// Collision-checked SHA-1 over what the events' hashes cover, on all cores; seconds.
fn hash_all(events: &[Hashed]) -> f64 {
    on_all_cores(events, |Hashed { preimage, data, .. }| _ = black_box((checked_sha1(data), checked_sha1(preimage))))
}

/// What a verification hashes: salted data is hashed by SHA-256, and not by SHA-1.
fn hash_as_verified(events: &[Hashed]) -> f64 {
    on_all_cores(events, |Hashed { preimage, data, is_salted }| {
        if *is_salted {
            black_box(Sha256::digest(data));
        } else {
            black_box(checked_sha1(data));
        }
        black_box(checked_sha1(preimage));
    })
}

fn on_all_cores(events: &[Hashed], hash: impl Fn(&Hashed) + Sync) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    let worker = || {
        const SHARE: usize = 256;
        loop {
            let from = next.fetch_add(SHARE, Ordering::Relaxed);
            let Some(share) = events.get(from..) else { return };
            share.iter().take(SHARE).for_each(&hash);
        }
    };
    std::thread::scope(|scope| (0..cores).for_each(|_| _ = scope.spawn(worker)));
    begun.elapsed().as_secs_f64()
}

/// A chain file, and a whole journal, checked.
pub fn verify(report: &mut Report, effort: &Effort) {
    let each = if effort.quick { 20_000 } else { 100_000 };
    for (state, each) in [(64, each), (1024, each / 4)] {
        let Life { stage, .. } = live(4, each / 4, state, 1_000);
        let events = hashed(&stage.data_dir());
        let bytes: usize = events.iter().map(|event| event.preimage.len() + event.data.len()).sum();
        let floors = (effort.median(|| hash_all(&events)), effort.median(|| hash_as_verified(&events)));
        let whole = effort.median(|| cli(&["verify", "--journal", text(&stage.data_dir())]));
        let size = crate::rows::size(state);
        push_verify(report, format!("theater verify --journal, state {size}"), (events.len(), bytes), whole, floors);
    }
    let Life { stage, .. } = live(1, each / 4, 64, 1_000);
    let (file, events) = (stage.path().join("one.chain"), hashed(&stage.data_dir()));
    let bytes: usize = events.iter().map(|event| event.preimage.len() + event.data.len()).sum();
    cli(&["export", "bench", "-o", text(&file), "--data-dir", text(&stage.data_dir())]);
    let floors = (effort.median(|| hash_all(&events)), effort.median(|| hash_as_verified(&events)));
    let whole = effort.median(|| cli(&["verify", text(&file)]));
    push_verify(report, "theater verify FILE".into(), (events.len(), bytes), whole, floors);
    let alone = median((0..effort.samples).map(|_| in_memory(&file)).collect());
    push_verify(report, "UnverifiedChain::verify, read before".into(), (events.len(), bytes), alone, floors);
}

fn in_memory(file: &Path) -> f64 {
    let source = std::io::BufReader::new(std::fs::File::open(file).expect("the chain"));
    let chain = UnverifiedChain::read(source).expect("a chain");
    let begun = Instant::now();
    chain.verify().expect("it holds");
    begun.elapsed().as_secs_f64()
}

fn push_verify(
    report: &mut Report,
    name: String,
    (events, bytes): (usize, usize),
    product: f64,
    (sha1, as_verified): (f64, f64),
) {
    let mut push = |name: String, unit, count: usize, (floor, note): (f64, &str), target| {
        report.push(Row {
            group: "verify",
            name,
            unit,
            product: count as f64 / product,
            floor: Some(count as f64 / floor),
            busy: None,
            note: note.into(),
            target,
        });
    };
    let sha1 = (sha1, "collision-checked SHA-1 of the same bytes, all cores");
    push(format!("{name}, bytes"), Unit::Flow, bytes, sha1, None);
    push(format!("{name}, events"), Unit::Rate, events, sha1, Some(Target::Ratio(1.0 / 1.5)));
    let as_verified = (as_verified, "SHA-256 of salted data, checked SHA-1 of the rest");
    push(format!("{name}, events, the hashes it makes"), Unit::Rate, events, as_verified, None);
}

/// A journal executed again, against how fast it was lived, and against its parts.
pub fn replay(report: &mut Report, effort: &Effort) {
    // Lived for some seconds each: a replay begins by compiling the component.
    let (one, many) = if effort.quick { (10_000, 100_000) } else { (50_000, 200_000) };
    for (actors, reuse, each) in [(1, 1, one), (1, 1_000, one), (64, 1_000, many)] {
        let Life { stage, transitions, seconds } = live(actors, each / actors, 64, reuse);
        let took = effort.median(|| cli(&["replay", "--journal", text(&stage.data_dir())]));
        let events = (2 * transitions) as f64;
        let guest = FloorGuest::compile(&product::guest());
        let call = parts::guest_call(effort, &guest, 64, &echo(MESSAGE), reuse > 1);
        let floor = 2e9 / (call + 2.0 * parts::event(effort, 128));
        let mut push = |against: &str, floor, target| {
            report.push(Row {
                group: "replay",
                name: format!("theater replay --journal, {actors} actors, reuse {reuse}, events, {against}"),
                unit: Unit::Rate,
                product: events / took,
                floor: Some(floor),
                busy: None,
                note: if target { "how fast it was lived, durable" } else { "one core: call, 2 hashes" }.into(),
                target: target.then_some(Target::Ratio(3.0)),
            });
        };
        push("against life", events / seconds, true);
        push("against parts", floor, false);
    }
}

/// Bytes of the log once it is closed, or of the floor's.
fn size_of(data_dir: &Path) -> f64 {
    let bytes = |file: &Path| std::fs::metadata(file).map_or(0.0, |file| file.len() as f64);
    let segments = std::fs::read_dir(data_dir.join("log")).into_iter().flatten().flatten();
    segments.map(|segment| bytes(&segment.path())).sum::<f64>() + bytes(&data_dir.join("floor.log"))
}

pub fn room(report: &mut Report, effort: &Effort) {
    let each = if effort.quick { 5_000 } else { 20_000 };
    for (state, each) in [(0, each), (64, each), (1024, each), (64 * 1024, each / 10)] {
        let life = live(1, each, state, 1_000);
        let product = size_of(&life.stage.data_dir()) / life.transitions as f64;
        let stage = Stage::new();
        let guest = Arc::new(FloorGuest::compile(&product::guest()));
        let layers = Layers { reuse: true, chain: true, log: Some(Durability::Relaxed) };
        let system = System::start(&stage.data_dir(), &guest, 1, state, layers);
        let answer = Default::default();
        (0..each).for_each(|_| _ = system.request(0, &answer, &echo(MESSAGE)));
        drop(system);
        report.push(Row {
            group: "journal",
            name: format!("bytes a transition, state {}, message 64 B", crate::rows::size(state)),
            unit: Unit::Bytes,
            product,
            floor: Some(size_of(&stage.data_dir()) / each as f64),
            busy: None,
            note: "the same events with the least framing; no kept states".into(),
            target: None,
        });
    }
}

/// What a request from actor to actor leaves: two events of each.
pub fn room_of_requests(report: &mut Report, effort: &Effort) {
    const REQUESTS: u32 = 100;
    let rounds = if effort.quick { 50 } else { 200 };
    let running = Actors::start(2, 64, 1_000, Durability::Relaxed);
    let ask = command(b'f', REQUESTS, running.ids[1], &echo(MESSAGE));
    (0..rounds).for_each(|_| _ = running.request(0, &ask));
    let Actors { theater, stage, .. } = running;
    theater.shutdown();
    report.push(Row {
        group: "journal",
        name: "bytes a request from actor to actor (4 events), state 64 B".into(),
        unit: Unit::Bytes,
        product: size_of(&stage.data_dir()) / f64::from(rounds * REQUESTS),
        floor: None,
        busy: None,
        note: String::new(),
        target: None,
    });
}

/// A component that nobody has compiled before: the same, with another custom section.
fn unheard_of(component: &[u8]) -> Vec<u8> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("{:08}{:08}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    [component, &[0, 17, 16], name.as_bytes()].concat()
}

fn actor(component: &[u8]) -> Actor<'_> {
    Actor { name: "counter", component, state_bytes: None, reuse: 1, more: "" }
}

/// From the order to start an actor until it has answered its first message.
pub fn spawn(report: &mut Report, effort: &Effort) {
    let Some(counter) = product::example("counter") else {
        return report.note("No spawns: `make actors` has not been run.");
    };
    let stage = Stage::new();
    let first_answer = |theater: &TheaterRuntime, manifest: &Path| {
        let begun = Instant::now();
        let id = start(theater.handle(), manifest, 1)[0];
        theater.handle().request(id, br#"{"add":1}"#.to_vec()).expect("an answer");
        begun.elapsed().as_nanos() as f64
    };
    let commits = std::cell::RefCell::new(Commits::open(&Stage::data_dir(&Stage::new()), Durability::Commit));
    // A thread, an instance each for `init` and the message, a commit each for being up and the answer.
    let rest = |component: &Component| {
        let guest = FloorGuest::of(component);
        let guest = &guest;
        std::thread::scope(|scope| {
            let actor = || (0..2).for_each(|_| _ = guest.stand().call(Some(br#"{"count":1}"#), br#"{"add":1}"#));
            scope.spawn(actor).join().expect("it ends");
        });
        (0..2).for_each(|_| commits.borrow_mut().commit(1, &[7; 128]));
    };
    let mut theater = stage.runtime(Durability::Commit);
    let Pair { product, floor, .. } = effort.alternate(
        || {
            let component = unheard_of(&counter);
            first_answer(&theater, &stage.manifest(&actor(&component)))
        },
        || {
            let begun = Instant::now();
            rest(&Component::from_binary(engine(), &unheard_of(&counter)).expect("a component"));
            begun.elapsed().as_nanos() as f64
        },
    );
    push_spawn(report, "cold component", product, floor, "compile, thread, 2 instances, 2 commits");

    let manifest = stage.manifest(&actor(&counter));
    first_answer(&theater, &manifest);
    let code = Component::from_binary(engine(), &counter).and_then(|component| component.serialize()).expect("code");
    let mut samples = (Vec::new(), Vec::new());
    for _ in 0..effort.samples {
        theater.shutdown();
        theater = stage.runtime(Durability::Commit);
        samples.0.push(first_answer(&theater, &manifest));
        let begun = Instant::now();
        // SAFETY: serialised just above.
        rest(&unsafe { Component::deserialize(engine(), &code) }.expect("code"));
        samples.1.push(begun.elapsed().as_nanos() as f64);
    }
    push_spawn(
        report,
        "component cached on disk",
        median(samples.0),
        median(samples.1),
        "load, thread, 2 instances, 2 commits",
    );

    let component = Component::from_binary(engine(), &counter).expect("a component");
    let once = |theater: &TheaterRuntime| median((0..20).map(|_| first_answer(theater, &manifest)).collect());
    let Pair { product, floor, .. } = effort.alternate(
        || once(&theater),
        || {
            let begun = Instant::now();
            (0..20).for_each(|_| rest(&component));
            begun.elapsed().as_nanos() as f64 / 20.0
        },
    );
    push_spawn(report, "component in memory", product, floor, "link, thread, 2 instances, 2 commits");
}

fn push_spawn(report: &mut Report, what: &str, product: f64, floor: f64, note: &str) {
    report.push(Row {
        group: "spawn to first answer",
        name: format!("Rust guest, {what}"),
        unit: Unit::Time,
        product,
        floor: Some(floor),
        busy: None,
        note: note.into(),
        target: None,
    });
}
