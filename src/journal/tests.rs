//! The journal as its users see it: order, durability, the mark, one holder.

use std::sync::Arc;

use crossbeam_channel::Receiver;

use super::*;
use crate::base::limits::INLINE_STATE_BYTES;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Encoded, NamedLimits, NamedState, Return, StartReason, Started, StateAfter};
use crate::chain::{ChainEvent, ComponentDigest, StateChain};

const RETURNED: &str = "return ntwk:theater/actor.init";
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

fn silent() -> Listener {
    Listener { committed: Box::new(|_| ()), failed: Box::new(|_| ()) }
}

fn open(dir: &Path) -> Result<Journal, JournalError> {
    Journal::open(DataDir::open(dir)?, Durability::Commit, QUEUE_BYTES, silent())
}

fn refusal(dir: &Path) -> String {
    open(dir).err().expect("the journal is refused").to_string()
}

/// One actor that writes events of no particular meaning.
struct Scribe {
    actor: ActorKey,
    chain: StateChain,
    journal: JournalHandle,
    /// What its first event brings with it.
    begins: Option<Box<ActorStarted>>,
}

impl Scribe {
    fn new(journal: &JournalHandle) -> Self {
        let actor = journal.new_actor(ActorId::random());
        let row = ActorStarted {
            name: "scribe".into(),
            parent: None,
            incarnation: crate::base::id::Incarnation::FIRST,
            component: ComponentDigest([0; 32]),
            manifest: "".into(),
            manifest_path: String::new(),
            attempts: 0,
        };
        let begins = Some(Box::new(row));
        Self { actor, chain: StateChain::new(actor.id), journal: journal.clone(), begins }
    }

    /// An event; the first one begins an incarnation.
    fn write(&mut self) -> ChainEvent {
        if self.begins.is_none() {
            return self.append("refused ntwk:theater/actor.init", vec![0xa0], None);
        }
        let started = Started {
            ended: false,
            label: None,
            id: self.actor.id,
            fork: None,
            rows: None,
            name: "scribe".into(),
            state: NamedState::None,
            limits: NamedLimits::of(Vec::new()),
            parent: None,
            reason: StartReason::Spawn,
            resumes: false,
            manifest: String::new(),
            component: ComponentDigest([0; 32]),
            incarnation: crate::base::id::Incarnation::FIRST,
        };
        self.append("started", started.to_cbor(), None)
    }

    /// An event that leads to a state.
    fn write_state(&mut self, state: Option<&[u8]>, keep: bool) -> ChainEvent {
        let returned = Return::new(StateAfter::Now(NamedState::of(state)), Encoded(vec![0xf6]));
        let state = StateWrite { state: state.map(Arc::from), named: true, keep };
        self.append(RETURNED, returned.to_cbor(), Some(state))
    }

    fn append(&mut self, event_type: &'static str, data: Vec<u8>, state: Option<StateWrite>) -> ChainEvent {
        self.append_at(7, event_type, data, state)
    }

    fn append_at(
        &mut self,
        timestamp: u64,
        event_type: &'static str,
        data: Vec<u8>,
        state: Option<StateWrite>,
    ) -> ChainEvent {
        let event = self.chain.append(event_type, data, timestamp);
        let attached = Attached { state, begins: self.begins.take(), ..Attached::default() };
        self.journal.enqueue(Record::Event(self.actor, event.clone(), attached)).expect("an open journal");
        event
    }
}

/// Ten events, acknowledged, and the journal closed.
fn journal_of_ten(dir: &Path) {
    let journal = open(dir).expect("a journal");
    let mut scribe = Scribe::new(journal.handle());
    for _ in 0..10 {
        scribe.write();
        journal.handle().flush().expect("committed");
    }
    journal.close();
}

#[test]
fn what_was_enqueued_is_read_back_with_its_parents() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let mut scribe = Scribe::new(journal.handle());
    let written: Vec<_> = (0..5).map(|_| scribe.write()).collect();
    journal.handle().flush().expect("committed");
    let reader = journal.handle().reader().expect("a reader");
    assert_eq!(reader.events(scribe.actor, 0, 100, usize::MAX).expect("events"), written);
    assert_eq!(reader.events(scribe.actor, 3, 1, usize::MAX).expect("events"), written[3..4]);
    assert_eq!(reader.head(scribe.actor).expect("a head"), scribe.chain.head());
    journal.close();
}

#[test]
fn the_newest_state_is_read_wherever_it_stands() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let mut scribe = Scribe::new(journal.handle());
    let large = vec![b'L'; INLINE_STATE_BYTES + 1];
    let states: [Option<&[u8]>; 6] = [Some(b"a"), Some(&large), Some(b"c"), None, Some(&large), Some(&large[1..])];
    scribe.write();
    let newest_is = |reader: &JournalReader, actor, state: Option<&[u8]>| {
        let newest = reader.newest_state(actor).expect("a state");
        assert_eq!(newest, Newest::Is(state.map(<[u8]>::to_vec)));
    };
    for state in states {
        scribe.write_state(state, false);
        scribe.write();
        journal.handle().flush().expect("committed");
        newest_is(&journal.handle().reader().expect("a reader"), scribe.actor, state);
    }
    // All in one commit.
    states.iter().for_each(|state| _ = scribe.write_state(*state, true));
    journal.handle().flush().expect("committed");
    let reader = journal.handle().reader().expect("a reader");
    newest_is(&reader, scribe.actor, states[5]);
    for (kept, state) in (13..).zip(states) {
        let found = reader.kept_state(scribe.actor, kept + 1).expect("a state");
        assert_eq!(found, Some((kept, state.map(<[u8]>::to_vec))), "every kept one stays");
    }
    drop(reader);
    journal.close();
    assert_eq!(surveyed(dir.path()).1, Vec::<String>::new());
}

#[test]
fn a_large_state_that_is_not_kept_is_stored_at_an_orderly_end_and_not_before() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let mut scribe = Scribe::new(journal.handle());
    scribe.write();
    let large = vec![b'L'; INLINE_STATE_BYTES + 1];
    let led = scribe.write_state(Some(&large), false).sequence;
    journal.handle().flush().expect("committed");
    let elsewhere = open_to_read(dir.path()).expect("a reader");
    assert_eq!(elsewhere.newest_state(scribe.actor).expect("an answer"), Newest::Behind(led));
    journal.close();
    let later = open_to_read(dir.path()).expect("a reader");
    assert_eq!(later.newest_state(scribe.actor).expect("a state"), Newest::Is(Some(large)));
}

#[test]
fn the_newest_state_outlives_the_data_of_its_event() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let mut scribe = Scribe::new(journal.handle());
    scribe.write();
    scribe.write_state(Some(b"before"), true);
    let named = scribe.write_state(Some(b"newest"), false).sequence;
    for _ in 0..100 {
        scribe.write();
    }
    journal.handle().flush().expect("committed");
    let reader = journal.handle().reader().expect("a reader");
    let dropped = redact(journal.handle(), &reader, scribe.actor, named, Shown::Stays).expect("it is dropped");
    assert_eq!((dropped.events, reader.last_dropped(scribe.actor).expect("a number")), (1, Some(named)));
    let newest = reader.newest_state(scribe.actor).expect("a state");
    assert_eq!(newest, Newest::Is(Some(b"newest".to_vec())));
    assert!(reader.events(scribe.actor, named, 1, usize::MAX).expect("events")[0].dropped.is_some());
    scribe.write_state(Some(b"another"), false);
    journal.handle().flush().expect("committed");
    assert_eq!(reader.newest_state(scribe.actor).expect("a state"), Newest::Is(Some(b"another".to_vec())));
    journal.close();
    assert_eq!(surveyed(dir.path()), (104, Vec::new()));
    let files = std::fs::read_dir(dir.path().join("log")).expect("segments").flatten();
    let holds =
        |path: &Path, what: &[u8]| std::fs::read(path).expect("a file").windows(what.len()).any(|at| at == what);
    // The event named it in full; what is stored behind the event holds it once more, and nothing else does.
    let counted = files.filter(|file| holds(&file.path(), b"newest")).count();
    assert_eq!(counted, 1);
}

/// Three chains, their events in turn.
fn interleaved(journal: &Journal, events: u64) -> Vec<(ActorKey, Vec<ChainEvent>)> {
    let mut scribes: Vec<_> = (0..3).map(|_| (Scribe::new(journal.handle()), Vec::new())).collect();
    for round in 0..events {
        for (at, (scribe, written)) in scribes.iter_mut().enumerate() {
            // Not the same number each, nor in the same rhythm.
            if round % (at as u64 + 1) == 0 {
                written.push(scribe.write());
            }
        }
    }
    journal.handle().flush().expect("committed");
    scribes.into_iter().map(|(scribe, written)| (scribe.actor, written)).collect()
}

#[test]
fn any_stretch_of_a_chain_is_found_among_the_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let chains = interleaved(&journal, 300);
    let reader = journal.handle().reader().expect("a reader");
    for (actor, written) in &chains {
        for from in [0, 1, 62, 63, 64, 65, 99, 126, 127, 128, 149, 150, 299, 300, u64::MAX] {
            for limit in [0, 1, 2, 63, 64, 65, 200, u64::MAX] {
                let found = reader.events(*actor, from, limit, usize::MAX).expect("events");
                let expected: Vec<_> = written
                    .iter()
                    .filter(|event| event.sequence >= from && event.sequence - from < limit)
                    .cloned()
                    .collect();
                assert_eq!(found, expected, "{limit} from {from}");
            }
        }
        for event in written {
            let position = reader.position(*actor, event.sequence).expect("a number").expect("it is there");
            let behind = reader.events_after(*actor, position - 1).expect("events");
            assert_eq!(behind.first(), Some(event));
        }
        assert_eq!(reader.position(*actor, written.len() as u64).expect("nothing"), None);
    }
    drop(reader);
    journal.close();
    let journal = open(dir.path()).expect("the journal again");
    let (actor, written) = &chains[1];
    let mut scribe = Scribe::new(journal.handle());
    scribe.actor = *actor;
    scribe.chain = StateChain::after(actor.id, crate::chain::Head { sequence: 149, hash: written[149].hash });
    scribe.begins = None;
    let next = scribe.write();
    journal.handle().flush().expect("committed");
    let reader = journal.handle().reader().expect("a reader");
    assert_eq!(reader.events(*actor, 149, 9, usize::MAX).expect("events"), [written[149].clone(), next]);
    drop(reader);
    journal.close();
    assert_eq!(surveyed(dir.path()), (300 + 150 + 100 + 1, Vec::new()));
}

#[test]
fn a_release_runs_only_after_the_events_before_it_are_on_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let mut scribe = Scribe::new(journal.handle());
    let (seen, on_disk) = bounded(1);
    for _ in 0..100 {
        let event = scribe.write();
        let (path, actor, seen) = (dir.path().to_owned(), scribe.actor, seen.clone());
        let release = move || {
            let reader = open_to_read(&path).expect("a reader");
            let head = reader.head(actor).expect("a head");
            seen.send(head.is_some_and(|head| head.sequence >= event.sequence)).expect("the test waits");
        };
        journal.handle().release(release).expect("an open journal");
        assert!(on_disk.recv().expect("released"));
    }
    journal.close();
}

#[test]
fn a_second_runtime_is_refused_by_the_process_that_holds_the_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    assert!(refusal(dir.path()).contains(&format!("process {}", std::process::id())));
    std::fs::remove_file(dir.path().join("lock")).expect("removed");
    assert!(refusal(dir.path()).contains("its file `lock` was removed"));
    journal.close();
    open(dir.path()).expect("let go").close();
}

#[test]
fn a_journal_without_its_mark_or_a_mark_without_its_journal_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    journal_of_ten(dir.path());
    let mark = dir.path().join("journal.mark");
    let kept = std::fs::read(&mark).expect("the mark");
    std::fs::remove_file(&mark).expect("removed");
    assert!(refusal(dir.path()).contains("the file is missing"));
    std::fs::write(&mark, [0; 512]).expect("written");
    assert!(refusal(dir.path()).contains("neither of its two lines is intact"));
    std::fs::write(&mark, kept).expect("written");
    std::fs::remove_dir_all(dir.path().join("log")).expect("removed");
    assert!(refusal(dir.path()).contains("but no log: its events are not there"));
}

#[test]
fn a_journal_that_was_cut_off_while_it_was_made_is_made_anew_unless_something_may_have_been_in_it() {
    for mark in [&b""[..], &[0; 256], b"theater-mark 2 "] {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("journal.mark"), mark).expect("written");
        open(dir.path()).expect("nothing is lost").close();
        open(dir.path()).expect("it is whole").close();
        // A component is stored before anything that names it.
        std::fs::write(dir.path().join("journal.mark"), mark).expect("written");
        std::fs::create_dir(dir.path().join("components")).expect("a directory");
        std::fs::write(dir.path().join("components/0.wasm"), "").expect("written");
        assert!(refusal(dir.path()).contains("neither of its two lines is intact"));
    }
}

#[test]
fn an_ephemeral_directory_is_gone_at_the_end() {
    let dir = DataDir::ephemeral().expect("a directory");
    let path = dir.path().to_owned();
    let journal = Journal::open(dir, Durability::Relaxed, QUEUE_BYTES, silent()).expect("a journal");
    assert!(path.join("journal.mark").exists());
    journal.close();
    assert!(!path.exists());
}

#[test]
fn a_journal_that_cannot_write_says_so_and_takes_nothing_more() {
    let dir = tempfile::tempdir().expect("a directory");
    let (said, heard) = bounded(1);
    let listener = Listener {
        committed: Box::new(|_| ()),
        failed: Box::new(move |error| said.send(error.to_string()).expect("the test listens")),
    };
    let journal =
        Journal::open(DataDir::open(dir.path()).expect("a directory"), Durability::Commit, QUEUE_BYTES, listener)
            .expect("a journal");
    let mut scribe = Scribe::new(journal.handle());
    let event = scribe.write();
    let twice = Record::Event(scribe.actor, event, Attached::default());
    journal.handle().enqueue(twice).expect("an open journal");
    assert!(heard.recv().expect("a failure").contains("event 0 of actor"));
    while journal.handle().enqueue(Record::Ended(scribe.actor)).is_ok() {
        std::thread::yield_now();
    }
    assert_eq!(journal.handle().flush(), Err(JournalDown));
    journal.close();
}

/// A journal on a log that does this at its third append, and what it says when it fails.
fn open_on_double(dir: &Path, mischief: log::Mischief) -> (Journal, Receiver<String>) {
    let (said, heard) = bounded(1);
    let failed = Box::new(move |error: &JournalError| said.send(error.to_string()).expect("the test listens"));
    let listener = Listener { committed: Box::new(|_| ()), failed };
    let opening = Segments::open(dir, Durability::Commit, None).expect("a log");
    let dir = DataDir::open(dir).expect("a directory");
    let on = |segments| Arc::new(log::Double::new(segments, 2, mischief)) as Arc<dyn BatchLog>;
    (Journal::begin(dir, opening, on, QUEUE_BYTES, listener, None).expect("a journal"), heard)
}

#[test]
fn nothing_is_acknowledged_that_the_log_fails_or_forgets_to_append_or_answers_wrongly() {
    let says = [
        (log::Mischief::Loses, "a mischief of the test", 2),
        (log::Mischief::Fails, "a mischief of the test", 3),
        (log::Mischief::Repeats, "the log answered batch 3 with batch 2", 3),
    ];
    for (mischief, why, left) in says {
        let dir = tempfile::tempdir().expect("a directory");
        let (journal, heard) = open_on_double(dir.path(), mischief);
        let mut scribe = Scribe::new(journal.handle());
        for _ in 0..2 {
            scribe.write();
            journal.handle().flush().expect("committed");
        }
        scribe.write();
        assert_eq!(journal.handle().flush(), Err(JournalDown), "{why}");
        assert!(heard.recv().expect("a failure").contains(why));
        journal.close();
        assert_eq!(surveyed(dir.path()), (left, Vec::new()), "{why}");
        open(dir.path()).expect("the journal again").close();
    }
}

#[test]
fn a_release_waits_as_long_as_the_log_takes() {
    let dir = tempfile::tempdir().expect("a directory");
    let (go_on, waits) = bounded(0);
    let (journal, _heard) = open_on_double(dir.path(), log::Mischief::Delays(waits));
    let mut scribe = Scribe::new(journal.handle());
    for _ in 0..2 {
        scribe.write();
        journal.handle().flush().expect("committed");
    }
    scribe.write();
    let (done, released) = bounded(1);
    journal.handle().release(move || done.send(()).expect("the test waits")).expect("an open journal");
    // The writer stands in the append by now, and readers are not held up.
    let reader = journal.handle().reader().expect("a reader");
    assert_eq!(reader.events(scribe.actor, 0, 9, usize::MAX).expect("events").len(), 2);
    assert!(released.is_empty());
    go_on.send(()).expect("the log waits");
    released.recv().expect("released");
    assert_eq!(reader.events(scribe.actor, 0, 9, usize::MAX).expect("events").len(), 3);
    journal.close();
}

/// What a walk over the whole journal finds.
fn surveyed(dir: &Path) -> (usize, Vec<String>) {
    let mut survey = Survey::begin(dir).expect("a journal");
    let mut events = 0;
    loop {
        match survey.page() {
            Ok(Some(page)) => events += page.iter().flatten().count(),
            Ok(None) | Err(_) => return (events, survey.findings()),
        }
    }
}

#[test]
fn an_index_that_is_gone_or_lies_is_made_anew_from_the_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let chains = interleaved(&journal, 100);
    journal.close();
    let index = dir.path().join("index.db");
    let lies = [
        None,
        Some("UPDATE heads SET position = position - 3"),
        Some("DELETE FROM actors WHERE actor = 1"),
        Some("UPDATE actors SET alive = 0"),
        Some("UPDATE heads SET state_sequence = state_sequence + 1"),
    ];
    for lie in lies {
        match lie {
            None => std::fs::remove_file(&index).expect("removed"),
            Some(statement) => {
                let rows = rusqlite::Connection::open(&index).expect("a database");
                assert!(rows.execute(statement, []).expect("done") > 0);
            }
        }
        let as_it_was = |reader: &JournalReader| {
            for (actor, written) in &chains {
                assert_eq!(reader.events(*actor, 0, u64::MAX, usize::MAX).expect("events"), *written, "{lie:?}");
                assert_eq!(reader.newest_state(*actor).expect("a state"), Newest::Is(None), "{lie:?}");
            }
            assert!(reader.actors().expect("rows").iter().all(|row| row.alive), "{lie:?}");
        };
        as_it_was(&open_to_read(dir.path()).expect("a reader"));
        let journal = open(dir.path()).expect("the journal again");
        as_it_was(&journal.handle().reader().expect("a reader"));
        journal.close();
    }
}

#[test]
fn what_is_old_ends_before_the_first_young_event_although_some_clocks_were_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let mut scribe = Scribe::new(journal.handle());
    scribe.write();
    for timestamp in [200, 5, 9_000, 300, 150, 400] {
        scribe.append_at(timestamp, "refused ntwk:theater/actor.init", vec![0xa0], None);
    }
    journal.handle().flush().expect("committed");
    let mut pruner = Pruner::new(journal.handle().clone(), || false);
    let mut older_than = |time| pruner.older_than(time, 1_000).expect("a position");
    assert_eq!(older_than(1), 0, "the first event is of 7");
    assert_eq!(older_than(150), 1);
    assert_eq!(older_than(300), 4, "a clock that was ahead says nothing, and one that was behind hides nothing");
    assert_eq!(older_than(301), 6);
    assert_eq!(older_than(500), 7);
    let mut over = Pruner::new(journal.handle().clone(), || true);
    assert!(matches!(over.older_than(500, 1_000), Err(Unfinished::Over)));
    journal.close();
}

#[test]
fn a_pass_drops_what_lies_before_the_last_kept_states_and_copies_each_segment_first() {
    let (dir, archive) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let journal = open(dir.path()).expect("a journal");
    journal.handle().archive_to(archive.path().to_owned());
    let mut scribes = [Scribe::new(journal.handle()), Scribe::new(journal.handle())];
    for scribe in &mut scribes {
        scribe.write();
    }
    for round in 1..=40 {
        for scribe in &mut scribes {
            scribe.write_state(Some(&[round; 300]), round % 10 == 0);
        }
        journal.handle().flush().expect("committed");
    }
    let reader = journal.handle().reader().expect("a reader");
    let dropped = |scribe: &Scribe| {
        let events = reader.events(scribe.actor, 0, 1_000, usize::MAX).expect("events");
        events.iter().filter(|event| event.dropped.is_some()).map(|event| event.sequence).collect::<Vec<_>>()
    };
    let mut over = Pruner::new(journal.handle().clone(), || true);
    assert!(matches!(over.drop_upto(82), Err(Unfinished::Over)));
    assert!(dropped(&scribes[0]).is_empty());

    let mut pruner = Pruner::new(journal.handle().clone(), || false);
    assert!(pruner.segments().len() > 3, "it is about several segments");
    let bytes = pruner.log_bytes();
    let steps = [30, 30, 82, 82].map(|position| {
        let retained = pruner.drop_upto(position).expect("a pass");
        assert!(retained.refused.is_empty(), "{retained:?}");
        retained.events
    });
    assert_eq!(steps, [18, 0, 60, 0], "up to the states that are kept behind events 10 and 40");
    for scribe in &scribes {
        assert_eq!(dropped(scribe), (1..40).collect::<Vec<_>>());
    }
    assert!(pruner.log_bytes() < bytes / 2);
    journal.close();

    let copies = std::fs::read_dir(archive.path()).expect("an archive").next().expect("a journal").expect("one").path();
    for copy in std::fs::read_dir(copies).expect("copies").map(|copy| copy.expect("a copy")) {
        std::fs::copy(copy.path(), dir.path().join("log").join(copy.file_name())).expect("copied back");
    }
    let whole = open_to_read(dir.path()).expect("a journal");
    for scribe in &scribes {
        let events = whole.events(scribe.actor, 0, 1_000, usize::MAX).expect("events");
        assert!(events.iter().all(|event| event.dropped.is_none()) && events.len() == 41);
    }
}

#[test]
fn a_copy_is_the_same_whether_its_segments_can_be_held_open_or_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    // Each of them ends with a commit, and a segment is soon full.
    (0..5).for_each(|_| drop(interleaved(&journal, 100)));
    let copies = [0, 1, usize::MAX].map(|most| {
        let to = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(to.path().join("log")).expect("a directory");
        backup::copy_log(dir.path(), to.path(), most).expect("copied");
        let files = std::fs::read_dir(to.path().join("log")).expect("segments").flatten();
        let files = files.map(|file| (file.file_name(), std::fs::read(file.path()).expect("a segment")));
        files.collect::<std::collections::BTreeMap<_, _>>()
    });
    assert!(copies[0].len() > 3, "{}", copies[0].len());
    assert!(copies[0] == copies[2] && copies[1] == copies[2]);
    journal.close();
}

#[test]
fn all_events_are_read_forward_once_across_segments_drops_and_what_comes_meanwhile() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let mut scribes = [Scribe::new(journal.handle()), Scribe::new(journal.handle())];
    let mut written = Vec::new();
    let mut write = |count: usize| {
        for at in 0..count {
            let scribe = &mut scribes[at % 2];
            // Some have a large part, which lies beside the event.
            let event = match at % 5 {
                4 => scribe.append("refused ntwk:theater/actor.init", vec![b'x'; 5_000].to_cbor(), None),
                _ => scribe.write(),
            };
            written.push((scribe.actor.id, event));
            if at % 7 == 0 {
                journal.handle().flush().expect("committed");
            }
        }
        journal.handle().flush().expect("committed");
        written.clone()
    };
    let reader = journal.handle().reader().expect("a reader");
    let told = |event: &CommittedEvent<'_>| {
        let CommittedEvent { position, actor, sequence, parent, hash, data, .. } = *event;
        (position, actor, sequence, parent, hash, data)
    };
    let expected = |written: &[(ActorId, ChainEvent)], from: u64| -> Vec<_> {
        let all = (1..).zip(written).map(|(position, (actor, event))| {
            (position, *actor, event.sequence, event.parent_hash, event.hash, crate::chain::DroppedData::of(event))
        });
        all.filter(|(position, ..)| *position > from).collect()
    };
    let rest = |events: &mut CommittedEvents| {
        let mut all = Vec::new();
        while let Some(run) = events.next_run(told).expect("readable") {
            all.extend(run);
        }
        all
    };
    let mut forward = CommittedEvents::after(&reader, 0).expect("readable");
    assert_eq!(rest(&mut forward), []);
    let some = write(60);
    assert!(reader.log.sealed().len() > 3, "there are several segments");
    assert_eq!(rest(&mut forward), expected(&some, 0));
    for from in [0, 1, 17, 59, 60] {
        let mut behind = CommittedEvents::after(&reader, from).expect("readable");
        assert_eq!(rest(&mut behind), expected(&some, from), "behind {from}");
    }
    // What is left of dropped data is what is read of it before.
    let mut halfway = CommittedEvents::after(&reader, 0).expect("readable");
    let mut read = halfway.next_run(told).expect("readable").expect("events");
    let actor = some[20].0;
    let key = reader.actors().expect("rows").into_iter().find(|row| row.actor.id == actor).expect("a row").actor;
    redact(journal.handle(), &reader, key, some[20].1.sequence, Shown::Goes).expect("nothing needs it");
    let all = write(20);
    read.extend(rest(&mut halfway));
    assert_eq!(read, expected(&all, 0));
    assert_eq!(rest(&mut forward), expected(&all, 60));
    assert_eq!(rest(&mut CommittedEvents::after(&reader, 0).expect("readable")), expected(&all, 0));
    journal.close();
    let reader = open_to_read(dir.path()).expect("readable");
    assert_eq!(rest(&mut CommittedEvents::after(&reader, 33).expect("readable")), expected(&all, 33));
}
