//! The writing half: its own thread, so that recording never waits for a disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};

use super::{Journal, Step};

/// Steps that may wait for the writer; more are dropped and counted.
const WAITING: usize = 16 * 1024;

/// Bytes after which a batch is written though more steps are waiting.
const BATCH: usize = 256 * 1024;

/// How long the writer lets steps gather behind the first: waking it for each would cost more than writing it.
const GATHER: Duration = Duration::from_millis(20);

const DAY_MILLIS: u64 = 86_400_000;

/// A journal in a directory, a file a day. Dropping it writes what is waiting.
pub struct FileJournal {
    directory: PathBuf,
    waiting: Arc<Waiting>,
    writer: Option<JoinHandle<()>>,
    dropped: AtomicU64,
}

impl FileJournal {
    /// Opens the directory, making it where it is missing, and removes files older than `kept`, now and every day.
    pub fn open(directory: impl Into<PathBuf>, kept: Duration) -> io::Result<Self> {
        let directory = directory.into();
        fs::create_dir_all(&directory)?;
        let waiting = Arc::<Waiting>::default();
        let steps = waiting.clone();
        let mut writer = Writer {
            directory: directory.clone(),
            kept,
            open: None,
            complained: None,
        };
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run(&steps))?;
        Ok(Self {
            directory,
            waiting,
            writer: Some(thread),
            dropped: AtomicU64::new(0),
        })
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Steps dropped because the disk was too slow for them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Journal for FileJournal {
    fn record(&self, mut step: Step) {
        if step.time == 0 {
            step.time = now_millis();
        }
        if !self.waiting.add(step)
            && self
                .dropped
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(10_000)
        {
            tracing::warn!("the journal cannot keep up; steps are missing from it");
        }
    }
}

impl Drop for FileJournal {
    fn drop(&mut self) {
        self.waiting.close();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Steps between those who record and the writer.
#[derive(Default)]
struct Waiting {
    state: Mutex<State>,
    /// The first step has come, or the last.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    steps: Vec<Step>,
    closed: bool,
}

impl Waiting {
    /// Whether there was room for it.
    fn add(&self, step: Step) -> bool {
        let mut state = self.state.lock();
        if state.steps.len() >= WAITING {
            return false;
        }
        state.steps.push(step);
        let first = state.steps.len() == 1;
        drop(state);
        if first {
            self.changed.notify_one();
        }
        true
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    /// Waits for steps and lets some gather; none: closed, and all were taken.
    fn take(&self) -> Vec<Step> {
        let mut state = self.state.lock();
        while state.steps.is_empty() && !state.closed {
            self.changed.wait(&mut state);
        }
        let until = Instant::now() + GATHER;
        while !state.closed && !self.changed.wait_until(&mut state, until).timed_out() {}
        std::mem::take(&mut state.steps)
    }
}

struct Writer {
    directory: PathBuf,
    kept: Duration,
    /// The day (since 1970) and its file.
    open: Option<(u64, File)>,
    complained: Option<Instant>,
}

impl Writer {
    fn run(&mut self, waiting: &Waiting) {
        let mut batch = Vec::with_capacity(BATCH);
        self.remove_old(now_millis() / DAY_MILLIS);
        loop {
            let steps = waiting.take();
            if steps.is_empty() {
                return;
            }
            for step in &steps {
                append(&mut batch, step);
                if batch.len() >= BATCH {
                    self.write_out(&mut batch);
                }
            }
            self.write_out(&mut batch);
        }
    }

    fn write_out(&mut self, batch: &mut Vec<u8>) {
        if let Err(error) = self.write(now_millis() / DAY_MILLIS, batch) {
            self.open = None;
            self.complain(&error);
        }
        batch.clear();
    }

    fn write(&mut self, day: u64, batch: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != day) {
            let path = self.directory.join(file_name(day));
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            if self.open.replace((day, file)).is_some() {
                self.remove_old(day);
            }
        }
        match &mut self.open {
            Some((_, file)) => file.write_all(batch),
            None => Ok(()),
        }
    }

    /// At most once a minute: a full disk is not made better by a full log.
    fn complain(&mut self, error: &io::Error) {
        if self
            .complained
            .is_none_or(|last| last.elapsed() > Duration::from_secs(60))
        {
            self.complained = Some(Instant::now());
            tracing::error!(%error, directory = %self.directory.display(), "cannot write the journal");
        }
    }

    fn remove_old(&self, today: u64) {
        let kept_days = self.kept.as_secs().div_ceil(86_400);
        let oldest = file_name(today.saturating_sub(kept_days));
        for name in day_files(&self.directory).unwrap_or_default() {
            if name < oldest {
                let _ = fs::remove_file(self.directory.join(name));
            }
        }
    }
}

fn append(batch: &mut Vec<u8>, step: &Step) {
    let start = batch.len();
    match serde_json::to_writer(&mut *batch, step) {
        Ok(()) => batch.push(b'\n'),
        Err(_) => batch.truncate(start),
    }
}

fn now_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// `YYYY-MM-DD.jsonl`, whose order is the order of days.
pub(super) fn file_name(day: u64) -> String {
    let seconds = i64::try_from(day.saturating_mul(86_400)).unwrap_or(i64::MAX);
    let start = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    format!("{}.jsonl", start.strftime("%Y-%m-%d"))
}

/// The names of the day files, ascending.
pub(super) fn day_files(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        if let Ok(name) = entry?.file_name().into_string()
            && name.len() == "YYYY-MM-DD.jsonl".len()
            && name.ends_with(".jsonl")
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
