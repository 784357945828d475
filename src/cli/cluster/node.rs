//! `theater run --cluster`: one node of a realm. It follows until it owns the realm, serves while it does, and follows again.
//!
//! ```text
//!   follow ──▶ own: runtime, guard ──▶ a signal                     ──▶ release, end
//!     ▲                            ──▶ `theater realm move`         ──▶ suspend, release ──┐
//!     │                            ──▶ fenced: another node owns it ───────────────────────┤
//!     └──────────────────── the process becomes itself anew (exec) ◀───────────────────────┘
//! ```
//!
//! A node that has lost the realm must answer nobody, whatever its threads are at. So it ends as by `kill -9`, at once; and that
//! it can follow again, the process executes its own program.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::serving::{self, Serving};
use super::super::show::{say, visible};
use super::super::signals::Watch;
use super::super::{Done, Failure, service_manager, stderr};
use crate::actor::Spec;
use crate::config::{RealmOptions, Settings};
use crate::guest::GuestEngine;
use crate::journal::{self, DataDir};
use crate::manifest::{ActorSource, Manifest};
use crate::net;
use crate::realm::{
    self, ClusterError, Followed, Follower, Node, OwnerGuard, OwnerSeen, OwnerTold, RetryDelay, SharedLog, TakenRealm,
};
use crate::server::{BoundMetrics, MetricsServer};

/// Says to the program that is executed why its process had another one before.
const WHY: &str = "THEATER_FOLLOWS_AGAIN";
/// Says which instance of the node that program was.
const BEFORE: &str = "THEATER_FOLLOWED_AS";

/// Runs a node until it is ended.
pub(in crate::cli) fn run_node(
    settings: &Settings,
    options: &RealmOptions,
    actors: Vec<ActorSource>,
    watch: &Watch,
) -> Done {
    if !net::inherited_addresses().is_empty() {
        let why = "a service manager has opened sockets for this process, but only the owner of a realm listens: leave socket \
                   activation out for a node of a cluster";
        return Err(Failure::no(why));
    }
    if let Some(doubt) = &options.doubt {
        log::warn!("{doubt}");
    }
    check_actors(settings, &actors)?;
    let server = settings.server().map_err(super::super::config::refused)?;
    let address = server.listen.map(|address| address.to_string()).unwrap_or_else(|| "no address".into());
    let node = Node { realm: options.realm.clone(), id: options.node.clone(), address };
    realm::check_directory(&settings.data_dir(), &options.realm).map_err(Failure::no)?;
    let (journal, promise) =
        patiently(|| realm::open_realm(&options.cluster, &options.realm, options.is_one_server_enough))?;
    if let (Ok(why), Ok(before)) = (std::env::var(WHY), std::env::var(BEFORE)) {
        log::warn!("{why}; this node follows the realm {} again", options.realm);
        let before = before.parse::<uuid::Uuid>().map(uuid::Uuid::into_bytes).unwrap_or_default();
        patiently(|| realm::bury(&options.cluster, &node, &before))?;
    }
    say!("realm       {} of {}, node {}", options.realm, options.cluster, options.node.name);
    say!("promise     what is acknowledged {promise}");
    watch.follows(true);
    let followed = follow(settings, options, &node, journal, watch);
    watch.follows(false);
    let taken = match followed? {
        Followed::Owns(taken) => taken,
        Followed::Ended => {
            service_manager::stopping();
            return Ok(());
        }
    };
    own(settings, options, &node, taken, actors, watch)
}

/// Refuses what this node could not run once it owns the realm: a mistake in a manifest, a component that is missing or does not
/// fit, a secret that is unknown here.
fn check_actors(settings: &Settings, actors: &[ActorSource]) -> Done {
    let engine = GuestEngine::new(settings.code_cache().as_deref()).map_err(Failure::no)?;
    let secrets = settings.secrets();
    for source in actors {
        let manifest = Manifest::of(source, &settings.actor_limits()).map_err(Failure::no)?;
        let spec = Spec::load(&engine, manifest).map_err(Failure::no)?;
        for name in spec.handlers.iter().flat_map(|handler| handler.secrets()) {
            secrets.knows(name).map_err(|why| Failure::no(why.in_full()))?;
        }
    }
    Ok(())
}

/// Follows until this node owns the realm.
fn follow(
    settings: &Settings,
    options: &RealmOptions,
    node: &Node,
    journal: [u8; 16],
    watch: &Watch,
) -> Result<Followed, Failure> {
    let metrics = settings.metrics().map(serving::bind_metrics).transpose()?.map(BoundMetrics::serve_early).transpose();
    let metrics = metrics.map_err(|error| Failure::no(format!("cannot start the metrics' threads: {error}")))?;
    let engine = GuestEngine::new(settings.code_cache().as_deref()).map_err(Failure::no)?;
    let prepare = |component: &[u8]| {
        if let Err(error) = engine.prepare(component) {
            log::warn!("a component of the realm {} cannot be compiled here: {error}", options.realm);
        }
    };
    let follower = patiently(|| {
        let dir = DataDir::open(&settings.data_dir())?;
        Follower::begin(&options.cluster, node, options.lease, journal, dir, &prepare)
    })?;
    service_manager::ready();
    let mut last_owner = None;
    follower
        .follow(&|| watch.was_asked(), |seen| {
            metrics.iter().for_each(|metrics: &MetricsServer| metrics.follows(where_to_ask(node, seen)));
            if last_owner.as_ref() != Some(&seen.owner)
                && let Some((owner, address)) = &seen.owner
            {
                say!("following   node {} owns the realm ({})", visible(owner), visible(address));
            }
            last_owner = Some(seen.owner.clone());
        })
        .map_err(Failure::no)
}

/// Tries again for as long as the servers cannot be reached: they may start later than this node.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, ClusterError>) -> Result<T, Failure> {
    let mut delay = RetryDelay::default();
    loop {
        match attempt() {
            Err(error) if error.may_pass() => delay.wait(|| error.to_string()),
            done => return done.map_err(Failure::no),
        }
    }
}

fn where_to_ask(node: &Node, seen: &OwnerSeen) -> String {
    let OwnerSeen { owner, behind } = seen;
    match owner {
        Some((owner, address)) => format!(
            "node {owner} owns the realm {}: ask it, at {address}; this node follows, {behind} batches behind",
            node.realm
        ),
        None => format!("no node owns the realm {} at the moment; this node follows", node.realm),
    }
}

/// Serves the realm for as long as this node owns it.
fn own(
    settings: &Settings,
    options: &RealmOptions,
    node: &Node,
    taken: TakenRealm,
    actors: Vec<ActorSource>,
    watch: &Watch,
) -> Done {
    let RealmOptions { cluster, realm, .. } = options;
    say!("owner       of realm {realm}, epoch {}, from batch {}", taken.epoch, taken.head);
    let why = format!("another node owns the realm {realm} now");
    let (fenced, instance) = (why.clone(), node.id.instance);
    let shared =
        Arc::new(SharedLog::new(cluster.clone(), node.clone(), &taken, move |_| begin_anew(&fenced, instance)));
    let heir = Arc::<Mutex<Option<String>>>::default();
    let (asked, moving, head) = (watch.clone(), Arc::clone(&heir), Arc::clone(&shared));
    let beats = Arc::clone(&shared);
    let told = move |told| match told {
        OwnerTold::Fenced => begin_anew(&why, instance),
        OwnerTold::MoveTo(next) => {
            log::info!("the realm is handed over to node {next}: actors are suspended, and go on there");
            *moving.lock() = Some(next);
            asked.end_theater();
        }
    };
    let guard = OwnerGuard::start(cluster.clone(), node.clone(), move || head.head(), move || beats.was_heard(), told)
        .map_err(|error| Failure::no(format!("cannot start the guard's thread: {error}")))?;
    let served = serve(settings, actors, &shared, watch);
    drop(guard);
    let heir = heir.lock().take();
    // Another node need not wait for the lease.
    let released = realm::release(cluster, node, heir.as_deref());
    served?;
    if heir.is_none()
        && let Err(error) = realm::bury(cluster, node, &instance)
    {
        log::debug!("{error}");
    }
    if let Err(error) = released {
        log::warn!("the realm {realm} could not be given up, so another node takes it after the lease: {error}");
    }
    match heir {
        Some(next) => begin_anew(&format!("the realm {realm} was handed over to node {next}"), instance),
        None => Ok(()),
    }
}

fn serve(settings: &Settings, actors: Vec<ActorSource>, shared: &Arc<SharedLog>, watch: &Watch) -> Done {
    let shared = Arc::<SharedLog>::clone(shared);
    let started = Serving::start(settings, actors, Some(settings.data_dir()), Some(shared), None, watch)?;
    let Some(serving) = started else { return Ok(()) };
    serving.announce()?;
    serving.until_it_ends()
}

/// Ends everything that this process is at, at once, and follows again. Every socket and lock goes with it.
fn begin_anew(why: &str, instance: [u8; 16]) -> ! {
    journal::remove_ephemeral();
    let mut args = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    let error = command.args(args).env(WHY, why).env(BEFORE, uuid::Uuid::from_bytes(instance).to_string()).exec();
    stderr::last_words(&format!("theater: {why}, and the program cannot be executed again: {error}"));
    std::process::abort()
}
