//! Tests of pauses under kills: wherever the process is killed while an actor is paused or resumed, the next start finds it paused or
//! not, takes nothing for a paused one, and loses nothing.

mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Stage, Theater, eventually, theater, verifies_and_replays};

const SLEEPS: &str = "sleep_after_ms = 20\n";

fn stage(of_counter: &str) -> (Stage, [PathBuf; 2]) {
    let stage = Stage::new();
    let manifests = [stage.manifest("asker", "probe", ""), stage.manifest("counter", "counter", of_counter)];
    (stage, manifests)
}

fn until(stage: &Stage, manifests: &[PathBuf], point: &str) -> Option<Theater> {
    let paths: Vec<_> = manifests.iter().map(PathBuf::as_path).collect();
    let launch = stage.command(&paths, &[]).arg("--data-dir").arg(stage.data_dir());
    launch.env("THEATER_FAIL", format!("{point}:1")).launch(stage).ok()
}

fn send(running: &Theater, amount: u64) {
    let to = running.id("counter");
    let sent = running.request("asker", &json!({ "op": "send", "to": to, "msg": { "add": amount } }));
    assert_eq!(sent, Ok(json!({ "ok": null })));
}

fn is_paused(running: &Theater) -> bool {
    running.json(&["status", "counter"])["paused"] == true
}

fn count(running: &Theater) -> Value {
    running.json(&["state", "counter"])["state"]["count"].clone()
}

fn ends_sound(stage: &Stage, running: Theater) {
    let chain = running.export(stage, "counter");
    running.shut_down();
    verifies_and_replays(&chain);
    let output = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path"), "--json"], None);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    support::read_log_by_document(&stage.data_dir());
}

#[test]
fn a_kill_while_an_actor_is_paused_leaves_it_paused_or_not_and_its_mail_waits_or_is_taken() {
    let points = ["pausing", "pause-enqueued", "pause-committed"];
    for (point, more) in points.into_iter().flat_map(|point| [(point, ""), (point, SLEEPS)]) {
        let (stage, manifests) = stage(more);
        let mut running = until(&stage, &manifests, point).expect("it starts");
        assert!(!running.cli(&["pause", "counter"]).status.success(), "{point}: it is killed before it answers");
        running.wait();
        let running = stage.run(&[]);
        let paused = is_paused(&running);
        assert!(paused || point != "pause-committed", "{point}: what is on disk holds");
        assert!(!paused || point != "pausing", "{point}: nothing was recorded yet");
        send(&running, 5);
        if paused {
            assert_eq!(running.json(&["status", "counter"])["mailbox_depth"], 1, "{point}");
            running.say(&["resume", "counter"]);
        }
        eventually("it is taken", || (count(&running) == 5).then_some(()));
        ends_sound(&stage, running);
    }
}

#[test]
fn a_kill_while_an_actor_is_resumed_delivers_what_has_waited_once_and_in_order() {
    let points = ["resuming", "resume-enqueued", "resume-committed", "waking", "taken", "closed", "closed-committed"];
    for (point, more) in points.into_iter().flat_map(|point| [(point, ""), (point, SLEEPS)]) {
        if point == "waking" && more.is_empty() {
            continue;
        }
        let (stage, manifests) = stage(more);
        let running = stage.run(&[&manifests[0], &manifests[1]]);
        running.say(&["pause", "counter"]);
        (1..=3).for_each(|amount| send(&running, amount));
        running.kill();
        let Some(mut running) = until(&stage, &[], point) else { panic!("{point}: a paused actor reaches nothing") };
        assert!(is_paused(&running), "{point}");
        // The runtime may answer before the actor takes its mail.
        let _ = running.cli(&["resume", "counter"]);
        running.wait();
        let running = stage.run(&[]);
        let paused = is_paused(&running);
        assert!(paused || point != "resuming", "{point}: nothing was recorded yet");
        assert!(
            !paused || !["resume-committed", "closed-committed"].contains(&point),
            "{point}: what is on disk holds"
        );
        if paused {
            assert_eq!(count(&running), 0, "{point}: nothing is taken");
            running.say(&["resume", "counter"]);
        }
        eventually("all of it is taken", || (count(&running) == 6).then_some(()));
        let events = running.events("counter");
        let sent = support::data_of(&events, "call ntwk:theater/message-server-client.handle-send");
        let amounts: Vec<_> = sent.iter().map(|data| data["params"][0]["add"].clone()).collect();
        assert_eq!(amounts, [1, 2, 3], "{point}: once, and in order");
        ends_sound(&stage, running);
    }
}

#[test]
fn a_call_that_was_under_way_when_the_actor_was_paused_is_finished_after_a_kill_and_no_other_is_begun() {
    for point in ["closed", "closed-committed"] {
        let (stage, manifests) = stage("");
        let running = stage.run(&[&manifests[0], &manifests[1]]);
        running.say(&["pause", "counter"]);
        running.shut_down();
        // A request of the asker's to the paused counter is open when the asker is paused, too.
        let mut running = stage.run(&[]);
        let to = running.id("counter");
        let mut outside = support::Management::connect(running.management());
        outside.send_request(&running.id("asker"), &json!({ "op": "request", "to": to, "msg": { "add": 7 } }));
        eventually("it waits", || (running.json(&["status", "counter"])["mailbox_depth"] == 1).then_some(()));
        running.say(&["pause", "asker"]);
        running.kill();
        running = until(&stage, &[], point).expect("nothing is closed yet");
        assert_eq!(running.json(&["status", "asker"])["paused"], true);
        let _ = running.cli(&["resume", "counter"]);
        running.wait();
        running = stage.run(&[]);
        if is_paused(&running) {
            running.say(&["resume", "counter"]);
        }
        eventually("the counter has answered", || (count(&running) == 7).then_some(()));
        eventually("the open call of the paused asker is finished", || {
            let types = running.event_types("asker");
            types.iter().filter(|kind| kind.starts_with("return ")).count().ge(&2).then_some(())
        });
        let before = running.event_types("asker");
        assert_eq!(running.json(&["status", "asker"])["paused"], true);
        running.say(&["resume", "asker"]);
        assert_eq!(running.request("asker", &json!("count")), Ok(json!(1)));
        assert!(running.event_types("asker").len() > before.len());
        ends_sound(&stage, running);
    }
}
