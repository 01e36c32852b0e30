//! The use cases and what they need: one immutable generation of configuration, and a clock.

pub mod accounts;
pub mod agreement;
pub mod audit;
pub mod check_auth_status;
pub mod diagnose;
pub mod generation;
pub mod issue_token;
pub mod judge;
pub mod live;
pub mod metabase;
pub mod rates;
pub mod shadow;
pub mod signing_key;
pub mod watch_metabase;

use std::fmt;

use crate::domain::time::UnixTime;

/// Where the use cases take the time from.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> UnixTime;
}

#[cfg(test)]
mod testing;
