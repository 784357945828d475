//! `theater config`: prints the settings in force, and where each value comes from; and the flags of `theater run`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::show::{self, print_json};
use super::{Done, Failure, file_or_none};
use crate::config::{ClusterOptions, ConfigError, InForce, Kind, NamedSecret, Origin, Settings};

/// The settings that the command line of `run` takes; `config` takes the same ones and shows the result.
#[derive(Args)]
pub(super) struct Flags {
    /// The configuration file [default: theater.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "THEATER_CONFIG", value_parser = file_or_none())]
    config: Option<PathBuf>,
    /// The directory of the journal [default: theater-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// What an acknowledgement promises: `commit` survives a power loss, `relaxed` survives kill -9 [default: commit]
    #[arg(long, value_name = "WORD")]
    durability: Option<String>,
    /// End with exit status 3 once every root actor has ended and one of them has failed for good [default: false]
    #[arg(long, value_name = "BOOLEAN", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    exit_when_roots_failed: Option<String>,
    /// The address of the management server, or `off`; port 0 takes any free port [default: 127.0.0.1:9000]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// The path of a Unix socket for the management server; only this user can connect to it
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    /// The file of the token that lets a client do everything; required to listen on an address beyond this machine
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// The file of the token that lets a client see everything and change nothing
    #[arg(long, value_name = "FILE")]
    read_token_file: Option<String>,
    /// The certificate (PEM) of the management server, which then speaks TLS
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<String>,
    /// The key (PEM) of that certificate
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// The address at which Prometheus finds the metrics, or `off` [default: off]
    #[arg(long, value_name = "HOST:PORT")]
    metrics_listen: Option<String>,
    /// The PostgreSQL servers that keep the realm, as postgres://user@host,host/database; then this node is one of several
    #[arg(long, value_name = "URL")]
    cluster: Option<String>,
    /// The realm that this node owns or follows, in a cluster
    #[arg(long, value_name = "NAME")]
    realm: Option<String>,
    /// The name of this node, in a cluster [default: the name of the machine]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Accept a database server without a synchronous standby: its loss loses what was acknowledged [default: false]
    #[arg(long, value_name = "BOOLEAN", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    single_server: Option<String>,
    /// The URL of a collector of OpenTelemetry (OTLP over HTTP), such as http://127.0.0.1:4318, or `off` [default: off]
    #[arg(long, value_name = "URL")]
    telemetry_endpoint: Option<String>,
    /// Which records are logged: a level, or levels by module [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How records are logged: as `text`, or each as a `json` object [default: text]
    #[arg(long, value_name = "WORD")]
    log_format: Option<String>,
}

impl Flags {
    pub(super) fn settings(&self) -> Result<Settings, ConfigError> {
        let flags = [
            ("data_dir", self.data_dir.clone()),
            ("durability", self.durability.clone()),
            ("exit_when_roots_failed", self.exit_when_roots_failed.clone()),
            ("management.listen", self.listen.clone()),
            ("management.socket", self.socket.clone()),
            ("management.token_file", self.token_file.clone()),
            ("management.read_token_file", self.read_token_file.clone()),
            ("management.tls_certificate", self.tls_certificate.clone()),
            ("management.tls_key", self.tls_key.clone()),
            ("metrics.listen", self.metrics_listen.clone()),
            ("cluster.url", self.cluster.clone()),
            ("cluster.realm", self.realm.clone()),
            ("cluster.node", self.node.clone()),
            ("cluster.single_server", self.single_server.clone()),
            ("telemetry.endpoint", self.telemetry_endpoint.clone()),
            ("logging.filter", self.log.clone()),
            ("logging.format", self.log_format.clone()),
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

/// A mistake in the configuration as a failure of the command: a wrong flag is a wrong command line.
pub(super) fn refused(error: ConfigError) -> Failure {
    match error {
        ConfigError::Value { origin: Origin::Flag(_), .. } => Failure::usage(error),
        ConfigError::Value { origin: Origin::Default | Origin::File { .. } | Origin::Environment(_), .. }
        | ConfigError::File(_)
        | ConfigError::Token(_)
        | ConfigError::Together(_) => Failure::no(error),
    }
}

/// The cluster that a command is about: of these flags, or of the configuration.
pub(super) fn cluster_options(
    url: Option<String>,
    config: Option<&Path>,
    realm: Option<String>,
) -> Result<ClusterOptions, Failure> {
    let flags = [("cluster.url", url), ("cluster.realm", realm)];
    let settings = Settings::of_environment(config, &flags).map_err(refused)?;
    let which =
        "which cluster? Name it with --cluster postgres://user@host,host/database, or as cluster.url in theater.toml";
    settings.cluster().map_err(refused)?.ok_or_else(|| Failure::usage(which))
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
            .chain(settings.named_secrets().iter().map(|named| {
                let (key, value) = (format!("secrets.{}", named.name), named.source.to_string());
                serde_json::json!({ "key": key, "value": value, "origin": named.origin.to_string() })
            }))
            .chain(settings.listeners().iter().enumerate().map(|(number, listener)| {
                let (key, value) = (format!("listeners.{number}"), listener.to_string());
                serde_json::json!({ "key": key, "value": value, "origin": settings.file() })
            }))
            .collect();
        print_json(&all);
    } else {
        for in_force in settings.all() {
            let value = shown(in_force).unwrap_or_else(|| "(none)".into());
            show::line(&format!("{:<38} {value:<28} {}", in_force.setting.key, in_force.origin));
        }
        for NamedSecret { name, source, origin } in settings.named_secrets() {
            let (key, source) = (format!("secrets.{name}"), source.to_string());
            show::line(&format!("{key:<38} {source:<28} {origin}"));
        }
        for (number, listener) in settings.listeners().iter().enumerate() {
            let (key, listener) = (format!("listeners.{number}"), listener.to_string());
            show::line(&format!("{key:<38} {listener:<28} {}", settings.file()));
        }
    }
    // Settings that contradict each other are reported here too, and not only by a start.
    settings.server().map(drop).map_err(refused)?;
    settings.retention().map(drop).map_err(refused)?;
    settings.cluster().map(drop).map_err(refused)?;
    settings.proofs().map(drop).map_err(refused)?;
    settings.telemetry().map(drop).map_err(refused)
}

/// The value to be shown; a secret is not shown, only that it is set.
fn shown(in_force: &InForce) -> Option<String> {
    match (in_force.setting.kind, &in_force.value) {
        (Kind::Secret, Some(_)) => Some("(set)".into()),
        (
            Kind::Path
            | Kind::Text
            | Kind::Address
            | Kind::Number { .. }
            | Kind::Durability
            | Kind::Switch
            | Kind::Share
            | Kind::Collector
            | Kind::Cluster
            | Kind::Word(_)
            | Kind::Secret,
            value,
        ) => value.clone().or_else(|| matches!(in_force.setting.kind, Kind::Address).then(|| "off".into())),
    }
}
