//! Reading message rows in bounded pages.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use postrider_index::UidSet;
use postrider_proto::Failure;
use postrider_store::account::MessageRow;
use postrider_types::{AccountId, FolderId, Uid};
use tokio::task::JoinHandle;

use crate::failure::{storage, unavailable};
use crate::index::ALL_UIDS;
use crate::service::Service;

/// The most rows of a page.
const PAGE: usize = 256;
/// Bytes of descriptions, whose size is the senders' choice, that make a page of fewer rows.
const PAGE_BYTES: usize = 1 << 20;
/// Rows that were not asked for are read along when they lie between others, up to this many in a row: one range costs
/// less than two.
const GAP: u32 = 16;

/// A message row with its description, which is empty when it was not asked for.
pub(crate) type Described = (MessageRow, Bytes);

/// Message rows of a folder in ascending UID order, page by page. While a page is being used, the next one is read.
pub(crate) struct Pages {
    reader: Arc<Reader>,
    next: Option<Uid>,
    ahead: Option<JoinHandle<Result<Page, Failure>>>,
}

struct Reader {
    service: Arc<Service>,
    account: AccountId,
    folder: FolderId,
    /// `None`: all there are.
    uids: Option<UidSet>,
    described: bool,
}

struct Page {
    rows: Vec<Described>,
    /// Where the page behind it begins.
    next: Option<Uid>,
}

impl Pages {
    /// `uids` must be bounded by what exists, see [`Service::candidates`]; `None` is all of the folder.
    pub fn new(
        service: Arc<Service>,
        account: AccountId,
        folder: FolderId,
        uids: Option<UidSet>,
        described: bool,
    ) -> Self {
        Self {
            reader: Arc::new(Reader {
                service,
                account,
                folder,
                uids,
                described,
            }),
            next: Some(*ALL_UIDS.start()),
            ahead: None,
        }
    }

    /// The next page, never empty; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Described>>, Failure> {
        while let Some(first) = self.next {
            let page = match self.ahead.take() {
                Some(ahead) => ahead.await.map_err(|error| unavailable(error.to_string()))?,
                None => self.reader.page(first).await,
            }?;
            self.next = page.next;
            if let Some(first) = page.next {
                let reader = self.reader.clone();
                self.ahead = Some(tokio::spawn(async move { reader.page(first).await }));
            }
            if !page.rows.is_empty() {
                return Ok(Some(page.rows));
            }
        }
        Ok(None)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(ahead) = &self.ahead {
            ahead.abort();
        }
    }
}

impl Reader {
    async fn page(&self, first: Uid) -> Result<Page, Failure> {
        match &self.uids {
            None => {
                let rows = self.range(first..=*ALL_UIDS.end(), PAGE).await?;
                let next = rows.last().filter(|_| rows.len() == PAGE || is_heavy(&rows));
                let next = next.and_then(|(row, _)| row.uid.checked_next());
                Ok(Page { rows, next })
            }
            Some(uids) => {
                let wanted: Vec<Uid> = uids.iter_range(first..=*ALL_UIDS.end()).take(PAGE).collect();
                let mut rows = self.some(&wanted).await?;
                let last = if is_heavy(&rows) {
                    rows.last().map(|(row, _)| row.uid)
                } else {
                    wanted.last().copied().filter(|_| wanted.len() == PAGE)
                };
                let next = last.and_then(Uid::checked_next);
                rows.retain(|(row, _)| wanted.binary_search(&row.uid).is_ok());
                Ok(Page { rows, next })
            }
        }
    }

    /// Rows of these messages, and perhaps of others in between.
    async fn some(&self, wanted: &[Uid]) -> Result<Vec<Described>, Failure> {
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else {
            return Ok(Vec::new());
        };
        if is_run(wanted) {
            return self.range(*first..=*last, (last.0 - first.0) as usize + 1).await;
        }
        let (engine, account, folder) = (&self.service.engine, self.account, self.folder);
        if self.described {
            let rows = engine.described_by_uid(account, folder, wanted, PAGE_BYTES).await;
            return rows.map_err(storage);
        }
        let rows = engine.messages_by_uid(account, folder, wanted).await;
        Ok(plain(rows.map_err(storage)?))
    }

    async fn range(&self, range: RangeInclusive<Uid>, limit: usize) -> Result<Vec<Described>, Failure> {
        let (engine, account, folder) = (&self.service.engine, self.account, self.folder);
        if self.described {
            let rows = engine
                .described_messages(account, folder, range, limit, PAGE_BYTES)
                .await;
            return rows.map_err(storage);
        }
        let rows = engine.messages(account, folder, range, limit).await;
        Ok(plain(rows.map_err(storage)?))
    }
}

fn plain(rows: Vec<MessageRow>) -> Vec<Described> {
    rows.into_iter().map(|row| (row, Bytes::new())).collect()
}

/// Whether a page ended for its descriptions.
fn is_heavy(rows: &[Described]) -> bool {
    let bytes: usize = rows.iter().map(|(_, description)| description.len()).sum();
    bytes >= PAGE_BYTES
}

/// Whether ascending UIDs are one range with small gaps, and these few in all.
fn is_run(uids: &[Uid]) -> bool {
    let (Some(first), Some(last)) = (uids.first(), uids.last()) else {
        return false;
    };
    let span = (last.0 - first.0) as usize + 1;
    let near = |pair: &[Uid]| matches!(pair, [a, b] if b.0 - a.0 <= GAP);
    span <= 2 * uids.len() && uids.windows(2).all(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_uids_are_one_range() {
        let is = |uids: &[u32]| is_run(&uids.iter().copied().map(Uid).collect::<Vec<_>>());
        assert!(is(&[1]) && is(&[1, 2, 3, 7]) && is(&[u32::MAX]));
        assert!(!is(&[]) && !is(&[1, 2, 3, 9]) && !is(&[1, 2, u32::MAX]));
        let mut far: Vec<u32> = (1..100).collect();
        far.push(99 + GAP);
        assert!(is(&far));
        far.push(100 + 2 * GAP);
        assert!(!is(&far));
    }
}
