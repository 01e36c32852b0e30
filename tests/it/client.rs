//! The client of the library, against the real server: over every kind of connection, and each kind of refusal.

use std::time::{Duration, UNIX_EPOCH};

use metabase_token_service::client::{
    AuthStatus, AuthStatusReason, CheckRequest, Client, ConnectError, Error, Person, Tenant, TokenRequest,
};
use tokio::net::TcpListener;
use tonic::Code;

use crate::{
    harness::{CONFIG, NOW, SECRET, Served, TestServer, config_dir, program, secret_file},
    pki::{Issued, TestCa, client, uri},
};

const WEB: &str = "spiffe://example.org/ns/shop/sa/web";

/// A person that [`CONFIG`] allows tokens for.
pub(crate) fn person() -> Person {
    Person {
        id: "1815".to_owned(),
        email: "ada@example.com".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
    }
}

fn request() -> TokenRequest {
    TokenRequest::new(person())
}

fn plaintext(server: &TestServer) -> Client {
    Client::builder(format!("http://{}", server.grpc)).deadline(Duration::from_mins(1)).connect_lazy().unwrap()
}

fn over_tls(server: &TestServer, ca: &TestCa, issued: Option<&Issued>) -> Client {
    let ca = std::fs::read(ca.path("ca.pem")).unwrap();
    let builder = Client::builder(format!("https://{}", server.grpc)).ca_certificate(ca).server_name("localhost");
    let builder = builder.deadline(Duration::from_mins(1));
    match issued {
        Some(Issued { certificate, key }) => builder.identity(certificate, key).connect_lazy().unwrap(),
        None => builder.connect_lazy().unwrap(),
    }
}

#[tokio::test]
async fn everything_that_is_asked_for_arrives_and_everything_that_is_answered_is_kept() {
    let server = TestServer::with(&CONFIG.replace("probe_interval", "tenancy = \"optional\"\nprobe_interval")).await;
    let client = plaintext(&server);
    let acme = Tenant { slug: "acme".to_owned(), attributes: [("tier".to_owned(), "gold".to_owned())].into() };
    let all = request().instance("main").groups(["A", "B"]).attribute("region", "emea").attributes([("id", "42")]);
    let all = all.lifetime(Duration::from_secs(90)).return_to("/dashboard/1?a=b").tenant(acme.clone());
    let issued = client.issue(all).await.unwrap();
    let since_epoch = issued.expire_time.duration_since(UNIX_EPOCH).unwrap();
    assert_eq!(issued.expire_time.duration_since(issued.issue_time).unwrap(), Duration::from_secs(90));
    assert!(since_epoch.as_secs().abs_diff(NOW.unsigned_abs()) <= 90 && issued.exchange_deadline == issued.expire_time);
    let url = issued.sso_url.as_ref().unwrap().expose();
    assert!(url.starts_with(&format!("https://bi.example.com/metabase/auth/sso?jwt={}&", issued.token.expose())));

    let judged = client.check(CheckRequest::token(&issued.token).instance("main")).await.unwrap();
    assert_eq!((judged.status, judged.reason), (AuthStatus::Success, AuthStatusReason::Accepted));
    assert_eq!((judged.status_word().as_str(), judged.reason_word()), ("success", "ACCEPTED"));
    assert_eq!(judged.person, Some(Person { id: String::new(), ..person() }));
    assert_eq!((judged.groups.unwrap(), judged.tenant), (vec!["A".to_owned(), "B".to_owned()], Some(acme)));
    let attributes: Vec<_> = judged.attributes.into_iter().collect();
    assert_eq!(attributes, [("id", "42"), ("region", "emea")].map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!((judged.expire_time, judged.fingerprint), (Some(issued.expire_time), issued.fingerprint.clone()));

    // No token is in what a log line would show.
    for shown in [format!("{issued:?}"), format!("{:?}", CheckRequest::token(&issued.token))] {
        assert!(!shown.contains("eyJ"), "{shown}");
    }
    let nothing = client.check(CheckRequest::nothing()).await.unwrap();
    assert_eq!((nothing.status, nothing.groups), (AuthStatus::Uninitialized, None));
}

#[tokio::test]
async fn warnings_beside_a_token_are_kept() {
    let server =
        TestServer::with(&CONFIG.replace("probe_interval", "one_account_per_user = \"report\"\nprobe_interval")).await;
    let client = plaintext(&server);
    assert_eq!(client.issue(request()).await.unwrap().warnings, [""; 0]);
    let other = TokenRequest::new(Person { id: "1906".to_owned(), ..person() });
    let warnings = client.issue(other).await.unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].starts_with("SHARED_ACCOUNT: "), "{warnings:?}");
}

#[tokio::test]
async fn every_refusal_has_a_type_of_its_own() {
    let text = CONFIG
        .replace("email_domains = [\"*\"]", "email_domains = [\"example.com\"]\nrate = { per_second = 1, burst = 20 }")
        .replace("url = \"https://bi.example.com/metabase\"\n", "");
    let server = TestServer::with(&text).await;
    let client = plaintext(&server);
    let refused = async |request: TokenRequest| client.issue(request).await.unwrap_err();

    let elsewhere = Person { email: "ada@elsewhere.example".to_owned(), ..person() };
    let error = refused(TokenRequest::new(elsewhere)).await;
    let Error::Denied(refusal) = &error else { panic!("{error:?}") };
    assert_eq!((refusal.reason.as_str(), refusal.field.as_deref()), ("EMAIL_DOMAIN_NOT_GRANTED", Some("user.email")));

    let error =
        refused(TokenRequest::new(Person { email: "ada".to_owned(), ..person() }).attribute("email", "x")).await;
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["user.email", "attributes[\"email\"]"], "{error:?}");
    assert!(error.is_about("user.email") && !error.is_about("user"));

    let error = refused(request().lifetime(Duration::MAX)).await;
    assert!(error.is_about("lifetime"), "{error:?}");
    let error = refused(request().instance("nowhere")).await;
    assert!(matches!(&error, Error::UnknownInstance(refusal) if refusal.reason == "UNKNOWN_INSTANCE"), "{error:?}");
    let error = refused(request().return_to("/")).await;
    assert!(
        matches!(&error, Error::FailedPrecondition(refusal) if refusal.reason == "METABASE_URL_NOT_CONFIGURED"),
        "{error:?}"
    );
    let error = refused(request().attribute("notes", "x".repeat(70_000))).await;
    assert!(matches!(&error, Error::Other(refusal) if refusal.code == Code::ResourceExhausted), "{error:?}");

    // Far more than can be refilled while they are asked.
    let mut exceeded = None;
    for _ in 0..200 {
        exceeded = exceeded.or(client.issue(request()).await.err());
    }
    let error = exceeded.expect("200 requests at a rate of one a second");
    assert!(matches!(&error, Error::RateExceeded { refusal, .. } if refusal.reason == "RATE_EXCEEDED"), "{error:?}");
    assert!(error.retry_after().unwrap() <= Duration::from_secs(1), "{error:?}");
}

#[tokio::test]
async fn tls_trusts_the_given_ca_alone_and_proves_who_asks() {
    let ca = TestCa::new();
    let text = CONFIG
        .replace("identity = { local = \"shop\" }", "identity = { mtls = true }")
        .replace("name = \"shop\"", &format!("name = \"shop\"\nidentities = [\"{WEB}\"]"))
        .replace("[[instances]]", &format!("{}\n[[instances]]", ca.server_tls(&[])));
    let server = TestServer::with(&text).await;
    let web = ca.issue(&client(vec![uri(WEB)]));
    over_tls(&server, &ca, Some(&web)).issue(request()).await.unwrap();

    let unknown = ca.issue(&client(vec![uri("spiffe://example.org/ns/shop/sa/other")]));
    let error = over_tls(&server, &ca, Some(&unknown)).issue(request()).await.unwrap_err();
    assert!(matches!(&error, Error::Unauthenticated(_) | Error::Denied(_)), "{error:?}");
    assert!(!error.refusal().reason.is_empty(), "{error:?}");
    let error = over_tls(&server, &ca, None).issue(request()).await.unwrap_err();
    assert!(error.refusal().cause().is_some() || matches!(error, Error::Unauthenticated(_)), "{error:?}");

    let stranger = TestCa::new();
    stranger.server_tls(&[]);
    let error = over_tls(&server, &stranger, Some(&web)).issue(request()).await.unwrap_err();
    assert!(format!("{error:?}").contains("certificate"), "{error:?}");
    let nameless =
        Client::builder(format!("https://{}", server.grpc)).ca_certificate(std::fs::read(ca.path("ca.pem")).unwrap());
    let error = nameless.identity(&web.certificate, &web.key).connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_unix_socket_is_an_address() {
    let dir = config_dir(CONFIG, SECRET);
    let socket = dir.path().join("mts.sock");
    let secret = secret_file(SECRET);
    let text = CONFIG.replace("SECRET_FILE", &secret.path().display().to_string()).replace(
        "listen = \"127.0.0.1:0\"\n    metrics",
        &format!("listen = \"unix:{}\"\n    metrics", socket.display()),
    );
    let config = dir.path().join("unix.toml");
    std::fs::write(&config, text).unwrap();
    let _served = Served::start(program(&["serve", "--config"]).arg(&config));
    let client = Client::builder(format!("unix:{}", socket.display())).connect().await.unwrap();
    assert!(client.issue(request()).await.unwrap().token.expose().starts_with("eyJ"));
}

#[tokio::test]
async fn an_address_that_would_be_unsafe_is_refused() {
    let ca = TestCa::new();
    ca.server_tls(&[]);
    let ca = std::fs::read(ca.path("ca.pem")).unwrap();
    for address in ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "unix:/tmp/mts.sock"] {
        assert!(Client::builder(address).connect_lazy().is_ok(), "{address}");
        // The attack: whoever sets the address takes the TLS away.
        let error = Client::builder(address).ca_certificate(&ca).connect_lazy().unwrap_err();
        assert!(matches!(error, ConnectError::NotTls), "{address}: {error:?}");
        let error = Client::builder(address).identity("", "").connect_lazy().unwrap_err();
        assert!(matches!(error, ConnectError::NotTls), "{address}: {error:?}");
    }
    for address in
        ["http://mts:1", "http://10.0.0.1:1", "http://localhost.evil.example:1", "http://localhost@evil.example:1"]
    {
        let error = Client::builder(address).connect_lazy().unwrap_err();
        assert!(matches!(error, ConnectError::Plaintext), "{address}: {error:?}");
        assert!(Client::builder(address).allow_plaintext().connect_lazy().is_ok(), "{address}");
    }
    for address in ["", "localhost:1", "http://localhost", "ftp://localhost:1", "unix:relative", "https://mts:1/path"] {
        let error = Client::builder(address).ca_certificate(&ca).connect_lazy().unwrap_err();
        assert!(matches!(error, ConnectError::Address), "{address}: {error:?}");
    }
    let error = Client::builder("https://mts:1").connect_lazy().unwrap_err();
    assert!(matches!(error, ConnectError::NoCa), "{error:?}");
    let error =
        Client::builder("https://mts:1").ca_certificate(&ca).identity("x", "SECRET").connect_lazy().unwrap_err();
    assert!(matches!(error, ConnectError::Tls(_)) && !format!("{error:?}").contains("SECRET"), "{error:?}");
    let shown = format!("{:?}", Client::builder("https://mts:1").identity("x", "SECRET"));
    assert!(!shown.contains("SECRET"), "{shown}");
}

#[tokio::test]
async fn who_does_not_answer_is_given_up() {
    // Takes connections, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let client = Client::builder(&address).deadline(Duration::from_millis(200)).connect_lazy().unwrap();
    let error = client.issue(request()).await.unwrap_err();
    assert!(matches!(&error, Error::DeadlineExceeded(refusal) if refusal.message.contains("200ms")), "{error:?}");
    // Nobody listens there.
    drop(silent);
    let error = Client::builder(&address).connect_lazy().unwrap().issue(request()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let error = Client::builder(&address).connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error:?}");
}
