//! What sessions see of one another.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use support::*;

#[tokio::test]
async fn idle_hears_at_once() {
    let mut node = Node::start().await;
    node.deliver(&letter("one", "1")).await;
    let mut idle = node.inbox().await;
    let tag = idle.start("IDLE").await;
    assert_eq!(idle.line().await, "+ idling");
    node.deliver(&letter("two", "2")).await;
    assert_eq!(idle.line().await, "* 2 EXISTS");
    assert_eq!(idle.line().await, "* 1 RECENT");
    let mut other = node.inbox().await;
    other.ok("STORE 1 +FLAGS (\\Flagged)").await;
    assert_eq!(idle.line().await, "* 1 FETCH (UID 1 FLAGS (\\Flagged))");
    other.ok("STORE 2 +FLAGS (\\Deleted)").await;
    assert_eq!(idle.line().await, "* 2 FETCH (UID 2 FLAGS (\\Deleted \\Recent))");
    other.ok("EXPUNGE").await;
    assert_eq!(idle.line().await, "* 2 EXPUNGE");
    idle.send("DONE\r\n").await;
    let (lines, done) = idle.finish(&tag).await;
    assert_eq!((lines.as_slice(), done.as_str()), (&[][..], "OK IDLE completed"));
}

#[tokio::test]
async fn a_session_hears_of_others_and_not_of_itself() {
    let mut node = Node::start().await;
    for subject in ["one", "two", "three"] {
        node.deliver(&letter(subject, "text")).await;
    }
    let (mut first, mut second) = (node.inbox().await, node.inbox().await);
    let lines = first.ok("STORE 2 +FLAGS (\\Seen)").await;
    assert_eq!(lines, ["* 2 FETCH (UID 2 FLAGS (\\Seen))"]);
    assert_eq!(first.ok("NOOP").await, [""; 0]);
    assert_eq!(first.ok("STORE 2 +FLAGS.SILENT ($Work)").await, [""; 0]);
    assert_eq!(first.ok("NOOP").await, [""; 0]);
    let lines = second.ok("NOOP").await;
    assert!(
        lines[0].starts_with("* FLAGS (") && lines[0].contains("$Work"),
        "{lines:?}"
    );
    assert_eq!(lines[2..], ["* 2 FETCH (UID 2 FLAGS (\\Seen $Work))"]);
    // What another changed in between is told, even by a silent one.
    second.ok("STORE 2 +FLAGS.SILENT (\\Answered)").await;
    let lines = first.ok("STORE 2 +FLAGS.SILENT (\\Flagged)").await;
    assert_eq!(
        lines[2..],
        ["* 2 FETCH (UID 2 FLAGS (\\Seen \\Answered \\Flagged $Work))"]
    );
    // No number changes while numbers are in use.
    second.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    second.ok("EXPUNGE").await;
    let (lines, done) = first.command("FETCH 1:3 (UID)").await;
    assert_eq!(
        lines,
        ["* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)"],
        "{done}"
    );
    let (lines, done) = first.command("FETCH 1:2 (FLAGS)").await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(done.starts_with("OK [EXPUNGEISSUED]"), "{done}");
    let (lines, done) = first.command("COPY 1 Archive").await;
    assert!(done.starts_with("NO [EXPUNGEISSUED]"), "{done}");
    assert_eq!(lines, ["* 1 EXPUNGE"]);
}

#[tokio::test]
async fn a_deleted_mailbox_ends_the_sessions_that_look_at_it() {
    let node = Node::start().await;
    let (mut first, mut second) = (node.login().await, node.login().await);
    first.ok("CREATE Lost").await;
    second.ok("SELECT Lost").await;
    first.ok("SELECT Lost").await;
    let lines = first.ok("DELETE Lost").await;
    assert_eq!(lines, ["* OK [CLOSED] the selected mailbox was deleted"]);
    assert_eq!(
        first.command("FETCH 1 FLAGS").await.1,
        "BAD select a mailbox first"
    );
    second.start("NOOP").await;
    assert_eq!(second.line().await, "* BYE The selected mailbox was deleted");
    assert!(second.is_closed().await);
}

#[tokio::test]
async fn quick_resynchronisation() {
    let mut node = Node::start().await;
    for subject in ["one", "two", "three", "four"] {
        node.deliver(&letter(subject, "text")).await;
    }
    let mut client = node.login().await;
    client.ok("ENABLE QRESYNC").await;
    let lines = client.ok("SELECT INBOX").await;
    let number = |name: &str| -> u64 {
        let line = lines.iter().find(|line| line.contains(name)).unwrap();
        let from = line.find(name).unwrap() + name.len() + 1;
        line[from..].split(']').next().unwrap().parse().unwrap()
    };
    let (validity, modseq) = (number("UIDVALIDITY"), number("HIGHESTMODSEQ"));
    client.ok("UNSELECT").await;
    let mut other = node.inbox().await;
    other.ok("STORE 1 +FLAGS (\\Deleted)").await;
    other.ok("EXPUNGE").await;
    other.ok("STORE 1 +FLAGS (\\Seen)").await;
    let lines = client
        .ok(&format!("SELECT INBOX (QRESYNC ({validity} {modseq}))"))
        .await;
    assert!(lines.contains(&"* VANISHED (EARLIER) 1".into()), "{lines:?}");
    let changed: Vec<_> = lines.iter().filter(|line| line.contains("FETCH")).collect();
    assert_eq!(changed.len(), 1);
    assert!(
        changed[0].starts_with("* 1 FETCH (UID 2 FLAGS (\\Seen) MODSEQ ("),
        "{changed:?}"
    );
    other.ok("STORE 3 +FLAGS (\\Deleted)").await;
    other.ok("EXPUNGE").await;
    assert_eq!(client.ok("NOOP").await.last().unwrap(), "* VANISHED 4");
    let lines = client
        .ok(&format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq} VANISHED)"))
        .await;
    assert_eq!(lines[0], "* VANISHED (EARLIER) 1");
    assert_eq!(lines.len(), 2, "{lines:?}");
}

/// What one of two clients does.
#[derive(Debug, Clone)]
enum Step {
    Append,
    Store {
        at: usize,
        add: bool,
        silent: bool,
        flag: usize,
    },
    UidStore {
        at: usize,
        flag: usize,
    },
    Fetch {
        at: usize,
    },
    Copy {
        at: usize,
    },
    Expunge,
    Noop,
}

const FLAGS: [&str; 4] = ["\\Seen", "\\Flagged", "\\Deleted", "$Work"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Append),
        4 => (0..8usize, any::<bool>(), any::<bool>(), 0..FLAGS.len())
            .prop_map(|(at, add, silent, flag)| Step::Store { at, add, silent, flag }),
        1 => (0..8usize, 0..FLAGS.len()).prop_map(|(at, flag)| Step::UidStore { at, flag }),
        2 => (0..8usize).prop_map(|at| Step::Fetch { at }),
        1 => (0..8usize).prop_map(|at| Step::Copy { at }),
        2 => Just(Step::Expunge),
        2 => Just(Step::Noop),
    ]
}

/// A message as a client knows it: its UID and flags once it has been told.
type Known = Option<(u32, BTreeSet<String>)>;

/// A client that believes what it is told, and nothing else.
struct Naive {
    client: Client,
    messages: Vec<Known>,
}

impl Naive {
    async fn new(node: &Node) -> Self {
        let mut naive = Self {
            client: node.login().await,
            messages: Vec::new(),
        };
        naive.run("SELECT INBOX", true).await;
        naive
    }

    /// Runs a command and applies what it brings; asks about new messages.
    async fn run(&mut self, command: &str, expunges: bool) -> String {
        let (lines, done) = self.client.command(command).await;
        for line in &lines {
            self.apply(line, expunges, command);
        }
        Box::pin(self.learn()).await;
        done
    }

    async fn learn(&mut self) {
        if let Some(first) = self.messages.iter().position(Option::is_none) {
            let command = format!("FETCH {}:* (UID FLAGS)", first + 1);
            let (lines, _) = self.client.command(&command).await;
            for line in &lines {
                self.apply(line, false, &command);
            }
        }
    }

    fn apply(&mut self, line: &str, expunges: bool, command: &str) {
        let mut words = line.split(' ').skip(1);
        let (number, what) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let Ok(number) = number.parse::<usize>() else {
            return;
        };
        match what {
            "EXISTS" => {
                assert!(number >= self.messages.len(), "{command}: {line}");
                self.messages.resize(number, None);
            }
            "EXPUNGE" => {
                assert!(expunges, "{command}: {line}");
                self.messages.remove(number - 1);
            }
            "FETCH" => {
                let uid = line.split_once("UID ").unwrap().1;
                let uid = uid.split([' ', ')']).next().unwrap().parse().unwrap();
                let flags = line.split_once("FLAGS (").unwrap().1.split_once(')').unwrap().0;
                let flags = flags
                    .split(' ')
                    .filter(|flag| !flag.is_empty() && *flag != "\\Recent");
                let message = &mut self.messages[number - 1];
                if let Some((known, _)) = message {
                    assert_eq!(*known, uid, "{command}: {line}");
                }
                *message = Some((uid, flags.map(str::to_owned).collect()));
            }
            _ => {}
        }
    }

    async fn step(&mut self, step: &Step) {
        let exists = self.messages.len();
        let place = |at: &usize| (exists > 0).then(|| at % exists);
        match step {
            Step::Append => {
                let done = self.run("APPEND INBOX {4+}\r\na: b", true).await;
                assert!(done.starts_with("OK [APPENDUID"), "{done}");
            }
            Step::Store {
                at,
                add,
                silent,
                flag,
            } => {
                let Some(at) = place(at) else { return };
                let (sign, flag) = (if *add { '+' } else { '-' }, FLAGS[*flag]);
                let dot = if *silent { ".SILENT" } else { "" };
                if *silent && let Some((_, flags)) = &mut self.messages[at] {
                    // It takes its own wish for granted; what it is told in answer counts more.
                    if *add {
                        flags.insert(flag.into());
                    } else {
                        flags.remove(flag);
                    }
                }
                let done = self
                    .run(&format!("STORE {} {sign}FLAGS{dot} ({flag})", at + 1), false)
                    .await;
                assert!(done.starts_with("OK"), "{done}");
            }
            Step::UidStore { at, flag } => {
                let Some(at) = place(at) else { return };
                if let Some((uid, _)) = &self.messages[at] {
                    let command = format!("UID STORE {uid} FLAGS ({})", FLAGS[*flag]);
                    self.run(&command, true).await;
                }
            }
            Step::Fetch { at } => {
                let Some(at) = place(at) else { return };
                self.run(&format!("FETCH {} (FLAGS UID BODY[])", at + 1), false)
                    .await;
            }
            Step::Copy { at } => {
                let Some(at) = place(at) else { return };
                self.run(&format!("COPY {} INBOX", at + 1), true).await;
            }
            Step::Expunge => drop(self.run("EXPUNGE", true).await),
            Step::Noop => drop(self.run("NOOP", true).await),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Whoever applies what is announced arrives at what is true.
    #[test]
    fn announcements_lead_to_the_truth(steps in prop::collection::vec((any::<bool>(), step()), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut node = Node::start().await;
            for _ in 0..3 {
                node.deliver(&letter("start", "text")).await;
            }
            let mut clients = [Naive::new(&node).await, Naive::new(&node).await];
            for (which, step) in &steps {
                clients[usize::from(*which)].step(step).await;
            }
            let mut truth = node.inbox().await;
            let mut expected = Naive { messages: Vec::new(), client: Client::connect(node.address).await };
            let lines = truth.ok("UID FETCH 1:* (FLAGS)").await;
            expected.messages.resize(lines.len(), None);
            lines.iter().for_each(|line| expected.apply(line, false, "FETCH"));
            for client in &mut clients {
                client.run("NOOP", true).await;
                prop_assert_eq!(&client.messages, &expected.messages);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn idle_hears_again_and_again() {
    let mut node = Node::start().await;
    let mut idle = node.inbox().await;
    idle.start("IDLE").await;
    assert_eq!(idle.line().await, "+ idling");
    for round in 1..=3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        node.deliver(&letter("more", "text")).await;
        assert_eq!(idle.line().await, format!("* {round} EXISTS"));
        assert_eq!(idle.line().await, format!("* {round} RECENT"));
    }
}
