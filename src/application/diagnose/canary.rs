//! Signs a person in for good measure. This is the one check that has an effect, and it is made on request only.

use std::{sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

use super::{Check, Finding};
use crate::{
    application::{Clock, generation::InstanceWithKey, judge, live},
    domain::{
        auth_status::{AuthStatus, Judgement},
        caller::{Caller, CallerId, CallerName, Proof},
        deny_reason::DenyReason,
        grant::Grant,
        policy::{Decision, Denied, Policy},
        token_request::{InvalidRequest, TokenRequest, UnverifiedRequest, UnverifiedUser},
    },
};

/// The account that signs in.
#[derive(Clone, Debug)]
pub struct Canary {
    /// Its e-mail address.
    pub email: String,
    /// Its tenant.
    pub tenant: Option<String>,
    /// Who is refused whatever is granted, the canary too.
    pub denied: Denied,
}

/// Signs the canary in at `one`, and ends its session. The account's first and last name become "Canary" and "Account"; an account
/// that is not there yet is made, where Metabase makes accounts.
pub async fn sign_in(
    one: &InstanceWithKey,
    canary: &Canary,
    clock: &dyn Clock,
    patience: Duration,
    tasks: &TaskTracker,
) -> Finding {
    let Some(metabase) = &one.live else {
        return Finding::fail(Check::Canary, "There is no `url` to sign in at", "set `url`");
    };
    let jwt = match issue(one, canary, clock) {
        Ok(jwt) => jwt,
        Err((refusal, way_out)) => return Finding::fail(Check::Canary, refusal, way_out),
    };
    let now = clock.now();
    let local = judge::judge(&jwt, &one.instance, &one.keys, now);
    finding(&metabase.check_jwt(jwt, local, patience, now, tasks).await)
}

fn finding(judgement: &Judgement) -> Finding {
    match judgement.status {
        AuthStatus::Success if judgement.message.ends_with(live::ENDED) => {
            Finding::ok(Check::Canary, judgement.message.trim_end_matches('.'))
        }
        AuthStatus::Success => {
            let way_out = "nothing: it ends by itself; see Metabase's log for why it could not be ended";
            Finding::warn(Check::Canary, judgement.message.trim_end_matches('.'), way_out)
        }
        AuthStatus::Error | AuthStatus::Loading | AuthStatus::Uninitialized => {
            let way_out = "make the account in Metabase, or switch user provisioning on, if that is what is missing";
            Finding::fail(Check::Canary, judgement.message.trim_end_matches('.'), way_out)
        }
    }
}

/// Whoever runs this reads the secret, so nothing is kept from them but what is denied to everybody.
fn issue(one: &InstanceWithKey, canary: &Canary, clock: &dyn Clock) -> Result<String, (String, &'static str)> {
    const OPTIONS: &str = "see `--canary` and `--canary-tenant`";
    let name: CallerName = "doctor".parse().map_err(|_| ("no caller".to_owned(), OPTIONS))?;
    let mut policy = Policy::new(canary.denied.clone());
    let added = policy.add(name.clone(), one.instance.name.clone(), Grant::unrestricted());
    debug_assert!(added.is_ok(), "it is the only grant");
    let request = UnverifiedRequest {
        user: Some(UnverifiedUser {
            id: "canary".to_owned(),
            email: canary.email.clone(),
            first_name: "Canary".to_owned(),
            last_name: "Account".to_owned(),
        }),
        tenant: canary.tenant.clone().map(|slug| (slug, std::collections::BTreeMap::default())),
        ..UnverifiedRequest::default()
    };
    let request = TokenRequest::parse(request, Arc::clone(&one.instance)).map_err(|invalid| match invalid {
        InvalidRequest::Violations(violations) => {
            let rules =
                violations.iter().map(|one| format!("{} {}", one.field, one.rule)).collect::<Vec<_>>().join("; ");
            (rules, OPTIONS)
        }
        InvalidRequest::UrlNotConfigured => ("there is no `url`".to_owned(), "set `url`"),
    })?;
    let caller = Caller { id: CallerId::Named(name), proof: Proof::Local };
    match policy.decide(&caller, request) {
        Decision::Allow(permit) => {
            let signed =
                one.keys.signing().1.sign(&permit, clock.now()).map_err(|error| (error.to_string(), OPTIONS))?;
            Ok(signed.token.expose().to_owned())
        }
        // Everything is granted, so it is a deny list.
        Decision::Deny(denial) => {
            let way_out = if denial.reason == DenyReason::TenantDenied {
                "name another with `--canary-tenant`, or take this one out of [deny] tenants"
            } else {
                "name another with `--canary`, or take this one out of [deny] emails"
            };
            Err((format!("The configuration denies the canary: {}", denial.reason.code()), way_out))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application::diagnose::Verdict;

    #[test]
    fn a_session_that_is_left_behind_is_a_warning() {
        for (status, message, verdict) in [
            (AuthStatus::Success, "Signed in. The session has been ended.", Verdict::Ok),
            (AuthStatus::Success, "Signed in. The session could not be ended.", Verdict::Warn),
            (AuthStatus::Error, "Refused. The session has been ended.", Verdict::Fail),
            (AuthStatus::Loading, "Starting.", Verdict::Fail),
        ] {
            let (message, warnings) = (message.to_owned(), Vec::new());
            let judgement = Judgement { status, reason: None, message, reading: None, fingerprint: None, warnings };
            let finding = finding(&judgement);
            assert_eq!((finding.verdict, format!("{}.", finding.what)), (verdict, judgement.message));
        }
    }
}
