//! What the user of a device does now and then.

use std::time::Instant;

use postrider_imap::Command;
use postrider_imap::command::{
    Copy, Create, Fetch, FetchItem, FlagList, Search, SearchKey, Section, Store, StoreOperation,
};
use postrider_imap::set::{MessageSet, SequenceSet};
use postrider_types::{Flags, SystemFlag};

use super::{Device, survived};
use crate::ledger::Promise;
use crate::net::{Failure, Imap};
use crate::operation::{Operation, Outcome};
use crate::traffic::Elsewhere;

/// Where messages are moved to, and where copies of what was sent are kept.
const ARCHIVE: &str = "Archive";
const SENT: &str = "Sent";

/// Bits of a message number that count what one device has appended.
const DEVICE_SHIFT: u32 = 24;

/// What users do, in the shares in which they do it: read, mark, move, search, append. A device begins somewhere in it and goes
/// on in turn, so that a few devices in a short run do everything.
const HABITS: [Habit; 20] = {
    use Habit::{Append, Mark, Move, Read, Search};
    [
        Read, Mark, Search, Read, Move, Read, Mark, Append, Read, Search, Mark, Read, Move, Read, Mark,
        Search, Read, Append, Mark, Move,
    ]
};

/// How far two devices with neighbouring numbers are apart in it; has no divisor in common with its length.
const APART: usize = 7;

/// One thing to do.
#[derive(Debug, Clone, Copy)]
enum Habit {
    Read,
    Mark,
    Move,
    Search,
    Append,
}

/// What is searched for: a word that many messages have, and one that few have.
const WORDS: [&str; 2] = ["ketchup", "deadline"];

impl Device {
    /// Does the next thing. What needs a message is left out where there is none.
    pub(super) async fn act(&mut self, imap: &mut Imap, intended: Instant) -> Result<(), Failure> {
        let turn = self.number as usize * APART + self.acted;
        self.acted += 1;
        let habit = HABITS[turn % HABITS.len()];
        let uid = self.view.any(self.dice.roll());
        match (habit, uid) {
            (Habit::Search, _) => self.search(imap, intended).await,
            (Habit::Append, _) => self.append(imap, intended).await,
            (Habit::Read, Some(uid)) => self.read(imap, uid, intended).await,
            (Habit::Mark, Some(uid)) => self.mark(imap, uid, intended).await,
            (Habit::Move, Some(uid)) => self.move_away(imap, uid, intended).await,
            (Habit::Read | Habit::Mark | Habit::Move, None) => Ok(()),
        }
    }

    /// Fetches a whole message.
    pub(super) async fn read(&mut self, imap: &mut Imap, uid: u32, intended: Instant) -> Result<(), Failure> {
        let Some(set) = only(uid) else { return Ok(()) };
        let command = Command::Fetch(Fetch {
            uid: true,
            set,
            items: vec![FetchItem::Section {
                section: Section::default(),
                partial: None,
                peek: true,
            }],
            changed_since: None,
            vanished: false,
        });
        self.simply(imap, Operation::ImapBody, intended, &command).await
    }

    /// Sets `\Seen`, or sometimes `\Flagged`.
    pub(super) async fn mark(&mut self, imap: &mut Imap, uid: u32, intended: Instant) -> Result<(), Failure> {
        let Some(set) = only(uid) else { return Ok(()) };
        let flag = if self.dice.chance(0.8) {
            SystemFlag::Seen
        } else {
            SystemFlag::Flagged
        };
        let command = Command::Store(Store {
            uid: true,
            set,
            operation: StoreOperation::Add,
            silent: self.dice.chance(0.5),
            flags: FlagList {
                flags: Flags::EMPTY.with(flag),
                keywords: Vec::new(),
            },
            unchanged_since: None,
        });
        self.simply(imap, Operation::ImapStore, intended, &command).await
    }

    /// Moves a message to the archive, which is made if it is not there.
    async fn move_away(&mut self, imap: &mut Imap, uid: u32, intended: Instant) -> Result<(), Failure> {
        let Some(set) = only(uid).filter(|_| imap.features().moves) else {
            return Ok(());
        };
        self.make(imap, ARCHIVE).await?;
        let command = Command::Move(Copy {
            uid: true,
            set,
            mailbox: ARCHIVE.to_owned(),
        });
        self.view.forget(uid);
        self.simply(imap, Operation::ImapMove, intended, &command).await
    }

    /// What is unseen, or what has a word in its subject.
    async fn search(&mut self, imap: &mut Imap, intended: Instant) -> Result<(), Failure> {
        let unseen = SearchKey::Not(Box::new(SearchKey::Flag(SystemFlag::Seen)));
        let word = self.dice.one_of(&WORDS).unwrap_or(&"");
        let subject = SearchKey::Header {
            name: "Subject".to_owned(),
            value: (*word).to_owned(),
        };
        let command = Command::Search(Search {
            uid: true,
            returns: None,
            key: if self.dice.chance(0.5) { unseen } else { subject },
        });
        self.simply(imap, Operation::ImapSearch, intended, &command).await
    }

    /// Keeps a copy of something sent. Its OK is a promise, as a 250 is; without an answer it is not tried again.
    async fn append(&mut self, imap: &mut Imap, intended: Instant) -> Result<(), Failure> {
        self.make(imap, SENT).await?;
        let world = self.world.clone();
        let within = (u64::from(self.number) << DEVICE_SHIFT) | (self.appended & ((1 << DEVICE_SHIFT) - 1));
        self.appended += 1;
        let nobody = Elsewhere {
            share: 0.0,
            domains: &[],
        };
        let number = super::super::message_number(self.index, within);
        let letter = world.letters.submission(number, self.rank, nobody);
        let seen = Flags::EMPTY.with(SystemFlag::Seen);
        let view = &mut self.view;
        world.recorder.offered(Operation::ImapAppend, intended);
        let began = Instant::now();
        let appended = imap
            .append(SENT, seen, &letter.content, |response| view.note(&response))
            .await;
        let answered = Instant::now();
        let mut outcome = crate::net::outcome(&appended);
        if appended.is_ok() {
            let promise = Promise {
                id: letter.id,
                recipient: self.account.clone(),
                digest: letter.digest,
                decoded: None,
                began: world.micros(began),
                at: world.micros(answered),
            };
            if let Err(error) = world.ledger.promise(vec![promise]).await {
                world.ledger_failed(&error);
                outcome = Outcome::Broken;
            }
        }
        world
            .recorder
            .ended_at(Operation::ImapAppend, intended, answered, outcome);
        survived(appended).map(drop)
    }

    /// Makes a mailbox, once in a device's life; that it is there already is as good.
    async fn make(&mut self, imap: &mut Imap, mailbox: &'static str) -> Result<(), Failure> {
        if self.made.contains(&mailbox) {
            return Ok(());
        }
        let command = Command::Create(Create {
            mailbox: mailbox.to_owned(),
            special_use: Vec::new(),
        });
        let view = &mut self.view;
        survived(imap.each(&command, |response| view.note(&response)).await)?;
        self.made.push(mailbox);
        Ok(())
    }

    async fn simply(
        &mut self,
        imap: &mut Imap,
        operation: Operation,
        intended: Instant,
        command: &Command,
    ) -> Result<(), Failure> {
        let world = self.world.clone();
        let view = &mut self.view;
        let work = imap.each(command, |response| view.note(&response));
        survived(world.timed(operation, intended, work).await).map(drop)
    }
}

fn only(uid: u32) -> Option<MessageSet> {
    SequenceSet::of_numbers([uid]).map(MessageSet::Numbers)
}
