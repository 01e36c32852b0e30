//! One person, one account: whose an account is, and when it is free again. Pure rules, without a store and without a clock.

mod tokens;

use std::{fmt, hash, num::NonZeroU32};

pub use self::tokens::Tokens;
use super::{secret::AccountKey, time::UnixTime};

/// What an instance does about an account that several people share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OneAccount {
    /// Refuses the token.
    Enforce,
    /// As [`OneAccount::Report`]; a request without an identifier of the person passes with a warning, too. For first tries only.
    Lenient,
    /// Nothing; nobody looks.
    Off,
    /// Issues the token, and says so.
    #[default]
    Report,
}

impl OneAccount {
    /// The spelling in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Off => "off",
            Self::Lenient | Self::Report => "report",
        }
    }

    /// Whether a request has to say which person it is about.
    #[must_use]
    pub const fn needs_user_id(self) -> bool {
        matches!(self, Self::Enforce | Self::Report)
    }
}

/// Stands for an account: a keyed hash of the instance, the user directory and the e-mail address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AccountId([u8; AccountKey::LEN]);

/// Stands for a person: a keyed hash of the user directory and the backend's identifier, byte by byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PersonId([u8; AccountKey::LEN]);

impl AccountId {
    /// `email` is in lower case, as Metabase compares.
    #[must_use]
    pub fn new(key: &AccountKey, instance: &str, directory: &str, email: &str) -> Self {
        Self(key.account(&[instance, directory, email]))
    }

    /// A made-up one.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; AccountKey::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes, which are as good as random to whoever does not hold the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; AccountKey::LEN] {
        &self.0
    }
}

impl PersonId {
    /// The identifier counts as it is: what the backend tells apart is not the same person here.
    #[must_use]
    pub fn new(key: &AccountKey, directory: &str, id: &str) -> Self {
        Self(key.person(&[directory, id]))
    }

    /// A made-up one.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; AccountKey::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; AccountKey::LEN] {
        &self.0
    }
}

/// They are hashes already, and nobody without the key can make two that collide: eight bytes of them will do.
impl hash::Hash for AccountId {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        state.write_u64(u64::from_ne_bytes(first));
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountId(…)")
    }
}

impl fmt::Debug for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonId(…)")
    }
}

/// What holds for all accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountRules {
    /// Seconds after which an account that its holder does not use is free again.
    pub window: u32,
    /// Tokens within an hour above which an account is taken for a shared one; none = not counted.
    pub tokens_per_hour: Option<NonZeroU32>,
}

/// A person is about to get a token for an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The account.
    pub account: AccountId,
    /// The person.
    pub person: PersonId,
    /// Whether the token is refused if there is a finding. A token that is refused does not count.
    pub is_enforced: bool,
}

/// What becomes of a token for an instance that enforces, if the store cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreFailure {
    /// It is issued.
    Allow,
    /// It is refused.
    Deny,
}

impl OnStoreFailure {
    /// The spelling in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What speaks for a shared account. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Another person holds the account.
    pub other_person: bool,
    /// It has had more tokens within an hour than one person needs.
    pub too_many_tokens: bool,
}

impl Findings {
    /// Whether there is any.
    #[must_use]
    pub const fn any(self) -> bool {
        self.other_person || self.too_many_tokens
    }
}

/// Who holds an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    person: PersonId,
    last_used: UnixTime,
    tokens: Tokens,
}

impl Binding {
    /// Whether the account is free at `now`, although somebody held it.
    #[must_use]
    pub const fn has_expired(&self, rules: AccountRules, now: UnixTime) -> bool {
        now.seconds().saturating_sub(self.last_used.seconds()) >= rules.window as i64
    }

    /// By whoever holds the account.
    #[must_use]
    pub const fn last_used(&self) -> UnixTime {
        self.last_used
    }

    /// Whether `person` holds the account, if it is not free.
    #[must_use]
    pub fn is_of(&self, person: PersonId) -> bool {
        self.person == person
    }

    /// The first use of an account that is free.
    #[must_use]
    pub fn new(asked: &Use, rules: AccountRules, now: UnixTime) -> (Self, Findings) {
        let mut binding = Self { person: asked.person, last_used: now, tokens: Tokens::default() };
        let findings = binding.apply(asked, rules, now);
        (binding, findings)
    }

    /// The use of an account that somebody has held. Only the holder's own use keeps it theirs for longer.
    pub fn apply(&mut self, asked: &Use, rules: AccountRules, now: UnixTime) -> Findings {
        if self.has_expired(rules, now) {
            *self = Self { person: asked.person, last_used: now, tokens: Tokens::default() };
        }
        let other_person = !self.is_of(asked.person);
        if !other_person {
            self.last_used = now;
        } else if asked.is_enforced {
            return Findings { other_person, too_many_tokens: false };
        }
        let Some(most) = rules.tokens_per_hour else { return Findings { other_person, too_many_tokens: false } };
        let too_many_tokens = self.tokens.within_an_hour(now) >= most.get();
        if !(too_many_tokens && asked.is_enforced) {
            self.tokens.count(now);
        }
        Findings { other_person, too_many_tokens }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
pub(crate) mod properties;
#[cfg(test)]
mod tests;
