//! The console's answer to a question or a command of the page: a status and JSON.

use serde_json::{Value as Json, json};

use crate::server::ClientError;

/// An answer that is not the page's: its status, and what the text says.
pub(super) struct ConsoleAnswer {
    pub(super) status: u16,
    pub(super) json: Json,
}

impl ConsoleAnswer {
    pub(super) fn ok(json: Json) -> Self {
        Self { status: 200, json }
    }

    pub(super) fn error(status: u16, why: impl ToString) -> Self {
        Self { status, json: json!({ "error": why.to_string() }) }
    }

    /// The answer to a question that the runtime refused, or could not be asked.
    pub(super) fn refused(why: &ClientError) -> Self {
        Self::error(if matches!(why, ClientError::Refused(_)) { 409 } else { 502 }, why)
    }
}
