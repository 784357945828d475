//! The engine, where it stands among Theater's own files.

#[path = "../../../src/handlers/net.rs"]
#[allow(dead_code, reason = "only what the engine needs of it is used here")]
pub(crate) mod net;
#[path = "../../../src/handlers/http_server/wire/mod.rs"]
#[allow(dead_code, unused_imports, reason = "only what the probes need of the engine is used here")]
pub(crate) mod wire;
