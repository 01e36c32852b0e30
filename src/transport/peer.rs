//! The other end of a connection, and what the connection itself proves about it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::certificate::{self, NotAnSvid};
use crate::{config::TrustedPeers, domain::identity::Identity};

/// What every request of a connection can be asked about its other end.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it is.
    pub(super) place: Place,
    /// The identity in the client's certificate; none without a certificate. Read once, at the handshake.
    pub(super) certificate: Option<Arc<Result<Identity, NotAnSvid>>>,
}

/// Where the other end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// This machine, over TCP.
    Loopback,
    /// Anywhere.
    Remote,
    /// This machine, over the Unix socket.
    Unix,
}

impl Place {
    /// Whether only this machine can be on the other end.
    pub(super) const fn is_local(self) -> bool {
        matches!(self, Self::Loopback | Self::Unix)
    }

    /// Whether it may forward the identity of somebody else.
    pub(super) const fn is_trusted(self, peers: TrustedPeers) -> bool {
        match self {
            Self::Loopback => peers.loopback,
            Self::Remote => false,
            Self::Unix => peers.unix,
        }
    }

    fn of(stream: &TcpStream) -> Self {
        // An IPv4 peer of a dual-stack socket is `::ffff:127.0.0.1`.
        let is_loopback = stream.peer_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
        if is_loopback { Self::Loopback } else { Self::Remote }
    }
}

/// A connection that the acceptor let in.
#[derive(Debug)]
pub enum Connection {
    /// Plaintext.
    Plain(TcpStream),
    /// TLS, after its handshake.
    Tls(Box<TlsStream<TcpStream>>),
    /// Unix socket.
    Unix(UnixStream),
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        match self {
            Self::Plain(stream) => Peer { place: Place::of(stream), certificate: None },
            Self::Unix(_) => Peer { place: Place::Unix, certificate: None },
            Self::Tls(stream) => {
                let (tcp, tls) = stream.get_ref();
                let leaf = tls.peer_certificates().and_then(|chain| chain.first());
                let certificate = leaf.map(|leaf| Arc::new(certificate::identity(leaf)));
                Peer { place: Place::of(tcp), certificate }
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }
}
