//! Real clients, each doing a real round trip, checked on both sides.
//!
//! `cargo xtask test` installs them; a client that is missing is a failure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use postrider_testkit::imap::Imap;
use postrider_testkit::node::{Node, Wish};
use postrider_testkit::wire::deliver;

const BINARY: &str = env!("CARGO_BIN_EXE_postrider");
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

fn node() -> Node {
    let node = Node::start(
        BINARY,
        &Wish {
            hostname: "hamburger.edu".into(),
            ..Wish::default()
        },
    );
    node.add_account("bob@hamburger.edu", "hungry");
    node.add_account("alice@hamburger.edu", "fries-please");
    node
}

fn letter(subject: &str) -> String {
    format!(
        "From: Alice <alice@hamburger.edu>\r\nTo: bob@hamburger.edu\r\nSubject: {subject}\r\nMessage-ID: <{subject}@hamburger.edu>\r\nDate: Sun, 22 Nov 2026 09:00:00 +0000\r\n\r\nDo you like ketchup?\r\n.dot\r\nHow about pickles?\r\n"
    )
}

/// Puts messages into Bob's INBOX.
fn fill(node: &Node, count: usize) {
    for number in 1..=count {
        let reply = deliver(
            node.address("smtp"),
            "a@crepes.fr",
            &["bob@hamburger.edu"],
            &letter(&format!("n{number}")),
        );
        assert!(reply.starts_with("250"), "{reply}");
    }
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; `cargo xtask test` installs it"))
}

fn succeed(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = run(program, arguments, folder);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{text}\n{error}",
        output.status
    );
    text + &error
}

fn private_file(folder: &Path, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn bobs_inbox(node: &Node) -> Vec<String> {
    let mut imap = Imap::login(node.address("imap"), "bob@hamburger.edu", "hungry");
    imap.select("INBOX");
    let uids = imap.search("ALL");
    uids.into_iter().map(|uid| imap.fetch(uid)).collect()
}

#[test]
fn curl_sends_and_reads() {
    let node = node();
    let folder = node.scratch();
    fs::write(folder.join("letter"), letter("curl")).unwrap();
    let url =
        |scheme: &str, listener: &str, path: &str| format!("{scheme}://{}{path}", node.address(listener));
    for (scheme, listener, more) in [
        ("smtp", "submission", "--ssl-reqd"),
        ("smtps", "submissions", "--silent"),
    ] {
        let to = url(scheme, listener, "/client.example");
        let arguments = [
            &to,
            "-k",
            more,
            "--user",
            "alice@hamburger.edu:fries-please",
            "--mail-from",
            "alice@hamburger.edu",
            "--mail-rcpt",
            "bob@hamburger.edu",
            "--upload-file",
            "letter",
            "--silent",
            "--show-error",
        ];
        succeed("curl", &arguments, folder);
    }
    let user = ["-k", "-sS", "--user", "bob@hamburger.edu:hungry"];
    let get = |url: &str| succeed("curl", &[&user[..], &[url]].concat(), folder);
    for (scheme, listener) in [("imap", "imap"), ("imaps", "imaps")] {
        let message = get(&url(scheme, listener, "/INBOX;UID=2"));
        assert!(
            message.contains("Subject: curl") && message.contains("\r\n.dot\r\n"),
            "{message}"
        );
    }
    for (scheme, listener) in [("pop3", "pop3"), ("pop3s", "pop3s")] {
        assert_eq!(get(&url(scheme, listener, "/")).lines().count(), 2);
        assert!(get(&url(scheme, listener, "/1")).contains("\r\n.dot\r\n"));
    }
    assert_eq!(bobs_inbox(&node).len(), 2);
}

#[test]
fn swaks_submits_and_a_bad_password_is_refused() {
    let node = node();
    let folder = node.scratch();
    let address = node.address("submission");
    let (server, port) = (address.ip().to_string(), address.port().to_string());
    for mechanism in ["PLAIN", "LOGIN"] {
        let base = [
            "--server",
            &server,
            "--port",
            &port,
            "--tls",
            "--auth",
            mechanism,
            "--auth-user",
            "alice@hamburger.edu",
            "--from",
            "alice@hamburger.edu",
            "--to",
            "bob@hamburger.edu",
        ];
        succeed(
            "swaks",
            &[&base[..], &["--auth-password", "fries-please"]].concat(),
            folder,
        );
        let output = run(
            "swaks",
            &[&base[..], &["--auth-password", "wrong"]].concat(),
            folder,
        );
        assert_eq!(output.status.code(), Some(28), "swaks says authentication failed");
    }
    assert_eq!(bobs_inbox(&node).len(), 2);
}

#[test]
fn msmtp_submits_with_scram() {
    let node = node();
    let folder = node.scratch();
    let address = node.address("submission");
    let configuration = format!(
        "account default\nhost {}\nport {}\ntls on\ntls_starttls on\ntls_certcheck off\nauth scram-sha-256\nuser alice@hamburger.edu\npassword fries-please\nfrom alice@hamburger.edu\n",
        address.ip(),
        address.port()
    );
    private_file(folder, "msmtprc", &configuration);
    fs::write(folder.join("letter"), letter("msmtp").replace("\r\n", "\n")).unwrap();
    succeed(
        "sh",
        &["-c", "msmtp -C msmtprc bob@hamburger.edu < letter"],
        folder,
    );
    let inbox = bobs_inbox(&node);
    assert!(
        inbox.len() == 1 && inbox[0].contains("Subject: msmtp"),
        "{inbox:?}"
    );
    private_file(folder, "msmtprc", &configuration.replace("fries-please", "wrong"));
    assert!(
        !run(
            "sh",
            &["-c", "msmtp -C msmtprc bob@hamburger.edu < letter"],
            folder
        )
        .status
        .success()
    );
}

#[test]
fn mbsync_synchronises_both_ways() {
    let node = node();
    fill(&node, 3);
    let folder = node.scratch();
    let address = node.address("imap");
    let configuration = format!(
        "IMAPAccount bob\nHost {}\nPort {}\nUser bob@hamburger.edu\nPass hungry\nSSLType STARTTLS\nSystemCertificates no\nCertificateFile {}\nAuthMechs PLAIN\n\nIMAPStore far\nAccount bob\n\nMaildirStore near\nPath MAILDIR/\nInbox MAILDIR/INBOX\nSubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n",
        address.ip(),
        address.port(),
        folder.join("server.pem").display(),
    );
    let configuration = configuration.replace("MAILDIR", &folder.join("maildir").display().to_string());
    fs::create_dir(folder.join("maildir")).unwrap();
    let certificate = succeed(
        "sh",
        &[
            "-c",
            &format!(
                "openssl s_client -starttls imap -connect {address} </dev/null 2>/dev/null | openssl x509"
            ),
        ],
        folder,
    );
    fs::write(folder.join("server.pem"), certificate).unwrap();
    private_file(folder, "mbsyncrc", &configuration);
    succeed("mbsync", &["-c", "mbsyncrc", "-a"], folder);
    let files = |sub: &str| fs::read_dir(folder.join("maildir").join(sub)).map_or(0, Iterator::count);
    assert_eq!(files("INBOX/new") + files("INBOX/cur"), 3);

    // A message made here appears there; one deleted there disappears here; a flag set here is seen there.
    fs::write(
        folder.join("maildir/INBOX/new/1.local.mail"),
        letter("from-maildir").replace("\r\n", "\n"),
    )
    .unwrap();
    let mut imap = Imap::login(address, "bob@hamburger.edu", "hungry");
    imap.select("INBOX");
    imap.ok("STORE 1 +FLAGS (\\Deleted)");
    imap.ok("EXPUNGE");
    succeed("mbsync", &["-c", "mbsyncrc", "-a"], folder);
    assert_eq!(files("INBOX/new") + files("INBOX/cur"), 3);
    assert_eq!(imap.select("INBOX"), 3);
    assert_eq!(imap.search("SUBJECT from-maildir").len(), 1);
    let again = succeed("mbsync", &["-c", "mbsyncrc", "-a"], folder);
    assert!(!again.contains("rror"), "{again}");
    assert_eq!(imap.select("INBOX"), 3);
}

#[test]
fn fetchmail_fetches_once_over_both_protocols() {
    for (protocol, listener) in [("POP3", "pop3"), ("IMAP", "imap")] {
        let node = node();
        fill(&node, 3);
        let folder = node.scratch();
        let address = node.address(listener);
        let configuration = format!(
            "poll {} service {} protocol {protocol} uidl user \"bob@hamburger.edu\" password \"hungry\" keep no sslcertck sslproto \"TLS1.2+\" mda \"cat >> {}\"\n",
            address.ip(),
            address.port(),
            folder.join("fetched").display()
        );
        let configuration = if protocol == "IMAP" {
            configuration.replace(" uidl", "")
        } else {
            configuration
        };
        private_file(folder, "fetchmailrc", &configuration);
        let arguments = [
            "-f",
            "fetchmailrc",
            "--pidfile",
            "fetchmail.pid",
            "--idfile",
            "ids",
            "--nosyslog",
        ];
        succeed("fetchmail", &arguments, folder);
        let fetched = fs::read_to_string(folder.join("fetched")).unwrap();
        assert_eq!(fetched.matches("Subject: n").count(), 3, "{fetched}");
        let second = run("fetchmail", &arguments, folder);
        assert_eq!(
            second.status.code(),
            Some(1),
            "{protocol}: nothing new is exit status 1"
        );
        assert_eq!(bobs_inbox(&node).len(), 3, "kept on the server");
    }
}

#[test]
fn getmail_fetches_once() {
    let node = node();
    fill(&node, 3);
    let folder = node.scratch();
    for (kind, listener) in [("SimplePOP3Retriever", "pop3"), ("SimpleIMAPRetriever", "imap")] {
        let address = node.address(listener);
        let fetched = folder.join(format!("fetched-{listener}"));
        let configuration = format!(
            "[retriever]\ntype = {kind}\nserver = {}\nport = {}\nusername = bob@hamburger.edu\npassword = hungry\n[destination]\ntype = MDA_external\npath = /usr/bin/tee\narguments = (\"-a\", \"{}\")\nallow_root_commands = true\n[options]\nread_all = false\ndelete = false\nverbose = 1\n",
            address.ip(),
            address.port(),
            fetched.display()
        );
        private_file(folder, "getmailrc", &configuration);
        let directory = folder.join(format!("getmail-{listener}"));
        fs::create_dir(&directory).unwrap();
        let directory = directory.display().to_string();
        let rcfile = folder.join("getmailrc").display().to_string();
        let arguments = ["--getmaildir", &directory, "--rcfile", &rcfile];
        succeed("getmail", &arguments, folder);
        let count = || {
            fs::read_to_string(&fetched)
                .unwrap()
                .matches("Subject: n")
                .count()
        };
        assert_eq!(count(), 3);
        succeed("getmail", &arguments, folder);
        assert_eq!(count(), 3, "the second run fetches nothing");
    }
}

#[test]
fn mpop_fetches_once_and_deletes() {
    let node = node();
    fill(&node, 3);
    let folder = node.scratch();
    let address = node.address("pop3");
    let configuration = |keep: &str| {
        format!(
            "account default\nhost {}\nport {}\ntls on\ntls_starttls on\ntls_certcheck off\nauth scram-sha-256\nuser bob@hamburger.edu\npassword hungry\nkeep {keep}\ndelivery mbox {}\nuidls_file {}\n",
            address.ip(),
            address.port(),
            folder.join("mbox").display(),
            folder.join("uidls").display()
        )
    };
    let count = || {
        fs::read_to_string(folder.join("mbox"))
            .unwrap_or_default()
            .matches("Subject: n")
            .count()
    };
    private_file(folder, "mpoprc", &configuration("on"));
    succeed("mpop", &["-C", "mpoprc"], folder);
    assert_eq!(count(), 3);
    succeed("mpop", &["-C", "mpoprc"], folder);
    assert_eq!(count(), 3, "the second run fetches nothing");
    private_file(folder, "mpoprc", &configuration("off"));
    succeed("mpop", &["-C", "mpoprc"], folder);
    assert_eq!(bobs_inbox(&node).len(), 0, "download-and-delete");
}

#[test]
fn pythons_libraries_send_and_read() {
    let node = node();
    let script = format!("{SCRIPTS}/libraries.py");
    let ip = node.ip().to_string();
    let output = succeed("python3", &[&script, &ip], node.scratch());
    assert!(output.contains("all well"), "{output}");
    assert_eq!(
        bobs_inbox(&node).len(),
        0,
        "the script ends with a POP3 download-and-delete"
    );
}

#[test]
fn nodes_libraries_send_and_read() {
    let node = node();
    let modules = std::env::var("POSTRIDER_TEST_NODE_MODULES")
        .expect("POSTRIDER_TEST_NODE_MODULES names the folder that `cargo xtask test` installs imapflow, nodemailer and node-pop3 in");
    fs::copy(
        format!("{SCRIPTS}/libraries.mjs"),
        node.scratch().join("libraries.mjs"),
    )
    .unwrap();
    std::os::unix::fs::symlink(modules, node.scratch().join("node_modules")).unwrap();
    let output = succeed("node", &["libraries.mjs", &node.ip().to_string()], node.scratch());
    assert!(output.contains("all well"), "{output}");
    let inbox = bobs_inbox(&node);
    assert!(
        inbox.len() == 1 && inbox[0].contains("Subject: from nodemailer"),
        "{inbox:?}"
    );
}
