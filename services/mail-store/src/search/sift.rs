//! Looking at descriptions where they are stored: most messages are not meant, and nothing of them is carried away.

use std::ops::RangeInclusive;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use postrider_index::{FolderIndex, UidSet};
use postrider_message::SummaryView;
use postrider_proto::Failure;
use postrider_store::account::Sieve;
use postrider_types::{AccountId, FolderId, Uid};

use super::key::Query;
use super::known::{Known, Subject};
use crate::failure::storage;
use crate::service::Service;

/// Messages that are looked at in one go.
const PAGE: usize = 1024;
/// How many such pages are looked at side by side: whoever else reads wants a turn too.
const PARALLEL: usize = 2;

impl Service {
    /// Of candidates, those that are meant, and those that their description does not decide.
    pub(super) async fn sift(
        &self,
        account: AccountId,
        folder: FolderId,
        query: &Arc<Query>,
        index: &FolderIndex,
        candidates: &UidSet,
    ) -> Result<(UidSet, UidSet), Failure> {
        let (mut found, mut open) = (UidSet::new(), UidSet::new());
        let mut sifting = stream::iter(pages(candidates).map(|page| {
            let sieve = sieve(query.clone(), index.clone());
            async move {
                match page {
                    Page::Dense(range) => self.engine.sift(account, folder, range, sieve).await,
                    // Most of what lies in between was not asked for.
                    Page::Sparse(uids) => Ok(uids.into_iter().map(|uid| (uid, None)).collect()),
                }
            }
        }))
        .buffered(PARALLEL);
        while let Some(page) = sifting.try_next().await.map_err(storage)? {
            for (uid, meant) in page {
                if candidates.contains(uid) {
                    let set = if meant.is_some() { &mut found } else { &mut open };
                    set.insert(uid);
                }
            }
        }
        Ok((found, open))
    }
}

enum Page {
    Dense(RangeInclusive<Uid>),
    Sparse(Vec<Uid>),
}

fn pages(uids: &UidSet) -> impl Iterator<Item = Page> + '_ {
    let mut next = uids.min();
    std::iter::from_fn(move || {
        let page: Vec<Uid> = uids.iter_range(next?..=Uid(u32::MAX)).take(PAGE).collect();
        let (first, last) = (*page.first()?, *page.last()?);
        next = last.checked_next();
        let span = (last.0 - first.0) as usize + 1;
        Some(if span <= 2 * page.len() {
            Page::Dense(first..=last)
        } else {
            Page::Sparse(page)
        })
    })
}

/// Asks each message's description; one that cannot be read says nothing.
fn sieve(query: Arc<Query>, index: FolderIndex) -> Sieve {
    let mut known = Known::new(&query);
    Box::new(move |uid, description| {
        let summary = SummaryView::new(description).ok()?;
        known.clear();
        known.take_summary(&query, &summary);
        let of = Subject {
            index: &index,
            uid,
            row: None,
        };
        let meant = known.holds(&query.key, of)?;
        // The answer wants what only the row has.
        (!(meant && query.has_modseq)).then_some(meant)
    })
}
