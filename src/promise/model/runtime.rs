//! The runtime of the model, one step of one actor at a time. A step is everything that one thread does between two
//! moments at which another thread could notice it: an event is enqueued, a wait ends, an answer is given.

use std::sync::Arc;

use super::Rng;
use super::actors::{At, Given, INIT, Mail, ModelActor, ModelReply, OpenCall, Ordered, Work, failed_result};
use super::stored::ModelEntry;
use crate::base::id::Incarnation;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Caller, Encoded, NamedLimits, NamedState, StartReason, Started, StoppedBy};
use crate::chain::{ChainEvent, ComponentDigest, Function, Link};
use crate::guest::wit::{ChildEventKind, HttpRequest};
use crate::journal::{Cause, Owed};
use crate::promise::{
    HANDLE_CHILD_EVENT, HANDLE_DOWN, HANDLE_REQUEST, HANDLE_SEND, HANDLE_STREAM_CLOSED, HANDLE_STREAM_REQUEST, Promise,
    SPAWN, notice, settled_by, stream_closed, told,
};
use crate::system::{Delivery, DueWatch, RecordedEnd, Spawned, WaitId, Waits, Watches};

/// A runtime of the model.
pub(super) struct ModelRuntime {
    pub(super) rng: Rng,
    pub(super) actors: Vec<ModelActor>,
    pub(super) replies: Vec<ModelReply>,
    pub(super) waits: Waits,
    pub(super) watches: Watches,
    pub(super) journal: Vec<ModelEntry>,
    /// Whether waits end as in earlier versions: when the waiter has given up, before its `host-call` is enqueued.
    pub(super) ends_waits_early: bool,
    /// How many actions may still begin.
    pub(super) budget: usize,
    pub(super) roots: usize,
}

/// The rows that are written together with an event.
#[derive(Default)]
pub(super) struct More {
    pub(super) owes: Option<Owed>,
    pub(super) settles: Vec<Cause>,
    pub(super) ends: bool,
}

impl ModelRuntime {
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

    pub(super) fn step_of(&mut self, i: usize) -> bool {
        match self.actors[i].at.clone() {
            At::Begin { resumes, then } => self.begin(i, resumes, *then),
            At::InitDue => {
                let params = (self.actors[i].id.to_string(),).to_cbor();
                let cause = self.actors[i].spawned_by.take();
                self.call(i, INIT, params, (Caller::Runtime, None), (cause, None));
            }
            At::Idle => return self.idle(i),
            At::Working => self.work(i),
            At::Watching { watched } => self.watched(i, watched),
            At::Again { function, intent, .. } if function.full == SPAWN.full => self.spawn_for(i, intent),
            At::Again { function, intent, child } => {
                let Some(child) = self.actors.iter().position(|actor| actor.id == child) else {
                    // The child was removed before its chain had begun, so there is no such child.
                    let wait = self.waits.begin_anyway(self.actors[i].id, child);
                    let reply = self.new_reply(wait);
                    let open = OpenCall { function, intent, reply };
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
            At::Down if self.actors[i].order.is_some() => return self.end_as_ordered(i),
            At::Down => self.actors[i].at = At::Begin { resumes: false, then: Box::new(self.after_start(i)) },
            At::Ending { by, cause, held, promised } => return self.end_for_good(i, (by, cause), held, promised),
            At::Ended => return false,
        }
        true
    }

    /// The actor has ended for good by this event: who watched it is to be told, and its own watches are over.
    pub(super) fn ended_for_good(&mut self, i: usize, event: Link, failure: Option<String>) {
        let (id, end) = (self.actors[i].id, Arc::new(RecordedEnd { event, failure }));
        (self.actors[i].has_begun, self.actors[i].ended) = (false, Some(Arc::clone(&end)));
        self.actors[i].streams.clear();
        self.watches.clear(id);
        _ = self.watches.ended(id, &end);
    }

    pub(super) fn after_start(&self, i: usize) -> At {
        if self.actors[i].was_up { At::Idle } else { At::InitDue }
    }

    pub(super) fn record(&mut self, i: usize, event_type: &'static str, data: Vec<u8>, more: More) -> Link {
        let actor = &mut self.actors[i];
        let event: ChainEvent = actor.chain.append(event_type, data, 0);
        let link = actor.chain.head_link().expect("an event");
        let More { owes, mut settles, ends } = more;
        if matches!(event_type, "failed" | "stopped") {
            settles.extend(actor.putting_off.take().map(|sequence| Cause { actor: actor.id, sequence }));
        }
        self.journal.push(ModelEntry { actor: actor.id, event, owes, settles, ends });
        link
    }

    pub(super) fn begin(&mut self, i: usize, resumes: bool, then: At) {
        let id = self.actors[i].id;
        let parent = self.actors[i].parent.map(|parent| self.actors[parent].id);
        let is_first = self.actors[i].chain.next_sequence() == 0;
        let started = Started {
            id,
            fork: None,
            rows: None,
            name: String::new(),
            ended: self.actors[i].ended.is_some(),
            label: None,
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
        (self.actors[i].at, self.actors[i].has_begun, self.actors[i].ended) = (then, true, None);
        if matches!(self.actors[i].at, At::Idle) {
            self.announce_up(i, Some(link));
        }
    }

    pub(super) fn announce_up(&mut self, i: usize, closing: Option<Link>) {
        self.actors[i].was_up = true;
        let id = self.actors[i].id;
        for reply in std::mem::take(&mut self.actors[i].starters) {
            self.waits.end(self.replies[reply].wait);
            self.replies[reply].given = Some(Given::Child(Ok(Spawned { id, closing: closing.clone() })));
        }
    }

    pub(super) fn not_up(&mut self, i: usize, why: &str) {
        for reply in std::mem::take(&mut self.actors[i].starters) {
            // The parent's own event settles this wait.
            self.replies[reply].given = Some(Given::Child(Err(why.into())));
        }
    }

    pub(super) fn call(
        &mut self,
        i: usize,
        function: &'static Function,
        params: Vec<u8>,
        (caller, of): (Caller, Option<u64>),
        (cause, reply): (Option<Link>, Option<usize>),
    ) {
        let call = Call { of, ..Call::new(cause, true, caller, Encoded(params)) };
        let settled = settled_by(self.actors[i].id, function.full, &call).filter(|_| !self.is_later(reply));
        let settles = settled.into_iter().collect();
        self.record(i, function.call, call.to_cbor(), More { settles, ..More::default() });
        self.actors[i].work = Some(Work { function: function.full, reply });
        self.actors[i].at = At::Working;
    }

    pub(super) fn idle(&mut self, i: usize) -> bool {
        if self.end_as_ordered(i) {
            return true;
        }
        let id = self.actors[i].id;
        if let Some(DueWatch { reference, end }) = self.watches.first_due(id).filter(|_| self.rng.one_in(2)) {
            let (params, cause) = (told(reference, &end), Some(end.event.clone()));
            self.call(i, HANDLE_DOWN, params, (Caller::Runtime, Some(reference)), (cause, None));
            self.watches.end(id, reference);
            return true;
        }
        if self.rng.one_in(2) && self.told_later(i) {
            return true;
        }
        if !self.actors[i].streams.is_empty() && (self.budget == 0 || self.rng.one_in(4)) {
            let at = self.rng.below(self.actors[i].streams.len());
            self.client_goes(i, at);
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
            let functions = [HANDLE_SEND, HANDLE_REQUEST, HANDLE_CHILD_EVENT, HANDLE_STREAM_CLOSED];
            let function = functions.into_iter().find(|it| it.full == mail.function).expect("one of these");
            self.call(i, function, mail.params, (Caller::Actor, None), (Some(mail.cause), mail.reply));
            return true;
        }
        if self.budget == 0 {
            // An end may wait for its turn.
            return self.told_later(i) || self.watches.first_due(id).is_some();
        }
        self.budget -= 1;
        if self.rng.one_in(12) {
            let cycle = self.rng.one_in(2);
            self.order(i, Ordered { cycle, by: StoppedBy::Operator, cause: None });
            return true;
        }
        if self.rng.one_in(4) {
            let id = self.actors[i].chain.next_sequence();
            let request = HttpRequest { method: "GET".into(), uri: "/".into(), headers: Vec::new(), body: None };
            self.call(i, HANDLE_STREAM_REQUEST, (id, request).to_cbor(), (Caller::Http, None), (None, None));
            return true;
        }
        self.call(i, HANDLE_SEND, (Vec::<u8>::new(),).to_cbor(), (Caller::Management, None), (None, None));
        true
    }

    /// The client of an open stream goes, and the actor is to be told.
    fn client_goes(&mut self, i: usize, at: usize) {
        let (id, opened) = self.actors[i].streams.swap_remove(at);
        let Delivery { function, params, .. } = stream_closed(opened.clone(), id);
        self.actors[i].notices.push_back(Mail { function: function.full, params, cause: opened, reply: None });
    }

    pub(super) fn order(&mut self, i: usize, order: Ordered) {
        if self.actors[i].takes() && self.actors[i].order.is_none() {
            self.actors[i].order = Some(order);
        }
    }

    pub(super) fn new_reply(&mut self, wait: WaitId) -> usize {
        self.replies.push(ModelReply {
            wait,
            claimed: false,
            withdrawn: false,
            is_given_up: false,
            is_later: false,
            given: None,
        });
        self.replies.len() - 1
    }

    pub(super) fn deliver(&mut self, to: usize, function: &'static Function, cause: Link, reply: Option<usize>) {
        let mail = Mail { function: function.full, params: (Vec::<u8>::new(),).to_cbor(), cause, reply };
        self.actors[to].mail.push_back(mail);
    }

    pub(super) fn notice(&self, i: usize, kind: &ChildEventKind) -> Option<Owed> {
        let parent = self.actors[i].parent.filter(|parent| self.actors[*parent].takes())?;
        Promise::Notice(kind.clone()).owed(self.actors[parent].id)
    }

    pub(super) fn tell(&mut self, i: usize, owes: Option<Owed>, kind: ChildEventKind, cause: &Link) {
        let (Some(_), Some(parent)) = (owes, self.actors[i].parent) else { return };
        let params = notice::params(self.actors[i].id, kind);
        let mail = Mail { function: HANDLE_CHILD_EVENT.full, params, cause: cause.clone(), reply: None };
        self.actors[parent].notices.push_back(mail);
    }
}
