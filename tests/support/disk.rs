//! A disk for tests that loses unsynced data, fails or hangs on command: `disk.c`, loaded into the process under test.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::Stage;
use super::town::Dice;

const PAGE: usize = 4096;

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
        let mut entries = String::new();
        for (name, inode) in self.files() {
            entries += &format!("{inode} {name}\n");
            std::fs::copy(self.stage.data_dir().join(&name), self.synced.join(format!("data-{inode}")))
                .expect("a copy");
        }
        std::fs::write(self.synced.join("entries"), entries).expect("written");
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
        let entries = std::fs::read_to_string(self.synced.join("entries")).expect("entries");
        let on_disk: HashMap<_, _> =
            entries.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (b, a)).collect();
        for (name, inode) in self.files() {
            let path = self.stage.data_dir().join(&name);
            let written = std::fs::read(&path).expect("a file");
            std::fs::remove_file(&path).expect("removed");
            if on_disk.get(name.as_str()) != Some(&inode.as_str()) {
                continue;
            }
            let synced = std::fs::read(self.synced.join(format!("data-{inode}"))).unwrap_or_default();
            let left = match &mut loss {
                Loss::All => synced,
                Loss::Any(dice) => mixed(&synced, &written, dice),
                Loss::AllBut(kept) => {
                    if name == *kept {
                        written
                    } else {
                        synced
                    }
                }
            };
            std::fs::write(&path, left).expect("written");
        }
    }

    /// The files directly in the data directory, with their inodes, without the log's index.
    fn files(&self) -> Vec<(String, String)> {
        use std::os::unix::fs::MetadataExt;
        let entries =
            std::fs::read_dir(self.stage.data_dir()).expect("a directory").map(|entry| entry.expect("an entry"));
        let files = entries.filter(|entry| entry.file_type().expect("a type").is_file());
        let named = files.map(|entry| {
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
