//! DATA (RFC 5321 §4.1.1.4).

use bytes::BytesMut;

use super::config::{bare_line_end, too_large};
use super::event::{Aborted, Event, MessageEnd};
use super::session::{Flow, Question, Server, State};
use super::transaction::bad_sequence;
use crate::dot::{Unstuffed, Unstuffer};
use crate::mail::Body;
use crate::observe::Direction;
use crate::reply::{Enhanced, Reply};

/// A message coming in.
pub(super) struct Data {
    unstuffer: Unstuffer,
    size: u64,
    /// Why it will be refused at its end; what still comes is thrown away.
    refused: Option<Aborted>,
}

impl Data {
    /// Octets that have come.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

impl Server {
    pub(super) fn data(&mut self, argument: &str, input: &BytesMut, output: &mut BytesMut) -> Flow {
        let refusal = match &self.transaction {
            None => bad_sequence("say MAIL first"),
            Some(transaction) if transaction.failed || transaction.chunks.is_some() => {
                bad_sequence("this message comes with BDAT")
            }
            Some(transaction) if transaction.body == Body::BinaryMime => {
                bad_sequence("BINARYMIME comes with BDAT only")
            }
            Some(transaction) if transaction.recipients == 0 => {
                Reply::new(554, Enhanced(5, 5, 1), "no valid recipients")
            }
            Some(_) if !argument.is_empty() => Reply::new(501, Enhanced(5, 5, 4), "DATA has no argument"),
            // The client may not send content before it has read 354.
            Some(_) if !input.is_empty() => return self.out_of_step(output),
            Some(_) => {
                self.state = State::Asked(Question::Data, None);
                return Flow::Event(Event::Data);
            }
        };
        self.refuse(&refusal, output)
    }

    pub(super) fn data_answered(&mut self, reply: &Reply, input: &BytesMut, output: &mut BytesMut) -> Flow {
        if !reply.is_intermediate() {
            self.transaction = None;
            self.reply(reply, output);
            return Flow::Again;
        }
        if !input.is_empty() {
            return self.out_of_step(output);
        }
        self.reply(reply, output);
        self.state = State::Data(Data {
            unstuffer: Unstuffer::new(),
            size: 0,
            refused: None,
        });
        self.content_begins();
        self.progress();
        Flow::Again
    }

    /// Takes the next piece of the message.
    pub(super) fn content(&mut self, mut data: Data, input: &mut BytesMut, output: &mut BytesMut) -> Flow {
        let found = data.unstuffer.next(input);
        match found {
            Unstuffed::NeedInput => {
                self.state = State::Data(data);
                Flow::NeedInput
            }
            Unstuffed::End => {
                self.progress();
                self.message_ended(&data, output)
            }
            Unstuffed::BareLineEnd => {
                self.progress();
                let first = data.refused.replace(Aborted::BareLineEnd).is_none();
                self.state = State::Data(data);
                self.tell_refused(Aborted::BareLineEnd, first)
            }
            Unstuffed::Piece(piece) => {
                self.progress();
                data.size = data.size.saturating_add(piece.len() as u64);
                let first = data.refused.is_none();
                if first && data.size > self.config.limits.message_size {
                    data.refused = Some(Aborted::TooLarge);
                }
                let refused = data.refused;
                self.state = State::Data(data);
                match refused {
                    Some(why) => self.tell_refused(why, first),
                    None => {
                        if let Some(observer) = &mut self.observer {
                            observer.content(Direction::Received, &piece);
                        }
                        Flow::Event(Event::Chunk(piece))
                    }
                }
            }
        }
    }

    fn tell_refused(&mut self, why: Aborted, first: bool) -> Flow {
        if first {
            self.abort(why).map_or(Flow::Again, Flow::Event)
        } else {
            Flow::Again
        }
    }

    fn message_ended(&mut self, data: &Data, output: &mut BytesMut) -> Flow {
        let reply = match data.refused {
            None => {
                self.state = State::Asked(Question::MessageEnd, None);
                return Flow::Event(Event::MessageEnd(MessageEnd::new(
                    data.size,
                    data.unstuffer.facts,
                )));
            }
            Some(Aborted::TooLarge) => too_large(),
            Some(_) => bare_line_end(),
        };
        self.reply(&reply, output);
        Flow::Again
    }
}
