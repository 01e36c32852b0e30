//! The composition root: builds every part, binds, runs, drains. The only file that knows all the others.
//!
//! Start: configuration, secrets, bind, not ready, serve, ready. Drain: not ready, GOAWAY,
//! finish what is in flight within the grace period, leave.

use std::{future::pending, io, net::SocketAddr, sync::Arc};

use thiserror::Error;
use tokio::{net::TcpListener, time::sleep};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use crate::{
    application::{Clock, check_auth_status::CheckAuthStatus, generation::Generation, issue_token::IssueToken},
    config::{ListenAddress, ServerConfig},
    lifecycle::{GRACE_PERIOD, Stop},
    telemetry::Metrics,
    transport::{self, Parts, health::Health, listener::Listener, metrics_endpoint},
};

/// A server whose addresses are bound and whose parts are built; connections wait until [`App::run`].
#[derive(Debug)]
pub struct App {
    listener: Listener,
    metrics_listener: TcpListener,
    health: Health,
    metrics: Arc<Metrics>,
    parts: Parts,
}

/// Where the server listens.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// gRPC.
    pub grpc: ListenAddress,
    /// Metrics over HTTP.
    pub metrics: SocketAddr,
}

/// Why the server could not start.
#[derive(Debug, Error)]
#[error("cannot listen on {address} ({purpose}): {error}")]
pub struct StartError {
    address: String,
    purpose: &'static str,
    error: io::Error,
}

/// Why the server did not end cleanly.
#[derive(Debug, Error)]
pub enum RunError {
    /// A second signal came before everything in flight was finished.
    #[error("stopped by a second signal before everything in flight was finished")]
    Aborted,
    /// In-flight RPCs took longer than the grace period.
    #[error("{} s were not enough to finish what was in flight", GRACE_PERIOD.as_secs())]
    DrainTimedOut,
    /// The gRPC server failed.
    #[error("the gRPC server failed: {0}")]
    Grpc(#[from] tonic::transport::Error),
    /// The metrics server failed.
    #[error("the metrics server failed: {0}")]
    Metrics(io::Error),
}

impl App {
    /// Binds both addresses and builds the server around `generation`.
    ///
    /// # Errors
    /// An address cannot be bound.
    pub async fn bind(
        config: &ServerConfig,
        generation: Generation,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let failed = |address: String, purpose| move |error| StartError { address, purpose, error };
        let listener = Listener::bind(&config.listen).await.map_err(failed(config.listen.to_string(), "gRPC"))?;
        let metrics_listener = TcpListener::bind(config.metrics_listen)
            .await
            .map_err(failed(config.metrics_listen.to_string(), "metrics"))?;
        let (generation, metrics, health) = (Arc::new(generation), Arc::default(), Health::not_ready().await);
        let parts = Parts {
            issue_token: IssueToken::new(Arc::clone(&generation), Arc::clone(&clock)),
            check_auth_status: CheckAuthStatus::new(generation, clock),
            local_caller: config.local_caller.clone(),
            reflection: config.reflection,
            metrics: Arc::clone(&metrics),
            health: health.clone(),
        };
        Ok(Self { listener, metrics_listener, health, metrics, parts })
    }

    /// Where the server listens, with the ports that the system chose for port 0.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn addresses(&self) -> io::Result<Addresses> {
        Ok(Addresses { grpc: self.listener.address()?, metrics: self.metrics_listener.local_addr()? })
    }

    /// Serves until `stop`, then drains.
    ///
    /// # Errors
    /// The server failed, or in-flight RPCs were cut off.
    pub async fn run(self, stop: Stop) -> Result<(), RunError> {
        let Self { listener, metrics_listener, health, metrics, parts } = self;
        health.ready().await;
        let stop_metrics = CancellationToken::new();
        let metrics_server = metrics_endpoint::serve(metrics_listener, metrics, stop_metrics.clone());
        let router = transport::router(parts);
        let drain = drain_begins(health, stop.drain.clone());
        let grpc_server = async {
            match listener {
                Listener::Tcp(listener) => {
                    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                    router.serve_with_incoming_shutdown(incoming, drain).await
                }
                Listener::Unix(listener, _removed_at_the_end) => {
                    router.serve_with_incoming_shutdown(UnixListenerStream::new(listener), drain).await
                }
            }
        };
        tokio::select! {
            biased; // Finished work wins over an expired deadline.
            served = grpc_server => served?,
            failed = never_ends_well(metrics_server) => return Err(RunError::Metrics(failed)),
            () = stop.abort.cancelled() => return Err(RunError::Aborted),
            () = expired(&stop.drain) => return Err(RunError::DrainTimedOut),
        }
        tracing::info!("Drained");
        Ok(())
    }
}

/// Resolves when the server shall send GOAWAY.
async fn drain_begins(mut health: Health, drain: CancellationToken) {
    drain.cancelled().await;
    tracing::info!(grace_period_s = GRACE_PERIOD.as_secs(), "Draining");
    health.draining().await;
    health.end_watches().await;
}

async fn expired(drain: &CancellationToken) {
    drain.cancelled().await;
    sleep(GRACE_PERIOD).await;
}

/// The metrics port stays up through the drain and ends with the process; only its failure is an event.
async fn never_ends_well(server: impl Future<Output = io::Result<()>>) -> io::Error {
    match server.await {
        Ok(()) => pending().await,
        Err(error) => error,
    }
}
