//! The check of a whole old journal, before anything of it is written anew: the mark, every event, and every row that says
//! more than the chains do.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use rusqlite::OptionalExtension;
use sha1::{Digest, Sha1};

use super::{
    CLOSE, NEWEST_SLOT, OldActor, OldEvent, OldJournal, OldPending, Outcome, State, begins, id, large_state, said_by,
};
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Failed, HostCall, Intent, NamedState, Stopped};
use crate::chain::{ChainEvent, EventKind, Head, Link, StateOnChain, check_link, sha1};
use crate::journal::durability::Durability;
use crate::journal::error::JournalError;
use crate::journal::named::named;
use crate::journal::record::{Cause, Owed};

impl OldJournal {
    /// The journal, with what its chains have come to.
    pub(super) fn checked(mut self) -> Outcome<Self> {
        let mark = OldMark::kept_by(self.events, &self.dir)?;
        let mut check = Check {
            actors: std::mem::take(&mut self.actors),
            journal: &self,
            mark,
            position: 0,
            digest: [0; 20],
            promised: HashSet::new(),
            unanswered: HashMap::new(),
            broken: BTreeSet::new(),
            found: Vec::new(),
        };
        self.walk("checked", |old| check.event(&old))?;
        check.ends()?;
        let Check { actors, found, .. } = check;
        self.actors = actors;
        let Some((first, more)) = found.split_first() else { return Ok(self) };
        more.iter().for_each(|finding| log::error!("the journal in {} is damaged: {finding}", self.dir.display()));
        let more = if more.is_empty() { String::new() } else { format!(" (and {} more)", more.len()) };
        Err(JournalError::Damaged { path: self.dir, why: format!("{first}{more}") }.into())
    }
}

impl OldActor {
    fn goes_on(&mut self, head: Head, OldEvent { position, event, .. }: &OldEvent) {
        (self.head, self.last_position, self.last_kind) = (Some(head), *position, event.kind());
        if let Some(started) = begins(event) {
            self.newest_start = Some((event.sequence, started));
        }
    }
}

/// A mark: how far the journal had come when something was last acknowledged.
struct OldMark {
    position: u64,
    digest: [u8; 20],
    durability: Durability,
    boot: String,
    /// Whether the program that wrote it sealed rows.
    is_sealed: bool,
}

impl OldMark {
    /// The newer of the two lines of the file.
    fn read(dir: &Path) -> Result<Option<Self>, JournalError> {
        let file = dir.join("journal.mark");
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(JournalError::directory(dir, named(&file)(error))),
        };
        let newest = bytes.chunks(256).filter_map(Self::parse).max_by_key(|mark| mark.position);
        let why = || "neither of its two lines is intact".to_owned();
        newest.map(Some).ok_or_else(|| JournalError::Mark { path: dir.to_owned(), why: why() })
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let (body, sum) = std::str::from_utf8(line).ok()?.trim_end().rsplit_once(' ')?;
        let mut words = body.strip_prefix("theater-mark 1 ")?.split(' ');
        let mut digest = [0; 20];
        let position = words.next()?.parse().ok()?;
        hex::decode_to_slice(words.next()?, &mut digest).ok()?;
        let (durability, boot) = (Durability::parse(words.next()?)?, words.next()?.to_owned());
        let is_sealed = words.next() == Some("sealed");
        let mark = Self { position, digest, durability, boot, is_sealed };
        (hex::encode(sha1(body.as_bytes())) == sum).then_some(mark)
    }

    /// The mark of a journal of so many events, if it does not promise more. Without one, nothing was ever acknowledged.
    fn kept_by(events: u64, dir: &Path) -> Result<Option<Self>, JournalError> {
        let path = dir.to_owned();
        match Self::read(dir)? {
            None if events == 0 => Ok(None),
            None => Err(JournalError::Mark { path, why: "the file is missing".into() }),
            Some(mark) if mark.position <= events => Ok(Some(mark)),
            // The only way to lose the end of a journal that is no damage.
            Some(mark) if mark.durability == Durability::Relaxed && mark.boot != boot_id() => {
                log::warn!(
                    "the machine was restarted under durability \"relaxed\": the journal in {} ends at position {events}, \
                     {} events before the last that was acknowledged",
                    dir.display(),
                    mark.position - events
                );
                Ok(Some(mark))
            }
            Some(mark) => Err(JournalError::Behind { path, found: events, promised: mark.position, unsound: None }),
        }
    }
}

/// Names this boot of the machine; without a name every boot is the same, which refuses more.
fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let text: String = text.trim().chars().filter(char::is_ascii_graphic).take(64).collect();
    if text.is_empty() { "unknown".to_owned() } else { text }
}

/// One look at a whole old journal.
struct Check<'a> {
    journal: &'a OldJournal,
    mark: Option<OldMark>,
    actors: BTreeMap<i64, OldActor>,
    /// The events so far, and the digest over their hashes.
    position: u64,
    digest: [u8; 20],
    /// Deliveries whose promise was seen, by cause.
    promised: HashSet<Cause>,
    /// By sender: a request that is owed, and of which the sender's next event is no answer.
    unanswered: HashMap<i64, Cause>,
    /// Actors whose chains are not to be followed any more: it was said why.
    broken: BTreeSet<i64>,
    found: Vec<String>,
}

impl Check<'_> {
    /// An event that comes next.
    fn event(&mut self, old: &OldEvent) -> Outcome<()> {
        let OldEvent { position, key, event } = old;
        let expected = self.position + 1;
        let altered = |position| JournalError::Altered { path: self.journal.dir.clone(), position };
        if *position != expected {
            return Err(altered(expected).into());
        }
        let digest = Sha1::new().chain_update(self.digest).chain_update(event.hash.0).finalize();
        (self.position, self.digest) = (expected, digest.into());
        if self.mark.as_ref().is_some_and(|mark| mark.position == expected && mark.digest != self.digest) {
            return Err(altered(expected).into());
        }
        let Some(mut actor) = self.actors.remove(key) else {
            if self.broken.insert(*key) {
                self.found.push(format!("the chain of key {key} is of no actor in the table of actors"));
            }
            return Ok(());
        };
        if !self.broken.contains(key) {
            match check_link(actor.head.as_ref(), event) {
                Ok(head) => {
                    actor.goes_on(head, old);
                    self.state(&mut actor, event)?;
                    self.promises(&actor, old);
                }
                Err(broken) => {
                    self.broken.insert(*key);
                    self.finding(&actor, &broken.to_string());
                }
            }
        }
        self.actors.insert(*key, actor);
        Ok(())
    }

    /// Whether the states stored behind the event are those that the chain names there.
    fn state(&mut self, actor: &mut OldActor, event: &ChainEvent) -> Outcome<()> {
        let (key, sequence) = (actor.actor.key, event.sequence);
        let said = said_by(event);
        if let Some(said) = &said {
            actor.now = (said.clone(), sequence);
        }
        let (now, named_at) = actor.now.clone();
        if event.kind() == Some(EventKind::Started) && begins(event).is_none() {
            self.finding(actor, &format!("event {sequence} does not say how an incarnation began"));
        }
        if let Some(name) = large_state(event) {
            self.journal.blob(&name)?;
        }
        let fits = |state: &State| match &now {
            StateOnChain::Named(named) => NamedState::of(state.as_deref()) == *named,
            StateOnChain::Lost(_) => true,
        };
        if actor.kept.contains(&sequence)
            && !self.journal.stored_state(key, sequence + 1)?.is_some_and(|(at, state)| at == sequence && fits(&state))
        {
            let what = format!("the state kept behind event {sequence} is not the one that event {named_at} led to");
            self.finding(actor, &what);
        }
        if actor.led == Some(sequence) {
            let stored = self.journal.stored_state(key, NEWEST_SLOT)?;
            let newest = match (stored, now.clone()) {
                (Some((at, state)), _) if at == sequence && fits(&state) => NamedState::of(state.as_deref()),
                (None, StateOnChain::Named(named @ (NamedState::None | NamedState::Inline(_)))) => named,
                (Some(_) | None, _) => {
                    self.finding(actor, &format!("its newest state is not the one that event {named_at} led to"));
                    return Ok(());
                }
            };
            actor.newest = Some((newest, named_at));
        } else if let (Some((newest, home)), Some(StateOnChain::Named(named))) = (&mut actor.newest, &said) {
            if newest == named {
                *home = sequence;
            } else {
                actor.newest = None;
                self.finding(actor, &format!("its newest state is not the one that event {sequence} led to"));
            }
        }
        Ok(())
    }

    /// Whether the deliveries that are owed were promised, and not settled since.
    fn promises(&mut self, actor: &OldActor, OldEvent { position, key, event }: &OldEvent) {
        if self.journal.pending.is_empty() {
            return;
        }
        if event.kind() != Some(EventKind::Started)
            && let Some(cause) = self.unanswered.remove(key)
            && event.kind() == Some(EventKind::HostCall)
        {
            self.owed_wrongly(cause, "its sender has an answer to that request");
        }
        let cause = Cause { actor: actor.actor.id, sequence: event.sequence };
        if let Some(pending) = self.journal.pending.get(&cause) {
            self.promised.insert(cause);
            if pending.position != *position || !is_promised(&pending.owed, actor, event) {
                self.owed_wrongly(cause, "that event promises no such delivery");
            }
            if event.kind() == Some(EventKind::Intent) {
                self.unanswered.insert(*key, cause);
            }
        }
        for link in settled_by(event) {
            let cause = Cause::from(&link);
            let pending = self.journal.pending.get(&cause).filter(|pending| pending.owed.receiver == actor.actor.id);
            if pending.is_some() && self.promised.contains(&cause) {
                let what = format!("event {} of actor {} has settled it", event.sequence, actor.actor.id);
                self.owed_wrongly(cause, &what);
            }
        }
    }

    /// What can only be said behind the last event.
    fn ends(&mut self) -> Outcome<()> {
        let path = self.journal.dir.clone();
        let select = "SELECT value FROM metadata WHERE key = 'digest'";
        let stored: Option<[u8; 20]> = self.journal.rows.query_row(select, [], |row| row.get(0)).optional()?;
        if stored.unwrap_or_default() != self.digest {
            let position = self.mark.as_ref().map_or(self.position, |mark| mark.position);
            return Err(JournalError::Altered { path, position }.into());
        }
        let actors = std::mem::take(&mut self.actors);
        for actor in actors.values().filter(|actor| !self.broken.contains(&actor.actor.key)) {
            for why in self.wrong_with(actor)? {
                self.found.push(format!("actor {} ({}): {why}", actor.row.name, actor.actor.id));
            }
        }
        self.actors = actors;
        for cause in self.journal.pending.keys().filter(|cause| !self.promised.contains(cause)) {
            let Cause { actor, sequence } = cause;
            self.found
                .push(format!("the table of pending: it names event {sequence} of actor {actor}, which is not here"));
        }
        if self.mark.as_ref().is_some_and(|mark| mark.is_sealed) && self.journal.version >= 4 {
            self.seals()?;
        }
        Ok(())
    }

    fn wrong_with(&self, actor: &OldActor) -> Outcome<Vec<String>> {
        let (Some(head), Some((started, newest))) = (actor.head, &actor.newest_start) else {
            return Ok(vec!["it has no events".to_owned()]);
        };
        let mut wrong = Vec::new();
        if self.journal.version >= 4 {
            let key = actor.actor.key;
            let select =
                "SELECT (SELECT position FROM heads WHERE actor = ?1), (SELECT started FROM actors WHERE actor = ?1)";
            let (end, began): (Option<i64>, i64) =
                self.journal.rows.query_row(select, [key], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if end != Some(actor.last_position.cast_signed()) {
                wrong.push(format!(
                    "its row in the table of heads does not lead to where its chain ends: event {} at position {}",
                    head.sequence, actor.last_position
                ));
            }
            if began != started.cast_signed() {
                wrong.push(format!(
                    "its row in the table of actors says that event {began} began its newest incarnation, but event {started} did"
                ));
            }
        }
        let row = &actor.row;
        let same = [
            (newest.id == actor.actor.id, "id"),
            (newest.name == row.name, "name"),
            (newest.parent == row.parent, "parent"),
            (newest.incarnation == row.incarnation, "incarnation"),
            (*newest.manifest == *row.manifest, "manifest"),
            (newest.component == row.component, "component"),
        ];
        let differs = same.into_iter().filter(|(same, _)| !same);
        wrong.extend(
            differs.map(|(_, what)| format!("its {what} in the table of actors is not what its last start says")),
        );
        if !actor.is_alive && actor.is_listed && !actor.has_ended() {
            wrong.push(
                "its row in the table of actors says (alive) that it has ended, but its chain does not end so".into(),
            );
        }
        if actor.is_alive && !actor.is_listed {
            wrong.push("its row in the table of actors says alive, and not listed".into());
        }
        if actor.kept.last().is_some_and(|kept| *kept > head.sequence) {
            wrong.push("a state is kept behind an event that is not there".into());
        }
        let led = actor.led.filter(|led| *led <= head.sequence);
        if led != actor.led
            || led.is_none()
                && !matches!(&actor.now, (StateOnChain::Named(NamedState::None) | StateOnChain::Lost(_), _))
        {
            wrong.push(format!("its newest state is not the one that event {} led to", actor.now.1));
        }
        Ok(wrong)
    }

    /// Whether rows that no chain says again are those that were written: each has a checksum.
    fn seals(&mut self) -> Outcome<()> {
        let rows = &self.journal.rows;
        let seal = |key: &str| -> Outcome<Option<Vec<u8>>> {
            let mut select = rows.prepare_cached("SELECT value FROM metadata WHERE key = ?1")?;
            Ok(select.query_row([key], |row| row.get(0)).optional()?)
        };
        let mut select = rows.prepare("SELECT actor, alive, attempts, started, listed FROM actors")?;
        let mut found = select.query([])?;
        while let Some(row) = found.next()? {
            let mut digest = Sha1::new();
            for column in 0..5 {
                digest.update(row.get::<_, i64>(column)?.to_be_bytes());
            }
            let Some(actor) = self.actors.get(&row.get::<_, i64>(0)?) else { continue };
            digest.update(&actor.row.manifest_path);
            if seal(&format!("actor {}", actor.actor.key))?.as_deref() != Some(&*digest.finalize()) {
                let what = "its alive, attempts, started, listed or manifest_path in the table of actors is not what was written";
                self.found.push(format!("actor {} ({}): {what}", actor.row.name, actor.actor.id));
            }
        }
        let owed = self.journal.pending.iter().fold(0_u128, |sum, (cause, OldPending { position, owed })| {
            let (Cause { actor, sequence }, Owed { receiver, notice, .. }) = (cause, owed);
            let text = format!("{actor} {sequence} {receiver} {position} {}", notice.unwrap_or("-"));
            sum.wrapping_add(u128::from_be_bytes(*sha1(text.as_bytes()).first_chunk().expect("20 bytes begin with 16")))
        });
        if seal("owed")?.unwrap_or_else(|| vec![0; 16]) != owed.to_be_bytes() {
            let what = "is not what was written: a delivery that is owed was taken away, added or altered";
            self.found.push(format!("the table of pending {what}"));
        }
        Ok(())
    }

    fn finding(&mut self, actor: &OldActor, why: &str) {
        self.found.push(format!("actor {} ({}): {why}", actor.row.name, actor.actor.id));
    }

    fn owed_wrongly(&mut self, Cause { actor, sequence }: Cause, why: &str) {
        let what = "its row in the table of pending says that event";
        self.found.push(format!("actor {actor}: {what} {sequence} is owed: {why}"));
    }
}

/// Whether the event of an actor has promised this delivery. Of an event whose data was dropped nobody can tell.
fn is_promised(owed: &Owed, actor: &OldActor, event: &ChainEvent) -> bool {
    let addressed =
        |params: &[u8]| <(String, Vec<u8>)>::from_cbor(params).is_ok_and(|(to, _)| id(&to).ok() == Some(owed.receiver));
    let fits = match (owed.notice, event.kind()) {
        (Some(CLOSE), kind) => return kind == Some(EventKind::Return) && owed.receiver == actor.actor.id,
        (Some("started" | "restarted"), Some(EventKind::Started | EventKind::Return))
        | (Some("stopped"), Some(EventKind::Stopped))
        | (Some("failed"), Some(EventKind::Failed)) => actor.row.parent == Some(owed.receiver),
        (None, Some(EventKind::Intent)) => {
            Intent::from_cbor(&event.data).is_ok_and(|intent| addressed(&intent.params.0))
        }
        (None, Some(EventKind::HostCall)) => {
            HostCall::from_cbor(&event.data).is_ok_and(|sent| sent.params.is_some_and(|params| addressed(&params.0)))
        }
        _ => return false,
    };
    fits || event.dropped.is_some()
}

/// The promises that an event of their receiver settles.
fn settled_by(event: &ChainEvent) -> Vec<Link> {
    let dropped = match event.kind() {
        Some(EventKind::Call) => {
            return Call::from_cbor(&event.data).ok().and_then(|call| call.cause).into_iter().collect();
        }
        Some(EventKind::Failed) => Failed::from_cbor(&event.data).map(|failed| failed.dropped),
        Some(EventKind::Stopped) => Stopped::from_cbor(&event.data).map(|stopped| stopped.dropped),
        Some(EventKind::Started | EventKind::Intent | EventKind::HostCall | EventKind::Return | EventKind::Refused)
        | None => return Vec::new(),
    };
    dropped.unwrap_or_default().into_iter().flatten().collect()
}
