//! The one identity in a verified client certificate: its SPIFFE ID, or else its DNS name.

use std::ops::RangeInclusive;

use rustls::pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use crate::domain::{
    identity::{DnsName, Identity, InvalidIdentity, InvalidSpiffeId},
    time::UnixTime,
};

/// Why a certificate that the client CA vouches for names no caller.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum NotAnSvid {
    #[error("the certificate's DNS name is malformed: {0}")]
    InvalidDnsName(InvalidIdentity),
    #[error("the certificate's URI is not the SPIFFE ID of a workload: {0}")]
    InvalidSpiffeId(#[from] InvalidSpiffeId),
    #[error("the certificate has more than one DNS name and no SPIFFE ID")]
    ManyDnsNames,
    #[error("the certificate has more than one URI; an SVID has exactly one")]
    ManyUris,
    #[error("the certificate has neither a SPIFFE ID nor a DNS name as subject alternative name")]
    NoName,
    #[error("the certificate cannot be read")]
    Unreadable,
}

/// From when and until when a certificate is valid; none = it cannot be read.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<RangeInclusive<UnixTime>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
    Some(UnixTime::from_seconds(from.timestamp())..=UnixTime::from_seconds(until.timestamp()))
}

/// When a certificate expires, in seconds since 1970; none = it cannot be read.
pub(super) fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    Some(validity(certificate)?.end().seconds())
}

/// A URI makes the certificate an SVID, whatever else it names (X.509-SVID specification, section 2); the common name
/// never counts.
pub(super) fn identity(certificate: &CertificateDer<'_>) -> Result<Identity, NotAnSvid> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| NotAnSvid::Unreadable)?;
    let extension = certificate.subject_alternative_name().map_err(|_| NotAnSvid::Unreadable)?;
    let names = extension.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let mut uris = names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None });
    let mut dns_names =
        names.iter().filter_map(|name| if let GeneralName::DNSName(dns) = name { Some(*dns) } else { None });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Ok(Identity::Spiffe(uri.parse()?)),
        (Some(_), Some(_)) => Err(NotAnSvid::ManyUris),
        (None, _) => match (dns_names.next(), dns_names.next()) {
            (Some(name), None) => name.parse::<DnsName>().map(Identity::Dns).map_err(NotAnSvid::InvalidDnsName),
            (Some(_), Some(_)) => Err(NotAnSvid::ManyDnsNames),
            (None, _) => Err(NotAnSvid::NoName),
        },
    }
}
