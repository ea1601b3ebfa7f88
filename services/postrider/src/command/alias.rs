//! `postrider alias`: addresses that stand for others.

use anyhow::Result;
use clap::{Args, Subcommand};
use postrider_proto::directory::{self, AddAliasRequest, ListAliasesRequest, RemoveAliasRequest};
use serde::Serialize;

use crate::admin::{AdminArgs, failure};

/// Let an address stand for others
///
/// An alias of the form @domain is the domain's catch-all: it gets what nobody else of the domain gets.
#[derive(Args)]
pub struct Alias {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Add targets to an alias; a new one is made
    Add {
        /// As in team@hamburger.edu, or @hamburger.edu for the catch-all
        address: String,
        /// Who gets its mail: accounts, other aliases, or addresses elsewhere
        #[arg(required = true)]
        targets: Vec<String>,
    },
    /// List aliases
    List {
        /// Only of this domain
        #[arg(long)]
        domain: Option<String>,
    },
    /// Remove targets from an alias, or the alias itself
    Remove {
        /// As in team@hamburger.edu
        address: String,
        /// Which targets [default: the whole alias]
        targets: Vec<String>,
    },
}

#[derive(Serialize)]
struct Row {
    address: String,
    targets: Vec<String>,
}

impl Alias {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        let mut directory = self.admin.connect().await?.directory();
        let mut output = self.admin.output();
        let line = |row: &Row| format!("{:<40} {}", row.address, row.targets.join(", "));
        match self.action {
            Action::Add { address, targets } => {
                let request = AddAliasRequest { address, targets };
                let added = directory.add_alias(request).await.map_err(failure)?;
                output.record(&Row::from(added.into_inner()), line)?;
            }
            Action::List { domain } => {
                let request = ListAliasesRequest {
                    domain: domain.unwrap_or_default(),
                };
                let mut aliases = directory
                    .list_aliases(request)
                    .await
                    .map_err(failure)?
                    .into_inner();
                while let Some(alias) = aliases.message().await.map_err(failure)? {
                    output.record(&Row::from(alias), line)?;
                }
            }
            Action::Remove { address, targets } => {
                let request = RemoveAliasRequest {
                    address: address.clone(),
                    targets,
                };
                directory.remove_alias(request).await.map_err(failure)?;
                output.record(&serde_json::json!({ "removed": address }), |_| {
                    format!("{address}: removed")
                })?;
            }
        }
        output.flush()
    }
}

impl From<directory::Alias> for Row {
    fn from(alias: directory::Alias) -> Self {
        Self {
            address: alias.address,
            targets: alias.targets,
        }
    }
}
