//! Journals of older versions: brought to this one by a runtime, read as they are by everyone else.
//!
//! | version | what it brought |
//! |---|---|
//! | 1 | |
//! | 2 | deliveries that are owed, attempts, data that was dropped |
//! | 3 | large parts kept once, actors that are listed no longer |
//! | 4 | chains that are walked from their end: `heads`, `previous`, `milestones` in place of an index of all events |

use rusqlite::{Connection, params};

use super::chains::seal;
use super::schema::{CHAINS, PENDING, USES, VERSION, version};
use crate::chain::EventHash;

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

/// Makes a journal of version 3 one of version 4, before [`CHAINS`].
const FROM_VERSION_3: &str = "
    ALTER TABLE events ADD COLUMN previous INTEGER;
    UPDATE events SET previous = (
        SELECT position FROM events AS before
        WHERE before.actor = events.actor AND before.sequence = events.sequence - 1);
    DROP INDEX events_by_actor;
";

/// The last event of each chain, and the event that led to its newest state.
const ENDS: &str = "
    SELECT actors.actor, position, states.sequence, hash FROM actors
    JOIN events ON events.actor = actors.actor
        AND events.sequence = (SELECT max(sequence) FROM events WHERE events.actor = actors.actor)
    LEFT JOIN states ON states.actor = actors.actor AND slot = 0";

/// What an older program wrote is brought to this version, in one commit.
pub(super) fn upgrade(connection: &Connection) -> rusqlite::Result<()> {
    let found = version(connection)?;
    if found == i64::from(VERSION) {
        return Ok(());
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
    let ends = ends(&transaction)?;
    transaction.execute_batch(FROM_VERSION_3)?;
    transaction.execute_batch(CHAINS)?;
    for (actor, position, state, hash) in ends {
        let seal = seal(actor, position, state, &hash);
        transaction.execute("INSERT INTO heads VALUES (?1, ?2, ?3, ?4)", params![actor, position, state, seal])?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

type End = (i64, i64, Option<i64>, EventHash);

fn ends(connection: &Connection) -> rusqlite::Result<Vec<End>> {
    connection
        .prepare(ENDS)?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, EventHash(row.get(3)?))))?
        .collect()
}

/// Has this connection, which only reads, see an older journal as if it were one of this version.
pub(super) fn read_as_new(connection: &Connection) -> rusqlite::Result<()> {
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
             SELECT sequence FROM main.states AS newest WHERE newest.actor = known.actor AND slot = 0) AS state,
             NULL AS seal FROM main.actors AS known;"
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
