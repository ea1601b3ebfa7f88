//! The clients, tools and servers that tests and comparisons need. One that is missing and cannot be installed is a failure, never a skip.

use std::path::PathBuf;

use crate::run::{Failed, Run, cache};

/// Program (how its presence is seen) and Debian package.
const DEBIAN: [(&str, &str); 14] = [
    ("gcc", "gcc"),
    ("g++", "g++"),
    ("make", "make"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("python3", "python3"),
    ("swaks", "swaks"),
    ("msmtp", "msmtp"),
    ("mbsync", "isync"),
    ("fetchmail", "fetchmail"),
    ("getmail", "getmail6"),
    ("mpop", "mpop"),
    ("strace", "strace"),
    ("faketime", "faketime"),
];

/// Packages without a program of their own: what swaks needs for TLS.
const DEBIAN_LIBRARIES: [&str; 1] = ["libnet-ssleay-perl"];

/// Pinned: the newest of November 2026, which run on Node 20.
const NPM: [&str; 3] = ["imapflow@2.10.2", "nodemailer@10.6.0", "node-pop3@0.11.0"];

/// The servers that are compared with, their parts included: a part is seen by its program's path.
const PEERS: [(&str, &str); 6] = [
    ("openssl", "openssl"),
    ("/usr/sbin/postfix", "postfix"),
    ("/usr/sbin/dovecot", "dovecot-core"),
    ("/usr/lib/dovecot/imap", "dovecot-imapd"),
    ("/usr/lib/dovecot/pop3", "dovecot-pop3d"),
    ("/usr/lib/dovecot/lmtp", "dovecot-lmtpd"),
];

/// The programs that run as test engines or fetch them.
const ENGINES: [(&str, &str); 3] = [
    ("java", "openjdk-17-jre-headless"),
    ("mvn", "maven"),
    ("redis-server", "redis-server"),
];

/// What spreads connections over the processes of a cluster; Debian puts it where only root looks.
pub const HAPROXY: &str = "/usr/sbin/haproxy";

/// The balancer, and what makes its processes' certificate.
const BALANCER: [(&str, &str); 2] = [(HAPROXY, "haproxy"), ("openssl", "openssl")];

/// Installs the Debian packages that are missing.
pub fn install_debian() -> Result<(), Failed> {
    let mut missing = missing(&DEBIAN);
    missing.extend(
        DEBIAN_LIBRARIES
            .iter()
            .filter(|name| !Run::new("dpkg", &["-s", name]).succeeds()),
    );
    install(&missing, "the tests need")
}

/// Installs Postfix and Dovecot when they are missing. Where Debian starts what it installs, their own services then run as well.
pub fn install_peers() -> Result<(), Failed> {
    install(&missing(&PEERS), "the peers are")
}

/// Installs Java, Maven and Redis when they are missing. Where Debian starts what it installs, a Redis of the system runs on its own
/// port as well.
pub fn install_engines() -> Result<(), Failed> {
    install(&missing(&ENGINES), "the engines need")
}

/// Installs HAProxy when it is missing. Where Debian starts what it installs, a HAProxy of the system that serves nothing runs as well.
pub fn install_balancer() -> Result<(), Failed> {
    install(&missing(&BALANCER), "the cluster needs")
}

/// The packages of those programs that are not here.
fn missing<'a>(programs: &[(&str, &'a str)]) -> Vec<&'a str> {
    let here = |program: &str| Run::new("sh", &["-c", &format!("command -v {program}")]).succeeds();
    programs
        .iter()
        .filter(|(program, _)| !here(program))
        .map(|(_, package)| *package)
        .collect()
}

/// Installs packages; `what` begins the sentence when that fails.
fn install(missing: &[&str], what: &str) -> Result<(), Failed> {
    if missing.is_empty() {
        return Ok(());
    }
    let sudo: &[&str] = if Run::new("sh", &["-c", "test $(id -u) = 0"]).succeeds() {
        &[]
    } else {
        &["sudo"]
    };
    let apt = |arguments: &[&str]| {
        let words: Vec<&str> = [sudo, &["apt-get"], arguments].concat();
        Run::new(words[0], &words[1..])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .go()
    };
    let install = [&["install", "-y", "-qq", "--no-install-recommends"][..], missing].concat();
    apt(&["update", "-qq"])
        .and_then(|()| apt(&install))
        .map_err(|Failed(why)| {
            Failed(format!(
                "{what} these Debian packages, install them by hand: {} ({why})",
                missing.join(" ")
            ))
        })
}

/// Installs the npm packages into the cache; the `node_modules` folder.
pub fn install_npm() -> Result<PathBuf, Failed> {
    let folder = cache().join("npm");
    let modules = folder.join("node_modules");
    let mark = folder.join("installed");
    if std::fs::read_to_string(&mark).is_ok_and(|text| text == NPM.join(" ")) {
        return Ok(modules);
    }
    std::fs::create_dir_all(&folder).map_err(|error| Failed(format!("{}: {error}", folder.display())))?;
    let install = [
        &[
            "install",
            "--no-audit",
            "--no-fund",
            "--no-save",
            "--ignore-scripts",
            "--prefix",
            ".",
        ][..],
        &NPM,
    ]
    .concat();
    Run::new("npm", &install).within(&folder).go()?;
    std::fs::write(&mark, NPM.join(" ")).map_err(|error| Failed(format!("{}: {error}", mark.display())))?;
    Ok(modules)
}
