//! Journals of older versions: brought to this one by a runtime, read as they are by everyone else.
//!
//! | version | what it brought |
//! |---|---|
//! | 1 | |
//! | 2 | deliveries that are owed, attempts, data that was dropped |
//! | 3 | large parts kept once, actors that are listed no longer |
//! | 4 | chains that are walked from their end: `heads`, `previous`, milestones and landmarks in place of an index of all |

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::chains::{ChainEnd, EventPlace, capped};
use super::reader::{unfit, unsigned};
use super::schema::{CHAINS, PENDING, USES, VERSION, version};
use crate::chain::EventHash;

type Result<T> = rusqlite::Result<T>;

/// Makes a journal of version 1 one of version 2, with [`PENDING`].
const FROM_VERSION_1: &str = "
    ALTER TABLE actors ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE events ADD COLUMN dropped INTEGER;
";

/// Makes a journal of version 2 one of version 3, with [`USES`].
const FROM_VERSION_2: &str = "
    ALTER TABLE actors ADD COLUMN started INTEGER NOT NULL DEFAULT 0;
    UPDATE actors SET started = (
        SELECT ifnull(max(sequence), 0) FROM events WHERE events.actor = actors.actor AND event_type = 'started');
    ALTER TABLE actors ADD COLUMN listed INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE states ADD COLUMN sha1 BLOB;
    INSERT INTO uses SELECT sha1, 0 FROM blobs;
";

/// What an older program wrote is brought to this version, in one commit. Whether anything was.
pub(super) fn upgrade(connection: &Connection) -> Result<bool> {
    let found = version(connection)?;
    if found == i64::from(VERSION) {
        return Ok(false);
    }
    log::info!("the journal has format version {found}, and is brought to version {VERSION}");
    let transaction = connection.unchecked_transaction()?;
    if found < 2 {
        transaction.execute_batch(FROM_VERSION_1)?;
        transaction.execute_batch(PENDING)?;
    }
    if found < 3 {
        transaction.execute_batch(USES)?;
        transaction.execute_batch(FROM_VERSION_2)?;
    }
    transaction.execute_batch("ALTER TABLE events ADD COLUMN previous INTEGER; DROP INDEX events_by_actor;")?;
    let ends = link_chains(&transaction)?;
    transaction.execute_batch(CHAINS)?;
    let mut insert =
        transaction.prepare("INSERT INTO heads (actor, position, state, dropped, seal) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (actor, end) in ends {
        let state = end.state.map(|led| capped(led.position));
        insert.execute(params![actor, capped(end.last.position), state, end.dropped.map(capped), end.seal(actor)])?;
    }
    drop(insert);
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(true)
}

/// Has each event say where the one before it on its chain stands; where the chains end. It does not rely on the index, which
/// nothing has checked.
fn link_chains(rows: &Connection) -> Result<HashMap<i64, ChainEnd>> {
    let led: HashMap<i64, u64> = rows
        .prepare("SELECT actor, sequence FROM states WHERE slot = 0")?
        .query_map([], |row| Ok((row.get(0)?, unsigned(row, 1)?)))?
        .collect::<Result<_>>()?;
    let mut select = rows.prepare(
        "SELECT actor, sequence, position, hash, dropped FROM events WHERE position > ?1 ORDER BY position LIMIT 4096",
    )?;
    let mut update = rows.prepare("UPDATE events SET previous = ?2 WHERE position = ?1")?;
    let mut ends: HashMap<i64, ChainEnd> = HashMap::new();
    let mut after = 0;
    loop {
        let page: Vec<(i64, EventPlace, [u8; 20], Option<i64>)> = select
            .query_map([capped(after)], |row| {
                let place = EventPlace { sequence: unsigned(row, 1)?, position: unsigned(row, 2)? };
                Ok((row.get(0)?, place, row.get(3)?, row.get(4)?))
            })?
            .collect::<Result<_>>()?;
        let Some((_, last, ..)) = page.last() else { return Ok(ends) };
        after = last.position;
        for (actor, place, hash, dropped) in page {
            let before = ends.get(&actor);
            if before.map_or(0, |end| end.last.sequence + 1) != place.sequence {
                let what = "does not follow the one before it on its chain";
                return Err(unfit(format!("event {} of key {actor} {what}", place.sequence)));
            }
            let previous = before.map(|end| end.last.position);
            let state =
                if led.get(&actor) == Some(&place.sequence) { Some(place) } else { before.and_then(|end| end.state) };
            let dropped = if dropped.is_some() { Some(place.sequence) } else { before.and_then(|end| end.dropped) };
            ends.insert(actor, ChainEnd { last: place, hash: EventHash(hash), state, dropped });
            if let Some(previous) = previous {
                update.execute([capped(place.position), capped(previous)])?;
            }
        }
    }
}

/// Has this connection, which only reads, see an older journal as if it were one of this version.
pub(super) fn read_as_new(connection: &Connection) -> Result<()> {
    let found = version(connection)?;
    if found == i64::from(VERSION) {
        return Ok(());
    }
    connection.pragma_update(None, "temp_store", "memory")?;
    let dropped = if found < 2 { "NULL AS dropped" } else { "dropped" };
    connection.execute_batch(&format!(
        "CREATE TEMP VIEW events AS SELECT position, actor, sequence, (
             SELECT before.position FROM main.events AS before
             WHERE before.actor = event.actor AND before.sequence = event.sequence - 1) AS previous,
             timestamp, event_type, hash, data, {dropped} FROM main.events AS event;
         CREATE TEMP VIEW heads AS SELECT actor, (
             SELECT event.position FROM main.events AS event WHERE event.actor = known.actor
             ORDER BY event.sequence DESC LIMIT 1) AS position, (
             SELECT event.position FROM main.states AS newest
             JOIN main.events AS event ON event.actor = newest.actor AND event.sequence = newest.sequence
             WHERE newest.actor = known.actor AND slot = 0) AS state,
             NULL AS dropped, NULL AS seal FROM main.actors AS known;"
    ))?;
    if found < 3 {
        connection.execute_batch("CREATE TEMP VIEW states AS SELECT *, NULL AS sha1 FROM main.states")?;
    }
    if found < 2 {
        connection.execute_batch(
            "CREATE TEMP TABLE pending (cause_actor TEXT, cause_sequence INTEGER, receiver TEXT, position INTEGER, notice TEXT)",
        )?;
    }
    Ok(())
}
