//! A Redis cluster of three nodes.

use std::process::Command;

use super::*;
use crate::suite;

const OPTIONS: [&str; 6] = [
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "1000",
    "--cluster-require-full-coverage",
    "no",
];

/// Three nodes that share the slots.
fn start() -> Vec<Server> {
    let nodes: Vec<Server> = (0..3).map(|_| Server::start(&OPTIONS)).collect();
    let addresses = nodes.iter().map(|node| node.address().to_string());
    let made = Command::new("timeout")
        .args(["30", "redis-cli", "--cluster", "create"])
        .args(addresses)
        .args(["--cluster-replicas", "0", "--cluster-yes"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stdout);
    assert!(made.status.success(), "{said}");
    nodes
}

fn url(nodes: &[Server]) -> String {
    let addresses: Vec<String> = nodes.iter().map(|node| node.address().to_string()).collect();
    format!("redis-cluster://{}", addresses.join(","))
}

async fn opened(nodes: &[Server]) -> (Redis, Redis) {
    let config = with_own_keys(&url(nodes));
    // The nodes agree a moment after they were told to.
    until("the cluster is in order", async || {
        nodes
            .iter()
            .all(|node| node.say(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
    })
    .await;
    (open(config.clone()).await, open(config).await)
}

#[tokio::test]
async fn the_contract_holds_in_a_cluster() {
    let nodes = start();
    let (redis, other) = opened(&nodes).await;
    suite::announcements_reach_every_listener(&redis).await;
    suite::announcements_before_listening_are_not_heard(&redis).await;
    suite::counts_add_up(&redis).await;
    suite::counts_forget_when_their_window_ends(&redis).await;
    suite::a_window_begins_with_its_first_addition(&redis).await;
    suite::keys_do_not_touch_each_other(&redis).await;
    suite::additions_at_the_same_time_all_count(&redis).await;
    suite::a_lease_has_one_holder(&redis).await;
    suite::a_lease_given_back_is_free(&redis).await;
    suite::a_lease_that_ended_is_free_and_its_token_worthless(&redis).await;
    suite::a_renewed_lease_lasts(&redis).await;
    suite::tokens_rise(&redis).await;
    suite::of_many_takers_one_wins(&redis).await;

    let mut hints = other.listen().await;
    redis.announce(AccountId::new(7), Version(9)).await;
    let expected = Some((AccountId::new(7), Version(9)));
    until("heard across the cluster", async || {
        hints.next().await.unwrap() == expected
    })
    .await;
}

#[tokio::test]
async fn keys_of_other_nodes_live_on_when_one_is_lost() {
    let mut nodes = start();
    let (redis, _other) = opened(&nodes).await;
    let keys: Vec<String> = (0..60).map(|number| number.to_string()).collect();
    let count = async || {
        let counted = futures::future::join_all(keys.iter().map(|key| redis.add(key, 1, LONG))).await;
        counted.iter().filter(|count| count.is_ok()).count()
    };
    assert_eq!(count().await, 60);
    nodes[2].kill();
    until("two thirds of the keys", async || count().await >= 30).await;
    nodes[2].start_again();
    until("all keys", async || count().await == 60).await;
}
