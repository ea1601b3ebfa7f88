//! `postrider queue`: what waits to be sent, and what to do about it.

use anyhow::{Result, anyhow, ensure};
use clap::{Args, Subcommand, ValueEnum};
use postrider_proto::Link;
use postrider_proto::queue::act_request::Action as Act;
use postrider_proto::queue::queue_client::QueueClient;
use postrider_proto::queue::{
    ActRequest, Filter, GetStatisticsRequest, GetUnitRequest, ListSuspensionsRequest, ListUnitsRequest,
    ResumeDomainRequest, State, SuspendDomainRequest, Unit,
};
use serde::Serialize;
use tonic::{Code, Status};

use crate::admin::{AdminArgs, failure};
use crate::output::{self, Output};

/// See what waits to be sent, and hold, retry, reroute or cancel it
#[derive(Args)]
pub struct Queue {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List what waits, oldest first; prints nothing when nothing waits
    List {
        #[command(flatten)]
        select: Select,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
        limit: u32,
    },
    /// Show one message with its recipients and replies
    Show {
        /// As `list` prints it
        id: String,
    },
    /// Make no attempt until released
    Hold(Which),
    /// Let held messages go, now
    Release(Which),
    /// Try again now
    Retry(Which),
    /// Send somewhere else than the domain's MX, now
    Reroute {
        /// Where to; empty: to the MX again
        #[arg(long, value_name = "HOST[:PORT]")]
        to: String,
        #[command(flatten)]
        which: Which,
    },
    /// Take out of the queue: never sent, and nobody is told
    Cancel(Which),
    /// Stop all delivery to a domain; new mail for it waits
    Suspend {
        /// As in crepes.fr
        domain: String,
        /// For the next operator
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Deliver to the domain again
    Resume {
        /// As in crepes.fr
        domain: String,
    },
    /// List suspended domains
    Suspended,
    /// How much waits, and since when
    Stats,
}

/// Which messages, by what they are.
#[derive(Args, Default)]
struct Select {
    /// Only to this domain
    #[arg(long, value_name = "DOMAIN")]
    destination: Option<String>,
    /// Only from this sender
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<String>,
    /// Only to this recipient
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,
    /// Only in this state; may be repeated
    #[arg(long)]
    state: Vec<StateArgument>,
}

#[derive(Clone, Copy, ValueEnum)]
enum StateArgument {
    Queued,
    Sending,
    Held,
}

/// Which messages, by id or by what they are.
#[derive(Args)]
struct Which {
    /// As `list` prints them
    ids: Vec<String>,
    #[command(flatten)]
    select: Select,
    /// Everything in the queue
    #[arg(long)]
    all: bool,
}

#[derive(Serialize)]
struct Row {
    id: String,
    state: &'static str,
    destination: String,
    sender: String,
    recipients: Vec<RecipientRow>,
    content: String,
    size: u64,
    attempts: u32,
    created: u64,
    next_attempt: u64,
    last_attempt: u64,
    expires: u64,
    last_reply: String,
    reroute: String,
    trace: String,
}

#[derive(Serialize)]
struct RecipientRow {
    address: String,
    state: &'static str,
    last_reply: String,
}

impl Queue {
    /// Does it.
    pub async fn run(self) -> Result<()> {
        let mut queue = self.admin.connect().await?.queue();
        let mut output = self.admin.output();
        match self.action {
            Action::List { select, limit } => {
                let request = ListUnitsRequest {
                    filter: Some(select.into()),
                    limit,
                };
                let mut units = queue.list_units(request).await.map_err(failure)?.into_inner();
                while let Some(unit) = units.message().await.map_err(failure)? {
                    output.record(&Row::from(unit), Row::line)?;
                }
            }
            Action::Show { id } => {
                let unit = queue
                    .get_unit(GetUnitRequest { id })
                    .await
                    .map_err(gone)?
                    .into_inner();
                output.record(&Row::from(unit), Row::page)?;
            }
            Action::Hold(which) => act(&mut queue, Act::Hold, which, "", &mut output).await?,
            Action::Release(which) => act(&mut queue, Act::Release, which, "", &mut output).await?,
            Action::Retry(which) => act(&mut queue, Act::Retry, which, "", &mut output).await?,
            Action::Reroute { to, which } => act(&mut queue, Act::Reroute, which, &to, &mut output).await?,
            Action::Cancel(which) => act(&mut queue, Act::Cancel, which, "", &mut output).await?,
            Action::Suspend { domain, reason } => {
                let request = SuspendDomainRequest {
                    domain: domain.clone(),
                    reason,
                };
                queue.suspend_domain(request).await.map_err(failure)?;
                let line = || format!("nothing is sent to {domain} until `postrider queue resume {domain}`");
                output.record(&serde_json::json!({ "suspended": domain }), |_| line())?;
            }
            Action::Resume { domain } => {
                queue
                    .resume_domain(ResumeDomainRequest {
                        domain: domain.clone(),
                    })
                    .await
                    .map_err(failure)?;
                output.record(&serde_json::json!({ "resumed": domain }), |_| {
                    format!("{domain} gets its mail again")
                })?;
            }
            Action::Suspended => suspended(&mut queue, &mut output).await?,
            Action::Stats => statistics(&mut queue, &mut output).await?,
        }
        output.flush()
    }
}

async fn act(
    queue: &mut QueueClient<Link>,
    action: Act,
    which: Which,
    to: &str,
    output: &mut Output,
) -> Result<()> {
    let Which { ids, select, all } = which;
    let filter = Filter::from(select);
    ensure!(
        !ids.is_empty() || all || filter != Filter::default(),
        "say which: ids, --destination, --sender, --recipient, --state, or --all"
    );
    let named = ids.len();
    let request = ActRequest {
        action: action.into(),
        ids,
        filter: Some(filter),
        all,
        reroute: to.to_owned(),
    };
    let mut answers = queue.act(request).await.map_err(failure)?.into_inner();
    let (mut done, mut refused) = (0, None);
    while let Some(answer) = answers.message().await.map_err(failure)? {
        let data = serde_json::json!({ "id": answer.id, "refused": answer.refused });
        if answer.refused.is_empty() {
            done += 1;
            output.record(&data, |_| format!("{}: done", answer.id))?;
        } else {
            output.record(&data, |_| format!("{}: {}", answer.id, answer.refused))?;
            refused.get_or_insert(answer.refused);
        }
    }
    output.flush()?;
    match refused {
        Some(why) => anyhow::bail!("not done for all: {why}"),
        None if done == 0 && named > 0 => anyhow::bail!("no such message in the queue"),
        None => Ok(()),
    }
}

/// What is not in the queue has left it, as a rule.
fn gone(status: Status) -> anyhow::Error {
    match status.code() {
        Code::NotFound => anyhow!("it is not in the queue; `postrider trace --id ID` says what became of it"),
        _ => failure(status),
    }
}

async fn suspended(queue: &mut QueueClient<Link>, output: &mut Output) -> Result<()> {
    let mut suspensions = queue
        .list_suspensions(ListSuspensionsRequest {})
        .await
        .map_err(failure)?
        .into_inner();
    while let Some(one) = suspensions.message().await.map_err(failure)? {
        let data = serde_json::json!({ "domain": one.domain, "reason": one.reason, "since": one.since });
        output.record(&data, |_| {
            format!(
                "{:<40} since {}  {}",
                one.domain,
                output::time(one.since),
                one.reason
            )
        })?;
    }
    Ok(())
}

async fn statistics(queue: &mut QueueClient<Link>, output: &mut Output) -> Result<()> {
    let counts = queue
        .get_statistics(GetStatisticsRequest {})
        .await
        .map_err(failure)?
        .into_inner();
    let data = serde_json::json!({
        "queued": counts.queued, "sending": counts.sending, "held": counts.held, "oldest": counts.oldest,
    });
    output.record(&data, |_| {
        let oldest = output::time(counts.oldest);
        format!(
            "queued   {}\nsending  {}\nheld     {}\noldest   {oldest}",
            counts.queued, counts.sending, counts.held
        )
    })
}

impl From<Select> for Filter {
    fn from(select: Select) -> Self {
        let state = |state| match state {
            StateArgument::Queued => State::Queued as i32,
            StateArgument::Sending => State::Sending as i32,
            StateArgument::Held => State::Held as i32,
        };
        Self {
            destination: select.destination.unwrap_or_default(),
            sender: select.sender.unwrap_or_default(),
            recipient: select.recipient.unwrap_or_default(),
            states: select.state.into_iter().map(state).collect(),
        }
    }
}

fn state_name(state: i32) -> &'static str {
    match State::try_from(state) {
        Ok(State::Queued) => "queued",
        Ok(State::Sending) => "sending",
        Ok(State::Delivered) => "delivered",
        Ok(State::Failed) => "failed",
        Ok(State::Held) => "held",
        Ok(State::Cancelled) => "cancelled",
        Ok(State::Unspecified) | Err(_) => "unknown",
    }
}

impl Row {
    fn line(&self) -> String {
        let recipients = match self.recipients.as_slice() {
            [one] => one.address.clone(),
            [first, rest @ ..] => format!("{} and {} more", first.address, rest.len()),
            [] => String::new(),
        };
        let when = if self.next_attempt > 0 {
            output::time(self.next_attempt)
        } else {
            String::new()
        };
        format!(
            "{}  {:<9} {:>3} attempts  {:<26} {} -> {recipients}  {}",
            self.id,
            self.state,
            self.attempts,
            when,
            self.reverse_path(),
            self.last_reply
        )
        .trim_end()
        .to_owned()
    }

    /// The sender for people: notifications have none.
    fn reverse_path(&self) -> &str {
        if self.sender.is_empty() {
            "<>"
        } else {
            &self.sender
        }
    }

    fn page(&self) -> String {
        let mut page = format!(
            "id            {}\nstate         {}\ndestination   {}\nsender        {}\nsize          {} bytes\n\
             attempts      {}\ncreated       {}\nlast attempt  {}\nnext attempt  {}\nexpires       {}\n\
             last reply    {}\ncontent       {}\ntrace         {}",
            self.id,
            self.state,
            self.destination,
            self.reverse_path(),
            self.size,
            self.attempts,
            output::time(self.created),
            output::time(self.last_attempt),
            output::time(self.next_attempt),
            output::time(self.expires),
            self.last_reply,
            self.content,
            self.trace,
        );
        if !self.reroute.is_empty() {
            page += &format!("\nreroute       {}", self.reroute);
        }
        for recipient in &self.recipients {
            page += &format!(
                "\nrecipient     {} {} {}",
                recipient.address, recipient.state, recipient.last_reply
            );
        }
        page
    }
}

impl From<Unit> for Row {
    fn from(unit: Unit) -> Self {
        let recipient = |recipient: postrider_proto::queue::Recipient| RecipientRow {
            state: state_name(recipient.state),
            address: recipient.address,
            last_reply: recipient.last_reply,
        };
        Self {
            state: state_name(unit.state),
            id: unit.id,
            destination: unit.destination,
            sender: unit.sender,
            recipients: unit.recipients.into_iter().map(recipient).collect(),
            content: unit.content_id,
            size: unit.size,
            attempts: unit.attempts,
            created: unit.created,
            next_attempt: unit.next_attempt,
            last_attempt: unit.last_attempt,
            expires: unit.expires,
            last_reply: unit.last_reply,
            reroute: unit.reroute,
            trace: unit.trace_id,
        }
    }
}
