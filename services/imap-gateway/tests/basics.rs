//! Login, selecting, fetching, appending, flags.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::*;

#[tokio::test]
async fn a_letter_is_found_and_read() {
    let mut node = Node::start().await;
    node.deliver(&letter("hello", "How about pickles?")).await;
    let mut client = node.login().await;
    let lines = client.ok("SELECT INBOX").await;
    assert!(lines.contains(&"* 1 EXISTS".to_owned()), "{lines:?}");
    let lines = client.ok("FETCH 1 (UID FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY[TEXT])").await;
    println!("{lines:?}");
    let lines = client.ok("SEARCH UNSEEN").await;
    assert_eq!(lines, ["* SEARCH"]);
}
