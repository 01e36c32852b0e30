//! The store itself, without a service around it.

use std::time::Duration;

use metabase_token_service::{
    adapters::account_store::RedisStore,
    application::accounts::{AccountStore as _, Applied, StoreUnavailable},
    config::{Location, RedisConfig, RedisUrl, SecretSource},
    domain::{
        account::{AccountId, AccountRules, Findings, OnStoreFailure, PersonId, Use},
        time::UnixTime,
    },
    telemetry::Metrics,
};

use crate::redis_process::Redis;

/// Of this server, or of all nodes of a cluster. Answers nothing without Redis.
pub(crate) async fn open(servers: &[&Redis], budget: Duration) -> RedisStore {
    open_with_repeats(servers, budget, Duration::ZERO).await
}

/// The same, but what Redis said is good for repeats.
pub(crate) async fn open_with_repeats(servers: &[&Redis], budget: Duration, repeats_for: Duration) -> RedisStore {
    let url = |server: &&Redis| RedisUrl { host: "127.0.0.1".to_owned(), port: server.port, is_tls: false };
    let config = RedisConfig {
        urls: servers.iter().map(url).collect(),
        cluster: servers.len() > 1,
        username: None,
        password: None,
        ca: None,
        allow_plaintext: false,
        hash_key: (SecretSource::Generated, Location::default()),
        budget,
        repeats_for,
        on_store_failure: OnStoreFailure::Deny,
    };
    RedisStore::open(&config, Metrics::default().accounts).await.unwrap()
}

/// A made-up one.
pub(crate) fn asked(account: u8, person: u8, is_enforced: bool) -> Use {
    Use { account: AccountId::from_bytes([account; 16]), person: PersonId::from_bytes([person; 16]), is_enforced }
}

pub(crate) async fn decide(store: &RedisStore, asked: Use, rules: AccountRules) -> Result<Findings, StoreUnavailable> {
    decide_at(store, asked, rules, 0).await
}

/// At this time by the clock of the service.
pub(crate) async fn decide_at(
    store: &RedisStore,
    asked: Use,
    rules: AccountRules,
    seconds: i64,
) -> Result<Findings, StoreUnavailable> {
    match store.apply(&asked, rules, UnixTime::from_seconds(seconds)) {
        Applied::Now(found) => found,
        Applied::Later(found) => found.await,
    }
}
