//! The thread `proofs`, which builds the tree of a running runtime and signs checkpoints, and what others ask of it.
//!
//! ```text
//!   journal ── commits ──▶ log ── read ──▶ thread `proofs`: leaves, tiles, a checkpoint each interval
//!                                                  │
//!                                                  └──▶ the newest checkpoint ──▶ thread `witnesses`, if there are any
//! ```
//!
//! Nothing on the way of a message knows of it, and nothing waits for it.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use parking_lot::Mutex;

use super::fault::{NotProved, TreeFault};
use super::keeper::{Signed, TreeKeeper};
use super::note::{PrivateKey, PublicKey, SignatureLine, SigningRole};
use super::proof_file::witnessed;
use super::prover::{self, InclusionPath};
use super::shelf::Shelf;
use crate::base::seldom::Seldom;
use crate::base::thread::{self, JoinHandle};
use crate::base::{clock, wait};
use crate::journal::{ActorKey, JournalHandle, JournalReader, Placed};

/// How long one wait lasts: what is committed meanwhile becomes leaves then.
const STEP: Duration = Duration::from_millis(200);
/// What takes longer is said.
const LONG: Duration = Duration::from_secs(2);
/// So long, an end waits for leaves that are not in the tree yet.
const LAST_BUILDING: Duration = Duration::from_secs(10);
/// How long somebody waits who asked for a checkpoint.
const ASKED: Duration = Duration::from_secs(30);

/// What is signed, and how often.
pub(crate) struct ProofOptions {
    pub(crate) key: PrivateKey,
    /// The name of the log.
    pub(crate) origin: String,
    /// The least time between two checkpoints.
    pub(crate) interval: Duration,
    /// The keys of the witnesses, and how many of them must have cosigned before a checkpoint is used for proofs.
    pub(crate) witnesses: Vec<PublicKey>,
    pub(crate) quorum: usize,
}

/// What others know of the tree of a running runtime.
pub(crate) struct Proofs {
    origin: String,
    public: PublicKey,
    reader: JournalReader,
    shelf: Shelf,
    witnesses: Vec<PublicKey>,
    quorum: usize,
    state: Mutex<Known>,
    asks: Sender<Sender<()>>,
}

#[derive(Default)]
struct Known {
    newest: Option<Arc<Signed>>,
    /// The newest that enough witnesses have cosigned.
    witnessed: Option<Arc<Signed>>,
}

/// The thread, until it is ended.
pub(crate) struct ProofThread {
    thread: JoinHandle,
    /// Dropped to end it.
    going_on: Sender<()>,
}

/// Begins to build the tree of the journal. What was signed before is compared with the log first.
pub(crate) fn start(journal: &JournalHandle, options: ProofOptions) -> Result<(Arc<Proofs>, ProofThread), String> {
    let ProofOptions { key, origin, interval, witnesses, quorum } = options;
    let reader = journal.reader().map_err(|error| error.to_string())?;
    let public = key.public(SigningRole::Log);
    let keeper = TreeKeeper::open(reader.clone(), key, origin.clone()).map_err(|fault| fault.to_string())?;
    let shelf = keeper.shelf().clone();
    let signed_before = shelf.witnessed().map_err(|error| error.to_string())?;
    let known = Known {
        newest: keeper.newest().cloned(),
        witnessed: signed_before.and_then(|note| {
            let checkpoint = super::checkpoint::Checkpoint::of_note(&note, &public).ok()?;
            let is_enough = witnessed(&note, &witnesses).is_ok_and(|found| found.len() >= quorum);
            (is_enough && checkpoint.origin == origin).then(|| Arc::new(Signed { checkpoint, note }))
        }),
    };
    let (asks, asked) = unbounded();
    let (going_on, ending) = bounded(0);
    let proofs = Arc::new(Proofs { origin, public, reader, shelf, witnesses, quorum, state: Mutex::new(known), asks });
    let (told, journal) = (Arc::clone(&proofs), journal.clone());
    let worker = Worker { keeper, told, journal, interval, asked, ending, trouble: Seldom::default() };
    let thread = thread::spawn("proofs", move || worker.run());
    let thread = thread.map_err(|error| format!("cannot start the thread of the proofs: {error}"))?;
    Ok((proofs, ProofThread { thread, going_on }))
}

impl ProofThread {
    /// Signs what is committed, and ends.
    pub(crate) fn end(self) {
        drop(self.going_on);
        // A panic was logged.
        let _ = self.thread.join();
    }
}

impl Proofs {
    /// The name of the log.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// The public key of the log.
    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// The newest checkpoint that was signed.
    pub(crate) fn newest(&self) -> Option<Arc<Signed>> {
        self.state.lock().newest.clone()
    }

    /// The checkpoint that proofs lead to: the newest, or the newest that enough witnesses have cosigned.
    pub(crate) fn shown(&self) -> Option<Arc<Signed>> {
        let state = self.state.lock();
        if self.quorum == 0 { state.newest.clone() } else { state.witnessed.clone() }
    }

    /// Takes the cosignatures of witnesses for a checkpoint, those of unknown keys left out. Whether they are enough.
    pub(crate) fn cosigned(&self, signed: &Signed, lines: Vec<SignatureLine>) -> Result<bool, String> {
        let mut note = signed.note.clone();
        for line in lines {
            let Some(key) = self.witnesses.iter().find(|key| line.is_of(key)) else { continue };
            // One that lies must not keep the others from being counted.
            let mut alone = signed.note.clone();
            alone.signatures.push(line.clone());
            match witnessed(&alone, std::slice::from_ref(key)) {
                Ok(_) => note.signatures.push(line),
                Err(error) => log::warn!("what the witness {} has answered does not count: {error}", key.name),
            }
        }
        let found = witnessed(&note, &self.witnesses).map_err(|error| error.to_string())?;
        if found.len() < self.quorum {
            return Ok(false);
        }
        self.shelf.keep_witnessed(&note).map_err(|error| error.to_string())?;
        self.state.lock().witnessed = Some(Arc::new(Signed { checkpoint: signed.checkpoint.clone(), note }));
        Ok(true)
    }

    /// An event of an actor, with its place; none if it is not committed.
    pub(crate) fn event(&self, actor: ActorKey, sequence: u64) -> Result<Option<Placed>, NotProved> {
        let position = self.reader.position(actor, sequence)?;
        position.map(|position| prover::event_at(&self.reader, position)).transpose()
    }

    /// The event at an index of the tree.
    pub(crate) fn event_at(&self, index: u64) -> Result<Placed, NotProved> {
        prover::event_at(&self.reader, index.saturating_add(1))
    }

    /// The path from an event to the root of the checkpoint that is shown.
    pub(crate) fn path_of(&self, placed: &Placed) -> Result<InclusionPath, NotProved> {
        let signed = self.shown().ok_or(NotProved::NotYet)?;
        let path = prover::path_in(&self.shelf.tiles(), &signed.note, &signed.checkpoint, placed);
        if let Err(NotProved::Damaged | NotProved::Tiles(_)) = &path
            && let Err(error) = self.shelf.distrust()
        {
            log::warn!("it cannot be noted that the tiles of the proofs are damaged: {error}");
        }
        path
    }

    /// Has everything signed that is committed, and waits for that.
    pub(crate) fn sign_now(&self) -> Result<(), NotProved> {
        let (done, signed) = bounded(1);
        self.asks.send(done).map_err(|_| NotProved::Ended)?;
        wait::receive_within(&signed, ASKED).map_err(|_| NotProved::NotYet)
    }
}

/// The body of the thread.
struct Worker {
    keeper: TreeKeeper,
    told: Arc<Proofs>,
    journal: JournalHandle,
    interval: Duration,
    asked: Receiver<Sender<()>>,
    ending: Receiver<()>,
    trouble: Seldom,
}

impl Worker {
    fn run(mut self) {
        let mut due = clock::now();
        loop {
            let (ends, mut waiting) = self.wait();
            if ends || !waiting.is_empty() {
                // What was recorded before is committed then. A journal that is down has nothing more.
                let _ = self.journal.flush();
            }
            let done = self.build(ends).and_then(|()| {
                let is_due = clock::until(due).is_zero();
                if is_due || ends || !waiting.is_empty() { self.sign() } else { Ok(false) }
            });
            match done {
                Ok(true) => due = clock::after(self.interval),
                Ok(false) => {}
                Err(fault) => {
                    self.trouble.warn(format!("no checkpoint is signed: {fault}"));
                    // Who waits is told by the end of the channel.
                    waiting.clear();
                    if let Err(fault) = self.keeper.step_back() {
                        self.trouble.warn(format!("no checkpoint is signed: {fault}"));
                        wait::sleep(STEP);
                    }
                }
            }
            waiting.into_iter().for_each(|waiting| _ = waiting.try_send(()));
            if ends {
                if let Err(error) = self.keeper.leave() {
                    log::warn!("the tiles of the proofs are made anew at the next start: {error}");
                }
                return;
            }
        }
    }

    /// Waits for the next step. Whether the end has come, and who asks for a checkpoint.
    fn wait(&self) -> (bool, Vec<Sender<()>>) {
        let channels: [&dyn wait::Channel; 2] = [&self.ending, &self.asked];
        let _ = wait::one_of(&channels, Some(clock::after(STEP)));
        let ends = wait::receive_within(&self.ending, Duration::ZERO) == Err(RecvTimeoutError::Disconnected);
        (ends, self.asked.try_iter().collect())
    }

    /// Makes leaves of all that is committed now. If there is much of it, that is said, and the end cuts it short.
    fn build(&mut self, ends: bool) -> Result<(), TreeFault> {
        let (began, from) = (clock::now(), self.keeper.size());
        // What comes meanwhile waits for the next step: under load, something always comes, and little at a time.
        let committed = self.keeper.committed()?;
        let mut is_said = false;
        while self.keeper.size() < committed && self.keeper.catch_up()? {
            let took = clock::since(began);
            let is_long = took > LONG;
            let is_ended = || wait::receive_within(&self.ending, Duration::ZERO) == Err(RecvTimeoutError::Disconnected);
            let gives_up = if ends { took > LAST_BUILDING } else { is_long && is_ended() };
            if gives_up {
                let left = committed.saturating_sub(self.keeper.size());
                if ends && left > 0 {
                    log::info!("{left} events are in no checkpoint yet; the next start goes on with them");
                }
                return Ok(());
            }
            if is_long && !is_said {
                log::info!("the tree of the proofs is behind the journal, and catches up");
                is_said = true;
            }
        }
        if is_said {
            let (leaves, seconds) = (self.keeper.size() - from, clock::since(began).as_secs_f64());
            log::info!("the tree of the proofs has caught up: {leaves} leaves in {seconds:.1} s");
        }
        Ok(())
    }

    /// Signs what was reached; whether there was anything new.
    fn sign(&mut self) -> Result<bool, TreeFault> {
        let Some(signed) = self.keeper.sign()? else { return Ok(false) };
        self.told.state.lock().newest = Some(signed);
        Ok(true)
    }
}
