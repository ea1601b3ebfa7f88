//! Domains.

use futures::Stream;
use postrider_store::directory::{DomainRow, Written};

use crate::service::{PAGE, now, own_domain};
use crate::{Directory, Error, Result};

impl Directory {
    /// Makes a domain ours.
    pub async fn add_domain(&self, name: &str) -> Result<DomainRow> {
        let row = DomainRow {
            name: own_domain(name)?,
            created: now(),
        };
        let written = self.engine.insert_domain(row.clone()).await?;
        self.resolved.invalidate();
        match written {
            Written::Yes => Ok(row),
            Written::No => Err(Error::AlreadyExists(format!(
                "the domain {} exists already",
                row.name
            ))),
        }
    }

    /// All domains by name, a page at a time.
    pub fn list_domains(&self) -> impl Stream<Item = Result<DomainRow>> + Send + 'static {
        let engine = self.engine.clone();
        pages(move |last: Option<DomainRow>| {
            let engine = engine.clone();
            async move { Ok(engine.domains(last.as_ref().map(|row| &row.name), PAGE).await?) }
        })
    }

    /// Gives a domain up; it must have neither accounts nor aliases.
    pub async fn remove_domain(&self, name: &str) -> Result<()> {
        let name = own_domain(name)?;
        let written = self.engine.remove_domain(&name).await?;
        self.resolved.invalidate();
        match written {
            Written::Yes => Ok(()),
            Written::No if self.is_ours(&name).await? => Err(Error::Precondition(format!(
                "the domain {name} still has accounts or aliases; remove them first"
            ))),
            Written::No => Err(Error::NotFound(format!("there is no domain {name}"))),
        }
    }

    /// NOT_FOUND, with what to do, unless the domain is ours.
    pub(crate) async fn require_domain(&self, domain: &postrider_types::Domain) -> Result<()> {
        if self.is_ours(domain).await? {
            return Ok(());
        }
        Err(Error::NotFound(format!(
            "the domain {domain} is not ours; add it first"
        )))
    }
}

/// All rows of a list, read `PAGE` at a time; `read` gets the last row so far.
pub(crate) fn pages<T, F>(
    read: impl Fn(Option<T>) -> F + Send + 'static,
) -> impl Stream<Item = Result<T>> + Send + 'static
where
    T: Clone + Send + 'static,
    F: Future<Output = Result<Vec<T>>> + Send + 'static,
{
    struct Rows<T> {
        page: std::vec::IntoIter<T>,
        last: Option<T>,
        more: bool,
    }
    let start = Rows {
        page: Vec::new().into_iter(),
        last: None,
        more: true,
    };
    futures::stream::try_unfold((start, read), async |(mut rows, read)| {
        loop {
            if let Some(row) = rows.page.next() {
                return Ok(Some((row, (rows, read))));
            }
            if !rows.more {
                return Ok(None);
            }
            let page = read(rows.last.take()).await?;
            rows.more = page.len() == PAGE;
            rows.last = page.last().cloned();
            rows.page = page.into_iter();
        }
    })
}
