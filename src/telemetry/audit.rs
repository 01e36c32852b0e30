//! Metrics of the audit log.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What the audit log's writer tells; clones share their values.
#[derive(Clone, Debug)]
pub struct AuditMetrics {
    records: Family<OutcomeLabels, Counter>,
    queue: Gauge,
    up: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl AuditMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let records = Family::default();
        let help = "Audit records, written or failed; a token whose record failed was not issued";
        registry.register("audit_records", help, records.clone());
        let queue = Gauge::default();
        registry.register("audit_queue", "Audit records that wait to be written", queue.clone());
        let up = Gauge::default();
        let help = "1 if the last audit record was written, 0 if it was not, or if there is no audit log";
        registry.register("audit_up", help, up.clone());
        Self { records, queue, up }
    }

    /// Counts what became of a batch.
    pub fn written(&self, written: usize, failed: usize, is_up: bool) {
        for (outcome, count) in [("written", written), ("failed", failed)] {
            self.records.get_or_create(&OutcomeLabels { outcome }).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
        self.up.set(is_up.into());
    }

    /// Tells how many records wait.
    pub fn waiting(&self, count: usize) {
        self.queue.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
