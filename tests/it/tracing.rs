//! Spans at a collector, in the trace of the caller; and identifiers of requests.

use std::sync::{Arc, Mutex};

use metabase_token_service::transport::proto::{
    IssueMetabaseTokenRequest, metabase_token_service_client::MetabaseTokenServiceClient,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, metadata::MetadataValue};

use crate::harness::{CONFIG, SECRET, Served, TestServer, ada, config_dir, outcome, program, run};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// An OpenTelemetry collector that keeps what it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let this = Self::default();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(this.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (this, endpoint)
    }

    fn spans(&self) -> Vec<Span> {
        let exports = self.0.lock().unwrap();
        let scopes = exports.iter().flat_map(|export| &export.resource_spans).flat_map(|spans| &spans.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

fn with_tracing(lines: &str) -> String {
    format!("{CONFIG}\n[tracing]\n{lines}\n")
}

fn serve(config: &str) -> (tempfile::TempDir, Served) {
    let dir = config_dir(config, SECRET);
    let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
    (dir, served)
}

fn attribute(span: &Span, key: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.clone()?.value
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    let digit = |digit: u8| char::from_digit(digit.into(), 16).unwrap();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Issues for a caller that is in a trace, sampled or not.
async fn issue(served: &Served, flags: &str, email: &str) -> Result<String, Status> {
    let mut client = MetabaseTokenServiceClient::connect(format!("http://{}", served.address())).await.unwrap();
    let user = metabase_token_service::transport::proto::User { email: email.to_owned(), ..ada() };
    let mut request = Request::new(IssueMetabaseTokenRequest { user: Some(user), ..Default::default() });
    let parent = format!("00-{TRACE}-{PARENT}-{flags}");
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    request.metadata_mut().insert("x-request-id", MetadataValue::from_static("req-1"));
    client.issue_metabase_token(request).await.map(|issued| issued.into_inner().jwt)
}

fn stop(served: Served) -> String {
    served.signal("-TERM");
    let (status, _, log) = served.wait();
    assert!(status.success(), "{log}");
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_is_a_child_of_the_callers_and_says_nothing_about_people() {
    let (collector, endpoint) = Collector::start().await;
    let (_dir, served) = serve(&with_tracing(&format!("otlp_endpoint = \"{endpoint}\"")));
    let jwt = issue(&served, "01", "ada@example.com").await.unwrap();
    assert_eq!(issue(&served, "01", "not an address").await.unwrap_err().code(), Code::InvalidArgument);
    // The caller has decided that its trace is not sampled.
    issue(&served, "00", "ada@example.com").await.unwrap();
    stop(served);
    let spans = collector.spans();
    assert_eq!(spans.len(), 2, "{spans:?}");
    for (span, code) in spans.iter().zip([0, 3]) {
        assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
        assert_eq!(span.name, "metabase.token.v1.MetabaseTokenService/IssueMetabaseToken");
        assert_eq!(span.kind, SpanKind::Server as i32);
        assert_eq!(attribute(span, "rpc.method"), Some(text("IssueMetabaseToken")));
        assert_eq!(attribute(span, "caller"), Some(text("shop")));
        assert_eq!(attribute(span, "request.id"), Some(text("req-1")));
        assert_eq!(attribute(span, "rpc.grpc.status_code"), Some(Value::IntValue(code)));
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano && span.start_time_unix_nano > 0);
    }
    let all = format!("{:?}", collector.0.lock().unwrap());
    assert!(!all.contains("ada@") && !all.contains("Lovelace") && !all.contains(&jwt), "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_holds_nothing_up() {
    let (_dir, served) = serve(&with_tracing("otlp_endpoint = \"http://127.0.0.1:1\"\nsample_ratio = 0.5"));
    for _ in 0..100 {
        issue(&served, "01", "ada@example.com").await.unwrap();
    }
    let log = stop(served);
    assert!(log.contains("Drained"), "{log}");
    // One line for the whole outage, that names what to look at, and none of the libraries.
    let told = log.matches("Nobody takes spans at tracing.otlp_endpoint").count();
    assert_eq!((told, log.contains("opentelemetry"), log.contains(" ERROR ")), (1, false, false), "{log}");
    assert!(log.contains("endpoint=\"http://127.0.0.1:1/\""), "{log}");
}

#[tokio::test]
async fn every_answer_has_the_requests_identifier_or_a_new_one() {
    let server = TestServer::start().await;
    let ask = |id: Option<&'static str>, user| {
        let mut client = server.client.clone();
        async move {
            let mut request = Request::new(IssueMetabaseTokenRequest { user, ..Default::default() });
            if let Some(id) = id {
                request.metadata_mut().insert("x-request-id", MetadataValue::from_static(id));
            }
            let metadata = match client.issue_metabase_token(request).await {
                Ok(issued) => issued.metadata().clone(),
                Err(refused) => refused.metadata().clone(),
            };
            metadata.get("x-request-id").unwrap().to_str().unwrap().to_owned()
        }
    };
    assert_eq!(ask(Some("7f3a-1.b:c"), Some(ada())).await, "7f3a-1.b:c");
    assert_eq!(ask(Some("7f3a"), None).await, "7f3a");
    let (first, second) = (ask(None, Some(ada())).await, ask(None, Some(ada())).await);
    assert!(first != second && first.len() > 16, "{first} {second}");
    let hostile = ask(Some("a\" b"), Some(ada())).await;
    assert!(!hostile.contains('"'), "{hostile}");
}

#[test]
fn mistakes_in_the_section_are_named_with_their_key() {
    for (lines, rule) in [
        ("", "missing field `otlp_endpoint`"),
        ("otlp_endpoint = \"127.0.0.1:4317\"", "tracing.otlp_endpoint: must be the address of an OTLP receiver"),
        ("otlp_endpoint = \"https://otel:4317\"", "tracing.otlp_endpoint: needs `otlp_ca`"),
        (
            "otlp_endpoint = \"http://otel:4317\"\notlp_ca = \"/ca\"",
            "tracing.otlp_ca: has no use with an http endpoint",
        ),
        (
            "otlp_endpoint = \"https://otel:4317\"\notlp_ca = \"/nowhere\"",
            "tracing: otlp_ca: /nowhere: cannot be read: No such file",
        ),
        (
            "otlp_endpoint = \"https://otel:4317\"\notlp_ca = \"SECRET_FILE\"",
            "/secret: holds no certificate in PEM form",
        ),
        ("otlp_endpoint = \"http://otel:4317\"\nsample_ratio = 1.5", "tracing.sample_ratio: must be from 0.0 to 1.0"),
    ] {
        let dir = config_dir(&with_tracing(lines), SECRET);
        let (code, _, err) = outcome(&run(program(&["config", "check"]).arg(dir.path().join("mts.toml"))));
        assert_eq!(code, Some(78), "{lines}: {err}");
        assert!(err.contains(rule), "{lines}: {err}");
    }
}
