//! `postrider domain`: which domains are ours.

use anyhow::Result;
use clap::{Args, Subcommand};
use postrider_proto::directory::{self, AddDomainRequest, ListDomainsRequest, RemoveDomainRequest};
use serde::Serialize;

use crate::admin::{AdminArgs, failure};
use crate::output;

/// Say which domains are ours
///
/// Mail to a domain that is ours is delivered here or refused; mail to any other is relayed for our own users alone.
#[derive(Args)]
pub struct Domain {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Take a domain: its mail is ours from now on
    Add {
        /// As in hamburger.edu
        domain: String,
    },
    /// List the domains
    List,
    /// Give a domain up; it must have neither accounts nor aliases
    Remove {
        /// As in hamburger.edu
        domain: String,
    },
}

#[derive(Serialize)]
struct Row {
    name: String,
    /// Milliseconds since the Unix epoch.
    created: u64,
}

impl Domain {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        let mut directory = self.admin.connect().await?.directory();
        let mut output = self.admin.output();
        match self.action {
            Action::Add { domain: name } => {
                let added = directory
                    .add_domain(AddDomainRequest { name })
                    .await
                    .map_err(failure)?;
                output.record(&Row::from(added.into_inner()), |row| {
                    format!("{} is ours now", row.name)
                })?;
            }
            Action::List => {
                let mut domains = directory
                    .list_domains(ListDomainsRequest {})
                    .await
                    .map_err(failure)?
                    .into_inner();
                while let Some(domain) = domains.message().await.map_err(failure)? {
                    let line = |row: &Row| format!("{:<40} since {}", row.name, output::time(row.created));
                    output.record(&Row::from(domain), line)?;
                }
            }
            Action::Remove { domain: name } => {
                let request = RemoveDomainRequest { name: name.clone() };
                directory.remove_domain(request).await.map_err(failure)?;
                output.record(&serde_json::json!({ "removed": name }), |_| {
                    format!("{name} is no longer ours")
                })?;
            }
        }
        output.flush()
    }
}

impl From<directory::Domain> for Row {
    fn from(domain: directory::Domain) -> Self {
        Self {
            name: domain.name,
            created: domain.created,
        }
    }
}
