//! JWT judging: `CheckAuthStatus` against [`crate::buddy`], and nothing of an unproven token is repeated.
//!
//! The input is a digit for what is done to the token (see [`token`]), its header up to the first line break, and its payload.

use std::collections::BTreeMap;

use aws_lc_rs::{digest, hmac};
use metabase_token_service::{
    application::judge::judge,
    transport::{
        fuzzing,
        proto::{AuthStatus, AuthStatusReason, CheckAuthStatusResponse},
    },
};
use prost::Message as _;

use crate::{
    base64url,
    buddy::{self, Reading, Verdict},
    service::{NOW, SECRET, SERVICE, SETTINGS, now},
};

const OTHER_SECRET: &str = "d697a3b48f01c5e8482cb7d6f0e9ac136275d48ec3e9b0f7a15d26b8037e9a4f";

pub fn check(input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else { return };
    let manner = first.wrapping_sub(b'0');
    let Some(token) = token(manner & 7, rest) else { return };
    compare(&token, usize::from(manner >> 3) % SETTINGS.len());
}

/// 0 and 1: signed. 2: with another secret. 3: not at all. 4: the input is the token. 5: padded. 6: one bit of the signature is
/// wrong. 7: surplus bits in the last digit of the signature.
fn token(manner: u8, input: &[u8]) -> Option<String> {
    if manner == 4 {
        return str::from_utf8(input).ok().map(str::to_owned);
    }
    let at = input.iter().position(|byte| *byte == b'\n')?;
    let pad = |part: String| {
        let missing = (4 - part.len() % 4) % 4;
        if manner == 5 { part + &"="[..1].repeat(missing) } else { part }
    };
    let part = |bytes: &[u8]| pad(base64url::encode(bytes));
    let signed = format!("{}.{}", part(&input[..at]), part(&input[at + 1..]));
    let secret = if manner == 2 { OTHER_SECRET } else { SECRET };
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    let mut mac = mac.as_ref().to_vec();
    if manner == 6 {
        mac[input.len() % 32] ^= 1 << (input.len() / 32 % 8);
    }
    let mut signature = if manner == 3 { String::new() } else { part(&mac) };
    if manner == 7 {
        let last = signature.pop()?;
        // The two lowest bits of the last digit are surplus, and zero: the next three digits mean the same.
        const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let at = DIGITS.find(last)? + 1 + input.len() % 3;
        signature.push(char::from(DIGITS.as_bytes()[at]));
    }
    Some(format!("{signed}.{signature}"))
}

/// Judges a token of one of the instances twice.
pub fn compare(token: &str, instance: usize) {
    let Verdict { reason, answer, reading } = buddy::judge(token, SECRET.as_bytes(), NOW, &SETTINGS[instance]);
    let judgement = judge(token, &SERVICE.instances[instance], &SERVICE.keys, now());
    let response = CheckAuthStatusResponse::decode(&*fuzzing::check_response(judgement)).expect("it is one");

    let own = response.reason().as_str_name().strip_prefix("AUTH_STATUS_REASON_").expect("every value has the prefix");
    assert_eq!(own, reason, "{token}\n{}", response.message);
    let is_accepted = response.reason() == AuthStatusReason::Accepted;
    assert_eq!(response.status() == AuthStatus::Success, is_accepted);
    assert_eq!(response.status() == AuthStatus::Error, !is_accepted);
    if let Some(answer) = answer {
        assert!(response.message.contains(&format!("HTTP 401 \"{answer}")), "{answer}\n{}", response.message);
    }
    let hash = digest::digest(&digest::SHA256, token.as_bytes());
    let fingerprint: String = hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(response.token_fingerprint, fingerprint);
    match reading {
        Some(reading) => compare_reading(&response, reading),
        None => nothing_is_repeated(&response),
    }
}

fn compare_reading(response: &CheckAuthStatusResponse, reading: Reading) {
    let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().map(|time| time.seconds);
    // What a Timestamp cannot hold is left out.
    let held = |time: Option<i64>| time.filter(|time| (-62_135_596_800..=253_402_300_799).contains(time));
    let user = response.user.clone().expect("it was read");
    let own = Reading {
        email: user.email,
        first_name: user.first_name,
        last_name: user.last_name,
        groups: response.groups.clone().map(|groups| groups.names),
        attributes: response.attributes.clone(),
        tenant: response.tenant.clone().map(|tenant| (tenant.slug, tenant.attributes)),
        iat: seconds(&response.issue_time),
        exp: seconds(&response.expire_time),
        deadline: seconds(&response.exchange_deadline),
    };
    let expected =
        Reading { iat: held(reading.iat), exp: held(reading.exp), deadline: held(reading.deadline), ..reading };
    assert_eq!(own, expected);
}

fn nothing_is_repeated(response: &CheckAuthStatusResponse) {
    assert_eq!((&response.user, &response.groups, &response.tenant), (&None, &None, &None));
    assert_eq!((&response.issue_time, &response.expire_time, &response.exchange_deadline), (&None, &None, &None));
    assert_eq!(response.attributes, BTreeMap::new());
    // The longest of our own sentences, with the name of an algorithm in it.
    assert!(response.message.len() < 400, "{}", response.message);
}
