//! The rows of the message path: outside to actor, actor to actor, sends, instances, spawns.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use theater::{Durability, TheaterRuntime};

use crate::floor::guest::FloorGuest;
use crate::floor::parts::{self, Commits};
use crate::floor::system::{Answer, Layers, System};
use crate::load::{Effort, Pair};
use crate::product::{self, Actor, Stage, command, echo, start};
use crate::report::{Report, Row, Target, Unit};

pub const MESSAGE: usize = 64;
const BOTH: [Durability; 2] = [Durability::Commit, Durability::Relaxed];
const REUSES: [u32; 2] = [1, 1_000];

/// So many actors of the guest, at work in this process.
pub struct Actors {
    pub theater: TheaterRuntime,
    pub ids: Vec<theater::ActorId>,
    pub stage: Stage,
}

impl Actors {
    pub fn start(count: usize, state_bytes: usize, reuse: u32, durability: Durability) -> Self {
        Self::start_with("", count, state_bytes, reuse, durability)
    }

    /// Like [`Actors::start`], with more keys at the beginning of the manifest.
    fn start_with(keys: &str, count: usize, state_bytes: usize, reuse: u32, durability: Durability) -> Self {
        let stage = Stage::new();
        let component = product::guest();
        let actor = Actor { name: "bench", component: &component, state_bytes: Some(state_bytes), reuse, more: "" };
        let manifest = stage.manifest(&actor);
        let text = std::fs::read_to_string(&manifest).expect("just written");
        std::fs::write(&manifest, format!("{keys}{text}")).expect("written");
        let theater = stage.runtime(durability);
        let ids = start(theater.handle(), &manifest, count);
        Self { theater, ids, stage }
    }

    pub fn request(&self, actor: usize, message: &[u8]) -> Vec<u8> {
        self.theater.handle().request(self.ids[actor], message.to_vec()).expect("an answer")
    }
}

/// The bare parts as actors, with a place for the answer of each client.
struct Floor {
    system: System,
    answers: Vec<Answer>,
    _stage: Stage,
}

impl Floor {
    fn start(actors: usize, clients: usize, state_bytes: usize, layers: Layers) -> Self {
        let stage = Stage::new();
        let guest = Arc::new(FloorGuest::compile(&product::guest()));
        let system = System::start(&stage.data_dir(), &guest, actors, state_bytes, layers);
        Self { system, answers: (0..clients).map(|_| Answer::default()).collect(), _stage: stage }
    }

    fn request(&self, actor: usize, client: usize, message: &[u8]) -> Vec<u8> {
        self.system.request(actor, &self.answers[client], message)
    }
}

fn layers(reuse: u32, durability: Durability) -> Layers {
    Layers { reuse: reuse > 1, chain: true, log: Some(durability) }
}

pub fn size(bytes: usize) -> String {
    Unit::Bytes.render(bytes as f64).replace(".00", "").replace(".0", "")
}

fn instance(reuse: u32) -> String {
    format!("reuse {reuse}")
}

/// The floor's floor: what its parts cost one at a time, as in the table that the targets were set by.
pub fn parts(report: &mut Report, effort: &Effort) {
    let mut push = |name: &str, unit, product| {
        report.push(Row {
            group: "bare parts",
            name: name.into(),
            unit,
            product,
            floor: None,
            busy: None,
            note: "(no product)".into(),
            target: None,
        });
    };
    push("hand-off and back, mutex and condvar", Unit::Time, parts::hand_off(effort));
    let guest = FloorGuest::compile(&product::guest());
    for state in [0, 1024, 64 * 1024, 1024 * 1024] {
        let name = format!("typed call, state {}", size(state));
        push(&name, Unit::Time, parts::guest_call(effort, &guest, state, &echo(MESSAGE), true));
    }
    push(
        "fresh instance and call, state 64 B",
        Unit::Time,
        parts::guest_call(effort, &guest, 64, &echo(MESSAGE), false),
    );
    for bytes in [64, 1024, 64 * 1024] {
        let data = vec![7; bytes];
        let plain = effort.median(|| effort.time(|| _ = std::hint::black_box(parts::plain_sha1(&data))));
        push(&format!("SHA-1 of {}", size(bytes)), Unit::Time, plain);
        let checked = effort.median(|| effort.time(|| _ = std::hint::black_box(parts::checked_sha1(&data))));
        push(&format!("SHA-1 of {}, with collision detection", size(bytes)), Unit::Time, checked);
    }
    push("one event hashed, data 128 B", Unit::Time, parts::event(effort, 128));
    for durability in BOTH {
        let stage = Stage::new();
        let mut commits = Commits::open(&stage.data_dir(), durability);
        for transitions in [1, 64, 1024] {
            let time = effort.median(|| effort.time(|| commits.commit(transitions, &[7; 128])));
            let name = format!("log {}, {transitions} transitions a commit", durability.word());
            push(&name, Unit::Rate, transitions as f64 * 1e9 / time);
        }
    }
}

/// The floor put together part by part: what actors on threads of their own can come to at most.
pub fn layers_of_the_floor(report: &mut Report, effort: &Effort) {
    let all = [
        ("threads, queues, calls", false, None),
        ("and hashes", true, None),
        ("and a plain log", true, Some(Durability::Relaxed)),
        ("and syncs", true, Some(Durability::Commit)),
    ];
    for actors in [64, 1_000] {
        for (name, chain, log) in all {
            let layers = Layers { reuse: true, chain, log };
            let floor = Floor::start(actors, actors, 1024, layers);
            let product = effort.median(|| effort.rate(actors, |at| _ = floor.request(at, at, &echo(MESSAGE))));
            report.push(Row {
                group: "the floor, part by part, state 1 KiB",
                name: format!("{actors} clients, {actors} actors: {name}"),
                unit: Unit::Rate,
                product,
                floor: None,
                busy: None,
                note: "(no product)".into(),
                target: None,
            });
        }
    }
}

/// One client, one actor: how long until the answer is there.
pub fn one_actor(report: &mut Report, effort: &Effort) {
    for durability in BOTH {
        for reuse in REUSES {
            one(report, effort, durability, reuse, 64);
        }
    }
    let stage = Stage::new();
    let commits = RefCell::new(Commits::open(&stage.data_dir(), Durability::Commit));
    let actors = Actors::start(1, 64, 1_000, Durability::Commit);
    let Pair { product, floor, busy } = effort.alternate(
        || effort.time(|| _ = actors.request(0, &echo(MESSAGE))),
        || effort.time(|| commits.borrow_mut().commit(1, &[7; 128])),
    );
    report.push(Row {
        group: "outside to actor, one client",
        name: "commit, reuse 1000, against a bare commit".into(),
        unit: Unit::Time,
        product,
        floor: Some(floor),
        busy: Some(busy),
        note: "one thread: two events, one write, one sync".into(),
        target: Some(Target::Ratio(2.0)),
    });
}

/// Larger states, which are passed in and out, hashed and written.
pub fn states(report: &mut Report, effort: &Effort) {
    for state in [1024, 64 * 1024, 1024 * 1024] {
        for durability in BOTH {
            one(report, effort, durability, 1_000, state);
        }
    }
    one(report, effort, Durability::Commit, 1, 1024 * 1024);
}

fn one(report: &mut Report, effort: &Effort, durability: Durability, reuse: u32, state: usize) {
    let actors = Actors::start(1, state, reuse, durability);
    let floor = Floor::start(1, 1, state, layers(reuse, durability));
    let Pair { product, floor, busy } = effort.alternate(
        || effort.time(|| _ = actors.request(0, &echo(MESSAGE))),
        || effort.time(|| _ = floor.request(0, 0, &echo(MESSAGE))),
    );
    report.push(Row {
        group: "outside to actor, one client",
        name: format!("{}, {}, state {}", durability.word(), instance(reuse), size(state)),
        unit: Unit::Time,
        product,
        floor: Some(floor),
        busy: Some(busy),
        note: "hand-off, call, 2 hashes, commit, hand-off".into(),
        target: None,
    });
}

/// As many clients as actors, each with its own; and many clients of one actor.
pub fn many_actors(report: &mut Report, effort: &Effort) {
    let target = |durability, reuse| (durability == Durability::Commit && reuse > 1).then_some(Target::Ratio(0.65));
    for (actors, clients) in [(64, 64), (1_000, 1_000), (1, 64)] {
        for durability in BOTH {
            for reuse in REUSES {
                if effort.quick && durability == Durability::Relaxed && (actors != 64 || reuse == 1) {
                    continue;
                }
                let running = Actors::start(actors, 1024, reuse, durability);
                let floor = Floor::start(actors, clients, 1024, layers(reuse, durability));
                let Pair { product, floor, busy } = effort.alternate(
                    || effort.rate(clients, |client| _ = running.request(client % actors, &echo(MESSAGE))),
                    || effort.rate(clients, |client| _ = floor.request(client % actors, client, &echo(MESSAGE))),
                );
                report.push(Row {
                    group: "outside to actors, state 1 KiB",
                    name: format!("{clients} clients, {actors} actors, {}, {}", durability.word(), instance(reuse)),
                    unit: Unit::Rate,
                    product,
                    floor: Some(floor),
                    busy: Some(busy),
                    note: "threads, queues, calls, hashes, a plain log, group commit".into(),
                    target: target(durability, reuse).filter(|_| actors > 1),
                });
            }
        }
    }
}

/// Actors that are mostly read, beside the same actors when every request changes their state.
pub fn reads(report: &mut Report, effort: &Effort) {
    const ACTORS: usize = 64;
    for reuse in REUSES {
        for reads in ["commit", "early"] {
            let keys = format!("reads = \"{reads}\"\n");
            let actors = Actors::start_with(&keys, ACTORS, 1024, reuse, Durability::Commit);
            let asked: Vec<_> = (0..ACTORS).map(|client| AtomicUsize::new(client)).collect();
            let mix = |client: usize| {
                let is_write = 3 * asked[client].fetch_add(1, Ordering::Relaxed) % 100 < 3;
                let message = if is_write { echo(MESSAGE) } else { product::read(MESSAGE) };
                actors.request(client, &message);
            };
            let Pair { product, floor, busy } = effort.alternate(
                || effort.rate(ACTORS, mix),
                || effort.rate(ACTORS, |client| _ = actors.request(client, &echo(MESSAGE))),
            );
            report.push(Row {
                group: "97 of 100 requests are reads, 64 clients of 64 actors, state 1 KiB",
                name: format!("reads = \"{reads}\", {}", instance(reuse)),
                unit: Unit::Rate,
                product,
                floor: Some(floor),
                busy: Some(busy),
                note: "the same actors, every request a write".into(),
                target: (reads == "early").then_some(Target::Ratio(3.0)),
            });
        }
    }
}

/// One actor requests of another: four events, and no commit between them.
pub fn actor_to_actor(report: &mut Report, effort: &Effort) {
    const REQUESTS: u32 = 500;
    for reuse in REUSES {
        let actors = Actors::start(2, 64, reuse, Durability::Commit);
        let ask = command(b'f', REQUESTS, actors.ids[1], &echo(MESSAGE));
        let guest = FloorGuest::compile(&product::guest());
        let product = effort.median(|| effort.time(|| _ = actors.request(0, &ask)) / f64::from(REQUESTS));
        let call = parts::guest_call(effort, &guest, 64, &echo(MESSAGE), reuse > 1);
        let floor = parts::hand_off(effort) + call + 4.0 * parts::event(effort, 128);
        report.push(Row {
            group: "actor to actor",
            name: format!("request and answer, {}", instance(reuse)),
            unit: Unit::Time,
            product,
            floor: Some(floor),
            busy: None,
            note: "sum: hand-off and back, call, 4 hashes (the log is another thread's)".into(),
            target: Some(Target::Ratio(2.0)),
        });
        let stage = Stage::new();
        let mut commits = Commits::open(&stage.data_dir(), Durability::Commit);
        let log = effort.median(|| effort.time(|| commits.commit(1024, &[7; 128])) / 1024.0);
        report.push(Row {
            group: "actor to actor",
            name: format!("request and answer, {}, the log counted in", instance(reuse)),
            unit: Unit::Time,
            product,
            floor: Some(floor + 2.0 * log),
            busy: None,
            note: "the same and 4 events in large commits".into(),
            target: None,
        });
    }
    pairs(report, effort);
}

/// Pairs of actors that ask each other all the time; what the writer keeps up with.
fn pairs(report: &mut Report, effort: &Effort) {
    const REQUESTS: u32 = 50;
    let pairs = 32;
    let actors = Actors::start(2 * pairs, 64, 1_000, Durability::Commit);
    let product = effort.median(|| {
        let ask = |pair: usize| {
            let ask = command(b'f', REQUESTS, actors.ids[2 * pair + 1], &echo(MESSAGE));
            actors.request(2 * pair, &ask);
        };
        effort.rate(pairs, ask) * f64::from(REQUESTS)
    });
    report.push(Row {
        group: "actor to actor",
        name: format!("{pairs} pairs, reuse 1000"),
        unit: Unit::Rate,
        product,
        floor: None,
        busy: None,
        note: String::new(),
        target: None,
    });
}

/// Sends: one to one, many to one, one to many. Over once the receivers have taken all.
pub fn sends(report: &mut Report, effort: &Effort) {
    const MANY: usize = 16;
    for (senders, receivers) in [(1, 1), (MANY, 1), (1, MANY)] {
        let Pair { product, floor, busy } = send_samples(effort, senders, receivers);
        report.push(Row {
            group: "sends",
            name: format!("{senders} to {receivers}, commit, reuse 1000"),
            unit: Unit::Rate,
            product,
            floor: Some(floor),
            busy: Some(busy),
            note: "3 hashes, 3 events logged, a queue, a call".into(),
            target: None,
        });
    }
}

fn send_samples(effort: &Effort, senders: usize, receivers: usize) -> Pair {
    let total: usize = if effort.quick { 8_000 } else { 40_000 };
    let channels = senders.max(receivers);
    let each = total / channels;
    let actors = Actors::start(senders + receivers, 64, 1_000, Durability::Commit);
    let product = || {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for sender in 0..senders {
                let actors = &actors;
                scope.spawn(move || {
                    let to = (0..receivers).map(|receiver| actors.ids[senders + receiver]);
                    to.for_each(|to| _ = actors.request(sender, &command(b's', each as u32, to, &echo(MESSAGE))));
                });
            }
        });
        (0..receivers).for_each(|receiver| _ = actors.request(senders + receiver, &echo(MESSAGE)));
        (each * channels) as f64 / begun.elapsed().as_secs_f64()
    };
    let bare = Floor::start(receivers, 1, 64, layers(1_000, Durability::Commit));
    let floor = || {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..senders {
                let system = &bare.system;
                scope.spawn(move || {
                    let mut head = [0; 20];
                    // Their chains are not checked; the sequence only has to be one that no other row has.
                    for message in 0..each * receivers {
                        system.record_send(&mut head, &echo(MESSAGE));
                        system.send(message / each, &echo(MESSAGE));
                    }
                });
            }
        });
        (0..receivers).for_each(|receiver| _ = bare.request(receiver, 0, &echo(MESSAGE)));
        (each * channels) as f64 / begun.elapsed().as_secs_f64()
    };
    effort.alternate(product, floor)
}

/// What an instance of its own adds to a call.
pub fn instances(report: &mut Report, effort: &Effort) {
    let component = product::guest();
    let actors = REUSES.map(|reuse| Actors::start(1, 64, reuse, Durability::Relaxed));
    let time = |which: usize| effort.time(|| _ = actors[which].request(0, &echo(MESSAGE)));
    let product = effort.difference(|| time(0), || time(1));
    let guest = FloorGuest::compile(&component);
    let floor = |reuse| parts::guest_call(&effort.once(), &guest, 64, &echo(MESSAGE), reuse);
    let floor = effort.difference(|| floor(false), || floor(true));
    report.push(Row {
        group: "instances",
        name: "fresh instance adds, bare guest".into(),
        unit: Unit::Time,
        product,
        floor: Some(floor),
        busy: None,
        note: "InstancePre::instantiate, new store".into(),
        target: Some(Target::Ratio(1.2)),
    });
    let Some(counter) = product::example("counter") else {
        return report.note("No figures for a Rust guest: `make actors` has not been run.");
    };
    let message = br#"{"add":1}"#;
    let stages = REUSES.map(|reuse| {
        let stage = Stage::new();
        let actor = Actor { name: "counter", component: &counter, state_bytes: None, reuse, more: "" };
        let manifest = stage.manifest(&actor);
        let theater = stage.runtime(Durability::Relaxed);
        let id = start(theater.handle(), &manifest, 1)[0];
        (theater, id, stage)
    });
    let time = |(theater, id, _): &(TheaterRuntime, theater::ActorId, Stage)| {
        effort.time(|| _ = theater.handle().request(*id, message.to_vec()).expect("an answer"))
    };
    let product = effort.difference(|| time(&stages[0]), || time(&stages[1]));
    let guest = FloorGuest::compile(&counter);
    let floor = |reuse| parts::call_with(&effort.once(), &guest, br#"{"count":1}"#, message, reuse);
    let floor = effort.difference(|| floor(false), || floor(true));
    report.push(Row {
        group: "instances",
        name: "fresh instance adds, Rust guest with serde_json".into(),
        unit: Unit::Time,
        product,
        floor: Some(floor),
        busy: None,
        note: "InstancePre::instantiate, new store".into(),
        target: Some(Target::Ratio(1.2)),
    });
}
