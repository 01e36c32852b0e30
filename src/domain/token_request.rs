//! A request for a token, parsed as a whole: every rule it breaks comes back at once.

use std::{fmt::Display, sync::Arc};

use super::{
    account::OneAccount,
    attributes::{self, Attributes, InvalidAttribute, MAX_ATTRIBUTES},
    groups::{Group, MAX_GROUPS},
    instance::Instance,
    lifetime::Lifetime,
    return_to::ReturnTo,
    subject::{self, Email, MAX_USER_ID_CHARS, Subject},
    tenant::{MAX_SLUG_CHARS, Tenant},
    text,
};

/// A request as it came in: nothing in it has been checked.
#[derive(Clone, Default)]
#[cfg_attr(test, derive(Debug))]
pub struct UnverifiedRequest {
    /// The person.
    pub user: Option<UnverifiedUser>,
    /// Absent and empty differ.
    pub groups: Option<Vec<String>>,
    /// User attributes.
    pub attributes: Attributes,
    /// Slug and attributes of the tenant.
    pub tenant: Option<(String, Attributes)>,
    /// Seconds and nanoseconds.
    pub lifetime: Option<(i64, i32)>,
    /// Path or URL.
    pub return_to: Option<String>,
}

/// A person as they came in.
#[derive(Clone, Default)]
#[cfg_attr(test, derive(Debug))]
pub struct UnverifiedUser {
    /// The backend's identifier.
    pub id: String,
    /// E-mail address.
    pub email: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
}

/// A well-formed request for a token of one instance. Says nothing about whether the caller may have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    pub(crate) instance: Arc<Instance>,
    pub(crate) subject: Subject,
    pub(crate) groups: Option<Vec<Group>>,
    pub(crate) attributes: Attributes,
    pub(crate) tenant: Option<Tenant>,
    pub(crate) lifetime: Option<Lifetime>,
    pub(crate) return_to: Option<ReturnTo>,
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, with the names of the proto.
    pub field: String,
    /// The rule and the way out.
    pub rule: String,
}

/// Why a request was refused before anyone asked whether the caller may make it.
#[derive(Debug, PartialEq, Eq)]
pub enum InvalidRequest {
    /// Every rule it breaks, at least one.
    Violations(Vec<Violation>),
    /// `return_to` was given for an instance whose URL is not configured.
    UrlNotConfigured,
}

impl TokenRequest {
    /// # Errors
    /// Every rule that the request breaks, at once.
    pub fn parse(unverified: UnverifiedRequest, instance: Arc<Instance>) -> Result<Self, InvalidRequest> {
        let mut violations = Violations::default();
        let subject = parse_subject(unverified.user, instance.one_account, &mut violations);
        let groups = unverified.groups.map(|names| parse_groups(names, &mut violations));
        check_attributes(&unverified.attributes, "attributes", &mut violations, |key, value| {
            attributes::check_user_attribute(key, value, &instance.claim_names)
        });
        violations.take("tenant", instance.tenancy.check(unverified.tenant.is_some()));
        let tenant = unverified.tenant.map(|(slug, attributes)| parse_tenant(slug, attributes, &mut violations));
        let lifetime = unverified.lifetime.and_then(|(seconds, nanos)| {
            violations.take("lifetime", Lifetime::parse(seconds, nanos, instance.lifetimes.max))
        });
        let return_to = match (&unverified.return_to, &instance.url) {
            (Some(given), Some(url)) => violations.take("return_to", ReturnTo::parse(given, url)),
            (Some(_), None) | (None, _) => None,
        };

        // Without a subject there is at least the violation that says so.
        let Some(subject) = subject.filter(|_| violations.0.is_empty()) else {
            return Err(InvalidRequest::Violations(violations.0));
        };
        if unverified.return_to.is_some() && return_to.is_none() {
            return Err(InvalidRequest::UrlNotConfigured);
        }
        let attributes = unverified.attributes;
        Ok(Self { instance, subject, groups, attributes, tenant, lifetime, return_to })
    }
}

#[derive(Default)]
struct Violations(Vec<Violation>);

impl Violations {
    fn take<T, E: Display>(&mut self, field: impl Into<String>, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|rule| self.add(field, rule)).ok()
    }

    fn add(&mut self, field: impl Into<String>, rule: impl Display) {
        self.0.push(Violation { field: field.into(), rule: rule.to_string() });
    }
}

fn parse_subject(
    user: Option<UnverifiedUser>,
    one_account: OneAccount,
    violations: &mut Violations,
) -> Option<Subject> {
    let Some(user) = user else {
        violations.add("user", "must be given: the signed-in person the token is for");
        return None;
    };
    if one_account.needs_user_id() && user.id.trim().is_empty() {
        violations.add("user.id", NO_USER_ID);
    } else {
        violations.take("user.id", text::check(&user.id, MAX_USER_ID_CHARS));
    }
    let email = violations.take("user.email", user.email.parse::<Email>());
    let first_name = violations.take("user.first_name", subject::parse_name(user.first_name));
    let last_name = violations.take("user.last_name", subject::parse_name(user.last_name));
    let id = (!user.id.is_empty()).then_some(user.id);
    Some(Subject { id, email: email?, first_name: first_name?, last_name: last_name? })
}

const NO_USER_ID: &str = "must be given: your own stable identifier of the signed-in person, such as a primary key, by which the \
                          service sees that every person has a Metabase account of their own (the instance's `one_account_per_user`)";

fn parse_groups(names: Vec<String>, violations: &mut Violations) -> Vec<Group> {
    if names.len() > MAX_GROUPS {
        violations.add("groups.names", format!("must have at most {MAX_GROUPS} names, has {}", names.len()));
        return Vec::new();
    }
    let mut groups = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        match Group::parse(name) {
            Ok(group) if groups.contains(&group) => {}
            Ok(group) => groups.push(group),
            Err(rule) => violations.add(format!("groups.names[{index}]"), rule),
        }
    }
    groups
}

fn parse_tenant(slug: String, attributes: Attributes, violations: &mut Violations) -> Tenant {
    violations.take("tenant.slug", text::check_not_blank(&slug, MAX_SLUG_CHARS));
    check_attributes(&attributes, "tenant.attributes", violations, attributes::check_tenant_attribute);
    Tenant { slug, attributes }
}

fn check_attributes(
    attributes: &Attributes,
    field: &str,
    violations: &mut Violations,
    check: impl Fn(&str, &str) -> Result<(), InvalidAttribute>,
) {
    if attributes.len() > MAX_ATTRIBUTES {
        violations.add(field, format!("must have at most {MAX_ATTRIBUTES} entries, has {}", attributes.len()));
        return;
    }
    for (key, value) in attributes {
        if let Err(rule) = check(key, value) {
            violations.add(attributes::field(field, key), rule);
        }
    }
}

#[cfg(test)]
mod tests;
