//! Many actors that sleep: what they cost, how fast they wake, and how fast a runtime starts with them. The figures of
//! `docs/performance.md` are those of
//! `THEATER_SLEEPERS=100000 cargo test --release --test sleepers -- --nocapture`.

#[path = "support/population.rs"]
mod population;
mod support;

use std::time::{Duration, Instant};

use population::{Population, hatch, status, totals, until_asleep};
use serde_json::json;
use support::{Management, Theater};

/// How many of the children are woken, one after the other, to see how long that takes.
const WOKEN: u64 = 1_000;

fn rss_kib(running: &Theater) -> u64 {
    status(running.pid(), "VmRSS:")
}

/// Asks every `step`th child, one after the other; returns how long each answer took, sorted.
fn ask_each(running: &Theater, actors: u64, count: u64) -> Vec<Duration> {
    let mut management = Management::connect(running.management());
    let step = (actors / WOKEN).max(1);
    let asked = (0..actors).step_by(usize::try_from(step).expect("a step"));
    let mut times: Vec<Duration> = asked
        .map(|number| {
            let id = running_id(running, number);
            let begun = Instant::now();
            assert_eq!(management.request(&id, &json!({ "add": 1 })), Ok(json!({ "count": count })));
            begun.elapsed()
        })
        .collect();
    times.sort();
    times
}

fn running_id(_running: &Theater, number: u64) -> String {
    format!("home/{number}")
}

fn quantiles(times: &[Duration]) -> String {
    let at = |of: usize| times[(times.len() - 1) * of / 100];
    format!("p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), at(100))
}

#[test]
fn many_actors_sleep_and_cost_little_and_a_start_wakes_none_of_them() {
    let actors: u64 = std::env::var("THEATER_SLEEPERS").map_or(1_000, |text| text.parse().expect("a number"));
    let population = Population::new("sleep_after_ms = 1000\nrestart = \"permanent\"\n");
    let running = population.run(&[]);
    hatch(&running, 0..10);
    until_asleep(&running, 10);
    let before = rss_kib(&running);
    let begun = Instant::now();
    hatch(&running, 10..actors);
    let hatched = begun.elapsed();
    until_asleep(&running, actors);
    let each = (rss_kib(&running) - before) * 1024 / actors;
    println!("{actors} actors: hatched in {hatched:?}; asleep, {each} bytes of resident memory each");
    println!("first answers: {}", quantiles(&ask_each(&running, actors, 1)));
    println!("second answers, awake: {}", quantiles(&ask_each(&running, actors, 2)));
    let started = totals(&running)["chain_length"].as_u64().expect("a number");
    let begun = Instant::now();
    running.shut_down();
    println!("ended in {:?}", begun.elapsed());
    let begun = Instant::now();
    let running = population.run(&[]);
    println!("started in {:?}, {} MiB resident", begun.elapsed(), rss_kib(&running) / 1024);
    let total = totals(&running);
    assert!(total["asleep"].as_u64() >= Some(actors), "{total}");
    let recorded = total["chain_length"].as_u64().expect("a number") - started;
    assert!(recorded <= 3, "of {actors} actors only the root may have recorded its start: {recorded}");
    println!("first answers: {}", quantiles(&ask_each(&running, actors, 3)));
    running.kill();
    let begun = Instant::now();
    let running = population.run(&[]);
    println!("started after a kill in {:?}, {} MiB resident", begun.elapsed(), rss_kib(&running) / 1024);
    assert!(totals(&running)["asleep"].as_u64() >= Some(actors));
    running.kill();
}
