//! Wake-ups of the embedded engine: a window on the index of due times.

use std::time::Duration;

use postrider_types::UnitId;
use rusqlite::params;

use super::Embedded;
use super::rows::{int, number};
use crate::Result;
use crate::engine::{Cursor, Lane, Page, WakeUp};
use crate::timer::Place;

/// How far ahead of time wake-ups are read from the rows, in milliseconds.
const AHEAD: u64 = 10 * 60 * 1000;
/// How many are read at a time.
const PAGE: usize = 2000;
/// The longest sleep between two looks at the clock.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

impl Embedded {
    pub(super) async fn take_due(&self, limit: usize) -> Result<Vec<WakeUp>> {
        loop {
            let now = (self.inner.clock)();
            if self.inner.timer.is_behind(now) {
                self.load(now).await?;
            }
            let due = self.inner.timer.pop(now, limit.max(1));
            if !due.is_empty() {
                return Ok(due);
            }
            if self.load(now).await? {
                continue;
            }
            let wait = self
                .inner
                .timer
                .next_due()
                .map_or(u64::MAX, |due| due.saturating_sub(now));
            let wait = Duration::from_millis(wait).min(LONGEST_SLEEP);
            let _ = tokio::time::timeout(wait, self.inner.timer.changed.notified()).await;
        }
    }

    /// Reads one page of each lane whose window ends soon; whether there may be more to read now.
    async fn load(&self, now: u64) -> Result<bool> {
        let _one_at_a_time = self.inner.loading.lock().await;
        let mut more = false;
        for lane in Lane::ALL {
            let (edge, epoch, room) = self.inner.timer.edge(lane);
            if !room || edge.0 > now.saturating_add(AHEAD / 2) {
                continue;
            }
            let target = (now.saturating_add(AHEAD), UnitId::from_bytes([255; 16]));
            self.inner.timer.open(lane, target);
            let page = self.due_page(lane, edge, target.0, PAGE).await?;
            let full = page.len() == PAGE;
            let to = page
                .last()
                .filter(|_| full)
                .map_or(target, |last| (last.due, last.unit));
            more |= !self.inner.timer.close(lane, epoch, to, &page) || full;
        }
        Ok(more)
    }

    pub(super) async fn overdue_page(
        &self,
        before: u64,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<WakeUp>> {
        let (lane, place) = match after.as_ref().map(|cursor| cursor.0.as_slice()) {
            None => (Lane::Fresh, Place::default()),
            Some(cursor) => place_of(cursor),
        };
        let mut items = self
            .due_page(lane, place, before.saturating_sub(1), limit)
            .await?;
        let full = items.len() == limit;
        let next = match (items.last().filter(|_| full), lane) {
            (Some(last), _) => Some(cursor_at(lane, (last.due, last.unit))),
            (None, Lane::Fresh) => Some(cursor_at(Lane::Later, Place::default())),
            (None, Lane::Later) => None,
        };
        let now = (self.inner.clock)();
        let lapsed = self.inner.claims.lock().lapsed(before);
        items.retain(|wake_up| self.inner.claims.lock().get(wake_up.unit).is_none());
        if next.is_none() {
            let wake = |(unit, generation)| WakeUp {
                unit,
                generation,
                due: now,
                lane: Lane::Later,
                token: 0,
                key: 0,
                trace: String::new(),
            };
            items.extend(lapsed.into_iter().map(wake));
        }
        Ok(Page { items, next })
    }

    /// Wake-ups of one lane behind `from` and not after `until`, in order.
    async fn due_page(&self, lane: Lane, from: Place, until: u64, limit: usize) -> Result<Vec<WakeUp>> {
        let read = self.inner.db.read(move |connection| {
            let mut select = connection.prepare_cached(
                "SELECT id, generation, next_attempt FROM unit INDEXED BY unit_due \
                 WHERE state = 0 AND lane = ?1 AND (next_attempt, id) > (?2, ?3) AND next_attempt <= ?4 \
                 ORDER BY next_attempt, id LIMIT ?5",
            )?;
            let (due, unit) = from;
            let mut found = select.query(params![
                lane as i64,
                int(due),
                unit.as_bytes(),
                int(until),
                int(limit as u64)
            ])?;
            let mut wake_ups = Vec::new();
            while let Some(row) = found.next()? {
                let id: Vec<u8> = row.get(0)?;
                let Some(unit) = UnitId::from_slice(&id) else {
                    continue;
                };
                wake_ups.push(WakeUp {
                    unit,
                    generation: number(row, 1)?,
                    due: number(row, 2)?,
                    lane,
                    token: 0,
                    key: 0,
                    trace: String::new(),
                });
            }
            Ok(wake_ups)
        });
        Ok(read.await?)
    }
}

fn cursor_at(lane: Lane, (due, unit): Place) -> Cursor {
    let mut bytes = vec![lane as u8];
    bytes.extend_from_slice(&due.to_be_bytes());
    bytes.extend_from_slice(unit.as_bytes());
    Cursor(bytes)
}

fn place_of(cursor: &[u8]) -> (Lane, Place) {
    let lane = if cursor.first() == Some(&0) {
        Lane::Fresh
    } else {
        Lane::Later
    };
    let due = cursor
        .get(1..9)
        .and_then(|due| due.try_into().ok())
        .map_or(0, u64::from_be_bytes);
    let unit = cursor.get(9..).and_then(UnitId::from_slice).unwrap_or_default();
    (lane, (due, unit))
}
