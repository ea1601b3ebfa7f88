use proptest::prelude::*;

use super::*;
use crate::{describe, transfer};

fn converted(message: &[u8]) -> String {
    String::from_utf8(convert(message, &describe(message)).unwrap()).unwrap()
}

#[test]
fn a_text_becomes_quoted_printable_or_base64() {
    let letter = "Subject: caf\u{e9}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nIn the café\r\n";
    assert_eq!(
        converted(letter.as_bytes()),
        "Subject: =?utf-8?q?caf=C3=A9?=\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n\r\nIn the caf=C3=A9\r\n"
    );
    assert_eq!(
        converted("MIME-Version: 1.0\r\n\r\n漢字\r\n".as_bytes()),
        "MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n5ryi5a2XDQo=\r\n"
    );
    assert_eq!(
        converted("Do you like the café there?\r\n".as_bytes()),
        "MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nDo you like the caf=C3=A9 there?\r\n"
    );
}

#[test]
fn what_is_7_bit_is_not_touched() {
    let message = "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\npre\n--b\n\none\n--b--\nepilogue";
    assert_eq!(converted(message.as_bytes()), message);
    assert!(!is_needed(&describe(message.as_bytes()).facts));
}

#[test]
fn parts_are_converted_and_containers_relabelled() {
    let message = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\nprä\r\n--b\r\n\
        Content-Type: image/png; name=\"bücher.png\"\r\nContent-Transfer-Encoding: binary\r\n\r\nà\r\n--b\r\n\
        Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: é\r\nFrom: Jörg <j@bücher.example>, \"a, é\": b@c;\r\n\r\n\
        a long enough line é\r\n--b\r\n\r\nplain\r\n--b--\r\n";
    assert_eq!(
        converted(message.as_bytes()),
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 7bit\r\n\r\npr??\r\n--b\r\n\
         Content-Type: image/png;\r\n name*=utf-8''b%C3%BCcher.png\r\nContent-Transfer-Encoding: base64\r\n\r\nw6A=\r\n--b\r\n\
         Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: =?utf-8?b?w6k=?=\r\n\
         From: =?utf-8?q?J=C3=B6rg?= <j@xn--bcher-kva.example>, =?utf-8?b?YSwgw6k=?=:\r\n b@c;\r\n\
         MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         a long enough line =C3=A9\r\n--b\r\n\r\nplain\r\n--b--\r\n"
    );
}

#[test]
fn an_address_that_has_no_ascii_form_fails() {
    let message = "From: <jörg@x.example>\r\n\r\n";
    assert_eq!(
        convert(message.as_bytes(), &describe(message.as_bytes())),
        Err(Error::Utf8Address("From".into()))
    );
}

#[test]
fn fields_above_the_message_can_be_left_out() {
    let message = "Return-Path: <a@b>\r\nSubject: é\r\n\r\nx";
    let mut converter = Converter::skipping(&describe(message.as_bytes()), 20).unwrap();
    let mut out = Vec::new();
    while let Some(range) = converter.wants() {
        let first = &message.as_bytes()[range.start as usize..range.start as usize + 1];
        converter.push(first, &mut out).unwrap();
    }
    assert_eq!(out, b"Subject: =?utf-8?b?w6k=?=\r\n\r\nx");
}

#[test]
fn long_lines_are_encoded_and_folded() {
    let message = format!(
        "Subject: {}\r\nX: {}\r\n\r\n{}\r\n",
        "word ".repeat(300),
        "y".repeat(3000),
        "z".repeat(2000)
    );
    let text = converted(message.as_bytes());
    assert!(text.split("\r\n").all(|line| line.len() <= 78), "{text}");
    let description = describe(text.as_bytes());
    assert_eq!(
        crate::word::decode(&crate::header::first(text.as_bytes(), "x").unwrap()),
        "y".repeat(3000)
    );
    assert_eq!(
        transfer::decode(
            Encoding::QuotedPrintable,
            slice(text.as_bytes(), description.structure.body_range())
        )
        .len(),
        2002
    );
}

fn messages() -> impl Strategy<Value = Vec<u8>> {
    let content = || {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "[ -~é\\r\\n]{0,200}".prop_map(String::into_bytes),
            Just("x".repeat(1200).into_bytes()),
        ]
    };
    let leaf = (
        prop_oneof![
            Just("text/plain"),
            Just("text/html; charset=utf-8"),
            Just("image/png")
        ],
        prop_oneof![
            Just("7bit"),
            Just("8bit"),
            Just("binary"),
            Just("base64"),
            Just("quoted-printable")
        ],
        content(),
    )
        .prop_map(|(kind, encoding, content)| {
            let content: Vec<u8> = match encoding {
                // Lines of hyphens in content would be delimiters.
                "7bit" | "8bit" | "binary" => content
                    .into_iter()
                    .map(|byte| if byte == b'-' { b'_' } else { byte })
                    .collect(),
                _ => {
                    let mut encoder = if encoding == "base64" {
                        Encoder::base64()
                    } else {
                        Encoder::quoted_printable()
                    };
                    let mut out = Vec::new();
                    encoder.push(&content, &mut out);
                    encoder.finish(&mut out);
                    out
                }
            };
            [
                format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\nX-Ü: é\r\n\r\n")
                    .into_bytes(),
                content,
            ]
            .concat()
        });
    let tree = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            (proptest::collection::vec(inner.clone(), 1..4), any::<u32>()).prop_map(|(parts, id)| {
                let mut out = format!("Content-Type: multipart/mixed; boundary=b{id}\r\nContent-Transfer-Encoding: 8bit\r\n\r\nprë\r\n").into_bytes();
                for part in parts {
                    out.extend_from_slice(format!("--b{id}\r\n").as_bytes());
                    out.extend(part);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(format!("--b{id}--\r\n").as_bytes());
                out
            }),
            inner.prop_map(|message| [b"Content-Type: message/rfc822\r\n\r\nSubject: \xe9\xff\r\n".to_vec(), message].concat()),
        ]
    });
    tree.prop_map(|message| [b"From: \xc3\xa9 <a@b>\r\n".to_vec(), message].concat())
}

/// Types and decoded contents of all leaves.
fn contents(message: &[u8]) -> Vec<(String, Vec<u8>)> {
    let description = describe(message);
    let leaves = description
        .structure
        .walk()
        .filter(|part| part.children.is_empty());
    leaves
        .map(|part| {
            let encoding = Encoding::from_name(&part.encoding).unwrap();
            (
                format!("{}/{}", part.media_type, part.subtype),
                transfer::decode(encoding, slice(message, part.body_range())),
            )
        })
        .collect()
}

proptest! {
    #[test]
    fn all_becomes_7_bit_and_no_content_changes(message in messages()) {
        let out = convert(&message, &describe(&message)).unwrap();
        prop_assert!(out.is_ascii() && !out.contains(&0));
        let facts = describe(&out).facts;
        prop_assert!(!is_needed(&facts));
        prop_assert_eq!(contents(&out), contents(&message));
    }

    #[test]
    fn garbage_becomes_7_bit_too(message in proptest::collection::vec(
        prop_oneof![Just(b'\n'), Just(b':'), Just(b'a'), Just(b' '), any::<u8>()], 0..300)) {
        if let Ok(out) = convert(&message, &describe(&message)) {
            prop_assert!(!is_needed(&describe(&out).facts), "{:?}", String::from_utf8_lossy(&out));
        }
    }
}
