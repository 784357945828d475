//! The bindings that wit-bindgen generates from `wit/`, which is a link to the repository's: a published crate has its own copy.
//!
//! The interfaces that an actor calls form one world; the linker keeps only the functions that the actor's code uses.
//! Each interface that an actor exports is a world of its own, because a component must provide every export of its
//! world.

/// Everything that an actor can call, and the types used there.
pub mod host {
    wit_bindgen::generate!({
        path: "wit",
        world: "host",
        with: {
            "ntwk:theater/websocket-types": crate::bindings::websocket::exports::ntwk::theater::websocket_server,
        },
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
// The messages of both interfaces for WebSocket clients are the same types here.
exports!(connections, "exports-connections", {
    "ntwk:theater/types": crate::bindings::host::ntwk::theater::types,
    "ntwk:theater/websocket-types": crate::bindings::websocket::exports::ntwk::theater::websocket_server,
});
exports!(streams, "exports-streams", {
    "ntwk:theater/types": crate::bindings::host::ntwk::theater::types,
    "ntwk:theater/http-types": crate::bindings::host::ntwk::theater::http_types,
});
exports!(timers, "exports-timers", {
    "ntwk:theater/types": crate::bindings::host::ntwk::theater::types,
});
exports!(monitors, "exports-monitors", {
    "ntwk:theater/types": crate::bindings::host::ntwk::theater::types,
});
exports!(replies, "exports-replies", {
    "ntwk:theater/types": crate::bindings::host::ntwk::theater::types,
});
exports!(children, "exports-children", {
    "ntwk:theater/types": crate::bindings::host::ntwk::theater::types,
});
exports!(migration, "exports-migration", {
    "ntwk:theater/types": crate::bindings::host::ntwk::theater::types,
});
