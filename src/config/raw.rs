//! The shapes of the configuration file, as TOML sees them. Nothing here is checked but types and key names.

mod accounts;
mod duration;
mod observability;

use std::{collections::BTreeMap, fmt, num::NonZeroU32};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use toml::Spanned;

pub(super) use self::accounts::{RawAccounts, RawBound, RawOnStoreFailure, RawOneAccount, RawRedis};
pub(super) use self::duration::RawDuration;
pub(super) use self::observability::{RawAudit, RawDurability, RawPlace, RawSink, RawSubject, RawTracing};

type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a configuration")]
pub(super) struct RawConfig {
    #[serde(default)]
    pub(super) server: RawServer,
    #[serde(default)]
    pub(super) instances: Vec<RawInstance>,
    #[serde(default)]
    pub(super) callers: Vec<RawCaller>,
    #[serde(default)]
    pub(super) deny: RawDeny,
    pub(super) shadow: Option<RawShadow>,
    #[serde(default)]
    pub(super) accounts: RawAccounts,
    pub(super) audit: Option<RawAudit>,
    pub(super) tracing: Option<RawTracing>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [shadow]")]
pub(super) struct RawShadow {
    pub(super) policy: Text,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [deny]")]
pub(super) struct RawDeny {
    #[serde(default)]
    pub(super) callers: Vec<Text>,
    #[serde(default)]
    pub(super) emails: Vec<Text>,
    #[serde(default)]
    pub(super) user_ids: Vec<String>,
    #[serde(default)]
    pub(super) tenants: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [server]")]
pub(super) struct RawServer {
    pub(super) listen: Option<Text>,
    pub(super) listen_mode: Option<Text>,
    pub(super) metrics_listen: Option<Text>,
    #[serde(default)]
    pub(super) reflection: bool,
    pub(super) probe_listen: Option<Text>,
    #[serde(default)]
    pub(super) require_hardening: bool,
    pub(super) tls: Option<RawTls>,
    #[serde(default)]
    pub(super) identity: RawIdentity,
    #[serde(default)]
    pub(super) limits: RawLimits,
    #[serde(default)]
    pub(super) drain: RawDrain,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [server.limits]")]
pub(super) struct RawLimits {
    pub(super) max_in_flight: Option<Spanned<i64>>,
    pub(super) max_connections: Option<Spanned<i64>>,
    pub(super) max_streams_per_connection: Option<Spanned<i64>>,
    pub(super) deadline: Option<Spanned<RawDuration>>,
    pub(super) body_timeout: Option<Spanned<RawDuration>>,
    pub(super) keepalive_interval: Option<Spanned<RawDuration>>,
    pub(super) keepalive_timeout: Option<Spanned<RawDuration>>,
    pub(super) idle_timeout: Option<Spanned<RawDuration>>,
    pub(super) max_connection_age: Option<Spanned<RawDuration>>,
    pub(super) max_connection_age_grace: Option<Spanned<RawDuration>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [server.drain]")]
pub(super) struct RawDrain {
    pub(super) announce_delay: Option<Spanned<RawDuration>>,
    pub(super) grace_period: Option<Spanned<RawDuration>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [server.tls]")]
pub(super) struct RawTls {
    pub(super) certificate: Text,
    pub(super) private_key: Text,
    pub(super) client_ca: Option<Text>,
    pub(super) client_crl: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [server.identity]")]
pub(super) struct RawIdentity {
    pub(super) local: Option<Text>,
    #[serde(default)]
    pub(super) mtls: Option<Spanned<bool>>,
    pub(super) xfcc: Option<RawForwarded>,
    pub(super) linkerd: Option<RawForwarded>,
    #[serde(default)]
    pub(super) jwt: Vec<RawJwtIssuer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [[server.identity.jwt]]")]
pub(super) struct RawJwtIssuer {
    pub(super) issuer: Text,
    pub(super) audience: Text,
    pub(super) jwks: Text,
    pub(super) jwks_ca: Option<Text>,
    pub(super) trust_domain: Option<Text>,
}

/// Which peers may forward an identity.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table { trusted = [...] }")]
pub(super) struct RawForwarded {
    pub(super) trusted: Spanned<Vec<Text>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [[instances]]")]
pub(super) struct RawInstance {
    pub(super) name: Text,
    #[serde(default)]
    pub(super) default: Option<Spanned<bool>>,
    pub(super) url: Option<Text>,
    pub(super) api_url: Option<Text>,
    pub(super) api_ca: Option<Text>,
    #[serde(default)]
    pub(super) environment: RawEnvironment,
    pub(super) shared_secret: Spanned<RawSecretSource>,
    pub(super) next_shared_secret: Option<Spanned<RawSecretSource>>,
    pub(super) probe_interval: Option<Spanned<RawDuration>>,
    #[serde(default)]
    pub(super) token_lifetime: RawLifetimes,
    #[serde(default)]
    pub(super) tenancy: RawTenancy,
    #[serde(default)]
    pub(super) one_account_per_user: RawOneAccount,
    #[serde(default)]
    pub(super) claims: BTreeMap<ClaimKey, Text>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawEnvironment {
    #[default]
    Production,
    Development,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawTenancy {
    #[default]
    Forbidden,
    Optional,
    Required,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClaimKey {
    Email,
    FirstName,
    LastName,
    Groups,
    Tenant,
    TenantAttributes,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table { default = \"10m\", max = \"1h\" }")]
pub(super) struct RawLifetimes {
    pub(super) default: Option<Spanned<RawDuration>>,
    pub(super) max: Option<Spanned<RawDuration>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [[callers]]")]
pub(super) struct RawCaller {
    pub(super) name: Text,
    pub(super) user_directory: Option<Text>,
    #[serde(default)]
    pub(super) identities: Vec<Text>,
    #[serde(default)]
    pub(super) grants: Vec<RawGrant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [[callers.grants]]")]
pub(super) struct RawGrant {
    pub(super) instance: Text,
    #[serde(default)]
    pub(super) email_domains: Vec<Text>,
    #[serde(default)]
    pub(super) groups: Vec<Text>,
    #[serde(default)]
    pub(super) allow_administrators: bool,
    #[serde(default)]
    pub(super) attributes: BTreeMap<Text, Spanned<RawAttributeRule>>,
    #[serde(default)]
    pub(super) required_attributes: Vec<Text>,
    #[serde(default)]
    pub(super) tenants: Vec<Text>,
    #[serde(default)]
    pub(super) allow_no_tenant: bool,
    #[serde(default)]
    pub(super) tenant_attributes: BTreeMap<Text, Spanned<RawAttributeRule>>,
    pub(super) max_lifetime: Option<Spanned<RawDuration>>,
    pub(super) may_check_status: Option<bool>,
    pub(super) rate: Option<RawRate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table { per_second = 200, burst = 400 }")]
pub(super) struct RawRate {
    pub(super) per_second: NonZeroU32,
    pub(super) burst: Option<NonZeroU32>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "must be \"integer\", \"uuid\", \"boolean\", \"string\", a list of allowed values, or { regex = \"…\" }"
)]
pub(super) enum RawAttributeRule {
    Type(String),
    OneOf(Vec<String>),
    Regex(RawRegex),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRegex {
    pub(super) regex: String,
}

/// `{ file = … }`, `{ env = … }` or `{ credential = … }`.
pub(super) struct RawSecretSource {
    pub(super) file: Option<String>,
    pub(super) env: Option<String>,
    pub(super) credential: Option<String>,
}

impl<'de> Deserialize<'de> for RawSecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

/// Its errors never quote what was found: the secret itself may stand in place of the table, of a key, or of a value.
struct SecretVisitor;

const SECRET_FORM: &str = "a secret never stands in the configuration file: say where it is with exactly one of { file = \"…\" }, \
                           { env = \"…\" } and { credential = \"…\" }";

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = RawSecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SECRET_FORM)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(E::custom(SECRET_FORM))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Err(E::custom(SECRET_FORM))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Err(E::custom(SECRET_FORM))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut source = RawSecretSource { file: None, env: None, credential: None };
        while let Some(key) = map.next_key::<String>()? {
            let slot = match key.as_str() {
                "file" => &mut source.file,
                "env" => &mut source.env,
                "credential" => &mut source.credential,
                _ => return Err(A::Error::custom(SECRET_FORM)),
            };
            *slot = Some(map.next_value().map_err(|_| A::Error::custom(SECRET_FORM))?);
        }
        Ok(source)
    }
}
