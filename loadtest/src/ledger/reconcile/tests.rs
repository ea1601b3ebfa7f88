//! Reconciling whole runs: ledgers written by [`Ledger`], records as the sink writes them, accounts on small servers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use parking_lot::Mutex;
use postrider_types::Secret;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::ledger::{Ledger, MessageId, Place, digest, encode_line};
use crate::target::{Accounts, Tls};

const RUN: u32 = 7;

/// A letter of the run.
fn letter(number: u64) -> String {
    format!("X-Load-Id: {RUN:x}-{number:x}\r\nSubject: letter {number}\r\n\r\nHow about pickles?\r\n")
}

fn id(number: u64) -> MessageId {
    MessageId { run: RUN, number }
}

/// A promise whose transaction took a microsecond.
fn promise(number: u64, recipient: &str) -> Promise {
    Promise {
        id: id(number),
        recipient: recipient.into(),
        digest: digest(letter(number).as_bytes()),
        decoded: None,
        began: number * 10,
        at: number * 10 + 1,
    }
}

fn at_sink(number: u64, recipient: &str, transaction: u64, answered: bool) -> SinkEntry {
    SinkEntry::Seen(Sighting {
        id: id(number),
        recipient: recipient.into(),
        digest: digest(letter(number).as_bytes()),
        decoded: None,
        place: Place::Sink {
            transaction,
            answered,
            when: 0,
        },
    })
}

fn deleted(number: u64, recipient: &str, uid: &str, deleted: bool) -> Sighting {
    Sighting {
        id: id(number),
        recipient: recipient.into(),
        digest: digest(letter(number).as_bytes()),
        decoded: None,
        place: Place::Maildrop {
            uid: uid.into(),
            deleted,
        },
    }
}

struct Case {
    directory: tempfile::TempDir,
    options: Options,
}

impl Case {
    async fn new(promises: Vec<Promise>, sightings: Vec<Sighting>, record: &[SinkEntry]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(directory.path(), RUN).unwrap();
        ledger.promise(promises).await.unwrap();
        ledger.sighting(sightings).await.unwrap();
        let target = Target {
            name: "x".into(),
            smtp: None,
            submission: None,
            imap: None,
            pop3: None,
            tls: Tls::Never,
            metrics: None,
            processes: Vec::new(),
            engines: Vec::new(),
            accounts: Accounts {
                domain: "hamburger.edu".into(),
                pattern: "user{}".into(),
                first: 0,
                count: 10,
                password: Secret::new("hungry"),
            },
            remote_domains: vec!["crepes.fr".into()],
        };
        let mut options = Options::new(directory.path().to_owned(), target);
        options.wait = Duration::ZERO;
        options.sink_record = Some(directory.path().join("record"));
        let case = Self { directory, options };
        case.record(record);
        case
    }

    fn record(&self, entries: &[SinkEntry]) {
        use std::io::Write;
        let mut lines = Vec::new();
        entries
            .iter()
            .for_each(|entry| encode_line(entry, &mut lines).unwrap());
        let path = self.options.sink_record.as_ref().unwrap();
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        file.write_all(&lines).unwrap();
    }

    async fn verdict(&self) -> Verdict {
        reconcile(&self.options).await.unwrap()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }
}

#[tokio::test]
async fn at_the_sink_what_was_not_answered_may_come_again() {
    let to = "bob@crepes.fr";
    let promises = (1..=6).map(|number| promise(number, to)).collect();
    let record = [
        at_sink(1, to, 1, true),
        // Dropped behind the dot, sent again, dropped again, sent again.
        at_sink(2, to, 2, false),
        at_sink(2, to, 3, false),
        at_sink(2, to, 4, true),
        // Dropped behind the dot; it is there, whatever its sender believes.
        at_sink(3, to, 5, false),
        // Answered, but the answer was never read.
        at_sink(4, to, 6, true),
        at_sink(4, to, 6, false),
        at_sink(4, to, 7, true),
        // Answered twice: a duplicate. Twice to other recipients: none.
        at_sink(5, to, 8, true),
        at_sink(5, to, 9, true),
        at_sink(1, "carol@crepes.fr", 10, true),
        at_sink(1, "dave@crepes.fr", 10, true),
    ];
    let case = Case::new(promises, Vec::new(), &record).await;
    let verdict = case.verdict().await;
    assert_eq!((verdict.promised, verdict.found, verdict.unpromised), (6, 5, 2));
    assert_eq!(
        verdict.lost.examples,
        ["7-6 bob@crepes.fr answered 0.000061 s after the run began"]
    );
    assert_eq!(verdict.duplicated.examples, ["7-5 bob@crepes.fr sink 8, sink 9"]);
    assert_eq!(case.file("lost.txt"), format!("{}\n", verdict.lost.examples[0]));
    assert_eq!((verdict.altered.count, verdict.out_of_order.count), (0, 0));
    assert!(!verdict.is_clean());
}

#[tokio::test]
async fn what_the_sink_refuses_for_good_is_returned() {
    let refused = |recipient: &str, message| SinkEntry::Refused {
        recipient: recipient.into(),
        message,
        reply: "550 no".into(),
        when: 0,
    };
    let promises = vec![
        promise(1, "nobody@crepes.fr"),
        promise(2, "Nobody@crepes.fr"),
        promise(1, "bob@crepes.fr"),
        promise(2, "bob@crepes.fr"),
    ];
    let record = [
        refused("NOBODY@crepes.fr", None),
        refused("bob@crepes.fr", Some(id(1))),
    ];
    let verdict = Case::new(promises, Vec::new(), &record).await.verdict().await;
    assert_eq!((verdict.promised, verdict.found, verdict.returned), (4, 0, 3));
    assert_eq!(verdict.lost.count, 1);
    assert!(verdict.lost.examples[0].starts_with("7-2 bob@crepes.fr"));
}

#[tokio::test]
async fn content_is_compared_decoded_where_it_was_converted() {
    let to = "bob@crepes.fr";
    let with = |number, decoded| Promise {
        decoded,
        ..promise(number, to)
    };
    let changed = |number, decoded| match at_sink(number, to, number, true) {
        SinkEntry::Seen(sighting) => SinkEntry::Seen(Sighting {
            digest: 1,
            decoded,
            ..sighting
        }),
        refused => refused,
    };
    let promises = vec![with(1, None), with(2, Some(5)), with(3, Some(5)), with(4, None)];
    let record = [
        changed(1, Some(5)),
        changed(2, Some(5)),
        changed(3, Some(6)),
        changed(4, None),
    ];
    let case = Case::new(promises, Vec::new(), &record).await;
    let verdict = case.verdict().await;
    assert_eq!((verdict.found, verdict.altered.count), (4, 3));
    let altered = case.file("altered.txt");
    let mut altered: Vec<&str> = altered
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    altered.sort_unstable();
    assert_eq!(altered, ["7-1", "7-3", "7-4"]);
}

#[tokio::test]
async fn messages_of_other_runs_do_not_matter() {
    let other = match at_sink(1, "bob@crepes.fr", 1, true) {
        SinkEntry::Seen(sighting) => SinkEntry::Seen(Sighting {
            id: MessageId { run: 8, number: 1 },
            ..sighting
        }),
        refused => refused,
    };
    let case = Case::new(vec![promise(1, "bob@crepes.fr")], Vec::new(), &[other]).await;
    let verdict = case.verdict().await;
    assert_eq!((verdict.lost.count, verdict.unpromised), (1, 0));
}

#[tokio::test]
async fn a_part_may_delete_what_another_part_was_promised() {
    let other = MessageId { run: 8, number: 1 };
    let mut case = Case::new(
        Vec::new(),
        vec![Sighting {
            id: other,
            ..deleted(1, "bob@crepes.fr", "a", true)
        }],
        &[],
    )
    .await;
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path(), other.run).unwrap();
    let promised = Promise {
        id: other,
        ..promise(1, "bob@crepes.fr")
    };
    ledger.promise(vec![promised]).await.unwrap();
    case.options.ledgers.push(directory.path().to_owned());
    let verdict = case.verdict().await;
    assert_eq!((verdict.promised, verdict.found), (1, 1), "{verdict:?}");
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_an_error_and_not_a_loss() {
    let mut case = Case::new(vec![promise(1, "bob@crepes.fr")], Vec::new(), &[]).await;
    case.options.sink_record = None;
    assert!(
        reconcile(&case.options)
            .await
            .unwrap_err()
            .to_string()
            .contains("--sink-record")
    );
    let case = Case::new(vec![promise(1, "user1@hamburger.edu")], Vec::new(), &[]).await;
    assert!(reconcile(&case.options).await.is_err(), "no address to read from");
    let mut case = Case::new(Vec::new(), Vec::new(), &[]).await;
    case.options.ledgers = vec!["/no/such/ledger".into()];
    let error = reconcile(&case.options).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot read the ledger /no/such/ledger");
}

#[tokio::test]
async fn queued_mail_is_waited_for() {
    let mut case = Case::new(vec![promise(1, "bob@crepes.fr")], Vec::new(), &[]).await;
    case.options.wait = Duration::from_secs(30);
    case.options.quiet = Duration::from_secs(10);
    let late = async {
        sleep(Duration::from_millis(500)).await;
        case.record(&[at_sink(1, "bob@crepes.fr", 1, true)]);
    };
    let begin = Instant::now();
    let (verdict, ()) = tokio::join!(case.verdict(), late);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert!(begin.elapsed() < Duration::from_secs(9));
}

/// Accounts, their mailboxes, the messages in them by UID.
type Store = BTreeMap<&'static str, BTreeMap<&'static str, BTreeMap<u32, String>>>;

/// A server with little more than what a reader needs; drops the first connection that logs in when `flaky`.
async fn serve(store: Store, imap: bool, flaky: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let store: &'static Store = Box::leak(Box::new(store));
    tokio::spawn(async move {
        let drops = Arc::new(Mutex::new(flaky));
        while let Ok((tcp, _)) = listener.accept().await {
            let drops = drops.clone();
            if imap {
                tokio::spawn(async move { imap_session(tcp, store, &drops).await });
            } else {
                tokio::spawn(async move { pop3_session(tcp, store).await });
            }
        }
    });
    address
}

async fn imap_session(tcp: TcpStream, store: &Store, drops: &Mutex<bool>) -> Option<()> {
    let mut tcp = BufReader::new(tcp);
    tcp.write_all(b"* OK ready\r\n").await.ok()?;
    let (mut account, mut mailbox) = (None, None);
    loop {
        let mut line = String::new();
        if tcp.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let words: Vec<&str> = line
            .split_whitespace()
            .map(|word| word.trim_matches('"'))
            .collect();
        let mut answer = String::new();
        match words[1].to_ascii_uppercase().as_str() {
            "LOGIN" => account = store.get(words[2]),
            "CAPABILITY" => answer.push_str("* CAPABILITY IMAP4rev1\r\n"),
            "LIST" => {
                answer.push_str("* LIST (\\Noselect) \"/\" \"shared\"\r\n");
                for name in account?.keys() {
                    answer.push_str(&format!("* LIST () \"/\" \"{name}\"\r\n"));
                }
            }
            "EXAMINE" => {
                mailbox = account?.get(words[2]);
                let exists = mailbox?.len();
                answer.push_str(&format!("* {exists} EXISTS\r\n* OK [UIDVALIDITY 3] valid\r\n"));
            }
            "FETCH" => {
                if std::mem::replace(&mut *drops.lock(), false) {
                    return None;
                }
                let (first, last) = words[2].split_once(':').unwrap_or((words[2], words[2]));
                let range = first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?;
                for (index, (uid, text)) in mailbox?.iter().enumerate() {
                    if range.contains(&(index + 1)) {
                        let length = text.len();
                        let number = index + 1;
                        answer.push_str(&format!(
                            "* {number} FETCH (UID {uid} BODY[] {{{length}}}\r\n{text})\r\n"
                        ));
                    }
                }
            }
            _ => {}
        }
        answer.push_str(&format!("{} OK done\r\n", words[0]));
        tcp.write_all(answer.as_bytes()).await.ok()?;
    }
}

async fn pop3_session(tcp: TcpStream, store: &Store) -> Option<()> {
    let mut tcp = BufReader::new(tcp);
    tcp.write_all(b"+OK ready\r\n").await.ok()?;
    let mut maildrop: Vec<(&u32, &String)> = Vec::new();
    loop {
        let mut line = String::new();
        if tcp.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[0] {
            "USER" => {
                maildrop = store.get(words[1])?.get("INBOX")?.iter().collect();
                "+OK\r\n".to_owned()
            }
            "UIDL" => {
                let lines = maildrop.iter().enumerate();
                let lines = lines.map(|(index, (uid, _))| format!("{} u{uid}\r\n", index + 1));
                format!("+OK\r\n{}.\r\n", lines.collect::<String>())
            }
            "RETR" => {
                let (_, text) = maildrop.get(words[1].parse::<usize>().ok()? - 1)?;
                format!("+OK\r\n{text}.\r\n")
            }
            "CAPA" => "-ERR what\r\n".to_owned(),
            _ => "+OK\r\n".to_owned(),
        };
        tcp.write_all(answer.as_bytes()).await.ok()?;
    }
}

fn mailbox(numbers: &[(u32, u64)]) -> BTreeMap<u32, String> {
    numbers
        .iter()
        .map(|(uid, number)| (*uid, letter(*number)))
        .collect()
}

const ONE: &str = "user1@hamburger.edu";
const TWO: &str = "user2@hamburger.edu";

#[tokio::test]
async fn accounts_are_read_whole() {
    let mut inbox = mailbox(&[(1, 1), (2, 3), (3, 2), (9, 7)]);
    inbox.insert(4, "Subject: not ours\r\n\r\nX-Load-Id: 7-5\r\n".into());
    inbox.insert(5, letter(6).replace("pickles", "tickles"));
    // More than one window of messages.
    inbox.extend((0..450).map(|number| (1000 + number, letter(1000 + u64::from(number)))));
    let one = BTreeMap::from([("INBOX", inbox), ("Archive", mailbox(&[(1, 4), (2, 7)]))]);
    let two = BTreeMap::from([("INBOX", mailbox(&[(1, 1), (2, 8)]))]);
    let store = Store::from([(ONE, one), (TWO, two)]);
    let mut promises: Vec<Promise> = (1..=7)
        .chain(1000..1450)
        .map(|number| promise(number, ONE))
        .collect();
    promises.push(promise(1, TWO));
    let mut case = Case::new(promises, Vec::new(), &[]).await;
    case.options.target.imap = Some(serve(store, true, true).await);
    let verdict = case.verdict().await;
    assert_eq!(
        (verdict.promised, verdict.found, verdict.unpromised),
        (458, 457, 1)
    );
    let only = |findings: &crate::ledger::Findings| {
        assert_eq!(findings.count, 1, "{findings:?}");
        findings.examples[0].clone()
    };
    assert!(only(&verdict.lost).starts_with("7-5 user1@"));
    assert_eq!(
        only(&verdict.duplicated),
        format!("7-7 {ONE} Archive 3/2, INBOX 3/9")
    );
    assert_eq!(only(&verdict.altered), format!("7-6 {ONE} INBOX 3/5"));
    assert!(only(&verdict.out_of_order).contains("7-3 user1@hamburger.edu has UID 2, but began after 7-2"));
    let kept = fs::read_dir(case.directory.path()).unwrap().flatten();
    let work: Vec<_> = kept.filter(|entry| entry.path().is_dir()).collect();
    assert!(work.is_empty(), "working files are left: {work:?}");
}

#[tokio::test]
async fn deleted_copies_count_by_what_was_written_down() {
    let inbox = mailbox(&[(1, 1), (2, 2), (3, 3)]);
    let store = Store::from([(ONE, BTreeMap::from([("INBOX", inbox)]))]);
    let promises = (1..=6).map(|number| promise(number, ONE)).collect();
    let sightings = vec![
        // Not deleted after all, and still the same copy.
        deleted(1, ONE, "u1", false),
        // Deleted, and yet there: as another copy.
        deleted(2, ONE, "u99", false),
        deleted(2, ONE, "u99", true),
        // Deleted.
        deleted(4, ONE, "u4", false),
        deleted(4, ONE, "u4", true),
        // Nobody knows.
        deleted(5, ONE, "u5", false),
    ];
    let imap = serve(store.clone(), true, false).await;
    let pop3 = serve(store, false, false).await;
    for verify in [Verify::Imap, Verify::Pop3, Verify::Both, Verify::Auto] {
        let mut case = Case::new(Vec::clone(&promises), sightings.clone(), &[]).await;
        (case.options.target.imap, case.options.target.pop3) = (Some(imap), Some(pop3));
        case.options.verify = verify;
        let verdict = case.verdict().await;
        assert_eq!(
            (verdict.promised, verdict.found),
            (6, 5),
            "{verify:?}: {verdict:?}"
        );
        assert!(verdict.lost.examples[0].starts_with("7-6 "), "{verify:?}");
        assert_eq!(verdict.duplicated.count, 1, "{verify:?}: {verdict:?}");
        assert!(verdict.duplicated.examples[0].starts_with("7-2 "), "{verify:?}");
        assert_eq!(verdict.altered.count, 0);
    }
}

#[tokio::test]
async fn imap_and_pop3_must_agree() {
    let inbox = |numbers: &[(u32, u64)]| Store::from([(ONE, BTreeMap::from([("INBOX", mailbox(numbers))]))]);
    let mut case = Case::new(vec![promise(1, ONE), promise(2, ONE)], Vec::new(), &[]).await;
    case.options.target.imap = Some(serve(inbox(&[(1, 1), (2, 2)]), true, false).await);
    case.options.target.pop3 = Some(serve(inbox(&[(2, 2)]), false, false).await);
    case.options.verify = Verify::Both;
    let verdict = case.verdict().await;
    assert_eq!(
        verdict.lost.examples,
        [format!("7-1 {ONE} IMAP shows it in INBOX, POP3 does not")]
    );
}

#[tokio::test]
async fn many_promises_in_many_batches_are_all_found() {
    const MANY: u64 = 20_000;
    let case = Case::new(Vec::new(), Vec::new(), &[]).await;
    let ledger = Ledger::open(case.directory.path(), RUN).unwrap();
    let to = |number: u64| format!("user{}@crepes.fr", number % 1000);
    for start in (0..MANY).step_by(1000) {
        let numbers = start..start + 1000;
        let promises = numbers.clone().map(|number| Promise {
            digest: number,
            ..promise(number, &to(number))
        });
        ledger.promise(promises.collect()).await.unwrap();
        let entries = numbers.map(|number| match at_sink(number, &to(number), number, true) {
            SinkEntry::Seen(sighting) => SinkEntry::Seen(Sighting {
                digest: number,
                ..sighting
            }),
            refused => refused,
        });
        case.record(&entries.collect::<Vec<_>>());
    }
    let verdict = case.verdict().await;
    assert_eq!((verdict.found, verdict.is_clean()), (MANY, true));
}
