//! Judges a credential by asking Metabase itself. Whatever Metabase does, the answer is a judgement and comes in time; and a
//! session that a check has made is ended, also when nobody waits for the answer any more.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::task::TaskTracker;

use super::metabase::{self, Answer, Authorization, Http, Refused, Unreachable};
use crate::domain::{
    auth_status::{AuthStatus, AuthStatusReason, Judgement, Reading},
    time::UnixTime,
    token::Fingerprint,
};

/// Checks that one instance may have under way. The attack, or the accident: with a Metabase that hangs, every check would
/// keep a connection and a task.
const MAX_CHECKS: usize = 32;
/// Seconds by which clocks may differ without a warning: whole seconds, and the time an answer takes.
const UNREMARKABLE_SKEW: i64 = 5;
/// How often ending a session is tried.
const ATTEMPTS_TO_END: u32 = 3;
/// Before ending a session is tried again; doubled each time.
const PAUSE_BEFORE_RETRY: Duration = Duration::from_secs(1);

/// A Metabase instance that can be asked.
#[derive(Clone, Debug)]
pub struct LiveInstance {
    http: Arc<dyn Http>,
    checks: Arc<Semaphore>,
}

impl LiveInstance {
    /// Asks over `http`.
    #[must_use]
    pub fn new(http: Arc<dyn Http>) -> Self {
        Self { http, checks: Arc::new(Semaphore::new(MAX_CHECKS)) }
    }

    /// How the instance is asked.
    #[must_use]
    pub fn http(&self) -> &dyn Http {
        &*self.http
    }

    /// Whether the session is alive, within `budget`.
    pub async fn check_session(&self, id: &str, budget: Duration, now: UnixTime) -> Judgement {
        let asked = self.ask(Authorization::Session(id), budget).await;
        let unknown =
            (AuthStatusReason::SessionInvalid, "Metabase does not know the session, or it has ended (HTTP 401).");
        judge_user(asked, "The session is alive.", unknown, now).with_fingerprint(id)
    }

    /// Whether the API key is good, within `budget`.
    pub async fn check_api_key(&self, key: &str, budget: Duration, now: UnixTime) -> Judgement {
        let asked = self.ask(Authorization::ApiKey(key), budget).await;
        let unknown = (AuthStatusReason::ApiKeyInvalid, "Metabase does not know the API key (HTTP 401).");
        judge_user(asked, "The API key is good; it belongs to a group and not to a person.", unknown, now)
            .with_fingerprint(key)
    }

    async fn ask(&self, authorization: Authorization<'_>, budget: Duration) -> Result<Option<Answer>, Refused> {
        let _permit = self.checks.try_acquire().map_err(|_| Refused::from(BUSY))?;
        match timeout(budget, metabase::current_user(&*self.http, authorization)).await {
            Ok(asked) => asked,
            Err(_) => Err(LATE.into()),
        }
    }

    /// Signs the person in with the token, looks who they are, and ends the session; answers within `budget`. `local` is what
    /// the token says. The session is ended by a task of `tasks`, which outlives a caller that goes away.
    pub async fn check_jwt(
        &self,
        jwt: String,
        local: Judgement,
        budget: Duration,
        now: UnixTime,
        tasks: &TaskTracker,
    ) -> Judgement {
        let Ok(permit) = Arc::clone(&self.checks).try_acquire_owned() else { return refused(BUSY.into(), local) };
        let http = Arc::clone(&self.http);
        let signing_in = tasks.spawn(async move {
            let _permit = permit;
            let session = metabase::exchange(&*http, &jwt).await?;
            let user = metabase::current_user(&*http, Authorization::Session(&session)).await;
            let ended = end(&*http, &session, PAUSE_BEFORE_RETRY).await;
            Ok((user, ended))
        });
        match timeout(budget, signing_in).await {
            Ok(Ok(Ok((user, ended)))) => signed_in(user, ended, local, now),
            Ok(Ok(Err(error))) => refused(error, local),
            Ok(Err(_)) | Err(_) => refused(LATE.into(), local),
        }
    }
}

/// The answer for an API key of a production instance, which nobody is asked about: a key has the rights of a group and no
/// row-level security, and what is not to be used is not to be checked.
#[must_use]
pub fn api_key_not_allowed(key: &str) -> Judgement {
    let message = "API keys are for development instances; this one is of the environment \"production\".";
    let reason = AuthStatusReason::ApiKeyNotAllowed;
    Judgement::new(AuthStatus::Error, reason, message.to_owned()).with_fingerprint(key)
}

/// The end of the message of a check that left nothing behind.
pub(super) const ENDED: &str = "The session has been ended.";
const LATE: Unreachable = Unreachable { what: "does not answer in time" };
const BUSY: Unreachable = Unreachable { what: "has not answered many earlier checks yet, so this one was not begun" };

async fn end(http: &dyn Http, session: &str, mut pause: Duration) -> Result<(), Refused> {
    let mut attempt = 1;
    loop {
        match metabase::end_session(http, session).await {
            Ok(()) => return Ok(()),
            Err(error) if attempt == ATTEMPTS_TO_END => {
                tracing::error!(%error, "A session of a live check was not ended; it ends by Metabase's session age");
                return Err(error);
            }
            Err(_) => {
                tokio::time::sleep(pause).await;
                pause *= 2;
                attempt += 1;
            }
        }
    }
}

fn signed_in(
    user: Result<Option<Answer>, Refused>,
    ended: Result<(), Refused>,
    local: Judgement,
    now: UnixTime,
) -> Judgement {
    let expected = local.reading.as_ref().map(|reading| reading.attributes.clone()).unwrap_or_default();
    let unknown =
        (AuthStatusReason::SessionInvalid, "Metabase took the token, but does not know the session it gave for it.");
    let mut judgement = judge_user(user, "Metabase signed the person in with this token.", unknown, now);
    let seen = judgement.reading.as_ref().map(|reading| reading.attributes.clone()).unwrap_or_default();
    if !seen.is_empty() {
        let differs = |(key, value): &(&String, &String)| seen.get(*key) != Some(*value);
        judgement.warnings.extend(expected.iter().filter(differs).map(|(key, _)| {
            format!("The attribute {key:?} has another value in Metabase than in the token: one set by hand outweighs the token's.")
        }));
    }
    match ended {
        Ok(()) => {
            judgement.message.push(' ');
            judgement.message.push_str(ENDED);
        }
        Err(error) => {
            // Writing to a String does not fail.
            let _ = write!(judgement.message, " The session could not be ended: Metabase {error}.");
        }
    }
    judgement.warnings.extend(local.warnings);
    judgement.fingerprint = local.fingerprint;
    if let Some(own) = local.reading {
        // Groups and tenants are not shown to the person: as the token has them.
        let seen = judgement.reading.get_or_insert_default();
        (seen.groups, seen.tenant) = (own.groups, own.tenant);
        (seen.issue_time, seen.expire_time) = (own.issue_time, own.expire_time);
        seen.exchange_deadline = own.exchange_deadline;
        if seen.attributes.is_empty() {
            seen.attributes = own.attributes;
        }
    }
    judgement
}

fn judge_user(
    asked: Result<Option<Answer>, Refused>,
    good: &str,
    unknown: (AuthStatusReason, &str),
    now: UnixTime,
) -> Judgement {
    match asked {
        Ok(Some(answer)) => {
            let user = answer.json().unwrap_or_default();
            let mut judgement = Judgement::new(AuthStatus::Success, AuthStatusReason::Accepted, good.to_owned());
            if user["is_superuser"] == Value::Bool(true) {
                judgement.warnings.push("It is an administrator in Metabase.".to_owned());
            }
            let skew = answer.date.map(|theirs| theirs.saturating_sub(now.seconds()));
            judgement.warnings.extend(skew.and_then(warn_of_skew));
            judgement.reading = Some(read(&user));
            judgement
        }
        Ok(None) => Judgement::new(AuthStatus::Error, unknown.0, unknown.1.to_owned()),
        Err(error) => of_refusal(error),
    }
}

fn refused(error: Refused, local: Judgement) -> Judgement {
    let own = of_refusal(error);
    Judgement { status: own.status, reason: own.reason, message: own.message, ..local }
}

fn of_refusal(error: Refused) -> Judgement {
    let status = if error == Refused::Starting { AuthStatus::Loading } else { AuthStatus::Error };
    Judgement::new(status, error.reason(), format!("Metabase {error}."))
}

/// `skew` is by how many seconds Metabase's clock is ahead.
pub(super) fn warn_of_skew(skew: i64) -> Option<String> {
    let (seconds, direction) = (skew.unsigned_abs(), if skew > 0 { "ahead of" } else { "behind" });
    (seconds > UNREMARKABLE_SKEW.unsigned_abs()).then(|| {
        format!(
            "Metabase's clock is {seconds} s {direction} this service's; it allows none on `exp` and 180 s on `iat`."
        )
    })
}

fn read(user: &Value) -> Reading {
    let text = |name: &str| user[name].as_str().unwrap_or_default().to_owned();
    let mut attributes = BTreeMap::new();
    // By version; what was set by hand comes last, because it outweighs the token's.
    for name in ["jwt_attributes", "login_attributes", "attributes"] {
        let own = user[name].as_object().into_iter().flatten();
        attributes.extend(own.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))));
    }
    Reading {
        email: text("email"),
        first_name: text("first_name"),
        last_name: text("last_name"),
        attributes,
        ..Reading::default()
    }
}

impl Judgement {
    fn new(status: AuthStatus, reason: AuthStatusReason, message: String) -> Self {
        Self { status, reason: Some(reason), message, reading: None, fingerprint: None, warnings: Vec::new() }
    }

    fn with_fingerprint(self, credential: &str) -> Self {
        Self { fingerprint: Some(Fingerprint::of(credential)), ..self }
    }
}

#[cfg(test)]
mod tests;
