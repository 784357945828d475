//! Names: which actor a label or an address stands for.
//!
//! An actor that has ended keeps its label until a sibling is spawned with the same one. So an address stands for the actor
//! that is alive; and if there is none, for the one that came last.

use std::collections::HashMap;
use std::sync::Arc;

use super::{ActorEntry, ActorInfo, Inner, Registry};
use crate::base::id::ActorId;
use crate::base::limits::ADDRESS_BYTES;
use crate::manifest::Reachable;
use crate::system::label::{ActorAddress, Label, NoSuchAddress, is_addressable};
use crate::system::refusal::Refusal;

/// The actors by their names: roots by the names in their manifests, children by their labels.
#[derive(Debug, Default)]
pub(super) struct ActorNames {
    roots: HashMap<Arc<str>, Vec<ActorId>>,
    labelled: HashMap<ActorId, HashMap<Label, Vec<ActorId>>>,
}

impl ActorNames {
    pub(super) fn add(&mut self, entry: &ActorEntry) {
        let id = entry.actor.id;
        match (entry.parent, &entry.label) {
            (None, _) => self.roots.entry(entry.name.as_str().into()).or_default().push(id),
            (Some(parent), Some(label)) => {
                let holders = self.labelled.entry(parent).or_default().entry(label.clone());
                // There is nearly always one.
                holders.or_insert_with(|| Vec::with_capacity(1)).push(id);
            }
            (Some(_), None) => {}
        }
    }

    pub(super) fn remove(&mut self, entry: &ActorEntry) {
        let id = entry.actor.id;
        match (entry.parent, &entry.label) {
            (None, _) => take_away(&mut self.roots, entry.name.as_str(), id),
            (Some(parent), Some(label)) => {
                let Some(labels) = self.labelled.get_mut(&parent) else { return };
                take_away(labels, label.as_str(), id);
                if labels.is_empty() {
                    self.labelled.remove(&parent);
                }
            }
            (Some(_), None) => {}
        }
    }

    fn root(&self, name: &str) -> &[ActorId] {
        self.roots.get(name).map_or(&[], Vec::as_slice)
    }

    fn child(&self, parent: ActorId, label: &str) -> &[ActorId] {
        self.labelled.get(&parent).and_then(|labels| labels.get(label)).map_or(&[], Vec::as_slice)
    }
}

fn take_away<K: std::hash::Hash + Eq + std::borrow::Borrow<str>>(
    names: &mut HashMap<K, Vec<ActorId>>,
    name: &str,
    id: ActorId,
) {
    let Some(holders) = names.get_mut(name) else { return };
    holders.retain(|holder| *holder != id);
    if holders.is_empty() {
        names.remove(name);
    }
}

impl Registry {
    /// The actor that an address stands for now.
    pub(crate) fn resolve(&self, address: &str) -> Result<ActorId, NoSuchAddress> {
        match ActorAddress::read(address)? {
            ActorAddress::Id(id) => Ok(id),
            ActorAddress::Path(path) => self.0.read().follow(path),
        }
    }

    /// The living child of `parent` that has this label.
    pub(crate) fn labelled(&self, parent: ActorId, label: &Label) -> Option<ActorId> {
        let inner = self.0.read();
        inner.living(inner.names.child(parent, label.as_str())).next()
    }

    /// The child of `parent` that had this label last and has ended.
    pub(crate) fn ended_with_label(&self, parent: ActorId, label: &Label) -> Option<ActorId> {
        let inner = self.0.read();
        let holders = inner.names.child(parent, label.as_str());
        if inner.living(holders).next().is_some() { None } else { holders.last().copied() }
    }

    /// The living actor, other than `id`, that has the same name among the roots, or the same label among the siblings.
    pub(crate) fn namesake(&self, id: ActorId) -> Option<ActorId> {
        let inner = self.0.read();
        let entry = inner.actors.get(&id)?;
        let holders = match (entry.parent, &entry.label) {
            (None, _) => inner.names.root(&entry.name),
            (Some(parent), Some(label)) => inner.names.child(parent, label.as_str()),
            (Some(_), None) => return None,
        };
        inner.living(holders).find(|other| *other != id)
    }

    /// The living root actor of this name.
    pub(crate) fn root_named(&self, name: &str) -> Option<ActorId> {
        let inner = self.0.read();
        inner.living(inner.names.root(name)).next()
    }

    /// The root actors that are to run, by their names: all but those that had ended before this start of the runtime.
    pub(crate) fn roots(&self) -> Vec<ActorInfo> {
        let inner = self.0.read();
        let ids = inner.names.roots.values().flatten();
        let entries = ids.filter_map(|id| inner.actors.get(id)).filter(|entry| !entry.ended_before);
        let mut roots: Vec<ActorInfo> = entries.map(|entry| inner.info(entry)).collect();
        roots.sort_unstable_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
        roots
    }

    /// The path of an actor that has a label, or else its name.
    pub(crate) fn shown_name(&self, id: ActorId) -> Option<String> {
        let inner = self.0.read();
        let entry = inner.actors.get(&id)?;
        entry.label.as_ref().and_then(|_| inner.path(id)).or_else(|| Some(entry.name.clone()))
    }
}

impl Inner {
    fn living(&self, holders: &[ActorId]) -> impl Iterator<Item = ActorId> {
        holders.iter().copied().filter(|id| self.actors.get(id).is_some_and(|entry| entry.status.is_alive()))
    }

    fn follow(&self, path: &str) -> Result<ActorId, NoSuchAddress> {
        let mut parts = path.split('/');
        let root = parts.next().unwrap_or_default();
        let roots = self.names.root(root);
        let mut at = match self.living(roots).count() {
            0 | 1 => self.holder(roots),
            several => return Err(NoSuchAddress::Several(root.to_owned(), several)),
        };
        for label in parts {
            at = at.and_then(|parent| self.holder(self.names.child(parent, label)));
        }
        at.ok_or_else(|| NoSuchAddress::Nobody(path.chars().take(64).collect()))
    }

    /// The one that is alive, or else the one that came last.
    fn holder(&self, holders: &[ActorId]) -> Option<ActorId> {
        self.living(holders).next().or_else(|| holders.last().copied())
    }

    /// The name of an actor's root and the labels down to it; none if an actor on the way has no label.
    pub(super) fn path(&self, id: ActorId) -> Option<String> {
        let mut parts = Vec::new();
        let mut entry = self.actors.get(&id)?;
        while let Some(parent) = entry.parent {
            parts.push(entry.label.as_ref()?.as_str());
            entry = self.actors.get(&parent)?;
        }
        if !is_addressable(&entry.name) {
            return None;
        }
        parts.push(&entry.name);
        parts.reverse();
        let path = parts.join("/");
        // A longer one is no address.
        (path.len() <= ADDRESS_BYTES).then_some(path)
    }

    /// Refuses a message of `from` if the manifest of `to` does not let it in.
    pub(super) fn check_reachable(&self, from: ActorId, to: ActorId) -> Result<(), Refusal> {
        let Some(receiver) = self.actors.get(&to).filter(|entry| !entry.reachable.by_any()) else { return Ok(()) };
        let sender = self.actors.get(&from);
        let is_parent = receiver.parent == Some(from);
        let is_sibling = receiver.parent.is_some() && sender.is_some_and(|sender| sender.parent == receiver.parent);
        let is_child = sender.is_some_and(|sender| sender.parent == Some(to));
        let Reachable { parent, siblings, children, any: _ } = receiver.reachable;
        let is_let_in = from == to || (parent && is_parent) || (siblings && is_sibling) || (children && is_child);
        if is_let_in { Ok(()) } else { Err(Refusal::NotReachable(to, receiver.reachable.to_string())) }
    }
}
