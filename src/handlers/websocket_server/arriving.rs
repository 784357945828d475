//! The message that a client has sent in part: since when, how many bytes of it have come, and its room in the budget
//! that the listener's clients share. A client whose message makes no progress is disconnected when another needs its
//! room.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use crate::base::clock;
use crate::net::{AnswerBudget, NoRoom, SMALL_BYTES, UnderWay};

/// A message that arrives takes room in the budget in steps of this many bytes.
pub(super) const STEP_BYTES: usize = 64 * 1024;

/// What one client is sending.
#[derive(Debug)]
pub(super) struct Arriving {
    /// The budget for the messages of all clients together.
    budget: Arc<AnswerBudget>,
    message: Option<Unfinished>,
}

#[derive(Debug)]
struct Unfinished {
    number: u64,
    since: Instant,
    bytes: usize,
    /// How many bytes may come before it needs more room.
    room: usize,
    under_way: Option<UnderWay>,
}

impl Arriving {
    pub(super) fn new(budget: Arc<AnswerBudget>) -> Self {
        Self { budget, message: None }
    }

    /// Notes that this many bytes have come from `socket`. `unfinished` is the number of the message that has come only
    /// in part, if there is one.
    pub(super) fn came(
        &mut self,
        socket: &Arc<TcpStream>,
        bytes: usize,
        unfinished: Option<u64>,
    ) -> Result<(), NoRoom> {
        let Some(number) = unfinished else {
            self.message = None;
            return Ok(());
        };
        let same = self.message.take().filter(|message| message.number == number);
        let message = self.message.insert(same.unwrap_or_else(|| Unfinished::new(number)));
        message.bytes += bytes;
        message.under_way.iter().for_each(UnderWay::moved);
        if message.bytes > message.room {
            message.room = message.bytes.next_multiple_of(STEP_BYTES);
            // Its old room is freed first, because there may not be room for both.
            message.under_way = None;
            message.under_way = Some(self.budget.admit(socket, message.room)?);
        }
        Ok(())
    }

    /// Since when the server waits for the rest of a message.
    pub(super) fn since(&self) -> Option<Instant> {
        self.message.as_ref().map(|message| message.since)
    }

    /// The server waits for the rest of the message from now on.
    pub(super) fn begin_reading(&mut self) {
        self.message.iter_mut().for_each(|message| message.since = clock::now());
    }
}

impl Unfinished {
    fn new(number: u64) -> Self {
        Self { number, since: clock::now(), bytes: 0, room: SMALL_BYTES, under_way: None }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_message_needs_room_as_it_comes_and_gives_it_back_when_it_is_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let socket = Arc::new(client);
        let budget = AnswerBudget::new(2 * STEP_BYTES);
        let (mut one, mut two) = (Arriving::new(Arc::clone(&budget)), Arriving::new(budget));
        assert_eq!(one.came(&socket, SMALL_BYTES, Some(1)), Ok(()));
        assert_eq!(one.came(&socket, STEP_BYTES, Some(1)), Ok(()), "all there is");
        assert_eq!(two.came(&socket, SMALL_BYTES, Some(1)), Ok(()), "a small one needs none");
        assert_eq!(two.came(&socket, 1, Some(1)), Err(NoRoom));
        assert_eq!(one.came(&socket, 1, None), Ok(()));
        assert_eq!(two.came(&socket, STEP_BYTES, Some(2)), Ok(()));
        assert!(one.since().is_none() && two.since().is_some());
    }
}
