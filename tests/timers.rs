//! Tests of the handler `timer`: a timer calls its actor once, at its time, whatever ends or starts in between.

mod support;
#[path = "support/wall_clock.rs"]
mod wall_clock;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use support::{Stage, Theater, data_of, eventually, theater, verifies_and_replays};
use wall_clock::WallClock;

const TIMER: &str = "[[handlers]]\ntype = \"timer\"\n";
const CALL: &str = "call ntwk:theater/timer-handlers.handle-timer";
const HOUR: u64 = 3_600_000;

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis().try_into().expect("not that late")
}

/// A runtime with one actor `alarm` that may set timers.
struct Alarm {
    stage: Stage,
    manifest: PathBuf,
    running: Theater,
}

impl Alarm {
    fn new() -> Self {
        Self::with("")
    }

    /// `more` stands in the manifest before the grant.
    fn with(more: &str) -> Self {
        let stage = Stage::new();
        let manifest = stage.manifest("alarm", "alarm", &format!("{more}\n{TIMER}"));
        let running = stage.run(&[&manifest]);
        Self { stage, manifest, running }
    }

    fn ask(&self, command: &Value) -> Value {
        self.running.request("alarm", command).unwrap_or_else(|why| panic!("{command}: {why}"))
    }

    /// Kills the process, and starts it again.
    fn killed(self) -> Self {
        let Self { stage, manifest, running } = self;
        running.kill();
        let running = stage.run(&[&manifest]);
        Self { stage, manifest, running }
    }

    /// When a timer is due that was set.
    fn set(&self, command: &Value) -> u64 {
        let answer = self.ask(command);
        answer["ok"].as_u64().unwrap_or_else(|| panic!("{command}: {answer}"))
    }

    /// The keys of the pending timers, in the order in which they are due.
    fn pending(&self) -> Vec<String> {
        let list = self.ask(&json!("timers"));
        let list = list.as_array().expect("a list").iter();
        list.map(|timer| timer[0].as_str().expect("a key").to_owned()).collect()
    }

    /// The timers that have called the actor, each as its key, when it was due, and its round.
    fn calls(&self) -> Vec<(String, u64, u64)> {
        let events = self.running.events("alarm");
        let calls = data_of(&events, CALL).into_iter();
        calls
            .map(|data| {
                let (key, due) = (&data["params"][0], &data["params"][1]);
                (key.as_str().expect("a key").to_owned(), due.as_u64().expect("a time"), round(data))
            })
            .collect()
    }

    fn called(&self) -> Vec<String> {
        self.calls().into_iter().map(|(key, _, _)| key).collect()
    }

    /// Waits until so many timers have called.
    fn after_calls(&self, n: usize) -> Vec<String> {
        eventually(&format!("{n} timers have called"), || Some(self.called()).filter(|called| called.len() >= n))
    }

    fn count(&self) -> u64 {
        self.running.json(&["state", "alarm"])["state"]["count"].as_u64().expect("a count")
    }

    /// Whether the chain verifies and replays, and the journal has no fault.
    fn ends_sound(self) {
        let chain = self.running.export(&self.stage, "alarm");
        self.running.shut_down();
        verifies_and_replays(&chain);
        audit(&self.stage);
    }
}

fn round(call: &Value) -> u64 {
    call["round"].as_u64().expect("a round")
}

/// The answer of `theater verify --journal`, which must find no fault.
fn audit(stage: &Stage) {
    let output = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path"), "--json"], None);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{found}");
}

fn after(key: &str, ms: u64) -> Value {
    json!({ "op": "set", "key": key, "after": ms })
}

fn at(key: &str, unix_ms: u64) -> Value {
    json!({ "op": "set-at", "key": key, "at": unix_ms })
}

fn cancel(key: &str) -> Value {
    json!({ "op": "cancel", "key": key })
}

fn many(ops: &[Value]) -> Value {
    json!({ "op": "many", "ops": ops })
}

#[test]
fn a_timer_calls_its_actor_once_with_its_key_its_time_and_its_message() {
    let alarm = Alarm::new();
    let before = unix_ms();
    let due = alarm.set(&json!({ "op": "set", "key": "tea", "after": 30, "msg": "count" }));
    assert!((before + 30..=unix_ms() + 30).contains(&due), "{due}");
    alarm.after_calls(1);
    eventually("it has obeyed the message", || (alarm.count() == 1).then_some(()));
    let events = alarm.running.events("alarm");
    let set =
        events.iter().find(|event| event["event_type"] == "host-call ntwk:theater/timer.set").expect("it set one");
    let call = events.iter().find(|event| event["event_type"] == CALL).expect("it was called");
    assert!(call["timestamp"].as_u64() >= Some(due), "never early");
    let data = &call["data"];
    assert_eq!(data["caller"], "timer");
    assert_eq!((&data["of"], &data["round"]), (&set["sequence"], &json!(1)));
    assert_eq!(data["cause"]["sequence"], set["sequence"]);
    assert_eq!((&data["params"][0], &data["params"][1]), (&json!("tea"), &json!(due)));
    assert_eq!(data.get("next"), None, "there is no other round");
    assert!(alarm.pending().is_empty());
    alarm.ends_sound();
}

#[test]
fn timers_are_listed_and_cancelled_and_replaced_by_their_keys() {
    let alarm = Alarm::new();
    let late = alarm.set(&after("late", 2 * HOUR));
    let soon = alarm.set(&after("soon", HOUR));
    assert_eq!(alarm.ask(&json!("timers")), json!([["soon", soon, 1], ["late", late, 1]]));
    assert_eq!(alarm.ask(&cancel("none")), false);
    assert_eq!(alarm.ask(&cancel("late")), true);
    assert_eq!(alarm.ask(&cancel("late")), false);
    alarm.set(&after("soon", 1));
    assert_eq!(alarm.after_calls(1), ["soon"]);
    assert!(alarm.pending().is_empty());
    alarm.ends_sound();
}

#[test]
fn what_a_host_call_has_settled_is_named_in_it() {
    let alarm = Alarm::new();
    alarm.ask(&many(&[after("a", HOUR), after("a", HOUR), cancel("a"), cancel("a")]));
    let events = alarm.running.events("alarm");
    let calls: Vec<_> =
        events.iter().filter(|event| event["event_type"].as_str().is_some_and(|it| it.contains("timer."))).collect();
    let of = |n: usize| calls[n]["data"].get("of").cloned();
    assert_eq!(
        [of(0), of(1), of(2), of(3)],
        [None, Some(calls[0]["sequence"].clone()), Some(calls[1]["sequence"].clone()), None]
    );
    alarm.ends_sound();
}

#[test]
fn timers_that_are_due_call_in_the_order_of_their_times() {
    let alarm = Alarm::new();
    let now = unix_ms();
    alarm.ask(&many(&[
        at("third", now - 1),
        at("first", 0),
        at("fourth", now - 1),
        at("second", 5),
        after("fifth", 20),
    ]));
    assert_eq!(alarm.after_calls(5), ["first", "second", "third", "fourth", "fifth"]);
    alarm.ends_sound();
}

#[test]
fn a_timer_in_the_transition_that_cancels_or_replaces_it_does_not_call() {
    let alarm = Alarm::new();
    alarm.ask(&many(&[at("a", 0), at("b", 0), cancel("a"), after("b", HOUR), at("c", 1)]));
    assert_eq!(alarm.after_calls(1), ["c"]);
    assert_eq!(alarm.pending(), ["b"]);
    alarm.ends_sound();
}

#[test]
fn a_timer_that_calls_is_not_pending_any_more_and_can_set_itself_again() {
    let alarm = Alarm::new();
    let again = json!({ "op": "many", "ops": [cancel("a"), { "op": "set", "key": "a", "after": HOUR }] });
    alarm.set(&json!({ "op": "set", "key": "a", "after": 1, "msg": again }));
    alarm.after_calls(1);
    assert_eq!(alarm.pending(), ["a"]);
    let events = alarm.running.events("alarm");
    let cancelled = data_of(&events, "host-call ntwk:theater/timer.cancel");
    assert_eq!(cancelled[0]["result"], false, "its round was taken already");
    alarm.ends_sound();
}

#[test]
fn a_timer_that_is_set_in_init_calls_once_the_actor_is_up() {
    let stage = Stage::new();
    let init = stage.file("init.json", json!({ "init": at("a", 0) }).to_string());
    let manifest = stage.manifest("alarm", "alarm", &format!("init_state = {init:?}\n{TIMER}"));
    let running = stage.run(&[&manifest]);
    let alarm = Alarm { stage, manifest, running };
    assert_eq!(alarm.after_calls(1), ["a"]);
    alarm.ends_sound();
}

#[test]
fn a_timer_that_was_set_stays_set_whatever_becomes_of_the_transition() {
    let alarm = Alarm::with("restart = \"permanent\"\n");
    alarm
        .running
        .request("alarm", &many(&[after("refused", HOUR), json!({ "op": "refuse", "message": "no" })]))
        .expect_err("no");
    assert_eq!(alarm.pending(), ["refused"]);
    alarm.running.request("alarm", &many(&[after("trapped", 2 * HOUR), json!("trap")])).expect_err("a trap");
    alarm.running.until("alarm", "running");
    assert_eq!(alarm.pending(), ["refused", "trapped"]);
    alarm.ends_sound();
}

#[test]
fn a_timer_whose_call_fails_or_is_refused_counts_as_taken() {
    let alarm = Alarm::with("restart = \"permanent\"\n");
    alarm.set(&json!({ "op": "set-at", "key": "no", "at": 0, "msg": { "op": "refuse", "message": "not now" } }));
    alarm.after_calls(1);
    alarm.set(&json!({ "op": "set-at", "key": "trap", "at": 0, "msg": "trap" }));
    alarm.set(&at("next", 1));
    assert_eq!(alarm.after_calls(3), ["no", "trap", "next"]);
    alarm.ends_sound();
}

#[test]
fn timers_and_mail_take_turns() {
    let alarm = Alarm::new();
    // The actor is busy while 300 timers become due, and 50 messages to itself arrive.
    let id = alarm.running.id("alarm");
    let send = json!({ "op": "send", "to": id, "msg": "count" });
    let mut ops = vec![json!({ "op": "set-many", "prefix": "t", "n": 300, "at": 0, "apart": 0 })];
    ops.extend(std::iter::repeat_n(send, 50));
    alarm.ask(&many(&ops));
    alarm.after_calls(300);
    eventually("all messages are taken", || (alarm.count() == 50).then_some(()));
    let types = alarm.running.event_types("alarm");
    let sends: Vec<_> =
        types.iter().filter(|it| it.starts_with("call ") && !it.ends_with("init")).skip(1).take(100).collect();
    let timers = sends.iter().filter(|it| **it == CALL).count();
    assert!((45..=55).contains(&timers), "{timers} of the first 100 calls are timers");
    alarm.ends_sound();
}

#[test]
fn a_timer_that_is_due_just_when_its_actor_becomes_idle_is_not_missed() {
    // An actor gives memory back when it has been idle for a second.
    let stage = Stage::new();
    let names: Vec<String> = (0..8).map(|n| format!("alarm{n}")).collect();
    let manifests: Vec<PathBuf> = names.iter().map(|name| stage.manifest(name, "alarm", TIMER)).collect();
    let running = stage.run(&manifests.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    let ops: Vec<Value> =
        (998..=1_002).map(|ms| json!({ "op": "set", "key": ms.to_string(), "after": ms, "msg": "count" })).collect();
    for name in &names {
        running.request(name, &many(&ops)).expect("an answer");
    }
    for name in &names {
        let count = || running.json(&["state", name])["state"]["count"].as_u64();
        eventually(&format!("all timers of {name} have called"), || (count() == Some(5)).then_some(()));
    }
}

fn every(key: &str, ms: u64) -> Value {
    json!({ "op": "every", "key": key, "ms": ms })
}

#[test]
fn each_round_of_a_timer_promises_the_next_until_it_is_cancelled() {
    let alarm = Alarm::new();
    let first = alarm.set(&every("tick", 30));
    alarm.after_calls(3);
    assert_eq!(alarm.ask(&cancel("tick")), true);
    let calls = alarm.calls();
    let events = alarm.running.events("alarm");
    let mut due = Some(first);
    for (data, (n, (key, at, round))) in data_of(&events, CALL).into_iter().zip((1..).zip(&calls)) {
        assert_eq!((key.as_str(), *round, Some(*at)), ("tick", n, due), "the round that was promised");
        assert_eq!((at - first) % 30, 0, "rounds keep their distance");
        due = data["next"].as_u64();
    }
    assert!(alarm.pending().is_empty());
    let n = alarm.called().len();
    assert_eq!(n, alarm.called().len());
    alarm.ends_sound();
}

/// An alarm that was down for a while with a timer of `ms` pending; and the times of the rounds since it was set.
fn rounds_across_a_pause(policy: &str, ms: u64) -> (Alarm, Vec<u64>) {
    let stage = Stage::new();
    let grant = format!("{TIMER}config = {{ missed = {policy:?} }}\n");
    let manifest = stage.manifest("alarm", "alarm", &grant);
    let running = stage.run(&[&manifest]);
    let alarm = Alarm { stage, manifest, running };
    let first = alarm.set(&every("tick", ms));
    let Alarm { stage, manifest, running } = alarm;
    running.kill();
    eventually("some rounds are missed", || (unix_ms() > first + 6 * ms).then_some(()));
    let alarm = Alarm { running: stage.run(&[&manifest]), stage, manifest };
    eventually("it has caught up", || {
        alarm.calls().last().is_some_and(|(_, due, _)| *due > first + 7 * ms).then_some(())
    });
    alarm.ask(&cancel("tick"));
    let calls = alarm.calls();
    let rounds: Vec<u64> = calls.iter().map(|(_, _, round)| *round).collect();
    assert_eq!(rounds, (1..=rounds.len() as u64).collect::<Vec<_>>(), "each round calls once");
    let due = calls.into_iter().map(|(_, due, _)| due - first).collect();
    (alarm, due)
}

#[test]
fn rounds_that_were_missed_are_skipped_by_default() {
    let (alarm, due) = rounds_across_a_pause("skip", 100);
    assert!(due.iter().all(|due| due % 100 == 0), "{due:?}");
    assert!(due.windows(2).any(|two| two[1] - two[0] > 300), "one call stands for all that were missed: {due:?}");
    alarm.ends_sound();
}

#[test]
fn rounds_that_were_missed_are_made_up_if_the_manifest_says_so() {
    let (alarm, due) = rounds_across_a_pause("make-up", 100);
    let expected: Vec<u64> = (0..due.len() as u64).map(|round| round * 100).collect();
    assert_eq!(due, expected);
    alarm.ends_sound();
}

#[test]
fn a_cron_expression_follows_the_wall_clock_and_repeats_no_round_when_that_is_set_back() {
    let stage = Stage::new();
    let clock = WallClock::of(&stage);
    let manifest = stage.manifest("alarm", "alarm", TIMER);
    let launch = stage.command(&[&manifest], &[]).arg("--data-dir").arg(stage.data_dir());
    let alarm = Alarm { running: clock.given_to(launch).launch(&stage).expect("it starts"), stage, manifest };
    let cron = json!({ "op": "cron", "key": "noon", "expression": "0 12 * * *", "zone": "+02:00" });
    let first = alarm.set(&cron);
    const DAY: u64 = 24 * HOUR;
    assert_eq!(first % DAY, 10 * HOUR);
    let forward = |to: u64| i64::try_from(to + 1_000 - unix_ms()).expect("small");
    clock.set(forward(first));
    alarm.after_calls(1);
    clock.set(0);
    assert_eq!(alarm.ask(&json!("timers")), json!([["noon", first + DAY, 2]]));
    clock.set(forward(first + 5 * DAY));
    alarm.after_calls(2);
    assert_eq!(alarm.ask(&json!("timers")), json!([["noon", first + 6 * DAY, 3]]), "the days between are skipped");
    let alarm = alarm.killed();
    assert_eq!(alarm.ask(&json!("timers")), json!([["noon", first + 6 * DAY, 3]]));
    assert_eq!(alarm.calls().len(), 2);
    alarm.ends_sound();
}

#[test]
fn what_cannot_be_set_is_refused_by_the_limit_and_changes_nothing() {
    let limits = "[limits]\ntimers = 2\ntimer_bytes = 40\ntimer_key_bytes = 8\nmessage_bytes = 400\n";
    let alarm = Alarm::with(limits);
    let refused = |command: &Value, why: &str| {
        let answer = alarm.ask(command);
        let text = answer["err"].as_str().unwrap_or_else(|| panic!("{command}: {answer}"));
        assert!(text.contains(why), "{command}: {text}");
    };
    alarm.set(&after("a", HOUR));
    refused(&after("123456789", 1), "a key of 9 bytes: the limit timer_key_bytes is 8");
    refused(&json!({ "op": "set", "key": "b", "after": 1, "msg": "x".repeat(300) }), "the limit timer_bytes is 40");
    alarm.set(&after("b", HOUR));
    refused(&after("c", 1), "2 timers are pending already: the limit timers is 2");
    refused(&json!({ "op": "every", "key": "a", "ms": 0 }), "at least 1 ms apart");
    refused(&json!({ "op": "cron", "key": "a", "expression": "* * *", "zone": "UTC" }), "has 3 fields");
    refused(
        &json!({ "op": "cron", "key": "a", "expression": "* * * * *", "zone": "Mars" }),
        "there is no time zone \"Mars\"",
    );
    assert_eq!(alarm.ask(&cancel("123456789")), false);
    assert_eq!(alarm.pending(), ["a", "b"]);
    assert!(alarm.called().is_empty());
    alarm.ends_sound();
}

#[test]
fn an_actor_that_could_not_be_called_sets_no_timer() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("mute", "mute", TIMER)]);
    let answer = running.request("mute", &after("a", 1)).expect("an answer");
    let why = answer["err"].as_str().expect("an error");
    assert!(why.contains("does not export ntwk:theater/timer-handlers.handle-timer"), "{why}");
    assert_eq!(running.request("mute", &json!("timers")), Ok(json!([])));
}

#[test]
fn a_manifest_that_does_not_grant_timers_or_says_something_else_is_refused() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    let why = running.start(&stage.manifest("alarm", "alarm", "")).expect_err("no grant");
    assert!(why.contains("imports \"ntwk:theater/timer\"") && why.contains("type = \"timer\""), "{why}");
    let config = |config: &str| stage.manifest("alarm", "alarm", &format!("{TIMER}config = {{ {config} }}\n"));
    let why = running.start(&config("missed = \"never\"")).expect_err("no such policy");
    assert!(why.contains("skip") && why.contains("make-up"), "{why}");
    let why = running.start(&config("mised = \"skip\"")).expect_err("no such key");
    assert!(why.contains("mised"), "{why}");
}

#[test]
fn after_a_kill_what_was_due_calls_once_in_its_order_and_the_rest_is_pending() {
    let alarm = Alarm::new();
    let now = unix_ms();
    alarm.ask(&many(&[
        after("second", 300),
        at("first", now + 250),
        after("later", HOUR),
        after("gone", 260),
        cancel("gone"),
    ]));
    let alarm = alarm.killed();
    assert_eq!(alarm.after_calls(2), ["first", "second"]);
    assert_eq!(alarm.pending(), ["later"]);
    let alarm = alarm.killed();
    assert_eq!(alarm.called(), ["first", "second"], "no timer calls twice");
    assert_eq!(alarm.pending(), ["later"]);
    assert_eq!(alarm.ask(&cancel("later")), true);
    alarm.ends_sound();
}

#[test]
fn an_orderly_end_and_a_restart_keep_timers_and_a_stop_cancels_them() {
    let alarm = Alarm::new();
    alarm.set(&after("kept", HOUR));
    let Alarm { stage, manifest, running } = alarm;
    running.shut_down();
    let running = stage.run(&[&manifest]);
    let alarm = Alarm { stage, manifest, running };
    alarm.running.say(&["restart", "alarm"]);
    assert_eq!(alarm.pending(), ["kept"]);
    alarm.running.say(&["stop", "alarm"]);
    alarm.running.until("alarm", "stopped");
    alarm.running.say(&["restart", "alarm"]);
    assert!(alarm.pending().is_empty(), "a stop ends what the actor owed itself");
    alarm.ends_sound();
}

#[test]
fn a_restart_from_the_initial_state_cancels_timers_also_across_a_kill() {
    let alarm = Alarm::with("restart = \"permanent\"\nrestart_state = \"initial\"\n");
    alarm.ask(&many(&[after("a", HOUR), after("b", HOUR)]));
    alarm.running.request("alarm", &json!("trap")).expect_err("a trap");
    alarm.running.until("alarm", "running");
    assert!(alarm.pending().is_empty());
    alarm.set(&after("c", HOUR));
    let alarm = alarm.killed();
    assert_eq!(alarm.pending(), ["c"], "only what was set since is pending");
    alarm.ends_sound();
}

#[test]
fn a_fork_takes_no_timers() {
    let alarm = Alarm::new();
    alarm.set(&after("a", HOUR));
    let at = alarm.running.last_event("alarm")["sequence"].to_string();
    alarm.running.say(&["fork", "alarm", "--at", &at, "--name", "twin"]);
    assert_eq!(alarm.running.request("twin", &json!("timers")), Ok(json!([])));
    assert_eq!(alarm.pending(), ["a"]);
    alarm.ends_sound();
}

#[test]
fn a_wall_clock_that_jumps_does_not_touch_a_duration_and_takes_a_time_of_day_with_it() {
    for jump in [i64::try_from(3 * HOUR).expect("small"), -i64::try_from(3 * HOUR).expect("small")] {
        let stage = Stage::new();
        let clock = WallClock::of(&stage);
        let manifest = stage.manifest("alarm", "alarm", TIMER);
        let launch = stage.command(&[&manifest], &[]).arg("--data-dir").arg(stage.data_dir());
        let running = clock.given_to(launch).launch(&stage).expect("it starts");
        let alarm = Alarm { stage, manifest, running };
        let day = unix_ms() + HOUR;
        alarm.ask(&many(&[at("day", day), after("long", HOUR), after("short", 700)]));
        clock.set(jump);
        if jump > 0 {
            assert_eq!(alarm.after_calls(2).iter().filter(|key| *key == "long").count(), 0);
            assert_eq!(alarm.pending(), ["long"]);
        } else {
            assert_eq!(alarm.after_calls(1), ["short"]);
            assert_eq!(alarm.pending(), ["day", "long"]);
        }
        alarm.ends_sound();
    }
}

#[test]
fn a_failure_without_a_restart_cancels_timers() {
    let alarm = Alarm::with("restart = \"temporary\"\n");
    alarm.set(&after("a", HOUR));
    alarm.running.request("alarm", &json!("trap")).expect_err("a trap");
    alarm.running.until("alarm", "failed");
    alarm.running.say(&["restart", "alarm"]);
    assert!(alarm.pending().is_empty());
    let alarm = alarm.killed();
    assert!(alarm.pending().is_empty());
    alarm.ends_sound();
}

#[test]
fn what_is_forgotten_leaves_no_timer() {
    let alarm = Alarm::new();
    alarm.ask(&many(&[after("a", HOUR), after("b", HOUR)]));
    alarm.running.say(&["stop", "alarm"]);
    alarm.running.say(&["forget", "alarm"]);
    let Alarm { stage, manifest, running } = alarm;
    running.shut_down();
    audit(&stage);
    let running = stage.run(&[&manifest]);
    let alarm = Alarm { stage, manifest, running };
    assert!(alarm.pending().is_empty(), "another actor of the same name");
    alarm.ends_sound();
}

#[test]
fn an_upgrade_keeps_timers_and_without_the_grant_they_wait() {
    let alarm = Alarm::new();
    alarm.ask(&many(&[after("soon", 400), after("late", HOUR)]));
    let Alarm { stage, running, .. } = alarm;
    running.shut_down();
    // Another component and another grant.
    let manifest = stage.manifest("alarm", "probe", "");
    let running = stage.run(&[&manifest]);
    assert!(
        stage.log().contains("2 timers of actor alarm are pending, and it cannot take them now"),
        "{}",
        stage.log()
    );
    running.request("alarm", &json!("count")).expect("an answer");
    running.shut_down();
    let manifest = stage.manifest("alarm", "alarm", &format!("[limits]\ntimers = 5\n{TIMER}"));
    let running = stage.run(&[&manifest]);
    let alarm = Alarm { stage, manifest, running };
    assert_eq!(alarm.after_calls(1), ["soon"]);
    assert_eq!(alarm.pending(), ["late"]);
    alarm.ends_sound();
}

#[test]
fn an_upgrade_of_a_running_actor_keeps_its_timers_and_without_the_grant_they_wait() {
    let alarm = Alarm::new();
    alarm.ask(&many(&[after("soon", 400), after("late", HOUR)]));
    alarm.stage.manifest("alarm", "probe", "");
    alarm.running.say(&["upgrade", "alarm"]);
    alarm.running.request("alarm", &json!("count")).expect("an answer of the other build");
    eventually("they wait", || alarm.stage.log().contains("2 timers of actor alarm are pending").then_some(()));
    alarm.stage.manifest("alarm", "alarm", &format!("[limits]\ntimers = 5\n{TIMER}"));
    alarm.running.say(&["upgrade", "alarm"]);
    assert_eq!(alarm.after_calls(1), ["soon"]);
    assert_eq!(alarm.pending(), ["late"]);
    alarm.ends_sound();
}

#[test]
fn a_pending_timer_keeps_the_data_that_it_needs() {
    let alarm = Alarm::new();
    alarm.ask(&many(&[after("late", HOUR), every("tick", 20), json!("count")]));
    alarm.after_calls(2);
    alarm.running.say(&["restart", "alarm"]);
    alarm.after_calls(4);
    alarm.running.say(&["prune", "alarm", "--before", "9999"]);
    let events = alarm.running.events("alarm");
    let set = events.iter().filter(|event| event["event_type"].as_str().is_some_and(|it| it.starts_with("host-call ")));
    let set: Vec<_> = set.collect();
    assert!(set.iter().all(|event| event.get("data_dropped").is_none() && event["data"].is_object()), "{set:?}");
    let sequence = set[0]["sequence"].clone();
    let why = alarm.running.refused(&["redact", "alarm", "--event", &sequence.to_string()]);
    assert!(why.contains("is needed by a transition, a delivery, a request or a timer"), "{why}");
    let alarm = alarm.killed();
    let before = alarm.running.events("alarm").len();
    eventually("it goes on", || (alarm.running.events("alarm").len() > before + 4).then_some(()));
    assert_eq!(alarm.ask(&cancel("tick")), true);
    assert_eq!(alarm.ask(&cancel("late")), true);
    // Once it is not pending any more, a restart and a prune take it.
    alarm.running.say(&["restart", "alarm"]);
    alarm.running.say(&["prune", "alarm", "--before", "9999"]);
    let events = alarm.running.events("alarm");
    let kept = events.iter().find(|event| event["sequence"] == sequence).expect("the event stays");
    assert!(!kept["data"].is_object(), "{kept}");
    alarm.running.shut_down();
    audit(&alarm.stage);
}

#[test]
fn a_duration_is_kept_by_the_boot_clock_across_a_kill_whatever_the_wall_clock_says_then() {
    let stage = Stage::new();
    let clock = WallClock::of(&stage);
    let manifest = stage.manifest("alarm", "alarm", TIMER);
    let run = |stage: &Stage| {
        let launch = stage.command(&[&manifest], &[]).arg("--data-dir").arg(stage.data_dir());
        clock.given_to(launch).launch(stage).expect("it starts")
    };
    let running = run(&stage);
    let day = unix_ms() + HOUR;
    let ops = [at("day", day), after("long", HOUR), every("ticks", 2 * HOUR), after("short", 1_000)];
    running.request("alarm", &many(&ops)).expect("an answer");
    running.kill();
    clock.set(-i64::try_from(3 * HOUR).expect("small"));
    let alarm = Alarm { running: run(&stage), stage, manifest: manifest.clone() };
    assert_eq!(alarm.after_calls(1), ["short"], "the wall clock was set back");
    let Alarm { stage, running, .. } = alarm;
    running.kill();
    clock.set(i64::try_from(5 * HOUR).expect("small"));
    let alarm = Alarm { running: run(&stage), stage, manifest: manifest.clone() };
    assert_eq!(alarm.after_calls(2), ["short", "day"]);
    assert_eq!(alarm.pending(), ["long", "ticks"], "the wall clock was set forward");
    alarm.ends_sound();
}

/// A number of so many milliseconds, or of other things, that differs from call to call.
fn drawn(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

/// `THEATER_TIMER_KILLS=n` sets the number of kills, and `THEATER_TIMER_SEED=n` the random choices.
#[test]
fn across_kills_no_timer_is_lost_and_none_calls_twice() {
    let number =
        |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"));
    let (kills, mut seed) = (number("THEATER_TIMER_KILLS", 8), number("THEATER_TIMER_SEED", 7));
    let stage = Stage::new();
    let manifest = stage.manifest("alarm", "alarm", &format!("{TIMER}config = {{ missed = \"make-up\" }}\n"));
    // The keys that are known to be set, those that are known to be cancelled, and those of which nothing is known.
    let (mut set, mut gone, mut doubtful) = (Vec::new(), Vec::new(), Vec::new());
    for kill in 0..kills {
        let running = stage.run(&[&manifest]);
        let mut management = support::Management::connect(running.management());
        let id = running.id("alarm");
        if kill == 0 {
            management.request(&id, &every("tick", 70)).expect("an answer");
        }
        for n in 0..drawn(&mut seed, 6) {
            let key = format!("{kill}-{n}");
            let command = match drawn(&mut seed, 4) {
                0 => at(&key, unix_ms() + drawn(&mut seed, 600)),
                _ => after(&key, drawn(&mut seed, 600)),
            };
            management.request(&id, &command).expect("an answer");
            set.push(key);
        }
        if let Some(key) = set.last().cloned().filter(|_| drawn(&mut seed, 2) == 0)
            && management.request(&id, &cancel(&key)).expect("an answer") == true
        {
            set.pop();
            gone.push(key);
        }
        std::thread::sleep(std::time::Duration::from_millis(drawn(&mut seed, 150)));
        let key = format!("{kill}-doubtful");
        management.send_request(&id, &after(&key, drawn(&mut seed, 300)));
        doubtful.push(key);
        std::thread::sleep(std::time::Duration::from_micros(drawn(&mut seed, 4_000)));
        running.kill();
    }
    let running = stage.run(&[&manifest]);
    let alarm = Alarm { stage, manifest, running };
    let last = alarm.ask(&after("last", 700))["ok"].as_u64().expect("a time");
    eventually("all have called", || {
        alarm.calls().iter().any(|(key, due, _)| key == "tick" && *due > last).then_some(())
    });
    assert_eq!(alarm.ask(&cancel("tick")), true);
    let calls = alarm.calls();
    let mut times = std::collections::HashMap::<&str, u64>::new();
    calls.iter().for_each(|(key, _, _)| *times.entry(key.as_str()).or_default() += 1);
    let of = |key: &String| times.get(key.as_str()).copied().unwrap_or(0);
    let wrong: Vec<_> = set.iter().filter(|key| of(key) != 1).collect();
    assert!(wrong.is_empty(), "lost or called twice: {wrong:?}");
    assert!(gone.iter().all(|key| of(key) == 0), "cancelled");
    assert!(doubtful.iter().all(|key| of(key) <= 1), "called twice");
    let ticks: Vec<u64> = calls.iter().filter(|(key, _, _)| key == "tick").map(|(_, _, round)| *round).collect();
    assert_eq!(ticks, (1..=ticks.len() as u64).collect::<Vec<_>>(), "each round calls once, in its order");
    eprintln!("{kills} kills: {} timers and {} rounds called once each", set.len() + 1, ticks.len());
    alarm.ends_sound();
}

#[test]
fn pending_timers_are_shown_by_sql_while_the_actor_runs_and_afterwards() {
    let alarm = Alarm::new();
    let first =
        alarm.set(&json!({ "op": "cron", "key": "noon", "expression": "0 12 * * *", "zone": "UTC", "msg": "count" }));
    let second = alarm.set(&at("once", first + 1));
    alarm.ask(&many(&[at("gone", 0), every("tick", 10)]));
    eventually("some rounds are over", || (alarm.called().len() > 3).then_some(()));
    alarm.ask(&cancel("tick"));
    let sql = || -> Value {
        let dir = alarm.stage.data_dir();
        let columns = "name, key, due_ms, round, repeats, message, sequence";
        let statement = format!("SELECT {columns} FROM timers ORDER BY due_ms");
        let output =
            theater(&["sql", "--data-dir", dir.to_str().expect("a path"), "--format", "json", &statement], None);
        assert!(output.status.success(), "{}", support::text(&output.stderr));
        let lines = support::text(&output.stdout);
        lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect()
    };
    let events = alarm.running.events("alarm");
    let set = |function: &str| {
        let event_type = format!("host-call ntwk:theater/timer.{function}");
        events.iter().find(|event| event["event_type"] == event_type.as_str()).expect("it was set")["sequence"].clone()
    };
    let expected = json!([
        { "name": "alarm", "key": "noon", "due_ms": first, "round": 1, "repeats": "0 12 * * * UTC", "message": "\"count\"", "sequence": set("cron") },
        { "name": "alarm", "key": "once", "due_ms": second, "round": 1, "repeats": null, "message": "null", "sequence": set("set-at") },
    ]);
    assert_eq!(sql(), expected);
    alarm.running.say(&["stop", "alarm"]);
    assert_eq!(sql(), json!([]));
}

#[test]
fn ten_thousand_timers_that_are_due_at_once_call_in_their_order_and_starve_no_mail() {
    let alarm = Alarm::with("[limits]\ncpu_ms_per_call = 600_000\n");
    let set = |part: u64| json!({ "op": "set-many", "prefix": format!("{part}-"), "n": 1_000, "at": 0, "apart": 0, "msg": "count" });
    // All of them are due when the transition ends that sets them.
    alarm.ask(&many(&(0..10).map(set).collect::<Vec<_>>()));
    // A client asks again and again. It is answered while timers are due.
    let mut management = support::Management::connect(alarm.running.management());
    let id = alarm.running.id("alarm");
    let mut answered_between = 0;
    eventually("all have called", || {
        let left = management.request(&id, &json!("count-timers")).expect("an answer").as_u64().expect("a number");
        answered_between += u64::from((1..10_000).contains(&left));
        (left == 0).then_some(())
    });
    assert!(answered_between > 3, "mail is taken between timers");
    let expected = (0..10).flat_map(|part| (0..1_000).map(move |n| (format!("{part}-{n}"), 0, 1)));
    assert!(alarm.calls().into_iter().eq(expected), "each once, in the order in which they were set");
    assert_eq!(alarm.count(), 10_000);
    alarm.running.shut_down();
    audit(&alarm.stage);
}
