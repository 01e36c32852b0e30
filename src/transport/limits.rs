//! What every RPC of the service is held to: room among those in flight, then time. A refusal for lack of room costs neither
//! authentication nor decoding, so that a flood of requests does not take the time of those that are answered.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};
use tonic::{Code, Status, body::Body};
use tower::Service;

use super::{
    deadline::{self, Deadline},
    observe::{code_of, method},
    refusal::Refusal,
    status,
};
use crate::{
    config::Limits,
    telemetry::{Metrics, RPCS},
};

/// The room for all connections together. Each RPC has its own: one that waits for Metabase takes none from the other.
#[derive(Debug)]
pub(super) struct Room {
    issue: Arc<Semaphore>,
    check: Arc<Semaphore>,
    deadline: Duration,
    metrics: Arc<Metrics>,
}

impl Room {
    pub(super) fn new(limits: &Limits, metrics: Arc<Metrics>) -> Self {
        let room = || Arc::new(Semaphore::new(limits.max_in_flight));
        Self { issue: room(), check: room(), deadline: limits.deadline, metrics }
    }

    /// Of an RPC; none for what is never refused.
    fn of(&self, method: &'static str) -> Option<&Arc<Semaphore>> {
        let [issue, check] = RPCS;
        [(issue, &self.issue), (check, &self.check)].into_iter().find(|(rpc, _)| *rpc == method).map(|(_, room)| room)
    }
}

/// The service of this project, whose RPCs are limited, and the others, to which everything else goes. RPCs come here without a router,
/// which would cost as much as a signature.
///
/// Health is never refused: whoever asks an overloaded server is not to take it for a dead one.
#[derive(Clone, Debug)]
pub(super) struct Limited<S, O> {
    service: S,
    others: O,
    room: Arc<Room>,
}

impl<S, O> Limited<S, O> {
    pub(super) fn new(service: S, others: O, room: Room) -> Self {
        Self { service, others, room: Arc::new(room) }
    }
}

impl<S, O> Service<Request<Body>> for Limited<S, O>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    O: Service<Request<Body>, Response = Response<Body>, Error = S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answer<S::Future, O::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.service.poll_ready(cx))?;
        self.others.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let method = method(request.uri().path());
        let Some(room) = self.room.of(method) else {
            return Answer::Unlimited { answer: self.others.call(request) };
        };
        let Ok(permit) = Arc::clone(room).try_acquire_owned() else {
            self.room.metrics.load.rpc_shed(method);
            return Answer::Shed { refusal: Refusal::new(request, status::overloaded_answer()) };
        };
        let deadline = deadline::of(request.headers(), self.room.deadline);
        request.extensions_mut().insert(Deadline(deadline));
        Answer::Served { answer: self.service.call(request), deadline: sleep(deadline), _permit: permit }
    }
}

pin_project! {
    /// The answer to a request, in time or not.
    #[project = AnswerProjection]
    #[derive(Debug)]
    pub(super) enum Answer<F, O> {
        Served { #[pin] answer: F, #[pin] deadline: Sleep, _permit: OwnedSemaphorePermit },
        Shed { #[pin] refusal: Refusal },
        Unlimited { #[pin] answer: O },
    }
}

impl<F, O, E> Future for Answer<F, O>
where
    F: Future<Output = Result<Response<Body>, E>>,
    O: Future<Output = F::Output>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnswerProjection::Served { answer, mut deadline, .. } => {
                // First: under load, the time may be up before the request's turn comes, and nobody waits any more.
                if Instant::now() >= deadline.deadline() {
                    return Poll::Ready(Ok(status::deadline_exceeded().into_http()));
                }
                if let Poll::Ready(answer) = answer.poll(cx) {
                    return Poll::Ready(answer.map(blame_who_sent_it));
                }
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(Ok(status::deadline_exceeded().into_http()))
            }
            AnswerProjection::Shed { refusal } => refusal.poll(cx).map(Ok),
            AnswerProjection::Unlimited { answer } => answer.poll(cx),
        }
    }
}

/// What tonic makes of a request that it cannot read, in gRPC's words. A message that is too large is `OUT_OF_RANGE`, which nothing else here is
/// answered with, and one that is no message `INTERNAL`: the accident is a caller's bug that wakes those who run this service, whose own
/// faults are told with details.
fn blame_who_sent_it(answer: Response<Body>) -> Response<Body> {
    let code = code_of(answer.headers());
    if code == Code::OutOfRange {
        status::too_large().into_http()
    } else if code == Code::Internal && !answer.headers().contains_key(Status::GRPC_STATUS_DETAILS) {
        status::unreadable(answer.headers()).into_http()
    } else {
        answer
    }
}
