//! How long a caller waits.

use std::time::Duration;

use http::{Extensions, HeaderMap, HeaderName};

/// For an answer of Metabase, whatever the deadline.
const MOST_BUDGET: Duration = Duration::from_secs(5);

/// What the caller asks for (gRPC over HTTP/2, "Requests").
static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// How long a request may take, from when it arrived; beside every request that is limited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(pub(super) Duration);

/// What the caller asks for (`grpc-timeout`), if that is shorter than `most`.
pub(super) fn of(headers: &HeaderMap, most: Duration) -> Duration {
    let asked = headers.get(&TIMEOUT).and_then(|value| parse(value.to_str().ok()?));
    asked.map_or(most, |asked| asked.min(most))
}

/// How long an answer of Metabase may take: so that the caller gets to know that there was none, less than its deadline.
pub(super) fn budget(extensions: &Extensions) -> Duration {
    extensions.get().map_or(MOST_BUDGET, |Deadline(deadline)| MOST_BUDGET.min(*deadline * 4 / 5))
}

/// `TimeoutValue TimeoutUnit` of gRPC over HTTP/2: at most eight digits, and a letter.
fn parse(text: &str) -> Option<Duration> {
    let (value, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if value.len() > 8 || !value.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value: u64 = value.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_less_than_the_deadline_which_is_never_more_than_the_servers() {
        for (text, deadline, budget) in [
            ("1S", 1000, 800),
            ("500m", 500, 400),
            ("1000000u", 1000, 800),
            ("0n", 0, 0),
            ("1H", 10_000, 5000),
            ("99999999M", 10_000, 5000),
            ("", 10_000, 5000),
            ("1", 10_000, 5000),
            ("1x", 10_000, 5000),
            ("-1S", 10_000, 5000),
            ("123456789m", 10_000, 5000),
        ] {
            let headers: HeaderMap = [(TIMEOUT.clone(), text.parse().unwrap())].into_iter().collect();
            let found = of(&headers, Duration::from_secs(10));
            assert_eq!(found, Duration::from_millis(deadline), "{text}");
            let mut extensions = Extensions::new();
            extensions.insert(Deadline(found));
            assert_eq!(super::budget(&extensions), Duration::from_millis(budget), "{text}");
        }
    }
}
