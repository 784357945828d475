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

#[test]
fn a_host_call_without_an_answer_fails_the_test_and_is_printed_with_the_lines_that_answer_it() {
    let project = Project::of("courier", "courier", "");
    let step = "[[test.step]]\nsend = { send = [\"bob\", { hello = 1 }] }\n";
    let said = project.failure(step);
    says(&said, &["the host call ", " has no answer", "[[test.step.host]]", "call = \""]);
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
