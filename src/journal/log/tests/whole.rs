//! What a log says when nothing has happened to it, and what is left when it is written anew.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use sha1::{Digest, Sha1};

use super::sample::{
    SampleChains, append_event, append_everything, faults, large_part, make, new_log, said, with_part,
};
use crate::journal::durability::Durability;
use crate::journal::log::{BatchLog, Entry, LogError, MarkFile, Payload, Segments, StoredData};

#[test]
fn a_log_that_is_opened_again_says_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 100);
    assert!(log.numbers().len() > 2, "it has several segments");
    assert_eq!(faults(&log), [""; 0]);
    let (before, tip) = (said(&log), log.tip());
    let marked = MarkFile::read(dir.path()).expect("readable").expect("a mark").expect("an intact one");
    assert_eq!(marked.batch, tip.batch);
    let reader = Segments::open_to_read(dir.path()).expect("a log");
    assert_eq!((said(&reader), reader.tip(), reader.check(&marked).expect("agreed")), (before.clone(), tip, None));
    drop(log);

    let opening = Segments::open(dir.path(), Durability::Commit, Some(&marked)).expect("a log");
    assert_eq!((opening.cut, opening.forgiven), (0, None));
    let log = opening.log;
    assert_eq!((said(&log), log.tip()), (before, tip));
    append_everything(&log, &mut SampleChains::default());
    assert_eq!(faults(&log), [""; 0]);
    let reader = Segments::open_to_read(dir.path()).expect("a log");
    assert_eq!((reader.tip(), said(&reader)), (log.tip(), said(&log)));
}

#[test]
fn each_event_part_and_state_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut all = make(dir.path(), 100);
    for _ in ["as written", "as opened to read"] {
        let tip = all.tip();
        for position in 1..=tip.position {
            let event = all.event(position).expect("readable").expect("an event");
            assert_eq!(event.position, position);
            assert_eq!(event.timestamp, 1_700_000_000_000 + position);
        }
        assert!(all.event(tip.position + 1).expect("readable").is_none());
        assert!(all.event(0).expect("readable").is_none());
        let second = all.event(2).expect("readable").expect("an event");
        assert_eq!((&*second.event_type, second.previous), ("intent ntwk:theater/runtime.send", Some(1)));
        let (part, stored) = (large_part(), with_part(&large_part()).1);
        let name = Sha1::digest(&part).into();
        assert_eq!(second.data, StoredData::Kept(stored));
        assert_eq!(all.part(2, &name).expect("readable").as_ref(), Some(&part));
        assert_eq!(all.part(tip.position, &name).expect("readable"), None, "it is of another segment");
        assert_eq!(all.blob(&name).expect("readable"), Some(part));
        assert_eq!(all.blob(&[0; 20]).expect("readable"), None);
        assert_eq!(all.state(1, 2, 0).expect("readable"), Some(Some(b"a state".to_vec())));
        assert_eq!(all.state(1, 1, 1).expect("readable"), Some(None));
        assert_eq!(all.state(1, 1, 2).expect("readable"), None);
        assert_eq!(all.states_in(1, 1, &(0..9)).expect("readable"), [1]);
        let other = tempfile::tempdir().expect("a directory");
        let everything = append_everything(&new_log(other.path()), &mut SampleChains::default());
        assert_eq!(all.sum_behind(1).expect("readable"), Some(everything.sum));
        assert_eq!(all.sum_behind(tip.batch).expect("readable"), Some(tip.sum));
        assert_eq!(all.sum_behind(tip.batch + 1).expect("readable"), None);
        let mut first = None;
        let shown = all.read(70, &mut |batch| {
            first.get_or_insert(batch.tip.batch);
            Ok(())
        });
        shown.expect("readable");
        assert_eq!(first, Some(71));
        all = Segments::open_to_read(dir.path()).expect("a log");
    }
}

#[test]
fn a_large_part_stands_once_in_a_segment() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = new_log(dir.path());
    let part = large_part();
    let name = Sha1::digest(&part).into();
    let blob = Entry::Blob { name, is_state: false, bytes: Payload::Kept(&part) };
    let mut batch = log.begin().expect("a batch");
    batch.push(&blob);
    batch.push(&blob);
    log.append(batch, [0; 16]).expect("appended");
    let mut batch = log.begin().expect("a batch");
    batch.push(&blob);
    log.append(batch, [0; 16]).expect("appended");
    assert_eq!(log.numbers(), [1, 2]);
    assert_eq!(said(&log).concat().matches("Blob").count(), 2);
}

#[test]
fn a_batch_that_comes_to_nothing_leaves_no_trace() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 1);
    let (before, mut chains) = (said(&log), SampleChains::default());
    let mut batch = log.begin().expect("a batch");
    let event = chains.event(&batch, 9, "stopped", b"", b"");
    batch.push(&Entry::Event(event));
    drop(batch);
    assert_eq!(said(&log), before);
    append_event(&log, &mut chains, "failed", b"");
    append_event(&log, &mut chains, "call ntwk:theater/actor.handle", b"");
    let last = said(&log).pop().expect("a batch");
    assert!(last.contains("call ntwk:theater/actor.handle"), "{last}");
    assert_eq!(faults(&log), [""; 0]);
}

#[test]
fn a_segment_is_sealed_when_someone_asks() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 1);
    assert_eq!(log.numbers(), [1, 2]);
    log.seal().expect("sealed");
    log.seal().expect("there is nothing to seal");
    assert_eq!(log.numbers(), [1, 2, 3]);
    let spans: Vec<_> = log.sealed().iter().map(|span| (span.number, span.first, span.last)).collect();
    assert_eq!(spans, [(1, 1, 4), (2, 5, 5)]);
    assert_eq!(said(&Segments::open_to_read(dir.path()).expect("a log")), said(&log));
}

/// Drops the data of the first actor's events, large parts, and states.
fn drop_all(entry: &Entry<'_>) -> Option<(u64, Vec<u8>)> {
    match entry {
        Entry::Event(event) => {
            let whole = with_part(&large_part()).0;
            let is_large = event.event_type.starts_with("intent") || event.actor == 2 && event.sequence == 0;
            let Payload::Kept(data) = event.data else { panic!("it was dropped before") };
            let data = if is_large { &whole[..] } else { data };
            Some((data.len() as u64, Sha1::digest(data).to_vec()))
        }
        Entry::Blob { .. } | Entry::State { name: Some(_), .. } => Some((0, Vec::new())),
        _ => None,
    }
}

#[test]
fn what_is_dropped_is_gone_from_the_file_and_nothing_else_changes() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 1);
    let path = dir.path().join("log/00000001.log");
    let part = large_part();
    let holds = |bytes: &[u8]| bytes.windows(100).any(|window| window == &part[1_000..1_100]);
    assert!(holds(&fs::read(&path).expect("the segment")));
    let (tip, hash) = (log.tip(), log.event(2).expect("readable").expect("an event").hash);

    let reader = Segments::open_to_read(dir.path()).expect("a log");
    assert!(reader.event(2).expect("readable").is_some(), "it has the old file open");
    log.rewrite(1, &mut drop_all).expect("written anew");
    assert!(!holds(&fs::read(&path).expect("the segment")));
    assert_eq!(fs::read_dir(dir.path().join("log")).expect("readable").count(), 2, "no other file is left");
    assert!(reader.event(2).expect("readable").is_some());

    let again = Segments::open_to_read(dir.path()).expect("a log");
    for log in [&log, &again] {
        assert_eq!((log.tip(), faults(log)), (tip, vec![]));
        let event = log.event(2).expect("readable").expect("an event");
        let whole = with_part(&part).0;
        let (length, digest) = (whole.len() as u64, Sha1::digest(&whole).to_vec());
        assert_eq!((event.hash, event.data), (hash, StoredData::Dropped { length, digest }));
        assert_eq!(log.blob(&Sha1::digest(&part).into()).expect("readable"), None);
        assert_eq!(log.state(1, 2, 0).expect("readable"), None);
        assert_eq!(log.state(1, 1, 1).expect("readable"), Some(None));
    }
    let lines = said(&log);
    let again = &mut |entry: &Entry<'_>| matches!(entry, Entry::Event(_)).then(|| (77, vec![1]));
    log.rewrite(1, again).expect("written anew");
    assert_eq!(said(&log), lines, "what was dropped before stays as it was");
}

#[test]
fn a_rewrite_that_did_not_come_to_its_end_leaves_the_old_segment() {
    let dir = tempfile::tempdir().expect("a directory");
    let before = said(&make(dir.path(), 1));
    let unfinished = dir.path().join("log/00000001.new");
    fs::write(&unfinished, b"THEALOG7").expect("written");
    assert_eq!(said(&Segments::open_to_read(dir.path()).expect("a log")), before);
    let log = Segments::open(dir.path(), Durability::Relaxed, None).expect("a log").log;
    assert_eq!(said(&log), before);
    assert!(!unfinished.exists());
}

#[test]
fn a_segment_that_was_damaged_is_not_written_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 1);
    let path = dir.path().join("log/00000001.log");
    let mut bytes = fs::read(&path).expect("the segment");
    bytes[1_000] ^= 1;
    fs::write(&path, &bytes).expect("written");
    log.rewrite(1, &mut drop_all).expect_err("a damaged segment");
    assert_eq!(fs::read(&path).expect("the segment"), bytes);
}

#[test]
fn who_reads_while_another_writes_sees_a_beginning_of_what_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 0);
    let is_done = AtomicBool::new(false);
    let looks: Vec<Vec<String>> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut longest = Vec::new();
                    while !is_done.load(Ordering::SeqCst) {
                        let reader = Segments::open_to_read(dir.path()).expect("a log");
                        longest = said(&reader);
                        let position = reader.tip().position;
                        assert_eq!(
                            reader.event(position).expect("readable").map(|event| event.position),
                            Some(position)
                        );
                        assert_eq!(faults(&reader), [""; 0]);
                        let here = log.tip().position;
                        assert!(log.event(here).expect("readable").is_some());
                    }
                    longest
                })
            })
            .collect();
        let mut chains = SampleChains::default();
        for number in 0..300u32 {
            append_event(&log, &mut chains, "failed", &[number as u8; 90]);
        }
        is_done.store(true, Ordering::SeqCst);
        readers.into_iter().map(|reader| reader.join().expect("a reader without a fault")).collect()
    });
    let all = said(&log);
    assert!(log.numbers().len() > 5);
    assert!(looks.iter().all(|look| all.starts_with(look)));
}

#[test]
fn who_has_opened_a_log_reads_it_as_it_was_then_though_data_is_dropped_from_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 1);
    let before = said(&log);
    let (holding, mut walk) = Segments::open_to_walk(dir.path()).expect("a log");
    let (not_holding, _) = Segments::open_holding(dir.path(), 0).expect("a log");
    log.rewrite(1, &mut drop_all).expect("written anew");
    assert_ne!(said(&log), before);

    assert_eq!(said(&holding), before);
    assert!(matches!(holding.event(2).expect("readable").expect("an event").data, StoredData::Kept(_)));
    assert!(holding.blob(&Sha1::digest(large_part()).into()).expect("readable").is_some());
    let first = walk.next_run().expect("readable").expect("batches");
    let of_events = first.batches[0].entries.iter().filter(|entry| matches!(entry, Entry::Event(_)));
    assert!(of_events.into_iter().all(|entry| entry.payload().is_kept()));

    // Where too many segments are there to hold them all, what is there now is not taken for what was there.
    assert!(matches!(not_holding.event(2), Err(LogError::Rewritten { .. })));
    let walked = not_holding.read(0, &mut |_| Ok(()));
    assert!(matches!(walked, Err(LogError::Rewritten { .. })), "{walked:?}");
}

#[test]
fn a_segment_that_grows_goes_on_growing_though_an_empty_file_stands_behind_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = make(dir.path(), 1);
    let (all, number) = (said(&log), log.numbers().last().copied().expect("a segment"));
    drop(log);
    let stray = dir.path().join(format!("log/{:08}.log", number + 1));
    for bytes in [vec![], vec![0; 84], vec![0; 4096]] {
        fs::write(&stray, bytes).expect("written");
        let reader = Segments::open_to_read(dir.path()).expect("a log");
        assert_eq!((said(&reader), faults(&reader), reader.numbers().last()), (all.clone(), vec![], Some(&number)));
        let marked = MarkFile::read(dir.path()).expect("readable").expect("a mark").expect("an intact one");
        let log = Segments::open(dir.path(), Durability::Relaxed, Some(&marked)).expect("a log").log;
        assert_eq!(log.begin().expect("a batch").segment, number);
        assert!(!stray.exists());
    }
}
