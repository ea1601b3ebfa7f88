//! What a read answers.

use scylla::deserialize::row::DeserializeRow;
use scylla::response::PagingState;
use scylla::response::query_result::QueryRowsResult;

use crate::{Error, Result};

/// What a row can be read as: tuples of up to 16 columns, and types that derive [`DeserializeRow`](crate::DeserializeRow) (with
/// `#[scylla(crate = postrider_cql::driver)]`).
pub trait FromRow: for<'row> DeserializeRow<'row, 'row> {}

impl<T: for<'row> DeserializeRow<'row, 'row>> FromRow for T {}

/// Rows of an answer, or of one page of it.
#[derive(Debug)]
pub struct Rows(pub(crate) Option<QueryRowsResult>);

/// Where a page ended. Its bytes are the database's own and good for the same statement with the same values only.
#[derive(Clone, Debug)]
pub struct PageState(pub(crate) PagingState);

impl Rows {
    /// All rows, as tuples or a type that derives [`DeserializeRow`](crate::DeserializeRow).
    pub fn all<T: FromRow>(&self) -> Result<Vec<T>> {
        let Some(rows) = &self.0 else {
            return Ok(Vec::new());
        };
        let typed = rows
            .rows::<T>()
            .map_err(|error| Error::Damaged(error.to_string()))?;
        typed
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| Error::Damaged(error.to_string()))
    }

    /// The first row.
    pub fn first<T: FromRow>(&self) -> Result<Option<T>> {
        match &self.0 {
            Some(rows) => rows
                .maybe_first_row::<T>()
                .map_err(|error| Error::Damaged(error.to_string())),
            None => Ok(None),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, QueryRowsResult::rows_num)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PageState {
    /// As bytes, to be kept elsewhere; empty for a state that has none.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0
            .as_bytes_slice()
            .map(|bytes| bytes.to_vec())
            .unwrap_or_default()
    }

    /// From what [`PageState::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(PagingState::new_from_raw_bytes(bytes))
    }
}
