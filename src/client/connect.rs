//! How the service is reached: address, TLS, time.

use std::{fmt, net::IpAddr, time::Duration};

use http::Uri;
use thiserror::Error;
use tokio::time::timeout;
use tonic::transport::{self, Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::{Client, DEADLINE, TRIES};

/// A peer that vanished without a word is noticed within these two.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no client.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address cannot be read.
    #[error("the address must be https://HOST:PORT, http://HOST:PORT or unix:/PATH")]
    Address,
    /// https needs a CA: none is trusted by itself.
    #[error("an https address needs `ca_certificate`, the CA to trust")]
    NoCa,
    /// The attack: whoever sets the address takes the TLS away that the program asked for.
    #[error("`ca_certificate`, `identity` and `server_name` need an https address")]
    NotTls,
    /// Who is on the way would read the tokens.
    #[error(
        "http is plaintext: for localhost only, unless `allow_plaintext` says that a mesh protects it; otherwise https"
    )]
    Plaintext,
    /// The certificates or the key cannot be used.
    #[error("unusable certificates: {0}")]
    Tls(#[source] transport::Error),
    /// Nobody there, or somebody else. Only from [`Builder::connect`].
    #[error("no connection: {0}")]
    Unreachable(#[source] transport::Error),
    /// No connection in time. Only from [`Builder::connect`].
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
}

/// How to reach the service; from [`Client::builder`].
#[must_use]
pub struct Builder {
    address: String,
    ca: Option<Certificate>,
    identity: Option<Identity>,
    server_name: Option<String>,
    allows_plaintext: bool,
    deadline: Duration,
    tries: u32,
}

impl Builder {
    pub(super) const fn new(address: String) -> Self {
        Self {
            address,
            ca: None,
            identity: None,
            server_name: None,
            allows_plaintext: false,
            deadline: DEADLINE,
            tries: TRIES,
        }
    }

    /// Speak TLS, and trust servers of these CAs alone (PEM).
    pub fn ca_certificate(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.ca = Some(Certificate::from_pem(pem));
        self
    }

    /// Prove who the backend is: mutual TLS, with its certificate and the private key of it (PEM).
    pub fn identity(mut self, certificate_pem: impl AsRef<[u8]>, key_pem: impl AsRef<[u8]>) -> Self {
        self.identity = Some(Identity::from_pem(certificate_pem, key_pem));
        self
    }

    /// The name in the server's certificate, if it is not the host of the address.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Plaintext to other hosts, too: for a network that a mesh protects.
    pub const fn allow_plaintext(mut self) -> Self {
        self.allows_plaintext = true;
        self
    }

    /// How long a call may take with all its tries, at most a day; otherwise [`DEADLINE`].
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How often a call is tried in all, if the service is unavailable; otherwise [`TRIES`]. 0 and 1: once.
    pub const fn tries(mut self, tries: u32) -> Self {
        self.tries = tries;
        self
    }

    /// A client that connects when it is first asked: the service need not be there yet.
    ///
    /// # Errors
    /// The address or the certificates cannot be used.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect_lazy(self) -> Result<Client, ConnectError> {
        let channel = self.endpoint()?.connect_lazy();
        Ok(self.client(channel))
    }

    /// A client that has connected, within the time of a call.
    ///
    /// # Errors
    /// The address or the certificates cannot be used, or the service cannot be reached.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let endpoint = self.endpoint()?;
        let connected = timeout(self.deadline, endpoint.connect()).await;
        let channel =
            connected.map_err(|_| ConnectError::TimedOut(self.deadline))?.map_err(ConnectError::Unreachable)?;
        Ok(self.client(channel))
    }

    const fn client(&self, channel: Channel) -> Client {
        Client { channel, deadline: self.deadline, tries: self.tries }
    }

    fn endpoint(&self) -> Result<Endpoint, ConnectError> {
        let is_tls = self.is_tls()?;
        let endpoint = Endpoint::from_shared(self.address.clone())
            .and_then(|endpoint| endpoint.user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"))))
            .map_err(|_| ConnectError::Address)?
            .connect_timeout(self.deadline)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        if is_tls {
            return endpoint.tls_config(self.tls()?).map_err(ConnectError::Tls);
        }
        if self.ca.is_some() || self.identity.is_some() || self.server_name.is_some() {
            return Err(ConnectError::NotTls);
        }
        Ok(endpoint)
    }

    fn tls(&self) -> Result<ClientTlsConfig, ConnectError> {
        let mut tls = ClientTlsConfig::new().ca_certificate(self.ca.clone().ok_or(ConnectError::NoCa)?);
        if let Some(identity) = &self.identity {
            tls = tls.identity(identity.clone());
        }
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name);
        }
        Ok(tls)
    }

    /// Whether the address asks for TLS; an error if it may not be plaintext.
    fn is_tls(&self) -> Result<bool, ConnectError> {
        if let Some(path) = self.address.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(false) } else { Err(ConnectError::Address) };
        }
        let uri: Uri = self.address.parse().map_err(|_| ConnectError::Address)?;
        let (Some(scheme), Some(host), Some(_)) = (uri.scheme_str(), uri.host(), uri.port_u16()) else {
            return Err(ConnectError::Address);
        };
        if uri.path_and_query().is_some_and(|path| path != "/") {
            return Err(ConnectError::Address);
        }
        match scheme {
            "https" => Ok(true),
            "http" if self.allows_plaintext || is_this_machine(host) => Ok(false),
            "http" => Err(ConnectError::Plaintext),
            _ => Err(ConnectError::Address),
        }
    }
}

/// Without the key.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("address", &self.address).finish_non_exhaustive()
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
