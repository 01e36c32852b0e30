use super::*;
use crate::domain::tenant::Tenancy;

fn instance(one_account: OneAccount, tenancy: Tenancy) -> Instance {
    let url = Some("https://bi.example.com".parse().unwrap());
    Instance { url, tenancy, one_account, ..Instance::for_test() }
}

fn request() -> UnverifiedRequest {
    let user = UnverifiedUser {
        id: "7".to_owned(),
        email: "Ada@example.com".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
    };
    UnverifiedRequest { user: Some(user), ..UnverifiedRequest::default() }
}

fn parse(unverified: UnverifiedRequest) -> Result<TokenRequest, InvalidRequest> {
    TokenRequest::parse(unverified, Arc::new(instance(OneAccount::Enforce, Tenancy::Optional)))
}

/// The paths of the fields whose rules the request breaks.
fn fields(unverified: UnverifiedRequest) -> Vec<String> {
    match parse(unverified) {
        Ok(_) => Vec::new(),
        Err(InvalidRequest::Violations(violations)) => violations.into_iter().map(|one| one.field).collect(),
        Err(InvalidRequest::UrlNotConfigured) => panic!("the instance has a URL"),
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

fn attributes(count: usize) -> Attributes {
    numbered(count).into_iter().map(|key| (key, "x".to_owned())).collect()
}

#[test]
fn what_is_asked_for_is_what_is_decided_about() {
    let groups = ["Customers", "Region EMEA", "Customers"].map(str::to_owned);
    let asked = UnverifiedRequest {
        groups: Some(groups.into()),
        attributes: attributes(2),
        tenant: Some(("acme".to_owned(), attributes(1))),
        lifetime: Some((60, 0)),
        return_to: Some("/dashboard/1".to_owned()),
        ..request()
    };
    let parsed = parse(asked).unwrap();
    assert_eq!((parsed.subject.id.as_deref(), parsed.subject.email.as_str()), (Some("7"), "ada@example.com"));
    assert_eq!((parsed.subject.first_name.as_str(), parsed.subject.last_name.as_str()), ("Ada", "Lovelace"));
    // Once each.
    let groups: Vec<_> = parsed.groups.iter().flatten().map(Group::as_str).collect();
    assert_eq!(groups, ["Customers", "Region EMEA"]);
    assert_eq!(parsed.attributes, attributes(2));
    assert_eq!(parsed.tenant, Some(Tenant { slug: "acme".to_owned(), attributes: attributes(1) }));
    assert_eq!(parsed.lifetime, Some(Lifetime::MIN));
    assert_eq!(parsed.return_to.as_ref().map(ReturnTo::as_str), Some("/dashboard/1"));
}

#[test]
fn every_broken_rule_is_told_at_once_with_the_path_of_its_field() {
    let asked = UnverifiedRequest {
        user: Some(UnverifiedUser { id: " ".to_owned(), ..UnverifiedUser::default() }),
        groups: Some(vec!["Customers".to_owned(), String::new()]),
        attributes: [("exp".to_owned(), String::new())].into(),
        tenant: Some((String::new(), [("@x".to_owned(), String::new())].into())),
        lifetime: Some((59, 0)),
        return_to: Some("//evil.example".to_owned()),
    };
    let expected = [
        "user.id",
        "user.email",
        "user.first_name",
        "user.last_name",
        "groups.names[1]",
        "attributes[\"exp\"]",
        "tenant.slug",
        "tenant.attributes[\"@x\"]",
        "lifetime",
        "return_to",
    ];
    assert_eq!(fields(asked), expected);
    assert_eq!(fields(UnverifiedRequest { user: None, ..request() }), ["user"]);
}

#[test]
fn a_hundred_groups_and_attributes_are_enough() {
    for (asked, field) in [
        (UnverifiedRequest { groups: Some(numbered(101)), ..request() }, "groups.names"),
        (UnverifiedRequest { groups: Some(numbered(103)), ..request() }, "groups.names"),
        (UnverifiedRequest { attributes: attributes(101), ..request() }, "attributes"),
        (UnverifiedRequest { attributes: attributes(103), ..request() }, "attributes"),
        (UnverifiedRequest { tenant: Some(("a".to_owned(), attributes(101))), ..request() }, "tenant.attributes"),
    ] {
        assert_eq!(fields(asked), [field]);
    }
    let tenant = Some(("acme".to_owned(), attributes(100)));
    let asked = UnverifiedRequest { groups: Some(numbered(100)), attributes: attributes(100), tenant, ..request() };
    assert_eq!(parse(asked).unwrap().groups.map(|groups| groups.len()), Some(100));
}

#[test]
fn a_person_without_an_identifier_passes_where_none_is_needed() {
    for (id, one_account, expected) in [
        ("", OneAccount::Off, Ok(None)),
        ("", OneAccount::Lenient, Ok(None)),
        ("7", OneAccount::Off, Ok(Some("7"))),
        ("", OneAccount::Report, Err(NO_USER_ID)),
        ("\u{a0}", OneAccount::Enforce, Err(NO_USER_ID)),
        ("7\n", OneAccount::Off, Err("must not contain control characters (found U+000A)")),
    ] {
        let mut asked = request();
        asked.user = asked.user.map(|user| UnverifiedUser { id: id.to_owned(), ..user });
        let parsed = TokenRequest::parse(asked, Arc::new(instance(one_account, Tenancy::Optional)));
        let expected = expected.map(|id| id.map(str::to_owned)).map_err(|rule| {
            InvalidRequest::Violations(vec![Violation { field: "user.id".to_owned(), rule: rule.to_owned() }])
        });
        assert_eq!(parsed.map(|request| request.subject.id), expected, "{id:?} {one_account:?}");
    }
}

#[test]
fn groups_that_are_absent_are_not_no_groups() {
    let groups = |groups| parse(UnverifiedRequest { groups, ..request() }).unwrap().groups;
    assert_eq!((groups(None), groups(Some(Vec::new()))), (None, Some(Vec::new())));
}

#[test]
fn a_return_to_needs_the_url_of_the_instance() {
    let without = Instance { url: None, ..instance(OneAccount::Off, Tenancy::Optional) };
    let asked = UnverifiedRequest { return_to: Some("/".to_owned()), ..request() };
    assert_eq!(TokenRequest::parse(asked, Arc::new(without.clone())), Err(InvalidRequest::UrlNotConfigured));
    assert!(TokenRequest::parse(request(), Arc::new(without)).is_ok());
}

#[test]
fn a_tenant_is_named_where_the_instance_has_tenants() {
    let tenant = |slug: &str| Some((slug.to_owned(), Attributes::new()));
    for (tenancy, tenant, is_ok) in [
        (Tenancy::Forbidden, None, true),
        (Tenancy::Forbidden, tenant("acme"), false),
        (Tenancy::Required, None, false),
        (Tenancy::Required, tenant("acme"), true),
        (Tenancy::Required, tenant(" "), false),
    ] {
        let asked = UnverifiedRequest { tenant, ..request() };
        assert_eq!(
            TokenRequest::parse(asked, Arc::new(instance(OneAccount::Off, tenancy))).is_ok(),
            is_ok,
            "{tenancy:?}"
        );
    }
}
