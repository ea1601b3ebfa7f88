//! Clients against peers that follow a script.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use postrider_imap::client::Value;
use postrider_imap::command::Command;
use postrider_smtp::client::{Envelope, Verdict};
use postrider_smtp::{Mail, Rcpt};
use postrider_types::{Address, Flags, ReversePath};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::target::Target;

/// Waits for each text to have come and says what belongs to it.
async fn follow<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, script: &[(&str, &str)]) {
    let mut heard = Vec::new();
    for (wanted, answer) in script {
        while !String::from_utf8_lossy(&heard).contains(wanted) {
            if stream.read_buf(&mut heard).await.unwrap() == 0 {
                panic!("no {wanted:?} in {:?}", String::from_utf8_lossy(&heard));
            }
        }
        heard.clear();
        if *answer == "..." {
            std::future::pending::<()>().await;
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// A peer that goes on inside TLS after the first script, which must be all that comes in the clear.
async fn tls_peer(
    greeting: &'static str,
    clear: &'static [(&'static str, &'static str)],
    script: &'static [(&'static str, &'static str)],
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let identity = postrider_runtime::Identity::self_signed(directory.path(), "b.example").unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(greeting.as_bytes()).await.unwrap();
        follow(&mut tcp, clear).await;
        let mut tls = identity.acceptor().accept(tcp).await.unwrap();
        follow(&mut tls, script).await;
    });
    address
}

/// A peer that says the first word, then waits for each text to have come and says what belongs to it; at the end it
/// closes, or is silent for ever when the last answer is `...`.
async fn peer(greeting: &'static str, script: &'static [(&'static str, &'static str)]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(greeting.as_bytes()).await.unwrap();
        follow(&mut tcp, script).await;
    });
    address
}

fn target(address: SocketAddr) -> Target {
    toml::from_str(&format!(
        "name = \"x\"\nsmtp = \"{address}\"\nimap = \"{address}\"\npop3 = \"{address}\"\n\
         [accounts]\ndomain = \"b.example\"\npattern = \"u{{}}\"\ncount = 1\npassword = \"p\"\n"
    ))
    .unwrap()
}

fn short() -> Patience {
    Patience {
        connect: Duration::from_millis(500),
        answer: Duration::from_millis(200),
        end: Duration::from_millis(200),
    }
}

fn envelope(recipients: &[&str]) -> Envelope {
    Envelope {
        mail: Mail::from(ReversePath(Some(Address::new("a@a.example").unwrap()))),
        recipients: recipients
            .iter()
            .map(|it| Rcpt::to(Address::new(it).unwrap()))
            .collect(),
    }
}

async fn smtp(script: &'static [(&'static str, &'static str)]) -> Result<Smtp, Failure> {
    let address = peer("220 b.example\r\n", script).await;
    Smtp::connect(address, config(&target(address), None, short()), short()).await
}

#[tokio::test]
async fn each_recipient_has_a_verdict_and_the_connection_goes_on() {
    let mut smtp = smtp(&[
        ("EHLO", "250-b.example\r\n250 PIPELINING\r\n"),
        (
            "DATA",
            "250 ok\r\n550 5.1.1 who\r\n451 4.3.0 later\r\n250 ok\r\n354 go\r\n",
        ),
        ("\r\n..x\r\n.\r\n", "250 taken\r\n"),
        ("MAIL", "451 later\r\n503 no\r\n503 no\r\n"),
    ])
    .await
    .unwrap();
    let sent = smtp
        .send(
            envelope(&["x@b.example", "y@b.example", "z@b.example"]),
            Bytes::from_static(b"\r\n.x\r\n"),
        )
        .await;
    let outcomes: Vec<_> = sent.verdicts.iter().map(outcome_of).collect();
    assert_eq!(outcomes, [Outcome::Refused, Outcome::Deferred, Outcome::Done]);
    assert_eq!(sent.outcome(), Outcome::Done);
    assert!(smtp.is_usable());
    let sent = smtp
        .send(envelope(&["x@b.example"]), Bytes::from_static(b"x"))
        .await;
    assert_eq!(sent.outcome(), Outcome::Deferred);
    assert_eq!(smtp.sent(), 2);
    // The script is at its end: the peer closes, and that is noticed before the next message.
    while smtp.is_usable() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn silence_behind_the_final_dot_is_unknown_and_before_it_is_not() {
    let mut after = smtp(&[
        ("EHLO", "250 b.example\r\n"),
        ("MAIL", "250 ok\r\n"),
        ("RCPT", "250 ok\r\n"),
        ("DATA", "354 go\r\n"),
        ("\r\n.\r\n", "..."),
    ])
    .await
    .unwrap();
    let sent = after
        .send(envelope(&["x@b.example"]), Bytes::from_static(b"x\r\n"))
        .await;
    assert!(matches!(sent.verdicts[..], [Verdict::Unknown(_)]), "{sent:?}");
    assert!(!after.is_usable());
    let mut before = smtp(&[("EHLO", "250 b.example\r\n"), ("MAIL", "...")])
        .await
        .unwrap();
    let sent = before
        .send(envelope(&["x@b.example"]), Bytes::from_static(b"x\r\n"))
        .await;
    assert!(matches!(sent.verdicts[..], [Verdict::Failed(_)]), "{sent:?}");
    assert_eq!(sent.outcome(), Outcome::Broken);
}

#[tokio::test]
async fn a_closed_connection_in_the_middle_of_a_large_message_ends_it() {
    let mut smtp = smtp(&[
        ("EHLO", "250 b.example\r\n"),
        ("MAIL", "250 ok\r\n"),
        ("RCPT", "250 ok\r\n"),
        ("DATA", "354 go\r\n"),
        ("xx", ""),
    ])
    .await
    .unwrap();
    let content = Bytes::from(vec![b'x'; 20 << 20]);
    let sent = smtp.send(envelope(&["x@b.example"]), content).await;
    assert_eq!(sent.outcome(), Outcome::Broken);
    assert!(!smtp.is_usable());
}

#[tokio::test]
async fn connections_that_do_not_come_about_say_why() {
    let greeting = peer("421 too busy\r\n", &[]).await;
    let tried = Smtp::connect(greeting, config(&target(greeting), None, short()), short()).await;
    assert_eq!(tried.unwrap_err().outcome(), Outcome::Deferred);
    let silent = peer("", &[("x", "...")]).await;
    let tried = Smtp::connect(silent, config(&target(silent), None, short()), short()).await;
    assert_eq!(tried.unwrap_err().outcome(), Outcome::Broken);
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let tried = Imap::login_with(&target(nobody), "u", short()).await;
    assert!(matches!(tried, Err(Failure::Broken(why)) if why.contains("connect")));
    let bye = peer("* BYE [UNAVAILABLE] later\r\n", &[]).await;
    assert_eq!(
        Imap::login_with(&target(bye), "u", short())
            .await
            .unwrap_err()
            .outcome(),
        Outcome::Deferred
    );
}

#[tokio::test]
async fn imap_from_login_to_idle() {
    let address = peer(
        "* OK hello\r\n",
        &[
            ("a1 LOGIN", "a1 OK [CAPABILITY IMAP4rev1 IDLE LITERAL+ QRESYNC] in\r\n"),
            (
                "SELECT",
                "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] v\r\n* OK [UIDNEXT 9] n\r\n* OK [HIGHESTMODSEQ 12] m\r\na2 OK s\r\n",
            ),
            ("{4+}\r\na\r\n\n\r\n", "* 4 EXISTS\r\na3 OK [APPENDUID 7 9] d\r\n"),
            ("IDLE", "+ idling\r\n"),
            ("DONE", "* 5 EXISTS\r\na4 OK d\r\n"),
            ("NOOP", "a5 NO [UNAVAILABLE] later\r\n"),
            ("NOOP", "a6 BAD what\r\n"),
            ("NOOP", "* BYE gone\r\n"),
        ],
    )
    .await;
    let mut imap = Imap::login_with(&target(address), "u0@b.example", short())
        .await
        .unwrap();
    assert!(imap.features().idle && imap.features().qresync && !imap.features().moves);
    let selected = imap.select("INBOX", false).await.unwrap();
    assert_eq!(
        selected,
        Selected {
            exists: 3,
            uid_validity: 7,
            uid_next: 9,
            highest_modseq: 12
        }
    );
    let mut exists = Vec::new();
    let uid = imap
        .append("INBOX", Flags::EMPTY, b"a\r\n\n", |response| {
            exists.push(response)
        })
        .await;
    assert_eq!(uid, Ok(Some((7, 9))));
    assert_eq!(exists.len(), 1);
    imap.idle(drop).await.unwrap();
    let nothing = imap.wait(Instant::now() + Duration::from_millis(20)).await;
    assert_eq!(nothing, Ok(None));
    let mut told = 0;
    imap.done(|_| told += 1).await.unwrap();
    assert_eq!(told, 1);
    let later = imap.command(&Command::Noop).await.unwrap_err();
    assert_eq!(later.outcome(), Outcome::Deferred);
    let bad = imap.command(&Command::Noop).await.unwrap_err();
    assert_eq!(bad.outcome(), Outcome::Refused);
    let bye = imap.command(&Command::Noop).await.unwrap_err();
    assert_eq!(bye, Failure::Broken("BYE gone".into()));
}

#[tokio::test]
async fn an_idling_client_hears_of_news_and_of_the_end() {
    let address = peer(
        "* OK [CAPABILITY IMAP4rev2] hello\r\n",
        &[
            ("LOGIN", "a1 OK in\r\n"),
            ("CAPABILITY", "* CAPABILITY IMAP4rev2\r\na2 OK c\r\n"),
            ("IDLE", "+ \r\n* 9 EXISTS\r\n"),
        ],
    )
    .await;
    let mut imap = Imap::login_with(&target(address), "u", short()).await.unwrap();
    assert!(imap.features().moves);
    imap.idle(drop).await.unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    let news = imap.wait(until).await.unwrap().unwrap();
    assert!(matches!(
        news,
        postrider_imap::client::Response::Data { number: Some(9), .. }
    ));
    assert!(imap.wait(until).await.unwrap_err().is_broken());
}

#[tokio::test]
async fn fetched_literals_come_whole() {
    let address = peer(
        "* OK hello\r\n",
        &[
            ("LOGIN", "a1 OK [CAPABILITY IMAP4rev1] in\r\n"),
            ("NOOP", "* 1 FETCH (UID 5 BODY[] {6}\r\nab\r\n"),
            ("", "c\n)\r\na2 OK d\r\n"),
        ],
    )
    .await;
    let mut imap = Imap::login_with(&target(address), "u", short()).await.unwrap();
    let responses = imap.command(&Command::Noop).await.unwrap();
    let body = responses[0].attribute("BODY[]").and_then(Value::as_bytes);
    assert_eq!(body, Some(&b"ab\r\nc\n"[..]));
}

#[tokio::test]
async fn pop3_from_login_to_quit() {
    let address = peer(
        "+OK hello\r\n",
        &[
            ("CAPA", "+OK\r\nPIPELINING\r\nUIDL\r\n.\r\n"),
            ("USER u0@b.example", "+OK\r\n"),
            ("PASS p", "+OK\r\n"),
            ("UIDL", "+OK\r\n1 a\r\n2 b\r\n.\r\n"),
            ("RETR 2", "+OK\r\nx\r\n..y\r\n.\r\n"),
            ("DELE 1\r\nDELE 2\r\n", "-ERR no\r\n+OK\r\n"),
            ("QUIT", "+OK bye\r\n"),
        ],
    )
    .await;
    let mut pop3 = Pop3::login_with(&target(address), "u0@b.example", short())
        .await
        .unwrap();
    let uids = pop3.uidl().await.unwrap();
    assert_eq!(uids, [(1, "a".to_owned()), (2, "b".to_owned())]);
    let mut content = BytesMut::from("old");
    pop3.retrieve(2, &mut content).await.unwrap();
    assert_eq!(&content[..], b"x\r\n.y\r\n");
    assert_eq!(pop3.delete(&[1, 2]).await, Ok(vec![2]));
    pop3.quit().await.unwrap();
    let locked = peer(
        "+OK hello\r\n",
        &[
            ("CAPA", "-ERR what\r\n"),
            ("USER", "+OK\r\n"),
            ("PASS", "-ERR [IN-USE] locked\r\n"),
        ],
    )
    .await;
    let refused = Pop3::login_with(&target(locked), "u", short()).await.unwrap_err();
    assert_eq!(refused.outcome(), Outcome::Deferred);
}

#[tokio::test]
async fn everything_of_value_is_said_inside_tls() {
    let smtp = tls_peer(
        "220 b.example\r\n",
        &[
            ("EHLO", "250-b.example\r\n250 STARTTLS\r\n"),
            ("STARTTLS\r\n", "220 go\r\n"),
        ],
        &[
            ("EHLO", "250-b.example\r\n250 AUTH PLAIN\r\n"),
            ("AUTH PLAIN", "235 in\r\n"),
        ],
    )
    .await;
    let mut inside = target(smtp);
    inside.tls = crate::target::Tls::Start;
    Smtp::connect(smtp, config(&inside, Some("u0@b.example"), short()), short())
        .await
        .unwrap();
    let imap = tls_peer(
        "* OK hello\r\n",
        &[("a1 STARTTLS\r\n", "a1 OK go\r\n")],
        &[("a2 LOGIN", "a2 OK [CAPABILITY IMAP4rev2] in\r\n")],
    )
    .await;
    inside.imap = Some(imap);
    Imap::login_with(&inside, "u0@b.example", short()).await.unwrap();
    let pop3 = tls_peer(
        "+OK hello\r\n",
        &[("STLS\r\n", "+OK go\r\n")],
        &[("CAPA", "-ERR\r\n"), ("USER", "+OK\r\n"), ("PASS", "+OK\r\n")],
    )
    .await;
    inside.pop3 = Some(pop3);
    Pop3::login_with(&inside, "u0@b.example", short()).await.unwrap();
}
