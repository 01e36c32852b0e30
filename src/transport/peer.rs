//! The other end of a connection, and what the connection itself proves about it.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::certificate::NotAnSvid;
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

    pub(super) fn of(stream: &TcpStream) -> Self {
        // An IPv4 peer of a dual-stack socket is `::ffff:127.0.0.1`.
        let is_loopback = stream.peer_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
        if is_loopback { Self::Loopback } else { Self::Remote }
    }
}
