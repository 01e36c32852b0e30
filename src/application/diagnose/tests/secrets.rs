//! What Metabase holds.

use super::*;
use crate::application::{
    agreement::Keys,
    testing::{NEXT_SECRET, SECRET, question},
};

const CORRUPT: &str = "Message seems corrupt or manipulated";
const THIRD: &[u8] = b"a third secret, which has nothing to do with them";

fn holds(secret: &[u8]) -> (&'static str, Answered) {
    (question(secret), answer(401, EXPIRED))
}

fn no_other() -> (&'static str, Answered) {
    ("POST /auth/sso/to_session", answer(401, CORRUPT))
}

#[tokio::test]
async fn what_metabase_holds_instead_of_the_secret_is_found_out() {
    let keys = Keys::new(SigningKey::from_bytes(THIRD), None);
    let other = InstanceWithKey { keys, ..with_key(instance("other")) };
    let embedding = |says| ("GET /api/embed/dashboard/", answer(400, says));
    for (script, verdict, what) in [
        (vec![holds(SECRET), no_other()], Verdict::Ok, "holds `shared_secret`"),
        (vec![holds(b"\"quoted\""), no_other()], Verdict::Fail, "holds our secret in quotes"),
        (vec![holds(THIRD), no_other()], Verdict::Fail, "of the instance \"other\""),
        (vec![no_other(), embedding(EXPIRED)], Verdict::Fail, "embedding secret key"),
        (vec![no_other(), embedding(CORRUPT)], Verdict::Fail, "holds another secret"),
        (vec![no_other()], Verdict::Fail, "holds another secret"),
    ] {
        let found = examined(&metabase(script), with_key(instance("main")), vec![&other]).await;
        assert_about(&found, Check::Secret, Some((verdict, what)));
        assert_about(&found, Check::Rotation, None);
    }
}

#[tokio::test]
async fn a_metabase_that_does_not_tell_is_looked_into_or_switched_on() {
    for (answered, way_out) in [
        (answer(503, "initializing"), "see Metabase's log, and that of a proxy before it"),
        (answer(400, "SSO has not been enabled"), "switch JWT single sign-on on in Metabase"),
        (answer(402, "Payment required"), "switch JWT single sign-on on in Metabase"),
    ] {
        let found = findings(vec![("POST /auth/sso/to_session", answered)]).await;
        assert_about(&found, Check::Secret, Some((Verdict::Fail, "It is not known whether Metabase holds the secret")));
        assert!(found.iter().any(|finding| finding.check == Check::Secret && finding.way_out == way_out), "{found:?}");
    }
}

#[tokio::test]
async fn a_rotation_is_told_by_which_secret_metabase_holds() {
    for (held, secret, rotation) in [
        (SECRET, (Verdict::Ok, "holds `shared_secret`"), Some((Verdict::Ok, "Prepared"))),
        (NEXT_SECRET, (Verdict::Ok, "holds `next_shared_secret`"), Some((Verdict::Warn, "changed over"))),
        (THIRD, (Verdict::Fail, "another secret"), None),
    ] {
        let keys = Keys::new(SigningKey::from_bytes(SECRET), Some(SigningKey::from_bytes(NEXT_SECRET)));
        let one = InstanceWithKey { keys, ..with_key(instance("main")) };
        let found = examined(&metabase(vec![holds(held), no_other()]), one, Vec::new()).await;
        assert_about(&found, Check::Secret, Some(secret));
        assert_about(&found, Check::Rotation, rotation);
    }
}
