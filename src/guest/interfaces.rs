//! The types in `wit/`: the WIT text is parsed when an export of a component does not fit, to say in which place it
//! differs and which type was expected there; and when a person writes a value that a function takes or returns. Only the
//! part of WIT that our interfaces use is understood; a test parses all of them.

use std::iter::Peekable;
use std::vec::IntoIter;

use super::wit_files::WIT_FILES;

/// The package of every interface, with the slash that follows it.
const PACKAGE: &str = "ntwk:theater/";

/// A WIT type in which every name is replaced by the type it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wit {
    /// `u16`, `string` and the like.
    Simple(String),
    /// `list<u8>` under the name `json`.
    Json,
    List(Box<Wit>),
    Option(Box<Wit>),
    Result(Option<Box<Wit>>, Option<Box<Wit>>),
    Tuple(Vec<Wit>),
    Record(Named<Wit>),
    Variant(Named<Option<Wit>>),
    Enum(Named<()>),
    Flags(Named<()>),
}

/// A type with named parts, such as a record or a variant: its name, and its parts in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named<T> {
    pub(super) name: String,
    pub(super) parts: Vec<(String, T)>,
}

/// A function's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) params: Vec<(String, Wit)>,
    pub(super) result: Option<Wit>,
}

/// The type of a function in `wit/`, by the full name of its interface.
pub(super) fn signature(interface: &str, function: &str) -> Option<Signature> {
    let text = interface_text(interface.strip_prefix(PACKAGE)?)?;
    let mut words = words_after(&text, &[function, ":", "func", "("])?;
    let mut params = Vec::new();
    while words.peek()? != ")" {
        let name = words.next()?;
        words.next_if_eq(":")?;
        params.push((name, read(&mut words, &text)?));
        let _ = words.next_if_eq(",");
    }
    words.next();
    let result = if words.next_if_eq("->").is_some() { Some(read(&mut words, &text)?) } else { None };
    Some(Signature { params, result })
}

type Words = Peekable<IntoIter<String>>;

/// The words of an interface, from `interface` to its last brace.
fn interface_text(name: &str) -> Option<Vec<String>> {
    WIT_FILES.iter().find_map(|(_, file)| {
        let words = words(file);
        let at = words.windows(3).position(|three| three[0] == "interface" && three[1] == name && three[2] == "{")?;
        let mut depth = 0_i32;
        let end = words[at..].iter().position(|word| {
            depth += i32::from(word == "{") - i32::from(word == "}");
            depth == 0 && word == "}"
        })?;
        Some(words[at..=at + end].to_vec())
    })
}

/// The words and signs of a text, without comments.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for line in text.lines() {
        let mut rest = line.split("//").next().unwrap_or_default().trim_start();
        while let Some(first) = rest.chars().next() {
            let is_of_a_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '%');
            let length = if rest.starts_with("->") {
                2
            } else if is_of_a_word(first) {
                rest.find(|c| !is_of_a_word(c)).unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            // A name that is also a word of WIT has a `%` before it.
            words.push(rest[..length].trim_start_matches('%').to_owned());
            rest = rest[length..].trim_start();
        }
    }
    words
}

/// The words after the first place where the words of `start` follow each other.
fn words_after(text: &[String], start: &[&str]) -> Option<Words> {
    let at = text.windows(start.len()).position(|words| words.iter().eq(start))?;
    let rest: Vec<String> = text[at + start.len()..].to_vec();
    Some(rest.into_iter().peekable())
}

/// Reads a type. Names in it are looked up in the interface `text`.
fn read(words: &mut Words, text: &[String]) -> Option<Wit> {
    let word = words.next()?;
    match word.as_str() {
        "bool" | "char" | "string" | "u8" | "u16" | "u32" | "u64" | "s8" | "s16" | "s32" | "s64" | "f32" | "f64" => {
            Some(Wit::Simple(word))
        }
        "list" => Some(Wit::List(Box::new(arguments(words, text)?.pop()??))),
        "option" => Some(Wit::Option(Box::new(arguments(words, text)?.pop()??))),
        "tuple" => Some(Wit::Tuple(arguments(words, text)?.into_iter().collect::<Option<_>>()?)),
        "result" => {
            let mut arguments = if words.peek()? == "<" { arguments(words, text)? } else { Vec::new() }.into_iter();
            let mut next = || arguments.next().flatten().map(Box::new);
            let ok = next();
            Some(Wit::Result(ok, next()))
        }
        name => defined(name, text),
    }
}

/// Reads arguments such as `<A, _, C>`; an argument that is left out is `None`.
fn arguments(words: &mut Words, text: &[String]) -> Option<Vec<Option<Wit>>> {
    words.next_if_eq("<")?;
    let mut arguments = Vec::new();
    while words.peek()? != ">" {
        arguments.push(if words.next_if_eq("_").is_some() { None } else { Some(read(words, text)?) });
        let _ = words.next_if_eq(",");
    }
    words.next();
    Some(arguments)
}

/// The type that a name stands for in an interface: it is defined there, or taken from another interface by `use`.
fn defined(name: &str, text: &[String]) -> Option<Wit> {
    if let Some(mut words) = words_after(text, &["type", name, "="]) {
        let named = read(&mut words, text)?;
        return Some(if name == "json" { Wit::Json } else { named });
    }
    if let Some(mut words) = words_after(text, &["record", name, "{"]) {
        return parts(name, &mut words, |words| words.next_if_eq(":").and_then(|_| read(words, text))).map(Wit::Record);
    }
    if let Some(mut words) = words_after(text, &["variant", name, "{"]) {
        let payload = |words: &mut Words| match words.next_if_eq("(") {
            None => Some(None),
            Some(_) => {
                let payload = read(words, text)?;
                words.next_if_eq(")")?;
                Some(Some(payload))
            }
        };
        return parts(name, &mut words, payload).map(Wit::Variant);
    }
    if let Some(mut words) = words_after(text, &["enum", name, "{"]) {
        return parts(name, &mut words, |_| Some(())).map(Wit::Enum);
    }
    if let Some(mut words) = words_after(text, &["flags", name, "{"]) {
        return parts(name, &mut words, |_| Some(())).map(Wit::Flags);
    }
    let uses = text.windows(4).enumerate().filter(|(_, four)| four[0] == "use" && four[2] == "." && four[3] == "{");
    for (at, four) in uses {
        let names = text[at + 4..].iter().take_while(|word| *word != "}");
        if names.into_iter().any(|used| used == name) {
            return defined(name, &interface_text(&four[1])?);
        }
    }
    None
}

fn parts<T>(name: &str, words: &mut Words, part: impl Fn(&mut Words) -> Option<T>) -> Option<Named<T>> {
    let mut parts = Vec::new();
    while words.peek()? != "}" {
        let name = words.next()?;
        parts.push((name, part(words)?));
        let _ = words.next_if_eq(",");
    }
    Some(Named { name: name.to_owned(), parts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_read_from_the_wit_itself() {
        let request = signature("ntwk:theater/message-server-client", "handle-request").expect("it is there");
        let state = Wit::Option(Box::new(Wit::Json));
        let params = [("state".to_owned(), state.clone()), ("params".to_owned(), Wit::Tuple(vec![Wit::Json]))];
        assert_eq!(request.params, params);
        let answer = Wit::Tuple(vec![state, Wit::Tuple(vec![Wit::Json])]);
        let refusal = Box::new(Wit::Simple("string".into()));
        assert_eq!(request.result, Some(Wit::Result(Some(Box::new(answer)), Some(refusal))));
        assert_eq!(signature("ntwk:theater/message-server-client", "handle-nothing"), None);
        assert_eq!(signature("wasi:cli/run", "run"), None);
    }

    #[test]
    fn records_and_variants_are_read_with_their_names_in_order() {
        let message = signature("ntwk:theater/websocket-server", "handle-message").expect("it is there");
        let Wit::Tuple(params) = &message.params[1].1 else { panic!("{message:?}") };
        let Wit::Record(record) = &params[0] else { panic!("{params:?}") };
        assert_eq!(record.name, "websocket-message");
        assert_eq!(record.parts.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["ty", "data", "text"]);
        let Wit::Variant(kinds) = &record.parts[0].1 else { panic!("{record:?}") };
        assert_eq!(kinds.parts[0], ("text".to_owned(), None));
        assert_eq!(kinds.parts[6], ("other".to_owned(), Some(Wit::Simple("string".into()))));
    }

    /// If a file of `wit/` were missing in the list, errors about its exports would not name the place.
    #[test]
    fn every_interface_that_a_world_exports_or_imports_is_read() {
        let worlds = words(include_str!("../../wit/worlds.wit"));
        let named = worlds.windows(2).filter(|two| two[0] == "export" || two[0] == "import").map(|two| two[1].as_str());
        let mut functions = 0;
        for interface in named {
            let text = interface_text(interface).unwrap_or_else(|| panic!("{interface} is not among the files"));
            for three in text.windows(3).filter(|three| three[1] == ":" && three[2] == "func") {
                let found = signature(&format!("{PACKAGE}{interface}"), &three[0]);
                let found = found.unwrap_or_else(|| panic!("{interface}.{}", three[0]));
                assert!(found.result.is_some() || three[0] == "log", "{interface}.{}", three[0]);
                functions += 1;
            }
        }
        assert!(functions >= 40, "{functions}");
    }
}
