//! What signed checkpoints cost: requests with and without them, how far they are behind, and how fast a tree is built over a journal
//! that has events already.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use theater::{CheckpointSigner, Durability, TheaterRuntime, new_signing_key};

use crate::load::{Effort, Pair};
use crate::product::echo;
use crate::report::{Report, Row, Target, Unit};
use crate::rows::{Actors, MESSAGE};

const ACTORS: usize = 64;

fn sign(theater: &TheaterRuntime) -> CheckpointSigner {
    let key = new_signing_key("bench.example").expect("randomness");
    theater.handle().sign_checkpoints(&key).expect("it signs")
}

/// Requests a second with checkpoints beside those without, in turn; then the lag and the speed of the tree.
pub fn proofs(report: &mut Report, effort: &Effort) {
    let signing = Actors::start(ACTORS, 64, 1_000, Durability::Commit);
    let plain = Actors::start(ACTORS, 64, 1_000, Durability::Commit);
    let signer = sign(&signing.theater);
    let Pair { product, floor, busy } = effort.alternate(
        || {
            let rate = effort.rate(ACTORS, |client| _ = signing.request(client, &echo(MESSAGE)));
            // What is left to sign must not be counted to the other.
            signer.sign_now().expect("signed");
            rate
        },
        || effort.rate(ACTORS, |client| _ = plain.request(client, &echo(MESSAGE))),
    );
    let mut push = |name: &str, unit, product, floor, busy, note: &str, target| {
        let (name, note) = (name.to_owned(), note.to_owned());
        report.push(Row {
            group: "proofs, 64 clients, 64 actors, commit",
            name,
            unit,
            product,
            floor,
            busy,
            note,
            target,
        });
    };
    push(
        "requests, a checkpoint a second",
        Unit::Rate,
        product,
        Some(floor),
        Some(busy),
        "without",
        Some(Target::Ratio(0.85)),
    );
    let lag = lag(effort, &signing, &signer);
    push(
        "the longest that an event waited for its checkpoint",
        Unit::Time,
        lag,
        None,
        None,
        "under that load",
        Some(Target::Most(2e9)),
    );
    signer.end();

    // More events than one start takes to be measured.
    let until = Instant::now() + 8 * effort.sample;
    while Instant::now() < until {
        let _ = effort.rate(ACTORS, |client| _ = plain.request(client, &echo(MESSAGE)));
    }
    let begun = Instant::now();
    let signer = sign(&plain.theater);
    signer.sign_now().expect("signed");
    let rate = signer.covered() as f64 / begun.elapsed().as_secs_f64();
    let note = format!("over {} events that were there", signer.covered());
    push("leaves of a tree that is built anew", Unit::Rate, rate, None, None, &note, None);
    signer.end();
}

/// Under load, how long it takes from the answer to a request until a checkpoint covers so many events as there were then.
fn lag(effort: &Effort, actors: &Actors, signer: &CheckpointSigner) -> f64 {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..ACTORS {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    _ = actors.request(client, &echo(MESSAGE));
                }
            });
        }
        let mut longest = Duration::ZERO;
        let until = Instant::now() + 10 * effort.sample;
        while Instant::now() < until {
            let (begun, recorded) = (Instant::now(), events(actors));
            while signer.covered() < recorded {
                std::thread::sleep(Duration::from_millis(1));
            }
            longest = longest.max(begun.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        longest.as_nanos() as f64
    })
}

/// How many events are committed.
fn events(actors: &Actors) -> u64 {
    actors.theater.handle().metrics().total.counts.chain_length
}
