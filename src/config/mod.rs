//! The configuration of a runtime: flags override the environment, which overrides `theater.toml`, which overrides the
//! defaults. Each value is kept with its origin. Every key is described in `docs/configuration.md`.
//!
//! This layer reads and checks values, and turns them into the types that the layers below take. It starts nothing.

#![cfg(feature = "cli")]

mod actors;
mod cluster;
mod file;
mod listeners;
mod proofs;
mod route_limits;
mod secrets;
mod setting;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use cluster::{ClusterOptions, RealmOptions};
pub(crate) use proofs::{KeyPlace, ProofSettings};
pub(crate) use secrets::NamedSecret;
pub(crate) use setting::{Kind, SETTINGS, Setting};

use crate::base::limits::{ManagementLimits, RuntimeLimits};
use crate::journal::Durability;
use crate::manifest::ManifestError;
use crate::server::{ClientOptions, Endpoint, RoutedListener, ServerOptions, TlsFiles, Token, TokenError, read_token};
use crate::telemetry::TelemetryOptions;
use crate::theater::Retention;

/// The file that is read if no file is named and this one exists.
pub(crate) const FILE_NAME: &str = "theater.toml";

/// The tokens, each given directly or in a file; a client uses the first one that is set.
const TOKENS: [(&str, &str); 2] =
    [("management.token", "management.token_file"), ("management.read_token", "management.read_token_file")];

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file has a mistake; the error names its line.
    #[error(transparent)]
    File(#[from] ManifestError),
    /// A value of a flag or of the environment is wrong.
    #[error("{origin}: {why}")]
    Value { origin: Origin, why: String },
    #[error(transparent)]
    Token(#[from] TokenError),
    /// One setting needs another.
    #[error("{0}")]
    Together(String),
}

/// The origin of a value; a later one overrides an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Environment(&'static str),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A setting in force.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    pub(crate) setting: &'static Setting,
    /// None if the setting is off.
    pub(crate) value: Option<String>,
    pub(crate) origin: Origin,
}

/// Every setting with the value in force, and the secrets that the file names.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    in_force: Vec<InForce>,
    secrets: Vec<NamedSecret>,
    listeners: Vec<RoutedListener>,
    file: PathBuf,
}

/// The places where settings are looked for.
pub(crate) struct Sources<'a> {
    /// The file that is named; if none is named, `theater.toml` in the working directory, if that exists.
    pub(crate) file: Option<&'a Path>,
    /// The given flags, by key.
    pub(crate) flags: &'a [(&'static str, Option<String>)],
    pub(crate) environment: &'a dyn Fn(&str) -> Option<OsString>,
}

impl Settings {
    pub(crate) fn load(sources: &Sources<'_>) -> Result<Self, ConfigError> {
        let file = match sources.file {
            Some(path) => Some(file::read(path)?),
            None if Path::new(FILE_NAME).exists() => Some(file::read(Path::new(FILE_NAME))?),
            None => None,
        };
        let mut in_force = Vec::new();
        for setting in SETTINGS.iter() {
            let (value, origin) = given(setting, sources, file.as_ref())?;
            let value = value.filter(|value| !setting.is_turned_off_by(value));
            if let Some(value) = &value {
                setting.check(value).map_err(|why| ConfigError::Value { origin: origin.clone(), why })?;
            }
            in_force.push(InForce { setting, value, origin });
        }
        let (secrets, listeners, file) = file.map(|file| (file.secrets, file.listeners, file.path)).unwrap_or_default();
        let mut settings = Self { in_force, secrets, listeners, file };
        actors::settle(&mut settings)?;
        Ok(settings)
    }

    /// The settings, with the environment of this process. A file with an empty name counts as not named.
    pub(crate) fn of_environment(
        file: Option<&Path>,
        flags: &[(&'static str, Option<String>)],
    ) -> Result<Self, ConfigError> {
        let file = file.filter(|file| !file.as_os_str().is_empty());
        Self::load(&Sources { file, flags, environment: &|name| std::env::var_os(name) })
    }

    /// All settings, in the order of the documentation.
    pub(crate) fn all(&self) -> &[InForce] {
        &self.in_force
    }

    /// The secrets that the file names, in its order.
    pub(crate) fn named_secrets(&self) -> &[NamedSecret] {
        &self.secrets
    }

    /// The path of the file that was read; empty if there was none.
    pub(crate) fn file(&self) -> String {
        self.file.display().to_string()
    }

    /// The HTTP listeners of the runtime, in the order of the file.
    pub(crate) fn listeners(&self) -> &[RoutedListener] {
        &self.listeners
    }

    fn get(&self, key: &str) -> &InForce {
        self.in_force.iter().find(|in_force| in_force.setting.key == key).expect("a key of the table")
    }

    fn value<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.get(key).value.as_ref().map(|value| value.parse().ok().expect("it was checked"))
    }

    /// A relative path in the file is relative to the directory of the file.
    fn path(&self, key: &str) -> Option<PathBuf> {
        let InForce { value, origin, .. } = self.get(key);
        let path = PathBuf::from(value.as_ref()?);
        match origin {
            Origin::File { path: file, .. } => Some(file.parent().unwrap_or(Path::new("")).join(path)),
            Origin::Default | Origin::Environment(_) | Origin::Flag(_) => Some(path),
        }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("data_dir").expect("it has a default")
    }

    /// Where compiled code is kept; nowhere in particular if this user has no place for such files.
    pub(crate) fn code_cache(&self) -> Option<PathBuf> {
        self.path("code_cache")
    }

    pub(crate) fn durability(&self) -> Durability {
        let word: String = self.value("durability").expect("it has a default");
        Durability::parse(&word).expect("it was checked")
    }

    pub(crate) fn log_filter(&self) -> String {
        self.value("logging.filter").unwrap_or_else(|| "off".into())
    }

    /// Whether a runtime ends once every root has ended and one of them has failed.
    pub(crate) fn exits_when_roots_failed(&self) -> bool {
        self.value("exit_when_roots_failed").expect("it has a default")
    }

    /// Whether each line of the log is a JSON object.
    pub(crate) fn logs_json(&self) -> bool {
        self.value::<String>("logging.format").as_deref() == Some("json")
    }

    /// The bounds of the runtime as a whole.
    pub(crate) fn runtime(&self) -> RuntimeLimits {
        RuntimeLimits::of_settings(|key| self.number(key))
    }

    /// What old data is dropped.
    pub(crate) fn retention(&self) -> Result<Retention, ConfigError> {
        const DAY: u64 = 24 * 60 * 60;
        let mut retention = Retention::new();
        retention.keep_for = self.value("retention.keep_days").map(|days: u64| Duration::from_secs(days * DAY));
        retention.keep_bytes = self.value("retention.keep_bytes");
        retention.archive = self.path("retention.archive");
        retention.every = Duration::from_secs(self.number("retention.every_minutes") * 60);
        self.check_every_minutes(&retention)?;
        let data_dir = self.path("data_dir").unwrap_or_default();
        retention.check(&data_dir).map_err(ConfigError::Together)?;
        Ok(retention)
    }

    /// Refuses a time between two passes where there is nothing to do in any of them.
    fn check_every_minutes(&self, retention: &Retention) -> Result<(), ConfigError> {
        let origin = &self.get("retention.every_minutes").origin;
        if retention.drops_by_itself() || *origin == Origin::Default {
            return Ok(());
        }
        let why = "\"retention.every_minutes\" says how often old data is dropped, and nothing says what is old: set \
                   \"retention.keep_days\" or \"retention.keep_bytes\" too, or leave this one out";
        Err(ConfigError::Value { origin: origin.clone(), why: why.into() })
    }

    /// The telemetry that is sent to a collector, if there is one.
    pub(crate) fn telemetry(&self) -> Result<Option<TelemetryOptions>, ConfigError> {
        let Some(endpoint) = self.value("telemetry.endpoint") else {
            self.check_without_a_collector()?;
            return Ok(None);
        };
        Ok(Some(TelemetryOptions {
            endpoint,
            sample: self.value("telemetry.sample").expect("it has a default"),
            interval: Duration::from_millis(self.number("telemetry.interval_ms")),
            headers: self.path("telemetry.headers_file"),
            service: self.value("telemetry.service").expect("it has a default"),
            instance: self.value("telemetry.instance"),
        }))
    }

    /// Refuses settings of telemetry where nothing says where it is to be sent. Who has turned that off has turned off all.
    fn check_without_a_collector(&self) -> Result<(), ConfigError> {
        let is_turned_off = self.get("telemetry.endpoint").origin != Origin::Default;
        let set = self
            .in_force
            .iter()
            .find(|in_force| in_force.setting.key.starts_with("telemetry.") && in_force.origin != Origin::Default);
        match set {
            Some(InForce { setting, origin, .. }) if !is_turned_off => {
                let why = format!(
                    "\"{}\" is set, and nothing says where telemetry is sent: set \"telemetry.endpoint\" too, such as \
                     http://127.0.0.1:4318, or leave this one out",
                    setting.key
                );
                Err(ConfigError::Value { origin: origin.clone(), why })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The address of the metrics endpoint, if there is one.
    pub(crate) fn metrics(&self) -> Option<SocketAddr> {
        self.value("metrics.listen")
    }

    /// The management server.
    pub(crate) fn server(&self) -> Result<ServerOptions, ConfigError> {
        let tls = match (self.path("management.tls_certificate"), self.path("management.tls_key")) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            _ => {
                let why = "management.tls_certificate and management.tls_key belong together: give both, or neither";
                return Err(ConfigError::Together(why.into()));
            }
        };
        Ok(ServerOptions {
            listen: self.value("management.listen"),
            socket: self.path("management.socket"),
            tls,
            control_token: self.token("management.token", "management.token_file")?,
            read_token: self.token("management.read_token", "management.read_token_file")?,
            limits: self.management_limits(),
        })
    }

    pub(crate) fn management_limits(&self) -> ManagementLimits {
        ManagementLimits::of_settings(|key| self.number(key))
    }

    /// A number; each has a default.
    fn number(&self, key: &str) -> u64 {
        self.value(key).expect("it has a default")
    }

    fn token(&self, text: &str, file: &str) -> Result<Option<Token>, ConfigError> {
        match self.secret(text, file) {
            Some(secret) => {
                let origin = self.get(text).origin.clone();
                let named = |error: TokenError| ConfigError::Value { origin, why: error.to_string() };
                Token::new(&secret).map(Some).map_err(named)
            }
            None => Ok(self.path(file).map(|path| Token::read(&path)).transpose()?),
        }
    }

    /// The token in the environment, unless a flag names a file.
    fn secret(&self, text: &str, file: &str) -> Option<String> {
        let named_by_flag = matches!(self.get(file).origin, Origin::Flag(_));
        self.get(text).value.clone().filter(|_| !named_by_flag)
    }

    /// How a client reaches `server`, or else the runtime that these settings configure. A token in the file is for that
    /// runtime, and is not sent to another server.
    pub(crate) fn client(&self, server: Option<Endpoint>) -> Result<ClientOptions, ConfigError> {
        let is_own = server.is_none();
        let path = |key| self.path(key).filter(|_| is_own || !matches!(self.get(key).origin, Origin::File { .. }));
        let certificate = path("management.tls_certificate");
        let authorities = path("management.authorities").or_else(|| certificate.clone());
        let endpoint = server.unwrap_or_else(|| self.endpoint(certificate.is_some()));
        let mut token = None;
        for (text, file) in TOKENS {
            if token.is_none() {
                token = self.secret(text, file);
            }
            if token.is_none() {
                token = path(file).map(|path| read_token(&path)).transpose()?;
            }
        }
        Ok(ClientOptions { endpoint, token, authorities })
    }

    fn endpoint(&self, tls: bool) -> Endpoint {
        let listen: Option<SocketAddr> = self.value("management.listen");
        match (self.path("management.socket"), listen) {
            (Some(path), _) => Endpoint::Unix(path),
            (None, Some(mut address)) => {
                if address.ip().is_unspecified() {
                    address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
                }
                // A certificate is made out to a name; `localhost` is the name of this machine.
                if tls {
                    Endpoint::Tls(format!("localhost:{}", address.port()))
                } else {
                    Endpoint::Tcp(address.to_string())
                }
            }
            (None, None) => Endpoint::Tcp(setting::LISTEN.into()),
        }
    }
}

/// The value in force and its origin. An empty value counts as not given, whatever the setting: the next place decides.
fn given(
    setting: &'static Setting,
    sources: &Sources<'_>,
    file: Option<&file::Read>,
) -> Result<(Option<String>, Origin), ConfigError> {
    if let (Some(flag), Some((_, Some(value)))) =
        (setting.flag, sources.flags.iter().find(|(key, _)| *key == setting.key))
        && !value.is_empty()
    {
        return Ok((Some(value.clone()), Origin::Flag(flag)));
    }
    for name in setting.environment {
        if let Some(value) = (sources.environment)(name).filter(|value| !value.is_empty()) {
            let origin = Origin::Environment(name);
            return match value.into_string() {
                Ok(value) => Ok((Some(value), origin)),
                Err(_) => {
                    let why = format!("\"{}\" is text in UTF-8, and this is not", setting.key);
                    Err(ConfigError::Value { origin, why })
                }
            };
        }
    }
    let of_file = file.and_then(|file| file.values.get(setting.key));
    if let Some((value, line)) = of_file.filter(|(value, _)| !value.is_empty()) {
        let path = file.map(|file| file.path.clone()).unwrap_or_default();
        return Ok((Some(value.clone()), Origin::File { path, line: *line }));
    }
    Ok((setting.default.as_deref().map(str::to_owned), Origin::Default))
}

#[cfg(test)]
mod tests;
