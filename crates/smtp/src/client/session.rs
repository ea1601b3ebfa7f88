//! The session: one connection, seen from the client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use postrider_wire::{Session, Step};

use super::config::Config;
use super::handshake::Handshake;
use super::outcome::{Event, Failure, Outcome};
use super::transaction::{Content, Envelope, Transaction};
use crate::Capabilities;
use crate::observe::{Direction, Observer, show};
use crate::reply::{MAX_LINE, Reply, ReplyParser};

/// One connection, seen from the client.
pub struct Client {
    pub(super) config: Arc<Config>,
    pub(super) state: State,
    pub(super) capabilities: Capabilities,
    pub(super) tls: bool,
    /// A transaction is open on the server that has to be reset before the next one.
    pub(super) needs_reset: bool,
    /// Begun behind the transaction that is under way.
    pub(super) following: Option<Box<Transaction>>,
    /// The connection broke; the one that followed is still to hear of it.
    broken: Option<Failure>,
    transactions: u32,
    replies: ReplyParser,
    deadline: Option<Instant>,
    progress: bool,
    input_closed: bool,
    observer: Option<Box<dyn Observer>>,
}

pub(super) enum State {
    Handshake(Handshake),
    /// The owner's turn; true: it has been told.
    Ready(bool),
    Transaction(Box<Transaction>),
    /// QUIT is to be sent (false) or was sent (true).
    Quit(bool),
    Closed,
}

/// What a state has come to.
pub(super) enum Flow {
    Again,
    Event(Event),
    NeedInput(Duration),
    Waiting,
    StartTls,
}

impl Client {
    /// A connection that has just been made.
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            state: State::Handshake(Handshake::Greeting),
            capabilities: Capabilities::default(),
            tls: false,
            needs_reset: false,
            following: None,
            broken: None,
            transactions: 0,
            replies: ReplyParser::default(),
            deadline: None,
            progress: true,
            input_closed: false,
            observer: None,
        }
    }

    /// Shows every line from now on to `observer`.
    pub fn observe(&mut self, observer: Box<dyn Observer>) {
        self.observer = Some(observer);
    }

    /// Begins a transaction; only after [`Event::Ready`] or [`Event::Ahead`] (otherwise it is ignored). Parameters the server does not know
    /// are left out; what cannot be left out (a size beyond SIZE, SMTPUTF8, 8BITMIME) fails the recipients at once.
    pub fn send(&mut self, envelope: Envelope) {
        match &self.state {
            State::Ready(_) => {
                let first = Transaction::new(envelope, self, self.needs_reset);
                self.state = State::Transaction(Box::new(first));
            }
            State::Transaction(ahead) if ahead.may_be_followed() && self.following.is_none() => {
                self.following = Some(Box::new(Transaction::new(envelope, self, false)));
            }
            _ => return,
        }
        self.transactions += 1;
    }

    /// The next piece of the message, without dot-stuffing; after [`Event::Content`]. Pieces end anywhere; with BDAT each
    /// is a chunk, so small ones cost a command each.
    pub fn content(&mut self, piece: Bytes) {
        self.give(Content::Piece(piece));
    }

    /// The last piece, and with it the end; after [`Event::Content`]. With BDAT the piece is the last chunk, so a message of
    /// one piece is one command and one reply.
    pub fn last(&mut self, piece: Bytes) {
        self.give(Content::Last(piece));
    }

    /// The message is whole; after [`Event::Content`].
    pub fn end(&mut self) {
        self.give(Content::End);
    }

    /// Gives up in the middle of a message: the connection closes without the end of the message having been sent, so
    /// the server does not have it.
    pub fn abandon(&mut self) {
        self.give(Content::Abandon);
    }

    /// Says QUIT and closes; only after [`Event::Ready`] (otherwise it is ignored).
    pub fn quit(&mut self) {
        if matches!(self.state, State::Ready(_)) {
            self.state = State::Quit(false);
        }
    }

    /// What the server offers; empty before the first [`Event::Ready`].
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether the server's MAILMAX (RFC 9422) allows one more message on this connection.
    pub fn may_send_more(&self) -> bool {
        self.capabilities
            .limits
            .mail_max
            .is_none_or(|most| self.transactions < most)
    }

    fn give(&mut self, content: Content) {
        if let State::Transaction(transaction) = &mut self.state {
            transaction.give(content);
        }
    }

    /// Appends a command line and shows it, or `shown` in its place.
    pub(super) fn say(&mut self, line: &str, shown: Option<&str>, output: &mut BytesMut) {
        output.extend_from_slice(line.as_bytes());
        output.extend_from_slice(b"\r\n");
        if let Some(observer) = &mut self.observer {
            observer.line(Direction::Sent, shown.unwrap_or(line).as_bytes());
        }
    }

    /// Shows what was appended to the output since `start`.
    pub(super) fn show_sent(&mut self, output: &BytesMut, start: usize) {
        show(
            &mut self.observer,
            Direction::Sent,
            output.get(start..).unwrap_or_default(),
        );
    }

    /// Shows a piece of the message.
    pub(super) fn show_content(&mut self, piece: &[u8]) {
        if let Some(observer) = &mut self.observer {
            observer.content(Direction::Sent, piece);
        }
    }

    /// Takes the next whole reply off the input.
    pub(super) fn next_reply(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, Failure> {
        let observer = &mut self.observer;
        let mut progress = false;
        let reply = self.replies.next(input, |line| {
            progress = true;
            show(observer, Direction::Received, line);
        });
        self.progress |= progress;
        Ok(reply?)
    }

    /// The connection is of no use any more.
    pub(super) fn fail(&mut self, failure: Failure) -> Flow {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Transaction(transaction) => {
                if let Some(following) = self.following.take() {
                    self.state = State::Transaction(following);
                    self.broken = Some(Failure::Closed);
                }
                Flow::Event(Event::Finished(Outcome {
                    verdicts: transaction.fail(&failure),
                }))
            }
            State::Handshake(_) | State::Ready(_) => Flow::Event(Event::Failed(failure)),
            State::Quit(_) | State::Closed => Flow::Again,
        }
    }

    fn quitting(&mut self, said: bool, input: &mut BytesMut, output: &mut BytesMut) -> Flow {
        if !said {
            self.say("QUIT", None, output);
            self.state = State::Quit(true);
            self.progress = true;
            return Flow::Again;
        }
        match self.next_reply(input) {
            Ok(None) => {
                self.state = State::Quit(true);
                Flow::NeedInput(self.config.timeouts.quit)
            }
            // Whatever it says, this is the end.
            Ok(Some(_)) | Err(_) => Flow::Again,
        }
    }

    /// Works on the current state, which is left at `Closed` unless it says otherwise.
    fn advance(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Flow {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Handshake(handshake) => self.handshake(handshake, input, output),
            State::Ready(told) => {
                self.state = State::Ready(true);
                if told {
                    Flow::Waiting
                } else {
                    Flow::Event(Event::Ready)
                }
            }
            State::Transaction(transaction) => self.transact(transaction, input, output),
            State::Quit(said) => self.quitting(said, input, output),
            State::Closed => Flow::Waiting,
        }
    }
}

impl Session for Client {
    type Event = Event;

    const MAX_BUFFERED: usize = MAX_LINE;

    fn step(&mut self, now: Instant, input: &mut BytesMut, output: &mut BytesMut) -> Step<Event> {
        let failure = match self.deadline.take_if(|deadline| now >= *deadline) {
            Some(_) => Some(Failure::TimedOut),
            None if self.input_closed && matches!(self.state, State::Ready(_)) => Some(Failure::Closed),
            None => self.broken.take(),
        };
        if let Some(Flow::Event(event)) = failure.map(|failure| self.fail(failure)) {
            return Step::Event(event);
        }
        loop {
            let flow = self.advance(input, output);
            let time = match flow {
                Flow::Again if matches!(self.state, State::Closed) => return Step::Close,
                Flow::Waiting if matches!(self.state, State::Closed) => return Step::Close,
                Flow::Again => continue,
                Flow::NeedInput(_) if self.input_closed => match self.fail(Failure::Closed) {
                    Flow::Event(event) => return Step::Event(event),
                    _ => return Step::Close,
                },
                Flow::NeedInput(time) => time,
                Flow::Event(event) => {
                    self.deadline = None;
                    return Step::Event(event);
                }
                Flow::Waiting => {
                    self.deadline = None;
                    return Step::Waiting;
                }
                Flow::StartTls => return Step::StartTls,
            };
            if std::mem::take(&mut self.progress) || self.deadline.is_none() {
                self.deadline = now.checked_add(time);
            }
            return Step::NeedInput;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn tls_started(&mut self) {
        self.tls = true;
        // Nothing that was said in the clear counts (RFC 3207 §4.2).
        self.capabilities = Capabilities::default();
        if let State::Handshake(handshake) = &mut self.state {
            handshake.tls_started();
        }
        self.deadline = None;
        self.progress = true;
    }

    fn input_closed(&mut self) {
        self.input_closed = true;
    }
}
