//! The table of settings: what each is called in the file, in the environment and on the command line.
//!
//! The limits of actors are two settings each, their default and their ceiling. They stand in the file alone: a hundred
//! variables and flags would hide the others.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::LazyLock;

use crate::base::limits::{Declared, DeclaredSetting, Limits, ManagementLimits, RuntimeLimits};
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
    pub(crate) default: Option<Cow<'static, str>>,
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
    fn new(
        key: &'static str,
        environment: &'static [&'static str],
        flag: Option<&'static str>,
        default: Option<&'static str>,
        kind: Kind,
    ) -> Self {
        let can_be_off = matches!(kind, Kind::Address);
        Self { key, environment, flag, default: default.map(Cow::Borrowed), kind, can_be_off }
    }

    /// A number that stands in the file alone.
    fn of_file(key: &'static str, default: u64, (least, most): (u64, u64)) -> Self {
        let default = Some(Cow::Owned(default.to_string()));
        Self { key, environment: &[], flag: None, default, kind: Kind::Number { least, most }, can_be_off: false }
    }

    /// A limit of the runtime or of its management server.
    fn of_limit(declared: &DeclaredSetting) -> Self {
        let (least, most) = (*declared.range.start(), *declared.range.end());
        Self { environment: declared.environment, ..Self::of_file(declared.key, declared.default, (least, most)) }
    }

    /// Whether there is always a value, so that an empty one is as good as not given.
    pub(super) fn is_needed(&self) -> bool {
        match self.kind {
            Kind::Path | Kind::Number { .. } | Kind::Durability => self.default.is_some(),
            Kind::Text | Kind::Address | Kind::Secret => false,
        }
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

/// Every setting there is, in the order in which they are shown.
pub(crate) static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let range = |declared: &Declared| (*declared.range.start(), *declared.range.end());
    let default = |declared: &Declared| Setting::of_file(declared.default_key, declared.default, range(declared));
    let ceiling = |declared: &Declared| Setting::of_file(declared.ceiling_key, declared.ceiling, range(declared));
    let actors = Limits::ALL.iter().map(default).chain(Limits::ALL.iter().map(ceiling));
    let limits = ManagementLimits::ALL.iter().chain(RuntimeLimits::ALL).map(Setting::of_limit);
    runtime().into_iter().chain(limits).chain([log_filter()]).chain(actors).collect()
});

fn runtime() -> Vec<Setting> {
    vec![
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
        Setting::new(
            "metrics.listen",
            &["THEATER_METRICS_LISTEN"],
            Some("--metrics-listen"),
            Some("off"),
            Kind::Address,
        ),
    ]
}

fn log_filter() -> Setting {
    Setting::new("logging.filter", &["THEATER_LOG", "RUST_LOG"], Some("--log"), Some("info"), Kind::Text)
}
