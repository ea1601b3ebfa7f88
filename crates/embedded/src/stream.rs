//! Contents whose length is not known when they begin.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use postrider_types::ContentId;

use crate::database::Core;
use crate::segment::{self, HEADER, Header, Located, Tally};
use crate::waiting::Contents;
use crate::{Database, Error, Result};

/// Bytes gathered before they go to the file of a large content.
const PIECE: usize = 256 << 10;

/// A content being written. Up to [`crate::Options::stream_bytes`] it is held in memory and goes the way of every small content; above,
/// it goes to a segment file of its own and only a piece of it is in memory. Dropping it before `finish` discards it.
pub struct ContentWriter {
    core: Arc<Core>,
    id: ContentId,
    buffer: BytesMut,
    large: Option<Large>,
}

impl Database {
    /// Begins a content. Nothing is visible before [`ContentWriter::finish`].
    pub fn content_writer(&self, id: ContentId) -> ContentWriter {
        ContentWriter {
            core: Arc::clone(&self.core),
            id,
            buffer: BytesMut::new(),
            large: None,
        }
    }
}

impl ContentWriter {
    /// Appends a piece. After an error the writer can only be dropped.
    pub async fn write(&mut self, piece: &[u8]) -> Result<()> {
        let limit = if self.large.is_some() {
            PIECE
        } else {
            self.core.options.stream_bytes
        };
        self.buffer.extend_from_slice(piece);
        if self.buffer.len() > limit {
            self.spill().await
        } else {
            Ok(())
        }
    }

    /// Makes it durable and visible; its length in bytes. Nobody holds it yet: a sweep after the grace period deletes it
    /// unless an account or a unit does by then.
    pub async fn finish(mut self) -> Result<u64> {
        if self.large.is_none() {
            let body = self.buffer.freeze();
            let length = body.len() as u64;
            let contents = Contents::New(vec![(self.id, body)]);
            return self
                .core
                .waiting
                .submit(contents, |_| Ok(()))
                .await
                .map(|()| length);
        }
        self.spill().await?;
        let Some(large) = self.large.take() else {
            return Err(Error::Invalid("the writer failed earlier".into()));
        };
        let id = self.id;
        let (located, remove) = blocking(move || large.close(id)).await?;
        let waiting = Arc::clone(&self.core.waiting);
        // In a task of its own: a caller that goes away now must not take the file from under a row that is being committed.
        let entered = tokio::spawn(async move {
            let path = remove.disarm();
            let outcome = waiting.submit(Contents::Written(located), |_| Ok(())).await;
            // If the outcome is unknown the row may exist: only the next start knows whether the file is needed.
            if !matches!(outcome, Ok(()) | Err(Error::Unknown(_))) {
                drop(RemoveOnDrop(path));
            }
            outcome
        });
        let outcome = entered.await;
        outcome.map_err(|error| Error::Unknown(format!("a write was interrupted: {error}")))??;
        Ok(located.length)
    }

    /// Moves what is gathered into the file, which is created first.
    async fn spill(&mut self) -> Result<()> {
        let piece = self.buffer.split().freeze();
        let large = self.large.take();
        let core = Arc::clone(&self.core);
        let written = blocking(move || {
            let mut large = match large {
                Some(large) => large,
                None => Large::create(&core)?,
            };
            large.write(&piece)?;
            Ok(large)
        });
        self.large = Some(written.await?);
        Ok(())
    }
}

/// A segment file with one content.
struct Large {
    file: File,
    remove: RemoveOnDrop,
    number: u64,
    tally: Tally,
}

impl Large {
    fn create(core: &Core) -> Result<Self> {
        let number = core.numbers.take();
        let (path, mut file) = segment::create(core.files.dir(), number)?;
        let remove = RemoveOnDrop(Some(path));
        // The header comes last: until then the file does not look like a record.
        file.write_all(&[0; HEADER])
            .map_err(|error| remove.error(&error))?;
        Ok(Self {
            file,
            remove,
            number,
            tally: Tally::default(),
        })
    }

    fn write(&mut self, piece: &Bytes) -> Result<()> {
        self.tally.update(piece);
        self.file
            .write_all(piece)
            .map_err(|error| self.remove.error(&error))
    }

    /// Writes table and header, makes the file and its directory entry durable.
    fn close(mut self, id: ContentId) -> Result<(Located, RemoveOnDrop)> {
        let (length, crc, table) = self.tally.finish();
        let header = Header { id, length, crc }.encode();
        let written = self.file.write_all(&table).and_then(|()| {
            self.file.write_all_at(&header, 0)?;
            self.file.sync_data()
        });
        written.map_err(|error| self.remove.error(&error))?;
        if let Some(dir) = self.remove.0.as_deref().and_then(std::path::Path::parent) {
            segment::sync_directory(dir)?;
        }
        let located = Located {
            id,
            segment: self.number,
            start: 0,
            length,
            crc,
            single: true,
        };
        Ok((located, self.remove))
    }
}

/// Deletes a file that did not come to be a segment.
struct RemoveOnDrop(Option<PathBuf>);

impl RemoveOnDrop {
    fn disarm(mut self) -> Option<PathBuf> {
        self.0.take()
    }

    fn error(&self, error: &std::io::Error) -> Error {
        Error::io(self.0.as_deref().unwrap_or("content".as_ref()), error)
    }
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        // What cannot be deleted now is deleted at the next start.
        if let Some(path) = &self.0
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %error, "an unfinished segment could not be deleted");
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Unavailable(format!("a write was interrupted: {error}")))?
}
