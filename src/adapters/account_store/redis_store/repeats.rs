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
    script::{Answer, Question},
};
use crate::domain::account::{AccountId, Findings, PersonId, Use};

/// Questions that are remembered.
const ROOM: usize = 65_536;

/// The last answers.
pub(super) struct Repeats {
    answers: Sharded<Asked, Remembered>,
    lasts: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Asked {
    account: AccountId,
    person: PersonId,
}

/// What is known before Redis is asked.
pub(super) enum Known {
    Answer(Findings),
    /// Tokens that were issued since Redis was asked last.
    Uncounted(u32),
}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.account.hash(state);
        let mut first = [0; 8];
        first.copy_from_slice(&self.person.as_bytes()[..8]);
        state.write_u64(u64::from_ne_bytes(first));
    }
}

#[derive(Clone, Copy)]
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

    /// The answer to a repeat, whose token is counted; or what Redis is to be told with the question. The order stays that of Redis's
    /// answers, in which they end.
    pub(super) fn look(&self, asked: &Use, most: Option<NonZeroU32>) -> Known {
        let mut shard = self.answers.lock(shard(asked));
        let Some(place) = shard.find(&key(asked)) else { return Known::Uncounted(0) };
        let remembered = shard.at(place);
        let findings = remembered.answer.findings;
        if remembered.until > Instant::now() {
            if asked.is_enforced && findings.any() {
                return Known::Answer(findings);
            }
            // At the bound, Redis has the say, which knows what other replicas have issued.
            let tokens = remembered.answer.tokens.saturating_add(remembered.uncounted).saturating_add(1);
            if findings.too_many_tokens || most.is_none_or(|most| tokens <= most.get()) {
                remembered.uncounted = remembered.uncounted.saturating_add(1);
                return Known::Answer(findings);
            }
        }
        Known::Uncounted(std::mem::take(&mut remembered.uncounted))
    }

    /// Redis could not be told.
    pub(super) fn give_back(&self, Question { asked, uncounted }: Question) {
        let mut shard = self.answers.lock(shard(&asked));
        if let Some(place) = shard.find(&key(&asked)) {
            let remembered = shard.at(place);
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
        if let Some(place) = shard.find(&key(asked)) {
            // What others have issued while Redis was asked is not forgotten.
            let uncounted = shard.at(place).uncounted;
            *shard.at(place) = Remembered { answer, uncounted, until };
            shard.used(place);
            return;
        }
        if shard.len() >= ROOM / SHARDS {
            shard.forget_oldest();
        }
        shard.insert(key(asked), Remembered { answer, uncounted: 0, until });
    }
}

fn key(asked: &Use) -> Asked {
    Asked { account: asked.account, person: asked.person }
}

fn shard(asked: &Use) -> u8 {
    asked.account.as_bytes().last().copied().unwrap_or_default()
}
