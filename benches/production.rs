//! What the production configuration costs: mutual TLS, a policy, an audit log of durability "written" and metrics, against the
//! bare `serve --dev`: `cargo bench --locked --bench production`. Both are real processes, asked by the same client in turn. Prints
//! the throughput of both and their ratio, and fails when it is below 0.75.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use metabase_token_service::transport::proto::{
    IssueMetabaseTokenRequest, User, metabase_token_service_client::MetabaseTokenServiceClient,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tempfile::TempDir;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_secs(1);
const CONNECTIONS: usize = 4;
const CALLS_PER_CONNECTION: usize = 8;
const LEAST: f64 = 0.75;

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
sink = { file = "DIR/audit.jsonl" }
durability = "written"
subject_key = { file = "DIR/subjects" }
[[instances]]
name = "main"
probe_interval = "off"
url = "https://metabase.example.com"
shared_secret = { file = "DIR/secret" }
[[callers]]
name = "shop"
identities = ["spiffe://example.org/ns/shop/sa/web"]
[[callers.grants]]
instance = "main"
email_domains = ["example.com"]
groups = ["Customers", "Region *"]
attributes = { customer_id = "integer", region = ["emea", "apac"] }
"#;

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metabase-token-service"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let printed: Vec<_> = lines.map_while(Result::ok).take_while(|line| line != "ready").collect();
        let address = printed.iter().find_map(|line| line.strip_prefix("gRPC on ")?.split(' ').next());
        Self { address: address.expect("it says where it is").to_owned(), child }
    }

    /// Seconds of processor time so far, in hundredths.
    fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<f64> = stat.rsplit(')').next().unwrap_or_default().split(' ').flat_map(str::parse).collect();
        // After the name: state (no number), then ppid and so on; user and system time are the 12th and 13th.
        fields.get(10).zip(fields.get(11)).map_or(0.0, |(user, system)| (user + system) / 100.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Certificates of a CA, the server and the client, and the secrets; returns the client's TLS.
fn prepare(dir: &Path) -> ClientTlsConfig {
    let key = || KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, key()).expect("a CA");
    let issue = |name: SanType| {
        let (mut params, key) = (CertificateParams::default(), key());
        params.subject_alt_names = vec![name];
        (params.signed_by(&key, &ca).expect("a certificate").pem(), key.serialize_pem())
    };
    let (server, server_key) = issue(SanType::DnsName("localhost".try_into().expect("a name")));
    let uri = "spiffe://example.org/ns/shop/sa/web".try_into().expect("a URI");
    let (client, client_key) = issue(SanType::URI(uri));
    for (name, text) in [
        ("ca.pem", ca.pem()),
        ("server.pem", server),
        ("server.key", server_key),
        ("secret", "4f1c9a7e03b85d26f7a1c3e9b0d48e6275ac13f0e9b7d6482c5e8f01a3b4d697".to_owned()),
        ("subjects", "d697a3b48f01c5e8482cb7d6f0e9ac136275d48ec3e9b0f7a15d26b8037e9a4f".to_owned()),
        ("mts.toml", CONFIG.replace("DIR", &dir.display().to_string())),
    ] {
        fs::write(dir.join(name), text).expect("written");
    }
    let trust = Certificate::from_pem(ca.pem());
    ClientTlsConfig::new()
        .ca_certificate(trust)
        .identity(Identity::from_pem(client, client_key))
        .domain_name("localhost")
}

async fn connect(server: &Server, tls: Option<&ClientTlsConfig>) -> Vec<Channel> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", server.address)).expect("an address");
        let endpoint = match tls {
            Some(tls) => endpoint.tls_config(tls.clone()).expect("good certificates"),
            None => endpoint,
        };
        channels.push(endpoint.connect().await.expect("connected"));
    }
    channels
}

fn request() -> IssueMetabaseTokenRequest {
    IssueMetabaseTokenRequest {
        user: Some(User {
            id: "1815".to_owned(),
            email: "ada@example.com".to_owned(),
            first_name: "Ada".to_owned(),
            last_name: "Lovelace".to_owned(),
        }),
        attributes: [("customer_id", "42"), ("region", "emea")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        ..IssueMetabaseTokenRequest::default()
    }
}

/// Tokens per second.
#[expect(clippy::disallowed_methods, clippy::cast_precision_loss, reason = "measures")]
async fn round(channels: &[Channel]) -> f64 {
    let count = Arc::<AtomicU64>::default();
    let began = Instant::now();
    let calls: Vec<_> = channels
        .iter()
        .flat_map(|channel| std::iter::repeat_n(channel, CALLS_PER_CONNECTION))
        .map(|channel| {
            let (mut client, count) = (MetabaseTokenServiceClient::new(channel.clone()), Arc::clone(&count));
            tokio::spawn(async move {
                while began.elapsed() < ROUND {
                    let issued = client.issue_metabase_token(request()).await.expect("a token").into_inner();
                    assert!(issued.jwt.len() > 100, "a token");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for call in calls {
        call.await.expect("no call fails");
    }
    count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[expect(clippy::print_stdout, reason = "the result")]
#[tokio::main]
async fn main() -> ExitCode {
    let dir = TempDir::new().expect("a folder");
    let tls = prepare(dir.path());
    let config = dir.path().join("mts.toml").display().to_string();
    let servers = [
        Server::start(&["serve", "--dev", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]),
        Server::start(&["serve", "--config", &config]),
    ];
    let channels = [connect(&servers[0], None).await, connect(&servers[1], Some(&tls)).await];
    let (mut rates, mut ratios, mut work) = ([Vec::new(), Vec::new()], Vec::new(), [0.0, 0.0]);
    for channels in &channels {
        round(channels).await; // Warms up.
    }
    for _ in 0..ROUNDS {
        for (at, channels) in channels.iter().enumerate() {
            let before = servers[at].cpu();
            let rate = round(channels).await;
            work[at] += servers[at].cpu() - before;
            rates[at].push(rate);
        }
        ratios.push(rates[1].last().unwrap_or(&0.0) / rates[0].last().unwrap_or(&1.0));
    }
    let tokens = rates.clone().map(|rates| rates.iter().sum::<f64>() * ROUND.as_secs_f64());
    for (name, at) in [("serve --dev", 0), ("production", 1)] {
        println!(
            "{name:12} {:>7.0} tokens/s, {:>4.0} us of the server's processor time for a token",
            median(&mut rates[at]),
            work[at] / tokens[at] * 1e6
        );
    }
    let ratio = median(&mut ratios);
    println!("ratio of throughput, median of {ROUNDS} rounds: {ratio:.2}; at least {LEAST} is asked for");
    if ratio >= LEAST { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
