//! From the connection to the first message: greeting, EHLO (or HELO), STARTTLS and EHLO again, AUTH.

use bytes::BytesMut;
use postrider_sasl::{self as sasl, Mechanism};

use super::config::Tls;
use super::outcome::Failure;
use super::session::{Client, Flow, State};
use crate::Capabilities;
use crate::reply::Reply;

/// What is awaited.
pub(super) enum Handshake {
    Greeting,
    /// EHLO is to be said.
    SayHello,
    Ehlo,
    Helo,
    StartTlsReply,
    StartTls,
    Auth(sasl::Client),
}

impl Handshake {
    pub(super) fn tls_started(&mut self) {
        if matches!(self, Handshake::StartTls) {
            *self = Handshake::SayHello;
        }
    }
}

impl Client {
    pub(super) fn handshake(
        &mut self,
        handshake: Handshake,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Flow {
        match handshake {
            Handshake::SayHello => {
                self.say(&format!("EHLO {}", self.config.name), None, output);
                return self.wait_for(Handshake::Ehlo);
            }
            Handshake::StartTls => {
                self.state = State::Handshake(Handshake::StartTls);
                return Flow::StartTls;
            }
            _ => {}
        }
        let reply = match self.next_reply(input) {
            Ok(Some(reply)) => reply,
            Ok(None) => {
                let timeouts = &self.config.timeouts;
                let greeting = matches!(handshake, Handshake::Greeting);
                let time = if greeting {
                    timeouts.greeting
                } else {
                    timeouts.command
                };
                self.state = State::Handshake(handshake);
                return Flow::NeedInput(time);
            }
            Err(failure) => return self.refused(handshake, failure),
        };
        match handshake {
            Handshake::Greeting if reply.is_positive() => self.wait_for(Handshake::SayHello),
            Handshake::Greeting => self.refused(handshake, Failure::Greeting(reply)),
            Handshake::Ehlo if reply.is_positive() => {
                self.capabilities = Capabilities::parse(reply.lines().skip(1));
                self.greeted(output)
            }
            // Whoever does not know EHLO may know HELO (RFC 5321 §3.2).
            Handshake::Ehlo if reply.is_permanent() => {
                self.say(&format!("HELO {}", self.config.name), None, output);
                self.wait_for(Handshake::Helo)
            }
            Handshake::Helo if reply.is_positive() => self.greeted(output),
            Handshake::Ehlo | Handshake::Helo => self.refused(handshake, Failure::Hello(reply)),
            Handshake::StartTlsReply if reply.is_positive() => self.wait_for(Handshake::StartTls),
            Handshake::StartTlsReply if self.config.tls == Tls::Required => {
                self.refused(handshake, Failure::NoTls)
            }
            Handshake::StartTlsReply => self.authenticate(output),
            Handshake::Auth(exchange) => self.auth_replied(exchange, reply, output),
            Handshake::SayHello | Handshake::StartTls => Flow::Again,
        }
    }

    fn wait_for(&mut self, next: Handshake) -> Flow {
        self.state = State::Handshake(next);
        Flow::Again
    }

    fn refused(&mut self, handshake: Handshake, failure: Failure) -> Flow {
        self.state = State::Handshake(handshake);
        self.fail(failure)
    }

    /// Hello was said: TLS, if wanted and not there yet.
    fn greeted(&mut self, output: &mut BytesMut) -> Flow {
        if self.tls || self.config.tls == Tls::Off {
            return self.authenticate(output);
        }
        if self.capabilities.starttls {
            self.say("STARTTLS", None, output);
            return self.wait_for(Handshake::StartTlsReply);
        }
        if self.config.tls == Tls::Required {
            return self.refused(Handshake::Ehlo, Failure::NoTls);
        }
        self.authenticate(output)
    }

    fn authenticate(&mut self, output: &mut BytesMut) -> Flow {
        let Some(credentials) = self.config.credentials.clone() else {
            self.state = State::Ready(false);
            return Flow::Again;
        };
        let may_send_password = self.tls || credentials.allow_plaintext;
        let usable = |mechanism: &Mechanism| {
            self.capabilities.auth.contains(mechanism) && (may_send_password || !mechanism.is_plaintext())
        };
        let Some(mechanism) = Mechanism::ALL.into_iter().find(usable) else {
            return self.refused(Handshake::Ehlo, Failure::NoMechanism);
        };
        let mut exchange = match sasl::Client::new(mechanism, &credentials.user, credentials.password) {
            Ok(exchange) => exchange,
            Err(error) => return self.refused(Handshake::Ehlo, Failure::Sasl(error)),
        };
        match exchange.initial_response() {
            Some(response) => {
                let line = format!("AUTH {mechanism} {}", sasl::encode(&response));
                self.say(&line, Some(&format!("AUTH {mechanism} ****")), output);
            }
            None => self.say(&format!("AUTH {mechanism}"), None, output),
        }
        self.wait_for(Handshake::Auth(exchange))
    }

    fn auth_replied(&mut self, mut exchange: sasl::Client, reply: Reply, output: &mut BytesMut) -> Flow {
        if reply.is_intermediate() {
            let challenge =
                sasl::decode(reply.text.trim_end().as_bytes()).ok_or(sasl::ClientError::Challenge);
            return match challenge.and_then(|challenge| exchange.respond(&challenge)) {
                Ok(response) => {
                    self.say(&sasl::encode(&response), Some("****"), output);
                    self.wait_for(Handshake::Auth(exchange))
                }
                Err(error) => self.refused(Handshake::Auth(exchange), Failure::Sasl(error)),
            };
        }
        if !reply.is_positive() {
            return self.refused(Handshake::Auth(exchange), Failure::Authentication(reply));
        }
        if !exchange.is_complete() {
            return self.refused(
                Handshake::Auth(exchange),
                Failure::Sasl(sasl::ClientError::Signature),
            );
        }
        self.state = State::Ready(false);
        Flow::Again
    }
}
