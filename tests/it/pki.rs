//! A certificate authority for the tests, and certificates with every kind of fault.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, ExtendedKeyUsagePurpose,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::harness::replace;

/// A root, and a folder that its files are written to.
pub(crate) struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

/// What a certificate says.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) names: Vec<SanType>,
    pub(crate) years: (i32, i32),
    pub(crate) serial: u64,
    pub(crate) is_for_servers: bool,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// A valid client certificate with these names.
pub(crate) fn client(names: Vec<SanType>) -> Leaf {
    Leaf { names, years: (2020, 2099), serial: 7, is_for_servers: false }
}

impl TestCa {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, "Test CA");
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2099, 1, 1));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, dir: TempDir::new().unwrap() }
    }

    pub(crate) fn issue(&self, leaf: &Leaf) -> Issued {
        let mut params = CertificateParams::default();
        params.subject_alt_names.clone_from(&leaf.names);
        (params.not_before, params.not_after) = (date_time_ymd(leaf.years.0, 1, 1), date_time_ymd(leaf.years.1, 1, 1));
        params.serial_number = Some(leaf.serial.into());
        params.extended_key_usages = vec![if leaf.is_for_servers {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        }];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A certificate for `localhost`, and its key.
    pub(crate) fn issue_server(&self, serial: u64) -> Issued {
        self.issue(&Leaf { is_for_servers: true, serial, ..client(vec![dns("localhost")]) })
    }

    pub(crate) fn revocation_list(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        replace(&path, content);
        path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `server.pem`, `server.key`, `ca.pem` and `crl.pem`, and returns the `[server.tls]` that names them.
    pub(crate) fn server_tls(&self, revoked: &[u64]) -> String {
        let server = self.issue_server(1);
        self.write("server.pem", &server.certificate);
        self.write("server.key", &server.key);
        self.write("ca.pem", &self.issuer.pem());
        self.write("crl.pem", &self.revocation_list(revoked));
        let path = |name| self.path(name).display().to_string();
        format!(
            "[server.tls]\ncertificate = \"{}\"\nprivate_key = \"{}\"\nclient_ca = \"{}\"\nclient_crl = \"{}\"\n",
            path("server.pem"),
            path("server.key"),
            path("ca.pem"),
            path("crl.pem")
        )
    }

    /// Trusts this CA, and comes with a certificate if there is one.
    pub(crate) fn client_tls(&self, issued: Option<&Issued>) -> ClientTlsConfig {
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.issuer.pem())).domain_name("localhost");
        match issued {
            Some(Issued { certificate, key }) => tls.identity(Identity::from_pem(certificate, key)),
            None => tls,
        }
    }
}
