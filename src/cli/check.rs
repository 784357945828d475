//! `theater check`: checks a manifest and its component without starting anything. It prints mistakes, and warns of what is
//! accepted but will hardly do what is meant.

use std::path::PathBuf;

use clap::Args;

use super::config::refused;
use super::show::{print_json, say};
use super::{Done, Failure, file_or_none, stderr};
use crate::actor::Spec;
use crate::config::Settings;
use crate::guest::GuestEngine;
use crate::handlers::Foreseeable;
use crate::manifest::Manifest;
use crate::theater::foreseen_refusals;

#[derive(Args)]
pub(super) struct CheckArgs {
    manifest: PathBuf,
    /// The configuration file whose limits apply [default: theater.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "THEATER_CONFIG", value_parser = file_or_none())]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn check(args: &CheckArgs) -> Done {
    let settings = Settings::of_environment(args.config.as_deref(), &[]).map_err(refused)?;
    let path = &*args.manifest;
    let manifest = Manifest::load(path, &settings.actor_limits()).map_err(Failure::no)?;
    let engine = GuestEngine::new(settings.code_cache().as_deref()).map_err(Failure::no)?;
    let mut spec = Spec::load(&engine, manifest).map_err(Failure::no)?;
    spec.vouch(&|_| Ok(())).map_err(Failure::no)?;
    let (secrets, data_dir) = (settings.secrets(), settings.data_dir());
    let runtime = Foreseeable { data_dir: &data_dir, secrets: &secrets };
    let fails = spec.handlers.iter().filter_map(|handler| handler.foreseen(&runtime));
    let unknown = spec.handlers.iter().flat_map(|handler| handler.secrets());
    let unknown = unknown.filter_map(|name| secrets.knows(name).err()).map(|why| why.in_full());
    let fails = fails.chain(unknown).map(|why| format!("a start will fail: {why}")).collect();
    let warnings = [spec.warnings(), fails, foreseen_refusals(&spec)].concat();
    warnings.iter().for_each(|warning| stderr::tell(&format!("warning: {warning}")));
    let mut exports: Vec<_> = spec.program.export_names().iter().copied().collect();
    exports.sort_unstable();
    if args.json {
        let (name, component) = (&spec.manifest.name, spec.digest().to_string());
        print_json(&serde_json::json!({
            "name": name, "component": component, "exports": exports, "warnings": warnings,
        }));
        return Ok(());
    }
    say!("{}: actor \"{}\", component {}", path.display(), spec.manifest.name, spec.digest());
    exports.iter().for_each(|export| say!("  export {export}"));
    Ok(())
}
