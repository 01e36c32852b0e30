use super::*;
use crate::{
    application::testing::{NOW, instance, keys, policy, shop, with_key},
    domain::{
        caller::Proof,
        grant::{Grant, Rate},
        rotation::Evidence,
    },
};

fn named(name: &str) -> InstanceWithKey {
    with_key(instance(name))
}

fn default(name: &str) -> InstanceWithKey {
    with_key(Instance { is_default: true, ..instance(name) })
}

fn name_of(found: Result<&InstanceWithKey, NoInstance>) -> Result<&str, NoInstance> {
    found.map(|one| one.instance.name.as_str())
}

#[test]
fn the_empty_name_stands_for_the_only_or_the_default_instance() {
    for (instances, expected) in [
        (vec![named("main")], Ok("main")),
        (vec![named("main"), named("other")], Err(NoInstance::Ambiguous)),
        (vec![named("main"), default("other")], Ok("other")),
        (vec![], Err(NoInstance::Ambiguous)),
    ] {
        let generation = Generation::new(instances, Policy::default());
        assert_eq!(name_of(generation.instance("")), expected);
        assert_eq!(name_of(generation.instance("unknown")), Err(NoInstance::Unknown));
    }
}

#[test]
fn instances_are_found_by_their_names() {
    let generation = Generation::new(vec![named("main"), named("other")], Policy::default());
    let names: std::collections::BTreeSet<_> = generation.instances().map(|one| one.instance.name.as_str()).collect();
    assert_eq!(names, ["main", "other"].into());
    let found = |name: &str| generation.instance_named(&name.parse().unwrap()).map(|one| one.instance.name.as_str());
    assert_eq!(
        (found("other"), found("third"), name_of(generation.instance("main"))),
        (Some("other"), None, Ok("main"))
    );
}

#[test]
fn only_who_is_granted_something_is_admitted_and_only_within_its_rate() {
    let rate = Some(Rate { per_second: NonZeroU32::MIN, burst: 2.try_into().unwrap() });
    let generation = Generation::new(vec![named("main"), named("other")], policy(Grant { rate, ..Grant::default() }));
    let reason = |instance: &str| match generation.admit(&shop(), instance) {
        Ok(found) => found.instance.name.to_string(),
        Err(NotAdmitted::Denied(denial)) => denial.reason.code().to_owned(),
        Err(NotAdmitted::NoInstance(none)) => format!("{none:?}"),
        Err(NotAdmitted::RateExceeded(exceeded)) => {
            assert!(!exceeded.retry_after.is_zero() && exceeded.retry_after <= Duration::from_secs(1));
            "later".to_owned()
        }
    };
    // What is not granted counts for nothing.
    let answers = ["other", "main", "unknown", "main", "main"].map(reason);
    assert_eq!(answers, ["NO_GRANT", "main", "Unknown", "main", "later"]);
}

#[test]
fn a_stranger_is_told_apart_from_a_caller_without_a_grant() {
    let generation = Generation::new(vec![named("main")], policy(Grant::default()));
    for (id, reason) in [
        (CallerId::Proven("spiffe://example.org/a".parse().unwrap()), DenyReason::UnknownCaller),
        (CallerId::Named("other".parse().unwrap()), DenyReason::NoGrant),
    ] {
        let admitted = generation.admit(&Caller::new(id, Proof::Mtls), "main").map(|_| ());
        assert!(matches!(admitted, Err(NotAdmitted::Denied(denial)) if denial.reason == reason));
    }
}

#[test]
fn a_candidate_decides_nothing() {
    let generation = Generation::new(vec![named("main")], policy(Grant::default()));
    assert!(generation.candidate().is_none());
    let generation = generation.with_candidate(Some(Policy::default()));
    let may = |policy: &Policy| policy.decide_access(&shop(), &"main".parse().unwrap()).is_ok();
    assert_eq!((may(generation.policy()), generation.candidate().map(may)), (true, Some(false)));
    assert!(generation.admit(&shop(), "main").is_ok());
}

#[test]
fn generations_are_counted_from_one_and_changes_are_told() {
    let generations = Generations::new(Generation::new(vec![named("main")], Policy::default()));
    let changes = generations.changes();
    assert_eq!((generations.number(), generations.current().number(), changes.has_changed().unwrap()), (1, 1, false));
    let kept = generations.current_owned();
    for number in [2, 3] {
        let next = Generation::new(vec![named("other")], Policy::default());
        assert_eq!((generations.replace(next), generations.number()), (number, number));
        assert_eq!(generations.current().number(), number);
    }
    assert!(changes.has_changed().unwrap());
    // Whoever has begun with one ends with it.
    assert_eq!((kept.number(), name_of(kept.instance(""))), (1, Ok("main")));
    assert_eq!(name_of(generations.current().instance("")), Ok("other"));
}

/// Otherwise a reload would be a way around the rate.
#[test]
fn a_reload_gives_no_burst_away_unless_the_rate_is_another() {
    let of = |burst: u32| {
        let rate = Some(Rate { per_second: NonZeroU32::MIN, burst: burst.try_into().unwrap() });
        Generation::new(vec![named("main")], policy(Grant { rate, ..Grant::default() }))
    };
    let generations = Generations::new(of(1));
    let is_admitted = || generations.current().admit(&shop(), "main").is_ok();
    assert!(is_admitted() && !is_admitted());
    generations.replace(of(1));
    assert!(!is_admitted());
    generations.replace(of(2));
    assert!(is_admitted() && is_admitted() && !is_admitted());
}

#[test]
fn a_reload_keeps_what_is_known_of_metabase() {
    let one = named("main");
    let seen = one.keys.observe(NOW, Evidence::Proven, None, super::super::metabase::Refused::Expired, None);
    let generations = Generations::new(Generation::new(vec![one], Policy::default()));
    generations.replace(Generation::new(vec![named("main"), named("other")], Policy::default()));
    let generation = generations.current_owned();
    let seen_of = |name| generation.instance(name).unwrap().keys.seen().as_deref().copied();
    assert_eq!((seen_of("main"), seen_of("other")), (Some(seen), None));
    assert!(keys().seen().is_none());
}

#[test]
fn limiters_are_not_printed() {
    assert_eq!(format!("{:?}", Rates::default()), "Rates { .. }");
}
