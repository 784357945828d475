//! Handlers of an embedder's own: the trait [`Handler`], and the host functions that it links.

use std::cell::Cell;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Deserialize;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentNamedList, Lift, Linker, Lower};

use super::Grant;
use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::chain::Function;
use crate::chain::cbor::Cbor;
use crate::guest::{Capability, Effect, Extensions, HostState, Interruption, Live};
use crate::manifest::{HandlerEntry, ManifestError};

/// A capability of an embedder's own: host functions of a WIT interface that Theater does not bring.
///
/// [`crate::Config::handler`] adds it to a runtime. A manifest then grants it by its name, like any other handler:
///
/// ```toml
/// [[handlers]]
/// type = "dice"
/// ```
///
/// Each call of a host function is recorded in the actor's chain with its parameters and its result. A replay compares
/// the parameters with the chain and gives the guest the recorded result; it does not call the handler. A chain of an
/// actor that uses the handler is replayed by a runtime that has it: [`crate::TheaterHandle::replay`].
///
/// The value is a prototype: each actor that is granted the handler has a clone of it. Put data that all actors share
/// into an [`Arc`].
///
/// ```
/// use theater::{Handler, HostFunctions, LinkError};
///
/// /// Rolls dice that an attacker cannot foresee, or so the embedder says.
/// #[derive(Clone)]
/// struct Dice;
///
/// impl Handler for Dice {
///     const NAME: &'static str = "dice";
///     const INTERFACES: &'static [&'static str] = &["acme:dice/dice"];
///
///     fn link(functions: &mut HostFunctions<'_, Self>) -> Result<(), LinkError> {
///         functions.read("acme:dice/dice", "roll", |_dice, _call, (sides,): &(u32,)| Ok(sides / 2 + 1))
///     }
/// }
/// ```
pub trait Handler: Clone + Send + Sync + 'static {
    /// The handler's name: the `type` of its entry in a manifest. No handler of Theater has this name.
    const NAME: &'static str;

    /// The WIT interfaces whose functions it links, as `package:name/interface`. No other handler links them.
    const INTERFACES: &'static [&'static str];

    /// The handler as one actor is granted it, by the entry of that actor's manifest. By default an entry may have no
    /// `config`.
    ///
    /// # Errors
    ///
    /// [`HandlerEntry::config`] and [`HandlerEntry::error`] make an error that names the manifest's file and line.
    fn configured(&self, entry: &HandlerEntry) -> Result<Self, ManifestError> {
        let NoKeys {} = entry.config(&[])?;
        Ok(self.clone())
    }

    /// Links every function of the interfaces. It is called once for each component. A panic here, or in
    /// [`Handler::configured`], goes on in whoever starts the actor.
    ///
    /// # Errors
    ///
    /// Those of [`HostFunctions`].
    fn link(functions: &mut HostFunctions<'_, Self>) -> Result<(), LinkError>;
}

#[derive(Deserialize)]
struct NoKeys {}

/// A host function cannot be linked: two functions have one name, or the handler does not name the interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LinkError(String);

/// A guest asked for more than a limit allows. The WIT type of the function has no place for an error, so the actor
/// fails, with the reason `limit` and this text. The text names the limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BeyondLimit(pub String);

/// The call that a host function answers: who calls, and within which limits.
pub struct CallContext<'a> {
    live: &'a Live,
    limits: &'a Limits,
}

impl CallContext<'_> {
    /// The actor that calls.
    pub fn actor(&self) -> ActorId {
        self.live.id
    }

    /// The actor's name, from its manifest.
    pub fn actor_name(&self) -> &str {
        &self.live.name
    }

    /// The limits that the actor runs under.
    pub fn limits(&self) -> &Limits {
        self.limits
    }
}

/// The parameters of a host function: a tuple of at most four values. Each value is a `bool`, `u16`, `u32`, `u64`,
/// `String`, `Vec<u8>`, `Vec<String>`, or an `Option` of one. No other type implements it.
pub trait HostParams: ComponentNamedList + Lift + Cbor + 'static {}

impl<P: ComponentNamedList + Lift + Cbor + 'static> HostParams for P {}

/// The result of a host function: one value of those that [`HostParams`] names, or a `Result` of one and a `String`, or
/// a tuple of them. No other type implements it.
pub trait HostResult: Lower + Cbor + Send + 'static {}

impl<R: Lower + Cbor + Send + 'static> HostResult for R {}

/// Where a [`Handler`] links its functions. The types of each must be those that the WIT interface gives it: a component
/// that imports it otherwise is refused when it is started.
///
/// A function may ask the theater by a [`crate::TheaterHandle`] that the handler holds. But it must not wait for the actor
/// that calls it, because that actor waits for the function. To stop or restart this actor, or an actor above it, is refused
/// there. A function that waits for the end of the runtime never returns. A request to the actor that calls ends at its
/// deadline. A function that panics makes the actor fail, with the reason `panic`.
pub struct HostFunctions<'a, H> {
    linker: &'a mut Linker<Box<HostState>>,
    handler: PhantomData<fn() -> H>,
}

impl<H: Handler> HostFunctions<'_, H> {
    /// Links a function without an effect that others notice: it reads something, or computes. After a crash of the
    /// process in the middle of a call, `answer` may be called again.
    ///
    /// `answer` runs on the actor's thread, which can neither be stopped nor suspended meanwhile. What it returns is
    /// recorded before the guest gets it. If the actor's manifest has `reads = "early"`, the record may be lost in a crash
    /// although a client outside has the answer.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the function was linked already, or if [`Handler::INTERFACES`] does not name `interface`.
    pub fn read<P: HostParams, R: HostResult>(
        &mut self,
        interface: &'static str,
        name: &'static str,
        answer: impl Fn(&H, &CallContext<'_>, &P) -> Result<R, BeyondLimit> + Send + Sync + 'static,
    ) -> Result<(), LinkError> {
        let function = interned(interface, name);
        self.link(function, move |mut store: StoreContextMut<'_, Box<HostState>>, params: P| {
            let live = store.data().live().cloned();
            let HostState { recorder, limits, .. } = &mut **store.data_mut();
            let result = recorder.host_call(function, &params, |_| {
                let (handler, call) = granted::<H>(live.as_deref(), limits);
                let answered = called_by(call.actor(), || answer(handler, &call, &params));
                answered.map(Effect::Read).map_err(|BeyondLimit(why)| Interruption::TooLarge(why))
            })?;
            Ok((result,))
        })
    }

    /// Links a function that changes something outside of the runtime, or asks someone outside. The intent is on disk
    /// before `act` is called; a call that a crash interrupted is never made twice. The guest gets the error
    /// `interrupted: outcome unknown` for such a call.
    ///
    /// `act` runs on the actor's thread, which can neither be stopped nor suspended meanwhile. The function's WIT type is
    /// `result<…, string>`.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the function was linked already, or if [`Handler::INTERFACES`] does not name `interface`.
    pub fn outside<P: HostParams, T>(
        &mut self,
        interface: &'static str,
        name: &'static str,
        act: impl Fn(&H, &CallContext<'_>, &P) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<(), LinkError>
    where
        Result<T, String>: HostResult,
    {
        let function = interned(interface, name);
        self.link(function, move |mut store: StoreContextMut<'_, Box<HostState>>, params: P| {
            let live = store.data().live().cloned();
            let HostState { recorder, limits, .. } = &mut **store.data_mut();
            let result = recorder.host_call(function, &params, |attempt| {
                let (handler, call) = granted::<H>(live.as_deref(), limits);
                let (act, params) = (&act, &params);
                Ok(Effect::outside(&attempt, || {
                    Ok(Box::new(move || Ok(called_by(call.actor(), || act(handler, &call, params)))))
                }))
            })?;
            Ok((result,))
        })
    }

    fn link<P: HostParams, R: HostResult>(
        &mut self,
        function: &'static Function,
        call: impl Fn(StoreContextMut<'_, Box<HostState>>, P) -> wasmtime::Result<(R,)> + Send + Sync + 'static,
    ) -> Result<(), LinkError> {
        if !H::INTERFACES.contains(&function.interface) {
            let why = format!("the INTERFACES of the handler \"{}\" do not name its interface; add it there", H::NAME);
            return Err(LinkError(format!("{}: {why}", function.full)));
        }
        let linked = self.linker.instance(function.interface).and_then(|mut it| it.func_wrap(function.name, call));
        linked.map_err(|error| LinkError(format!("{}: {error:#}", function.full)))
    }
}

/// The handler as the calling actor was granted it. A replay runs no effects, so `live` is there. An actor has these
/// host functions only if its manifest grants the handler.
fn granted<'a, H: Handler>(live: Option<&'a Live>, limits: &'a Limits) -> (&'a H, CallContext<'a>) {
    let live = live.expect("effects run live");
    let handler = live.extensions.get::<H>().expect("the manifest grants it");
    (handler, CallContext { live, limits })
}

thread_local! {
    static CALLER: Cell<Option<ActorId>> = const { Cell::new(None) };
}

/// The actor that waits for this thread, because a host function of an embedder's handler runs on it for that actor.
pub(crate) fn caller() -> Option<ActorId> {
    CALLER.get()
}

/// Runs a host function. Until it has returned or panicked, `actor` is the [`caller`] on this thread.
fn called_by<T>(actor: ActorId, run: impl FnOnce() -> T) -> T {
    struct Called;
    impl Drop for Called {
        fn drop(&mut self) {
            CALLER.set(None);
        }
    }
    CALLER.set(Some(actor));
    let _called = Called;
    run()
}

/// The description of a function whose names are known when the process runs. Each is kept for the life of the process:
/// there are as many as handlers have functions.
fn interned(interface: &'static str, name: &'static str) -> &'static Function {
    type Known = HashMap<(&'static str, &'static str), &'static Function>;
    static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
    KNOWN.lock().get_or_insert_default().entry((interface, name)).or_insert_with(|| {
        let full: &'static str = format!("{interface}.{name}").leak();
        let event = |kind: &str| -> &'static str { format!("{kind} {full}").leak() };
        Box::leak(Box::new(Function {
            interface,
            name,
            full,
            call: event("call"),
            intent: event("intent"),
            host_call: event("host-call"),
            returned: event("return"),
            refused: event("refused"),
        }))
    })
}

/// An embedder's handler, granted to one actor.
struct Own<H>(H);

impl<H: Handler> Capability for Own<H> {
    fn name(&self) -> &'static str {
        H::NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        H::INTERFACES
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        Ok(H::link(&mut HostFunctions { linker, handler: PhantomData })?)
    }
}

impl<H: Handler> Grant for Own<H> {
    fn install(&self, extensions: &mut Extensions) {
        extensions.insert(self.0.clone());
    }
}

/// Makes an embedder's handler for one actor from its entry, or the prototype for a replay.
type MakeOwn = Arc<dyn Fn(Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> + Send + Sync>;

/// One kind of handler that an embedder has added.
#[derive(Clone)]
pub(super) struct OwnKind {
    pub(super) name: &'static str,
    pub(super) imports: &'static [&'static str],
    pub(super) make: MakeOwn,
}

impl OwnKind {
    /// Checks that a manifest can name the handler, and a component its interfaces; the text says what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { name, imports, .. } = self;
        if name.is_empty() {
            return Err("a handler has an empty name: give it the name that manifests are to grant it by".to_owned());
        }
        let is_interface = |text: &str| {
            let parts = text.split_once(':').and_then(|(package, rest)| Some((package, rest.split_once('/')?)));
            parts.is_some_and(|(package, (name, interface))| ![package, name, interface].contains(&""))
        };
        match imports.iter().find(|text| !is_interface(text)) {
            Some(text) => {
                Err(format!("\"{text}\" of the handler \"{name}\" is no interface: write package:name/interface"))
            }
            None => Ok(()),
        }
    }

    pub(super) fn of<H: Handler>(handler: H) -> Self {
        let make = move |entry: Option<&HandlerEntry>| -> Result<Box<dyn Grant>, ManifestError> {
            let handler = entry.map_or_else(|| Ok(handler.clone()), |entry| handler.configured(entry))?;
            Ok(Box::new(Own(handler)))
        };
        Self { name: H::NAME, imports: H::INTERFACES, make: Arc::new(make) }
    }
}
