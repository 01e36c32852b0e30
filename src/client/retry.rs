//! How often, and after which pauses, a call is tried again.

use std::time::Duration;

/// How often a call is tried in all, unless told otherwise.
pub const TRIES: u32 = 3;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How long to wait when a call was `tried` so often. `retry_after`: the service's own word; `chance`: from 0 to 1, so that many
/// clients that failed together do not come back together.
pub(super) fn pause(tried: u32, retry_after: Option<Duration>, chance: f64) -> Duration {
    let doublings = tried.saturating_sub(1).min(8);
    let backoff = (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE);
    retry_after.unwrap_or_default().saturating_add(backoff.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_have_chance_in_them() {
        let milliseconds = |tried, chance| pause(tried, None, chance).as_millis();
        assert_eq!([1, 2, 3, 4, 100].map(|tried| milliseconds(tried, 1.0)), [100, 200, 400, 500, 500]);
        assert_eq!([1, 2, 3, 4, 100].map(|tried| milliseconds(tried, 0.0)), [50, 100, 200, 250, 250]);
    }

    #[test]
    fn nothing_is_tried_before_the_service_allows_it() {
        let allowed = Duration::from_secs(1);
        assert_eq!(pause(1, Some(allowed), 0.0), allowed + Duration::from_millis(50));
        assert_eq!(pause(1, Some(Duration::MAX), 1.0), Duration::MAX);
    }
}
