//! What becomes of the service when it is asked for more than it can do: goodput, refusals, latency and memory at half of what it
//! can do, at all of it, twice and four times. `cargo bench --locked --bench overload`.
//!
//! The load is open: requests are sent by the clock, whether earlier ones have been answered or not. Two limits are met. First
//! `max_in_flight`, by status checks that wait 50 ms for Metabase: fails when the goodput at four times the capacity is below 80 % of the
//! peak, or when a refusal came after the deadline. Then, for information, the CPU, by issuing: the service is a process of its own
//! with one worker thread (and on one CPU, where `taskset` is installed). There every refusal takes its share of the same CPU, and
//! the load's own process may be the slower one.

#[path = "served/mod.rs"]
mod served;

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use metabase_token_service::transport::proto::{
    CheckAuthStatusRequest, GroupList, IssueMetabaseTokenRequest, check_auth_status_request::Credential,
};
use prost::Message as _;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tonic::{Code, Request, transport::Channel};

use crate::served::{Encoded, Served, now, percentile, request};

const CONNECTIONS: usize = 8;
const DEADLINE: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(2);
const FACTORS: [f64; 4] = [0.5, 1.0, 2.0, 4.0];
const METABASE_TAKES: Duration = Duration::from_millis(50);
const LEAST: f64 = 0.8;

/// An RPC and what is sent to it.
type Work = (&'static str, Encoded);

/// What became of one request, and after how long.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    Shed,
    Late,
    Failed,
}

struct Step {
    factor: f64,
    sent_per_second: f64,
    goodput: f64,
    shed: f64,
    late: f64,
    failed: f64,
    p99: Duration,
    p99_shed: Duration,
    slowest_shed: Duration,
    rss_kib: u64,
}

fn large() -> Work {
    let request = IssueMetabaseTokenRequest {
        groups: Some(GroupList { names: (0..50).map(|index| format!("Region number {index}")).collect() }),
        attributes: (0..50).map(|index| (format!("attribute_{index}"), format!("value-{index:016}"))).collect(),
        ..request()
    };
    (served::ISSUE, Encoded(request.encode_to_vec().into()))
}

fn session_check() -> Work {
    let credential = Some(Credential::SessionId("00000000-0000-4000-8000-000000000000".to_owned()));
    let request = CheckAuthStatusRequest { credential, ..CheckAuthStatusRequest::default() };
    let rpc = "/metabase.token.v1.MetabaseTokenService/CheckAuthStatus";
    (rpc, Encoded(request.encode_to_vec().into()))
}

/// A Metabase that takes its time to say no. Its URL.
async fn slow_metabase() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let refuse = || async {
        sleep(METABASE_TAKES).await;
        StatusCode::UNAUTHORIZED
    };
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(refuse)).into_future());
    format!("http://{address}")
}

async fn ask(channel: Channel, (rpc, message): Work) -> (Outcome, Duration) {
    let began = now();
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    let outcome = match timeout(DEADLINE, served::ask(channel, rpc, request)).await {
        Ok(Ok(())) => Outcome::Answered,
        Ok(Err(status)) if status.code() == Code::ResourceExhausted => Outcome::Shed,
        Ok(Err(status)) if matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled) => Outcome::Late,
        Ok(Err(_)) => Outcome::Failed,
        Err(_) => Outcome::Late,
    };
    (outcome, began.elapsed())
}

/// Requests a second, when each client asks again as soon as it is answered.
async fn capacity(channels: &[Channel], message: &Work) -> f64 {
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for index in 0..CONNECTIONS * 8 {
        let (channel, message, answered) =
            (channels[index % CONNECTIONS].clone(), message.clone(), Arc::clone(&answered));
        clients.spawn(async move {
            loop {
                if ask(channel.clone(), message.clone()).await.0 == Outcome::Answered {
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    sleep(Duration::from_secs(1)).await;
    let before = answered.load(Ordering::Relaxed);
    sleep(STEP).await;
    per_second(answered.load(Ordering::Relaxed) - before, STEP)
}

async fn step(channels: &[Channel], message: &Work, rate: f64, factor: f64, served: &Served) -> Step {
    let (done, mut outcomes) = mpsc::unbounded_channel();
    let began = now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = 0_usize;
    while began.elapsed() < STEP {
        ticks.tick().await;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of requests")]
        let due = (rate * factor * began.elapsed().as_secs_f64()) as usize;
        while sent < due {
            let (channel, message, done) = (channels[sent % CONNECTIONS].clone(), message.clone(), done.clone());
            tokio::spawn(async move { done.send(ask(channel, message).await) });
            sent += 1;
        }
    }
    let took = began.elapsed();
    let rss_kib = served.rss_kib();
    drop(done);
    let mut all = Vec::with_capacity(sent);
    while let Some(outcome) = outcomes.recv().await {
        all.push(outcome);
    }
    let of = |kind| -> Vec<Duration> { all.iter().filter(|(own, _)| *own == kind).map(|(_, took)| *took).collect() };
    let count = |kind| per_second(of(kind).len(), took);
    Step {
        factor,
        sent_per_second: per_second(sent, took),
        goodput: count(Outcome::Answered),
        shed: count(Outcome::Shed),
        late: count(Outcome::Late),
        failed: count(Outcome::Failed),
        p99: percentile(of(Outcome::Answered), 99),
        p99_shed: percentile(of(Outcome::Shed), 99),
        slowest_shed: of(Outcome::Shed).into_iter().max().unwrap_or_default(),
        rss_kib,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of requests")]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn print(step: &Step) {
    let Step { factor, sent_per_second, goodput, shed, late, failed, p99, p99_shed, rss_kib, .. } = step;
    println!(
        "{factor:>5.1}x {sent_per_second:>9.0} {goodput:>9.0} {shed:>9.0} {late:>7.0} {failed:>7.0} {:>9.1} {:>9.1} {rss_kib:>9}",
        p99.as_secs_f64() * 1e3,
        p99_shed.as_secs_f64() * 1e3,
    );
}

/// The share of the peak that is left at the highest load, and the slowest refusal.
#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
async fn curve(what: &str, served: &Served, message: &Work) -> (f64, Duration) {
    let channels: Vec<Channel> = (0..CONNECTIONS).map(|_| served.channel()).collect();
    served::ask(served.channel(), message.0, Request::new(message.1.clone())).await.expect("it is answered");
    let capacity = capacity(&channels, message).await;
    println!("{what}: {capacity:.0} requests/s with {} clients that wait for their answers", CONNECTIONS * 8);
    println!("  load    sent/s goodput/s    shed/s  late/s  fail/s    p99 ms  shed p99   RSS KiB");
    let mut steps: Vec<Step> = Vec::new();
    for factor in FACTORS {
        let step = step(&channels, message, capacity, factor, served).await;
        print(&step);
        steps.push(step);
        sleep(DEADLINE).await;
    }
    let peak = steps.iter().map(|step| step.goodput).fold(0.0, f64::max);
    let share = steps.last().map_or(0.0, |last| last.goodput / peak);
    let slowest = steps.iter().map(|step| step.slowest_shed).max().unwrap_or_default();
    println!("goodput at the highest load: {:.0} % of the peak; slowest refusal: {slowest:.1?}", share * 100.0);
    (share, slowest)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let metabase = slow_metabase().await;
    let served = Served::start("max_in_flight = 20", &metabase, true);
    let (share, slowest) = curve("max_in_flight = 20, 50 ms each", &served, &session_check()).await;
    drop(served);
    let served = Served::start("max_in_flight = 64", &metabase, true);
    curve("one CPU", &served, &large()).await;
    println!("bar: at max_in_flight, {:.0} % of the peak and no refusal after {DEADLINE:?}", LEAST * 100.0);
    if share >= LEAST && slowest <= DEADLINE { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
