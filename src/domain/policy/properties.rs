//! Whatever the request and the grant: what is issued never exceeds the grant, and narrowing a grant never allows more.

use std::cell::Cell;

use proptest::{
    bool::weighted,
    collection::btree_map,
    option,
    prelude::{Just, Strategy, any},
    sample::{select, subsequence},
    test_runner::{Config, TestRunner},
};
use serde_json::Value;

use super::{tests::caller, *};
use crate::domain::{
    attributes::Attributes,
    claims::Claims,
    grant::{AttributeRule, AttributeRules, EmailDomains, Pattern},
    instance::Instance,
    time::UnixTime,
    token_request::{UnverifiedRequest, UnverifiedUser},
};

const CASES: u32 = 4000;

fn owned<T: AsRef<str>>(texts: &[T]) -> Vec<String> {
    texts.iter().map(|text| text.as_ref().to_owned()).collect()
}

fn some_of(texts: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    subsequence(texts.to_vec(), 0..=texts.len()).prop_map(|texts| owned(&texts))
}

fn requests() -> impl Strategy<Value = UnverifiedRequest> {
    let user =
        select(vec!["ada@example.com", "bob@example.org", "eve@sub.example.com"]).prop_map(|email| UnverifiedUser {
            id: String::new(),
            email: email.to_owned(),
            first_name: "A".to_owned(),
            last_name: "B".to_owned(),
        });
    let groups = option::of(some_of(&["Customers", "Region A", "Region B", "Administrators", "administrators "]));
    let value = || select(vec!["1", "1", "emea", "emea", "x", "", " "]).prop_map(str::to_owned);
    let attributes = btree_map(
        select(vec!["id", "id", "region", "region", "plan", "plan", "plan", "email"]).prop_map(str::to_owned),
        value(),
        0..3,
    );
    let tier = btree_map(Just("tier".to_owned()), value(), 0..2);
    let tenant = option::of((select(vec!["acme", "other"]).prop_map(str::to_owned), tier));
    let lifetime = option::of(select(vec![60, 300, 900, 3600]).prop_map(|seconds| (seconds, 0)));
    (user, groups, attributes, tenant, lifetime).prop_map(|(user, groups, attributes, tenant, lifetime)| {
        UnverifiedRequest { user: Some(user), groups, attributes, tenant, lifetime, return_to: None }
    })
}

fn grants() -> impl Strategy<Value = Grant> {
    let domains = option::weighted(0.5, some_of(&["example.com", "example.org"]));
    let groups = option::weighted(0.5, some_of(&["Customers", "Region *", "Region A", "Admin*"]));
    let rules = (any::<[bool; 3]>(), weighted(0.7));
    let required = option::weighted(0.3, some_of(&["id", "region"]));
    let tenants = some_of(&["acme", "*", "o*"]);
    let max = option::of(select(vec![60, 600, 3600]));
    let switches = any::<[bool; 3]>();
    (domains, groups, rules, required, tenants, max, switches).prop_map(
        |(domains, groups, (own, others), required, tenants, max, [administrators, no_tenant, tier])| {
            let rule_of = [
                ("id", AttributeRule::Integer),
                ("region", AttributeRule::OneOf(["emea".to_owned()].into())),
                ("plan", AttributeRule::String),
            ];
            let by_key =
                rule_of.into_iter().zip(own).filter(|(_, is_on)| *is_on).map(|((key, rule), _)| (key.to_owned(), rule));
            let tier = tier.then(|| ("tier".to_owned(), AttributeRule::Integer));
            Grant {
                email_domains: domains
                    .map_or(EmailDomains::Any, |domains| EmailDomains::Only(domains.into_iter().collect())),
                groups: groups.unwrap_or_else(|| owned(&["*"])).iter().map(|text| Pattern::parse(text)).collect(),
                allow_administrators: administrators,
                attributes: AttributeRules {
                    by_key: by_key.collect(),
                    others: others.then_some(AttributeRule::String),
                },
                required_attributes: required.into_iter().flatten().collect(),
                tenants: tenants.iter().map(|text| Pattern::parse(text)).collect(),
                allow_no_tenant: no_tenant,
                tenant_attributes: AttributeRules { by_key: tier.into_iter().collect(), others: None },
                max_lifetime: max.and_then(|seconds| Lifetime::parse(seconds, 0, Lifetime::MAX).ok()),
                ..Grant::default()
            }
        },
    )
}

fn instances() -> impl Strategy<Value = Instance> {
    select(vec![Tenancy::Forbidden, Tenancy::Optional, Tenancy::Required])
        .prop_map(|tenancy| Instance { tenancy, ..Instance::for_test() })
}

/// What the service decides: none for a request that is no request.
fn decide(grant: Grant, instance: &Instance, request: UnverifiedRequest) -> Option<Decision> {
    let mut policy = Policy::default();
    policy.add("shop".parse().unwrap(), instance.name.clone(), grant).unwrap();
    let request = TokenRequest::parse(request, instance.clone().into()).ok()?;
    Some(policy.decide(&caller("shop"), request))
}

/// The rules in other words, over the payload that would be signed.
fn assert_within(payload: &Value, grant: &Grant, tenancy: Tenancy) {
    let payload = payload.as_object().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let named = |patterns: &[Pattern], name: &str| {
        patterns.iter().any(|pattern| match pattern {
            Pattern::Exact(exact) => name == exact,
            Pattern::Prefix(prefix) => name.len() >= prefix.len() && &name[..prefix.len()] == prefix,
        })
    };
    let is_digits = |value: &str| matches!(value, "1");
    let domain = text(&payload["email"]).split('@').next_back().unwrap().to_owned();
    if let EmailDomains::Only(domains) = &grant.email_domains {
        assert!(domains.contains(&domain), "{domain}");
    }
    for group in payload.get("groups").and_then(Value::as_array).into_iter().flatten().map(text) {
        assert!(named(&grant.groups, &group), "{group}");
        let is_administrators = group.trim().eq_ignore_ascii_case("administrators");
        assert!(grant.allow_administrators || !is_administrators, "{group}");
    }
    let known = ["email", "first_name", "last_name", "groups", "@tenant", "@tenant.attributes", "iat", "exp"];
    let attributes: Attributes = payload
        .iter()
        .filter(|(key, _)| !known.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), text(value)))
        .collect();
    for (key, value) in &attributes {
        let has_rule = grant.attributes.by_key.contains_key(key);
        assert!(has_rule || grant.attributes.others.is_some(), "{key}");
        let is_of_its_type = match key.as_str() {
            "id" if has_rule => is_digits(value),
            "region" if has_rule => value == "emea",
            _ => true,
        };
        assert!(is_of_its_type, "{key}={value}");
    }
    for key in &grant.required_attributes {
        assert!(attributes.get(key).is_some_and(|value| !value.trim().is_empty()), "{key} in {attributes:?}");
    }
    match payload.get("@tenant") {
        Some(slug) => {
            assert!(tenancy != Tenancy::Forbidden && named(&grant.tenants, slug.as_str().unwrap()), "{slug}");
            for value in payload.get("@tenant.attributes").and_then(Value::as_object).into_iter().flatten() {
                assert!(
                    grant.tenant_attributes.by_key.contains_key(value.0) && is_digits(value.1.as_str().unwrap()),
                    "{value:?}"
                );
            }
        }
        None => assert!(tenancy != Tenancy::Required),
    }
    let lifetime = payload["exp"].as_i64().unwrap() - payload["iat"].as_i64().unwrap();
    let most = grant.max_lifetime.map_or(3600, |max| i64::from(max.seconds()));
    assert!((60..=most).contains(&lifetime), "{lifetime}");
}

#[test]
fn what_is_issued_never_exceeds_the_grant() {
    let (allowed, denied) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    runner
        .run(&(grants(), instances(), requests()), |(grant, instance, request)| {
            match decide(grant.clone(), &instance, request) {
                Some(Decision::Allow(permit)) => {
                    allowed.set(allowed.get() + 1);
                    let claims =
                        Claims::new(permit.request(), permit.lifetime(), UnixTime::from_seconds(1_700_000_000));
                    assert_within(&serde_json::to_value(claims).unwrap(), &grant, instance.tenancy);
                }
                Some(Decision::Deny(_)) => denied.set(denied.get() + 1),
                None => {}
            }
            Ok(())
        })
        .unwrap();
    // Otherwise the property says nothing.
    assert!(allowed.get() > CASES / 50 && denied.get() > CASES / 10, "{allowed:?} allowed, {denied:?} denied");
}

/// One step that takes something away.
fn narrowed(grant: &Grant, step: u8) -> Grant {
    let mut grant = grant.clone();
    match step % 10 {
        0 => {
            grant.email_domains = match grant.email_domains {
                EmailDomains::Any => EmailDomains::Only(["example.com".to_owned()].into()),
                EmailDomains::Only(domains) => EmailDomains::Only(domains.into_iter().skip(1).collect()),
            };
        }
        1 => _ = grant.groups.pop(),
        2 => grant.allow_administrators = false,
        3 => grant.attributes.others = None,
        4 => _ = grant.required_attributes.insert("region".to_owned()),
        // A grant without tenants is one for people without a tenant; the last one stays.
        5 if grant.tenants.len() > 1 => _ = grant.tenants.pop(),
        6 => grant.allow_no_tenant = false,
        7 => grant.max_lifetime = Lifetime::parse(60, 0, Lifetime::MAX).ok(),
        8 => grant.tenant_attributes.by_key.clear(),
        9 => {
            // Without a rule of its own, a key falls to the rule for every other: both have to go.
            grant.attributes.by_key.pop_first();
            grant.attributes.others = None;
        }
        _ => {}
    }
    grant
}

#[test]
fn narrowing_a_grant_never_allows_more() {
    let compared = Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    runner
        .run(&(grants(), instances(), requests(), any::<u8>()), |(wide, instance, request, step)| {
            let narrow = narrowed(&wide, step);
            if let Some(Decision::Allow(less)) = decide(narrow, &instance, request.clone()) {
                compared.set(compared.get() + 1);
                match decide(wide, &instance, request) {
                    Some(Decision::Allow(more)) => assert!(more.lifetime() >= less.lifetime()),
                    denied => panic!("step {step}: only the narrowed grant allows it: {denied:?}"),
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(compared.get() > CASES / 50, "{compared:?}");
}
