//! How many RPCs are in flight, and when the last of them ended, without a lock. `tests/interleavings` tries every order in which
//! threads can see it.

use super::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Times only go up.
#[derive(Debug)]
pub(super) struct InFlight {
    count: AtomicUsize,
    /// When the last RPC ended that has ended.
    last_end: AtomicU64,
}

impl InFlight {
    pub(super) fn new() -> Self {
        Self { count: AtomicUsize::new(0), last_end: AtomicU64::new(0) }
    }

    pub(super) fn begin(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// One of them has ended at `now`.
    pub(super) fn end(&self, now: u64) {
        // Ends that are told out of order leave the later.
        self.last_end.fetch_max(now, Ordering::Relaxed);
        // Whoever sees the count also sees the time; otherwise a connection would be closed for a rest that it did not have.
        self.count.fetch_sub(1, Ordering::Release);
    }

    /// When the last one ended; none while there are any.
    pub(super) fn quiet_since(&self) -> Option<u64> {
        (self.count.load(Ordering::Acquire) == 0).then(|| self.last_end.load(Ordering::Relaxed))
    }
}
