//! Gathers what is recorded at the same time, so that one write serves all of it, and tells everyone what became of their record.
//!
//! Why not in the writer's thread: it would be woken for the first record of many, and on a busy processor take the turn of
//! those that are about to bring the others.

use std::sync::atomic::Ordering;

use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
};

use crate::{
    application::audit::{Entry, Queue},
    telemetry::AuditMetrics,
};

/// Records that are written at once.
const MAX_BATCH: usize = 512;

/// What is written at once.
#[derive(Debug)]
pub(super) struct Batch {
    /// JSON objects, in order.
    pub(super) bodies: Vec<Vec<u8>>,
    /// Records that were given up before these.
    pub(super) missing: u64,
    /// Whether the record that closes the log follows.
    pub(super) closes: bool,
    pub(super) written: oneshot::Sender<Written>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    /// Of its bodies, from the first on.
    pub(super) count: usize,
    /// Whether those that are missing are on record.
    pub(super) is_marked: bool,
}

/// Until the log is closed.
pub(super) async fn gather(Queue { mut entries, lost }: Queue, batches: mpsc::Sender<Batch>, metrics: AuditMetrics) {
    let mut gathered = Vec::with_capacity(MAX_BATCH);
    while entries.recv_many(&mut gathered, MAX_BATCH).await > 0 {
        // Behind all requests that are ready to bring their records.
        yield_now().await;
        while gathered.len() < MAX_BATCH
            && let Ok(entry) = entries.try_recv()
        {
            gathered.push(entry);
        }
        metrics.waiting(entries.len());
        let mut waiting = Vec::with_capacity(gathered.len());
        let mut bodies = Vec::with_capacity(gathered.len());
        let mut closed = None;
        for entry in gathered.drain(..) {
            match entry {
                Entry::Record { body, written } => {
                    bodies.push(body);
                    waiting.push(written);
                }
                Entry::Close(answer) => {
                    closed = Some(answer);
                    break;
                }
            }
        }
        let missing = lost.swap(0, Ordering::Relaxed);
        let (written, is_written) = oneshot::channel();
        let batch = Batch { bodies, missing, closes: closed.is_some(), written };
        // A writer that is gone has written nothing.
        let Written { count, is_marked } = match batches.send(batch).await {
            Ok(()) => is_written.await.unwrap_or_default(),
            Err(_) => Written::default(),
        };
        let unwritten = waiting.iter().skip(count).filter(|written| written.is_none()).count();
        let still_missing = if is_marked { 0 } else { missing } + unwritten as u64;
        lost.fetch_add(still_missing, Ordering::Relaxed);
        for (index, written) in waiting.into_iter().enumerate() {
            // Whoever does not wait any more has told the caller that there is no token.
            let _ = written.map(|written| written.send(index < count));
        }
        if let Some(closed) = closed {
            let _ = closed.send(());
            return;
        }
    }
}
