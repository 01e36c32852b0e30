//! Issues a token: parse, decide, prepare, look whose the account is, sign, record. The order is the security argument: nothing is signed
//! without a permit or for a refused person, nobody takes an account with a token that cannot be made, and no token leaves before its
//! audit record is written.

use std::{fmt, sync::Arc};

use super::{
    Clock,
    accounts::{AccountRefusal, Accounts, Warnings},
    audit::{self, Asked, Audit, By, Event},
    generation::{Generation, Generations, InstanceWithKey, NotAdmitted},
    shadow::Shadow,
    signing_key::{SignError, Signed, Unsigned},
};
use crate::domain::{
    account::Findings,
    instance::Instance,
    policy::{Decision, Denial, Permit},
    time::UnixTime,
    token::{Fingerprint, SignedToken, exchange_deadline},
    token_request::{InvalidRequest, TokenRequest, UnverifiedRequest, Violation},
};

/// The use case behind `IssueMetabaseToken`.
pub struct IssueToken {
    generations: Arc<Generations>,
    clock: Arc<dyn Clock>,
    shadow: Shadow,
    accounts: Arc<Accounts>,
    audit: Arc<Audit>,
}

/// A token on its way to the caller.
#[derive(Debug)]
pub struct IssuedToken {
    /// The credential.
    pub token: SignedToken,
    /// `iat`.
    pub issue_time: UnixTime,
    /// `exp`.
    pub expire_time: UnixTime,
    /// The last instant at which Metabase exchanges it.
    pub exchange_deadline: UnixTime,
    /// Its handle.
    pub fingerprint: Fingerprint,
    /// Where to redirect a browser to; holds the token.
    pub sso_url: Option<SignedToken>,
    /// What the caller should know beside it.
    pub warnings: Warnings,
}

/// Why no token was issued.
#[derive(Debug)]
pub enum IssueError {
    /// Permitted, but several people share the account, or whether they do is not known.
    Account(AccountRefusal),
    /// Permitted and signed, but not recorded.
    AuditUnavailable,
    /// Outside the caller's grant.
    Denied(Denial),
    /// Every rule that the request breaks.
    Invalid(Vec<Violation>),
    /// Refused before the request was looked at.
    NotAdmitted(NotAdmitted),
    /// Permitted, but not signed.
    Sign(SignError),
    /// `return_to` needs the instance's URL.
    UrlNotConfigured,
}

/// What the policy has permitted, on its way to being signed.
struct Permitted<'a> {
    found: &'a InstanceWithKey,
    permit: Permit,
    by: By<'a>,
    person: Option<audit::Person>,
    /// Of the generation.
    number: u64,
}

impl IssueToken {
    /// Issues from the generation in force, with the time of `clock`, for people that `accounts` has nothing against, and records it
    /// in `audit`.
    #[must_use]
    pub fn new(
        generations: Arc<Generations>,
        clock: Arc<dyn Clock>,
        shadow: Shadow,
        accounts: Arc<Accounts>,
        audit: Arc<Audit>,
    ) -> Self {
        Self { generations, clock, shadow, accounts, audit }
    }

    /// Issues a token of the named instance to the caller that has `asked`.
    ///
    /// # Errors
    /// Why not; no token has left then.
    pub async fn execute<'a>(
        &self,
        asked: impl Into<Asked<'a>>,
        instance: &str,
        unverified: UnverifiedRequest,
    ) -> Result<IssuedToken, IssueError> {
        // Kept to the end, which may take as long as the account store does.
        let generation = self.generations.current_owned();
        let number = generation.number();
        let permitted = self.permit(&generation, number, asked.into(), instance, unverified)?;
        let now = self.clock.now();
        let unsigned = Unsigned::new(&permitted.permit, now).map_err(IssueError::Sign)?;
        let warnings = match self.accounts.check(&permitted.permit, now).await {
            Ok(warnings) => warnings,
            Err(refusal) => {
                self.note_refusal(permitted, refusal);
                return Err(IssueError::Account(refusal));
            }
        };
        let (issued, record) = self.sign(permitted, &unsigned, warnings, now);
        self.audit.commit(record).await.map_err(|audit::Unavailable| IssueError::AuditUnavailable)?;
        Ok(issued)
    }

    fn permit<'a>(
        &self,
        generation: &'a Generation,
        number: u64,
        asked: Asked<'a>,
        instance: &str,
        unverified: UnverifiedRequest,
    ) -> Result<Permitted<'a>, IssueError> {
        let caller = asked.caller;
        let by = || By::new(asked, generation.policy().name(caller));
        let denied = |denial: &Denial, instance: &Instance, person| {
            let (reason, field, account_warnings) = (denial.reason.code(), denial.field.as_str(), Vec::new());
            self.audit.note(&Event::TokenDenied {
                by: by(),
                instance: instance.name.as_str(),
                person,
                reason,
                field,
                account_warnings,
                generation: number,
            });
        };
        let found = match generation.admit(caller, instance) {
            Ok(found) => found,
            Err(not_admitted) => {
                if let NotAdmitted::Denied(denial) = &not_admitted
                    && let Ok(found) = generation.instance(instance)
                {
                    denied(denial, &found.instance, None);
                    self.shadow.refused(generation, caller, &found.instance, denial, unverified);
                }
                return Err(IssueError::NotAdmitted(not_admitted));
            }
        };
        let request =
            TokenRequest::parse(unverified, Arc::clone(&found.instance)).map_err(|invalid| match invalid {
                InvalidRequest::Violations(violations) => IssueError::Invalid(violations),
                InvalidRequest::UrlNotConfigured => IssueError::UrlNotConfigured,
            })?;
        let person = self.audit.person(&request.subject);
        match self.shadow.decide(generation, caller, request) {
            Decision::Allow(permit) => Ok(Permitted { found, permit, by: by(), person, number }),
            Decision::Deny(denial) => {
                denied(&denial, &found.instance, person);
                Err(IssueError::Denied(denial))
            }
        }
    }

    fn note_refusal(&self, permitted: Permitted<'_>, refusal: AccountRefusal) {
        let Permitted { found, by, person, number, .. } = permitted;
        let findings = match refusal {
            AccountRefusal::Shared(findings) => findings,
            AccountRefusal::StoreUnavailable => Findings::default(),
        };
        self.audit.note(&Event::TokenDenied {
            by,
            instance: found.instance.name.as_str(),
            person,
            reason: refusal.code(),
            field: "user.email",
            account_warnings: Warnings { findings, ..Warnings::default() }.names().collect(),
            generation: number,
        });
    }

    /// The token, which must not leave before its record is written.
    fn sign(
        &self,
        permitted: Permitted<'_>,
        unsigned: &Unsigned,
        warnings: Warnings,
        now: UnixTime,
    ) -> (IssuedToken, Option<audit::Record>) {
        let Permitted { found, permit, by, person, number } = permitted;
        let (which, key) = found.keys.signing();
        let Signed { token, issue_time, expire_time } = key.sign_prepared(unsigned);
        let sso_url = permit.request().return_to.as_ref().zip(found.instance.url.as_ref());
        let fingerprint = Fingerprint::of(token.expose());
        let record = self.audit.record(now, || Event::TokenIssued {
            by,
            instance: found.instance.name.as_str(),
            person,
            grant: audit::Grant::of(&permit),
            fingerprint,
            signed_with: which.as_str(),
            account_warnings: warnings.names().collect(),
            generation: number,
        });
        let issued = IssuedToken {
            fingerprint,
            sso_url: sso_url.map(|(return_to, url)| SignedToken::new(return_to.sso_url(url, &token))),
            issue_time,
            expire_time,
            exchange_deadline: exchange_deadline(issue_time, expire_time),
            token,
            warnings,
        };
        (issued, record)
    }
}

impl fmt::Debug for IssueToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssueToken").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
