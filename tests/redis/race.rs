//! Many clients, two people, one address, two replicas: one person gets it, whoever asks whom.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use crate::{
    redis_process::{Options, Redis},
    replica::{Replica, outcome, request},
};

const ADDRESSES: usize = 50;
const CLIENTS: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_people_wins_on_every_replica_every_time() {
    let redis = Redis::start(Options { tls: true, acl: true, ..Options::default() });
    // A budget that a busy machine keeps, too: whether a call is late is not the question here.
    let more = "on_store_failure = \"deny\"\nbudget = \"1s\"";
    let replicas = [(); 2].map(|()| Replica::start(&[&redis], "enforce", more));
    let mut winners = BTreeSet::new();
    for address in 0..ADDRESSES {
        let email = format!("race{address}@example.com");
        let mut calls = JoinSet::new();
        for client in 0..CLIENTS {
            let mut own = replicas[client % 2].client.clone();
            // Each is the first to ask for every other address: who is first wins more often than not.
            let person = if (client / 2 + address) % 2 == 0 { "one" } else { "other" };
            let request = request(person, &email);
            calls.spawn(async move { (client % 2, person, outcome(own.issue_metabase_token(request).await)) });
        }
        let outcomes = calls.join_all().await;
        let issued: BTreeSet<&str> = outcomes.iter().filter(|one| one.2 == "issued").map(|one| one.1).collect();
        assert_eq!(issued.len(), 1, "{email}: {outcomes:?}");
        let winner = *issued.first().unwrap();
        for (replica, person, outcome) in &outcomes {
            let expected = if *person == winner { "issued" } else { "SHARED_ACCOUNT" };
            assert_eq!(outcome, expected, "{email}: {person} at replica {replica}");
        }
        // And it stays so, for both replicas.
        for replica in &replicas {
            let loser = if winner == "one" { "other" } else { "one" };
            let mut client = replica.client.clone();
            assert_eq!(outcome(client.issue_metabase_token(request(winner, &email)).await), "issued");
            assert_eq!(outcome(client.issue_metabase_token(request(loser, &email)).await), "SHARED_ACCOUNT");
        }
        winners.insert(winner);
    }
    assert_eq!(winners.len(), 2, "both have won");
    for replica in replicas {
        assert_eq!(replica.metric("account_store_calls_total{outcome=\"failed\"}"), 0);
        // What was asked twice in a moment was not always asked of Redis.
        assert!(replica.metric("account_store_calls_total{outcome=\"cached\"}") > 0);
        replica.end();
    }
    // The keys are those that docs/accounts.md shows, and hold nothing but hashes.
    let keys = redis.cli(&["KEYS", "*"]);
    let lives = |key: &str| redis.cli(&["TTL", key]).parse::<i64>().unwrap();
    // What the replicas asked at their start, of accounts that nobody has, is gone after a second, which may not be over.
    let keys: Vec<_> = keys.lines().filter(|key| lives(key) > 1).collect();
    assert_eq!(keys.len(), ADDRESSES, "{keys:?}");
    for key in keys {
        assert!(key.starts_with("mts:account:2:") && key.len() == 46, "{key}");
        assert_eq!((redis.cli(&["TYPE", key]), redis.cli(&["STRLEN", key])), ("string".to_owned(), "32".to_owned()));
        assert!((86_000..=86_400).contains(&lives(key)), "{key}: {}", lives(key));
    }
}
