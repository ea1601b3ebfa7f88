//! Which `postrider` is run.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

const NAME: &str = "postrider";

/// The program to start: `given` when there is one, else the one beside our own program, else, when cargo runs us, the one that
/// `cargo build --release -p postrider` makes (its output goes to standard error; the first time takes minutes).
pub fn find(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        if !path.is_file() {
            bail!("there is no program {}", path.display());
        }
        return path.canonicalize().with_context(|| path.display().to_string());
    }
    let beside = env::current_exe()
        .context("our own program's path")?
        .with_file_name(NAME);
    if beside.is_file() {
        return Ok(beside);
    }
    match env::var_os("CARGO") {
        Some(cargo) => build(cargo),
        None => bail!(
            "there is no {}: name the program with --postrider PATH, or build it with `cargo build --release -p {NAME}`",
            beside.display()
        ),
    }
}

/// What `postrider --version` says.
pub fn version(binary: &Path) -> Result<String> {
    let output = Command::new(binary)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .with_context(|| binary.display().to_string())?;
    if !output.status.success() {
        bail!("{} --version failed ({})", binary.display(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn build(cargo: OsString) -> Result<PathBuf> {
    // Of the clone cargo runs this in; when two share their output, another one may have built it.
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--locked", "-p", NAME])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo")?;
    if !output.status.success() {
        bail!("cargo could not build {NAME} ({})", output.status);
    }
    executable(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("cargo built {NAME} but did not say where it is"))
}

/// The path of the program in cargo's messages, one JSON object per line.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == NAME)
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{executable, find};

    #[test]
    fn what_is_named_must_be_there() {
        let error = find(Some(Path::new("/nowhere/postrider"))).unwrap_err();
        assert!(error.to_string().contains("/nowhere/postrider"), "{error}");
    }

    #[test]
    fn cargo_names_the_program() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"postrider"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/release/other"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"postrider"},"executable":"/t/release/postrider"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages), Some(PathBuf::from("/t/release/postrider")));
        assert_eq!(executable("no json"), None);
    }
}
