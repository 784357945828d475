//! Finding the actor that a text means: by its id, its name, its label, or the beginning of id or name.

/// An actor that a text may mean.
pub(crate) struct Candidate<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    /// The name that its parent has given it.
    pub(crate) label: Option<&'a str>,
    /// Whether nobody has spawned it: its name is its path.
    pub(crate) is_root: bool,
    pub(crate) alive: bool,
}

/// Why a text does not name one actor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotFound {
    /// No actor has this label, or an id or a name that begins so.
    #[error("no actor is called \"{text}\"")]
    Nobody {
        /// The text.
        text: String,
    },
    /// Several actors fit equally well.
    #[error("{count} actors are called \"{text}\": {candidates}; give more of the name or the id")]
    Several {
        /// The text.
        text: String,
        /// How many actors fit.
        count: usize,
        /// The names and ids of at most eight of them.
        candidates: String,
    },
}

/// The error about an ambiguous name shows at most so many candidates.
const SHOWN: usize = 8;

/// Finds the actor that a text means among those that are offered: by its id before by its name (a root before others), by its name before by its
/// label, and by its label before by the beginning of id or name. Among several that fit equally well, the text means the one that is alive. A `Picker` keeps a few of
/// what it was offered, not all.
pub(crate) struct Picker<'a, T> {
    text: &'a str,
    /// How well those candidates fit that are kept.
    fit: Fit,
    count: usize,
    shown: Vec<String>,
    first: Option<T>,
    alive: Option<T>,
    alive_count: usize,
}

/// How well a candidate fits the text, from worst to best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Not,
    Beginning,
    Label,
    Name,
    RootName,
    Id,
}

impl<'a, T> Picker<'a, T> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, fit: Fit::Not, count: 0, shown: Vec::new(), first: None, alive: None, alive_count: 0 }
    }

    /// Offers one more candidate, and what [`Picker::pick`] is to return if the text means it.
    pub(crate) fn offer(&mut self, candidate: &Candidate<'_>, it: impl FnOnce() -> T) {
        let fit = self.fit_of(candidate);
        if fit == Fit::Not || fit < self.fit {
            return;
        }
        if fit > self.fit {
            *self = Self { fit, ..Self::new(self.text) };
        }
        self.count += 1;
        self.alive_count += usize::from(candidate.alive);
        if self.shown.len() < SHOWN {
            self.shown.push(format!("{} ({})", candidate.name, candidate.id));
        }
        if candidate.alive && self.alive_count == 1 {
            self.alive = Some(it());
        } else if self.count == 1 {
            self.first = Some(it());
        }
    }

    fn fit_of(&self, candidate: &Candidate<'_>) -> Fit {
        let text = self.text;
        if candidate.id == text {
            Fit::Id
        } else if candidate.name == text {
            if candidate.is_root { Fit::RootName } else { Fit::Name }
        } else if candidate.label == Some(text) {
            Fit::Label
        } else if !text.is_empty() && (candidate.id.starts_with(text) || candidate.name.starts_with(text)) {
            Fit::Beginning
        } else {
            Fit::Not
        }
    }

    /// What was offered with the candidate that the text means; or why there is no such candidate, or more than one.
    pub(crate) fn pick(self) -> Result<T, NotFound> {
        let Self { text, count, shown, first, alive, alive_count, .. } = self;
        match (count, alive_count) {
            (0, _) => Err(NotFound::Nobody { text: text.to_owned() }),
            (_, 1) => Ok(alive.expect("one is alive")),
            (1, _) => Ok(first.expect("there is one")),
            (count, _) => {
                let more = if count > SHOWN { ", …" } else { "" };
                let candidates = shown.join(", ") + more;
                Err(NotFound::Several { text: text.to_owned(), count, candidates })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Candidate<'static>; 4] = [
        Candidate { id: "aa-1", name: "counter", label: None, is_root: false, alive: true },
        Candidate { id: "ab-2", name: "courier", label: Some("bob"), is_root: false, alive: true },
        Candidate { id: "bb-3", name: "counter", label: None, is_root: false, alive: false },
        Candidate { id: "cc-4", name: "old", label: None, is_root: false, alive: false },
    ];

    fn pick(text: &str) -> Result<usize, NotFound> {
        let pick = |order: &mut dyn Iterator<Item = usize>| {
            let mut picker = Picker::new(text);
            order.for_each(|at| picker.offer(&ALL[at], || at));
            picker.pick()
        };
        let picked = pick(&mut (0..ALL.len()));
        assert_eq!(pick(&mut (0..ALL.len()).rev()).ok(), picked.clone().ok(), "in whatever order they come");
        picked
    }

    #[test]
    fn an_actor_is_named_by_its_name_its_id_or_an_unambiguous_beginning() {
        for (text, expected) in [
            ("aa-1", 0),
            ("counter", 0),
            ("coun", 0),
            ("cour", 1),
            ("ab", 1),
            ("bb-3", 2),
            ("b", 2),
            ("o", 3),
            ("bob", 1),
        ] {
            assert_eq!(pick(text), Ok(expected), "{text}");
        }
        assert!(pick("nobody").expect_err("none").to_string().contains("no actor is called \"nobody\""));
        assert!(pick("").is_err());
    }

    #[test]
    fn a_root_comes_before_children_of_its_name() {
        let mut picker = Picker::new("counter");
        for (at, is_root) in [false, true, false].into_iter().enumerate() {
            let id = at.to_string();
            picker.offer(&Candidate { id: &id, name: "counter", label: Some("x"), is_root, alive: true }, || at);
        }
        assert_eq!(picker.pick(), Ok(1));
    }

    #[test]
    fn an_ambiguous_name_names_who_could_be_meant() {
        let why = pick("cou").expect_err("two are alive").to_string();
        assert!(why.contains("counter (aa-1)") && why.contains("courier (ab-2)"), "{why}");
    }

    #[test]
    fn of_many_that_fit_a_few_are_named() {
        let mut picker = Picker::new("a");
        for at in 0..1_000 {
            let id = format!("{at}");
            picker.offer(&Candidate { id: &id, name: "again", label: None, is_root: false, alive: true }, || at);
        }
        let why = picker.pick().expect_err("which?").to_string();
        assert!(
            why.starts_with("1000 actors are called \"a\": again (0), ") && why.contains("again (7), …; "),
            "{why}"
        );
        assert!(!why.contains("again (8)"), "{why}");
    }
}
