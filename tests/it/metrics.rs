//! The metrics port.

use std::io::{Read as _, Write as _};

use metabase_token_service::transport::proto::IssueMetabaseTokenRequest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{FOR_EVER, TestServer, ada};

pub(crate) async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

/// The same from a test that need not be asynchronous about it.
pub(crate) fn get_blocking(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[tokio::test]
async fn rpcs_and_decisions_are_counted_and_no_request_adds_a_label() {
    let mut server = TestServer::start().await;
    let good = IssueMetabaseTokenRequest { user: Some(ada()), ..IssueMetabaseTokenRequest::default() };
    server.client.issue_metabase_token(good).await.unwrap();
    server.client.issue_metabase_token(IssueMetabaseTokenRequest::default()).await.unwrap_err();
    let mut grpc = tonic::client::Grpc::new(server.channel.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let path = http::uri::PathAndQuery::from_static("/unknown.Service/Method");
    grpc.unary(tonic::Request::new(()), path, codec).await.unwrap_err();

    let metrics = get(&server.metrics, "/metrics").await;
    let method = "method=\"metabase.token.v1.MetabaseTokenService/IssueMetabaseToken\"";
    for line in [
        format!("metabase_token_service_rpcs_total{{{method},code=\"OK\"}} 1"),
        format!("metabase_token_service_rpcs_total{{{method},code=\"INVALID_ARGUMENT\"}} 1"),
        "metabase_token_service_rpcs_total{method=\"other\",code=\"UNIMPLEMENTED\"} 1".to_owned(),
        "metabase_token_service_rpcs_in_flight 0".to_owned(),
        "metabase_token_service_decisions_total{outcome=\"issued\",reason=\"\"} 1".to_owned(),
        "metabase_token_service_decisions_total{outcome=\"refused\",reason=\"INVALID_ARGUMENT\"} 1".to_owned(),
        format!("metabase_token_service_rpc_duration_seconds_count{{{method}}} 2"),
        format!("metabase_token_service_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(metrics.lines().any(|own| own == line), "{line} in\n{metrics}");
    }
    assert!(metrics.contains("application/openmetrics-text"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    assert!(get(&server.metrics, "/other").await.starts_with("HTTP/1.1 404"));
}

/// The attack: whoever reaches the port holds as many connections as the process may have files.
#[tokio::test]
async fn silent_connections_to_the_metrics_port_are_few_and_do_not_last() {
    let server = TestServer::start().await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(&server.metrics).await.unwrap());
    }
    // The first of them have to be closed before the last are even accepted.
    let mut byte = [0];
    for stream in &mut silent {
        let read = timeout(FOR_EVER, stream.read(&mut byte)).await.expect("it stays open");
        assert_eq!(read.unwrap_or(0), 0);
    }
}
