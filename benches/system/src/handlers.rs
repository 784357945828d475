//! Theater's HTTP engine, as it lies among the handlers.

#[path = "../../../src/handlers/net.rs"]
#[allow(dead_code)]
mod net;
#[path = "../../../src/handlers/http_server/wire/mod.rs"]
#[allow(dead_code, unused_imports, reason = "only what the measurements need of the engine is used here")]
pub(crate) mod wire;
