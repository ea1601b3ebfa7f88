//! The client's session.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use postrider_sasl::Client as Sasl;
use postrider_wire::Step;

use super::Response;
use super::response::is_status;
use crate::command::append::put_head;
use crate::command::writer::Writer;
use crate::command::{AppendMessage, Authenticate, Command};
use crate::frame::{Frame, Framer, Literal};
use crate::response::{Kind, Syntax};

/// One connection, from the client's side: give it commands, take responses.
///
/// Commands may be sent one after the other without waiting. What follows a synchronising literal is kept until the
/// server asks for it; with LITERAL+ (seen among the capabilities) there are none.
#[derive(Default)]
pub struct Client {
    framer: Framer,
    /// What is kept until a continuation.
    queue: VecDeque<Segment>,
    /// An authentication in progress.
    exchange: Option<(String, Sasl)>,
    /// The tag of a STARTTLS in progress.
    start_tls: Option<String>,
    next_tag: u32,
    literal_plus: bool,
    syntax: Syntax,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    over: Over,
}

/// Octets of a command. `waits`: not to be sent before a continuation.
struct Segment {
    tag: String,
    octets: Bytes,
    waits: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Over {
    #[default]
    No,
    TlsPending,
    InputClosed,
    Yes,
}

impl Client {
    /// A client that waits for ever.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client that closes after this long without a response (never while nothing is sent: give IDLE its own time).
    pub fn with_timeout(timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..Self::default()
        }
    }

    /// Sends a command (not APPEND, not AUTHENTICATE with an exchange) and returns its tag.
    pub fn send(&mut self, output: &mut BytesMut, command: &Command) -> String {
        let tag = self.tag();
        if *command == Command::StartTls {
            self.start_tls = Some(tag.clone());
        }
        self.enqueue(output, &tag, |writer| command.put(writer));
        tag
    }

    /// Sends one message (index and size of `message` are set here).
    pub fn append(&mut self, output: &mut BytesMut, mut message: AppendMessage, content: &[u8]) -> String {
        let tag = self.tag();
        message.index = 0;
        message.size = content.len() as u64;
        self.enqueue(output, &tag, |writer| {
            put_head(&message, writer);
            writer.out().put_slice(content);
        });
        tag
    }

    /// Authenticates, with the initial response in the command. An OK before the mechanism has had its say (SCRAM: before
    /// the server has proved itself) ends the connection and is not shown.
    pub fn authenticate(&mut self, output: &mut BytesMut, mut exchange: Sasl) -> String {
        let tag = self.tag();
        let command = Command::Authenticate(Authenticate {
            mechanism: exchange.mechanism().name().into(),
            initial: exchange.initial_response().map(postrider_types::Secret::new),
        });
        self.enqueue(output, &tag, |writer| command.put(writer));
        self.exchange = Some((tag.clone(), exchange));
        tag
    }

    /// Ends IDLE.
    pub fn done(&mut self, output: &mut BytesMut) {
        output.put_slice(b"DONE\r\n");
    }

    /// How strings are written: UTF-8 once the server has said that UTF8=ACCEPT or IMAP4rev2 is enabled.
    pub fn syntax(&self) -> Syntax {
        self.syntax
    }

    fn tag(&mut self) -> String {
        self.next_tag = self.next_tag.wrapping_add(1);
        format!("a{}", self.next_tag)
    }

    fn enqueue(&mut self, output: &mut BytesMut, tag: &str, put: impl FnOnce(&mut Writer<'_>)) {
        let mut octets = BytesMut::new();
        octets.put_slice(tag.as_bytes());
        octets.put_u8(b' ');
        let mut writer = Writer::new(&mut octets, self.syntax, self.literal_plus);
        put(&mut writer);
        let pauses = writer.into_pauses();
        octets.put_slice(b"\r\n");
        let mut octets = octets.freeze();
        let (mut sent, mut waits) = (0, false);
        for pause in pauses {
            let head = octets.split_to((pause - sent).min(octets.len()));
            sent = pause;
            self.queue.push_back(Segment {
                tag: tag.into(),
                octets: head,
                waits,
            });
            waits = true;
        }
        self.queue.push_back(Segment {
            tag: tag.into(),
            octets,
            waits,
        });
        self.flush(output);
    }

    /// Writes what need not wait.
    fn flush(&mut self, output: &mut BytesMut) {
        while let Some(segment) = self.queue.pop_front_if(|segment| !segment.waits) {
            output.put_slice(&segment.octets);
        }
    }

    /// Acts on what concerns the session itself; whether the owner is to see it.
    fn note(&mut self, response: &Response, output: &mut BytesMut) -> bool {
        if let Some(mut names) = response.capabilities() {
            self.literal_plus = names.any(|name| name.eq_ignore_ascii_case("LITERAL+"));
        }
        match response {
            Response::Continue(text) => return self.continued(text, output),
            Response::Status {
                tag: Some(tag), kind, ..
            } => {
                if self.start_tls.take_if(|start| start == tag).is_some() && *kind == Kind::Ok {
                    self.over = Over::TlsPending;
                    self.literal_plus = false;
                }
                if let Some((_, exchange)) = self.exchange.take_if(|(begun, _)| begun == tag)
                    && *kind == Kind::Ok
                    && !exchange.is_complete()
                {
                    self.over = Over::Yes;
                    return false;
                }
                // Completed before its literal was asked for: it was refused.
                self.queue.retain(|segment| segment.tag != *tag);
                self.flush(output);
            }
            Response::Status { kind: Kind::Bye, .. } => self.queue.clear(),
            Response::Data { name, values, .. } if name == "ENABLED" => {
                let utf8 = |name: &str| {
                    ["UTF8=ACCEPT", "IMAP4rev2"]
                        .iter()
                        .any(|known| known.eq_ignore_ascii_case(name))
                };
                if values.iter().filter_map(super::Value::as_atom).any(utf8) {
                    self.syntax = Syntax::Utf8;
                }
            }
            _ => {}
        }
        true
    }

    fn continued(&mut self, text: &str, output: &mut BytesMut) -> bool {
        if let Some((_, exchange)) = &mut self.exchange {
            let challenge = postrider_sasl::decode(text.as_bytes());
            match challenge.and_then(|challenge| exchange.respond(&challenge).ok()) {
                Some(response) => output.put_slice(postrider_sasl::encode(&response).as_bytes()),
                // RFC 9051 §6.2.2: how an exchange is cancelled.
                None => output.put_u8(b'*'),
            }
            output.put_slice(b"\r\n");
            return false;
        }
        match self.queue.front_mut() {
            Some(segment) => segment.waits = false,
            // IDLE has begun.
            None => return true,
        }
        self.flush(output);
        false
    }
}

impl postrider_wire::Session for Client {
    type Event = Response;

    /// The largest response: a whole message, fetched.
    const MAX_BUFFERED: usize = 64 << 20;

    fn step(&mut self, now: Instant, input: &mut BytesMut, output: &mut BytesMut) -> Step<Response> {
        loop {
            match self.over {
                Over::Yes => return Step::Close,
                Over::TlsPending => {
                    input.clear();
                    return Step::StartTls;
                }
                Over::No | Over::InputClosed => {}
            }
            let length = match self.framer.look(input, Self::MAX_BUFFERED) {
                Frame::Command(length) => length,
                Frame::Literal(Literal { at, .. }) if is_status(input) => at - 2,
                Frame::Literal(literal)
                    if literal.size <= (Self::MAX_BUFFERED - literal.at.min(Self::MAX_BUFFERED)) as u64 =>
                {
                    self.framer.include(literal);
                    continue;
                }
                Frame::Incomplete if self.over == Over::No => {
                    let expired = self.deadline.is_some_and(|deadline| deadline <= now);
                    if expired {
                        self.over = Over::Yes;
                        continue;
                    }
                    self.deadline = self.deadline.or_else(|| now.checked_add(self.timeout?));
                    return Step::NeedInput;
                }
                Frame::Incomplete | Frame::Literal(_) | Frame::TooLong | Frame::BareLineEnd(_) => {
                    self.over = Over::Yes;
                    continue;
                }
            };
            let line = input.split_to(length.min(input.len())).freeze();
            input.advance(2.min(input.len()));
            self.framer = Framer::default();
            self.deadline = None;
            match Response::parse(&line) {
                Ok(response) if self.note(&response, output) => return Step::Event(response),
                Ok(_) => {}
                Err(_) => self.over = Over::Yes,
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn tls_started(&mut self) {
        if self.over == Over::TlsPending {
            self.over = Over::No;
            self.framer = Framer::default();
        }
    }

    fn input_closed(&mut self) {
        if self.over == Over::No {
            self.over = Over::InputClosed;
        }
    }
}
