//! The tokens of `tests/it/data/metabase_tokens.json` without a server around the judge: quick enough to ask a thousand mutants of
//! the judge about them. What the table means is said in `tests/it/auth_status.rs`, which asks a server.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::*;
use crate::{application::signing_key::SigningKey, domain::tenant::Tenancy};

const NOW: i64 = 1_700_000_000;
const SECRET: &[u8] = b"a secret of the test that nobody else has";

fn instance(tenancy: Tenancy) -> Instance {
    Instance { tenancy, is_default: true, ..Instance::for_test() }
}

fn signed(header: &str, payload: &str, secret: &[u8]) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}

fn judge_it(jwt: &str, tenancy: Tenancy) -> Judgement {
    let keys = Keys::new(SigningKey::from_bytes(SECRET), Some(SigningKey::from_bytes(b"the next secret")));
    judge(jwt, &instance(tenancy), &keys, UnixTime::from_seconds(NOW))
}

fn judge_payload(payload: &str) -> Judgement {
    judge_it(&signed("{\"alg\":\"HS256\"}", payload, SECRET), Tenancy::Optional)
}

#[test]
fn every_token_of_the_table_that_is_signed_as_usual_is_judged_as_metabase_does() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../../tests/it/data/metabase_tokens.json")).unwrap();
    let mut judged = 0;
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let secret = match case["sign"].as_str() {
            None => SECRET,
            Some("other secret") => b"the secret of somebody else",
            Some(_) => continue,
        };
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let jwt = match case["raw"].as_str() {
            Some(raw) => raw.to_owned(),
            None if case["pad"].is_string() => continue,
            None => signed(text("header"), text("payload"), secret) + text("append"),
        };
        let judgement = judge_it(&jwt, Tenancy::Optional);
        assert_eq!(judgement.reason.unwrap().as_str(), text("reason"), "{name}: {}", judgement.message);
        assert_eq!(judgement.status == AuthStatus::Success, text("reason") == "ACCEPTED", "{name}");
        if case["answer"].is_string() && case["after_claims"] != true {
            // The table has the beginning of the answer, ours may shorten the rest.
            let answer: String = text("answer").chars().take(36).collect();
            assert!(judgement.message.contains(&answer), "{name}: {}", judgement.message);
        }
        let warnings = case["warnings"].as_array().unwrap();
        assert_eq!(judgement.warnings.len(), warnings.len(), "{name}: {:?}", judgement.warnings);
        for (own, begin) in judgement.warnings.iter().zip(warnings) {
            assert!(own.contains(begin.as_str().unwrap()), "{name}: {own}");
        }
        judged += 1;
    }
    assert!(judged > 100, "{judged}");
}

#[test]
fn what_was_read_is_what_metabase_would_read() {
    let judgement = judge_payload(
        r#"{"email":"ADA@example.com","first_name":"Ada","last_name":"Lovelace","groups":["A",1,"B"],"@tenant":7,
            "@tenant.attributes":{"tier":"gold","@x":"1","seats":3},"a":1,"b":true,"c":1.5,"d":null,"e":[1],"f":{"x":1},"@g":"1",
            "h/@i":"1","/":"slash","iss":"x","iat":1699999900.9,"exp":1700000500}"#,
    );
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let time = |seconds| Some(UnixTime::from_seconds(seconds));
    let expected = Reading {
        email: "ada@example.com".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
        groups: Some(vec!["A".to_owned(), "B".to_owned()]),
        attributes: map(&[("a", "1"), ("b", "true"), ("c", "1.5"), ("/", "slash")]),
        tenant: Some(("7".to_owned(), map(&[("seats", "3"), ("tier", "gold")]))),
        issue_time: time(1_699_999_900),
        expire_time: time(1_700_000_500),
        exchange_deadline: time(1_700_000_080),
    };
    assert_eq!(judgement.reading, Some(expected));
    assert_eq!(judgement.message, "Metabase would accept this token now, and for 80 more s.");
    let unlimited = judge_payload(r#"{"email":"ada@example.com","first_name":"A","last_name":"B"}"#);
    assert!(unlimited.message.ends_with("it would for ever."), "{}", unlimited.message);
}

#[test]
fn the_secret_that_does_not_sign_is_told_from_a_wrong_one() {
    let judgement = judge_it(&signed("{}", "{}", b"the next secret"), Tenancy::Optional);
    assert_eq!(judgement.reason, Some(AuthStatusReason::SignatureMismatch));
    assert!(judgement.message.contains("`next_shared_secret`"), "{}", judgement.message);
}

#[test]
fn a_token_is_too_long_from_one_byte_on() {
    let payload = |len: usize| format!(r#"{{"email":"ada@example.com","x":"{}"}}"#, "x".repeat(len));
    let is_warned = |jwt: &str| judge_it(jwt, Tenancy::Optional).warnings.iter().any(|one| one.contains("HTTP 431"));
    let lens: Vec<(usize, bool)> = (4500..4600)
        .map(|len| signed("{\"alg\":\"HS256\"}", &payload(len), SECRET))
        .map(|jwt| (jwt.len(), is_warned(&jwt)))
        .collect();
    assert!(lens.iter().any(|(len, _)| *len == MAX_TOKEN_BYTES), "{lens:?}");
    assert!(lens.iter().all(|(len, warned)| *warned == (*len > MAX_TOKEN_BYTES)), "{lens:?}");
}

/// What Metabase tells of a token that it could verify, but not read.
#[test]
fn a_payload_that_cannot_be_read_is_answered_as_by_metabase() {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    for (payload, answer) in [
        ("!", "\"Illegal base64 character …\""),
        (&URL_SAFE_NO_PAD.encode("{nope"), "\"Message seems corrupt or manipulated.\""),
    ] {
        let signed = format!("{}.{payload}", URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\"}"));
        let jwt = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())));
        let judgement = judge_it(&jwt, Tenancy::Optional);
        assert_eq!(judgement.reason, Some(AuthStatusReason::Malformed));
        assert!(judgement.message.contains(answer), "{}", judgement.message);
    }
}

/// Only a name that could be an algorithm's is repeated: the header is whoever's that sent the token.
#[test]
fn a_header_is_repeated_only_where_it_names_an_algorithm() {
    for (header, named) in [
        ("{\"alg\":\"HS512\"}", Some("the algorithm \"HS512\"")),
        ("{\"alg\":\"AAAAAAAAAAAAAAAA\"}", Some("the algorithm \"AAAAAAAAAAAAAAAA\"")),
        ("{\"alg\":\"AAAAAAAAAAAAAAAAA\"}", Some("the algorithm \"(unknown)\"")),
        ("{\"alg\":\"HS 256\"}", Some("the algorithm \"(unknown)\"")),
        ("{}", Some("no algorithm")),
        ("[]", Some("no algorithm")),
        ("[{\"alg\":\"HS256\"}]", None),
        ("[1,2,{\"alg\":\"HS256\"}]", None),
        ("{\"alg\":\"HS256\"}", None),
    ] {
        let payload =
            format!(r#"{{"email":"ada@example.com","first_name":"A","last_name":"B","iat":{NOW},"exp":{}}}"#, NOW + 60);
        let judgement = judge_it(&signed(header, &payload, SECRET), Tenancy::Optional);
        let expected = named.map(|named| {
            format!("The header names {named}, but the signature is HS256; Metabase does not look, other verifiers refuse it.")
        });
        assert_eq!(judgement.status, AuthStatus::Success, "{header}");
        assert_eq!(judgement.warnings, Vec::from_iter(expected), "{header}");
    }
}

#[test]
fn a_tenant_is_warned_of_where_the_instance_is_configured_otherwise() {
    for (tenancy, claim, warning) in [
        (Tenancy::Forbidden, r#""@tenant":"acme","#, Some("`@tenant` is given")),
        (Tenancy::Forbidden, "", None),
        (Tenancy::Forbidden, r#""@tenant":null,"#, None),
        (Tenancy::Optional, r#""@tenant":"acme","#, None),
        (Tenancy::Optional, "", None),
        (Tenancy::Required, r#""@tenant":"acme","#, None),
        (Tenancy::Required, "", Some("`@tenant` is missing")),
        (Tenancy::Required, r#""@tenant":null,"#, Some("`@tenant` is missing")),
    ] {
        let payload =
            format!(r#"{{{claim}"email":"a@b.c","first_name":"A","last_name":"B","iat":{NOW},"exp":{}}}"#, NOW + 60);
        let warnings = judge_it(&signed("{\"alg\":\"HS256\"}", &payload, SECRET), tenancy).warnings;
        let told = warnings.iter().filter(|one| one.contains("HTTP 403")).count();
        assert_eq!(told, usize::from(warning.is_some()), "{tenancy:?} {claim} {warnings:?}");
        assert!(warning.is_none_or(|begin| warnings[0].starts_with(begin)), "{warnings:?}");
    }
}

#[test]
fn a_token_of_this_second_is_not_of_the_future() {
    for (iat, warned) in [(NOW, 0), (NOW + 1, 1)] {
        let payload = format!(r#"{{"email":"a@b.c","first_name":"A","last_name":"B","iat":{iat},"exp":{}}}"#, NOW + 60);
        assert_eq!(judge_payload(&payload).warnings.len(), warned, "{iat}");
    }
}
