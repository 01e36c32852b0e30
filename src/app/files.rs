//! The files that the server needs besides secrets: read at the start, and looked at by whoever checks a configuration before.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use zeroize::Zeroizing;

use super::{StartError, load_tls};
use crate::{
    adapters::{account_store, audit_log},
    config::{Config, TracingConfig},
    domain::time::UnixTime,
    regular_file,
    telemetry::Tracing,
    transport::{bearer::Issuers, tls},
};

/// Bytes of a file of CAs.
const MAX_CA_BYTES: usize = 1024 * 1024;

/// Reads the files that the listener and the exporter of spans need, as [`super::App::bind`] does, and looks whether the audit log
/// could be opened. Empty = all is well.
#[must_use]
pub fn check_files(config: &Config) -> Vec<StartError> {
    let metrics = Arc::default();
    let audit = config.audit.as_ref().map_or(Ok(()), |audit| audit_log::check(&audit.sink));
    let checked: [Result<(), StartError>; 5] = [
        load_tls(&config.server, &metrics).map(drop).map_err(StartError::from),
        Issuers::load(&config.server.proofs.jwt, &metrics).map(drop).map_err(StartError::from),
        config.tracing.as_ref().map_or(Ok(()), |tracing| read_ca(tracing).map(drop)),
        audit.map_err(StartError::from),
        account_store::check(&config.accounts).map_err(StartError::from),
    ];
    checked.into_iter().filter_map(Result::err).collect()
}

/// What callers will stumble upon at this time although the server starts.
#[must_use]
pub fn warnings(config: &Config, now: UnixTime) -> Vec<String> {
    config.server.tls.iter().filter_map(|files| tls::untimely(files, now)).collect()
}

pub(super) fn start_tracing(config: &TracingConfig) -> Result<Arc<Tracing>, StartError> {
    let ca = read_ca(config)?;
    let tracing = Tracing::start(config.endpoint.as_str(), ca.as_ref().map(|pem| pem.as_slice()), config.sample_ratio);
    tracing.map(Arc::new).map_err(|error| StartError::Tracing(error.to_string()))
}

fn read_ca(config: &TracingConfig) -> Result<Option<Zeroizing<Vec<u8>>>, StartError> {
    let Some(path) = &config.ca else { return Ok(None) };
    let failed = |what: &str| StartError::Tracing(format!("otlp_ca: {}: {what}", path.display()));
    let pem = regular_file::read(path, MAX_CA_BYTES).map_err(|error| failed(&format!("cannot be read: {error}")))?;
    // Without one every export would fail, and nobody would know why.
    let mut certificates = CertificateDer::pem_slice_iter(&pem);
    if certificates.next().is_none_or(|certificate| certificate.is_err()) {
        return Err(failed("holds no certificate in PEM form"));
    }
    Ok(Some(pem))
}
