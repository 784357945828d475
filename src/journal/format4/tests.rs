//! Journals that earlier programs made, read as the upgrade reads them. `tests/golden` holds them, each with the heads of
//! its chains as its own program named them. (Those of versions 1 and 2 were made from newer ones, by the changes that
//! those versions lack.)

use std::fs;

use super::*;
use crate::chain::check_link;

const ALL: [&str; 5] = ["journal-1", "journal-2", "journal-3", "journal-4", "journal-given-up"];

/// A copy of a golden journal.
fn golden(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)) {
        fs::copy(&file, dir.path().join(file.file_name().expect("a name"))).expect("copied");
    }
    dir
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory");
    entries.map(|entry| entry.expect("a file").path()).filter(|path| path.is_file()).collect()
}

fn open(dir: &Path) -> OldJournal {
    OldJournal::open(dir).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(dir: &Path) -> String {
    OldJournal::open(dir).err().expect("the journal is refused").to_string()
}

fn records(journal: &OldJournal) -> Vec<Record> {
    let mut records = Vec::new();
    let mut push = |record| {
        records.push(record);
        Ok(())
    };
    journal.records(&mut push).unwrap_or_else(|error| panic!("{error}"));
    records
}

fn events(records: &[Record]) -> impl Iterator<Item = (&ActorKey, &ChainEvent, &Attached)> {
    records.iter().filter_map(|record| match record {
        Record::Event(actor, event, attached) => Some((actor, event, attached)),
        _ => None,
    })
}

/// The actor of this name, by what its incarnations began with.
fn named(records: &[Record], name: &str) -> ActorKey {
    let is_of = |attached: &Attached| attached.begins.as_ref().is_some_and(|begins| begins.name == name);
    *events(records).find(|(_, _, attached)| is_of(attached)).unwrap_or_else(|| panic!("{name} began")).0
}

fn of<'a>(records: &'a [Record], name: &str) -> Vec<(&'a ChainEvent, &'a Attached)> {
    let actor = named(records, name);
    events(records).filter(|(other, ..)| **other == actor).map(|(_, event, attached)| (event, attached)).collect()
}

/// The state that an actor goes on with, as its newest record of one has it.
fn newest_state(records: &[Record], name: &str) -> State {
    let newest =
        of(records, name).into_iter().rev().find_map(|(_, attached)| attached.state.as_ref().filter(|it| it.named));
    newest.expect("each start names a state").state.as_ref().map(|state| state.to_vec())
}

fn change(dir: &Path, statement: &str) {
    let rows = Connection::open(dir.join("journal.db")).expect("a database");
    assert!(rows.execute(statement, []).expect("done") > 0, "{statement}");
}

#[test]
fn every_golden_journal_is_read_to_the_heads_that_its_own_program_named() {
    for name in ALL {
        let dir = golden(name);
        let journal = open(dir.path());
        let records = records(&journal);
        let mut heads: BTreeMap<i64, (ActorId, Head)> = BTreeMap::new();
        for (actor, event, _) in events(&records) {
            let before = heads.get(&actor.key).map(|(_, head)| *head);
            let head = check_link(before.as_ref(), event).unwrap_or_else(|broken| panic!("{name}: {broken}"));
            heads.insert(actor.key, (actor.id, head));
        }
        let heads: String =
            heads.values().map(|(id, head)| format!("{id} {} {}\n", head.sequence, head.hash)).collect();
        assert_eq!(heads, fs::read_to_string(dir.path().join("heads")).expect("the heads"), "{name}");
        assert_eq!(events(&records).count() as u64, journal.events, "{name}");
    }
}

#[test]
fn what_an_incarnation_began_with_stands_beside_each_start() {
    for name in ALL {
        let dir = golden(name);
        for (actor, event, attached) in events(&records(&open(dir.path()))) {
            assert_eq!(attached.begins.is_some(), event.event_type == "started", "{name}");
            let Some(begins) = &attached.begins else { continue };
            let started = Started::from_cbor(&event.data).expect("a start");
            assert_eq!((started.id, started.incarnation), (actor.id, begins.incarnation), "{name}");
            assert!(begins.manifest_path.ends_with(".toml"), "{name}: {}", begins.manifest_path);
            assert!(attached.state.as_ref().is_some_and(|state| state.named), "{name}");
        }
    }
    let dir = golden("journal-4");
    let records = records(&open(dir.path()));
    let attempts = |name| -> Vec<u64> {
        of(&records, name).iter().filter_map(|(_, attached)| Some(attached.begins.as_ref()?.attempts)).collect()
    };
    assert_eq!((attempts("alpha"), attempts("gamma")), (vec![0, 0, 1], vec![0, 0, 1]), "the newest is what counts");
    assert_eq!(attempts("beta"), [0, 0, 0, 0, 0]);
}

#[test]
fn a_state_that_an_event_names_comes_in_full_where_it_was_stored() {
    for name in ALL {
        let dir = golden(name);
        let records = records(&open(dir.path()));
        for (_, event, attached) in events(&records) {
            let Some(write) = &attached.state else { continue };
            match said_by(event) {
                Some(StateOnChain::Named(named)) => {
                    assert!(write.named, "{name}");
                    if write.keep || matches!(named, NamedState::Inline(_)) {
                        assert_eq!(NamedState::of(write.state.as_deref()), named, "{name}");
                    }
                }
                Some(StateOnChain::Lost(_)) => assert!(event.dropped.is_some(), "{name}"),
                None => assert!(write.keep && !write.named, "{name}"),
            }
        }
    }
    let dir = golden("journal-4");
    let records = records(&open(dir.path()));
    assert_eq!(newest_state(&records, "beta"), None);
    assert_eq!(newest_state(&records, "delta"), Some(b"+".to_vec()));
    assert_eq!(newest_state(&records, "alpha").map(|state| state.len()), Some(5003));
    assert_eq!(newest_state(&records, "fork").map(|state| state.len()), Some(4502));
    // The only event that named it says nothing any more.
    assert_eq!(newest_state(&records, "theta").map(|state| state.len()), Some(34));
    let kept = events(&records).filter(|(_, _, attached)| attached.state.as_ref().is_some_and(|it| it.keep));
    assert_eq!(kept.count(), 21);
}

#[test]
fn a_large_state_that_a_start_names_comes_with_it() {
    let dir = golden("journal-4");
    let records = records(&open(dir.path()));
    let mut named = 0;
    for (_, event, attached) in events(&records) {
        let name = attached.begins.as_ref().and_then(|_| large_state(event));
        let comes = attached.begins_with.as_ref();
        assert_eq!(comes.map(|(name, _)| *name), name);
        assert!(comes.is_none_or(|(name, bytes)| sha1(bytes) == *name));
        named += usize::from(name.is_some());
    }
    assert!(named >= 3, "{named}");
}

#[test]
fn only_what_is_still_owed_is_owed_and_by_the_event_that_promised_it() {
    let owed = |name| -> Vec<(String, Option<&'static str>)> {
        let dir = golden(name);
        let records = records(&open(dir.path()));
        let owed = events(&records).filter_map(|(_, event, attached)| {
            assert!(attached.settles.is_empty() && attached.parts.is_empty());
            Some((event.event_type.to_string(), attached.owes?.notice))
        });
        owed.collect()
    };
    let host = "ntwk:theater/message-server-host";
    let message = |kind: &str, function: &str| (format!("{kind} {host}.{function}"), None);
    let (sent, asked) = (message("host-call", "send"), message("intent", "request"));
    let told = |kind: &str, notice| (kind.to_owned(), Some(notice));
    let failed = [told("failed", "failed"), told("started", "restarted")];
    assert_eq!(owed("journal-4"), [&[sent.clone(), sent.clone(), asked][..], &failed].concat());
    assert_eq!(owed("journal-2"), [sent.clone(), sent]);
    assert_eq!(owed("journal-1"), [], "it stored no mailboxes");
}

#[test]
fn who_has_ended_and_who_is_listed_no_longer_is_said() {
    let dir = golden("journal-4");
    let records = records(&open(dir.path()));
    let ended: Vec<ActorKey> =
        events(&records).filter(|(_, _, attached)| attached.ends).map(|(actor, ..)| *actor).collect();
    assert_eq!(ended, ["delta", "passing", "theta"].map(|name| named(&records, name)));
    let forgotten: Vec<&Record> = records.iter().skip_while(|record| !matches!(record, Record::Forgotten(_))).collect();
    assert!(matches!(forgotten[..], [Record::Forgotten(actor)] if *actor == named(&records, "passing")));

    change(dir.path(), "UPDATE actors SET listed = 0, alive = 0 WHERE name = 'beta'");
    assert!(refusal(dir.path()).contains("is not what was written"), "{}", refusal(dir.path()));
}

#[test]
fn data_that_was_dropped_stays_dropped_and_large_parts_are_put_back() {
    let dir = golden("journal-4");
    let records = records(&open(dir.path()));
    let dropped: Vec<_> = events(&records).filter(|(_, event, _)| event.dropped.is_some()).collect();
    assert_eq!(dropped.len(), 15);
    assert!(dropped.iter().all(|(_, event, _)| event.data.is_empty()));
    assert!(events(&records).filter(|(_, event, _)| event.data.len() > 4500).count() >= 5);
}

#[test]
fn an_upgrade_begins_with_the_components_and_changes_none_of_the_old_files() {
    for name in ALL {
        let dir = golden(name);
        let bytes = || -> BTreeMap<PathBuf, Vec<u8>> {
            // SQLite makes the index of its log anew for each process.
            let kept = files(dir.path()).into_iter().filter(|path| path.extension().is_none_or(|it| it != "db-shm"));
            kept.map(|path| (path.clone(), fs::read(path).expect("a file"))).filter(|(_, it)| !it.is_empty()).collect()
        };
        let before = bytes();
        let mut written = Vec::new();
        let push = |record| {
            written.push(record);
            Ok(())
        };
        let events = upgrade(dir.path(), push).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(events, Some(self::events(&written).count() as u64), "{name}");
        let Some(Record::Component(digest, component)) = written.first() else { panic!("{name}: a component") };
        assert_eq!(*digest, ComponentDigest::of(component), "{name}");
        assert!(bytes() == before, "{name}");
    }
}

#[test]
fn what_is_refused_while_it_is_written_ends_the_upgrade() {
    let dir = golden("journal-3");
    let mut left = 20;
    let refused = upgrade(dir.path(), |_| {
        left -= 1;
        if left > 0 { Ok(()) } else { Err(JournalError::Absent { path: PathBuf::new() }) }
    });
    assert!(matches!(refused, Err(JournalError::Absent { .. })));
    assert_eq!(left, 0, "nothing follows");
}

#[test]
fn a_directory_without_an_old_journal_is_told_from_one_with_a_foreign_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let found = || OldJournal::found_in(dir.path()).map_err(|error| error.to_string());
    assert_eq!(found(), Ok(false));
    let file = dir.path().join("journal.db");
    fs::write(&file, "").expect("written");
    assert_eq!(found(), Ok(false), "made, and never written to");
    let rows = Connection::open(&file).expect("a database");
    let set = |name, value: i64| rows.pragma_update(None, name, value).expect("updated");
    set("application_id", APPLICATION_ID);
    for (version, is_old) in [(1, true), (4, true), (LOG, false), (NEWEST, false)] {
        set("user_version", version);
        assert_eq!(found(), Ok(is_old), "{version}");
    }
    set("user_version", 9);
    assert!(found().expect_err("a newer version").contains("has format version 9; this program knows version 7"));
    set("application_id", 1);
    assert!(found().expect_err("a foreign file").contains("is not a journal of Theater"));
    drop(rows);
    fs::write(&file, "no database, and long enough for the header of one".repeat(10)).expect("written");
    assert!(found().expect_err("no database").contains("cannot read the journal"));
    assert!(upgrade(tempfile::tempdir().expect("a directory").path(), |_| Ok(())).expect("nothing to do").is_none());
}

#[test]
fn a_mark_that_is_missing_torn_or_not_kept_is_refused_as_before() {
    let dir = golden("journal-4");
    let mark = dir.path().join("journal.mark");
    let text = fs::read_to_string(&mark).expect("a mark");
    fs::remove_file(&mark).expect("removed");
    assert!(refusal(dir.path()).contains("the file is missing"));
    fs::write(&mark, [0; 512]).expect("written");
    assert!(refusal(dir.path()).contains("neither of its two lines is intact"));
    let line = |position: &str, durability: &str, digest: Option<&str>, boot: &str| {
        let mut words: Vec<&str> = text.split_whitespace().take(7).collect();
        (words[2], words[4], words[5]) = (position, durability, boot);
        words[3] = digest.unwrap_or(words[3]);
        let body = words.join(" ");
        let line = format!("{body} {}", hex::encode(sha1(body.as_bytes())));
        fs::write(&mark, format!("{line:<255}\n")).expect("written");
    };
    line("150", "commit", None, "a-boot");
    let message = refusal(dir.path());
    assert!(message.contains("ends at position 139, but 150 was acknowledged"), "{message}");
    line("150", "relaxed", None, "a-boot");
    assert_eq!(open(dir.path()).events, 139, "the machine was restarted, and that was the bargain");
    line("139", "commit", Some(&"0".repeat(40)), "a-boot");
    assert!(refusal(dir.path()).contains("disagrees with its mark at position 139"));
    line("0", "commit", Some(&"0".repeat(40)), "a-boot");
    assert_eq!(open(dir.path()).events, 139, "a mark that is behind promises less");
    change(dir.path(), "UPDATE metadata SET value = zeroblob(20) WHERE key = 'digest'");
    assert!(refusal(dir.path()).contains("disagrees with its mark at position 0"));
}

#[test]
fn a_row_that_is_not_what_was_written_is_refused_by_name() {
    let beta = "(SELECT actor FROM actors WHERE name = 'beta')";
    let mut other = Vec::new();
    for (statement, expected) in [
        ("UPDATE events SET timestamp = 1 WHERE position = 40", "its hash is"),
        ("UPDATE events SET event_type = 'paused' WHERE position = 40", "is not an event type"),
        ("UPDATE events SET sequence = sequence + 1 WHERE position = 40", "is missing"),
        ("UPDATE events SET actor = 77 WHERE position = 139", "the chain of key 77 is of no actor"),
        ("UPDATE events SET hash = zeroblob(20) WHERE position = 40", "event"),
        ("DELETE FROM events WHERE position = 40", "disagrees with its mark at position 40"),
        ("UPDATE events SET position = 0 WHERE position = 1", "disagrees with its mark at position 1"),
        ("UPDATE blobs SET bytes = zeroblob(5000)", "was altered"),
        ("DELETE FROM blobs", "is not there"),
        ("UPDATE states SET state = x'00' WHERE slot = 0", "its newest state is not the one that event"),
        ("DELETE FROM states WHERE slot = 0", "its newest state is not the one that event"),
        ("UPDATE states SET sequence = sequence - 1 WHERE slot = 0", "its newest state is not the one that event"),
        ("UPDATE states SET state = x'00' WHERE slot > 1 AND sha1 IS NULL", "the state kept behind event"),
        (
            "UPDATE states SET slot = 900, sequence = 899 WHERE slot = 1",
            "a state is kept behind an event that is not there",
        ),
        (
            "UPDATE heads SET position = position - 1",
            "its row in the table of heads does not lead to where its chain ends",
        ),
        ("DELETE FROM heads", "its row in the table of heads"),
        ("UPDATE heads SET state = 1 WHERE actor = 1", "its newest state is not the one that event"),
        ("UPDATE heads SET state = NULL WHERE actor = 1", "its newest state is not the one that event 44 led to"),
        ("UPDATE actors SET name = 'other' WHERE name = 'beta'", "its name in the table of actors"),
        ("UPDATE actors SET incarnation = 9 WHERE name = 'beta'", "its incarnation in the table of actors"),
        ("UPDATE actors SET alive = 0 WHERE name = 'beta'", "says (alive) that it has ended"),
        ("UPDATE actors SET alive = 1 WHERE name = 'delta'", "is not what was written"),
        ("UPDATE actors SET attempts = 0 WHERE name = 'gamma'", "is not what was written"),
        (
            "UPDATE actors SET started = 0 WHERE name = 'gamma'",
            "event 0 began its newest incarnation, but event 23 did",
        ),
        ("UPDATE actors SET manifest_path = '/x' WHERE name = 'gamma'", "is not what was written"),
        ("DELETE FROM metadata WHERE key = 'actor 1'", "is not what was written"),
        ("DELETE FROM pending WHERE notice = 'failed'", "a delivery that is owed was taken away"),
        (
            "UPDATE pending SET cause_sequence = 9999 WHERE position = (SELECT min(position) FROM pending)",
            "which is not here",
        ),
        ("UPDATE pending SET receiver = cause_actor", "that event promises no such delivery"),
        ("UPDATE pending SET position = position + 1", "that event promises no such delivery"),
        ("UPDATE pending SET notice = 'sung' WHERE notice = 'failed'", "a notice of no kind"),
        ("UPDATE pending SET notice = 'failed' WHERE notice = 'restarted'", "that event promises no such delivery"),
    ] {
        let dir = golden("journal-4");
        change(dir.path(), statement);
        let message = refusal(dir.path());
        if !message.contains(expected) {
            other.push(format!("{statement}: {message}"));
        }
    }
    assert_eq!(other, [""; 0]);
    let dir = golden("journal-4");
    change(dir.path(), &format!("DELETE FROM states WHERE actor = {beta} AND slot > 0"));
    assert_eq!(newest_state(&records(&open(dir.path())), "beta"), None, "a state that is kept is no promise");
}

#[test]
fn a_delivery_that_was_settled_is_not_owed_again() {
    // Version 2 has no seals, so that only the chains tell.
    let dir = golden("journal-2");
    let journal = open(dir.path());
    let records = records(&journal);
    let taken = events(&records).find_map(|(receiver, event, _)| {
        let call = crate::chain::data::Call::from_cbor(&event.data).ok()?;
        Some((receiver.id, call.cause?))
    });
    let (receiver, cause) = taken.expect("a message was taken");
    let promised = |(actor, event, _): &(&ActorKey, &ChainEvent, &Attached)| {
        actor.id == cause.actor && event.sequence == cause.sequence
    };
    let position = events(&records).position(|it| promised(&it)).expect("the promise") + 1;
    let row =
        format!("INSERT INTO pending VALUES ('{}', {}, '{receiver}', {position}, NULL)", cause.actor, cause.sequence);
    change(dir.path(), &row);
    let message = refusal(dir.path());
    assert!(message.contains("has settled it") || message.contains("its sender has an answer"), "{message}");

    // What an actor owes itself: the end of a connection.
    let dir = golden("journal-2");
    let returned = "FROM events JOIN actors USING (actor) WHERE event_type LIKE 'return %' ORDER BY position LIMIT 1";
    change(dir.path(), &format!("INSERT INTO pending SELECT id, sequence, id, position, 'close' {returned}"));
    let owed = self::records(&open(dir.path()));
    assert_eq!(events(&owed).filter(|(_, _, it)| it.owes.is_some_and(|owed| owed.notice == Some(CLOSE))).count(), 1);
}

#[test]
fn a_full_disk_is_refused_before_anything_is_written() {
    let dir = golden("journal-3");
    let journal = open(dir.path());
    assert!(journal.room_needed().expect("a number") > journal.bytes().expect("a number"));
    check_room(dir.path(), 1).expect("there is room");
    let refused = check_room(dir.path(), u64::MAX).expect_err("no disk is so large").to_string();
    assert!(refused.contains("make room, and start again; nothing was changed"), "{refused}");
}
