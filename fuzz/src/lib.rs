//! Finds a target of Theater's by its name.

/// Has the target understand `bytes`.
pub fn run(target: &str, bytes: &[u8]) {
    let found = theater::FUZZ_TARGETS.iter().find(|(name, _)| *name == target);
    let (_, understand) = found.unwrap_or_else(|| panic!("no target {target}"));
    understand(bytes);
}
