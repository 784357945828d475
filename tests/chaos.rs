//! The crash campaign: a runtime under load is killed many times, at random and at chosen moments. Nothing acknowledged
//! is lost, and nothing happens twice.
//!
//! `make test` runs a few rounds, `make chaos` many. `THEATER_CHAOS_ROUNDS` sets their number, `THEATER_CHAOS_SEED` the
//! random choices.

mod support;

use std::sync::atomic::Ordering;

use support::town::{Dice, Town, from_env};

/// The points in the program at which the process is killed, besides random moments.
const POINTS: [&str; 11] = [
    "before-commit",
    "committed",
    "marked",
    "intent-recorded",
    "intent-committed",
    "effect-done",
    "effect-committed",
    "closed",
    "closed-committed",
    "answered",
    "ended",
];

#[test]
fn a_runtime_killed_again_and_again_under_load_goes_on_as_if_it_had_not_been() {
    let rounds = from_env("THEATER_CHAOS_ROUNDS", 12);
    let seed = from_env("THEATER_CHAOS_SEED", 0x5eed);
    let mut dice = Dice(seed);
    let town = Town::new();
    town.open_accounts();
    let mut kills = 0;
    for round in 1..=rounds {
        // Two of three kills are at a chosen point, perhaps while the runtime still recovers from the previous kill.
        let point = (dice.roll(3) > 0).then(|| {
            let point = POINTS[dice.roll(POINTS.len() as u64) as usize];
            format!("{point}:{}", 1 + dice.roll(60))
        });
        let moment = if point.is_some() { 400 } else { dice.roll(120) };
        let named = point.clone();
        // A runtime that is killed before it is ready counts too.
        match town.start(&point.map(|point| ("THEATER_FAIL", point)).into_iter().collect::<Vec<_>>()) {
            Ok(running) => _ = town.live_until(running, moment),
            Err(why) => assert!(why.starts_with("signal: 9"), "round {round}, {named:?}: {why}"),
        }
        kills += 1;
        if round % 4 == 0 || round == rounds {
            town.holds(round);
        }
        if rounds > 20 && round % 10 == 0 {
            let transfers = town.transfers.lock().expect("customers").len();
            eprintln!(
                "{kills} kills survived; {transfers} transfers, {} counts acknowledged",
                town.counted.load(Ordering::SeqCst)
            );
        }
    }
    town.replays();
    eprintln!("{kills} kills survived (seed {seed})");
}
