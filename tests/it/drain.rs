//! The drain: who is still answered, and what clients of two replicas notice when one of them is told to stop.

use std::{
    io,
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use metabase_token_service::transport::proto::metabase_token_service_client::MetabaseTokenServiceClient;
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::timeout,
};
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{
    frames::{PREFACE, SETTINGS, has_goaway, told_until_closed},
    harness::{CONFIG, FOR_EVER, SECRET, Served, TestServer, config_dir, program, until},
    limits::{connect, is_unprocessed, never_complete, request, with_limits},
    metrics::get,
};

fn with_drain(text: &str, drain: &str) -> String {
    text.replace("announce_delay = \"0s\"", drain).replace("[server]", "[server]\nprobe_listen = \"127.0.0.1:0\"")
}

async fn told(address: &str, service: &str) -> ServingStatus {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(channel).check(request).await.unwrap().into_inner().status()
}

/// On new connections, as probes come.
async fn assert_alive_and_not_ready(server: &TestServer) {
    for address in [&server.grpc, server.probe.as_ref().unwrap()] {
        let not_ready = async { while told(address, "readiness").await != ServingStatus::NotServing {} };
        assert!(timeout(FOR_EVER, not_ready).await.is_ok(), "{address} stays ready");
        assert_eq!(told(address, "liveness").await, ServingStatus::Serving);
    }
    assert!(get(&server.metrics, "/metrics").await.contains("# EOF"));
}

#[tokio::test]
async fn between_the_announcement_and_goaway_everything_is_answered() {
    let server = TestServer::with(&with_drain(CONFIG, "announce_delay = \"5m\"")).await;
    let mut existing = MetabaseTokenServiceClient::new(connect(&server).await);
    existing.issue_metabase_token(request()).await.unwrap();
    server.stop.drain.cancel();
    assert_alive_and_not_ready(&server).await;
    existing.issue_metabase_token(request()).await.unwrap();
    MetabaseTokenServiceClient::new(connect(&server).await).issue_metabase_token(request()).await.unwrap();
    // Nothing is in flight, so a second signal cuts nothing off.
    server.stop.abort.cancel();
    server.ended().await.unwrap();
}

#[tokio::test]
async fn a_second_signal_that_cuts_something_off_is_no_clean_end() {
    let text = with_drain(&with_limits("deadline = \"5m\", body_timeout = \"5m\""), "announce_delay = \"5m\"");
    let server = TestServer::with(&text).await;
    let _held = never_complete(connect(&server).await).await;
    let is_in_flight = async || get(&server.metrics, "/metrics").await.contains("rpcs_in_flight 1\n");
    until("an RPC in flight", is_in_flight).await;
    server.stop.drain.cancel();
    server.stop.abort.cancel();
    assert!(server.ended().await.unwrap_err().to_string().contains("second signal"));
}

#[tokio::test]
async fn after_goaway_probes_are_answered_until_what_is_in_flight_is_finished() {
    let text = with_drain(
        &with_limits("deadline = \"5m\", body_timeout = \"5m\""),
        "announce_delay = \"0s\", grace_period = \"10m\"",
    );
    let server = TestServer::with(&text).await;
    let held = never_complete(connect(&server).await).await;
    let mut idle = TcpStream::connect(&server.grpc).await.unwrap();
    idle.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    let is_in_flight = async || get(&server.metrics, "/metrics").await.contains("rpcs_in_flight 1\n");
    until("an RPC in flight", is_in_flight).await;
    server.stop.drain.cancel();
    assert!(has_goaway(&told_until_closed(&mut idle).await));
    assert_alive_and_not_ready(&server).await;
    // Who watches does not hold it up either.
    let mut watching = HealthClient::new(connect(&server).await);
    let mut watched = watching.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    held.abort();
    timeout(FOR_EVER, server.ended()).await.unwrap().unwrap();
    while let Ok(Some(_)) = watched.message().await {}
}

#[tokio::test]
async fn a_second_signal_ends_the_announcement_too() {
    let dir = config_dir(&with_drain(CONFIG, "announce_delay = \"5m\""), SECRET);
    let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
    served.signal("-TERM");
    let not_ready = async { while told(served.address(), "").await != ServingStatus::NotServing {} };
    assert!(timeout(FOR_EVER, not_ready).await.is_ok());
    served.signal("-TERM");
    let (status, _, log) = spawn_blocking(|| served.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains(" ERROR "), "{log}");
}

/// A real server process.
struct Replica {
    served: Served,
    _dir: TempDir,
}

impl Replica {
    fn start(announce_delay: &str) -> Self {
        let text = CONFIG.replace("announce_delay = \"0s\"", &format!("announce_delay = \"{announce_delay}\""));
        let dir = config_dir(&text, SECRET);
        let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
        Self { served, _dir: dir }
    }

    fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.served.address())).unwrap().connect_lazy()
    }

    async fn stop(self) -> (ExitStatus, String) {
        self.served.signal("-TERM");
        let (status, _, log) = spawn_blocking(|| self.served.wait()).await.unwrap();
        (status, log)
    }
}

/// What all clients together have met with.
#[derive(Default)]
struct Outcomes {
    answered: AtomicUsize,
    sent_again: AtomicUsize,
    is_over: AtomicBool,
}

/// One replica, as a client sees it.
#[derive(Clone)]
struct Target {
    client: MetabaseTokenServiceClient<Channel>,
    /// By its own word (`grpc.health.v1.Health/Watch`).
    is_ready: Arc<AtomicBool>,
}

impl Target {
    async fn watched(replica: &Replica) -> Self {
        let channel = replica.channel();
        let target = Self {
            client: MetabaseTokenServiceClient::new(channel.clone()),
            is_ready: Arc::new(AtomicBool::new(true)),
        };
        let request = HealthCheckRequest { service: "metabase.token.v1.MetabaseTokenService".to_owned() };
        let mut words = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
        let is_ready = Arc::clone(&target.is_ready);
        tokio::spawn(async move {
            while let Ok(Some(word)) = words.message().await {
                is_ready.store(word.status() == ServingStatus::Serving, Ordering::Relaxed);
            }
            is_ready.store(false, Ordering::Relaxed);
        });
        target
    }
}

/// A client with health checks (as gRPC's `healthCheckConfig` makes them): one attempt at a replica that says it is ready.
async fn watching_client(targets: [Target; 2], outcomes: Arc<Outcomes>) -> Result<(), Status> {
    for turn in 0_usize.. {
        if outcomes.is_over.load(Ordering::Relaxed) {
            break;
        }
        let order = [turn % 2, (turn + 1) % 2].map(|index| &targets[index]);
        let target = order.into_iter().find(|target| target.is_ready.load(Ordering::Relaxed)).expect("one is ready");
        target.client.clone().issue_metabase_token(request()).await?;
        outcomes.answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Whether the connection broke. That is UNAVAILABLE to every gRPC library but tonic, which says UNKNOWN. It happens to whoever connects
/// in the very moment in which the listener is closed: the system has accepted the connection, and nobody ever will.
fn is_broken_off(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset) {
            return true;
        }
        source = error.source();
    }
    false
}

/// A client with gRPC's usual retry policy: at most four attempts, the next one at the other replica, after UNAVAILABLE. What the
/// server has done nothing about is sent again as well.
async fn retrying_client(channels: [Channel; 2], outcomes: Arc<Outcomes>) -> Result<(), Status> {
    let mut clients = channels.map(MetabaseTokenServiceClient::new);
    while !outcomes.is_over.load(Ordering::Relaxed) {
        let mut attempts = 1;
        while let Err(status) = clients[0].issue_metabase_token(request()).await {
            if attempts == 4
                || !(status.code() == Code::Unavailable || is_unprocessed(&status) || is_broken_off(&status))
            {
                return Err(status);
            }
            attempts += 1;
            outcomes.sent_again.fetch_add(1, Ordering::Relaxed);
            clients.swap(0, 1);
        }
        outcomes.answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Stops one of two replicas in the midst of it, and goes on for a while at the other.
async fn stop_under_load(stopping: Replica, mut clients: JoinSet<Result<(), Status>>, outcomes: &Outcomes) {
    let mut more = async |count: usize| {
        let enough = outcomes.answered.load(Ordering::Relaxed) + count;
        let answered = async {
            while outcomes.answered.load(Ordering::Relaxed) < enough {
                if let Some(ended) = clients.try_join_next() {
                    panic!("a client has ended: {ended:?}");
                }
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(FOR_EVER, answered).await.is_ok(), "clients are not answered any more");
    };
    more(500).await;
    let stopping: JoinHandle<_> = tokio::spawn(stopping.stop());
    let (status, log) = timeout(FOR_EVER, stopping).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    more(500).await;
    outcomes.is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_watch_health_notice_nothing_without_any_retry() {
    let replicas = [Replica::start("1s"), Replica::start("1s")];
    let outcomes = Arc::new(Outcomes::default());
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let targets = [Target::watched(&replicas[0]).await, Target::watched(&replicas[1]).await];
        clients.spawn(watching_client(targets, Arc::clone(&outcomes)));
    }
    let [stopping, _staying] = replicas;
    stop_under_load(stopping, clients, &outcomes).await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "tells how many retries it takes")]
async fn clients_that_retry_lose_nothing_even_without_an_announcement() {
    let replicas = [Replica::start("0s"), Replica::start("0s")];
    let outcomes = Arc::new(Outcomes::default());
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        clients.spawn(retrying_client(replicas.each_ref().map(Replica::channel), Arc::clone(&outcomes)));
    }
    let [stopping, _staying] = replicas;
    stop_under_load(stopping, clients, &outcomes).await;
    let [answered, again] = [&outcomes.answered, &outcomes.sent_again].map(|count| count.load(Ordering::Relaxed));
    println!("{answered} RPCs of four clients answered, none failed, {again} sent again");
}
