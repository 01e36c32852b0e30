//! Accepts connections. Handshakes run beside the accept loop, each with a timeout, so that a slow or hostile client delays
//! nobody.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    connection::{Connection, Stream},
    tls::CurrentTls,
};

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that are accepted and not yet served.
const BACKLOG: usize = 64;
/// Pause after a failure to accept, which is mostly a lack of file descriptors that takes a moment to pass.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Accepted connections.
pub type Incoming = ReceiverStream<io::Result<Connection>>;

/// Accepts from a TCP listener until the returned stream is dropped.
pub fn tcp(listener: TcpListener, tls: Option<Arc<CurrentTls>>) -> Incoming {
    let (accepted, incoming) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        while let Some(stream) = next(|| listener.accept(), &accepted).await {
            // Requests and answers are small: waiting to fill a packet only delays them.
            let _ = stream.set_nodelay(true);
            let Some(tls) = &tls else {
                if accepted.send(Ok(Connection::new(Stream::Plain(stream)))).await.is_err() {
                    return;
                }
                continue;
            };
            let (acceptor, accepted) = (TlsAcceptor::from(tls.current()), accepted.clone());
            tokio::spawn(async move {
                match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => _ = accepted.send(Ok(Connection::new(Stream::Tls(Box::new(stream))))).await,
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => tracing::debug!("TLS handshake timed out"),
                }
            });
        }
    });
    ReceiverStream::new(incoming)
}

/// Accepts from a Unix socket until the returned stream is dropped.
pub(super) fn unix(listener: UnixListener) -> Incoming {
    let (accepted, incoming) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        while let Some(stream) = next(|| listener.accept(), &accepted).await {
            if accepted.send(Ok(Connection::new(Stream::Unix(stream)))).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(incoming)
}

/// The next connection; none once nobody takes connections any more.
async fn next<S, A, F>(accept: impl Fn() -> F, accepted: &mpsc::Sender<io::Result<Connection>>) -> Option<S>
where
    F: Future<Output = io::Result<(S, A)>>,
{
    loop {
        tokio::select! {
            connection = accept() => match connection {
                Ok((stream, _)) => return Some(stream),
                Err(error) => {
                    tracing::warn!(%error, "A connection was not accepted");
                    sleep(PAUSE_AFTER_FAILURE).await;
                }
            },
            () = accepted.closed() => return None,
        }
    }
}
