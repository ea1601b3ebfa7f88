//! What is to be done for a message: deliveries of our own, and units of the queue.

use std::collections::BTreeMap;

use postrider_queue::{Destination, LocalDelivery, NewUnit, Priority, RecipientState};
use postrider_smtp::Ret;
use postrider_types::{AccountId, ContentId, Domain, ReversePath};

use crate::identity::Seed;
use crate::recipients::{Local, Recipient, Recipients};

/// The envelope and what the queue has to know of the message.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub sender: ReversePath,
    pub size: u64,
    pub skip: u64,
    pub eight_bit: bool,
    pub utf8: bool,
    pub envid: String,
    pub ret: Option<Ret>,
    pub submitter: Option<AccountId>,
    pub traceparent: String,
    pub message_id: String,
}

/// The targets of a message, sorted by who brings it to them.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// We ourselves, now.
    pub direct: Vec<Local>,
    /// The queue, now: those whose delivery has to be confirmed to the sender (NOTIFY=SUCCESS), since confirming is what
    /// the queue's workers do.
    pub confirmed: Vec<Local>,
    /// The queue, now: those elsewhere, by domain.
    pub remote: BTreeMap<Domain, Vec<Recipient>>,
}

impl Plan {
    pub(crate) fn new(recipients: Recipients, sender: &ReversePath) -> Self {
        let mut plan = Self::default();
        for local in recipients.locals {
            // Nobody can be told of a message from `<>`.
            if local.recipient.notify.success && !sender.is_null() {
                plan.confirmed.push(local);
            } else {
                plan.direct.push(local);
            }
        }
        for recipient in recipients.remotes {
            plan.remote
                .entry(recipient.address.domain().clone())
                .or_default()
                .push(recipient);
        }
        plan
    }

    /// Whether anything is to be put into the queue whatever happens.
    pub(crate) fn needs_queue(&self) -> bool {
        !self.confirmed.is_empty() || !self.remote.is_empty()
    }

    /// The units that are due now.
    pub(crate) fn units(&self, envelope: &Envelope, content: ContentId, seed: &Seed) -> Vec<NewUnit> {
        let mut units: Vec<NewUnit> = self
            .remote
            .iter()
            .map(|(domain, recipients)| {
                let id = seed.unit(domain.as_str(), recipients.iter().map(|it| &it.address));
                let recipients = recipients
                    .iter()
                    .map(|recipient| queued(recipient, None))
                    .collect();
                unit(
                    id,
                    Destination::Remote(domain.clone()),
                    recipients,
                    envelope,
                    content,
                )
            })
            .collect();
        if !self.confirmed.is_empty() {
            units.push(local_unit(
                "confirmed",
                &self.confirmed,
                envelope,
                content,
                seed,
                0,
            ));
        }
        units
    }
}

/// A unit that delivers to accounts of ours, not before a moment. `name` tells a message's local units apart.
pub(crate) fn local_unit(
    name: &str,
    locals: &[Local],
    envelope: &Envelope,
    content: ContentId,
    seed: &Seed,
    not_before: u64,
) -> NewUnit {
    let recipients = locals
        .iter()
        .map(|local| {
            let delivery = seed.delivery(local.account);
            queued(
                &local.recipient,
                Some(LocalDelivery {
                    account: local.account,
                    delivery,
                    quota: local.quota,
                }),
            )
        })
        .collect();
    // A domain has no space, so no domain's unit has this id.
    let accounts = locals.iter().map(|local| &local.recipient.address);
    let id = seed.unit(&format!("local {name}"), accounts);
    NewUnit {
        not_before,
        ..unit(id, Destination::Local, recipients, envelope, content)
    }
}

fn queued(recipient: &Recipient, local: Option<LocalDelivery>) -> postrider_queue::Recipient {
    postrider_queue::Recipient {
        address: recipient.address.clone(),
        original: recipient.original.clone(),
        notify: recipient.notify,
        state: RecipientState::Pending,
        last_reply: String::new(),
        local,
    }
}

fn unit(
    id: postrider_types::UnitId,
    destination: Destination,
    recipients: Vec<postrider_queue::Recipient>,
    envelope: &Envelope,
    content: ContentId,
) -> NewUnit {
    NewUnit {
        id,
        content,
        skip: envelope.skip,
        size: envelope.size,
        sender: envelope.sender.clone(),
        destination,
        recipients,
        priority: if envelope.sender.is_null() {
            Priority::Low
        } else {
            Priority::Normal
        },
        eight_bit: envelope.eight_bit,
        utf8: envelope.utf8,
        envelope_id: envelope.envid.clone(),
        return_full: envelope.ret == Some(Ret::Full),
        submitter: envelope.submitter,
        trace: envelope.traceparent.clone(),
        message_id: envelope.message_id.clone(),
        not_before: 0,
    }
}
