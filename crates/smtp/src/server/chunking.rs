//! BDAT (RFC 3030): a message in counted chunks.
//!
//! After a chunk was refused every further one is counted, thrown away and answered 503, until RSET.

use bytes::{Buf, BytesMut};

use super::config::{bare_line_end, too_large};
use super::event::{Aborted, Event, MessageEnd};
use super::session::{Flow, Question, Server, State};
use super::transaction::bad_sequence;
use crate::bdat::Bdat;
use crate::body::LineScan;
use crate::mail::Body;
use crate::observe::Direction;
use crate::reply::{Enhanced, Reply};

/// A chunk coming in.
pub(super) struct Chunk {
    bdat: Bdat,
    /// Octets still to come.
    remaining: u64,
    /// The octets are thrown away, and this is said at their end.
    refusal: Option<Reply>,
}

impl Chunk {
    /// Octets of the message that have come; `announced`: by all of its chunks, this one included. One that was refused counts alone.
    pub(super) fn received(&self, announced: Option<u64>) -> u64 {
        let announced = announced.unwrap_or(self.bdat.size);
        announced.saturating_sub(self.remaining)
    }
}

impl Server {
    pub(super) fn bdat(&mut self, argument: &str, output: &mut BytesMut) -> Flow {
        let bdat = match Bdat::parse(argument) {
            Ok(bdat) => bdat,
            // How many octets follow is not known, so nothing that follows can be understood.
            Err(reply) => return self.close(&reply, output),
        };
        let transaction = self.transaction.as_ref();
        if transaction.is_none_or(|transaction| transaction.chunks.is_none()) {
            self.content_begins();
        }
        let limit = self.config.limits.message_size;
        let refusal = match &mut self.transaction {
            None => Some(bad_sequence("say MAIL first")),
            Some(transaction) if transaction.failed => {
                Some(bad_sequence("an earlier chunk was refused; say RSET"))
            }
            Some(transaction) if transaction.recipients == 0 => {
                Some(Reply::new(554, Enhanced(5, 5, 1), "no valid recipients"))
            }
            Some(transaction) => match &mut transaction.chunks {
                None if bdat.size > limit => Some(too_large()),
                None => {
                    self.state = State::Asked(Question::FirstChunk(bdat), None);
                    return Flow::Event(Event::Data);
                }
                Some((size, _)) => {
                    *size = size.saturating_add(bdat.size);
                    (*size > limit).then(too_large)
                }
            },
        };
        let large = refusal.as_ref().is_some_and(|reply| reply.code == 552);
        self.state = State::Chunk(Chunk {
            bdat,
            remaining: bdat.size,
            refusal,
        });
        if large {
            self.fail(Aborted::TooLarge)
        } else {
            Flow::Again
        }
    }

    pub(super) fn first_chunk_answered(&mut self, bdat: Bdat, reply: Reply) -> Flow {
        let go_ahead = reply.is_intermediate();
        if let Some(transaction) = &mut self.transaction {
            transaction.chunks = Some((bdat.size, LineScan::default()));
            transaction.failed = !go_ahead;
        }
        let refusal = (!go_ahead).then_some(reply);
        self.state = State::Chunk(Chunk {
            bdat,
            remaining: bdat.size,
            refusal,
        });
        self.progress();
        Flow::Again
    }

    /// Takes the next octets of a chunk.
    pub(super) fn chunk(&mut self, mut chunk: Chunk, input: &mut BytesMut, output: &mut BytesMut) -> Flow {
        if chunk.remaining == 0 {
            return self.chunk_ended(chunk, output);
        }
        if input.is_empty() {
            self.state = State::Chunk(chunk);
            return Flow::NeedInput;
        }
        self.progress();
        let take = input
            .len()
            .min(usize::try_from(chunk.remaining).unwrap_or(usize::MAX));
        chunk.remaining -= take as u64;
        if chunk.refusal.is_some() {
            input.advance(take);
            self.state = State::Chunk(chunk);
            return Flow::Again;
        }
        let piece = input.split_to(take).freeze();
        if !self.scan_chunk(&piece) {
            chunk.refusal = Some(bare_line_end());
            self.state = State::Chunk(chunk);
            return self.fail(Aborted::BareLineEnd);
        }
        if let Some(observer) = &mut self.observer {
            observer.content(Direction::Received, &piece);
        }
        self.state = State::Chunk(chunk);
        Flow::Event(Event::Chunk(piece))
    }

    fn chunk_ended(&mut self, chunk: Chunk, output: &mut BytesMut) -> Flow {
        if let Some(refusal) = chunk.refusal {
            let aborted = if chunk.bdat.last {
                self.abort(Aborted::Reset)
            } else {
                None
            };
            self.reply(&refusal, output);
            return aborted.map_or(Flow::Again, Flow::Event);
        }
        if !chunk.bdat.last {
            let text = format!("{} octets received", chunk.bdat.size);
            self.reply(&Reply::new(250, Enhanced(2, 0, 0), text), output);
            return Flow::Again;
        }
        let Some((size, scan)) = self
            .transaction
            .as_mut()
            .and_then(|transaction| transaction.chunks.as_mut())
        else {
            return Flow::Again;
        };
        let end = MessageEnd::new(*size, scan.facts);
        if !scan.end() {
            let aborted = self.abort(Aborted::BareLineEnd);
            self.reply(&bare_line_end(), output);
            return aborted.map_or(Flow::Again, Flow::Event);
        }
        self.state = State::Asked(Question::MessageEnd, None);
        Flow::Event(Event::MessageEnd(end))
    }

    /// Follows the line ends; false at a bare one.
    fn scan_chunk(&mut self, piece: &[u8]) -> bool {
        let Some(transaction) = &mut self.transaction else {
            return true;
        };
        let Some((_, scan)) = &mut transaction.chunks else {
            return true;
        };
        if transaction.body == Body::BinaryMime {
            scan.binary_piece(piece);
            return true;
        }
        scan.piece(piece)
    }

    /// The message will not be taken; the owner hears of it once.
    fn fail(&mut self, why: Aborted) -> Flow {
        let told = self
            .transaction
            .as_mut()
            .is_none_or(|transaction| std::mem::replace(&mut transaction.failed, true));
        if told {
            Flow::Again
        } else {
            Flow::Event(Event::Aborted(why))
        }
    }
}
