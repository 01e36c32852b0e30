//! What is in flight on one connection, since when nothing is, and since when the client takes no answers.

mod in_flight;

/// What [`in_flight`] counts with. The model in `tests/interleavings` puts another in its place.
use std::sync::atomic;
use std::{
    collections::BTreeMap,
    io::IoSlice,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Buf;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use self::in_flight::InFlight;

/// Of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// In milliseconds after `began`.
    in_flight: InFlight,
    waiting: Mutex<Waiting>,
}

/// Parts of answers that wait until the client takes them, by number, and since when.
#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

impl Activity {
    /// A connection that begins now.
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), in_flight: InFlight::new(), waiting: Mutex::default() }
    }

    /// Counts an RPC until its answer has been written, or given up.
    pub(super) fn follow<F>(self: &Arc<Self>, answer: F) -> Followed<F> {
        self.in_flight.begin();
        Followed { inner: answer, activity: Arc::clone(self), rpc: Some(OpenRpc(Arc::clone(self))), untaken: None }
    }

    /// Whether no RPC is in flight.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight.quiet_since().is_some()
    }

    /// For how long no RPC has been in flight; zero while one is.
    pub(super) fn quiet_for(&self) -> Duration {
        let since = self.in_flight.quiet_since();
        since.map_or(Duration::ZERO, |since| self.age().saturating_sub(Duration::from_millis(since)))
    }

    /// For how long some part of an answer has waited for the client to take it, through windows (RFC 9113, section 5.2) that it keeps
    /// closed, or a socket that it does not read. A stream that waits for news of ours does not count.
    pub(super) fn untaken_for(&self) -> Duration {
        self.waiting().since.first_key_value().map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }

    fn wait(self: &Arc<Self>) -> Untaken {
        let mut waiting = self.waiting();
        let number = waiting.next;
        waiting.next += 1;
        waiting.since.insert(number, Instant::now());
        Untaken { number, activity: Arc::clone(self) }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Waits for the client until it is dropped.
#[derive(Debug)]
struct Untaken {
    number: u64,
    activity: Arc<Activity>,
}

impl Drop for Untaken {
    fn drop(&mut self) {
        self.activity.waiting().since.remove(&self.number);
    }
}

/// Part of an answer, which HTTP/2 drops when it has been written.
#[derive(Debug)]
pub(super) struct Part<D> {
    data: D,
    _untaken: Untaken,
}

impl<D: Buf> Buf for Part<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(slices)
    }
}

pin_project! {
    /// An answer to come, and then its body.
    #[derive(Debug)]
    pub(super) struct Followed<T> {
        #[pin]
        inner: T,
        activity: Arc<Activity>,
        rpc: Option<OpenRpc>,
        // HTTP/2 does not ask for the next part of a body before the client has opened its window.
        untaken: Option<Untaken>,
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
        let (activity, rpc, untaken) = (Arc::clone(this.activity), this.rpc.take(), Some(this.activity.wait()));
        Poll::Ready(answer.map(|response| response.map(|inner| Followed { inner, activity, rpc, untaken })))
    }
}

impl<B: Body> Body for Followed<B> {
    type Data = Part<B::Data>;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, B::Error>>> {
        let this = self.project();
        drop(this.untaken.take());
        let frame = ready!(this.inner.poll_frame(cx));
        *this.untaken = Some(this.activity.wait());
        let part = |data| Part { data, _untaken: this.activity.wait() };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
