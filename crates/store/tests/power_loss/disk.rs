//! A disk that keeps only what it must.
//!
//! It follows the calls of a process. At any moment it can be told that the power is gone: what was synced is there, and of everything
//! else each write, each change of length and each directory entry is there, or is not, or (a write) is there in some of its sectors, as
//! chance has it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::trace::{Call, Event};

const SECTOR: i64 = 512;

/// A call that was made and may be lost.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: i64, data: Vec<u8> },
    Truncate { length: i64 },
}

#[derive(Debug, Clone)]
struct Pending {
    /// The number of the call.
    call: usize,
    change: Change,
    /// It has returned: a sync that begins later covers it.
    returned: bool,
}

#[derive(Debug, Clone, Default)]
struct File {
    sure: Vec<u8>,
    pending: Vec<Pending>,
    /// The length as the process sees it.
    length: i64,
}

/// A name that points to a file, or to none any more.
#[derive(Debug, Clone)]
struct Entry {
    call: usize,
    path: String,
    file: Option<usize>,
    returned: bool,
}

#[derive(Debug, Clone)]
enum Handle {
    File { file: usize, position: i64 },
    Directory(String),
    Output,
}

/// Which syncs the disk ignores, to show that the test sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignore {
    Nothing,
    /// Of files with this ending.
    Files(&'static str),
    /// Of directories.
    Directories,
}

/// The disk, and what was acknowledged so far.
#[derive(Debug)]
pub struct Disk {
    root: String,
    ignore: Ignore,
    files: Vec<File>,
    /// As the process sees them.
    names: BTreeMap<String, usize>,
    sure_names: BTreeMap<String, usize>,
    entries: Vec<Entry>,
    handles: HashMap<i64, Handle>,
    /// What each call that has not returned will do when it does.
    running: HashMap<usize, Running>,
    /// Lines on standard output that begin with `ack `.
    pub acks: Vec<String>,
}

#[derive(Debug)]
enum Running {
    Open { path: String, flags: String },
    Write { file: usize },
    SyncFile { file: usize, covers: Vec<usize> },
    SyncDirectory { covers: Vec<usize> },
    Seek { fd: i64 },
}

impl Disk {
    /// An empty disk that watches what is below `root`.
    pub fn new(root: &Path, ignore: Ignore) -> Self {
        Self {
            root: format!("{}/", root.display()),
            ignore,
            files: Vec::new(),
            names: BTreeMap::new(),
            sure_names: BTreeMap::new(),
            entries: Vec::new(),
            handles: HashMap::from([(1, Handle::Output)]),
            running: HashMap::new(),
            acks: Vec::new(),
        }
    }

    /// Follows one event.
    pub fn follow(&mut self, event: &Event) {
        match event {
            Event::Begin(number, call) => self.begin(*number, call),
            Event::End(number, result) => self.end(*number, *result),
        }
    }

    fn begin(&mut self, number: usize, call: &Call) {
        match call {
            Call::Open { path, flags } => {
                self.running.insert(
                    number,
                    Running::Open {
                        path: path.clone(),
                        flags: flags.clone(),
                    },
                );
            }
            Call::Close { fd } => {
                self.handles.remove(fd);
            }
            Call::Write { fd, offset, data } => self.begin_write(number, *fd, *offset, data),
            Call::Seek { fd } => {
                self.running.insert(number, Running::Seek { fd: *fd });
            }
            Call::Truncate { fd, length } => {
                if let Some(Handle::File { file, .. }) = self.handles.get(fd) {
                    let file = *file;
                    self.files[file].length = *length;
                    self.change(number, file, Change::Truncate { length: *length });
                }
            }
            Call::Sync { fd } => self.begin_sync(number, *fd),
            Call::Unlink { path } => self.name(number, path, None),
            Call::Rename { from, to } => {
                if let Some(file) = self.names.get(from).copied() {
                    self.name(number, from, None);
                    self.name(number, to, Some(file));
                }
            }
            Call::Mkdir => {}
        }
    }

    fn begin_write(&mut self, number: usize, fd: i64, offset: Option<i64>, data: &[u8]) {
        match self.handles.get_mut(&fd) {
            Some(Handle::Output) => {
                let text = String::from_utf8_lossy(data);
                // The harness may have begun the line.
                let acks = text
                    .lines()
                    .filter_map(|line| line.split_once("ack "))
                    .map(|(_, ack)| ack.to_owned());
                self.acks.extend(acks);
            }
            Some(Handle::File { file, position }) => {
                let at = offset.unwrap_or(*position);
                let end = at + data.len() as i64;
                if offset.is_none() {
                    *position = end;
                }
                let file = *file;
                self.files[file].length = self.files[file].length.max(end);
                self.change(
                    number,
                    file,
                    Change::Write {
                        offset: at,
                        data: data.to_vec(),
                    },
                );
            }
            Some(Handle::Directory(_)) | None => {}
        }
    }

    fn begin_sync(&mut self, number: usize, fd: i64) {
        let running = match self.handles.get(&fd) {
            Some(Handle::File { file, .. }) => {
                let returned = self.files[*file]
                    .pending
                    .iter()
                    .filter(|pending| pending.returned);
                Running::SyncFile {
                    file: *file,
                    covers: returned.map(|pending| pending.call).collect(),
                }
            }
            Some(Handle::Directory(directory)) => {
                let inside = |entry: &&Entry| {
                    entry.returned && Path::new(&entry.path).parent() == Some(Path::new(directory))
                };
                Running::SyncDirectory {
                    covers: self
                        .entries
                        .iter()
                        .filter(inside)
                        .map(|entry| entry.call)
                        .collect(),
                }
            }
            Some(Handle::Output) | None => return,
        };
        self.running.insert(number, running);
    }

    fn change(&mut self, call: usize, file: usize, change: Change) {
        self.files[file].pending.push(Pending {
            call,
            change,
            returned: false,
        });
        self.running.insert(call, Running::Write { file });
    }

    fn name(&mut self, call: usize, path: &str, file: Option<usize>) {
        if !path.starts_with(&self.root) {
            return;
        }
        match file {
            Some(file) => self.names.insert(path.to_owned(), file),
            None => self.names.remove(path),
        };
        // Whoever makes or removes a name is told at once; the model need not wait for the return.
        self.entries.push(Entry {
            call,
            path: path.to_owned(),
            file,
            returned: true,
        });
    }

    fn end(&mut self, number: usize, result: i64) {
        let Some(running) = self.running.remove(&number) else {
            return;
        };
        match running {
            Running::Open { path, flags } if result >= 0 => self.opened(number, path, &flags, result),
            Running::Open { .. } => {}
            Running::Write { file } => {
                for pending in self.files[file]
                    .pending
                    .iter_mut()
                    .filter(|pending| pending.call == number)
                {
                    if let Change::Write { data, .. } = &pending.change {
                        assert_eq!(result, data.len() as i64, "the model knows whole writes only");
                    }
                    pending.returned = true;
                }
            }
            Running::SyncFile { file, covers } => {
                assert_eq!(result, 0, "a sync failed");
                if !self.ignores(file) {
                    self.files[file].make_sure(&covers);
                }
            }
            Running::SyncDirectory { covers } => {
                assert_eq!(result, 0, "a sync failed");
                if self.ignore != Ignore::Directories {
                    self.make_names_sure(&covers);
                }
            }
            Running::Seek { fd } => {
                if let Some(Handle::File { position, .. }) = self.handles.get_mut(&fd) {
                    *position = result;
                }
            }
        }
    }

    fn opened(&mut self, number: usize, path: String, flags: &str, fd: i64) {
        if flags.contains("O_DIRECTORY")
            || path == self.root.trim_end_matches('/')
            || path.ends_with("/content")
        {
            self.handles.insert(fd, Handle::Directory(path));
            return;
        }
        self.handles.remove(&fd);
        // SQLite's shared memory is written through a mapping and made anew at every start.
        if !path.starts_with(&self.root) || path.ends_with("-shm") {
            return;
        }
        assert!(
            !flags.contains("O_APPEND"),
            "the model knows no appending files: {path}"
        );
        let file = match self.names.get(&path) {
            Some(file) => *file,
            None => {
                assert!(
                    flags.contains("O_CREAT"),
                    "{path} was not made while it was watched"
                );
                self.files.push(File::default());
                let file = self.files.len() - 1;
                self.name(number, &path, Some(file));
                file
            }
        };
        assert!(
            !flags.contains("O_TRUNC") || self.files[file].length == 0,
            "the model knows no truncating open"
        );
        self.handles.insert(fd, Handle::File { file, position: 0 });
    }

    fn ignores(&self, file: usize) -> bool {
        match self.ignore {
            Ignore::Files(ending) => self
                .names
                .iter()
                .any(|(name, named)| *named == file && name.ends_with(ending)),
            Ignore::Nothing | Ignore::Directories => false,
        }
    }

    fn make_names_sure(&mut self, covers: &[usize]) {
        self.entries.retain(|entry| {
            if covers.contains(&entry.call) {
                match entry.file {
                    Some(file) => self.sure_names.insert(entry.path.clone(), file),
                    None => self.sure_names.remove(&entry.path),
                };
                return false;
            }
            true
        });
    }

    /// The power is gone: the files as they may be found, by path below the root.
    pub fn lose_power(&self, chance: &mut Chance) -> BTreeMap<String, Vec<u8>> {
        let mut names = self.sure_names.clone();
        for entry in self.entries.iter().filter(|_| chance.one_in(2)) {
            match entry.file {
                Some(file) => names.insert(entry.path.clone(), file),
                None => names.remove(&entry.path),
            };
        }
        let inside = |path: &str| path[self.root.len()..].to_owned();
        // Sometimes nearly everything is kept or lost: the extremes are likely on a real disk.
        let keep = [1, 2, 10, 20][chance.below(4) as usize];
        names
            .iter()
            .map(|(path, file)| (inside(path), self.files[*file].remains(chance, keep)))
            .collect()
    }
}

impl File {
    fn make_sure(&mut self, covers: &[usize]) {
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending| covers.contains(&pending.call));
        for pending in now {
            apply(&mut self.sure, &pending.change);
        }
        self.pending = later;
    }

    fn remains(&self, chance: &mut Chance, keep: u64) -> Vec<u8> {
        let mut bytes = self.sure.clone();
        for pending in &self.pending {
            match (&pending.change, chance.below(4)) {
                (Change::Write { offset, data }, 0) => torn(&mut bytes, *offset, data, chance),
                (change, _) if keep > 2 && !chance.one_in(keep) || keep <= 2 && chance.one_in(2) => {
                    apply(&mut bytes, change);
                }
                _ => {}
            }
        }
        bytes
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Truncate { length } => bytes.resize(*length as usize, 0),
        Change::Write { offset, data } => {
            let (from, to) = (*offset as usize, *offset as usize + data.len());
            if bytes.len() < to {
                bytes.resize(to, 0);
            }
            bytes[from..to].copy_from_slice(data);
        }
    }
}

/// Some sectors of a write: a front, or any.
fn torn(bytes: &mut Vec<u8>, offset: i64, data: &[u8], chance: &mut Chance) {
    let front = chance
        .one_in(2)
        .then(|| chance.below(data.len() as u64 + 1) as i64);
    let mut at = offset;
    let end = offset + data.len() as i64;
    while at < end {
        let next = ((at / SECTOR + 1) * SECTOR).min(end);
        let kept = match front {
            Some(front) => next - offset <= front,
            None => chance.one_in(2),
        };
        if kept {
            let piece = data[(at - offset) as usize..(next - offset) as usize].to_vec();
            apply(
                bytes,
                &Change::Write {
                    offset: at,
                    data: piece,
                },
            );
        }
        at = next;
    }
}

/// Numbers that look random and are the same for the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(fd: i64, data: &[u8]) -> Call {
        Call::Write {
            fd,
            offset: None,
            data: data.to_vec(),
        }
    }

    fn follow(disk: &mut Disk, calls: Vec<(Call, i64)>) {
        for (number, (call, result)) in calls.into_iter().enumerate() {
            disk.follow(&Event::Begin(number, call));
            disk.follow(&Event::End(number, result));
        }
    }

    #[test]
    fn what_is_synced_stays_and_the_rest_may_go() {
        let mut disk = Disk::new(Path::new("/d"), Ignore::Nothing);
        let open = |path: &str, flags: &str| Call::Open {
            path: path.into(),
            flags: flags.into(),
        };
        follow(
            &mut disk,
            vec![
                (open("/d/a", "O_RDWR|O_CREAT"), 5),
                (write(5, &[1; 600]), 600),
                (Call::Sync { fd: 5 }, 0),
                (open("/d", "O_RDONLY|O_DIRECTORY"), 6),
                (Call::Sync { fd: 6 }, 0),
                (write(5, &[2; 1000]), 1000),
                (open("/d/b", "O_RDWR|O_CREAT"), 7),
            ],
        );
        let mut lengths = Vec::new();
        let mut with_b = 0;
        for seed in 0..200 {
            let files = disk.lose_power(&mut Chance(seed));
            let a = &files["a"];
            assert_eq!(a[..600], [1; 600]);
            lengths.push(a.len());
            with_b += usize::from(files.contains_key("b"));
        }
        lengths.sort_unstable();
        lengths.dedup();
        assert_eq!(lengths, [600, 1024, 1536, 1600]);
        assert!((50..150).contains(&with_b), "{with_b}");
    }
}
