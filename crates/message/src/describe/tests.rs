use proptest::prelude::*;

use super::*;
use crate::{Kind, Summary};

/// `type/subtype header..body..end lines` of each part, indented by level.
fn outline(message: &[u8]) -> Vec<String> {
    fn add(part: &Part, depth: usize, out: &mut Vec<String>) {
        let indent = "  ".repeat(depth);
        let Part {
            header_start,
            body_start,
            body_end,
            lines,
            ..
        } = part;
        let (kind, subtype) = (&part.media_type, &part.subtype);
        out.push(format!(
            "{indent}{kind}/{subtype} {header_start}..{body_start}..{body_end} {lines}"
        ));
        part.children.iter().for_each(|child| add(child, depth + 1, out));
    }
    let mut out = Vec::new();
    add(&describe(message).structure, 0, &mut out);
    out
}

fn body_of<'a>(message: &'a [u8], path: &[u32]) -> &'a str {
    let part = describe(message).part(path).unwrap().body_range();
    std::str::from_utf8(crate::slice(message, part)).unwrap()
}

#[test]
fn a_letter() {
    let letter = b"From: Alice <alice@crepes.fr>\r\nTo: bob@hamburger.edu\r\nSubject: Searching for the\r\n meaning of life.\r\n\
        Message-ID: <1@crepes.fr>\r\nIn-Reply-To: <0@crepes.fr>\r\nReferences: <a@b> <0@crepes.fr>\r\n\r\n\
        Do you like ketchup?\r\nHow about pickles?\r\n";
    let description = describe(letter);
    let envelope = &description.envelope;
    assert_eq!(
        envelope.subject.as_deref(),
        Some("Searching for the meaning of life.")
    );
    assert_eq!(envelope.from[0].name.as_deref(), Some("Alice"));
    assert_eq!(
        envelope.sender_or_from()[0].address().as_deref(),
        Some("alice@crepes.fr")
    );
    assert_eq!(envelope.in_reply_to.as_deref(), Some("<0@crepes.fr>"));
    assert_eq!(description.message_id, "1@crepes.fr");
    assert_eq!(description.references, ["a@b", "0@crepes.fr"]);
    assert_eq!(description.preview, "Do you like ketchup? How about pickles?");
    assert_eq!(description.size, letter.len() as u64);
    assert_eq!(description.structure.lines, 2);
    assert_eq!(description.structure.charset(), "us-ascii");
    assert_eq!(
        description.facts,
        Facts {
            lines: 10,
            ..Facts::default()
        }
    );
}

#[test]
fn a_letter_typed_without_header() {
    assert_eq!(
        outline(b"Received: x\r\nDo you like ketchup?\r\nHow: so\r\n"),
        ["text/plain 0..13..44 2"]
    );
    assert_eq!(describe(b"How about pickles?").preview, "How about pickles?");
    assert_eq!(outline(b""), ["text/plain 0..0..0 0"]);
    assert_eq!(outline(b"A: b"), ["text/plain 0..4..4 0"]);
    assert_eq!(outline(b"\r\n"), ["text/plain 0..2..2 0"]);
}

#[test]
fn the_multipart_of_the_standard() {
    // RFC 2046 §5.1.1
    let message = b"From: Nathaniel Borenstein <nsb@bellcore.com>\r\nMIME-Version: 1.0\r\n\
        Content-type: multipart/mixed; boundary=\"simple boundary\"\r\n\r\n\
        This is the preamble.  It is to be ignored.\r\n\r\n--simple boundary\r\n\r\n\
        This is implicitly typed plain US-ASCII text.\r\nIt does NOT end with a linebreak.\r\n--simple boundary\r\n\
        Content-type: text/plain; charset=us-ascii\r\n\r\n\
        This is explicitly typed plain US-ASCII text.\r\nIt DOES end with a linebreak.\r\n\r\n--simple boundary--\r\n\r\n\
        This is the epilogue.  It is also to be ignored.\r\n";
    assert!(body_of(message, &[1]).ends_with("NOT end with a linebreak."));
    assert!(body_of(message, &[2]).ends_with("DOES end with a linebreak.\r\n"));
    let structure = describe(message).structure;
    assert_eq!((structure.children[0].lines, structure.children[1].lines), (2, 2));
    assert!(describe(message).preview.starts_with("This is implicitly"));
}

#[test]
fn messages_in_messages() {
    let message =
        b"Content-Type: message/rfc822\n\nSubject: in\nContent-Type: multipart/digest; boundary=x\n\n\
        --x\n\nSubject: a\n\none\n--x\nContent-Type: text/plain\n\ntwo\n--x--\n";
    assert_eq!(
        outline(message),
        [
            "message/rfc822 0..30..147 13",
            "  multipart/digest 30..86..147 10",
            "    message/rfc822 90..91..106 3",
            "      text/plain 91..103..106 1",
            "    text/plain 111..137..140 1",
        ]
    );
    let description = describe(message);
    assert_eq!(
        description.structure.envelope.unwrap().subject.as_deref(),
        Some("in")
    );
}

#[test]
fn boundaries_that_begin_alike_and_are_not_closed() {
    let message =
        b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=ab\n\n\
        --ab\n\nx\n--abc\n--a b\n--ab \t\n\ny\n--a\n\nz\n-\n--\n--a--more\n--a";
    let root = describe(message).structure;
    assert_eq!(root.children.len(), 3);
    assert_eq!(body_of(message, &[1, 1]), "x\n--abc\n--a b");
    assert_eq!(body_of(message, &[1, 2]), "y");
    assert_eq!(body_of(message, &[2]), "z\n-\n--\n--a--more");
    assert_eq!(body_of(message, &[3]), "");
}

#[test]
fn parts_without_body_or_header_end() {
    let message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b\r\nContent-Type: text/html\r\n--b\r\n\r\n--b\r\n\
        Content-Type: message/rfc822\r\n--b--";
    let root = describe(message).structure;
    let types: Vec<_> = root
        .children
        .iter()
        .map(|part| (part.subtype.as_str(), part.size(), part.kind()))
        .collect();
    let inner =
        b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n\nA: b\n\n--a--";
    assert_eq!(
        outline(inner)[1..],
        ["  message/rfc822 47..77..83 2", "    text/plain 77..83..83 0"]
    );
    assert_eq!(
        types,
        [
            ("plain", 0, Kind::Text),
            ("html", 0, Kind::Text),
            ("plain", 0, Kind::Text),
            ("rfc822", 0, Kind::Message)
        ]
    );
}

#[test]
fn what_cannot_be_looked_into_is_a_leaf() {
    for header in [
        "Content-Type: multipart/mixed",
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64",
        "Content-Type: multipart/mixed; boundary=\"\"",
    ] {
        let root = describe(format!("{header}\r\n\r\n--x\r\n").as_bytes()).structure;
        assert_eq!(root.kind(), Kind::Other);
        assert_eq!(root.shown_type(), ("application", "octet-stream"));
    }
    for header in ["Content-Type: text", "Content-Type: /plain", "Content-Type:"] {
        let root = describe(format!("{header}\r\n\r\n").as_bytes()).structure;
        assert_eq!(
            (root.media_type.as_str(), root.subtype.as_str()),
            ("text", "plain")
        );
    }
}

#[test]
fn all_that_bodystructure_tells() {
    let message = b"Content-Type: Image/PNG; Name=\"a b.png\"\r\nContent-Transfer-Encoding: BASE64\r\nContent-ID: <c@d>\r\n\
        Content-Description: a =?utf-8?q?caf=C3=A9?=\r\nContent-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r\n\
        Content-Disposition: ATTACHMENT; filename*0*=utf-8''%c3%a9; filename*1=.png\r\nContent-Language: en, fr\r\n\
        Content-Location: http://x/y\r\n\r\nAAAA\r\n";
    let part = describe(message).structure;
    assert_eq!(
        (
            part.media_type.as_str(),
            part.subtype.as_str(),
            part.encoding.as_str()
        ),
        ("image", "png", "base64")
    );
    assert_eq!(
        part.params,
        [crate::Param {
            name: "name".into(),
            value: "a b.png".into()
        }]
    );
    assert_eq!(part.id.as_deref(), Some("<c@d>"));
    assert_eq!(part.description.as_deref(), Some("a =?utf-8?q?caf=C3=A9?="));
    assert_eq!(part.md5.as_deref(), Some("Q2hlY2sgSW50ZWdyaXR5IQ=="));
    assert_eq!(part.disposition.as_ref().unwrap().kind, "attachment");
    assert_eq!(
        part.disposition.as_ref().unwrap().params[0].value,
        "utf-8''%c3%a9.png"
    );
    assert_eq!(part.filename().as_deref(), Some("é.png"));
    assert_eq!(part.language, ["en", "fr"]);
    assert_eq!(part.location.as_deref(), Some("http://x/y"));
    assert!(part.is_attachment());
}

#[test]
fn facts_about_octets() {
    let facts = |message: &[u8]| describe(message).facts;
    assert!(facts(b"A: \xff\r\n\r\nb").eight_bit_header && !facts(b"A: \xff\r\n\r\nb").eight_bit_body);
    assert!(facts(b"A: b\r\n\r\n\xff").eight_bit_body && !facts(b"A: b\r\n\r\n\xff").eight_bit_header);
    assert!(facts(b"A: b\r\n\r\n\0").nul && !facts(b"A: b\r\n\r\n").nul);
    assert_eq!(
        facts(b"Received: a\r\nreceived: b\r\n c\r\n\r\nReceived: c").received,
        2
    );
    let line = |length: usize, end: &str| {
        facts(format!("A: b\r\n\r\n{}{end}", "x".repeat(length)).as_bytes()).long_lines
    };
    assert!(!line(998, "\r\n") && line(999, "\r\n") && !line(998, "\n") && line(999, "\n") && line(2000, ""));
    assert!(facts(format!("A: {}\r\n\r\n", "x".repeat(999)).as_bytes()).long_lines);
}

#[test]
fn previews_say_what_is_read() {
    let preview = |message: &[u8]| describe(message).preview;
    assert_eq!(
        preview(b"Content-Type: text/html\r\n\r\n<style>a</style><p>Hi <b>Bob</b>,</p><p>ketchup?"),
        "Hi Bob, ketchup?"
    );
    assert_eq!(preview(b"Content-Transfer-Encoding: base64\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\nY2Fm\r\n6Q=="), "café");
    let blank_first = b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n \r\n--b\r\nContent-Type: text/html\r\n\r\n<i>x\r\n--b--";
    assert_eq!(preview(blank_first), "x");
    assert_eq!(
        preview(format!("\r\n{}", "é ".repeat(9000)).as_bytes())
            .chars()
            .count(),
        255
    );
    assert_eq!(
        preview(format!("\r\n{}", "é".repeat(9000)).as_bytes())
            .chars()
            .count(),
        MAX_PREVIEW_CHARS
    );
}

const MAX_PREVIEW_CHARS: usize = crate::MAX_PREVIEW;

#[test]
fn bombs_stay_small() {
    let parts = format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n{}",
        "--b\r\n\r\nx\r\n".repeat(10_000)
    );
    let description = describe(parts.as_bytes());
    assert_eq!(description.structure.walk().count(), MAX_PARTS);
    assert_eq!(
        description.structure.children.last().unwrap().body_end,
        parts.len() as u64
    );
    assert!(description.facts.cut);

    let levels: String = (0..1000)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"))
        .collect();
    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(1000);
    for bomb in [levels, messages] {
        let description = describe(bomb.as_bytes());
        assert_eq!(description.structure.walk().count(), MAX_DEPTH);
        assert!(description.facts.cut);
        assert_eq!(Description::decode(&description.encode()), Ok(description));
    }

    let header = format!(
        "{}{}\r\nbody",
        "To: a@b, c@d\r\n".repeat(60_000),
        "X: y\r\n".repeat(100)
    );
    let description = describe(header.as_bytes());
    assert_eq!(description.envelope.to.len(), crate::MAX_ADDRESSES);
    assert_eq!(description.structure.size(), 4);
    assert!(description.encode().len() < 100_000);
    let ids: String = (0..5000).map(|n| format!(" <{n}@x>\r\n")).collect();
    let description = describe(format!("References:{ids}\r\n").as_bytes());
    assert_eq!(description.references.len(), crate::MAX_REFERENCES);
    assert_eq!(
        (
            description.references[0].as_str(),
            description.references.last().unwrap().as_str()
        ),
        ("0@x", "4999@x")
    );
}

fn messages() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"--a\r\n".to_vec()),
        Just(b"--ab\n".to_vec()),
        Just(b"--a--\r\n".to_vec()),
        Just(b"-".to_vec()),
        Just(b"Content-Type: multipart/mixed; boundary=a\r\n".to_vec()),
        Just(b"Content-Type: multipart/digest; boundary=ab\r\n\r\n".to_vec()),
        Just(b"Content-Type: message/rfc822\r\n\r\n".to_vec()),
        Just(b"Content-Type: text/html\r\n\r\n".to_vec()),
        Just(b"Content-Transfer-Encoding: quoted-printable\r\n".to_vec()),
        Just(b"Subject: =?utf-8?q?x?=\r\n y\r\n".to_vec()),
        Just(b"From: \"a\" <b@c>, g: x@y;\r\n".to_vec()),
        Just("x".repeat(1100).into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..20),
        "[a-z<>=: ]{0,30}".prop_map(String::into_bytes),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

fn check_offsets(part: &Part, within: std::ops::Range<u64>) {
    assert!(within.start <= part.header_start && part.header_start <= part.body_start);
    assert!(part.body_start <= part.body_end && part.body_end <= within.end);
    let mut from = part.body_start;
    for child in &part.children {
        check_offsets(child, from..part.body_end);
        from = child.body_end;
    }
}

proptest! {
    #[test]
    fn every_part_is_inside_its_parent(message in messages()) {
        let description = describe(&message);
        prop_assert_eq!(description.structure.header_start, 0);
        prop_assert_eq!(description.structure.body_end, message.len() as u64);
        check_offsets(&description.structure, 0..message.len() as u64);
        let newlines = message.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let open = u64::from(message.last().is_some_and(|&byte| byte != b'\n'));
        prop_assert_eq!(description.facts.lines, newlines + open);
        for part in description.structure.walk() {
            let body = crate::slice(&message, part.body_range());
            let lines = body.split_inclusive(|&byte| byte == b'\n').count() as u64;
            prop_assert_eq!(part.lines, lines);
        }
    }

    #[test]
    fn pieces_do_not_matter(message in messages(), cuts in proptest::collection::vec(1..40_usize, 1..20)) {
        let mut describer = Describer::new();
        let mut rest = message.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at(rest.len().min(*cut));
            describer.push(piece);
            rest = behind;
        }
        prop_assert_eq!(describer.finish(), describe(&message));
    }

    #[test]
    fn descriptions_survive_storage(message in messages()) {
        let description = describe(&message);
        let stored = description.encode();
        let summary = Summary::decode(&stored).unwrap();
        prop_assert_eq!(&summary.envelope, &description.envelope);
        prop_assert_eq!(&summary.preview, &description.preview);
        prop_assert_eq!(Description::decode(&stored), Ok(description));
    }

    #[test]
    fn damaged_descriptions_do_not_panic(garbage in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = Description::decode(&garbage);
        let _ = Summary::decode(&[&[1][..], &garbage].concat());
    }
}
