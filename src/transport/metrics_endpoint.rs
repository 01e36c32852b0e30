//! The metrics port: `GET /metrics` and nothing else.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;

/// Connections at once. The attack: whoever reaches the port opens as many as the process may have files, and nobody gets tokens.
const MAX_CONNECTIONS: usize = 32;
/// For a whole connection, which has one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the head of the request.
const PATIENCE_FOR_HEAD: Duration = Duration::from_secs(3);

/// Serves `metrics` until `stop`.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, stop: CancellationToken) {
    let router = Router::new().route("/metrics", get(encode)).with_state(metrics);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Those beyond it wait in the system's queue, which is bounded, too.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // One connection's own failure, or no file left for it: the next may do better.
                Err(error) => {
                    tracing::debug!(%error, "A connection for metrics was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(PATIENCE_FOR_HEAD).keep_alive(false);
            // Whoever is late or leaves needs no answer.
            let _ = timeout(PATIENCE, server.serve_connection(TokioIo::new(stream), service)).await;
            drop(place);
        });
    }
}

async fn encode(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], metrics.encode())
}
