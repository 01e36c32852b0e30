//! A replica: the real program with a configuration of its own.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use metabase_token_service::transport::proto::{
    IssueMetabaseTokenRequest, IssueMetabaseTokenResponse, User,
    metabase_token_service_client::MetabaseTokenServiceClient,
};
use tempfile::TempDir;
use tonic::{Code, Response, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::redis_process::{PASSWORD, Redis, USER};

const SECRET: &str = "4f1c9a7e03b85d26f7a1c3e9b0d48e6275ac13f0e9b7d6482c5e8f01a3b4d697";
const HASH_KEY: &str = "d697a3b48f01c5e8482cb7d6f0e9ac136275d48ec3e9b0f7a15d26b8037e9a4f";

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
metrics_listen = "127.0.0.1:0"
identity = { local = "shop" }
drain = { announce_delay = "0s" }
[audit]
sink = { file = "DIR/audit.jsonl" }
subject = "plain"
[accounts]
tokens_per_hour = "off"
[accounts.redis]
urls = [URLS]
hash_key = { file = "DIR/hashes" }
MORE
[[instances]]
name = "main"
probe_interval = "off"
one_account_per_user = "MODE"
shared_secret = { file = "DIR/secret" }
[[callers]]
name = "shop"
[[callers.grants]]
instance = "main"
email_domains = ["example.com"]
"#;

/// Killed when dropped.
pub(crate) struct Replica {
    child: Child,
    pub(crate) client: MetabaseTokenServiceClient<Channel>,
    metrics: String,
    log: Option<std::thread::JoinHandle<String>>,
    dir: TempDir,
}

impl Replica {
    /// With these keys of `[accounts.redis]`, which signs in as [`USER`] where the first of the servers has users, and trusts its CA
    /// where it has one.
    pub(crate) fn start(servers: &[&Redis], mode: &str, keys: &str) -> Self {
        let dir = config(servers, mode, keys);
        let mut command = Command::new(env!("CARGO_BIN_EXE_metabase-token-service"));
        command.args(["serve", "--config"]).arg(dir.path().join("mts.toml"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let printed: Vec<String> = lines.take_while(|line| line != "ready").collect();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            stderr.read_to_string(&mut log).unwrap();
            log
        });
        let find = |prefix: &str| printed.iter().find_map(|line| line.strip_prefix(prefix)?.split([' ', '/']).next());
        let grpc = format!("http://{}", find("gRPC on ").unwrap());
        let client = MetabaseTokenServiceClient::new(Channel::from_shared(grpc).unwrap().connect_lazy());
        let metrics = find("metrics on http://").unwrap().to_owned();
        Self { child, client, metrics, log: Some(log), dir }
    }

    /// The value of a line of the metrics.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(&self.metrics).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let name = format!("metabase_token_service_{name} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }

    /// Records of the audit log that hold this text.
    pub(crate) fn audited(&self, text: &str) -> usize {
        let log = fs::read_to_string(self.dir.path().join("audit.jsonl")).unwrap();
        log.lines().filter(|line| line.contains(text)).count()
    }

    /// Ends it, and returns its log.
    pub(crate) fn end(mut self) -> String {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with `mts.toml` and what it names.
pub(crate) fn config(servers: &[&Redis], mode: &str, keys: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let urls: Vec<String> = servers.iter().map(|redis| format!("{:?}", redis.url())).collect();
    let mut keys = keys.to_owned();
    let path = |path: PathBuf| path.display().to_string();
    if servers[0].path("users.acl").exists() {
        write!(keys, "\nusername = \"{USER}\"\npassword = {{ file = \"DIR/password\" }}").unwrap();
    }
    if servers[0].path("ca.pem").exists() {
        write!(keys, "\nca = \"{}\"", path(servers[0].path("ca.pem"))).unwrap();
    }
    let text = CONFIG.replace("URLS", &urls.join(", ")).replace("MODE", mode).replace("MORE", &keys);
    let text = text.replace("DIR", &path(dir.path().to_owned()));
    for (name, text) in [("mts.toml", text.as_str()), ("secret", SECRET), ("hashes", HASH_KEY), ("password", PASSWORD)]
    {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

/// The person with this identifier wants a token for this address.
pub(crate) fn request(id: &str, email: &str) -> IssueMetabaseTokenRequest {
    let user = User {
        id: id.to_owned(),
        email: email.to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
    };
    IssueMetabaseTokenRequest { user: Some(user), ..IssueMetabaseTokenRequest::default() }
}

/// What became of it: `issued`, with the warning if there is one, or the reason of the refusal.
pub(crate) fn outcome(answer: Result<Response<IssueMetabaseTokenResponse>, Status>) -> String {
    match answer {
        Ok(response) => {
            let warning = response.metadata().get("mts-warning").map(|text| text.to_str().unwrap().to_owned());
            warning.map_or("issued".to_owned(), |text| format!("issued, {}", text.split(": ").next().unwrap()))
        }
        Err(status) => {
            assert!(matches!(status.code(), Code::FailedPrecondition | Code::Unavailable), "{status:?}");
            status.get_details_error_info().map_or_else(|| format!("{status:?}"), |info| info.reason)
        }
    }
}
