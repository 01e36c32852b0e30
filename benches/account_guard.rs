//! What it costs to guard that every person has an account of their own: `cargo bench --locked --bench account_guard`. Services of
//! one CPU each are kept busy in turn: guard off, with bindings in memory, and with bindings in a Redis, which has a CPU with the load.
//! First in the configuration of production (mutual TLS, a policy, an audit log), where it fails when the throughput is below 0.95 (memory)
//! or 0.6 (Redis) of that without the guard; then, for information, without all that.
//!
//! Every request is for another one of many people, so that Redis is asked each time, and the memory of each has to be found; what a few
//! people cost who ask again and again is printed, too. Without a `redis-server` on the PATH that part is left out, and said. Prints the
//! memory of a million bindings.

#[path = "busy/mod.rs"]
mod busy;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::atomic::AtomicUsize,
};

use metabase_token_service::{
    adapters::account_store::MemoryStore,
    application::accounts::{AccountStore as _, Applied},
    domain::{
        account::{AccountId, AccountRules, PersonId, Use},
        time::UnixTime,
    },
    telemetry::Metrics,
};
use prost::Message as _;

use crate::busy::{
    Places, Process, PutMessage, Server,
    production::{Production, of_many, request},
};

/// More than answers of Redis are kept of for repeats, and fewer than there is room for in memory.
const MANY_PEOPLE: usize = 90_000;
const FEW_PEOPLE: usize = 500;
const LEAST_IN_MEMORY: f64 = 0.95;
const LEAST_IN_REDIS: f64 = 0.6;
const BINDINGS: usize = 1_000_000;

/// A stall of the machine is no answer to the question.
const REDIS: &str = r#"
[accounts.redis]
urls = ["redis://127.0.0.1:PORT"]
hash_key = { file = "DIR/hashes" }
budget = "1s"
on_store_failure = "deny"
"#;
const BARE: &str = r#"
[server]
listen = "127.0.0.1:0"
metrics_listen = "127.0.0.1:0"
identity = { local = "shop" }
[[instances]]
name = "main"
probe_interval = "off"
one_account_per_user = "MODE"
shared_secret = { file = "DIR/secret" }
[[callers]]
name = "shop"
[[callers.grants]]
instance = "main"
email_domains = ["*"]
groups = ["*"]
attributes = { "*" = "string" }
"#;

/// A Redis that keeps nothing, and its port, as soon as it answers; none if there is no such program.
fn redis(dir: &Path) -> Option<(Process, u16)> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string(), "--dir"]);
    let mut process = Process(command.arg(dir).stdout(Stdio::piped()).spawn().ok()?);
    let lines = BufReader::new(process.0.stdout.take().expect("it is piped")).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("Ready to accept connections")), "Redis starts");
    Some((process, port))
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

/// The ratios to the first, which has no guard.
#[expect(clippy::print_stdout, reason = "the result")]
fn compare(subjects: Vec<(&'static str, Server, PutMessage<'_>)>) -> Vec<(&'static str, f64)> {
    let (names, mut subjects): (Vec<_>, Vec<_>) =
        subjects.into_iter().map(|(name, server, message)| (name, (server, message))).unzip();
    let all = busy::compare(&mut subjects);
    let compared: Vec<_> = names.into_iter().zip(all.iter().map(|rounds| rounds.ratio(&all[0]))).collect();
    for ((name, ratio), rounds) in compared.iter().zip(&all) {
        println!("{name:15} {rounds}; {ratio:.2} of that without the guard");
    }
    compared
}

#[expect(clippy::print_stdout, reason = "the result")]
fn main() -> ExitCode {
    let bytes = memory();
    println!("a million bindings in memory take {} MB: {bytes} bytes each", bytes * BINDINGS as u64 / 1_000_000);
    let places = Places::take();
    let production = Production::prepare();
    let dir = production.dir.path().display().to_string();
    let redis = redis(production.dir.path());
    let next = AtomicUsize::default();
    let first = request(0).encode_to_vec();
    let start = |name, mode, accounts: &str, people| {
        let config = production.config(name, mode, accounts);
        let server = Server::start(&places, &["--config", &config], Some(&production.tls), &first);
        (name, server, of_many(people, &next))
    };
    let mut subjects = vec![start("off", "off", "", MANY_PEOPLE), start("memory", "enforce", "", MANY_PEOPLE)];
    if let Some((_, port)) = &redis {
        let store = REDIS.replace("PORT", &port.to_string()).replace("DIR", &dir);
        subjects.push(start("redis", "enforce", &store, MANY_PEOPLE));
        // Every one of few people gets thousands of tokens here.
        let unbounded = format!("tokens_per_hour = \"off\"\n{store}");
        subjects.push(start("redis, repeats", "enforce", &unbounded, FEW_PEOPLE));
    } else {
        println!("there is no redis-server on the PATH: what a Redis costs is left out");
    }
    println!("in production:");
    let mut is_good = true;
    for (name, ratio) in compare(subjects) {
        let least = match name {
            "memory" => LEAST_IN_MEMORY,
            "redis" => LEAST_IN_REDIS,
            _ => continue,
        };
        println!("bar: {name} at least {least}: {}", if ratio >= least { "met" } else { "MISSED" });
        is_good &= ratio >= least;
    }
    println!("without TLS, policy and audit log, for information:");
    let start = |name, mode: &str| {
        let file = production.dir.path().join("bare").with_extension(mode);
        fs::write(&file, BARE.replace("MODE", mode).replace("DIR", &dir)).expect("it can be written");
        let server = Server::start(&places, &["--config", &file.display().to_string()], None, &first);
        (name, server, of_many(MANY_PEOPLE, &next))
    };
    compare(vec![start("off", "off"), start("memory", "enforce")]);
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
