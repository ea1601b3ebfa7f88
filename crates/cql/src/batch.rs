//! Several writes in one request, and how a conditional one ended.

use scylla::serialize::row::SerializeRow;
use scylla::value::{CqlValue, Row};

use crate::rows::Rows;
use crate::{Error, Result, Statement};

/// Writes to one partition, in one request. Its rows become visible together, and all or none.
#[derive(Default)]
pub struct Batch {
    pub(crate) statements: Vec<Statement>,
    pub(crate) values: Vec<Box<dyn SerializeRow + Send + Sync>>,
}

/// How a conditional write ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Conditional {
    /// The condition held; it is done and durable.
    Applied,
    /// The condition did not hold; nothing was done. With what the database says is there.
    NotApplied(Existing),
    /// It may have happened, or may still happen while the request is on its way: read back serially, and repeat it to be sure.
    Unknown(String),
}

/// The row that made a condition fail, as far as the database shows it: for `IF NOT EXISTS` all columns; for `IF column = …` the
/// columns the condition names (ScyllaDB: all). For a batch, the first such row: it need not be the one that matters.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Existing(Vec<(String, Option<CqlValue>)>);

impl Batch {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a write. The first one decides which node coordinates, so all must be of one partition.
    pub fn push(&mut self, statement: Statement, values: impl SerializeRow + Send + Sync + 'static) {
        self.statements.push(statement);
        self.values.push(Box::new(values));
    }

    /// How many writes it holds.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("statements", &self.statements)
            .finish_non_exhaustive()
    }
}

impl Existing {
    /// A column by name; `None` if it is null or was not shown.
    pub fn get(&self, column: &str) -> Option<&CqlValue> {
        let found = self.0.iter().find(|(name, _)| name == column)?;
        found.1.as_ref()
    }

    /// A `bigint` column.
    pub fn bigint(&self, column: &str) -> Option<i64> {
        self.get(column).and_then(CqlValue::as_bigint)
    }

    /// A `blob` column.
    pub fn blob(&self, column: &str) -> Option<&[u8]> {
        self.get(column).and_then(CqlValue::as_blob).map(Vec::as_slice)
    }

    /// A `text` column.
    pub fn text(&self, column: &str) -> Option<&str> {
        match self.get(column)? {
            CqlValue::Text(text) | CqlValue::Ascii(text) => Some(text),
            _ => None,
        }
    }
}

impl Conditional {
    /// From the answer to a conditional write. It has one row or several, each with `[applied]` first.
    pub(crate) fn of(rows: &Rows) -> Result<Self> {
        let none = || Error::Damaged("a conditional write was answered without [applied]".into());
        let result = rows.0.as_ref().ok_or_else(none)?;
        let names: Vec<String> = result
            .column_specs()
            .iter()
            .map(|column| column.name().to_owned())
            .collect();
        let at = names
            .iter()
            .position(|name| name == "[applied]")
            .ok_or_else(none)?;
        let row: Row = rows.first()?.ok_or_else(none)?;
        match row.columns.get(at) {
            Some(Some(CqlValue::Boolean(true))) => Ok(Conditional::Applied),
            Some(Some(CqlValue::Boolean(false))) => Ok(Conditional::NotApplied(Existing(
                names.into_iter().zip(row.columns).collect(),
            ))),
            _ => Err(none()),
        }
    }
}
