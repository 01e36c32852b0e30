//! The one reader of the system's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{application::Clock, domain::time::UnixTime};

/// The system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        #[expect(clippy::disallowed_methods, reason = "the one legal call")]
        let now = SystemTime::now();
        // A clock before 1970 reads as 1970: tokens are long expired then, which is the safe side.
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime::from_seconds(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
    }
}
