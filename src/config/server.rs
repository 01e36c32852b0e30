//! `[server]`: where to listen, with what TLS, and which proofs of identity count.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use url::Url;

use super::{Drain, Limits};
use crate::domain::caller::CallerName;

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where gRPC is served. Without `tls`: loopback or a Unix socket.
    pub listen: ListenAddress,
    /// Permission bits of the Unix socket: who may connect.
    pub listen_mode: u32,
    /// Where health alone is served, in plaintext and to anyone: for probes that cannot prove who they are.
    pub probe_listen: Option<SocketAddr>,
    /// TLS of `listen`.
    pub tls: Option<TlsFiles>,
    /// Where metrics are served.
    pub metrics_listen: SocketAddr,
    /// Whether the server describes itself to tools such as grpcurl.
    pub reflection: bool,
    /// Whether a measure of hardening that does not hold stops the start.
    pub require_hardening: bool,
    /// Which proofs of identity count.
    pub proofs: Proofs,
    /// What is too much.
    pub limits: Limits,
    /// How the server ends.
    pub drain: Drain,
}

impl ServerConfig {
    /// Only the user that the service runs as.
    pub const DEFAULT_LISTEN_MODE: u32 = 0o600;
}

/// `[server.tls]`: where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate and its intermediates, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub private_key: PathBuf,
    /// CAs that vouch for clients, as PEM; none = clients have no certificates.
    pub client_ca: Option<PathBuf>,
    /// What those CAs have revoked, as PEM.
    pub client_crl: Option<PathBuf>,
}

impl TlsFiles {
    /// Every file.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let optional = [&self.client_ca, &self.client_crl].into_iter().filter_map(Option::as_deref);
        [self.certificate.as_path(), &self.private_key].into_iter().chain(optional)
    }
}

/// `[server.identity]`: which proofs of identity count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proofs {
    /// The name of whoever comes from this machine without another proof.
    pub local: Option<CallerName>,
    /// Client certificates.
    pub mtls: bool,
    /// Issuers of bearer tokens.
    pub jwt: Vec<JwtIssuer>,
    /// Peers whose `x-forwarded-client-cert` counts.
    pub xfcc: TrustedPeers,
    /// Peers whose `l5d-client-id` counts.
    pub linkerd: TrustedPeers,
}

impl Proofs {
    /// Every file of public keys.
    pub fn key_files(&self) -> impl Iterator<Item = &Path> {
        self.jwt.iter().filter_map(|issuer| match &issuer.jwks {
            KeySource::File(path) => Some(path.as_path()),
            KeySource::Url { .. } => None,
        })
    }
}

/// `[[server.identity.jwt]]`: who may issue bearer tokens that name callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtIssuer {
    /// The `iss` claim, exactly. Unique.
    pub issuer: String,
    /// What the `aud` claim has to contain.
    pub audience: String,
    /// Where its public keys are, a JSON Web Key Set (RFC 7517).
    pub jwks: KeySource,
    /// Its subjects are SPIFFE IDs of this trust domain; none = they are Kubernetes service accounts.
    pub trust_domain: Option<String>,
}

/// Where public keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// In a file.
    File(PathBuf),
    /// Behind a URL.
    Url {
        /// Its scheme is https.
        url: Url,
        /// File of the CAs that vouch for its server, as PEM; none = those of the system.
        ca: Option<PathBuf>,
    },
}

/// Peers on this machine that may forward the identity of somebody else. The default trusts none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrustedPeers {
    /// Those that connect from a loopback address.
    pub loopback: bool,
    /// Those that connect to the Unix socket.
    pub unix: bool,
}

impl TrustedPeers {
    /// Whether any are trusted.
    #[must_use]
    pub const fn any(self) -> bool {
        self.loopback || self.unix
    }
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// IP address and port; port 0 = any free one.
    Tcp(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
