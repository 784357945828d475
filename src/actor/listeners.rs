//! The listeners of one actor: the network servers that its handlers start, and that deliver what they accept to its
//! mailbox.

use std::path::PathBuf;
use std::sync::Arc;

use super::context::ActorContext;
use super::spec::Spec;
use crate::base::rare::Rare;
use crate::base::thread::{self, JoinHandle};
use crate::handlers::{ActorRef, Grant, Source};

/// The listeners that are open. They stay open from one incarnation to the next: what they accept in between waits in the
/// mailbox.
#[derive(Default)]
pub(super) struct Listeners {
    open: Vec<OpenListener>,
    /// The threads on which listeners close that an upgrade has replaced.
    retiring: Vec<JoinHandle>,
    /// Such listeners for which there was no thread: they close with the actor.
    lingering: Vec<Box<dyn Source>>,
}

/// The limits that listeners keep, beside those that are named after them.
const OTHER_LIMITS: [&str; 3] = ["filesystem_entries", "push_bytes", "request_deadline_ms"];

/// One listener, and what it was started with.
struct OpenListener {
    kind: &'static str,
    settings: Settings,
    source: Box<dyn Source>,
}

/// Everything that a listener has from the manifest and the component. An upgrade that leaves all of it as it is leaves the
/// listener as it is, with its clients.
#[derive(PartialEq)]
struct Settings {
    config: Option<toml::Value>,
    /// Relative paths start from here.
    directory: Option<PathBuf>,
    limits: Vec<(&'static str, u64)>,
    /// The exports that it delivers to.
    exports: Vec<&'static str>,
}

/// The listeners of an upgrade that is about to begin: those that stay, by their places, and those that were started for it.
#[derive(Default)]
pub(super) struct ChangedListeners {
    kept: Vec<usize>,
    new: Vec<OpenListener>,
}

impl Listeners {
    /// Starts the listener of each handler, unless they are open already.
    pub(super) fn start(&mut self, context: &ActorContext, has_lived: bool) -> Result<(), String> {
        if !self.open.is_empty() {
            return Ok(());
        }
        let ChangedListeners { new, .. } = self.changed(context, &context.spec, &|_| has_lived)?;
        self.open = new;
        self.show(context);
        Ok(())
    }

    /// The listeners that the actor has with `spec`. One that differs in its settings alone takes over the socket of the one
    /// before, so that the address stays. If one cannot be started, the open ones stay as they are.
    pub(super) fn change(&self, context: &ActorContext, spec: &Spec) -> Result<ChangedListeners, String> {
        let granted = |kind: &str| context.spec.handlers.iter().any(|handler| handler.name() == kind);
        self.changed(context, spec, &granted)
    }

    fn changed(
        &self,
        context: &ActorContext,
        spec: &Spec,
        has_lived: &dyn Fn(&str) -> bool,
    ) -> Result<ChangedListeners, String> {
        let manifest = &spec.manifest;
        let mut actor = ActorRef {
            id: context.actor.id,
            name: manifest.name.as_str().into(),
            limits: Arc::clone(&manifest.limits),
            exports: Arc::clone(spec.program.export_names()),
            has_lived: true,
            theater: context.theater.clone(),
        };
        let mut changed = ChangedListeners::default();
        for handler in &spec.handlers {
            let kind = handler.name();
            let settings = || Settings::of(spec, &**handler);
            let before = self.open.iter().position(|open| open.kind == kind);
            if let Some(at) = before.filter(|at| self.open[*at].settings == settings()) {
                changed.kept.push(at);
                continue;
            }
            let before_of = || context.spec.handlers.iter().find(|before| before.name() == kind);
            let stays =
                before.is_some() && before_of().is_some_and(|it| it.listen_address() == handler.listen_address());
            let socket = before.filter(|_| stays).map(|at| self.open[at].source.socket());
            actor.has_lived = has_lived(kind);
            let source = handler.start(&actor, socket);
            let source = source.map_err(|why| manifest.handler_error(kind, why).to_string())?;
            changed.new.extend(source.map(|source| OpenListener { kind, settings: settings(), source }));
        }
        Ok(changed)
    }

    /// Puts changed listeners in the place of those before. What is replaced answers what it has accepted, and closes, on a
    /// thread of its own: the actor, which has to give these answers, does not wait for it.
    pub(super) fn replace(&mut self, context: &ActorContext, ChangedListeners { kept, new }: ChangedListeners) {
        let mut replaced = Vec::new();
        for (at, open) in std::mem::take(&mut self.open).into_iter().enumerate() {
            if kept.contains(&at) { self.open.push(open) } else { replaced.push(open.source) }
        }
        self.open.extend(new);
        self.show(context);
        if replaced.is_empty() {
            return;
        }
        let name = format!("l-{}", context.spec.manifest.name);
        match thread::spawn_with(&name, thread::STACK_BYTES, replaced, drop) {
            Ok(retiring) => self.retiring.push(retiring),
            Err((error, replaced)) => {
                log::warn!("the listener that an upgrade of actor {} has replaced stays open: {error}", context.name());
                self.lingering.extend(replaced);
            }
        }
    }

    /// Closes all listeners on a thread of their own, because the build that the actor goes back to has to start its own.
    pub(super) fn retire(&mut self, context: &ActorContext) {
        self.replace(context, ChangedListeners::default());
    }

    fn show(&self, context: &ActorContext) {
        let addresses: Vec<_> = self.open.iter().map(|open| open.source.address()).collect();
        context.theater.registry.update(context.actor.id, |entry| entry.addresses = addresses.into());
    }

    /// Whether there is one. Its actor does not sleep.
    pub(super) fn are_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Closes all listeners. This waits until the answers to what they have accepted have left.
    pub(super) fn close(&mut self, context: &ActorContext) {
        self.open.clear();
        self.lingering.clear();
        // A panic of the thread was logged.
        self.retiring.drain(..).for_each(|retiring| _ = retiring.join());
        // Those that came by a listener of the runtime are still there.
        context.theater.clients.all(context.actor.id).iter().for_each(|queue| queue.end());
        context.theater.registry.update(context.actor.id, |entry| entry.addresses = Rare::default());
    }
}

impl Settings {
    fn of(spec: &Spec, handler: &dyn Grant) -> Self {
        let manifest = &spec.manifest;
        let entry = manifest.handlers.iter().find(|entry| entry.kind == handler.name());
        let is_of_listeners = |name: &str| {
            ["http_", "websocket_"].iter().any(|prefix| name.starts_with(prefix)) || OTHER_LIMITS.contains(&name)
        };
        let exports = handler.exports().into_iter().map(|export| export.function().full);
        Self {
            config: entry.and_then(|entry| entry.settings()),
            directory: manifest.path().parent().map(ToOwned::to_owned),
            limits: manifest.limits.entries().into_iter().filter(|(name, _)| is_of_listeners(name)).collect(),
            exports: exports.filter(|name| spec.program.export_names().contains(name)).collect(),
        }
    }
}
