//! On what machine a run was.

use std::fs;
use std::thread::available_parallelism;

use crate::report::data::Environment;

/// This machine, as far as it tells.
pub fn environment() -> Environment {
    Environment {
        system: system(),
        processor: field("/proc/cpuinfo", "model name").unwrap_or_default(),
        cores: available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        memory: memory().unwrap_or_default(),
        file_system: None,
    }
}

fn system() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let distribution = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let distribution = distribution
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or_default()
        .trim_matches('"');
    let parts = [format!("Linux {}", kernel.trim()), distribution.to_owned()];
    parts.join(", ").trim_end_matches(", ").to_owned()
}

fn memory() -> Option<u64> {
    let kibibytes = field("/proc/meminfo", "MemTotal")?;
    let kibibytes: u64 = kibibytes.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The value after `name` and a colon.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })?;
    Some(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let environment = environment();
        assert!(environment.system.starts_with("Linux "), "{environment:?}");
        assert!(environment.cores >= 1 && environment.memory > 64 << 20);
    }
}
