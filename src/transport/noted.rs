//! What the layers below tell the outermost one about a request: whose it is, and whether its client has gone.

use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use http::Extensions;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::domain::caller::Caller;

/// About one request.
#[derive(Debug, Default)]
pub(super) struct Notes {
    caller: OnceLock<Caller>,
    is_cancelled: AtomicBool,
}

impl Notes {
    /// Notes who has proven to be the caller of the request with these extensions.
    pub(super) fn proven(extensions: &Extensions, caller: &Caller) {
        if let Some(notes) = extensions.get::<Arc<Self>>() {
            let _ = notes.caller.set(caller.clone());
        }
    }

    /// None = nobody has proven to be.
    pub(super) fn caller(&self) -> Option<&Caller> {
        self.caller.get()
    }

    /// Whether the client took the request back, or went away, before the request was complete.
    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }
}

pin_project! {
    /// The body of a request, whose failure is noted: it comes from the client or from the way to it, and tonic makes a status
    /// of it that looks like a fault of ours.
    pub(super) struct Noted<B> {
        #[pin]
        body: B,
        notes: Arc<Notes>,
    }
}

impl<B> Noted<B> {
    pub(super) const fn new(body: B, notes: Arc<Notes>) -> Self {
        Self { body, notes }
    }
}

impl<B: Body> Body for Noted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if let Some(Err(_)) = &frame {
            this.notes.is_cancelled.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
