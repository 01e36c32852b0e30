//! What is recorded: never a token, never a secret, of people what is configured.

use serde::Serialize;

use crate::domain::{
    attributes::Attributes,
    caller::{Caller, CallerId, CallerName},
    groups::Group,
    identity::Identity,
    policy::Permit,
    secret::Pseudonym,
    token::Fingerprint,
};

/// One thing that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// What became of a reload.
    Reloaded {
        /// `configuration`, `tls` or `issuers`.
        what: &'static str,
        /// Whether the files are in force; otherwise the last good ones are.
        succeeded: bool,
        /// The generation in force afterwards.
        generation: u64,
    },
    /// The caller did not prove who it is.
    IdentityRefused {
        /// `x-request-id`
        request_id: Option<&'a str>,
        /// `google.rpc.ErrorInfo.reason`
        reason: &'static str,
    },
    /// Metabase is about to be asked to sign in with a token, which has an effect there, whoever waits for the answer.
    LiveCheckBegun {
        /// Who asked.
        by: By<'a>,
        /// Of which instance.
        instance: &'a str,
        /// Of the token.
        fingerprint: Fingerprint,
    },
    /// What a look at Metabase has changed.
    RotationStep {
        /// Which.
        instance: &'a str,
        /// `shared_secret` or `next_shared_secret`
        signing: &'static str,
        /// Whether Metabase holds it: `agrees`, `disagrees` or `unknown`.
        agreement: &'static str,
    },
    /// A credential was judged.
    StatusChecked {
        /// Who asked.
        by: By<'a>,
        /// Of which instance.
        instance: &'a str,
        /// Whether Metabase was asked to sign in with it.
        live: bool,
        /// `uninitialized`, `loading`, `success` or `error`
        status: &'static str,
        /// As in the answer.
        reason: Option<&'static str>,
        /// Of the credential.
        fingerprint: Option<Fingerprint>,
    },
    /// A status check was refused.
    StatusDenied {
        /// Who asked.
        by: By<'a>,
        /// Of which instance.
        instance: &'a str,
        /// `google.rpc.ErrorInfo.reason`
        reason: &'static str,
    },
    /// No token was issued.
    TokenDenied {
        /// Who asked.
        by: By<'a>,
        /// Of which instance.
        instance: &'a str,
        /// For whom; none if the request was refused before it was looked at.
        person: Option<Person>,
        /// `google.rpc.ErrorInfo.reason`
        reason: &'static str,
        /// The field that is not permitted; empty if it is none.
        field: &'a str,
        /// What speaks for a shared account, if that is the reason.
        account_warnings: Vec<&'static str>,
        /// The generation that decided.
        generation: u64,
    },
    /// A token was signed. It leaves once this is written.
    TokenIssued {
        /// Who asked.
        by: By<'a>,
        /// Of which instance.
        instance: &'a str,
        /// For whom.
        person: Option<Person>,
        /// What the token grants.
        grant: Grant<'a>,
        /// Of the token.
        fingerprint: Fingerprint,
        /// `shared_secret` or `next_shared_secret`
        signed_with: &'static str,
        /// What speaks for a shared account, or why that was not looked at.
        account_warnings: Vec<&'static str>,
        /// The generation that decided.
        generation: u64,
    },
}

/// Who asks, and by which request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who has proven to be the caller.
    pub caller: &'a Caller,
    /// `x-request-id`, by which the caller knows the request; none where there is no request.
    pub request_id: Option<&'a str>,
}

impl<'a> From<&'a Caller> for Asked<'a> {
    fn from(caller: &'a Caller) -> Self {
        Self { caller, request_id: None }
    }
}

/// A caller and its proof.
#[derive(Debug)]
pub struct By<'a> {
    pub(super) request_id: Option<&'a str>,
    /// Name of the `[[callers]]` entry; none if it is none of them.
    pub(super) caller: Option<&'a str>,
    /// What was proven; none where the configuration names whoever comes this way.
    pub(super) identity: Option<&'a Identity>,
    pub(super) proof: &'static str,
}

impl<'a> By<'a> {
    /// `name` is what the policy calls the caller.
    #[must_use]
    pub fn new(asked: impl Into<Asked<'a>>, name: Option<&'a CallerName>) -> Self {
        let Asked { caller, request_id } = asked.into();
        let identity = match &caller.id {
            CallerId::Named(_) => None,
            CallerId::Proven(identity) => Some(identity),
        };
        Self { request_id, caller: name.map(CallerName::as_str), identity, proof: caller.proof.as_str() }
    }
}

/// A person, by address and identifier or by pseudonyms of both.
#[derive(Debug)]
pub struct Person {
    pub(super) subject: Name,
    pub(super) user_id: Option<Name>,
}

/// What is told of one datum of a person.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Name {
    Plain(String),
    Hashed(Pseudonym),
}

/// What a token grants.
#[derive(Debug)]
pub struct Grant<'a> {
    /// None: memberships are left alone.
    pub(super) groups: Option<&'a [Group]>,
    pub(super) attributes: &'a Attributes,
    pub(super) tenant: Option<&'a str>,
    pub(super) tenant_attributes: &'a Attributes,
    pub(super) lifetime_seconds: u32,
}

impl<'a> Grant<'a> {
    /// What was permitted.
    #[must_use]
    pub fn of(permit: &'a Permit) -> Self {
        const NO_ATTRIBUTES: &Attributes = &Attributes::new();
        let request = permit.request();
        let tenant = request.tenant.as_ref();
        Self {
            groups: request.groups.as_deref(),
            attributes: &request.attributes,
            tenant: tenant.map(|tenant| tenant.slug.as_str()),
            tenant_attributes: tenant.map_or(NO_ATTRIBUTES, |tenant| &tenant.attributes),
            lifetime_seconds: permit.lifetime().seconds(),
        }
    }
}

impl Event<'_> {
    /// Whether it took no entry of the configuration to make it happen.
    pub(super) const fn is_by_a_stranger(&self) -> bool {
        match self {
            Self::IdentityRefused { .. } => true,
            Self::StatusDenied { by, .. } | Self::TokenDenied { by, .. } => by.caller.is_none(),
            Self::LiveCheckBegun { .. }
            | Self::Reloaded { .. }
            | Self::RotationStep { .. }
            | Self::StatusChecked { .. }
            | Self::TokenIssued { .. } => false,
        }
    }
}
