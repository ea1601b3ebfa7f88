//! Dialogues, one for each family of verbs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use postrider_imap_gateway::{Settings, Timeouts};
use postrider_sasl::{Client as Sasl, Mechanism};
use postrider_store::memory::{Fault, Operation};
use postrider_types::Secret;
use support::*;

#[tokio::test]
async fn login() {
    let node = Node::start().await;
    let mut client = node.connect().await;
    let done = client.no(&format!("LOGIN {USER} wrong")).await;
    assert!(done.starts_with("NO [AUTHENTICATIONFAILED]"), "{done}");
    assert_eq!(client.command("SELECT INBOX").await.1, "BAD log in first");
    client.ok("NOOP").await;
    let lines = client.ok("ID (\"name\" \"test\")").await;
    assert!(lines[0].starts_with("* ID (\"name\" \"Postrider\""), "{lines:?}");
    let (_, done) = client.command(&format!("LOGIN {USER} {PASSWORD}")).await;
    assert!(done.starts_with("OK [CAPABILITY IMAP4rev1 IMAP4rev2"), "{done}");
    let mut guesser = node.connect().await;
    for _ in 0..3 {
        guesser.no(&format!("LOGIN {USER} wrong")).await;
    }
    assert!(guesser.line().await.starts_with("* BYE"));
    assert!(guesser.is_closed().await);
}

#[tokio::test]
async fn scram() {
    let node = Node::start().await;
    for (password, right) in [(PASSWORD, true), ("wrong", false)] {
        let mut client = node.connect().await;
        let mut sasl = Sasl::new(
            Mechanism::ScramSha256,
            USER,
            Secret::new(password.as_bytes().to_vec()),
        )
        .unwrap();
        let initial = sasl.initial_response().unwrap();
        let tag = client
            .start(&format!(
                "AUTHENTICATE SCRAM-SHA-256 {}",
                postrider_sasl::encode(&initial)
            ))
            .await;
        loop {
            let line = client.line().await;
            if let Some(done) = line.strip_prefix(&format!("{tag} ")) {
                assert_eq!(done.starts_with("OK"), right, "{done}");
                break;
            }
            let challenge = postrider_sasl::decode(line.strip_prefix("+ ").unwrap().as_bytes()).unwrap();
            let response = sasl.respond(&challenge).unwrap();
            client
                .send(&format!("{}\r\n", postrider_sasl::encode(&response)))
                .await;
        }
        if right {
            client.ok("SELECT INBOX").await;
        }
    }
}

#[tokio::test]
async fn an_account_has_only_so_many_connections() {
    let settings = Settings {
        connections_per_account: 1,
        ..Settings::default()
    };
    let node = Node::with(settings, 0, ([127, 0, 0, 1], 0).into()).await;
    let mut first = node.login().await;
    let mut second = node.connect().await;
    let done = second.no(&format!("LOGIN {USER} {PASSWORD}")).await;
    assert!(done.starts_with("NO [UNAVAILABLE]"), "{done}");
    first.ok("LOGOUT").await;
    assert!(first.is_closed().await);
    drop(first);
    for _ in 0..50 {
        if second
            .command(&format!("LOGIN {USER} {PASSWORD}"))
            .await
            .1
            .starts_with("OK")
        {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the place was not given back");
}

#[tokio::test]
async fn storage_that_is_away() {
    let settings = Settings {
        timeouts: Timeouts::default(),
        ..Settings::default()
    };
    let mut node = Node::with(settings, 0, ([127, 0, 0, 1], 0).into()).await;
    node.deliver(&letter("one", "text")).await;
    let mut client = node.inbox().await;
    node.engine.inject(Operation::Commit, Fault::Unavailable);
    let done = client.no("STORE 1 +FLAGS (\\Seen)").await;
    assert!(done.starts_with("NO [UNAVAILABLE]"), "{done}");
    client.ok("STORE 1 +FLAGS (\\Seen)").await;
    node.engine.crash();
    let done = client.no("STORE 1 +FLAGS (\\Draft)").await;
    assert!(done.starts_with("NO [UNAVAILABLE]"), "{done}");
    let done = client.append("INBOX", "", "a: b\r\n").await;
    assert!(done.starts_with("NO [UNAVAILABLE]"), "{done}");
    node.engine.restart();
    client.ok("STORE 1 +FLAGS (\\Draft)").await;
}

#[tokio::test]
async fn mailboxes() {
    let node = Node::start().await;
    let mut client = node.login().await;
    assert_eq!(
        client.ok("LIST \"\" \"\"").await,
        ["* LIST (\\Noselect) \"/\" \"\""]
    );
    assert_eq!(
        client.ok("NAMESPACE").await,
        ["* NAMESPACE ((\"\" \"/\")) NIL NIL"]
    );
    let (_, done) = client.command("CREATE Work/2026").await;
    assert!(done.starts_with("OK [MAILBOXID (F"), "{done}");
    assert!(client.no("CREATE Work").await.starts_with("NO [ALREADYEXISTS]"));
    assert!(client.no("CREATE inbox").await.starts_with("NO [ALREADYEXISTS]"));
    assert!(
        client
            .no("CREATE Mine (USE (\\All))")
            .await
            .starts_with("NO [USEATTR]")
    );
    assert!(
        client
            .no("CREATE Mine (USE (\\Sent))")
            .await
            .starts_with("NO [USEATTR]")
    );
    assert_eq!(
        client.ok("LIST \"\" Work*").await,
        [
            "* LIST (\\HasChildren) \"/\" Work",
            "* LIST (\\HasNoChildren) \"/\" Work/2026"
        ]
    );
    assert_eq!(
        client.ok("LIST Work/ %").await,
        ["* LIST (\\HasNoChildren) \"/\" Work/2026"]
    );
    assert_eq!(
        client.ok("LIST (SPECIAL-USE) \"\" (S* T%)").await,
        [
            "* LIST (\\HasNoChildren \\Sent) \"/\" Sent",
            "* LIST (\\HasNoChildren \\Trash) \"/\" Trash"
        ]
    );
    client.ok("SUBSCRIBE Work/2026").await;
    client.ok("SUBSCRIBE Gone/2025").await;
    assert_eq!(
        client.ok("LSUB \"\" Work%").await,
        ["* LSUB (\\Noselect) \"/\" Work"]
    );
    assert_eq!(client.ok("LSUB \"\" Work*").await, ["* LSUB () \"/\" Work/2026"]);
    assert_eq!(
        client
            .ok("LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (Work Gone)")
            .await,
        [
            "* LIST (\\NonExistent \\HasNoChildren) \"/\" Gone (\"CHILDINFO\" (\"SUBSCRIBED\"))",
            "* LIST (\\HasChildren) \"/\" Work (\"CHILDINFO\" (\"SUBSCRIBED\"))"
        ]
    );
    assert_eq!(
        client.ok("LIST (SUBSCRIBED) \"\" G*").await,
        ["* LIST (\\NonExistent \\HasNoChildren \\Subscribed) \"/\" Gone/2025"]
    );
    assert!(client.no("DELETE Work").await.starts_with("NO [HASCHILDREN]"));
    assert!(client.no("DELETE INBOX").await.starts_with("NO [CANNOT]"));
    assert!(client.no("DELETE Nothing").await.starts_with("NO [NONEXISTENT]"));
    client.ok("RENAME Work Play").await;
    assert!(
        client
            .no("SELECT Work/2026")
            .await
            .starts_with("NO [NONEXISTENT]")
    );
    client.ok("SELECT Play/2026").await;
    assert!(
        client
            .no("RENAME Play Sent")
            .await
            .starts_with("NO [ALREADYEXISTS]")
    );
    client.ok("DELETE Play/2026").await;
    client.append("INBOX", "", "a: b\r\n").await;
    client.ok("RENAME INBOX Old").await;
    assert_eq!(
        client
            .ok("LIST \"\" (inbox Old) RETURN (STATUS (MESSAGES UNSEEN))")
            .await,
        [
            "* LIST (\\HasNoChildren) \"/\" INBOX",
            "* STATUS INBOX (MESSAGES 0 UNSEEN 0)",
            "* LIST (\\HasNoChildren) \"/\" Old",
            "* STATUS Old (MESSAGES 1 UNSEEN 1)"
        ]
    );
}

#[tokio::test]
async fn selecting_tells_what_is_true() {
    let mut node = Node::start().await;
    node.deliver(&letter("one", "text")).await;
    node.deliver(&letter("two", "text")).await;
    let mut client = node.login().await;
    let lines = client.ok("SELECT INBOX").await;
    for wanted in [
        "* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft)",
        "* 2 EXISTS",
        "* 0 RECENT",
        "* OK [UNSEEN 1] first unseen",
        "* OK [UIDNEXT 3] predicted next UID",
        "* OK [MAILBOXID (F1)] mailbox id",
    ] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted}: {lines:?}");
    }
    let (lines, done) = client.command("EXAMINE inbox").await;
    assert_eq!(lines[0], "* OK [CLOSED] Previous mailbox is closed");
    assert!(
        lines.contains(&"* OK [PERMANENTFLAGS ()] flags that stay".into()),
        "{lines:?}"
    );
    assert!(done.starts_with("OK [READ-ONLY]"), "{done}");
    client.no("STORE 1 +FLAGS (\\Seen)").await;
    client.ok("FETCH 1 BODY[]").await;
    assert_eq!(client.ok("SEARCH SEEN").await, ["* SEARCH"]);
    client.ok("ENABLE IMAP4rev2").await;
    let lines = client.ok("SELECT INBOX").await;
    assert!(lines.contains(&"* LIST () \"/\" INBOX".into()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("RECENT")), "{lines:?}");
    assert!(client.no("SELECT Nothing").await.starts_with("NO [NONEXISTENT]"));
    assert_eq!(client.command("NOOP").await.1, "OK NOOP completed");
}

#[tokio::test]
async fn appending() {
    let node = Node::start().await;
    let mut client = node.inbox().await;
    assert!(
        client
            .append("Nowhere", "", "a: b\r\n\r\nc")
            .await
            .starts_with("NO [TRYCREATE]")
    );
    let done = client
        .append(
            "INBOX",
            "(\\Seen $Work) \"17-Jul-1996 02:44:25 -0700\" ",
            "a: b\r\n\r\nc",
        )
        .await;
    assert!(
        done.starts_with("OK [APPENDUID ") && done.ends_with(" 1] APPEND completed"),
        "{done}"
    );
    assert_eq!(
        client.ok("FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE)").await[2..],
        [
            "* 1 FETCH (FLAGS (\\Seen $Work \\Recent) INTERNALDATE \"17-Jul-1996 09:44:25 +0000\" RFC822.SIZE 9)"
        ]
    );
    // Several at once, small and large.
    let large = format!("Subject: large\r\n\r\n{}", "0123456789abcdef\r\n".repeat(40_000));
    let (lines, done) = client
        .command(&format!(
            "APPEND INBOX {{4+}}\r\na: 1 (\\Flagged) {{{}+}}\r\n{large} {{4+}}\r\na: 3",
            large.len()
        ))
        .await;
    assert!(done.ends_with(" 2:4] APPEND completed"), "{done}");
    assert_eq!(lines, ["* 4 EXISTS", "* 4 RECENT"]);
    let lines = client.ok("FETCH 3 BODY.PEEK[]").await;
    assert_eq!(
        lines[0],
        format!("* 3 FETCH (BODY[] {{{}}}\r\n{large})", large.len())
    );
    // All or none.
    let (_, done) = client.command("APPEND INBOX {4+}\r\na: 1 {0+}\r\n").await;
    assert!(done.starts_with("NO"), "{done}");
    assert_eq!(
        client.ok("STATUS INBOX (MESSAGES)").await,
        ["* STATUS INBOX (MESSAGES 4)"]
    );
    // What has NUL is encoded, and decoded again.
    let binary = "Content-Transfer-Encoding: binary\r\nContent-Type: a/b\r\n\r\n\0\x01\x02";
    let command = format!("APPEND INBOX ~{{{}+}}\r\n{binary}", binary.len());
    client.ok(&command).await;
    let lines = client
        .ok("FETCH 5 (BINARY.SIZE[1] BINARY.PEEK[1] BODY.PEEK[1])")
        .await;
    assert!(
        lines[0].contains("BINARY.SIZE[1] 3 BINARY[1] ~{3}\r\n\0\x01\x02"),
        "{lines:?}"
    );
    assert!(lines[0].contains("AAEC"), "{lines:?}");
}

#[tokio::test]
async fn quota() {
    let node = Node::with(Settings::default(), 2048, ([127, 0, 0, 1], 0).into()).await;
    let mut client = node.login().await;
    client.append("INBOX", "", &"x".repeat(1500)).await;
    assert_eq!(
        client.ok("GETQUOTAROOT INBOX").await,
        ["* QUOTAROOT INBOX \"\"", "* QUOTA \"\" (STORAGE 2 2)"]
    );
    let done = client.append("INBOX", "", &"x".repeat(1500)).await;
    assert!(done.starts_with("NO [OVERQUOTA]"), "{done}");
    client.ok("SELECT INBOX").await;
    assert!(client.no("COPY 1 Archive").await.starts_with("NO [OVERQUOTA]"));
    assert!(
        client
            .no("SETQUOTA \"\" (STORAGE 9)")
            .await
            .starts_with("NO [NOPERM]")
    );
    assert!(client.no("GETQUOTA other").await.starts_with("NO [NONEXISTENT]"));
}

#[tokio::test]
async fn reading_parts() {
    let mut node = Node::start().await;
    node.deliver(
        "Subject: parts\r\nX-Long: a\r\n b\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\
         Content-Type: text/plain\r\n\r\nhello\r\n--x\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n\
         AAECAw==\r\n--x\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: x-own\r\n\r\n?\r\n--x--\r\n",
    )
    .await;
    let mut client = node.inbox().await;
    for (item, wanted) in [
        ("BODY.PEEK[1]", "BODY[1] {5}\r\nhello"),
        ("BODY.PEEK[1]<1.3>", "BODY[1]<1> {3}\r\nell"),
        ("BODY.PEEK[1]<9.3>", "BODY[1]<9> {0}\r\n"),
        ("BODY.PEEK[9]", "BODY[9] NIL"),
        (
            "BODY.PEEK[2.MIME]",
            "BODY[2.MIME] {62}\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        ),
        (
            "BODY.PEEK[HEADER.FIELDS (subject x-none)]",
            "BODY[HEADER.FIELDS (subject x-none)] {18}\r\nSubject: parts\r\n\r\n",
        ),
        (
            "BODY.PEEK[HEADER.FIELDS.NOT (content-type)]<0.9>",
            "BODY[HEADER.FIELDS.NOT (content-type)]<0> {9}\r\nSubject: ",
        ),
        ("BINARY.PEEK[2]", "BINARY[2] ~{4}\r\n\0\x01\x02\x03"),
        ("BINARY.PEEK[2]<1.2>", "BINARY[2]<1> {2}\r\n\x01\x02"),
        ("BINARY.SIZE[2]", "BINARY.SIZE[2] 4"),
        ("PREVIEW", "PREVIEW \"hello\""),
    ] {
        assert_eq!(
            client.ok(&format!("FETCH 1 {item}")).await,
            [format!("* 1 FETCH ({wanted})")]
        );
    }
    assert!(
        client
            .no("FETCH 1 BINARY.PEEK[3]")
            .await
            .starts_with("NO [UNKNOWN-CTE]")
    );
    // Reading marks as read, once.
    let lines = client.ok("UID FETCH 1 (BODY[1] BODY[TEXT]<0.3>)").await;
    assert_eq!(
        lines,
        ["* 1 FETCH (UID 1 BODY[1] {5}\r\nhello BODY[TEXT]<0> {3}\r\n--x FLAGS (\\Seen))"]
    );
    let lines = client.ok("UID FETCH 1 (BODY[1] MODSEQ)").await;
    assert!(
        lines
            .last()
            .unwrap()
            .starts_with("* 1 FETCH (UID 1 BODY[1] {5}\r\nhello MODSEQ ("),
        "{lines:?}"
    );
    let lines = client.ok("FETCH 1 (EMAILID THREADID)").await;
    assert!(
        lines[0].starts_with("* 1 FETCH (EMAILID (M") && lines[0].contains("THREADID (T"),
        "{lines:?}"
    );
    assert_eq!(client.ok("UID FETCH 7:9 (FLAGS)").await, [""; 0]);
    assert!(client.command("FETCH 7 FLAGS").await.1.starts_with("BAD"));
}

#[tokio::test]
async fn large_parts_stream() {
    let node = Node::start().await;
    let mut client = node.inbox().await;
    let line = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm\r\n";
    let encoded = line.repeat(40_000);
    let message = format!("Content-Transfer-Encoding: base64\r\nContent-Type: a/b\r\n\r\n{encoded}");
    assert!(client.append("INBOX", "", &message).await.starts_with("OK"));
    let decoded = "0123456789abcdef".repeat(3 * 40_000);
    let lines = client
        .ok("FETCH 1 (BINARY.SIZE[1] BODY.PEEK[TEXT]<1000000.1000000>)")
        .await;
    assert_eq!(
        lines[0],
        format!(
            "* 1 FETCH (BINARY.SIZE[1] {} BODY[TEXT]<1000000> {{1000000}}\r\n{})",
            decoded.len(),
            &encoded[1_000_000..2_000_000]
        )
    );
    let lines = client.ok("FETCH 1 BINARY.PEEK[1]").await;
    assert_eq!(
        lines[0],
        format!("* 1 FETCH (BINARY[1] ~{{{}}}\r\n{decoded})", decoded.len())
    );
    let lines = client.ok("FETCH 1 BINARY.PEEK[1]<1500000.700000>").await;
    assert!(lines[0].ends_with(&format!("~{{420000}}\r\n{})", &decoded[1_500_000..])));
}

#[tokio::test]
async fn flags_with_conditions() {
    let mut node = Node::start().await;
    for subject in ["one", "two", "three"] {
        node.deliver(&letter(subject, "text")).await;
    }
    let mut client = node.inbox().await;
    let lines = client.ok("FETCH 1:3 (MODSEQ)").await;
    assert!(lines[0].starts_with("* OK [HIGHESTMODSEQ "), "{lines:?}");
    let modseq: u64 = lines[0].split(&[' ', ']']).nth(3).unwrap().parse().unwrap();
    let lines = client.ok("STORE 2 +FLAGS (\\Seen)").await;
    assert_eq!(
        lines,
        [format!(
            "* 2 FETCH (UID 2 FLAGS (\\Seen) MODSEQ ({}))",
            modseq + 1
        )]
    );
    let (lines, done) = client
        .command(&format!(
            "STORE 1:3 (UNCHANGEDSINCE {modseq}) +FLAGS.SILENT (\\Flagged)"
        ))
        .await;
    assert!(done.starts_with("OK [MODIFIED 2]"), "{done}");
    assert_eq!(
        lines,
        [
            format!("* 1 FETCH (UID 1 MODSEQ ({0}))", modseq + 2),
            format!("* 3 FETCH (UID 3 MODSEQ ({0}))", modseq + 2)
        ]
    );
    let lines = client
        .ok(&format!("UID FETCH 1:* (UID) (CHANGEDSINCE {})", modseq + 1))
        .await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    let many: Vec<String> = (0..64).map(|number| format!("k{number}")).collect();
    client
        .ok(&format!("STORE 1 FLAGS.SILENT ({})", many.join(" ")))
        .await;
    assert!(
        client
            .no("STORE 1 +FLAGS.SILENT (one-more)")
            .await
            .starts_with("NO [LIMIT]")
    );
}

#[tokio::test]
async fn copying_moving_removing() {
    let mut node = Node::start().await;
    for subject in ["one", "two", "three", "four"] {
        node.deliver(&letter(subject, "text")).await;
    }
    let mut client = node.inbox().await;
    assert!(client.no("COPY 1 Nowhere").await.starts_with("NO [TRYCREATE]"));
    let (_, done) = client.command("COPY 1,3 Archive").await;
    assert!(
        done.starts_with("OK [COPYUID ") && done.contains(" 1,3 1:2]"),
        "{done}"
    );
    let (lines, done) = client.command("UID MOVE 2 Archive").await;
    assert!(
        lines[0].starts_with("* OK [COPYUID ") && lines[0].contains(" 2 3]"),
        "{lines:?}"
    );
    assert_eq!(
        (&lines[1..], done.as_str()),
        (&["* 2 EXPUNGE".to_owned()][..], "OK MOVE completed")
    );
    client.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)").await;
    assert_eq!(client.ok("UID EXPUNGE 4:9").await, ["* 3 EXPUNGE"]);
    assert_eq!(client.ok("EXPUNGE").await, ["* 2 EXPUNGE", "* 1 EXPUNGE"]);
    client.ok("SELECT Archive").await;
    client.ok("STORE 1 +FLAGS (\\Deleted)").await;
    assert_eq!(
        client.ok("STATUS Archive (MESSAGES DELETED MAILBOXID)").await[0]
            .split(" MAILBOXID")
            .next(),
        Some("* STATUS Archive (MESSAGES 3 DELETED 1")
    );
    client.ok("CLOSE").await;
    assert_eq!(
        client.ok("STATUS Archive (MESSAGES)").await,
        ["* STATUS Archive (MESSAGES 2)"]
    );
    client.ok("SELECT Archive").await;
    client.ok("STORE 1 +FLAGS (\\Deleted)").await;
    client.ok("UNSELECT").await;
    assert_eq!(
        client.ok("STATUS Archive (MESSAGES)").await,
        ["* STATUS Archive (MESSAGES 2)"]
    );
}

#[tokio::test]
async fn finding() {
    let mut node = Node::start().await;
    for (subject, body) in [
        ("Zebra", "apples"),
        ("alpha", "pears"),
        ("Re: zebra", "apples and pears"),
    ] {
        node.deliver(&letter(subject, body)).await;
    }
    let mut client = node.inbox().await;
    for (keys, wanted) in [
        ("SEARCH BODY apples", "* SEARCH 1 3"),
        ("SEARCH 2:* SUBJECT zebra", "* SEARCH 3"),
        ("SEARCH NOT BODY apples", "* SEARCH 2"),
        ("SEARCH OR SUBJECT alpha UID 1", "* SEARCH 1 2"),
        ("SEARCH SENTON 22-Nov-2026 FROM alice@crepes.fr", "* SEARCH 1 2 3"),
        ("SEARCH RECENT", "* SEARCH"),
        ("SEARCH EMAILID Mxyz", "* SEARCH"),
        (
            "SEARCH RETURN (MIN MAX COUNT) ALL",
            "* ESEARCH (TAG \"a#\") MIN 1 MAX 3 COUNT 3",
        ),
        (
            "UID SEARCH RETURN () BODY pears",
            "* ESEARCH (TAG \"a#\") UID ALL 2:3",
        ),
        ("SORT (SUBJECT) UTF-8 ALL", "* SORT 2 1 3"),
        ("SORT (REVERSE SIZE) UTF-8 ALL", "* SORT 3 1 2"),
        (
            "UID SORT RETURN (ALL) (REVERSE ARRIVAL SUBJECT) UTF-8 ALL",
            "* ESEARCH (TAG \"a#\") UID ALL 2,1,3",
        ),
        ("THREAD REFERENCES UTF-8 ALL", "* THREAD (1 3)(2)"),
        ("THREAD ORDEREDSUBJECT UTF-8 ALL", "* THREAD (1 3)(2)"),
    ] {
        let lines = client.ok(keys).await;
        let line = lines[0].split("\"a").enumerate().map(|(at, piece)| match at {
            0 => piece.to_owned(),
            _ => format!("\"a#{}", piece.trim_start_matches(|c: char| c.is_ascii_digit())),
        });
        assert_eq!(line.collect::<String>(), wanted, "{keys}");
    }
    assert_eq!(client.ok("SEARCH RETURN (SAVE) BODY apples").await, [""; 0]);
    assert_eq!(
        client.ok("FETCH $ (UID)").await,
        ["* 1 FETCH (UID 1)", "* 3 FETCH (UID 3)"]
    );
    client.ok("STORE $ +FLAGS.SILENT (\\Deleted)").await;
    client.ok("EXPUNGE").await;
    assert_eq!(client.ok("SEARCH $").await, ["* SEARCH"]);
    client.ok("ENABLE IMAP4rev2").await;
    let lines = client.ok("SEARCH ALL").await;
    assert!(
        lines[0].starts_with("* ESEARCH (TAG \"") && lines[0].ends_with("\") ALL 1"),
        "{lines:?}"
    );
}
