//! From the shapes of the file to valid types: instances and callers. Collects every error it can.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Display,
    ops::{Range, RangeInclusive},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use toml::Spanned;

use super::{
    CallerConfig, Config, ConfigError, ConfigErrors, InstanceConfig, Location, SecretSource,
    locate::Locator,
    parse_accounts, parse_audit, parse_grant, parse_server, parse_tracing,
    raw::{
        ClaimKey, RawCaller, RawDuration, RawEnvironment, RawInstance, RawLifetimes, RawOneAccount, RawSecretSource,
        RawTenancy,
    },
    shapes,
};
use crate::domain::{
    account::OneAccount,
    caller::CallerName,
    claims::{ClaimNames, InvalidClaimName},
    identity::IdentityPattern,
    instance::{Environment, Instance, InstanceName},
    lifetime::{Lifetime, LifetimeRange},
    tenant::Tenancy,
};

/// Errors found so far, and where they are.
pub(super) struct Problems<'a> {
    file: &'a str,
    locator: Locator<'a>,
    errors: Vec<ConfigError>,
}

impl Problems<'_> {
    pub(super) fn add(&mut self, span: &Range<usize>, rule: impl Display) {
        let location = self.locator.locate(span);
        self.errors.push(ConfigError { file: self.file.to_owned(), location, rule: rule.to_string() });
    }

    pub(super) fn locate(&mut self, span: &Range<usize>) -> Location {
        self.locator.locate(span)
    }

    pub(super) fn take<T, E: Display>(&mut self, span: &Range<usize>, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.add(span, error)).ok()
    }

    pub(super) fn parse<T: FromStr<Err: Display>>(&mut self, text: &Spanned<String>) -> Option<T> {
        self.take(&text.span(), text.get_ref().parse())
    }

    /// As they stand in the file.
    fn in_order(mut self) -> ConfigErrors {
        self.errors.sort_by_key(|error| error.location.line);
        ConfigErrors(self.errors)
    }
}

pub(super) fn parse(text: &str, file: &str) -> Result<Config, ConfigErrors> {
    let mut problems = Problems { file, locator: Locator::new(text), errors: Vec::new() };
    let raw = match shapes::read(text) {
        Ok(raw) => raw,
        Err(faults) => {
            for (span, rule) in faults {
                problems.add(&span, rule);
            }
            return Err(problems.in_order());
        }
    };
    let names: Vec<String> = raw.instances.iter().map(|one| one.name.get_ref().clone()).collect();
    let instances = parse_instances(raw.instances, &mut problems);
    let unnamed: Vec<String> = names.into_iter().filter(|name| name.parse::<InstanceName>().is_err()).collect();
    let callers = parse_callers(raw.callers, &instances, &unnamed, &mut problems);
    let server = parse_server::parse_server(&raw.server, &callers, &mut problems);
    let denied = parse_server::parse_deny(raw.deny, &callers, &mut problems);
    let candidate = raw.shadow.and_then(|shadow| parse_candidate(&shadow.policy, &mut problems));
    let accounts = parse_accounts::parse_accounts(raw.accounts, &mut problems);
    let audit = raw.audit.and_then(|audit| parse_audit::parse_audit(audit, &mut problems));
    let tracing = raw.tracing.and_then(|tracing| parse_tracing::parse_tracing(&tracing, &mut problems));
    match server {
        Some(server) if problems.errors.is_empty() => {
            Ok(Config { server, instances, callers, denied, candidate, tracing, audit, accounts })
        }
        Some(_) | None => Err(problems.in_order()),
    }
}

fn parse_candidate(path: &Spanned<String>, problems: &mut Problems<'_>) -> Option<(PathBuf, Location)> {
    if path.get_ref().is_empty() {
        problems.add(&path.span(), "must be the path of a configuration file");
        return None;
    }
    Some((path.get_ref().into(), problems.locator.locate(&path.span())))
}

fn parse_instances(raw: Vec<RawInstance>, problems: &mut Problems<'_>) -> Vec<InstanceConfig> {
    if raw.is_empty() {
        problems.add(&(0..0), "at least one [[instances]] is required");
    }
    let (mut names, mut has_default) = (HashSet::new(), false);
    let mut instances = Vec::with_capacity(raw.len());
    for raw in raw {
        let span = raw.name.span();
        if !names.insert(raw.name.get_ref().clone()) {
            problems.add(&span, "must be unique among the instances");
        }
        if let Some(default) = raw.default.as_ref().filter(|default| *default.get_ref()) {
            if has_default {
                problems.add(&default.span(), "must be true for one instance at most");
            }
            has_default = true;
        }
        instances.extend(parse_instance(raw, problems));
    }
    instances
}

/// What is wrong is replaced by what is most allowed, so that grants for the instance are checked all the same; the errors
/// see to it that nobody gets to use it.
fn parse_instance(raw: RawInstance, problems: &mut Problems<'_>) -> Option<InstanceConfig> {
    let name = problems.parse(&raw.name);
    let url = raw.url.as_ref().map(|url| problems.parse(url));
    let api_url = raw.api_url.as_ref().and_then(|url| problems.parse(url));
    let api_ca = raw.api_ca.as_ref().map(|path| parse_api_ca(path, &raw, problems));
    let probe_interval = parse_probe_interval(raw.probe_interval.as_ref(), problems);
    if let Some(next) = &raw.next_shared_secret {
        check_rotation(&next.span(), &raw, probe_interval, problems);
    }
    let next_shared_secret = raw.next_shared_secret.and_then(|next| {
        let span = next.span();
        let source = problems.take(&span, parse_secret_source(next.into_inner()))?;
        Some((source, problems.locator.locate(&span)))
    });
    let lifetimes = parse_lifetimes(&raw.token_lifetime, problems);
    let claim_names = parse_claim_names(raw.claims, problems);
    let span = raw.shared_secret.span();
    let shared_secret = problems.take(&span, parse_secret_source(raw.shared_secret.into_inner()));
    let instance = Instance {
        name: name?,
        url: url.flatten(),
        environment: match raw.environment {
            RawEnvironment::Production => Environment::Production,
            RawEnvironment::Development => Environment::Development,
        },
        lifetimes: lifetimes.unwrap_or(LifetimeRange { default: Lifetime::DEFAULT, max: Lifetime::MAX }),
        tenancy: match raw.tenancy {
            RawTenancy::Forbidden => Tenancy::Forbidden,
            RawTenancy::Optional => Tenancy::Optional,
            RawTenancy::Required => Tenancy::Required,
        },
        one_account: match raw.one_account_per_user {
            RawOneAccount::Enforce => OneAccount::Enforce,
            RawOneAccount::Off => OneAccount::Off,
            RawOneAccount::Report => OneAccount::Report,
        },
        claim_names: claim_names.unwrap_or_default(),
        is_default: raw.default.is_some_and(Spanned::into_inner),
    };
    let shared_secret_location = problems.locator.locate(&span);
    let shared_secret = shared_secret.unwrap_or(SecretSource::Generated);
    Some(InstanceConfig {
        instance,
        shared_secret,
        shared_secret_location,
        next_shared_secret,
        probe_interval,
        api_url,
        api_ca,
    })
}

fn parse_api_ca(path: &Spanned<String>, raw: &RawInstance, problems: &mut Problems<'_>) -> (PathBuf, Location) {
    let is_https = |url: &Spanned<String>| url.get_ref().starts_with("https:");
    if path.get_ref().is_empty() {
        problems.add(&path.span(), "must be the path of a PEM file");
    } else if !raw.api_url.as_ref().or(raw.url.as_ref()).is_some_and(is_https) {
        problems.add(&path.span(), "needs an https `api_url` or `url`");
    }
    (path.get_ref().into(), problems.locator.locate(&path.span()))
}

/// None = never.
fn parse_probe_interval(raw: Option<&Spanned<RawDuration>>, problems: &mut Problems<'_>) -> Option<Duration> {
    const ALLOWED: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
    let Some(text) = raw else { return Some(InstanceConfig::DEFAULT_PROBE_INTERVAL) };
    if text.get_ref().0 == "off" {
        return None;
    }
    let interval = humantime::parse_duration(&text.get_ref().0).ok().filter(|interval| ALLOWED.contains(interval));
    problems.take(&text.span(), interval.ok_or("must be a duration from \"1s\" to \"1h\", or \"off\""))
}

fn check_rotation(
    span: &Range<usize>,
    raw: &RawInstance,
    probe_interval: Option<Duration>,
    problems: &mut Problems<'_>,
) {
    if raw.url.is_none() && raw.api_url.is_none() {
        problems.add(span, "needs `url` or `api_url`: only Metabase can tell which of the two secrets it holds");
    }
    if probe_interval.is_none() {
        problems.add(span, "needs `probe_interval`: only Metabase can tell which of the two secrets it holds");
    }
}

fn parse_lifetimes(raw: &RawLifetimes, problems: &mut Problems<'_>) -> Option<LifetimeRange> {
    let default = raw.default.as_ref().map(|text| parse_lifetime(text, problems));
    let max = raw.max.as_ref().map(|text| parse_lifetime(text, problems));
    let max = max.unwrap_or(Some(Lifetime::DEFAULT_MAX))?;
    let default = default.unwrap_or(Some(Lifetime::DEFAULT.min(max)))?;
    let span = raw.default.as_ref().or(raw.max.as_ref()).map_or(0..0, Spanned::span);
    problems.take(&span, LifetimeRange::parse(default, max))
}

pub(super) fn parse_lifetime(text: &Spanned<RawDuration>, problems: &mut Problems<'_>) -> Option<Lifetime> {
    let duration = humantime::parse_duration(&text.get_ref().0);
    let duration = duration.map_err(|_| "must be a duration such as \"90s\", \"10m\" or \"1h\"");
    let duration: Duration = problems.take(&text.span(), duration)?;
    problems.take(&text.span(), Lifetime::try_from(duration))
}

fn parse_claim_names(raw: BTreeMap<ClaimKey, Spanned<String>>, problems: &mut Problems<'_>) -> Option<ClaimNames> {
    let span = raw.values().next().map_or(0..0, Spanned::span);
    let mut spans = HashMap::new();
    let mut names = ClaimNames::default();
    for (key, name) in raw {
        let (key, own) = match key {
            ClaimKey::Email => ("email", &mut names.email),
            ClaimKey::FirstName => ("first_name", &mut names.first_name),
            ClaimKey::LastName => ("last_name", &mut names.last_name),
            ClaimKey::Groups => ("groups", &mut names.groups),
            ClaimKey::Tenant => ("tenant", &mut names.tenant),
            ClaimKey::TenantAttributes => ("tenant_attributes", &mut names.tenant_attributes),
        };
        spans.insert(key, name.span());
        *own = name.into_inner();
    }
    match names.check() {
        Ok(()) => Some(names),
        // A name that was given is at fault, not the default that it equals.
        Err((key, InvalidClaimName::SameAs(other))) if !spans.contains_key(key) => {
            problems.add(spans.get(other).unwrap_or(&span), InvalidClaimName::SameAs(key));
            None
        }
        Err((key, error)) => {
            problems.add(spans.get(key).unwrap_or(&span), error);
            None
        }
    }
}

pub(super) fn parse_secret_source(raw: RawSecretSource) -> Result<SecretSource, &'static str> {
    let places = [&raw.file, &raw.env, &raw.credential];
    if places.into_iter().flatten().any(|place| looks_like_a_secret(place)) {
        return Err("looks like the secret itself: put it into a file, and the path of the file here, from / or ./ on");
    }
    match raw {
        RawSecretSource { file: Some(file), env: None, credential: None } => {
            if file.is_empty() {
                Err("file must not be empty")
            } else {
                Ok(SecretSource::File(file.into()))
            }
        }
        RawSecretSource { file: None, env: Some(name), credential: None } => {
            let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if begins_well && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                Ok(SecretSource::Env(name))
            } else {
                Err(
                    "env must be the name of an environment variable: letters, digits and '_', not beginning with a digit",
                )
            }
        }
        RawSecretSource { file: None, env: None, credential: Some(name) } => {
            if name.is_empty() || name.contains('/') || name.starts_with('.') {
                Err("credential must be the name of a systemd credential: not empty, without slashes or a leading dot")
            } else {
                Ok(SecretSource::Credential(name))
            }
        }
        RawSecretSource { .. } => {
            Err("must have exactly one of { file = \"…\" }, { env = \"…\" } and { credential = \"…\" }")
        }
    }
}

/// As `keygen` and Metabase make them, or in base64, or any other that is long and has digits. A path begins with a slash or a dot.
fn looks_like_a_secret(place: &str) -> bool {
    place.len() >= 32 && !place.starts_with(['/', '.']) && place.bytes().any(|byte| byte.is_ascii_digit())
}

/// `unnamed` are the instances whose names are wrong, for which grants are not checked.
fn parse_callers(
    raw: Vec<RawCaller>,
    instances: &[InstanceConfig],
    unnamed: &[String],
    problems: &mut Problems<'_>,
) -> Vec<CallerConfig> {
    let (mut names, mut identities) = (HashSet::new(), HashSet::new());
    let mut callers = Vec::with_capacity(raw.len());
    for raw in raw {
        let name: Option<CallerName> = problems.parse(&raw.name);
        if !names.insert(raw.name.get_ref().clone()) {
            problems.add(&raw.name.span(), "must be unique among the callers");
        }
        let mut own = Vec::with_capacity(raw.identities.len());
        for text in &raw.identities {
            let Some(identity) = problems.parse::<IdentityPattern>(text) else { continue };
            if !identities.insert(identity.clone()) {
                problems.add(&text.span(), "must be unique: one identity is one caller");
            }
            own.push(identity);
        }
        let user_directory = raw.user_directory.as_ref().and_then(|directory| problems.parse(directory));
        let grants = parse_grant::parse_grants(raw.grants, instances, unnamed, problems);
        callers.extend(name.map(|name| CallerConfig { name, user_directory, identities: own, grants }));
    }
    callers
}

#[cfg(test)]
pub(super) mod tests;
