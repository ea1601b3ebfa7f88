//! MAIL, RCPT and RSET: the envelope (RFC 5321 §3.3).

use bytes::BytesMut;

use super::config::{AuthMode, too_large};
use super::event::{Aborted, Event};
use super::session::{Flow, Question, Server, State};
use crate::body::LineScan;
use crate::mail::{Body, Mail, body_not_offered};
use crate::rcpt::Rcpt;
use crate::reply::{Enhanced, Reply};

/// A transaction under way.
pub(super) struct Transaction {
    pub utf8: bool,
    pub body: Body,
    pub recipients: u32,
    /// BDAT has begun: octets so far, and what they were like.
    pub chunks: Option<(u64, LineScan)>,
    /// The owner has been told that it is over; the client has to say RSET before anything else (RFC 3030 §2).
    pub failed: bool,
}

impl Transaction {
    fn new(mail: &Mail) -> Self {
        Self {
            utf8: mail.utf8,
            body: mail.body,
            recipients: 0,
            chunks: None,
            failed: false,
        }
    }
}

/// 503: not now.
pub(super) fn bad_sequence(text: &'static str) -> Reply {
    Reply::new(503, Enhanced(5, 5, 1), text)
}

impl Server {
    pub(super) fn mail(&mut self, argument: &str, output: &mut BytesMut) -> Flow {
        if self.peer.hello.is_none() {
            return self.refuse(&bad_sequence("say HELO or EHLO first"), output);
        }
        if self.config.auth == AuthMode::Required && self.peer.user.is_none() {
            return self.refuse(
                &Reply::new(530, Enhanced(5, 7, 0), "authentication required"),
                output,
            );
        }
        if self.transaction.is_some() {
            return self.refuse(&bad_sequence("a transaction is open; RSET ends it"), output);
        }
        if self.counts.transactions >= self.config.limits.transactions {
            let reply = Reply::new(
                421,
                Enhanced(4, 7, 0),
                "too many messages on this connection; connect again",
            );
            return self.close(&reply, output);
        }
        let mail = match Mail::parse(argument) {
            Ok(mail) => mail,
            Err(reply) => return self.refuse(&reply, output),
        };
        if mail.body == Body::BinaryMime && !self.config.binary_mime {
            return self.refuse(&body_not_offered(), output);
        }
        if mail
            .size
            .is_some_and(|size| size > self.config.limits.message_size)
        {
            self.reply(&too_large(), output);
            return Flow::Again;
        }
        self.state = State::Asked(Question::Mail(Transaction::new(&mail)), None);
        Flow::Event(Event::Mail(mail))
    }

    pub(super) fn mail_answered(
        &mut self,
        transaction: Transaction,
        reply: &Reply,
        output: &mut BytesMut,
    ) -> Flow {
        if reply.is_positive() {
            self.counts.transactions += 1;
            self.transaction = Some(transaction);
        }
        self.reply(reply, output);
        Flow::Again
    }

    pub(super) fn rcpt(&mut self, argument: &str, output: &mut BytesMut) -> Flow {
        let (utf8, recipients) = match &self.transaction {
            Some(transaction) if transaction.chunks.is_none() && !transaction.failed => {
                (transaction.utf8, transaction.recipients)
            }
            Some(_) => return self.refuse(&bad_sequence("the message has begun"), output),
            None => return self.refuse(&bad_sequence("say MAIL first"), output),
        };
        let rcpt = match Rcpt::parse(argument, utf8) {
            Ok(rcpt) => rcpt,
            Err(reply) => return self.refuse(&reply, output),
        };
        if recipients >= self.config.limits.recipients {
            let reply = Reply::new(
                452,
                Enhanced(4, 5, 3),
                "too many recipients; send the rest with another message",
            );
            self.reply(&reply, output);
            return Flow::Again;
        }
        self.state = State::Asked(Question::Rcpt, None);
        Flow::Event(Event::Rcpt(rcpt))
    }

    pub(super) fn rcpt_answered(&mut self, reply: &Reply, output: &mut BytesMut) -> Flow {
        if let Some(transaction) = self.transaction.as_mut().filter(|_| reply.is_positive()) {
            transaction.recipients += 1;
        }
        self.reply(reply, output);
        Flow::Again
    }

    pub(super) fn rset(&mut self, output: &mut BytesMut) -> Flow {
        let aborted = self.abort(Aborted::Reset);
        self.reply(&Reply::new(250, Enhanced(2, 0, 0), "reset"), output);
        aborted.map_or(Flow::Again, Flow::Event)
    }
}
