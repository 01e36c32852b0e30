//! A cluster of three nodes: every account is on one of them, and the service finds it.

use std::time::Duration;

use crate::{
    redis_process::{Options, Redis},
    replica::{Replica, outcome, request},
};

/// Three nodes that share all slots.
fn cluster() -> [Redis; 3] {
    let nodes = [(); 3].map(|()| Redis::start(Options { cluster: true, acl: true, ..Options::default() }));
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
    while !nodes.iter().all(knows_all) {
        std::thread::sleep(Duration::from_millis(20));
    }
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_kept_on_all_nodes_and_replicas_agree() {
    let nodes = cluster();
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
    let sizes: Vec<usize> = nodes.iter().map(|node| node.cli(&["DBSIZE"]).parse().unwrap()).collect();
    assert!(sizes.iter().all(|size| *size > 0) && sizes.iter().sum::<usize>() == 60, "{sizes:?}");
}
