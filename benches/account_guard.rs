//! What it costs to guard that every person has an account of their own: `cargo bench --locked --bench account_guard`. Three services,
//! real processes, are asked by the same client in turn: guard off, with bindings in memory, and with bindings in a Redis beside them.
//! Every request is for another one of many people, so that Redis is asked each time; what a few people cost who ask again and again is
//! printed, too. Fails when the throughput is below 0.95 (memory) or 0.6 (Redis) of that without the guard. Without a `redis-server` on
//! the PATH that part is left out, and said. Prints the memory of a million bindings.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use metabase_token_service::{
    adapters::account_store::MemoryStore,
    application::accounts::{AccountStore as _, Applied},
    domain::{
        account::{AccountId, AccountRules, PersonId, Use},
        time::UnixTime,
    },
    telemetry::Metrics,
    transport::proto::{IssueMetabaseTokenRequest, User, metabase_token_service_client::MetabaseTokenServiceClient},
};
use tempfile::TempDir;
use tonic::transport::Channel;

const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_secs(1);
const CONNECTIONS: usize = 4;
const CALLS_PER_CONNECTION: usize = 8;
/// More than can be asked about while an answer is good for repeats.
const MANY_PEOPLE: usize = 100_000;
const FEW_PEOPLE: usize = 500;
const LEAST_IN_MEMORY: f64 = 0.95;
const LEAST_IN_REDIS: f64 = 0.6;
const BINDINGS: usize = 1_000_000;

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
metrics_listen = "127.0.0.1:0"
identity = { local = "shop" }
[accounts]
STORE
[[instances]]
name = "main"
probe_interval = "off"
one_account_per_user = "MODE"
shared_secret = { file = "DIR/secret" }
[[callers]]
name = "shop"
[[callers.grants]]
instance = "main"
email_domains = ["example.com"]
"#;
/// A stall of the machine is no answer to the question.
const REDIS: &str = r#"
[accounts.redis]
urls = ["redis://127.0.0.1:PORT"]
hash_key = { file = "DIR/hashes" }
budget = "1s"
on_store_failure = "deny"
"#;

/// Killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Server {
    _process: Process,
    channels: Vec<Channel>,
}

impl Server {
    async fn start(dir: &Path, name: &str, mode: &str, store: &str) -> Self {
        let file = dir.join(name);
        let text = CONFIG.replace("STORE", store).replace("MODE", mode).replace("DIR", &dir.display().to_string());
        fs::write(&file, text).expect("it can be written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_metabase-token-service"));
        command.args(["serve", "--log-level", "error", "--config"]).arg(file);
        let mut process = Process(command.stdout(Stdio::piped()).spawn().expect("it starts"));
        let lines = BufReader::new(process.0.stdout.take().expect("it is piped")).lines();
        let printed: Vec<_> = lines.map_while(Result::ok).take_while(|line| line != "ready").collect();
        let address = printed.iter().find_map(|line| line.strip_prefix("gRPC on ")?.split(' ').next());
        let address = format!("http://{}", address.expect("it tells its address"));
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            channels.push(Channel::from_shared(address.clone()).expect("a URL").connect().await.expect("connected"));
        }
        Self { _process: process, channels }
    }

    /// Tokens per second, for so many people in turn.
    #[expect(clippy::disallowed_methods, clippy::cast_precision_loss, reason = "measures")]
    async fn round(&self, people: usize, next: &Arc<AtomicUsize>) -> f64 {
        let count = Arc::<AtomicU64>::default();
        let began = Instant::now();
        let calls: Vec<_> = self
            .channels
            .iter()
            .flat_map(|channel| std::iter::repeat_n(channel, CALLS_PER_CONNECTION))
            .map(|channel| {
                let mut client = MetabaseTokenServiceClient::new(channel.clone());
                let (count, next) = (Arc::clone(&count), Arc::clone(next));
                tokio::spawn(async move {
                    while began.elapsed() < ROUND {
                        // Nobody of one measurement is counted in another: both use the same Redis.
                        let person = people + next.fetch_add(1, Ordering::Relaxed) % people;
                        let issued = client.issue_metabase_token(request(person)).await.expect("a token");
                        assert!(issued.metadata().get("mts-warning").is_none(), "nobody shares an account here");
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
}

fn request(person: usize) -> IssueMetabaseTokenRequest {
    let user = User {
        id: person.to_string(),
        email: format!("person{person}@example.com"),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
    };
    IssueMetabaseTokenRequest { user: Some(user), ..IssueMetabaseTokenRequest::default() }
}

/// A Redis that keeps nothing, and its port; none if there is no such program.
fn redis(dir: &Path) -> Option<(Process, u16)> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string(), "--dir"]);
    let process = command.arg(dir).stdout(Stdio::null()).spawn().ok()?;
    Some((Process(process), port))
}

fn rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

/// Bytes that one binding takes, of a million.
fn memory() -> u64 {
    let store = MemoryStore::new(BINDINGS, Metrics::default().accounts);
    let rules = AccountRules { window: 86_400, tokens_per_hour: std::num::NonZeroU32::new(300) };
    let before = rss_kib();
    for number in 0..BINDINGS {
        let mut bytes = [0; 16];
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &number.to_ne_bytes());
        bytes.copy_from_slice(&digest.as_ref()[..16]);
        let asked =
            Use { account: AccountId::from_bytes(bytes), person: PersonId::from_bytes(bytes), is_enforced: true };
        let now = UnixTime::from_seconds(1_700_000_000);
        assert!(matches!(store.apply(&asked, rules, now), Applied::Now(Ok(found)) if !found.any()), "a new binding");
    }
    (rss_kib() - before) * 1024 / BINDINGS as u64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[expect(clippy::print_stdout, reason = "the result")]
#[tokio::main]
async fn main() -> ExitCode {
    let bytes = memory();
    println!("a million bindings in memory take {} MB: {bytes} bytes each", bytes * BINDINGS as u64 / 1_000_000);
    let dir = TempDir::new().expect("a folder");
    for (name, secret) in [
        ("secret", "4f1c9a7e03b85d26f7a1c3e9b0d48e6275ac13f0e9b7d6482c5e8f01a3b4d697"),
        ("hashes", "d697a3b48f01c5e8482cb7d6f0e9ac136275d48ec3e9b0f7a15d26b8037e9a4f"),
    ] {
        fs::write(dir.path().join(name), secret).expect("it can be written");
    }
    let redis = redis(dir.path());
    let mut subjects = vec![
        ("off", Server::start(dir.path(), "off.toml", "off", "").await, MANY_PEOPLE),
        ("memory", Server::start(dir.path(), "memory.toml", "enforce", "").await, MANY_PEOPLE),
    ];
    if let Some((_, port)) = &redis {
        let store = REDIS.replace("PORT", &port.to_string());
        for (name, people) in [("redis", MANY_PEOPLE), ("redis, repeats", FEW_PEOPLE)] {
            // Every one of few people gets thousands of tokens here.
            let store =
                if people == FEW_PEOPLE { format!("tokens_per_hour = \"off\"\n{store}") } else { store.clone() };
            let file = format!("{name}.toml");
            subjects.push((name, Server::start(dir.path(), &file, "enforce", &store).await, people));
        }
    } else {
        println!("there is no redis-server on the PATH: what a Redis costs is left out");
    }
    let next = Arc::<AtomicUsize>::default();
    for (_, server, people) in &subjects {
        server.round(*people, &next).await; // Warms up.
    }
    let mut rates = vec![Vec::new(); subjects.len()];
    for _ in 0..ROUNDS {
        for ((_, server, people), rates) in subjects.iter().zip(&mut rates) {
            rates.push(server.round(*people, &next).await);
        }
    }
    let mut is_good = true;
    for ((name, ..), own) in subjects.iter().zip(&rates) {
        let ratio = median(own.iter().zip(&rates[0]).map(|(own, off)| own / off).collect());
        let least = match *name {
            "memory" => LEAST_IN_MEMORY,
            "redis" => LEAST_IN_REDIS,
            _ => 0.0,
        };
        let asked = if least > 0.0 { format!("; at least {least} is asked for") } else { String::new() };
        println!("{name:15} {:>7.0} tokens/s, {ratio:.2} of that without the guard{asked}", median(own.clone()));
        is_good &= ratio >= least;
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
