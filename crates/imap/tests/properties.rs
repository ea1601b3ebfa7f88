//! What must hold whatever arrives.

mod support;

use bytes::BytesMut;
use postrider_imap::session::Config;
use postrider_imap::{Client, Command, Session};
use postrider_wire::{Session as _, Step};
use proptest::prelude::*;
use support::strategies::{command, search_key};
use support::{Account, Owner, encode};

proptest! {
    #[test]
    fn commands_survive_the_wire(command in command(), utf8: bool) {
        let wire = encode(&command, utf8);
        prop_assert_eq!(Command::parse(&wire, utf8), Ok(command), "{}", String::from_utf8_lossy(&wire));
    }

    #[test]
    fn search_keys_survive_the_wire(key in search_key()) {
        let command = Command::Search(postrider_imap::command::Search { uid: false, returns: None, key });
        let wire = encode(&command, false);
        prop_assert_eq!(Command::parse(&wire, false), Ok(command), "{}", String::from_utf8_lossy(&wire));
    }

    #[test]
    fn a_cut_command_is_refused_and_not_more(command in command(), at: prop::sample::Index) {
        let wire = encode(&command, false);
        let _ = Command::parse(&wire[..at.index(wire.len())], false);
    }
}

/// Pieces that lead deep into the session, and such that lead nowhere.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    const KNOWN: &[&str] = &[
        "a LOGIN bob hungry\r\n",
        "b SELECT INBOX\r\n",
        "c IDLE\r\n",
        "DONE\r\n",
        "d FETCH 1:* (FLAGS BODY[])\r\n",
        "e APPEND INBOX (\\Seen) {5+}\r\nabcde",
        "e APPEND {5}\r\nINBOX {5}\r\n",
        " {3+}\r\nabc",
        "\r\n",
        "f AUTHENTICATE PLAIN\r\n",
        "AGJvYgBodW5ncnk=\r\n",
        "g SEARCH OR ((ALL)) NOT {3+}\r\nALL\r\n",
        "h LOGIN {3}\r\n",
        "{70000+}\r\n",
        "{4+}\r\n",
        "~{2}\r\n",
        "i UID STORE 1:* +FLAGS (\\Deleted)\r\n",
        "j EXPUNGE\r\n",
        "k ENABLE QRESYNC\r\n",
        "l LOGIN x y\r\n",
        "m MOVE 1 Saved\r\n",
        "\n",
        "\r",
        "n UID FETCH 1 BODY[]<0.5>\r\n",
        "o SELECT INBOX (QRESYNC (3857529045 1 1:9 (1 1)))\r\n",
    ];
    prop_oneof![
        6 => proptest::sample::select(KNOWN).prop_map(|text| text.as_bytes().to_vec()),
        2 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => (0..150_000usize).prop_map(|length| vec![b'x'; length]),
        1 => "[a-z(){}*%\"\\\\ 0-9+:,$\r\n]{0,30}".prop_map(String::into_bytes),
    ]
}

fn owner() -> Owner {
    Owner::new(
        Config {
            append_limit: 100_000,
            ..Config::default()
        },
        Account::textbook(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_input_harms_and_no_cut_matters(pieces in proptest::collection::vec(piece(), 0..12), cuts in proptest::collection::vec(1..5000usize, 1..10)) {
        let input = pieces.concat();
        let mut whole = owner();
        let mut expected = whole.run();
        expected.extend_from_slice(&whole.hear(&input));
        let mut cut = owner();
        let mut said = cut.run();
        let (mut rest, mut turn) = (&input[..], 0);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts[turn % cuts.len()].min(rest.len()));
            turn += 1;
            rest = later;
            said.extend_from_slice(&cut.hear(now));
            if matches!(cut.last, Some(Step::Close)) {
                break;
            }
            // A piece of ours is at most 5,000 octets: whatever stays behind must fit with the next one.
            prop_assert!(cut.unread() <= Session::MAX_BUFFERED, "{} octets kept", cut.unread());
        }
        prop_assert_eq!(String::from_utf8_lossy(&said), String::from_utf8_lossy(&expected));
    }

    #[test]
    fn no_response_harms_a_client(octets in proptest::collection::vec(any::<u8>(), 0..200), text in "(\\* |a1 |\\+ )?[A-Z0-9 ()\\[\\]{}\"\\\\~\r\n]{0,60}\r\n") {
        for input in [octets, text.into_bytes()] {
            let (mut client, mut output) = (Client::new(), BytesMut::new());
            let mut input = BytesMut::from(&input[..]);
            while let Step::Event(_) = client.step(std::time::Instant::now(), &mut input, &mut output) {}
        }
    }
}

#[test]
fn an_idle_session_is_small() {
    let size = size_of::<Session>();
    println!(
        "a session is {size} bytes, a view {}",
        size_of::<postrider_imap::View>()
    );
    assert!(size <= 128, "{size} bytes");
    assert!(size_of::<postrider_imap::View>() <= 128);
}
