//! `[audit]` and `[tracing]`

use serde::Deserialize;
use toml::Spanned;

use super::{RawSecretSource, Text};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [tracing]")]
pub(in crate::config) struct RawTracing {
    pub(in crate::config) otlp_endpoint: Text,
    pub(in crate::config) otlp_ca: Option<Text>,
    pub(in crate::config) sample_ratio: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table [audit]")]
pub(in crate::config) struct RawAudit {
    pub(in crate::config) sink: Spanned<RawSink>,
    pub(in crate::config) durability: Option<Spanned<RawDurability>>,
    pub(in crate::config) subject: Option<Spanned<RawSubject>>,
    pub(in crate::config) subject_key: Option<Spanned<RawSecretSource>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "must be \"stdout\", { file = \"…\" }, { unix_datagram = \"…\" } or { syslog = \"…\" }")]
pub(in crate::config) enum RawSink {
    Name(String),
    Place(RawPlace),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RawPlace {
    pub(in crate::config) file: Option<String>,
    pub(in crate::config) unix_datagram: Option<String>,
    pub(in crate::config) syslog: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RawDurability {
    Synced,
    Written,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum RawSubject {
    #[default]
    Hash,
    Plain,
}
