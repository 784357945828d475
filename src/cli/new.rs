//! `theater new`: makes a project for an actor.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::show::say;
use super::{Done, Failure};
use crate::build::{Dialect, NewProject, Template, create};

#[derive(Args)]
pub(super) struct NewArgs {
    /// The name of the actor
    name: String,
    /// The language
    #[arg(long)]
    lang: Lang,
    /// What the actor does at first
    #[arg(long, default_value = "http")]
    template: TemplateName,
    /// Where to make the project [default: a new directory of the actor's name]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Lang {
    Rust,
    /// TypeScript
    Ts,
    /// JavaScript
    Js,
    Python,
}

#[derive(Clone, Copy, ValueEnum)]
enum TemplateName {
    /// Answers HTTP requests and messages
    Http,
    /// Does jobs one after the other, by timers
    Worker,
    /// Starts workers, gives them work, and sees them restarted
    Supervisor,
    /// A chat room over WebSocket, with a page
    Chat,
    /// Takes messages
    Empty,
}

pub(super) fn new(args: &NewArgs) -> Done {
    let directory = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let dialect = match args.lang {
        Lang::Rust => Dialect::Rust,
        Lang::Ts => Dialect::TypeScript,
        Lang::Js => Dialect::JavaScript,
        Lang::Python => Dialect::Python,
    };
    let template = match args.template {
        TemplateName::Http => Template::Http,
        TemplateName::Worker => Template::Worker,
        TemplateName::Supervisor => Template::Supervisor,
        TemplateName::Chat => Template::Chat,
        TemplateName::Empty => Template::Empty,
    };
    let new = NewProject { name: &args.name, directory: &directory, dialect, template };
    create(&new).map_err(Failure::no)?;
    let directory = directory.display();
    say!("{directory}: an actor to begin with; its README says more");
    say!("  theater dev {directory}");
    say!("  theater test {directory}");
    Ok(())
}
