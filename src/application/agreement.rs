//! Whether this service and a Metabase instance hold the same secret, and which of two signs while it is changed.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwapOption;

use super::{metabase::Refused, signing_key::SigningKey};
use crate::domain::{
    rotation::{Evidence, Which, signs},
    time::UnixTime,
};

/// The secrets of one instance, in their role, and what is known about them.
#[derive(Debug)]
pub struct Keys {
    current: SigningKey,
    next: Option<SigningKey>,
    knowledge: Arc<Knowledge>,
}

/// What was seen of Metabase. It outlives the generation, for a reload tells nothing about Metabase.
#[derive(Debug, Default)]
struct Knowledge {
    next_signs: AtomicBool,
    seen: ArcSwapOption<Seen>,
}

/// What one look at Metabase told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: UnixTime,
    /// About the secret that signs after it.
    pub state: State,
    /// Which that is.
    pub signing: Which,
    /// By how many seconds Metabase's clock is ahead of ours.
    pub skew: Option<i64>,
}

/// Whether tokens of this service are good at Metabase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Metabase holds the secret.
    Agrees,
    /// Metabase holds another secret.
    Disagrees,
    /// Metabase did not tell, and why.
    Unknown(Refused),
}

impl State {
    /// The value of the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Disagrees => "disagrees",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agrees => f.write_str("Metabase holds the secret that signs"),
            Self::Disagrees => {
                f.write_str("Metabase holds another secret than the one that signs: no token is good there")
            }
            Self::Unknown(refused) => {
                write!(f, "it is not known whether Metabase holds the secret that signs: it {refused}")
            }
        }
    }
}

impl Keys {
    /// With `next`, whichever Metabase holds signs.
    #[must_use]
    pub fn new(current: SigningKey, next: Option<SigningKey>) -> Self {
        Self { current, next, knowledge: Arc::default() }
    }

    /// The secret that signs now, and which that is.
    #[must_use]
    pub fn signing(&self) -> (Which, &SigningKey) {
        match (&self.next, self.which_signs()) {
            (Some(next), Which::Next) => (Which::Next, next),
            (_, Which::Current) | (None, Which::Next) => (Which::Current, &self.current),
        }
    }

    /// Which that is.
    #[must_use]
    pub fn which_signs(&self) -> Which {
        let next_signs = self.next.is_some() && self.knowledge.next_signs.load(Ordering::Acquire);
        if next_signs { Which::Next } else { Which::Current }
    }

    /// The secret that does not sign now, during a rotation.
    #[must_use]
    pub fn resting(&self) -> Option<(Which, &SigningKey)> {
        let next = self.next.as_ref()?;
        Some(match self.which_signs() {
            Which::Current => (Which::Next, next),
            Which::Next => (Which::Current, &self.current),
        })
    }

    /// `shared_secret`
    #[must_use]
    pub const fn current(&self) -> &SigningKey {
        &self.current
    }

    /// `next_shared_secret`
    #[must_use]
    pub const fn next(&self) -> Option<&SigningKey> {
        self.next.as_ref()
    }

    /// What the last look told; none before the first.
    #[must_use]
    pub fn seen(&self) -> Option<Arc<Seen>> {
        self.knowledge.seen.load_full()
    }

    /// Goes on with what the instance's keys of the last generation know, as far as it is about the same secrets.
    pub(super) fn inherit(&mut self, previous: &Self) {
        let (_, signed) = previous.signing();
        let is_same = |key: &SigningKey| key.is_same(signed);
        if is_same(&self.current) || self.next.as_ref().is_some_and(is_same) {
            let next_signs = !is_same(&self.current);
            let signing = if next_signs { Which::Next } else { Which::Current };
            // The role of the secret may have changed, at the end of a rotation; that it signs is nothing new.
            let seen = previous.seen().map(|seen| Arc::new(Seen { signing, ..*seen }));
            self.knowledge = Arc::new(Knowledge { next_signs: AtomicBool::new(next_signs), seen: seen.into() });
        }
    }

    /// Takes a look's evidence: about the current secret, and the next if there is one. `why` is why nothing was told.
    pub(super) fn observe(
        &self,
        at: UnixTime,
        current: Evidence,
        next: Option<Evidence>,
        why: Refused,
        skew: Option<i64>,
    ) -> Seen {
        let signing = match next {
            Some(next) => signs(self.which_signs(), current, next),
            None => Which::Current,
        };
        self.knowledge.next_signs.store(signing == Which::Next, Ordering::Release);
        let evidence = match signing {
            Which::Current => current,
            Which::Next => next.unwrap_or(Evidence::Unknown),
        };
        let state = match evidence {
            Evidence::Proven => State::Agrees,
            Evidence::Disproved => State::Disagrees,
            Evidence::Unknown => State::Unknown(why),
        };
        let seen = Seen { at, state, signing, skew };
        self.knowledge.seen.store(Some(Arc::new(seen)));
        seen
    }
}

#[cfg(test)]
mod tests;
