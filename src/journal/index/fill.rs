//! The thread `index`: writes the layers into the tables, and watches over the file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{io, mem};

use rusqlite::Connection;

use super::error::is_passing;
use super::{Index, IndexError, delta::Health, row_tables, tables};
use crate::base::clock::boot_id;
use crate::base::thread::{self, JoinHandle};
use crate::base::wait;

/// How long what is committed stays in memory alone, and how often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The connection by which the layers are written.
#[derive(Default)]
pub(super) struct Writing {
    /// None where the file cannot be made: then everything stays in memory.
    connection: Option<Connection>,
    /// The file's device and inode.
    identity: Option<(u64, u64)>,
    /// It was said that nothing can be written.
    is_said: bool,
}

impl Writing {
    pub(super) fn of(path: &Path, connection: Connection) -> Result<Self, String> {
        let identity = identity(path).ok_or("it was removed while it was opened")?;
        Ok(Self { connection: Some(connection), identity: Some(identity), is_said: false })
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("a file")
    }

    /// Says it once until something could be written again.
    fn say(&mut self, why: &str) {
        if !mem::replace(&mut self.is_said, true) {
            log::warn!(
                "the journal's index, index.db, cannot be written, so that it grows in memory until it can be: {why}"
            );
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    // What cannot be looked at is as good as gone.
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// The thread of an index; to be closed.
#[must_use = "a thread that nobody closes goes on"]
pub(in crate::journal) struct IndexThread {
    index: Arc<Index>,
    thread: JoinHandle,
}

impl IndexThread {
    /// Writes everything, and ends the thread.
    pub(in crate::journal) fn close(self) {
        self.index.is_closing.store(true, Ordering::Release);
        let _ = self.index.ring.try_send(());
        // One that panicked has said so.
        let _ = self.thread.join();
        self.index.finish();
    }
}

impl Index {
    /// Starts the thread that writes what is applied.
    pub(in crate::journal) fn start_thread(self: &Arc<Self>) -> io::Result<IndexThread> {
        let index = Arc::clone(self);
        if let Some(connection) = &self.writing.lock().connection
            && let Err(error) = row_tables::note_boot(connection, Some(&boot_id()))
        {
            self.distrust(&error.to_string());
        }
        let thread = thread::spawn("index", move || {
            while !index.is_closing.load(Ordering::Acquire) {
                // A ring, or the time: it does the same. The index has both ends of the channel.
                let _ = wait::receive_within(&index.rung, LOOK);
                index.look();
                index.fill();
            }
        })?;
        Ok(IndexThread { index: Arc::clone(self), thread })
    }

    fn finish(&self) {
        self.look();
        self.fill();
        let is_written = self.is_writable();
        self.cut();
        let synced = self.path.as_ref().map(|path| fs::File::open(path).and_then(|file| file.sync_all()));
        if is_written
            && matches!(synced, Some(Ok(())))
            && let Some(connection) = &self.writing.lock().connection
            && let Err(error) = row_tables::note_boot(connection, None)
        {
            log::debug!("index.db does not say that it was closed: {error}");
        }
        self.cut();
    }

    /// Whether what was to be written was written.
    pub(super) fn is_writable(&self) -> bool {
        let writing = self.writing.lock();
        writing.connection.is_some() && !writing.is_said
    }

    /// Carries the write-ahead log over, and cuts it off.
    pub(super) fn cut(&self) {
        if let Some(connection) = &self.writing.lock().connection {
            // Nobody is waited for: what is left in the log is read from there.
            let cut = connection.busy_timeout(Duration::ZERO).and_then(|()| tables::cut_off_the_log(connection));
            if let Err(error) = cut {
                log::debug!("the write-ahead log of index.db is not cut off: {error}");
            }
        }
    }

    /// Writes the layers.
    pub(super) fn fill(&self) {
        let mut writing = self.writing.lock();
        if self.is_still.load(Ordering::SeqCst) {
            return;
        }
        while let Some(connection) = &writing.connection {
            let layer = {
                let mut delta = self.delta.lock();
                if matches!(delta.health, Health::Damaged(_)) {
                    return;
                }
                // One is there already where it could not be written before.
                if delta.moving.is_none() && delta.active.upto.is_some() {
                    delta.moving = Some(Arc::new(mem::take(&mut delta.active)));
                }
                delta.moving.clone()
            };
            let Some(layer) = layer else { return };
            match tables::write(connection, &layer) {
                Ok(()) => {
                    writing.is_said = false;
                    let mut delta = self.delta.lock();
                    delta.moving.take_if(|moving| Arc::ptr_eq(moving, &layer));
                    if delta.active.rows() < super::MANY_ROWS {
                        return;
                    }
                }
                Err(error) if is_passing(&error) => return writing.say(&error.to_string()),
                Err(error) => return self.distrust(&error.to_string()),
            }
        }
    }

    /// Removes what is there, and begins with empty tables.
    pub(super) fn begin_anew(&self) -> Result<(), IndexError> {
        let (mut writing, mut reading) = (self.writing.lock(), self.reading.lock());
        // A connection that is closed removes a log of its name: the old ones go before the new ones come.
        *writing = Writing::default();
        reading.connection = tables::nothing().map_err(IndexError::of_reading)?;
        (reading.is_frozen, reading.is_held) = (false, false);
        let Some(path) = &self.path else { return Ok(()) };
        match tables::make(path).and_then(|made| Self::both(path, made)) {
            Ok((made, beside)) => (*writing, reading.connection) = (made, beside),
            Err(why) => writing.say(&why),
        }
        Ok(())
    }

    fn both(path: &Path, made: Connection) -> Result<(Writing, Connection), String> {
        let beside = tables::open_beside(path).map_err(|error| error.to_string())?;
        Ok((Writing::of(path, made)?, beside))
    }

    /// Sees whether the file is still the one that was opened, and gives it its name again where it is not.
    pub(super) fn look(&self) {
        let Some(path) = &self.path else { return };
        let mut writing = self.writing.lock();
        let Some(connection) = &writing.connection else { return self.make_late(path, &mut writing) };
        if identity(path) == writing.identity {
            return;
        }
        let copy = path.with_extension("db-new");
        let copied = tables::remove(&copy).and_then(|()| {
            // What has its name now is none of ours.
            tables::copy(connection, &copy).map_err(|error| error.to_string())?;
            tables::remove(path)
        });
        if let Err(why) = copied {
            // The file without a name serves as well until that can be done.
            return writing.say(&format!("it was removed or replaced, and cannot be written anew: {why}"));
        }
        log::warn!(
            "the journal's index, index.db, was removed or replaced while the runtime is at work; it is written anew"
        );
        let mut reading = self.reading.lock();
        let swapped = tables::nothing().map_err(|error| error.to_string()).and_then(|nothing| {
            *writing = Writing::default();
            reading.connection = nothing;
            fs::rename(&copy, path).map_err(|error| error.to_string())?;
            Self::both(path, tables::open(path)?)
        });
        match swapped {
            Ok((written, beside)) => (*writing, reading.connection) = (written, beside),
            Err(why) => self.distrust(&why),
        }
    }

    /// Makes the file that could not be made before; all that belongs into it is in memory.
    fn make_late(&self, path: &Path, writing: &mut Writing) {
        if !matches!(self.delta.lock().health, Health::Sound) {
            return;
        }
        match tables::make(path).and_then(|made| Self::both(path, made)) {
            Ok((made, beside)) => {
                *writing = made;
                self.reading.lock().connection = beside;
            }
            Err(why) => writing.say(&why),
        }
    }
}
