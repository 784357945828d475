//! Downward: what came of a call, step by step, breadth first, until there is nothing more or enough.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use serde_json::Value as Json;

use super::super::Failure;
use super::chains::{ChainPlace, SEARCHED, Search, TracedChains};
use super::climb::{Outermost, beginning_of, is_resumption, outermost};
use super::source::EventSource;
use super::told;
use super::tree::{CausalKind, CausalNode, CausalOutcome, CausalTree};
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, HostCall, Return, Started};
use crate::chain::{ChainEvent, EventKind, Function, Link};
use crate::promise::{REQUEST, REQUEST_ASYNC, SEND};

/// A tree has so many nodes at most, and so many calls from the outermost to the innermost.
const NODES: usize = 2_000;
const DEPTH: usize = 64;
/// Of the host calls that are an actor's own affair (its clock, its table), so many are shown of each call.
const OWN_STEPS: usize = 100;
/// A parent is told of its child soon: so many of its events are looked at.
const NOTICED_WITHIN: u64 = 2_000;
/// One call is followed so far.
const CALL_EVENTS: u64 = 100_000;

const INIT: &str = "ntwk:theater/actor.init";

/// What came of the outermost call that led to event `sequence` of `actor`.
pub(in crate::cli) fn trace(
    source: &mut dyn EventSource,
    actor: ActorId,
    sequence: u64,
) -> Result<CausalTree, Failure> {
    let mut chains = TracedChains::of(source);
    let Outermost { place, note } = outermost(&mut chains, (actor, sequence))?;
    let mut collection = Collection {
        chains,
        asked: (actor, sequence),
        nodes: Vec::new(),
        tasks: VecDeque::from([Task::Call { place, below: None, depth: 0 }]),
        seen: HashSet::new(),
        left_out: 0,
        notes: note.into_iter().collect(),
    };
    while let Some(task) = collection.tasks.pop_front() {
        collection.carry_out(task)?;
    }
    Ok(collection.into_tree())
}

/// The intents and host calls of a call.
type Steps = Vec<Rc<ChainEvent>>;

/// A node, and the one that it came of.
struct Collected {
    node: CausalNode,
    below: Option<usize>,
}

/// What is still to be followed. `below` is the node that it belongs to.
enum Task {
    Call {
        place: ChainPlace,
        below: Option<usize>,
        depth: usize,
    },
    /// The call by which `receiver` has taken what the event `cause` sent.
    Delivery {
        receiver: ActorId,
        cause: ChainPlace,
        below: usize,
        depth: usize,
    },
    /// The call that gave the answer `link`.
    Answered {
        link: Link,
        below: usize,
        depth: usize,
    },
    /// The call by which the actor is told of the answer to what its event asked.
    Reply {
        asked: ChainPlace,
        below: usize,
        depth: usize,
    },
    /// The call by which the parent is told of an event of its child.
    Notice {
        child: ActorId,
        event: u64,
        unix_ms: u64,
        below: usize,
        depth: usize,
    },
}

struct Collection<'s> {
    chains: TracedChains<'s>,
    asked: ChainPlace,
    nodes: Vec<Collected>,
    tasks: VecDeque<Task>,
    seen: HashSet<ChainPlace>,
    left_out: u64,
    notes: Vec<String>,
}

impl Collection<'_> {
    fn carry_out(&mut self, task: Task) -> Result<(), Failure> {
        match task {
            Task::Call { place, below, depth } => self.call(place, below, depth),
            Task::Delivery { receiver, cause, below, depth } => {
                let since = self.nodes[below].node.began_ms;
                match self.chains.call_caused_by(receiver, cause, since, SEARCHED) {
                    Ok(Search::Taken(call)) => self.call((receiver, call), Some(below), depth),
                    Ok(lacking) => {
                        self.stopped_there(below, receiver, &lacking);
                        Ok(())
                    }
                    Err(failure) => {
                        let why = format!("what became of it is not known here: {failure}");
                        self.say(below, CausalOutcome::Unknown, why);
                        Ok(())
                    }
                }
            }
            Task::Answered { link, below, depth } => {
                let place = (link.actor, link.sequence);
                match beginning_of(&mut self.chains, place) {
                    Ok(call) => self.call(call, Some(below), depth),
                    Err(failure) => {
                        let why = format!("its answer is event {} of actor {}: {failure}", link.sequence, link.actor);
                        self.explain(below, why);
                        Ok(())
                    }
                }
            }
            Task::Reply { asked, below, depth } => match self.chains.settlement_of(asked)? {
                Search::Taken(call) => self.call((asked.0, call), Some(below), depth),
                _ => Ok(()),
            },
            Task::Notice { child, event, unix_ms, below, depth } => self.notice(child, event, unix_ms, below, depth),
        }
    }

    /// Adds a node, unless there are enough. What came of one that is left out is not followed.
    fn add(&mut self, mut node: CausalNode, below: Option<usize>) -> Option<usize> {
        if self.nodes.len() >= NODES {
            self.left_out += 1;
            return None;
        }
        let is_of_it = [Some(node.sequence), node.closing].contains(&Some(self.asked.1));
        node.asked = is_of_it && node.actor == self.asked.0.to_string();
        self.nodes.push(Collected { node, below });
        Some(self.nodes.len() - 1)
    }

    /// Adds a call and its host calls; or an event that is no part of a call.
    fn call(&mut self, place: ChainPlace, below: Option<usize>, depth: usize) -> Result<(), Failure> {
        let Some(event) = self.chains.event(place)? else { return Ok(()) };
        if !self.seen.insert(place) {
            return Ok(());
        }
        if depth > DEPTH || self.chains.is_exhausted() {
            self.left_out += 1;
            return Ok(());
        }
        if event.kind() != Some(EventKind::Call) {
            return self.lone_event(place, &event, below, depth);
        }
        let (steps, closing) = self.steps_of(place)?;
        let node = self.node_of_call(place.0, &event, closing.as_deref());
        let Some(at) = self.add(node, below) else { return Ok(()) };
        self.host_calls(place.0, &steps, at, depth);
        if let Some(closing) = &closing {
            self.after(place.0, &event, closing, at, depth)?;
        }
        Ok(())
    }

    /// The host calls of a call that are shown, and the event that ends it.
    fn steps_of(&mut self, (actor, call): ChainPlace) -> Result<(Steps, Option<Rc<ChainEvent>>), Failure> {
        let (mut steps, mut own) = (Vec::new(), 0);
        for sequence in call + 1..call.saturating_add(CALL_EVENTS) {
            let Some(event) = self.chains.event((actor, sequence))? else { break };
            match event.kind() {
                Some(EventKind::Intent | EventKind::HostCall) => {
                    let is_answer = event.kind() == Some(EventKind::HostCall);
                    let is_own = !told::is_outward(event.function());
                    if is_own && own >= OWN_STEPS {
                        self.left_out += u64::from(is_answer);
                        continue;
                    }
                    own += usize::from(is_own && is_answer);
                    steps.push(event);
                }
                Some(EventKind::Return | EventKind::Refused | EventKind::Failed | EventKind::Stopped) => {
                    return Ok((steps, Some(event)));
                }
                Some(EventKind::Started) if is_resumption(&event) => {}
                Some(EventKind::Call | EventKind::Started) | None => break,
            }
            if self.chains.is_exhausted() {
                break;
            }
        }
        Ok((steps, None))
    }

    fn node_of_call(&mut self, actor: ActorId, call: &ChainEvent, closing: Option<&ChainEvent>) -> CausalNode {
        let caller = Call::from_cbor(&call.data).ok().map(|call| call.caller.word().to_owned());
        let (outcome, detail, answer) = match closing {
            Some(closing) => told::end(closing),
            None => (CausalOutcome::Open, Some("it has not ended".to_owned()), Json::Null),
        };
        let http = told::request(call, closing);
        let mut node = self.node(actor, CausalKind::Call, call, closing);
        node.function = call.function().to_owned();
        // The answer of an HTTP request is its status; headers and body are in the event.
        node.message = if http.is_some() { Json::Null } else { told::message(call) };
        node.answer = if http.is_some() { Json::Null } else { answer };
        (node.outcome, node.detail, node.caller, node.http) = (outcome, detail, caller, http);
        if call.dropped.is_some() {
            node.detail = node.detail.or(Some("the data of its call was dropped".to_owned()));
        }
        node
    }

    fn node(
        &mut self,
        actor: ActorId,
        kind: CausalKind,
        event: &ChainEvent,
        closing: Option<&ChainEvent>,
    ) -> CausalNode {
        CausalNode {
            kind,
            actor: actor.to_string(),
            name: self.chains.name(actor),
            sequence: event.sequence,
            closing: closing.map(|closing| closing.sequence),
            function: event.event_type.to_string(),
            began_ms: event.timestamp,
            took_ms: closing.map(|closing| closing.timestamp.saturating_sub(event.timestamp)),
            outcome: CausalOutcome::Done,
            detail: None,
            caller: None,
            http: None,
            to: None,
            to_name: None,
            message: Json::Null,
            answer: Json::Null,
            asked: false,
            children: Vec::new(),
        }
    }

    fn host_calls(&mut self, actor: ActorId, steps: &Steps, below: usize, depth: usize) {
        let mut at = 0;
        while let Some(asked) = steps.get(at) {
            at += 1;
            let answered = match asked.kind() {
                Some(EventKind::Intent) => {
                    let next = steps.get(at).filter(|next| next.kind() == Some(EventKind::HostCall));
                    at += usize::from(next.is_some());
                    next
                }
                _ => Some(asked),
            };
            let answered = answered.map(|answered| &**answered);
            let node = self.node_of_host_call(actor, asked, answered);
            if let Some(at) = self.add(node, Some(below))
                && told::is_outward(asked.function())
            {
                self.follow(actor, asked, answered, at, depth);
            }
        }
    }

    fn node_of_host_call(&mut self, actor: ActorId, asked: &ChainEvent, answered: Option<&ChainEvent>) -> CausalNode {
        let (outcome, detail, answer) = match answered {
            Some(answered) => told::answer(answered),
            None => (CausalOutcome::Open, Some("it has no answer yet".to_owned()), Json::Null),
        };
        let closing = answered.filter(|answered| answered.sequence != asked.sequence);
        let http = told::request_made(asked, answered);
        let mut node = self.node(actor, CausalKind::HostCall, asked, closing);
        node.function = asked.function().to_owned();
        node.to = told::addressee(asked);
        node.to_name = node.to.as_ref().and_then(|to| to.parse().ok()).map(|to| self.chains.name(to));
        node.message = if http.is_some() { Json::Null } else { told::message(asked) };
        node.answer = if http.is_some() { Json::Null } else { answer };
        (node.outcome, node.detail, node.http) = (outcome, detail, http);
        node
    }

    /// Looks for what came of a host call at other actors.
    fn follow(
        &mut self,
        actor: ActorId,
        asked: &ChainEvent,
        answered: Option<&ChainEvent>,
        below: usize,
        depth: usize,
    ) {
        let depth = depth + 1;
        let cause = (actor, asked.sequence);
        let link = answered.and_then(|it| HostCall::from_cbor(&it.data).ok()).and_then(|call| call.answer);
        if let Some(link) = link {
            self.tasks.push_back(Task::Answered { link, below, depth });
            return;
        }
        let is_sent = |function: &Function| asked.function() == function.full;
        let receiver = self.nodes[below].node.to.as_ref().and_then(|to| to.parse().ok());
        let was_refused = self.nodes[below].node.outcome == CausalOutcome::Error;
        let is_delivered = is_sent(SEND) || is_sent(REQUEST_ASYNC);
        match receiver {
            // A request whose sender was told of an error may have been taken all the same.
            Some(receiver) if is_sent(REQUEST) || (is_delivered && !was_refused) => {
                self.tasks.push_back(Task::Delivery { receiver, cause, below, depth });
            }
            _ => {}
        }
        if is_sent(REQUEST_ASYNC) && !was_refused {
            self.tasks.push_back(Task::Reply { asked: cause, below, depth });
        }
    }

    /// What a call's end leads to beyond the answer: a notice to the parent, a restart, an answer that comes later.
    fn after(
        &mut self,
        actor: ActorId,
        call: &ChainEvent,
        closing: &ChainEvent,
        at: usize,
        depth: usize,
    ) -> Result<(), Failure> {
        let (child, event, unix_ms) = (actor, closing.sequence, closing.timestamp);
        match closing.kind() {
            Some(EventKind::Failed | EventKind::Stopped) => {
                self.tasks.push_back(Task::Notice { child, event, unix_ms, below: at, depth: depth + 1 });
                self.begun_again(actor, closing, at, depth)?;
            }
            Some(EventKind::Return) if call.function() == INIT => {
                self.tasks.push_back(Task::Notice { child, event, unix_ms, below: at, depth: depth + 1 });
            }
            Some(EventKind::Return) => {
                if let Some(token) = Return::from_cbor(&closing.data).ok().and_then(|returned| returned.deferred) {
                    self.answered_later(actor, token, at)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The answer that a call has put off.
    fn answered_later(&mut self, actor: ActorId, token: u64, at: usize) -> Result<(), Failure> {
        let name = self.chains.name(actor);
        match self.chains.settlement_of((actor, token))? {
            Search::Taken(given) => {
                let event = self.chains.event((actor, given))?;
                self.explain(at, format!("it put its answer off, and gave it by event {given}"));
                if let Some(event) = event {
                    let node = self.node_of_host_call(actor, &event, Some(&event));
                    self.add(node, Some(at));
                }
            }
            _ => self.say(at, CausalOutcome::Open, format!("{name} has put its answer off, and not given it yet")),
        }
        Ok(())
    }

    /// The start that followed an end, if one did.
    fn begun_again(&mut self, actor: ActorId, end: &ChainEvent, at: usize, depth: usize) -> Result<(), Failure> {
        let mut sequence = end.sequence + 1;
        while let Some(event) = self.chains.event((actor, sequence))? {
            match event.kind() {
                Some(EventKind::Failed | EventKind::Stopped) if !self.chains.is_exhausted() => sequence += 1,
                Some(EventKind::Started) => {
                    let node = self.node_of_start(actor, &event);
                    if let Some(below) = self.add(node, Some(at)) {
                        let (event, unix_ms) = (event.sequence, event.timestamp);
                        self.tasks.push_back(Task::Notice { child: actor, event, unix_ms, below, depth: depth + 1 });
                    }
                    return Ok(());
                }
                _ => break,
            }
        }
        let name = self.chains.name(actor);
        self.explain(at, format!("{name} was not started again"));
        Ok(())
    }

    fn node_of_start(&mut self, actor: ActorId, started: &ChainEvent) -> CausalNode {
        let mut node = self.node(actor, CausalKind::Event, started, None);
        let begun = Started::from_cbor(&started.data).ok();
        node.detail = begun.map(|begun| format!("{}, incarnation {}", begun.reason, begun.incarnation.0));
        node
    }

    /// An event that is no part of a call: a start, or the end of an actor that was not at work.
    fn lone_event(
        &mut self,
        (actor, sequence): ChainPlace,
        event: &ChainEvent,
        below: Option<usize>,
        depth: usize,
    ) -> Result<(), Failure> {
        let is_end = matches!(event.kind(), Some(EventKind::Failed | EventKind::Stopped));
        let mut node = match event.kind() {
            Some(EventKind::Started) => self.node_of_start(actor, event),
            _ => self.node(actor, CausalKind::Event, event, None),
        };
        if is_end {
            (node.outcome, node.detail, _) = told::end(event);
        }
        let Some(at) = self.add(node, below) else { return Ok(()) };
        let unix_ms = event.timestamp;
        self.tasks.push_back(Task::Notice { child: actor, event: sequence, unix_ms, below: at, depth: depth + 1 });
        if is_end { self.begun_again(actor, event, at, depth) } else { Ok(()) }
    }

    /// The parent's call for an event of its child, if the parent wants to be told.
    fn notice(&mut self, child: ActorId, event: u64, unix_ms: u64, below: usize, depth: usize) -> Result<(), Failure> {
        let first = self.chains.event((child, 0))?;
        let parent = first.and_then(|first| Started::from_cbor(&first.data).ok()).and_then(|started| started.parent);
        let Some(parent) = parent else { return Ok(()) };
        // A parent whose chain cannot be read here is none that tells anything.
        match self.chains.call_caused_by(parent, (child, event), unix_ms, NOTICED_WITHIN) {
            Ok(Search::Taken(call)) => self.call((parent, call), Some(below), depth),
            _ => Ok(()),
        }
    }

    /// Says where a message has stopped that its receiver has not taken.
    fn stopped_there(&mut self, at: usize, receiver: ActorId, search: &Search) {
        let name = self.chains.name(receiver);
        let was_told = self.nodes[at].node.outcome == CausalOutcome::Error;
        match search {
            Search::Taken(_) => {}
            Search::Dropped(end) => {
                let why =
                    format!("it stopped in the mailbox of {name}, which ended by its event {end} before it took it");
                self.say(at, CausalOutcome::Dropped, why);
            }
            // The text of the error says why it was not delivered, or that the deadline has passed.
            Search::NotYet if was_told => {}
            Search::NotYet => {
                let why = format!("{name} has not taken it: it waits in the mailbox, or was lost with it");
                self.say(at, CausalOutcome::Open, why);
            }
            Search::GivenUp { from, upto } => {
                let why =
                    format!("the call of {name} for it was looked for among events {from} to {upto}, and not found");
                self.say(at, CausalOutcome::Unknown, why);
            }
        }
    }

    fn say(&mut self, at: usize, outcome: CausalOutcome, why: String) {
        if self.nodes[at].node.outcome != CausalOutcome::Error {
            self.nodes[at].node.outcome = outcome;
        }
        self.explain(at, why);
    }

    fn explain(&mut self, at: usize, why: String) {
        let detail = &mut self.nodes[at].node.detail;
        *detail = Some(detail.take().map_or(why.clone(), |before| format!("{before}; {why}")));
    }

    /// Puts the nodes together, the last first: each comes after the one that it is below.
    fn into_tree(mut self) -> CausalTree {
        if self.left_out > 0 {
            self.notes.push(format!(
                "{} nodes were left out: a trace has at most {NODES}, {DEPTH} calls deep, and of each call {OWN_STEPS} host calls \
                 that concern the actor alone; trace one of its events for more",
                self.left_out
            ));
        }
        if self.chains.is_exhausted() {
            self.notes.push("so many events were read that nothing more was looked for".to_owned());
        }
        let nodes = self.nodes.len() as u64;
        let mut below: Vec<Vec<CausalNode>> = (0..self.nodes.len()).map(|_| Vec::new()).collect();
        while let Some(Collected { mut node, below: parent }) = self.nodes.pop() {
            let mut children = below.pop().unwrap_or_default();
            children.reverse();
            node.children = children;
            match parent {
                Some(parent) => below[parent].push(node),
                None => {
                    let (actor, sequence) = (self.asked.0.to_string(), self.asked.1);
                    return CausalTree {
                        actor,
                        sequence,
                        root: node,
                        nodes,
                        left_out: self.left_out,
                        notes: self.notes,
                    };
                }
            }
        }
        unreachable!("the first node is below none")
    }
}
