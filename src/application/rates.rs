//! Holds callers to the rates that their grants name.

use std::{fmt, sync::Arc, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use hashbrown::HashMap;

use crate::domain::{caller::CallerName, grant::Rate, instance::InstanceName, policy::Policy};

/// The limiters of one generation.
#[derive(Clone, Default)]
pub struct Rates {
    limiters: HashMap<CallerName, HashMap<InstanceName, (Rate, Arc<DefaultDirectRateLimiter>)>>,
}

/// The caller has used its rate up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateExceeded {
    /// How long to wait before the next request is answered.
    pub retry_after: Duration,
}

impl Rates {
    /// The rates of `policy`. A rate that was in `previous` goes on where it was, so that a reload gives no burst away.
    #[must_use]
    pub fn new(policy: &Policy, previous: &Self) -> Self {
        let mut rates = Self::default();
        for (caller, instance, rate) in policy.rates() {
            let same = previous.find(caller, instance).filter(|(own, _)| *own == rate);
            let limiter = same.map_or_else(|| Arc::new(limiter(rate)), |(_, limiter)| Arc::clone(limiter));
            rates.limiters.entry(caller.clone()).or_default().insert(instance.clone(), (rate, limiter));
        }
        rates
    }

    /// Counts a request.
    ///
    /// # Errors
    /// It is one too many.
    pub fn take(&self, caller: &CallerName, instance: &InstanceName) -> Result<(), RateExceeded> {
        let Some((_, limiter)) = self.find(caller, instance) else { return Ok(()) };
        let now = DefaultClock::default().now();
        limiter.check().map_err(|not_until| RateExceeded { retry_after: not_until.wait_time_from(now) })
    }

    fn find(&self, caller: &CallerName, instance: &InstanceName) -> Option<&(Rate, Arc<DefaultDirectRateLimiter>)> {
        self.limiters.get(caller)?.get(instance)
    }
}

fn limiter(rate: Rate) -> DefaultDirectRateLimiter {
    RateLimiter::direct(Quota::per_second(rate.per_second).allow_burst(rate.burst))
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").finish_non_exhaustive()
    }
}
