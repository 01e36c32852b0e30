//! Who is a caller: identities by listeners by proofs, over real handshakes.

use metabase_token_service::transport::proto::{
    IssueMetabaseTokenRequest, User, metabase_token_service_client::MetabaseTokenServiceClient,
};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::{
    harness::{CONFIG, TestServer, ada},
    pki::{Issued, Leaf, TestCa, client, dns, uri},
};

const WEB: &str = "spiffe://example.org/ns/shop/sa/web";

fn request() -> IssueMetabaseTokenRequest {
    IssueMetabaseTokenRequest { user: Some(ada()), ..IssueMetabaseTokenRequest::default() }
}

/// Answers for the caller's identities of [`CONFIG`], which are replaced, and with other settings of `[server.identity]`.
fn config(identities: &str, identity: &str, tls: &str) -> String {
    CONFIG
        .replace("identity = { local = \"shop\" }", &format!("identity = {{ {identity} }}"))
        .replace("[[instances]]", &format!("{tls}\n[[instances]]"))
        .replace("name = \"shop\"", &format!("name = \"shop\"\nidentities = [{identities}]"))
}

/// What the server answers, or how the connection fails.
async fn issue(
    server: &TestServer,
    ca: &TestCa,
    issued: Option<&Issued>,
    headers: &[(&'static str, &str)],
) -> Result<(), Status> {
    let endpoint = Channel::from_shared(format!("https://{}", server.grpc)).unwrap();
    let channel = endpoint.tls_config(ca.client_tls(issued)).unwrap().connect_lazy();
    issue_over(channel, headers).await
}

async fn issue_over(channel: Channel, headers: &[(&'static str, &str)]) -> Result<(), Status> {
    let mut request = Request::new(request());
    for (name, value) in headers {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    MetabaseTokenServiceClient::new(channel).issue_metabase_token(request).await.map(|_| ())
}

/// The code, and the reason if the service itself answered.
fn refusal(answer: Result<(), Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

#[tokio::test]
async fn a_certificate_is_a_caller_only_if_it_names_exactly_one() {
    let ca = TestCa::new();
    let identities = format!("\"{WEB}\", \"web.shop.example\", \"spiffe://example.org/ns/jobs/*\"");
    let server = TestServer::with(&config(&identities, "mtls = true", &ca.server_tls(&[666]))).await;
    for (name, names) in [
        ("SPIFFE ID", vec![uri(WEB)]),
        ("SPIFFE ID counts before DNS names", vec![dns("eve.example"), uri(WEB), dns("mallory.example")]),
        ("below a path", vec![uri("spiffe://example.org/ns/jobs/sa/nightly")]),
        ("DNS name", vec![dns("Web.Shop.example")]),
    ] {
        let issued = ca.issue(&client(names));
        issue(&server, &ca, Some(&issued), &[]).await.unwrap_or_else(|status| panic!("{name}: {status:?}"));
    }
    for (name, names, code, reason) in [
        ("no name", vec![], Code::Unauthenticated, "CERTIFICATE_NAMES_NO_CALLER"),
        (
            "two URIs",
            vec![uri(WEB), uri("spiffe://example.org/x")],
            Code::Unauthenticated,
            "CERTIFICATE_NAMES_NO_CALLER",
        ),
        ("the same URI twice", vec![uri(WEB), uri(WEB)], Code::Unauthenticated, "CERTIFICATE_NAMES_NO_CALLER"),
        (
            "two DNS names",
            vec![dns("web.shop.example"), dns("b.example")],
            Code::Unauthenticated,
            "CERTIFICATE_NAMES_NO_CALLER",
        ),
        ("no SPIFFE ID", vec![uri("https://example.org/web")], Code::Unauthenticated, "CERTIFICATE_NAMES_NO_CALLER"),
        (
            "only a trust domain",
            vec![uri("spiffe://example.org")],
            Code::Unauthenticated,
            "CERTIFICATE_NAMES_NO_CALLER",
        ),
        (
            "dot segments",
            vec![uri("spiffe://example.org/ns/shop/x/../sa/web")],
            Code::Unauthenticated,
            "CERTIFICATE_NAMES_NO_CALLER",
        ),
        (
            "upper case",
            vec![uri("spiffe://EXAMPLE.org/ns/shop/sa/web")],
            Code::Unauthenticated,
            "CERTIFICATE_NAMES_NO_CALLER",
        ),
        (
            "a port",
            vec![uri("spiffe://example.org:1/ns/shop/sa/web")],
            Code::Unauthenticated,
            "CERTIFICATE_NAMES_NO_CALLER",
        ),
        (
            "a query",
            vec![uri("spiffe://example.org/ns/shop/sa/web?x")],
            Code::Unauthenticated,
            "CERTIFICATE_NAMES_NO_CALLER",
        ),
        (
            "a malformed URI beside a good DNS name",
            vec![uri("spiffe://"), dns("web.shop.example")],
            Code::Unauthenticated,
            "CERTIFICATE_NAMES_NO_CALLER",
        ),
        ("nobody's", vec![uri("spiffe://example.org/ns/shop/sa/other")], Code::PermissionDenied, "UNKNOWN_CALLER"),
        ("the path itself", vec![uri("spiffe://example.org/ns/jobs")], Code::PermissionDenied, "UNKNOWN_CALLER"),
        ("beside the path", vec![uri("spiffe://example.org/ns/jobs2/x")], Code::PermissionDenied, "UNKNOWN_CALLER"),
        (
            "another trust domain",
            vec![uri("spiffe://example.com/ns/shop/sa/web")],
            Code::PermissionDenied,
            "UNKNOWN_CALLER",
        ),
    ] {
        let issued = ca.issue(&client(names));
        assert_eq!(refusal(issue(&server, &ca, Some(&issued), &[]).await), (code, reason.to_owned()), "{name}");
    }
}

#[tokio::test]
async fn a_certificate_that_the_client_ca_does_not_vouch_for_is_refused_in_the_handshake() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let identities = format!("\"{WEB}\"");
    let server = TestServer::with(&config(&identities, "mtls = true", &ca.server_tls(&[666]))).await;
    let web = || client(vec![uri(WEB)]);
    for (name, issued) in [
        ("expired", Some(ca.issue(&Leaf { years: (2020, 2021), ..web() }))),
        ("not yet valid", Some(ca.issue(&Leaf { years: (2098, 2099), ..web() }))),
        ("revoked", Some(ca.issue(&Leaf { serial: 666, ..web() }))),
        ("for servers only", Some(ca.issue(&Leaf { is_for_servers: true, ..web() }))),
        ("of another CA", Some(other.issue(&web()))),
        ("none", None),
    ] {
        let (code, reason) = refusal(issue(&server, &ca, issued.as_ref(), &[]).await);
        assert!(matches!(code, Code::Unavailable | Code::Unknown) && reason.is_empty(), "{name}: {code:?} {reason}");
    }
    issue(&server, &ca, Some(&ca.issue(&web())), &[]).await.unwrap();
    let plaintext = Channel::from_shared(format!("http://{}", server.grpc)).unwrap().connect_lazy();
    let (code, reason) = refusal(issue_over(plaintext, &[]).await);
    assert!(matches!(code, Code::Unavailable | Code::Unknown) && reason.is_empty(), "plaintext: {code:?} {reason}");
}

#[tokio::test]
async fn a_forwarded_identity_counts_only_from_a_trusted_peer() {
    let identities = format!("\"{WEB}\", \"web.shop.serviceaccount.identity.linkerd.cluster.local\"");
    let trusting = TestServer::with(&config(
        &identities,
        "xfcc = { trusted = [\"loopback\"] }, linkerd = { trusted = [\"loopback\"] }",
        "",
    ))
    .await;
    let unix_only = TestServer::with(&config(&identities, "xfcc = { trusted = [\"unix\"] }", "")).await;
    let good = format!("By=spiffe://example.org/mts;Hash=ab;URI={WEB}");
    let forged = format!("URI={WEB},By=spiffe://example.org/mts;URI=spiffe://example.org/eve");
    let l5d = ("l5d-client-id", "web.shop.serviceaccount.identity.linkerd.cluster.local");

    for headers in [&[("x-forwarded-client-cert", good.as_str())][..], &[l5d]] {
        issue_over(trusting.channel.clone(), headers).await.unwrap();
    }
    for (name, headers, code, reason) in [
        ("none", vec![], Code::Unauthenticated, "NO_PROVEN_CALLER"),
        (
            "forged element before the sidecar's",
            vec![("x-forwarded-client-cert", forged.as_str())],
            Code::PermissionDenied,
            "UNKNOWN_CALLER",
        ),
        (
            "two headers",
            vec![("x-forwarded-client-cert", good.as_str()); 2],
            Code::Unauthenticated,
            "INVALID_FORWARDED_IDENTITY",
        ),
        ("malformed", vec![("x-forwarded-client-cert", "URI")], Code::Unauthenticated, "INVALID_FORWARDED_IDENTITY"),
        (
            "contradiction",
            vec![("x-forwarded-client-cert", good.as_str()), l5d],
            Code::Unauthenticated,
            "CONTRADICTORY_IDENTITIES",
        ),
    ] {
        assert_eq!(refusal(issue_over(trusting.channel.clone(), &headers).await), (code, reason.to_owned()), "{name}");
    }
    // This server trusts its Unix socket, and the peer is on loopback.
    for headers in [[("x-forwarded-client-cert", good.as_str())], [l5d]] {
        let expected = (Code::Unauthenticated, "FORWARDED_IDENTITY_NOT_TRUSTED".to_owned());
        assert_eq!(refusal(issue_over(unix_only.channel.clone(), &headers).await), expected);
    }
}

#[tokio::test]
async fn a_forwarded_identity_never_outweighs_a_certificate() {
    let ca = TestCa::new();
    let identities = format!("\"{WEB}\"");
    let trusting = config(&identities, "mtls = true, xfcc = { trusted = [\"loopback\"] }", &ca.server_tls(&[]));
    let distrusting = config(&identities, "mtls = true", &ca.server_tls(&[]));
    let xfcc = format!("URI={WEB}");
    let headers = [("x-forwarded-client-cert", xfcc.as_str())];
    let (web, eve) = (ca.issue(&client(vec![uri(WEB)])), ca.issue(&client(vec![uri("spiffe://example.org/eve")])));
    let server = TestServer::with(&trusting).await;
    issue(&server, &ca, Some(&web), &headers).await.unwrap();
    let refused = refusal(issue(&server, &ca, Some(&eve), &headers).await);
    assert_eq!(refused, (Code::Unauthenticated, "CONTRADICTORY_IDENTITIES".to_owned()));
    let server = TestServer::with(&distrusting).await;
    let refused = refusal(issue(&server, &ca, Some(&eve), &headers).await);
    assert_eq!(refused, (Code::Unauthenticated, "FORWARDED_IDENTITY_NOT_TRUSTED".to_owned()));
}

#[tokio::test]
async fn the_error_says_which_proofs_were_looked_for() {
    let identity = "xfcc = { trusted = [\"loopback\"] }, linkerd = { trusted = [\"unix\"] }";
    let server = TestServer::with(&config("", identity, "")).await;
    let status = issue_over(server.channel.clone(), &[]).await.unwrap_err();
    assert_eq!(status.message(), "no proven caller; looked for: xfcc, linkerd");
}

/// Whoever proves nothing does not learn what is none of its RPCs either.
#[tokio::test]
async fn every_path_of_the_service_asks_for_a_proof() {
    let server = TestServer::with(&config("", "xfcc = { trusted = [\"unix\"] }", "")).await;
    for method in ["IssueMetabaseToken", "CheckAuthStatus", "IssueMetabaseToken/", "issueMetabaseToken", "Nope"] {
        let mut grpc = tonic::client::Grpc::new(server.channel.clone());
        grpc.ready().await.unwrap();
        let path = format!("/metabase.token.v1.MetabaseTokenService/{method}").parse().unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let status = grpc.unary(Request::new(()), path, codec).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{method}: {status:?}");
    }
}

#[tokio::test]
async fn probes_need_no_identity_on_their_own_listener() {
    let ca = TestCa::new();
    let text =
        config("", "mtls = true", &ca.server_tls(&[])).replace("[server]", "[server]\nprobe_listen = \"127.0.0.1:0\"");
    let server = TestServer::with(&text).await;
    let probe =
        Channel::from_shared(format!("http://{}", server.probe.clone().unwrap())).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(probe.clone());
    let response = health.check(HealthCheckRequest { service: "readiness".to_owned() }).await.unwrap().into_inner();
    assert_eq!(response.status, 1);
    assert_eq!(issue_over(probe, &[]).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn the_deny_list_outweighs_every_grant() {
    let text = |deny: &str| {
        CONFIG.replace("[[instances]]", &format!("[deny]\n{deny}\n[[instances]]")).replacen(
            "name = \"main\"",
            "name = \"main\"\ntenancy = \"optional\"",
            1,
        )
    };
    let tenant = metabase_token_service::transport::proto::Tenant { slug: "acme".to_owned(), ..Default::default() };
    let user = User { id: "7".to_owned(), ..request().user.unwrap() };
    let request = IssueMetabaseTokenRequest { tenant: Some(tenant), user: Some(user), ..request() };
    for (deny, reason) in [
        ("callers = [\"shop\"]", "CALLER_DENIED"),
        ("emails = [\"Ada@example.com\"]", "USER_DENIED"),
        ("user_ids = [\"7\"]", "USER_DENIED"),
        ("tenants = [\"acme\"]", "TENANT_DENIED"),
    ] {
        let mut server = TestServer::with(&text(deny)).await;
        let answer = server.client.issue_metabase_token(request.clone()).await.map(|_| ());
        assert_eq!(refusal(answer), (Code::PermissionDenied, reason.to_owned()), "{deny}");
    }
    let mut server = TestServer::with(&text("emails = [\"eve@example.com\"]")).await;
    server.client.issue_metabase_token(request).await.unwrap();
}
