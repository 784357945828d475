//! The handler `filesystem`: an actor reads files in one directory and, if its manifest allows it, changes them.
//!
//! A read is recorded with its result, so a replay needs no directory. A change is made after its intent is on disk,
//! and is never repeated. `directory.rs` resolves paths and keeps them inside the directory.

mod directory;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::{ActorRef, Foreseeable, Grant, Source};
use crate::base::limits::{Limits, PATH_BYTES};
use crate::chain::cbor::Cbor;
use crate::chain::{Function, function};
use crate::guest::{Capability, Effect, Extensions, HostState, Live};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::system::{RestsOn, Secrets};
use directory::{Change, Directory};

pub(super) const NAME: &str = "filesystem";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/filesystem"];

const READ_FILE: &Function = function!("ntwk:theater/filesystem", "read-file");
const WRITE_FILE: &Function = function!("ntwk:theater/filesystem", "write-file");
const LIST_FILES: &Function = function!("ntwk:theater/filesystem", "list-files");
const DELETE_FILE: &Function = function!("ntwk:theater/filesystem", "delete-file");
const CREATE_DIR: &Function = function!("ntwk:theater/filesystem", "create-dir");
const DELETE_DIR: &Function = function!("ntwk:theater/filesystem", "delete-dir");
const PATH_EXISTS: &Function = function!("ntwk:theater/filesystem", "path-exists");

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    ReadOnly,
    #[default]
    ReadWrite,
}

/// Remedies, if the path is not a directory, and if a directory is missing and is not created.
const NO_DIRECTORY: &str = "; what lies there is no directory: name another path";
const NOT_MADE: &str = "; create it, or grant it with mode = \"read-write\"";

struct Filesystem {
    path: PathBuf,
    mode: Mode,
    /// Every node of a realm finds the same files there.
    is_shared: bool,
}

#[derive(Deserialize)]
struct Config {
    path: String,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    shared: bool,
}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    let Some(entry) = entry else {
        return Ok(Box::new(Filesystem { path: PathBuf::new(), mode: Mode::ReadOnly, is_shared: false }));
    };
    let Config { path, mode, shared } = entry.config(&["path", "mode", "shared"])?;
    if path.is_empty() {
        return Err(entry.error("\"path\" of handler \"filesystem\" is empty: name a directory"));
    }
    Ok(Box::new(Filesystem { path: entry.beside(&path), mode, is_shared: shared }))
}

impl Grant for Filesystem {
    fn install(&self, extensions: &mut Extensions) {
        extensions.insert(Granted { path: self.path.clone(), mode: self.mode, directory: OnceLock::new() });
    }

    fn writes_below(&self) -> Option<&Path> {
        match self.mode {
            Mode::ReadOnly => None,
            Mode::ReadWrite => Some(&self.path),
        }
    }

    fn foreseen(&self, runtime: &Foreseeable<'_>) -> Option<String> {
        let Self { path, mode, .. } = self;
        let is_there = path.symlink_metadata().is_ok();
        match Directory::open(path) {
            Err(error) if is_there => Some(cannot_open(path, &error) + NO_DIRECTORY),
            Err(error) if *mode == Mode::ReadOnly => Some(cannot_open(path, &error) + NOT_MADE),
            Ok(_) | Err(_) => {
                let kept = keep_from_the_journal(path, runtime.data_dir);
                kept.and_then(|()| self.keep_from_secrets(runtime.secrets)).err()
            }
        }
    }

    /// Opens no listener, but checks the directory before the actor begins. The directory is created only for a new
    /// actor: for an actor that has run before, a new directory would be empty, and nobody would notice.
    fn start(&self, actor: &ActorRef, _socket: Option<Arc<TcpListener>>) -> Result<Option<Box<dyn Source>>, String> {
        let Self { path, mode, is_shared } = self;
        if actor.theater.journal.is_of_a_realm() && !is_shared {
            return Err(format!(
                "the actor may go on on another machine, which has no directory {} with these files: grant one that every node \
                 of the realm finds there, with shared = true of the handler \"filesystem\"",
                path.display()
            ));
        }
        if *mode == Mode::ReadWrite && !actor.has_lived {
            std::fs::create_dir_all(path).map_err(|error| {
                let remedy = if path.symlink_metadata().is_ok() { NO_DIRECTORY } else { "" };
                format!("filesystem cannot create the directory {}: {error}{remedy}", path.display())
            })?;
        }
        let remedy = match (mode, actor.has_lived) {
            (_, true) => {
                "; the actor has lived before, so the directory is not created again: put it back; or, if the manifest \
                 has moved, name it in its new place (theater run MANIFEST), and the path is relative to that place; or \
                 create the directory, if it may be empty"
            }
            (Mode::ReadOnly, false) => NOT_MADE,
            (Mode::ReadWrite, false) => "",
        };
        Directory::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => cannot_open(path, &error) + remedy,
            std::io::ErrorKind::NotADirectory => cannot_open(path, &error) + NO_DIRECTORY,
            _ => cannot_open(path, &error),
        })?;
        keep_from_the_journal(&self.path, actor.theater.journal.dir())?;
        self.keep_from_secrets(&actor.theater.secrets)?;
        Ok(None)
    }
}

impl Capability for Filesystem {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        let mut files = linker.instance(IMPORTS[0])?;
        files.func_wrap("read-file", |store, path| read(store, READ_FILE, path, Directory::read_file))?;
        files.func_wrap("write-file", write_file)?;
        files.func_wrap("list-files", |store, path| read(store, LIST_FILES, path, Directory::list_files))?;
        files.func_wrap("delete-file", |store, path| change(store, DELETE_FILE, path, delete_file))?;
        files.func_wrap("create-dir", |store, path| change(store, CREATE_DIR, path, create_dir))?;
        files.func_wrap("delete-dir", |store, path| change(store, DELETE_DIR, path, delete_dir))?;
        files.func_wrap("path-exists", |store, path| read(store, PATH_EXISTS, path, Directory::path_exists))
    }
}

/// The directory that an incarnation was granted. It is opened once: if it is moved later, the actor keeps using it.
struct Granted {
    path: PathBuf,
    mode: Mode,
    directory: OnceLock<Directory>,
}

impl Granted {
    fn of(live: &Live) -> &Self {
        live.extensions.get().expect("installed with the functions that ask for it")
    }

    fn directory(&self) -> Result<&Directory, String> {
        if self.directory.get().is_none() {
            // Only the actor's own thread runs this.
            let directory = Directory::open(&self.path).map_err(|error| cannot_open(&self.path, &error))?;
            let _ = self.directory.set(directory);
        }
        Ok(self.directory.get().expect("set just above"))
    }

    fn writable(&self) -> Result<&Directory, String> {
        match self.mode {
            Mode::ReadWrite => self.directory(),
            Mode::ReadOnly => {
                Err("the directory is granted read-only: mode = \"read-write\" of the handler \"filesystem\" \
                     allows changes"
                    .to_owned())
            }
        }
    }
}

fn cannot_open(path: &Path, error: &std::io::Error) -> String {
    format!("filesystem cannot open the directory {}: {error}", path.display())
}

/// Refuses a directory that contains the journal or lies in it: an actor with access to the journal could read the data
/// of every actor and change their histories.
fn keep_from_the_journal(path: &Path, journal: &Path) -> Result<(), String> {
    let (Ok(granted), Ok(journal)) = (path.canonicalize(), journal.canonicalize()) else { return Ok(()) };
    if journal.starts_with(&granted) || granted.starts_with(&journal) {
        return Err(format!(
            "filesystem cannot grant {}: the runtime keeps its data in {}; name a directory apart from it",
            granted.display(),
            journal.display()
        ));
    }
    Ok(())
}

impl Filesystem {
    /// Refuses a directory in which the guest could read the value of a secret, or write a program that is run for one.
    fn keep_from_secrets(&self, secrets: &Secrets) -> Result<(), String> {
        let granted = super::real(&self.path);
        for (secret, rests_on) in secrets.files() {
            let (what, file) = match rests_on {
                RestsOn::Value(file) => ("the value of", file),
                RestsOn::Program(_) if self.mode == Mode::ReadOnly => continue,
                RestsOn::Program(file) => ("the program that gives", file),
            };
            // A link to the file decides too.
            let places = [super::real(file), super::real(file.parent().unwrap_or(file))];
            if places.iter().any(|place| place.starts_with(&granted)) {
                return Err(format!(
                    "filesystem cannot grant {}: {what} the secret \"{secret}\" lies there, in {}; name a directory \
                     apart from it",
                    granted.display(),
                    file.display()
                ));
            }
        }
        Ok(())
    }
}

type HostStore<'a> = StoreContextMut<'a, Box<HostState>>;

/// The part of a path that is recorded: all of it, or its beginning if the path is refused for its length.
fn bounded(mut path: String) -> (String, Result<(), String>) {
    let bytes = path.len();
    if bytes <= PATH_BYTES {
        return (path, Ok(()));
    }
    path.truncate(path.floor_char_boundary(PATH_BYTES));
    (path, Err(format!("a path of {bytes} bytes: the longest has {PATH_BYTES}")))
}

fn read<R: Cbor>(
    mut store: HostStore<'_>,
    function: &'static Function,
    (path,): (String,),
    look: fn(&Directory, &str, &Limits) -> Result<R, String>,
) -> wasmtime::Result<(Result<R, String>,)> {
    let (path, fits) = bounded(path);
    let params = (path,);
    let state = store.data_mut();
    let (live, limits) = (state.live().cloned(), state.limits.clone());
    let found = state.recorder.host_call(function, &params, |_| {
        let live = live.as_deref().expect("effects run live");
        let directory = fits.and_then(|()| Granted::of(live).directory());
        Ok(Effect::Read(directory.and_then(|directory| look(directory, &params.0, &limits))))
    })?;
    Ok((found,))
}

type Changed = Result<(), String>;

/// Content over its limit is refused and not recorded, so that a guest cannot fill the disk with refused content.
fn write_file(mut store: HostStore<'_>, (path, mut content): (String, String)) -> wasmtime::Result<(Changed,)> {
    let (path, mut fits) = bounded(path);
    let (bytes, limit) = (content.len(), store.data_mut().limits.file_bytes);
    if bytes as u64 > limit {
        content.clear();
        fits = fits.and(Err(format!("content of {bytes} bytes: the limit file_bytes is {limit}")));
    }
    let params = (path, content);
    record_change(store, WRITE_FILE, &params, fits, Change::WriteFile(&params.0, params.1.as_bytes()))
}

fn delete_file(path: &str) -> Change<'_> {
    Change::DeleteFile(path)
}

fn create_dir(path: &str) -> Change<'_> {
    Change::CreateDir(path)
}

fn delete_dir(path: &str) -> Change<'_> {
    Change::DeleteDir(path)
}

fn change(
    store: HostStore<'_>,
    function: &'static Function,
    (path,): (String,),
    what: fn(&str) -> Change<'_>,
) -> wasmtime::Result<(Changed,)> {
    let (path, fits) = bounded(path);
    let params = (path,);
    record_change(store, function, &params, fits, what(&params.0))
}

fn record_change<P: Cbor>(
    mut store: HostStore<'_>,
    function: &'static Function,
    params: &P,
    fits: Result<(), String>,
    change: Change<'_>,
) -> wasmtime::Result<(Changed,)> {
    let state = store.data_mut();
    let (live, limits) = (state.live().cloned(), state.limits.clone());
    let changed = state.recorder.host_call(function, params, |attempt| {
        let live = live.as_deref().expect("effects run live");
        Ok(Effect::outside(&attempt, || {
            fits?;
            let directory = Granted::of(live).writable()?;
            directory.check(&change, &limits)?;
            Ok(Box::new(move || Ok(directory.make(&change))))
        }))
    })?;
    Ok((changed,))
}
