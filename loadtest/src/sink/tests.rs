//! Dialogues with every rule, over sockets.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::ledger::{Lines, MessageId, Place, Sighting, SinkEntry, decoded_digest, digest};

const LETTER: &str = "X-Load-Id: 1f-2a\r\nFrom: alice@crepes.fr\r\nTo: bob@hamburger.edu\r\nSubject: pickles\r\n\r\n\
    How about pickles?\r\n";

struct Scene {
    sink: Sink,
    directory: tempfile::TempDir,
}

impl Scene {
    async fn new(rules: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rules = Rules::parse(&format!("name = \"x\"\nabout = \"y\"\n{rules}")).unwrap();
        let sink = Sink::start(Options {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            rules,
            record: Some(directory.path().join("record")),
            watch: None,
        });
        let sink = sink.await.unwrap();
        Self { sink, directory }
    }

    async fn dial(&self) -> Caller {
        let tcp = TcpStream::connect(self.sink.addresses()[0]).await.unwrap();
        Caller(BufReader::new(tcp))
    }

    /// A connection that has said EHLO.
    async fn caller(&self) -> Caller {
        let mut caller = self.dial().await;
        assert!(caller.hear().await.starts_with("220 "));
        assert!(caller.says("EHLO crepes.fr").await.starts_with("250"));
        caller
    }

    async fn end(self) -> (Vec<SinkEntry>, Counts) {
        let counts = self.sink.stop().await;
        (entries(&self.directory.path().join("record")), counts)
    }
}

struct Caller(BufReader<TcpStream>);

impl Caller {
    /// Says a line and hears the whole reply; nothing when the connection is over.
    async fn says(&mut self, line: &str) -> String {
        self.0.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        self.hear().await
    }

    async fn hear(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            let read = timeout(Duration::from_secs(10), self.0.read_line(&mut reply)).await;
            match read.expect("the sink is silent") {
                Ok(length) if length > 0 && reply.as_bytes().get(start + 3) == Some(&b'-') => {}
                _ => return reply,
            }
        }
    }

    async fn sends(&mut self, recipient: &str, letter: &str) -> String {
        assert!(self.says("MAIL FROM:<alice@crepes.fr>").await.starts_with("250"));
        let reply = self.says(&format!("RCPT TO:<{recipient}>")).await;
        if !reply.starts_with("250") {
            self.says("RSET").await;
            return reply;
        }
        let reply = self.says("DATA").await;
        if !reply.starts_with("354") {
            return reply;
        }
        // Nobody may be there any more to take it.
        let _ = self.0.write_all(format!("{letter}.\r\n").as_bytes()).await;
        self.hear().await
    }
}

fn entries(path: &Path) -> Vec<SinkEntry> {
    Lines::open(path).unwrap().map(Result::unwrap).collect()
}

fn seen(entry: &SinkEntry) -> (&Sighting, bool) {
    match entry {
        SinkEntry::Seen(sighting) => match sighting.place {
            Place::Sink { answered, .. } => (sighting, answered),
            _ => panic!("not at the sink"),
        },
        SinkEntry::Refused { .. } => panic!("refused"),
    }
}

#[tokio::test]
async fn what_is_taken_is_written_down_for_each_recipient() {
    let stage = Scene::new("").await;
    let mut caller = stage.caller().await;
    caller.says("MAIL FROM:<alice@crepes.fr>").await;
    for recipient in ["bob@hamburger.edu", "carol@hamburger.edu"] {
        assert_eq!(
            caller.says(&format!("RCPT TO:<{recipient}>")).await,
            "250 2.1.5 Recipient ok\r\n"
        );
    }
    caller.says("DATA").await;
    assert!(caller.says(&format!("{LETTER}.")).await.starts_with("250 2.0.0"));
    // A letter that is not of a load generator is taken, too, and not written down.
    assert!(
        caller
            .sends("bob@hamburger.edu", "Subject: x\r\n\r\n")
            .await
            .starts_with("250")
    );
    assert!(caller.says("QUIT").await.starts_with("221"));
    let (entries, counts) = stage.end().await;
    let recipients: Vec<&str> = entries
        .iter()
        .map(|entry| seen(entry).0.recipient.as_str())
        .collect();
    assert_eq!(recipients, ["bob@hamburger.edu", "carol@hamburger.edu"]);
    for (sighting, answered) in entries.iter().map(seen) {
        assert!(answered);
        assert_eq!(
            sighting.id,
            MessageId {
                run: 0x1f,
                number: 0x2a
            }
        );
        assert_eq!(sighting.digest, digest(LETTER.as_bytes()));
        assert_eq!(sighting.place, seen(&entries[0]).0.place);
    }
    assert_eq!((counts.connections, counts.messages, counts.copies), (1, 2, 3));
}

#[tokio::test]
async fn answers_take_their_time() {
    for (place, at) in ["greeting", "ehlo", "mail", "rcpt", "data", "dot"]
        .into_iter()
        .enumerate()
    {
        let stage = Scene::new(&format!("[[rule]]\ndelay = {{ at = \"{at}\", for = \"150ms\" }}")).await;
        let mut caller = stage.dial().await;
        let said = [
            "",
            "EHLO crepes.fr\r\n",
            "MAIL FROM:<>\r\n",
            "RCPT TO:<bob@hamburger.edu>\r\n",
            "DATA\r\n",
            "\r\n.\r\n",
        ];
        for (index, line) in said.into_iter().enumerate() {
            let begin = Instant::now();
            caller.0.write_all(line.as_bytes()).await.unwrap();
            assert!(!caller.hear().await.is_empty());
            let late = begin.elapsed() >= Duration::from_millis(150);
            assert_eq!(late, index == place, "{at}: {line:?} took {:?}", begin.elapsed());
        }
    }
}

#[tokio::test]
async fn refusals_are_said_where_and_as_the_rules_say() {
    for (at, replies) in [
        ("greeting", ["451", "", "", "", "", ""]),
        ("ehlo", ["220", "451", "503", "503", "503", "500"]),
        ("mail", ["220", "250", "451", "503", "503", "500"]),
        ("rcpt", ["220", "250", "250", "451", "554", "500"]),
        ("data", ["220", "250", "250", "250", "451", "500"]),
        ("dot", ["220", "250", "250", "250", "354", "451"]),
    ] {
        let stage = Scene::new(&format!(
            "[[rule]]\nrefuse = {{ at = \"{at}\", with = \"451 4.7.1 later\" }}"
        ))
        .await;
        let mut caller = stage.dial().await;
        let mut heard = vec![caller.hear().await];
        for line in [
            "EHLO crepes.fr",
            "MAIL FROM:<>",
            "RCPT TO:<bob@hamburger.edu>",
            "DATA",
            ".",
        ] {
            if heard[0].starts_with("220") && !(at == "ehlo" && heard.len() > 1) {
                heard.push(caller.says(line).await);
            }
        }
        for (heard, expected) in heard.iter().zip(replies) {
            assert!(heard.starts_with(expected), "{at}: {heard} is not {expected}");
        }
        assert!(
            heard.iter().any(|reply| reply.contains("later")),
            "{at}: {heard:?}"
        );
        let (entries, counts) = stage.end().await;
        assert_eq!((entries.len(), counts.deferred), (0, 1), "{at}");
    }
}

#[tokio::test]
async fn refusals_for_good_are_written_down() {
    for (at, message) in [
        ("rcpt", None),
        (
            "dot",
            Some(MessageId {
                run: 0x1f,
                number: 0x2a,
            }),
        ),
    ] {
        let stage = Scene::new(&format!(
            "[[rule]]\nrefuse = {{ at = \"{at}\", with = \"550 5.1.1 no\" }}"
        ))
        .await;
        let reply = stage.caller().await.sends("bob@hamburger.edu", LETTER).await;
        assert_eq!(reply, "550 5.1.1 no\r\n");
        let (entries, counts) = stage.end().await;
        assert_eq!((entries.len(), counts.refused, counts.messages), (1, 1, 0));
        let SinkEntry::Refused {
            recipient,
            message: found,
            reply,
            ..
        } = &entries[0]
        else {
            panic!("not a refusal: {entries:?}");
        };
        assert_eq!(
            (recipient.as_str(), *found, reply.as_str()),
            ("bob@hamburger.edu", message, "550 5.1.1 no")
        );
    }
}

#[tokio::test]
async fn whoever_says_421_closes() {
    let stage = Scene::new("[[rule]]\nrefuse = { at = \"rcpt\", with = \"421 4.7.0 enough\" }").await;
    let mut caller = stage.caller().await;
    caller.says("MAIL FROM:<>").await;
    assert_eq!(
        caller.says("RCPT TO:<bob@hamburger.edu>").await,
        "421 4.7.0 enough\r\n"
    );
    assert_eq!(caller.hear().await, "");
}

#[tokio::test]
async fn only_the_domains_of_a_rule_suffer() {
    let stage = Scene::new(
        "[[rule]]\ndomain = \"*.full.example\"\nrefuse = { at = \"rcpt\", with = \"452 4.2.2 full\" }",
    )
    .await;
    let mut caller = stage.caller().await;
    assert!(
        caller
            .sends("bob@x.full.example", LETTER)
            .await
            .starts_with("452")
    );
    assert!(caller.sends("bob@full.example", LETTER).await.starts_with("250"));
}

#[tokio::test]
async fn greylisted_until_they_come_back() {
    let stage = Scene::new("[[rule]]\ngreylist = { after = \"200ms\" }").await;
    let mut caller = stage.caller().await;
    assert!(
        caller
            .sends("bob@hamburger.edu", LETTER)
            .await
            .starts_with("451 4.7.1 Grey")
    );
    assert!(caller.sends("bob@hamburger.edu", LETTER).await.starts_with("451"));
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert!(
        caller
            .sends("carol@hamburger.edu", LETTER)
            .await
            .starts_with("451")
    );
    assert!(caller.sends("bob@hamburger.edu", LETTER).await.starts_with("250"));
}

#[tokio::test]
async fn more_connections_than_allowed_are_told_so() {
    let stage = Scene::new("[[rule]]\nmost-connections = 2").await;
    let first = stage.caller().await;
    let _second = stage.caller().await;
    let mut third = stage.dial().await;
    assert!(third.hear().await.starts_with("421 "));
    assert_eq!(third.hear().await, "");
    drop(first);
    // The sink has to see that the first one is gone.
    tokio::time::sleep(Duration::from_millis(100)).await;
    stage.caller().await;
}

#[tokio::test]
async fn dropped_in_the_middle_nothing_was_received() {
    let stage = Scene::new("[[rule]]\ndrop = { at = \"data\" }").await;
    let reply = stage.caller().await.sends("bob@hamburger.edu", LETTER).await;
    assert_eq!(reply, "");
    let (entries, counts) = stage.end().await;
    assert_eq!((entries.len(), counts.unanswered, counts.messages), (0, 0, 0));
}

#[tokio::test]
async fn dropped_behind_the_dot_it_was_received_but_not_answered() {
    let stage = Scene::new("[[rule]]\ndrop = { at = \"dot\" }").await;
    let reply = stage.caller().await.sends("bob@hamburger.edu", LETTER).await;
    assert_eq!(reply, "");
    let (entries, counts) = stage.end().await;
    assert_eq!((entries.len(), counts.unanswered, counts.messages), (1, 1, 0));
    let (sighting, answered) = seen(&entries[0]);
    assert!(!answered);
    assert_eq!(sighting.digest, digest(LETTER.as_bytes()));
}

#[tokio::test]
async fn a_client_that_is_gone_may_not_have_read_the_answer() {
    let stage = Scene::new("").await;
    let mut caller = stage.caller().await;
    assert!(caller.sends("bob@hamburger.edu", LETTER).await.starts_with("250"));
    assert!(caller.says("NOOP").await.starts_with("250"));
    assert!(
        caller
            .sends("carol@hamburger.edu", LETTER)
            .await
            .starts_with("250")
    );
    drop(caller);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (entries, _) = stage.end().await;
    let seen: Vec<_> = entries.iter().map(seen).collect();
    let answered: Vec<bool> = seen.iter().map(|(_, answered)| *answered).collect();
    // The last line takes the one before it back.
    assert_eq!(answered, [true, true, false]);
    let transaction = |index: usize| match seen[index].0.place {
        Place::Sink { transaction, .. } => transaction,
        _ => 0,
    };
    assert_eq!(transaction(1), transaction(2));
    assert_ne!(transaction(0), transaction(1));
}

#[tokio::test]
async fn a_tarpit_says_an_octet_at_a_time() {
    let stage = Scene::new("[[rule]]\ntarpit = \"10ms\"").await;
    let begin = Instant::now();
    let greeting = stage.dial().await.hear().await;
    let least = Duration::from_millis(10) * (greeting.len() as u32 - 1);
    assert!(
        greeting.starts_with("220 ") && begin.elapsed() >= least,
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test]
async fn a_slow_reader_is_slow() {
    let stage = Scene::new("[[rule]]\nread-rate = \"20KiB\"").await;
    let mut caller = stage.caller().await;
    let letter = format!(
        "{LETTER}{}",
        "All work and no play makes Jack a dull boy\r\n".repeat(200)
    );
    let begin = Instant::now();
    assert!(
        caller
            .sends("bob@hamburger.edu", &letter)
            .await
            .starts_with("250")
    );
    let least = Duration::from_secs(1) * (letter.len() as u32) / (20 << 10);
    assert!(begin.elapsed() >= least, "{:?} for {least:?}", begin.elapsed());
}

#[tokio::test]
async fn what_a_server_cannot_it_does_not_offer() {
    let stage =
        Scene::new("[[rule]]\nwithout = [\"8BITMIME\", \"SMTPUTF8\", \"CHUNKING\", \"BINARYMIME\"]").await;
    let mut caller = stage.dial().await;
    caller.hear().await;
    let hello = caller.says("EHLO crepes.fr").await;
    for missing in ["8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME"] {
        assert!(!hello.contains(missing), "{hello}");
    }
    assert!(hello.contains("PIPELINING"), "{hello}");
    let eight_bit = LETTER.replace("pickles?", "crêpes?");
    assert!(
        caller
            .sends("bob@hamburger.edu", &eight_bit)
            .await
            .starts_with("554 5.6.1")
    );
    let converted = LETTER.replace(
        "\r\n\r\nHow about pickles?",
        "\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nHow about cr=C3=AApes?",
    );
    assert!(
        caller
            .sends("bob@hamburger.edu", &converted)
            .await
            .starts_with("250")
    );
    caller.says("QUIT").await;
    let (entries, _) = stage.end().await;
    assert_eq!(entries.len(), 1);
    assert_eq!(
        seen(&entries[0]).0.decoded,
        Some(decoded_digest(eight_bit.as_bytes()))
    );
}

#[tokio::test]
async fn tls_is_offered_demanded_or_broken() {
    let stage = Scene::new("").await;
    assert!(!stage.caller().await.says("EHLO x").await.contains("STARTTLS"));
    let stage = Scene::new("[[rule]]\ntls = \"required\"").await;
    let mut caller = stage.caller().await;
    assert!(caller.says("EHLO x").await.contains("STARTTLS"));
    assert!(caller.says("MAIL FROM:<>").await.starts_with("530 5.7.0"));
    let connect = |stage: &Scene| {
        let config = postrider_smtp::client::Config {
            tls: postrider_smtp::client::Tls::Required,
            ..Default::default()
        };
        crate::net::Smtp::connect(
            stage.sink.addresses()[0],
            Arc::new(config),
            crate::net::Patience::default(),
        )
    };
    let bob = postrider_types::Address::new("bob@hamburger.edu").unwrap();
    let envelope = postrider_smtp::client::Envelope {
        mail: postrider_smtp::Mail::default(),
        recipients: vec![postrider_smtp::Rcpt::to(bob)],
    };
    let mut inside = connect(&stage).await.unwrap();
    let sent = inside.send(envelope, bytes::Bytes::from(LETTER)).await;
    assert!(
        matches!(sent.verdicts[..], [postrider_smtp::client::Verdict::Delivered(_)]),
        "{sent:?}"
    );
    inside.quit().await;
    assert_eq!(stage.end().await.0.len(), 1);
    let broken = Scene::new("[[rule]]\ntls = \"broken\"").await;
    assert!(broken.caller().await.says("EHLO x").await.contains("STARTTLS"));
    assert!(connect(&broken).await.is_err());
}

#[tokio::test]
async fn nobody_is_there_for_a_while() {
    // From before it starts, and with time enough for a busy machine to see each part.
    let begin = Instant::now();
    let back = Duration::from_secs(3);
    let stage = Scene::new("[[rule]]\nunreachable = true\nfrom = \"500ms\"\nuntil = \"3s\"").await;
    stage.caller().await;
    let address = stage.sink.addresses()[0];
    while TcpStream::connect(address).await.is_ok() {
        assert!(begin.elapsed() < back, "still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while TcpStream::connect(address).await.is_err() {
        assert!(begin.elapsed() < back * 4, "still gone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begin.elapsed() >= back, "back after {:?}", begin.elapsed());
    stage.caller().await;
}

#[tokio::test]
async fn some_connections_are_reset() {
    let stage = Scene::new("seed = 3\n[[rule]]\nshare = 0.5\nunreachable = true").await;
    let mut reset = 0;
    for _ in 0..40 {
        let mut byte = [0];
        let mut tcp = TcpStream::connect(stage.sink.addresses()[0]).await.unwrap();
        reset += usize::from(!matches!(tcp.read(&mut byte).await, Ok(1)));
    }
    assert!((8..32).contains(&reset), "{reset}");
}

#[tokio::test]
async fn whoever_watches_hears_of_every_message() {
    let (sender, heard) = std::sync::mpsc::channel();
    let sink = Sink::start(Options {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        rules: Rules::perfect(),
        record: None,
        watch: Some(Arc::new(move |received| {
            let _ = sender.send(received.clone());
        })),
    });
    let stage = Scene {
        sink: sink.await.unwrap(),
        directory: tempfile::tempdir().unwrap(),
    };
    stage.caller().await.sends("bob@hamburger.edu", LETTER).await;
    let received = heard.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(
        received.id,
        Some(MessageId {
            run: 0x1f,
            number: 0x2a
        })
    );
    assert_eq!(received.recipients, ["bob@hamburger.edu"]);
    assert_eq!(received.size, LETTER.len() as u64);
    assert!(received.answered && received.at <= Instant::now());
}

#[tokio::test]
async fn stopping_lets_a_transaction_end() {
    let stage = Scene::new("").await;
    let (mut idle, mut busy) = (stage.caller().await, stage.caller().await);
    assert!(busy.says("MAIL FROM:<alice@crepes.fr>").await.starts_with("250"));
    let ending = tokio::spawn(stage.end());
    assert!(idle.hear().await.starts_with("421"));
    assert!(busy.says("RCPT TO:<bob@hamburger.edu>").await.starts_with("250"));
    assert!(busy.says("DATA").await.starts_with("354"));
    assert!(busy.says(&format!("{LETTER}.")).await.starts_with("250"));
    let (entries, counts) = ending.await.unwrap();
    assert_eq!(
        (entries.len(), counts.messages),
        (2, 1),
        "one line, and one of doubt"
    );
}
