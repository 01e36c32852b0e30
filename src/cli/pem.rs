//! PEM files that options name: looked at one by one, so that an error names the option that is wrong.

use std::{fs, path::Path};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use zeroize::Zeroizing;

/// The content of a file that has to hold a certificate.
pub(super) fn certificate(option: &str, path: &Path) -> Result<Vec<u8>, String> {
    let pem = read(option, path)?;
    if CertificateDer::from_pem_slice(&pem).is_ok() {
        return Ok(pem.to_vec());
    }
    let what =
        if PrivateKeyDer::from_pem_slice(&pem).is_ok() { ", but a private key: are two files swapped?" } else { "" };
    Err(format!("{option} {}: holds no certificate in PEM form{what}", path.display()))
}

/// The content of a file that has to hold a private key.
pub(super) fn private_key(option: &str, path: &Path) -> Result<Vec<u8>, String> {
    let pem = read(option, path)?;
    if PrivateKeyDer::from_pem_slice(&pem).is_ok() {
        return Ok(pem.to_vec());
    }
    let what =
        if CertificateDer::from_pem_slice(&pem).is_ok() { ", but a certificate: are two files swapped?" } else { "" };
    Err(format!("{option} {}: holds no private key in PEM form{what}", path.display()))
}

fn read(option: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    fs::read(path).map(Zeroizing::new).map_err(|error| format!("{option} {}: cannot be read: {error}", path.display()))
}
