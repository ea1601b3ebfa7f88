//! What the process takes of its machine, under the names Prometheus' own clients use (the exporter appends `_total`).

use std::fs;

use opentelemetry::global;

/// Clock ticks a second in `/proc/PID/stat`: 100 on every Linux that user space can see.
const TICKS: f64 = 100.0;

/// The size of a page where it is not told otherwise.
const PAGE: u64 = 4096;

/// Registers the instruments; they read `/proc` when they are asked.
pub(super) fn observe() {
    let meter = global::meter("process");
    meter
        .u64_observable_gauge("process_resident_memory_bytes")
        .with_description("Resident memory of the process")
        .with_callback(|gauge| {
            if let Some(pages) = stat_field(23) {
                gauge.observe(pages * PAGE, &[]);
            }
        })
        .build();
    meter
        .f64_observable_counter("process_cpu_seconds")
        .with_description("Processor time of the process, user and system")
        .with_callback(|counter| {
            if let (Some(user), Some(system)) = (stat_field(13), stat_field(14)) {
                counter.observe((user + system) as f64 / TICKS, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process_open_fds")
        .with_description("Open file descriptors")
        .with_callback(|gauge| {
            if let Ok(open) = fs::read_dir("/proc/self/fd") {
                gauge.observe(open.count() as u64, &[]);
            }
        })
        .build();
}

/// A field of `/proc/self/stat`, counted from 0; the second is a name in parentheses that may contain spaces.
fn stat_field(number: usize) -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(number - 2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_process_has_a_size() {
        assert!(super::stat_field(23).is_some_and(|pages| pages > 100));
    }
}
