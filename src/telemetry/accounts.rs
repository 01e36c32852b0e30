//! Metrics of the guard of accounts and of its store.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What the guard and its store tell; clones share their values.
#[derive(Clone, Debug)]
pub struct AccountMetrics {
    warnings: Family<WarningLabels, Counter>,
    bindings: Gauge,
    evictions: Counter,
    store_calls: [Counter; StoreCall::ALL.len()],
    store_failing: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WarningLabels {
    metabase: String,
    finding: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// What became of a question to the store that replicas share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreCall {
    /// The store answered.
    Answered,
    /// The store has answered the same a moment ago.
    Cached,
    /// The store did not answer in time, or with an error.
    Failed,
    /// The store has something that this service has not written.
    Foreign,
    /// The store was not asked, because it has failed, or too many wait for it.
    Skipped,
}

impl StoreCall {
    const ALL: [Self; 5] = [Self::Answered, Self::Cached, Self::Failed, Self::Foreign, Self::Skipped];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Cached => "cached",
            Self::Failed => "failed",
            Self::Foreign => "foreign",
            Self::Skipped => "skipped",
        }
    }
}

impl AccountMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let warnings = Family::default();
        let help = "Tokens issued with a warning, or refused, for an account that several people seem to share";
        registry.register("account_warnings", help, warnings.clone());
        let bindings = Gauge::default();
        let help = "Accounts whose person this process remembers; not with a store that replicas share";
        registry.register("account_bindings", help, bindings.clone());
        let evictions = Counter::default();
        let help = "Accounts that were forgotten within their window, for lack of room";
        registry.register("account_evictions", help, evictions.clone());
        let store_calls = Family::<OutcomeLabels, Counter>::default();
        let help = "Questions to the store that replicas share: answered, cached, failed, met by a foreign value, or skipped while it fails";
        registry.register("account_store_calls", help, store_calls.clone());
        let store_failing = Gauge::default();
        let help = "1 while the store that replicas share cannot be asked";
        registry.register("account_store_failing", help, store_failing.clone());
        // Not looked for again with every question.
        let store_calls =
            StoreCall::ALL.map(|call| store_calls.get_or_create(&OutcomeLabels { outcome: call.as_str() }).clone());
        Self { warnings, bindings, evictions, store_calls, store_failing }
    }

    /// Counts findings on accounts of this instance from 0 on: the rate of a counter that is born with its first event misses that event.
    pub fn begin(&self, instance: &str) {
        for finding in ["other_person", "too_many_tokens"] {
            for outcome in ["issued", "refused"] {
                drop(self.warnings.get_or_create(&WarningLabels { metabase: instance.to_owned(), finding, outcome }));
            }
        }
    }

    /// Counts a finding on a token that was issued or refused. The instance is a name of the configuration.
    pub fn warned(&self, instance: &str, finding: &'static str, outcome: &'static str) {
        self.warnings.get_or_create(&WarningLabels { metabase: instance.to_owned(), finding, outcome }).inc();
    }

    /// An account is remembered that was not.
    pub fn bound(&self) {
        self.bindings.inc();
    }

    /// An account is forgotten whose window was over.
    pub fn expired(&self) {
        self.bindings.dec();
    }

    /// An account is forgotten whose window was not over.
    pub fn evicted(&self) {
        self.bindings.dec();
        self.evictions.inc();
    }

    /// Counts a question to the store.
    pub fn store_called(&self, call: StoreCall) {
        self.store_calls[call as usize].inc();
    }

    /// Tells whether the store can be asked.
    pub fn store_is(&self, failing: bool) {
        self.store_failing.set(failing.into());
    }
}
