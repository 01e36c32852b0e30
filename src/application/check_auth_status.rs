//! Judges a credential as Metabase would, without asking Metabase.

use std::{fmt, sync::Arc};

use super::{
    Clock,
    generation::{Generations, NotAdmitted},
    judge,
    shadow::Shadow,
};
use crate::domain::{
    auth_status::{AuthStatus, Judgement},
    caller::Caller,
    policy::Denial,
};

/// The use case behind `CheckAuthStatus`.
pub struct CheckAuthStatus {
    generations: Arc<Generations>,
    clock: Arc<dyn Clock>,
    shadow: Shadow,
}

/// What a caller wants judged.
pub enum Credential {
    /// A Metabase API key.
    ApiKey,
    /// A token in compact form.
    Jwt(String),
    /// Nothing.
    None,
    /// A Metabase session.
    SessionId,
}

/// Why nothing was judged.
#[derive(Debug)]
pub enum CheckError {
    /// Outside the caller's grant.
    Denied(Denial),
    /// Only Metabase itself could tell, and this version does not ask it.
    LiveCheckNotAvailable(&'static str),
    /// Refused before the request was looked at.
    NotAdmitted(NotAdmitted),
}

impl CheckAuthStatus {
    /// Judges by the keys of the generation in force and the time of `clock`.
    #[must_use]
    pub fn new(generations: Arc<Generations>, clock: Arc<dyn Clock>, shadow: Shadow) -> Self {
        Self { generations, clock, shadow }
    }

    /// Judges `credential` for the named instance. A bad credential is an answer, not an error.
    ///
    /// # Errors
    /// The question cannot be answered, or not for this caller.
    pub fn execute(
        &self,
        caller: &Caller,
        instance: &str,
        credential: &Credential,
        live: bool,
    ) -> Result<Judgement, CheckError> {
        let generation = self.generations.current();
        let found = generation.admit(caller, instance).map_err(CheckError::NotAdmitted)?;
        let decided = generation.policy().decide_status_check(caller, &found.instance.name);
        self.shadow.status_check(&generation, caller, &found.instance.name, &decided);
        decided.map_err(CheckError::Denied)?;
        match credential {
            Credential::Jwt(_) if live => Err(CheckError::LiveCheckNotAvailable("live")),
            Credential::Jwt(jwt) => Ok(judge::judge(jwt, &found.instance, &found.key, self.clock.now())),
            Credential::SessionId => Err(CheckError::LiveCheckNotAvailable("session_id")),
            Credential::ApiKey => Err(CheckError::LiveCheckNotAvailable("api_key")),
            Credential::None => Ok(Judgement {
                status: AuthStatus::Uninitialized,
                reason: None,
                message: "No credential was given.".to_owned(),
                reading: None,
                fingerprint: None,
                warnings: Vec::new(),
            }),
        }
    }
}

impl fmt::Debug for CheckAuthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckAuthStatus").finish_non_exhaustive()
    }
}
