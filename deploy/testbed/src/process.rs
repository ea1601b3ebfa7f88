//! Processes by recorded id, and only while they are provably ours.
//!
//! Every engine is started with a command line that names its own folder. A recorded process id is believed only while the
//! process that has it shows that folder in `/proc/PID/cmdline`; signals go through a descriptor that was opened before that look,
//! so that they cannot hit a later process with the same id.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::Failed;

/// How often somebody who waits looks again.
const LOOK: Duration = Duration::from_millis(25);

/// How long a process may take to show its command line.
const SHOW: Duration = Duration::from_secs(1);

/// The record of one engine's process, in the engine's folder.
pub struct Record {
    folder: PathBuf,
}

/// A process that was ours when it was looked at.
pub struct Process {
    /// Its id.
    pub pid: u32,
    descriptor: OwnedFd,
}

impl Record {
    /// The record in a folder, which need not exist.
    pub fn of(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The process, if it runs and is ours.
    pub fn process(&self) -> Option<Process> {
        let text = fs::read_to_string(self.path("pid")).ok()?;
        self.believe(&text)
    }

    /// Starts the program in the folder, in the background, with a log there, unless it runs already. Two callers at a time start
    /// one process.
    pub fn launch(&self, command: &mut Command) -> Result<(), Failed> {
        let path = self.path("pid");
        let failed = |error| Failed::at(&path, &error);
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        file.lock().map_err(failed)?;
        let mut before = String::new();
        file.read_to_string(&mut before).map_err(failed)?;
        if self.believe(&before).is_some() {
            return Ok(());
        }
        let child = self.spawn(command)?;
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        write!(file, "{child}").map_err(failed)?;
        // For a moment after its start a process shows no command line. One that ended at once never will: the caller finds out.
        wait(SHOW, || self.process());
        Ok(())
    }

    /// The last lines of the log that speak of an error, else its last line.
    pub fn last_words(&self) -> String {
        let log = fs::read(self.path("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let bad =
            |line: &&str| line.contains("ERROR") || line.contains("Exception") || line.contains("rror:");
        let mut lines: Vec<&str> = log.lines().filter(bad).collect();
        if lines.is_empty() {
            lines.extend(log.lines().last());
        }
        lines[lines.len().saturating_sub(3)..].join(" | ")
    }

    fn spawn(&self, command: &mut Command) -> Result<u32, Failed> {
        let log = self.path("log");
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|error| Failed::at(&log, &error))?;
        let err = out.try_clone().map_err(|error| Failed::at(&log, &error))?;
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            // Not in the terminal's group: Ctrl-C is for whoever started it.
            .process_group(0)
            .spawn()
            .map_err(|error| Failed(format!("{program}: {error}")))?;
        let pid = child.id();
        // Where the caller lives longer than the engine, somebody must take note of its end, or it stays as a zombie.
        std::thread::spawn(move || drop(child.wait()));
        Ok(pid)
    }

    fn believe(&self, record: &str) -> Option<Process> {
        let number: u32 = record.trim().parse().ok()?;
        let id = Pid::from_raw(i32::try_from(number).ok()?)?;
        let descriptor = pidfd_open(id, PidfdFlags::empty()).ok()?;
        // A zombie's command line is empty, so what has ended is not believed.
        let said = fs::read(format!("/proc/{number}/cmdline")).ok()?;
        let folder = format!("{}/", self.folder.display());
        let ours = said
            .windows(folder.len())
            .any(|window| window == folder.as_bytes());
        ours.then_some(Process {
            pid: number,
            descriptor,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Process {
    /// Sends a signal. That the process has ended meanwhile is no error.
    pub fn signal(&self, signal: Signal) -> Result<(), Failed> {
        match pidfd_send_signal(&self.descriptor, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(Failed(format!("cannot signal process {}: {error}", self.pid))),
        }
    }

    /// Waits until it has ended with all that it held open; whether it has within `time`. Its command line is gone a moment before its
    /// sockets are, so that is no sign.
    pub fn has_ended(&self, time: Duration) -> bool {
        let begin = Instant::now();
        loop {
            let left = time.saturating_sub(begin.elapsed());
            let Ok(limit) = Timespec::try_from(left) else {
                return false;
            };
            let mut watched = [PollFd::new(&self.descriptor, PollFlags::IN)];
            match poll(&mut watched, Some(&limit)) {
                Err(rustix::io::Errno::INTR) => {}
                outcome => return outcome.is_ok_and(|ready| ready > 0),
            }
        }
    }

    /// Memory in use (resident), in bytes; 0 when it has ended.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|text| text.split_whitespace().next())
            .and_then(|number| number.parse().ok());
        kilobytes.unwrap_or(0_u64) * 1024
    }

    /// Whether it was stopped by a signal, as `pause` does.
    pub fn is_paused(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The state stands after the name, which may contain anything.
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    }
}

/// Looks again and again until there is an answer or `time` is over.
pub fn wait<T>(time: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        let found = look();
        if found.is_some() || begin.elapsed() > time {
            return found;
        }
        std::thread::park_timeout(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("testbed-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// A program that shows the folder in its command line, as engines do.
    fn sleeper(folder: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60; :", &format!("{}/x", folder.display())]);
        command
    }

    #[test]
    fn starts_once_and_ends() {
        let folder = folder("once");
        let record = Record::of(&folder);
        assert!(record.process().is_none());
        record.launch(&mut sleeper(&folder)).unwrap();
        let look = || record.process().map(|process| process.pid);
        let pid = look().unwrap();
        record.launch(&mut sleeper(&folder)).unwrap();
        assert_eq!(look(), Some(pid));
        let process = record.process().unwrap();
        assert!(process.memory() > 0);
        process.signal(Signal::STOP).unwrap();
        assert!(wait(Duration::from_secs(5), || process.is_paused().then_some(())).is_some());
        assert!(!process.has_ended(Duration::ZERO));
        process.signal(Signal::KILL).unwrap();
        assert!(process.has_ended(Duration::from_secs(5)));
        assert_eq!(look(), None);
        process.signal(Signal::KILL).unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_process_that_is_not_ours_is_not_believed() {
        let folder = folder("foreign");
        let record = Record::of(&folder);
        for text in [
            std::process::id().to_string(),
            "1".into(),
            "0".into(),
            "-1".into(),
            "x".into(),
        ] {
            fs::write(folder.join("pid"), text).unwrap();
            assert!(record.process().is_none());
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
