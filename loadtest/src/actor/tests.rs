//! Actors against small servers in this process.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ledger::{Lines, MessageId, Place, Promise, Sighting};
use crate::report::data::Measured;

/// The run all these messages belong to.
const RUN: u32 = 0x77;

struct Stage {
    world: Arc<World>,
    directory: tempfile::TempDir,
}

impl Stage {
    /// A run of `milliseconds` with one actor against servers at these addresses.
    fn new(actor: &str, milliseconds: u64, address: SocketAddr) -> Self {
        let target: Target = toml::from_str(&format!(
            "name = \"x\"\nsmtp = \"{address}\"\nsubmission = \"{address}\"\nimap = \"{address}\"\npop3 = \"{address}\"\n\
             remote_domains = [\"far.example\"]\n\
             [accounts]\ndomain = \"b.example\"\npattern = \"u{{}}\"\ncount = 10\npassword = \"p\"\n"
        ))
        .unwrap();
        let profile: Profile = toml::from_str(&format!(
            "name = \"x\"\nabout = \"x\"\nduration = \"{milliseconds}ms\"\n[traffic]\nsizes = \"2KiB\"\n[[actor]]\n{actor}"
        ))
        .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let world = World {
            letters: Letters::new(1, RUN, profile.traffic.clone(), target.accounts.clone()),
            recorder: Recorder::new(Instant::now(), profile.duration),
            ledger: Ledger::open(directory.path(), RUN).unwrap(),
            recent: Recent::default(),
            part: (1, 1),
            seed: 1,
            target,
            profile,
            stop,
        };
        Self {
            world: Arc::new(world),
            directory,
        }
    }

    /// Plays the actor to its end.
    async fn play(&self) {
        let playing = play(self.world.clone(), &self.world.profile.actors[0], 0);
        let ending = async {
            tokio::time::sleep(self.world.profile.duration).await;
            self.world.stop.cancel();
        };
        let both = async { tokio::join!(playing, ending) };
        tokio::time::timeout(Duration::from_secs(30), both)
            .await
            .expect("an actor ends when the run does");
    }

    fn measured(&self, operation: Operation) -> Measured {
        self.world
            .recorder
            .measured()
            .remove(&operation)
            .unwrap_or_default()
    }

    fn promises(&self) -> Vec<Promise> {
        let lines = Lines::open(&self.directory.path().join("promises")).unwrap();
        lines.map(Result::unwrap).collect()
    }

    fn sightings(&self) -> Vec<Sighting> {
        let lines = Lines::open(&self.directory.path().join("sightings")).unwrap();
        lines.map(Result::unwrap).collect()
    }
}

/// Answers each connection with `serve` for as long as the test lasts; where, and how many there have been.
async fn server<F, W>(serve: F) -> (SocketAddr, Arc<Mutex<usize>>)
where
    F: Fn(Wire) -> W + Send + 'static,
    W: Future<Output = Option<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(Mutex::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            *counted.lock() += 1;
            tokio::spawn(serve(Wire::new(tcp)));
        }
    });
    (address, count)
}

/// The server's end of a connection; `None` everywhere means that it is closed.
struct Wire {
    input: BufReader<tokio::net::tcp::OwnedReadHalf>,
    output: OwnedWriteHalf,
}

impl Wire {
    fn new(tcp: TcpStream) -> Self {
        // Replies to pipelined commands are written one by one; they must not wait for acknowledgements.
        tcp.set_nodelay(true).unwrap();
        let (input, output) = tcp.into_split();
        Self {
            input: BufReader::new(input),
            output,
        }
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let read = self.input.read_until(b'\n', &mut line).await.ok()?;
        (read > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    async fn say(&mut self, text: &str) -> Option<()> {
        self.output.write_all(format!("{text}\r\n").as_bytes()).await.ok()
    }

    /// The rest of a message, up to the lone dot; whose it is.
    async fn message(&mut self) -> Option<MessageId> {
        let mut id = None;
        loop {
            match self.line().await?.as_str() {
                "." => return id,
                line => id = id.or_else(|| line.strip_prefix("X-Load-Id: ")?.parse().ok()),
            }
        }
    }
}

/// What an SMTP server has seen.
#[derive(Default)]
struct Mail {
    /// How often each message came whole, and to whom it was accepted.
    taken: Mutex<BTreeMap<MessageId, (u32, Vec<String>)>>,
    /// Recipients that were told to come back.
    put_off: Mutex<HashMap<String, u32>>,
    authenticated: Mutex<HashSet<String>>,
}

impl Mail {
    fn take(&self, id: MessageId, recipients: &mut Vec<String>) {
        let mut taken = self.taken.lock();
        let (times, to) = taken.entry(id).or_default();
        *times += 1;
        to.append(recipients);
    }
}

/// How it behaves.
#[derive(Clone, Copy, Default)]
struct Manners {
    /// Refuses every recipient once.
    puts_off: bool,
    /// Closes after a message instead of answering.
    silent: bool,
    /// Closes after its answer to a message.
    closes: bool,
    /// Answers nothing at all.
    hangs: bool,
}

async fn smtp(mut wire: Wire, mail: Arc<Mail>, manners: Manners) -> Option<()> {
    if manners.hangs {
        std::future::pending::<()>().await;
    }
    wire.say("220 b.example").await?;
    let mut recipients = Vec::new();
    loop {
        let line = wire.line().await?;
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_owned();
        match verb.as_str() {
            "EHLO" => {
                wire.say("250-b.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 AUTH PLAIN")
                    .await?
            }
            "AUTH" => {
                mail.authenticated.lock().insert(line);
                wire.say("235 in").await?;
            }
            "MAIL" => {
                recipients.clear();
                wire.say("250 ok").await?;
            }
            "RCPT" => {
                let put_off = manners.puts_off && {
                    let mut known = mail.put_off.lock();
                    let times = known.entry(line.clone()).or_default();
                    *times += 1;
                    *times == 1
                };
                if put_off {
                    wire.say("451 4.3.0 later").await?;
                } else {
                    recipients.push(line);
                    wire.say("250 ok").await?;
                }
            }
            "DATA" if recipients.is_empty() => wire.say("503 nobody").await?,
            "DATA" => {
                wire.say("354 go").await?;
                let id = wire.message().await?;
                mail.take(id, &mut recipients);
                if manners.silent {
                    return None;
                }
                wire.say("250 taken").await?;
                if manners.closes {
                    return None;
                }
            }
            "QUIT" => return wire.say("221 bye").await,
            _ => wire.say("250 ok").await?,
        }
    }
}

async fn smtp_server(manners: Manners) -> (SocketAddr, Arc<Mutex<usize>>, Arc<Mail>) {
    let mail = Arc::new(Mail::default());
    let kept = mail.clone();
    let (address, count) = server(move |wire| smtp(wire, mail.clone(), manners)).await;
    (address, count, kept)
}

const MX: &str = "kind = \"mx\"\nconnections = 4\nmessages_per_connection = 7\narrivals = \"constant\"\nrate = [{ for = \"1s\", at = 200 }]";

#[tokio::test]
async fn every_arrival_is_sent_once_and_promised() {
    let (address, connections, mail) = smtp_server(Manners::default()).await;
    let stage = Stage::new(MX, 500, address);
    stage.play().await;
    let measured = stage.measured(Operation::MxMessage);
    assert_eq!((measured.offered, measured.done), (100, 100));
    let taken = mail.taken.lock().clone();
    assert_eq!(taken.len(), 100);
    assert!(taken.values().all(|(times, _)| *times == 1));
    let promises = stage.promises();
    assert_eq!(
        promises.len(),
        taken.values().map(|(_, to)| to.len()).sum::<usize>()
    );
    for promise in &promises {
        let letter = stage.world.letters.letter(promise.id.number);
        assert_eq!((promise.id, promise.digest), (letter.id, letter.digest));
        assert!(
            taken[&promise.id]
                .1
                .contains(&format!("RCPT TO:<{}>", promise.recipient))
        );
        assert!(promise.began <= promise.at && promise.at < 30_000_000);
        assert!(stage.world.recent.when_answered(promise.id).is_some());
    }
    // 7 messages each, and a few for those that were busy.
    assert!((15..=30).contains(&*connections.lock()), "{}", connections.lock());
    assert_eq!(
        stage.measured(Operation::MxConnect).done,
        *connections.lock() as u64
    );
}

#[tokio::test]
async fn parts_send_different_messages() {
    let (address, _, mail) = smtp_server(Manners::default()).await;
    for part in 1..=3 {
        let mut stage = Stage::new(MX, 150, address);
        Arc::get_mut(&mut stage.world).unwrap().part = (part, 3);
        stage.play().await;
    }
    let taken = mail.taken.lock().clone();
    assert_eq!(
        taken.keys().map(|id| id.number).collect::<Vec<_>>(),
        (0..30).collect::<Vec<u64>>()
    );
    assert!(taken.values().all(|(times, _)| *times == 1));
}

#[tokio::test]
async fn what_was_put_off_is_tried_again_as_an_operation_of_its_own() {
    let (address, _, mail) = smtp_server(Manners {
        puts_off: true,
        ..Manners::default()
    })
    .await;
    let stage = Stage::new(MX, 1500, address);
    stage.play().await;
    let measured = stage.measured(Operation::MxMessage);
    assert!(measured.deferred >= 5 && measured.offered > 300, "{measured:?}");
    assert_eq!(measured.offered, measured.done + measured.deferred);
    let promised: HashSet<_> = stage
        .promises()
        .iter()
        .map(|it| (it.id, it.recipient.clone()))
        .collect();
    assert_eq!(
        promised.len(),
        stage.promises().len(),
        "nobody was promised a message twice"
    );
    let accepted: usize = mail.taken.lock().values().map(|(_, to)| to.len()).sum();
    assert_eq!(accepted, promised.len());
    assert!(
        mail.taken.lock().values().any(|(times, _)| *times > 1),
        "some went to the others first"
    );
}

#[tokio::test]
async fn a_message_without_an_answer_is_never_sent_again() {
    let (address, _, mail) = smtp_server(Manners {
        silent: true,
        ..Manners::default()
    })
    .await;
    let stage = Stage::new(MX, 600, address);
    stage.play().await;
    assert!(mail.taken.lock().len() > 50);
    assert!(mail.taken.lock().values().all(|(times, _)| *times == 1));
    assert_eq!(stage.measured(Operation::MxMessage).broken, 120);
    assert!(stage.promises().is_empty());
}

#[tokio::test]
async fn a_server_that_closes_between_messages_loses_none() {
    let (address, connections, mail) = smtp_server(Manners {
        closes: true,
        ..Manners::default()
    })
    .await;
    let stage = Stage::new(MX, 300, address);
    stage.play().await;
    let measured = stage.measured(Operation::MxMessage);
    assert_eq!((measured.done, measured.broken), (60, 0));
    assert!(mail.taken.lock().values().all(|(times, _)| *times == 1));
    assert!(*connections.lock() >= 60);
}

#[tokio::test]
async fn arrivals_do_not_wait_for_a_server_that_hangs() {
    let (address, connections, _) = smtp_server(Manners {
        hangs: true,
        ..Manners::default()
    })
    .await;
    let stage = Stage::new(MX, 300, address);
    let playing = tokio::time::timeout(Duration::from_millis(600), stage.play());
    playing.await.expect_err("four connections still wait");
    let measured = stage.measured(Operation::MxMessage);
    assert_eq!((measured.offered, measured.done), (60, 0));
    assert_eq!(*connections.lock(), 4);
}

#[tokio::test]
async fn submissions_come_from_an_account_and_go_elsewhere_too() {
    let (address, _, mail) = smtp_server(Manners::default()).await;
    let actor = "kind = \"submission\"\nconnections = 3\nmessages_per_connection = 5\nremote_share = 0.5\n\
                 rate = [{ for = \"1s\", at = 200 }]";
    let stage = Stage::new(actor, 500, address);
    stage.play().await;
    let measured = stage.measured(Operation::SubmitMessage);
    assert!(
        measured.done > 50 && measured.done == measured.offered,
        "{measured:?}"
    );
    assert!(mail.authenticated.lock().len() > 2, "several accounts");
    let promises = stage.promises();
    let remote = promises
        .iter()
        .filter(|it| it.recipient.ends_with("@far.example"))
        .count();
    assert!(
        remote > 10 && remote < promises.len() - 10,
        "{remote} of {}",
        promises.len()
    );
    assert!(
        promises
            .iter()
            .all(|it| it.decoded.is_none() || it.recipient.ends_with("@far.example"))
    );
}

/// One maildrop for everybody, with messages that are deleted at QUIT; what the ledger knew when they were.
struct Maildrop {
    messages: Mutex<Vec<(String, String)>>,
    ledger: Mutex<Option<std::path::PathBuf>>,
    unknown_at_deletion: Mutex<usize>,
}

async fn pop3(mut wire: Wire, maildrop: Arc<Maildrop>) -> Option<()> {
    wire.say("+OK hello").await?;
    let mut marked: HashSet<usize> = HashSet::new();
    loop {
        let line = wire.line().await?;
        let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
        let number = argument.parse::<usize>().unwrap_or_default();
        let messages = maildrop.messages.lock().clone();
        match verb {
            "CAPA" => wire.say("+OK\r\nPIPELINING\r\nUIDL\r\n.").await?,
            "UIDL" => {
                let lines: String = (1..)
                    .zip(&messages)
                    .map(|(number, (uid, _))| format!("{number} {uid}\r\n"))
                    .collect();
                wire.say(&format!("+OK\r\n{lines}.")).await?;
            }
            "RETR" => {
                wire.say(&format!("+OK\r\n{}\r\n.", messages[number - 1].1))
                    .await?
            }
            "DELE" => {
                let directory = maildrop.ledger.lock().clone();
                let known = directory.map(|it| std::fs::read_to_string(it.join("sightings")).unwrap());
                let uid = &messages[number - 1].0;
                if !known.is_some_and(|known| known.contains(uid)) {
                    *maildrop.unknown_at_deletion.lock() += 1;
                }
                marked.insert(number);
                wire.say("+OK").await?;
            }
            "QUIT" => {
                let mut at = 0;
                maildrop.messages.lock().retain(|_| {
                    at += 1;
                    !marked.contains(&at)
                });
                return wire.say("+OK bye").await;
            }
            _ => wire.say("+OK").await?,
        }
    }
}

async fn pop3_server(messages: usize) -> (SocketAddr, Arc<Maildrop>) {
    let message = |number: usize| {
        let text = format!("X-Load-Id: {RUN:x}-{number:x}\r\nSubject: x\r\n\r\nbody {number}");
        (format!("uid{number}."), text)
    };
    let mut all: Vec<_> = (0..messages).map(message).collect();
    all.push(("stranger".into(), "Subject: not ours\r\n\r\nx".into()));
    let maildrop = Arc::new(Maildrop {
        messages: Mutex::new(all),
        ledger: Mutex::default(),
        unknown_at_deletion: Mutex::default(),
    });
    let kept = maildrop.clone();
    let (address, _) = server(move |wire| pop3(wire, maildrop.clone())).await;
    (address, kept)
}

const POLLS: &str = "kind = \"pop3-poller\"\nconnections = 1\narrivals = \"constant\"\nrate = [{ for = \"1s\", at = 10 }]\ndrain = ";

#[tokio::test]
async fn a_drained_message_is_in_the_ledger_before_it_is_deleted() {
    let (address, maildrop) = pop3_server(5).await;
    let stage = Stage::new(&format!("{POLLS}true"), 400, address);
    *maildrop.ledger.lock() = Some(stage.directory.path().to_owned());
    stage.play().await;
    assert_eq!(stage.measured(Operation::Pop3Login).done, 4);
    assert_eq!(stage.measured(Operation::Pop3Update).done, 4);
    assert_eq!(*maildrop.unknown_at_deletion.lock(), 0);
    let left: Vec<_> = maildrop.messages.lock().iter().map(|it| it.0.clone()).collect();
    assert_eq!(left, ["stranger"], "what is not ours stays");
    let deleted: Vec<bool> = stage
        .sightings()
        .iter()
        .filter_map(|sighting| match &sighting.place {
            Place::Maildrop { deleted, .. } => Some(*deleted),
            _ => None,
        })
        .collect();
    assert_eq!(
        deleted,
        [false, false, false, false, false, true, true, true, true, true]
    );
}

#[tokio::test]
async fn a_kept_message_is_read_once_by_each_account_and_not_deleted() {
    let (address, maildrop) = pop3_server(5).await;
    let stage = Stage::new(&format!("{POLLS}false"), 2000, address);
    stage.play().await;
    assert_eq!(maildrop.messages.lock().len(), 6);
    assert!(stage.sightings().is_empty());
    let (polls, read) = (
        stage.measured(Operation::Pop3Login).done,
        stage.measured(Operation::Pop3Retrieve).done,
    );
    assert_eq!(polls, 20);
    // Ten accounts were polled twice on average; none reads anything a second time.
    assert!(read % 6 == 0 && read <= 60, "{read}");
}

/// An INBOX that grows by a message whenever somebody idles, up to `most`.
struct Inbox {
    exists: Mutex<u32>,
    most: u32,
    said: Mutex<HashMap<String, u32>>,
    arrived: Box<dyn Fn(MessageId) + Send + Sync>,
}

const CAPABILITIES: &str = "* CAPABILITY IMAP4rev1 IDLE MOVE LITERAL+ QRESYNC";

async fn imap(mut wire: Wire, inbox: Arc<Inbox>) -> Option<()> {
    wire.say("* OK hello").await?;
    loop {
        let line = wire.line().await?;
        let (tag, command) = line.split_once(' ')?;
        let (tag, mut verb) = (
            tag.to_owned(),
            command.split(' ').take(2).collect::<Vec<_>>().join(" "),
        );
        if !verb.starts_with("UID ") {
            verb = command.split(' ').next()?.to_owned();
        }
        if command.contains("QRESYNC") {
            verb.push_str(" QRESYNC");
        }
        *inbox.said.lock().entry(verb.clone()).or_default() += 1;
        let exists = *inbox.exists.lock();
        match verb.as_str() {
            "SELECT" | "SELECT QRESYNC" => {
                let next = exists + 1;
                wire.say(&format!(
                    "* {exists} EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT {next}] x\r\n* OK [HIGHESTMODSEQ {next}] x"
                ))
                .await?;
            }
            "UID FETCH" if command.contains("X-Load-Id") => {
                let from: u32 = command.split([' ', ':']).nth(2)?.parse().ok()?;
                for uid in from..=exists {
                    let field = format!("X-Load-Id: {RUN:x}-{uid:x}\r\n\r\n");
                    let size = field.len();
                    wire.say(&format!(
                        "* {uid} FETCH (UID {uid} FLAGS () BODY[HEADER.FIELDS (\"X-Load-Id\")] {{{size}}}\r\n{field})"
                    ))
                    .await?;
                }
            }
            "APPEND" => {
                let size: u64 = command.rsplit('{').next()?.trim_end_matches("+}").parse().ok()?;
                let mut content = tokio::io::AsyncReadExt::take(&mut wire.input, size);
                tokio::io::copy(&mut content, &mut tokio::io::sink()).await.ok()?;
                wire.line().await?;
            }
            "IDLE" => {
                wire.say("+ idling").await?;
                if exists < inbox.most {
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    *inbox.exists.lock() += 1;
                    (inbox.arrived)(MessageId {
                        run: RUN,
                        number: u64::from(exists + 1),
                    });
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    wire.say(&format!("* {} EXISTS", exists + 1)).await?;
                }
                assert_eq!(wire.line().await?, "DONE");
            }
            "CAPABILITY" => wire.say(CAPABILITIES).await?,
            "LOGOUT" => {
                wire.say("* BYE").await?;
                return wire.say(&format!("{tag} OK")).await;
            }
            _ => {}
        }
        wire.say(&format!("{tag} OK done")).await?;
    }
}

/// Plays one device for a while.
async fn device(more: &str, milliseconds: u64, most: u32) -> (Stage, Arc<Inbox>) {
    let world: Arc<Mutex<Option<Arc<World>>>> = Arc::default();
    let told = world.clone();
    let inbox = Arc::new(Inbox {
        exists: Mutex::new(0),
        most,
        said: Mutex::default(),
        arrived: Box::new(move |id| {
            let world = told.lock().clone();
            world.map(|world| world.recent.answered(id, Instant::now()));
        }),
    });
    let kept = inbox.clone();
    let (address, _) = server(move |wire| imap(wire, inbox.clone())).await;
    let actor = format!("kind = \"imap-device\"\npopulation = 1\n{more}");
    let stage = Stage::new(&actor, milliseconds, address);
    *world.lock() = Some(stage.world.clone());
    stage.play().await;
    (stage, kept)
}

#[tokio::test]
async fn a_device_hears_of_each_message_and_knows_how_late() {
    let (stage, inbox) = device("actions_per_hour = 0", 800, 5).await;
    let push = stage.measured(Operation::ImapPush);
    assert_eq!((push.offered, push.done), (5, 5));
    assert!(
        (20_000..500_000).contains(&push.latency.p50),
        "{:?}",
        push.latency
    );
    assert_eq!(stage.measured(Operation::ImapLogin).done, 1);
    assert_eq!(stage.measured(Operation::ImapSelect).done, 1);
    let said = inbox.said.lock().clone();
    assert_eq!((said["LOGOUT"], said["IDLE"]), (1, 6));
}

#[tokio::test]
async fn a_device_does_what_users_do_and_its_appends_are_promises() {
    let (stage, inbox) = device("actions_per_hour = 720000", 1500, 3).await;
    let operations = [
        (Operation::ImapBody, "UID FETCH"),
        (Operation::ImapStore, "UID STORE"),
        (Operation::ImapSearch, "UID SEARCH"),
        (Operation::ImapMove, "UID MOVE"),
        (Operation::ImapAppend, "APPEND"),
    ];
    let said = inbox.said.lock().clone();
    for (operation, verb) in operations {
        let measured = stage.measured(operation);
        assert!(
            measured.done >= 1 && measured.done == measured.offered,
            "{operation:?} {measured:?}"
        );
        assert!(u64::from(said[verb]) >= measured.done);
    }
    let promises = stage.promises();
    assert_eq!(promises.len() as u64, stage.measured(Operation::ImapAppend).done);
    assert!(promises.iter().all(|it| it.recipient == "u0@b.example"));
    let ids: HashSet<_> = promises.iter().map(|it| it.id).collect();
    assert_eq!(ids.len(), promises.len());
}

#[tokio::test]
async fn a_device_comes_back_after_a_break_with_what_it_knows() {
    let (listener, said) = (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        Arc::new(Mutex::new(Vec::new())),
    );
    let address = listener.local_addr().unwrap();
    let heard = said.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (mut wire, heard) = (Wire::new(tcp), heard.clone());
            tokio::spawn(async move {
                wire.say("* OK hello").await?;
                loop {
                    let line = wire.line().await?;
                    heard.lock().push(line.split_once(' ')?.1.to_owned());
                    if line.contains("SELECT") {
                        wire.say("* 0 EXISTS\r\n* OK [UIDVALIDITY 3] x\r\n* OK [UIDNEXT 1] x\r\n* OK [HIGHESTMODSEQ 9] x")
                            .await?;
                    }
                    if line.contains("CAPABILITY") {
                        wire.say(CAPABILITIES).await?;
                    }
                    if line.contains("IDLE") {
                        return Some(());
                    }
                    wire.say(&format!("{} OK done", line.split(' ').next()?)).await?;
                }
            });
        }
    });
    let stage = Stage::new(
        "kind = \"imap-device\"\npopulation = 1\nactions_per_hour = 0",
        3000,
        address,
    );
    stage.play().await;
    let said = said.lock().clone();
    let selects: Vec<_> = said.iter().filter(|line| line.starts_with("SELECT")).collect();
    assert!(selects.len() >= 2, "{said:?}");
    assert_eq!(selects[0], "SELECT INBOX");
    assert_eq!(selects[1], "SELECT INBOX (QRESYNC (3 9))");
    assert_eq!(
        stage.measured(Operation::ImapResync).done as usize,
        selects.len() - 1
    );
}
