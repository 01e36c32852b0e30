//! What is not gRPC goes no further (gRPC over HTTP/2, "Requests"): tonic itself would answer any method and any content type.
//!
//! The attack: a web page makes a browser that holds a certificate send `text/plain`, which it may without asking anyone first.

use std::task::{Context, Poll};

use futures_util::future::{Either, FutureExt as _, Map};
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use tonic::body::Body;
use tower::Service;

use super::{refusal::Refusal, status};

/// Wraps all services of a listener.
#[derive(Clone, Debug)]
pub struct GrpcOnly<S>(S);

impl<S> GrpcOnly<S> {
    pub(super) const fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<S> Service<Request<Body>> for GrpcOnly<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Map<Refusal, fn(Response<Body>) -> Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let refusal = if request.method() != Method::POST {
            StatusCode::METHOD_NOT_ALLOWED
        } else if !request.headers().get(CONTENT_TYPE).is_some_and(|value| is_grpc(value.as_bytes())) {
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        } else {
            return Either::Left(self.0.call(request));
        };
        let mut answer = status::not_grpc().into_http();
        *answer.status_mut() = refusal;
        Either::Right(Refusal::new(request, answer).map(Ok))
    }
}

/// `application/grpc`, alone or followed by a format or parameters.
fn is_grpc(content_type: &[u8]) -> bool {
    content_type.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grpc_itself_is_grpc() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web-text", false),
            ("application/grpcx", false),
            ("application/json", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(content_type.as_bytes()), expected, "{content_type}");
        }
    }
}
