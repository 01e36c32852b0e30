//! What is in flight on one connection, and since when nothing is.

mod in_flight;

/// What [`in_flight`] counts with. The model in `tests/interleavings` puts another in its place.
use std::sync::atomic;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, sleep};

use self::in_flight::InFlight;

/// Of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// In milliseconds after `began`.
    in_flight: InFlight,
}

impl Activity {
    /// A connection that begins now.
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), in_flight: InFlight::new() }
    }

    /// Counts an RPC until its answer has been written, or given up.
    pub(super) fn follow<F>(self: &Arc<Self>, answer: F) -> Followed<F> {
        self.in_flight.begin();
        Followed { inner: answer, rpc: Some(OpenRpc(Arc::clone(self))) }
    }

    /// Whether no RPC is in flight.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight.quiet_since().is_some()
    }

    /// Resolves when no RPC has been in flight for this long.
    pub(super) async fn quiet_for(&self, timeout: Duration) {
        loop {
            let quiet = self
                .in_flight
                .quiet_since()
                .map_or(Duration::ZERO, |since| self.age().saturating_sub(Duration::from_millis(since)));
            match timeout.checked_sub(quiet) {
                None | Some(Duration::ZERO) => return,
                Some(rest) => sleep(rest).await,
            }
        }
    }

    fn age(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Counted until it is dropped.
#[derive(Debug)]
struct OpenRpc(Arc<Activity>);

impl Drop for OpenRpc {
    fn drop(&mut self) {
        let Self(activity) = self;
        activity.in_flight.end(u64::try_from(activity.age().as_millis()).unwrap_or(u64::MAX));
    }
}

pin_project! {
    /// An answer to come, and then its body.
    #[derive(Debug)]
    pub(super) struct Followed<T> {
        #[pin]
        inner: T,
        rpc: Option<OpenRpc>,
    }
}

impl<F, B, E> Future for Followed<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Followed<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        let rpc = this.rpc.take();
        Poll::Ready(answer.map(|response| response.map(|body| Followed { inner: body, rpc })))
    }
}

impl<B: Body> Body for Followed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
