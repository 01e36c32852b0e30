use super::*;
use crate::application::testing::{GONE, Metabase, answer};

#[test]
fn what_metabase_says_is_told_whatever_its_form() {
    use Refused::*;
    for (status, body, refused) in [
        (401, "Token is expired (1700000000)", Expired),
        (401, "Token is older than max-age (180)", TooOld),
        (401, "{\"message\":\"Token is not yet valid (1700000000)\"}", NotYetValid),
        (401, "<p>Message seems corrupt or manipulated</p>", Corrupt),
        (401, "JWT token missing email claim", MissingEmail),
        (401, "Sorry, but you'll need a Metabase account", AccountUnavailable),
        (401, "Sorry, but you&#39;ll need a Metabase account", AccountUnavailable),
        (401, "Value of `@tenant` must be a string", InvalidClaim),
        (401, "An unexpected error occurred during authentication", InvalidClaim),
        (401, "java.lang.ClassCastException: class", InvalidClaim),
        (401, "Unauthenticated", Unknown(401)),
        (403, "", Tenant),
        (400, "ee-build-required", LicenseRequired),
        (400, "only exists in enterprise builds", LicenseRequired),
        (400, "error-sso-disabled", SsoNotEnabled),
        (400, "SSO has not been enabled", SsoNotEnabled),
        (400, "JWT is not enabled", SsoNotEnabled),
        (400, "Something went wrong", SsoNotEnabled),
        (400, "Token is expired", Unknown(400)),
        (402, "error-embedding-sdk-disabled", SdkDisabled),
        (402, "Embedding is off", SdkDisabled),
        (402, "Payment required", LicenseRequired),
        (503, "Metabase is still initializing", Starting),
        (503, "upstream is down", Unknown(503)),
        (500, "Message seems corrupt", Unknown(500)),
    ] {
        assert_eq!(answer(status, body).unwrap().refused(), refused, "{status} {body}");
    }
}

#[tokio::test]
async fn a_question_about_a_person_is_authorised_by_what_it_is_about() {
    for (authorization, header) in
        [(Authorization::Session("s1"), "x-metabase-session: s1"), (Authorization::ApiKey("k1"), "x-api-key: k1")]
    {
        let metabase = Metabase::new([("GET /api/user/current", answer(200, "{\"email\":\"ada@example.com\"}"))]);
        assert!(matches!(current_user(&*metabase, authorization).await, Ok(Some(_))));
        assert_eq!(metabase.asked(), [format!("GET /api/user/current {header}")]);
    }
}

#[tokio::test]
async fn only_a_person_with_an_address_is_one() {
    for (answered, expected) in [
        (answer(200, "{\"email\":\"ada@example.com\"}"), Ok(true)),
        (answer(401, "Unauthenticated"), Ok(false)),
        (answer(200, "{\"email\":null}"), Err(Refused::Unknown(200))),
        (answer(200, "<html>"), Err(Refused::Unknown(200))),
        (answer(503, "initializing"), Err(Refused::Starting)),
        (Err(GONE), Err(Refused::Unreachable(GONE))),
    ] {
        let metabase = Metabase::new([("GET", answered.clone())]);
        let user = current_user(&*metabase, Authorization::Session("s1")).await.map(|user| user.is_some());
        assert_eq!(user, expected, "{answered:?}");
    }
}

#[tokio::test]
async fn a_session_that_is_gone_is_ended() {
    for (status, expected) in [
        (200, Ok(())),
        (204, Ok(())),
        (404, Ok(())),
        (401, Err(Refused::Unknown(401))),
        (500, Err(Refused::Unknown(500))),
    ] {
        let metabase = Metabase::new([("DELETE", answer(status, ""))]);
        assert_eq!(end_session(&*metabase, "s1").await, expected, "{status}");
        assert_eq!(metabase.asked(), ["DELETE /api/session x-metabase-session: s1"]);
    }
}

#[tokio::test]
async fn a_probe_asks_in_the_other_way_where_the_first_is_not_there() {
    for (by_post, by_get, expected, questions) in [
        (answer(401, "Token is expired"), answer(500, ""), Refused::Expired, 1),
        (answer(404, ""), answer(401, "Message seems corrupt"), Refused::Corrupt, 2),
        (answer(405, ""), answer(401, "Token is expired"), Refused::Expired, 2),
        (Err(GONE), answer(401, "Token is expired"), Refused::Unreachable(GONE), 1),
        (answer(501, ""), Err(GONE), Refused::Unreachable(GONE), 2),
    ] {
        let metabase =
            Metabase::new([("POST /auth/sso/to_session {jwt: a.b.c}", by_post), ("GET /auth/sso jwt=a.b.c", by_get)]);
        let (refused, date) = probe(&*metabase, "a.b.c").await;
        assert_eq!((refused, date, metabase.asked().len()), (expected, None, questions));
    }
}

#[tokio::test]
async fn a_probe_tells_the_time_of_metabase() {
    let metabase = Metabase::new([("POST", Ok(Answer { status: 401, date: Some(42), ..Answer::default() }))]);
    assert_eq!(probe(&*metabase, "a.b.c").await, (Refused::Unknown(401), Some(42)));
}

const TO_SESSION: &str = "POST /auth/sso/to_session {jwt: a.b.c}";
const DISCOVERY: &str = "GET /auth/sso preferred_method=jwt x-metabase-client: embedding-sdk-react";

#[expect(clippy::unnecessary_wraps, reason = "as `answer`")]
fn redirect(cookie: Option<&str>) -> Result<Answer, Unreachable> {
    Ok(Answer { status: 302, session_cookie: cookie.map(str::to_owned), ..Answer::default() })
}

#[tokio::test]
async fn every_version_gives_a_session_in_its_way() {
    const GONE_YET: Result<&str, Refused> = Err(Refused::Unknown(404));
    let not_there = answer(404, "");
    for (name, script, expected) in [
        ("57", vec![(TO_SESSION, answer(200, "{\"session_token\":\"s1\"}"))], Ok("s1")),
        ("57 without the member", vec![(TO_SESSION, answer(200, "{\"id\":\"s1\"}"))], Err(Refused::Unknown(200))),
        ("57 refuses", vec![(TO_SESSION, answer(401, "Token is expired"))], Err(Refused::Expired)),
        ("nothing there", vec![(TO_SESSION, not_there.clone()), (DISCOVERY, not_there.clone())], GONE_YET),
        (
            "55, with the hash that discovery gives",
            vec![
                (TO_SESSION, not_there.clone()),
                (DISCOVERY, answer(200, "{\"hash\":\"h1\"}")),
                (
                    "GET /auth/sso jwt=a.b.c x-metabase-client: embedding-sdk-react x-metabase-sdk-jwt-hash: h1",
                    answer(200, "{\"id\":\"s1\"}"),
                ),
            ],
            Ok("s1"),
        ),
        (
            "58, without a hash, refuses",
            vec![
                (TO_SESSION, answer(405, "")),
                (DISCOVERY, answer(200, "{}")),
                ("GET /auth/sso jwt=a.b.c x-metabase-client: embedding-sdk-react", answer(403, "")),
            ],
            Err(Refused::Tenant),
        ),
        (
            "50, with a redirect",
            vec![
                (TO_SESSION, not_there.clone()),
                (DISCOVERY, redirect(None)),
                ("GET /auth/sso token=true jwt=a.b.c", answer(200, "{\"id\":\"s1\"}")),
            ],
            Ok("s1"),
        ),
        (
            "50, with a redirect to a refusal",
            vec![
                (TO_SESSION, not_there.clone()),
                (DISCOVERY, redirect(None)),
                ("GET /auth/sso token=true jwt=a.b.c", answer(401, "Token is expired")),
            ],
            Err(Refused::Expired),
        ),
        (
            "switched off, with a cookie",
            vec![
                (TO_SESSION, not_there.clone()),
                (DISCOVERY, answer(402, "error-embedding-sdk-disabled")),
                ("GET /auth/sso jwt=a.b.c return_to=/", redirect(Some("s1"))),
            ],
            Ok("s1"),
        ),
        (
            "switched off, without a cookie",
            vec![
                (TO_SESSION, not_there.clone()),
                (DISCOVERY, answer(402, "error-embedding-sdk-disabled")),
                ("GET /auth/sso jwt=a.b.c return_to=/", redirect(None)),
            ],
            Err(Refused::Unknown(302)),
        ),
        (
            "no licence",
            vec![(TO_SESSION, not_there), (DISCOVERY, answer(402, "Payment required"))],
            Err(Refused::LicenseRequired),
        ),
    ] {
        let metabase = Metabase::of(script);
        let session = exchange(&*metabase, "a.b.c").await;
        assert_eq!(session.as_deref().map_err(|refused| *refused), expected, "{name}: {:?}", metabase.asked());
    }
}

#[tokio::test]
async fn questions_without_effect_are_asked_without_a_person() {
    let metabase = Metabase::new([
        ("GET /api/health", answer(200, "{}")),
        ("GET /api/session/properties", answer(201, "")),
        ("GET /api/embed/dashboard/a.b.c", answer(400, "Token is expired (1)")),
        ("GET /api/embed/dashboard/d.e.f", answer(400, "Message seems corrupt or manipulated.")),
    ]);
    assert_eq!(health(&*metabase).await.map(|answer| answer.status), Ok(200));
    assert_eq!(public_settings(&*metabase).await.map(|answer| answer.status), Ok(201));
    assert_eq!(holds_as_embedding_secret(&*metabase, "a.b.c").await, Ok(true));
    assert_eq!(holds_as_embedding_secret(&*metabase, "d.e.f").await, Ok(false));
    assert_eq!(discover(&*metabase).await, Err(GONE));
    assert_eq!(metabase.asked().last().map(String::as_str), Some(DISCOVERY));
}

#[test]
fn every_refusal_has_its_reason() {
    use crate::domain::auth_status::AuthStatusReason as Reason;
    for (refused, reason) in [
        (Refused::AccountUnavailable, Reason::AccountUnavailable),
        (Refused::Corrupt, Reason::SignatureMismatch),
        (Refused::SdkDisabled, Reason::SsoNotEnabled),
        (Refused::Starting, Reason::MetabaseStarting),
        (Refused::Unknown(500), Reason::MetabaseUnreachable),
        (GONE.into(), Reason::MetabaseUnreachable),
    ] {
        assert_eq!(refused.reason(), reason);
    }
}
