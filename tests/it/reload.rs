//! Changed files are taken into force while serving: all of one moment, or nothing.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use metabase_token_service::transport::proto::{
    GroupList, IssueMetabaseTokenRequest, metabase_token_service_client::MetabaseTokenServiceClient,
};
use tempfile::TempDir;
use tonic::{
    Code,
    transport::{Channel, ClientTlsConfig},
};

use crate::{
    harness::{CONFIG, Killed, OTHER_SECRET, SECRET, Served, ada, config_dir, program, replace, until},
    metrics,
    pki::{Leaf, TestCa, client, dns, uri},
};

const WEB: &str = "spiffe://example.org/web";
const RELOADS: usize = 200;

fn request() -> IssueMetabaseTokenRequest {
    let groups = Some(GroupList { names: vec!["A".to_owned()] });
    IssueMetabaseTokenRequest { user: Some(ada()), groups, ..IssueMetabaseTokenRequest::default() }
}

fn channel(address: &str, tls: ClientTlsConfig) -> Channel {
    Channel::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap().connect_lazy()
}

/// A metric of the server; 0 while it is not there.
pub(crate) fn metric(served: &Served, name: &str) -> usize {
    let text = metrics::get_blocking(served.metrics_address(), "/metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or(" 0");
    value.trim().parse().unwrap()
}

/// Asks until the metric is at least `value`: of one change, a signal and the look of every second may make two generations.
pub(crate) async fn wait_for(served: &Served, name: &str, value: usize) {
    until(format_args!("{name} {value}"), async || metric(served, name) >= value).await;
}

pub(crate) const GENERATION: &str = "metabase_token_service_generation";
const FAILED: &str = "metabase_token_service_reloads_total{what=\"configuration\",outcome=\"failed\"}";
pub(crate) const TLS_FAILED: &str = "metabase_token_service_reloads_total{what=\"tls\",outcome=\"failed\"}";
const TLS_SUCCEEDED: &str = "metabase_token_service_reloads_total{what=\"tls\",outcome=\"succeeded\"}";

/// Files behind symbolic links that are swapped at once, as Kubernetes mounts them.
struct Mount {
    dir: TempDir,
}

impl Mount {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for name in ["mts.toml", "secret", "server.pem", "server.key", "ca.pem", "crl.pem"] {
            symlink(Path::new("..data").join(name), dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Generation `number`: secret, claim name and server certificate all belong together.
    fn publish(&self, number: usize, ca: &TestCa) {
        let folder = self.path(&format!("..{number}"));
        fs::create_dir(&folder).unwrap();
        let is_even = number.is_multiple_of(2);
        let groups = if is_even { "groups_even" } else { "groups_odd" };
        let tls = ca.server_tls(&[]);
        for name in ["server.pem", "server.key", "ca.pem", "crl.pem"] {
            fs::copy(ca.path(name), folder.join(name)).unwrap();
        }
        let tls = tls.replace(&ca.path("").display().to_string(), &self.path("").display().to_string());
        let text = CONFIG
            .replace("SECRET_FILE", &self.path("secret").display().to_string())
            .replace("identity = { local = \"shop\" }", "identity = { mtls = true }")
            .replace("name = \"main\"", &format!("name = \"main\"\nclaims = {{ groups = \"{groups}\" }}"))
            .replace("name = \"shop\"", &format!("name = \"shop\"\nidentities = [\"{WEB}\"]"))
            .replace("[[instances]]", &format!("{tls}\n[[instances]]"));
        fs::write(folder.join("mts.toml"), text).unwrap();
        fs::write(folder.join("secret"), if is_even { SECRET } else { OTHER_SECRET }).unwrap();
        symlink(format!("..{number}"), self.path("..new")).unwrap();
        fs::rename(self.path("..new"), self.path("..data")).unwrap();
    }
}

/// Issues until `stop`, on a new connection every 50 tokens, and counts the tokens of even and odd generations.
async fn issue_without_pause(address: String, tls: ClientTlsConfig, stop: Arc<AtomicBool>) -> [usize; 2] {
    let mut seen = [0; 2];
    while !stop.load(Ordering::Relaxed) {
        let mut client = MetabaseTokenServiceClient::new(channel(&address, tls.clone()));
        for _ in 0..50 {
            let jwt = client.issue_metabase_token(request()).await.unwrap().into_inner().jwt;
            let (signed, signature) = jwt.rsplit_once('.').unwrap();
            let payload = URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap();
            let is_even = String::from_utf8(payload).unwrap().contains("groups_even");
            let secret = if is_even { SECRET } else { OTHER_SECRET };
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            hmac::verify(&key, signed.as_bytes(), &signature).expect("the claims of one generation, signed by another");
            seen[usize::from(is_even)] += 1;
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reloads_fail_no_rpc_and_mix_no_generation() {
    let (mount, ca) = (Mount::new(), TestCa::new());
    mount.publish(0, &ca);
    let served = Served::start(program(&["serve", "--config"]).arg(mount.path("mts.toml")));
    let tls = ca.client_tls(Some(&ca.issue(&client(vec![uri(WEB)]))));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| tokio::spawn(issue_without_pause(served.address().to_owned(), tls.clone(), Arc::clone(&stop))))
        .collect();
    for number in 1..=RELOADS {
        let (generation, tls) = (metric(&served, GENERATION), metric(&served, TLS_SUCCEEDED));
        mount.publish(number, &ca);
        served.signal("-HUP");
        wait_for(&served, GENERATION, generation + 1).await;
        wait_for(&served, TLS_SUCCEEDED, tls + 1).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut seen = [0; 2];
    for client in clients {
        let own = client.await.unwrap();
        seen = [seen[0] + own[0], seen[1] + own[1]];
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    assert!(metric(&served, GENERATION) > RELOADS);
    assert_eq!((metric(&served, FAILED), metric(&served, TLS_FAILED)), (0, 0));
    served.signal("-TERM");
    let (status, _, log) = served.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test]
async fn a_bad_file_leaves_the_last_good_one_in_force_and_says_so() {
    let dir = config_dir(CONFIG, SECRET);
    let (file, secret) = (dir.path().join("mts.toml"), dir.path().join("secret"));
    let good = fs::read_to_string(&file).unwrap();
    let served = Served::start(program(&["serve", "--config"]).arg(&file));
    let channel = Channel::from_shared(format!("http://{}", served.address())).unwrap().connect().await.unwrap();
    let mut client = MetabaseTokenServiceClient::new(channel);
    client.issue_metabase_token(request()).await.unwrap();

    // Without a signal: the files are watched.
    replace(&file, good.replace("groups = [\"*\"]", "groups = [\"*\"]\nleeway = 1"));
    wait_for(&served, FAILED, 1).await;
    client.issue_metabase_token(request()).await.unwrap();
    replace(&file, &good);
    wait_for(&served, GENERATION, 2).await;
    replace(&secret, "short");
    wait_for(&served, FAILED, 2).await;
    client.issue_metabase_token(request()).await.unwrap();
    // The new policy comes with the repaired secret, not before.
    replace(&file, good.replace("groups = [\"*\"]", "groups = []"));
    replace(&secret, OTHER_SECRET);
    wait_for(&served, GENERATION, 3).await;
    let status = client.issue_metabase_token(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    replace(&file, good.replace("groups = [\"*\"]", "groups = []").replace("[server]", "[server]\nreflection = true"));
    wait_for(&served, GENERATION, 4).await;

    served.signal("-TERM");
    let (_, _, log) = served.wait();
    for line in ["leeway: unknown field", "the secret has 5 bytes", "A change of [server] takes a restart"] {
        assert!(log.contains(line), "{line} in\n{log}");
    }
    assert!(!log.contains(OTHER_SECRET));
}

#[tokio::test]
async fn a_certificate_that_is_out_of_time_takes_force_and_is_told() {
    let ca = TestCa::new();
    let text = CONFIG.replace("[[instances]]", &format!("{}\n[[instances]]", ca.server_tls(&[])));
    let dir = config_dir(&text, SECRET);
    let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
    let expired = ca.issue(&Leaf { years: (2020, 2021), is_for_servers: true, ..client(vec![dns("localhost")]) });
    ca.write("server.key", &expired.key);
    ca.write("server.pem", &expired.certificate);
    wait_for(&served, TLS_SUCCEEDED, 1).await;
    served.signal("-TERM");
    let (_, _, log) = tokio::task::spawn_blocking(|| served.wait()).await.unwrap();
    assert!(log.contains("server.pem: a certificate in it has expired at 2021-01-01T00:00:00Z"), "{log}");
}

#[tokio::test]
async fn a_revocation_takes_force_for_new_connections_and_a_bad_list_does_not() {
    let ca = TestCa::new();
    let text = CONFIG
        .replace("identity = { local = \"shop\" }", "identity = { mtls = true }")
        .replace("name = \"shop\"", &format!("name = \"shop\"\nidentities = [\"{WEB}\"]"))
        .replace("[[instances]]", &format!("{}\n[[instances]]", ca.server_tls(&[])));
    let dir = config_dir(&text, SECRET);
    let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
    let tls = ca.client_tls(Some(&ca.issue(&client(vec![uri(WEB)]))));
    let mut open = MetabaseTokenServiceClient::new(channel(served.address(), tls.clone()));
    open.issue_metabase_token(request()).await.unwrap();

    ca.write("crl.pem", "not a list");
    wait_for(&served, TLS_FAILED, 1).await;
    MetabaseTokenServiceClient::new(channel(served.address(), tls.clone()))
        .issue_metabase_token(request())
        .await
        .unwrap();
    ca.write("crl.pem", &ca.revocation_list(&[7]));
    wait_for(&served, TLS_SUCCEEDED, 1).await;
    MetabaseTokenServiceClient::new(channel(served.address(), tls)).issue_metabase_token(request()).await.unwrap_err();
    open.issue_metabase_token(request()).await.unwrap();
}

#[tokio::test]
async fn a_pipe_in_place_of_a_file_stops_neither_the_service_nor_its_end() {
    let dir = config_dir(CONFIG, SECRET);
    let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
    let channel = Channel::from_shared(format!("http://{}", served.address())).unwrap().connect().await.unwrap();
    for (failures, name) in [(1, "secret"), (2, "mts.toml")] {
        let pipe = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        fs::rename(pipe, dir.path().join(name)).unwrap();
        wait_for(&served, FAILED, failures).await;
        let mut client = MetabaseTokenServiceClient::new(channel.clone());
        client.issue_metabase_token(request()).await.unwrap();
    }
    served.signal("-TERM");
    let (status, _, log) = tokio::task::spawn_blocking(|| served.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("must be a regular file, not a folder, pipe, socket or device").count(), 2, "{log}");
}

/// `systemctl restart` and `reload` in a row.
#[tokio::test]
async fn a_hangup_while_the_service_starts_does_not_end_it() {
    let redis = TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = config_dir(CONFIG, SECRET);
    let (file, key) = (dir.path().join("mts.toml"), dir.path().join("key"));
    fs::write(&key, OTHER_SECRET).unwrap();
    let store = format!(
        "\n[accounts.redis]\nurls = [\"redis://{}\"]\nhash_key = {{ file = \"{}\" }}\non_store_failure = \"deny\"\n",
        redis.local_addr().unwrap(),
        key.display()
    );
    fs::write(&file, fs::read_to_string(&file).unwrap() + &store).unwrap();
    let mut child = Killed(program(&["serve", "--config"]).arg(&file).spawn().unwrap());
    // Who starts waits for an answer that does not come.
    let asked = redis.accept().unwrap();
    assert!(Command::new("kill").args(["-HUP", &child.0.id().to_string()]).status().unwrap().success());
    drop(asked);
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "ready"), "it has ended");
}

#[tokio::test]
async fn only_a_change_of_the_server_section_itself_takes_a_restart() {
    let dir = config_dir(CONFIG, SECRET);
    let file = dir.path().join("mts.toml");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--config"];
    let served = Served::start(program(&serve).arg(&file));
    let text = fs::read_to_string(&file).unwrap();
    replace(&file, format!("{text}\n# A comment.\n"));
    wait_for(&served, GENERATION, 2).await;
    replace(&file, text.replace("[server]", "[server]\nreflection = true"));
    wait_for(&served, GENERATION, 3).await;
    served.signal("-TERM");
    let (_, _, log) = tokio::task::spawn_blocking(|| served.wait()).await.unwrap();
    assert_eq!(log.matches("A change of [server] takes a restart").count(), 1, "{log}");
}

#[tokio::test]
async fn a_comment_above_a_section_changes_nothing_and_a_section_that_changed_is_named() {
    let dir = config_dir(CONFIG, SECRET);
    let (file, key) = (dir.path().join("mts.toml"), dir.path().join("key"));
    fs::write(&key, OTHER_SECRET).unwrap();
    let audit = dir.path().join("audit.jsonl").display().to_string();
    let section =
        format!("[audit]\nsink = {{ file = \"{audit}\" }}\nsubject_key = {{ file = \"{}\" }}\n", key.display());
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n{section}")).unwrap();
    let served = Served::start(program(&["serve", "--config"]).arg(&file));
    replace(&file, format!("{text}\n# A comment.\n{section}"));
    wait_for(&served, GENERATION, 2).await;
    replace(&file, format!("{text}\n{section}durability = \"synced\"\n"));
    wait_for(&served, GENERATION, 3).await;
    served.signal("-TERM");
    let (_, _, log) = tokio::task::spawn_blocking(|| served.wait()).await.unwrap();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("takes a restart")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("A change of [audit] takes a restart"), "{log}");
}
