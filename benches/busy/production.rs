//! The configuration that runs in production: mutual TLS, a policy, an audit log of durability "written" and metrics.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use metabase_token_service::transport::proto::{GroupList, IssueMetabaseTokenRequest, User};
use prost::Message as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tempfile::TempDir;

use super::PutMessage;

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
metrics_listen = "127.0.0.1:0"
[server.tls]
certificate = "DIR/server.pem"
private_key = "DIR/server.key"
client_ca = "DIR/ca.pem"
[server.identity]
mtls = true
[audit]
sink = { file = "DIR/NAME.jsonl" }
durability = "written"
subject_key = { file = "DIR/subjects" }
[accounts]
ACCOUNTS
"#;
const POLICY: &str = include_str!("../issue/policy.toml");

/// A folder with what the configuration names.
pub(crate) struct Production {
    pub(crate) dir: TempDir,
    /// Of a client that the policy knows.
    pub(crate) tls: Arc<ClientConfig>,
}

impl Production {
    pub(crate) fn prepare() -> Self {
        let dir = TempDir::new().expect("a folder");
        let tls = certificates(dir.path());
        for (name, secret) in [
            ("secret", "4f1c9a7e03b85d26f7a1c3e9b0d48e6275ac13f0e9b7d6482c5e8f01a3b4d697"),
            ("subjects", "d697a3b48f01c5e8482cb7d6f0e9ac136275d48ec3e9b0f7a15d26b8037e9a4f"),
            ("hashes", "7bc07b38cd50db7ab3a8b3aef3a2e7a83fc8bd2b7a41e0fd5b4dd1b7e5e9a4c1"),
        ] {
            fs::write(dir.path().join(name), secret).expect("written");
        }
        Self { dir, tls }
    }

    /// The file of a configuration with this `one_account_per_user`, and these lines of `[accounts]`.
    pub(crate) fn config(&self, name: &str, mode: &str, accounts: &str) -> String {
        let text = CONFIG.replace("ACCOUNTS", accounts).replace("NAME", name) + &POLICY.replace("MODE", mode);
        let file = self.dir.path().join(name).with_extension("toml");
        fs::write(&file, text.replace("DIR", &self.dir.path().display().to_string())).expect("written");
        file.display().to_string()
    }
}

/// Of a CA, the server and the client; returns the client's TLS.
fn certificates(dir: &Path) -> Arc<ClientConfig> {
    let key = || KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, key()).expect("a CA");
    let issue = |name: SanType| {
        let (mut params, key) = (CertificateParams::default(), key());
        params.subject_alt_names = vec![name];
        (params.signed_by(&key, &ca).expect("a certificate"), key)
    };
    let (server, server_key) = issue(SanType::DnsName("localhost".try_into().expect("a name")));
    let uri = "spiffe://example.org/ns/shop/sa/web".try_into().expect("a URI");
    let (client, client_key) = issue(SanType::URI(uri));
    for (name, text) in [("ca.pem", ca.pem()), ("server.pem", server.pem()), ("server.key", server_key.serialize_pem())]
    {
        fs::write(dir.join(name), text).expect("written");
    }
    let mut trusted = RootCertStore::empty();
    trusted.add(ca.der().clone()).expect("a CA");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(client_key.serialize_der()));
    let config = ClientConfig::builder().with_root_certificates(trusted);
    let mut config = config.with_client_auth_cert(vec![client.der().clone()], key).expect("a certificate with its key");
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// What the policy permits, for one of many people.
pub(crate) fn request(person: usize) -> IssueMetabaseTokenRequest {
    let user = User {
        id: person.to_string(),
        email: format!("person{person}@example.com"),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
    };
    IssueMetabaseTokenRequest {
        user: Some(user),
        groups: Some(GroupList { names: vec!["Customers".to_owned(), "Region EMEA".to_owned()] }),
        attributes: [("customer_id", "42"), ("region", "emea")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        ..IssueMetabaseTokenRequest::default()
    }
}

/// Asks for one of so many people after the other.
pub(crate) fn of_many(people: usize, next: &AtomicUsize) -> PutMessage<'_> {
    Box::new(move |message| {
        // Nobody of one measurement is counted in another: both use the same Redis.
        let person = people + next.fetch_add(1, Ordering::Relaxed) % people;
        request(person).encode(message).expect("there is room");
    })
}
