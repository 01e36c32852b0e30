//! grpc.health.v1: alive from the start, ready when serving, not ready when draining.

use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as HealthTrait, HealthServer},
    server::{HealthReporter, HealthService},
};

/// Names that mean "ready to answer RPCs": the server as a whole, our service, and the probe's own.
const READINESS: [&str; 3] = ["", "metabase.token.v1.MetabaseTokenService", "readiness"];
/// The name that means "the process is alive".
const LIVENESS: &str = "liveness";

/// Followed by the name of an instance.
const METABASE: &str = "metabase/";

/// The state that probes see.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
}

impl Health {
    /// Alive and not ready. (A fresh `HealthReporter` would report `""` as serving.)
    pub async fn not_ready() -> Self {
        let health = Self { reporter: HealthReporter::new() };
        health.reporter.set_service_status(LIVENESS, ServingStatus::Serving).await;
        health.set_readiness(ServingStatus::NotServing).await;
        health
    }

    /// Ready.
    pub async fn ready(&self) {
        self.set_readiness(ServingStatus::Serving).await;
    }

    /// No longer ready; still alive.
    pub async fn draining(&self) {
        self.set_readiness(ServingStatus::NotServing).await;
    }

    /// Whether tokens for an instance are good at its Metabase, as `metabase/<instance>`. Readiness does not depend on it.
    pub async fn metabase(&self, instance: &str, is_agreed: bool) {
        let status = if is_agreed { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(format!("{METABASE}{instance}"), status).await;
    }

    /// An instance is not configured any more.
    pub async fn forget_metabase(&mut self, instance: &str) {
        self.reporter.clear_service_status(&format!("{METABASE}{instance}")).await;
    }

    /// Ends the streams of all watchers, which would otherwise hold their connections open through the drain. Whoever asks
    /// again is told the same: alive, not ready.
    pub async fn end_watches(&mut self) {
        for name in READINESS.into_iter().chain([LIVENESS]) {
            self.reporter.clear_service_status(name).await;
        }
        self.reporter.set_service_status(LIVENESS, ServingStatus::Serving).await;
        self.set_readiness(ServingStatus::NotServing).await;
    }

    pub(super) fn service(&self) -> HealthServer<impl HealthTrait + use<>> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    async fn set_readiness(&self, status: ServingStatus) {
        for name in READINESS {
            self.reporter.set_service_status(name, status).await;
        }
    }
}
