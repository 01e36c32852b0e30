//! TLS of the gRPC listener: built whole from its files, swapped whole when they change.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use thiserror::Error;
use zeroize::Zeroizing;

use super::certificate::{expiry, validity};
use crate::{application::audit::time, config::TlsFiles, domain::time::UnixTime, regular_file, telemetry::Metrics};

/// Bytes of one file; more is a wrong file.
const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

/// Why TLS cannot be set up from the files. Holds no key.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The files do not go together.
    #[error("{certificate} and {private_key} do not go together: renew both, or wait for the second of them ({error})")]
    KeyPair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of its key.
        private_key: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// Not what it should be.
    #[error("{path}: holds no {what} in PEM form")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Cannot be read.
    #[error("{path}: cannot be read: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The CAs or what they revoked cannot be used.
    #[error("{path}: {error}")]
    Verifier {
        /// The file.
        path: PathBuf,
        /// Why.
        error: VerifierBuilderError,
    },
}

/// Reads all files and builds what new connections are accepted with, and tells when the first certificate of each expires.
fn load(files: &TlsFiles, client_certificate_is_optional: bool, metrics: &Metrics) -> Result<ServerConfig, TlsError> {
    let certificates: Vec<CertificateDer<'static>> = load_pem(&files.certificate, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.private_key)?)
        .map_err(|_| TlsError::Pem { path: files.private_key.clone(), what: "private key" })?;
    let unpaired = |error| {
        let (certificate, private_key) = (files.certificate.clone(), files.private_key.clone());
        TlsError::KeyPair { certificate, private_key, error }
    };
    let mut expiries = BTreeMap::new();
    expiries.extend(certificates.iter().filter_map(expiry).min().map(|first| ("certificate", first)));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions() // TLS 1.3 and 1.2.
        .map_err(unpaired)?;
    let builder = match &files.client_ca {
        Some(path) => {
            let authorities: Vec<CertificateDer<'static>> = load_pem(path, "certificate")?;
            expiries.extend(authorities.iter().filter_map(expiry).min().map(|first| ("client_ca", first)));
            builder.with_client_cert_verifier(client_verifier(
                files,
                path,
                client_certificate_is_optional,
                authorities,
            )?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(unpaired)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session keeps the certificate of its first handshake, past its expiry and past a revocation.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    metrics.load.certificates(&expiries);
    Ok(config)
}

/// Why clients refuse the service's own certificate at this time, if they do for that. It is used all the same: the clock may be wrong, and
/// whoever renews it may be about to. Whether the file can be used at all, [`CurrentTls::load`] tells.
#[must_use]
pub fn untimely(files: &TlsFiles, now: UnixTime) -> Option<String> {
    let certificates = load_pem(&files.certificate, "certificate").unwrap_or_default();
    let validity = certificates.iter().filter_map(validity).find(|validity| !validity.contains(&now))?;
    let what = if *validity.start() > now {
        format!("is not valid before {}", time(*validity.start()))
    } else {
        format!("has expired at {}", time(*validity.end()))
    };
    let path = files.certificate.display();
    Some(format!(
        "{path}: a certificate in it {what}, and clients refuse it: renew it, or set the clock, now {}",
        time(now)
    ))
}

fn client_verifier(
    files: &TlsFiles,
    ca: &Path,
    is_optional: bool,
    authorities: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        roots.add(certificate).map_err(|_| TlsError::Pem { path: ca.to_owned(), what: "usable CA certificate" })?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if let Some(path) = &files.client_crl {
        let revoked: Vec<CertificateRevocationListDer<'static>> = load_pem(path, "certificate revocation list")?;
        builder = builder.with_crls(revoked);
    }
    if is_optional {
        builder = builder.allow_unauthenticated();
    }
    let path = files.client_crl.as_deref().unwrap_or(ca).to_owned();
    builder.build().map_err(|error| TlsError::Verifier { path, error })
}

fn load_pem<T: PemObject>(path: &Path, what: &'static str) -> Result<Vec<T>, TlsError> {
    let objects: Result<Vec<T>, _> = T::pem_slice_iter(&read(path)?).collect();
    match objects {
        Ok(objects) if !objects.is_empty() => Ok(objects),
        Ok(_) | Err(_) => Err(TlsError::Pem { path: path.to_owned(), what }),
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |error| TlsError::Read { path: path.to_owned(), error };
    regular_file::read(path, MAX_FILE_BYTES).map_err(failed)
}

/// The TLS in force. A file that cannot be used leaves it as it is.
#[derive(Debug)]
pub struct CurrentTls {
    files: TlsFiles,
    client_certificate_is_optional: bool,
    config: ArcSwap<ServerConfig>,
    metrics: Arc<Metrics>,
}

impl CurrentTls {
    /// A client that can prove itself otherwise may come without a certificate; one that it brings has to be good all the same.
    ///
    /// # Errors
    /// The files cannot be used.
    pub fn load(
        files: TlsFiles,
        client_certificate_is_optional: bool,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TlsError> {
        let config = ArcSwap::from_pointee(load(&files, client_certificate_is_optional, &metrics)?);
        Ok(Self { files, client_certificate_is_optional, config, metrics })
    }

    /// Takes the files as they are now for connections to come; those that are open stay.
    ///
    /// # Errors
    /// The files cannot be used, and the TLS in force stays in force.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.config.store(Arc::new(load(&self.files, self.client_certificate_is_optional, &self.metrics)?));
        Ok(())
    }

    /// Where the files are.
    #[must_use]
    pub const fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// What new connections are accepted with.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}
