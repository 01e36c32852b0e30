//! `IssueMetabaseToken`: what is refused, and by which field.

use metabase_token_service::transport::proto::{GroupList, IssueMetabaseTokenRequest, Tenant, User};
use prost_types::Duration;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    harness::{CONFIG, TestServer},
    issue_token::{ada, fields, group_list, issue, pair, reason, request, with_setting},
};

#[tokio::test]
async fn all_violations_come_back_at_once_with_rule_and_numbers() {
    let mut server = TestServer::start().await;
    let broken = IssueMetabaseTokenRequest {
        user: Some(User {
            id: "i".repeat(257),
            email: "ada".to_owned(),
            first_name: " ".to_owned(),
            last_name: "\n.".to_owned(),
        }),
        groups: group_list(&["A", ""]),
        attributes: [pair("exp", "1"), pair("@x", "1"), pair("ok", "bad\0")].into_iter().flatten().collect(),
        tenant: Some(Tenant { slug: String::new(), attributes: pair("@t", "") }),
        lifetime: Some(Duration { seconds: 59, nanos: 0 }),
        return_to: Some("//evil.example".to_owned()),
        ..request()
    };
    let status = issue(&mut server, broken).await.unwrap_err();
    let expected = [
        "user.id",
        "user.email",
        "user.first_name",
        "user.last_name",
        "groups.names[1]",
        "attributes[\"@x\"]",
        "attributes[\"exp\"]",
        "attributes[\"ok\"]",
        "tenant",
        "tenant.slug",
        "tenant.attributes[\"@t\"]",
        "lifetime",
        "return_to",
    ];
    assert_eq!(fields(&status), expected);
    let violations = status.get_details_bad_request().unwrap().field_violations;
    let lifetime = violations.iter().find(|violation| violation.field == "lifetime").unwrap();
    assert_eq!(lifetime.description, "must be from 60 s to 3600 s, is 59 s");
    let status = issue(&mut server, IssueMetabaseTokenRequest::default()).await.unwrap_err();
    assert_eq!(fields(&status), ["user"]);
}

#[tokio::test]
async fn many_long_violations_still_fit_into_an_answer() {
    let mut server = TestServer::start().await;
    let attributes = (0..100).map(|index| (format!("@{index}{}", "\u{e000}".repeat(120)), String::new())).collect();
    let status = issue(&mut server, IssueMetabaseTokenRequest { attributes, ..request() }).await.unwrap_err();
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert!((5..100).contains(&violations.len()), "{}", violations.len());
    let left_out = format!("and {} more violations", 101 - violations.len());
    assert_eq!(violations.last().unwrap().description, left_out);
    assert!(status.details().len() < 5000, "{}", status.details().len());
}

#[tokio::test]
async fn who_has_no_grant_learns_no_rules() {
    let second = "[[instances]]\nname = \"second\"\nurl = \"https://internal.example\"\nshared_secret = { file = \"OTHER_SECRET_FILE\" }\n[[callers]]";
    let mut server = TestServer::with(&CONFIG.replace("[[callers]]", second)).await;
    for return_to in ["https://internal.example/", "https://evil.example/"] {
        let broken = IssueMetabaseTokenRequest {
            instance: "second".to_owned(),
            lifetime: Some(Duration { seconds: 1, nanos: 0 }),
            return_to: Some(return_to.to_owned()),
            ..request()
        };
        let status = issue(&mut server, broken).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "NO_GRANT"));
    }
}

#[tokio::test]
async fn everything_has_a_limit() {
    let mut server = with_setting("tenancy = \"optional\"").await;
    let many = |count: usize| (0..count).map(|index| (format!("k{index}"), "v".to_owned())).collect();
    let names = |count: usize| Some(GroupList { names: (0..count).map(|index| format!("g{index}")).collect() });
    let long = "x".repeat(255);
    for (field, request) in [
        (
            "user.email",
            IssueMetabaseTokenRequest { user: Some(User { email: format!("a@{long}.example"), ..ada() }), ..request() },
        ),
        (
            "user.first_name",
            IssueMetabaseTokenRequest { user: Some(User { first_name: long.clone(), ..ada() }), ..request() },
        ),
        (
            "user.last_name",
            IssueMetabaseTokenRequest { user: Some(User { last_name: long.clone(), ..ada() }), ..request() },
        ),
        ("groups.names", IssueMetabaseTokenRequest { groups: names(101), ..request() }),
        ("groups.names[0]", IssueMetabaseTokenRequest { groups: group_list(&[&long]), ..request() }),
        ("attributes", IssueMetabaseTokenRequest { attributes: many(101), ..request() }),
        ("attributes[\"k\"]", IssueMetabaseTokenRequest { attributes: pair("k", &"v".repeat(1025)), ..request() }),
        (
            "tenant.slug",
            IssueMetabaseTokenRequest { tenant: Some(Tenant { slug: long.clone(), ..Tenant::default() }), ..request() },
        ),
        (
            "tenant.attributes",
            IssueMetabaseTokenRequest {
                tenant: Some(Tenant { slug: "t".to_owned(), attributes: many(101) }),
                ..request()
            },
        ),
        ("return_to", IssueMetabaseTokenRequest { return_to: Some(format!("/{}", "x".repeat(2048))), ..request() }),
        // Each within its limit, together more than Metabase reads.
        (
            "groups.names",
            IssueMetabaseTokenRequest {
                groups: Some(GroupList { names: (0..90).map(|index| format!("{index}{}", "g".repeat(200))).collect() }),
                attributes: pair("customer_id", "42"),
                ..request()
            },
        ),
        (
            "attributes",
            IssueMetabaseTokenRequest {
                attributes: (0..10).map(|index| (format!("k{index}"), "v".repeat(1000))).collect(),
                ..request()
            },
        ),
    ] {
        let status = issue(&mut server, request).await.unwrap_err();
        assert_eq!(fields(&status), [field], "{status:?}");
    }
    let key = "k".repeat(129);
    let status =
        issue(&mut server, IssueMetabaseTokenRequest { attributes: pair(&key, "v"), ..request() }).await.unwrap_err();
    assert_eq!(fields(&status).len(), 1);
    // Refused before it is decoded.
    let huge = IssueMetabaseTokenRequest { attributes: pair("k", &"v".repeat(70_000)), ..request() };
    let status = issue(&mut server, huge).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "REQUEST_TOO_LARGE");
    // At the limits.
    let most = IssueMetabaseTokenRequest {
        groups: names(100),
        attributes: many(100),
        user: Some(User { id: "i".repeat(256), ..ada() }),
        ..request()
    };
    issue(&mut server, most).await.unwrap();
}

/// The accident: a caller with another .proto wakes those who run the service.
#[tokio::test]
async fn what_is_no_message_is_the_callers_fault() {
    let server = TestServer::start().await;
    for rpc in ["IssueMetabaseToken", "CheckAuthStatus"] {
        let mut grpc = tonic::client::Grpc::new(server.channel.clone());
        grpc.ready().await.unwrap();
        let path = format!("/metabase.token.v1.MetabaseTokenService/{rpc}").parse().unwrap();
        let codec = tonic_prost::ProstCodec::<_, ()>::default();
        let other = Duration { seconds: 5, nanos: 0 };
        let status = grpc.unary(tonic::Request::new(other), path, codec).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(status.get_details_error_info().unwrap().reason, "REQUEST_UNREADABLE");
        assert!(status.message().contains("of the type in the .proto") && status.message().contains("wire type"));
    }
}

#[tokio::test]
async fn return_to_without_a_configured_url_is_a_failed_precondition() {
    let mut server = TestServer::with(&CONFIG.replace("url = \"https://bi.example.com/metabase\"", "")).await;
    let with_return = IssueMetabaseTokenRequest { return_to: Some("/".to_owned()), ..request() };
    let status = issue(&mut server, with_return).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "METABASE_URL_NOT_CONFIGURED"));
    issue(&mut server, request()).await.unwrap();
}

#[tokio::test]
async fn outside_the_grant_nothing_is_issued() {
    let config = CONFIG.replace("email_domains = [\"*\"]", "email_domains = [\"example.com\"]");
    let mut server = TestServer::with(&config).await;
    let eve = User { email: "eve@example.org".to_owned(), ..ada() };
    let status = issue(&mut server, IssueMetabaseTokenRequest { user: Some(eve), ..request() }).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "EMAIL_DOMAIN_NOT_GRANTED"));
    assert_eq!(status.get_details_error_info().unwrap().metadata["field"], "user.email");
    let administrators = IssueMetabaseTokenRequest { groups: group_list(&["Administrators"]), ..request() };
    let status = issue(&mut server, administrators).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "ADMINISTRATORS_NOT_GRANTED"));
    assert!(status.message().contains("(`allow_administrators` in [[callers.grants]])"), "{status:?}");
}

#[tokio::test]
async fn without_a_proven_caller_nothing_is_answered() {
    let mut server = TestServer::with(&CONFIG.replace("identity = { local = \"shop\" }", "")).await;
    let status = issue(&mut server, request()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "NO_PROVEN_CALLER"));
    let status = server
        .client
        .check_auth_status(metabase_token_service::transport::proto::CheckAuthStatusRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}
