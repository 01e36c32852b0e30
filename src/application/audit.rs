//! The audit log, from where decisions are made: an event becomes a record, and a token waits until its record is written.
//!
//! Records go through one queue to one writer, which writes all that wait at once (group commit). What is behind the queue is an
//! adapter's.

mod event;
mod record;
mod settle;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use thiserror::Error;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::timeout,
};

use self::event::Name;
pub use self::{
    event::{Asked, By, Event, Grant, Person},
    record::{Record, time},
    settle::Settle,
};
use super::Clock;
use crate::domain::{secret::PseudonymKey, subject::Subject, time::UnixTime};

/// Records that may wait for the writer. With more, tokens wait for room, and other records are given up and counted.
const QUEUE: usize = 4096;
/// How long a token waits for its record where a write may hang: less than callers do, so that they hear of it and try another replica.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long the end of the service waits for that of the log.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(5);
/// Requests of strangers that are recorded. The attack: whoever reaches the listener, proving nothing or an identity that is none of
/// the callers', fills the disk, and then no token is issued any more. Those beyond it are counted in the log.
const STRANGERS_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).unwrap();
const STRANGERS_AT_ONCE: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// Where events go. Without a log they go nowhere.
#[derive(Debug)]
pub struct Audit {
    clock: Arc<dyn Clock>,
    log: Option<Log>,
}

#[derive(Debug)]
struct Log {
    queue: mpsc::Sender<Entry>,
    arrived: Arc<Notify>,
    lost: Arc<AtomicU64>,
    hangs: Arc<AtomicBool>,
    people: People,
    strangers: DefaultDirectRateLimiter,
    patience: Option<Duration>,
}

/// How records name people.
#[derive(Debug)]
pub enum People {
    /// As they are.
    Plain,
    /// By pseudonyms.
    Hashed(Box<PseudonymKey>),
}

/// What the writer takes from the queue.
#[derive(Debug)]
pub enum Entry {
    /// The end: nothing comes after it. Told how many records are missing from the log.
    Close(oneshot::Sender<u64>),
    /// Write it.
    Record {
        /// What.
        record: Record,
        /// Told whether it is written; none = nobody waits. Once nobody waits any more, it must not be written: there is no token.
        written: Option<oneshot::Sender<bool>>,
    },
}

/// The writer's end of the queue.
#[derive(Debug)]
pub struct Queue {
    /// What is to be written, in order.
    pub entries: mpsc::Receiver<Entry>,
    /// Records that were given up since the writer last looked.
    pub lost: Arc<AtomicU64>,
    /// Told of each entry once it is in the queue.
    pub arrived: Arc<Notify>,
    /// Whether the writer does not answer, so that no token is worth waiting.
    pub hangs: Arc<AtomicBool>,
}

/// The record of a token could not be written, so the token does not leave.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the audit record could not be written")]
pub struct Unavailable;

/// What was decided is not all on record.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Unclosed {
    /// The log did not answer in time.
    #[error("the audit log could not be closed in time: its last records may be missing")]
    Hangs,
    /// So many records are missing from it, that of its end included.
    #[error("the audit log could not be written to its end: {0} record{are} missing from it", are = if *.0 == 1 { " is" } else { "s are" })]
    Missing(u64),
}

impl Audit {
    /// No log.
    #[must_use]
    pub fn off(clock: Arc<dyn Clock>) -> Self {
        Self { clock, log: None }
    }

    /// A log, and the end of it that a writer has to drain: within `patience`, or, where a write waits for nobody, as long as the caller
    /// waits, without a timer for each record.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, people: People, patience: Option<Duration>) -> (Self, Queue) {
        let (queue, entries) = mpsc::channel(QUEUE);
        let lost = Arc::<AtomicU64>::default();
        let strangers = RateLimiter::direct(Quota::per_second(STRANGERS_PER_SECOND).allow_burst(STRANGERS_AT_ONCE));
        let arrived = Arc::<Notify>::default();
        let hangs = Arc::<AtomicBool>::default();
        let ends = Queue { entries, lost: Arc::clone(&lost), arrived: Arc::clone(&arrived), hangs: Arc::clone(&hangs) };
        let log = Log { queue, arrived, lost, hangs, people, strangers, patience };
        (Self { clock, log: Some(log) }, ends)
    }

    /// The person as records name them; none without a log.
    #[must_use]
    pub fn person(&self, subject: &Subject) -> Option<Person> {
        let people = &self.log.as_ref()?.people;
        Some(Person {
            subject: people.name("email", subject.email.as_str()),
            user_id: subject.id.as_ref().map(|id| people.name("user_id", id)),
        })
    }

    /// Records that wait for the writer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.log.as_ref().map_or(0, |log| log.queue.max_capacity() - log.queue.capacity())
    }

    /// The record of an event of this time, for [`Audit::commit`]; none without a log.
    #[must_use]
    pub fn record<'a>(&self, time: UnixTime, event: impl FnOnce() -> Event<'a>) -> Option<Record> {
        self.log.as_ref().map(|_| Record::new(&event(), time))
    }

    /// Returns once `record` is written as durably as is configured.
    ///
    /// # Errors
    /// It is not, or not in time.
    pub async fn commit(&self, record: Option<Record>) -> Result<(), Unavailable> {
        let (Some(log), Some(record)) = (&self.log, record) else { return Ok(()) };
        if log.hangs.load(Ordering::Relaxed) {
            return Err(Unavailable);
        }
        let (written, is_written) = oneshot::channel();
        let commit = async {
            log.queue.send(Entry::Record { record, written: Some(written) }).await.map_err(|_| Unavailable)?;
            log.arrived.notify_one();
            if is_written.await == Ok(true) { Ok(()) } else { Err(Unavailable) }
        };
        match log.patience {
            Some(patience) => timeout(patience, commit).await.unwrap_or(Err(Unavailable)),
            None => commit.await,
        }
    }

    /// Writes what nobody waits for. With a full queue it is given up, and the log says later that records are missing; so is
    /// what strangers make happen more often than is of use.
    pub fn note(&self, event: &Event<'_>) {
        let Some(log) = &self.log else { return };
        if event.is_by_a_stranger() && log.strangers.check().is_err() {
            log.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let record = Record::new(event, self.clock.now());
        match log.queue.try_send(Entry::Record { record, written: None }) {
            Ok(()) => log.arrived.notify_one(),
            Err(_) => drop(log.lost.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Returns once everything that was noted is written, and the log is closed.
    ///
    /// # Errors
    /// It is not, or not in time.
    pub async fn close(&self) -> Result<(), Unclosed> {
        let Some(log) = &self.log else { return Ok(()) };
        let (closed, missing) = oneshot::channel();
        let close = async {
            // A writer that is gone has closed the log.
            if log.queue.send(Entry::Close(closed)).await.is_err() {
                return 0;
            }
            log.arrived.notify_one();
            missing.await.unwrap_or(0)
        };
        match timeout(PATIENCE_AT_THE_END, close).await {
            Ok(0) => Ok(()),
            Ok(missing) => Err(Unclosed::Missing(missing)),
            Err(_) => Err(Unclosed::Hangs),
        }
    }
}

impl People {
    fn name(&self, kind: &str, text: &str) -> Name {
        match self {
            Self::Plain => Name::Plain(text.to_owned()),
            Self::Hashed(key) => Name::Hashed(key.pseudonym(kind, text)),
        }
    }
}

#[cfg(test)]
mod tests;
