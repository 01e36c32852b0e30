//! The gRPC server: layers, services, limits. The order of the layers is documented here and only here.

pub mod acceptor;
mod activity;
pub mod admission;
mod arrival;
mod authenticate;
pub mod bearer;
mod certificate;
pub mod connection;
mod convert;
mod deadline;
mod forwarded;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handshakes;
pub mod health;
mod http2;
mod limits;
pub mod listener;
pub mod metrics_endpoint;
mod notes;
mod observe;
pub mod peer;
pub mod protocol;
mod refusal;
mod request_id;
mod requests;
mod service;
pub mod serving;
mod status;
pub mod tls;
mod warnings;

use std::{convert::Infallible, sync::Arc};

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::{body::Body, service::Routes};
use tower::Service;

use self::{
    admission::Admission,
    arrival::Arrivals,
    authenticate::{Authenticator, layer::Authenticated},
    limits::{Limited, Room},
    listener::{Listener, SocketFile},
    observe::Observe,
    protocol::GrpcOnly,
    service::TokenService,
    tls::CurrentTls,
};
pub use crate::proto;
use crate::{
    application::{audit::Audit, check_auth_status::CheckAuthStatus, generation::Generations, issue_token::IssueToken},
    config::{Limits, Proofs},
    telemetry::{Metrics, Tracing},
};

/// Descriptors of all our messages and services, with their comments.
const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));

/// Bytes of a request message. The largest valid one has about 250 kB only if every limit of every field is used up in
/// four-byte characters; a token that Metabase can read comes from far less.
const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// What the server is made of.
#[derive(Debug)]
pub struct Parts {
    /// Behind `IssueMetabaseToken`.
    pub issue_token: IssueToken,
    /// Behind `CheckAuthStatus`.
    pub check_auth_status: CheckAuthStatus,
    /// Which proofs of identity count.
    pub proofs: Proofs,
    /// The issuers whose bearer tokens count.
    pub issuers: Arc<bearer::Issuers>,
    /// Where refusals are recorded.
    pub audit: Arc<Audit>,
    /// Knows the callers' names.
    pub generations: Arc<Generations>,
    /// What is too much.
    pub limits: Limits,
    /// Whether to answer reflection.
    pub reflection: bool,
    /// Where RPCs are counted.
    pub metrics: Arc<Metrics>,
    /// Where spans go; none = nowhere.
    pub tracing: Option<Arc<Tracing>>,
    /// Answers grpc.health.v1.
    pub health: health::Health,
}

/// Puts the services together. Layers, outermost first: observe, which also counts what the others refuse; gRPC and nothing else; room,
/// which costs least; deadline; authentication. Authorization and rates need the decoded request, and are the use cases' own.
///
/// # Panics
/// Never: the descriptor sets that reflection decodes are compiled in.
#[must_use]
pub fn services(
    parts: Parts,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    let service = TokenService::new(parts.issue_token, parts.check_auth_status, Arc::clone(&parts.metrics));
    let service = proto::metabase_token_service_server::MetabaseTokenServiceServer::new(service)
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    // Authentication covers everything but health, which tells nobody anything.
    let authenticator = Arc::new(Authenticator::new(parts.proofs, parts.issuers, parts.audit, &parts.limits));
    let service = Authenticated::new(service, Arc::clone(&authenticator));
    // With the service itself: what is none of its RPCs is unknown to proven callers alone.
    let mut others = Routes::new(service.clone()).add_service(parts.health.service());
    if parts.reflection {
        let v1 = reflection().build_v1().expect("the descriptor sets are compiled in");
        let v1alpha = reflection().build_v1alpha().expect("the descriptor sets are compiled in");
        others = others
            .add_service(Authenticated::new(v1, Arc::clone(&authenticator)))
            .add_service(Authenticated::new(v1alpha, authenticator));
    }
    let arrivals = Arrivals::new(&parts.limits, Some(Arc::clone(&parts.generations)));
    let room = Room::new(&parts.limits, Arc::clone(&parts.metrics));
    let limited = Limited::new(service, others.prepare(), room);
    Observe::new(GrpcOnly::new(limited), parts.metrics, arrivals, Some(parts.generations), parts.tracing)
}

/// What the probe listener answers: health and nothing else.
#[must_use]
pub fn probes(health: &health::Health, metrics: Arc<Metrics>) -> Observe<GrpcOnly<Routes>> {
    let arrivals = Arrivals::new(&Limits::PROBES, None);
    Observe::new(GrpcOnly::new(Routes::new(health.service()).prepare()), metrics, arrivals, None, None)
}

/// Accepts connections of the gRPC listener, each with its [`peer::Peer`].
pub fn incoming(
    listener: Listener,
    tls: Option<Arc<CurrentTls>>,
    admission: Admission,
) -> (acceptor::Incoming, Option<SocketFile>) {
    match listener {
        Listener::Tcp(listener) => (acceptor::tcp(listener, tls, admission), None),
        Listener::Unix(listener, file) => (acceptor::unix(listener, admission), Some(file)),
    }
}

/// Descriptors of everything the server answers, so that tools list the same services whichever version they speak.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .include_reflection_service(false)
        .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET) // Error details in words.
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
}
