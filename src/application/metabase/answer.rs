//! An answer of Metabase, and what it means. Texts come plain, as JSON, as a stack trace or as HTML, so they are looked for and
//! not parsed; and they are never repeated, for a page may quote the URL that it was asked for, and with it the token.

use serde_json::Value;
use thiserror::Error;

use super::Unreachable;
use crate::domain::auth_status::AuthStatusReason;

/// An answer, as far as anything depends on it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
    /// The `Date` header, in seconds since 1970.
    pub date: Option<i64>,
    /// Where it redirects to. May hold a token if the request did.
    pub location: Option<String>,
    /// Value of the session cookie that it sets.
    pub session_cookie: Option<String>,
}

/// Why Metabase did not do what it was asked. The text is for people: what Metabase says, or what is the matter with it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refused {
    /// No active account, and none may be made.
    #[error("has no active account for the person and may not make one (HTTP 401)")]
    AccountUnavailable,
    /// Another secret, or no token.
    #[error("answers HTTP 401 \"Message seems corrupt or manipulated\": it holds another secret")]
    Corrupt,
    /// Past `exp`.
    #[error("answers HTTP 401 \"Token is expired\"")]
    Expired,
    /// A claim of a wrong type.
    #[error("answers HTTP 401 about a claim that it cannot use")]
    InvalidClaim,
    /// Open source, or no licence.
    #[error("has no licence for JWT single sign-on")]
    LicenseRequired,
    /// No e-mail.
    #[error("answers HTTP 401 \"JWT token missing email claim\"")]
    MissingEmail,
    /// Before `nbf`.
    #[error("answers HTTP 401 \"Token is not yet valid\"")]
    NotYetValid,
    /// The SDK is switched off, which other ways in do not need.
    #[error("has embedding by the SDK switched off")]
    SdkDisabled,
    /// Off, or not configured.
    #[error("has JWT single sign-on switched off or not configured")]
    SsoNotEnabled,
    /// Not ready.
    #[error("is still starting (HTTP 503)")]
    Starting,
    /// The tenant is wrong, missing, inactive or not allowed.
    #[error("refuses the person's tenant, or the lack of one (HTTP 403)")]
    Tenant,
    /// Past `iat` + 180 s.
    #[error("answers HTTP 401 \"Token is older than max-age (180)\"")]
    TooOld,
    /// An answer that no known version gives.
    #[error("gives an answer that is not understood (HTTP {0}): is this a Metabase Pro or Enterprise instance?")]
    Unknown(u16),
    /// No answer.
    #[error("{}", .0.what)]
    Unreachable(Unreachable),
}

impl From<Unreachable> for Refused {
    fn from(unreachable: Unreachable) -> Self {
        Self::Unreachable(unreachable)
    }
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }

    /// A text member of a JSON body.
    pub(crate) fn member(&self, name: &str) -> Option<String> {
        self.json()?.get(name)?.as_str().map(str::to_owned)
    }

    /// What an answer that is none of the good ones means.
    pub(crate) fn refused(&self) -> Refused {
        let says = |text: &str| self.body.contains(text);
        match self.status {
            401 if says("Token is expired") => Refused::Expired,
            401 if says("Token is older than max-age") => Refused::TooOld,
            401 if says("Token is not yet valid") => Refused::NotYetValid,
            401 if says("Message seems corrupt") => Refused::Corrupt,
            401 if says("missing email") => Refused::MissingEmail,
            401 if says("you'll need a") || says("you&#39;ll need a") => Refused::AccountUnavailable,
            401 if says("must be a string") || says("unexpected error") || says("ClassCastException") => {
                Refused::InvalidClaim
            }
            403 => Refused::Tenant,
            400 if says("ee-build-required") || says("only exists in enterprise builds") => Refused::LicenseRequired,
            400 if says("error-sso-disabled") || says("SSO has not been enabled") || says("is not enabled") => {
                Refused::SsoNotEnabled
            }
            // Stack traces hidden, and all else with them: no other 400 is for a request that is as it should be.
            400 if says("Something went wrong") => Refused::SsoNotEnabled,
            402 if says("error-embedding-sdk-disabled") || says("mbedding") => Refused::SdkDisabled,
            402 => Refused::LicenseRequired,
            503 if says("initializing") => Refused::Starting,
            status => Refused::Unknown(status),
        }
    }
}

impl Refused {
    /// The reason in the answer to a caller.
    #[must_use]
    pub const fn reason(self) -> AuthStatusReason {
        match self {
            Self::AccountUnavailable => AuthStatusReason::AccountUnavailable,
            Self::Corrupt => AuthStatusReason::SignatureMismatch,
            Self::Expired => AuthStatusReason::Expired,
            Self::InvalidClaim => AuthStatusReason::InvalidClaim,
            Self::LicenseRequired => AuthStatusReason::LicenseRequired,
            Self::MissingEmail => AuthStatusReason::MissingEmail,
            Self::NotYetValid => AuthStatusReason::NotYetValid,
            Self::SdkDisabled | Self::SsoNotEnabled => AuthStatusReason::SsoNotEnabled,
            Self::Starting => AuthStatusReason::MetabaseStarting,
            Self::Tenant => AuthStatusReason::TenantRefused,
            Self::TooOld => AuthStatusReason::TooOldToExchange,
            Self::Unknown(_) | Self::Unreachable(_) => AuthStatusReason::MetabaseUnreachable,
        }
    }
}
