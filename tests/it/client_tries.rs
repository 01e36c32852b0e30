//! What the client of the library tries again, and what it does not: against a server that fails on demand.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use metabase_token_service::{
    client::{CheckRequest, Client, Error, TokenRequest},
    transport::proto::{
        CheckAuthStatusRequest, CheckAuthStatusResponse, IssueMetabaseTokenRequest, IssueMetabaseTokenResponse,
        metabase_token_service_server::{MetabaseTokenService, MetabaseTokenServiceServer},
    },
};
use prost::Message as _;
use prost_types::Timestamp;
use tokio::net::TcpListener;
use tonic::{
    Code, Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};
use tonic_types::{
    ErrorDetails, StatusExt as _,
    pb::{self, RetryInfo},
};

use crate::client::person;

#[derive(Clone, Default)]
struct Failing(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The next RPCs end in these; all later ones are answered.
    failures: VecDeque<Status>,
    /// What each RPC said of its deadline.
    timeouts: Vec<Option<String>>,
}

impl Failing {
    fn next<A>(&self, request: &Request<impl Sized>, answer: A) -> Result<Response<A>, Status> {
        let mut state = self.0.lock().unwrap();
        let timeout = request.metadata().get("grpc-timeout").map(|timeout| timeout.to_str().unwrap().to_owned());
        state.timeouts.push(timeout);
        state.failures.pop_front().map_or_else(|| Ok(Response::new(answer)), Err)
    }

    fn fail(&self, statuses: impl IntoIterator<Item = Status>) {
        *self.0.lock().unwrap() = State { failures: statuses.into_iter().collect(), timeouts: Vec::new() };
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().timeouts.len()
    }

    /// A client of such a server.
    async fn start(&self, deadline: Duration) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = MetabaseTokenServiceServer::new(self.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
        Client::builder(address).deadline(deadline).connect().await.unwrap()
    }
}

#[tonic::async_trait]
impl MetabaseTokenService for Failing {
    async fn issue_metabase_token(
        &self,
        request: Request<IssueMetabaseTokenRequest>,
    ) -> Result<Response<IssueMetabaseTokenResponse>, Status> {
        let time = Some(Timestamp::default());
        let answer = IssueMetabaseTokenResponse {
            jwt: "token".to_owned(),
            issue_time: time,
            expire_time: time,
            exchange_deadline: time,
            ..IssueMetabaseTokenResponse::default()
        };
        self.next(&request, answer)
    }

    async fn check_auth_status(
        &self,
        request: Request<CheckAuthStatusRequest>,
    ) -> Result<Response<CheckAuthStatusResponse>, Status> {
        self.next(&request, CheckAuthStatusResponse::default())
    }
}

const LONG: Duration = Duration::from_mins(1);

fn request() -> TokenRequest {
    TokenRequest::new(person())
}

fn unavailable() -> Status {
    Status::unavailable("stopping")
}

fn unavailable_for(pause: Duration) -> Status {
    Status::with_error_details(Code::Unavailable, "no disk", ErrorDetails::with_retry_info(Some(pause)))
}

#[tokio::test]
async fn unavailable_is_tried_again_up_to_a_bound_and_each_try_says_what_time_is_left() {
    let failing = Failing::default();
    let client = failing.start(LONG).await;
    failing.fail([unavailable()]);
    assert_eq!(client.issue(request()).await.unwrap().token.expose(), "token");
    assert_eq!(failing.asked(), 2);
    assert!(failing.0.lock().unwrap().timeouts.iter().all(Option::is_some));

    failing.fail([unavailable(), unavailable()]);
    client.check(CheckRequest::jwt("token")).await.unwrap();
    assert_eq!(failing.asked(), 3);

    failing.fail(vec![unavailable(); 9]);
    let error = client.issue(request()).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { refusal, .. } if refusal.message == "stopping"), "{error:?}");
    assert_eq!(failing.asked(), 3);
}

#[tokio::test]
async fn nothing_else_is_tried_again() {
    let failing = Failing::default();
    let client = failing.start(LONG).await;
    for code in (1..=16).map(Code::from).filter(|code| *code != Code::Unavailable) {
        failing.fail([Status::new(code, "no")]);
        let error = client.issue(request()).await.unwrap_err();
        assert_eq!((error.refusal().code, failing.asked()), (code, 1), "{error:?}");
    }
    let pause = Some(Duration::from_millis(1));
    let rate = Status::with_error_details(Code::ResourceExhausted, "", ErrorDetails::with_retry_info(pause));
    failing.fail([rate]);
    let error = client.issue(request()).await.unwrap_err();
    assert!(matches!(error, Error::RateExceeded { retry_after, .. } if retry_after == pause), "{error:?}");
    assert_eq!(failing.asked(), 1);
}

#[tokio::test]
async fn a_check_that_signs_somebody_in_is_not_repeated() {
    let failing = Failing::default();
    let client = failing.start(LONG).await;
    for (name, check, asked) in [
        ("a token, live", CheckRequest::jwt("token").live(true), 1),
        ("a session, live", CheckRequest::session("id").live(true), 2),
        ("an API key, live", CheckRequest::api_key("key").live(true), 2),
        ("a token", CheckRequest::jwt("token"), 2),
    ] {
        failing.fail([unavailable()]);
        let answer = client.check(check).await;
        assert_eq!((answer.is_ok(), failing.asked()), (asked == 2, asked), "{name}");
    }
}

#[tokio::test]
async fn the_service_says_how_long_to_wait_and_nobody_waits_beyond_the_deadline() {
    let failing = Failing::default();
    let client = failing.start(Duration::from_secs(30)).await;
    failing.fail([unavailable_for(Duration::from_millis(1))]);
    client.issue(request()).await.unwrap();
    assert_eq!(failing.asked(), 2);
    let pause = Duration::from_hours(1);
    failing.fail([unavailable_for(pause)]);
    let error = client.issue(request()).await.unwrap_err();
    assert_eq!((error.retry_after(), failing.asked()), (Some(pause), 1), "{error:?}");
}

#[tokio::test]
async fn times_that_no_clock_can_tell_are_no_trouble() {
    let failing = Failing::default();
    let client = failing.start(Duration::MAX).await;
    client.issue(request()).await.unwrap();
    let retry_delay = Some(prost_types::Duration { seconds: i64::MAX, nanos: 0 });
    let value = RetryInfo { retry_delay }.encode_to_vec();
    let info = prost_types::Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value };
    let details = pb::Status { code: Code::Unavailable.into(), message: String::new(), details: vec![info] };
    failing.fail([Status::with_details(Code::Unavailable, "", details.encode_to_vec().into())]);
    let error = client.issue(request()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }) && failing.asked() == 1, "{error:?}");
}

#[tokio::test]
async fn an_answer_without_a_token_is_none() {
    struct Empty;
    #[tonic::async_trait]
    impl MetabaseTokenService for Empty {
        async fn issue_metabase_token(
            &self,
            _: Request<IssueMetabaseTokenRequest>,
        ) -> Result<Response<IssueMetabaseTokenResponse>, Status> {
            Ok(Response::new(IssueMetabaseTokenResponse::default()))
        }

        async fn check_auth_status(
            &self,
            _: Request<CheckAuthStatusRequest>,
        ) -> Result<Response<CheckAuthStatusResponse>, Status> {
            let details = ErrorDetails::with_error_info("GONE", "elsewhere", HashMap::new());
            Err(Status::with_error_details(Code::DataLoss, "", details))
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::builder(format!("http://{}", listener.local_addr().unwrap())).deadline(LONG);
    let service = MetabaseTokenServiceServer::new(Empty);
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
    let client = client.connect().await.unwrap();
    let error = client.issue(request()).await.unwrap_err();
    assert!(matches!(&error, Error::Other(refusal) if refusal.message.contains("lacks the token")), "{error:?}");
    let error = client.check(CheckRequest::nothing()).await.unwrap_err();
    assert!(matches!(&error, Error::Other(refusal) if refusal.reason == "GONE"), "{error:?}");
}
