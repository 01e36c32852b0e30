//! What the service answers.

use std::{collections::BTreeMap, time::SystemTime};

use prost_types::Timestamp;
use tonic::Response;

use super::{AuthStatus, AuthStatusReason, Error, Person, SsoUrl, Tenant, Token};
use crate::proto::{CheckAuthStatusResponse, IssueMetabaseTokenResponse};

/// Metadata of answers, once for each warning.
const WARNING: &str = "mts-warning";

/// A token and what to know about it.
#[derive(Debug)]
#[non_exhaustive]
pub struct IssuedToken {
    /// Good for one sign-in, until `exchange_deadline`.
    pub token: Token,
    /// The `iat` claim.
    pub issue_time: SystemTime,
    /// The `exp` claim: when the SDK will ask for a fresh token.
    pub expire_time: SystemTime,
    /// The last moment at which Metabase exchanges the token for a session.
    pub exchange_deadline: SystemTime,
    /// The handle under which audit records and [`Judgement`] know the token. Safe to log.
    pub fingerprint: String,
    /// Where to redirect to for interactive embedding, if the request had `return_to`.
    pub sso_url: Option<SsoUrl>,
    /// What to see to although the token was issued, such as a shared account: a code, a colon, and what to do. Log them.
    pub warnings: Vec<String>,
}

impl IssuedToken {
    pub(super) fn from_answer(answer: Response<IssueMetabaseTokenResponse>) -> Result<Self, Error> {
        let warnings = answer.metadata().get_all(WARNING).iter();
        let warnings = warnings.filter_map(|text| text.to_str().ok().map(str::to_owned)).collect();
        let answer = answer.into_inner();
        let token = Token::new(answer.jwt);
        let sso_url = Some(SsoUrl::new(answer.sso_url)).filter(|url| !url.expose().is_empty());
        let times = (time(answer.issue_time), time(answer.expire_time), time(answer.exchange_deadline));
        let (Some(issue_time), Some(expire_time), Some(exchange_deadline)) = times else {
            return Err(Error::incomplete_answer());
        };
        if token.expose().is_empty() {
            return Err(Error::incomplete_answer());
        }
        let fingerprint = answer.token_fingerprint;
        Ok(Self { token, issue_time, expire_time, exchange_deadline, fingerprint, sso_url, warnings })
    }
}

/// What Metabase makes, or would make, of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judgement {
    /// The state that the SDK's `useMetabaseAuthStatus` would end in.
    pub status: AuthStatus,
    /// Why. Unspecified while the status is uninitialized, and for reasons that a newer service has.
    pub reason: AuthStatusReason,
    /// One sentence for a person, with what Metabase itself would answer.
    pub message: String,
    /// The person as Metabase would read them, once the signature is proven; `id` is empty, for it is not in a token.
    pub person: Option<Person>,
    /// As Metabase would read them; none: memberships are left as they are.
    pub groups: Option<Vec<String>>,
    /// As Metabase would store them.
    pub attributes: BTreeMap<String, String>,
    /// As Metabase would read it.
    pub tenant: Option<Tenant>,
    /// The `iat` claim.
    pub issue_time: Option<SystemTime>,
    /// The `exp` claim.
    pub expire_time: Option<SystemTime>,
    /// The last moment at which Metabase exchanges the token for a session.
    pub exchange_deadline: Option<SystemTime>,
    /// The handle of the credential; empty if there was none. Safe to log.
    pub fingerprint: String,
    /// What Metabase would drop, misread or fail to enforce; one sentence each. Log them.
    pub warnings: Vec<String>,
}

impl Judgement {
    /// `success`, `error`, `loading` or `uninitialized`: the word of the SDK.
    #[must_use]
    pub fn status_word(&self) -> String {
        self.status.as_str_name().trim_start_matches("AUTH_STATUS_").to_lowercase()
    }

    /// The reason in short, for example `SIGNATURE_MISMATCH`.
    #[must_use]
    pub fn reason_word(&self) -> &'static str {
        self.reason.as_str_name().trim_start_matches("AUTH_STATUS_REASON_")
    }

    pub(super) fn from_answer(answer: CheckAuthStatusResponse) -> Self {
        let person = |user: crate::proto::User| Person {
            id: user.id,
            email: user.email,
            first_name: user.first_name,
            last_name: user.last_name,
        };
        Self {
            status: answer.status(),
            reason: answer.reason(),
            message: answer.message,
            person: answer.user.map(person),
            groups: answer.groups.map(|groups| groups.names),
            attributes: answer.attributes,
            tenant: answer.tenant.map(|tenant| Tenant { slug: tenant.slug, attributes: tenant.attributes }),
            issue_time: time(answer.issue_time),
            expire_time: time(answer.expire_time),
            exchange_deadline: time(answer.exchange_deadline),
            fingerprint: answer.token_fingerprint,
            warnings: answer.warnings,
        }
    }
}

/// None if it is absent, or beyond what this system can hold.
fn time(timestamp: Option<Timestamp>) -> Option<SystemTime> {
    timestamp.and_then(|timestamp| timestamp.try_into().ok())
}
