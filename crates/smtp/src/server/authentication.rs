//! AUTH (RFC 4954): the exchange between client, mechanism and owner.

use bytes::BytesMut;
use postrider_sasl::{Exchange, Step, Verifier, decode, encode};
use postrider_wire::LineError;

use super::config::AuthMode;
use super::event::{Event, PasswordCheck};
use super::session::{Flow, Server, State};
use super::transaction::bad_sequence;
use crate::auth::{Auth, not_base64};
use crate::observe::{Direction, Observer};
use crate::reply::{Enhanced, Reply};

/// An exchange under way.
pub(super) struct Authentication {
    exchange: Exchange,
    next: Next,
}

/// Whose turn it is.
enum Next {
    Mechanism(Step),
    Client,
    Owner,
    Unavailable,
}

impl Authentication {
    pub(super) fn password_checked(&mut self, check: PasswordCheck) {
        if !matches!(self.next, Next::Owner) {
            return;
        }
        self.next = match check {
            PasswordCheck::Right => Next::Mechanism(self.exchange.password(true)),
            PasswordCheck::Wrong => Next::Mechanism(self.exchange.password(false)),
            PasswordCheck::Unavailable => Next::Unavailable,
        };
    }

    pub(super) fn verifier(&mut self, verifier: Option<Verifier>) {
        if !matches!(self.next, Next::Owner) {
            return;
        }
        self.next = match verifier {
            Some(verifier) => Next::Mechanism(self.exchange.verifier(verifier)),
            None => Next::Unavailable,
        };
    }
}

/// Shows the command without its initial response.
pub(super) fn show_command(observer: &mut Option<Box<dyn Observer>>, argument: &str) {
    if let Some(observer) = observer {
        let (mechanism, hidden) = match argument.split_once(' ') {
            Some((mechanism, _)) => (mechanism, " ****"),
            None => (argument, ""),
        };
        observer.line(
            Direction::Received,
            format!("AUTH {mechanism}{hidden}").as_bytes(),
        );
    }
}

impl Server {
    pub(super) fn auth(&mut self, argument: &str, input: &BytesMut, output: &mut BytesMut) -> Flow {
        if self.config.auth == AuthMode::Off {
            return self.refuse(
                &Reply::new(502, Enhanced(5, 5, 1), "authentication is not offered here"),
                output,
            );
        }
        if self.peer.hello.is_none() {
            return self.refuse(&bad_sequence("say EHLO first"), output);
        }
        if self.peer.user.is_some() {
            return self.refuse(&bad_sequence("already authenticated"), output);
        }
        if self.transaction.is_some() {
            return self.refuse(&bad_sequence("a transaction is open"), output);
        }
        let auth = match Auth::parse(argument) {
            Ok(auth) => auth,
            Err(reply) => return self.refuse(&reply, output),
        };
        if !self.offers(auth.mechanism) {
            let reply = Reply::new(
                538,
                Enhanced(5, 7, 11),
                "this mechanism needs encryption: say STARTTLS first",
            );
            return self.refuse(&reply, output);
        }
        if !input.is_empty() {
            return self.out_of_step(output);
        }
        let (exchange, step) = Exchange::start(auth.mechanism, auth.initial_response.as_deref());
        self.state = State::Auth(Authentication {
            exchange,
            next: Next::Mechanism(step),
        });
        Flow::Again
    }

    pub(super) fn authenticate(
        &mut self,
        mut authentication: Authentication,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Flow {
        match std::mem::replace(&mut authentication.next, Next::Owner) {
            Next::Mechanism(step) => self.auth_step(authentication, step, output),
            Next::Client => self.auth_response(authentication, input, output),
            Next::Owner => {
                self.state = State::Auth(authentication);
                Flow::Waiting
            }
            Next::Unavailable => {
                let text = "authentication is not possible at the moment";
                self.reply(&Reply::new(454, Enhanced(4, 7, 0), text), output);
                Flow::Again
            }
        }
    }

    fn auth_step(&mut self, mut authentication: Authentication, step: Step, output: &mut BytesMut) -> Flow {
        let event = match step {
            Step::Challenge(challenge) => {
                self.reply(&Reply::plain(334, encode(&challenge)), output);
                authentication.next = Next::Client;
                self.state = State::Auth(authentication);
                return Flow::Again;
            }
            Step::NeedPassword { user, password } => Event::Password { user, password },
            Step::NeedVerifier { user } => Event::Verifier { user },
            Step::Done { authzid } => {
                self.peer.user = Some(authzid.clone());
                self.reply(
                    &Reply::new(235, Enhanced(2, 7, 0), "authentication succeeded"),
                    output,
                );
                return Flow::Event(Event::Authenticated { user: authzid });
            }
            Step::Failed => return self.auth_failed(output),
        };
        self.state = State::Auth(authentication);
        Flow::Event(event)
    }

    fn auth_response(
        &mut self,
        mut authentication: Authentication,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Flow {
        let line = match self.auth_line(input) {
            Ok(Some(line)) => line,
            Ok(None) => {
                authentication.next = Next::Client;
                self.state = State::Auth(authentication);
                return Flow::NeedInput;
            }
            Err(LineError::TooLong(_)) => {
                self.state = State::SkipLine;
                return Flow::Again;
            }
            Err(LineError::BareLineEnd) => return self.bare_line_end(output),
        };
        let cancelled = &line[..] == b"*";
        if let Some(observer) = &mut self.observer {
            observer.line(Direction::Received, if cancelled { b"*" } else { b"****" });
        }
        if cancelled {
            return self.refuse(
                &Reply::new(501, Enhanced(5, 7, 0), "authentication cancelled"),
                output,
            );
        }
        let Some(response) = decode(&line) else {
            return self.refuse(&not_base64(), output);
        };
        let step = authentication.exchange.response(&response);
        self.auth_step(authentication, step, output)
    }

    fn auth_failed(&mut self, output: &mut BytesMut) -> Flow {
        self.counts.auth_failures += 1;
        self.reply(
            &Reply::new(535, Enhanced(5, 7, 8), "user name or password is wrong"),
            output,
        );
        if self.counts.auth_failures >= self.config.limits.auth_failures {
            let reply = Reply::new(421, Enhanced(4, 7, 0), "too many failed authentications");
            // No transaction is open here, so closing has nothing to say to the owner.
            self.close(&reply, output);
        }
        Flow::Event(Event::AuthenticationFailed)
    }
}
