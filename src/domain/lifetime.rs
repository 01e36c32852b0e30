//! How long a token lives.

use std::{fmt, time::Duration};

use thiserror::Error;

/// From the `iat` to the `exp` claim: whole seconds, from [`Lifetime::MIN`] to [`Lifetime::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime(u32);

impl Lifetime {
    /// 60 s. The SDK asks for a new token whenever `exp` has passed on the browser's clock; anything shorter than the
    /// usual clock skew makes it ask without end.
    pub const MIN: Self = Self(60);
    /// 24 h. Metabase exchanges a token for 180 s only; a longer life has no use but to the SDK's refresh timer.
    pub const MAX: Self = Self(24 * 60 * 60);
    /// 10 min, as in Metabase's own examples.
    pub const DEFAULT: Self = Self(10 * 60);
    /// 1 h: the maximum of an instance that sets none.
    pub const DEFAULT_MAX: Self = Self(60 * 60);

    /// Reads a duration given as seconds and nanoseconds, both as in `google.protobuf.Duration`.
    ///
    /// # Errors
    /// The duration has a fraction, or is outside [`Lifetime::MIN`] to `max`.
    pub fn parse(seconds: i64, nanos: i32, max: Self) -> Result<Self, InvalidLifetime> {
        if nanos != 0 {
            return Err(InvalidLifetime::Fraction { max });
        }
        match u32::try_from(seconds) {
            Ok(within) if (Self::MIN.0..=max.0).contains(&within) => Ok(Self(within)),
            _ => Err(InvalidLifetime::OutOfRange { seconds, max }),
        }
    }

    /// Seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

impl TryFrom<Duration> for Lifetime {
    type Error = InvalidLifetime;

    fn try_from(duration: Duration) -> Result<Self, Self::Error> {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let nanos = i32::try_from(duration.subsec_nanos()).unwrap_or(i32::MAX);
        Self::parse(seconds, nanos, Self::MAX)
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

/// Why a lifetime was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidLifetime {
    /// Claims count whole seconds.
    #[error("must be whole seconds, from {min} to {max}", min = Lifetime::MIN)]
    Fraction {
        /// The longest allowed.
        max: Lifetime,
    },
    /// Refused rather than clamped, so that nobody relies on a lifetime they did not get.
    #[error("must be from {min} to {max}, is {seconds} s", min = Lifetime::MIN)]
    OutOfRange {
        /// Seconds asked for.
        seconds: i64,
        /// The longest allowed.
        max: Lifetime,
    },
}

/// What an instance grants: a default for requests that name none, and a maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifetimeRange {
    /// For requests without a lifetime. Never above `max`.
    pub(crate) default: Lifetime,
    /// The longest that can be asked for.
    pub(crate) max: Lifetime,
}

impl LifetimeRange {
    /// # Errors
    /// `default` is above `max`.
    pub fn parse(default: Lifetime, max: Lifetime) -> Result<Self, DefaultAboveMax> {
        if default > max { Err(DefaultAboveMax { default, max }) } else { Ok(Self { default, max }) }
    }
}

impl Default for LifetimeRange {
    fn default() -> Self {
        Self { default: Lifetime::DEFAULT, max: Lifetime::DEFAULT_MAX }
    }
}

/// A default lifetime that could not be asked for.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("default ({default}) must not be above max ({max})")]
pub struct DefaultAboveMax {
    default: Lifetime,
    max: Lifetime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_outside_the_range_are_refused_with_the_numbers() {
        let max = Lifetime(900);
        for (seconds, nanos, expected) in [
            (60, 0, Ok(Lifetime(60))),
            (900, 0, Ok(Lifetime(900))),
            (59, 0, Err("must be from 60 s to 900 s, is 59 s")),
            (901, 0, Err("must be from 60 s to 900 s, is 901 s")),
            (0, 0, Err("must be from 60 s to 900 s, is 0 s")),
            (-60, 0, Err("must be from 60 s to 900 s, is -60 s")),
            (i64::MAX, 0, Err("must be from 60 s to 900 s, is 9223372036854775807 s")),
            (60, 1, Err("must be whole seconds, from 60 s to 900 s")),
        ] {
            let parsed = Lifetime::parse(seconds, nanos, max).map_err(|error| error.to_string());
            assert_eq!(parsed, expected.map_err(str::to_owned), "{seconds} s {nanos} ns");
        }
    }

    #[test]
    fn the_bounds_are_a_minute_a_day_ten_minutes_and_an_hour() {
        let seconds = [Lifetime::MIN, Lifetime::MAX, Lifetime::DEFAULT, Lifetime::DEFAULT_MAX].map(Lifetime::seconds);
        assert_eq!(seconds, [60, 86_400, 600, 3600]);
    }

    #[test]
    fn a_default_may_be_the_maximum_and_not_more() {
        let (short, long) = (Lifetime(60), Lifetime(61));
        assert_eq!(LifetimeRange::parse(short, short), Ok(LifetimeRange { default: short, max: short }));
        assert_eq!(LifetimeRange::parse(short, long), Ok(LifetimeRange { default: short, max: long }));
        assert_eq!(LifetimeRange::parse(long, short), Err(DefaultAboveMax { default: long, max: short }));
    }
}
