//! What an actor runs: its manifest, the program, and the handlers it is granted, all checked before it exists.

use std::path::Path;
use std::sync::Arc;

use crate::base::limits::Limits;
use crate::chain::ComponentDigest;
use crate::guest::{Capability, GuestEngine, Program};
use crate::handlers::{self, Grant, Handlers};
use crate::manifest::{Manifest, ManifestError, Opened};
use crate::system::{ManifestContents, StartedFrom, VouchedManifest};

/// Everything that does not change while an actor runs.
pub(crate) struct Spec {
    pub(crate) manifest: Manifest,
    pub(crate) program: Arc<Program>,
    pub(crate) handlers: Vec<Box<dyn Grant>>,
    /// What a new actor of it begins with.
    pub(crate) init_state: Option<Arc<[u8]>>,
    /// The manifests that this one names for its actor to spawn.
    pub(crate) vouched: Arc<[VouchedManifest]>,
}

impl Spec {
    /// Reads what the manifest names, compiles and links it, and sees that all that is to be called can be.
    pub(crate) fn load(engine: &GuestEngine, manifest: Manifest) -> Result<Self, ManifestError> {
        let component = manifest.read_component()?;
        let init_state = manifest.read_init_state()?.map(Arc::from);
        Self::admit(engine, manifest, component, init_state)
    }

    /// Like [`Spec::load`], of what was read already.
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

    /// Whether the types of the component's exports are those that calls are made with. What was started by an earlier
    /// version, which did not look, runs on all the same.
    pub(crate) fn check_exports(&self) -> Result<(), ManifestError> {
        let path = self.manifest.component_path.display();
        self.program.check_exports().map_err(|error| self.manifest.error(format!("{path}: {error}")))
    }

    /// What is accepted and will hardly do what is meant.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let unheard = handlers::unheard(&self.program, &self.handlers);
        let doubts = handlers::doubts(&self.manifest, &self.handlers);
        self.manifest.warnings.iter().cloned().chain(unheard).chain(doubts).collect()
    }

    /// Holds the manifests that this one names as `children` to what they are now, where `is_trusted` says of every file
    /// of theirs that nobody else could have written it; `Err` of it says who could.
    pub(crate) fn vouch(&mut self, is_trusted: &dyn Fn(&Path) -> Result<(), String>) -> Result<(), ManifestError> {
        let children = self.handlers.iter().flat_map(|handler| handler.children());
        let vouched = children.map(|path| self.vouch_for(path, is_trusted));
        self.vouched = vouched.collect::<Result<_, _>>()?;
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
        // What is judged is where the open files lie: from there they are read.
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

    /// All of it that a manifest brings.
    pub(crate) fn contents(&self) -> ManifestContents {
        let (text, init_state) = (Arc::clone(self.manifest.text()), self.init_state.clone());
        ManifestContents { text, component: self.digest(), init_state }
    }

    /// What it was read from.
    pub(crate) fn started_from(&self) -> StartedFrom {
        let manifest = &self.manifest;
        StartedFrom {
            is_in_memory: manifest.is_in_memory(),
            manifest: (manifest.path(), Arc::clone(manifest.text())),
            component: (manifest.component_path.clone(), self.digest()),
            init_state: manifest.init_state_path().map(|path| (path.to_owned(), self.init_state.clone())),
        }
    }

    /// Like [`Spec::load`], from what the journal kept.
    pub(crate) fn assemble(
        engine: &GuestEngine,
        manifest: Manifest,
        component: Vec<u8>,
        init_state: Option<Arc<[u8]>>,
    ) -> Result<Self, ManifestError> {
        let handlers = Handlers::of(engine).granted(&manifest)?;
        let path = manifest.component_path.display();
        let compiled = engine.compile(&component).map_err(|error| manifest.error(format!("{path}: {error}")))?;
        let granted: Vec<&dyn Capability> = handlers.iter().map(|handler| &**handler as &dyn Capability).collect();
        let program = Program::new(engine, compiled, &granted, &Handlers::of(engine).catalogue().collect::<Vec<_>>())
            .map_err(|error| manifest.error(format!("{path}: {error}")))?;
        let unread = "this runtime was started without the actor's manifest; name it there";
        let named = handlers.iter().flat_map(|handler| handler.children());
        let named = named.filter_map(|path| path.canonicalize().ok());
        let vouched = named.map(|manifest| VouchedManifest { manifest, was: Err(unread.to_owned()) }).collect();
        Ok(Self { program, handlers, init_state, vouched, manifest })
    }

    pub(crate) fn digest(&self) -> ComponentDigest {
        self.program.digest()
    }
}
