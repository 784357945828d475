//! The threads of a listener's connections: one for each, with a number that its name ends in, and never more than a
//! bound.
//!
//! A thread that ends gives its number back and wakes the acceptor, however it ends: the guard that does this is
//! dropped with the thread's body. The acceptor then joins it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::base::seldom::Seldom;
use crate::base::thread::{self, JoinHandle, NAME_BYTES};

use super::wakeup::Wakeup;

/// The connections that have a thread. `C` is what the acceptor keeps of each.
pub(crate) struct ConnectionThreads<C> {
    /// The listener's name, which the names of the threads begin with.
    name: String,
    /// What the names of the threads end in, after the number.
    suffix: &'static str,
    most: usize,
    running: BTreeMap<usize, Running<C>>,
    /// The highest number that was ever given, and those below it that were given back.
    highest: usize,
    free: BTreeSet<usize>,
    leave: Sender<usize>,
    left: Receiver<usize>,
    wakeup: Arc<Wakeup>,
    /// Limits how often the log says that the system gives no more threads.
    shortages: Seldom,
}

struct Running<C> {
    thread: JoinHandle,
    connection: C,
}

impl<C> ConnectionThreads<C> {
    /// At most `most` threads called `name-NUMBERsuffix`; `wakeup` wakes the thread that calls
    /// [`collect_ended`](Self::collect_ended).
    pub(super) fn new(name: &str, suffix: &'static str, most: usize, wakeup: Arc<Wakeup>) -> Self {
        let (leave, left) = unbounded();
        Self {
            name: name.to_owned(),
            suffix,
            most,
            running: BTreeMap::new(),
            highest: 0,
            free: BTreeSet::new(),
            leave,
            left,
            wakeup,
            shortages: Seldom::default(),
        }
    }

    /// How many numbers are taken: by threads that run, or that have ended and were not joined yet.
    fn taken(&self) -> usize {
        self.highest - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.taken() == 0
    }

    /// How many more may be started.
    pub(crate) fn room(&self) -> usize {
        self.most.saturating_sub(self.taken())
    }

    /// Starts the thread of the client at `peer`, which runs `body`; `body` is told the thread's number. If the
    /// system gives no thread, that is logged, and its error comes back with `connection`.
    pub(crate) fn start(
        &mut self,
        peer: impl Display,
        connection: C,
        body: impl FnOnce(usize) + Send + 'static,
    ) -> Result<(), (io::Error, C)> {
        assert!(self.room() > 0, "a thread is started only where there is room for it");
        let number = self.free.pop_first().unwrap_or_else(|| {
            self.highest += 1;
            self.highest
        });
        let leaving = Leaving { number, leave: self.leave.clone(), wakeup: Arc::clone(&self.wakeup) };
        let started = thread::spawn(&numbered(&self.name, number, self.suffix), move || {
            let _leaving = leaving;
            body(number);
        });
        match started {
            Ok(thread) => _ = self.running.insert(number, Running { thread, connection }),
            // The number comes back as that of a thread that has ended, because the guard was dropped with the body.
            Err(error) => {
                self.shortages.warn(format_args!("no thread for the connection of {peer}: {error}"));
                return Err((error, connection));
            }
        }
        Ok(())
    }

    /// Joins the threads that have ended, and hands `ended` what was kept of their connections.
    pub(super) fn collect_ended(&mut self, mut ended: impl FnMut(C)) {
        while let Ok(number) = self.left.try_recv() {
            if let Some(Running { thread, connection }) = self.running.remove(&number) {
                // A panic was logged by the thread itself, and is no concern of other connections.
                let _ = thread.join();
                ended(connection);
            }
            self.free.insert(number);
        }
    }

    /// The connections with their numbers, in ascending order of the numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &C)> {
        self.running.iter().map(|(number, running)| (*number, &running.connection))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut C> {
        self.running.values_mut().map(|running| &mut running.connection)
    }

    pub(crate) fn get(&self, number: usize) -> Option<&C> {
        self.running.get(&number).map(|running| &running.connection)
    }
}

/// Gives a thread's number back when it is dropped, at the end of the thread.
struct Leaving {
    number: usize,
    leave: Sender<usize>,
    wakeup: Arc<Wakeup>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // The acceptor may have gone already, by a panic; then nobody waits for the number.
        let _ = self.leave.send(self.number);
        self.wakeup.wake();
    }
}

/// `http-8080-2`: the listener's name, which is cut where the number and the suffix would not fit after it.
fn numbered(name: &str, number: usize, suffix: &str) -> String {
    let end = format!("-{number}{suffix}");
    let room = NAME_BYTES.saturating_sub(end.len());
    format!("{}{end}", &name[..name.floor_char_boundary(room)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_connection_always_fits_its_threads_name() {
        assert_eq!(numbered("http-8080", 2, ""), "http-8080-2");
        assert_eq!(numbered("http-65535", 16_384, ""), "http-6553-16384");
        assert_eq!(numbered("mgmt", 2, "r"), "mgmt-2r");
        assert_eq!(numbered("http-åååååååååå", 256, "").len(), 15);
    }

    #[test]
    fn a_number_is_free_again_once_its_thread_has_ended_and_the_lowest_free_one_is_taken() {
        let wakeup = Wakeup::new().expect("a descriptor");
        let mut threads = ConnectionThreads::new("test", "", 2, wakeup);
        let (to, go_on) = crossbeam_channel::unbounded::<()>();
        for expected in [1, 2] {
            let go_on = go_on.clone();
            threads
                .start("nobody", expected, move |number| {
                    assert_eq!(number, expected);
                    let _ = go_on.recv();
                })
                .expect("a thread");
        }
        assert_eq!((threads.room(), threads.get(2)), (0, Some(&2)));
        drop(to);
        let mut ended = Vec::new();
        while !threads.is_empty() {
            threads.collect_ended(|connection| ended.push(connection));
            std::thread::yield_now();
        }
        ended.sort_unstable();
        assert_eq!((ended, threads.room()), (vec![1, 2], 2));
        threads.start("nobody", 1, |number| assert_eq!(number, 1)).expect("a thread");
    }
}
