//! A server on a free port with a clock that stands still, and the real program as a child process.

use std::{
    fmt::Display,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use metabase_token_service::{
    adapters::load_generation,
    app::{App, RunError},
    application::Clock,
    config::{Config, ListenAddress},
    domain::time::UnixTime,
    lifecycle::Stop,
    transport::proto::{User, metabase_token_service_client::MetabaseTokenServiceClient},
};
use tempfile::{NamedTempFile, TempDir};
use tokio::{task::JoinHandle, time::timeout};
use tonic::transport::Channel;

/// The time of the server's clock.
pub(crate) const NOW: i64 = 1_700_000_000;
/// The secret of every test server.
pub(crate) const SECRET: &str = "4f1c9a7e03b85d26f7a1c3e9b0d48e6275ac13f0e9b7d6482c5e8f01a3b4d697";
/// A secret of somebody else.
pub(crate) const OTHER_SECRET: &str = "d697a3b48f01c5e8482cb7d6f0e9ac136275d48ec3e9b0f7a15d26b8037e9a4f";

/// One instance, one caller who may do everything but make administrators, and that caller behind every connection.
pub(crate) const CONFIG: &str = r#"
    [server]
    listen = "127.0.0.1:0"
    metrics_listen = "127.0.0.1:0"
    identity = { local = "shop" }
    drain = { announce_delay = "0s" }

    [[instances]]
    name = "main"
    url = "https://bi.example.com/metabase"
    probe_interval = "off"
    shared_secret = { file = "SECRET_FILE" }

    [[callers]]
    name = "shop"
    [[callers.grants]]
    instance = "main"
    email_domains = ["*"]
    groups = ["*"]
    attributes = { "*" = "string" }
    tenants = ["*"]
    tenant_attributes = { "*" = "string" }
"#;

/// A person that [`CONFIG`] allows tokens for.
pub(crate) fn ada() -> User {
    User {
        id: "1815".to_owned(),
        email: "ada@example.com".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
    }
}

#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_seconds(NOW)
    }
}

/// A running server in this process.
pub(crate) struct TestServer {
    pub(crate) client: MetabaseTokenServiceClient<Channel>,
    pub(crate) channel: Channel,
    pub(crate) grpc: String,
    pub(crate) probe: Option<String>,
    pub(crate) metrics: String,
    pub(crate) stop: Stop,
    running: JoinHandle<Result<(), RunError>>,
}

impl TestServer {
    /// [`CONFIG`]
    pub(crate) async fn start() -> Self {
        Self::with(CONFIG).await
    }

    /// `SECRET_FILE` in the text stands for a file that holds [`SECRET`], `OTHER_SECRET_FILE` for [`OTHER_SECRET`].
    pub(crate) async fn with(config: &str) -> Self {
        let (secret, other) = (secret_file(SECRET), secret_file(OTHER_SECRET));
        let text = config
            .replace("OTHER_SECRET_FILE", &other.path().display().to_string())
            .replace("SECRET_FILE", &secret.path().display().to_string());
        let config = Config::parse(&text, "test.toml").unwrap();
        let generation = load_generation::load(&config, "test.toml").unwrap().generation;
        let app = App::bind(config, None, generation, Arc::new(StoppedClock)).await.unwrap();
        let addresses = app.addresses().unwrap();
        let ListenAddress::Tcp(grpc) = addresses.grpc else { panic!("not TCP") };
        let stop = Stop::default();
        let running = tokio::spawn(app.run(stop.clone()));
        let channel = Channel::from_shared(format!("http://{grpc}")).unwrap().connect_lazy();
        Self {
            client: MetabaseTokenServiceClient::new(channel.clone()),
            channel,
            grpc: grpc.to_string(),
            probe: addresses.probe.map(|address| address.to_string()),
            metrics: addresses.metrics.to_string(),
            stop,
            running,
        }
    }

    /// What the server ended with.
    pub(crate) async fn ended(self) -> Result<(), RunError> {
        self.running.await.unwrap()
    }
}

/// A file that only its owner can read.
pub(crate) fn secret_file(content: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

/// A folder with `mts.toml` and the secret file that it names.
pub(crate) fn config_dir(config: &str, secret: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, secret).unwrap();
    let text = config.replace("SECRET_FILE", &file.display().to_string());
    std::fs::write(dir.path().join("mts.toml"), text).unwrap();
    dir
}

/// Gives a file that a server watches other content. Of a file written in place, the server may see the half.
pub(crate) fn replace(file: &Path, content: impl AsRef<[u8]>) {
    let new = file.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, file).unwrap();
}

/// For ever, where something takes moments.
pub(crate) const FOR_EVER: Duration = Duration::from_mins(1);

/// Asks until it is so. What never comes to be fails the test, and does not hang it.
pub(crate) async fn until(what: impl Display, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(FOR_EVER, waiting).await.is_ok(), "never came to be: {what}");
}

/// The real program, with none of its variables set.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metabase-token-service"));
    for variable in [
        "CREDENTIALS_DIRECTORY",
        "METABASE_JWT_SHARED_SECRET",
        "METABASE_TOKEN_SERVICE_ADDRESS",
        "METABASE_TOKEN_SERVICE_CONFIG",
        "METABASE_URL",
    ] {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// Exit code, standard output and standard error.
pub(crate) fn outcome(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A child process. Killed when dropped.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `serve` as a child process.
pub(crate) struct Served {
    child: Killed,
    stdout: BufReader<ChildStdout>,
    /// Reads standard error to its end, so that a full pipe stops nobody.
    log: Option<thread::JoinHandle<String>>,
    /// What it printed up to `ready`.
    pub(crate) announced: String,
}

impl Served {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = Killed(command.spawn().unwrap());
        let mut stdout = BufReader::new(child.0.stdout.take().unwrap());
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let mut announced = String::new();
            while !announced.ends_with("\nready\n") && stdout.read_line(&mut announced).unwrap() > 0 {}
            let _ = send.send((announced, stdout));
        });
        let (announced, stdout) = receive.recv_timeout(FOR_EVER).expect("it says neither that it is ready nor why not");
        assert!(announced.ends_with("\nready\n"), "ended before it was ready:\n{announced}");
        let mut stderr = child.0.stderr.take().unwrap();
        let log = Some(thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        }));
        Self { child, stdout, log, announced }
    }

    /// On free ports of loopback.
    pub(crate) fn dev(command: &mut Command) -> Self {
        Self::start(command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]))
    }

    pub(crate) fn address(&self) -> &str {
        let line = self.announced.lines().find_map(|line| line.strip_prefix("gRPC on ")).unwrap();
        line.split(" (").next().unwrap()
    }

    pub(crate) fn metrics_address(&self) -> &str {
        let line = self.announced.lines().find_map(|line| line.strip_prefix("metrics on http://")).unwrap();
        line.strip_suffix("/metrics").unwrap()
    }

    pub(crate) fn pid(&self) -> String {
        self.child.0.id().to_string()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.pid();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Its exit status, the rest of its standard output, and its standard error.
    pub(crate) fn wait(mut self) -> (ExitStatus, String, String) {
        let mut out = String::new();
        self.stdout.read_to_string(&mut out).unwrap();
        (self.child.0.wait().unwrap(), out, self.log.take().unwrap().join().unwrap())
    }
}

/// All Rust files below a folder of this package.
pub(crate) fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut folders) = (Vec::new(), vec![root.join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}
