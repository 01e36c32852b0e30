//! The real program with an audit log, and its log.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use metabase_token_service::transport::proto::{
    IssueMetabaseTokenRequest, IssueMetabaseTokenResponse, metabase_token_service_client::MetabaseTokenServiceClient,
};
use serde_json::Value;
use tempfile::TempDir;
use tonic::{Status, transport::Channel};

use crate::harness::{CONFIG, OTHER_SECRET, SECRET, Served, ada, config_dir, outcome, program, run, until};

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
    pub(crate) async fn tells(&self, text: &str, times: usize) {
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
