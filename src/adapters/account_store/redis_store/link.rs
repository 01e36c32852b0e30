//! Keeps a connection to Redis. While there is none, nobody waits: questions are answered at once as "cannot be asked", and a task of
//! its own connects again, with pauses that grow.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use redis::RedisError;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    connect::{Connection, PATIENCE, connect},
    gather::{Waiting, gather},
    script::{self, Answer, Question},
};
use crate::{
    application::watch_metabase::jittered,
    config::RedisConfig,
    domain::account::{AccountId, AccountRules},
    telemetry::{AccountMetrics, StoreCall},
};

/// Questions that may wait to be sent at once. The accident: a Redis that stops makes every request of the budget's time wait.
const MAX_WAITING: usize = 1024;
/// How long all questions may fail before the connection is given up. All that wait at one moment fail together when the network, or
/// this machine, pauses for longer than the budget.
const MAX_FAILING: Duration = Duration::from_millis(250);
/// Between two looks whether an idle connection lives.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Before connecting again; doubled each time, up to the most, and a tenth more or less.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const WARNINGS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// How long a start waits for the first connection.
const PATIENCE_AT_START: Duration = Duration::from_secs(2);

pub(super) struct Link {
    config: RedisConfig,
    metrics: AccountMetrics,
    live: ArcSwapOption<Live>,
    began: Instant,
    /// Milliseconds from when it began to the first of the failures in a row, and one more; 0 = the last question was answered.
    failing_since: AtomicU64,
    connections: AtomicU64,
    given_up: Notify,
    /// For keys that others have written.
    warnings: DefaultDirectRateLimiter,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// Redis does not know of the question, and never will.
    NotAsked,
    /// Redis may have heard of it, or may still hear.
    Unknown,
}

/// A connection that works as far as is known.
struct Live {
    connection: Connection,
    /// To the task that asks over it, which ends with this.
    questions: mpsc::Sender<Waiting>,
    number: u64,
}

impl Link {
    /// With a connection, if there is one to be had soon. It is kept until `ended`.
    pub(super) async fn open(config: RedisConfig, metrics: AccountMetrics, ended: CancellationToken) -> Arc<Self> {
        let link = Arc::new(Self {
            config,
            metrics,
            live: ArcSwapOption::empty(),
            began: Instant::now(),
            failing_since: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            given_up: Notify::new(),
            warnings: RateLimiter::direct(Quota::per_minute(WARNINGS_PER_MINUTE)),
        });
        let first = timeout(PATIENCE_AT_START, connect_and_rehearse(&link.config)).await;
        let first = first.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        match first {
            Ok(connection) => link.use_from_now_on(connection),
            Err(error) => link.say_unreachable(&error),
        }
        let kept = Arc::clone(&link);
        tokio::spawn(async move { ended.run_until_cancelled(kept.keep()).await });
        link
    }

    /// Redis's answer, within the budget.
    pub(super) async fn ask(&self, question: Question, rules: AccountRules) -> Result<Answer, Unanswered> {
        let (answered, answer) = oneshot::channel();
        let Some(number) = self.send(Waiting { question, rules, answered }) else {
            self.metrics.store_called(StoreCall::Skipped);
            return Err(Unanswered::NotAsked);
        };
        match timeout(self.config.budget, answer).await {
            Ok(Ok(Ok(answer))) => {
                self.failing_since.store(0, Ordering::Relaxed);
                if let Some(answer) = answer {
                    self.metrics.store_called(StoreCall::Answered);
                    return Ok(answer);
                }
                self.found_foreign(question.asked.account);
            }
            Ok(Ok(Err(error))) => self.failed(number, Some(&error)),
            Ok(Err(_)) | Err(_) => self.failed(number, None),
        }
        Err(Unanswered::Unknown)
    }

    /// Whoever comes again and again for such an account does not fill the log.
    fn found_foreign(&self, account: AccountId) {
        self.metrics.store_called(StoreCall::Foreign);
        if self.warnings.check().is_ok() {
            let mut key = String::new();
            script::write_key(account, &mut key);
            tracing::warn!(key, "A key of the account store has a value that this service has not written: delete it");
        }
    }

    /// To whichever connection there is, of which this is the number.
    fn send(&self, waiting: Waiting) -> Option<u64> {
        let live = self.live.load();
        let live = live.as_ref()?;
        live.questions.try_send(waiting).ok().map(|()| live.number)
    }

    fn failed(&self, number: u64, error: Option<&RedisError>) {
        self.metrics.store_called(StoreCall::Failed);
        let now = self.began.elapsed();
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX - 1) + 1;
        let first = self.failing_since.compare_exchange(0, millis, Ordering::Relaxed, Ordering::Relaxed);
        let since = first.err().unwrap_or(millis);
        if now.saturating_sub(Duration::from_millis(since)) >= MAX_FAILING
            || error.is_some_and(RedisError::is_unrecoverable_error)
        {
            let reason = error.map_or_else(|| "no answer within the budget".to_owned(), ToString::to_string);
            self.give_up(number, &reason);
        }
    }

    /// Once for each connection, whoever notices.
    fn give_up(&self, number: u64, reason: &str) {
        let is_it = |live: &Option<Arc<Live>>| live.as_ref().is_some_and(|live| live.number == number);
        let before = self.live.rcu(|live| if is_it(live) { None } else { live.clone() });
        if is_it(&before) {
            self.say_unreachable(reason);
            self.given_up.notify_one();
        }
    }

    fn say_unreachable(&self, reason: &str) {
        self.metrics.store_is(true);
        let on_store_failure = self.config.on_store_failure.as_str();
        tracing::error!(reason, on_store_failure, "The account store cannot be asked");
    }

    fn use_from_now_on(&self, connection: Connection) {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        self.failing_since.store(0, Ordering::Relaxed);
        let (questions, asked) = mpsc::channel(MAX_WAITING);
        tokio::spawn(gather(connection.clone(), asked));
        self.live.store(Some(Arc::new(Live { connection, questions, number })));
        self.metrics.store_is(false);
        tracing::info!("The account store can be asked");
    }

    /// For ever.
    async fn keep(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(live) = self.live.load_full() {
                pause = FIRST_PAUSE;
                tokio::select! {
                    () = self.given_up.notified() => {}
                    reason = beats(live.connection.clone()) => self.give_up(live.number, &reason),
                }
                continue;
            }
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match timeout(PATIENCE, connect_and_rehearse(&self.config)).await {
                Ok(Ok(connection)) => self.use_from_now_on(connection),
                Ok(Err(reason)) => tracing::debug!(reason, "The account store still cannot be asked"),
                Err(_) => tracing::debug!("The account store still does not answer"),
            }
        }
    }
}

/// Ends with the reason for which the connection is of no use.
async fn beats(mut connection: Connection) -> String {
    loop {
        sleep(jittered(HEARTBEAT)).await;
        match timeout(PATIENCE, script::beat(&mut connection)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "no answer to a heartbeat".to_owned(),
        }
    }
}

/// A server that is stopped still takes connections (the kernel does), and one that takes no writes still answers.
async fn connect_and_rehearse(config: &RedisConfig) -> Result<Connection, String> {
    let mut connection = connect(config).await?;
    script::rehearse(&mut connection).await?;
    // Takes another right.
    script::beat(&mut connection).await.map_err(|error| error.to_string())?;
    Ok(connection)
}

pub(in crate::adapters::account_store) async fn probe(config: &RedisConfig) -> Result<(), String> {
    let asking = connect_and_rehearse(config);
    let asked =
        timeout(PATIENCE_AT_START, asking).await.unwrap_or_else(|_| Err("it does not answer in time".to_owned()));
    asked.map(drop)
}
