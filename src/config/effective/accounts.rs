//! `[accounts]` as TOML.

use std::time::Duration;

use toml::{Table, Value};

use super::{super::AccountsConfig, duration, put, secret_source};

pub(super) fn accounts(config: &AccountsConfig) -> Table {
    let mut out = Table::new();
    let rules = config.rules;
    put(&mut out, "window", duration(Some(Duration::from_secs(u64::from(rules.window)))));
    let bound = rules.tokens_per_hour.map_or_else(|| Value::from("off"), |most| i64::from(most.get()).into());
    put(&mut out, "tokens_per_hour", bound);
    put(&mut out, "max_bindings", i64::try_from(config.max_bindings).unwrap_or(i64::MAX));
    let Some(redis) = &config.redis else { return out };
    let mut of_redis = Table::new();
    put(&mut of_redis, "urls", redis.urls.iter().map(ToString::to_string).collect::<Vec<_>>());
    put(&mut of_redis, "cluster", redis.cluster);
    if let Some(username) = &redis.username {
        put(&mut of_redis, "username", username.as_str());
    }
    if let Some((source, _)) = &redis.password {
        put(&mut of_redis, "password", secret_source(source));
    }
    if let Some(ca) = &redis.ca {
        put(&mut of_redis, "ca", ca.display().to_string());
    }
    put(&mut of_redis, "allow_plaintext", redis.allow_plaintext);
    put(&mut of_redis, "hash_key", secret_source(&redis.hash_key.0));
    put(&mut of_redis, "budget", duration(Some(redis.budget)));
    put(&mut of_redis, "repeats_for", duration(Some(redis.repeats_for)));
    put(&mut of_redis, "on_store_failure", redis.on_store_failure.as_str());
    put(&mut out, "redis", of_redis);
    out
}
