//! Bindings in this process: bounded, the longest unused forgotten first, gone with the process.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::sharded::{Shard, Sharded};
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
    /// Bindings in all shards.
    count: AtomicUsize,
    room: usize,
    metrics: AccountMetrics,
}

impl MemoryStore {
    /// Room for `max_bindings`, and at least one in each of 64 parts.
    #[must_use]
    pub fn new(max_bindings: usize, metrics: AccountMetrics) -> Self {
        Self { bindings: Sharded::new(), count: AtomicUsize::new(0), room: max_bindings, metrics }
    }

    fn decide(&self, asked: &Use, rules: AccountRules, now: UnixTime) -> Findings {
        let [first, ..] = *asked.account.as_bytes();
        // The map itself goes by the first eight bytes, of which it uses the upper and the lower bits.
        let mut shard = self.bindings.lock(asked.account.as_bytes().last().copied().unwrap_or(first));
        if let Some(place) = shard.find(&asked.account) {
            let binding = shard.at(place);
            let was_used = binding.last_used();
            let findings = binding.apply(asked, rules, now);
            // What others try does not keep a binding longer than its holder does.
            if !findings.other_person && minute(was_used) != minute(now) {
                shard.used(place);
            }
            return findings;
        }
        let (binding, findings) = Binding::new(asked, rules, now);
        shard.insert(asked.account, binding);
        self.metrics.bound();
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        self.make_room(&mut shard, count, rules, now);
        findings
    }

    /// After one that is new has been put in, with which there are `count`.
    fn make_room(&self, shard: &mut Shard<AccountId, Binding>, mut count: usize, rules: AccountRules, now: UnixTime) {
        for _ in 0..CLEARED {
            let Some(oldest) = shard.oldest() else { return };
            if !oldest.has_expired(rules, now) {
                break;
            }
            count = self.forget_oldest(shard);
            self.metrics.expired();
        }
        if count > self.room && shard.len() > 1 {
            self.forget_oldest(shard);
            self.metrics.evicted();
        }
    }

    fn forget_oldest(&self, shard: &mut Shard<AccountId, Binding>) -> usize {
        shard.forget_oldest();
        self.count.fetch_sub(1, Ordering::Relaxed) - 1
    }
}

/// The order of use is kept to the minute: to change places in it takes three entries from anywhere in memory.
const fn minute(time: UnixTime) -> i64 {
    time.seconds().div_euclid(60)
}

impl AccountStore for MemoryStore {
    fn apply<'a>(&'a self, asked: &Use, rules: AccountRules, now: UnixTime) -> Applied<'a> {
        Applied::Now(Ok(self.decide(asked, rules, now)))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("room", &self.room).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        domain::account::{PersonId, properties::assert_follows_model},
        telemetry::Metrics,
    };

    fn decide(store: &MemoryStore, asked: &Use, rules: AccountRules, now: i64) -> Findings {
        store.decide(asked, rules, UnixTime::from_seconds(now))
    }

    /// Of the same shard as all others.
    fn asked(account: u8, person: u8) -> Use {
        let (mut bytes, person) = ([account; 16], PersonId::from_bytes([person; 16]));
        bytes[15] = 0;
        Use { account: AccountId::from_bytes(bytes), person, is_enforced: true }
    }

    const RULES: AccountRules = AccountRules { window: 3600, tokens_per_hour: NonZeroU32::new(100) };

    #[test]
    fn every_history_is_judged_as_by_the_model() {
        let metrics = Metrics::default().accounts;
        assert_follows_model(
            || MemoryStore::new(1000, metrics.clone()),
            |store, asked, rules, now| store.decide(asked, rules, now),
        );
    }

    #[test]
    fn a_full_store_forgets_what_its_holder_has_not_used_for_longest() {
        let metrics = Metrics::default();
        let store = MemoryStore::new(3, metrics.accounts.clone());
        for account in 1..=3 {
            decide(&store, &asked(account, 1), RULES, 0);
        }
        // The first is used again; somebody else's attempts on the second are no use of it.
        decide(&store, &asked(1, 1), RULES, 60);
        assert!(decide(&store, &asked(2, 2), RULES, 120).other_person);
        decide(&store, &asked(4, 1), RULES, 180);
        let is_held = |account| decide(&store, &asked(account, 9), RULES, 240).other_person;
        assert_eq!([1, 3, 4].map(is_held), [true; 3]);
        let text = metrics.encode();
        assert!(text.contains("account_bindings 3\n") && text.contains("account_evictions_total 1\n"), "{text}");
        assert!(!is_held(2));
    }

    #[test]
    fn the_room_is_that_of_all_shards_and_a_new_account_has_some() {
        let metrics = Metrics::default();
        let store = MemoryStore::new(100, metrics.accounts.clone());
        let counted = |bindings, evictions| {
            let text = metrics.encode();
            text.contains(&format!("account_bindings {bindings}\n"))
                && text.contains(&format!("account_evictions_total {evictions}\n"))
        };
        // Of one shard.
        for account in 1..=100 {
            decide(&store, &asked(account, 1), RULES, 0);
        }
        assert!(counted(100, 0));
        decide(&store, &asked(101, 1), RULES, 0);
        assert!(counted(100, 1));
        // Of a shard that has no other.
        let elsewhere = Use { account: AccountId::from_bytes([1; 16]), ..asked(1, 1) };
        decide(&store, &elsewhere, RULES, 0);
        assert!(decide(&store, &Use { person: PersonId::from_bytes([9; 16]), ..elsewhere }, RULES, 0).other_person);
    }

    #[test]
    fn expired_bindings_make_room_and_are_no_loss() {
        let metrics = Metrics::default();
        let store = MemoryStore::new(1000, metrics.accounts.clone());
        for account in 1..=100 {
            decide(&store, &asked(account, 1), RULES, 0);
        }
        for account in 101..=160 {
            decide(&store, &asked(account, 1), RULES, 3600);
        }
        let text = metrics.encode();
        assert!(text.contains("account_bindings 60\n") && text.contains("account_evictions_total 0\n"), "{text}");
    }
}
