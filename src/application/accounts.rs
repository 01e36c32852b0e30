//! Guards that every person has an account of their own: asked for what the policy has permitted, before anything is signed.

use std::{fmt, pin::Pin, sync::Arc};

use thiserror::Error;

use crate::{
    domain::{
        account::{AccountId, AccountRules, Findings, OnStoreFailure, OneAccount, PersonId, Use},
        policy::Permit,
        secret::AccountKey,
        time::UnixTime,
    },
    telemetry::AccountMetrics,
};

/// Where it is kept who holds which account.
pub trait AccountStore: fmt::Debug + Send + Sync + 'static {
    /// Decides about the use of an account and remembers it, in one step that no other comes between.
    fn apply<'a>(&'a self, asked: &Use, rules: AccountRules, now: UnixTime) -> Applied<'a>;
}

/// What a store has found. One that answers at once is not waited for, which costs neither an allocation nor a turn of the runtime.
pub enum Applied<'a> {
    /// At once.
    Now(Result<Findings, StoreUnavailable>),
    /// After asking somebody, within the store's budget.
    Later(Pin<Box<dyn Future<Output = Result<Findings, StoreUnavailable>> + Send + 'a>>),
}

/// The store cannot tell.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the account store cannot be asked")]
pub struct StoreUnavailable;

/// What the caller is told beside a token. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warnings {
    /// What speaks for a shared account.
    pub findings: Findings,
    /// The request does not say which person it is about.
    pub no_user_id: bool,
    /// The store could not tell.
    pub not_checked: bool,
}

/// Why a token that the policy permits is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountRefusal {
    /// Several people share the account; by what.
    Shared(Findings),
    /// Whether they do is not known, and the configuration refuses then.
    StoreUnavailable,
}

impl AccountRefusal {
    /// `google.rpc.ErrorInfo.reason`
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Shared(_) => "SHARED_ACCOUNT",
            Self::StoreUnavailable => "ACCOUNT_STORE_UNAVAILABLE",
        }
    }
}

impl Warnings {
    /// As records and metrics call them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let Self { findings, no_user_id, not_checked } = self;
        let named = [
            (findings.other_person, OTHER_PERSON),
            (findings.too_many_tokens, TOO_MANY_TOKENS),
            (no_user_id, NO_USER_ID),
            (not_checked, NOT_CHECKED),
        ];
        named.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name)
    }
}

const OTHER_PERSON: &str = "other_person";
const TOO_MANY_TOKENS: &str = "too_many_tokens";
const NO_USER_ID: &str = "no_user_id";
const NOT_CHECKED: &str = "not_checked";

/// The guard.
pub struct Accounts {
    key: AccountKey,
    rules: AccountRules,
    on_failure: OnStoreFailure,
    store: Arc<dyn AccountStore>,
    metrics: AccountMetrics,
}

impl Accounts {
    /// Keeps hashes under `key` in `store`, and counts in `metrics`.
    #[must_use]
    pub fn new(
        key: AccountKey,
        rules: AccountRules,
        on_failure: OnStoreFailure,
        store: Arc<dyn AccountStore>,
        metrics: AccountMetrics,
    ) -> Self {
        Self { key, rules, on_failure, store, metrics }
    }

    /// Whether the permitted token may be signed at `now`.
    ///
    /// # Errors
    /// It may not.
    pub async fn check(&self, permit: &Permit, now: UnixTime) -> Result<Warnings, AccountRefusal> {
        let request = permit.request();
        let mode = request.instance.one_account;
        if mode == OneAccount::Off {
            return Ok(Warnings::default());
        }
        let instance = request.instance.name.as_str();
        let Some(id) = &request.subject.id else {
            // The request was parsed: only where an identifier is not required is there none.
            return self.conclude(instance, mode, Ok(Findings::default()), true);
        };
        let directory = permit.directory().as_str();
        let asked = Use {
            account: AccountId::new(&self.key, instance, directory, request.subject.email.as_str()),
            person: PersonId::new(&self.key, directory, id),
            is_enforced: mode == OneAccount::Enforce,
        };
        let found = match self.store.apply(&asked, self.rules, now) {
            Applied::Now(found) => found,
            Applied::Later(found) => found.await,
        };
        self.conclude(instance, mode, found, false)
    }

    fn conclude(
        &self,
        instance: &str,
        mode: OneAccount,
        found: Result<Findings, StoreUnavailable>,
        no_user_id: bool,
    ) -> Result<Warnings, AccountRefusal> {
        let is_enforced = mode == OneAccount::Enforce;
        let refusal = match found {
            Ok(findings) if is_enforced && findings.any() => Some(AccountRefusal::Shared(findings)),
            Err(StoreUnavailable) if is_enforced && self.on_failure == OnStoreFailure::Deny => {
                Some(AccountRefusal::StoreUnavailable)
            }
            Ok(_) | Err(StoreUnavailable) => None,
        };
        let warnings = Warnings { findings: found.unwrap_or_default(), no_user_id, not_checked: found.is_err() };
        for name in warnings.names() {
            self.metrics.warned(instance, name, if refusal.is_some() { "refused" } else { "issued" });
        }
        refusal.map_or(Ok(warnings), Err)
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("rules", &self.rules).field("store", &self.store).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
