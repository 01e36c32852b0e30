mod canary;
mod secrets;
mod servers;

use std::sync::Arc;

use super::*;
use crate::application::testing::{self, Metabase, answer, clock, dated, instance, with_key};

type Answered = Result<Answer, Unreachable>;

const PATIENCE: Duration = Duration::from_mins(1);
const HEALTHY: &str = "{\"status\":\"ok\"}";
const SETTINGS: &str = r#"{"version":{"tag":"v1.58.2"},"token-features":{"sso_jwt":true,"tenants":true},
    "site-url":"https://bi.example.com/"}"#;
const EXPIRED: &str = "Token is expired";

/// A Metabase of which nothing is wrong but what `script` says.
fn metabase(mut script: Vec<(&'static str, Answered)>) -> Arc<Metabase> {
    let healthy = [
        ("GET /api/health", answer(200, HEALTHY)),
        ("GET /api/session/properties", answer(200, SETTINGS)),
        ("GET /auth/sso preferred_method", answer(200, "{\"method\":\"jwt\"}")),
        ("POST /auth/sso/to_session", dated(0, answer(401, EXPIRED))),
    ];
    for (line, answered) in healthy {
        if script.iter().all(|(other, _)| *other != line) {
            script.push((line, answered));
        }
    }
    Metabase::of(script)
}

async fn examined(metabase: &Arc<Metabase>, one: InstanceWithKey, others: Vec<&InstanceWithKey>) -> Vec<Finding> {
    let one = InstanceWithKey { live: Some(testing::live(metabase)), ..one };
    let look_alikes = vec![(LookAlike::Quoted, SigningKey::from_bytes(b"\"quoted\""))];
    let case = Case { one: &one, look_alikes, address: "https://bi.example.com", others };
    examine(&case, &*clock(), PATIENCE).await
}

async fn findings(script: Vec<(&'static str, Answered)>) -> Vec<Finding> {
    examined(&metabase(script), with_key(instance("main")), Vec::new()).await
}

/// Of the last finding about `check`: how bad it is, and a part of what is the case. None: there is no such finding.
fn assert_about(findings: &[Finding], check: Check, expected: Option<(Verdict, &str)>) {
    let found = findings.iter().rfind(|finding| finding.check == check);
    let is_as_expected = match (found, expected) {
        (Some(found), Some((verdict, part))) => found.verdict == verdict && found.what.contains(part),
        (found, expected) => found.is_none() && expected.is_none(),
    };
    assert!(is_as_expected, "{found:?} instead of {expected:?}");
}

#[tokio::test]
async fn of_a_healthy_metabase_everything_is_told_in_order() {
    let found = findings(Vec::new()).await;
    assert!(found.iter().all(|finding| finding.verdict == Verdict::Ok && finding.way_out.is_empty()), "{found:?}");
    let names: Vec<_> = found.iter().map(|finding| finding.check.as_str()).collect();
    let expected = ["reachable", "health", "version", "url", "licence", "jwt-sso", "sdk", "tenancy", "secret", "clock"];
    assert_eq!(names, expected);
    let words = [Verdict::Ok, Verdict::Warn, Verdict::Fail].map(Verdict::as_str);
    assert_eq!(words, ["ok", "warn", "fail"]);
}

#[tokio::test]
async fn without_a_url_nothing_is_asked() {
    let one = with_key(instance("main"));
    let case = Case { one: &one, look_alikes: Vec::new(), address: "", others: Vec::new() };
    assert_about(&examine(&case, &*clock(), PATIENCE).await, Check::Url, Some((Verdict::Warn, "no `url`")));
}

#[tokio::test]
async fn a_metabase_that_hangs_is_not_waited_for() {
    #[derive(Debug)]
    struct Hanging;
    impl Http for Hanging {
        fn send<'a>(&'a self, _: &'a Request<'a>) -> BoxFuture<'a, Answered> {
            Box::pin(std::future::pending())
        }
    }
    let hanging = Bounded { http: &Hanging, patience: Duration::ZERO };
    assert_eq!(hanging.send(&Request::default()).await, Err(Unreachable { what: "does not answer in time" }));
}

#[tokio::test]
async fn a_clock_is_too_far_off_once_every_token_is_too_old() {
    for (skew, verdict, what) in [
        (0, Verdict::Ok, "+0 s"),
        (5, Verdict::Ok, "+5 s"),
        (6, Verdict::Warn, "6 s ahead of this service's"),
        (165, Verdict::Warn, "165 s ahead of this service's"),
        (166, Verdict::Fail, "too old"),
        (400, Verdict::Fail, "too old"),
        (-400, Verdict::Warn, "400 s behind"),
    ] {
        let found = findings(vec![("POST /auth/sso/to_session", dated(skew, answer(401, EXPIRED)))]).await;
        assert_about(&found, Check::Clock, Some((verdict, what)));
    }
    // The first answer tells it, too.
    let undated = ("POST /auth/sso/to_session", answer(401, EXPIRED));
    let found = findings(vec![undated.clone(), ("GET /api/health", dated(3, answer(200, HEALTHY)))]).await;
    assert_about(&found, Check::Clock, Some((Verdict::Ok, "+3 s")));
    assert_about(&findings(vec![undated]).await, Check::Clock, Some((Verdict::Warn, "no `Date`")));
}
