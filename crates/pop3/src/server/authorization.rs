//! The AUTHORIZATION state: who the client is (RFC 1939 §4, RFC 2595, RFC 5034, RFC 6856).

use bytes::BytesMut;
use postrider_sasl::{Exchange, Mechanism, Step as SaslStep, Verifier, decode, encode};
use postrider_types::Secret;
use postrider_wire::Step;

use super::config::mechanisms;
use super::maildrop::Marks;
use super::session::{Asked, Sasl, Server, State, Transaction, say};
use super::{Event, Maildrop};
use crate::command::{Auth, Command};

const NEEDS_TLS: &str = "-ERR passwords travel inside TLS only; use STLS or the TLS port";

impl<M: Maildrop> Server<M> {
    pub(super) fn authorization(&mut self, command: Command, output: &mut BytesMut) -> Option<Step<Event>> {
        match command {
            Command::User(_) if !self.plaintext() => self.error(output, NEEDS_TLS),
            Command::User(name) => {
                say(output, "+OK");
                self.state = State::Authorization { user: Some(name) };
            }
            Command::Pass(password) => match &mut self.state {
                State::Authorization { user } if user.is_some() => {
                    let user = user.take().unwrap_or_default();
                    return Some(self.ask(Asked::LogIn, Event::LogIn { user, password }));
                }
                _ => self.error(output, "-ERR USER comes first"),
            },
            Command::Auth(None) => {
                say(output, "+OK");
                for mechanism in mechanisms(self.plaintext()) {
                    say(output, mechanism.name());
                }
                say(output, ".");
            }
            Command::Auth(Some(auth)) => return self.auth(auth, output),
            Command::Stls => return self.stls(output),
            Command::Utf8 => {
                // Messages go out as they are stored in either mode; what changes is what the client may send.
                say(output, "+OK UTF-8 from now on");
            }
            Command::Capa => self.capabilities(output),
            Command::Quit => {
                say(output, "+OK POP3 server signing off");
                self.state = State::Closing;
            }
            _ => self.error(output, "-ERR log in first"),
        }
        None
    }

    /// CAPA (RFC 2449 §5), in any state.
    pub(super) fn capabilities(&self, output: &mut BytesMut) {
        for line in [
            "+OK",
            "TOP",
            "UIDL",
            "RESP-CODES",
            "AUTH-RESP-CODE",
            "PIPELINING",
            "EXPIRE NEVER",
            "UTF8 USER",
        ] {
            say(output, line);
        }
        if self.plaintext() {
            say(output, "USER");
        }
        let names: Vec<_> = mechanisms(self.plaintext()).map(Mechanism::name).collect();
        say(output, &format!("SASL {}", names.join(" ")));
        if self.config.starttls && !self.tls && self.maildrop().is_none() {
            say(output, "STLS");
        }
        say(output, "IMPLEMENTATION Postrider");
        say(output, ".");
    }

    pub(super) fn enter_transaction(&mut self, maildrop: M, output: &mut BytesMut) {
        say(
            output,
            &format!("+OK user successfully logged on, {} messages", maildrop.len()),
        );
        let octets = (0..maildrop.len()).map(|message| maildrop.size(message)).sum();
        self.state = State::Transaction(Transaction {
            maildrop,
            octets,
            marks: Marks::default(),
            listing: None,
        });
    }

    /// A line of a SASL exchange.
    pub(super) fn sasl_line(&mut self, line: &[u8], output: &mut BytesMut) -> Option<Step<Event>> {
        let State::Sasl(Sasl { mut exchange, user }) = self.leave_sasl() else {
            return None;
        };
        if line == b"*" {
            self.error(output, "-ERR authentication cancelled");
            return None;
        }
        let Some(response) = decode(line) else {
            self.error(output, "-ERR the response is not valid base64");
            return None;
        };
        let step = exchange.response(&response);
        self.sasl_step(Sasl { exchange, user }, step, output)
    }

    /// The verifier has come: the exchange goes on.
    pub(super) fn go_on_with_verifier(
        &mut self,
        verifier: Verifier,
        output: &mut BytesMut,
    ) -> Option<Step<Event>> {
        let State::Sasl(Sasl { mut exchange, user }) = self.leave_sasl() else {
            return None;
        };
        let step = exchange.verifier(verifier);
        self.sasl_step(Sasl { exchange, user }, step, output)
    }

    fn auth(&mut self, auth: Auth, output: &mut BytesMut) -> Option<Step<Event>> {
        let Auth {
            mechanism,
            initial_response,
        } = auth;
        if !mechanisms(true).any(|offered| offered == mechanism) {
            self.error(output, "-ERR this mechanism is not supported");
            return None;
        }
        if mechanism.is_plaintext() && !self.plaintext() {
            self.error(output, NEEDS_TLS);
            return None;
        }
        let (exchange, step) = Exchange::start(mechanism, initial_response.as_ref().map(Secret::expose));
        self.sasl_step(Sasl { exchange, user: None }, step, output)
    }

    /// Does what an exchange wants.
    fn sasl_step(&mut self, mut sasl: Sasl, step: SaslStep, output: &mut BytesMut) -> Option<Step<Event>> {
        match step {
            SaslStep::Challenge(challenge) => {
                say(output, &format!("+ {}", encode(&challenge)));
                self.state = State::Sasl(sasl);
                None
            }
            SaslStep::NeedPassword { user, password } => {
                Some(self.ask(Asked::LogIn, Event::LogIn { user, password }))
            }
            SaslStep::NeedVerifier { user } => {
                sasl.user = Some(user.clone());
                self.state = State::Sasl(sasl);
                Some(self.ask(Asked::Verifier, Event::FetchVerifier { user }))
            }
            SaslStep::Done { authzid } => Some(self.ask(Asked::LogIn, Event::Open { user: authzid })),
            SaslStep::Failed => match sasl.user {
                Some(user) => Some(self.ask(Asked::LogIn, Event::ProofFailed { user })),
                None => {
                    self.error(output, "-ERR the response does not belong to the mechanism");
                    None
                }
            },
        }
    }

    fn stls(&mut self, output: &mut BytesMut) -> Option<Step<Event>> {
        if self.tls {
            self.error(output, "-ERR TLS is active already");
            return None;
        }
        if !self.config.starttls {
            self.error(output, "-ERR TLS is not available");
            return None;
        }
        say(output, "+OK begin TLS negotiation");
        Some(Step::StartTls)
    }

    /// Whether a password may be sent now.
    fn plaintext(&self) -> bool {
        self.tls || self.config.plaintext_auth
    }

    fn leave_sasl(&mut self) -> State<M> {
        std::mem::replace(&mut self.state, State::Authorization { user: None })
    }

    pub(super) fn ask(&mut self, asked: Asked, event: Event) -> Step<Event> {
        self.asked = Some(asked);
        Step::Event(event)
    }
}
