//! Stage 1: contents of everything that waits, appended and synced once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use crate::segment::{Files, OpenSegment, Record};
use crate::waiting::{Entry, Waiting};
use crate::{Options, Result};

/// Numbers of segments: the next one, and the one being appended to.
#[derive(Debug)]
pub(crate) struct Numbers {
    next: AtomicU64,
    /// 0: none yet.
    open: AtomicU64,
}

impl Numbers {
    pub(crate) fn new(next: u64) -> Self {
        Self {
            next: AtomicU64::new(next),
            open: AtomicU64::new(0),
        }
    }

    /// A number never given out before.
    pub(crate) fn take(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The segment that may still grow. Shared segments with a smaller number never do again.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Acquire)
    }
}

/// The one thread that appends.
pub(crate) struct Appender {
    pub(crate) options: Options,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) files: Arc<Files>,
    pub(crate) numbers: Arc<Numbers>,
    pub(crate) open: Option<OpenSegment>,
}

impl Appender {
    /// Until the queue is closed and drained. Handing over waits until stage 2 is free.
    pub(crate) fn run(mut self, committer: &SyncSender<Vec<Entry>>) {
        if let Some(open) = &self.open {
            self.numbers.open.store(open.number(), Ordering::Release);
        }
        loop {
            let batch = self.waiting.take(self.options.batch_bytes);
            if batch.is_empty() {
                break;
            }
            let batch = self.place(batch);
            if batch.is_empty() {
                self.waiting.done();
            } else if committer.send(batch).is_err() {
                break;
            }
        }
        if let Some(open) = self.open.take() {
            open.close();
        }
    }

    /// Appends the batch's contents. When that fails, only the entries that bring contents fail.
    fn place(&mut self, mut batch: Vec<Entry>) -> Vec<Entry> {
        let records: Vec<&Record> = batch.iter().flat_map(|entry| &entry.records).collect();
        if records.is_empty() {
            return batch;
        }
        match self.append(&records) {
            Ok(located) => {
                let mut located = located.into_iter();
                for entry in &mut batch {
                    entry.located.extend(located.by_ref().take(entry.records.len()));
                    // The bytes are on disk; the memory can go before the rows are committed.
                    entry.records = Vec::new();
                }
                batch
            }
            Err(error) => {
                tracing::error!(%error, "contents could not be written");
                let (failed, rest): (Vec<_>, Vec<_>) =
                    batch.into_iter().partition(|entry| !entry.records.is_empty());
                for entry in failed {
                    entry.work.finish(Err(error.clone()));
                }
                rest
            }
        }
    }

    fn append(&mut self, records: &[&Record]) -> Result<Vec<crate::segment::Located>> {
        let full = |open: &OpenSegment| open.end() >= self.options.segment_bytes;
        let mut open = match self.open.take() {
            Some(open) if !full(&open) => open,
            full => {
                if let Some(full) = full {
                    full.close();
                }
                let open =
                    OpenSegment::create(self.files.dir(), self.numbers.take(), self.options.segment_bytes)?;
                self.numbers.open.store(open.number(), Ordering::Release);
                open
            }
        };
        let located = open.append(self.files.dir(), records);
        self.open = Some(open).filter(OpenSegment::is_usable);
        located
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postrider_types::ContentId;

    use super::*;
    use crate::Error;
    use crate::segment::{Faults, read_record};

    fn appender(dir: &std::path::Path) -> Appender {
        Appender {
            options: Options {
                segment_bytes: 1000,
                ..Options::default()
            },
            waiting: Arc::new(Waiting::new(1 << 20, 100)),
            files: Arc::new(Files::new(dir.into(), 10)),
            numbers: Arc::new(Numbers::new(1)),
            open: None,
        }
    }

    fn append(appender: &mut Appender) -> Result<crate::segment::Located> {
        let record = Record::new(ContentId::generate(), Bytes::from(vec![7; 300]));
        let located = appender.append(&[&record])?[0];
        let file = appender.files.get(located.segment).unwrap().unwrap();
        read_record(&file, &located).map(|()| located)
    }

    #[test]
    fn a_full_segment_is_followed_by_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut appender = appender(dir.path());
        let places: Vec<(u64, u64)> = (0..5)
            .map(|_| append(&mut appender).unwrap())
            .map(|at| (at.segment, at.start))
            .collect();
        assert_eq!(places, [(1, 0), (1, 340), (1, 680), (2, 0), (2, 340)]);
    }

    #[test]
    fn a_full_disk_is_told_and_the_segment_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut appender = appender(dir.path());
        append(&mut appender).unwrap();
        appender.open.as_mut().unwrap().fail_next(Faults {
            write: true,
            sync: false,
        });
        assert!(matches!(append(&mut appender), Err(Error::Full(_))));
        let after = append(&mut appender).unwrap();
        assert_eq!((after.segment, after.start), (1, 340));
    }

    #[test]
    fn a_segment_whose_sync_failed_is_never_appended_to_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut appender = appender(dir.path());
        append(&mut appender).unwrap();
        appender.open.as_mut().unwrap().fail_next(Faults {
            write: false,
            sync: true,
        });
        assert!(matches!(append(&mut appender), Err(Error::Unavailable(_))));
        let after = append(&mut appender).unwrap();
        assert_eq!((after.segment, after.start), (2, 0));
    }
}
