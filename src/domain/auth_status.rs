//! The answer to "would this credential sign its bearer in?"

use std::collections::BTreeMap;

use super::{time::UnixTime, token::Fingerprint};

/// The four states of the SDK's `useMetabaseAuthStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthStatus {
    /// Metabase is still starting.
    Loading,
    /// No credential was given.
    Uninitialized,
    /// The credential signs its bearer in.
    Success,
    /// It does not.
    Error,
}

impl AuthStatus {
    /// The SDK's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Uninitialized => "uninitialized",
            Self::Success => "success",
            Self::Error => "error",
        }
    }
}

/// Why a credential has its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthStatusReason {
    /// Metabase would accept it.
    Accepted,
    /// No active account, and none may be made.
    AccountUnavailable,
    /// Metabase does not know the API key.
    ApiKeyInvalid,
    /// API keys are for development instances.
    ApiKeyNotAllowed,
    /// `exp` is now or past.
    Expired,
    /// A claim makes Metabase refuse the token.
    InvalidClaim,
    /// No licence for JWT single sign-on.
    LicenseRequired,
    /// Not a JSON Web Token.
    Malformed,
    /// Metabase is still starting.
    MetabaseStarting,
    /// No answer, or none that can be understood.
    MetabaseUnreachable,
    /// The e-mail claim is absent or empty.
    MissingEmail,
    /// `nbf` is in the future.
    NotYetValid,
    /// The session is unknown, expired or ended.
    SessionInvalid,
    /// Not signed with this secret.
    SignatureMismatch,
    /// Signed with the secret that a rotation has retired.
    SignedWithRetiredSecret,
    /// JWT single sign-on is off or not configured.
    SsoNotEnabled,
    /// Metabase refuses the tenant, or the lack of one.
    TenantRefused,
    /// `iat` is more than 180 s ago.
    TooOldToExchange,
    /// Not HS256.
    UnsupportedAlgorithm,
}

impl AuthStatusReason {
    /// The spelling in the contract, without the prefix of its type.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "ACCEPTED",
            Self::AccountUnavailable => "ACCOUNT_UNAVAILABLE",
            Self::ApiKeyInvalid => "API_KEY_INVALID",
            Self::ApiKeyNotAllowed => "API_KEY_NOT_ALLOWED",
            Self::Expired => "EXPIRED",
            Self::InvalidClaim => "INVALID_CLAIM",
            Self::LicenseRequired => "LICENSE_REQUIRED",
            Self::Malformed => "MALFORMED",
            Self::MetabaseStarting => "METABASE_STARTING",
            Self::MetabaseUnreachable => "METABASE_UNREACHABLE",
            Self::MissingEmail => "MISSING_EMAIL",
            Self::NotYetValid => "NOT_YET_VALID",
            Self::SessionInvalid => "SESSION_INVALID",
            Self::SignatureMismatch => "SIGNATURE_MISMATCH",
            Self::SignedWithRetiredSecret => "SIGNED_WITH_RETIRED_SECRET",
            Self::SsoNotEnabled => "SSO_NOT_ENABLED",
            Self::TenantRefused => "TENANT_REFUSED",
            Self::TooOldToExchange => "TOO_OLD_TO_EXCHANGE",
            Self::UnsupportedAlgorithm => "UNSUPPORTED_ALGORITHM",
        }
    }
}

/// The judgement of one credential.
#[derive(Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The SDK's word.
    pub(crate) status: AuthStatus,
    /// None while the status is [`AuthStatus::Uninitialized`].
    pub(crate) reason: Option<AuthStatusReason>,
    /// One sentence for a person.
    pub(crate) message: String,
    /// Once the signature is proven and the payload is an object.
    pub(crate) reading: Option<Reading>,
    /// None when no credential was given.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// One sentence each.
    pub(crate) warnings: Vec<String>,
}

/// What Metabase would read from a token.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Lower-cased; empty when absent or not a string.
    pub(crate) email: String,
    /// Empty when absent or not a string.
    pub(crate) first_name: String,
    /// Empty when absent or not a string.
    pub(crate) last_name: String,
    /// None: the claim is absent and memberships are left alone.
    pub(crate) groups: Option<Vec<String>>,
    /// What Metabase would store.
    pub(crate) attributes: BTreeMap<String, String>,
    /// Slug and attributes.
    pub(crate) tenant: Option<(String, BTreeMap<String, String>)>,
    /// `iat`, rounded down to whole seconds.
    pub(crate) issue_time: Option<UnixTime>,
    /// `exp`, rounded down to whole seconds.
    pub(crate) expire_time: Option<UnixTime>,
    /// From whichever of the two is there.
    pub(crate) exchange_deadline: Option<UnixTime>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_a_word_of_the_sdk() {
        use AuthStatus::{Error, Loading, Success, Uninitialized};
        let words = [Uninitialized, Loading, Success, Error].map(AuthStatus::as_str);
        assert_eq!(words, ["uninitialized", "loading", "success", "error"]);
    }
}
