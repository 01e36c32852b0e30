//! Gathers what is recorded at the same time, so that one write serves all of it, and tells everyone what became of their record.
//!
//! Where a write cannot wait, whoever has brought records writes them at the end of its turn: to wake another for it, and to be
//! woken by that, takes longer than the write. What is left, and all that may wait, is for a task.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Mutex, Notify, mpsc, oneshot},
    task::yield_now,
    time::timeout,
};

use super::writer::{Writer, Written};
use crate::{
    application::audit::{Entry, Queue, Record},
    telemetry::AuditMetrics,
};

/// Records that are written at once.
const MAX_BATCH: usize = 512;
/// After this, a write counts as one that hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a log that cannot be written is left alone if nothing is recorded.
const RETRY: Duration = Duration::from_secs(5);
/// Fewer are left for the task, which gathers those of other connections, too: a write for each record takes longer than that.
const MIN_SETTLED: usize = 4;
/// The same where the task runs on the same thread as all connections, so that nobody has to be woken up.
const MIN_SETTLED_ALONE: usize = 32;

/// What is written at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// In order.
    pub(super) records: Vec<Record>,
    /// Records that were given up before these.
    pub(super) missing: u64,
    /// Whether the record that closes the log follows.
    pub(super) closes: bool,
}

/// Who waits for what becomes of a batch.
struct Waiting {
    /// In the order of its records; none = nobody.
    written: Vec<Option<oneshot::Sender<bool>>>,
    missing: u64,
    closed: Option<oneshot::Sender<u64>>,
}

/// Who writes.
pub(super) enum Hand {
    /// Whoever gathers.
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

/// The writer's end of the queue.
pub(super) struct Gatherer {
    arrived: Arc<Notify>,
    gathering: Mutex<Gathering>,
    watch: Watch,
}

/// Tells of a write that hangs.
#[derive(Clone)]
struct Watch {
    metrics: AuditMetrics,
    hangs: Arc<AtomicBool>,
}

struct Gathering {
    entries: mpsc::Receiver<Entry>,
    lost: Arc<AtomicU64>,
    hand: Hand,
    watch: Watch,
    min_settled: usize,
    is_closed: bool,
}

impl Gatherer {
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn new(Queue { entries, lost, arrived, hangs }: Queue, hand: Hand, metrics: AuditMetrics) -> Self {
        let watch = Watch { metrics, hangs };
        let is_alone = Handle::current().metrics().num_workers() == 1;
        let min_settled = if is_alone { MIN_SETTLED_ALONE } else { MIN_SETTLED };
        let gathering = Gathering { entries, lost, hand, watch: watch.clone(), min_settled, is_closed: false };
        Self { arrived, gathering: Mutex::new(gathering), watch }
    }

    /// Writes a batch of what waits, if it is worth a write that cannot wait, and nobody is writing. Whether anything was written.
    pub(super) fn settle(&self) -> bool {
        self.gathering.try_lock().is_ok_and(|mut gathering| gathering.settle())
    }

    /// Until the log is closed.
    pub(super) async fn run(&self) {
        // The log begins with the process, and not with its first decision.
        self.gathering.lock().await.begin().await;
        while !self.gathering.lock().await.is_closed {
            if !self.watch.metrics.is_failing() {
                self.arrived.notified().await;
            } else if timeout(RETRY, self.arrived.notified()).await.is_err() {
                // Nobody asks, and whoever has mended the log is to see it.
                self.watch.over(self.gathering.lock()).await.begin().await;
                continue;
            }
            if self.gathering.try_lock().is_ok_and(|gathering| gathering.entries.is_empty()) {
                continue;
            }
            // Behind all requests that are ready to bring their records.
            yield_now().await;
            // Whoever has it may be in the midst of a write.
            self.watch.over(self.gathering.lock()).await.write_all().await;
        }
    }
}

impl Watch {
    /// Waits for a write, and says so if that takes long: a dead file system or a full pipe tells nobody itself, and whoever waits for a
    /// record may have a deadline that is shorter.
    async fn over<T>(&self, write: impl Future<Output = T>) -> T {
        let mut write = pin!(write);
        if let Ok(written) = timeout(PATIENCE, &mut write).await {
            return written;
        }
        self.hangs.store(true, Ordering::Relaxed);
        if self.metrics.hangs() {
            tracing::error!("The audit log does not answer: no token leaves until it does");
        }
        let written = write.await;
        self.hangs.store(false, Ordering::Relaxed);
        tracing::info!("The audit log answers again");
        written
    }
}

impl Gathering {
    /// One batch: what others bring meanwhile is theirs to write, or the task's, or a connection would write for all of them and never
    /// get to its own requests again.
    fn settle(&mut self) -> bool {
        if matches!(self.hand, Hand::Own(_))
            && self.entries.len() >= self.min_settled
            && let Some((batch, waiting)) = self.take()
            && let Hand::Own(writer) = &mut self.hand
        {
            let written = writer.write(batch);
            self.tell(waiting, written);
            return true;
        }
        false
    }

    /// Writes what the log says of itself, if there is something.
    async fn begin(&mut self) {
        self.watch.over(self.hand.write(Batch::default())).await;
    }

    async fn write_all(&mut self) {
        while let Some((batch, waiting)) = self.take() {
            let written = self.watch.over(self.hand.write(batch)).await;
            self.tell(waiting, written);
        }
    }

    /// What waits, up to the end of the log; none if nothing does.
    fn take(&mut self) -> Option<(Batch, Waiting)> {
        let count = self.entries.len().min(MAX_BATCH);
        let (mut records, mut written) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut closed, mut given_up) = (None, 0);
        while records.len() < MAX_BATCH
            && closed.is_none()
            && let Ok(entry) = self.entries.try_recv()
        {
            match entry {
                // Whoever does not wait any more has told the caller that there is no token, and the log must not say that there is one.
                Entry::Record { written: Some(own), .. } if own.is_closed() => given_up += 1,
                Entry::Record { record, written: own } => {
                    records.push(record);
                    written.push(own);
                }
                Entry::Close(answer) => closed = Some(answer),
            }
        }
        self.watch.metrics.given_up(given_up);
        if records.is_empty() && closed.is_none() {
            return None;
        }
        self.watch.metrics.in_hand(records.len());
        let missing = self.lost.swap(0, Ordering::Relaxed);
        let batch = Batch { records, missing, closes: closed.is_some() };
        Some((batch, Waiting { written, missing, closed }))
    }

    fn tell(&mut self, waiting: Waiting, Written { count, is_marked }: Written) {
        let Waiting { written, missing, closed } = waiting;
        self.watch.metrics.in_hand(0);
        let unwritten = written.iter().skip(count).filter(|written| written.is_none()).count();
        let still_missing = if is_marked { 0 } else { missing } + unwritten as u64;
        self.lost.fetch_add(still_missing, Ordering::Relaxed);
        // That of the end comes behind those that were given.
        let is_ended = count > written.len();
        for (index, written) in written.into_iter().enumerate() {
            // Who has given up in the midst of the write is on record with a token that has not left.
            let _ = written.map(|written| written.send(index < count));
        }
        if let Some(closed) = closed {
            self.is_closed = true;
            // Nobody waits for what comes after the end.
            self.entries.close();
            while self.entries.try_recv().is_ok() {}
            let _ = closed.send(self.lost.load(Ordering::Relaxed) + u64::from(!is_ended));
        }
    }
}
