//! The granted directory, and the seven file functions on it. No path leads out of the directory.
//!
//! `cap-std` resolves every path beneath an open directory. So `..`, an absolute path, a link, or a link that is
//! inserted while the path is resolved cannot lead elsewhere. Only regular files are read and written. They are opened
//! in a non-blocking way, so that a pipe or a device is detected without waiting for it.

use std::io::{self, ErrorKind, Read, Write};
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt};
use parking_lot::Mutex;
use rustix::fs::OFlags;

use crate::base::fail;
use crate::base::limits::{DIRECTORY_DEPTH, Limits};
use crate::handlers::directory_usage::{Usage, measure, too_deep};

/// A change that a guest asks for, with the paths that the guest gave.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    WriteFile(&'a str, &'a [u8]),
    DeleteFile(&'a str),
    CreateDir(&'a str),
    DeleteDir(&'a str),
}

pub(super) struct Directory {
    root: Dir,
    /// An upper bound of the directory's contents, as far as its actor knows; `None` before the first change that adds.
    usage: Mutex<Option<Usage>>,
}

impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { root: Dir::open_ambient_dir(path, ambient_authority())?, usage: Mutex::new(None) })
    }

    pub(super) fn read_file(&self, path: &str, limits: &Limits) -> Result<Vec<u8>, String> {
        let failed = |error: io::Error| format!("cannot read {path:?}: {error}");
        let file = self.open_regular(relative(path), OpenOptions::new().read(true)).map_err(failed)?;
        let limit = limits.file_bytes;
        let mut content = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut content).map_err(failed)?;
        if content.len() as u64 > limit {
            return Err(format!("cannot read {path:?}: it is larger than the limit file_bytes, {limit}"));
        }
        Ok(content)
    }

    /// Returns the names sorted, because the order in a directory is arbitrary.
    pub(super) fn list_files(&self, path: &str, limits: &Limits) -> Result<Vec<String>, String> {
        let failed = |error: io::Error| format!("cannot list {path:?}: {error}");
        let limit = limits.list_entries;
        let mut names = Vec::new();
        for entry in self.root.read_dir(relative(path)).map_err(failed)? {
            if names.len() as u64 == limit {
                return Err(format!("cannot list {path:?}: it has more entries than the limit list_entries, {limit}"));
            }
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn path_exists(&self, path: &str, _limits: &Limits) -> Result<bool, String> {
        match self.root.metadata(relative(path)) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(format!("cannot look for {path:?}: {error}")),
        }
    }

    /// Checks whether a change is allowed; makes no change.
    pub(super) fn check(&self, change: &Change<'_>, limits: &Limits) -> Result<(), String> {
        match *change {
            Change::WriteFile(path, content) => {
                depth_of(path).map_err(|error| change.failed(&error))?;
                let before = self.length(relative(path));
                let entries = u64::from(before.is_none());
                let bytes = (content.len() as u64).saturating_sub(before.unwrap_or(0));
                self.has_room(Usage { entries, bytes }, limits).map_err(|why| change.refused(&why))
            }
            Change::CreateDir(path) => {
                depth_of(path).map_err(|error| change.failed(&error))?;
                self.has_room(Usage { entries: 1, bytes: 0 }, limits).map_err(|why| change.refused(&why))
            }
            Change::DeleteDir(path) => self.check_tree(path, limits).map_err(|why| change.refused(&why)),
            Change::DeleteFile(_) => Ok(()),
        }
    }

    pub(super) fn make(&self, change: &Change<'_>) -> Result<(), String> {
        let made = match *change {
            Change::WriteFile(path, content) => self.write_file(path, content),
            Change::DeleteFile(path) => self.delete_file(path),
            Change::CreateDir(path) => self.create_dir(path),
            Change::DeleteDir(path) => self.delete_dir(path),
        };
        made.map_err(|error| change.failed(&error))
    }

    /// Opens a regular file; checks its type before and after opening. Opening never blocks.
    fn open_regular(&self, path: &Path, options: &mut OpenOptions) -> io::Result<File> {
        let not_regular = || io::Error::other("not a regular file");
        match self.root.metadata(path) {
            Ok(metadata) if !metadata.is_file() => return Err(not_regular()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let waits_for_nobody = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = self.root.open_with(path, options.custom_flags(waits_for_nobody))?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
    }

    fn length(&self, path: &Path) -> Option<u64> {
        self.root.metadata(path).ok().map(|metadata| metadata.len())
    }

    /// Writes content and name to disk before it returns, so that the chain may say that they are there.
    fn write_file(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let before = self.length(relative(path));
        let mut file = self.open_regular(relative(path), OpenOptions::new().write(true).create(true))?;
        let bytes = (content.len() as u64).saturating_sub(before.unwrap_or(0));
        self.add(Usage { entries: u64::from(before.is_none()), bytes });
        file.set_len(0)?;
        fail::point_after("file-half-written", || _ = file.write_all(&content[..content.len() / 2]));
        file.write_all(content)?;
        file.sync_all()?;
        if before.is_none() { self.keep_names(relative(path)) } else { Ok(()) }
    }

    fn delete_file(&self, path: &str) -> io::Result<()> {
        self.root.remove_file(relative(path))?;
        self.keep_names(relative(path))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.root.create_dir(relative(path))?;
        self.add(Usage { entries: 1, bytes: 0 });
        self.keep_names(relative(path))
    }

    /// Empties the directory through its open handle, so that nothing else is emptied if its name changes in the
    /// meantime.
    fn delete_dir(&self, path: &str) -> io::Result<()> {
        let path = self.subdirectory(path)?;
        empty(&self.root.open_dir(&path)?, DIRECTORY_DEPTH)?;
        self.root.remove_dir(&path)?;
        self.keep_names(&path)
    }

    /// Syncs the directory that holds `changed`, because syncing a file does not sync its name.
    fn keep_names(&self, changed: &Path) -> io::Result<()> {
        let parent = changed.parent().filter(|parent| !parent.as_os_str().is_empty());
        match self.root.open(parent.unwrap_or(Path::new(".")))?.sync_all() {
            // This file system cannot sync a directory.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            kept => kept,
        }
    }

    fn check_tree(&self, path: &str, limits: &Limits) -> Result<(), String> {
        let most = limits.filesystem_entries;
        let opened = self.subdirectory(path).and_then(|path| self.root.open_dir(path));
        let inside = opened.and_then(|directory| measure(&directory, most)).map_err(|error| error.to_string())?;
        if inside.entries > most {
            return Err(format!("it has more entries than the limit filesystem_entries, {most}"));
        }
        Ok(())
    }

    /// The path of a directory below the root that is not a link.
    fn subdirectory(&self, path: &str) -> io::Result<PathBuf> {
        let path: PathBuf = relative(path).components().collect();
        if !matches!(path.components().next_back(), Some(Component::Normal(_))) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the path does not end in a directory's name"));
        }
        if !self.root.symlink_metadata(&path)?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        Ok(path)
    }

    fn has_room(&self, more: Usage, limits: &Limits) -> Result<(), String> {
        let mut usage = self.usage.lock();
        if usage.is_some_and(|usage| usage.plus(more).check(limits).is_ok()) {
            return Ok(());
        }
        let measured = measure(&self.root, limits.filesystem_entries)
            .map_err(|error| format!("what the directory holds cannot be measured: {error}"))?;
        *usage = Some(measured);
        measured.plus(more).check(limits)
    }

    fn add(&self, more: Usage) {
        let mut usage = self.usage.lock();
        *usage = usage.map(|usage| usage.plus(more));
    }
}

impl Change<'_> {
    fn failed(&self, error: &io::Error) -> String {
        self.refused(&error.to_string())
    }

    fn refused(&self, why: &str) -> String {
        match self {
            Self::WriteFile(path, _) => format!("cannot write {path:?}: {why}"),
            Self::DeleteFile(path) => format!("cannot delete the file {path:?}: {why}"),
            Self::CreateDir(path) => format!("cannot create the directory {path:?}: {why}"),
            Self::DeleteDir(path) => format!("cannot delete the directory {path:?}: {why}"),
        }
    }
}

/// An empty path means the granted directory itself.
fn relative(path: &str) -> &Path {
    Path::new(if path.is_empty() { "." } else { path })
}

/// Refuses a path that is deeper than the program can walk.
fn depth_of(path: &str) -> io::Result<()> {
    if Path::new(path).components().count() > DIRECTORY_DEPTH { Err(too_deep()) } else { Ok(()) }
}

fn empty(directory: &Dir, depth: usize) -> io::Result<()> {
    let deeper = depth.checked_sub(1).ok_or_else(too_deep)?;
    for entry in directory.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            empty(&directory.open_dir(&name)?, deeper)?;
            directory.remove_dir(&name)?;
        } else {
            directory.remove_file(&name)?;
        }
    }
    Ok(())
}
