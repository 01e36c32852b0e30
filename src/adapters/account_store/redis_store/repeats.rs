//! Repeats of the same question, answered without Redis for a moment. A yes is sound: Redis has said so a moment ago, and keeps the account
//! for the whole window, which is at least six times as long.

use std::{
    hash::{Hash, Hasher},
    num::NonZeroU32,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    super::sharded::{SHARDS, Sharded},
    script::Answer,
};
use crate::domain::account::{AccountId, Findings, PersonId, Use};

/// Questions that are remembered.
const ROOM: usize = 65_536;

/// The last answers.
pub(super) struct Repeats {
    answers: Sharded<Question, Remembered>,
    lasts: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Question {
    account: AccountId,
    person: PersonId,
}

impl Hash for Question {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.account.hash(state);
        let mut first = [0; 8];
        first.copy_from_slice(&self.person.as_bytes()[..8]);
        state.write_u64(u64::from_ne_bytes(first));
    }
}

struct Remembered {
    answer: Answer,
    /// Tokens that were issued since, and that Redis does not know of.
    uncounted: u32,
    until: Instant,
}

impl Repeats {
    /// Answers last for `lasts`.
    pub(super) fn new(lasts: Duration) -> Self {
        Self { answers: Sharded::new(), lasts }
    }

    /// The answer to a repeat, whose token is counted; none if Redis has to be asked.
    pub(super) fn look(&self, asked: &Use, most: Option<NonZeroU32>) -> Option<Findings> {
        if self.lasts.is_zero() {
            return None;
        }
        let mut shard = self.answers.lock(shard(asked));
        let remembered = shard.get_mut(&question(asked))?;
        if remembered.until <= Instant::now() {
            return None;
        }
        let findings = remembered.answer.findings;
        if asked.is_enforced && findings.any() {
            return Some(findings);
        }
        // At the bound, Redis has the say, which knows what other replicas have issued.
        let tokens = remembered.answer.tokens.saturating_add(remembered.uncounted).saturating_add(1);
        if !findings.too_many_tokens && most.is_some_and(|most| tokens > most.get()) {
            return None;
        }
        remembered.uncounted = remembered.uncounted.saturating_add(1);
        Some(findings)
    }

    /// What Redis is to be told with the next question.
    pub(super) fn take_uncounted(&self, asked: &Use) -> u32 {
        let mut shard = self.answers.lock(shard(asked));
        shard.get_mut(&question(asked)).map_or(0, |remembered| std::mem::take(&mut remembered.uncounted))
    }

    /// Redis could not be told.
    pub(super) fn give_back(&self, asked: &Use, uncounted: u32) {
        let mut shard = self.answers.lock(shard(asked));
        if let Some(remembered) = shard.get_mut(&question(asked)) {
            remembered.uncounted = remembered.uncounted.saturating_add(uncounted);
        }
    }

    /// Redis's answer, for repeats.
    pub(super) fn remember(&self, asked: &Use, answer: Answer) {
        if self.lasts.is_zero() {
            return;
        }
        let mut shard = self.answers.lock(shard(asked));
        let until = Instant::now() + self.lasts;
        // What others have issued while Redis was asked is not forgotten.
        let uncounted = shard.get(&question(asked)).map_or(0, |remembered| remembered.uncounted);
        shard.put(question(asked), Remembered { answer, uncounted, until });
        if shard.len() > ROOM / SHARDS {
            shard.pop_lru();
        }
    }
}

fn question(asked: &Use) -> Question {
    Question { account: asked.account, person: asked.person }
}

fn shard(asked: &Use) -> u8 {
    asked.account.as_bytes().last().copied().unwrap_or_default()
}
