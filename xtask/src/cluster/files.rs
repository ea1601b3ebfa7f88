//! The cluster's directory: what lies in it, and the processes that are started from it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use postrider_testbed::{Process, Record};

use super::member::{Engines, HOST, Member, PUBLIC};
use super::{Cluster, failed};
use crate::packages;
use crate::run::{Failed, cache, cargo};

impl Cluster {
    /// Which program runs: the given one, or one that is built now. It is written down for `start`.
    pub(super) fn choose(&self, binary: Option<PathBuf>) -> Result<(), Failed> {
        let binary = match binary {
            Some(binary) => fs::canonicalize(&binary).map_err(|error| failed(&binary, &error))?,
            None => {
                cargo(&["build", "--locked", "-p", "postrider"]).go()?;
                let target = std::env::var_os("CARGO_TARGET_DIR")
                    .map_or_else(|| cache().join("target"), PathBuf::from);
                fs::canonicalize(target.join("debug/postrider")).map_err(|error| failed(&target, &error))?
            }
        };
        let record = self.home.join("binary");
        fs::write(&record, binary.as_os_str().as_encoded_bytes()).map_err(|error| failed(&record, &error))
    }

    pub(super) fn binary(&self) -> Result<PathBuf, Failed> {
        let record = self.home.join("binary");
        let text = fs::read_to_string(&record).map_err(|error| failed(&record, &error))?;
        Ok(PathBuf::from(text))
    }

    /// Postrider, to be told what to do. The caller's own settings of it in the environment are for another node.
    fn program(&self) -> Result<Command, Failed> {
        let mut command = Command::new(self.binary()?);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"POSTRIDER_") {
                command.env_remove(name);
            }
        }
        Ok(command)
    }

    /// A self-signed certificate, the same for all: a client that has accepted it is not asked again at the other process.
    pub(super) fn certificate(&self) -> Result<(), Failed> {
        let [key, certificate] = ["tls.key", "tls.pem"].map(|name| self.home.join(name));
        if key.exists() && certificate.exists() {
            return Ok(());
        }
        let mut command = Command::new("openssl");
        command
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ])
            .args(["-days", "3650", "-subj", &format!("/CN={HOST}")])
            .args(["-addext", &format!("subjectAltName=DNS:{HOST},IP:{PUBLIC}")])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate);
        output(&mut command, "").map(drop)
    }

    pub(super) fn configure(&self, member: Member, engines: &Engines) -> Result<(), Failed> {
        let folder = self.folder(member);
        fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
        let path = folder.join(member.file());
        let mut text = member.configuration(&self.home, engines);
        if self.load && matches!(member, Member::Process(..)) {
            text += &super::load::configuration();
        }
        fs::write(&path, text).map_err(|error| failed(&path, &error))
    }

    pub(super) fn launch(&self, member: Member) -> Result<(), Failed> {
        let folder = self.folder(member);
        let configuration = folder.join(member.file());
        let mut command = match member {
            Member::Balancer => Command::new(packages::HAPROXY),
            Member::Process(..) => self.program()?,
        };
        match member {
            Member::Balancer => command.args(["-db", "-f"]),
            // As in a container with one processor: two threads each would mostly wake each other up.
            Member::Process(..) => command.env("TOKIO_WORKER_THREADS", "1").args(["run", "--config"]),
        };
        Ok(Record::of(&folder).launch(command.arg(configuration))?)
    }

    /// What a command of postrider prints, asked through the first smtp-ingress.
    pub(super) fn postrider(&self, arguments: &[&str], input: &str) -> Result<String, Failed> {
        let mut command = self.program()?;
        let configuration = self.folder(Member::first_ingress()).join("postrider.toml");
        output(command.args(arguments).arg("--config").arg(configuration), input)
    }

    pub(super) fn process(&self, member: Member) -> Option<Process> {
        Record::of(&self.folder(member)).process()
    }

    pub(super) fn folder(&self, member: Member) -> PathBuf {
        self.home.join(member.to_string())
    }

    /// `up` and `down` are alone.
    pub(super) fn lock(&self) -> Result<File, Failed> {
        fs::create_dir_all(&self.home).map_err(|error| failed(&self.home, &error))?;
        let path = self.home.join("lock");
        let file = File::create(&path).map_err(|error| failed(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(_) => Err(Failed(format!(
                "another `cargo xtask cluster` is busy in {}: wait for it",
                self.home.display()
            ))),
        }
    }
}

/// What a program prints, with this on its standard input.
fn output(command: &mut Command, input: &str) -> Result<String, Failed> {
    let name = format!("{} {}", command.get_program().display(), {
        let arguments: Vec<_> = command
            .get_args()
            .map(|argument| argument.to_string_lossy())
            .collect();
        arguments.join(" ")
    });
    let told = |error: std::io::Error| Failed(format!("{name}: {error}"));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(told)?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who does not read it says so by its exit status.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output().map_err(told)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failed(format!("`{name}` failed: {}", said.trim())))
}
