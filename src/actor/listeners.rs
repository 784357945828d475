//! The listeners of one actor: the network servers that its handlers start, and that deliver what they accept to its
//! mailbox.

use std::sync::Arc;

use super::context::ActorContext;
use crate::base::rare::Rare;
use crate::handlers::{ActorRef, Source};

/// The listeners that are open. They stay open from one incarnation to the next: what they accept in between waits in the
/// mailbox.
#[derive(Default)]
pub(super) struct Listeners(Vec<Box<dyn Source>>);

impl Listeners {
    /// Starts the listener of each handler, unless they are open already.
    pub(super) fn start(&mut self, context: &ActorContext, has_lived: bool) -> Result<(), String> {
        if !self.0.is_empty() {
            return Ok(());
        }
        let manifest = &context.spec.manifest;
        let actor = ActorRef {
            id: context.actor.id,
            name: manifest.name.as_str().into(),
            limits: Arc::clone(&manifest.limits),
            has_lived,
            theater: context.theater.clone(),
        };
        for handler in &context.spec.handlers {
            let source = handler.start(&actor);
            self.0.extend(source.map_err(|why| manifest.handler_error(handler.name(), why).to_string())?);
        }
        let addresses: Vec<_> = self.0.iter().map(|source| source.address()).collect();
        context.theater.registry.update(context.actor.id, |entry| entry.addresses = addresses.into());
        Ok(())
    }

    /// Whether there is one. Its actor does not sleep.
    pub(super) fn are_open(&self) -> bool {
        !self.0.is_empty()
    }

    /// Closes all listeners. This waits until the answers to what they have accepted have left.
    pub(super) fn close(&mut self, context: &ActorContext) {
        self.0.clear();
        // Those that came by a listener of the runtime are still there.
        context.theater.clients.all(context.actor.id).iter().for_each(|queue| queue.end());
        context.theater.registry.update(context.actor.id, |entry| entry.addresses = Rare::default());
    }
}
