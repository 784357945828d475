//! What a guest of the model does within a transition: it sends, requests, spawns, stops and restarts children, waits for
//! the outcome, and returns.

use std::collections::{BTreeMap, VecDeque};

use super::actors::{At, Given, INIT, ModelActor, OpenCall, Ordered, failed_result, words};
use super::function_called;
use super::runtime::{ModelRuntime, More};
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Encoded, FailureReason, HostCall, Intent, Refused, Return, StateAfter, StoppedBy};
use crate::chain::{EventKind, Function, Link, StateChain, function};
use crate::guest::wit::{ChildEventKind, HttpAnswer, StreamHead};
use crate::journal::Cause;
use crate::promise::{
    HANDLE_REQUEST, HANDLE_SEND, HANDLE_STREAM_REQUEST, MONITOR, Promise, REQUEST, RESTART_CHILD, SEND, SPAWN,
    STOP_CHILD,
};
use crate::system::{Answer, Outcome};

const DEMONITOR: &Function = function!("ntwk:theater/monitors", "demonitor");
const END: &Function = function!("ntwk:theater/streams", "end");

/// How many actors one run has at most.
const ACTORS: usize = 5;

impl ModelRuntime {
    pub(super) fn work(&mut self, i: usize) {
        // An order is obeyed at once, or the transition closes within its grace.
        if self.rng.one_in(2) && self.end_as_ordered(i) {
            return;
        }
        if self.budget == 0 || self.rng.one_in(3) {
            return self.close(i);
        }
        self.budget -= 1;
        let other = self.rng.below(self.actors.len());
        match self.rng.below(21) {
            14..=15 => self.ask(i, other),
            16..=17 => self.defer(i),
            18..=19 => self.give_put_off(i),
            20 => self.end_stream(i),
            10..=12 => self.watch(i, other),
            13 => self.give_up(i),
            0..=2 => self.send(i, other),
            3..=6 => self.request(i, other),
            7 if self.actors.len() < ACTORS => self.spawn(i),
            _ => self.change(i, other),
        }
    }

    /// An address of an actor, and whom it stood for if that has to be recorded. The path is one that stands for nobody after
    /// a crash, so only what was recorded can tell.
    pub(super) fn address(&mut self, of: ActorId) -> (String, Option<ActorId>) {
        if self.rng.one_in(2) { (of.to_string(), None) } else { ("root/child".to_owned(), Some(of)) }
    }

    pub(super) fn send(&mut self, i: usize, to: usize) {
        if !self.actors[to].takes_messages() {
            return;
        }
        let receiver = self.actors[to].id;
        let (address, stood_for) = self.address(receiver);
        let params = Encoded((address, Vec::<u8>::new()).to_cbor());
        let sent = HostCall::new(None, Some(params), Encoded(Ok::<(), String>(()).to_cbor()));
        let sent = HostCall { to: stood_for, ..sent };
        let owes = Promise::Send.owed(receiver);
        let cause = self.record(i, SEND.host_call, sent.to_cbor(), More { owes, ..More::default() });
        self.deliver(to, HANDLE_SEND, cause, None);
    }

    /// Begins a watch, as the registry does before the event is recorded.
    fn watch(&mut self, i: usize, to: usize) {
        let (watcher, watched) = (self.actors[i].id, self.actors[to].id);
        if i == to || !(self.actors[to].has_begun || self.actors[to].ended.is_some()) {
            return;
        }
        let reference = self.actors[i].chain.next_sequence();
        self.watches.begin(watcher, reference, watched, self.actors[to].ended.clone());
        self.actors[i].at = At::Watching { watched };
    }

    pub(super) fn watched(&mut self, i: usize, watched: ActorId) {
        let (address, stood_for) = self.address(watched);
        let (params, reference) = (Encoded((address,).to_cbor()), self.actors[i].chain.next_sequence());
        let asked = HostCall::new(None, Some(params), Encoded(Ok::<u64, String>(reference).to_cbor()));
        let asked = HostCall { to: stood_for, ..asked };
        let owes = Promise::Monitor.owed(self.actors[i].id);
        self.record(i, MONITOR.host_call, asked.to_cbor(), More { owes, ..More::default() });
        self.actors[i].at = At::Working;
    }

    /// Gives up the oldest watch of an actor.
    fn give_up(&mut self, i: usize) {
        let actor = self.actors[i].id;
        let Some(sequence) = self.watches.open(actor).first().copied() else { return };
        let params = Some(Encoded((sequence,).to_cbor()));
        let given_up = HostCall { of: Some(sequence), ..HostCall::new(None, params, Encoded(true.to_cbor())) };
        let more = More { settles: vec![Cause { actor, sequence }], ..More::default() };
        self.record(i, DEMONITOR.host_call, given_up.to_cbor(), more);
        self.watches.end(actor, sequence);
    }

    /// Ends the oldest stream of an actor.
    fn end_stream(&mut self, i: usize) {
        if self.actors[i].streams.is_empty() {
            return;
        }
        let (id, Link { actor, sequence, .. }) = self.actors[i].streams.remove(0);
        let ended = HostCall::new(None, Some(Encoded((id,).to_cbor())), Encoded(true.to_cbor()));
        let more = More { settles: vec![Cause { actor, sequence }], ..More::default() };
        self.record(i, END.host_call, HostCall { of: Some(sequence), ..ended }.to_cbor(), more);
    }

    /// The sequence of an actor's last call.
    fn last_call(&self, i: usize) -> u64 {
        let own = self.journal.iter().rev().filter(|entry| entry.actor == self.actors[i].id);
        own.map(|entry| &entry.event).find(|event| event.kind() == Some(EventKind::Call)).expect("a call").sequence
    }

    pub(super) fn request(&mut self, i: usize, to: usize) {
        let (from, receiver) = (self.actors[i].id, self.actors[to].id);
        if !self.actors[to].takes_messages() {
            return;
        }
        let Ok(wait) = self.waits.begin(from, receiver) else { return };
        let (address, stood_for) = self.address(receiver);
        let params = Encoded((address, Vec::<u8>::new()).to_cbor());
        let owes = Promise::Request.owed(receiver);
        let intent = Intent { to: stood_for, ..Intent::new(params) };
        let intent = self.record(i, REQUEST.intent, intent.to_cbor(), More { owes, ..More::default() });
        let reply = self.new_reply(wait);
        self.deliver(to, HANDLE_REQUEST, intent.clone(), Some(reply));
        self.actors[i].at = At::Awaiting(OpenCall { function: REQUEST, intent, reply });
    }

    pub(super) fn spawn(&mut self, i: usize) {
        let params = Encoded((String::from("child.toml"),).to_cbor());
        let intent = self.record(i, SPAWN.intent, Intent::new(params).to_cbor(), More::default());
        self.spawn_for(i, intent);
    }

    pub(super) fn spawn_for(&mut self, i: usize, intent: Link) {
        let child = ActorId::of_child(self.actors[i].id, intent.sequence);
        let wait = self.waits.begin(self.actors[i].id, child).expect("a new child waits for nobody");
        let reply = self.new_reply(wait);
        self.actors.push(ModelActor {
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
            ended: None,
            asked: Vec::new(),
            putting_off: None,
            deferred: BTreeMap::new(),
            streams: Vec::new(),
        });
        self.actors[i].at = At::Awaiting(OpenCall { function: SPAWN, intent, reply });
    }

    pub(super) fn change(&mut self, i: usize, child: usize) {
        if self.actors[child].parent != Some(i) {
            return;
        }
        let function = if self.rng.one_in(2) { STOP_CHILD } else { RESTART_CHILD };
        let (address, stood_for) = self.address(self.actors[child].id);
        let intent = Intent { to: stood_for, ..Intent::new(Encoded((address,).to_cbor())) };
        let intent = self.record(i, function.intent, intent.to_cbor(), More::default());
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
        self.actors[i].at = At::Awaiting(OpenCall { function, intent, reply });
    }

    pub(super) fn wait(&mut self, i: usize, open: &OpenCall) -> bool {
        let decided = |result, answer| At::Decided { open: open.clone(), result, answer };
        if let Some(given) = self.replies[open.reply].given.clone() {
            let (result, answer) = words(given);
            self.actors[i].at = decided(result, answer);
            return true;
        }
        let was_ordered = self.actors[i].order.is_some();
        if was_ordered && self.rng.one_in(2) {
            self.withdraw(open.reply);
            return self.end_as_ordered(i);
        }
        // A deadline passes; rarely while there is something else to do.
        if !self.rng.one_in(6) && self.budget > 0 && !was_ordered {
            return false;
        }
        self.withdraw(open.reply);
        self.actors[i].at = decided(failed_result(), None);
        true
    }

    pub(super) fn withdraw(&mut self, reply: usize) {
        let reply = &mut self.replies[reply];
        (reply.withdrawn, reply.is_given_up) = (!reply.claimed, reply.claimed);
        if self.ends_waits_early {
            self.waits.end(reply.wait);
        }
    }

    pub(super) fn host_call(&mut self, i: usize, open: &OpenCall, result: Vec<u8>, answer: Option<Link>) {
        let settles = if open.function.full == REQUEST.full { vec![Cause::from(&open.intent)] } else { Vec::new() };
        let data = HostCall::new(answer, None, Encoded(result)).to_cbor();
        self.record(i, open.function.host_call, data, More { settles, ..More::default() });
        self.actors[i].at = At::Recorded { wait: self.replies[open.reply].wait };
    }

    pub(super) fn close(&mut self, i: usize) {
        let work = self.actors[i].work.clone().expect("a transition");
        let is_init = work.function == INIT.full;
        if self.rng.one_in(10) {
            return self.fail(i, FailureReason::Trap);
        }
        let function = function_called(work.function);
        let (outcome, closing) = if self.rng.one_in(6) {
            let refused = Refused { message: "no".into() };
            let (actor, put_off) = (self.actors[i].id, self.actors[i].putting_off.take());
            let settles = put_off.map(|sequence| Cause { actor, sequence }).into_iter().collect();
            let closing = self.record(i, function.refused, refused.to_cbor(), More { settles, ..More::default() });
            if is_init {
                return self.fail(i, FailureReason::Init);
            }
            (Outcome::Refused("no".into()), closing)
        } else {
            let opens = function.full == HANDLE_STREAM_REQUEST.full && self.rng.one_in(2);
            let deferred = self.actors[i].putting_off.take();
            let head = StreamHead { status: 200, headers: Vec::new(), first: None };
            let result = if opens { HttpAnswer::Stream(head).to_cbor() } else { Vec::<u8>::new().to_cbor() };
            let returned = Return { deferred, ..Return::new(StateAfter::Unchanged, Encoded(result.clone())) };
            let owes = match is_init {
                true => self.notice(i, &ChildEventKind::Started),
                false if opens => Promise::StreamEnd.owed(self.actors[i].id),
                false => None,
            };
            let id = self.last_call(i);
            let closing = self.record(i, function.returned, returned.to_cbor(), More { owes, ..More::default() });
            if let Some(token) = deferred {
                self.actors[i].work = None;
                return self.keep_put_off(i, token, work.reply);
            }
            if opens {
                self.actors[i].streams.push((id, closing.clone()));
            } else {
                self.tell(i, owes, ChildEventKind::Started, &closing);
            }
            (Outcome::Returned(result), closing)
        };
        self.actors[i].work = None;
        if is_init {
            self.actors[i].at = At::Idle;
            return self.announce_up(i, Some(closing));
        }
        let answer = Given::Answer(Answer { outcome, closing: Some(closing) });
        self.actors[i].at = At::Closed { reply: work.reply, answer, is_enqueued: true, then: Box::new(At::Idle) };
    }
}
