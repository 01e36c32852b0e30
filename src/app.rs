//! The composition root: builds every part, binds, runs, drains. The only file that knows all the others.
//!
//! Start: configuration, secrets, bind, not ready, serve, ready. Drain: not ready, announce delay, GOAWAY,
//! finish what is in flight within the grace period, leave.

mod errors;
mod files;

use std::{future::pending, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    errors::{RunError, StartError},
    files::{check_files, warnings},
};
use crate::{
    adapters::{account_store, audit_log, file_stamps::FileStamps},
    application::{
        Clock,
        audit::{Audit, Settle, Unclosed},
        check_auth_status::CheckAuthStatus,
        generation::{Generation, Generations},
        issue_token::IssueToken,
        shadow::Shadow,
        watch_metabase::{settle_rotations, watch_metabase},
    },
    config::{Config, Drain, Limits, ListenAddress, ServerConfig},
    hardening::Confinement,
    lifecycle::{Stop, announce, keep_ending_watches},
    reload::{self, Fixed, Reloader},
    report_metabase,
    telemetry::{Metrics, Tracing},
    transport::{
        self, Parts, acceptor,
        admission::Admission,
        bearer::Issuers,
        health::Health,
        listener::Listener,
        metrics_endpoint,
        serving::serve,
        tls::{CurrentTls, TlsError},
    },
};

/// For the audit log after a second signal: what it takes to write some lines, where that does not hang.
const MOMENT: Duration = Duration::from_millis(250);

/// A server whose addresses are bound and whose parts are built; connections wait until [`App::run`].
#[derive(Debug)]
pub struct App {
    listener: Listener,
    probe_listener: Option<TcpListener>,
    metrics_listener: TcpListener,
    tls: Option<Arc<CurrentTls>>,
    health: Health,
    metrics: Arc<Metrics>,
    parts: Parts,
    limits: Limits,
    drain: Drain,
    reloader: Option<Reloader>,
    generations: Arc<Generations>,
    clock: Arc<dyn Clock>,
    audit: Arc<Audit>,
    settle: Settle,
    tracing: Option<Arc<Tracing>>,
    /// What is finished before the end, such as sessions of live checks.
    tasks: TaskTracker,
}

/// A configuration file whose changes are taken into force, and the state of it and its secrets as they were read.
#[derive(Debug)]
pub struct WatchedFile {
    /// The file.
    pub file: PathBuf,
    /// From before it was read.
    pub stamps: FileStamps,
    /// Its `[server]`, which the command line may have overridden.
    pub server: ServerConfig,
    /// What the process can still reach.
    pub confinement: Confinement,
}

/// Where the server listens.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// gRPC.
    pub grpc: ListenAddress,
    /// Whether gRPC is in TLS.
    pub has_tls: bool,
    /// Health alone.
    pub probe: Option<SocketAddr>,
    /// Metrics over HTTP.
    pub metrics: SocketAddr,
}

fn load_tls(server: &ServerConfig, metrics: &Arc<Metrics>) -> Result<Option<Arc<CurrentTls>>, TlsError> {
    let files = server.tls.clone();
    let tls =
        files.map(|files| CurrentTls::load(files, !server.proofs.jwt.is_empty(), Arc::clone(metrics))).transpose()?;
    Ok(tls.map(Arc::new))
}

impl App {
    /// Binds all addresses and builds the server around `generation`. With the `file` that it came from, changes of it
    /// and of all files it names are taken into force while serving.
    ///
    /// # Errors
    /// An address cannot be bound, or the TLS files or the audit log cannot be used.
    pub async fn bind(
        config: Config,
        file: Option<WatchedFile>,
        generation: Generation,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let Config { server, audit: audit_config, tracing: tracing_config, accounts: accounts_config, .. } = config;
        let tracing = tracing_config.as_ref().map(files::start_tracing).transpose()?;
        let tls_stamps = server.tls.as_ref().map(|files| FileStamps::take(files.paths()));
        let metrics = Arc::<Metrics>::default();
        let tls = load_tls(&server, &metrics)?;
        let issuer_stamps = FileStamps::take(server.proofs.key_files());
        let issuers = Arc::new(Issuers::load(&server.proofs.jwt, &metrics)?);
        let failed = |address: &dyn ToString, purpose| {
            let address = address.to_string();
            move |error| StartError::Listen { address, purpose, error }
        };
        let listener = Listener::bind(&server.listen, server.listen_mode).map_err(failed(&server.listen, "gRPC"))?;
        let probe_listener = match server.probe_listen {
            Some(address) => Some(TcpListener::bind(address).await.map_err(failed(&address, "probes"))?),
            None => None,
        };
        let metrics_listener =
            TcpListener::bind(server.metrics_listen).await.map_err(failed(&server.metrics_listen, "metrics"))?;
        let (audit, settle) = match &audit_config {
            Some(config) => audit_log::open(config, Arc::clone(&clock), metrics.audit())?,
            None => (Audit::off(Arc::clone(&clock)), Settle::default()),
        };
        let audit = Arc::new(audit);
        let waiting = Arc::clone(&audit);
        metrics.audit().count_by(move || waiting.waiting());
        let accounts = Arc::new(account_store::open(&accounts_config, metrics.accounts.clone()).await?);
        let generations = Arc::new(Generations::new(generation));
        let health = Health::not_ready().await;
        metrics.generation(generations.number(), clock.now().seconds());
        generations.current().instances().for_each(|one| metrics.accounts.begin(one.instance.name.as_str()));
        let tasks = TaskTracker::new();
        let shadow = Shadow::new(Arc::clone(&metrics));
        let parts = Parts {
            issue_token: IssueToken::new(
                Arc::clone(&generations),
                Arc::clone(&clock),
                shadow.clone(),
                accounts,
                Arc::clone(&audit),
            ),
            check_auth_status: CheckAuthStatus::new(
                Arc::clone(&generations),
                Arc::clone(&clock),
                shadow,
                Arc::clone(&audit),
                tasks.clone(),
            ),
            proofs: server.proofs.clone(),
            issuers: Arc::clone(&issuers),
            audit: Arc::clone(&audit),
            generations: Arc::clone(&generations),
            limits: server.limits,
            reflection: server.reflection,
            metrics: Arc::clone(&metrics),
            tracing: tracing.clone(),
            health: health.clone(),
        };
        let reloader = file.map(|WatchedFile { file, stamps, server, confinement }| Reloader {
            file,
            stamps,
            server,
            fixed: Fixed { audit: audit_config, tracing: tracing_config, accounts: accounts_config },
            confinement,
            generations: Arc::clone(&generations),
            tls: tls_stamps.zip(tls.clone()),
            issuers: (issuer_stamps, issuers),
            hangup: reload::follow_hangup(),
            metrics: Arc::clone(&metrics),
            audit: Arc::clone(&audit),
            clock: Arc::clone(&clock),
        });
        Ok(Self {
            listener,
            probe_listener,
            metrics_listener,
            tls,
            health,
            metrics,
            parts,
            limits: server.limits,
            drain: server.drain,
            reloader,
            generations,
            clock,
            audit,
            settle,
            tracing,
            tasks,
        })
    }

    /// Where the server listens, with the ports that the system chose for port 0.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn addresses(&self) -> io::Result<Addresses> {
        Ok(Addresses {
            grpc: self.listener.address()?,
            has_tls: self.tls.is_some(),
            probe: self.probe_listener.as_ref().map(TcpListener::local_addr).transpose()?,
            metrics: self.metrics_listener.local_addr()?,
        })
    }

    /// Serves until `stop`, then drains.
    ///
    /// # Errors
    /// The server failed, or in-flight RPCs were cut off.
    pub async fn run(self, stop: Stop) -> Result<(), RunError> {
        let Self {
            listener,
            probe_listener,
            metrics_listener,
            tls,
            mut health,
            metrics,
            parts,
            limits,
            drain,
            reloader,
            generations,
            clock,
            audit,
            settle,
            tracing,
            tasks,
        } = self;
        settle_rotations(&generations.current_owned(), &*clock, &audit).await;
        health.ready().await;
        let drained = CancellationToken::new();
        let _ends_with_this = drained.clone().drop_guard();
        if let Some(listener) = probe_listener {
            let admission = Admission::new("probe", Limits::PROBES.max_connections, Arc::clone(&metrics));
            let probes = transport::probes(&health, Arc::clone(&metrics));
            // Up through the drain, and ends with the process.
            let incoming = acceptor::tcp(listener, None, admission);
            tokio::spawn(serve(probes, incoming, Limits::PROBES, Settle::default(), drained.clone()));
        }
        let in_flight = Arc::clone(&metrics);
        // Likewise.
        tokio::spawn(metrics_endpoint::serve(metrics_listener, metrics, drained.clone()));
        let issuers = Arc::clone(&parts.issuers);
        let (reports, reported) = mpsc::unbounded_channel();
        let publishing =
            report_metabase::publish(reported, Arc::clone(&generations), health.clone(), Arc::clone(&in_flight));
        let watching = async {
            tokio::join!(watch_metabase(Arc::clone(&generations), clock, Arc::clone(&audit), reports), publishing)
        };
        let admission = Admission::new("grpc", limits.max_connections, Arc::clone(&in_flight));
        let (incoming, _socket_file) = transport::incoming(listener, tls, admission);
        let leaving = CancellationToken::new();
        let grpc_server = serve(transport::services(parts), incoming, limits, settle, leaving.clone());
        let draining = async {
            stop.drain.cancelled().await;
            announce(&mut health, &generations, drain).await;
            leaving.cancel();
            let _ = timeout(drain.grace_period, keep_ending_watches(&mut health)).await;
        };
        // A client that keeps its connection open without an RPC on it loses nothing.
        let is_finished = || in_flight.rpcs.in_flight() <= 0 && tasks.is_empty();
        let ended = tokio::select! {
            biased; // Finished work wins over an expired deadline.
            () = async { grpc_server.await; tasks.close(); tasks.wait().await } => Ok(()),
            () = keep_reloading(reloader) => Ok(()),
            () = issuers.keep_fresh() => Ok(()),
            _ = watching => Ok(()),
            () = stop.abort.cancelled() => if is_finished() { Ok(()) } else { Err(RunError::Aborted) },
            () = draining => {
                if is_finished() { Ok(()) } else { Err(RunError::DrainTimedOut { grace_period: drain.grace_period }) }
            }
        };
        // However it ends, what was decided is on record. A second signal waits for no log that hangs, ...
        let closed = tokio::select! {
            biased;
            closed = audit.close() => closed,
            () = async { stop.abort.cancelled().await; sleep(MOMENT).await } => Err(Unclosed::Hangs),
        };
        // ... and for no collector.
        if let Some(tracing) = tracing.filter(|_| ended.is_ok()) {
            let _ = stop.abort.run_until_cancelled(spawn_blocking(move || tracing.finish())).await;
        }
        if let (Err(_), Err(error)) = (&ended, &closed) {
            tracing::error!("{error}");
        }
        ended?;
        closed?;
        tracing::info!("Drained");
        Ok(())
    }
}

/// Never resolves.
async fn keep_reloading(reloader: Option<Reloader>) {
    match reloader {
        Some(reloader) => reloader.run().await,
        None => pending().await,
    }
}
