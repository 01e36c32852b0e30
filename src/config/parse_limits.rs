//! `[server.limits]` and `[server.drain]` from the shapes of the file. What is wrong is replaced by its default; the errors
//! see to it that nobody gets to use it.

use std::{ops::RangeInclusive, time::Duration};

use toml::Spanned;

use super::{
    Drain, Limits,
    parse::Problems,
    raw::{RawDrain, RawDuration, RawLimits},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

pub(super) fn parse_limits(raw: &RawLimits, problems: &mut Problems<'_>) -> Limits {
    let default = Limits::default();
    let limits = Limits {
        max_in_flight: number(raw.max_in_flight.as_ref(), 1..=1_000_000, default.max_in_flight, problems),
        max_connections: number(raw.max_connections.as_ref(), 1..=1_000_000, default.max_connections, problems),
        max_streams_per_connection: number(
            raw.max_streams_per_connection.as_ref(),
            1..=10_000,
            default.max_streams_per_connection,
            problems,
        ),
        deadline: duration(
            raw.deadline.as_ref(),
            Duration::from_millis(100)..=Duration::from_mins(5),
            default.deadline,
            problems,
        ),
        body_timeout: duration(
            raw.body_timeout.as_ref(),
            Duration::from_millis(100)..=Duration::from_mins(5),
            default.body_timeout,
            problems,
        ),
        keepalive_interval: duration(
            raw.keepalive_interval.as_ref(),
            SECOND..=HOUR,
            default.keepalive_interval,
            problems,
        ),
        keepalive_timeout: duration(raw.keepalive_timeout.as_ref(), SECOND..=HOUR, default.keepalive_timeout, problems),
        idle_timeout: switchable(raw.idle_timeout.as_ref(), SECOND..=DAY, default.idle_timeout, problems),
        max_connection_age: switchable(
            raw.max_connection_age.as_ref(),
            SECOND..=DAY,
            default.max_connection_age,
            problems,
        ),
        max_connection_age_grace: duration(
            raw.max_connection_age_grace.as_ref(),
            SECOND..=HOUR,
            default.max_connection_age_grace,
            problems,
        ),
    };
    if let (None, Some(given)) = (limits.max_connection_age, &raw.max_connection_age_grace) {
        problems.add(&given.span(), "needs `max_connection_age`, which is \"off\"");
    }
    limits
}

pub(super) fn parse_drain(raw: &RawDrain, problems: &mut Problems<'_>) -> Drain {
    let default = Drain::default();
    Drain {
        announce_delay: duration(
            raw.announce_delay.as_ref(),
            Duration::ZERO..=Duration::from_mins(5),
            default.announce_delay,
            problems,
        ),
        grace_period: duration(
            raw.grace_period.as_ref(),
            SECOND..=Duration::from_mins(10),
            default.grace_period,
            problems,
        ),
    }
}

pub(super) fn number<T: TryFrom<i64>>(
    raw: Option<&Spanned<i64>>,
    allowed: RangeInclusive<i64>,
    default: T,
    problems: &mut Problems<'_>,
) -> T {
    let Some(raw) = raw else { return default };
    let number = Some(*raw.get_ref()).filter(|number| allowed.contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    let rule = || format!("must be a whole number from {} to {}", allowed.start(), allowed.end());
    problems.take(&raw.span(), number.ok_or_else(rule)).unwrap_or(default)
}

pub(super) fn duration(
    raw: Option<&Spanned<RawDuration>>,
    allowed: RangeInclusive<Duration>,
    default: Duration,
    problems: &mut Problems<'_>,
) -> Duration {
    let Some(text) = raw else { return default };
    problems.take(&text.span(), within(&text.get_ref().0, &allowed)).unwrap_or(default)
}

/// None = off.
fn switchable(
    raw: Option<&Spanned<RawDuration>>,
    allowed: RangeInclusive<Duration>,
    default: Option<Duration>,
    problems: &mut Problems<'_>,
) -> Option<Duration> {
    let Some(text) = raw else { return default };
    if text.get_ref().0 == "off" {
        return None;
    }
    let parsed = within(&text.get_ref().0, &allowed).map_err(|rule| format!("{rule}, or \"off\""));
    problems.take(&text.span(), parsed).map_or(default, Some)
}

fn within(text: &str, allowed: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).ok().filter(|duration| allowed.contains(duration));
    let [least, most] = [allowed.start(), allowed.end()].map(|bound| humantime::format_duration(*bound));
    duration.ok_or_else(|| format!("must be a duration from \"{least}\" to \"{most}\""))
}
