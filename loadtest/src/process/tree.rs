//! Process trees as one: CPU, memory, threads and open files of a process and everything it started.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::proc::{self, Process};

/// A new child may go unseen for so long (its CPU does not: it is in its parent's once it has ended). Going through all of
/// a machine's processes costs milliseconds.
const SEARCH_EVERY: Duration = Duration::from_secs(5);

/// Reading proportional memory may take this share of the time.
const PROPORTIONAL_SHARE: u32 = 100;

/// Trees that are told as one system, over time. What has ended stays in the CPU that is told.
#[derive(Debug, Default)]
pub(super) struct Trees {
    /// Only the roots themselves: what they started is somebody else's.
    alone: bool,
    /// Roots and everything ever seen below them: what was started and left alone by its parent still belongs.
    members: BTreeSet<(u32, u64)>,
    /// When new members were last looked for.
    searched: Option<Instant>,
    /// CPU seconds of those alive at the last look, with the children they had waited for.
    alive: f64,
    /// CPU seconds that are in nobody's account any more.
    ended: f64,
    memory: BTreeMap<u32, Memory>,
}

/// A look at trees.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Look {
    /// CPU seconds used by all that ever belonged.
    pub(super) cpu: f64,
    pub(super) resident: u64,
    pub(super) threads: u32,
    pub(super) files: u32,
}

/// How proportional memory of a process differs from resident memory, and when to look again.
#[derive(Debug)]
struct Memory {
    shared: i64,
    again: Instant,
}

impl Trees {
    /// Roots without what is below them.
    pub(super) fn alone() -> Self {
        Self {
            alone: true,
            ..Self::default()
        }
    }

    /// Adds the tree below `pid`; not when there is no such process.
    pub(super) fn follow(&mut self, pid: u32) {
        if let Some(root) = proc::process(pid) {
            self.members.insert((root.pid, root.started));
            self.searched = None;
        }
    }

    /// Looks at all of them, new children included: for figures that have to be right now.
    pub(super) fn look_well(&mut self) -> Look {
        self.searched = None;
        self.look()
    }

    /// Looks at all of them.
    pub(super) fn look(&mut self) -> Look {
        let mut found = self.find();
        // Between two reads a child may have ended and not yet be in its parent's account: look again. When it is still
        // missing, nobody waited for it, or a root has ended: then it is remembered here.
        if self.cpu(&found) < self.alive {
            found = self.search();
        }
        let alive = self.cpu(&found);
        self.ended += (self.alive - alive).max(0.0);
        self.alive = alive;
        self.memory
            .retain(|pid, _| found.iter().any(|process| process.pid == *pid));
        Look {
            cpu: self.alive + self.ended,
            resident: found.iter().map(|process| self.resident(process)).sum(),
            threads: found.iter().map(|process| process.threads).sum(),
            files: found.iter().filter_map(|process| proc::files(process.pid)).sum(),
        }
    }

    /// The members, and now and then new ones.
    fn find(&mut self) -> Vec<Process> {
        let known = |(pid, started): &(u32, u64)| {
            let process = proc::process(*pid)?;
            (process.started == *started).then_some(process)
        };
        let found: Vec<Process> = self.members.iter().filter_map(known).collect();
        let complete = found.len() == self.members.len();
        let lately = self.searched.is_some_and(|at| at.elapsed() < SEARCH_EVERY);
        if complete && (lately || self.alone) {
            return found;
        }
        self.search()
    }

    /// Goes through all processes.
    fn search(&mut self) -> Vec<Process> {
        self.searched = Some(Instant::now());
        let all = proc::all();
        let mut found: Vec<Process> = Vec::new();
        let mut pids: BTreeSet<u32> = BTreeSet::new();
        // A child may have a smaller pid than its parent after they have wrapped around; so until nothing is new.
        loop {
            let before = found.len();
            for process in &all {
                let known = self.members.contains(&(process.pid, process.started));
                let below = !self.alone && pids.contains(&process.parent);
                if (known || below) && pids.insert(process.pid) {
                    found.push(*process);
                }
            }
            if found.len() == before {
                break;
            }
        }
        self.members = found
            .iter()
            .map(|process| (process.pid, process.started))
            .collect();
        found
    }

    fn cpu(&self, processes: &[Process]) -> f64 {
        let one = |process: &Process| if self.alone { process.own } else { process.cpu };
        processes.iter().map(one).sum()
    }

    /// Resident bytes, corrected by what the last look at proportional memory showed to be shared.
    fn resident(&mut self, process: &Process) -> u64 {
        let now = Instant::now();
        let due = self
            .memory
            .get(&process.pid)
            .is_none_or(|memory| memory.again <= now);
        if due {
            let told = proc::proportional(process.pid);
            let shared = told.map_or(0, |bytes| process.resident.cast_signed() - bytes.cast_signed());
            let again = now + (now.elapsed() * PROPORTIONAL_SHARE).max(Duration::from_millis(900));
            self.memory.insert(process.pid, Memory { shared, again });
        }
        let shared = self.memory.get(&process.pid).map_or(0, |memory| memory.shared);
        process.resident.saturating_add_signed(-shared)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// A shell that starts what burns CPU, then waits until its input ends.
    const BURN: &str = "sh -c 'i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done'; echo done; read line";

    #[test]
    fn what_children_used_counts_after_they_have_ended() {
        let mut shell = Command::new("sh")
            .args(["-c", BURN])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let mut output = std::io::BufReader::new(shell.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut output, &mut line).expect("done");

        let mut trees = Trees::default();
        trees.follow(shell.id());
        let look = trees.look();
        assert!(look.cpu > 0.0, "{look:?}");
        assert!(
            look.resident > 0 && look.threads == 1 && look.files >= 2,
            "{look:?}"
        );
        let alone = super::super::tree_cpu(shell.id());
        assert!((alone - look.cpu).abs() < 0.05, "{alone} {look:?}");

        drop(shell.stdin.take());
        shell.wait().expect("it ends");
        let after = trees.look();
        assert!((after.cpu - look.cpu).abs() < 0.05, "{after:?}");
        assert_eq!((after.resident, after.threads, after.files), (0, 0, 0));
    }

    #[test]
    fn children_belong() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 30 & echo started; read line; kill $!"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let mut output = std::io::BufReader::new(shell.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut output, &mut line).expect("started");
        let mut trees = Trees::default();
        trees.follow(shell.id());
        assert_eq!(trees.look().threads, 2);
        drop(shell.stdin.take());
        shell.wait().expect("it ends");
    }

    #[test]
    fn alone_is_without_children() {
        let mut child = Command::new("sleep").arg("30").spawn().expect("sleep");
        let mut trees = Trees::alone();
        trees.follow(std::process::id());
        let own = trees.find();
        child.kill().expect("killed");
        child.wait().expect("it ends");
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].pid, std::process::id());
    }

    #[test]
    fn nobody_is_nothing() {
        let mut trees = Trees::default();
        trees.follow(u32::MAX);
        assert_eq!(trees.look(), Look::default());
    }
}
