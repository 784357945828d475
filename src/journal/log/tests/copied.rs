//! A log that appends to a shared log first, and the copies that others make of that.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::sample::{JOURNAL, SampleChains, append_event, append_everything, faults, new_log, said};
use crate::chain::ComponentDigest;
use crate::journal::log::{BatchLog, Entry, RemoteBatch, RemoteFault, RemoteLog, Segments};

/// A batch, as the shared log has it.
#[derive(Clone)]
struct Kept {
    number: u64,
    segment: u32,
    format: u8,
    bytes: Vec<u8>,
}

/// A shared log in memory, which fails when it is told to.
#[derive(Default)]
struct InMemory {
    batches: Mutex<Vec<Kept>>,
    rewritten: Mutex<Vec<(u32, u32)>>,
    fails: Mutex<bool>,
}

impl std::fmt::Debug for InMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InMemory")
    }
}

impl RemoteLog for InMemory {
    fn silent_for(&self) -> Duration {
        Duration::ZERO
    }

    fn epoch(&self) -> u32 {
        7
    }

    fn append(&self, batch: &RemoteBatch<'_>) -> Result<(), RemoteFault> {
        if *self.fails.lock() {
            return Err(RemoteFault::Fenced { realm: "bank".into() });
        }
        let RemoteBatch { number, segment, format, .. } = *batch;
        self.batches.lock().push(Kept { number, segment, format, bytes: batch.bytes.to_vec() });
        Ok(())
    }

    fn rewrite(&self, segment: u32, generation: u32, batches: &[(u64, &[u8])]) -> Result<(), RemoteFault> {
        let mut kept = self.batches.lock();
        for (number, bytes) in batches {
            let old = kept.iter_mut().find(|kept| kept.number == *number).expect("it was appended");
            old.bytes = bytes.to_vec();
        }
        self.rewritten.lock().push((segment, generation));
        Ok(())
    }

    fn store_component(&self, _digest: ComponentDigest, _bytes: &[u8]) -> Result<(), RemoteFault> {
        Ok(())
    }
}

/// A log in `dir` of three segments at least, and the shared log that it was appended to.
fn shared(dir: &Path) -> (Segments, Arc<InMemory>) {
    let (log, remote) = (new_log(dir), Arc::new(InMemory::default()));
    log.append_through(Arc::<InMemory>::clone(&remote));
    let mut chains = SampleChains::default();
    for _ in 0..3 {
        append_everything(&log, &mut chains);
    }
    assert!(log.numbers().len() > 2);
    (log, remote)
}

fn copy_in(dir: &Path) -> Segments {
    Segments::open_copy(dir, JOURNAL, None).expect("a copy").log
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir.join("log")).expect("a directory").map(|entry| entry.expect("an entry").path());
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let mut files: Vec<_> = entries.map(|path| (name(&path), fs::read(&path).expect("a file"))).collect();
    files.sort();
    files
}

#[test]
fn a_copy_has_the_same_bytes_in_the_same_segments() {
    let (here, there) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (log, remote) = shared(here.path());
    let copy = copy_in(there.path());
    for Kept { bytes, format, .. } in &*remote.batches.lock() {
        copy.append_copy(bytes, *format).expect("it follows");
    }
    assert_eq!((copy.tip(), said(&copy)), (log.tip(), said(&log)));
    assert_eq!(faults(&copy), [""; 0]);
    assert_eq!(files(there.path()), files(here.path()));

    // Whoever takes it over goes on from there.
    let mut chains = SampleChains::default();
    append_event(&copy, &mut chains, "stopped", b"");
    assert_eq!(copy.tip().batch, log.tip().batch + 1);
}

#[test]
fn what_does_not_follow_is_refused_and_changes_nothing() {
    let (here, there) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (_log, remote) = shared(here.path());
    let batches = remote.batches.lock().clone();
    let copy = copy_in(there.path());
    copy.append_copy(&batches[1].bytes, batches[1].format).expect_err("it is not the first");
    copy.append_copy(&batches[0].bytes, batches[0].format).expect("the first");
    let before = (copy.tip(), said(&copy));
    copy.append_copy(&batches[0].bytes, batches[0].format).expect_err("it is there");
    copy.append_copy(&batches[2].bytes, batches[2].format).expect_err("one is missing");
    copy.append_copy(&batches[1].bytes, u8::MAX).expect_err("a newer format");
    for bit in (0..batches[1].bytes.len() * 8).step_by(7) {
        let mut damaged = batches[1].bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        copy.append_copy(&damaged, batches[1].format).expect_err("a flipped bit");
    }
    let longer = [&batches[1].bytes[..], b"x"].concat();
    copy.append_copy(&longer, batches[1].format).expect_err("something behind it");
    assert_eq!((copy.tip(), said(&copy)), before);
    copy.append_copy(&batches[1].bytes, batches[1].format).expect("it can still go on");

    let other = tempfile::tempdir().expect("a directory");
    let of_another = Segments::open_copy(other.path(), *b"another journal!", None).expect("a copy").log;
    of_another.append_copy(&batches[0].bytes, batches[0].format).expect_err("another journal");
}

#[test]
fn a_batch_that_the_shared_log_refuses_is_nowhere_and_ends_the_log() {
    let here = tempfile::tempdir().expect("a directory");
    let (log, remote) = shared(here.path());
    let (before, lines) = (log.tip(), said(&log));
    *remote.fails.lock() = true;
    let append = || {
        let mut batch = log.begin()?;
        batch.push(&Entry::Ended(1));
        log.append(batch, [0; 16])
    };
    let refused = append().expect_err("another node owns the realm").to_string();
    assert!(refused.contains("another node owns the realm bank"), "{refused}");
    *remote.fails.lock() = false;
    append().expect_err("nothing follows what was refused");
    assert_eq!((log.tip(), said(&log)), (before, lines));
}

#[test]
fn what_is_dropped_is_dropped_from_the_shared_log_and_then_from_a_copy() {
    let (here, there) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (log, remote) = shared(here.path());
    let copy = copy_in(there.path());
    for Kept { bytes, format, .. } in &*remote.batches.lock() {
        copy.append_copy(bytes, *format).expect("it follows");
    }
    let drop = &mut |entry: &Entry<'_>| matches!(entry, Entry::Blob { .. }).then(|| (0, Vec::new()));
    log.rewrite(1, drop).expect("written anew");
    assert_eq!(*remote.rewritten.lock(), [(1, 1)]);
    let of_segment = |kept: &&Kept| kept.segment == 1;
    let batches: Vec<Vec<u8>> =
        remote.batches.lock().iter().filter(of_segment).map(|kept| kept.bytes.clone()).collect();
    assert_eq!(copy.generations()[0], (1, 0));
    copy.replace(1, 1, &batches).expect("replaced");
    assert_eq!(copy.generations()[0], (1, 1));
    assert_eq!((copy.tip(), said(&copy)), (log.tip(), said(&log)));
    assert_eq!(files(there.path()), files(here.path()));
    copy.replace(1, 2, &batches[1..]).expect_err("a batch is missing");
    copy.replace(9, 2, &batches).expect_err("there is no such segment");
    assert_eq!(files(there.path()), files(here.path()));
}
