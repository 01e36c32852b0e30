//! What becomes of the service when it is asked for more than it can do: goodput, refusals, latency and memory at half of what it
//! can do, at all of it, twice and four times. `cargo bench --locked --bench overload`.
//!
//! The service is a process of its own with one worker thread (and on one CPU, where `taskset` is installed); the load is open:
//! requests are sent by the clock, whether earlier ones have been answered or not. Each is the largest that the service is
//! usually asked for, 50 groups and 50 attributes, encoded beforehand, so that the load costs less than the work.
//! Fails when the goodput at four times the capacity is below 80 % of the peak, or when a refusal came after the deadline.

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

use metabase_token_service::transport::proto::{GroupList, IssueMetabaseTokenRequest};
use prost::Message as _;
use tokio::{
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
const LEAST: f64 = 0.8;

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

fn large() -> Encoded {
    let request = IssueMetabaseTokenRequest {
        groups: Some(GroupList { names: (0..50).map(|index| format!("Region number {index}")).collect() }),
        attributes: (0..50).map(|index| (format!("attribute_{index}"), format!("value-{index:016}"))).collect(),
        ..request()
    };
    Encoded(request.encode_to_vec().into())
}

async fn ask(channel: Channel, message: Encoded) -> (Outcome, Duration) {
    let began = now();
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    let outcome = match timeout(DEADLINE, served::issue(channel, request)).await {
        Ok(Ok(())) => Outcome::Answered,
        Ok(Err(status)) if status.code() == Code::ResourceExhausted => Outcome::Shed,
        Ok(Err(status)) if matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled) => Outcome::Late,
        Ok(Err(_)) => Outcome::Failed,
        Err(_) => Outcome::Late,
    };
    (outcome, began.elapsed())
}

/// Requests a second, when each client asks again as soon as it is answered.
async fn capacity(channels: &[Channel], message: &Encoded) -> f64 {
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

async fn step(channels: &[Channel], message: &Encoded, rate: f64, factor: f64, served: &Served) -> Step {
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

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let served = Served::start("", true);
    let message = large();
    let channels: Vec<Channel> = (0..CONNECTIONS).map(|_| served.channel()).collect();
    served::issue(served.channel(), Request::new(message.clone())).await.expect("it is issued");
    let capacity = capacity(&channels, &message).await;
    println!("capacity with {} clients that wait for their answers: {capacity:.0} requests/s", CONNECTIONS * 8);
    println!("  load    sent/s goodput/s    shed/s  late/s fail/s    p99 ms shed p99    RSS KiB");
    let mut steps: Vec<Step> = Vec::new();
    for factor in FACTORS {
        let step = step(&channels, &message, capacity, factor, &served).await;
        print(&step);
        steps.push(step);
        sleep(DEADLINE).await;
    }
    let peak = steps.iter().map(|step| step.goodput).fold(0.0, f64::max);
    let Some(last) = steps.last() else { return ExitCode::FAILURE };
    let share = last.goodput / peak;
    let slowest = steps.iter().map(|step| step.slowest_shed).max().unwrap_or_default();
    println!("goodput at {:.0}x: {:.0} % of the peak (at least {:.0} %)", last.factor, share * 100.0, LEAST * 100.0);
    println!(
        "slowest refusal: {:.1} ms (deadline {:.0} ms)",
        slowest.as_secs_f64() * 1e3,
        DEADLINE.as_secs_f64() * 1e3
    );
    if last.sent_per_second < 0.95 * capacity * last.factor {
        println!("the load could not be sent as fast as that: this machine is too small or too busy");
    }
    if share >= LEAST && slowest <= DEADLINE { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
