//! Tests of the handlers `clock` and `random`: values are recorded in the chain, and a replay returns the same values.

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use support::{Stage, Theater, verifies_and_replays};

const GRANTS: &str = "[[handlers]]\ntype = \"clock\"\n[[handlers]]\ntype = \"random\"\n";

fn chance(limits: &str) -> (Stage, Theater) {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("chance", "chance", &format!("{limits}{GRANTS}"))]);
    (stage, running)
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis().try_into().expect("not that late")
}

#[test]
fn an_actor_reads_the_time_and_draws_bytes_and_its_replay_gets_the_same() {
    let (stage, running) = chance("");
    let ask = |command: &Value| running.request("chance", command).expect("an answer");
    let before = unix_ms();
    let now = ask(&json!("now")).as_u64().expect("a number");
    assert!((before..=unix_ms()).contains(&now));
    let draw = |n: u32| ask(&json!({ "op": "random", "n": n })).as_str().expect("hexadecimal").to_owned();
    assert_eq!(draw(0), "");
    assert_ne!(draw(32), draw(32));
    assert_eq!(draw(65_536).len(), 2 * 65_536);
    let chain = running.export(&stage, "chance");
    running.shut_down();
    verifies_and_replays(&chain);
}

#[test]
fn asking_for_more_random_bytes_than_the_limit_ends_the_actor_by_the_limits_name() {
    let (stage, running) = chance("[limits]\nrandom_bytes = 64\n");
    running.request("chance", &json!({ "op": "random", "n": 65 })).expect_err("too many");
    running.until("chance", "failed");
    let failed = running.last_event("chance");
    assert_eq!(failed["data"]["reason"], "limit", "{failed}");
    let detail = failed["data"]["detail"].as_str().expect("a detail");
    assert!(detail.contains("the limit random_bytes is 64"), "{detail}");
    verifies_and_replays(&running.export(&stage, "chance"));
}

#[test]
fn neither_is_there_without_a_grant() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    for (granted, missing) in [("random", "clock"), ("clock", "random")] {
        let manifest = stage.manifest("chance", "chance", &format!("[[handlers]]\ntype = \"{granted}\"\n"));
        let why = running.start(&manifest).expect_err("one is missing");
        assert!(
            why.contains(&format!("imports \"ntwk:theater/{missing}\""))
                && why.contains(&format!("type = \"{missing}\"")),
            "{why}"
        );
    }
}
