use super::*;
use crate::{Kind, describe, slice};

fn recipient(address: &str) -> ReportedRecipient {
    ReportedRecipient {
        address: Address::new(address).unwrap(),
        original: String::new(),
        action: Action::Failed,
        status: String::new(),
        remote: "mx.hamburger.edu".into(),
        reply: "550 5.1.1 no such user".into(),
        is_smtp_reply: true,
        attempts: 3,
        last_attempt: Some(1_795_338_960),
        retry_until: Some(1_795_738_960),
    }
}

fn composed(recipients: &[ReportedRecipient], original: Original<'_>, message: &[u8]) -> (Vec<u8>, Composed) {
    let alice = Address::new("alice@crepes.fr").unwrap();
    let report = Report {
        host: "crepes.fr",
        to: &alice,
        unique: "01890a5d.1",
        time: DateTime::utc(1_795_338_960),
        arrival: 1_795_338_000,
        envelope_id: "QQ+2B1",
        message_id: "1@crepes.fr",
        subject: "=?utf-8?q?caf=C3=A9?=",
        recipients,
        original,
    };
    let composed = report.compose();
    (
        [composed.head.as_slice(), message, &composed.tail].concat(),
        composed,
    )
}

#[test]
fn a_report_has_its_three_parts() {
    let mut bob = recipient("bob@hamburger.edu");
    bob.original = "rfc822;bob+2Bx@hamburger.edu".into();
    let original = b"Subject: caf\r\n\r\nDo you like ketchup?\r\n";
    let (report, composed) = composed(
        &[bob],
        Original::Full {
            eight_bit: false,
            utf8: false,
        },
        original,
    );
    let description = describe(&report);
    let root = &description.structure;
    assert_eq!(root.param("report-type").as_deref(), Some("delivery-status"));
    let types: Vec<_> = root
        .children
        .iter()
        .map(|it| format!("{}/{}", it.media_type, it.subtype))
        .collect();
    assert_eq!(types, ["text/plain", "message/delivery-status", "message/rfc822"]);
    assert_eq!(root.children[2].kind(), Kind::Message);
    assert_eq!(slice(&report, root.children[2].body_range()), original);
    assert_eq!(
        std::str::from_utf8(slice(&report, root.children[1].body_range())).unwrap(),
        "Original-Envelope-Id: QQ+1\r\nReporting-MTA: dns; crepes.fr\r\nArrival-Date: Sun, 22 Nov 2026 09:00:00 +0000\r\n\r\n\
         Original-Recipient: rfc822; bob+x@hamburger.edu\r\nFinal-Recipient: rfc822; bob@hamburger.edu\r\nAction: failed\r\n\
         Status: 5.1.1\r\nRemote-MTA: dns; mx.hamburger.edu\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n\
         Last-Attempt-Date: Sun, 22 Nov 2026 09:16:00 +0000\r\n"
    );
    assert!(
        description
            .preview
            .starts_with("This is the mail server crepes.fr. Your message \"café\" of Sun, 22 Nov 2026")
    );
    let text = crate::transfer::decode(
        crate::transfer::Encoding::QuotedPrintable,
        slice(&report, root.children[0].body_range()),
    );
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("could not be\r\ndelivered to:")
            && text.contains("no mailbox of this name at hamburger.edu"),
        "{text}"
    );
    assert!(
        text.contains("550 5.1.1 no such user") && text.contains("tried 3 times"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.len() <= 78));
    assert!(!composed.eight_bit && !composed.utf8 && report.is_ascii());
    assert_eq!(description.message_id, "01890a5d.1@crepes.fr");
    assert_eq!(description.references, ["1@crepes.fr"]);
}

#[test]
fn a_header_alone_comes_back_without_the_body() {
    let mut late = recipient("bob@hamburger.edu");
    (late.action, late.reply) = (Action::Delayed, "421 4.3.2 later".into());
    let (report, _) = composed(
        &[late],
        Original::Header(b"From: a\r\nTo: b\r\n c\r\n\r\nsecret"),
        b"",
    );
    let root = describe(&report).structure;
    assert_eq!(root.children[2].subtype, "rfc822-headers");
    assert_eq!(
        slice(&report, root.children[2].body_range()),
        b"From: a\r\nTo: b\r\n c\r\n"
    );
    let report = String::from_utf8(report).unwrap();
    assert!(
        report.contains("Will-Retry-Until: ")
            && report.contains("Status: 4.3.2\r\n")
            && report.contains("Action: delayed\r\n")
    );
    assert!(report.contains("Subject: Your message is delayed\r\n"));
}

#[test]
fn what_is_said_for_now_is_not_told_as_if_it_were_for_good() {
    for (reply, told) in [
        (
            "450 4.2.1 receiving mail too quickly",
            "takes no mail at the moment",
        ),
        ("451 4.7.1 greylisted", "does not take the message yet"),
        ("450 4.2.2 full", "The mailbox is full"),
    ] {
        let mut late = recipient("bob@hamburger.edu");
        (late.action, late.reply) = (Action::Delayed, reply.into());
        let (report, _) = composed(&[late], Original::Header(b"Subject: x\r\n\r\n"), b"");
        let report = String::from_utf8(report).unwrap();
        assert!(report.contains(told), "{report}");
        assert!(
            !report.contains("disabled") && !report.contains("security"),
            "{report}"
        );
    }
}

#[test]
fn an_international_address_makes_the_report_international() {
    let (report, composed) = composed(
        &[recipient("jörg@hamburger.edu")],
        Original::Full {
            eight_bit: true,
            utf8: true,
        },
        "Subject: é\r\n\r\n".as_bytes(),
    );
    let root = describe(&report).structure;
    let types: Vec<_> = root.children.iter().map(|it| it.subtype.as_str()).collect();
    assert_eq!(types, ["plain", "global-delivery-status", "global"]);
    assert!(
        std::str::from_utf8(&report)
            .unwrap()
            .contains("Final-Recipient: utf-8; jörg@hamburger.edu")
    );
    assert!(composed.eight_bit && composed.utf8);
}

#[test]
fn a_reply_cannot_write_into_the_report() {
    let mut bob = recipient("bob@hamburger.edu");
    bob.reply = "550 x\r\nAction: delivered\r\n\r\n--=_01890a5d.1--\r\n\u{e9}".into();
    let (report, _) = composed(
        &[bob],
        Original::Full {
            eight_bit: false,
            utf8: false,
        },
        b"A: b\r\n\r\n",
    );
    let root = describe(&report).structure;
    assert_eq!(root.children.len(), 3);
    let status = std::str::from_utf8(slice(&report, root.children[1].body_range())).unwrap();
    assert_eq!(
        status.lines().filter(|line| line.starts_with("Action:")).count(),
        1
    );
    assert!(status.contains("Diagnostic-Code: smtp; 550 x"));
}

#[test]
fn status_codes_fit_what_happened() {
    let status = |action, reply: &str| {
        ReportedRecipient {
            action,
            reply: reply.into(),
            ..recipient("a@b.c")
        }
        .status()
    };
    assert_eq!(status(Action::Failed, "550 5.7.1 no"), "5.7.1");
    assert_eq!(status(Action::Failed, "451 4.3.0 later"), "5.4.7");
    assert_eq!(status(Action::Failed, "451 later"), "5.4.7");
    assert_eq!(status(Action::Failed, "550 no"), "5.0.0");
    assert_eq!(status(Action::Delivered, "250 2.1.5 ok"), "2.1.5");
    assert_eq!(enhanced_code("550-5.1.1 x"), Some("5.1.1"));
    assert_eq!(enhanced_code("550 5.1"), None);
    assert_eq!(
        original_recipient("RFC822;a+40b"),
        Some(("rfc822".into(), "a@b".into()))
    );
    assert_eq!(original_recipient("a@b"), None);
}
