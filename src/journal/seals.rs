//! Seals over rows that no chain says again: whether an actor is to be resumed, whether it is listed, where its manifest
//! was read, and which deliveries are owed.
//!
//! A seal is a checksum, and no secret: it tells a row that was changed, added or taken away by itself. They stand in the
//! table of metadata. The mark says that they are kept, since a program that knows no seals writes a mark without that
//! word; what it has left is sealed anew when the journal is opened.

use rusqlite::{Connection, OptionalExtension, Row, params};
use sha1::{Digest, Sha1};

use super::reader::JournalReader;
use super::schema::LANDMARKS;
use crate::chain::sha1;

type Result<T> = rusqlite::Result<T>;

/// The key of the sum over the rows of `pending`.
const OWED: &str = "owed";

/// What an actor's row says that its chain does not.
struct Unsaid {
    actor: i64,
    alive: i64,
    attempts: i64,
    started: i64,
    listed: i64,
    manifest_path: String,
}

const UNSAID: &str = "SELECT actor, alive, attempts, started, listed, manifest_path";

impl Unsaid {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            actor: row.get(0)?,
            alive: row.get(1)?,
            attempts: row.get(2)?,
            started: row.get(3)?,
            listed: row.get(4)?,
            manifest_path: row.get(5)?,
        })
    }

    fn seal(&self) -> [u8; 20] {
        let mut hasher = Sha1::new();
        for number in [self.actor, self.alive, self.attempts, self.started, self.listed] {
            hasher.update(number.to_be_bytes());
        }
        hasher.update(&self.manifest_path);
        hasher.finalize().into()
    }

    /// What no program of ours would have written, whatever its seal says.
    fn nonsense(&self, rows: &Connection) -> Result<Option<String>> {
        let Self { actor, alive, attempts, started, listed, .. } = *self;
        let flag = |value| (0..=1).contains(&value);
        for (column, is_sense) in [("alive", flag(alive)), ("listed", flag(listed)), ("attempts", attempts >= 0)] {
            if !is_sense {
                return Ok(Some(format!("its {column} in the table of actors is a number that is never written")));
            }
        }
        if alive == 1 && listed == 0 {
            return Ok(Some("its row in the table of actors says alive, and not listed".into()));
        }
        let mut select = rows.prepare_cached(&format!(
            "SELECT max(sequence) FROM events WHERE actor = ?1 AND event_type = 'started' AND {LANDMARKS}"
        ))?;
        let newest: Option<i64> = select.query_row([actor], |row| row.get(0))?;
        Ok(newest.filter(|newest| *newest != started).map(|newest| {
            format!("its row in the table of actors says that event {started} began its newest incarnation, but event {newest} did")
        }))
    }

    /// The column of which another value would fit the seal.
    fn altered(mut self, seal: [u8; 20]) -> &'static str {
        let Self { alive, attempts, .. } = self;
        self.alive = i64::from(alive == 0);
        if self.seal() == seal {
            return "alive";
        }
        self.alive = alive;
        for fewer in 0..=attempts.clamp(8, 64) {
            self.attempts = fewer;
            if self.seal() == seal {
                return "attempts";
            }
        }
        self.attempts = attempts;
        self.listed = i64::from(self.listed == 0);
        if self.seal() == seal { "listed" } else { "manifest_path, or more than one column," }
    }
}

fn key_of(actor: i64) -> String {
    format!("actor {actor}")
}

/// Seals the row of an actor as it is now.
pub(super) fn seal_actor(rows: &Connection, actor: i64) -> Result<()> {
    let mut select = rows.prepare_cached(&format!("{UNSAID} FROM actors WHERE actor = ?1"))?;
    let Some(unsaid) = select.query_row([actor], Unsaid::read).optional()? else { return Ok(()) };
    write(rows, &key_of(actor), &unsaid.seal())
}

fn write(rows: &Connection, key: &str, value: &[u8]) -> Result<()> {
    let mut insert = rows.prepare_cached("INSERT OR REPLACE INTO metadata (key, value) VALUES (?1, ?2)")?;
    insert.execute(params![key, value]).map(drop)
}

fn read<const N: usize>(rows: &Connection, key: &str) -> Result<Option<[u8; N]>> {
    let mut select = rows.prepare_cached("SELECT value FROM metadata WHERE key = ?1")?;
    let value: Option<Vec<u8>> = select.query_row([key], |row| row.get(0)).optional()?;
    Ok(value.and_then(|value| value.try_into().ok()))
}

/// A sum over the rows of `pending`, to which each adds its own part, in whatever order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwedSum(u128);

impl OwedSum {
    pub(super) const NOTHING: Self = Self(0);

    /// The sum as it was written last.
    pub(super) fn stored(rows: &Connection) -> Result<Self> {
        Ok(read(rows, OWED)?.map_or(Self::NOTHING, |bytes| Self(u128::from_be_bytes(bytes))))
    }

    fn of_table(rows: &Connection) -> Result<Self> {
        let mut sum = Self::NOTHING;
        let mut select = rows.prepare("SELECT cause_actor, cause_sequence, receiver, position, notice FROM pending")?;
        let mut found = select.query([])?;
        while let Some(row) = found.next()? {
            sum.add(&OwedRow::read(row)?);
        }
        Ok(sum)
    }

    pub(super) fn add(&mut self, row: &OwedRow) {
        self.0 = self.0.wrapping_add(row.part());
    }

    pub(super) fn take(&mut self, row: &OwedRow) {
        self.0 = self.0.wrapping_sub(row.part());
    }

    pub(super) fn write(self, rows: &Connection) -> Result<()> {
        write(rows, OWED, &self.0.to_be_bytes())
    }
}

/// A row of `pending`, as it is summed up.
pub(super) struct OwedRow {
    pub(super) cause_actor: String,
    pub(super) cause_sequence: i64,
    pub(super) receiver: String,
    pub(super) position: i64,
    pub(super) notice: Option<String>,
}

impl OwedRow {
    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            cause_actor: row.get(0)?,
            cause_sequence: row.get(1)?,
            receiver: row.get(2)?,
            position: row.get(3)?,
            notice: row.get(4)?,
        })
    }

    /// The first 16 bytes of a SHA-1 over the row.
    fn part(&self) -> u128 {
        let Self { cause_actor, cause_sequence, receiver, position, notice } = self;
        let notice = notice.as_deref().unwrap_or("-");
        let digest = sha1(format!("{cause_actor} {cause_sequence} {receiver} {position} {notice}").as_bytes());
        u128::from_be_bytes(*digest.first_chunk().expect("20 bytes begin with 16"))
    }
}

/// Seals everything as it is: what a program left that knows no seals.
pub(super) fn seal_all(rows: &Connection) -> Result<()> {
    let transaction = rows.unchecked_transaction()?;
    let mut select = transaction.prepare(&format!("{UNSAID} FROM actors"))?;
    let mut found = select.query([])?;
    while let Some(row) = found.next()? {
        let unsaid = Unsaid::read(row)?;
        write(&transaction, &key_of(unsaid.actor), &unsaid.seal())?;
    }
    drop(found);
    drop(select);
    OwedSum::of_table(&transaction)?.write(&transaction)?;
    transaction.commit()
}

impl JournalReader {
    /// The rows that are not what was sealed, each by the actor and the column.
    pub(crate) fn broken_seals(&self) -> Result<Vec<String>> {
        let rows = self.rows();
        let mut found = Vec::new();
        let mut select = rows.prepare(&format!("{UNSAID}, id, name FROM actors ORDER BY actor"))?;
        let mut actors = select.query([])?;
        while let Some(row) = actors.next()? {
            let unsaid = Unsaid::read(row)?;
            let name = format!("actor {} ({})", row.get::<_, String>(7)?, row.get::<_, String>(6)?);
            match read(rows, &key_of(unsaid.actor))? {
                Some(seal) if seal == unsaid.seal() => {
                    found.extend(unsaid.nonsense(rows)?.map(|why| format!("{name}: {why}")));
                }
                Some(seal) => {
                    found.push(format!(
                        "{name}: its {} in the table of actors is not what was written",
                        unsaid.altered(seal)
                    ));
                }
                None => found.push(format!("{name}: the seal of its row in the table of actors is missing")),
            }
        }
        if OwedSum::of_table(rows)? != OwedSum::stored(rows)? {
            let what = "is not what was written: a delivery that is owed was taken away, added or altered";
            found.push(format!("the table of pending {what}"));
        }
        Ok(found)
    }
}
