//! The gRPC server: layers, services, limits. The order of the layers is documented here and only here.

mod authenticate;
mod convert;
pub mod health;
pub mod listener;
pub mod metrics_endpoint;
mod observe;
mod service;
mod status;

use std::{sync::Arc, time::Duration};

use tonic::{
    service::{Routes, interceptor::InterceptedService},
    transport::{Server, server::Router},
};
use tower::layer::util::{Identity, Stack};

use self::{observe::ObserveLayer, service::TokenService};
use crate::{
    application::{check_auth_status::CheckAuthStatus, issue_token::IssueToken},
    domain::caller::CallerName,
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
    /// The caller behind every connection; none = nobody is authenticated.
    pub local_caller: Option<CallerName>,
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
    // Authentication covers our service only: probes prove nothing, and reflection is off unless configured.
    let service = InterceptedService::new(service, authenticate::interceptor(parts.local_caller));
    let mut routes = Routes::new(service).add_service(parts.health.service());
    if parts.reflection {
        let (v1, v1alpha) = (reflection().build_v1(), reflection().build_v1alpha());
        routes = routes
            .add_service(v1.expect("the descriptor sets are compiled in"))
            .add_service(v1alpha.expect("the descriptor sets are compiled in"));
    }
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_max_header_list_size(MAX_METADATA_BYTES)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
        .layer(ObserveLayer::new(parts.metrics)) // Outermost: also counts what the layers below refuse.
        .add_routes(routes)
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
