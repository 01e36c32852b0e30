//! Judges a credential: a token as Metabase would, or with Metabase's own answer; anything else by asking Metabase.

use std::{fmt, sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

use super::{
    Clock,
    agreement::{Seen, State},
    audit::{self, Asked, Audit, By, Event},
    generation::{Generations, InstanceWithKey, NotAdmitted},
    judge, live,
    metabase::Refused,
    shadow::Shadow,
};
use crate::domain::{
    auth_status::{AuthStatus, AuthStatusReason, Judgement},
    instance::{Environment, Instance},
    policy::Denial,
    time::UnixTime,
    token::Fingerprint,
};

/// The use case behind `CheckAuthStatus`.
pub struct CheckAuthStatus {
    generations: Arc<Generations>,
    clock: Arc<dyn Clock>,
    shadow: Shadow,
    audit: Arc<Audit>,
    tasks: TaskTracker,
}

/// What a caller wants judged.
pub enum Credential {
    /// A Metabase API key.
    ApiKey(String),
    /// A token in compact form.
    Jwt(String),
    /// Nothing.
    None,
    /// A Metabase session.
    SessionId(String),
}

/// Why nothing was judged.
#[derive(Debug)]
pub enum CheckError {
    /// Asking Metabase has an effect there, which could not be recorded.
    AuditUnavailable,
    /// Outside the caller's grant.
    Denied(Denial),
    /// Refused before the request was looked at.
    NotAdmitted(NotAdmitted),
    /// Metabase cannot be asked without the instance's URL.
    UrlNotConfigured,
}

impl CheckAuthStatus {
    /// Judges by the keys of the generation in force and the time of `clock`. What has to be finished even when nobody waits
    /// for it any more is one of `tasks`.
    #[must_use]
    pub fn new(
        generations: Arc<Generations>,
        clock: Arc<dyn Clock>,
        shadow: Shadow,
        audit: Arc<Audit>,
        tasks: TaskTracker,
    ) -> Self {
        Self { generations, clock, shadow, audit, tasks }
    }

    /// Judges `credential` for the named instance. A bad credential is an answer, not an error, and so is a Metabase that
    /// does not answer within `budget`.
    ///
    /// # Errors
    /// The question cannot be answered, or not for this caller.
    pub async fn execute<'a>(
        &self,
        asked: impl Into<Asked<'a>>,
        instance: &str,
        credential: Credential,
        live: bool,
        budget: Duration,
    ) -> Result<Judgement, CheckError> {
        let generation = self.generations.current_owned();
        let asked @ Asked { caller, .. } = asked.into();
        let by = || By::new(asked, generation.policy().name(caller));
        let denied = |denial: &Denial, instance: &Instance| {
            let (instance, reason) = (instance.name.as_str(), denial.reason.code());
            self.audit.note(&Event::StatusDenied { by: by(), instance, reason });
        };
        let found = generation.admit(caller, instance).map_err(|not_admitted| {
            if let NotAdmitted::Denied(denial) = &not_admitted
                && let Ok(found) = generation.instance(instance)
            {
                denied(denial, &found.instance);
            }
            CheckError::NotAdmitted(not_admitted)
        })?;
        let decided = generation.policy().decide_status_check(caller, &found.instance.name);
        self.shadow.status_check(&generation, caller, &found.instance.name, &decided);
        decided.inspect_err(|denial| denied(denial, &found.instance)).map_err(CheckError::Denied)?;
        if let (true, Credential::Jwt(jwt)) = (live && found.live.is_some(), &credential) {
            let (instance, fingerprint) = (found.instance.name.as_str(), Fingerprint::of(jwt));
            let begun = || Event::LiveCheckBegun { by: by(), instance, fingerprint };
            let record = self.audit.record(self.clock.now(), begun);
            self.audit.commit(record).await.map_err(|audit::Unavailable| CheckError::AuditUnavailable)?;
        }
        let judgement = self.judge(found, credential, live, budget).await?;
        self.audit.note(&Event::StatusChecked {
            by: by(),
            instance: found.instance.name.as_str(),
            live,
            status: judgement.status.as_str(),
            reason: judgement.reason.map(AuthStatusReason::as_str),
            fingerprint: judgement.fingerprint,
        });
        Ok(judgement)
    }

    async fn judge(
        &self,
        found: &InstanceWithKey,
        credential: Credential,
        live: bool,
        budget: Duration,
    ) -> Result<Judgement, CheckError> {
        let now = self.clock.now();
        let metabase = found.live.as_ref().ok_or(CheckError::UrlNotConfigured);
        match credential {
            Credential::Jwt(jwt) => {
                let mut local = judge::judge(&jwt, &found.instance, &found.keys, now);
                if let Some(seen) = found.keys.seen() {
                    // SUCCESS is about the token; that nobody gets in with it at present is the message, not a footnote.
                    if let (AuthStatus::Success, Some(message)) = (local.status, qualify(&seen, now)) {
                        local.message = message;
                    }
                    local.warnings.extend(warn(&seen, now));
                }
                if live { Ok(metabase?.check_jwt(jwt, local, budget, now, &self.tasks).await) } else { Ok(local) }
            }
            Credential::SessionId(id) => Ok(metabase?.check_session(&id, budget, now).await),
            Credential::ApiKey(key) if found.instance.environment == Environment::Production => {
                Ok(live::api_key_not_allowed(&key))
            }
            Credential::ApiKey(key) => Ok(metabase?.check_api_key(&key, budget, now).await),
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

/// What to say of a good token where the last look told that Metabase takes none of this service.
fn qualify(seen: &Seen, now: UnixTime) -> Option<String> {
    let why = match seen.state {
        State::Disagrees => "it held another secret than the one that signs here".to_owned(),
        State::Unknown(refused @ (Refused::LicenseRequired | Refused::SsoNotEnabled)) => format!("it {refused}"),
        State::Agrees | State::Unknown(_) => return None,
    };
    let age = seconds_since(seen, now);
    Some(format!("The token is as it should be, but Metabase would refuse it: when asked {age} s ago, {why}."))
}

fn seconds_since(seen: &Seen, now: UnixTime) -> i64 {
    now.seconds().saturating_sub(seen.at.seconds()).max(0)
}

/// What the last look at Metabase told against every token.
fn warn(seen: &Seen, now: UnixTime) -> Option<String> {
    let age = seconds_since(seen, now);
    match (seen.state, seen.skew) {
        (State::Disagrees, _) => Some(format!(
            "When asked {age} s ago, Metabase held another secret than the one that signs here: it refuses every token of this service."
        )),
        (State::Unknown(refused @ (Refused::LicenseRequired | Refused::SsoNotEnabled)), _) => {
            Some(format!("When asked {age} s ago, Metabase took no token at all: it {refused}."))
        }
        (State::Agrees | State::Unknown(_), Some(skew)) => live::warn_of_skew(skew),
        (State::Agrees | State::Unknown(_), None) => None,
    }
}

impl fmt::Debug for CheckAuthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckAuthStatus").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
