//! Bindings in this process: bounded, the longest unused forgotten first, gone with the process.

use std::fmt;

use super::sharded::{SHARDS, Shard, Sharded};
use crate::{
    application::accounts::{AccountStore, Applied},
    domain::{
        account::{AccountId, AccountRules, Binding, Findings, Use},
        time::UnixTime,
    },
    telemetry::AccountMetrics,
};

/// Expired bindings that a new one clears away, so that memory follows use.
const CLEARED: usize = 2;

/// Remembers in memory.
pub struct MemoryStore {
    bindings: Sharded<AccountId, Binding>,
    /// For the bindings of one shard.
    room: usize,
    metrics: AccountMetrics,
}

impl MemoryStore {
    /// Room for `max_bindings`, and at least one in each of 64 parts.
    #[must_use]
    pub fn new(max_bindings: usize, metrics: AccountMetrics) -> Self {
        Self { bindings: Sharded::new(), room: max_bindings.div_ceil(SHARDS), metrics }
    }

    fn decide(&self, asked: &Use, rules: &AccountRules, now: UnixTime) -> Findings {
        let [first, ..] = *asked.account.as_bytes();
        // The map itself goes by the first eight bytes, of which it uses the upper and the lower bits.
        let mut shard = self.bindings.lock(asked.account.as_bytes().last().copied().unwrap_or(first));
        if let Some(binding) = shard.peek_mut(&asked.account) {
            let findings = binding.apply(asked, rules, now);
            // What others try does not keep a binding longer than its holder does.
            if !findings.other_person {
                shard.promote(&asked.account);
            }
            return findings;
        }
        let (binding, findings) = Binding::new(asked, rules, now);
        shard.put(asked.account, binding);
        self.metrics.bound();
        self.make_room(&mut shard, rules, now);
        findings
    }

    fn make_room(&self, shard: &mut Shard<AccountId, Binding>, rules: &AccountRules, now: UnixTime) {
        for _ in 0..CLEARED {
            let Some((_, oldest)) = shard.peek_lru() else { return };
            if !oldest.has_expired(rules, now) {
                break;
            }
            shard.pop_lru();
            self.metrics.expired();
        }
        if shard.len() > self.room {
            shard.pop_lru();
            self.metrics.evicted();
        }
    }
}

impl AccountStore for MemoryStore {
    fn apply<'a>(&'a self, asked: &Use, rules: &AccountRules, now: UnixTime) -> Applied<'a> {
        Applied::Now(Ok(self.decide(asked, rules, now)))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("room", &self.room).finish_non_exhaustive()
    }
}
