//! Redis is stopped, killed and started again under load: what was declared happens, in time, and it recovers by itself.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    redis_process::{Options, Redis},
    replica::{Replica, outcome, request},
};

const CLIENTS: usize = 16;
/// For a call that waits for the budget of 50 ms, on a machine that does much else. Without the budget it is a second at least, after
/// which the client library gives up.
const LESS_THAN_WITHOUT_A_BUDGET: Duration = Duration::from_millis(900);
/// Calls that fail before Redis is given up, after 250 ms of nothing else: some five of each client, and one more on its way. Without
/// giving up, every client goes on to wait, until a heartbeat fails after a second or two.
const FAILURES: u64 = 10 * CLIENTS as u64;

/// How often what came of a request, and how long each took.
type Seen = (BTreeMap<String, usize>, Vec<Duration>);

/// Asks without pause, each time for another person, and counts what happens.
struct Load {
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Seen>>,
}

impl Load {
    fn start(replica: &Replica) -> Self {
        let (is_over, next) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let clients = (0..CLIENTS).map(|_| {
            let (mut client, is_over, next) = (replica.client.clone(), Arc::clone(&is_over), Arc::clone(&next));
            tokio::spawn(async move {
                let (mut outcomes, mut took) = (BTreeMap::new(), Vec::new());
                while !is_over.load(Ordering::Relaxed) {
                    let person = next.fetch_add(1, Ordering::Relaxed);
                    let request = request(&person.to_string(), &format!("person{person}@example.com"));
                    let began = Instant::now();
                    let outcome = outcome(client.issue_metabase_token(request).await);
                    took.push(began.elapsed());
                    *outcomes.entry(outcome).or_insert(0) += 1;
                }
                (outcomes, took)
            })
        });
        Self { clients: clients.collect(), is_over }
    }

    async fn end(self) -> Seen {
        self.is_over.store(true, Ordering::Relaxed);
        let (mut all, mut took) = (BTreeMap::new(), Vec::new());
        for client in self.clients {
            let (outcomes, own) = client.await.unwrap();
            for (outcome, count) in outcomes {
                *all.entry(outcome).or_insert(0) += count;
            }
            took.extend(own);
        }
        took.sort_unstable();
        (all, took)
    }
}

async fn wait_until(replica: &Replica, failing: u64) {
    let is_told = async {
        while replica.metric("account_store_failing") != failing {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(Duration::from_mins(1), is_told).await.is_ok(), "account_store_failing never becomes {failing}");
}

async fn go_through(outage: &str, mode: &str, on_store_failure: &str, meanwhile: &str, audited: &str) {
    let mut redis = Redis::start(Options { tls: true, acl: true, ..Options::default() });
    let replica = Replica::start(&[&redis], mode, &format!("on_store_failure = \"{on_store_failure}\""));
    let mut own = replica.client.clone();
    assert_eq!(outcome(own.issue_metabase_token(request("1", "holder@example.com")).await), "issued");
    let load = Load::start(&replica);
    sleep(Duration::from_millis(300)).await;
    match outage {
        "paused" => redis.signal("-STOP"),
        _ => redis.kill(),
    }
    wait_until(&replica, 1).await;
    let failed = replica.metric("account_store_calls_total{outcome=\"failed\"}");
    assert!((1..=FAILURES).contains(&failed), "{failed} calls failed");
    // Nobody is asked any more, so nobody waits: what was declared, for a while.
    for number in 0..50 {
        let request = request("1", &format!("meanwhile{number}@example.com"));
        assert_eq!(outcome(own.issue_metabase_token(request).await), meanwhile, "{outage}, {mode}");
    }
    sleep(Duration::from_millis(700)).await;
    match outage {
        "paused" => redis.signal("-CONT"),
        _ => redis.start_again(),
    }
    wait_until(&replica, 0).await;
    sleep(Duration::from_millis(300)).await;
    let (outcomes, took) = load.end().await;
    let (last, median) = (took[took.len() - 1], took[took.len() / 2]);
    let late = took[took.len() * 999 / 1000];
    println!("{outage}, {mode}, {on_store_failure}: {outcomes:?}; median {median:?}, 99.9% {late:?}, longest {last:?}");
    assert_eq!(outcomes.keys().map(String::as_str).collect::<Vec<_>>(), {
        let mut expected = [meanwhile, "issued"];
        expected.sort_unstable();
        expected
    });
    assert!(last < LESS_THAN_WITHOUT_A_BUDGET, "a call took {last:?}");
    // It has recovered: new bindings are made and kept; those of before the pause are still there.
    let mut is = async |id: &str, email: &str| outcome(own.issue_metabase_token(request(id, email)).await);
    assert_eq!(is("1", "after@example.com").await, "issued");
    let shared = if mode == "enforce" { "SHARED_ACCOUNT" } else { "issued, SHARED_ACCOUNT" };
    assert_eq!(is("2", "after@example.com").await, shared);
    assert_eq!(is("2", "holder@example.com").await, if outage == "paused" { shared } else { "issued" });
    assert!(replica.audited(audited) >= 50, "{audited}");
    let log = replica.end();
    assert!(
        log.contains("The account store cannot be asked")
            && log.contains(&format!("on_store_failure=\"{on_store_failure}\"")),
        "{log}"
    );
    assert!(!log.contains(crate::redis_process::PASSWORD), "{log}");
}

const ISSUED_UNCHECKED: &str = "\"account_warnings\":[\"not_checked\"]";
const REFUSED: &str = "\"reason\":\"ACCOUNT_STORE_UNAVAILABLE\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_redis_refuses_where_deny_is_declared() {
    go_through("paused", "enforce", "deny", "ACCOUNT_STORE_UNAVAILABLE", REFUSED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_redis_issues_where_allow_is_declared() {
    go_through("paused", "enforce", "allow", "issued, ACCOUNT_NOT_CHECKED", ISSUED_UNCHECKED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_refuses_where_deny_is_declared() {
    go_through("killed", "enforce", "deny", "ACCOUNT_STORE_UNAVAILABLE", REFUSED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_issues_where_allow_is_declared() {
    go_through("killed", "enforce", "allow", "issued, ACCOUNT_NOT_CHECKED", ISSUED_UNCHECKED).await;
}

/// Who refuses nobody for a shared account refuses nobody for not knowing.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_reports_issues_whatever_is_declared() {
    go_through("killed", "report", "deny", "issued, ACCOUNT_NOT_CHECKED", ISSUED_UNCHECKED).await;
}

/// It lives, and whoever only reads takes it for a good one.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_takes_no_writes_is_not_asked_until_it_does() {
    let redis = Redis::start(Options::default());
    let replica = Replica::start(&[&redis], "enforce", "on_store_failure = \"deny\"");
    let mut client = replica.client.clone();
    let mut number = 0;
    let mut ask = async || {
        number += 1;
        let request = request("1", &format!("person{number}@example.com"));
        outcome(client.issue_metabase_token(request).await)
    };
    for (broken, mended) in [
        (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]),
        (["CONFIG", "SET", "min-replicas-to-write", "1"], ["CONFIG", "SET", "min-replicas-to-write", "0"]),
        (["ACL", "SETUSER", "default", "-evalsha"], ["ACL", "SETUSER", "default", "+evalsha"]),
    ] {
        assert_eq!(ask().await, "issued");
        assert_eq!(redis.cli(&broken), "OK");
        while replica.metric("account_store_failing") == 0 {
            assert_eq!(ask().await, "ACCOUNT_STORE_UNAVAILABLE", "{broken:?}");
        }
        // Nothing that is asked meanwhile makes it look well.
        for _ in 0..100 {
            assert_eq!(ask().await, "ACCOUNT_STORE_UNAVAILABLE", "{broken:?}");
            assert_eq!(replica.metric("account_store_failing"), 1, "{broken:?}");
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(redis.cli(&mended), "OK");
        wait_until(&replica, 0).await;
    }
    assert_eq!(ask().await, "issued");
    let log = replica.end();
    let told = |text| log.matches(text).count();
    assert_eq!((told("The account store cannot be asked"), told("The account store can be asked")), (3, 4), "{log}");
}

/// It would fail only where somebody else holds an account.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_is_missed_before_it_is_needed() {
    let redis = Redis::start(Options::default());
    assert_eq!(redis.cli(&["ACL", "SETUSER", "default", "-pexpire"]), "OK");
    let replica = Replica::start(&[&redis], "enforce", "on_store_failure = \"deny\"");
    let mut client = replica.client.clone();
    let answer = client.issue_metabase_token(request("1", "ada@example.com")).await;
    assert_eq!(outcome(answer), "ACCOUNT_STORE_UNAVAILABLE");
    assert_eq!(redis.cli(&["ACL", "SETUSER", "default", "+pexpire"]), "OK");
    wait_until(&replica, 0).await;
    assert_eq!(outcome(client.issue_metabase_token(request("1", "ada@example.com")).await), "issued");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_starts_before_its_redis_recovers_without_a_restart() {
    let mut redis = Redis::start(Options::default());
    redis.kill();
    let replica = Replica::start(&[&redis], "enforce", "on_store_failure = \"deny\"");
    let mut client = replica.client.clone();
    let answer = client.issue_metabase_token(request("1", "ada@example.com")).await;
    assert_eq!(outcome(answer), "ACCOUNT_STORE_UNAVAILABLE");
    redis.start_again();
    wait_until(&replica, 0).await;
    assert_eq!(outcome(client.issue_metabase_token(request("1", "ada@example.com")).await), "issued");
    // Nobody asks while it dies and comes back: the heartbeat notices.
    redis.kill();
    wait_until(&replica, 1).await;
    redis.start_again();
    wait_until(&replica, 0).await;
    assert_eq!(outcome(client.issue_metabase_token(request("2", "eve@example.com")).await), "issued");
}
