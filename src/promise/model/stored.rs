//! The contents of a prefix of the model's journal: the chains, the actors to be resumed, the owed rows; and the checks
//! of what `decide` makes of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::actors::INIT;
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Failed, FailureReason, Intent, Started, Stopped, StoppedBy};
use crate::chain::{ChainEvent, EventKind, Head, Link, StateChain};
use crate::journal::{Cause, Owed, Pending};
use crate::promise::fates::{Chains, Decided, Fate, ReadResult, Through, decide};
use crate::promise::message::{REQUEST, requested};
use crate::promise::{HANDLE_REPLY, OpenMonitor, OpenRequest, RESTART_CHILD, settled_by, watched_by};
use crate::system::{Awaited, Lane};

/// One event of the journal, with the rows that are written together with it.
#[derive(Clone, Debug)]
pub(super) struct ModelEntry {
    pub(super) actor: ActorId,
    pub(super) event: ChainEvent,
    pub(super) owes: Option<Owed>,
    pub(super) settles: Vec<Cause>,
    pub(super) ends: bool,
}

impl ModelEntry {
    /// The event as text, for a person who looks for a defect.
    pub(super) fn told(&self) -> String {
        let short = |id: &ActorId| id.to_string()[..4].to_owned();
        let cause = Call::from_cbor(&self.event.data).ok().and_then(|call| call.cause);
        let cause = cause.map_or(String::new(), |link| format!(" of {}/{}", short(&link.actor), link.sequence));
        let owes = self.owes.map_or(String::new(), |owed| format!(" owes {}", short(&owed.receiver)));
        let settles: Vec<String> =
            self.settles.iter().map(|it| format!("{}/{}", short(&it.actor), it.sequence)).collect();
        let settles = if settles.is_empty() { String::new() } else { format!(" settles {}", settles.join(" ")) };
        let ends = if self.ends { " ends" } else { "" };
        let function = self.event.event_type.rsplit('.').next().unwrap_or("");
        let kind = self.event.kind().map_or("", EventKind::word);
        format!("{}/{} {kind} {function}{cause}{owes}{settles}{ends}", short(&self.actor), self.event.sequence)
    }
}

/// A prefix of the model's journal.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored {
    pub(super) chains: BTreeMap<ActorId, ModelChain>,
    rows: Vec<Pending>,
    position: u64,
    /// Each send and notice that was promised, with its receiver.
    promised: Vec<(Cause, ActorId)>,
    /// The events that caused a call.
    taken: HashSet<Cause>,
    /// The asynchronous requests whose answers were told of.
    told: HashSet<Cause>,
    dropped: HashSet<Cause>,
    /// The open monitors whose watched actor was over for good at some time since, and was not told of.
    due_monitors: HashSet<Cause>,
}

/// One actor's chain.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelChain {
    pub(super) parent: Option<ActorId>,
    pub(super) events: Vec<ChainEvent>,
    positions: Vec<u64>,
    pub(super) alive: bool,
    pub(super) was_up: bool,
}

impl ModelChain {
    /// The place of its first event in the journal.
    pub(super) fn begun(&self) -> u64 {
        self.positions[0]
    }

    pub(super) fn last(&self) -> &ChainEvent {
        self.events.last().expect("a chain begins with its first event")
    }

    pub(super) fn head(&self) -> Head {
        Head { sequence: self.last().sequence, hash: self.last().hash }
    }

    /// The events of the transition that the chain ends within.
    pub(super) fn open(&self) -> &[ChainEvent] {
        let resumes = |event: &ChainEvent| Started::from_cbor(&event.data).is_ok_and(|started| started.resumes);
        for (at, event) in self.events.iter().enumerate().rev() {
            match event.kind() {
                Some(EventKind::Call) => return &self.events[at..],
                Some(EventKind::Intent | EventKind::HostCall) => {}
                Some(EventKind::Started) if resumes(event) => {}
                _ => return &[],
            }
        }
        &[]
    }

    /// The intent that the chain ends with.
    pub(super) fn open_intent(&self) -> Option<&ChainEvent> {
        let last = self.open().iter().rfind(|event| event.kind() != Some(EventKind::Started));
        last.filter(|event| event.kind() == Some(EventKind::Intent))
    }
}

impl Stored {
    pub(super) fn push(&mut self, entry: &ModelEntry) {
        let ModelEntry { actor, event, owes, settles, ends } = entry;
        self.position += 1;
        for cause in settles {
            self.rows.retain(|row| row.cause != *cause);
            self.due_monitors.remove(cause);
        }
        let cause = Cause { actor: *actor, sequence: event.sequence };
        if let Some(Owed { receiver, notice, .. }) = *owes {
            let notice = notice.map(str::to_owned);
            let watched = watched_by(event);
            if watched.is_some_and(|watched| !self.chains[&watched].alive) {
                self.due_monitors.insert(cause);
            }
            let row = Pending { cause, receiver, position: self.position, notice };
            if event.kind() != Some(EventKind::Intent) && !is_own(&row) {
                self.promised.push((cause, receiver));
            }
            self.rows.push(row);
        }
        if *ends {
            // What an actor owes itself ends with it; its messages to itself are named as dropped.
            self.rows.retain(|row| row.receiver != *actor || !is_own(row));
            self.due_monitors.retain(|cause| cause.actor != *actor);
            let of_it = |row: &&Pending| self.watched(row) == Some(*actor);
            let due: Vec<Cause> = self.rows.iter().filter(of_it).map(|row| row.cause).collect();
            self.due_monitors.extend(due);
        }
        self.note(*actor, event);
        let chain = self.chains.entry(*actor).or_default();
        if let Ok(started) = Started::from_cbor(&event.data) {
            (chain.parent, chain.alive) = (started.parent, true);
        }
        chain.was_up |= event.event_type == INIT.returned;
        chain.alive &= !ends;
        chain.events.push(event.clone());
        chain.positions.push(self.position);
    }

    /// The actor whose end a row asks for, if it is that of a monitor.
    fn watched(&self, row: &Pending) -> Option<ActorId> {
        let row = Some(row).filter(|row| row.is_monitor())?;
        watched_by(&self.promise(row).expect("nothing is read from a disk")?)
    }

    fn note(&mut self, actor: ActorId, event: &ChainEvent) {
        let dropped = match event.kind() {
            Some(EventKind::Call) => {
                let call = Call::from_cbor(&event.data).expect("a call");
                let taken = if event.function() == HANDLE_REPLY.full { &mut self.told } else { &mut self.taken };
                let taken = settled_by(actor, event.function(), &call).is_none_or(|cause| taken.insert(cause));
                assert!(taken, "nothing is taken twice: {event:?}");
                return;
            }
            Some(EventKind::Failed) => Failed::from_cbor(&event.data).expect("an end").dropped,
            Some(EventKind::Stopped) => Stopped::from_cbor(&event.data).expect("an end").dropped,
            _ => return,
        };
        self.dropped.extend(dropped.iter().flatten().map(Cause::from));
    }

    /// The ends that a start writes before it decides (`theater/recorded_ends.rs`): an actor without a living parent
    /// ends, and an end names the deliveries that waited.
    pub(super) fn ends(&self) -> Vec<ModelEntry> {
        let mut ends = Vec::new();
        let mut parents = HashSet::new();
        let mut order: Vec<(&ActorId, &ModelChain)> = self.chains.iter().collect();
        order.sort_by_key(|(_, chain)| chain.positions[0]);
        for (actor, chain) in order {
            let refused = chain.last().event_type == INIT.refused;
            let orphan = chain.parent.is_some_and(|parent| !parents.contains(&parent));
            // The sender had withdrawn the delivery, and the journal does not say so yet.
            let is_owed = !chain.alive && self.deliveries_to(*actor).next().is_some();
            if chain.alive && (refused || orphan) || is_owed {
                ends.push(self.end(*actor, chain));
            } else if chain.alive {
                parents.insert(*actor);
            }
        }
        ends.reverse();
        ends
    }

    /// The deliveries that an actor is owed.
    fn deliveries_to(&self, actor: ActorId) -> impl Iterator<Item = &Pending> {
        self.rows.iter().filter(move |row| row.receiver == actor && !is_own(row))
    }

    fn end(&self, actor: ActorId, chain: &ModelChain) -> ModelEntry {
        let rows: Vec<&Pending> = self.deliveries_to(actor).collect();
        let link = |row: &&Pending| {
            let event = self.promise(row).expect("read").expect("it is there");
            Link { actor: row.cause.actor, sequence: event.sequence, hash: event.hash }
        };
        let dropped = rows.iter().map(link).map(Some).collect();
        let mut settles: Vec<Cause> = rows.iter().map(|row| row.cause).collect();
        settles.extend(chain.open_intent().map(|intent| Cause { actor, sequence: intent.sequence }));
        let failed = Failed::from_cbor(&chain.last().data).ok().filter(|_| !chain.alive);
        let (event_type, data) = if let Some(failed) = failed {
            ("failed", Failed { dropped, ..failed }.to_cbor())
        } else if chain.last().event_type == INIT.refused {
            ("failed", Failed { detail: "no".into(), reason: FailureReason::Init, dropped }.to_cbor())
        } else {
            ("stopped", Stopped { by: StoppedBy::Supervisor, cause: None, dropped }.to_cbor())
        };
        let event = StateChain::after(actor, chain.head()).append(event_type, data, 0);
        ModelEntry { actor, event, owes: None, settles, ends: true }
    }

    /// Decides, and checks the decision. `circles` says whether the journal was written as by an earlier version.
    pub(super) fn decide(&self, circles: bool) -> Decided {
        let going_on = self.chains.iter().filter(|(_, chain)| chain.alive && !chain.open().is_empty());
        let actors: Vec<ActorId> = going_on.map(|(actor, _)| *actor).collect();
        let decided = decide(self, &actors, &self.rows).expect("nothing is read from a disk");
        self.check_each_promise_has_one_fate(&decided, &actors);
        assert!(circles || decided.given_up.is_empty(), "no wait is in a circle: {decided:?}");
        check_no_circle_is_left(&decided);
        decided
    }

    fn check_each_promise_has_one_fate(&self, decided: &Decided, actors: &[ActorId]) {
        assert!(decided.unreadable.is_empty(), "{:?}", decided.unreadable);
        let due: HashSet<Cause> =
            decided.due.iter().map(|due| Cause::from(due.delivery.cause.as_ref().expect("a cause"))).collect();
        assert_eq!(due.len(), decided.due.len(), "nothing is delivered twice");
        assert!(decided.due.is_sorted_by_key(|due| due.position), "in the order in which it was promised");
        for cause in &due {
            assert!(!self.taken.contains(cause) && !self.dropped.contains(cause), "{cause:?} has arrived already");
        }
        for (cause, receiver) in &self.promised {
            let fates = [self.taken.contains(cause), self.dropped.contains(cause), due.contains(cause)];
            let one = fates.iter().filter(|it| **it).count() == 1;
            assert!(one, "{cause:?} to {receiver} is taken, dropped, delivered again: {fates:?}");
        }
        let mut monitors: HashMap<Cause, bool> = HashMap::new();
        for OpenMonitor { watcher, reference, end, .. } in &decided.monitors {
            let cause = Cause { actor: *watcher, sequence: *reference };
            assert_eq!(monitors.insert(cause, end.is_some()), None, "a monitor is open once");
        }
        let mut requests: HashMap<Cause, &OpenRequest> = HashMap::new();
        for request in &decided.requests {
            let cause = Cause { actor: request.asker, sequence: request.token };
            assert!(requests.insert(cause, request).is_none(), "a request is open once");
        }
        let deferred: HashSet<Cause> = decided.deferred.iter().copied().collect();
        assert_eq!(deferred.len(), decided.deferred.len(), "an answer is put off once");
        for row in &self.rows {
            if row.is_reply() {
                let request = requests.remove(&row.cause).expect("an open request is open again");
                assert!(!self.told.contains(&row.cause) && self.goes_on(row.receiver), "{row:?}");
                self.check_request(row.cause, request, &due, &deferred);
                continue;
            }
            if row.is_deferred() {
                let is_open = self.open(row.receiver).iter().any(|event| event.sequence == row.cause.sequence);
                assert!(deferred.contains(&row.cause) != is_open && self.goes_on(row.receiver), "{row:?}");
                continue;
            }
            if row.is_monitor() {
                let is_due = monitors.remove(&row.cause).expect("an open monitor is open again");
                assert_eq!(is_due, self.due_monitors.contains(&row.cause), "{row:?} is due if the actor has ended");
                assert!(!self.taken.contains(&row.cause) && self.goes_on(row.receiver), "{row:?}");
                continue;
            }
            let is_request = row.notice.is_none()
                && self.promise(row).is_ok_and(|it| it.is_some_and(|event| event.kind() == Some(EventKind::Intent)));
            let answered = matches!(decided.fates.get(&row.cause.actor), Some((_, Fate::Answered(_))));
            assert!(due.contains(&row.cause) || (is_request && answered), "{row:?} is owed for ever");
            assert!(self.goes_on(row.receiver), "{row:?} is owed to nobody");
        }
        assert!(monitors.is_empty(), "no other monitor is: {monitors:?}");
        assert!(requests.is_empty(), "no other request is: {requests:?}");
        for due in &decided.due {
            let notices = ["handle-child-event", "handle-stream-closed"];
            assert_eq!(due.lane == Lane::Notice, notices.contains(&due.delivery.function.name));
        }
        for actor in actors {
            let Some(intent) = self.chains[actor].open_intent() else { continue };
            let (link, fate) = decided.fates.get(actor).expect("an open intent has a fate");
            assert_eq!(link.hash, intent.hash);
            self.check_fate(intent, link, fate, decided);
        }
    }

    /// Checks that an asynchronous request is answered by what the receiver did with it, or awaited where it is.
    fn check_request(&self, cause: Cause, request: &OpenRequest, due: &HashSet<Cause>, deferred: &HashSet<Cause>) {
        let arrived = self.taken.contains(&cause) || self.dropped.contains(&cause);
        let is_delivered = matches!(request.fate, Fate::Await { through: Through::Delivery, .. });
        assert_eq!(due.contains(&cause), is_delivered, "{request:?}");
        match &request.fate {
            Fate::Answered(Awaited::Answer { to, answer }) => {
                assert!(arrived || !self.goes_on(*to), "{request:?}");
                let is_of_receiver = answer.closing.iter().all(|closing| closing.actor == request.to);
                assert!(is_of_receiver && *to == request.to, "{request:?}");
            }
            Fate::Await { on, through } => {
                assert!(self.goes_on(*on) && *on == request.to, "{request:?}");
                assert_eq!(arrived, *through != Through::Delivery, "{request:?}");
                if let Through::Deferred(token) = through {
                    assert!(deferred.contains(&Cause { actor: *on, sequence: *token }), "{request:?}");
                }
                if *through == Through::Transition {
                    let call = Call::from_cbor(&self.open(*on)[0].data).expect("a call");
                    assert_eq!(call.cause.as_ref().map(Cause::from), Some(cause));
                }
            }
            Fate::Answered(Awaited::Unknown(_)) => assert!(arrived, "{request:?}"),
            fate => panic!("what became of a message is decided: {fate:?}"),
        }
    }

    fn check_fate(&self, intent: &ChainEvent, link: &Link, fate: &Fate, decided: &Decided) {
        let is_delivered = decided.due.iter().any(|due| due.awaited_by == Some(link.actor));
        assert_eq!(is_delivered, matches!(fate, Fate::Await { through: Through::Delivery, .. }));
        match fate {
            Fate::Again => assert_ne!(intent.function(), REQUEST.full, "a request is not made again"),
            Fate::Answered(Awaited::Answer { to, answer }) => {
                assert_eq!(requested(&intent.data).map(|(to, _)| to), Some(*to));
                let closing = answer.closing.iter().all(|closing| {
                    let event = &self.chains[&closing.actor].events[usize::try_from(closing.sequence).expect("small")];
                    closing.actor == *to && event.hash == closing.hash
                });
                assert!(closing, "the answer stands in the receiver's chain");
                let arrived = [&self.taken, &self.dropped].iter().any(|it| it.contains(&Cause::from(link)));
                assert!(arrived, "it is answered by what the receiver did with it");
            }
            Fate::Await { on, through: Through::Transition } => {
                let call = Call::from_cbor(&self.open(*on)[0].data).expect("a call");
                assert_eq!(call.cause.as_ref(), Some(link));
            }
            Fate::Answered(Awaited::Done(event)) => {
                let said = &self.chains[&event.actor].events[usize::try_from(event.sequence).expect("small")];
                let kinds = if intent.function() == RESTART_CHILD.full {
                    [EventKind::Started, EventKind::Return]
                } else {
                    [EventKind::Stopped; 2]
                };
                assert!(kinds.iter().any(|kind| said.kind() == Some(*kind)), "a restart is done once the child is up");
            }
            Fate::Answered(_) => assert!(Intent::from_cbor(&intent.data).is_ok()),
            Fate::Await { on, through: Through::Deferred(token) } => {
                let put_off = Cause { actor: *on, sequence: *token };
                assert!(self.goes_on(*on) && decided.deferred.contains(&put_off), "{decided:?}");
            }
            Fate::Await { on, .. } => assert!(self.goes_on(*on)),
        }
    }

    /// What is still owed when nothing happens any more: only ends of actors that live, and answers that nobody waits for.
    pub(super) fn check_nothing_is_owed_but_ends_to_come(&self) {
        for row in self.rows.iter().filter(|row| !row.is_deferred()) {
            let lives = self.watched(row).is_some_and(|watched| self.goes_on(watched));
            assert!(lives && !self.due_monitors.contains(&row.cause), "{row:?} is owed for ever");
        }
    }
}

/// Whether an actor owes itself what a row says: that ends with the actor. Its messages to itself do not.
fn is_own(row: &Pending) -> bool {
    row.receiver == row.cause.actor && row.notice.is_some()
}

fn check_no_circle_is_left(decided: &Decided) {
    let on = |actor: &ActorId| match decided.fates.get(actor) {
        Some((_, Fate::Await { on, .. })) => Some(*on),
        _ => None,
    };
    for start in decided.fates.keys() {
        let (mut at, mut steps) = (*start, 0);
        while let Some(next) = on(&at) {
            (at, steps) = (next, steps + 1);
            assert!(steps <= decided.fates.len(), "the waits of {start} lead in a circle");
        }
    }
}

impl Chains for Stored {
    fn is_known(&self, actor: ActorId) -> bool {
        self.chains.contains_key(&actor)
    }

    fn goes_on(&self, actor: ActorId) -> bool {
        self.chains.get(&actor).is_some_and(|chain| chain.alive)
    }

    fn open(&self, actor: ActorId) -> &[ChainEvent] {
        self.chains.get(&actor).filter(|chain| chain.alive).map_or(&[], ModelChain::open)
    }

    fn position(&self, actor: ActorId, sequence: u64) -> ReadResult<u64> {
        Ok(self.chains[&actor].positions[usize::try_from(sequence).expect("small")])
    }

    fn events_after(&self, actor: ActorId, position: u64) -> ReadResult<Vec<ChainEvent>> {
        let Some(chain) = self.chains.get(&actor) else { return Ok(Vec::new()) };
        let from = chain.positions.partition_point(|at| *at <= position);
        Ok(chain.events[from..].to_vec())
    }

    fn event(&self, actor: ActorId, sequence: u64) -> ReadResult<Option<ChainEvent>> {
        Ok(self.page(actor, sequence)?.into_iter().next())
    }

    fn page(&self, actor: ActorId, from: u64) -> ReadResult<Vec<ChainEvent>> {
        let from = usize::try_from(from).expect("small");
        Ok(self.chains.get(&actor).map_or(Vec::new(), |chain| chain.events.get(from..).unwrap_or(&[]).to_vec()))
    }

    fn end_since(&self, actor: ActorId, position: u64) -> ReadResult<Option<ChainEvent>> {
        let Some(chain) = self.chains.get(&actor) else { return Ok(None) };
        let is_again = |event: &ChainEvent| Started::from_cbor(&event.data).is_ok_and(|started| started.ended);
        let later = chain.positions.partition_point(|at| *at <= position);
        let again = (later..chain.events.len()).find(|at| is_again(&chain.events[*at]));
        Ok(match again {
            Some(again) => Some(chain.events[again - 1].clone()),
            None => (!chain.alive).then(|| chain.last().clone()),
        })
    }

    fn promise(&self, row: &Pending) -> ReadResult<Option<ChainEvent>> {
        let sequence = usize::try_from(row.cause.sequence).expect("small");
        Ok(self.chains.get(&row.cause.actor).map(|chain| chain.events[sequence].clone()))
    }
}
