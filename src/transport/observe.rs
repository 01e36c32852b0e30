//! Counts and times every RPC, whatever becomes of it: refused, answered, or given up by the client.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use http::{HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use tonic::{Code, Status, body::Body};
use tower::{BoxError, Service};

use super::{
    arrival::{Arrivals, Arriving},
    notes::Notes,
    request_id::{REQUEST_ID, RequestIds},
};
use crate::{
    application::generation::Generations,
    telemetry::{Metrics, RPCS, RpcSpan, Tracing},
};

/// Streams of requests, whose client may take its time from one to the next.
pub(super) const REFLECTION: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Wraps all services of a listener.
#[derive(Clone, Debug)]
pub struct Observe<S> {
    inner: S,
    metrics: Arc<Metrics>,
    arrivals: Arc<Arrivals>,
    /// Knows the callers' names; none = nobody authenticates here.
    generations: Option<Arc<Generations>>,
    tracing: Option<Arc<Tracing>>,
    ids: Arc<RequestIds>,
}

impl<S> Observe<S> {
    pub(super) fn new(
        inner: S,
        metrics: Arc<Metrics>,
        arrivals: Arrivals,
        generations: Option<Arc<Generations>>,
        tracing: Option<Arc<Tracing>>,
    ) -> Self {
        Self { inner, metrics, arrivals: Arc::new(arrivals), generations, tracing, ids: Arc::default() }
    }
}

impl<S, B, R> Service<Request<B>> for Observe<S>
where
    S: Service<Request<Body>, Response = Response<R>>,
    B: http_body::Body<Data = <Body as http_body::Body>::Data, Error: Into<BoxError>> + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Observed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let notes = Arc::new(Notes::new(self.ids.of(request.headers())));
        let method = method(request.uri().path());
        let mut rpc = Rpc::begin(self, method, Arc::clone(&notes));
        if let Some(tracing) = self.tracing.as_ref().filter(|_| RPCS.contains(&method)) {
            rpc.span = Some(tracing.begin(method, request.headers(), notes.id().to_str().unwrap_or_default()));
        }
        request.extensions_mut().insert(Arc::clone(&notes));
        let arrivals = (!REFLECTION.contains(&method)).then(|| Arc::clone(&self.arrivals));
        let request = request.map(|body| Body::new(Arriving::new(body, notes, arrivals)));
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
        let mut answer = ready!(this.inner.poll(cx));
        if let Ok(response) = &mut answer {
            response.headers_mut().insert(&REQUEST_ID, this.rpc.notes.id().clone());
        }
        this.rpc.code = match &answer {
            // What the answer says about a request that never came to its end reaches nobody.
            _ if this.rpc.notes.is_cancelled() => Code::Cancelled,
            Ok(response) => code_of(response.headers()),
            Err(_) => Code::Internal,
        };
        Poll::Ready(answer)
    }
}

/// A failure is in the head of an answer without a body; a success comes in trailers after it.
pub(super) fn code_of(head: &HeaderMap) -> Code {
    head.get(Status::GRPC_STATUS).map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

/// Counts itself when it ends, also when it is dropped unanswered.
#[derive(Debug)]
struct Rpc {
    metrics: Arc<Metrics>,
    generations: Option<Arc<Generations>>,
    method: &'static str,
    notes: Arc<Notes>,
    began: Instant,
    code: Code,
    span: Option<RpcSpan>,
}

impl Rpc {
    fn begin<S>(observe: &Observe<S>, method: &'static str, notes: Arc<Notes>) -> Self {
        let Observe { metrics, generations, .. } = observe;
        metrics.rpcs.began(method);
        #[expect(clippy::disallowed_methods, reason = "the one place that measures durations")]
        let began = Instant::now();
        let generations = generations.clone().filter(|_| RPCS.contains(&method));
        Self { metrics: Arc::clone(metrics), generations, method, notes, began, code: Code::Cancelled, span: None }
    }
}

impl Drop for Rpc {
    fn drop(&mut self) {
        let label = code(self.code);
        self.metrics.rpcs.ended(self.method, label, self.began.elapsed());
        if let Some(generations) = &self.generations {
            let generation = generations.current();
            // Names of the configuration alone: a client that can prove any identity cannot grow the metrics.
            let name = self
                .notes
                .caller()
                .map_or("unknown", |caller| generation.policy().name(caller).map_or("other", |name| name.as_str()));
            self.metrics.load.caller_rpc(name, label);
            if let Some(span) = &mut self.span {
                span.end(i64::from(i32::from(self.code)), Some(name), is_fault(self.code));
            }
        }
    }
}

/// The label of a path. A closed set, so that no client can grow the metrics.
pub(super) fn method(path: &str) -> &'static str {
    const HEALTH: [&str; 2] = ["grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"];
    let path = path.strip_prefix('/').unwrap_or_default();
    RPCS.into_iter().chain(HEALTH).chain(REFLECTION).find(|known| *known == path).unwrap_or("other")
}

/// Whether the server is to blame (OpenTelemetry, semantic conventions for gRPC servers).
const fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
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
