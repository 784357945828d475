//! What wit-bindgen makes of `wit/`, which is a link to the repository's: a published crate has its own copy.
//!
//! The interfaces an actor calls are one world: the linker keeps of it what the actor's code reaches. The interfaces it
//! exports are a world each, because a component must provide every export of a world it was built for.

/// Everything an actor can call, and the types of it.
pub mod host {
    wit_bindgen::generate!({
        path: "wit",
        world: "host",
        additional_derives: [Clone, Eq, PartialEq],
        generate_unused_types: true,
    });
}

macro_rules! exports {
    ($module:ident, $world:literal, { $($with:tt)* }) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "wit",
                world: $world,
                with: { $($with)* },
                additional_derives: [Clone, Eq, PartialEq],
                pub_export_macro: true,
            });
        }
    };
}

exports!(actor, "exports-actor", {
    "ntwk:theater/types": crate::bindings::host::ntwk::theater::types,
});
exports!(messages, "exports-messages", {
    "ntwk:theater/types": crate::bindings::host::ntwk::theater::types,
});
exports!(http, "exports-http", {
    "ntwk:theater/types": crate::bindings::host::ntwk::theater::types,
    "ntwk:theater/http-types": crate::bindings::host::ntwk::theater::http_types,
});
exports!(websocket, "exports-websocket", {
    "ntwk:theater/types": crate::bindings::host::ntwk::theater::types,
});
exports!(children, "exports-children", {
    "ntwk:theater/types": crate::bindings::host::ntwk::theater::types,
});
