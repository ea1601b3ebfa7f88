//! Two mail stores work on the same accounts at full speed, against the hashing that would keep them apart.
//!
//! Two ingresses and two IMAP gateways, each of which calls only its own mail store. Through both of them at once mail is delivered,
//! appended, flagged, moved and expunged, while a session at each gateway watches. In the end every promise was kept once, each
//! watcher has seen every UID in order, no version is missing, and quotas are exact.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postrider_proto::mailstore::change::Kind;
use postrider_proto::mailstore::mail_store_client::MailStoreClient;
use postrider_proto::mailstore::{GetAccountRequest, GetAccountResponse, ListChangesRequest};
use postrider_testkit::imap::Imap;
use postrider_testkit::node::{Member, Node, Shape, Wish};
use postrider_testkit::wire::{Wire, pause};
use tonic::transport::{Channel, Endpoint};

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");
const PASSWORD: &str = "hungry";
/// Everything happens to this account.
const BOB: &str = "bob@hamburger.edu";
/// This one fills up.
const EVE: &str = "eve@hamburger.edu";
const EVES_QUOTA: u64 = 128 << 10;
/// This one is only delivered to, by one store and by two, to compare.
const ANN: &str = "ann@hamburger.edu";

/// Connections that deliver, to each ingress.
const CONNECTIONS: usize = 8;
/// Deliveries to Bob, to Eve, and each time to Ann.
const FOR_BOB: u64 = 1000;
const FOR_EVE: u64 = 200;
const FOR_ANN: u64 = 600;
/// Sessions that change things, at each gateway.
const ACTORS: usize = 3;
/// More than any letter has.
const LARGEST: u64 = 10 << 10;
/// Two stores at one account get in each other's way. They may not do less than this part of what one does alone.
const LEAST_SHARE: f64 = 0.33;

const APART: [Member; 7] = [
    Member::new("ingress-1", "smtp-ingress").calling(&["store-1"]),
    Member::new("ingress-2", "smtp-ingress").calling(&["store-2"]),
    Member::new("imap-1", "imap-gateway").calling(&["store-1"]),
    Member::new("imap-2", "imap-gateway").calling(&["store-2"]),
    Member::new("store-1", "mail-store"),
    Member::new("store-2", "mail-store"),
    Member::new("directory", "directory"),
];
const INGRESSES: [&str; 2] = ["ingress-1", "ingress-2"];
const GATEWAYS: [&str; 2] = ["imap-1", "imap-2"];
const STORES: [&str; 2] = ["store-1", "store-2"];

/// What senders were told, by the number of the message.
#[derive(Default)]
struct Ledger {
    next: AtomicU64,
    promised: Mutex<BTreeSet<u64>>,
    /// Answered 452: the mailbox is full.
    full: Mutex<BTreeSet<u64>>,
    /// Answers 451.
    deferred: AtomicU64,
}

#[test]
fn both_work_on_one_account_and_nothing_is_lost_doubled_skipped_or_miscounted() {
    let wish = Wish {
        hostname: "hamburger.edu".into(),
        ..Wish::default()
    };
    let mut node = Node::shaped(Shape::cluster_of(&APART), BINARY, &wish);
    node.restart();
    for (account, quota) in [(ANN, 1 << 30), (BOB, 1 << 30), (EVE, EVES_QUOTA)] {
        node.add_account(account, PASSWORD);
        node.admin(&[
            "account",
            "set",
            account,
            "--quota",
            &format!("{}KiB", quota / 1024),
        ]);
    }
    compare(&node);
    println!("{}", commits(&mut node));
    everything_at_once(&node);
    println!("{}", commits(&mut node));
}

/// What the stores counted.
fn commits(node: &mut Node) -> String {
    let mut text = String::new();
    for store in STORES {
        let metrics = node.process(store).http("/metrics").unwrap();
        let of_commits = |line: &&str| line.starts_with("mailstore_commit") && line.contains("_total");
        let lines: Vec<_> = metrics.lines().filter(of_commits).collect();
        text += &format!("{store}: {}\n", lines.join(", "));
    }
    text
}

/// How fast one store delivers to an account, and how fast two of them do.
fn compare(node: &Node) {
    let one = INGRESSES.map(|_| node.address_of(INGRESSES[0], "smtp"));
    let two = INGRESSES.map(|ingress| node.address_of(ingress, "smtp"));
    // What is slow because it is the first time counts for neither.
    deliver_to(two, ANN, FOR_ANN / 4);
    let rates = [one, two].map(|ingresses| {
        let begin = Instant::now();
        deliver_to(ingresses, ANN, FOR_ANN);
        FOR_ANN as f64 / begin.elapsed().as_secs_f64()
    });
    let [alone, together] = rates;
    println!("deliveries to one account: {alone:.0}/s by one store, {together:.0}/s by two");
    assert!(together > alone * LEAST_SHARE, "two stores crawl where one walks");
}

fn deliver_to(ingresses: [SocketAddr; 2], account: &str, count: u64) {
    let ledger = &Ledger::default();
    std::thread::scope(|scope| {
        for address in ingresses {
            for _ in 0..CONNECTIONS {
                scope.spawn(move || deliver(ledger, address, account, count));
            }
        }
    });
    assert_eq!(ledger.promised.lock().unwrap().len() as u64, count, "{account}");
    assert_eq!(
        ledger.deferred.load(Ordering::Relaxed),
        0,
        "no sender is told to wait"
    );
}

/// Delivers until the ledger has so many numbers, over one connection. What is deferred is tried again.
fn deliver(ledger: &Ledger, address: SocketAddr, account: &str, count: u64) {
    let mut wire = Wire::connect(address);
    wire.reply("220");
    wire.command("EHLO crepes.fr", "250");
    loop {
        let number = ledger.next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            break;
        }
        let mut answer = send(&mut wire, account, &letter(number));
        while answer.starts_with("451") {
            println!("{account}: message {number}: {answer}");
            let deferred = ledger.deferred.fetch_add(1, Ordering::Relaxed);
            assert!(deferred < 100, "{account}: deferred again and again");
            answer = send(&mut wire, account, &letter(number));
        }
        let kept = match answer.get(..3) {
            Some("250") => &ledger.promised,
            Some("452") => &ledger.full,
            _ => panic!("{account}: message {number}: {answer}"),
        };
        kept.lock().unwrap().insert(number);
    }
    wire.command("QUIT", "221");
}

/// One transaction; the last reply of it.
fn send(wire: &mut Wire, account: &str, letter: &str) -> String {
    wire.send_bytes(format!("MAIL FROM:<alice@crepes.fr>\r\nRCPT TO:<{account}>\r\nDATA\r\n").as_bytes());
    wire.reply("250");
    let recipient = wire.line();
    if !recipient.starts_with("250") {
        wire.reply("5");
        wire.command("RSET", "250");
        return recipient;
    }
    wire.reply("354");
    wire.send_bytes(letter.as_bytes());
    wire.send_bytes(b".\r\n");
    wire.line()
}

fn letter(number: u64) -> String {
    let filler = "Do you like ketchup? How about pickles? ".repeat(1 + number as usize % 7) + "\r\n";
    let lines = filler.repeat(1 + number as usize % 29);
    format!("From: alice@crepes.fr\r\nSubject: Condiments\r\nX-Number: {number}\r\n\r\n{lines}")
}

/// What sessions do to Bob's mail while it comes in.
#[derive(Default)]
struct Scene {
    bobs: Ledger,
    eves: Ledger,
    /// Numbers that were appended, and those that were expunged afterwards.
    appended: Mutex<BTreeSet<u64>>,
    expunged: Mutex<BTreeSet<u64>>,
    /// The last UID each watcher has seen.
    seen: [AtomicU32; 2],
    /// No more mail comes.
    over: AtomicBool,
}

impl Scene {
    /// What both have seen may be removed: so each watcher must see every UID there ever was.
    fn seen_by_both(&self) -> u32 {
        let [one, other] = &self.seen;
        one.load(Ordering::Acquire).min(other.load(Ordering::Acquire))
    }
}

fn everything_at_once(node: &Node) {
    let scene = Scene::default();
    let [bob, eve] = [BOB, EVE].map(|account| id_of(node, account));
    Imap::login(node.address("imap"), BOB, PASSWORD).ok("CREATE Kept");
    let begin = Instant::now();
    let (watched, marked, full) = std::thread::scope(|scope| {
        let scene = &scene;
        let watchers = [0, 1].map(|at| {
            // There before the first message is.
            let mut imap = Imap::login(node.address_of(GATEWAYS[at], "imap"), BOB, PASSWORD);
            assert_eq!(imap.select("INBOX"), 0);
            scope.spawn(move || watch(scene, at, imap))
        });
        let actors = (0..2 * ACTORS).map(|at| {
            let address = node.address_of(GATEWAYS[at % 2], "imap");
            scope.spawn(move || act(scene, at, address))
        });
        let actors: Vec<_> = actors.collect();
        let quota = scope.spawn(|| observe_quota(node, scene, eve));
        let mut senders = Vec::new();
        for ingress in INGRESSES {
            let address = node.address_of(ingress, "smtp");
            for _ in 0..CONNECTIONS {
                senders.push(scope.spawn(move || deliver(&scene.bobs, address, BOB, FOR_BOB)));
            }
            for _ in 0..CONNECTIONS / 4 {
                senders.push(scope.spawn(move || deliver(&scene.eves, address, EVE, FOR_EVE)));
            }
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        scene.over.store(true, Ordering::Release);
        let marked: Vec<_> = actors.into_iter().map(|actor| actor.join().unwrap()).collect();
        // The last news end what the watchers wait for.
        scene.bobs.next.store(FOR_BOB, Ordering::Relaxed);
        deliver(
            &scene.bobs,
            node.address_of(INGRESSES[0], "smtp"),
            BOB,
            FOR_BOB + 1,
        );
        (
            watchers.map(|watcher| watcher.join().unwrap()),
            marked,
            quota.join().unwrap(),
        )
    });
    println!(
        "{FOR_BOB} deliveries, {} messages appended, in {:?}",
        scene.appended.lock().unwrap().len(),
        begin.elapsed()
    );
    assert!(full, "the small account did not fill up while it was looked at");
    for ledger in [&scene.bobs, &scene.eves] {
        assert_eq!(
            ledger.deferred.load(Ordering::Relaxed),
            0,
            "no sender is told to wait"
        );
    }
    assert!(scene.bobs.full.lock().unwrap().is_empty());

    let [one, other] = STORES.map(|store| history(node, store, bob));
    assert!(one == other, "both stores tell the same history");
    let inbox = one.uids.values().max_by_key(|uids| uids.len()).unwrap();
    for (gateway, seen) in GATEWAYS.iter().zip(&watched) {
        assert_eq!(
            seen, inbox,
            "{gateway}: what a session saw in the order in which it was there"
        );
    }
    check_bob(node, &scene, bob, &marked);
    check_eve(node, &scene.eves, eve);
}

/// Watches the inbox until the last letter: the UIDs, as they came to be seen.
fn watch(scene: &Scene, at: usize, mut imap: Imap) -> Vec<u32> {
    let mut seen = Vec::new();
    let last = format!("X-Number: {FOR_BOB}\r\n");
    loop {
        imap.idle();
        imap.next_line();
        imap.done();
        let mut more = true;
        while more {
            let next = seen.last().map_or(1, |uid| uid + 1);
            let command = format!("UID FETCH {next}:* (UID BODY.PEEK[HEADER.FIELDS (X-Number)])");
            let lines = imap.ok(&command);
            let letters: Vec<_> = lines.iter().filter(|line| line.contains("BODY[")).collect();
            for line in &letters {
                let uid: u32 = number_after(line, "UID ");
                // `n:*` names the last message even when it is below n (RFC 9051 §9, seq-range).
                match seen.last() {
                    Some(last) if uid <= *last => {
                        assert!(seen.contains(&uid), "UID {uid} is seen after {last}")
                    }
                    _ => seen.push(uid),
                }
            }
            scene.seen[at].store(seen.last().copied().unwrap_or(0), Ordering::Release);
            if letters.iter().any(|line| line.contains(&last)) {
                return seen;
            }
            // What came in meanwhile is told once.
            more = lines.iter().any(|line| line.ends_with(" EXISTS"));
        }
    }
}

/// Appends, flags, moves and expunges while mail comes in: UIDs that bear this actor's keyword, as the server said.
fn act(scene: &Scene, at: usize, address: SocketAddr) -> BTreeSet<u32> {
    let mut imap = Imap::login(address, BOB, PASSWORD);
    imap.select("INBOX");
    let mut marked = BTreeSet::new();
    // Numbers of what this actor appended, by UID, to be expunged by it.
    let mut own: BTreeMap<u32, u64> = BTreeMap::new();
    let mut done = 0;
    for round in 1_u64.. {
        if scene.over.load(Ordering::Acquire) {
            break;
        }
        let number = 1_000_000 * (at as u64 + 1) + round;
        let appended = imap.append("INBOX", "\\Seen", &letter(number));
        scene.appended.lock().unwrap().insert(number);
        let uid = appended.split(' ').nth(3).unwrap().trim_end_matches(']');
        own.insert(uid.parse().unwrap(), number);

        let seen = scene.seen_by_both();
        if seen < 20 {
            continue;
        }
        let flagged = imap.ok(&format!("UID STORE {}:{seen} +FLAGS (by{at})", seen - 19));
        let is_marked = |line: &&String| line.contains("FETCH") && line.contains(&format!("by{at}"));
        marked.extend(
            flagged
                .iter()
                .filter(is_marked)
                .map(|line| number_after::<u32>(line, "UID ")),
        );
        // Each moves its own share, so that no two want to move the same.
        let delivered = imap.search(&format!("UID {}:{seen} UNSEEN", done + 1));
        let share = delivered.iter().filter(|uid| **uid % 16 == at as u32);
        let share: Vec<_> = share.map(u32::to_string).collect();
        // What was appended is seen, so that nobody moves it away.
        if !share.is_empty() {
            imap.ok(&format!("UID MOVE {} Kept", share.join(",")));
        }
        done = seen;
        if round % 3 == 0
            && let Some((uid, number)) = own.iter().next().map(|(uid, number)| (*uid, *number))
            && uid <= seen
        {
            imap.ok(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"));
            let gone = imap.ok(&format!("UID EXPUNGE {uid}"));
            assert!(
                gone.iter().any(|line| line.ends_with(" EXPUNGE")),
                "{uid}: {gone:?}"
            );
            own.remove(&uid);
            scene.expunged.lock().unwrap().insert(number);
        }
    }
    marked
}

/// Looks at the small account until no more mail comes: never more than its quota. Whether it was full.
fn observe_quota(node: &Node, scene: &Scene, account: u64) -> bool {
    let mut most = 0;
    while !scene.over.load(Ordering::Acquire) {
        for store in STORES {
            let used = usage(node, store, account).used_bytes;
            assert!(
                used <= EVES_QUOTA,
                "{used} bytes are there, {EVES_QUOTA} are allowed"
            );
            most = used.max(most);
        }
        pause(Duration::from_millis(20));
    }
    most + LARGEST > EVES_QUOTA
}

/// All that ever happened to an account.
#[derive(Debug, Default, PartialEq)]
struct History {
    versions: Vec<u64>,
    /// UIDs by folder, in the order in which they came to be.
    uids: BTreeMap<u32, Vec<u32>>,
}

/// What a store says: every version from the first one on, and UIDs without a gap.
fn history(node: &Node, store: &str, account: u64) -> History {
    let request = ListChangesRequest {
        account,
        ..ListChangesRequest::default()
    };
    let mut history = History::default();
    call(node, store, |mut client| async move {
        let mut pages = client.list_changes(request).await?.into_inner();
        while let Some(page) = pages.message().await? {
            assert!(!page.resync, "{store} has not kept all changes");
            for commit in page.commits {
                history.versions.push(commit.version);
                for change in commit
                    .changes
                    .iter()
                    .filter(|change| change.kind() == Kind::Added)
                {
                    let uids = history.uids.entry(change.folder).or_default();
                    uids.extend(change.messages.iter().map(|row| row.uid));
                }
            }
        }
        let last = client
            .get_account(GetAccountRequest { account })
            .await?
            .into_inner();
        let all: Vec<u64> = (1..=last.version).collect();
        assert!(
            history.versions == all,
            "{store} skips or repeats a version: {:?}",
            history.versions
        );
        for (folder, uids) in &history.uids {
            assert!(
                uids.iter().copied().eq(1..=uids.len() as u32),
                "{store}, folder {folder}: {uids:?}"
            );
        }
        Ok(history)
    })
}

fn usage(node: &Node, store: &str, account: u64) -> GetAccountResponse {
    call(node, store, |mut client| async move {
        Ok(client
            .get_account(GetAccountRequest { account })
            .await?
            .into_inner())
    })
}

/// Asks one mail store, past everybody who would choose another.
fn call<F: Future<Output = Result<T, tonic::Status>>, T>(
    node: &Node,
    store: &str,
    ask: impl FnOnce(MailStoreClient<Channel>) -> F,
) -> T {
    let url = format!("http://{}", node.rpc_of(store));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let channel = Endpoint::from_shared(url).unwrap().connect().await.unwrap();
        let asking = ask(MailStoreClient::new(channel));
        tokio::time::timeout(Duration::from_secs(30), asking)
            .await
            .unwrap()
            .unwrap()
    })
}

/// A message as a session sees it.
#[derive(Debug, PartialEq)]
struct Letter {
    uid: u32,
    number: u64,
    size: u64,
    /// Without `\Recent`, which is one session's alone.
    flags: BTreeSet<String>,
}

fn letters(imap: &mut Imap, folder: &str) -> Vec<Letter> {
    if imap.select(folder) == 0 {
        return Vec::new();
    }
    let lines = imap.ok("UID FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (X-Number)])");
    let letters = lines.iter().filter(|line| line.contains("BODY["));
    letters
        .map(|line| Letter {
            uid: number_after(line, "UID "),
            number: number_after(line, "X-Number: "),
            size: number_after(line, "RFC822.SIZE "),
            flags: flags_of(line),
        })
        .collect()
}

fn flags_of(line: &str) -> BTreeSet<String> {
    let flags = line.split_once("FLAGS (").unwrap().1.split(')').next().unwrap();
    let lasting = flags.split_whitespace().filter(|flag| *flag != "\\Recent");
    lasting.map(str::to_owned).collect()
}

fn check_bob(node: &Node, scene: &Scene, account: u64, marked: &[BTreeSet<u32>]) {
    let [one, other] = GATEWAYS.map(|gateway| {
        let mut imap = Imap::login(node.address_of(gateway, "imap"), BOB, PASSWORD);
        ["INBOX", "Kept"].map(|folder| letters(&mut imap, folder))
    });
    assert!(one == other, "both gateways show the same: {one:?}\n{other:?}");
    let [inbox, kept] = &one;
    assert!(
        !kept.is_empty() && !scene.expunged.lock().unwrap().is_empty(),
        "too little happened"
    );
    for letter in inbox {
        for (at, marked) in marked.iter().enumerate() {
            let keyword = format!("by{at}");
            let lost = marked.contains(&letter.uid) && !letter.flags.contains(&keyword);
            assert!(!lost, "a flag of {letter:?} was overwritten");
        }
    }
    let mut numbers: Vec<_> = inbox.iter().chain(kept).map(|letter| letter.number).collect();
    numbers.sort_unstable();
    let promised = scene.bobs.promised.lock().unwrap();
    let appended = scene.appended.lock().unwrap();
    let expected = promised.union(&appended).copied().collect::<BTreeSet<_>>();
    let expected: Vec<_> = expected
        .difference(&scene.expunged.lock().unwrap())
        .copied()
        .collect();
    assert_eq!(numbers, expected, "every promise is kept, once");
    let size = inbox.iter().chain(kept).map(|letter| letter.size).sum();
    check_quota(node, BOB, account, numbers.len(), size, 1 << 30);
}

fn check_eve(node: &Node, ledger: &Ledger, account: u64) {
    let mut imap = Imap::login(node.address_of(GATEWAYS[1], "imap"), EVE, PASSWORD);
    let inbox = letters(&mut imap, "INBOX");
    let mut numbers: Vec<_> = inbox.iter().map(|letter| letter.number).collect();
    numbers.sort_unstable();
    let promised: Vec<_> = ledger.promised.lock().unwrap().iter().copied().collect();
    assert_eq!(
        numbers, promised,
        "what was promised is there once, what was refused is not"
    );
    let size: u64 = inbox.iter().map(|letter| letter.size).sum();
    assert!(size <= EVES_QUOTA, "{size} of {EVES_QUOTA} bytes");
    let refused = ledger.full.lock().unwrap();
    assert!(!refused.is_empty(), "the mailbox never was full");
    println!(
        "{EVE}: {} letters, {} refused, {size} of {EVES_QUOTA} bytes",
        numbers.len(),
        refused.len()
    );
    check_quota(node, EVE, account, numbers.len(), size, EVES_QUOTA);
}

/// The account's books, and what both gateways say of them.
fn check_quota(node: &Node, user: &str, account: u64, messages: usize, size: u64, quota: u64) {
    for store in STORES {
        let usage = usage(node, store, account);
        assert_eq!(
            (usage.messages, usage.used_bytes),
            (messages as u64, size),
            "{user} at {store}"
        );
    }
    for gateway in GATEWAYS {
        let mut imap = Imap::login(node.address_of(gateway, "imap"), user, PASSWORD);
        let lines = imap.ok("GETQUOTA \"\"");
        let expected = format!("(STORAGE {} {})", size.div_ceil(1024), quota / 1024);
        assert!(
            lines.iter().any(|line| line.ends_with(&expected)),
            "{user}: {lines:?}, not {expected}"
        );
    }
}

fn id_of(node: &Node, account: &str) -> u64 {
    let shown = node.admin(&["account", "show", account, "--json"]);
    let id = shown.split_once("\"id\":\"").unwrap().1;
    u64::from_str_radix(&id[..16], 16).unwrap()
}

/// The number that follows a text.
fn number_after<T: std::str::FromStr<Err: std::fmt::Debug>>(line: &str, text: &str) -> T {
    let rest = line
        .split_once(text)
        .unwrap_or_else(|| panic!("no `{text}` in {line}"))
        .1;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap()
}
