//! How many durable writes per second the embedded engine makes, beside the least a disk allows: appending what waits to one file with one
//! sync per batch.
//!
//! ```text
//! cargo run --release -p postrider-store --features suite --example durable_rate [seconds per row] [directory] [only rows with this in their name]
//! ```
//! The rows named `ratio` run both in alternation, so that a noisy machine is noisy for both, and say what part of the plain rate the engine
//! reaches: the goal is half, since its rows need a sync of their own behind that of the content.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring tool: it prints, and stops at the first surprise"
)]

use std::fs::File;
use std::io::{IoSlice, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_embedded::{Database, Options};
use postrider_store::account::Outcome;
use postrider_store::embedded::Embedded;
use postrider_store::suite::delivery;
use postrider_store::{AccountEngine, ContentEngine};
use postrider_types::{AccountId, ContentId, Version};
use tokio::sync::oneshot;

/// What one row of the table found.
struct Measured {
    done: u64,
    seconds: f64,
    cpu: f64,
    latencies: Vec<Duration>,
}

impl Measured {
    fn print(mut self, name: &str, writers: usize) {
        self.latencies.sort_unstable();
        let at = |part: f64| {
            self.latencies[((self.latencies.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3
        };
        println!(
            "{name:<34} {writers:>4} {:>9.0}/s  p50 {:>7.2} ms  p99 {:>7.2} ms  {:>6.1} µs CPU each",
            self.done as f64 / self.seconds,
            at(0.5),
            at(0.99),
            self.cpu / self.done as f64 * 1e6,
        );
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let time = Duration::from_secs_f64(arguments.next().map_or(3.0, |text| text.parse().unwrap()));
    let base = arguments
        .next()
        .unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let only = arguments.next().unwrap_or_default();
    let wanted = |name: &str| name.contains(&only).then(|| tempfile::tempdir_in(&base).unwrap());
    for writers in [32, 256] {
        if wanted("ratio, 10240 bytes").is_some() {
            ratio(Path::new(&base), writers, 10 << 10, time).await;
        }
        for size in [4 << 10, 10 << 10] {
            let name = format!("plain append, {size} bytes");
            if let Some(dir) = wanted(&name) {
                plain(dir.path(), writers, size, time).await.print(&name, writers);
            }
            let name = format!("content put, {size} bytes");
            if let Some(dir) = wanted(&name) {
                contents(dir.path(), writers, size, time)
                    .await
                    .print(&name, writers);
            }
        }
        for warm in [0, 100] {
            let name = format!("delivery, 4096 bytes, {warm} before");
            if let Some(dir) = wanted(&name) {
                deliveries(dir.path(), writers, warm, time)
                    .await
                    .print(&name, writers);
            }
        }
    }
}

/// Plain appends and puts of the same size in turn; least, middle and greatest ratio of their rates.
async fn ratio(base: &Path, writers: usize, size: usize, time: Duration) {
    let rate = |measured: Measured| measured.done as f64 / measured.seconds;
    let mut ratios = Vec::new();
    for _ in 0..5 {
        let (one, other) = (
            tempfile::tempdir_in(base).unwrap(),
            tempfile::tempdir_in(base).unwrap(),
        );
        let least = rate(plain(one.path(), writers, size, time / 5).await);
        ratios.push(rate(contents(other.path(), writers, size, time / 5).await) / least);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    println!(
        "{:<34} {writers:>4} {:>8.0} %  ({:.0} to {:.0} %)",
        format!("ratio, {size} bytes"),
        ratios[2] * 100.0,
        ratios[0] * 100.0,
        ratios[4] * 100.0,
    );
}

/// Runs `step` in a closed loop in every writer until the time is up.
async fn closed_loop<S, F>(writers: usize, time: Duration, step: S) -> Measured
where
    S: Fn(usize, u64) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let done = Arc::new(AtomicU64::new(0));
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (step, done) = (step.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                for round in 0.. {
                    let start = Instant::now();
                    if start - begun > time {
                        break;
                    }
                    step(writer, round).await;
                    latencies.push(start.elapsed());
                    done.fetch_add(1, Ordering::Relaxed);
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    Measured {
        done: done.load(Ordering::Relaxed),
        seconds: begun.elapsed().as_secs_f64(),
        cpu: cpu_seconds() - cpu,
        latencies,
    }
}

/// The limit: what waits is appended with one call and synced once.
async fn plain(dir: &Path, writers: usize, size: usize, time: Duration) -> Measured {
    let mut file = File::create(dir.join("plain")).unwrap();
    let (sender, receiver) = std::sync::mpsc::sync_channel::<(Bytes, oneshot::Sender<()>)>(1024);
    let thread = std::thread::spawn(move || {
        while let Ok(first) = receiver.recv() {
            let batch: Vec<_> = std::iter::once(first).chain(receiver.try_iter()).collect();
            let mut slices: Vec<IoSlice<'_>> = batch.iter().map(|(data, _)| IoSlice::new(data)).collect();
            let mut left = &mut slices[..];
            while !left.is_empty() {
                let written = file.write_vectored(left).unwrap();
                IoSlice::advance_slices(&mut left, written);
            }
            file.sync_data().unwrap();
            for (_, reply) in batch {
                let _ = reply.send(());
            }
        }
    });
    let body = Bytes::from(vec![b'x'; size]);
    let measured = closed_loop(writers, time, move |_, _| {
        let (reply, answer) = oneshot::channel();
        sender.send((body.clone(), reply)).unwrap();
        async move { answer.await.unwrap() }
    })
    .await;
    thread.join().unwrap();
    measured
}

async fn open(dir: &Path) -> Embedded {
    Embedded::open(Database::open(dir, Options::default()).unwrap())
        .await
        .unwrap()
}

async fn contents(dir: &Path, writers: usize, size: usize, time: Duration) -> Measured {
    let engine = open(dir).await;
    let body = Bytes::from(vec![b'x'; size]);
    closed_loop(writers, time, move |_, _| {
        let (engine, body) = (engine.clone(), body.clone());
        async move { engine.put(ContentId::generate(), body).await.unwrap() }
    })
    .await
}

/// The common delivery: each writer has accounts of its own, which get one message after the other in turn. `warm` messages are in each
/// account before the clock starts.
async fn deliveries(dir: &Path, writers: usize, warm: u64, time: Duration) -> Measured {
    const ACCOUNTS: u64 = 8;
    let engine = open(dir).await;
    let body = vec![b'x'; 4096];
    let deliver = move |engine: Embedded, body: Vec<u8>, writer: usize, message: u64| async move {
        // Scattered over the key space, as the directory's random ids are.
        let number = (writer as u64 * ACCOUNTS + message % ACCOUNTS).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut commit = delivery(AccountId::new(number), Version(message / ACCOUNTS), &body);
        commit.rows.put_descriptions[0].data = vec![b'd'; 900].into();
        commit.rows.put_references[0].hash = (number ^ message).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        assert_eq!(engine.commit(commit).await.unwrap(), Outcome::Committed);
    };
    for message in 0..warm * ACCOUNTS {
        let all = (0..writers).map(|writer| deliver(engine.clone(), body.clone(), writer, message));
        futures::future::join_all(all).await;
    }
    closed_loop(writers, time, move |writer, round| {
        deliver(engine.clone(), body.clone(), writer, warm * ACCOUNTS + round)
    })
    .await
}

/// CPU time of this process, user and system.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: f64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}
