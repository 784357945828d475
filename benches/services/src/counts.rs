//! What a client knows of the counts: how often it sent an increment of each key, how often it was answered, and with what. A
//! system that keeps its word has, after any crash, at least the increments that it answered, and at most those that were sent.

use std::fmt;

#[derive(Clone, Copy, Default)]
struct Key {
    sent: u32,
    acknowledged: u32,
}

/// Increments by key.
pub struct Counts {
    keys: Vec<Key>,
    /// Key and count of each answer.
    answers: Vec<(u32, u32)>,
}

/// What is wrong with the counts that a system had after a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Keys whose count was compared; all that an increment was sent to.
    pub compared: usize,
    pub acknowledged: u64,
    /// Increments that were sent and never answered; how many of them are counted, nobody can know.
    pub unanswered: u64,
    /// Of the unanswered, those that are in the counts.
    pub unanswered_counted: u64,
    /// Increments that were answered and are not counted.
    pub lost: u64,
    /// Increments that are counted more often than they were sent.
    pub invented: u64,
    /// Counts that more than one increment of a key was answered with.
    pub doubled: u64,
    /// Keys whose count was not told.
    pub untold: usize,
}

impl Counts {
    pub fn new(keys: usize) -> Self {
        Self { keys: vec![Key::default(); keys], answers: Vec::new() }
    }

    pub fn sent(&mut self, key: usize) {
        self.keys[key].sent += 1;
    }

    pub fn acknowledged(&mut self, key: usize, count: u32) {
        self.keys[key].acknowledged += 1;
        self.answers.push((key as u32, count));
    }

    /// The keys that an increment was sent to.
    pub fn touched(&self) -> Vec<usize> {
        (0..self.keys.len()).filter(|key| self.keys[*key].sent > 0).collect()
    }

    /// Compares with what a system tells. `told` has a count for each key, or none if the system did not tell it.
    pub fn compare(mut self, told: &[Option<u32>]) -> Verdict {
        let mut verdict = Verdict::default();
        for (key, told) in self.keys.iter().zip(told).filter(|(key, _)| key.sent > 0) {
            verdict.acknowledged += u64::from(key.acknowledged);
            verdict.unanswered += u64::from(key.sent - key.acknowledged);
            let Some(count) = *told else {
                verdict.untold += 1;
                continue;
            };
            verdict.compared += 1;
            verdict.lost += u64::from(key.acknowledged.saturating_sub(count));
            verdict.invented += u64::from(count.saturating_sub(key.sent));
            verdict.unanswered_counted += u64::from(count.min(key.sent).saturating_sub(key.acknowledged));
        }
        self.answers.sort_unstable();
        verdict.doubled = self.answers.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
        verdict
    }
}

impl Verdict {
    pub fn is_right(&self) -> bool {
        self.lost == 0 && self.invented == 0 && self.doubled == 0 && self.untold == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compared, acknowledged, unanswered, unanswered_counted, lost, invented, doubled, untold } = self;
        write!(
            f,
            "{compared} keys compared; {acknowledged} increments answered, {lost} of them lost; {unanswered} sent and not answered, \
             {unanswered_counted} of them counted; {invented} counted that were not sent; {doubled} counts answered twice"
        )?;
        if *untold > 0 {
            write!(f, "; {untold} counts not told")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_and_answered(sent: u32, answers: &[u32]) -> Counts {
        let mut counts = Counts::new(2);
        (0..sent).for_each(|_| counts.sent(1));
        answers.iter().for_each(|count| counts.acknowledged(1, *count));
        counts
    }

    #[test]
    fn a_count_between_what_was_answered_and_what_was_sent_is_right() {
        for count in 2..=3 {
            let verdict = sent_and_answered(3, &[2, 1]).compare(&[None, Some(count)]);
            assert!(verdict.is_right(), "{verdict}");
            assert_eq!(
                (verdict.compared, verdict.unanswered, verdict.unanswered_counted),
                (1, 1, u64::from(count - 2))
            );
        }
    }

    #[test]
    fn lost_invented_doubled_and_untold_counts_are_wrong() {
        assert_eq!(sent_and_answered(3, &[1, 2]).compare(&[None, Some(1)]).lost, 1);
        assert_eq!(sent_and_answered(3, &[1, 2]).compare(&[None, Some(5)]).invented, 2);
        assert_eq!(sent_and_answered(3, &[1, 1]).compare(&[None, Some(3)]).doubled, 1);
        assert_eq!(sent_and_answered(3, &[1, 2]).compare(&[None, None]).untold, 1);
        assert!(!sent_and_answered(3, &[1, 1]).compare(&[None, Some(3)]).is_right());
    }
}
