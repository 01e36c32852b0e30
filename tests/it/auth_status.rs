//! `CheckAuthStatus` judges every token as Metabase does.
//!
//! `data/metabase_tokens.json` holds one token a line, with the reason and the beginning of the answer of Metabase. The
//! answers are those of buddy-sign (commit ccf6cdb) with Metabase's provider around it; where the answer is null, Metabase
//! lets the claims pass and fails later, when it looks the account up.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use metabase_token_service::transport::proto::{
    AuthStatus, AuthStatusReason, CheckAuthStatusRequest, CheckAuthStatusResponse, GroupList, Tenant, User,
    check_auth_status_request::Credential,
};
use prost_types::Timestamp;
use serde::Deserialize;

use crate::harness::{CONFIG, OTHER_SECRET, SECRET, TestServer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The whole token; otherwise it is made of the parts below.
    raw: Option<String>,
    #[serde(default)]
    header: String,
    #[serde(default)]
    payload: String,
    #[serde(default)]
    sign: Option<String>,
    #[serde(default)]
    pad: Option<String>,
    #[serde(default)]
    append: String,
    reason: String,
    answer: Option<String>,
    /// Metabase fails after its check of the claims.
    #[serde(default)]
    after_claims: bool,
    warnings: Vec<String>,
}

impl Case {
    fn token(&self) -> String {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let padded = |part: &str| self.pad.as_deref() == Some(part);
        let pad = |part: String| format!("{part}{}", &"==="[..(4 - part.len() % 4) % 4]);
        let encode = |part: &str| URL_SAFE_NO_PAD.encode(part);
        let mut payload = encode(&self.payload);
        if padded("payload") {
            payload = pad(payload);
        }
        let signed = format!("{}.{payload}", encode(&self.header));
        let mut signature = self.signature(&signed);
        if padded("signature") {
            signature = pad(signature);
        }
        format!("{signed}.{signature}{}", self.append)
    }

    fn signature(&self, signed: &str) -> String {
        let mac = |algorithm, key: &[u8]| hmac::sign(&hmac::Key::new(algorithm, key), signed.as_bytes());
        let hs256 = mac(hmac::HMAC_SHA256, SECRET.as_bytes());
        let encoded = URL_SAFE_NO_PAD.encode(hs256);
        match self.sign.as_deref() {
            None => encoded,
            Some("none") => String::new(),
            Some("other secret") => URL_SAFE_NO_PAD.encode(mac(hmac::HMAC_SHA256, OTHER_SECRET.as_bytes())),
            Some("secret with a line break") => {
                URL_SAFE_NO_PAD.encode(mac(hmac::HMAC_SHA256, format!("{SECRET}\n").as_bytes()))
            }
            Some("decoded secret") => URL_SAFE_NO_PAD.encode(mac(hmac::HMAC_SHA256, &decode_hex(SECRET))),
            Some("HS384") => URL_SAFE_NO_PAD.encode(mac(hmac::HMAC_SHA384, SECRET.as_bytes())),
            Some("HS512") => URL_SAFE_NO_PAD.encode(mac(hmac::HMAC_SHA512, SECRET.as_bytes())),
            Some("truncated") => URL_SAFE_NO_PAD.encode(&hs256.as_ref()[..31]),
            // 43 digits hold 258 bits: the lowest two of the last are surplus, and zero in canonical form.
            Some("surplus bits") => {
                let last = encoded.chars().last().unwrap();
                format!("{}{}", &encoded[..42], char::from(u8::try_from(last).unwrap() + 1))
            }
            Some("standard alphabet") => format!("+{}", &STANDARD_NO_PAD.encode(hs256)[1..]),
            Some(unknown) => panic!("{unknown}"),
        }
    }
}

fn decode_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The configuration whose instance has one more setting.
fn with_setting(setting: &str) -> String {
    CONFIG.replace("name = \"main\"", &format!("name = \"main\"\n{setting}"))
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("data/metabase_tokens.json")).unwrap()
}

async fn check(server: &mut TestServer, jwt: String) -> CheckAuthStatusResponse {
    let request =
        CheckAuthStatusRequest { credential: Some(Credential::Jwt(jwt)), ..CheckAuthStatusRequest::default() };
    server.client.check_auth_status(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn every_token_of_the_table_is_judged_as_metabase_does() {
    let mut server = TestServer::with(&with_setting("tenancy = \"optional\"")).await;
    let cases = cases();
    assert!(cases.len() >= 100, "{}", cases.len());
    for case in cases {
        let response = check(&mut server, case.token()).await;
        let name = &case.name;
        assert_eq!(
            response.reason().as_str_name(),
            format!("AUTH_STATUS_REASON_{}", case.reason),
            "{name}: {response:?}"
        );
        let is_accepted = case.reason == "ACCEPTED";
        let status = if is_accepted { AuthStatus::Success } else { AuthStatus::Error };
        assert_eq!(response.status(), status, "{name}: {response:?}");
        match &case.answer {
            Some(answer) => {
                let quoted = format!("Metabase would answer HTTP 401 \"{answer}");
                assert!(response.message.contains(&quoted), "{name}: {}", response.message);
            }
            None => assert!(is_accepted || case.after_claims, "{name}: an answer is missing in the table"),
        }
        for warning in &case.warnings {
            assert!(response.warnings.iter().any(|own| own.contains(warning)), "{name}: {warning}: {response:?}");
        }
        if case.warnings.is_empty() {
            assert_eq!(response.warnings, [""; 0], "{name}");
        }
        assert_eq!(response.token_fingerprint.len(), 16, "{name}");
    }
}

#[tokio::test]
async fn nothing_of_an_unproven_token_is_repeated() {
    let mut server = TestServer::start().await;
    for case in
        cases().iter().filter(|case| matches!(case.reason.as_str(), "SIGNATURE_MISMATCH" | "UNSUPPORTED_ALGORITHM"))
    {
        let response = check(&mut server, case.token()).await;
        let CheckAuthStatusResponse { user, groups, attributes, tenant, issue_time, expire_time, warnings, .. } =
            response;
        assert_eq!((user, groups, tenant, issue_time, expire_time), (None, None, None, None, None), "{}", case.name);
        assert!(attributes.is_empty() && warnings.is_empty(), "{}", case.name);
    }
}

#[tokio::test]
async fn the_reading_is_what_metabase_would_take() {
    let mut server = TestServer::with(&with_setting("tenancy = \"optional\"")).await;
    let payload = r#"{"email":"ADA@Example.com","first_name":"Ada","last_name":"Lovelace","groups":["A",1,"B"],"a":1,"b":true,
        "c":1.0,"d":null,"e":[1],"@x":"1","x/@y":"1","sub":"s","@tenant":7,"@tenant.attributes":{"tier":"gold","n":1,"x":null},
        "iat":1699999900.5,"exp":1700000600}"#;
    let case = Case { name: String::new(), payload: payload.to_owned(), ..cases().remove(0) };
    let response = check(&mut server, case.token()).await;
    let strings = |entries: &[(&str, &str)]| -> BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let user = User {
        id: String::new(),
        email: "ada@example.com".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
    };
    let tenant = Tenant { slug: "7".to_owned(), attributes: strings(&[("tier", "gold"), ("n", "1")]) };
    let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
    assert_eq!(response.user, Some(user));
    assert_eq!(response.groups, Some(GroupList { names: vec!["A".to_owned(), "B".to_owned()] }));
    assert_eq!(response.attributes, strings(&[("a", "1"), ("b", "true"), ("c", "1.0")]));
    assert_eq!(response.tenant, Some(tenant));
    assert_eq!(response.issue_time, time(1_699_999_900));
    assert_eq!(response.expire_time, time(1_700_000_600));
    assert_eq!(response.exchange_deadline, time(1_700_000_080));
}

#[tokio::test]
async fn claim_names_and_tenancy_of_the_instance_count() {
    let mut renamed = TestServer::with(&with_setting("claims = { email = \"mail\" }")).await;
    let mut required = TestServer::with(&with_setting("tenancy = \"required\"")).await;
    let mut forbidden = TestServer::with(&with_setting("tenancy = \"forbidden\"")).await;
    let of = |name| cases().into_iter().find(|case| case.name == name).unwrap().token();
    let response = check(&mut renamed, of("issued by this service")).await;
    assert_eq!(response.reason(), AuthStatusReason::MissingEmail);
    assert!(response.message.contains("`mail`"), "{}", response.message);
    let warned =
        |response: CheckAuthStatusResponse| response.warnings.iter().any(|warning| warning.contains("`@tenant` is"));
    assert!(warned(check(&mut required, of("issued by this service")).await));
    assert!(!warned(check(&mut required, of("tenant")).await));
    assert!(warned(check(&mut forbidden, of("tenant")).await));
    assert!(!warned(check(&mut forbidden, of("issued by this service")).await));
}

#[tokio::test]
async fn without_a_credential_the_status_is_uninitialized() {
    let mut server = TestServer::start().await;
    let response = server.client.check_auth_status(CheckAuthStatusRequest::default()).await.unwrap().into_inner();
    assert_eq!((response.status(), response.reason()), (AuthStatus::Uninitialized, AuthStatusReason::Unspecified));
    assert_eq!(response.token_fingerprint, "");
}
