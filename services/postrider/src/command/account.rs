//! `postrider account`: mailboxes and who may open them.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use postrider_proto::directory::directory_client::DirectoryClient;
use postrider_proto::directory::get_account_request::Key;
use postrider_proto::directory::{
    self, AddAccountRequest, GetAccountRequest, ListAccountsRequest, RemoveAccountRequest,
    SetPasswordRequest, UpdateAccountRequest,
};
use postrider_proto::{Link, mailstore};
use postrider_runtime::config::{format_size, parse_size};
use postrider_types::AccountId;
use serde::Serialize;

use super::{app_password, read_password};
use crate::admin::{AdminArgs, Client, failure};
use crate::output::{self, Output};

/// Open, change and close mailboxes
#[derive(Args)]
pub struct Account {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Open a mailbox; a password is generated and printed unless --password-stdin
    Add {
        /// As in bob@hamburger.edu; the domain must be ours
        address: String,
        /// For people, as in "Bob Burger"
        #[arg(long, default_value = "", hide_default_value = true)]
        name: String,
        /// The most it may hold, as in 5GiB [default: no limit]
        #[arg(long, value_parser = parse_size, value_name = "SIZE", default_value = "0", hide_default_value = true)]
        quota: u64,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// List mailboxes
    List {
        /// Only of this domain
        #[arg(long)]
        domain: Option<String>,
    },
    /// Show one mailbox, with what it holds
    Show {
        /// As `list` prints it
        address: String,
    },
    /// Set a new password; the old one is out at once
    Passwd {
        /// As `list` prints it
        address: String,
        /// Read the password from standard input [default: one is generated and printed]
        #[arg(long)]
        password_stdin: bool,
    },
    /// Change name or quota
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    Set {
        /// As `list` prints it
        address: String,
        /// For people
        #[arg(long, group = "change")]
        name: Option<String>,
        /// The most it may hold, as in 5GiB; 0: no limit
        #[arg(long, group = "change", value_parser = parse_size, value_name = "SIZE")]
        quota: Option<u64>,
    },
    /// Nobody can log in, and mail to it is refused; what it holds stays
    Disable {
        /// As `list` prints it
        address: String,
    },
    /// Open a disabled mailbox again
    Enable {
        /// As `list` prints it
        address: String,
    },
    /// Close a mailbox and delete all of its mail
    Remove {
        /// As `list` prints it
        address: String,
    },
    /// Passwords for single devices
    AppPassword(app_password::AppPassword),
}

#[derive(Serialize)]
struct Row {
    id: String,
    address: String,
    name: String,
    enabled: bool,
    /// Bytes; 0: no limit.
    quota: u64,
    /// Milliseconds since the Unix epoch.
    created: u64,
    /// The generated password, shown this once.
    #[serde(skip_serializing_if = "String::is_empty")]
    password: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
}

impl Account {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        let client = self.admin.connect().await?;
        let mut output = self.admin.output();
        let mut directory = client.directory();
        match self.action {
            Action::Add {
                address,
                name,
                quota,
                password_stdin,
            } => {
                let password = if password_stdin {
                    read_password()?
                } else {
                    Vec::new()
                };
                let request = AddAccountRequest {
                    address,
                    password: password.into(),
                    display_name: name,
                    quota,
                };
                let added = directory
                    .add_account(request)
                    .await
                    .map_err(failure)?
                    .into_inner();
                let mut row = Row::from(added.account.context("the node did not say what it added")?);
                row.password = added.generated_password;
                output.record(&row, |row| match row.password.as_str() {
                    "" => format!("{} is open", row.address),
                    password => format!("{} is open; its password is {password}", row.address),
                })?;
            }
            Action::List { domain } => list(&mut directory, domain, &mut output).await?,
            Action::Show { address } => show(&client, address, &mut output).await?,
            Action::Passwd {
                address,
                password_stdin,
            } => {
                let password = if password_stdin {
                    read_password()?
                } else {
                    Vec::new()
                };
                let request = SetPasswordRequest {
                    address: address.clone(),
                    password: password.into(),
                };
                let generated = directory
                    .set_password(request)
                    .await
                    .map_err(failure)?
                    .into_inner()
                    .generated_password;
                let data = serde_json::json!({ "address": address, "password": generated });
                output.record(&data, |_| match generated.as_str() {
                    "" => format!("{address} has a new password"),
                    password => format!("the password of {address} is now {password}"),
                })?;
            }
            Action::Set { address, name, quota } => {
                update(&mut directory, &mut output, address, |change| {
                    change.display_name = name;
                    change.quota = quota;
                })
                .await?;
            }
            Action::Disable { address } => {
                update(&mut directory, &mut output, address, |change| {
                    change.enabled = Some(false)
                })
                .await?;
            }
            Action::Enable { address } => {
                update(&mut directory, &mut output, address, |change| {
                    change.enabled = Some(true)
                })
                .await?;
            }
            Action::Remove { address } => remove(&client, address, &mut output).await?,
            Action::AppPassword(command) => command.run(&mut directory, &mut output).await?,
        }
        output.flush()
    }
}

async fn list(
    directory: &mut DirectoryClient<Link>,
    domain: Option<String>,
    output: &mut Output,
) -> Result<()> {
    let request = ListAccountsRequest {
        domain: domain.unwrap_or_default(),
    };
    let mut accounts = directory
        .list_accounts(request)
        .await
        .map_err(failure)?
        .into_inner();
    while let Some(account) = accounts.message().await.map_err(failure)? {
        output.record(&Row::from(account), line)?;
    }
    Ok(())
}

async fn show(client: &Client, address: String, output: &mut Output) -> Result<()> {
    let request = GetAccountRequest {
        key: Some(Key::Address(address)),
    };
    let account = client
        .directory()
        .get_account(request)
        .await
        .map_err(failure)?
        .into_inner();
    let usage = mailstore::GetAccountRequest { account: account.id };
    let mut row = Row::from(account);
    // Without the mail store there is still something to show.
    if let Ok(usage) = client.mail_store().get_account(usage).await {
        let usage = usage.into_inner();
        (row.used, row.messages) = (Some(usage.used_bytes), Some(usage.messages));
    }
    output.record(&row, |row| {
        let holds = match (row.messages, row.used) {
            (Some(messages), Some(used)) => format!("{messages} messages, {used} bytes"),
            _ => "unknown, the mail store does not answer".to_owned(),
        };
        let created = output::time(row.created);
        format!(
            "address  {}\nname     {}\nid       {}\nstate    {}\nquota    {}\nholds    {holds}\ncreated  {created}",
            row.address, row.name, row.id, row.state(), row.quota()
        )
    })
}

async fn update(
    directory: &mut DirectoryClient<Link>,
    output: &mut Output,
    address: String,
    change: impl FnOnce(&mut UpdateAccountRequest),
) -> Result<()> {
    let mut request = UpdateAccountRequest {
        address,
        ..UpdateAccountRequest::default()
    };
    change(&mut request);
    let account = directory
        .update_account(request)
        .await
        .map_err(failure)?
        .into_inner();
    output.record(&Row::from(account), line)
}

/// First nobody can get in, then the mail goes, then the account: stopped anywhere, the command can be repeated.
async fn remove(client: &Client, address: String, output: &mut Output) -> Result<()> {
    let mut directory = client.directory();
    let disable = UpdateAccountRequest {
        address: address.clone(),
        enabled: Some(false),
        ..Default::default()
    };
    let account = directory
        .update_account(disable)
        .await
        .map_err(failure)?
        .into_inner();
    let mail = mailstore::RemoveAccountRequest { account: account.id };
    let removed = client.mail_store().remove_account(mail).await;
    removed
        .map_err(failure)
        .with_context(|| format!("{address} is disabled, but its mail is not deleted; try again"))?;
    let request = RemoveAccountRequest {
        address: address.clone(),
    };
    directory.remove_account(request).await.map_err(failure)?;
    output.record(&serde_json::json!({ "removed": address }), |_| {
        format!("{address} and its mail are gone")
    })
}

fn line(row: &Row) -> String {
    format!(
        "{:<40} {:<9} {:>10}  {}",
        row.address,
        row.state(),
        row.quota(),
        row.name
    )
    .trim_end()
    .to_owned()
}

impl Row {
    fn state(&self) -> &'static str {
        if self.enabled { "enabled" } else { "disabled" }
    }

    fn quota(&self) -> String {
        if self.quota == 0 {
            "no limit".into()
        } else {
            format_size(self.quota)
        }
    }
}

impl From<directory::Account> for Row {
    fn from(account: directory::Account) -> Self {
        Self {
            id: AccountId::new(account.id).to_string(),
            address: account.address,
            name: account.display_name,
            enabled: account.enabled,
            quota: account.quota,
            created: account.created,
            password: String::new(),
            used: None,
            messages: None,
        }
    }
}
