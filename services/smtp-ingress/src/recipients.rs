//! Who gets a message: what the recipients of a transaction mean, each target once.

use std::collections::HashSet;

use postrider_proto::directory::{ResolveResponse, target};
use postrider_queue::Notify;
use postrider_types::{AccountId, Address};

/// The most targets of one message, aliases followed.
const MOST_TARGETS: usize = 10_000;

/// Where one copy goes.
#[derive(Debug, Clone)]
pub(crate) struct Recipient {
    /// RCPT TO, or what an alias made of it.
    pub address: Address,
    /// ORCPT, or empty.
    pub original: String,
    pub notify: Notify,
}

/// A copy for an account of ours.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub account: AccountId,
    /// Bytes; 0: no limit.
    pub quota: u64,
    pub recipient: Recipient,
}

/// The targets of a transaction so far.
#[derive(Debug, Default)]
pub(crate) struct Recipients {
    pub locals: Vec<Local>,
    pub remotes: Vec<Recipient>,
    accounts: HashSet<AccountId>,
    addresses: HashSet<String>,
    /// The recipient's address as it was given, while there is only one.
    only: Option<Address>,
    count: usize,
}

/// Why a recipient is not added.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotAdded {
    /// More targets than can be held.
    TooMany,
    /// The directory names no target that makes sense: accepting would lose the message.
    NoTarget,
}

/// The account whose mail-store is asked to deliver to all of these, see [`postrider_proto::Route::Recipient`].
pub(crate) fn first_account(locals: &[Local]) -> Option<AccountId> {
    locals.first().map(|local| local.account)
}

impl Recipients {
    /// Adds what an address of ours means. `address`: as it was given, for its own targets.
    pub(crate) fn add_resolved(
        &mut self,
        given: &Recipient,
        resolved: &ResolveResponse,
    ) -> Result<(), NotAdded> {
        if self.locals.len() + self.remotes.len() + resolved.targets.len() > MOST_TARGETS {
            return Err(NotAdded::TooMany);
        }
        let mut usable = 0;
        for target in &resolved.targets {
            usable += 1;
            match &target.to {
                Some(target::To::Local(local)) => {
                    let address = local.address.parse().unwrap_or_else(|_| given.address.clone());
                    let account = AccountId::new(local.account);
                    if self.accounts.insert(account) {
                        let recipient = Recipient {
                            address,
                            ..given.clone()
                        };
                        self.locals.push(Local {
                            account,
                            quota: local.quota,
                            recipient,
                        });
                    }
                }
                Some(target::To::Remote(address)) => match address.parse() {
                    Ok(address) => self.push_remote(Recipient {
                        address,
                        ..given.clone()
                    }),
                    Err(error) => {
                        usable -= 1;
                        tracing::warn!(alias = %given.address, address, %error, "alias target left out");
                    }
                },
                None => usable -= 1,
            }
        }
        if usable == 0 {
            return Err(NotAdded::NoTarget);
        }
        self.counted(&given.address);
        Ok(())
    }

    /// Adds an address elsewhere.
    pub(crate) fn add_remote(&mut self, recipient: Recipient) -> Result<(), NotAdded> {
        if self.locals.len() + self.remotes.len() >= MOST_TARGETS {
            return Err(NotAdded::TooMany);
        }
        let address = recipient.address.clone();
        self.push_remote(recipient);
        self.counted(&address);
        Ok(())
    }

    /// The recipient, when there is exactly one: `Received:` may then name it.
    pub(crate) fn only(&self) -> Option<&Address> {
        self.only.as_ref()
    }

    /// Recipients as they were given.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Whether SMTPUTF8 is needed to name one of the remote ones.
    pub(crate) fn need_utf8(&self) -> bool {
        self.remotes.iter().any(|recipient| !recipient.address.is_ascii())
    }

    fn push_remote(&mut self, recipient: Recipient) {
        if self.addresses.insert(recipient.address.key()) {
            self.remotes.push(recipient);
        }
    }

    fn counted(&mut self, address: &Address) {
        self.count += 1;
        self.only = (self.count == 1).then(|| address.clone());
    }
}
