//! The events of an HTTP request, for what is shown of them.

pub(super) use crate::handlers::http_events::*;
