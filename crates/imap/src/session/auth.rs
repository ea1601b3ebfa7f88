//! STARTTLS, LOGIN, AUTHENTICATE (RFC 9051 §6.2).

use bytes::{BufMut, BytesMut};
use postrider_sasl::{Exchange, Mechanism, Step as Sasl, Verifier};
use postrider_wire::Step;

use super::Event;
use super::server::{Current, Effect, Phase, Session};
use crate::command::{Authenticate, Login, Tag};
use crate::frame::Frame;
use crate::response::{Code, Reply};

/// A line of an exchange; the longest of ours is a PLAIN response of three 1,024-octet fields, in base64.
const MAX_RESPONSE: usize = 8 << 10;

impl Session {
    /// The answer to [`Event::Verifier`]. When there is none for a temporary reason, [`Session::complete`] with NO instead.
    pub fn verifier(&mut self, output: &mut BytesMut, verifier: Verifier) {
        let exchange = self
            .current
            .as_mut()
            .and_then(|current| current.exchange.as_mut());
        if let (Phase::Answer, Some(exchange)) = (self.phase, exchange) {
            // `verifier` leads to a challenge or a failure, never to a question.
            let step = exchange.verifier(verifier);
            self.advance(step, output);
        }
    }

    pub(super) fn start_tls(&mut self, tag: Tag, output: &mut BytesMut) -> Option<Step<Event>> {
        if !self.config.starttls || self.secure {
            let why = if self.secure {
                "TLS is on already"
            } else {
                "TLS is not available"
            };
            self.bad(Some(tag), Reply::bad(why), output);
            return None;
        }
        self.current = Some(Box::new(Current::new(tag, Effect::None)));
        self.phase = Phase::Answer;
        self.complete(output, Reply::ok("Begin TLS negotiation now"));
        self.phase = Phase::StartTls;
        None
    }

    pub(super) fn login(&mut self, tag: Tag, login: Login, output: &mut BytesMut) -> Option<Step<Event>> {
        if !(self.secure || self.plaintext) {
            self.refuse_plaintext(tag, output);
            return None;
        }
        let Login { user, password } = login;
        self.begin(
            Current::new(tag, Effect::Authenticate),
            Event::Password { user, password },
        )
    }

    pub(super) fn authenticate(
        &mut self,
        tag: Tag,
        command: Authenticate,
        output: &mut BytesMut,
    ) -> Option<Step<Event>> {
        let offered = command.mechanism.parse::<Mechanism>().ok();
        let Some(mechanism) = offered.filter(|mechanism| self.config.mechanisms.contains(mechanism)) else {
            self.bad(
                Some(tag),
                Reply::no("mechanism is not supported").with(Code::Cannot),
                output,
            );
            return None;
        };
        if mechanism.is_plaintext() && !(self.secure || self.plaintext) {
            self.refuse_plaintext(tag, output);
            return None;
        }
        let initial = command.initial.as_ref().map(|secret| secret.expose());
        let (exchange, step) = Exchange::start(mechanism, initial);
        let mut current = Current::new(tag, Effect::Authenticate);
        current.exchange = Some(Box::new(exchange));
        self.current = Some(Box::new(current));
        self.advance(step, output)
    }

    /// A response line of the exchange.
    pub(super) fn sasl_input(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Option<Step<Event>> {
        let line = match self.framer.look(input, MAX_RESPONSE) {
            Frame::Incomplete => return Some(Step::NeedInput),
            Frame::Command(length) => self.take(input, length),
            Frame::Literal(_) | Frame::BareLineEnd(_) | Frame::TooLong => {
                self.phase = Phase::Answer;
                self.complete(output, Reply::bad("expected a line of base64"));
                self.skip_line(input);
                return None;
            }
        };
        self.phase = Phase::Answer;
        if &line[..] == b"*" {
            self.complete(output, Reply::bad("authentication cancelled"));
            return None;
        }
        let Some(response) = postrider_sasl::decode(&line) else {
            self.complete(output, Reply::bad("expected a line of base64"));
            return None;
        };
        let exchange = self
            .current
            .as_mut()
            .and_then(|current| current.exchange.as_mut());
        let step = exchange.map_or(Sasl::Failed, |exchange| exchange.response(&response));
        self.advance(step, output)
    }

    fn advance(&mut self, step: Sasl, output: &mut BytesMut) -> Option<Step<Event>> {
        self.phase = Phase::Answer;
        match step {
            Sasl::Challenge(challenge) => {
                output.put_slice(b"+ ");
                output.put_slice(postrider_sasl::encode(&challenge).as_bytes());
                output.put_slice(b"\r\n");
                self.phase = Phase::Sasl;
                self.deadline = None;
                None
            }
            Sasl::NeedPassword { user, password } => Some(Step::Event(Event::Password { user, password })),
            Sasl::NeedVerifier { user } => Some(Step::Event(Event::Verifier { user })),
            Sasl::Done { authzid } => Some(Step::Event(Event::Proved { user: authzid })),
            Sasl::Failed => {
                let reply = Reply::no("authentication failed").with(Code::AuthenticationFailed);
                self.complete(output, reply);
                None
            }
        }
    }

    fn refuse_plaintext(&mut self, tag: Tag, output: &mut BytesMut) {
        let reply = Reply::no("not without TLS: use STARTTLS").with(Code::PrivacyRequired);
        self.bad(Some(tag), reply, output);
    }
}
