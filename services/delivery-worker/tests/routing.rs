//! Where mail goes: MX, addresses, null MX, loops, and what DNS does wrong.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod common;

use std::time::{Duration, Instant};

use common::peer::Peer;
use common::{quick, start};
use postrider_testkit::dns::{Fault, RecordType};

#[tokio::test]
async fn exchangers_are_tried_by_preference() {
    let peer = Peer::start(&[]).await;
    let port = peer.address.port();
    let node = start(quick(), |settings| settings.network.port = port).await;
    node.dns.mx("hamburger.edu", 20, "second.hamburger.edu");
    node.dns.mx("hamburger.edu", 10, "first.hamburger.edu");
    node.dns.mx("hamburger.edu", 5, "no-address.hamburger.edu");
    // Nobody listens there.
    node.dns.a("first.hamburger.edu", "127.0.0.77");
    node.dns.a("second.hamburger.edu", "127.0.0.1");
    node.send(node.letter(&["bob@hamburger.edu"])).await;
    peer.wait_for(1).await;
    node.wait_until_empty().await;
    assert!(
        node.steps("delivered")[0]
            .detail
            .starts_with("second.hamburger.edu: ")
    );
}

#[tokio::test]
async fn a_domain_without_mx_is_its_own_exchanger_and_a_literal_is_an_address() {
    let peer = Peer::start(&[]).await;
    let port = peer.address.port();
    let node = start(quick(), |settings| settings.network.port = port).await;
    node.dns.a("hamburger.edu", "127.0.0.1");
    node.send(node.letter(&["bob@hamburger.edu"])).await;
    node.send(node.letter(&["bob@[127.0.0.1]"])).await;
    peer.wait_for(2).await;
    node.wait_until_empty().await;
}

#[tokio::test]
async fn domains_with_the_same_exchangers_share_a_connection() {
    let peer = Peer::start(&[]).await;
    let port = peer.address.port();
    let node = start(quick(), |settings| {
        settings.network.port = port;
        settings.limits.per_destination = 1;
    })
    .await;
    node.dns.a("mx.example", "127.0.0.1");
    for domain in ["a.example", "b.example", "c.example"] {
        node.dns.mx(domain, 10, "mx.example");
        node.send(node.letter(&[&format!("bob@{domain}")])).await;
    }
    peer.wait_for(3).await;
    node.wait_until_empty().await;
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn what_can_never_work_is_told_at_once() {
    let node = start(quick(), |_| {}).await;
    node.dns.mx("null.example", 0, ".");
    node.dns.txt("nothing.example", "neither MX nor address");
    node.dns.mx("loop.example", 10, "mx.crepes.fr");
    node.dns.mx("loop.example", 20, "backup.example");
    node.dns.a("mx.crepes.fr", "127.0.0.1");
    for domain in ["null.example", "nothing.example", "loop.example", "none.example"] {
        node.send(node.letter(&[&format!("bob@{domain}")])).await;
    }
    node.wait_for_step("failed", 4).await;
    node.wait_until_empty().await;
    let mailbox = node.store.mailbox(1);
    assert_eq!(mailbox.len(), 4);
    for status in ["5.1.10", "5.1.2", "5.4.6"] {
        assert!(
            mailbox
                .iter()
                .any(|report| report.contains(&format!("Status: {status}"))),
            "{status} {mailbox:#?}"
        );
    }
}

#[tokio::test]
async fn a_domain_without_ipv6_whose_other_addresses_cannot_be_looked_up_is_not_given_up() {
    let node = start(quick(), |_| {}).await;
    node.dns
        .txt("hamburger.edu", "neither MX nor AAAA, and A is not known now");
    node.dns
        .fault_of_kind("hamburger.edu", RecordType::A, Fault::ServerFailure);
    node.send(node.letter(&["bob@hamburger.edu"])).await;
    let deferred = node.wait_for_step("deferred", 1).await;
    assert!(deferred[0].detail.contains("4.4.3"), "{deferred:#?}");
    assert!(node.steps("failed").is_empty());
}

#[tokio::test]
async fn what_dns_cannot_say_now_is_asked_again() {
    let peer = Peer::start(&[]).await;
    let port = peer.address.port();
    let node = start(quick(), |settings| settings.network.port = port).await;
    node.dns.a("mx.example", "127.0.0.1");
    node.dns.mx("broken.example", 10, "mx.example");
    node.dns.fault("broken.example", Fault::ServerFailure);
    let begun = Instant::now();
    node.send(node.letter(&["bob@broken.example"])).await;
    node.wait_for_step("deferred", 1).await;
    assert!(
        node.steps("deferred")[0].detail.contains("4.4.3"),
        "{:#?}",
        node.steps("deferred")
    );
    node.dns.mend("broken.example");
    peer.wait_for(1).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    node.wait_until_empty().await;
    assert!(node.store.mailbox(1).is_empty());
}
