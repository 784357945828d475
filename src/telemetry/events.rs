//! The thread `telemetry`: reads the events of all actors as they are committed, makes spans of them, and puts these into the
//! queue. It waits for nobody but the next commit.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError};

use super::span::Span;
use super::transitions::{ActorNaming, Seen, Transitions};
use crate::base::seldom::Seldom;
use crate::base::{clock, wait};
use crate::chain::EventKind;
use crate::system::TheaterHandle;
use crate::theater::{EventStream, EventsOf, FollowedEvent, ReadError};

/// The kinds of events that begin and end a transition.
const KINDS: [EventKind; 5] =
    [EventKind::Call, EventKind::Return, EventKind::Refused, EventKind::Failed, EventKind::Stopped];
/// How long one wait for the next event lasts.
const STEP: Duration = Duration::from_millis(250);
/// How long what is committed is still read when the telemetry ends.
const LAST_READ: Duration = Duration::from_secs(1);
/// How many events a reader may be behind before it leaves them out.
const BEHIND: u64 = 262_144;
/// After how many events that is looked at.
const LOOK_EVERY: u64 = 1_024;

/// What the thread reads, and where it puts spans.
pub(super) struct SpanReader {
    theater: TheaterHandle,
    stream: EventStream,
    transitions: Transitions,
    queue: Sender<Span>,
    /// Disconnected once the telemetry ends.
    ending: Receiver<()>,
    read: u64,
    unreadable: Seldom,
}

impl SpanReader {
    /// A reader of everything that is committed from now on.
    pub(super) fn new(
        theater: &TheaterHandle,
        share: f64,
        queue: Sender<Span>,
        ending: Receiver<()>,
    ) -> Result<Self, ReadError> {
        let stream = theater.subscribe(EventsOf::Everybody, None, &KINDS)?;
        let (theater, transitions) = (theater.clone(), Transitions::new(share));
        Ok(Self { theater, stream, transitions, queue, ending, read: 0, unreadable: Seldom::default() })
    }

    /// The thread's body: it returns soon after the telemetry ends.
    pub(super) fn run(mut self) {
        let mut until = None;
        loop {
            if until.is_none() && self.ending.try_recv() == Err(TryRecvError::Disconnected) {
                // What was recorded before is there to be read then. Whoever ends the telemetry does not wait for a disk that hangs.
                let _ = self.theater.journal.flush();
                until = Some(clock::after(LAST_READ));
            }
            let step = if until.is_some() { Duration::ZERO } else { STEP };
            match self.stream.next_within(step) {
                Ok(Some(event)) => self.take(&event),
                Ok(None) if until.is_some() => return,
                Ok(None) => {}
                Err(why) => {
                    self.unreadable.warn(format!("telemetry: no spans are made: {why}"));
                    let _ = wait::receive_within(&self.ending, Duration::from_secs(1));
                    if until.is_some() {
                        return;
                    }
                }
            }
            if until.is_some_and(|until| clock::until(until).is_zero()) {
                return;
            }
        }
    }

    fn take(&mut self, FollowedEvent { actor, event, .. }: &FollowedEvent) {
        let theater = &self.theater;
        let named = || -> ActorNaming {
            let info = theater.actor(*actor);
            info.map(|info| (info.name, info.path.filter(|_| info.label.is_some()))).unwrap_or_default()
        };
        match self.transitions.take(*actor, event, named) {
            Seen::Nothing => {}
            // A queue that is full, or that nobody empties any more.
            Seen::Ended(span) => {
                if self.queue.try_send(*span).is_err() {
                    self.theater.telemetry.dropped.add(1);
                }
            }
            Seen::Overlooked => self.theater.telemetry.dropped.add(1),
        }
        self.read += 1;
        if self.read.is_multiple_of(LOOK_EVERY) {
            self.keep_up();
        }
    }

    /// Leaves out what there is, if that is too much.
    fn keep_up(&mut self) {
        let end = self.theater.journal.reader().ok().and_then(|reader| reader.end().ok());
        let behind = end.map_or(0, |end| end.saturating_sub(self.stream.place()));
        if behind <= BEHIND {
            return;
        }
        match self.theater.subscribe(EventsOf::Everybody, None, &KINDS) {
            Ok(stream) => {
                self.stream = stream;
                let dropped = behind + self.transitions.lose_track();
                self.theater.telemetry.dropped.add(dropped);
                log::warn!("telemetry: {behind} events are left out, because they come faster than they are read");
            }
            Err(why) => self.unreadable.warn(format!("telemetry: no spans are made: {why}")),
        }
    }
}
