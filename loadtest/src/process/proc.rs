//! What Linux tells of processes under `/proc`. Everything may be gone the moment it is looked at, so everything is an
//! [`Option`].

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};

/// A process at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: u32,
    /// When it started, in ticks since boot: with the pid it names a process for good.
    pub(super) started: u64,
    /// CPU seconds of its own.
    pub(super) own: f64,
    /// Those, and those of the children it has waited for.
    pub(super) cpu: f64,
    pub(super) threads: u32,
    /// Resident bytes, shared ones counted whole.
    pub(super) resident: u64,
}

/// One process.
pub(super) fn process(pid: u32) -> Option<Process> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// All processes, by ascending pid.
pub(super) fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut pids: Vec<u32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids.into_iter().filter_map(process).collect()
}

/// Resident bytes with shared ones counted by their share. The kernel walks the page tables for it, which costs
/// milliseconds in a large process and holds a lock that its page faults want.
pub(super) fn proportional(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Open files.
pub(super) fn files(pid: u32) -> Option<u32> {
    let path = format!("/proc/{pid}/fd");
    // Since Linux 6.2 the directory's size is the answer; before, it is 0 and they have to be counted.
    let number = match fs::metadata(&path).ok()?.len() {
        0 => fs::read_dir(&path).ok()?.count() as u64,
        number => number,
    };
    u32::try_from(number).ok()
}

/// Reads `/proc/PID/stat` (proc_pid_stat(5)). The name, in parentheses, may hold anything, parentheses too.
fn parse(stat: &str) -> Option<Process> {
    let (pid, _) = stat.split_once(' ')?;
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The manual counts from 1 and from the pid; what follows the name is its field 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |fields: [usize; 2]| {
        let ticks: u64 = fields.into_iter().filter_map(field).sum();
        ticks as f64 / clock_ticks_per_second() as f64
    };
    let (own, waited_for) = (seconds([14, 15]), seconds([16, 17]));
    Some(Process {
        pid: pid.parse().ok()?,
        parent: u32::try_from(field(4)?).ok()?,
        threads: u32::try_from(field(20)?).ok()?,
        started: field(22)?,
        own,
        cpu: own + waited_for,
        resident: field(24)? * page_size() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_wicked_name_is_read() {
        let line = "4711 (a) R 1 (x)) S 12 4711 4711 0 -1 4194560 100 0 0 0 150 50 25 75 20 0 3 0 9000 1000000 \
                    256 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0\n";
        let process = parse(line).expect("a process");
        assert_eq!((process.pid, process.parent, process.threads), (4711, 12, 3));
        assert_eq!(process.started, 9000);
        assert!((process.own - 200.0 / clock_ticks_per_second() as f64).abs() < 1e-9);
        assert!((process.cpu - 300.0 / clock_ticks_per_second() as f64).abs() < 1e-9);
        assert_eq!(process.resident, 256 * page_size() as u64);
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn this_process_is_there() {
        let own = std::process::id();
        assert!(all().iter().any(|process| process.pid == own));
        let resident = process(own).expect("itself").resident;
        assert!(resident > 1 << 20);
        assert!(proportional(own).is_none_or(|bytes| bytes > 1 << 18));
        assert!(files(own).expect("itself") >= 3);
    }
}
