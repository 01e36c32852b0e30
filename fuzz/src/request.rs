//! From bytes on the wire to a signed token: what is no request is refused with the names of fields, and what becomes a token says
//! what was asked for and nothing else, by [`crate::buddy`]'s reading.

use std::{collections::BTreeSet, sync::Arc};

use metabase_token_service::{
    domain::{
        policy::Decision,
        token_request::{InvalidRequest, TokenRequest},
    },
    transport::{fuzzing, proto::IssueMetabaseTokenRequest},
};
use prost::Message as _;

use crate::{
    buddy, judge,
    service::{NOW, SECRET, SERVICE, SETTINGS, now},
};

const FIELDS: [&str; 6] = ["user", "groups.names", "attributes", "tenant", "lifetime", "return_to"];

pub fn check(input: &[u8]) {
    let message = IssueMetabaseTokenRequest::decode(input);
    let request = fuzzing::issue_request(input);
    assert_eq!(message.is_ok(), request.is_some());
    let (Ok(message), Some((name, unverified))) = (message, request) else { return };
    assert_eq!(message.instance, name);
    let instance = match name.as_str() {
        "mixed" => 1,
        "tenants" => 2,
        _ => 0,
    };
    let request = match TokenRequest::parse(unverified, Arc::clone(&SERVICE.instances[instance])) {
        Ok(request) => request,
        Err(InvalidRequest::UrlNotConfigured) => {
            assert!(instance == 2 && message.return_to.is_some());
            return;
        }
        Err(InvalidRequest::Violations(violations)) => {
            assert!(!violations.is_empty());
            for violation in violations {
                assert!(FIELDS.iter().any(|field| violation.field.starts_with(field)), "{}", violation.field);
                assert!(!violation.field.contains(char::is_control) && violation.field.len() < 600);
                assert!(!violation.rule.contains(char::is_control) && violation.rule.len() < 400);
            }
            return;
        }
    };
    match SERVICE.policy.decide(&SERVICE.caller, request) {
        Decision::Allow(permit) => {
            if let Ok(signed) = SERVICE.key.sign(&permit, now()) {
                says_what_was_asked(signed.token.expose(), message, instance);
            }
        }
        // Everything is granted but Administrators.
        Decision::Deny(denial) => assert_eq!(denial.reason.code(), "ADMINISTRATORS_NOT_GRANTED"),
    }
}

fn says_what_was_asked(token: &str, message: IssueMetabaseTokenRequest, instance: usize) {
    judge::compare(token, instance);
    let verdict = buddy::judge(token, SECRET.as_bytes(), NOW, &SETTINGS[instance]);
    assert_eq!(verdict.reason, "ACCEPTED");
    let reading = verdict.reading.expect("it was accepted");
    let user = message.user.expect("without a person there is no token");
    assert_eq!(reading.email, user.email.to_ascii_lowercase());
    assert_eq!((reading.first_name, reading.last_name), (user.first_name, user.last_name));
    let groups = |names: Vec<String>| names.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(reading.groups.map(groups), message.groups.map(|list| groups(list.names)));
    assert_eq!(reading.attributes, message.attributes);
    assert_eq!(reading.tenant, message.tenant.map(|tenant| (tenant.slug, tenant.attributes)));
    let lifetime = message.lifetime.map_or(600, |lifetime| lifetime.seconds);
    assert!((60..=3600).contains(&lifetime), "{lifetime}");
    assert_eq!((reading.iat, reading.exp), (Some(NOW - 5), Some(NOW - 5 + lifetime)));
}
