//! Synthetic messages, seeded: the same number of the same seed is the same message, byte for byte.
//!
//! Sizes as measured in the field: 24 % under 2 KB, 49 % under 4, 68 % under 8, 85 % under 32, 93 % under 128, 98.5 % under 1 MB, mean 75 KB.
//!
//! Among them are plain text, HTML, multipart/alternative and attachments; ASCII, UTF-8 (quoted-printable and in 8 bits),
//! ISO-2022-JP and KOI8-R; encoded-words; conversations (In-Reply-To, References) that keep their recipients; mailing lists;
//! messages to many.

mod compose;
mod dice;
mod pool;
mod sizes;
mod words;
mod zipf;

use bytes::Bytes;

pub use dice::Dice;
pub use sizes::{FIELD as FIELD_SIZES, FIELD_MEAN};
pub use zipf::Zipf;

use crate::ledger::{self, MessageId};
use crate::profile::{Recipients, Sizes, Traffic};
use crate::target::Accounts;
use compose::{Composition, Sender};

/// Bits of a message number that count within one actor; those above are the actor's own.
pub const ACTOR_SHIFT: u32 = 48;

/// The most recipients of a message.
pub const MOST_RECIPIENTS: u64 = 50;

/// Purposes of chance that do not depend on one another.
const OF_THREAD: u64 = 1;
const OF_RECIPIENTS: u64 = 2;
const OF_CONTENT: u64 = 3;
const OF_ACCOUNT: u64 = 4;

/// The share of messages that answer an earlier one.
const REPLIES: f64 = 0.3;

/// The share of conversations that go on in a mailing list.
const LISTS: f64 = 0.12;

/// Makes messages by number.
///
/// The lower [`ACTOR_SHIFT`] bits of a number count within one actor; a message answers only earlier ones of its actor.
#[derive(Debug)]
pub struct Letters {
    seed: u64,
    run: u32,
    traffic: Traffic,
    accounts: Accounts,
    zipf: Zipf,
}

/// One message as it is handed to a server.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Its identity, also in its header.
    pub id: MessageId,
    /// Who sends it, in the envelope and in From.
    pub sender: String,
    /// The whole message, CRLF line ends, ready for DATA without dot-stuffing.
    pub content: Bytes,
    /// Whether it has octets above 127 (8BITMIME, RFC 6152).
    pub eight_bit: bool,
    /// [`crate::ledger::digest`] of it.
    pub digest: u64,
    /// Ranks of local recipients (see [`crate::target::Accounts::address`]), each once.
    pub recipients: Vec<u64>,
    /// Addresses of recipients elsewhere, each once.
    pub remote: Vec<String>,
}

/// Who of a submission's recipients is elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Elsewhere<'a> {
    /// The share of all recipients, 0 to 1.
    pub share: f64,
    /// Their domains; without any, nobody is elsewhere.
    pub domains: &'a [String],
}

impl Letters {
    /// Messages of a run to these accounts. The first call in a process takes some milliseconds.
    pub fn new(seed: u64, run: u32, traffic: Traffic, accounts: Accounts) -> Self {
        pool::prepare();
        let zipf = Zipf::new(accounts.count);
        Self {
            seed,
            run,
            traffic,
            accounts,
            zipf,
        }
    }

    /// A message from elsewhere to accounts.
    pub fn letter(&self, number: u64) -> Letter {
        self.compose(number, None, self.recipients(number), Vec::new())
    }

    /// A message from the account with this rank to accounts and elsewhere. The same number with the same arguments is the
    /// same message.
    pub fn submission(&self, number: u64, sender: u64, elsewhere: Elsewhere<'_>) -> Letter {
        let mut dice = Dice::new(self.seed, OF_RECIPIENTS, !self.root(number));
        let mut remote = Vec::new();
        let mut local = self.recipients(number);
        local.retain(|rank| {
            let domain = dice.one_of(elsewhere.domains);
            match domain.filter(|_| dice.chance(elsewhere.share)) {
                Some(domain) => remote.push(format!("friend{rank}@{domain}")),
                None => return true,
            }
            false
        });
        self.compose(number, Some(sender), local, remote)
    }

    /// The rank of an account, as likely as the profile says. `number` is anything that tells draws apart.
    pub fn account(&self, number: u64) -> u64 {
        self.draw(&mut Dice::new(self.seed, OF_ACCOUNT, number))
    }

    /// The address of the account with this rank.
    pub fn address(&self, rank: u64) -> String {
        self.accounts.address(rank)
    }

    fn compose(&self, number: u64, sender: Option<u64>, local: Vec<u64>, remote: Vec<String>) -> Letter {
        let id = MessageId {
            run: self.run,
            number,
        };
        let root = self.root(number);
        let mut of_root = Dice::new(self.seed, OF_THREAD, root);
        // The first draw says whether it answers another one.
        of_root.roll();
        let list = of_root.chance(LISTS).then(|| of_root.below(5));
        let mut dice = Dice::new(self.seed, OF_CONTENT, number);
        let size = match self.traffic.sizes {
            Sizes::Field => sizes::draw(&mut dice),
            Sizes::Fixed(size) => size,
        };
        let from = match sender {
            Some(rank) => Sender::account(self.accounts.address(rank)),
            None => Sender::elsewhere(&mut dice),
        };
        let composition = Composition {
            id,
            from: &from,
            to: (&self.accounts, &local, &remote),
            ancestors: self.ancestors(number),
            subject: of_root.below(u64::MAX),
            list,
            size: usize::try_from(size).unwrap_or(usize::MAX),
        };
        let (content, eight_bit) = composition.write(&mut dice);
        Letter {
            id,
            sender: from.address,
            digest: ledger::digest(&content),
            content,
            eight_bit,
            recipients: local,
            remote,
        }
    }

    /// Those of the conversation's first message: who is in a conversation stays in it.
    fn recipients(&self, number: u64) -> Vec<u64> {
        let mut dice = Dice::new(self.seed, OF_RECIPIENTS, self.root(number));
        let wanted = match dice.below(1000) {
            0..880 => 1,
            880..970 => 2 + dice.below(4),
            970..995 => 6 + dice.below(15),
            _ => 21 + dice.below(MOST_RECIPIENTS - 20),
        };
        let wanted = wanted.min(self.accounts.count.max(1)) as usize;
        let mut ranks = Vec::with_capacity(wanted);
        // Where a few accounts are drawn again and again, fewer recipients have to do.
        for _ in 0..wanted * 4 {
            let rank = self.draw(&mut dice);
            if !ranks.contains(&rank) {
                ranks.push(rank);
            }
            if ranks.len() == wanted {
                break;
            }
        }
        ranks
    }

    fn draw(&self, dice: &mut Dice) -> u64 {
        match self.traffic.recipients {
            Recipients::Zipf => self.zipf.draw(dice),
            Recipients::Even => dice.below(self.accounts.count.max(1)),
        }
    }

    /// The message that this one answers.
    fn parent(&self, number: u64) -> Option<u64> {
        let within = number & ((1 << ACTOR_SHIFT) - 1);
        let mut dice = Dice::new(self.seed, OF_THREAD, number);
        let answers = dice.chance(REPLIES);
        // Most answers come soon; the distance is spread evenly on a logarithmic scale up to 1,000.
        let distance = 1000_f64.powf(dice.share()) as u64;
        (answers && distance <= within).then(|| number - distance)
    }

    /// From the message this one answers up to the conversation's first.
    fn ancestors(&self, number: u64) -> Vec<MessageId> {
        let above = |number: &u64| self.parent(*number);
        std::iter::successors(self.parent(number), above)
            .map(|number| MessageId {
                run: self.run,
                number,
            })
            .collect()
    }

    fn root(&self, number: u64) -> u64 {
        let mut root = number;
        while let Some(parent) = self.parent(root) {
            root = parent;
        }
        root
    }
}

#[cfg(test)]
mod tests;
