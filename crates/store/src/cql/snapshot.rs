//! Saved folder indexes.

use bytes::Bytes;
use futures::future::try_join_all;
use postrider_types::{AccountId, FolderId, Version};

use super::statements as cql;
use super::{Cql, PIECE, int};
use crate::Result;
use crate::account::SnapshotRow;

impl Cql {
    /// The pieces of one version that are all there; anything else (two were saved at the same time, say) is as good as none.
    pub(super) async fn read_snapshot(
        &self,
        account: AccountId,
        folder: FolderId,
    ) -> Result<Option<SnapshotRow>> {
        let key = (int(account.get()), i64::from(folder.0));
        let pieces: Vec<(i64, i64, Option<Bytes>)> = self.range(cql::SNAPSHOT, key, usize::MAX).await?;
        let Some((version, length, _)) = pieces.first().cloned() else {
            return Ok(None);
        };
        if pieces.iter().any(|piece| (piece.0, piece.1) != (version, length)) {
            return Ok(None);
        }
        let data: Vec<Bytes> = pieces.into_iter().filter_map(|(_, _, data)| data).collect();
        let data = match data.as_slice() {
            [only] => only.clone(),
            pieces => pieces.concat().into(),
        };
        Ok((int(data.len() as u64) == length).then_some(SnapshotRow {
            folder,
            version: Version(version as u64),
            data,
        }))
    }

    /// The version serves as the timestamp, so that of two the later one stays, whichever comes first.
    pub(super) async fn write_snapshot(&self, account: AccountId, snapshot: SnapshotRow) -> Result<()> {
        let (account, folder) = (int(account.get()), i64::from(snapshot.folder.0));
        let (version, length) = (int(snapshot.version.0), int(snapshot.data.len() as u64));
        let pieces: Vec<Bytes> = match snapshot.data.len() {
            0 => vec![Bytes::new()],
            length => (0..length)
                .step_by(PIECE)
                .map(|at| snapshot.data.slice(at..length.min(at + PIECE)))
                .collect(),
        };
        let count = pieces.len() as i32;
        let write = async |(piece, data): (i32, Bytes)| {
            let values = (account, folder, piece, version, length, data, version);
            self.session.write(cql::PUT_SNAPSHOT, values).await
        };
        let cut = self
            .session
            .write(cql::CUT_SNAPSHOT, (version, account, folder, count));
        futures::try_join!(try_join_all((0..).zip(pieces).map(write)), cut)?;
        Ok(())
    }
}
