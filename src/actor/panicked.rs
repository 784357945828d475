//! A panic on an actor's thread, outside of the guest: a defect of Theater, and a failure of that actor alone.
//!
//! The thread lives on, with the mailbox, the listeners and whoever waits for the actor's end: it reads where the chain
//! ends, records `failed` there with the reason `panic`, and hears from the supervisor what is to become of the actor, as
//! after any failure. A second panic before the actor is up again ends the thread; the supervisor then begins another one
//! where the policy says so.

use std::any::Any;
use std::panic::resume_unwind;

use super::ending::Settled;
use super::runtime::{ActorRuntime, Again, Down, Next};
use crate::base::thread::panic_message;
use crate::chain::data::{FailureReason, StartReason};
use crate::chain::{Head, StateChain};
use crate::guest::Recorder;
use crate::guest::wit::ChildEventKind;
use crate::system::{ActorStatus, Reply};

impl ActorRuntime {
    #[inline(never)]
    pub(super) fn after_panic(&mut self, panic: Box<dyn Any + Send>) -> Next {
        if std::mem::replace(&mut self.panicked, true) {
            resume_unwind(panic);
        }
        let detail = panic_message(&*panic);
        log::error!("the thread of actor {} panicked: {detail}", self.spec.manifest.name);
        let mut recorder = match self.recorder_behind_the_chain() {
            Ok(recorder) => recorder,
            Err(why) => return self.ends_unrecorded(detail, &why),
        };
        let down = Down::Failed { reason: FailureReason::Panic, detail, reply: Reply::Nobody };
        self.close_mailbox_unless_it_is_kept(&down);
        if !matches!(self.settle(&mut recorder, down), Settled::Await) {
            return Next::End { closing: None };
        }
        let (from, reply) = match self.await_verdict(&mut recorder) {
            Ok(verdict) => verdict,
            Err(closing) => return Next::End { closing },
        };
        drop(recorder);
        let (reason, notice) = (StartReason::Restart, Some(ChildEventKind::Restarted));
        let incarnation = self.recorded.next();
        let again = self.read_on(Again { reason, from, incarnation, reply, notice, cause: None, open: None });
        again.map_or(Next::End { closing: None }, Next::Begin)
    }

    /// What the lost recorder has recorded is in the journal, and nothing else is of this chain.
    fn recorder_behind_the_chain(&self) -> Result<Recorder, String> {
        self.theater.journal.flush().map_err(|error| error.to_string())?;
        let reader = self.theater.journal.reader().map_err(|error| error.to_string())?;
        let last = reader.last_event(self.actor).map_err(|error| error.to_string())?.ok_or("it has no history")?;
        let chain = StateChain::behind(self.actor.id, Head { sequence: last.sequence, hash: last.hash });
        Ok(Recorder::live(chain, self.theater.journal.clone(), self.actor))
    }

    fn ends_unrecorded(&self, detail: String, why: &str) -> Next {
        log::error!("the end of actor {} cannot be recorded: {why}", self.spec.manifest.name);
        self.mailbox.close();
        self.set_status(ActorStatus::Failed { reason: FailureReason::Panic, detail });
        self.refuse(self.mailbox.drain(), "failed", None);
        Next::End { closing: None }
    }
}
