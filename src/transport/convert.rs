//! Between messages and domain types. Nothing is checked here.

use std::collections::BTreeMap;

use prost_types::Timestamp;

use super::proto;
use crate::{
    application::{check_auth_status::Credential, issue_token::IssuedToken},
    domain::{
        auth_status::{AuthStatus, AuthStatusReason, Judgement, Reading},
        time::UnixTime,
        token_request::{UnverifiedRequest, UnverifiedUser},
    },
};

/// The instance's name, and the rest.
pub(super) fn issue_request(request: proto::IssueMetabaseTokenRequest) -> (String, UnverifiedRequest) {
    let unverified = UnverifiedRequest {
        user: request.user.map(|user| UnverifiedUser {
            id: user.id,
            email: user.email,
            first_name: user.first_name,
            last_name: user.last_name,
        }),
        groups: request.groups.map(|groups| groups.names),
        attributes: request.attributes,
        tenant: request.tenant.map(|tenant| (tenant.slug, tenant.attributes)),
        lifetime: request.lifetime.map(|lifetime| (lifetime.seconds, lifetime.nanos)),
        return_to: request.return_to,
    };
    (request.instance, unverified)
}

/// The one place where a token leaves for the caller.
pub(super) fn issue_response(issued: &IssuedToken) -> proto::IssueMetabaseTokenResponse {
    proto::IssueMetabaseTokenResponse {
        jwt: issued.token.expose().to_owned(),
        issue_time: timestamp(issued.issue_time),
        expire_time: timestamp(issued.expire_time),
        exchange_deadline: timestamp(issued.exchange_deadline),
        token_fingerprint: issued.fingerprint.to_string(),
        sso_url: issued.sso_url.as_ref().map(|url| url.expose().to_owned()).unwrap_or_default(),
    }
}

pub(super) fn credential(credential: Option<proto::check_auth_status_request::Credential>) -> Credential {
    use proto::check_auth_status_request::Credential as Given;
    match credential {
        None => Credential::None,
        Some(Given::Jwt(jwt)) => Credential::Jwt(jwt),
        Some(Given::SessionId(id)) => Credential::SessionId(id),
        Some(Given::ApiKey(key)) => Credential::ApiKey(key),
    }
}

pub(super) fn check_response(judgement: Judgement) -> proto::CheckAuthStatusResponse {
    let mut response = proto::CheckAuthStatusResponse {
        status: status(judgement.status).into(),
        reason: judgement.reason.map_or(proto::AuthStatusReason::Unspecified, reason).into(),
        message: judgement.message,
        token_fingerprint: judgement.fingerprint.map(|fingerprint| fingerprint.to_string()).unwrap_or_default(),
        warnings: judgement.warnings,
        ..proto::CheckAuthStatusResponse::default()
    };
    if let Some(reading) = judgement.reading {
        fill_reading(&mut response, reading);
    }
    response
}

fn fill_reading(response: &mut proto::CheckAuthStatusResponse, reading: Reading) {
    let tenant = |(slug, attributes): (String, BTreeMap<_, _>)| proto::Tenant { slug, attributes };
    response.user = Some(proto::User {
        id: String::new(),
        email: reading.email,
        first_name: reading.first_name,
        last_name: reading.last_name,
    });
    response.groups = reading.groups.map(|names| proto::GroupList { names });
    response.attributes = reading.attributes;
    response.tenant = reading.tenant.map(tenant);
    response.issue_time = reading.issue_time.and_then(timestamp);
    response.expire_time = reading.expire_time.and_then(timestamp);
    response.exchange_deadline = reading.exchange_deadline.and_then(timestamp);
}

/// None outside the years 1 to 9999, which `google.protobuf.Timestamp` cannot hold.
fn timestamp(time: UnixTime) -> Option<Timestamp> {
    const HELD: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    let seconds = time.seconds();
    HELD.contains(&seconds).then_some(Timestamp { seconds, nanos: 0 })
}

const fn status(status: AuthStatus) -> proto::AuthStatus {
    match status {
        AuthStatus::Loading => proto::AuthStatus::Loading,
        AuthStatus::Uninitialized => proto::AuthStatus::Uninitialized,
        AuthStatus::Success => proto::AuthStatus::Success,
        AuthStatus::Error => proto::AuthStatus::Error,
    }
}

const fn reason(reason: AuthStatusReason) -> proto::AuthStatusReason {
    match reason {
        AuthStatusReason::Accepted => proto::AuthStatusReason::Accepted,
        AuthStatusReason::AccountUnavailable => proto::AuthStatusReason::AccountUnavailable,
        AuthStatusReason::ApiKeyInvalid => proto::AuthStatusReason::ApiKeyInvalid,
        AuthStatusReason::ApiKeyNotAllowed => proto::AuthStatusReason::ApiKeyNotAllowed,
        AuthStatusReason::Expired => proto::AuthStatusReason::Expired,
        AuthStatusReason::InvalidClaim => proto::AuthStatusReason::InvalidClaim,
        AuthStatusReason::LicenseRequired => proto::AuthStatusReason::LicenseRequired,
        AuthStatusReason::Malformed => proto::AuthStatusReason::Malformed,
        AuthStatusReason::MetabaseStarting => proto::AuthStatusReason::MetabaseStarting,
        AuthStatusReason::MetabaseUnreachable => proto::AuthStatusReason::MetabaseUnreachable,
        AuthStatusReason::MissingEmail => proto::AuthStatusReason::MissingEmail,
        AuthStatusReason::NotYetValid => proto::AuthStatusReason::NotYetValid,
        AuthStatusReason::SessionInvalid => proto::AuthStatusReason::SessionInvalid,
        AuthStatusReason::SignatureMismatch => proto::AuthStatusReason::SignatureMismatch,
        AuthStatusReason::SignedWithRetiredSecret => proto::AuthStatusReason::SignedWithRetiredSecret,
        AuthStatusReason::SsoNotEnabled => proto::AuthStatusReason::SsoNotEnabled,
        AuthStatusReason::TenantRefused => proto::AuthStatusReason::TenantRefused,
        AuthStatusReason::TooOldToExchange => proto::AuthStatusReason::TooOldToExchange,
        AuthStatusReason::UnsupportedAlgorithm => proto::AuthStatusReason::UnsupportedAlgorithm,
    }
}
