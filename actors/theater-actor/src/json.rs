//! Encodes and decodes values as JSON, with errors that name the expected type.

use std::any::type_name;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Decodes a value. `what` names the bytes in the error: `the state is not of type counter::Counter: …`.
pub(crate) fn read<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("the {what} is not of type {}: {error}", type_name::<T>()))
}

pub(crate) fn write<T: Serialize + ?Sized>(what: &str, value: &T) -> Result<Vec<u8>, String> {
    serde_json::to_vec(value).map_err(|error| format!("the {what} cannot be written: {error}"))
}
