//! One message: MAIL, RCPT, DATA or BDAT, pipelined when the server allows it.
//!
//! Replies come in the order of the commands, so a queue of what is awaited is all the state there is. A recipient's
//! first verdict stays: when MAIL was refused, the 503s to what was pipelined behind it say nothing new.

use std::collections::VecDeque;
use std::fmt::Write;

use bytes::{Bytes, BytesMut};

use super::outcome::{Event, Failure, Outcome, Verdict};
use super::session::{Client, Flow, State};
use crate::dot::Stuffer;
use crate::mail::{Body, Mail};
use crate::rcpt::Rcpt;
use crate::reply::Reply;

/// The most commands whose replies are awaited at one time. Their replies fit into any socket's buffer, so that neither
/// side ever waits for the other to read (RFC 2920 §3.1).
const WINDOW: usize = 64;

/// A message up to this size goes as one chunk right behind its envelope (RFC 3030 §2, RFC 2920), before it is known whether
/// anybody gets it: that costs less than to wait.
const UNASKED: u64 = 16 * 1024;

/// What is sent, apart from its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// MAIL.
    pub mail: Mail,
    /// RCPT, at least one.
    pub recipients: Vec<Rcpt>,
}

/// What the owner gave.
pub(super) enum Content {
    Piece(Bytes),
    Last(Bytes),
    End,
    Abandon,
}

/// A reply that is awaited.
enum Expect {
    Reset,
    Mail,
    Rcpt(usize),
    Data,
    Chunk,
    /// To the final dot or the last chunk.
    End,
}

/// What is said next.
enum Next {
    Reset,
    Mail,
    Rcpt(usize),
    /// DATA, or with BDAT nothing.
    Data,
    /// All commands were said; content when the server is ready for it.
    Content,
    /// Nothing more.
    Done,
}

pub(super) struct Transaction {
    envelope: Envelope,
    verdicts: Vec<Option<Verdict>>,
    awaited: VecDeque<Expect>,
    next: Next,
    content: Option<Content>,
    /// The owner has been asked for content.
    asked: bool,
    stuffer: Option<Stuffer>,
    chunking: bool,
    accepted: Vec<usize>,
    /// Everything up to the end of the message has been handed to the driver.
    end_sent: bool,
    /// The owner has been told that the next one may be begun.
    told_ahead: bool,
}

impl Transaction {
    pub(super) fn new(envelope: Envelope, client: &Client, needs_reset: bool) -> Self {
        let capabilities = &client.capabilities;
        let binary = envelope.mail.body == Body::BinaryMime;
        let impossible = match (&envelope.mail, capabilities.size) {
            (Mail { size: Some(size), .. }, Some(limit)) if limit > 0 && *size > limit => {
                Some(Failure::TooLarge(limit))
            }
            (Mail { utf8: true, .. }, _) if !capabilities.smtp_utf8 => Some(Failure::Unsupported("SMTPUTF8")),
            _ if binary && !(capabilities.binary_mime && capabilities.chunking) => {
                Some(Failure::Unsupported("BINARYMIME"))
            }
            (
                Mail {
                    body: Body::EightBitMime,
                    ..
                },
                _,
            ) if !capabilities.eight_bit_mime => Some(Failure::Unsupported("8BITMIME")),
            _ => None,
        };
        let most = capabilities
            .limits
            .rcpt_max
            .map_or(usize::MAX, |most| most as usize);
        let verdict = |at: usize| match &impossible {
            Some(failure) => Some(Verdict::Failed(failure.clone())),
            None => (at >= most).then_some(Verdict::Failed(Failure::TooManyRecipients)),
        };
        let verdicts: Vec<_> = (0..envelope.recipients.len()).map(verdict).collect();
        let next = match (verdicts.iter().all(Option::is_some), needs_reset) {
            (true, _) => Next::Done,
            (false, true) => Next::Reset,
            (false, false) => Next::Mail,
        };
        Self {
            envelope,
            verdicts,
            awaited: VecDeque::new(),
            next,
            content: None,
            asked: false,
            stuffer: None,
            chunking: capabilities.chunking && (client.config.chunking || binary),
            accepted: Vec::new(),
            end_sent: false,
            told_ahead: false,
        }
    }

    fn goes_unasked(&self) -> bool {
        self.envelope.mail.size.is_some_and(|size| size <= UNASKED)
    }

    /// Nothing but the reply to the whole message is awaited.
    pub(super) fn may_be_followed(&self) -> bool {
        self.end_sent && matches!(self.awaited.front(), Some(Expect::End))
    }

    pub(super) fn give(&mut self, content: Content) {
        if self.asked && self.content.is_none() {
            self.content = Some(content);
        }
    }

    /// The verdicts when the connection fails now.
    pub(super) fn fail(self, failure: &Failure) -> Vec<Verdict> {
        let end_sent = self.end_sent;
        let missing = || {
            if end_sent {
                Verdict::Unknown(failure.clone())
            } else {
                Verdict::Failed(failure.clone())
            }
        };
        self.verdicts
            .into_iter()
            .map(|verdict| verdict.unwrap_or_else(missing))
            .collect()
    }

    /// Gives a verdict to everyone who has none.
    fn refuse_all(&mut self, reply: &Reply) {
        for verdict in self.verdicts.iter_mut().filter(|verdict| verdict.is_none()) {
            *verdict = Some(Verdict::Refused(reply.clone()));
        }
    }

    fn nobody_left(&self) -> bool {
        self.verdicts.iter().all(Option::is_some)
    }

    /// Takes the reply to the oldest command.
    fn replied(&mut self, expect: Expect, reply: Reply) {
        match expect {
            Expect::Rcpt(at) if reply.is_positive() => self.accepted.push(at),
            Expect::Rcpt(at) => {
                if let Some(verdict) = self.verdicts.get_mut(at).filter(|verdict| verdict.is_none()) {
                    *verdict = Some(Verdict::Refused(reply));
                }
            }
            Expect::Data if reply.is_intermediate() => self.stuffer = Some(Stuffer::default()),
            Expect::End if reply.is_positive() => {
                for at in self.accepted.drain(..) {
                    if let Some(verdict) = self.verdicts.get_mut(at).filter(|verdict| verdict.is_none()) {
                        *verdict = Some(Verdict::Delivered(reply.clone()));
                    }
                }
            }
            Expect::Reset | Expect::Mail | Expect::Chunk if reply.is_positive() => {}
            // Anything else is a refusal of the whole.
            Expect::Reset | Expect::Mail | Expect::Data | Expect::Chunk | Expect::End => {
                self.refuse_all(&reply)
            }
        }
    }

    /// Which reply's time-out counts now.
    fn time(&self, client: &Client) -> std::time::Duration {
        let timeouts = &client.config.timeouts;
        match self.awaited.front() {
            Some(Expect::Data) => timeouts.data,
            Some(Expect::End) => timeouts.end,
            _ => timeouts.command,
        }
    }
}

impl Client {
    /// Reads what has come, says what may be said, asks for what is missing.
    pub(super) fn transact(
        &mut self,
        mut transaction: Box<Transaction>,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Flow {
        while !transaction.awaited.is_empty() {
            let reply = match self.next_reply(input) {
                Ok(Some(reply)) => reply,
                Ok(None) => break,
                Err(failure) => return self.broken(transaction, failure),
            };
            let Some(expect) = transaction.awaited.pop_front() else {
                break;
            };
            match expect {
                // MAIL was said behind it by now, so a good reply says nothing about what is open.
                Expect::Reset => self.needs_reset |= !reply.is_positive(),
                // The server's transaction is over, whatever the reply (RFC 5321 §4.1.1.4); the next one may have begun.
                // Only a chunk that came for nobody may have left it open.
                Expect::End => {
                    let following = self.following.as_ref();
                    self.needs_reset = following.is_some_and(|following| !following.awaited.is_empty())
                        || (transaction.accepted.is_empty() && !reply.is_positive());
                }
                _ => {}
            }
            let closing = reply.code == 421;
            transaction.replied(expect, reply);
            if closing {
                // RFC 5321 §3.8: the server is closing; whatever is still awaited will not come.
                return self.broken(transaction, Failure::Closed);
            }
        }
        self.say_next(&mut transaction, output);
        self.give_content(transaction, output)
    }

    fn broken(&mut self, transaction: Box<Transaction>, failure: Failure) -> Flow {
        self.state = State::Transaction(transaction);
        self.fail(failure)
    }

    /// Says as many commands as may be outstanding.
    fn say_next(&mut self, transaction: &mut Transaction, output: &mut BytesMut) {
        let window = if self.capabilities.pipelining { WINDOW } else { 1 };
        while transaction.awaited.len() < window {
            let start = output.len();
            match transaction.next {
                Next::Reset => {
                    output.extend_from_slice(b"RSET\r\n");
                    self.needs_reset = false;
                    transaction.awaited.push_back(Expect::Reset);
                    transaction.next = Next::Mail;
                }
                // Nobody will get it, so nothing more is said about it.
                Next::Mail | Next::Rcpt(_) | Next::Data if transaction.nobody_left() => {
                    transaction.next = Next::Done;
                }
                Next::Mail => {
                    transaction.envelope.mail.encode(&self.capabilities, output);
                    self.needs_reset = true;
                    transaction.awaited.push_back(Expect::Mail);
                    transaction.next = Next::Rcpt(0);
                }
                Next::Rcpt(at) => match transaction.envelope.recipients.get(at) {
                    None => transaction.next = Next::Data,
                    Some(_) if transaction.verdicts.get(at).is_some_and(Option::is_some) => {
                        transaction.next = Next::Rcpt(at + 1);
                    }
                    Some(rcpt) => {
                        rcpt.encode(&self.capabilities, output);
                        transaction.awaited.push_back(Expect::Rcpt(at));
                        transaction.next = Next::Rcpt(at + 1);
                    }
                },
                // The first chunk of a large message goes only when somebody is known to want it.
                Next::Data
                    if transaction.chunking
                        && !transaction.awaited.is_empty()
                        && !transaction.goes_unasked() =>
                {
                    return;
                }
                Next::Data => {
                    if !transaction.chunking {
                        output.extend_from_slice(b"DATA\r\n");
                        transaction.awaited.push_back(Expect::Data);
                    }
                    transaction.next = Next::Content;
                }
                Next::Content | Next::Done => return,
            }
            self.show_sent(output, start);
        }
    }

    /// Sends content, or finds that there is nothing more to do.
    fn give_content(&mut self, mut transaction: Box<Transaction>, output: &mut BytesMut) -> Flow {
        if matches!(transaction.next, Next::Content) && transaction.nobody_left() {
            self.end_for_nobody(&mut transaction, output);
        }
        if matches!(transaction.next, Next::Done) && transaction.awaited.is_empty() {
            let verdicts = transaction.fail(&Failure::Closed);
            self.state = match self.following.take() {
                Some(following) => State::Transaction(following),
                None => State::Ready(false),
            };
            return Flow::Event(Event::Finished(Outcome { verdicts }));
        }
        let window = if self.capabilities.pipelining {
            WINDOW / 8
        } else {
            1
        };
        let wanted = matches!(transaction.next, Next::Content)
            && if transaction.chunking {
                transaction.awaited.len() < window
            } else {
                transaction.stuffer.is_some()
            };
        if !wanted {
            let time = transaction.time(self);
            if transaction.may_be_followed() && self.capabilities.pipelining {
                if !std::mem::replace(&mut transaction.told_ahead, true) {
                    self.state = State::Transaction(transaction);
                    return Flow::Event(Event::Ahead);
                }
                if let Some(mut following) = self.following.take() {
                    self.say_next(&mut following, output);
                    self.following = Some(following);
                }
            }
            self.state = State::Transaction(transaction);
            return Flow::NeedInput(time);
        }
        match transaction.content.take() {
            None => {
                let asked = std::mem::replace(&mut transaction.asked, true);
                self.state = State::Transaction(transaction);
                if asked {
                    Flow::Waiting
                } else {
                    Flow::Event(Event::Content)
                }
            }
            Some(Content::Abandon) => self.broken(transaction, Failure::Abandoned),
            Some(Content::Piece(piece)) => {
                transaction.asked = false;
                self.piece(&mut transaction, &piece, output);
                self.state = State::Transaction(transaction);
                Flow::Again
            }
            Some(Content::Last(piece)) => {
                self.end_of_content(&mut transaction, &piece, output);
                self.state = State::Transaction(transaction);
                Flow::Again
            }
            Some(Content::End) => {
                self.end_of_content(&mut transaction, b"", output);
                self.state = State::Transaction(transaction);
                Flow::Again
            }
        }
    }

    fn piece(&mut self, transaction: &mut Transaction, piece: &[u8], output: &mut BytesMut) {
        match &mut transaction.stuffer {
            Some(stuffer) => stuffer.encode(piece, output),
            None if piece.is_empty() => {}
            None => {
                self.bdat(piece.len(), "", output);
                output.extend_from_slice(piece);
                transaction.awaited.push_back(Expect::Chunk);
            }
        }
        self.show_content(piece);
    }

    fn end_of_content(&mut self, transaction: &mut Transaction, piece: &[u8], output: &mut BytesMut) {
        match transaction.stuffer.take() {
            Some(mut stuffer) => {
                stuffer.encode(piece, output);
                stuffer.finish(output);
            }
            None => {
                self.bdat(piece.len(), " LAST", output);
                output.extend_from_slice(piece);
            }
        }
        if !piece.is_empty() {
            self.show_content(piece);
        }
        transaction.awaited.push_back(Expect::End);
        transaction.end_sent = true;
        transaction.next = Next::Done;
    }

    /// Nobody gets the message. When the server said 354 all the same, it is owed the end of a message (RFC 2920
    /// §3.1); one that is in the middle of chunks is told RSET before the next message.
    fn end_for_nobody(&mut self, transaction: &mut Transaction, output: &mut BytesMut) {
        let waits_for_354 = transaction
            .awaited
            .iter()
            .any(|expect| matches!(expect, Expect::Data));
        if let Some(stuffer) = transaction.stuffer.take() {
            stuffer.finish(output);
            transaction.awaited.push_back(Expect::End);
        } else if waits_for_354 {
            return;
        }
        transaction.next = Next::Done;
    }

    fn bdat(&mut self, size: usize, last: &str, output: &mut BytesMut) {
        let start = output.len();
        // Writing into BytesMut cannot fail: it grows.
        let _ = write!(output, "BDAT {size}{last}\r\n");
        self.show_sent(output, start);
    }
}
