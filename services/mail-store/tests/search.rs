//! Searching, and what it reads.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use harness::*;
use postrider_proto::mailstore::search_key::{Day, Header, Key, Keys, day};
use postrider_proto::mailstore::*;
use postrider_store::memory::{Fault, Operation};
use postrider_types::SystemFlag;

const SEEN: u32 = SystemFlag::Seen as u32;
const DAY: u64 = 86_400_000;

fn key(key: Key) -> SearchKey {
    SearchKey { key: Some(key) }
}

fn not(inner: Key) -> Key {
    Key::Not(Box::new(key(inner)))
}

fn and(keys: Vec<Key>) -> Key {
    Key::And(Keys {
        keys: keys.into_iter().map(key).collect(),
    })
}

fn or(keys: Vec<Key>) -> Key {
    Key::Or(Keys {
        keys: keys.into_iter().map(key).collect(),
    })
}

fn header(name: &str, value: &str) -> Key {
    Key::Header(Header {
        name: name.into(),
        value: value.into(),
    })
}

/// Three letters: ketchup (seen), pickles, mustard; received a day apart.
async fn letters(client: &mut Client) {
    let letters = [
        ("1@a", "Ketchup =?utf-8?q?Caf=C3=A9?=", "tomato"),
        ("2@a", "pickles", "cucumber"),
        ("3@a", "mustard", "Senf tomato"),
    ];
    for (at, (id, subject, body)) in letters.into_iter().enumerate() {
        let mut request = delivery(letter(id, subject, "", body), vec![recipient(7)]);
        request.received = (at as u64 + 10) * DAY + 5;
        client.deliver(request).await.unwrap();
    }
    store(client, 7, INBOX, uids(&[1]), SEEN).await;
}

#[tokio::test]
async fn every_criterion_finds_what_it_means() {
    let (_, mut client) = fresh();
    letters(&mut client).await;
    let rows = list(&mut client, 7, INBOX).await;
    let day = |which: day::Which, relation: day::Relation, day| {
        Key::Day(Day {
            which: which.into(),
            relation: relation.into(),
            day,
        })
    };
    use day::{Relation::*, Which::*};
    let cases = [
        (Key::All(true), vec![1, 2, 3]),
        (Key::Flags(SEEN), vec![1]),
        (not(Key::Flags(SEEN)), vec![2, 3]),
        (Key::Uids(uids(&[2, 3, 4])), vec![2, 3]),
        (Key::Larger(rows[1].size), vec![1, 3]),
        (Key::Smaller(rows[0].size), vec![2, 3]),
        (day(Received, Before, 11), vec![1]),
        (day(Received, On, 11), vec![2]),
        (day(Received, Since, 11), vec![2, 3]),
        // 22 November 2026.
        (day(Sent, On, 20_779), vec![1, 2, 3]),
        (day(Sent, Before, 20_779), vec![]),
        (day(Saved, Since, 20_000), vec![1, 2, 3]),
        (header("Subject", "CAFÉ"), vec![1]),
        (header("message-id", "2@"), vec![2]),
        (header("From", ""), vec![1, 2, 3]),
        (header("X-None", ""), vec![]),
        (Key::Body("TOMATO".into()), vec![1, 3]),
        (Key::Body("ketchup".into()), vec![]),
        (Key::Text("ketchup".into()), vec![1]),
        (Key::Text("hamburger.edu".into()), vec![1, 2, 3]),
        (Key::ModseqAtLeast(rows[2].modseq), vec![1, 3]),
        (Key::YoungerSeconds(60), vec![]),
        (Key::OlderSeconds(60), vec![1, 2, 3]),
        (Key::ContentId(rows[1].content_id.clone()), vec![2]),
        (Key::ThreadId(rows[2].thread_id.clone()), vec![3]),
        (Key::Keyword("$none".into()), vec![]),
        (
            and(vec![Key::Body("tomato".into()), not(Key::Flags(SEEN))]),
            vec![3],
        ),
        (
            or(vec![header("Subject", "pickles"), Key::Flags(SEEN)]),
            vec![1, 2],
        ),
        (
            not(or(vec![
                Key::Body("cucumber".into()),
                header("subject", "mustard"),
            ])),
            vec![1],
        ),
        (and(vec![]), vec![1, 2, 3]),
        (or(vec![]), vec![]),
    ];
    for (key, expected) in cases {
        assert_eq!(
            search(&mut client, 7, INBOX, key.clone()).await,
            expected,
            "{key:?}"
        );
    }
}

#[tokio::test]
async fn the_highest_modseq_is_told_when_it_was_asked_about() {
    let (_, mut client) = fresh();
    letters(&mut client).await;
    let (version, ..) = open(&mut client, 7, INBOX).await;
    let mut request = SearchMessagesRequest {
        account: 7,
        folder: INBOX,
        key: Some(key(Key::ModseqAtLeast(1))),
    };
    assert_eq!(
        client
            .search_messages(request.clone())
            .await
            .unwrap()
            .into_inner()
            .highest_modseq,
        version
    );
    request.key = Some(key(Key::All(true)));
    assert_eq!(
        client
            .search_messages(request)
            .await
            .unwrap()
            .into_inner()
            .highest_modseq,
        0
    );
}

/// What the index can answer reads nothing but the head.
#[tokio::test]
async fn searching_for_flags_reads_no_message() {
    let (engine, mut client) = fresh();
    letters(&mut client).await;
    open(&mut client, 7, INBOX).await;
    // The head is read to know that the cache is current; a second read would fail.
    engine.inject(Operation::Read, Fault::Delay(std::time::Duration::ZERO));
    engine.inject(Operation::Read, Fault::Unavailable);
    let unseen = and(vec![not(Key::Flags(SEEN)), Key::Uids(uids(&[1, 2]))]);
    assert_eq!(search(&mut client, 7, INBOX, unseen).await, [2]);
}

#[tokio::test]
async fn a_long_message_is_searched_to_its_end() {
    let (_, mut client) = fresh();
    let body = format!("{}\r\nneedle in the hay", "hay ".repeat(200_000));
    deliver(&mut client, 7, letter("1@a", "s", "", &body)).await;
    deliver(&mut client, 7, letter("2@a", "s", "", "hay only")).await;
    assert_eq!(
        search(&mut client, 7, INBOX, Key::Body("needle in".into())).await,
        [1]
    );
}

/// More messages than a page has, more bytes than are read at a time, and among them one too long to be read ahead.
#[tokio::test]
async fn messages_read_together_are_told_apart() {
    let (engine, mut client) = fresh();
    for number in 1..=300 {
        let length = if number == 70 { 300_000 } else { 8000 };
        let body = format!("{}\r\nnumber {} of all", "hay ".repeat(length / 4), number % 100);
        let text = letter(
            &format!("{number}@a"),
            "s",
            &format!("<n{}.@a>", number % 50),
            &body,
        );
        deliver(&mut client, 7, text).await;
    }
    for (key, expected) in [
        (Key::Body("number 70 of".into()), vec![70, 170, 270]),
        (Key::Text("NUMBER 1 of".into()), vec![1, 101, 201]),
        (header("References", "n20."), vec![20, 70, 120, 170, 220, 270]),
        (
            and(vec![
                header("References", "n20."),
                Key::Body("number 20 of".into()),
            ]),
            vec![20, 120, 220],
        ),
    ] {
        assert_eq!(search(&mut client, 7, INBOX, key).await, expected);
    }
    // Reading ahead may fail; what has to be read is read again.
    let texts = Key::Body("number 1 of".into());
    for before in 1..6 {
        for _ in 0..before {
            engine.inject(Operation::Read, Fault::Delay(std::time::Duration::ZERO));
        }
        engine.inject(Operation::Read, Fault::Unavailable);
        let mut request = SearchMessagesRequest::default();
        (request.account, request.folder, request.key) = (7, INBOX, Some(key(texts.clone())));
        if let Ok(found) = client.search_messages(request).await {
            let found = postrider_index::UidSet::from_bytes(&found.into_inner().uids).unwrap();
            assert_eq!(found.iter().map(|uid| uid.0).collect::<Vec<_>>(), [1, 101, 201]);
        }
    }
}

/// What an envelope leaves out is looked for in the header.
#[tokio::test]
async fn addresses_are_found_however_they_are_written() {
    let (_, mut client) = fresh();
    for from in [
        "Alice Cook <alice@crepes.fr>",
        "alice@crepes.fr (Alice at home)",
        "=?utf-8?q?Ren=C3=A9?= <rene@crepes.fr>",
        "\"Cook, Bob\" <bob@hamburger.edu>",
    ] {
        let text = format!("From: {from}\r\nTo: bob@hamburger.edu\r\nSubject: s\r\n\r\nb\r\n");
        deliver(&mut client, 7, text.into()).await;
    }
    let finds: [(Key, &[u32]); 10] = [
        (header("From", "ALICE@"), &[1, 2]),
        (header("from", "cook"), &[1, 4]),
        (header("From", "at home"), &[2]),
        (header("From", "ren\u{e9} <r"), &[3]),
        (header("From", "REN\u{c9}"), &[3]),
        (header("From", "cook, bob"), &[4]),
        (not(header("From", "crepes.fr")), &[4]),
        (and(vec![header("From", "alice"), Key::Text("home".into())]), &[2]),
        (or(vec![header("From", "rene"), Key::Larger(1 << 20)]), &[3]),
        (header("Cc", "alice"), &[]),
    ];
    for (wanted, found) in finds {
        let name = format!("{wanted:?}");
        assert_eq!(search(&mut client, 7, INBOX, wanted).await, found, "{name}");
    }
    let with_modseq = and(vec![header("From", "rene"), Key::ModseqAtLeast(1)]);
    assert_eq!(search(&mut client, 7, INBOX, with_modseq).await, [3]);
}
