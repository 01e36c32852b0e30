//! Puts the proven caller of each request beside it, or answers in the service's place.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::{body::Body, server::NamedService};
use tower::Service;

use super::{Authenticator, Unauthenticated};
use crate::transport::{notes::Notes, refusal::Refusal};

/// A service that only proven callers reach.
#[derive(Clone, Debug)]
pub(crate) struct Authenticated<S> {
    inner: S,
    authenticator: Arc<Authenticator>,
}

impl<S> Authenticated<S> {
    pub(crate) const fn new(inner: S, authenticator: Arc<Authenticator>) -> Self {
        Self { inner, authenticator }
    }
}

impl<S: NamedService> NamedService for Authenticated<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Authenticated<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answer<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.authenticator.authenticate(&request) {
            Ok(caller) => {
                Notes::proven(request.extensions(), &caller);
                request.extensions_mut().insert(caller);
                Answer::Served { answer: self.inner.call(request) }
            }
            Err(Unauthenticated::Bearer(error)) if error.is_for_lack_of_a_key() => {
                // The clone has not been asked whether it is ready; the one that has serves this request.
                let clone = self.inner.clone();
                let this = Self {
                    inner: std::mem::replace(&mut self.inner, clone),
                    authenticator: Arc::clone(&self.authenticator),
                };
                Answer::Waiting { answer: Box::pin(this.call_with_new_keys(request)) }
            }
            Err(error) => {
                let answer = self.authenticator.refuse(&request, &error);
                Answer::Refused { refusal: Refusal::new(request, answer) }
            }
        }
    }
}

impl<S> Authenticated<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    async fn call_with_new_keys(mut self, mut request: Request<Body>) -> Result<Response<Body>, S::Error> {
        self.authenticator.refresh(request.headers()).await;
        match self.authenticator.authenticate(&request) {
            Ok(caller) => {
                Notes::proven(request.extensions(), &caller);
                request.extensions_mut().insert(caller);
                self.inner.call(request).await
            }
            Err(error) => {
                let answer = self.authenticator.refuse(&request, &error);
                Ok(Refusal::new(request, answer).await)
            }
        }
    }
}

type BoxedAnswer<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

pin_project! {
    /// The answer to a request, whoever gives it.
    #[project = AnswerProjection]
    pub(crate) enum Answer<F, E> {
        Served { #[pin] answer: F },
        Waiting { answer: BoxedAnswer<E> },
        Refused { #[pin] refusal: Refusal },
    }
}

impl<F, E> Future for Answer<F, E>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            AnswerProjection::Served { answer } => answer.poll(cx),
            AnswerProjection::Waiting { answer } => answer.as_mut().poll(cx),
            AnswerProjection::Refused { refusal } => refusal.poll(cx).map(Ok),
        }
    }
}
