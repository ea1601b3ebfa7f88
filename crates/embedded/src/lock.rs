//! One process per data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::{Error, Result};

/// The lock on a data directory, held until dropped. The kernel lets go of it when the process ends in any way.
#[derive(Debug)]
pub(crate) struct DirectoryLock(#[allow(dead_code, reason = "held for its lock")] File);

impl DirectoryLock {
    /// Takes the lock, or says that the directory is in use.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| Error::io(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::InUse(dir.to_path_buf())),
            Err(TryLockError::Error(error)) => Err(Error::io(&path, &error)),
        }
    }
}
