//! A wall clock for tests that can be set while a runtime runs: `clock.c`, loaded into the process under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::{Launch, Stage};

/// The library, built once with the compiler that also links Rust programs.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/clock.c");
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clock-{}.so", std::process::id()));
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&built).arg(source);
        assert!(cc.status().expect("a C compiler").success());
        built
    })
}

/// The wall clock of the runtimes of one stage.
pub struct WallClock(PathBuf);

impl WallClock {
    /// A clock that is right.
    pub fn of(stage: &Stage) -> Self {
        Self(stage.file("clock", "0"))
    }

    /// Sets the clock to so many milliseconds after the right time.
    pub fn set(&self, ms: i64) {
        // Renamed into its place, so that nobody reads half of it.
        let new = self.0.with_extension("new");
        std::fs::write(&new, ms.to_string()).expect("a file");
        std::fs::rename(&new, &self.0).expect("a file");
    }

    /// A runtime that goes by this clock.
    pub fn given_to(&self, launch: Launch) -> Launch {
        launch.env("LD_PRELOAD", library()).env("THEATER_CLOCK_FILE", &self.0)
    }
}
