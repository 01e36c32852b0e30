//! The audit log of the real program: what stands in it, and that no token leaves without its record.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use futures_util::future::join_all;
use metabase_token_service::transport::proto::{
    CheckAuthStatusRequest, GroupList, IssueMetabaseTokenRequest, IssueMetabaseTokenResponse, Tenant, User,
    check_auth_status_request::Credential, metabase_token_service_client::MetabaseTokenServiceClient,
};
use serde_json::Value;
use tempfile::TempDir;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    harness::{CONFIG, FOR_EVER, OTHER_SECRET, SECRET, Served, ada, config_dir, outcome, program, replace, run, until},
    standin::{Era, Fault, Metabase},
};

/// A folder with a configuration, whose log is `audit.jsonl` in it.
pub(crate) struct Folder(pub(crate) TempDir);

impl Folder {
    pub(crate) fn new(audit: &str) -> Self {
        let dir = config_dir(&format!("{CONFIG}\n[audit]\n{audit}\n[deny]\nemails = [\"eve@example.com\"]\n"), SECRET);
        let file = dir.path().join("mts.toml");
        let log = dir.path().join("audit.jsonl").display().to_string();
        fs::write(dir.path().join("subject-key"), OTHER_SECRET).unwrap();
        let key = dir.path().join("subject-key").display().to_string();
        let text = fs::read_to_string(&file).unwrap().replace("AUDIT_FILE", &log).replace("KEY_FILE", &key);
        fs::write(&file, text).unwrap();
        Self(dir)
    }

    pub(crate) fn file() -> Self {
        Self::new("sink = { file = \"AUDIT_FILE\" }\nsubject = \"plain\"")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.path().join("audit.jsonl")
    }

    pub(crate) fn serve(&self) -> Served {
        Served::start(program(&["serve", "--config"]).arg(self.0.path().join("mts.toml")))
    }

    /// Waits until the log has the text so many times.
    async fn tells(&self, text: &str, times: usize) {
        let is_told = async || fs::read_to_string(self.log()).unwrap().matches(text).count() >= times;
        until(format_args!("{text} in the log, {times} times"), is_told).await;
    }
}

pub(crate) async fn client(served: &Served) -> MetabaseTokenServiceClient<Channel> {
    MetabaseTokenServiceClient::connect(format!("http://{}", served.address())).await.unwrap()
}

pub(crate) async fn issue(served: &Served) -> Result<IssueMetabaseTokenResponse, Status> {
    issue_with(client(served).await).await
}

async fn issue_with(mut client: MetabaseTokenServiceClient<Channel>) -> Result<IssueMetabaseTokenResponse, Status> {
    let request = IssueMetabaseTokenRequest { user: Some(ada()), ..Default::default() };
    Ok(client.issue_metabase_token(request).await?.into_inner())
}

pub(crate) fn records(log: &Path) -> Vec<Value> {
    let lines = BufReader::new(File::open(log).unwrap()).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

pub(crate) fn of<'a>(records: &'a [Value], event: &str) -> Vec<&'a Value> {
    records.iter().filter(|record| record["event"] == event).collect()
}

pub(crate) fn verify(log: &Path) -> (Option<i32>, String, String) {
    outcome(&run(program(&["audit", "verify"]).arg(log)))
}

pub(crate) fn stop(served: Served) -> String {
    served.signal("-TERM");
    let (status, _, err) = served.wait();
    assert!(status.success(), "{err}");
    err
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_is_one_record_with_names_and_no_values() {
    let folder = Folder::file();
    let served = folder.serve();
    let mut client = client(&served).await;
    let request = IssueMetabaseTokenRequest {
        user: Some(User { id: "1815".to_owned(), ..ada() }),
        groups: Some(GroupList { names: vec!["Customers".to_owned()] }),
        attributes: [("region".to_owned(), "value-of-region".to_owned())].into(),
        tenant: None::<Tenant>,
        ..IssueMetabaseTokenRequest::default()
    };
    let issued = client.issue_metabase_token(request).await.unwrap().into_inner();
    let eve = User { email: "eve@example.com".to_owned(), ..ada() };
    let request = IssueMetabaseTokenRequest { user: Some(eve), ..IssueMetabaseTokenRequest::default() };
    assert_eq!(client.issue_metabase_token(request).await.unwrap_err().code(), Code::PermissionDenied);
    let check = CheckAuthStatusRequest {
        credential: Some(Credential::Jwt(issued.jwt.clone())),
        ..CheckAuthStatusRequest::default()
    };
    client.check_auth_status(check).await.unwrap();
    served.signal("-HUP");
    folder.tells("\"what\":\"configuration\"", 1).await;
    stop(served);

    let text = fs::read_to_string(folder.log()).unwrap();
    for hidden in [&issued.jwt, SECRET, "value-of-region"] {
        assert!(!text.contains(hidden), "{text}");
    }
    let records = records(&folder.log());
    let events: Vec<_> = records.iter().map(|record| record["event"].as_str().unwrap()).collect();
    assert_eq!(events[..4], ["log_opened", "token_issued", "token_denied", "status_checked"], "{text}");
    assert_eq!(events.last(), Some(&"log_closed"));
    let token = of(&records, "token_issued")[0];
    assert_eq!((token["caller"].as_str(), token["proof"].as_str()), (Some("shop"), Some("local")));
    assert_eq!((token["subject"].as_str(), token["user_id"].as_str()), (Some("ada@example.com"), Some("1815")));
    assert_eq!(token["groups"], serde_json::json!(["Customers"]));
    assert_eq!(token["attributes"], serde_json::json!(["region"]));
    assert_eq!((token["lifetime_seconds"].as_u64(), token["generation"].as_u64()), (Some(600), Some(1)));
    assert_eq!(token["fingerprint"], issued.token_fingerprint);
    assert_eq!((token["instance"].as_str(), token["signed_with"].as_str()), (Some("main"), Some("shared_secret")));
    let denied = of(&records, "token_denied")[0];
    assert_eq!((denied["reason"].as_str(), denied["subject"].as_str()), (Some("USER_DENIED"), Some("eve@example.com")));
    // The request named none: the only one there is.
    assert_eq!(denied["instance"], "main");
    let checked = of(&records, "status_checked")[0];
    assert_eq!((checked["status"].as_str(), checked["reason"].as_str()), (Some("success"), Some("ACCEPTED")));
    assert_eq!(checked["fingerprint"], issued.token_fingerprint);
    assert_eq!(of(&records, "reloaded")[0]["succeeded"], true);
    let (code, out, err) = verify(&folder.log());
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with(&format!("whole: {0} records, 1 to {0}\nlast hash ", records.len())), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_have_pseudonyms_that_last_over_a_restart_and_tell_nothing() {
    let folder = Folder::new("sink = { file = \"AUDIT_FILE\" }\nsubject_key = { file = \"KEY_FILE\" }");
    for _ in 0..2 {
        let served = folder.serve();
        issue(&served).await.unwrap();
        stop(served);
    }
    let records = records(&folder.log());
    let subjects: Vec<_> =
        of(&records, "token_issued").iter().map(|record| record["subject"].as_str().unwrap().to_owned()).collect();
    assert_eq!((subjects.len(), subjects[0].len()), (2, 32));
    assert_eq!(subjects[0], subjects[1]);
    assert!(!fs::read_to_string(folder.log()).unwrap().contains("ada@"));
    // The second process goes on where the first ended.
    let (code, out, _) = verify(&folder.log());
    assert_eq!(code, Some(0), "{out}");
    assert_eq!(of(&records, "log_opened").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_a_flipped_byte_a_removed_line_and_a_swapped_pair() {
    let folder = Folder::file();
    let served = folder.serve();
    for _ in 0..5 {
        issue(&served).await.unwrap();
    }
    stop(served);
    let whole = fs::read(folder.log()).unwrap();
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 7);
    let other = folder.0.path().join("changed.jsonl");
    let assert_broken = |changed: &[u8], what: &str| {
        fs::write(&other, changed).unwrap();
        let (code, out, err) = verify(&other);
        assert_eq!((code, out.as_str()), (Some(3), ""), "{what}: {err}");
        assert!(err.contains("line "), "{what}: {err}");
    };
    for at in 0..whole.len() {
        // Every 97th byte, and all of the last line, which no other vouches for.
        if at % 97 == 0 || at + lines[6].len() >= whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_broken(&changed, &format!("byte {at}"));
        }
    }
    for removed in 0..6 {
        let rest: Vec<&[u8]> =
            lines.iter().enumerate().filter(|(at, _)| *at != removed).map(|(_, line)| *line).collect();
        assert_broken(&rest.concat(), &format!("line {removed} removed"));
    }
    for first in 0..6 {
        let mut swapped = lines.clone();
        swapped.swap(first, first + 1);
        assert_broken(&swapped.concat(), &format!("lines from {first} swapped"));
    }
    assert_broken(&whole[..whole.len() - 1], "cut");
    // What nobody can see from the log alone, it says at least.
    fs::write(&other, lines[..6].concat()).unwrap();
    let (code, out, _) = verify(&other);
    assert!(code == Some(0) && out.contains("does not end with log_closed"), "{out}");
    fs::write(&other, "").unwrap();
    assert_eq!(verify(&other).0, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_token_that_anybody_received_is_in_the_log_of_a_killed_service() {
    for (round, durability) in (0..).zip(["written", "synced", "written"]) {
        let sink = format!("sink = {{ file = \"AUDIT_FILE\" }}\nsubject = \"plain\"\ndurability = \"{durability}\"");
        let folder = Folder::new(&sink);
        let served = folder.serve();
        // Alone on their connection, and many on one.
        let (one, two, many) = (client(&served).await, client(&served).await, client(&served).await);
        let clients = [one, two].into_iter().chain(std::iter::repeat_n(many, 16));
        let clients: Vec<_> = clients
            .enumerate()
            .map(|(number, mut client)| {
                tokio::spawn(async move {
                    let mut received = Vec::new();
                    // No two tokens are the same: one in the log would stand for another that is not.
                    let request = |count| IssueMetabaseTokenRequest {
                        user: Some(User { last_name: format!("{number}-{count}"), ..ada() }),
                        ..Default::default()
                    };
                    while let Ok(issued) = client.issue_metabase_token(request(received.len())).await {
                        received.push(issued.into_inner().token_fingerprint);
                    }
                    received
                })
            })
            .collect();
        let enough = 200_000 * (round + 1);
        until("a log of some length", async || fs::metadata(folder.log()).unwrap().len() >= enough).await;
        served.signal("-KILL");
        let mut received = Vec::new();
        for client in clients {
            received.extend(client.await.unwrap());
        }
        drop(served);
        assert!(received.len() > 100, "{}", received.len());
        let text = fs::read_to_string(folder.log()).unwrap();
        let missing = received.iter().filter(|fingerprint| !text.contains(*fingerprint)).count();
        assert_eq!(missing, 0, "of {}", received.len());
        // The next process goes on, whatever the last left behind.
        stop(folder.serve());
        let (code, out, err) = verify(&folder.log());
        assert_eq!(code, Some(0), "{out}{err}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_and_a_deleted_log_are_opened_anew_and_the_chain_goes_on() {
    let folder = Folder::file();
    let served = folder.serve();
    issue(&served).await.unwrap();
    let rotated = folder.0.path().join("audit.jsonl.1");
    fs::rename(folder.log(), &rotated).unwrap();
    issue(&served).await.unwrap();
    let (before, after) = (records(&rotated), records(&folder.log()));
    assert_eq!((of(&before, "token_issued").len(), of(&after, "token_issued").len()), (1, 1));
    assert_eq!(after[0]["event"], "log_opened");
    assert_eq!(after[0]["prev"], before.last().unwrap()["hash"]);
    fs::remove_file(folder.log()).unwrap();
    issue(&served).await.unwrap();
    assert_eq!(of(&records(&folder.log()), "token_issued").len(), 1);
    // As logrotate's copytruncate does, which nobody should use: it loses what is written in between.
    File::options().write(true).open(folder.log()).unwrap().set_len(0).unwrap();
    issue(&served).await.unwrap();
    stop(served);
    assert_eq!(verify(&rotated).0, Some(0));
    assert_eq!(verify(&folder.log()).0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_record_is_cut_off_at_the_next_start() {
    let folder = Folder::file();
    let served = folder.serve();
    issue(&served).await.unwrap();
    stop(served);
    let mut torn = fs::read(folder.log()).unwrap();
    torn.extend_from_slice(b"{\"time\":\"2026");
    fs::write(folder.log(), torn).unwrap();
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
    issue(&served).await.unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_go_to_a_socket_and_to_syslog_and_a_receiver_that_is_gone_keeps_tokens_back() {
    for (form, prefix) in [("unix_datagram", ""), ("syslog", "<86>metabase-token-service[")] {
        let folder = Folder::new(&format!("sink = {{ {form} = \"AUDIT_FILE\" }}\nsubject = \"plain\""));
        let receiver = UnixDatagram::bind(folder.log()).unwrap();
        let served = folder.serve();
        let mut datagram = [0; 4096];
        let mut receive = |receiver: &UnixDatagram| {
            receiver.set_read_timeout(Some(FOR_EVER)).unwrap();
            let len = receiver.recv(&mut datagram).unwrap();
            let text = str::from_utf8(&datagram[..len]).unwrap();
            assert!(text.starts_with(prefix), "{text}");
            serde_json::from_str::<Value>(&text[text.find('{').unwrap()..]).unwrap()
        };
        assert_eq!(receive(&receiver)["event"], "log_opened");
        let issued = issue(&served).await.unwrap();
        assert_eq!(receive(&receiver)["fingerprint"], issued.token_fingerprint);
        drop(receiver);
        fs::remove_file(folder.log()).unwrap();
        assert_eq!(issue(&served).await.unwrap_err().code(), Code::Unavailable);
        let receiver = UnixDatagram::bind(folder.log()).unwrap();
        issue(&served).await.unwrap();
        assert_eq!(receive(&receiver)["event"], "token_issued");
    }
}

#[test]
fn what_processes_wrote_to_standard_output_one_after_another_is_checked_as_one_log() {
    let folder = Folder::new("sink = \"stdout\"\nsubject = \"plain\"");
    let collected = folder.log();
    for _ in 0..2 {
        let out = File::options().create(true).append(true).open(&collected).unwrap();
        let mut serve = program(&["serve", "--config"]);
        let mut child = serve.arg(folder.0.path().join("mts.toml")).stdout(out).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line == "ready"));
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        lines.for_each(drop);
        assert!(child.wait().unwrap().success());
    }
    let (code, out, _) = verify(&collected);
    assert!(code == Some(0) && out.contains("line 3: another process begins its own chain"), "{out}");
    assert!(!out.contains("not stopped in order"), "{out}");
    // The end of the first is missing.
    let text = fs::read_to_string(&collected).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 4, "{text}");
    fs::write(&collected, [lines[0], lines[2], lines[3]].concat()).unwrap();
    let (code, out, _) = verify(&collected);
    assert!(code == Some(0) && out.contains("line 2: started, but not stopped in order before"), "{out}");
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

/// Whoever leaves before the answer has had an effect on Metabase all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_check_that_is_given_up_is_a_record() {
    let metabase = Metabase::start(Era::ToSession, SECRET).await;
    let folder = Folder::file();
    let file = folder.0.path().join("mts.toml");
    let text = fs::read_to_string(&file).unwrap().replace("https://bi.example.com/metabase", &metabase.url);
    fs::write(&file, text).unwrap();
    let served = folder.serve();
    let issued = issue(&served).await.unwrap();
    metabase.set(|settings| settings.fault = Fault::Hang);
    let mut client = client(&served).await;
    let check =
        CheckAuthStatusRequest { credential: Some(Credential::Jwt(issued.jwt)), live: true, ..Default::default() };
    let check = tokio::spawn(async move { client.check_auth_status(check).await });
    until("a request to Metabase", async || metabase.requests() > 0).await;
    check.abort();
    assert!(check.await.unwrap_err().is_cancelled());
    served.signal("-TERM");
    served.signal("-TERM");
    let (_, _, _) = served.wait();
    let records = records(&folder.log());
    assert_eq!(of(&records, "live_check_begun")[0]["fingerprint"], issued.token_fingerprint);
    // However it ends, the log is closed.
    assert_eq!(records.last().unwrap()["event"], "log_closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_of_a_rotation_is_a_record() {
    let metabase = Metabase::start(Era::ToSession, SECRET).await;
    let folder = Folder::file();
    let file = folder.0.path().join("mts.toml");
    let next = folder.0.path().join("subject-key").display().to_string();
    let lines = format!("probe_interval = \"1s\"\nnext_shared_secret = {{ file = \"{next}\" }}");
    let text = fs::read_to_string(&file).unwrap().replace("https://bi.example.com/metabase", &metabase.url);
    fs::write(&file, text.replace("probe_interval = \"off\"", &lines)).unwrap();
    let served = folder.serve();
    folder.tells("rotation_step", 1).await;
    metabase.set(|settings| settings.secret = OTHER_SECRET.to_owned());
    folder.tells("\"signing\":\"next_shared_secret\"", 1).await;
    issue(&served).await.unwrap();
    metabase.set(|settings| settings.fault = Fault::Starting);
    folder.tells("\"agreement\":\"unknown\"", 1).await;
    stop(served);
    let records = records(&folder.log());
    let steps = of(&records, "rotation_step");
    let steps = steps.iter().map(|step| ["instance", "signing", "agreement"].map(|key| step[key].as_str().unwrap()));
    // True for a moment where Metabase's secret changes between the probe with the one key and that with the other.
    let steps: Vec<_> = steps.filter(|step| *step != ["main", "shared_secret", "disagrees"]).collect();
    let expected = [
        ["main", "shared_secret", "agrees"],
        ["main", "next_shared_secret", "agrees"],
        ["main", "next_shared_secret", "unknown"],
    ];
    assert_eq!(steps, expected);
    assert_eq!(of(&records, "token_issued")[0]["signed_with"], "next_shared_secret");
}

/// The attack: whoever reaches the listener fills the disk with refusals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_strangers_is_recorded_in_part_and_counted_in_whole() {
    for (identity, code, event, reason) in [
        ("", Code::Unauthenticated, "identity_refused", "NO_PROVEN_CALLER"),
        (
            "identity = { xfcc = { trusted = [\"loopback\"] } }",
            Code::PermissionDenied,
            "token_denied",
            "UNKNOWN_CALLER",
        ),
    ] {
        let folder = Folder::file();
        let file = folder.0.path().join("mts.toml");
        let text = fs::read_to_string(&file).unwrap().replace("identity = { local = \"shop\" }", identity);
        fs::write(&file, text).unwrap();
        let served = folder.serve();
        let mut client = client(&served).await;
        for _ in 0..1000 {
            let mut request = Request::new(IssueMetabaseTokenRequest::default());
            if !identity.is_empty() {
                let stranger = "URI=spiffe://example.org/stranger".parse().unwrap();
                request.metadata_mut().insert("x-forwarded-client-cert", stranger);
            }
            let refused = client.issue_metabase_token(request).await.unwrap_err();
            assert_eq!(refused.code(), code, "{refused:?}");
        }
        stop(served);
        let records = records(&folder.log());
        let refused = of(&records, event).len() as u64;
        let lost: u64 = of(&records, "records_lost").iter().map(|record| record["count"].as_u64().unwrap()).sum();
        assert!((100..500).contains(&refused), "{refused}");
        assert_eq!(refused + lost, 1000);
        assert_eq!(of(&records, event)[0]["reason"], reason);
        let (code, out, _) = verify(&folder.log());
        assert!(code == Some(0) && out.contains(&format!("{lost} records of no token are missing")), "{out}");
    }
}

#[test]
fn mistakes_in_the_section_are_named_with_their_key() {
    for (audit, rule) in [
        ("subject = \"plain\"", "missing field `sink`"),
        ("sink = \"stderr\"\nsubject = \"plain\"", "must be \"stdout\", or exactly one of"),
        ("sink = { file = \"audit.jsonl\" }\nsubject = \"plain\"", "audit.sink: must be an absolute path"),
        ("sink = { file = \"/a\", syslog = \"/b\" }\nsubject = \"plain\"", "must be \"stdout\", or exactly one of"),
        ("sink = \"stdout\"\nsubject = \"plain\"\ndurability = \"synced\"", "audit.durability: can be \"synced\" only"),
        ("sink = \"stdout\"", "needs `subject_key`"),
        ("sink = \"stdout\"\nsubject_key = { file = \"SECRET_FILE\" }", "audit.subject_key: is used elsewhere"),
        ("sink = \"stdout\"\nsubject = \"plain\"\nsubject_key = { env = \"X\" }", "has no use with subject"),
        (
            "sink = \"stdout\"\nsubject_key = { file = \"/nowhere\" }",
            "audit.subject_key: file \"/nowhere\" cannot be read",
        ),
    ] {
        let dir = config_dir(&format!("{CONFIG}\n[audit]\n{audit}\n"), SECRET);
        let (code, _, err) = outcome(&run(program(&["config", "check"]).arg(dir.path().join("mts.toml"))));
        assert_eq!(code, Some(78), "{audit}: {err}");
        assert!(err.contains(rule), "{audit}: {err}");
    }
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
            Self::Limit => {
                let limited = "trap '' XFSZ; ulimit -f 64; exec \"$0\" serve --config \"$1\"";
                let mut command = Command::new("bash");
                command.args(["-c", limited, env!("CARGO_BIN_EXE_metabase-token-service")]).arg(config);
                Served::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
            }
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

/// Whoever signals has mended something, or thinks so, and wants to know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_was_asked_for_and_fails_again_is_told_again() {
    let folder = Folder::file();
    let served = folder.serve();
    let file = folder.0.path().join("mts.toml");
    let text = fs::read_to_string(&file).unwrap();
    replace(&file, text.replace("[audit]", "[audti]"));
    folder.tells("\"succeeded\":false", 1).await;
    served.signal("-HUP");
    folder.tells("\"succeeded\":false", 2).await;
    let log = stop(served);
    assert_eq!(log.matches("Not reloaded, the last good one stays in force: ").count(), 2, "{log}");
}

/// What `serve` would refuse, the commands that look before it say, and make nothing.
#[test]
fn a_sink_that_cannot_be_opened_is_found_by_config_check_and_doctor() {
    let folder = Folder::file();
    let file = folder.0.path().join("mts.toml");
    let check = || outcome(&run(program(&["config", "check"]).arg(&file)));
    assert_eq!(check().0, Some(0));
    assert!(!folder.log().exists());
    let missing = folder.0.path().join("none");
    let text = fs::read_to_string(&file).unwrap();
    let log = folder.log().display().to_string();
    let elsewhere = missing.join("audit.jsonl").display().to_string();
    let receiver = missing.with_extension("sock").display().to_string();
    for (sink, rule, code) in [
        (
            format!("{{ file = \"{elsewhere}\" }}"),
            format!("the folder {} does not exist: create it", missing.display()),
            78,
        ),
        (format!("{{ file = \"{}\" }}", folder.0.path().display()), "must be a regular file".to_owned(), 78),
        (format!("{{ syslog = \"{receiver}\" }}"), "nobody receives there: start the receiver".to_owned(), 1),
    ] {
        fs::write(&file, text.replace(&format!("{{ file = \"{log}\" }}"), &sink)).unwrap();
        let (found, out, err) = check();
        assert_eq!((found, out.as_str()), (Some(78), ""), "{err}");
        assert!(err.contains("audit.sink: ") && err.contains(&rule), "{err}");
        let (found, out, _) = outcome(&run(program(&["doctor", "--config"]).arg(&file)));
        assert!(
            found == Some(3) && out.contains("  fail  audit          audit.sink: ") && out.contains(&rule),
            "{out}"
        );
        let (found, _, err) = outcome(&run(program(&["serve", "--config"]).arg(&file)));
        assert!(found == Some(code) && err.contains(&rule), "{err}");
    }
    assert!(!missing.exists());
}

#[test]
fn standard_output_holds_records_and_nothing_else_and_json_logs_are_json() {
    for format in ["text", "json"] {
        let folder = Folder::new("sink = \"stdout\"\nsubject = \"plain\"");
        let out = folder.log();
        let mut serve = program(&["serve", "--log-format", format, "--config"]);
        let serve = serve.arg(folder.0.path().join("mts.toml")).stdout(File::create(&out).unwrap());
        let mut child = serve.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let last = if format == "text" { "ready" } else { "\"Serving\"" };
        let announced: Vec<String> = lines.by_ref().take_while(|line| !line.contains(last)).collect();
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        let logged: Vec<String> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{logged:?}");
        let is_json = |line: &String| serde_json::from_str::<Value>(line).is_ok();
        assert_eq!(announced.iter().chain(&logged).all(is_json), format == "json", "{announced:?} {logged:?}");
        let events: Vec<_> = records(&out).iter().map(|record| record["event"].as_str().unwrap().to_owned()).collect();
        assert_eq!(events, ["log_opened", "log_closed"]);
        assert_eq!(verify(&out).0, Some(0));
    }
}
