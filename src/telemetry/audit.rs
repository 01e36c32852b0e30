//! Metrics of the audit log.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What the audit log's writer tells; clones share their values.
#[derive(Clone, Debug)]
pub struct AuditMetrics {
    written: Counter,
    failed: Counter,
    queue: Gauge,
    waiting: Waiting,
    failing: Gauge,
}

/// Records that are not written yet: those in the writer's hands, and those before it, which are counted when somebody wants to know.
#[derive(Clone, Default)]
struct Waiting {
    in_hand: Arc<AtomicUsize>,
    before: Arc<OnceLock<Box<dyn Fn() -> usize + Send + Sync>>>,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

impl AuditMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let records = Family::<OutcomeLabels, Counter>::default();
        let help = "Audit records, written or failed; a token whose record failed was not issued";
        registry.register("audit_records", help, records.clone());
        // Looked up once, and not for each batch.
        let of = |outcome| records.get_or_create_owned(&OutcomeLabels { outcome });
        let (written, failed) = (of("written"), of("failed"));
        let queue = Gauge::default();
        registry.register("audit_queue", "Audit records that wait to be written", queue.clone());
        let failing = Gauge::default();
        let help = "1 while audit records cannot be written, so that no token is issued";
        registry.register("audit_failing", help, failing.clone());
        Self { written, failed, queue, waiting: Waiting::default(), failing }
    }

    /// Counts what became of a batch.
    pub fn written(&self, written: usize, failed: usize, is_written: bool) {
        for (counter, count) in [(&self.written, written), (&self.failed, failed)] {
            counter.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
        self.failing.set((!is_written).into());
    }

    /// So many records were not written, because whoever waited for them has given up.
    pub fn given_up(&self, count: u64) {
        self.failed.inc_by(count);
    }

    /// Whether records cannot be written.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.get() != 0
    }

    /// The writer did not answer in time. Whether that is news.
    #[must_use]
    pub fn hangs(&self) -> bool {
        self.failing.set(1) == 0
    }

    /// The writer has so many records in hand.
    pub fn in_hand(&self, count: usize) {
        self.waiting.in_hand.store(count, Ordering::Relaxed);
    }

    /// `waiting` tells how many records wait for the writer. The first that is given counts.
    pub fn count_by(&self, waiting: impl Fn() -> usize + Send + Sync + 'static) {
        let _ = self.waiting.before.set(Box::new(waiting));
    }

    /// Brings what changes by itself up to date.
    pub(super) fn refresh(&self) {
        let before = self.waiting.before.get().map_or(0, |count| count());
        let count = self.waiting.in_hand.load(Ordering::Relaxed).saturating_add(before);
        self.queue.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
