//! Accepts connections. Handshakes run beside the accept loop, each with a timeout, so that a slow or hostile client delays
//! nobody.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use rustls::server::Acceptor;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_rustls::LazyConfigAcceptor;

use super::{
    admission::{Admission, Admitted},
    connection::{Connection, Stream},
    handshakes::Handshakes,
    tls::CurrentTls,
};
use crate::telemetry::Handshake;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that are accepted and not yet served.
const BACKLOG: usize = 64;
/// Pause after a failure to accept, which is mostly a lack of file descriptors that takes a moment to pass.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// A connection, and its place among those of its listener.
#[derive(Debug)]
pub struct Accepted {
    pub(super) connection: Connection,
    pub(super) admitted: Admitted,
}

impl Accepted {
    fn new(stream: Stream, admitted: Admitted) -> Self {
        Self { connection: Connection::new(stream), admitted }
    }
}

/// Accepted connections.
#[derive(Debug)]
pub struct Incoming {
    accepted: mpsc::Receiver<Accepted>,
    /// Dropped when no more are wanted.
    wanted: Option<oneshot::Sender<Infallible>>,
}

impl Incoming {
    fn new() -> (Self, mpsc::Sender<Accepted>, oneshot::Receiver<Infallible>) {
        let ((sender, accepted), (wanted, unwanted)) = (mpsc::channel(BACKLOG), oneshot::channel());
        (Self { accepted, wanted: Some(wanted) }, sender, unwanted)
    }

    /// The next connection; none = there is none, and there will be none.
    pub(super) async fn next(&mut self) -> Option<Accepted> {
        self.accepted.recv().await
    }

    /// No more connections are accepted but those that the system has accepted already: their clients may have sent a
    /// request by now, and would lose it.
    pub(super) fn close(&mut self) {
        self.wanted = None;
    }
}

/// Accepts from a TCP listener until the returned [`Incoming`] is closed or dropped.
pub fn tcp(listener: TcpListener, tls: Option<Arc<CurrentTls>>, admission: Admission) -> Incoming {
    let (incoming, accepted, mut unwanted) = Incoming::new();
    let handshakes = Arc::new(Handshakes::new(admission.max_connections));
    tokio::spawn(async move {
        while let Some((stream, peer, admitted)) = next(|| listener.accept(), &admission, &mut unwanted).await {
            // Requests and answers are small: waiting to fill a packet only delays them.
            let _ = stream.set_nodelay(true);
            let Some(tls) = &tls else {
                if accepted.send(Accepted::new(Stream::Plain(stream), admitted)).await.is_err() {
                    return;
                }
                continue;
            };
            let (config, accepted) = (tls.current(), accepted.clone());
            let metrics = Arc::clone(&admission.metrics);
            let (under_way, superseded) = handshakes.begin(admitted).await;
            tokio::spawn(async move {
                let handshake = async {
                    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
                    under_way.greeted();
                    hello.into_stream(config).await
                };
                let handshake = async {
                    tokio::select! {
                        biased; // Finished work wins over a newcomer.
                        done = handshake => Some(done),
                        _ = superseded => None,
                    }
                };
                let done = timeout(HANDSHAKE_TIMEOUT, handshake).await;
                let outcome = match (done, under_way.done()) {
                    (Ok(Some(Ok(stream))), Some(admitted)) => {
                        _ = accepted.send(Accepted::new(Stream::Tls(Box::new(stream)), admitted)).await;
                        Handshake::Succeeded
                    }
                    (Ok(Some(Err(error))), _) => {
                        tracing::debug!(%peer, %error, "TLS handshake failed");
                        Handshake::Failed
                    }
                    (Ok(Some(Ok(_)) | None) | Err(_), _) => {
                        tracing::debug!(%peer, "TLS handshake timed out, or gave way to newer ones");
                        Handshake::TimedOut
                    }
                };
                metrics.load.handshake(outcome);
            });
        }
    });
    incoming
}

/// Accepts from a Unix socket until the returned [`Incoming`] is closed or dropped.
pub(super) fn unix(listener: UnixListener, admission: Admission) -> Incoming {
    let (incoming, accepted, mut unwanted) = Incoming::new();
    tokio::spawn(async move {
        while let Some((stream, _, admitted)) = next(|| listener.accept(), &admission, &mut unwanted).await {
            if accepted.send(Accepted::new(Stream::Unix(stream), admitted)).await.is_err() {
                return;
            }
        }
    });
    incoming
}

/// The next connection that there is room for; none once no more are wanted and none waits any more.
async fn next<S, A, F>(
    accept: impl Fn() -> F,
    admission: &Admission,
    unwanted: &mut oneshot::Receiver<Infallible>,
) -> Option<(S, A, Admitted)>
where
    F: Future<Output = io::Result<(S, A)>>,
{
    loop {
        tokio::select! {
            biased;
            connection = accept() => match connection {
                Ok((stream, peer)) => if let Some(admitted) = admission.admit() {
                    return Some((stream, peer, admitted));
                },
                Err(error) => {
                    tracing::warn!(%error, "A connection was not accepted");
                    sleep(PAUSE_AFTER_FAILURE).await;
                }
            },
            _ = &mut *unwanted => return None,
        }
    }
}
