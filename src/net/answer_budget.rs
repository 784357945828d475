//! The answer budget of a listener: how many bytes of answers it may hold that their clients have not taken yet. So
//! clients that do not read cannot fill the memory. The messages that WebSocket clients have sent in part have such a
//! budget, too.
//!
//! ```text
//!     answer ──┬─ there is room ────────────────────────────────> sent, and its room is free again
//!              └─ none: the client that has taken nothing for the longest is disconnected ──┬─> room
//!                                                                                           └─> still none: refused
//! ```
//!
//! At most one answer waits for room at a time. While it waits, its bytes are held beside the budget.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::base::{clock, wait};

/// Answers up to this size need no room in the budget, because each connection has a buffer of that size anyway.
pub(crate) const SMALL_BYTES: usize = 16 * 1024;
/// How long a client has at least, after the last piece that it took, before it may be disconnected for another.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long an answer waits for room that becomes free when slow clients are disconnected.
const WAIT: Duration = Duration::from_millis(500);

/// How many bytes all answers of one listener may have together, and which clients have them.
#[derive(Debug)]
pub(crate) struct AnswerBudget {
    limit: usize,
    state: Mutex<AnswersUnderWay>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct AnswersUnderWay {
    used: usize,
    /// Whether an answer waits for room.
    is_waited_for: bool,
    /// The number of the last answer.
    next: u64,
    takers: BTreeMap<u64, Taker>,
}

/// A client that is taking an answer.
#[derive(Debug)]
struct Taker {
    socket: Arc<TcpStream>,
    bytes: usize,
    /// When it last took a piece.
    moved: Instant,
    /// It was disconnected to free its room.
    is_given_up: bool,
}

/// The budget has no room for an answer, and no client could be disconnected for it in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl AnswerBudget {
    /// A budget of `limit` bytes.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default(), freed: Condvar::new() })
    }

    /// Takes room for an answer of `bytes` to the client at `socket`. If there is no room, this waits for a moment.
    pub(crate) fn admit(self: &Arc<Self>, socket: &Arc<TcpStream>, bytes: usize) -> Result<UnderWay, NoRoom> {
        if bytes <= SMALL_BYTES {
            return Ok(UnderWay { budget: Arc::clone(self), number: None });
        }
        let mut state = self.state.lock();
        if !state.fits(bytes, self.limit) {
            if bytes > self.limit || std::mem::replace(&mut state.is_waited_for, true) {
                return Err(NoRoom);
            }
            let until = clock::now() + WAIT;
            while !state.fits(bytes, self.limit) && clock::now() < until {
                let Slowest { sockets, next } = state.give_up_the_slowest(self.limit, bytes);
                if sockets.is_empty() {
                    wait::notified_until(&self.freed, &mut state, next.unwrap_or(until).min(until));
                } else {
                    // Shutting down fails for a client that has gone already, and that frees its room as well.
                    MutexGuard::unlocked(&mut state, || sockets.iter().for_each(|it| _ = it.shutdown(Shutdown::Both)));
                }
            }
            state.is_waited_for = false;
            if !state.fits(bytes, self.limit) {
                return Err(NoRoom);
            }
        }
        Ok(UnderWay { budget: Arc::clone(self), number: Some(state.enter(socket, bytes)) })
    }
}

impl AnswersUnderWay {
    fn fits(&self, bytes: usize, limit: usize) -> bool {
        self.used + bytes <= limit
    }

    fn enter(&mut self, socket: &Arc<TcpStream>, bytes: usize) -> u64 {
        self.used += bytes;
        self.next += 1;
        let taker = Taker { socket: Arc::clone(socket), bytes, moved: clock::now(), is_given_up: false };
        self.takers.insert(self.next, taker);
        self.next
    }

    /// Gives up the clients that have taken nothing for the longest: so many that `bytes` more fit once these are gone.
    fn give_up_the_slowest(&mut self, limit: usize, bytes: usize) -> Slowest {
        let leaving = self.takers.values().filter(|taker| taker.is_given_up).map(|taker| taker.bytes).sum::<usize>();
        let (mut staying, mut sockets) = (self.used - leaving, Vec::new());
        while staying + bytes > limit {
            let others = self.takers.values_mut().filter(|taker| !taker.is_given_up);
            let Some(slowest) = others.min_by_key(|taker| taker.moved) else { break };
            if clock::since(slowest.moved) < PATIENCE {
                return Slowest { sockets, next: Some(slowest.moved + PATIENCE) };
            }
            slowest.is_given_up = true;
            staying -= slowest.bytes;
            sockets.push(Arc::clone(&slowest.socket));
        }
        Slowest { sockets, next: None }
    }
}

/// The clients that are to be disconnected.
struct Slowest {
    sockets: Vec<Arc<TcpStream>>,
    /// When the next client may be disconnected, if these are not enough.
    next: Option<Instant>,
}

/// The room of one answer in the budget. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    budget: Arc<AnswerBudget>,
    /// `None` where the answer is so small that it needs no room.
    number: Option<u64>,
}

impl UnderWay {
    /// The client has taken a piece.
    pub(crate) fn moved(&self) {
        let Some(number) = self.number else { return };
        if let Some(taker) = self.budget.state.lock().takers.get_mut(&number) {
            taker.moved = clock::now();
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut state = self.budget.state.lock();
        let gone = state.takers.remove(&number);
        state.used -= gone.map_or(0, |taker| taker.bytes);
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    const ANSWER: usize = 2 * SMALL_BYTES;

    fn pair() -> (Arc<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        (Arc::new(listener.accept().expect("a client").0), client)
    }

    #[test]
    fn the_client_that_has_taken_nothing_for_the_longest_gives_way() {
        let budget = AnswerBudget::new(2 * ANSWER);
        let ((slow, mut slow_client), (fast, _fast), (third, _third)) = (pair(), pair(), pair());
        let stalled = budget.admit(&slow, ANSWER).expect("there is room");
        let moving = budget.admit(&fast, ANSWER).expect("there is room");
        budget.state.lock().takers.get_mut(&1).expect("the first").moved -= PATIENCE;
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| budget.admit(&third, ANSWER).map(drop));
            // The connection's thread finds its socket shut, and ends.
            assert_eq!(slow_client.read(&mut [0]).expect("it was disconnected"), 0);
            moving.moved();
            drop(stalled);
            waits.join().expect("no panic").expect("there is room now");
        });
        assert_eq!(budget.state.lock().used, ANSWER);
        drop(moving);
        assert_eq!(budget.state.lock().used, 0);
    }

    #[test]
    fn an_answer_that_finds_no_room_is_refused_and_so_is_a_second_one_that_would_wait() {
        let budget = AnswerBudget::new(ANSWER);
        let ((first, _first), (second, _second)) = (pair(), pair());
        let moving = budget.admit(&first, ANSWER).expect("there is room");
        budget.state.lock().is_waited_for = true;
        assert_eq!(budget.admit(&second, ANSWER).map(drop), Err(NoRoom));
        budget.state.lock().is_waited_for = false;
        // The first answer's thread never frees its room.
        assert_eq!(budget.admit(&second, ANSWER).map(drop), Err(NoRoom));
        assert!(!budget.state.lock().is_waited_for);
        drop(moving);
        assert!(budget.admit(&second, ANSWER).is_ok());
    }

    #[test]
    fn small_answers_need_no_room_and_one_larger_than_all_is_refused_at_once() {
        let budget = AnswerBudget::new(0);
        let (socket, _client) = pair();
        budget.admit(&socket, SMALL_BYTES).expect("small").moved();
        assert_eq!(budget.admit(&socket, SMALL_BYTES + 1).map(drop), Err(NoRoom));
    }
}
