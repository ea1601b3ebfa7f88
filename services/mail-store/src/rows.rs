//! Reading message rows in bounded pages.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use postrider_index::UidSet;
use postrider_proto::Failure;
use postrider_store::account::MessageRow;
use postrider_types::{AccountId, FolderId, Uid};

use crate::failure::storage;
use crate::index::ALL_UIDS;
use crate::service::Service;

/// The most rows of a page.
pub(crate) const PAGE: usize = 256;
/// The most rows of the first page when descriptions are wanted, whose size is the senders' choice, and the bytes of
/// descriptions that later pages are measured for.
const FIRST: usize = 32;
const PAGE_BYTES: usize = 1 << 20;
/// Rows that were not asked for are read along when they lie between others, up to this many in a row: one range costs
/// less than two.
const GAP: u32 = 16;
/// How many ranges are read at once.
const PARALLEL: usize = 8;

/// A message row with its description, which is empty when it was not asked for.
pub(crate) type Described = (MessageRow, Bytes);

/// Message rows of a folder in ascending UID order, page by page.
pub(crate) struct Pages {
    service: Arc<Service>,
    account: AccountId,
    folder: FolderId,
    /// `None`: all there are.
    uids: Option<UidSet>,
    next: Option<Uid>,
    /// The most rows of the next page.
    limit: usize,
    described: bool,
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
            service,
            account,
            folder,
            uids,
            next: Some(*ALL_UIDS.start()),
            limit: if described { FIRST } else { PAGE },
            described,
        }
    }

    /// The next page, never empty; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Described>>, Failure> {
        while let Some(first) = self.next {
            let limit = self.limit;
            let page = match &self.uids {
                None => {
                    let page = self.read(first..=*ALL_UIDS.end(), limit).await?;
                    let more = page.last().filter(|_| page.len() == limit);
                    self.next = more.and_then(|(row, _)| row.uid.checked_next());
                    page
                }
                Some(uids) => {
                    let wanted: Vec<Uid> = uids.iter_range(first..=*ALL_UIDS.end()).take(limit).collect();
                    self.next = wanted
                        .last()
                        .filter(|_| wanted.len() == limit)
                        .and_then(|last| last.checked_next());
                    self.read_some(&wanted).await?
                }
            };
            if !page.is_empty() {
                self.limit = next_limit(&page);
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    async fn read_some(&self, wanted: &[Uid]) -> Result<Vec<Described>, Failure> {
        let ranges = ranges(wanted);
        if !self.described && ranges.len() > 2 {
            let rows = self
                .service
                .engine
                .messages_by_uid(self.account, self.folder, wanted)
                .await;
            return Ok(rows
                .map_err(storage)?
                .into_iter()
                .map(|row| (row, Bytes::new()))
                .collect());
        }
        let read = |range: RangeInclusive<Uid>| {
            let most = (range.end().0 - range.start().0) as usize + 1;
            self.read(range, most)
        };
        let pages: Vec<Vec<Described>> = futures::stream::iter(ranges)
            .map(read)
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        let rows = pages.into_iter().flatten();
        Ok(rows
            .filter(|(row, _)| wanted.binary_search(&row.uid).is_ok())
            .collect())
    }

    async fn read(&self, range: RangeInclusive<Uid>, limit: usize) -> Result<Vec<Described>, Failure> {
        let engine = &self.service.engine;
        if self.described {
            return engine
                .described_messages(self.account, self.folder, range, limit)
                .await
                .map_err(storage);
        }
        let rows = engine
            .messages(self.account, self.folder, range, limit)
            .await
            .map_err(storage)?;
        Ok(rows.into_iter().map(|row| (row, Bytes::new())).collect())
    }
}

/// How many rows like these are a page.
fn next_limit(page: &[Described]) -> usize {
    let bytes: usize = page.iter().map(|(_, description)| description.len()).sum();
    (PAGE_BYTES * page.len() / bytes.max(1)).clamp(1, PAGE)
}

/// Ranges that cover ascending UIDs with small gaps.
fn ranges(uids: &[Uid]) -> Vec<RangeInclusive<Uid>> {
    let mut ranges: Vec<RangeInclusive<Uid>> = Vec::new();
    for uid in uids {
        match ranges.last_mut() {
            Some(last) if uid.0 - last.end().0 <= GAP => *last = *last.start()..=*uid,
            _ => ranges.push(*uid..=*uid),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use postrider_types::{ContentId, Flags, ThreadId, Version};

    use super::*;

    #[test]
    fn large_descriptions_make_small_pages() {
        let row = MessageRow {
            folder: FolderId::INBOX,
            uid: Uid(1),
            content: ContentId::default(),
            thread: ThreadId::default(),
            size: 1,
            received: 0,
            saved: 0,
            flags: Flags::EMPTY,
            keywords: Vec::new(),
            modseq: Version(1),
        };
        let page = |bytes: usize| vec![(row.clone(), Bytes::from(vec![0; bytes])); FIRST];
        assert_eq!(next_limit(&page(0)), PAGE);
        assert_eq!(next_limit(&page(1000)), PAGE);
        assert_eq!(next_limit(&page(PAGE_BYTES / 8)), 8);
        assert_eq!(next_limit(&page(2 * PAGE_BYTES)), 1);
    }

    #[test]
    fn near_uids_are_one_range() {
        let uids = [1, 2, 10, 26, 43, 100].map(Uid);
        assert_eq!(
            ranges(&uids),
            [Uid(1)..=Uid(26), Uid(43)..=Uid(43), Uid(100)..=Uid(100)]
        );
        assert_eq!(ranges(&[]), []);
        assert_eq!(ranges(&[Uid(u32::MAX)]), [Uid(u32::MAX)..=Uid(u32::MAX)]);
    }
}
