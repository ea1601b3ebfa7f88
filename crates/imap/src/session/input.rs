//! Input: what each phase makes of the octets at the front of the buffer.

use std::time::Instant;

use bytes::{Buf, BufMut, BytesMut};
use postrider_wire::Step;

use super::server::{Current, Phase, Session, State};
use super::{Event, Limits};
use crate::command::Tag;
use crate::frame::{Frame, Framer, Literal, announced};
use crate::response::{Code, Reply, human};

/// A refused non-synchronising literal up to this size is read and thrown away; more is hopeless.
const DRAINED: u64 = 1 << 20;
/// Bad commands before authentication after which nobody honest is there.
const MAX_BAD: u8 = 20;
/// Octets that decide whether a line announces a literal: `~{` 20 digits `+}` CRLF.
const ANNOUNCEMENT: usize = 26;

impl postrider_wire::Session for Session {
    type Event = Event;

    const MAX_BUFFERED: usize = Limits::MAX.line + Limits::MAX.literals;

    fn step(&mut self, now: Instant, input: &mut BytesMut, output: &mut BytesMut) -> Step<Event> {
        loop {
            let step = match self.phase {
                Phase::Greeting => self.greet(output),
                Phase::Command if self.draining => self.shut_down(output),
                Phase::Command => self.command_input(input, output),
                Phase::Answer | Phase::AppendAnswer(_) => Some(Step::Waiting),
                Phase::Sasl if self.draining => self.shut_down(output),
                Phase::Sasl => self.sasl_input(input, output),
                Phase::AppendData { left } => self.append_data(left, input),
                Phase::AppendTail => self.append_tail(input, output),
                Phase::Idle if self.draining => self.shut_down(output),
                Phase::Idle => self.idle_input(input, output),
                Phase::Discard { left } => self.discard(left, input),
                Phase::StartTls => {
                    input.clear();
                    Some(Step::StartTls)
                }
                Phase::Closed => Some(Step::Close),
            };
            match step {
                None => {}
                Some(Step::NeedInput) if self.input_closed => self.phase = Phase::Closed,
                Some(Step::NeedInput) => match self.wait(now, output) {
                    Some(step) => return step,
                    None => continue,
                },
                Some(step) => return step,
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Answer | Phase::AppendAnswer(_) | Phase::StartTls | Phase::Closed => None,
            _ => self.deadline,
        }
    }

    fn tls_started(&mut self) {
        self.secure = true;
        if self.phase == Phase::StartTls {
            self.phase = Phase::Command;
            self.framer = Framer::default();
            self.deadline = None;
        }
    }

    fn input_closed(&mut self) {
        self.input_closed = true;
    }
}

impl Session {
    fn greet(&mut self, output: &mut BytesMut) -> Option<Step<Event>> {
        let preauthenticated = self.state == State::Authenticated;
        output.put_slice(if preauthenticated {
            b"* PREAUTH [CAPABILITY "
        } else {
            b"* OK [CAPABILITY "
        });
        self.put_capabilities(output);
        output.put_slice(b"] ");
        human(output, &self.config.hostname);
        output.put_slice(b" Postrider IMAP server ready\r\n");
        self.phase = Phase::Command;
        None
    }

    fn shut_down(&mut self, output: &mut BytesMut) -> Option<Step<Event>> {
        self.bye(
            output,
            Some(Code::Unavailable),
            "Server is shutting down, connect again",
        );
        None
    }

    /// Nothing more can be made of the input: arms the deadline, or acts on it.
    fn wait(&mut self, now: Instant, output: &mut BytesMut) -> Option<Step<Event>> {
        match self.deadline {
            Some(deadline) if deadline <= now => {
                self.bye(output, None, "Autologout; idle for too long");
                return None;
            }
            Some(_) => {}
            None => {
                let timeout = match self.state {
                    State::NotAuthenticated => self.config.login_timeout,
                    _ => self.config.idle_timeout,
                };
                self.deadline = now.checked_add(timeout);
            }
        }
        Some(Step::NeedInput)
    }

    /// The lines' and the literals' limit now.
    pub(super) fn limits(&self) -> (usize, usize) {
        let (limits, max) = (self.config.limits, Limits::MAX);
        match self.state {
            State::NotAuthenticated => (
                limits.line_before_login.min(max.line),
                limits.literals_before_login.min(max.literals),
            ),
            _ => (limits.line.min(max.line), limits.literals.min(max.literals)),
        }
    }

    fn command_input(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Option<Step<Event>> {
        let (lines, literals) = self.limits();
        match self.framer.look(input, lines) {
            Frame::Incomplete => Some(Step::NeedInput),
            Frame::Command(length) => {
                let command = self.take(input, length);
                self.dispatch(&command, output)
            }
            Frame::Literal(literal) => match self.append_start(literal, input, output) {
                Some(step) => step,
                None if literal.size <= literals.saturating_sub(self.framer.literals()) as u64 => {
                    self.framer.include(literal);
                    if literal.synchronising {
                        output.put_slice(b"+ Go ahead\r\n");
                    }
                    None
                }
                None => {
                    let tag = Tag::of(input);
                    input.advance(literal.at);
                    self.refuse_literal(tag, literal, "literal is too long", output);
                    None
                }
            },
            Frame::TooLong => {
                let tag = Tag::of(input);
                self.bad(tag, Reply::bad("line is too long").with(Code::TooBig), output);
                self.skip_line(input);
                None
            }
            Frame::BareLineEnd(length) => {
                let tag = Tag::of(input);
                input.advance(length);
                self.framer = Framer::default();
                self.bad(tag, Reply::bad("lines end with CRLF"), output);
                None
            }
        }
    }

    /// Takes a framed command and its CRLF.
    pub(super) fn take(&mut self, input: &mut BytesMut, length: usize) -> BytesMut {
        let command = input.split_to(length.min(input.len()));
        input.advance(2.min(input.len()));
        self.framer = Framer::default();
        self.deadline = None;
        command
    }

    /// Goes on behind the line that was found too long.
    pub(super) fn skip_line(&mut self, input: &mut BytesMut) {
        input.advance(self.framer.line_start().min(input.len()));
        self.framer = Framer::default();
        if self.phase != Phase::Closed {
            self.phase = Phase::Discard { left: 0 };
        }
    }

    /// Refuses a command for a literal it announces; the input begins with the literal.
    pub(super) fn refuse_literal(
        &mut self,
        tag: Option<Tag>,
        literal: Literal,
        why: &str,
        output: &mut BytesMut,
    ) {
        self.framer = Framer::default();
        self.deadline = None;
        self.phase = Phase::Command;
        self.bad(tag, Reply::bad(why).with(Code::TooBig), output);
        self.skip_literal(literal, DRAINED, output);
    }

    /// A command has been answered before its literal came: what to do about the literal.
    pub(super) fn skip_literal(&mut self, literal: Literal, drained: u64, output: &mut BytesMut) {
        if literal.synchronising || self.phase == Phase::Closed {
            return;
        }
        if literal.size > drained || (self.state == State::NotAuthenticated && literal.size > DRAINED / 16) {
            self.bye(output, Some(Code::TooBig), "Literal is far too long");
        } else {
            self.phase = Phase::Discard { left: literal.size };
        }
    }

    /// Answers BAD (or whatever the reply says); untagged when the tag could not be read.
    pub(super) fn bad(&mut self, tag: Option<Tag>, reply: Reply<'_>, output: &mut BytesMut) {
        output.put_slice(tag.as_ref().map_or(b"*".as_slice(), Tag::as_bytes));
        output.put_u8(b' ');
        reply.write(output);
        self.deadline = None;
        if self.state == State::NotAuthenticated {
            self.failed_command(output);
        }
    }

    fn failed_command(&mut self, output: &mut BytesMut) {
        // Failed authentications have their own, lower limit.
        self.failed(output, 1, MAX_BAD.max(self.config.max_failures));
    }

    fn idle_input(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Option<Step<Event>> {
        let (lines, _) = self.limits();
        let done = match self.framer.look(input, lines) {
            Frame::Incomplete => return Some(Step::NeedInput),
            Frame::Command(length) => self.take(input, length).eq_ignore_ascii_case(b"DONE"),
            Frame::Literal(Literal { at, .. }) | Frame::BareLineEnd(at) => {
                input.advance(at.min(input.len()));
                self.framer = Framer::default();
                self.deadline = None;
                false
            }
            Frame::TooLong => {
                self.bye(
                    output,
                    Some(Code::TooBig),
                    "Expected DONE, not a line without end",
                );
                return None;
            }
        };
        if let Some(current) = self.current.as_mut().filter(|_| !done) {
            current.effect = super::server::Effect::BrokenIdle;
        }
        self.phase = Phase::Answer;
        Some(Step::Event(Event::Done))
    }

    /// Throws away a literal, then the rest of the line, then any literal that line announces, and so on.
    fn discard(&mut self, left: u64, input: &mut BytesMut) -> Option<Step<Event>> {
        if left > 0 {
            let gone = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
            input.advance(gone);
            self.phase = Phase::Discard {
                left: left - gone as u64,
            };
            self.deadline = self.deadline.filter(|_| gone == 0);
            return input.is_empty().then_some(Step::NeedInput);
        }
        let Some(end) = memchr::memchr(b'\n', input) else {
            // Enough is kept to see an announcement at the end of the line.
            input.advance(input.len().saturating_sub(ANNOUNCEMENT));
            return Some(Step::NeedInput);
        };
        let line = input.split_to(end + 1);
        let line = line.strip_suffix(b"\r\n").unwrap_or(&line);
        self.deadline = None;
        self.phase = match announced(line) {
            // The command has been answered: a client that waits for a continuation sees that and sends no more.
            Some((size, false, _)) if size <= DRAINED => Phase::Discard { left: size },
            Some((_, false, _)) => Phase::Closed,
            _ => Phase::Command,
        };
        None
    }

    /// Begins to handle a command.
    pub(super) fn begin(&mut self, current: Current, event: Event) -> Option<Step<Event>> {
        self.current = Some(Box::new(current));
        self.phase = Phase::Answer;
        Some(Step::Event(event))
    }
}
