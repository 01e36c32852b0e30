//! `IssueMetabaseToken`: what the token says.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use metabase_token_service::transport::proto::{
    GroupList, IssueMetabaseTokenRequest, IssueMetabaseTokenResponse, Tenant, User,
};
use prost_types::{Duration, Timestamp};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{self, CONFIG, NOW, SECRET, TestServer};

pub(crate) fn request() -> IssueMetabaseTokenRequest {
    IssueMetabaseTokenRequest { user: Some(ada()), ..IssueMetabaseTokenRequest::default() }
}

/// With what the service has to take care of: an identifier, and an address in mixed case.
pub(crate) fn ada() -> User {
    User { id: "7".to_owned(), email: "Ada@Example.com".to_owned(), ..harness::ada() }
}

#[expect(clippy::unnecessary_wraps, reason = "as a request holds it")]
pub(crate) fn group_list(names: &[&str]) -> Option<GroupList> {
    Some(GroupList { names: names.iter().map(|name| (*name).to_owned()).collect() })
}

pub(crate) fn pair(key: &str, value: &str) -> std::collections::BTreeMap<String, String> {
    [(key.to_owned(), value.to_owned())].into()
}

/// A server whose instance has one more setting.
pub(crate) async fn with_setting(setting: &str) -> TestServer {
    TestServer::with(&CONFIG.replace("name = \"main\"", &format!("name = \"main\"\n{setting}"))).await
}

pub(crate) async fn issue(
    server: &mut TestServer,
    request: IssueMetabaseTokenRequest,
) -> Result<IssueMetabaseTokenResponse, Status> {
    server.client.issue_metabase_token(request).await.map(tonic::Response::into_inner)
}

/// The header and the payload as text.
fn parts(jwt: &str) -> (String, String) {
    let part = |index| {
        let part = jwt.split('.').nth(index).unwrap();
        String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    (part(0), part(1))
}

async fn payload(server: &mut TestServer, request: IssueMetabaseTokenRequest) -> String {
    parts(&issue(server, request).await.unwrap().jwt).1
}

pub(crate) fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    violations.into_iter().map(|violation| violation.field).collect()
}

pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

#[tokio::test]
async fn the_token_says_what_the_contract_says_byte_for_byte() {
    let mut server = with_setting("tenancy = \"optional\"").await;
    let response = issue(&mut server, request()).await.unwrap();
    let (header, payload) = parts(&response.jwt);
    assert_eq!(header, r#"{"alg":"HS256","typ":"JWT"}"#);
    let identity = r#""email":"ada@example.com","first_name":"Ada","last_name":"Lovelace""#;
    let times = r#""iat":1699999995,"exp":1700000595"#;
    assert_eq!(payload, format!("{{{identity},{times}}}"));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    let (signed, signature) = response.jwt.rsplit_once('.').unwrap();
    aws_lc_rs::hmac::verify(&key, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();

    let full = IssueMetabaseTokenRequest {
        groups: group_list(&["Käufer", "A", "A"]),
        attributes: [pair("z", "1"), pair("a", "ü\"")].into_iter().flatten().collect(),
        tenant: Some(Tenant { slug: "acme".to_owned(), attributes: pair("tier", "gold") }),
        ..request()
    };
    let payload = self::payload(&mut server, full).await;
    let rest = r#""groups":["Käufer","A"],"@tenant":"acme","@tenant.attributes":{"tier":"gold"},"a":"ü\"","z":"1""#;
    assert_eq!(payload, format!("{{{identity},{rest},{times}}}"));
}

#[tokio::test]
async fn the_response_tells_times_and_fingerprint() {
    let mut server = TestServer::start().await;
    let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
    for (lifetime, expires, deadline) in
        [(None, NOW + 595, NOW + 175), (Some(60), NOW + 55, NOW + 55), (Some(3600), NOW + 3595, NOW + 175)]
    {
        let lifetime = lifetime.map(|seconds| Duration { seconds, nanos: 0 });
        let response = issue(&mut server, IssueMetabaseTokenRequest { lifetime, ..request() }).await.unwrap();
        assert_eq!(response.issue_time, time(NOW - 5));
        assert_eq!(response.expire_time, time(expires));
        assert_eq!(response.exchange_deadline, time(deadline));
        assert_eq!(response.sso_url, "");
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, response.jwt.as_bytes());
        let first = u64::from_be_bytes(digest.as_ref()[..8].try_into().unwrap());
        assert_eq!(response.token_fingerprint, format!("{first:016x}"));
    }
}

#[tokio::test]
async fn groups_absent_and_groups_empty_are_kept_apart() {
    let mut server = TestServer::start().await;
    assert!(!payload(&mut server, request()).await.contains("groups"));
    let none = IssueMetabaseTokenRequest { groups: group_list(&[]), ..request() };
    assert!(payload(&mut server, none).await.contains(r#""groups":[],"#));
}

#[tokio::test]
async fn claim_names_are_those_of_the_instance() {
    let names = "{ email = \"mail\", first_name = \"given\", last_name = \"family\", groups = \"roles\", tenant = \"org\", \
                 tenant_attributes = \"org_attributes\" }";
    let mut server = with_setting(&format!("tenancy = \"required\"\nclaims = {names}")).await;
    let request = IssueMetabaseTokenRequest {
        groups: group_list(&["A"]),
        tenant: Some(Tenant { slug: "acme".to_owned(), attributes: pair("tier", "gold") }),
        ..request()
    };
    let expected = r#"{"mail":"ada@example.com","given":"Ada","family":"Lovelace","roles":["A"],"org":"acme","org_attributes":{"tier":"gold"},"iat":1699999995,"exp":1700000595}"#;
    assert_eq!(payload(&mut server, request.clone()).await, expected);
    for stolen in ["mail", "email", "org", "roles"] {
        let status = issue(
            &mut server,
            IssueMetabaseTokenRequest { attributes: pair(stolen, "eve@example.com"), ..request.clone() },
        )
        .await
        .unwrap_err();
        assert_eq!(fields(&status), [format!("attributes[\"{stolen}\"]")]);
    }
}

#[tokio::test]
async fn tenants_follow_the_tenancy_of_the_instance() {
    let tenant = || Some(Tenant { slug: "acme".to_owned(), ..Tenant::default() });
    for (tenancy, without, with) in [("forbidden", true, false), ("optional", true, true), ("required", false, true)] {
        let mut server = with_setting(&format!("tenancy = \"{tenancy}\"")).await;
        for (tenant, allowed) in [(None, without), (tenant(), with)] {
            let issued = issue(&mut server, IssueMetabaseTokenRequest { tenant, ..request() }).await;
            match issued {
                Ok(_) => assert!(allowed, "{tenancy}"),
                Err(status) => {
                    assert!(!allowed, "{tenancy}");
                    assert_eq!(fields(&status), ["tenant"]);
                    assert!(status.message().contains(tenancy), "{}", status.message());
                }
            }
        }
    }
}

#[tokio::test]
async fn the_sso_url_keeps_return_to_on_the_instance() {
    let mut server = TestServer::start().await;
    for (return_to, encoded) in [
        ("", "%2F"),
        ("/dashboard/1?tab=2&x=a%20b#logo=false", "%2Fdashboard%2F1%3Ftab%3D2%26x%3Da%2520b%23logo%3Dfalse"),
        ("https://bi.example.com/q/1", "https%3A%2F%2Fbi.example.com%2Fq%2F1"),
    ] {
        let request = IssueMetabaseTokenRequest { return_to: Some(return_to.to_owned()), ..request() };
        let response = issue(&mut server, request).await.unwrap();
        let expected = format!("https://bi.example.com/metabase/auth/sso?jwt={}&return_to={encoded}", response.jwt);
        assert_eq!(response.sso_url, expected);
    }
    for return_to in ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"] {
        let request = IssueMetabaseTokenRequest { return_to: Some(return_to.to_owned()), ..request() };
        assert_eq!(fields(&issue(&mut server, request).await.unwrap_err()), ["return_to"], "{return_to}");
    }
}

#[tokio::test]
async fn instances_are_told_by_name_and_never_sign_for_each_other() {
    let second =
        "[[instances]]\nname = \"second\"\nDEFAULT\nshared_secret = { file = \"OTHER_SECRET_FILE\" }\n[[callers]]";
    let config = CONFIG.replace("[[callers]]", second);
    let mut ambiguous = TestServer::with(&config.replace("DEFAULT", "")).await;
    assert_eq!(fields(&issue(&mut ambiguous, request()).await.unwrap_err()), ["instance"]);
    let named = |name: &str| IssueMetabaseTokenRequest { instance: name.to_owned(), ..request() };
    let first = issue(&mut ambiguous, named("main")).await.unwrap();
    let status = issue(&mut ambiguous, named("third")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "UNKNOWN_INSTANCE"));
    // The caller has a grant on the first only.
    let status = issue(&mut ambiguous, named("second")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "NO_GRANT"));

    let grant = "[[callers.grants]]\ninstance = \"second\"\nemail_domains = [\"*\"]\n[[callers.grants]]";
    let config = config.replace("DEFAULT", "default = true").replacen("[[callers.grants]]", grant, 1);
    let mut with_default = TestServer::with(&config).await;
    let of_default = issue(&mut with_default, request()).await.unwrap();
    let second = issue(&mut with_default, named("second")).await.unwrap();
    assert_eq!(of_default.jwt, second.jwt);
    assert_ne!(second.jwt, first.jwt);
}
