//! Bindings in a Redis or Valkey that all replicas ask: one atomic round trip, within a budget, or none while it fails.

mod connect;
mod link;
mod repeats;
mod script;

use std::{fmt, sync::Arc};

use tokio_util::sync::{CancellationToken, DropGuard};

pub(super) use self::{connect::check, link::probe};
use self::{link::Link, repeats::Repeats};
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

    async fn ask(&self, asked: Use, rules: AccountRules) -> Result<Findings, StoreUnavailable> {
        let uncounted = self.repeats.take_uncounted(&asked);
        let answer = self.link.ask(&asked, rules, uncounted).await;
        let answer = answer.inspect_err(|StoreUnavailable| self.repeats.give_back(&asked, uncounted))?;
        self.repeats.remember(&asked, answer);
        Ok(answer.findings)
    }
}

impl AccountStore for RedisStore {
    /// The time is Redis's own: the clocks of replicas may differ.
    fn apply<'a>(&'a self, asked: &Use, rules: AccountRules, _: UnixTime) -> Applied<'a> {
        if let Some(findings) = self.repeats.look(asked, rules.tokens_per_hour) {
            self.metrics.store_called(StoreCall::Cached);
            return Applied::Now(Ok(findings));
        }
        Applied::Later(Box::pin(self.ask(*asked, rules)))
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}
