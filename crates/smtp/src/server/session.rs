//! The session: from the greeting to the end.
//!
//! ```text
//! Greeting ─▶ Command ◀─────────────────────────────────────┐
//!               │  MAIL, RCPT ─▶ Asked ─(answer)────────────┤
//!               │  DATA ─▶ Asked ─354─▶ Data ─lone dot─▶ Asked
//!               │  BDAT ─▶ [Asked] ─▶ Chunk ─(LAST)─▶ Asked ┤
//!               │  AUTH ─▶ Auth ⇄ (client, owner) ──────────┤
//!               │  STARTTLS ─▶ StartTls ─(handshake)────────┘
//!               └─ QUIT, time-out, too many errors ─▶ Closed
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postrider_sasl::Verifier;
use postrider_wire::{LineError, Session, Step, take_line};

use super::authentication::Authentication;
use super::chunking::Chunk;
use super::config::Config;
use super::data::Data;
use super::event::{Aborted, Event, PasswordCheck};
use super::hello::Hello;
use super::transaction::Transaction;
use crate::observe::{Direction, Observer, show};
use crate::reply::{Enhanced, Reply};

/// Room for the parameters of MAIL and RCPT beyond the basic command line: SIZE 26, BODY 17, SMTPUTF8 10, RET and
/// ENVID 118, AUTH 506 octets; NOTIFY and ORCPT 536 (RFC 1870, 6152, 6531, 3461, 4954).
const PARAMETER_ROOM: usize = 1024;
/// RFC 4954 §4: a line of an authentication exchange.
const AUTH_LINE: usize = 12_288;

/// One connection, seen from the server.
pub struct Server {
    pub(super) config: Arc<Config>,
    pub(super) state: State,
    pub(super) peer: Peer,
    pub(super) transaction: Option<Transaction>,
    pub(super) counts: Counts,
    clock: Clock,
    ending: Ending,
    pub(super) observer: Option<Box<dyn Observer>>,
}

pub(super) enum State {
    Greeting,
    Command,
    /// An over-long command line is thrown away up to its end.
    SkipLine,
    /// The owner's answer is outstanding, or given and not yet acted on.
    Asked(Question, Option<Reply>),
    Auth(Authentication),
    Data(Data),
    Chunk(Chunk),
    StartTls,
    Closed,
}

/// What the owner was asked.
pub(super) enum Question {
    Mail(Transaction),
    Rcpt,
    Data,
    /// The first BDAT: the chunk that waits.
    FirstChunk(crate::bdat::Bdat),
    MessageEnd,
}

/// What is known of the other side.
#[derive(Default)]
pub(super) struct Peer {
    pub hello: Option<Hello>,
    pub user: Option<String>,
    pub tls: bool,
    pub plaintext_auth: bool,
}

#[derive(Default)]
pub(super) struct Counts {
    pub errors: u32,
    pub auth_failures: u32,
    pub transactions: u32,
}

#[derive(Default)]
struct Clock {
    deadline: Option<Instant>,
    /// Something was used since the deadline was set.
    progress: bool,
    /// When the message that is coming was first waited for.
    content: Option<Instant>,
}

#[derive(Default)]
struct Ending {
    draining: bool,
    input_closed: bool,
}

/// What a state has come to.
pub(super) enum Flow {
    /// Look at the state again.
    Again,
    /// Tell the owner.
    Event(Event),
    NeedInput,
    Waiting,
}

impl Server {
    /// A connection that has just been accepted. `plaintext_auth`: mechanisms that send the password may be used
    /// even without TLS.
    pub fn new(config: Arc<Config>, plaintext_auth: bool) -> Self {
        Self {
            config,
            state: State::Greeting,
            peer: Peer {
                plaintext_auth,
                ..Peer::default()
            },
            transaction: None,
            counts: Counts::default(),
            clock: Clock {
                progress: true,
                ..Clock::default()
            },
            ending: Ending::default(),
            observer: None,
        }
    }

    /// Shows every line from now on to `observer`.
    pub fn observe(&mut self, observer: Box<dyn Observer>) {
        self.observer = Some(observer);
    }

    /// Answers [`Event::Mail`], [`Event::Rcpt`], [`Event::Data`] or [`Event::MessageEnd`]; ignored when nothing was
    /// asked.
    pub fn answer(&mut self, reply: Reply) {
        if let State::Asked(_, answer) = &mut self.state {
            *answer = Some(reply);
        }
    }

    /// Answers [`Event::Password`].
    pub fn password_checked(&mut self, check: PasswordCheck) {
        if let State::Auth(authentication) = &mut self.state {
            authentication.password_checked(check);
        }
    }

    /// Answers [`Event::Verifier`]; `None`: nobody can say now.
    pub fn verifier(&mut self, verifier: Option<Verifier>) {
        if let State::Auth(authentication) = &mut self.state {
            authentication.verifier(verifier);
        }
    }

    /// Ends the connection with 421 as soon as no transaction is open.
    pub fn drain(&mut self) {
        self.ending.draining = true;
    }

    /// The name the client gave with EHLO or HELO.
    pub fn hello(&self) -> Option<&str> {
        self.peer.hello.as_ref().map(|hello| hello.name.as_str())
    }

    /// Whom the client has proved to be.
    pub fn user(&self) -> Option<&str> {
        self.peer.user.as_deref()
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.peer.tls
    }

    /// Whether the client said EHLO, not HELO.
    pub fn is_extended(&self) -> bool {
        self.peer.hello.as_ref().is_some_and(|hello| hello.extended)
    }

    /// Writes a reply.
    pub(super) fn reply(&mut self, reply: &Reply, output: &mut BytesMut) {
        let start = output.len();
        reply.encode(self.is_extended(), output);
        show(
            &mut self.observer,
            Direction::Sent,
            output.get(start..).unwrap_or_default(),
        );
    }

    /// Refuses a command for its syntax, order or name. Too many of them end the connection.
    pub(super) fn refuse(&mut self, reply: &Reply, output: &mut BytesMut) -> Flow {
        self.counts.errors += 1;
        self.reply(reply, output);
        if self.counts.errors > self.config.limits.errors {
            return self.close(&Reply::new(421, Enhanced(4, 7, 0), "too many errors"), output);
        }
        self.state = State::Command;
        Flow::Again
    }

    /// Says a last word and closes.
    pub(super) fn close(&mut self, reply: &Reply, output: &mut BytesMut) -> Flow {
        self.reply(reply, output);
        self.state = State::Closed;
        self.abort(Aborted::Disconnected).map_or(Flow::Again, Flow::Event)
    }

    /// Drops the transaction; the event that says so, if there was one.
    pub(super) fn abort(&mut self, why: Aborted) -> Option<Event> {
        self.transaction
            .take()
            .filter(|transaction| !transaction.failed)
            .map(|_| Event::Aborted(why))
    }

    /// The client must wait for the reply to this command, so what it already sent behind it is out of step. It is
    /// not looked at: half of it may be content, and content must never be taken for commands.
    pub(super) fn out_of_step(&mut self, output: &mut BytesMut) -> Flow {
        let reply = Reply::new(
            503,
            Enhanced(5, 5, 0),
            "improper pipelining: wait for the reply to this command",
        );
        self.close(&reply, output)
    }

    fn greet(&mut self, output: &mut BytesMut) -> Flow {
        let greeting = Reply::plain(220, format!("{} ESMTP Postrider", self.config.hostname));
        self.reply(&greeting, output);
        self.state = State::Command;
        Flow::Again
    }

    fn command(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Flow {
        if self.ending.draining && self.transaction.is_none() {
            let text = format!("{} is shutting down, try again", self.config.hostname);
            return self.close(&Reply::new(421, Enhanced(4, 3, 2), text), output);
        }
        match take_line(input, self.line_limit(input)) {
            Ok(None) => Flow::NeedInput,
            Ok(Some(line)) => {
                self.clock.progress = true;
                self.dispatch(&line, input, output)
            }
            Err(LineError::TooLong(_)) => {
                self.state = State::SkipLine;
                Flow::Again
            }
            Err(LineError::BareLineEnd) => self.bare_line_end(output),
        }
    }

    /// Whoever sends bare CR or LF in commands may be passing on what somebody else wrote; nothing behind it is obeyed.
    pub(super) fn bare_line_end(&mut self, output: &mut BytesMut) -> Flow {
        let reply = Reply::new(500, Enhanced(5, 5, 2), "bare CR or LF: lines end with CRLF");
        self.close(&reply, output)
    }

    fn line_limit(&self, input: &[u8]) -> usize {
        let starts = |verb: &str| {
            input
                .get(..4)
                .is_some_and(|start| start.eq_ignore_ascii_case(verb.as_bytes()))
        };
        let basic = self.config.limits.command_line;
        if starts("MAIL") || starts("RCPT") {
            basic + PARAMETER_ROOM
        } else if starts("AUTH") {
            AUTH_LINE
        } else {
            basic
        }
    }

    fn dispatch(&mut self, line: &[u8], input: &mut BytesMut, output: &mut BytesMut) -> Flow {
        let Some(text) = std::str::from_utf8(line)
            .ok()
            .filter(|text| !text.chars().any(char::is_control))
        else {
            show(&mut self.observer, Direction::Received, line);
            return self.refuse(&Reply::new(500, Enhanced(5, 5, 2), "this is not text"), output);
        };
        let (verb, argument) = match text.split_once(' ') {
            Some((verb, argument)) => (verb, argument.trim_end_matches(' ')),
            None => (text, ""),
        };
        let verb = verb.to_ascii_uppercase();
        if verb == "AUTH" {
            super::authentication::show_command(&mut self.observer, argument);
        } else {
            show(&mut self.observer, Direction::Received, line);
        }
        match verb.as_str() {
            "EHLO" => self.ehlo(argument, input, output),
            "HELO" => self.helo(argument, input, output),
            "MAIL" => self.mail(argument, output),
            "RCPT" => self.rcpt(argument, output),
            "DATA" => self.data(argument, input, output),
            "BDAT" => self.bdat(argument, output),
            "RSET" => self.rset(output),
            "AUTH" => self.auth(argument, input, output),
            "STARTTLS" => self.starttls(argument, output),
            "NOOP" => self.noop(output),
            "VRFY" => self.vrfy(output),
            "HELP" => self.help(output),
            "QUIT" => self.quit(output),
            "EXPN" | "TURN" => self.not_implemented(output),
            _ => self.refuse(
                &Reply::new(500, Enhanced(5, 5, 1), "this command is not known here; try HELP"),
                output,
            ),
        }
    }

    fn skip_line(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Flow {
        match memchr::memchr(b'\n', input) {
            Some(at) => {
                bytes::Buf::advance(input, at + 1);
                self.clock.progress = true;
                self.refuse(
                    &Reply::new(500, Enhanced(5, 5, 6), "the line is too long"),
                    output,
                )
            }
            None => {
                input.clear();
                Flow::NeedInput
            }
        }
    }

    fn answered(
        &mut self,
        question: Question,
        reply: Reply,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Flow {
        match question {
            Question::Mail(transaction) => self.mail_answered(transaction, &reply, output),
            Question::Rcpt => self.rcpt_answered(&reply, output),
            Question::Data => self.data_answered(&reply, input, output),
            Question::FirstChunk(bdat) => self.first_chunk_answered(bdat, reply),
            Question::MessageEnd => {
                self.transaction = None;
                self.reply(&reply, output);
                self.state = State::Command;
                Flow::Again
            }
        }
    }

    /// Works on the current state, which is left at `Command` unless it says otherwise.
    fn advance(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Flow {
        match std::mem::replace(&mut self.state, State::Command) {
            State::Greeting => self.greet(output),
            State::Command => self.command(input, output),
            State::SkipLine => {
                self.state = State::SkipLine;
                self.skip_line(input, output)
            }
            State::Asked(question, Some(reply)) => self.answered(question, reply, input, output),
            State::Asked(question, None) => {
                self.state = State::Asked(question, None);
                Flow::Waiting
            }
            State::Auth(authentication) => self.authenticate(authentication, input, output),
            State::Data(data) => self.content(data, input, output),
            State::Chunk(chunk) => self.chunk(chunk, input, output),
            State::StartTls => {
                self.state = State::StartTls;
                Flow::NeedInput
            }
            State::Closed => {
                self.state = State::Closed;
                Flow::NeedInput
            }
        }
    }

    /// Takes one line of an authentication exchange.
    pub(super) fn auth_line(&mut self, input: &mut BytesMut) -> postrider_wire::Line {
        let line = take_line(input, AUTH_LINE);
        self.clock.progress |= matches!(line, Ok(Some(_)));
        line
    }

    pub(super) fn progress(&mut self) {
        self.clock.progress = true;
    }

    /// From now on what comes is a message's.
    pub(super) fn content_begins(&mut self) {
        self.clock.content = None;
    }

    /// Nothing more can be done without input.
    fn need_input(&mut self, now: Instant) -> Step<Event> {
        match self.state {
            State::Closed => return Step::Close,
            State::StartTls => return Step::StartTls,
            _ => {}
        }
        if self.ending.input_closed {
            self.state = State::Closed;
            return self.abort(Aborted::Disconnected).map_or(Step::Close, Step::Event);
        }
        if std::mem::take(&mut self.clock.progress) || self.clock.deadline.is_none() {
            self.clock.deadline = self.patience(now);
        }
        Step::NeedInput
    }

    /// Until when something has to come.
    fn patience(&mut self, now: Instant) -> Option<Instant> {
        let timeouts = &self.config.timeouts;
        let silence = match self.state {
            State::Data(_) | State::Chunk(_) => timeouts.data,
            _ => timeouts.command,
        };
        let silence = now.checked_add(silence);
        let Some(octets) = self.received() else {
            return silence;
        };
        let begun = *self.clock.content.get_or_insert(now);
        let whole = timeouts.data + Duration::from_secs(octets / timeouts.slowest.max(1));
        silence.min(begun.checked_add(whole))
    }

    /// Octets of the message that is coming.
    fn received(&self) -> Option<u64> {
        let chunks = || {
            let transaction = self.transaction.as_ref()?;
            transaction.chunks.as_ref().map(|(size, _)| *size)
        };
        match &self.state {
            State::Data(data) => Some(data.size()),
            State::Chunk(chunk) => Some(chunk.received(chunks())),
            _ => chunks(),
        }
    }
}

impl Session for Server {
    type Event = Event;

    /// More than the longest line, so that large messages are read in large pieces.
    const MAX_BUFFERED: usize = 16 * 1024;

    fn step(&mut self, now: Instant, input: &mut BytesMut, output: &mut BytesMut) -> Step<Event> {
        if self.clock.deadline.is_some_and(|deadline| now >= deadline) && !matches!(self.state, State::Closed)
        {
            self.clock.deadline = None;
            let text = format!("{} waited too long", self.config.hostname);
            if let Flow::Event(event) = self.close(&Reply::new(421, Enhanced(4, 4, 2), text), output) {
                return Step::Event(event);
            }
        }
        loop {
            match self.advance(input, output) {
                Flow::Again => {}
                Flow::Event(event) => {
                    self.clock.deadline = None;
                    return Step::Event(event);
                }
                Flow::NeedInput => return self.need_input(now),
                Flow::Waiting => {
                    self.clock.deadline = None;
                    return Step::Waiting;
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.clock.deadline
    }

    fn tls_started(&mut self) {
        self.peer.tls = true;
        // What was said in the clear may have been said by anybody (RFC 3207 §4.2).
        self.peer.hello = None;
        self.peer.user = None;
        self.transaction = None;
        if matches!(self.state, State::StartTls) {
            self.state = State::Command;
        }
        self.clock = Clock {
            progress: true,
            ..Clock::default()
        };
    }

    fn input_closed(&mut self) {
        self.ending.input_closed = true;
    }
}
