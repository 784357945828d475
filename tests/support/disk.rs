//! A disk for tests that loses unsynced data, fails or hangs on command: `disk.c`, loaded into the process under test.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::Stage;
use super::town::Dice;

const PAGE: usize = 4096;
/// The watched directories, below the data directory.
const WITHIN: [&str; 3] = ["", "log", "components"];

/// The library, built once with the compiler that also links Rust programs.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/disk.c");
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("disk-{}.so", std::process::id()));
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&built).arg(source).arg("-ldl");
        assert!(cc.status().expect("a C compiler").success());
        built
    })
}

/// The part of the unsynced data that a power loss destroys.
pub enum Loss<'a> {
    All,
    /// Random pages.
    Any(&'a mut Dice),
    /// Everything except the data of one file.
    AllBut(&'static str),
}

/// The disk that holds a stage's data directory.
pub struct Disk<'a> {
    stage: &'a Stage,
    synced: PathBuf,
}

impl<'a> Disk<'a> {
    pub fn below(stage: &'a Stage) -> Self {
        Self { stage, synced: stage.path().join("synced") }
    }

    fn loaded(&self) -> Vec<(&'static str, String)> {
        let directory = self.stage.data_dir().canonicalize().expect("a directory");
        vec![("LD_PRELOAD", library().display().to_string()), ("THEATER_DISK_DIR", directory.display().to_string())]
    }

    /// The environment of a process whose power may fail. Everything written so far counts as synced.
    pub fn that_may_lose_power(&self) -> Vec<(&'static str, String)> {
        let _ = std::fs::remove_dir_all(&self.synced);
        std::fs::create_dir(&self.synced).expect("a directory");
        for within in WITHIN {
            let mut entries = String::new();
            for (name, inode) in self.entries(within) {
                entries += &format!("{inode} {name}\n");
                let path = self.stage.data_dir().join(within).join(&name);
                if path.is_file() {
                    std::fs::copy(path, self.synced.join(format!("data-{inode}"))).expect("a copy");
                }
            }
            std::fs::write(self.entries_of(within), entries).expect("written");
        }
        let mut environment = self.loaded();
        environment.push(("THEATER_DISK_SYNCED", self.synced.display().to_string()));
        environment
    }

    /// The environment of a process whose `nth` call of `open`, `write` or `sync` fails, and every later one too.
    pub fn that_fails(&self, call: &str, nth: u64, errno: i32) -> Vec<(&'static str, String)> {
        let mut environment = self.loaded();
        environment.push(("THEATER_DISK_FAIL", format!("{call}:{nth}:{errno}")));
        environment
    }

    /// The environment of a process whose syncs wait between [`Disk::hang`] and [`Disk::go_on`].
    pub fn that_may_hang(&self) -> Vec<(&'static str, String)> {
        let mut environment = self.loaded();
        environment.push(("THEATER_DISK_HANGS", self.hangs().display().to_string()));
        environment
    }

    pub fn hang(&self) {
        std::fs::write(self.hangs(), "").expect("written");
    }

    pub fn go_on(&self) {
        std::fs::remove_file(self.hangs()).expect("it hangs");
    }

    /// The disk hangs while this file exists.
    fn hangs(&self) -> PathBuf {
        self.stage.path().join("hangs")
    }

    /// Restores what was synced, after the process was killed and the power was lost.
    pub fn lose_power(&self, mut loss: Loss) {
        for within in WITHIN {
            let entries = std::fs::read_to_string(self.entries_of(within)).unwrap_or_default();
            let on_disk: HashMap<_, _> =
                entries.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (b, a)).collect();
            for (name, inode) in self.entries(within) {
                let path = self.stage.data_dir().join(within).join(&name);
                let is_on_disk = on_disk.get(name.as_str()) == Some(&inode.as_str());
                if path.is_dir() {
                    if !is_on_disk {
                        std::fs::remove_dir_all(&path).expect("removed");
                    }
                    continue;
                }
                let written = std::fs::read(&path).expect("a file");
                std::fs::remove_file(&path).expect("removed");
                if !is_on_disk {
                    continue;
                }
                let synced = std::fs::read(self.synced.join(format!("data-{inode}"))).unwrap_or_default();
                let left = match &mut loss {
                    Loss::All => synced,
                    Loss::Any(dice) => mixed(&synced, &written, dice),
                    Loss::AllBut(kept) if name == *kept => written,
                    Loss::AllBut(_) => synced,
                };
                std::fs::write(&path, left).expect("written");
            }
        }
    }

    fn entries_of(&self, within: &str) -> PathBuf {
        self.synced.join(format!("entries{}{within}", if within.is_empty() { "" } else { "-" }))
    }

    /// What is in a directory of the data directory, with its inodes: files and directories, without links and without the
    /// index of a write-ahead log.
    fn entries(&self, within: &str) -> Vec<(String, String)> {
        use std::os::unix::fs::MetadataExt;
        let Ok(entries) = std::fs::read_dir(self.stage.data_dir().join(within)) else { return Vec::new() };
        let entries = entries.map(|entry| entry.expect("an entry"));
        let named = entries.filter(|entry| !entry.file_type().expect("a type").is_symlink()).map(|entry| {
            let inode = entry.metadata().expect("a file").ino().to_string();
            (entry.file_name().into_string().expect("text"), inode)
        });
        let mut found: Vec<_> = named.filter(|(name, _)| !name.ends_with("-shm")).collect();
        found.sort();
        found
    }
}

fn mixed(synced: &[u8], written: &[u8], dice: &mut Dice) -> Vec<u8> {
    let length = if dice.roll(2) == 0 { synced.len() } else { written.len() };
    let mut left = vec![0; length];
    for (at, page) in left.chunks_mut(PAGE).enumerate() {
        let from = if dice.roll(2) == 0 { synced } else { written };
        let from = &from[(at * PAGE).min(from.len())..];
        let there = page.len().min(from.len());
        page[..there].copy_from_slice(&from[..there]);
    }
    left
}
