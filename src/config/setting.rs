//! The table of settings: what each is called in the file, in the environment and on the command line.

use std::net::SocketAddr;

use crate::journal::Durability;

/// Where the management server listens by default.
pub(super) const LISTEN: &str = "127.0.0.1:9000";

/// One row of [`SETTINGS`].
#[derive(Debug)]
pub(crate) struct Setting {
    /// As in the file; a dot stands for its section.
    pub(crate) key: &'static str,
    /// The first that is set counts.
    pub(crate) environment: &'static [&'static str],
    pub(crate) flag: Option<&'static str>,
    pub(crate) default: Option<&'static str>,
    pub(crate) kind: Kind,
    /// Whether `off` is a value.
    pub(crate) can_be_off: bool,
}

/// What a value is.
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
    /// Never shown, and not for a file.
    Secret,
}

impl Setting {
    const fn new(
        key: &'static str,
        environment: &'static [&'static str],
        flag: Option<&'static str>,
        default: Option<&'static str>,
        kind: Kind,
    ) -> Self {
        let can_be_off = matches!(kind, Kind::Address);
        Self { key, environment, flag, default, kind, can_be_off }
    }

    /// What is wrong with a value.
    pub(super) fn check(&self, value: &str) -> Result<(), String> {
        let key = self.key;
        match self.kind {
            Kind::Path | Kind::Text | Kind::Secret => Ok(()),
            Kind::Address => value.parse::<SocketAddr>().map(drop).map_err(|_| {
                format!("\"{key}\" is an address with a port, such as 127.0.0.1:9000, or \"off\"; it is {value:?}")
            }),
            Kind::Number { least, most } => match value.parse::<u64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(()),
                _ => Err(format!("\"{key}\" is a whole number from {least} to {most}; it is {value:?}")),
            },
            Kind::Durability => match Durability::parse(value) {
                Some(_) => Ok(()),
                None => Err(format!("\"{key}\" is \"commit\" or \"relaxed\"; it is {value:?}")),
            },
        }
    }
}

/// Every setting there is.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting::new("data_dir", &["THEATER_DATA_DIR"], Some("--data-dir"), Some("theater-data"), Kind::Path),
    Setting::new("durability", &["THEATER_DURABILITY"], Some("--durability"), Some("commit"), Kind::Durability),
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
    Setting::new("metrics.listen", &["THEATER_METRICS_LISTEN"], Some("--metrics-listen"), Some("off"), Kind::Address),
    Setting::new(
        "limits.management_connections",
        &["THEATER_MANAGEMENT_CONNECTIONS"],
        None,
        Some("1024"),
        Kind::Number { least: 1, most: 16_384 },
    ),
    Setting::new(
        "limits.management_subscriptions",
        &["THEATER_MANAGEMENT_SUBSCRIPTIONS"],
        None,
        Some("4096"),
        Kind::Number { least: 1, most: 65_536 },
    ),
    Setting::new(
        "limits.management_patience_ms",
        &["THEATER_MANAGEMENT_PATIENCE_MS"],
        None,
        Some("10000"),
        Kind::Number { least: 100, most: 600_000 },
    ),
    Setting::new(
        "limits.management_authentication_ms",
        &["THEATER_MANAGEMENT_AUTHENTICATION_MS"],
        None,
        Some("10000"),
        Kind::Number { least: 100, most: 600_000 },
    ),
    Setting::new("logging.filter", &["THEATER_LOG", "RUST_LOG"], Some("--log"), Some("info"), Kind::Text),
];
