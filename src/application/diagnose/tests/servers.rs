//! Whether there is a Metabase that takes tokens.

use super::*;
use crate::{
    application::testing::GONE,
    domain::{instance::Instance, tenant::Tenancy},
};

#[tokio::test]
async fn what_is_no_healthy_metabase_is_named_and_asked_no_more() {
    let moved = Ok(Answer { status: 301, location: Some("https://x.example/?jwt=a".to_owned()), ..Answer::default() });
    for (answered, what) in [
        (answer(200, "{}"), "not a Metabase"),
        (moved, "sends on to https://x.example/ (HTTP 301)"),
        (answer(308, ""), "sends on (HTTP 308)"),
        (answer(503, "{\"status\":\"initializing\",\"progress\":0.25}"), "still starting (25 %)"),
        (answer(503, "{\"status\":\"initializing\"}"), "still starting"),
        (answer(503, "{\"status\":\"Unable to get app-db connection\"}"), "application database"),
        (answer(503, ""), "not healthy (HTTP 503)"),
        (answer(401, ""), "wants credentials (HTTP 401)"),
        (answer(404, ""), "no /api/health"),
        (answer(502, ""), "A proxy answers"),
        (answer(500, HEALTHY), "not healthy (HTTP 500)"),
    ] {
        let found = findings(vec![("GET /api/health", answered)]).await;
        assert_about(&found, Check::Health, Some((Verdict::Fail, what)));
        assert_eq!(found.len(), 2, "{what}");
    }
    let found = findings(vec![("GET /api/health", Err(GONE))]).await;
    assert_about(&found, Check::Reachable, Some((Verdict::Fail, "Metabase is gone")));
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn a_version_is_read_from_what_anybody_may_see() {
    for (settings, checks) in [
        (
            "{\"version\":{\"tag\":\"v1.50.0\"}}",
            [(Check::Version, Verdict::Ok, "v1.50.0"), (Check::Sdk, Verdict::Ok, "on")],
        ),
        (
            "{\"version\":{\"tag\":\"v1.49.9\"}}",
            [(Check::Version, Verdict::Warn, "version 49"), (Check::Sdk, Verdict::Ok, "on")],
        ),
        ("{}", [(Check::Version, Verdict::Warn, "does not tell"), (Check::Sdk, Verdict::Ok, "on")]),
        (
            "{\"version\":{\"tag\":\"v0.58.0\"}}",
            [(Check::Licence, Verdict::Fail, "open-source"), (Check::Secret, Verdict::Warn, "judges no token")],
        ),
    ] {
        let found = findings(vec![("GET /api/session/properties", answer(200, settings))]).await;
        for (check, verdict, what) in checks {
            assert_about(&found, check, Some((verdict, what)));
        }
    }
}

#[tokio::test]
async fn the_url_is_the_one_that_metabase_knows() {
    for (url, site, expected) in [
        ("https://bi.example.com", "https://bi.example.com/", Some((Verdict::Ok, "Site URL"))),
        ("https://bi.example.com", "https://other.example/", Some((Verdict::Warn, "host other.example"))),
        ("http://bi.example.com", "http://bi.example.com/", Some((Verdict::Warn, "in clear"))),
        ("http://localhost:3000", "http://localhost:3000", Some((Verdict::Ok, "Site URL"))),
        ("https://localhost:3000", "http://localhost:3000", Some((Verdict::Ok, "Site URL"))),
        ("https://bi.example.com", "nonsense", None),
    ] {
        let settings = format!("{{\"site-url\":{site:?}}}");
        let metabase = metabase(vec![("GET /api/session/properties", answer(200, &settings))]);
        let one = with_key(Instance { url: Some(url.parse().unwrap()), ..instance("main") });
        assert_about(&examined(&metabase, one, Vec::new()).await, Check::Url, expected);
    }
}

#[tokio::test]
async fn tenants_need_a_version_and_a_licence() {
    for (tenancy, tag, licensed, verdict, what) in [
        (Tenancy::Forbidden, "v1.57.9", "false", Verdict::Ok, "no tenant"),
        (Tenancy::Required, "v1.57.9", "true", Verdict::Fail, "too old"),
        (Tenancy::Optional, "v1.58.0", "true", Verdict::Ok, "licence for tenants"),
        (Tenancy::Optional, "v1.59.0", "true", Verdict::Ok, "licence for tenants"),
        (Tenancy::Required, "v1.58.0", "false", Verdict::Fail, "no licence"),
        (Tenancy::Required, "v1.58.0", "null", Verdict::Warn, "does not tell"),
    ] {
        let settings = format!("{{\"version\":{{\"tag\":{tag:?}}},\"token-features\":{{\"tenants\":{licensed}}}}}");
        let metabase = metabase(vec![("GET /api/session/properties", answer(200, &settings))]);
        let found = examined(&metabase, with_key(Instance { tenancy, ..instance("main") }), Vec::new()).await;
        assert_about(&found, Check::Tenancy, Some((verdict, what)));
    }
}

/// Each: what discovery answers, the licence that settings show, what is told of it, and whether secrets are asked about.
#[tokio::test]
async fn single_sign_on_is_told_from_what_discovery_answers() {
    use Check::{Licence, Sdk, SingleSignOn};
    use Verdict::{Fail, Ok as Good, Warn};
    for (answered, licensed, check, verdict, what, is_on) in [
        (answer(200, "{\"method\":\"saml\"}"), "true", SingleSignOn, Fail, "SAML", false),
        (answer(302, ""), "true", SingleSignOn, Good, "does not tell", true),
        (answer(402, "error-embedding-sdk-disabled"), "true", Sdk, Warn, "switched off", true),
        (answer(402, "Something went wrong"), "true", Sdk, Warn, "switched off", true),
        (answer(402, "Something went wrong"), "false", Licence, Fail, "no licence", false),
        (answer(402, "Payment required"), "true", Licence, Fail, "no licence", false),
        (answer(400, "SSO has not been enabled"), "true", SingleSignOn, Fail, "is off", false),
        (answer(400, "SSO has not been enabled"), "null", SingleSignOn, Fail, "is off", false),
        (answer(400, "SSO has not been enabled"), "false", Licence, Fail, "no licence", false),
        (answer(500, ""), "true", SingleSignOn, Fail, "not understood", false),
        (Err(GONE), "true", SingleSignOn, Fail, "is gone", false),
    ] {
        let settings = format!("{{\"token-features\":{{\"sso_jwt\":{licensed}}}}}");
        let found = findings(vec![
            ("GET /auth/sso preferred_method", answered),
            ("GET /api/session/properties", answer(200, &settings)),
        ])
        .await;
        assert_about(&found, check, Some((verdict, what)));
        let secret = if is_on { (Good, "holds `shared_secret`") } else { (Warn, "judges no token") };
        assert_about(&found, Check::Secret, Some(secret));
    }
}
