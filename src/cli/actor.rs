//! Which actor is meant: by its id, its name, or the beginning of either.

/// What can be called for.
pub(super) struct Candidate<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) alive: bool,
}

/// Ambiguous names show at most so many candidates.
const SHOWN: usize = 8;

/// The index of the one that `text` names: an id first, then a name, then the beginning of an id or a name. Among
/// several that fit equally well the one that is alive is meant.
pub(super) fn pick(candidates: &[Candidate<'_>], text: &str) -> Result<usize, String> {
    let by = |fits: &dyn Fn(&Candidate<'_>) -> bool| {
        let found = candidates.iter().enumerate().filter(|(_, candidate)| fits(candidate));
        found.map(|(at, _)| at).collect::<Vec<_>>()
    };
    let mut found = by(&|candidate| candidate.id == text);
    if found.is_empty() {
        found = by(&|candidate| candidate.name == text);
    }
    if found.is_empty() && !text.is_empty() {
        found = by(&|candidate| candidate.id.starts_with(text) || candidate.name.starts_with(text));
    }
    let alive: Vec<usize> = found.iter().copied().filter(|at| candidates[*at].alive).collect();
    match (&found[..], &alive[..]) {
        ([one], _) | (_, [one]) => Ok(*one),
        ([], _) => Err(format!("no actor is called \"{text}\"")),
        (several, _) => {
            let shown = several.iter().take(SHOWN).map(|at| {
                let Candidate { id, name, .. } = &candidates[*at];
                format!("{name} ({id})")
            });
            let more = if several.len() > SHOWN { ", …" } else { "" };
            let shown = shown.collect::<Vec<_>>().join(", ");
            Err(format!(
                "{} actors are called \"{text}\": {shown}{more}; give more of the name or the id",
                several.len()
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Candidate<'static>; 4] = [
        Candidate { id: "aa-1", name: "counter", alive: true },
        Candidate { id: "ab-2", name: "courier", alive: true },
        Candidate { id: "bb-3", name: "counter", alive: false },
        Candidate { id: "cc-4", name: "old", alive: false },
    ];

    #[test]
    fn an_actor_is_named_by_its_name_its_id_or_an_unambiguous_beginning() {
        for (text, expected) in
            [("aa-1", 0), ("counter", 0), ("coun", 0), ("cour", 1), ("ab", 1), ("bb-3", 2), ("b", 2), ("o", 3)]
        {
            assert_eq!(pick(&ALL, text), Ok(expected), "{text}");
        }
        assert!(pick(&ALL, "nobody").expect_err("none").contains("no actor is called \"nobody\""));
        assert!(pick(&ALL, "").is_err());
    }

    #[test]
    fn an_ambiguous_name_names_who_could_be_meant() {
        let why = pick(&ALL, "cou").expect_err("two are alive");
        assert!(why.contains("counter (aa-1)") && why.contains("courier (ab-2)"), "{why}");
    }
}
