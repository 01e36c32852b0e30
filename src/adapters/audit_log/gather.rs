//! Gathers what is recorded at the same time, so that one write serves all of it, and tells everyone what became of their record.
//!
//! Where a write cannot wait, it is done here: to wake a thread for it, and to be woken by that, takes longer than the write. All
//! others are for a thread.

use std::sync::atomic::Ordering;

use tokio::{
    sync::{mpsc, oneshot},
    task::yield_now,
};

use super::writer::{Writer, Written};
use crate::{
    application::audit::{Entry, Queue},
    telemetry::AuditMetrics,
};

/// Records that are written at once.
const MAX_BATCH: usize = 512;

/// What is written at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// JSON objects, in order.
    pub(super) bodies: Vec<Vec<u8>>,
    /// Records that were given up before these.
    pub(super) missing: u64,
    /// Whether the record that closes the log follows.
    pub(super) closes: bool,
}

/// Who writes.
pub(super) enum Hand {
    /// This task.
    Own(Box<Writer>),
    /// A thread, which may wait.
    Thread(mpsc::Sender<(Batch, oneshot::Sender<Written>)>),
}

impl Hand {
    async fn write(&mut self, batch: Batch) -> Written {
        match self {
            Self::Own(writer) => writer.write(batch),
            Self::Thread(batches) => {
                let (written, is_written) = oneshot::channel();
                // A writer that is gone has written nothing.
                match batches.send((batch, written)).await {
                    Ok(()) => is_written.await.unwrap_or_default(),
                    Err(_) => Written::default(),
                }
            }
        }
    }
}

/// Until the log is closed.
pub(super) async fn gather(Queue { mut entries, lost }: Queue, mut hand: Hand, metrics: AuditMetrics) {
    // The log begins with the process, and not with its first decision.
    hand.write(Batch::default()).await;
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
        let batch = Batch { bodies, missing, closes: closed.is_some() };
        let Written { count, is_marked } = hand.write(batch).await;
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
