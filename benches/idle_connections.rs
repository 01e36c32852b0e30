//! What 10,000 connections without a request cost: memory of each, and what they do to the latency of an issue on another
//! connection. `cargo bench --locked --bench idle_connections`. Both ends are on this machine, without TLS; the process of each end
//! needs as many open files, so the hard limit (`ulimit -Hn`) has to be above 10,100. Fails when the connections do not all stay open, or when
//! half of the issues take a tenth longer with them than in the slowest round without them, before or after.

#[path = "served/mod.rs"]
mod served;

use std::{os::unix::process::CommandExt as _, process::Command, process::ExitCode, time::Duration};

use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Request, transport::Channel};

use crate::served::{Encoded, Served, now, percentile, request};

const CONNECTIONS: usize = 10_000;
const ISSUES: usize = 5_000;
const ROUNDS: usize = 3;
const NOISE: f64 = 1.1;
/// The client's beginning of HTTP/2 and empty settings.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const LIMITS: &str =
    "max_connections = 10100, keepalive_interval = \"1h\", idle_timeout = \"off\", max_connection_age = \"off\"";

/// A connection that has heard from the server.
async fn connect(address: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(HELLO).await?;
    stream.read_exact(&mut [0; 9]).await?;
    Ok(stream)
}

/// Of issues one after another: half of them take no longer, and 99 of 100.
async fn latency(channel: &Channel) -> (Duration, Duration) {
    let message = Encoded(request().encode_to_vec().into());
    let mut took = Vec::with_capacity(ISSUES);
    for _ in 0..ISSUES {
        let began = now();
        served::ask(channel.clone(), served::ISSUE, Request::new(message.clone())).await.expect("it is issued");
        took.push(began.elapsed());
    }
    (percentile(took.clone(), 50), percentile(took, 99))
}

/// Rounds of [`latency`], after one that does not count; those with the least and the most of the half.
async fn latencies(channel: &Channel) -> [(Duration, Duration); 2] {
    latency(channel).await;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        rounds.push(latency(channel).await);
    }
    rounds.sort_unstable();
    [rounds[0], rounds[ROUNDS - 1]]
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]
async fn measure() -> ExitCode {
    let served = Served::start(LIMITS, "http://localhost:3000", false);
    let channel = served.channel();
    let without = latencies(&channel).await;
    let before = served.rss_kib();
    let mut connections = Vec::with_capacity(CONNECTIONS);
    let began = now();
    for _ in 0..CONNECTIONS {
        match connect(&served.address).await {
            Ok(connection) => connections.push(connection),
            Err(error) => {
                eprintln!("only {} connections: {error}", connections.len());
                return ExitCode::FAILURE;
            }
        }
    }
    let took = began.elapsed();
    let after = served.rss_kib();
    let with = latencies(&channel).await;
    let mut closed = 0;
    for connection in &mut connections {
        // What the server still said, such as the acknowledgement of the settings; then nothing.
        while let Ok(read) = timeout(Duration::ZERO, connection.read(&mut [0; 512])).await {
            if matches!(read, Ok(0) | Err(_)) {
                closed += 1;
                break;
            }
        }
    }
    println!("{CONNECTIONS} idle connections, opened in {took:.1?}, {closed} closed by the service");
    println!("memory: {before} KiB before, {after} KiB with them: {:.1} KiB each", each(after.saturating_sub(before)));
    drop(connections);
    let afterwards = latencies(&channel).await;
    for (what, [least, most]) in [("before", without), ("with them", with), ("afterwards", afterwards)] {
        println!(
            "issue {what:10} p50 {:.1?} to {:.1?}, their p99 {:.1?} and {:.1?} ({ROUNDS} rounds of {ISSUES})",
            least.0, most.0, least.1, most.1
        );
    }
    let ratio = with[0].0.as_secs_f64() / without[1].0.max(afterwards[1].0).as_secs_f64();
    println!("p50 with them : slowest without: {ratio:.2}; at most {NOISE} is noise");
    if closed == 0 && ratio <= NOISE { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::cast_precision_loss, reason = "a count of KiB")]
fn each(kib: u64) -> f64 {
    kib as f64 / CONNECTIONS as f64
}

#[expect(clippy::print_stderr, reason = "a benchmark prints its figures")]
fn main() -> ExitCode {
    const RAISED: &str = "--raised";
    if !std::env::args().any(|argument| argument == RAISED) {
        // The limit of open files is a process's own, and a shell can raise it for the process that it becomes.
        let this = std::env::current_exe().expect("the system tells");
        let raise = "ulimit -n \"$(ulimit -Hn)\" && exec \"$0\" \"$1\"";
        let error = Command::new("sh").args(["-c", raise]).arg(this).arg(RAISED).exec();
        eprintln!("sh cannot be started: {error}");
        return ExitCode::FAILURE;
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads can be started")
        .block_on(measure())
}
