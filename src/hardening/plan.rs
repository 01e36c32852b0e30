//! What a process with a configuration needs, and nothing else; and whether a changed configuration still gets along with it.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use url::Url;

use super::{Measure, folders};
use crate::{
    config::{AuditSink, Config, InstanceConfig, KeySource, ListenAddress, SecretSource, SubjectForm, TlsFiles},
    regular_file,
};

/// Folders of certificates that Linux distributions trust, and what links in them lead to.
const CA_FOLDERS: &[&str] = &[
    "/etc/ca-certificates",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/ssl/certs",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/share/pki",
    "/var/lib/ca-certificates",
];
/// What the C library reads to find the address of a name.
const RESOLVER_FILES: &[&str] =
    &["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services"];
/// The modules that it loads for that, and single files of CAs.
const SYSTEM: &[&str] = &[
    "/etc/ld.so.cache",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cert.pem",
];
/// What the runtime reads to learn how many processors it may use.
const PROCESSORS: &[&str] = &["/proc/self/cgroup", "/proc/self/mountinfo", "/sys/fs/cgroup"];
const PROXIES: &[&str] = &["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// Long answers about names come by TCP.
const DNS: u16 = 53;

/// What a process needs. The default needs nothing.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Files, and folders with all files below them, that are read.
    pub readable: Vec<PathBuf>,
    /// Folders that are listed and whose files are read.
    pub listable: Vec<PathBuf>,
    /// Folders in which files are made, written, renamed and removed.
    pub writable: Vec<PathBuf>,
    /// Folders in which Unix sockets are made and removed.
    pub sockets: Vec<PathBuf>,
    /// TCP ports that are listened on; 0 = any free one.
    pub bind: BTreeSet<u16>,
    /// TCP ports that are connected to.
    pub connect: BTreeSet<u16>,
    /// Environment variables that hold a secret.
    pub variables: BTreeSet<String>,
}

impl Plan {
    /// What `config` needs, which was read from `file`. `environment` reads a variable.
    #[must_use]
    pub fn new(config: &Config, file: Option<&Path>, environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let server = &config.server;
        let mut files: Vec<&Path> = file.into_iter().chain(generation_files(config)).collect();
        if let Some(SecretSource::File(key)) = subject_key(config) {
            files.push(key);
        }
        let writable = match config.audit.as_ref().map(|audit| &audit.sink) {
            Some(AuditSink::File(log)) => folders::of_file(log).into_iter().collect(),
            Some(AuditSink::Stdout | AuditSink::Syslog(_) | AuditSink::UnixDatagram(_)) | None => Vec::new(),
        };
        files.extend(config.accounts.secrets().filter_map(|source| match source {
            SecretSource::File(path) => Some(path.as_path()),
            SecretSource::Credential(_) | SecretSource::Env(_) | SecretSource::Generated => None,
        }));
        files.extend(config.accounts.ca());
        files.extend(server.tls.iter().flat_map(TlsFiles::paths).chain(server.proofs.key_files()));
        let mut ports: BTreeSet<u16> = config_ports(config).chain(config.accounts.ports()).collect();
        for issuer in &server.proofs.jwt {
            if let KeySource::Url { url, ca } = &issuer.jwks {
                ports.extend(url.port_or_known_default());
                files.extend(ca.as_deref());
            }
        }
        if let Some(tracing) = &config.tracing {
            ports.extend(tracing.endpoint.port_or_known_default());
            files.extend(tracing.ca.as_deref());
        }
        let mut readable: BTreeSet<PathBuf> = files.into_iter().flat_map(folders::of_file).collect();
        readable.extend(environment("CREDENTIALS_DIRECTORY").map(PathBuf::from));
        readable.extend(PROCESSORS.iter().map(PathBuf::from));
        let mut listable = Vec::new();
        if !ports.is_empty() {
            ports.extend(PROXIES.iter().filter_map(|name| proxy_port(&environment(name)?)).chain([DNS]));
            readable.extend(SYSTEM.iter().map(PathBuf::from));
            readable.extend(RESOLVER_FILES.iter().flat_map(|file| resolver(Path::new(file))));
            readable.extend(environment("SSL_CERT_FILE").iter().flat_map(|file| folders::of_file(Path::new(file))));
            listable.extend(CA_FOLDERS.iter().map(PathBuf::from));
            listable.extend(environment("SSL_CERT_DIR").iter().flat_map(std::env::split_paths));
        }
        let grpc = match &server.listen {
            ListenAddress::Tcp(address) => Some(address.port()),
            ListenAddress::Unix(_) => None,
        };
        let sockets = match &server.listen {
            ListenAddress::Tcp(_) => None,
            ListenAddress::Unix(path) => path.parent().map(Path::to_owned),
        };
        let probe = server.probe_listen.map(|address| address.port());
        Self {
            readable: readable.into_iter().collect(),
            listable,
            writable,
            sockets: sockets.into_iter().collect(),
            bind: grpc.into_iter().chain(probe).chain([server.metrics_listen.port()]).collect(),
            connect: ports,
            variables: variables(config).collect(),
        }
    }

    /// Whether secrets are in the environment, from which nothing removes them while the process lives.
    pub(super) fn environment(&self) -> Measure {
        const NAME: &str = "environment";
        if self.variables.is_empty() {
            return Measure::applied(NAME);
        }
        let names = self.variables.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let reason =
            format!("the secret in {names} stays readable in /proc/PID/environ for root, and wherever it was set");
        Measure::degraded(NAME, reason, "use { file = \"…\" } or { credential = \"…\" }")
    }

    pub(super) fn confinement(&self, has_files: bool, has_network: bool) -> Confinement {
        let readable = self.readable.iter().chain(&self.listable).chain(&self.writable);
        Confinement {
            readable: has_files.then(|| readable.filter_map(|path| path.canonicalize().ok()).collect()),
            connect: has_network.then(|| self.connect.clone()),
        }
    }
}

/// What the process can still reach.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// Files and folders, links resolved; none = everything.
    readable: Option<Vec<PathBuf>>,
    /// TCP ports; none = all.
    connect: Option<BTreeSet<u16>>,
}

impl Confinement {
    /// What a changed `config` needs beyond the confinement, one line each.
    #[must_use]
    pub fn refusals(&self, config: &Config) -> Vec<String> {
        let restart =
            "the process has confined itself to what it was configured with at start (Landlock): restart the service";
        let mut lines = Vec::new();
        if let Some(readable) = &self.readable {
            for file in generation_files(config) {
                let Ok(target) = file.canonicalize() else { continue };
                if !readable.iter().any(|folder| target.starts_with(folder)) {
                    lines.push(format!("{} is outside of the folders that can be read; {restart}", file.display()));
                } else if let Err(error) = regular_file::open(&target)
                    && error.kind() == std::io::ErrorKind::PermissionDenied
                {
                    lines.push(format!("{} cannot be read: {error}", file.display()));
                }
            }
        }
        if let Some(ports) = &self.connect {
            for port in config_ports(config).collect::<BTreeSet<_>>().difference(ports) {
                lines.push(format!("TCP port {port} is none of those that can be connected to; {restart}"));
            }
        }
        lines
    }
}

/// The files that a reload reads, apart from the configuration itself.
fn generation_files(config: &Config) -> impl Iterator<Item = &Path> {
    let candidate = config.candidate.iter().map(|(path, _)| path.as_path());
    config.secret_files().chain(config.ca_files()).chain(candidate)
}

fn config_ports(config: &Config) -> impl Iterator<Item = u16> {
    config.instances.iter().filter_map(|one| one.api_url()?.as_url().port_or_known_default())
}

/// The key for people's names in the audit log.
fn subject_key(config: &Config) -> Option<&SecretSource> {
    match &config.audit.as_ref()?.subject {
        SubjectForm::Hash(source, _) => Some(source),
        SubjectForm::Plain => None,
    }
}

fn variables(config: &Config) -> impl Iterator<Item = String> {
    let next = |one: &InstanceConfig| one.next_shared_secret.as_ref().map(|(source, _)| source.clone());
    let sources = config.instances.iter().flat_map(move |one| [Some(one.shared_secret.clone()), next(one)]);
    let accounts = config.accounts.secrets().cloned();
    sources.flatten().chain(subject_key(config).cloned()).chain(accounts).filter_map(|source| match source {
        SecretSource::Env(name) => Some(name),
        SecretSource::Credential(_) | SecretSource::File(_) | SecretSource::Generated => None,
    })
}

/// `http://proxy:3128` or `proxy:3128`
fn proxy_port(value: &OsString) -> Option<u16> {
    let text = value.to_str()?;
    let has_host = |url: &Url| url.has_host();
    let url = Url::parse(text).ok().filter(has_host).or_else(|| Url::parse(&format!("http://{text}")).ok())?;
    url.port_or_known_default().or_else(|| url.scheme().starts_with("socks").then_some(1080))
}

/// The file, the folder behind its links, and /etc as a whole where a network manager may rename a new file over it. A container's
/// is a mount of its own, which is written in place.
fn resolver(file: &Path) -> Vec<PathBuf> {
    const ETC: &str = "/etc";
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let is_link = fs::read_link(file).is_ok();
    let is_renamed = file.ends_with("resolv.conf") && !is_link && device(file) == device(Path::new(ETC));
    let mut found: Vec<PathBuf> =
        folders::of_file(file).into_iter().filter(|folder| folder != Path::new(ETC)).collect();
    found.push(file.to_owned());
    found.extend(is_renamed.then(|| ETC.into()));
    found
}
