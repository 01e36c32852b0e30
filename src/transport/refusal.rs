//! The answer to a request that is not looked at.
//!
//! It waits for the end of the request, which is thrown away. An answer before that end is one that h2 has to follow with a reset
//! of the stream; what still comes for a stream that was reset some fifty resets ago is an error to it, and after enough errors
//! it closes the connection (`ENHANCE_YOUR_CALM`), with everything on it. A client that is refused often has done nothing wrong.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body as _;
use pin_project_lite::pin_project;
use prost::bytes::Bytes;
use tonic::body::Body;

use super::{
    MAX_REQUEST_BYTES,
    observe::{REFLECTION, method},
};

pin_project! {
    /// Resolves when the request has come to its end, has broken off, or is too large to be waited for. How long that may take is
    /// the body's own matter, see [`super::arrival`].
    #[derive(Debug)]
    pub struct Refusal {
        // None = it is not waited for.
        #[pin]
        request: Option<Body>,
        read_bytes: usize,
        answer: Option<Response<Body>>,
    }
}

impl Refusal {
    pub(super) fn new(request: Request<Body>, answer: Response<Body>) -> Self {
        // The client of a stream waits for the first answer before it ends its requests.
        let is_stream = REFLECTION.contains(&method(request.uri().path()));
        Self { request: (!is_stream).then(|| request.into_body()), read_bytes: 0, answer: Some(answer) }
    }
}

impl Future for Refusal {
    type Output = Response<Body>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        let mut this = self.project();
        while *this.read_bytes <= MAX_REQUEST_BYTES
            && let Some(request) = this.request.as_mut().as_pin_mut()
            && let Some(Ok(frame)) = ready!(request.poll_frame(cx))
        {
            *this.read_bytes += frame.data_ref().map_or(0, Bytes::len);
        }
        match this.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending, // Polled again after it was ready, which nobody may do.
        }
    }
}
