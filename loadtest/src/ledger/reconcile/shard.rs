//! What is compared, spread over files by its key: whatever belongs together is in one file, and one file fits into memory.
//!
//! ```text
//! entry = length u32, tag u8, run u32, number u64, recipient text, fields
//! text = length u16, octets                                              numbers: little-endian
//! ```

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::super::{MessageId, Place, Promise, Sighting};

/// Files. Ten million promises and their copies make 300,000 entries in each, some 40 MiB in memory.
const SHARDS: u64 = 64;

/// No entry is longer, in octets: two texts and some numbers.
const LONGEST: usize = 256 * 1024;

/// A message for a recipient.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub id: MessageId,
    /// In lower case: servers do not tell case apart, and neither do promises.
    pub recipient: String,
}

/// Something that is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    Promised(Promised),
    Seen(Seen),
    /// The sink has refused this message for good.
    Refused,
    /// The only copy is in INBOX.
    Arrived(Arrived),
}

/// A message in an INBOX, with all that order is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrived {
    pub uidvalidity: u32,
    pub uid: u32,
    pub began: u64,
    pub at: u64,
    pub source: u16,
}

/// See [`Promise`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Promised {
    pub digest: u64,
    pub decoded: Option<u64>,
    pub began: u64,
    pub at: u64,
    /// Which ledger: the clocks of several do not begin at the same moment.
    pub source: u16,
}

/// A copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// `None`: the content was not read.
    pub digest: Option<u64>,
    pub decoded: Option<u64>,
    pub by: Eyes,
    /// Where, as people read it; the same text is the same copy.
    pub place: String,
    /// UIDVALIDITY and UID, in INBOX.
    pub inbox: Option<(u32, u32)>,
}

/// Who saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eyes {
    /// A reader afterwards, through IMAP.
    Imap,
    /// A reader afterwards, through POP3.
    Pop3,
    /// A poller that deleted it.
    Deleter,
    /// A poller that may have deleted it.
    DeleterPerhaps,
    /// The sink, which answered.
    Sink,
    /// The sink, which did not.
    SinkUnanswered,
}

/// The files.
#[derive(Debug)]
pub(super) struct Shards {
    directory: PathBuf,
    writers: Mutex<Vec<BufWriter<File>>>,
}

impl Shards {
    /// Makes empty ones in a directory of their own.
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let open = |shard| {
            Ok(BufWriter::with_capacity(
                16 * 1024,
                File::create(path(directory, shard))?,
            ))
        };
        Ok(Self {
            directory: directory.to_owned(),
            writers: Mutex::new((0..SHARDS).map(open).collect::<io::Result<_>>()?),
        })
    }

    /// Adds a fact, to the file that `by` decides.
    fn add(&self, by: u64, key: &Key, fact: &Fact) -> io::Result<()> {
        let mut entry = Vec::with_capacity(128);
        entry.put_u32_le(0);
        encode(key, fact, &mut entry);
        let length = u32::try_from(entry.len() - 4).unwrap_or_default();
        if let Some(front) = entry.get_mut(..4) {
            front.copy_from_slice(&length.to_le_bytes());
        }
        let index = usize::try_from(by % SHARDS).unwrap_or_default();
        match self.writers.lock().get_mut(index) {
            Some(writer) => writer.write_all(&entry),
            None => Ok(()),
        }
    }

    /// Adds a fact where all about the same message and recipient is.
    pub(super) fn add_by_key(&self, key: &Key, fact: &Fact) -> io::Result<()> {
        let Key { id, recipient } = key;
        let by = xxh3_64(recipient.as_bytes()) ^ id.number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.add(by >> 32, key, fact)
    }

    /// Adds a fact where all about the same recipient is.
    pub(super) fn add_by_recipient(&self, key: &Key, fact: &Fact) -> io::Result<()> {
        self.add(xxh3_64(key.recipient.as_bytes()), key, fact)
    }

    /// Shows one file after the other.
    pub(super) fn each(&self, mut show: impl FnMut(Entries) -> io::Result<()>) -> io::Result<()> {
        self.writers.lock().iter_mut().try_for_each(Write::flush)?;
        for shard in 0..SHARDS {
            let file = File::open(path(&self.directory, shard))?;
            show(Entries {
                reader: BufReader::with_capacity(256 * 1024, file),
                entry: Vec::new(),
            })?;
        }
        Ok(())
    }
}

/// What one file holds, in the order in which it was added.
#[derive(Debug)]
pub(super) struct Entries {
    reader: BufReader<File>,
    entry: Vec<u8>,
}

impl Entries {
    fn read(&mut self) -> io::Result<(Key, Fact)> {
        let mut length = [0; 4];
        self.reader.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or_default();
        self.entry.resize(length.min(LONGEST), 0);
        self.reader.read_exact(&mut self.entry)?;
        decode(&mut self.entry.as_slice()).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "a working file of reconcile is damaged",
            )
        })
    }
}

impl Iterator for Entries {
    type Item = io::Result<(Key, Fact)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.reader.fill_buf() {
            Ok([]) => None,
            Ok(_) => Some(self.read()),
            Err(error) => Some(Err(error)),
        }
    }
}

impl Key {
    pub(super) fn new(id: MessageId, recipient: &str) -> Self {
        Self {
            id,
            recipient: recipient.to_lowercase(),
        }
    }
}

impl Promised {
    pub(super) fn new(promise: &Promise, source: u16) -> Self {
        Self {
            digest: promise.digest,
            decoded: promise.decoded,
            began: promise.began,
            at: promise.at,
            source,
        }
    }
}

impl Seen {
    /// A copy seen during the run: by a poller, or by the sink.
    pub(super) fn during(sighting: &Sighting) -> Self {
        let (by, place) = match &sighting.place {
            Place::Maildrop { uid, deleted: true } => (Eyes::Deleter, format!("maildrop {uid}")),
            Place::Maildrop { uid, deleted: false } => (Eyes::DeleterPerhaps, format!("maildrop {uid}")),
            Place::Sink {
                transaction,
                answered,
                ..
            } => {
                let by = if *answered {
                    Eyes::Sink
                } else {
                    Eyes::SinkUnanswered
                };
                (by, format!("sink {transaction}"))
            }
            Place::Mailbox {
                name,
                uidvalidity,
                uid,
            } => (Eyes::Imap, mailbox_place(name, *uidvalidity, *uid)),
        };
        Self {
            digest: Some(sighting.digest),
            decoded: sighting.decoded,
            by,
            place,
            inbox: None,
        }
    }

    /// A copy seen afterwards in a mailbox.
    pub(super) fn in_mailbox(name: &str, uidvalidity: u32, uid: u32, digest: Option<u64>) -> Self {
        Self {
            digest,
            decoded: None,
            by: Eyes::Imap,
            place: mailbox_place(name, uidvalidity, uid),
            inbox: name.eq_ignore_ascii_case("inbox").then_some((uidvalidity, uid)),
        }
    }

    /// A copy seen afterwards in a maildrop.
    pub(super) fn in_maildrop(uid: &str, digest: u64) -> Self {
        Self {
            digest: Some(digest),
            decoded: None,
            by: Eyes::Pop3,
            place: format!("maildrop {uid}"),
            inbox: None,
        }
    }
}

fn mailbox_place(name: &str, uidvalidity: u32, uid: u32) -> String {
    format!("{name} {uidvalidity}/{uid}")
}

impl Eyes {
    const ALL: [Self; 6] = [
        Self::Imap,
        Self::Pop3,
        Self::Deleter,
        Self::DeleterPerhaps,
        Self::Sink,
        Self::SinkUnanswered,
    ];
}

fn path(directory: &Path, shard: u64) -> PathBuf {
    directory.join(format!("{shard:02x}"))
}

/// The tag of the first of [`Eyes`].
const EYES: u8 = 3;

fn encode(key: &Key, fact: &Fact, out: &mut Vec<u8>) {
    out.put_u8(match fact {
        Fact::Promised(_) => 0,
        Fact::Refused => 1,
        Fact::Arrived(_) => 2,
        Fact::Seen(seen) => EYES + seen.by as u8,
    });
    out.put_u32_le(key.id.run);
    out.put_u64_le(key.id.number);
    put_text(&key.recipient, out);
    match fact {
        Fact::Promised(promised) => {
            out.put_u64_le(promised.digest);
            put_option(promised.decoded, out);
            out.put_u64_le(promised.began);
            out.put_u64_le(promised.at);
            out.put_u16_le(promised.source);
        }
        Fact::Refused => {}
        Fact::Arrived(arrived) => {
            out.put_u32_le(arrived.uidvalidity);
            out.put_u32_le(arrived.uid);
            out.put_u64_le(arrived.began);
            out.put_u64_le(arrived.at);
            out.put_u16_le(arrived.source);
        }
        Fact::Seen(seen) => {
            put_option(seen.digest, out);
            put_option(seen.decoded, out);
            put_text(&seen.place, out);
            let inbox = |(validity, uid): (u32, u32)| u64::from(validity) << 32 | u64::from(uid);
            put_option(seen.inbox.map(inbox), out);
        }
    }
}

fn decode(rest: &mut &[u8]) -> Option<(Key, Fact)> {
    let tag = rest.try_get_u8().ok()?;
    let id = MessageId {
        run: rest.try_get_u32_le().ok()?,
        number: rest.try_get_u64_le().ok()?,
    };
    let recipient = get_text(rest)?;
    let fact = match tag {
        0 => Fact::Promised(Promised {
            digest: rest.try_get_u64_le().ok()?,
            decoded: get_option(rest)?,
            began: rest.try_get_u64_le().ok()?,
            at: rest.try_get_u64_le().ok()?,
            source: rest.try_get_u16_le().ok()?,
        }),
        1 => Fact::Refused,
        2 => Fact::Arrived(Arrived {
            uidvalidity: rest.try_get_u32_le().ok()?,
            uid: rest.try_get_u32_le().ok()?,
            began: rest.try_get_u64_le().ok()?,
            at: rest.try_get_u64_le().ok()?,
            source: rest.try_get_u16_le().ok()?,
        }),
        eyes => Fact::Seen(Seen {
            by: *Eyes::ALL.get(usize::from(eyes.checked_sub(EYES)?))?,
            digest: get_option(rest)?,
            decoded: get_option(rest)?,
            place: get_text(rest)?,
            inbox: get_option(rest)?.map(|number| ((number >> 32) as u32, number as u32)),
        }),
    };
    Some((Key { id, recipient }, fact))
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    // Addresses and mailbox names are shorter by far; a cut one is still told from others by its beginning.
    let cut = text.len().min(usize::from(u16::MAX));
    let cut = (0..=cut)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or_default();
    out.put_u16_le(cut as u16);
    out.extend_from_slice(text.as_bytes().get(..cut).unwrap_or_default());
}

fn get_text(rest: &mut &[u8]) -> Option<String> {
    let length = usize::from(rest.try_get_u16_le().ok()?);
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    String::from_utf8(text.to_vec()).ok()
}

fn put_option(number: Option<u64>, out: &mut Vec<u8>) {
    out.put_u8(u8::from(number.is_some()));
    if let Some(number) = number {
        out.put_u64_le(number);
    }
}

fn get_option(rest: &mut &[u8]) -> Option<Option<u64>> {
    match rest.try_get_u8().ok()? {
        0 => Some(None),
        _ => Some(Some(rest.try_get_u64_le().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back_together() {
        let directory = tempfile::tempdir().unwrap();
        let shards = Shards::create(directory.path()).unwrap();
        let mut written = Vec::new();
        for number in 0..300 {
            let key = Key::new(
                MessageId { run: 7, number },
                &format!("Bob{number}@hamburger.edu"),
            );
            let promised = Fact::Promised(Promised {
                digest: number,
                decoded: number.is_multiple_of(2).then_some(1),
                began: 2,
                at: 3,
                source: 4,
            });
            let facts = Eyes::ALL.map(|by| {
                Fact::Seen(Seen {
                    digest: Some(5),
                    decoded: None,
                    by,
                    place: "Entwürfe".into(),
                    inbox: (by == Eyes::Imap).then_some((u32::MAX, 9)),
                })
            });
            let arrived = Fact::Arrived(Arrived {
                uidvalidity: 1,
                uid: 2,
                began: 3,
                at: 4,
                source: 5,
            });
            for fact in [promised, Fact::Refused, arrived].into_iter().chain(facts) {
                shards.add_by_key(&key, &fact).unwrap();
                written.push((key.clone(), fact));
            }
        }
        let (mut read, mut filled) = (Vec::new(), 0);
        shards
            .each(|entries| {
                let entries = entries.collect::<io::Result<Vec<_>>>()?;
                filled += usize::from(!entries.is_empty());
                for facts in entries.chunk_by(|(first, _), (second, _)| first == second) {
                    assert_eq!(facts.len(), 9, "what belongs together is together");
                }
                read.extend(entries);
                Ok(())
            })
            .unwrap();
        read.sort_by(|(first, _), (second, _)| first.cmp(second));
        assert_eq!(read, written);
        assert!(filled > 40, "only {filled} files are used");
    }
}
