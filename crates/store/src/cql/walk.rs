//! Contents that no candidate names.
//!
//! A process that dies between content and commit leaves one behind. So a sweep that has done its candidates looks at some more contents, of
//! the whole table in the order of tokens, at a bounded rate. How far it has come stands in `progress`, so that whoever sweeps next goes on
//! there; once round, it rests. What it suspects goes the way of a candidate: it is looked at again, doomed, and looked at once more.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use postrider_cql::Statement;

use super::rows::content_id;
use super::sweep::{AT_ONCE, Held, SAFE, Verdict};
use super::{Cql, int};
use crate::Result;
use crate::content::Sweep;

const CONTENTS: Statement = Statement::read(
    "SELECT DISTINCT token(content), content, put, doomed FROM content WHERE token(content) > ?",
);

/// `progress.name`: the token up to which the walk has come.
const PLACE: &str = "walk";
/// `progress.name`: milliseconds; the walk rests while contents put before this are too young to be swept.
const REST: &str = "walk_rest";

/// Contents of one answer; after each the place is noted.
const PAGE: usize = 256;
/// Between one look at [`AT_ONCE`] contents and the next.
const PAUSE: Duration = Duration::from_millis(100);
/// From the end of a round to the next one, in milliseconds. Few contents are lost, and finding them costs two reads of every content.
const ROUND: u64 = 24 * 3_600_000;

/// `token, content, put, doomed`
type Columns = (i64, Vec<u8>, Option<i64>, Option<i64>);

impl Cql {
    /// Looks at the next contents, unless the walk rests.
    pub(super) async fn walk_on(&self, before: u64, lease: Instant) -> Result<Sweep> {
        let mut swept = Sweep::default();
        let rest = self.progress(REST).await?;
        // Further ahead it cannot be, unless a clock was wrong.
        if rest.is_some_and(|until| (1..=ROUND as i64).contains(&until.saturating_sub(int(before)))) {
            return Ok(swept);
        }
        let mut left = self.options.walk_step;
        let mut place = self.progress(PLACE).await?.unwrap_or(i64::MIN);
        while left > 0 && lease.elapsed() < SAFE {
            let wanted = left.min(PAGE);
            let page: Vec<Columns> = self.range(CONTENTS, (place,), wanted).await?;
            for some in page.chunks(AT_ONCE) {
                if lease.elapsed() > SAFE {
                    break;
                }
                for length in try_join_all(some.iter().map(|row| self.visit(row, before, lease))).await? {
                    swept.deleted += u64::from(length.is_some());
                    swept.bytes += length.unwrap_or(0);
                }
                place = some.last().map_or(place, |row| row.0);
                tokio::time::sleep(PAUSE).await;
            }
            self.note_progress(PLACE, place).await?;
            left -= page.len();
            let seen = page.last().is_none_or(|row| row.0 == place);
            if seen && page.len() < wanted {
                self.note_progress(PLACE, i64::MIN).await?;
                self.note_progress(REST, int(before.saturating_add(ROUND)))
                    .await?;
                break;
            }
        }
        Ok(swept)
    }

    /// Deletes a content if nobody holds it; its length then.
    async fn visit(
        &self,
        (_, id, put, doomed): &Columns,
        before: u64,
        lease: Instant,
    ) -> Result<Option<u64>> {
        let id = content_id(id)?;
        // A content that is being written has no header yet; its id was made before its first piece.
        let young = put.is_some_and(|put| put as u64 >= before) || id.unix_millis() >= before;
        if young || (doomed.is_none() && matches!(self.held(id, before).await?, Held::Yes)) {
            return Ok(None);
        }
        match Box::pin(self.look(id, before, lease)).await? {
            Verdict::Deleted(length) => Ok(Some(length.unwrap_or(0))),
            Verdict::Done | Verdict::Later => Ok(None),
        }
    }
}
