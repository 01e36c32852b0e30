//! The audit log of the real program: what stands in it, and that no token leaves without its record.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use metabase_token_service::transport::proto::{
    CheckAuthStatusRequest, GroupList, IssueMetabaseTokenRequest, IssueMetabaseTokenResponse, Tenant, User,
    check_auth_status_request::Credential, metabase_token_service_client::MetabaseTokenServiceClient,
};
use serde_json::Value;
use tempfile::TempDir;
use tonic::{Code, Request, Status, metadata::MetadataMap, transport::Channel};

use crate::{
    harness::{CONFIG, OTHER_SECRET, SECRET, Served, ada, config_dir, outcome, program, replace, run, until},
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

pub(crate) async fn issue_with(
    mut client: MetabaseTokenServiceClient<Channel>,
) -> Result<IssueMetabaseTokenResponse, Status> {
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

fn request_id(metadata: &MetadataMap) -> String {
    metadata.get("x-request-id").unwrap().to_str().unwrap().to_owned()
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
    let answer = client.issue_metabase_token(request).await.unwrap();
    let mut request_ids = vec![request_id(answer.metadata())];
    let issued = answer.into_inner();
    let eve = User { email: "eve@example.com".to_owned(), ..ada() };
    let request = IssueMetabaseTokenRequest { user: Some(eve), ..IssueMetabaseTokenRequest::default() };
    let status = client.issue_metabase_token(request).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    request_ids.push(request_id(status.metadata()));
    let check = CheckAuthStatusRequest {
        credential: Some(Credential::Jwt(issued.jwt.clone())),
        ..CheckAuthStatusRequest::default()
    };
    request_ids.push(request_id(client.check_auth_status(check).await.unwrap().metadata()));
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
    // By what the caller was told, its record is found.
    let recorded: Vec<_> = records[1..4].iter().map(|record| record["request_id"].as_str().unwrap()).collect();
    assert_eq!(recorded, request_ids);
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
            request.metadata_mut().insert("x-request-id", "stranger-1".parse().unwrap());
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
        assert_eq!(of(&records, event)[0]["request_id"], "stranger-1");
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
