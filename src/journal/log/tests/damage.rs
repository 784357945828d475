//! Files that are cut off, altered, exchanged or missing: what is acknowledged is there, or the log is refused.

use std::fs;
use std::path::{Path, PathBuf};

use super::sample::{SampleChains, append_event, faults, make, new_log, said};
use crate::journal::durability::Durability;
use crate::journal::log::segment::{self, SegmentBytes, SegmentHeader};
use crate::journal::log::{BatchLog, LogError, MarkFile, Marked, Segments};

fn segment_of(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("log/{number:08}.log"))
}

pub(super) fn mark_of(dir: &Path) -> Marked {
    MarkFile::read(dir).expect("readable").expect("a mark").expect("an intact one")
}

/// What a reader finds wrong at once, or when it reads everything.
pub(super) fn verdict(dir: &Path, marked: &Marked) -> Result<Vec<String>, String> {
    let log = Segments::open_to_read(dir).map_err(|error| error.to_string())?;
    log.check(marked).map_err(|error| error.to_string())?;
    match faults(&log).into_iter().next() {
        Some(fault) => Err(fault),
        None => Ok(said(&log)),
    }
}

/// Where the batches of a segment end.
fn ends(path: &Path) -> Vec<usize> {
    let bytes = SegmentBytes::read(path).expect("readable").expect("a segment");
    let mut ends = vec![segment::HEADER_BYTES];
    let walked = bytes.walk(|at, batch| {
        ends.push(at + batch.length());
        Ok::<_, LogError>(())
    });
    assert_eq!(walked.expect("whole").end, *ends.last().expect("one at least"));
    ends
}

#[test]
fn a_last_segment_that_is_cut_off_has_the_batches_that_are_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 6);
    let (all, marked, path) = (said(&log), mark_of(dir.path()), segment_of(dir.path(), 2));
    drop(log);
    let (bytes, ends) = (fs::read(&path).expect("the segment"), ends(&path));
    for length in 0..=bytes.len() {
        fs::write(&path, &bytes[..length]).expect("written");
        let whole = ends.iter().filter(|end| **end <= length).count().saturating_sub(1);
        let reader = Segments::open_to_read(dir.path()).expect("a log");
        assert_eq!(said(&reader), all[..1 + whole], "cut to {length} bytes");
        match reader.check(&marked) {
            Ok(None) => assert_eq!(whole, 6, "cut to {length} bytes"),
            Err(LogError::Behind { found, promised: 10, .. }) => assert_eq!(found, 4 + whole as u64),
            other => panic!("cut to {length} bytes: {other:?}"),
        }
    }
    // What is refused stays as it is; without the mark it is cut, and goes on.
    for length in [0, 50, segment::HEADER_BYTES, ends[2] - 1, ends[3], ends[5] + 20] {
        fs::write(&path, &bytes[..length]).expect("written");
        let refused = Segments::open(dir.path(), Durability::Relaxed, Some(&marked)).map(|_| ());
        assert!(matches!(refused, Err(LogError::Behind { .. })), "{refused:?}");
        assert_eq!(fs::read(&path).expect("the segment"), bytes[..length]);
        let opening = Segments::open_despite_loss(dir.path()).expect("a log");
        let whole = ends.iter().filter(|end| **end <= length).count().saturating_sub(1);
        let cut = length - ends.get(whole).filter(|_| length >= ends[0]).copied().unwrap_or(length);
        assert_eq!(opening.cut, cut as u64);
        append_event(&opening.log, &mut SampleChains::default(), "failed", b"later");
        assert_eq!(said(&opening.log)[..1 + whole], all[..1 + whole]);
        opening.log.close().expect("the mark");
        assert_eq!(verdict(dir.path(), &mark_of(dir.path())).expect("a whole log").len(), 2 + whole);
    }
}

#[test]
fn each_altered_byte_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 3);
    log.seal().expect("sealed");
    append_event(&log, &mut SampleChains::default(), "failed", b"the last");
    let (all, marked) = (said(&log), mark_of(dir.path()));
    assert_eq!(verdict(dir.path(), &marked), Ok(all));
    for number in 1..=3 {
        let path = segment_of(dir.path(), number);
        let bytes = fs::read(&path).expect("the segment");
        // In the middle of a large part all places are alike.
        let places = (0..bytes.len()).filter(|at| number > 1 || !(350..4_300).contains(at) || at % 97 == 0);
        for at in places {
            for other in [bytes[at] ^ 1 << (at % 8), if at % 8 == 0 { 0 } else { bytes[at] }] {
                if other != bytes[at] {
                    let mut bytes = bytes.clone();
                    bytes[at] = other;
                    fs::write(&path, &bytes).expect("written");
                    assert!(verdict(dir.path(), &marked).is_err(), "byte {at} of segment {number} is altered");
                }
            }
        }
        fs::write(&path, &bytes).expect("written");
    }
    verdict(dir.path(), &marked).expect("the log as it was");
}

fn refusal(dir: &Path) -> String {
    match Segments::open(dir, Durability::Relaxed, Some(&mark_of(dir))) {
        Ok(_) => panic!("it should be refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn segments_are_those_of_one_log_and_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 1);
    log.seal().expect("sealed");
    append_event(&log, &mut SampleChains::default(), "failed", b"the last");
    drop(log);
    let [first, second, third] = [1, 2, 3].map(|number| segment_of(dir.path(), number));
    let aside = dir.path().join("aside");
    let without = |path: &Path, word: &str| {
        fs::rename(path, &aside).expect("renamed");
        assert!(refusal(dir.path()).contains(word), "{}", refusal(dir.path()));
        fs::rename(&aside, path).expect("renamed");
    };
    without(&first, "the segment 1 before it is missing");
    without(&second, "the segment 2 before it is missing");
    without(&third, "it ends at position 5, but 6 was acknowledged");

    let bytes = [&first, &second, &third].map(|path| fs::read(path).expect("the segment"));
    let with = |path: &Path, others: &[u8], word: &str| {
        let own = fs::read(path).expect("the segment");
        fs::write(path, others).expect("written");
        assert!(refusal(dir.path()).contains(word), "{}", refusal(dir.path()));
        fs::write(path, own).expect("written");
    };
    with(&second, &bytes[0], "it is the segment 1, under another's name");
    with(&third, &bytes[1], "it is the segment 2, under another's name");
    let fourth = segment_of(dir.path(), 4);
    fs::write(&fourth, b"").expect("written");
    with(&fourth, &bytes[2], "it is the segment 3, under another's name");
    fs::remove_file(fourth).expect("removed");

    let other = tempfile::tempdir().expect("a directory");
    let strange = Segments::open(other.path(), Durability::Relaxed, None).expect("a log").log;
    for _ in 0..2 {
        append_event(&strange, &mut SampleChains::default(), "failed", &[0; 5_000]);
    }
    let strange = [1, 2].map(|number| fs::read(segment_of(other.path(), number)).expect("the segment"));
    with(&second, &strange[1], "it is a segment of another journal");
    with(&first, &strange[0], "it is a segment of another journal");
    assert_eq!(verdict(dir.path(), &mark_of(dir.path())).map(|all| all.len()), Ok(3));
}

#[test]
fn a_footer_that_is_damaged_is_read_from_the_records() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 1);
    let (all, marked, path) = (said(&log), mark_of(dir.path()), segment_of(dir.path(), 1));
    drop(log);
    let (bytes, end) = (fs::read(&path).expect("the segment"), *ends(&path).last().expect("a batch"));
    let altered = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    for damaged in [altered(bytes.len() - 1), altered(bytes.len() - 40), altered(end + 3), bytes[..end].to_vec()] {
        fs::write(&path, damaged).expect("written");
        let log = Segments::open(dir.path(), Durability::Relaxed, Some(&marked)).expect("a log").log;
        assert_eq!(said(&log), all);
        assert_eq!(log.event(3).expect("readable").map(|event| event.actor), Some(2));
        assert_eq!(log.state(1, 2, 0).expect("readable"), Some(Some(b"a state".to_vec())));
        assert!(faults(&log)[0].contains("footer is damaged") || faults(&log)[0].contains("directory"));
    }
    // Where a record is damaged, too, nothing stands for it.
    let mut damaged = bytes[..end].to_vec();
    damaged[end - 3] ^= 1;
    fs::write(&path, damaged).expect("written");
    assert!(refusal(dir.path()).contains("does not go on where the segment before it ends"));
}

#[test]
fn a_footer_that_lies_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 1);
    let (path, tip) = (segment_of(dir.path(), 1), log.tip());
    let bytes = fs::read(&path).expect("the segment");
    let end = *ends(&path).last().expect("a batch");
    let (honest, walked) = SegmentBytes::read(&path).expect("readable").and_then(|it| it.directory()).expect("whole");
    let mut directory = honest.clone();
    directory.events.swap(0, 1);
    let with = |footer: Vec<u8>| [&bytes[..end], &footer].concat();
    fs::write(&path, with(segment::footer(&directory, 0, walked.tip))).expect("written");
    let reader = Segments::open_to_read(dir.path()).expect("a log");
    assert!(faults(&reader)[0].contains("its directory is not what its records say"));
    fs::write(&path, with(segment::footer(&honest, 0, tip))).expect("written");
    assert!(refusal(dir.path()).contains("does not go on where the segment before it ends"));
    fs::write(&path, with(segment::footer(&honest, 3, walked.tip))).expect("written");
    assert_eq!(faults(&Segments::open_to_read(dir.path()).expect("a log")), [""; 0], "as if written anew");
}

#[test]
fn data_that_looks_like_a_footer_is_data() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 1);
    let sealed = fs::read(segment_of(dir.path(), 1)).expect("the segment");
    let footer = &sealed[*ends(&segment_of(dir.path(), 1)).last().expect("a batch")..];
    append_event(&log, &mut SampleChains::default(), "failed", footer);
    let (all, marked) = (said(&log), mark_of(dir.path()));
    drop(log);
    assert_eq!(verdict(dir.path(), &marked), Ok(all));
    let log = Segments::open(dir.path(), Durability::Relaxed, Some(&marked)).expect("a log").log;
    assert_eq!(log.sealed().len(), 1);
}

#[test]
fn a_segment_that_was_only_begun_is_begun_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 1);
    log.seal().expect("sealed");
    let (all, path) = (said(&log), segment_of(dir.path(), 3));
    drop(log);
    let header = fs::read(&path).expect("the segment");
    assert_eq!(header.len(), segment::HEADER_BYTES);
    let mut torn = header.clone();
    torn[40..].fill(0);
    torn.resize(4_000, 0);
    for bytes in [&header[..0], &header[..30], &torn] {
        fs::write(&path, bytes).expect("written");
        assert_eq!(said(&Segments::open_to_read(dir.path()).expect("a log")), all);
        let opening = Segments::open(dir.path(), Durability::Relaxed, Some(&mark_of(dir.path()))).expect("a log");
        assert_eq!(fs::read(&path).expect("the segment"), bytes, "nothing is changed before something is appended");
        opening.log.begin().expect("a batch");
        assert_eq!(opening.log.numbers(), [1, 2, 3]);
    }
    // A header that was damaged later is no reason to remove what is behind it.
    let log = Segments::open(dir.path(), Durability::Relaxed, None).expect("a log").log;
    append_event(&log, &mut SampleChains::default(), "failed", b"");
    let mut bytes = fs::read(&path).expect("the segment");
    bytes[9] ^= 1;
    fs::write(&path, &bytes).expect("written");
    for marked in [Some(mark_of(dir.path())), None] {
        let refused = Segments::open(dir.path(), Durability::Relaxed, marked.as_ref()).map(|_| ());
        assert!(matches!(refused, Err(LogError::Damaged { .. })), "{refused:?}");
        assert_eq!(fs::read(&path).expect("the segment"), bytes);
    }
}

#[test]
fn behind_a_batch_that_does_not_check_everything_is_cut() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 3);
    let marked = mark_of(dir.path());
    let mut chains = SampleChains::default();
    append_event(&log, &mut chains, "failed", b"first");
    append_event(&log, &mut chains, "failed", b"second");
    drop(log);
    let (path, newer) = (segment_of(dir.path(), 2), mark_of(dir.path()));
    let (mut bytes, ends) = (fs::read(&path).expect("the segment"), ends(&path));
    bytes[ends[3] + 60] ^= 1;
    fs::write(&path, &bytes).expect("written");
    let refused = Segments::open(dir.path(), Durability::Relaxed, Some(&newer)).map(|_| ());
    assert!(matches!(refused, Err(LogError::Behind { found: 7, promised: 9, .. })), "{refused:?}");
    let opening = Segments::open(dir.path(), Durability::Relaxed, Some(&marked)).expect("a log");
    assert_eq!((opening.log.tip().position, opening.cut), (7, (ends[5] - ends[3]) as u64));
    assert_eq!(fs::read(&path).expect("the segment"), bytes, "nothing is changed before something is appended");
    assert_eq!(mark_of(dir.path()), newer);
    opening.log.begin().expect("a batch");
    assert_eq!(fs::read(&path).expect("the segment"), bytes[..ends[3]]);
    assert_eq!(mark_of(dir.path()).batch, opening.log.tip().batch);
}

#[test]
fn room_that_was_not_written_to_is_no_loss_and_stale_bytes_are_no_batch() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 3);
    let (all, marked) = (said(&log), mark_of(dir.path()));
    drop(log);
    let path = segment_of(dir.path(), 2);
    let (bytes, ends) = (fs::read(&path).expect("the segment"), ends(&path));
    let behind = |more: &[u8]| [&bytes, more].concat();
    fs::write(&path, behind(&[0; 500])).expect("written");
    assert_eq!(verdict(dir.path(), &marked), Ok(all.clone()));
    let opening = Segments::open(dir.path(), Durability::Relaxed, Some(&marked)).expect("a log");
    assert_eq!((opening.cut, said(&opening.log)), (0, all.clone()));

    let stale = &bytes[ends[1]..ends[3]];
    fs::write(&path, behind(&[stale, &[0; 100]].concat())).expect("written");
    let reader = Segments::open_to_read(dir.path()).expect("a log");
    assert_eq!((said(&reader), reader.check(&marked).expect("agreed")), (all.clone(), None));
    let opening = Segments::open(dir.path(), Durability::Relaxed, Some(&marked)).expect("a log");
    assert_eq!((opening.cut, said(&opening.log)), (stale.len() as u64, all));
}

#[test]
fn a_mark_of_another_log_or_another_past_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 3);
    let marked = mark_of(dir.path());
    let disagrees = |marked: &Marked| matches!(log.check(marked), Err(LogError::Altered { .. }));
    assert!(!disagrees(&marked));
    assert!(disagrees(&Marked { journal: [1; 16], ..marked.clone() }));
    assert!(disagrees(&Marked { digest: [1; 20], ..marked.clone() }));
    assert!(disagrees(&Marked { position: 6, ..marked.clone() }));
    assert!(disagrees(&Marked { batch: 2, ..marked.clone() }));
    append_event(&log, &mut SampleChains::default(), "failed", b"");
    assert!(!disagrees(&marked), "a mark that is older than the log promises less");
    assert!(disagrees(&Marked { digest: [1; 20], ..marked.clone() }));

    let ahead = Marked { batch: 9, position: 20, ..marked };
    assert!(matches!(log.check(&ahead), Err(LogError::Behind { found: 8, promised: 20, .. })));
    let relaxed = Marked { durability: Durability::Relaxed, ..ahead };
    assert!(matches!(log.check(&relaxed), Err(LogError::Behind { .. })), "no power was lost");
    let of_another_boot = Marked { boot: "another".to_owned(), ..relaxed };
    assert_eq!(log.check(&of_another_boot).expect("forgiven"), Some(12));
}

#[test]
fn a_header_is_that_of_its_segment() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 3);
    drop(log);
    let path = segment_of(dir.path(), 2);
    let bytes = fs::read(&path).expect("the segment");
    let honest = SegmentHeader::read(&bytes).expect("a header");
    let mut before = honest.before;
    before.sum = [9; 16];
    let forged = SegmentHeader { before, ..honest }.to_bytes();
    fs::write(&path, [&forged, &bytes[segment::HEADER_BYTES..]].concat()).expect("written");
    assert!(refusal(dir.path()).contains("does not go on where the segment before it ends"));
}

#[test]
fn a_log_that_has_no_batch_keeps_its_name() {
    let dir = tempfile::tempdir().expect("a directory");
    new_log(dir.path());
    let first = mark_of(dir.path()).journal;
    let log = Segments::open(dir.path(), Durability::Relaxed, Some(&mark_of(dir.path()))).expect("a log").log;
    append_event(&log, &mut SampleChains::default(), "failed", b"");
    let read = Segments::open_to_read(dir.path()).expect("a log");
    assert!(read.check(&mark_of(dir.path())).is_ok() && mark_of(dir.path()).journal == first);
}
