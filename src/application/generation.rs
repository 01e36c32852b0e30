//! Everything that decides about a token, as one immutable value: instances, keys and policy that belong together.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Guard};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hashbrown::HashMap;
use tokio::sync::watch;

use super::{
    agreement::Keys,
    live::LiveInstance,
    rates::{RateExceeded, Rates},
};
use crate::domain::{
    caller::{Caller, CallerId},
    deny_reason::DenyReason,
    instance::{Instance, InstanceName},
    policy::{Denial, Policy},
};

/// Lines in the log about callers that are not listed.
const LINES_PER_SECOND: NonZeroU32 = NonZeroU32::MIN;
const LINES_AT_ONCE: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// One generation of the configuration. Requests see one generation from beginning to end.
#[derive(Debug)]
pub struct Generation {
    /// A part of it: whoever decides with one generation never names another as the one that decided.
    number: u64,
    instances: HashMap<InstanceName, InstanceWithKey>,
    default: Option<InstanceName>,
    policy: Policy,
    candidate: Option<Policy>,
    rates: Rates,
    /// Lines about callers that are not listed.
    strangers: DefaultDirectRateLimiter,
}

/// An instance and the key that signs for it.
#[derive(Debug)]
pub struct InstanceWithKey {
    pub(crate) instance: Arc<Instance>,
    pub(crate) keys: Keys,
    /// None: where it is, is not configured.
    pub(crate) live: Option<LiveInstance>,
    /// Between two looks at Metabase; none = it is not looked at.
    pub(crate) probe_interval: Option<Duration>,
}

impl InstanceWithKey {
    /// Whether its Metabase is asked again and again whether it holds the secret.
    #[must_use]
    pub const fn is_looked_at(&self) -> bool {
        self.live.is_some() && self.probe_interval.is_some()
    }
}

/// Why a request's instance could not be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoInstance {
    /// The name is empty and there are several instances, none of them the default.
    Ambiguous,
    /// No instance has the name.
    Unknown,
}

/// Why a caller may not use the service for an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// Nothing is granted, or the caller is on the deny list.
    Denied(Denial),
    /// The instance could not be told.
    NoInstance(NoInstance),
    /// Later.
    RateExceeded(RateExceeded),
}

impl Generation {
    /// Names are unique, and at most one instance is the default: the configuration has seen to it.
    #[must_use]
    pub fn new(instances: Vec<InstanceWithKey>, policy: Policy) -> Self {
        let default = match instances.as_slice() {
            [only] => Some(only),
            several => several.iter().find(|one| one.instance.is_default),
        };
        let default = default.map(|one| one.instance.name.clone());
        let rates = Rates::new(&policy, &Rates::default());
        let instances = instances.into_iter().map(|one| (one.instance.name.clone(), one)).collect();
        let strangers = RateLimiter::direct(Quota::per_second(LINES_PER_SECOND).allow_burst(LINES_AT_ONCE));
        Self { number: 1, instances, default, policy, candidate: None, rates, strangers }
    }

    /// With a policy that is compared and decides nothing.
    #[must_use]
    pub fn with_candidate(self, candidate: Option<Policy>) -> Self {
        Self { candidate, ..self }
    }

    /// Counted from 1, which is the generation of the start.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The instance that a request names; the empty name stands for the only or default one.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn instance(&self, name: &str) -> Result<&InstanceWithKey, NoInstance> {
        let name = match (name, &self.default) {
            ("", Some(default)) => default.as_str(),
            ("", None) => return Err(NoInstance::Ambiguous),
            (name, _) => name,
        };
        self.instances.get(name).ok_or(NoInstance::Unknown)
    }

    /// Every instance.
    pub fn instances(&self) -> impl Iterator<Item = &InstanceWithKey> {
        self.instances.values()
    }

    /// The instance of this name.
    #[must_use]
    pub fn instance_named(&self, name: &InstanceName) -> Option<&InstanceWithKey> {
        self.instances.get(name)
    }

    /// The instance that a request of `caller` names, if the caller may use the service for it at all and has not used its
    /// rate up. Asked before the request is looked at.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, caller: &Caller, instance: &str) -> Result<&InstanceWithKey, NotAdmitted> {
        let found = self.instance(instance).map_err(NotAdmitted::NoInstance)?;
        let name = &found.instance.name;
        let caller = self.policy.decide_access(caller, name).map_err(|denial| {
            self.tell_of_a_stranger(caller, &denial);
            NotAdmitted::Denied(denial)
        })?;
        self.rates.take(caller, name).map_err(NotAdmitted::RateExceeded)?;
        Ok(found)
    }

    /// The identity is what somebody has to copy who forgot to list it. The attack: whoever has a proof of the right kind fills the log.
    fn tell_of_a_stranger(&self, caller: &Caller, denial: &Denial) {
        if let (CallerId::Proven(identity), DenyReason::UnknownCaller) = (&caller.id, denial.reason)
            && self.strangers.check().is_ok()
        {
            let proof = caller.proof.as_str();
            tracing::warn!(%identity, proof, "A caller was refused: none of the [[callers]] lists this identity (UNKNOWN_CALLER)");
        }
    }

    /// Who may issue what.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Who might issue what after the next change of the policy.
    #[must_use]
    pub const fn candidate(&self) -> Option<&Policy> {
        self.candidate.as_ref()
    }
}

/// The generation in force. Readers never wait, and keep the generation they took to the end.
#[derive(Debug)]
pub struct Generations {
    current: ArcSwap<Generation>,
    changes: watch::Sender<()>,
}

impl Generations {
    /// The first generation has the number 1.
    #[must_use]
    pub fn new(first: Generation) -> Self {
        Self { current: ArcSwap::from_pointee(first), changes: watch::Sender::new(()) }
    }

    /// Tells whenever another generation is in force.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The generation in force, for whoever keeps it while waiting for something.
    pub fn current_owned(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// The generation in force. One request takes it once.
    pub fn current(&self) -> Guard<Arc<Generation>> {
        self.current.load()
    }

    /// Puts the next generation in force and returns its number.
    pub fn replace(&self, mut next: Generation) -> u64 {
        let previous = self.current.load();
        let number = previous.number + 1;
        next.number = number;
        next.rates = Rates::new(&next.policy, &previous.rates);
        for (name, one) in &mut next.instances {
            if let Some(earlier) = previous.instances.get(name) {
                one.keys.inherit(&earlier.keys);
            }
        }
        self.current.store(Arc::new(next));
        self.changes.send_replace(());
        number
    }

    /// The number of the generation in force.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.current.load().number
    }
}

#[cfg(test)]
mod tests;
