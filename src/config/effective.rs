//! Writes the configuration out as TOML, with every default. Secrets are not in it, only where they are.

mod accounts;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use toml::{Table, Value};

use self::accounts::accounts;
use super::{
    AuditConfig, AuditSink, CallerConfig, Config, Drain, InstanceConfig, JwtIssuer, KeySource, Limits, ListenAddress,
    Proofs, SecretSource, SubjectForm, TlsFiles, TracingConfig,
};
use crate::domain::{
    caller::UserDirectory,
    grant::{AttributeRule, AttributeRules, EmailDomains, Grant, Pattern},
    instance::InstanceName,
    lifetime::Lifetime,
};

pub(super) fn render(config: &Config) -> String {
    let server = &config.server;
    let mut table = Table::new();
    let mut out = Table::new();
    put(&mut out, "listen", server.listen.to_string());
    if let ListenAddress::Unix(_) = server.listen {
        put(&mut out, "listen_mode", format!("{:04o}", server.listen_mode));
    }
    put(&mut out, "metrics_listen", server.metrics_listen.to_string());
    put(&mut out, "reflection", server.reflection);
    put(&mut out, "require_hardening", server.require_hardening);
    if let Some(address) = server.probe_listen {
        put(&mut out, "probe_listen", address.to_string());
    }
    put(&mut out, "identity", identity(&server.proofs));
    if let Some(files) = &server.tls {
        put(&mut out, "tls", tls(files));
    }
    put(&mut out, "limits", limits(&server.limits));
    put(&mut out, "drain", drain(&server.drain));
    put(&mut table, "server", out);
    if let Some((path, _)) = &config.candidate {
        let mut shadow = Table::new();
        put(&mut shadow, "policy", path.display().to_string());
        put(&mut table, "shadow", shadow);
    }
    put(&mut table, "accounts", accounts(&config.accounts));
    if let Some(config) = &config.audit {
        put(&mut table, "audit", audit(config));
    }
    if let Some(TracingConfig { endpoint, ca, sample_ratio }) = &config.tracing {
        let mut out = Table::new();
        put(&mut out, "otlp_endpoint", endpoint.as_str());
        if let Some(ca) = ca {
            put(&mut out, "otlp_ca", ca.display().to_string());
        }
        put(&mut out, "sample_ratio", *sample_ratio);
        put(&mut table, "tracing", out);
    }
    put(&mut table, "instances", config.instances.iter().map(instance).collect::<Vec<_>>());
    if !config.callers.is_empty() {
        put(&mut table, "callers", config.callers.iter().map(caller).collect::<Vec<_>>());
    }
    let denied = &config.denied;
    let mut deny = Table::new();
    let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
    put(&mut deny, "callers", denied.callers.iter().map(ToString::to_string).collect::<Vec<_>>());
    put(&mut deny, "emails", names(&denied.emails));
    put(&mut deny, "user_ids", names(&denied.user_ids));
    put(&mut deny, "tenants", names(&denied.tenants));
    put(&mut table, "deny", deny);
    table.to_string()
}

pub(super) fn render_grant(granted: &(InstanceName, Grant), key: Option<&str>) -> String {
    let mut table = grant(granted);
    if let Some(key) = key {
        table.retain(|own, _| own.ends_with(key));
    }
    table.to_string()
}

fn audit(config: &AuditConfig) -> Table {
    let mut out = Table::new();
    let place = |key, path: &PathBuf| {
        let mut place = Table::new();
        put(&mut place, key, path.display().to_string());
        place
    };
    match &config.sink {
        AuditSink::File(path) => put(&mut out, "sink", place("file", path)),
        AuditSink::Stdout => put(&mut out, "sink", "stdout"),
        AuditSink::Syslog(path) => put(&mut out, "sink", place("syslog", path)),
        AuditSink::UnixDatagram(path) => put(&mut out, "sink", place("unix_datagram", path)),
    }
    put(&mut out, "durability", config.durability.as_str());
    match &config.subject {
        SubjectForm::Hash(key, _) => {
            put(&mut out, "subject", "hash");
            put(&mut out, "subject_key", secret_source(key));
        }
        SubjectForm::Plain => put(&mut out, "subject", "plain"),
    }
    out
}

fn identity(proofs: &Proofs) -> Table {
    let mut out = Table::new();
    put(&mut out, "mtls", proofs.mtls);
    if let Some(local) = &proofs.local {
        put(&mut out, "local", local.as_str());
    }
    let issuers: Vec<Table> = proofs.jwt.iter().map(issuer).collect();
    if !issuers.is_empty() {
        put(&mut out, "jwt", issuers);
    }
    for (key, peers) in [("xfcc", proofs.xfcc), ("linkerd", proofs.linkerd)] {
        let trusted: Vec<&str> = [(peers.loopback, "loopback"), (peers.unix, "unix")]
            .into_iter()
            .filter(|(on, _)| *on)
            .map(|(_, name)| name)
            .collect();
        if !trusted.is_empty() {
            let mut forwarded = Table::new();
            put(&mut forwarded, "trusted", trusted);
            put(&mut out, key, forwarded);
        }
    }
    out
}

fn issuer(issuer: &JwtIssuer) -> Table {
    let mut out = Table::new();
    put(&mut out, "issuer", issuer.issuer.as_str());
    put(&mut out, "audience", issuer.audience.as_str());
    match &issuer.jwks {
        KeySource::File(path) => put(&mut out, "jwks", path.display().to_string()),
        KeySource::Url { url, ca } => {
            put(&mut out, "jwks", url.as_str());
            if let Some(ca) = ca {
                put(&mut out, "jwks_ca", ca.display().to_string());
            }
        }
    }
    if let Some(trust_domain) = &issuer.trust_domain {
        put(&mut out, "trust_domain", trust_domain.as_str());
    }
    out
}

fn tls(files: &TlsFiles) -> Table {
    let mut out = Table::new();
    let optional = |key, path: &Option<PathBuf>| path.as_ref().map(|path| (key, path.clone()));
    let given = [("certificate", files.certificate.clone()), ("private_key", files.private_key.clone())];
    let given = given
        .into_iter()
        .chain(optional("client_ca", &files.client_ca))
        .chain(optional("client_crl", &files.client_crl));
    for (key, path) in given {
        put(&mut out, key, path.display().to_string());
    }
    out
}

fn limits(limits: &Limits) -> Table {
    let mut out = Table::new();
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    put(&mut out, "max_in_flight", number(limits.max_in_flight));
    put(&mut out, "max_connections", number(limits.max_connections));
    put(&mut out, "max_streams_per_connection", i64::from(limits.max_streams_per_connection));
    put(&mut out, "deadline", duration(Some(limits.deadline)));
    put(&mut out, "body_timeout", duration(Some(limits.body_timeout)));
    put(&mut out, "keepalive_interval", duration(Some(limits.keepalive_interval)));
    put(&mut out, "keepalive_timeout", duration(Some(limits.keepalive_timeout)));
    put(&mut out, "idle_timeout", duration(limits.idle_timeout));
    put(&mut out, "max_connection_age", duration(limits.max_connection_age));
    put(&mut out, "max_connection_age_grace", duration(Some(limits.max_connection_age_grace)));
    out
}

fn drain(drain: &Drain) -> Table {
    let mut out = Table::new();
    put(&mut out, "announce_delay", duration(Some(drain.announce_delay)));
    put(&mut out, "grace_period", duration(Some(drain.grace_period)));
    out
}

fn duration(duration: Option<Duration>) -> String {
    duration.map_or("off".to_owned(), |duration| humantime::format_duration(duration).to_string())
}

fn put(table: &mut Table, key: &str, value: impl Into<Value>) {
    table.insert(key.to_owned(), value.into());
}

fn instance(config: &InstanceConfig) -> Table {
    let instance = &config.instance;
    let mut out = Table::new();
    put(&mut out, "name", instance.name.as_str());
    put(&mut out, "default", instance.is_default);
    if let Some(url) = &config.api_url {
        put(&mut out, "api_url", url.to_string());
    }
    if let Some((source, _)) = &config.next_shared_secret {
        put(&mut out, "next_shared_secret", secret_source(source));
    }
    let interval = config.probe_interval.map_or("off".to_owned(), |interval| format!("{}s", interval.as_secs()));
    put(&mut out, "probe_interval", interval);
    if let Some((path, _)) = &config.api_ca {
        put(&mut out, "api_ca", path.display().to_string());
    }
    if let Some(url) = &instance.url {
        put(&mut out, "url", url.to_string());
    }
    put(&mut out, "environment", instance.environment.as_str());
    put(&mut out, "tenancy", instance.tenancy.as_str());
    put(&mut out, "one_account_per_user", instance.one_account.as_str());
    put(&mut out, "shared_secret", secret_source(&config.shared_secret));
    let mut lifetimes = Table::new();
    put(&mut lifetimes, "default", lifetime(instance.lifetimes.default));
    put(&mut lifetimes, "max", lifetime(instance.lifetimes.max));
    put(&mut out, "token_lifetime", lifetimes);
    let names = instance.claim_names.by_key();
    put(&mut out, "claims", names.into_iter().map(|(key, name)| (key.to_owned(), name.into())).collect::<Table>());
    out
}

fn secret_source(source: &SecretSource) -> Table {
    let (key, value) = match source {
        SecretSource::Credential(name) => ("credential", name.clone()),
        SecretSource::Env(name) => ("env", name.clone()),
        SecretSource::File(path) => ("file", path.display().to_string()),
        SecretSource::Generated => ("generated", "at start".to_owned()),
    };
    [(key.to_owned(), value.into())].into_iter().collect()
}

fn lifetime(lifetime: Lifetime) -> String {
    format!("{}s", lifetime.seconds())
}

fn caller(caller: &CallerConfig) -> Table {
    let mut out = Table::new();
    put(&mut out, "name", caller.name.as_str());
    let directory = caller.user_directory.clone().unwrap_or_else(|| UserDirectory::from(&caller.name));
    put(&mut out, "user_directory", directory.as_str());
    put(&mut out, "identities", caller.identities.iter().map(ToString::to_string).collect::<Vec<_>>());
    put(&mut out, "grants", caller.grants.iter().map(grant).collect::<Vec<_>>());
    out
}

fn grant((instance, grant): &(InstanceName, Grant)) -> Table {
    let mut out = Table::new();
    put(&mut out, "instance", instance.as_str());
    let domains = match &grant.email_domains {
        EmailDomains::Any => vec!["*".to_owned()],
        EmailDomains::Only(domains) => domains.iter().cloned().collect(),
    };
    put(&mut out, "email_domains", domains);
    put(&mut out, "groups", patterns(&grant.groups));
    put(&mut out, "allow_administrators", grant.allow_administrators);
    put(&mut out, "required_attributes", grant.required_attributes.iter().cloned().collect::<Vec<_>>());
    put(&mut out, "tenants", patterns(&grant.tenants));
    put(&mut out, "allow_no_tenant", grant.allow_no_tenant);
    put(&mut out, "may_check_status", grant.may_check_status);
    if let Some(rate) = grant.rate {
        let mut out_rate = Table::new();
        put(&mut out_rate, "per_second", i64::from(rate.per_second.get()));
        put(&mut out_rate, "burst", i64::from(rate.burst.get()));
        put(&mut out, "rate", out_rate);
    }
    if let Some(max) = grant.max_lifetime {
        put(&mut out, "max_lifetime", lifetime(max));
    }
    put(&mut out, "attributes", rules(&grant.attributes));
    put(&mut out, "tenant_attributes", rules(&grant.tenant_attributes));
    out
}

fn patterns(patterns: &[Pattern]) -> Vec<String> {
    let text = |pattern: &Pattern| match pattern {
        Pattern::Exact(name) => name.clone(),
        Pattern::Prefix(prefix) => format!("{prefix}*"),
    };
    patterns.iter().map(text).collect()
}

fn rules(rules: &AttributeRules) -> Table {
    let others = rules.others.as_ref().map(|rule| ("*".to_owned(), self::rule(rule)));
    rules.by_key.iter().map(|(key, rule)| (key.clone(), self::rule(rule))).chain(others).collect()
}

fn rule(rule: &AttributeRule) -> Value {
    match rule {
        AttributeRule::Boolean => "boolean".into(),
        AttributeRule::Integer => "integer".into(),
        AttributeRule::OneOf(values) => values.iter().cloned().collect::<Vec<_>>().into(),
        AttributeRule::Regex(regex) => {
            let anchored = regex.as_str();
            let pattern =
                anchored.strip_prefix(r"\A(?:").and_then(|rest| rest.strip_suffix(r")\z")).unwrap_or(anchored);
            Value::Table([("regex".to_owned(), pattern.into())].into_iter().collect())
        }
        AttributeRule::String => "string".into(),
        AttributeRule::Uuid => "uuid".into(),
    }
}
