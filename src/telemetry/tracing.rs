//! Distributed tracing: one span for every RPC of the token service, as a child of the caller's, to an OpenTelemetry collector.

use std::{fmt, time::Duration};

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span},
};
use tonic::transport::{Certificate, ClientTlsConfig};

use super::span_export::Told;

/// For one export, and for the last one at the end.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Makes spans and exports them, in a thread of its own: a collector that is slow or away costs spans and holds nothing up.
pub struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

/// The span of one RPC. Ends when it is told to, or dropped.
#[derive(Debug)]
pub struct RpcSpan(Span);

/// The caller's side of the trace, from `traceparent` and `tracestate` (W3C Trace Context).
struct Metadata<'a>(&'a HeaderMap);

impl Extractor for Metadata<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

impl Tracing {
    /// Exports to `endpoint` by OTLP over gRPC, trusting the CAs of `ca_pem` if that is https. Of traces that begin here, `ratio` are
    /// sampled; otherwise the caller has decided. Needs a runtime.
    ///
    /// # Errors
    /// The exporter cannot be made.
    pub fn start(endpoint: &str, ca_pem: Option<&[u8]>, ratio: f64) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(TIMEOUT);
        let exporter = match ca_pem {
            Some(ca) => {
                exporter.with_tls_config(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca))).build()?
            }
            None => exporter.build()?,
        };
        let resource = Resource::builder()
            .with_service_name("metabase-token-service")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Told::new(exporter, endpoint))
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("metabase-token-service");
        Ok(Self { provider, tracer, propagator: TraceContextPropagator::new() })
    }

    /// Begins the span of an RPC. It holds the method, the request's identifier and later the caller's name; no personal data.
    #[must_use]
    pub fn begin(&self, method: &'static str, metadata: &HeaderMap, request_id: &str) -> RpcSpan {
        let parent = self.propagator.extract_with_context(&Context::new(), &Metadata(metadata));
        // What a client sends is no more than a hint: an unsampled, unknown parent is none.
        let parent = if parent.span().span_context().is_valid() { parent } else { Context::new() };
        let (service, name) = method.rsplit_once('/').unwrap_or(("", method));
        let attributes = [
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", service),
            KeyValue::new("rpc.method", name),
            KeyValue::new("request.id", request_id.to_owned()),
        ];
        let builder = SpanBuilder::from_name(method).with_kind(SpanKind::Server).with_attributes(attributes);
        RpcSpan(self.tracer.build_with_context(builder, &parent))
    }

    /// Exports what is left. Blocks for a few seconds at most.
    pub fn finish(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(%error, "The last spans were not exported");
        }
    }
}

impl RpcSpan {
    /// Ends the span with the gRPC code of the answer. `is_fault` is whether the server is to blame for it.
    pub fn end(&mut self, code: i64, caller: Option<&str>, is_fault: bool) {
        self.0.set_attribute(KeyValue::new("rpc.grpc.status_code", code));
        if let Some(caller) = caller {
            self.0.set_attribute(KeyValue::new("caller", caller.to_owned()));
        }
        if is_fault {
            self.0.set_status(Status::error(""));
        }
        self.0.end();
    }
}

impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracing").finish_non_exhaustive()
    }
}
