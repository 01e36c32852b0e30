//! An audit log whose place gives trouble: what is told, and that it goes on by itself.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{ChildStdout, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use metabase_token_service::transport::proto::{
    CheckAuthStatusRequest, IssueMetabaseTokenRequest, check_auth_status_request::Credential,
    metabase_token_service_client::MetabaseTokenServiceClient,
};
use tonic::{Code, Request, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    audited::{Folder, client, issue, issue_with, of, records, stop, verify},
    harness::{Killed, Served, ada, outcome, program, run, until},
    metrics::get_blocking,
};

/// As a process that died in the midst of a record leaves the log: with 13 bytes of it.
fn tear(folder: &Folder) {
    File::options().append(true).open(folder.log()).unwrap().write_all(b"{\"time\":\"2026").unwrap();
}

/// A service that may write no file beyond so many KiB.
fn with_small_files(kib: u32, config: &Path) -> Served {
    let limited = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" serve --config \"$1\"");
    let mut command = Command::new("bash");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_metabase-token-service")]).arg(config);
    Served::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

fn metric_of(metrics: &str, name: &str) -> usize {
    metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
}

/// Waits until the metric of the alert has the value.
async fn is_failing(metrics: &str, value: u8) {
    let line = format!("metabase_token_service_audit_failing {value}\n");
    until(&line, async || get_blocking(metrics, "/metrics").contains(&line)).await;
}

const TO_STDOUT: &str = "sink = \"stdout\"\nsubject = \"plain\"";

type Client = MetabaseTokenServiceClient<Channel>;

/// A service whose records go to standard output, which nobody reads: a pipe that is full makes the write wait for ever. With it its
/// output, what it says from now on, where its metrics are, and a client.
async fn unread(folder: &Folder) -> (Killed, ChildStdout, impl Iterator<Item = String>, String, Client) {
    let mut child = Killed(program(&["serve", "--config"]).arg(folder.0.path().join("mts.toml")).spawn().unwrap());
    let records = child.0.stdout.take().unwrap();
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let announced: Vec<String> = lines.by_ref().take_while(|line| line != "ready").collect();
    let told = |start: &str| announced.iter().find_map(|line| line.strip_prefix(start)).unwrap();
    let address = told("gRPC on ").split(" (").next().unwrap();
    let metrics = told("metrics on http://").strip_suffix("/metrics").unwrap();
    let client = MetabaseTokenServiceClient::connect(format!("http://{address}")).await.unwrap();
    (child, records, lines, metrics.to_owned(), client)
}

async fn issue_at_once(client: &mut Client) -> Result<(), Code> {
    let mut request = Request::new(IssueMetabaseTokenRequest { user: Some(ada()), ..Default::default() });
    request.set_timeout(Duration::from_millis(500));
    client.issue_metabase_token(request).await.map(|_| ()).map_err(|status| status.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_hangs_is_told_of_however_little_time_callers_have() {
    let folder = Folder::new(TO_STDOUT);
    let (mut child, mut records, lines, metrics, mut client) = unread(&folder).await;
    let issued = AtomicUsize::new(0);
    let mut issue = async || {
        let answer = issue_at_once(&mut client).await;
        issued.fetch_add(answer.is_ok().into(), Ordering::Relaxed);
        answer
    };
    until("a full pipe", async || issue().await.is_err()).await;
    for _ in 0..5 {
        assert!(issue().await.is_err());
    }
    is_failing(&metrics, 1).await;
    let waiting = || metric_of(&get_blocking(&metrics, "/metrics"), "metabase_token_service_audit_queue ");
    let before = waiting();
    assert!(before > 0);
    // What is known to be in vain is not waited for.
    assert_eq!(issue().await, Err(Code::Unavailable));
    assert_eq!(waiting(), before);
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        records.read_to_string(&mut text).map(|_| text)
    });
    is_failing(&metrics, 0).await;
    until("a token", async || issue().await.is_ok()).await;
    assert_eq!(waiting(), 0);
    assert!(Command::new("kill").arg(child.0.id().to_string()).status().unwrap().success());
    let log: Vec<String> = lines.collect();
    assert!(child.0.wait().unwrap().success(), "{log:?}");
    let recorded = reading.join().unwrap().unwrap().matches("\"event\":\"token_issued\"").count();
    // But for the one that was being written, tokens that have not left are not on record.
    let issued = issued.into_inner();
    assert!((issued..=issued + 1).contains(&recorded), "{recorded} on record, {issued} issued");
    for line in ["The audit log does not answer: no token leaves until it does", "The audit log answers again"] {
        assert_eq!(log.iter().filter(|own| own.contains(line)).count(), 1, "{line} in {log:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_hangs_at_the_end_is_no_clean_end() {
    let folder = Folder::new(TO_STDOUT);
    let (mut child, _nobody_reads, mut lines, _, mut client) = unread(&folder).await;
    until("a full pipe", async || issue_at_once(&mut client).await.is_err()).await;
    let pid = child.0.id().to_string();
    for seen in ["Draining", "the audit log could not be closed in time"] {
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        assert!(lines.any(|line| line.contains(seen)), "{seen}");
    }
    assert_eq!(child.0.wait().unwrap().code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_not_whole_at_the_end_is_no_clean_end() {
    let folder = Folder::file();
    let served = folder.serve();
    issue(&served).await.unwrap();
    fs::rename(folder.log(), folder.0.path().join("taken.jsonl")).unwrap();
    fs::create_dir(folder.log()).unwrap();
    served.signal("-TERM");
    let (status, _, log) = served.wait();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("the audit log could not be written to its end: 1 record is missing from it"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_something_was_cut_off_is_on_record_although_the_disk_was_full_at_first() {
    let folder = Folder::file();
    let served = folder.serve();
    while fs::metadata(folder.log()).unwrap().len() <= 4096 {
        issue(&served).await.unwrap();
    }
    stop(served);
    tear(&folder);
    let served = with_small_files(4, &folder.0.path().join("mts.toml"));
    assert_eq!(issue(&served).await.unwrap_err().code(), Code::Unavailable);
    // logrotate takes the file away, and the room is there again.
    let taken = folder.0.path().join("taken.jsonl");
    fs::rename(folder.log(), &taken).unwrap();
    issue(&served).await.unwrap();
    stop(served);
    assert_eq!(of(&records(&folder.log()), "log_repaired")[0]["cut_bytes"], 13);
    assert_eq!((verify(&taken).0, verify(&folder.log()).0), (Some(0), Some(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_record_is_cut_off_at_the_next_start() {
    let folder = Folder::file();
    let served = folder.serve();
    issue(&served).await.unwrap();
    stop(served);
    tear(&folder);
    let served = folder.serve();
    issue(&served).await.unwrap();
    assert!(stop(served).contains("in the midst of a record"));
    assert_eq!(of(&records(&folder.log()), "log_repaired")[0]["cut_bytes"], 13);
    assert_eq!(verify(&folder.log()).0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_keeps_tokens_back_until_it_can() {
    let folder = Folder::file();
    let served = folder.serve();
    let token = issue(&served).await.unwrap().jwt;
    // Somebody else's file, a folder, in place of the log.
    fs::rename(folder.log(), folder.0.path().join("audit.jsonl.1")).unwrap();
    fs::create_dir(folder.log()).unwrap();
    // One, which a task writes, and many on one connection, which that writes itself.
    let many = async || join_all(std::iter::repeat_n(client(&served).await, 64).map(issue_with)).await;
    let mut all_refused = many().await;
    all_refused.push(issue(&served).await);
    for refused in all_refused {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        let details = refused.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "AUDIT_UNAVAILABLE");
        assert!(details.retry_info().is_some());
    }
    // Nor is Metabase asked to sign in with a token, which has an effect there.
    let check = CheckAuthStatusRequest { credential: Some(Credential::Jwt(token)), live: true, ..Default::default() };
    let refused = client(&served).await.check_auth_status(check).await.unwrap_err();
    assert_eq!(refused.get_error_details().error_info().unwrap().reason, "AUDIT_UNAVAILABLE", "{refused:?}");
    fs::remove_dir(folder.log()).unwrap();
    assert!(many().await.iter().all(Result::is_ok));
    let log = stop(served);
    assert_eq!(log.matches("The audit log cannot be written").count(), 1, "{log}");
    let line = log.lines().find(|line| line.contains("The audit log cannot be written")).unwrap();
    assert!(line.contains(folder.log().to_str().unwrap()), "{line}");
    assert_eq!(log.matches("The audit log is written again").count(), 1, "{log}");
    assert_eq!(of(&records(&folder.log()), "token_issued").len(), 64);
    assert_eq!(verify(&folder.log()).0, Some(0));
}

/// Whoever has mended it looks whether the alert ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_can_be_written_again_says_so_although_nobody_asks() {
    let folder = Folder::file();
    let served = folder.serve();
    // Once this is answered, the log has been opened.
    issue(&served).await.unwrap();
    fs::rename(folder.log(), folder.0.path().join("audit.jsonl.1")).unwrap();
    fs::create_dir(folder.log()).unwrap();
    issue(&served).await.unwrap_err();
    is_failing(served.metrics_address(), 1).await;
    fs::remove_dir(folder.log()).unwrap();
    is_failing(served.metrics_address(), 0).await;
    let told: Vec<_> = records(&folder.log()).into_iter().map(|record| record["event"].clone()).collect();
    assert_eq!(told, ["log_continued", "log_resumed"]);
    stop(served);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_another_process_is_not_written() {
    let folder = Folder::file();
    let served = folder.serve();
    let second = run(program(&["serve", "--config"]).arg(folder.0.path().join("mts.toml")));
    let (code, _, err) = outcome(&second);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("audit.sink: ") && err.contains("another process writes it"), "{err}");
    stop(served);
}

#[test]
fn somebody_elses_file_is_left_alone() {
    let folder = Folder::file();
    for content in ["not a log\n", "not a log", "{\"a\":1}\nnot a log"] {
        fs::write(folder.log(), content).unwrap();
        let (code, _, err) = outcome(&run(program(&["serve", "--config"]).arg(folder.0.path().join("mts.toml"))));
        assert!(code == Some(78) && err.contains("is no audit log"), "{err}");
        assert_eq!(fs::read_to_string(folder.log()).unwrap(), content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_removed_before_a_restart_is_suspected() {
    let folder = Folder::file();
    let served = folder.serve();
    for _ in 0..3 {
        issue(&served).await.unwrap();
    }
    served.signal("-KILL");
    drop(served.wait());
    let text = fs::read_to_string(folder.log()).unwrap();
    let rest: Vec<&str> = text.split_inclusive('\n').take(3).collect();
    fs::write(folder.log(), rest.concat()).unwrap();
    stop(folder.serve());
    let (code, out, _) = verify(&folder.log());
    assert!(code == Some(0) && out.contains("line 4: started, but not stopped in order before"), "{out}");
}

/// A disk of 64 KiB: a file system of its own, or, where this process may not mount one, a limit on the size of files.
enum SmallDisk {
    Mounted(PathBuf),
    Limit,
}

impl SmallDisk {
    fn at(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            Self::Mounted(folder.to_owned())
        } else {
            Self::Limit
        }
    }

    fn serve(&self, config: &Path) -> Served {
        match self {
            Self::Mounted(_) => Served::start(program(&["serve", "--config"]).arg(config)),
            Self::Limit => with_small_files(64, config),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Self::Mounted(folder) = self {
            let _ = Command::new("umount").arg("-l").arg(folder).status();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_keeps_tokens_back_and_room_brings_them_again() {
    let folder = Folder::file();
    let disk = folder.0.path().join("disk");
    let small = SmallDisk::at(&disk);
    let file = folder.0.path().join("mts.toml");
    let log = disk.join("audit.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(&folder.log().display().to_string(), &log.display().to_string())).unwrap();
    let served = small.serve(&file);
    let mut received = Vec::new();
    let refused = loop {
        assert!(received.len() < 1000, "the disk is never full");
        match issue(&served).await {
            Ok(issued) => received.push(issued.token_fingerprint),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(issue(&served).await.is_err());
    assert_eq!(verify(&log).0, Some(0));
    // logrotate takes the file away, and the room is there again.
    let taken = folder.0.path().join("taken.jsonl");
    fs::copy(&log, &taken).unwrap();
    fs::remove_file(&log).unwrap();
    received.push(issue(&served).await.unwrap().token_fingerprint);
    stop(served);
    let text = fs::read_to_string(&taken).unwrap() + &fs::read_to_string(&log).unwrap();
    assert!(received.len() > 50 && received.iter().all(|fingerprint| text.contains(fingerprint)));
    assert_eq!((verify(&taken).0, verify(&log).0), (Some(0), Some(0)));
}
