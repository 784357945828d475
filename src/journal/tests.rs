//! The journal as its users see it: order, durability, the mark, one holder.

use std::sync::Arc;

use super::*;
use crate::base::limits::INLINE_STATE_BYTES;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Encoded, NamedState, Return, StateAfter};
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

    fn write(&mut self) -> ChainEvent {
        self.append("started", vec![0xa0], None)
    }

    /// An event that leads to a state.
    fn write_state(&mut self, state: Option<&[u8]>, keep: bool) -> ChainEvent {
        let returned = Return::new(StateAfter::Now(NamedState::of(state)), Encoded(vec![0xf6]));
        let state = StateWrite { state: state.map(Arc::from), named: true, keep };
        self.append(RETURNED, returned.to_cbor(), Some(state))
    }

    fn append(&mut self, event_type: &'static str, data: Vec<u8>, state: Option<StateWrite>) -> ChainEvent {
        let event = self.chain.append(event_type, data, 7);
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
    for state in states {
        scribe.write_state(state, false);
        scribe.write();
        journal.handle().flush().expect("committed");
        let reader = journal.handle().reader().expect("a reader");
        assert_eq!(reader.newest_state(scribe.actor).expect("a state").as_deref(), state);
    }
    // All in one commit.
    states.iter().for_each(|state| _ = scribe.write_state(*state, true));
    journal.handle().flush().expect("committed");
    let reader = journal.handle().reader().expect("a reader");
    assert_eq!(reader.newest_state(scribe.actor).expect("a state").as_deref(), states[5]);
    for (kept, state) in (12..).zip(states) {
        let found = reader.kept_state(scribe.actor, kept + 1).expect("a state");
        assert_eq!(found, Some((kept, state.map(<[u8]>::to_vec))), "every kept one stays");
    }
    drop(reader);
    journal.close();
    assert_eq!(surveyed(dir.path()).1, Vec::<String>::new());
}

#[test]
fn the_newest_state_outlives_the_data_of_its_event() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let mut scribe = Scribe::new(journal.handle());
    scribe.write_state(Some(b"before"), true);
    let named = scribe.write_state(Some(b"newest"), false).sequence;
    for _ in 0..100 {
        scribe.write();
    }
    journal.handle().flush().expect("committed");
    let drop_it = |from, upto| journal.handle().enqueue(Record::Drop { actor: scribe.actor, from, upto });
    for range in [(named, named + 1), (0, 90)] {
        drop_it(range.0, range.1).expect("an open journal");
        journal.handle().flush().expect("committed");
        let reader = journal.handle().reader().expect("a reader");
        assert_eq!(reader.newest_state(scribe.actor).expect("a state"), Some(b"newest".to_vec()));
        assert_eq!(reader.last_dropped(scribe.actor).expect("a number"), Some(named));
        assert_eq!(reader.undropped(scribe.actor, 90).expect("a number"), u64::from(range.0 > 0));
    }
    let reader = journal.handle().reader().expect("a reader");
    assert_eq!(reader.kept_sequences(scribe.actor).expect("numbers").len(), 0, "what was kept there went");
    drop(reader);
    scribe.write_state(Some(b"another"), false);
    journal.handle().flush().expect("committed");
    let reader = journal.handle().reader().expect("a reader");
    assert_eq!(reader.newest_state(scribe.actor).expect("a state"), Some(b"another".to_vec()));
    drop(reader);
    journal.close();
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

/// What a statement of somebody else's does to a journal of three chains: what a walk over all finds, and what reading the
/// first chain comes to.
fn damaged_by(statement: &str) -> (Vec<String>, rusqlite::Result<usize>) {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let chains = interleaved(&journal, 100);
    journal.close();
    let rows = rusqlite::Connection::open(dir.path().join("journal.db")).expect("a database");
    assert!(rows.execute(statement, []).expect("done") > 0);
    drop(rows);
    let reader = open_to_read(dir.path()).expect("a reader");
    let read = reader.events(chains[0].0, 0, u64::MAX, usize::MAX).map(|events| events.len());
    (surveyed(dir.path()).1, read)
}

#[test]
fn where_a_chain_is_said_to_end_or_to_lead_elsewhere_is_found_and_not_followed() {
    let damages = [
        ("UPDATE heads SET position = position - 3", "heads"),
        ("UPDATE heads SET state = 1 WHERE actor = 1", "heads"),
        ("UPDATE heads SET dropped = 1 WHERE actor = 1", "heads"),
        ("UPDATE heads SET seal = seal + 1 WHERE actor = 1", "heads"),
        ("DELETE FROM heads WHERE actor = 1", "heads"),
        ("UPDATE events SET previous = previous - 1 WHERE position = 30", "the event at position 30 does not say"),
        ("UPDATE events SET previous = NULL WHERE sequence = 80 AND actor = 1", "does not say"),
        ("UPDATE events SET previous = position WHERE sequence = 80 AND actor = 1", "does not say"),
    ];
    for (statement, finding) in damages {
        let (found, read) = damaged_by(statement);
        // A row that only its seal gives away is met by whoever reads the chain.
        let is_seen = found.iter().any(|found| found.contains(finding));
        assert!(
            is_seen || read.as_ref().is_err_and(|error| error.to_string().contains(finding)),
            "{statement}: {found:?}"
        );
        let is_of_another = statement.contains("position = 30");
        assert_eq!(read.is_err(), !is_of_another, "{statement}: {read:?}");
    }
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
    journal.close();
    open(dir.path()).expect("let go").close();
}

#[test]
fn a_journal_that_lost_what_was_acknowledged_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    journal_of_ten(dir.path());
    let rows = rusqlite::Connection::open(dir.path().join("journal.db")).expect("a database");
    rows.execute("DELETE FROM events WHERE position > 7", []).expect("deleted");
    drop(rows);
    let message = refusal(dir.path());
    assert!(message.contains("ends at position 7, but 10 was acknowledged"), "{message}");
}

#[test]
fn a_journal_whose_events_were_altered_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    journal_of_ten(dir.path());
    let rows = rusqlite::Connection::open(dir.path().join("journal.db")).expect("a database");
    rows.execute("UPDATE metadata SET value = zeroblob(20)", []).expect("updated");
    drop(rows);
    let message = refusal(dir.path());
    assert!(message.contains("disagrees with its mark at position 10"), "{message}");
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
    std::fs::remove_file(dir.path().join("journal.db")).expect("removed");
    assert!(refusal(dir.path()).contains("but no journal.db: its events are not there"));
}

/// Makes a journal what an older program would have written: in version 3 each newest state stood apart.
fn make_older(dir: &Path, version: u32, newest: &[(ActorKey, u64, Option<Vec<u8>>)]) {
    let rows = rusqlite::Connection::open(dir.join("journal.db")).expect("a database");
    for (actor, sequence, state) in newest {
        let insert = "INSERT OR REPLACE INTO states (actor, slot, sequence, state) VALUES (?1, 0, ?2, ?3)";
        rows.execute(insert, rusqlite::params![actor.key, sequence.cast_signed(), state]).expect("a state");
    }
    let version_3 = "DROP TABLE heads;
                     DROP INDEX milestones;
                     DROP INDEX landmarks;
                     ALTER TABLE events DROP COLUMN previous;
                     CREATE UNIQUE INDEX events_by_actor ON events (actor, sequence);
                     PRAGMA user_version = 3;";
    let version_2 = "DROP TABLE uses;
                     ALTER TABLE actors DROP COLUMN started;
                     ALTER TABLE actors DROP COLUMN listed;
                     ALTER TABLE states DROP COLUMN sha1;
                     PRAGMA user_version = 2;";
    let version_1 = "DROP TABLE pending;
                     ALTER TABLE actors DROP COLUMN attempts;
                     ALTER TABLE events DROP COLUMN dropped;
                     PRAGMA user_version = 1;";
    for (made, statements) in [(3, version_3), (2, version_2), (1, version_1)] {
        if version <= made {
            rows.execute_batch(statements).expect("what that version was");
        }
    }
}

#[test]
fn an_older_journal_is_read_as_it_is_and_brought_to_this_version_when_it_is_opened() {
    [1, 2, 3].into_iter().for_each(older_journal);
}

fn older_journal(version: u32) {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let mut scribes: Vec<_> = (0..4).map(|_| Scribe::new(journal.handle())).collect();
    for _ in 0..70 {
        scribes.iter_mut().for_each(|scribe| _ = scribe.write());
    }
    let states = [Some(vec![7; 9]), Some(vec![7; INLINE_STATE_BYTES + 1]), None, Some(b"kept".to_vec())];
    let mut newest = Vec::new();
    for (scribe, state) in scribes.iter_mut().zip(&states) {
        newest.push((scribe.actor, scribe.write_state(state.as_deref(), false).sequence, state.clone()));
    }
    // Version 3 took the event behind which a state was kept for the one that led to it.
    newest[3].1 = scribes[3].write().sequence;
    journal.close();
    make_older(dir.path(), version, &newest);

    let is_as_it_was = |reader: &JournalReader| {
        for (scribe, (actor, sequence, state)) in scribes.iter().zip(&newest) {
            let events = reader.events(*actor, 0, u64::MAX, usize::MAX).expect("events");
            assert_eq!(events.last().map(|event| event.hash), scribe.chain.head().map(|head| head.hash));
            assert_eq!(events.len() as u64, scribe.chain.next_sequence());
            assert_eq!(&reader.newest_state(*actor).expect("a state"), state, "version {version}");
            assert_eq!(reader.newest_state_at(*actor).expect("a number"), Some(*sequence));
            assert_eq!(reader.pending().expect("a table"), []);
            assert_eq!(reader.last_dropped(*actor).expect("none"), None);
        }
    };
    is_as_it_was(&open_to_read(dir.path()).expect("a reader"));
    assert_eq!(surveyed(dir.path()), (4 * 71 + 1, Vec::new()), "version {version}");
    let journal = open(dir.path()).expect("a journal");
    is_as_it_was(&journal.handle().reader().expect("a reader"));
    for scribe in &mut scribes {
        scribe.journal = journal.handle().clone();
        scribe.write_state(Some(b"new"), false);
    }
    journal.handle().flush().expect("committed");
    let reader = journal.handle().reader().expect("a reader");
    scribes.iter().for_each(|scribe| {
        assert_eq!(reader.newest_state(scribe.actor).expect("a state"), Some(b"new".to_vec()));
    });
    drop(reader);
    journal.close();
    assert_eq!(surveyed(dir.path()), (4 * 72 + 1, Vec::new()), "version {version}");
}

#[test]
fn an_older_journal_of_which_an_event_is_gone_is_not_brought_to_this_version() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let chains = interleaved(&journal, 100);
    journal.close();
    make_older(dir.path(), 3, &[]);
    let rows = rusqlite::Connection::open(dir.path().join("journal.db")).expect("a database");
    let moved = "UPDATE events SET sequence = 1000 WHERE sequence = 50 AND actor = ?1";
    assert_eq!(rows.execute(moved, [chains[0].0.key]).expect("moved"), 1);
    drop(rows);
    assert!(refusal(dir.path()).contains("does not follow the one before it on its chain"));
    let rows = rusqlite::Connection::open(dir.path().join("journal.db")).expect("a database");
    let version: i64 = rows.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a number");
    assert_eq!(version, 3, "it stays as it was");
}

#[test]
fn a_newer_format_and_a_foreign_file_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    journal_of_ten(dir.path());
    let rows = rusqlite::Connection::open(dir.path().join("journal.db")).expect("a database");
    rows.pragma_update(None, "user_version", 5).expect("updated");
    assert!(refusal(dir.path()).contains("has format version 5; this program knows version 4"));
    rows.pragma_update(None, "application_id", 1).expect("updated");
    drop(rows);
    assert!(refusal(dir.path()).contains("is not a journal of Theater"));
}

#[test]
fn an_ephemeral_directory_is_gone_at_the_end() {
    let dir = DataDir::ephemeral().expect("a directory");
    let path = dir.path().to_owned();
    let journal = Journal::open(dir, Durability::Relaxed, QUEUE_BYTES, silent()).expect("a journal");
    assert!(path.join("journal.db").exists());
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

/// What a walk over the whole journal finds.
fn surveyed(dir: &Path) -> (usize, Vec<String>) {
    let mut survey = Survey::begin(dir).expect("a journal");
    let mut events = 0;
    loop {
        match survey.page() {
            Ok(page) if page.is_empty() => return (events, survey.findings()),
            Ok(page) => events += page.len(),
            Err(_) => return (events, survey.findings()),
        }
    }
}

#[test]
fn a_row_before_the_first_is_found_and_not_started_upon() {
    let dir = tempfile::tempdir().expect("a directory");
    journal_of_ten(dir.path());
    assert_eq!(surveyed(dir.path()), (10, Vec::new()));
    let rows = rusqlite::Connection::open(dir.path().join("journal.db")).expect("a database");
    let forged =
        "INSERT INTO events SELECT ?1, actor, 10, NULL, timestamp, event_type, hash, data, NULL FROM events LIMIT 1";
    for position in [0, -5] {
        rows.execute(forged, [position]).expect("a row");
        let (events, found) = surveyed(dir.path());
        assert_eq!(events, 11, "whoever looks at chains sees it");
        assert!(found.contains(&"the event at position 1 is missing".to_owned()), "{found:?}");
        assert!(refusal(dir.path()).contains("altered"));
        rows.execute("DELETE FROM events WHERE position < 1", []).expect("gone");
    }
    open(dir.path()).expect("as it was").close();
}

#[test]
fn an_index_that_says_something_else_than_the_table_is_found() {
    use std::os::unix::fs::FileExt;
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let mut scribe = Scribe::new(journal.handle());
    (0..70).for_each(|_| _ = scribe.write());
    journal.close();
    let file = dir.path().join("journal.db");
    let rows = rusqlite::Connection::open(&file).expect("a database");
    let root: i64 = rows
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'milestones'", [], |row| row.get(0))
        .expect("the index");
    drop(rows);
    // One entry: event 63, at position 64.
    let page = 4096 * usize::try_from(root - 1).expect("pages count from 1");
    let bytes = std::fs::read(&file).expect("the database");
    let at = bytes[page..page + 4096].windows(2).position(|pair| pair == [63, 64]).expect("the entry");
    let database = std::fs::File::options().write(true).open(&file).expect("the database");
    database.write_all_at(&[65], (page + at + 1) as u64).expect("written");
    assert_eq!(quick_check(dir.path()).expect("a journal"), None, "SQLite does not look");
    let (events, found) = surveyed(dir.path());
    assert_eq!((events, found), (70, vec!["the index milestones is not that of the table of events".to_owned()]));
}

#[test]
fn what_a_program_without_seals_has_left_is_sealed_anew_and_then_no_row_may_change() {
    let dir = tempfile::tempdir().expect("a directory");
    journal_of_ten(dir.path());
    let broken = || open_to_read(dir.path()).expect("a reader").broken_seals().expect("rows");
    let write = |statement: &str| {
        let rows = rusqlite::Connection::open(dir.path().join("journal.db")).expect("a database");
        assert_eq!(rows.execute(statement, []).expect("written"), 1);
    };
    // The scribe tells nobody that its last event began an incarnation.
    write("UPDATE actors SET started = 9");
    let rows = rusqlite::Connection::open(dir.path().join("journal.db")).expect("a database");
    super::seals::seal_actor(&rows, 1).expect("sealed");
    drop(rows);
    assert_eq!(broken(), [""; 0]);
    // Such a program writes rows without their seals, and both lines of the mark without the word.
    write("UPDATE actors SET alive = 0");
    assert!(broken()[0].contains("its alive in the table of actors"), "{:?}", broken());
    let mark = std::fs::read_to_string(dir.path().join("journal.mark")).expect("a mark");
    let body = mark.lines().next().and_then(|line| line.split_once(" sealed ")).expect("the word").0;
    let line = format!("{body} {}", hex::encode(crate::chain::sha1(body.as_bytes())));
    std::fs::write(dir.path().join("journal.mark"), format!("{line:<255}\n{line:<255}\n")).expect("written");
    open(dir.path()).expect("it is opened").close();
    assert_eq!(broken(), [""; 0], "sealed as it was left");

    // Nothing overflows by what a row says.
    for column in ["alive", "listed", "attempts", "started"] {
        for number in [i64::MIN, i64::MAX, -1, 2] {
            write(&format!("UPDATE actors SET {column} = {number}"));
            assert_eq!(broken().len(), 1, "{column} = {number}");
            let undo = if column == "started" { 9 } else { i64::from(column == "listed") };
            write(&format!("UPDATE actors SET {column} = {undo}"));
        }
    }

    for (statement, undo, expected) in [
        ("UPDATE actors SET listed = 0", "UPDATE actors SET listed = 1", "its listed"),
        ("UPDATE actors SET attempts = 1", "UPDATE actors SET attempts = 0", "its attempts"),
        ("UPDATE actors SET manifest_path = '/x'", "UPDATE actors SET manifest_path = ''", "its manifest_path"),
        ("INSERT INTO pending VALUES ('a', 1, 'b', 2, NULL)", "DELETE FROM pending", "the table of pending"),
        ("DELETE FROM metadata WHERE key = 'actor 1'", "UPDATE actors SET listed = 1", "the seal of its row"),
    ] {
        write(statement);
        let found = broken();
        assert!(found.len() == 1 && found[0].contains(expected), "{statement}: {found:?}");
        open(dir.path()).expect("it is opened: a start looks then").close();
        assert_eq!(broken(), found, "nothing is sealed anew that has a seal");
        write(undo);
    }
}
