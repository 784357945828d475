//! The table of settings: the name of each in the file, in the environment and on the command line.
//!
//! Each limit of actors is two settings, its default and its ceiling. They can be set only in the file: a hundred more
//! variables and flags would hide the others.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use crate::base::limits::{Declared, DeclaredSetting, Limits, ManagementLimits, RuntimeLimits};
use crate::journal::Durability;
use crate::net::postgres::PostgresUrl;
use crate::telemetry::check_endpoint;

/// Where the management server listens by default.
pub(super) const LISTEN: &str = "127.0.0.1:9000";

/// A hundred years: the clock could not count much further back.
const KEEP_DAYS: Kind = Kind::Number { least: 1, most: 36_500 };
/// A mebibyte: below that there is nothing to gain.
const KEEP_BYTES: Kind = Kind::Number { least: 1 << 20, most: 1 << 50 };

/// One row of [`SETTINGS`].
#[derive(Debug)]
pub(crate) struct Setting {
    /// The key in the file, as `section.name`.
    pub(crate) key: &'static str,
    /// The environment variables; the first that is set counts.
    pub(crate) environment: &'static [&'static str],
    pub(crate) flag: Option<&'static str>,
    pub(crate) default: Option<Cow<'static, str>>,
    pub(crate) kind: Kind,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Path,
    Text,
    Address,
    Number {
        least: u64,
        most: u64,
    },
    Durability,
    /// `true` or `false`.
    Switch,
    /// A number from 0 to 1.
    Share,
    /// The URL of a collector of telemetry.
    Collector,
    /// The URL of the PostgreSQL servers of a cluster.
    Cluster,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A secret: never shown, and not allowed in a file.
    Secret,
}

impl Setting {
    fn new(
        key: &'static str,
        environment: &'static [&'static str],
        flag: Option<&'static str>,
        default: Option<&'static str>,
        kind: Kind,
    ) -> Self {
        Self { key, environment, flag, default: default.map(Cow::Borrowed), kind }
    }

    /// A number that can be set only in the file.
    fn of_file(key: &'static str, default: u64, (least, most): (u64, u64)) -> Self {
        let default = Some(Cow::Owned(default.to_string()));
        Self { key, environment: &[], flag: None, default, kind: Kind::Number { least, most } }
    }

    /// A limit of the runtime or of its management server.
    fn of_limit(declared: &DeclaredSetting) -> Self {
        let (least, most) = (*declared.range.start(), *declared.range.end());
        Self { environment: declared.environment, ..Self::of_file(declared.key, declared.default, (least, most)) }
    }

    /// Whether the setting may have no value, so that `off` is allowed: a server may listen nowhere, and what has no
    /// default may be left out.
    fn can_be_off(&self) -> bool {
        matches!(self.kind, Kind::Address) || self.default.is_none()
    }

    /// Whether this value says that the setting has none.
    pub(super) fn is_turned_off_by(&self, value: &str) -> bool {
        value == "off" && self.can_be_off()
    }

    /// What a number of this setting must be.
    pub(super) fn bounds(&self, least: u64, most: u64) -> String {
        let off = if self.can_be_off() { ", or \"off\"" } else { "" };
        format!("\"{}\" is a whole number from {least} to {most}{off}", self.key)
    }

    /// Checks a value; the error says what is wrong with it.
    pub(super) fn check(&self, value: &str) -> Result<(), String> {
        let key = self.key;
        match self.kind {
            Kind::Path | Kind::Text | Kind::Secret => Ok(()),
            Kind::Address => value.parse::<SocketAddr>().map(drop).map_err(|_| {
                format!("\"{key}\" is an address with a port, such as 127.0.0.1:9000, or \"off\"; it is {value:?}")
            }),
            Kind::Number { least, most } => match value.parse::<u64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(()),
                _ => Err(format!("{}; it is {value:?}", self.bounds(least, most))),
            },
            Kind::Durability => match Durability::parse(value) {
                Some(_) => Ok(()),
                None => Err(format!("\"{key}\" is \"commit\" or \"relaxed\"; it is {value:?}")),
            },
            Kind::Share => match value.parse::<f64>() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(()),
                _ => Err(format!("\"{key}\" is a number from 0 to 1, such as 0.1; it is {value:?}")),
            },
            Kind::Collector => check_endpoint(value).map_err(|why| {
                format!("\"{key}\" is the URL of a collector, such as http://127.0.0.1:4318, or \"off\": {why}")
            }),
            Kind::Cluster => {
                PostgresUrl::parse(value).map(drop).map_err(|why| format!("\"{key}\" is the URL of a cluster: {why}"))
            }
            Kind::Word(words) if words.contains(&value) => Ok(()),
            Kind::Word(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                Err(format!("\"{key}\" is {}; it is {value:?}", words.join(" or ")))
            }
            Kind::Switch => match value {
                "true" | "false" => Ok(()),
                _ => Err(format!("\"{key}\" is true or false; it is {value:?}")),
            },
        }
    }
}

/// Every setting, in the order in which `theater config` shows them.
pub(crate) static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let range = |declared: &Declared| (*declared.range.start(), *declared.range.end());
    let default = |declared: &Declared| Setting::of_file(declared.default_key, declared.default, range(declared));
    let ceiling = |declared: &Declared| Setting::of_file(declared.ceiling_key, declared.ceiling, range(declared));
    let actors = Limits::ALL.iter().map(default).chain(Limits::ALL.iter().map(ceiling));
    let limits = ManagementLimits::ALL.iter().chain(RuntimeLimits::ALL).map(Setting::of_limit);
    let above = runtime().into_iter().chain(cluster()).chain(limits).chain(proofs());
    above.chain(telemetry()).chain(logging()).chain(actors).collect()
});

fn runtime() -> Vec<Setting> {
    vec![
        Setting::new("data_dir", &["THEATER_DATA_DIR"], Some("--data-dir"), Some("theater-data"), Kind::Path),
        Setting {
            default: code_cache().map(Cow::Owned),
            ..Setting::new("code_cache", &["THEATER_CODE_CACHE"], None, None, Kind::Path)
        },
        Setting::new("durability", &["THEATER_DURABILITY"], Some("--durability"), Some("commit"), Kind::Durability),
        Setting::new(
            "exit_when_roots_failed",
            &["THEATER_EXIT_WHEN_ROOTS_FAILED"],
            Some("--exit-when-roots-failed"),
            Some("false"),
            Kind::Switch,
        ),
        Setting::new("management.listen", &["THEATER_LISTEN"], Some("--listen"), Some(LISTEN), Kind::Address),
        Setting::new("management.socket", &["THEATER_SOCKET"], Some("--socket"), None, Kind::Path),
        Setting::new("management.token", &["THEATER_TOKEN"], None, None, Kind::Secret),
        Setting::new("management.token_file", &["THEATER_TOKEN_FILE"], Some("--token-file"), None, Kind::Path),
        Setting::new("management.read_token", &["THEATER_READ_TOKEN"], None, None, Kind::Secret),
        Setting::new(
            "management.read_token_file",
            &["THEATER_READ_TOKEN_FILE"],
            Some("--read-token-file"),
            None,
            Kind::Path,
        ),
        Setting::new(
            "management.tls_certificate",
            &["THEATER_TLS_CERTIFICATE"],
            Some("--tls-certificate"),
            None,
            Kind::Path,
        ),
        Setting::new("management.tls_key", &["THEATER_TLS_KEY"], Some("--tls-key"), None, Kind::Path),
        Setting::new("management.authorities", &["THEATER_AUTHORITIES"], Some("--authorities"), None, Kind::Path),
        Setting::new(
            "metrics.listen",
            &["THEATER_METRICS_LISTEN"],
            Some("--metrics-listen"),
            Some("off"),
            Kind::Address,
        ),
        Setting::new("retention.keep_days", &["THEATER_RETENTION_KEEP_DAYS"], None, None, KEEP_DAYS),
        Setting::new("retention.keep_bytes", &["THEATER_RETENTION_KEEP_BYTES"], None, None, KEEP_BYTES),
        Setting::new("retention.archive", &["THEATER_RETENTION_ARCHIVE"], None, None, Kind::Path),
        Setting::new(
            "retention.every_minutes",
            &["THEATER_RETENTION_EVERY_MINUTES"],
            None,
            Some("60"),
            Kind::Number { least: 1, most: 10_080 },
        ),
    ]
}

/// The directory `theater` among the user's caches, as the XDG Base Directory Specification names it. A relative path in
/// `XDG_CACHE_HOME` does not count, as it says.
fn code_cache() -> Option<String> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    caches.join("theater").into_os_string().into_string().ok()
}

fn cluster() -> [Setting; 7] {
    let lease = Kind::Number { least: 1_000, most: 600_000 };
    [
        Setting::new("cluster.url", &["THEATER_CLUSTER"], Some("--cluster"), None, Kind::Cluster),
        Setting::new("cluster.realm", &["THEATER_REALM"], Some("--realm"), None, Kind::Text),
        Setting::new("cluster.node", &["THEATER_NODE"], Some("--node"), None, Kind::Text),
        Setting::new(
            "cluster.single_server",
            &["THEATER_SINGLE_SERVER"],
            Some("--single-server"),
            Some("false"),
            Kind::Switch,
        ),
        Setting::new("cluster.lease_ms", &["THEATER_CLUSTER_LEASE_MS"], None, Some("3000"), lease),
        Setting::new("cluster.password", &["THEATER_CLUSTER_PASSWORD"], None, None, Kind::Secret),
        Setting::new("cluster.password_file", &["THEATER_CLUSTER_PASSWORD_FILE"], None, None, Kind::Path),
    ]
}

fn proofs() -> [Setting; 7] {
    let interval = Kind::Number { least: 1_000, most: 3_600_000 };
    let descriptor = Kind::Number { least: 3, most: 1_048_575 };
    [
        Setting::new("proofs.key_file", &["THEATER_PROOFS_KEY_FILE"], None, None, Kind::Path),
        Setting::new("proofs.key_fd", &["THEATER_PROOFS_KEY_FD"], None, None, descriptor),
        Setting::new("proofs.key_secret", &["THEATER_PROOFS_KEY_SECRET"], None, None, Kind::Text),
        Setting::new("proofs.origin", &["THEATER_PROOFS_ORIGIN"], None, None, Kind::Text),
        Setting::new("proofs.interval_ms", &["THEATER_PROOFS_INTERVAL_MS"], None, Some("1000"), interval),
        Setting::new("proofs.witnesses", &["THEATER_PROOFS_WITNESSES"], None, None, Kind::Path),
        Setting::new("proofs.quorum", &["THEATER_PROOFS_QUORUM"], None, None, Kind::Number { least: 1, most: 64 }),
    ]
}

fn telemetry() -> [Setting; 6] {
    let interval = Kind::Number { least: 1_000, most: 3_600_000 };
    [
        Setting::new(
            "telemetry.endpoint",
            &["THEATER_TELEMETRY_ENDPOINT"],
            Some("--telemetry-endpoint"),
            None,
            Kind::Collector,
        ),
        Setting::new("telemetry.sample", &["THEATER_TELEMETRY_SAMPLE"], None, Some("0.1"), Kind::Share),
        Setting::new("telemetry.interval_ms", &["THEATER_TELEMETRY_INTERVAL_MS"], None, Some("60000"), interval),
        Setting::new("telemetry.headers_file", &["THEATER_TELEMETRY_HEADERS_FILE"], None, None, Kind::Path),
        Setting::new("telemetry.service", &["THEATER_TELEMETRY_SERVICE"], None, Some("theater"), Kind::Text),
        Setting::new("telemetry.instance", &["THEATER_TELEMETRY_INSTANCE"], None, None, Kind::Text),
    ]
}

fn logging() -> [Setting; 2] {
    let words = Kind::Word(&["text", "json"]);
    [
        Setting::new("logging.filter", &["THEATER_LOG", "RUST_LOG"], Some("--log"), Some("info"), Kind::Text),
        Setting::new("logging.format", &["THEATER_LOG_FORMAT"], Some("--log-format"), Some("text"), words),
    ]
}
