//! Another implementation reads what we write, and we read what it writes.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, too, fail by panicking"
)]

mod support;

use imap_codec::decode::Decoder;
use imap_codec::encode::Encoder;
use imap_codec::{CommandCodec, GreetingCodec, ResponseCodec};
use postrider_imap::Command;
use postrider_imap::command::{FetchItem, List, ListReturn, ListSelect, SearchKey, StatusItem};
use postrider_imap::session::Config;
use postrider_imap::set::{SeqNumber, SeqRange};
use proptest::prelude::*;
use support::strategies::simple_command;
use support::{Account, Owner, encode};

/// What the other implementation knows of. It has no ESEARCH, LIST-EXTENDED, SPECIAL-USE, OBJECTID, PREVIEW, SAVEDATE.
fn is_known(command: &Command) -> bool {
    match command {
        Command::Search(search) => search.returns.is_none() && is_known_key(&search.key),
        Command::Sort(sort) => sort.returns.is_none() && is_known_key(&sort.search),
        Command::Thread(thread) => is_known_key(&thread.search),
        Command::List(list) => *list == plain(list),
        // It sorts and joins the ranges of a set.
        Command::Select(select) => select.qresync.as_ref().is_none_or(|known| {
            let pair = known.seq_match.iter().flat_map(|(numbers, uids)| [numbers, uids]);
            known.known_uids.iter().chain(pair).all(|set| match set.ranges() {
                [
                    SeqRange {
                        first: SeqNumber::Number(first),
                        last: SeqNumber::Number(last),
                    },
                ] => first <= last,
                _ => false,
            })
        }),
        Command::Create(create) => create.special_use.is_empty(),
        Command::Status(status) => status.items.iter().all(|item| {
            !matches!(
                item,
                StatusItem::AppendLimit | StatusItem::MailboxId | StatusItem::Size
            )
        }),
        Command::Fetch(fetch) => fetch.items.iter().all(|item| match item {
            FetchItem::EmailId | FetchItem::ThreadId | FetchItem::SaveDate | FetchItem::Preview { .. } => {
                false
            }
            // Its numbers have 32 bits, and it wants a part for BINARY.
            FetchItem::Section { partial, .. } => {
                partial.is_none_or(|it| it.offset.max(it.count) <= u32::MAX.into())
            }
            FetchItem::Binary { partial, part, .. } => {
                !part.is_empty() && partial.is_none_or(|it| it.offset.max(it.count) <= u32::MAX.into())
            }
            FetchItem::BinarySize(part) => !part.is_empty(),
            _ => true,
        }),
        _ => true,
    }
}

fn plain(list: &List) -> List {
    let patterns = list.patterns.iter().take(1).cloned().collect();
    List {
        select: ListSelect::default(),
        returns: ListReturn::default(),
        extended: false,
        patterns,
        ..list.clone()
    }
}

fn is_known_key(key: &SearchKey) -> bool {
    match key {
        SearchKey::And(keys) => keys.iter().all(is_known_key),
        SearchKey::Or(keys) => is_known_key(&keys.0) && is_known_key(&keys.1),
        SearchKey::Not(key) => is_known_key(key),
        SearchKey::Larger(size) | SearchKey::Smaller(size) => *size <= u32::MAX.into(),
        SearchKey::EmailId(_) | SearchKey::ThreadId(_) | SearchKey::SaveDateSupported => false,
        SearchKey::Date {
            which: postrider_imap::command::DateWhich::Saved,
            ..
        } => false,
        SearchKey::Date { day, .. } => (0..100_000).contains(day),
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 20_000, ..ProptestConfig::with_cases(500) })]

    /// Ours → theirs → ours is what it was.
    #[test]
    fn commands_mean_the_same_to_both(command in simple_command().prop_filter("known to both", is_known)) {
        let wire = encode(&command, false);
        let line = [b"t ", &wire[..], b"\r\n"].concat();
        let theirs = CommandCodec::default().decode(&line);
        let shown = String::from_utf8_lossy(&wire);
        let (rest, theirs) = theirs.map_err(|error| TestCaseError::fail(format!("{shown}: {error:?}")))?;
        prop_assert!(rest.is_empty());
        let back = CommandCodec::default().encode(&theirs).dump();
        let back = back.strip_prefix(b"t ").and_then(|back| back.strip_suffix(b"\r\n")).expect("a command");
        prop_assert_eq!(Command::parse(back, false), Ok(command), "{} / {}", shown, String::from_utf8_lossy(back));
    }
}

#[test]
fn responses_are_understood() {
    let mut owner = Owner::new(Config::default(), Account::textbook());
    let greeting = owner.run();
    let (rest, _) = GreetingCodec::default().decode(&greeting).expect("a greeting");
    assert!(rest.is_empty());
    let dialogue = [
        "a LOGIN bob wrong",
        "b LOGIN bob hungry",
        "c CAPABILITY",
        "d ID NIL",
        "e NAMESPACE",
        "f LIST \"\" *",
        "g LSUB \"\" *",
        "h CREATE Entw&APw-rfe",
        "i STATUS INBOX (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN DELETED)",
        "j GETQUOTAROOT INBOX",
        "k SELECT INBOX",
        "l FETCH 1:* (FLAGS UID INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (To From)])",
        "m FETCH 1 (BODY[]<3.9> RFC822 BODY[2])",
        "n SEARCH SUBJECT pickles",
        "o STORE 1 +FLAGS (\\Deleted $Junk)",
        "p UID COPY 1:2 Saved",
        "q EXPUNGE",
        "r APPEND Saved (\\Seen) {3+}\r\nabc",
        "s ENABLE QRESYNC",
        "t UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)",
        "u MOVE 1 Saved",
        "v SEARCH MODSEQ 1",
        "w IDLE\r\nDONE",
        "x FETCH 99 FLAGS",
        "y SEARCH CHARSET KOI8-R ALL",
        "z LOGOUT",
    ];
    let mut count = 0;
    for line in dialogue {
        let said = owner.hear(format!("{line}\r\n").as_bytes());
        let mut rest = &said[..];
        while !rest.is_empty() {
            let (later, _) = ResponseCodec::default()
                .decode(rest)
                .unwrap_or_else(|error| panic!("{line}: {error:?}: {}", String::from_utf8_lossy(rest)));
            count += 1;
            rest = later;
        }
    }
    assert!(count > 50, "{count}");
}
