//! What `[[listeners.routes]]` of `theater.toml` says besides where a route leads: `idempotency`, `rate`, `concurrency`, `retry`.

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::manifest::{ManifestError, ManifestSource};
use crate::server::{RateBy, RouteConcurrency, RouteRate, RouteRetry, RouteSettings};

/// The highest number of anything here: a million a second is no limit.
const MOST: f64 = 1e6;
/// The longest pause and the longest wait, in milliseconds: an hour.
const MOST_MS: f64 = 3.6e6;
/// How long a request waits for its turn where the route does not say it.
const WAIT_MS: f64 = 1000.0;
/// The first pause before a request is made again where the route does not say it.
const BACKOFF_MS: f64 = 50.0;
/// How often a request is made at most.
const MOST_ATTEMPTS: f64 = 10.0;

/// Reads the settings of one route.
pub(super) fn settings(source: &ManifestSource, route: &DeTable<'_>) -> Result<RouteSettings, ManifestError> {
    Ok(RouteSettings {
        idempotency: flag(source, route, "idempotency")?,
        rate: route.get("rate").map(|value| rate(source, value)).transpose()?,
        concurrency: route.get("concurrency").map(|value| concurrency(source, value)).transpose()?,
        retry: route.get("retry").map(|value| retry(source, value)).transpose()?,
    })
}

/// A key that is true or false, and false where it is left out.
pub(super) fn flag(source: &ManifestSource, table: &DeTable<'_>, key: &str) -> Result<bool, ManifestError> {
    match table.get(key).map(|value| (value.span().start, value.get_ref())) {
        None => Ok(false),
        Some((_, DeValue::Boolean(flag))) => Ok(*flag),
        Some((at, _)) => Err(source.error(Some(at), format!("\"{key}\" is true or false"))),
    }
}

fn rate(source: &ManifestSource, value: &Spanned<DeValue<'_>>) -> Result<RouteRate, ManifestError> {
    let form = "\"rate\" is a table: rate = { per_second = 10, burst = 20, by = \"client\" }";
    let table = RouteTable::read(source, value, "rate", &["per_second", "burst", "by"], form)?;
    let per_second = table.number("per_second", 0.001..=MOST)?.ok_or_else(|| table.error(form))?;
    let burst = table.number("burst", 1.0..=MOST)?.unwrap_or(per_second.max(1.0));
    let by = match table.table.get("by").map(|value| (value.span().start, value.get_ref().as_str())) {
        None | Some((_, Some("client"))) => RateBy::Client,
        Some((_, Some("route"))) => RateBy::Route,
        Some((at, _)) => return Err(source.error(Some(at), "\"by\" of \"rate\" is \"client\" or \"route\"")),
    };
    Ok(RouteRate { per_second, burst, by })
}

fn concurrency(source: &ManifestSource, value: &Spanned<DeValue<'_>>) -> Result<RouteConcurrency, ManifestError> {
    let form = "\"concurrency\" is a number, or a table: concurrency = { at_most = 8, wait_ms = 1000 }";
    if let DeValue::Integer(_) = value.get_ref() {
        let at_most = whole(source, value, "concurrency", 1.0..=MOST)?;
        return Ok(RouteConcurrency { at_most: count(at_most), wait: milliseconds(WAIT_MS) });
    }
    let table = RouteTable::read(source, value, "concurrency", &["at_most", "wait_ms"], form)?;
    let at_most = table.whole("at_most", 1.0..=MOST)?.ok_or_else(|| table.error(form))?;
    let wait = table.whole("wait_ms", 0.0..=MOST_MS)?.unwrap_or(WAIT_MS);
    Ok(RouteConcurrency { at_most: count(at_most), wait: milliseconds(wait) })
}

fn retry(source: &ManifestSource, value: &Spanned<DeValue<'_>>) -> Result<RouteRetry, ManifestError> {
    let form = "\"retry\" is a table: retry = { attempts = 3, backoff_ms = 50 }";
    let table = RouteTable::read(source, value, "retry", &["attempts", "backoff_ms"], form)?;
    let attempts = table.whole("attempts", 1.0..=MOST_ATTEMPTS)?.ok_or_else(|| table.error(form))?;
    let backoff = table.whole("backoff_ms", 0.0..=MOST_MS)?.unwrap_or(BACKOFF_MS);
    let attempts = u32::try_from(count(attempts)).expect("ten at most");
    Ok(RouteRetry { attempts, backoff: milliseconds(backoff) })
}

/// A table of a route.
struct RouteTable<'a, 'b> {
    source: &'a ManifestSource,
    table: &'a DeTable<'b>,
    name: &'static str,
    at: usize,
}

impl<'a, 'b> RouteTable<'a, 'b> {
    fn read(
        source: &'a ManifestSource,
        value: &'a Spanned<DeValue<'b>>,
        name: &'static str,
        keys: &[&str],
        form: &str,
    ) -> Result<Self, ManifestError> {
        let at = value.span().start;
        let DeValue::Table(table) = value.get_ref() else { return Err(source.error(Some(at), form)) };
        source.check_keys(table, keys, &format!(" of \"{name}\""))?;
        Ok(Self { source, table, name, at })
    }

    fn error(&self, form: &str) -> ManifestError {
        self.source.error(Some(self.at), form)
    }

    fn number(&self, key: &str, within: std::ops::RangeInclusive<f64>) -> Result<Option<f64>, ManifestError> {
        let value = self.table.get(key);
        value.map(|value| number(self.source, value, &format!("{key}\" of \"{}", self.name), within)).transpose()
    }

    fn whole(&self, key: &str, within: std::ops::RangeInclusive<f64>) -> Result<Option<f64>, ManifestError> {
        let value = self.table.get(key);
        value.map(|value| whole(self.source, value, &format!("{key}\" of \"{}", self.name), within)).transpose()
    }
}

fn number(
    source: &ManifestSource,
    value: &Spanned<DeValue<'_>>,
    name: &str,
    within: std::ops::RangeInclusive<f64>,
) -> Result<f64, ManifestError> {
    let found = match value.get_ref() {
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number as f64)
        }
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    };
    found.filter(|number| within.contains(number)).ok_or_else(|| {
        let why = format!("\"{name}\" is a number from {} to {}", within.start(), within.end());
        source.error(Some(value.span().start), why)
    })
}

fn whole(
    source: &ManifestSource,
    value: &Spanned<DeValue<'_>>,
    name: &str,
    within: std::ops::RangeInclusive<f64>,
) -> Result<f64, ManifestError> {
    let (first, last) = (*within.start(), *within.end());
    match number(source, value, name, within) {
        Ok(found) if found.fract() == 0.0 => Ok(found),
        Ok(_) => {
            let why = format!("\"{name}\" is a whole number from {first} to {last}");
            Err(source.error(Some(value.span().start), why))
        }
        Err(error) => Err(error),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole, and at most a million")]
fn count(number: f64) -> usize {
    number as usize
}

fn milliseconds(number: f64) -> Duration {
    Duration::from_secs_f64(number / 1e3)
}
