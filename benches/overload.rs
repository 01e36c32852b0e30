//! What becomes of the service when it is asked for more than it can do: goodput, refusals, latency and memory at half of what it
//! can do, at all of it, twice and four times. `cargo bench --locked --bench overload`.
//!
//! Three times. Where work waits (`max_in_flight`, by status checks that wait 50 ms for Metabase), requests are sent by the clock,
//! whether earlier ones have been answered or not. Where the CPU is the limit (by issuing, the service having one worker thread, and one
//! CPU where `taskset` is installed), first by clients that wait for their answer and then ask again at once, a refusal or not:
//! up to four times as many as there is room for. Fails when in one of these the goodput at the highest load is below 80 % of the
//! peak, or a refusal came after the deadline. At last, for information, the CPU again with requests by the clock: there they wait at the
//! client for room on its connections, the oldest first, until there is no time left to answer them.

#[path = "busy/by_the_clock.rs"]
mod by_the_clock;
#[path = "busy/raw_client.rs"]
mod raw_client;
#[path = "served/mod.rs"]
mod served;

use std::{process::ExitCode, time::Duration};

use http::StatusCode;
use metabase_token_service::transport::proto::{
    CheckAuthStatusRequest, GroupList, IssueMetabaseTokenRequest, check_auth_status_request::Credential,
};
use prost::Message as _;
use rustix::thread::{sched_getaffinity, sched_setaffinity};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tonic::{Code, Request, transport::Channel};

use crate::{
    raw_client::RawClient,
    served::{Encoded, Served, now, percentile, request},
};

const CONNECTIONS: usize = 8;
/// On a connection, as gRPC's libraries have it.
const MOST_OPEN: usize = 100;
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

/// What so many clients come to that ask again as soon as they are answered, also when they are refused.
struct Closed {
    goodput: f64,
    shed: f64,
    slowest_shed: Duration,
}

async fn closed(channels: &[Channel], message: &Work, clients: usize) -> Closed {
    let (done, mut outcomes) = mpsc::unbounded_channel();
    let mut asking = JoinSet::new();
    for index in 0..clients {
        let (channel, message, done) = (channels[index % CONNECTIONS].clone(), message.clone(), done.clone());
        asking.spawn(async move { while done.send(ask(channel.clone(), message.clone()).await).is_ok() {} });
    }
    sleep(Duration::from_secs(1)).await;
    while outcomes.try_recv().is_ok() {}
    sleep(STEP).await;
    let (mut answered, mut shed) = (0, Vec::new());
    while let Ok((outcome, took)) = outcomes.try_recv() {
        answered += usize::from(outcome == Outcome::Answered);
        shed.extend((outcome == Outcome::Shed).then_some(took));
    }
    let slowest_shed = shed.iter().max().copied().unwrap_or_default();
    Closed { goodput: per_second(answered, STEP), shed: per_second(shed.len(), STEP), slowest_shed }
}

/// The share of the peak that is left with four times the clients that there is room for, and the slowest refusal.
#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
async fn closed_curve(what: &str, served: &Served, message: &Work, room: usize) -> (f64, Duration) {
    let channels: Vec<Channel> = (0..CONNECTIONS).map(|_| served.channel()).collect();
    println!("{what}: clients that ask again at once, whatever the answer");
    println!("clients goodput/s    shed/s   RSS KiB");
    let mut all = Vec::new();
    for clients in [room / 2, room, room * 2, room * 4] {
        let found = closed(&channels, message, clients).await;
        println!("{clients:>7} {:>9.0} {:>9.0} {:>9}", found.goodput, found.shed, served.rss_kib());
        all.push(found);
    }
    let peak = all.iter().map(|found| found.goodput).fold(0.0, f64::max);
    let share = all.last().map_or(0.0, |last| last.goodput / peak);
    let slowest = all.iter().map(|found| found.slowest_shed).max().unwrap_or_default();
    println!("goodput of the most clients: {:.0} % of the peak; slowest refusal: {slowest:.1?}", share * 100.0);
    (share, slowest)
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
    let capacity = closed(&channels, message, CONNECTIONS * 8).await.goodput;
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

/// By the clock, from a client on another CPU that costs next to nothing.
#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn clock_curve(what: &str, served: &Served, Encoded(message): &Encoded) {
    let mut cpus = sched_getaffinity(None).expect("Linux tells");
    if cpus.count() > 1 {
        cpus.unset(0);
        sched_setaffinity(None, &cpus).expect("CPUs of its own");
    }
    let address = served.address.parse().expect("an address");
    let connect = |_| RawClient::connect(address, false, None, &[("grpc-timeout", "1S")], message);
    let mut clients: Vec<_> = (0..CONNECTIONS).map(connect).collect();
    let (began, patience) = (now(), Duration::from_mins(1));
    let all = by_the_clock::ask(&mut clients, 8, 100_000.0, Duration::from_secs(1), patience, message);
    let capacity = per_second(all.answered.len(), began.elapsed());
    println!("{what}: {capacity:.0} requests/s with {} on their way", CONNECTIONS * 8);
    println!("  load goodput/s    shed/s  late/s unsent/s    p99 ms   RSS KiB");
    let mut all = Vec::new();
    for factor in FACTORS {
        let found = by_the_clock::ask(&mut clients, MOST_OPEN, capacity * factor, STEP, DEADLINE, message);
        let counts = [found.answered.len(), found.refused.len(), found.late, found.unsent];
        let [goodput, shed, late, unsent] = counts.map(|count| per_second(count, STEP));
        let p99 = percentile(found.answered, 99).as_secs_f64() * 1e3;
        let rss = served.rss_kib();
        println!("{factor:>5.1}x {goodput:>9.0} {shed:>9.0} {late:>7.0} {unsent:>8.0} {p99:>9.1} {rss:>9}");
        all.push(goodput);
    }
    let (last, peak) = (all.last().copied().unwrap_or_default(), all.iter().copied().fold(0.0, f64::max));
    println!("goodput at the highest load: {:.0} % of the peak; no connection was ended", last / peak * 100.0);
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let metabase = slow_metabase().await;
    let served = Served::start("max_in_flight = 20", &metabase, true);
    let (share, slowest) = curve("max_in_flight = 20, 50 ms each", &served, &session_check()).await;
    drop(served);
    let served = Served::start("max_in_flight = 16", &metabase, true);
    let (closed_share, closed_slowest) = closed_curve("one CPU, max_in_flight = 16", &served, &large(), 16).await;
    drop(served);
    let served = Served::start("", &metabase, true);
    clock_curve("one CPU", &served, &large().1);
    println!("bar: of the first two, {:.0} % of the peak and no refusal after {DEADLINE:?}", LEAST * 100.0);
    if share.min(closed_share) >= LEAST && slowest.max(closed_slowest) <= DEADLINE {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
