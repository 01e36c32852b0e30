//! Probes and reflection.

use std::time::Duration;

use metabase_token_service::{lifecycle::Stop, transport::proto};
use tokio::time::timeout;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::harness::{CONFIG, TestServer};

fn named(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn every_name_of_readiness_and_liveness_is_serving() {
    let server = TestServer::start().await;
    let mut health = HealthClient::new(server.channel.clone());
    for name in ["", "metabase.token.v1.MetabaseTokenService", "readiness", "liveness"] {
        let response = health.check(named(name)).await.unwrap().into_inner();
        assert_eq!(response.status(), ServingStatus::Serving, "{name:?}");
    }
    let status = health.check(named("other")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn watchers_see_the_drain_and_do_not_hold_it_up() {
    let server = TestServer::start().await;
    let mut health = HealthClient::new(server.channel.clone());
    let mut readiness = health.watch(named("readiness")).await.unwrap().into_inner();
    let mut next = async || {
        // Far beyond the grace period: a stream that is never ended fails the test instead of hanging it.
        let message = timeout(Duration::from_secs(30), readiness.message()).await.unwrap();
        message.unwrap().map(|response| response.status())
    };
    assert_eq!(next().await, Some(ServingStatus::Serving));
    server.stop.drain.cancel();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(next().await, None);
    server.ended().await.unwrap();
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_cleanly_if_nothing_is_in_flight() {
    let server = TestServer::start().await;
    let Stop { abort, .. } = server.stop.clone();
    abort.cancel();
    server.ended().await.unwrap();
}

#[tokio::test]
async fn reflection_answers_only_where_it_is_configured() {
    let list = || {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        tokio_stream::once(ServerReflectionRequest { host: String::new(), message_request })
    };
    let off = TestServer::start().await;
    let status = ServerReflectionClient::new(off.channel.clone()).server_reflection_info(list()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);

    let on = TestServer::with(&CONFIG.replace("[server]", "[server]\nreflection = true")).await;
    let mut client = ServerReflectionClient::new(on.channel.clone());
    let mut answers = client.server_reflection_info(list()).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    let own = proto::metabase_token_service_server::SERVICE_NAME;
    for name in [
        own,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ] {
        assert!(names.iter().any(|listed| listed == name), "{name} in {names:?}");
    }
}
