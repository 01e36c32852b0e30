//! The service as a process of its own, and what it costs.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use metabase_token_service::transport::proto::{IssueMetabaseTokenRequest, User};
use tempfile::TempDir;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

const CONFIG: &str = r#"
[server]
listen = "127.0.0.1:0"
metrics_listen = "127.0.0.1:0"
identity = { local = "shop" }
LIMITS
[[instances]]
name = "main"
probe_interval = "off"
url = "METABASE"
shared_secret = { file = "SECRET" }
[[callers]]
name = "shop"
[[callers.grants]]
instance = "main"
email_domains = ["*"]
groups = ["*"]
attributes = { "*" = "string" }
"#;

/// Killed when dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: String,
    _dir: TempDir,
}

impl Served {
    /// With these `[server.limits]`, with as many open files as the system allows, and, if that is `small`, on one CPU.
    pub(crate) fn start(limits: &str, metabase: &str, small: bool) -> Self {
        let dir = TempDir::new().expect("a folder can be made");
        let (file, secret) = (dir.path().join("mts.toml"), dir.path().join("secret"));
        fs::write(&secret, "4f1c9a7e03b85d26f7a1c3e9b0d48e6275ac13f0e9b7d6482c5e8f01a3b4d697")
            .expect("it can be written");
        let text = CONFIG.replace("METABASE", metabase).replace("SECRET", &secret.display().to_string());
        fs::write(&file, text.replace("LIMITS", &format!("limits = {{ {limits} }}"))).expect("it can be written");
        let pinned = "command -v taskset >/dev/null && exec taskset -c 0 \"$0\" \"$@\"";
        let script = format!("ulimit -n \"$(ulimit -Hn)\"; {}; exec \"$0\" \"$@\"", if small { pinned } else { ":" });
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_metabase-token-service"), "serve", "--config"]).arg(file);
        if small {
            command.env("TOKIO_WORKER_THREADS", "1");
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("sh can be started");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let mut address = None;
        for line in lines.take_while(|line| line != "ready") {
            let grpc = line.strip_prefix("gRPC on ").and_then(|rest| rest.split(' ').next());
            address = address.or(grpc.map(str::to_owned));
        }
        Self { child, address: address.expect("the service tells its address"), _dir: dir }
    }

    pub(crate) fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).expect("it is a URL").connect_lazy()
    }

    /// Memory of the process that is in use.
    pub(crate) fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the service runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells");
        line.trim().trim_end_matches(" kB").parse().expect("it is a number")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// To be asked for tokens.
pub(crate) const ISSUE: &str = "/metabase.token.v1.MetabaseTokenService/IssueMetabaseToken";

/// A usual request.
pub(crate) fn request() -> IssueMetabaseTokenRequest {
    let user = User {
        id: "7".to_owned(),
        email: "ada@example.com".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
    };
    IssueMetabaseTokenRequest { user: Some(user), ..IssueMetabaseTokenRequest::default() }
}

/// A message that is sent as it is.
#[derive(Clone)]
pub(crate) struct Encoded(pub(crate) Box<[u8]>);

#[derive(Default)]
struct AsItIs;

impl Codec for AsItIs {
    type Encode = Encoded;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsItIs {
    type Item = Encoded;
    type Error = Status;

    fn encode(&mut self, Encoded(bytes): Encoded, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        prost::bytes::BufMut::put_slice(buffer, &bytes);
        Ok(())
    }
}

impl Decoder for AsItIs {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        prost::bytes::Buf::advance(buffer, prost::bytes::Buf::remaining(buffer));
        Ok(Some(()))
    }
}

/// Asks one of the service's RPCs.
pub(crate) async fn ask(channel: Channel, rpc: &'static str, request: Request<Encoded>) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = http::uri::PathAndQuery::from_static(rpc);
    grpc.unary(request, path, AsItIs).await.map(|_| ())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures durations")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// So many of a hundred take no longer.
pub(crate) fn percentile(mut values: Vec<Duration>, percent: usize) -> Duration {
    values.sort_unstable();
    values.get((values.len() * percent / 100).min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}
