//! Warnings about exported functions that nothing will call, because no granted handler calls them.

use super::{Grant, HANDLERS};
use crate::guest::Program;
use crate::manifest::nearest;

/// Interfaces of this package are meant for this runtime.
const PACKAGE: &str = "ntwk:theater/";

/// A warning for each such function, with the remedy.
pub(crate) fn unheard(program: &Program, granted: &[Box<dyn Grant>]) -> Vec<String> {
    let mut told = Vec::new();
    let mut known = Vec::new();
    for kind in HANDLERS {
        let handler = (kind.make)(None).expect("defaults are valid");
        for export in handler.exports() {
            let function = export.function();
            known.push(function.interface);
            let is_granted = granted.iter().any(|granted| granted.name() == kind.name);
            if !is_granted && program.has(function) {
                told.push(format!(
                    "the component exports \"{}\", and nothing will call it: the manifest does not grant the handler \
                     \"{}\"; add [[handlers]] with type = \"{1}\"",
                    function.full, kind.name
                ));
            }
        }
    }
    let exported = program.exported_interfaces();
    let strange = exported.iter().filter(|name| name.starts_with(PACKAGE) && !known.contains(&name.as_str()));
    told.extend(strange.map(|name| {
        let hint = nearest(name, &known).map(|nearest| format!("; did you mean \"{nearest}\"?"));
        format!("the component exports \"{name}\", which this runtime never calls{}", hint.unwrap_or_default())
    }));
    told
}
