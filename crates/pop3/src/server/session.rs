//! The session.
//!
//! ```text
//!               ┌───────────── STLS ─────────────┐
//!               ▼                                │
//! greeting ─▶ AUTHORIZATION ── USER PASS, AUTH ──┴─▶ TRANSACTION ── QUIT ─▶ UPDATE ─▶ closed
//!               │                                        │
//!               └── QUIT, silence, too many errors ──────┴── silence, too many errors ─▶ closed, nothing removed
//! ```

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use postrider_sasl::{Exchange, Verifier};
use postrider_wire::{LineError, Session, Step, take_line};

use super::maildrop::Marks;
use super::{Config, Event, Maildrop, Refusal};
use crate::command::{Command, CommandError};
use crate::stuffing::Stuffer;

/// The longest command line with its CRLF (RFC 2449 §4).
const COMMAND_LINE: usize = 255;

/// The longest line of a SASL exchange with its CRLF: twice what the longest user name and password need.
const AUTH_LINE: usize = 8192;

/// Output after which the session asks for a flush before it goes on.
const FLUSH_AT: usize = 32 * 1024;

/// The server half over a maildrop of type `M`.
#[derive(Debug)]
pub struct Server<M> {
    pub(super) config: Arc<Config>,
    pub(super) state: State<M>,
    /// What the owner was asked.
    pub(super) asked: Option<Asked>,
    /// What the owner answered.
    answer: Option<Answer<M>>,
    pub(super) tls: bool,
    /// A line over its limit is being thrown away.
    skipping: bool,
    drain: bool,
    input_closed: bool,
    errors: usize,
    auth_failures: usize,
    clock: Option<Clock>,
}

#[derive(Debug)]
pub(super) enum State<M> {
    Greeting,
    Authorization {
        user: Option<String>,
    },
    Sasl(Sasl),
    Transaction(Transaction<M>),
    /// What is in the output is all.
    Closing,
}

/// A SASL exchange.
#[derive(Debug)]
pub(super) struct Sasl {
    pub(super) exchange: Exchange,
    /// Whose verifier was fetched.
    pub(super) user: Option<String>,
}

#[derive(Debug)]
pub(super) struct Transaction<M> {
    pub(super) maildrop: M,
    /// Of all messages.
    pub(super) octets: u64,
    pub(super) marks: Marks,
    pub(super) listing: Option<Listing>,
}

/// A LIST or UIDL of all messages, under way.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) what: Column,
    pub(super) next: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    Size,
    UniqueId,
}

#[derive(Debug)]
pub(super) enum Asked {
    LogIn,
    Verifier,
    Message(Sending),
    Update,
}

/// A message on its way out.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) stuffer: Stuffer,
    /// Of the whole message; `None` when only its top is sent.
    pub(super) octets: Option<u64>,
}

#[derive(Debug)]
enum Answer<M> {
    Opened(M),
    Verifier(Verifier),
    /// The message is in the output already.
    Sent,
    Updated,
    NotUpdated(Refusal),
    Refused(Refusal),
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    began: Instant,
    active: Instant,
}

impl<M: Maildrop> Server<M> {
    /// A session that has yet to greet.
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            state: State::Greeting,
            asked: None,
            answer: None,
            tls: false,
            skipping: false,
            drain: false,
            input_closed: false,
            errors: 0,
            auth_failures: 0,
            clock: None,
        }
    }

    /// The maildrop is open: answers `LogIn` and `Open`.
    pub fn opened(&mut self, maildrop: M) {
        if matches!(self.asked, Some(Asked::LogIn)) {
            self.answered(Answer::Opened(maildrop));
        }
    }

    /// The user's verifier: answers `FetchVerifier`.
    pub fn verifier(&mut self, verifier: Verifier) {
        if matches!(self.asked, Some(Asked::Verifier)) {
            self.answered(Answer::Verifier(verifier));
        }
    }

    /// No: answers every event that has an answer.
    pub fn refused(&mut self, why: Refusal) {
        match self.asked {
            Some(Asked::Update) => self.answered(Answer::NotUpdated(why)),
            Some(_) => self.answered(Answer::Refused(why)),
            None => {}
        }
    }

    /// The first part of the answer to `Retrieve`: the message can be read.
    pub fn begin_message(&mut self, output: &mut BytesMut) {
        match &self.asked {
            Some(Asked::Message(Sending {
                octets: Some(octets), ..
            })) => say(output, &format!("+OK {octets} octets")),
            Some(Asked::Message(_)) => say(output, "+OK top of message follows"),
            _ => {}
        }
    }

    /// A piece of the message; whether more is wanted. Flush the output when it grows.
    pub fn write_message(&mut self, piece: &[u8], output: &mut BytesMut) -> bool {
        match &mut self.asked {
            Some(Asked::Message(sending)) => sending.stuffer.write(piece, output),
            _ => false,
        }
    }

    /// The last part of the answer to `Retrieve`.
    pub fn end_message(&mut self, output: &mut BytesMut) {
        if let Some(Asked::Message(sending)) = self.asked.take_if(|asked| matches!(asked, Asked::Message(_)))
        {
            sending.stuffer.finish(output);
            self.answer = Some(Answer::Sent);
        }
    }

    /// The marked messages are removed: answers `Update`.
    pub fn updated(&mut self) {
        if matches!(self.asked, Some(Asked::Update)) {
            self.answered(Answer::Updated);
        }
    }

    /// The node is shutting down: before login the session ends at once, afterwards when it is silent for a moment.
    pub fn drain(&mut self) {
        self.drain = true;
    }

    /// The open maildrop.
    pub fn maildrop(&self) -> Option<&M> {
        match &self.state {
            State::Transaction(transaction) => Some(&transaction.maildrop),
            _ => None,
        }
    }

    /// The messages marked as deleted, ascending.
    pub fn marked(&self) -> impl Iterator<Item = usize> {
        let marks = match &self.state {
            State::Transaction(transaction) => Some(transaction.marks.iter()),
            _ => None,
        };
        marks.into_iter().flatten()
    }

    /// How many messages are marked as deleted.
    pub fn marked_count(&self) -> usize {
        match &self.state {
            State::Transaction(transaction) => transaction.marks.count(),
            _ => 0,
        }
    }

    fn answered(&mut self, answer: Answer<M>) {
        self.asked = None;
        self.answer = Some(answer);
    }

    fn apply(&mut self, answer: Answer<M>, output: &mut BytesMut) -> Option<Step<Event>> {
        match answer {
            Answer::Opened(maildrop) => self.enter_transaction(maildrop, output),
            Answer::Verifier(verifier) => return self.go_on_with_verifier(verifier, output),
            Answer::Sent => {}
            Answer::Updated => {
                match self.marked_count() {
                    0 => say(output, "+OK POP3 server signing off"),
                    count => say(
                        output,
                        &format!("+OK POP3 server signing off, {count} messages deleted"),
                    ),
                }
                self.state = State::Closing;
            }
            Answer::NotUpdated(why) => {
                let what = if self.marked_count() > 0 {
                    "; no message was deleted"
                } else {
                    ""
                };
                say(output, &format!("{}{what}", why.line()));
                self.state = State::Closing;
            }
            Answer::Refused(why) => self.apply_refusal(why, output),
        }
        None
    }

    fn apply_refusal(&mut self, why: Refusal, output: &mut BytesMut) {
        say(output, &why.line());
        if let State::Sasl(_) = self.state {
            self.state = State::Authorization { user: None };
        }
        if why == Refusal::Credentials {
            self.auth_failures += 1;
            if self.auth_failures >= self.config.auth_failures {
                self.state = State::Closing;
            }
        }
    }

    /// Acts on a line in the state it is for.
    fn line(&mut self, line: &[u8], output: &mut BytesMut) -> Option<Step<Event>> {
        if let State::Sasl(_) = self.state {
            return self.sasl_line(line, output);
        }
        let command = match Command::parse(line) {
            Ok(command) => command,
            Err(error) => {
                self.command_error(error, output);
                return None;
            }
        };
        match self.state {
            State::Authorization { .. } => self.authorization(command, output),
            State::Transaction(_) => self.transaction(command, output),
            State::Greeting | State::Sasl(_) | State::Closing => None,
        }
    }

    fn command_error(&mut self, error: CommandError, output: &mut BytesMut) {
        self.error(output, &format!("-ERR {error}"));
    }

    /// Answers a command that failed by the client's fault.
    pub(super) fn error(&mut self, output: &mut BytesMut, line: &str) {
        self.errors += 1;
        if self.errors < self.config.errors {
            say(output, line);
        } else {
            say(output, &format!("{line}; too many errors, goodbye"));
            self.state = State::Closing;
        }
    }

    /// Takes the next line; `None` when it is not complete.
    fn next_line(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Option<bytes::Bytes> {
        loop {
            if self.skipping {
                let end = memchr::memchr(b'\n', input);
                input.advance(end.map_or(input.len(), |at| at + 1));
                end?;
                self.skipping = false;
                self.error(output, "-ERR line too long");
                if matches!(self.state, State::Closing) {
                    return None;
                }
            }
            let is_auth = matches!(self.state, State::Sasl(_))
                || input
                    .get(..5)
                    .is_some_and(|start| start.eq_ignore_ascii_case(b"AUTH "));
            match take_line(input, if is_auth { AUTH_LINE } else { COMMAND_LINE }) {
                Ok(line) => return line,
                Err(LineError::TooLong(_)) => self.skipping = true,
                Err(LineError::BareLineEnd) => {
                    self.error(output, "-ERR lines end with CR LF");
                    if matches!(self.state, State::Closing) {
                        return None;
                    }
                }
            }
        }
    }

    fn silence_allowed(&self) -> std::time::Duration {
        if self.drain {
            self.config.drain_idle
        } else {
            self.config.idle
        }
    }

    /// Begins: the clock and the greeting.
    fn greet(&mut self, now: Instant, output: &mut BytesMut) {
        self.clock = Some(Clock {
            began: now,
            active: now,
        });
        // Without `<…>`, which would offer APOP.
        say(output, &format!("+OK {} POP3 server ready", self.config.hostname));
        self.state = State::Authorization { user: None };
    }

    fn touch(&mut self, now: Instant) {
        if let Some(clock) = &mut self.clock {
            clock.active = now;
        }
    }
}

impl<M: Maildrop> Session for Server<M> {
    type Event = Event;

    const MAX_BUFFERED: usize = AUTH_LINE;

    fn step(&mut self, now: Instant, input: &mut BytesMut, output: &mut BytesMut) -> Step<Event> {
        if let State::Greeting = self.state {
            self.greet(now, output);
        }
        if self.asked.is_some() {
            return Step::Waiting;
        }
        if let Some(answer) = self.answer.take() {
            self.touch(now);
            if let Some(step) = self.apply(answer, output) {
                return step;
            }
        }
        loop {
            if let State::Closing = self.state {
                return Step::Close;
            }
            if output.len() >= FLUSH_AT {
                return Step::Event(Event::Flush);
            }
            if self.list_on(output) {
                continue;
            }
            match self.next_line(input, output) {
                Some(line) => {
                    self.touch(now);
                    if let Some(step) = self.line(&line, output) {
                        return step;
                    }
                }
                None if matches!(self.state, State::Closing) => {}
                None => {
                    let late = self.deadline().is_some_and(|deadline| now >= deadline);
                    // RFC 1939 §3: silence ends the session without a response, and nothing is removed.
                    if late || self.input_closed || (self.drain && self.maildrop().is_none()) {
                        self.state = State::Closing;
                        return Step::Close;
                    }
                    return Step::NeedInput;
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let clock = self.clock.filter(|_| self.asked.is_none())?;
        let silence = clock.active + self.silence_allowed();
        match self.state {
            State::Transaction(_) => Some(silence),
            State::Closing => None,
            _ => Some(silence.min(clock.began + self.config.login)),
        }
    }

    fn tls_started(&mut self) {
        // RFC 2595 §4: what was said before counts no more.
        self.tls = true;
        if !matches!(self.state, State::Greeting) {
            self.state = State::Authorization { user: None };
        }
    }

    fn input_closed(&mut self) {
        self.input_closed = true;
    }
}

/// Appends a line.
pub(super) fn say(output: &mut BytesMut, line: &str) {
    output.extend_from_slice(line.as_bytes());
    output.extend_from_slice(b"\r\n");
}
