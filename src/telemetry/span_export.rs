//! Says once, in the words of the configuration, that spans are not taken, and once that they are again. The SDK would say so for
//! every batch, as an error, and without naming what to look at.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};

/// An exporter whose outages are told once.
#[derive(Debug)]
pub(super) struct Told<E> {
    exporter: E,
    endpoint: String,
    is_failing: AtomicBool,
}

impl<E> Told<E> {
    pub(super) fn new(exporter: E, endpoint: &str) -> Self {
        Self { exporter, endpoint: endpoint.to_owned(), is_failing: AtomicBool::new(false) }
    }

    fn tell(&self, result: OTelSdkResult) {
        let (endpoint, was_failing) = (&self.endpoint, self.is_failing.swap(result.is_err(), Ordering::Relaxed));
        match (result, was_failing) {
            (Err(error), false) => tracing::warn!(
                endpoint,
                %error,
                "Nobody takes spans at tracing.otlp_endpoint: they are dropped until somebody does; nothing else is held up"
            ),
            (Ok(()), true) => tracing::info!(endpoint, "Spans are taken again"),
            (Err(_), true) | (Ok(()), false) => {}
        }
    }
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.tell(self.exporter.export(batch).await);
        // The SDK could do nothing with a failure but log it.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
