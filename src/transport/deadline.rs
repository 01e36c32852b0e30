//! How long a caller waits.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// For an answer of Metabase to a caller that names no deadline.
const DEFAULT_BUDGET: Duration = Duration::from_secs(5);

/// How long an answer of Metabase may take: so that the caller gets to know that there was none, less than its deadline.
pub(super) fn budget(metadata: &MetadataMap) -> Duration {
    let deadline = metadata.get("grpc-timeout").and_then(|value| parse(value.to_str().ok()?));
    deadline.map_or(DEFAULT_BUDGET, |deadline| DEFAULT_BUDGET.min(deadline * 4 / 5))
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
    fn the_budget_is_less_than_the_deadline_and_never_more_than_the_default() {
        for (text, milliseconds) in [
            ("1S", 800),
            ("500m", 400),
            ("1000000u", 800),
            ("1H", 5000),
            ("99999999M", 5000),
            ("", 5000),
            ("1", 5000),
            ("1x", 5000),
            ("-1S", 5000),
            ("123456789m", 5000),
        ] {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            assert_eq!(budget(&metadata), Duration::from_millis(milliseconds), "{text}");
        }
    }
}
