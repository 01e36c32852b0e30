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
    script::{Answer, Question, Uncounted},
};
use crate::domain::{
    account::{AccountId, Findings, PersonId, Use},
    time::UnixTime,
};

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
    /// What Redis is to be asked.
    Question(Question),
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
    uncounted: Option<Uncounted>,
    until: Instant,
}

impl Repeats {
    /// Answers last for `lasts`.
    pub(super) fn new(lasts: Duration) -> Self {
        Self { answers: Sharded::new(), lasts }
    }

    /// The answer to a repeat at `now`, whose token is counted; or the question for Redis. The order stays that of Redis's answers, in which
    /// they end.
    pub(super) fn look(&self, asked: &Use, most: Option<NonZeroU32>, now: UnixTime) -> Known {
        let question = |uncounted| Known::Question(Question { asked: *asked, uncounted, at: now });
        let mut shard = self.answers.lock(shard(asked));
        let Some(place) = shard.find(&key(asked)) else { return question(None) };
        let remembered = shard.at(place);
        let findings = remembered.answer.findings;
        if remembered.until > Instant::now() {
            if asked.is_enforced && findings.any() {
                return Known::Answer(findings);
            }
            // At the bound, Redis has the say, which knows what other replicas have issued.
            let issued = Uncounted::and(remembered.uncounted, Uncounted { count: 1, since: now });
            let tokens = remembered.answer.tokens.saturating_add(issued.count);
            if findings.too_many_tokens || most.is_none_or(|most| tokens <= most.get()) {
                remembered.uncounted = Some(issued);
                return Known::Answer(findings);
            }
        }
        question(remembered.uncounted.take())
    }

    /// Redis was not told.
    pub(super) fn give_back(&self, Question { asked, uncounted, .. }: Question) {
        let Some(uncounted) = uncounted else { return };
        let mut shard = self.answers.lock(shard(&asked));
        if let Some(place) = shard.find(&key(&asked)) {
            let remembered = shard.at(place);
            remembered.uncounted = Some(Uncounted::and(remembered.uncounted, uncounted));
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
        shard.insert(key(asked), Remembered { answer, uncounted: None, until });
    }
}

fn key(asked: &Use) -> Asked {
    Asked { account: asked.account, person: asked.person }
}

fn shard(asked: &Use) -> u8 {
    asked.account.as_bytes().last().copied().unwrap_or_default()
}
