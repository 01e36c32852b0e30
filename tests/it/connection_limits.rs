//! Every limit on connections, each reached through a real one.

use std::time::Duration;

use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    frames::{PREFACE, SETTINGS, has_goaway, told_until_closed},
    harness::{CONFIG, FOR_EVER, TestServer},
    limits::{connect, is_unprocessed, metric, never_complete, request, wait_for, with_limits},
    pki::{TestCa, client, uri},
};

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once_and_probes_still_get_in() {
    let text = with_limits("max_connections = 1").replace("[server]", "[server]\nprobe_listen = \"127.0.0.1:0\"");
    let server = TestServer::with(&text).await;
    let mut only = server.client.clone();
    only.issue_metabase_token(request()).await.unwrap();
    let mut second = TcpStream::connect(&server.grpc).await.unwrap();
    assert_eq!(told_until_closed(&mut second).await, b"");
    let probe = Channel::from_shared(format!("http://{}", server.probe.as_ref().unwrap())).unwrap().connect_lazy();
    HealthClient::new(probe).check(HealthCheckRequest::default()).await.unwrap();
    only.issue_metabase_token(request()).await.unwrap();
    assert_eq!(metric(&server, "connections{listener=\"grpc\"}").await, 1);
    assert_eq!(metric(&server, "connections_refused_total{listener=\"grpc\"}").await, 1);
}

#[tokio::test]
async fn connections_without_an_rpc_are_asked_to_leave_and_their_room_is_free_again() {
    let server = TestServer::with(&with_limits("max_connections = 1, idle_timeout = \"1s\"")).await;
    for round in 1..=2 {
        let mut idle = TcpStream::connect(&server.grpc).await.unwrap();
        idle.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
        assert!(has_goaway(&told_until_closed(&mut idle).await));
        wait_for(&server, "connections_ended_total{listener=\"grpc\",reason=\"idle\"}", round).await;
    }
    // An RPC in flight keeps its connection, however long it takes.
    let text = with_limits("idle_timeout = \"1s\", deadline = \"2500ms\", body_timeout = \"5m\"");
    let server = TestServer::with(&text).await;
    let status = never_complete(connect(&server).await).await.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}

#[tokio::test]
async fn old_connections_are_asked_to_leave_without_failing_an_rpc() {
    let server = TestServer::with(&with_limits("max_connection_age = \"1s\"")).await;
    let mut client = server.client.clone();
    let ended = "connections_ended_total{listener=\"grpc\",reason=\"age\"}";
    let (mut asked, mut failed) = (0_u32, Vec::new());
    // One after another, over connections that come and go.
    let asking = async {
        while metric(&server, ended).await < 2 {
            for _ in 0..20 {
                asked += 1;
                failed.extend(client.issue_metabase_token(request()).await.err());
            }
        }
    };
    assert!(timeout(FOR_EVER, asking).await.is_ok(), "old connections stay");
    failed.retain(|status| !is_unprocessed(status));
    assert!(failed.is_empty(), "of {asked}: {failed:?}");
    // One that holds on is cut off after the grace period.
    let text = with_limits(
        "max_connection_age = \"1s\", max_connection_age_grace = \"1s\", deadline = \"5m\", body_timeout = \"5m\"",
    );
    let server = TestServer::with(&text).await;
    let rpc = never_complete(connect(&server).await).await;
    timeout(FOR_EVER, rpc).await.unwrap().unwrap().unwrap_err();
    wait_for(&server, ended, 1).await;
}

#[tokio::test]
async fn a_connection_has_so_many_requests_in_flight_and_the_next_one_waits_at_the_client() {
    let server =
        TestServer::with(&with_limits("max_streams_per_connection = 1, deadline = \"5m\", body_timeout = \"5m\""))
            .await;
    let channel = connect(&server).await;
    // Once the server's settings are known to the client.
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    let held = never_complete(channel.clone()).await;
    wait_for(&server, "rpcs_in_flight", 1).await;
    let mut health = HealthClient::new(channel);
    let mut second = Box::pin(health.check(HealthCheckRequest::default()));
    assert!(timeout(Duration::from_millis(300), &mut second).await.is_err(), "two at once");
    held.abort();
    timeout(FOR_EVER, second).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_answer_pings_is_cut_off() {
    let server = TestServer::with(&with_limits("keepalive_interval = \"1s\", keepalive_timeout = \"1s\"")).await;
    let mut frozen = TcpStream::connect(&server.grpc).await.unwrap();
    frozen.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    told_until_closed(&mut frozen).await;
}

#[tokio::test]
async fn handshakes_and_expiries_are_counted_and_told() {
    let ca = TestCa::new();
    let tls = ca.server_tls(&[]);
    let identity = "[server.identity]\nmtls = true\n";
    let text = CONFIG
        .replace("    identity = { local = \"shop\" }\n", "")
        .replace("\n    [[instances]]", &format!("\n{tls}{identity}\n    [[instances]]"))
        .replace("name = \"shop\"", "name = \"shop\"\nidentities = [\"spiffe://example.org/shop\"]");
    let server = TestServer::with(&text).await;
    let connect = async |issued: Option<&_>| {
        let endpoint = Channel::from_shared(format!("https://{}", server.grpc)).unwrap();
        let channel = endpoint.tls_config(ca.client_tls(issued)).unwrap().connect_lazy();
        HealthClient::new(channel).check(HealthCheckRequest::default()).await
    };
    connect(Some(&ca.issue(&client(vec![uri("spiffe://example.org/shop")])))).await.unwrap();
    connect(None).await.unwrap_err();
    wait_for(&server, "tls_handshakes_total{outcome=\"succeeded\"}", 1).await;
    wait_for(&server, "tls_handshakes_total{outcome=\"failed\"}", 1).await;
    // 2099-01-01, as the test's authority issues.
    for file in ["certificate", "client_ca"] {
        let expiry = metric(&server, &format!("certificate_expiry_timestamp_seconds{{file=\"{file}\"}}")).await;
        assert_eq!(expiry, 4_070_908_800, "{file}");
    }
}
