//! The timers of all actors, and the one thread that wakes an actor when one of its timers is due.
//!
//! Only the actor's own thread sets, cancels and takes its timers, between two transitions or in a host call. So a timer
//! that was cancelled or replaced is gone before anything could fire it. The thread `timers` knows for each actor no
//! more than the moment at which the actor has to look: it marks the actor's timers as rung and unparks the actor. The
//! actor then takes the timers that are due, one at a time and in turn with its mail, so that they starve no mail.
//!
//! **No ring is lost.** The actor clears the mark before it looks for a due timer, and sets the next alarm after it has
//! looked. Every ring of that alarm, and of a later one, comes after the look. A ring that comes earlier belongs to an
//! alarm from before, and leads to one look more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::mailbox::Mailbox;
use super::schedule::{DueTime, MissedRounds, Schedule};
use crate::base::clock::{self, Moment};
use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::base::wait;
use crate::chain::Head;

/// While an alarm is set, the thread looks at the clocks at least as often as this: the wall clock may have been set, and
/// the clock that the thread waits by stands still while the machine is suspended.
const LOOK_AGAIN_MS: u64 = 1_000;

/// A timer that is pending.
#[derive(Clone, Debug)]
pub(crate) struct Timer {
    pub(crate) message: Arc<[u8]>,
    /// When it is due next.
    pub(crate) due: DueTime,
    pub(crate) schedule: Schedule,
    /// The sequence of the host call that set it.
    pub(crate) of: u64,
    /// Which firing comes next, counted from 1.
    pub(crate) round: u64,
    /// The actor's event that promises that firing: the host call that set the timer, or the call of the round before.
    pub(crate) promised_by: Head,
}

/// A timer whose time has come. It is pending until its call is recorded: then the actor tells [`Timers::taken`].
#[derive(Clone, Debug)]
pub(crate) struct DueTimer {
    pub(crate) key: Arc<str>,
    pub(crate) timer: Timer,
    /// When the next round is due, if there is one.
    pub(crate) next: Option<DueTime>,
}

impl DueTimer {
    /// The timer as it is pending after the call `promised_by` of this round, if there is another.
    fn next_round(self, promised_by: Head) -> Option<(Arc<str>, Timer)> {
        let Self { key, timer, next } = self;
        next.map(|due| (key, Timer { due, round: timer.round + 1, promised_by, ..timer }))
    }
}

/// The timers of one actor.
#[derive(Debug)]
pub(crate) struct ActorTimers {
    actor: ActorId,
    held: Mutex<Held>,
    /// A timer may be due.
    is_rung: AtomicBool,
    /// Where the actor is woken.
    owner: Mutex<Option<Mailbox>>,
}

#[derive(Debug, Default)]
struct Held {
    timers: HashMap<Arc<str>, Timer>,
    /// The timers that are due by the boot clock, and those that are due by the wall clock.
    by_boot: BTreeMap<Place, Arc<str>>,
    by_wall: BTreeMap<Place, Arc<str>>,
    /// The bytes of all keys and messages.
    bytes: u64,
    /// The alarm that was set last.
    alarm: Alarm,
}

/// Where a timer stands among those of its clock: its time by that clock, its recorded time, and the sequence of the event that
/// set it.
type Place = (u64, u64, u64);

/// When an actor has to look at its timers: by the boot clock, by the wall clock, or whichever comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Alarm {
    boot_ms: Option<u64>,
    unix_ms: Option<u64>,
}

impl Alarm {
    /// Whether it rings too late for `other`.
    fn misses(self, other: Self) -> bool {
        let is_late = |set: Option<u64>, wanted: Option<u64>| match (set, wanted) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(set), Some(wanted)) => wanted < set,
        };
        is_late(self.boot_ms, other.boot_ms) || is_late(self.unix_ms, other.unix_ms)
    }

    fn has_come(self, now: Moment) -> bool {
        self.boot_ms.is_some_and(|boot_ms| boot_ms <= now.boot_ms)
            || self.unix_ms.is_some_and(|unix_ms| unix_ms <= now.unix_ms)
    }
}

/// Why a timer cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoTimer {
    #[error("a key of {size} bytes: the limit timer_key_bytes is {limit}")]
    LongKey { size: usize, limit: u64 },
    #[error("{limit} timers are pending already: the limit timers is {limit}; cancel one, or raise the limit")]
    TooMany { limit: u64 },
    #[error("the keys and messages of all pending timers would have {bytes} bytes: the limit timer_bytes is {limit}")]
    TooLarge { bytes: u64, limit: u64 },
}

impl ActorTimers {
    fn new(actor: ActorId) -> Self {
        let (held, owner) = (Mutex::default(), Mutex::default());
        // Nobody has looked yet.
        Self { actor, held, is_rung: AtomicBool::new(true), owner }
    }

    /// From here on, the thread that serves `owner` takes these timers. That thread looks at them once in any case.
    pub(crate) fn serve_by(&self, owner: Mailbox) {
        *self.owner.lock() = Some(owner);
        self.is_rung.store(true, Ordering::SeqCst);
    }

    /// Whether a timer may be due.
    pub(crate) fn is_rung(&self) -> bool {
        self.is_rung.load(Ordering::SeqCst)
    }

    /// Has the actor look at its timers. `true` if it was asleep: then the caller has it woken.
    fn ring(&self) -> bool {
        self.is_rung.store(true, Ordering::SeqCst);
        let owner = self.owner.lock().clone();
        owner.is_some_and(|owner| owner.knock())
    }

    /// Whether there is room for a timer; if so, the event whose promise ends with it, if a timer of this key is pending.
    pub(crate) fn room_for(&self, key: &str, message: &[u8], limits: &Limits) -> Result<Option<u64>, NoTimer> {
        let held = self.held.lock();
        let replaced = held.timers.get(key);
        if replaced.is_none() && held.timers.len() as u64 >= limits.timers {
            return Err(NoTimer::TooMany { limit: limits.timers });
        }
        let freed = replaced.map_or(0, |timer| bytes_of(key, timer));
        let bytes = (held.bytes - freed).saturating_add((key.len() + message.len()) as u64);
        if bytes > limits.timer_bytes {
            return Err(NoTimer::TooLarge { bytes, limit: limits.timer_bytes });
        }
        Ok(replaced.map(|timer| timer.promised_by.sequence))
    }

    /// The event that promises the next firing of the timer with this key, if one is pending.
    pub(crate) fn promised_by(&self, key: &str) -> Option<u64> {
        self.held.lock().timers.get(key).map(|timer| timer.promised_by.sequence)
    }

    /// Cancels a timer.
    pub(crate) fn remove(&self, key: &str) {
        self.held.lock().remove(key);
    }

    /// Every pending timer, in the order in which they are due.
    pub(crate) fn list(&self) -> Vec<(Arc<str>, Timer)> {
        let held = self.held.lock();
        let mut list: Vec<_> = held.timers.iter().map(|(key, timer)| (Arc::clone(key), timer.clone())).collect();
        drop(held);
        list.sort_by_key(|(_, timer)| (timer.due.unix_ms, timer.of));
        list
    }

    /// The timer that is due first, if one is due at `now`.
    fn first_due(&self, now: Moment, missed: MissedRounds) -> Option<DueTimer> {
        let held = self.held.lock();
        let key = held.first_due(now)?;
        let timer = held.timers.get(&key).cloned()?;
        drop(held);
        let next = timer.schedule.next(timer.due, now, missed);
        Some(DueTimer { key, timer, next })
    }
}

fn bytes_of(key: &str, timer: &Timer) -> u64 {
    (key.len() + timer.message.len()) as u64
}

impl Held {
    fn put(&mut self, key: Arc<str>, timer: Timer) {
        self.remove(&key);
        self.bytes += bytes_of(&key, &timer);
        let (by, at) = self.place(&timer);
        by.insert(at, Arc::clone(&key));
        self.timers.insert(key, timer);
    }

    fn remove(&mut self, key: &str) -> Option<Timer> {
        let timer = self.timers.remove(key)?;
        self.bytes -= bytes_of(key, &timer);
        let (by, at) = self.place(&timer);
        by.remove(&at);
        Some(timer)
    }

    /// Where a timer stands among those of its clock.
    fn place(&mut self, timer: &Timer) -> (&mut BTreeMap<Place, Arc<str>>, Place) {
        let DueTime { unix_ms, boot_ms } = timer.due;
        match boot_ms {
            Some(boot_ms) => (&mut self.by_boot, (boot_ms, unix_ms, timer.of)),
            None => (&mut self.by_wall, (unix_ms, unix_ms, timer.of)),
        }
    }

    /// The key of the timer that is due first, if its time has come.
    fn first_due(&self, now: Moment) -> Option<Arc<str>> {
        let first = |by: &BTreeMap<Place, Arc<str>>| {
            let key = by.values().next()?;
            let timer = self.timers.get(key).filter(|timer| timer.due.has_come(now))?;
            Some((timer.due.unix_ms, timer.of, Arc::clone(key)))
        };
        first(&self.by_boot).into_iter().chain(first(&self.by_wall)).min().map(|(_, _, key)| key)
    }

    fn next(&self) -> Alarm {
        let first = |by: &BTreeMap<Place, Arc<str>>| by.keys().next().map(|(at, ..)| *at);
        Alarm { boot_ms: first(&self.by_boot), unix_ms: first(&self.by_wall) }
    }
}

/// The timers of all actors of a runtime.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    alarms: Mutex<Alarms>,
    /// The first alarm has changed, or the thread is to end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Alarms {
    actors: HashMap<ActorId, Arc<ActorTimers>>,
    set: HashMap<ActorId, Alarm>,
    by_boot: BTreeSet<(u64, ActorId)>,
    by_wall: BTreeSet<(u64, ActorId)>,
    is_over: bool,
}

impl Timers {
    /// The timers of an actor.
    pub(crate) fn of(&self, actor: ActorId) -> Arc<ActorTimers> {
        let mut alarms = self.alarms.lock();
        Arc::clone(alarms.actors.entry(actor).or_insert_with(|| Arc::new(ActorTimers::new(actor))))
    }

    /// The timers of an actor that has set one, or may set one.
    fn known(&self, actor: ActorId) -> Option<Arc<ActorTimers>> {
        self.alarms.lock().actors.get(&actor).cloned()
    }

    /// Adds a timer, or replaces the one of its key.
    pub(crate) fn put(&self, timers: &ActorTimers, key: Arc<str>, timer: Timer) {
        let mut held = timers.held.lock();
        held.put(key, timer);
        let next = held.next();
        let is_late = held.alarm.misses(next);
        if is_late {
            held.alarm = next;
        }
        drop(held);
        if is_late {
            self.set_alarm(timers.actor, next);
        }
    }

    /// Puts back a timer that an earlier process left.
    pub(crate) fn restore(&self, actor: ActorId, key: Arc<str>, timer: Timer) {
        // The actor does not run yet. It looks at all its timers when it begins to serve.
        self.of(actor).held.lock().put(key, timer);
    }

    /// The timer of an actor that is due first. If none is due, the actor is woken when one is.
    pub(crate) fn first_due(&self, timers: &ActorTimers, missed: MissedRounds) -> Option<DueTimer> {
        timers.is_rung.store(false, Ordering::SeqCst);
        let due = timers.first_due(clock::moment(), missed);
        if due.is_some() {
            // There may be another one.
            timers.is_rung.store(true, Ordering::SeqCst);
            return due;
        }
        let mut held = timers.held.lock();
        let next = held.next();
        held.alarm = next;
        drop(held);
        self.set_alarm(timers.actor, next);
        None
    }

    /// Notes that the event `call` is the call of a round: it is not pending any more, and the next one is, if there is one.
    pub(crate) fn taken(&self, timers: &ActorTimers, due: DueTimer, call: Head) {
        let key = Arc::clone(&due.key);
        match due.next_round(call) {
            Some((key, next)) => self.put(timers, key, next),
            None => timers.remove(&key),
        }
    }

    /// Has the actor look at its timers again after a while, and not before.
    pub(crate) fn look_again(&self, timers: &ActorTimers) {
        timers.is_rung.store(false, Ordering::SeqCst);
        let alarm = Alarm { boot_ms: Some(clock::boot_ms() + LOOK_AGAIN_MS), unix_ms: None };
        timers.held.lock().alarm = alarm;
        self.set_alarm(timers.actor, alarm);
    }

    /// The events that promise an actor's pending timers.
    pub(crate) fn promised_by(&self, actor: ActorId) -> Vec<u64> {
        let Some(timers) = self.known(actor) else { return Vec::new() };
        let held = timers.held.lock();
        let mut promised: Vec<u64> = held.timers.values().map(|timer| timer.promised_by.sequence).collect();
        drop(held);
        promised.sort_unstable();
        promised
    }

    /// Cancels all timers of an actor, which then serves no timers until it asks for them anew.
    pub(crate) fn clear(&self, actor: ActorId) {
        let mut alarms = self.alarms.lock();
        alarms.unset(actor);
        let given_up = alarms.actors.remove(&actor);
        drop(alarms);
        // There may be a million of them.
        drop(given_up);
    }

    fn set_alarm(&self, actor: ActorId, alarm: Alarm) {
        let mut alarms = self.alarms.lock();
        let first = alarms.first();
        alarms.set(actor, alarm);
        let is_earlier = first.misses(alarms.first());
        drop(alarms);
        if is_earlier {
            self.changed.notify_one();
        }
    }

    /// Sets the alarm of an actor that is asleep, and that has not looked at its timers itself.
    pub(crate) fn sleep_until_due(&self, actor: ActorId, owner: Mailbox) {
        let Some(timers) = self.known(actor) else { return };
        *timers.owner.lock() = Some(owner);
        let mut held = timers.held.lock();
        let next = held.next();
        held.alarm = next;
        drop(held);
        self.set_alarm(actor, next);
    }

    /// The body of the thread `timers`, until [`Timers::end`]. `wake` wakes an actor that was asleep.
    pub(crate) fn run(&self, wake: &dyn Fn(ActorId)) {
        let mut alarms = self.alarms.lock();
        while !alarms.is_over {
            let now = clock::moment();
            let due = alarms.take_due(now);
            if due.is_empty() {
                match alarms.wait_ms(now) {
                    None => wait::notified(&self.changed, &mut alarms),
                    Some(ms) => {
                        let until = clock::after(Duration::from_millis(ms));
                        _ = wait::notified_until(&self.changed, &mut alarms, until);
                    }
                }
                continue;
            }
            drop(alarms);
            due.iter().filter(|timers| timers.ring()).for_each(|timers| wake(timers.actor));
            alarms = self.alarms.lock();
        }
    }

    /// Ends the thread.
    pub(crate) fn end(&self) {
        self.alarms.lock().is_over = true;
        self.changed.notify_one();
    }
}

impl Alarms {
    fn set(&mut self, actor: ActorId, alarm: Alarm) {
        self.unset(actor);
        if alarm == Alarm::default() {
            return;
        }
        self.set.insert(actor, alarm);
        self.by_boot.extend(alarm.boot_ms.map(|at| (at, actor)));
        self.by_wall.extend(alarm.unix_ms.map(|at| (at, actor)));
    }

    fn unset(&mut self, actor: ActorId) {
        let Some(Alarm { boot_ms, unix_ms }) = self.set.remove(&actor) else { return };
        boot_ms.iter().for_each(|at| _ = self.by_boot.remove(&(*at, actor)));
        unix_ms.iter().for_each(|at| _ = self.by_wall.remove(&(*at, actor)));
    }

    fn first(&self) -> Alarm {
        let first = |by: &BTreeSet<(u64, ActorId)>| by.first().map(|(at, _)| *at);
        Alarm { boot_ms: first(&self.by_boot), unix_ms: first(&self.by_wall) }
    }

    /// The timers of the actors whose alarms have come. Each of these alarms is used up.
    fn take_due(&mut self, now: Moment) -> Vec<Arc<ActorTimers>> {
        let mut due = Vec::new();
        while self.first().has_come(now) {
            let by_boot = self.by_boot.first().filter(|(at, _)| *at <= now.boot_ms);
            let Some((_, actor)) = by_boot.or(self.by_wall.first()).copied() else { break };
            self.unset(actor);
            due.extend(self.actors.get(&actor).cloned());
        }
        due
    }

    /// How long to wait for the first alarm; `None` if none is set.
    fn wait_ms(&self, now: Moment) -> Option<u64> {
        let Alarm { boot_ms, unix_ms } = self.first();
        let boot_ms = boot_ms.map(|at| at.saturating_sub(now.boot_ms));
        let unix_ms = unix_ms.map(|at| at.saturating_sub(now.unix_ms));
        boot_ms.into_iter().chain(unix_ms).min().map(|ms| ms.min(LOOK_AGAIN_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::EventHash;

    fn timer(of: u64, due: DueTime) -> Timer {
        let promised_by = Head { sequence: of, hash: EventHash([0; 20]) };
        Timer { message: (*b"m").into(), due, schedule: Schedule::Once, of, round: 1, promised_by }
    }

    fn held(due: &[(&str, DueTime)]) -> ActorTimers {
        let timers = ActorTimers::new(ActorId::random());
        for (of, (key, due)) in (0..).zip(due) {
            timers.held.lock().put((*key).into(), timer(of, *due));
        }
        timers
    }

    fn taken(timers: &ActorTimers, now: Moment) -> Vec<String> {
        let next = || {
            let due = timers.first_due(now, MissedRounds::Skip)?;
            timers.remove(&due.key);
            Some(due.key.to_string())
        };
        std::iter::from_fn(next).collect()
    }

    const NOW: Moment = Moment { unix_ms: 1_000, boot_ms: 100 };

    #[test]
    fn what_is_due_is_taken_in_the_order_of_its_time_whichever_clock_it_follows() {
        let timers = held(&[
            ("later", DueTime::at(1_001)),
            ("third", DueTime::at(999)),
            ("second", DueTime { unix_ms: 500, boot_ms: Some(90) }),
            ("first", DueTime::at(1)),
            ("as third", DueTime::at(999)),
            ("much later", DueTime { unix_ms: 2, boot_ms: Some(101) }),
        ]);
        assert_eq!(taken(&timers, NOW), ["first", "second", "third", "as third"]);
        assert_eq!(timers.list().len(), 2);
    }

    #[test]
    fn a_timer_of_the_same_key_takes_the_place_of_the_other() {
        let timers = held(&[("a", DueTime::at(5)), ("a", DueTime::at(7_000)), ("b", DueTime::at(6))]);
        assert_eq!(taken(&timers, NOW), ["b"]);
        timers.remove("a");
        assert!(timers.list().is_empty());
        let held = timers.held.lock();
        assert_eq!((held.bytes, held.by_wall.len(), held.by_boot.len()), (0, 0, 0));
    }

    #[test]
    fn timers_are_bounded_by_number_and_by_bytes_and_a_replaced_one_does_not_count() {
        let timers = held(&[("a", DueTime::at(5)), ("b", DueTime::at(6))]);
        let limits = Limits { timers: 2, timer_bytes: 10, ..Limits::default() };
        assert_eq!(timers.room_for("c", b"", &limits), Err(NoTimer::TooMany { limit: 2 }));
        assert_eq!(timers.room_for("b", b"1234567", &limits), Ok(Some(1)));
        assert_eq!(timers.room_for("b", b"12345678", &limits), Err(NoTimer::TooLarge { bytes: 11, limit: 10 }));
        let limits = Limits { timers: 3, ..limits };
        assert_eq!(timers.room_for("c", b"12345", &limits), Ok(None));
    }

    #[test]
    fn the_next_round_is_the_same_timer_with_another_promise() {
        let timers = ActorTimers::new(ActorId::random());
        let every = Timer { schedule: Schedule::Every { ms: 10 }, ..timer(3, DueTime::at(995)) };
        timers.held.lock().put("tick".into(), every);
        let due = timers.first_due(NOW, MissedRounds::Skip).expect("its time has come");
        let call = Head { sequence: 8, hash: EventHash([8; 20]) };
        let (key, next) = due.next_round(call).expect("there is another");
        assert_eq!((&*key, next.of, next.round, next.promised_by), ("tick", 3, 2, call));
        assert_eq!(next.due, DueTime { unix_ms: 1_005, boot_ms: Some(106) });
    }

    #[test]
    fn an_actor_is_rung_once_for_an_alarm_and_the_thread_then_waits_for_the_next() {
        let (timers, mut alarms) = (Arc::new(held(&[])), Alarms::default());
        alarms.actors.insert(timers.actor, Arc::clone(&timers));
        assert_eq!(alarms.wait_ms(NOW), None);
        alarms.set(timers.actor, Alarm { boot_ms: Some(150), unix_ms: Some(1_020) });
        assert_eq!(alarms.wait_ms(NOW), Some(20));
        assert!(alarms.take_due(NOW).is_empty());
        assert_eq!(alarms.take_due(Moment { unix_ms: 1_020, ..NOW }).len(), 1);
        assert_eq!(alarms.wait_ms(NOW), None);
        alarms.set(timers.actor, Alarm { boot_ms: Some(u64::MAX), unix_ms: None });
        assert_eq!(alarms.wait_ms(NOW), Some(LOOK_AGAIN_MS));
    }

    #[test]
    fn the_thread_wakes_an_actor_when_its_timer_is_due_and_an_earlier_one_changes_the_alarm() {
        let all = Arc::new(Timers::default());
        let running = Arc::clone(&all);
        let thread = std::thread::spawn(move || running.run(&|_| unreachable!("nobody sleeps")));
        let timers = all.of(ActorId::random());
        let (mailbox, owner) = Mailbox::new(1, 1);
        owner.serve_here();
        timers.serve_by(mailbox);
        assert!(all.first_due(&timers, MissedRounds::Skip).is_none());
        assert!(!timers.is_rung());
        all.put(&timers, "late".into(), timer(1, DueTime::after(clock::moment(), 3_600_000)));
        all.put(&timers, "soon".into(), timer(2, DueTime::after(clock::moment(), 10)));
        while !timers.is_rung() {
            wait::park();
        }
        let due = all.first_due(&timers, MissedRounds::Skip).expect("it was rung for that");
        assert_eq!(&*due.key, "soon");
        all.taken(&timers, due, Head { sequence: 9, hash: EventHash([9; 20]) });
        assert_eq!(timers.list().len(), 1, "it is not pending any more");
        all.end();
        thread.join().expect("it ends");
    }
}
