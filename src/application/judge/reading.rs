//! What Metabase would take from a verified token, and what it would drop or misread.

use std::collections::BTreeMap;

use super::json::{self, Member, Number, Value};
use crate::domain::{
    attributes::is_reserved, auth_status::Reading, claims::REGISTERED, instance::Instance, tenant::Tenancy,
    time::UnixTime, token::MAX_AGE_SECONDS,
};

pub(super) fn read(payload: &[Member], instance: &Instance) -> Reading {
    let names = &instance.claim_names;
    let text = |name: &str| json::member(payload, name).and_then(Value::as_str).unwrap_or_default();
    let time = |name| json::member(payload, name).and_then(Number::of).map(Number::whole);
    let (issue_time, expire_time) = (time("iat"), time("exp"));
    let too_old = issue_time.map(|iat| iat.saturating_add(MAX_AGE_SECONDS));
    Reading {
        email: text(&names.email).to_lowercase(),
        first_name: text(&names.first_name).to_owned(),
        last_name: text(&names.last_name).to_owned(),
        groups: json::member(payload, &names.groups).and_then(groups),
        attributes: attributes(payload, instance).filter_map(|(name, value)| stored(name, value)).collect(),
        tenant: tenant(payload, instance),
        issue_time: issue_time.map(UnixTime::from_seconds),
        expire_time: expire_time.map(UnixTime::from_seconds),
        exchange_deadline: [too_old, expire_time].into_iter().flatten().min().map(UnixTime::from_seconds),
    }
}

/// None leaves memberships alone. A bare string counts as one group on current servers and as none on older ones.
fn groups(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Array(names) => Some(names.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        Value::String(name) => Some(vec![name.clone()]),
        Value::Bool(true) | Value::Number(_) | Value::Object(_) | Value::Deeper => Some(Vec::new()),
    }
}

fn tenant(payload: &[Member], instance: &Instance) -> Option<(String, BTreeMap<String, String>)> {
    let slug = match json::member(payload, &instance.claim_names.tenant)? {
        Value::String(slug) => slug.clone(),
        number @ Value::Number(_) => Number::of(number)?.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) | Value::Deeper => return None,
    };
    let attributes = match json::member(payload, &instance.claim_names.tenant_attributes) {
        Some(Value::Object(members)) => members.iter().filter_map(|(name, value)| stored(name, value)).collect(),
        _ => BTreeMap::new(),
    };
    Some((slug, attributes))
}

/// Claims that Metabase takes for user attributes, the last of each name.
fn attributes<'a>(payload: &'a [Member], instance: &'a Instance) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let names = &instance.claim_names;
    let identity = [&names.email, &names.first_name, &names.last_name, &names.groups];
    let is_excluded = move |name: &str| {
        REGISTERED.contains(&name)
            || identity.into_iter().any(|own| own == name)
            || instance.tenancy != Tenancy::Forbidden
                && [&names.tenant, &names.tenant_attributes].into_iter().any(|own| own == name)
    };
    let last_of_each: BTreeMap<&str, &Value> = payload.iter().map(|(name, value)| (name.as_str(), value)).collect();
    last_of_each.into_iter().filter(move |(name, _)| !is_excluded(name))
}

/// Scalars become strings; everything else and reserved names are dropped.
fn stored(name: &str, value: &Value) -> Option<(String, String)> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(_) => Number::of(value)?.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) | Value::Deeper => return None,
    };
    (!is_reserved(name)).then(|| (name.to_owned(), text))
}

pub(super) fn warn(payload: &[Member], instance: &Instance, warnings: &mut Vec<String>) {
    let names = &instance.claim_names;
    for name in [&names.first_name, &names.last_name] {
        match json::member(payload, name) {
            Some(Value::String(text)) if !text.trim().is_empty() => {}
            None | Some(Value::Null | Value::String(_)) => {
                warnings.push(format!("`{name}` is missing or empty: Metabase keeps an old name or shows none."));
            }
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) | Value::Deeper) => {
                warnings.push(format!(
                    "`{name}` is not a string: depending on its database, Metabase may fail to sign in."
                ));
            }
        }
    }
    warn_of_groups(json::member(payload, &names.groups), &names.groups, warnings);
    warn_of_tenant(payload, instance, warnings);
    for (name, value) in attributes(payload, instance) {
        warn_of_attribute(name, value, warnings);
    }
}

fn warn_of_groups(value: Option<&Value>, name: &str, warnings: &mut Vec<String>) {
    match value {
        None => {}
        Some(Value::Array(groups)) if groups.iter().all(|group| group.as_str().is_some()) => {}
        Some(Value::Array(_)) => warnings.push(format!("`{name}` holds values that are not strings; Metabase ignores them.")),
        Some(Value::Null | Value::Bool(false)) => {
            warnings.push(format!("`{name}` is null or false: Metabase leaves memberships alone, as if it were absent."));
        }
        Some(Value::String(_)) => warnings.push(format!(
            "`{name}` is a bare string: most Metabase versions read its characters as groups and remove the person from all \
             others; send a list of strings."
        )),
        Some(Value::Bool(true) | Value::Number(_) | Value::Object(_) | Value::Deeper) => {
            warnings.push(format!("`{name}` is not a list of strings: Metabase finds no group in it."));
        }
    }
}

fn warn_of_tenant(payload: &[Member], instance: &Instance, warnings: &mut Vec<String>) {
    let name = &instance.claim_names.tenant;
    let is_given = !matches!(json::member(payload, name), None | Some(Value::Null));
    match instance.tenancy {
        Tenancy::Forbidden if is_given => warnings.push(format!(
            "`{name}` is given, but the instance is configured as one without tenants: Metabase would answer HTTP 403 \"Tenants \
             and tenant users are disabled.\""
        )),
        Tenancy::Required if !is_given => warnings.push(format!(
            "`{name}` is missing on an instance with tenants: Metabase answers HTTP 403 \"Tenant claim required for external \
             user\" to a tenant's person, and makes an internal account of a new one for good."
        )),
        Tenancy::Forbidden | Tenancy::Optional | Tenancy::Required => {}
    }
    let attributes_name = &instance.claim_names.tenant_attributes;
    match json::member(payload, attributes_name) {
        None | Some(Value::Null) => {}
        Some(Value::Object(attributes)) => {
            for (name, value) in attributes {
                warn_of_attribute(name, value, warnings);
            }
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Deeper) => {
            warnings.push(format!("`{attributes_name}` is not an object: Metabase ignores it."));
        }
    }
}

fn warn_of_attribute(name: &str, value: &Value, warnings: &mut Vec<String>) {
    if is_reserved(name) {
        warnings.push(format!("The attribute {name:?} is dropped: Metabase reserves names that begin with @."));
        return;
    }
    match value {
        Value::String(_) if name == "scope" => {
            warnings.push("`scope` is read by newer Metabase servers as a restriction of the bearer.".to_owned());
        }
        Value::String(_) => {}
        Value::Bool(_) | Value::Number(_) => warnings.push(format!(
            "The attribute {name:?} is not a string: Metabase from 56 on stores it as one, earlier versions may not filter by it."
        )),
        Value::Null | Value::Array(_) | Value::Object(_) | Value::Deeper => {
            warnings.push(format!("The attribute {name:?} is dropped: Metabase stores neither null, lists nor objects."));
        }
    }
}
