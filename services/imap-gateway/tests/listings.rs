//! What listings are answered with when it was asked for before.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use postrider_imap_gateway::Settings;
use support::*;

/// More than one block.
const MESSAGES: usize = 150;

async fn filled(listing_cache_bytes: u64) -> Node {
    let settings = Settings {
        listing_cache_bytes,
        ..Settings::default()
    };
    let mut node = Node::with(settings, 0, ([127, 0, 0, 1], 0).into()).await;
    for number in 0..MESSAGES {
        let subject = match number {
            7 => "=?utf-8?q?Cr=C3=AApes?=".to_owned(),
            // The envelopes of these are too much for one block.
            70..95 => format!("{:x>8000}", "long"),
            _ => format!("Number {number}"),
        };
        node.deliver(&letter(&subject, "text")).await;
    }
    node
}

#[tokio::test]
async fn a_second_listing_says_the_same_and_asks_for_nothing_but_flags() {
    let node = filled(32 << 20).await;
    let mut client = node.inbox().await;
    let items = "(UID ENVELOPE INTERNALDATE RFC822.SIZE)";
    // In pieces first, so that blocks come to be bit by bit; the last of the long ones are told and never kept.
    let mut told = client.ok(&format!("FETCH 1:10 {items}")).await;
    told.extend(client.ok(&format!("FETCH 11:70 {items}")).await);
    let long = client.ok(&format!("FETCH 71:95 {items}")).await;
    let behind = client.ok(&format!("FETCH 129:* {items}")).await;
    assert_eq!((told.len(), long.len(), behind.len()), (70, 25, 22));
    for _ in 0..2 {
        let all = client.ok(&format!("FETCH 1:* {items}")).await;
        assert_eq!(all.len(), MESSAGES);
        assert_eq!(all[..70], told[..]);
        assert_eq!(all[70..95], long[..]);
        assert_eq!(all[128..], behind[..]);
    }
    let mut other = node.inbox().await;
    other.ok("STORE 3 +FLAGS.SILENT (\\Flagged $Work)").await;
    let lines = client.ok("FETCH 2:3 (FLAGS ENVELOPE)").await;
    let flags: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains(" FETCH (FLAGS ("))
        .collect();
    assert!(flags[0].starts_with("* 2 FETCH (FLAGS ("), "{flags:?}");
    assert!(
        flags[1].starts_with("* 3 FETCH (FLAGS (\\Flagged") && flags[1].contains(" $Work) ENVELOPE (\""),
        "{flags:?}"
    );
    node.engine.crash();
    assert_eq!(client.ok(&format!("FETCH 1:70 {items}")).await, told);
    assert_eq!(client.ok(&format!("UID FETCH 129:* {items}")).await, behind);
    assert!(
        client
            .no("FETCH 1 (FLAGS ENVELOPE)")
            .await
            .contains("UNAVAILABLE")
    );
    assert!(client.no("FETCH 95 ENVELOPE").await.contains("UNAVAILABLE"));
    node.engine.restart();
}

#[tokio::test]
async fn each_client_is_told_in_its_own_syntax() {
    let node = filled(32 << 20).await;
    let mut old = node.inbox().await;
    let mut new = node.login().await;
    new.ok("ENABLE IMAP4rev2").await;
    new.ok("SELECT INBOX").await;
    let (first, second) = (old.ok("FETCH 8 ENVELOPE").await, new.ok("FETCH 8 ENVELOPE").await);
    assert_eq!(old.ok("FETCH 8 ENVELOPE").await, first);
    assert_eq!(new.ok("FETCH 8 ENVELOPE").await, second);
}

#[tokio::test]
async fn nothing_is_kept_where_nothing_may_be() {
    let node = filled(0).await;
    let mut client = node.inbox().await;
    let first = client.ok("FETCH 1:* ENVELOPE").await;
    assert_eq!(client.ok("FETCH 1:* ENVELOPE").await, first);
    // A message that another has removed is not told of, once that is known.
    let mut other = node.inbox().await;
    other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").await;
    other.ok("EXPUNGE").await;
    client.ok("NOOP").await;
    assert_eq!(client.ok("FETCH 1:2 ENVELOPE").await.len(), 2);
}
