//! `theater dev`: a change of a component, a manifest or a source reaches the running actor, and its state carries on.

mod support;

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use support::{Http, Stage, component, eventually, signal, theater};

/// A `theater dev` that runs; it is killed when this is dropped. What it says is in files.
struct Dev {
    process: Child,
    out: File,
    err: File,
}

impl Dev {
    fn of(stage: &Stage, what: &Path) -> Self {
        Self::keeping(stage, what, &stage.data_dir())
    }

    fn keeping(stage: &Stage, what: &Path, data_dir: &Path) -> Self {
        let file = |name: &str| {
            let open = File::options().create(true).append(true).read(true).open(stage.path().join(name));
            open.expect("a file")
        };
        let (out, err) = (file("out.txt"), file("err.txt"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_theater"));
        command.arg("dev").arg(what).args(["--listen", "off", "--durability", "relaxed", "--data-dir"]);
        command.arg(data_dir).env("THEATER_CODE_CACHE", support::code_cache()).stdin(Stdio::null());
        command.stdout(out.try_clone().expect("a handle")).stderr(err.try_clone().expect("a handle"));
        Self { process: command.spawn().expect("the binary"), out, err }
    }

    fn all_of(file: &File) -> String {
        let mut bytes = vec![0; usize::try_from(file.metadata().expect("a file").len()).expect("it fits")];
        let read = file.read_at(&mut bytes, 0).expect("read");
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }

    /// Waits until it has said this on standard output.
    fn says(&self, what: &str) -> String {
        eventually(what, || Some(Self::all_of(&self.out)).filter(|said| said.contains(what)))
    }

    /// Waits until it has said this on standard error.
    fn complains(&self, what: &str) {
        eventually(what, || Self::all_of(&self.err).contains(what).then_some(()));
    }

    fn http(&self) -> Http {
        let said = self.says("ready");
        let address = said.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
        Http::connect(address.parse().expect("an address"))
    }

    fn end(mut self) {
        signal(self.process.id(), "INT");
        assert!(self.process.wait().expect("a child").success());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const HTTP: &str = "[[handlers]]\ntype = \"http-server\"\nconfig = { port = 0 }\n";

#[test]
fn an_actor_goes_on_with_the_component_that_is_put_in_the_place_of_its_own() {
    let stage = Stage::new();
    let built = stage.copy_component("counter", "built");
    let manifest = stage.manifest_at("counter", &built, HTTP);
    let dev = Dev::of(&stage, &manifest);
    let mut http = dev.http();
    assert_eq!(http.ask("POST", "/increment", None).json(), json!({ "count": 1 }));
    dev.says("POST /increment  200");

    // What is no component is refused, and the actor goes on as it was.
    fs::write(&built, "no component").expect("written");
    dev.complains("counter goes on with the build that it has");
    assert_eq!(http.ask("POST", "/increment", None).json(), json!({ "count": 2 }));

    // The variant adds two.
    fs::copy(component("variant"), &built).expect("copied");
    dev.says("counter goes on with the new build");
    let answer = dev.http().ask("POST", "/increment", None).json();
    assert_eq!(answer, json!({ "count": 4 }), "the state carries on, and the new code counts");

    // So does a manifest.
    let text = fs::read_to_string(&manifest).expect("read");
    fs::write(&manifest, format!("reuse = 10\n{text}")).expect("written");
    eventually("another upgrade", || {
        (dev.says("ready").matches("goes on with the new build").count() == 2).then_some(())
    });
    assert_eq!(dev.http().ask("GET", "/", None).json(), json!({ "count": 4 }));
    dev.end();

    // The next one goes on where this one ended.
    fs::remove_file(stage.path().join("out.txt")).expect("removed");
    let dev = Dev::of(&stage, &manifest);
    assert_eq!(dev.http().ask("GET", "/", None).json(), json!({ "count": 4 }));
    dev.end();
}

#[test]
fn a_source_that_changes_is_built_and_one_that_cannot_be_built_leaves_the_actor_as_it_was() {
    let Some(stage) = with_a_project() else { return };
    let (project, main) = (stage.path().join("till"), stage.path().join("till/src/main.ts"));
    let text = fs::read_to_string(&main).expect("read");
    let manifest = fs::read_to_string(project.join("till.toml")).expect("read");
    fs::write(project.join("till.toml"), manifest.replace("8080", "0")).expect("written");

    // The first build fails: it waits for a change.
    fs::write(&main, "this is no program").expect("written");
    let dev = Dev::keeping(&stage, &project, &project.join("kept"));
    dev.says("waiting for a change");
    dev.complains("main.ts");
    fs::write(&main, &text).expect("written");
    assert_eq!(dev.http().ask("POST", "/increment", None).json(), json!({ "count": 1 }));

    fs::write(&main, text.replace("this.count += n", "this.count += 10 * n")).expect("written");
    dev.says("till goes on with the new build");
    assert_eq!(dev.http().ask("POST", "/increment", None).json(), json!({ "count": 11 }));

    fs::write(&main, "nor is this").expect("written");
    eventually("a second complaint", || (Dev::all_of(&dev.err).matches("main.ts").count() >= 2).then_some(()));
    assert_eq!(dev.http().ask("POST", "/increment", None).json(), json!({ "count": 21 }));
    let said = Dev::all_of(&dev.out);
    assert!(!said.contains("kept/"), "the data directory is no source: {said}");
    dev.end();
}

/// A stage with a new project in TypeScript, called till; none if Node.js is missing.
fn with_a_project() -> Option<Stage> {
    let has_node = Command::new("npm").arg("--version").output().is_ok_and(|it| it.status.success());
    if !has_node {
        support::skipped("theater dev with an actor in TypeScript", "there is no npm");
        return None;
    }
    let stage = Stage::new();
    let project = stage.path().join("till");
    let made = theater(&["new", "till", "--lang", "ts", "--dir", project.to_str().expect("UTF-8")], None);
    assert!(made.status.success());
    Some(stage)
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let stage = Stage::new();
    let of = |what: &Path| {
        let mut process = Dev::of(&stage, what);
        assert!(!process.process.wait().expect("a child").success());
        let mut said = String::new();
        File::open(stage.path().join("err.txt")).and_then(|mut file| file.read_to_string(&mut said)).expect("read");
        fs::remove_file(stage.path().join("err.txt")).expect("removed");
        said
    };
    assert!(of(&stage.path().join("absent.toml")).contains("absent.toml"));
    let empty = stage.path().join("empty");
    fs::create_dir(&empty).expect("made");
    assert!(of(&empty).contains("no manifest is here"));
    stage.manifest("one", "counter", "");
    stage.manifest("two", "counter", "");
    let why = of(stage.path());
    assert!(why.contains("one.toml") && why.contains("two.toml") && why.contains("name the manifests"), "{why}");
}
