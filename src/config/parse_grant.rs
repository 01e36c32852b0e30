//! From the shapes of the file to valid grants.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::{
    InstanceConfig,
    parse::{Problems, parse_lifetime},
    raw::{RawAttributeRule, RawGrant},
};
use crate::domain::{
    attributes::{InvalidAttribute, check_tenant_attribute, check_user_attribute},
    grant::{AnchoredRegex, AttributeRule, AttributeRules, EmailDomains, Grant, Pattern, Rate},
    instance::{Instance, InstanceName},
    subject::is_label,
};

pub(super) fn parse_grants(
    raw: Vec<RawGrant>,
    instances: &[InstanceConfig],
    unnamed: &[String],
    problems: &mut Problems<'_>,
) -> Vec<(InstanceName, Grant)> {
    let mut grants: Vec<(InstanceName, Grant)> = Vec::with_capacity(raw.len());
    for raw in raw {
        let name = raw.instance.get_ref();
        let Some(found) = instances.iter().find(|one| one.instance.name.as_str() == name) else {
            if !unnamed.contains(name) {
                problems.add(&raw.instance.span(), "must be the name of one of the [[instances]]");
            }
            continue;
        };
        if grants.iter().any(|(earlier, _)| earlier.as_str() == name) {
            problems.add(
                &raw.instance.span(),
                "must be unique among the caller's grants: write one grant for each instance",
            );
            continue;
        }
        grants.extend(parse_grant(raw, &found.instance, problems).map(|grant| (found.instance.name.clone(), grant)));
    }
    grants
}

fn parse_grant(raw: RawGrant, instance: &Instance, problems: &mut Problems<'_>) -> Option<Grant> {
    let email_domains = parse_email_domains(&raw.email_domains, problems);
    let groups = parse_patterns(&raw.groups, problems);
    let tenants = parse_patterns(&raw.tenants, problems);
    let attributes = parse_rules(raw.attributes, problems, |key| check_user_attribute(key, "", &instance.claim_names));
    let tenant_attributes = parse_rules(raw.tenant_attributes, problems, |key| check_tenant_attribute(key, ""));
    for key in &raw.required_attributes {
        if !attributes.by_key.contains_key(key.get_ref()) && attributes.others.is_none() {
            problems.add(&key.span(), "must also have a rule in `attributes`, or no token could ever be issued");
        }
    }
    let max_lifetime = raw.max_lifetime.as_ref().map(|text| {
        let lifetime = parse_lifetime(text, problems)?;
        if lifetime > instance.lifetimes.max {
            problems.add(
                &text.span(),
                format_args!("must not be above the instance's maximum of {}", instance.lifetimes.max),
            );
        }
        Some(lifetime)
    });
    Some(Grant {
        email_domains,
        groups,
        allow_administrators: raw.allow_administrators,
        attributes,
        required_attributes: raw.required_attributes.into_iter().map(Spanned::into_inner).collect(),
        tenants,
        allow_no_tenant: raw.allow_no_tenant,
        tenant_attributes,
        max_lifetime: max_lifetime.map_or(Some(None), |lifetime| lifetime.map(Some))?,
        may_check_status: raw.may_check_status.unwrap_or(true),
        rate: raw.rate.map(|rate| Rate { per_second: rate.per_second, burst: rate.burst.unwrap_or(rate.per_second) }),
    })
}

fn parse_email_domains(raw: &[Spanned<String>], problems: &mut Problems<'_>) -> EmailDomains {
    if raw.iter().any(|domain| domain.get_ref() == "*") {
        if let [_, second, ..] = raw {
            problems
                .add(&second.span(), "must stand alone when one of the domains is \"*\", which allows every domain");
        }
        return EmailDomains::Any;
    }
    let mut domains = BTreeSet::new();
    for domain in raw {
        let text = domain.get_ref().to_ascii_lowercase();
        if text.contains('.') && text.split('.').all(is_label) {
            domains.insert(text);
        } else {
            problems.add(
                &domain.span(),
                "must be a domain such as \"example.com\" (exact: subdomains are listed by themselves), or \"*\" for every domain",
            );
        }
    }
    EmailDomains::Only(domains)
}

fn parse_patterns(raw: &[Spanned<String>], problems: &mut Problems<'_>) -> Vec<Pattern> {
    let mut patterns = Vec::with_capacity(raw.len());
    for text in raw {
        match text.get_ref().find('*') {
            Some(star) if star + 1 != text.get_ref().len() => {
                problems.add(&text.span(), "must be an exact name, or the beginning of names with one * at its end");
            }
            None if text.get_ref().trim().is_empty() => problems.add(&text.span(), "must not be empty"),
            Some(_) | None => patterns.push(Pattern::parse(text.get_ref())),
        }
    }
    patterns
}

fn parse_rules(
    raw: BTreeMap<Spanned<String>, Spanned<RawAttributeRule>>,
    problems: &mut Problems<'_>,
    check_key: impl Fn(&str) -> Result<(), InvalidAttribute>,
) -> AttributeRules {
    let mut rules = AttributeRules::default();
    for (key, raw) in raw {
        let span = raw.span();
        let Some(rule) = problems.take(&span, parse_rule(raw.into_inner())) else { continue };
        if key.get_ref() == "*" {
            rules.others = Some(rule);
        } else if problems.take(&key.span(), check_key(key.get_ref())).is_some() {
            rules.by_key.insert(key.into_inner(), rule);
        }
    }
    rules
}

fn parse_rule(raw: RawAttributeRule) -> Result<AttributeRule, String> {
    match raw {
        RawAttributeRule::Type(name) => match name.as_str() {
            "boolean" => Ok(AttributeRule::Boolean),
            "integer" => Ok(AttributeRule::Integer),
            "string" => Ok(AttributeRule::String),
            "uuid" => Ok(AttributeRule::Uuid),
            _ => Err("must be \"integer\", \"uuid\", \"boolean\", \"string\", a list of allowed values, or { regex = \"…\" }"
                .to_owned()),
        },
        RawAttributeRule::OneOf(values) if values.is_empty() => {
            Err("must list at least one allowed value; leave the key out to deny the attribute".to_owned())
        }
        RawAttributeRule::OneOf(values) => Ok(AttributeRule::OneOf(values.into_iter().collect())),
        RawAttributeRule::Regex(raw) => {
            AnchoredRegex::parse(&raw.regex).map(AttributeRule::Regex).map_err(|error| error.to_string())
        }
    }
}
