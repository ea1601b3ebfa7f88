//! A letter, to those who are still to get it.

use postrider_smtp::client::{Envelope, Verdict};
use postrider_smtp::{Body, Mail, Rcpt};
use postrider_types::{Address, ReversePath};

use crate::ledger::{Promise, decoded_digest};
use crate::net::{Sent, Smtp, outcome_of};
use crate::operation::Outcome;
use crate::traffic::{Letter, Letters};

/// A letter, to those who are still to get it.
#[derive(Debug)]
pub struct Message {
    pub letter: Letter,
    /// The rank of the account it comes from.
    pub account: Option<u64>,
    recipients: Vec<Recipient>,
}

/// Who is still to get a letter. It is written anew for them, the same octet by octet: thousands that wait to be tried again
/// would not fit into memory.
#[derive(Debug)]
pub struct Left {
    /// The rank of the account it comes from.
    pub account: Option<u64>,
    recipients: Vec<Recipient>,
}

#[derive(Debug, Clone)]
struct Recipient {
    address: Address,
    /// At another server, which may have to be sent 7 bits.
    is_remote: bool,
}

impl Message {
    /// To everybody. Addresses that no server could be told (a pattern that makes none) are left out.
    pub fn new(letter: Letter, account: Option<u64>, letters: &Letters) -> Self {
        let recipient = |text: &str, is_remote| {
            let address = Address::new(text).ok()?;
            Some(Recipient { address, is_remote })
        };
        let local = letter
            .recipients
            .iter()
            .filter_map(|rank| recipient(&letters.address(*rank), false));
        let remote = letter.remote.iter().filter_map(|text| recipient(text, true));
        Self {
            recipients: local.chain(remote).collect(),
            account,
            letter,
        }
    }

    /// To those who are left.
    pub fn again(letter: Letter, left: Left) -> Self {
        Self {
            recipients: left.recipients,
            account: left.account,
            letter,
        }
    }

    /// One transaction.
    pub async fn send(&self, smtp: &mut Smtp) -> Sent {
        let mail = Mail {
            size: Some(self.letter.content.len() as u64),
            body: if self.letter.eight_bit {
                Body::EightBitMime
            } else {
                Body::SevenBit
            },
            ..Mail::from(ReversePath(Address::new(&self.letter.sender).ok()))
        };
        let recipients = self.recipients.iter().map(|it| Rcpt::to(it.address.clone()));
        let envelope = Envelope {
            mail,
            recipients: recipients.collect(),
        };
        smtp.send(envelope, self.letter.content.clone()).await
    }

    /// What the server has answered for.
    pub fn promises(&self, sent: &Sent, began: u64, at: u64) -> Vec<Promise> {
        let to_others = self.letter.eight_bit && self.recipients.iter().any(|it| it.is_remote);
        let decoded = to_others.then(|| decoded_digest(&self.letter.content));
        let pairs = self.recipients.iter().zip(&sent.verdicts);
        pairs
            .filter(|(_, verdict)| matches!(verdict, Verdict::Delivered(_)))
            .map(|(recipient, _)| Promise {
                id: self.letter.id,
                recipient: recipient.address.to_string(),
                digest: self.letter.digest,
                decoded: decoded.filter(|_| recipient.is_remote),
                began,
                at,
            })
            .collect()
    }

    /// Everybody.
    pub fn all(self) -> Left {
        Left {
            account: self.account,
            recipients: self.recipients,
        }
    }

    /// Those who were refused for now, or whose copy the server certainly does not have. Whoever's copy is unknown gets no other
    /// one.
    pub fn left(self, sent: &Sent) -> Option<Left> {
        let mut left = self.all();
        let mut verdicts = sent.verdicts.iter();
        left.recipients.retain(|_| match verdicts.next() {
            Some(Verdict::Unknown(_)) | None => false,
            Some(verdict) => matches!(outcome_of(verdict), Outcome::Deferred | Outcome::Broken),
        });
        (!left.recipients.is_empty()).then_some(left)
    }
}
