//! Conditional writes whose outcome is found out.

use std::time::Instant;

use postrider_cql::{Conditional, SerializeRow, Statement};
use uuid::Uuid;

use super::CqlDirectory;
use super::statements::{ADDRESS_SERIAL, DOMAIN_SERIAL, ID_SERIAL};
use crate::directory::Written;
use crate::{Error, Result};

/// How often a write of unknown outcome is sent.
pub(super) const ATTEMPTS: u32 = 3;

/// By what a conditional write is found again when its outcome is unknown.
pub(super) enum Check<'a> {
    /// A domain with this creation time. Two who insert a domain at the same millisecond and hear nothing may both be told that they did.
    Domain(&'a str, i64),
    /// The domain is gone.
    NoDomain(&'a str),
    /// The id belongs to this address.
    Claimed(i64, &'a str),
    /// The address has our revision, not the one from before.
    Revision {
        address: &'a str,
        ours: Uuid,
        before: Option<Uuid>,
    },
    /// The address no longer has this revision.
    Gone(&'a str, Uuid),
}

impl CqlDirectory {
    /// Runs a conditional write until its outcome is known.
    pub(super) async fn settle(
        &self,
        statement: Statement,
        values: impl SerializeRow + Send + Sync,
        check: Check<'_>,
    ) -> Result<Written> {
        let mut reason = None;
        let began = Instant::now();
        let most = self.session.config().conditional_deadline * 2;
        for _ in 0..ATTEMPTS {
            match self.session.conditional(statement, &values).await {
                Ok(Conditional::Applied) => return Ok(Written::Yes),
                Ok(Conditional::NotApplied(_)) if reason.is_none() => return Ok(Written::No),
                // An earlier try may have been.
                Ok(Conditional::NotApplied(_)) => {
                    let found = self.look(&check).await.map_err(in_doubt)?;
                    return Ok(found.unwrap_or(Written::No));
                }
                Ok(Conditional::Unknown(text)) => {
                    if let Some(written) = self.look(&check).await.map_err(in_doubt)? {
                        return Ok(written);
                    }
                    reason = Some(text);
                }
                Err(error) if reason.is_none() => return Err(error.into()),
                Err(error) => reason = Some(error.to_string()),
            }
            if began.elapsed() > most {
                break;
            }
        }
        Err(Error::Unknown(reason.unwrap_or_default()))
    }

    /// Reads back serially whether a write was done; `None`: not, and it may be tried again.
    pub(super) async fn look(&self, check: &Check<'_>) -> Result<Option<Written>> {
        let yes_if = |yes| if yes { Written::Yes } else { Written::No };
        match *check {
            Check::Domain(name, created) => {
                let rows = self.session.read(DOMAIN_SERIAL, (name,)).await?;
                let found: Option<(String, i64)> = rows.first()?;
                Ok(found.map(|(_, found)| yes_if(found == created)))
            }
            Check::NoDomain(name) => {
                let rows = self.session.read(DOMAIN_SERIAL, (name,)).await?;
                Ok(rows.is_empty().then_some(Written::Yes))
            }
            Check::Claimed(id, address) => {
                let rows = self.session.read(ID_SERIAL, (id,)).await?;
                let found: Option<(Option<String>,)> = rows.first()?;
                Ok(found.map(|(found,)| yes_if(found.as_deref() == Some(address))))
            }
            Check::Revision {
                address,
                ours,
                before,
            } => {
                let now = self.address(ADDRESS_SERIAL, address).await?;
                let now = now.map(|(revision, _)| revision);
                // A third one came after ours, if ours was written at all; its writer has seen which.
                Ok((now != before).then(|| yes_if(now == Some(ours))))
            }
            Check::Gone(address, revision) => {
                let now = self.address(ADDRESS_SERIAL, address).await?;
                let still = now.is_some_and(|(now, _)| now == revision);
                Ok((!still).then_some(Written::Yes))
            }
        }
    }
}

/// What fails after a write, or after one of unknown outcome, does not mean that nothing was done.
pub(super) fn in_doubt(error: Error) -> Error {
    match error {
        Error::Unavailable(text) => Error::Unknown(text),
        error => error,
    }
}
