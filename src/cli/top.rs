//! `theater top`: a table of the busiest actors with their rates, refreshed on a terminal.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;

use super::connect::{answered, ask, connect};
use super::show::{self, print_json};
use super::top_keys::Keys;
use super::{Done, Failure, Remote};
use crate::base::clock;
use crate::server::Client;
use crate::server::protocol::{ActorMetricsView, DistributionView, MetricsView, Request, Response, shown_status};
use crate::theater::measure::TelemetryView;

#[derive(Args)]
pub(super) struct TopArgs {
    /// Seconds between two refreshes
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    interval: f64,
    /// How many actors to show on a terminal, the busiest first
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    rows: usize,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn top(args: &TopArgs) -> Done {
    if !(args.interval.is_finite() && (0.1..=3600.0).contains(&args.interval)) {
        return Err(Failure { message: "--interval is from 0.1 to 3600 seconds".into(), code: 2 });
    }
    let mut client = connect(&args.remote)?;
    let mut look = || measured(&mut client);
    let first = look()?;
    if args.remote.json {
        print_json(&first);
        return Ok(());
    }
    if !std::io::stdout().is_terminal() {
        table(&first, None, usize::MAX).iter().for_each(|line| show::line(line));
        return Ok(());
    }
    let (mut before, mut at) = (first, clock::now());
    let keys = Keys::begin();
    loop {
        if keys.wait(Duration::from_secs_f64(args.interval)) {
            return Ok(());
        }
        let (now, then) = (look()?, clock::now());
        let lines = table(&now, Some((&before, then - at)), args.rows);
        // The table is written over the last one, from the upper left corner. Each line clears its own rest, and at the
        // end the rest of the screen is cleared, so that nothing flickers.
        let screen: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
        let mut out = std::io::stdout().lock();
        if write!(out, "\x1b[H{screen}\x1b[J").and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
        (before, at) = (now, then);
    }
}

/// Asks the runtime for the totals, then for the actors page by page.
fn measured(client: &mut Client) -> Result<MetricsView, Failure> {
    let (total, process, journal) = answered!(
        ask(client, &Request::Status),
        Response::Status { total, process, journal: Some(journal), .. } => (*total, process, *journal)
    );
    let mut actors = Vec::new();
    let mut from = Some(0);
    while let Some(at) = from {
        let (page, next) = answered!(
            ask(client, &Request::GetMetrics { from: at, limit: None }),
            Response::MetricsPage { actors, next } => (actors, next)
        );
        actors.extend(page);
        from = next.filter(|next| *next > at);
    }
    Ok(MetricsView { actors, total, journal, process, telemetry: TelemetryView::default() })
}

/// The table, with rates if there is an earlier measurement to compare with.
fn table(metrics: &MetricsView, earlier: Option<(&MetricsView, Duration)>, rows: usize) -> Vec<String> {
    let before: HashMap<&str, &ActorMetricsView> = match earlier {
        Some((view, _)) => view.actors.iter().map(|actor| (actor.id.as_str(), actor)).collect(),
        None => HashMap::new(),
    };
    let rate_of = |actor: &ActorMetricsView, count: fn(&ActorMetricsView) -> u64| {
        let (_, time) = earlier?;
        let more = count(actor).saturating_sub(before.get(actor.id.as_str()).map_or(0, |before| count(before)));
        Some(more as f64 / time.as_secs_f64())
    };
    let rate = |actor: &ActorMetricsView| rate_of(actor, |actor| actor.counts.calls);
    let refusal_rate = |actor: &ActorMetricsView| rate_of(actor, |actor| actor.counts.refusals);
    let mut actors: Vec<(Option<f64>, &ActorMetricsView)> =
        metrics.actors.iter().map(|actor| (rate(actor), actor)).collect();
    actors.sort_by(|(a, one), (b, other)| {
        let by_rate = b.unwrap_or(0.0).total_cmp(&a.unwrap_or(0.0));
        by_rate.then(other.counts.calls.cmp(&one.counts.calls))
    });
    let total = &metrics.total;
    let calls: f64 = actors.iter().filter_map(|(rate, _)| *rate).sum();
    let refused: f64 = metrics.actors.iter().filter_map(refusal_rate).sum();
    let mut lines = vec![
        format!(
            "actors {} ({} alive, {} asleep)   calls {}{}   refused {}{}   failures {}   restarts {}   mailboxes {}",
            total.actors,
            total.alive,
            total.asleep,
            total.counts.calls,
            earlier.map(|_| format!(" ({calls:.0}/s)")).unwrap_or_default(),
            total.counts.refusals,
            earlier.map(|_| format!(" ({refused:.0}/s)")).unwrap_or_default(),
            total.counts.failures,
            total.counts.restarts,
            total.counts.mailbox_depth
        ),
        format!(
            "journal {} events, commit {}, {} free{}   process {} resident, {} threads, {} files, {} maps",
            metrics.journal.events,
            latency(&metrics.journal.commit_us),
            bytes(metrics.journal.free_bytes),
            if metrics.journal.refuses_work { " (too little: new work is refused)" } else { "" },
            bytes(metrics.process.resident_bytes),
            metrics.process.threads,
            metrics.process.open_files,
            metrics.process.memory_maps
        ),
        String::new(),
        format!(
            "{:<20} {:<10} {:>7} {:>9} {:>8} {:>17} {:>8} {:>8} {:>9} {:>6} {:>8} {:>9}",
            "NAME",
            "STATUS",
            "MAILBOX",
            "CALLS",
            "CALLS/S",
            "P50, P99",
            "MEMORY",
            "REFUSED",
            "REFUSED/S",
            "FAILED",
            "RESTARTS",
            "EVENTS"
        ),
    ];
    for (rate, actor) in actors.iter().take(rows) {
        let name = actor.path.as_ref().unwrap_or(&actor.name);
        let name: String = name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(20).collect();
        lines.push(format!(
            "{name:<20} {:<10} {:>7} {:>9} {:>8} {:>17} {:>8} {:>8} {:>9} {:>6} {:>8} {:>9}",
            shown_status(&actor.status, actor.asleep, actor.paused),
            actor.counts.mailbox_depth,
            actor.counts.calls,
            per_second(*rate),
            latency(&actor.counts.latency_us),
            bytes(actor.counts.memory_bytes),
            actor.counts.refusals,
            per_second(refusal_rate(actor)),
            actor.counts.failures,
            actor.counts.restarts,
            actor.counts.chain_length
        ));
    }
    if actors.len() > rows {
        lines.push(format!("… and {} more: --rows COUNT shows them", actors.len() - rows));
    }
    lines
}

/// A rate per second; the first measurement has none.
fn per_second(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".into(), |rate| format!("{rate:.1}"))
}

fn latency(values: &DistributionView) -> String {
    match (values.p50, values.p99) {
        (Some(p50), Some(p99)) => format!("{}, {}", time(p50), time(p99)),
        _ => "-".into(),
    }
}

fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{:.1}ms", micros as f64 / 1e3),
        _ => format!("{:.1}s", micros as f64 / 1e6),
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count}B"),
        1_024..1_048_576 => format!("{}K", count / 1_024),
        1_048_576..1_073_741_824 => format!("{}M", count / 1_048_576),
        _ => format!("{:.1}G", count as f64 / 1_073_741_824.0),
    }
}
