//! What others on the machine can learn from the process, and what it could do itself if it were taken over.

use std::{
    fs,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use metabase_token_service::transport::proto::{
    IssueMetabaseTokenRequest, metabase_token_service_client::MetabaseTokenServiceClient,
};
use tempfile::TempDir;

use crate::{
    harness::{CONFIG, Killed, OTHER_SECRET, SECRET, Served, ada, config_dir, outcome, program, replace, run, until},
    metrics,
    pki::TestCa,
    reload::{GENERATION, TLS_FAILED, wait_for},
};

const FAILED: &str = "metabase_token_service_reloads_total{what=\"configuration\",outcome=\"failed\"}";
const VARIABLE: &str = "MAIN_SECRET";
/// What looks into memory, the environment or open files.
const PRIVATE: [&str; 9] =
    ["auxv", "environ", "maps", "mem", "pagemap", "smaps", "task/PID/environ", "task/PID/maps", "task/PID/mem"];
const PUBLIC: [&str; 9] = ["cgroup", "cmdline", "comm", "limits", "mountinfo", "sched", "stat", "statm", "status"];
const NOBODY: u32 = 65534;

/// The configuration of the tests, with its secret in the environment.
fn from_environment() -> String {
    CONFIG.replace("{ file = \"SECRET_FILE\" }", &format!("{{ env = \"{VARIABLE}\" }}"))
}

/// A command as somebody without privileges: root would see everything.
fn unprivileged(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// A folder with the program and its configuration, which somebody without privileges can read.
fn installed(config: &str) -> TempDir {
    let dir = config_dir(config, SECRET);
    fs::copy(env!("CARGO_BIN_EXE_metabase-token-service"), dir.path().join("program")).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        for name in ["", "mts.toml", "secret"] {
            chown(dir.path().join(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    dir
}

fn serve(dir: &TempDir) -> Command {
    let mut command = unprivileged(dir.path().join("program"));
    command
        .args(["serve", "--log-level", "trace", "--config"])
        .arg(dir.path().join("mts.toml"))
        .current_dir(dir.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env(VARIABLE, SECRET);
    command
}

fn file_of(pid: &str, name: &str) -> PathBuf {
    PathBuf::from("/proc").join(pid).join(name.replace("PID", pid))
}

/// Whether another process of its user can open a file of a process.
fn opens(pid: &str, name: &str) -> bool {
    let path = file_of(pid, name);
    unprivileged("/bin/sh").args(["-c", ": < \"$0\""]).arg(path).stderr(Stdio::null()).status().unwrap().success()
}

/// What another process of its user reads there.
fn look(pid: &str, name: &str) -> String {
    let content = unprivileged("/bin/cat").arg(file_of(pid, name)).output().unwrap().stdout;
    String::from_utf8_lossy(&content).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_of_the_user_learns_neither_secret_nor_token() {
    // The way of looking finds a secret where nothing protects it.
    let mut sleep = unprivileged("/bin/sleep");
    let bystander = Killed(sleep.arg("600").env(VARIABLE, SECRET).spawn().unwrap());
    let pid = bystander.0.id().to_string();
    until("the bystander's own program", async || look(&pid, "comm") == "sleep\n").await;
    assert!(look(&pid, "environ").contains(SECRET));
    assert!(opens(&pid, "mem") && opens(&pid, "environ"));

    let dir = installed(&from_environment());
    let served = Served::start(&mut serve(&dir));
    let mut client = MetabaseTokenServiceClient::connect(format!("http://{}", served.address())).await.unwrap();
    let good = IssueMetabaseTokenRequest { user: Some(ada()), ..IssueMetabaseTokenRequest::default() };
    let jwt = client.issue_metabase_token(good.clone()).await.unwrap().into_inner().jwt;
    let bad = IssueMetabaseTokenRequest { instance: SECRET[..32].to_owned(), ..good };
    let error = client.issue_metabase_token(bad).await.unwrap_err();
    let pid = served.pid();
    for name in PRIVATE {
        assert!(!opens(&pid, name), "{name}");
    }
    let listed = unprivileged("/bin/ls").arg(format!("/proc/{pid}/fd")).stderr(Stdio::null()).status().unwrap();
    assert!(!listed.success());
    let mut surfaces: Vec<(&str, String)> = PUBLIC.iter().map(|name| (*name, look(&pid, name))).collect();
    assert!(surfaces.iter().any(|(name, text)| *name == "cmdline" && text.contains("mts.toml")), "{surfaces:?}");
    surfaces.push(("metrics", metrics::get_blocking(served.metrics_address(), "/metrics")));
    surfaces.push(("error", format!("{error:?}")));
    served.signal("-TERM");
    surfaces.push(("announcement", served.announced.clone()));
    let (_, out, log) = tokio::task::spawn_blocking(|| served.wait()).await.unwrap();
    assert!(log.contains("Not hardened: environment: the secret in MAIN_SECRET stays readable"), "{log}");
    surfaces.extend([("standard output", out), ("log", log)]);
    let signature = jwt.rsplit('.').next().unwrap();
    for (name, text) in surfaces {
        assert!(!text.contains(SECRET) && !text.contains(signature), "{name}:\n{text}");
    }
}

fn is_caught(pid: &str, signal: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).unwrap();
    u64::from_str_radix(mask, 16).unwrap() >> (signal - 1) & 1 == 1
}

#[test]
fn a_crash_leaves_no_core() {
    for signal in ["-ABRT", "-SEGV"] {
        let dir = installed(CONFIG);
        let before = fs::read_dir(dir.path()).unwrap().count();
        let mut shell = unprivileged("/bin/sh");
        // As much as the tests themselves may have.
        shell.args(["-c", "ulimit -c \"$(ulimit -H -c)\"; exec \"$@\"", "sh"]).arg(dir.path().join("program"));
        shell.args(["serve", "--config"]).arg(dir.path().join("mts.toml")).current_dir(dir.path());
        let served = Served::start(shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
        let limits = fs::read_to_string(format!("/proc/{}/limits", served.pid())).unwrap();
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"]);
        served.signal(signal);
        if signal == "-SEGV" {
            // The first one only takes Rust's handler away, which looks for overflows of the stack.
            while is_caught(&served.pid(), 11) {}
            served.signal(signal);
        }
        let (status, _, _) = served.wait();
        assert!(status.signal().is_some() && !status.core_dumped(), "{status}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), before);
    }
}

#[test]
fn every_thread_is_confined_and_every_measure_is_reported() {
    let dir = config_dir(CONFIG, SECRET);
    let served =
        Served::start(program(&["serve", "--log-format", "json", "--config"]).arg(dir.path().join("mts.toml")));
    let threads: Vec<_> = fs::read_dir(format!("/proc/{}/task", served.pid())).unwrap().collect();
    // The main thread, the log writer and a worker at least.
    assert!(threads.len() >= 3, "{threads:?}");
    for thread in threads {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        for line in ["NoNewPrivs:\t1\n", "Seccomp:\t2\n"] {
            assert!(status.contains(line), "{status}");
        }
    }
    served.signal("-TERM");
    let (_, _, log) = served.wait();
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let names = |line: serde_json::Value| {
        let field = ["applied", "measure"].into_iter().find_map(|field| line[field].as_str().map(str::to_owned));
        field.map(|names| names.split(',').map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default()
    };
    let mut reported: Vec<String> = lines.flat_map(names).collect();
    reported.sort();
    let mut measures = [
        "core_dumps",
        "dumpable",
        "environment",
        "files",
        "memory",
        "network",
        "new_privileges",
        "scope",
        "system_calls",
    ];
    measures.sort_unstable();
    assert_eq!(reported, measures);
}

#[test]
fn a_measure_that_is_required_and_does_not_hold_stops_the_start() {
    // In use: a start that went on would end there, with another code.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = from_environment()
        .replacen("127.0.0.1:0", &listener.local_addr().unwrap().to_string(), 1)
        .replace("[server]", "[server]\nrequire_hardening = true");
    let dir = config_dir(&text, SECRET);
    let serve = || {
        let mut serve = program(&["serve", "--config"]);
        serve.arg(dir.path().join("mts.toml")).env(VARIABLE, SECRET);
        serve
    };
    let (code, out, err) = outcome(&run(&mut serve()));
    assert_eq!((code, out.as_str()), (Some(78), ""), "{err}");
    let lines: Vec<&str> = err.lines().filter(|line| line.contains("environment")).collect();
    assert_eq!(lines.len(), 1, "{err}");
    for part in ["server.require_hardening: environment: the secret in MAIN_SECRET", "use { file = ", "set it to false"]
    {
        assert!(lines[0].contains(part), "{part} in {err}");
    }
    assert!(!err.contains(SECRET));
}

#[tokio::test]
async fn a_reload_beyond_the_confinement_says_that_it_takes_a_restart() {
    let (dir, elsewhere) = (config_dir(CONFIG, SECRET), TempDir::new().unwrap());
    let (file, other) = (dir.path().join("mts.toml"), elsewhere.path().join("secret"));
    fs::write(&other, OTHER_SECRET).unwrap();
    let good = fs::read_to_string(&file).unwrap();
    let served = Served::start(program(&["serve", "--config"]).arg(&file));
    let secret = dir.path().join("secret").display().to_string();
    replace(&file, good.replace(&secret, &other.display().to_string()));
    wait_for(&served, FAILED, 1).await;
    replace(&file, good.replace("name = \"main\"", "name = \"main\"\napi_url = \"http://127.0.0.1:4711\""));
    wait_for(&served, FAILED, 2).await;
    // A new file in a folder that is named already takes no restart.
    let next = dir.path().join("next");
    fs::write(&next, OTHER_SECRET).unwrap();
    replace(&file, good.replace(&secret, &next.display().to_string()));
    wait_for(&served, GENERATION, 2).await;
    served.signal("-TERM");
    let (_, _, log) = tokio::task::spawn_blocking(|| served.wait()).await.unwrap();
    let outside = format!("{} is outside of the folders that can be read", other.display());
    for refusal in [outside.as_str(), "TCP port 4711 is none of those that can be connected to"] {
        let line = log.lines().find(|line| line.contains(refusal)).unwrap_or_else(|| panic!("{refusal} in\n{log}"));
        assert!(line.contains("mts.toml: ") && line.contains("restart the service"), "{line}");
    }
}

/// As some do who renew certificates: the new folder has the name of the old one, and the process may not look into it.
#[tokio::test]
async fn files_in_a_folder_that_was_replaced_take_a_restart_and_the_log_says_so() {
    let (ca, elsewhere) = (TestCa::new(), TempDir::new().unwrap());
    let dir = config_dir(&CONFIG.replace("[[instances]]", &format!("{}\n[[instances]]", ca.server_tls(&[]))), SECRET);
    let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
    let (folder, aside) = (ca.path(""), elsewhere.path().join("aside"));
    fs::rename(&folder, &aside).unwrap();
    fs::create_dir(&folder).unwrap();
    for file in fs::read_dir(&aside).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    wait_for(&served, TLS_FAILED, 1).await;
    served.signal("-TERM");
    let (_, _, log) = tokio::task::spawn_blocking(|| served.wait()).await.unwrap();
    let line = log.lines().find(|line| line.contains("server.pem: cannot be read: Permission denied")).unwrap();
    assert!(line.contains("if its folder was replaced") && line.contains("restart the service"), "{line}");
}

#[tokio::test]
async fn a_confined_process_still_finds_metabase_by_name() {
    let listener = TcpListener::bind("localhost:0").unwrap();
    let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let text = CONFIG.replace("https://bi.example.com/metabase", &url).replace("\"off\"", "\"1h\"");
    let dir = config_dir(&text, SECRET);
    let is_found = Arc::new(AtomicBool::new(false));
    let found = Arc::clone(&is_found);
    thread::spawn(move || found.store(listener.accept().is_ok(), Ordering::SeqCst));
    let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
    // Nobody answers, but the look at Metabase ends.
    wait_for(&served, "metabase_token_service_metabase_agreement{metabase=\"main\",state=\"unknown\"}", 1).await;
    assert!(is_found.load(Ordering::SeqCst));
}
