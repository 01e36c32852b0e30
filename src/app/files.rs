//! The files that the server needs besides secrets: read at the start, and looked at by whoever checks a configuration before.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use zeroize::Zeroizing;

use super::{StartError, load_tls};
use crate::{
    config::{Config, TracingConfig},
    regular_file,
    telemetry::Tracing,
    transport::bearer::Issuers,
};

/// Bytes of a file of CAs.
const MAX_CA_BYTES: usize = 1024 * 1024;

/// Reads the files that the listener and the exporter of spans need, as [`super::App::bind`] does.
///
/// # Errors
/// They cannot be used.
pub fn check_files(config: &Config) -> Result<(), StartError> {
    let metrics = Arc::default();
    load_tls(&config.server, &metrics)?;
    Issuers::load(&config.server.proofs.jwt, &metrics)?;
    config.tracing.as_ref().map(read_ca).transpose()?;
    Ok(())
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
    if !certificates.next().is_some_and(|certificate| certificate.is_ok()) {
        return Err(failed("holds no certificate in PEM form"));
    }
    Ok(Some(pem))
}
