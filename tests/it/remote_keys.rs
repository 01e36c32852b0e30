//! Keys of issuers behind an https URL.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, response::IntoResponse as _, routing::get};
use http::{StatusCode, header::LOCATION};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::Code;

use crate::{
    bearer::{ACCOUNT, TestIssuer, claims, issue, refusal},
    harness::{CONFIG, SECRET, Served, TestServer, config_dir, program, replace},
    pki::TestCa,
    reload::{GENERATION, metric, wait_for},
};

const ISSUER: &str = "https://cluster";

/// Publishes a key set at `https://localhost:PORT/keys`.
struct KeyServer {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

#[derive(Clone)]
enum Answer {
    Body(String),
    Failure,
    /// To a place that has this.
    RedirectTo(String),
}

struct TlsListener(TcpListener, TlsAcceptor);

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl KeyServer {
    async fn start(ca: &TestCa, answer: Answer) -> Self {
        let issued = ca.issue_server(1);
        let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = builder.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::<AtomicUsize>::default());
        let (answers, count) = (Arc::clone(&answer), Arc::clone(&asked));
        let respond = move |is_elsewhere: bool| {
            count.fetch_add(1, Ordering::Relaxed);
            match answers.lock().unwrap().clone() {
                Answer::Body(body) => body.into_response(),
                Answer::RedirectTo(body) if is_elsewhere => body.into_response(),
                Answer::RedirectTo(_) => (StatusCode::FOUND, [(LOCATION, "/elsewhere")]).into_response(),
                Answer::Failure => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        };
        let elsewhere = respond.clone();
        let router = Router::new()
            .route("/keys", get(async move || respond(false)))
            .route("/elsewhere", get(async move || elsewhere(true)));
        let serving = axum::serve(TlsListener(listener, TlsAcceptor::from(Arc::new(tls))), router);
        tokio::spawn(async move { serving.await });
        Self { address, answer, asked }
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// A service that trusts the keys of this server, if it trusts `ca`.
    async fn service(&self, ca: &TestCa) -> TestServer {
        TestServer::with(&self.config(ca)).await
    }

    fn config(&self, ca: &TestCa) -> String {
        ca.server_tls(&[]);
        let issuer = format!(
            "[[server.identity.jwt]]\nissuer = \"{ISSUER}\"\naudience = \"mts\"\njwks = \"https://localhost:{}/keys\"\n\
             jwks_ca = \"{}\"\n[[instances]]",
            self.address.port(),
            ca.path("ca.pem").display()
        );
        let config = CONFIG.replace("identity = { local = \"shop\" }", "").replace("[[instances]]", &issuer);
        config.replace("name = \"shop\"", &format!("name = \"shop\"\nidentities = [\"{ACCOUNT}\"]"))
    }
}

fn published(issuer: &TestIssuer, key_id: &str) -> Answer {
    Answer::Body(TestIssuer::set(&issuer.key, key_id))
}

fn bearer(issuer: &TestIssuer, key_id: &str) -> String {
    format!("Bearer {}", issuer.sign(key_id, &claims(ISSUER, ACCOUNT, &[])))
}

#[tokio::test]
async fn keys_are_fetched_and_fetched_again_when_a_token_names_a_new_one() {
    let (ca, first, second) = (TestCa::new(), TestIssuer::new("1"), TestIssuer::new("2"));
    let keys = KeyServer::start(&ca, published(&first, "1")).await;
    let server = keys.service(&ca).await;
    // The very first request waits for the first fetch.
    issue(server.channel.clone(), &[&bearer(&first, "1")]).await.unwrap();
    assert_eq!(keys.asked(), 1);
    keys.answers(published(&second, "2"));
    issue(server.channel.clone(), &[&bearer(&second, "2")]).await.unwrap();
    assert_eq!(keys.asked(), 2);
    // The new set is in force whole: the old key is gone.
    let (code, reason, _) = refusal(issue(server.channel.clone(), &[&bearer(&first, "1")]).await);
    assert_eq!((code, reason.as_str()), (Code::Unauthenticated, "INVALID_BEARER_TOKEN"));
}

#[tokio::test]
async fn made_up_key_ids_cause_one_fetch_and_known_keys_go_on_working() {
    let (ca, cluster) = (TestCa::new(), TestIssuer::new("1"));
    let keys = KeyServer::start(&ca, published(&cluster, "1")).await;
    let server = keys.service(&ca).await;
    issue(server.channel.clone(), &[&bearer(&cluster, "1")]).await.unwrap();
    keys.answers(Answer::Failure);
    for _ in 0..50 {
        let (code, _, message) = refusal(issue(server.channel.clone(), &[&bearer(&cluster, "made up")]).await);
        let expected = "the bearer token proves no caller: none of its issuer's keys has made it";
        assert_eq!((code, message.as_str()), (Code::Unauthenticated, expected));
    }
    assert_eq!(keys.asked(), 2);
    issue(server.channel.clone(), &[&bearer(&cluster, "1")]).await.unwrap();
}

/// A bad file is tried again every second. The attack on the others would be ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_used_floods_no_other_issuer() {
    let (ca, cluster, spire) = (TestCa::new(), TestIssuer::new("1"), TestIssuer::new("2"));
    let keys = KeyServer::start(&ca, published(&cluster, "1")).await;
    let of_file = format!(
        "[[server.identity.jwt]]\nissuer = \"https://spire\"\naudience = \"mts\"\njwks = \"{}\"\n\
         trust_domain = \"example.org\"\n[[instances]]",
        spire.path()
    );
    let dir = config_dir(&keys.config(&ca).replace("[[instances]]", &of_file), SECRET);
    let (file, failing) = (dir.path().join("mts.toml"), "metabase_token_service_reload_failing{what=\"issuers\"}");
    let served = Served::start(program(&["serve", "--config"]).arg(&file));
    let succeeded = "metabase_token_service_reloads_total{what=\"issuers\",outcome=\"succeeded\"}";
    wait_for(&served, succeeded, 1).await;
    replace(Path::new(&spire.path()), "{}");
    wait_for(&served, failing, 1).await;
    // That something has changed is a reason to fetch, once, and what comes of it does not hide what is wrong with the file.
    wait_for(&served, succeeded, 2).await;
    assert_eq!((metric(&served, failing), keys.asked()), (1, 2));
    let text = std::fs::read_to_string(&file).unwrap();
    for generation in 2..=4 {
        replace(&file, format!("{text}\n# {generation}\n"));
        wait_for(&served, GENERATION, generation).await;
    }
    assert_eq!((metric(&served, failing), keys.asked()), (1, 2));
}

#[tokio::test]
async fn without_any_keys_a_caller_is_told_to_come_back() {
    let (ca, cluster) = (TestCa::new(), TestIssuer::new("1"));
    let token = bearer(&cluster, "1");
    for (name, answer) in [
        ("failure", Answer::Failure),
        ("redirect", Answer::RedirectTo(TestIssuer::set(&cluster.key, "1"))),
        ("no key set", Answer::Body("<html>".to_owned())),
        ("symmetric key", Answer::Body("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}".to_owned())),
        ("too large", Answer::Body(" ".repeat(1024 * 1024) + &TestIssuer::set(&cluster.key, "1"))),
    ] {
        let keys = KeyServer::start(&ca, answer).await;
        let server = keys.service(&ca).await;
        let (code, reason, _) = refusal(issue(server.channel.clone(), &[&token]).await);
        assert_eq!((code, reason.as_str()), (Code::Unavailable, "ISSUER_KEYS_UNAVAILABLE"), "{name}");
        // What other proofs are missing is still said.
        assert_eq!(refusal(issue(server.channel.clone(), &[]).await).1, "NO_PROVEN_CALLER");
    }
    let keys = KeyServer::start(&ca, published(&cluster, "1")).await;
    let server = keys.service(&TestCa::new()).await;
    assert_eq!(refusal(issue(server.channel.clone(), &[&token]).await).0, Code::Unavailable);
    assert_eq!(keys.asked(), 0, "keys of a server that another CA vouches for");
}
