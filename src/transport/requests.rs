//! Runs the requests of a connection where the connection itself runs.
//!
//! A task for each request would wake the connection for each answer, and each answer would be a system call of its own. Here, what
//! arrived together is answered together, and goes to the socket in one write. A connection is thus served by one core at a time; others
//! are served by other cores meanwhile.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hyper::rt::Executor;

use crate::application::audit::Settle;

type Request = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes the requests of one connection from HTTP/2.
#[derive(Clone, Default)]
pub(super) struct Requests(Arc<Mutex<Vec<Request>>>);

impl Requests {
    /// Whether there were any.
    fn drain_into(&self, running: &mut FuturesUnordered<Request>) -> bool {
        let mut arrived = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let any = !arrived.is_empty();
        running.extend(arrived.drain(..));
        any
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Requests {
    fn execute(&self, request: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(request));
    }
}

/// A connection with its requests. When it ends, so do those that nobody waits for any more.
pub(super) struct WithRequests<C> {
    pub(super) connection: C,
    arriving: Requests,
    running: FuturesUnordered<Request>,
    settle: Settle,
}

impl<C> WithRequests<C> {
    /// `arriving` is what `connection` gives its requests to; `settle` is done when they all have had their turn.
    pub(super) fn new(connection: C, arriving: Requests, settle: Settle) -> Self {
        Self { connection, arriving, running: FuturesUnordered::new(), settle }
    }
}

/// Gives all requests that are ready a turn. Whether one has ended.
fn advance(running: &mut FuturesUnordered<Request>, cx: &mut Context<'_>) -> bool {
    let mut any = false;
    while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {
        any = true;
    }
    any
}

impl<C: Future + Unpin> Future for WithRequests<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { connection, arriving, running, settle } = self.get_mut();
        loop {
            // Reads what has arrived, and writes what has been answered.
            if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(ended);
            }
            let mut moved = arriving.drain_into(running);
            moved |= advance(running, cx);
            if settle.now() {
                moved |= advance(running, cx);
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }
}
