//! Issues a token: parse, decide, sign, record. The order is the security argument: nothing is signed without a permit, and no
//! token leaves before its audit record is written.

use std::{fmt, sync::Arc};

use super::{
    Clock,
    audit::{self, Audit, By, Event},
    generation::{Generations, NotAdmitted},
    shadow::Shadow,
    signing_key::{SignError, Signed},
};
use crate::domain::{
    caller::Caller,
    instance::Instance,
    policy::{Decision, Denial},
    time::UnixTime,
    token::{Fingerprint, SignedToken, exchange_deadline},
    token_request::{InvalidRequest, TokenRequest, UnverifiedRequest, Violation},
};

/// The use case behind `IssueMetabaseToken`.
pub struct IssueToken {
    generations: Arc<Generations>,
    clock: Arc<dyn Clock>,
    shadow: Shadow,
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
}

/// Why no token was issued.
#[derive(Debug)]
pub enum IssueError {
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

impl IssueToken {
    /// Issues from the generation in force, with the time of `clock`, and records it in `audit`.
    #[must_use]
    pub fn new(generations: Arc<Generations>, clock: Arc<dyn Clock>, shadow: Shadow, audit: Arc<Audit>) -> Self {
        Self { generations, clock, shadow, audit }
    }

    /// Issues a token of the named instance to `caller`.
    ///
    /// # Errors
    /// Why not; no token has left then.
    pub async fn execute(
        &self,
        caller: &Caller,
        instance: &str,
        unverified: UnverifiedRequest,
    ) -> Result<IssuedToken, IssueError> {
        let (issued, record) = self.sign(caller, instance, unverified)?;
        self.audit.commit(record).await.map_err(|audit::Unavailable| IssueError::AuditUnavailable)?;
        Ok(issued)
    }

    /// The token, which must not leave before its record is written.
    fn sign(
        &self,
        caller: &Caller,
        instance: &str,
        unverified: UnverifiedRequest,
    ) -> Result<(IssuedToken, Option<Vec<u8>>), IssueError> {
        let generation = self.generations.current();
        let by = || By::new(caller, generation.policy().name(caller));
        let denied = |denial: &Denial, instance: &Instance, person| {
            let instance = instance.name.as_str();
            let (reason, field, generation) = (denial.reason.code(), denial.field.as_str(), self.generations.number());
            self.audit.note(&Event::TokenDenied { by: by(), instance, person, reason, field, generation });
        };
        let found = match generation.admit(caller, instance) {
            Ok(found) => found,
            Err(not_admitted) => {
                if let NotAdmitted::Denied(denial) = &not_admitted
                    && let Ok(found) = generation.instance(instance)
                {
                    denied(denial, &found.instance, None);
                    self.shadow.refused(&generation, caller, &found.instance, denial, unverified);
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
        let permit = match self.shadow.decide(&generation, caller, request) {
            Decision::Allow(permit) => permit,
            Decision::Deny(denial) => {
                denied(&denial, &found.instance, person);
                return Err(IssueError::Denied(denial));
            }
        };
        let (which, key) = found.keys.signing();
        let Signed { token, issue_time, expire_time } =
            key.sign(&permit, self.clock.now()).map_err(IssueError::Sign)?;
        let sso_url = permit.request().return_to.as_ref().zip(found.instance.url.as_ref());
        let fingerprint = Fingerprint::of(token.expose());
        let record = self.audit.is_on().then(|| {
            self.audit.record(&Event::TokenIssued {
                by: by(),
                instance: found.instance.name.as_str(),
                person,
                grant: audit::Grant::of(&permit),
                fingerprint: fingerprint.to_string(),
                signed_with: which.as_str(),
                generation: self.generations.number(),
            })
        });
        let issued = IssuedToken {
            fingerprint,
            sso_url: sso_url.map(|(return_to, url)| SignedToken::new(return_to.sso_url(url, &token))),
            issue_time,
            expire_time,
            exchange_deadline: exchange_deadline(issue_time, expire_time),
            token,
        };
        Ok((issued, record.flatten()))
    }
}

impl fmt::Debug for IssueToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssueToken").finish_non_exhaustive()
    }
}
