//! `theater config`: what is in force, and where it comes from.

use std::path::PathBuf;

use clap::Args;

use super::show::{self, print_json};
use super::{Done, Failure};
use crate::config::{ConfigError, InForce, Kind, Origin, Settings};

/// What may be set on the command line of `run`; `config` takes the same, and shows what comes of it.
#[derive(Args)]
pub(super) struct Flags {
    /// The configuration file [default: theater.toml, where it is there]
    #[arg(long, value_name = "FILE", env = "THEATER_CONFIG")]
    config: Option<PathBuf>,
    /// Where the journal lies [default: theater-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// What is promised when something is acknowledged: `commit` survives power loss, `relaxed` survives kill -9
    /// [default: commit]
    #[arg(long, value_name = "WORD")]
    durability: Option<String>,
    /// Where the management server listens, or `off`; port 0 takes any free one [default: 127.0.0.1:9000]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// A Unix socket for the management server, for this user alone
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    /// The file of the token that lets a client do everything; needed to listen beyond this machine
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// The file of the token that lets a client see everything and change nothing
    #[arg(long, value_name = "FILE")]
    read_token_file: Option<String>,
    /// The certificate (PEM) of the management server: it speaks TLS then
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<String>,
    /// The key (PEM) of that certificate
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Where metrics are to be had for Prometheus, or `off` [default: off]
    #[arg(long, value_name = "HOST:PORT")]
    metrics_listen: Option<String>,
    /// What is logged: a level, or levels by module [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

impl Flags {
    pub(super) fn settings(&self) -> Result<Settings, ConfigError> {
        let flags = [
            ("data_dir", self.data_dir.clone()),
            ("durability", self.durability.clone()),
            ("management.listen", self.listen.clone()),
            ("management.socket", self.socket.clone()),
            ("management.token_file", self.token_file.clone()),
            ("management.read_token_file", self.read_token_file.clone()),
            ("management.tls_certificate", self.tls_certificate.clone()),
            ("management.tls_key", self.tls_key.clone()),
            ("metrics.listen", self.metrics_listen.clone()),
            ("logging.filter", self.log.clone()),
        ];
        Settings::of_environment(self.config.as_deref(), &flags)
    }
}

#[derive(Args)]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    flags: Flags,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A flag that is wrong is a command line that is wrong.
pub(super) fn refused(error: ConfigError) -> Failure {
    match error {
        ConfigError::Value { origin: Origin::Flag(_), .. } => Failure::usage(error),
        ConfigError::Value { origin: Origin::Default | Origin::File { .. } | Origin::Environment(_), .. }
        | ConfigError::File(_)
        | ConfigError::Token(_)
        | ConfigError::Together(_) => Failure::no(error),
    }
}

pub(super) fn config(args: &ConfigArgs) -> Done {
    let settings = args.flags.settings().map_err(refused)?;
    if args.json {
        let all: Vec<_> = settings
            .all()
            .iter()
            .map(|in_force| {
                let origin = in_force.origin.to_string();
                serde_json::json!({ "key": in_force.setting.key, "value": shown(in_force), "origin": origin })
            })
            .collect();
        print_json(&all);
    } else {
        for in_force in settings.all() {
            let value = shown(in_force).unwrap_or_else(|| "(none)".into());
            show::line(&format!("{:<38} {value:<28} {}", in_force.setting.key, in_force.origin));
        }
    }
    // What does not go together is said here, too, before a start says it.
    settings.server().map(drop).map_err(refused)
}

/// The value; of a secret only that it is there.
fn shown(in_force: &InForce) -> Option<String> {
    match (in_force.setting.kind, &in_force.value) {
        (Kind::Secret, Some(_)) => Some("(set)".into()),
        (Kind::Path | Kind::Text | Kind::Address | Kind::Number { .. } | Kind::Durability | Kind::Secret, value) => {
            value.clone().or_else(|| in_force.setting.can_be_off.then(|| "off".into()))
        }
    }
}
