//! What is recorded: never a token, never a secret, of attributes only the names, of people what is configured.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use serde::Serialize;

use crate::domain::{
    caller::{Caller, CallerId, CallerName},
    groups::Group,
    identity::Identity,
    policy::Permit,
    time::UnixTime,
    token::Fingerprint,
};

/// One thing that happened. The JSON form is the documented one: docs/operations.md.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
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
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
        /// `google.rpc.ErrorInfo.reason`
        reason: &'static str,
    },
    /// Metabase is about to be asked to sign in with a token, which has an effect there, whoever waits for the answer.
    LiveCheckBegun {
        /// Who asked.
        #[serde(flatten)]
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
        #[serde(flatten)]
        by: By<'a>,
        /// Of which instance.
        instance: &'a str,
        /// Whether Metabase was asked to sign in with it.
        live: bool,
        /// `uninitialized`, `loading`, `success` or `error`
        status: &'static str,
        /// As in the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
        /// Of the credential.
        #[serde(skip_serializing_if = "Option::is_none")]
        fingerprint: Option<Fingerprint>,
    },
    /// A status check was refused.
    StatusDenied {
        /// Who asked.
        #[serde(flatten)]
        by: By<'a>,
        /// Of which instance.
        instance: &'a str,
        /// `google.rpc.ErrorInfo.reason`
        reason: &'static str,
    },
    /// No token was issued.
    TokenDenied {
        /// Who asked.
        #[serde(flatten)]
        by: By<'a>,
        /// Of which instance.
        instance: &'a str,
        /// For whom; none if the request was refused before it was looked at.
        #[serde(flatten)]
        person: Option<Person>,
        /// `google.rpc.ErrorInfo.reason`
        reason: &'static str,
        /// The field that is not permitted; empty if it is none.
        #[serde(skip_serializing_if = "str::is_empty")]
        field: &'a str,
        /// What speaks for a shared account, if that is the reason.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        account_warnings: Vec<&'static str>,
        /// The generation that decided.
        generation: u64,
    },
    /// A token was signed. It leaves once this is written.
    TokenIssued {
        /// Who asked.
        #[serde(flatten)]
        by: By<'a>,
        /// Of which instance.
        instance: &'a str,
        /// For whom.
        #[serde(flatten)]
        person: Option<Person>,
        /// What the token grants.
        #[serde(flatten)]
        grant: Grant<'a>,
        /// Of the token.
        fingerprint: Fingerprint,
        /// `shared_secret` or `next_shared_secret`
        signed_with: &'static str,
        /// What speaks for a shared account, or why that was not looked at.
        #[serde(skip_serializing_if = "Vec::is_empty")]
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
#[derive(Debug, Serialize)]
pub struct By<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    /// Name of the `[[callers]]` entry; none if it is none of them.
    caller: Option<&'a str>,
    /// What was proven; none where the configuration names whoever comes this way.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a Identity>,
    proof: &'static str,
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
#[derive(Debug, Serialize)]
pub struct Person {
    pub(super) subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<String>,
}

/// What a token grants.
#[derive(Debug, Serialize)]
pub struct Grant<'a> {
    /// None: memberships are left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<&'a str>>,
    attributes: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tenant_attributes: Vec<&'a str>,
    lifetime_seconds: u32,
}

impl<'a> Grant<'a> {
    /// What was permitted.
    #[must_use]
    pub fn of(permit: &'a Permit) -> Self {
        let request = permit.request();
        let tenant = request.tenant.as_ref();
        Self {
            groups: request.groups.as_ref().map(|groups| groups.iter().map(Group::as_str).collect()),
            attributes: request.attributes.keys().map(String::as_str).collect(),
            tenant: tenant.map(|tenant| tenant.slug.as_str()),
            tenant_attributes: tenant.into_iter().flat_map(|one| one.attributes.keys()).map(String::as_str).collect(),
            lifetime_seconds: permit.lifetime().seconds(),
        }
    }
}

/// Room for the record of a token with a few groups and attributes.
const USUAL_BYTES: usize = 512;

/// A record as it stands in the log, but for what the writer adds.
#[derive(Serialize)]
struct Record<'a> {
    time: fmt::Arguments<'a>,
    #[serde(flatten)]
    event: &'a Event<'a>,
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

    /// A JSON object that says when it happened, in UTC.
    pub(super) fn to_json(&self, now: UnixTime) -> Vec<u8> {
        let mut record = Vec::with_capacity(USUAL_BYTES);
        match serde_json::to_writer(&mut record, &Record { time: format_args!("{}", time(now)), event: self }) {
            Ok(()) => record,
            Err(_) => b"{\"event\":\"unreadable\"}".to_vec(),
        }
    }
}

/// RFC 3339, in UTC.
#[must_use]
pub fn time(at: UnixTime) -> impl fmt::Display {
    let since = Duration::from_secs(u64::try_from(at.seconds()).unwrap_or_default());
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since)
}
