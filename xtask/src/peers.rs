//! The peers that `postrider-loadtest compare` measures against: Postfix and Dovecot from Debian's packages, in a directory and
//! on a loopback address of their own, so that the system's own installation is not touched. One limit of the kernel is raised while
//! they are up.
//!
//! They are set up for speed where that costs no promise: every limit on processes, connections and rates is raised or lifted,
//! login and mail processes are used again, no names are looked up in the DNS, and passwords are stored plain so that hashing decides nothing.
//! Their durability is as shipped (Postfix syncs every queue file before its 250, Dovecot `mail_fsync = optimized`).

mod dovecot;
mod postfix;

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::packages;
use crate::run::{Failed, cache};

/// Where they listen; ports as Postrider's.
const ADDRESS: &str = "127.0.64.1";
const PORTS: [(&str, u16); 5] = [
    ("smtp", 2525),
    ("submission", 2587),
    ("imap", 2143),
    ("imaps", 2993),
    ("pop3", 2110),
];
/// Where mail for `far*.example` goes: `compare` puts its sink there.
const SINK: &str = "127.0.64.2:2525";
/// `far0.example` and so on.
const REMOTE_DOMAINS: u32 = 100;
const DOMAIN: &str = "hamburger.edu";
const PASSWORD: &str = "hungry";
/// `user0@hamburger.edu` and so on.
const ACCOUNTS: u32 = 100;
/// How long they may take to end.
const STOP: Duration = Duration::from_secs(30);
/// How many inotify instances a user may have, and how many idling sessions shall find one.
const INOTIFY: &str = "/proc/sys/fs/inotify/max_user_instances";
const INSTANCES: u32 = 16_384;
/// A directory that is ours, so that `down` removes nothing else.
const MARK: &str = "peers.mark";

/// What the command line asks for.
pub fn command(action: &str, directory: Option<&str>) -> Result<(), Failed> {
    let peers = Peers {
        directory: match directory {
            Some(path) => PathBuf::from(path),
            None => default_directory(),
        },
    };
    match action {
        "up" => peers.up(),
        "down" => peers.down(),
        "status" => peers.status(),
        other => Err(Failed(format!("peers: up, down or status, not {other}"))),
    }
}

/// Both servers, in one directory.
struct Peers {
    directory: PathBuf,
}

impl Peers {
    fn up(&self) -> Result<(), Failed> {
        if Command::new("id")
            .arg("-u")
            .output()
            .map(|output| output.stdout)
            .ok()
            != Some(b"0\n".to_vec())
        {
            return Err(Failed(
                "Postfix and Dovecot give each part its own user, which only root can: run this as root"
                    .into(),
            ));
        }
        packages::install_peers()?;
        if self.pids().iter().any(Option::is_some) {
            return Err(Failed(format!(
                "peers run in {} already: `cargo xtask peers down` first",
                self.directory.display()
            )));
        }
        self.prepare()?;
        postfix::configure(self)?;
        dovecot::configure(self)?;
        // Dovecot first: its sockets are in Postfix's queue directory, which Postfix has just made.
        let started = dovecot::start(self)
            .and_then(|()| postfix::start(self))
            .and_then(|()| self.wait_until_listening())
            .and_then(|()| self.write_target());
        if let Err(failed) = started {
            let logs = self.path("log");
            self.stop()?;
            return Err(Failed(format!("{}; see {}", failed.0, logs.display())));
        }
        self.raise_inotify();
        self.status()
    }

    fn down(&self) -> Result<(), Failed> {
        if !self.path(MARK).exists() {
            return Err(Failed(format!("no peers in {}", self.directory.display())));
        }
        self.stop()?;
        self.restore_inotify();
        fs::remove_dir_all(&self.directory).map_err(|error| failed(&self.directory, &error))?;
        println!("stopped, and {} removed", self.directory.display());
        Ok(())
    }

    fn status(&self) -> Result<(), Failed> {
        let names = ["Postfix", "Dovecot"];
        for (name, pid) in names.iter().zip(self.pids()) {
            match pid {
                Some(pid) => println!("{name}: runs, process {pid}"),
                None => println!("{name}: does not run"),
            }
        }
        if self.pids().iter().any(Option::is_none) {
            return Err(Failed(format!(
                "the peers are not up in {}",
                self.directory.display()
            )));
        }
        let ports = PORTS.map(|(name, port)| format!("{name} {port}")).join(", ");
        println!("{ADDRESS}: {ports}; far*.example goes to {SINK}");
        println!("{}", self.path("target.toml").display());
        Ok(())
    }

    /// An empty directory of our own that the servers' users can reach.
    fn prepare(&self) -> Result<(), Failed> {
        if self.directory.exists() && !self.path(MARK).exists() && !is_empty(&self.directory) {
            return Err(Failed(format!(
                "{} holds something else; name an empty directory",
                self.directory.display()
            )));
        }
        if self.directory.exists() {
            fs::remove_dir_all(&self.directory).map_err(|error| failed(&self.directory, &error))?;
        }
        if let Some(closed) = closed_parent(&self.directory) {
            return Err(Failed(format!(
                "{} is closed to the users that Postfix and Dovecot run as; name another place with --directory",
                closed.display()
            )));
        }
        for folder in ["postfix", "log", "state", "run", "queue", "mail", "postfix-data"] {
            let path = self.path(folder);
            fs::create_dir_all(&path).map_err(|error| failed(&path, &error))?;
        }
        self.write(MARK, "made by `cargo xtask peers up`\n")?;
        self.own("postfix-data", "postfix")?;
        self.own("mail", dovecot::MAIL_USER)?;
        self.certificate()
    }

    /// A self-signed certificate, of the kind that Postrider makes for itself (ECDSA P-256).
    fn certificate(&self) -> Result<(), Failed> {
        let (key, certificate) = (self.text("tls.key"), self.text("tls.pem"));
        let subject = format!("/CN=mx.{DOMAIN}");
        quiet(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "3650",
                "-subj",
                &subject,
                "-keyout",
                &key,
                "-out",
                &certificate,
            ],
        )
    }

    fn write_target(&self) -> Result<(), Failed> {
        let [Some(postfix), Some(dovecot)] = self.pids() else {
            return Err(Failed("a peer has ended right after its start".into()));
        };
        let name = format!(
            "Postfix {} + Dovecot {}",
            postfix::version()?,
            dovecot::version()?
        );
        let listeners: String = PORTS
            .iter()
            .filter(|(name, _)| *name != "imaps")
            .map(|(name, port)| format!("{name} = \"{ADDRESS}:{port}\"\n"))
            .collect();
        let domains: Vec<String> = remote_domains().map(|domain| format!("\"{domain}\"")).collect();
        let domains = domains.join(", ");
        self.write(
            "target.toml",
            &format!(
                "name = \"{name}\"\n{listeners}tls = \"never\"\nprocesses = [{postfix}, {dovecot}]\n\
                 remote_domains = [{domains}]\n\n[accounts]\ndomain = \"{DOMAIN}\"\npattern = \"user{{}}\"\n\
                 count = {ACCOUNTS}\npassword = \"{PASSWORD}\"\n"
            ),
        )
    }

    fn wait_until_listening(&self) -> Result<(), Failed> {
        for (name, port) in PORTS {
            let begin = Instant::now();
            while std::net::TcpStream::connect((ADDRESS, port)).is_err() {
                if begin.elapsed() > Duration::from_secs(10) {
                    return Err(Failed(format!("nothing listens on {ADDRESS}:{port} ({name})")));
                }
                pause();
            }
        }
        Ok(())
    }

    /// The master processes, of Postfix and of Dovecot.
    fn pids(&self) -> [Option<u32>; 2] {
        [
            running(&self.path("queue/pid/master.pid"), "master"),
            running(&self.path("run/master.pid"), "dovecot"),
        ]
    }

    /// Ends both, by process id; they end their own children.
    fn stop(&self) -> Result<(), Failed> {
        let begin = Instant::now();
        for pid in self.pids().into_iter().flatten() {
            quiet("kill", &["-TERM", &pid.to_string()])?;
        }
        while self.pids().iter().any(Option::is_some) {
            if begin.elapsed() > STOP {
                return Err(Failed(format!("the peers did not end within {STOP:?}")));
            }
            pause();
        }
        Ok(())
    }

    /// Runs a program that leaves a server in the background. Its output goes to a file: the server keeps the descriptors, and a
    /// pipe would never end.
    fn launch(&self, program: &str, arguments: &[&str]) -> Result<(), Failed> {
        let path = self.path("log/start.log");
        let file = || File::options().create(true).append(true).open(&path);
        let (out, err) = file()
            .and_then(|out| Ok((out, file()?)))
            .map_err(|error| failed(&path, &error))?;
        let status = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .status()
            .map_err(|error| Failed(format!("{program}: {error}")))?;
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(&path).unwrap_or_default();
        Err(Failed(format!("{program} did not start: {}", said.trim())))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A path as text, for configuration files and arguments.
    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failed> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|error| failed(&path, &error))
    }

    /// Every idling session of Dovecot is a process with an inotify instance; one that finds none looks for new mail every 30 s
    /// instead. The kernel allows a user 128, which would be measured in place of Dovecot. `down` puts the old value back.
    fn raise_inotify(&self) {
        let before = fs::read_to_string(INOTIFY).unwrap_or_default();
        let before = before.trim();
        if before.parse().is_ok_and(|instances: u32| instances >= INSTANCES) {
            return;
        }
        let raised = self
            .write("inotify.before", before)
            .is_ok_and(|()| fs::write(INOTIFY, INSTANCES.to_string()).is_ok());
        if raised {
            println!("note: {INOTIFY} was {before} and is {INSTANCES} until `down`");
        } else {
            println!(
                "note: {INOTIFY} is {before} and cannot be raised: beyond so many idling sessions Dovecot polls"
            );
        }
    }

    fn restore_inotify(&self) {
        let Ok(before) = fs::read_to_string(self.path("inotify.before")) else {
            return;
        };
        match fs::write(INOTIFY, &before) {
            Ok(()) => println!("{INOTIFY} is {before} again"),
            Err(error) => println!("note: {INOTIFY} could not be set to {before} again: {error}"),
        }
    }

    /// Gives a folder to a user of the system.
    fn own(&self, name: &str, user: &str) -> Result<(), Failed> {
        let (uid, gid) = ids(user)?;
        let path = self.path(name);
        chown(&path, Some(uid), Some(gid)).map_err(|error| failed(&path, &error))
    }
}

/// In the cache under the home directory; where the home directory is closed to other users, as root's is, under `/var/tmp`.
fn default_directory() -> PathBuf {
    let inside = cache().join("peers");
    match closed_parent(&inside) {
        None => inside,
        Some(_) => "/var/tmp/postrider-peers".into(),
    }
}

/// The domains of the rest of the Internet.
fn remote_domains() -> impl Iterator<Item = String> {
    (0..REMOTE_DOMAINS).map(|number| format!("far{number}.example"))
}

/// Every account's address.
fn addresses() -> impl Iterator<Item = String> {
    (0..ACCOUNTS).map(|number| format!("user{number}@{DOMAIN}"))
}

/// The first existing folder above (or at) `path` that other users may not pass through.
fn closed_parent(path: &Path) -> Option<PathBuf> {
    let closed = |path: &&Path| fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o001 == 0);
    path.ancestors().find(closed).map(Path::to_path_buf)
}

fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// User and group id of a user of the system.
fn ids(user: &str) -> Result<(u32, u32), Failed> {
    let missing = || Failed(format!("no user {user} in /etc/passwd"));
    let passwd =
        fs::read_to_string("/etc/passwd").map_err(|error| Failed(format!("/etc/passwd: {error}")))?;
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&user))
        .ok_or_else(missing)?;
    let number = |index: usize| entry.get(index).and_then(|text| text.parse().ok());
    number(2).zip(number(3)).ok_or_else(missing)
}

/// The process id in a file, when a process of that name has it.
fn running(file: &Path, name: &str) -> Option<u32> {
    let pid: u32 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (comm.trim() == name).then_some(pid)
}

/// Runs a program without its output; what it said when it failed.
fn quiet(program: &str, arguments: &[&str]) -> Result<(), Failed> {
    output(program, arguments).map(drop)
}

/// What a program prints.
fn output(program: &str, arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failed(format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failed(format!(
        "{program} {} failed: {said}",
        arguments.join(" ")
    )))
}

fn failed(path: &Path, error: &std::io::Error) -> Failed {
    Failed(format!("{}: {error}", path.display()))
}

fn pause() {
    std::thread::park_timeout(Duration::from_millis(50));
}
