//! Actors of the model, one step at a time. A step is what one thread does between two moments at which another thread
//! can do something that it would notice: an event is enqueued, a wait ends, an answer is given.

use std::collections::VecDeque;

use super::Rng;
use super::stored::Entry;
use crate::base::id::{ActorId, Incarnation};
use crate::chain::cbor::Cbor;
use crate::chain::data::{
    Call, Caller, Encoded, Failed, FailureReason, HostCall, Intent, NamedLimits, NamedState, Refused, Return,
    StartReason, Started, StateAfter, Stopped, StoppedBy,
};
use crate::chain::{ChainEvent, ComponentDigest, Function, Link, StateChain, function};
use crate::guest::wit::ChildEventKind;
use crate::journal::{Cause, Owed};
use crate::promise::{
    HANDLE_CHILD_EVENT, HANDLE_REQUEST, HANDLE_SEND, Promise, REQUEST, RESTART_CHILD, SEND, SPAWN, STOP_CHILD, notice,
};
use crate::system::{ActorFailure, Answer, LifecycleError, Outcome, Spawned, WaitId, Waits};

pub(super) const INIT: &Function = function!("ntwk:theater/actor", "init");

/// Most actors of one run.
const ACTORS: usize = 5;

/// What waits in a mailbox.
#[derive(Clone, Debug)]
pub(super) struct Mail {
    pub(super) function: &'static str,
    pub(super) params: Vec<u8>,
    pub(super) cause: Link,
    pub(super) reply: Option<usize>,
}

/// The place of one answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) wait: WaitId,
    pub(super) claimed: bool,
    pub(super) withdrawn: bool,
    pub(super) given: Option<Given>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) enum Given {
    Answer(Answer),
    Child(Result<Spawned, LifecycleError>),
    Changed(Option<Link>),
    Unknown,
}

/// The transition under way.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) function: &'static str,
    pub(super) reply: Option<usize>,
}

/// The host call under way.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) function: &'static Function,
    pub(super) intent: Link,
    pub(super) reply: usize,
}

/// How far an actor's thread is.
#[derive(Clone, Debug)]
pub(super) enum At {
    /// Its `started` is to be written.
    Begin {
        resumes: bool,
        then: Box<At>,
    },
    InitDue,
    Idle,
    Working,
    /// The host call with this intent, which a crash left open, is made now.
    Again {
        function: &'static Function,
        intent: Link,
        child: ActorId,
    },
    Awaiting(Open),
    /// There is a result; the `host-call` is not enqueued yet.
    Decided {
        open: Open,
        result: Vec<u8>,
        answer: Option<Link>,
    },
    /// It is, and the wait is still held.
    Recorded {
        wait: WaitId,
    },
    /// Whoever waits is to be answered. Where the event that gives the answer is enqueued, its wait is ended first.
    Closed {
        reply: Option<usize>,
        answer: Given,
        is_enqueued: bool,
        then: Box<At>,
    },
    /// Its incarnation is over; another follows.
    Down,
    /// What is below it is to end before it does.
    Ending {
        by: StoppedBy,
        cause: Option<Link>,
        held: Option<WaitId>,
        promised: Option<Cause>,
    },
    Ended,
}

#[derive(Clone, Debug)]
pub(super) struct Ordered {
    pub(super) cycle: bool,
    pub(super) by: StoppedBy,
    pub(super) cause: Option<Link>,
}

#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub(super) id: ActorId,
    pub(super) parent: Option<usize>,
    pub(super) chain: StateChain,
    pub(super) at: At,
    pub(super) work: Option<Work>,
    pub(super) notices: VecDeque<Mail>,
    pub(super) mail: VecDeque<Mail>,
    pub(super) order: Option<Ordered>,
    /// Who waits for it to be up, and who for its end.
    pub(super) starters: Vec<usize>,
    pub(super) stoppers: Vec<usize>,
    pub(super) spawned_by: Option<Link>,
    pub(super) was_up: bool,
    /// Its chain says that it lives.
    pub(super) has_begun: bool,
}

impl Actor {
    pub(super) fn takes(&self) -> bool {
        let mut at = &self.at;
        while let At::Closed { then, .. } = at {
            at = then;
        }
        !matches!(at, At::Ended | At::Ending { .. })
    }

    /// It takes messages of other actors: not before its chain says that it lives.
    fn takes_messages(&self) -> bool {
        self.takes() && self.has_begun
    }
}

/// A runtime of the model.
pub(super) struct Runtime {
    pub(super) rng: Rng,
    pub(super) actors: Vec<Actor>,
    pub(super) replies: Vec<Reply>,
    pub(super) waits: Waits,
    pub(super) journal: Vec<Entry>,
    /// As earlier versions did: the wait ends when its waiter has given up, before the `host-call` is enqueued.
    pub(super) ends_waits_early: bool,
    /// What may still be begun.
    pub(super) budget: usize,
    pub(super) roots: usize,
}

impl Runtime {
    /// One step of one actor; `false` where nobody can do anything.
    pub(super) fn step(&mut self) -> bool {
        let first = self.rng.below(self.actors.len());
        for offset in 0..self.actors.len() {
            let at = (first + offset) % self.actors.len();
            if self.step_of(at) {
                return true;
            }
        }
        false
    }

    fn step_of(&mut self, i: usize) -> bool {
        match self.actors[i].at.clone() {
            At::Begin { resumes, then } => self.begin(i, resumes, *then),
            At::InitDue => {
                let params = (self.actors[i].id.to_string(),).to_cbor();
                let cause = self.actors[i].spawned_by.take();
                self.call(i, INIT, params, Caller::Runtime, (cause, None));
            }
            At::Idle => return self.idle(i),
            At::Working => self.work(i),
            At::Again { function, intent, .. } if function.full == SPAWN.full => self.spawn_for(i, intent),
            At::Again { function, intent, child } => {
                let Some(child) = self.actors.iter().position(|actor| actor.id == child) else {
                    // It was gone before its chain had begun: no such child.
                    let wait = self.waits.begin_anyway(self.actors[i].id, child);
                    let reply = self.new_reply(wait);
                    let open = Open { function, intent, reply };
                    self.actors[i].at = At::Decided { open, result: failed_result(), answer: None };
                    return true;
                };
                self.change_for(i, child, function, intent);
            }
            At::Awaiting(open) => return self.wait(i, &open),
            At::Decided { open, result, answer } => self.host_call(i, &open, result, answer),
            At::Recorded { wait } => {
                self.waits.end(wait);
                self.actors[i].at = At::Working;
            }
            At::Closed { reply: Some(reply), answer, is_enqueued: true, then } => {
                self.waits.end(self.replies[reply].wait);
                let reply = Some(reply);
                self.actors[i].at = At::Closed { reply, answer, is_enqueued: false, then };
            }
            At::Closed { reply, answer, then, .. } => {
                if let Some(reply) = reply {
                    self.replies[reply].given = Some(answer);
                }
                self.actors[i].at = *then;
            }
            At::Down if self.actors[i].order.is_some() => return self.ends_as_ordered(i),
            At::Down => self.actors[i].at = At::Begin { resumes: false, then: Box::new(self.after_start(i)) },
            At::Ending { by, cause, held, promised } => return self.end_for_good(i, (by, cause), held, promised),
            At::Ended => return false,
        }
        true
    }

    fn after_start(&self, i: usize) -> At {
        if self.actors[i].was_up { At::Idle } else { At::InitDue }
    }

    fn record(&mut self, i: usize, event_type: &'static str, data: Vec<u8>, more: More) -> Link {
        let actor = &mut self.actors[i];
        let event: ChainEvent = actor.chain.append(event_type, data, 0);
        let link = actor.chain.head_link().expect("an event");
        let More { owes, settles, ends } = more;
        self.journal.push(Entry { actor: actor.id, event, owes, settles, ends });
        link
    }

    fn begin(&mut self, i: usize, resumes: bool, then: At) {
        let id = self.actors[i].id;
        let parent = self.actors[i].parent.map(|parent| self.actors[parent].id);
        let is_first = self.actors[i].chain.next_sequence() == 0;
        let started = Started {
            id,
            fork: None,
            name: String::new(),
            state: NamedState::None,
            limits: NamedLimits(Vec::new()),
            parent,
            reason: if is_first { StartReason::Spawn } else { StartReason::Restart },
            resumes,
            manifest: String::new(),
            component: ComponentDigest([0; 32]),
            incarnation: Incarnation::FIRST,
        };
        let link = self.record(i, "started", started.to_cbor(), More::default());
        (self.actors[i].at, self.actors[i].has_begun) = (then, true);
        if matches!(self.actors[i].at, At::Idle) {
            self.is_up(i, Some(link));
        }
    }

    fn is_up(&mut self, i: usize, closing: Option<Link>) {
        self.actors[i].was_up = true;
        let id = self.actors[i].id;
        for reply in std::mem::take(&mut self.actors[i].starters) {
            self.waits.end(self.replies[reply].wait);
            self.replies[reply].given = Some(Given::Child(Ok(Spawned { id, closing: closing.clone() })));
        }
    }

    fn not_up(&mut self, i: usize, why: &str) {
        for reply in std::mem::take(&mut self.actors[i].starters) {
            // Settled by the parent's own event.
            self.replies[reply].given = Some(Given::Child(Err(why.into())));
        }
    }

    fn call(
        &mut self,
        i: usize,
        function: &'static Function,
        params: Vec<u8>,
        caller: Caller,
        (cause, reply): (Option<Link>, Option<usize>),
    ) {
        let settles = cause.iter().map(Cause::from).collect();
        let call = Call { cause, fresh: true, caller, params: Encoded(params) };
        self.record(i, function.call, call.to_cbor(), More { settles, ..More::default() });
        self.actors[i].work = Some(Work { function: function.full, reply });
        self.actors[i].at = At::Working;
    }

    fn idle(&mut self, i: usize) -> bool {
        if self.ends_as_ordered(i) {
            return true;
        }
        let actor = &mut self.actors[i];
        if let Some(mail) = actor.notices.pop_front().or_else(|| actor.mail.pop_front()) {
            if let Some(reply) = mail.reply {
                if self.replies[reply].withdrawn {
                    return true;
                }
                self.replies[reply].claimed = true;
            }
            let functions = [HANDLE_SEND, HANDLE_REQUEST, HANDLE_CHILD_EVENT];
            let function = functions.into_iter().find(|it| it.full == mail.function).expect("one of these");
            self.call(i, function, mail.params, Caller::Actor, (Some(mail.cause), mail.reply));
            return true;
        }
        if self.budget == 0 {
            return false;
        }
        self.budget -= 1;
        if self.rng.one_in(12) {
            let cycle = self.rng.one_in(2);
            self.order(i, Ordered { cycle, by: StoppedBy::Operator, cause: None });
            return true;
        }
        self.call(i, HANDLE_SEND, (Vec::<u8>::new(),).to_cbor(), Caller::Management, (None, None));
        true
    }

    fn order(&mut self, i: usize, order: Ordered) {
        if self.actors[i].takes() && self.actors[i].order.is_none() {
            self.actors[i].order = Some(order);
        }
    }

    fn work(&mut self, i: usize) {
        // An order is obeyed at once, or the transition closes within its grace.
        if self.rng.one_in(2) && self.ends_as_ordered(i) {
            return;
        }
        if self.budget == 0 || self.rng.one_in(3) {
            return self.close(i);
        }
        self.budget -= 1;
        let other = self.rng.below(self.actors.len());
        match self.rng.below(10) {
            0..=2 => self.send(i, other),
            3..=6 => self.request(i, other),
            7 if self.actors.len() < ACTORS => self.spawn(i),
            _ => self.change(i, other),
        }
    }

    fn send(&mut self, i: usize, to: usize) {
        if !self.actors[to].takes_messages() {
            return;
        }
        let receiver = self.actors[to].id;
        let params = Encoded((receiver.to_string(), Vec::<u8>::new()).to_cbor());
        let sent = HostCall { answer: None, params: Some(params), result: Encoded(Ok::<(), String>(()).to_cbor()) };
        let owes = Promise::Send.owed(receiver);
        let cause = self.record(i, SEND.host_call, sent.to_cbor(), More { owes, ..More::default() });
        self.deliver(to, HANDLE_SEND, cause, None);
    }

    fn deliver(&mut self, to: usize, function: &'static Function, cause: Link, reply: Option<usize>) {
        let mail = Mail { function: function.full, params: (Vec::<u8>::new(),).to_cbor(), cause, reply };
        self.actors[to].mail.push_back(mail);
    }

    pub(super) fn new_reply(&mut self, wait: WaitId) -> usize {
        self.replies.push(Reply { wait, claimed: false, withdrawn: false, given: None });
        self.replies.len() - 1
    }

    fn request(&mut self, i: usize, to: usize) {
        let (from, receiver) = (self.actors[i].id, self.actors[to].id);
        if !self.actors[to].takes_messages() {
            return;
        }
        let Ok(wait) = self.waits.begin(from, receiver) else { return };
        let params = Encoded((receiver.to_string(), Vec::<u8>::new()).to_cbor());
        let owes = Promise::Request.owed(receiver);
        let intent = self.record(i, REQUEST.intent, Intent { params }.to_cbor(), More { owes, ..More::default() });
        let reply = self.new_reply(wait);
        self.deliver(to, HANDLE_REQUEST, intent.clone(), Some(reply));
        self.actors[i].at = At::Awaiting(Open { function: REQUEST, intent, reply });
    }

    fn spawn(&mut self, i: usize) {
        let params = Encoded((String::from("child.toml"),).to_cbor());
        let intent = self.record(i, SPAWN.intent, Intent { params }.to_cbor(), More::default());
        self.spawn_for(i, intent);
    }

    pub(super) fn spawn_for(&mut self, i: usize, intent: Link) {
        let child = ActorId::of_child(self.actors[i].id, intent.sequence);
        let wait = self.waits.begin(self.actors[i].id, child).expect("a new child waits for nobody");
        let reply = self.new_reply(wait);
        self.actors.push(Actor {
            id: child,
            parent: Some(i),
            chain: StateChain::new(child),
            at: At::Begin { resumes: false, then: Box::new(At::InitDue) },
            work: None,
            notices: VecDeque::new(),
            mail: VecDeque::new(),
            order: None,
            starters: vec![reply],
            stoppers: Vec::new(),
            spawned_by: Some(intent.clone()),
            was_up: false,
            has_begun: false,
        });
        self.actors[i].at = At::Awaiting(Open { function: SPAWN, intent, reply });
    }

    fn change(&mut self, i: usize, child: usize) {
        if self.actors[child].parent != Some(i) {
            return;
        }
        let function = if self.rng.one_in(2) { STOP_CHILD } else { RESTART_CHILD };
        let params = Encoded((self.actors[child].id.to_string(),).to_cbor());
        let intent = self.record(i, function.intent, Intent { params }.to_cbor(), More::default());
        self.change_for(i, child, function, intent);
    }

    pub(super) fn change_for(&mut self, i: usize, child: usize, function: &'static Function, intent: Link) {
        let wait = self.waits.begin_anyway(self.actors[i].id, self.actors[child].id);
        let reply = self.new_reply(wait);
        let stops = function.full == STOP_CHILD.full;
        let target = &mut self.actors[child];
        match &target.at {
            At::Closed { then, .. } if matches!(**then, At::Ended) => {
                let ending = Given::Child(Err("it is starting or ending already".into()));
                self.replies[reply].given = Some(if stops { Given::Changed(None) } else { ending });
            }
            At::Ended if stops => self.replies[reply].given = Some(Given::Changed(None)),
            At::Ended => {
                target.starters.push(reply);
                (target.at, target.has_begun) = (At::Down, false);
            }
            _ if stops => {
                target.stoppers.push(reply);
                let order = Ordered { cycle: false, by: StoppedBy::Parent, cause: Some(intent.clone()) };
                target.order = Some(order);
            }
            At::Begin { .. } | At::InitDue | At::Down | At::Ending { .. } => {
                self.replies[reply].given = Some(Given::Child(Err("it is starting or ending already".into())));
            }
            _ if target.order.is_some() || !target.was_up => {
                self.replies[reply].given = Some(Given::Child(Err("it is starting or ending already".into())));
            }
            _ => {
                target.starters.push(reply);
                target.order = Some(Ordered { cycle: true, by: StoppedBy::Parent, cause: Some(intent.clone()) });
            }
        }
        self.actors[i].at = At::Awaiting(Open { function, intent, reply });
    }

    fn wait(&mut self, i: usize, open: &Open) -> bool {
        let decided = |result, answer| At::Decided { open: open.clone(), result, answer };
        if let Some(given) = self.replies[open.reply].given.clone() {
            let (result, answer) = words(given);
            self.actors[i].at = decided(result, answer);
            return true;
        }
        let was_ordered = self.actors[i].order.is_some();
        if was_ordered && self.rng.one_in(2) {
            self.withdraw(open.reply);
            return self.ends_as_ordered(i);
        }
        // A deadline, which comes seldom while there is something else to do.
        if !self.rng.one_in(6) && self.budget > 0 && !was_ordered {
            return false;
        }
        self.withdraw(open.reply);
        self.actors[i].at = decided(failed_result(), None);
        true
    }

    fn withdraw(&mut self, reply: usize) {
        let reply = &mut self.replies[reply];
        reply.withdrawn = !reply.claimed;
        if self.ends_waits_early {
            self.waits.end(reply.wait);
        }
    }

    fn host_call(&mut self, i: usize, open: &Open, result: Vec<u8>, answer: Option<Link>) {
        let settles = if open.function.full == REQUEST.full { vec![Cause::from(&open.intent)] } else { Vec::new() };
        let data = HostCall { answer, params: None, result: Encoded(result) }.to_cbor();
        self.record(i, open.function.host_call, data, More { settles, ..More::default() });
        self.actors[i].at = At::Recorded { wait: self.replies[open.reply].wait };
    }

    /// The transition is over, or the incarnation with it.
    fn close(&mut self, i: usize) {
        let work = self.actors[i].work.clone().expect("a transition");
        let is_init = work.function == INIT.full;
        if self.rng.one_in(10) {
            return self.fail(i, FailureReason::Trap);
        }
        let functions = [HANDLE_SEND, HANDLE_REQUEST, HANDLE_CHILD_EVENT, INIT];
        let function = functions.into_iter().find(|it| it.full == work.function).expect("one of these");
        let (outcome, closing) = if self.rng.one_in(6) {
            let refused = Refused { message: "no".into() };
            let closing = self.record(i, function.refused, refused.to_cbor(), More::default());
            if is_init {
                return self.fail(i, FailureReason::Init);
            }
            (Outcome::Refused("no".into()), closing)
        } else {
            let result = Vec::<u8>::new().to_cbor();
            let returned = Return { state: StateAfter::Unchanged, result: Encoded(result.clone()) };
            let owes = if is_init { self.notice(i, &ChildEventKind::Started) } else { None };
            let closing = self.record(i, function.returned, returned.to_cbor(), More { owes, ..More::default() });
            self.tell(i, owes, ChildEventKind::Started, &closing);
            (Outcome::Returned(result), closing)
        };
        self.actors[i].work = None;
        if is_init {
            self.actors[i].at = At::Idle;
            return self.is_up(i, Some(closing));
        }
        let answer = Given::Answer(Answer { outcome, closing: Some(closing) });
        self.actors[i].at = At::Closed { reply: work.reply, answer, is_enqueued: true, then: Box::new(At::Idle) };
    }

    /// What an event owes the parent, where that lives.
    fn notice(&self, i: usize, kind: &ChildEventKind) -> Option<Owed> {
        let parent = self.actors[i].parent.filter(|parent| self.actors[*parent].takes())?;
        Promise::Notice(kind.clone()).owed(self.actors[parent].id)
    }

    fn tell(&mut self, i: usize, owes: Option<Owed>, kind: ChildEventKind, cause: &Link) {
        let (Some(_), Some(parent)) = (owes, self.actors[i].parent) else { return };
        let params = notice::params(self.actors[i].id, kind);
        let mail = Mail { function: HANDLE_CHILD_EVENT.full, params, cause: cause.clone(), reply: None };
        self.actors[parent].notices.push_back(mail);
    }

    /// The delivery that an open request has promised.
    fn promised(&self, i: usize) -> Option<Cause> {
        match &self.actors[i].at {
            At::Awaiting(open) | At::Decided { open, .. } if open.function.full == REQUEST.full => {
                Some(Cause::from(&open.intent))
            }
            _ => None,
        }
    }

    /// The wait that goes when the end is enqueued.
    fn held(&self, i: usize) -> Option<WaitId> {
        match &self.actors[i].at {
            At::Awaiting(open) | At::Decided { open, .. } => Some(self.replies[open.reply].wait),
            At::Recorded { wait } => Some(*wait),
            _ => None,
        }
    }

    /// Its incarnation fails: for good, or its mail waits for the next one.
    fn fail(&mut self, i: usize, reason: FailureReason) {
        let for_good = !self.actors[i].was_up || self.rng.one_in(2);
        let detail = String::from("it failed");
        let dropped: Vec<Mail> = if for_good { self.drain(i) } else { Vec::new() };
        let kind = ChildEventKind::Failed(format!("{reason}: {detail}"));
        let owes = self.notice(i, &kind);
        let more = More { owes, settles: settled(&dropped, self.promised(i)), ends: for_good };
        let failed = Failed { detail: detail.clone(), reason, dropped: causes(&dropped) };
        let held = self.held(i);
        let closing = self.record(i, "failed", failed.to_cbor(), more);
        held.into_iter().for_each(|wait| self.waits.end(wait));
        self.tell(i, owes, kind, &closing);
        let work = self.actors[i].work.take();
        self.refuse(dropped, "failed", &closing);
        if for_good || !self.actors[i].was_up {
            self.not_up(i, "it failed");
        }
        let then = if for_good {
            self.end_children(i);
            At::Ended
        } else {
            // A stop stands.
            self.actors[i].order = self.actors[i].order.take().filter(|order| !order.cycle);
            self.not_up(i, "it failed");
            At::Down
        };
        if for_good {
            self.stopped(i, Some(closing.clone()));
        }
        let answer = Given::Answer(Answer {
            outcome: Outcome::Failed(ActorFailure::new(FailureReason::Trap, "it failed")),
            closing: Some(closing),
        });
        let reply = work.and_then(|work| work.reply);
        self.actors[i].at = At::Closed { reply, answer, is_enqueued: true, then: Box::new(then) };
    }

    fn drain(&mut self, i: usize) -> Vec<Mail> {
        let actor = &mut self.actors[i];
        actor.notices.drain(..).chain(actor.mail.drain(..)).collect()
    }

    fn refuse(&mut self, dropped: Vec<Mail>, why: &str, closing: &Link) {
        for reply in dropped.into_iter().filter_map(|mail| mail.reply) {
            self.waits.end(self.replies[reply].wait);
            let answer = Answer { outcome: Outcome::Dropped(why.into()), closing: Some(closing.clone()) };
            self.replies[reply].given = Some(Given::Answer(answer));
        }
    }

    fn end_children(&mut self, i: usize) {
        for child in 0..self.actors.len() {
            if self.actors[child].parent == Some(i) && self.actors[child].takes() {
                self.actors[child].order = Some(Ordered { cycle: false, by: StoppedBy::Supervisor, cause: None });
            }
        }
    }

    fn stopped(&mut self, i: usize, closing: Option<Link>) {
        for reply in std::mem::take(&mut self.actors[i].stoppers) {
            self.waits.end(self.replies[reply].wait);
            self.replies[reply].given = Some(Given::Changed(closing.clone()));
        }
    }

    /// An order to end: at once for another incarnation, else once everything below has ended.
    fn ends_as_ordered(&mut self, i: usize) -> bool {
        let Some(Ordered { cycle, by, cause }) = self.actors[i].order.clone() else { return false };
        let (held, promised) = (self.held(i), self.promised(i));
        let reply = self.actors[i].work.take().and_then(|work| work.reply);
        let answer = Given::Answer(Answer { outcome: Outcome::Stopped, closing: None });
        if !cycle {
            // The end is recorded later. Whoever waits is told now, and its own event settles that.
            self.end_children(i);
            let then = At::Ending { by, cause, held, promised };
            self.actors[i].at = At::Closed { reply, answer, is_enqueued: self.ends_waits_early, then: Box::new(then) };
            return true;
        }
        let owes = self.notice(i, &ChildEventKind::Stopped);
        let stopped = Stopped { by, cause, dropped: Vec::new() };
        let more = More { owes, settles: promised.into_iter().collect(), ends: false };
        let closing = self.record(i, "stopped", stopped.to_cbor(), more);
        held.into_iter().for_each(|wait| self.waits.end(wait));
        self.tell(i, owes, ChildEventKind::Stopped, &closing);
        self.actors[i].order = None;
        self.actors[i].at = At::Closed { reply, answer, is_enqueued: true, then: Box::new(At::Down) };
        true
    }

    fn end_for_good(
        &mut self,
        i: usize,
        (by, cause): (StoppedBy, Option<Link>),
        held: Option<WaitId>,
        promised: Option<Cause>,
    ) -> bool {
        if self.actors.iter().any(|other| other.parent == Some(i) && !matches!(other.at, At::Ended)) {
            return false;
        }
        let dropped = self.drain(i);
        let owes = self.notice(i, &ChildEventKind::Stopped);
        let more = More { owes, settles: settled(&dropped, promised), ends: true };
        let stopped = Stopped { by, cause, dropped: causes(&dropped) };
        let closing = self.record(i, "stopped", stopped.to_cbor(), more);
        held.into_iter().for_each(|wait| self.waits.end(wait));
        self.tell(i, owes, ChildEventKind::Stopped, &closing);
        self.refuse(dropped, "was stopped", &closing);
        self.not_up(i, "stopped before it was up");
        self.stopped(i, Some(closing));
        self.actors[i].order = None;
        self.actors[i].at = At::Ended;
        true
    }
}

/// What is written with an event.
#[derive(Default)]
struct More {
    owes: Option<Owed>,
    settles: Vec<Cause>,
    ends: bool,
}

fn settled(dropped: &[Mail], promised: Option<Cause>) -> Vec<Cause> {
    dropped.iter().map(|mail| Cause::from(&mail.cause)).chain(promised).collect()
}

fn causes(dropped: &[Mail]) -> Vec<Option<Link>> {
    dropped.iter().map(|mail| Some(mail.cause.clone())).collect()
}

/// The result that a guest gets, and the event that gave it.
pub(super) fn words(given: Given) -> (Vec<u8>, Option<Link>) {
    match given {
        Given::Answer(Answer { outcome: Outcome::Returned(result), closing }) => {
            let result: Result<Vec<u8>, String> = Vec::from_cbor(&result).map_err(|error| error.to_string());
            (result.to_cbor(), closing)
        }
        Given::Answer(Answer { closing, .. }) => (failed_result(), closing),
        Given::Child(Ok(Spawned { id, closing })) => (Ok::<String, String>(id.to_string()).to_cbor(), closing),
        Given::Changed(closing) => (Ok::<(), String>(()).to_cbor(), closing),
        Given::Child(Err(_)) | Given::Unknown => (failed_result(), None),
    }
}

fn failed_result() -> Vec<u8> {
    Err::<Vec<u8>, String>("no answer".into()).to_cbor()
}
