use std::sync::Mutex;

use super::*;
use crate::{
    application::testing::{NOW, ada, instance, permit},
    domain::{secret::SharedSecret, token_request::UnverifiedUser},
    telemetry::Metrics,
};

const OTHER: Findings = Findings { other_person: true, too_many_tokens: false };
const MANY: Findings = Findings { other_person: false, too_many_tokens: true };
const NOTHING: Findings = Findings { other_person: false, too_many_tokens: false };

/// Finds what it is told to find, and remembers what it was asked.
#[derive(Debug)]
struct Told {
    found: Result<Findings, StoreUnavailable>,
    later: bool,
    asked: Mutex<Vec<Use>>,
}

impl AccountStore for Told {
    fn apply<'a>(&'a self, asked: &Use, _: AccountRules, _: UnixTime) -> Applied<'a> {
        self.asked.lock().unwrap().push(*asked);
        if self.later { Applied::Later(Box::pin(async { self.found })) } else { Applied::Now(self.found) }
    }
}

struct Checked {
    answer: Result<Vec<&'static str>, &'static str>,
    /// Whether the store was asked to enforce; empty if it was not asked.
    enforced: Vec<bool>,
    metrics: String,
}

async fn check(
    mode: OneAccount,
    id: &str,
    found: Result<Findings, StoreUnavailable>,
    fallback: OnStoreFailure,
) -> Checked {
    let metrics = Metrics::default();
    let store = Arc::new(Told { found, later: fallback == OnStoreFailure::Deny, asked: Mutex::default() });
    let secret = SharedSecret::parse((*b"8f2b7c1d9e3a4056b8c7d2e1f0a9b3c4").into()).unwrap();
    let rules = AccountRules { window: 60, tokens_per_hour: None };
    let key = AccountKey::of_process(&secret);
    let accounts =
        Accounts::new(key, rules, fallback, Arc::clone(&store) as Arc<dyn AccountStore>, metrics.accounts.clone());
    let mut request = ada();
    request.user = request.user.map(|user| UnverifiedUser { id: id.to_owned(), ..user });
    let permit = permit(request, crate::domain::instance::Instance { one_account: mode, ..instance("main") }).unwrap();
    let answer = accounts.check(&permit, NOW).await.map(|warnings| warnings.names().collect());
    let enforced = store.asked.lock().unwrap().iter().map(|asked| asked.is_enforced).collect();
    Checked { answer: answer.map_err(AccountRefusal::code), enforced, metrics: metrics.encode() }
}

#[tokio::test]
async fn a_shared_account_is_refused_where_that_is_enforced_and_told_where_it_is_reported() {
    use OnStoreFailure::{Allow, Deny};
    use OneAccount::{Enforce, Lenient, Off, Report};
    for (mode, id, found, fallback, answer) in [
        (Enforce, "7", Ok(NOTHING), Allow, Ok(vec![])),
        (Enforce, "7", Ok(OTHER), Allow, Err("SHARED_ACCOUNT")),
        (Enforce, "7", Ok(MANY), Deny, Err("SHARED_ACCOUNT")),
        (Enforce, "7", Err(StoreUnavailable), Deny, Err("ACCOUNT_STORE_UNAVAILABLE")),
        (Enforce, "7", Err(StoreUnavailable), Allow, Ok(vec![NOT_CHECKED])),
        (Report, "7", Ok(NOTHING), Deny, Ok(vec![])),
        (Report, "7", Ok(OTHER), Deny, Ok(vec![OTHER_PERSON])),
        (Report, "7", Ok(MANY), Allow, Ok(vec![TOO_MANY_TOKENS])),
        (Report, "7", Err(StoreUnavailable), Deny, Ok(vec![NOT_CHECKED])),
        (Lenient, "7", Ok(OTHER), Allow, Ok(vec![OTHER_PERSON])),
        (Lenient, "", Ok(OTHER), Allow, Ok(vec![NO_USER_ID])),
        (Off, "7", Ok(OTHER), Deny, Ok(vec![])),
    ] {
        let checked = check(mode, id, found, fallback).await;
        assert_eq!(checked.answer, answer, "{mode:?} {found:?} {fallback:?}");
        let asked = if mode == Off || id.is_empty() { vec![] } else { vec![mode == Enforce] };
        assert_eq!(checked.enforced, asked, "{mode:?} {id:?}");
    }
}

#[tokio::test]
async fn a_warning_is_counted_with_what_became_of_the_token() {
    for (mode, outcome) in [(OneAccount::Enforce, "refused"), (OneAccount::Report, "issued")] {
        let metrics = check(mode, "7", Ok(OTHER), OnStoreFailure::Deny).await.metrics;
        let counted: Vec<_> = metrics.lines().filter(|line| line.contains("other_person")).collect();
        assert!(
            matches!(counted[..], [line] if line.contains(outcome) && line.contains("main") && line.ends_with(" 1")),
            "{counted:?}"
        );
    }
}

#[tokio::test]
async fn the_key_of_the_guard_is_not_printed() {
    let metrics = Metrics::default();
    let secret = SharedSecret::parse((*b"8f2b7c1d9e3a4056b8c7d2e1f0a9b3c4").into()).unwrap();
    let store = Arc::new(Told { found: Ok(NOTHING), later: false, asked: Mutex::default() });
    let rules = AccountRules { window: 60, tokens_per_hour: None };
    let accounts = Accounts::new(AccountKey::of_process(&secret), rules, OnStoreFailure::Deny, store, metrics.accounts);
    let printed = format!("{accounts:?}");
    assert!(printed.starts_with("Accounts { rules: ") && !printed.contains("AccountKey"), "{printed}");
}
