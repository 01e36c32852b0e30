//! A Redis of the test's own, in a folder of its own.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tempfile::TempDir;
use tokio::time::Instant;

/// The user that docs/accounts.md asks for.
pub(crate) const USER: &str = "mts";
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// The rights that docs/accounts.md asks for; those of a cluster are in it.
pub(crate) const RIGHTS: &str = include_str!("../../docs/accounts.md");

/// Asks until it is so. What never comes to be fails the test, and does not hang it.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < end, "never came to be: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Killed when dropped.
pub(crate) struct Redis {
    child: Child,
    pub(crate) port: u16,
    tls: bool,
    arguments: Vec<String>,
    dir: TempDir,
}

/// How it is started.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// TLS alone, with a certificate for `localhost`.
    pub(crate) tls: bool,
    /// Nobody but [`USER`] may do anything.
    pub(crate) acl: bool,
    /// As a node of a cluster, as yet of none.
    pub(crate) cluster: bool,
}

impl Redis {
    pub(crate) fn start(options: Options) -> Self {
        let dir = TempDir::new().unwrap();
        let port = free_port();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let mut arguments: Vec<String> =
            ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"].map(str::to_owned).into();
        arguments.push(path(""));
        if options.tls {
            write_certificates(&dir);
            arguments.extend(["--port", "0", "--tls-port", &port.to_string()].map(str::to_owned));
            arguments.extend([
                "--tls-cert-file".to_owned(),
                path("server.pem"),
                "--tls-key-file".to_owned(),
                path("server.key"),
            ]);
            arguments.extend([
                "--tls-ca-cert-file".to_owned(),
                path("ca.pem"),
                "--tls-auth-clients".to_owned(),
                "no".to_owned(),
            ]);
        } else {
            arguments.extend(["--port".to_owned(), port.to_string()]);
        }
        if options.acl {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, PASSWORD.as_bytes());
            let digest = digest.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            let rule =
                RIGHTS.lines().find_map(|line| line.strip_prefix("user mts on #<SHA-256 of the password> ")).unwrap();
            let rules = format!("user {USER} on #{digest} {rule}\nuser default on >{ADMIN} ~* &* +@all\n");
            fs::write(dir.path().join("users.acl"), rules).unwrap();
            arguments.extend(["--aclfile".to_owned(), path("users.acl")]);
        }
        if options.cluster {
            arguments.extend(["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"].map(str::to_owned));
        }
        let child = spawn(&arguments);
        let redis = Self { child, port, tls: options.tls, arguments, dir };
        redis.wait_until_it_answers();
        redis
    }

    /// For `[accounts.redis]`
    pub(crate) fn url(&self) -> String {
        if self.tls { format!("rediss://localhost:{}", self.port) } else { format!("redis://127.0.0.1:{}", self.port) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What redis-cli prints, as the user who may do everything.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "localhost", "-p", &self.port.to_string(), "--no-auth-warning"]);
        if self.tls {
            command.arg("--tls").arg("--cacert").arg(self.path("ca.pem"));
        }
        if self.path("users.acl").exists() {
            command.args(["--user", "default", "--pass", ADMIN]);
        }
        let output = command.args(arguments).stderr(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Keys that it holds. When a connection is tried, there is one more, for a second.
    pub(crate) fn accounts(&self) -> usize {
        self.cli(&["DBSIZE"]).parse().unwrap()
    }

    fn wait_until_it_answers(&self) {
        until("a Redis that answers", || self.cli(&["PING"]) == "PONG");
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As it was started, knowing nothing.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.arguments);
        self.wait_until_it_answers();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ADMIN: &str = "administrator";

fn spawn(arguments: &[String]) -> Child {
    Command::new("redis-server").args(arguments).stdout(Stdio::null()).spawn().unwrap()
}

/// Of which a cluster's own port, 10000 above, is one, too.
fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 50_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

fn write_certificates(dir: &TempDir) {
    let key = || KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Another name than that of the server, or OpenSSL takes the server's certificate for one that has signed itself.
    ca.distinguished_name.push(rcgen::DnType::CommonName, "Test CA");
    let ca = CertifiedIssuer::self_signed(ca, key()).unwrap();
    let (mut params, own) = (CertificateParams::default(), key());
    params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())];
    let server = params.signed_by(&own, &ca).unwrap();
    for (name, text) in [("ca.pem", ca.pem()), ("server.pem", server.pem()), ("server.key", own.serialize_pem())] {
        fs::write(dir.path().join(name), text).unwrap();
    }
}
