//! Secrets: values that the runtime adds to what actors send, and that no actor, chain, log or error shows.
//!
//! `theater.toml` names a source for each secret, and a manifest names the secrets that it uses. The value is read when it
//! is needed: a file and an environment variable at each use, a command when its last output is too old. So a value that
//! is replaced is taken up without a restart.

mod command;
mod source;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

pub(crate) use source::RestsOn;
pub use source::SecretSource;
use source::{SecretCommand, SecretPlace};
pub(crate) use value::SecretValue;

use crate::base::clock;
use crate::base::limits::{SECRET_BYTES, SECRET_FAILURE_KEPT, SECRET_NAME_BYTES};
use crate::base::opened::Opened;
use crate::base::seldom::Seldom;

/// The secrets of a runtime: the name of each, and the source of its value. A clone shares what is kept of them.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Arc<BTreeMap<String, Arc<Secret>>>);

/// One secret.
struct Secret {
    source: SecretSource,
    /// What its command gave last, and when. Locked while the command runs, so that it runs once for all who wait.
    kept: Mutex<Option<(Instant, Result<SecretValue, SecretUnavailable>)>>,
    /// Limits how often the log says that the value is not to be had.
    complaints: Mutex<Seldom>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

/// Why a secret cannot be had. The text is for whoever uses the secret: it names the secret, and neither its value nor
/// the place it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretUnavailable {
    text: String,
    /// What only the operator is told: the place, the remedy, the words of a command.
    more: String,
    /// Whether the runtime knows no secret of that name.
    pub(crate) is_unknown: bool,
}

impl fmt::Display for SecretUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl SecretUnavailable {
    fn new(name: &str, what: &str, more: String) -> Self {
        Self { text: format!("the secret \"{name}\" cannot be used: {what}"), more, is_unknown: false }
    }

    /// The text for the operator, with the place and the remedy.
    pub(crate) fn in_full(&self) -> String {
        format!("{}; {}", self.text, self.more)
    }
}

impl Secrets {
    /// No secrets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a secret, or replaces the one of that name. [`crate::TheaterRuntime::start`] refuses a name that is not 1 to
    /// 64 letters, digits, `-`, `_` and `.` of ASCII, and a source that cannot be one.
    pub fn add(&mut self, name: impl Into<String>, source: SecretSource) {
        let secret = Secret { source, kept: Mutex::default(), complaints: Mutex::default() };
        Arc::make_mut(&mut self.0).insert(name.into(), Arc::new(secret));
    }

    /// Checks each name and each source; the text names the secret that cannot be one.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.0.iter().try_for_each(|(name, secret)| check(name, &secret.source))
    }

    /// The value of a secret now. If it cannot be had, that is logged with the place and the remedy, at most once in 10 s
    /// for each secret.
    pub(crate) fn get(&self, name: &str) -> Result<SecretValue, SecretUnavailable> {
        let Some(secret) = self.0.get(name) else { return Err(self.unknown(name)) };
        secret.get(name).inspect_err(|why| {
            let line = secret.complaints.lock().line(why.in_full());
            line.into_iter().for_each(|line| log::warn!("{line}"));
        })
    }

    /// Whether there is a secret of this name; the error is the one of [`Secrets::get`].
    pub(crate) fn knows(&self, name: &str) -> Result<(), SecretUnavailable> {
        if self.0.contains_key(name) { Ok(()) } else { Err(self.unknown(name)) }
    }

    fn unknown(&self, name: &str) -> SecretUnavailable {
        let what = "this runtime has no secret of that name";
        let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        let more = format!("name its source in theater.toml, under [secrets]: {name} = {{ file = \"…\" }}");
        let more = match crate::manifest::nearest(name, &names) {
            Some(nearest) => format!("did you mean \"{nearest}\"? Otherwise {more}"),
            None => more,
        };
        SecretUnavailable { is_unknown: true, ..SecretUnavailable::new(name, what, more) }
    }

    /// The files that decide about values, each with the secret's name.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, RestsOn<'_>)> {
        self.0.iter().filter_map(|(name, secret)| Some((name.as_str(), secret.source.rests_on()?)))
    }
}

/// Checks a secret's name and source; the text names what is wrong.
pub(crate) fn check(name: &str, source: &SecretSource) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > SECRET_NAME_BYTES || !name.bytes().all(is_allowed) {
        return Err(format!(
            "{name:?} cannot be the name of a secret: it is 1 to {SECRET_NAME_BYTES} letters, digits, \"-\", \"_\" and \
             \".\" of ASCII"
        ));
    }
    source.check().map_err(|why| format!("the secret \"{name}\": {why}"))
}

impl Secret {
    fn get(&self, name: &str) -> Result<SecretValue, SecretUnavailable> {
        match &self.source.0 {
            SecretPlace::File(path) => read(path)
                .and_then(|bytes| SecretValue::of(&bytes).map_err(|why| (why, "write another value there")))
                .map_err(|(why, remedy)| {
                    let more = format!("the value is in {}: {remedy}", path.display());
                    SecretUnavailable::new(name, &why, more)
                }),
            SecretPlace::Environment(variable) => {
                let given = std::env::var_os(variable).ok_or_else(|| "its environment variable is not set".to_owned());
                let value = given.and_then(|given| SecretValue::of(given.as_encoded_bytes()));
                let more = format!("the runtime reads it from its environment variable {variable}");
                value.map_err(|why| SecretUnavailable::new(name, &why, more))
            }
            SecretPlace::Command(command) => self.printed(name, command),
        }
    }

    /// What the command printed, if that is new enough; otherwise what it prints now.
    fn printed(&self, name: &str, command: &SecretCommand) -> Result<SecretValue, SecretUnavailable> {
        let mut kept = self.kept.lock();
        if let Some((when, last)) = &*kept {
            let keep = if last.is_ok() { command.keep } else { SECRET_FAILURE_KEPT };
            if clock::since(*when) < keep {
                return last.clone();
            }
        }
        let program = command.program.display();
        let printed = match command::output(command) {
            Ok(bytes) => SecretValue::of(&bytes).map_err(|why| {
                SecretUnavailable::new(name, &why, format!("the command {program} prints it on standard output"))
            }),
            Err(failure) => {
                let said = if failure.stderr.is_empty() { "nothing" } else { &*failure.stderr };
                let more = format!("the command {program} says on standard error: {said}");
                Err(SecretUnavailable::new(name, &failure.what, more))
            }
        };
        *kept = Some((clock::now(), printed.clone()));
        printed
    }
}

/// Reads a secret's file. The error is for all to read, and with it comes the remedy for the operator.
fn read(path: &Path) -> Result<Vec<u8>, (String, &'static str)> {
    let unread = |why: String| (format!("its file cannot be read: {why}"), "put it there, readable for this user");
    let opened = Opened::open(path).map_err(unread)?;
    let mode = opened.mode().map_err(unread)?;
    if mode & 0o007 != 0 {
        let why = format!("its file has mode {:04o}, so others than its owner and group can open it", mode & 0o7777);
        return Err((why, "chmod o= the file, and replace the value if others may have read it"));
    }
    // A line end may follow the longest secret.
    opened.read(SECRET_BYTES + 2).map_err(unread)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    fn secrets(source: SecretSource) -> Secrets {
        let mut secrets = Secrets::new();
        secrets.add("key", source);
        secrets.check().expect("it can be one");
        secrets
    }

    fn shell(script: &str) -> SecretSource {
        SecretSource::command("/bin/sh", ["-c", script])
    }

    fn write(path: &Path, value: &str, mode: u32) {
        fs::write(path, value).expect("a file");
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("its mode");
    }

    fn value(secrets: &Secrets) -> String {
        secrets.get("key").expect("a value").reveal().to_owned()
    }

    fn refusal(secrets: &Secrets) -> (String, String) {
        let why = secrets.get("key").expect_err("no value");
        (why.to_string(), why.in_full())
    }

    #[test]
    fn a_file_is_read_again_at_each_use() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        write(&path, "first\n", 0o600);
        let secrets = secrets(SecretSource::file(&path));
        assert_eq!(value(&secrets), "first");
        write(&path, "second\n", 0o640);
        assert_eq!(value(&secrets), "second");
        fs::remove_file(&path).expect("removed");
        let (told, full) = refusal(&secrets);
        let gone = "the secret \"key\" cannot be used: its file cannot be read: No such file or directory (os error 2)";
        assert_eq!(told, gone, "neither the place nor the value is told to everyone");
        assert!(full.starts_with(gone) && full.contains(&*path.to_string_lossy()), "{full}");
        write(&path, "third", 0o400);
        assert_eq!(value(&secrets), "third");
    }

    #[test]
    fn a_file_that_others_can_open_is_refused_and_its_mode_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        for mode in [0o604, 0o602, 0o644, 0o666] {
            write(&path, "hunter2", mode);
            let (told, full) = refusal(&secrets(SecretSource::file(&path)));
            assert!(told.contains(&format!("its file has mode {mode:04o}")) && !full.contains("hunter2"), "{full}");
            assert!(full.contains("chmod o= the file"), "{full}");
        }
    }

    #[test]
    fn a_file_that_is_no_file_or_has_no_good_value_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        for (content, why) in [
            ("", "it is empty"),
            ("hunter2\nmore", "it has a character that a header cannot carry"),
            (&"x".repeat(16 * 1024 + 1), "it is longer than 16384 bytes"),
            (&"x".repeat(17 * 1024), "its file cannot be read: larger than 16386 bytes"),
        ] {
            write(&path, content, 0o600);
            let (told, full) = refusal(&secrets(SecretSource::file(&path)));
            assert!(told.starts_with(&format!("the secret \"key\" cannot be used: {why}")), "{told}");
            assert!(!full.contains("hunter2"), "{full}");
        }
        let (told, _) = refusal(&secrets(SecretSource::file(dir.path())));
        assert!(told.ends_with("not a regular file"), "{told}");
    }

    #[test]
    fn an_environment_variable_gives_its_value_and_one_that_is_not_set_is_named_to_the_operator() {
        let path = std::env::var("PATH").expect("tests have one");
        assert_eq!(value(&secrets(SecretSource::environment("PATH"))), path);
        let (told, full) = refusal(&secrets(SecretSource::environment("THEATER_NO_SUCH_VARIABLE")));
        assert_eq!(told, "the secret \"key\" cannot be used: its environment variable is not set");
        assert!(full.ends_with("environment variable THEATER_NO_SUCH_VARIABLE"), "{full}");
    }

    #[test]
    fn a_command_gives_what_it_prints_and_is_run_again_when_that_is_old() {
        let dir = tempfile::tempdir().expect("a directory");
        let runs = dir.path().join("runs");
        let script = format!("echo >> {0}; wc -l < {0}", runs.display());
        let lasting = secrets(shell(&script).kept(Duration::from_secs(3600)));
        assert_eq!([value(&lasting), value(&lasting)], ["1", "1"]);
        let fresh = secrets(shell(&script).kept(Duration::ZERO));
        assert_eq!([value(&fresh), value(&fresh)], ["2", "3"]);
    }

    #[test]
    fn a_command_that_fails_is_told_by_its_status_and_its_words_only_to_the_operator() {
        let failing = secrets(shell("echo hunter2; echo the vault is sealed >&2; exit 3"));
        let (told, full) = refusal(&failing);
        assert_eq!(told, "the secret \"key\" cannot be used: its command ended with exit status: 3");
        assert!(full.ends_with("/bin/sh says on standard error: the vault is sealed"), "{full}");
        let (told, full) = refusal(&secrets(SecretSource::command("/no/such/program", ["hunter2"])));
        assert!(told.starts_with("the secret \"key\" cannot be used: its command cannot be started: "), "{told}");
        assert!(!full.contains("hunter2"), "{full}");
        let (told, _) = refusal(&secrets(shell("kill -9 $$")));
        assert!(told.contains("its command ended with signal: 9"), "{told}");
        let (told, _) = refusal(&secrets(shell("true")));
        assert!(told.ends_with("it is empty"), "{told}");
    }

    #[test]
    fn a_command_that_does_not_end_or_prints_without_end_is_ended_with_its_children() {
        let dir = tempfile::tempdir().expect("a directory");
        let child = dir.path().join("child");
        let hanging = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", child.display());
        let (told, _) = refusal(&secrets(shell(&hanging).within(Duration::from_secs(3))));
        assert_eq!(told, "the secret \"key\" cannot be used: its command did not end within timeout_ms = 3000");
        let pid = fs::read_to_string(&child).expect("it was started");
        let is_gone = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        let patience = clock::after(Duration::from_secs(60));
        while !is_gone() {
            assert!(clock::until(patience) > Duration::ZERO, "{pid} lives on");
            std::thread::yield_now();
        }
        let (told, _) = refusal(&secrets(shell("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done")));
        assert_eq!(told, "the secret \"key\" cannot be used: its command prints more than 16384 bytes");
    }

    #[test]
    fn a_command_is_not_waited_for_beyond_its_own_end() {
        let leaving = secrets(shell("sleep 1000 & echo $! >&2; echo value; exit 0"));
        assert_eq!(value(&leaving), "value");
    }

    #[test]
    fn a_secret_that_nobody_has_named_is_refused_with_the_remedy() {
        let mut secrets = Secrets::new();
        secrets.add("api-key", SecretSource::environment("X"));
        let why = secrets.get("api-kee").expect_err("there is none");
        assert!(why.is_unknown && secrets.knows("api-kee") == Err(why.clone()) && secrets.knows("api-key").is_ok());
        assert_eq!(why.to_string(), "the secret \"api-kee\" cannot be used: this runtime has no secret of that name");
        let remedy = "did you mean \"api-key\"? Otherwise name its source in theater.toml, under [secrets]: \
                      api-kee = { file = \"…\" }";
        assert!(why.in_full().ends_with(remedy), "{}", why.in_full());
    }

    #[test]
    fn what_cannot_be_a_name_or_a_source_is_refused() {
        let ms = Duration::from_millis;
        let fine = SecretSource::file("f");
        for (name, source, why) in [
            ("", fine.clone(), "\"\" cannot be the name of a secret"),
            ("a b", fine.clone(), "\"a b\" cannot be the name of a secret"),
            ("key", SecretSource::file(""), "the secret \"key\": its \"file\" is empty"),
            ("key", SecretSource::environment("A=hunter2"), "the secret \"key\": its \"environment\" is not the name"),
            ("key", SecretSource::command("", [""]), "the secret \"key\": its \"command\" is empty"),
            ("key", shell("x").within(ms(0)), "the secret \"key\": its \"timeout_ms\" is from 1 to 30000"),
            ("key", shell("x").within(ms(30_001)), "the secret \"key\": its \"timeout_ms\" is from 1 to 30000"),
            ("key", shell("x").kept(ms(3_600_001)), "the secret \"key\": its \"keep_ms\" is from 0 to 3600000"),
        ] {
            let refused = check(name, &source).expect_err(why);
            assert!(refused.starts_with(why) && !refused.contains("hunter2"), "{refused}");
        }
        assert_eq!(check("Api-Key_2.x", &fine), Ok(()));
        assert!(check(&"x".repeat(65), &fine).is_err());
    }

    #[test]
    fn neither_values_nor_the_arguments_of_commands_are_shown() {
        let mut secrets = secrets(SecretSource::command("/bin/echo", ["hunter2"]).kept(Duration::from_secs(3600)));
        assert_eq!(value(&secrets), "hunter2");
        secrets.add("other", SecretSource::environment("PATH"));
        let shown = format!("{secrets:?}");
        assert!(!shown.contains("hunter2") && shown.contains("command /bin/echo …"), "{shown}");
    }
}
