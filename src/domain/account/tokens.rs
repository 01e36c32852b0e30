//! Counts the tokens of the past hour, in twelve bytes of counters.

use crate::domain::time::UnixTime;

/// Tokens of the past hour, in spans of ten minutes: an hour goes back 50 to 60 minutes. So never more are counted than there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Number of the newest span since 1970.
    newest: u32,
    /// The newest first.
    counts: [u16; Self::SPANS],
}

impl Tokens {
    /// Spans of an hour.
    pub const SPANS: usize = 6;
    /// Seconds of a span.
    pub const SPAN_SECONDS: i64 = 600;

    /// How many there were.
    pub fn within_an_hour(&mut self, now: UnixTime) -> u32 {
        self.turn_to(now);
        self.counts.iter().map(|count| u32::from(*count)).sum()
    }

    /// Counts one more.
    pub fn count(&mut self, now: UnixTime) {
        self.turn_to(now);
        self.counts[0] = self.counts[0].saturating_add(1);
    }

    /// A clock that goes back goes on in the newest span.
    fn turn_to(&mut self, now: UnixTime) {
        let span = u32::try_from(now.seconds() / Self::SPAN_SECONDS).unwrap_or_default();
        let passed = usize::try_from(span.saturating_sub(self.newest)).unwrap_or(usize::MAX);
        if passed == 0 {
            return;
        }
        self.newest = span;
        let kept = Self::SPANS.saturating_sub(passed);
        self.counts.copy_within(..kept, Self::SPANS - kept);
        self.counts[..Self::SPANS - kept].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_six_spans_and_forgets_one_after_the_other() {
        let mut tokens = Tokens::default();
        let at = |minutes: i64| UnixTime::from_seconds(1_700_000_400 + minutes * 60);
        for minute in 0..60 {
            tokens.count(at(minute));
        }
        assert_eq!(tokens.within_an_hour(at(59)), 60);
        assert_eq!(tokens.within_an_hour(at(60)), 50);
        assert_eq!(tokens.within_an_hour(at(85)), 30);
        // A clock that is set back takes nothing away and counts nothing twice.
        tokens.count(at(0));
        assert_eq!(tokens.within_an_hour(at(85)), 31);
        assert_eq!(tokens.within_an_hour(at(60 * 24)), 0);
    }
}
