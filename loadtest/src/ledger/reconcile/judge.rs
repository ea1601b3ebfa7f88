//! The verdict: promises against copies.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::super::{Findings, Verdict};
use super::order;
use super::shard::{Arrived, Eyes, Fact, Key, Promised, Seen, Shards};

/// Findings in a [`Verdict`] itself.
const EXAMPLES: usize = 1000;

/// What is known beside the facts.
#[derive(Debug, Default)]
pub(super) struct Circumstances {
    /// Addresses the sink takes nothing for, in lower case.
    pub refused: HashSet<String>,
    /// Both IMAP and POP3 were read, so both must show what is in INBOX.
    pub both: bool,
}

/// A verdict, and whose messages are missing.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    pub verdict: Verdict,
    /// Recipients of what is lost, in lower case.
    pub missed: BTreeSet<String>,
}

/// Compares what is in `shards`; writes `lost.txt`, `duplicated.txt`, `altered.txt` and `out-of-order.txt` into `directory`.
/// `work` is a directory for working files.
pub(super) fn judge(
    shards: &Shards,
    circumstances: &Circumstances,
    directory: &Path,
    work: &Path,
) -> io::Result<Judgement> {
    let in_order = Shards::create(work)?;
    let mut court = Court {
        circumstances,
        judgement: Judgement::default(),
        lost: List::create(&directory.join("lost.txt"))?,
        duplicated: List::create(&directory.join("duplicated.txt"))?,
        altered: List::create(&directory.join("altered.txt"))?,
        out_of_order: List::create(&directory.join("out-of-order.txt"))?,
    };
    shards.each(|entries| {
        let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by(|(first, _), (second, _)| first.cmp(second));
        for facts in entries.chunk_by(|(first, _), (second, _)| first == second) {
            court.hear(facts, &in_order)?;
        }
        Ok(())
    })?;
    in_order.each(|entries| {
        for (key, why) in order::violations(entries)? {
            court.out_of_order.add(&key, &why)?;
        }
        Ok(())
    })?;
    court.rise()
}

/// Where a message of a recipient is, by distinct places.
#[derive(Debug, Default)]
struct Copies<'a> {
    imap: BTreeMap<&'a str, &'a Seen>,
    pop3: BTreeSet<&'a str>,
    /// Deleted copies may still be seen through POP3 under the same unique id: then they are one.
    deleted: BTreeSet<&'a str>,
    perhaps_deleted: bool,
    sink: BTreeSet<&'a str>,
    unanswered: BTreeSet<&'a str>,
}

struct Court<'a> {
    circumstances: &'a Circumstances,
    judgement: Judgement,
    lost: List,
    duplicated: List,
    altered: List,
    out_of_order: List,
}

impl Court<'_> {
    /// All about one message and recipient.
    fn hear(&mut self, facts: &[(Key, Fact)], in_order: &Shards) -> io::Result<()> {
        let Some((key, _)) = facts.first() else {
            return Ok(());
        };
        let copies = Copies::of(facts.iter().filter_map(|(_, fact)| match fact {
            Fact::Seen(seen) => Some(seen),
            _ => None,
        }));
        let promises = facts.iter().filter_map(|(_, fact)| match fact {
            Fact::Promised(promised) => Some(promised),
            _ => None,
        });
        match promises.min_by_key(|promised| promised.at) {
            Some(promised) => self.hear_promised(key, promised, &copies, facts, in_order)?,
            None if copies.are_there() => self.judgement.verdict.unpromised += 1,
            None => {}
        }
        if copies.count() > 1 {
            self.duplicated.add(key, &copies.places())?;
        }
        Ok(())
    }

    fn hear_promised(
        &mut self,
        key: &Key,
        promised: &Promised,
        copies: &Copies<'_>,
        facts: &[(Key, Fact)],
        in_order: &Shards,
    ) -> io::Result<()> {
        self.judgement.verdict.promised += 1;
        let refused = || {
            self.circumstances.refused.contains(&key.recipient)
                || facts.iter().any(|(_, fact)| *fact == Fact::Refused)
        };
        if self.circumstances.both && copies.is_hidden_from_pop3() {
            self.lose(key, "IMAP shows it in INBOX, POP3 does not")?;
        } else if copies.are_there() {
            self.judgement.verdict.found += 1;
        } else if refused() {
            self.judgement.verdict.returned += 1;
        } else {
            let seconds = promised.at as f64 / 1e6;
            self.lose(key, &format!("answered {seconds:.6} s after the run began"))?;
        }
        for (_, fact) in facts {
            if let Fact::Seen(seen) = fact
                && is_altered(promised, seen)
            {
                self.altered.add(key, &seen.place)?;
                // Every copy may be altered; the message counts once.
                break;
            }
        }
        if let [(_, seen)] = copies.imap.iter().collect::<Vec<_>>()[..]
            && let Some((uidvalidity, uid)) = seen.inbox
        {
            let arrived = Arrived {
                uidvalidity,
                uid,
                began: promised.began,
                at: promised.at,
                source: promised.source,
            };
            in_order.add_by_recipient(key, &Fact::Arrived(arrived))?;
        }
        Ok(())
    }

    fn lose(&mut self, key: &Key, why: &str) -> io::Result<()> {
        self.judgement.missed.insert(key.recipient.clone());
        self.lost.add(key, why)
    }

    fn rise(self) -> io::Result<Judgement> {
        let mut judgement = self.judgement;
        judgement.verdict.lost = self.lost.close()?;
        judgement.verdict.duplicated = self.duplicated.close()?;
        judgement.verdict.altered = self.altered.close()?;
        judgement.verdict.out_of_order = self.out_of_order.close()?;
        Ok(judgement)
    }
}

impl<'a> Copies<'a> {
    fn of(seen: impl Iterator<Item = &'a Seen>) -> Self {
        let mut copies = Self::default();
        for seen in seen {
            let place = seen.place.as_str();
            match seen.by {
                Eyes::Imap => {
                    copies.imap.insert(place, seen);
                }
                Eyes::Pop3 => {
                    copies.pop3.insert(place);
                }
                Eyes::Deleter => {
                    copies.deleted.insert(place);
                }
                Eyes::DeleterPerhaps => copies.perhaps_deleted = true,
                Eyes::Sink => {
                    copies.sink.insert(place);
                }
                Eyes::SinkUnanswered => {
                    copies.unanswered.insert(place);
                }
            }
        }
        // What is said of a transaction later takes back what was said before.
        copies.sink.retain(|place| !copies.unanswered.contains(place));
        copies
    }

    /// How many there are for certain. Mailboxes and maildrop show the same copies, so they are not added up.
    fn count(&self) -> usize {
        // A maildrop is a snapshot: what a poller deleted may have been moved to another mailbox meanwhile (RFC 1939 §3 leaves
        // out what becomes of it then). So a copy there and a deleted one are taken for one.
        let elsewhere = self.imap.values().filter(|seen| seen.inbox.is_none()).count();
        let in_inbox = self.imap.len() - elsewhere;
        let through_imap = in_inbox + elsewhere.max(self.deleted.len());
        let through_pop3 = self.pop3.union(&self.deleted).count();
        through_imap.max(through_pop3) + self.sink.len()
    }

    /// Whether there is one, or may have been one that was taken away.
    fn are_there(&self) -> bool {
        self.count() > 0 || self.perhaps_deleted || !self.unanswered.is_empty()
    }

    fn is_hidden_from_pop3(&self) -> bool {
        let in_inbox = self.imap.values().any(|seen| seen.inbox.is_some());
        in_inbox && self.pop3.is_empty()
    }

    fn places(&self) -> String {
        let places = self
            .imap
            .keys()
            .chain(&self.pop3)
            .chain(&self.deleted)
            .chain(&self.sink);
        places.copied().collect::<Vec<_>>().join(", ")
    }
}

fn is_altered(promised: &Promised, seen: &Seen) -> bool {
    let converted = seen.decoded.is_some() && seen.decoded == promised.decoded;
    seen.digest.is_some_and(|digest| digest != promised.digest) && !converted
}

/// Findings on their way to a file.
struct List {
    file: BufWriter<File>,
    findings: Findings,
}

impl List {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(File::create(path)?),
            findings: Findings::default(),
        })
    }

    fn add(&mut self, key: &Key, word: &str) -> io::Result<()> {
        let line = format!("{} {} {word}", key.id, key.recipient);
        writeln!(self.file, "{line}")?;
        self.findings.count += 1;
        if self.findings.examples.len() < EXAMPLES {
            self.findings.examples.push(line);
        }
        Ok(())
    }

    fn close(mut self) -> io::Result<Findings> {
        self.file.flush()?;
        Ok(self.findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(by: Eyes, place: &str, inbox: Option<(u32, u32)>) -> Seen {
        Seen {
            digest: None,
            decoded: None,
            by,
            place: place.into(),
            inbox,
        }
    }

    #[test]
    fn what_was_moved_away_under_a_pollers_hands_is_one_copy() {
        let deleted = seen(Eyes::Deleter, "maildrop 1.25", None);
        let archived = seen(Eyes::Imap, "Archive 2/1", None);
        let again = seen(Eyes::Imap, "Archive 2/2", None);
        let in_inbox = seen(Eyes::Imap, "INBOX 1/26", Some((1, 26)));
        let count = |copies: &[&Seen]| Copies::of(copies.iter().copied()).count();
        assert_eq!(count(&[&deleted, &archived]), 1);
        assert_eq!(count(&[&deleted, &archived, &again]), 2);
        assert_eq!(
            count(&[&deleted, &in_inbox]),
            2,
            "it would have had to be deleted there"
        );
    }
}
