//! A spec: the manifest, the program and the granted handlers that an actor runs, all checked before the actor exists.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::base::limits::{Limits, RuntimeLimits};
use crate::base::opened::Opened;
use crate::chain::ComponentDigest;
use crate::guest::{Capability, GuestEngine, Program};
use crate::handlers::{self, Grant, Handlers};
use crate::manifest::{Manifest, ManifestError};
use crate::promise::{HANDLE_DOWN, HANDLE_TIMER};
use crate::system::{CommonEntry, ManifestContents, MissedRounds, StartedFrom, VouchedManifest, is_addressable};

/// Everything that does not change while an actor runs.
pub(crate) struct Spec {
    blueprint: Arc<Blueprint>,
    /// The state that a new actor begins with.
    pub(crate) init_state: Option<Arc<[u8]>>,
}

/// The part of a spec that actors of one manifest and one component share: there may be a hundred thousand of them.
pub(crate) struct Blueprint {
    pub(crate) manifest: Manifest,
    pub(crate) program: Arc<Program>,
    pub(crate) handlers: Vec<Box<dyn Grant>>,
    /// The manifests that this manifest names as `children`, which its actor may spawn.
    pub(crate) vouched: Arc<[VouchedManifest]>,
    /// What the registry knows of each of these actors.
    common: OnceLock<Arc<CommonEntry>>,
    /// The spec of those that begin without a state.
    stateless: Mutex<Weak<Spec>>,
}

impl Spec {
    /// The spec for actors to keep. Those without an initial state share it.
    pub(crate) fn kept(self) -> Arc<Self> {
        if self.init_state.is_some() {
            return Arc::new(self);
        }
        let blueprint = Arc::clone(&self.blueprint);
        let mut stateless = blueprint.stateless.lock();
        stateless.upgrade().unwrap_or_else(|| {
            let kept = Arc::new(self);
            *stateless = Arc::downgrade(&kept);
            kept
        })
    }
}

impl Deref for Spec {
    type Target = Blueprint;

    fn deref(&self) -> &Blueprint {
        &self.blueprint
    }
}

impl Spec {
    /// Reads the files that the manifest names, compiles and links the component, and checks the types of its exports.
    pub(crate) fn load(engine: &GuestEngine, manifest: Manifest) -> Result<Self, ManifestError> {
        let component = manifest.read_component()?;
        let init_state = manifest.read_init_state()?.map(Arc::from);
        Self::admit(engine, manifest, component, init_state)
    }

    /// Like [`Spec::load`], for files that were read already.
    pub(crate) fn admit(
        engine: &GuestEngine,
        manifest: Manifest,
        component: Vec<u8>,
        init_state: Option<Arc<[u8]>>,
    ) -> Result<Self, ManifestError> {
        let spec = Self::assemble(engine, manifest, component, init_state)?;
        spec.check_exports()?;
        Ok(spec)
    }

    /// Checks that the component's exports have the types that calls are made with. This is not part of
    /// [`Spec::assemble`]: an actor that an earlier version of Theater started without this check may go on running.
    pub(crate) fn check_exports(&self) -> Result<(), ManifestError> {
        let path = self.manifest.component_path.display();
        self.program.check_exports().map_err(|error| self.manifest.error(format!("{path}: {error}")))
    }

    /// Warnings about parts of the manifest that are accepted but will probably not do what the user intends.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let unheard = handlers::unheard(&self.program, &self.handlers);
        let doubts = handlers::doubts(&self.manifest, &self.handlers);
        let name = &self.manifest.name;
        let unaddressable = (!is_addressable(name)).then(|| {
            format!(
                "no other actor can address a root actor called {name:?}: give it a name without \"/\" that is no UUID"
            )
        });
        let listens = self.handlers.iter().any(|handler| handler.listens());
        let sleepless = (listens && self.manifest.sleep_after_ms.is_some_and(|after| after > 0)).then(|| {
            "\"sleep_after_ms\" has no effect: the owner of a listener never sleeps; an actor behind a listener of the runtime \
             does"
                .to_owned()
        });
        let doubts = doubts.into_iter().chain(unaddressable).chain(sleepless);
        self.manifest.warnings.iter().cloned().chain(unheard).chain(doubts).collect()
    }

    /// Remembers what the manifests named as `children` contain now, so that a spawn can compare. `is_trusted` says of
    /// each file that an actor could not have written it; its `Err` says which actor could.
    pub(crate) fn vouch(&mut self, is_trusted: &dyn Fn(&Path) -> Result<(), String>) -> Result<(), ManifestError> {
        let children = self.handlers.iter().flat_map(|handler| handler.children());
        let vouched = children.map(|path| self.vouch_for(path, is_trusted));
        let vouched = vouched.collect::<Result<_, _>>()?;
        Arc::get_mut(&mut self.blueprint).expect("nobody shares what is being made").vouched = vouched;
        Ok(())
    }

    fn vouch_for(
        &self,
        path: &Path,
        is_trusted: &dyn Fn(&Path) -> Result<(), String>,
    ) -> Result<VouchedManifest, ManifestError> {
        let wrong = |why: String| self.manifest.handler_error("supervisor", format!("\"children\": {why}"));
        let opened = Opened::open(path).map_err(|why| wrong(format!("cannot find {}: {why}", path.display())))?;
        let found = opened.real_path().map_err(wrong)?;
        // Each file is judged by the place where the open file lies, and is read from the open file, so that nobody can
        // put another file in its place in between.
        let trusted = |opened: &Opened| opened.real_path().and_then(|real| is_trusted(&real));
        let read = || {
            let mut judged = vec![trusted(&opened)];
            let child = Manifest::read_within(opened, &Limits::default())?;
            let component = child.open_component()?;
            judged.push(trusted(&component));
            let component = ComponentDigest::of(&child.component_in(component)?);
            let init_state = child.open_init_state()?;
            judged.extend(init_state.as_ref().map(trusted));
            let init_state = match init_state {
                Some(opened) => Some(child.init_state_in(opened)?),
                None => child.read_init_state()?,
            };
            let contents =
                ManifestContents { text: Arc::clone(child.text()), component, init_state: init_state.map(Arc::from) };
            Ok(judged.into_iter().collect::<Result<(), _>>().map(|()| contents))
        };
        let was = read().map_err(|error: ManifestError| wrong(error.to_string()))?;
        Ok(VouchedManifest { manifest: found, was })
    }

    /// Everything that a manifest brings: its text, its component, its initial state.
    pub(crate) fn contents(&self) -> ManifestContents {
        let (text, init_state) = (Arc::clone(self.manifest.text()), self.init_state.clone());
        ManifestContents { text, component: self.digest(), init_state }
    }

    /// What the registry knows of an actor of this spec beside what is its own.
    pub(crate) fn common_entry(&self) -> Arc<CommonEntry> {
        // The state that is compared with a file is each actor's own.
        if self.manifest.init_state_path().is_some() {
            return Arc::new(self.new_common_entry());
        }
        Arc::clone(self.common.get_or_init(|| Arc::new(self.new_common_entry())))
    }

    fn new_common_entry(&self) -> CommonEntry {
        CommonEntry {
            name: self.manifest.name.clone(),
            exports: Arc::clone(self.program.export_names()),
            manifest_path: self.manifest.path().display().to_string(),
            limits: Arc::clone(&self.manifest.limits),
            writes_below: self.handlers.iter().find_map(|handler| handler.writes_below()).map(Path::to_owned),
            started_from: self.started_from(),
            supervision: self.manifest.supervision,
            reachable: self.manifest.reachable,
        }
    }

    /// The files that the spec was read from.
    fn started_from(&self) -> StartedFrom {
        let manifest = &self.manifest;
        StartedFrom {
            is_in_memory: manifest.is_in_memory(),
            manifest: (manifest.path(), Arc::clone(manifest.text())),
            component: (manifest.component_path.clone(), self.digest()),
            init_state: manifest.init_state_path().map(|path| (path.to_owned(), self.init_state.clone())),
        }
    }

    /// Like [`Spec::load`], for what the journal has stored.
    pub(crate) fn assemble(
        engine: &GuestEngine,
        manifest: Manifest,
        component: Vec<u8>,
        init_state: Option<Arc<[u8]>>,
    ) -> Result<Self, ManifestError> {
        let handlers = Handlers::of(engine).granted(&manifest)?;
        let path = manifest.component_path.display();
        let granted: Vec<&dyn Capability> = handlers.iter().map(|handler| &**handler as &dyn Capability).collect();
        let program = engine
            .program(&component, &granted, &Handlers::of(engine).catalogue().collect::<Vec<_>>())
            .map_err(|error| manifest.error(format!("{path}: {error}")))?;
        let unread = "this runtime was started without the actor's manifest; name it there";
        let named = handlers.iter().flat_map(|handler| handler.children());
        let named = named.filter_map(|path| path.canonicalize().ok());
        let vouched = named.map(|manifest| VouchedManifest { manifest, was: Err(unread.to_owned()) }).collect();
        let (common, stateless) = (OnceLock::new(), Mutex::default());
        let blueprint = Arc::new(Blueprint { program, handlers, vouched, manifest, common, stateless });
        Ok(Self { blueprint, init_state })
    }

    /// After how long without anything to do the actor gives its thread back: what its manifest says, or else the runtime;
    /// `None` if it never does. The owner of a listener never does: somebody may connect at any time.
    pub(crate) fn sleeps_after(&self, limits: &RuntimeLimits) -> Option<Duration> {
        let after = self.manifest.sleep_after_ms.unwrap_or(limits.sleep_after_ms);
        let listens = self.handlers.iter().any(|handler| handler.listens());
        (after > 0 && !listens).then(|| Duration::from_millis(after))
    }

    /// What becomes of missed rounds, if the actor can take timers: its manifest grants the handler, and its component has the export.
    pub(crate) fn takes_timers(&self) -> Option<MissedRounds> {
        let missed = self.handlers.iter().find_map(|handler| handler.missed_rounds());
        missed.filter(|_| self.program.function(HANDLE_TIMER.full).is_some())
    }

    /// Whether the actor can be told of ends: its component has the export.
    pub(crate) fn takes_ends(&self) -> bool {
        self.program.function(HANDLE_DOWN.full).is_some()
    }

    pub(crate) fn digest(&self) -> ComponentDigest {
        self.program.digest()
    }

    /// The same, for an actor that first began with this state.
    pub(crate) fn beginning_with(&self, init_state: Option<Arc<[u8]>>) -> Arc<Self> {
        Self { blueprint: Arc::clone(&self.blueprint), init_state }.kept()
    }

    /// Whether manifest and component are the same.
    pub(crate) fn is_same_build(&self, other: &Self) -> bool {
        self.digest() == other.digest() && self.manifest.text() == other.manifest.text()
    }
}

/// The specs that actors have now, so that actors of one manifest share what they have in common.
#[derive(Default)]
pub(crate) struct SharedSpecs(Mutex<SharedBlueprints>);

#[derive(Default)]
struct SharedBlueprints {
    by_contents: HashMap<Contents, Vec<Weak<Blueprint>>>,
    /// How many there were when those that nobody has any more were last thrown away.
    swept_at: usize,
}

/// A manifest's file and text, and the component.
pub(crate) type Contents = (PathBuf, Arc<str>, ComponentDigest);

impl SharedSpecs {
    /// The spec of an actor with this initial state, if another actor has the same manifest, limits and component.
    pub(crate) fn find(&self, contents: &Contents, limits: &Limits, init_state: Option<&Arc<[u8]>>) -> Option<Spec> {
        let shared = self.0.lock();
        let mut made = shared.by_contents.get(contents)?.iter().filter_map(Weak::upgrade);
        let blueprint = made.find(|made| *made.manifest.limits == *limits && made.is_shared())?;
        Some(Spec { blueprint, init_state: init_state.cloned() })
    }

    /// The same spec, with the blueprint of an earlier one if that is the same.
    pub(crate) fn share(&self, mut spec: Spec) -> Spec {
        let contents = (spec.manifest.path(), Arc::clone(spec.manifest.text()), spec.digest());
        let mut shared = self.0.lock();
        if shared.by_contents.len() >= 2 * shared.swept_at.max(64) {
            shared.by_contents.retain(|_, made| made.iter().any(|made| made.strong_count() > 0));
            shared.swept_at = shared.by_contents.len();
        }
        let made = shared.by_contents.entry(contents).or_default();
        made.retain(|made| made.strong_count() > 0);
        match made.iter().filter_map(Weak::upgrade).find(|made| made.is_like(&spec.blueprint)) {
            Some(like) => spec.blueprint = like,
            None => made.push(Arc::downgrade(&spec.blueprint)),
        }
        spec
    }
}

impl Blueprint {
    /// Whether actors of the other blueprint, which has the same manifest and component, can have this one.
    fn is_like(&self, other: &Self) -> bool {
        // What a manifest vouches for was read when the manifest was.
        self.manifest.limits == other.manifest.limits && self.is_shared() && other.is_shared()
    }

    fn is_shared(&self) -> bool {
        self.vouched.is_empty() && !self.manifest.is_in_memory()
    }
}
