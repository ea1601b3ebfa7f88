//! The operations, as clients do them.

use std::time::Duration;

use postrider_testkit::imap::Imap;
use postrider_testkit::node::{Node, Shape, Wish};
use postrider_testkit::peer::{Manner, Peer};
use postrider_testkit::wire::{Wire, deliver, pause};

use crate::meter::{self, Column, Counts, Series};

pub const ONE: &str = "delivery of 2 KiB to one recipient, address and account met lately";
const NOT_LATELY: &str = "the same, address not asked for lately";
const FIRST: &str = "the same, the account's first after a restart of all processes";
const LARGE: &str = "delivery of 200 KiB to one recipient";
const STREAMED: &str = "delivery of 1 MiB to one recipient";
const FIFTY: &str = "delivery of 2 KiB to fifty recipients";
const LOGIN: &str = "IMAP login and SELECT, the account's first after a restart of all processes";
pub const AGAIN: &str = "IMAP login and SELECT, again";
const UNWATCHED: &str = "the same, the account's only session at the gateway";
const FETCH: &str = "FETCH of 50 envelopes, first";
const FETCH_AGAIN: &str = "FETCH of 50 envelopes, again";
const STORE: &str = "a flag changed (STORE)";
pub const IDLE: &str = "an IMAP session in IDLE, while nothing happens";
pub const FIRST_ATTEMPT: &str = "message submitted (with AUTH) and sent at the first attempt";
const PUT_OFF: &str = "the same, put off twice and then sent";
/// As the page has them.
const ORDER: [&str; 15] = [
    ONE,
    NOT_LATELY,
    FIRST,
    LARGE,
    STREAMED,
    FIFTY,
    LOGIN,
    AGAIN,
    UNWATCHED,
    FETCH,
    FETCH_AGAIN,
    STORE,
    IDLE,
    FIRST_ATTEMPT,
    PUT_OFF,
];

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");
const PASSWORD: &str = "hungry";
/// `\0sender@here.example\0hungry` in base64.
const PLAIN: &str = "AHNlbmRlckBoZXJlLmV4YW1wbGUAaHVuZ3J5";
/// How often an operation is done; what counts is what every one of them took.
const RUNS: usize = 5;
/// The same of what takes long, and of what happens once a restart: to so many accounts, which hold so many messages each.
const FEW: usize = 3;
const MESSAGES: usize = 50;
/// Accounts, and sessions in IDLE; and for how long these are watched: longer than the longest time between two looks at an account.
const ACCOUNTS: usize = 50;
const IDLE_FOR: Duration = Duration::from_secs(40);
/// How long anything may take.
const LONG: Duration = Duration::from_secs(180);
const SMALL: usize = 2 << 10;
/// What was put off is tried again after a second, so that nobody waits.
const RETRY: &str = "[queue]\nretry = { first = \"1s\", max = \"1s\", jitter = 0.0, give_up = \"5m\", warn_after = \"5m\" }\n";

/// What was measured: the operation's name, and what it took.
pub type Measured = Vec<(String, Counts)>;

/// A cluster, and the other servers its mail goes to: one that takes everything at once, and those that put every message off twice.
pub struct Scene {
    node: Node,
    peer: Peer,
    busy: Vec<Peer>,
    /// Letters so far: each is another one.
    letters: usize,
    measured: Measured,
}

impl Scene {
    /// Starts it over the test engines.
    pub fn start() -> Self {
        let peer = Peer::start(Manner::default());
        let later = Manner {
            message_replies: vec!["451 4.3.2 later".into(); 2],
            ..Manner::default()
        };
        let busy: Vec<Peer> = (0..FEW).map(|_| Peer::start(later.clone())).collect();
        let mut routes = vec![("there.example".to_owned(), peer.address())];
        routes.extend(
            busy.iter()
                .enumerate()
                .map(|(number, peer)| (busy_domain(number), peer.address())),
        );
        let wish = Wish {
            hostname: "here.example".into(),
            routes,
            more: RETRY.into(),
            ..Wish::default()
        };
        let mut node = Node::shaped(Shape::cluster(), BINARY, &wish);
        node.restart();
        node.add_account("sender@here.example", PASSWORD);
        (0..ACCOUNTS).for_each(|number| node.add_account(&address(number), PASSWORD));
        Self {
            node,
            peer,
            busy,
            letters: 0,
            measured: Measured::new(),
        }
    }

    /// Does everything and counts it.
    pub fn measure(mut self) -> Measured {
        // Every account is there, and every process has done its first.
        (0..ACCOUNTS).for_each(|number| self.deliver(&[number], SMALL));
        for _ in 0..MESSAGES {
            (0..FEW).for_each(|reader| self.deliver(&[reader], SMALL));
        }
        self.submit("there.example");
        self.deliveries();
        self.sessions();
        self.submissions();
        self.after_a_restart();
        let place = |(operation, _): &(String, Counts)| ORDER.iter().position(|other| other == operation);
        self.measured.sort_by_key(place);
        self.measured
    }

    fn deliveries(&mut self) {
        let one = self.runs(RUNS, |scene, _| scene.deliver(&[0], SMALL));
        self.note(ONE, one);
        let large = self.runs(RUNS, |scene, _| scene.deliver(&[0], 200 << 10));
        self.note(LARGE, large);
        let streamed = self.runs(RUNS, |scene, _| scene.deliver(&[0], 1 << 20));
        self.note(STREAMED, streamed);
        let all: Vec<usize> = (0..ACCOUNTS).collect();
        let fifty = self.runs(FEW, |scene, _| scene.deliver(&all, SMALL));
        let before = meter::settled(&mut self.node);
        // Nothing else uses the queue meanwhile. The intents are due a minute after they were written, and are found to be settled.
        self.idle_sessions();
        let woken = Series {
            column: Column::Consumed,
            name: "ready".into(),
        };
        let ready = |counts: &Counts| counts.get(&woken).copied().unwrap_or_default();
        let mut after = before.clone();
        postrider_testkit::wire::eventually("the intents are looked at", LONG, || {
            after = meter::settled(&mut self.node);
            (ready(&after) >= ready(&before) + FEW as u64).then_some(())
        });
        let of_the_queue = |series: &Series| {
            matches!(series.column, Column::Produced | Column::Consumed) || series.name.starts_with("unit")
        };
        let mut late = meter::between(&before, &after);
        late.retain(|series, _| of_the_queue(series));
        let mut whole = meter::sum(&fifty, &meter::shared(&late, FEW));
        // Those of commits in the same moment go together: one each is the most.
        at_most(&mut whole, Column::Redis, "publish", ACCOUNTS as u64);
        self.note(FIFTY, whole);
        // By now nobody was asked about these for longer than an answer is believed.
        let forgotten = self.runs(FEW, |scene, number| scene.deliver(&[10 + number], SMALL));
        self.note(NOT_LATELY, forgotten);
    }

    fn idle_sessions(&mut self) {
        let start = |number| {
            let mut imap = self.session(number);
            imap.idle();
            imap
        };
        let idle: Vec<Imap> = (0..ACCOUNTS).map(start).collect();
        let before = meter::settled(&mut self.node);
        pause(IDLE_FOR);
        let after = meter::settled(&mut self.node);
        drop(idle);
        self.note(IDLE, meter::shared(&meter::between(&before, &after), ACCOUNTS));
    }

    fn sessions(&mut self) {
        // They stay: watching begins a moment after SELECT, and only for those who are still there.
        let mut held: Vec<Imap> = (0..RUNS).map(|number| self.session(10 + number)).collect();
        let again = self.runs(RUNS, |scene, number| held.push(scene.session(10 + number)));
        self.note(AGAIN, again);
        drop(held);
        let mut held = Vec::new();
        let mut alone = self.runs(RUNS, |scene, number| held.push(scene.session(20 + number)));
        // SELECT's, and the watch's where it runs at another mail-store than the account's own.
        at_most(&mut alone, Column::Reads, "account", 2);
        self.note(UNWATCHED, alone);
        drop(held);
        let fetch = format!("FETCH 1:{MESSAGES} (ENVELOPE)");
        let mut sessions: Vec<Imap> = (0..FEW).map(|number| self.session(number)).collect();
        let first = self.runs(FEW, |_, number| drop(sessions[number].ok(&fetch)));
        self.note(FETCH, first);
        let again = self.runs(FEW, |_, number| drop(sessions[number].ok(&fetch)));
        self.note(FETCH_AGAIN, again);
        let flag = self.runs(RUNS, |_, number| {
            let sign = if number % 2 == 0 { '+' } else { '-' };
            sessions[0].ok(&format!("STORE 1 {sign}FLAGS (\\Flagged)"));
        });
        self.note(STORE, flag);
    }

    fn submissions(&mut self) {
        let sent = self.runs(RUNS, |scene, _| scene.submit("there.example"));
        self.note(FIRST_ATTEMPT, sent);
        let deferred = self.runs(FEW, |scene, number| scene.submit(&busy_domain(number)));
        self.note(PUT_OFF, deferred);
    }

    fn after_a_restart(&mut self) {
        self.node.kill();
        self.node.restart();
        // Not the processes' first words to each other, but the accounts' first.
        drop(self.session(FEW));
        let mut held = Vec::new();
        let mut first = self.runs(FEW, |scene, number| held.push(scene.session(number)));
        // Its folders, its changes and its messages; and the watch's as above.
        at_most(&mut first, Column::Reads, "account", 4);
        self.note(LOGIN, first);
        let first = self.runs(FEW, |scene, number| scene.deliver(&[20 + number], SMALL));
        self.note(FIRST, first);
    }

    fn note(&mut self, operation: &str, counts: Counts) {
        self.measured.push((operation.to_owned(), counts));
    }

    /// What each of so many runs took; they are numbered from 0.
    fn runs(&mut self, runs: usize, mut work: impl FnMut(&mut Self, usize)) -> Counts {
        let mut before = meter::settled(&mut self.node);
        let mut took = Vec::new();
        for number in 0..runs {
            work(self, number);
            let after = meter::settled(&mut self.node);
            took.push(meter::between(&before, &after));
            before = after;
        }
        meter::least(&took)
    }

    fn deliver(&mut self, to: &[usize], size: usize) {
        let to: Vec<String> = to.iter().map(|number| address(*number)).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let letter = self.letter(size);
        let reply = deliver(self.node.address("smtp"), "friend@there.example", &to, &letter);
        assert!(reply.starts_with("250"), "{reply}");
    }

    /// Hands a message in, and waits until the other server has it.
    fn submit(&mut self, domain: &str) {
        let letter = self.letter(SMALL);
        let busy = (0..FEW).find(|number| busy_domain(*number) == domain);
        let peer = busy.map_or(&self.peer, |number| &self.busy[number]);
        let taken = peer.count();
        let mut wire = Wire::connect(self.node.address("submission"));
        wire.reply("220");
        wire.command("EHLO client.example", "250");
        wire.command(&format!("AUTH PLAIN {PLAIN}"), "235");
        wire.command("MAIL FROM:<sender@here.example>", "250");
        wire.command(&format!("RCPT TO:<friend@{domain}>"), "250");
        wire.command("DATA", "354");
        wire.send_bytes(letter.as_bytes());
        wire.command(".", "250");
        wire.command("QUIT", "221");
        peer.wait_for(taken + 1, LONG);
    }

    fn session(&self, number: usize) -> Imap {
        let mut imap = Imap::login(self.node.address("imap"), &address(number), PASSWORD);
        imap.select("INBOX");
        imap
    }

    /// A letter that was not sent before.
    fn letter(&mut self, size: usize) -> String {
        self.letters += 1;
        let number = self.letters;
        let line = format!("Line of letter {number:06}, as many of them as it takes.\r\n");
        format!(
            "From: sender@here.example\r\nTo: many@here.example\r\nSubject: letter {number}\r\n\
             Message-ID: <{number}@there.example>\r\nDate: Mon, 02 Nov 2026 08:00:00 +0000\r\n\r\n{}",
            line.repeat(size / line.len())
        )
    }
}

/// Where it depends on chance how much it is: there is some, and no more than this, which is put in its place.
fn at_most(counts: &mut Counts, column: Column, name: &str, most: u64) {
    let name = name.to_owned();
    let counted = counts.insert(Series { column, name }, most);
    assert!(
        counted.is_some_and(|counted| counted <= most),
        "{counted:?} instead of at most {most}"
    );
}

fn address(number: usize) -> String {
    format!("reader{number}@here.example")
}

fn busy_domain(number: usize) -> String {
    format!("busy{number}.example")
}
