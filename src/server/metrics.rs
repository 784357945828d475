//! The metrics that the management server and the Prometheus endpoint show: those that a handle gives.

pub(crate) use crate::theater::measure::*;
