//! `postrider account app-password`: passwords for single devices.

use anyhow::Result;
use clap::{Args, Subcommand};
use postrider_proto::Link;
use postrider_proto::directory::directory_client::DirectoryClient;
use postrider_proto::directory::{AddAppPasswordRequest, ListAppPasswordsRequest, RemoveAppPasswordRequest};

use crate::admin::failure;
use crate::output::{self, Output};

/// Passwords for single devices: a lost one is locked out alone
#[derive(Args)]
pub struct AppPassword {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make one, and print it this once
    Add {
        /// The account's
        address: String,
        /// What it is for, as in "Bob's phone"
        label: String,
    },
    /// List them, without the passwords
    List {
        /// The account's
        address: String,
    },
    /// Remove one: whoever uses it is out
    Remove {
        /// The account's
        address: String,
        /// As `list` shows it
        id: String,
    },
}

impl AppPassword {
    /// Does it.
    pub async fn run(self, directory: &mut DirectoryClient<Link>, output: &mut Output) -> Result<()> {
        match self.action {
            Action::Add { address, label } => {
                let request = AddAppPasswordRequest { address, label };
                let made = directory
                    .add_app_password(request)
                    .await
                    .map_err(failure)?
                    .into_inner();
                let data = serde_json::json!({ "id": made.id, "password": made.password });
                output.record(&data, |_| {
                    format!("{}: the password is {}", made.id, made.password)
                })
            }
            Action::List { address } => {
                let request = ListAppPasswordsRequest { address };
                let listed = directory
                    .list_app_passwords(request)
                    .await
                    .map_err(failure)?
                    .into_inner();
                for one in listed.passwords {
                    let data =
                        serde_json::json!({ "id": one.id, "label": one.label, "created": one.created });
                    output.record(&data, |_| {
                        format!("{}  {}  {}", one.id, output::time(one.created), one.label)
                    })?;
                }
                Ok(())
            }
            Action::Remove { address, id } => {
                let request = RemoveAppPasswordRequest {
                    address,
                    id: id.clone(),
                };
                directory.remove_app_password(request).await.map_err(failure)?;
                output.record(&serde_json::json!({ "removed": id }), |_| {
                    format!("{id}: removed")
                })
            }
        }
    }
}
