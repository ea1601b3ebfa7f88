//! What a server is started in: some faults need it in a namespace, or with a library, of its own.
//!
//! Each is a small script that ends as the server (`exec`), so that the process id stays.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// The size of the small file system.
const SMALL: &str = "256M";

/// What a server is started in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dress {
    /// Nothing.
    Plain,
    /// A mount namespace in which its data is on a small tmpfs. The data goes with the process.
    SmallDisk,
    /// With SIGXFSZ ignored, so that a write beyond `RLIMIT_FSIZE` fails instead of ending it.
    NoSignalForLargeFiles,
    /// With libfaketime, which reads the offset of the clock from a file.
    OwnClock,
}

impl Dress {
    /// The program to start instead of `binary`, for a server with its files in `directory`.
    pub fn program(self, binary: &Path, directory: &Path) -> Result<PathBuf> {
        let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
        let (program, data, pid) = (
            quoted(binary),
            quoted(&directory.join("data")),
            quoted(&directory.join("namespace.pid")),
        );
        let script = match self {
            Self::Plain => return Ok(binary.to_owned()),
            // Admin commands read a token from the data: they enter the namespace.
            Self::SmallDisk => format!(
                "[ \"$1\" = run ] || exec nsenter -U --preserve-credentials -m -t \"$(cat {pid})\" {program} \"$@\"\n\
                 echo $$ > {pid}\nmkdir -p {data}\n\
                 exec unshare -Urm sh -c 'mount -t tmpfs -o size={SMALL} none \"$0\" && exec \"$@\"' {data} {program} \"$@\"\n"
            ),
            Self::NoSignalForLargeFiles => format!("trap '' XFSZ\nexec {program} \"$@\"\n"),
            Self::OwnClock => {
                let library = faketime().context("libfaketime is not here")?;
                let file = clock_file(directory);
                fs::write(&file, "+0\n").with_context(|| file.display().to_string())?;
                format!(
                    "[ \"$1\" = run ] && export LD_PRELOAD={} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1\nexec {program} \"$@\"\n",
                    quoted(&library),
                    quoted(&file)
                )
            }
        };
        let path = directory.join("start.sh");
        let mut options = fs::OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o700);
        let mut file = options.open(&path).with_context(|| path.display().to_string())?;
        write!(file, "#!/bin/sh\n{script}")?;
        Ok(path)
    }
}

/// Where the offset of the clock is written for [`Dress::OwnClock`].
pub fn clock_file(directory: &Path) -> PathBuf {
    directory.join("clock")
}

/// Whether a tmpfs may be mounted in a namespace of one's own.
pub fn may_mount() -> bool {
    let Ok(directory) = tempfile::tempdir() else {
        return false;
    };
    Command::new("unshare")
        .args(["-Urm", "mount", "-t", "tmpfs", "-o", "size=1M", "none"])
        .arg(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// libfaketime for programs with threads, where Debian and others put it.
pub fn faketime() -> Option<PathBuf> {
    let architecture = std::env::consts::ARCH;
    [
        format!("/usr/lib/{architecture}-linux-gnu/faketime/libfaketimeMT.so.1"),
        "/usr/lib64/faketime/libfaketimeMT.so.1".to_owned(),
        "/usr/lib/faketime/libfaketimeMT.so.1".to_owned(),
    ]
    .into_iter()
    .map(PathBuf::from)
    .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dressed_program_is_the_program() {
        let directory = tempfile::tempdir().expect("a directory");
        for dress in [Dress::Plain, Dress::NoSignalForLargeFiles] {
            let program = dress
                .program(Path::new("/bin/echo"), directory.path())
                .expect("a script");
            let output = Command::new(program)
                .args(["it's", "here"])
                .output()
                .expect("it runs");
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                "it's here\n",
                "{dress:?}"
            );
        }
    }
}
