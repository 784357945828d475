//! The audit of a whole journal: every chain by itself, the links between chains, and what is stored beside the chains.
//!
//! ```text
//!   survey ── a page, as committed ──▶ place: each event with the one before it on its chain
//!                                      ──▶ check, on all cores: hash and contents
//!                                      ──▶ take: links, holdings, findings in order
//! ```
//!
//! While a page is checked, the next one is read, and the one before it is taken in.
//!
//! If the journal cannot be read from beginning to end in one go, each chain is read by itself, so that an unreadable
//! part of one chain does not hide what is wrong with another.

mod grounds;
mod holdings;
mod links;
mod near;
mod owed;
mod said;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::OnceLock;

use rayon::prelude::*;

use crate::base::id::ActorId;
use crate::base::pool;
use crate::chain::{ChainBroken, ChainEvent, ComponentDigest, Head, Incarnations, Salting, check_link};
use crate::journal::{ActorRow, JournalError, JournalReader, ReadResult, Survey, Surveyed};
use crate::promise::Arrivals;
pub(crate) use grounds::grounds;
use holdings::Holdings;
use near::Near;
use said::Said;

const PAGE: u64 = 2_000;
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// What an audit of a journal found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Audit {
    /// How many chains were checked.
    pub actors: u64,
    /// How many events were checked.
    pub events: u64,
    /// How many quotes of one chain in another were looked up.
    pub links: u64,
    /// How many messages were sent and not yet taken when the journal ended.
    pub in_flight: u64,
    /// How many events have lost their data. Their hashes are checked; their contents cannot be.
    pub dropped: u64,
    /// How many stored states no event names, because the data of the event that led to them was dropped. Nothing
    /// proves these states.
    pub unvouched: u64,
    /// Everything that is wrong: first with the journal as a whole, then each with the actor and the event. The list is
    /// empty if the journal is whole.
    pub findings: Vec<String>,
}

/// Checks every chain of the journal in `dir`, the links between the chains, and the data stored beside them. It sees the
/// journal as it is at one moment; a runtime may be using it.
///
/// # Errors
///
/// [`JournalError`] if there is no journal, or if it cannot be opened. Faults in the journal
/// are findings, and no errors.
pub fn audit(dir: &Path) -> Result<Audit, JournalError> {
    pool::make_ready().map_err(|why| JournalError::Thread(std::io::Error::other(why)))?;
    let mut survey = Survey::begin(dir)?;
    let mut of_the_rows = Vec::new();
    match grounds(survey.reader()) {
        Ok(found) => of_the_rows = found,
        Err(error) => of_the_rows.push(format!("what a start builds upon cannot be read: {error}")),
    }
    let audited = audit_survey(&mut survey);
    let unreadable = |error| Audit { findings: vec![format!("cannot be read: {error}")], ..Audit::default() };
    let mut audit = audited.unwrap_or_else(unreadable);
    let of_the_whole = survey.findings().into_iter().chain(of_the_rows).collect::<Vec<_>>();
    audit.findings.splice(0..0, of_the_whole);
    Ok(audit)
}

fn audit_survey(survey: &mut Survey) -> ReadResult<Audit> {
    let rows = survey.reader().actors()?;
    // The unreadable part is met again there, and is then reported with its chain.
    if let Ok(audit) = in_order(survey, &rows) {
        return Ok(audit);
    }
    chain_by_chain(survey.reader(), &rows)
}

fn in_order(survey: &mut Survey, rows: &[ActorRow]) -> ReadResult<Audit> {
    let reader = survey.reader().clone();
    let mut auditor = Auditor::new(&reader, rows)?;
    auditor.is_in_order = true;
    let mut heads = Heads::of(rows);
    let mut read = || -> ReadResult<_> { Ok(survey.page()?.map(|page| heads.place(page))) };
    let (mut before_last, mut last, mut checked) = (Page::default(), Page::default(), Vec::new());
    let mut next = read()?;
    loop {
        let is_end = next.is_none();
        let page = next.unwrap_or_default();
        let (following, (now_checked, taken)) = rayon::join(&mut read, || {
            rayon::join(
                || check(&page.steps),
                || {
                    let taken = auditor.take(&reader, &last, &before_last, checked);
                    drop(before_last);
                    taken
                },
            )
        });
        taken?;
        (before_last, last, checked) = (last, page, now_checked);
        next = following?;
        if is_end {
            return auditor.finish(&reader);
        }
    }
}

fn chain_by_chain(reader: &JournalReader, rows: &[ActorRow]) -> ReadResult<Audit> {
    let mut auditor = Auditor::new(reader, rows)?;
    let mut heads = Heads::of(rows);
    for (at, row) in rows.iter().enumerate() {
        if auditor.courses[at].is_over {
            continue;
        }
        if let Err(error) = auditor.chain(reader, row, &mut heads) {
            auditor.courses[at].is_over = true;
            auditor.finding(row, &format!("cannot be read: {error}"));
        }
    }
    auditor.finish(reader)
}

/// Events that are taken in together.
#[derive(Default)]
struct Page {
    steps: Vec<Step>,
    /// Where among the steps an event is, by actor and sequence. Few pages are asked for one.
    places: OnceLock<HashMap<(usize, u64), usize>>,
    /// What is wrong with events that are no steps.
    findings: Vec<String>,
}

impl Page {
    fn event(&self, course: usize, sequence: u64) -> Option<&ChainEvent> {
        let of_steps = || self.steps.iter().enumerate().map(|(at, step)| ((step.course, step.event.sequence), at));
        let places = self.places.get_or_init(|| of_steps().collect());
        places.get(&(course, sequence)).map(|at| &self.steps[*at].event)
    }
}

/// One event, with the event that it must follow.
struct Step {
    /// The index of its actor.
    course: usize,
    before: Option<Head>,
    event: ChainEvent,
}

/// Does the checks that need only the event itself, which are most of the work, on all cores.
fn check(steps: &[Step]) -> Vec<Result<Said, ChainBroken>> {
    /// The least number of events that is worth handing to another core.
    const SHARE: usize = 64;
    let check = |step: &Step| check_link(step.before.as_ref(), &step.event).map(|_| Said::by(&step.event));
    steps.par_iter().with_min_len(SHARE).map(check).collect()
}

/// A finding, with the actor that it concerns.
fn finding(row: &ActorRow, what: &str) -> String {
    format!("actor {} ({}): {what}", row.name, row.actor.id)
}

/// Where the chains end, as far as they were read.
struct Heads {
    /// The index of each actor, by the key of its rows.
    by_key: HashMap<i64, usize>,
    heads: Vec<Option<Head>>,
}

impl Heads {
    fn of(rows: &[ActorRow]) -> Self {
        let by_key = rows.iter().enumerate().map(|(at, row)| (row.actor.key, at)).collect();
        Self { by_key, heads: vec![None; rows.len()] }
    }

    /// Pairs each event with the event before it on its chain, in the order in which they are read.
    fn place(&mut self, events: Vec<Vec<Surveyed>>) -> Page {
        let mut page = Page::default();
        page.steps.reserve(events.iter().map(Vec::len).sum());
        for Surveyed { actor, mut event } in events.into_iter().flatten() {
            let Some(course) = self.by_key.get(&actor).copied() else {
                let what = format!("event {} of key {actor} is of no actor in the table of actors", event.sequence);
                page.findings.push(what);
                continue;
            };
            let before = self.heads[course].replace(Head { sequence: event.sequence, hash: event.hash });
            event.parent_hash = before.as_ref().map(|head| head.hash);
            page.steps.push(Step { course, before, event });
        }
        page
    }
}

struct Auditor<'a> {
    rows: &'a [ActorRow],
    /// One for each actor, in the order of the rows.
    courses: Vec<Course>,
    by_id: HashMap<ActorId, usize>,
    audit: Audit,
    arrivals: Arrivals,
    /// The asynchronous requests whose answers were told of, by actor and token.
    replied: HashSet<(ActorId, u64)>,
    /// Whether events are read in the order in which they were committed.
    is_in_order: bool,
    /// The messages that the journal has still to deliver, by sender and sequence.
    owed: HashSet<(ActorId, u64)>,
    /// The components that were looked at already: what is wrong with each.
    components: HashMap<ComponentDigest, Option<&'static str>>,
}

/// How far the chain of one actor has been walked.
struct Course {
    salting: Salting,
    incarnations: Incarnations,
    holdings: Holdings,
    /// Something is wrong with the chain. What follows is not reported, because it would only repeat the finding.
    is_over: bool,
}

impl<'a> Auditor<'a> {
    fn new(reader: &JournalReader, rows: &'a [ActorRow]) -> ReadResult<Self> {
        let owed = reader.pending()?.into_iter().map(|pending| (pending.cause.actor, pending.cause.sequence));
        let mut auditor = Self {
            rows,
            courses: Vec::with_capacity(rows.len()),
            by_id: rows.iter().enumerate().map(|(at, row)| (row.actor.id, at)).collect(),
            audit: Audit { actors: rows.len() as u64, ..Audit::default() },
            arrivals: Arrivals::default(),
            replied: HashSet::new(),
            is_in_order: false,
            owed: owed.collect(),
            components: HashMap::new(),
        };
        for row in rows {
            // An error here is a finding about the row only. The chain is checked nevertheless.
            let holdings = Holdings::of(reader, row).unwrap_or_else(|error| {
                auditor.finding(row, &error.to_string());
                Holdings::unknown()
            });
            let (salting, incarnations) = (Salting::default(), Incarnations::none());
            auditor.courses.push(Course { salting, incarnations, holdings, is_over: false });
        }
        Ok(auditor)
    }

    fn finding(&mut self, row: &ActorRow, what: &str) {
        self.audit.findings.push(finding(row, what));
    }

    /// Walks one chain by itself.
    fn chain(&mut self, reader: &JournalReader, row: &ActorRow, heads: &mut Heads) -> ReadResult<()> {
        let (mut next, mut last) = (0, Page::default());
        loop {
            let page = reader.events(row.actor, next, PAGE, PAGE_BYTES)?;
            let Some(newest) = page.last() else { return Ok(()) };
            next = newest.sequence + 1;
            let page = page.into_iter().map(|event| Surveyed { actor: row.actor.key, event });
            let page = heads.place(vec![page.collect()]);
            self.take(reader, &page, &last, check(&page.steps))?;
            last = page;
        }
    }

    /// Takes in the checked events, in order. `last` is the page that was taken in before.
    fn take(
        &mut self,
        reader: &JournalReader,
        page: &Page,
        last: &Page,
        checked: Vec<Result<Said, ChainBroken>>,
    ) -> ReadResult<()> {
        let near = Near { reader, pages: [page, last] };
        self.audit.findings.extend_from_slice(&page.findings);
        for (Step { course, event, .. }, checked) in page.steps.iter().zip(checked) {
            let row = &self.rows[*course];
            if self.courses[*course].is_over {
                continue;
            }
            let checked = checked.and_then(|said| self.courses[*course].salting.follow(event).map(|()| said));
            match checked {
                Ok(said) => {
                    self.audit.events += 1;
                    self.counts(*course, event, &said);
                    self.links(&near, row, event, &said)?;
                    self.holds(reader, *course, event, said)?;
                }
                Err(broken) => {
                    self.courses[*course].is_over = true;
                    self.finding(row, &broken.to_string());
                }
            }
        }
        Ok(())
    }

    /// Checks that no incarnation is missing and none occurs twice.
    fn counts(&mut self, course: usize, event: &ChainEvent, said: &Said) {
        let incarnations = &mut self.courses[course].incarnations;
        let counted = match said {
            Said::Started(started) => incarnations.begins(started),
            _ => {
                incarnations.goes_on(event);
                Ok(())
            }
        };
        if let Err(why) = counted {
            self.finding(&self.rows[course], &format!("event {}: {why}", event.sequence));
        }
    }

    /// Finishes the audit after the last event of every chain.
    fn finish(mut self, reader: &JournalReader) -> ReadResult<Audit> {
        for (course, row) in std::mem::take(&mut self.courses).into_iter().zip(self.rows) {
            if !course.is_over {
                self.compare_at_end(reader, row, course.holdings)?;
            }
        }
        self.missing_messages();
        Ok(self.audit)
    }
}
