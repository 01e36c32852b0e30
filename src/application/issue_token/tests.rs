use super::*;
use crate::{
    application::{
        accounts::{AccountStore, Applied, StoreUnavailable},
        testing::{self, NOW, ada, audit, clock, instance, record, shop, with_key},
    },
    domain::{
        account::{AccountRules, OnStoreFailure, OneAccount, Use},
        caller::{Caller, CallerId, Proof},
        deny_reason::DenyReason,
        grant::Grant,
        secret::{AccountKey, SharedSecret},
    },
    telemetry::Metrics,
};

/// Finds the same whoever asks.
#[derive(Debug)]
struct Finds(Result<Findings, StoreUnavailable>);

impl AccountStore for Finds {
    fn apply<'a>(&'a self, _: &Use, _: AccountRules, _: UnixTime) -> Applied<'a> {
        Applied::Now(self.0)
    }
}

/// With two instances: `main`, on which the caller of `shop` may do what `grant` says, and `other`, of somebody else.
fn issue_token(grant: Grant, found: Result<Findings, StoreUnavailable>, audit: Arc<Audit>) -> IssueToken {
    let metrics = Arc::new(Metrics::default());
    let secret = SharedSecret::parse((*b"8f2b7c1d9e3a4056b8c7d2e1f0a9b3c4").into()).unwrap();
    let rules = AccountRules { window: 60, tokens_per_hour: None };
    let (key, counted) = (AccountKey::of_process(&secret), metrics.accounts.clone());
    let accounts = Accounts::new(key, rules, OnStoreFailure::Deny, Arc::new(Finds(found)), counted);
    let instances = vec![
        with_key(Instance { one_account: OneAccount::Enforce, ..instance("main") }),
        with_key(Instance { url: None, ..instance("other") }),
    ];
    let mut policy = testing::policy(grant);
    policy.add("cron".parse().unwrap(), "other".parse().unwrap(), Grant::unrestricted()).unwrap();
    let generations = Arc::new(Generations::new(Generation::new(instances, policy)));
    IssueToken::new(generations, clock(), Shadow::new(metrics), Arc::new(accounts), audit)
}

#[tokio::test]
async fn a_token_is_issued_as_it_is_recorded() {
    let (audit, mut queue) = audit();
    let use_case = issue_token(Grant::unrestricted(), Ok(Findings::default()), audit);
    let asked = UnverifiedRequest { return_to: Some("/".to_owned()), lifetime: Some((60, 0)), ..ada() };
    let caller = shop();
    let writer = async {
        while queue.entries.is_empty() {
            tokio::task::yield_now().await;
        }
        record(&mut queue).unwrap()
    };
    let (issued, record) = tokio::join!(use_case.execute(&caller, "main", asked), writer);
    let issued = issued.unwrap();
    let issue_time = NOW.plus_seconds(-5);
    assert_eq!((issued.issue_time, issued.expire_time), (issue_time, issue_time.plus_seconds(60)));
    assert_eq!((issued.exchange_deadline, issued.warnings), (issued.expire_time, Warnings::default()));
    let url = format!("https://bi.example.com/auth/sso?jwt={}&return_to=%2F", issued.token.expose());
    assert_eq!(issued.sso_url.as_ref().map(SignedToken::expose), Some(url.as_str()));
    let expected = serde_json::json!({
        "time": "2023-11-14T22:13:20Z", "event": "token_issued", "caller": "shop", "proof": "local", "instance": "main",
        "subject": "ada@example.com", "user_id": "7", "attributes": [], "lifetime_seconds": 60,
        "fingerprint": issued.fingerprint.to_string(), "signed_with": "shared_secret", "generation": 1,
    });
    assert_eq!(record, expected);
}

#[tokio::test]
async fn a_token_without_a_record_does_not_leave() {
    let (audit, queue) = audit();
    drop(queue);
    let use_case = issue_token(Grant::unrestricted(), Ok(Findings::default()), audit);
    let issued = use_case.execute(&shop(), "main", ada()).await;
    assert!(matches!(issued, Err(IssueError::AuditUnavailable)));
    let off = issue_token(Grant::unrestricted(), Ok(Findings::default()), Arc::new(Audit::off(clock())));
    assert!(off.execute(&shop(), "main", ada()).await.is_ok());
    assert_eq!(format!("{off:?}"), "IssueToken { .. }");
}

#[tokio::test]
async fn what_is_denied_is_recorded_and_the_person_once_the_request_is_looked_at() {
    let (audit, mut queue) = audit();
    let use_case = issue_token(Grant::default(), Ok(Findings::default()), audit);
    let denied = use_case.execute(&shop(), "main", ada()).await;
    assert!(matches!(denied, Err(IssueError::Denied(denial)) if denial.reason == DenyReason::EmailDomainNotGranted));
    let denied = use_case.execute(&shop(), "other", ada()).await;
    let Err(IssueError::NotAdmitted(NotAdmitted::Denied(denial))) = denied else { panic!("{denied:?}") };
    assert_eq!(denial.reason, DenyReason::NoGrant);
    let unknown = use_case.execute(&shop(), "unknown", ada()).await;
    assert!(matches!(unknown, Err(IssueError::NotAdmitted(NotAdmitted::NoInstance(_)))));
    let told: Vec<_> = std::iter::from_fn(|| record(&mut queue))
        .map(|record| {
            ["event", "reason", "field", "subject"].map(|key| record[key].as_str().unwrap_or_default().to_owned())
        })
        .collect();
    let expected = [
        ["token_denied", "EMAIL_DOMAIN_NOT_GRANTED", "user.email", "ada@example.com"],
        ["token_denied", "NO_GRANT", "instance", ""],
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_not_recorded() {
    let (audit, mut queue) = audit();
    let use_case = issue_token(Grant::unrestricted(), Ok(Findings::default()), audit);
    let invalid = use_case.execute(&shop(), "main", UnverifiedRequest::default()).await;
    assert!(matches!(invalid, Err(IssueError::Invalid(violations)) if violations[0].field == "user"));
    let cron = Caller::new(CallerId::Named("cron".parse().unwrap()), Proof::Local);
    let asked = UnverifiedRequest { return_to: Some("/".to_owned()), ..ada() };
    assert!(matches!(use_case.execute(&cron, "other", asked).await, Err(IssueError::UrlNotConfigured)));
    assert!(record(&mut queue).is_none());
}

/// The accident: a request that is tried again and again, and never gets a token, would keep the account from its person.
#[tokio::test]
async fn a_token_that_would_be_too_long_takes_no_account() {
    let other = Findings { other_person: true, too_many_tokens: false };
    let use_case = issue_token(Grant::unrestricted(), Ok(other), Arc::new(Audit::off(clock())));
    let attributes = (0..40).map(|number| (format!("attribute_{number}"), "x".repeat(200)));
    let asked = UnverifiedRequest { attributes: attributes.collect(), ..ada() };
    // The account store, which would have refused it, was not asked.
    let refused = use_case.execute(&shop(), "main", asked).await;
    assert!(matches!(refused, Err(IssueError::Sign(SignError::TooLong { len: 6145.., .. }))), "{refused:?}");
}

#[tokio::test]
async fn a_shared_account_gets_no_token_and_is_recorded() {
    let other = Findings { other_person: true, too_many_tokens: false };
    for (found, reason, warnings) in [
        (Ok(other), "SHARED_ACCOUNT", serde_json::json!(["other_person"])),
        (Err(StoreUnavailable), "ACCOUNT_STORE_UNAVAILABLE", serde_json::Value::Null),
    ] {
        let (audit, mut queue) = audit();
        let use_case = issue_token(Grant::unrestricted(), found, audit);
        let refused = use_case.execute(&shop(), "main", ada()).await;
        assert!(matches!(refused, Err(IssueError::Account(refusal)) if refusal.code() == reason));
        let told = record(&mut queue).unwrap();
        assert_eq!([&told["event"], &told["reason"], &told["subject"]], ["token_denied", reason, "ada@example.com"]);
        assert_eq!(told["account_warnings"], warnings);
        assert!(record(&mut queue).is_none());
    }
}
