//! Counts and times every RPC, whatever becomes of it: refused, answered, or given up by the client.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::telemetry::Metrics;

/// Wraps the whole server.
#[derive(Clone, Debug)]
pub struct ObserveLayer {
    metrics: Arc<Metrics>,
}

impl ObserveLayer {
    pub(super) const fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Observe { inner, metrics: Arc::clone(&self.metrics) }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Observe<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, B, R> Service<Request<B>> for Observe<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Observed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let rpc = Rpc::begin(Arc::clone(&self.metrics), method(request.uri().path()));
        Observed { inner: self.inner.call(request), rpc }
    }
}

pin_project! {
    /// An RPC being answered.
    #[derive(Debug)]
    pub struct Observed<F> {
        #[pin]
        inner: F,
        rpc: Rpc,
    }
}

impl<F, R, E> Future for Observed<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        this.rpc.code = match &answer {
            // A failure is in the head of an answer without a body; a success comes in trailers after it.
            Ok(response) => Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code()),
            Err(_) => Code::Internal,
        };
        Poll::Ready(answer)
    }
}

/// Counts itself when it ends, also when it is dropped unanswered.
#[derive(Debug)]
struct Rpc {
    metrics: Arc<Metrics>,
    method: &'static str,
    began: Instant,
    code: Code,
}

impl Rpc {
    fn begin(metrics: Arc<Metrics>, method: &'static str) -> Self {
        metrics.rpc_began();
        #[expect(clippy::disallowed_methods, reason = "the one place that measures durations")]
        let began = Instant::now();
        Self { metrics, method, began, code: Code::Cancelled }
    }
}

impl Drop for Rpc {
    fn drop(&mut self) {
        self.metrics.rpc_ended(self.method, code(self.code), self.began.elapsed());
    }
}

/// A closed set, so that no client can grow the metrics.
fn method(path: &str) -> &'static str {
    const KNOWN: [&str; 6] = [
        "/metabase.token.v1.MetabaseTokenService/IssueMetabaseToken",
        "/metabase.token.v1.MetabaseTokenService/CheckAuthStatus",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ];
    let known = KNOWN.into_iter().find(|known| *known == path);
    known.map_or("other", |path| &path[1..])
}

const fn code(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
