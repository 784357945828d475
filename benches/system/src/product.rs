//! Theater as it is measured: directories with manifests, runtimes in this process, actors in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use theater::{ActorId, Config, Durability, LifecycleError, TheaterHandle, TheaterRuntime};

/// The component of `guest.wat`.
pub fn guest() -> Vec<u8> {
    wat::parse_str(include_str!("guest.wat")).expect("the text of a component")
}

/// A component that `make actors` has built.
pub fn example(name: &str) -> Option<Vec<u8>> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../actors/dist").join(format!("{name}.wasm"))).ok()
}

/// A message of so many bytes, which the guest gives back.
pub fn echo(bytes: usize) -> Vec<u8> {
    vec![b'e'; bytes]
}

/// Such a message, which leaves the state as it is.
pub fn read(bytes: usize) -> Vec<u8> {
    vec![b'r'; bytes]
}

/// Has the guest make `times` requests (`f`) or sends (`s`) of `payload` to another actor.
pub fn command(kind: u8, times: u32, to: ActorId, payload: &[u8]) -> Vec<u8> {
    [&[kind], &times.to_le_bytes()[..], to.to_string().as_bytes(), payload].concat()
}

/// What a manifest says beside the component.
#[derive(Clone, Copy)]
pub struct Actor<'a> {
    pub name: &'a str,
    pub component: &'a [u8],
    pub state_bytes: Option<usize>,
    pub reuse: u32,
    pub more: &'a str,
}

/// Where everything lies that is measured: on the disk that `target` is on, unless this variable names a place. A
/// directory in memory shows what is left where a sync costs nothing.
pub const PLACE: &str = "THEATER_BENCH_DIR";

/// A directory of its own, removed at the end.
pub struct Stage(TempDir);

impl Stage {
    pub fn new() -> Self {
        let place = std::env::var_os(PLACE).map(PathBuf::from);
        let place = place.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/run"));
        fs::create_dir_all(&place).expect("a directory");
        Self(TempDir::new_in(place).expect("a directory"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn manifest(&self, actor: &Actor) -> PathBuf {
        Self::manifest_in(self.path(), actor)
    }

    /// Writes the manifest and what it names.
    pub fn manifest_in(dir: &Path, actor: &Actor) -> PathBuf {
        let file = |name: String, contents: &[u8]| fs::write(dir.join(name), contents).expect("a file");
        let Actor { name, component, state_bytes, reuse, more } = actor;
        let mut text = format!("name = \"{name}\"\ncomponent_path = \"{name}.wasm\"\nreuse = {reuse}\n");
        if let Some(bytes) = state_bytes {
            file(format!("{name}.state"), &vec![b'\x07'; *bytes]);
            text += &format!("init_state = \"{name}.state\"\n");
        }
        text += "\n[limits]\nmailbox_deliveries = 1_048_576\nmailbox_bytes = 1_073_741_824\n";
        text += more;
        file(format!("{name}.wasm"), component);
        file(format!("{name}.toml"), text.as_bytes());
        dir.join(format!("{name}.toml"))
    }

    pub fn runtime(&self, durability: Durability) -> TheaterRuntime {
        let config = Config::new().data_dir(self.data_dir()).durability(durability);
        TheaterRuntime::start(config).expect("a runtime")
    }
}

/// Starts an actor of a manifest under a name of its own: no two root actors have one name.
pub fn start_another(handle: &TheaterHandle, manifest: &Path) -> Result<ActorId, LifecycleError> {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let text = fs::read_to_string(manifest).expect("the manifest");
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let (before, rest) = text.split_once("name = \"").expect("it has a name");
    let (name, after) = rest.split_once('"').expect("a text");
    let numbered = format!("{before}name = \"{name}-{number}\"{after}");
    let path = manifest.with_file_name(format!("{number}.toml"));
    fs::write(&path, numbered).expect("a file");
    let started = handle.start(path.clone());
    fs::remove_file(path).expect("removed");
    started
}

/// `count` actors of one manifest.
pub fn start(handle: &TheaterHandle, manifest: &Path, count: usize) -> Vec<ActorId> {
    const STARTERS: usize = 16;
    let start = || start_another(handle, manifest).expect("it starts");
    if count < STARTERS {
        return (0..count).map(|_| start()).collect();
    }
    std::thread::scope(|scope| {
        let share = |number: usize| count / STARTERS + usize::from(number < count % STARTERS);
        let starters: Vec<_> = (0..STARTERS)
            .map(|number| scope.spawn(move || (0..share(number)).map(|_| start()).collect::<Vec<_>>()))
            .collect();
        starters.into_iter().flat_map(|starter| starter.join().expect("they start")).collect()
    })
}
