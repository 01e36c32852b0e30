//! One person, one account: what is reported and refused, through a real server.

use metabase_token_service::transport::proto::{
    IssueMetabaseTokenRequest, IssueMetabaseTokenResponse, User,
    metabase_token_service_client::MetabaseTokenServiceClient,
};
use tempfile::TempDir;
use tonic::{Code, Response, Status, metadata::MetadataMap, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    harness::{CONFIG, SECRET, Served, TestServer, ada, config_dir, outcome, program, replace, run},
    metrics::get,
    pki::{TestCa, client, uri},
    reload::{GENERATION, wait_for},
};

fn with_mode(mode: &str) -> String {
    CONFIG.replace("name = \"main\"", &format!("name = \"main\"\none_account_per_user = \"{mode}\""))
}

fn person(id: &str, email: &str) -> IssueMetabaseTokenRequest {
    let user = User { id: id.to_owned(), email: email.to_owned(), ..ada() };
    IssueMetabaseTokenRequest { user: Some(user), ..IssueMetabaseTokenRequest::default() }
}

async fn issue(server: &mut TestServer, id: &str, email: &str) -> Result<Response<IssueMetabaseTokenResponse>, Status> {
    server.client.issue_metabase_token(person(id, email)).await
}

/// The codes before the colons.
fn warnings(metadata: &MetadataMap) -> Vec<String> {
    let text = |value: &tonic::metadata::AsciiMetadataValue| value.to_str().unwrap().to_owned();
    let texts = metadata.get_all("mts-warning").iter().map(text);
    texts.map(|text| text.split(": ").next().unwrap().to_owned()).collect()
}

fn reason(status: &Status) -> (Code, String, String) {
    let info = status.get_details_error_info().unwrap();
    (status.code(), info.reason, info.metadata.get("finding").cloned().unwrap_or_default())
}

fn shared(finding: &str) -> (Code, String, String) {
    (Code::FailedPrecondition, "SHARED_ACCOUNT".to_owned(), finding.to_owned())
}

#[tokio::test]
async fn enforce_refuses_the_second_person_and_says_what_to_do() {
    let mut server = TestServer::with(&with_mode("enforce")).await;
    assert_eq!(warnings(issue(&mut server, "1", "ada@example.com").await.unwrap().metadata()), [""; 0]);
    // Metabase compares addresses without regard to case.
    let refused = issue(&mut server, "2", "ADA@Example.com").await.unwrap_err();
    assert_eq!(reason(&refused), shared("other_person"));
    let message = refused.message();
    assert!(message.contains("address of their own") && message.contains("`user_directory`"), "{message}");
    assert!(message.is_ascii() && !message.contains("\"1\""), "{message}");
    // Identifiers are compared as they are, the holder goes on, and so does the other one with another address.
    assert_eq!(reason(&issue(&mut server, " 1", "ada@example.com").await.unwrap_err()), shared("other_person"));
    issue(&mut server, "1", "ada@example.com").await.unwrap();
    issue(&mut server, "2", "eve@example.com").await.unwrap();
    let metrics = get(&server.metrics, "/metrics").await;
    for line in [
        "account_warnings_total{metabase=\"main\",finding=\"other_person\",outcome=\"refused\"} 2",
        "decisions_total{outcome=\"refused\",reason=\"SHARED_ACCOUNT\"} 2",
        "account_bindings 2",
    ] {
        assert!(metrics.contains(&format!("metabase_token_service_{line}\n")), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn report_is_the_default_and_issues_with_a_warning() {
    let mut server = TestServer::start().await;
    assert_eq!(warnings(issue(&mut server, "1", "ada@example.com").await.unwrap().metadata()), [""; 0]);
    let issued = issue(&mut server, "2", "ada@example.com").await.unwrap();
    assert_eq!(warnings(issued.metadata()), ["SHARED_ACCOUNT"]);
    assert!(issued.into_inner().jwt.starts_with("eyJ"));
    let metrics = get(&server.metrics, "/metrics").await;
    let line = "account_warnings_total{metabase=\"main\",finding=\"other_person\",outcome=\"issued\"} 1\n";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn off_asks_for_nothing_and_finds_nothing() {
    let mut server = TestServer::with(&with_mode("off")).await;
    for id in ["1", "2", ""] {
        assert_eq!(warnings(issue(&mut server, id, "ada@example.com").await.unwrap().metadata()), [""; 0]);
    }
}

#[tokio::test]
async fn an_identifier_is_required_along_with_everything_else() {
    for mode in ["enforce", "report"] {
        let mut server = TestServer::with(&with_mode(mode)).await;
        for id in ["", "  "] {
            let user = User { id: id.to_owned(), first_name: String::new(), ..ada() };
            let request = IssueMetabaseTokenRequest { user: Some(user), ..IssueMetabaseTokenRequest::default() };
            let refused = server.client.issue_metabase_token(request).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
            let violations = refused.get_details_bad_request().unwrap().field_violations;
            let fields: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
            assert_eq!(fields, ["user.id", "user.first_name"]);
            assert!(violations[0].description.contains("one_account_per_user"), "{violations:?}");
        }
    }
}

#[test]
fn dev_issues_without_an_identifier_and_says_so() {
    let served = Served::dev(&mut program(&[]));
    let issue = |id: &[&str]| {
        let person = ["--email", "ada@example.com", "--first-name", "Ada", "--last-name", "Lovelace"];
        outcome(&run(program(&["issue", "--address", served.address()]).args(person).args(id)))
    };
    for _ in 0..2 {
        let (code, _, err) = issue(&[]);
        assert!(code == Some(0) && err.contains("NO_USER_ID: send user.id") && !err.contains("SHARED"), "{err}");
    }
    assert!(!issue(&["--user-id", "1"]).2.contains("warning"));
    let (code, _, err) = issue(&["--user-id", "2"]);
    assert!(code == Some(0) && err.contains("SHARED_ACCOUNT: another person"), "{err}");
}

#[tokio::test]
async fn a_flood_of_tokens_is_a_shared_account_although_the_identifier_is_one() {
    for (mode, is_issued) in [("report", true), ("enforce", false)] {
        let config = with_mode(mode).replace("[[instances]]", "[accounts]\ntokens_per_hour = 3\n[[instances]]");
        let mut server = TestServer::with(&config).await;
        for _ in 0..3 {
            assert_eq!(warnings(issue(&mut server, "1", "ada@example.com").await.unwrap().metadata()), [""; 0]);
        }
        // What is refused does not count, so it is the same again.
        for _ in 0..2 {
            match issue(&mut server, "1", "ada@example.com").await {
                Ok(issued) => {
                    assert_eq!((is_issued, warnings(issued.metadata())), (true, vec!["SHARED_ACCOUNT".to_owned()]));
                }
                Err(refused) => assert_eq!((is_issued, reason(&refused)), (false, shared("too_many_tokens"))),
            }
        }
        issue(&mut server, "2", "eve@example.com").await.unwrap();
    }
}

/// Two callers, by client certificates, which `[[callers]]` of the text have as they are given.
struct TwoBackends {
    served: Served,
    clients: [MetabaseTokenServiceClient<Channel>; 2],
    dir: TempDir,
}

fn two_backends(callers: &str) -> TwoBackends {
    let ca = TestCa::new();
    let text = with_mode("enforce")
        .replace("identity = { local = \"shop\" }", "identity = { mtls = true }")
        .replace("[[instances]]", &format!("{}\n[[instances]]", ca.server_tls(&[])));
    let (head, grant) = (text.split("[[callers]]").next().unwrap(), text.split("[[callers.grants]]").nth(1).unwrap());
    let text = format!("{head}{callers}").replace("GRANT", &format!("[[callers.grants]]{grant}"));
    let dir = config_dir(&text, SECRET);
    let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
    let clients = ["web", "mobile"].map(|name| {
        let own = ca.issue(&client(vec![uri(&format!("spiffe://example.org/{name}"))]));
        let url = format!("https://{}", served.address());
        let endpoint = Channel::from_shared(url).unwrap().tls_config(ca.client_tls(Some(&own))).unwrap();
        MetabaseTokenServiceClient::new(endpoint.connect_lazy())
    });
    TwoBackends { served, clients, dir }
}

const CALLERS: &str = r#"
[[callers]]
name = "web"
identities = ["spiffe://example.org/web"]
GRANT
[[callers]]
name = "mobile"
identities = ["spiffe://example.org/mobile"]
DIRECTORY
GRANT
"#;

#[tokio::test]
async fn backends_over_one_user_database_share_its_people_and_others_do_not() {
    // Of its own, by the name of the other caller, and changed by a reload, which forgets nobody.
    let mut backends = two_backends(&CALLERS.replace("DIRECTORY", ""));
    let [web, mobile] = &mut backends.clients;
    web.issue_metabase_token(person("1", "ada@example.com")).await.unwrap();
    mobile.issue_metabase_token(person("2", "ada@example.com")).await.unwrap();
    let file = backends.dir.path().join("mts.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let changed = text
        .replace("[\"spiffe://example.org/mobile\"]", "[\"spiffe://example.org/mobile\"]\nuser_directory = \"web\"");
    replace(&file, changed);
    backends.served.signal("-HUP");
    wait_for(&backends.served, GENERATION, 2).await;
    mobile.issue_metabase_token(person("1", "ada@example.com")).await.unwrap();
    let refused = mobile.issue_metabase_token(person("2", "ada@example.com")).await.unwrap_err();
    assert_eq!(reason(&refused), shared("other_person"));
}

#[test]
fn the_audit_log_tells_of_findings_and_of_refusals() {
    for (mode, event) in [("report", "token_issued"), ("enforce", "token_denied")] {
        let log = TempDir::new().unwrap();
        let file = log.path().join("audit.jsonl");
        let audit = format!("[audit]\nsink = {{ file = \"{}\" }}\nsubject = \"plain\"\n[[instances]]", file.display());
        let dir = config_dir(&with_mode(mode).replacen("[[instances]]", &audit, 1), SECRET);
        let served = Served::start(program(&["serve", "--config"]).arg(dir.path().join("mts.toml")));
        for id in ["1", "2"] {
            let person = ["--user-id", id, "--email", "ada@example.com", "--first-name", "Ada", "--last-name", "L"];
            run(program(&["issue", "--address", served.address()]).args(person));
        }
        served.signal("-TERM");
        served.wait();
        let text = std::fs::read_to_string(&file).unwrap();
        let records: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |id: &str| records.iter().find(|record| record["user_id"] == id).unwrap();
        assert!(of("1")["event"] == "token_issued" && of("1").get("account_warnings").is_none(), "{text}");
        assert_eq!(of("2")["event"], event, "{text}");
        assert_eq!(of("2")["account_warnings"], serde_json::json!(["other_person"]), "{text}");
        assert_eq!(of("2")["reason"] == "SHARED_ACCOUNT", mode == "enforce", "{text}");
    }
}

#[tokio::test]
async fn a_reload_changes_the_mode_at_once_and_forgets_nobody() {
    let dir = config_dir(CONFIG, SECRET);
    let file = dir.path().join("mts.toml");
    let served = Served::start(program(&["serve", "--config"]).arg(&file));
    let channel = Channel::from_shared(format!("http://{}", served.address())).unwrap().connect_lazy();
    let mut client = MetabaseTokenServiceClient::new(channel);
    client.issue_metabase_token(person("1", "ada@example.com")).await.unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let accounts = "[accounts]\nwindow = \"1h\"\n[[instances]]\none_account_per_user = \"enforce\"";
    replace(&file, text.replacen("[[instances]]", accounts, 1));
    served.signal("-HUP");
    wait_for(&served, GENERATION, 2).await;
    let refused = client.issue_metabase_token(person("2", "ada@example.com")).await.unwrap_err();
    assert_eq!(reason(&refused), shared("other_person"));
    served.signal("-TERM");
    let (_, _, log) = tokio::task::spawn_blocking(|| served.wait()).await.unwrap();
    assert!(log.contains("A change of [accounts] takes a restart"), "{log}");
}
