//! Tests with hostile input: everything from outside is decoded or refused, without a panic. The input is what fuzzing
//! has found, and good input with changed bytes, for every target of `fuzz/`.
//!
//! `THEATER_HOSTILE_ROUNDS` sets the number of changes for each seed.

mod support;

use std::path::{Path, PathBuf};

use support::town::{Dice, from_env};
use theater::FUZZ_TARGETS as TARGETS;

fn files(kind: &str, target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(target);
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("a file"))).collect()
}

fn understand(target: fn(&[u8]), bytes: &[u8], what: &str) {
    let outcome = std::panic::catch_unwind(|| target(bytes));
    assert!(outcome.is_ok(), "{what} panics with {:?}", String::from_utf8_lossy(bytes));
}

/// Makes one to four changes: a byte, a number at its limit, a stretch removed, doubled, or copied from another place.
fn change(bytes: &mut Vec<u8>, dice: &mut Dice) {
    const EDGES: [u8; 10] = [0x00, 0x7f, 0x80, 0xff, 0x1b, 0x5b, 0x7b, 0xbb, b'\n', b'"'];
    for _ in 0..=dice.roll(4) {
        if bytes.is_empty() {
            return;
        }
        let at = dice.roll(bytes.len() as u64) as usize;
        let end = (at + 1 + dice.roll(32) as usize).min(bytes.len());
        match dice.roll(6) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => bytes[at] = EDGES[dice.roll(EDGES.len() as u64) as usize],
            2 => _ = bytes.drain(at..end),
            3 => {
                let stretch = bytes[at..end].to_vec();
                bytes.splice(at..at, stretch);
            }
            4 => bytes.truncate(at),
            _ => {
                let from = dice.roll(bytes.len() as u64) as usize;
                let stretch = bytes[from..(from + end - at).min(bytes.len())].to_vec();
                bytes.splice(at..end, stretch);
            }
        }
    }
}

#[test]
fn what_fuzzing_has_found_stays_fixed() {
    for (name, target) in TARGETS {
        for (path, bytes) in files("regressions", name) {
            understand(target, &bytes, &format!("{name} ({})", path.display()));
        }
    }
}

#[test]
fn changed_input_is_understood_or_refused_by_every_target() {
    let rounds = from_env("THEATER_HOSTILE_ROUNDS", 150);
    let mut dice = Dice(0xf022);
    for (name, target) in TARGETS {
        let seeds = files("seeds", name);
        assert!(!seeds.is_empty(), "{name} has seeds");
        for (path, seed) in seeds {
            understand(target, &seed, &format!("{name} ({})", path.display()));
            for _ in 0..rounds {
                let mut bytes = seed.clone();
                change(&mut bytes, &mut dice);
                understand(target, &bytes, name);
            }
        }
    }
}
