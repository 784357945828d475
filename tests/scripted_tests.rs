//! Scripted tests of actors: `theater test` with the real binary and real components.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::{Stage, component, text};

/// A project with one actor, and the tests that are written into it.
struct Project {
    stage: Stage,
}

const HTTP: &str = "[[handlers]]\ntype = \"http-server\"\nconfig = { port = 0 }\n";

impl Project {
    fn of(name: &str, component_name: &str, more: &str) -> Self {
        let stage = Stage::new();
        stage.manifest(name, component_name, more);
        std::fs::create_dir(stage.path().join("tests")).expect("a directory");
        Self { stage }
    }

    fn counter() -> Self {
        Self::of("counter", "counter", HTTP)
    }

    fn file(&self, name: &str, contents: &str) -> PathBuf {
        self.stage.file(&format!("tests/{name}"), contents)
    }

    fn run(&self, args: &[&str]) -> Output {
        theater_test(self.stage.path(), args)
    }

    /// Runs one test file, and returns what was printed; the exit status is that of passing or failing.
    fn outcome(&self, tests: &str) -> Result<String, String> {
        self.file("it.toml", tests);
        let done = self.run(&["--scripted"]);
        let said = format!("{}{}", text(&done.stdout), text(&done.stderr));
        match done.status.code() {
            Some(0) => Ok(said),
            Some(1) => Err(said),
            other => panic!("{other:?}: {said}"),
        }
    }

    /// Runs one test with these steps, which must fail, and returns what was printed.
    fn failure(&self, steps: &str) -> String {
        let said = self.outcome(&format!("[[test]]\nname = \"it\"\n{steps}"));
        said.expect_err("the test passes although it must fail")
    }

    fn passes(&self, steps: &str) {
        let said = self.outcome(&format!("[[test]]\nname = \"it\"\n{steps}"));
        said.unwrap_or_else(|said| panic!("{said}"));
    }
}

fn theater_test(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(support::THEATER);
    command.args(["test", "--no-build"]).arg(dir).args(args).env("THEATER_CODE_CACHE", support::code_cache());
    command.output().expect("the binary")
}

#[track_caller]
fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[test]
fn messages_and_http_requests_act_on_one_state_in_order() {
    let project = Project::counter();
    let said = project.outcome(
        r#"
        [[test]]
        name = "it counts"

        [[test.step]]
        request = { add = 2 }
        reply = { count = 2 }
        state = { count = 2 }

        [[test.step]]
        http = "POST /increment"
        status = 200
        reply_headers = { Content-Type = "application/json" }
        reply = { count = 3 }

        [[test.step]]
        http = "GET /nothing"
        status = 404
        reply_contains = { error = "nothing at /nothing" }

        [[test]]
        name = "every test has an actor of its own"
        [[test.step]]
        request = "get"
        reply = { count = 0 }
        "#,
    );
    let said = said.unwrap_or_else(|said| panic!("{said}"));
    says(
        &said,
        &["ok      it.toml: it counts (", "ok      it.toml: every test has an actor of its own", "2 tests passed"],
    );
}

#[test]
fn a_mismatch_shows_expected_beside_actual_with_the_pointer_of_the_first_difference() {
    let project = Project::counter();
    let said = project.failure("[[test.step]]\nrequest = { add = 2 }\nreply = { count = 3 }\n");
    says(&said, &["FAILED  it.toml: it (", "step 1, line 3: request {\"add\":2}", "reply differs at /count"]);
    says(&said, &["expected  {\"count\":3}", "actual    {\"count\":2}", "1 of 1 tests failed"]);
    let said = project.failure("[[test.step]]\nrequest = { add = 2 }\nstate_contains = { sum = 3 }\n");
    says(&said, &["state_contains is not met at /sum"]);
    let said = project.failure("[[test.step]]\nhttp = \"GET /x\"\nstatus = 200\nreply_headers = { x-y = \"z\" }\n");
    says(&said, &["status differs", "expected  200", "actual    404", "the header x-y differs", "no such header"]);
}

#[test]
fn a_refusal_and_a_failure_are_expected_by_a_part_of_their_text() {
    let project = Project::counter();
    project.passes("[[test.step]]\nrequest = { take = 1 }\nrefused = \"unknown variant\"\nstate = { count = 0 }\n");
    let said = project.failure("[[test.step]]\nrequest = { take = 1 }\nrefused = \"too many\"\n");
    says(&said, &["expected  a refusal that contains \"too many\"", "actual    it refused: "]);
    let said = project.failure("[[test.step]]\nrequest = { take = 1 }\nreply = { count = 1 }\n");
    says(&said, &["the call ended otherwise", "expected  the call returns"]);
    let said = project.failure("[[test.step]]\nrequest = \"get\"\nfailed = \"trap\"\n");
    says(&said, &["expected  a failure that contains \"trap\"", "actual    it returned"]);
    let said = project.failure("[[test.step]]\nwebsocket = \"hello\"\n");
    says(&said, &["the component does not export websocket-server.handle-message"]);
}

#[test]
fn a_test_begins_with_the_state_of_the_manifest_or_with_its_own() {
    let project = Project::of("counter", "counter", "init_state = '{\"count\": 7}'\n");
    project.passes("[[test.step]]\nrequest = \"get\"\nreply = { count = 7 }\n");
    project.passes("init_state = { count = 40 }\n[[test.step]]\nrequest = { add = 2 }\nreply = { count = 42 }\n");
    project.passes("state = { count = 40 }\n[[test.step]]\nrequest = { add = 2 }\nreply = { count = 42 }\n");
    let said = project.failure("init_state = { count = \"x\" }\n[[test.step]]\nrequest = \"get\"\n");
    says(&said, &["init, line 2: init", "actual    it refused:"]);
    project.passes("init_state = { count = \"x\" }\n[test.init]\nrefused = \"invalid type\"\n");
}

#[test]
fn a_mistake_in_a_test_file_names_the_line_and_the_keys_there_are() {
    let project = Project::counter();
    let said = project.failure("[[test.step]]\nreqest = \"get\"\n");
    says(&said, &["it.toml:4: unknown key \"reqest\" of [[test.step]]; did you mean \"request\"?"]);
    let said = project.failure("[[test.step]]\nrequest = \"get\"\nzzz = 1\n");
    says(&said, &["it.toml:5: unknown key \"zzz\"", "the keys here are: request, send, http,"]);
    let said = project.failure("[[test.step]]\nreply = 1\n");
    says(&said, &["it.toml:3: the step says nothing that happens: it needs one of request, send,"]);
    let said = project.failure("[[test.step]]\nrequest = 1\nsend = 1\n");
    says(&said, &["one thing happens in a step"]);
    let said = project.failure("[[test.step]]\nsend = 1\nreply = 1\n");
    says(&said, &["nobody is answered after send 1: \"reply\" does not belong here"]);
    let said = project.failure("[[test.step]]\nrequest = 1\n[[test.step.host]]\ncall = \"timers.set\"\n");
    says(&said, &["it.toml:6: no host function is called \"timers.set\""]);
    let said = project.failure("[[test.step]]\nrequest = 1\n[[test.step.host]]\ncall = \"http-client.send-http\"\nreturns = { status = 1, head = [] }\n");
    says(&said, &["\"head\" is no key of http-response: its keys are status, headers, body"]);
    let said = project.failure("[[test.step]]\nrequest = 1\nreply = [\n");
    says(&said, &["it.toml:"]);
    let said = project.outcome("").expect_err("no test");
    says(&said, &["there is no test in it"]);
}

const COURIER: &str = "[[handlers]]\ntype = \"http-client\"\n";

#[test]
fn a_host_call_without_an_answer_fails_the_test_and_is_printed_with_the_lines_that_answer_it() {
    let project = Project::of("courier", "courier", COURIER);
    let step = "[[test.step]]\nrequest = { op = \"http\", method = \"GET\", uri = \"http://x/y\" }\n";
    let said = project.failure(step);
    says(&said, &["the host call http-client.send-http has no answer", "params  [{\"body\":null,\"headers\":[],"]);
    says(&said, &["[[test.step.host]]", "call = \"http-client.send-http\"", "returns = { body = "]);
    // The lines that it prints answer the call.
    let at = said.find("[[test.step.host]]").expect("the lines");
    let lines: Vec<&str> = said[at..].lines().take(3).map(str::trim).collect();
    project.passes(&format!("{step}reply_contains = {{ ok = {{ status = 1 }} }}\n{}\n", lines.join("\n")));
    let effects = said.lines().find(|line| line.trim().starts_with("effects = ")).expect("a line").trim();
    project.passes(&format!("{step}{effects}\n"));
    project.passes(&format!(
        "{step}reply = {{ err = \"down\" }}\n[[test.step.host]]\ncall = \"http-client.send-http\"\nfails = \"down\"\n"
    ));
}

#[test]
fn answers_of_a_step_go_before_those_of_the_test_and_one_that_nobody_asks_for_is_told() {
    let project = Project::of("courier", "courier", COURIER);
    let get = "[[test.step]]\nrequest = { op = \"http\", method = \"GET\", uri = \"http://x/\" }\n";
    let answer = |of: &str, status: u16| {
        format!("[[{of}.host]]\ncall = \"http-client.send-http\"\nreturns = {{ status = {status}, headers = [] }}\n")
    };
    let reply = |status: u16| format!("reply_contains = {{ ok = {{ status = {status} }} }}\n");
    let both =
        format!("{}always = true\n{get}{}{}{get}{}", answer("test", 1), reply(2), answer("test.step", 2), reply(1));
    project.passes(&both);
    let unused = format!("{get}{}{}{}", reply(1), answer("test.step", 1), answer("test.step", 2));
    says(&project.failure(&unused), &["http-client.send-http was not called (its answer stands in line"]);
    let unused = format!("{}[[test.step]]\nrequest = \"get\"\n", answer("test", 1));
    says(&project.failure(&unused), &["http-client.send-http was not called"]);
}

#[test]
fn messages_sent_and_effects_are_compared_in_order() {
    let project = Project::of("courier", "courier", COURIER);
    let many = "[[test.step]]\nrequest = { op = \"many\", ops = [{ op = \"send\", to = \"bob\", msg = 1 }, \
                { op = \"request\", to = \"eve\", msg = { a = 1 } }] }\n";
    let ask = "{ call = \"message-server-host.request\", params = [\"eve\", { a = 1 }], returns = { b = 2 } }";
    let send = "{ call = \"message-server-host.send\", params = [\"bob\", 1] }";
    project.passes(&format!("{many}effects = [{send}, {ask}]\nreply = [{{}}, {{ ok = {{ b = 2 }} }}]\n"));
    let said = project.failure(&format!("{many}effects = [{ask}, {send}]\n"));
    says(&said, &["effects differs at /0/call"]);
    let answered = "[[test.step.host]]\ncall = \"message-server-host.request\"\nreturns = {}\n";
    project.passes(&format!("{many}sent = [{{ to = \"bob\", message = 1 }}]\n{answered}"));
    let said = project.failure(&format!("{many}sent = [{{ to = \"bob\", message = 2 }}]\n{answered}"));
    says(&said, &["sent differs at /0/message", "expected  [{\"message\":2,\"to\":\"bob\"}]"]);
    let said = project.failure("[[test.step]]\nrequest = \"get\"\neffects = [\"clock.now\"]\n");
    says(&said, &["clock.now is no effect"]);
}

#[test]
fn timers_wait_until_a_step_lets_them_fire_and_the_clock_goes_with_them() {
    let project = Project::of("alarm", "alarm", &format!("{HTTP}[[handlers]]\ntype = \"timer\"\n"));
    project.passes(
        r#"
        now = 1970-01-01T00:00:01Z
        [[test.step]]
        request = { op = "set", key = "tea", after = 500 }
        reply = { ok = 1500 }
        effects = [{ call = "timer.set", params = ["tea", 500, { "$json" = "null" }] }]
        [[test.step]]
        request = { op = "every", key = "beat", ms = 100 }
        reply = { ok = 1100 }
        [[test.step]]
        request = "timers"
        reply = [["beat", 1100, 1], ["tea", 1500, 1]]
        [[test.step]]
        timer = "beat"
        [[test.step]]
        timer = "beat"
        state_contains = { fired = [["beat", 1100], ["beat", 1200]] }
        [[test.step]]
        request = { op = "cancel", key = "beat" }
        reply = true
        "#,
    );
    let said = project.failure("[[test.step]]\ntimer = \"tea\"\n");
    says(&said, &["no timer \"tea\" is pending; none is"]);
}

#[test]
fn the_clock_stands_randomness_has_a_seed_and_config_may_be_the_tests_own() {
    let chance = "[[handlers]]\ntype = \"clock\"\n[[handlers]]\ntype = \"random\"\n";
    let project = Project::of("chance", "chance", chance);
    project.passes(
        "[[test.step]]\nrequest = \"now\"\nreply = 1767225600000\n[[test.step]]\nafter_ms = 5\nrequest = \"now\"\n\
         reply = 1767225600005\n",
    );
    let drawn = |seed: u64| {
        let steps = format!("seed = {seed}\n[[test.step]]\nrequest = {{ op = \"random\", n = 8 }}\nreply = \"\"\n");
        let said = project.failure(&steps);
        said.lines().find(|line| line.contains("actual")).expect("the bytes").to_owned()
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    let project = Project::of("configured", "configured", "[config]\ngreeting = \"hello\"\n");
    let ask = "[[test.step]]\nrequest = { op = \"config\", key = \"greeting\" }\n";
    project.passes(&format!("{ask}reply = {{ ok = \"hello\" }}\n"));
    project.passes(&format!("config = {{ greeting = \"hi\" }}\n{ask}reply = {{ ok = \"hi\" }}\n"));
}

#[test]
fn a_failed_actor_takes_no_further_step_and_its_log_is_shown() {
    let project = Project::of("courier", "courier", COURIER);
    let panic = "[[test.step]]\nrequest = { op = \"panic\", message = \"on purpose\" }\nfailed = \"trap\"\n";
    project.passes(&format!("{panic}logs_contain = \"on purpose\"\n"));
    let said = project.failure(&format!("{panic}[[test.step]]\nrequest = \"get\"\n"));
    says(&said, &["the actor has failed before", "log: panicked at"]);
    let said = project.failure("[[test.step]]\nrequest = { op = \"log\", text = \"a\" }\nlogs = [\"b\"]\n");
    says(&said, &["logs differs at /0"]);
    let said = project.failure("[[test.step]]\nrequest = { op = \"log\", text = \"a\" }\nlogs_contain = [\"b\"]\n");
    says(&said, &["no line of the log contains \"b\"", "logged    [\"a\"]"]);
}

#[test]
fn answers_that_come_later_ends_of_actors_and_notices_of_children_are_steps() {
    let more = format!("{HTTP}[[handlers]]\ntype = \"supervisor\"\n");
    let project = Project::of("gatherer", "gatherer", &more);
    project.passes(
        r#"
        [[test.step]]
        child_event = { child = "abc", kind = { failed = "trap" } }
        state_contains = { notices = [{ child = "abc", kind = { failed = "trap" } }] }
        [[test.step]]
        call = "supervisor-handlers.handle-child-event"
        params = [{ child-id = "def", kind = "started" }]
        "#,
    );
    let said = project.failure("[[test.step]]\nasync_reply = { ok = 1 }\n");
    says(&said, &["no asynchronous request waits for an answer"]);
    let watching = "[[handlers]]\ntype = \"monitor\"\n[[handlers]]\ntype = \"supervisor\"\n";
    let project = Project::of("sentry", "sentry", watching);
    project.passes(
        r#"
        [[test.step]]
        request = { op = "monitor", actor = "bob" }
        effects = [{ call = "monitors.monitor", params = ["bob"] }]
        [[test.step]]
        actor_down = { actor = "bob", reason = "stopped" }
        state_contains = { downs = [[4, "bob", { "$json" = "null" }]] }
        "#,
    );
    let said = project.failure("[[test.step]]\nactor_down = { actor = \"bob\", reason = \"stopped\" }\n");
    says(&said, &["the actor does not monitor \"bob\"; it monitors no actor"]);
}

#[test]
fn a_table_is_in_memory_and_is_compared_as_a_whole() {
    let project = Project::of("shortener", "shortener", &format!("{HTTP}[[handlers]]\ntype = \"table\"\n"));
    let put = "[[test.step]]\nhttp = \"PUT /a\"\nbody = \"http://x/\"\nstatus = 201\n";
    project.passes(&format!("{put}table = {{ \"link/a\" = {{ url = \"http://x/\" }} }}\n"));
    let said = project.failure(&format!("{put}table = {{}}\n"));
    says(&said, &["table differs at /link~1a"]);
    let said = project.failure(&format!("table = {{ a = 1 }}\n{put}"));
    says(&said, &["\"table\" needs \"state\""]);
}

#[test]
fn filter_json_and_junit_tell_the_same_outcome() {
    let project = Project::counter();
    project.file(
        "it.toml",
        "[[test]]\nname = \"adds <one>\"\n[[test.step]]\nrequest = { add = 1 }\nreply = { count = 1 }\n\
         [[test]]\nname = \"adds two\"\n[[test.step]]\nrequest = { add = 2 }\nreply = { count = 1 }\n",
    );
    let junit = project.stage.path().join("junit.xml");
    let done = project.run(&["--scripted", "--json", "--junit", junit.to_str().expect("UTF-8")]);
    assert_eq!(done.status.code(), Some(1));
    let printed = text(&done.stdout);
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: Vec<_> = lines.iter().map(|line| (line["name"].clone(), line["ok"].clone())).collect();
    assert_eq!(told, [(json!("adds <one>"), json!(true)), (json!("adds two"), json!(false))]);
    let xml = std::fs::read_to_string(junit).expect("a report");
    says(
        &xml,
        &["<testsuite name=\"it.toml\" tests=\"2\" failures=\"1\"", "name=\"adds &lt;one&gt;\"", "<failure message="],
    );
    let done = project.run(&["--filter", "one"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stdout));
    says(&text(&done.stdout), &["1 test passed"]);
    let done = project.run(&["--filter", "three"]);
    assert_eq!(done.status.code(), Some(1));
    says(&text(&done.stderr), &["no test has a name that contains \"three\""]);
}

#[test]
fn a_wrong_directory_is_misuse_and_a_project_without_tests_is_told_what_to_write() {
    let project = Project::counter();
    let nowhere = project.stage.path().join("nowhere");
    let done = theater_test(&nowhere, &[]);
    assert_eq!(done.status.code(), Some(2), "{}", text(&done.stderr));
    let done = project.run(&[]);
    assert_eq!(done.status.code(), Some(1));
    says(&text(&done.stderr), &["has no tests: write scripted tests as tests/*.toml"]);
}

#[test]
fn the_tests_of_the_language_run_too() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|done| done.status.success()) {
        return support::skipped("the native tests of a project in Python", "there is no python3");
    }
    let project = Project::counter();
    project.stage.file("pyproject.toml", "[project]\nname = \"counter\"\n");
    let test = |expected: u32| {
        format!(
            "import unittest\n\n\nclass Sums(unittest.TestCase):\n    def test_sum(self):\n        \
             self.assertEqual(1 + 1, {expected})\n"
        )
    };
    project.file("test_sums.py", &test(2));
    let done = project.run(&["--native"]);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    says(&text(&done.stdout), &["ok      pyproject.toml: python3 -m unittest discover -s tests (", "1 test passed"]);
    project.file("test_sums.py", &test(3));
    let done = project.run(&[]);
    assert_eq!(done.status.code(), Some(1));
    says(&text(&done.stdout), &["FAILED  pyproject.toml", "AssertionError: 2 != 3"]);
}

/// The living examples: the tests beside the actors of this repository.
#[test]
fn the_tests_of_the_example_actors_pass() {
    for actor in ["counter", "shortener"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("actors").join(actor);
        let done = theater_test(&dir, &["--scripted"]);
        assert_eq!(done.status.code(), Some(0), "{actor}: {}{}", text(&done.stdout), text(&done.stderr));
    }
    assert!(component("counter").exists());
}
