//! What the templates of new projects hold: code, manifests, what their READMEs propose, and what their tests expect.

use super::{Dialect, Template};

impl Dialect {
    /// The code of the actor.
    pub(super) const fn code(self, template: Template) -> &'static str {
        match (self, template) {
            (Self::Rust, Template::Http) => include_str!("http.rs.txt"),
            (Self::Rust, Template::Worker) => include_str!("worker.rs.txt"),
            (Self::Rust, Template::Supervisor) => include_str!("supervisor.rs.txt"),
            (Self::Rust, Template::Chat) => include_str!("chat.rs.txt"),
            (Self::Rust, Template::Empty) => include_str!("empty.rs.txt"),
            (Self::TypeScript, Template::Http) => include_str!("http.ts.txt"),
            (Self::TypeScript, Template::Worker) => include_str!("worker.ts.txt"),
            (Self::TypeScript, Template::Supervisor) => include_str!("supervisor.ts.txt"),
            (Self::TypeScript, Template::Chat) => include_str!("chat.ts.txt"),
            (Self::TypeScript, Template::Empty) => include_str!("empty.ts.txt"),
            (Self::JavaScript, Template::Http) => include_str!("http.js.txt"),
            (Self::JavaScript, Template::Worker) => include_str!("worker.js.txt"),
            (Self::JavaScript, Template::Supervisor) => include_str!("supervisor.js.txt"),
            (Self::JavaScript, Template::Chat) => include_str!("chat.js.txt"),
            (Self::JavaScript, Template::Empty) => include_str!("empty.js.txt"),
            (Self::Python, Template::Http) => include_str!("http.py.txt"),
            (Self::Python, Template::Worker) => include_str!("worker.py.txt"),
            (Self::Python, Template::Supervisor) => include_str!("supervisor.py.txt"),
            (Self::Python, Template::Chat) => include_str!("chat.py.txt"),
            (Self::Python, Template::Empty) => include_str!("empty.py.txt"),
        }
    }

    /// The code of the workers of a supervisor.
    pub(super) const fn pooled(self) -> &'static str {
        match self {
            Self::Rust => include_str!("pooled.rs.txt"),
            Self::TypeScript => include_str!("pooled.ts.txt"),
            Self::JavaScript => include_str!("pooled.js.txt"),
            Self::Python => include_str!("pooled.py.txt"),
        }
    }

    /// The files by which the language's tools know a project.
    pub(super) const fn project_files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Rust => &[
                ("Cargo.toml", include_str!("Cargo.toml.txt")),
                (".cargo/config.toml", "[target.wasm32-unknown-unknown]\nlinker = \"wasm-component-ld\"\n"),
            ],
            Self::TypeScript | Self::JavaScript => &[
                ("package.json", include_str!("package.json.txt")),
                ("tsconfig.json", include_str!("tsconfig.json.txt")),
            ],
            Self::Python => &[("pyproject.toml", include_str!("pyproject.toml.txt"))],
        }
    }

    /// Tests of the actor's own logic, in the language's own way; in Rust they are in the file of the actor.
    pub(super) const fn own_tests(self, template: Template) -> Option<(&'static str, &'static str)> {
        match (self, template) {
            (Self::TypeScript, Template::Worker) => Some(("tests/worker.test.ts", include_str!("worker-test.js.txt"))),
            (Self::JavaScript, Template::Worker) => Some(("tests/worker.test.js", include_str!("worker-test.js.txt"))),
            (Self::Python, Template::Worker) => Some(("tests/test_worker.py", include_str!("worker-test.py.txt"))),
            _ => None,
        }
    }

    /// The page of a chat, as a file of the language.
    pub(super) fn page(self, template: Template) -> Option<(&'static str, String)> {
        const PAGE: &str = include_str!("page.html.txt");
        // In a text of JavaScript between backquotes, these two characters begin something.
        let quoted = || PAGE.replace('`', "\\`").replace("${", "\\${");
        (template == Template::Chat).then(|| match self {
            Self::Rust => ("src/page.html", PAGE.to_owned()),
            Self::TypeScript => {
                ("src/page.ts", format!("/** The page of the room. */\nexport const PAGE = `{}`;\n", quoted()))
            }
            Self::JavaScript => {
                ("src/page.js", format!("/** The page of the room. */\nexport const PAGE = `{}`;\n", quoted()))
            }
            Self::Python => {
                ("src/page.py", format!("\"\"\"The page of the room.\"\"\"\n\nPAGE = \"\"\"\\\n{PAGE}\"\"\"\n"))
            }
        })
    }
}

impl Template {
    #[cfg(test)]
    pub(super) const ALL: [Self; 5] = [Self::Http, Self::Worker, Self::Supervisor, Self::Chat, Self::Empty];

    pub(super) const fn manifest(self) -> &'static str {
        match self {
            Self::Http => include_str!("manifest-http.toml.txt"),
            Self::Worker => include_str!("manifest-worker.toml.txt"),
            Self::Supervisor => include_str!("manifest-supervisor.toml.txt"),
            Self::Chat => include_str!("manifest-chat.toml.txt"),
            Self::Empty => include_str!("manifest-empty.toml.txt"),
        }
    }

    /// Scripted tests, for `theater test`.
    pub(super) const fn scripted_tests(self) -> &'static str {
        match self {
            Self::Http => include_str!("tests-http.toml.txt"),
            Self::Worker => include_str!("tests-worker.toml.txt"),
            Self::Supervisor => include_str!("tests-supervisor.toml.txt"),
            Self::Chat => include_str!("tests-chat.toml.txt"),
            Self::Empty => include_str!("tests-empty.toml.txt"),
        }
    }

    /// What the README says to try.
    pub(super) const fn attempts(self) -> &'static str {
        match self {
            Self::Http => "    curl -X POST localhost:8080/increment\n    theater request NAME '{\"add\": 2}'",
            Self::Worker => {
                "    theater request NAME '{\"add\": {\"id\": \"a\", \"text\": \"to be or not to be\"}}'\n    theater request NAME '{\"result\": \"a\"}'"
            }
            Self::Supervisor => {
                "    theater request NAME '{\"ask\": \"to be or not to be\"}'\n    theater request NAME '\"crash\"'"
            }
            Self::Chat => {
                "    open http://localhost:8080/ in two windows\n    theater request NAME '{\"say\": {\"name\": \"ada\", \"text\": \"hello\"}}'"
            }
            Self::Empty => "    theater request NAME '\"hello\"'",
        }
    }

    /// What the project's test expects.
    pub(super) const fn expectations(self) -> &'static str {
        match self {
            Self::Http => {
                "expect '{\"add\": 2}' '{\"count\":2}'\nexpect '\"get\"' '{\"count\":2}'\n\
                 address=$(\"$theater\" status NAME --server \"unix:$place/socket\" | sed -n 's/^address *//p')\n\
                 [ \"$(curl -s -X POST \"${address}increment\")\" = '{\"count\":3}' ]"
            }
            Self::Worker => {
                "expect '{\"add\": {\"id\": \"a\", \"text\": \"to be or not to be\"}}' '{\"waiting\":1}'\n\
                 expect_at_last '{\"result\": \"a\"}' 6\nexpect '\"waiting\"' 0\nexpect '{\"result\": \"b\"}' null"
            }
            Self::Supervisor => {
                "expect '{\"ask\": \"to be\"}' '{\"words\":2,\"worker\":1}'\n\
                 expect '{\"ask\": \"or not to be\"}' '{\"words\":4,\"worker\":2}'\n\
                 expect '\"crash\"' '\"worker 3 crashed\"'\nexpect_at_last '\"restarts\"' 1"
            }
            Self::Chat => {
                "expect '\"present\"' 0\nexpect '{\"say\": {\"name\": \"ada\", \"text\": \"hello\"}}' null\n\
                 expect '\"history\"' '[{\"name\":\"ada\",\"text\":\"hello\"}]'\n\
                 address=$(\"$theater\" status NAME --server \"unix:$place/socket\" | sed -n 's/^address.*\\(http:[^ ,]*\\).*/\\1/p')\n\
                 curl -s \"$address\" | grep -q '<title>NAME</title>'"
            }
            Self::Empty => "expect '\"one\"' null\nexpect '\"two\"' '\"one\"'",
        }
    }
}
