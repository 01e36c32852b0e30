//! From the shape of `[accounts]` to valid types. What is wrong is replaced by its default; the errors see to it that nobody gets to
//! use it.

use std::{net::IpAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use toml::Spanned;
use url::{Host, Url};

use super::{
    AccountsConfig, RedisConfig, RedisUrl,
    parse::{Problems, parse_secret_source},
    parse_limits::{duration, number},
    raw::{RawAccounts, RawBound, RawOnStoreFailure, RawRedis},
};
use crate::domain::account::{AccountRules, OnStoreFailure};

const SECOND: Duration = Duration::from_secs(1);
const MOST_TOKENS: u32 = 50_000;
/// An answer is good for repeats only as long as the account cannot have changed hands.
const REPEATS_OF_A_WINDOW: u32 = 6;
const REDIS_PORT: u16 = 6379;

pub(super) fn parse_accounts(raw: RawAccounts, problems: &mut Problems<'_>) -> AccountsConfig {
    let default = AccountsConfig::default();
    let allowed = SECOND..=Duration::from_hours(30 * 24);
    let rules = AccountsConfig::DEFAULT_RULES;
    let window = duration(raw.window.as_ref(), allowed, Duration::from_secs(u64::from(rules.window)), problems);
    if let Some(given) = raw.window.filter(|_| window.subsec_nanos() > 0) {
        problems.add(&given.span(), "must be in whole seconds");
    }
    let tokens_per_hour = raw.tokens_per_hour.map_or(rules.tokens_per_hour, |bound| parse_bound(&bound, problems));
    let max_bindings = number(raw.max_bindings.as_ref(), 1000..=1_000_000_000, default.max_bindings, problems);
    let redis = raw.redis.and_then(|redis| parse_redis(redis, window, problems));
    let window = u32::try_from(window.as_secs()).unwrap_or(u32::MAX);
    AccountsConfig { rules: AccountRules { window, tokens_per_hour }, max_bindings, redis }
}

/// None = off.
fn parse_bound(raw: &Spanned<RawBound>, problems: &mut Problems<'_>) -> Option<NonZeroU32> {
    let bound = match raw.get_ref() {
        RawBound::Word(word) if word == "off" => return None,
        RawBound::Word(_) => None,
        RawBound::Number(given) => {
            u32::try_from(*given).ok().filter(|given| *given <= MOST_TOKENS).and_then(NonZeroU32::new)
        }
    };
    problems
        .take(&raw.span(), bound.ok_or_else(|| format!("must be a whole number from 1 to {MOST_TOKENS}, or \"off\"")))
}

fn parse_redis(raw: RawRedis, window: Duration, problems: &mut Problems<'_>) -> Option<RedisConfig> {
    let cluster = raw.cluster.is_some_and(Spanned::into_inner);
    let allow_plaintext = raw.allow_plaintext.as_ref().is_some_and(|allow| *allow.get_ref());
    let urls = parse_urls(&raw.urls, cluster, allow_plaintext, problems);
    let has_tls = urls.iter().any(|url| url.is_tls);
    if let Some(ca) = &raw.ca {
        if ca.get_ref().is_empty() {
            problems.add(&ca.span(), "must be the path of a PEM file");
        } else if !has_tls {
            problems.add(&ca.span(), "has no use without a rediss:// URL: remove it, or make the URLs rediss://");
        }
    }
    if let Some(username) = &raw.username {
        if username.get_ref().is_empty() {
            problems.add(&username.span(), "must not be empty: leave it out for the default user");
        } else if raw.password.is_none() {
            problems.add(&username.span(), "needs `password`: Redis signs nobody in without one");
        }
    }
    let mut secret = |raw: Spanned<_>| {
        let span = raw.span();
        let source = problems.take(&span, parse_secret_source(raw.into_inner()))?;
        Some((source, problems.locate(&span)))
    };
    let password = raw.password.map(&mut secret);
    let hash_key = secret(raw.hash_key);
    let longest = window / REPEATS_OF_A_WINDOW;
    let budget = Duration::from_millis(1)..=SECOND;
    let config = RedisConfig {
        urls,
        cluster,
        username: raw.username.map(Spanned::into_inner),
        password: password.map_or(Some(None), |password| password.map(Some))?,
        ca: raw.ca.map(|ca| PathBuf::from(ca.into_inner())),
        allow_plaintext,
        hash_key: hash_key?,
        budget: duration(raw.budget.as_ref(), budget, RedisConfig::DEFAULT_BUDGET, problems),
        repeats_for: duration(
            raw.repeats_for.as_ref(),
            Duration::ZERO..=Duration::from_secs(10),
            RedisConfig::DEFAULT_REPEATS_FOR.min(longest),
            problems,
        ),
        on_store_failure: match raw.on_store_failure {
            RawOnStoreFailure::Allow => OnStoreFailure::Allow,
            RawOnStoreFailure::Deny => OnStoreFailure::Deny,
        },
    };
    if let Some(given) = raw.repeats_for.filter(|_| config.repeats_for > longest) {
        let rule = "must be at most a sixth of `accounts.window`, so that an account cannot change hands meanwhile";
        problems.add(&given.span(), rule);
    }
    Some(config)
}

fn parse_urls(
    raw: &Spanned<Vec<Spanned<String>>>,
    cluster: bool,
    allow_plaintext: bool,
    problems: &mut Problems<'_>,
) -> Vec<RedisUrl> {
    let mut urls = Vec::with_capacity(raw.get_ref().len());
    for text in raw.get_ref() {
        let Some((url, is_local)) = problems.take(&text.span(), parse_url(text.get_ref())) else { continue };
        if !url.is_tls && !is_local && !allow_plaintext {
            problems.add(
                &text.span(),
                "must begin with rediss:// beyond this machine: whoever changes answers on their way gives accounts away. \
                 Where the network itself is encrypted, such as in a mesh, set allow_plaintext = true",
            );
        }
        urls.push(url);
    }
    match (raw.get_ref().len(), cluster) {
        (0, _) => problems.add(&raw.span(), "must name a server, or nodes of a cluster"),
        (1, _) | (_, true) => {}
        (_, false) => {
            problems
                .add(&raw.span(), "must be a single one, unless they are nodes of a cluster: then set cluster = true");
        }
    }
    if urls.iter().any(|url| url.is_tls) && urls.iter().any(|url| !url.is_tls) {
        problems.add(&raw.span(), "must all begin with rediss://, or all with redis://");
    }
    urls
}

/// The URL, and whether it is of this machine. Errors do not repeat it, for it may hold a password.
fn parse_url(text: &str) -> Result<(RedisUrl, bool), &'static str> {
    const FORM: &str = "must be rediss://HOST:PORT, or redis://HOST:PORT without TLS";
    let url = Url::parse(text).map_err(|_| FORM)?;
    let is_tls = match url.scheme() {
        "rediss" | "valkeys" => true,
        "redis" | "valkey" => false,
        _ => return Err(FORM),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password: they have keys of their own, `username` and `password`");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("must end with the port: the database is always 0");
    }
    // The scheme is none that the URL standard knows, so that an address is still a name.
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(FORM)?;
    let (host, is_local) = match Host::parse(host).map_err(|_| FORM)? {
        Host::Domain(name) => (name.clone(), name == "localhost"),
        Host::Ipv4(address) => (address.to_string(), IpAddr::V4(address).is_loopback()),
        Host::Ipv6(address) => (address.to_string(), IpAddr::V6(address).is_loopback()),
    };
    match url.port().unwrap_or(REDIS_PORT) {
        0 => Err("must name a port that can be connected to"),
        port => Ok((RedisUrl { host, port, is_tls }, is_local)),
    }
}

#[cfg(test)]
mod tests;
