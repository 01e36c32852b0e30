//! `[accounts]`

use serde::Deserialize;
use toml::Spanned;

use super::{RawDuration, RawSecretSource, Text};

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RawOneAccount {
    Enforce,
    Off,
    #[default]
    Report,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [accounts]")]
pub(in crate::config) struct RawAccounts {
    pub(in crate::config) window: Option<Spanned<RawDuration>>,
    pub(in crate::config) tokens_per_hour: Option<Spanned<RawBound>>,
    pub(in crate::config) max_bindings: Option<Spanned<i64>>,
    pub(in crate::config) redis: Option<RawRedis>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "must be a whole number from 1 to 50000, or \"off\"")]
pub(in crate::config) enum RawBound {
    Number(i64),
    Word(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [accounts.redis]")]
pub(in crate::config) struct RawRedis {
    pub(in crate::config) urls: Spanned<Vec<Text>>,
    pub(in crate::config) cluster: Option<Spanned<bool>>,
    pub(in crate::config) username: Option<Text>,
    pub(in crate::config) password: Option<Spanned<RawSecretSource>>,
    pub(in crate::config) ca: Option<Text>,
    pub(in crate::config) allow_plaintext: Option<Spanned<bool>>,
    pub(in crate::config) hash_key: Spanned<RawSecretSource>,
    pub(in crate::config) budget: Option<Spanned<RawDuration>>,
    pub(in crate::config) repeats_for: Option<Spanned<RawDuration>>,
    pub(in crate::config) on_store_failure: RawOnStoreFailure,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RawOnStoreFailure {
    Allow,
    Deny,
}
