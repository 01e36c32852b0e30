//! Issues a token: parse, decide, sign. The order is the security argument: nothing is signed without a permit.

use std::{fmt, sync::Arc};

use super::{
    Clock,
    generation::{Generations, NotAdmitted},
    shadow::Shadow,
    signing_key::{SignError, Signed},
};
use crate::domain::{
    caller::Caller,
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
    /// Issues from the generation in force, with the time of `clock`.
    #[must_use]
    pub fn new(generations: Arc<Generations>, clock: Arc<dyn Clock>, shadow: Shadow) -> Self {
        Self { generations, clock, shadow }
    }

    /// Issues a token of the named instance to `caller`.
    ///
    /// # Errors
    /// Why not; nothing has been signed then.
    pub fn execute(
        &self,
        caller: &Caller,
        instance: &str,
        unverified: UnverifiedRequest,
    ) -> Result<IssuedToken, IssueError> {
        let generation = self.generations.current();
        let found = match generation.admit(caller, instance) {
            Ok(found) => found,
            Err(not_admitted) => {
                if let NotAdmitted::Denied(denial) = &not_admitted
                    && let Ok(found) = generation.instance(instance)
                {
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
        let permit = match self.shadow.decide(&generation, caller, request) {
            Decision::Allow(permit) => permit,
            Decision::Deny(denial) => return Err(IssueError::Denied(denial)),
        };
        let Signed { token, issue_time, expire_time } =
            found.keys.signing().sign(&permit, self.clock.now()).map_err(IssueError::Sign)?;
        let sso_url = permit.request().return_to.as_ref().zip(found.instance.url.as_ref());
        Ok(IssuedToken {
            fingerprint: Fingerprint::of(token.expose()),
            sso_url: sso_url.map(|(return_to, url)| SignedToken::new(return_to.sso_url(url, &token))),
            issue_time,
            expire_time,
            exchange_deadline: exchange_deadline(issue_time, expire_time),
            token,
        })
    }
}

impl fmt::Debug for IssueToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssueToken").finish_non_exhaustive()
    }
}
