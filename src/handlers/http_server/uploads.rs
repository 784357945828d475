//! `uploads`: a body beyond the limit `http_body_bytes` goes to a file in the directory that the actor is granted. The actor gets
//! an empty body, and headers that name the file, its length and its SHA-256.
//!
//! ```text
//!   body ─▶ .NAME.part ─▶ whole: synced, renamed to NAME ─▶ call with the headers ─▶ returned: NAME stays
//!              │ broken off: removed                            └─ not taken, refused, failed: removed
//! ```
//!
//! A kill leaves a `.part`, which the next upload removes; or a NAME that no call says, if it came between the renaming and the
//! commit of the call.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions};
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::base::limits::Limits;
use crate::handlers::ActorRef;
use crate::handlers::directory_usage::{Usage, measure};
use crate::journal::JournalHandle;
use crate::manifest::{HandlerEntry, ManifestError};
use crate::net::http::{HttpRefusal, IncomingFile, ReceivedFile, Upload, UploadPlace, WireRequest};

/// How the headers begin that name a file. A client cannot send one.
const PREFIX: &str = "theater-upload-";
/// How the name of a file ends that is being received.
const PART: &str = ".part";

/// `uploads` of the handler's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: { dir = \"uploads\", max_bytes = 1_000_000_000 }")]
pub(super) struct UploadKeys {
    dir: String,
    max_bytes: u64,
}

/// What became of one listener's uploads.
pub(super) struct Uploads {
    granted: PathBuf,
    below: String,
    most_bytes: u64,
    limits: Arc<Limits>,
    journal: JournalHandle,
    reserved: Arc<Mutex<Reserved>>,
}

/// What the files under way may take of the directory's quota.
#[derive(Default)]
struct Reserved {
    usage: Usage,
    /// Whether what an earlier process left was removed.
    is_swept: bool,
}

impl UploadKeys {
    /// Checks the keys as far as this can be done without the actor.
    pub(super) fn check(&self, entry: &HandlerEntry) -> Result<(), ManifestError> {
        let parts: Vec<&str> = self.dir.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || part.starts_with('.') || part.contains('\\')) {
            return Err(entry.error(
                "\"dir\" of \"uploads\" is a path in the granted directory, such as \"uploads\", whose parts begin with no dot",
            ));
        }
        if self.max_bytes == 0 {
            return Err(entry.error("\"max_bytes\" of \"uploads\" is at least 1"));
        }
        Ok(())
    }
}

impl Uploads {
    /// For an actor that may write to a directory; the error is for the person who started it.
    pub(super) fn of(keys: &UploadKeys, actor: &ActorRef) -> Result<Self, String> {
        let granted = actor.theater.registry.entry(actor.id, |entry| entry.writes_below.clone()).flatten();
        let granted = granted.ok_or(
            "\"uploads\" needs a directory to write to: grant the handler \"filesystem\" with mode = \"read-write\"",
        )?;
        Ok(Self {
            granted,
            below: keys.dir.clone(),
            most_bytes: keys.max_bytes,
            limits: Arc::clone(&actor.limits),
            journal: actor.theater.journal.clone(),
            reserved: Arc::default(),
        })
    }

    /// Takes from a request what only an upload may say, and says of its upload what there is.
    pub(super) fn introduce(request: &mut WireRequest) {
        strip(&mut request.headers);
        if let Some(Upload(file)) = &request.upload {
            request.headers.extend(file.headers());
            request.body = Some(Vec::new());
        }
    }

    /// The SHA-256 of the file that a request names, if it names one.
    pub(super) fn digest(headers: &[(String, String)]) -> Option<String> {
        let found = headers.iter().find(|(name, _)| name == "Theater-Upload-Sha256");
        found.map(|(_, digest)| digest.clone())
    }

    /// Opens the directory, and takes room for a file from its quota.
    fn open(&self, bytes: u64) -> io::Result<Result<(Dir, ReservedRoom), HttpRefusal>> {
        let root = Dir::open_ambient_dir(&self.granted, ambient_authority())?;
        root.create_dir_all(&self.below)?;
        let dir = root.open_dir(&self.below)?;
        let mut reserved = self.reserved.lock();
        if !reserved.is_swept {
            sweep(&dir)?;
            reserved.is_swept = true;
        }
        let room = Usage { entries: 1, bytes };
        let held = measure(&root, self.limits.filesystem_entries)?;
        // What has come of the files under way is counted twice, so that the quota holds in any case.
        if let Err(why) = held.plus(reserved.usage).plus(room).check(&self.limits) {
            return Ok(Err(HttpRefusal::new(507, why)));
        }
        reserved.usage = reserved.usage.plus(room);
        Ok(Ok((dir, ReservedRoom { room, reserved: Arc::clone(&self.reserved) })))
    }
}

/// Removes what is left of files that an earlier process was receiving.
fn sweep(dir: &Dir) -> io::Result<()> {
    for entry in dir.entries()? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(PART)) {
            dir.remove_file(&name)?;
        }
    }
    Ok(())
}

fn unusable(what: &str, error: &io::Error) -> HttpRefusal {
    log::error!("an upload cannot be {what}: {error}");
    let status = if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) { 507 } else { 500 };
    HttpRefusal::new(status, "the upload cannot be stored")
}

impl UploadPlace for Uploads {
    fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    fn begin(&self, length: Option<u64>) -> Result<Box<dyn IncomingFile>, HttpRefusal> {
        self.journal.has_room().map_err(|_| HttpRefusal::busy("the server's disk is nearly full"))?;
        let opened = self.open(length.unwrap_or(self.most_bytes)).map_err(|error| unusable("begun", &error))?;
        let (dir, room) = opened?;
        let name = Uuid::new_v4().to_string();
        let part = format!(".{name}{PART}");
        let file = dir.open_with(&part, OpenOptions::new().write(true).create_new(true));
        let file = file.map_err(|error| unusable("begun", &error))?;
        let place = FilePlace { dir, path: format!("{}/{name}", self.below), name: part };
        Ok(Box::new(FileUnderWay {
            file,
            place: Some(place),
            final_name: name,
            bytes: 0,
            hasher: Sha256::new(),
            _room: room,
        }))
    }
}

/// Room that a file under way has of the quota. Dropping it gives it back.
struct ReservedRoom {
    room: Usage,
    reserved: Arc<Mutex<Reserved>>,
}

impl Drop for ReservedRoom {
    fn drop(&mut self) {
        let mut reserved = self.reserved.lock();
        reserved.usage.entries -= self.room.entries;
        reserved.usage.bytes -= self.room.bytes;
    }
}

/// A file, by the name that it has now.
struct FilePlace {
    dir: Dir,
    name: String,
    /// As the actor will know it.
    path: String,
}

impl FilePlace {
    fn remove(&self) {
        // The actor may have deleted it.
        if let Err(error) = self.dir.remove_file(&self.name)
            && error.kind() != ErrorKind::NotFound
        {
            log::warn!("what is left of the upload {} cannot be removed: {error}", self.path);
        }
    }
}

struct FileUnderWay {
    file: File,
    place: Option<FilePlace>,
    final_name: String,
    bytes: u64,
    hasher: Sha256,
    _room: ReservedRoom,
}

impl FileUnderWay {
    /// Puts everything on disk under its last name, so that the chain may say that it is there.
    fn settle(&self, place: &mut FilePlace) -> io::Result<()> {
        self.file.sync_all()?;
        place.dir.rename(&place.name, &place.dir, &self.final_name)?;
        place.name.clone_from(&self.final_name);
        match place.dir.open(Path::new("."))?.sync_all() {
            // This file system cannot sync a directory.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            kept => kept,
        }
    }
}

impl IncomingFile for FileUnderWay {
    fn write(&mut self, piece: &[u8]) -> Result<(), HttpRefusal> {
        self.file.write_all(piece).map_err(|error| unusable("written", &error))?;
        self.hasher.update(piece);
        self.bytes += piece.len() as u64;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Upload, HttpRefusal> {
        let mut place = self.place.take().expect("it is taken once, here");
        if let Err(error) = self.settle(&mut place) {
            place.remove();
            return Err(unusable("finished", &error));
        }
        let sha256 = hex::encode(std::mem::take(&mut self.hasher).finalize());
        Ok(Upload(Arc::new(FileReceived { place, bytes: self.bytes, sha256, is_kept: AtomicBool::new(false) })))
    }
}

impl Drop for FileUnderWay {
    fn drop(&mut self) {
        self.place.iter().for_each(FilePlace::remove);
    }
}

struct FileReceived {
    place: FilePlace,
    bytes: u64,
    sha256: String,
    is_kept: AtomicBool,
}

impl ReceivedFile for FileReceived {
    fn headers(&self) -> Vec<(String, String)> {
        let said =
            [("Path", self.place.path.clone()), ("Bytes", self.bytes.to_string()), ("Sha256", self.sha256.clone())];
        said.map(|(name, value)| (format!("Theater-Upload-{name}"), value)).to_vec()
    }

    fn keep(&self) {
        self.is_kept.store(true, Ordering::Release);
    }
}

impl Drop for FileReceived {
    fn drop(&mut self) {
        if !self.is_kept.load(Ordering::Acquire) {
            self.place.remove();
        }
    }
}
/// Takes the headers away that only this handler gives: a client that sent them could name any file of the actor.
pub(super) fn strip(headers: &mut Vec<(String, String)>) {
    let is_ours = |name: &str| name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
    headers.retain(|(name, _)| !is_ours(name));
}
