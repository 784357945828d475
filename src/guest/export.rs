//! The exports of a guest that deliveries may go to: `(state, params) -> result<tuple<state[, tuple<result>]>,
//! string>`.
//!
//! The chain holds parameters and results as CBOR; a guest takes and returns WIT values. One generic type translates
//! between them, and each export is one value of it: the name, the type of the parameters, the shape of the answer.
//! Live calls and replay use the same translation, so every recorded call can be made again.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use wasmtime::component::types::{self, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower, TypedFunc};
use wasmtime::{Engine, Store};

use super::interfaces::signature;
use super::state::HostState;
use super::types::{Mismatch, mismatch};
use crate::base::limits::Limits;
use crate::chain::Function;
use crate::chain::cbor::Cbor;

/// A state, as a guest takes and returns it.
pub(crate) type StateBytes = Option<Vec<u8>>;

/// The answer of an export: the new state, and its result as CBOR.
pub(crate) struct Returned {
    pub(crate) state: StateBytes,
    pub(crate) result: Vec<u8>,
}

/// An export that can be called with CBOR.
pub(crate) trait GuestExport: Send + Sync {
    fn function(&self) -> &'static Function;

    /// How many bytes its result may have, after the name of the limit that sets this.
    fn result_limit(&self, limits: &Limits) -> (&'static str, u64);

    /// The place where the type of `found`, an export of `component`, differs from the type that calls are made with;
    /// none if it fits.
    fn mismatch(&self, found: &ComponentItem, component: &types::Component) -> Option<Mismatch>;

    /// Calls the export. The outer error is a trap or an interruption; the inner error is the guest's own.
    fn call(
        &self,
        store: &mut Store<Box<HostState>>,
        instance: &Instance,
        index: &ComponentExportIndex,
        state: Option<&[u8]>,
        params: &[u8],
    ) -> wasmtime::Result<Result<Returned, String>>;
}

/// The index of a function among a component's exports.
pub(crate) fn find(component: &Component, function: &Function) -> Option<ComponentExportIndex> {
    let interface = component.get_export_index(None, function.interface)?;
    component.get_export_index(Some(&interface), function.name)
}

/// The item that a component exports under the name of a function.
pub(super) fn exported(engine: &Engine, component: &types::Component, function: &Function) -> Option<ComponentItem> {
    match component.get_export(engine, function.interface)?.ty {
        ComponentItem::ComponentInstance(interface) => Some(interface.get_export(engine, function.name)?.ty),
        _ => None,
    }
}

/// The shape of an export's answer: the state alone, or the state with a result.
pub(crate) trait AnswerShape: 'static {
    type Wire: Lift + 'static;
    fn split(wire: Self::Wire) -> Returned;
}

/// `tuple<state>`.
pub(crate) struct StateOnly;

impl AnswerShape for StateOnly {
    type Wire = (StateBytes,);

    fn split((state,): Self::Wire) -> Returned {
        Returned { state, result: ().to_cbor() }
    }
}

/// `tuple<state, tuple<R>>`.
pub(crate) struct StateAnd<R>(PhantomData<R>);

impl<R: Lift + Cbor + 'static> AnswerShape for StateAnd<R> {
    type Wire = (StateBytes, (R,));

    fn split((state, (result,)): Self::Wire) -> Returned {
        Returned { state, result: result.to_cbor() }
    }
}

/// An export with parameters `P` (a tuple) and an answer of shape `A`.
pub(crate) struct Export<P, A> {
    function: &'static Function,
    result_limit: fn(&Limits) -> (&'static str, u64),
    /// Whether the component's export was found to have these types.
    fits: AtomicBool,
    types: PhantomData<fn(P) -> A>,
}

impl<P, A> Export<P, A> {
    /// An export whose result is bounded by `message_bytes`.
    pub(crate) const fn new(function: &'static Function) -> Self {
        Self::with_result_limit(function, |limits| ("message_bytes", limits.message_bytes))
    }

    pub(crate) const fn with_result_limit(
        function: &'static Function,
        result_limit: fn(&Limits) -> (&'static str, u64),
    ) -> Self {
        Self { function, result_limit, fits: AtomicBool::new(false), types: PhantomData }
    }
}

/// The parameters of every export, and its answer.
type Params<'a, P> = (Option<&'a [u8]>, P);
type WireAnswer<A> = (Result<<A as AnswerShape>::Wire, String>,);
type Typed<'a, P, A> = TypedFunc<Params<'a, P>, WireAnswer<A>>;

impl<P, A> Export<P, A>
where
    P: ComponentNamedList + Lower + 'static,
    A: AnswerShape,
{
    /// The function in `instance`. The types of all instances are those of their component, so they are compared only
    /// once: comparing takes longer than a call.
    fn typed<'a>(
        &self,
        store: &mut Store<Box<HostState>>,
        instance: &Instance,
        index: &ComponentExportIndex,
    ) -> wasmtime::Result<Typed<'a, P, A>> {
        if self.fits.load(Ordering::Relaxed) {
            let function = instance.get_func(&mut *store, index).expect("it was found before, in the same component");
            // SAFETY: each program has exports of its own, and `get_typed_func` has found that this one, of the one
            // component that the program instantiates, has these types.
            return Ok(unsafe { TypedFunc::new_unchecked(function) });
        }
        let function = instance.get_typed_func(&mut *store, index)?;
        self.fits.store(true, Ordering::Relaxed);
        Ok(function)
    }
}

impl<P, A> GuestExport for Export<P, A>
where
    P: ComponentNamedList + Lower + Cbor + 'static,
    A: AnswerShape,
{
    fn function(&self) -> &'static Function {
        self.function
    }

    fn result_limit(&self, limits: &Limits) -> (&'static str, u64) {
        (self.result_limit)(limits)
    }

    /// wasmtime decides whether the export fits, by the same types that a call is made with. Only if it does not fit is
    /// the differing place looked for in `wit/`.
    fn mismatch(&self, found: &ComponentItem, component: &types::Component) -> Option<Mismatch> {
        let ComponentItem::ComponentFunc(function) = found else {
            return Some(Mismatch::new("a function", "something else"));
        };
        let fits = function.typecheck::<Params<'_, P>, WireAnswer<A>>(&component.instance_type());
        let why = fits.err().map(|error| format!("{error:#}"));
        if why.is_none() && !function.async_() {
            return None;
        }
        let ours = signature(self.function.interface, self.function.name);
        let place = ours.and_then(|ours| mismatch(&ours, function));
        place.or_else(|| why.map(|why| Mismatch::new("the type in wit/", format!("another ({why})"))))
    }

    fn call(
        &self,
        store: &mut Store<Box<HostState>>,
        instance: &Instance,
        index: &ComponentExportIndex,
        state: Option<&[u8]>,
        params: &[u8],
    ) -> wasmtime::Result<Result<Returned, String>> {
        let params = P::from_cbor(params).map_err(wasmtime::Error::new)?;
        let export = self.typed(store, instance, index)?;
        let (answer,) = export.call(store, (state, params))?;
        Ok(answer.map(A::split))
    }
}
