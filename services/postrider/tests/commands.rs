//! The commands as an operator types them: what they print, and how they refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::process::{Command, Output};

use postrider_testkit::node::{Node, Wish};

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");

fn postrider(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn node() -> Node {
    Node::start(
        BINARY,
        &Wish {
            hostname: "hamburger.edu".into(),
            ..Wish::default()
        },
    )
}

/// Runs a command that must be refused: exit status 1 and one line that says what and what to do.
fn refused(node: &Node, arguments: &[&str]) -> String {
    let output = node.run(arguments);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{arguments:?}: {}",
        stderr(&output)
    );
    let text = stderr(&output);
    assert_eq!(text.trim_end().lines().count(), 1, "{arguments:?}: {text}");
    text
}

#[test]
fn wrong_usage_is_status_2_and_help_is_there_for_every_command() {
    assert_eq!(postrider(&["frobnicate"]).status.code(), Some(2));
    assert_eq!(postrider(&["account", "add"]).status.code(), Some(2));
    for command in [
        "run", "demo", "config", "domain", "account", "alias", "queue", "trace", "send", "store",
    ] {
        let output = postrider(&[command, "--help"]);
        assert!(
            output.status.success() && output.stdout.len() > 100,
            "{command} --help"
        );
    }
}

#[test]
fn an_unreadable_configuration_gives_one_line_that_says_what_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("postrider.toml");
    for (text, expected) in [
        ("hostnam = \"x.example\"\n", "hostname"),
        ("[limits]\nmessage_size = \"many\"\n", "message_size"),
        ("[queue]\nretry = { first = \"2 parsecs\" }\n", "first"),
        ("roles = [\"all\"\n", "postrider.toml"),
        ("[listeners.smtp]\nbind = [\"nowhere\"]\n", "bind"),
    ] {
        std::fs::write(&path, text).unwrap();
        let output = postrider(&["config", "check", "--config", path.to_str().unwrap()]);
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}: {error}");
        assert!(error.contains(expected), "{text}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    }
    let missing = postrider(&[
        "run",
        "--config",
        folder.path().join("none.toml").to_str().unwrap(),
    ]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("none.toml"), "{}", stderr(&missing));
}

#[test]
fn a_data_directory_in_use_or_unreadable_is_said_in_one_line() {
    let node = node();
    let second = postrider(&["run", "--config", node.config().to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        stderr(&second).contains(node.data().to_str().unwrap()),
        "{}",
        stderr(&second)
    );
    let file = node.scratch().join("a-file");
    std::fs::write(&file, "not a directory").unwrap();
    let third = postrider(&["run", "--data", file.to_str().unwrap()]);
    assert_eq!(third.status.code(), Some(1));
    assert!(stderr(&third).contains("a-file"), "{}", stderr(&third));
}

#[test]
fn domains_accounts_and_aliases_are_administered() {
    let node = node();
    assert!(refused(&node, &["account", "add", "ann@example.org"]).contains("example.org"));
    node.admin(&["domain", "add", "example.org"]);
    assert!(refused(&node, &["domain", "add", "example.org"]).contains("exists"));
    let added = node.admin(&["account", "add", "ann@example.org", "--json"]);
    let password = added
        .split("\"password\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert!(password.len() >= 16, "{added}");
    assert!(refused(&node, &["account", "add", "ANN@example.org"]).contains("exists"));
    assert!(node.admin(&["account", "list"]).contains("ann@example.org"));
    assert!(
        node.admin(&["account", "show", "ann@example.org", "--json"])
            .contains("\"enabled\":true")
    );

    let login = |password: &str| {
        let mut imap = postrider_testkit::imap::Imap::connect(node.address("imap"));
        imap.command(&format!("LOGIN ann@example.org \"{password}\""))
            .1
            .starts_with("OK")
    };
    assert!(login(password));
    node.admin(&["account", "disable", "ann@example.org"]);
    assert!(!login(password));
    node.admin(&["account", "enable", "ann@example.org"]);
    assert!(login(password));
    let output = node.run_with_input(
        &["account", "passwd", "ann@example.org", "--password-stdin"],
        "a new one\n",
    );
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!login(password), "the old password is out at once");
    assert!(login("a new one"));

    node.admin(&["alias", "add", "info@example.org", "ann@example.org"]);
    assert!(
        node.admin(&["alias", "list", "--json"])
            .contains("info@example.org")
    );
    node.admin(&["alias", "remove", "info@example.org"]);
    assert!(refused(&node, &["alias", "remove", "info@example.org"]).contains("info@example.org"));
    assert!(refused(&node, &["domain", "remove", "example.org"]).contains("account"));
    node.admin(&["account", "remove", "ann@example.org"]);
    assert!(!login("a new one"));
    node.admin(&["domain", "remove", "example.org"]);
}

#[test]
fn send_is_a_user_agent() {
    let node = node();
    node.add_account("alice@crepes.fr", "fries-please");
    node.add_account("bob@hamburger.edu", "hungry");
    let folder = node.scratch();
    std::fs::write(folder.join("menu.txt"), "ketchup, pickles").unwrap();
    let attachment = folder.join("menu.txt");
    let output = Command::new(BINARY)
        .args([
            "send",
            "--server",
            &node.address("submission").to_string(),
            "--from",
            "alice@crepes.fr",
            "--to",
            "bob@hamburger.edu",
        ])
        .args([
            "--subject",
            "Crêpes à la carte",
            "--body",
            "Do you like ketchup?",
            "--html",
            "<p>Do you like <b>ketchup</b>?</p>",
        ])
        .args([
            "--attach",
            attachment.to_str().unwrap(),
            "--auth",
            "alice@crepes.fr",
            "--show-dialogue",
        ])
        .env("POSTRIDER_PASSWORD", "fries-please")
        .output()
        .unwrap();
    let dialogue = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
    assert!(output.status.success(), "{dialogue}");
    for line in [
        "S: 220",
        "C: EHLO",
        "C: MAIL FROM:<alice@crepes.fr>",
        "S: 354",
        "C: QUIT",
        "S: 221",
    ] {
        assert!(dialogue.contains(line), "{line} in {dialogue}");
    }
    assert!(
        !dialogue.contains("fries-please") && !dialogue.contains("AGFsaWNl"),
        "no secret is shown: {dialogue}"
    );
    let mut imap = postrider_testkit::imap::Imap::login(node.address("imap"), "bob@hamburger.edu", "hungry");
    assert_eq!(imap.select("INBOX"), 1);
    let structure = imap.ok("FETCH 1 (BODYSTRUCTURE ENVELOPE)").join("");
    assert!(
        structure.contains("\"alternative\"") || structure.contains("\"ALTERNATIVE\""),
        "{structure}"
    );
    assert!(structure.contains("menu.txt"), "{structure}");
    assert!(imap.search("SUBJECT ketchup").is_empty());
    assert_eq!(imap.search("BODY ketchup"), [1]);

    let refused = Command::new(BINARY)
        .args([
            "send",
            "--server",
            &node.address("submission").to_string(),
            "--from",
            "alice@crepes.fr",
            "--to",
            "bob@hamburger.edu",
        ])
        .args(["--subject", "x", "--body", "y", "--auth", "alice@crepes.fr"])
        .env("POSTRIDER_PASSWORD", "wrong")
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn the_store_is_verified_counted_and_backed_up_while_it_runs() {
    let node = node();
    node.add_account("bob@hamburger.edu", "hungry");
    for _ in 0..5 {
        let reply = postrider_testkit::wire::deliver(
            node.address("smtp"),
            "a@x.example",
            &["bob@hamburger.edu"],
            "Subject: x\r\n\r\ny\r\n",
        );
        assert!(reply.starts_with("250"), "{reply}");
    }
    node.admin(&["store", "verify"]);
    assert!(
        node.admin(&["store", "stats", "--json"])
            .contains("\"messages\":5")
    );
    let copy = node.scratch().join("copy");
    node.admin(&["store", "backup", copy.to_str().unwrap()]);
    let restored = Node::prepare(
        BINARY,
        &Wish {
            hostname: "hamburger.edu".into(),
            ..Wish::default()
        },
    );
    std::fs::rename(&copy, restored.data()).unwrap();
    let mut restored = restored;
    restored.restart();
    restored.admin(&["store", "verify"]);
    let mut imap =
        postrider_testkit::imap::Imap::login(restored.address("imap"), "bob@hamburger.edu", "hungry");
    assert_eq!(imap.select("INBOX"), 5);
}

#[test]
fn a_trace_shows_every_step() {
    let node = node();
    node.add_account("bob@hamburger.edu", "hungry");
    let message = "Message-ID: <where-is-it@x.example>\r\nSubject: x\r\n\r\ny\r\n";
    let reply = postrider_testkit::wire::deliver(
        node.address("smtp"),
        "a@x.example",
        &["bob@hamburger.edu"],
        message,
    );
    assert!(reply.starts_with("250"), "{reply}");
    for query in [
        ["--id", "where-is-it@x.example"],
        ["--from", "a@x.example"],
        ["--to", "bob@hamburger.edu"],
    ] {
        let text = node.trace(&[query[0], query[1], "--json"], &["\"stored\""]);
        let accepted = text.lines().find(|step| step.contains("\"accepted\""));
        assert!(accepted.is_some_and(|step| step.contains("127.")), "{text}");
        assert!(text.contains("INBOX") || text.contains("UID"), "{text}");
    }
    assert!(node.run(&["trace", "--id", "never-seen@x.example"]).status.code() == Some(1));
}
