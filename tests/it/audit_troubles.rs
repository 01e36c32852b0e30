//! An audit log whose place gives trouble: what is told, and that it goes on by itself.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    time::Duration,
};

use metabase_token_service::transport::proto::{
    IssueMetabaseTokenRequest, metabase_token_service_client::MetabaseTokenServiceClient,
};
use tonic::{Code, Request};

use crate::{
    audit::{Folder, issue, of, records, stop, verify},
    harness::{Killed, Served, ada, program, until},
    metrics::get_blocking,
};

/// Standard output that nobody reads: a pipe that is full makes the write wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_hangs_is_told_of_however_little_time_callers_have() {
    let folder = Folder::new("sink = \"stdout\"\nsubject = \"plain\"");
    let mut child = Killed(program(&["serve", "--config"]).arg(folder.0.path().join("mts.toml")).spawn().unwrap());
    let mut records = child.0.stdout.take().unwrap();
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let announced: Vec<String> = lines.by_ref().take_while(|line| line != "ready").collect();
    let told = |start: &str| announced.iter().find_map(|line| line.strip_prefix(start)).unwrap();
    let address = told("gRPC on ").split(" (").next().unwrap();
    let metrics = told("metrics on http://").strip_suffix("/metrics").unwrap();
    let mut client = MetabaseTokenServiceClient::connect(format!("http://{address}")).await.unwrap();
    let mut issue = async || {
        let mut request = Request::new(IssueMetabaseTokenRequest { user: Some(ada()), ..Default::default() });
        request.set_timeout(Duration::from_millis(500));
        client.issue_metabase_token(request).await.map(|_| ()).map_err(|status| status.code())
    };
    until("a full pipe", async || issue().await.is_err()).await;
    let failing = async |value: u8| {
        let line = format!("metabase_token_service_audit_failing {value}\n");
        until(&line, async || get_blocking(metrics, "/metrics").contains(&line)).await;
    };
    failing(1).await;
    let reading = std::thread::spawn(move || records.read_to_end(&mut Vec::new()));
    failing(0).await;
    until("a token", async || issue().await.is_ok()).await;
    assert!(Command::new("kill").arg(child.0.id().to_string()).status().unwrap().success());
    let log: Vec<String> = lines.collect();
    assert!(child.0.wait().unwrap().success(), "{log:?}");
    reading.join().unwrap().unwrap();
    for line in ["The audit log does not answer: no token leaves until it does", "The audit log answers again"] {
        assert_eq!(log.iter().filter(|own| own.contains(line)).count(), 1, "{line} in {log:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_something_was_cut_off_is_on_record_although_the_disk_was_full_at_first() {
    let folder = Folder::file();
    let served = folder.serve();
    while fs::metadata(folder.log()).unwrap().len() <= 4096 {
        issue(&served).await.unwrap();
    }
    stop(served);
    let mut torn = fs::read(folder.log()).unwrap();
    torn.extend_from_slice(b"{\"time\":\"2026");
    fs::write(folder.log(), torn).unwrap();
    // No file may be longer than 4 KiB.
    let mut limited = Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" serve --config \"$1\""]);
    limited.arg(env!("CARGO_BIN_EXE_metabase-token-service")).arg(folder.0.path().join("mts.toml"));
    let served = Served::start(limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    assert_eq!(issue(&served).await.unwrap_err().code(), Code::Unavailable);
    // logrotate takes the file away, and the room is there again.
    let taken = folder.0.path().join("taken.jsonl");
    fs::rename(folder.log(), &taken).unwrap();
    issue(&served).await.unwrap();
    stop(served);
    assert_eq!(of(&records(&folder.log()), "log_repaired")[0]["cut_bytes"], 13);
    assert_eq!((verify(&taken).0, verify(&folder.log()).0), (Some(0), Some(0)));
}
