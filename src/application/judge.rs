//! Judges a token as Metabase would: its checks in its order, with its leniencies and none of ours.
//!
//! Metabase verifies with buddy-sign (`buddy.sign.jws/unsign`, `buddy.sign.jwt/unsign` with a `max-age` of 180 s and no
//! other option) and reads the claims in its JWT provider. The order is: three parts; header is base64url of a JSON
//! object; HMAC-SHA256, whatever algorithm the header names; payload is base64url of JSON; `exp`; `nbf`; `iat`; tenant
//! claim; e-mail claim. No library's validation runs here, so none of its defaults can soften or harden the judgement.
//!
//! Known difference: Metabase reads a top-level array only as far as it needs, here it has to be well-formed. Either way the
//! token is refused.

mod claims;
mod compact;
mod json;
mod reading;
#[cfg(test)]
mod tests;
#[cfg(all(test, feature = "wycheproof-jws"))]
mod wycheproof;

use self::{claims::Refusal, compact::Compact, json::Document};
use super::agreement::Keys;
use crate::domain::{
    auth_status::{AuthStatus, AuthStatusReason, Judgement, Reading},
    instance::Instance,
    rotation::Which,
    time::UnixTime,
    token::{Fingerprint, MAX_TOKEN_BYTES},
};

/// What Metabase answers to a token it cannot verify, without telling why.
const CORRUPT: &str = "Message seems corrupt or manipulated";

/// Judges `jwt` as the instance would at `now`, with the secret that signs. Never fails: a bad token is the answer.
#[must_use]
pub fn judge(jwt: &str, instance: &Instance, keys: &Keys, now: UnixTime) -> Judgement {
    let mut warnings = Vec::new();
    let mut reading = None;
    let refusal = examine(jwt, instance, keys, now, &mut warnings, &mut reading).err();
    let (status, reason, message) = match refusal {
        Some(Refusal { reason, why, answer: Some(answer) }) => {
            (AuthStatus::Error, reason, format!("{why}; Metabase would answer HTTP 401 \"{answer}\"."))
        }
        Some(Refusal { reason, why, answer: None }) => (AuthStatus::Error, reason, format!("{why}.")),
        None => (AuthStatus::Success, AuthStatusReason::Accepted, accepted(reading.as_ref(), now)),
    };
    let fingerprint = Some(Fingerprint::of(jwt));
    Judgement { status, reason: Some(reason), message, reading, fingerprint, warnings }
}

fn examine(
    jwt: &str,
    instance: &Instance,
    keys: &Keys,
    now: UnixTime,
    warnings: &mut Vec<String>,
    reading: &mut Option<Reading>,
) -> Result<(), Refusal> {
    let compact = Compact::parse(jwt)?;
    if !keys.signing().1.verifies(compact.signed().as_bytes(), compact.signature()) {
        return Err(wrong_signature(&compact, keys));
    }
    // From here on the token is known to come from a holder of the secret.
    compact.warn(warnings);
    if jwt.len() > MAX_TOKEN_BYTES {
        warnings.push(format!(
            "The token has {} bytes; Metabase's web server may refuse more than {MAX_TOKEN_BYTES} in a URL with HTTP 431.",
            jwt.len()
        ));
    }
    let payload = compact.payload()?;
    let payload = match &payload {
        Document::Object(members) => members.as_slice(),
        Document::Empty => &[],
        Document::Array(_) | Document::Other => return Err(claims::not_an_object()),
    };
    json::warn_of_repeated_names(payload, warnings);
    *reading = Some(reading::read(payload, instance));
    claims::warn_of_times(payload, now, warnings);
    reading::warn(payload, instance, warnings);
    claims::check_times(payload, now)?;
    claims::check_tenant(payload, &instance.claim_names)?;
    claims::check_email(payload, &instance.claim_names)
}

fn wrong_signature(compact: &Compact<'_>, keys: &Keys) -> Refusal {
    let resting = keys.resting().filter(|(_, key)| key.verifies(compact.signed().as_bytes(), compact.signature()));
    if let Some((which, _)) = resting {
        let (reason, why) = match which {
            Which::Current => (
                AuthStatusReason::SignedWithRetiredSecret,
                "The token was signed with `shared_secret`, and Metabase has been changed to `next_shared_secret`",
            ),
            Which::Next => (
                AuthStatusReason::SignatureMismatch,
                "The token was signed with `next_shared_secret`, and Metabase has not been changed to it",
            ),
        };
        return Refusal { reason, why: why.to_owned(), answer: Some(CORRUPT.to_owned()) };
    }
    let (reason, why) = match compact.algorithm() {
        Some(algorithm) if !algorithm.eq_ignore_ascii_case("HS256") => (
            AuthStatusReason::UnsupportedAlgorithm,
            format!("The header names the algorithm {algorithm:?}; Metabase verifies HS256 only"),
        ),
        Some(_) | None => (
            AuthStatusReason::SignatureMismatch,
            "The signature does not match: the token was signed with another secret (the secret is the text itself, neither \
             hex-decoded nor base64-decoded, without a trailing line break) or changed on the way"
                .to_owned(),
        ),
    };
    Refusal { reason, why, answer: Some(CORRUPT.to_owned()) }
}

fn accepted(reading: Option<&Reading>, now: UnixTime) -> String {
    match reading.and_then(|reading| reading.exchange_deadline) {
        Some(deadline) => format!(
            "Metabase would accept this token now, and for {} more s.",
            deadline.seconds().saturating_sub(now.seconds())
        ),
        None => "Metabase would accept this token now, and with neither `exp` nor `iat` it would for ever.".to_owned(),
    }
}
