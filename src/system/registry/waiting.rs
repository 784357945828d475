//! Waits between actors, as the registry keeps them: who may begin to wait for whom, and when a wait is over.

use std::sync::Arc;

use super::{Inner, Registry};
use crate::base::id::ActorId;
use crate::system::answer::Answer;
use crate::system::refusal::Refusal;
use crate::system::reply::ReplyTo;
use crate::system::waits::WaitId;

/// An actor waits for another one, until this is dropped.
///
/// It must not be dropped before the event that settles the wait was enqueued: otherwise another actor could begin a
/// wait in the other direction, and a prefix of the journal would hold two actors that wait for each other.
#[derive(Debug)]
#[must_use = "a wait ends when it is dropped"]
pub(crate) struct Wait {
    id: WaitId,
    registry: Option<Arc<Registry>>,
}

impl Wait {
    pub(super) fn new(registry: &Arc<Registry>, id: WaitId) -> Self {
        Self { id, registry: Some(Arc::clone(registry)) }
    }

    /// The wait's id, for the actor that answers: it ends the wait before it gives the answer.
    pub(crate) fn id(&self) -> WaitId {
        self.id
    }

    /// Drops a wait that the answering actor has ended already.
    pub(crate) fn end_by_answer(mut self) {
        self.registry = None;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.take() {
            registry.end_wait(self.id);
        }
    }
}

impl Registry {
    /// `from` waits for the `init` of its new child `to`, which may not be registered yet.
    pub(crate) fn begin_wait_for_init(self: &Arc<Self>, from: ActorId, to: ActorId) -> Result<Wait, Refusal> {
        let begun = self.0.write().begin(from, to);
        Ok(Wait::new(self, begun?))
    }

    /// `from` waits for an end or a restart of `to`. This is allowed whatever `to` waits for, because the order to end
    /// cuts off the wait of `to`.
    pub(crate) fn begin_wait_for_change(self: &Arc<Self>, from: ActorId, to: ActorId) -> Wait {
        let begun = self.0.write().waits.begin_anyway(from, to);
        Wait::new(self, begun)
    }

    /// A wait that was under way when an earlier process ended. Recovery has made sure that no such wait is part of a
    /// circle.
    pub(crate) fn resume_wait(self: &Arc<Self>, from: ActorId, to: ActorId) -> Wait {
        self.begin_wait_for_change(from, to)
    }

    /// The wait is over, if its waiter has not begun another since.
    pub(crate) fn end_wait(&self, wait: WaitId) {
        self.0.write().waits.end(wait);
    }

    /// Answers an actor that waits.
    ///
    /// If an event that is already enqueued gives the answer, the wait is ended first: the receiver may request something
    /// of the waiter as soon as it has answered, and that must not look like a circle. If no event gives the answer, the
    /// waiter's own next event settles it, and the waiter's recorder ends the wait.
    pub(crate) fn answer(&self, wait: WaitId, to: ReplyTo, answer: Answer) {
        if answer.closing.is_some() {
            self.end_wait(wait);
        }
        to.give(answer);
    }
}

impl Inner {
    /// Notes that `from` waits for `to`. If that would close a circle, it is refused, and the error names the actors of
    /// the circle.
    pub(super) fn begin(&mut self, from: ActorId, to: ActorId) -> Result<WaitId, Refusal> {
        self.waits.begin(from, to).map_err(|circle| Refusal::Deadlock(self.spell(&circle)))
    }

    /// The circle, written with the names of its actors. A name that several of them have is followed by the id.
    fn spell(&self, circle: &[ActorId]) -> String {
        let name = |id: &ActorId| self.actors.get(id).map_or("(new child)", |entry| entry.name.as_str());
        let spell = |id: &ActorId| {
            let shared = circle.iter().any(|other| other != id && name(other) == name(id));
            if shared { format!("{} ({id})", name(id)) } else { name(id).to_owned() }
        };
        circle.iter().map(spell).collect::<Vec<_>>().join(" -> ")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::chain::{EventHash, Link};
    use crate::system::answer::Outcome;
    use crate::system::reply::Reply;

    const LONG: Duration = Duration::from_secs(600);

    fn answer(closing: Option<Link>) -> Answer {
        Answer { outcome: Outcome::Stopped, closing }
    }

    /// `THEATER_ROUNDS` says how often.
    #[test]
    fn who_answers_a_request_and_at_once_requests_who_asked_is_never_refused() {
        let rounds = std::env::var("THEATER_ROUNDS").map_or(20_000, |text| text.parse().expect("a number"));
        let registry = Arc::new(Registry::default());
        let (a, b) = (ActorId::random(), ActorId::random());
        let closing = Link { actor: b, sequence: 1, hash: EventHash([0; 20]) };
        let ((send, requests), (done, over)) = (mpsc::channel::<Reply>(), mpsc::channel());
        let asked = Arc::clone(&registry);
        let other = std::thread::spawn(move || {
            for reply in requests {
                let Reply::Actor { wait, to } = reply else { unreachable!("an actor asks") };
                asked.answer(wait, to, answer(Some(closing.clone())));
                drop(asked.begin_wait_for_init(b, a).expect("whoever was answered waits no more"));
                done.send(()).expect("the other one is there");
            }
        });
        for _ in 0..rounds {
            let wait = registry.begin_wait_for_init(a, b).expect("nobody else waits");
            let (reply, awaited) = Reply::actor(wait.id());
            send.send(reply).expect("the other one is there");
            awaited.within(LONG).expect("an answer");
            wait.end_by_answer();
            over.recv().expect("the other one is there");
        }
        drop(send);
        other.join().expect("it was never refused");
        assert!(registry.0.read().waits.is_empty(), "no wait is left");
    }

    /// If the wait ended earlier, another actor could begin a wait that leads back, and a prefix of the journal would
    /// hold a circle.
    #[test]
    fn a_wait_that_no_event_of_the_receiver_settles_ends_when_its_waiter_lets_go_of_it() {
        let registry = Arc::new(Registry::default());
        let (a, b) = (ActorId::random(), ActorId::random());
        let wait = registry.begin_wait_for_init(a, b).expect("no circle");
        let (reply, awaited) = Reply::actor(wait.id());
        let Reply::Actor { wait: id, to } = reply else { unreachable!("an actor asks") };
        registry.answer(id, to, answer(None));
        assert_eq!(awaited.within(LONG), Ok(answer(None)));
        assert!(registry.begin_wait_for_init(b, a).is_err(), "it waits still: its own event is not enqueued");
        drop(wait);
        assert!(registry.begin_wait_for_init(b, a).is_ok());
    }
}
