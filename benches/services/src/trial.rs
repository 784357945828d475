//! What each system goes through: its keys are counted once each, then in a random order by one and by many clients; then it is
//! killed under load, started again, and asked for every count.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::answer;
use crate::counts::{Counts, Verdict};
use crate::load::{Fate, Interruption, Requests};
use crate::processes::{bytes_below, eventually};
use crate::syncs::Counting;
use crate::systems::{Running, System};

/// How long a run may take.
pub struct Effort {
    pub rounds: usize,
    pub round: Duration,
    /// The longest time in which each key is counted once; keys that do not fit in are left out.
    pub first_counts: Duration,
}

impl Effort {
    pub const QUICK: Self = Self { rounds: 3, round: Duration::from_secs(2), first_counts: Duration::from_secs(60) };
    pub const FULL: Self = Self { rounds: 5, round: Duration::from_secs(5), first_counts: Duration::from_secs(900) };
}

/// Connections of the second load. The first has one.
pub const MANY: usize = 64;

/// With more keys, a system may have so many threads that to trace them all takes too long.
const MOST_TRACED_KEYS: usize = 1_000;

/// Medians of the rounds.
#[derive(Clone, Copy, Default)]
pub struct Measured {
    /// Increments answered in a second.
    pub rate: f64,
    pub p50_micros: f64,
    pub p99_micros: f64,
    /// CPU time of all processes of the system for one increment.
    pub cpu_micros: f64,
}

pub struct Outcome {
    pub name: &'static str,
    pub description: String,
    pub keys: usize,
    /// Why these are fewer keys than were asked for.
    pub why_fewer: Option<String>,
    /// Until each key had its first count.
    pub first_counts: Duration,
    pub one: Measured,
    pub many: Measured,
    /// Bytes, just after the load.
    pub memory: u64,
    /// For each increment of a single client.
    pub syncs: Option<f64>,
    /// Bytes of its files before the kill, and how many increments it had been sent then.
    pub disk: (u64, u64),
    /// From its start after the kill until it told the first count.
    pub recovery: Duration,
    /// Increments that were answered with an error.
    pub refused: u64,
    pub verdict: Verdict,
}

/// Keys in a fixed order that looks random: the same for each system.
struct Order {
    state: u64,
    keys: usize,
}

impl Order {
    /// SplitMix64.
    fn next(&mut self) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % self.keys as u64) as usize
    }
}

/// The client's side of a trial.
struct Client {
    counts: Counts,
    order: Order,
    sent: u64,
    refused: u64,
    /// Of the answers of the round that is under way, in microseconds.
    latencies: Vec<u32>,
}

impl Client {
    fn hear(&mut self, key: usize, fate: Fate) {
        match fate {
            Fate::Sent => {
                self.sent += 1;
                self.counts.sent(key);
            }
            Fate::Answered { status, body, micros } => match answer::count(&body).filter(|_| status == 200) {
                Some(count) => {
                    self.latencies.push(micros);
                    self.counts.acknowledged(key, count);
                }
                None => {
                    if self.refused == 0 {
                        eprintln!("an increment was refused: {status} {}", String::from_utf8_lossy(&body));
                    }
                    self.refused += 1;
                }
            },
            Fate::Lost => {}
        }
    }

    fn increments<'a>(address: SocketAddr, connections: usize) -> Requests<'a> {
        Requests { address, connections, method: "POST", suffix: "/increment" }
    }

    /// One increment for each of the keys, in their order; how many were sent before the time was over.
    fn first_counts(&mut self, running: &Running, keys: usize, time: Duration) -> io::Result<usize> {
        let begun = Instant::now();
        let mut reached = 0;
        let mut next = || {
            let key = (reached < keys && begun.elapsed() < time).then_some(reached)?;
            reached += 1;
            Some(key)
        };
        let requests = Self::increments(running.address, MANY);
        requests.drive(&mut next, &mut |key, fate| self.hear(key, fate), None)?;
        Ok(reached)
    }

    /// Increments of random keys for so long.
    fn load(
        &mut self,
        address: SocketAddr,
        connections: usize,
        time: Duration,
        interruption: Option<Interruption>,
    ) -> io::Result<()> {
        self.latencies.clear();
        let requests = Self::increments(address, connections);
        let begun = Instant::now();
        let mut order = Order { ..self.order };
        let mut next = || (begun.elapsed() < time).then(|| order.next());
        requests.drive(&mut next, &mut |key, fate| self.hear(key, fate), interruption)?;
        self.order = order;
        Ok(())
    }

    fn measure(&mut self, running: &Running, connections: usize, time: Duration) -> io::Result<Measured> {
        let (begun, cpu) = (Instant::now(), running.processes.cpu()?);
        self.load(running.address, connections, time, None)?;
        let (took, cpu) = (begun.elapsed(), running.processes.cpu()? - cpu);
        let answered = self.latencies.len();
        if answered == 0 {
            return Err(io::Error::other(format!("no increment was answered in {} s", took.as_secs())));
        }
        self.latencies.sort_unstable();
        let part = |hundredths: usize| f64::from(self.latencies[(answered * hundredths / 100).min(answered - 1)]);
        Ok(Measured {
            rate: answered as f64 / took.as_secs_f64(),
            p50_micros: part(50),
            p99_micros: part(99),
            cpu_micros: cpu.as_secs_f64() * 1e6 / answered as f64,
        })
    }

    /// How often the system syncs for an increment of one client.
    fn syncs(&mut self, running: &Running, dir: &Path) -> io::Result<Option<f64>> {
        let Some(counting) = Counting::begin(&running.processes, dir)? else { return Ok(None) };
        self.load(running.address, 1, Duration::from_secs(1), None)?;
        let syncs = counting.end()?;
        Ok(Some(syncs as f64 / self.latencies.len() as f64))
    }
}

/// What the system tells of these keys; a key that it does not tell is asked for again until it does, or too much time has gone.
fn told(system: &dyn System, running: &Running, keys: usize, touched: &[usize]) -> io::Result<Vec<Option<u32>>> {
    let mut told = vec![None; keys];
    let (method, suffix) = system.count_request();
    let requests = Requests { address: running.address, connections: MANY, method, suffix };
    // What it does not tell in time, or at all, is untold. The verdict says so.
    let _ = eventually("it did not tell all counts", || {
        let mut open = touched.iter().copied().filter(|key| told[*key].is_none()).collect::<Vec<_>>().into_iter();
        let mut hear = |key: usize, fate| {
            if let Fate::Answered { status: 200, body, .. } = fate {
                told[key] = answer::count(&body);
            }
        };
        match requests.drive(&mut || open.next(), &mut hear, None) {
            Ok(()) => touched.iter().all(|key| told[*key].is_some()),
            Err(_) => false,
        }
    });
    Ok(told)
}

pub fn of(system: &dyn System, dir: &Path, keys: usize, effort: &Effort) -> io::Result<Outcome> {
    let say = |what: &str| eprintln!("{}: {what}", system.name());
    say("starts");
    let mut running = system.start(dir, true)?;
    let begun = Instant::now();
    let (made, mut why_fewer) = system.prepare(&running, keys)?;
    let order = Order { state: 1, keys: made.max(1) };
    let mut client = Client { counts: Counts::new(made), order, sent: 0, refused: 0, latencies: Vec::new() };
    say(&format!("each of {made} keys is counted once"));
    let reached = client.first_counts(&running, made, effort.first_counts)?;
    let first_counts = begun.elapsed();
    if reached < made {
        why_fewer = Some(format!("so many were counted in {} s", effort.first_counts.as_secs()));
    }
    client.order.keys = reached.max(1);

    say("warms up");
    client.load(running.address, MANY, effort.round, None)?;
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for round in 1..=effort.rounds {
        say(&format!("round {round} of {}", effort.rounds));
        one.push(client.measure(&running, 1, effort.round)?);
        many.push(client.measure(&running, MANY, effort.round)?);
    }
    let memory = running.processes.memory()?;
    let syncs = if reached <= MOST_TRACED_KEYS { client.syncs(&running, dir)? } else { None };
    let disk = (bytes_below(dir)?, client.sent);

    say("is killed under load");
    let Running { processes, address } = &mut running;
    let kill = Interruption { after: effort.round / 2, action: &mut || processes.kill() };
    client.load(*address, MANY, effort.round, Some(kill))?;
    say("is started again");
    let begun = Instant::now();
    let running = system.start(dir, false)?;
    let touched = client.counts.touched();
    let first = &touched[..1.min(touched.len())];
    told(system, &running, made, first)?;
    let recovery = begun.elapsed();
    let told = told(system, &running, made, &touched)?;
    let refused = client.refused;
    Ok(Outcome {
        name: system.name(),
        description: system.description(),
        keys: reached,
        why_fewer,
        first_counts,
        one: median(&one),
        many: median(&many),
        memory,
        syncs,
        disk,
        recovery,
        refused,
        verdict: client.counts.compare(&told),
    })
}

/// The median of each figure by itself.
fn median(rounds: &[Measured]) -> Measured {
    let of = |figure: fn(&Measured) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Measured {
        rate: of(|round| round.rate),
        p50_micros: of(|round| round.p50_micros),
        p99_micros: of(|round| round.p99_micros),
        cpu_micros: of(|round| round.cpu_micros),
    }
}
