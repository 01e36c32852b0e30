//! Rates of callers.

use metabase_token_service::transport::proto::{CheckAuthStatusRequest, IssueMetabaseTokenRequest};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{CONFIG, TestServer, ada};

#[tokio::test]
async fn a_caller_beyond_its_rate_is_told_when_to_come_back_and_others_are_not_held_up() {
    // One token in a long time, and three at once: the fourth is refused however slow the test is.
    let second = "[[instances]]\nname = \"second\"\nshared_secret = { file = \"OTHER_SECRET_FILE\" }\n[[callers]]";
    let grants =
        "rate = { per_second = 1, burst = 3 }\n[[callers.grants]]\ninstance = \"second\"\nemail_domains = [\"*\"]\n";
    let text = CONFIG.replace("[[callers]]", second);
    let mut server = TestServer::with(&format!("{text}\n{grants}")).await;
    let request = |instance: &str| IssueMetabaseTokenRequest {
        instance: instance.to_owned(),
        user: Some(ada()),
        ..IssueMetabaseTokenRequest::default()
    };
    // Far more than can be refilled while they are asked.
    let mut refused = None;
    for _ in 0..200 {
        if let Err(status) = server.client.issue_metabase_token(request("main")).await {
            refused = Some(status);
            break;
        }
    }
    let status = refused.expect("200 requests at a rate of one a second");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.get_details_error_info().unwrap().reason, "RATE_EXCEEDED");
    let retry = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(retry.as_millis() <= 1000, "{retry:?}");
    // The rate is one grant's: of both RPCs, and of no other instance.
    let check = CheckAuthStatusRequest { instance: "main".to_owned(), ..CheckAuthStatusRequest::default() };
    let mut both = Vec::new();
    for _ in 0..200 {
        both.extend(server.client.check_auth_status(check.clone()).await.err().map(|status| status.code()));
    }
    assert!(both.contains(&Code::ResourceExhausted));
    for _ in 0..20 {
        server.client.issue_metabase_token(request("second")).await.unwrap();
    }
}
