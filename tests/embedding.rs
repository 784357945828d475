//! Embedding: a program of its own, with the public API alone. It starts actors from files and from memory, asks them with
//! deadlines, follows and verifies what they did, and gives them a capability that Theater does not have.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use theater::{
    ActorId, ActorSource, ActorStatus, BeyondLimit, Config, DropError, EventKind, EventsOf, ExportError, FailureReason,
    Handler, HostFunctions, LifecycleError, LinkError, NotDelivered, OutcomeUnknown, ReadError, ReplayError,
    RequestError, SecretSource, Shown, TheaterError, TheaterHandle, TheaterRuntime, UnverifiedChain,
};

const GREETER: &[u8] = include_bytes!("../docs/greeter.wasm");
const LONG: Duration = Duration::from_secs(60);

fn greeter() -> ActorSource {
    ActorSource::in_memory("name = \"greeter\"\ncomponent_path = \"greeter.wasm\"\n", GREETER)
}

/// Dice, and what was staked on them. All actors stake into one pot.
#[derive(Clone, Default)]
struct Dice {
    pot: Arc<AtomicU64>,
    rolls: Arc<AtomicU64>,
}

impl Handler for Dice {
    const NAME: &'static str = "dice";
    const INTERFACES: &'static [&'static str] = &["acme:dice/dice"];

    fn link(functions: &mut HostFunctions<'_, Self>) -> Result<(), LinkError> {
        functions.read("acme:dice/dice", "roll", |dice, _call, (sides,): &(u32,)| {
            let rolled = dice.rolls.fetch_add(1, Ordering::Relaxed);
            u32::try_from(rolled % u64::from(*sides) + 1).map_err(|_| BeyondLimit("too many sides".into()))
        })?;
        functions.outside("acme:dice/dice", "pay", |dice, call, (stake,): &(Vec<u8>,)| match stake.as_slice() {
            b"panic" => panic!("{} must not do that", call.actor_name()),
            b"fake" => Err(format!("{} pays with false coin", call.actor_name())),
            stake => Ok(dice.pot.fetch_add(stake.len() as u64, Ordering::Relaxed)),
        })
    }
}

fn gambler(more: &str) -> ActorSource {
    let component = wat::parse_str(include_str!("embedding/gambler.wat")).expect("the text of a component");
    let manifest = format!("name = \"gambler\"\ncomponent_path = \"gambler.wasm\"\n{more}");
    ActorSource::in_memory(manifest, component)
}

const GRANT: &str = "[[handlers]]\ntype = \"dice\"\n";

/// All that the page on embedding tells, and a capability, in one program.
#[test]
fn an_embedder_starts_asks_follows_verifies_and_adds_a_capability() -> Result<(), Box<dyn std::error::Error>> {
    let (place, dice) = (tempfile::tempdir()?, Dice::default());
    let config = || Config::new().data_dir(place.path().join("data")).handler(dice.clone()).actor(gambler(GRANT));
    let runtime = TheaterRuntime::start(config())?;
    let theater = runtime.handle();
    let gambler = theater.find("gambler")?.id;
    let mut events = theater.subscribe(EventsOf::Actor(gambler), None, &[EventKind::HostCall])?;
    assert_eq!(theater.request_within(gambler, "coin", LONG)?, b"1");
    assert_eq!(theater.request_within(gambler, "", LONG)?, b"2");
    let mut called = || events.next_within(LONG).map(|event| event.map(|it| it.event.event_type.into_owned()));
    assert_eq!(called()?.as_deref(), Some("host-call acme:dice/dice.pay"));
    assert_eq!(called()?.as_deref(), Some("host-call acme:dice/dice.roll"));
    assert_eq!(dice.pot.load(Ordering::Relaxed), 4);

    let mut file = Vec::new();
    let exported = theater.export(gambler, &mut file)?;
    let chain = UnverifiedChain::read(&file[..])?.verify()?;
    assert_eq!((chain.actor(), chain.head()), (gambler, exported.head));
    assert_eq!(theater.replay(gambler)?.head, Some(exported.head), "a replay gives what was recorded");
    assert_eq!((dice.rolls.load(Ordering::Relaxed), dice.pot.load(Ordering::Relaxed)), (2, 4), "it calls no handler");

    runtime.shutdown();
    let runtime = TheaterRuntime::start(config())?;
    assert_eq!(runtime.handle().find("gambler")?.id, gambler, "it goes on, from memory again");
    assert_eq!(runtime.handle().request_within(gambler, "", LONG)?, b"3");
    runtime.shutdown();
    let audit = theater::audit(&place.path().join("data"))?;
    assert_eq!((audit.actors, audit.findings.len()), (1, 0), "{:?}", audit.findings);
    Ok(())
}

fn running(dice: &Dice) -> TheaterRuntime {
    TheaterRuntime::start(Config::new().handler(dice.clone())).expect("a runtime")
}

#[test]
fn an_own_capability_is_granted_refused_and_recorded_like_any_other() {
    let dice = Dice::default();
    let runtime = running(&dice);
    let theater = runtime.handle();
    let refused = |source: ActorSource| match theater.start(source) {
        Err(LifecycleError::Manifest(error)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let why = refused(gambler(""));
    assert!(why.contains("which the handler \"dice\" grants; add to the manifest"), "{why}");
    let why = refused(gambler("[[handlers]]\ntype = \"dise\"\n"));
    assert!(why.contains("actor-in-memory.toml:3: unknown handler \"dise\"; did you mean \"dice\"?"), "{why}");
    let why = refused(gambler("[[handlers]]\ntype = \"dice\"\nconfig = { sides = 6 }\n"));
    assert!(why.contains("unknown key \"sides\" of handler \"dice\""), "{why}");

    let gambler = theater.start(gambler(GRANT)).expect("it starts");
    assert_eq!(theater.request(gambler, "fake"), Err(RequestError::Refused("gambler pays with false coin".into())));
    let Err(RequestError::Failed(failure)) = theater.request(gambler, "panic") else { panic!("it fails") };
    assert_eq!(failure.reason, FailureReason::Panic);
    assert!(failure.detail.contains("gambler must not do that"), "{failure}");
    runtime.shutdown();
}

#[test]
fn two_handlers_of_one_name_or_interface_are_refused() {
    #[derive(Clone)]
    struct Clock;
    impl Handler for Clock {
        const NAME: &'static str = "clock";
        const INTERFACES: &'static [&'static str] = &[];
        fn link(_: &mut HostFunctions<'_, Self>) -> Result<(), LinkError> {
            Ok(())
        }
    }
    #[derive(Clone)]
    struct MoreDice;
    impl Handler for MoreDice {
        const NAME: &'static str = "more-dice";
        const INTERFACES: &'static [&'static str] = &["acme:dice/dice"];
        fn link(_: &mut HostFunctions<'_, Self>) -> Result<(), LinkError> {
            Ok(())
        }
    }
    let why = |config: Config| TheaterRuntime::start(config).err().expect("it is refused").to_string();
    assert!(why(Config::new().handler(Clock)).contains("two handlers are called \"clock\""));
    let twice = Config::new().handler(Dice::default()).handler(MoreDice);
    assert!(
        why(twice).contains("the handler \"more-dice\" links \"acme:dice/dice\", which another"),
        "by its interface"
    );
}

#[test]
fn a_secret_that_cannot_be_one_is_refused_at_the_start_and_its_value_is_in_no_debug_output() {
    let why = |config: Config| TheaterRuntime::start(config).err().expect("it is refused").to_string();
    let named = why(Config::new().secret("a key", SecretSource::file("key")));
    assert!(named.starts_with("\"a key\" cannot be the name of a secret"), "{named}");
    let endless = SecretSource::command("vault", ["hunter2"]).within(Duration::from_secs(3600));
    let config = Config::new().secret("key", endless);
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    assert_eq!(why(config), "the secret \"key\": its \"timeout_ms\" is from 1 to 30000");
}

/// A handler of the given name and interfaces that links `roll` of `acme:dice/dice`.
macro_rules! roller {
    ($name:literal, $interfaces:expr) => {{
        #[derive(Clone)]
        struct Roller;
        impl Handler for Roller {
            const NAME: &'static str = $name;
            const INTERFACES: &'static [&'static str] = $interfaces;
            fn link(functions: &mut HostFunctions<'_, Self>) -> Result<(), LinkError> {
                functions.read("acme:dice/dice", "roll", |_, _, (sides,): &(u32,)| Ok(*sides))
            }
        }
        Config::new().handler(Roller)
    }};
}

#[test]
fn a_handler_with_a_name_or_interface_that_nobody_can_write_is_refused() {
    let why = |config: Config| TheaterRuntime::start(config).err().expect("it is refused").to_string();
    assert!(why(roller!("", &["acme:dice/dice"])).contains("a handler has an empty name"));
    for config in [roller!("dice", &["dice"]), roller!("dice", &["acme:dice"]), roller!("dice", &[":dice/dice"])] {
        let why = why(config);
        assert!(why.contains("of the handler \"dice\" is no interface: write package:name/interface"), "{why}");
    }
    let why = why(roller!("dice", &["acme:cards/cards"]).actor(gambler(GRANT)));
    assert!(why.contains("which no handler of this runtime provides"), "{why}");
    let config = roller!("dice", &["acme:dice/dice"]).actor(gambler(GRANT));
    let why = TheaterRuntime::start(config).err().expect("it links too little").to_string();
    assert!(why.contains("`pay`"), "{why}");
}

#[test]
fn a_handler_links_only_the_interfaces_that_it_names() {
    #[derive(Clone)]
    struct Cheat;
    impl Handler for Cheat {
        const NAME: &'static str = "dice";
        const INTERFACES: &'static [&'static str] = &["acme:dice/dice"];
        fn link(functions: &mut HostFunctions<'_, Self>) -> Result<(), LinkError> {
            functions.read("acme:cards/cards", "draw", |_, _, (): &()| Ok(1_u32))
        }
    }
    let config = Config::new().handler(Cheat).actor(gambler(GRANT));
    let why = TheaterRuntime::start(config).err().expect("it is refused").to_string();
    let cheat = "acme:cards/cards.draw: the INTERFACES of the handler \"dice\" do not name its interface";
    assert!(why.contains(cheat), "{why}");
}

#[test]
fn a_theater_that_lacks_the_handler_of_a_stored_actor_names_the_actor() {
    let place = tempfile::tempdir().expect("a directory");
    let config = || Config::new().data_dir(place.path().join("data"));
    let runtime = TheaterRuntime::start(config().handler(Dice::default()).actor(gambler(GRANT))).expect("a runtime");
    let id = runtime.handle().find("gambler").expect("it is there").id;
    runtime.shutdown();
    let why = TheaterRuntime::start(config()).err().expect("it is refused").to_string();
    assert!(why.contains(&format!("actor gambler ({id}) of the data directory cannot go on")), "{why}");
    assert!(why.contains("unknown handler \"dice\""), "{why}");
    let runtime = TheaterRuntime::start(config().handler(Dice::default())).expect("with the handler it goes on");
    assert_eq!(runtime.handle().actor(id).expect("it is listed").status, ActorStatus::Running);
    runtime.shutdown();
}

#[test]
fn the_longest_deadline_there_is_is_a_deadline_like_any_other() {
    let runtime = TheaterRuntime::start(Config::new().actor(greeter())).expect("a runtime");
    let theater = runtime.handle();
    let actor = theater.actors()[0].id;
    assert_eq!(theater.request_within(actor, "you", Duration::MAX), Ok(b"hello, you".to_vec()));
    let mut events = theater.subscribe(EventsOf::Actor(actor), None, &[EventKind::Return]).expect("a stream");
    let asked = theater.clone();
    let asker = std::thread::spawn(move || asked.request(actor, "me"));
    assert!(events.next_within(Duration::MAX).expect("it reads").is_some(), "it waits for the event");
    asker.join().expect("it does not panic").expect("an answer");
    runtime.shutdown();
}

#[test]
fn an_actor_that_is_not_listed_is_told_by_its_own_variant_everywhere() {
    let runtime = TheaterRuntime::start(Config::new()).expect("a runtime");
    let theater = runtime.handle();
    let nobody: ActorId = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().expect("an id");
    assert!(matches!(theater.state(nobody), Err(ReadError::NoSuchActor(id)) if id == nobody));
    assert!(matches!(theater.subscribe(EventsOf::Tree(nobody), None, &[]), Err(ReadError::NoSuchActor(_))));
    let exported = theater.export(nobody, std::io::sink());
    assert!(matches!(exported, Err(ExportError::History(ReadError::NoSuchActor(_)))), "{exported:?}");
    assert!(matches!(theater.replay(nobody), Err(ReplayError::NoSuchActor(id)) if id == nobody));
    assert!(matches!(theater.prune(nobody, 1, Shown::Stays), Err(DropError::NoSuchActor(_))));
    assert!(matches!(theater.redact(nobody, 1, Shown::Stays), Err(DropError::NoSuchActor(_))));
    assert_eq!(theater.restart(nobody), Err(LifecycleError::NoSuchActor(nobody)));
    assert_eq!(theater.forget(nobody), Err(LifecycleError::NoSuchActor(nobody)));
    assert_eq!(theater.fork(nobody, 0, "twin", None), Err(LifecycleError::NoSuchActor(nobody)));
    runtime.shutdown();
}

#[test]
fn a_handle_outlives_its_theater_and_says_that_it_has_ended() {
    let place = tempfile::tempdir().expect("a directory");
    let config = || Config::new().data_dir(place.path().join("data")).actor(greeter());
    let runtime = TheaterRuntime::start(config()).expect("a runtime");
    let theater = runtime.handle().clone();
    let actor = theater.actors()[0].id;
    let mut events = theater.subscribe(EventsOf::Actor(actor), Some(0), &[EventKind::Started]).expect("a stream");
    drop(runtime);
    assert_eq!(theater.request(actor, "you"), Err(RequestError::NotDelivered(NotDelivered::ShuttingDown)));
    assert_eq!(theater.start(greeter()), Err(LifecycleError::ShuttingDown));
    assert_eq!(theater.stop(actor), Err(LifecycleError::ShuttingDown));
    assert_eq!(theater.restart(actor), Err(LifecycleError::ShuttingDown));
    assert_eq!(theater.forget(actor), Err(LifecycleError::ShuttingDown));
    assert!(events.next_within(LONG).expect("it reads").is_some(), "what is on disk can be read");
    assert_eq!(events.next_within(Duration::ZERO).expect("it reads"), None);
    let exported = theater.export(actor, std::io::sink()).expect("exported");
    assert_eq!(theater.replay(actor).expect("replayed").head, Some(exported.head));
    let next = TheaterRuntime::start(config()).expect("a handle does not hold the data directory");
    assert_eq!(next.handle().request(actor, "you"), Ok(b"hello, you".to_vec()));
    next.shutdown();
}

/// Dice that end the game of whoever pays.
#[derive(Clone, Default)]
struct LastGame(Arc<OnceLock<TheaterHandle>>);

impl Handler for LastGame {
    const NAME: &'static str = "dice";
    const INTERFACES: &'static [&'static str] = &["acme:dice/dice"];

    fn link(functions: &mut HostFunctions<'_, Self>) -> Result<(), LinkError> {
        functions.read("acme:dice/dice", "roll", |_, _, (sides,): &(u32,)| Ok(*sides))?;
        functions.outside("acme:dice/dice", "pay", |LastGame(theater), call, (stake,): &(Vec<u8>,)| {
            let theater = theater.get().ok_or("there is no theater yet")?;
            let ended = match stake.as_slice() {
                b"restart" => theater.restart(call.actor()),
                _ => theater.stop(call.actor()),
            };
            ended.map(|()| 0_u64).map_err(|error| error.to_string())
        })
    }
}

#[test]
fn a_host_function_is_refused_the_end_of_the_actor_that_waits_for_it() {
    let last = LastGame::default();
    let runtime = TheaterRuntime::start(Config::new().handler(last.clone()).actor(gambler(GRANT))).expect("a runtime");
    let theater = runtime.handle();
    assert!(last.0.set(theater.clone()).is_ok());
    let gambler = theater.actors()[0].id;
    for stake in ["stop", "restart"] {
        let Err(RequestError::Refused(why)) = theater.request_within(gambler, stake, LONG) else {
            panic!("it is refused")
        };
        assert!(why.contains("waits for this host function") && why.contains("on another thread"), "{why}");
    }
    theater.stop(gambler).expect("on another thread it stops");
    runtime.shutdown();
}

fn fails_to_start(theater: &TheaterHandle, source: ActorSource) -> String {
    theater.start(source).expect_err("it is refused").to_string()
}

#[test]
fn what_is_wrong_with_a_source_in_memory_is_said_by_its_name() {
    let runtime = TheaterRuntime::start(Config::new()).expect("a runtime");
    let theater = runtime.handle();
    let why = fails_to_start(theater, ActorSource::in_memory("name = 7\ncomponent_path = \"x\"\n", GREETER));
    assert!(why.contains("actor-in-memory.toml:1: \"name\""), "{why}");
    let source = ActorSource::in_memory("name = \"a\"\ncomponent_path = \"a.wasm\"\n", b"no wasm".as_slice());
    let why = fails_to_start(theater, source.named("/there/a.toml"));
    assert!(why.starts_with("/there/a.toml: ") && why.contains("not a WebAssembly component"), "{why}");
    let why = fails_to_start(theater, "/nowhere/a.toml".into());
    assert!(why.contains("/nowhere/a.toml: cannot read the manifest"), "{why}");
    runtime.shutdown();
    let config = Config::new().actor(greeter()).actor(greeter());
    let why = TheaterRuntime::start(config).err().expect("two of one name").to_string();
    assert!(why.contains("two of the manifests have the name \"greeter\""), "{why}");
    let silent = Config::new().actor(ActorSource::in_memory("", GREETER));
    assert!(matches!(TheaterRuntime::start(silent), Err(TheaterError::Manifest(_))));
}

#[test]
fn an_error_says_whether_the_actor_can_have_worked_on_the_message() {
    let runtime = TheaterRuntime::start(Config::new()).expect("a runtime");
    let theater = runtime.handle();
    let actor = theater.start(greeter()).expect("it starts");
    let answer = theater.request_within(actor, "you", Duration::ZERO);
    let not_waited_for = matches!(
        answer,
        Err(RequestError::NotDelivered(NotDelivered::Deadline { .. })
            | RequestError::OutcomeUnknown(OutcomeUnknown::Deadline { .. }))
    );
    assert!(not_waited_for || answer.is_ok(), "{answer:?}");
    let long =
        vec![b'a'; usize::try_from(theater.limits(actor).expect("it is there").message_bytes).expect("small") + 1];
    let too_large = theater.request(actor, long);
    assert!(matches!(too_large, Err(RequestError::NotDelivered(NotDelivered::TooLarge { .. }))), "{too_large:?}");
    let sent = theater.send(actor, "you");
    assert!(matches!(sent, Err(RequestError::NotDelivered(NotDelivered::NotExported { .. }))), "{sent:?}");
    theater.stop(actor).expect("it stops");
    assert_eq!(theater.actor(actor).expect("it is listed").status, ActorStatus::Stopped);
    let gone = theater.request(actor, "you");
    let status = |error: &RequestError| {
        matches!(error, RequestError::NotDelivered(NotDelivered::NotRunning { status: "stopped", .. }))
    };
    assert!(gone.as_ref().is_err_and(status), "{gone:?}");
    theater.restart(actor).expect("from memory, too");
    assert_eq!(theater.request(actor, "again"), Ok(b"hello, again".to_vec()));
    let fork = theater.fork(actor, 2, "other", None).expect("a fork of what is in memory");
    assert_eq!(theater.request(fork, "fork"), Ok(b"hello, fork".to_vec()));
    theater.stop(actor).and_then(|()| theater.forget(actor)).expect("it is forgotten");
    assert_eq!(theater.request(actor, "you"), Err(RequestError::NoSuchActor(actor)));
    assert_eq!(theater.stop(actor), Err(LifecycleError::NoSuchActor(actor)));
    runtime.shutdown();
}

#[test]
fn a_handle_reads_follows_and_measures_what_the_management_server_does() {
    let runtime = TheaterRuntime::start(Config::new().actor(greeter())).expect("a runtime");
    let theater = runtime.handle();
    let actor = theater.actors()[0].id;
    let mut all =
        theater.subscribe(EventsOf::Everybody, Some(0), &[EventKind::Started, EventKind::Return]).expect("a stream");
    let mut next = || all.next_within(LONG).expect("it reads").expect("an event");
    assert_eq!((next().event.event_type, next().actor), ("started".into(), actor));
    assert_eq!(theater.events(actor, 1, 1).expect("read")[0].sequence, 1);
    let call = theater.events(actor, 1, 1).expect("read").remove(0).data_as_json().expect("data");
    assert_eq!(call["caller"], "runtime", "{call}");
    assert_eq!(theater.actor(actor).expect("it is there").incarnation.number(), 1);
    let state = theater.state(actor).expect("read");
    assert_eq!((state.bytes, state.lost_at), (None, None));
    theater.request(actor, "you").expect("an answer");
    assert_eq!(next().event.kind(), Some(EventKind::Return));
    assert_eq!(all.next_within(Duration::ZERO).expect("read"), None);
    let metrics = theater.metrics();
    assert_eq!((metrics.actors[0].counts.calls, metrics.total.alive), (2, 1));
    assert_eq!(theater.actor_metrics(actor).expect("it is there").counts.chain_length, 5);
    assert!(theater.children(actor).is_empty() && theater.data_dir().join("log").exists());
    let nothing = theater.prune(actor, 3, Shown::Stays).expect_err("no state was kept").to_string();
    assert!(nothing.contains("no kept state lies before event 3"), "{nothing}");
    assert_eq!(theater.redact(actor, 3, Shown::Stays).expect("redacted").events, 1);
    let mut file = Vec::new();
    theater.export(actor, &mut file).expect("exported");
    assert_eq!(UnverifiedChain::read(&file[..]).and_then(UnverifiedChain::verify).expect("it holds").dropped(), 1);
    assert!(theater.find("nobody").is_err());
    runtime.shutdown();
}

#[test]
fn the_greeter_of_the_documents_is_what_its_text_says() {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/greeter.wat");
    assert!(wat::parse_file(text).expect("the text of a component") == GREETER, "parse docs/greeter.wat anew");
}
