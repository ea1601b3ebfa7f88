//! A unit as its row in a database: columns that people ask for with a shell, and one encoded column for the rest.

use postrider_types::{AccountId, Address, ContentId, DeliveryId, Domain, ReversePath, UnitId};
use prost::Message;

use crate::{Destination, LocalDelivery, NewUnit, Notify, Priority, Recipient, RecipientState, State, Unit};

/// The columns of a row, as they were read.
pub(crate) struct Columns {
    pub state: State,
    pub generation: u64,
    pub next_attempt: u64,
    pub lease: u64,
    pub destination: String,
    pub sender: String,
    pub content: Vec<u8>,
    pub attempts: u64,
    pub created: u64,
    pub last_attempt: u64,
    pub expires: u64,
    pub last_reply: String,
    pub reroute: String,
    pub rest: Vec<u8>,
}

impl Columns {
    /// The unit; the error says what is damaged.
    pub fn into_unit(self, id: UnitId) -> Result<Unit, String> {
        let rest = Rest::decode(self.rest.as_slice()).map_err(|error| error.to_string())?;
        let sender = match self.sender.as_str() {
            "" => ReversePath::NULL,
            text => ReversePath(Some(
                Address::new(text).map_err(|_| "its sender is not an address")?,
            )),
        };
        let recipients = rest
            .recipients
            .into_iter()
            .map(RecipientRow::into_recipient)
            .collect::<Option<Vec<_>>>();
        Ok(Unit {
            new: NewUnit {
                id,
                content: ContentId::from_slice(&self.content).ok_or("its content's id has not 16 bytes")?,
                skip: rest.skip,
                size: rest.size,
                sender,
                destination: if rest.local {
                    Destination::Local
                } else {
                    Destination::Remote(
                        Domain::new(&self.destination).map_err(|_| "its destination is not a domain")?,
                    )
                },
                recipients: recipients.ok_or("a recipient is not an address")?,
                priority: if rest.low_priority {
                    Priority::Low
                } else {
                    Priority::Normal
                },
                eight_bit: rest.eight_bit,
                utf8: rest.utf8,
                envelope_id: rest.envelope_id,
                return_full: rest.return_full,
                submitter: rest.submitter.map(AccountId::new),
                trace: rest.trace,
                message_id: rest.message_id,
                not_before: rest.not_before,
            },
            state: self.state,
            generation: self.generation,
            attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
            created: self.created,
            next_attempt: self.next_attempt,
            last_attempt: self.last_attempt,
            expires: self.expires,
            warned: rest.warned,
            last_reply: self.last_reply,
            reroute: self.reroute,
            lease: self.lease,
            owed: rest.owed,
        })
    }
}

/// The column `sender`: empty for the null reverse-path.
pub(crate) fn sender(unit: &Unit) -> String {
    let address = unit.new.sender.0.as_ref();
    address.map(Address::to_string).unwrap_or_default()
}

/// The column `rest`.
pub(crate) fn rest(unit: &Unit) -> Vec<u8> {
    Rest::of(unit).encode_to_vec()
}

#[derive(Clone, PartialEq, prost::Message)]
struct Rest {
    #[prost(bool, tag = "1")]
    local: bool,
    #[prost(uint64, tag = "2")]
    skip: u64,
    #[prost(uint64, tag = "3")]
    size: u64,
    #[prost(message, repeated, tag = "4")]
    recipients: Vec<RecipientRow>,
    #[prost(bool, tag = "5")]
    low_priority: bool,
    #[prost(bool, tag = "6")]
    eight_bit: bool,
    #[prost(bool, tag = "7")]
    utf8: bool,
    #[prost(string, tag = "8")]
    envelope_id: String,
    #[prost(bool, tag = "9")]
    return_full: bool,
    #[prost(uint64, optional, tag = "10")]
    submitter: Option<u64>,
    #[prost(string, tag = "11")]
    trace: String,
    #[prost(string, tag = "12")]
    message_id: String,
    #[prost(uint64, tag = "13")]
    not_before: u64,
    #[prost(bool, tag = "14")]
    warned: bool,
    #[prost(uint32, repeated, tag = "15")]
    owed: Vec<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RecipientRow {
    #[prost(string, tag = "1")]
    address: String,
    #[prost(string, tag = "2")]
    original: String,
    #[prost(uint32, tag = "3")]
    notify: u32,
    #[prost(uint32, tag = "4")]
    state: u32,
    #[prost(string, tag = "5")]
    last_reply: String,
    #[prost(message, optional, tag = "6")]
    local: Option<LocalRow>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LocalRow {
    #[prost(uint64, tag = "1")]
    account: u64,
    #[prost(bytes = "vec", tag = "2")]
    delivery: Vec<u8>,
    #[prost(uint64, tag = "3")]
    quota: u64,
}

impl Rest {
    fn of(unit: &Unit) -> Self {
        let new = &unit.new;
        Self {
            local: new.destination == Destination::Local,
            skip: new.skip,
            size: new.size,
            recipients: new.recipients.iter().map(RecipientRow::of).collect(),
            low_priority: new.priority == Priority::Low,
            eight_bit: new.eight_bit,
            utf8: new.utf8,
            envelope_id: new.envelope_id.clone(),
            return_full: new.return_full,
            submitter: new.submitter.map(AccountId::get),
            trace: new.trace.clone(),
            message_id: new.message_id.clone(),
            not_before: new.not_before,
            warned: unit.warned,
            owed: unit.owed.clone(),
        }
    }
}

impl RecipientRow {
    fn of(recipient: &Recipient) -> Self {
        let Notify {
            success,
            failure,
            delay,
        } = recipient.notify;
        Self {
            address: recipient.address.to_string(),
            original: recipient.original.clone(),
            notify: u32::from(success) | u32::from(failure) << 1 | u32::from(delay) << 2,
            state: match recipient.state {
                RecipientState::Pending => 0,
                RecipientState::Delivered => 1,
                RecipientState::Failed => 2,
            },
            last_reply: recipient.last_reply.clone(),
            local: recipient.local.as_ref().map(|local| LocalRow {
                account: local.account.get(),
                delivery: local.delivery.as_bytes().to_vec(),
                quota: local.quota,
            }),
        }
    }

    fn into_recipient(self) -> Option<Recipient> {
        let local = match self.local {
            None => None,
            Some(local) => Some(LocalDelivery {
                account: AccountId::new(local.account),
                delivery: DeliveryId::from_slice(&local.delivery)?,
                quota: local.quota,
            }),
        };
        Some(Recipient {
            address: Address::new(&self.address).ok()?,
            original: self.original,
            notify: Notify {
                success: self.notify & 1 != 0,
                failure: self.notify & 2 != 0,
                delay: self.notify & 4 != 0,
            },
            state: match self.state {
                0 => RecipientState::Pending,
                1 => RecipientState::Delivered,
                _ => RecipientState::Failed,
            },
            last_reply: self.last_reply,
            local,
        })
    }
}
