//! The events of a chain whose data was dropped, kept as ranges because a prune drops thousands in a row.

use std::ops::RangeInclusive;

/// The events whose data was dropped, as ranges in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DroppedEvents(Vec<RangeInclusive<u64>>);

impl DroppedEvents {
    /// Adds an event; its sequence is above all that were added before.
    pub(crate) fn add(&mut self, sequence: u64) {
        match self.0.last_mut() {
            Some(last) if last.end().checked_add(1) == Some(sequence) => *last = *last.start()..=sequence,
            _ => self.0.push(sequence..=sequence),
        }
    }

    pub(crate) fn stretches(&self) -> &[RangeInclusive<u64>] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|stretch| stretch.end() - stretch.start() + 1).sum()
    }

    /// The last dropped event at or before `sequence`.
    pub(crate) fn last_upto(&self, sequence: u64) -> Option<u64> {
        let after = self.0.partition_point(|stretch| *stretch.start() <= sequence);
        let stretch = &self.0[after.checked_sub(1)?];
        Some(sequence.min(*stretch.end()))
    }

    /// The first dropped event at or after `sequence`.
    pub(crate) fn first_from(&self, sequence: u64) -> Option<u64> {
        let at = self.0.partition_point(|stretch| *stretch.end() < sequence);
        self.0.get(at).map(|stretch| sequence.max(*stretch.start()))
    }

    /// A description for people: `15 of 51 events (1 to 14, 20)`.
    pub(crate) fn described(&self, events: u64) -> String {
        const SHOWN: usize = 8;
        let shown = self.0.iter().take(SHOWN).map(described);
        let mut which = shown.collect::<Vec<_>>().join(", ");
        if self.0.len() > SHOWN {
            which += ", …";
        }
        format!("{} of {events} events ({which})", self.count())
    }
}

/// A range for people: `7`, or `7 to 9`.
pub(crate) fn described(stretch: &RangeInclusive<u64>) -> String {
    let (first, last) = (stretch.start(), stretch.end());
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_events_are_found_from_both_sides_and_counted() {
        let mut dropped = DroppedEvents::default();
        assert_eq!((dropped.last_upto(9), dropped.first_from(0), dropped.count()), (None, None, 0));
        [1, 2, 3, 7, 9, 10].into_iter().for_each(|sequence| dropped.add(sequence));
        assert_eq!(dropped.stretches(), [1..=3, 7..=7, 9..=10]);
        assert_eq!(dropped.count(), 6);
        let last: Vec<_> = (0..12).map(|sequence| dropped.last_upto(sequence)).collect();
        let expected = [0, 1, 2, 3, 3, 3, 3, 7, 7, 9, 10, 10].map(|at| Some(at).filter(|at| *at > 0));
        assert_eq!(last, expected);
        let first: Vec<_> = (0..12).map(|sequence| dropped.first_from(sequence)).collect();
        let expected = [1, 1, 2, 3, 7, 7, 7, 7, 9, 9, 10, 0].map(|at| Some(at).filter(|at| *at > 0));
        assert_eq!(first, expected);
        assert_eq!(dropped.described(51), "6 of 51 events (1 to 3, 7, 9 to 10)");
    }
}
