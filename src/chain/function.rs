//! The name of a function on an actor's boundary, with its event types spelled out once.

/// One function of one WIT interface. Made by [`function!`].
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) interface: &'static str,
    pub(crate) name: &'static str,
    /// `interface.name`.
    pub(crate) full: &'static str,
    pub(crate) call: &'static str,
    pub(crate) intent: &'static str,
    pub(crate) host_call: &'static str,
    pub(crate) returned: &'static str,
    pub(crate) refused: &'static str,
}

/// `function!("ntwk:theater/actor", "init")`: all its event types are made at compile time.
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
