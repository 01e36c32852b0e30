//! Where it is kept whose an account is: in this process, or in a Redis that replicas share.

mod by_use;
mod memory_store;
mod redis_store;
mod sharded;

use std::sync::Arc;

use thiserror::Error;

pub use self::{memory_store::MemoryStore, redis_store::RedisStore};
use super::secret_sources::{self, SecretError};
use crate::{
    application::accounts::Accounts,
    config::{AccountsConfig, RedisConfig, SecretSource},
    domain::{account::OnStoreFailure, secret::AccountKey},
    telemetry::AccountMetrics,
};

/// Why there is no store.
#[derive(Debug, Error)]
pub enum AccountStoreError {
    /// The CAs cannot be used.
    #[error("accounts.redis.ca: {0}")]
    Ca(String),
    /// The library refuses the configuration.
    #[error("accounts.redis: {0}")]
    Client(String),
    /// The key of the hashes cannot be used.
    #[error("accounts.redis.hash_key: {0}")]
    Key(SecretError),
    /// The password cannot be used.
    #[error("accounts.redis.password: {0}")]
    Password(SecretError),
    /// The system has no random numbers.
    #[error("accounts: {0}")]
    Random(SecretError),
}

/// The guard with the store that is configured. A Redis that cannot be reached is tried again for as long as this lives.
///
/// # Errors
/// A file or a secret that the configuration names cannot be used.
pub async fn open(config: &AccountsConfig, metrics: AccountMetrics) -> Result<Accounts, AccountStoreError> {
    let Some(redis) = &config.redis else {
        let secret = secret_sources::load(&SecretSource::Generated).map_err(AccountStoreError::Random)?.secret;
        let store = MemoryStore::new(config.max_bindings, metrics.clone());
        // No store that cannot be asked, so nothing to decide.
        let never = OnStoreFailure::Deny;
        return Ok(Accounts::new(AccountKey::of_process(&secret), config.rules, never, Arc::new(store), metrics));
    };
    let secret = secret_sources::load(&redis.hash_key.0).map_err(AccountStoreError::Key)?.secret;
    let store = RedisStore::open(redis, metrics.clone()).await?;
    let key = AccountKey::shared(&secret);
    Ok(Accounts::new(key, config.rules, redis.on_store_failure, Arc::new(store), metrics))
}

/// Reads the files that a Redis needs, as [`open`] does.
///
/// # Errors
/// They cannot be used.
pub fn check(config: &AccountsConfig) -> Result<(), AccountStoreError> {
    config.redis.as_ref().map_or(Ok(()), redis_store::check)
}

/// Asks the Redis as the service would, once, about an account that does not exist and is forgotten after a second.
///
/// # Errors
/// What does not work, in one sentence without a full stop.
pub async fn probe(config: &RedisConfig) -> Result<(), String> {
    redis_store::probe(config).await
}
