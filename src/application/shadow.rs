//! A candidate policy beside the one in force: what it would decide otherwise is counted and changes nothing.

use std::sync::Arc;

use super::generation::Generation;
use crate::{
    domain::{
        caller::Caller,
        instance::{Instance, InstanceName},
        policy::{Decision, Denial, Policy},
        token_request::{TokenRequest, UnverifiedRequest},
    },
    telemetry::{Metrics, ShadowChange},
};

/// Compares decisions with those of the generation's candidate, where it has one.
#[derive(Clone, Debug)]
pub struct Shadow {
    metrics: Arc<Metrics>,
}

impl Shadow {
    /// Counts in `metrics`.
    #[must_use]
    pub const fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }

    /// Decides by the policy in force, and compares.
    pub(super) fn decide(&self, generation: &Generation, caller: &Caller, request: TokenRequest) -> Decision {
        let Some(candidate) = generation.candidate() else { return generation.policy().decide(caller, request) };
        let instance = request.instance.name.clone();
        let theirs = candidate.decide(caller, request.clone());
        let ours = generation.policy().decide(caller, request);
        let change = match (&ours, &theirs) {
            (Decision::Allow(_), Decision::Deny(denial)) => Some((ShadowChange::Denied, denial.reason.code())),
            (Decision::Deny(denial), Decision::Allow(_)) => Some((ShadowChange::Allowed, denial.reason.code())),
            (Decision::Allow(ours), Decision::Allow(theirs)) if ours.lifetime() != theirs.lifetime() => {
                Some((ShadowChange::Lifetime, ""))
            }
            (Decision::Allow(_), Decision::Allow(_)) | (Decision::Deny(_), Decision::Deny(_)) => None,
        };
        self.count(generation, candidate, caller, &instance, change);
        ours
    }

    /// Compares a refusal that came before the request was looked at. The candidate's answer takes a look.
    pub(super) fn refused(
        &self,
        generation: &Generation,
        caller: &Caller,
        instance: &Arc<Instance>,
        denial: &Denial,
        unverified: UnverifiedRequest,
    ) {
        let Some(candidate) = generation.candidate() else { return };
        let is_allowed = candidate.decide_access(caller, &instance.name).is_ok()
            && TokenRequest::parse(unverified, Arc::clone(instance))
                .is_ok_and(|request| matches!(candidate.decide(caller, request), Decision::Allow(_)));
        let change = is_allowed.then_some((ShadowChange::Allowed, denial.reason.code()));
        self.count(generation, candidate, caller, &instance.name, change);
    }

    /// Compares whether the caller may ask for the status of credentials.
    pub(super) fn status_check(
        &self,
        generation: &Generation,
        caller: &Caller,
        instance: &InstanceName,
        decided: &Result<(), Denial>,
    ) {
        let Some(candidate) = generation.candidate() else { return };
        let change = match (decided, candidate.decide_status_check(caller, instance)) {
            (Ok(()), Err(denial)) => Some((ShadowChange::Denied, denial.reason.code())),
            (Err(denial), Ok(())) => Some((ShadowChange::Allowed, denial.reason.code())),
            (Ok(()), Ok(())) | (Err(_), Err(_)) => None,
        };
        self.count(generation, candidate, caller, instance, change);
    }

    fn count(
        &self,
        generation: &Generation,
        candidate: &Policy,
        caller: &Caller,
        instance: &InstanceName,
        change: Option<(ShadowChange, &'static str)>,
    ) {
        self.metrics.shadow_compared();
        let Some((change, reason)) = change else { return };
        // Names of the configuration only, so that no request can grow the metrics.
        let name = generation.policy().name(caller).or_else(|| candidate.name(caller));
        let (caller, instance) = (name.map_or("", |name| name.as_str()), instance.as_str());
        self.metrics.shadow_changed(caller, instance, change, reason);
        tracing::debug!(
            caller,
            instance,
            change = change.as_str(),
            reason,
            "The candidate policy would decide otherwise"
        );
    }
}

#[cfg(test)]
mod tests;
