//! Addresses in order: hints that are checked when they are read.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use postrider_types::Domain;

use super::CqlDirectory;
use super::rows::Meaning;
use super::statements::{ADDRESS, ADDRESS_SERIAL, DELETE_LISTED, LIST, PUT_LISTED};
use crate::Result;
use crate::directory::domain_of;

/// `directory_list.kind`
pub(super) const ACCOUNT: i8 = 0;
pub(super) const ALIAS: i8 = 1;

/// Addresses asked at the same time.
const AT_ONCE: usize = 32;

impl CqlDirectory {
    /// Writes rows of lists.
    pub(super) async fn enlist(&self, kind: i8, address: &str, lists: &BTreeSet<String>) -> Result<()> {
        let put = |list: &String| {
            let values = (list.clone(), kind, address.to_owned());
            self.session.write(PUT_LISTED, values)
        };
        try_join_all(lists.iter().map(put)).await?;
        Ok(())
    }

    /// Takes rows of lists away, unless the address is there again and belongs there.
    pub(super) async fn delist(&self, kind: i8, address: &str, lists: &BTreeSet<String>) -> Result<()> {
        let delete = |list: &String| {
            let values = (list.clone(), kind, address.to_owned());
            self.session.write(DELETE_LISTED, values)
        };
        try_join_all(lists.iter().map(delete)).await?;
        let again = match self.address(ADDRESS_SERIAL, address).await? {
            Some((_, Meaning::Account(_))) if kind == ACCOUNT => lists_of(address, &[]),
            Some((_, Meaning::Alias(row))) if kind == ALIAS => lists_of(address, &row.targets),
            _ => return Ok(()),
        };
        self.enlist(kind, address, &again).await
    }

    /// Addresses of a list above `after`, whatever they are now.
    async fn listed(&self, list: &str, kind: i8, after: &str, limit: usize) -> Result<Vec<String>> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX).max(1);
        let rows = self.session.read(LIST, (list, kind, after, limit)).await?;
        Ok(rows
            .all::<(String,)>()?
            .into_iter()
            .map(|(address,)| address)
            .collect())
    }

    /// A page of what is at the addresses of some lists, one list after the other.
    pub(super) async fn page<T>(
        &self,
        lists: impl Iterator<Item = String>,
        kind: i8,
        after: Option<&str>,
        limit: usize,
        pick: impl Fn(Meaning) -> Option<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        for list in lists {
            let mut after = after.unwrap_or_default().to_owned();
            while found.len() < limit {
                let wanted = (limit - found.len()).clamp(1, 1000);
                let addresses = self.listed(&list, kind, &after, wanted).await?;
                let last = addresses.len() < wanted;
                for some in addresses.chunks(AT_ONCE) {
                    let read = async |address: &String| self.address(ADDRESS, address).await;
                    let rows = try_join_all(some.iter().map(read)).await?;
                    found.extend(
                        rows.into_iter()
                            .flatten()
                            .filter_map(|(_, meaning)| pick(meaning)),
                    );
                }
                if last {
                    break;
                }
                after = addresses.last().cloned().unwrap_or_default();
            }
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}

/// The lists to read for a page, in order.
pub(super) fn lists(domain: Option<&Domain>, after: Option<&str>) -> impl Iterator<Item = String> {
    let one = domain.map(|domain| domain_list(domain.as_str()));
    let first = after.and_then(|after| after.bytes().next()).unwrap_or(0);
    let all = one.is_none().then(|| (first..=u8::MAX).map(byte_list));
    one.into_iter().chain(all.into_iter().flatten())
}

/// The lists an address belongs to.
pub(super) fn lists_of(address: &str, targets: &[String]) -> BTreeSet<String> {
    let first = address.bytes().next().unwrap_or(0);
    let own = [domain_list(domain_of(address)), byte_list(first)];
    own.into_iter()
        .chain(targets.iter().map(|target| target_list(target)))
        .collect()
}

fn domain_list(domain: &str) -> String {
    format!("@{domain}")
}

fn byte_list(first: u8) -> String {
    format!("={first:02x}")
}

pub(super) fn target_list(target: &str) -> String {
    format!(">{target}")
}
