#![expect(clippy::unnecessary_wraps, reason = "groups and tenant are optional in a request")]

use std::sync::Arc;

use super::*;
use crate::domain::{
    attributes::Attributes,
    caller::Proof,
    grant::{AnchoredRegex, AttributeRule, AttributeRules, EmailDomains, Pattern},
    groups::Group,
    instance::Instance,
    subject::Subject,
    tenant::Tenant,
};

fn instance() -> Arc<Instance> {
    Arc::new(Instance::for_test())
}

fn request() -> TokenRequest {
    TokenRequest {
        instance: instance(),
        subject: Subject {
            id: None,
            email: "ada@example.com".parse().unwrap(),
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
        },
        groups: groups(&["Customers", "Region EMEA"]),
        attributes: attributes("customer_id", "42"),
        tenant: tenant("acme", Attributes::new()),
        lifetime: None,
        return_to: None,
    }
}

fn groups(names: &[&str]) -> Option<Vec<Group>> {
    Some(names.iter().map(|name| Group::parse((*name).to_owned()).unwrap()).collect())
}

fn attributes(key: &str, value: &str) -> Attributes {
    [(key.to_owned(), value.to_owned())].into()
}

fn tenant(slug: &str, attributes: Attributes) -> Option<Tenant> {
    Some(Tenant { slug: slug.to_owned(), attributes })
}

fn lifetime(seconds: i64) -> Option<Lifetime> {
    Lifetime::parse(seconds, 0, Lifetime::MAX).ok()
}

fn grant() -> Grant {
    Grant {
        email_domains: EmailDomains::Only(["example.com".to_owned()].into()),
        groups: ["Customers", "Region *", "Admin*"].map(Pattern::parse).into(),
        attributes: AttributeRules {
            by_key: [("customer_id".to_owned(), AttributeRule::Integer)].into(),
            others: None,
        },
        required_attributes: ["customer_id".to_owned()].into(),
        tenants: vec![Pattern::parse("acme")],
        max_lifetime: lifetime(300),
        ..Grant::default()
    }
}

pub(super) fn caller(name: &str) -> Caller {
    Caller { id: CallerId::Named(name.parse().unwrap()), proof: Proof::Local }
}

fn policy(grant: Grant) -> Policy {
    let mut policy = Policy::default();
    policy.add("shop".parse().unwrap(), instance().name.clone(), grant).unwrap();
    policy
}

#[test]
fn requests_outside_the_grant_are_denied_with_the_reason_and_the_field() {
    use DenyReason::*;
    let other_instance = Arc::new(Instance { name: "other".parse().unwrap(), ..instance().as_ref().clone() });
    let stranger = Subject { email: "eve@sub.example.com".parse().unwrap(), ..request().subject };
    let two_attributes: Attributes =
        [attributes("customer_id", "1"), attributes("role", "x")].into_iter().flatten().collect();
    for (reason, field, request) in [
        (NoGrant, "instance", TokenRequest { instance: other_instance, ..request() }),
        (EmailDomainNotGranted, "user.email", TokenRequest { subject: stranger, ..request() }),
        (GroupNotGranted, "groups.names[1]", TokenRequest { groups: groups(&["Customers", "customers"]), ..request() }),
        (
            AdministratorsNotGranted,
            "groups.names[0]",
            TokenRequest { groups: groups(&["Administrators"]), ..request() },
        ),
        (AttributeNotGranted, "attributes[\"role\"]", TokenRequest { attributes: two_attributes, ..request() }),
        (
            AttributeValueNotGranted,
            "attributes[\"customer_id\"]",
            TokenRequest { attributes: attributes("customer_id", "1 OR 1=1"), ..request() },
        ),
        (
            RequiredAttributeMissing,
            "attributes[\"customer_id\"]",
            TokenRequest { attributes: Attributes::new(), ..request() },
        ),
        (TenantNotGranted, "tenant.slug", TokenRequest { tenant: tenant("acme2", Attributes::new()), ..request() }),
        (
            AttributeNotGranted,
            "tenant.attributes[\"tier\"]",
            TokenRequest { tenant: tenant("acme", attributes("tier", "1")), ..request() },
        ),
        (TenantNotGranted, "tenant", TokenRequest { tenant: None, ..request() }),
        (LifetimeTooLong, "lifetime", TokenRequest { lifetime: lifetime(301), ..request() }),
    ] {
        match policy(grant()).decide(&caller("shop"), request) {
            Decision::Deny(denial) => assert_eq!(denial, deny(reason, field)),
            Decision::Allow(_) => panic!("allowed: {}", reason.code()),
        }
    }
    let decision = policy(grant()).decide(&caller("another"), request());
    assert!(matches!(decision, Decision::Deny(Denial { reason: NoGrant, .. })));
}

#[test]
fn what_the_grant_covers_is_allowed_and_the_default_lifetime_yields_to_it() {
    for (asked, granted) in [(None, 300), (lifetime(300), 300), (lifetime(60), 60)] {
        let request = TokenRequest { lifetime: asked, ..request() };
        match policy(grant()).decide(&caller("shop"), request.clone()) {
            Decision::Allow(permit) => {
                assert_eq!((permit.lifetime().seconds(), permit.request()), (granted, &request));
            }
            Decision::Deny(denial) => panic!("{denial:?}"),
        }
    }
}

#[test]
fn a_required_attribute_that_is_blank_is_missing() {
    let any = AttributeRules { others: Some(AttributeRule::String), ..AttributeRules::default() };
    let request = TokenRequest { attributes: attributes("customer_id", " "), ..request() };
    let decision = policy(Grant { attributes: any, ..grant() }).decide(&caller("shop"), request);
    let expected = deny(DenyReason::RequiredAttributeMissing, "attributes[\"customer_id\"]");
    assert!(matches!(decision, Decision::Deny(denial) if denial == expected));
}

#[test]
fn no_tenant_is_granted_by_its_own_switch() {
    let request = TokenRequest { tenant: None, ..request() };
    for grant in [Grant { allow_no_tenant: true, ..grant() }, Grant { tenants: Vec::new(), ..grant() }] {
        assert!(matches!(policy(grant).decide(&caller("shop"), request.clone()), Decision::Allow(_)));
    }
}

#[test]
fn an_identity_is_the_nearest_callers() {
    let mut policy = policy(grant());
    for (name, pattern) in
        [("shop", "spiffe://a.org/ns/shop/*"), ("all", "spiffe://a.org/*"), ("web", "spiffe://a.org/ns/shop/web")]
    {
        policy.recognise(name.parse().unwrap(), pattern.parse().unwrap());
    }
    for (id, name) in [
        ("spiffe://a.org/ns/shop/web", Some("web")),
        ("spiffe://a.org/ns/shop/x/y", Some("shop")),
        ("spiffe://a.org/ns/shopping", Some("all")),
        ("spiffe://b.org/ns/shop/web", None),
        ("web.shop", None),
    ] {
        let caller = Caller { id: CallerId::Proven(id.parse().unwrap()), proof: Proof::Mtls };
        assert_eq!(policy.name(&caller).map(CallerName::as_str), name, "{id}");
    }
}

#[test]
fn people_are_of_the_callers_own_directory_unless_it_is_given_another() {
    let directory = |policy: &Policy| match policy.decide(&caller("shop"), request()) {
        Decision::Allow(permit) => permit.directory().as_str().to_owned(),
        Decision::Deny(denial) => panic!("{denial:?}"),
    };
    let mut policy = policy(grant());
    assert_eq!(directory(&policy), "shop");
    policy.set_directory("shop".parse().unwrap(), "people".parse().unwrap());
    assert_eq!(directory(&policy), "people");
}

#[test]
fn administrators_need_their_own_switch() {
    let request = TokenRequest { groups: groups(&["Administrators"]), ..request() };
    let decision = policy(Grant { allow_administrators: true, ..grant() }).decide(&caller("shop"), request);
    assert!(matches!(decision, Decision::Allow(_)));
}

#[test]
fn the_default_grant_allows_status_checks_and_no_token() {
    let checks = |grant| policy(grant).decide_status_check(&caller("shop"), &instance().name);
    assert_eq!(checks(Grant::default()), Ok(()));
    let denied = deny(DenyReason::StatusCheckNotGranted, "instance");
    assert_eq!(checks(Grant { may_check_status: false, ..Grant::default() }), Err(denied));
    assert!(matches!(policy(Grant::default()).decide(&caller("shop"), request()), Decision::Deny(_)));
}

#[test]
fn a_second_grant_on_one_instance_is_refused() {
    let mut policy = policy(grant());
    assert_eq!(policy.add("shop".parse().unwrap(), instance().name.clone(), grant()), Err(SecondGrant));
}

#[test]
fn the_deny_list_outweighs_what_the_grant_covers() {
    let shop: CallerName = "shop".parse().unwrap();
    let list = |text: &str| [text.to_owned()].into();
    let caller = Caller::new(CallerId::Named(shop.clone()), Proof::Local);
    let mut asked = request();
    asked.subject.id = Some("7".to_owned());
    for (denied, expected) in [
        (Denied { emails: list("ada@example.com"), ..Denied::default() }, Some(DenyReason::UserDenied)),
        (Denied { user_ids: list("7"), ..Denied::default() }, Some(DenyReason::UserDenied)),
        (Denied { tenants: list("acme"), ..Denied::default() }, Some(DenyReason::TenantDenied)),
        (Denied { callers: [shop.clone()].into(), ..Denied::default() }, Some(DenyReason::CallerDenied)),
        (Denied { emails: list("eve@example.com"), ..Denied::default() }, None),
    ] {
        let mut policy = Policy::new(denied);
        policy.add(shop.clone(), "main".parse().unwrap(), grant()).unwrap();
        let reason = match policy.decide(&caller, asked.clone()) {
            Decision::Allow(_) => None,
            Decision::Deny(denial) => Some(denial.reason),
        };
        assert_eq!(reason, expected);
    }
}

#[test]
fn a_denied_tenant_is_denied_however_metabase_may_find_it() {
    let shop: CallerName = "shop".parse().unwrap();
    let mut policy = Policy::new(Denied { tenants: ["acme".to_owned()].into(), ..Denied::default() });
    let of_every_tenant = Grant { tenants: vec![Pattern::parse("*")], ..grant() };
    policy.add(shop.clone(), "main".parse().unwrap(), of_every_tenant).unwrap();
    let caller = Caller::new(CallerId::Named(shop), Proof::Local);
    for (slug, is_denied) in [("acme", true), ("ACME", true), ("acme ", true), ("ácme", true), ("acme2", false)] {
        let asked = TokenRequest { tenant: tenant(slug, Attributes::new()), ..request() };
        let decision = policy.decide(&caller, asked);
        let found = matches!(decision, Decision::Deny(denial) if denial.reason == DenyReason::TenantDenied);
        assert_eq!(found, is_denied, "{slug:?}");
    }
}

#[test]
fn rates_are_told_with_the_caller_and_the_instance_they_are_for() {
    let rate =
        |per_second: u32| Some(Rate { per_second: per_second.try_into().unwrap(), burst: 9.try_into().unwrap() });
    let mut policy = Policy::default();
    for (caller, instance, rate) in [("shop", "main", rate(1)), ("shop", "other", rate(2)), ("cron", "main", None)] {
        policy.add(caller.parse().unwrap(), instance.parse().unwrap(), Grant { rate, ..grant() }).unwrap();
    }
    let rates =
        policy.rates().map(|(caller, instance, rate)| (caller.as_str(), instance.as_str(), rate.per_second.get()));
    let mut rates: Vec<_> = rates.collect();
    rates.sort_unstable();
    assert_eq!(rates, [("shop", "main", 1), ("shop", "other", 2)]);
}

/// Equal grants are kept once. If grants that differ were taken for equal, one caller would have another's.
#[test]
fn grants_that_differ_in_an_expression_alone_stay_apart() {
    let of = |expression: &str| {
        let rule = AttributeRule::Regex(AnchoredRegex::parse(expression).unwrap());
        Grant {
            attributes: AttributeRules { by_key: [("customer_id".to_owned(), rule)].into(), others: None },
            ..grant()
        }
    };
    assert!(of("[0-9]+") == of("[0-9]+") && of("[0-9]+") != of("[a-z]+"));
    let mut policy = Policy::default();
    for (name, expression) in [("shop", "[0-9]+"), ("cron", "[a-z]+")] {
        policy.add(name.parse().unwrap(), "main".parse().unwrap(), of(expression)).unwrap();
    }
    let is_allowed = |name: &str| {
        let caller = Caller::new(CallerId::Named(name.parse().unwrap()), Proof::Local);
        matches!(policy.decide(&caller, request()), Decision::Allow(_))
    };
    assert!(is_allowed("shop") && !is_allowed("cron"));
}
