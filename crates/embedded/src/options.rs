//! What can be tuned.

/// Options of a [`crate::Database`]. The defaults suit a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A segment that reached this many bytes is sealed and a new one begun. Default: 256 MiB.
    pub segment_bytes: u64,
    /// A content written by [`crate::Database::content_writer`] that grows above this many bytes goes to a segment file of its own
    /// and is no longer held in memory. Default: 1 MiB.
    pub stream_bytes: usize,
    /// Threads with a read connection each. Default: 4.
    pub readers: usize,
    /// Memory in bytes that waiting writes may take together; a job counts at least 1 KiB. Writers wait when it
    /// is spent. Default: 64 MiB.
    pub waiting_bytes: usize,
    /// Bytes of contents that one batch takes at most (a single larger write is a batch of its own). Default: 8 MiB.
    pub batch_bytes: usize,
    /// Jobs that one batch takes at most. Default: 1,024.
    pub batch_jobs: usize,
    /// Pages of 4 KiB that the write-ahead log holds before it is copied into the database. Default: 4,096 (16 MiB).
    pub checkpoint_pages: u32,
    /// Open files kept for reading contents. Default: 128.
    pub open_files: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 256 << 20,
            stream_bytes: 1 << 20,
            readers: 4,
            waiting_bytes: 64 << 20,
            batch_bytes: 8 << 20,
            batch_jobs: 1024,
            checkpoint_pages: 4096,
            open_files: 128,
        }
    }
}
