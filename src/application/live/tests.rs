use super::*;
use crate::application::testing::{GONE, Metabase, NOW, answer, dated};

const BUDGET: Duration = Duration::from_mins(1);
const ADA: &str = r#"{"email":"ada@example.com","first_name":"Ada","last_name":"Lovelace",
    "jwt_attributes":{"id":"1","plan":"pro"},"login_attributes":{"id":"2","number":3}}"#;
const SESSION: &str = "{\"session_token\":\"s1\"}";

fn ada() -> Reading {
    Reading {
        email: "ada@example.com".to_owned(),
        first_name: "Ada".to_owned(),
        last_name: "Lovelace".to_owned(),
        attributes: [("id", "2"), ("plan", "pro")].map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..Reading::default()
    }
}

/// What the token says.
fn local() -> Judgement {
    let mut local = Judgement::new(AuthStatus::Success, AuthStatusReason::Accepted, "local".to_owned());
    local.warnings = vec!["of the token".to_owned()];
    local.reading = Some(Reading {
        email: "other@example.com".to_owned(),
        groups: Some(vec!["Customers".to_owned()]),
        attributes: [("id".to_owned(), "1".to_owned()), ("plan".to_owned(), "pro".to_owned())].into(),
        tenant: Some(("acme".to_owned(), BTreeMap::new())),
        issue_time: Some(NOW),
        expire_time: Some(NOW.plus_seconds(60)),
        exchange_deadline: Some(NOW.plus_seconds(60)),
        ..Reading::default()
    });
    local.with_fingerprint("a.b.c")
}

#[tokio::test]
async fn a_session_and_a_key_are_whoever_metabase_says() {
    let metabase = Metabase::new([("GET /api/user/current", dated(6, answer(200, ADA)))]);
    let live = LiveInstance::new(metabase);
    let session = live.check_session("s1", BUDGET, NOW).await;
    let warning = "Metabase's clock is 6 s ahead of this service's; it allows none on `exp` and 180 s on `iat`.";
    let mut expected =
        Judgement::new(AuthStatus::Success, AuthStatusReason::Accepted, "The session is alive.".to_owned());
    (expected.reading, expected.warnings) = (Some(ada()), vec![warning.to_owned()]);
    assert_eq!(session, expected.with_fingerprint("s1"));
    let key = live.check_api_key("k1", BUDGET, NOW).await;
    assert_eq!((key.reading, key.fingerprint), (Some(ada()), Some(Fingerprint::of("k1"))));
}

#[tokio::test]
async fn an_administrator_is_told() {
    for (user, warnings) in [
        ("{\"email\":\"a\",\"is_superuser\":true}", vec!["It is an administrator in Metabase."]),
        ("{\"email\":\"a\",\"is_superuser\":false}", vec![]),
        ("{\"email\":\"a\"}", vec![]),
    ] {
        let live = LiveInstance::new(Metabase::new([("GET", answer(200, user))]));
        assert_eq!(live.check_session("s1", BUDGET, NOW).await.warnings, warnings, "{user}");
    }
}

#[tokio::test]
async fn what_metabase_does_not_know_or_say_is_an_answer() {
    use AuthStatus::{Error, Loading};
    use AuthStatusReason::{ApiKeyInvalid, MetabaseStarting, MetabaseUnreachable, SessionInvalid};
    for (answered, status, of_session, of_key) in [
        (answer(401, ""), Error, SessionInvalid, ApiKeyInvalid),
        (answer(503, "initializing"), Loading, MetabaseStarting, MetabaseStarting),
        (answer(500, ""), Error, MetabaseUnreachable, MetabaseUnreachable),
        (Err(GONE), Error, MetabaseUnreachable, MetabaseUnreachable),
    ] {
        let live = LiveInstance::new(Metabase::new([("GET", answered)]));
        let session = live.check_session("s1", BUDGET, NOW).await;
        let key = live.check_api_key("k1", BUDGET, NOW).await;
        assert_eq!((session.status, session.reason), (status, Some(of_session)));
        assert_eq!((key.status, key.reason), (status, Some(of_key)));
        assert!(session.message.starts_with("Metabase ") && session.message.ends_with('.'), "{}", session.message);
    }
}

#[tokio::test]
async fn a_metabase_that_hangs_keeps_nobody_and_a_bounded_number_of_checks() {
    #[derive(Debug)]
    struct Hanging;
    impl Http for Hanging {
        fn send<'a>(&'a self, _: &'a metabase::Request<'a>) -> metabase::BoxFuture<'a, Result<Answer, Unreachable>> {
            Box::pin(std::future::pending())
        }
    }
    let (live, tasks) = (LiveInstance::new(Arc::new(Hanging)), TaskTracker::new());
    let late = live.check_session("s1", Duration::ZERO, NOW).await;
    assert_eq!(late.message, "Metabase does not answer in time.");
    for _ in 0..MAX_CHECKS {
        let late = live.check_jwt("a.b.c".to_owned(), local(), Duration::ZERO, NOW, &tasks).await;
        assert_eq!((late.status, late.message.as_str()), (AuthStatus::Error, "Metabase does not answer in time."));
    }
    let busy = "Metabase has not answered many earlier checks yet, so this one was not begun.";
    assert_eq!(live.check_jwt("a.b.c".to_owned(), local(), BUDGET, NOW, &tasks).await.message, busy);
    assert_eq!(live.check_session("s1", BUDGET, NOW).await.message, busy);
}

#[tokio::test]
async fn a_person_who_is_signed_in_is_signed_out_again() {
    let metabase = Metabase::new([
        ("POST /auth/sso/to_session", answer(200, SESSION)),
        ("GET /api/user/current x-metabase-session: s1", answer(200, ADA)),
        ("DELETE /api/session x-metabase-session: s1", answer(204, "")),
    ]);
    let live = LiveInstance::new(Arc::clone(&metabase) as Arc<dyn Http>);
    let judged = live.check_jwt("a.b.c".to_owned(), local(), BUDGET, NOW, &TaskTracker::new()).await;
    assert_eq!(metabase.asked().len(), 3);
    assert_eq!(judged.message, "Metabase signed the person in with this token. The session has been ended.");
    let set_by_hand =
        "The attribute \"id\" has another value in Metabase than in the token: one set by hand outweighs the token's.";
    assert_eq!(judged.warnings, [set_by_hand, "of the token"]);
    let own = local().reading.unwrap();
    let expected = Reading { email: "ada@example.com".to_owned(), attributes: ada().attributes, ..own };
    let expected = Reading { first_name: "Ada".to_owned(), last_name: "Lovelace".to_owned(), ..expected };
    assert_eq!((judged.reading, judged.fingerprint), (Some(expected), local().fingerprint));
}

#[tokio::test]
async fn attributes_that_metabase_does_not_show_are_those_of_the_token() {
    let metabase = Metabase::new([
        ("POST", answer(200, SESSION)),
        ("GET", answer(200, "{\"email\":\"ada@example.com\"}")),
        ("DELETE", answer(200, "")),
    ]);
    let live = LiveInstance::new(metabase);
    let judged = live.check_jwt("a.b.c".to_owned(), local(), BUDGET, NOW, &TaskTracker::new()).await;
    assert_eq!(judged.warnings, ["of the token"]);
    assert_eq!(judged.reading.unwrap().attributes, local().reading.unwrap().attributes);
}

#[tokio::test]
async fn a_token_that_is_refused_is_told_with_metabases_reason_and_our_reading() {
    for (answered, status, reason) in [
        (answer(401, "Token is expired"), AuthStatus::Error, AuthStatusReason::Expired),
        (answer(503, "initializing"), AuthStatus::Loading, AuthStatusReason::MetabaseStarting),
    ] {
        let live = LiveInstance::new(Metabase::new([("POST", answered)]));
        let judged = live.check_jwt("a.b.c".to_owned(), local(), BUDGET, NOW, &TaskTracker::new()).await;
        assert_eq!((judged.status, judged.reason), (status, Some(reason)));
        assert!(judged.message.starts_with("Metabase "), "{}", judged.message);
        assert_eq!((judged.reading, judged.warnings), (local().reading, local().warnings));
    }
}

#[test]
fn clocks_may_differ_by_five_seconds() {
    for (skew, words) in [
        (5, None),
        (-5, None),
        (0, None),
        (6, Some("6 s ahead of")),
        (-6, Some("6 s behind")),
        (-60, Some("60 s behind")),
    ] {
        let warning = warn_of_skew(skew);
        assert_eq!(warning.is_some(), words.is_some(), "{skew}");
        assert!(
            words.is_none_or(|words| warning.as_ref().is_some_and(|warning| warning.contains(words))),
            "{warning:?}"
        );
    }
}

#[test]
fn a_key_of_a_production_instance_is_told_unasked() {
    let judged = api_key_not_allowed("k1");
    assert_eq!((judged.status, judged.reason), (AuthStatus::Error, Some(AuthStatusReason::ApiKeyNotAllowed)));
    assert_eq!(judged.fingerprint, Some(Fingerprint::of("k1")));
}

#[tokio::test]
async fn ending_a_session_is_tried_three_times() {
    let [failed, ended] = [500, 204].map(|status| ("DELETE /api/session x-metabase-session: s1", answer(status, "")));
    for (script, expected, tries) in [
        (vec![ended.clone()], Ok(()), 1),
        (vec![failed.clone(), ended.clone()], Ok(()), 2),
        (vec![failed.clone(), failed.clone(), ended.clone()], Ok(()), 3),
        (vec![failed.clone(), failed.clone(), failed, ended], Err(Refused::Unknown(500)), 3),
    ] {
        let metabase = Metabase::of(script);
        assert_eq!((end(&*metabase, "s1", Duration::ZERO).await, metabase.asked().len()), (expected, tries));
    }
}

#[test]
fn a_session_that_could_not_be_ended_is_told() {
    let user = answer(200, ADA).map(Some).map_err(Refused::from);
    let judged = signed_in(user, Err(Refused::Unknown(500)), local(), NOW);
    let told =
        "Metabase signed the person in with this token. The session could not be ended: Metabase gives an answer";
    assert!(judged.message.starts_with(told), "{}", judged.message);
}
