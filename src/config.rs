//! The configuration, valid by construction. `raw` holds the shapes of the file, `parse` turns them into these types.

mod accounts;
mod audit;
mod effective;
mod limits;
mod locate;
mod parse;
mod parse_accounts;
mod parse_audit;
mod parse_grant;
mod parse_limits;
mod parse_listen;
mod parse_server;
mod parse_tracing;
mod raw;
mod server;
mod shapes;
mod tracing;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;

pub use self::limits::{Drain, Limits};
pub(crate) use self::parse_listen::parse_listen;
pub use self::{
    accounts::{AccountsConfig, RedisConfig, RedisUrl},
    audit::{AuditConfig, AuditSink, Durability, SubjectForm},
    server::{JwtIssuer, KeySource, ListenAddress, Proofs, ServerConfig, TlsFiles, TrustedPeers},
    tracing::TracingConfig,
};
use crate::domain::{
    account::OneAccount,
    caller::{CallerName, UserDirectory},
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
    /// `[shadow]`: a configuration file whose callers and deny lists are compared with these, and where that is said.
    pub candidate: Option<(PathBuf, Location)>,
    /// `[tracing]`; none = no spans.
    pub tracing: Option<TracingConfig>,
    /// `[audit]`; none = nothing is recorded.
    pub audit: Option<AuditConfig>,
    /// `[accounts]`
    pub accounts: AccountsConfig,
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
    /// During a rotation, where the secret is that Metabase will be changed to, and where that stands in the file.
    pub next_shared_secret: Option<(SecretSource, Location)>,
    /// Between two looks at Metabase; none = it is not looked at.
    pub probe_interval: Option<Duration>,
    /// Base URL as this service reaches the instance; none = as people's browsers do.
    pub api_url: Option<InstanceUrl>,
    /// CAs that vouch for it, as PEM, and where that stands in the file; none = those of the system.
    pub api_ca: Option<(PathBuf, Location)>,
}

impl InstanceConfig {
    /// Between two looks at a Metabase for which nothing else is configured.
    pub const DEFAULT_PROBE_INTERVAL: Duration = Duration::from_mins(1);

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.instance.name.as_str()
    }

    /// Where this service reaches the instance.
    #[must_use]
    pub fn api_url(&self) -> Option<&InstanceUrl> {
        self.api_url.as_ref().or(self.instance.url.as_ref())
    }
}

/// `[[callers]]`
#[derive(Debug)]
pub struct CallerConfig {
    /// Unique.
    pub name: CallerName,
    /// What the caller's identifiers of people belong to; none = a directory of the caller's own name.
    pub user_directory: Option<UserDirectory>,
    /// Identities by which the caller is recognised.
    pub identities: Vec<IdentityPattern>,
    /// At most one for each instance.
    pub grants: Vec<(InstanceName, Grant)>,
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
    /// Everything that is wrong, in rounds: the first fault of syntax; else all unknown keys and wrong types; else every rule that
    /// is broken.
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
            one_account: OneAccount::Lenient,
            claim_names: ClaimNames::default(),
            is_default: true,
        };
        Self {
            server: ServerConfig {
                listen: ListenAddress::Tcp(Self::DEFAULT_LISTEN),
                listen_mode: ServerConfig::DEFAULT_LISTEN_MODE,
                metrics_listen: Self::DEFAULT_METRICS_LISTEN,
                reflection: true,
                require_hardening: false,
                probe_listen: None,
                tls: None,
                proofs: Proofs { local: Some(caller.clone()), ..Proofs::default() },
                limits: Limits::default(),
                drain: Drain::unannounced(),
            },
            denied: Denied::default(),
            candidate: None,
            audit: None,
            accounts: AccountsConfig::default(),
            tracing: None,
            callers: vec![CallerConfig {
                name: caller,
                user_directory: None,
                identities: Vec::new(),
                grants: vec![(instance.name.clone(), Grant::unrestricted())],
            }],
            instances: vec![InstanceConfig {
                instance,
                shared_secret,
                shared_secret_location: Location::default(),
                next_shared_secret: None,
                probe_interval: Some(InstanceConfig::DEFAULT_PROBE_INTERVAL),
                api_url: None,
                api_ca: None,
            }],
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
            if let Some(directory) = &caller.user_directory {
                policy.set_directory(caller.name.clone(), directory.clone());
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

    /// Every file of CAs that vouch for instances.
    pub fn ca_files(&self) -> impl Iterator<Item = &Path> {
        self.instances.iter().filter_map(|one| one.api_ca.as_ref()).map(|(path, _)| path.as_path())
    }

    /// Every file that a secret is read from. Credentials are fixed for the life of a systemd unit, the environment for that
    /// of a process.
    pub fn secret_files(&self) -> impl Iterator<Item = &Path> {
        let sources = self.instances.iter().flat_map(|one| {
            let next = one.next_shared_secret.as_ref().map(|(source, _)| source);
            [Some(&one.shared_secret), next]
        });
        sources.flatten().filter_map(|source| match source {
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
