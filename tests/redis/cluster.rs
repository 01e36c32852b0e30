//! A cluster of three nodes: every account is on one of them, and the service finds it.

use std::time::Duration;

use futures_util::future::join_all;
use metabase_token_service::domain::account::AccountRules;

use crate::{
    redis_process::{Options, Redis, until},
    replica::{Replica, outcome, request},
    store::{asked, decide, open},
};

/// Three nodes that share all slots.
fn cluster(acl: bool) -> [Redis; 3] {
    let nodes = [(); 3].map(|()| Redis::start(Options { cluster: true, acl, ..Options::default() }));
    for (node, (first, last)) in nodes.iter().zip([(0, 5460), (5461, 10922), (10923, 16383)]) {
        assert_eq!(node.cli(&["CLUSTER", "ADDSLOTSRANGE", &format!("{first}"), &format!("{last}")]), "OK");
    }
    for other in &nodes[1..] {
        assert_eq!(nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string()]), "OK");
    }
    let knows_all = |node: &Redis| {
        let info = node.cli(&["CLUSTER", "INFO"]);
        info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
    };
    until("nodes that know each other", || nodes.iter().all(knows_all));
    nodes
}

fn are_on_all(nodes: &[Redis], accounts: usize) -> bool {
    let counts: Vec<usize> = nodes.iter().map(Redis::accounts).collect();
    counts.iter().all(|count| *count > 0) && counts.iter().sum::<usize>() == accounts
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_kept_on_all_nodes_and_replicas_agree() {
    let nodes = cluster(true);
    let servers: Vec<&Redis> = nodes.iter().collect();
    let more = "cluster = true\non_store_failure = \"deny\"\nbudget = \"1s\"\nrepeats_for = \"0s\"";
    let replicas = [(); 2].map(|()| Replica::start(&servers, "enforce", more));
    for number in 0..60 {
        let email = format!("person{number}@example.com");
        let holder = number % 2;
        let mut client = replicas[holder].client.clone();
        assert_eq!(outcome(client.issue_metabase_token(request("holder", &email)).await), "issued", "{email}");
        for replica in &replicas {
            let mut client = replica.client.clone();
            assert_eq!(outcome(client.issue_metabase_token(request("other", &email)).await), "SHARED_ACCOUNT");
            assert_eq!(outcome(client.issue_metabase_token(request("holder", &email)).await), "issued");
        }
    }
    until("sixty accounts on three nodes", || are_on_all(&nodes, 60));
}

/// A command has one node, so what is asked at once goes separately.
#[tokio::test]
async fn questions_about_accounts_of_all_nodes_can_be_asked_at_once() {
    let nodes = cluster(false);
    let servers: Vec<&Redis> = nodes.iter().collect();
    let store = open(&servers, Duration::from_secs(1)).await;
    let rules = AccountRules { window: 3600, tokens_per_hour: None };
    for (person, is_other) in [(1, false), (2, true), (1, false)] {
        let answers = join_all((0..100).map(|account| decide(&store, asked(account, person, true), rules))).await;
        for (account, found) in answers.into_iter().enumerate() {
            assert_eq!(found.map(|found| found.other_person), Ok(is_other), "{account}, {person}");
        }
    }
    until("a hundred accounts on three nodes", || are_on_all(&nodes, 100));
}
