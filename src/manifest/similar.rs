//! Words that somebody may have meant who wrote another one.

/// The known word that `word` is most likely a misspelling of, if one is similar enough.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate));
    let (distance, candidate) = scored.min()?;
    let is_near = distance <= 1 + candidate.len().min(word.len()) / 3;
    is_near.then_some(candidate).or_else(|| match beginning_with(word, known)[..] {
        [only] => Some(only),
        _ => None,
    })
}

/// The known words of which `word` is the first part: `component` of `component_path`.
pub(crate) fn beginning_with<'a>(word: &str, known: &[&'a str]) -> Vec<&'a str> {
    let is_part = |candidate: &&&str| {
        let rest = candidate.strip_prefix(word).filter(|_| !word.is_empty());
        rest.is_some_and(|rest| rest.starts_with(['_', '-']))
    };
    known.iter().filter(is_part).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_and_the_first_part_of_one_word_are_understood() {
        let known = ["component_path", "http-server", "http-client", "name"];
        assert_eq!(nearest("nmae", &known), Some("name"));
        assert_eq!(nearest("component", &known), Some("component_path"));
        assert_eq!(nearest("http", &known), None, "which of the two?");
        assert_eq!(beginning_with("http", &known), ["http-server", "http-client"]);
        assert_eq!(nearest("comp", &known), None, "that is no part of it");
        assert_eq!((nearest("", &known), nearest("x", &[])), (None, None));
    }
}
