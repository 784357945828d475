//! The names of functions on an actor's boundary, and the event types made of them.

/// One function of a WIT interface, with its event types ready-made. Built by [`function!`].
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) interface: &'static str,
    pub(crate) name: &'static str,
    /// The form `interface.name`.
    pub(crate) full: &'static str,
    pub(crate) call: &'static str,
    pub(crate) intent: &'static str,
    pub(crate) host_call: &'static str,
    pub(crate) returned: &'static str,
    pub(crate) refused: &'static str,
}

/// `function!("ntwk:theater/actor", "init")` builds a [`Function`] and all its event types at compile time.
macro_rules! function {
    ($interface:literal, $name:literal) => {
        &$crate::chain::Function {
            interface: $interface,
            name: $name,
            full: concat!($interface, ".", $name),
            call: concat!("call ", $interface, ".", $name),
            intent: concat!("intent ", $interface, ".", $name),
            host_call: concat!("host-call ", $interface, ".", $name),
            returned: concat!("return ", $interface, ".", $name),
            refused: concat!("refused ", $interface, ".", $name),
        }
    };
}
pub(crate) use function;
