use super::*;
use crate::{
    application::{
        generation::Generation,
        testing::{ada, instance, policy, shop, with_key},
    },
    domain::{
        grant::{EmailDomains, Grant},
        lifetime::Lifetime,
    },
};

/// The metrics after something was compared, as far as they are about that: how often, and what would change.
fn counted(ours: Policy, theirs: Option<Policy>, compare: impl Fn(&Shadow, &Generation)) -> (bool, Vec<String>) {
    let metrics = Arc::new(Metrics::default());
    let generation = Generation::new(vec![with_key(instance("main"))], ours).with_candidate(theirs);
    compare(&Shadow::new(Arc::clone(&metrics)), &generation);
    let text = metrics.encode();
    let changes = text.lines().filter(|line| line.starts_with("metabase_token_service_shadow_changes_total{"));
    (text.contains("shadow_decisions_total 1"), changes.map(str::to_owned).collect())
}

fn change(change: &str, reason: &str) -> Vec<String> {
    let labels = format!("caller=\"shop\",metabase=\"main\",change=\"{change}\",reason=\"{reason}\"");
    vec![format!("metabase_token_service_shadow_changes_total{{{labels}}} 1")]
}

fn everything() -> Policy {
    policy(Grant::unrestricted())
}

fn nobody() -> Policy {
    policy(Grant { email_domains: EmailDomains::default(), may_check_status: false, ..Grant::unrestricted() })
}

fn briefly() -> Policy {
    policy(Grant { max_lifetime: Some(Lifetime::MIN), ..Grant::unrestricted() })
}

#[test]
fn a_decision_that_the_candidate_would_change_is_counted_and_stands() {
    for (ours, theirs, is_allowed, is_compared, changes) in [
        (everything(), None, true, false, vec![]),
        (everything(), Some(everything()), true, true, vec![]),
        (everything(), Some(nobody()), true, true, change("denied", "EMAIL_DOMAIN_NOT_GRANTED")),
        (everything(), Some(briefly()), true, true, change("lifetime", "")),
        (nobody(), Some(everything()), false, true, change("allowed", "EMAIL_DOMAIN_NOT_GRANTED")),
        (nobody(), Some(nobody()), false, true, vec![]),
    ] {
        let counted = counted(ours, theirs, |shadow, generation| {
            let request = TokenRequest::parse(ada(), Arc::new(instance("main"))).unwrap();
            let decision = shadow.decide(generation, &shop(), request);
            assert_eq!(matches!(decision, Decision::Allow(_)), is_allowed);
        });
        assert_eq!(counted, (is_compared, changes));
    }
}

#[test]
fn a_caller_without_a_grant_is_compared_by_what_it_asked_for() {
    let malformed = UnverifiedRequest::default();
    for (theirs, unverified, is_compared, changes) in [
        (None, ada(), false, vec![]),
        (Some(Policy::default()), ada(), true, vec![]),
        (Some(nobody()), ada(), true, vec![]),
        (Some(everything()), malformed, true, vec![]),
        (Some(everything()), ada(), true, change("allowed", "NO_GRANT")),
    ] {
        let counted = counted(Policy::default(), theirs, |shadow, generation| {
            let one = Arc::new(instance("main"));
            let denial = generation.policy().decide_access(&shop(), &one.name).unwrap_err();
            shadow.refused(generation, &shop(), &one, &denial, unverified.clone());
        });
        assert_eq!(counted, (is_compared, changes));
    }
}

#[test]
fn status_checks_are_compared_too() {
    for (ours, theirs, is_compared, changes) in [
        (everything(), None, false, vec![]),
        (everything(), Some(everything()), true, vec![]),
        (nobody(), Some(nobody()), true, vec![]),
        (everything(), Some(nobody()), true, change("denied", "STATUS_CHECK_NOT_GRANTED")),
        (nobody(), Some(everything()), true, change("allowed", "STATUS_CHECK_NOT_GRANTED")),
    ] {
        let counted = counted(ours, theirs, |shadow, generation| {
            let name = instance("main").name;
            let decided = generation.policy().decide_status_check(&shop(), &name);
            shadow.status_check(generation, &shop(), &name, &decided);
        });
        assert_eq!(counted, (is_compared, changes));
    }
}
