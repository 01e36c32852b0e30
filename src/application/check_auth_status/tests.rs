use super::*;
use crate::{
    application::{
        agreement::Keys,
        metabase::Unreachable,
        signing_key::SigningKey,
        testing::{
            self, Metabase, NEXT_SECRET, NOW, SECRET, ada, answer, audit, clock, instance, permit, record, recorded,
            shop,
        },
    },
    domain::{
        deny_reason::DenyReason,
        grant::Grant,
        rotation::{Evidence, Which},
    },
    telemetry::Metrics,
};

const BUDGET: Duration = Duration::from_mins(1);

fn token(secret: &[u8]) -> String {
    let signed = SigningKey::from_bytes(secret).sign(&permit(ada(), instance("main")).unwrap(), NOW).unwrap();
    signed.token.expose().to_owned()
}

fn check(one: InstanceWithKey, audit: Arc<Audit>) -> CheckAuthStatus {
    let shadow = Shadow::new(Arc::new(Metrics::default()));
    CheckAuthStatus::new(testing::generations(one), clock(), shadow, audit, TaskTracker::new())
}

fn asking(metabase: &Arc<Metabase>, environment: Environment) -> InstanceWithKey {
    InstanceWithKey {
        live: Some(testing::live(metabase)),
        ..testing::with_key(Instance { environment, ..instance("main") })
    }
}

#[tokio::test]
async fn every_credential_is_judged_in_its_way() {
    use AuthStatusReason::{Accepted, ApiKeyNotAllowed, SignatureMismatch};
    let user = "{\"email\":\"ada@example.com\"}";
    for (credential, environment, reason, questions) in [
        (Credential::Jwt(token(SECRET)), Environment::Production, Some(Accepted), 0),
        (Credential::Jwt(token(NEXT_SECRET)), Environment::Production, Some(SignatureMismatch), 0),
        (Credential::SessionId("s1".to_owned()), Environment::Production, Some(Accepted), 1),
        (Credential::ApiKey("k1".to_owned()), Environment::Production, Some(ApiKeyNotAllowed), 0),
        (Credential::ApiKey("k1".to_owned()), Environment::Development, Some(Accepted), 1),
        (Credential::None, Environment::Production, None, 0),
    ] {
        let metabase = Metabase::new([("GET", answer(200, user))]);
        let check = check(asking(&metabase, environment), Arc::new(Audit::off(clock())));
        let judged = check.execute(&shop(), "main", credential, false, BUDGET).await.unwrap();
        assert_eq!((judged.reason, metabase.asked().len()), (reason, questions), "{}", judged.message);
        assert_eq!(judged.status == AuthStatus::Uninitialized, reason.is_none());
    }
}

#[tokio::test]
async fn metabase_cannot_be_asked_without_a_url() {
    for (credential, live, is_judged) in [
        (Credential::Jwt(token(SECRET)), false, true),
        (Credential::Jwt(token(SECRET)), true, false),
        (Credential::SessionId("s1".to_owned()), false, false),
    ] {
        let check = check(testing::with_key(instance("main")), Arc::new(Audit::off(clock())));
        let judged = check.execute(&shop(), "main", credential, live, BUDGET).await;
        assert_eq!(judged.is_ok(), is_judged);
        assert!(is_judged || matches!(judged, Err(CheckError::UrlNotConfigured)));
    }
}

/// A live check has an effect in Metabase, so it is recorded before it begins.
#[tokio::test]
async fn what_is_asked_is_recorded_and_a_live_check_before_it_begins() {
    for (credential, live, url, events) in [
        (Credential::Jwt(token(SECRET)), true, true, vec!["live_check_begun", "status_checked"]),
        (Credential::Jwt(token(SECRET)), false, true, vec!["status_checked"]),
        (Credential::Jwt(token(SECRET)), true, false, vec![]),
        (Credential::SessionId("s1".to_owned()), true, true, vec!["status_checked"]),
    ] {
        let metabase = Metabase::new([("POST", answer(401, "Token is expired")), ("GET", answer(401, ""))]);
        let one = asking(&metabase, Environment::Production);
        let one = if url { one } else { InstanceWithKey { live: None, ..one } };
        let (audit, mut queue) = audit();
        let check = check(one, audit);
        let (_, records) = recorded(&mut queue, check.execute(&shop(), "main", credential, live, BUDGET)).await;
        let told: Vec<_> = records.iter().map(|record| record["event"].as_str().unwrap()).collect();
        assert_eq!(told, events);
        assert!(records.iter().all(|record| record["caller"] == "shop" && record["instance"] == "main"));
    }
}

#[tokio::test]
async fn without_a_record_metabase_is_not_asked_to_sign_in() {
    let metabase = Metabase::new([]);
    let (audit, queue) = audit();
    // Nobody writes.
    drop(queue);
    let check = check(asking(&metabase, Environment::Production), audit);
    let judged = check.execute(&shop(), "main", Credential::Jwt(token(SECRET)), true, BUDGET).await;
    assert!(matches!(judged, Err(CheckError::AuditUnavailable)));
    assert_eq!(metabase.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_check_that_is_not_granted_is_denied_and_recorded() {
    let (audit, mut queue) = audit();
    let policy = testing::policy(Grant { may_check_status: false, ..Grant::default() });
    let instances = vec![testing::with_key(instance("main")), testing::with_key(instance("other"))];
    let generations = Arc::new(Generations::new(super::super::generation::Generation::new(instances, policy)));
    let shadow = Shadow::new(Arc::new(Metrics::default()));
    let check = CheckAuthStatus::new(generations, clock(), shadow, audit, TaskTracker::new());
    let result = check.execute(&shop(), "main", Credential::None, false, BUDGET).await;
    assert!(matches!(result, Err(CheckError::Denied(denial)) if denial.reason == DenyReason::StatusCheckNotGranted));
    let result = check.execute(&shop(), "other", Credential::None, false, BUDGET).await;
    assert!(
        matches!(result, Err(CheckError::NotAdmitted(NotAdmitted::Denied(denial))) if denial.reason == DenyReason::NoGrant)
    );
    let result = check.execute(&shop(), "unknown", Credential::None, false, BUDGET).await;
    assert!(matches!(result, Err(CheckError::NotAdmitted(NotAdmitted::NoInstance(_)))));
    let reasons: Vec<_> = std::iter::from_fn(|| record(&mut queue)).map(|record| record["reason"].clone()).collect();
    assert_eq!(reasons, ["STATUS_CHECK_NOT_GRANTED", "NO_GRANT"]);
}

fn seen(state: State, skew: Option<i64>) -> Seen {
    Seen { at: NOW, state, signing: Which::Current, skew }
}

/// Each: what the last look told, the message of a good token, the warning of any.
#[test]
fn what_the_last_look_told_against_every_token_is_said() {
    let later = NOW.plus_seconds(7);
    let refused = "The token is as it should be, but Metabase would refuse it: when asked 7 s ago, it ";
    let (licence, off) = (Refused::LicenseRequired, Refused::SsoNotEnabled);
    for (state, skew, message, warning) in [
        (State::Agrees, None, None, None),
        (State::Agrees, Some(60), None, Some("Metabase's clock is 60 s ahead of")),
        (State::Agrees, Some(1), None, None),
        (
            State::Disagrees,
            Some(60),
            Some("held another secret"),
            Some("When asked 7 s ago, Metabase held another secret"),
        ),
        (
            State::Unknown(licence),
            None,
            Some("has no licence"),
            Some("When asked 7 s ago, Metabase took no token at all: it has no"),
        ),
        (
            State::Unknown(off),
            None,
            Some("has JWT"),
            Some("When asked 7 s ago, Metabase took no token at all: it has JWT"),
        ),
        (State::Unknown(Refused::Starting), None, None, None),
        (
            State::Unknown(Unreachable { what: "is gone" }.into()),
            Some(-60),
            None,
            Some("Metabase's clock is 60 s behind"),
        ),
    ] {
        let seen = seen(state, skew);
        let message = message.map(|rest| format!("{refused}{rest}"));
        let said = qualify(&seen, later);
        assert_eq!(said.is_some(), message.is_some(), "{state:?}");
        assert!(message.is_none_or(|start| said.as_ref().is_some_and(|said| said.starts_with(&start))), "{said:?}");
        let said = warn(&seen, later);
        assert_eq!(said.is_some(), warning.is_some(), "{state:?}");
        assert!(warning.is_none_or(|start| said.as_ref().is_some_and(|said| said.starts_with(start))), "{said:?}");
    }
}

#[test]
fn a_look_is_never_in_the_future() {
    let seen = seen(State::Agrees, None);
    for (now, age) in [(NOW, 0), (NOW.plus_seconds(9), 9), (NOW.plus_seconds(-9), 0)] {
        assert_eq!(seconds_since(&seen, now), age);
    }
}

#[tokio::test]
async fn a_good_token_that_metabase_refuses_at_present_is_good_and_says_so() {
    let one = testing::with_key(instance("main"));
    one.keys.observe(NOW, Evidence::Disproved, None, Refused::Corrupt, None);
    let check = check(one, Arc::new(Audit::off(clock())));
    for (secret, status, begins) in [
        (SECRET, AuthStatus::Success, "The token is as it should be, but"),
        (NEXT_SECRET, AuthStatus::Error, "The signature does not match"),
    ] {
        let judged = check.execute(&shop(), "", Credential::Jwt(token(secret)), false, BUDGET).await.unwrap();
        assert_eq!((judged.status, judged.warnings.len()), (status, 1));
        assert!(judged.message.starts_with(begins), "{}", judged.message);
    }
    assert_eq!(format!("{check:?}"), "CheckAuthStatus { .. }");
    assert!(Keys::new(SigningKey::from_bytes(SECRET), None).seen().is_none());
}
