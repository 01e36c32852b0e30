//! The configuration, valid by construction. `raw` holds the shapes of the file, `parse` turns them into these types.

mod effective;
mod locate;
mod parse;
mod parse_grant;
mod parse_server;
mod raw;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use thiserror::Error;

pub(crate) use self::parse_server::parse_listen;
use crate::domain::{
    caller::CallerName,
    claims::ClaimNames,
    grant::Grant,
    identity::IdentityPattern,
    instance::{Environment, Instance, InstanceName, InstanceUrl},
    lifetime::LifetimeRange,
    policy::{Denied, Policy},
    tenant::Tenancy,
};

/// Everything the service needs to know. Holds no secret, only where secrets are.
#[derive(Debug)]
pub struct Config {
    /// `[server]`
    pub server: ServerConfig,
    /// `[[instances]]`, at least one, with unique names.
    pub instances: Vec<InstanceConfig>,
    /// `[[callers]]`
    pub callers: Vec<CallerConfig>,
    /// `[deny]`
    pub denied: Denied,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where gRPC is served. Without `tls`: loopback or a Unix socket.
    pub listen: ListenAddress,
    /// Where health alone is served, in plaintext and to anyone: for probes that cannot prove who they are.
    pub probe_listen: Option<SocketAddr>,
    /// TLS of `listen`.
    pub tls: Option<TlsFiles>,
    /// Where metrics are served.
    pub metrics_listen: SocketAddr,
    /// Whether the server describes itself to tools such as grpcurl.
    pub reflection: bool,
    /// Which proofs of identity count.
    pub proofs: Proofs,
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
        self.jwt.iter().map(|issuer| issuer.jwks.as_path())
    }
}

/// `[[server.identity.jwt]]`: who may issue bearer tokens that name callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtIssuer {
    /// The `iss` claim, exactly. Unique.
    pub issuer: String,
    /// What the `aud` claim has to contain.
    pub audience: String,
    /// File of the issuer's public keys, a JSON Web Key Set (RFC 7517).
    pub jwks: PathBuf,
    /// Its subjects are SPIFFE IDs of this trust domain; none = they are Kubernetes service accounts.
    pub trust_domain: Option<String>,
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

/// `[[instances]]`
#[derive(Debug)]
pub struct InstanceConfig {
    /// All but the secret.
    pub instance: Instance,
    /// Where the secret is.
    pub shared_secret: SecretSource,
    /// Where that stands in the file, for errors.
    pub shared_secret_location: Location,
}

/// `[[callers]]`
#[derive(Debug)]
pub struct CallerConfig {
    /// Unique.
    pub name: CallerName,
    /// Identities by which the caller is recognised.
    pub identities: Vec<IdentityPattern>,
    /// At most one for each instance.
    pub grants: Vec<(InstanceName, Grant)>,
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

/// Where a secret is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// systemd's `$CREDENTIALS_DIRECTORY/<name>`.
    Credential(String),
    /// An environment variable. A file is safer: the environment of a process is readable in /proc.
    Env(String),
    /// A file.
    File(PathBuf),
    /// Made at start and told to nobody; only for `serve --dev`.
    Generated,
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "credential {name:?}"),
            Self::Env(name) => write!(f, "environment variable {name:?}"),
            Self::File(path) => write!(f, "file {:?}", path.display().to_string()),
            Self::Generated => f.write_str("generated"),
        }
    }
}

/// A place in the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// Counted from 1; 0 = the file as a whole.
    pub line: usize,
    /// Path of the key, such as `instances[0].url`; empty = the file as a whole.
    pub key: String,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Name of the file.
    pub file: String,
    /// Where in it.
    pub location: Location,
    /// The rule and the way out.
    pub rule: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.location.line > 0 {
            write!(f, ":{}", self.location.line)?;
        }
        if !self.location.key.is_empty() {
            write!(f, ": {}", self.location.key)?;
        }
        write!(f, ": {}", self.rule)
    }
}

/// Everything that is wrong with the configuration, one line each.
#[derive(Debug, Error, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl Config {
    /// gRPC address of a configuration that names none, and of `serve --dev`.
    pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50051);
    /// Metrics address of a configuration that names none, and of `serve --dev`.
    pub const DEFAULT_METRICS_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

    /// Reads the text of a configuration file; `file` names it in errors. Reads no secret.
    ///
    /// # Errors
    /// Everything that is wrong: syntax and unknown keys stop at the first, the rest comes at once.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigErrors> {
        parse::parse(text, file)
    }

    /// The configuration of `serve --dev`: one instance, one caller who may do everything, plaintext on loopback.
    ///
    /// # Panics
    /// Never: the names are valid.
    #[must_use]
    pub fn dev(url: InstanceUrl, shared_secret: SecretSource) -> Self {
        let name = "default".parse().expect("\"default\" is a valid instance name");
        let caller: CallerName = "dev".parse().expect("\"dev\" is a valid caller name");
        let instance = Instance {
            name,
            url: Some(url),
            environment: Environment::Development,
            lifetimes: LifetimeRange::default(),
            tenancy: Tenancy::Optional,
            claim_names: ClaimNames::default(),
            is_default: true,
        };
        Self {
            server: ServerConfig {
                listen: ListenAddress::Tcp(Self::DEFAULT_LISTEN),
                metrics_listen: Self::DEFAULT_METRICS_LISTEN,
                reflection: true,
                probe_listen: None,
                tls: None,
                proofs: Proofs { local: Some(caller.clone()), ..Proofs::default() },
            },
            denied: Denied::default(),
            callers: vec![CallerConfig {
                name: caller,
                identities: Vec::new(),
                grants: vec![(instance.name.clone(), Grant::unrestricted())],
            }],
            instances: vec![InstanceConfig { instance, shared_secret, shared_secret_location: Location::default() }],
        }
    }

    /// Who may issue what.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let mut policy = Policy::new(self.denied.clone());
        for caller in &self.callers {
            for identity in &caller.identities {
                policy.recognise(caller.name.clone(), identity.clone());
            }
            for (instance, grant) in &caller.grants {
                let added = policy.add(caller.name.clone(), instance.clone(), grant.clone());
                debug_assert!(added.is_ok(), "parsing refuses a second grant");
            }
        }
        policy
    }

    /// One grant with every default written out, as TOML; or one key of it, and with `attributes` those of the tenant, too.
    #[must_use]
    pub fn effective_grant(&self, caller: usize, grant: usize, key: Option<&str>) -> String {
        effective::render_grant(&self.callers[caller].grants[grant], key)
    }

    /// Every file that a secret is read from. Credentials are fixed for the life of a systemd unit, the environment for that
    /// of a process.
    pub fn secret_files(&self) -> impl Iterator<Item = &Path> {
        self.instances.iter().filter_map(|one| match &one.shared_secret {
            SecretSource::File(path) => Some(path.as_path()),
            SecretSource::Credential(_) | SecretSource::Env(_) | SecretSource::Generated => None,
        })
    }

    /// The configuration with every default written out, as TOML. Secrets are not in it, only where they are.
    #[must_use]
    pub fn effective(&self) -> String {
        effective::render(self)
    }
}
