//! Bearer tokens as proof of identity.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{
    Algorithm, EncodingKey, Header, encode,
    jwk::{Jwk, JwkSet},
};
use metabase_token_service::transport::proto::{
    IssueMetabaseTokenRequest, metabase_token_service_client::MetabaseTokenServiceClient,
};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    harness::{CONFIG, Served, TestServer, ada, config_dir, program, replace, secret_file, until},
    pki::{TestCa, client, uri},
    reload::{GENERATION, metric, wait_for},
};

pub(crate) const ACCOUNT: &str = "system:serviceaccount:shop:web";
const SVID: &str = "spiffe://example.org/shop/web";

/// An issuer with one key, and the file that publishes it.
pub(crate) struct TestIssuer {
    pub(crate) key: EncodingKey,
    jwks: NamedTempFile,
}

impl TestIssuer {
    pub(crate) fn new(key_id: &str) -> Self {
        let key = EncodingKey::from_ec_der(&KeyPair::generate().unwrap().serialize_der());
        let jwks = secret_file(&Self::set(&key, key_id));
        Self { key, jwks }
    }

    pub(crate) fn set(key: &EncodingKey, key_id: &str) -> String {
        let mut jwk = Jwk::from_encoding_key(key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(key_id.to_owned());
        serde_json::to_string(&JwkSet { keys: vec![jwk] }).unwrap()
    }

    pub(crate) fn sign(&self, key_id: &str, claims: &Value) -> String {
        let header = Header { kid: Some(key_id.to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &self.key).unwrap()
    }

    pub(crate) fn path(&self) -> String {
        self.jwks.path().display().to_string()
    }
}

pub(crate) fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "tokens of other issuers are judged by the system's clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims of a valid token; `with` replaces one, null removes it.
pub(crate) fn claims(issuer: &str, subject: &str, with: &[(&str, Value)]) -> Value {
    let mut claims =
        json!({"iss": issuer, "sub": subject, "aud": ["mts"], "exp": now() + 600, "nbf": now() - 1, "iat": now()});
    for (name, value) in with {
        claims[*name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn config(identity: &str, cluster: &TestIssuer, spire: &TestIssuer) -> String {
    let issuers = format!(
        "[[server.identity.jwt]]\nissuer = \"https://cluster\"\naudience = \"mts\"\njwks = \"{}\"\n\
         [[server.identity.jwt]]\nissuer = \"https://spire\"\naudience = \"mts\"\njwks = \"{}\"\ntrust_domain = \"example.org\"\n",
        cluster.path(),
        spire.path()
    );
    CONFIG
        .replace("identity = { local = \"shop\" }", "")
        .replace("[[instances]]", &format!("{identity}\n{issuers}\n[[instances]]"))
        .replace("name = \"shop\"", &format!("name = \"shop\"\nidentities = [\"{ACCOUNT}\", \"{SVID}\"]"))
}

pub(crate) async fn issue(channel: Channel, authorization: &[&str]) -> Result<(), Status> {
    let mut request =
        Request::new(IssueMetabaseTokenRequest { user: Some(ada()), ..IssueMetabaseTokenRequest::default() });
    for value in authorization {
        request.metadata_mut().append("authorization", value.parse().unwrap());
    }
    MetabaseTokenServiceClient::new(channel).issue_metabase_token(request).await.map(|_| ())
}

pub(crate) fn refusal(answer: Result<(), Status>) -> (Code, String, String) {
    let status = answer.unwrap_err();
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    (status.code(), reason, status.message().to_owned())
}

#[tokio::test]
async fn a_token_of_a_configured_issuer_names_the_caller() {
    let (cluster, spire) = (TestIssuer::new("a"), TestIssuer::new("b"));
    let server = TestServer::with(&config("", &cluster, &spire)).await;
    for token in [
        cluster.sign("a", &claims("https://cluster", ACCOUNT, &[])),
        cluster.sign("a", &claims("https://cluster", ACCOUNT, &[("aud", json!("mts")), ("nbf", Value::Null)])),
        spire.sign("b", &claims("https://spire", SVID, &[])),
    ] {
        issue(server.channel.clone(), &[&format!("Bearer {token}")]).await.unwrap();
    }
}

#[tokio::test]
async fn every_fault_of_a_token_is_refused_with_its_reason() {
    let (cluster, spire, other) = (TestIssuer::new("a"), TestIssuer::new("b"), TestIssuer::new("a"));
    let server = TestServer::with(&config("", &cluster, &spire)).await;
    let of = |with: &[(&str, Value)]| claims("https://cluster", ACCOUNT, with);
    // The attack of RFC 8725, section 2.1: the public key as the secret of an HMAC.
    let public = std::fs::read(cluster.jwks.path()).unwrap();
    let header = |algorithm| Header { kid: Some("a".to_owned()), ..Header::new(algorithm) };
    let confused = encode(&header(Algorithm::HS256), &of(&[]), &EncodingKey::from_secret(&public)).unwrap();
    let critical = Header { crit: Some(vec!["b64".to_owned()]), ..header(Algorithm::ES256) };
    let critical = encode(&critical, &of(&[]), &cluster.key).unwrap();
    let event = Header { typ: Some("secevent+jwt".to_owned()), kid: Some("b".to_owned()), ..header(Algorithm::ES256) };
    let event = encode(&event, &claims("https://spire", SVID, &[]), &spire.key).unwrap();
    let good = cluster.sign("a", &of(&[]));
    let (signed, _) = good.rsplit_once('.').unwrap();
    for (name, token, why) in [
        ("HMAC", confused, "its algorithm is not one of public keys"),
        (
            "an extension that has to be understood",
            critical,
            "its header demands in `crit` what is not understood here",
        ),
        ("another kind of token", event, "its `typ` is neither \"JWT\" nor \"JOSE\", as that of a JWT-SVID is"),
        ("unsigned", "eyJhbGciOiJub25lIn0.e30.".to_owned(), "it is not a JSON Web Token"),
        ("no token", "x".to_owned(), "it is not a JSON Web Token"),
        ("signature cut off", format!("{signed}."), "its signature or one of its claims is wrong"),
        ("another key of the same name", other.sign("a", &of(&[])), "its signature or one of its claims is wrong"),
        ("unknown key", cluster.sign("z", &of(&[])), "none of its issuer's keys has made it"),
        (
            "unknown issuer",
            cluster.sign("a", &of(&[("iss", json!("https://cluster/"))])),
            "its issuer is not configured",
        ),
        (
            "another issuer's key",
            cluster.sign("a", &claims("https://spire", SVID, &[])),
            "none of its issuer's keys has made it",
        ),
        ("expired", cluster.sign("a", &of(&[("exp", json!(now() - 60))])), "it has expired"),
        ("no expiry", cluster.sign("a", &of(&[("exp", Value::Null)])), "its signature or one of its claims is wrong"),
        ("not yet valid", cluster.sign("a", &of(&[("nbf", json!(now() + 60))])), "it is not valid yet"),
        ("another audience", cluster.sign("a", &of(&[("aud", json!(["vault"]))])), "it is for another audience"),
        ("no audience", cluster.sign("a", &of(&[("aud", Value::Null)])), "its signature or one of its claims is wrong"),
        (
            "a node",
            cluster.sign("a", &of(&[("sub", json!("system:node:x"))])),
            "its subject is no service account: must be system:serviceaccount:NAMESPACE:NAME",
        ),
        (
            "a SPIFFE ID of the cluster",
            cluster.sign("a", &of(&[("sub", json!(SVID))])),
            "its subject is no service account: must be system:serviceaccount:NAMESPACE:NAME",
        ),
        (
            "a service account of the trust domain",
            spire.sign("b", &claims("https://spire", ACCOUNT, &[])),
            "its subject is no SPIFFE ID: a SPIFFE ID begins with spiffe://",
        ),
        (
            "a foreign trust domain",
            spire.sign("b", &claims("https://spire", "spiffe://evil.org/shop/web", &[])),
            "the trust domain of its subject is not this issuer's",
        ),
    ] {
        let expected = (
            Code::Unauthenticated,
            "INVALID_BEARER_TOKEN".to_owned(),
            format!("the bearer token proves no caller: {why}"),
        );
        assert_eq!(refusal(issue(server.channel.clone(), &[&format!("Bearer {token}")]).await), expected, "{name}");
    }
    let bearer = format!("Bearer {good}");
    for (name, headers) in
        [("another scheme", vec!["Basic YTpi"]), ("no scheme", vec![good.as_str()]), ("two headers", vec![&bearer; 2])]
    {
        let (code, reason, _) = refusal(issue(server.channel.clone(), &headers).await);
        assert_eq!((code, reason.as_str()), (Code::Unauthenticated, "INVALID_BEARER_TOKEN"), "{name}");
    }
    let (code, reason, message) = refusal(issue(server.channel.clone(), &[]).await);
    assert_eq!(
        (code, reason.as_str(), message.as_str()),
        (Code::Unauthenticated, "NO_PROVEN_CALLER", "no proven caller; looked for: jwt")
    );
}

#[tokio::test]
async fn a_token_and_a_certificate_have_to_agree_and_either_is_enough() {
    let (cluster, spire, ca) = (TestIssuer::new("a"), TestIssuer::new("b"), TestCa::new());
    let text = config("[server.identity]\nmtls = true", &cluster, &spire)
        .replace("[server]", &format!("{}\n[server]", ca.server_tls(&[])));
    let server = TestServer::with(&text).await;
    let bearer = format!("Bearer {}", spire.sign("b", &claims("https://spire", SVID, &[])));
    let (web, eve) = (ca.issue(&client(vec![uri(SVID)])), ca.issue(&client(vec![uri("spiffe://example.org/eve")])));
    let connect = |issued| {
        let endpoint = Channel::from_shared(format!("https://{}", server.grpc)).unwrap();
        endpoint.tls_config(ca.client_tls(issued)).unwrap().connect_lazy()
    };
    issue(connect(Some(&web)), &[&bearer]).await.unwrap();
    issue(connect(Some(&web)), &[]).await.unwrap();
    issue(connect(None), &[&bearer]).await.unwrap();
    let (code, reason, _) = refusal(issue(connect(Some(&eve)), &[&bearer]).await);
    assert_eq!((code, reason.as_str()), (Code::Unauthenticated, "CONTRADICTORY_IDENTITIES"));
    let (code, _, message) = refusal(issue(connect(None), &[]).await);
    assert_eq!((code, message.as_str()), (Code::Unauthenticated, "no proven caller; looked for: mtls, jwt"));
}

#[tokio::test]
async fn keys_are_reloaded_and_a_set_that_is_none_is_not() {
    let (cluster, spire) = (TestIssuer::new("a"), TestIssuer::new("b"));
    let dir = config_dir(&config("", &cluster, &spire), crate::harness::SECRET);
    let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
    let channel = Channel::from_shared(format!("http://{}", served.address())).unwrap().connect().await.unwrap();
    let old = format!("Bearer {}", cluster.sign("a", &claims("https://cluster", ACCOUNT, &[])));
    issue(channel.clone(), &[&old]).await.unwrap();
    let failed = "metabase_token_service_reloads_total{what=\"issuers\",outcome=\"failed\"}";
    replace(cluster.jwks.path(), "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}");
    wait_for(&served, failed, 1).await;
    issue(channel.clone(), &[&old]).await.unwrap();
    // Those of another issuer are taken all the same.
    let moved = TestIssuer::new("m");
    replace(spire.jwks.path(), std::fs::read(moved.jwks.path()).unwrap());
    let svid = format!("Bearer {}", moved.sign("m", &claims("https://spire", SVID, &[])));
    until("the other's keys are in force", async || issue(channel.clone(), &[&svid]).await.is_ok()).await;
    let next = TestIssuer::new("n");
    replace(cluster.jwks.path(), std::fs::read(next.jwks.path()).unwrap());
    wait_for(&served, "metabase_token_service_reloads_total{what=\"issuers\",outcome=\"succeeded\"}", 1).await;
    let new = format!("Bearer {}", next.sign("n", &claims("https://cluster", ACCOUNT, &[])));
    issue(channel.clone(), &[&new]).await.unwrap();
    assert_eq!(refusal(issue(channel, &[&old]).await).0, Code::Unauthenticated);
    assert_eq!(metric(&served, GENERATION), 1);
}

/// What an issuer publishes beside its key: of a kind and on a curve that are not known here.
const UNKNOWN: [&str; 2] = [
    r#"{"kty":"AKP","alg":"ML-DSA-44","kid":"pq","pub":"AAAA"}"#,
    r#"{"kty":"EC","crv":"secp256k1","kid":"k1","x":"AAAA","y":"AAAA"}"#,
];

#[tokio::test]
async fn a_key_that_is_not_understood_keeps_no_other_from_coming_or_going() {
    let (cluster, spire) = (TestIssuer::new("a"), TestIssuer::new("b"));
    let among_others = |key: &str| key.replace("{\"keys\":[", &format!("{{\"keys\":[{},", UNKNOWN.join(",")));
    replace(cluster.jwks.path(), among_others(&TestIssuer::set(&cluster.key, "a")));
    let dir = config_dir(&config("", &cluster, &spire), crate::harness::SECRET);
    let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
    let channel = Channel::from_shared(format!("http://{}", served.address())).unwrap().connect_lazy();
    let old = format!("Bearer {}", cluster.sign("a", &claims("https://cluster", ACCOUNT, &[])));
    issue(channel.clone(), &[&old]).await.unwrap();
    let next = TestIssuer::new("n");
    replace(cluster.jwks.path(), among_others(&TestIssuer::set(&next.key, "n")));
    let new = format!("Bearer {}", next.sign("n", &claims("https://cluster", ACCOUNT, &[])));
    until("the next key is in force", async || issue(channel.clone(), &[&new]).await.is_ok()).await;
    assert_eq!(refusal(issue(channel, &[&old]).await).0, Code::Unauthenticated);
}

#[test]
fn keys_that_cannot_be_used_are_refused_at_start() {
    let (cluster, spire) = (TestIssuer::new("a"), TestIssuer::new("b"));
    let dir = config_dir(&config("", &cluster, &spire), crate::harness::SECRET);
    for (content, why) in [
        ("{\"keys\":[]}", "it has no key for signatures"),
        (&format!("{{\"keys\":[{}]}}", UNKNOWN.join(",")), "it has no key for signatures that can be used: "),
        ("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", "it has a symmetric key"),
        ("[]", "is not a JSON Web Key Set"),
    ] {
        std::fs::write(cluster.jwks.path(), content).unwrap();
        let output = program(&["serve", "--config"]).arg(dir.path().join("mts.toml")).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{error}");
        assert!(error.contains("server.identity.jwt: ") && error.contains(why), "{error}");
    }
}
