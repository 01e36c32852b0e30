//! Where an audit log goes: a file that is rotated, a socket, syslog, standard output.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::net::UnixDatagram,
    process::Command,
};

use serde_json::Value;
use tonic::Code;

use crate::{
    audited::{Folder, issue, of, records, stop, verify},
    harness::{FOR_EVER, outcome, program, run},
};

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
    assert_eq!(after[0]["event"], "log_continued");
    assert_eq!(after[0]["prev"], before.last().unwrap()["hash"]);
    let (_, out, _) = verify(&folder.log());
    let last = (before.last().unwrap()["seq"].as_u64().unwrap(), before.last().unwrap()["hash"].as_str().unwrap());
    assert!(out.contains(&format!("it goes on from record {}, hash {}\n", last.0, last.1)), "{out}");
    // Together they are one log, of a service that was started once.
    let both = folder.0.path().join("both.jsonl");
    fs::write(&both, [fs::read(&rotated).unwrap(), fs::read(folder.log()).unwrap()].concat()).unwrap();
    let (code, out, _) = verify(&both);
    assert!(code == Some(0) && !out.contains("started"), "{out}");
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

/// The process confines itself to the folders of its files, links resolved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_behind_a_link_is_written() {
    let (folder, elsewhere) = (Folder::file(), tempfile::tempdir().unwrap());
    let target = elsewhere.path().join("audit.jsonl");
    std::os::unix::fs::symlink(&target, folder.log()).unwrap();
    let served = folder.serve();
    issue(&served).await.unwrap();
    stop(served);
    assert_eq!(of(&records(&target), "token_issued").len(), 1);
}

/// Or is replaced by one that was torn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_cut_in_the_midst_of_a_record_goes_on_in_a_line_of_its_own() {
    let folder = Folder::file();
    let served = folder.serve();
    for torn in [40, 50] {
        issue(&served).await.unwrap();
        let whole = fs::read(folder.log()).unwrap();
        if torn == 40 {
            let file = File::options().write(true).open(folder.log()).unwrap();
            file.set_len(whole.len() as u64 - torn).unwrap();
        } else {
            fs::remove_file(folder.log()).unwrap();
            fs::write(folder.log(), &whole[..whole.len() - 50]).unwrap();
        }
        issue(&served).await.unwrap();
        let records = records(&folder.log());
        let told: Vec<_> = records.iter().rev().take(3).map(|record| record["event"].as_str().unwrap()).collect();
        assert_eq!(told, ["token_issued", "log_repaired", "log_continued"]);
    }
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
        assert_eq!(receive(&receiver)["event"], "log_resumed");
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
        assert_eq!((found, out.as_str()), (Some(code), ""), "{err}");
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
