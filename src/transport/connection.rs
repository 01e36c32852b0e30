//! A connection, over whatever it goes, that has to begin as HTTP/2 in time.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::{Sleep, sleep},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::{
    certificate,
    peer::{Peer, Place},
};

/// A connection that the acceptor let in. Its client has to begin to speak HTTP/2 within 5 s: one that says nothing
/// would otherwise stay for ever, and hold up the drain.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// None once the preface has been read.
    preface: Option<Preface>,
}

/// What a connection goes over.
#[derive(Debug)]
pub(super) enum Stream {
    /// Plaintext.
    Plain(TcpStream),
    /// TLS, after its handshake.
    Tls(Box<TlsStream<TcpStream>>),
    /// Unix socket.
    Unix(UnixStream),
}

/// The beginning of a connection (RFC 9113, section 3.4); what it says is for the server to check.
#[derive(Debug)]
struct Preface {
    missing_bytes: usize,
    deadline: Pin<Box<Sleep>>,
}

/// For the client preface.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);
const PREFACE_BYTES: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        let preface = Preface { missing_bytes: PREFACE_BYTES, deadline: Box::pin(sleep(PREFACE_TIMEOUT)) };
        Self { stream, preface: Some(preface) }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        match &self.stream {
            Stream::Plain(stream) => Peer { place: Place::of(stream), certificate: None },
            Stream::Unix(_) => Peer { place: Place::Unix, certificate: None },
            Stream::Tls(stream) => {
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
        let Self { stream, preface } = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(stream).poll_read(cx, buf);
        if let Some(awaited) = preface {
            awaited.missing_bytes = awaited.missing_bytes.saturating_sub(buf.filled().len() - before);
            if awaited.missing_bytes == 0 {
                *preface = None;
            } else if awaited.deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

/// Not vectored on purpose: HTTP/2 would then give each answer of 256 bytes or more to the socket by itself, which takes more time than
/// all of ours. Without, it gathers answers below 1 KiB, as those with a token are, and writes what it has at once.
impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
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
}
