//! Bindings in a Redis or Valkey that all replicas ask: one atomic round trip, within a budget, or none while it fails.

mod connect;
mod gather;
mod link;
mod repeats;
mod script;

use std::{fmt, sync::Arc};

use tokio_util::sync::{CancellationToken, DropGuard};

pub(super) use self::{connect::check, link::probe};
use self::{
    link::{Link, Unanswered},
    repeats::{Known, Repeats},
    script::Question,
};
use super::AccountStoreError;
use crate::{
    application::accounts::{AccountStore, Applied, StoreUnavailable},
    config::RedisConfig,
    domain::{
        account::{AccountRules, Findings, Use},
        time::UnixTime,
    },
    telemetry::{AccountMetrics, StoreCall},
};

/// Remembers in a Redis.
pub struct RedisStore {
    link: Arc<Link>,
    repeats: Repeats,
    metrics: AccountMetrics,
    _ends_with_this: DropGuard,
}

impl RedisStore {
    /// Connects, and goes on without a connection if that takes longer than a start may be held up.
    ///
    /// # Errors
    /// A file or a secret that the configuration names cannot be used.
    pub async fn open(config: &RedisConfig, metrics: AccountMetrics) -> Result<Self, AccountStoreError> {
        check(config)?;
        let ended = CancellationToken::new();
        let link = Link::open(config.clone(), metrics.clone(), ended.clone()).await;
        let repeats = Repeats::new(config.repeats_for);
        Ok(Self { link, repeats, metrics, _ends_with_this: ended.drop_guard() })
    }

    async fn ask(&self, question: Question, rules: AccountRules) -> Result<Findings, StoreUnavailable> {
        match self.link.ask(question, rules).await {
            Ok(answer) => {
                self.repeats.remember(&question.asked, answer);
                Ok(answer.findings)
            }
            Err(unanswered) => {
                // What Redis may have been told is not told again: tokens that count twice refuse their person the next.
                if unanswered == Unanswered::NotAsked {
                    self.repeats.give_back(question);
                }
                Err(StoreUnavailable)
            }
        }
    }
}

impl AccountStore for RedisStore {
    /// The time is Redis's own: the clocks of replicas may differ. By `now`, it is told how long ago something was.
    fn apply<'a>(&'a self, asked: &Use, rules: AccountRules, now: UnixTime) -> Applied<'a> {
        match self.repeats.look(asked, rules.tokens_per_hour, now) {
            Known::Answer(findings) => {
                self.metrics.store_called(StoreCall::Cached);
                Applied::Now(Ok(findings))
            }
            Known::Question(question) => Applied::Later(Box::pin(self.ask(question, rules))),
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}
