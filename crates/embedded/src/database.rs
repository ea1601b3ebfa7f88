//! The database: opening, writing, reading.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;
use postrider_types::ContentId;
use rusqlite::{Connection, OptionalExtension};

use crate::appender::{Appender, Numbers};
use crate::committer::{Committer, Progress};
use crate::lock::DirectoryLock;
use crate::reader::Readers;
use crate::segment::{self, Files, Located, OpenSegment};
use crate::sweep::Cursor;
use crate::transaction::Transaction;
use crate::waiting::{Contents, Waiting};
use crate::{Error, Options, Result, schema};

/// A data directory, open. Cheap to clone; the last clone that is dropped finishes what waits and closes it.
#[derive(Clone)]
pub struct Database {
    pub(crate) core: Arc<Core>,
}

/// What the clones share. The threads hold its parts, never all of it, so that dropping the last clone ends them.
pub(crate) struct Core {
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) files: Arc<Files>,
    pub(crate) numbers: Arc<Numbers>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) cursor: Mutex<Cursor>,
    /// Held while segment files must stay (backup, verify), and by the sweeper while it removes some.
    pub(crate) removal: Mutex<()>,
    readers: Arc<Readers>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _lock: DirectoryLock,
}

impl Database {
    /// Opens a data directory, creating it if it is missing. Blocks for as long as the disk needs.
    ///
    /// The tail of a segment behind its last committed record is cut, files that no committed row names are deleted. Fails with
    /// [`Error::InUse`] when another process (or this one) has it open, and [`Error::TooNew`] when a newer program wrote it.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        let dir = dir.as_ref().to_path_buf();
        let contents = dir.join("content");
        std::fs::create_dir_all(&contents).map_err(|error| Error::io(&contents, &error))?;
        let lock = DirectoryLock::take(&dir)?;
        let connection = schema::open_writer(&dir, &options)?;
        let (open, next) = recover(&connection, &contents, &options)?;
        segment::sync_directory(&contents)?;
        segment::sync_directory(&dir)?;
        if let Some(parent) = dir.canonicalize().ok().as_deref().and_then(Path::parent) {
            segment::sync_directory(parent)?;
        }
        let connections = (0..options.readers.max(1))
            .map(|_| schema::open_reader(&dir))
            .collect::<Result<_>>()?;

        let core = Core {
            waiting: Arc::new(Waiting::new(options.waiting_bytes, options.batch_jobs)),
            files: Arc::new(Files::new(contents, options.open_files)),
            numbers: Arc::new(Numbers::new(next)),
            progress: Arc::default(),
            cursor: Mutex::default(),
            removal: Mutex::default(),
            readers: Readers::new(),
            threads: Mutex::default(),
            _lock: lock,
            dir,
            options,
        };
        core.start(connection, open, connections)?;
        Ok(Self { core: Arc::new(core) })
    }

    /// Brings a component's tables forward: step `n` (counted from 1) is SQL that leads from version `n - 1` to `n`. Steps are
    /// never changed once released, only added. Each component has a name of its own, and tables that begin with it.
    pub async fn migrate(&self, component: &'static str, steps: &'static [&'static str]) -> Result<()> {
        self.write(Vec::new(), move |tx| schema::migrate(tx, component, steps))
            .await
    }

    /// Makes the contents durable, then runs the job in the batch's transaction; resolves when both are durable.
    ///
    /// # The job
    /// * runs on the committer's thread, after rows for its contents were inserted, and sees all writes before it;
    /// * should check before it writes: an error returned before any row changed costs nothing; an error after that takes back what the job did
    ///   (contents included) and nothing else, but the batch has to be run again;
    /// * may therefore run more than once, each time against a clean state: its result is that of the last run;
    /// * when it returns an error, the error is the result here; a panic is [`Error::Invalid`].
    ///
    /// A content that the job does not [`Transaction::hold`] stays until a sweep after its grace period. Putting a content again with the same
    /// bytes succeeds; with other bytes it is [`Error::Invalid`].
    ///
    /// # Errors
    /// [`Error::Full`] and [`Error::Unavailable`]: nothing was done. [`Error::Unknown`]: it may have been. Dropping the
    /// future does not stop a job that has begun. Waits while [`Options::waiting_bytes`] are spent.
    pub async fn write<T, J>(&self, contents: Vec<(ContentId, Bytes)>, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: Fn(&mut Transaction<'_>) -> Result<T> + Send + 'static,
    {
        self.core.waiting.submit(Contents::New(contents), job).await
    }

    /// Runs a job on a reader's connection: it sees every write that was acknowledged before the call.
    ///
    /// A single statement sees one state. A job that needs several statements to see the same state opens a transaction with
    /// [`Connection::unchecked_transaction`]. Use `prepare_cached`, keep it short, do not write.
    pub async fn read<T, J>(&self, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.core.readers.run_one(job).await
    }

    /// Bytes of a content from `offset`, at most `length`; shorter at the end, empty past it. Every byte was verified against its
    /// checksum: [`Error::Damaged`] otherwise. [`Error::NotFound`] if there is no such content.
    pub async fn read_content(&self, content: ContentId, offset: u64, length: u64) -> Result<Bytes> {
        let files = Arc::clone(&self.core.files);
        self.read(move |connection| {
            with_file(connection, &files, content, |file, at| {
                segment::read_range(file, at, offset, length)
            })
        })
        .await
    }

    /// Ranges of contents (id, offset, length), each as [`Database::read_content`] gives it, with the content's length: of as many, from
    /// the first on, as `most` bytes allow, but one at least. One that cannot be read ends them; that the first one cannot is the result.
    pub async fn read_contents(
        &self,
        ranges: Vec<(ContentId, u64, u64)>,
        most: u64,
    ) -> Result<Vec<(Bytes, u64)>> {
        let files = Arc::clone(&self.core.files);
        self.read(move |connection| {
            let (mut read, mut bytes) = (Vec::with_capacity(ranges.len()), 0);
            for (content, offset, length) in ranges {
                let is_first = read.is_empty();
                let piece = with_file(connection, &files, content, |file, at| {
                    let wanted = length.min(at.length.saturating_sub(offset));
                    let fits = is_first || bytes + wanted <= most;
                    let piece = fits.then(|| segment::read_range(file, at, offset, length));
                    Ok((piece.transpose()?, at.length))
                });
                match piece {
                    Ok((Some(piece), whole)) => {
                        bytes += piece.len() as u64;
                        read.push((piece, whole));
                    }
                    Err(error) if read.is_empty() => return Err(error),
                    Ok((None, _)) | Err(_) => break,
                }
            }
            Ok(read)
        })
        .await
    }

    /// The length of a content in bytes, `None` if there is no such content.
    pub async fn content_length(&self, content: ContentId) -> Result<Option<u64>> {
        self.read(move |connection| Ok(locate(connection, content)?.map(|at| at.length)))
            .await
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.core.dir
    }
}

impl Core {
    fn start(
        &self,
        connection: Connection,
        open: Option<OpenSegment>,
        readers: Vec<Connection>,
    ) -> Result<()> {
        let appender = Appender {
            options: self.options.clone(),
            waiting: Arc::clone(&self.waiting),
            files: Arc::clone(&self.files),
            numbers: Arc::clone(&self.numbers),
            open,
        };
        let committer = Committer {
            connection,
            progress: Arc::clone(&self.progress),
        };
        let (sender, receiver) = sync_channel(0);
        let waiting = Arc::clone(&self.waiting);
        let mut threads = self.threads.lock();
        threads.extend(self.readers.start(readers)?);
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.into()).spawn(body);
            thread.map_err(|error| Error::Unavailable(format!("cannot start a thread: {error}")))
        };
        threads.push(spawn(
            "postrider-append",
            Box::new(move || appender.run(&sender)),
        )?);
        threads.push(spawn(
            "postrider-commit",
            Box::new(move || committer.run(&receiver, &waiting)),
        )?);
        Ok(())
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.waiting.close();
        self.readers.close();
        let current = std::thread::current().id();
        for thread in self.threads.get_mut().drain(..) {
            // A job may own the last clone; its thread cannot wait for itself.
            if thread.thread().id() != current && thread.join().is_err() {
                tracing::error!("a storage thread panicked");
            }
        }
    }
}

/// Where a content is.
pub(crate) fn locate(connection: &Connection, content: ContentId) -> Result<Option<Located>> {
    let located = connection
        .prepare_cached("SELECT segment, start, length, crc FROM content WHERE id = ?1")?
        .query_row([content.as_bytes()], |row| {
            Ok(Located {
                id: content,
                segment: row.get(0)?,
                start: row.get(1)?,
                length: row.get(2)?,
                crc: row.get(3)?,
                single: false,
            })
        })
        .optional()?;
    Ok(located)
}

/// Finds a content and reads it. Between the two the sweeper may have moved it, so a missing file is looked up once more.
fn with_file<T>(
    connection: &Connection,
    files: &Files,
    content: ContentId,
    read: impl Fn(&std::fs::File, &Located) -> Result<T>,
) -> Result<T> {
    for _ in 0..2 {
        let Some(at) = locate(connection, content)? else {
            return Err(Error::NotFound(format!("content {content}")));
        };
        if let Some(file) = files.get(at.segment)? {
            return read(&file, &at);
        }
    }
    Err(Error::Damaged(format!(
        "the segment of content {content} is missing"
    )))
}

/// Makes the segment directory agree with the committed rows: cuts tails, deletes what no row names. Gives the segment to go on
/// with and the next free number.
fn recover(connection: &Connection, dir: &Path, options: &Options) -> Result<(Option<OpenSegment>, u64)> {
    let mut next: u64 = connection
        .query_row(
            "SELECT seq FROM sqlite_sequence WHERE name = 'segment'",
            [],
            |row| row.get(0),
        )
        .optional()?
        .unwrap_or(0);
    let mut select = connection.prepare("SELECT committed, single FROM segment WHERE id = ?1")?;
    let mut last: Option<(u64, u64)> = None;
    for entry in std::fs::read_dir(dir).map_err(|error| Error::io(dir, &error))? {
        let entry = entry.map_err(|error| Error::io(dir, &error))?;
        let Some(number) = entry.file_name().to_str().and_then(segment::number) else {
            continue;
        };
        next = next.max(number);
        let row = select.query_row([number], |row| {
            Ok((row.get::<_, u64>(0)?, row.get::<_, bool>(1)?))
        });
        let Some((committed, single)) = row.optional()? else {
            std::fs::remove_file(entry.path()).map_err(|error| Error::io(&entry.path(), &error))?;
            continue;
        };
        let length = entry
            .metadata()
            .map_err(|error| Error::io(&entry.path(), &error))?
            .len();
        if length < committed {
            tracing::error!(segment = %entry.path().display(), length, committed, "a segment lost its end");
            continue;
        }
        if length > committed {
            let file = std::fs::OpenOptions::new().write(true).open(entry.path());
            let cut = file.and_then(|file| file.set_len(committed));
            cut.map_err(|error| Error::io(&entry.path(), &error))?;
        }
        if !single && committed < options.segment_bytes {
            last = last.max(Some((number, committed)));
        }
    }
    let open = last
        .map(|(number, committed)| OpenSegment::reopen(dir, number, committed, options.segment_bytes))
        .transpose()?;
    Ok((open, next + 1))
}
