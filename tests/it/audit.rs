//! The audit log of the real program: what stands in it.

use std::fs;

use metabase_token_service::transport::proto::{
    CheckAuthStatusRequest, GroupList, IssueMetabaseTokenRequest, Tenant, User, check_auth_status_request::Credential,
};
use tonic::{Code, Request, metadata::MetadataMap};

use crate::{
    audited::{Folder, client, issue, of, records, stop, verify},
    harness::{CONFIG, OTHER_SECRET, SECRET, ada, config_dir, outcome, program, replace, run, until},
    standin::{Era, Fault, Metabase},
};

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
