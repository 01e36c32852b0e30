//! A candidate policy beside the one in force.

use std::fs;

use metabase_token_service::transport::proto::{
    CheckAuthStatusRequest, GroupList, IssueMetabaseTokenRequest,
    metabase_token_service_client::MetabaseTokenServiceClient,
};
use tempfile::TempDir;
use tonic::{Code, transport::Channel};

use crate::{
    harness::{CONFIG, SECRET, Served, ada, config_dir, outcome, program, replace, run},
    reload::{GENERATION, metric, wait_for},
};

const DECISIONS: &str = "metabase_token_service_shadow_decisions_total";

/// A server whose candidate is `mts.toml` with these lines instead of others.
async fn served(in_force: &str, candidate: &str) -> (TempDir, Served, MetabaseTokenServiceClient<Channel>) {
    let dir = config_dir(in_force, SECRET);
    let (file, other) = (dir.path().join("mts.toml"), dir.path().join("candidate.toml"));
    fs::write(&other, candidate).unwrap();
    let text = fs::read_to_string(&file).unwrap() + &format!("\n[shadow]\npolicy = \"{}\"\n", other.display());
    fs::write(&file, text).unwrap();
    let served = Served::start(program(&["serve", "--config"]).arg(&file));
    let channel = Channel::from_shared(format!("http://{}", served.address())).unwrap().connect().await.unwrap();
    (dir, served, MetabaseTokenServiceClient::new(channel))
}

fn request(groups: &[&str]) -> IssueMetabaseTokenRequest {
    let names = groups.iter().map(|name| (*name).to_owned()).collect();
    IssueMetabaseTokenRequest { user: Some(ada()), groups: Some(GroupList { names }), ..Default::default() }
}

fn changes(caller: &str, change: &str, reason: &str) -> String {
    format!(
        "metabase_token_service_shadow_changes_total{{caller=\"{caller}\",metabase=\"main\",change=\"{change}\",reason=\"{reason}\"}}"
    )
}

#[tokio::test]
async fn a_candidate_changes_nothing_and_what_it_would_change_is_counted() {
    let candidate = CONFIG
        .replace("groups = [\"*\"]", "groups = [\"Customers\", \"Administrators\"]\nallow_administrators = true")
        .replace("tenants = [\"*\"]", "max_lifetime = \"5m\"\nmay_check_status = false");
    let (_dir, served, mut client) = served(CONFIG, &candidate).await;

    client.issue_metabase_token(request(&["Region EMEA"])).await.unwrap();
    assert_eq!(metric(&served, &changes("shop", "denied", "GROUP_NOT_GRANTED")), 1);
    let denied = client.issue_metabase_token(request(&["Administrators"])).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert_eq!(metric(&served, &changes("shop", "allowed", "ADMINISTRATORS_NOT_GRANTED")), 1);
    let issued = client.issue_metabase_token(request(&["Customers"])).await.unwrap().into_inner();
    let seconds = |time: Option<prost_types::Timestamp>| time.unwrap().seconds;
    assert_eq!(seconds(issued.expire_time) - seconds(issued.issue_time), 600);
    assert_eq!(metric(&served, &changes("shop", "lifetime", "")), 1);
    client.check_auth_status(CheckAuthStatusRequest::default()).await.unwrap();
    assert_eq!(metric(&served, &changes("shop", "denied", "STATUS_CHECK_NOT_GRANTED")), 1);
    assert_eq!(metric(&served, DECISIONS), 4);
}

#[tokio::test]
async fn a_caller_that_has_no_grant_yet_is_compared_request_by_request() {
    let in_force = &CONFIG[..CONFIG.find("[[callers.grants]]").unwrap()];
    let candidate = CONFIG.replace("groups = [\"*\"]", "groups = [\"Customers\"]");
    let (_dir, served, mut client) = served(in_force, &candidate).await;
    for groups in ["Customers", "Region EMEA"] {
        let denied = client.issue_metabase_token(request(&[groups])).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
    }
    assert_eq!(metric(&served, &changes("shop", "allowed", "NO_GRANT")), 1);
    assert_eq!(metric(&served, DECISIONS), 2);
}

#[tokio::test]
async fn a_candidate_is_reloaded_and_a_broken_one_stops_nothing() {
    let (dir, served, mut client) = served(CONFIG, "[[callers]]\nname = \"a b\"\n").await;
    client.issue_metabase_token(request(&["Customers"])).await.unwrap();
    assert_eq!(metric(&served, DECISIONS), 0);
    let output = run(program(&["config", "check"]).arg(dir.path().join("mts.toml")));
    let (code, out, _) = outcome(&output);
    assert_eq!(code, Some(0));
    assert!(
        out.contains("shadow.policy: no decision is compared: ") && out.contains("candidate.toml:2: callers[0].name: "),
        "{out}"
    );

    replace(&dir.path().join("candidate.toml"), CONFIG);
    wait_for(&served, GENERATION, 2).await;
    client.issue_metabase_token(request(&["Customers"])).await.unwrap();
    assert_eq!(metric(&served, DECISIONS), 1);
    assert!(metric(&served, "metabase_token_service_shadow_changes_total") == 0);
}
