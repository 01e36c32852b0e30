//! `[accounts]`

use std::{
    fmt,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Location, SecretSource};
use crate::domain::account::{AccountRules, OnStoreFailure};

/// How it is kept whose an account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountsConfig {
    /// What holds for all accounts.
    pub rules: AccountRules,
    /// Accounts that one process remembers without `redis`.
    pub max_bindings: usize,
    /// `[accounts.redis]`; none = in memory.
    pub redis: Option<RedisConfig>,
}

impl Default for AccountsConfig {
    fn default() -> Self {
        Self { rules: Self::DEFAULT_RULES, max_bindings: Self::DEFAULT_MAX_BINDINGS, redis: None }
    }
}

impl AccountsConfig {
    /// A day, and a token every twelve seconds for an hour.
    pub const DEFAULT_RULES: AccountRules =
        AccountRules { window: 24 * 60 * 60, tokens_per_hour: NonZeroU32::new(300) };
    /// Some 12 MB.
    pub const DEFAULT_MAX_BINDINGS: usize = 100_000;

    /// Where secrets are read from.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretSource> {
        self.redis.iter().flat_map(|redis| [Some(&redis.hash_key), redis.password.as_ref()]).flatten().map(|(at, _)| at)
    }

    /// The CAs that vouch for the store.
    #[must_use]
    pub fn ca(&self) -> Option<&Path> {
        self.redis.as_ref()?.ca.as_deref()
    }

    /// TCP ports that are connected to.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.redis.iter().flat_map(|redis| redis.urls.iter().map(|url| url.port))
    }
}

/// `[accounts.redis]`
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// One server, or nodes of the cluster; at least one.
    pub urls: Vec<RedisUrl>,
    /// Whether they are nodes of a cluster.
    pub cluster: bool,
    /// Of the ACL; none = the default user.
    pub username: Option<String>,
    /// Where its password is, and where that stands in the file.
    pub password: Option<(SecretSource, Location)>,
    /// CAs that vouch for the servers, as PEM; none = those of the system.
    pub ca: Option<PathBuf>,
    /// Whether plaintext beyond this machine was asked for.
    pub allow_plaintext: bool,
    /// Where the key of the hashes is, the same for all replicas, and where that stands in the file.
    pub hash_key: (SecretSource, Location),
    /// How long a token waits for the store at most.
    pub budget: Duration,
    /// How long an answer is good for repeats of the same question; zero = for none.
    pub repeats_for: Duration,
    /// What becomes of a token if the store cannot tell.
    pub on_store_failure: OnStoreFailure,
}

impl RedisConfig {
    /// Where nothing else is configured.
    pub const DEFAULT_BUDGET: Duration = Duration::from_millis(50);
    /// Where nothing else is configured.
    pub const DEFAULT_REPEATS_FOR: Duration = Duration::from_secs(2);
}

/// The same but for where it stands in the file.
impl PartialEq for RedisConfig {
    fn eq(&self, other: &Self) -> bool {
        let Self { urls, cluster, username, password, ca, allow_plaintext, .. } = self;
        let Self { hash_key: (hash_key, _), budget, repeats_for, on_store_failure, .. } = self;
        let source = |password: &Option<(SecretSource, Location)>| password.as_ref().map(|(source, _)| source.clone());
        (urls, cluster, username, source(password))
            == (&other.urls, &other.cluster, &other.username, source(&other.password))
            && (ca, allow_plaintext, hash_key) == (&other.ca, &other.allow_plaintext, &other.hash_key.0)
            && (budget, repeats_for, on_store_failure) == (&other.budget, &other.repeats_for, &other.on_store_failure)
    }
}

impl Eq for RedisConfig {}

/// `redis://HOST:PORT`, or `rediss://HOST:PORT` with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// A name, or an address without brackets.
    pub host: String,
    /// 6379 where none is given.
    pub port: u16,
    /// Whether TLS is spoken.
    pub is_tls: bool,
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "rediss" } else { "redis" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}
