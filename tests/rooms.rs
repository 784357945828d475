//! The rules inside the rooms of `src/`: no circle of imports between the files of a room, one meaning for each type name,
//! and no `is_…` that acts. (`tests/house.rs` has the rules between rooms.)

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Modules that stand in a circle of imports and may.
///
/// The test fails for a module that is listed here and stands in no circle, so that the list can only shrink.
const CIRCLES: [&str; 0] = [];

/// Type names that are declared more than once and may be: Rust's own custom is to call them so.
const SHARED_NAMES: [&str; 2] = ["Error", "Result"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The path of a module inside the crate: `["chain", "hash"]`.
type Module = Vec<String>;

/// The sources of the crate by module, without comments, texts and inline test modules.
fn sources() -> BTreeMap<Module, String> {
    let (src, mut found, mut dirs) = (root().join("src"), BTreeMap::new(), vec![root().join("src")]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else if let Some(module) = module_of(&src, &path) {
                let text = std::fs::read_to_string(&path).expect("a source");
                found.insert(module, without_comments_and_texts(without_tests(&text)));
            }
        }
    }
    assert!(found.len() > 100, "the sources are looked at");
    found
}

fn module_of(src: &Path, path: &Path) -> Option<Module> {
    let inside = path.strip_prefix(src).ok()?.to_str()?.strip_suffix(".rs")?;
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    if inside == "lib" || inside == "main" { None } else { Some(inside.split('/').map(str::to_owned).collect()) }
}

/// A file up to its inline test module, which by custom stands at the end.
fn without_tests(text: &str) -> &str {
    let begins = |at: &usize| {
        let rest = &text[at + "#[cfg(test)]\n".len()..];
        rest.starts_with("mod ") && rest.lines().next().is_some_and(|line| line.ends_with('{'))
    };
    let at = text.match_indices("#[cfg(test)]\n").map(|(at, _)| at).find(begins);
    at.map_or(text, |at| &text[..at])
}

/// Puts a space in place of each comment and each text literal.
fn without_comments_and_texts(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['/', '"', '\'']) {
        let (before, from) = rest.split_at(at);
        code.push_str(before);
        let length = if from.starts_with("//") {
            from.find('\n').unwrap_or(from.len())
        } else if from.starts_with('"') {
            length_of_text(from)
        } else {
            length_of_character(from)
        };
        code.push(if length == 1 { from.chars().next().expect("a character") } else { ' ' });
        rest = &from[length.max(1)..];
    }
    code + rest
}

fn length_of_text(from: &str) -> usize {
    let mut escaped = false;
    let end = from[1..].char_indices().find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(from.len(), |(at, _)| at + 2)
}

/// The length of a character literal; 1 for a lifetime and for a lone slash.
fn length_of_character(from: &str) -> usize {
    let mut chars = from.char_indices().skip(1);
    match (from.starts_with('\''), chars.next(), chars.next()) {
        (true, Some((_, '\\')), _) => from[3..].find('\'').map_or(1, |at| at + 4),
        (true, Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// The words and signs of a text that paths are made of: names, `::`, and each other sign alone.
fn tokens(text: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let length = match first {
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            c => c.len_utf8(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Reads the tree of paths that begins at `at`, as `a::{b, c::D as E}`; each path with the name it is known by.
fn paths<'t>(tokens: &[&'t str], at: &mut usize) -> Vec<(Vec<&'t str>, &'t str)> {
    let Some(first) = tokens.get(*at).copied() else { return Vec::new() };
    *at += 1;
    if first == "{" {
        let mut all = Vec::new();
        while tokens.get(*at).is_some_and(|token| *token != "}") {
            let before = *at;
            all.extend(paths(tokens, at));
            if tokens.get(*at) == Some(&",") || *at == before {
                *at += 1;
            }
        }
        *at += 1;
        return all;
    }
    if tokens.get(*at) == Some(&"::") && tokens.get(*at + 1).is_some_and(|next| *next != "<") {
        *at += 1;
        let rest = paths(tokens, at);
        return rest.into_iter().map(|(path, name)| ([vec![first], path].concat(), name)).collect();
    }
    let mut name = first;
    if tokens.get(*at) == Some(&"as") {
        name = tokens.get(*at + 1).copied().unwrap_or(first);
        *at += 2;
    }
    vec![(vec![first], name)]
}

/// Where a path leads that stands in `module`: the module it starts from, and the rest of it. Nothing for a path that
/// does not say so by `crate`, `self` or `super`.
fn anchored<'t>(module: &Module, path: &[&'t str]) -> Option<(Module, Vec<&'t str>)> {
    let mut base = match path.first().copied()? {
        "crate" => Vec::new(),
        "self" | "super" => module.clone(),
        _ => return None,
    };
    let mut rest = path.iter().copied().peekable();
    while let Some(step) = rest.next_if(|step| matches!(*step, "crate" | "self" | "super")) {
        if step == "super" {
            base.pop();
        }
    }
    Some((base, rest.collect()))
}

/// The sources, and what each module makes known under which name by its `use`s.
struct Crate {
    sources: BTreeMap<Module, String>,
    uses: BTreeMap<Module, BTreeMap<String, (Module, Vec<String>)>>,
}

impl Crate {
    fn read() -> Self {
        let sources = sources();
        let mut uses: BTreeMap<Module, BTreeMap<String, (Module, Vec<String>)>> = BTreeMap::new();
        for (module, text) in &sources {
            let tokens = tokens(text);
            for at in (0..tokens.len()).filter(|at| tokens[*at] == "use") {
                for (path, name) in paths(&tokens, &mut (at + 1)) {
                    // A module's own children are named without `self`.
                    let child = path.first().map(|first| [module.clone(), vec![(*first).to_owned()]].concat());
                    let known = match anchored(module, &path) {
                        None if child.is_some_and(|child| sources.contains_key(&child)) => (module.clone(), path),
                        None => continue,
                        Some(known) => known,
                    };
                    let (base, rest) = known;
                    let rest = rest.into_iter().map(str::to_owned).collect();
                    uses.entry(module.clone()).or_default().insert(name.to_owned(), (base, rest));
                }
            }
        }
        Self { sources, uses }
    }

    /// The module in which `path` from `base` is declared, through whatever modules hand it on.
    fn declared_in(&self, base: &Module, path: &[String], depth: usize) -> Option<Module> {
        let (mut module, mut rest) = (base.clone(), path.iter());
        let mut next = rest.next();
        while let Some(name) = next {
            let child = [module.clone(), vec![name.clone()]].concat();
            if !self.sources.contains_key(&child) {
                break;
            }
            module = child;
            next = rest.next();
        }
        self.sources.get(&module)?;
        let handed_on = next.and_then(|name| self.uses.get(&module)?.get(name)).filter(|_| depth < 8);
        let further = handed_on.and_then(|(base, path)| self.declared_in(base, path, depth + 1));
        Some(further.unwrap_or(module))
    }

    /// Each module with the modules of the same room that it uses.
    fn edges(&self) -> BTreeSet<(Module, Module)> {
        let mut edges = BTreeSet::new();
        for (module, text) in &self.sources {
            let tokens = tokens(text);
            let starts = |at: &usize| {
                let anchors = matches!(tokens[*at], "crate" | "self" | "super") && tokens.get(at + 1) == Some(&"::");
                anchors && (*at == 0 || tokens[at - 1] != "::")
            };
            for at in (0..tokens.len()).filter(starts) {
                for (path, _) in paths(&tokens, &mut { at }) {
                    let Some((base, rest)) = anchored(module, &path) else { continue };
                    let rest: Vec<String> = rest.into_iter().map(str::to_owned).collect();
                    let used = self.declared_in(&base, &rest, 0).filter(|used| used != module);
                    edges.extend(used.filter(|used| used.first() == module.first()).map(|used| (module.clone(), used)));
                }
            }
        }
        edges
    }
}

/// The modules that stand in a circle with one of their siblings. Each module counts with all that lies below it, and an
/// import between a module and what lies below it does not count.
fn in_circles(edges: &BTreeSet<(Module, Module)>) -> BTreeSet<String> {
    let mut between: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (from, to) in edges {
        let common = from.iter().zip(to).take_while(|(one, other)| one == other).count();
        if common < from.len() && common < to.len() {
            let sibling = |module: &Module| module[..=common].to_vec();
            between.entry(sibling(from)).or_default().insert(sibling(to));
        }
    }
    let reachable = |from: &Module| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = open.pop() {
            let next = between.get(&module).into_iter().flatten();
            open.extend(next.filter(|next| seen.insert((*next).clone())).cloned());
        }
        seen
    };
    between.keys().filter(|module| reachable(module).contains(*module)).map(|module| module.join("/")).collect()
}

#[test]
fn no_files_of_a_room_import_each_other_in_a_circle() {
    let found = in_circles(&Crate::read().edges());
    let listed = CIRCLES;
    let new: Vec<&String> = found.iter().filter(|module| !listed.contains(&module.as_str())).collect();
    assert!(new.is_empty(), "these stand in circles of imports (a leaf file for what they share ends it): {new:?}");
    let gone: Vec<&&str> = listed.iter().filter(|module| !found.contains(**module)).collect();
    assert!(gone.is_empty(), "these stand in no circle any more: take them off the list: {gone:?}");
}

#[test]
fn a_circle_is_found_where_there_is_one() {
    let edge = |from: &str, to: &str| {
        let module = |path: &str| path.split('/').map(str::to_owned).collect::<Module>();
        (module(from), module(to))
    };
    let found =
        |edges: &[(Module, Module)]| in_circles(&edges.iter().cloned().collect()).into_iter().collect::<Vec<_>>();
    let line = [edge("a/one", "a/two"), edge("a/two", "a/three")];
    assert_eq!(found(&line), [""; 0]);
    assert_eq!(found(&[line.clone().to_vec(), vec![edge("a/three", "a/one")]].concat()), ["a/one", "a/three", "a/two"]);
    let child = [edge("a/one", "a/one/child"), edge("a/one/child", "a/one")];
    assert_eq!(found(&child), [""; 0], "a module and its own child");
    let below = [edge("a/one/child", "a/two"), edge("a/two", "a/one/other")];
    assert_eq!(found(&below), ["a/one", "a/two"], "a module counts with what lies below it");
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let read = |text: &str| {
        let text = without_comments_and_texts(text);
        paths(&tokens(&text), &mut 0)
            .into_iter()
            .map(|(path, name)| (path.join("::"), name.to_owned()))
            .collect::<Vec<_>>()
    };
    let expected =
        |all: &[(&str, &str)]| all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    assert_eq!(read("super::b::C;"), expected(&[("super::b::C", "C")]));
    assert_eq!(
        read("crate::{a, b::{C as D, e::*}, // f\n h::I};"),
        expected(&[("crate::a", "a"), ("crate::b::C", "D"), ("crate::b::e::*", "*"), ("crate::h::I", "I")])
            .into_iter()
            .collect::<Vec<_>>()
    );
    assert_eq!(without_comments_and_texts("a \"crate::b\\\"\" 'c' '\\'' &'d e / f // g\nh"), "a       &'d e / f  \nh");
}

/// The types that a source declares for others than itself.
fn declared_types(text: &str) -> Vec<&str> {
    let tokens = tokens(text);
    let mut types = Vec::new();
    for at in (0..tokens.len()).filter(|at| tokens[*at] == "pub") {
        let mut next = at + 1;
        if tokens.get(next) == Some(&"(") {
            next += tokens[next..].iter().position(|token| *token == ")").map_or(0, |end| end + 1);
        }
        if matches!(tokens.get(next), Some(&("struct" | "enum" | "union" | "trait" | "type"))) {
            types.extend(tokens.get(next + 1).filter(|name| **name != "$"));
        }
    }
    types
}

#[test]
fn a_type_name_has_one_meaning_in_the_whole_crate() {
    let mut declared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (module, text) in sources() {
        if module.last().is_some_and(|name| name == "tests") || module == ["fuzzing"] {
            continue;
        }
        for name in declared_types(&text) {
            declared.entry(name.to_owned()).or_default().push(module.join("/"));
        }
    }
    assert!(declared.len() > 200, "the types are found");
    let is_shared = |name: &String| SHARED_NAMES.contains(&name.as_str());
    let twice: Vec<_> = declared.iter().filter(|(name, places)| places.len() > 1 && !is_shared(name)).collect();
    assert!(twice.is_empty(), "types declared more than once (give each the name of what it is): {twice:#?}");
}

/// A predicate asks: it returns a `bool`, perhaps within a result, and takes nothing that it could change.
#[test]
fn a_function_called_is_or_are_answers_yes_or_no_and_changes_nothing() {
    let mut wrong = Vec::new();
    for (module, text) in sources().into_iter().filter(|(module, _)| module.last().is_some_and(|it| it != "tests")) {
        for rest in text.split("fn ").skip(1) {
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            let head = rest.split(['{', ';']).next().unwrap_or_default();
            let answer = head.rsplit_once("->").map_or("", |(_, answer)| answer);
            let asks = name.starts_with("is_") || name.starts_with("are_");
            if asks && (!answer.contains("bool") || head.contains("&mut self")) {
                wrong.push(format!("{}: {name}", module.join("/")));
            }
        }
    }
    assert_eq!(wrong, [""; 0], "give these a verb that says what they do");
}
