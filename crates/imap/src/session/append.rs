//! APPEND: messages stream past, before the command is whole (RFC 9051 §6.3.12, RFC 3502, RFC 6855 §4).

use bytes::{Buf, BytesMut};
use postrider_wire::Step;

use super::server::{Current, Effect, Phase, Session, State};
use super::{AppendDone, Event};
use crate::command::append::{Head, is_append, parse_head, parse_mailbox};
use crate::command::{AppendMessage, Tag};
use crate::frame::{Frame, Framer, Literal};
use crate::parse::{Cursor, ParseError, Result};
use crate::response::{Code, Reply};

/// What the next message of the command needs of the ones before.
#[derive(Debug)]
pub(super) struct Progress {
    mailbox: String,
    /// Of the next message.
    index: u32,
    /// `UTF8 (` was opened: `)` must follow the message.
    open: bool,
}

impl Session {
    /// A literal is announced. When it is a message of APPEND, takes everything before it; `None` when it is not, and is to
    /// be buffered like any other.
    pub(super) fn append_start(
        &mut self,
        literal: Literal,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Option<Option<Step<Event>>> {
        if self.state == State::NotAuthenticated {
            return None;
        }
        let line = input.get(..literal.at)?;
        let tag = Tag::of(line)?;
        let mut cursor = Cursor::new(
            line.get(tag.as_bytes().len()..)?,
            self.enabled.syntax() == crate::response::Syntax::Utf8,
        );
        if !(cursor.eat(b' ') && is_append(&mut cursor)) {
            return None;
        }
        let parsed = match parse_mailbox(&mut cursor) {
            Ok(None) => return None,
            Ok(Some(mailbox)) => parse_head(&mut cursor).map(|head| (mailbox, head)),
            Err(error) => Err(error),
        };
        input.advance(literal.at);
        let mut current = Current::new(tag, Effect::None);
        match parsed {
            Ok((mailbox, head)) => {
                current.append = Some(Progress {
                    mailbox,
                    index: 0,
                    open: false,
                });
                Some(self.append_message(current, head, literal, output))
            }
            Err(error) => {
                self.refuse_command(current, error, Some(literal), output);
                Some(None)
            }
        }
    }

    /// The message's head is read; the input begins with the message.
    fn append_message(
        &mut self,
        mut current: Current,
        head: Head,
        literal: Literal,
        output: &mut BytesMut,
    ) -> Option<Step<Event>> {
        self.framer = Framer::default();
        self.deadline = None;
        let progress = current.append.as_mut()?;
        let index = progress.index;
        let mailbox = progress.mailbox.clone();
        progress.index = index.saturating_add(1);
        progress.open = head.utf8;
        let refusal = if literal.size > self.config.append_limit {
            Some(Reply::no("message is too big").with(Code::TooBig))
        } else if literal.size == 0 {
            // RFC 3502 §6.3.11: how a client cancels.
            Some(Reply::no("message is empty: nothing was appended"))
        } else {
            None
        };
        if let Some(reply) = refusal {
            self.phase = Phase::Command;
            self.bad(Some(current.tag), reply, output);
            self.skip_literal(literal, self.config.append_limit.saturating_mul(4), output);
            return aborted(index);
        }
        self.current = Some(Box::new(current));
        self.phase = Phase::AppendAnswer(literal);
        let crate::command::FlagList { flags, keywords } = head.flags;
        Some(Step::Event(Event::Append(AppendMessage {
            mailbox,
            index,
            flags,
            keywords,
            received: head.received,
            size: literal.size,
            literal8: literal.literal8,
        })))
    }

    pub(super) fn append_data(&mut self, left: u64, input: &mut BytesMut) -> Option<Step<Event>> {
        if left == 0 {
            self.phase = Phase::AppendTail;
            return None;
        }
        if input.is_empty() {
            return Some(Step::NeedInput);
        }
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let data = input.split_to(length).freeze();
        self.phase = Phase::AppendData {
            left: left - length as u64,
        };
        self.deadline = None;
        Some(Step::Event(Event::AppendData(data)))
    }

    /// The end of the command, or a further message.
    pub(super) fn append_tail(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Option<Step<Event>> {
        let (limit, _) = self.limits();
        let (line, literal) = match self.framer.look(input, limit) {
            Frame::Incomplete => return Some(Step::NeedInput),
            Frame::Command(length) => (self.take(input, length), None),
            Frame::Literal(literal) => {
                let line = input.split_to(literal.at.min(input.len()));
                (line, Some(literal))
            }
            Frame::BareLineEnd(length) => (input.split_to(length.min(input.len())), None),
            Frame::TooLong => {
                self.phase = Phase::Command;
                let tag = self.current.take().map(|current| current.tag);
                self.bad(tag, Reply::bad("line is too long").with(Code::TooBig), output);
                self.skip_line(input);
                return Some(Step::Event(Event::AppendEnd(AppendDone::Aborted)));
            }
        };
        self.framer = Framer::default();
        let Some(current) = self.current.take() else {
            self.phase = Phase::Closed;
            return None;
        };
        let mut cursor = Cursor::new(&line, false);
        match (self.tail(&mut cursor, &current, literal.is_some()), literal) {
            (Ok(Some(head)), Some(literal)) => self.append_message(*current, head, literal, output),
            (Ok(_), _) => self.begin(*current, Event::AppendEnd(AppendDone::Complete)),
            (Err(error), literal) => {
                self.refuse_command(*current, error, literal, output);
                Some(Step::Event(Event::AppendEnd(AppendDone::Aborted)))
            }
        }
    }

    fn tail(&self, cursor: &mut Cursor<'_>, current: &Current, literal: bool) -> Result<Option<Head>> {
        if current.append.as_ref().is_some_and(|progress| progress.open) {
            cursor.expect(b')', "a closing parenthesis")?;
        }
        if literal {
            parse_head(cursor).map(Some)
        } else {
            cursor.end().map(|()| None)
        }
    }

    /// Bad syntax around a message; the input begins with the literal, if there is one.
    fn refuse_command(
        &mut self,
        current: Current,
        error: ParseError,
        literal: Option<Literal>,
        output: &mut BytesMut,
    ) {
        self.framer = Framer::default();
        self.phase = Phase::Command;
        self.bad_syntax(Some(current.tag), error, output);
        if let Some(literal) = literal {
            self.skip_literal(literal, self.config.append_limit.saturating_mul(4), output);
        }
    }
}

/// The owner forgets the messages that came before.
fn aborted(index: u32) -> Option<Step<Event>> {
    (index > 0).then_some(Step::Event(Event::AppendEnd(AppendDone::Aborted)))
}
