//! Deleting contents that nobody holds: the candidates first, then a part of the walk (`walk`).
//!
//! One process sweeps at a time, by a lease that is longer than a request can be on its way. A content goes like this: no holder, doom it,
//! still no holder, delete what was written before it was doomed. What is written meanwhile (the same content put again) has
//! a later timestamp and stays.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::future::try_join_all;
use postrider_cql::{Conditional, Statement};
use postrider_types::{AccountId, ContentId};

use super::holders::{HEADER, HOUR, Header, Holder, SHARDS, holder, hour_of};
use super::rows::{blob, content_id};
use super::{Cql, int, statements};
use crate::content::Sweep;
use crate::{Error, Result, unix_millis};

const TAKE: Statement = Statement::conditional(
    "INSERT INTO lease (name, holder) VALUES ('sweep', ?) IF NOT EXISTS USING TTL 120",
);
const RENEW: Statement =
    Statement::conditional("UPDATE lease USING TTL 120 SET holder = ? WHERE name = 'sweep' IF holder = ?");
const RELEASE: Statement = Statement::conditional("DELETE FROM lease WHERE name = 'sweep' IF holder = ?");
const PROGRESS: Statement = Statement::read("SELECT value FROM progress WHERE name = ?");
const NOTE_PROGRESS: Statement = Statement::write("INSERT INTO progress (name, value) VALUES (?, ?)");
/// When the keyspace came to be: no candidate is older.
const BEGINNING: Statement =
    Statement::read("SELECT applied FROM schema_migration WHERE component = 'postrider' AND version = 1");
const CANDIDATES: Statement =
    Statement::read("SELECT content, since FROM content_candidate WHERE hour = ? AND shard = ?");
const DELETE_CANDIDATE: Statement =
    Statement::write("DELETE FROM content_candidate WHERE hour = ? AND shard = ? AND content = ?");
const DOOM: Statement = Statement::write("UPDATE content USING TIMESTAMP ? SET doomed = ? WHERE content = ?");
const SPARE: Statement = Statement::write("DELETE doomed FROM content USING TIMESTAMP ? WHERE content = ?");
const DELETE_CONTENT: Statement = Statement::write("DELETE FROM content USING TIMESTAMP ? WHERE content = ?");
const DELETE_HOLDERS: Statement =
    Statement::write("DELETE FROM content_holder USING TIMESTAMP ? WHERE content = ?");

/// `progress.name`: the hour before which all candidates are done.
const HOURS: &str = "sweep";
/// How long after its lease began a sweeper may still delete; the lease itself lasts twice as long.
pub(super) const SAFE: Duration = Duration::from_secs(60);
/// Contents of one call.
const AT_MOST: usize = 512;
/// Contents looked at at the same time.
pub(super) const AT_ONCE: usize = 16;
/// Hours by which the clock of a process may be wrong.
const LATE_HOURS: i32 = 2;

/// A content that may have no holder.
struct Candidate {
    hour: i32,
    shard: i8,
    id: ContentId,
}

/// What became of a candidate.
pub(super) enum Verdict {
    /// Deleted, with its length if it was whole.
    Deleted(Option<u64>),
    /// There is nothing to do, or somebody holds it: whoever lets go makes it a candidate again.
    Done,
    /// Too young to be judged: looked at again later.
    Later,
}

impl Cql {
    pub(super) async fn sweep_some(&self, before: u64) -> Result<Sweep> {
        let Some(lease) = self.take_lease().await? else {
            return Ok(Sweep::default());
        };
        let mut swept = self.sweep_hours(before, lease).await;
        if let Ok(found) = &mut swept
            && !found.more
        {
            match self.walk_on(before, lease).await {
                Ok(walked) => {
                    found.deleted += walked.deleted;
                    found.bytes += walked.bytes;
                }
                Err(error) => swept = Err(error),
            }
        }
        if !matches!(swept, Ok(Sweep { more: true, .. })) {
            let me = self.sweeper;
            // It would end by itself.
            let _ = self.session.conditional(RELEASE, (me,)).await;
        }
        swept
    }

    /// Looks at the next candidates, oldest hours first.
    async fn sweep_hours(&self, before: u64, lease: Instant) -> Result<Sweep> {
        let mut swept = Sweep::default();
        let mut looked = 0;
        let mut finished = true;
        let start = self.position().await?;
        let now = hour_of(unix_millis());
        let (settled, last) = (now - LATE_HOURS, hour_of(before).min(now + LATE_HOURS));
        for hour in start..=last {
            for candidate in self.due(hour, before, &mut finished).await?.chunks(AT_ONCE) {
                if looked >= AT_MOST || lease.elapsed() > SAFE {
                    swept.more = true;
                    return Ok(swept);
                }
                looked += candidate.len();
                let verdicts =
                    try_join_all(candidate.iter().map(|one| self.judge(one, before, lease))).await?;
                for verdict in verdicts {
                    if let Verdict::Deleted(Some(length)) = verdict {
                        swept.deleted += 1;
                        swept.bytes += length;
                    }
                }
            }
            // A whole hour is done for ever when nobody can add to it.
            finished &= hour < hour_of(before) && hour < settled;
            if finished && hour > start {
                self.note_progress(HOURS, i64::from(hour)).await?;
            }
        }
        Ok(swept)
    }

    /// Candidates of an hour that are due; `finished` falls if others stay.
    async fn due(&self, hour: i32, before: u64, finished: &mut bool) -> Result<Vec<Candidate>> {
        let read = async |shard: i8| {
            let rows: Vec<(Vec<u8>, i64)> = self.range(CANDIDATES, (hour, shard), AT_MOST).await?;
            Ok::<_, Error>((shard, rows))
        };
        let mut due = Vec::new();
        for (shard, rows) in try_join_all((0..SHARDS).map(read)).await? {
            *finished &= rows.len() < AT_MOST;
            for (id, since) in rows {
                if (since as u64) < before {
                    let id = content_id(&id)?;
                    due.push(Candidate { hour, shard, id });
                } else {
                    *finished = false;
                }
            }
        }
        Ok(due)
    }

    async fn judge(&self, candidate: &Candidate, before: u64, lease: Instant) -> Result<Verdict> {
        let verdict = Box::pin(self.look(candidate.id, before, lease)).await?;
        if matches!(verdict, Verdict::Later) {
            // Under the hour of now, where nobody looks before it is due.
            self.candidate(candidate.id).await?;
            if candidate.hour == hour_of(unix_millis()) {
                return Ok(verdict);
            }
        }
        let key = (candidate.hour, candidate.shard, blob(candidate.id.as_bytes()));
        self.session.write(DELETE_CANDIDATE, key).await?;
        Ok(verdict)
    }

    pub(super) async fn look(&self, id: ContentId, before: u64, lease: Instant) -> Result<Verdict> {
        let content = blob(id.as_bytes());
        let Some((length, put, doomed)) = self.first::<Header>(HEADER, (content.clone(),)).await? else {
            return Ok(Verdict::Done);
        };
        if put.is_some_and(|put| put as u64 >= before) {
            return Ok(Verdict::Later);
        }
        match self.held(id, before).await? {
            Held::Yes => {
                if let Some(moment) = doomed {
                    // A sweeper died here.
                    self.spare(content, moment).await?;
                }
                return Ok(Verdict::Done);
            }
            Held::Perhaps => return Ok(Verdict::Later),
            Held::No => {}
        }
        let moment = micros();
        self.seen.invalidate(&id);
        self.session
            .write(DOOM, (moment, moment, content.clone()))
            .await?;
        let held = self.held(id, before).await?;
        if !matches!(held, Held::No) {
            self.spare(content, moment).await?;
            return Ok(Verdict::Later);
        }
        if lease.elapsed() > SAFE {
            return Err(Error::Unavailable("the sweep was too slow for its lease".into()));
        }
        futures::try_join!(
            self.session.write(DELETE_CONTENT, (moment, content.clone())),
            self.session.write(DELETE_HOLDERS, (moment, content.clone())),
        )?;
        Ok(Verdict::Deleted(length.map(|length| length as u64)))
    }

    /// Takes back what doomed a content at `moment`, whatever the database's clock says.
    async fn spare(&self, content: Bytes, moment: i64) -> Result<()> {
        let values = (moment.saturating_add(1), content);
        Ok(self.session.write(SPARE, values).await?)
    }

    pub(super) async fn held(&self, id: ContentId, before: u64) -> Result<Held> {
        let mut perhaps = false;
        for (bytes, since) in self.holders(id).await? {
            match holder(&bytes) {
                Holder::Unit => return Ok(Held::Yes),
                Holder::Account(account) if self.is_described(account, id).await? => return Ok(Held::Yes),
                // Its commit may be on its way.
                Holder::Account(_) => perhaps |= since >= before,
            }
        }
        Ok(if perhaps { Held::Perhaps } else { Held::No })
    }

    async fn is_described(&self, account: AccountId, id: ContentId) -> Result<bool> {
        let key = (int(account.get()), blob(id.as_bytes()));
        let found: Option<(i64,)> = self.first(statements::DESCRIBED, key).await?;
        Ok(found.is_some())
    }

    /// The hour where candidates may begin.
    async fn position(&self) -> Result<i32> {
        if let Some(hour) = self.progress(HOURS).await? {
            return Ok(i32::try_from(hour).unwrap_or(i32::MAX));
        }
        let beginning: Option<(Option<i64>,)> = self.first(BEGINNING, ()).await?;
        let beginning = beginning.and_then(|(at,)| at).unwrap_or(0);
        Ok(hour_of((beginning as u64).saturating_sub(HOUR)))
    }

    /// How far periodic work has come.
    pub(super) async fn progress(&self, name: &str) -> Result<Option<i64>> {
        let found: Option<(Option<i64>,)> = self.first(PROGRESS, (name,)).await?;
        Ok(found.and_then(|(value,)| value))
    }

    pub(super) async fn note_progress(&self, name: &str, value: i64) -> Result<()> {
        Ok(self.session.write(NOTE_PROGRESS, (name, value)).await?)
    }

    /// The right to sweep and since when; `None` if another process has it.
    async fn take_lease(&self) -> Result<Option<Instant>> {
        let me = self.sweeper;
        let began = Instant::now();
        for (statement, twice) in [(RENEW, true), (TAKE, false)] {
            let outcome = if twice {
                self.session.conditional(statement, (me, me)).await?
            } else {
                self.session.conditional(statement, (me,)).await?
            };
            match outcome {
                Conditional::Applied => return Ok(Some(began)),
                Conditional::NotApplied(_) => {}
                Conditional::Unknown(text) => return Err(Error::Unavailable(text)),
            }
        }
        Ok(None)
    }
}

/// Whether a content is held.
pub(super) enum Held {
    Yes,
    /// By an account whose commit may not have come yet.
    Perhaps,
    No,
}

fn micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as i64)
}
