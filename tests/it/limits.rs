//! Every limit on requests, each reached through a real connection.

use std::time::Duration;

use metabase_token_service::{
    config::Config,
    transport::proto::{CheckAuthStatusRequest, IssueMetabaseTokenRequest, IssueMetabaseTokenResponse},
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinHandle, time::timeout};
use tokio_stream::{StreamExt as _, once, pending};
use tonic::{Code, Request, Response, Status, client::Grpc, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::{
    frames::{PREFACE, SETTINGS, headers, next_frame},
    harness::{CONFIG, FOR_EVER, TestServer, ada, until},
    metrics::get,
};

const METHOD: &str = "metabase.token.v1.MetabaseTokenService/IssueMetabaseToken";
pub(crate) fn with_limits(limits: &str) -> String {
    CONFIG.replace("\n    [[instances]]", &format!("\n    limits = {{ {limits} }}\n    [[instances]]"))
}

pub(crate) fn request() -> IssueMetabaseTokenRequest {
    IssueMetabaseTokenRequest { user: Some(ada()), ..IssueMetabaseTokenRequest::default() }
}

pub(crate) async fn connect(server: &TestServer) -> Channel {
    Channel::from_shared(format!("http://{}", server.grpc)).unwrap().connect().await.unwrap()
}

/// A request that is never complete, and what it is answered.
pub(crate) async fn never_complete(
    channel: Channel,
) -> JoinHandle<Result<Response<IssueMetabaseTokenResponse>, Status>> {
    never_complete_at(channel, METHOD).await
}

async fn never_complete_at(
    channel: Channel,
    method: &'static str,
) -> JoinHandle<Result<Response<IssueMetabaseTokenResponse>, Status>> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    tokio::spawn(async move {
        let codec = tonic_prost::ProstCodec::<_, IssueMetabaseTokenResponse>::default();
        let path = format!("/{method}").parse().unwrap();
        grpc.client_streaming(Request::new(once(request()).chain(pending())), path, codec).await
    })
}

/// The value of a metric; 0 as long as it is not there.
pub(crate) async fn metric(server: &TestServer, name: &str) -> u64 {
    let metrics = get(&server.metrics, "/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("metabase_token_service_{name} ")));
    line.map_or(0, |value| value.trim_end_matches(".0").parse().unwrap())
}

/// Whether the server has done nothing about a request: it never left the client, or came after GOAWAY (RFC 9113, section 6.8).
/// Other libraries than tonic send such a request again without being told.
pub(crate) fn is_unprocessed(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let never_left = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled);
        let turned_away = error.downcast_ref::<h2::Error>().is_some_and(|error| {
            error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
        });
        if never_left || turned_away {
            return true;
        }
        source = error.source();
    }
    false
}

pub(crate) async fn wait_for(server: &TestServer, name: &str, value: u64) {
    until(format_args!("{name} {value}"), async || metric(server, name).await >= value).await;
}

#[tokio::test]
async fn beyond_the_room_in_flight_requests_are_shed_before_they_are_looked_at_and_health_is_not() {
    let text = with_limits("max_in_flight = 2, deadline = \"5m\", body_timeout = \"5m\"");
    let server = TestServer::with(&text).await;
    let channel = connect(&server).await;
    let held = [never_complete(channel.clone()).await, never_complete(channel.clone()).await];
    wait_for(&server, "rpcs_in_flight", 2).await;

    // On another connection: the room is that of the server.
    let other = connect(&server).await;
    let mut other_client = server.client.clone();
    let status = other_client.issue_metabase_token(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "OVERLOADED");
    assert!(status.get_details_retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    // Neither authenticated nor decoded: the same for who brings a forged identity and no message.
    let mut forged = Request::new(tokio_stream::empty::<IssueMetabaseTokenRequest>());
    forged.metadata_mut().insert("x-forwarded-client-cert", "URI=spiffe://example.org/forged".parse().unwrap());
    let mut grpc = Grpc::new(other.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<_, IssueMetabaseTokenResponse>::default();
    let answer = grpc.client_streaming(forged, format!("/{METHOD}").parse().unwrap(), codec).await;
    assert_eq!(answer.unwrap_err().get_details_error_info().unwrap().reason, "OVERLOADED");
    // What waits for Metabase has its own room.
    let status_check = other_client.check_auth_status(CheckAuthStatusRequest::default()).await;
    status_check.unwrap();
    HealthClient::new(other).check(HealthCheckRequest::default()).await.unwrap();

    assert_eq!(metric(&server, &format!("rpcs_shed_total{{method=\"{METHOD}\"}}")).await, 2);
    held.iter().for_each(JoinHandle::abort);
    let mut client = server.client.clone();
    let room_again = async { while client.issue_metabase_token(request()).await.is_err() {} };
    assert!(timeout(FOR_EVER, room_again).await.is_ok(), "the room of cancelled requests is not free again");
    wait_for(&server, "caller_rpcs_total{caller=\"shop\",code=\"CANCELLED\"}", 2).await;
    assert!(metric(&server, "caller_rpcs_total{caller=\"unknown\",code=\"RESOURCE_EXHAUSTED\"}").await >= 2);
}

#[tokio::test]
async fn a_request_that_takes_too_long_ends_at_the_callers_deadline_or_else_at_the_servers() {
    let server = TestServer::with(&with_limits("deadline = \"200ms\"")).await;
    let channel = connect(&server).await;
    let status = timeout(FOR_EVER, never_complete(channel.clone()).await).await.unwrap().unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.get_details_error_info().unwrap().reason, "DEADLINE_EXCEEDED");

    // The caller's own, which its library does not wait for here: the server's answer is what comes.
    let server = TestServer::with(&with_limits("deadline = \"5m\", body_timeout = \"5m\"")).await;
    let mut grpc = Grpc::new(connect(&server).await);
    grpc.ready().await.unwrap();
    let mut request = Request::new(once(request()).chain(pending()));
    request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let codec = tonic_prost::ProstCodec::<_, IssueMetabaseTokenResponse>::default();
    let answer = grpc.client_streaming(request, format!("/{METHOD}").parse().unwrap(), codec);
    let _ = timeout(FOR_EVER, answer).await.unwrap().unwrap_err();
    // Whichever of the two was first, the server has stopped working.
    wait_for(&server, &format!("rpc_duration_seconds_count{{method=\"{METHOD}\"}}"), 1).await;
    assert_eq!(metric(&server, "rpcs_in_flight").await, 0);
}

#[tokio::test]
async fn a_message_that_does_not_come_is_not_waited_for_and_one_caller_does_not_fill_the_room_with_them() {
    let server = TestServer::with(&with_limits("body_timeout = \"200ms\", deadline = \"5m\"")).await;
    let status = timeout(FOR_EVER, never_complete(connect(&server).await).await).await.unwrap().unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "REQUEST_UNFINISHED");
    // A probe that never ends its request is held to the same, and counts as nothing in flight.
    let health = connect(&server).await;
    let answer = never_complete_at(health, "grpc.health.v1.Health/Check").await;
    assert_eq!(metric(&server, "rpcs_in_flight").await, 0);
    assert_eq!(timeout(FOR_EVER, answer).await.unwrap().unwrap().unwrap_err().code(), Code::DeadlineExceeded);

    // 64 in flight, of which one caller has 16 unfinished.
    let server = TestServer::with(&with_limits("max_in_flight = 64, deadline = \"5m\", body_timeout = \"5m\"")).await;
    let channel = connect(&server).await;
    let mut held = Vec::new();
    for _ in 0..16 {
        held.push(never_complete(channel.clone()).await);
    }
    wait_for(&server, "rpcs_in_flight", 16).await;
    let status = timeout(FOR_EVER, never_complete(channel).await).await.unwrap().unwrap().unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "TOO_MANY_UNFINISHED");
    assert!(status.get_details_retry_info().is_some());
    // What is complete is answered, also of the same caller.
    server.client.clone().issue_metabase_token(request()).await.unwrap();
    held.iter().for_each(JoinHandle::abort);
    wait_for(&server, "caller_rpcs_total{caller=\"shop\",code=\"CANCELLED\"}", 16).await;
    let again = never_complete(connect(&server).await).await;
    wait_for(&server, "rpcs_in_flight", 1).await;
    assert!(!again.is_finished());
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_midst_of_a_request_counts_as_cancelled() {
    let server = TestServer::with(&with_limits("deadline = \"5m\", body_timeout = \"5m\"")).await;
    let cancelled = format!("rpcs_total{{method=\"{METHOD}\",code=\"CANCELLED\"}}");
    // Takes the request back.
    let rpc = never_complete(connect(&server).await).await;
    wait_for(&server, "rpcs_in_flight", 1).await;
    rpc.abort();
    wait_for(&server, &cancelled, 1).await;
    // Breaks the connection: a request with half a message, and then nothing.
    let mut stream = TcpStream::connect(&server.grpc).await.unwrap();
    let headers = headers(&format!("/{METHOD}"), 1);
    let data: &[u8] = &[0, 0, 6, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 99, 10];
    stream.write_all(&[PREFACE, SETTINGS, &headers, data].concat()).await.unwrap();
    wait_for(&server, "rpcs_in_flight", 1).await;
    drop(stream);
    wait_for(&server, &cancelled, 2).await;
    assert_eq!(metric(&server, "rpcs_in_flight").await, 0);
}

/// The trap: an answer before the end of the request makes h2 reset the stream; after enough of them it takes what still comes for
/// abuse, and closes the connection.
#[tokio::test]
async fn a_connection_on_which_much_is_refused_stays_open() {
    let server = TestServer::with(&CONFIG.replace("    identity = { local = \"shop\" }\n", "")).await;
    let mut stream = TcpStream::connect(&server.grpc).await.unwrap();
    stream.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    let ids: Vec<u32> = (0..200).map(|index| 2 * index + 1).collect();
    let ping: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let path = format!("/{METHOD}");
    let begun: Vec<u8> = ids.iter().flat_map(|id| headers(&path, *id)).collect();
    stream.write_all(&begun).await.unwrap();
    let mut answered = Vec::new();
    // Time for what the server would say too early.
    for _ in 0..20 {
        stream.write_all(ping).await.unwrap();
        loop {
            match next_frame(&mut stream).await {
                (6, 1, 0) => break,
                (kind, _, id) => assert!(![1, 3, 7].contains(&kind), "frame of type {kind} for stream {id}"),
            }
        }
    }
    // An empty message, which ends the request.
    let message = |id: &u32| [&[0, 0, 5, 0, 1][..], &id.to_be_bytes(), &[0; 5]].concat();
    stream.write_all(&ids.iter().flat_map(message).collect::<Vec<u8>>()).await.unwrap();
    while answered.len() < ids.len() {
        match next_frame(&mut stream).await {
            (1, flags, id) => {
                assert_eq!(flags & 1, 1, "a refusal is one frame");
                answered.push(id);
            }
            (kind, _, id) => assert!(![3, 7].contains(&kind), "frame of type {kind} for stream {id}"),
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, ids);
}

#[tokio::test]
async fn metadata_beyond_its_limit_is_refused() {
    let mut server = TestServer::start().await;
    let mut large = Request::new(request());
    large.metadata_mut().insert("x-large", "x".repeat(17 * 1024).parse().unwrap());
    server.client.issue_metabase_token(large).await.unwrap_err();
    server.client.issue_metabase_token(request()).await.unwrap();
}

#[test]
fn limits_out_of_range_are_refused_with_key_and_rule() {
    for (table, setting, rule) in [
        ("limits", "max_in_flight = 0", "must be a whole number from 1 to 1000000"),
        ("limits", "max_connections = 1000001", "must be a whole number from 1 to 1000000"),
        ("limits", "max_streams_per_connection = 0", "must be a whole number from 1 to 10000"),
        ("limits", "deadline = \"99ms\"", "must be a duration from \"100ms\" to \"5m\""),
        ("limits", "keepalive_interval = \"0s\"", "must be a duration from \"1s\" to \"1h\""),
        ("limits", "keepalive_timeout = \"soon\"", "must be a duration from \"1s\" to \"1h\""),
        ("limits", "idle_timeout = \"999ms\"", "must be a duration from \"1s\" to \"1day\", or \"off\""),
        ("limits", "max_connection_age = \"25h\"", "must be a duration from \"1s\" to \"1day\", or \"off\""),
        ("limits", "max_connection_age_grace = \"2h\"", "must be a duration from \"1s\" to \"1h\""),
        ("drain", "announce_delay = \"6m\"", "must be a duration from \"0s\" to \"5m\""),
        ("drain", "grace_period = \"0s\"", "must be a duration from \"1s\" to \"10m\""),
    ] {
        let text =
            format!("server.{table}.{setting}\n[[instances]]\nname = \"a\"\nshared_secret = {{ env = \"A\" }}\n");
        let errors = Config::parse(&text, "x.toml").unwrap_err().to_string();
        let key = setting.split(' ').next().unwrap();
        assert_eq!(errors, format!("x.toml:1: server.{table}.{key}: {rule}"), "{setting}");
    }
    let contradiction = "[server.limits]\nmax_connection_age = \"off\"\nmax_connection_age_grace = \"1s\"\n\
                         [[instances]]\nname = \"a\"\nshared_secret = { env = \"A\" }\n";
    let errors = Config::parse(contradiction, "x.toml").unwrap_err().to_string();
    assert!(errors.contains("server.limits.max_connection_age_grace: needs `max_connection_age`"), "{errors}");
}
