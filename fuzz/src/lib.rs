//! Runs one of Theater's fuzz targets, found by its name.

/// Runs the target on `bytes`.
pub fn run(target: &str, bytes: &[u8]) {
    let found = theater::FUZZ_TARGETS.iter().find(|(name, _)| *name == target);
    let (_, understand) = found.unwrap_or_else(|| panic!("no target {target}"));
    understand(bytes);
}
