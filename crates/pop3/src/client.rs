//! The client half: for the demonstration, the load generator and tests.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use postrider_sasl::{Client as SaslClient, decode, encode};
use postrider_types::Secret;
use postrider_wire::{LineError, Session, Step, take_line};

use crate::command::{Auth, Command};
use crate::stuffing::{Unstuffed, Unstuffer};

/// The longest line of a response with its CRLF: 512 octets (RFC 2449 §4), or a SASL challenge.
const RESPONSE_LINE: usize = 8192;

/// Silence after which the server is given up. Longer than a server needs for any one answer.
const SILENCE: Duration = Duration::from_secs(300);

/// What a client tells its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The answer to the oldest command that has none yet; the first one is the greeting. After `+OK` to a command that
    /// has a multi-line response, `Piece`s and `End` follow.
    Response(Response),
    /// A piece of a multi-line response, dots removed. Pieces end anywhere.
    Piece(Bytes),
    /// The end of a multi-line response.
    End,
    /// The server broke the protocol, went silent or closed: the session ends.
    Failed(ClientError),
}

/// Status and text of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// `+OK`, not `-ERR`.
    pub ok: bool,
    /// What follows, response code included.
    pub text: String,
}

/// Why a client gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A response that is none.
    #[error("the server sent something that is not a POP3 response")]
    Protocol,
    /// No answer for five minutes.
    #[error("the server does not answer")]
    Silent,
    /// The connection ended before the last answer.
    #[error("the server closed the connection")]
    Closed,
    /// The SASL exchange cannot go on.
    #[error("authentication: {0}")]
    Sasl(postrider_sasl::ClientError),
}

/// Who says a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The client.
    Sent,
    /// The server.
    Received,
}

/// Hears every line of a session but the lines of messages. Credentials are replaced by `****`.
pub trait Observer: Send {
    /// A command or the first line of a response, without its CRLF.
    fn line(&mut self, direction: Direction, line: &[u8]);
}

/// The client half. Commands may be given ahead of their answers (PIPELINING, RFC 2449 §6.6); behind STLS and AUTH
/// nothing is sent until they are answered.
pub struct Client {
    waiting: VecDeque<Waiting>,
    /// Commands not yet written, because STLS or AUTH is under way.
    held: VecDeque<Request>,
    reading: Reading,
    observer: Option<Box<dyn Observer>>,
    deadline: Option<Instant>,
    tls_answer: Option<Response>,
    input_closed: bool,
}

enum Request {
    Command(Command),
    Authenticate(Box<SaslClient>),
}

/// A response that has yet to come.
enum Waiting {
    Greeting,
    Line,
    MultiLine,
    /// With the first response, when it was too long to go with the command.
    Sasl(Box<SaslClient>, Option<Secret>),
    Stls,
    Quit,
}

impl Waiting {
    /// Whether nothing is sent before it has come.
    fn holds(&self) -> bool {
        !matches!(self, Waiting::Line | Waiting::MultiLine)
    }
}

enum Reading {
    Responses,
    Lines(Unstuffer),
    Over,
}

impl Client {
    /// A session that waits for the greeting.
    pub fn new() -> Self {
        Self {
            waiting: VecDeque::from([Waiting::Greeting]),
            held: VecDeque::new(),
            reading: Reading::Responses,
            observer: None,
            deadline: None,
            tls_answer: None,
            input_closed: false,
        }
    }

    /// Shows every line from now on to `observer`.
    pub fn observe(&mut self, observer: Box<dyn Observer>) {
        self.observer = Some(observer);
    }

    /// Sends a command. `AUTH` with a mechanism goes through [`Client::authenticate`].
    pub fn send(&mut self, command: Command) {
        self.held.push_back(Request::Command(command));
    }

    /// Logs in with a SASL mechanism: one response at its end.
    pub fn authenticate(&mut self, sasl: SaslClient) {
        self.held.push_back(Request::Authenticate(Box::new(sasl)));
    }

    /// Whether every command has its answer.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.held.is_empty() && matches!(self.reading, Reading::Responses)
    }

    /// Writes what may be written.
    fn write(&mut self, output: &mut BytesMut) {
        while !self.waiting.back().is_some_and(Waiting::holds) {
            let Some(request) = self.held.pop_front() else {
                return;
            };
            let waiting = match request {
                Request::Command(command) => {
                    self.say(&command.encode(), Some(&command.shown()), output);
                    match command {
                        Command::Stls => Waiting::Stls,
                        Command::Quit => Waiting::Quit,
                        Command::Capa
                        | Command::List(None)
                        | Command::Uidl(None)
                        | Command::Retr(_)
                        | Command::Top(..)
                        | Command::Auth(None) => Waiting::MultiLine,
                        _ => Waiting::Line,
                    }
                }
                Request::Authenticate(mut sasl) => {
                    let mechanism = sasl.mechanism();
                    let response = sasl.initial_response().map(Secret::new);
                    // One that would make the line too long for the server waits to be asked for (RFC 5034 §4).
                    let (initial_response, unsent) = match response {
                        Some(response) if response.expose().len() > 150 => (None, Some(response)),
                        response => (response, None),
                    };
                    let command = Command::Auth(Some(Auth {
                        mechanism,
                        initial_response,
                    }));
                    self.say(&command.encode(), Some(&command.shown()), output);
                    Waiting::Sasl(sasl, unsent)
                }
            };
            self.waiting.push_back(waiting);
        }
    }

    fn say(&mut self, line: &[u8], shown: Option<&str>, output: &mut BytesMut) {
        if let Some(observer) = &mut self.observer {
            observer.line(Direction::Sent, shown.map_or(line, str::as_bytes));
        }
        output.extend_from_slice(line);
        output.extend_from_slice(b"\r\n");
    }

    /// Acts on the first line of a response, or a challenge.
    fn response(&mut self, line: &[u8], output: &mut BytesMut) -> Option<Step<Event>> {
        if let Some(observer) = &mut self.observer {
            observer.line(Direction::Received, line);
        }
        if let Some(challenge) = line.strip_prefix(b"+ ").or((line == b"+").then_some(b"")) {
            return self.challenge(challenge, output);
        }
        let response = match Response::parse(line) {
            Some(response) => response,
            None => return Some(self.fail(ClientError::Protocol)),
        };
        match self.waiting.pop_front() {
            None => return Some(self.fail(ClientError::Protocol)),
            Some(Waiting::Greeting | Waiting::Line) => {}
            Some(Waiting::MultiLine) if response.ok => self.reading = Reading::Lines(Unstuffer::new()),
            Some(Waiting::MultiLine) => {}
            Some(Waiting::Sasl(sasl, _)) if response.ok && !sasl.is_complete() => {
                // Success without the server's own proof: somebody else may be speaking.
                return Some(self.fail(ClientError::Sasl(postrider_sasl::ClientError::Signature)));
            }
            Some(Waiting::Sasl(..)) => {}
            Some(Waiting::Stls) if response.ok => {
                self.tls_answer = Some(response);
                return Some(Step::StartTls);
            }
            Some(Waiting::Stls) => {}
            Some(Waiting::Quit) => self.reading = Reading::Over,
        }
        Some(Step::Event(Event::Response(response)))
    }

    fn challenge(&mut self, challenge: &[u8], output: &mut BytesMut) -> Option<Step<Event>> {
        let Some(Waiting::Sasl(sasl, unsent)) = self.waiting.front_mut() else {
            return Some(self.fail(ClientError::Protocol));
        };
        let Some(challenge) = decode(challenge) else {
            return Some(self.fail(ClientError::Protocol));
        };
        let response = match unsent.take() {
            Some(response) => Ok(response),
            None => sasl.respond(&challenge).map(Secret::new),
        };
        match response {
            Ok(response) => {
                self.say(encode(response.expose()).as_bytes(), Some("****"), output);
                None
            }
            Err(error) => Some(self.fail(ClientError::Sasl(error))),
        }
    }

    fn fail(&mut self, error: ClientError) -> Step<Event> {
        self.reading = Reading::Over;
        Step::Event(Event::Failed(error))
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Session for Client {
    type Event = Event;

    const MAX_BUFFERED: usize = 64 * 1024;

    fn step(&mut self, now: Instant, input: &mut BytesMut, output: &mut BytesMut) -> Step<Event> {
        if let Some(response) = self.tls_answer.take() {
            return Step::Event(Event::Response(response));
        }
        if !input.is_empty() || self.deadline.is_none() {
            self.deadline = Some(now + SILENCE);
        }
        loop {
            match &mut self.reading {
                Reading::Over => return Step::Close,
                Reading::Lines(unstuffer) => match unstuffer.next(input) {
                    Unstuffed::Piece(piece) => return Step::Event(Event::Piece(piece)),
                    Unstuffed::End => {
                        self.reading = Reading::Responses;
                        return Step::Event(Event::End);
                    }
                    Unstuffed::NeedInput => {}
                },
                Reading::Responses => {
                    self.write(output);
                    match take_line(input, RESPONSE_LINE) {
                        Ok(Some(line)) => match self.response(&line, output) {
                            Some(step) => return step,
                            None => continue,
                        },
                        Ok(None) => {}
                        Err(LineError::TooLong(_) | LineError::BareLineEnd) => {
                            return self.fail(ClientError::Protocol);
                        }
                    }
                }
            }
            if self.input_closed {
                return self.fail(ClientError::Closed);
            }
            if !self.is_idle() && self.deadline.is_some_and(|deadline| now >= deadline) {
                return self.fail(ClientError::Silent);
            }
            return Step::NeedInput;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.is_idle())
    }

    fn tls_started(&mut self) {}

    fn input_closed(&mut self) {
        self.input_closed = true;
    }
}

impl Response {
    fn parse(line: &[u8]) -> Option<Self> {
        let (ok, rest) = match line.strip_prefix(b"+OK") {
            Some(rest) => (true, rest),
            None => (false, line.strip_prefix(b"-ERR")?),
        };
        if !matches!(rest.first(), None | Some(b' ')) {
            return None;
        }
        Some(Self {
            ok,
            text: String::from_utf8_lossy(rest.trim_ascii()).into_owned(),
        })
    }

    /// The response code in brackets (RFC 2449 §8), upper case: `AUTH`, `IN-USE`, `SYS/TEMP`.
    pub fn code(&self) -> Option<String> {
        let (code, _) = self.text.strip_prefix('[')?.split_once(']')?;
        Some(code.to_ascii_uppercase())
    }
}
