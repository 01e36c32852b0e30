//! Why the server does not start, or does not end well.

use std::{io, path::Path, time::Duration};

use thiserror::Error;

use crate::{
    adapters::{account_store::AccountStoreError, audit_log::AuditError},
    application::audit::Unclosed,
    transport::{bearer::KeyFileError, tls::TlsError},
};

/// Why the server could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// What the account store needs cannot be used.
    #[error(transparent)]
    Accounts(#[from] AccountStoreError),
    /// The audit log cannot be opened.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// An address cannot be bound.
    #[error("cannot listen on {address} ({purpose}): {error}{way_out}", way_out = way_out(.address, .purpose, .error.kind()))]
    Listen {
        /// The address.
        address: String,
        /// What for.
        purpose: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// The keys of an issuer cannot be used.
    #[error("server.identity.jwt: {0}")]
    Keys(#[from] KeyFileError),
    /// Spans cannot be exported as configured.
    #[error("tracing: {0}")]
    Tracing(String),
    /// TLS cannot be set up.
    #[error("server.tls: {0}")]
    Tls(#[from] TlsError),
}

impl StartError {
    /// Whether trying again helps nobody until somebody changes something.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Accounts(_) | Self::Keys(_) | Self::Tracing(_) | Self::Tls(_) => true,
            Self::Audit(error) => error.is_lasting(),
            Self::Listen { .. } => false,
        }
    }
}

/// Why the server did not end cleanly.
#[derive(Debug, Error)]
pub enum RunError {
    /// A second signal came before everything in flight was finished.
    #[error("stopped by a second signal before everything in flight was finished")]
    Aborted,
    /// Not all of what was decided is on record.
    #[error(transparent)]
    Audit(#[from] Unclosed),
    /// In-flight RPCs took longer than the grace period.
    #[error("{} were not enough to finish what was in flight", humantime::format_duration(*.grace_period))]
    DrainTimedOut {
        /// What they had.
        grace_period: Duration,
    },
}

fn way_out(address: &str, purpose: &str, kind: io::ErrorKind) -> String {
    let keys = match purpose {
        "gRPC" => "server.listen or --listen",
        "probes" => "server.probe_listen",
        _ => "server.metrics_listen or --metrics-listen",
    };
    match (kind, address.strip_prefix("unix:").map(Path::new).and_then(Path::parent)) {
        (io::ErrorKind::NotFound, Some(folder)) => {
            format!("; the folder {} does not exist: create it, or change {keys}", folder.display())
        }
        (io::ErrorKind::PermissionDenied, Some(folder)) => {
            format!("; give the folder {} to the user of the service, or change {keys}", folder.display())
        }
        (io::ErrorKind::PermissionDenied, None) => format!("; take a port from 1024 on with {keys}"),
        (io::ErrorKind::AddrInUse, _) => format!("; stop what listens there, or take another address with {keys}"),
        (io::ErrorKind::AddrNotAvailable, _) => format!("; take an address of this machine with {keys}"),
        _ => String::new(),
    }
}
