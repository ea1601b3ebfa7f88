//! Names of segment files, and the open ones kept for reading.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::{Error, Result};

/// The file name of a segment.
pub(crate) fn name(segment: u64) -> String {
    format!("{segment:016x}.seg")
}

/// The segment of a file name; `None` for a file that is none of ours.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16)
        .ok()
        .filter(|number| format!("{number:016x}") == digits)
}

/// Creates the file of a new segment. Its directory entry is durable only after [`sync_directory`].
pub(crate) fn create(dir: &Path, segment: u64) -> Result<(PathBuf, File)> {
    let path = dir.join(name(segment));
    let file = OpenOptions::new()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&path);
    Ok((path.clone(), file.map_err(|error| Error::io(&path, &error))?))
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| Error::io(dir, &error))
}

/// Open segment files for reading, at most `limit`; the one unused longest is closed first.
pub(crate) struct Files {
    dir: PathBuf,
    limit: usize,
    open: Mutex<OpenFiles>,
}

#[derive(Default)]
struct OpenFiles {
    files: HashMap<u64, (Arc<File>, u64)>,
    tick: u64,
}

impl Files {
    pub(crate) fn new(dir: PathBuf, limit: usize) -> Self {
        Self {
            dir,
            limit: limit.max(1),
            open: Mutex::default(),
        }
    }

    /// The directory of the segments.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of a segment, `None` if there is none.
    pub(crate) fn get(&self, segment: u64) -> Result<Option<Arc<File>>> {
        let mut open = self.open.lock();
        open.tick += 1;
        let tick = open.tick;
        if let Some((file, used)) = open.files.get_mut(&segment) {
            *used = tick;
            return Ok(Some(Arc::clone(file)));
        }
        drop(open);
        let path = self.dir.join(name(segment));
        let file = match File::open(&path) {
            Ok(file) => Arc::new(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(&path, &error)),
        };
        let mut open = self.open.lock();
        if open.files.len() >= self.limit {
            let oldest = open
                .files
                .iter()
                .min_by_key(|(_, (_, used))| *used)
                .map(|(segment, _)| *segment);
            oldest.and_then(|segment| open.files.remove(&segment));
        }
        open.files.insert(segment, (Arc::clone(&file), tick));
        Ok(Some(file))
    }

    /// Deletes a segment's file. A reader that has it open can finish.
    pub(crate) fn remove(&self, segment: u64) -> Result<()> {
        self.open.lock().files.remove(&segment);
        let path = self.dir.join(name(segment));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&path, &error)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers_and_nothing_else() {
        assert_eq!(name(255), "00000000000000ff.seg");
        assert_eq!(number("00000000000000ff.seg"), Some(255));
        for other in [
            "00000000000000FF.seg",
            "+0000000000000ff.seg",
            "ff.seg",
            "00000000000000ff",
            "postrider.db",
        ] {
            assert_eq!(number(other), None, "{other}");
        }
    }

    #[test]
    fn only_so_many_files_stay_open() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path().into(), 2);
        for segment in 1..=3 {
            create(dir.path(), segment).unwrap();
            assert!(files.get(segment).unwrap().is_some());
        }
        let mut open: Vec<u64> = files.open.lock().files.keys().copied().collect();
        open.sort_unstable();
        assert_eq!(open, [2, 3]);
        files.remove(3).unwrap();
        assert!(files.get(3).unwrap().is_none());
    }
}
