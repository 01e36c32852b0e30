//! A leaf: logs, and every metric with its name, labels and help text.

mod accounts;
mod audit;
mod load;
mod logs;
mod rpcs;
mod span_export;
mod tracing;

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};

pub use self::{
    accounts::{AccountMetrics, StoreCall},
    audit::AuditMetrics,
    load::{ConnectionEnd, Handshake, Load, RPCS},
    logs::{LogFormat, init_logs},
    rpcs::Rpcs,
    tracing::{RpcSpan, Tracing},
};

/// The metrics of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Connections, and what was refused for lack of room.
    pub load: Load,
    /// RPCs, and what was decided on them.
    pub rpcs: Rpcs,
    generation: Gauge,
    generation_began: Gauge<f64, AtomicU64>,
    reloads: Family<ReloadLabels, Counter>,
    reload_failing: Family<WhatLabels, Gauge>,
    /// What cannot be reloaded at the moment, and from where.
    failing: Mutex<BTreeSet<(&'static str, String)>>,
    shadow_decisions: Counter,
    shadow_changes: Family<ShadowLabels, Counter>,
    metabase_agreement: Family<AgreementLabels, Gauge>,
    metabase_clock_skew: Family<InstanceLabels, Gauge>,
    metabase_probe: Family<InstanceLabels, Gauge<f64, AtomicU64>>,
    rotation: Family<SecretLabels, Gauge>,
    audit: AuditMetrics,
    /// Of the guard of accounts.
    pub accounts: AccountMetrics,
}

/// What a candidate policy would do otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShadowChange {
    /// Allow what is denied.
    Allowed,
    /// Deny what is allowed.
    Denied,
    /// Issue the token for another lifetime.
    Lifetime,
}

impl ShadowChange {
    /// The value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Lifetime => "lifetime",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    what: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabels {
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InstanceLabels {
    metabase: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AgreementLabels {
    metabase: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SecretLabels {
    metabase: String,
    secret: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShadowLabels {
    caller: String,
    metabase: String,
    change: &'static str,
    reason: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("metabase_token_service");
        let load = Load::register(&mut registry);
        let rpcs = Rpcs::register(&mut registry);
        let generation = Gauge::default();
        registry.register("generation", "Number of the generation in force, from 1", generation.clone());
        let generation_began = Gauge::<f64, AtomicU64>::default();
        let help = "When the generation in force came into force, in seconds since 1970";
        registry.register_with_unit("generation_began_timestamp", help, Unit::Seconds, generation_began.clone());
        let reloads = Family::default();
        let help =
            "Reloads while serving: of the configuration with its secrets, of the TLS files, or of issuers' keys";
        registry.register("reloads", help, reloads.clone());
        let reload_failing = Family::<WhatLabels, Gauge>::default();
        for what in ["configuration", "tls", "issuers"] {
            drop(reload_failing.get_or_create(&WhatLabels { what }));
        }
        let help = "1 while files have changed that cannot be used, so that the last good ones stay in force";
        registry.register("reload_failing", help, reload_failing.clone());
        let shadow_decisions = Counter::default();
        let help = "Decisions that were compared with those of the candidate policy";
        registry.register("shadow_decisions", help, shadow_decisions.clone());
        let shadow_changes = Family::default();
        let help =
            "Decisions that the candidate policy would change: to allowed, denied or another lifetime, with the reason";
        registry.register("shadow_changes", help, shadow_changes.clone());
        let metabase_agreement = Family::default();
        let help =
            "1 for what the last look at Metabase told about the secret that signs: agrees, disagrees or unknown";
        registry.register("metabase_agreement", help, metabase_agreement.clone());
        let metabase_clock_skew = Family::default();
        let help = "By how many seconds Metabase's clock is ahead";
        registry.register_with_unit("metabase_clock_skew", help, Unit::Seconds, metabase_clock_skew.clone());
        let metabase_probe = Family::default();
        let help = "When Metabase was last looked at, in seconds since 1970";
        registry.register_with_unit("metabase_probe_timestamp", help, Unit::Seconds, metabase_probe.clone());
        let rotation = Family::default();
        registry.register("metabase_signing_secret", "1 for the secret that signs", rotation.clone());
        let audit = AuditMetrics::register(&mut registry);
        let accounts = AccountMetrics::register(&mut registry);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running version", build);
        Self {
            registry,
            load,
            rpcs,
            generation,
            generation_began,
            reloads,
            reload_failing,
            failing: Mutex::default(),
            shadow_decisions,
            shadow_changes,
            metabase_agreement,
            metabase_clock_skew,
            metabase_probe,
            rotation,
            audit,
            accounts,
        }
    }
}

impl Metrics {
    /// Tells the generation in force, and since when, in seconds since 1970.
    pub fn generation(&self, number: u64, began: i64) {
        self.generation.set(i64::try_from(number).unwrap_or(i64::MAX));
        #[expect(clippy::cast_precision_loss, reason = "exact for the next hundred million years")]
        self.generation_began.set(began as f64);
    }

    /// Counts a decision that was compared with the candidate policy's.
    pub fn shadow_compared(&self) {
        self.shadow_decisions.inc();
    }

    /// Counts a decision that the candidate policy would change. The caller and the instance are names of the configuration.
    pub fn shadow_changed(&self, caller: &str, instance: &str, change: ShadowChange, reason: &'static str) {
        let (caller, metabase) = (caller.to_owned(), instance.to_owned());
        self.shadow_changes.get_or_create(&ShadowLabels { caller, metabase, change: change.as_str(), reason }).inc();
    }

    /// Those of the audit log.
    #[must_use]
    pub fn audit(&self) -> AuditMetrics {
        self.audit.clone()
    }

    /// Counts a reload. Of several sources of the same kind one may fail while others do not: it is failing as long as one is.
    pub fn reloaded(&self, what: &'static str, source: &str, succeeded: bool) {
        let outcome = if succeeded { "succeeded" } else { "failed" };
        self.reloads.get_or_create(&ReloadLabels { what, outcome }).inc();
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let source = (what, source.to_owned());
        _ = if succeeded { failing.remove(&source) } else { failing.insert(source) };
        let any = failing.iter().any(|(failing, _)| *failing == what);
        self.reload_failing.get_or_create(&WhatLabels { what }).set(any.into());
    }

    /// Tells what a look at an instance's Metabase at `at`, in seconds since 1970, told: the one of `states` that holds, the one
    /// of `secrets` that signs, and by how many seconds Metabase's clock is ahead.
    pub fn metabase_seen(
        &self,
        instance: &str,
        at: i64,
        states: [(&'static str, bool); 3],
        secrets: [(&'static str, bool); 2],
        skew: Option<i64>,
    ) {
        let metabase = instance.to_owned();
        for (state, holds) in states {
            let labels = AgreementLabels { metabase: metabase.clone(), state };
            self.metabase_agreement.get_or_create(&labels).set(holds.into());
        }
        for (secret, signs) in secrets {
            self.rotation.get_or_create(&SecretLabels { metabase: metabase.clone(), secret }).set(signs.into());
        }
        let labels = InstanceLabels { metabase };
        if let Some(skew) = skew {
            self.metabase_clock_skew.get_or_create(&labels).set(skew);
        }
        #[expect(clippy::cast_precision_loss, reason = "exact for the next hundred million years")]
        self.metabase_probe.get_or_create(&labels).set(at as f64);
    }

    /// An instance is not configured any more.
    pub fn metabase_forgotten(&self, instance: &str) {
        let labels = InstanceLabels { metabase: instance.to_owned() };
        self.metabase_clock_skew.remove(&labels);
        self.metabase_probe.remove(&labels);
        for state in ["agrees", "disagrees", "unknown"] {
            self.metabase_agreement.remove(&AgreementLabels { metabase: instance.to_owned(), state });
        }
        for secret in ["shared_secret", "next_shared_secret"] {
            self.rotation.remove(&SecretLabels { metabase: instance.to_owned(), secret });
        }
    }

    /// All metrics in the OpenMetrics text format, which Prometheus reads.
    #[must_use]
    pub fn encode(&self) -> String {
        self.audit.refresh();
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
