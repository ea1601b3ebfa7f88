//! Running programs and saying what is run.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What failed, in one line.
#[derive(Debug)]
pub struct Failed(pub String);

impl From<postrider_testbed::Failed> for Failed {
    fn from(why: postrider_testbed::Failed) -> Self {
        Self(why.0)
    }
}

/// A program about to run in the repository's root.
pub struct Run {
    command: Command,
    text: String,
}

impl Run {
    /// A program and its arguments.
    pub fn new(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(root());
        Self {
            command,
            text: format!("{program} {}", arguments.join(" ")),
        }
    }

    /// With an environment variable.
    pub fn env(mut self, key: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// In another folder.
    pub fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs it with our own output; an exit status other than 0 is a failure.
    pub fn go(mut self) -> Result<(), Failed> {
        println!("==> {}", self.text);
        let begin = std::time::Instant::now();
        let status = self
            .command
            .status()
            .map_err(|error| Failed(format!("{}: {error}", self.text)))?;
        println!("<== {:.0} s", begin.elapsed().as_secs_f64());
        if status.success() {
            Ok(())
        } else {
            Err(Failed(format!("`{}` failed ({status})", self.text)))
        }
    }

    /// Runs it silently; whether it succeeded.
    pub fn succeeds(mut self) -> bool {
        self.command.output().is_ok_and(|output| output.status.success())
    }
}

/// Cargo, with its output outside the clone unless somebody chose otherwise.
pub fn cargo(arguments: &[&str]) -> Run {
    Run::new("cargo", arguments).env("CARGO_TARGET_DIR", target())
}

/// A program as a build for tests has left it.
pub fn output(program: &str) -> String {
    target()
        .join("debug")
        .join(program)
        .to_string_lossy()
        .into_owned()
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| cache().join("target"), PathBuf::from)
}

/// Where build output and installed packages live: outside the clone, so that a second run is quick.
pub fn cache() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
    home.join(".cache/postrider")
}

/// The repository's root: of the clone cargo runs this in, which need not be the one that has built it, when two share their output.
fn root() -> PathBuf {
    let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    crate_folder
        .parent()
        .map_or_else(|| ".".into(), Path::to_path_buf)
}
