//! Who gets in: how many connections one listener has, at most.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::telemetry::{ConnectionEnd, Metrics};

/// The room of one listener.
#[derive(Clone, Debug)]
pub struct Admission {
    room: Arc<Semaphore>,
    pub(super) max_connections: usize,
    /// The label of its metrics.
    listener: &'static str,
    pub(super) metrics: Arc<Metrics>,
}

impl Admission {
    /// Room for so many connections.
    #[must_use]
    pub fn new(listener: &'static str, max_connections: usize, metrics: Arc<Metrics>) -> Self {
        let room = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        Self { room, max_connections, listener, metrics }
    }

    /// None = there is no room. The connection is to be closed at once: one that waited in the backlog would look alive to
    /// its client, which had better go to another replica.
    pub(super) fn admit(&self) -> Option<Admitted> {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            self.metrics.load.connection_refused(self.listener);
            return None;
        };
        self.metrics.load.connection_began(self.listener);
        let metrics = Arc::clone(&self.metrics);
        Some(Admitted { permit, listener: self.listener, metrics, end: ConnectionEnd::Client })
    }
}

/// The place of one connection, which is free again when this is dropped.
#[derive(Debug)]
pub struct Admitted {
    permit: OwnedSemaphorePermit,
    listener: &'static str,
    metrics: Arc<Metrics>,
    /// Why the connection ended.
    pub(super) end: ConnectionEnd,
}

impl Admitted {
    /// Whether the next connection would be refused.
    pub(super) fn is_last(&self) -> bool {
        self.permit.semaphore().available_permits() == 0
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.metrics.load.connection_ended(self.listener, self.end);
    }
}
