//! Whether a person could sign in.

use tokio_util::task::TaskTracker;

use super::*;
use crate::domain::{instance::Instance, policy::Denied, tenant::Tenancy};

const ADA: &str = "{\"email\":\"ada@example.com\"}";

fn canary() -> Canary {
    Canary { email: "ada@example.com".to_owned(), tenant: None, denied: Denied::default() }
}

async fn signed_in(metabase: &Arc<Metabase>, instance: Instance, canary: &Canary) -> Finding {
    let one = InstanceWithKey { live: Some(testing::live(metabase)), ..with_key(instance) };
    sign_in(&one, canary, &*clock(), PATIENCE, &TaskTracker::new()).await
}

#[tokio::test]
async fn a_canary_signs_in_and_out() {
    for (exchanged, ended, verdict, what) in [
        (answer(200, "{\"session_token\":\"s1\"}"), answer(204, ""), Verdict::Ok, "The session has been ended"),
        (answer(401, "you'll need a"), answer(204, ""), Verdict::Fail, "no active account"),
        (answer(503, "initializing"), answer(204, ""), Verdict::Fail, "still starting"),
    ] {
        let script = [("POST", exchanged), ("GET /api/user/current", answer(200, ADA)), ("DELETE", ended)];
        let found = signed_in(&Metabase::new(script), instance("main"), &canary()).await;
        assert_about(&[found], Check::Canary, Some((verdict, what)));
    }
}

/// The token that Metabase is given, as its payload.
fn payload(metabase: &Metabase) -> serde_json::Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let asked = metabase.asked();
    let payload = asked[0].split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn the_token_of_the_canary_names_who_was_asked_for() {
    let metabase = Metabase::new([("POST", answer(401, "Token is expired"))]);
    let canary = Canary { tenant: Some("acme".to_owned()), ..canary() };
    signed_in(&metabase, Instance { tenancy: Tenancy::Required, ..instance("main") }, &canary).await;
    let payload = payload(&metabase);
    let named = ["email", "first_name", "last_name", "@tenant"].map(|name| payload[name].as_str().unwrap());
    assert_eq!(named, ["ada@example.com", "Canary", "Account", "acme"]);
}

#[tokio::test]
async fn a_canary_that_cannot_sign_in_is_not_tried() {
    let list = |text: &str| [text.to_owned()].into();
    let tenant = Some("acme".to_owned());
    for (canary, what, way_out) in [
        (Canary { email: "ada".to_owned(), ..canary() }, "user.email must be", "see `--canary`"),
        (
            Canary { denied: Denied { emails: list("ada@example.com"), ..Denied::default() }, ..canary() },
            "USER_DENIED",
            "name another with `--canary`,",
        ),
        (
            Canary { tenant, denied: Denied { tenants: list("acme"), ..Denied::default() }, ..canary() },
            "TENANT_DENIED",
            "name another with `--canary-tenant`",
        ),
    ] {
        let metabase = Metabase::new([]);
        let found = signed_in(&metabase, instance("main"), &canary).await;
        assert!(found.way_out.starts_with(way_out), "{found:?}");
        assert_about(&[found], Check::Canary, Some((Verdict::Fail, what)));
        assert!(metabase.asked().is_empty());
    }
    let one = with_key(instance("main"));
    let found = sign_in(&one, &canary(), &*clock(), PATIENCE, &TaskTracker::new()).await;
    assert_about(&[found], Check::Canary, Some((Verdict::Fail, "no `url`")));
}
