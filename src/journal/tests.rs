//! The journal as its users see it: order, durability, the mark, one holder.

use std::sync::Arc;

use super::*;
use crate::chain::{ChainEvent, ComponentDigest, StateChain};

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

    fn write(&mut self, state: Option<StateWrite>) -> ChainEvent {
        let event = self.chain.append("started", vec![0xa0], 7);
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
        scribe.write(None);
        journal.handle().flush().expect("committed");
    }
    journal.close();
}

#[test]
fn what_was_enqueued_is_read_back_with_its_parents() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let mut scribe = Scribe::new(journal.handle());
    let written: Vec<_> = (0..5).map(|_| scribe.write(None)).collect();
    journal.handle().flush().expect("committed");
    let reader = journal.handle().reader().expect("a reader");
    assert_eq!(reader.events(scribe.actor, 0, 100, usize::MAX).expect("events"), written);
    assert_eq!(reader.events(scribe.actor, 3, 1, usize::MAX).expect("events"), written[3..4]);
    assert_eq!(reader.head(scribe.actor).expect("a head"), scribe.chain.head());
    journal.close();
}

#[test]
fn the_newest_state_is_read_and_every_kept_one_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let mut scribe = Scribe::new(journal.handle());
    for (state, keep) in [("a", false), ("b", true), ("c", false)] {
        scribe.write(Some(StateWrite { state: Some(Arc::from(state.as_bytes())), keep }));
    }
    journal.handle().flush().expect("committed");
    let reader = journal.handle().reader().expect("a reader");
    assert_eq!(reader.newest_state(scribe.actor).expect("a state"), Some(b"c".to_vec()));
    scribe.write(Some(StateWrite { state: None, keep: false }));
    journal.handle().flush().expect("committed");
    assert_eq!(reader.newest_state(scribe.actor).expect("no state"), None);
    journal.close();
}

#[test]
fn a_release_runs_only_after_the_events_before_it_are_on_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(dir.path()).expect("a journal");
    let mut scribe = Scribe::new(journal.handle());
    let (seen, on_disk) = bounded(1);
    for _ in 0..100 {
        let event = scribe.write(None);
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
    assert!(refusal(dir.path()).contains("journal.db itself is missing"));
}

#[test]
fn an_older_journal_is_read_as_it_is_and_brought_to_this_version_when_it_is_opened() {
    [1, 2].into_iter().for_each(older_journal);
}

fn older_journal(version: u32) {
    let dir = tempfile::tempdir().expect("a directory");
    journal_of_ten(dir.path());
    let rows = rusqlite::Connection::open(dir.path().join("journal.db")).expect("a database");
    let version_2 = "DROP TABLE uses;
                     ALTER TABLE actors DROP COLUMN started;
                     ALTER TABLE actors DROP COLUMN listed;
                     ALTER TABLE states DROP COLUMN sha1;
                     PRAGMA user_version = 2;";
    let version_1 = "DROP TABLE pending;
                     ALTER TABLE actors DROP COLUMN attempts;
                     ALTER TABLE events DROP COLUMN dropped;
                     PRAGMA user_version = 1;";
    rows.execute_batch(version_2).expect("what version 2 was");
    if version == 1 {
        rows.execute_batch(version_1).expect("what version 1 was");
    }
    drop(rows);
    let ten = |reader: &JournalReader| {
        let actor = reader.actors().expect("actors")[0].actor;
        assert_eq!(reader.events(actor, 0, 100, usize::MAX).expect("events").len(), 10);
    };
    ten(&open_to_read(dir.path()).expect("a reader"));
    let journal = open(dir.path()).expect("a journal");
    let reader = journal.handle().reader().expect("a reader");
    ten(&reader);
    assert_eq!(reader.pending().expect("a table"), []);
    journal.close();
}

#[test]
fn a_newer_format_and_a_foreign_file_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    journal_of_ten(dir.path());
    let rows = rusqlite::Connection::open(dir.path().join("journal.db")).expect("a database");
    rows.pragma_update(None, "user_version", 4).expect("updated");
    assert!(refusal(dir.path()).contains("has format version 4; this program knows version 3"));
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
    let event = scribe.write(None);
    let twice = Record::Event(scribe.actor, event, Attached::default());
    journal.handle().enqueue(twice).expect("an open journal");
    assert!(heard.recv().expect("a failure").contains("UNIQUE constraint failed"));
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
    let forged = "INSERT INTO events SELECT ?1, actor, 10, timestamp, event_type, hash, data, NULL FROM events LIMIT 1";
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
    journal_of_ten(dir.path());
    let file = dir.path().join("journal.db");
    let rows = rusqlite::Connection::open(&file).expect("a database");
    let root: i64 = rows
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'events_by_actor'", [], |row| row.get(0))
        .expect("the index");
    drop(rows);
    // Ten entries fit the root; the last is of event 9, at position 10.
    let page = 4096 * usize::try_from(root - 1).expect("pages count from 1");
    let bytes = std::fs::read(&file).expect("the database");
    let at = bytes[page..page + 4096].windows(2).position(|pair| pair == [9, 10]).expect("the entry");
    let database = std::fs::File::options().write(true).open(&file).expect("the database");
    database.write_all_at(&[105], (page + at) as u64).expect("written");
    assert_eq!(quick_check(dir.path()).expect("a journal"), None, "SQLite does not look");
    let (events, found) = surveyed(dir.path());
    assert_eq!((events, found), (10, vec!["the index events_by_actor is not that of the table of events".to_owned()]));
}
