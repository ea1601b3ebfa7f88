//! The TRANSACTION state: what is in the maildrop (RFC 1939 §5, §7).

use bytes::BytesMut;
use postrider_wire::Step;

use super::session::{Asked, Column, Listing, Sending, Server, State, Transaction, say};
use super::{Event, Maildrop};
use crate::command::Command;
use crate::stuffing::Stuffer;

/// Bytes of a listing made at a time.
const LISTED_AT_ONCE: usize = 8 * 1024;

impl<M: Maildrop> Server<M> {
    pub(super) fn transaction(&mut self, command: Command, output: &mut BytesMut) -> Option<Step<Event>> {
        let State::Transaction(transaction) = &mut self.state else {
            return None;
        };
        match command {
            Command::Stat => {
                let (count, octets) = transaction.left();
                say(output, &format!("+OK {count} {octets}"));
            }
            Command::List(None) => {
                let (count, octets) = transaction.left();
                say(output, &format!("+OK {count} messages ({octets} octets)"));
                transaction.listing = Some(Listing {
                    what: Column::Size,
                    next: 0,
                });
            }
            Command::Uidl(None) => {
                say(output, "+OK");
                transaction.listing = Some(Listing {
                    what: Column::UniqueId,
                    next: 0,
                });
            }
            Command::List(Some(number)) => self.one(number, Column::Size, output),
            Command::Uidl(Some(number)) => self.one(number, Column::UniqueId, output),
            Command::Retr(number) => return self.retrieve(number, None, output),
            Command::Top(number, lines) => return self.retrieve(number, Some(lines), output),
            Command::Dele(number) => match transaction.find(number) {
                Ok(message) => {
                    transaction
                        .marks
                        .insert(message, transaction.maildrop.size(message));
                    say(output, &format!("+OK message {number} deleted"));
                }
                Err(why) => self.error(output, why),
            },
            Command::Rset => {
                transaction.marks.clear();
                let (count, octets) = transaction.left();
                say(
                    output,
                    &format!("+OK maildrop has {count} messages ({octets} octets)"),
                );
            }
            Command::Noop => say(output, "+OK"),
            Command::Capa => self.capabilities(output),
            Command::Quit => return Some(self.ask(Asked::Update, Event::Update)),
            Command::User(_) | Command::Pass(_) | Command::Auth(_) => {
                self.error(output, "-ERR already logged in")
            }
            Command::Stls | Command::Utf8 => self.error(output, "-ERR only before the login"),
        }
        None
    }

    /// Writes some more of a listing; whether there was one.
    pub(super) fn list_on(&mut self, output: &mut BytesMut) -> bool {
        let State::Transaction(transaction) = &mut self.state else {
            return false;
        };
        let Some(mut listing) = transaction.listing.take() else {
            return false;
        };
        let until = output.len() + LISTED_AT_ONCE;
        while listing.next < transaction.maildrop.len() {
            if output.len() >= until {
                transaction.listing = Some(listing);
                return true;
            }
            if !transaction.marks.contains(listing.next) {
                transaction.write(listing.next, listing.what, output);
            }
            listing.next += 1;
        }
        say(output, ".");
        true
    }

    fn one(&mut self, number: usize, what: Column, output: &mut BytesMut) {
        let State::Transaction(transaction) = &self.state else {
            return;
        };
        match transaction.find(number) {
            Ok(message) => {
                output.extend_from_slice(b"+OK ");
                transaction.write(message, what, output);
            }
            Err(why) => self.error(output, why),
        }
    }

    /// Asks for a message, or with `lines` for its top.
    fn retrieve(&mut self, number: usize, lines: Option<u64>, output: &mut BytesMut) -> Option<Step<Event>> {
        let State::Transaction(transaction) = &self.state else {
            return None;
        };
        match transaction.find(number) {
            Ok(message) => {
                let sending = match lines {
                    None => Sending {
                        stuffer: Stuffer::new(),
                        octets: Some(transaction.maildrop.size(message)),
                    },
                    Some(lines) => Sending {
                        stuffer: Stuffer::top(lines),
                        octets: None,
                    },
                };
                Some(self.ask(Asked::Message(sending), Event::Retrieve { message }))
            }
            Err(why) => {
                self.error(output, why);
                None
            }
        }
    }
}

impl<M: Maildrop> Transaction<M> {
    /// Number and octets of the messages that are not marked.
    fn left(&self) -> (usize, u64) {
        (
            self.maildrop.len() - self.marks.count(),
            self.octets.saturating_sub(self.marks.octets()),
        )
    }

    /// The place of the message a client names, from 1, unless it is marked.
    fn find(&self, number: usize) -> Result<usize, &'static str> {
        match number
            .checked_sub(1)
            .filter(|message| *message < self.maildrop.len())
        {
            None => Err("-ERR no such message"),
            Some(message) if self.marks.contains(message) => Err("-ERR message is deleted"),
            Some(message) => Ok(message),
        }
    }

    /// One line of a listing.
    fn write(&self, message: usize, what: Column, output: &mut BytesMut) {
        use std::fmt::Write;
        // Writing into memory cannot fail.
        let _ = write!(output, "{} ", message + 1);
        match what {
            Column::Size => {
                let _ = write!(output, "{}", self.maildrop.size(message));
            }
            Column::UniqueId => self.maildrop.write_unique_id(message, output),
        }
        output.extend_from_slice(b"\r\n");
    }
}
