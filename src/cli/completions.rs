//! `theater completions`: scripts that complete commands and options, and, where a command takes an actor, the actors that there
//! are. For these, a script asks the runtime by the hidden command `theater actor-names`.

use clap::Command;
use clap_complete::Shell;

use super::connect::{actors, connect};
use super::show::{self, visible};
use super::{Done, Remote};

/// Prints the script for `shell`.
pub(super) fn completions(shell: Shell, mut program: Command) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, "theater", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let commands: Vec<&str> =
        program.get_subcommands().filter(|command| takes_an_actor(command)).map(Command::get_name).collect();
    show::line(with_actors(shell, &script, &commands).trim_end());
    Ok(())
}

/// Prints the names by which actors can be called, a line each; nothing if no runtime answers.
pub(super) fn actor_names(remote: &Remote) -> Done {
    let Ok(mut client) = connect(remote) else { return Ok(()) };
    let mut names: Vec<String> = actors(&mut client)?.iter().map(|actor| visible(actor.shown_name())).collect();
    names.sort_unstable();
    names.dedup();
    // A name with a space or a sign of the shell would be several words, or a command.
    let is_word = |name: &&String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    names.iter().filter(is_word).for_each(|name| show::line(name));
    Ok(())
}

fn takes_an_actor(command: &Command) -> bool {
    command.get_positionals().next().is_some_and(|first| first.get_id() == "actor")
}

/// The script, which also completes the first word after one of `commands`.
fn with_actors(shell: Shell, script: &str, commands: &[&str]) -> String {
    match shell {
        Shell::Bash => format!(
            "{script}
_theater_with_actors() {{
    _theater \"$@\"
    case \"${{COMP_WORDS[1]}}\" in
        {})
            if [[ ${{COMP_WORDS[COMP_CWORD]}} != -* ]]; then
                COMPREPLY+=( $(compgen -W \"$(theater actor-names 2>/dev/null)\" -- \"${{COMP_WORDS[COMP_CWORD]}}\") )
            fi
            ;;
    esac
}}
complete -F _theater_with_actors -o nosort -o bashdefault -o default theater
",
            commands.join("|")
        ),
        Shell::Fish => format!(
            "{script}
complete -c theater -n \"__fish_seen_subcommand_from {}\" -f -a \"(theater actor-names 2>/dev/null)\"
",
            commands.join(" ")
        ),
        Shell::Zsh => {
            let asks = |line: &str| match line.trim_start() {
                start
                    if ["':actor", "'::actor", "'*:actor", "'*::actor"].iter().any(|with| start.starts_with(with)) =>
                {
                    line.replace(":_default' \\", ":_theater_actors' \\")
                }
                _ => line.to_owned(),
            };
            let script: Vec<String> = script.lines().map(asks).collect();
            let function = "\n_theater_actors() {\n    local -a names\n    names=(${(f)\"$(theater actor-names 2>/dev/null)\"})\n    compadd -a names\n}\n";
            let text = script.join("\n");
            match text.split_once("\n_theater() {") {
                Some((head, rest)) => format!("{head}\n{function}\n_theater() {{{rest}\n"),
                None => text,
            }
        }
        _ => script.to_owned(),
    }
}
