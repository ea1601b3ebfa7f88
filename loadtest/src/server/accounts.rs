//! Opening mailboxes through the admin command, several at a time: each costs the node one password hash.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;

use crate::target::Accounts;

/// Commands at once; the node hashes on its own threads, so more of them gain nothing.
const AT_ONCE: usize = 4;

/// Makes the domain ours and opens every account that is missing.
pub(super) fn open(binary: &Path, configuration: &Path, accounts: &Accounts) -> Result<()> {
    let admin = Admin {
        binary,
        configuration,
    };
    admin.ensure(&["domain", "add", &accounts.domain], b"")?;
    let known = admin.run(&["account", "list", "--domain", &accounts.domain], b"")?;
    let known = String::from_utf8_lossy(&known.stdout).into_owned();
    let known: Vec<&str> = known
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let password = [accounts.password.expose(), b"\n"].concat();
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let first_error = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let rank = next.fetch_add(1, Ordering::Relaxed);
                    if rank >= accounts.count {
                        break;
                    }
                    let address = accounts.address(rank);
                    if known.contains(&address.as_str()) {
                        continue;
                    }
                    let opened = admin.ensure(&["account", "add", &address, "--password-stdin"], &password);
                    if let Err(error) = opened {
                        failed.store(true, Ordering::Relaxed);
                        first_error.lock().get_or_insert(error);
                    }
                }
            });
        }
    });
    first_error.into_inner().map_or(Ok(()), Err)
}

/// The admin command of one node.
struct Admin<'a> {
    binary: &'a Path,
    configuration: &'a Path,
}

impl Admin<'_> {
    fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Output> {
        let mut child = Command::new(self.binary)
            .args(arguments)
            .arg("--config")
            .arg(self.configuration)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| self.binary.display().to_string())?;
        if let Some(mut stdin) = child.stdin.take() {
            // The command may refuse before it has read its input; its own words say why.
            let _ = stdin.write_all(input);
        }
        Ok(child.wait_with_output()?)
    }

    /// Runs a command that adds something; that it is there already is no failure.
    fn ensure(&self, arguments: &[&str], input: &[u8]) -> Result<()> {
        let output = self.run(arguments, input)?;
        let words = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() && !words.contains("exists already") {
            bail!("postrider {}: {}", arguments.join(" "), words.trim());
        }
        Ok(())
    }
}
