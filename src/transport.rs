//! The gRPC server: layers, services, limits. The order of the layers is documented here and only here.

pub mod acceptor;
mod authenticate;
pub mod bearer;
mod certificate;
pub mod connection;
mod convert;
mod deadline;
mod forwarded;
pub mod health;
pub mod listener;
pub mod metrics_endpoint;
mod observe;
pub mod peer;
mod service;
mod status;
pub mod tls;

use std::{sync::Arc, time::Duration};

use tonic::{
    service::Routes,
    transport::{Server, server::Router},
};
use tower::layer::util::{Identity, Stack};

use self::{
    authenticate::{Authenticator, layer::Authenticated},
    listener::{Listener, SocketFile},
    observe::ObserveLayer,
    service::TokenService,
    tls::CurrentTls,
};
use crate::{
    application::{audit::Audit, check_auth_status::CheckAuthStatus, issue_token::IssueToken},
    config::Proofs,
    telemetry::Metrics,
};

/// The code generated from `proto/`. It stops at this module: nothing below knows it.
#[expect(clippy::allow_attributes, clippy::pedantic, unused_qualifications, reason = "generated")]
pub mod proto {
    tonic::include_proto!("metabase.token.v1");
}

/// Descriptors of all our messages and services, with their comments.
const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));

/// Bytes of a request message. The largest valid one has about 250 kB only if every limit of every field is used up in
/// four-byte characters; a token that Metabase can read comes from far less.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// Bytes of a request's metadata.
const MAX_METADATA_BYTES: u32 = 16 * 1024;
/// Requests that one connection may have in flight.
const MAX_STREAMS_PER_CONNECTION: u32 = 256;

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
    /// Whether to answer reflection.
    pub reflection: bool,
    /// Where RPCs are counted.
    pub metrics: Arc<Metrics>,
    /// Answers grpc.health.v1.
    pub health: health::Health,
}

/// Puts the server together.
///
/// # Panics
/// Never: the descriptor sets that reflection decodes are compiled in.
#[must_use]
pub fn router(parts: Parts) -> Router<Stack<ObserveLayer, Identity>> {
    let service = TokenService::new(parts.issue_token, parts.check_auth_status, Arc::clone(&parts.metrics));
    let service = proto::metabase_token_service_server::MetabaseTokenServiceServer::new(service)
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    // Authentication covers everything but health, which tells nobody anything.
    let authenticator = Arc::new(Authenticator::new(parts.proofs, parts.issuers, parts.audit));
    let service = Authenticated::new(service, Arc::clone(&authenticator));
    let mut routes = Routes::new(service).add_service(parts.health.service());
    if parts.reflection {
        let v1 = reflection().build_v1().expect("the descriptor sets are compiled in");
        let v1alpha = reflection().build_v1alpha().expect("the descriptor sets are compiled in");
        routes = routes
            .add_service(Authenticated::new(v1, Arc::clone(&authenticator)))
            .add_service(Authenticated::new(v1alpha, authenticator));
    }
    server(parts.metrics).add_routes(routes)
}

/// The server of the probe listener: health and nothing else.
#[must_use]
pub fn probe_router(health: &health::Health, metrics: Arc<Metrics>) -> Router<Stack<ObserveLayer, Identity>> {
    server(metrics).add_routes(Routes::new(health.service()))
}

/// Accepts connections of the gRPC listener, each with its [`peer::Peer`].
pub fn incoming(listener: Listener, tls: Option<Arc<CurrentTls>>) -> (acceptor::Incoming, Option<SocketFile>) {
    match listener {
        Listener::Tcp(listener) => (acceptor::tcp(listener, tls), None),
        Listener::Unix(listener, file) => (acceptor::unix(listener), Some(file)),
    }
}

fn server(metrics: Arc<Metrics>) -> Server<Stack<ObserveLayer, Identity>> {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_max_header_list_size(MAX_METADATA_BYTES)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .layer(ObserveLayer::new(metrics)) // Outermost: also counts what the layers below refuse.
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
