//! `docs/read_log.py`, a second reader written from `docs/journal.md`, agrees with the first; and the bytes that both read
//! stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha1::{Digest, Sha1};

use super::damage::{mark_of, verdict};
use super::sample::{SampleChains, append_event, append_everything, large_part, new_log, with_part};
use crate::journal::log::{BatchLog, Entry, Segments, Tip};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Nothing without Python.
fn second_reader(dir: &Path, flags: &[&str]) -> Option<Output> {
    let script = root().join("docs/read_log.py");
    Command::new("python3").arg(script).args(flags).arg(dir).output().ok()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the golden log is made of: two segments, in the first of which the data of an event was dropped.
fn make_golden(dir: &Path) -> Segments {
    let log = new_log(dir);
    let mut chains = SampleChains::default();
    append_everything(&log, &mut chains);
    append_event(&log, &mut chains, "failed", b"\xf6");
    append_event(&log, &mut chains, "stopped", b"\xf6");
    let whole = with_part(&large_part()).0;
    let drop_one = &mut |entry: &Entry<'_>| match entry {
        Entry::Event(event) if (event.actor, event.sequence) == (2, 0) => {
            Some((whole.len() as u64, Sha1::digest(&whole).to_vec()))
        }
        _ => None,
    };
    log.rewrite(1, drop_one).expect("written anew");
    log
}

const GOLDEN: &str = "tests/golden/journal-7-log";

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = ["log/00000001.log", "log/00000002.log"].map(|name| dir.join(name));
    paths.map(|path| (path.clone(), fs::read(&path).expect("a segment"))).to_vec()
}

#[test]
fn the_bytes_of_a_log_stay_as_they_are() {
    let (dir, golden) = (tempfile::tempdir().expect("a directory"), root().join(GOLDEN));
    make_golden(dir.path());
    for ((made, now), (_, then)) in files(dir.path()).iter().zip(files(&golden)) {
        assert!(*now == then, "{} has other bytes", made.display());
    }
    let said = verdict(&golden, &mark_of(&golden)).expect("a whole log");
    for older in ["journal-5-log", "journal-6-log"] {
        let older = root().join("tests/golden").join(older);
        assert_eq!(verdict(&older, &mark_of(&older)).expect("a whole log of an older format").len(), said.len());
    }
    assert_eq!(said.len(), 3);
    assert!(said[0].contains("data: Dropped { length: 4111"), "{}", said[0]);
}

#[test]
#[ignore = "writes the golden log anew, for a format that has changed"]
fn write_the_golden_log() {
    let golden = root().join(GOLDEN);
    _ = fs::remove_dir_all(&golden);
    fs::create_dir_all(&golden).expect("made");
    make_golden(&golden);
    let mark = fs::read_to_string(golden.join("journal.mark")).expect("a mark");
    let lines = mark.lines().map(|line| {
        let (body, _) = line.trim_end().rsplit_once(' ').expect("a checksum");
        let (body, _) = body.rsplit_once(' ').expect("a boot");
        let body = body.replace(" relaxed", " commit 06c2395f-d2c6-430b-bf9e-2909acc34d19");
        let line = format!("{body} {}", hex::encode(Sha1::digest(&body)));
        format!("{line:255}\n")
    });
    fs::write(golden.join("journal.mark"), lines.collect::<String>()).expect("written");
}

#[test]
fn the_document_shows_a_batch_of_the_golden_log() {
    let segment = fs::read(root().join(GOLDEN).join("log/00000002.log")).expect("a segment");
    let length = 88 + u32::from_le_bytes(*segment[88..].first_chunk().expect("a header")) as usize;
    let lines = segment[84..84 + length].chunks(32).map(hex::encode).collect::<Vec<_>>().join("\n");
    let document = fs::read_to_string(root().join("docs/journal.md")).expect("the document");
    assert!(document.contains(&lines), "docs/journal.md should show\n{lines}");
}

#[test]
fn both_readers_list_the_same_events() {
    let golden = root().join(GOLDEN);
    let Some(output) = second_reader(&golden, &[]) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    let log = Segments::open_to_read(&golden).expect("a log");
    let listed = text(&output.stdout);
    let mut lines = listed.lines();
    for position in 1..=log.tip().position {
        let event = log.event(position).expect("readable").expect("an event");
        let kind = event.event_type.replace(' ', ":");
        let hash = hex::encode(event.hash);
        let expected = format!("{position} {} {} {} {kind} {hash} ", event.actor, event.sequence, event.timestamp);
        let line = lines.next().expect("as many lines as events");
        assert!(line.starts_with(&expected), "{line}\n{expected}");
    }
    let last = lines.next().expect("what it all comes to");
    let Tip { batch, position, digest, .. } = log.tip();
    let digest = hex::encode(digest);
    let expected =
        format!("whole: 2 chains, {position} events (1 dropped), {batch} batches, 2 segments, digest {digest}");
    assert_eq!((last, lines.next()), (&*expected, None));
    for words in ["owes=", "settles=", "begins=", "dropped", "keeps,ends", "names-state"] {
        assert!(listed.contains(words), "{words} in\n{listed}");
    }
}

#[test]
fn both_readers_accept_and_refuse_the_same_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let (log, mut chains) = (new_log(dir.path()), SampleChains::default());
    append_everything(&log, &mut chains);
    for data in [b"\xf6", b"\xf5", b"\xf4"] {
        append_event(&log, &mut chains, "failed", data);
    }
    log.seal().expect("sealed");
    append_event(&log, &mut chains, "failed", b"\xf6");
    drop(log);
    let agree = |what: &str| {
        let Some(output) = second_reader(dir.path(), &["--quiet"]) else { return };
        let first = verdict(dir.path(), &mark_of(dir.path()));
        let (code, said) = (output.status.code(), text(&output.stderr));
        assert_eq!(code, Some(i32::from(first.is_err())), "{what}: {first:?}\n{said}");
    };
    agree("as written");
    for number in [1, 3] {
        let path = dir.path().join(format!("log/{number:08}.log"));
        let bytes = fs::read(&path).expect("the segment");
        let batches = (10..bytes.len()).step_by(bytes.len() / 4);
        for at in batches.chain([bytes.len() - 75, bytes.len() - 30]) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            fs::write(&path, &damaged).expect("written");
            agree(&format!("byte {at} of segment {number} is altered"));
        }
        for length in [60, 84, bytes.len() / 2, bytes.len() - 20] {
            fs::write(&path, &bytes[..length]).expect("written");
            agree(&format!("segment {number} is cut to {length} bytes"));
        }
        fs::write(&path, [&bytes[..], &[0; 300]].concat()).expect("written");
        agree(&format!("zeros follow segment {number}"));
        fs::write(&path, [&bytes[..], &bytes[84..200]].concat()).expect("written");
        agree(&format!("stale bytes follow segment {number}"));
        fs::remove_file(&path).expect("removed");
        agree(&format!("segment {number} is missing"));
        fs::write(&path, bytes).expect("written");
    }
    agree("as written");
}
