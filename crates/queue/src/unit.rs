//! A unit: one message for one destination.

use postrider_types::{AccountId, Address, ContentId, DeliveryId, Domain, ReversePath, UnitId};

/// What a unit is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Waits for its next attempt.
    Queued,
    /// Claimed by a worker.
    Sending,
    /// Every recipient has it. Final.
    Delivered,
    /// Given up, the sender told where due. Final.
    Failed,
    /// Waits for an operator.
    Held,
    /// Taken out by an operator: never sent again. Final.
    Cancelled,
}

/// Where a unit goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// To the mail exchangers of a domain.
    Remote(Domain),
    /// To accounts of ours, late (each recipient has `local`).
    Local,
}

/// What a worker prefers when there is more work than it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Sent by people.
    #[default]
    Normal,
    /// Notifications and everything else that can wait a moment.
    Low,
}

/// When the sender wants to hear (RFC 3461 §4.1). The default is failures and delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notify {
    /// SUCCESS
    pub success: bool,
    /// FAILURE
    pub failure: bool,
    /// DELAY
    pub delay: bool,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            success: false,
            failure: true,
            delay: true,
        }
    }
}

/// A recipient of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// RCPT TO.
    pub address: Address,
    /// ORCPT as it was given (RFC 3461 §4.2), xtext still encoded; empty: none.
    pub original: String,
    /// NOTIFY.
    pub notify: Notify,
    /// How far it is.
    pub state: RecipientState,
    /// The last reply about this recipient in one line, or empty.
    pub last_reply: String,
    /// For `Destination::Local`: which delivery.
    pub local: Option<LocalDelivery>,
}

/// How far a recipient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RecipientState {
    /// Not yet.
    #[default]
    Pending,
    /// The other side said 250.
    Delivered,
    /// The other side said 5xx, or time is up.
    Failed,
}

/// A delivery to an account of ours, with the id under which it was first tried: a retry cannot double it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDelivery {
    /// To whom.
    pub account: AccountId,
    /// The receipt's key.
    pub delivery: DeliveryId,
    /// Bytes; 0: no limit.
    pub quota: u64,
}

/// What a sender of mail puts into the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUnit {
    /// Chosen by the caller, so that putting it twice puts it once.
    pub id: UnitId,
    /// The message.
    pub content: ContentId,
    /// Bytes at the front of the content that are for local mailboxes only (Return-Path) and are not sent.
    pub skip: u64,
    /// Bytes of the content, `skip` included.
    pub size: u64,
    /// MAIL FROM.
    pub sender: ReversePath,
    /// Where to.
    pub destination: Destination,
    /// RCPT TO, at least one.
    pub recipients: Vec<Recipient>,
    /// Preference.
    pub priority: Priority,
    /// The body has octets above 127.
    pub eight_bit: bool,
    /// Header or envelope need SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// ENVID (RFC 3461 §4.4), xtext still encoded; empty: none.
    pub envelope_id: String,
    /// RET=FULL: a failure notification returns the whole message.
    pub return_full: bool,
    /// Whose quota of connections it counts against: the submitting account, if any.
    pub submitter: Option<AccountId>,
    /// The message's trace (W3C traceparent), or empty.
    pub trace: String,
    /// The message's Message-ID without angle brackets, or empty; for the journal.
    pub message_id: String,
    /// First attempt not before this, milliseconds since the Unix epoch; 0: now.
    pub not_before: u64,
}

/// A unit as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// What was put in; its recipients carry the results so far.
    pub new: NewUnit,
    /// State.
    pub state: State,
    /// Moves with every change of the row: the compare of compare-and-set, and what makes a wake-up stale.
    pub generation: u64,
    /// Attempts so far.
    pub attempts: u32,
    /// Milliseconds since the Unix epoch, as all times here.
    pub created: u64,
    /// When the next attempt is due; 0: none.
    pub next_attempt: u64,
    /// When the last attempt began; 0: none.
    pub last_attempt: u64,
    /// When to give up.
    pub expires: u64,
    /// The sender was told of the delay.
    pub warned: bool,
    /// The last reply, or what went wrong, in one line.
    pub last_reply: String,
    /// `host:port` to use instead of the destination's MX, or empty.
    pub reroute: String,
    /// Until when the claim holds, when `Sending`; 0: no claim.
    pub lease: u64,
    /// Positions of recipients whose outcome is recorded and whose sender is still to be told of it. No attempt is made
    /// before that is done, so that what is told never changes (see [`crate::notice`]).
    pub owed: Vec<u32>,
}

impl State {
    /// Whether nothing will ever happen to a unit in this state. Rows of final units are removed at once: the journal
    /// has their history.
    pub fn is_final(self) -> bool {
        matches!(self, State::Delivered | State::Failed | State::Cancelled)
    }
}

impl Destination {
    /// The domain, or `local`: how operators name it.
    pub fn as_str(&self) -> &str {
        match self {
            Destination::Remote(domain) => domain.as_str(),
            Destination::Local => "local",
        }
    }
}

impl Unit {
    /// Positions of the recipients that still wait.
    pub fn pending(&self) -> impl Iterator<Item = usize> + '_ {
        let waits = |recipient: &Recipient| recipient.state == RecipientState::Pending;
        self.new
            .recipients
            .iter()
            .enumerate()
            .filter(move |(_, recipient)| waits(recipient))
            .map(|(at, _)| at)
    }
}
