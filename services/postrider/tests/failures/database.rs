//! The database is lost while the processes serve, comes back, is silent, is deaf.

use std::time::Duration;

use postrider_cql::testing::Mode;
use postrider_testkit::imap::Imap;
use postrider_testkit::node::{Node, Shape};
use postrider_testkit::wire::{Wire, eventually, pause};

use crate::support::*;

/// The longest a letter's reply may take while the database is silent: the delivery's 5 s, then the deadline of a write (10 s), and a
/// slow machine.
const SILENT: Duration = Duration::from_secs(30);

/// Who sends at the same time while the database is silent.
const CLIENTS: u32 = 30;

#[test]
fn a_lost_database_is_a_temporary_error_and_nothing_is_doubled() {
    let mut node = cluster(&wish());
    let database = database_between(&mut node, &WITH_DATABASE);
    node.restart();
    node.add_account(BOB, PASSWORD);
    node.add_account("carol@hamburger.edu", PASSWORD);
    let mut here = all_is_well(&node);
    let mut open = Imap::login(node.address("imap"), BOB, PASSWORD);
    open.select("INBOX");

    lost(&mut node, &database, &mut open);
    // What was refused is sent again by whoever sent it, and there once.
    eventually("mail again", MINUTE, || {
        try_letter(&node).starts_with("250").then_some(())
    });
    here += 1;
    assert_eq!(inbox(&node), here);
    eventually("the open session goes on", MINUTE, || {
        let (_, done) = open.command("STATUS INBOX (MESSAGES)");
        done.starts_with("OK").then_some(())
    });

    silent(&mut node, &database, here);
    deaf(&mut node, &database);
}

/// Every connection to the database ends, and none comes about.
fn lost(node: &mut Node, database: &postrider_cql::testing::Proxy, open: &mut Imap) {
    let logs = Log::of_all(node);
    cut(database);
    // What the directory said lately still counts, what it was never asked does not.
    let mut wire = smtp(node);
    wire.command("MAIL FROM:<alice@crepes.fr>", "250");
    within(REPLY, "RCPT", || wire.command(&format!("RCPT TO:<{BOB}>"), "250"));
    within(REPLY, "RCPT", || {
        wire.command("RCPT TO:<carol@hamburger.edu>", "451 4.3.0")
    });
    within(REPLY, "AUTH", || refused_submission(node));
    let (_, said) = within(REPLY, "STATUS", || open.command("STATUS INBOX (MESSAGES)"));
    assert!(said.starts_with("NO [UNAVAILABLE]"), "{said}");
    let said = within(REPLY, "LOGIN", || imap_login(node));
    assert!(said.starts_with("NO [UNAVAILABLE]"), "{said}");
    let said = within(REPLY, "PASS", || pop3(node).1);
    assert!(said.starts_with("-ERR [SYS/TEMP]"), "{said}");
    // Many letters: the log does not grow with them.
    for _ in 0..20 {
        let said = within(SILENT, "DATA", || try_letter(node));
        assert!(said.starts_with("451 4.3.0"), "{said}");
    }
    for name in WITH_DATABASE {
        let process = node.process(name);
        eventually(&format!("{name} to say that it is not ready"), MINUTE, || {
            process.http("/readyz")?.starts_with("HTTP/1.1 503").then_some(())
        });
        assert_eq!(metric(process, "postrider_engine_up", "database"), 0.0, "{name}");
    }
    assert!(metric(node.process("directory"), "cql_errors_total", "") > 0.0);
    assert!(
        metric(
            node.process("smtp-ingress"),
            "postrider_smtp_messages_total",
            "deferred"
        ) >= 20.0
    );
    database.set(Mode::Pass);
    wait_ready(node);
    for log in &logs {
        let name = log.name();
        let said = usize::from(WITH_DATABASE.contains(&name));
        let all = log.warnings(node);
        assert_eq!(
            log.count(node, "the database is not ready"),
            said,
            "{name}: {all:#?}"
        );
        assert!(all.len() <= 25, "{name} floods its log: {all:#?}");
        assert!(
            node.process(name).log().contains("the database answers") || said == 0,
            "{name}"
        );
    }
}

/// Nothing is answered any more, and connections stay open: everybody hears so in time, however many they are.
fn silent(node: &mut Node, database: &postrider_cql::testing::Proxy, here: u32) {
    let before = errors(node);
    database.set(Mode::Dead);
    std::thread::scope(|scope| {
        let node = &*node;
        for number in 0..CLIENTS {
            scope.spawn(move || {
                let said = within(SILENT, "DATA", || try_numbered(node, number));
                assert!(said.starts_with("451 4.3.0"), "{said}");
            });
        }
        scope.spawn(|| {
            let said = within(REPLY, "LOGIN", || imap_login(node));
            assert!(said.starts_with("NO [UNAVAILABLE]"), "{said}");
        });
        scope.spawn(|| {
            let said = within(REPLY, "PASS", || pop3(node).1);
            assert!(said.starts_with("-ERR [SYS/TEMP]"), "{said}");
        });
    });
    errors_rise(node, before);
    back(node, database);
    // Whether a letter was stored after its 451 was said nobody could know; its repetition makes it one.
    for number in 0..CLIENTS {
        eventually("the repetition", MINUTE, || {
            try_numbered(node, number).starts_with("250").then_some(())
        });
    }
    assert_eq!(inbox(node), here + CLIENTS, "each letter once");
}

/// What is asked happens, and nobody hears of it.
fn deaf(node: &mut Node, database: &postrider_cql::testing::Proxy) {
    // So that nothing needs to be read first.
    let here = all_is_well(node);
    let mut open = Imap::login(node.address("imap"), BOB, PASSWORD);
    open.select("INBOX");
    let before = errors(node);
    database.set(Mode::Deaf);
    // One conditional batch, of which nothing has to be read first, and whose answer is lost.
    let (_, said) = within(SILENT, "CREATE", || open.command("CREATE Recipes"));
    assert!(said.starts_with("NO [UNAVAILABLE]"), "{said}");
    let said = within(SILENT, "DATA", || try_letter(node));
    assert!(said.starts_with("451 4.3.0"), "{said}");
    errors_rise(node, before);
    back(node, database);
    eventually("the repetition", MINUTE, || {
        try_letter(node).starts_with("250").then_some(())
    });
    pause(Duration::from_secs(2));
    assert_eq!(inbox(node), here + 1, "once, whether it had happened or not");
    eventually("the folder", MINUTE, || {
        let (_, said) = open.command("CREATE Recipes");
        (said.starts_with("OK") || said.starts_with("NO [ALREADYEXISTS]")).then_some(())
    });
    assert_eq!(open.ok("LIST \"\" Recipes").len(), 1, "once, likewise");
}

/// Requests of the mail store that were not done, whose outcome is unknown, or that nobody waited for any more.
fn errors(node: &mut Node) -> f64 {
    metric(node.process("mail-store"), "cql_errors_total", "")
}

fn errors_rise(node: &mut Node, before: f64) {
    eventually("the metric to show it", MINUTE, || {
        (errors(node) > before).then_some(())
    });
}

/// Connections that lost something are of no use any more: they are ended, and new ones made.
fn back(node: &mut Node, database: &postrider_cql::testing::Proxy) {
    cut(database);
    pause(Duration::from_millis(200));
    database.set(Mode::Pass);
    wait_ready(node);
    eventually("the directory", MINUTE, || {
        imap_login(node).starts_with("OK").then_some(())
    });
}

fn try_letter(node: &Node) -> String {
    try_numbered(node, CLIENTS)
}

/// One letter to Bob, unlike those of other numbers; what was said to it, or to the command before.
fn try_numbered(node: &Node, number: u32) -> String {
    let mut wire = smtp(node);
    wire.command("MAIL FROM:<alice@crepes.fr>", "250");
    wire.send(&format!("RCPT TO:<{BOB}>"));
    let said = wire.line();
    if !said.starts_with("250") {
        return said;
    }
    wire.command("DATA", "354");
    wire.send_bytes(format!("X-Number: {number}\r\n{LETTER}").as_bytes());
    wire.send(".");
    wire.line()
}

fn refused_submission(node: &Node) {
    let mut wire = Wire::connect(node.address("submission"));
    wire.reply("220");
    wire.command("EHLO client.example", "250");
    wire.command(AUTH, "454 4.7.0");
}

/// A keyspace as a newer program leaves it. That is taken back at the end, also when the test fails: others use the keyspace later.
struct NewerSchema(postrider_cql::Session);

impl NewerSchema {
    /// `list`: of versions, see `postrider_cql::schema`. Ends by itself, should this process be killed.
    fn say(&self, list: &str) {
        let newer = postrider_cql::Statement::write(
            "INSERT INTO schema_migration (component, version, name, applied) VALUES (?, 99, 'future', 0) USING TTL 240",
        );
        on_runtime(self.0.write(newer, (list,))).unwrap();
    }
}

impl Drop for NewerSchema {
    fn drop(&mut self) {
        let older = postrider_cql::Statement::write(
            "DELETE FROM schema_migration WHERE component IN ('postrider', 'oldest program') AND version = 99",
        );
        on_runtime(self.0.write(older, ())).unwrap();
    }
}

#[test]
fn a_newer_schema_is_refused_and_said() {
    let shape = Shape::cluster_of(&[MEMBERS[5]]);
    let Shape::Cluster { keyspace, .. } = &shape else {
        panic!("a cluster")
    };
    let session = on_runtime(async { postrider_cql::Session::open(&keyspace.config) }).unwrap();
    let newer = NewerSchema(session);
    let mut node = Node::shaped(shape, BINARY, &wish());
    node.restart();
    // One that only adds: who runs goes on, and so does who starts.
    newer.say("postrider");
    let status = node.admin(&["cluster", "status"]);
    assert!(status.contains("which can work with it"), "{status}");
    node.stop();
    node.restart();
    node.admin(&["domain", "list"]);

    newer.say("oldest program");
    let refused = |node: &mut Node| {
        let process = node.process("directory");
        eventually("the refusal", MINUTE, || {
            let answer = process.http("/readyz")?;
            answer
                .contains("made by a newer program; this one knows")
                .then_some(())
        });
    };
    // Who runs says so, and who starts does not begin.
    refused(&mut node);
    let output = node.run(&["cluster", "status"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("newer than"), "{said}");
    assert!(!node.run(&["cluster", "migrate"]).status.success());
    node.stop();
    let log = Log::of(node.process("directory"));
    node.launch();
    eventually("it to listen", MINUTE, || node.http("/livez"));
    refused(&mut node);
    let listed = node.run(&["domain", "list"]);
    assert!(!listed.status.success());
    pause(Duration::from_secs(5));
    assert_eq!(
        log.count(&mut node, "made by a newer program"),
        1,
        "{:#?}",
        log.warnings(&mut node)
    );
    assert_eq!(
        metric(node.process("directory"), "postrider_engine_up", "database"),
        0.0
    );
    drop(newer);
    wait_ready(&mut node);
}
