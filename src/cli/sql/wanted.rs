//! The part of a statement's conditions that narrows down what is read: certain actors, and ranges of sequences and
//! positions. SQLite checks every condition again, so a reading that is too wide is slow, and never wrong.

use std::collections::BTreeSet;

use rusqlite::types::ValueRef;
use rusqlite::vtab::IndexConstraintOp;

use super::source::SqlSource;

/// What a column says about where its row is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnKey {
    /// The id of the actor on whose chain the event stands.
    Actor,
    /// The name of that actor.
    Name,
    /// The id of the actor that a message goes to.
    Receiver,
    /// The name of that actor.
    ReceiverName,
    /// The event's place on its chain.
    Sequence,
    /// The event's place in the order of all.
    Position,
}

impl ColumnKey {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Actor, "actor"),
        (Self::Name, "name"),
        (Self::Receiver, "receiver"),
        (Self::ReceiverName, "receiver_name"),
        (Self::Sequence, "sequence"),
        (Self::Position, "position"),
    ];

    /// Whether its values are numbers, of which ranges can be read.
    pub(super) const fn is_number(self) -> bool {
        matches!(self, Self::Sequence | Self::Position)
    }
}

/// How a column is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PushedComparison {
    Equal,
    AtLeast,
    Above,
    AtMost,
    Below,
}

impl PushedComparison {
    const ALL: [(Self, IndexConstraintOp, &'static str); 5] = [
        (Self::Equal, IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ, "="),
        (Self::AtLeast, IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE, ">="),
        (Self::Above, IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT, ">"),
        (Self::AtMost, IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE, "<="),
        (Self::Below, IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT, "<"),
    ];
}

/// A condition that narrows down what is read, without its value. `EXPLAIN QUERY PLAN` shows it as `sequence>=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PushedCondition {
    pub(super) key: ColumnKey,
    pub(super) comparison: PushedComparison,
}

impl PushedCondition {
    /// The condition that SQLite asks about, if it is of a kind that narrows anything down.
    pub(super) fn of(key: ColumnKey, operator: IndexConstraintOp) -> Option<Self> {
        let (comparison, ..) = PushedComparison::ALL.into_iter().find(|(_, other, _)| *other == operator)?;
        (key.is_number() || comparison == PushedComparison::Equal).then_some(Self { key, comparison })
    }

    pub(super) fn word(self) -> String {
        let key = ColumnKey::ALL.into_iter().find(|(key, _)| *key == self.key).map_or("", |(_, word)| word);
        let sign =
            PushedComparison::ALL.into_iter().find(|(it, ..)| *it == self.comparison).map_or("", |(.., sign)| sign);
        format!("{key}{sign}")
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        let (name, sign) = word.split_at(word.find(['=', '<', '>'])?);
        let (key, _) = ColumnKey::ALL.into_iter().find(|(_, other)| *other == name)?;
        let (comparison, ..) = PushedComparison::ALL.into_iter().find(|(.., other)| *other == sign)?;
        Some(Self { key, comparison })
    }
}

/// The numbers from `first` to `last`; none if `first` is beyond `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NumberSpan {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl NumberSpan {
    const ALL: Self = Self { first: 0, last: u64::MAX };
    const NONE: Self = Self { first: 1, last: 0 };

    pub(super) fn has(self, number: u64) -> bool {
        (self.first..=self.last).contains(&number)
    }

    fn is_empty(self) -> bool {
        self.first > self.last
    }

    fn narrow(&mut self, comparison: PushedComparison, value: i64) {
        let both = |one: Self, other: Self| Self { first: one.first.max(other.first), last: one.last.min(other.last) };
        let Ok(value) = u64::try_from(value) else {
            // All numbers here are above a negative one.
            if matches!(comparison, PushedComparison::Equal | PushedComparison::AtMost | PushedComparison::Below) {
                *self = Self::NONE;
            }
            return;
        };
        let allowed = match comparison {
            PushedComparison::Equal => Self { first: value, last: value },
            PushedComparison::AtLeast => Self { first: value, ..Self::ALL },
            PushedComparison::Above => Self { first: value.saturating_add(1), ..Self::ALL },
            PushedComparison::AtMost => Self { last: value, ..Self::ALL },
            PushedComparison::Below => value.checked_sub(1).map_or(Self::NONE, |last| Self { last, ..Self::ALL }),
        };
        *self = both(*self, allowed);
    }
}

/// What is to be read, and in which way.
#[derive(Clone, Debug)]
pub(super) struct WantedRows {
    /// Whose events; none for everybody's.
    pub(super) actors: Option<BTreeSet<usize>>,
    /// To whom messages go; none for everybody.
    pub(super) receivers: Option<BTreeSet<usize>>,
    pub(super) sequences: NumberSpan,
    pub(super) positions: NumberSpan,
    /// Whether one chain is read after the other, and not the journal in its own order.
    pub(super) is_by_chain: bool,
    pub(super) is_backwards: bool,
}

impl WantedRows {
    pub(super) const fn everything(is_by_chain: bool, is_backwards: bool) -> Self {
        let (sequences, positions) = (NumberSpan::ALL, NumberSpan::ALL);
        Self { actors: None, receivers: None, sequences, positions, is_by_chain, is_backwards }
    }

    /// Narrows it down by a condition and its value. A value of another type than the column's narrows nothing: SQLite knows
    /// how such values compare.
    pub(super) fn narrow(&mut self, source: &SqlSource, condition: PushedCondition, value: ValueRef<'_>) {
        let PushedCondition { key, comparison } = condition;
        let among = |known: &mut Option<BTreeSet<usize>>, these: BTreeSet<usize>| {
            *known = Some(match known.take() {
                Some(known) => known.intersection(&these).copied().collect(),
                None => these,
            });
        };
        match (key, value) {
            // Nothing equals NULL, nor is above or below it.
            (_, ValueRef::Null) => self.sequences = NumberSpan::NONE,
            (ColumnKey::Sequence, ValueRef::Integer(value)) => self.sequences.narrow(comparison, value),
            (ColumnKey::Position, ValueRef::Integer(value)) => self.positions.narrow(comparison, value),
            (
                ColumnKey::Actor | ColumnKey::Name | ColumnKey::Receiver | ColumnKey::ReceiverName,
                ValueRef::Text(text),
            ) => {
                let text = String::from_utf8_lossy(text);
                let these = match key {
                    ColumnKey::Actor | ColumnKey::Receiver => source.of_id(&text).into_iter().collect(),
                    _ => source.of_name(&text),
                };
                match key {
                    ColumnKey::Actor | ColumnKey::Name => among(&mut self.actors, these),
                    _ => among(&mut self.receivers, these),
                }
            }
            (_, ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_)) => {}
        }
    }

    /// Whether no row can be what is wanted.
    pub(super) fn is_nothing(&self) -> bool {
        let nobody = |known: &Option<BTreeSet<usize>>| known.as_ref().is_some_and(BTreeSet::is_empty);
        self.sequences.is_empty() || self.positions.is_empty() || nobody(&self.actors) || nobody(&self.receivers)
    }

    /// Whether an actor's events are wanted.
    pub(super) fn has_actor(&self, actor: usize) -> bool {
        self.actors.as_ref().is_none_or(|actors| actors.contains(&actor))
    }

    /// Whether messages to an actor are wanted; nobody knows the place of one that is not in the journal.
    pub(super) fn has_receiver(&self, receiver: Option<usize>) -> bool {
        self.receivers.as_ref().is_none_or(|receivers| receiver.is_some_and(|at| receivers.contains(&at)))
    }

    /// The actors whose events are wanted, in order.
    pub(super) fn places(&self, source: &SqlSource) -> Vec<usize> {
        match &self.actors {
            _ if self.is_nothing() => Vec::new(),
            Some(actors) => actors.iter().copied().collect(),
            None => (0..source.actors.len()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_read_back_from_the_word_that_a_plan_shows() {
        for (key, word) in ColumnKey::ALL {
            for (comparison, operator, sign) in PushedComparison::ALL {
                let condition = PushedCondition { key, comparison };
                assert_eq!(condition.word(), format!("{word}{sign}"));
                assert_eq!(PushedCondition::parse(&condition.word()), Some(condition));
                let is_possible = key.is_number() || comparison == PushedComparison::Equal;
                assert_eq!(PushedCondition::of(key, operator), Some(condition).filter(|_| is_possible));
            }
        }
        assert_eq!(PushedCondition::parse("backwards"), None);
    }

    #[test]
    fn a_span_has_the_numbers_that_all_its_conditions_allow() {
        let all = PushedComparison::ALL.map(|(comparison, ..)| comparison);
        let holds = |number: i64, comparison: PushedComparison, value: i64| match comparison {
            PushedComparison::Equal => number == value,
            PushedComparison::AtLeast => number >= value,
            PushedComparison::Above => number > value,
            PushedComparison::AtMost => number <= value,
            PushedComparison::Below => number < value,
        };
        for (first, second) in all.into_iter().flat_map(|first| all.map(|second| (first, second))) {
            for (low, high) in (-1..4).flat_map(|low| (-1..4).map(move |high| (low, high))) {
                let mut span = NumberSpan::ALL;
                span.narrow(first, low);
                span.narrow(second, high);
                for number in 0..6_i64 {
                    let expected = holds(number, first, low) && holds(number, second, high);
                    assert_eq!(
                        span.has(number.cast_unsigned()),
                        expected,
                        "{number} {first:?} {low} {second:?} {high}"
                    );
                }
            }
        }
    }
}
