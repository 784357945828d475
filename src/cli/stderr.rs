//! Writing to standard error without depending on its reader. Nothing here panics because a write fails, and neither the
//! log nor the last words of a process wait for long for a reader that has stopped reading.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::Level;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::json_lines::LogObject;
use crate::base::clock;

/// Whether everything that is said is lines of JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// From now on everything that is said is lines of JSON.
pub(super) fn speak_json() {
    IS_JSON.store(true, Ordering::Relaxed);
}

/// A text of the process itself, as it is said.
fn worded(level: Level, text: &str) -> Cow<'_, str> {
    if IS_JSON.load(Ordering::Relaxed) {
        let thread = std::thread::current();
        LogObject::new(level, thread.name().unwrap_or("main"), "theater", text).line().into()
    } else {
        text.into()
    }
}

/// How long the log waits for a reader that does not read. After that, lines are dropped until the reader reads again.
const PATIENCE: Duration = Duration::from_secs(1);
/// The bytes that a pipe takes without waiting if it has any room (PIPE_BUF).
const AT_ONCE_BYTES: usize = 4096;

/// Writes a line. Unlike `eprintln!`, it does not panic if the reader has gone.
pub(super) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{}", worded(Level::Warn, text));
}

/// Writes a line before the process ends. If the reader does not read in time, the line is given up: the process has to
/// end. It takes no lock, because a thread that waits for the same reader might hold it.
pub(super) fn last_words(text: &str) {
    write_within(format!("{}\n", worded(Level::Error, text)).as_bytes(), PATIENCE);
}

/// Like [`last_words`], but does not wait at all.
pub(super) fn hasty_words(text: &str) {
    write_within(format!("{}\n", worded(Level::Warn, text)).as_bytes(), Duration::ZERO);
}

/// The sink of the log. Every write is one whole line, and succeeds even if the line is lost.
pub(super) struct Log {
    write: fn(&[u8], Duration) -> usize,
    /// Lines that were dropped since a line was last written whole.
    lost: u64,
    /// Whether the last line was written without its end.
    torn: bool,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { write: write_within, lost: 0, torn: false }
    }

    fn put(&mut self, line: &[u8], patience: Duration) -> bool {
        let written = (self.write)(line, patience);
        self.torn = if written == 0 { self.torn } else { written < line.len() };
        written == line.len()
    }

    /// Writes without waiting once lines were dropped, until the number of dropped lines could be written.
    fn line(&mut self, line: &[u8]) {
        if self.lost > 0 {
            let end = if self.torn { "\n" } else { "" };
            let missing = format!("{} lines of the log are missing here: they were not read in time", self.lost);
            let said = format!("{end}{}\n", worded(Level::Warn, &missing));
            if !self.put(said.as_bytes(), Duration::ZERO) {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        if !self.put(line, PATIENCE) {
            self.lost += 1;
        }
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes as many bytes as the reader of standard error takes within `patience`, and returns their number.
fn write_within(bytes: &[u8], patience: Duration) -> usize {
    let (stderr, deadline) = (io::stderr(), clock::now() + patience);
    let mut written = 0;
    while let Some(piece) = bytes[written..].chunks(AT_ONCE_BYTES).next() {
        let left = clock::until(deadline);
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&left)) {
            Ok(1..) => {}
            Err(Errno::INTR) => continue,
            Ok(0) | Err(_) => break,
        }
        match rustix::io::write(&stderr, piece) {
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A reader that takes a given number of bytes, and the bytes that it got.
    static READER: Mutex<(usize, Vec<u8>)> = Mutex::new((0, Vec::new()));

    fn read(bytes: &[u8], _: Duration) -> usize {
        let mut reader = READER.lock().expect("no panic");
        let taken = bytes.len().min(reader.0);
        reader.0 -= taken;
        reader.1.extend(&bytes[..taken]);
        taken
    }

    #[test]
    fn lines_that_were_not_read_are_counted_and_said_once_the_reader_reads_again() {
        let mut log = Log { write: read, ..Log::new() };
        READER.lock().expect("no panic").0 = 8;
        for line in ["one\n", "two of it\n", "three\n"] {
            log.write_all(line.as_bytes()).expect("it never fails");
        }
        READER.lock().expect("no panic").0 = usize::MAX;
        log.write_all(b"four\n").expect("it never fails");
        log.write_all(b"five\n").expect("it never fails");
        let said = "one\ntwo \n2 lines of the log are missing here: they were not read in time\nfour\nfive\n";
        assert_eq!(String::from_utf8_lossy(&READER.lock().expect("no panic").1), said);
    }
}
